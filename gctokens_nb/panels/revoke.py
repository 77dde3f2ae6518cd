"""Revoke a token in two steps: choose, then confirm."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from html import escape
from typing import Any

import ipywidgets
import pandas as pd

from gctokens_nb.connection import Connection
from gctokens_nb.errors import GCTokensError, PermissionDeniedError, RevocationNotProvenError
from gctokens_nb.models import User
from gctokens_nb.panels.confirmation import Confirmation
from gctokens_nb.panels.connected import ConnectedPanel, has_permission
from gctokens_nb.panels.markup import frame_html
from gctokens_nb.revocation.evidence import plain_text

__all__ = ["RevokePanel"]

PERMISSION = "oauth:token:delete"
_USER, _OWN = "a user's tokens", "my own token"
_OWN_TOKEN = User()  # stands for the own token where a user is meant otherwise
_HISTORY_DTYPES = {
    "at": "datetime64[us, UTC]",
    "outcome": "string",
    "target": "string",
    "organization": "string",
    "name": "string",
    "email": "string",
    "user_id": "string",
    "correlation_id": "string",
    "detail": "string",
}
_MOST_SHOWN = 20
_Known = tuple[str | None, str | None, bool | None]  # the organization's name, the own id, may revoke others


class RevokePanel(ConnectedPanel):
    """Revokes the own token, or all tokens of a user, which logs them out. One click alone revokes nothing.

    Users are found by name, e-mail or id as one types; after a revocation, whose outcome stays to be read, at the next
    keystroke or Enter. Whether the token may revoke others' tokens at all is asked when the panel is made.

    Wire: `DELETE /api/v2/tokens/{userId}`, permission `oauth:token:delete`; `DELETE` and `HEAD /api/v2/tokens/me`, no
    permission. Beside them `POST /api/v2/users/search` (permission `directory:user:view`) or `GET /api/v2/users`,
    `GET /api/v2/users/me`, `GET /api/v2/authorization/subjects/me` and, for the organization's name,
    `GET /api/v2/tokens/me?preserveIdleTTL=true`.

    Args:
        connection:
            Whose calls revoke.

    Attributes:
        target: ipywidgets.RadioButtons
            Whose tokens: a user's, or the own.
        search_text: ipywidgets.Text
            Name, e-mail or id.
        found: ipywidgets.Select
            The users found; its value is the chosen `User`.
        revoke_button, confirm_button, keep_button: ipywidgets.Button
            The first step, and the two answers of the second.
        history: pandas.DataFrame
            What was revoked in this panel.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__("Revoke tokens", connection)
        self._records: list[dict[str, Any]] = []
        self._organization: str | None = None
        self._own_id: str | None = None
        self._searched = ""
        self._search_failed = False
        self._revoking = False  # until its outcome is told

        self.target = ipywidgets.RadioButtons(
            options=[_USER, _OWN], description="Whose", layout={"width": "auto"}
        )
        self.search_text = ipywidgets.Text(
            description="User",
            placeholder="name, e-mail or id",
            layout={"width": "auto", "max_width": "34em"},
        )
        self.found = ipywidgets.Select(
            options=[],
            description="Found",
            rows=5,
            layout={"width": "auto", "max_width": "60em", "height": "auto"},
        )
        self.revoke_button = self.button("Revoke…", self._ask, style="warning", tooltip="Asks first")
        self._confirmation = Confirmation[User](self, self.revoke_button, "Yes, revoke", self._revoke)
        self.confirm_button = self._confirmation.yes_button
        self.keep_button = self._confirmation.no_button
        self._user_box = ipywidgets.VBox([self.search_text, self.found, self.permission_box])
        self._history = ipywidgets.HTML()
        self.body.children = [
            self.target,
            self._user_box,
            ipywidgets.HBox([self.revoke_button]),
            self._confirmation.box,
        ]
        self.results.children = [self._history]
        self.target.observe(lambda _: self._choice_changed(), "value")
        self.search_text.observe(lambda _: self._guarded(self._search), "value")
        self.search_text.on_msg(lambda _widget, content, _buffers: self._entered(content))
        self.found.observe(lambda _: self._choice_changed(), "value")
        self._choice_changed()
        self.when_free()

    @property
    def history(self) -> pd.DataFrame:
        """What was revoked in this panel, one row per revocation, the oldest first.

        Columns: `at` (UTC), `outcome` (`revoked`, `revoked, not proven`, `refused`, `not sent` or `unknown`), `target`
        (`user` or `own token`), `organization` (its name), `name`, `email`, `user_id`, `correlation_id`, `detail` (for an
        own token, first its fingerprint). It is `not sent` where no request to revoke left, `refused` where each one was
        answered with a refusal, and `unknown` where one of them may have taken effect.
        """
        columns = {
            name: pd.Series([record.get(name) for record in self._records], dtype=dtype)
            for name, dtype in _HISTORY_DTYPES.items()
        }
        return pd.DataFrame(columns)

    def choose(self, user_id_or_email: str) -> None:
        """Choose a user as if typed, and wait until it is found; one that is not found, or not alone, is not chosen."""
        self.target.value = _USER
        self.wait()
        if self.search_text.value != user_id_or_email:
            self.search_text.value = user_id_or_email
        else:
            self._search_again()
        self.wait()

    # What the token may do

    def refresh(self) -> None:
        """Look up what the token may do, and search again for what is typed."""
        self._confirmation.dismiss()
        self._searched = ""
        self.work_with("Looking up what this token may do", _look_up, self._looked_up)

    def clear(self) -> None:
        """Empty what was read: it is of another connection. What was typed is kept, and so is the history."""
        self._organization = self._own_id = None
        self.forget_permission()
        self.found.options = []
        self._searched = ""
        self._confirmation.dismiss()

    def _looked_up(self, known: _Known) -> None:
        self._organization, self._own_id, allowed = known
        self.show_permission(PERMISSION, allowed=allowed)

    # Finding

    def when_free(self) -> None:
        """Search for what is typed now, but not right after a revocation: its outcome stays to be read."""
        if self.busy:
            return
        revoked, self._revoking = self._revoking, False
        super().when_free()
        if not revoked:
            self._search()
        elif not self.busy and (text := self.search_text.value.strip()) != self._searched:
            self.found.options = []
            self.say(
                f"{self.status.text}\nPress Enter in the field to search for {text!r}.", self.status.kind
            )
        self._show_state()

    def _entered(self, content: dict[str, Any]) -> None:
        if content.get("event") == "submit":
            self._guarded(self._search_again)

    def _search_again(self) -> None:
        """Search for what is typed, also where that was searched for in vain."""
        if self._search_failed and not self.busy:
            self._searched = ""
        self._search()

    def _search(self) -> None:
        """Search for what is typed now, if that is not what was searched for."""
        text = self.search_text.value.strip()
        if text == self._searched or self.busy or self._revoking:
            return
        self._searched, self._search_failed = text, False
        self.found.options = []
        if text:
            self.work_with(
                "Searching",
                lambda connection: connection.directory.search(text, limit=_MOST_SHOWN),
                self._show_found,
                failed=self._not_found,
            )
        else:
            self.say("Type a name, an e-mail address or an id.")

    def _show_found(self, users: list[User]) -> None:
        self.found.options = [(_label(user), user) for user in users]
        self.found.value = users[0] if len(users) == 1 else None
        self._show_code()
        if not users:
            self.say(
                f"Nobody here has a name, an e-mail address or an id that begins with {self._searched!r}.",
                "error",
            )
        elif len(users) == 1:
            self.say("One user found.", "ok")
        else:
            more = f", the first {_MOST_SHOWN} shown: type more" if len(users) == _MOST_SHOWN else ""
            self.say(f"{len(users)} users found{more}. Choose one.", "ok")

    def _not_found(self, error: GCTokensError) -> None:
        self._search_failed = True
        if isinstance(error, PermissionDeniedError):
            self.say(
                f"{self.status.text}\nWithout it, type the id of the user: that needs no permission.", "error"
            )

    def _choice_changed(self) -> None:
        self._confirmation.dismiss()
        self._user_box.layout.display = "none" if self.target.value == _OWN else ""
        self._show_state()
        self._show_code()

    def _show_state(self) -> None:
        """To revoke the own token takes no permission."""
        with self._lock:  # the call under way may end meanwhile, in its own thread
            self.revoke_button.disabled = self.busy or (self.may is False and self.target.value == _USER)

    def _show_code(self) -> None:
        user: User | None = self.found.value
        if self.target.value == _OWN:
            self.set_code(
                "gc.tokens.delete_tokens_me(verify=True)  # then asks with HEAD whether the token is dead"
            )
        elif user is not None:
            allow = ", allow_self=True" if self._is_self(user) else ""
            # repr() keeps a name of several lines within the comment.
            self.set_code(f"gc.tokens.delete_token({user.id!r}{allow})  # {user.name!r} {user.email!r}")
        elif self._searched:
            self.set_code(
                f"found = gc.directory.search({self._searched!r})  # each has an id for gc.tokens.delete_token"
            )
        else:
            self.set_code(
                f"gc.directory.has_permission({PERMISSION!r})  # may this token revoke those of users?"
            )

    def _is_self(self, user: User) -> bool:
        return bool(user.id) and (user.id or "").lower() == self._own_id

    # Revoking

    def _ask(self) -> None:
        own = self.target.value == _OWN
        user: User | None = _OWN_TOKEN if own else self.found.value
        if user is None:
            self.say("Choose a user first: type a name, an e-mail address or an id.", "error")
            return
        self._confirmation.ask(user, _own_question(self.connection) if own else self._user_question(user))

    def _user_question(self, user: User) -> list[str]:
        name, email, user_id = (escape(part or "(none)") for part in (user.name, user.email, user.id))
        lines = [
            f"<strong>Revoke all tokens of {name}?</strong>",
            f"E-mail {email}<br>Id {user_id}" + (f"<br>State {escape(user.state)}" if user.state else ""),
            "All their tokens go, of every application: they are logged out at once.",
            "Behind single sign-on, a browser may log them in again by itself.",
            f"It needs the permission {PERMISSION}.",
        ]
        if self._is_self(user):
            lines.append("<strong>This is the user you are signed in as: your own token goes too.</strong>")
        return lines

    def _revoke(self, user: User) -> None:
        connection, tokens, allow_self = self.connection, self.connection.tokens, self._is_self(user)
        own = user is _OWN_TOKEN
        about = {
            "target": "own token" if own else "user",
            "organization": self._organization,
            "user_id": user.id,
            "name": user.name,
            "email": user.email,
            "detail": f"token {connection.access_token.fingerprint}" if own else "",
        }
        self._revoking = True
        if own:
            self.work(
                "Revoking this connection's token",
                lambda: tokens.delete_tokens_me(verify=True),
                lambda _: self._revoked(user, about),
                failed=lambda error: self._not_revoked(about, error),
            )
        else:
            user_id = user.id or ""  # an empty one is refused before anything is sent
            self.work(
                f"Revoking all tokens of {user.name or user_id}",
                lambda: tokens.delete_token(user_id, allow_self=allow_self),
                lambda _: self._revoked(user, about),
                failed=lambda error: self._not_revoked(about, error),
            )

    def _revoked(self, user: User, about: dict[str, Any]) -> None:
        own = user is _OWN_TOKEN
        correlation_id = self.correlation_id("DELETE")
        what = (
            "This connection's token is revoked"
            if own
            else f"All tokens of {user.name or user.id} are revoked"
        )
        proof = ": HEAD was answered with 401, so it is dead" if own else ""
        quote = f" Correlation id {correlation_id}." if correlation_id else ""
        record = self._record(about, "revoked", "proven dead by HEAD" if own else "", correlation_id)
        self.say(f"{what}{proof}. {record['at']:%H:%M:%S} UTC.{quote}", "ok")

    def _not_revoked(self, about: dict[str, Any], error: GCTokensError) -> None:
        correlation_id = self.correlation_id("DELETE") or getattr(error, "correlation_id", "")
        proven = not isinstance(error, RevocationNotProvenError)
        outcome = self.outcome(error, "DELETE") if proven else "revoked, not proven"
        self._record(about, outcome, error.what, correlation_id)

    def _record(
        self, about: dict[str, Any], outcome: str, detail: str, correlation_id: str
    ) -> dict[str, Any]:
        record = about | {
            "at": datetime.now(UTC),
            "outcome": outcome,
            "detail": ", ".join(filter(None, [about["detail"], detail])),
            "correlation_id": correlation_id,
        }
        self._records.append(record)
        self._history.value = _history_html(self.history)
        return record


def _look_up(connection: Connection) -> _Known:
    organization = connection.tokens.get_tokens_me(preserve_idle_ttl=True).organization
    own_id, allowed = connection.directory.own_id(), has_permission(connection, PERMISSION)
    return organization.name if organization else None, own_id, allowed


def _own_question(connection: Connection) -> list[str]:
    token = connection.access_token
    return [
        "<strong>Revoke the token of this connection?</strong>",
        f"It was got by {escape(token.grant)} (fingerprint {token.fingerprint}).",
        "Every further call with it fails, in every notebook that uses it; sign in again to go on.",
        "It needs no permission. Afterwards HEAD proves that it is dead.",
    ]


def _label(user: User) -> str:
    state = "" if user.state in {None, "active"} else f" · {user.state}"
    return f"{user.name or '(no name)'} · {user.email or '(no e-mail)'} · {user.id}{state}"


def _history_html(history: pd.DataFrame) -> str:
    shown = history.assign(at=history["at"].dt.strftime("%Y-%m-%d %H:%M:%S UTC"))
    link = base64.b64encode(_csv(shown).encode()).decode()
    return (
        f"<strong>Done in this panel</strong>{frame_html(shown.iloc[::-1])}"
        f'<a class="gct-link" download="revocations.csv" href="data:text/csv;charset=utf-8;base64,{link}">Download as CSV</a>'
    )


def _csv(history: pd.DataFrame) -> str:
    texts: list[str] = list(history.select_dtypes("string").columns)
    guarded = {name: history[name].map(plain_text, na_action="ignore") for name in texts}
    return history.assign(**guarded).to_csv(index=False)
