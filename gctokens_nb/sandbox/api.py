"""The platform API of the sandbox: tokens, users, OAuth clients, authorization.

Paths, permissions and shapes are those of the Genesys Cloud Python SDK's documents.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

from gctokens_nb.sandbox.wire import (
    Refusal,
    Request,
    Response,
    invalid_field,
    iso_date,
    json_response,
)
from gctokens_nb.sandbox.world import (
    CLIENT_CREDENTIALS,
    QUEUES,
    USER_STATES,
    Organization,
    SandboxClient,
    SandboxUser,
    Token,
    World,
    permission_policies,
    stable_id,
)

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SEEDED_AT = "2024-03-01T09:30:00.000Z"
_MODIFIED_AT = "2025-11-17T14:05:00.000Z"
_DELETED_AT = "2026-12-31T00:00:00.000Z"
_SEARCHABLE = ("email", "id", "name", "state")
_TIMEOUT_SECONDS = range(300, 28801)
_TIMEOUT_UNITS = ("Minutes", "Hours", "MINUTES", "HOURS")


class AuthorizedRequest(NamedTuple):
    """A request that was let in."""

    request: Request
    access_token: str
    token: Token
    item: str  # the decoded last segment of the path, where the route has one


class Route(NamedTuple):
    """What answers a method of a path, and the permission it needs."""

    handle: Callable[["PlatformApi", AuthorizedRequest], Response]
    permission: str | None = None


class PlatformApi:
    """Answers requests under ``/api/v2``.

    Args:
        world: What is asked about.
        rate_limit: Requests of one token in a window; None for no limit.
        rate_window_seconds: How long a window lasts, from the first request in it.
    """

    def __init__(self, world: World, rate_limit: int | None, rate_window_seconds: float) -> None:
        self._world = world
        self._rate_limit = rate_limit
        self._rate_window_seconds = rate_window_seconds

    def answer(self, request: Request, correlation_id: str) -> Response:
        """The answer, errors included, with rate-limit headers where the token is good."""
        rate_headers: dict[str, str] = {}
        try:
            response = self._answer(request, rate_headers)
        except Refusal as refusal:
            response = refusal.response(correlation_id)
        except RecursionError:  # only JSON that came in can be so deep
            response = Refusal(400, message="The JSON is nested too deeply.").response(correlation_id)
        if rate_headers:
            return response._replace(headers={**response.headers, **rate_headers})
        return response

    def _answer(self, request: Request, rate_headers: dict[str, str]) -> Response:
        item = ""
        methods = _ROUTES.get(request.path)
        if methods is None:
            parent, _, last = request.path.rpartition("/")
            item = unquote(last)
            methods = _ITEM_ROUTES.get(parent) if item else None
        if methods is None:
            raise Refusal(404)
        route = methods.get(request.method)
        if route is None:
            raise Refusal(405, headers={"Allow": ", ".join(sorted(methods))})
        access_token, token = self._authenticate(request)
        self._count(token, rate_headers)
        if route.permission and route.permission not in token.permissions:
            raise Refusal(
                403,
                "missing.any.permissions",
                "Unable to perform the requested action. You must have at least one of the following "
                "permissions assigned: {permissions}",
                params={"permissions": f"[{route.permission}]"},
            )
        return route.handle(self, AuthorizedRequest(request, access_token, token, item))

    def _authenticate(self, request: Request) -> tuple[str, Token]:
        access_token = bearer_token(request)
        if access_token is None:
            raise Refusal(
                401,
                "authentication.required",
                "No authentication bearer token specified in authorization header.",
            )
        token = self._world.tokens.get(access_token)
        if token is None:
            raise Refusal(401)
        if self._world.has_expired(token):
            raise Refusal(401, "credentials.expired", "The supplied credentials have expired.")
        if not (
            request.path == "/api/v2/tokens/me"
            and request.method == "GET"
            and _flag(request.query, "preserveIdleTTL")
        ):
            token.last_used_at = self._world.now()
        return access_token, token

    def _count(self, token: Token, rate_headers: dict[str, str]) -> None:
        limit = self._rate_limit
        if limit is None:
            return
        now = self._world.now()
        if now >= token.window_ends_at:
            token.window_ends_at = now + self._rate_window_seconds
            token.request_count = 0
        token.request_count += 1
        reset_seconds = str(math.ceil(token.window_ends_at - now))
        rate_headers.update(
            {
                "inin-ratelimit-count": str(token.request_count),
                "inin-ratelimit-allowed": str(limit),
                "inin-ratelimit-reset": reset_seconds,
            }
        )
        if token.request_count > limit:
            raise Refusal(
                429,
                "too.many.requests.retry.after",
                "Rate limit exceeded the maximum [{limit}] requests within [{seconds}] seconds",
                params={"limit": str(limit), "seconds": f"{self._rate_window_seconds:g}"},
                headers={"Retry-After": reset_seconds},
            )

    # Tokens

    def get_tokens_me(self, call: AuthorizedRequest) -> Response:
        """Information about the token; ``preserveIdleTTL=true`` leaves its idle timer alone."""
        return json_response(200, self._token_info(call.token))

    def head_tokens_me(self, _call: AuthorizedRequest) -> Response:
        """Whether the token is good."""
        return Response(204)

    def delete_tokens_me(self, call: AuthorizedRequest) -> Response:
        """Revoke the token itself: 200 without a body, where ``tokens/{userId}`` answers 204."""
        self._world.revoke_token(call.access_token)
        return Response(200)

    def delete_token(self, call: AuthorizedRequest) -> Response:
        """Revoke all tokens of a user."""
        if not _UUID.fullmatch(call.item):
            raise Refusal(
                400,
                "bad.request",
                "The user id is not a valid UUID.",
                details=[{"errorCode": "invalid.id", "fieldName": "userId"}],
            )
        user = self._world.user_by_id(call.item)
        if user is None:
            raise Refusal(404)
        self._world.revoke_user(user, call.token.grant.client.client_id)
        return Response(204)

    def get_timeout(self, _call: AuthorizedRequest) -> Response:
        """The organization's idle timeout."""
        return json_response(200, self._world.idle_timeout)

    def put_timeout(self, call: AuthorizedRequest) -> Response:
        """Change the organization's idle timeout; what is left out stays."""
        body = _json_object(call.request)
        changes = {name: body[name] for name in self._world.idle_timeout if body.get(name) is not None}
        _check_timeout(changes)
        changed = {**self._world.idle_timeout, **changes}
        answer = json_response(200, changed)  # before the change: nothing changes that cannot be told
        self._world.change_idle_timeout(changed)
        return answer

    def _token_info(self, token: Token) -> dict[str, Any]:
        user = token.grant.user
        organization = self._world.organization
        clone_of = user.cloned_from if user else None
        idles_at = self._world.idles_at(token)
        info: dict[str, Any] = {
            "organization": organization._asdict(),
            "homeOrganization": (clone_of.organization if clone_of else organization)._asdict(),
            "authorizedScope": list(token.grant.client.scope),
            "OAuthClient": self._client(token.grant.client),
        }
        if clone_of:
            info["clonedUser"] = {"id": clone_of.id, "organization": {"id": clone_of.organization.id}}
        if idles_at is not None:
            info["dateTokenIdles"] = iso_date(idles_at)
        return info

    # OAuth clients

    def _client(self, client: SandboxClient) -> dict[str, Any]:
        """The client as a token's information shows it (``OrgOAuthClient``)."""
        creator = self._world.users[0]
        reference = {"id": creator.id, "name": creator.name, "selfUri": f"/api/v2/users/{creator.id}"}
        value: dict[str, Any] = {
            "id": client.client_id,
            "name": client.name,
            "dateCreated": _SEEDED_AT,
            "dateModified": _MODIFIED_AT,
            "createdBy": reference,
            "modifiedBy": reference,
            "authorizedGrantType": client.grant,
            "scope": list(client.scope),
            "state": client.state,
            "organization": self._world.organization._asdict(),
        }
        if client.grant == CLIENT_CREDENTIALS:
            value["roleDivisions"] = [
                {"roleId": self._role_id(name), "divisionId": self._world.division.id}
                for name in permission_policies(client.permissions)
            ]
        if client.state != "active":
            value["dateToDelete"] = _DELETED_AT
        return value

    def _client_with_secret(self, client: SandboxClient) -> dict[str, Any]:
        """The client as its administrators see it."""
        return {
            **self._client(client),
            "secret": client.client_secret,
            "accessTokenValiditySeconds": int(self._world.token_lifetime_seconds),
            "registeredRedirectUri": list(client.redirect_uris),
            "selfUri": f"/api/v2/oauth/clients/{client.client_id}",
        }

    def get_clients(self, call: AuthorizedRequest) -> Response:
        """The OAuth clients, a page at a time."""
        entities = [self._client_with_secret(client) for client in self._world.clients.values()]
        page = _page(call.request, entities, "/api/v2/oauth/clients", default_size=100, largest_size=200)
        return json_response(200, page)

    def get_client(self, call: AuthorizedRequest) -> Response:
        """One OAuth client."""
        client = self._world.clients.get(call.item)
        if client is None:
            raise Refusal(404)
        return json_response(200, self._client_with_secret(client))

    # Users

    def _user(self, user: SandboxUser) -> dict[str, Any]:
        return {
            "id": user.id,
            "name": user.name,
            "division": {**self._world.division._asdict(), "selfUri": _division_uri(self._world.division)},
            "email": user.email,
            "username": user.email,
            "state": user.state,
            "version": 1,
            "selfUri": f"/api/v2/users/{user.id}",
        }

    def get_users_me(self, call: AuthorizedRequest) -> Response:
        """Who the token acts for."""
        user = call.token.grant.user
        if user is None:
            raise Refusal(
                400,
                "bad.request",
                "This request requires a user context. Client credentials cannot be used for requests that "
                "require a user context.",
            )
        value = self._user(user)
        parts = {part for text in call.request.query.get("expand", ()) for part in text.split(",")}
        if "token" in parts:
            value["token"] = self._token_info(call.token)
        if "authorization" in parts:
            roles = permission_policies(user.permissions)
            value["authorization"] = {
                "roles": [{"id": self._role_id(name), "name": name} for name in roles],
                "permissions": sorted(user.permissions),
                "permissionPolicies": [policy for policies in roles.values() for policy in policies],
            }
        if "organization" in parts:
            value["organization"] = {
                **self._world.organization._asdict(),
                "domain": self._world.domain,
                "state": "active",
            }
        if "lasttokenissued" in parts:
            value["lastTokenIssued"] = {"dateIssued": iso_date(self._world.last_issued_at[user.id])}
        if "trustors" in parts:
            # Trustors are other organizations that this one may enter; nobody let this one in.
            value["trustors"] = []
        return json_response(200, value)

    def get_users(self, call: AuthorizedRequest) -> Response:
        """The users by name, a page at a time."""
        query = call.request.query
        state = _single(query, "state", "active")
        if state not in {"any", *USER_STATES}:
            raise invalid_field("state", f"The state must be one of any, {', '.join(USER_STATES)}.")
        order = _single(query, "sortOrder", "ASC").upper()
        if order not in {"ASC", "ASCENDING", "DESC", "DESCENDING"}:
            raise invalid_field("sortOrder", "The sort order must be ascending or descending.")
        users: Sequence[SandboxUser] = self._world.sorted_users(state, descending=order.startswith("DESC"))
        ids = {part.lower() for text in query.get("id", ()) for part in text.split(",")}
        if ids:
            users = [user for user in users if user.id in ids]
        page = _page(call.request, users, "/api/v2/users", default_size=25, largest_size=500)
        page["entities"] = [self._user(user) for user in page["entities"]]
        return json_response(200, page)

    def post_users_search(self, call: AuthorizedRequest) -> Response:
        """Users by what their fields are, start with or contain."""
        return self._search_users(_json_object(call.request))

    def get_users_search(self, call: AuthorizedRequest) -> Response:
        """The same, from where a search's ``nextPage`` points."""
        try:
            search = _read_json(base64.urlsafe_b64decode(_single(call.request.query, "q64", "")))
        except (ValueError, binascii.Error):
            search = None
        if not isinstance(search, dict):
            raise invalid_field("q64", "The query is not valid.")
        return self._search_users(search)

    def _search_users(self, search: dict[str, Any]) -> Response:
        clauses = search.get("query")
        if not isinstance(clauses, list) or not clauses:
            raise invalid_field("query", "The search needs at least one query.")
        size = _whole(search.get("pageSize", 25), "pageSize", 1, 100)
        number = _whole(search.get("pageNumber", 1), "pageNumber", 1, 2**31)
        found: dict[int, None] = {}
        for position, clause in enumerate(clauses):
            if not isinstance(clause, dict):
                raise invalid_field("query", "Each query must be an object.")
            match clause.get("operator", "AND") if position else "OR":
                case "AND":
                    found = dict.fromkeys(self._matches(clause, found))
                case "OR":
                    found.update(dict.fromkeys(self._matches(clause)))
                case "NOT":
                    for index in self._matches(clause, found):
                        del found[index]
                case _:
                    raise invalid_field("operator", "The operator must be AND, OR or NOT.")
        # Deleted users are found by those who ask for them (Genesys' Terraform provider, getDeletedUserId).
        if not any("state" in str(clause.get("fields")) for clause in clauses):
            found = {index: None for index in found if self._world.users[index].state != "deleted"}
        start = (number - 1) * size
        chosen = [self._world.users[index] for index in list(found)[start : start + size]]
        answer: dict[str, Any] = {
            "results": [self._user(user) for user in chosen],
            "total": len(found),
            "pageCount": math.ceil(len(found) / size),
            "pageSize": size,
            "pageNumber": number,
        }
        if start + size < len(found):
            following = json.dumps({**search, "pageNumber": number + 1}).encode()
            answer["nextPage"] = "/api/v2/users/search?" + urlencode(
                {"q64": base64.urlsafe_b64encode(following).decode()}
            )
        return json_response(200, answer)

    def _matches(self, clause: dict[str, Any], among: Iterable[int] | None = None) -> list[int]:
        """The positions of the users that one clause of a search finds, of all users or of those given."""
        kind = str(clause.get("type"))
        everybody = range(len(self._world.users))
        if kind == "MATCH_ALL":
            return list(everybody if among is None else among)
        fields = clause.get("fields")
        if not isinstance(fields, list) or not fields or any(name not in _SEARCHABLE for name in fields):
            raise invalid_field("fields", f"The fields must be some of {', '.join(_SEARCHABLE)}.")
        values = clause.get("values") or [clause.get("value")]
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise invalid_field("values", "Each value must be a text that is not empty.")
        wanted = [value.lower() for value in values]
        exact = kind in {"EXACT", "TERM", "TERMS"}
        if exact and among is None:
            return self._exact_matches(fields, wanted)
        test = str.__eq__ if exact else _TEXT_TESTS.get(kind)
        if test is None:
            raise invalid_field("type", "The type of the query is not known.")
        columns = [self._world.column(name) for name in fields]
        return [
            index
            for index in (everybody if among is None else among)
            if any(test(column[index], value) for column in columns for value in wanted)
        ]

    def _exact_matches(self, fields: list[str], wanted: list[str]) -> list[int]:
        found: dict[int, None] = {}
        for name in fields:
            for value in wanted:
                found.update(dict.fromkeys(self._world.positions(name, value)))
        return list(found)

    # Authorization

    def _role_id(self, name: str) -> str:
        return stable_id(f"{self._world.organization.name}/role/{name}")

    def get_subjects_me(self, call: AuthorizedRequest) -> Response:
        """The roles granted to whom the token acts for; with their policies if ``includeFullRoles=true``."""
        grant = call.token.grant
        full = _flag(call.request.query, "includeFullRoles")
        subject_id = grant.user.id if grant.user else grant.client.client_id
        division = {
            **self._world.division._asdict(),
            "description": "",  # required by the definition of AuthzDivision
            "homeDivision": True,
            "selfUri": _division_uri(self._world.division),
        }
        grants = [
            {
                "subjectId": subject_id,
                "division": division,
                "role": {
                    "id": self._role_id(name),
                    "name": name,
                    "default": False,
                    "selfUri": f"/api/v2/authorization/roles/{self._role_id(name)}",
                    **({"policies": policies} if full else {}),
                },
                "grantMadeAt": _SEEDED_AT,
            }
            for name, policies in permission_policies(call.token.permissions).items()
        ]
        return json_response(
            200,
            {
                "id": subject_id,
                "name": grant.user.name if grant.user else grant.client.name,
                "grants": grants,
                "version": 1,
                "selfUri": f"/api/v2/authorization/subjects/{subject_id}",
            },
        )

    # Routing

    def get_queues(self, call: AuthorizedRequest) -> Response:
        """The queues by name, a page at a time; the filters are ``name`` and ``id``."""
        query = call.request.query
        order = _single(query, "sortOrder", "asc")
        if order not in {"asc", "desc"}:
            raise invalid_field("sortOrder", "The sort order must be asc or desc.")
        pattern = _single(query, "name", "*").lower()
        # A leading and a trailing asterisk stand for any text; others, and ? and [, for themselves.
        text = re.escape(pattern.removeprefix("*").removesuffix("*"))
        wanted = re.compile(
            f"{'.*' * pattern.startswith('*')}{text}{'.*' * pattern.endswith('*')}", re.DOTALL
        )
        ids = {value.lower() for value in query.get("id", ())}
        if not all(_UUID.fullmatch(value) for value in ids):
            raise Refusal(
                400,
                "invalid.id",
                "A non-UUID value was specified for an ID field.",
                details=[{"errorCode": "invalid.id", "fieldName": "id"}],
            )
        queues = [
            queue
            for queue in map(self._queue, sorted(QUEUES, reverse=order == "desc"))
            if wanted.fullmatch(queue["name"].lower()) and (not ids or queue["id"] in ids)
        ]
        page = _page(call.request, queues, "/api/v2/routing/queues", default_size=25, largest_size=500)
        return json_response(200, page)

    def _queue(self, name: str) -> dict[str, Any]:
        queue_id = stable_id(f"{self._world.organization.name}/queue/{name}")
        creator = self._world.users[0].id
        return {
            "id": queue_id,
            "name": name,
            "division": {**self._world.division._asdict(), "selfUri": _division_uri(self._world.division)},
            "dateCreated": _SEEDED_AT,
            "dateModified": _MODIFIED_AT,
            "modifiedBy": creator,
            "createdBy": creator,
            "memberCount": 0,
            "userMemberCount": 0,
            "joinedMemberCount": 0,
            "skillEvaluationMethod": "ALL",
            "autoAnswerOnly": True,
            "selfUri": f"/api/v2/routing/queues/{queue_id}",
        }


_ROUTES: dict[str, dict[str, Route]] = {
    "/api/v2/tokens/me": {
        "GET": Route(PlatformApi.get_tokens_me),
        "HEAD": Route(PlatformApi.head_tokens_me),
        "DELETE": Route(PlatformApi.delete_tokens_me),
    },
    "/api/v2/tokens/timeout": {
        "GET": Route(PlatformApi.get_timeout),
        "PUT": Route(PlatformApi.put_timeout, "directory:organization:admin"),
    },
    "/api/v2/users": {"GET": Route(PlatformApi.get_users)},
    "/api/v2/users/me": {"GET": Route(PlatformApi.get_users_me)},
    "/api/v2/users/search": {
        "GET": Route(PlatformApi.get_users_search, "directory:user:view"),
        "POST": Route(PlatformApi.post_users_search, "directory:user:view"),
    },
    "/api/v2/oauth/clients": {"GET": Route(PlatformApi.get_clients, "oauth:client:view")},
    "/api/v2/authorization/subjects/me": {"GET": Route(PlatformApi.get_subjects_me)},
    "/api/v2/routing/queues": {"GET": Route(PlatformApi.get_queues, "routing:queue:view")},
}
# The paths whose next segment is an id.
_ITEM_ROUTES: dict[str, dict[str, Route]] = {
    "/api/v2/tokens": {"DELETE": Route(PlatformApi.delete_token, "oauth:token:delete")},
    "/api/v2/oauth/clients": {"GET": Route(PlatformApi.get_client, "oauth:client:view")},
}
_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    # A name's every word may be the start: people type last names too.
    "STARTS_WITH": lambda text, value: text.startswith(value) or f" {value}" in text,
    "CONTAINS": lambda text, value: value in text,
    "QUERY_STRING": lambda text, value: all(word in text for word in value.replace("*", " ").split()),
}


def bearer_token(request: Request) -> str | None:
    """The access token of the Authorization header; None where there is none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


def _single(query: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    return query[name][0] if name in query else default


def _flag(query: Mapping[str, Sequence[str]], name: str) -> bool:
    return _single(query, name, "false").lower() == "true"


def _whole(value: object, name: str, smallest: int, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
        raise invalid_field(name, f"{name} must be a whole number from {smallest} to {largest}.")
    return value


def _whole_in_query(query: Mapping[str, Sequence[str]], name: str, default: int, largest: int) -> int:
    try:
        number: int | None = int(_single(query, name, str(default)))
    except ValueError:
        number = None
    return _whole(number, name, 1, largest)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("JSON has no such number")
    return number


def _read_json(text: bytes) -> Any:
    """The value; NaN and Infinity, which Python would read, are a ValueError as all that is no JSON."""
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _json_object(request: Request) -> dict[str, Any]:
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415)
    try:
        value = _read_json(request.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refusal(400, message="The request body is not a JSON object.")
    return value


def _page(
    request: Request, entities: Sequence[Any], path: str, *, default_size: int, largest_size: int
) -> dict[str, Any]:
    query = request.query
    size = _whole_in_query(query, "pageSize", default_size, largest_size)
    number = _whole_in_query(query, "pageNumber", 1, 2**31)
    count = math.ceil(len(entities) / size)

    def uri(page_number: int) -> str:
        return f"{path}?" + urlencode({**query, "pageSize": size, "pageNumber": page_number}, doseq=True)

    page: dict[str, Any] = {
        "entities": entities[(number - 1) * size : number * size],
        "pageSize": size,
        "pageNumber": number,
        "total": len(entities),
        "pageCount": count,
        "selfUri": uri(number),
        "firstUri": uri(1),
        "lastUri": uri(max(count, 1)),
    }
    if number < count:
        page["nextUri"] = uri(number + 1)
    if number > 1:
        page["previousUri"] = uri(number - 1)
    return page


def _division_uri(division: Organization) -> str:
    return f"/api/v2/authorization/divisions/{division.id}"


def _check_timeout(changes: dict[str, Any]) -> None:
    """Refuse what the documents of ``IdleTokenTimeout`` do not allow."""
    for name, value in changes.items():
        match name:
            case "idleTokenTimeoutSeconds":
                _whole_seconds(value, name)
            case "inactivityTimeoutUnit":
                _unit(value)
            case "inactivityTimeoutGroupBundles":
                if not isinstance(value, list):
                    raise invalid_field(name, "inactivityTimeoutGroupBundles must be a list.")
                for bundle in value:
                    _check_bundle(bundle)
            case _ if not isinstance(value, bool):
                raise invalid_field(name, f"{name} must be true or false.")


def _check_bundle(bundle: Any) -> None:
    if not isinstance(bundle, dict):
        raise invalid_field("inactivityTimeoutGroupBundles", "Each bundle must be an object.")
    _whole(bundle.get("priority"), "priority", 1, 5)
    _whole_seconds(bundle.get("timeoutSeconds"), "timeoutSeconds")
    groups = bundle.get("groups")
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise invalid_field("groups", "groups must be a list of group ids.")
    if "inactivityTimeoutUnit" in bundle:
        _unit(bundle["inactivityTimeoutUnit"])


def _whole_seconds(value: Any, name: str) -> None:
    _whole(value, name, _TIMEOUT_SECONDS[0], _TIMEOUT_SECONDS[-1])


def _unit(value: Any) -> None:
    if value not in _TIMEOUT_UNITS:
        raise invalid_field("inactivityTimeoutUnit", "inactivityTimeoutUnit must be Minutes or Hours.")
