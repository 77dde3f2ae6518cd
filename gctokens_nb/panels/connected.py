"""What the panels over a connection share: the connection itself, and the line of code that makes one like it."""

from __future__ import annotations

from gctokens_nb.connection import Connection
from gctokens_nb.panels.base import Panel

__all__ = ["ConnectedPanel"]


class ConnectedPanel(Panel):
    """A panel over one connection.

    Args:
        title:
            The heading.
        connection:
            Whose calls the panel makes.

    """

    def __init__(self, title: str, connection: Connection) -> None:
        self.connection = connection
        super().__init__(title)

    def set_code(self, code: str) -> None:
        """Show `code`, which uses the connection as `gc`, after the lines that make `gc`."""
        super().set_code(f"import gctokens_nb as gct\n\n{_connect_code(self.connection)}\n{code}")


def _connect_code(connection: Connection) -> str:
    if connection.sandbox is None:
        return f"gc = gct.connect({connection.region.name!r})  # or the connection you have"
    names = {client.client_id: client.name for client in connection.sandbox.clients}
    name = names.get(connection.client_id or "", "admin")
    return f"gc = gct.connect_sandbox({'' if name == 'admin' else repr(name)})  # or the connection you have"
