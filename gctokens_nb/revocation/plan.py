"""What would happen to whom: every input resolved to a user, or skipped with the reason. Changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from itertools import chain, islice
from typing import Any, NamedTuple, cast

import pandas as pd

from gctokens_nb.connection import Connection
from gctokens_nb.directory import SEARCH_BATCH
from gctokens_nb.errors import ConfigurationError
from gctokens_nb.models import NamedEntity, User
from gctokens_nb.revocation.users_file import EMAIL, USER_ID, Columns, Source, UserList, read_users

__all__ = ["Plan", "Source", "organization_of", "plan_revocation"]

REVOKE, SKIP = "revoke", "skip"
COLUMNS = ("user", "id", "name", "state", "action", "why", "source", "line")
HARMLESS = ("duplicate", "yourself")  # nobody is left logged in by these who should not be
NEITHER = "neither e-mail nor id"
_IN_WORDS = {
    NEITHER: ("has neither e-mail nor id", "have neither e-mail nor id"),
    "unknown": ("is unknown", "are unknown"),
    "ambiguous": ("has an e-mail address of several users", "have an e-mail address of several users"),
    "conflict": (
        "has an id and an e-mail address that are not of the same user",
        "have an id and an e-mail address that are not of the same user",
    ),
    "deleted": ("is of a deleted user", "are of deleted users"),
}
_LISTED = 10  # of the lines of one reason


class Plan(pd.DataFrame):
    """A DataFrame with one row per input. What is selected from it is a plan again: `plan[plan["state"] == "inactive"]`.

    Columns, all `string` but `line`:

    - `user`: the input as it came, without white space around it. Of a row with an id and an e-mail address, the id;
      of a row that is skipped as they conflict, both.
    - `id`, `name`, `state`: the user it stands for; the state is `active`, `inactive` or `deleted`
    - `action`: `revoke` or `skip`
    - `why` it is skipped: `duplicate` (an earlier row is the same user), `unknown` (no such user), `ambiguous` (several
      users have that e-mail address), `neither e-mail nor id`, `conflict` (the row's id and its e-mail address are not of
      the same user), `yourself` (the user who is signed in here), `deleted`
    - `source`: the name of the file; NA where the users did not come from a file
    - `line`: of the CSV file, as an editor counts, or the row of the sheet; `Int64`, NA where `source` is
    - the columns that were kept, under their own names

    Attributes:
        connection: The `Connection` it was made through, and will be carried out through. It is not pickled, as it holds
            secrets: a plan that is read back can be looked at, but not carried out.
        organization: The `NamedEntity` whose users they are.
        column: The name of the column that the users were read from (`column 2` where it has no name), or of the Series;
            None for a plain list. Several columns: the names, with commas between them.
        sources: A `Source` for each file: its name, SHA-256, sheet, and the columns that the users were read from.
        kept: The names of the columns that were kept.
    """

    _metadata = ["connection", "organization", "column", "sources", "kept"]  # noqa: RUF012 - how pandas is told what a selection keeps
    connection: Connection | None = None
    organization: NamedEntity | None = None
    column: str | None = None
    sources: tuple[Source, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def _constructor(self) -> Callable[..., Plan]:
        return Plan

    @property
    def users_to_revoke(self) -> int:
        """How many users would be logged out: what `revoke(confirm=…)` asks for."""
        return int((self["action"] == REVOKE).sum())

    @property
    def skipped(self) -> Plan:
        """The rows of people who stay logged in, though they are in the list: those skipped but duplicates and yourself."""
        return self[(self["action"] == SKIP) & ~self["why"].isin(HARMLESS)]

    @property
    def skipped_summary(self) -> str:
        """How many rows are in `skipped`, why, and where they are, in one sentence; empty if there are none.

        Lines are those of the file. Rows of a list are counted from 1; those of a DataFrame are named by its index.
        """
        skipped = self.skipped
        if skipped.empty:
            return ""
        reasons = skipped["why"].fillna("").value_counts()
        parts = [
            f"{count:,} {_in_words(str(why), int(count))} "
            f"({_places(skipped[skipped['why'].fillna('') == why], named=self.column is not None)})"
            for why, count in reasons.items()
        ]
        noun = "line" if self.sources else "row"
        return (
            f"{len(skipped):,} {noun}{'s' * (len(skipped) > 1)} will not be logged out: {', '.join(parts)}."
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**cast("dict[str, Any]", super().__getstate__()), "connection": None}

    def __repr__(self) -> str:
        warning = self._warning()
        return "\n".join(
            [super().__repr__(), *self._origin(), *([f"\N{WARNING SIGN} {warning}"] if warning else [])]
        )

    def _repr_html_(self) -> str | None:
        table: str | None = super()._repr_html_()  # type: ignore[misc] # pandas-stubs leave it out
        if table is None:
            return None
        warning = self._warning()
        shown = "".join(f"<p>{escape(line)}</p>" for line in self._origin())
        if warning:
            shown += (
                '<p style="border-left: 4px solid #d97706; padding-left: 8px">'
                f"\N{WARNING SIGN} <strong>{escape(warning)}</strong></p>"
            )
        return table + shown

    def _origin(self) -> list[str]:
        if self.column is None:
            return []
        columns = list(dict.fromkeys(name for source in self.sources for name in source.columns))
        several = "s" if len(columns) > 1 else ""
        return [f"Read from the column{several} {', '.join(map(repr, columns or [self.column]))}."]

    def _warning(self) -> str:
        # A selection of columns is a plan to pandas, too.
        return self.skipped_summary if set(COLUMNS) <= set(self.columns) else ""


def _in_words(why: str, count: int) -> str:
    one, many = _IN_WORDS.get(why, ("is skipped without a reason", "are skipped without a reason"))
    return one if count == 1 else many


def _places(rows: pd.DataFrame, *, named: bool) -> str:
    """Where rows are: `lines 2, 17, 40 and 7 more`."""
    shown = rows.head(_LISTED)
    several = len(rows["source"].unique()) > 1
    places = []
    for label, source, line in zip(shown.index, shown["source"], shown["line"], strict=True):
        if not pd.isna(line):
            places.append(f"{line} of {source}" if several else f"{line}")
        else:
            places.append(f"{label + 1}" if isinstance(label, int) and not named else f"{label}")
    noun = "line" if rows["line"].notna().all() else "index" if named else "row"
    if len(rows) == 1:
        return f"{noun} {places[0]}"
    if len(rows) > _LISTED:
        return f"{noun if noun == 'index' else noun + 's'} {', '.join(places[:3])} and {len(rows) - 3:,} more"
    return f"{noun if noun == 'index' else noun + 's'} {', '.join(places[:-1])} and {places[-1]}"


class _Found(NamedTuple):
    id: str
    name: str | None
    state: str | None


_Row = tuple[str, str | None, str | None, str | None, str, str | None]  # the first columns of a plan
_Match = _Found | frozenset[str]  # the ids of the users who share an e-mail address


def plan_revocation(
    connection: Connection, users: Any, *, column: Columns = None, keep: Sequence[str] = ()
) -> Plan:
    """Find out who would be logged out. Nothing is changed.

    Wire: `GET /api/v2/tokens/me`; `GET /api/v2/users?id=…` for ids and `POST /api/v2/users/search` (permission
    `directory:user:view`) for e-mail addresses, 100 per request; `GET /api/v2/users/me` where a person is signed in.

    A row may tell a user by an id, an e-mail address or both. Where it has both, both are looked up and the id decides.
    The row is skipped as a `conflict` where the address is of somebody else, and where the id is unknown and the address
    is not: the address may have gone to another person. An address that is unknown does not contradict the id.

    Args:
        connection: To the organization of the users.
        users: Ids (UUIDs) and e-mail addresses in any mix and letter case: one as text, a list, a Series, a DataFrame, a
            path of a CSV or Excel file (.xlsx), or the `value` of an `ipywidgets.FileUpload`. A CSV file may use commas,
            semicolons, tabs or bars, and may begin with a byte order mark. It needs no header: where an id or address
            is in the first row, that is none. A file of one column has a header if that is a usual name, such as
            `user`, `id` or `email`, or is given as `column`; any other first line is a row. A workbook may hold one
            sheet that is not empty. Lines of a file without any text are left out; every row of a DataFrame or list
            counts, so that a person whose cell is empty is not forgotten. A file may have up to 100 MB, 2,000,000 rows,
            1,000 columns and 10,000,000 cells; a workbook about two million cells.
        column: The name of a file's or DataFrame's column, in any letter case, or a list of them; `column 2` is the second
            of a file without a header, or one without a name. Needed where it is not clear: without it, the users are in
            the one column with a usual name that holds ids or addresses, or in two of those, if one of them holds ids and
            the other addresses (`Genesys Id` and `E-Mail`); where no column has a usual name, in the only one that holds
            any. With it, no other column is looked at.
        keep: Names of further columns of the file or DataFrame, such as `["Personnel No"]`, that are to be in the plan
            and in the evidence.

    Returns:
        A row for each input, in the order of the input; that of a Series or DataFrame keeps its index.

    Raises:
        ConfigurationError: The input cannot be read, does not tell which column holds the users, is too large, or might
            lose some users: a quotation mark that is not closed, a row longer than the header, several sheets.
        ApiError, TransportError: As the calls.
    """
    given = read_users(users, column, keep)
    for name in given.kept:
        if name in COLUMNS:
            raise ConfigurationError(
                f"A plan has a column {name!r} of its own, so that of the list cannot be kept under this name.",
                "Rename it in the list, or leave it out of keep=.",
            )
    organization = organization_of(connection)
    plan = _plan_of(_resolve(connection, given, connection.directory.own_id()), given)
    plan.connection, plan.organization = connection, organization
    return plan


def _resolve(connection: Connection, given: UserList, own_id: str | None) -> list[_Row]:
    """Look up all users, and tell of each row what is to be done."""
    keys = [text.lower() for text in given.texts]
    ids: dict[str, None] = {}
    emails: dict[str, None] = {}
    for key in chain(keys, map(str.lower, chain.from_iterable(given.also.values()))):
        if USER_ID.fullmatch(key):
            ids[key] = None
        elif EMAIL.fullmatch(key):
            emails[key] = None
    found: dict[str, _Match] = dict(_by_id(connection, ids))
    found.update(_by_email(connection, emails))

    rows: list[_Row] = []
    seen: set[str] = set()
    for at, (text, key) in enumerate(zip(given.texts, keys, strict=True)):
        others = given.also.get(at, [])
        if key not in ids and key not in emails:
            rows.append((text, None, None, None, SKIP, NEITHER))
            continue
        user = _the_user([key, *map(str.lower, others)], found)
        if isinstance(user, str):
            shown = ", ".join([text, *others]) if user == "conflict" else text
            rows.append((shown, None, None, None, SKIP, user))
            continue
        why = _why_skipped(user, own_id, seen)
        seen.add(user.id)
        rows.append((text, *user, SKIP if why else REVOKE, why))
    return rows


def _plan_of(rows: list[_Row], given: UserList) -> Plan:
    absent = [None] * len(rows)
    columns = dict(zip(COLUMNS, zip(*rows, strict=True) if rows else [()] * 6, strict=False))
    texts = {**columns, "source": given.files or absent, **given.kept}
    series = {name: pd.Series(list(values), dtype="string") for name, values in texts.items()}
    series["line"] = pd.Series(given.lines or absent, dtype="Int64")
    plan = Plan({name: series[name] for name in (*COLUMNS, *given.kept)})
    if given.index is not None:
        plan.index = given.index
    plan.column = ", ".join(given.columns) or None
    plan.sources, plan.kept = given.sources, tuple(given.kept)
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


def _the_user(keys: list[str], found: dict[str, _Match]) -> _Found | str:
    """The user whom a row means, or why that is not known. What comes first decides; the rest must not contradict it."""
    first, *others = map(found.get, keys)
    if first is None:
        return "conflict" if any(others) else "unknown"
    if not isinstance(first, _Found):
        return "ambiguous"
    for other in others:
        if other and (other.id != first.id if isinstance(other, _Found) else first.id not in other):
            return "conflict"
    return first


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


def _by_email(connection: Connection, emails: Iterable[str]) -> Iterator[tuple[str, _Match]]:
    for batch in _batches(emails):
        candidates: dict[str, set[_Found]] = {}
        for user in connection.directory.find_by_email(batch):
            candidates.setdefault((user.email or "").lower(), set()).add(_read(user))
        for email in candidates.keys() & set(batch):
            matches = candidates[email]
            # An address may go to a new user once the old one is deleted.
            matches = {one for one in matches if one.state != "deleted"} or matches
            yield email, matches.pop() if len(matches) == 1 else frozenset(one.id for one in matches)


def _read(user: User) -> _Found:
    # What a batch brought beside these is dropped here; the few states are kept once for all users.
    return _Found((user.id or "").lower(), user.name, sys.intern(user.state) if user.state else None)


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(items)
    while batch := list(islice(remaining, SEARCH_BATCH)):
        yield batch
