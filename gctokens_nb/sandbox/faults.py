"""Scripted faults: what a network, a proxy or an overloaded platform does to a client."""

import asyncio
import random
import re
import threading
from collections.abc import Mapping
from typing import Any

from gctokens_nb.sandbox.wire import ERRORS, usual_code

KINDS = (
    "drop-after",
    "drop-before",
    "expire-token",
    "garbage",
    "hold",
    "html",
    "slow",
    "status",
    "truncate",
)
_CLI_TYPES: dict[str, type] = {
    "method": str,
    "path": str,
    "times": int,
    "after": int,
    "probability": float,
    "seed": int,
    "status": int,
    "code": str,
    "body": str,
    "seconds": float,
}


class Fault:
    """One thing that goes wrong, for the requests that match.

    Args:
        kind: ``status``: that status instead of doing the thing. ``html``: an HTML page instead.
            ``garbage``: 200 with malformed JSON instead. ``drop-before``, ``drop-after``: the connection
            ends without an answer, before or after the effect. ``truncate``: the answer is cut short, after
            the effect: in its body or, where it has none, in the status line. ``slow``: the request waits
            ``seconds``. ``expire-token``: the token used expires just before the request. ``hold``: the
            request waits for ``release()``.
        method: Only requests of this method.
        path: Only requests in whose path this regular expression is found.
        times: How often it strikes; None for always.
        after: How many matching requests it lets pass first.
        probability: Of striking a request that matches, drawn from ``seed``.
        seed: Of the draws.
        status: For ``status`` (that of the code, or 500) and ``html`` (502 by default).
        code: For ``status``: the platform's error code, such as ``ip.not.authorized``; the usual one of the status by
            default.
        body: For ``status``: the body instead of the platform's usual error of that status. 204 and 304 have
            none.
        headers: For ``status``: more response headers.
        seconds: For ``slow``, the wait; for ``status`` 429, the Retry-After. 1 by default.

    Raises:
        ValueError: The kind or the code is unknown, the path is no regular expression, or the status is not one of
            200 to 599.
    """

    def __init__(
        self,
        kind: str,
        *,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
        after: int = 0,
        probability: float = 1.0,
        seed: int = 0,
        status: int | None = None,
        code: str | None = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown kind of fault {kind!r}: choose one of {', '.join(KINDS)}")
        try:
            self._path = re.compile(path or "")
        except re.error as error:
            raise ValueError(f"the fault's path {path!r} is no regular expression: {error}") from error
        if status is not None and not 200 <= status <= 599:
            raise ValueError(f"the fault's status must be one of 200 to 599, not {status}")
        if code is not None and code not in ERRORS:
            raise ValueError(f"unknown error code {code!r}: choose one of {', '.join(ERRORS)}")
        self.kind = kind
        self.method = method
        self.times = times
        self.after = after
        self.probability = probability
        if status is None:
            status = ERRORS[code][0] if code else 502 if kind == "html" else 500
        self.status = status
        self.code = code or usual_code(status)
        self.body = body
        self.headers = dict(headers or {})
        self.seconds = 1.0 if seconds is None else seconds
        self.strikes = 0
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._matched = 0
        self._held = threading.Condition()
        self._held_count = 0
        self._released = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @classmethod
    def from_text(cls, text: str) -> "Fault":
        """Read ``KIND[:key=value[,key=value...]]``, as the command line has it.

        Raises:
            ValueError: The text is not of that form.
        """
        kind, _, rest = text.partition(":")
        options: dict[str, Any] = {}
        for part in filter(None, rest.split(",")):
            key, equals, value = part.partition("=")
            if not equals or key not in _CLI_TYPES:
                raise ValueError(
                    f"fault option {part!r} is not key=value with one of {', '.join(_CLI_TYPES)}"
                )
            try:
                options[key] = _CLI_TYPES[key](value)
            except ValueError:
                raise ValueError(f"fault option {key} is no number: {value!r}") from None
        return cls(kind, **options)

    def strikes_at(self, method: str, path: str) -> bool:
        """Whether this request is hit; counts it."""
        if (self.method and self.method != method) or not self._path.search(path):
            return False
        self._matched += 1
        if self._matched <= self.after or (self.times is not None and self.strikes >= self.times):
            return False
        if self.probability < 1.0 and self._random.random() >= self.probability:
            return False
        self.strikes += 1
        return True

    async def hold(self, timeout_seconds: float | None) -> None:
        """Wait, in the server's thread, until the fault is released or the time is over."""
        released = asyncio.Event()
        waiter = (asyncio.get_running_loop(), released)
        with self._held:
            if self._released:
                return
            self._waiting.append(waiter)
            self._held_count += 1
            self._held.notify_all()
        try:
            async with asyncio.timeout(timeout_seconds):
                await released.wait()
        except TimeoutError:
            pass
        finally:
            with self._held:
                self._waiting.remove(waiter)

    def wait_until_held(self, timeout_seconds: float = 10.0) -> int:
        """Wait until a slow or held request has come; how many have.

        Raises:
            TimeoutError: None came in time.
        """
        with self._held:
            if not self._held.wait_for(lambda: self._held_count, timeout_seconds):
                raise TimeoutError(f"no request reached the fault within {timeout_seconds} s")
            return self._held_count

    def release(self) -> None:
        """Let the requests that wait, and all later ones, go on."""
        with self._held:
            self._released = True
            for loop, released in self._waiting:
                loop.call_soon_threadsafe(released.set)
