"""Do what Binder does, without Docker, and visit the result.

repo2docker accepts the repository; a fresh environment takes the requirements and postBuild; the Jupyter server comes
up on 127.0.0.1 and serves JupyterLab and the first notebook; the notebook runs and shows what is committed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOK = "notebooks/00_start_here.ipynb"
START_SECONDS = 60


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run `command` in the repository; return what it printed. Its failure ends the rehearsal, with all it said."""
    print("rehearse:", *(Path(part).name if isinstance(part, Path) else part for part in command), flush=True)
    done = subprocess.run(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nrehearse: FAILED: {command[0]} exited with {done.returncode}")
    return done.stdout


def get(url: str) -> bytes:
    """Return the body of a page of the Jupyter server; an HTTP error status raises."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the URL is the server's own
        return answer.read()  # type: ignore[no-any-return]


def visit(bin_dir: Path, env: dict[str, str]) -> None:
    """Start the Jupyter server on a free port, fetch the page a visitor opens and the notebook in it, stop the server."""
    command = [str(bin_dir / "jupyter"), "lab", "--no-browser", "--allow-root"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={ROOT}"]
    log = bin_dir.parent / "server.log"
    with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out) as server:
        try:
            info = Path(env["JUPYTER_RUNTIME_DIR"], f"jpserver-{server.pid}.json")
            deadline = time.monotonic() + START_SECONDS
            while not info.exists():  # the server writes it once it listens
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{log.read_text()}\nrehearse: FAILED: the Jupyter server did not start")
                time.sleep(0.1)
            told = json.loads(info.read_text())
            page = get(f"{told['url']}lab/tree/{NOTEBOOK}?token={told['token']}")
            if b"jupyter-config-data" not in page:
                sys.exit("rehearse: FAILED: the page that a visitor opens is not JupyterLab")
            contents = json.loads(get(f"{told['url']}api/contents/{NOTEBOOK}?token={told['token']}"))
            if not contents["content"]["cells"]:
                sys.exit(f"rehearse: FAILED: {NOTEBOOK} has no cells")
            print(
                f"rehearse: JupyterLab serves {NOTEBOOK} with {len(contents['content']['cells'])} cells",
                flush=True,
            )
        finally:
            server.terminate()


def main() -> None:
    """Rehearse; exit 1 at the first step that fails."""
    dockerfile = run(Path(sys.executable), "-m", "repo2docker", "--no-build", "--debug", ".")
    for step in ("binder/requirements.txt", "RUN ./binder/postBuild"):
        if step not in dockerfile:
            sys.exit(f"{dockerfile}\nrehearse: FAILED: repo2docker would not run {step}")

    with tempfile.TemporaryDirectory(prefix="binder-") as home:
        bin_dir = Path(home, "env", "bin")
        venv.create(bin_dir.parent, with_pip=True)
        env = {
            **os.environ,  # HOME too: pip's own settings may lie there
            "PATH": os.pathsep.join([str(bin_dir), os.environ["PATH"]]),
            **{
                f"JUPYTER_{kind}_DIR": str(Path(home, kind.lower())) for kind in ("CONFIG", "DATA", "RUNTIME")
            },
            "IPYTHONDIR": str(Path(home, "ipython")),
        }
        pip = (bin_dir / "python", "-m", "pip", "install", "--quiet")
        run(*pip, "-r", "binder/requirements.txt", env=env)
        run(ROOT / "binder" / "postBuild", env=env)
        visit(bin_dir, env)
        run(*pip, "-c", "constraints.txt", "nbval", "pytest", env=env)
        nbval = ("--nbval", "--nbval-current-env", "--nbval-sanitize-with", "notebooks/sanitize.cfg")
        print(run(bin_dir / "python", "-m", "pytest", *nbval, NOTEBOOK, env=env))


if __name__ == "__main__":
    main()
