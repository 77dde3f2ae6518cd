"""Users (``/api/v2/users``)."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from gctokens_nb.sandbox.model import SandboxUser, permission_policies
from gctokens_nb.sandbox.reading import json_object, one_of, page_of, read_json, single, whole
from gctokens_nb.sandbox.routes import AuthorizedRequest, Route, Routes
from gctokens_nb.sandbox.tokens import token_info
from gctokens_nb.sandbox.wire import Refusal, Response, invalid_query, invalid_value, iso_date, json_response
from gctokens_nb.sandbox.world import World

_MOST_IDS = 100
_EXACT = ("EXACT", "TERM", "TERMS")
# Which fields the service can search is not documented.
_SEARCHABLE = ("email", "id", "name", "state")
_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    # A name's every word may be the start: people type last names too.
    "STARTS_WITH": lambda text, value: text.startswith(value) or f" {value}" in text,
    "CONTAINS": lambda text, value: value in text,
    "QUERY_STRING": lambda text, value: all(word in text for word in value.replace("*", " ").split()),
}


def _user(world: World, user: SandboxUser) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "division": world.division_reference(),
        "email": user.email,
        "username": user.email,
        "state": user.state,
        "version": 1,
        "selfUri": f"/api/v2/users/{user.id}",
    }


def get_users_me(world: World, call: AuthorizedRequest) -> Response:
    """Who the token acts for."""
    user = call.token.grant.user
    if user is None:
        raise Refusal("not.a.user")
    value = _user(world, user)
    parts = {part for text in call.request.query.get("expand", ()) for part in text.split(",")}
    if "token" in parts:
        value["token"] = token_info(world, call.token)
    if "authorization" in parts:
        roles = permission_policies(user.permissions)
        value["authorization"] = {
            "roles": [{"id": world.role_id(name), "name": name} for name in roles],
            "permissions": sorted(user.permissions),
            # Here the actions are called otherwise than in a grant's role (ResourcePermissionPolicy).
            "permissionPolicies": [
                {
                    "domain": policy["domain"],
                    "entityName": policy["entityName"],
                    "actionSet": policy["actions"],
                }
                for policies in roles.values()
                for policy in policies
            ],
        }
    if "organization" in parts:
        value["organization"] = {
            **world.organization._asdict(),
            "domain": world.domain,
            "state": "active",
            "version": 1,
        }
    if "lasttokenissued" in parts:
        value["lastTokenIssued"] = {"dateIssued": iso_date(world.last_issued_at[user.id])}
    if "trustors" in parts:
        # Trustors are other organizations that this one may enter; nobody let this one in.
        value["trustors"] = []
    return json_response(200, value)


def get_users(world: World, call: AuthorizedRequest) -> Response:
    """The users by name, a page at a time."""
    query = call.request.query
    state = one_of(query, "state", ("active", "inactive", "deleted", "any"))
    # The definition's own default, ASC, is not among the values that it allows: both spellings are taken.
    order = one_of(query, "sortOrder", ("ascending", "descending", "ASC", "DESC"))
    users: Sequence[SandboxUser] = world.sorted_users(state, descending=order.lower().startswith("desc"))
    ids = {part.lower() for text in query.get("id", ()) for part in text.split(",")}
    if len(ids) > _MOST_IDS:
        raise Refusal("max.user.ids")
    if ids:
        users = [user for user in users if user.id in ids]
    page = page_of(call.request, users, "/api/v2/users", default_size=25, largest_size=500)
    page["entities"] = [_user(world, user) for user in page["entities"]]
    return json_response(200, page)


def post_users_search(world: World, call: AuthorizedRequest) -> Response:
    """Users by what their fields are, start with or contain."""
    return _search_users(world, json_object(call.request))


def get_users_search(world: World, call: AuthorizedRequest) -> Response:
    """The same, from where a search's ``nextPage`` points."""
    text = single(call.request.query, "q64", "")
    try:
        search = read_json(base64.urlsafe_b64decode(text))
    except (ValueError, binascii.Error):
        search = None
    if not isinstance(search, dict):
        raise invalid_query("q64", text, "the q64 of a nextPage")
    return _search_users(world, search)


def _search_users(world: World, search: dict[str, Any]) -> Response:
    clauses = search.get("query")
    if not isinstance(clauses, list) or not clauses:
        raise invalid_value("query", clauses, "List", "at least one criterion")
    size = whole(search.get("pageSize", 25), "pageSize", 1, 100)
    number = whole(search.get("pageNumber", 1), "pageNumber", 1, 2**31)
    found: dict[int, None] = {}
    for position, clause in enumerate(clauses):
        if not isinstance(clause, dict):
            raise invalid_value("query", clause, "UserSearchCriteria", "an object")
        match clause.get("operator", "AND") if position else "OR":
            case "AND":
                found = dict.fromkeys(_matches(world, clause, found))
            case "OR":
                found.update(dict.fromkeys(_matches(world, clause)))
            case "NOT":
                for index in _matches(world, clause, found):
                    del found[index]
            case _:
                raise invalid_value("operator", clause["operator"], "String", "AND, OR, NOT")
    # Deleted users are found by those who ask for them (Genesys' Terraform provider, getDeletedUserId).
    if not any("state" in str(clause.get("fields")) for clause in clauses):
        found = {index: None for index in found if world.users[index].state != "deleted"}
    start = (number - 1) * size
    chosen = [world.users[index] for index in list(found)[start : start + size]]
    answer: dict[str, Any] = {
        "results": [_user(world, user) for user in chosen],
        "total": len(found),
        "pageCount": math.ceil(len(found) / size),
        "pageSize": size,
        "pageNumber": number,
        "types": ["users"],  # required; what the service puts there is not documented
    }
    if start + size < len(found):
        following = json.dumps({**search, "pageNumber": number + 1}).encode()
        answer["nextPage"] = "/api/v2/users/search?" + urlencode(
            {"q64": base64.urlsafe_b64encode(following).decode()}
        )
    return json_response(200, answer)


def _matches(world: World, clause: dict[str, Any], among: Iterable[int] | None = None) -> list[int]:
    """The positions of the users that one clause of a search finds, of all users or of those given."""
    kind = str(clause.get("type"))
    everybody = range(len(world.users))
    if kind == "MATCH_ALL":
        return list(everybody if among is None else among)
    fields = clause.get("fields")
    if not isinstance(fields, list) or not fields or any(name not in _SEARCHABLE for name in fields):
        raise invalid_value("fields", fields, "List", ", ".join(_SEARCHABLE))
    values = clause.get("values") or [clause.get("value")]
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise invalid_value("values", values, "List", "texts that are not empty")
    wanted = [value.lower() for value in values]
    exact = kind in _EXACT
    if exact and among is None:
        return _exact_matches(world, fields, wanted)
    test = str.__eq__ if exact else _TEXT_TESTS.get(kind)
    if test is None:
        raise invalid_value("type", kind, "String", ", ".join([*_EXACT, *_TEXT_TESTS, "MATCH_ALL"]))
    columns = [world.column(name) for name in fields]
    return [
        index
        for index in (everybody if among is None else among)
        if any(test(column[index], value) for column in columns for value in wanted)
    ]


def _exact_matches(world: World, fields: list[str], wanted: list[str]) -> list[int]:
    found: dict[int, None] = {}
    for name in fields:
        for value in wanted:
            found.update(dict.fromkeys(world.positions(name, value)))
    return list(found)


_READ = ("users", "users:readonly")
ROUTES: Routes = {
    "/api/v2/users": {"GET": Route(get_users, _READ)},
    "/api/v2/users/me": {"GET": Route(get_users_me, ("user-basic-info",))},
    "/api/v2/users/search": {
        "GET": Route(get_users_search, _READ, "directory:user:view"),
        "POST": Route(post_users_search, _READ, "directory:user:view"),
    },
}
