"""A journal is input: what its rows must be, and whether its plan is the one that was confirmed.

Whoever can write to the file can change whom `resume` logs out and what the evidence says. Therefore each row carries the
SHA-256 of its other columns, and the table `run` the SHA-256 of the whole plan, taken when the run began. This finds rows
that were damaged, edited, added to the plan or removed from it. It does not find the work of somebody who computes all
digests anew: against that, compare the plan's digest with the one in evidence that was stored elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from gctokens_nb.errors import InvalidUserIdError
from gctokens_nb.models import prepare
from gctokens_nb.revocation.users_file import Source
from gctokens_nb.tokens import check_user_id

__all__ = [
    "AttemptRow",
    "DamagedError",
    "Facts",
    "PlanRow",
    "SessionRow",
    "check",
    "checked",
    "digest_of",
    "plan_digest",
]

MOST_ROWS = 10_000_000  # of a table
_YEARS = "2000", "2200"
_SHOWN = 5  # differences that are told one by one

_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_ROWS)]
_Number = Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)]
_Text = Annotated[str, msgspec.Meta(max_length=40_000)]  # a spreadsheet's cell holds 32,767 characters
_Short = Annotated[str, msgspec.Meta(max_length=2_000)]
_Json = Annotated[str, msgspec.Meta(max_length=500_000)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `run`: what was fixed when the run began. `sources` and `kept` are JSON."""

    organization_id: _Short
    organization_name: _Short | None
    region: _Short
    confirmed: _Count | None
    inputs: _Count
    sources: _Json
    kept: _Json
    plan_sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class PlanRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A row of the table `plan`."""

    row: _Count
    user: _Text
    id: _Short | None
    name: _Text | None
    state: _Short | None
    action: Literal["revoke", "skip"]
    why: _Short | None
    source: _Short | None
    line: _Number | None
    kept: _Json | None
    digest: _Digest


class SessionRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A row of the table `sessions`."""

    session: _Number
    began_at: _Time
    client_id: _Short | None
    signed_in_as: _Short | None
    package_version: _Short
    skipped_ok: _Count
    last_at: _Time
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    attempts: _Count
    digest: _Digest


class AttemptRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A row of the table `attempts`."""

    row: _Count
    attempt: _Number
    session: _Number
    written_at: _Time
    sent_at: _Time | None
    answered_at: _Time | None
    outcome: Literal["revoked", "failed", "again", "unknown"] | None
    status: Annotated[int, msgspec.Meta(ge=100, le=599)] | None
    correlation_id: _Short | None
    reason: _Short | None
    digest: _Digest


prepare(Facts, PlanRow, SessionRow, AttemptRow, list[Source])


class DamagedError(ValueError):
    """Something in the journal cannot be what was written there."""


def digest_of(table: str, values: Sequence[Any]) -> bytes:
    """Return the digest of a row: the SHA-256 of the JSON array of the table's name and the row's other columns."""
    return hashlib.sha256(msgspec.json.encode([table, *values])).digest()


def plan_digest(facts: Facts, row_digests: Iterable[bytes]) -> str:
    """Return the digest of a plan: the SHA-256 of the JSON array of the run's other facts, followed by the rows' digests."""
    fixed = [value for name, value in msgspec.structs.asdict(facts).items() if name != "plan_sha256"]
    total = hashlib.sha256(msgspec.json.encode(fixed))
    for one in row_digests:
        total.update(one)
    return total.hexdigest()


def checked(values: Sequence[Any], kind: type[Any], what: str) -> Any:
    """Return the values as a row of that kind.

    Raises:
        DamagedError: A value has not the type, the length or the meaning that it must have.
    """
    try:
        row = msgspec.convert(values, kind)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise DamagedError(f"{what} is not valid: {error}") from None
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, datetime) and not _YEARS[0] <= f"{value.year:04}" < _YEARS[1]:
            raise DamagedError(f"{what} has an implausible time ({value:%Y})")
    if isinstance(row, PlanRow):
        _check_plan_row(row, what)
    return row


def _check_plan_row(row: PlanRow, what: str) -> None:
    if row.kept is not None:
        try:
            msgspec.json.decode(row.kept, type=dict[str, str | None])
        except (msgspec.DecodeError, RecursionError) as error:
            raise DamagedError(f"{what} has columns that are not valid: {error}") from None
    if row.action == "revoke":
        try:
            plain = check_user_id(row.id) == row.id
        except InvalidUserIdError as error:
            raise DamagedError(f"{what} is to be logged out, but: {error.what.rstrip('.')}") from None
        if not plain:
            raise DamagedError(f"{what} has an id in capital letters, which no journal has")


def check(database: sqlite3.Connection, schema: str) -> tuple[Facts, tuple[str, ...]]:
    """Read everything once. Return the facts, and in which ways the plan differs from the one that was confirmed.

    Raises:
        DamagedError, sqlite3.Error: The journal is damaged, or of somebody else's making.
    """
    if _schema(database) != _expected_schema(schema):
        raise DamagedError("its tables and views are not those that this package makes")
    for (problem,) in database.execute("PRAGMA quick_check(1)"):
        if problem != "ok":
            raise DamagedError(problem)
    for table in ("plan", "sessions", "attempts"):
        (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own names
        if count > MOST_ROWS:
            raise DamagedError(f"it has {count:,} rows in the table {table}")
    facts = _facts(database)
    differences = _check_plan(database, facts)
    _check_attempts(database, _check_sessions(database))
    return facts, differences


def _schema(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name LIMIT 100"
    return database.execute(query).fetchall()


@functools.cache
def _expected_schema(schema: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(schema)
        return _schema(database)


def _facts(database: sqlite3.Connection) -> Facts:
    values = dict(database.execute("SELECT name, value FROM run LIMIT 100"))
    try:
        facts = msgspec.convert(values, Facts, strict=False)
        msgspec.json.decode(facts.sources, type=list[Source])
        msgspec.json.decode(facts.kept, type=list[_Short])
    except (msgspec.DecodeError, RecursionError) as error:  # a ValidationError is a DecodeError, too
        raise DamagedError(f"the table run is not valid: {error}") from None
    return facts


def _check_plan(database: sqlite3.Connection, facts: Facts) -> tuple[str, ...]:
    digests: list[bytes] = []
    changed: list[str] = []
    due = present = 0
    for values in database.execute("SELECT * FROM plan ORDER BY row"):
        row: PlanRow = checked(values, PlanRow, f"row {values[0]!r:.20} of the plan")
        if digest_of("plan", values[:-1]) != row.digest:
            changed.append(f"row {row.row} ({row.user[:80]!r}) was changed")
        digests.append(row.digest)
        due += row.action == "revoke"
        present += row.row < facts.inputs
    differences = changed[:_SHOWN]
    if len(changed) > _SHOWN:
        differences.append(f"{len(changed) - _SHOWN:,} more rows were changed")
    if removed := facts.inputs - present:
        differences.append(f"{removed:,} of the {facts.inputs:,} rows {_were(removed)} removed")
    if added := len(digests) - present:
        differences.append(
            f"{added:,} {'row' if added == 1 else 'rows'} {_were(added)} added to the {facts.inputs:,}"
        )
    if due != facts.confirmed:
        differences.append(f"{due:,} users are to be logged out, but {facts.confirmed or 0:,} were confirmed")
    if not differences and plan_digest(facts, digests) != facts.plan_sha256:
        differences.append(
            "the organization, the region, the sources, the numbers or whole rows of the plan were changed"
        )
    return tuple(differences)


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _check_sessions(database: sqlite3.Connection) -> int:
    counts = dict(
        database.execute("SELECT session, count(*) FROM attempts GROUP BY session LIMIT ?", (MOST_ROWS,))
    )
    count = 0
    for count, values in enumerate(database.execute("SELECT * FROM sessions ORDER BY session"), 1):
        row: SessionRow = checked(values, SessionRow, f"session {count}")
        if row.session != count or digest_of("sessions", values[:-1]) != row.digest:
            raise DamagedError(f"session {count} is not as it was written")
        if counts.get(count, 0) != row.attempts:
            raise DamagedError(
                f"session {count} made {row.attempts:,} attempts, of which {counts.get(count, 0):,} are there"
            )
    return count


def _check_attempts(database: sqlite3.Connection, sessions: int) -> None:
    query = "SELECT attempts.*, plan.action FROM attempts LEFT JOIN plan USING (row) ORDER BY attempts.row, attempts.attempt"
    last: AttemptRow | None = None
    for *values, action in database.execute(query):
        what = f"attempt {values[1]!r:.20} of row {values[0]!r:.20}"
        row: AttemptRow = checked(values, AttemptRow, what)
        follows = last if last is not None and last.row == row.row else None
        if digest_of("attempts", values[:-1]) != row.digest:
            raise DamagedError(f"{what} is not as it was written")
        if action != "revoke":
            raise DamagedError(f"{what} is of nobody whom the plan logs out")
        # SQLite reads in the order of the key and does not sort, so this also finds a page that stands in another's place.
        in_order = last is None or last.row <= row.row
        if not in_order or row.attempt != (follows.attempt if follows else 0) + 1 or row.session > sessions:
            raise DamagedError(f"{what} does not follow from what is before it")
        if follows and follows.outcome == "revoked":
            raise DamagedError(f"{what} was made after the user had been revoked")
        if (row.outcome is None) != (row.answered_at is None) or (row.sent_at is None) != (
            row.answered_at is None
        ):
            raise DamagedError(f"{what} is half answered")
        if row.outcome == "revoked" and not 200 <= (row.status or 0) < 300:
            raise DamagedError(f"{what} is revoked without a status that says so")
        last = row
