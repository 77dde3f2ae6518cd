"""Fleet: several organizations at once, on threads, processes and Dask."""

from __future__ import annotations

import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from distributed import Client, LocalCluster

import gctokens_nb as gct
from gctokens_nb.errors import (
    ConfigurationError,
    IncompleteRevocationError,
    JournalError,
    RevocationStoppedError,
)
from gctokens_nb.sandbox import Fault, Sandbox

DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}


@pytest.fixture
def sandboxes():
    """Three organizations."""
    servers = [
        Sandbox(organization=name, users=60, rate_limit=None) for name in ("Asia", "Europe", "Oceania")
    ]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def plans(sandboxes):
    """A plan of 30 users for each."""
    connections = [gct.connect_sandbox(sandbox=server) for server in sandboxes]
    yield [gct.plan_revocation(gc, [user.id for user in gc.sandbox.users[20:50]]) for gc in connections]
    for gc in connections:
        gc.close()


def check(runs, plans, sandboxes):
    """Each organization has lost exactly its own plan's tokens, and its run says so."""
    for run, plan, server in zip(runs, plans, sandboxes, strict=True):
        assert (run.state, run.counts["revoked"]) == ("finished", 30)
        assert run.summary()["organization"] == server.organization.name
        assert sorted(one.user_id for one in server.revocations) == sorted(plan["id"])


def test_threads_by_default(plans, sandboxes, tmp_path):
    """Without an executor, the organizations are worked on at the same time, in threads."""
    faults = [server.add_fault(Fault("hold", **DELETE)) for server in sandboxes]

    def release():
        for fault in faults:
            fault.wait_until_held()  # each is under way before any is let go on
        for fault in faults:
            fault.release()

    thread = threading.Thread(target=release)
    thread.start()
    runs = gct.revoke_fleet(plans, journals=tmp_path, confirm=90)
    thread.join()
    check(runs, plans, sandboxes)


def test_on_a_dask_cluster(plans, sandboxes, tmp_path):
    """A real dask.distributed cluster of two worker processes: one organization a task."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        runs = gct.revoke_fleet(plans, journals=tmp_path, confirm=90, executor=client.get_executor())
    check(runs, plans, sandboxes)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{server.organization.id}.sqlite" for server in sandboxes
    )


def test_on_processes(plans, sandboxes, tmp_path):
    """Any executor of concurrent.futures will do: plans and connections travel by pickle."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        check(gct.revoke_fleet(plans, journals=tmp_path, confirm=90, executor=executor), plans, sandboxes)


def test_one_that_is_stopped_does_not_stop_the_others(plans, sandboxes, tmp_path):
    """The others finish; the error names what stopped the one, and its journal resumes it."""
    sandboxes[1].add_fault(Fault("status", status=403, after=10, **DELETE))
    with pytest.raises(ExceptionGroup, match="1 of 3 organizations were stopped") as caught:
        gct.revoke_fleet(plans, journals=tmp_path, confirm=90)
    (error,) = caught.value.exceptions
    assert isinstance(error, RevocationStoppedError)
    assert [len(server.revocations) for server in (sandboxes[0], sandboxes[2])] == [30, 30]
    sandboxes[1].clear_faults()
    assert gct.resume(error.journal, plans[1].connection).counts["revoked"] == 30


def test_dry_unless_the_sum_is_confirmed(plans, sandboxes, tmp_path):
    """Without the number of users of all plans together, nothing is sent."""
    assert [run.state for run in gct.revoke_fleet(plans)] == ["dry run"] * 3
    with pytest.raises(ConfigurationError, match="confirm=30, but the plans log out 90 users"):
        gct.revoke_fleet(plans, journals=tmp_path, confirm=30)
    with pytest.raises(ConfigurationError, match="confirm='90', but the plans log out 90 users"):
        gct.revoke_fleet(plans, journals=tmp_path, confirm="90")
    with pytest.raises(ConfigurationError, match="are of one organization"):
        gct.revoke_fleet([plans[0], plans[0]], journals=tmp_path, confirm=60)
    with pytest.raises(ConfigurationError, match="There is no folder"):
        gct.revoke_fleet(plans, journals=tmp_path / "absent", confirm=90)
    (tmp_path / f"{sandboxes[2].organization.id}.sqlite").touch()
    with pytest.raises(JournalError, match="exists already"):
        gct.revoke_fleet(plans, journals=tmp_path, confirm=90)
    assert not any(server.revocations for server in sandboxes)


def test_skipped_lines_of_a_fleet_are_loud(plans, tmp_path):
    """Shown with the runs, and the check of that organization fails."""
    gc = plans[0].connection
    users = [*plans[0]["id"][:2], "nobody@example.org"]
    runs = gct.revoke_fleet([gct.plan_revocation(gc, users)], journals=tmp_path, confirm=2)
    assert "1 row was not logged out: 1 is unknown (row 3)" in repr(runs)
    with pytest.raises(IncompleteRevocationError, match=r"1 row was not logged out"):
        runs[0].check()
