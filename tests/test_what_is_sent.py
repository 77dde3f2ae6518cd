"""What a session puts on the wire, and where: addresses, methods, headers, and which of them carry the token."""

from __future__ import annotations

import copy
import http
import io
import logging
import pickle
import random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

import gctokens_nb as gct
from gctokens_nb import oauth
from gctokens_nb.errors import (
    CancelledError,
    ConfigurationError,
    InvalidAnswerError,
    InvalidUserIdError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from gctokens_nb.redaction import Secret
from gctokens_nb.sandbox import Fault, Sandbox

ME = "/api/v2/tokens/me"
TIMEOUT = "/api/v2/tokens/timeout"


class Wire(HTTPAdapter):
    """Where the wire would begin: it keeps each request with how it was to be sent, and answers 200 and `{}`."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[SimpleNamespace] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        """Keep the request and answer it."""
        # Now, as a session may take the token out again.
        self.sent.append(SimpleNamespace(url=request.url, headers=dict(request.headers), **options))
        body = urllib3.HTTPResponse(io.BytesIO(b"{}"), status=200, preload_content=False)
        return self.build_response(request, body)


@pytest.fixture
def wire() -> Wire:
    """A wire that leads nowhere."""
    return Wire()


@pytest.fixture
def real(wire: Wire):
    """A connection to the real service, on a wire that leads nowhere."""
    with gct.connect("mypurecloud.com", access_token="the-token") as connection:
        connection.session.mount("https://", wire)
        connection.session.mount("http://", wire)
        yield connection


# Where the token goes


@pytest.mark.parametrize(
    "address",
    [
        "/api/v2/users",
        "https://api.mypurecloud.com/api/v2/users",
        "https://api.mypurecloud.com:443/api/v2/users",
        "https://API.MyPureCloud.COM/api/v2/users",
        "https://api.mypurecloud.com",
        "https://api.mypurecloud.com?a=b",
    ],
)
def test_the_api_host_gets_the_token(real, wire: Wire, address: str):
    """The API host, however its address is written, is the one place that the token goes to."""
    real.session.get(address)
    (sent,) = wire.sent
    assert sent.headers["Authorization"] == "Bearer the-token"


@pytest.mark.parametrize(
    "address",
    [
        "http://api.mypurecloud.com/api/v2/users",
        "http://api.mypurecloud.com:443/api/v2/users",
        "https://api.mypurecloud.com:80/api/v2/users",
        "https://api.mypurecloud.com:4430/api/v2/users",
        "https://api.mypurecloud.co/api/v2/users",
        "https://api.mypurecloud.com.example.org/api/v2/users",
        "https://apps.mypurecloud.com/api/v2/users",
        "https://mypurecloud.com/api/v2/users",
        "https://example.org/https://api.mypurecloud.com/api/v2/users",
        "https://example.org?https://api.mypurecloud.com/",
        "https://example.org#@api.mypurecloud.com/",
        "https://api.mypurecloud.com@example.org/api/v2/users",
    ],
)
def test_any_other_place_gets_none(real, wire: Wire, address: str):
    """Another scheme, another port, a longer, a shorter or a look-alike name is another place."""
    real.session.get(address)
    (sent,) = wire.sent
    assert "the-token" not in str(sent)


def test_an_api_host_with_a_port_is_that_port(wire: Wire, sandbox: Sandbox):
    """Where the API host has a port of its own, neither the default port nor another scheme is the same place."""
    with gct.connect(sandbox.environment, access_token="the-token") as gc:
        gc.session.mount("https://", wire)
        gc.session.mount("http://", wire)
        gc.session.get(f"{sandbox.base_url}{ME}")
        gc.session.get(f"{sandbox.base_url.replace('http:', 'https:')}{ME}")
        gc.session.get(f"http://127.0.0.1{ME}")
        gc.session.get(f"http://127.0.0.1:80{ME}")
    assert ["Authorization" in sent.headers for sent in wire.sent] == [True, False, False, False]


@pytest.mark.parametrize("path", ["//example.org/api/v2/users", "///api/v2/users"])
def test_two_slashes_are_no_path(gc, sandbox: Sandbox, path: str):
    """`//host/path` is an address without a scheme, not a path of the platform API: nothing is sent."""
    before = len(sandbox.calls)
    with pytest.raises((gct.GCTokensError, ValueError)):
        gc.session.get(path)
    assert len(sandbox.calls) == before


# What goes along


def test_the_settings_of_the_session_go_with_every_request(real, wire: Wire):
    """Certificates and verification are those of the session, for the calls of the toolkit as for one's own."""
    real.session.verify, real.session.cert = "/a/ca.pem", ("/a/client.pem", "/a/client.key")
    real.session.proxies = {"https": "http://proxy.example.org"}
    real.session.call("GET", ME)
    real.session.get(ME)
    for sent in wire.sent:
        assert (sent.verify, sent.cert) == ("/a/ca.pem", ("/a/client.pem", "/a/client.key"))
        assert dict(sent.proxies) == {"https": "http://proxy.example.org"}
        assert sent.stream


def test_no_word_on_verification_means_verified(real, wire: Wire):
    """`verify = None` is not `verify = False`."""
    real.session.verify = None
    real.session.call("GET", ME)
    assert [sent.verify for sent in wire.sent] == [True]


def test_a_call_says_that_it_speaks_json(gc, sandbox: Sandbox):
    """Calls and requests of one's own ask for JSON and send it."""
    gc.tokens.get_tokens_me()
    gc.session.get(ME)
    for call in sandbox.calls[-2:]:
        assert (call.headers["Accept"], call.headers["Content-Type"]) == ("application/json",) * 2


@pytest.mark.parametrize(
    ("preserve", "query"), [(None, ""), (True, "preserveIdleTTL=true"), (False, "preserveIdleTTL=false")]
)
def test_the_idle_timer_is_left_alone_where_asked(gc, sandbox: Sandbox, preserve: bool | None, query: str):
    """`preserve_idle_ttl` goes out under the SDK's name, in JSON's spelling, and not at all unless given."""
    gc.tokens.get_tokens_me(preserve_idle_ttl=preserve)
    assert sandbox.calls[-1].query == query


def test_each_call_is_the_one_it_is_called(gc, sandbox: Sandbox):
    """Method and path of each call of the Tokens API, in the order of the module."""
    before = len(sandbox.calls)
    gc.tokens.get_tokens_me()
    gc.tokens.head_tokens_me()
    gc.tokens.put_tokens_timeout(gc.tokens.get_tokens_timeout())
    gc.tokens.delete_token(sandbox.users[5].id.upper())
    gc.tokens.delete_tokens_me(verify=True)
    assert [(call.method, call.path) for call in sandbox.calls[before:]] == [
        ("GET", ME),
        ("HEAD", ME),
        ("GET", TIMEOUT),
        ("PUT", TIMEOUT),
        ("DELETE", f"/api/v2/tokens/{sandbox.users[5].id}"),
        ("DELETE", ME),
        ("HEAD", ME),
    ]


# How often


def test_one_call_may_have_attempts_of_its_own(gc, sandbox: Sandbox):
    """`attempts=` counts before the policy, for a method that is otherwise never repeated, too."""
    fault = sandbox.add_fault(Fault("status", path=ME, status=503))
    for method, attempts in (("GET", 1), ("GET", 2), ("POST", 3)):
        fault.strikes = 0
        with pytest.raises(ServerError) as caught:
            gc.session.call(method, ME, attempts=attempts)
        assert (fault.strikes, caught.value.attempts) == (attempts, attempts)


def test_options_is_repeated_too(gc, sandbox: Sandbox):
    """OPTIONS is idempotent by RFC 9110, as the other four are."""
    fault = sandbox.add_fault(Fault("status", path=ME, status=503, times=1))
    with pytest.raises(gct.ApiError) as caught:
        gc.session.options(ME)
    assert fault.strikes == 1
    assert caught.value.status != 503


def test_a_body_of_text_or_bytes_is_sent_again(gc, sandbox: Sandbox):
    """A PUT whose body is text or bytes is repeated with it."""
    for body in ('{"idleTokenTimeoutSeconds": 600}', b'{"idleTokenTimeoutSeconds": 900}'):
        sandbox.add_fault(Fault("status", path=TIMEOUT, method="PUT", status=503, times=1))
        assert gc.session.put(TIMEOUT, data=body).json()["idleTokenTimeoutSeconds"] in {600, 900}


@pytest.mark.parametrize("status", [300, 304, 399])
def test_nothing_beyond_299_is_success(gc, sandbox: Sandbox, status: int):
    """Each status from 300 on is raised by a call, the first of them included."""
    sandbox.add_fault(Fault("status", path=ME, status=status, body=""))
    for call in (gc.tokens.get_tokens_me, gc.tokens.head_tokens_me, gc.tokens.delete_tokens_me):
        with pytest.raises(gct.ApiError) as caught:
            call()
        assert (caught.value.status, caught.value.attempts) == (status, 1)
    assert gc.tokens is not None
    with pytest.raises(gct.ApiError):
        gc.session.call("GET", ME)


def test_status_400_is_the_first_that_a_session_raises(gc, sandbox: Sandbox):
    """A session gives 399 back, as requests does, and raises 400."""
    fault = sandbox.add_fault(Fault("status", path=ME, status=399, body=""))
    assert gc.session.get(ME).status_code == 399
    fault.status = 400
    with pytest.raises(gct.ApiError):
        gc.session.get(ME)


# The waits


def waits(sandbox: Sandbox, sign_in: Any, fault: Fault, **policy: Any) -> list[gct.Wait]:
    """The waits of a call that meets the fault."""
    heard: list[gct.Wait] = []
    gc = sign_in(retry=gct.RetryPolicy(**policy), on_wait=heard.append)
    sandbox.add_fault(fault)
    gc.tokens.get_tokens_me()
    return heard


def test_what_the_server_asks_for_is_exceeded_at_random(sandbox: Sandbox, sign_in):
    """Clients that got the same Retry-After do not all return in the same instant, nor before it is over."""
    fault = Fault("status", path=ME, status=503, times=3, headers={"Retry-After": "0.01"})
    heard = [wait.seconds for wait in waits(sandbox, sign_in, fault, backoff_seconds=0)]
    assert len(set(heard)) == 3
    assert all(0.01 <= seconds <= 0.111 for seconds in heard)


def test_a_wait_as_long_as_allowed_is_waited(sandbox: Sandbox, sign_in, monkeypatch: pytest.MonkeyPatch):
    """The longest wait is itself allowed."""
    monkeypatch.setattr(random, "uniform", lambda low, _: low)
    fault = Fault("status", path=ME, status=429, times=1, headers={"Retry-After": "0.25"})
    (wait,) = waits(sandbox, sign_in, fault, backoff_seconds=0, longest_wait_seconds=0.25)
    assert wait.seconds == pytest.approx(0.25)


def test_each_wait_says_why(sandbox: Sandbox, sign_in):
    """The reason is that of the attempt that failed: a status, the rate limit, the connection."""
    reasons = []
    for fault in (
        Fault("status", path=ME, status=503, times=1),
        Fault("status", path=ME, status=429, times=1, seconds=0),
        Fault("drop-before", path=ME, times=1),
    ):
        (wait,) = waits(sandbox, sign_in, fault, backoff_seconds=0.001)
        reasons.append(wait.reason)
        assert (wait.method, wait.path, wait.attempt) == ("GET", ME, 1)
    assert reasons == ["status 503", "the rate limit", "the connection was dropped"]


def test_a_cancelled_call_says_how_far_it_got(sandbox: Sandbox, gc):
    """Cancelled before it was sent, or after which attempt: in both cases it says what to do."""
    event = gct.Cancel()
    sandbox.add_fault(Fault("status", path=ME, status=503))
    heard: list[gct.Wait] = []

    def stop(wait: gct.Wait) -> None:
        heard.append(wait)
        if len(heard) == 2:
            event.set()

    with gct.watch_waits(stop, cancel=event):
        with pytest.raises(
            CancelledError, match=rf"^GET {ME} was cancelled after 2 attempt\(s\)\. The last one failed: "
        ) as caught:
            gc.session.get(ME, params={"secret": "in-the-query"})
        assert caught.value.next_step.startswith("Repeat it when you are ready.")
        assert "in-the-query" not in str(caught.value)
        with pytest.raises(CancelledError, match=rf"^GET {ME} was cancelled before it was sent\.") as caught:
            gc.session.get(ME, params={"secret": "in-the-query"})
        assert caught.value.next_step.startswith("Repeat it when you are ready.")
    assert [call.status for call in sandbox.calls if call.path == ME] == [503, 503]


# What is told


def test_each_answer_is_told(sandbox: Sandbox, gc):
    """`on_answer` hears of each answer of a call, those that are repeated included."""
    sandbox.add_fault(Fault("status", path=ME, status=503, times=1))
    heard: list[tuple[int, bool]] = []
    with gct.watch_waits(on_answer=lambda answer: heard.append((answer.status_code, bool(answer.headers)))):
        gc.tokens.get_tokens_me()
    assert heard == [(503, True), (200, True)]


def test_the_log_has_a_line_for_each_answer(sandbox: Sandbox, gc, caplog: pytest.LogCaptureFixture):
    """At DEBUG: method, path without its query, status, time, and the correlation id of the answer."""
    with caplog.at_level(logging.DEBUG, "gctokens_nb"):
        response = gc.session.get(ME, params={"preserveIdleTTL": "true"})
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("GET")]
    begin, _, rest = line.partition(" in ")
    milliseconds, _, correlation_id = rest.partition(" ms, correlation id ")
    assert begin == f"GET {ME} -> 200"
    assert 0 <= int(milliseconds) < 60_000
    assert correlation_id == response.headers["ININ-Correlation-Id"]


def test_the_log_says_where_there_is_no_correlation_id(listener, caplog: pytest.LogCaptureFixture):
    """An answer without one is `none`."""
    with (
        gct.connect(listener.url, access_token="pasted") as gc,
        caplog.at_level(logging.DEBUG, "gctokens_nb"),
    ):
        gc.session.get("/somewhere")
    assert caplog.messages[-1].endswith(" ms, correlation id none")


def test_an_answer_that_is_none_says_all_that_is_known(sandbox: Sandbox, gc):
    """The error of a success that is none carries the request, the status, the body and the correlation id."""
    sandbox.add_fault(Fault("status", path=ME, status=200, body="[1]"))
    with pytest.raises(InvalidAnswerError) as caught:
        gc.tokens.get_tokens_me(preserve_idle_ttl=True)
    error = caught.value
    assert (error.method, error.status, error.body) == ("GET", 200, b"[1]")
    assert error.url == f"{sandbox.base_url}{ME}"
    assert error.correlation_id
    assert f"Correlation id for Genesys support: {error.correlation_id}." in str(error)
    assert f"GET {ME} was answered with 200, but the body is not a TokenInfo" in str(error)
    assert "this is not taken for success." in str(error)
    assert "Check the region, the proxy and the network's log-in page, then repeat it." in str(error)


def test_no_correlation_id_is_not_told(sandbox: Sandbox, gc):
    """Where there is none, the error does not speak of it."""
    sandbox.add_fault(Fault("status", path=ME, status=200, body="[1]", headers={"ININ-Correlation-Id": ""}))
    with pytest.raises(InvalidAnswerError) as caught:
        gc.tokens.get_tokens_me()
    assert caught.value.correlation_id == ""
    assert "Correlation id" not in str(caught.value)


def test_a_token_that_the_server_repeats_is_masked(sandbox: Sandbox, sign_in):
    """A refusal that quotes the access token does not get it into our error."""
    token = sandbox.issue_token()
    gc = sign_in(access_token=token)
    sandbox.add_fault(
        Fault(
            "status",
            path=ME,
            status=404,
            body=msgspec.json.encode({"code": "no", "message": f"bad {token}!"}).decode(),
        )
    )
    for call in (gc.tokens.get_tokens_me, lambda: gc.session.get(ME)):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert token not in f"{caught.value!r}{caught.value}{caught.value.message}"
        assert "bad …!" in str(caught.value)


def test_what_a_refusal_says_arrives(sandbox: Sandbox, gc):
    """Status, code, message, method, path, attempts and the wait that the server asks for."""
    sandbox.add_fault(Fault("status", path=ME, status=429, headers={"Retry-After": "61"}))
    gc.session.retry = gct.RetryPolicy(longest_wait_seconds=60)
    with pytest.raises(RateLimitedError, match=rf"GET {ME}") as caught:
        gc.session.get(ME, params={"secret": "in-the-query"})
    error = caught.value
    assert (error.status, error.attempts, error.retry_after_seconds) == (
        http.HTTPStatus.TOO_MANY_REQUESTS,
        1,
        61,
    )
    assert "in-the-query" not in f"{error!r}{error}"


# The token's end


@pytest.mark.parametrize(
    ("lifetime", "alive", "over"), [(100, 89.9, 90), (20, 9.9, 10), (10, 4.9, 5), (1, 0.4, 0.5), (0, None, 0)]
)
def test_a_token_is_over_a_little_before_its_end(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, lifetime: float, alive: float | None, over: float
):
    """Ten seconds early, as it may die on the way; one that lives for less than twenty, at half of its life."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(oauth, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    sandbox.add_fault(
        Fault(
            "status",
            path="/oauth/token",
            status=200,
            body=f'{{"access_token": "abc", "expires_in": {lifetime}}}',
        )
    )
    known = sandbox.client("admin")
    with gct.connect(sandbox.environment, client_id=known.client_id, client_secret=known.client_secret) as gc:
        token = gc.access_token
    assert token.expires_in_seconds == lifetime
    if alive is not None:
        now.seconds += alive
        assert not token.expired
    now.seconds = 1000.0 + over
    assert token.expired


def test_a_token_shows_what_it_is_and_never_itself(sandbox: Sandbox, sign_in):
    """Fingerprint, grant and end, by this machine's clock; where the end is not known, so it says."""
    token = sign_in().access_token
    assert token.expires_at is not None
    assert repr(token) == (
        f"<AccessToken {token.fingerprint} by client_credentials, until {token.expires_at:%Y-%m-%d %H:%M:%S} UTC>"
    )
    pasted = oauth.pasted(Secret("abcdefghij"))
    assert repr(pasted) == f"<AccessToken {pasted.fingerprint} by pasted, until an unknown time>"


@pytest.mark.parametrize("seconds", [300, 28800])
def test_the_ends_of_the_idle_timeout_are_allowed(gc, sandbox: Sandbox, seconds: int):
    """Five minutes and eight hours are themselves allowed."""
    body = {"idleTokenTimeoutSeconds": seconds, "enableIdleTokenTimeout": True}
    assert gc.tokens.put_tokens_timeout(body).idle_token_timeout_seconds == seconds


# A session as requests has it


def test_one_request_may_have_settings_of_its_own(real, wire: Wire):
    """`verify=`, `cert=`, `proxies=` and `timeout=` of one request count for that one."""
    real.session.get(
        ME, verify="/own.pem", cert="/own.crt", proxies={"https": "http://own.example.org"}, timeout=(1, 2)
    )
    real.session.get(ME)
    own, usual = wire.sent
    assert (own.verify, own.cert, dict(own.proxies)) == (
        "/own.pem",
        "/own.crt",
        {"https": "http://own.example.org"},
    )
    assert (own.timeout, usual.timeout) == ((1, 2), (10, 30))
    assert (usual.verify, usual.cert, dict(usual.proxies)) == (True, None, {})


def test_a_prepared_request_goes_with_the_settings_of_the_session(real, wire: Wire):
    """`session.send` without more uses what the session has."""
    real.session.proxies = {"https": "http://proxy.example.org"}
    real.session.verify, real.session.cert = "/a/ca.pem", "/a/client.pem"
    real.session.send(real.session.prepare_request(requests.Request("GET", ME)))
    (sent,) = wire.sent
    assert dict(sent.proxies) == {"https": "http://proxy.example.org"}
    assert (sent.verify, sent.cert) == ("/a/ca.pem", "/a/client.pem")


def test_a_session_may_stream_by_default(gc):
    """`session.stream = True` counts where a request does not say."""
    gc.session.stream = True
    with gc.session.get(ME) as response:
        assert not response._content_consumed
    assert gc.session.get(ME, stream=False)._content_consumed


def test_a_redirect_to_no_address_says_from_where(gc, sandbox: Sandbox):
    """The request that was redirected is named, without its query."""
    sandbox.add_fault(Fault("status", path=ME, status=302, body="", headers={"Location": "http://[::1/x"}))
    with pytest.raises(TransportError, match=rf"GET {ME}") as caught:
        gc.session.get(ME, params={"secret": "in-the-query"})
    assert (caught.value.method, caught.value.url) == ("GET", f"{sandbox.base_url}{ME}")
    assert caught.value.next_step
    assert "in-the-query" not in str(caught.value)


def test_a_redirect_in_circles_says_from_where(gc, sandbox: Sandbox):
    """The same where the redirects do not end."""
    sandbox.add_fault(
        Fault("status", path=ME, status=302, body="", headers={"Location": f"{ME}?secret=in-the-query"})
    )
    with pytest.raises(TransportError, match=rf"GET {ME} failed: TooManyRedirects\.") as caught:
        gc.session.get(ME, params={"mine": "in-the-query"})
    assert (caught.value.method, caught.value.url) == ("GET", f"{sandbox.base_url}{ME}")
    assert "in-the-query" not in str(caught.value)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))]
)
def test_a_copy_is_set_as_its_original(real, copied: Any):
    """Timeouts, policy, bounds, headers and certificates go along; the copy has a life of its own."""
    original = real.session
    original.timeout_seconds, original.retry, original.body_limit_bytes = (
        (1, 2, 3),
        gct.RetryPolicy(attempts=7),
        99,
    )
    original.headers["X-Mine"] = "1"
    original.cert, original.max_redirects = "/a/client.pem", 3
    copy_of_it = copied(original)
    assert copy_of_it.timeout_seconds == (1, 2, 3)
    assert (copy_of_it.retry.attempts, copy_of_it.body_limit_bytes) == (7, 99)
    assert copy_of_it.headers["X-Mine"] == "1"
    assert (copy_of_it.cert, copy_of_it.max_redirects, copy_of_it.trust_env) == ("/a/client.pem", 3, False)
    wire = Wire()
    copy_of_it.mount("https://", wire)
    copy_of_it.get(ME)
    assert wire.sent[0].headers["Authorization"] == "Bearer the-token"


class NearlyAnId:
    """Something else that reads like the id of a user."""

    def __str__(self) -> str:
        return "01234567-89ab-cdef-0123-456789abcdef"


def test_only_text_and_uuids_are_ids(gc, sandbox: Sandbox):
    """What merely reads like an id is none, and is named by its type."""
    before = len(sandbox.calls)
    with pytest.raises(InvalidUserIdError, match=r"^A NearlyAnId is not the id of a user; nothing was sent"):
        gc.tokens.delete_token(NearlyAnId())
    for length, shown in ((24, f"^'{'x' * 24}' is not"), (25, "^A text of 25 characters is not")):
        with pytest.raises(InvalidUserIdError, match=shown):
            gc.tokens.delete_token("x" * length)
    assert len(sandbox.calls) == before


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("api/v2/users?pageSize=3?", "/api/v2/users"),
        ("//example.org/x?y=1", "/example.org/x"),
        ("ftp/x", "/ftp/x"),
    ],
)
def test_what_was_meant_is_said(gc, given: str, meant: str):
    """An address without a scheme is refused with the path that it may have been meant to be, without its query."""
    with pytest.raises(ConfigurationError) as caught:
        gc.session.get(given)
    assert f"session.get('{meant}')" in caught.value.next_step
