"""Signing in as a person: browser on this machine, pasted address, refresh, SAML2 bearer."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

import gctokens_nb as gct
from gctokens_nb import oauth, regions
from gctokens_nb.errors import (
    CancelledError,
    ConfigurationError,
    LoginError,
    SignedOutError,
    UnauthorizedError,
)
from gctokens_nb.redaction import Secret
from gctokens_nb.sandbox import Fault, Sandbox
from gctokens_nb.sign_in import SignIn

CALLBACK = "http://127.0.0.1/callback"


def browse(url: str) -> str:
    """Be a browser that does not follow the redirect: return the address it would end on."""
    return requests.get(url, allow_redirects=False, timeout=10).headers["Location"]


def query(url: str) -> dict[str, str]:
    """Return the query of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def begin(sandbox: Sandbox, client: str = "single page app", **options: Any) -> SignIn:
    """Begin to sign in the sandbox's first user."""
    known = sandbox.client(client)
    return gct.begin_sign_in(
        sandbox.environment,
        known.client_id,
        CALLBACK,
        client_secret=known.client_secret,
        **{"login_hint": sandbox.users[0].email, **options},
    )


@contextlib.contextmanager
def browser(sandbox: Sandbox, **options: Any) -> Iterator[tuple[list[requests.Response], gct.Connection]]:
    """Sign in with a browser of our own that follows the redirect; give the pages it saw and the connection."""
    pages: list[requests.Response] = []
    with ThreadPoolExecutor(1) as pool:

        def open_url(url: str) -> None:
            seen.append(pool.submit(requests.get, url, timeout=10))

        seen: list[Any] = []
        options = {"login_hint": sandbox.users[0].id, "open_url": open_url, **options}
        connection = gct.sign_in_with_browser(
            sandbox.environment, sandbox.client("single page app").client_id, **options
        )
        pages += [one.result() for one in seen]
    yield pages, connection
    connection.close()


def test_pasted_address_signs_in_with_pkce_and_no_secret(sandbox: Sandbox) -> None:
    """A public client signs a person in by S256 PKCE: no Authorization header, the client id in the form."""
    sign_in = begin(sandbox)
    asked = query(sign_in.url)
    assert asked["code_challenge_method"] == "S256"
    gc = sign_in.finish(browse(sign_in.url))
    assert gc.directory.me().email == sandbox.users[0].email
    call = next(c for c in sandbox.calls if c.path == "/oauth/token")
    assert not call.authorized
    assert {"client_id", "code_verifier", "code", "redirect_uri", "grant_type"} <= set(call.form_keys)


def test_verifier_is_of_rfc_7636_and_matches_its_challenge(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verifier comes from `secrets`, has 43 to 128 unreserved characters, and its S256 is the challenge sent."""
    made: list[str] = []
    real = oauth.secrets.token_urlsafe
    monkeypatch.setattr(oauth.secrets, "token_urlsafe", lambda size: made.append(real(size)) or made[-1])
    asked = query(begin(sandbox).url)
    verifier = made[1]
    assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier)
    digest = hashlib.sha256(verifier.encode()).digest()
    assert asked["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert asked["state"] == made[0]


def test_confidential_client_signs_in_with_its_secret(sandbox: Sandbox) -> None:
    """A client with a secret uses the plain code grant, id and secret as Basic."""
    sign_in = begin(sandbox, "web app")
    assert "code_challenge" not in query(sign_in.url)
    gc = sign_in.finish(browse(sign_in.url))
    assert gc.tokens.get_tokens_me().oauth_client.authorized_grant_type == "CODE"


def test_hints_reach_the_login_page(sandbox: Sandbox) -> None:
    """Organization, provider and prompt are passed on."""
    asked = query(begin(sandbox, org="cumulus", provider="okta", prompt="login").url)
    assert (asked["org"], asked["provider"], asked["prompt"]) == ("cumulus", "okta", "login")


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda a: re.sub("state=[^&]+", "state=other", a), "invalid_state", "belongs to another sign-in"),
        (lambda a: re.sub("&?state=[^&]+", "", a), "invalid_state", "carries no state"),
        (lambda a: re.sub("code=[^&]+&?", "", a), "invalid_request", "carries no code"),
        (lambda _: "", "invalid_state", "carries no state"),
        (lambda a: a + "&state=second", "invalid_state", "carries no state"),
    ],
)
def test_wrong_address_is_refused_with_the_reason(
    sandbox: Sandbox, spoil: Any, error: str, says: str
) -> None:
    """Wrong or missing state, missing code, a state given twice: refused before the code is sent anywhere."""
    sign_in = begin(sandbox)
    with pytest.raises(LoginError, match=says) as caught:
        sign_in.finish(spoil(browse(sign_in.url)))
    assert caught.value.error == error
    assert all(call.path != "/oauth/token" for call in sandbox.calls)


def test_denied_access_is_said_in_words(sandbox: Sandbox) -> None:
    """`error=access_denied` on the address: the person refused, and that is what the error says."""
    sign_in = begin(sandbox)
    address = f"{CALLBACK}?{urlencode({'error': 'access_denied', 'state': query(sign_in.url)['state']})}"
    with pytest.raises(LoginError, match="refused in the browser") as caught:
        sign_in.finish(address)
    assert caught.value.error == "access_denied"


def test_address_is_good_once(sandbox: Sandbox) -> None:
    """A replayed address is refused here already."""
    sign_in = begin(sandbox)
    address = browse(sign_in.url)
    sign_in.finish(address)
    with pytest.raises(LoginError, match="answered already") as caught:
        sign_in.finish(address)
    assert caught.value.error == "replayed"


def test_stale_address_is_refused(sandbox: Sandbox) -> None:
    """An address that comes back after the sign-in's lifetime is refused."""
    client = sandbox.client("single page app")
    request = oauth.AuthorizationRequest(
        regions.resolve(sandbox.environment),
        client.client_id,
        CALLBACK,
        lifetime_seconds=-1,
        login_hint=sandbox.users[0].id,
    )
    with pytest.raises(LoginError, match="too long ago") as caught:
        request.finish(browse(request.url))
    assert caught.value.error == "expired"


def test_expired_code_is_refused_by_the_login_host(sandbox: Sandbox) -> None:
    """A code older than 60 s is an invalid_grant, said with what to do."""
    sign_in = begin(sandbox)
    address = browse(sign_in.url)
    sandbox.advance(61)
    with pytest.raises(LoginError, match="start the sign-in again") as caught:
        sign_in.finish(address)
    assert caught.value.error == "invalid_grant"


def test_code_used_twice_and_foreign_verifier_are_refused(sandbox: Sandbox) -> None:
    """The login host refuses a code with another sign-in's verifier, and one that was used; neither code is shown."""
    region, client = regions.resolve(sandbox.environment), sandbox.client("single page app")
    code = Secret(query(browse(begin(sandbox).url))["code"])
    for _ in range(2):
        with pytest.raises(LoginError) as caught:
            oauth.authorization_code(region, client.client_id, code, CALLBACK, code_verifier=Secret("x" * 43))
        assert caught.value.error == "invalid_grant"
        assert code.reveal() not in str(caught.value)


def test_without_an_address_the_person_is_asked(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`finish()` prints the link and asks for the address without echo."""
    sign_in = begin(sandbox)
    monkeypatch.setattr("getpass.getpass", lambda _: browse(sign_in.url))
    assert sign_in.finish().directory.me().id == sandbox.users[0].id
    assert sign_in.url in capsys.readouterr().out


def test_browser_of_this_machine(sandbox: Sandbox) -> None:
    """The redirect is caught on 127.0.0.1; the page says that the tab can be closed and holds no token or code."""
    with browser(sandbox) as (pages, gc):
        assert gc.directory.me().id == sandbox.users[0].id
        assert "you can close this tab" in pages[0].text
        assert gc.access_token.value not in pages[0].text
        assert query(pages[0].url)["code"] not in pages[0].text
        port = urlsplit(pages[0].url).port
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/callback", timeout=5)


def test_listener_ignores_other_paths_and_silent_sockets(sandbox: Sandbox) -> None:
    """A favicon request and a socket that never speaks do not end the wait, nor block the real answer."""
    statuses: list[int] = []

    def open_url(url: str) -> None:
        port = urlsplit(query(url)["redirect_uri"]).port or 0
        silent.append(socket.create_connection(("127.0.0.1", port)))
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        other.request("GET", "/favicon.ico")
        statuses.append(other.getresponse().status)
        other.close()
        threading.Thread(target=requests.get, args=(url,), kwargs={"timeout": 10}).start()

    silent: list[socket.socket] = []
    with browser(sandbox, open_url=open_url) as (_, gc):
        assert gc.directory.me().id
    assert statuses == [404]
    silent[0].close()


def test_listener_listens_on_loopback_only(sandbox: Sandbox) -> None:
    """Nothing listens on the machine's other addresses."""
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    others = [a for a in addresses if not a.startswith("127.")]
    refused: list[str] = []

    def open_url(url: str) -> None:
        port = urlsplit(query(url)["redirect_uri"]).port or 0
        for address in [*others, "127.0.0.2"]:
            try:
                socket.create_connection((address, port), timeout=5).close()
            except OSError:
                refused.append(address)
        threading.Thread(target=requests.get, args=(url,), kwargs={"timeout": 10}).start()

    with browser(sandbox, open_url=open_url):
        pass
    assert refused == [*others, "127.0.0.2"]


@pytest.mark.parametrize(
    "strange",
    [
        "code=abc&state=guess",
        "code=abc",
        "error=access_denied",
        "error=access_denied&state=",
        "state=%FF&code=1",
        "&".join(f"f{n}=1" for n in range(2000)),
        "",
    ],
)
def test_a_page_that_calls_first_does_not_end_the_sign_in(sandbox: Sandbox, strange: str) -> None:
    """Whatever does not carry this sign-in's state is turned away; the person's own answer is still taken."""
    statuses: list[int] = []

    def open_url(url: str) -> None:
        target = f"{query(url)['redirect_uri']}?{strange}"
        statuses.extend(requests.get(target, timeout=10).status_code for _ in range(3))
        threading.Thread(target=requests.get, args=(url,), kwargs={"timeout": 10}).start()

    with browser(sandbox, open_url=open_url) as (_, gc):
        assert gc.directory.me().id == sandbox.users[0].id
    assert statuses == [400] * 3


def test_only_the_listeners_own_names_are_served(sandbox: Sandbox) -> None:
    """A page that reaches the listener by a name of its own (DNS rebinding) gets no answer, right state or not."""
    statuses: list[int] = []

    def open_url(url: str) -> None:
        answer = requests.get(url, timeout=10, allow_redirects=False).headers["Location"]
        hosts = "evil.example", "evil.example:80", f"evil.example:{urlsplit(answer).port}", "127.0.0.1"
        statuses.extend(
            requests.get(answer, headers={"Host": host}, timeout=10).status_code for host in hosts
        )
        statuses.append(requests.post(answer, timeout=10).status_code)
        statuses.append(requests.get(answer, timeout=10).status_code)
        statuses.append(requests.get(answer, timeout=10).status_code)

    with browser(sandbox, open_url=open_url) as (_, gc):
        assert gc.directory.me().id
    assert statuses == [421, 421, 421, 421, 404, 200, 404]


def test_requests_without_end_do_not_hold_up_the_answer(sandbox: Sandbox) -> None:
    """Sockets that drip or send without end, and more of them than are served, leave the sign-in working."""
    dripping: list[socket.socket] = []

    def open_url(url: str) -> None:
        port = urlsplit(query(url)["redirect_uri"]).port or 0
        for _ in range(60):
            dripping.append(socket.create_connection(("127.0.0.1", port)))
            dripping[-1].sendall(b"GET /callback?code=1 HTTP/1.1\r\nX: ")
        with socket.create_connection(("127.0.0.1", port)) as flood, contextlib.suppress(OSError):
            flood.settimeout(10)
            for _ in range(200):
                flood.sendall(b"GET /callback?" + b"x" * 1000)
            assert flood.recv(1) == b""
        threading.Thread(target=requests.get, args=(url,), kwargs={"timeout": 10}).start()

    with browser(sandbox, open_url=open_url) as (_, gc):
        assert gc.directory.me().id
    for one in dripping:
        one.close()


def test_a_timeout_tells_of_answers_that_were_turned_away(sandbox: Sandbox) -> None:
    """Where something else answered, the error of the wait says so: the redirect works, its state does not fit."""

    def open_url(url: str) -> None:
        requests.get(f"{query(url)['redirect_uri']}?code=abc&state=guess", timeout=10)

    with (
        pytest.raises(LoginError, match=r"Requests that did not belong to it: 1\."),
        browser(sandbox, open_url=open_url, timeout_seconds=0.2),
    ):
        pass


def test_nobody_signs_in(sandbox: Sandbox) -> None:
    """The wait ends after its timeout and says which redirect URI must be registered."""
    with (
        pytest.raises(
            LoginError, match=r"Nobody signed in within 0\.1 seconds.*/callback must be registered"
        ),
        browser(sandbox, open_url=lambda _: None, timeout_seconds=0.1),
    ):
        pass


def test_wait_for_the_browser_can_be_cancelled(sandbox: Sandbox) -> None:
    """Setting the `cancel` of `watch_waits` ends the wait."""
    cancel = threading.Event()
    with (
        gct.watch_waits(cancel=cancel),
        pytest.raises(CancelledError),
        browser(sandbox, open_url=lambda _: cancel.set()),
    ):
        pass


def test_no_browser_prints_the_link(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no browser can be opened, the link is printed."""
    with (
        pytest.raises(LoginError),
        browser(sandbox, open_url=lambda _: False, timeout_seconds=0.05),
    ):
        pass
    assert f"{sandbox.base_url}/oauth/authorize?" in capsys.readouterr().out


@pytest.mark.parametrize(
    "uri",
    [
        "https://notebooks.example.org/callback",
        "https://127.0.0.1/callback",
        "nonsense",
        "http://[::1",
        "http://127.0.0.1:x",
    ],
)
def test_redirect_uri_elsewhere_cannot_be_caught(sandbox: Sandbox, uri: str) -> None:
    """A redirect URI that is not http on this machine is refused, with the way that works."""
    with pytest.raises(ConfigurationError, match="begin_sign_in"):
        gct.sign_in_with_browser(sandbox.environment, "any", uri)


def test_redirect_port_in_use(sandbox: Sandbox) -> None:
    """A taken port is said so, with what to do."""
    port = urlsplit(sandbox.base_url).port
    with pytest.raises(ConfigurationError, match=f"Port {port} on 127.0.0.1 cannot be listened on"):
        gct.sign_in_with_browser(sandbox.environment, "any", f"http://127.0.0.1:{port}/callback")


def test_refresh_token_renews_and_rotates(sandbox: Sandbox) -> None:
    """After expiry the next call renews by the refresh token, and the one after by the rotated one."""
    sign_in = begin(sandbox)
    gc = sign_in.finish(browse(sign_in.url))
    seen = [gc.access_token.fingerprint]
    for _ in range(2):
        sandbox.advance(90_000)
        gc.tokens.get_tokens_me()
        seen.append(gc.access_token.fingerprint)
    assert len(set(seen)) == 3
    assert gc.access_token.grant == "refresh_token"


def test_revoked_refresh_token_says_so_and_never_loops(sandbox: Sandbox) -> None:
    """When the refresh is refused, the call raises that refusal after one token request."""
    sign_in = begin(sandbox)
    gc = sign_in.finish(browse(sign_in.url))
    client = sandbox.client("single page app")
    oauth.refresh(
        gc.region, client.client_id, gc.access_token.refresh_token
    )  # rotates: the old one is dead now
    sandbox.advance(90_000)
    before = sum(call.path == "/oauth/token" for call in sandbox.calls)
    with pytest.raises(LoginError, match="start the sign-in again") as caught:
        gc.tokens.get_tokens_me()
    assert caught.value.error == "invalid_grant"
    assert sum(call.path == "/oauth/token" for call in sandbox.calls) == before + 1


def test_refresh_is_bounded_to_once_a_request(sandbox: Sandbox) -> None:
    """A server that goes on saying 401 after a renewal gets no second renewal."""
    sign_in = begin(sandbox)
    gc = sign_in.finish(browse(sign_in.url))
    sandbox.add_fault(Fault("status", path="/api/v2/tokens/me", status=401))
    before = sum(call.path == "/oauth/token" for call in sandbox.calls)
    with pytest.raises(UnauthorizedError):
        gc.tokens.get_tokens_me()
    assert sum(call.path == "/oauth/token" for call in sandbox.calls) == before + 1


def test_fifty_threads_one_refresh(sandbox: Sandbox) -> None:
    """50 threads that meet one expired token cause exactly one renewal, and all get their answer."""
    sign_in = begin(sandbox)
    gc = sign_in.finish(browse(sign_in.url))
    sandbox.advance(90_000)
    before = sum(call.path == "/oauth/token" for call in sandbox.calls)
    start = threading.Barrier(50)

    def read(_: int) -> str:
        start.wait()
        return str(gc.tokens.get_tokens_me().organization.id)

    with ThreadPoolExecutor(50) as pool:
        assert len(set(pool.map(read, range(50)))) == 1
    assert sum(call.path == "/oauth/token" for call in sandbox.calls) == before + 1


def test_fifty_threads_share_one_failed_refresh(sandbox: Sandbox) -> None:
    """When that one renewal fails, each thread that waited for it hears so."""
    sign_in = begin(sandbox)
    gc = sign_in.finish(browse(sign_in.url))
    oauth.refresh(gc.region, gc.client_id or "", gc.access_token.refresh_token)  # rotates: ours is dead now
    sandbox.advance(90_000)
    hold = Fault("hold", path="/oauth/token", times=1)
    sandbox.add_fault(hold)
    with ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(gc.tokens.get_tokens_me) for _ in range(50)]
        hold.wait_until_held(10)
        hold.release()
        assert all(isinstance(call.exception(), LoginError) for call in calls)


def test_sign_out_of_a_person_forgets_the_refresh_token(sandbox: Sandbox) -> None:
    """After `sign_out` the token is dead, and nothing signs in again."""
    sign_in = begin(sandbox)
    gc = sign_in.finish(browse(sign_in.url))
    token = gc.access_token.value
    gc.sign_out(verify=True)
    assert not sandbox.is_alive(token)
    with pytest.raises(SignedOutError, match="has signed out"):
        gc.tokens.get_tokens_me()
    assert "signed out" in repr(gc)


def assertion(email: str) -> str:
    """Return a well-formed SAML2 assertion for that user, as an identity provider's test page shows it."""
    xml = (
        '<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_1" Version="2.0">'
        f"<saml:Subject><saml:NameID>{email}</saml:NameID></saml:Subject></saml:Assertion>"
    )
    return base64.b64encode(xml.encode()).decode()


def test_saml2_bearer_signs_in(sandbox: Sandbox) -> None:
    """A well-formed assertion of the right organization signs its subject in."""
    client, user = sandbox.client("saml"), sandbox.users[0]
    gc = gct.authenticate_with_saml2_bearer(
        client.client_id,
        client.client_secret or "",
        "Cumulus Airlines",
        assertion(user.email),
        sandbox.environment,
    )
    assert gc.directory.me().id == user.id
    assert gc.access_token.grant == "saml2_bearer"


@pytest.mark.parametrize("bad", ["not base64 at all!", base64.b64encode(b"<no").decode(), ""])
def test_malformed_assertion_is_refused_and_not_shown(sandbox: Sandbox, bad: str) -> None:
    """A malformed assertion is an invalid_grant with what to do; its text is not repeated."""
    client = sandbox.client("saml")
    with pytest.raises(LoginError) as caught:
        gct.authenticate_with_saml2_bearer(
            client.client_id, client.client_secret or "", "Cumulus Airlines", bad, sandbox.environment
        )
    assert caught.value.error in {"invalid_grant", "invalid_request"}
    assert not bad or bad not in str(caught.value)


def test_wrong_clock_does_not_matter(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expiry is counted from the answer on the monotonic clock: a wall clock years behind renews nothing."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(1999, 12, 31, tzinfo=tz)

    monkeypatch.setattr(oauth, "datetime", Wrong)
    sign_in = begin(sandbox)
    gc = sign_in.finish(browse(sign_in.url))
    assert gc.access_token.expires_at < datetime.now(UTC)
    before = gc.access_token.fingerprint
    gc.tokens.get_tokens_me()
    assert gc.access_token.fingerprint == before


def test_nothing_shows_the_secrets_of_a_sign_in(sandbox: Sandbox) -> None:
    """Neither repr nor HTML of a sign-in holds the verifier or a client secret."""
    sign_in = begin(sandbox, "web app")
    secret = sandbox.client("web app").client_secret or ""
    shown = f"{sign_in!r}{sign_in._repr_html_()}{sign_in._request!r}"
    assert secret not in shown
    verifier = begin(sandbox)._request
    assert verifier._verifier is not None
    assert verifier._verifier.reveal() not in f"{verifier!r}{verifier.url}"
