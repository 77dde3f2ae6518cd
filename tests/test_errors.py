"""One tree of errors, what each carries, and the ways a host can fail to answer."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

import gctokens_nb as gct
from gctokens_nb import errors
from gctokens_nb.errors import (
    ApiError,
    BadRequestError,
    CertificateError,
    ConfigurationError,
    GCTokensError,
    HostUnreachableError,
    LoginError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    TimedOutError,
    TransportError,
    UnauthorizedError,
    api_error,
)
from gctokens_nb.regions import gateway
from gctokens_nb.sandbox import Fault, Sandbox

ME = "/api/v2/tokens/me"
TEN_YEARS = 10 * 365 * 86400
KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GCTokensError)]
ONCE = gct.RetryPolicy(attempts=1)


def error_of(status: int, body: bytes = b"", **headers: str) -> ApiError:
    """The error that an answer becomes."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return api_error(status=status, headers=CaseInsensitiveDict(names), body=body, method="GET", path=ME)


# The tree


def test_one_tree():
    """Every error of the package comes from GCTokensError, is exported, and says in a docstring what it means."""
    assert all(kind.__doc__ and kind.__name__ in errors.__all__ for kind in KINDS)
    parents = {kind.__name__: kind.__base__.__name__ for kind in KINDS}
    drawn = {
        line.split("── ")[1].split()[0]: line.index("──")
        for line in (errors.__doc__ or "").splitlines()
        if "──" in line
    }
    assert set(drawn) == set(parents) - {"GCTokensError"}
    assert {name for name, depth in drawn.items() if parents[name] == "GCTokensError"} == {
        name for name, depth in drawn.items() if depth == min(drawn.values())
    }


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_pickling(kind: type[GCTokensError]):
    """Every error arrives whole in another process: type, words and facts; a copy is equal, too."""
    error = kind("What happened.", "What to do.", status=503, correlation_id="abc", attempts=3)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == "What happened. What to do."
        assert vars(twin) == vars(error)


def test_a_real_error_survives_pickling(gc):
    """An error of a real call keeps its fields over pickling."""
    with pytest.raises(NotFoundError) as caught:
        gc.session.get("/api/v2/nothing")
    twin = pickle.loads(pickle.dumps(caught.value))
    assert vars(twin) == vars(caught.value)
    assert str(twin) == str(caught.value)


def test_refusals_are_value_errors():
    """What is refused before anything is sent can be caught as a ValueError as well."""
    with pytest.raises(ValueError, match="no Genesys Cloud region"):
        gct.regions.resolve("nowhere")


# Of the platform API


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (400, BadRequestError, "Check what was sent against the server's message."),
        (401, UnauthorizedError, "Sign in again."),
        (403, PermissionDeniedError, "Ask an administrator for the permission"),
        (404, NotFoundError, "Check the id, and that it belongs to the organization you are signed in to."),
        (408, ApiError, "look whether it took effect before you repeat it"),
        (409, errors.ConflictError, "Read it again, then repeat the change"),
        (413, BadRequestError, "Send less at once."),
        (415, BadRequestError, "Check what was sent"),
        (418, ApiError, "Check what was sent"),
        (429, RateLimitedError, "Wait a minute, then try again"),
        (500, ServerError, "Try again in a few minutes."),
        (503, ServerError, "Try again in a few minutes."),
        (599, ServerError, "Try again in a few minutes."),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[ApiError], advice: str):
    """A status becomes its error, with one sentence of what to do next."""
    error = error_of(status)
    assert type(error) is kind
    assert error.status == status
    assert advice in error.next_step


def test_all_fields_of_the_error_body_are_kept():
    """Status, code, message, context id, correlation id and the whole body are attributes of the error."""
    body = {
        "message": "Invalid id.",
        "code": "invalid.id",
        "status": 400,
        "contextId": "context-1",
        "details": [{"errorCode": "invalid.id", "fieldName": "userId"}],
        "limit": {"key": "k", "namespace": "n", "value": 1},
    }
    error = error_of(400, json.dumps(body).encode(), inin_correlation_id="correlation-1")
    assert (error.code, error.message, error.context_id) == ("invalid.id", "Invalid id.", "context-1")
    assert (error.correlation_id, error.method, error.path) == ("correlation-1", "GET", ME)
    assert error.body == body
    assert str(error) == (
        "Genesys Cloud could not use what was sent. Check what was sent against the server's message. "
        f"GET {ME} was answered with 400 invalid.id: Invalid id. "
        "Correlation id for Genesys support: correlation-1."
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b"<html><body>502 Bad Gateway</body></html>",
            "a body that is not the platform's (text/html, 41 bytes)",
        ),
        (b"", "was answered with 502."),
        (b'{"message": "Unava', "a body that is not the platform's (text/html, 18 bytes)"),
        (b"[1, 2]", "a body that is not the platform's"),
        (b'{"message": 5, "code": null}', "a body that is not the platform's"),
        (b"\xff\xfe\x00", "a body that is not the platform's"),
        (b'{"a":' * 100_000, "a body that is not the platform's"),
    ],
    ids=["html", "empty", "truncated", "list", "other types", "no text", "nested without end"],
)
def test_any_body_still_gives_the_status(body: bytes, said: str):
    """HTML, empty, truncated and odd bodies never hide the status."""
    error = error_of(502, body, content_type="text/html; charset=utf-8")
    assert type(error) is ServerError
    assert error.status == 502
    assert said in str(error)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["message", "code", "contextId", "messageParams", "status"])


@given(
    status=st.integers(300, 599),
    body=st.binary(max_size=200)
    | st.dictionaries(FIELDS, ANYTHING).map(lambda fields: json.dumps(fields).encode()),
    content=st.text(max_size=20),
    wait=st.text() | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(str),
)
def test_making_an_error_never_fails(status: int, body: bytes, content: str, wait: str):
    """Whatever a proxy answers, it becomes an ApiError of that status, with a wait that is a finite number or None."""
    error = error_of(status, body, content_type=content, location=content, retry_after=wait, date=wait)
    assert error.status == status
    assert str(status) in str(error)
    seconds = error.retry_after_seconds
    assert seconds is None or 0 <= seconds <= TEN_YEARS


@pytest.mark.parametrize("field", ["message", "code", "contextId", "messageParams"])
def test_what_a_server_may_put_into_an_error_is_bounded(field: str):
    """A text of megabytes, or with control characters in it, leaves a short error on one line."""
    flood = "oauth:token:delete \x1b[2J\n " * 100_000
    fields = {
        "message": "m",
        field: {f"p{n}": f"a:b:c{n} {flood[:99_000]}" for n in range(99)}
        if field == "messageParams"
        else flood,
    }
    error = error_of(403, json.dumps(fields).encode())
    assert len(str(error)) < 2500
    assert str(error).isprintable()
    assert len(error.message) <= 500 >= len(error.code) * 5
    assert len(error.missing_permissions) <= 20


def test_headers_in_an_error_are_bounded():
    """A correlation id, a Location and a Content-Type without end are cut as well."""
    flood = "x" * 100_000
    error = error_of(302, b"<p>", inin_correlation_id=flood, location=flood, content_type=flood)
    assert len(str(error)) < 1000


def test_a_secret_in_other_letters_is_masked():
    """JSON can write a letter in more than one way: a secret is found in all of them, in texts and in names."""
    body = b'{"message": "bad s\\u0065cret", "details": [{"s\\u0065cret": "s\\u0065cret"}]}'
    error = api_error(
        status=400,
        headers={},
        body=body,
        method="GET",
        path=ME,
        hide=lambda text: text.replace("secret", "…"),
    )
    assert "secret" not in repr(vars(error))


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "", '{"message": "The serv'])
def test_a_broken_body_over_the_wire(gc, sandbox: Sandbox, body: str):
    """The same over a real socket, with the correlation id from the headers."""
    sandbox.add_fault(Fault("status", path=ME, status=500, body=body))
    with pytest.raises(ServerError) as caught:
        gc.tokens.get_tokens_me()
    assert caught.value.status == 500
    assert caught.value.correlation_id


@pytest.mark.parametrize(
    ("message", "params", "missing"),
    [
        ("one of the following permissions assigned: [oauth:token:delete]", {}, ("oauth:token:delete",)),
        ("permissions: {permissions}", {"permissions": "[a:b:view, c:d:*]"}, ("a:b:view", "c:d:*")),
        (
            "[workforceManagement:plan:edit, a:b:add]",
            {"p": "a:b:add"},
            ("workforceManagement:plan:edit", "a:b:add"),
        ),
        ("No.", {}, ()),
    ],
)
def test_missing_permissions_are_named(message: str, params: dict[str, str], missing: tuple[str, ...]):
    """The permissions that a 403 names, in its message or its parameters, are listed once each."""
    body = json.dumps({"message": message, "messageParams": params}).encode()
    error = error_of(403, body)
    assert error.missing_permissions == missing
    assert " or ".join(missing) in error.next_step
    assert error_of(400, body).missing_permissions == ()


@pytest.mark.parametrize(
    ("status", "code", "message", "what", "step"),
    [
        (401, "credentials.expired", "", "has expired", "Sign in again."),
        (401, "authentication.required", "", "No access token reached", "Sign in again."),
        (401, "bad.credentials", "", "revoked, expired, or of another region", "Sign in again."),
        (401, "ip.not.authorized", "Not authorized: [10.1.2.3]", "network address", "Allowed IP Addresses"),
        (
            403,
            "app.not.authorized.for.scope",
            "App not authorized to use scope oauth:readonly",
            "scope oauth:readonly",
            "add oauth:readonly to that client",
        ),
        (403, "app.not.authorized.for.scope", "", "lacks a scope", "add the scope"),
        (403, "authz.policy.denied", "", "access policy of the organization", "which policy"),
        (
            403,
            "missing.permissions",
            "[a:b:view, a:b:edit]",
            "a:b:view and a:b:edit",
            "a:b:view and a:b:edit",
        ),
        (
            403,
            "missing.any.permissions",
            "[a:b:view, a:b:edit]",
            "a:b:view or a:b:edit",
            "a:b:view or a:b:edit",
        ),
        (
            403,
            "missing.division.permission",
            "needs a:b:view",
            "a:b:view in the division",
            "role with a:b:view",
        ),
        (403, "missing.any.division.permissions", "", "the permission in the division", "a role with it"),
        (400, "not.a.user", "", "needs a person", "sign_in_with_browser"),
        (400, "token.timeout.exceeded", "", "limits of this organization", "300 to 28800 seconds"),
        (400, "max.idle.token.timeout.exceeded", "", "limits of this organization", "300 to 28800 seconds"),
        (400, "token.timeout.exceeded.hipaa", "", "HIPAA", "300 to 900 seconds"),
        (400, "max.idle.hipaa.token.timeout.exceeded", "", "HIPAA", "300 to 900 seconds"),
        (400, "response.entity.too.large", "", "larger than", "a smaller page"),
        (408, "client.timeout", "", "took too long", "Check the network"),
        (409, "general.conflict", "", "Somebody else changed", "Read it again"),
        (409, "request.conflict", "", "Somebody else changed", "Read it again"),
    ],
)
def test_advice_by_code(status: int, code: str, message: str, what: str, step: str):
    """Each code says in words what happened and what to do first; the wire comes after both."""
    error = error_of(
        status, json.dumps({"code": code, "message": message}).encode(), inin_correlation_id="c-1"
    )
    assert what in error.what
    assert step in error.next_step
    assert str(error) == f"{error.what} {error.next_step} {error.wire}"
    assert error.wire.startswith(f"GET {ME} was answered with {status} {code}")
    assert error.wire.endswith("Correlation id for Genesys support: c-1.")


def test_an_address_that_is_not_allowed_is_no_dead_token():
    """A 401 about the network address must not be taken for the proof that a token is revoked."""
    error = error_of(401, b'{"code": "ip.not.authorized"}')
    assert type(error) is errors.AddressNotAllowedError
    assert not isinstance(error, UnauthorizedError)


def test_a_proxy_that_refuses_is_told_from_a_missing_permission():
    """A 403 whose body is not the platform's asks for no permission."""
    assert "proxy" in error_of(403, b"<html>Blocked</html>", content_type="text/html").next_step


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7),
        ({"RETRY_AFTER": "7.5", "inin_ratelimit_reset": "61"}, 7.5),
        ({"inin_ratelimit_reset": "61"}, 61),
        ({"retry_after": "soon", "inin_ratelimit_reset": "61"}, 61),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "Tue, 24 Nov 2026 10:00:07 GMT", "date": "Tue, 24 Nov 2026 10:00:00 GMT"}, 7),
        ({"retry_after": "Tue, 24 Nov 2026 10:00:00 GMT", "date": "Tue, 24 Nov 2026 10:00:07 GMT"}, 0),
        ({"retry_after": "Tue, 24 Nov 2026 99:00:00 GMT"}, None),
        ({"retry_after": "1e20"}, TEN_YEARS),
        ({"retry_after": "9" * 400}, TEN_YEARS),
        ({"retry_after": "Fri, 31 Dec 9999 23:59:59 -1200", "date": "Tue, 24 Nov 2026 10:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None):
    """A 429 tells how long to wait: Retry-After, else the reset of the rate-limit window, in any letter case."""
    assert error_of(503, **{**headers, "inin_ratelimit_reset": ""}).retry_after_seconds == (
        seconds
        if "retry_after" in {name.lower() for name in headers} and headers.get("retry_after") != "soon"
        else None
    )
    error = error_of(429, **headers)
    assert error.retry_after_seconds == seconds
    assert f"Wait {'a minute' if seconds is None else f'{seconds:g} s'}" in error.next_step


def test_the_reset_header_counts_for_429_only():
    """Every answer carries the reset of the window; only a 429 waits for it."""
    assert error_of(503, inin_ratelimit_reset="61").retry_after_seconds is None


def test_a_token_echoed_by_the_server_is_masked(gc, sandbox: Sandbox):
    """A server that repeats the token in its error does not get it into ours."""
    token = gc.access_token.value
    body = json.dumps({"message": f"bad token {token}", "code": "bad.request", "contextId": token})
    sandbox.add_fault(Fault("status", path=ME, status=400, body=body))
    with pytest.raises(BadRequestError, match="bad token …") as caught:
        gc.tokens.get_tokens_me()
    assert token not in str(caught.value) + repr(vars(caught.value))


def test_a_token_echoed_in_a_header_is_masked(gc, sandbox: Sandbox):
    """The response that a call returns shows the token in no header, whatever the server repeats."""
    token = gc.access_token.value
    sandbox.add_fault(Fault("status", path=ME, status=200, body="{}", headers={"X-Seen": f"Bearer {token}"}))
    response = gc.session.get(ME)
    assert response.headers["X-Seen"].startswith("Bearer ")
    assert token not in str(response.headers)


def test_cookies_and_other_headers_stay_out(gc, sandbox: Sandbox):
    """No response header but the correlation id enters an error."""
    sandbox.add_fault(Fault("status", path=ME, status=500, headers={"Set-Cookie": "session=c00kie"}))
    with pytest.raises(ServerError) as caught:
        gc.tokens.get_tokens_me()
    assert "c00kie" not in str(caught.value) + repr(vars(caught.value))


# No answer at all


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_dead_host_is_its_own_error():
    """Where nobody listens, sign-in and calls say that no connection could be made, and to which host."""
    url = f"http://127.0.0.1:{free_port()}"
    message = r"^No connection to 127\.0\.0\.1 could be made: no network, an unknown name, or nobody listening\. Check"
    with pytest.raises(HostUnreachableError, match=message) as caught:
        gct.connect(url, client_id="a", client_secret="b")
    assert (caught.value.method, caught.value.url) == ("POST", f"{url}/oauth/token")
    with (
        gct.connect(url, access_token="abc") as gc,
        pytest.raises(HostUnreachableError, match=message),
    ):
        gc.tokens.get_tokens_me()


def test_no_network_is_its_own_error(monkeypatch: pytest.MonkeyPatch):
    """Without a network no name is known: the error says so, and nothing is tried for long."""

    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for connect in (
        lambda: gct.connect("mypurecloud.de", client_id="a", client_secret="b"),
        gct.connect("mypurecloud.de", access_token="abc").tokens.get_tokens_me,
    ):
        with pytest.raises(
            HostUnreachableError, match=r"No connection to (login|api)\.mypurecloud\.de .*no network"
        ):
            connect()


def test_a_host_that_does_not_accept_is_a_timeout():
    """A host that never completes the connection is a timeout, not an unreachable host."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # they fill the queue of those not yet accepted
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        gc = gct.connect(url, access_token="abc", timeout_seconds=(0.2, 0.2))
        with (
            gc,
            pytest.raises(TimedOutError, match=r"127\.0\.0\.1 did not accept a connection in time\. Check"),
        ):
            gc.tokens.get_tokens_me()
        for one in waiting:
            one.close()


def test_a_dead_proxy_is_named(monkeypatch: pytest.MonkeyPatch):
    """Where the proxy cannot be used the error says that it is the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(
        HostUnreachableError, match=r"The proxy on the way to login\.mypurecloud\.de .*HTTPS_PROXY"
    ):
        gct.connect("mypurecloud.de", client_id="a", client_secret="b")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signed itself, with its key, in one file."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    alternative = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", *made.split(), *alternative, "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    cert.write_bytes(cert.read_bytes() + key.read_bytes())
    return cert


@pytest.fixture
def secure(certificate: Path, listener) -> Iterator[str]:
    """The address of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = listener._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    return listener.url.replace("http:", "https:")


def test_a_bad_certificate_is_its_own_error(secure: str, listener):
    """A certificate that nobody vouches for is refused, by sign-in and by calls; nothing is sent."""
    message = r"^The TLS certificate of 127\.0\.0\.1 could not be verified, so nothing was sent to it\. .*REQUESTS_CA_BUNDLE"
    with pytest.raises(CertificateError, match=message):
        gct.connect(secure, client_id="a", client_secret="b")
    with gct.connect(secure, access_token="abc") as gc, pytest.raises(CertificateError, match=message):
        gc.tokens.get_tokens_me()
    assert listener.heard == []


def test_the_ca_bundle_of_the_environment_counts(
    secure: str, certificate: Path, listener, monkeypatch: pytest.MonkeyPatch
):
    """REQUESTS_CA_BUNDLE makes a company's own certificate good, and is read once, when the connection is made."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with gct.connect(secure, access_token="abc") as gc:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        assert gc.tokens.get_tokens_me() == gct.TokenInfo()
        assert gc.session.get("/api/v2/users").json() == {}
    assert [heard.headers["Authorization"] for heard in listener.heard] == ["Bearer abc"] * 2


def test_a_ca_bundle_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    """A REQUESTS_CA_BUNDLE that names no file is an error of ours that names it, before anything is sent."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    with pytest.raises(ConfigurationError, match=r"/no/such/bundle\.pem.*REQUESTS_CA_BUNDLE"):
        gct.connect("mypurecloud.de", client_id="a", client_secret="b")


def test_a_gateway_may_answer_at_a_path(listener):
    """Behind a gateway the login and the API are asked below its paths."""
    region = gateway(listener.url, login_path="auth", api_path="platform")
    with pytest.raises(TransportError, match="without a token"):
        gct.connect(region, client_id="a", client_secret="b")
    with gct.connect(region, access_token="abc") as gc:
        gc.tokens.get_tokens_me()
    assert [heard.path for heard in listener.heard] == ["/auth/oauth/token", f"/platform{ME}"]


def test_a_login_failure_is_neither_api_nor_transport_error(sandbox: Sandbox):
    """The four kinds of trouble can be told apart by their type."""
    with pytest.raises(LoginError) as caught:
        gct.connect(sandbox.environment, client_id="a", client_secret="b")
    assert not isinstance(caught.value, (ApiError, TransportError, ConfigurationError))
