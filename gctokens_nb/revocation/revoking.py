"""Carry out a plan, and go on with one that was stopped."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from gctokens_nb import __version__
from gctokens_nb.connection import Connection
from gctokens_nb.errors import ConfigurationError
from gctokens_nb.revocation.attempt import utc_now
from gctokens_nb.revocation.checks import (
    check_journal,
    check_not_oneself,
    check_numbers,
    check_path,
    check_plan,
)
from gctokens_nb.revocation.engine import Engine
from gctokens_nb.revocation.journal import IN_MEMORY, Journal
from gctokens_nb.revocation.pacing import pacer_of
from gctokens_nb.revocation.plan import COLUMNS, Plan, organization_of
from gctokens_nb.revocation.run import OnProgress, Run

__all__ = ["WORKERS", "resume", "revoke"]

WORKERS = 8


def revoke(
    plan: Plan,
    *,
    journal: str | os.PathLike[str] | None = None,
    confirm: int | None = None,
    workers: int = WORKERS,
    rate: float | None = None,
    skipped_ok: int = 0,
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
        skipped_ok: How many lines you accept to be skipped (`plan.skipped`): noted in the journal and the evidence, and
            what `run.check()` goes by. It changes nothing of what is sent.
        on_progress: Called with the `Run`, in this thread, at the start, about four times a second, and at the end.
            It may call `run.cancel()`.

    Returns:
        The run, when it is over: `finished`, `stopped` by `cancel()` or with users of unknown outcome, or `dry run`. Its
        `skipped` are the lines whose people were not logged out; `check()` fails on them unless they were accepted.

    Raises:
        ConfigurationError: The plan or the number is wrong; nothing was sent.
        JournalError: The journal cannot be made; nothing was sent.
        RevocationStoppedError: The run could not go on, for example as the permission was lost or as nobody got through
            any more. `resume` goes on.
    """
    connection = check_plan(plan)
    check_numbers(workers, rate, skipped_ok)
    path = IN_MEMORY if confirm is None or journal is None else check_path(journal)
    expected = plan.users_to_revoke
    if confirm is not None and (isinstance(confirm, bool) or confirm != expected):
        raise ConfigurationError(
            f"confirm={confirm!r}, but the plan logs out {expected:,} users; nothing was sent.",
            f"Look at the plan again. If it is right, pass confirm={expected}.",
        )
    if confirm is not None and path == IN_MEMORY:
        raise ConfigurationError(
            "Without a journal, nothing could be proved or resumed; nothing was sent.",
            'Pass journal="leavers.sqlite", or any other name of a file that does not exist yet.',
        )
    organization = plan.organization or organization_of(connection)
    facts = {
        "organization_id": organization.id,
        "organization_name": organization.name,
        "region": str(connection.region),
        "confirmed": None if confirm is None else expected,
        "sources": msgspec.json.encode(plan.sources).decode(),
        "kept": msgspec.json.encode(plan.kept).decode(),
    }
    opened = Journal.create(path, facts, _rows(plan))
    if confirm is None:
        return Run(opened)
    return _carry_out(opened, connection, workers, rate, on_progress, skipped_ok=skipped_ok)


def _rows(plan: Plan) -> list[tuple[Any, ...]]:
    """The rows as the journal has them: plain values, and the kept columns as one JSON object."""

    def plain(name: str) -> list[Any]:
        return plan[name].astype(object).where(plan[name].notna(), None).tolist()

    kept: list[str | None] = [None] * len(plan)
    if plan.kept:
        values = zip(*map(plain, plan.kept), strict=True)
        kept = [msgspec.json.encode(dict(zip(plan.kept, row, strict=True))).decode() for row in values]
    return list(zip(*map(plain, COLUMNS), kept, strict=True))


def resume(
    journal: str | os.PathLike[str],
    connection: Connection,
    *,
    retry_failed: bool = False,
    workers: int = WORKERS,
    rate: float | None = None,
    skipped_ok: int | None = None,
    on_progress: OnProgress | None = None,
) -> Run:
    """Go on with a run that was stopped or killed: those users who are pending or whose outcome is unknown.

    Args:
        journal: The path of its journal.
        connection: To the same organization; by any client with the permission `oauth:token:delete`.
        retry_failed: Also try those again that failed.
        workers, rate, on_progress: As for `revoke`.
        skipped_ok: As for `revoke`; without it, what was accepted before.

    Returns:
        The run, when it is over. Where nothing was left to do, nothing was sent.

    Raises:
        JournalError: The journal is missing, damaged, open elsewhere, of another version, organization or region; or its
            plan is not the one that was confirmed. Nothing was sent.
        SelfRevocationError: The user who is signed in is among them; nothing was sent.
        RevocationStoppedError: As for `revoke`.
    """
    check_numbers(workers, rate, skipped_ok)
    opened = Journal.open(check_path(journal))
    try:
        check_journal(opened, connection)
    except BaseException:
        opened.close()
        raise
    return _carry_out(
        opened, connection, workers, rate, on_progress, skipped_ok=skipped_ok, retry_failed=retry_failed
    )


def _carry_out(
    journal: Journal,
    connection: Connection,
    workers: int,
    rate: float | None,
    on_progress: OnProgress | None,
    *,
    skipped_ok: int | None,
    retry_failed: bool = False,
) -> Run:
    try:
        tasks = journal.tasks(retry_failed=retry_failed)
        run = Run(journal)
        accepted, run.skipped_ok = run.skipped_ok, run.skipped_ok if skipped_ok is None else skipped_ok
        own_id = connection.directory.own_id() if tasks else None
        check_not_oneself(tasks, own_id)
        if tasks or accepted != run.skipped_ok:
            journal.begin_session(
                at=utc_now(),
                client_id=connection.client_id or _client_id_of(connection),
                signed_in_as=own_id,
                version=__version__,
                skipped_ok=run.skipped_ok,
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
