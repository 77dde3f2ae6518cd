"""What the published SDK does that our client must not: each shown on the SDK first, then on ours."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

import gctokens_nb as gct
from gctokens_nb import errors
from gctokens_nb.sandbox import Fault, Sandbox

CALLBACK = "http://127.0.0.1/callback"
ONCE = gct.RetryPolicy(attempts=1)


def requests_of(sandbox: Sandbox) -> list[tuple[str, str, int | None]]:
    """Return what has reached the sandbox."""
    return [(call.method, call.path, call.status) for call in sandbox.calls]


def count_token_requests(sandbox: Sandbox) -> int:
    """Return how often a token was asked for."""
    return sum(call.path == "/oauth/token" for call in sandbox.calls)


def admin_of(sdk: ModuleType, client: Any, sandbox: Sandbox) -> Any:
    """Return the SDK's Tokens API as the sandbox's administrator's client."""
    client.access_token = sandbox.issue_token(client="admin")
    return sdk.TokensApi(client)


@pytest.fixture
def web_app(client: Any, sandbox: Sandbox, code_for: Callable[..., str]) -> Any:
    """The SDK, signed in by the code grant, with a refresh token."""
    known = sandbox.client("web app")
    code = code_for(sandbox, known.name)
    client.get_code_authorization_token(known.client_id, known.client_secret, code, CALLBACK)
    return client


@pytest.fixture
def our_web_app(our_sign_in: Callable[..., Any], browse: Callable[[str], str]) -> Iterator[gct.Connection]:
    """Our client, signed in by the code grant."""
    begun = our_sign_in("web app")
    with begun.finish(browse(begun.url)) as gc:
        yield gc


def test_user_id_cannot_leave_its_path(
    sdk: ModuleType, client: Any, sandbox: Sandbox, gc: gct.Connection
) -> None:
    """A user id with a path in it makes the SDK delete something else; ours refuses it and sends nothing."""
    with pytest.raises(sdk.rest.ApiException):
        admin_of(sdk, client, sandbox).delete_token("../oauth/clients/x")
    assert requests_of(sandbox)[-1] == ("DELETE", "/api/v2/oauth/clients/x", 405)
    before = len(sandbox.calls)
    with pytest.raises(errors.InvalidUserIdError):
        gc.tokens.delete_token("../oauth/clients/x")
    assert len(sandbox.calls) == before


def test_me_is_no_user_id(sdk: ModuleType, client: Any, sandbox: Sandbox, gc: gct.Connection) -> None:
    """The user id `me` makes the SDK revoke its own token; ours refuses it and stays signed in."""
    admin_of(sdk, client, sandbox).delete_token("me")
    assert not sandbox.is_alive(client.access_token)
    with pytest.raises(errors.InvalidUserIdError):
        gc.tokens.delete_token("me")
    assert sandbox.is_alive(gc.access_token.value)


def test_renewal_ends(sdk: ModuleType, web_app: Any, sandbox: Sandbox, our_web_app: gct.Connection) -> None:
    """Where new tokens are refused too, the SDK renews until the stack overflows; ours renews once and says 401."""
    sandbox.add_fault(Fault("expire-token", path="tokens/me"))
    before = count_token_requests(sandbox)
    with pytest.raises(RecursionError):
        sdk.TokensApi(web_app).get_tokens_me()
    assert count_token_requests(sandbox) > before + 50
    before = count_token_requests(sandbox)
    with pytest.raises(errors.UnauthorizedError):
        our_web_app.tokens.get_tokens_me()
    assert count_token_requests(sandbox) == before + 1


def test_revoking_an_expired_token_gets_no_new_one(
    sdk: ModuleType, web_app: Any, sandbox: Sandbox, our_web_app: gct.Connection
) -> None:
    """Asked to revoke a token that has expired, the SDK gets a new one and revokes that; ours says 401."""
    sandbox.advance(86401)
    before = len(sandbox.calls)
    sdk.TokensApi(web_app).delete_tokens_me()
    own = ("DELETE", "/api/v2/tokens/me")
    assert requests_of(sandbox)[before:] == [(*own, 401), ("POST", "/oauth/token", 200), (*own, 200)]
    before = len(sandbox.calls)
    with pytest.raises(errors.UnauthorizedError):
        our_web_app.tokens.delete_tokens_me()
    assert requests_of(sandbox)[before:] == [(*own, 401)]


@pytest.mark.parametrize("kind", ["status", "drop-before"])
def test_attempts_are_as_many_as_asked(
    sdk: ModuleType,
    client: Any,
    sandbox: Sandbox,
    sign_in: Callable[..., gct.Connection],
    kind: str,
) -> None:
    """Trouble that lasts makes the SDK ask 11 times, to end in urllib3's own error if the connection drops; ours does as told."""
    theirs, ours = admin_of(sdk, client, sandbox), sign_in(retry=ONCE)
    sandbox.add_fault(Fault(kind, status=429, seconds=0))
    before = len(sandbox.calls)
    dropped = kind == "drop-before"
    with pytest.raises(urllib3.exceptions.MaxRetryError if dropped else sdk.rest.ApiException):
        theirs.get_tokens_me()
    assert len(sandbox.calls) == before + 11
    with pytest.raises(errors.ConnectionDroppedError if dropped else errors.RateLimitedError):
        ours.tokens.get_tokens_me()
    assert len(sandbox.calls) == before + 12


def test_page_of_the_network_is_no_success(
    sdk: ModuleType, client: Any, sandbox: Sandbox, gc: gct.Connection
) -> None:
    """A 200 with a log-in page of the network in place of the answer is a revocation to the SDK; to ours an error."""
    victim, token = sandbox.users[1], sandbox.issue_token(sandbox.users[1])
    theirs = admin_of(sdk, client, sandbox)
    sandbox.add_fault(Fault("html", status=200))
    theirs.delete_token(victim.id)
    assert theirs.get_tokens_me().organization is None
    with pytest.raises(errors.InvalidAnswerError):
        gc.tokens.delete_token(victim.id)
    assert sandbox.is_alive(token)


def test_code_is_sent_once(
    sdk: ModuleType,
    client: Any,
    sandbox: Sandbox,
    code_for: Callable[..., str],
    our_sign_in: Callable[..., Any],
    browse: Callable[[str], str],
) -> None:
    """Where the answer to a code is lost, the SDK sends the code again, which revokes what it had got; ours does not."""
    known = sandbox.client("web app")
    sandbox.add_fault(Fault("drop-after", path="/oauth/token", times=1))
    with pytest.raises(sdk.rest.ApiException, match="has been used before"):
        client.get_code_authorization_token(
            known.client_id, known.client_secret, code_for(sandbox, known.name), CALLBACK
        )
    assert count_token_requests(sandbox) == 2
    sandbox.add_fault(Fault("drop-after", path="/oauth/token", times=1))
    begun = our_sign_in(known.name)
    with pytest.raises(errors.ConnectionDroppedError):
        begun.finish(browse(begun.url))
    assert count_token_requests(sandbox) == 3


def test_pkce_is_renewed(
    sdk: ModuleType,
    client: Any,
    sandbox: Sandbox,
    code_for: Callable[..., str],
    our_sign_in: Callable[..., Any],
    browse: Callable[[str], str],
) -> None:
    """The SDK drops the refresh token of a PKCE sign-in and ends with its access token; ours goes on."""
    client_id = sandbox.client("single page app").client_id
    verifier = client.generate_pkce_code_verifier(128)
    challenge = client.compute_pkce_code_challenge(verifier)
    code = code_for(sandbox, "single page app", code_challenge=challenge, code_challenge_method="S256")
    _, answer = client.get_pkce_token(client_id, verifier, code, CALLBACK)
    assert answer["refresh_token"]
    begun = our_sign_in("single page app")
    with begun.finish(browse(begun.url)) as gc:
        sandbox.advance(86401)
        with pytest.raises(sdk.rest.ApiException, match=r"credentials\.expired"):
            sdk.TokensApi(client).get_tokens_me()
        assert gc.tokens.get_tokens_me().organization is not None


def test_unknown_grant_type_is_kept(sdk: ModuleType, client: Any, sandbox: Sandbox) -> None:
    """A grant type that the SDK has no word for is lost in it; ours keeps it as it came."""
    client.access_token = sandbox.issue_token()
    body = '{"OAuthClient": {"name": "x", "authorizedGrantType": "PKCE"}}'
    sandbox.add_fault(Fault("status", path="/tokens/me", status=200, body=body))
    theirs = sdk.TokensApi(client).get_tokens_me()
    assert theirs.o_auth_client.authorized_grant_type == "outdated_sdk_version"
    with gct.connect(sandbox.environment, access_token=client.access_token) as gc:
        assert gc.tokens.get_tokens_me().oauth_client.authorized_grant_type == "PKCE"


def test_verifier_cannot_be_guessed(client: Any) -> None:
    """Who knows the seed of `random` knows the SDK's PKCE verifier; ours is made without it."""
    theirs, ours = set(), set()
    for _ in range(2):
        random.seed(1)
        theirs.add(client.generate_pkce_code_verifier(128))
        url = gct.begin_sign_in("mypurecloud.de", "a-client", CALLBACK).url
        ours.update(parse_qs(urlsplit(url).query)["code_challenge"])
    random.seed()
    assert (len(theirs), len(ours)) == (1, 2)


def test_secret_of_any_letters(client: Any, sandbox: Sandbox) -> None:
    """A client secret that is not ASCII crashes the SDK; ours signs in with it."""
    known = sandbox.add_client("unicode", client_secret="schlüssel")
    with pytest.raises(UnicodeEncodeError):
        client.get_client_credentials_token(known.client_id, known.client_secret)
    with gct.connect(sandbox.environment, client_id=known.client_id, client_secret=known.client_secret) as gc:
        gc.tokens.head_tokens_me()


def test_error_text_holds_no_cookies(
    sdk: ModuleType, client: Any, sandbox: Sandbox, gc: gct.Connection
) -> None:
    """The SDK's error text repeats the cookies that came with the answer; ours does not."""
    theirs = admin_of(sdk, client, sandbox)
    sandbox.add_fault(Fault("status", status=500, headers={"Set-Cookie": "session=d0n7te11"}))
    with pytest.raises(sdk.rest.ApiException, match="d0n7te11"):
        theirs.get_tokens_me()
    with pytest.raises(errors.ServerError) as we_say:
        gc.tokens.get_tokens_me()
    assert "d0n7te11" not in f"{we_say.value} {we_say.value!r} {vars(we_say.value)}"
