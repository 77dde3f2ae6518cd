"""Whatever a server sends, an exchange ends in time, within its size, and in an error of ours."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import pickle
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from copy import copy, deepcopy

import pytest
import requests

import gctokens_nb as gct
from gctokens_nb.errors import (
    ConfigurationError,
    ConnectionDroppedError,
    GCTokensError,
    InvalidAnswerError,
    InvalidUserIdError,
    NotFoundError,
    TimedOutError,
    TransportError,
)
from gctokens_nb.sandbox import Sandbox
from gctokens_nb.tokens import revoke_user
from gctokens_nb.transport import TIMEOUTS, Origin, Timeouts

USER = "01234567-89ab-cdef-0123-456789abcdef"
ONCE = gct.RetryPolicy(attempts=1)
FAST = gct.RetryPolicy(backoff_seconds=0.01)  # these servers close each connection
OK = b"HTTP/1.1 200 OK\r\n"


class RawServer:
    """A server that answers each connection's first request with the bytes it is told to, and knows no HTTP."""

    def __init__(
        self, pieces: Callable[[], Iterable[bytes]], *, seconds_between: float = 0.0, requests_each: int = 1
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._pieces, self._between, self._requests_each = pieces, seconds_between, requests_each
        self._done = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                thread = threading.Thread(target=self._answer, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            for _ in range(self._requests_each):
                if not (request := connection.recv(65536)):
                    return
                self.requests.append(request)
                for piece in self._pieces():
                    connection.sendall(piece)
                    if self._between and self._done.wait(self._between):
                        return

    def stop(self) -> None:
        """Close the port and wait for the threads."""
        self._done.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(20)


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start raw servers."""
    started: list[RawServer] = []

    def start(pieces: Callable[[], Iterable[bytes]], **options: float) -> RawServer:
        started.append(RawServer(pieces, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def connection_to(server: RawServer, **options) -> gct.Connection:
    """A connection with a short total timeout that sends everything once."""
    settings = {"timeout_seconds": (5, 5, 0.5), "retry": ONCE, "access_token": "a-token", **options}
    return gct.connect(server.url, **settings)


def body(payload: bytes, *headers: bytes) -> Callable[[], list[bytes]]:
    """A whole answer."""
    head = [OK, b"Content-Length: %d\r\n" % len(payload), *(header + b"\r\n" for header in headers), b"\r\n"]
    return lambda: [b"".join(head), payload]


# An end


ENDLESS = {
    "nothing": lambda: itertools.repeat(b""),
    "a status that drips": lambda: itertools.chain([b"HTTP/1.1 200 "], itertools.repeat(b"O")),
    "headers that drip": lambda: itertools.chain([OK], (b"X: %d\r\n" % n for n in range(90))),
    "100 Continue": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": lambda: itertools.repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "a body that drips": lambda: itertools.chain(
        [OK + b"Content-Length: 9999\r\n\r\n"], itertools.repeat(b" ")
    ),
    "a body without length that drips": lambda: itertools.chain([OK + b"\r\n"], itertools.repeat(b" ")),
    "chunks that drip": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\n \r\n")
    ),
    "trailers that drip": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"], itertools.repeat(b"X: y\r\n")
    ),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_every_exchange_ends(serve, kind: str):
    """The total time bounds an answer that comes byte by byte, wherever it drips; each read alone is quick."""
    server = serve(ENDLESS[kind], seconds_between=0.02)
    with connection_to(server) as gc:
        for call in (gc.tokens.get_tokens_me, lambda: gc.session.get("/api/v2/users")):
            with pytest.raises(TimedOutError, match="in time"):
                call()


@pytest.mark.parametrize("kind", ["nothing", "a body that drips", "100 Continue"])
def test_every_sign_in_ends(serve, kind: str):
    """The total time bounds a sign-in as well."""
    server = serve(ENDLESS[kind], seconds_between=0.02)
    with pytest.raises(TimedOutError):
        gct.connect(server.url, client_id="a", client_secret="b", timeout_seconds=(5, 5, 0.5))


def test_an_error_that_drips_is_told_by_its_status(serve):
    """An error answer whose body never ends is the error of its status."""
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 999\r\n\r\n"
    server = serve(lambda: itertools.chain([head], itertools.repeat(b" ")), seconds_between=0.02)
    with connection_to(server) as gc, pytest.raises(NotFoundError):
        gc.session.get("/api/v2/users")


def test_a_stream_ends_too(serve):
    """A streamed body is bound by the total time, and says so in an error of ours."""
    server = serve(ENDLESS["a body that drips"], seconds_between=0.02)
    with connection_to(server) as gc, pytest.raises(TimedOutError):
        list(gc.session.get("/api/v2/users", stream=True).iter_content(10))


# A size


FLOODS = {
    "100 Continue": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
    "103 Early Hints": lambda: itertools.repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 99),
    "headers": lambda: itertools.chain([OK], (b"X-%d: %s\r\n" % (n, b"x" * 9999) for n in range(99))),
    "a body": lambda: itertools.chain([OK + b"\r\n"], itertools.repeat(b" " * 9999)),
    "a body with a length": lambda: itertools.chain(
        [OK + b"Content-Length: 99999999999\r\n\r\n"], itertools.repeat(b" " * 9999)
    ),
    "chunks": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\n \r\n" * 999)
    ),
    "chunks with extensions": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1;%s\r\n \r\n" % (b"x" * 9999))
    ),
    "trailers": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"], itertools.repeat(b"X: y\r\n" * 999)
    ),
    "a chunk without end": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"], itertools.repeat(b" " * 9999)
    ),
    "empty gzip members": lambda: itertools.chain(
        [OK + b"Content-Encoding: gzip\r\n\r\n"], itertools.repeat(gzip.compress(b"") * 99)
    ),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_every_answer_has_a_size(serve, kind: str):
    """An answer that comes fast and does not end is broken off at its bound, long before its time is up."""
    server = serve(FLOODS[kind])
    with connection_to(server, timeout_seconds=(60, 60, 600), body_limit_bytes=100_000) as gc:
        for call in (gc.tokens.get_tokens_me, lambda: gc.session.get("/api/v2/users")):
            with pytest.raises(TransportError) as caught:
                call()
            assert isinstance(caught.value, (InvalidAnswerError, ConnectionDroppedError))


def deflated(text: bytes) -> bytes:
    """As `Content-Encoding: deflate` has it in practice, without zlib's header."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


BOMB = b" " * 200_000_000
BOMBS = {
    "gzip": lambda: gzip.compress(BOMB),
    "deflate": lambda: deflated(BOMB),
    "gzip, gzip": lambda: gzip.compress(gzip.compress(BOMB)),
    "deflate, gzip": lambda: gzip.compress(zlib.compress(BOMB)),
}


@pytest.mark.parametrize("encoding", BOMBS)
def test_a_bomb_does_not_go_off(serve, encoding: str):
    """A small answer that unpacks to 200 MB is refused, and takes little memory until then."""
    packed = BOMBS[encoding]()
    assert len(packed) < 1_000_000
    server = serve(body(packed, b"Content-Encoding: " + encoding.encode()))
    with connection_to(server, timeout_seconds=(60, 60, 600)) as gc:
        tracemalloc.start()
        with pytest.raises(InvalidAnswerError, match="its body passed the bound"):
            gc.tokens.get_tokens_me()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 60_000_000


def test_a_body_within_the_bound_is_whole(serve):
    """A body of exactly the bound comes through, packed or not, also in many pieces."""
    text = os.urandom(100_000)
    packed = gzip.compress(text)
    chunks = b"".join(b"64\r\n%s\r\n" % text[n : n + 100] for n in range(0, len(text), 100)) + b"0\r\n\r\n"
    for pieces in (
        body(text),
        body(packed, b"Content-Encoding: gzip"),
        lambda: [OK + b"\r\n", text],
        lambda: [OK + b"Transfer-Encoding: chunked\r\n\r\n", chunks],
    ):
        with connection_to(serve(pieces), timeout_seconds=(60, 60), body_limit_bytes=100_000) as gc:
            assert gc.session.get("/api/v2/users").content == text


def test_a_stream_may_be_of_any_size(serve):
    """`stream=True` is exempt from the bound of the body."""
    server = serve(body(b" " * 3_000_000))
    with (
        connection_to(server, timeout_seconds=(60, 60), body_limit_bytes=1000) as gc,
        gc.session.get("/api/v2/users", stream=True) as response,
    ):
        assert sum(map(len, response.iter_content(10_000))) == 3_000_000


def test_what_an_error_keeps_is_small(serve):
    """Of a long body that is no answer, an error keeps the beginning."""
    server = serve(body(b"x" * 1_000_000))
    with connection_to(server, timeout_seconds=(60, 60)) as gc, pytest.raises(InvalidAnswerError) as caught:
        gc.tokens.get_tokens_me()
    assert caught.value.body == b"x" * 4096
    assert len(str(caught.value)) < 1000


def test_early_hints_are_passed_over(serve):
    """An answer after any number of 1xx answers is the answer."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    server = serve(lambda: [hints, *body(b'{"organization": {"name": "x"}}')()])
    with connection_to(server, timeout_seconds=(60, 60)) as gc:
        assert gc.tokens.get_tokens_me().organization.name == "x"


# A type


ODD = {
    "latin-1": body(b'{"organization": {"name": "\xe9"}}'),
    "nested without end": body(b'{"raw": ' + b"[" * 100_000),
    "no gzip": body(b"no", b"Content-Encoding: gzip"),
    "half a gzip": body(gzip.compress(b"{}")[:12], b"Content-Encoding: gzip"),
    "many encodings": body(b"no", b"Content-Encoding: " + b", ".join([b"gzip"] * 9)),
    "a chunk below zero": lambda: [OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n"],
    "a chunk that is no number": lambda: [OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n"],
    "two lengths": lambda: [OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"],
    "a length below zero": lambda: [OK + b"Content-Length: -5\r\n\r\n[]"],
    "a long length": lambda: [OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n[]"],
    "too little": lambda: [OK + b"Content-Length: 999\r\n\r\n{}"],
    "no HTTP": lambda: [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "another HTTP": lambda: [b"HTTP/9.9 200 OK\r\n\r\n"],
    "no status": lambda: [b"HTTP/1.1 abc OK\r\n\r\n"],
    "another protocol": lambda: [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
    "a long line": lambda: [b"HTTP/1.1 200 " + b"x" * 70_000],
    "many headers": lambda: [OK, b"X: y\r\n" * 200, b"\r\n"],
    "headers that are none": lambda: [OK, b": x\r\n\xff\xfe\x00\r\n\r\n", b"x"],
    "nothing": list,
}
MOVED = {
    "no port": b"http://127.0.0.1:port/",
    "a large port": b"http://127.0.0.1:99999/",
    "no IPv6 address": b"http://[::1/",
    "no host": b"http:///x",
    "another scheme": b"ftp://127.0.0.1/",
    "a mail address": b"mailto:somebody@example.com",
    "no UTF-8": b"/\xff\xfe",
    "no IDNA": b"http://\xc3\xa9\xe2\x80\xae" + b"a" * 70 + b".example/",
    "a wildcard": b"http://*.example/",
    "a control character": b"http://127.0.0.1:1\x01/",
}


def of_ours(call: Callable[[], object]) -> GCTokensError:
    """The error of ours that the call raises; any other, also as what it came from, fails the test."""
    with pytest.raises(GCTokensError) as caught:
        call()
    assert caught.value.__cause__ is None
    assert not isinstance(caught.value.__context__, (requests.RequestException, OSError))
    return caught.value


@pytest.mark.parametrize("kind", ODD)
def test_every_answer_is_read_or_typed(serve, kind: str):
    """What no server should send is an error of ours, in calls and in sign-in; the session may also hand it over."""
    server = serve(ODD[kind])
    with connection_to(server, timeout_seconds=(5, 5)) as gc:
        assert isinstance(of_ours(gc.tokens.get_tokens_me), TransportError)
        assert isinstance(of_ours(lambda: revoke_user(gc.session, USER)), TransportError)
        of_ours(lambda: gct.connect(server.url, client_id="a", client_secret="b", timeout_seconds=(5, 5)))
        with contextlib.suppress(GCTokensError):
            gc.session.get("/api/v2/users")
        with contextlib.suppress(GCTokensError):
            list(gc.session.get("/api/v2/users", stream=True).iter_content(10))


@pytest.mark.parametrize("kind", MOVED)
def test_every_redirect_is_followed_or_typed(serve, kind: str):
    """A redirect to what is no address is an error of ours."""
    server = serve(
        lambda: [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + MOVED[kind] + b"\r\n\r\n"]
    )
    with connection_to(server, timeout_seconds=(5, 5)) as gc:
        of_ours(lambda: gc.session.get("/api/v2/users"))
        of_ours(gc.tokens.get_tokens_me)


@pytest.mark.parametrize(
    "address", ["api/v2/users", "users?x=1", "//evil.example/x", "", "ftp://x/", "http://", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(serve, address: str):
    """An address without a scheme, or that cannot be read, says how a path is written; nothing is sent."""
    server = serve(body(b"{}"))
    with connection_to(server) as gc, pytest.raises(ConfigurationError, match="leading slash"):
        gc.session.get(address)
    assert server.requests == []


def test_a_path_without_its_slash_is_written_for_you(serve):
    """`session.get("api/v2/users")` says what to write."""
    what_to_write = r"session\.get\('/api/v2/users'\)"
    with connection_to(serve(body(b"{}"))) as gc, pytest.raises(ConfigurationError, match=what_to_write):
        gc.session.get("api/v2/users")


@pytest.mark.parametrize("headers", [{"X": "a\nb"}, {"X": 1}, {"X": "☃"}])
def test_a_header_that_is_none_is_typed(serve, headers):
    """A header that cannot be sent is an error of ours."""
    with connection_to(serve(body(b"{}"))) as gc:
        of_ours(lambda: gc.session.get("/api/v2/users", headers=headers))


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_a_date_beyond_the_calendar_is_not_known(serve, moment: str):
    """A moment that Python cannot express in UTC is None; the text stays in `raw`."""
    with connection_to(
        serve(body(b'{"dateTokenIdles": "%s"}' % moment.encode())), timeout_seconds=(5, 5)
    ) as gc:
        info = gc.tokens.get_tokens_me()
    assert info.date_token_idles is None
    assert info.raw["dateTokenIdles"] == moment


# Success


NOTHING = {
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "an empty object": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}\n",
    "null": b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nnull",
}
SOMETHING = {
    "text": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nPlease log in",
    "JSON": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"ok": true}',
    "no type": b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nPlease log in",
    "a part": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n",
    "HTML": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
    "packed nothing": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n"
    + gzip.compress(b"x")[:12],
}


@pytest.mark.parametrize("kind", NOTHING)
def test_nothing_is_success(serve, kind: str):
    """2xx with no body, or with `{}` or `null`, is success."""
    with connection_to(serve(lambda: [NOTHING[kind]]), timeout_seconds=(5, 5), retry=FAST) as gc:
        assert revoke_user(gc.session, USER).ok
        gc.tokens.delete_token(USER, allow_self=True)
        gc.tokens.delete_tokens_me()


@pytest.mark.parametrize("kind", SOMETHING)
def test_something_is_no_success(serve, kind: str):
    """Anything else of status 2xx is not taken for success, for one user, the own token, or the question about it."""
    with connection_to(serve(lambda: [SOMETHING[kind]]), timeout_seconds=(5, 5), retry=FAST) as gc:
        for call in (
            lambda: revoke_user(gc.session, USER),
            lambda: gc.tokens.delete_token(USER, allow_self=True),
            gc.tokens.delete_tokens_me,
        ):
            with pytest.raises(InvalidAnswerError, match=r"not taken for success|cannot be read"):
                call()
        if kind in {"a part", "HTML", "text"}:
            with pytest.raises(InvalidAnswerError):
                gc.tokens.head_tokens_me()


@pytest.mark.parametrize("hostile", ["me", "../oauth/clients/x", "", f"{USER}/x", None, 7, b"x", f"{USER}\n"])
def test_only_a_user_id_is_sent(serve, hostile):
    """The one function that revokes refuses what is no user id; nothing is sent."""
    server = serve(body(b""))
    with connection_to(server) as gc, pytest.raises(InvalidUserIdError):
        revoke_user(gc.session, hostile)
    assert server.requests == []


# Where the token goes


def test_a_token_does_not_go_to_a_port_that_begins_alike(serve):
    """A redirect to an address without a path, whose port begins as the API's does, gets no token."""
    other = serve(body(b"{}"))
    moved = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s?x=1\r\n\r\n" % other.url.encode()
    with connection_to(serve(lambda: [moved]), timeout_seconds=(5, 5)) as gc:
        assert gc.session.get("/api/v2/users").json() == {}
    assert b"GET /?x=1 " in other.requests[0]
    assert b"Authorization" not in other.requests[0]


def test_a_redirect_back_is_signed_anew(serve):
    """Off the API host no token is sent; back on it, it is. None of the requests that the user sees holds it."""
    answers = iter([b"302 Found\r\nLocation: %s/away", b"200 OK"])
    other = serve(
        lambda: [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s/back\r\n\r\n" % api.url.encode()]
    )
    api = serve(
        lambda: [
            b"HTTP/1.1 " + next(answers).replace(b"%s", other.url.encode()) + b"\r\nContent-Length: 0\r\n\r\n"
        ]
    )
    with connection_to(api, timeout_seconds=(5, 5)) as gc:
        response = gc.session.get("/api/v2/users")
    assert [b"Authorization: Bearer a-token" in request for request in api.requests] == [True, True]
    assert b"Authorization" not in other.requests[0]
    for one in (response, *response.history):
        assert "Authorization" not in one.request.headers


def test_a_hook_sees_no_token(serve):
    """Neither a hook nor a request that the user prepared gets to hold the token."""
    seen: list[requests.PreparedRequest] = []
    with connection_to(serve(body(b"{}"), requests_each=2), timeout_seconds=(5, 5)) as gc:
        gc.session.hooks["response"].append(lambda response, **_: seen.append(response.request))
        prepared = gc.session.prepare_request(requests.Request("GET", "/api/v2/users"))
        gc.session.send(prepared)
        response = gc.session.call("GET", "/api/v2/users")
    assert "a-token" not in str([one.headers for one in (*seen, prepared, response.request)])
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("https://API.example:443/x", True),
        ("https://api.example", True),
        ("https://api.example?x", True),
        ("https://user:pw@api.example/", True),
        ("http://api.example:443/", False),
        ("https://api.example:444/", False),
        ("https://api.example./", False),
        ("https://api.example.evil/", False),
        ("https://api.exampl/", False),
        ("https://evil/@api.example/", False),
    ],
)
def test_origins_are_equal_by_value(address: str, same: bool):
    """Scheme, host and port, and nothing else, decide whether two addresses are of one place."""
    assert (Origin.of(address) == Origin("https", "api.example", 443)) is same


@pytest.mark.parametrize(
    "address", ["https://evil\\@api.example/", "https://é.example/", "https:///x", "x", "https://a:b/"]
)
def test_an_origin_is_not_guessed(address: str):
    """An address that two parsers may read in two ways has no origin."""
    with pytest.raises(ConfigurationError):
        Origin.of(address)


# Timeouts


def test_two_timeouts_make_a_third():
    """With two numbers the total is four times the read timeout."""
    assert Timeouts.of((1, 2)) == (1, 2, 8)
    assert Timeouts.of((1, 2, 3)) == (1, 2, 3)
    assert TIMEOUTS == (10, 30, 120)


@pytest.mark.parametrize(
    "given",
    [
        (0, 1),
        (1, -1),
        (1, float("nan")),
        (1, float("inf")),
        (1,),
        (1, 2, 3, 4),
        ("1", 2),
        (True, 1),
        "12",
        object(),
    ],
)
def test_a_timeout_that_is_none_is_refused(given):
    """Timeouts are two or three positive numbers."""
    with pytest.raises(ConfigurationError, match="timeout"):
        gct.connect("http://127.0.0.1:9", access_token="x", timeout_seconds=given)


@pytest.mark.parametrize("given", [7, (5, 6), (None, 6), None, (5, 6, 7)])
def test_the_timeouts_of_requests_work(serve, given):
    """`timeout=` of one request takes what requests takes, and a total."""
    with connection_to(serve(body(b"{}")), timeout_seconds=(5, 5)) as gc:
        assert gc.session.get("/api/v2/users", timeout=given).json() == {}


def test_the_timeout_of_one_request_counts(serve):
    """The timeout given for one request is the one that ends it."""
    server = serve(ENDLESS["a body that drips"], seconds_between=0.02)
    with connection_to(server, timeout_seconds=(60, 60)) as gc, pytest.raises(TimedOutError):
        gc.session.get("/api/v2/users", timeout=(5, 5, 0.3))


# Advice


def test_what_is_dropped_is_repeated_only_where_it_may_be(serve):
    """A dropped GET may be repeated; a dropped POST, or a sign-in with a code, must be looked after first."""
    server = serve(list)
    with connection_to(server, timeout_seconds=(5, 5)) as gc:
        assert "Repeat it" in of_ours(lambda: gc.session.get("/x")).next_step
        assert "Repeat it" not in of_ours(lambda: gc.session.post("/x", json={})).next_step
        assert "Repeat it" not in of_ours(lambda: gc.session.patch("/x", json={})).next_step
    region = gct.regions.resolve(server.url)
    code = gct.oauth.Secret("code")
    error = of_ours(lambda: gct.oauth.authorization_code(region, "id", code, "http://127.0.0.1/"))
    assert "Start a new sign-in" in error.next_step


# Processes and copies


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_opens_its_own_connections(serve):
    """After a fork neither process asks, or reads what the other asked for, over a connection of the other."""
    server = serve(body(b"{}"), requests_each=9)
    with connection_to(server, timeout_seconds=(5, 5)) as gc:
        gc.session.get("/parent")
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                status = 0 if gc.session.get("/child").ok else 1
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        gc.session.get("/parent")
    assert server.connections == 2
    assert len(server.requests) == 3


@pytest.mark.parametrize("copied", [copy, deepcopy, lambda session: pickle.loads(pickle.dumps(session))])
def test_a_session_can_be_copied(sandbox: Sandbox, sign_in, copied):
    """A copy signs and asks as the original does, over connections of its own."""
    session = sign_in(timeout_seconds=(3, 4), body_limit_bytes=10_000).session
    session.headers["X-Ticket"] = "7"
    with copied(session) as twin:
        assert twin.get("/api/v2/tokens/me").json()["organization"]
        assert twin.timeout_seconds == (3, 4, 16)
        assert twin.body_limit_bytes == 10_000
        assert twin.retry == session.retry
        assert twin.headers["X-Ticket"] == "7"
        assert twin.adapters["http://"] is not session.adapters["http://"]
    assert session.get("/api/v2/tokens/me").ok
