"""Endings: whatever the server does, a run ends or stops soon, floods nobody, loses no thread, and can be resumed."""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

import gctokens_nb as gct
from gctokens_nb.errors import RevocationStoppedError
from gctokens_nb.revocation.run import Run

USERS, LONGEST_WAIT = 12, 2.0
SECONDS = 20.0  # a run takes 4 s at the most, twice the longest wait; the rest is for a slow machine


def answer(status, *headers, body=b"", kind="application/json"):
    """The bytes of an answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", *headers]
    if not any(line.lower().startswith(("content-length", "transfer")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def window(reset, allowed=300, count=300):
    """The headers of a rate limit that is used up."""
    return (
        f"inin-ratelimit-allowed: {allowed}",
        f"inin-ratelimit-count: {count}",
        f"inin-ratelimit-reset: {reset}",
    )


class Front:
    """A proxy before the sandbox: all goes through, but DELETE, while `fault` is set, is answered by it."""

    def __init__(self, sandbox):
        self.fault = None
        self.deletions = 0
        self.over = threading.Event()
        target, front = urlsplit(sandbox.environment), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.command == "DELETE":
                    front.deletions += 1
                    if front.fault is not None:
                        self.close_connection = True
                        with contextlib.suppress(OSError):
                            front.fault(self.wfile, self.connection)
                        return
                upstream = http.client.HTTPConnection(target.hostname, target.port)
                headers = {name: text for name, text in self.headers.items() if name.lower() != "host"}
                upstream.request(self.command, self.path, body, headers)
                got = upstream.getresponse()
                content = got.read()
                self.send_response(got.status)
                for name, text in got.getheaders():
                    if name.lower() not in {
                        "transfer-encoding",
                        "content-length",
                        "connection",
                        "server",
                        "date",
                    }:
                        self.send_header(name, text)
                if got.status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                upstream.close()

            do_GET = do_POST = do_DELETE = do_HEAD = pass_on

            def log_message(self, *_):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self):
        """Close the port."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def front(sandbox):
    """The proxy before the sandbox."""
    server = Front(sandbox)
    yield server
    server.stop()


@pytest.fixture
def gc(sandbox, front):
    """A connection through the proxy that waits for 2 s at the most."""
    known = sandbox.client("admin")
    retry = gct.RetryPolicy(backoff_seconds=0.05, longest_wait_seconds=LONGEST_WAIT)
    with gct.connect(
        front.url, client_id=known.client_id, client_secret=known.client_secret, retry=retry
    ) as connection:
        yield connection


@pytest.fixture
def few(gc, sandbox):
    """A plan for 12 users."""
    return gct.plan_revocation(gc, [user.id for user in sandbox.users[100 : 100 + USERS]])


def drip(start, piece):
    """Send a beginning, then a piece every 50 ms for ever."""

    def fault(out, _connection):
        out.write(start)
        while True:
            out.write(piece)
            time.sleep(0.05)

    return fault


def say(content):
    """Send these bytes."""
    return lambda out, _connection: out.write(content)


def reset(_out, connection):
    """End the connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


FAULTS = {
    "200 with JSON that is not UTF-8": say(answer(200, body=b'{"x": "\xe9"}')),
    "200 with HTML": say(answer(200, body=b"<html>log in</html>", kind="text/html")),
    "200 with a log-in page as text": say(answer(200, body=b"please log in", kind="text/plain")),
    "200 with JSON": say(answer(200, body=b'{"ok": true}')),
    "206": say(answer(206, body=b"part", kind="text/plain")),
    "302": say(answer(302, "Location: http://127.0.0.1:9/")),
    "503 for ever": say(answer(503)),
    "500 for ever": say(answer(500)),
    "503, Retry-After 1e20": say(answer(503, "Retry-After: 1e20")),
    "503, Retry-After 100000000000000000000": say(answer(503, "Retry-After: 100000000000000000000")),
    "503, Retry-After 1000000": say(answer(503, "Retry-After: 1000000")),
    "404, Retry-After 1000000": say(answer(404, "Retry-After: 1000000")),
    "204, Retry-After 1000000": say(answer(204, "Retry-After: 1000000")),
    "503, Retry-After 0": say(answer(503, "Retry-After: 0")),
    "429, Retry-After 0": say(answer(429, "Retry-After: 0")),
    "429 without a header": say(answer(429)),
    "429, Retry-After 1.5": say(answer(429, "Retry-After: 1.5")),
    "429, window of a day": say(answer(429, *window(86400))),
    "204, window of a day": say(answer(204, *window(86400))),
    "200, window of a year": say(answer(200, *window(31_536_000))),
    "dripping body": drip(answer(200, "Content-Length: 100000"), b" "),
    "dripping headers": drip(b"HTTP/1.1 204 No Content\r\n", b"X: y\r\n"),
    "headers that break off": say(b"HTTP/1.1 204 No Content\r\nX: y\r\n"),
    "endless 100 Continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silence": lambda _out, _connection: time.sleep(15),
    "dropped": lambda _out, _connection: None,
    "reset": reset,
    "nonsense": say(b"\0\1\2 not HTTP\r\n\r\n"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_ends_or_stops(few, gc, front, sandbox, tmp_path, name):
    """Soon, without a flood and a dead thread; nobody is called revoked; afterwards `resume` does the rest."""
    front.fault = FAULTS[name]
    died = []
    hook, threading.excepthook = threading.excepthook, died.append
    began = time.monotonic()
    try:
        with contextlib.suppress(RevocationStoppedError):
            gct.revoke(few, journal=tmp_path / "run.sqlite", confirm=USERS, rate=math.inf)
    finally:
        threading.excepthook = hook
    assert time.monotonic() - began < SECONDS
    assert not died
    assert front.deletions <= 200
    front.fault = None
    run = Run.of(tmp_path / "run.sqlite")
    answered_well = name.startswith(("204", "200, window"))  # and asked to wait, so that the run stopped
    assert (run.counts["revoked"] > 0) is answered_well
    assert run.left or "404" in name
    run = gct.resume(tmp_path / "run.sqlite", gc, retry_failed=True, rate=math.inf)
    assert (run.state, run.counts["revoked"]) == ("finished", USERS)


def test_a_long_wait_is_said(few, front, tmp_path):
    """Why it stopped, and what the limit is: in the error."""
    front.fault = FAULTS["503, Retry-After 1000000"]
    with pytest.raises(
        RevocationStoppedError, match=r"asks to wait 1,000,000 s, longer than the 2 s of RetryPolicy"
    ):
        gct.revoke(few, journal=tmp_path / "run.sqlite", confirm=USERS, rate=math.inf)
    assert front.deletions == 1


def test_a_429_without_a_header_holds_everybody(few, front, tmp_path):
    """One refusal, then a second of silence from all workers."""
    times = []
    said = iter([answer(429)])

    def fault(out, _connection):
        times.append(time.monotonic())
        out.write(next(said, answer(204)))

    front.fault = fault
    gct.revoke(few, journal=tmp_path / "run.sqlite", confirm=USERS, rate=math.inf)
    assert len(times) == USERS + 1
    assert times[1] - times[0] >= 1.0


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGINT to send here")
@pytest.mark.parametrize("name", ["dripping body", "silence", "429, Retry-After 1.5"])
def test_the_first_ctrl_c_works(few, gc, front, tmp_path, name):
    """While an answer drips, while none comes, while the rate limit is waited for: one is enough, and resuming does the rest."""
    front.fault = FAULTS[name]
    main = threading.get_ident()

    def interrupt():
        while not front.deletions:
            time.sleep(0.01)
        time.sleep(0.3)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        gct.revoke(few, journal=tmp_path / "run.sqlite", confirm=USERS, rate=math.inf)
    assert time.monotonic() - began < SECONDS
    thread.join()
    front.fault = None
    run = gct.resume(tmp_path / "run.sqlite", gc, rate=math.inf)
    assert (run.state, run.counts["revoked"]) == ("finished", USERS)


def test_an_interrupted_renewal_kills_no_worker(few, gc, sandbox, tmp_path, monkeypatch):
    """Whatever is raised in a worker, it is a result: the run stops, and can be resumed."""

    def broken(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gctokens_nb.revocation.attempt.revoke_user", broken)
        with pytest.raises(RevocationStoppedError, match="KeyboardInterrupt"):
            gct.revoke(few, journal=tmp_path / "run.sqlite", confirm=USERS, rate=math.inf)
    run = gct.resume(tmp_path / "run.sqlite", gc, rate=math.inf)
    assert (run.state, run.counts["revoked"]) == ("finished", USERS)
