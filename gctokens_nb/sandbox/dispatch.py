"""How requests are handled as they come in: whose they are, what goes wrong, what is answered, what is kept."""

import asyncio
import logging
import threading
import traceback
from collections.abc import Iterable, Mapping
from datetime import datetime
from http.client import responses as reasons
from typing import NamedTuple, cast
from urllib.parse import parse_qs

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError

from gctokens_nb.sandbox.api import PlatformApi
from gctokens_nb.sandbox.faults import Fault
from gctokens_nb.sandbox.hosts import OwnNames
from gctokens_nb.sandbox.oauth import OAuthServer
from gctokens_nb.sandbox.reading import bearer_token
from gctokens_nb.sandbox.wire import ERRORS, Refusal, Request, Response, html_response, new_correlation_id
from gctokens_nb.sandbox.world import Token, World

_log = logging.getLogger(__name__)
_UNRECORDED_HEADERS = {"authorization", "cookie", "proxy-authorization"}

# What the texts of scripted errors speak of.
_EXAMPLES = {
    "address": "192.0.2.1",
    "allowed": "x",
    "bytes": "1048576",
    "divisions": "[Home]",
    "limit": "300",
    "name": "x",
    "permission": "oauth:token:delete",
    "permissions": "[oauth:token:delete]",
    "policies": "00000000-0000-4000-8000-000000000000",
    "scope": "user-basic-info",
    "type": "String",
    "value": "x",
    "window": "60",
}


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


class Dispatcher:
    """Handles each request, in the server's thread. ``lock`` is held around world, faults and calls.

    Args:
        world: Whose tokens are asked for.
        oauth: Answers the login host's paths.
        api: Answers all others.
        faults: What goes wrong.
        latency_seconds: How long each request waits before it is handled.
        record: Whether ``calls`` are kept.
    """

    def __init__(
        self,
        world: World,
        oauth: OAuthServer,
        api: PlatformApi,
        *,
        faults: Iterable[Fault],
        latency_seconds: float,
        record: bool,
    ) -> None:
        self.lock = threading.RLock()
        self.faults = list(faults)
        self.calls: list[Call] = []
        self._world = world
        self._oauth = oauth
        self._api = api
        self._latency_seconds = latency_seconds
        self._record = record
        self._tasks: set[asyncio.Task[None]] = set()

    async def end(self) -> None:
        """Give up what is still being answered."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def received(self, own_names: OwnNames, received: HTTPServerRequest) -> None:
        """Answer a request, now or in a task of its own; refuse it if it is addressed to somebody else."""
        request = Request(
            received.method or "",
            received.path,
            parse_qs(received.query, keep_blank_values=True) if received.query else {},
            received.headers,
            received.body,
        )
        if received.headers.get("Host", "") not in own_names:
            with self.lock:
                self._note(received, request, 421, None)
            text = f"This is a sandbox of gctokens_nb. It answers only if it is addressed as one of {own_names}.\n"
            self._send(received, Response(421, text.encode(), {"Content-Type": "text/plain"}))
            return
        with self.lock:
            fault = next((one for one in self.faults if one.strikes_at(request.method, request.path)), None)
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
                with self.lock:
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
        with self.lock:
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
                response = Refusal("internal.server.error").response(correlation_id)
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
            seconds = f"{fault.seconds:g}"
            retry = {"Retry-After": seconds} if fault.status == 429 else {}
            response = Refusal(
                fault.code,
                status=fault.status,
                params={
                    name: value
                    for name, value in {**_EXAMPLES, "seconds": seconds}.items()
                    if f"{{{name}}}" in ERRORS[fault.code][1]
                },
                headers={**retry, **fault.headers},
            ).response(correlation_id)
            if fault.body is not None:
                response = response._replace(body=fault.body.encode())
        with self.lock:
            self._note(received, request, response.status, self._live_token(request))
        return response._replace(headers={"ININ-Correlation-Id": correlation_id, **response.headers})

    def _live_token(self, request: Request) -> Token | None:
        value = bearer_token(request)
        return self._world.tokens[value] if value and self._world.is_alive(value) else None

    def _expire(self, request: Request) -> None:
        with self.lock:
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
        self.calls.append(
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
