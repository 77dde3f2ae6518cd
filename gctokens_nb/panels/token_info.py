"""The token as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

import ipywidgets

from gctokens_nb import frames
from gctokens_nb.connection import Connection
from gctokens_nb.errors import GCTokensError, SignedOutError, UnauthorizedError
from gctokens_nb.models import NamedEntity, OAuthClient, TokenInfo, token_info_rows
from gctokens_nb.panels.connected import ConnectedPanel
from gctokens_nb.panels.elements import Countdown
from gctokens_nb.panels.markup import fields_html, paragraphs, scopes_html

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TokenInfoPanel"]

_CODE = """\
info = gc.tokens.get_tokens_me(preserve_idle_ttl=True)  # reads without resetting the idle timer
frame = gct.frames.token_info(info)"""


class TokenInfoPanel(ConnectedPanel):
    """Shows the token of a connection: whose it is, what it may do, and how long it still lives.

    It reads once when it is made and at each *Refresh*, always without resetting the idle timer. Both countdowns run
    in the page and ask nobody.

    Wire: `GET /api/v2/tokens/me?preserveIdleTTL=true`; no permission.

    Args:
        connection:
            Whose token.

    Attributes:
        info: TokenInfo or None
            What is shown.
        frame: pandas.DataFrame
            The same as one row (`frames.token_info`); without rows as long as nothing was read.
        refresh_button: ipywidgets.Button

    """

    def __init__(self, connection: Connection) -> None:
        super().__init__("Token", connection)
        self.info: TokenInfo | None = None
        self.refresh_button = self.button(
            "Refresh", self.refresh, tooltip="Read again; this leaves the idle timer alone"
        )
        self._remarks = ipywidgets.HTML()
        self._idles = Countdown(
            before="Idles out in ",
            over="The idle time is over: the next call tells whether the token is dead.",
        )
        self._ends = Countdown(before="Ends in ", over="The token has reached its end.")
        self._table = ipywidgets.HTML()
        self.body.children = [self._remarks, self._idles, self._ends, self._table]
        self.actions.children = [self.refresh_button]
        self.set_code(_CODE)
        self.when_free()

    @property
    def frame(self) -> pd.DataFrame:
        """The token as a DataFrame, to go on with in the next cell."""
        return frames.token_info([] if self.info is None else self.info)

    def refresh(self) -> None:
        """Read the token again, as *Refresh* does: `wait()` tells when it is shown."""
        self.work_with(
            "Reading the token",
            lambda connection: connection.tokens.get_tokens_me(preserve_idle_ttl=True),
            self._show,
            failed=self._not_read,
        )

    def clear(self) -> None:
        """Empty what was read: it is of another connection."""
        self.info = None
        self._remarks.value = self._table.value = ""
        self._idles.ends_at = self._ends.ends_at = 0.0

    def _not_read(self, error: GCTokensError) -> None:
        if isinstance(error, UnauthorizedError | SignedOutError):  # dead, so its time is no more
            self._idles.ends_at = self._ends.ends_at = 0.0

    def _show(self, info: TokenInfo) -> None:
        self.info = info
        self._remarks.value = paragraphs(
            *(f"<strong>⚠ {escape(remark)}</strong>" for remark in remarks(info))
        )
        self._idles.ends_at = info.date_token_idles.timestamp() if info.date_token_idles else 0.0
        try:
            token = self.connection.access_token
        except SignedOutError:
            ends, known = None, []
        else:
            ends, known = (
                token.expires_at,
                [("Signed in by", token.grant), ("Fingerprint", token.fingerprint)],
            )
        self._ends.ends_at = ends.timestamp() if ends else 0.0
        self._table.value = _table(info, known)
        self.say(
            f"Read at {datetime.now(UTC):%H:%M:%S} UTC. The idle timer was left as it was (preserveIdleTTL=true).",
            "ok",
        )


def remarks(info: TokenInfo) -> list[str]:
    """Return, in words, what deserves a look about a token."""
    client = info.oauth_client or OAuthClient()
    here, home = info.organization or NamedEntity(), info.home_organization or NamedEntity()
    found = []
    if here.id and home.id and here.id != home.id:
        found.append(
            f"This token's home is another organization: it belongs to {home.name or home.id} "
            f"and acts in {here.name or here.id}."
        )
    if info.cloned_user:
        trustee = info.cloned_user.organization
        found.append(
            f"Its user is a clone of user {info.cloned_user.id} of the trustee organization "
            f"{(trustee.name or trustee.id) if trustee else '(unknown)'}."
        )
    if client.state and client.state.lower() != "active":
        found.append(f"Its OAuth client is {client.state}: no new token will be issued to it.")
    if client.date_to_delete:
        found.append(f"Its OAuth client is to be deleted on {client.date_to_delete:%Y-%m-%d}.")
    return found


def _table(info: TokenInfo, known: list[tuple[str, str]]) -> str:
    scopes = {
        "Authorized scope": info.authorized_scope,
        "Client scope": info.oauth_client.scope if info.oauth_client else (),
    }
    rows = [
        (name, scopes_html(scopes[name]) if name in scopes else escape(text))
        for name, text in [*token_info_rows(info), *known]
    ]
    return fields_html(rows)
