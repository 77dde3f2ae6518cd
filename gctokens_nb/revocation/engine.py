"""Sends the attempts of one run: workers send, one thread keeps the journal.

The journal is written in groups: one transaction holds all answers that came since the last one, and the attempts that may
be sent next. A few attempts more than there are workers stand in the journal at any time, so that no worker waits for the
disk; those that a stop overtakes are taken out again.

A run always ends, or stops and can be resumed, whatever the server does. No wait is longer than the connection's
`longest_wait_seconds`; an answer is waited for twice as long at the most. Where nobody gets through for that time, or in
so many attempts in a row, the run stops: a deadline over all repeats, as in google-api-core's `Retry(timeout=)`, and a
quota of refusals that a success fills up again, as in botocore's standard retry mode (500 tokens, 5 for a retry).
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from queue import Empty, SimpleQueue

from gctokens_nb.connection import Connection
from gctokens_nb.errors import (
    ApiError,
    CancelledError,
    CertificateError,
    GCTokensError,
    HostUnreachableError,
    TimedOutError,
    TransportError,
)
from gctokens_nb.revocation.attempt import Result, lost, send, utc_now
from gctokens_nb.revocation.journal import AGAIN, FAILED, REVOKED, UNKNOWN, Answer, Intent, Journal, Task
from gctokens_nb.revocation.pacing import Pacer
from gctokens_nb.waits import Cancel

__all__ = ["ATTEMPTS", "Engine"]

ATTEMPTS = 6  # how often a user is tried in one run before it is given up; a 429 does not count
_LEAST_AHEAD = 32
_GROUP_SECONDS = 0.02  # how long answers are gathered for one transaction
_LEAST_REFUSALS = 100  # in a row; with many workers, as many more as they try at a time
_LOOK_SECONDS = 0.5  # how often the attempts under way are looked at
_LOST_SECONDS = 1.0  # how long after it was broken off an attempt has to end


class _Flight:
    """A request on its way: when it began, until when it is waited for, and what breaks it off."""

    def __init__(self, ends: float) -> None:
        self.began = time.monotonic()
        self.ends = ends
        self.cancel = Cancel()


class Engine:
    """One run in the making.

    Args:
        connection: To send through.
        journal: Open, with a session begun.
        tasks: Who is to be logged out.
        pacer: When to send.
        workers: How many requests may be on their way at a time.

    Attributes:
        pause: While set, nothing more is sent.
        counts: How many inputs have which outcome.
        done: How many users were revoked or failed for good since the start.
        failure: Why the run ended before its time; `reason` says in addition why that ended it.
    """

    def __init__(
        self, connection: Connection, journal: Journal, tasks: list[Task], pacer: Pacer, workers: int
    ) -> None:
        self.pause = threading.Event()
        self.failure: BaseException | None = None
        self.reason = ""
        self.counts = journal.counts()
        self.done = 0
        self._connection = connection
        self._journal = journal
        self._pacer = pacer
        self._turn = threading.Lock()  # one worker waits for the pacer, the others wait for that one
        self._outcomes = {task.row: task.outcome for task in tasks if task.outcome != "pending"}
        self._doubtful = {row for row, outcome in self._outcomes.items() if outcome == UNKNOWN}
        self._todo = iter(tasks)
        self._later: list[tuple[float, Task]] = []  # a heap: to be repeated, and when
        self._tries: dict[int, tuple[int, float]] = {}  # how often, and when the first one had failed
        self._last_through = 0.0  # when the latest attempt began that settled a user
        self._longest_wait = connection.session.retry.longest_wait_seconds
        self._patience = 2 * self._longest_wait
        self._refusals, self._most_refusals = 0, max(_LEAST_REFUSALS, ATTEMPTS * workers)
        self._noting = threading.Lock()
        self._trouble_since: float | None = None  # when the first of these refusals began
        self._flights: dict[Intent, _Flight] = {}  # whoever takes one out tells how it ended
        self._ready: SimpleQueue[Intent | None] = SimpleQueue()
        # An Intent was not sent; None only wakes.
        self._returned: SimpleQueue[Result | Intent | None] = SimpleQueue()
        self._ahead = 0
        self._most_ahead = workers + max(workers, _LEAST_AHEAD)
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._workers = [
            threading.Thread(target=self._work, name=f"gctokens-revoke-{number}", daemon=True)
            for number in range(workers)
        ]
        self._writer = threading.Thread(target=self._run, name="gctokens-journal", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._writer.start()

    def stop(self) -> None:
        """Send nothing more. What is in flight is finished and written down."""
        self._stop.set()
        self.wake()

    def break_off(self) -> None:
        """Wait no more for what is on its way: it is written down as unknown."""
        self.stop()
        for flight in list(self._flights.values()):
            flight.ends = 0.0
        self.wake()

    def go_on(self) -> None:
        """End a pause."""
        self._trouble_since = None  # the time of the pause is nobody's trouble
        self.pause.clear()
        self.wake()

    def wake(self) -> None:
        """Look at `pause` and the stop again."""
        self._pacer.wake()
        self._returned.put(None)

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until all is written down; False if the time is over before."""
        if self._writer.ident is None:  # it was interrupted before it began
            return True
        return self._finished.wait(timeout_seconds)

    def seconds_to_wait(self) -> float:
        """Return how long the rate limit holds the next request back."""
        return self._pacer.seconds_to_wait()

    def seconds_for(self, requests_left: int) -> float:
        """Return the least time in which the rate limit allows so many more requests."""
        return self._pacer.seconds_for(requests_left)

    # The thread that keeps the journal

    def _run(self) -> None:
        try:
            for thread in self._workers:
                thread.start()
            self._keep_journal()
        except BaseException as error:  # noqa: BLE001 - it must end the run and reach whoever waits for it
            self.failure = error
        finally:
            self._stop.set()
            self._pacer.wake()
            for _ in self._workers:
                self._ready.put(None)
            for flight in list(self._flights.values()):
                flight.cancel.set()
            self._finished.set()

    def _keep_journal(self) -> None:
        results: list[Result] = []
        withdrawn: list[Intent] = []
        while True:
            if self._stop.is_set():
                withdrawn += self._take_back()
            answers = [self._settle(result) for result in results]
            self._ahead -= len(answers) + len(withdrawn)
            intents = [] if self._stop.is_set() else self._next_intents()
            if answers or intents or withdrawn:
                self._journal.write(answers, intents, withdrawn, at=utc_now())
            self._ahead += len(intents)
            for intent in intents:
                self._ready.put(intent)
            for answer in answers:
                self._count(answer)
            if not self._ahead and (self._stop.is_set() or not self._later):
                return
            results, withdrawn = self._gather()

    def _next_intents(self) -> list[Intent]:
        intents: list[Intent] = []
        now = time.monotonic()
        while self._ahead + len(intents) < self._most_ahead:
            if self._later and self._later[0][0] <= now:
                task = heapq.heappop(self._later)[1]
            else:
                following = next(self._todo, None)
                if following is None:
                    break
                task = following
            intents.append(Intent(task.row, task.user_id, task.attempts + 1))
        return intents

    def _gather(self) -> tuple[list[Result], list[Intent]]:
        """Wait for results, and a little longer for more of them; also return what was not sent."""
        results = self._look_after()
        unsent: list[Intent] = []
        if results:
            return results, unsent
        seconds = _LOOK_SECONDS
        if self._later and self._ahead < self._most_ahead:
            seconds = min(seconds, max(0.0, self._later[0][0] - time.monotonic()))
        try:
            returned = self._returned.get(timeout=seconds)
            if self._ahead > 1:
                time.sleep(_GROUP_SECONDS)
            while True:
                if isinstance(returned, Result):
                    results.append(returned)
                elif returned is not None:
                    unsent.append(returned)
                returned = self._returned.get_nowait()
        except Empty:
            return results, unsent

    def _look_after(self) -> list[Result]:
        """Break off what takes too long, and give up what does not even then end."""
        results = []
        now = time.monotonic()
        for intent, flight in list(self._flights.items()):
            if now >= flight.ends and not flight.cancel.is_set():
                flight.ends = now
                flight.cancel.set()
            elif now >= flight.ends + _LOST_SECONDS and self._flights.pop(intent, None) is not None:
                results.append(lost(intent, flight.began, _too_slow(now - flight.began)))
                self._note(results[-1])
                self._pacer.answered(flight.began, {}, None)
        return results

    def _take_back(self) -> list[Intent]:
        """The attempts that no worker has taken yet."""
        taken: list[Intent] = []
        while True:
            try:
                intent = self._ready.get_nowait()
            except Empty:
                return taken
            if intent is not None:
                taken.append(intent)

    def _settle(self, result: Result) -> Answer:
        """Decide whether the user is tried again; the answer for the journal."""
        intent, answer, error, now = result.intent, result.answer, result.error, time.monotonic()
        if answer.outcome not in {AGAIN, UNKNOWN}:
            self._last_through = max(self._last_through, result.began)
            if answer.outcome == FAILED and answer.row in self._doubtful:
                reason = f"{answer.reason}; an earlier attempt got no answer and may have taken effect"
                return answer._replace(reason=reason)
            return answer
        if answer.outcome == UNKNOWN:
            self._doubtful.add(answer.row)
        limited = answer.status == 429
        tries, first_failed_at = self._tries.get(answer.row, (0, now))
        tries += not limited
        self._tries[answer.row] = tries, first_failed_at
        if tries < ATTEMPTS:
            # Full jitter, so that users that failed together are not repeated together; after a 429 the pacer waits.
            most = 0.0 if limited else self._connection.session.retry.backoff_seconds * 2 ** (tries - 1)
            due = now + random.uniform(0, most)  # noqa: S311 - jitter is no secret
            heapq.heappush(
                self._later, (due, Task(answer.row, intent.user_id, answer.outcome, answer.attempt))
            )
        elif error and (isinstance(error, HostUnreachableError) or self._last_through < first_failed_at):
            self._give_up(error)  # nobody got through meanwhile: it is not this user's trouble
        elif answer.outcome == AGAIN and answer.row not in self._doubtful:
            return answer._replace(outcome=FAILED)
        return answer

    def _note(self, result: Result) -> None:
        """Count the refusals in a row, in the worker that met it: the others are stopped before they may go on."""
        with self._noting:
            if result.error is None or result.answer.outcome == FAILED:
                self._refusals, self._trouble_since = 0, None
                return
            self._refusals += 1
            since = self._trouble_since = result.began if self._trouble_since is None else self._trouble_since
            seconds = time.monotonic() - since
            too_long = seconds + (result.hold_seconds or 0.0) >= self._patience
            if too_long or self._refusals >= self._most_refusals:
                self._give_up(
                    result.error, f"Nobody got through in {self._refusals:,} attempts and {seconds:,.0f} s."
                )

    def _give_up(self, error: BaseException, reason: str = "") -> None:
        if self.failure is None:
            self.failure, self.reason = error, reason
        self._stop.set()
        self._pacer.wake()

    def _count(self, answer: Answer) -> None:
        old = self._outcomes.pop(answer.row, "pending")
        new = answer.outcome
        if new == AGAIN:
            new = UNKNOWN if answer.row in self._doubtful else "pending"
        if new != "pending":
            self._outcomes[answer.row] = new
        self.counts[old] -= 1
        self.counts[new] = self.counts.get(new, 0) + 1
        self.done += new in {REVOKED, FAILED}

    # The workers

    def _work(self) -> None:
        while (intent := self._ready.get()) is not None:
            try:
                self._attempt(intent)
            except BaseException as error:  # noqa: BLE001 - nothing may end a worker without a result
                self._give_up(error)
                flight = self._flights.pop(intent, None)
                self._returned.put(lost(intent, flight.began, error) if flight else intent)

    def _attempt(self, intent: Intent) -> None:
        with self._turn:
            may_send = self._pacer.take(self._stop, self.pause, self._longest_wait)
        if not may_send:
            self._returned.put(intent)
            return
        flight = self._flights[intent] = _Flight(time.monotonic() + self._patience)
        result = send(self._connection.session, intent, flight.cancel)
        error, asked = result.error, result.hold_seconds or 0.0
        if isinstance(error, CancelledError):
            error = _too_slow(time.monotonic() - flight.began)
            result = result._replace(error=error)
        if asked > self._longest_wait:
            # Not to be waited for by anybody: whoever resumes the run sees what the server says then.
            result = result._replace(hold_seconds=None, headers={})
            self._give_up(
                error or _asked_to_wait(asked),
                f"The server asks to wait {asked:,.0f} s, longer than the {self._longest_wait:,g} s of "
                "RetryPolicy.longest_wait_seconds.",
            )
        elif error is not None and _concerns_everybody(error):
            self._give_up(error)
        if self._flights.pop(intent, None) is None:
            return  # the writer has given it up
        try:
            self._note(result)
            self._pacer.answered(result.began, result.headers, result.hold_seconds)
        except BaseException as error_of_ours:  # noqa: BLE001 - it was sent, so its result must be told
            self._give_up(error_of_ours)
        self._returned.put(result)


def _concerns_everybody(error: BaseException) -> bool:
    """Whether the next user would meet the same error, so that the run must end."""
    if isinstance(error, ApiError):
        return error.status in {401, 403} or error.status < 400
    return not isinstance(error, TransportError) or isinstance(error, CertificateError)


def _too_slow(seconds: float) -> TimedOutError:
    return TimedOutError(
        f"No full answer came in {seconds:,.0f} s, and it was not waited for any longer. Whether the user is logged out "
        "is unknown.",
        "Resume the run: it asks again.",
    )


def _asked_to_wait(seconds: float) -> GCTokensError:
    return GCTokensError(f"The server asks to wait {seconds:,.0f} s.", "Resume the run after that.")
