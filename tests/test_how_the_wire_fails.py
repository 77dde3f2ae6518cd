"""How an exchange fails: which error each failure of the network becomes, what it says, and where each bound lies."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from typing import Any

import pytest
import requests

import gctokens_nb as gct
from gctokens_nb.errors import (
    CancelledError,
    CertificateError,
    ConfigurationError,
    ConnectionDroppedError,
    HostUnreachableError,
    InvalidAnswerError,
    NotFoundError,
    TimedOutError,
    TransportError,
)
from gctokens_nb.tokens import revoke_user
from gctokens_nb.transport import Timeouts

ONCE = gct.RetryPolicy(attempts=1)
TWICE = gct.RetryPolicy(attempts=2, backoff_seconds=0.001)


def answer(body: bytes = b"{}", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer as it goes over the wire."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def failing(url: str, method: str = "GET", retry: gct.RetryPolicy = ONCE, **options: Any) -> Any:
    """The error of one request to that server."""
    with (
        gct.connect(url, access_token="the-token", retry=retry, **options) as gc,
        pytest.raises(gct.GCTokensError) as caught,
    ):
        gc.session.request(method, "/api/v2/a/path", params={"secret": "in-the-query"})
    error = caught.value
    assert "in-the-query" not in f"{error!r}{error}"
    assert (error.__cause__, error.__context__) == (None, None)
    return error


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# Which error


@pytest.mark.parametrize(("said", "retry", "attempts"), [(b"", ONCE, 1), (answer(b"{", length=2), TWICE, 2)])
def test_a_connection_that_breaks(saying, said: bytes, retry: gct.RetryPolicy, attempts: int):
    """No answer, or half of one: a dropped connection, with how often it was sent, and that the outcome is unknown."""
    server = saying(said)
    error = failing(server.url, retry=retry)
    assert type(error) is ConnectionDroppedError
    assert (error.method, error.url, error.attempts) == ("GET", f"{server.url}/api/v2/a/path", attempts)
    assert "The connection to 127.0.0.1 broke before GET /api/v2/a/path was fully answered." in str(error)
    assert "Whether it took effect is unknown." in str(error)
    assert ("It was sent 2 times." in str(error)) is (attempts == 2)
    assert "Repeat it: this call may be repeated without harm." in error.next_step


def test_what_may_be_done_twice_is_looked_at_first(saying):
    """After a POST without an answer the advice is to look, not to repeat."""
    error = failing(saying(b"").url, "POST", TWICE)
    assert (type(error), error.attempts) == (ConnectionDroppedError, 1)
    assert error.next_step.startswith("Look first whether it took effect")
    assert "Repeat it" not in error.next_step


def test_nobody_listens():
    """A refused connection never reached anybody: nothing is said of an unknown outcome."""
    error = failing(f"http://127.0.0.1:{closed_port()}")
    assert type(error) is HostUnreachableError
    assert (error.method, error.attempts) == ("GET", 1)
    assert "No connection to 127.0.0.1 could be made" in str(error)
    assert "unknown." not in str(error).partition("nobody listening")[0].replace("an unknown name", "")
    assert "Check the network, the region and the proxy settings." in error.next_step


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    """A proxy that cannot be used is named as the cause."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port()}")
    error = failing("mypurecloud.com")
    assert type(error) is HostUnreachableError
    assert "The proxy on the way to api.mypurecloud.com could not be used." in str(error)
    assert error.url == "https://api.mypurecloud.com/api/v2/a/path"
    assert "HTTPS_PROXY" in error.next_step


def test_silence_is_a_timeout(saying):
    """No byte within the read timeout: a timeout that says so, sent once, outcome unknown."""
    server = saying(b"", close=False)
    error = failing(server.url, retry=TWICE, timeout_seconds=(5, 0.1))
    assert type(error) is TimedOutError
    assert (error.method, error.url, error.attempts) == ("GET", f"{server.url}/api/v2/a/path", 1)
    assert "127.0.0.1 did not answer GET /api/v2/a/path in time. Whether it took effect is unknown." in str(
        error
    )
    assert len(server.heard) == 1


def test_a_body_that_stays_away_is_a_timeout(saying):
    """The same where the headers have come."""
    error = failing(saying(answer(b"{", length=10), close=False).url, timeout_seconds=(5, 0.1))
    assert type(error) is TimedOutError


def test_the_whole_attempt_has_an_end(saying):
    """Where each read is in time, the total is what ends it."""
    error = failing(saying(answer(b"{", length=10), close=False).url, timeout_seconds=(5, 60, 0.2))
    assert type(error) is TimedOutError


def test_a_host_that_speaks_no_tls(saying):
    """A server that answers in the clear where TLS is expected: a certificate error, nothing was sent."""
    server = saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with (
        gct.connect("mypurecloud.com", access_token="the-token", retry=ONCE) as gc,
        pytest.raises(TransportError) as caught,
    ):
        gc.session.get(server.url.replace("http:", "https:") + "/x")
    assert type(caught.value) is CertificateError
    assert "nothing was sent to it" in str(caught.value)
    assert "REQUESTS_CA_BUNDLE" in caught.value.next_step
    assert b"/x" not in server.heard[0]


@pytest.mark.parametrize(
    "said",
    [
        answer(b"no gzip at all", "Content-Encoding: gzip"),
        answer(gzip.compress(b"{}")[:-9] + b"123456789", "Content-Encoding: gzip"),
        answer(b"no deflate at all", "Content-Encoding: deflate"),
    ],
    ids=["no gzip", "gzip with a wrong checksum", "no deflate"],
)
def test_a_body_that_cannot_be_decompressed(saying, said: bytes):
    """What cannot be read is an invalid answer, whatever its status says."""
    error = failing(saying(said).url)
    assert isinstance(error, InvalidAnswerError)
    assert (error.status, error.method, error.attempts) == (200, "GET", 1)
    assert "The answer of 127.0.0.1 to GET /api/v2/a/path cannot be read" in str(error)
    assert "Whether it took effect is unknown." in str(error)
    assert error.next_step.startswith("Check the region and the proxy. Repeat it")


def test_an_answer_that_is_none_keeps_its_correlation_id(saying):
    """What cannot be read may still say for whom to ask; no more of it than an error holds."""
    said = answer(b"no gzip", "Content-Encoding: gzip", "ININ-Correlation-Id: abc" + "d" * 1000)
    error = failing(saying(said).url)
    assert error.correlation_id.startswith("abcd")
    assert len(error.correlation_id) <= 200


def test_a_cancelled_exchange(saying):
    """Broken off by its `Cancel` while it waits: not a timeout, not a drop."""
    cancel = gct.Cancel()
    server = saying(b"", close=False)

    def break_off() -> None:
        while not server.heard:
            threading.Event().wait(0.005)
        cancel.set()

    thread = threading.Thread(target=break_off)
    thread.start()
    with gct.watch_waits(cancel=cancel):
        error = failing(server.url, retry=TWICE)
    thread.join()
    assert type(error) is CancelledError
    assert (
        "GET /api/v2/a/path was cancelled while it was under way: whether it took effect is unknown."
        in str(error)
    )
    assert "Look again before you repeat it." in error.next_step
    assert len(server.heard) == 1


def test_after_a_cancelled_exchange_the_connection_is_anothers(saying):
    """A `Cancel` that is set after its call was answered breaks nothing off."""
    cancel = gct.Cancel()
    server = saying(answer(), close=False)
    with gct.connect(server.url, access_token="the-token", retry=ONCE, timeout_seconds=(5, 5)) as gc:
        with gct.watch_waits(cancel=cancel):
            gc.session.get("/api/v2/a/path")
        (pooled,) = [
            one for one in threading.enumerate() if one is threading.current_thread()
        ]  # this thread goes on with the connection
        assert pooled is threading.current_thread()
        cancel.set()
        error = None
        try:
            gc.session.get("/api/v2/a/path", timeout=0.2)
        except gct.GCTokensError as raised:
            error = raised
        assert type(error) is TimedOutError, "the server says nothing more; it was not broken off"


@pytest.mark.parametrize(
    "address", ["ftp://example.org/x", "http://", "https:///x", "http://[::1/x", "http://a..b/x", "x:y"]
)
def test_what_is_no_address_is_not_sent(saying, address: str):
    """An address of another kind, or none at all, is refused in words."""
    with (
        gct.connect(saying(answer()).url, access_token="the-token") as gc,
        pytest.raises(ConfigurationError) as caught,
    ):
        gc.session.get(address)
    assert "othing was sent" in str(caught.value)
    assert caught.value.next_step


def test_a_header_that_cannot_be_sent(saying):
    """A header with a line feed is refused, and what it holds is not repeated."""
    with (
        gct.connect(saying(answer()).url, access_token="the-token") as gc,
        pytest.raises(ConfigurationError) as caught,
    ):
        gc.session.get("/x", headers={"X-Mine": "a\nb"})
    assert "othing was sent" in str(caught.value)


# The bounds


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "chunked"])
def test_a_body_may_be_as_large_as_it_may_be(saying, size: int, fits: bool, encoding: str):
    """The limit itself is allowed, one byte more is not; compression and chunks do not get around it."""
    body = b"[" + b" " * (size - 2) + b"]"
    if encoding == "gzip":
        said = answer(gzip.compress(body), "Content-Encoding: gzip")
    elif encoding == "chunked":
        said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
            len(body),
            body,
        )
    else:
        said = answer(body)
    server = saying(said)
    with gct.connect(server.url, access_token="the-token", retry=ONCE) as gc:
        gc.session.body_limit_bytes = 1000
        if fits:
            assert gc.session.get("/x").content == body
            return
        with pytest.raises(InvalidAnswerError) as caught:
            gc.session.get("/x")
    assert "The answer of 127.0.0.1 to GET /x is not taken: its body passed the bound." in str(caught.value)
    assert caught.value.status == 200


def test_a_streamed_body_may_be_larger(saying):
    """What the caller streams is the caller's to bound; a refusal is read, and bounded, all the same."""
    with gct.connect(saying(answer(b"x" * 200_000)).url, access_token="the-token", retry=ONCE) as gc:
        gc.session.body_limit_bytes = 1000
        with gc.session.get("/x", stream=True) as response:
            assert sum(len(piece) for piece in response.iter_content(8192)) == 200_000


def test_compressed_chunks_without_end(saying):
    """Chunks that decompress to nothing are bounded by what came over the wire."""
    empty = zlib.compressobj(wbits=31)
    head = empty.compress(b"") + empty.flush(zlib.Z_FULL_FLUSH)
    nothing = head + b"\x00\x00\x00\xff\xff" * 100_000
    said = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (
        len(nothing),
        nothing,
    )
    with gct.connect(saying(said).url, access_token="the-token", retry=ONCE, timeout_seconds=(5, 5)) as gc:
        gc.session.body_limit_bytes = 1000
        with pytest.raises(InvalidAnswerError, match="passed the bound"):
            gc.session.get("/x")


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
)
def test_interim_answers_are_passed_over_and_have_an_end(saying, interim: bytes):
    """A few 1xx answers before the answer are none; 64 KiB of them are an invalid answer."""
    with gct.connect(saying(interim * 3 + answer()).url, access_token="the-token", retry=ONCE) as gc:
        assert gc.session.get("/x").status_code == 200
    error = failing(saying(interim * (100_000 // len(interim)) + answer()).url)
    assert isinstance(error, InvalidAnswerError)
    assert "is not taken: its headers passed the bound." in str(error)
    assert error.status == 0


def test_headers_have_an_end(saying):
    """60 kB of headers are taken; 70 kB are not."""
    few, many = (answer(b"{}", *[f"X-{n}: {'x' * 990}" for n in range(count)]) for count in (60, 70))
    with gct.connect(saying(few).url, access_token="the-token", retry=ONCE) as gc:
        assert gc.session.get("/x").json() == {}
    assert "its headers passed the bound." in str(failing(saying(many).url))


def test_another_protocol_is_no_answer(saying):
    """101 to a request that did not ask for it is no answer of HTTP."""
    error = failing(saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").url)
    assert isinstance(error, TransportError)


def test_an_error_whose_body_breaks_off_is_still_that_error(saying):
    """The status of a refusal counts, even where its body does not come whole."""
    assert type(failing(saying(answer(b'{"co', status="404 Not Found", length=100)).url)) is NotFoundError
    # The body of a success does.
    assert type(failing(saying(answer(b'{"co', status="200 OK", length=100)).url)) is ConnectionDroppedError


# Timeouts


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ((1, 2), (1, 2, 8)),
        ([1, 2], (1, 2, 8)),
        ((1, 2, 3), (1, 2, 3)),
        (5, (5, 5, 20)),
        (Timeouts(1, 2, 3), (1, 2, 3)),
        (0.5, (0.5, 0.5, 2)),
        (1e9, (1e9, 1e9, 4e9)),
    ],
)
def test_timeouts_as_people_give_them(given: Any, taken: tuple[float, ...]):
    """One number, two, or three: the total is four times the read timeout where it is not given."""
    assert Timeouts.of(given) == taken
    assert all(isinstance(value, float) or given == Timeouts(1, 2, 3) for value in Timeouts.of(given))


def test_what_is_not_given_is_that_of_the_session():
    """None, alone or in a tuple, stands for the session's."""
    default = Timeouts(1, 2, 3)
    assert Timeouts.of(None, default) == default
    assert Timeouts.of((None, 7), default) == (1, 7, 28)
    assert Timeouts.of((7, None, None), default) == (7, 2, 3)
    assert Timeouts.of((7, None, 5), default) == (7, 2, 5)


@pytest.mark.parametrize(
    "given",
    [
        0,
        -1,
        (1, 0),
        (0, 1),
        (1, 2, 0),
        (1,),
        (1, 2, 3, 4),
        "5",
        ("1", "2"),
        True,
        (1, True),
        None,
        (None, 1),
        float("nan"),
        float("inf"),
        1.1e9,
        (),
    ],
)
def test_what_is_no_timeout_is_refused(given: Any):
    """Zero, text, booleans, infinity, one or four in a tuple: refused in words."""
    with pytest.raises(ConfigurationError, match="is not possible") as caught:
        Timeouts.of(given)
    assert "(connect, read)" in caught.value.next_step


def test_the_timeouts_of_a_session_can_be_changed(saying):
    """`session.timeout_seconds` takes what `connect` takes, and tells all three."""
    with gct.connect(saying(answer()).url, access_token="the-token") as gc:
        assert gc.session.timeout_seconds == (10, 30, 120)
        gc.session.timeout_seconds = (1, 2)
        assert gc.session.timeout_seconds == (1, 2, 8)
        with pytest.raises(ConfigurationError):
            gc.session.timeout_seconds = 0


@pytest.mark.parametrize(
    "values",
    [
        {"attempts": 0},
        {"attempts": True},
        {"attempts": 1.5},
        {"backoff_seconds": -0.1},
        {"backoff_seconds": float("nan")},
        {"longest_wait_seconds": -1},
        {"longest_wait_seconds": 86401},
        {"longest_wait_seconds": float("inf")},
        {"backoff_seconds": "1"},
    ],
)
def test_a_policy_that_cannot_be_is_refused(values: dict[str, Any]):
    """A retry policy says which value is not possible, and which are."""
    with pytest.raises(ConfigurationError) as caught:
        gct.RetryPolicy(**values)
    ((name, value),) = values.items()
    assert f"RetryPolicy({name}={value!r}) is not possible." in str(caught.value)
    assert caught.value.next_step.startswith("Give ")


def test_the_ends_of_a_policy_are_possible():
    """One attempt, no wait, a day."""
    policy = gct.RetryPolicy(attempts=1, backoff_seconds=0, longest_wait_seconds=86400)
    assert gct.RetryPolicy(backoff_seconds=86400, longest_wait_seconds=0) != policy


# The environment


def test_a_ca_bundle_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """The environment names a file that does not exist: said when the connection is made. One that exists is used."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match=r"CA bundle that does not exist: .*none\.pem") as caught:
        gct.connect("mypurecloud.com", access_token="the-token")
    assert "REQUESTS_CA_BUNDLE" in caught.value.next_step
    (tmp_path / "none.pem").touch()
    with gct.connect("mypurecloud.com", access_token="the-token") as gc:
        assert gc.session.verify == str(tmp_path / "none.pem")
        assert not gc.session.trust_env


def test_a_proxy_gets_its_password_and_nobody_else(monkeypatch: pytest.MonkeyPatch, saying):
    """User and password of a proxy's address go to the proxy as Basic, percent-decoded, and are shown nowhere."""
    proxy = saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://us%40er:pass%2Fword@"))
    with gct.connect("mypurecloud.com", access_token="the-token", retry=ONCE) as gc:
        assert "pass" not in f"{gc.session.proxies}{gc.session.__dict__}"
        with pytest.raises(HostUnreachableError):
            gc.session.get("/x")
    (heard,) = proxy.heard
    assert heard.startswith(b"CONNECT api.mypurecloud.com:443 HTTP/1.")
    assert b"Proxy-Authorization: Basic dXNAZXI6cGFzcy93b3Jk" in heard
    assert b"the-token" not in heard


def test_a_proxy_without_a_scheme_or_a_password(monkeypatch: pytest.MonkeyPatch, saying):
    """As other programs take it: `user@host:port` is a proxy over HTTP."""
    proxy = saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "user@"))
    with (
        gct.connect("mypurecloud.com", access_token="the-token", retry=ONCE) as gc,
        pytest.raises(TransportError),
    ):
        gc.session.get("/x")
    assert b"Proxy-Authorization: Basic dXNlcjo=" in proxy.heard[0]


def test_a_response_belongs_to_a_request_without_secrets(saying):
    """The request of a response is the one that was asked for, without the token."""
    with gct.connect(saying(answer()).url, access_token="the-token") as gc:
        response = gc.session.get("/x", headers={"X-Mine": "1"})
    assert isinstance(response.request, requests.PreparedRequest)
    assert response.request.headers["X-Mine"] == "1"
    assert "the-token" not in str(dict(response.request.headers))


# Nothing, and something


USER = "01234567-89ab-cdef-0123-456789abcdef"
NOTHING_COMPRESSED = gzip.compress(b"", mtime=0)


@pytest.mark.parametrize(
    ("said", "nothing"),
    [
        (answer(b"", "Content-Encoding: gzip"), True),
        (b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n", True),
        (answer(NOTHING_COMPRESSED, "Content-Encoding: gzip"), False),
        (answer(b" null\n"), True),
        (answer(b" {} "), True),
        (answer(b"{ }"), False),
        (answer(b"NULL"), False),
        (answer(b"", status="206 Partial Content"), False),
        (answer(b"", status="299 Fine"), True),
        (answer(b"", "Content-Type: text/html"), False),
    ],
)
def test_an_answer_is_nothing_or_it_is_no_success(saying, said: bytes, nothing: bool):
    """No bytes, `{}` or `null`; what decompresses to nothing is something."""
    with gct.connect(saying(said).url, access_token="the-token", retry=ONCE) as gc:
        if nothing:
            gc.tokens.delete_token(USER, allow_self=True)
            return
        with pytest.raises(InvalidAnswerError) as caught:
            gc.tokens.delete_token(USER, allow_self=True)
    assert f"DELETE /api/v2/tokens/{USER} was answered with" in str(caught.value)
    assert "then look whether it took effect." in caught.value.next_step
    assert caught.value.correlation_id == ""
    assert "XX" not in str(caught.value)


def test_what_is_no_nothing_says_so(saying):
    """A revocation that is answered with something says what was expected."""
    with (
        gct.connect(saying(answer(b'{"ok": true}')).url, access_token="the-token", retry=ONCE) as gc,
        pytest.raises(
            InvalidAnswerError, match="the body is not the empty answer of this call: this is not taken for"
        ),
    ):
        gc.tokens.delete_tokens_me()


@pytest.mark.parametrize(
    ("kind", "length", "nothing"),
    [
        ("application/json", 0, True),
        ("application/json; charset=UTF-8", 2, True),
        ("application/json", 500, False),
        ("text/plain", 0, False),
    ],
)
def test_head_has_no_body_to_look_at(saying, kind: str, length: int, nothing: bool):
    """HEAD announces JSON, if anything, and no more of it than an empty value; else it may be repeated."""
    said = answer(b"", f"Content-Type: {kind}", length=length)
    with gct.connect(saying(said).url, access_token="the-token", retry=ONCE) as gc:
        if nothing:
            gc.tokens.head_tokens_me()
            return
        with pytest.raises(InvalidAnswerError) as caught:
            gc.tokens.head_tokens_me()
    assert "then repeat it." in caught.value.next_step


def test_an_answer_that_was_asked_for_may_be_asked_for_again(saying):
    """Reading may be repeated."""
    with (
        gct.connect(saying(answer(b"[]")).url, access_token="the-token", retry=ONCE) as gc,
        pytest.raises(InvalidAnswerError) as caught,
    ):
        gc.tokens.get_tokens_me()
    assert "then repeat it." in caught.value.next_step


def test_one_who_is_revoked_may_be_tried_once(saying):
    """`attempts` of the function that revokes counts."""
    server = saying(answer(b"", "Connection: close", status="503 X"))
    with gct.connect(server.url, access_token="the-token", retry=TWICE) as gc:
        for attempts, tried in ((1, 1), (None, 2), (3, 3)):
            server.heard.clear()
            with pytest.raises(gct.ApiError) as caught:
                revoke_user(gc.session, USER.upper(), attempts=attempts)
            assert (len(server.heard), caught.value.attempts) == (tried, tried)
    assert server.heard[0].startswith(f"DELETE /api/v2/tokens/{USER} ".encode())


# Streams


def test_a_stream_comes_in_the_pieces_that_are_asked_for(saying):
    """`iter_content` is that of requests: sizes, and text where it is wanted."""
    said = answer("häßlich".encode() * 10, "Content-Type: text/plain; charset=utf-8")
    with gct.connect(saying(said).url, access_token="the-token", retry=ONCE) as gc:
        with gc.session.get("/x", stream=True) as response:
            sizes = [len(piece) for piece in response.iter_content(7)]
        with gc.session.get("/x", stream=True) as response:
            assert {len(piece) for piece in response.iter_content()} == {1}
        with gc.session.get("/x", stream=True) as response:
            text = list(response.iter_content(16, decode_unicode=True))
    assert sizes[:-1] == [7] * (len(sizes) - 1)
    assert sum(sizes) == len("häßlich".encode()) * 10
    assert "".join(text) == "häßlich" * 10


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(b"{", length=100), ConnectionDroppedError),
        (answer(b"no gzip", "Content-Encoding: gzip"), InvalidAnswerError),
    ],
)
def test_a_stream_that_fails_is_typed(saying, said: bytes, kind: type[TransportError]):
    """What goes wrong while the caller reads is an error of ours, with the request and the status."""
    server = saying(said)
    with (
        gct.connect(server.url, access_token="the-token", retry=ONCE) as gc,
        gc.session.get("/x", params={"secret": "in-the-query"}, stream=True) as response,
        pytest.raises(kind) as caught,
    ):
        list(response.iter_content(16))
    assert (caught.value.method, caught.value.url) == ("GET", f"{server.url}/x")
    assert "in-the-query" not in str(caught.value)
    if isinstance(caught.value, InvalidAnswerError):
        assert caught.value.status == 200


# Proxies as people write them


def test_a_password_with_an_at_sign(monkeypatch: pytest.MonkeyPatch, saying):
    """The last `@` ends the user and the password."""
    proxy = saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://user:p@ss@"))
    with (
        gct.connect("mypurecloud.com", access_token="the-token", retry=ONCE) as gc,
        pytest.raises(TransportError),
    ):
        gc.session.get("/x")
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz" in proxy.heard[0]


def test_a_socks_proxy_keeps_its_address(monkeypatch: pytest.MonkeyPatch):
    """SOCKS takes user and password from the address, and from there only."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://user:pass@127.0.0.1:1080")
    with gct.connect("mypurecloud.com", access_token="the-token", retry=ONCE) as gc:
        assert dict(gc.session.proxies)["https"] == "socks5h://user:pass@127.0.0.1:1080"
        assert "pass" not in repr(gc.session.proxies)
