"""All panels on one page."""

from __future__ import annotations

from typing import Any

import ipywidgets

from gctokens_nb.connection import Connection
from gctokens_nb.panels.bulk_revoke import BulkRevokePanel
from gctokens_nb.panels.connected import ConnectedPanel
from gctokens_nb.panels.connections import ConnectionsPanel
from gctokens_nb.panels.idle_timeout import IdleTimeoutPanel
from gctokens_nb.panels.login import LoginPanel
from gctokens_nb.panels.revoke import RevokePanel
from gctokens_nb.panels.token_info import TokenInfoPanel

__all__ = ["Dashboard"]


class Dashboard(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Sign in, the token, revoke, idle timeout, log out many, and all connections side by side, on one page.

    The panels work on one connection at a time; every further sign-in adds one, and *Work on* goes from one to
    another. What was typed is kept.

    Args:
        connection:
            To begin with; without one, the page begins with the sign-in.

    Attributes:
        connections: dict
            Label to Connection, of all sign-ins.
        connection: Connection or None
            The one that the panels work on.
        login, token_info, revoke, idle_timeout, bulk_revoke, side_by_side:
            The panels; all but the first are None before the first sign-in.
        chooser: ipywidgets.Dropdown
            Which connection the panels work on.
        sign_in_toggle: ipywidgets.ToggleButton
            Shows the sign-in while there is a connection.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self.connections: dict[str, Connection] = {}
        self.connection: Connection | None = None
        self.login = LoginPanel()
        self.token_info: TokenInfoPanel | None = None
        self.revoke: RevokePanel | None = None
        self.idle_timeout: IdleTimeoutPanel | None = None
        self.bulk_revoke: BulkRevokePanel | None = None
        self.side_by_side: ConnectionsPanel | None = None
        self._of_login: Connection | None = None
        self.sign_in_toggle = ipywidgets.ToggleButton(
            description="Sign in or out", tooltip="Show or hide the sign-in", layout={"width": "auto"}
        )
        self.sign_in_toggle.observe(lambda change: _show(self.login, change["new"]), "value")
        self.chooser = ipywidgets.Dropdown(description="Work on", layout={"width": "min(40em, 100%)"})
        self.chooser.observe(self._chosen, "value")
        self._panels = ipywidgets.Box(
            layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "8px"}
        )
        top = ipywidgets.HBox([self.sign_in_toggle, self.chooser], layout={"flex_flow": "row wrap"})
        super().__init__([top, self.login, self._panels])
        self.login.on_change(self._signed_in)
        if connection is None:
            self._show_connections()
        else:
            self.add(connection)

    def __repr__(self) -> str:
        return "Dashboard()"  # the same at every run, as notebooks keep it

    def add(self, connection: Connection) -> None:
        """Add a connection, and work on it."""
        label = self._new_label(connection)
        self.connections[label] = connection
        self._show_connections(label)

    def _new_label(self, connection: Connection) -> str:
        sandbox = connection.sandbox
        where = f"{sandbox.organization.name} (sandbox)" if sandbox else str(connection.region)
        label, number = where, 1
        while label in self.connections:
            number += 1
            label = f"{where}, {number}"
        return label

    def close(self) -> None:
        """Close all panels. The connections live on."""
        for panel in (self.login, *self._panels.children):
            panel.close()
        super().close()

    def _signed_in(self, connection: Connection | None) -> None:
        if connection is not None:
            self.add(connection)
        else:  # signed out: there is nothing to work on any more
            left = {label: one for label, one in self.connections.items() if one is not self._of_login}
            self.connections = left
            self._show_connections(next(reversed(left), None))
        self._of_login = connection

    def _signed_in_again(self, old: Connection, new: Connection) -> None:
        """A panel has found the token of `old` dead and got another: it takes its place everywhere.

        Where it is of another region, or nothing has that place any more, it is added.
        """
        worked_on = self.connection is old
        label = next((label for label, one in self.connections.items() if one is old), None)
        if label is None or new.region != old.region:
            label = self._new_label(new)
        self.connections[label] = new
        if old is self._of_login:
            self._of_login = new
            self.login.replace(new)
        self._show_connections(label if worked_on else self.chooser.value)

    def _show_connections(self, label: str | None = None) -> None:
        some = bool(self.connections)
        self.sign_in_toggle.value = not some
        _show(self.login, not some)
        for widget in (self.sign_in_toggle, self.chooser, self._panels):
            _show(widget, some)
        self.chooser.unobserve(self._chosen, "value")  # new options choose the first by themselves
        self.chooser.options = list(self.connections)
        self.chooser.value = label
        self.chooser.observe(self._chosen, "value")
        self._work_on(label)
        if self.side_by_side is not None:
            _show(self.side_by_side, len(self.connections) > 1)
            self.side_by_side.show_connections(self.connections)

    def _chosen(self, change: dict[str, Any]) -> None:
        self._work_on(change["new"])

    def _work_on(self, label: str | None) -> None:
        connection = self.connections.get(label or "")
        if connection is self.connection:
            return
        self.connection = connection
        if connection is None:
            return
        if self.token_info is None:
            self.token_info = TokenInfoPanel(connection)
            self.revoke = RevokePanel(connection)
            self.idle_timeout = IdleTimeoutPanel(connection)
            self.side_by_side = ConnectionsPanel({})
            self.bulk_revoke = BulkRevokePanel(connection)
            self._panels.children = [
                self.token_info,
                self.revoke,
                self.idle_timeout,
                self.bulk_revoke,
                self.side_by_side,
            ]
            for panel in self._panels.children:
                panel.layout.flex = "1 1 30em"
                panel.layout.min_width = "0"
            for wide in (self.bulk_revoke, self.side_by_side):
                wide.layout.flex = "1 1 100%"
                wide.layout.max_width = "none"
            for panel in self._connected():
                panel.on_sign_in(self._signed_in_again)
        else:
            for panel in self._connected():
                if panel.connection is not connection:
                    panel.use(connection)

    def _connected(self) -> list[ConnectedPanel]:
        return [panel for panel in self._panels.children if isinstance(panel, ConnectedPanel)]


def _show(widget: Any, wanted: bool) -> None:
    widget.layout.display = "" if wanted else "none"
