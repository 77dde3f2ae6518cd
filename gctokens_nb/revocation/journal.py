"""The journal of a run: an SQLite file in which each attempt stands before it is sent and after it is answered.

Tables, for those who read it with a tool of their own; `digest` is the SHA-256 of the row (see `journal_check`):

- `run` (`name`, `value`): whose tokens, in which region, how many users were confirmed, the files they came from, and the
  SHA-256 of the plan, as fixed when the run began. No secret and no token.
- `sessions` (`session`, `began_at`, `client_id`, `signed_in_as`, `package_version`, `skipped_ok`, `last_at`, `seconds`,
  `attempts`, `digest`): who ran it; a resumed run has several. `seconds` is how long, by a clock that nobody can set;
  `attempts` how many of the table are of this session.
- `plan` (`row`, `user`, `id`, `name`, `state`, `action`, `why`, `source`, `line`, `kept`, `digest`): one row per input.
  `kept` is a JSON object of the columns that the user asked to keep.
- `attempts` (`row`, `attempt`, `session`, `written_at`, `sent_at`, `answered_at`, `outcome`, `status`, `correlation_id`,
  `reason`, `digest`): times are UTC by the clock of the machine that ran it. `outcome` is `revoked`; `failed` (for good);
  `again` (refused, to be repeated); `unknown` (no usable answer); NULL where the process died before an answer came, and
  perhaps before it was sent. The state of a user is that of the last attempt; of one that is to be repeated, `unknown` if
  any attempt was.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gctokens_nb.errors import JournalError
from gctokens_nb.revocation.journal_check import (
    DamagedError,
    Facts,
    PlanRow,
    SessionRow,
    check,
    checked,
    digest_of,
    plan_digest,
)
from gctokens_nb.revocation.journal_file import explained, make_file

__all__ = ["AGAIN", "FAILED", "REVOKED", "UNKNOWN", "Answer", "Intent", "Journal", "Task"]

REVOKED, FAILED, AGAIN, UNKNOWN = "revoked", "failed", "again", "unknown"
IN_MEMORY = ":memory:"
_APPLICATION_ID = 0x67635276  # "gcRv", so that `file` and we can tell it from any other SQLite file
_VERSION = 2
_MOST_BYTES = 2_000_000  # of a row: far more than the longest that is written
_SCHEMA = """
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE sessions (
    session INTEGER PRIMARY KEY, began_at TEXT NOT NULL, client_id TEXT, signed_in_as TEXT, package_version TEXT NOT NULL,
    skipped_ok INTEGER NOT NULL, last_at TEXT NOT NULL, seconds REAL NOT NULL, attempts INTEGER NOT NULL,
    digest BLOB NOT NULL
);
CREATE TABLE plan (
    row INTEGER PRIMARY KEY, user TEXT NOT NULL, id TEXT, name TEXT, state TEXT, action TEXT NOT NULL, why TEXT,
    source TEXT, line INTEGER, kept TEXT, digest BLOB NOT NULL
);
CREATE TABLE attempts (
    row INTEGER NOT NULL REFERENCES plan, attempt INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions, written_at TEXT NOT NULL, sent_at TEXT, answered_at TEXT,
    outcome TEXT, status INTEGER, correlation_id TEXT, reason TEXT, digest BLOB NOT NULL,
    PRIMARY KEY (row, attempt)
) WITHOUT ROWID;
CREATE VIEW outcomes AS
SELECT plan.row, plan.user, plan.id, plan.name, plan.state, plan.why, plan.source, plan.line, plan.kept,
    CASE
        WHEN plan.action <> 'revoke' THEN 'skipped'
        WHEN last.attempt IS NULL THEN 'pending'
        WHEN last.outcome = 'again' THEN CASE
            WHEN EXISTS (
                SELECT 1 FROM attempts WHERE attempts.row = plan.row AND coalesce(outcome, 'unknown') = 'unknown'
            ) THEN 'unknown'
            ELSE 'pending'
        END
        ELSE coalesce(last.outcome, 'unknown')
    END AS outcome,
    last.status, last.correlation_id, last.reason, coalesce(last.attempt, 0) AS attempts,
    coalesce(first.sent_at, first.written_at) AS first_attempt_at, last.answered_at, last.session
FROM plan
LEFT JOIN attempts AS last ON last.row = plan.row
    AND last.attempt = (SELECT max(attempt) FROM attempts WHERE attempts.row = plan.row)
LEFT JOIN attempts AS first ON first.row = plan.row AND first.attempt = 1;
"""


class Task(NamedTuple):
    """A user to be logged out: the row of the plan, the user's id, the outcome and the number of attempts so far."""

    row: int
    user_id: str
    outcome: str
    attempts: int


class Intent(NamedTuple):
    """An attempt that may be sent, as it is in the journal."""

    row: int
    user_id: str
    attempt: int


class Answer(NamedTuple):
    """How an attempt ended, in the order of the journal's columns; the times are ISO 8601, UTC."""

    sent_at: str
    answered_at: str
    outcome: str
    status: int | None
    correlation_id: str | None
    reason: str | None
    row: int
    attempt: int


class Journal:
    """One open journal, locked against every other opener for as long as it is open. Any thread may use it.

    Use `create` or `open`.

    Attributes:
        path: Of the file; `:memory:` for a dry run.
        facts: What was fixed when the run began.
        differences: In which ways the plan is not the one that was confirmed, in words; empty as it should be.
    """

    def __init__(self, path: str, database: sqlite3.Connection, facts: Facts) -> None:
        self.path = path
        self.facts = facts
        self.differences: tuple[str, ...] = ()
        self._database = database
        self._lock = threading.Lock()
        self._session: tuple[Any, ...] = ()
        self._session_began = 0.0
        self._attempts = 0  # of this session
        self._written: dict[tuple[int, int], str] = {}  # when the attempts under way were written down

    @classmethod
    def create(cls, path: str, facts: Mapping[str, Any], plan: Sequence[Sequence[Any]]) -> Journal:
        """Make a new journal of a plan. All of it is on the disk when this returns, or nothing is.

        Args:
            path: Where nothing is yet; `:memory:` for one that is gone when it is closed.
            facts: The fields of `Facts`, without `inputs` and the digest.
            plan: (user, id, name, state, action, why, source, line, kept) for each input.

        Raises:
            JournalError: The path exists, cannot be written, or the disk is full; or a row is not possible.
        """
        try:
            rows = [
                (*row, digest_of("plan", row)) for row in ((at, *values) for at, values in enumerate(plan))
            ]
            for row in rows:
                checked(row, PlanRow, f"row {row[0]} of the plan")
        except (DamagedError, UnicodeEncodeError) as error:  # the latter for half a surrogate pair
            what = error if isinstance(error, DamagedError) else "a text of the plan is no valid Unicode"
            raise JournalError(
                f"No journal can be made: {what}. Nothing was sent.", "Change the list."
            ) from None
        fixed = Facts(**facts, inputs=len(rows), plan_sha256="")
        fixed = msgspec.structs.replace(fixed, plan_sha256=plan_digest(fixed, [row[-1] for row in rows]))
        if path != IN_MEMORY:
            make_file(path, len(rows))
        try:
            with explained(path, "created"):
                database = _connect(path)
                try:
                    _fill(database, fixed, rows)
                except BaseException:
                    database.close()
                    raise
        except BaseException:
            for name in (path, f"{path}-wal", f"{path}-shm"):
                with contextlib.suppress(OSError):
                    Path(name).unlink()
            raise
        return cls(path, database, fixed)

    @classmethod
    def open(cls, path: str) -> Journal:
        """Open a journal that exists, lock it, and read all of it once to see that it is sound.

        A plan that is not the one that was confirmed is no error here: see `differences`.

        Raises:
            JournalError: It is missing, damaged, read-only, open elsewhere, of another version, or no journal at all.
        """
        if not Path(path).is_file():
            raise JournalError(f"There is no journal {path!r}.", "Check the path; revoke() makes a journal.")
        with explained(path, "opened"):
            database = _connect(path)
            try:
                _check_version(path, database)
                # Takes the lock, which exclusive locking mode then keeps until the journal is closed.
                database.execute("BEGIN IMMEDIATE")
                facts, differences = check(database, _SCHEMA)
                database.execute("COMMIT")
            except BaseException:
                database.close()
                raise
        journal = cls(path, database, facts)
        journal.differences = differences
        return journal

    def begin_session(
        self, *, at: str, client_id: str | None, signed_in_as: str | None, version: str, skipped_ok: int
    ) -> None:
        """Note who makes the attempts from now on, and how many skipped lines were accepted."""
        with self._lock, explained(self.path, "written"):
            (number,) = self._database.execute("SELECT count(*) + 1 FROM sessions").fetchone()
            self._session = (number, at, client_id, signed_in_as, version, skipped_ok)
            self._session_began, self._attempts = time.monotonic(), 0
            self._note_session(at, 0)

    def _note_session(self, at: str, attempts: int) -> None:
        values = *self._session, at, round(time.monotonic() - self._session_began, 3), attempts
        self._database.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, digest_of("sessions", values)),
        )

    def sessions(self) -> list[SessionRow]:
        """Return the table `sessions`."""
        rows = self._read("SELECT * FROM sessions ORDER BY session")
        return [checked(row, SessionRow, f"session {row[0]}") for row in rows]

    def tasks(self, *, retry_failed: bool) -> list[Task]:
        """Return the users that are still to be logged out, in the order of the plan."""
        outcomes = ("pending", UNKNOWN, FAILED if retry_failed else UNKNOWN)
        rows = self._read(
            "SELECT row, id, outcome, attempts FROM outcomes WHERE outcome IN (?, ?, ?) ORDER BY row",
            outcomes,
        )
        return [Task(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Return how many inputs have which outcome."""
        return dict(self._read("SELECT outcome, count(*) FROM outcomes GROUP BY outcome"))

    def outcomes(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the columns and rows of the view `outcomes`, in the order of the plan."""
        with self._lock, explained(self.path, "read"):
            cursor = self._database.execute("SELECT * FROM outcomes ORDER BY row")
            return [column[0] for column in cursor.description], cursor.fetchall()

    def skipped(self) -> list[tuple[Any, ...]]:
        """Return (row, user, id, name, state, action, why, source, line, kept) of all rows that are skipped."""
        return self._read(
            "SELECT row, user, id, name, state, action, why, source, line, kept FROM plan "
            "WHERE action <> 'revoke' ORDER BY row"
        )

    def totals(self) -> tuple[str | None, str | None, int]:
        """Return when the first attempt began, when the last answer came, and the number of attempts."""
        query = "SELECT min(coalesce(sent_at, written_at)), max(answered_at), count(*) FROM attempts"
        (totals,) = self._read(query)
        return totals

    def spans(self) -> list[tuple[int, str, str]]:
        """Return, for each session that sent something, the earliest and latest time of its attempts."""
        return self._read(
            "SELECT session, min(coalesce(sent_at, written_at)), max(coalesce(answered_at, written_at)) "
            "FROM attempts GROUP BY session"
        )

    def revoked_at(self) -> list[str]:
        """Return when each user was logged out, ascending."""
        query = "SELECT answered_at FROM attempts WHERE outcome = 'revoked' ORDER BY answered_at"
        return [row[0] for row in self._read(query)]

    def write(
        self,
        answers: Sequence[Answer] = (),
        intents: Sequence[Intent] = (),
        withdrawn: Sequence[Intent] = (),
        *,
        at: str,
    ) -> None:
        """Write in one transaction, which is on the disk when this returns.

        Args:
            answers: How attempts ended.
            intents: Attempts that may be sent from now on.
            withdrawn: Attempts that were never sent, and leave no trace.
            at: The time, ISO 8601, UTC.
        """
        session = self._session[0]
        with self._lock, explained(self.path, "written"):
            run = self._database.executemany
            self._database.execute("BEGIN IMMEDIATE")
            try:
                run(
                    "UPDATE attempts SET sent_at = ?, answered_at = ?, outcome = ?, status = ?, correlation_id = ?, "
                    "reason = ?, digest = ? WHERE row = ? AND attempt = ?",
                    [(*one[:6], self._digest_of(one), *one[6:]) for one in answers],
                )
                run(
                    "DELETE FROM attempts WHERE row = ? AND attempt = ?",
                    [(one.row, one.attempt) for one in withdrawn],
                )
                unanswered = [(one.row, one.attempt, session, at, *[None] * 6) for one in intents]
                run(
                    "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [(*values, digest_of("attempts", values)) for values in unanswered],
                )
                attempts = self._attempts + len(intents) - len(withdrawn)
                self._note_session(at, attempts)
                self._database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        for row, attempt in [*(one[-2:] for one in answers), *((one.row, one.attempt) for one in withdrawn)]:
            del self._written[row, attempt]
        self._attempts = attempts
        self._written.update({(one.row, one.attempt): at for one in intents})

    def _digest_of(self, answer: Answer) -> bytes:
        key = answer.row, answer.attempt
        return digest_of("attempts", (*key, self._session[0], self._written[key], *answer[:6]))

    def close(self) -> None:
        """Move all into the one file and let go of it. Closing twice does no harm."""
        with self._lock, explained(self.path, "closed"):
            self._database.close()

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, explained(self.path, "read"):
            return self._database.execute(query, values).fetchall()


def _connect(path: str) -> sqlite3.Connection:
    # One connection, used under a lock; explicit transactions.
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    # The file may be of somebody else's making: no function that it names runs, and no value in it takes much memory.
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    # The lock is SQLite's own, so that it ends with the process that holds it, however that ends.
    database.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
    database.execute("PRAGMA synchronous = FULL")
    return database


def _fill(database: sqlite3.Connection, facts: Facts, rows: list[tuple[Any, ...]]) -> None:
    database.execute("PRAGMA journal_mode = WAL").fetchone()
    marks = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION};"
    database.executescript(f"BEGIN IMMEDIATE; {marks} {_SCHEMA}")
    database.executemany("INSERT INTO run VALUES (?, ?)", msgspec.structs.asdict(facts).items())
    database.executemany("INSERT INTO plan VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    database.execute("COMMIT")
    # From here on the file itself holds the plan, should the log beside it be lost.
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _check_version(path: str, database: sqlite3.Connection) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise JournalError(
            f"{path!r} is no journal of a revocation, or its making was cut short before anything was sent.",
            "Check the path. If nothing was sent, delete it and call revoke() again.",
        )
    if version != _VERSION:
        raise JournalError(
            f"The journal {path!r} is of version {version}; this version of gctokens_nb reads version {_VERSION}.",
            "To finish the run, plan the list again and revoke it with a new journal: logging out a user twice does no "
            "harm. To read this journal, use the version of gctokens_nb that made it (table `sessions`).",
        )
