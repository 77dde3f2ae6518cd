"""A real kernel with verbose tracebacks: whatever fails or is interrupted, no secret gets into a cell."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from fault_calls import ASSERTION, CLIENT_SECRET, CODE, REFRESH, TOKEN, USER
from fault_families import answer
from fault_server import FaultServer, Reset, Send, Silence, Step
from jupyter_client.manager import KernelManager

SAFETY_SECONDS = 60.0
PROXY_PASSWORD = "attacked-proxy-41ad"
BASIC = base64.b64encode(f"client:{CLIENT_SECRET}".encode()).decode()
PROXY_BASIC = base64.b64encode(f"user:{PROXY_PASSWORD}".encode()).decode()
HIDDEN = (TOKEN, CLIENT_SECRET, CODE, REFRESH, ASSERTION, BASIC, PROXY_PASSWORD, PROXY_BASIC)

# The secrets come from the environment, as a careful user has them: what a user writes into a cell is in the cell.
PREPARE = """
import gc, os, re, sys, types
import gctokens_nb as gct
from gctokens_nb import oauth, regions
from gctokens_nb.redaction import Secret

HIDDEN = [Secret(value) for value in os.environ.pop("ATTACK_HIDDEN").split("\\n")]
CLIENT_SECRET, CODE, ASSERTION, TOKEN = (Secret(os.environ.pop(f"ATTACK_{name}")) for name in ("CLIENT_SECRET", "CODE", "ASSERTION", "TOKEN"))
OPTIONS = {"timeout_seconds": (60, 60, 60), "retry": gct.RetryPolicy(attempts=1)}

def region(url):
    return regions.gateway(url, login_path="", api_path="")

def connection(url):
    return gct.connect(region(url), access_token=TOKEN, **OPTIONS)

def signed_in(url):
    return gct.connect(region(url), client_id="client", client_secret=CLIENT_SECRET, **OPTIONS)

def with_browser(url, secret):
    sign_in = gct.begin_sign_in(region(url), "client", "http://127.0.0.1/callback", client_secret=secret)
    state = re.search("state=([^&]+)", sign_in.url).group(1)
    return sign_in, Secret(f"http://127.0.0.1/callback?code={CODE.reveal()}&state={state}")

def held(error):
    'Where the secrets are that the error holds on to: the errors it came from, their arguments and frames.'
    seen, found, todo = set(), [], [(error, 0, type(error).__name__)]
    skipped = (type, types.ModuleType, types.FunctionType, types.MethodType, types.FrameType, types.TracebackType, Secret)
    while todo:
        one, depth, path = todo.pop()
        if id(one) in seen or isinstance(one, skipped) or type(one).__module__.startswith(("gctokens_nb.connection", "gctokens_nb.oauth")):
            continue
        seen.add(id(one))
        if isinstance(one, (str, bytes)):
            text = one if isinstance(one, str) else one.decode("latin-1")
            found += [path for value in HIDDEN if value.reveal() in text]
        elif depth < 8:
            todo += [(next_one, depth + 1, f"{path} > {type(one).__name__}") for next_one in gc.get_referents(one)]
        if isinstance(one, BaseException):
            tb = one.__traceback__
            while tb is not None:
                frame = tb.tb_frame
                if not frame.f_code.co_filename.startswith(("<", "/tmp/ipykernel")) and "ipykernel" not in frame.f_code.co_filename and "IPython" not in frame.f_code.co_filename:
                    text = repr(list(frame.f_locals.values()))
                    found += [f"{path} > frame {frame.f_code.co_name}" for value in HIDDEN if value.reveal() in text]
                tb = tb.tb_next
            todo += [(cause, 0, f"{path} from {type(cause).__name__}") for cause in (one.__cause__, one.__context__) if cause is not None]
    return found
"""


class Cell(NamedTuple):
    """A cell that fails: `code`, after `before` ran in a cell of its own, while the server still behaved."""

    name: str
    code: str
    before: str = "subject = connection(URL)"


CALLS = {
    "get_tokens_me": "subject.tokens.get_tokens_me()",
    "head_tokens_me": "subject.tokens.head_tokens_me()",
    "delete_tokens_me": "subject.tokens.delete_tokens_me(verify=True)",
    "delete_token": f"subject.tokens.delete_token({USER!r}, allow_self=True)",
    "delete_token, asks who am I": f"subject.tokens.delete_token({USER!r})",
    "get_tokens_timeout": "subject.tokens.get_tokens_timeout()",
    "put_tokens_timeout": "subject.tokens.put_tokens_timeout({'idleTokenTimeoutSeconds': 600})",
    "me": "subject.directory.me()",
    "find_by_id": f"subject.directory.find_by_id([{USER!r}])",
    "find_by_email": "subject.directory.find_by_email(['a@example.org'])",
    "search": "subject.directory.search('abc')",
    "list_users": "list(subject.directory.list_users())",
    "own_permissions": "subject.directory.own_permissions()",
    "session.get": "subject.session.get('/api/v2/things')",
    "session.get stream": "subject.session.get('/api/v2/things', stream=True)",
    "session.post": "subject.session.post('/api/v2/things', json={})",
    "session.delete": "subject.session.delete('/api/v2/things')",
    "sign_out": "subject.sign_out()",
    "plan_revocation": "gct.plan_revocation(subject, ['a@example.org'])",
}
CELLS = (
    *(Cell(name, code) for name, code in CALLS.items()),
    Cell("connect", "signed_in(URL)", ""),
    Cell("renewal by client credentials", "subject.tokens.get_tokens_me()", "subject = signed_in(URL)"),
    Cell(
        "authorization code",
        "sign_in.finish(address)",
        "sign_in, address = with_browser(URL, CLIENT_SECRET)",
    ),
    Cell(
        "authorization code with PKCE",
        "sign_in.finish(address)",
        "sign_in, address = with_browser(URL, None)",
    ),
    Cell(
        "renewal by refresh token",
        "subject.tokens.get_tokens_me()",
        "sign_in, address = with_browser(URL, CLIENT_SECRET); subject = sign_in.finish(address)",
    ),
    Cell(
        "saml2 bearer",
        "gct.authenticate_with_saml2_bearer('client', CLIENT_SECRET, 'org', ASSERTION, region(URL))",
        "",
    ),
    Cell(
        "through a proxy",
        "subject.tokens.get_tokens_me()",
        "os.environ['HTTPS_PROXY'] = PROXY\n"
        "subject = gct.connect('mypurecloud.de', access_token=TOKEN, **OPTIONS)\ndel os.environ['HTTPS_PROXY']",
    ),
    Cell(
        "sign-in through a proxy",
        "gct.connect('mypurecloud.de', client_id='client', client_secret=CLIENT_SECRET, **OPTIONS)",
        "os.environ['HTTPS_PROXY'] = PROXY",
    ),
)

# A token that is over at once, so that the next call renews it.
SIGNED_IN = answer(
    "", "", 200, json.dumps({"access_token": TOKEN, "refresh_token": REFRESH, "expires_in": 1}).encode()
).script
ECHO = b'{"code": "%TOKEN%", "message": "bad %TOKEN%", "error": "x", "error_description": "%TOKEN%"}'
FAULTS: dict[str, tuple[Step, ...]] = {
    "refused": answer("", "", 400, ECHO, reason="%TOKEN%").script,
    "broken": (Send(b"HTTP/1.1 200 OK\r\nX: %TOKEN%"), Reset()),
    "no answer": answer("", "", 200, b"<html>Sign in to the network.</html>").script,
}
# A page is a legitimate answer where the user asked for whatever is there, and HEAD sees none of it.
FAILING = [
    (cell, fault)
    for cell in CELLS
    for fault in FAULTS
    if fault != "no answer" or not cell.name.startswith(("session.", "head_"))
]
MODES = {"refused": "Verbose", "broken": "Context", "no answer": "Plain"}


class Kernel:
    """A running kernel, its cells and what they showed."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self._manager = KernelManager(kernel_name="python3")

    def start(self, environment: dict[str, str]) -> None:
        """Begin, with these variables in the environment."""
        self._manager.start_kernel(env=environment)
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=SAFETY_SECONDS)
        assert self.run(PREPARE) == ""

    def stop(self) -> None:
        """End it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def run(self, code: str, interrupt: threading.Event | None = None) -> str:
        """Run a cell, interrupted once the event has come; what it showed, without colours."""
        self._client.execute(code, store_history=False)
        if interrupt is not None:
            assert interrupt.wait(SAFETY_SECONDS)
            self._manager.interrupt_kernel()
        shown: list[str] = []
        while True:
            message = self._client.get_iopub_msg(timeout=SAFETY_SECONDS)
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
            shown.append(str(content.get("text") or content.get("data", {}).get("text/plain") or ""))
            shown += content.get("traceback", [])
        self._client.get_shell_msg(timeout=SAFETY_SECONDS)
        return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(shown)).strip()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel that has the secrets, and a server for it to meet."""
    environment = os.environ | {
        "ATTACK_HIDDEN": "\n".join(HIDDEN),
        "ATTACK_CLIENT_SECRET": CLIENT_SECRET,
        "ATTACK_CODE": CODE,
        "ATTACK_ASSERTION": ASSERTION,
        "ATTACK_TOKEN": TOKEN,
    }
    with FaultServer([()]) as server:
        kernel = Kernel(server)
        kernel.start(environment)
        kernel.run(
            f"PROXY = 'http://user:' + HIDDEN[6].reveal() + '@127.0.0.1:{server.port}'; URL = {server.url(0)!r}"
        )
        yield kernel
        kernel.stop()


def shown_by(kernel: Kernel, cell: Cell, fault: tuple[Step, ...], *, interrupted: bool) -> str:
    """What the failing cell showed, and where its error holds a secret."""
    kernel.server.scripts = [SIGNED_IN]
    assert kernel.run(cell.before) == ""
    kernel.server.scripts = [fault]
    kernel.server.asked.clear()
    shown = kernel.run(cell.code, kernel.server.asked if interrupted else None)
    kernel.run("os.environ.pop('HTTPS_PROXY', None)")
    assert "Traceback" in shown or "Error" in shown, shown
    assert not interrupted or "KeyboardInterrupt" in shown, shown
    return shown + kernel.run("print(*held(sys.last_value), sep='\\n')")


def check(shown: str) -> None:
    """No secret is in it, and nothing was found by `held`."""
    secrets = [secret for secret in HIDDEN if secret in shown]
    assert not secrets, shown
    assert " > " not in shown.splitlines()[-1], shown


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_cell_that_is_interrupted_shows_no_secret(kernel: Kernel, cell: Cell):
    """Interrupted while the answer is awaited, with verbose tracebacks."""
    kernel.run("%xmode Verbose")
    check(shown_by(kernel, cell, (Silence(),), interrupted=True))


@pytest.mark.parametrize(("cell", "fault"), FAILING, ids=lambda value: getattr(value, "name", value))
def test_a_cell_that_fails_shows_no_secret(kernel: Kernel, cell: Cell, fault: str):
    """Refused with an echo of the secret, broken off in the headers, or answered by a page: in each mode of IPython's tracebacks."""
    kernel.run(f"%xmode {MODES[fault]}")
    check(shown_by(kernel, cell, FAULTS[fault], interrupted=False))


@pytest.mark.parametrize("mode", ["Plain", "Verbose"])
def test_a_token_that_cannot_be_sent_is_not_shown(kernel: Kernel, mode: str):
    """The login host issues a token with a line feed in it: neither signing in nor a call prints it."""
    kernel.run(f"%xmode {mode}")
    kernel.server.scripts = [
        answer("", "", 200, json.dumps({"access_token": f"{TOKEN}\n{TOKEN}"}).encode()).script
    ]
    check(kernel.run("signed_in(URL).tokens.get_tokens_me()"))
