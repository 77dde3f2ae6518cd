"""One attempt after another: who is tried again and when, how long everybody waits, and what stops the run."""

from __future__ import annotations

import collections
import itertools
import random
import re
import sqlite3
import threading
from typing import Any

import pytest

import gctokens_nb as gct
from gctokens_nb.errors import RevocationStoppedError
from gctokens_nb.revocation.run import Run
from gctokens_nb.sandbox import Fault, Sandbox

DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}


def with_policy(gc: gct.Connection, **policy: float) -> None:
    """Let the connection wait as long as that at the most."""
    gc.session.retry = gct.RetryPolicy(**{"backoff_seconds": 0.001, **policy})


def deletes(sandbox: Sandbox) -> list[Any]:
    """The attempts that the sandbox has seen, in the order in which they came."""
    return sorted((call for call in sandbox.calls if call.method == "DELETE"), key=lambda call: call.at)


def gaps(sandbox: Sandbox) -> list[float]:
    """The seconds between the attempts."""
    calls = deletes(sandbox)
    return [(later.at - earlier.at).total_seconds() for earlier, later in itertools.pairwise(calls)]


def others_get_through(sandbox: Sandbox, plan: Any) -> None:
    """Let the last users take so long that they are logged out after another one's first attempt has failed."""
    sandbox.add_fault(Fault("slow", seconds=0.15, method="DELETE", path=f"{plan['id'][4]}|{plan['id'][5]}"))


def stopped(revoke: Any, plan: Any, **options: Any) -> str:
    """The text of the error with which a run stops."""
    with pytest.raises(RevocationStoppedError) as caught:
        revoke(plan, **options)
    return str(caught.value)


# How long everybody waits


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": ""}, 0.95),  # it does not say how long
        ({"Retry-After": "0"}, 0.09),  # it says too little: nobody is flooded
        ({"Retry-After": "0.4"}, 0.39),
        ({"Retry-After": "", "inin-ratelimit-reset": "0.3"}, 0.29),
    ],
)
def test_after_a_429_everybody_waits(small, revoke, sandbox, headers, seconds):
    """One 429 holds all workers: as long as it says, a second where it says nothing, never less than a moment."""
    sandbox.add_fault(Fault("status", status=429, headers=headers, times=1, **DELETE))
    run = revoke(small, workers=4)
    assert run.counts["revoked"] == 8
    assert deletes(sandbox)[0].status == 429
    assert gaps(sandbox)[0] >= seconds


def test_a_503_that_asks_to_wait_is_heard(small, revoke, sandbox):
    """Retry-After counts on other statuses, too."""
    sandbox.add_fault(Fault("status", status=503, headers={"Retry-After": "0.4"}, times=1, **DELETE))
    revoke(small, workers=4)
    assert gaps(sandbox)[0] >= 0.39


def test_the_longest_wait_is_waited(small, revoke, gc, sandbox):
    """What is as long as allowed is waited."""
    with_policy(gc, longest_wait_seconds=0.5)
    sandbox.add_fault(Fault("status", status=429, headers={"Retry-After": "0.5"}, times=1, **DELETE))
    assert revoke(small).counts["revoked"] == 8


def test_a_longer_wait_than_allowed_stops_it(small, revoke, gc, sandbox):
    """It stops at once, and says what the server asks for and which setting that passes."""
    with_policy(gc, longest_wait_seconds=0.5)
    sandbox.add_fault(Fault("status", status=429, headers={"Retry-After": "50"}, after=1, **DELETE))
    text = stopped(revoke, small)
    assert "50 s" in text
    assert "longest_wait_seconds" in text
    assert "with 7 users left" in text
    assert len(deletes(sandbox)) <= 8


def test_a_429_does_not_count_as_a_try(small, revoke, sandbox):
    """A user who is refused for the rate limit more often than a user is tried is logged out in the end."""
    victim = small["id"][2]
    sandbox.add_fault(
        Fault("status", status=429, method="DELETE", path=victim, headers={"Retry-After": "0"}, times=8)
    )
    run = revoke(small)
    row = run.to_frame().loc[2]
    assert (row["outcome"], row["attempts"]) == ("revoked", 9)


def test_a_user_is_tried_six_times(small, revoke, sandbox):
    """Six times and no more; the others are logged out meanwhile, and the row says what the sixth was answered."""
    victim = small["id"][2]
    sandbox.add_fault(Fault("status", status=500, method="DELETE", path=victim))
    others_get_through(sandbox, small)
    run = revoke(small, workers=1)
    row = run.to_frame().loc[2]
    assert (row["outcome"], row["attempts"], row["status"]) == ("failed", 6, 500)
    assert sum(victim in call.path for call in deletes(sandbox)) == 6
    assert run.counts == {"pending": 0, "revoked": 7, "failed": 1, "skipped": 0, "unknown": 0}


def test_the_pauses_of_a_user_double_and_are_drawn(small, revoke, gc, sandbox, monkeypatch):
    """From nothing to twice as long each time; after a 429 the user waits no longer than all others do."""
    with_policy(gc, backoff_seconds=0.002)
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        if threading.current_thread().name == "gctokens-journal":
            drawn.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", uniform)
    victim = small["id"][0]
    sandbox.add_fault(
        Fault("status", status=429, method="DELETE", path=victim, headers={"Retry-After": "0"}, times=1)
    )
    sandbox.add_fault(Fault("status", status=503, method="DELETE", path=victim, times=5))
    run = revoke(small)
    assert run.counts["revoked"] == 8
    assert [low for low, _ in drawn] == [0] * 6
    assert sorted(high for _, high in drawn) == pytest.approx([0.0, 0.002, 0.004, 0.008, 0.016, 0.032])


def test_a_pause_is_kept(small, revoke, gc, sandbox, monkeypatch):
    """The next attempt at a user comes when its pause is over, not before."""
    with_policy(gc, backoff_seconds=0.4)
    monkeypatch.setattr(random, "uniform", lambda _, high: high)
    victim = small["id"][0]
    sandbox.add_fault(Fault("status", status=503, method="DELETE", path=victim, times=1))
    revoke(small)
    first, second = (call.at for call in deletes(sandbox) if victim in call.path)
    assert (second - first).total_seconds() >= 0.39


# What stops the run


@pytest.mark.parametrize("status", [401, 403, 302, 399])
def test_what_concerns_everybody_stops_the_run(small, revoke, sandbox, status):
    """No permission, no token, a redirect: the next user would meet the same. Nobody has failed."""
    sandbox.add_fault(Fault("status", status=status, after=2, body="", headers={"Location": "/x"}, **DELETE))
    text = stopped(revoke, small, workers=1)
    assert "with 6 users left" in text
    assert str(status) in text
    assert [call.status for call in deletes(sandbox)].count(status) <= 2


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_what_concerns_one_user_fails_that_one(small, revoke, sandbox, status):
    """Any other refusal is that user's: the run goes on, and the user is not tried again."""
    sandbox.add_fault(Fault("status", status=status, method="DELETE", path=small["id"][3]))
    run = revoke(small)
    row = run.to_frame().loc[3]
    assert (row["outcome"], row["attempts"], row["status"]) == ("failed", 1, status)
    assert run.counts["revoked"] == 7


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(small, revoke, sandbox, status):
    """What may be over the next time is repeated."""
    sandbox.add_fault(
        Fault(
            "status",
            status=status,
            method="DELETE",
            path=small["id"][3],
            times=1,
            headers={"Retry-After": "0"},
        )
    )
    run = revoke(small)
    assert (run.to_frame().loc[3]["attempts"], run.counts["revoked"]) == (2, 8)


def test_refusals_without_end_stop_it(small, revoke, gc, sandbox):
    """429 for ever, with nothing to wait for: within twice the longest wait it is over, and says how long it tried."""
    with_policy(gc, longest_wait_seconds=0.3)
    sandbox.add_fault(Fault("status", status=429, headers={"Retry-After": "0"}, **DELETE))
    text = stopped(revoke, small)
    number = re.search(r"Nobody got through in (\d+) attempts", text)
    assert number
    assert 2 <= int(number[1]) <= len(deletes(sandbox)) <= 60


def test_too_many_refusals_in_a_row_stop_it(revoke, gc, sandbox):
    """However patient it may be: after a hundred refusals in a row it is over."""
    plan = gct.plan_revocation(gc, [user.id for user in sandbox.users[100:160]])
    sandbox.add_fault(Fault("status", status=503, headers={"Retry-After": ""}, after=1, **DELETE))
    text = stopped(revoke, plan)
    assert "Nobody got through in 100 attempts" in text
    assert 101 <= len(deletes(sandbox)) <= 160, "those that were on their way by then"
    assert "with 59 users left" in text


def test_a_request_that_never_ends_is_broken_off(small, revoke, gc, sandbox, tmp_path):
    """After twice the longest wait an answer is waited for no longer; whoever is left then is logged out by `resume`."""
    with_policy(gc, longest_wait_seconds=0.3)
    held = sandbox.add_fault(Fault("hold", method="DELETE", path=small["id"][3]))
    text = stopped(revoke, small)
    assert "in time" in text or "No full answer" in text or "cancelled" in text
    held.release()
    run = Run.of(tmp_path / "run.sqlite")
    assert run.counts["unknown"] == 1
    assert run.to_frame().loc[3]["outcome"] == "unknown"
    assert gct.resume(tmp_path / "run.sqlite", gc).counts["revoked"] == 8


# What is written down


def test_what_was_not_sent_is_taken_out_at_once(small, revoke, sandbox):
    """When a run is stopped, the attempts that nobody began are out of the journal while another is still on its way."""
    held = sandbox.add_fault(Fault("hold", after=1, **DELETE))
    seen: list[int] = []

    def watch(run: Run) -> None:
        if seen:
            return
        held.wait_until_held(20)
        run.cancel()
        for _ in range(1000):
            seen.append(int(run.to_frame()["attempts"].sum()))
            if seen[-1] == 2:
                break
            threading.Event().wait(0.01)
        held.release()

    run = revoke(small, workers=1, on_progress=watch)
    assert seen[-1] == 2
    assert (run.state, len(deletes(sandbox))) == ("stopped", 2)
    assert sorted(run.to_frame()["attempts"]) == [0] * 6 + [1] * 2


def test_a_run_that_is_stopped_while_it_is_paused_has_sent_nothing_more(small, revoke, sandbox):
    """Paused, then cancelled: all is written down, and nobody waits for anything."""
    seen: list[str] = []

    def watch(run: Run) -> None:
        seen.append(run.state)
        if len(seen) == 1:
            run.pause()
        elif run.state == "paused":
            run.cancel()

    run = revoke(small, on_progress=watch)
    assert run.state == "stopped"
    assert run.to_frame()["attempts"].sum() == len(deletes(sandbox)) == run.counts["revoked"]


@pytest.mark.parametrize(
    ("fault", "outcome", "status", "why"),
    [
        ({"kind": "drop-after"}, "unknown", None, "The connection to 127.0.0.1 broke before DELETE"),
        ({"kind": "html", "status": 200}, "unknown", 200, ""),
        ({"kind": "status", "status": 200, "body": '{"ok": true}'}, "unknown", 200, ""),
        ({"kind": "status", "status": 206, "body": ""}, "unknown", 206, ""),
        ({"kind": "status", "status": 503}, "failed", 503, "service.unavailable: "),
        ({"kind": "status", "status": 400}, "failed", 400, "bad.request: "),
        ({"kind": "status", "status": 404, "body": "no JSON"}, "failed", 404, ""),
    ],
)
def test_the_row_says_what_became_of_the_user(small, revoke, sandbox, fault, outcome, status, why):
    """Outcome, status, reason and correlation id are those of the last answer; where none came there are none."""
    sandbox.add_fault(Fault(**fault, method="DELETE", path=small["id"][3]))
    others_get_through(sandbox, small)
    run = revoke(small, workers=1)
    frame = run.to_frame()
    row = frame.loc[3]
    assert (row["outcome"], run.counts[outcome], run.counts["revoked"]) == (outcome, 1, 7)
    assert (None if row.isna()["status"] else row["status"]) == status
    last = [call for call in deletes(sandbox) if small["id"][3] in call.path][-1]
    assert bool(row.isna()["correlation_id"]) is (status is None)
    assert last.status in {status, None, 204}
    assert str(row["why"]).startswith(why)
    assert run.state == ("stopped" if outcome == "unknown" else "finished")
    others = frame.drop(index=3)
    assert set(others["status"]) == {204}
    assert others["correlation_id"].str.len().eq(36).all()
    assert others["attempts"].eq(1).all()


def test_an_error_of_this_program_stops_the_run(small, revoke, gc, sandbox, monkeypatch, tmp_path):
    """What nobody expected ends the run, not a worker: the user is unknown, and the reason names the kind of error."""

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(gc.session, "call", broken)
    assert "with 8 users left" in stopped(revoke, small)
    assert not sandbox.revocations
    frame = Run.of(tmp_path / "run.sqlite").to_frame()
    assert "unknown" in set(frame["outcome"])
    assert set(frame[frame["outcome"] == "unknown"]["attempts"]) == {1}


def test_times_are_written_as_utc_to_the_millisecond(small, revoke, tmp_path):
    """ISO 8601 with a Z, as the journal says it."""
    revoke(small)
    with sqlite3.connect(tmp_path / "run.sqlite") as journal:
        times = journal.execute("SELECT sent_at, answered_at FROM attempts").fetchall()
    assert len(times) == 8
    for pair in times:
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment) for moment in pair)
        assert pair[0] <= pair[1]


def test_the_counts_follow_each_user(small, revoke, sandbox):
    """Of whom nothing is known is counted as unknown, until it is known; together they are always all."""
    for user_id in small["id"][:4]:
        sandbox.add_fault(Fault("drop-after", method="DELETE", path=user_id, times=1))
        sandbox.add_fault(Fault("slow", seconds=0.25, method="DELETE", path=user_id))
    seen: list[collections.Counter[str]] = []
    run = revoke(small, workers=4, on_progress=lambda run: seen.append(collections.Counter(run.counts)))
    assert all(sum(counts.values()) == 8 for counts in seen)
    assert any(counts["unknown"] for counts in seen)
    assert run.counts == {"pending": 0, "revoked": 8, "failed": 0, "skipped": 0, "unknown": 0}


def test_a_user_who_was_unknown_before_stays_so_until_an_answer_comes(small, revoke, gc, sandbox, tmp_path):
    """A resumed run knows who may be logged out already: refused now, such a user is still not called pending."""
    victim = small["id"][3]
    sandbox.add_fault(Fault("drop-after", method="DELETE", path=victim))
    others_get_through(sandbox, small)
    assert revoke(small, workers=1).counts["unknown"] == 1
    sandbox.clear_faults()
    sandbox.add_fault(Fault("status", status=403, method="DELETE", path=victim))
    with pytest.raises(RevocationStoppedError):
        gct.resume(tmp_path / "run.sqlite", gc)
    assert Run.of(tmp_path / "run.sqlite").counts["unknown"] == 1
    sandbox.clear_faults()
    sandbox.add_fault(Fault("status", status=404, method="DELETE", path=victim))
    run = gct.resume(tmp_path / "run.sqlite", gc)
    assert run.counts["failed"] == 1
    assert "an earlier attempt got no answer and may have taken effect" in run.to_frame().loc[3]["why"]


def test_a_success_may_ask_to_wait_as_well(small, revoke, gc, sandbox):
    """A wait beyond the limit stops the run even where it comes with a success, which is written down as one."""
    with_policy(gc, longest_wait_seconds=0.5)
    sandbox.add_fault(
        Fault("status", status=204, headers={"Retry-After": "1234"}, after=3, times=1, **DELETE)
    )
    text = stopped(revoke, small, workers=1)
    assert "with 4 users left. The server asks to wait 1,234 s, longer than the 0.5 s of" in text
    assert (
        "RetryPolicy.longest_wait_seconds. The server asks to wait 1,234 s. Resume the run after that."
        in text
    )


def test_a_wait_that_comes_with_a_success_is_kept(small, revoke, sandbox):
    """Within the limit, everybody waits for it."""
    sandbox.add_fault(Fault("status", status=204, headers={"Retry-After": "0.5"}, times=1, **DELETE))
    assert revoke(small, workers=4).counts["revoked"] == 8
    assert gaps(sandbox)[0] >= 0.49


def test_an_attempt_that_cannot_be_broken_off_is_given_up(small, revoke, gc, sandbox, monkeypatch, tmp_path):
    """What does not even end when it is cancelled is written down as unknown, a second later, and holds nobody up."""
    with_policy(gc, longest_wait_seconds=0.2)
    stuck, victim, call = threading.Event(), small["id"][3], gc.session.call

    def sometimes_stuck(method: str, path: str, **options: Any) -> Any:
        if victim in path:
            stuck.wait(60)
        return call(method, path, **options)

    monkeypatch.setattr(gc.session, "call", sometimes_stuck)
    try:
        text = stopped(revoke, small)
    finally:
        stuck.set()
    run = Run.of(tmp_path / "run.sqlite")
    row = run.to_frame().loc[3]
    assert (row["outcome"], row["attempts"], run.counts["revoked"]) == ("unknown", 1, 7)
    assert "with 1 user left" in text
    assert re.search(r"No full answer came in [12] s, and it was not waited for any longer\.", text)
    assert row.isna()["status"]
    assert row.isna()["correlation_id"]
    with sqlite3.connect(tmp_path / "run.sqlite") as journal:
        ((sent_at, answered_at, reason),) = journal.execute(
            "SELECT sent_at, answered_at, reason FROM attempts WHERE row = 3"
        )
    assert sent_at <= answered_at
    assert reason.startswith("No full answer came in ")


def test_a_long_reason_is_cut(small, revoke, sandbox, tmp_path):
    """What a server says goes on for as long as a table can hold."""
    body = '{"code": "no", "message": "' + "x" * 5000 + '"}'
    sandbox.add_fault(Fault("status", status=404, body=body, method="DELETE", path=small["id"][3]))
    run = revoke(small)
    assert 100 < len(run.to_frame().loc[3]["why"]) <= 1000


def test_what_the_run_is_waiting_for_is_said(small, revoke, sandbox):
    """While a 429 is waited for, the run says so, with the seconds that are left."""
    sandbox.add_fault(Fault("status", status=429, headers={"Retry-After": "2"}, times=1, **DELETE))
    said: list[str] = []
    revoke(small, on_progress=lambda run: said.append(run.waiting))
    assert any(re.fullmatch(r"waiting for the rate limit, [12] s", text) for text in said)


def test_the_end_is_estimated_from_what_was_done(small, revoke, sandbox):
    """Nothing to go by at first; then by the users who are through."""
    sandbox.add_fault(Fault("slow", seconds=0.25, **DELETE))
    seen: list[tuple[int, float, float | None]] = []
    revoke(
        small,
        workers=1,
        on_progress=lambda run: seen.append((run.counts["revoked"], run.users_per_second, run.seconds_left)),
    )
    assert seen[0] == (0, 0.0, None)
    under_way = [one for one in seen if 0 < one[0] < 8]
    assert under_way
    assert all(0 < rate < 8 for _, rate, _ in under_way)
    assert all(seconds is not None and 0 < seconds < 20 for _, _, seconds in under_way)


def test_a_pause_is_nobodys_trouble(small, revoke, gc, sandbox):
    """A run that is paused for longer than it is patient goes on as if nothing had been."""
    with_policy(gc, longest_wait_seconds=0.4, backoff_seconds=0.2)
    sandbox.add_fault(Fault("status", status=503, times=2, **DELETE))
    seen: list[str] = []

    def watch(run: Run) -> None:
        if sum(call.status == 503 for call in deletes(sandbox)) and not seen:
            run.pause()
            seen.append("paused")
            threading.Event().wait(1.0)
            run.unpause()

    run = revoke(small, workers=1, on_progress=watch)
    assert run.counts["revoked"] == 8


def test_a_run_keeps_no_program_alive(small, revoke):
    """All its threads are daemons, and have names."""
    seen: set[tuple[str, bool]] = set()
    revoke(
        small,
        workers=2,
        on_progress=lambda _: seen.update(
            (one.name, one.daemon)
            for one in threading.enumerate()
            if one.name.startswith(("gctokens-revoke", "gctokens-journal"))
        ),
    )
    assert {("gctokens-journal", True), ("gctokens-revoke-0", True), ("gctokens-revoke-1", True)} >= seen
    assert ("gctokens-journal", True) in seen


def test_many_workers_may_be_refused_more_often(revoke, gc, sandbox):
    """The bound on refusals in a row grows with the workers: each may try six times."""
    plan = gct.plan_revocation(gc, [user.id for user in sandbox.users[100:200]])
    sandbox.add_fault(Fault("status", status=503, headers={"Retry-After": ""}, after=1, **DELETE))
    assert "Nobody got through in 180 attempts" in stopped(revoke, plan, workers=30)


def test_the_error_that_stopped_it_is_the_reason(small, revoke, sandbox):
    """What to do comes before the wire and the correlation id."""
    sandbox.add_fault(Fault("status", status=403, **DELETE))
    with pytest.raises(RevocationStoppedError) as caught:
        revoke(small)
    cause = caught.value.__cause__
    assert caught.value.what == f"The run was stopped with 8 users left. {cause.what}"
    assert caught.value.next_step.startswith(f"{cause.next_step} What was done is in the journal: resume(")
    assert cause.wire
    assert str(caught.value).endswith(cause.wire)
