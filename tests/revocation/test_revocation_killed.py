"""Killed at random moments, resumed, and compared with the sandbox's own record."""

from __future__ import annotations

import collections
import multiprocessing
import os
import random
import sqlite3
import time

import pytest

import gctokens_nb as gct
from gctokens_nb.errors import JournalError
from gctokens_nb.sandbox import Fault, Sandbox

RUNS = 10 if "GCTOKENS_EXHAUSTIVE" in os.environ else 5  # `make attack` has all of them
KILLS_A_RUN, USERS = 5, 2000
DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}
# For a process that cannot import this module. A plan travels without its connection.
REVOKE = """
import gctokens_nb
plan.connection = connection
gctokens_nb.revoke(plan, **options)
"""
OPTIONS = {"rate": float("inf"), "workers": 16}


@pytest.fixture(scope="module")
def processes():
    """Processes that start fast, as the package is loaded before they are forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gctokens_nb.revocation"])
    return context


def five_percent(seed):
    """One request in twenty goes wrong, in one of five ways."""
    kinds = [
        ("status", {"status": 429, "seconds": 0.02}),
        ("status", {"status": 503}),
        ("drop-before", {}),
        ("drop-after", {}),
        ("slow", {"seconds": 0.05}),
    ]
    return [
        Fault(kind, probability=0.01, seed=seed * 10 + number, **options, **DELETE)
        for number, (kind, options) in enumerate(kinds)
    ]


def connect(sandbox):
    """A connection whose repeats come soon."""
    known = sandbox.client("admin")
    return gct.connect(
        sandbox.environment,
        client_id=known.client_id,
        client_secret=known.client_secret,
        retry=gct.RetryPolicy(backoff_seconds=0.02),
    )


def revoking(processes, plan, **options):
    """A process that will carry out the plan."""
    names = {"plan": plan, "connection": plan.connection, "options": {**OPTIONS, **options}}
    return processes.Process(target=exec, args=(REVOKE, names))


def kill(process, held, moment):
    """Kill it some milliseconds after a certain request has reached the server."""
    held.wait_until_held(15)
    time.sleep(moment)
    process.kill()
    process.join()
    held.release()
    assert process.exitcode == -9, "it was killed before it had finished"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(RUNS))
def test_killed_five_times_and_resumed(seed, processes, tmp_path):
    """Every user revoked, each outcome and each request in the journal, nobody skipped, nobody else touched."""
    moments = random.Random(seed)
    path = tmp_path / "run.sqlite"
    with Sandbox(users=USERS + 200, rate_limit=None) as sandbox:
        gc = connect(sandbox)
        plan = gct.plan_revocation(gc, [user.id for user in sandbox.users[100 : USERS + 100]])
        for fault in five_percent(seed):
            sandbox.add_fault(fault)
        for session in range(KILLS_A_RUN):
            # What the last process had sent may still arrive: 16 requests, of which none may be the one that is held.
            after = moments.randrange(OPTIONS["workers"] + 1, 350)
            held = sandbox.add_fault(Fault("hold", after=after, times=1, **DELETE))
            if session:
                process = processes.Process(target=gct.resume, args=(path, gc), kwargs=OPTIONS)
            else:
                process = revoking(processes, plan, journal=path, confirm=USERS)
            process.start()
            kill(process, held, moments.uniform(0, 0.03))
        process = processes.Process(target=gct.resume, args=(path, gc), kwargs=OPTIONS)
        process.start()
        process.join()
        run = gct.resume(path, gc)  # what six lost attempts left unknown

        frame = run.to_frame()
        assert (run.state, run.counts["revoked"], len(frame)) == ("finished", USERS, USERS)
        assert list(frame["id"]) == list(plan["id"])
        assert {one.user_id for one in sandbox.revocations} == set(plan["id"])
        sent = collections.Counter(
            call.path.rpartition("/")[2] for call in sandbox.calls if call.method == "DELETE"
        )
        attempts = dict(zip(frame["id"], frame["attempts"], strict=True))
        assert all(count <= attempts[user_id] for user_id, count in sent.items()), (
            "each was written before it was sent"
        )
        repeated = len(sandbox.revocations) - USERS
        with sqlite3.connect(path) as database:
            unknown = "SELECT count(*) FROM attempts WHERE outcome IS NULL OR outcome = 'unknown'"
            assert repeated <= database.execute(unknown).fetchone()[0], "only what was unknown was repeated"
            assert database.execute("SELECT count(*) FROM sessions").fetchone()[0] >= KILLS_A_RUN + 1
        database.close()


def test_killed_while_the_journal_is_made(processes, tmp_path):
    """It is refused with nothing sent, or resumed to its end: never half a plan."""
    moments = random.Random(0)
    for number in range(10):
        path = tmp_path / f"{number}.sqlite"
        with Sandbox(users=USERS, rate_limit=None) as sandbox:
            gc = connect(sandbox)
            plan = gct.plan_revocation(gc, [user.id for user in sandbox.users[100:]])
            confirm = plan.users_to_revoke
            process = revoking(processes, plan, journal=path, confirm=confirm)
            process.start()
            while process.is_alive() and not path.exists():
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
            process.join()
            try:
                run = gct.resume(path, gc, **OPTIONS)
            except JournalError as error:
                assert not sandbox.revocations
                assert "no journal" in str(error)  # noqa: PT017 - it is one of three outcomes
            else:
                assert run.counts["revoked"] == confirm
