"""A bulk run against a host that misbehaves: it ends or stops, soon, without a flood and without a thread left behind."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fault_calls import TOKEN
from fault_families import LOGIN_PAGE, Fault, answer, bodies, broken, encodings, framing, headers
from fault_server import FaultServer, Step

import gctokens_nb as gct
from gctokens_nb import regions
from gctokens_nb.errors import RevocationStoppedError

USERS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(12)]
ENTITIES = {
    "entities": [{"id": user, "name": user[-2:], "state": "active"} for user in USERS],
    "pageCount": 1,
}
ORGANIZATION = {"organization": {"id": "9" * 8, "name": "Attacked"}, "OAuthClient": {"id": "client"}}
MOST_DELETES = 200
SAFETY_SECONDS = 100.0  # many at a time


class Organization(FaultServer):
    """Answers as the platform would, but for DELETE, which meets the fault."""

    def script(self, head: bytes) -> Sequence[Step]:
        """The fault, or what is asked for."""
        if head.startswith(b"DELETE "):
            return self.scripts[0]
        told: object = {"id": "f" * 8}
        if b"/tokens/me" in head:
            told = ORGANIZATION
        elif b"/users?" in head:
            told = ENTITIES
        return answer("", "", 200, json.dumps(told).encode()).script


def named(faults: Sequence[Fault], *names: str) -> list[Fault]:
    """Those faults of a family."""
    return [fault for fault in faults if fault.name in names]


FAULTS = [
    *(
        answer("", f"{status} {asked}", status, b"{}", asked)
        for status in (404, 429, 503)
        for asked in ("Retry-After: 1e20", "Retry-After: 1000000", "Retry-After: 0")
    ),
    answer("", "429 without a word", 429),
    answer("", "429 until tomorrow", 429, b"", "inin-ratelimit-reset: 86400"),
    answer(
        "",
        "a window until tomorrow",
        200,
        b"",
        "inin-ratelimit-allowed: 1",
        "inin-ratelimit-count: 1",
        "inin-ratelimit-reset: 86400",
    ),
    *(answer("", f"always {status}", status, b"{}") for status in (302, 401, 403, 500)),
    answer("", "a page", 200, LOGIN_PAGE, content_type="text/plain"),
    *named(list(bodies()), "latin-1", "ok true"),
    *named(list(headers()), "endless 100", "dripping body", "dripping headers"),
    *named(list(framing()), "endless chunks", "dripping trailers"),
    *named(list(encodings()), "gzip bomb"),
    *named(list(broken()), "silent before the answer", "closed in a header"),
]


def run_into(fault: Fault, journal: Path) -> None:
    """Revoke 12 users where each DELETE meets the fault."""
    began = time.monotonic()
    with Organization([fault.script]) as server:
        region = regions.gateway(f"http://127.0.0.1:{server.port}", login_path="", api_path="")
        retry = gct.RetryPolicy(attempts=2, backoff_seconds=0.01, longest_wait_seconds=5)
        # Long enough for what is answered as it should be, on a busy machine too.
        with gct.connect(region, access_token=TOKEN, timeout_seconds=(5, 3, 4), retry=retry) as gc:
            plan = gct.plan_revocation(gc, USERS)
            assert plan.users_to_revoke == len(USERS)
            try:
                run = gct.revoke(plan, journal=journal, confirm=len(USERS), rate=math.inf)
            except RevocationStoppedError as stopped:
                assert stopped.left, fault.name  # noqa: PT017 - either way of ending is right
            else:
                assert run.state in {"finished", "stopped"}, fault.name
                assert fault.status == 200 or not run.counts["revoked"], fault.name
        deletes = sum(one.data.startswith(b"DELETE ") for one in server.heard)
    assert 1 <= deletes <= MOST_DELETES, fault.name
    assert time.monotonic() - began < SAFETY_SECONDS, fault.name


def test_a_run_ends_or_stops(tmp_path: Path):
    """With longest_wait_seconds=5 each ends by itself, resumable where anybody is left, and sends a bounded number of times."""
    assert len(FAULTS) >= 24
    with ThreadPoolExecutor(9) as pool:
        runs = [
            pool.submit(run_into, fault, tmp_path / f"{number}.sqlite") for number, fault in enumerate(FAULTS)
        ]
    for run in runs:
        run.result()
    for thread in threading.enumerate():
        if thread.name.startswith(
            ("gctokens-revoke", "gctokens-journal")
        ):  # what the run broke off may still be on its way out
            thread.join(SAFETY_SECONDS)
            assert not thread.is_alive(), thread.name
