"""What the panels over a connection share: the connection, another one when its token is dead, code that makes one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import ipywidgets

from gctokens_nb.connection import Connection, connect_sandbox
from gctokens_nb.errors import (
    BadRequestError,
    GCTokensError,
    LoginError,
    NotFoundError,
    PermissionDeniedError,
    SignedOutError,
    UnauthorizedError,
)
from gctokens_nb.panels.base import Panel
from gctokens_nb.panels.login import LoginPanel, region_code
from gctokens_nb.panels.markup import permission_html

__all__ = ["ConnectedPanel", "connect_code", "has_permission"]

T = TypeVar("T")
_WAY_OF_GRANT = {"authorization_code": "browser", "pasted": "access_token", "saml2_bearer": "saml2_bearer"}
_DEFAULT_ORGANIZATION = "Cumulus Airlines"


class ConnectedPanel(Panel):
    """A panel over one connection, which it can replace: where the token is dead it offers to sign in again.

    A subclass reads what it shows in `refresh()`, with `work_with()`, and empties it in `clear()`. One that is for
    something that takes a permission places `permission_box`, gives `show_permission()` what `has_permission()` found, and
    switches its button off where `may` is False.

    Args:
        title:
            The heading.
        connection:
            Whose calls the panel makes.

    Attributes:
        connection: Connection
            The one in use.
        sign_in_button: ipywidgets.Button
            Appears where the token is dead.
        permission_box: ipywidgets.VBox
            Says that the permission is missing, or not known.
        look_again_button: ipywidgets.Button
            In it, where the permission is missing: it may have been granted since.
        may: bool or None
            Whether the token has the permission; None as long as that is not known.
    """

    def __init__(self, title: str, connection: Connection) -> None:
        super().__init__(title)
        self.connection = connection
        self._stale = True  # what is shown is not of this connection
        self._own_code = "", ""  # what set_code() was given last
        self._earlier: list[Connection] = []  # a sandbox lives as long as the connection it was started for
        self._on_sign_in: list[Callable[[Connection, Connection], None]] = []
        self._login: LoginPanel | None = None  # a sign-in under way in this panel
        self.sign_in_button = self.button("Sign in again…", self._sign_in_again, style="primary")
        self._login_box = ipywidgets.VBox([self.sign_in_button], layout={"display": "none"})
        self.remedy.children = [self._login_box]
        self.may: bool | None = None
        self._permission = ipywidgets.HTML()
        self.look_again_button = self.button(
            "Look again", self.refresh, tooltip="Ask again what this token may do"
        )
        self.permission_box = ipywidgets.VBox([self._permission, ipywidgets.HBox([self.look_again_button])])
        self.forget_permission()

    def refresh(self) -> None:
        """Read what the panel shows, with `work_with()`."""
        raise NotImplementedError

    def clear(self) -> None:
        """Empty what was read: it is of another connection than the one in use from now on."""

    def show_permission(self, permission: str, *, allowed: bool | None) -> None:
        """Keep and show whether the token has the permission that the panel is for."""
        self.may = allowed
        self._permission.value = permission_html(permission, allowed)
        self.look_again_button.layout.display = "" if allowed is False else "none"

    def forget_permission(self) -> None:
        """Show nothing of the permission until it is looked up: of another connection."""
        self.show_permission("", allowed=True)
        self.may = None

    def work_with(
        self,
        doing: str,
        call: Callable[[Connection], T],
        done: Callable[[T], None],
        *,
        failed: Callable[[GCTokensError], None] | None = None,
    ) -> None:
        """As `work()`, with the connection in use now. What comes of it is dropped where another one is in use by then."""
        connection = self.connection

        def attempt() -> Callable[[], None]:
            try:
                return functools.partial(done, call(connection))
            except GCTokensError as error:
                return functools.partial(self._fail, error, failed)

        def conclude(outcome: Callable[[], None]) -> None:
            with self._lock:  # not between a use() and its clear()
                if self.connection is connection:
                    outcome()

        self.work(doing, attempt, conclude, failed=failed)

    def use(self, connection: Connection) -> None:
        """Go on with another connection; what was typed is kept, what was read is read again."""
        with self._lock:
            if connection is not self.connection:
                self._earlier.append(self.connection)
                self.connection = connection
                self.clear()
            self._login_box.layout.display = "none"
        self._end_login()
        code, imports = self._own_code
        self.set_code(code, imports=imports)
        self._stale = True
        self.when_free()

    def on_sign_in(self, callback: Callable[[Connection, Connection], None]) -> None:
        """Call `callback` with the old and the new connection after a sign-in in this panel.

        The panel uses the new one then, unless it was given another one than the old during the sign-in.
        """
        self._on_sign_in.append(callback)

    def when_free(self) -> None:
        """Read what the panel shows, where that is of another connection."""
        if self._stale and not self.busy:
            self._stale = False
            self.refresh()

    def set_code(self, code: str, *, imports: str = "") -> None:
        """Show `code`, which uses the connection as `gc`, after the lines that make `gc`."""
        self._own_code = code, imports
        head = f"import {imports}\n\nimport gctokens_nb as gct" if imports else "import gctokens_nb as gct"
        super().set_code(
            f"{head}\n\ngc = {connect_code(self.connection)}  # or the connection you have\n{code}"
        )

    def show_error(self, error: GCTokensError) -> None:
        """Say what happened and, where the token is dead, offer to sign in again."""
        super().show_error(error)
        # A run that ended before all users were done says why by its cause.
        if any(isinstance(one, UnauthorizedError | LoginError) for one in (error, error.__cause__)):
            self._login_box.layout.display = ""

    def _sign_in_again(self) -> None:
        old = self.connection
        sandbox = old.sandbox
        if sandbox is not None:  # its credentials are no secret
            name = _sandbox_client(old)
            self.work(
                "Signing in",
                lambda: connect_sandbox(name, sandbox=sandbox),
                functools.partial(self._signed_in, old),
            )
            return
        try:
            grant = old.access_token.grant
        except SignedOutError:
            grant = ""
        self._login = login = LoginPanel(
            old.region, client_id=old.client_id, way=_WAY_OF_GRANT.get(grant, "client_credentials")
        )

        def signed_in(connection: Connection | None) -> None:
            if connection is not None:
                self._end_login()
                self._signed_in(old, connection)

        login.on_change(signed_in)
        self._login_box.children = [login]

    def _end_login(self) -> None:
        login, self._login = self._login, None
        if login is not None:
            self._login_box.children = [self.sign_in_button]
            login.close()

    def _signed_in(self, old: Connection, new: Connection) -> None:
        if self.connection is old:
            self.use(new)
        for callback in self._on_sign_in:
            callback(old, new)


def has_permission(connection: Connection, permission: str) -> bool | None:
    """Tell whether the token has a permission, None where that cannot be known. Sends a request."""
    try:
        return connection.directory.has_permission(permission)
    except (BadRequestError, PermissionDeniedError, NotFoundError):
        return None


def connect_code(connection: Connection) -> str:
    """Return the call that makes a connection like this one. Its secret comes from the environment, never from here."""
    if connection.sandbox is None:
        return f"gct.connect({region_code(connection.region)})"
    name, organization = _sandbox_client(connection), connection.sandbox.organization.name
    arguments = [] if name == "admin" else [repr(name)]
    arguments += [] if organization == _DEFAULT_ORGANIZATION else [f"organization={organization!r}"]
    return f"gct.connect_sandbox({', '.join(arguments)})"


def _sandbox_client(connection: Connection) -> str:
    clients = connection.sandbox.clients if connection.sandbox else ()
    return next((client.name for client in clients if client.client_id == connection.client_id), "admin")
