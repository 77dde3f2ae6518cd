"""The sandbox itself: a server in a thread of its own, and the handles that tests and notebooks hold."""

import asyncio
import errno
import ipaddress
import socket
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self

from tornado.httpserver import HTTPServer

from gctokens_nb.sandbox.api import PlatformApi
from gctokens_nb.sandbox.dispatch import Call, Dispatcher
from gctokens_nb.sandbox.faults import Fault
from gctokens_nb.sandbox.hosts import OwnNames
from gctokens_nb.sandbox.model import (
    CLIENT_CREDENTIALS,
    GRANTS,
    USER_STATES,
    Organization,
    SandboxClient,
    SandboxUser,
    stable_id,
)
from gctokens_nb.sandbox.oauth import OAuthServer
from gctokens_nb.sandbox.world import Revocation, World


class SandboxError(Exception):
    """The sandbox cannot do what it was asked."""


class Sandbox:
    """A local server that speaks as Genesys Cloud does, with users, OAuth clients and tokens of its own.

    Use it as a context manager, or call ``start()`` and ``stop()``. Anyone who can reach it can sign in:
    it listens on loopback only, unless told otherwise, and refuses requests whose Host header is not one of its own
    names, so that no web page can reach it by DNS rebinding.

    Args:
        port: To listen on; 0 for any that is free.
        host: To listen on.
        users: How many people the organization has.
        rate_limit: Requests a token may make in a window; None for no limit and no rate-limit headers.
        rate_window_seconds: How long a window lasts.
        latency_seconds: How long each request waits before it is handled.
        faults: What goes wrong from the start.
        organization: Its name, from which all seeded ids and secrets derive.
        token_lifetime_seconds: How long access tokens live.
        enforce_scopes: Whether clients that act for people may do only what their OAuth scopes cover, as an
            organization can choose; without it, scopes bind nobody.
        hipaa: Whether the organization is under HIPAA: its idle timeout is 900 seconds at most.
        allow_non_loopback: Whether ``host`` may be reachable from elsewhere.
        record: Whether ``calls`` are kept; not, to measure speed.

    Raises:
        SandboxError: ``users`` is less than 1. Later, by ``start()``: the port is in use or out of range, the
            host is not loopback, or the server cannot come up.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        users: int = 50,
        rate_limit: int | None = 300,
        rate_window_seconds: float = 60.0,
        latency_seconds: float = 0.0,
        faults: Iterable[Fault] = (),
        organization: str = "Cumulus Airlines",
        token_lifetime_seconds: float = 86400,
        enforce_scopes: bool = False,
        hipaa: bool = False,
        allow_non_loopback: bool = False,
        record: bool = True,
    ) -> None:
        if users < 1:
            raise SandboxError("the sandbox needs at least one user, its administrator")
        self._port = port
        self._host = host
        self._allow_non_loopback = allow_non_loopback
        self._world = World(organization, users, token_lifetime_seconds, hipaa=hipaa)
        self._oauth = OAuthServer(self._world)
        self._dispatcher = Dispatcher(
            self._world,
            self._oauth,
            PlatformApi(self._world, rate_limit, rate_window_seconds, enforce_scopes=enforce_scopes),
            faults=faults,
            latency_seconds=latency_seconds,
            record=record,
        )
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._base_url: str | None = None

    def __repr__(self) -> str:
        """Without the port, so that notebooks look the same at every run."""
        return f"<Sandbox {self._world.organization.name!r}, {len(self._world.users)} users>"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    # Life

    def start(self) -> None:
        """Listen, and serve in a thread until ``stop()``.

        Raises:
            SandboxError: The port is in use or out of range, the host is not loopback, the server cannot come
                up (for want of file descriptors, for example), or it runs already.
        """
        if self._thread:
            raise SandboxError("the sandbox runs already")
        listener = self._listen()
        host, port = listener.getsockname()[:2]
        own_names = OwnNames(self._host, host, port)
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(listener, own_names, ready), name="gctokens-sandbox", daemon=True
        )
        try:
            self._thread.start()
            ready.result()
        except Exception as error:
            if self._thread.is_alive():
                self._thread.join()
            self._thread = self._loop = self._stopping = None
            listener.close()
            raise SandboxError(f"the sandbox could not start: {error}") from error
        self._base_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def stop(self) -> None:
        """End all connections, close the port and wait for the thread. Does nothing if it does not run."""
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread and loop and stopping:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()
        self._thread = self._loop = self._stopping = self._base_url = None

    def _listen(self) -> socket.socket:
        try:
            loopback = self._host == "localhost" or ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            loopback = False
        if not loopback and not self._allow_non_loopback:
            raise SandboxError(
                f"the sandbox listens on loopback only, and {self._host} is not: anyone who reaches it can sign in. "
                "Where that is what you want, allow it (allow_non_loopback=True, --allow-non-loopback)."
            )
        if not 0 <= self._port <= 65535:
            raise SandboxError(
                f"{self._port} is no port: choose one from 1 to 65535, or 0 for any that is free"
            )
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = socket.create_server((self._host, self._port), family=family, backlog=1024)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SandboxError(
                    f"port {self._port} of {self._host} is in use: choose another, or 0 for any that is free"
                ) from error
            raise SandboxError(
                f"cannot listen on {self._host} port {self._port}: {error.strerror}"
            ) from error
        listener.setblocking(False)
        return listener

    def _run(self, listener: socket.socket, own_names: OwnNames, ready: Future[None]) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve(listener, own_names, ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, listener: socket.socket, own_names: OwnNames, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = HTTPServer(partial(self._dispatcher.received, own_names))
        server.add_socket(listener)
        ready.set_result(None)
        await self._stopping.wait()
        server.stop()
        await self._dispatcher.end()
        await server.close_all_connections()

    # What tests and notebooks hold

    @property
    def base_url(self) -> str:
        """Where it listens, ``http://127.0.0.1:PORT``: login and API alike."""
        if self._base_url is None:
            raise SandboxError("the sandbox does not run: call start(), or use it in a with statement")
        return self._base_url

    @property
    def environment(self) -> str:
        """What to pass as the environment: the base URL."""
        return self.base_url

    @property
    def organization(self) -> Organization:
        """The organization, by id and name."""
        return self._world.organization

    @property
    def clients(self) -> tuple[SandboxClient, ...]:
        """All OAuth clients."""
        with self._dispatcher.lock:
            return tuple(self._world.clients.values())

    def client(self, name: str) -> SandboxClient:
        """The OAuth client of that name.

        Raises:
            KeyError: There is none.
        """
        for client in self.clients:
            if client.name == name:
                return client
        raise KeyError(
            f"no client {name!r}: choose one of {', '.join(client.name for client in self.clients)}"
        )

    def add_client(
        self,
        name: str,
        *,
        grant: str = CLIENT_CREDENTIALS,
        client_id: str | None = None,
        client_secret: str | None = None,
        permissions: Iterable[str] = (),
        redirect_uris: Iterable[str] = (),
        scope: Iterable[str] = (),
        state: str = "active",
    ) -> SandboxClient:
        """Add an OAuth client; without a secret, a public one, which signs people in with PKCE.

        Raises:
            ValueError: The grant is unknown.
        """
        if grant not in GRANTS:
            raise ValueError(f"unknown grant {grant!r}: choose one of {', '.join(GRANTS)}")
        client = SandboxClient(
            name,
            client_id or stable_id(f"{self.organization.name}/client/{name}"),
            client_secret,
            grant,
            tuple(permissions),
            tuple(redirect_uris),
            state,
            tuple(scope),
        )
        with self._dispatcher.lock:
            self._world.clients[client.client_id] = client
        return client

    @property
    def users(self) -> Sequence[SandboxUser]:
        """All users, in the order they were made."""
        with self._dispatcher.lock:
            return tuple(self._world.users)

    @property
    def clone(self) -> SandboxUser:
        """The user who is a clone of a trustee organization's user.

        Raises:
            KeyError: So few users were asked for that there is none.
        """
        for user in self._world.users:
            if user.cloned_from:
                return user
        raise KeyError("no user is a clone: start the sandbox with at least 20 users")

    def user(self, id_or_email: str) -> SandboxUser:
        """The user with that id or e-mail address.

        Raises:
            KeyError: There is none.
        """
        with self._dispatcher.lock:
            user = self._oauth.user(id_or_email)
        if user is None:
            raise KeyError(f"no user with the id or e-mail {id_or_email!r}")
        return user

    def add_user(
        self, *, name: str, email: str, state: str = "active", permissions: Iterable[str] = ()
    ) -> SandboxUser:
        """Add a user.

        Raises:
            ValueError: The state is unknown.
        """
        if state not in USER_STATES:
            raise ValueError(f"unknown state {state!r}: choose one of {', '.join(USER_STATES)}")
        with self._dispatcher.lock:
            return self._world.add_user(name, email, state, permissions)

    def issue_token(
        self,
        user: SandboxUser | str | None = None,
        client: str = "web app",
        expires_in_seconds: float | None = None,
    ) -> str:
        """A live access token, as if someone had signed in.

        Args:
            user: The user, or their id or e-mail; the administrator by default. A client that uses client
                credentials acts for nobody.
            client: The OAuth client's name.
            expires_in_seconds: How long it lives; as all tokens do by default.

        Raises:
            KeyError: There is no such user or client.
            ValueError: A user is given with a client that uses client credentials.
        """
        chosen = self.client(client)
        if chosen.grant == CLIENT_CREDENTIALS:
            if user is not None:
                raise ValueError(f"the client {client!r} uses client credentials: its tokens have no user")
        elif user is None:
            user = self._world.users[0]
        if isinstance(user, str):
            user = self.user(user)
        with self._dispatcher.lock:
            return self._world.issue_token(self._world.start_grant(chosen, user), expires_in_seconds)

    def is_alive(self, token: str) -> bool:
        """Whether the access token would be let in now, by the server's own books; resets no idle timer."""
        with self._dispatcher.lock:
            return self._world.is_alive(token)

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock on: lifetimes, idle times, codes and rate windows go by."""
        with self._dispatcher.lock:
            self._world.clock_offset_seconds += seconds

    def add_fault(self, fault: Fault) -> Fault:
        """Let something go wrong from now on; the fault itself, to hold and release by."""
        with self._dispatcher.lock:
            self._dispatcher.faults.append(fault)
        return fault

    def clear_faults(self) -> None:
        """Let nothing go wrong any more; what is held goes on."""
        with self._dispatcher.lock:
            faults, self._dispatcher.faults = self._dispatcher.faults, []
        for fault in faults:
            fault.release()

    @property
    def calls(self) -> tuple[Call, ...]:
        """All requests so far, in the order they were answered."""
        with self._dispatcher.lock:
            return tuple(self._dispatcher.calls)

    @property
    def revocations(self) -> tuple[Revocation, ...]:
        """All deletions of a user's tokens that took effect, even where the answer was lost."""
        with self._dispatcher.lock:
            return tuple(self._world.revocations)

    def describe(self) -> dict[str, Any]:
        """What a client needs to know, secrets included: the ready line of ``python -m gctokens_nb.sandbox``."""
        return {
            "base_url": self.base_url,
            "environment": self.environment,
            "organization": self.organization._asdict(),
            "clients": [
                {
                    "name": client.name,
                    "client_id": client.client_id,
                    "client_secret": client.client_secret,
                    "grant": client.grant,
                    "permissions": list(client.permissions),
                    "redirect_uris": list(client.redirect_uris),
                    "state": client.state,
                }
                for client in self.clients
            ],
            "users": [
                {"id": user.id, "name": user.name, "email": user.email} for user in self._world.users[:20]
            ],
        }
