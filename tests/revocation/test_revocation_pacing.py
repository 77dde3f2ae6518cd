"""Pacing: as fast as the server's window allows, never faster, all workers together."""

from __future__ import annotations

import collections
import itertools
import math
from datetime import timedelta

import gctokens_nb as gct
from gctokens_nb.sandbox import Fault, Sandbox

DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}


def deletions(sandbox):
    """When the sandbox was asked to delete somebody's tokens, in seconds."""
    return [call.at.timestamp() for call in sandbox.calls if call.method == "DELETE"]


def plan_for(sandbox, count):
    """A connection and a plan for so many active users."""
    gc = gct.connect_sandbox(sandbox=sandbox)
    return gct.plan_revocation(gc, [user.id for user in sandbox.users[20 : 20 + count]])


def test_the_servers_window_is_used_up_and_never_overdrawn(tmp_path):
    """40 requests in a window of 5 s: 150 users take four windows, each but the last is full, and no 429 is met."""
    with Sandbox(users=300, rate_limit=40, rate_window_seconds=5) as sandbox:
        plan = plan_for(sandbox, 150)
        run = gct.revoke(plan, journal=tmp_path / "run.sqlite", confirm=150, workers=16)
        assert run.counts["revoked"] == 150
        assert not [call for call in sandbox.calls if call.status == 429]
        bursts = [1]
        for before, after in itertools.pairwise(deletions(sandbox)):
            if after - before > 1:
                bursts.append(0)
            bursts[-1] += 1
        assert bursts == [37, 40, 40, 33], "planning took 3 requests of the first window"


def test_somebody_else_using_the_limit_is_noticed(tmp_path):
    """The server's count is believed, not ours: what others send with the token is left for them."""
    with Sandbox(users=300, rate_limit=40, rate_window_seconds=2) as sandbox:
        plan = plan_for(sandbox, 60)
        for _ in range(20):
            plan.connection.tokens.get_tokens_me(preserve_idle_ttl=True)
        gct.revoke(plan, journal=tmp_path / "run.sqlite", confirm=60)
        assert not [call for call in sandbox.calls if call.status == 429]


def test_after_a_429_everybody_waits_and_nobody_is_lost(tmp_path):
    """Retry-After holds all workers back for as long; the user who met it is sent again, and it counts for no failure."""
    with Sandbox(users=300, rate_limit=None) as sandbox:
        plan = plan_for(sandbox, 100)
        held = sandbox.add_fault(Fault("hold", after=20, times=7, **DELETE))
        sandbox.add_fault(Fault("status", status=429, seconds=2, after=20, times=1, **DELETE))
        heard = []

        def release_once_it_waits(run):
            if run.waiting:
                heard.append(run.waiting)
                held.release()

        run = gct.revoke(
            plan,
            journal=tmp_path / "run.sqlite",
            confirm=100,
            workers=8,
            rate=math.inf,
            on_progress=release_once_it_waits,
        )
        calls = [call for call in sandbox.calls if call.method == "DELETE"]
        assert [call.status for call in calls] == [204] * 20 + [429] + [204] * 80
        refused, on_their_way, later = calls[20], calls[21:28], calls[28:]
        assert all(call.at - refused.at < timedelta(seconds=2) for call in on_their_way)
        assert all(call.at - refused.at >= timedelta(seconds=2) for call in later)
        assert heard[0] in {"waiting for the rate limit, 2 s", "waiting for the rate limit, 1 s"}
        assert run.counts["revoked"] == 100
        assert run.to_frame()["attempts"].sum() == 101


def test_many_429_are_no_failure(tmp_path):
    """However often the server refuses for the rate, the user is sent in the end."""
    with Sandbox(users=50, rate_limit=None) as sandbox:
        plan = plan_for(sandbox, 3)
        sandbox.add_fault(Fault("status", status=429, seconds=0.01, times=30, **DELETE))
        assert (
            gct.revoke(plan, journal=tmp_path / "run.sqlite", confirm=3, rate=math.inf).counts["revoked"] == 3
        )


def test_a_rate_of_ones_own_holds_for_all_runs_of_the_connection(tmp_path, monkeypatch):
    """rate= is the most in any minute, over two runs too."""
    monkeypatch.setattr("gctokens_nb.revocation.pacing._WINDOW_SECONDS", 2.0)
    with Sandbox(users=300, rate_limit=None) as sandbox:
        plan = plan_for(sandbox, 50)
        for number, part in enumerate((plan[:25], plan[25:])):
            gct.revoke(part, journal=tmp_path / f"{number}.sqlite", confirm=25, rate=20)
        times = deletions(sandbox)
        assert len(times) == 50
        assert all(later - first >= 1.5 for first, later in zip(times, times[20:], strict=False))


def test_without_headers_it_is_300_a_minute(tmp_path, monkeypatch):
    """Where the server says nothing of a limit, its documented one holds."""
    monkeypatch.setattr("gctokens_nb.revocation.pacing._WINDOW_SECONDS", 3.0)
    with Sandbox(users=400, rate_limit=None) as sandbox:
        plan = plan_for(sandbox, 310)
        waited = []

        def watch(run):
            if run.waiting:
                waited.append(len(deletions(sandbox)))

        gct.revoke(plan, journal=tmp_path / "run.sqlite", confirm=310, workers=16, on_progress=watch)
        times = deletions(sandbox)
        assert all(later - first >= 2.5 for first, later in zip(times, times[300:], strict=False))
        assert all(count >= 300 - 16 for count in waited), "300 are sent without a pause"


def test_the_first_request_goes_alone(plan, revoke, sandbox):
    """Until the server has said how much of the window is left, one request is on its way, not all workers at once."""
    held = sandbox.add_fault(Fault("hold", times=1, **DELETE))
    counts = []

    def watch(run):
        if len(counts) < 3:
            counts.append(
                held.wait_until_held() and len([call for call in sandbox.calls if call.method == "DELETE"])
            )
        held.release()

    revoke(plan, on_progress=watch)
    assert counts[0] == 0
    assert collections.Counter(sandbox.revocations)


def test_the_estimate_knows_the_limit(tmp_path):
    """With 30 of 300 a minute spent at once, the rest of 330 users takes a minute, not a second."""
    with Sandbox(users=400, rate_limit=300) as sandbox:
        plan = plan_for(sandbox, 330)
        estimates = []

        def watch(run):
            if run.counts["revoked"] > 250:
                estimates.append((run.seconds_left, run.waiting))
                run.cancel()

        gct.revoke(plan, journal=tmp_path / "run.sqlite", confirm=330, on_progress=watch)
        assert 30 < estimates[0][0] <= 61
