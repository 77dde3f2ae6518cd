"""A real Chromium before a real Jupyter server, for all browser tests.

One server gives JupyterLab (what a saved notebook holds) and Voilà (how a panel behaves): its own home, no network.

    def test_something(lab):
        notebook = lab("import gctokens_nb as gct", "gct.login()")       # opened, run, kernel idle
        notebook.page.get_by_role("button", name="Sign in").click()
        notebook.save()
        assert "…" not in notebook.saved_text()

    def test_other(voila):
        page = voila("import gctokens_nb as gct", "gct.login()").page
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocket, expect, sync_playwright

import gctokens_nb

TIMEOUT_MILLISECONDS = 20_000  # a loaded machine, not a goal
START_SECONDS = 90
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},  # Save Widget State Automatically
}
CREDENTIALS = ("GENESYS", "PURECLOUD")  # a developer's own must never reach a test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Servers and the browser: one of each for the whole run


class Jupyter:
    """A Jupyter server with JupyterLab and Voilà, that serves the folder `root`."""

    def __init__(self, home: Path) -> None:
        self.root = home / "root"
        settings = home / "settings"
        self.root.mkdir()
        for name, value in SETTINGS.items():
            file = settings / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
        environ = {name: value for name, value in os.environ.items() if not name.startswith(CREDENTIALS)}
        environ |= {
            "HOME": str(home),
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "PYTHONPATH": str(Path(gctokens_nb.__file__).parents[1]),  # kernels import what pytest imports
        }
        options = [
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            "--ServerApp.disable_check_xsrf=True",
            "--IdentityProvider.token=",
            f"--ServerApp.root_dir={self.root}",
            "--LabApp.expose_app_in_browser=True",
        ]
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=self.root,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._addresses: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read_log, daemon=True).start()
        self.url = self._addresses.get(timeout=START_SECONDS)
        if not self.url:
            raise RuntimeError(f"the Jupyter server ended:\n{''.join(self.log)}")

    def _read_log(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.log.append(line)
            if address := re.search(r"(http://127\.0\.0\.1:\d+)/lab", line):
                self._addresses.put(address[1])
        self._addresses.put("")

    def ask(self, method: str, path: str) -> Any:
        """Send a request to the server's REST API; its JSON, or None."""
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}{path}", method=method)) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def end_kernels(self) -> None:
        """End all kernels."""
        for kernel in self.ask("GET", "/api/kernels"):
            with contextlib.suppress(urllib.error.HTTPError):  # it may have ended by itself
                self.ask("DELETE", f"/api/kernels/{kernel['id']}")

    def write(self, name: str, cells: tuple[str, ...]) -> Path:
        """Make a notebook of these code cells in `root`."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        path = self.root / name
        nbformat.write(notebook, path)
        return path

    def stop(self) -> None:
        """End the kernels and the server."""
        self.end_kernels()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    server = Jupyter(tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    names = [os.environ.get("GCTOKENS_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    path = next((found for name in names if name and (found := shutil.which(name))), None)
    assert path, "No Chromium found: install it, or set GCTOKENS_CHROMIUM to its path."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """One browser profile, so that JupyterLab's files are loaded once; each test has pages of its own."""
    expect.set_options(timeout=TIMEOUT_MILLISECONDS)
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context
    context.close()


# What a test holds


class Open:
    """A notebook that is open in the browser.

    Attributes:
        page: Playwright's page.
        received: Each message the page got from the kernel, as bytes, in order: comm messages, outputs, status.
        sent: Each message the page sent to the kernel, likewise.
        path: The notebook's file.
    """

    def __init__(self, server: Jupyter, context: BrowserContext, name: str) -> None:
        self.server = server
        self.path = server.root / name
        self.received: list[bytes] = []
        self.sent: list[bytes] = []
        self.page: Page = context.new_page()
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        if "/channels" in socket.url:
            for event, frames in (("framereceived", self.received), ("framesent", self.sent)):
                socket.on(event, functools.partial(_keep, frames))

    def received_text(self) -> str:
        """Everything the kernel sent to this page, JSON escapes undone."""
        return _readable(b"\n".join(self.received))

    def close(self) -> None:
        """Close the page; the kernel lives on."""
        self.page.close()


def _keep(frames: list[bytes], frame: str | bytes) -> None:
    frames.append(frame.encode() if isinstance(frame, str) else frame)


def _readable(data: bytes) -> str:
    """Text as it came, and once more with JSON's escapes of non-ASCII characters undone."""
    text = data.decode("utf-8", "replace")
    return text + re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)


class VoilaPage(Open):
    """A notebook as a Voilà app."""

    def __init__(self, server: Jupyter, context: BrowserContext, name: str, *, dark: bool = False) -> None:
        super().__init__(server, context, name)
        self.page.goto(f"{server.url}/voila/render/{name}{'?theme=dark' if dark else ''}")


_PANEL = "[...jupyterapp.shell.widgets('main')].find(w => w.context && w.context.path === %s)"
_IDLE = """() => {
    const panel = window.jupyterapp && PANEL;
    const kernel = panel?.context.isReady && panel.sessionContext.isReady && panel.sessionContext.session?.kernel;
    return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""


class LabNotebook(Open):
    """A notebook in JupyterLab, with Save Widget State Automatically on."""

    def __init__(self, server: Jupyter, context: BrowserContext, name: str) -> None:
        super().__init__(server, context, name)
        self._panel = _PANEL % json.dumps(name)
        self.page.goto(f"{server.url}/lab/tree/{name}?reset")
        self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until the notebook is shown and its kernel is connected and idle."""
        self.page.wait_for_function(_IDLE.replace("PANEL", self._panel), timeout=60_000)

    def _do(self, command: str, *, cell: int | None = None, wait: bool = True) -> None:
        self.page.evaluate(
            f"""async ([command, cell, wait]) => {{
                const panel = {self._panel};
                jupyterapp.shell.activateById(panel.id);
                if (cell !== null) panel.content.activeCellIndex = cell;
                const done = jupyterapp.commands.execute(command);
                if (wait) await done;
            }}""",
            [command, cell, wait],
        )

    def run_all(self) -> None:
        """Run all cells and wait for the last one; again where JupyterLab lost the command."""
        ran = (
            f"() => {self._panel}.content.widgets.every("
            "cell => cell.model.type !== 'code' || cell.model.executionCount !== null)"
        )
        for _ in range(5):
            self._do("notebook:run-all-cells")
            self.wait_idle()
            if self.page.evaluate(ran):
                return
        raise AssertionError("JupyterLab did not run the cells")

    def run_cell(self, index: int, *, wait: bool = True) -> None:
        """Run one cell; without `wait`, only until its prompt says that it runs."""
        self._do("notebook:run-cell", cell=index, wait=wait)
        if not wait:
            prompt = f"{self._panel}.content.widgets[{index}].inputArea.promptNode.textContent"
            self.page.wait_for_function(f"() => {prompt}.includes('*')")

    def end_subshells(self) -> None:
        """Let comm messages wait while the kernel is busy, as they do where kernel or front end know no subshells."""
        kernel = f"{self._panel}.sessionContext.session.kernel"
        self.page.evaluate(f"() => {{ {kernel}.commsOverSubshells = 'disabled' }}")
        self.page.wait_for_function(f"() => [...{kernel}._comms.values()].every(comm => !comm.subshellId)")

    def save(self) -> None:
        """Save the notebook and its checkpoint."""
        self._do("docmanager:save")

    def reload(self) -> None:
        """Reload the page, as a user does; the kernel lives on."""
        self.page.reload()
        self.wait_idle()

    def saved_text(self) -> str:
        """What is on disk now: the notebook and its checkpoints, JSON escapes undone."""
        files = [self.path, *self.path.parent.glob(f".ipynb_checkpoints/{self.path.stem}*")]
        return _readable(b"\n".join(file.read_bytes() for file in files))


@pytest.fixture
def lab(
    jupyter: Jupyter, context: BrowserContext, request: pytest.FixtureRequest
) -> Iterator[Callable[..., LabNotebook]]:
    """Open a notebook made of these cells in JupyterLab and run it: `lab("code", "code", run=True)`."""
    opened: list[LabNotebook] = []

    def open_notebook(*cells: str, run: bool = True) -> LabNotebook:
        name = _name(request, len(opened))
        jupyter.write(name, cells)
        notebook = LabNotebook(jupyter, context, name)
        opened.append(notebook)
        if run:
            notebook.run_all()
        return notebook

    yield open_notebook
    _close(opened, jupyter, request)


@pytest.fixture
def voila(
    jupyter: Jupyter, context: BrowserContext, request: pytest.FixtureRequest
) -> Iterator[Callable[..., VoilaPage]]:
    """Open a notebook made of these cells as a Voilà app: `voila("code", "code", dark=False)`."""
    opened: list[VoilaPage] = []

    def open_app(*cells: str, dark: bool = False) -> VoilaPage:
        name = _name(request, len(opened))
        jupyter.write(name, cells)
        opened.append(VoilaPage(jupyter, context, name, dark=dark))
        return opened[-1]

    yield open_app
    _close(opened, jupyter, request)


def _name(request: pytest.FixtureRequest, number: int) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', request.node.name)}-{number}.ipynb"


def _close(opened: list[Any], jupyter: Jupyter, request: pytest.FixtureRequest) -> None:
    """End pages and kernels; of a test that failed, leave a picture of each page in the Jupyter folder."""
    for one in opened:
        if request.node.stash.get(_FAILED, False):
            picture = jupyter.root.parent / f"{one.path.stem}.png"
            one.page.screenshot(path=picture)
            print(f"the page: {picture}", "the server's last words:", *jupyter.log[-20:], sep="\n")
        one.close()
    jupyter.end_kernels()


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report
