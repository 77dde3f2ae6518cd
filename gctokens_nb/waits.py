"""The waits of calls: being told of them, and ending them and the call itself."""

from __future__ import annotations

import contextlib
import contextvars
import socket
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import requests

__all__ = ["Cancel", "Wait", "cancellation", "watch_waits"]


class Wait(msgspec.Struct, frozen=True):
    """One wait before the next attempt: `seconds`, the `reason` in words, `method`, `path`, `attempt` that failed."""

    seconds: float
    reason: str
    method: str
    path: str
    attempt: int

    def __str__(self) -> str:
        return f"waiting {self.seconds:.1f} s ({self.reason}), then {self.method} {self.path} again"


class Cancel(threading.Event):
    """An event that, once set, also breaks off the request under way of the thread that works under it.

    For `watch_waits(cancel=…)`. A plain `threading.Event` ends waits only, and lets a request that was sent finish.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sockets_lock = threading.Lock()
        self._socket: socket.socket | None = None

    def set(self) -> None:
        """End it: the thread's request fails at once, and none is sent after it."""
        super().set()
        with self._sockets_lock:
            if self._socket is not None:
                _break_off(self._socket)

    def attend(self, under_way: socket.socket | None) -> None:
        """Take note of the socket on which the thread waits for an answer; None when it waits no more."""
        with self._sockets_lock:
            self._socket = under_way
            if under_way is not None and self.is_set():
                _break_off(under_way)


def _break_off(under_way: socket.socket) -> None:
    # The plain method: that of a TLS socket would pull its state from under the thread that reads.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(under_way, socket.SHUT_RDWR)


OnWait = Callable[[Wait], None]
OnAnswer = Callable[[requests.Response], None]


class _Watcher(NamedTuple):
    """Who is told of the calls made in a context, and what ends them."""

    on_wait: OnWait | None = None
    cancel: threading.Event | None = None
    on_answer: OnAnswer | None = None


_NOBODY = _Watcher()
_watcher: contextvars.ContextVar[_Watcher] = contextvars.ContextVar("gctokens_nb_watcher", default=_NOBODY)


@contextlib.contextmanager
def watch_waits(
    on_wait: OnWait | None = None,
    *,
    cancel: threading.Event | None = None,
    on_answer: OnAnswer | None = None,
) -> Iterator[None]:
    """Be told of each wait of the calls made inside, and be able to end it.

    Args:
        on_wait:
            Called with each `Wait` before it begins, in the thread that makes the call.
        cancel:
            Once set, a wait ends at once and its call raises `CancelledError`; nothing more is sent. A `Cancel` breaks
            off a request under way as well, of which it is then unknown whether it took effect.
        on_answer:
            Called with each `requests.Response`, of any status: its headers hold the correlation id.
    """
    token = _watcher.set(_Watcher(on_wait, cancel, on_answer))
    try:
        yield
    finally:
        _watcher.reset(token)


def watcher() -> _Watcher:
    """Return who watches the calls made in this context."""
    return _watcher.get()


def cancellation() -> threading.Event | None:
    """Return the `cancel` of the innermost `watch_waits()` around the caller, or None."""
    return _watcher.get().cancel
