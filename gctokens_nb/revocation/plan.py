"""What would happen to whom: every input resolved to a user, or skipped with the reason. Changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from html import escape
from itertools import islice
from typing import Any, NamedTuple, cast

import pandas as pd

from gctokens_nb.connection import Connection
from gctokens_nb.directory import SEARCH_BATCH
from gctokens_nb.errors import ConfigurationError
from gctokens_nb.models import NamedEntity, User
from gctokens_nb.revocation.users_file import EMAIL, USER_ID, read_users

__all__ = ["Plan", "organization_of", "plan_revocation"]

REVOKE, SKIP = "revoke", "skip"
COLUMNS = ("user", "id", "name", "state", "action", "why")


class Plan(pd.DataFrame):
    """A DataFrame with one row an input. What is selected from it is a plan again: `plan[plan["state"] == "inactive"]`.

    Columns, all `string`:

    - `user`: the input as it came, without white space around it
    - `id`, `name`, `state`: the user it stands for; the state is `active`, `inactive` or `deleted`
    - `action`: `revoke` or `skip`
    - `why` it is skipped: `duplicate` (an earlier row is the same user), `unknown` (no such user), `ambiguous` (several
      users have that e-mail address), `malformed` (neither an id nor an e-mail address), `yourself` (the user who is
      signed in here), `deleted`

    Attributes:
        connection: The `Connection` it was made through, and will be carried out through. It is not pickled, as it holds
            secrets: a plan that is read back can be looked at, but not carried out.
        organization: The `NamedEntity` whose users they are.
        column: The name of the column that the users were read from (`column 2` where it has no name), or of the Series;
            None for a plain list. Several uploads: the names, with commas between them.
    """

    _metadata = ["connection", "organization", "column"]  # noqa: RUF012 - how pandas is told what a selection keeps
    connection: Connection | None = None
    organization: NamedEntity | None = None
    column: str | None = None

    @property
    def _constructor(self) -> Callable[..., Plan]:
        return Plan

    @property
    def users_to_revoke(self) -> int:
        """How many users would be logged out: what `revoke(confirm=…)` asks for."""
        return int((self["action"] == REVOKE).sum())

    def __getstate__(self) -> dict[str, Any]:
        return {**cast("dict[str, Any]", super().__getstate__()), "connection": None}

    def __repr__(self) -> str:
        return super().__repr__() + (f"\n{self._origin()}" if self.column is not None else "")

    def _repr_html_(self) -> str | None:
        table: str | None = super()._repr_html_()  # type: ignore[misc] # pandas-stubs leave it out
        return table if table is None or self.column is None else f"{table}<p>{escape(self._origin())}</p>"

    def _origin(self) -> str:
        return f"Read from the column {self.column!r}."


class _Found(NamedTuple):
    id: str
    name: str | None
    state: str | None


def plan_revocation(connection: Connection, users: Any, *, column: str | int | None = None) -> Plan:
    """Find out who would be logged out. Nothing is changed.

    Wire: `GET /api/v2/tokens/me`; `GET /api/v2/users?id=…` for ids and `POST /api/v2/users/search` (permission
    `directory:user:view`) for e-mail addresses, 100 a request; `GET /api/v2/users/me` where a person is signed in.

    Args:
        connection: To the organization of the users.
        users: Ids (UUIDs) and e-mail addresses in any mix and letter case: one as text, a list, a Series, a DataFrame, a
            path of a CSV or Excel file (.xlsx), or the `value` of an `ipywidgets.FileUpload`. A CSV file may use commas,
            semicolons, tabs or bars, and may begin with a byte order mark. It needs no header: where an id or address
            is in the first row, that is none. A file of one column has a header if that is a usual name, such as
            `user`, `id` or `email`, or is given as `column`; any other first line is a row. A workbook may hold one
            sheet that is not empty.
        column: The name of a file's or DataFrame's column, in any letter case; `column 2` is the second of a file without
            a header, or one without a name. Needed where it is not clear: without it, the users are in the one column
            with a usual name that holds ids or addresses; where no column has a usual name, in the only one that
            holds any.

    Returns:
        A row for each input, in the order of the input; that of a Series or DataFrame keeps its index.

    Raises:
        ConfigurationError: The input cannot be read, does not tell which column holds the users, or might lose some: a
            quotation mark that is not closed, a row longer than the header, several sheets.
        ApiError, TransportError: As the calls.
    """
    texts, index, name = read_users(users, column)
    organization = organization_of(connection)
    own_id = connection.directory.own_id()
    keys = [text.lower() for text in texts]
    ids = dict.fromkeys(key for key in keys if USER_ID.fullmatch(key))
    emails = dict.fromkeys(key for key in keys if key not in ids and EMAIL.fullmatch(key))
    found: dict[str, _Found | str] = dict(_by_id(connection, ids))
    found.update(_by_email(connection, emails))

    rows: list[tuple[str | None, str | None, str | None, str, str | None]] = []
    seen: set[str] = set()
    for key in keys:
        user = found.get(key, "unknown" if key in ids or key in emails else "malformed")
        if isinstance(user, str):
            rows.append((None, None, None, SKIP, user))
            continue
        why = _why_skipped(user, own_id, seen)
        seen.add(user.id)
        rows.append((*user, SKIP if why else REVOKE, why))
    columns = dict(
        zip(COLUMNS, [texts, *zip(*rows, strict=True)] if rows else [()] * len(COLUMNS), strict=True)
    )
    plan = Plan({name: pd.Series(list(values), dtype="string") for name, values in columns.items()})
    plan.index = index
    plan.connection, plan.organization, plan.column = connection, organization, name
    return plan


def organization_of(connection: Connection) -> NamedEntity:
    """Return the organization that the connection's token is for, without resetting the idle timer.

    Raises:
        ConfigurationError: The server does not say.
    """
    organization = connection.tokens.get_tokens_me(preserve_idle_ttl=True).organization
    if organization is None or not organization.id:
        raise ConfigurationError(
            "Genesys Cloud does not say which organization this token is for.",
            "Without that, a journal could be resumed in the wrong one: sign in again, with another client.",
        )
    return organization


def _why_skipped(user: _Found, own_id: str | None, seen: set[str]) -> str | None:
    if user.id == own_id:
        return "yourself"
    if user.state == "deleted":
        return "deleted"
    return "duplicate" if user.id in seen else None


def _by_id(connection: Connection, ids: Iterable[str]) -> Iterator[tuple[str, _Found]]:
    for batch in _batches(ids):
        for found in map(_read, connection.directory.find_by_id(batch)):
            yield found.id, found


def _by_email(connection: Connection, emails: Iterable[str]) -> Iterator[tuple[str, _Found | str]]:
    for batch in _batches(emails):
        candidates: dict[str, set[_Found]] = {}
        for user in connection.directory.find_by_email(batch):
            candidates.setdefault((user.email or "").lower(), set()).add(_read(user))
        for email in candidates.keys() & set(batch):
            matches = candidates[email]
            # An address may go to a new user once the old one is deleted.
            matches = {one for one in matches if one.state != "deleted"} or matches
            yield email, matches.pop() if len(matches) == 1 else "ambiguous"


def _read(user: User) -> _Found:
    # What a batch brought beside these is dropped here; the few states are kept once for all users.
    return _Found((user.id or "").lower(), user.name, sys.intern(user.state) if user.state else None)


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(items)
    while batch := list(islice(remaining, SEARCH_BATCH)):
        yield batch
