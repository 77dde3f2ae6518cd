"""A connection: one region, one signed session, one token. Two of them live side by side in one notebook."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from gctokens_nb import credentials, oauth
from gctokens_nb.directory import DirectoryApi
from gctokens_nb.display import two_columns
from gctokens_nb.errors import SignedOutError, UnauthorizedError
from gctokens_nb.oauth import AccessToken, TokenKeeper
from gctokens_nb.redaction import Secret
from gctokens_nb.regions import Region
from gctokens_nb.session import DEFAULT_RETRY, RetryPolicy, Session
from gctokens_nb.tokens import TokensApi
from gctokens_nb.transport import BODY_LIMIT_BYTES, TIMEOUTS, Seconds
from gctokens_nb.waits import OnWait

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from gctokens_nb.sandbox import Sandbox

__all__ = ["Connection", "authenticate_with_client_credentials", "connect", "connect_sandbox"]


class Connection:
    """A signed-in connection to one Genesys Cloud organization. `connect()` makes it.

    Attributes:
        region: Region
        tokens: TokensApi
            The calls that read and revoke tokens.
        directory: DirectoryApi
            The calls that find users.
        session: Session
            A signed `requests.Session`, for any other call of the platform API.
        origins: dict
            Where each credential came from, in words; never a value.
        notes: tuple of str
            What deserves a look about the credentials.
        sandbox: Sandbox or None
            The local server behind this connection, where there is one.

    """

    def __init__(
        self,
        region: Region,
        keeper: TokenKeeper,
        *,
        client_id: str | None = None,
        origins: Mapping[str, str] | None = None,
        notes: tuple[str, ...] = (),
        timeout_seconds: Seconds = TIMEOUTS,
        retry: RetryPolicy = DEFAULT_RETRY,
        on_wait: OnWait | None = None,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self.region = region
        self.client_id = client_id
        self.origins = dict(origins or {})
        self.notes = notes
        self.sandbox: Sandbox | None = None
        self._stop_sandbox: Callable[[], object] | None = None  # where it was started for this connection
        self._keeper = keeper
        self._settings: dict[str, Any] = {
            "timeout_seconds": timeout_seconds,
            "retry": retry,
            "body_limit_bytes": body_limit_bytes,
        }
        self.session = Session(region, keeper, on_wait=on_wait, **self._settings)
        self.directory = DirectoryApi(self.session, keeper)
        self.tokens = TokensApi(self.session, keeper, self.directory)

    @property
    def access_token(self) -> AccessToken:
        """The token in use; raises `SignedOutError` after `sign_out()`."""
        return self._keeper.current(renew=False)

    def sign_out(self, *, verify: bool = False) -> None:
        """Revoke this connection's token, then forget it and the means to renew it.

        Where the revocation fails, its error is raised and the connection stays as it was, unless the error is
        `UnauthorizedError`: then the token was dead before, and is forgotten too.

        Args:
            verify:
                Prove with HEAD that the token is dead before forgetting it.
        """
        try:
            self.tokens.delete_tokens_me(verify=verify)
        except UnauthorizedError:
            self._keeper.forget()
            raise
        self._keeper.forget()

    def close(self) -> None:
        """Close the network connections, and the sandbox that was started for this connection. Revokes nothing."""
        self.session.close()
        if self._stop_sandbox is not None:
            self._stop_sandbox()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # To a worker on another machine goes what it needs to sign and renew, and no open socket.
        parts = {"client_id": self.client_id, "origins": self.origins, "notes": self.notes, **self._settings}
        return functools.partial(Connection, **parts), (self.region, self._keeper)

    def __repr__(self) -> str:
        return f"<Connection to {self._where()}: {self._state()}>"

    def _repr_html_(self) -> str:
        rows = [("Connected to", self._where()), ("Token", self._state())]
        rows += [
            (name.replace("_", " ").capitalize(), f"from {origin}") for name, origin in self.origins.items()
        ]
        rows += [("Note", note) for note in self.notes]
        return two_columns(rows)

    def _where(self) -> str:
        # The port of a local sandbox changes at every start and says nothing to anyone.
        return "the sandbox on this machine" if self.sandbox is not None else str(self.region)

    def _state(self) -> str:
        try:
            token = self.access_token
        except SignedOutError:
            return "signed out"
        if self._keeper.revoked:
            return "revoked: sign in again for further calls"
        if self.sandbox is not None:
            return f"signed in by {token.grant}"
        client = f" of client {self.client_id}" if self.client_id else ""
        return f"signed in by {token.grant}{client}, token {token.fingerprint}"


def connect(
    environment: str | Region | None = None,
    *,
    client_id: str | None = None,
    client_secret: str | Secret | None = None,
    access_token: str | Secret | None = None,
    profile: str | None = None,
    keyring: bool = False,
    prompt: bool = False,
    timeout_seconds: Seconds = TIMEOUTS,
    retry: RetryPolicy = DEFAULT_RETRY,
    on_wait: OnWait | None = None,
    body_limit_bytes: int = BODY_LIMIT_BYTES,
) -> Connection:
    """Sign in with client credentials or a pasted access token, from wherever they are found.

    The order: arguments, the named `profile`, environment variables, the `DEFAULT` profile of `~/.gc/config.toml`, then,
    where asked for, the keyring and a prompt (see `gctokens_nb.credentials`). The connection's `origins` and its table
    in a cell say which it used. A pasted token is not checked here: the first call tells whether it is good.

    Args:
        environment:
            The region, in any way people name it: `mypurecloud.de`, `eu-central-1`, `https://api.mypurecloud.de/`, …
        client_id, client_secret:
            Of an OAuth client with the grant *Client Credentials*.
        access_token:
            A token from elsewhere. It is never renewed.
        profile:
            A table of `~/.gc/config.toml`.
        keyring, prompt:
            Look for the secret in the operating system's keyring; ask for what is missing.
        timeout_seconds:
            `(connect, read)` or `(connect, read, total)` of each attempt, of the sign-in too. With two numbers, the total
            is four times the read timeout.
        retry, on_wait:
            How requests are repeated, and who is told of the waits.
        body_limit_bytes:
            How large an answer's body may be after decompression; 16 MiB unless set.

    Raises:
        CredentialsError, UnknownRegionError, InsecureUrlError:
            Nothing was sent.
        LoginError:
            The login host refused.
        TransportError:
            No usable answer came.
    """
    client_secret = Secret(client_secret) if client_secret else None  # a traceback with locals shows a mask
    access_token = Secret(access_token) if access_token else None
    found = credentials.find(
        environment=environment,
        client_id=client_id,
        client_secret=client_secret,
        access_token=access_token,
        profile=profile,
        keyring=keyring,
        prompt=prompt,
    )
    if found.access_token is not None:
        keeper = TokenKeeper(oauth.pasted(found.access_token))
    else:
        sign_in = functools.partial(
            oauth.client_credentials,
            found.region,
            found.client_id or "",
            found.client_secret or Secret(""),
            timeout_seconds=timeout_seconds,
        )
        keeper = TokenKeeper(sign_in(), functools.partial(_again, sign_in))
    return Connection(
        found.region,
        keeper,
        client_id=found.client_id,
        origins=found.origins,
        notes=found.notes,
        timeout_seconds=timeout_seconds,
        retry=retry,
        on_wait=on_wait,
        body_limit_bytes=body_limit_bytes,
    )


def authenticate_with_client_credentials(
    client_id: str, client_secret: str | Secret, environment: str | Region = "mypurecloud.com"
) -> Connection:
    """Sign in as a machine, under the name that Genesys' Ruby SDK documents.

    Args:
        client_id, client_secret:
            Of an OAuth client with the grant *Client Credentials*.
        environment:
            The region, `mypurecloud.com` where none is given, as in that SDK.

    Returns:
        Connection

    Raises:
        LoginError, TransportError, UnknownRegionError, InsecureUrlError:
            As `connect()`.
    """
    client_secret = Secret(client_secret)  # a traceback with locals shows a mask
    return connect(environment, client_id=client_id, client_secret=client_secret)


def connect_sandbox(client: str = "admin", *, sandbox: Sandbox | None = None, **options: Any) -> Connection:
    """Sign in to a local look-alike of Genesys Cloud: no account, no network, nothing real to break.

    Args:
        client:
            The name of one of its client-credentials clients: `admin`, or `no permissions`.
        sandbox:
            A running `Sandbox` to share; otherwise one is started on a free port of 127.0.0.1 and stopped by `close()`,
            or when the connection is no longer used.
        options:
            Passed to the `Sandbox` that is started: `users`, `rate_limit`, …

    Returns:
        Connection
            Its `sandbox` is the server.
    """
    from gctokens_nb.sandbox import Sandbox  # noqa: PLC0415 - only those who want it load the server

    own = sandbox is None
    server = sandbox or Sandbox(**options)
    if own:
        server.start()
    try:
        known = server.client(client)
        connection = connect(server.environment, client_id=known.client_id, client_secret=known.client_secret)
    except BaseException:
        if own:
            server.stop()
        raise
    connection.origins = dict.fromkeys(connection.origins, "the sandbox")
    connection.sandbox = server
    if own:
        # The session is what all calls hold, `gct.connect_sandbox().tokens.get_tokens_me()` included.
        connection._stop_sandbox = weakref.finalize(connection.session, server.stop)  # noqa: SLF001 - it is made here
    return connection


def _again(sign_in: functools.partial[AccessToken], used: AccessToken) -> AccessToken:
    del used
    return sign_in()
