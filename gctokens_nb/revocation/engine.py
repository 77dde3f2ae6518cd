"""Sends the attempts of one run: workers send, one thread keeps the journal.

The journal is written in groups: one transaction holds all answers that came since the last one, and the attempts that may
be sent next. A few attempts more than there are workers stand in the journal at any time, so that no worker waits for the
disk; those that a stop overtakes are taken out again.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import NamedTuple

import msgspec
import requests

from gctokens_nb.connection import Connection
from gctokens_nb.errors import (
    CORRELATION_ID_HEADER,
    ApiError,
    CertificateError,
    GCTokensError,
    HostUnreachableError,
    InvalidAnswerError,
    LoginError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from gctokens_nb.revocation.journal import AGAIN, FAILED, REVOKED, UNKNOWN, Answer, Intent, Journal, Task
from gctokens_nb.revocation.pacing import Pacer
from gctokens_nb.session import invalid_answer

__all__ = ["ATTEMPTS", "Engine", "utc_now"]

ATTEMPTS = 6  # how often a user is tried in one run before it is given up; a 429 does not count
_LEAST_AHEAD = 32
_GROUP_SECONDS = 0.02  # how long answers are gathered for one transaction


class _Result(NamedTuple):
    """What became of an attempt: the answer for the journal, how long everybody shall wait, the error, and when it began."""

    intent: Intent
    answer: Answer
    hold_seconds: float | None = None
    error: Exception | None = None
    began: float = 0.0


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
        failure: Why the run ended before its time.
    """

    def __init__(
        self, connection: Connection, journal: Journal, tasks: list[Task], pacer: Pacer, workers: int
    ) -> None:
        self.pause = threading.Event()
        self.failure: Exception | None = None
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
        self._ready: SimpleQueue[Intent | None] = SimpleQueue()
        self._returned: SimpleQueue[_Result | Intent | None] = (
            SimpleQueue()
        )  # an Intent was not sent; None only wakes
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
        for thread in [*self._workers, self._writer]:
            thread.start()

    def stop(self) -> None:
        """Send nothing more. What is in flight is finished and written down."""
        self._stop.set()
        self.wake()

    def wake(self) -> None:
        """Look at `pause` and the stop again."""
        self._pacer.wake()
        self._returned.put(None)

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until all is written down; False if the time is over before."""
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
            self._keep_journal()
        except Exception as error:  # noqa: BLE001 - it must end the run and reach whoever waits for it
            self.failure = error
        finally:
            self._stop.set()
            self._pacer.wake()
            for _ in self._workers:
                self._ready.put(None)
            for thread in self._workers:
                thread.join()
            self._finished.set()

    def _keep_journal(self) -> None:
        results: list[_Result] = []
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

    def _gather(self) -> tuple[list[_Result], list[Intent]]:
        """Wait for results, and a little longer for more of them; also return what was not sent."""
        results: list[_Result] = []
        unsent: list[Intent] = []
        seconds = None
        if self._later and self._ahead < self._most_ahead:
            seconds = max(0.0, self._later[0][0] - time.monotonic())
        try:
            returned = self._returned.get(timeout=seconds)
            if self._ahead > 1:
                time.sleep(_GROUP_SECONDS)
            while True:
                if isinstance(returned, _Result):
                    results.append(returned)
                elif returned is not None:
                    unsent.append(returned)
                returned = self._returned.get_nowait()
        except Empty:
            return results, unsent

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

    def _settle(self, result: _Result) -> Answer:
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

    def _concerns_everybody(self, error: Exception) -> bool:
        """Whether the next user would meet the same error, so that the run must end."""
        if isinstance(error, RateLimitedError):
            return (error.retry_after_seconds or 0.0) > self._connection.session.retry.longest_wait_seconds
        if isinstance(error, ApiError):
            return error.status in {401, 403} or error.status < 400
        return not isinstance(error, TransportError) or isinstance(error, CertificateError)

    def _give_up(self, error: Exception) -> None:
        self.failure = self.failure or error
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
            with self._turn:
                may_send = self._pacer.take(self._stop, self.pause)
            if may_send:
                self._returned.put(self._send(intent))
            else:
                self._returned.put(intent)

    def _send(self, intent: Intent) -> _Result:
        began, sent_at = time.monotonic(), utc_now()
        headers: Mapping[str, str] = {}
        hold_seconds = None
        try:
            # Sent once: each further attempt must stand in the journal before it is made.
            response = self._connection.session.call("DELETE", f"/api/v2/tokens/{intent.user_id}", attempts=1)
        except Exception as error:  # noqa: BLE001 - nothing may end a worker; what is not expected ends the run
            result = _failed(intent, sent_at, error)
            hold_seconds = result.hold_seconds
            if self._concerns_everybody(error):
                self._give_up(error)
        else:
            headers = response.headers
            result = _answered(intent, sent_at, response)
        self._pacer.answered(began, headers, hold_seconds)
        return result._replace(began=began)


def _answered(intent: Intent, sent_at: str, response: requests.Response) -> _Result:
    if response.content and not _is_json(response.content):
        return _failed(intent, sent_at, invalid_answer(response, "no JSON"))
    correlation_id = response.headers.get(CORRELATION_ID_HEADER)
    return _Result(intent, _answer(intent, sent_at, REVOKED, response.status_code, correlation_id, None))


def _failed(intent: Intent, sent_at: str, error: Exception) -> _Result:
    status = correlation_id = hold_seconds = None
    reason = error.what if isinstance(error, GCTokensError) else f"{type(error).__name__} in this program"
    if isinstance(error, ApiError):
        status, correlation_id, hold_seconds = error.status, error.correlation_id, error.retry_after_seconds
        reason = f"{error.code}: {error.message}" if error.code else reason
        if isinstance(error, RateLimitedError) and hold_seconds is None:
            hold_seconds = 1.0
        again = status in {401, 403, 429} or isinstance(error, ServerError) or status < 400
        outcome = AGAIN if again else FAILED
    elif isinstance(error, InvalidAnswerError):
        status, correlation_id, outcome = error.status, error.correlation_id, UNKNOWN
    elif isinstance(error, (HostUnreachableError, CertificateError, LoginError)):
        outcome = AGAIN  # it never reached the platform API, or was refused by it
    else:
        outcome = UNKNOWN
    return _Result(
        intent, _answer(intent, sent_at, outcome, status, correlation_id or None, reason), hold_seconds, error
    )


def _answer(
    intent: Intent,
    sent_at: str,
    outcome: str,
    status: int | None,
    correlation_id: str | None,
    reason: str | None,
) -> Answer:
    return Answer(sent_at, utc_now(), outcome, status, correlation_id, reason, intent.row, intent.attempt)


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def utc_now() -> str:
    """Return the time as the journal has it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
