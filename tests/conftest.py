"""What the tests share: an environment without the developer's own credentials, a sandbox, connections to it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
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

# A shell ignores SIGINT for what it starts in the background, and children inherit that: no Ctrl-C would be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


def _request(client: socket.socket) -> bytes:
    """One request with its body, as it came."""
    heard = b""
    # A TLS handshake, which begins with this byte, is not answered by more.
    while b"\r\n\r\n" not in heard and not heard.startswith(b"\x16") and (piece := client.recv(65536)):
        heard += piece
    head, _, body = heard.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]) and (piece := client.recv(65536)):
        body += piece
    return head + b"\r\n\r\n" + body


class Raw:
    """A server that says exactly the given bytes to each connection, and then does what it is told to."""

    def __init__(self, *answers: bytes, close: bool = True) -> None:
        self.heard: list[bytes] = []
        self.over = threading.Event()
        self._answers, self._close = answers, close
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        kept = []
        with contextlib.suppress(OSError):
            for number in range(1000):
                client, _ = self._socket.accept()
                client.settimeout(10)
                if self._close and hasattr(socket, "TCP_CORK"):
                    # The end goes out with the last of the answer: nobody sends another request in between.
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                with contextlib.suppress(OSError):
                    self.heard.append(_request(client))
                    client.sendall(self._answers[min(number, len(self._answers) - 1)])
                if self._close:
                    client.close()
                kept.append(client)
        for client in kept:
            client.close()

    def stop(self) -> None:
        """Close the port."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def saying() -> Iterator[Callable[..., Raw]]:
    r"""`saying(b"HTTP/1.1 200 OK\r\n\r\n")`: a server that says that."""
    servers: list[Raw] = []

    def start(*answers: bytes, close: bool = True) -> Raw:
        servers.append(Raw(*answers, close=close))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
