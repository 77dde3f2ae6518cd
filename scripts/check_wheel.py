"""Check an environment that holds only the built wheel. Run it with `python -I`, so that no checkout is imported.

The package is typed, needs neither pandas nor ipywidgets, and its sandbox starts, signs a client in, answers and stops.
"""

import importlib.resources
import importlib.util
import json
import signal
import subprocess
import sys

import requests

import gctokens_nb


def check(holds: bool, what: str) -> None:
    """Print `what` if it `holds`; end the program with it otherwise."""
    if not holds:
        sys.exit(f"wheel: FAILED: {what}")
    print(f"wheel: {what}")


def main() -> None:
    """Run the checks, then exit 1 at the first that fails."""
    check("site-packages" in str(gctokens_nb.__file__), "the installed package is imported, not a checkout")
    check(importlib.resources.files("gctokens_nb").joinpath("py.typed").is_file(), "py.typed is in it")
    for name in ("pandas", "ipywidgets"):
        check(importlib.util.find_spec(name) is None, f"it does not bring {name}")

    command = [sys.executable, "-I", "-m", "gctokens_nb.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sandbox:
        try:
            assert sandbox.stdout is not None  # noqa: S101 - for the type checker; it is a pipe
            ready = json.loads(sandbox.stdout.readline())
            client = next(c for c in ready["clients"] if c["name"] == "admin")
            answer = requests.post(
                f"{ready['base_url']}/oauth/token",
                data={"grant_type": "client_credentials"},
                auth=(client["client_id"], client["client_secret"]),
                timeout=30,
            )
            check(answer.ok, "the sandbox signs a client in")
            me = requests.get(
                f"{ready['base_url']}/api/v2/tokens/me",
                headers={"Authorization": f"Bearer {answer.json()['access_token']}"},
                timeout=30,
            )
            check(me.ok and "OAuthClient" in me.json(), "the sandbox tells about the token")
        finally:
            sandbox.send_signal(signal.SIGTERM)
    check(sandbox.returncode == 0, "the sandbox stops when it is told to")


if __name__ == "__main__":
    main()
