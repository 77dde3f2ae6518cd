"""The sandbox itself: a server in a thread of its own, and the handles that tests and notebooks hold."""

import asyncio
import errno
import ipaddress
import logging
import socket
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from http.client import responses as reasons
from types import TracebackType
from typing import Any, NamedTuple, Self, cast
from urllib.parse import parse_qs

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError

from gctokens_nb.sandbox.api import PlatformApi, bearer_token
from gctokens_nb.sandbox.faults import Fault
from gctokens_nb.sandbox.oauth import OAuthServer
from gctokens_nb.sandbox.wire import (
    Refusal,
    Request,
    Response,
    html_response,
    new_correlation_id,
)
from gctokens_nb.sandbox.world import (
    CLIENT_CREDENTIALS,
    GRANTS,
    USER_STATES,
    Organization,
    Revocation,
    SandboxClient,
    SandboxUser,
    Token,
    World,
    stable_id,
)

_log = logging.getLogger(__name__)
_UNRECORDED_HEADERS = {"authorization", "cookie", "proxy-authorization"}


class SandboxError(Exception):
    """The sandbox cannot do what it was asked."""


class Call(NamedTuple):
    """One request, as the server saw it.

    ``status`` is None where the connection was ended without an answer. ``authorized`` says whether the
    request came with a token that was alive. Headers that carry credentials (Authorization, Cookie) and
    the values of form fields are not kept; path and query are, as they came.
    """

    at: datetime
    method: str
    path: str
    query: str
    status: int | None
    client_id: str | None
    user_id: str | None
    authorized: bool
    headers: Mapping[str, str]
    form_keys: tuple[str, ...]


class Sandbox:
    """A local server that speaks as Genesys Cloud does, with users, OAuth clients and tokens of its own.

    Use it as a context manager, or call ``start()`` and ``stop()``. Anyone who can reach it can sign in:
    it listens on loopback only, unless told otherwise.

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
        allow_non_loopback: bool = False,
        record: bool = True,
    ) -> None:
        if users < 1:
            raise SandboxError("the sandbox needs at least one user, its administrator")
        self._port = port
        self._host = host
        self._allow_non_loopback = allow_non_loopback
        self._latency_seconds = latency_seconds
        self._record = record
        self._world = World(organization, users, token_lifetime_seconds)
        self._oauth = OAuthServer(self._world)
        self._api = PlatformApi(self._world, rate_limit, rate_window_seconds)
        self._faults = list(faults)
        self._calls: list[Call] = []
        self._lock = threading.RLock()  # around the world, the faults and the calls
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
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
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(listener, ready), name="gctokens-sandbox", daemon=True
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

    def _run(self, listener: socket.socket, ready: Future[None]) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve(listener, ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, listener: socket.socket, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = HTTPServer(self._received)
        server.add_socket(listener)
        ready.set_result(None)
        await self._stopping.wait()
        server.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
        with self._lock:
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
        """Add an OAuth client; without a secret, a public one.

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
        with self._lock:
            self._world.clients[client.client_id] = client
        return client

    @property
    def users(self) -> Sequence[SandboxUser]:
        """All users, in the order they were made."""
        with self._lock:
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
        with self._lock:
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
        with self._lock:
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
        with self._lock:
            return self._world.issue_token(self._world.start_grant(chosen, user), expires_in_seconds)

    def is_alive(self, token: str) -> bool:
        """Whether the access token would be let in now, by the server's own books; resets no idle timer."""
        with self._lock:
            return self._world.is_alive(token)

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock on: lifetimes, idle times, codes and rate windows go by."""
        with self._lock:
            self._world.clock_offset_seconds += seconds

    def add_fault(self, fault: Fault) -> Fault:
        """Let something go wrong from now on; the fault itself, to hold and release by."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear_faults(self) -> None:
        """Let nothing go wrong any more; what is held goes on."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.release()

    @property
    def calls(self) -> tuple[Call, ...]:
        """All requests so far, in the order they were answered."""
        with self._lock:
            return tuple(self._calls)

    @property
    def revocations(self) -> tuple[Revocation, ...]:
        """All deletions of a user's tokens that took effect, even where the answer was lost."""
        with self._lock:
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

    # Requests, all in the server's thread

    def _received(self, received: HTTPServerRequest) -> None:
        request = Request(
            received.method or "",
            received.path,
            parse_qs(received.query, keep_blank_values=True) if received.query else {},
            received.headers,
            received.body,
        )
        with self._lock:
            fault = next((one for one in self._faults if one.strikes_at(request.method, request.path)), None)
        if fault is None and not self._latency_seconds:
            self._send(received, self._handle(received, request))
            return
        task = asyncio.ensure_future(self._answer_later(received, request, fault))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_later(self, received: HTTPServerRequest, request: Request, fault: Fault | None) -> None:
        if self._latency_seconds:
            await asyncio.sleep(self._latency_seconds)
        connection = cast(HTTP1Connection, received.connection)
        match fault.kind if fault else None:
            case "slow" | "hold" if fault:
                await fault.hold(fault.seconds if fault.kind == "slow" else None)
            case "expire-token":
                self._expire(request)
            case "status" | "html" | "garbage" if fault:
                self._send(received, self._canned(received, request, fault))
                return
            case "drop-before":
                with self._lock:
                    self._note(received, request, None, self._live_token(request))
                connection.close()
                return
            case "drop-after":
                self._handle(received, request, answered=False)
                connection.close()
                return
            case "truncate":
                await self._send_truncated(received, self._handle(received, request))
                return
        self._send(received, self._handle(received, request))

    def _handle(self, received: HTTPServerRequest, request: Request, *, answered: bool = True) -> Response:
        """Do what is asked, note it, and give the answer."""
        correlation_id = new_correlation_id()
        with self._lock:
            token = self._live_token(request) if self._record else None
            try:
                if request.path in {"/oauth/token", "/token"}:
                    response = self._oauth.token(request)
                elif request.path == "/oauth/authorize":
                    response = self._oauth.authorize(request)
                else:
                    response = self._api.answer(request, correlation_id)
            except Exception as error:  # noqa: BLE001 - a mistake of the sandbox is an answer too
                # Neither the query nor the error's own text is logged: they may hold a secret.
                places = "".join(traceback.format_tb(error.__traceback__))
                _log.error("%s %s failed: %s\n%s", request.method, request.path, type(error).__name__, places)
                response = Refusal(500).response(correlation_id)
            self._note(received, request, response.status if answered else None, token)
        return response._replace(headers={**response.headers, "ININ-Correlation-Id": correlation_id})

    def _canned(self, received: HTTPServerRequest, request: Request, fault: Fault) -> Response:
        """The fault's own answer."""
        correlation_id = new_correlation_id()
        if fault.kind == "html":
            reason = reasons.get(fault.status, "Error")
            title = f"{fault.status} {reason}"
            response = html_response(
                fault.status, f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
            )
        elif fault.kind == "garbage":
            response = Response(200, b'{"organization": {"id": "', {"Content-Type": "application/json"})
        else:
            retry = {"Retry-After": f"{fault.seconds:g}"} if fault.status == 429 else {}
            response = Refusal(fault.status, headers={**retry, **fault.headers}).response(correlation_id)
            if fault.body is not None:
                response = response._replace(body=fault.body.encode())
        with self._lock:
            self._note(received, request, response.status, self._live_token(request))
        return response._replace(headers={"ININ-Correlation-Id": correlation_id, **response.headers})

    def _live_token(self, request: Request) -> Token | None:
        value = bearer_token(request)
        return self._world.tokens[value] if value and self._world.is_alive(value) else None

    def _expire(self, request: Request) -> None:
        with self._lock:
            token = self._live_token(request)
            if token:
                token.expires_at = self._world.now()

    def _note(
        self, received: HTTPServerRequest, request: Request, status: int | None, token: Token | None
    ) -> None:
        if not self._record:
            return
        grant = token.grant if token else None
        form = request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        self._calls.append(
            Call(
                at=self._world.now_utc(),
                method=request.method,
                path=request.path,
                query=received.query,
                status=status,
                client_id=grant.client.client_id if grant else None,
                user_id=grant.user.id if grant and grant.user else None,
                authorized=token is not None,
                headers={
                    name: value
                    for name, value in request.headers.items()
                    if name.lower() not in _UNRECORDED_HEADERS
                },
                form_keys=tuple(parse_qs(request.body.decode("latin-1"), keep_blank_values=True))
                if form
                else (),
            )
        )

    @staticmethod
    def _send(received: HTTPServerRequest, response: Response) -> None:
        headers = HTTPHeaders(response.headers)
        bodiless = response.status in {204, 304}
        if not bodiless:
            headers["Content-Length"] = str(len(response.body))
        start = ResponseStartLine("HTTP/1.1", response.status, reasons.get(response.status, "Unknown"))
        body = b"" if bodiless or received.method == "HEAD" else response.body
        connection = cast(HTTP1Connection, received.connection)
        connection.write_headers(start, headers, body)
        connection.finish()

    @staticmethod
    async def _send_truncated(received: HTTPServerRequest, response: Response) -> None:
        """Promise more body than is sent, or break off in the status line; then end the connection."""
        if received.method == "HEAD" or not response.body:
            data = b"HTTP/1."  # there is no body to cut short
        else:
            headers = {**response.headers, "Content-Length": str(len(response.body) + 64)}
            lines = [f"HTTP/1.1 {response.status} {reasons.get(response.status, 'Unknown')}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            data = "\r\n".join([*lines, "", ""]).encode() + response.body
        connection = cast(HTTP1Connection, received.connection)
        try:
            await connection.stream.write(data)
        except StreamClosedError:
            return  # the client did not wait
        connection.close()
