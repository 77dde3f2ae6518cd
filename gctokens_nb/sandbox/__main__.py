"""``python -m gctokens_nb.sandbox``: one line of JSON once it is ready, then it serves until it is stopped."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence

from gctokens_nb.sandbox.faults import KINDS, Fault
from gctokens_nb.sandbox.server import Sandbox, SandboxError


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m gctokens_nb.sandbox",
        description="A local stand-in for Genesys Cloud. Prints one line of JSON when it is ready.",
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default: any that is free")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--users", type=int, default=50, help="how many people the organization has")
    parser.add_argument(
        "--rate-limit", type=int, default=300, help="requests a minute and token; 0: no limit"
    )
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS", help="before each answer")
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="KIND[:KEY=VALUE,...]",
        help=f"what goes wrong, for example status:status=503,times=3; kinds: {', '.join(KINDS)}; may be repeated",
    )
    parser.add_argument("--organization", default="Cumulus Airlines")
    parser.add_argument(
        "--enforce-scopes",
        action="store_true",
        help="people's clients may do only what their OAuth scopes cover",
    )
    parser.add_argument(
        "--hipaa", action="store_true", help="an organization under HIPAA: idle timeouts of 900 s at most"
    )
    parser.add_argument(
        "--allow-non-loopback",
        action="store_true",
        help="let others reach it, who can then sign in as anyone",
    )
    chosen = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with Sandbox(
            port=chosen.port,
            host=chosen.host,
            users=chosen.users,
            rate_limit=chosen.rate_limit or None,
            latency_seconds=chosen.latency / 1000,
            faults=chosen.fault,
            organization=chosen.organization,
            enforce_scopes=chosen.enforce_scopes,
            hipaa=chosen.hipaa,
            allow_non_loopback=chosen.allow_non_loopback,
            record=False,  # nobody could ask for the record
        ) as sandbox:
            print(json.dumps(sandbox.describe()), flush=True)
            while not stop.wait(1):  # in steps: Windows delivers no signal during an endless wait
                pass
    except SandboxError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def _fault(text: str) -> Fault:
    try:
        return Fault.from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
