"""What happened, for people and auditors: a DataFrame, totals, and files of evidence."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gctokens_nb.errors import ConfigurationError
from gctokens_nb.revocation.journal import Journal, sha256

if TYPE_CHECKING:
    from gctokens_nb.revocation.run import Run

__all__ = ["summary", "to_frame", "write"]

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
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PLOT_WIDTH, _PLOT_HEIGHT, _PLOT_MARGIN, _PLOT_POINTS = 640, 220, 46, 300
_STYLE = """
:root { color-scheme: light }
body { font: 14px/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 2em auto; max-width: 70em; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse } th, td { text-align: left; vertical-align: top; padding: .2em .8em .2em 0 }
.users { width: 100%; font-size: 11px } .users td, .users th { border-bottom: 1px solid #d0d7de; overflow-wrap: anywhere }
.revoked { color: #116329 } .failed, .unknown { color: #a40e26; font-weight: 600 } code { overflow-wrap: anywhere }
svg text { font: 11px system-ui, sans-serif; fill: #57606a }
@media print { body { margin: 0; max-width: none } thead { display: table-header-group } tr, figure { break-inside: avoid } }
@page { size: A4 landscape; margin: 12mm }
"""


def to_frame(journal: Journal) -> pd.DataFrame:
    """Return a row for each input; see `Run.to_frame`."""
    names, rows = journal.outcomes()
    found = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    facts = journal.facts()
    clients = {session: client_id for session, _, client_id, *_ in journal.sessions()}
    count = len(rows)
    columns: dict[str, Sequence[Any]] = {
        **{
            name: found[name]
            for name in ("user", "id", "name", "outcome", "status", "correlation_id", "attempts")
        },
        "why": [why or reason for why, reason in zip(found["why"], found["reason"], strict=True)],
        "first_attempt_at": found["first_attempt_at"],
        "answered_at": found["answered_at"],
        "client_id": [clients.get(session) for session in found["session"]],
        "organization": [facts["organization_name"]] * count,
        "region": [facts["region"]] * count,
    }
    return pd.DataFrame({name: _series(columns[name], dtype) for name, dtype in _DTYPES.items()})


def _series(values: Sequence[Any], dtype: Any) -> Any:
    if dtype.startswith("datetime"):
        return pd.Series(pd.to_datetime(list(values), format="ISO8601", utc=True)).astype(dtype)
    return pd.Series(list(values), dtype=dtype)


def summary(journal: Journal) -> dict[str, Any]:
    """Return totals and circumstances; see `Run.summary`."""
    facts, counts, sessions = journal.facts(), journal.counts(), journal.sessions()
    began_at, ended_at, attempts = journal.totals()
    began, ended = _moment(began_at), _moment(ended_at)
    return {
        "inputs": sum(counts.values()),
        **{name: counts.get(name, 0) for name in ("revoked", "failed", "unknown", "pending", "skipped")},
        "attempts": attempts,
        "began_at": began,
        "ended_at": ended,
        "seconds": (ended - began).total_seconds() if began and ended else 0.0,
        "organization": facts["organization_name"],
        "organization_id": facts["organization_id"],
        "region": facts["region"],
        "clients": sorted({client_id for _, _, client_id, *_ in sessions if client_id}),
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def write(run: Run, journal: Journal, path: str) -> None:
    """Write the evidence; see `Run.report`."""
    kind = Path(path).suffix.lower()
    if kind not in {".html", ".csv", ".parquet"}:
        raise ConfigurationError(
            f"The report {path!r} is of no kind that can be written.",
            "End its name in .html, .csv or .parquet.",
        )
    if kind == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigurationError(
            "Parquet needs pyarrow, which is not installed.", "Run pip install 'gctokens-nb[parquet]'."
        )
    frame = to_frame(journal)
    try:
        if kind == ".html":
            Path(path).write_text(_page(run, journal, frame), encoding="utf-8")
        elif kind == ".csv":
            for name in ("user", "name", "why"):
                formula = frame[name].str.startswith(_FORMULA).fillna(value=False)
                frame[name] = frame[name].mask(formula, "'" + frame[name])
            frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ", lineterminator="\n")
        else:
            frame.to_parquet(path, index=False)
    except OSError as error:
        raise ConfigurationError(
            f"The report {path!r} cannot be written: {error.strerror or error}.", "Choose another place."
        ) from None


def _page(run: Run, journal: Journal, frame: pd.DataFrame) -> str:
    totals = summary(journal)
    title = f"Revocation of access tokens, {totals['organization']}"
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            _totals(run, journal, totals),
            _plot(journal),
            _sessions(journal),
            _users(frame),
            "</body></html>",
        ]
    )


def _totals(run: Run, journal: Journal, totals: dict[str, Any]) -> str:
    if run.journal is None:
        proof = "<p><strong>A dry run: nothing was sent.</strong></p>"
    else:
        proof = (
            f"<p>Journal: <code>{escape(Path(run.journal).name)}</code>, SHA-256 <code>{sha256(run.journal)}</code>. "
            "It is that of the closed file, after the last change of the run. Resuming the run changes the file.</p>"
        )
    rows = [
        ("State", run.state),
        ("Organization", f"{totals['organization']} ({totals['organization_id']})"),
        ("Region", totals["region"]),
        ("Users confirmed", journal.facts()["confirmed"] or "none"),
        ("Inputs", f"{totals['inputs']:,}"),
        *(
            (name.capitalize(), f"{totals[name]:,}")
            for name in ("revoked", "failed", "unknown", "pending", "skipped")
        ),
        ("Attempts", f"{totals['attempts']:,}"),
        ("First attempt", _show(totals["began_at"])),
        ("Last answer", _show(totals["ended_at"])),
        ("Duration", f"{totals['seconds']:,.1f} s"),
    ]
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(text))}</td></tr>" for name, text in rows)
    return (
        f"<table>{cells}</table>{proof}<p>Times are UTC, by the clock of the machine that ran it. Revoked: Genesys Cloud "
        "accepted <code>DELETE /api/v2/tokens/{userId}</code>, which ends all access tokens of the user. Unknown: it was "
        "sent, or about to be sent when the program ended, and no usable answer came; it may have taken effect. Pending: not "
        "revoked yet.</p>"
    )


def _sessions(journal: Journal) -> str:
    rows = "".join(
        f"<tr><td>{_show(_moment(began_at))}</td><td>{escape(client_id or 'not known')}</td>"
        f"<td>{escape(signed_in_as or 'nobody: a client of its own')}</td><td>gctokens_nb {escape(version)}</td></tr>"
        for _, began_at, client_id, signed_in_as, version in journal.sessions()
    )
    return (
        "<h2>Who ran it</h2><table><thead><tr><th>Began</th><th>OAuth client</th><th>Signed-in user</th><th>With</th></tr>"
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _users(frame: pd.DataFrame) -> str:
    head = "".join(
        f"<th>{text}</th>"
        for text in (
            "#",
            "User",
            "Id",
            "Name",
            "Outcome",
            "Why",
            "Status",
            "Correlation id",
            "Attempts",
            "Answered (UTC)",
        )
    )
    names = ["user", "id", "name", "outcome", "why", "status", "correlation_id", "attempts", "answered_at"]
    rows = []
    for number, row in enumerate(frame[names].itertuples(index=False, name=None), 1):
        cells = "".join(f"<td>{'' if pd.isna(cell) else escape(_show(cell))}</td>" for cell in row)
        rows.append(f'<tr class="{row[3]}"><td>{number}</td>{cells}</tr>')
    return (
        f'<h2>Every user</h2><table class="users"><thead><tr>{head}</tr></thead><tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table>"
    )


def _show(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}"
        if isinstance(value, datetime)
        else str(value)
    )


def _plot(journal: Journal) -> str:
    """Users logged out over time: a line through at most 300 of the points."""
    times = [datetime.fromisoformat(text).timestamp() for text in journal.revoked_at()]
    if not times:
        return ""
    began_at = _moment(journal.totals()[0])
    start = min(began_at.timestamp() if began_at else times[0], times[0])
    span, top = max(times[-1] - start, 0.001), len(times)
    left, bottom = _PLOT_MARGIN, _PLOT_HEIGHT - _PLOT_MARGIN
    width, height = _PLOT_WIDTH - 2 * left, bottom - 12

    def point(seconds: float, count: int) -> str:
        return f"{left + width * seconds / span:.1f},{bottom - height * count / top:.1f}"

    step = max(1, top // _PLOT_POINTS)
    chosen = sorted({*range(0, top, step), top - 1})
    line = " ".join([point(0, 0), *(point(times[index] - start, index + 1) for index in chosen)])
    unit, size = ("s", 1) if span < 180 else ("min", 60)
    return (
        f'<h2>Progress</h2><figure style="margin:0"><svg viewBox="0 0 {_PLOT_WIDTH} {_PLOT_HEIGHT}" width="{_PLOT_WIDTH}" '
        f'role="img" aria-label="{top} users revoked in {span:.1f} seconds">'
        f'<path d="M{left} 12V{bottom}H{left + width}" fill="none" stroke="#8c959f"/>'
        f'<polyline points="{line}" fill="none" stroke="#0969da" stroke-width="2"/>'
        f'<text x="{left - 6}" y="16" text-anchor="end">{top:,}</text>'
        f'<text x="{left - 6}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{left}" y="{bottom + 16}">0 {unit}</text>'
        f'<text x="{left + width}" y="{bottom + 16}" text-anchor="end">{span / size:,.1f} {unit}</text>'
        f'<text x="{left + width / 2}" y="{bottom + 32}" text-anchor="middle">users revoked over time</text></svg></figure>'
    )
