"""Run: dry unless confirmed, complete whatever goes wrong, stopped and resumed at any time."""

from __future__ import annotations

import collections
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

import gctokens_nb as gct
from gctokens_nb.errors import (
    ConfigurationError,
    IncompleteRevocationError,
    PermissionDeniedError,
    RateLimitedError,
    RevocationStoppedError,
    SelfRevocationError,
    UnauthorizedError,
)
from gctokens_nb.revocation.run import Run
from gctokens_nb.sandbox import Fault, Sandbox

DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}


def revoked_ids(sandbox):
    """Whose tokens the sandbox has deleted, by its own record."""
    return {revocation.user_id for revocation in sandbox.revocations}


def test_without_confirmation_nothing_is_sent(plan, sandbox, tmp_path):
    """A dry run says what would happen, sends nothing and makes no journal."""
    calls = len(sandbox.calls)
    run = gct.revoke(plan, journal=tmp_path / "run.sqlite")
    assert (run.state, run.counts["pending"], len(run.to_frame())) == ("dry run", 100, 100)
    assert len(sandbox.calls) == calls
    assert not list(tmp_path.iterdir())
    assert "nothing was sent" not in repr(run)


@pytest.mark.parametrize("confirm", [99, 101, 0, True])
def test_the_wrong_number_sends_nothing(plan, sandbox, tmp_path, confirm):
    """The number must be that of the users who will be logged out; the error names both."""
    with pytest.raises(ConfigurationError, match=f"confirm={confirm}.*logs out 100 users"):
        gct.revoke(plan, journal=tmp_path / "run.sqlite", confirm=confirm)
    assert not sandbox.revocations
    assert not list(tmp_path.iterdir())


def test_the_right_number_logs_out_exactly_the_plan(plan, revoke, sandbox):
    """Every user of the plan, once, and nobody else; their tokens are dead by the sandbox's own books."""
    inside, outside = sandbox.users[100], sandbox.users[200]
    theirs, others = sandbox.issue_token(inside), sandbox.issue_token(outside)
    run = revoke(plan)
    assert (run.state, run.counts["revoked"], run.left) == ("finished", 100, 0)
    assert len(sandbox.revocations) == 100
    assert revoked_ids(sandbox) == set(plan["id"])
    assert not sandbox.is_alive(theirs)
    assert sandbox.is_alive(others)


def test_skipped_inputs_are_kept_and_counts_add_up(gc, revoke, sandbox):
    """Every input is in the result, in its order, with its outcome."""
    given = [sandbox.users[30].id, "nobody@example.org", sandbox.users[30].email, sandbox.users[31].id]
    run = revoke(gct.plan_revocation(gc, given))
    assert list(run.to_frame()["outcome"]) == ["revoked", "skipped", "skipped", "revoked"]
    assert run.counts == {"pending": 0, "revoked": 2, "failed": 0, "skipped": 2, "unknown": 0}


def test_what_goes_wrong_on_the_way_is_repeated(plan, revoke, sandbox):
    """429, 503, connections dropped before and after the effect, HTML and garbage: in the end, everybody is logged out."""
    for number, fault in enumerate(
        [
            Fault("status", status=429, seconds=0.05, times=5, **DELETE),
            Fault("status", status=503, times=5, **DELETE),
            Fault("status", status=503, headers={"Retry-After": "0.1"}, times=1, **DELETE),
            Fault("drop-before", times=5, **DELETE),
            Fault("drop-after", times=5, **DELETE),
            Fault("html", times=3, **DELETE),
            Fault("html", status=200, times=3, **DELETE),
            Fault("garbage", times=3, **DELETE),
            Fault("truncate", times=3, **DELETE),
        ]
    ):
        fault.after = number * 7
        sandbox.add_fault(fault)
    run = revoke(plan)
    assert run.counts["revoked"] == 100
    assert revoked_ids(sandbox) == set(plan["id"])
    frame = run.to_frame()
    # One more may have been sent on a connection that the sandbox had just closed.
    assert frame["attempts"].sum() >= sum(call.method == "DELETE" for call in sandbox.calls)
    assert frame["attempts"].max() > 1


def test_a_user_who_does_not_exist_any_more_fails_with_the_reason(gc, plan, revoke, sandbox):
    """404 is final: the others go on, and the row says why; the id can be quoted to Genesys support."""
    victim = plan["id"][7]
    sandbox.add_fault(Fault("status", status=404, method="DELETE", path=victim))
    run = revoke(plan)
    row = run.to_frame().loc[7]
    assert (run.state, run.counts["failed"], run.counts["revoked"]) == ("finished", 1, 99)
    assert (row["outcome"], row["status"], row["attempts"]) == ("failed", 404, 1)
    assert row["why"] == "not.found: The requested resource was not found."
    call = next(call for call in sandbox.calls if victim in call.path)
    assert call.status == 404
    assert len(row["correlation_id"]) == 36


def test_trouble_that_stays_ends_as_failed_or_unknown(plan, revoke, gc, sandbox, tmp_path):
    """After six attempts a 5xx is failed and a dropped connection unknown; resuming repeats the unknown ones, and the failed if asked."""
    broken, dropped = plan["id"][3], plan["id"][4]
    sandbox.add_fault(Fault("status", status=500, method="DELETE", path=broken))
    sandbox.add_fault(Fault("drop-after", method="DELETE", path=dropped))
    run = revoke(plan)
    frame = run.to_frame()
    assert list(frame.loc[[3, 4], "outcome"]) == ["failed", "unknown"]
    assert list(frame.loc[[3, 4], "attempts"]) == [6, 6]
    assert (run.state, run.left) == ("stopped", 1)
    sandbox.clear_faults()
    run = gct.resume(tmp_path / "run.sqlite", gc)
    assert (run.counts["failed"], run.counts["unknown"]) == (1, 0)
    run = gct.resume(tmp_path / "run.sqlite", gc, retry_failed=True)
    assert (run.state, run.counts["revoked"]) == ("finished", 100)
    assert list(run.to_frame().loc[[3, 4], "attempts"]) == [7, 7]


def test_resuming_a_finished_run_sends_nothing(plan, revoke, gc, sandbox, tmp_path):
    """Nothing is left to do, so nothing is done, and the journal stays as it is."""
    revoke(plan)
    before = (tmp_path / "run.sqlite").read_bytes()
    run = gct.resume(tmp_path / "run.sqlite", gc)
    assert (run.state, len(sandbox.revocations)) == ("finished", 100)
    assert (tmp_path / "run.sqlite").read_bytes() == before


def test_cancel_finishes_what_is_in_flight_and_resume_does_the_rest(plan, revoke, gc, sandbox, tmp_path):
    """Stopped in the middle: all that was sent is written down with its answer, nothing is unknown, and nobody is sent twice."""
    held = sandbox.add_fault(Fault("hold", after=40, **DELETE))

    def stop(run):
        if run.state == "running":
            held.wait_until_held()
            run.cancel()
            held.release()

    run = revoke(plan, on_progress=stop)
    assert run.state == "stopped"
    assert run.counts["unknown"] == 0
    assert 40 <= run.counts["revoked"] == len(sandbox.revocations) < 100
    assert run.counts["pending"] == 100 - run.counts["revoked"]
    assert run.to_frame()["attempts"].sum() == run.counts["revoked"], "what was not sent leaves no trace"
    run = gct.resume(tmp_path / "run.sqlite", gc)
    assert (run.state, run.counts["revoked"]) == ("finished", 100)
    assert max(collections.Counter(one.user_id for one in sandbox.revocations).values()) == 1


def test_ctrl_c_stops_in_good_order(plan, revoke, gc, sandbox, tmp_path):
    """KeyboardInterrupt ends the call once all is written down, and tells how to go on."""

    def interrupt(run):
        if run.counts["revoked"]:
            raise KeyboardInterrupt

    sandbox.add_fault(Fault("slow", seconds=0.1, **DELETE))
    with pytest.raises(KeyboardInterrupt) as caught:
        revoke(plan, on_progress=interrupt)
    assert "resume(" in caught.value.__notes__[0]
    sandbox.clear_faults()
    run = gct.resume(tmp_path / "run.sqlite", gc)
    frame = run.to_frame()
    assert (run.state, run.counts["revoked"]) == ("finished", 100)
    assert frame["attempts"].sum() == 100, "nothing was lost, so nothing was repeated"


def test_a_pause_holds_everything_back(plan, revoke, sandbox):
    """While paused nothing is sent; afterwards it goes on to the end."""
    seen = []

    def watch(run):
        if not seen:
            run.pause()
            seen.append(None)
        elif len(seen) < 4:
            seen.append((run.state, len(sandbox.revocations)))
        elif run.state == "paused":
            run.unpause()

    run = revoke(plan, on_progress=watch)
    assert run.counts["revoked"] == 100
    states, counts = zip(*seen[1:], strict=True)
    assert set(states) == {"paused"}
    assert len(set(counts[1:])) == 1


def test_progress_is_told_from_start_to_end(plan, revoke, sandbox):
    """The caller's thread hears of the run as it begins, while it lasts, and when it is over, with a rate and an estimate."""
    sandbox.add_fault(Fault("slow", seconds=0.1, **DELETE))
    heard = []

    def watch(run):
        heard.append(
            (
                threading.current_thread(),
                run.state,
                run.counts["revoked"],
                run.users_per_second,
                run.seconds_left,
            )
        )

    revoke(plan, on_progress=watch)
    threads, states, counts, rates, estimates = zip(*heard, strict=True)
    assert set(threads) == {threading.current_thread()}
    assert (states[0], states[-1]) == ("running", "finished")
    assert list(counts) == sorted(counts)
    assert any(0 < rate < 200 for rate in rates)
    assert any(estimate for estimate in estimates)


def test_permission_lost_half_way_stops_and_can_be_resumed(plan, revoke, gc, sandbox, tmp_path):
    """403 ends the run at once: it says what is missing and how to go on; nobody is marked as failed."""
    lost = sandbox.add_fault(
        Fault(
            "status",
            status=403,
            after=30,
            body='{"code": "missing.any.permissions", "message": "You must have [oauth:token:delete]"}',
            **DELETE,
        )
    )
    with pytest.raises(
        RevocationStoppedError, match=r"(?s)users left.*oauth:token:delete.*resume\(.*403"
    ) as caught:
        revoke(plan)
    assert isinstance(caught.value.__cause__, PermissionDeniedError)
    assert caught.value.left == 100 - len(sandbox.revocations) > 0
    assert lost.strikes <= 8, "no more than were in flight"
    sandbox.clear_faults()
    run = gct.resume(tmp_path / "run.sqlite", gc)
    assert (run.state, run.counts["revoked"], run.counts["failed"]) == ("finished", 100, 0)


def test_a_token_that_expires_half_way_is_renewed(plan, revoke, sandbox):
    """Client credentials sign in again, once, and the run goes on."""
    sandbox.add_fault(Fault("expire-token", after=50, times=1, **DELETE))
    run = revoke(plan)
    assert run.counts["revoked"] == 100
    assert sum(call.path == "/oauth/token" for call in sandbox.calls) == 2


def test_a_pasted_token_that_expires_half_way_stops(sign_in, sandbox, revoke, gc, tmp_path):
    """A token that cannot be renewed ends the run; another connection to the same organization resumes it."""
    mine = sign_in(access_token=sandbox.issue_token(sandbox.users[0]))
    plan = gct.plan_revocation(mine, [user.id for user in sandbox.users[100:200]])
    sandbox.add_fault(Fault("expire-token", after=50, times=1, **DELETE))
    with pytest.raises(RevocationStoppedError, match="401") as caught:
        revoke(plan)
    assert isinstance(caught.value.__cause__, UnauthorizedError)
    run = gct.resume(tmp_path / "run.sqlite", gc)
    assert (run.state, run.counts["revoked"]) == ("finished", 100)
    assert run.to_frame()["client_id"].value_counts()[sandbox.client("admin").client_id] > 0


def test_a_sandbox_that_is_gone_stops_the_run(plan, revoke, sandbox):
    """Nobody listens any more: the run waits a little, then stops; nobody is failed."""
    sandbox.stop()
    with pytest.raises(RevocationStoppedError, match=r"No connection to 127\.0\.0\.1"):
        revoke(plan)


def test_a_server_that_asks_to_wait_too_long_stops_the_run(plan, revoke, sandbox):
    """A Retry-After of an hour is not waited for: the run stops and says so."""
    sandbox.add_fault(Fault("status", status=429, seconds=3600, after=10, **DELETE))
    with pytest.raises(RevocationStoppedError, match="3600 s") as caught:
        revoke(plan)
    assert isinstance(caught.value.__cause__, RateLimitedError)


def test_a_changed_plan_is_refused(plan, gc, sandbox, tmp_path):
    """A plan that was edited into something else sends nothing: no id, twice the same user, a wrong action, no plan at all."""
    journal = tmp_path / "run.sqlite"

    def refused(changed, message):
        with pytest.raises(ConfigurationError, match=message):
            gct.revoke(changed, journal=journal, confirm=100)

    refused(plan.assign(id="../oauth/clients/x"), "row 0 has the action revoke and no id")
    refused(plan.assign(id=plan["id"][0]), "row 1 has a user who is in it twice")
    refused(plan.assign(action="delete"), "row 0 has an action that is neither")
    refused(plan.drop(columns="why"), "no column why")
    refused(plan.assign(id=7), "no id of a user")
    path = tmp_path / "leavers.csv"
    path.write_text(f"Email,Name\n{sandbox.users[0].email},Ada\n")
    refused(gct.plan_revocation(gc, path, keep=["Name"]).drop(columns="Name"), "no column Name")
    refused(pd.DataFrame(plan), "no plan")
    refused(pd.DataFrame({"id": plan["id"]}), "no plan")
    assert not sandbox.revocations
    assert not journal.exists()


def test_wrong_arguments_are_refused_before_anything_is_sent(plan, revoke, sandbox, gc):
    """workers and rate have limits; a journal is needed."""
    wrong = ({"workers": 0}, {"workers": 65}, {"workers": "8"}, {"rate": 0}, {"rate": float("nan")})
    for options in (*wrong, {"rate": "300"}, {"skipped_ok": "3"}, {"skipped_ok": 1.5}):
        with pytest.raises(ConfigurationError, match="is not possible"):
            revoke(plan, **options)
    for path in (7, "", "a\0b", b"a"):
        for use in (lambda path: revoke(plan, journal=path), lambda path: gct.resume(path, gc), Run.of):
            with pytest.raises(ConfigurationError, match="is no path of a file"):
                use(path)
        with pytest.raises(ConfigurationError, match="is no path of a file"):
            gct.revoke(plan).report(path)
    with pytest.raises(ConfigurationError, match="is no list of columns"):
        gct.plan_revocation(gc, plan["id"], keep=7)
    with pytest.raises(ConfigurationError, match="Without a journal"):
        gct.revoke(plan, confirm=100)
    assert not sandbox.revocations


def test_workers_share_the_work(plan, revoke, sandbox):
    """As many requests are on their way at a time as there are workers, and no more."""
    held = sandbox.add_fault(Fault("hold", after=1, **DELETE))
    most = []

    def release():
        held.wait_until_held()
        deadline = time.monotonic() + 60
        while (count := held.wait_until_held()) < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
        most.append(count)
        held.release()

    thread = threading.Thread(target=release)
    thread.start()
    revoke(plan, workers=12)
    thread.join()
    assert most == [12]


def test_two_organizations_do_not_mix(tmp_path):
    """Two connections side by side, each to its own organization."""
    with Sandbox(organization="A") as one, Sandbox(organization="B") as other:
        connections = [gct.connect_sandbox(sandbox=server) for server in (one, other)]
        plans = [gct.plan_revocation(gc, [user.id for user in gc.sandbox.users[20:40]]) for gc in connections]
        for number, plan in enumerate(plans):
            gct.revoke(plan, journal=tmp_path / f"{number}.sqlite", confirm=20)
        assert revoked_ids(one) == set(plans[0]["id"])
        assert revoked_ids(other) == set(plans[1]["id"])


# What concerns everybody, and what stays in doubt


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ({"kind": "status", "status": 503}, "pending"),
        ({"kind": "drop-after"}, "unknown"),
        ({"kind": "html", "status": 200}, "unknown"),
        ({"kind": "garbage"}, "unknown"),
    ],
)
def test_an_outage_stops_the_run_and_fails_nobody(plan, revoke, gc, sandbox, tmp_path, fault, left):
    """Where nobody gets through any more it is no user's failure: the run stops, says so, and `resume` does the rest."""
    sandbox.add_fault(Fault(**fault, after=20, **DELETE))
    with pytest.raises(RevocationStoppedError, match="users left") as caught:
        revoke(plan)
    assert caught.value.left >= 1
    run = Run.of(tmp_path / "run.sqlite")
    assert run.counts["failed"] == 0
    assert run.counts["revoked"] == 20
    assert run.counts[left] >= 1
    sandbox.clear_faults()
    run = gct.resume(tmp_path / "run.sqlite", gc)
    assert (run.state, run.counts["revoked"]) == ("finished", 100)


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        ({"status": 503}, "unknown"),
        ({"status": 429, "seconds": 3600}, "unknown"),
        ({"status": 404}, "failed"),
    ],
)
def test_a_user_who_may_be_logged_out_is_never_called_pending(
    plan, revoke, sign_in, sandbox, tmp_path, then, outcome
):
    """An attempt without an answer is not forgotten over what the next one is answered with."""
    victim = plan["id"][50]
    sandbox.add_fault(Fault("drop-after", method="DELETE", path=victim, times=1))
    sandbox.add_fault(Fault("status", method="DELETE", path=victim, **then))
    try:
        revoke(plan)
    except RevocationStoppedError as error:
        assert then["status"] == 429, error  # noqa: PT017 - one of the three stops the run
    run = Run.of(tmp_path / "run.sqlite")
    row = run.to_frame().loc[50]
    assert row["outcome"] == outcome
    assert run.counts[outcome] == 1
    assert run.counts["failed"] == (outcome == "failed")
    assert ("may have taken effect" in str(row["why"])) is (outcome == "failed")
    sandbox.clear_faults()
    # By a new connection, as the old one was told to wait for an hour.
    run = gct.resume(tmp_path / "run.sqlite", sign_in(), retry_failed=True)
    assert (run.state, run.counts["revoked"]) == ("finished", 100)


def test_a_paused_run_holds_no_other_up(gc, sandbox, tmp_path):
    """Two runs of one connection: while one is paused the other goes to its end, and either can be stopped."""
    plans = [
        gct.plan_revocation(gc, [user.id for user in part])
        for part in (sandbox.users[20:60], sandbox.users[60:100])
    ]
    paused, runs = threading.Event(), []

    def pause(run):
        if not runs:
            runs.append(run)
            run.pause()
            paused.set()

    def first():
        return gct.revoke(
            plans[0], journal=tmp_path / "1.sqlite", confirm=40, rate=math.inf, on_progress=pause
        )

    def second():
        return gct.revoke(plans[1], journal=tmp_path / "2.sqlite", confirm=40, rate=math.inf)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        paused.wait(60)
        try:
            assert pool.submit(second).result(60).counts["revoked"] == 40
        finally:
            runs[0].cancel()
        assert one.result(60).state in {"stopped", "finished"}


def test_resuming_does_not_log_oneself_out(plan, revoke, gc, sign_in, sandbox, tmp_path):
    """A person among those who are left cannot resume the run: nothing is sent, and another connection can."""
    me = sandbox.user(plan["id"][60])
    sandbox.add_fault(Fault("status", status=403, **DELETE))
    with pytest.raises(RevocationStoppedError):
        revoke(plan)
    sandbox.clear_faults()
    token = sandbox.issue_token(me)
    with pytest.raises(SelfRevocationError, match=rf"User {me.id}, who is signed in here.*somebody else"):
        gct.resume(tmp_path / "run.sqlite", sign_in(access_token=token))
    assert sandbox.is_alive(token)
    assert not sandbox.revocations
    assert gct.resume(tmp_path / "run.sqlite", gc).counts["revoked"] == 100


@pytest.mark.parametrize("options", [{"journal": ":memory:"}, {"confirm": "100"}, {"confirm": 100.5}])
def test_a_run_needs_a_file_and_a_number(plan, sandbox, tmp_path, options):
    """A journal in memory is none, and a text is no number."""
    with pytest.raises(ConfigurationError, match="nothing was sent"):
        gct.revoke(plan, **{"journal": tmp_path / "run.sqlite", "confirm": 100, **options})
    assert not sandbox.revocations


def test_the_client_of_a_pasted_token_is_in_the_evidence(plan, sign_in, sandbox, tmp_path):
    """Who ran it is asked of the server where only it knows."""
    token = sandbox.issue_token(sandbox.users[0])
    mine = gct.plan_revocation(sign_in(access_token=token), list(plan["id"][:3]))
    run = gct.revoke(mine, journal=tmp_path / "run.sqlite", confirm=3)
    assert run.summary()["clients"] == [sandbox.client("web app").client_id]
    assert sandbox.is_alive(token)


# Nobody is left out in silence


@pytest.fixture
def leavers(gc, sandbox, tmp_path):
    """A plan of an HR file with two people whom nobody finds, and one who is in it twice."""
    one, other = sandbox.users[100], sandbox.users[101]
    path = tmp_path / "leavers.csv"
    path.write_text(
        "Personnel No,E-Mail ,Genesys Id\n"
        f"1,{one.email},\n"
        "2,,\n"
        f"3,,{other.id}\n"
        f"4,{one.email},\n"
        "5,nobody@example.org,\n"
    )
    return gct.plan_revocation(gc, path, keep=["Personnel No"])


def test_skipped_lines_are_never_silent(leavers, revoke):
    """Shown before, during and at the end with their lines; `finished` is not all that is said."""
    during = []
    run = revoke(leavers, on_progress=lambda run: during.append(run.skipped_summary))
    said = "2 lines were not logged out"
    assert during[0].startswith("2 lines will not be logged out")
    assert during[-1].startswith(said)
    assert "2 lines will not be logged out" in repr(gct.revoke(leavers)), "a dry run says what would be"
    assert run.state == "finished"
    assert list(run.skipped["line"]) == [3, 6]
    assert list(run.skipped["Personnel No"]) == ["2", "5"]
    for text in (repr(run), run._repr_html_(), run.summary()["skipped_summary"]):
        assert said in text
        assert "line 3" in text
        assert "line 6" in text
    assert run.summary()["skipped_lines"] == 2
    assert "#d97706" in run._repr_html_(), "amber"


def test_the_last_check_fails_on_what_was_not_accepted(leavers, revoke, tmp_path):
    """The error names the lines; accepted beforehand or in the check, it passes. It is kept in the journal."""
    run = revoke(leavers, skipped_ok=1)
    with pytest.raises(IncompleteRevocationError, match=r"line 3.*line 6.*1 were accepted") as caught:
        run.check()
    assert (caught.value.lines, caught.value.users) == ((3, 6), ())
    assert caught.value.next_step.startswith("For the skipped lines, correct the list"), "nobody failed"
    assert run.check(skipped_ok=2) is run
    run = gct.resume(tmp_path / "run.sqlite", leavers.connection, skipped_ok=2)
    assert run.check() is run
    assert Run.of(tmp_path / "run.sqlite").check().summary()["skipped_ok"] == 2
    for wrong in (-1, True):
        with pytest.raises(ConfigurationError, match="is not possible"):
            run.check(skipped_ok=wrong)


def test_the_last_check_fails_on_who_is_not_logged_out(plan, revoke, sandbox):
    """One failed, one unknown: both are named, and their ids can be had; a run without gaps is returned."""
    broken, dropped = plan["id"][3], plan["id"][4]
    sandbox.add_fault(Fault("status", status=404, method="DELETE", path=broken))
    sandbox.add_fault(Fault("drop-after", method="DELETE", path=dropped))
    run = revoke(plan)
    with pytest.raises(
        IncompleteRevocationError, match=r"2 users are not known to be logged out \(1 failed, 1 unknown\)"
    ) as caught:
        run.check()
    assert caught.value.users == (broken, dropped)
    assert (
        caught.value.next_step
        == f"Try them again with resume({run.journal!r}, connection, retry_failed=True)."
    )
    sandbox.clear_faults()
    again = gct.resume(run.journal, plan.connection, retry_failed=True)
    assert again.check() is again


def test_a_dry_run_does_not_pass_the_check(plan):
    """Nothing was sent, so nobody is logged out."""
    with pytest.raises(IncompleteRevocationError, match=r"\(100 pending\).*a dry run"):
        gct.revoke(plan).check()
