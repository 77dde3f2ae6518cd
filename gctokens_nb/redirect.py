"""Catch the redirect that ends a sign-in in the browser of this machine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from http.client import responses
from typing import Any, Self
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

from gctokens_nb.errors import CancelledError, ConfigurationError, LoginError, readable
from gctokens_nb.redaction import Secret
from gctokens_nb.regions import is_loopback_url
from gctokens_nb.waits import cancellation

__all__ = ["Listener"]

LARGEST_HEADER_BYTES = 16 * 1024  # a code and a state are a few hundred
REQUEST_SECONDS = 10.0  # browsers open sockets ahead that never speak
MOST_CONNECTIONS = 100
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>gctokens_nb</title>'
    "<p>{} Go back to the notebook; you can close this tab.</p></html>"
)


class _Server(HTTPServer):
    """tornado's server, which serves no more than some connections at a time."""

    def handle_stream(self, stream: Any, address: Any) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            stream.close()
        else:
            super().handle_stream(stream, address)


class Listener:
    """Listens on 127.0.0.1 until the redirect that belongs to a sign-in arrives, and keeps its address.

    Any page in the browser, and any program on the machine, can call it. So what does not carry the expected state is
    turned away and changes nothing, requests are bounded in number, size and time, and only its own names are served.

    Args:
        redirect_uri:
            An `http` address on 127.0.0.1 or localhost; port 0 takes a free one.

    Attributes:
        redirect_uri: str
            With the port that is listened on.
    """

    def __init__(self, redirect_uri: str) -> None:
        parts = urlsplit(redirect_uri) if is_loopback_url(redirect_uri) else None
        if parts is None or parts.scheme != "http" or not parts.hostname or parts.hostname == "::1":
            raise ConfigurationError(
                f"{readable(redirect_uri, 100)} is not an http address on 127.0.0.1 or localhost, so no redirect to it can "
                "be caught.",
                "Use begin_sign_in() and paste the address the browser ends on.",
            )
        self._path = parts.path or "/"
        self._arrived = threading.Event()
        self._address = Secret("")
        self._expected: Callable[[Secret], bool] = lambda _: False
        self._turned_away = 0
        try:
            self._sockets = bind_sockets(80 if parts.port is None else parts.port, "127.0.0.1")
        except OSError as error:
            raise ConfigurationError(
                f"Port {parts.port} on 127.0.0.1 cannot be listened on: {error.strerror}.",
                "Close what uses it, register another redirect URI, or use begin_sign_in().",
            ) from None
        port = self._sockets[0].getsockname()[1]
        self._hosts = {f"{name}:{port}" for name in (parts.hostname, "127.0.0.1", "localhost")}
        if port == 80:
            self._hosts |= {parts.hostname, "127.0.0.1", "localhost"}
        self.redirect_uri = (
            f"http://{parts.hostname}:{port}{parts.path}"  # a slash more would not be what is registered
        )
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="gctokens_nb redirect", daemon=True)

    def expect(self, belongs: Callable[[Secret], bool]) -> None:
        """Take the address for which `belongs` is true; until this is called, none is taken."""
        self._expected = belongs

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def wait(self, timeout_seconds: float) -> Secret:
        """Return the address that arrived.

        Raises:
            LoginError:
                None arrived in time.
            CancelledError:
                The wait was cancelled.
        """
        cancel, end = cancellation(), time.monotonic() + timeout_seconds
        while not self._arrived.wait(min(0.1, max(0.0, end - time.monotonic()))):
            if cancel is not None and cancel.is_set():
                raise CancelledError(
                    "The sign-in in the browser was cancelled.", "Start a new one when you are ready."
                )
            if time.monotonic() >= end:
                others = (
                    f" Requests that did not belong to it: {self._turned_away}." if self._turned_away else ""
                )
                raise LoginError(
                    f"Nobody signed in within {timeout_seconds:g} seconds.{others}",
                    f"Start again; {self.redirect_uri} must be registered with the OAuth client.",
                    error="timeout",
                )
        return self._address

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = _Server(
            self._answer,
            no_keep_alive=True,
            idle_connection_timeout=REQUEST_SECONDS,
            body_timeout=REQUEST_SECONDS,
            max_header_size=LARGEST_HEADER_BYTES,
            max_body_size=0,
        )
        server.add_sockets(self._sockets)
        await self._over.wait()
        server.stop()
        await server.close_all_connections()

    def _answer(self, request: HTTPServerRequest) -> None:
        address = Secret(request.uri or "")
        path = (request.uri or "").partition("?")[0]
        if request.host.lower() not in self._hosts:
            _send(request, 421, "This is not the name of this server.")
        elif request.method != "GET" or path != self._path or self._arrived.is_set():
            _send(request, 404, "Nothing is here.")
        elif not self._expected(address):
            self._turned_away += 1
            _send(request, 400, "This answer belongs to another sign-in and was not taken.")
        else:
            self._address = address
            _send(request, 200, "Your answer has reached the notebook.")
            self._arrived.set()


def _send(request: HTTPServerRequest, status: int, text: str) -> None:
    page = _PAGE.format(text).encode()
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(page)),
        "Content-Security-Policy": "default-src 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    connection: Any = request.connection
    connection.write_headers(
        ResponseStartLine("HTTP/1.1", status, responses[status]), HTTPHeaders(headers), page
    )
    connection.finish()
