"""Files of evidence: a page for people, CSV and Parquet for programs. None runs code, and none is half written."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import importlib.util
import os
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gctokens_nb.errors import ConfigurationError
from gctokens_nb.revocation import report
from gctokens_nb.revocation.journal import Journal
from gctokens_nb.revocation.journal_file import sha256

if TYPE_CHECKING:
    from gctokens_nb.revocation.run import Run

__all__ = ["plain_text", "write"]

# What makes a formula of a cell, by OWASP's page on CSV injection: also in full width, and behind white space, which
# some spreadsheets cut off. A tab, a carriage return or a line feed at the beginning is enough by itself.
_FORMULA = re.compile(r"[\t\r\n\0]|[\s\u200b-\u200f\u2060\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_DELIMITER = re.compile(r"""[,;|"'\s]""")
_OUTCOMES = ("pending", "revoked", "failed", "skipped", "unknown")
_SHOWN = {
    "user": "User",
    "id": "Id",
    "name": "Name",
    "outcome": "Outcome",
    "why": "Why",
    "status": "Status",
    "correlation_id": "Correlation id",
    "attempts": "Attempts",
    "answered_at": "Answered (UTC)",
    "source": "File",
    "line": "Line",
}
_ANOTHER_NAME = "Choose another name, or pass overwrite=True."
_PLOT_WIDTH, _PLOT_HEIGHT, _PLOT_MARGIN, _PLOT_POINTS = 640, 220, 46, 300
_STYLE = """
:root { color-scheme: light }
body { font: 14px/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 2em auto; max-width: 70em; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } figure { margin: 0 }
table { border-collapse: collapse } th, td { text-align: left; vertical-align: top; padding: .2em .8em .2em 0 }
.users { width: 100%; font-size: 11px } .users td, .users th { border-bottom: 1px solid #d0d7de; overflow-wrap: anywhere }
.failed, .unknown { color: #a40e26; font-weight: 600 } .left-out { color: #7d4e00; font-weight: 600 } code { overflow-wrap: anywhere }
.warning { border-left: 4px solid #d97706; padding-left: .7em } .alarm { border: 3px solid #a40e26; color: #a40e26; padding: .7em }
svg text { font: 11px system-ui, sans-serif; fill: #57606a }
@media print { body { margin: 0; max-width: none } thead { display: table-header-group } tr, figure { break-inside: avoid } }
@page { size: A4 landscape; margin: 12mm }
"""
# Nothing is loaded, nothing runs, and no style but ours holds, whatever got into the page.
_POLICY = (
    "default-src 'none'; style-src 'sha256-"
    f"{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; base-uri 'none'; form-action 'none'"
)


def write(run: Run, journal: Journal, path: str, *, overwrite: bool) -> None:
    """Write the evidence; see `Run.report`."""
    kind = Path(path).suffix.lower()
    if kind not in {".html", ".csv", ".parquet"}:
        raise ConfigurationError(
            f"The report {path!r} is of no kind that can be written.",
            "End its name in .html, .csv or .parquet.",
        )
    if run.journal is not None and Path(path).resolve() == Path(run.journal).resolve():
        raise ConfigurationError(
            f"{path!r} is the journal of the run.", "Choose another name for the report."
        )
    for module, what in ((".parquet", "pyarrow"), (".html", "jinja2")):
        if kind == module and importlib.util.find_spec(what) is None:
            extra = {"pyarrow": "parquet", "jinja2": "notebook"}[what]
            raise ConfigurationError(
                f"{kind[1:].capitalize()} needs {what}, which is not installed.",
                f"Run pip install 'gctokens-nb[{extra}]'.",
            )
    if kind == ".html":
        parts = _page(run, journal)
        _save(path, overwrite, lambda target: _write_text(target, parts))
        return
    frame = report.to_frame(journal)
    if kind == ".csv":
        _save(path, overwrite, lambda target: _write_text(target, _csv(frame)))
    else:
        _save(path, overwrite, lambda target: frame.to_parquet(target, index=False))


def plain_text(text: str) -> str:
    """Return the text as a spreadsheet will not take for a formula: where it might, an apostrophe is put before it."""
    return f"'{text}" if _FORMULA.match(text) else text


def _csv(frame: pd.DataFrame) -> Iterator[str]:
    """Lines of CSV. Texts with any usual delimiter are quoted: where another one than ours holds, none is cut in two."""
    columns = []
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            column = column.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            columns.append(["" if pd.isna(value) else str(value) for value in column])
        elif pd.api.types.is_numeric_dtype(column.dtype):
            columns.append(["" if pd.isna(value) else str(value) for value in column])
        else:
            columns.append(["" if pd.isna(value) else _quoted(str(value)) for value in column])
    yield ",".join(_quoted(str(name)) for name in frame.columns) + "\n"
    for row in zip(*columns, strict=True):
        yield ",".join(row) + "\n"


def _quoted(text: str) -> str:
    text = plain_text(text)
    return '"' + text.replace('"', '""') + '"' if _DELIMITER.search(text) else text


def _write_text(path: str, parts: Iterator[str]) -> None:
    with Path(path).open("w", encoding="utf-8", errors="replace", newline="") as file:
        file.writelines(parts)


def _save(path: str, overwrite: bool, write_to: Callable[[str], object]) -> None:
    """Write a file for its owner's eyes only, all of it or nothing, and over another one only if that is wanted."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    taken = f"{path!r} exists already, and evidence is not overwritten unless that is asked for."
    if not overwrite and os.path.lexists(path):
        raise ConfigurationError(taken, _ANOTHER_NAME)
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            write_to(str(draft))
            if overwrite:
                draft.replace(target)
            else:
                _put(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise ConfigurationError(taken, _ANOTHER_NAME) from None
    except OSError as error:
        raise ConfigurationError(
            f"The report {path!r} cannot be written: {error.strerror or error}.", "Choose another place."
        ) from None


def _put(draft: Path, target: Path) -> None:
    """Give the draft its name; fail if somebody else has taken it meanwhile."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        draft.replace(target)


# The page


def _page(run: Run, journal: Journal) -> Iterator[str]:
    import jinja2  # noqa: PLC0415 - only the page needs it

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["show"] = _show
    source = importlib.resources.files(__package__).joinpath("evidence.html.j2").read_text(encoding="utf-8")
    totals = report.summary(journal)
    rows = report.to_frame(journal, proved=False)
    kept = report.kept_names(journal).values()
    columns = {**_SHOWN, **{name: name for name in kept}}
    left_out = run.skipped.index
    is_dry = run.journal is None
    return environment.from_string(source).generate(
        policy=_POLICY,
        style=_STYLE,
        totals=totals,
        facts=_facts(run.state, totals),
        journal_name=None if is_dry else Path(journal.path).name,
        journal_sha256=None if is_dry else sha256(journal.path),
        skipped_summary=run.skipped_summary,
        accepted=f"{totals['skipped_ok']:,} were accepted beforehand." if totals["skipped_ok"] else "",
        columns=["#", *columns.values()],
        skipped_rows=list(_rows(rows.loc[left_out], columns, left_out)),
        rows=_rows(rows, columns, left_out),
        plot=_plot(journal),
        sessions=journal.sessions(),
        sources=report.sources(journal),
    )


def _facts(state: str, totals: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("State", state),
        ("Organization", f"{totals['organization']} ({totals['organization_id']})"),
        ("Region", totals["region"]),
        ("Users confirmed", "none" if totals["confirmed"] is None else f"{totals['confirmed']:,}"),
        ("Inputs", f"{totals['inputs']:,}"),
        *(
            (name.capitalize(), f"{totals[name]:,}")
            for name in ("revoked", "failed", "unknown", "pending", "skipped")
        ),
        ("Skipped lines accepted", f"{totals['skipped_ok']:,}"),
        ("Attempts", f"{totals['attempts']:,}"),
        ("First attempt", _show(totals["began_at"])),
        ("Last answer", _show(totals["ended_at"])),
        ("Duration", f"{totals['seconds']:,.1f} s"),
    ]


def _rows(frame: pd.DataFrame, columns: dict[str, str], left_out: Any) -> Iterator[tuple[str, list[str]]]:
    """The class of each row, which is one of ours, and its cells."""
    outcome = list(columns).index("outcome")
    left = set(left_out)
    for at, row in zip(frame.index, frame[list(columns)].itertuples(index=False, name=None), strict=True):
        kind = "left-out" if at in left else row[outcome] if row[outcome] in _OUTCOMES else ""
        yield kind, [f"{at + 1}", *("" if pd.isna(cell) else _show(cell) for cell in row)]


def _show(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}"
        if isinstance(value, datetime)
        else str(value)
    )


def _plot(journal: Journal) -> dict[str, Any] | None:
    """Users logged out over time: a line through at most 300 of the points."""
    times = [datetime.fromisoformat(text).timestamp() for text in journal.revoked_at()]
    if not times:
        return None
    began_at = journal.totals()[0]
    start = min(datetime.fromisoformat(began_at).timestamp() if began_at else times[0], times[0])
    span, top = max(times[-1] - start, 0.001), len(times)
    left, bottom = _PLOT_MARGIN, _PLOT_HEIGHT - _PLOT_MARGIN
    width, height = _PLOT_WIDTH - 2 * left, bottom - 12

    def point(seconds: float, count: int) -> str:
        return f"{left + width * seconds / span:.1f},{bottom - height * count / top:.1f}"

    step = max(1, top // _PLOT_POINTS)
    chosen = sorted({*range(0, top, step), top - 1})
    unit, size = ("s", 1) if span < 180 else ("min", 60)
    return {
        "width": _PLOT_WIDTH,
        "height": _PLOT_HEIGHT,
        "label": f"{top} users revoked in {span:.1f} seconds",
        "axes": f"M{left} 12V{bottom}H{left + width}",
        "points": " ".join([point(0, 0), *(point(times[index] - start, index + 1) for index in chosen)]),
        "texts": [
            (left - 6, 16, "end", f"{top:,}"),
            (left - 6, bottom, "end", "0"),
            (left, bottom + 16, "start", f"0 {unit}"),
            (left + width, bottom + 16, "end", f"{span / size:,.1f} {unit}"),
            (left + width / 2, bottom + 32, "middle", "users revoked over time"),
        ],
    }
