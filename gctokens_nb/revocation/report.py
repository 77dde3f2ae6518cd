"""What happened, for people and auditors: a DataFrame, the skipped lines, and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pandas as pd

from gctokens_nb.errors import JournalError
from gctokens_nb.revocation.journal import Journal
from gctokens_nb.revocation.journal_check import SessionRow
from gctokens_nb.revocation.plan import Plan
from gctokens_nb.revocation.users_file import Source

__all__ = ["kept_names", "skipped", "summary", "to_frame"]

_DTYPES = {
    "user": "string",
    "id": "string",
    "name": "string",
    "outcome": "category",
    "why": "string",
    "status": "Int64",
    "correlation_id": "string",
    "attempts": "int64",
    "first_attempt_at": "datetime64[ms, UTC]",
    "answered_at": "datetime64[ms, UTC]",
    "client_id": "category",
    "organization": "category",
    "region": "category",
    "source": "string",
    "line": "Int64",
}
_PLAN_DTYPES = {"line": "Int64"}  # all others are text
_LEAST_STEP = timedelta(seconds=2)  # clocks are corrected by less than that all the time
_LEAST_JUMP = timedelta(seconds=60)  # forwards, a machine that slept looks the same


def to_frame(journal: Journal, *, proved: bool = True) -> pd.DataFrame:
    """Return one row per input; see `Run.to_frame`.

    Raises:
        JournalError: The plan is not the one that was confirmed, which a table cannot say; not with `proved=False`.
    """
    if proved and journal.differences:
        raise JournalError(
            f"The plan in the journal {journal.path!r} is not the one that was confirmed: "
            f"{'; '.join(journal.differences)}.",
            'Write the evidence as a page, report("evidence.html"), which says so, and find out who changed the file.',
        )
    names, rows = journal.outcomes()
    found = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    clients = {one.session: one.client_id for one in journal.sessions()}
    columns: dict[str, Sequence[Any]] = {
        **{name: found[name] for name in _DTYPES if name in found},
        "why": [why or reason for why, reason in zip(found["why"], found["reason"], strict=True)],
        "client_id": [clients.get(session) for session in found["session"]],
        "organization": [journal.facts.organization_name] * len(rows),
        "region": [journal.facts.region] * len(rows),
    }
    series = {name: _series(columns[name], dtype) for name, dtype in _DTYPES.items()}
    frame = pd.DataFrame({**series, **_kept(journal, found["kept"])})
    if journal.differences:  # rows may be missing or added: each keeps its number
        frame.index = pd.Index(list(found["row"]), dtype="int64")
    return frame


def kept_names(journal: Journal) -> dict[str, str]:
    """Return the names of the kept columns, and those that they have in the evidence."""
    names: list[str] = msgspec.json.decode(journal.facts.kept)
    return {name: f"{name} (of the list)" if name in _DTYPES else name for name in names}


def _kept(journal: Journal, texts: Sequence[str | None]) -> dict[str, Any]:
    rows = [msgspec.json.decode(text) if text else {} for text in texts]
    return {
        shown: pd.Series([row.get(name) for row in rows], dtype="string")
        for name, shown in kept_names(journal).items()
    }


def _series(values: Sequence[Any], dtype: Any) -> Any:
    if dtype.startswith("datetime"):
        return pd.Series(pd.to_datetime(list(values), format="ISO8601", utc=True)).astype(dtype)
    return pd.Series(list(values), dtype=dtype)


def skipped(journal: Journal) -> Plan:
    """Return the rows of the plan whose people stay logged in without being tried."""
    names = ("row", "user", "id", "name", "state", "action", "why", "source", "line", "kept")
    rows = journal.skipped()
    found = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    columns = {name: _series(found[name], _PLAN_DTYPES.get(name, "string")) for name in names[1:-1]}
    plan = Plan({**columns, **_kept(journal, found["kept"])})
    plan.index = pd.Index(list(found["row"]), dtype="int64")
    plan.sources, plan.kept = sources(journal), tuple(kept_names(journal).values())
    return plan.skipped


def sources(journal: Journal) -> tuple[Source, ...]:
    """Return the files that the users came from."""
    return msgspec.json.decode(journal.facts.sources, type=tuple[Source, ...])


def summary(journal: Journal) -> dict[str, Any]:
    """Return totals and circumstances; see `Run.summary`."""
    facts, counts, sessions = journal.facts, journal.counts(), journal.sessions()
    began_at, ended_at, attempts = journal.totals()
    began, ended = _moment(began_at), _moment(ended_at)
    clock = _clock(journal, sessions)
    seconds = (ended - began).total_seconds() if began and ended else 0.0
    return {
        "inputs": sum(counts.values()),
        **{name: counts.get(name, 0) for name in ("revoked", "failed", "unknown", "pending", "skipped")},
        "attempts": attempts,
        "began_at": began,
        "ended_at": ended,
        "seconds": sum(one.seconds for one in sessions) if clock else seconds,
        "clock": clock,
        "organization": facts.organization_name,
        "organization_id": facts.organization_id,
        "region": facts.region,
        "clients": sorted({one.client_id for one in sessions if one.client_id}),
        "confirmed": facts.confirmed,
        "skipped_ok": sessions[-1].skipped_ok if sessions else 0,
        "sources": [msgspec.structs.asdict(one) for one in sources(journal)],
        "plan_sha256": facts.plan_sha256,
        "differences": list(journal.differences),
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _clock(journal: Journal, sessions: list[SessionRow]) -> str:
    """Say whether the machine's clock was changed, by one that nobody can set; empty if it was not."""
    spans = {session: (_moment(first), _moment(last)) for session, first, last in journal.spans()}
    before: datetime | None = None
    for one in sessions:
        drift = one.last_at - one.began_at - timedelta(seconds=one.seconds)
        first, last = spans.get(one.session, (None, None))
        outside = (first is not None and first < one.began_at - _LEAST_STEP) or (
            last is not None and last > one.last_at + _LEAST_STEP
        )
        if drift < -_LEAST_STEP or outside:
            by = f" by {-drift.total_seconds():,.0f} s" if drift < -_LEAST_STEP else ""
            return f"The clock was set back{by} during the run: its times are wrong, its durations are not."
        if drift > _LEAST_JUMP:
            return (
                f"The clock was set forward by {drift.total_seconds():,.0f} s during the run, or the machine slept: "
                "the times before and after that do not belong together."
            )
        if before is not None and one.began_at < before - _LEAST_STEP:
            return (
                "The clock was set back between two sessions of the run: their times do not belong together."
            )
        before = one.last_at
    return ""
