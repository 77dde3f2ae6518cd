"""What `import gctokens_nb` costs beside `import requests`: time and peak memory, each in fresh processes.

python benchmarks/import_cost.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

TIME_GOAL, MEMORY_GOAL_MB = 1.5, 45
MEASURE = """
import sys, time
started = time.perf_counter()
import {module}
taken = time.perf_counter() - started
import resource
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(taken, peak / (2**20 if sys.platform == "darwin" else 2**10))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="of each, in turn, after one that warms up")
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as cache:
        # Both are compiled in the round that warms up, as an installer would, even where the shell forbids it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        measure(rounds, environment)


def measure(rounds: int, environment: dict[str, str]) -> None:
    measured: dict[str, list[tuple[float, float]]] = {"requests": [], "gctokens_nb": []}
    for number in range(rounds + 1):
        for module, results in measured.items():
            command = [sys.executable, "-c", MEASURE.format(module=module)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            taken, peak_mb = map(float, done.stdout.split())
            if number:
                results.append((taken, peak_mb))
    seconds, megabytes = (
        {module: statistics.median(one[part] for one in results) for module, results in measured.items()}
        for part in (0, 1)
    )
    print(f"median of {rounds} fresh processes each, in turn")
    for module in measured:
        print(f"  import {module:12} {seconds[module] * 1000:6.0f} ms  peak {megabytes[module]:5.1f} MB")
    print(
        f"ratio {seconds['gctokens_nb'] / seconds['requests']:.2f} (goal: at most {TIME_GOAL}); "
        f"memory goal: at most {MEMORY_GOAL_MB} MB"
    )


if __name__ == "__main__":
    main()
