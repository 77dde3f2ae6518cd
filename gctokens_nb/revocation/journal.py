"""The journal of a run: an SQLite file in which each attempt stands before it is sent and after it is answered.

Tables, for those who read it with a tool of their own:

- `run` (`name`, `value`): whose tokens, in which region, how many users were confirmed. No secret and no token.
- `sessions` (`session`, `began_at`, `client_id`, `signed_in_as`, `package_version`): who ran it; a resumed run has several.
- `plan` (`row`, `user`, `id`, `name`, `state`, `action`, `why`): the plan, a row an input.
- `attempts` (`row`, `attempt`, `session`, `written_at`, `sent_at`, `answered_at`, `outcome`, `status`, `correlation_id`, `reason`):
  times are UTC by the clock of the machine that ran it. `outcome` is `revoked`; `failed` (for good); `again` (refused, to
  be repeated); `unknown` (no usable answer); NULL where the process died before an answer came, and perhaps before it was
  sent. The state of a user is that of the last attempt; of one that is to be repeated, `unknown` if any attempt was.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gctokens_nb.errors import JournalError

__all__ = ["AGAIN", "FAILED", "REVOKED", "UNKNOWN", "Answer", "Intent", "Journal", "Task", "sha256"]

REVOKED, FAILED, AGAIN, UNKNOWN = "revoked", "failed", "again", "unknown"
IN_MEMORY = ":memory:"
_APPLICATION_ID = 0x67635276  # "gcRv", so that `file` and we can tell it from any other SQLite file
_VERSION = 1
_BYTES_PER_USER = 1500  # of plan, attempts and write-ahead log, measured at about half of that
_SCHEMA = """
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE sessions (
    session INTEGER PRIMARY KEY, began_at TEXT NOT NULL, client_id TEXT, signed_in_as TEXT, package_version TEXT NOT NULL
);
CREATE TABLE plan (
    row INTEGER PRIMARY KEY, user TEXT NOT NULL, id TEXT, name TEXT, state TEXT, action TEXT NOT NULL, why TEXT
);
CREATE TABLE attempts (
    row INTEGER NOT NULL REFERENCES plan, attempt INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions, written_at TEXT NOT NULL, sent_at TEXT, answered_at TEXT,
    outcome TEXT, status INTEGER, correlation_id TEXT, reason TEXT, PRIMARY KEY (row, attempt)
) WITHOUT ROWID;
CREATE VIEW outcomes AS
SELECT plan.row, plan.user, plan.id, plan.name, plan.state, plan.why,
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
    """

    def __init__(self, path: str, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self._lock = threading.Lock()
        self._session = 0

    @classmethod
    def create(cls, path: str, facts: Mapping[str, str | None], plan: Iterable[Sequence[Any]]) -> Journal:
        """Make a new journal of a plan. All of it is on the disk when this returns, or nothing is.

        Args:
            path: Where nothing is yet; `:memory:` for one that is gone when it is closed.
            facts: For the table `run`.
            plan: (user, id, name, state, action, why) for each input.

        Raises:
            JournalError: The path exists, cannot be written, or the disk is full.
        """
        plan = list(plan)
        if path != IN_MEMORY:
            _make_file(path, len(plan))
        try:
            with _explained(path, "created"):
                database = _connect(path)
                database.execute("PRAGMA journal_mode = WAL").fetchone()
                database.execute("PRAGMA synchronous = FULL")
                marks = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION};"
                database.executescript(f"BEGIN IMMEDIATE; {marks} {_SCHEMA}")
                database.executemany("INSERT INTO run VALUES (?, ?)", facts.items())
                rows = ((number, *row) for number, row in enumerate(plan))
                database.executemany("INSERT INTO plan VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
                database.execute("COMMIT")
                # From here on the file itself holds the plan, should the log beside it be lost.
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except JournalError:
            for name in (path, f"{path}-wal", f"{path}-shm"):
                with contextlib.suppress(OSError):
                    Path(name).unlink()
            raise
        return cls(path, database)

    @classmethod
    def open(cls, path: str) -> Journal:
        """Open a journal that exists, and lock it.

        Raises:
            JournalError: It is missing, damaged, open elsewhere, of another version, or no journal at all.
        """
        if not Path(path).is_file():
            raise JournalError(f"There is no journal {path!r}.", "Check the path; revoke() makes a journal.")
        with _explained(path, "opened"):
            database = _connect(path)
            try:
                cls._check(path, database)
            except BaseException:
                database.close()
                raise
        return cls(path, database)

    @staticmethod
    def _check(path: str, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA synchronous = FULL")
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
                "Go on with the version of gctokens_nb that made it (table `sessions`).",
            )
        problems = [row[0] for row in database.execute("PRAGMA quick_check(1)")]
        if problems != ["ok"]:
            raise sqlite3.DatabaseError(problems[0])
        # Takes the lock, which exclusive locking mode then keeps until the journal is closed.
        database.execute("BEGIN IMMEDIATE")
        database.execute("COMMIT")

    def begin_session(
        self, *, at: str, client_id: str | None, signed_in_as: str | None, version: str
    ) -> None:
        """Note who makes the attempts from now on."""
        with self._lock, _explained(self.path, "written"):
            cursor = self._database.execute(
                "INSERT INTO sessions (began_at, client_id, signed_in_as, package_version) VALUES (?, ?, ?, ?)",
                (at, client_id, signed_in_as, version),
            )
            self._session = cursor.lastrowid or 0

    def sessions(self) -> list[tuple[Any, ...]]:
        """Return the table `sessions`."""
        return self._read("SELECT * FROM sessions ORDER BY session")

    def facts(self) -> dict[str, str | None]:
        """Return the table `run`."""
        return dict(self._read("SELECT name, value FROM run"))

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
        with self._lock, _explained(self.path, "read"):
            cursor = self._database.execute("SELECT * FROM outcomes ORDER BY row")
            return [column[0] for column in cursor.description], cursor.fetchall()

    def totals(self) -> tuple[str | None, str | None, int]:
        """Return when the first attempt began, when the last answer came, and the number of attempts."""
        query = "SELECT min(coalesce(sent_at, written_at)), max(answered_at), count(*) FROM attempts"
        (totals,) = self._read(query)
        return totals

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
        at: str = "",
    ) -> None:
        """Write in one transaction, which is on the disk when this returns.

        Args:
            answers: How attempts ended.
            intents: Attempts that may be sent from now on.
            withdrawn: Attempts that were never sent, and leave no trace.
            at: The time of the intents, ISO 8601, UTC.
        """
        with self._lock, _explained(self.path, "written"):
            run = self._database.executemany
            self._database.execute("BEGIN IMMEDIATE")
            try:
                run(
                    "UPDATE attempts SET sent_at = ?, answered_at = ?, outcome = ?, status = ?, correlation_id = ?, "
                    "reason = ? WHERE row = ? AND attempt = ?",
                    answers,
                )
                run(
                    "DELETE FROM attempts WHERE row = ? AND attempt = ?",
                    [(one.row, one.attempt) for one in withdrawn],
                )
                run(
                    "INSERT INTO attempts (row, attempt, session, written_at) VALUES (?, ?, ?, ?)",
                    [(one.row, one.attempt, self._session, at) for one in intents],
                )
                self._database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Move all into the one file and let go of it. Closing twice does no harm."""
        with self._lock, _explained(self.path, "closed"):
            self._database.close()

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, _explained(self.path, "read"):
            return self._database.execute(query, values).fetchall()


def sha256(path: str) -> str:
    """Return the SHA-256 of a closed journal's file, in hexadecimal."""
    # A run that goes on would write into the file, and its first opener's lock would be lost when we close ours.
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _connect(path: str) -> sqlite3.Connection:
    # One connection, used under a lock; explicit transactions.
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    # The lock is SQLite's own, so that it ends with the process that holds it, however that ends.
    database.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
    return database


def _make_file(path: str, users: int) -> None:
    """Make the empty file, for its owner's eyes only, where there is room for the whole run."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        free, needed = shutil.disk_usage(Path(path).absolute().parent).free, users * _BYTES_PER_USER
    except FileExistsError:
        raise JournalError(
            f"{path!r} exists already. Nothing was sent.",
            "To go on with that run, call resume(); for a new run, choose another name.",
        ) from None
    except OSError as error:
        raise JournalError(
            f"The journal {path!r} cannot be created: {error.strerror}. Nothing was sent.",
            "Choose a folder that exists and that you may write to.",
        ) from None
    if free < needed:
        Path(path).unlink()
        raise JournalError(
            f"The disk has {free / 1e6:,.1f} MB left, and the journal {path!r} of {users:,} users may need "
            f"{needed / 1e6:,.1f} MB. Nothing was sent.",
            "Make room, or choose another folder.",
        )


@contextlib.contextmanager
def _explained(path: str, done: str) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        text = "a text in it cannot be read: malformed" if isinstance(error, UnicodeError) else str(error)
        if "locked" in text:
            what, step = "it is in use by another run", "Stop that run, or wait until it has finished."
        elif "full" in text or "disk I/O" in text:
            what = f"the disk is full or failing ({text})"
            again = "call revoke() again; nothing was sent" if done == "created" else "go on with resume()"
            step = f"Make room, then {again}."
        elif "malformed" in text or "not a database" in text or "Tree" in text or "page" in text.lower():
            what = f"it is damaged or cut short ({text})"
            step = "Restore it from a copy. Without one, plan and run again: logging out a user twice does no harm."
        else:
            what, step = text, "Check the path and that you may write to its folder."
        raise JournalError(f"The journal {path!r} cannot be {done}: {what}.", step) from error
