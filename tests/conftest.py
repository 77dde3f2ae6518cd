"""What the tests share: an environment without the developer's own credentials, a sandbox, connections to it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import gctokens_nb as gct
from gctokens_nb.sandbox import Sandbox

FAST = gct.RetryPolicy(backoff_seconds=0.01)
_OWN = re.compile(
    r"(GENESYSCLOUD|GENESYS_CLOUD|PURECLOUD)_\w+|(HTTPS?|ALL|NO)_PROXY|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC",
    re.IGNORECASE,
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hide the developer's credentials, proxies and home from every test; the home that stands in for it."""
    for name in list(os.environ):
        if _OWN.fullmatch(name):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    return home


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A fresh sandbox, of this test alone."""
    with Sandbox() as server:
        yield server


@pytest.fixture
def sign_in(sandbox: Sandbox) -> Iterator[Callable[..., gct.Connection]]:
    """Sign in to the sandbox: `sign_in(client="admin")`, `sign_in(access_token=…)`, with short waits; closed afterwards."""
    opened: list[gct.Connection] = []

    def connect(client: str = "admin", *, server: Sandbox = sandbox, **options: Any) -> gct.Connection:
        if "access_token" not in options:
            known = server.client(client)
            options |= {"client_id": known.client_id, "client_secret": known.client_secret}
        opened.append(gct.connect(server.environment, **{"retry": FAST, **options}))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def gc(sign_in: Callable[..., gct.Connection]) -> gct.Connection:
    """A connection to the sandbox as its administrator's client."""
    return sign_in()


class Heard(NamedTuple):
    """A request that a `Listener` got."""

    method: str
    path: str
    headers: Mapping[str, str]


class Listener:
    """A server that knows nothing of Genesys Cloud: it answers 200 and `{}`, and keeps all that it hears."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                heard.append(Heard(self.command, self.path, dict(self.headers)))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST = do_DELETE = do_CONNECT = answer

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Another host, which must never get a secret."""
    server = Listener()
    yield server
    server.stop()
