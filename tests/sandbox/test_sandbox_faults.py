"""What goes wrong on request: each kind of fault, which requests it hits, and how often."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from gctokens_nb.sandbox import Fault, Sandbox


def test_status(ask, admin, sandbox):
    """A status comes in the platform's shape, and the thing is not done."""
    sandbox.add_fault(Fault("status", status=503))
    answer = ask("DELETE", "tokens/me", admin)
    assert answer.status_code == 503
    assert answer.json()["code"] == "service.unavailable"
    assert answer.json()["contextId"] == answer.headers["ININ-Correlation-Id"]
    assert sandbox.is_alive(admin)
    assert sandbox.calls[-1].status == 503


def test_status_429_says_when(ask, admin, sandbox):
    """429 carries Retry-After, one second unless told otherwise."""
    sandbox.add_fault(Fault("status", status=429, times=1))
    sandbox.add_fault(Fault("status", status=429, seconds=7))
    answers = [ask("GET", "tokens/me", admin) for _ in range(2)]
    assert [answer.headers["Retry-After"] for answer in answers] == ["1", "7"]
    assert [(error["code"], error["message"]) for error in (answer.json() for answer in answers)] == [
        (
            "too.many.requests.retry.after",
            f"Rate limit exceeded the maximum. Retry the request in [{seconds}] seconds",
        )
        for seconds in (1, 7)
    ]


@pytest.mark.parametrize(
    ("code", "status", "message", "params"),
    [
        (
            "too.many.requests",
            429,
            "Rate limit exceeded the maximum [300] requests within [60] seconds",
            {"limit": "300", "window": "60"},
        ),
        (
            "ip.not.authorized",
            401,
            "Requests originating from this IP address are not authorized: [192.0.2.1]",
            {"address": "192.0.2.1"},
        ),
        (
            "request.conflict",
            409,
            "The request conflicts with the current state of the target resource.",
            {},
        ),
    ],
)
def test_status_of_a_code(ask, admin, sandbox, code, status, message, params):
    """Each of the platform's error codes can be asked for, and has its own status and text."""
    sandbox.add_fault(Fault("status", code=code))
    answer = ask("GET", "tokens/me", admin)
    error = answer.json()
    assert (answer.status_code, error["status"], error["code"]) == (status, status, code)
    assert (error["message"], error["messageParams"]) == (message, params)
    assert ("Retry-After" in answer.headers) is (status == 429)


def test_status_with_body_and_headers(ask, admin, sandbox):
    """Body and headers can be given, an empty body included."""
    sandbox.add_fault(Fault("status", status=418, body="", headers={"Set-Cookie": "a=b"}))
    answer = ask("GET", "tokens/me", admin)
    assert (answer.status_code, answer.text, answer.headers["Set-Cookie"]) == (418, "", "a=b")


@pytest.mark.parametrize("kind", ["status", "html"])
@pytest.mark.parametrize("status", [204, 304])
def test_status_without_a_body(admin, sandbox, status, kind):
    """204 and 304 have no body, so that nothing of it is taken for the next answer."""
    sandbox.add_fault(Fault(kind, status=status, times=1))
    address = sandbox.base_url.removeprefix("http://").split(":")
    request = (
        f"GET /api/v2/tokens/me HTTP/1.1\r\nHost: {':'.join(address)}\r\nAuthorization: Bearer {admin}\r\n"
    )
    with socket.create_connection((address[0], int(address[1])), timeout=10) as connection:
        connection.sendall(f"{request}\r\n{request}Connection: close\r\n\r\n".encode())
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    first, _, second = answers.partition(b"\r\n\r\n")
    assert first.startswith(f"HTTP/1.1 {status} ".encode())
    assert second.startswith(b"HTTP/1.1 200 ")


def test_html(ask, admin, sandbox):
    """An HTML page comes instead, 502 unless told otherwise."""
    sandbox.add_fault(Fault("html", times=1))
    sandbox.add_fault(Fault("html", status=504))
    answers = [ask("DELETE", "tokens/me", admin) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [502, 504]
    assert answers[0].text.startswith("<html>")
    assert answers[0].headers["Content-Type"].startswith("text/html")
    assert sandbox.is_alive(admin)


def test_garbage(ask, admin, sandbox):
    """200 with a body that is no JSON."""
    sandbox.add_fault(Fault("garbage"))
    answer = ask("GET", "tokens/me", admin)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)


@pytest.mark.parametrize(("kind", "alive"), [("drop-before", True), ("drop-after", False)])
def test_drop(ask, admin, sandbox, kind, alive):
    """The connection ends without an answer, before or after the effect; the server's record knows."""
    sandbox.add_fault(Fault(kind, times=1))
    with pytest.raises(requests.ConnectionError):
        ask("DELETE", "tokens/me", admin)
    assert sandbox.is_alive(admin) is alive
    assert sandbox.calls[-1].status is None
    assert sandbox.calls[-1].authorized
    assert ask("HEAD", "tokens/me", admin).status_code == (204 if alive else 401)


def test_drop_after_is_in_the_record(ask, admin, sandbox):
    """A revocation whose answer was lost still counts."""
    sandbox.add_fault(Fault("drop-after", method="DELETE"))
    with pytest.raises(requests.ConnectionError):
        ask("DELETE", f"tokens/{sandbox.users[3].id}", admin)
    assert [revocation.user_id for revocation in sandbox.revocations] == [sandbox.users[3].id]


def test_truncate(admin, sandbox):
    """The body is shorter than the answer says."""
    sandbox.add_fault(Fault("truncate"))
    connection = http.client.HTTPConnection(sandbox.base_url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/api/v2/tokens/me", headers={"Authorization": f"Bearer {admin}"})
    answer = connection.getresponse()
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()


@pytest.mark.parametrize("method", ["DELETE", "HEAD"])
def test_truncate_without_a_body(ask, admin, sandbox, method):
    """An answer without a body ends within its first line, after the effect; the server's record knows."""
    sandbox.add_fault(Fault("truncate"))
    with pytest.raises(requests.ConnectionError, match="BadStatusLine"):
        ask(method, "tokens/me", admin)
    assert sandbox.is_alive(admin) is (method == "HEAD")
    assert [call.status for call in sandbox.calls] == [204 if method == "HEAD" else 200]


def test_truncate_head_of_an_error(ask, sandbox):
    """The body that HEAD leaves out does not come with truncation either."""
    sandbox.add_fault(Fault("truncate"))
    with pytest.raises(requests.ConnectionError, match="BadStatusLine"):
        ask("HEAD", "tokens/me")


def test_slow(ask, admin, sandbox):
    """A slow answer takes as long as told, and others do not wait for it."""
    sandbox.add_fault(Fault("slow", method="GET", seconds=0.3))
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        slow = pool.submit(ask, "GET", "tokens/me", admin)
        assert requests.head(f"{sandbox.base_url}/api/v2/tokens/me", timeout=10).status_code == 401
        assert slow.result().status_code == 200
        assert time.monotonic() - started >= 0.3


def test_latency(admin, http):
    """Latency is added to every request, side by side and not one after another."""
    together = threading.Barrier(8)

    def ask_at_once(url: str) -> tuple[float, float]:
        together.wait()
        started = time.monotonic()
        assert requests.get(url, timeout=60).status_code == 401
        return started, time.monotonic()

    with Sandbox(rate_limit=None, latency_seconds=1) as sandbox, ThreadPoolExecutor(8) as pool:
        times = list(pool.map(ask_at_once, [f"{sandbox.base_url}/api/v2/tokens/me"] * 8))
    assert all(end - start >= 1 for start, end in times)
    assert max(start for start, _ in times) < min(end for _, end in times), "all were on their way together"


def test_hold(ask, admin, sandbox):
    """A held request has no effect until it is released, and then goes on as usual."""
    fault = sandbox.add_fault(Fault("hold", method="DELETE"))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(ask, "DELETE", "tokens/me", admin)
        assert fault.wait_until_held(10) == 1
        assert sandbox.is_alive(admin)
        assert not held.done()
        fault.release()
        assert held.result(10).status_code == 200
    assert not sandbox.is_alive(admin)


def test_hold_that_nobody_reaches(sandbox):
    """Waiting for a request that does not come ends with TimeoutError."""
    with pytest.raises(TimeoutError, match="no request reached"):
        Fault("hold").wait_until_held(0.01)


def test_clearing_releases(ask, admin, sandbox):
    """Clearing the faults lets held requests go, and ends the others."""
    fault = sandbox.add_fault(Fault("hold"))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(ask, "GET", "tokens/me", admin)
        fault.wait_until_held(10)
        sandbox.clear_faults()
        assert held.result(10).status_code == 200
    assert ask("GET", "tokens/me", admin).status_code == 200


@pytest.mark.parametrize("kind", ["slow", "hold"])
def test_stop_waits_for_no_fault(kind):
    """The sandbox stops at once, whatever is slow or held; the client sees the connection end."""
    sandbox = Sandbox()
    sandbox.start()
    fault = sandbox.add_fault(Fault(kind, seconds=3600))
    url = f"{sandbox.base_url}/api/v2/tokens/me"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(requests.get, url, timeout=20)
        fault.wait_until_held(10)
        started = time.monotonic()
        sandbox.stop()
        assert time.monotonic() - started < 60
        assert isinstance(waiting.exception(10), requests.ConnectionError)
    fault.release()  # too late, and harmless


def test_a_client_that_hangs_up(ask, admin, sandbox):
    """A client that does not wait for its answer harms nothing: the thing is done, the server goes on."""
    fault = sandbox.add_fault(Fault("hold", method="DELETE"))
    with pytest.raises(requests.Timeout):
        requests.delete(
            f"{sandbox.base_url}/api/v2/tokens/me",
            headers={"Authorization": f"Bearer {admin}"},
            timeout=(10, 0.05),
        )
    fault.wait_until_held(10)
    fault.release()
    assert ask("GET", "users", sandbox.issue_token()).status_code == 200


def test_expire_token(ask, sandbox):
    """The token used expires just before the request; others live on."""
    one, other = sandbox.issue_token(), sandbox.issue_token()
    sandbox.add_fault(Fault("expire-token", after=1, times=1))
    codes = [ask("GET", "tokens/me", one).json().get("code") for _ in range(3)]
    assert codes == [None, "credentials.expired", "credentials.expired"]
    assert sandbox.is_alive(other)


def test_which_requests_and_how_often(ask, admin, sandbox):
    """Method, path, after and times choose the requests."""
    sandbox.add_fault(Fault("status", status=500, method="GET", path=r"tokens/(me|you)$", after=1, times=2))
    path = "tokens/me"
    assert [ask("GET", path, admin).status_code for _ in range(4)] == [200, 500, 500, 200]
    assert ask("HEAD", path, admin).status_code == 204
    assert ask("GET", "tokens/timeout", admin).status_code == 200


def test_probability_is_repeatable(ask, admin):
    """The same seed strikes the same requests, about as often as told."""

    def strikes(seed: int) -> list[bool]:
        fault = Fault("status", probability=0.3, seed=seed)
        return [fault.strikes_at("GET", "/") for _ in range(1000)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 250 < sum(strikes(1)) < 350


def test_the_first_fault_that_strikes_wins(ask, admin, sandbox):
    """Faults do not add up; the next one has its turn when the first is used up."""
    sandbox.add_fault(Fault("status", status=500, times=1))
    sandbox.add_fault(Fault("status", status=503, times=1))
    assert [ask("GET", "tokens/me", admin).status_code for _ in range(3)] == [500, 503, 200]


def test_the_login_host_has_faults_too(sandbox, http):
    """Faults hit the token endpoint as well."""
    sandbox.add_fault(Fault("status", status=503, path="^/oauth/token$"))
    assert http.post(f"{sandbox.base_url}/oauth/token", timeout=10).status_code == 503


def test_faults_from_the_start(http):
    """Faults can be there before the first request."""
    with Sandbox(faults=[Fault("html")]) as sandbox:
        assert http.get(sandbox.base_url, timeout=10).status_code == 502


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("explode", {}, "unknown kind of fault 'explode': choose one of drop-after, "),
        ("status", {"path": "("}, "is no regular expression"),
        ("status", {"code": "tea"}, "unknown error code 'tea': choose one of bad.request, "),
        *(("status", {"status": status}, f"200 to 599, not {status}") for status in (0, 99, 100, 199, 600)),
    ],
)
def test_faults_that_make_no_sense(kind, options, message):
    """An unknown kind, a broken path and a status that ends no request are refused, with what is wrong."""
    with pytest.raises(ValueError, match=message):
        Fault(kind, **options)


def test_faults_as_text():
    """The command line's form gives the same fault."""
    fault = Fault.from_text("status:status=429,times=3,method=GET,path=a:b,probability=0.5,seconds=2,after=1")
    assert (fault.kind, fault.status, fault.times, fault.method) == ("status", 429, 3, "GET")
    assert (fault.probability, fault.seconds, fault.after) == (0.5, 2.0, 1)
    assert Fault.from_text("html").status == 502
    fault = Fault.from_text("status:code=ip.not.authorized")
    assert (fault.status, fault.code) == (401, "ip.not.authorized")


@pytest.mark.parametrize("text", ["", "explode", "status:429", "status:color=red", "status:times=often"])
def test_faults_as_text_refused(text):
    """Text of another form is refused."""
    with pytest.raises(ValueError, match="fault"):
        Fault.from_text(text)
