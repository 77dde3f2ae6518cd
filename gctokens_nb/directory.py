"""The users of an organization: who am I, find by e-mail, find as one types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
import requests

from gctokens_nb.errors import (
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    readable,
)
from gctokens_nb.models import Model, User, from_raw, prepare
from gctokens_nb.oauth import AccessToken, TokenKeeper
from gctokens_nb.session import Session, invalid_answer

__all__ = ["DirectoryApi"]

SEARCH_BATCH = 100  # the documented pageSize of users/search
MOST_PAGES = 10_000  # a million users: a list that goes on beyond is no list
# A search finds no deleted users unless it asks for them (Genesys' Terraform provider, getDeletedUserId), and nothing says
# whether it finds inactive ones: leavers are often both.
_OF_ANY_STATE = {"type": "EXACT", "fields": ["state"], "values": ["active", "inactive", "deleted"]}
USER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a UUID in lower case


class _Policy(Model, frozen=True):
    domain: str = ""
    entity_name: str = ""
    actions: tuple[str, ...] = ()


class _Role(Model, frozen=True):
    policies: tuple[
        _Policy, ...
    ] = ()  # empty where they were not sent: a role without any would grant nothing


class _Grant(Model, frozen=True):
    role: _Role = _Role()


class _Subject(Model, frozen=True):
    grants: tuple[_Grant, ...] = ()


prepare(_Subject)


class DirectoryApi:
    """The calls that find users. Reached as `connection.directory`."""

    def __init__(self, session: Session, keeper: TokenKeeper) -> None:
        self._session = session
        self._keeper = keeper
        self._own: tuple[AccessToken, str | None] | None = None

    def me(self, *, expand: Iterable[str] = ()) -> User:
        """Return the user this connection is signed in as.

        Wire: `GET /api/v2/users/me`; no permission; not for client-credentials tokens, which have no user.

        Args:
            expand:
                Such as `authorization`, `organization`, `lasttokenissued`, `token`, `trustors`; found in the user's `raw`.
        """
        wanted = ",".join(expand)
        response = self._session.call(
            "GET", "/api/v2/users/me", params={"expand": wanted} if wanted else None
        )
        return _user(response, _json(response))

    def own_id(self) -> str | None:
        """Return the id of the user this connection is signed in as, or None where the token has none. Asks once per token."""
        token = self._keeper.current()
        if token.grant == "client_credentials":
            return None
        if self._own is None or self._own[0] is not token:
            try:
                found = self.me().id
            except (BadRequestError, PermissionDeniedError, NotFoundError):
                found = None  # a pasted token may be a machine's
            self._own = (token, found.lower() if found else None)
        return self._own[1]

    def own_permissions(self) -> frozenset[str]:
        """Return what the token's owner may do, such as `oauth:token:delete`; `*` stands for all of a kind.

        Wire: `GET /api/v2/authorization/subjects/me?includeFullRoles=true`; no permission. It answers for users and for
        client-credentials clients alike (Python SDK, AuthzSubject). It is the union over all divisions, and conditions are
        left out of account: a permission found here may still be refused for one user. A role that comes without its
        policies adds nothing, so the set may lack what that role grants: `has_permission()` tells the two apart.
        """
        return frozenset(
            f"{policy.domain}:{policy.entity_name}:{action}"
            for role in self._own_roles()
            for policy in role.policies
            for action in policy.actions
        )

    def has_permission(self, permission: str) -> bool | None:
        """Tell whether the token's owner has a permission, such as `oauth:token:delete`, in any division.

        Wire and limits: as `own_permissions()`.

        Returns:
            bool or None
                True where a role grants it; False where all roles came with their policies and none does; None, not known,
                where a role came without its policies.

        Raises:
            ConfigurationError:
                Not of the form `domain:entity:action`; nothing was sent.
        """
        wanted = permission.split(":") if isinstance(permission, str) else []
        if len(wanted) != 3 or not all(wanted):
            raise ConfigurationError(
                f"{readable(permission, 60)!r} is no permission: it needs the form domain:entity:action.",
                "An example is oauth:token:delete.",
            )
        roles = self._own_roles()
        for policy in (policy for role in roles for policy in role.policies):
            granted = (policy.domain,), (policy.entity_name,), policy.actions
            if all("*" in held or part in held for held, part in zip(granted, wanted, strict=True)):
                return True
        return False if all(role.policies for role in roles) else None

    def _own_roles(self) -> list[_Role]:
        response = self._session.call("GET", "/api/v2/authorization/subjects/me?includeFullRoles=true")
        try:
            subject = from_raw(_Subject, _json(response))
        except msgspec.ValidationError as error:
            raise invalid_answer(response, f"not an AuthzSubject ({readable(str(error), 200)})") from None
        return [grant.role for grant in subject.grants]

    def get(self, user_id: str) -> User | None:
        """Return the user with that id, or None.

        Wire: `GET /api/v2/users?id=…&state=any`; no permission listed.
        """
        return next(iter(self.find_by_id([user_id])), None)

    def find_by_id(self, user_ids: Iterable[str]) -> list[User]:
        """Return the users that have one of `user_ids`, deleted ones too.

        Wire: `GET /api/v2/users?id=…&state=any`, 100 ids per request; no permission listed.
        """
        wanted = list(dict.fromkeys(user_ids))
        found: list[User] = []
        for start in range(0, len(wanted), SEARCH_BATCH):
            query = {"id": wanted[start : start + SEARCH_BATCH], "state": "any", "pageSize": SEARCH_BATCH}
            response = self._session.call("GET", f"/api/v2/users?{urlencode(query, doseq=True)}")
            found += _users(response, "entities")
        return found

    def find_by_email(self, emails: Iterable[str]) -> list[User]:
        """Return the users that have one of `emails`, in any letter case, inactive and deleted ones too.

        Wire: `POST /api/v2/users/search`, 100 addresses per request; permission `directory:user:view`.
        """
        wanted = list(dict.fromkeys(email.strip().lower() for email in emails))
        found: list[User] = []
        for start in range(0, len(wanted), SEARCH_BATCH):
            batch = wanted[start : start + SEARCH_BATCH]
            found += self._search([{"type": "EXACT", "fields": ["email"], "values": batch}, _OF_ANY_STATE])
        return found

    def search(self, text: str, *, limit: int = 20) -> list[User]:
        """Return up to `limit` users of any state whose name or e-mail begins with `text`, or the user with that id.

        Wire: `POST /api/v2/users/search`, one page; permission `directory:user:view`. For an id, as `get()`.
        """
        if USER_ID.fullmatch(text.strip().lower()):
            found = self.get(text.strip().lower())
            return [] if found is None else [found]
        query = [
            {"type": "STARTS_WITH", "fields": ["name", "email"], "value": text.strip()},
            _OF_ANY_STATE,
        ]
        return _users(self._searched(query, 1, min(limit, SEARCH_BATCH)), "results") if text.strip() else []

    def list_users(self, *, state: str = "active") -> Iterator[User]:
        """Yield the users in `state` (`active`, `inactive`, `deleted`, `any`), page by page.

        Wire: `GET /api/v2/users`; no permission listed.
        """

        def page(number: int) -> tuple[requests.Response, str]:
            params = {"pageSize": "100", "pageNumber": str(number), "state": state}
            return self._session.call("GET", "/api/v2/users", params=params), "entities"

        return _pages(page)

    def _search(self, query: Sequence[dict[str, Any]]) -> Iterator[User]:
        return _pages(lambda number: (self._searched(query, number, SEARCH_BATCH), "results"))

    def _searched(self, query: Sequence[dict[str, Any]], number: int, size: int) -> requests.Response:
        body = {"query": list(query), "pageSize": size, "pageNumber": number}
        # A search changes nothing, so it may be repeated although it is a POST.
        attempts = self._session.retry.attempts
        return self._session.call("POST", "/api/v2/users/search", json=body, attempts=attempts)


def _pages(ask: Callable[[int], tuple[requests.Response, str]]) -> Iterator[User]:
    """Yield the users of all pages, each once. What was delivered decides when to stop, not only the count promised."""
    seen: set[str] = set()
    for number in range(1, MOST_PAGES + 1):
        response, name = ask(number)
        fresh = [user for user in _users(response, name) if user.id is None or user.id not in seen]
        yield from fresh
        if not fresh or number >= _count(
            response, "pageCount"
        ):  # an empty page, or one seen before, is the last
            return
        seen.update(user.id for user in fresh if user.id is not None)
    raise invalid_answer(response, f"page {MOST_PAGES} of a list that has no end")


def _users(response: requests.Response, name: str) -> list[User]:
    return [_user(response, item) for item in _items(response, name)]


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: no UTF-8
        raise invalid_answer(response, "not a JSON object") from None


def _items(response: requests.Response, name: str) -> list[dict[str, Any]]:
    items = _json(response).get(name)
    if items is None:  # left out where nobody was found
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise invalid_answer(response, f"an object whose {name!r} are no list of objects")
    return items


def _count(response: requests.Response, name: str) -> int:
    count = _json(response).get(name)
    return int(count) if isinstance(count, (int, float)) else 1


def _user(response: requests.Response, raw: dict[str, Any]) -> User:
    try:
        return from_raw(User, raw)
    except msgspec.ValidationError as error:
        raise invalid_answer(response, f"not a User ({readable(str(error), 200)})") from None
