"""The engine from close by: what it promises where the server, the disk or the program itself behaves badly."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
from typing import Any

import pytest

import gctokens_nb as gct
from gctokens_nb.errors import HostUnreachableError, RevocationStoppedError
from gctokens_nb.revocation.attempt import send
from gctokens_nb.revocation.journal import Intent, Journal
from gctokens_nb.revocation.pacing import Pacer
from gctokens_nb.revocation.run import Run
from gctokens_nb.sandbox import Fault, Sandbox
from gctokens_nb.waits import Cancel

DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}
INTENT = Intent(3, "11111111-2222-4333-8444-555555555555", 1)


def with_policy(gc: gct.Connection, **policy: float) -> None:
    """Let the connection wait as long as that at the most."""
    gc.session.retry = gct.RetryPolicy(**{"backoff_seconds": 0.001, **policy})


def deletes(sandbox: Sandbox) -> list[Any]:
    """The attempts that the sandbox has seen."""
    return [call for call in sandbox.calls if call.method == "DELETE"]


def stopped(revoke: Any, plan: Any, **options: Any) -> str:
    """The text of the error with which a run stops."""
    with pytest.raises(RevocationStoppedError) as caught:
        revoke(plan, **options)
    return str(caught.value)


def broken(*_: Any, **__: Any) -> Any:
    """Fail as only this program can."""
    raise ZeroDivisionError


def attempts_in(path: Any, row: int) -> list[Any]:
    """Outcome and reason of a user's attempts, as the journal has them."""
    with contextlib.closing(sqlite3.connect(path)) as journal:
        return journal.execute(
            "SELECT outcome, reason FROM attempts WHERE row = ? ORDER BY attempt", (row,)
        ).fetchall()


# One attempt


class _Failing:
    """A session whose calls all fail with the same error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def call(self, *_: Any, **__: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError(), "ZeroDivisionError in this program"),
        (gct.GCTokensError("half \ud800 a character"), "half ? a character"),
    ],
)
def test_an_attempt_always_has_a_reason_that_can_be_written(error, reason):
    """An error of this program is named; what no file can hold is replaced."""
    result = send(_Failing(error), INTENT, Cancel())  # type: ignore[arg-type]
    assert (result.answer.outcome, result.answer.reason, result.error) == ("unknown", reason, error)
    assert (result.answer.status, result.answer.correlation_id, result.hold_seconds) == (None, None, None)


def test_an_answer_without_a_correlation_id(saying):
    """A success counts without one."""
    server = saying(b"HTTP/1.1 204 No Content\r\n\r\n")
    with gct.connect(server.url, access_token="t" * 40) as gc:
        answer = send(gc.session, INTENT, Cancel()).answer
    assert (answer.outcome, answer.status, answer.correlation_id) == ("revoked", 204, None)


def test_an_answer_that_was_broken_off_is_none(saying):
    """A body that ends because the attempt was cancelled looks like an empty one, and is not taken for it."""
    server, cancel = saying(b"HTTP/1.1 200 OK\r\n\r\n", close=False), Cancel()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    with gct.connect(server.url, access_token="t" * 40) as gc:
        result = send(gc.session, INTENT, cancel)
    timer.join()
    assert (result.answer.outcome, result.answer.status) == ("unknown", None)
    assert result.answer.reason == "It was broken off before its answer was complete."
    assert len(server.heard) == 1


# What goes wrong in this program


def test_whatever_breaks_in_a_worker_is_a_result(small, revoke, gc, sandbox, monkeypatch, tmp_path):
    """The run stops and names it; the user whose attempt had begun is unknown, all others are pending."""
    with monkeypatch.context() as patch:
        patch.setattr("gctokens_nb.revocation.engine.send", broken)
        text = stopped(revoke, small, workers=1)
    assert "with 8 users left. ZeroDivisionError in this program." in text
    assert not deletes(sandbox)
    run = Run.of(tmp_path / "run.sqlite")
    assert (run.counts["unknown"], run.counts["pending"]) == (1, 7)
    assert attempts_in(tmp_path / "run.sqlite", 0) == [("unknown", "ZeroDivisionError in this program")]
    assert sum(run.to_frame()["attempts"]) == 1


def test_what_was_sent_is_told_whatever_breaks_after_it(small, revoke, sandbox, monkeypatch, tmp_path):
    """An error of the pacer stops the run, but not before the answer is written down."""
    monkeypatch.setattr(Pacer, "answered", broken)
    assert "with 7 users left. ZeroDivisionError in this program." in stopped(revoke, small, workers=1)
    assert Run.of(tmp_path / "run.sqlite").counts["revoked"] == len(deletes(sandbox)) == 1


def test_a_journal_that_cannot_be_written_stops_the_run(small, revoke, sandbox, monkeypatch):
    """The first error is the reason, and nothing is sent that is not written down."""
    monkeypatch.setattr(Journal, "write", broken)
    text = stopped(revoke, small)
    assert text.startswith("The run was stopped with 8 users left. ZeroDivisionError in this program.")
    assert not deletes(sandbox)


def test_a_run_that_is_interrupted_for_good_waits_no_more(small, revoke, sandbox, monkeypatch, tmp_path):
    """What does not come in the time that is left is broken off and written down as unknown."""
    monkeypatch.setattr("gctokens_nb.revocation.run._GRACE_SECONDS", 1.0)
    held = sandbox.add_fault(Fault("hold", **DELETE))

    def interrupt(_: Run) -> None:
        held.wait_until_held(20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        revoke(small, workers=1, on_progress=interrupt)
    held.release()
    ((outcome, reason),) = attempts_in(tmp_path / "run.sqlite", 0)
    assert (outcome, bool(reason)) == ("unknown", True)


# Its threads


def workers() -> set[threading.Thread]:
    """The workers that are alive."""
    return {one for one in threading.enumerate() if one.name.startswith("gctokens-revoke-")}


def test_breaking_off_frees_the_worker(small, revoke, gc, sandbox):
    """A request that never ends does not keep its worker, though the server still holds it."""
    with_policy(gc, longest_wait_seconds=0.2)
    before = workers()
    held = sandbox.add_fault(Fault("hold", **DELETE))
    try:
        text = stopped(revoke, small)
        deadline = time.monotonic() + 20
        while workers() - before and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert not workers() - before
    finally:
        held.release()
    assert re.search(r"No full answer came in \d s, and", text)


def test_the_threads_have_names(small, revoke, sandbox):
    """Workers are numbered from 0, and there are as many as asked for."""
    held = sandbox.add_fault(Fault("hold", times=1, **DELETE))
    before, seen = workers(), []

    def watch(_: Run) -> None:
        if not seen and held.wait_until_held(20):
            seen.extend(sorted(one.name for one in workers() - before if one.daemon))
            held.release()

    revoke(small, workers=2, on_progress=watch)
    assert seen == ["gctokens-revoke-0", "gctokens-revoke-1"]


@pytest.mark.parametrize(("count", "ahead"), [(1, 33), (40, 80)])
def test_not_all_is_written_down_beforehand(plan, revoke, sandbox, count, ahead):
    """The journal holds what the workers send, and as many attempts more, 32 at the least."""
    held = sandbox.add_fault(Fault("hold", times=1, **DELETE))
    seen: list[int] = []

    def watch(run: Run) -> None:
        if not seen and held.wait_until_held(20):
            seen.append(int(run.to_frame()["attempts"].sum()))
            held.release()

    assert revoke(plan, workers=count, on_progress=watch).counts["revoked"] == 100
    assert seen == [ahead]


# When it gives up


@pytest.mark.parametrize(("through", "sent"), [(0, 100), (1, 101)])
def test_a_hundred_refusals_are_a_hundred(revoke, gc, sandbox, through, sent):
    """Counted from the start of the run, and from the latest user who got through."""
    with_policy(gc, backoff_seconds=1000)
    plan = gct.plan_revocation(gc, [user.id for user in sandbox.users[100:220]])
    sandbox.add_fault(Fault("status", status=503, headers={"Retry-After": ""}, after=through, **DELETE))
    assert "Nobody got through in 100 attempts" in stopped(revoke, plan, workers=1)
    assert len(deletes(sandbox)) == sent


def test_users_who_fail_for_good_are_no_refusals(revoke, gc, sandbox):
    """The server answers, so the run goes on, however many fail in a row."""
    plan = gct.plan_revocation(gc, [user.id for user in sandbox.users[100:220]])
    sandbox.add_fault(Fault("status", status=404, **DELETE))
    run = revoke(plan)
    assert (run.state, run.counts["failed"]) == ("finished", 120)
    assert not run.to_frame()["why"].str.contains("may have taken effect").any()


def test_a_wait_that_would_end_too_late_is_not_begun(small, revoke, gc, sandbox):
    """Patience is twice the longest wait, with the wait to come: at the second 429 it is over."""
    with_policy(gc, longest_wait_seconds=0.3)
    sandbox.add_fault(Fault("status", status=429, headers={"Retry-After": "0.3"}, **DELETE))
    assert "Nobody got through in 2 attempts" in stopped(revoke, small, workers=1)
    assert len(deletes(sandbox)) == 2


def test_where_nobody_gets_through_nobody_fails(small, revoke, sandbox, tmp_path):
    """After six attempts at one user, none of them with success for anybody, the run stops."""
    sandbox.add_fault(Fault("status", status=500, **DELETE))
    text = stopped(revoke, small, workers=1)
    assert "with 8 users left." in text
    assert "500" in text
    assert "Nobody got through" not in text
    assert Run.of(tmp_path / "run.sqlite").counts["failed"] == 0


def test_a_host_that_cannot_be_reached_is_no_users_failure(small, revoke, gc, monkeypatch, tmp_path):
    """Even where others got through meanwhile: the run stops, and the user is pending."""
    victim, call = small["id"][3], gc.session.call

    def unreachable(method: str, path: str, **options: Any) -> Any:
        if victim in path:
            raise HostUnreachableError("No connection.", "Look at the network.")
        return call(method, path, **options)

    monkeypatch.setattr(gc.session, "call", unreachable)
    assert "with 1 user left. No connection." in stopped(revoke, small)
    counts = Run.of(tmp_path / "run.sqlite").counts
    assert (counts["revoked"], counts["pending"]) == (7, 1)


def test_a_user_in_doubt_does_not_fail_over_a_refusal(small, revoke, sandbox):
    """Lost once, refused five times since: the user may be logged out, and is unknown."""
    victim = small["id"][3]
    sandbox.add_fault(Fault("drop-after", method="DELETE", path=victim, times=1))
    sandbox.add_fault(Fault("status", status=503, method="DELETE", path=victim))
    sandbox.add_fault(Fault("slow", seconds=0.15, method="DELETE", path=f"{small['id'][4]}|{small['id'][5]}"))
    run = revoke(small, workers=1)
    assert (run.counts["revoked"], run.counts["unknown"]) == (7, 1)
    assert run.to_frame().loc[3]["attempts"] == 6


def test_a_success_in_doubt_is_a_success(small, revoke, sandbox):
    """Lost once, then logged out: nothing is added to it."""
    sandbox.add_fault(Fault("drop-after", method="DELETE", path=small["id"][3], times=1))
    run = revoke(small)
    row = run.to_frame().loc[3]
    assert (row["outcome"], row["attempts"], bool(row.isna()["why"] or not row["why"])) == (
        "revoked",
        2,
        True,
    )


USED_UP = {"inin-ratelimit-allowed": "300", "inin-ratelimit-count": "300", "inin-ratelimit-reset": "86400"}


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Retry-After": "50", **USED_UP}, "The server asks to wait 50 s"),
        ({"Retry-After": "", **USED_UP}, "The server asks to wait 86,400 s"),
    ],
)
def test_a_wait_that_stopped_the_run_does_not_stop_the_next(
    small, revoke, gc, sandbox, tmp_path, headers, why
):
    """Whoever resumes it over the same connection sees what the server says then."""
    with_policy(gc, longest_wait_seconds=0.5)
    sandbox.add_fault(Fault("status", status=429, headers=headers, times=1, **DELETE))
    assert why in stopped(revoke, small)
    assert gct.resume(tmp_path / "run.sqlite", gc).counts["revoked"] == 8


def test_a_window_that_is_used_up_stops_the_run(small, revoke, gc, sandbox, tmp_path):
    """Where a success says that the next request may go tomorrow, the run stops before it, and nobody is unknown."""
    sandbox.add_fault(Fault("status", status=204, headers=USED_UP, times=1, **DELETE))
    text = stopped(revoke, small)
    assert "with 7 users left. The rate limit of this token is used up" in text
    run = Run.of(tmp_path / "run.sqlite")
    assert (run.counts["pending"], sum(run.to_frame()["attempts"]), len(deletes(sandbox))) == (7, 1, 1)
    assert gct.resume(tmp_path / "run.sqlite", gc).counts["revoked"] == 8


def test_the_rate_is_of_all_who_are_through(small, revoke, sandbox):
    """Users per second times the seconds since it began are the users."""
    sandbox.add_fault(Fault("slow", seconds=0.1, **DELETE))
    seen: list[tuple[int, float]] = []
    began = time.monotonic()

    def watch(run: Run) -> None:
        done = run.counts["revoked"]
        seen.append((done, run.users_per_second * (time.monotonic() - began)))

    revoke(small, workers=1, on_progress=watch)
    assert all(users >= done - 1 for done, users in seen[:-1])
    assert any(done > 2 for done, _ in seen[:-1])


def test_whoever_was_refused_is_pending_and_not_in_doubt(small, revoke, sandbox):
    """A refusal is an answer: the run says of nobody that it is not known whether they are logged out."""
    sandbox.add_fault(Fault("status", status=429, seconds=100_000, **DELETE))
    seen: list[Run] = []
    stopped(revoke, small, on_progress=seen.append)
    assert seen[-1].counts == {"pending": 8, "revoked": 0, "failed": 0, "skipped": 0, "unknown": 0}
