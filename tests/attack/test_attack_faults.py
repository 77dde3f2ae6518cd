"""Thousands of faults: none hangs a call, none raises what is not ours, none is taken for success."""

from __future__ import annotations

import collections
import os
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import NamedTuple

from fault_calls import CALLS, SECRETS, Call
from fault_families import Fault, all_faults
from fault_server import FaultServer

from gctokens_nb import regions
from gctokens_nb.errors import GCTokensError

LONGEST_TEXT = 4096  # characters of an error
HANG_SECONDS = 100.0  # far above any timeout of the calls, as many go side by side on a busy machine


class Case(NamedTuple):
    """One call that met one fault."""

    fault: Fault
    call: Call


# Each fault meets every third call, those of the largest families every sixth. With `make attack`: every call, and every third.
EXHAUSTIVE = "GCTOKENS_EXHAUSTIVE" in os.environ
LARGEST = {"status", "wait", "redirect", "error"}
STEP = 1 if EXHAUSTIVE else 3
LARGEST_STEP = 3 if EXHAUSTIVE else 6


def all_cases() -> list[tuple[int, Case]]:
    """Each fault with the calls it meets, and its number."""
    return [
        (number, Case(fault, call))
        for number, fault in enumerate(all_faults())
        for place, call in enumerate(CALLS)
        if (number + place) % (LARGEST_STEP if fault.family in LARGEST else STEP) == 0
    ]


def attempt(case: Case, url: str) -> str:
    """Make the call; what is wrong with how it ended, or nothing."""
    began = time.monotonic()
    problem = _attempt(case, url)
    seconds = time.monotonic() - began
    return problem or (f"hang: {seconds:.0f} s" if seconds > HANG_SECONDS else "")


def _attempt(case: Case, url: str) -> str:
    region = regions.gateway(url, login_path="", api_path="")
    try:
        result = case.call.run(region)
    except GCTokensError as error:
        text = f"{error}\n{error!r}"
        if len(str(error)) > LONGEST_TEXT:
            return f"long text: {type(error).__name__} of {len(str(error))} characters"
        return f"secret in the text: {error}" if any(secret in text for secret in SECRETS) else ""
    except Exception as error:  # noqa: BLE001 - it is what the test looks for
        return f"untyped: {type(error).__name__}: {str(error)[:150]}"
    return "" if case.call.accepts(case.fault, result) else f"taken for success: {str(result)[:150]}"


def test_no_fault_hangs_escapes_or_passes():
    """Each call, met with each fault, returns its legitimate answer or raises a short GCTokensError without a secret."""
    cases = all_cases()
    assert len(cases) >= (8388 if EXHAUSTIVE else 4000)
    with FaultServer([fault.script for fault in all_faults()]) as server, ThreadPoolExecutor(32) as pool:
        tasks = {pool.submit(attempt, case, server.url(number)): case for number, case in cases}
        wait(tasks)
    table = collections.defaultdict(list)
    for task, case in tasks.items():
        if problem := task.result():
            table[case.fault.family, problem.partition(":")[0]].append(
                f"{case.call.name} met {case.fault.name!r}: {problem}"
            )
    lines = [
        f"{family}, {kind} ({len(found)}):\n  " + "\n  ".join(found[:12])
        for (family, kind), found in sorted(table.items())
    ]
    assert not lines, "\n".join(lines)
