"""The tokens of several organizations side by side."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import ipywidgets
import pandas as pd

from gctokens_nb import frames
from gctokens_nb.connection import Connection
from gctokens_nb.errors import CancelledError, GCTokensError
from gctokens_nb.models import TokenInfo
from gctokens_nb.panels.base import Panel
from gctokens_nb.panels.connected import connect_code

__all__ = ["ConnectionsPanel"]


class ConnectionsPanel(Panel):
    """Shows the tokens of several connections in one table, a column each, and marks the rows in which they differ.

    It reads without resetting the idle timers.

    Wire: `GET /api/v2/tokens/me?preserveIdleTTL=true` for each; no permission.

    Args:
        connections:
            A label of your own, such as the organization, to its connection.

    Attributes:
        infos: dict
            Label to TokenInfo, of those that could be read.
        errors: dict
            Label to the error, of the others.
        frame: pandas.DataFrame
            One row a token that could be read, the labels as its index (`frames.token_info`).
        refresh_button: ipywidgets.Button
    """

    def __init__(self, connections: Mapping[str, Connection]) -> None:
        super().__init__("Connections side by side")
        self.connections: dict[str, Connection] = {}
        self.infos: dict[str, TokenInfo] = {}
        self.errors: dict[str, GCTokensError] = {}
        self._stale = False
        self._table = ipywidgets.HTML()
        self.refresh_button = self.button(
            "Refresh", self.refresh, tooltip="Read all again; this leaves the idle timers alone"
        )
        self.body.children = [self._table]
        self.actions.children = [self.refresh_button]
        self.show_connections(connections)

    @property
    def frame(self) -> pd.DataFrame:
        """The tokens as a DataFrame, to go on with in the next cell."""
        return frames.token_info(self.infos)

    def show_connections(self, connections: Mapping[str, Connection]) -> None:
        """Show other connections than before, and read them."""
        self.connections = dict(connections)
        lines = [f"    {label!r}: {connect_code(connection)}," for label, connection in connections.items()]
        self.set_code(
            "\n".join(
                [
                    "import gctokens_nb as gct\n",
                    "connections = {",
                    *lines,
                    "}",
                    "infos = {",
                    "    label: gc.tokens.get_tokens_me(preserve_idle_ttl=True)",
                    "    for label, gc in connections.items()",
                    "}",
                    "frame = gct.frames.token_info(infos)",
                ]
            )
        )
        self._stale = True
        self.when_free()

    def when_free(self) -> None:
        """Read the connections, where others are to be shown."""
        if self._stale and not self.busy:
            self._stale = False
            self.refresh()

    def refresh(self) -> None:
        """Read all tokens again, as the button does."""
        self.work("Reading the tokens", self._read, self._show)

    def _read(self) -> tuple[dict[str, TokenInfo], dict[str, GCTokensError]]:
        infos: dict[str, TokenInfo] = {}
        errors: dict[str, GCTokensError] = {}
        for label, connection in self.connections.items():
            try:
                infos[label] = connection.tokens.get_tokens_me(preserve_idle_ttl=True)
            except CancelledError:
                raise
            except GCTokensError as error:
                errors[label] = error
        return infos, errors

    def _show(self, read: tuple[dict[str, TokenInfo], dict[str, GCTokensError]]) -> None:
        self.infos, self.errors = read
        self._table.value = _side_by_side(self.frame, self.errors)
        if self.errors:
            self.say(
                "\n".join(f"{label}: {error}" for label, error in self.errors.items()),
                "error",
            )
        else:
            self.say("All read. The idle timers were left as they were (preserveIdleTTL=true).", "ok")


def _side_by_side(frame: pd.DataFrame, errors: Mapping[str, GCTokensError]) -> str:
    labels = [*map(str, frame.index), *errors]
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    rows = "".join(_row(name, list(frame[name]), len(errors)) for name in frame.columns)
    return (
        '<div class="gct-wide"><table class="gct-table">'
        f'<tr><th scope="col">≠ marks a difference</th>{head}</tr>{rows}</table></div>'
    )


def _row(name: str, values: list[Any], unread: int) -> str:
    differ = any(_comparable(value) != _comparable(values[0]) for value in values)
    style = ' class="gct-differs"' if differ else ""
    cells = "".join(f"<td>{_cell(value, values)}</td>" for value in values) + "<td>not read</td>" * unread
    return f'<tr{style}><th scope="row">{"≠ " if differ else ""}{escape(name)}</th>{cells}</tr>'


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(_item, value))
    return None if pd.isna(value) else value


def _cell(value: Any, values: list[Any]) -> str:
    if isinstance(value, list):
        everywhere = set.intersection(*(set(map(_item, other)) for other in values))
        rest = [escape(item) for item in sorted(map(_item, value)) if item not in everywhere]
        return f"{len(value)}" + (f", not everywhere: {', '.join(rest)}" if rest else "")
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return "" if pd.isna(value) else escape(str(value))


def _item(item: Any) -> str:
    return " in division ".join(map(str, item)) if isinstance(item, tuple) else str(item)
