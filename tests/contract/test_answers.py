"""Both clients read the same from one token's answers, errors included."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import gctokens_nb as gct
from gctokens_nb import errors
from gctokens_nb.sandbox import Fault, Sandbox

NOBODY = "00000000-0000-4000-8000-000000000000"
ONCE = gct.RetryPolicy(attempts=1)


class Both(NamedTuple):
    """The Tokens API of the SDK and ours, with one access token."""

    theirs: Any
    ours: gct.Connection


@pytest.fixture
def with_token(
    sdk: ModuleType, new_client: Callable[..., Any], sign_in: Callable[..., gct.Connection]
) -> Callable[[str], Both]:
    """Give one access token to both clients."""

    def make(access_token: str) -> Both:
        client = new_client()
        client.access_token = access_token
        return Both(sdk.TokensApi(client), sign_in(access_token=access_token, retry=ONCE))

    return make


@pytest.mark.parametrize("name", ["admin", "many scopes", "web app", "saml", "a clone"])
def test_token_info_is_read_alike(
    sandbox: Sandbox, with_token: Callable[..., Both], plain: Callable[[Any], Any], name: str
) -> None:
    """Of every kind of token both clients read every field the same, to the millisecond at which it idles out."""
    whose = {"user": sandbox.clone} if name == "a clone" else {"client": name}
    both = with_token(sandbox.issue_token(**whose))
    they_read = plain(both.theirs.get_tokens_me(preserve_idle_ttl=True))
    assert they_read == plain(both.ours.tokens.get_tokens_me(preserve_idle_ttl=True))
    assert {"organization", "homeOrganization", "dateTokenIdles", "OAuthClient"} <= set(they_read)
    assert ("clonedUser" in they_read) == (name == "a clone")
    assert they_read["dateTokenIdles"].tzinfo is not None


def test_idle_timeout_of_groups_is_read_alike(
    sandbox: Sandbox, with_token: Callable[..., Both], plain: Callable[[Any], Any]
) -> None:
    """What the SDK sends as the idle timeout, bundles of groups included, ours reads back, and the reverse."""
    both = with_token(sandbox.issue_token(client="admin"))
    bundle = {"priority": 1, "timeoutSeconds": 900, "inactivityTimeoutUnit": "Minutes", "groups": [NOBODY]}
    body = {"inactivityTimeoutGroupsEnabled": True, "inactivityTimeoutGroupBundles": [bundle]}
    sent = plain(both.theirs.put_tokens_timeout(body=body))
    assert sent == plain(both.ours.tokens.get_tokens_timeout())
    assert sent["inactivityTimeoutGroupBundles"] == [bundle]
    ours = both.ours.tokens.put_tokens_timeout(both.ours.tokens.get_tokens_timeout())
    assert plain(ours) == plain(both.theirs.get_tokens_timeout()) == sent


def revoked(sandbox: Sandbox) -> str:
    """Return the token of a user all of whose tokens were deleted since."""
    token, admin = sandbox.issue_token(sandbox.users[1]), sandbox.issue_token(client="admin")
    with gct.connect(sandbox.environment, access_token=admin) as gc:
        gc.tokens.delete_token(sandbox.users[1].id)
    return token


def expired(sandbox: Sandbox) -> str:
    """Return a token whose time is over."""
    token = sandbox.issue_token(client="admin")
    sandbox.advance(86401)
    return token


def of(client: str) -> Callable[[Sandbox], str]:
    """Return what makes a live token of that OAuth client."""
    return lambda sandbox: sandbox.issue_token(client=client)


@pytest.mark.parametrize(
    ("token", "call", "status", "code", "kind"),
    [
        (revoked, lambda t: t.get_tokens_me(), 401, "bad.credentials", errors.UnauthorizedError),
        (revoked, lambda t: t.delete_tokens_me(), 401, "bad.credentials", errors.UnauthorizedError),
        (revoked, lambda t: t.head_tokens_me(), 401, "", errors.UnauthorizedError),
        (expired, lambda t: t.get_tokens_timeout(), 401, "credentials.expired", errors.UnauthorizedError),
        (lambda _: "unknown", lambda t: t.get_tokens_me(), 401, "bad.credentials", errors.UnauthorizedError),
        (
            of("no permissions"),
            lambda t: t.delete_token(NOBODY),
            403,
            "missing.any.permissions",
            errors.PermissionDeniedError,
        ),
        (
            of("many scopes"),
            lambda t: t.put_tokens_timeout(body={"idleTokenTimeoutSeconds": 900}),
            403,
            "missing.any.permissions",
            errors.PermissionDeniedError,
        ),
        (of("admin"), lambda t: t.delete_token(NOBODY), 404, "not.found", errors.NotFoundError),
        (
            of("admin"),
            lambda t: t.put_tokens_timeout(body={"inactivityTimeoutUnit": "Days"}),
            400,
            "invalid.value",
            errors.BadRequestError,
        ),
    ],
)
def test_errors_are_read_alike(
    sdk: ModuleType,
    sandbox: Sandbox,
    with_token: Callable[..., Both],
    token: Callable[[Sandbox], str],
    call: Callable[[Any], Any],
    status: int,
    code: str,
    kind: type[gct.ApiError],
) -> None:
    """A refused call raises in both clients, with the same status and code, and a correlation id to quote."""
    both = with_token(token(sandbox))
    with pytest.raises(sdk.rest.ApiException) as they_say:
        call(both.theirs)
    with pytest.raises(kind) as we_say:
        call(both.ours.tokens)
    body = json.loads(they_say.value.body or '{"code": ""}')
    assert (they_say.value.status, body["code"]) == (we_say.value.status, we_say.value.code) == (status, code)
    assert they_say.value.headers["ININ-Correlation-Id"]
    assert we_say.value.correlation_id


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("status", 429, errors.RateLimitedError),
        ("status", 500, errors.ServerError),
        ("status", 503, errors.ServerError),
        ("html", 502, errors.ServerError),
    ],
)
def test_failing_platform_is_read_alike(
    sdk: ModuleType,
    sandbox: Sandbox,
    with_token: Callable[..., Both],
    fault: str,
    status: int,
    kind: type[gct.ApiError],
) -> None:
    """An overloaded or broken platform, or a proxy's page in its place, is an API error of its status in both."""
    both = with_token(sandbox.issue_token(client="admin"))
    # Without a time to wait for, so that the SDK too sends once.
    sandbox.add_fault(Fault(fault, status=status, headers={"Retry-After": ""}))
    with pytest.raises(sdk.rest.ApiException) as they_say:
        both.theirs.get_tokens_me()
    with pytest.raises(kind) as we_say:
        both.ours.tokens.get_tokens_me()
    assert they_say.value.status == we_say.value.status == status
    assert len(sandbox.calls) == 2


@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_rate_limit_is_waited_out(
    sdk: ModuleType, new_client: Callable[..., Any], sign_in: Callable[..., gct.Connection], whose: str
) -> None:
    """Beyond the sandbox's rate limit both clients wait as Retry-After says, and get through."""
    with Sandbox(rate_limit=1, rate_window_seconds=0.5) as server:
        token = server.issue_token(client="admin")
        if whose == "theirs":
            client = new_client(server)
            client.access_token = token
            tokens = sdk.TokensApi(client)
        else:
            tokens = sign_in(server=server, access_token=token).tokens
        tokens.head_tokens_me()
        tokens.head_tokens_me()
        assert [call.status for call in server.calls] == [204, 429, 204]
