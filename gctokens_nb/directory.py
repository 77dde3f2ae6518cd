"""The users of an organization: who am I, find by e-mail, find as one types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
import requests

from gctokens_nb.errors import BadRequestError, NotFoundError, PermissionDeniedError
from gctokens_nb.models import Model, User, from_raw
from gctokens_nb.oauth import AccessToken, TokenKeeper
from gctokens_nb.session import Session, invalid_answer

__all__ = ["DirectoryApi"]

SEARCH_BATCH = 100  # the documented pageSize of users/search
# A search finds no deleted users unless it asks for them (Genesys' Terraform provider, getDeletedUserId), and nothing says
# whether it finds inactive ones: leavers are often both.
_OF_ANY_STATE = {"type": "EXACT", "fields": ["state"], "values": ["active", "inactive", "deleted"]}
USER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a UUID in lower case


class _Policy(Model, frozen=True):
    domain: str = ""
    entity_name: str = ""
    actions: tuple[str, ...] = ()


class _Role(Model, frozen=True):
    policies: tuple[_Policy, ...] = ()


class _Grant(Model, frozen=True):
    role: _Role = _Role()


class _Subject(Model, frozen=True):
    grants: tuple[_Grant, ...] = ()


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
        """Return the id of the user this connection is signed in as, or None where the token has none. Asks once a token."""
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

        Wire: `GET /api/v2/authorization/subjects/me?includeFullRoles=true`; no permission. It answers for users and for client-credentials
        clients alike (Python SDK, AuthzSubject). Conditions and divisions are left out of account.
        """
        response = self._session.call("GET", "/api/v2/authorization/subjects/me?includeFullRoles=true")
        try:
            subject = from_raw(_Subject, _json(response))
        except msgspec.ValidationError as error:
            raise invalid_answer(response, f"not an AuthzSubject ({error})") from None
        return frozenset(
            f"{policy.domain}:{policy.entity_name}:{action}"
            for grant in subject.grants
            for policy in grant.role.policies
            for action in policy.actions
        )

    def has_permission(self, permission: str) -> bool:
        """Tell whether the token's owner has a permission, such as `oauth:token:delete`, as `own_permissions()` says."""
        parts = permission.split(":")
        return any(
            all(has in {"*", wants} for has, wants in zip(held.split(":"), parts, strict=False))
            for held in self.own_permissions()
        )

    def get(self, user_id: str) -> User | None:
        """Return the user with that id, or None.

        Wire: `GET /api/v2/users?id=…&state=any`; no permission listed.
        """
        return next(iter(self.find_by_id([user_id])), None)

    def find_by_id(self, user_ids: Iterable[str]) -> list[User]:
        """Return the users that have one of `user_ids`, deleted ones too.

        Wire: `GET /api/v2/users?id=…&state=any`, 100 ids a request; no permission listed.
        """
        wanted = list(dict.fromkeys(user_ids))
        found: list[User] = []
        for start in range(0, len(wanted), SEARCH_BATCH):
            query = {"id": wanted[start : start + SEARCH_BATCH], "state": "any", "pageSize": SEARCH_BATCH}
            response = self._session.call("GET", f"/api/v2/users?{urlencode(query, doseq=True)}")
            found += [_user(response, item) for item in _items(response, "entities")]
        return found

    def find_by_email(self, emails: Iterable[str]) -> list[User]:
        """Return the users that have one of `emails`, in any letter case, inactive and deleted ones too.

        Wire: `POST /api/v2/users/search`, 100 addresses a request; permission `directory:user:view`.
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
        return list(self._page(query, 1, min(limit, SEARCH_BATCH))[0]) if text.strip() else []

    def list_users(self, *, state: str = "active") -> Iterator[User]:
        """Yield the users in `state` (`active`, `inactive`, `deleted`, `any`), page by page.

        Wire: `GET /api/v2/users`; no permission listed.
        """
        number, pages = 1, 1
        while number <= pages:
            params = {"pageSize": "100", "pageNumber": str(number), "state": state}
            response = self._session.call("GET", "/api/v2/users", params=params)
            yield from (_user(response, item) for item in _items(response, "entities"))
            pages = _count(response, "pageCount")
            number += 1

    def _search(self, query: Sequence[dict[str, Any]]) -> Iterator[User]:
        number, pages = 1, 1
        while number <= pages:
            users, pages = self._page(query, number, SEARCH_BATCH)
            yield from users
            number += 1

    def _page(self, query: Sequence[dict[str, Any]], number: int, size: int) -> tuple[list[User], int]:
        body = {"query": list(query), "pageSize": size, "pageNumber": number}
        # A search changes nothing, so it may be repeated although it is a POST.
        attempts = self._session.retry.attempts
        response = self._session.call("POST", "/api/v2/users/search", json=body, attempts=attempts)
        return [_user(response, item) for item in _items(response, "results")], _count(response, "pageCount")


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
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
    return count if isinstance(count, int) else 1


def _user(response: requests.Response, raw: dict[str, Any]) -> User:
    try:
        return from_raw(User, raw)
    except msgspec.ValidationError as error:
        raise invalid_answer(response, f"not a User ({error})") from None
