"""What `get_tokens_me` costs beside the same GET by a default `requests.Session` and by bare urllib3.

    python benchmarks/token_call.py [--calls 500]

One run, the three in turn, against a sandbox in a process of its own that limits and records nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import requests
import urllib3

import gctokens_nb as gct

WARM_UP_CALLS = 50
GOAL = 0.80


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=500, help="of each")
    calls: int = parser.parse_args().calls
    command = [sys.executable, "-m", "gctokens_nb.sandbox", "--rate-limit", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            measure(json.loads(server.stdout.readline()), calls)
        finally:
            server.terminate()


def measure(described: dict[str, object], calls: int) -> None:
    base_url = str(described["base_url"])
    client = described["clients"][0]  # type: ignore[index]
    gc = gct.connect(base_url, client_id=client["client_id"], client_secret=client["client_secret"])
    url = f"{base_url}/api/v2/tokens/me"
    headers = {"Authorization": f"Bearer {gc.access_token.value}", "Accept": "application/json"}
    session = requests.Session()
    pool = urllib3.PoolManager()
    contenders: dict[str, Callable[[], object]] = {
        "get_tokens_me": gc.tokens.get_tokens_me,
        "requests.Session": lambda: session.get(url, headers=headers).json(),
        "urllib3": lambda: json.loads(pool.request("GET", url, headers=headers).data),
    }
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(WARM_UP_CALLS + calls):
        for name, call in contenders.items():
            started = time.perf_counter()
            call()
            if number >= WARM_UP_CALLS:
                taken[name].append(time.perf_counter() - started)
    gc.close()
    session.close()
    medians = {name: statistics.median(times) for name, times in taken.items()}
    peer = medians["requests.Session"]
    print(f"median of {calls} calls each, in turn")
    for name, median in medians.items():
        print(f"  {name:18} {median * 1e6:7.0f} us  {median / peer:.2f} of requests.Session")
    print(f"goal: get_tokens_me at most {GOAL} of requests.Session")


if __name__ == "__main__":
    main()
