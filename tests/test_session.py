"""The signed session: timeouts, retries and their waits, redirects, and where the token goes."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import requests
from requests.adapters import HTTPAdapter

import gctokens_nb as gct
from gctokens_nb.errors import (
    BadRequestError,
    CancelledError,
    ConfigurationError,
    ConnectionDroppedError,
    InvalidAnswerError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    TimedOutError,
    TransportError,
    UnauthorizedError,
)
from gctokens_nb.sandbox import Fault, Sandbox

ME = "/api/v2/tokens/me"
TIMEOUT = "/api/v2/tokens/timeout"


def statuses(sandbox: Sandbox, path: str = ME) -> list[int | None]:
    """The statuses of the calls of a path; None for one that was dropped."""
    return [call.status for call in sandbox.calls if call.path == path]


# A requests.Session that signs


def test_it_is_a_requests_session_that_signs(gc, sandbox: Sandbox):
    """`session.get` of a path asks the API host, signed, and gives requests' own Response."""
    response = gc.session.get("/api/v2/users", params={"pageSize": "3"})
    assert isinstance(gc.session, requests.Session)
    assert isinstance(response, requests.Response)
    assert len(response.json()["entities"]) == 3
    assert sandbox.calls[-1].authorized
    assert (sandbox.calls[-1].path, sandbox.calls[-1].query) == ("/api/v2/users", "pageSize=3")


def test_it_takes_a_full_address_of_the_api_host(gc, sandbox: Sandbox):
    """The full address of the API host is signed as a path is."""
    assert gc.session.get(f"{sandbox.base_url}{ME}").json()["organization"]


def test_another_host_gets_no_token(gc, listener):
    """A request to any other host goes out without the token."""
    assert gc.session.get(f"{listener.url}/somewhere").json() == {}
    (heard,) = listener.heard
    assert "Authorization" not in heard.headers
    assert gc.access_token.value not in str(heard)


def test_errors_of_the_session_are_typed(gc):
    """The session raises the typed error of a status: no `raise_for_status` is needed."""
    with pytest.raises(NotFoundError, match=r"not\.found"):
        gc.session.get("/api/v2/nothing")


def test_a_streamed_answer_is_not_read(gc):
    """`stream=True` leaves the body to the caller, and an error is typed all the same."""
    with gc.session.get(ME, stream=True) as response:
        assert not response._content_consumed
        assert b"organization" in b"".join(response.iter_content(64))
    with pytest.raises(NotFoundError, match=r"not\.found"):
        gc.session.get("/api/v2/nothing", stream=True)


def test_a_port_that_is_no_number_is_refused(gc):
    """An address that cannot be one is refused in words before anything is sent."""
    request = requests.Request("GET", "http://127.0.0.1/").prepare()
    request.url = "http://127.0.0.1:port/"
    with pytest.raises(ConfigurationError, match="host or port is malformed"):
        gc.session.send(request)


# Timeouts


class Recorder(HTTPAdapter):
    """An adapter that notes the timeout it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[Any] = []

    def send(self, *args: Any, timeout: Any = None, **kwargs: Any) -> requests.Response:
        """As in requests."""
        self.timeouts.append(timeout)
        return super().send(*args, timeout=timeout, **kwargs)


def test_default_timeouts(sandbox: Sandbox, sign_in):
    """Every request has a timeout: 10 s to connect and 30 s to read, unless told otherwise."""
    gc, hasty = sign_in(), sign_in(timeout_seconds=(3, 4))
    recorder = Recorder()
    for connection in (gc, hasty):
        connection.session.mount("http://", recorder)
        connection.tokens.get_tokens_me()
        connection.session.get(ME)
    gc.session.get(ME, timeout=7)
    assert recorder.timeouts == [(10, 30), (10, 30), (3, 4), (3, 4), (7, 7)]


def test_the_timeout_is_that_of_the_sign_in_too(sandbox: Sandbox, sign_in):
    """`connect(timeout_seconds=)` bounds the first request as well, which says where it waited."""
    held = sandbox.add_fault(Fault("hold", path="/oauth/token"))
    with pytest.raises(TimedOutError, match=r"127\.0\.0\.1 did not answer POST /oauth/token in time"):
        sign_in(timeout_seconds=(5, 0.1))
    assert held.wait_until_held() == 1
    held.release()


def test_headers_of_ones_own_go_with_every_call(listener):
    """What is set on `session.headers` between two calls goes with the next; what is removed does not."""
    with gct.connect(listener.url, access_token="pasted") as gc:
        gc.tokens.get_tokens_me()
        gc.session.headers["X-Proxy-Ticket"] = "7"
        gc.tokens.get_tokens_me()
        del gc.session.headers["X-Proxy-Ticket"]
        gc.tokens.get_tokens_me()
    assert [heard.headers.get("X-Proxy-Ticket") for heard in listener.heard] == [None, "7", None]


def test_a_slow_answer_is_a_timeout(sandbox: Sandbox, sign_in):
    """No answer in time is an error of its own that says what is unknown; it is not repeated."""
    gc = sign_in()
    gc.session.timeout_seconds = (5, 0.1)
    held = sandbox.add_fault(Fault("hold", path=ME))
    with pytest.raises(
        TimedOutError,
        match=rf"127\.0\.0\.1 did not answer DELETE {ME} in time\. Whether it took effect is unknown",
    ) as caught:
        gc.tokens.delete_tokens_me()
    assert (caught.value.method, caught.value.attempts) == ("DELETE", 1)
    assert caught.value.url == f"{sandbox.base_url}{ME}"
    assert "Repeat it" in caught.value.next_step
    assert held.wait_until_held() == 1
    held.release()


# Retries


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_passing_failure_is_repeated(gc, sandbox: Sandbox, status: int):
    """429, 502, 503 and 504 are repeated until the answer comes."""
    sandbox.add_fault(Fault("status", path=ME, status=status, times=2, seconds=0))
    assert gc.tokens.get_tokens_me().organization
    assert statuses(sandbox) == [status, status, 200]


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "truncate"])
def test_a_dropped_connection_is_repeated(gc, sandbox: Sandbox, kind: str):
    """A connection that ends before the answer is complete is no answer: the request is repeated."""
    sandbox.add_fault(Fault(kind, path=ME, times=2))
    assert gc.tokens.get_tokens_me().organization
    assert len(statuses(sandbox)) == 3


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_the_four_methods_are_repeated(gc, sandbox: Sandbox, method: str):
    """GET, HEAD, PUT and DELETE are repeated; the body of a PUT is sent again."""
    sandbox.add_fault(Fault("status", path="/api/v2/", status=503, times=1))
    path, json = (TIMEOUT, {"idleTokenTimeoutSeconds": 900}) if method == "PUT" else (ME, None)
    assert gc.session.request(method, path, json=json).ok
    assert [call.method for call in sandbox.calls[1:]] == [method, method]
    if method == "PUT":
        assert gc.tokens.get_tokens_timeout().idle_token_timeout_seconds == 900


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_other_methods_are_sent_once(gc, sandbox: Sandbox, method: str):
    """POST and PATCH are never repeated, as they may have taken effect."""
    sandbox.add_fault(Fault("status", path="/api/v2/", status=503))
    with pytest.raises(ServerError) as caught:
        gc.session.request(method, "/api/v2/users/search", json={})
    assert caught.value.attempts == 1
    assert len(sandbox.calls) == 2


def test_a_body_that_can_be_read_once_is_sent_once(gc, sandbox: Sandbox):
    """A PUT whose body is a stream is not repeated: the second time nothing would be left of it."""
    sandbox.add_fault(Fault("status", path=TIMEOUT, status=503))
    with pytest.raises(ServerError):
        gc.session.put(TIMEOUT, data=iter([b"{}"]))
    assert len(statuses(sandbox, TIMEOUT)) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_what_will_not_pass_is_not_repeated(gc, sandbox: Sandbox, status: int):
    """Any other status is raised at once."""
    sandbox.add_fault(Fault("status", path=ME, status=status))
    with pytest.raises(gct.ApiError) as caught:
        gc.tokens.get_tokens_me()
    assert caught.value.status == status
    assert statuses(sandbox) == [status]


def test_it_gives_up_with_the_error_of_the_api(gc, sandbox: Sandbox):
    """After the last attempt the API's own error is raised, with how often it was sent."""
    sandbox.add_fault(Fault("status", path=ME, status=503))
    with pytest.raises(ServerError, match=r"503 service\.unavailable.*It was sent 4 times\.") as caught:
        gc.tokens.get_tokens_me()
    assert caught.value.attempts == 4
    assert caught.value.correlation_id
    assert statuses(sandbox) == [503] * 4


def test_a_connection_that_keeps_dropping_is_given_up(gc, sandbox: Sandbox):
    """After the last attempt a dropped connection is an error of its own that says what is unknown."""
    sandbox.add_fault(Fault("drop-before", path=ME))
    with pytest.raises(
        ConnectionDroppedError,
        match=r"The connection to 127\.0\.0\.1 broke before GET .* It was sent 4 times\. Whether it took effect is unknown\.",
    ) as caught:
        gc.tokens.get_tokens_me()
    assert caught.value.attempts == 4
    assert caught.value.__cause__ is None


def test_the_policy_is_the_users(sandbox: Sandbox, sign_in):
    """`RetryPolicy(attempts=1)` sends once."""
    gc = sign_in(retry=gct.RetryPolicy(attempts=1))
    sandbox.add_fault(Fault("status", path=ME, status=503))
    with pytest.raises(ServerError):
        gc.tokens.get_tokens_me()
    assert statuses(sandbox) == [503]


# Waits


def waits_of(sandbox: Sandbox, sign_in, policy: gct.RetryPolicy, *faults: Fault) -> list[gct.Wait]:
    """The waits of one call that meets the faults."""
    waits: list[gct.Wait] = []
    gc = sign_in(retry=policy, on_wait=waits.append)
    for fault in faults:
        sandbox.add_fault(fault)
    gc.tokens.get_tokens_me()
    return waits


def test_retry_after_is_kept(sandbox: Sandbox, sign_in):
    """A 429 waits as long as Retry-After says, and a little more, so that not all return at once."""
    fault = Fault("status", path=ME, status=429, times=1, seconds=0.2)
    (wait,) = waits_of(sandbox, sign_in, gct.RetryPolicy(backoff_seconds=0), fault)
    assert 0.2 <= wait.seconds <= 0.3
    assert (wait.reason, wait.method, wait.path, wait.attempt) == ("the rate limit", "GET", ME, 1)


def test_the_reset_header_is_kept_without_retry_after(sandbox: Sandbox, sign_in):
    """A 429 without Retry-After waits until the rate-limit window resets."""
    headers = {"Retry-After": "", "inin-ratelimit-reset": "0.2"}
    fault = Fault("status", path=ME, status=429, times=1, headers=headers)
    (wait,) = waits_of(sandbox, sign_in, gct.RetryPolicy(backoff_seconds=0), fault)
    assert 0.2 <= wait.seconds <= 0.3


def test_retry_after_goes_before_the_reset_header(sandbox: Sandbox, sign_in):
    """Where both are there, Retry-After counts."""
    headers = {"inin-ratelimit-reset": "61"}
    fault = Fault("status", path=ME, status=429, times=1, seconds=0.1, headers=headers)
    (wait,) = waits_of(sandbox, sign_in, gct.RetryPolicy(backoff_seconds=0), fault)
    assert wait.seconds < 0.3


def test_a_retry_after_that_is_no_number_is_passed_over(sandbox: Sandbox, sign_in):
    """A negative number or nonsense in Retry-After falls back to the backoff; a date that is over waits for nothing."""
    faults = [
        Fault("status", path=ME, status=503, times=1, headers={"Retry-After": text})
        for text in ("Wed, 21 Oct 2015 07:28:00 GMT", "-5", "inf")
    ]
    waits = waits_of(sandbox, sign_in, gct.RetryPolicy(backoff_seconds=0.001), *faults)
    assert len(waits) == 3
    assert all(wait.seconds <= 0.2 for wait in waits)


def test_the_backoff_has_full_jitter(sandbox: Sandbox, sign_in):
    """Without a word of the server the waits are drawn at random, so that two clients do not wait alike."""
    policy = gct.RetryPolicy(attempts=6, backoff_seconds=0.004)
    waits = waits_of(sandbox, sign_in, policy, Fault("status", path=ME, status=502, times=5))
    assert [wait.attempt for wait in waits] == [1, 2, 3, 4, 5]
    assert all(0 <= wait.seconds <= 0.004 * 2**n for n, wait in enumerate(waits))
    assert len({wait.seconds for wait in waits}) == 5


def test_the_bound_of_the_backoff_doubles(sandbox: Sandbox, sign_in, monkeypatch: pytest.MonkeyPatch):
    """At its longest each wait is twice the one before."""
    monkeypatch.setattr(random, "uniform", lambda _, high: high)
    policy = gct.RetryPolicy(backoff_seconds=0.002)
    waits = waits_of(sandbox, sign_in, policy, Fault("status", path=ME, status=502, times=3))
    assert [wait.seconds for wait in waits] == [0.002, 0.004, 0.008]


def test_it_gives_up_once_retry_after_passes_the_limit(sandbox: Sandbox, sign_in):
    """A server that asks for a longer wait than allowed gets none: its own error is raised at once, and tells the wait."""
    gc = sign_in(retry=gct.RetryPolicy(longest_wait_seconds=30))
    sandbox.add_fault(Fault("status", path=ME, status=429, seconds=31))
    with pytest.raises(RateLimitedError, match="Wait 31 s, then try again") as caught:
        gc.tokens.get_tokens_me()
    assert (caught.value.retry_after_seconds, caught.value.attempts) == (31, 1)
    assert statuses(sandbox) == [429]


@pytest.mark.parametrize("status", [429, 502, 503, 504, 404])
@pytest.mark.parametrize("asked", ["1e20", "1000000", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_wait_is_longer_than_the_policy_allows(sandbox: Sandbox, sign_in, status: int, asked: str):
    """Whatever status asks for a longer wait, in seconds or until a date, is raised at once and says so."""
    waits: list[gct.Wait] = []
    gc = sign_in(retry=gct.RetryPolicy(longest_wait_seconds=5), on_wait=waits.append)
    sandbox.add_fault(Fault("status", path=ME, status=status, headers={"Retry-After": asked}))
    with pytest.raises(gct.ApiError, match=r"asks for a wait of .* s, longer than longest_wait_seconds=5"):
        gc.tokens.get_tokens_me()
    assert waits == []
    assert statuses(sandbox) == [status]


@pytest.mark.parametrize("asked", ["0", "-1", "nan", "soon"])
def test_no_wait_is_shorter_than_the_backoff(sandbox: Sandbox, sign_in, asked: str):
    """A server that asks for no wait at all, or for nonsense, is asked again no sooner than half the backoff."""
    fault = Fault("status", path=ME, status=429, times=3, headers={"Retry-After": asked})
    waits = waits_of(sandbox, sign_in, gct.RetryPolicy(backoff_seconds=0.02), fault)
    assert [wait.seconds >= least for wait, least in zip(waits, (0.01, 0.02, 0.04), strict=True)] == [
        True
    ] * 3


def test_the_backoff_is_bounded(sandbox: Sandbox, sign_in):
    """The backoff doubles up to the longest wait, and no further."""
    policy = gct.RetryPolicy(attempts=8, backoff_seconds=0.01, longest_wait_seconds=0.02)
    waits = waits_of(sandbox, sign_in, policy, Fault("status", path=ME, status=502, times=7))
    assert all(wait.seconds <= 0.02 for wait in waits)


@pytest.mark.parametrize(
    "values",
    [
        {"attempts": 0},
        {"attempts": True},
        {"attempts": 1.5},
        {"backoff_seconds": -1},
        {"backoff_seconds": float("nan")},
        {"longest_wait_seconds": float("inf")},
        {"longest_wait_seconds": "9"},
    ],
)
def test_a_policy_that_is_none_is_refused(values):
    """The numbers of a RetryPolicy are checked when it is made."""
    with pytest.raises(ConfigurationError, match="is not possible"):
        gct.RetryPolicy(**values)


def test_the_rate_limit_of_the_server_is_told_in_full(sign_in):
    """What the platform says at its limit arrives: code, message and how long to wait."""
    with Sandbox(rate_limit=2) as strict:
        gc = sign_in(server=strict, retry=gct.RetryPolicy(longest_wait_seconds=1))
        gc.tokens.get_tokens_me()
        gc.tokens.get_tokens_me()
        with pytest.raises(
            RateLimitedError, match=r"Rate limit exceeded the maximum\. Retry the request in \[\d+\] seconds"
        ) as caught:
            gc.tokens.get_tokens_me()
    assert caught.value.code == "too.many.requests.retry.after"
    assert caught.value.retry_after_seconds
    assert 50 < caught.value.retry_after_seconds <= 60


def test_waits_are_visible(sandbox: Sandbox, sign_in, caplog: pytest.LogCaptureFixture):
    """Each wait is told to the connection's callback, to `watch_waits`, and to the log, before it begins."""
    mine: list[gct.Wait] = []
    watched: list[gct.Wait] = []
    gc = sign_in(on_wait=mine.append)
    sandbox.add_fault(Fault("status", path=ME, status=429, times=1, seconds=0.05))
    with caplog.at_level(logging.WARNING, "gctokens_nb"), gct.watch_waits(watched.append):
        gc.tokens.get_tokens_me()
    assert mine == watched
    assert len(mine) == 1
    assert f"(the rate limit), then GET {ME} again" in caplog.text
    assert str(mine[0]) in caplog.text


def test_watching_ends_with_its_block(sandbox: Sandbox, gc):
    """Outside `watch_waits` its callback is not called any more."""
    watched: list[gct.Wait] = []
    with gct.watch_waits(watched.append):
        pass
    sandbox.add_fault(Fault("status", path=ME, status=503, times=1))
    gc.tokens.get_tokens_me()
    assert watched == []


def test_a_wait_can_be_cancelled(sandbox: Sandbox, gc):
    """A set event ends the wait at once: the call raises, says what failed before, and sends nothing more."""
    sandbox.add_fault(Fault("status", path=ME, status=429, seconds=60))
    cancel = threading.Event()
    started = time.monotonic()
    with (
        gct.watch_waits(lambda _: cancel.set(), cancel=cancel),
        pytest.raises(
            CancelledError, match=rf"GET {ME} was cancelled after 1 attempt.*failed: .*429"
        ) as caught,
    ):
        gc.tokens.get_tokens_me()
    assert time.monotonic() - started < 30
    assert caught.value.next_step
    assert statuses(sandbox) == [429]


def test_a_wait_can_be_cancelled_from_another_thread(sandbox: Sandbox, gc):
    """Another thread, such as that of a button, ends the wait."""
    sandbox.add_fault(Fault("status", path=ME, status=429, seconds=60))
    cancel, waiting = threading.Event(), threading.Event()

    def call() -> None:
        with gct.watch_waits(lambda _: waiting.set(), cancel=cancel), pytest.raises(CancelledError):
            gc.tokens.get_tokens_me()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(call)
        assert waiting.wait(10)
        cancel.set()
        done.result(timeout=10)


def test_nothing_is_sent_once_cancelled(sandbox: Sandbox, gc):
    """A call made under an event that is set already sends nothing."""
    cancel = threading.Event()
    cancel.set()
    with gct.watch_waits(cancel=cancel), pytest.raises(CancelledError, match="cancelled before it was sent"):
        gc.tokens.delete_tokens_me()
    assert statuses(sandbox) == []


# Redirects


def test_a_redirect_to_another_host_carries_no_token(sandbox: Sandbox, gc, listener):
    """The token does not follow a redirect off the API host."""
    sandbox.add_fault(
        Fault("status", path=ME, status=302, body="", headers={"Location": f"{listener.url}/next"})
    )
    assert gc.session.get(ME).json() == {}
    (heard,) = listener.heard
    assert heard.path == "/next"
    assert "Authorization" not in heard.headers
    assert gc.access_token.value not in str(heard)


def test_a_header_of_the_users_own_does_not_follow_either(sandbox: Sandbox, gc, listener):
    """An Authorization header that the user wrote is dropped on a redirect, too."""
    sandbox.add_fault(
        Fault("status", path=ME, status=307, body="", headers={"Location": f"{listener.url}/next"})
    )
    gc.session.get(ME, headers={"Authorization": "Bearer mine"})
    assert "Authorization" not in listener.heard[0].headers


def test_a_redirect_within_the_api_host_is_signed(sandbox: Sandbox, gc):
    """A redirect that stays on the API host goes on signed."""
    sandbox.add_fault(Fault("status", path="/old", status=302, body="", headers={"Location": ME}))
    response = gc.session.get("/api/v2/old")
    assert response.json()["organization"]
    assert [one.status_code for one in response.history] == [302]


def test_the_same_host_at_another_port_is_another_host(sandbox: Sandbox, gc):
    """Scheme and port belong to the API host: another port gets no token."""
    with Sandbox() as other:
        sandbox.add_fault(
            Fault("status", path=ME, status=302, body="", headers={"Location": f"{other.base_url}{ME}"})
        )
        with pytest.raises(UnauthorizedError, match=r"authentication\.required"):
            gc.session.get(ME)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_six_calls_take_no_redirect_for_an_answer(sandbox: Sandbox, gc, listener, status: int):
    """A call of the Tokens API that is redirected raises; it neither follows nor reports success."""
    sandbox.add_fault(
        Fault(
            "status", path=ME, status=status, body="", headers={"Location": f"{listener.url}/portal?secret=1"}
        )
    )
    with pytest.raises(
        gct.ApiError, match=rf"with {status}, a redirect to {listener.url}/portal\."
    ) as caught:
        gc.tokens.delete_tokens_me()
    assert "does not redirect" in caught.value.next_step
    assert listener.heard == []


def test_endless_redirects_are_an_error_of_ours(sandbox: Sandbox, gc):
    """A redirect in circles is a TransportError, not requests' own."""
    sandbox.add_fault(Fault("status", path=ME, status=302, body="", headers={"Location": ME}))
    with pytest.raises(TransportError, match="TooManyRedirects"):
        gc.session.get(ME)


# The environment


def test_proxies_are_read_once(sandbox: Sandbox, listener, monkeypatch: pytest.MonkeyPatch):
    """The proxies of the environment count when the connection is made, and are looked at no more."""
    monkeypatch.setenv("HTTPS_PROXY", listener.url)
    with gct.connect("mypurecloud.de", access_token="abc", retry=gct.RetryPolicy(attempts=1)) as gc:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        with pytest.raises(TransportError):
            gc.tokens.get_tokens_me()
    (heard,) = listener.heard
    assert (heard.method, heard.path) == ("CONNECT", "api.mypurecloud.de:443")
    assert "abc" not in str(heard)


def test_this_machine_is_never_reached_through_a_proxy(
    sandbox: Sandbox, sign_in, listener, monkeypatch: pytest.MonkeyPatch
):
    """A sandbox or local gateway is spoken to directly, whatever proxies the environment names."""
    monkeypatch.setenv("HTTP_PROXY", listener.url)
    monkeypatch.setenv("ALL_PROXY", listener.url)
    assert sign_in().tokens.get_tokens_me().organization
    assert listener.heard == []


def test_netrc_does_not_replace_the_token(sandbox: Sandbox, sign_in, clean_environment):
    """An entry for the host in ~/.netrc, which requests would put in place of the token, does not count."""
    netrc = clean_environment / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    gc = sign_in()
    assert gc.tokens.get_tokens_me().organization
    assert gc.session.get(ME).ok


# Answers


def test_an_html_page_is_no_success(sandbox: Sandbox, gc):
    """The log-in page of a network that answers 200 is not taken for success, not even of a revocation."""
    sandbox.add_fault(Fault("html", path="/tokens/", status=200))
    user_id = sandbox.users[3].id
    with pytest.raises(
        InvalidAnswerError,
        match=r"answered with 200, but the body is an HTML page: this is not taken for success",
    ) as caught:
        gc.tokens.delete_token(user_id)
    assert (caught.value.status, caught.value.method) == (200, "DELETE")
    assert caught.value.correlation_id in str(caught.value)
    assert sandbox.revocations == ()


def test_an_error_body_that_breaks_off_keeps_its_status(sandbox: Sandbox, gc):
    """A truncated error answer is still the error of its status."""
    sandbox.add_fault(Fault("truncate", path="/search"))
    with pytest.raises(BadRequestError) as caught:
        gc.session.post("/api/v2/users/search", json={})
    assert caught.value.status == 400


def test_many_different_paths_work(sandbox: Sandbox, gc):
    """What is remembered of repeated requests is bounded, and forgetting it breaks nothing."""
    for user in sandbox.users[:70]:
        gc.session.call("GET", f"{ME}?n={user.id}")
    assert gc.tokens.get_tokens_me().organization


def test_threads_share_a_session(sandbox: Sandbox, gc):
    """Many threads may use one connection at once."""
    sandbox_calls = len(sandbox.calls)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: gc.tokens.get_tokens_me().organization, range(64)))
    assert all(found)
    assert len(sandbox.calls) == sandbox_calls + 64


def open_connections(sandbox: Sandbox) -> int:
    """How many sockets of this process lead to the sandbox's port."""
    port = int(sandbox.base_url.rpartition(":")[2])
    return sum(
        1
        for one in psutil.net_connections("tcp")
        if one.pid == os.getpid() and one.raddr and one.raddr.port == port and one.status == "ESTABLISHED"
    )


def test_one_connection_is_kept_and_close_ends_it(sandbox: Sandbox, gc):
    """Calls one after another share one connection, and `close()` ends it."""
    gc.tokens.get_tokens_me()
    gc.tokens.head_tokens_me()
    gc.session.get(ME)
    assert open_connections(sandbox) == 1
    gc.session.close()
    assert open_connections(sandbox) == 0


def test_a_session_works_after_close(gc):
    """As in requests, `close()` ends the pooled connections; the next call opens a new one."""
    gc.tokens.get_tokens_me()
    gc.session.close()
    assert gc.tokens.get_tokens_me().organization
