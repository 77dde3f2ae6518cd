"""The Tokens API (``/api/v2/tokens``)."""

from typing import Any

from gctokens_nb.sandbox.clients import client_of_token
from gctokens_nb.sandbox.reading import UUID, json_object, whole
from gctokens_nb.sandbox.routes import AuthorizedRequest, Route, Routes
from gctokens_nb.sandbox.wire import Refusal, Response, invalid_value, iso_date, json_response
from gctokens_nb.sandbox.world import Token, World

_LONGEST_SECONDS = 28800
_LONGEST_SECONDS_UNDER_HIPAA = 900
_TIMEOUT_UNITS = ("Minutes", "Hours", "MINUTES", "HOURS")


def get_tokens_me(world: World, call: AuthorizedRequest) -> Response:
    """Information about the token; ``preserveIdleTTL=true`` leaves its idle timer alone."""
    return json_response(200, token_info(world, call.token))


def head_tokens_me(_world: World, _call: AuthorizedRequest) -> Response:
    """Whether the token is good."""
    # 204 is a guess: the definition names no status of success for this call.
    return Response(204)


def delete_tokens_me(world: World, call: AuthorizedRequest) -> Response:
    """Revoke the token itself: 200 without a body, where ``tokens/{userId}`` answers 204."""
    world.revoke_token(call.access_token)
    return Response(200)


def delete_token(world: World, call: AuthorizedRequest) -> Response:
    """Revoke all tokens of a user: 204."""
    # What the service says about a malformed id or an unknown user is not known. These two are codes that the call
    # declares; invalid.id is not among them.
    if not UUID.fullmatch(call.item):
        raise Refusal("bad.request")
    user = world.user_by_id(call.item)
    if user is None:
        raise Refusal("not.found")
    world.revoke_user(user, call.token.grant.client.client_id)
    return Response(204)


def get_timeout(world: World, _call: AuthorizedRequest) -> Response:
    """The organization's idle timeout."""
    return json_response(200, world.idle_timeout)


def put_timeout(world: World, call: AuthorizedRequest) -> Response:
    """Change the organization's idle timeout; what is left out stays."""
    body = json_object(call.request)
    changes = {name: body[name] for name in world.idle_timeout if body.get(name) is not None}
    _check_timeout(changes, hipaa=world.hipaa)
    changed = {**world.idle_timeout, **changes}
    answer = json_response(200, changed)  # before the change: nothing changes that cannot be told
    world.change_idle_timeout(changed)
    return answer


def token_info(world: World, token: Token) -> dict[str, Any]:
    """What ``GET tokens/me`` tells of a token (``TokenInfo``)."""
    user = token.grant.user
    organization = world.organization
    clone_of = user.cloned_from if user else None
    idles_at = world.idles_at(token)
    info: dict[str, Any] = {
        "organization": organization._asdict(),
        "homeOrganization": (clone_of.organization if clone_of else organization)._asdict(),
        "authorizedScope": list(token.grant.client.scope),
        "OAuthClient": client_of_token(world, token.grant.client),
    }
    if clone_of:
        info["clonedUser"] = {"id": clone_of.id, "organization": {"id": clone_of.organization.id}}
    if idles_at is not None:
        info["dateTokenIdles"] = iso_date(idles_at)
    return info


def _check_timeout(changes: dict[str, Any], *, hipaa: bool) -> None:
    """Refuse what the definition of ``IdleTokenTimeout`` does not allow."""
    for name, value in changes.items():
        match name:
            case "idleTokenTimeoutSeconds":
                code = "token.timeout.exceeded.hipaa" if hipaa else "token.timeout.exceeded"
                _check_seconds(value, name, code, hipaa=hipaa)
            case "inactivityTimeoutUnit":
                _check_unit(value)
            case "inactivityTimeoutGroupBundles":
                if not isinstance(value, list):
                    raise invalid_value(name, value, "List", "bundles")
                for bundle in value:
                    _check_bundle(bundle, hipaa=hipaa)
            case _ if not isinstance(value, bool):
                raise invalid_value(name, value, "Boolean", "true, false")


def _check_bundle(bundle: Any, *, hipaa: bool) -> None:
    if not isinstance(bundle, dict):
        raise invalid_value(
            "inactivityTimeoutGroupBundles", bundle, "InactivityTimeoutGroupBundle", "an object"
        )
    whole(bundle.get("priority"), "priority", 1, 5)
    # The call declares two pairs of codes, and not what each is for: this is a guess.
    code = "max.idle.hipaa.token.timeout.exceeded" if hipaa else "max.idle.token.timeout.exceeded"
    _check_seconds(bundle.get("timeoutSeconds"), "timeoutSeconds", code, hipaa=hipaa)
    groups = bundle.get("groups")
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise invalid_value("groups", groups, "List", "ids of groups")
    if "inactivityTimeoutUnit" in bundle:
        _check_unit(bundle["inactivityTimeoutUnit"])


def _check_seconds(value: Any, field: str, code: str, *, hipaa: bool) -> None:
    longest = _LONGEST_SECONDS_UNDER_HIPAA if hipaa else _LONGEST_SECONDS
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_value(field, value, "Integer", f"300 to {longest}")
    if not 300 <= value <= longest:
        raise Refusal(code)


def _check_unit(value: Any) -> None:
    if value not in _TIMEOUT_UNITS:
        raise invalid_value("inactivityTimeoutUnit", value, "String", "Minutes, Hours")


_OWN = ("user-basic-info",)
ROUTES: Routes = {
    "/api/v2/tokens/me": {
        "GET": Route(get_tokens_me, _OWN),
        "HEAD": Route(head_tokens_me, _OWN),
        "DELETE": Route(delete_tokens_me, _OWN),
    },
    "/api/v2/tokens/timeout": {
        "GET": Route(
            get_timeout,
            ("authorization", "authorization:readonly", "organization", "organization:readonly"),
        ),
        "PUT": Route(put_timeout, ("authorization",), "directory:organization:admin"),
    },
}
ITEM_ROUTES: Routes = {
    "/api/v2/tokens": {"DELETE": Route(delete_token, _OWN, "oauth:token:delete")},
}
