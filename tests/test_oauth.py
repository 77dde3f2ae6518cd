"""Sign-in as a machine, the pasted token, and the renewal that one thread does for all."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

import gctokens_nb as gct
from gctokens_nb import oauth
from gctokens_nb.errors import (
    CancelledError,
    ConnectionDroppedError,
    CredentialsError,
    InvalidAnswerError,
    LoginError,
    SignedOutError,
    UnauthorizedError,
)
from gctokens_nb.oauth import TokenKeeper
from gctokens_nb.redaction import Secret
from gctokens_nb.regions import resolve
from gctokens_nb.sandbox import Fault, Sandbox

TOKEN_PATH = "/oauth/token"


def sign_ins(sandbox: Sandbox) -> int:
    """How often somebody asked for a token."""
    return sum(call.path == TOKEN_PATH for call in sandbox.calls)


def answering(sandbox: Sandbox, body: str, status: int = 200, **headers: str) -> None:
    """Let the login host answer that."""
    sandbox.add_fault(Fault("status", path=TOKEN_PATH, status=status, body=body, headers=headers))


@pytest.mark.parametrize(
    ("ask", "advice"),
    [
        (lambda region: oauth.client_credentials(region, "id", Secret("s")), "Repeat it"),
        (
            lambda region: oauth.authorization_code(region, "id", Secret("c"), "http://127.0.0.1/"),
            "Start a new sign-in: the one-time code may be used up",
        ),
        (
            lambda region: oauth.refresh(region, "id", Secret("r")),
            "Start a new sign-in: the refresh token may be used up",
        ),
        (
            lambda region: oauth.saml2_bearer(region, "id", Secret("s"), org_name="o", assertion=Secret("a")),
            "Start a new sign-in: the assertion may be used up",
        ),
    ],
)
def test_what_to_do_after_a_sign_in_that_was_dropped(sandbox: Sandbox, ask, advice: str):
    """Client credentials may be sent again; what is good once may be gone, and is not advised to be repeated."""
    sandbox.add_fault(Fault("drop-after", path=TOKEN_PATH))
    with pytest.raises(ConnectionDroppedError, match="Whether it took effect is unknown") as caught:
        ask(resolve(sandbox.environment))
    assert advice in caught.value.next_step
    assert sign_ins(sandbox) == 1


# Client credentials


def test_client_credentials_become_a_connection(sandbox: Sandbox):
    """An id, a secret and an environment, in the order of the Ruby SDK's documents, give a connection that works."""
    client = sandbox.client("admin")
    assert client.client_secret
    with gct.authenticate_with_client_credentials(
        client.client_id, client.client_secret, sandbox.environment
    ) as gc:
        info = gc.tokens.get_tokens_me()
    assert info.oauth_client
    assert info.oauth_client.id == client.client_id
    assert gc.access_token.grant == "client_credentials"


def test_the_request_is_a_form_with_basic(sandbox: Sandbox, sign_in):
    """Sign-in is one POST of a form that holds the grant type only; id and secret go as Basic."""
    sign_in()
    (call,) = sandbox.calls
    assert (call.method, call.path, call.status, call.form_keys) == (
        "POST",
        TOKEN_PATH,
        200,
        ("grant_type",),
    )
    assert call.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert call.headers["Accept"] == "application/json"


def test_a_token_knows_its_lifetime(sign_in):
    """A token tells when it ends, in aware UTC, and that it has not ended yet."""
    token = sign_in().access_token
    assert token.expires_in_seconds == 86400
    assert token.expires_at
    assert token.expires_at.tzinfo is UTC
    assert abs(token.expires_at - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)
    assert not token.expired
    assert len(token.fingerprint) == 8


def test_a_non_ascii_secret_works(sandbox: Sandbox):
    """Id and secret may hold any character: they go over the wire as UTF-8."""
    known = sandbox.add_client("Ünïcode", client_id="kunde-ä", client_secret="pässwörd-€-密码")
    with gct.authenticate_with_client_credentials(
        known.client_id, known.client_secret, sandbox.environment
    ) as gc:
        gc.tokens.head_tokens_me()


def test_a_wrong_secret_is_a_login_error(sandbox: Sandbox):
    """A wrong secret says who was refused, why, and what to check; it is never repeated."""
    client_id = sandbox.client("admin").client_id
    with pytest.raises(LoginError) as caught:
        gct.authenticate_with_client_credentials(client_id, "wrong-secret", sandbox.environment)
    error = caught.value
    assert (error.error, error.description, error.status) == (
        "invalid_client",
        "authentication failed",
        401,
    )
    assert str(error).startswith(
        f"127.0.0.1 refused the sign-in of client {client_id}. "
        "Check the client id and the secret, that the client is active, and that it belongs to "
    )
    assert error.correlation_id
    assert str(error).endswith(
        "POST /oauth/token was answered with 401 invalid_client: authentication failed. "
        f"Correlation id for Genesys support: {error.correlation_id}."
    )
    assert "wrong-secret" not in str(error)


def test_a_wrong_region_is_named(sandbox: Sandbox):
    """A client of another region is unknown here: the error names the region it was tried in."""
    known = Sandbox(organization="Elsewhere").client("admin")
    with pytest.raises(LoginError, match=sandbox.environment):
        gct.authenticate_with_client_credentials(known.client_id, known.client_secret, sandbox.environment)


def test_a_disabled_client_is_told_so(sign_in):
    """A disabled client is a login error that says it is disabled."""
    with pytest.raises(LoginError, match=r"that the client is active.*invalid_client: client is disabled"):
        sign_in("disabled")


def test_a_client_of_another_grant_is_told_so(sign_in):
    """A client made for another grant is refused with the advice to use the right one."""
    with pytest.raises(LoginError, match="of another grant type: use one made for this way") as caught:
        sign_in("web app")
    assert caught.value.error == "unauthorized_client"


def test_an_empty_error_is_no_error(sandbox: Sandbox, sign_in):
    """Some login hosts send an empty `error` with success: the token counts."""
    answering(sandbox, '{"access_token": "abc", "token_type": "bearer", "expires_in": 60, "error": ""}')
    assert sign_in().access_token.value == "abc"


def test_an_error_with_status_200_is_an_error(sandbox: Sandbox, sign_in):
    """A filled `error` refuses the sign-in whatever the status."""
    answering(sandbox, '{"access_token": "abc", "error": "invalid_grant", "error_description": "used up"}')
    with pytest.raises(LoginError, match=r"start the sign-in again.*invalid_grant: used up"):
        sign_in()


@pytest.mark.parametrize(
    "expires_in",
    ["null", '"soon"', "[]", '""', "-1", '"nan"', "1e300", f'"{"9" * 400}"', "9" * 18, "9" * 400],
)
def test_a_lifetime_that_cannot_be_read_is_unknown(sandbox: Sandbox, sign_in, expires_in: str):
    """A token without a readable lifetime is taken; when it ends is unknown."""
    answering(sandbox, f'{{"access_token": "abc", "expires_in": {expires_in}}}')
    token = sign_in().access_token
    assert token.expires_at is None
    assert not token.expired
    assert "an unknown time" in repr(token)


@pytest.mark.parametrize(
    "body",
    [
        "<html>Log in to the Wi-Fi</html>",
        "",
        '{"access_token": ',
        "[]",
        "{}",
        '{"access_token": 7}',
        '{"access_token": "s3cr\\net"}',
        '{"access_token": "s3cr et"}',
        '{"access_token": "s3cr\\u00e9t"}',
    ],
)
def test_success_without_a_token_is_none(sandbox: Sandbox, sign_in, body: str):
    """A success status whose body holds no token is an invalid answer, never a connection."""
    answering(sandbox, body)
    with pytest.raises(
        InvalidAnswerError, match=r"answered the sign-in without a token that can be used\. Check the region"
    ) as caught:
        sign_in()
    assert caught.value.status == 200
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("body", ["<html><h1>502</h1></html>", "", '{"error": "inv'])
@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "Check the client and the region"),
        (429, "wait a minute"),
        (503, "try again in a few minutes"),
        (302, "does not redirect"),
    ],
)
def test_a_refusal_of_any_shape_keeps_its_status(
    sandbox: Sandbox, sign_in, body: str, status: int, advice: str
):
    """HTML, empty and truncated refusals still give the status and what to do."""
    answering(sandbox, body, status, Location="/elsewhere")
    with pytest.raises(LoginError, match=advice) as caught:
        sign_in()
    assert caught.value.status == status
    assert f"was answered with {status}." in str(caught.value)


def test_secrets_do_not_follow_a_redirect(sandbox: Sandbox, sign_in, listener):
    """A login host that redirects gets nothing sent on to another host."""
    answering(sandbox, "", 307, Location=f"{listener.url}/oauth/token")
    with pytest.raises(LoginError, match="does not redirect"):
        sign_in()
    assert listener.heard == []


def test_a_secret_echoed_by_the_server_is_masked(sandbox: Sandbox):
    """A login host that repeats the secret in its refusal does not get it into our error."""
    answering(sandbox, '{"error": "invalid_client", "error_description": "bad secret s3cr3t-value"}', 401)
    with pytest.raises(LoginError) as caught:
        gct.authenticate_with_client_credentials("id", "s3cr3t-value", sandbox.environment)
    assert "s3cr3t-value" not in repr(caught.value) + str(caught.value) + caught.value.description
    assert "bad secret …" in str(caught.value)


def test_signing_in_sends_once(sandbox: Sandbox, sign_in):
    """A refused sign-in is not repeated: that would lock clients out."""
    answering(sandbox, "", 503)
    with pytest.raises(LoginError):
        sign_in()
    assert sign_ins(sandbox) == 1


# A pasted token


@pytest.mark.parametrize("text", ["{}", "Bearer {}", "bearer {}", "  {}\n", '"{}"'])
def test_a_pasted_token_works_as_people_copy_it(sandbox: Sandbox, sign_in, text: str):
    """A pasted token is taken with `Bearer`, quotes and white space around it; nobody signs in."""
    token = sandbox.issue_token()
    gc = sign_in(access_token=text.format(token))
    assert gc.tokens.get_tokens_me().organization
    assert (gc.access_token.value, gc.access_token.grant) == (token, "pasted")
    assert sign_ins(sandbox) == 0


@pytest.mark.parametrize("text", ["Bearer ", "   ", "two parts", "line\nbreak", "tökén", '""'])
def test_what_is_no_token_is_refused(sandbox: Sandbox, sign_in, text: str):
    """A text that cannot be a token is refused before anything is sent, and is not repeated."""
    with pytest.raises(CredentialsError, match=r"Copy it again, in one piece") as caught:
        sign_in(access_token=text)
    assert text.strip('" ') == "" or text not in str(caught.value).replace("without line breaks", "")
    assert sandbox.calls == ()


def test_a_pasted_token_is_never_renewed(sandbox: Sandbox, sign_in):
    """A pasted token that has expired is an error that says so; nobody signs in again."""
    gc = sign_in(access_token=sandbox.issue_token(expires_in_seconds=60))
    sandbox.advance(61)
    with pytest.raises(
        UnauthorizedError, match=r"The access token has expired\. Sign in again\. .*credentials\.expired"
    ):
        gc.tokens.get_tokens_me()
    assert sign_ins(sandbox) == 0
    assert len(sandbox.calls) == 1


# Renewal


def test_an_expired_token_is_renewed_once(sandbox: Sandbox, sign_in):
    """An expired client-credentials token is replaced and the call that met it succeeds."""
    gc = sign_in()
    first = gc.access_token
    sandbox.advance(86401)
    assert gc.tokens.get_tokens_me().organization
    assert gc.access_token.fingerprint != first.fingerprint
    assert [(call.path, call.status) for call in sandbox.calls[1:]] == [
        ("/api/v2/tokens/me", 401),
        (TOKEN_PATH, 200),
        ("/api/v2/tokens/me", 200),
    ]


def test_fifty_threads_renew_once(sandbox: Sandbox, sign_in):
    """Fifty threads that meet the same expired token cause exactly one renewal, and all of them get their answer."""
    gc = sign_in()
    sandbox.advance(86401)
    held = sandbox.add_fault(Fault("hold", path=TOKEN_PATH, times=1))
    start = threading.Barrier(50)

    def read(_: int) -> gct.TokenInfo:
        start.wait()
        return gc.tokens.get_tokens_me()

    with ThreadPoolExecutor(50) as pool:
        results = pool.map(read, range(50))
        held.wait_until_held()
        held.release()
        assert len(list(results)) == 50
    assert sign_ins(sandbox) == 2


def test_a_new_token_that_is_refused_is_not_replaced_again(sign_in):
    """A token known to be over is renewed before it is sent; if the server refuses the new one, that is the answer."""
    with Sandbox(token_lifetime_seconds=1) as short:
        gc = sign_in(server=short)
        short.add_fault(Fault("status", path="/tokens/me", status=401))
        while not gc.access_token.expired:
            threading.Event().wait(0.02)
        with pytest.raises(UnauthorizedError):
            gc.tokens.get_tokens_me()
        assert sign_ins(short) == 2


def test_a_renewal_that_was_cancelled_is_done_by_the_next_thread(sandbox: Sandbox, sign_in):
    """Cancel ends the call of its own thread only: the others that wait for the token get one."""
    gc = sign_in()
    sandbox.advance(86401)
    held = sandbox.add_fault(Fault("hold", path=TOKEN_PATH, times=1))
    cancel = gct.Cancel()

    def cancellable() -> gct.TokenInfo:
        with gct.watch_waits(lambda _: None, cancel=cancel):
            return gc.tokens.get_tokens_me()

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(cancellable)
        held.wait_until_held()
        others = [pool.submit(gc.tokens.get_tokens_me) for _ in range(4)]
        while sum(call.status == 401 for call in sandbox.calls) < 5:
            threading.Event().wait(0.005)
        cancel.set()
        with pytest.raises(CancelledError):
            first.result(30)
        assert all(other.result(30).organization for other in others)
    assert sign_ins(sandbox) >= 2


def test_a_late_401_takes_the_token_that_is_there(sandbox: Sandbox, sign_in):
    """A thread whose 401 arrives after another one renewed uses that token instead of asking for a third."""
    gc = sign_in()
    sandbox.advance(86401)
    held = sandbox.add_fault(Fault("hold", path="/tokens/me", times=1))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(gc.tokens.get_tokens_me)
        held.wait_until_held()
        gc.tokens.get_tokens_me()
        held.release()
        assert late.result(timeout=10).organization
    assert sign_ins(sandbox) == 2


def test_a_connection_that_signed_out_meanwhile_stays_signed_out(sandbox: Sandbox, sign_in):
    """A thread whose 401 arrives after a sign-out gets that error: it does not sign in again."""
    gc = sign_in()
    held = sandbox.add_fault(Fault("hold", method="GET", path="/tokens/me", times=1))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(gc.tokens.get_tokens_me)
        held.wait_until_held()
        gc.sign_out()
        held.release()
        with pytest.raises(UnauthorizedError):
            late.result(timeout=10)
    assert sign_ins(sandbox) == 1


def test_a_token_known_to_be_over_is_renewed_before_it_is_sent(sign_in):
    """A token whose end is known is replaced without the detour over a 401."""
    with Sandbox(token_lifetime_seconds=1) as short:
        gc = sign_in(server=short)
        first = gc.access_token
        deadline = threading.Event()
        while not first.expired:
            deadline.wait(0.02)
        gc.tokens.get_tokens_me()
        assert [call.status for call in short.calls] == [200, 200, 200]
        assert gc.access_token is not first


def test_a_renewal_that_fails_reaches_every_thread(sandbox: Sandbox, sign_in):
    """Where the renewal is refused, each thread gets the login error, at the cost of one request at most."""
    gc = sign_in()
    sandbox.advance(86401)
    answering(sandbox, '{"error": "invalid_client"}', 401)

    def read(_: int) -> str:
        with pytest.raises(LoginError) as caught:
            gc.tokens.get_tokens_me()
        return caught.value.error

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(8))) == ["invalid_client"] * 8
    assert 2 <= sign_ins(sandbox) <= 9


def issued(value: str) -> oauth.AccessToken:
    """A token as a grant issues it."""
    return oauth.AccessToken(secret=Secret(value), grant="client_credentials", issued_at=datetime.now(UTC))


class Renewals:
    """A renewal that is held until it is told what to do: raise, or return a token."""

    def __init__(self) -> None:
        self.begun: list[threading.Event] = [threading.Event() for _ in range(9)]
        self.go = threading.Semaphore(0)
        self.outcomes: list[BaseException | oauth.AccessToken] = []
        self.count = 0

    def __call__(self, used: oauth.AccessToken) -> oauth.AccessToken:
        """Renew, as the keeper calls it."""
        outcome = self.outcomes[self.count]
        self.count += 1
        self.begun[self.count - 1].set()
        assert self.go.acquire(timeout=30)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(), RuntimeError("of this program")])
def test_an_interrupted_renewal_is_begun_anew_by_those_who_wait(interrupt: BaseException):
    """The interrupt of one thread is that thread's own: those who waited for its renewal ask anew, once."""
    old, new = issued("old"), issued("new")
    renewals = Renewals()
    renewals.outcomes = [interrupt, new]
    keeper = TokenKeeper(old, renewals)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(keeper.renew, old)
        assert renewals.begun[0].wait(30)
        others = [pool.submit(keeper.renew, old) for _ in range(4)]
        renewals.go.release(2)
        with pytest.raises(type(interrupt)):
            first.result(30)
        assert [other.result(30) for other in others] == [new] * 4
    assert renewals.count == 2
    assert keeper.current() is new


def test_a_failed_renewal_is_an_error_of_its_own_in_each_thread(monkeypatch: pytest.MonkeyPatch):
    """Who waits for a renewal that is refused gets that error, not the very object that another thread raises."""
    old = issued("old")
    renewals = Renewals()
    renewals.outcomes = [LoginError("No.", error="invalid_client"), issued("new")]
    keeper = TokenKeeper(old, renewals)
    arrived, wait = threading.Semaphore(0), keeper._let_others_renew
    monkeypatch.setattr(keeper, "_let_others_renew", lambda: (arrived.release(), wait()))
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(keeper.renew, old)
        assert renewals.begun[0].wait(30)
        others = [pool.submit(keeper.renew, old) for _ in range(2)]
        assert all(arrived.acquire(timeout=30) for _ in range(3))
        renewals.go.release(2)
        errors = [one.exception(30) for one in (first, *others)]
    assert all(isinstance(error, LoginError) and error.error == "invalid_client" for error in errors)
    assert len({id(error) for error in errors}) == 3
    assert keeper.renew(old) is renewals.outcomes[1]  # a failure is no verdict on the next attempt


def test_waiting_for_a_renewal_can_be_interrupted():
    """The first Ctrl-C ends a wait for another thread's renewal, in the main thread of a real process."""
    program = """
import _thread, threading, datetime, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, SIGINT is ignored
from gctokens_nb import oauth
from gctokens_nb.redaction import Secret
begun, never = threading.Event(), threading.Event()
def renew(used):
    begun.set()
    never.wait()
old = oauth.AccessToken(secret=Secret("old"), grant="x", issued_at=datetime.datetime.now(datetime.UTC))
keeper = oauth.TokenKeeper(old, renew)
threading.Thread(target=keeper.renew, args=(old,), daemon=True).start()
begun.wait()
threading.Timer(0.3, _thread.interrupt_main).start()
try:
    keeper.renew(old)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "interrupted\n"


def test_waiting_for_a_renewal_can_be_cancelled():
    """A thread's `cancel` ends its wait for the renewal of another thread."""
    old = issued("old")
    renewals = Renewals()
    renewals.outcomes = [issued("new")]
    keeper = TokenKeeper(old, renewals)
    cancel = threading.Event()
    cancel.set()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(keeper.renew, old)
        assert renewals.begun[0].wait(30)
        with (
            gct.watch_waits(cancel=cancel),
            pytest.raises(CancelledError, match="Waiting for a new access token"),
        ):
            keeper.renew(old)
        renewals.go.release()
        assert first.result(30) is renewals.outcomes[0]


def test_a_sign_out_during_a_renewal_stays_signed_out():
    """A token that comes after the sign-out is not used."""
    old = issued("old")
    renewals = Renewals()
    renewals.outcomes = [issued("new")]
    keeper = TokenKeeper(old, renewals)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(keeper.renew, old)
        assert renewals.begun[0].wait(30)
        keeper.forget()
        renewals.go.release()
        with pytest.raises(SignedOutError):
            late.result(30)


def test_a_renewed_token_that_is_refused_too_is_an_error(sandbox: Sandbox, sign_in):
    """A 401 for the new token as well ends it: one renewal a request, no loop."""
    gc = sign_in()
    sandbox.add_fault(Fault("status", path="/tokens/me", status=401))
    with pytest.raises(UnauthorizedError):
        gc.tokens.get_tokens_me()
    assert sign_ins(sandbox) == 2
    assert len(sandbox.calls) == 4


# The grants of a person, as far as one request goes


def test_refresh_keeps_the_old_refresh_token_where_none_comes(sandbox: Sandbox):
    """A refresh answer without a new refresh token leaves the old one in use; with one, it replaces it."""
    region, old = resolve(sandbox.environment), Secret("old-refresh-token")
    answering(sandbox, '{"access_token": "abc", "expires_in": 60}')
    assert oauth.refresh(region, "client", old).refresh_token == old
    sandbox.clear_faults()
    answering(sandbox, '{"access_token": "abc", "refresh_token": "new"}')
    assert oauth.refresh(region, "client", old).refresh_token == Secret("new")


def test_a_refused_refresh_token_is_not_repeated(sandbox: Sandbox):
    """An unknown refresh token is a login error that does not show it, even where the server does."""
    answering(sandbox, '{"error": "invalid_grant", "error_description": "unknown: old-refresh-token"}', 400)
    with pytest.raises(LoginError, match="unknown: …") as caught:
        oauth.refresh(resolve(sandbox.environment), "client", Secret("old-refresh-token"))
    assert "old-refresh-token" not in str(caught.value)


def test_a_public_client_sends_its_id_in_the_form(sandbox: Sandbox):
    """Without a secret the client id goes into the form, and a code travels with its verifier."""
    with pytest.raises(LoginError):
        oauth.authorization_code(
            resolve(sandbox.environment),
            sandbox.client("single page app").client_id,
            Secret("no-code"),
            "http://127.0.0.1/callback",
            code_verifier=Secret("v" * 43),
        )
    assert set(sandbox.calls[0].form_keys) == {
        "grant_type",
        "code",
        "redirect_uri",
        "code_verifier",
        "client_id",
    }
