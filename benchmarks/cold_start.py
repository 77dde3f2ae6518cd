"""From a cold Python process to the token's DataFrame: import, sandbox, sign-in, `get_tokens_me`, table.

    python benchmarks/cold_start.py [--rounds 7] [--sdk-python PATH]

`--sdk-python` is an interpreter that has the official SDK: its bare import is measured beside it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

GOAL_SECONDS = 2.0
OURS = """
import gctokens_nb as gct
gc = gct.connect_sandbox()
frame = gct.frames.token_info(gc.tokens.get_tokens_me())
assert len(frame) == 1
"""
PEER = "import PureCloudPlatformClientV2"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="of each, in turn, after one that warms up")
    parser.add_argument("--sdk-python", metavar="PATH", help="an interpreter that has the official SDK")
    chosen = parser.parse_args()
    contenders = {"gctokens_nb, all of it": [sys.executable, "-c", OURS]}
    if chosen.sdk_python:
        contenders["import of the official SDK"] = [chosen.sdk_python, "-c", PEER]
    else:
        print("the official SDK is left out: name an interpreter that has it with --sdk-python")
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(chosen.rounds + 1):
        for name, command in contenders.items():
            started = time.perf_counter()
            subprocess.run(command, check=True)
            if number:
                taken[name].append(time.perf_counter() - started)
    print(f"median of {chosen.rounds} processes each, from start to end")
    for name, times in taken.items():
        print(f"  {name:28} {statistics.median(times):.2f} s")
    print(f"goal: gctokens_nb under {GOAL_SECONDS:g} s")


if __name__ == "__main__":
    main()
