"""Both clients sign in by every grant, and the sandbox gets the same requests from them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

import gctokens_nb as gct
from gctokens_nb import oauth
from gctokens_nb.redaction import Secret
from gctokens_nb.sandbox import Sandbox

CALLBACK = "http://127.0.0.1/callback"
PUBLIC = "single page app"  # it signs people in with PKCE; the service has no word for that and says CODE
GRANTS = {  # name of the sandbox's client -> its grant
    "admin": "CLIENT-CREDENTIALS",
    "web app": "CODE",
    PUBLIC: "CODE",
    "saml": "SAML2-BEARER",
}


def assertion_for(email: str) -> str:
    """Return what an identity provider would post about a person, in base64."""
    xml = (
        '<Assertion xmlns="urn:oasis:names:tc:SAML:2.0:assertion" ID="a" Version="2.0">'
        f"<Subject><NameID>{email}</NameID></Subject></Assertion>"
    )
    return base64.b64encode(xml.encode()).decode()


def sign_in_theirs(client: Any, server: Sandbox, name: str, code_for: Callable[..., str]) -> None:
    """Sign in to the sandbox with the SDK, by the grant of that OAuth client."""
    known = server.client(name)
    identity = (known.client_id, known.client_secret)
    match known.grant:
        case "CLIENT-CREDENTIALS":
            client.get_client_credentials_token(*identity)
        case "CODE" if name != PUBLIC:
            client.get_code_authorization_token(*identity, code_for(server, name), CALLBACK)
        case "CODE":
            verifier = client.generate_pkce_code_verifier(128)
            challenge = {
                "code_challenge": client.compute_pkce_code_challenge(verifier),
                "code_challenge_method": "S256",
            }
            client.get_pkce_token(known.client_id, verifier, code_for(server, name, **challenge), CALLBACK)
        case "SAML2-BEARER":
            assertion = assertion_for(server.users[0].email)
            client.get_saml2bearer_token(*identity, server.organization.name, assertion)


@pytest.fixture
def sign_in_ours(
    our_sign_in: Callable[..., Any], browse: Callable[[str], str]
) -> Callable[[Sandbox, str], gct.Connection]:
    """Do the same with our client: `sign_in_ours(sandbox, "web app")`."""

    def connect(server: Sandbox, name: str) -> gct.Connection:
        known = server.client(name)
        identity = (known.client_id, known.client_secret)
        match known.grant:
            case "CLIENT-CREDENTIALS":
                return gct.authenticate_with_client_credentials(*identity, server.environment)
            case "SAML2-BEARER":
                assertion = assertion_for(server.users[0].email)
                return gct.authenticate_with_saml2_bearer(
                    *identity, server.organization.name, assertion, server.environment
                )
            case _:
                begun = our_sign_in(name, server)
                return begun.finish(browse(begun.url))

    return connect


def all_six_calls(tokens: Any, user_id: str) -> list[Any]:
    """Do what both clients name alike, and return what was read."""
    tokens.head_tokens_me()
    read = [
        tokens.get_tokens_me(),
        tokens.get_tokens_me(preserve_idle_ttl=True),
        tokens.get_tokens_timeout(),
        tokens.put_tokens_timeout(body={"idleTokenTimeoutSeconds": 900, "inactivityTimeoutUnit": "Hours"}),
    ]
    tokens.delete_token(user_id)
    tokens.delete_tokens_me()
    return read


def seen(server: Sandbox) -> list[tuple[object, ...]]:
    """Return the requests that reached the sandbox and the statuses it gave."""
    return [
        (call.method, call.path, call.query, call.status, call.authorized, set(call.form_keys))
        for call in server.calls
        # The authorize page is the browser's; ours asks who it is so as not to revoke its own user by mistake.
        if call.path not in {"/oauth/authorize", "/api/v2/users/me"}
    ]


@pytest.mark.parametrize("name", GRANTS)
def test_every_grant_and_all_six_calls(
    sdk: ModuleType,
    new_client: Callable[..., Any],
    code_for: Callable[..., str],
    sign_in_ours: Callable[..., gct.Connection],
    plain: Callable[[Any], Any],
    name: str,
) -> None:
    """By each grant both clients sign in, do all six calls with the same requests, and read the same."""
    with Sandbox() as theirs, Sandbox() as ours:
        client = new_client(theirs)
        sign_in_theirs(client, theirs, name, code_for)
        assert theirs.is_alive(client.access_token)
        victims = [server.issue_token(server.users[1]) for server in (theirs, ours)]
        they_read = plain(all_six_calls(sdk.TokensApi(client), theirs.users[1].id))
        with sign_in_ours(ours, name) as gc:
            we_read = plain(all_six_calls(gc.tokens, ours.users[1].id))
        assert seen(theirs) == seen(ours)
        assert len(seen(theirs)) == 8
        assert [call.status for call in theirs.calls[-7:]] == [204, 200, 200, 200, 200, 204, 200]
        assert not theirs.is_alive(client.access_token)
        assert not any(server.is_alive(token) for server, token in zip((theirs, ours), victims, strict=True))
    for info in (*they_read[:2], *we_read[:2]):
        del info["dateTokenIdles"]  # moves with the clock; compared where both read one token
    for info in we_read[:2]:
        assert info["OAuthClient"]["authorizedGrantType"] == GRANTS[name]
    assert they_read == we_read
    assert we_read[3]["idleTokenTimeoutSeconds"] == 900


def test_expired_token_is_refreshed(
    sdk: ModuleType,
    new_client: Callable[..., Any],
    code_for: Callable[..., str],
    sign_in_ours: Callable[..., gct.Connection],
) -> None:
    """A code grant's token that has expired is replaced by its refresh token within the call, by the same requests."""
    with Sandbox() as theirs, Sandbox() as ours:
        client = new_client(theirs)
        sign_in_theirs(client, theirs, "web app", code_for)
        first = (client.access_token, client.refresh_token)
        theirs.advance(86401)
        sdk.TokensApi(client).get_tokens_me()
        assert theirs.is_alive(client.access_token)
        assert not {client.access_token, client.refresh_token} & set(first)
        with sign_in_ours(ours, "web app") as gc:
            fingerprint = gc.access_token.fingerprint
            ours.advance(86401)
            gc.tokens.get_tokens_me()
            assert gc.access_token.fingerprint != fingerprint
        assert seen(theirs) == seen(ours)
        assert [call[3] for call in seen(theirs)] == [200, 401, 200, 200]


def test_refresh_on_request(client: Any, sandbox: Sandbox, code_for: Callable[..., str]) -> None:
    """Asked to, both trade a refresh token that the other one got for a token that is alive."""
    known = sandbox.client("web app")
    sign_in_theirs(client, sandbox, "web app", code_for)
    region, secret = gct.regions.resolve(sandbox.environment), Secret(known.client_secret)
    ours = oauth.refresh(region, known.client_id, Secret(client.refresh_token), client_secret=secret)
    assert sandbox.is_alive(ours.value)
    client.refresh_code_authorization_token(known.client_id, known.client_secret, ours.refresh_token.reveal())
    assert sandbox.is_alive(client.access_token)


REFUSALS = {
    "wrong secret": (401, "invalid_client"),
    "disabled client": (401, "invalid_client"),
    "client of another grant": (400, "unauthorized_client"),
    "unknown code": (400, "invalid_grant"),
    "unknown code with PKCE": (400, "invalid_grant"),
    "verifier of another sign-in": (400, "invalid_grant"),
    "revoked refresh token": (400, "invalid_grant"),
    "malformed assertion": (400, "invalid_grant"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_refused_sign_ins(
    sdk: ModuleType, client: Any, sandbox: Sandbox, code_for: Callable[..., str], why: str
) -> None:
    """Where the sandbox refuses a sign-in, both clients say so with its status and its OAuth error."""
    region, org_name = gct.regions.resolve(sandbox.environment), sandbox.organization.name
    admin, disabled, web, saml = (sandbox.client(name) for name in ("admin", "disabled", "web app", "saml"))
    page_id = sandbox.client("single page app").client_id
    sign_in_theirs(client, sandbox, "web app", code_for)
    revoked = client.refresh_token
    sdk.TokensApi(client).delete_tokens_me()
    verifier, another = (client.generate_pkce_code_verifier(43) for _ in range(2))
    challenge = {
        "code_challenge": client.compute_pkce_code_challenge(another),
        "code_challenge_method": "S256",
    }
    codes = {name: code_for(sandbox, "single page app", **challenge) for name in ("theirs", "ours")}

    def of_client(client_id: str, secret: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
        return (
            lambda: client.get_client_credentials_token(client_id, secret),
            lambda: oauth.client_credentials(region, client_id, Secret(secret)),
        )

    def of_page(theirs: str, ours: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
        return (
            lambda: client.get_pkce_token(page_id, verifier, theirs, CALLBACK),
            lambda: oauth.authorization_code(
                region, page_id, Secret(ours), CALLBACK, code_verifier=Secret(verifier)
            ),
        )

    attempts = {
        "wrong secret": of_client(admin.client_id, "wrong"),
        "disabled client": of_client(disabled.client_id, disabled.client_secret),
        "client of another grant": of_client(web.client_id, web.client_secret),
        "unknown code": (
            lambda: client.get_code_authorization_token(
                web.client_id, web.client_secret, "unknown", CALLBACK
            ),
            lambda: oauth.authorization_code(
                region, web.client_id, Secret("unknown"), CALLBACK, client_secret=Secret(web.client_secret)
            ),
        ),
        "unknown code with PKCE": of_page("unknown", "unknown"),
        "verifier of another sign-in": of_page(**codes),
        "revoked refresh token": (
            lambda: client.refresh_code_authorization_token(web.client_id, web.client_secret, revoked),
            lambda: oauth.refresh(
                region, web.client_id, Secret(revoked), client_secret=Secret(web.client_secret)
            ),
        ),
        "malformed assertion": (
            lambda: client.get_saml2bearer_token(saml.client_id, saml.client_secret, org_name, "PGE+"),
            lambda: oauth.saml2_bearer(
                region,
                saml.client_id,
                Secret(saml.client_secret),
                org_name=org_name,
                assertion=Secret("PGE+"),
            ),
        ),
    }
    theirs, ours = attempts[why]
    with pytest.raises(sdk.rest.ApiException) as they_say:
        theirs()
    with pytest.raises(gct.LoginError) as we_say:
        ours()
    assert (they_say.value.status, json.loads(they_say.value.body)["error"]) == REFUSALS[why]
    assert (we_say.value.status, we_say.value.error) == REFUSALS[why]


def test_token_request_of_the_frozen_ruby_sdk(
    sandbox: Sandbox, sign_in: Callable[..., gct.Connection], plain: Callable[[Any], Any]
) -> None:
    """POST /token with id and secret in the address, as the Ruby SDK sends it, gives a token that our client reads."""
    admin, host = sandbox.client("admin"), urlsplit(sandbox.base_url).netloc
    answer = requests.post(
        f"http://{admin.client_id}:{admin.client_secret}@{host}/token",
        data={"grant_type": "client_credentials"},
        timeout=10,
    )
    info = sign_in(access_token=answer.json()["access_token"]).tokens.get_tokens_me()
    assert plain(info)["OAuthClient"]["id"] == admin.client_id
