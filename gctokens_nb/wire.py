"""Connections that bound what they read: each answer has an end in time and in bytes, whatever the server sends.

urllib3 and http.client read an answer through one file object. The one here asks, at every single read from the socket,
how much time and how many bytes are left for the attempt under way. Nothing above it can forget to ask.
"""

from __future__ import annotations

import contextvars
import http.client
import io
import os
import time
from typing import Any

from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter
from urllib3.util import parse_url

from gctokens_nb.redaction import Secret
from gctokens_nb.waits import Cancel, cancellation

HEADER_BYTES = 64 * 1024  # of one answer, its 1xx answers and those of a proxy included
POOL_SIZE = 64  # connections kept per host: as many workers may share one session


class Attempt:
    """One request and its answer: when it must be over, how many bytes may still come, who may break it off.

    Args:
        read_seconds: For each read or write.
        total_seconds: From now until the answer is complete.
        body_bytes: How many bytes may come after the headers; None for any number.

    Attributes:
        sent: Whether the request began to be written to a connection.
        too_large: Which part of the answer passed its bound, in words.
    """

    def __init__(self, read_seconds: float, total_seconds: float, body_bytes: int | None) -> None:
        self.sent = False
        self.too_large = ""
        self._read_seconds = read_seconds
        self._deadline = time.monotonic() + total_seconds
        self._bytes_left: float = HEADER_BYTES
        self._part = "headers"
        self._body_bytes = body_bytes
        waited_for = cancellation()
        self._cancel = waited_for if isinstance(waited_for, Cancel) else None

    def seconds(self) -> float:
        """Return how long the next read or write may take; raise `TimeoutError` when the time is up."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the total time for this attempt is over")
        return min(self._read_seconds, left)

    def wait_on(self, sock: Any) -> None:
        """Let `Cancel` break off this socket."""
        if self._cancel is not None:
            self._cancel.attend(sock)

    def headers_done(self) -> None:
        """From now on the bytes are those of the body."""
        self._part = "body"
        self._bytes_left = float("inf") if self._body_bytes is None else self._body_bytes

    def took(self, count: int) -> None:
        """Count bytes that came; none at all means that the connection was closed."""
        if count == 0 and self._part == "headers":  # http.client takes that for the end of the headers
            raise http.client.RemoteDisconnected("the connection was closed before the answer was complete")
        self._bytes_left -= count
        if self._bytes_left < 0:
            self.too_large = self._part
            raise http.client.HTTPException("the answer is too large")


under_way: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar(
    "gctokens_nb_attempt", default=None
)


class _Inflow(io.RawIOBase):
    """What comes from a socket, within the bounds of an attempt."""

    def __init__(self, sock: Any, attempt: Attempt) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._attempt = attempt

    def makefile(self, _mode: str) -> io.BufferedReader:  # http.client makes its file object by this
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._attempt.seconds())
        count: int | None = self._raw.readinto(buffer)
        self._attempt.took(count or 0)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer read through an `_Inflow`; it passes over all 1xx answers, http.client itself over 100 only."""

    def __init__(
        self, sock: Any, debuglevel: int, method: str | None, url: str | None, attempt: Attempt
    ) -> None:
        self._attempt = attempt
        super().__init__(_Inflow(sock, attempt), debuglevel, method, url)  # type: ignore[arg-type]

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.HTTPException("the server switched to another protocol")
            if status >= http.HTTPStatus.OK:
                return version, status, reason
            http.client.parse_headers(self.fp)

    def begin(self) -> None:
        super().begin()
        self._attempt.headers_done()


class _Bounded:
    """A urllib3 connection whose reads and writes are those of the attempt under way."""

    sock: Any

    def response_class(
        self, sock: Any, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> Any:
        attempt = under_way.get()
        if attempt is None:  # somebody else uses the adapter
            return http.client.HTTPResponse(sock, debuglevel, method, url)
        attempt.wait_on(sock)
        return _Answer(sock, debuglevel, method, url, attempt)

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]
        finally:
            if (attempt := under_way.get()) is not None:
                attempt.sent = False  # what went to a proxy was not the request

    def send(self, data: Any) -> None:
        attempt = under_way.get()
        if attempt is not None:
            if self.sock is None:
                self.connect()
            attempt.sent = True
            self.sock.settimeout(attempt.seconds())
        super().send(data)  # type: ignore[misc]


def _bounded(manager: Any) -> Any:
    manager.pool_classes_by_scheme = {
        scheme: type(
            f"Bounded{pool.__name__}",
            (pool,),
            {"ConnectionCls": type("BoundedConnection", (_Bounded, pool.ConnectionCls), {})},
        )
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager


class Adapter(HTTPAdapter):
    """requests' adapter with bounded connections, which it shares with no other process.

    Args:
        proxy_credentials:
            The value of Proxy-Authorization for each `host:port` of a proxy. They are kept here and not in the proxies'
            addresses, which requests hands from function to function in the clear.
    """

    def __init__(self, proxy_credentials: dict[str, Secret] | None = None) -> None:
        self._proxy_credentials = proxy_credentials or {}
        self._process = os.getpid()
        super().__init__(pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As in requests."""
        super().init_poolmanager(*args, **kwargs)
        _bounded(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """As in requests."""
        return self.proxy_manager.get(proxy) or _bounded(super().proxy_manager_for(proxy, **kwargs))

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """As in requests, with the credentials kept here."""
        headers: dict[str, str] = super().proxy_headers(proxy)
        known = self._proxy_credentials.get(parse_url(proxy).netloc or "")
        return {**headers, "Proxy-Authorization": known.reveal()} if known else headers

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """As in requests, but never with a connection of the process that this one was forked from."""
        if self._process != os.getpid():
            # What the parent has stays open: it is the parent's, and a lock in there may be held for ever.
            _PARENTS.append((self.poolmanager, self.proxy_manager))
            self.proxy_manager = {}
            self.init_poolmanager(DEFAULT_POOLSIZE, POOL_SIZE)
            self._process = os.getpid()
        return super().get_connection_with_tls_context(*args, **kwargs)


_PARENTS: list[Any] = []
