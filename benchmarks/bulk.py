"""How fast, how lean and how exactly paced a bulk revocation is, beside a plain loop over the official Python SDK.

    python benchmarks/bulk.py [speed] [journal] [memory] [limit] [--sdk-python .venv-sdk/bin/python]

Each measurement is a process of its own, against a sandbox in another that records nothing; those that are compared take
turns. `limit` takes two minutes, as the platform's window is one; all of it takes about ten.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gctokens_nb as gct
from gctokens_nb.revocation.journal import Journal
from gctokens_nb.sandbox.world import World

LATENCY_MS = 50
ROUNDS = 3

SDK_LOOP = """
import json, sys, time
import PureCloudPlatformClientV2 as sdk
task = json.load(sys.stdin)
sdk.configuration.host = task["base_url"]
sdk.configuration.access_token = task["access_token"]
api = sdk.TokensApi()
began, cpu = time.perf_counter(), time.process_time()
for user_id in task["ids"]:
    api.delete_token(user_id)
print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}))
"""
URLLIB3_THREADS = """
import json, sys, threading, time
import urllib3
task = json.load(sys.stdin)
pool, ids = urllib3.PoolManager(maxsize=64), iter(task["ids"])
headers = {"Authorization": "Bearer " + task["access_token"]}
lock = threading.Lock()
def work():
    while True:
        with lock:
            user_id = next(ids, None)
        if user_id is None:
            return
        pool.request("DELETE", task["base_url"] + "/api/v2/tokens/" + user_id, headers=headers)
threads = [threading.Thread(target=work) for _ in range(task["workers"])]
began, cpu = time.perf_counter(), time.process_time()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}))
"""


@contextlib.contextmanager
def sandbox(*options: str) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "gctokens_nb.sandbox", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())
        finally:
            server.terminate()


def connect(described: dict[str, Any]) -> Any:
    client = next(one for one in described["clients"] if one["name"] == "admin")
    return gct.connect(
        described["base_url"], client_id=client["client_id"], client_secret=client["client_secret"]
    )


def ask(command: list[str], task: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def ours(described: dict[str, Any], emails: list[str], **task: Any) -> dict[str, float]:
    return ask([sys.executable, __file__, "--child"], {"described": described, "emails": emails, **task})


def child() -> None:
    """One plan and run in this process."""
    task = json.load(sys.stdin)
    if task.get("no_journal"):
        Journal.write = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    gc = connect(task["described"])
    gct.plan_revocation(gc, [])  # loads pandas
    start_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    plan = gct.plan_revocation(gc, task["emails"])
    planned = time.perf_counter() - began
    plan.connection = connect(task["described"])  # a token of its own, whose window has not begun
    with tempfile.TemporaryDirectory(dir=".") as folder:
        began, cpu = time.perf_counter(), time.process_time()
        run = gct.revoke(
            plan,
            journal=Path(folder, "run.sqlite"),
            confirm=plan.users_to_revoke,
            workers=task["workers"],
            rate=math.inf,
        )
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        if not task.get("no_journal") and run.left:
            raise SystemExit(repr(run))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {"seconds": seconds, "cpu": cpu, "planned": planned, "more_mb": (peak_kb - start_kb) / 1024}
        )
    )


def people(count: int) -> tuple[list[str], list[str]]:
    """Ids and e-mail addresses of active users: known, as the sandbox makes them of their numbers."""
    users = World("Cumulus Airlines", count + 20, 86400).users[20:]
    return [user.id for user in users], [user.email for user in users]


def show(name: str, count: int, taken: list[dict[str, float]]) -> tuple[float, float]:
    rate = statistics.median(count / one["seconds"] for one in taken)
    cpu_ms = statistics.median(one["cpu"] / count * 1000 for one in taken)
    print(f"  {name:<34} {rate:8.1f} users/s  {cpu_ms:6.3f} ms CPU a user")
    return rate, cpu_ms


def speed(sdk_python: str | None) -> None:
    print(f"speed, {LATENCY_MS} ms latency, no limit, medians of {ROUNDS} in turn")
    counts = {"8": 2000, "32": 8000, "sdk": 200}
    ids, emails = people(max(counts.values()))
    with sandbox("--users", "9000", "--rate-limit", "0", "--latency", str(LATENCY_MS)) as described:
        token = connect(described).access_token.value
        task = {"base_url": described["base_url"], "access_token": token}
        taken: dict[str, list[dict[str, float]]] = {}
        for _ in range(ROUNDS):
            for workers in (8, 32):
                count = counts[str(workers)]
                one = ours(described, emails[:count], workers=workers)
                taken.setdefault(f"revoke, {workers} workers", []).append(one)
                bare = ask(
                    [sys.executable, "-c", URLLIB3_THREADS], {**task, "ids": ids[:count], "workers": workers}
                )
                taken.setdefault(f"bare urllib3, {workers} threads", []).append(bare)
            if sdk_python:
                loop = ask([sdk_python, "-c", SDK_LOOP], {**task, "ids": ids[: counts["sdk"]]})
                taken.setdefault("loop over the official SDK", []).append(loop)
    results = {
        name: show(name, counts[name.split()[-2]] if "SDK" not in name else counts["sdk"], of)
        for name, of in taken.items()
    }
    for workers in (8, 32):
        ideal, rate = workers * 1000 / LATENCY_MS, results[f"revoke, {workers} workers"][0]
        bare = results[f"bare urllib3, {workers} threads"][0]
        print(
            f"  {workers} workers: {rate / ideal:.3f} of workers/latency (goal 0.9), {rate / bare:.3f} of bare urllib3"
        )
    if sdk_python:
        rate, cpu_ms = results["loop over the official SDK"]
        for workers in (8, 32):
            mine = results[f"revoke, {workers} workers"]
            print(
                f"  {workers} workers: {mine[0] / rate:.1f} times the SDK loop (goal 3), "
                f"{mine[1] / cpu_ms:.2f} of its CPU (goal 1)"
            )


def journal(_: str | None) -> None:
    count, workers = 5000, 64
    print(f"journal, {count} users, {workers} workers, {LATENCY_MS} ms latency, medians of {ROUNDS} in turn")
    _, emails = people(count)
    taken: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    with sandbox("--users", "6000", "--rate-limit", "0", "--latency", str(LATENCY_MS)) as described:
        for _ in range(ROUNDS):
            for without in (False, True):
                taken[without].append(ours(described, emails, workers=workers, no_journal=without))
    rate, cpu_ms = show("with the journal", count, taken[False])
    bare, bare_cpu_ms = show("nothing written", count, taken[True])
    print(
        f"  the journal costs {1 - rate / bare:.1%} of the time (goal 15% at 1,000 users/s) "
        f"and {1 - bare_cpu_ms / cpu_ms:.1%} of the CPU"
    )


def memory(_: str | None) -> None:
    print("memory and planning by e-mail, no latency, no limit, 16 workers")
    sizes = (25_000, 50_000, 100_000)
    _, emails = people(max(sizes))
    with sandbox("--users", "110000", "--rate-limit", "0") as described:
        for size in sizes:
            one = ours(described, emails[:size], workers=16)
            print(
                f"  {size:>7,} users: planned in {one['planned']:6.2f} s ({one['planned'] / size * 1e6:.0f} us a user), "
                f"revoked in {one['seconds']:6.1f} s ({size / one['seconds']:.0f}/s), {one['more_mb']:6.1f} MB above the start"
            )
    print("  goal: at most 150 MB for 100,000 users; the time for each user stays the same")


def limit(_: str | None) -> None:
    count, allowed = 900, 300
    print(f"limit, {count} users at {allowed} a minute")
    _, emails = people(count)
    with sandbox("--users", "1000", "--rate-limit", str(allowed)) as described:
        one = ours(described, emails, workers=8)
    least = (count - 1) // allowed * 60
    print(
        f"  {one['seconds']:.2f} s, {one['seconds'] / least:.4f} of the least that the limit allows, {least} s (goal 1.05)"
    )


PARTS = {"speed": speed, "journal": journal, "memory": memory, "limit": limit}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all, where none is named")
    parser.add_argument("--sdk-python", help="of an environment with PureCloudPlatformClientV2")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child()
        return
    sdk_python = chosen.sdk_python
    if sdk_python is None and Path(".venv-sdk/bin/python").exists():
        sdk_python = ".venv-sdk/bin/python"
    if sdk_python is None:
        print("The official SDK is left out: name its environment by --sdk-python.")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    for name in chosen.parts or PARTS:
        PARTS[name](sdk_python)


if __name__ == "__main__":
    main()
