"""As fast as the platform allows and no faster: one pacer for all that is sent through a connection."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping

from gctokens_nb.connection import Connection
from gctokens_nb.errors import RateLimitedError

__all__ = ["DEFAULT_RATE", "Pacer", "pacer_of"]

DEFAULT_RATE = 300  # requests a minute and token: the platform's documented limit
_WINDOW_SECONDS = 60.0
_LONGEST_RESET_SECONDS = 1e9


class Pacer:
    """Says when the next request may be sent. Any number of threads may ask.

    It follows what the server says: `inin-ratelimit-allowed`, `-count` and `-reset` (seconds until the window ends, rounded
    up), and how long a 429 asks to wait. Where the server says nothing of the kind, or `rate` asks for less, at most `rate`
    requests go out in any 60 seconds.

    Until the first answer has come, one request is on its way at most: others may have used the token's window before.
    So it is after the server has asked to wait, until one request got through: the others would be refused with it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rate: float | None = None
        self._sent: deque[float] = deque()
        self._in_flight = 0
        self._alone_since: float | None = (
            0.0  # one request at a time, until one that was sent later got through
        )
        self._probing = False  # that one is on its way
        self._allowed: int | None = None
        self._count = 0
        self._window_began = 0.0
        self._window_ends = 0.0
        self._held_until = 0.0

    def set_rate(self, rate: float | None) -> None:
        """Set the requests a minute at the most; None for what the server says, else 300; infinite for no limit of ours."""
        with self._changed:
            self._rate = rate

    def take(self, stop: threading.Event, pause: threading.Event, longest_wait_seconds: float) -> bool:
        """Wait until a request may be sent; False if `stop` is set before. Nothing is sent while `pause` is set.

        Raises:
            RateLimitedError: The server asks for a longer wait than that. It is forgotten: whoever asks again later sends
                one request to see.
        """
        with self._changed:
            while not stop.is_set():
                now = time.monotonic()
                asked = max(0.0, self._server_allows_at(now) - now)
                if asked > longest_wait_seconds and not pause.is_set():
                    self._held_until, self._allowed = 0.0, None
                    self._go_alone(now)
                    raise RateLimitedError(
                        f"The rate limit of this token is used up, and the server says that it will be for {asked:,.0f} s.",
                        "Go on after that.",
                        retry_after_seconds=asked,
                    )
                seconds = None if pause.is_set() else self._seconds_to_wait(now)
                if seconds == 0:
                    self._in_flight += 1
                    self._probing = self._alone_since is not None
                    if self._own_rate() != float("inf"):
                        self._sent.append(now)
                    return True
                self._changed.wait(seconds)
            return False

    def answered(self, sent_at: float, headers: Mapping[str, str], hold_seconds: float | None) -> None:
        """Learn from how a request ended.

        Args:
            sent_at: When it was sent, by `time.monotonic()`.
            headers: Of the answer, empty where none came.
            hold_seconds: How long the server asks everybody to wait.
        """
        with self._changed:
            self._in_flight -= 1
            now = time.monotonic()
            if hold_seconds is not None:
                self._held_until = max(self._held_until, now + hold_seconds)
                self._go_alone(now)
            elif self._alone_since is not None and sent_at >= self._alone_since:
                self._alone_since, self._probing = None, False
            self._read_window(sent_at, now, headers)
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those who wait look at `stop` and `pause` again."""
        with self._changed:
            self._changed.notify_all()

    def seconds_to_wait(self) -> float:
        """Return how long the next request has to wait for the rate limit; 0 if it has not."""
        with self._changed:
            seconds = self._seconds_to_wait(time.monotonic())
            return seconds or 0.0

    def seconds_for(self, requests: int) -> float:
        """Return the least time that the limit allows for so many more requests."""
        with self._changed:
            now = time.monotonic()
            limit = self._own_rate() if self._allowed is None else float(self._allowed)
            if limit == float("inf") or requests <= 0:
                return 0.0
            used = len(self._sent) if self._allowed is None else self._count
            windows = max(0, -(-(requests + used) // limit) - 1)
            first = self._seconds_to_wait(now) or max(0.0, self._window_ends - now)
            return float(first + (windows - 1) * _WINDOW_SECONDS) if windows else 0.0

    def _go_alone(self, now: float) -> None:
        self._alone_since, self._probing = now, False

    def _own_rate(self) -> float:
        if self._rate is not None:
            return self._rate
        return DEFAULT_RATE if self._allowed is None else float("inf")

    def _seconds_to_wait(self, now: float) -> float | None:
        """0: send now. None: until an answer comes."""
        if self._probing:
            return None
        until = self._server_allows_at(now)
        rate = self._own_rate()
        while self._sent and self._sent[0] + _WINDOW_SECONDS <= now:
            self._sent.popleft()
        if len(self._sent) >= rate:
            until = max(until, self._sent[0] + _WINDOW_SECONDS)
        return max(0.0, until - now)

    def _server_allows_at(self, now: float) -> float:
        """From when on the server takes another request, as far as it has said."""
        if self._allowed is None:
            return self._held_until
        if now >= self._window_ends:  # a new window; its first answer will say when it ends
            self._count, self._window_began, self._window_ends = 0, now, now + _WINDOW_SECONDS
        full = self._count + self._in_flight >= self._allowed
        return max(self._held_until, self._window_ends) if full else self._held_until

    def _read_window(self, sent_at: float, now: float, headers: Mapping[str, str]) -> None:
        try:
            allowed = int(headers["inin-ratelimit-allowed"])
            count = int(headers["inin-ratelimit-count"])
            reset_seconds = float(headers["inin-ratelimit-reset"])
        except (KeyError, ValueError):
            return
        if allowed < 1 or not 0 <= reset_seconds <= _LONGEST_RESET_SECONDS or sent_at < self._window_began:
            return  # nonsense, or of a window that is over
        ends = now + reset_seconds
        # Rounded up, each answer gives a latest end: the earliest of them is nearest to the truth.
        if self._allowed is None or ends > self._window_ends + 1.5:
            self._window_began, self._window_ends, self._count = sent_at, ends, count
        else:
            self._window_ends, self._count = min(self._window_ends, ends), max(self._count, count)
        self._allowed = allowed


_pacers: weakref.WeakKeyDictionary[Connection, Pacer] = weakref.WeakKeyDictionary()
_pacers_lock = threading.Lock()


def pacer_of(connection: Connection) -> Pacer:
    """Return the pacer of a connection: the same for all runs, as the platform counts by token."""
    with _pacers_lock:
        return _pacers.setdefault(connection, Pacer())
