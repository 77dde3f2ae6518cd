"""Carry out a plan: dry unless confirmed, journalled, paced, to be stopped and resumed at any time."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from gctokens_nb import __version__
from gctokens_nb.connection import Connection
from gctokens_nb.display import two_columns
from gctokens_nb.errors import ConfigurationError, JournalError, RevocationStoppedError, SelfRevocationError
from gctokens_nb.revocation import report
from gctokens_nb.revocation.engine import Engine, utc_now
from gctokens_nb.revocation.journal import IN_MEMORY, Journal, Task
from gctokens_nb.revocation.pacing import pacer_of
from gctokens_nb.revocation.plan import COLUMNS, REVOKE, SKIP, Plan, organization_of
from gctokens_nb.revocation.users_file import USER_ID
from gctokens_nb.transport import POOL_SIZE

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OUTCOMES", "WORKERS", "Run", "check_plan", "resume", "revoke"]

OUTCOMES = ("pending", "revoked", "failed", "skipped", "unknown")
WORKERS = 8
_PROGRESS_SECONDS = 0.25
_SHOWN_SECONDS = 0.5  # a shorter wait is over before it is read

OnProgress = Callable[["Run"], None]


class Run:
    """What was done, or is being done, for a plan. `revoke` and `resume` make it.

    Attributes:
        journal: The path of the journal; None for a dry run.
        facts: Whose tokens they are: `organization_id`, `organization_name`, `region`, and `confirmed`.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = None if journal.path == IN_MEMORY else journal.path
        self.facts = journal.facts()
        self._open_journal: Journal | None = journal
        self._engine: Engine | None = None
        self._counts = journal.counts()
        self._began = time.monotonic()

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Run:
        """Return the run of a journal as it is, without going on with it.

        Raises:
            JournalError: The journal is missing, damaged, open elsewhere or of another version.
        """
        journal = Journal.open(os.fspath(path))
        run = cls(journal)
        run._close()
        return run

    @property
    def state(self) -> str:
        """`dry run`, `running`, `paused`, `stopped` (users are left: `resume` goes on), or `finished`."""
        if self.journal is None:
            return "dry run"
        if self._engine is not None:
            return "paused" if self._engine.pause.is_set() else "running"
        return "stopped" if self.left else "finished"

    @property
    def counts(self) -> dict[str, int]:
        """How many inputs are `pending`, `revoked`, `failed`, `skipped`, `unknown`; together, all of them.

        `unknown`: sent, or about to be sent when the program ended, and no usable answer came. It may have taken effect;
        resuming repeats it.
        """
        counts = self._engine.counts if self._engine else self._counts
        return {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}

    @property
    def left(self) -> int:
        """How many users are still to be logged out, as far as is known."""
        return self.counts["pending"] + self.counts["unknown"]

    @property
    def users_per_second(self) -> float:
        """The rate since this run began or was resumed."""
        seconds = time.monotonic() - self._began
        return self._engine.done / seconds if self._engine and seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate; None where there is nothing to go by."""
        if self._engine is None or not self._engine.done:
            return None
        return max(self.left / self.users_per_second, self._engine.seconds_for(self.left))

    @property
    def waiting(self) -> str:
        """What a person may want to know about why nothing moves: `waiting for the rate limit, 12 s`; or empty."""
        seconds = self._engine.seconds_to_wait() if self._engine and self.state == "running" else 0.0
        return f"waiting for the rate limit, {math.ceil(seconds)} s" if seconds >= _SHOWN_SECONDS else ""

    def cancel(self) -> None:
        """Stop: what is in flight is finished and written down; `resume` goes on later."""
        if self._engine is not None:
            self._engine.stop()

    def pause(self) -> None:
        """Send nothing more until `unpause()`."""
        if self._engine is not None:
            self._engine.pause.set()

    def unpause(self) -> None:
        """Go on after `pause()`."""
        if self._engine is not None:
            self._engine.pause.clear()
            self._engine.wake()

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each input of the plan, in its order.

        Columns: `user`, `id`, `name`, `outcome`, `why` (skipped or failed), `status` (HTTP), `correlation_id`, `attempts`,
        `first_attempt_at`, `answered_at` (UTC, by this machine's clock), `client_id` (who ran the last attempt),
        `organization`, `region`.
        """
        with self._reading() as journal:
            return report.to_frame(journal)

    def summary(self) -> dict[str, Any]:
        """Return the totals, and who ran it, where and when."""
        with self._reading() as journal:
            return {"state": self.state, **report.summary(journal)}

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write the evidence to a file, whose name ends in `.html`, `.csv` or `.parquet` (needs pyarrow).

        The HTML page holds the totals, a plot of the progress, who ran it and every user; it loads nothing from elsewhere.
        It names the SHA-256 of the journal file as it is now: closed, with all in the one file. Resuming changes the file.
        In CSV, a text that a spreadsheet would take for a formula is preceded by an apostrophe.

        Raises:
            ConfigurationError: The run goes on, or the file name ends otherwise.
        """
        if self._engine is not None:
            raise ConfigurationError(
                "The run goes on; its evidence is not complete.", "Wait, or stop it with cancel()."
            )
        with self._reading() as journal:
            report.write(self, journal, os.fspath(path))

    def carry_out(self, engine: Engine, on_progress: OnProgress | None) -> None:
        """Let the engine run to its end, watched from this thread; called by `revoke` and `resume`."""
        self._engine, self._began = engine, time.monotonic()
        engine.start()
        try:
            while True:
                if on_progress is not None:
                    on_progress(self)
                if engine.wait(_PROGRESS_SECONDS):
                    break
        except BaseException as error:  # Ctrl-C, or on_progress failed
            engine.stop()
            engine.wait()
            error.add_note(f"The run was stopped in good order. {self._how_to_go_on()}")
            raise
        finally:
            self._counts, self._engine = engine.counts, None
            self._close()
        if on_progress is not None:
            on_progress(self)
        if engine.failure is not None:
            raise RevocationStoppedError(
                f"The run was stopped with {self.left:,} users left. {engine.failure}",
                self._how_to_go_on(),
                journal=self.journal or "",
                left=self.left,
            ) from engine.failure

    def _how_to_go_on(self) -> str:
        return f"What was done is in the journal: resume({self.journal!r}, connection) does the rest."

    def _close(self) -> None:
        if self._open_journal is not None:
            self._open_journal.close()
            self._open_journal = None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Journal]:
        """The journal, opened where it is not."""
        if self._open_journal is not None or self.journal is None:
            yield cast(Journal, self._open_journal)
            return
        with contextlib.closing(Journal.open(self.journal)) as journal:
            yield journal

    def __repr__(self) -> str:
        return (
            f"<Run {self.state}: {', '.join(f'{count} {outcome}' for outcome, count in self.counts.items())}>"
        )

    def _repr_html_(self) -> str:
        rows = [("State", self.state), ("Organization", self.facts["organization_name"] or "")]
        rows += [(outcome.capitalize(), f"{count:,}") for outcome, count in self.counts.items()]
        return two_columns(rows)


def revoke(
    plan: Plan,
    *,
    journal: str | os.PathLike[str] | None = None,
    confirm: int | None = None,
    workers: int = WORKERS,
    rate: float | None = None,
    on_progress: OnProgress | None = None,
) -> Run:
    """Log out the users of a plan, and keep a journal. Without `confirm`, nothing is sent: a dry run.

    Wire: `DELETE /api/v2/tokens/{userId}` for each user; permission `oauth:token:delete`.

    A refused or lost attempt is repeated, up to 6 times a user and with growing pauses; a 429 holds all workers for as long
    as the server asks and does not count. If no other user got through meanwhile, the run stops, and the user is still to
    be logged out. Ctrl-C stops in good order: it waits for what is in flight and writes it down.

    Args:
        plan: Of `plan_revocation`, or a selection of its rows.
        journal: Where to make the journal, an SQLite file; it must not exist. A dry run needs none and makes none.
        confirm: `plan.users_to_revoke`: the number of users that will be logged out.
        workers: How many requests may be on their way at a time, 1 to 64.
        rate: Requests a minute at the most. Without it, what the server's `inin-ratelimit` headers say, else 300, its
            documented limit for each token. `math.inf`: as many as can be. It holds for all runs of the connection.
        on_progress: Called with the `Run`, in this thread, at the start, about four times a second, and at the end.
            It may call `run.cancel()`.

    Returns:
        The run, when it is over: `finished`, `stopped` by `cancel()` or with users of unknown outcome, or `dry run`.

    Raises:
        ConfigurationError: The plan or the number is wrong; nothing was sent.
        JournalError: The journal cannot be made; nothing was sent.
        RevocationStoppedError: The run could not go on, for example as the permission was lost or as nobody got through
            any more. `resume` goes on.
    """
    connection = check_plan(plan)
    _check_workers(workers, rate)
    expected = plan.users_to_revoke
    if confirm is not None and (isinstance(confirm, bool) or confirm != expected):
        raise ConfigurationError(
            f"confirm={confirm!r}, but the plan logs out {expected:,} users; nothing was sent.",
            f"Look at the plan again. If it is right, pass confirm={expected}.",
        )
    if confirm is not None and (journal is None or os.fspath(journal) == IN_MEMORY):
        raise ConfigurationError(
            "Without a journal, nothing could be proved or resumed; nothing was sent.",
            'Pass journal="leavers.sqlite", or any other name of a file that does not exist yet.',
        )
    organization = plan.organization or organization_of(connection)
    facts = {
        "organization_id": organization.id,
        "organization_name": organization.name,
        "region": str(connection.region),
        "confirmed": None if confirm is None else str(expected),
    }
    written = list(COLUMNS[:6])
    rows = plan[written].astype(object).where(plan[written].notna(), None)
    path = IN_MEMORY if confirm is None or journal is None else os.fspath(journal)
    opened = Journal.create(path, facts, rows.itertuples(index=False, name=None))
    if confirm is None:
        return Run(opened)
    return _carry_out(opened, connection, workers, rate, on_progress, retry_failed=False)


def resume(
    journal: str | os.PathLike[str],
    connection: Connection,
    *,
    retry_failed: bool = False,
    workers: int = WORKERS,
    rate: float | None = None,
    on_progress: OnProgress | None = None,
) -> Run:
    """Go on with a run that was stopped or killed: those users who are pending or whose outcome is unknown.

    Args:
        journal: The path of its journal.
        connection: To the same organization; by any client with the permission `oauth:token:delete`.
        retry_failed: Also try those again that failed.
        workers, rate, on_progress: As for `revoke`.

    Returns:
        The run, when it is over. Where nothing was left to do, nothing was sent.

    Raises:
        JournalError: The journal is missing, damaged, open elsewhere, of another version or of another organization.
        SelfRevocationError: The user who is signed in is among them; nothing was sent.
        RevocationStoppedError: As for `revoke`.
    """
    _check_workers(workers, rate)
    opened = Journal.open(os.fspath(journal))
    try:
        _check_organization(opened, connection)
    except BaseException:
        opened.close()
        raise
    return _carry_out(opened, connection, workers, rate, on_progress, retry_failed=retry_failed)


def _carry_out(
    journal: Journal,
    connection: Connection,
    workers: int,
    rate: float | None,
    on_progress: OnProgress | None,
    *,
    retry_failed: bool,
) -> Run:
    try:
        tasks = journal.tasks(retry_failed=retry_failed)
        run = Run(journal)
        if tasks:
            own_id = connection.directory.own_id()
            _check_not_oneself(tasks, own_id)
            journal.begin_session(
                at=utc_now(),
                client_id=connection.client_id or _client_id_of(connection),
                signed_in_as=own_id,
                version=__version__,
            )
        pacer = pacer_of(connection)
        pacer.set_rate(rate)
        engine = Engine(connection, journal, tasks, pacer, min(workers, max(1, len(tasks))))
    except BaseException:
        journal.close()
        raise
    run.carry_out(engine, on_progress)
    return run


def _client_id_of(connection: Connection) -> str | None:
    """The client of a pasted token, which only the server knows."""
    client = connection.tokens.get_tokens_me(preserve_idle_ttl=True).oauth_client
    return client.id if client else None


def _check_not_oneself(tasks: list[Task], own_id: str | None) -> None:
    """The plan knew who made it; a run may be resumed by another."""
    if own_id is not None and any(task.user_id == own_id for task in tasks):
        raise SelfRevocationError(
            f"User {own_id}, who is signed in here, is among those to be logged out; nothing was sent.",
            "Go on with a connection of somebody else, or of a client that uses client credentials.",
        )


def check_plan(plan: Plan) -> Connection:
    """Return the plan's connection if the plan can be carried out; raise `ConfigurationError` otherwise."""
    if not isinstance(plan, Plan) or plan.connection is None:
        raise ConfigurationError(
            "This is no plan, or it has lost its connection; nothing was sent.",
            "Make one with plan_revocation(connection, users); what is selected from its rows is a plan too.",
        )
    missing = [name for name in COLUMNS if name not in plan.columns]
    if missing:
        raise ConfigurationError(
            f"The plan has no column {', '.join(missing)}; nothing was sent.", "Keep all its columns."
        )
    chosen = plan[plan["action"] == REVOKE]
    own_id = plan.connection.directory.own_id()
    for problem, wrong in (
        ("an action that is neither revoke nor skip", ~plan["action"].isin([REVOKE, SKIP])),
        ("the action revoke and no id of a user", ~chosen["id"].fillna("").str.fullmatch(USER_ID.pattern)),
        ("a user who is in it twice", chosen["id"].duplicated()),
        ("the user who is signed in here", chosen["id"] == own_id),
    ):
        if wrong.any():
            raise ConfigurationError(
                f"The plan was changed, and its row {wrong.idxmax()!r} has {problem}; nothing was sent.",
                "Make the plan again, and select from its rows without editing them.",
            )
    return plan.connection


def _check_organization(journal: Journal, connection: Connection) -> None:
    facts, here = journal.facts(), organization_of(connection)
    if facts["organization_id"] != here.id:
        raise JournalError(
            f"The journal {journal.path!r} is of organization {facts['organization_name']} "
            f"({facts['organization_id']}), and this connection is to {here.name} ({here.id}). Nothing was sent.",
            "Sign in to the journal's organization.",
        )


def _check_workers(workers: int, rate: float | None) -> None:
    if isinstance(workers, bool) or not 1 <= operator.index(workers) <= POOL_SIZE:
        raise ConfigurationError(f"workers={workers!r} is not possible.", f"Choose 1 to {POOL_SIZE}.")
    if rate is not None and not rate >= 1:
        raise ConfigurationError(f"rate={rate!r} is not possible.", "It is requests a minute, 1 or more.")
