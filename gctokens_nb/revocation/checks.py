"""What must hold before anything is sent."""

from __future__ import annotations

import numbers
import operator
import os

from gctokens_nb.connection import Connection
from gctokens_nb.errors import ConfigurationError, JournalError, SelfRevocationError
from gctokens_nb.revocation.journal import Journal, Task
from gctokens_nb.revocation.journal_check import MOST_ROWS
from gctokens_nb.revocation.plan import COLUMNS, REVOKE, SKIP, Plan, organization_of
from gctokens_nb.revocation.users_file import USER_ID
from gctokens_nb.transport import POOL_SIZE

__all__ = ["check_journal", "check_not_oneself", "check_numbers", "check_path", "check_plan"]


def check_not_oneself(tasks: list[Task], own_id: str | None) -> None:
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
    missing = [name for name in (*COLUMNS, *plan.kept) if name not in plan.columns]
    if missing:
        raise ConfigurationError(
            f"The plan has no column {', '.join(missing)}; nothing was sent.", "Keep all its columns."
        )
    chosen = plan[plan["action"] == REVOKE]
    own_id = plan.connection.directory.own_id()
    for problem, wrong in (
        ("an action that is neither revoke nor skip", ~plan["action"].isin([REVOKE, SKIP])),
        (
            "the action revoke and no id of a user",
            ~chosen["id"].fillna("").astype("string").str.fullmatch(USER_ID.pattern),
        ),
        ("a user who is in it twice", chosen["id"].duplicated()),
        ("the user who is signed in here", chosen["id"] == own_id),
    ):
        if wrong.any():
            raise ConfigurationError(
                f"The plan was changed, and its row {wrong.idxmax()!r} has {problem}; nothing was sent.",
                "Make the plan again, and select from its rows without editing them.",
            )
    return plan.connection


def check_journal(journal: Journal, connection: Connection) -> None:
    """Raise `JournalError` unless its plan is the one that was confirmed, and of the connection's organization."""
    if journal.differences:
        raise JournalError(
            f"The plan in the journal {journal.path!r} is not the one that was confirmed: "
            f"{'; '.join(journal.differences)}. Nothing was sent.",
            "Find out who changed the file. Then restore it from a copy, or make a new plan.",
        )
    facts, here = journal.facts, organization_of(connection)
    if facts.organization_id != here.id:
        raise JournalError(
            f"The journal {journal.path!r} is of organization {facts.organization_name} "
            f"({facts.organization_id}), and this connection is to {here.name} ({here.id}). Nothing was sent.",
            "Sign in to the journal's organization.",
        )
    if facts.region != str(connection.region):
        raise JournalError(
            f"The journal {journal.path!r} is of the region {facts.region}, and this connection is to "
            f"{connection.region}. Nothing was sent.",
            "Sign in to the journal's region.",
        )


def check_numbers(workers: int = 1, rate: float | None = None, skipped_ok: int | None = None) -> None:
    """Raise `ConfigurationError` if one of them is not possible."""
    if not _is_whole(workers, 1, POOL_SIZE):
        raise ConfigurationError(f"workers={workers!r} is not possible.", f"Choose 1 to {POOL_SIZE}.")
    if rate is not None and not (isinstance(rate, numbers.Real) and rate >= 1):
        raise ConfigurationError(f"rate={rate!r} is not possible.", "It is requests a minute, 1 or more.")
    if skipped_ok is not None and not _is_whole(skipped_ok, 0, MOST_ROWS):
        raise ConfigurationError(
            f"skipped_ok={skipped_ok!r} is not possible.", "It is how many skipped lines you accept."
        )


def check_path(path: str | os.PathLike[str]) -> str:
    """Return the path as text; raise `ConfigurationError` if no file can have it."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"{path!r} is no path of a file.", "Pass a name, such as 'leavers.sqlite'.")
    return text


def _is_whole(number: object, least: int, most: int) -> bool:
    try:
        return not isinstance(number, bool) and least <= operator.index(number) <= most  # type: ignore[arg-type]
    except TypeError:
        return False
