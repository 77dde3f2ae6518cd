"""What the login host is asked, what becomes of its answers, and which address ends a person's sign-in."""

from __future__ import annotations

import base64
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec
import pytest

import gctokens_nb as gct
from gctokens_nb import oauth
from gctokens_nb.errors import (
    CredentialsError,
    HostUnreachableError,
    InvalidAnswerError,
    LoginError,
    SignedOutError,
    TimedOutError,
)
from gctokens_nb.redaction import Secret
from gctokens_nb.regions import resolve

CALLBACK = "http://127.0.0.1:8085/callback"
GRANTED = {"access_token": "the-token", "expires_in": 60}


def said(body: Any, status: int = 200, **headers: str) -> bytes:
    """An answer of the login host, as it goes over the wire."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def asked(request: bytes) -> tuple[str, str, dict[str, str]]:
    """Request line, Authorization header and form of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    found = [line.partition(": ")[2] for line in lines if line.lower().startswith("authorization:")]
    form = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
    return lines[0], "".join(found), form


def basic(client_id: str, secret: str) -> str:
    """The Authorization header of a client."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


# Each grant, to the letter


def test_each_grant_sends_its_form(saying):
    """Fields and client authentication of each grant, as RFC 6749, 7636 and 7522 have them."""
    server = saying(said(GRANTED))
    region, code, secret = resolve(server.url), Secret("the-code"), Secret("the-secret")
    oauth.client_credentials(region, "me", secret)
    oauth.authorization_code(region, "me", code, CALLBACK, client_secret=secret)
    oauth.authorization_code(region, "me", code, CALLBACK, code_verifier=Secret("the-verifier"))
    oauth.refresh(region, "me", Secret("the-refresh-token"))
    oauth.refresh(region, "me", Secret("the-refresh-token"), client_secret=secret)
    oauth.saml2_bearer(region, "me", secret, org_name="Cumulus Ü", assertion=Secret("YWJj+/="))
    code_form = {"grant_type": "authorization_code", "code": "the-code", "redirect_uri": CALLBACK}
    refresh_form = {"grant_type": "refresh_token", "refresh_token": "the-refresh-token"}
    assert [asked(request)[1:] for request in server.heard] == [
        (basic("me", "the-secret"), {"grant_type": "client_credentials"}),
        (basic("me", "the-secret"), code_form),
        ("", code_form | {"code_verifier": "the-verifier", "client_id": "me"}),
        ("", refresh_form | {"client_id": "me"}),
        (basic("me", "the-secret"), refresh_form),
        (
            basic("me", "the-secret"),
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:saml2-bearer",
                "orgName": "Cumulus Ü",
                "assertion": "YWJj+/=",
            },
        ),
    ]
    assert {asked(request)[0] for request in server.heard} == {"POST /oauth/token HTTP/1.1"}
    assert all(b"accept: application/json\r\n" in request.lower() for request in server.heard)
    assert all(b"application/x-www-form-urlencoded" in request for request in server.heard)


def test_each_token_knows_its_grant(saying):
    """A token tells how it was got, what renews it, and how long it lives."""
    region = resolve(saying(said(GRANTED | {"refresh_token": "next"})).url)
    tokens = [
        oauth.client_credentials(region, "me", Secret("the-secret")),
        oauth.authorization_code(region, "me", Secret("c"), CALLBACK),
        oauth.refresh(region, "me", Secret("r")),
        oauth.saml2_bearer(region, "me", Secret("the-secret"), org_name="o", assertion=Secret("a")),
    ]
    assert [token.grant for token in tokens] == [
        "client_credentials",
        "authorization_code",
        "refresh_token",
        "saml2_bearer",
    ]
    assert all(token.refresh_token == Secret("next") for token in tokens)
    assert all((token.value, token.expires_in_seconds) == ("the-token", 60) for token in tokens)


def test_characters_that_cannot_be_sent_are_refused(saying):
    """Half of a surrogate pair cannot be written as UTF-8: an error of ours, nothing sent."""
    server = saying(said(GRANTED))
    with pytest.raises(CredentialsError, match="cannot be sent"):
        oauth.client_credentials(resolve(server.url), "me", Secret("\ud800"))
    assert server.heard == []


def test_a_sign_in_has_the_timeout_that_it_is_given(saying):
    """`timeout_seconds` counts for the sign-in; what to do afterwards depends on what it was made with."""
    region = resolve(saying(b"", close=False).url)
    with pytest.raises(TimedOutError, match=r"127\.0\.0\.1 did not answer POST /oauth/token") as caught:
        oauth.client_credentials(region, "me", Secret("the-secret"), timeout_seconds=(5, 0.05))
    assert "Repeat it" in caught.value.next_step


# What it answers


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (400, "invalid_client", "it belongs to"),
        (400, "invalid_grant", "start the sign-in again"),
        (400, "unauthorized_client", "of another grant type"),
        (400, "unsupported_grant_type", "of another grant type"),
        (400, "something_else", "Check the client and the region"),
        (400, "", "Check the client and the region"),
        (499, "", "Check the client and the region"),
        (429, "invalid_client", "wait a minute"),
        (500, "invalid_client", "try again in a few minutes"),
        (599, "", "try again in a few minutes"),
        (300, "", "does not redirect"),
        (399, "", "does not redirect"),
        (200, "invalid_grant", "start the sign-in again"),
    ],
)
def test_the_advice_fits_the_refusal(saying, status: int, error: str, advice: str):
    """By status first, else by the code of RFC 6749 section 5.2."""
    headers = {"Location": "/elsewhere"} if status == 300 else {}
    body = {"error": error, "error_description": "because"} if error else {}
    region = resolve(saying(said(body, status, **headers)).url)
    if status == 399:  # a redirect to nowhere is none: it says no more than that there is no token
        with pytest.raises((LoginError, InvalidAnswerError)):
            oauth.client_credentials(region, "me", Secret("the-secret"))
        return
    if status == 300:
        with pytest.raises((LoginError, InvalidAnswerError)) as refused:
            oauth.client_credentials(region, "me", Secret("the-secret"))
        assert refused.value.status == 300
        return
    with pytest.raises(LoginError) as caught:
        oauth.client_credentials(region, "me", Secret("the-secret"))
    assert advice in caught.value.next_step
    assert (caught.value.status, caught.value.error) == (status, error)
    assert caught.value.description == ("because" if error else "")
    assert f"with {status}" in str(caught.value)
    assert ("because" in str(caught.value)) is bool(error)
    assert "127.0.0.1 refused the sign-in of client me" in str(caught.value)


def test_the_description_may_have_another_name(saying):
    """`description` stands in for a missing `error_description`, as some of the login hosts' answers have it."""
    for body, description in (
        ({"error": "invalid_client", "description": "second"}, "second"),
        ({"error": "invalid_client", "error_description": "first", "description": "second"}, "first"),
        ({"error": "invalid_client", "error_description": "", "description": "second"}, "second"),
        ({"error": "invalid_client"}, ""),
    ):
        with pytest.raises(LoginError) as caught:
            oauth.client_credentials(resolve(saying(said(body, 400)).url), "me", Secret("the-secret"))
        assert caught.value.description == description


def test_the_correlation_id_is_told_where_there_is_one(saying):
    """Refused, or answered without a token: with the correlation id, if any came, and the request."""
    for body, status, kind in (({"error": "x"}, 400, LoginError), ({}, 200, InvalidAnswerError)):
        for headers, told in (({"ININ_Correlation_Id": "1234-5678"}, "1234-5678"), ({}, "")):
            with pytest.raises(kind) as caught:
                oauth.client_credentials(
                    resolve(saying(said(body, status, **headers)).url), "me", Secret("the-secret")
                )
            assert caught.value.correlation_id == told
            assert ("Correlation id" in str(caught.value)) is bool(told)
            assert told in str(caught.value)
            assert f"POST /oauth/token was answered with {status}" in str(caught.value)


def test_an_answer_without_a_token_says_from_where(saying):
    """Method, address and status of an answer that is no sign-in."""
    server = saying(said({"token": "x"}))
    with pytest.raises(InvalidAnswerError, match=r"127\.0\.0\.1") as caught:
        oauth.client_credentials(resolve(server.url), "me", Secret("the-secret"))
    assert (caught.value.method, caught.value.status) == ("POST", 200)
    assert caught.value.url == f"{server.url}/oauth/token"


@pytest.mark.parametrize("token", ["two words", "line\nfeed", "tökén", "tab\tbed", "", None, 77777, ["xyz"]])
def test_what_cannot_be_sent_is_no_token(saying, token: Any):
    """A token that no header can carry is none, and is not shown."""
    with pytest.raises(InvalidAnswerError) as caught:
        oauth.client_credentials(
            resolve(saying(said({"access_token": token})).url), "me", Secret("the-secret")
        )
    assert not token or str(token) not in f"{caught.value!r}{caught.value}"


@pytest.mark.parametrize(
    ("given", "lifetime"),
    [
        (60, 60),
        ("60", 60),
        (0, 0),
        (315359999, 315359999),
        (315360000, None),
        (-1, None),
        ("1e400", None),
        (None, None),
    ],
)
def test_the_lifetimes_that_are_believed(saying, given: Any, lifetime: float | None):
    """From nothing to less than ten years, as a number or a text of one; anything else is not known."""
    token = oauth.client_credentials(
        resolve(saying(said({"access_token": "t", "expires_in": given})).url), "me", Secret("the-secret")
    )
    assert token.expires_in_seconds == lifetime


def test_a_secret_that_comes_back_is_masked_wherever_it_stands(saying):
    """In the error code, the description and the correlation id; the secret, the code, and what Basic makes of them."""
    for secret in ("the-secret", basic("me", "the-secret").removeprefix("Basic "), "the-code"):
        body = {"error": f"bad {secret}", "error_description": f"really {secret}"}
        server = saying(said(body, 400, ININ_Correlation_Id=f"id {secret}"))
        with pytest.raises(LoginError) as caught:
            oauth.authorization_code(
                resolve(server.url), "me", Secret("the-code"), CALLBACK, client_secret=Secret("the-secret")
            )
        error = caught.value
        assert secret not in f"{error!r}{error}{error.error}{error.description}{error.correlation_id}"
        assert error.error == "bad …"
        assert error.description == "really …"


def test_what_it_says_is_bounded(saying):
    """A host that goes on and on does not fill the error."""
    long = "x" * 100_000
    server = saying(said({"error": long, "error_description": long}, 400, ININ_Correlation_Id=long[:9000]))
    with pytest.raises(LoginError) as caught:
        oauth.client_credentials(resolve(server.url), "me", Secret("the-secret"))
    assert len(caught.value.error) == 100
    assert len(caught.value.description) == 500
    assert len(caught.value.correlation_id) == 100
    assert len(str(caught.value)) < 2000


# The address that a browser ends on


def begin(url: str, **options: Any) -> tuple[oauth.AuthorizationRequest, str]:
    """A sign-in of a person, and its state."""
    request = oauth.AuthorizationRequest(resolve(url), "me", CALLBACK, **options)
    (state,) = parse_qs(urlsplit(request.url).query)["state"]
    return request, state


@pytest.mark.parametrize(
    "address",
    [
        f"{CALLBACK}?code=the-code&state=STATE",
        f"{CALLBACK}?state=STATE&code=the-code&more=1",
        f"  {CALLBACK}?code=the-code&state=STATE\n",
        f"{CALLBACK}?code=the-code&state=STATE#state=other",
        "code=the-code&state=STATE",
        "?code=the-code&state=STATE",
        f"{CALLBACK}?code=the-code&state=STATE&next=/a?b",
    ],
)
def test_the_address_may_come_in_any_form(saying, address: str):
    """The whole address, with white space or a fragment, or only its query."""
    server = saying(said(GRANTED))
    request, state = begin(server.url)
    assert request.finish(address.replace("STATE", state)).value == "the-token"
    form = asked(server.heard[0])[2]
    assert (form["code"], form["redirect_uri"], form["client_id"]) == ("the-code", CALLBACK, "me")
    assert len(form["code_verifier"]) == 86, "64 random bytes"


def test_the_link_says_who_asks_and_for_what(saying):
    """The address of the login page, to the letter: what is not given does not appear."""
    server = saying(said(GRANTED))
    request, state = begin(server.url)
    asked_for = parse_qs(urlsplit(request.url).query, keep_blank_values=True)
    assert request.url.startswith(f"{server.url}/oauth/authorize?")
    assert (asked_for["client_id"], asked_for["redirect_uri"], asked_for["response_type"]) == (
        ["me"],
        [CALLBACK],
        ["code"],
    )
    assert set(asked_for) == {
        "client_id",
        "redirect_uri",
        "response_type",
        "state",
        "code_challenge",
        "code_challenge_method",
    }
    assert len(state) == 43, "32 random bytes"
    assert len(asked_for["code_challenge"][0]) == 43
    hints = {"login_hint": "a@b", "org": "o", "provider": "p", "prompt": "login"}
    request, _ = begin(server.url, client_secret=Secret("the-secret"), **hints)
    asked_for = parse_qs(urlsplit(request.url).query)
    assert set(asked_for) == {"client_id", "redirect_uri", "response_type", "state", *hints}
    assert {name: asked_for[name][0] for name in hints} == hints


def test_an_address_answers_its_own_sign_in_only(saying):
    """`answers` tells apart what belongs to this sign-in, without using it up."""
    server = saying(said(GRANTED))
    request, state = begin(server.url)
    _, other = begin(server.url)
    assert request.answers(Secret(f"{CALLBACK}?state={state}"))
    for address in (
        "",
        CALLBACK,
        f"?state={other}",
        f"?state={state}x",
        f"?state={state}&state={state}",
        "?state=",
    ):
        assert not request.answers(Secret(address))
    for more, taken in ((49, True), (50, False)):  # fifty fields in all
        query = "&".join([f"state={state}", *(f"a{n}=1" for n in range(more))])
        assert request.answers(Secret(f"?{query}")) is taken
    assert request.finish(f"?code=the-code&state={state}").value == "the-token"


def test_a_page_that_says_no(saying):
    """A refusal is told with its description and what to do; a second answer is none."""
    for error, words, step in (
        ("access_denied", "The sign-in was refused in the browser: no way.", "allow the access"),
        ("server_error", "The login page said 'server_error': no way.", "its redirect URIs"),
    ):
        request, state = begin(saying(said(GRANTED)).url)
        address = f"{CALLBACK}?{urlencode({'error': error, 'error_description': 'no way', 'state': state})}"
        with pytest.raises(LoginError) as caught:
            request.finish(address)
        assert words in str(caught.value)
        assert step in caught.value.next_step
        assert (caught.value.error, caught.value.description) == (error, "no way")
        with pytest.raises(LoginError) as caught:
            request.finish(f"?code=the-code&state={state}")
        assert caught.value.error == "replayed"
        assert caught.value.next_step.startswith("Start a new sign-in")


def test_a_page_that_says_no_without_a_word(saying):
    """No description, no colon; state and code that it repeats are masked, and long ones cut."""
    request, state = begin(saying(said(GRANTED)).url)
    with pytest.raises(LoginError, match=r"The login page said 'bad …'\. ") as caught:
        request.finish(f"?error={quote('bad ' + state)}&state={state}&code=the-code")
    assert (caught.value.error, caught.value.description) == ("bad …", "")
    request, state = begin(saying(said(GRANTED)).url)
    with pytest.raises(LoginError) as caught:
        request.finish(f"?error=x&state={state}&code=the-code&error_description={'the-code' + 'y' * 9000}")
    assert caught.value.description.startswith("…yyy")
    assert len(caught.value.description) == 500


@pytest.mark.parametrize(
    ("address", "error", "says", "step"),
    [
        ("?code=c", "invalid_state", "it carries no state", "copy the whole address"),
        ("?code=c&state=x", "invalid_state", "it belongs to another sign-in", "copy the whole address"),
        ("?state=STATE", "invalid_request", "it carries no code", "Start a new sign-in"),
        ("?code=c&code=c&state=STATE", "invalid_request", "it carries no code", "Start a new sign-in"),
        ("?code=&state=STATE", "invalid_request", "it carries no code", "Start a new sign-in"),
    ],
)
def test_an_address_that_is_wrong(saying, address: str, error: str, says: str, step: str):
    """Each wrong address says what is wrong with it and what to do; nothing is sent."""
    server = saying(said(GRANTED))
    request, state = begin(server.url)
    with pytest.raises(LoginError, match=says) as caught:
        request.finish(address.replace("STATE", state))
    assert caught.value.error == error
    assert step in caught.value.next_step
    assert server.heard == []


def test_a_wrong_address_does_not_use_the_sign_in_up(saying):
    """After an address of another sign-in, the right one still counts."""
    request, state = begin(saying(said(GRANTED)).url)
    with pytest.raises(LoginError):
        request.finish("?code=c&state=other")
    assert request.finish(f"?code=c&state={state}").value == "the-token"


def test_a_sign_in_is_good_for_its_time(saying, monkeypatch: pytest.MonkeyPatch):
    """Ten minutes, to the second; not longer."""
    clock = [1000.0]
    server = saying(said(GRANTED))
    first, state = begin(server.url)
    monkeypatch.setattr(oauth.time, "monotonic", lambda: clock[0])
    first, state = begin(server.url)
    second, other = begin(server.url)
    clock[0] = 1600.0
    monkeypatch.undo()
    monkeypatch.setattr(oauth, "time", _At(1600.0))
    assert not second._used
    assert first.finish(f"?code=c&state={state}").value == "the-token"
    monkeypatch.setattr(oauth, "time", _At(1600.1))
    with pytest.raises(LoginError, match="too long ago") as caught:
        second.finish(f"?code=c&state={other}")
    assert caught.value.error == "expired"


class _At:
    """A clock that stands still."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def monotonic(self) -> float:
        """The time."""
        return self._seconds


# Pasted tokens


@pytest.mark.parametrize(
    "text",
    ["tok", "Bearer tok", "BEARER   tok", "bearer tok ", "'tok'", '"Bearer tok"', "\ttok\n", "'Bearer  tok'"],
)
def test_a_token_is_taken_as_people_copy_it(text: str):
    """With `Bearer` in any letter case, quotes, and white space around it."""
    token = oauth.pasted(text)
    assert (token.value, token.grant, token.expired, token.expires_at) == ("tok", "pasted", False, None)
    assert token.issued_at.tzinfo is not None


@pytest.mark.parametrize(
    "text", ["", "Bearer", "Bearer a b", "a b", "Basic abc", "tök", "a\x00b", "''", "x\ny"]
)
def test_what_is_no_token_is_not_taken(text: str):
    """Nothing, two words, another scheme, characters that no token has; the error does not repeat it."""
    with pytest.raises(CredentialsError) as caught:
        oauth.pasted(text)
    assert caught.value.next_step.startswith("Copy it again")
    assert "abc" not in str(caught.value)


# The keeper


def token(value: str = "the-token") -> oauth.AccessToken:
    """A token."""
    return oauth.pasted(value)


def test_a_keeper_travels(saying):
    """A pickled keeper knows its token, whether it was revoked, and can be used at once."""
    keeper = oauth.TokenKeeper(token())
    keeper.retire()
    copied = pickle.loads(pickle.dumps(keeper))
    assert copied.current().value == "the-token"
    assert (copied.revoked, copied.renewable) == (True, False)
    fresh = pickle.loads(pickle.dumps(oauth.TokenKeeper(token(), _renewed)))
    assert (fresh.revoked, fresh.renewable) == (False, True)
    assert fresh.renew(fresh.current()).value == "renewed"
    assert fresh.current().value == "renewed"


def _renewed(_: oauth.AccessToken) -> oauth.AccessToken:
    return token("renewed")


def test_a_keeper_that_forgot_says_so():
    """After `forget` there is no token, and after `retire` none in its place."""
    keeper = oauth.TokenKeeper(token(), _renewed)
    held = keeper.current()
    keeper.retire()
    assert keeper.current() is held
    with pytest.raises(
        SignedOutError, match=r"^This connection's token cannot be renewed\. Sign in again\.$"
    ):
        keeper.renew(held)
    keeper.forget()
    assert not keeper.renewable
    for call in (keeper.current, lambda: keeper.renew(held)):
        with pytest.raises(SignedOutError, match=r"Sign in again\.$"):
            call()


def test_a_token_is_renewed_before_it_is_over_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch):
    """Only one that is over, only if asked, only if it can be."""
    old = oauth.AccessToken(secret=Secret("old"), grant="x", issued_at=token().issued_at, _deadline=0.0)
    asked_with: list[oauth.AccessToken] = []

    def renew(used: oauth.AccessToken) -> oauth.AccessToken:
        asked_with.append(used)
        return token("renewed")

    assert oauth.TokenKeeper(old).current() is old
    keeper = oauth.TokenKeeper(old, renew)
    assert keeper.current(renew=False) is old
    assert keeper.current().value == "renewed"
    assert keeper.current().value == "renewed"
    assert asked_with == [old]
    assert keeper.renew(old).value == "renewed", "one that is replaced already is not asked for again"
    assert asked_with == [old]


def test_a_renewal_that_failed_may_be_tried_again():
    """The failure of an earlier renewal is not that of a later one."""
    answers: list[Any] = [LoginError("No.", "Wait."), token("renewed")]

    def renew(_: oauth.AccessToken) -> oauth.AccessToken:
        one = answers.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    keeper = oauth.TokenKeeper(token(), renew)
    held = keeper.current()
    with pytest.raises(LoginError):
        keeper.renew(held)
    assert keeper.renew(held).value == "renewed"


def test_each_failed_renewal_is_told_to_those_who_waited_for_it():
    """The second failure, too, reaches the threads that waited for it: they do not ask once more."""
    begun, go_on, asked_for = threading.Event(), threading.Event(), []

    def renew(_: oauth.AccessToken) -> oauth.AccessToken:
        asked_for.append(1)
        if len(asked_for) == 2:
            begun.set()
            go_on.wait(20)
        raise LoginError(f"No {len(asked_for)}.", "Wait.")

    keeper = oauth.TokenKeeper(token(), renew)
    held = keeper.current()

    def ask() -> str:
        with pytest.raises(LoginError) as caught:
            keeper.renew(held)
        return str(caught.value)

    assert ask() == "No 1. Wait."
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        begun.wait(20)
        waiting = pool.submit(ask)
        threading.Event().wait(0.1)  # so that it waits
        go_on.set()
        assert [first.result(20), waiting.result(20)] == ["No 2. Wait."] * 2
    assert len(asked_for) == 2


def test_signing_out_does_not_wait_for_a_renewal_to_take_it_back():
    """A token that comes after `forget` is not kept."""

    def renew(_: oauth.AccessToken) -> oauth.AccessToken:
        keeper.forget()
        return token("renewed")

    keeper = oauth.TokenKeeper(token(), renew)
    with pytest.raises(SignedOutError, match=r"^This connection has signed out meanwhile\. Sign in again\.$"):
        keeper.renew(keeper.current())
    with pytest.raises(SignedOutError):
        keeper.current()


def test_a_connection_signs_in_for_itself(saying):
    """A renewal repeats the sign-in with the same client; the new token is the one that is sent."""
    server = saying(
        said(GRANTED),
        said({"message": "no", "code": "bad.credentials", "status": 401}, 401),
        said({"access_token": "second", "expires_in": 60}),
        said({}),
    )
    with gct.connect(server.url, client_id="me", client_secret="the-secret") as gc:
        gc.session.get("/api/v2/x")
    assert [asked(request)[:2] for request in server.heard] == [
        ("POST /oauth/token HTTP/1.1", basic("me", "the-secret")),
        ("GET /api/v2/x HTTP/1.1", "Bearer the-token"),
        ("POST /oauth/token HTTP/1.1", basic("me", "the-secret")),
        ("GET /api/v2/x HTTP/1.1", "Bearer second"),
    ]


def test_the_proxy_of_a_region_is_the_way_of_sign_in_and_calls(saying):
    """The proxy of a region, as the gc command line names it, is used for both, and for all that is sent."""
    proxy = saying(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    region = msgspec.structs.replace(resolve("mypurecloud.com"), proxy=Secret(proxy.url))
    with pytest.raises(HostUnreachableError):
        oauth.client_credentials(region, "me", Secret("the-secret"))
    assert proxy.heard[0].startswith(b"CONNECT login.mypurecloud.com:443 ")
    gc = gct.connect(region, access_token="the-token", retry=gct.RetryPolicy(attempts=1))
    with gc, pytest.raises(HostUnreachableError):
        gc.tokens.get_tokens_me()
    assert proxy.heard[1].startswith(b"CONNECT api.mypurecloud.com:443 ")
