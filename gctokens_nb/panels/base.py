"""The frame that every panel shares: a title, buttons, one call at a time off the main thread, and what came of it."""

from __future__ import annotations

import functools
import html
import logging
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import ipywidgets
import requests

from gctokens_nb.errors import (
    CORRELATION_ID_HEADER,
    CancelledError,
    CertificateError,
    GCTokensError,
    HostUnreachableError,
    TransportError,
)
from gctokens_nb.panels.elements import CodeBox, Countdown, StatusLine
from gctokens_nb.waits import Cancel, Wait, watch_waits

__all__ = ["Panel"]

logger = logging.getLogger("gctokens_nb")
T = TypeVar("T")
Kind = Literal["info", "busy", "ok", "warn", "error"]
_CANCEL_GRACE_SECONDS = 0.2  # how long a cancelled call may take to end before it is left to itself


class _Job:
    """One call under way, and by method what is known of its requests. It sends one request of a method that changes anything."""

    def __init__(self, failed: Callable[[GCTokensError], None] | None) -> None:
        self.cancelled = Cancel()
        self.over = threading.Event()
        self.failed = failed
        self.correlation_ids: dict[str, str] = {}
        self.statuses: dict[str, list[int]] = {}
        self.unanswered: set[str] = (
            set()
        )  # methods of which an attempt was sent, got no answer and was repeated

    def note_answer(self, response: requests.Response) -> None:
        """Keep the correlation id and the status, and nothing else: the request holds the token."""
        method = response.request.method or ""
        self.correlation_ids[method] = response.headers.get(CORRELATION_ID_HEADER, "")
        self.statuses.setdefault(method, []).append(response.status_code)

    def note_wait(self, wait: Wait) -> None:
        """Keep whether one of the attempts before this wait got no answer."""
        if wait.attempt > len(self.statuses.get(wait.method, ())):
            self.unanswered.add(wait.method)


class Panel(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A view over public calls: it holds no logic of its own, and works off the kernel's main thread.

    A subclass fills `body` and `actions`, makes its buttons with `button()`, runs calls with `work()`, and keeps the
    code that does the same with `set_code()`.

    Args:
        title:
            The heading.

    Attributes:
        body: ipywidgets.VBox
            What the panel shows and asks.
        actions: ipywidgets.HBox
            Its buttons; Cancel appears after them while a call is under way.
        status: StatusLine
            What is going on, as plain text; `say()` sets it.
        remedy: ipywidgets.VBox
            What it offers after an error, below the status line.
        results: ipywidgets.VBox
            What came of it, below that.
        cancel_button: ipywidgets.Button
    """

    def __init__(self, title: str) -> None:
        self._lock = threading.RLock()  # guards the three below: the main thread clicks, a worker finishes
        self._job: _Job | None = None  # the call under way
        self._last_job: _Job | None = None  # the same, or the one before: what wait() waits for
        self._closed = False
        self._concluding = (
            threading.local()
        )  # its `job`: the one whose `done` or `failed` runs in this thread
        self._buttons: list[Any] = []
        self._enabled_again: list[Any] = []
        self.body = ipywidgets.VBox()
        self.actions = ipywidgets.HBox(layout={"flex_flow": "row wrap"})
        self.status = StatusLine()
        self.remedy = ipywidgets.VBox()
        self.results = ipywidgets.VBox()
        self.cancel_button = ipywidgets.Button(
            description="Cancel", tooltip="Stop waiting for this call", layout={"display": "none"}
        )
        self.cancel_button.on_click(lambda _: self._guarded(self.cancel))
        self._waiting = Countdown(before="Next attempt in ")
        self._code = CodeBox()
        super().__init__(
            [
                ipywidgets.HTML(f'<h3 style="margin: 0">{html.escape(title)}</h3>'),
                self.body,
                ipywidgets.HBox([self.actions, self.cancel_button], layout={"flex_flow": "row wrap"}),
                self.status,
                self._waiting,
                self.remedy,
                self.results,
                self._code,
            ],
            layout={
                "border": "1px solid var(--jp-border-color2, #bbb)",
                "padding": "8px 12px",
                "margin": "0 0 8px 0",
                "max_width": "70em",
            },
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # the same at every run, as notebooks keep it

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._job is not None

    @property
    def code(self) -> str:
        """The lines of Python that do what the panel does now."""
        return str(self._code.code)

    def button(
        self, description: str, on_click: Callable[[], None], *, style: str = "", tooltip: str = ""
    ) -> Any:
        """Make a button that cannot be clicked while a call is under way.

        Args:
            description, tooltip:
                Its text, and what it does in a few words.
            on_click:
                Called in the main thread; what it raises is shown in the panel.
            style:
                One of ipywidgets' `primary`, `success`, `info`, `warning`, `danger`, or empty.
        """
        made = ipywidgets.Button(
            description=description,
            tooltip=tooltip,
            button_style=style,
            layout={"width": "auto"},
        )
        # A click may have been on its way when the button was switched off.
        made.on_click(lambda _: None if made.disabled else self._guarded(on_click))
        self._buttons.append(made)
        return made

    def say(self, text: str, kind: Kind = "info") -> None:
        """Show `text` in the status line, as text whatever it holds, and let screen readers announce it."""
        with self.status.hold_sync():
            self.status.kind = kind
            self.status.text = text

    def set_code(self, code: str) -> None:
        """Show the lines of Python that do what the panel does now. Never give it a secret."""
        self._code.code = code

    def work(
        self,
        doing: str,
        call: Callable[[], T],
        done: Callable[[T], None],
        *,
        failed: Callable[[GCTokensError], None] | None = None,
    ) -> None:
        """Run `call` in a thread of its own; buttons are off meanwhile, and Cancel appears. While busy, do nothing.

        Args:
            doing:
                What goes on, for the status line: "Asking Genesys Cloud".
            call:
                The public call. Waits of its requests are shown, and end when cancelled.
            done:
                Called with its result, in that thread, once the buttons work again. It may start the next `work()`.
            failed:
                Called instead with the error, after the panel has shown it in words.
        """
        with self._lock:
            if self._job is not None or self._closed:
                return
            job = self._job = self._last_job = _Job(failed)
            self._enabled_again = [button for button in self._buttons if not button.disabled]
            for button in self._enabled_again:
                button.disabled = True
            self.cancel_button.disabled = False
            self.cancel_button.layout.display = ""
            self.say(f"{doing}…", "busy")

        threading.Thread(
            target=self._run,
            args=(job, doing, call, done),
            name=f"gctokens-{type(self).__name__}",
            daemon=True,
        ).start()

    def _run(self, job: _Job, doing: str, call: Callable[[], T], done: Callable[[T], None]) -> None:
        outcome: Callable[[], None]
        try:
            try:
                with watch_waits(
                    functools.partial(self._show_wait, job, doing),
                    cancel=job.cancelled,
                    on_answer=job.note_answer,
                ):
                    outcome = functools.partial(done, call())
            except GCTokensError as error:
                outcome = functools.partial(self._fail, error, job.failed)
            except Exception as error:  # noqa: BLE001 - shown as what it is, a bug
                outcome = functools.partial(self._show_bug, error)
            if self._free(job):
                self._conclude(job, outcome)
                self._guarded(self.when_free)
        finally:
            job.over.set()

    def _show_wait(self, job: _Job, doing: str, wait: Wait) -> None:
        job.note_wait(wait)
        with self._lock:
            if self._job is job:
                self.say(f"{doing}: waiting {wait.seconds:.0f} s ({wait.reason}), then trying again.", "busy")
                self._waiting.ends_at = time.time() + wait.seconds

    def _conclude(self, job: _Job, outcome: Callable[[], None]) -> None:
        self._concluding.job = job
        try:
            self._guarded(outcome)
        finally:
            self._concluding.job = None

    def _fail(self, error: GCTokensError, failed: Callable[[GCTokensError], None] | None) -> None:
        self.show_error(error)
        if failed is not None:
            failed(error)

    def cancel(self) -> None:
        """End the call under way: a wait at once, a request by breaking it off, of which the outcome is then unknown."""
        job = self._job
        if job is None:
            return
        job.cancelled.set()
        if job.over.wait(_CANCEL_GRACE_SECONDS):
            return
        if self._free(job):
            error = CancelledError(
                "Cancelled, but a request was already sent: whether it took effect is unknown.",
                "No further one will be sent. Look again before you repeat it.",
            )
            self._conclude(job, functools.partial(self._fail, error, job.failed))
            self.when_free()
            job.over.set()

    def wait(self, timeout_seconds: float = 30) -> None:
        """Block until the call under way is over and shown, for notebooks and tests.

        Raises `TimeoutError`.
        """
        deadline = time.monotonic() + timeout_seconds
        while (job := self._last_job) is not None:
            if not job.over.wait(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(
                    f"{self!r} is still at work after {timeout_seconds:g} s: {self.status.text}"
                )
            if job is self._last_job:  # else `done` has started the next call
                return

    def close(self) -> None:
        """Close the panel and all widgets in it. A request under way is broken off, and its thread ends."""
        with self._lock:
            self._closed = True
            job, self._job = self._job, None
        if job is not None:
            job.cancelled.set()
            job.over.set()
        _close_children(self)
        super().close()

    def outcome(self, error: GCTokensError, method: str) -> str:
        """Return what `error` leaves of the one `method` request of a call, for its `failed`: `refused`, `not sent` or `unknown`."""
        job: _Job | None = getattr(self._concluding, "job", None)
        if job is None or isinstance(error, CancelledError):  # the one that was broken off may have been it
            return "unknown"
        never_left = isinstance(error, HostUnreachableError | CertificateError)
        unanswered = method in job.unanswered or (
            isinstance(error, TransportError) and error.method == method and not never_left
        )
        statuses = job.statuses.get(method, [])
        if not statuses and not unanswered:
            return "not sent"
        return "unknown" if unanswered or any(not 300 <= status < 500 for status in statuses) else "refused"

    def correlation_id(self, method: str) -> str:
        """Return the correlation id of the last answer to `method`, or an empty text: for `done` and `failed`, of their call."""
        job: _Job | None = getattr(self._concluding, "job", None)
        return job.correlation_ids.get(method, "") if job else ""

    def when_free(self) -> None:
        """Do what had to wait for the end of a call, in a subclass that has such a thing."""

    def show_error(self, error: GCTokensError) -> None:
        """Say in the status line what happened and what to do next; an API error names its correlation id."""
        self.say("\n".join(filter(None, (error.what, error.next_step, error.wire))), "error")

    def _free(self, job: _Job) -> bool:
        """Give the panel back after `job`; tell whether it was still the one under way."""
        with self._lock:
            if self._job is not job:
                return False
            self._job = None
            self._waiting.ends_at = 0.0
            self.cancel_button.layout.display = "none"
            for button in self._enabled_again:
                button.disabled = False
            self.say("")
            return True

    def _guarded(self, action: Callable[[], None]) -> None:
        """Show in the panel what `action` raises: ipywidgets would write it into a log that nobody reads."""
        try:
            action()
        except GCTokensError as error:
            self.show_error(error)
        except Exception as error:  # noqa: BLE001 - shown as what it is, a bug
            self._show_bug(error)

    def _show_bug(self, error: Exception) -> None:
        # The exception's own text may hold anything, so only its type and place are shown and logged.
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"Unexpected {type(error).__name__} at {Path(place.filename).name}, line {place.lineno}"
        logger.error("%s, in %r", what, self)
        self.say(
            f"{what}: this is a bug in gctokens_nb.\n"
            "Whether the call took effect is unknown. Please report it with this line.",
            "error",
        )


def _close_children(box: Any) -> None:
    for child in box.children:
        if isinstance(child, ipywidgets.Box) and not isinstance(child, Panel):
            _close_children(child)
        child.close()
