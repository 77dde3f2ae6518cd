"""Report: evidence that an auditor can read, and a spreadsheet cannot be tricked by."""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
import stat
import sys
from datetime import datetime, timedelta
from html.parser import HTMLParser

import pandas as pd
import pytest

import gctokens_nb as gct
from gctokens_nb.errors import ConfigurationError
from gctokens_nb.revocation import Run, attempt, engine
from gctokens_nb.sandbox import Fault


class Page(HTMLParser):
    """The text of each cell, and every tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags, self._in_cell = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note the tag; begin a cell."""
        self.tags.append((tag, dict(attrs)))
        self._in_cell = tag in {"td", "th"}
        if self._in_cell:
            self.cells.append("")

    def handle_endtag(self, tag):
        """End a cell."""
        self._in_cell = self._in_cell and tag not in {"td", "th"}

    def handle_data(self, data):
        """Keep the text of a cell."""
        if self._in_cell:
            self.cells[-1] += data


@pytest.fixture
def run(gc, revoke, sandbox):
    """A run over 30 users, one of whom fails, with one duplicate and one unknown input."""
    users = sandbox.users[100:130]
    sandbox.add_fault(Fault("status", status=404, method="DELETE", path=users[5].id))
    sandbox.add_fault(Fault("status", status=503, times=1, method="DELETE", path=users[6].id))
    return revoke(
        gct.plan_revocation(gc, [*(user.id for user in users), users[0].email, "nobody@example.org"])
    )


def test_the_frame_says_who_when_and_what_came_of_it(run, plan, sandbox):
    """A row an input, real dtypes, times in UTC, and who ran it."""
    frame = run.to_frame()
    assert list(frame["outcome"].value_counts().sort_index().items()) == [
        ("failed", 1),
        ("revoked", 29),
        ("skipped", 2),
    ]
    assert list(frame["why"].dropna()) == [
        "not.found: The requested resource was not found.",
        "duplicate",
        "unknown",
    ]
    assert frame["attempts"].tolist() == [1] * 6 + [2] + [1] * 23 + [0, 0]
    assert frame["status"].tolist()[:7] == [204] * 5 + [404, 204]
    assert str(frame["answered_at"].dtype) == str(frame["first_attempt_at"].dtype) == "datetime64[ms, UTC]"
    assert (frame["answered_at"] >= frame["first_attempt_at"])[:30].all()
    assert set(frame["client_id"].dropna()) == {sandbox.client("admin").client_id}
    assert set(frame["organization"]) == {"Cumulus Airlines"}
    assert set(frame["region"]) == {str(plan.connection.region)}
    sent = {call.path.rpartition("/")[2] for call in sandbox.calls if call.method == "DELETE"}
    assert sent == set(frame["id"].dropna())


def test_the_summary_adds_up(run):
    """Totals of the outcomes are the inputs; the duration is that of the attempts."""
    summary = run.summary()
    assert (summary["inputs"], summary["revoked"], summary["failed"], summary["skipped"]) == (32, 29, 1, 2)
    assert summary["attempts"] == 31
    assert summary["seconds"] == (summary["ended_at"] - summary["began_at"]).total_seconds() > 0
    assert summary["state"] == "finished"


def test_the_page_is_self_contained_and_complete(run, tmp_path, sandbox):
    """Every input with its outcome, the totals, who ran it, a plot; nothing is loaded from elsewhere and nothing runs."""
    path = tmp_path / "evidence.html"
    run.report(path)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    for row in run.to_frame().itertuples():
        assert row.user in page.cells
        if row.attempts:
            assert row.correlation_id in page.cells
    for cell in (
        "finished",
        "29",
        sandbox.client("admin").client_id,
        f"Cumulus Airlines ({sandbox.organization.id})",
    ):
        assert cell in page.cells
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object"}
    assert not [attrs for _, attrs in page.tags if {"src", "href", "onload", "onclick"} & attrs.keys()]
    assert "url(" not in text
    (line,) = (attrs["points"] for name, attrs in page.tags if name == "polyline")
    assert len(line.split()) == 30, "one point for the start and one for each user"
    assert "@media print" in text


def test_the_journals_hash_is_in_the_page_and_can_be_checked(run, tmp_path, gc):
    """sha256sum of the journal gives what the page says, before and after looking at it; resuming a finished run keeps it."""
    path = tmp_path / "evidence.html"
    run.report(path)
    digest = hashlib.sha256((tmp_path / "run.sqlite").read_bytes()).hexdigest()
    assert f"SHA-256 <code>{digest}</code>" in path.read_text(encoding="utf-8")
    Run.of(tmp_path / "run.sqlite").report(tmp_path / "again.html")
    gct.resume(tmp_path / "run.sqlite", gc)
    assert hashlib.sha256((tmp_path / "run.sqlite").read_bytes()).hexdigest() == digest


def test_hostile_names_stay_text(gc, revoke, sandbox, tmp_path):
    """What a server says is shown, never run: neither as HTML nor as a formula of a spreadsheet."""
    names = ["<script>alert(1)</script>", "=HYPERLINK(1)", "+1", "@x", "-2", '"&<']
    users = [sandbox.add_user(name=name, email=f"u{number}@example.org") for number, name in enumerate(names)]
    run = revoke(gct.plan_revocation(gc, [user.id for user in users]))
    run.report(tmp_path / "evidence.html")
    page = Page((tmp_path / "evidence.html").read_text(encoding="utf-8"))
    assert set(names) <= set(page.cells)
    assert "script" not in {name for name, _ in page.tags}
    run.report(tmp_path / "evidence.csv")
    assert list(pd.read_csv(tmp_path / "evidence.csv")["name"]) == [
        names[0],
        *("'" + name for name in names[1:5]),
        names[5],
    ]
    sandbox_named = run.to_frame()["name"]
    assert list(sandbox_named) == names, "the DataFrame has them as they are"


def test_the_evidence_leads_back_to_the_list(gc, revoke, sandbox, tmp_path):
    """File, its SHA-256, columns, the line of each row, and the columns that were kept: in every kind of evidence."""
    users = sandbox.users[100:103]
    path = tmp_path / "leavers.csv"
    path.write_text(
        "Personnel No,status,E-Mail\n" + "".join(f"{at},left,{user.email}\n" for at, user in enumerate(users))
    )
    plan = gct.plan_revocation(gc, path, column="E-Mail", keep=["Personnel No", "status"])
    run = revoke(plan)
    run.report(tmp_path / "evidence.html")
    run.report(tmp_path / "evidence.csv")
    run.report(tmp_path / "evidence.parquet")
    frame = run.to_frame()
    assert list(frame["line"]) == [2, 3, 4]
    assert set(frame["source"]) == {"leavers.csv"}
    assert list(frame["Personnel No"]) == ["0", "1", "2"]
    assert list(frame["status (of the list)"]) == ["left"] * 3, "a column that the evidence has itself"
    for read in (pd.read_csv(tmp_path / "evidence.csv"), pd.read_parquet(tmp_path / "evidence.parquet")):
        assert list(read["line"]) == [2, 3, 4]
        assert list(read["Personnel No"].astype(str)) == ["0", "1", "2"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = (tmp_path / "evidence.html").read_text(encoding="utf-8")
    page = Page(text)
    for cell in ("leavers.csv", "E-Mail", "Personnel No", "status (of the list)", "left", "3"):
        assert cell in page.cells
    assert digest in text
    assert run.facts["plan_sha256"] in text
    assert run.summary()["sources"] == [
        {"file": "leavers.csv", "sha256": digest, "sheet": None, "columns": ("E-Mail",)}
    ]


def test_skipped_lines_come_first_in_the_page(run, tmp_path):
    """Amber, with the reason, and before the totals."""
    run.report(tmp_path / "evidence.html")
    text = (tmp_path / "evidence.html").read_text(encoding="utf-8")
    assert text.index('class="warning"><strong>1 row was not logged out') < text.index("Users confirmed")
    assert text.count('<tr class="left-out">') == 2, "in its own table, and among all"
    assert "Skipped lines accepted" in text


def test_no_text_of_a_csv_is_a_formula(gc, revoke, sandbox, tmp_path):
    """Neither in a name of the server, in a kept column nor in its header, nor behind the delimiter of another country."""
    starts = ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\ufeff=", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
    cells = [f'{start}HYPERLINK("x");=1+1' for start in starts]
    users = [sandbox.add_user(name=cell, email=f"u{at}@example.org") for at, cell in enumerate(cells)]
    given = pd.DataFrame({"id": [user.id for user in users], "=x": cells, "plain": "a, b"})
    run = revoke(gct.plan_revocation(gc, given, column="id", keep=["=x", "plain"]))
    assert list(run.to_frame()["name"]) == cells, "the DataFrame has them as they are"
    run.report(tmp_path / "evidence.csv")
    read = pd.read_csv(tmp_path / "evidence.csv")
    assert list(read["name"]) == [f"'{cell}" for cell in cells]
    kept = read["'=x"]
    stripped = [cell.strip() for cell in cells]  # as the plan keeps them
    assert [cell.lstrip("'") for cell in kept] == stripped
    assert all(cell.startswith(("'", "H")) for cell in kept)
    assert set(read["plain"]) == {"a, b"}
    text = (tmp_path / "evidence.csv").read_text(encoding="utf-8")
    assert text.count('""x"");=1+1"') == 2 * len(cells), "quoted as a whole"


@pytest.mark.parametrize("suffix", ["html", "csv", "parquet"])
def test_evidence_is_private_and_never_overwritten_by_accident(run, tmp_path, suffix):
    """Its owner may read it; a file of that name stays as it is unless asked otherwise; nothing half is left behind."""
    path = tmp_path / f"evidence.{suffix}"
    run.report(path)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match=r"exists already.*overwrite=True"):
        run.report(path)
    assert path.read_text() == "mine"
    run.report(path, overwrite=True)
    assert path.stat().st_size > 100
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, "run.sqlite"]


def test_no_report_takes_the_place_of_the_journal(plan, revoke, tmp_path):
    """Not even where overwriting is asked for."""
    run = revoke(plan, journal=tmp_path / "run.csv")
    with pytest.raises(ConfigurationError, match="is the journal of the run"):
        run.report(tmp_path / "run.csv", overwrite=True)
    assert run.check() is run


def test_a_disk_that_fills_up_leaves_no_half_report(run, tmp_path, monkeypatch):
    """What cannot be written as a whole is not there at all, and what was there before still is."""
    path = tmp_path / "evidence.html"
    path.write_text("mine")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gctokens_nb.revocation.evidence._write_text", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        run.report(path, overwrite=True)
    assert path.read_text() == "mine"
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, "run.sqlite"]


def test_the_page_runs_nothing_and_loads_nothing(run, tmp_path):
    """A policy in the page itself forbids scripts, and any style but the page's own, which it names by its hash."""
    run.report(tmp_path / "evidence.html")
    text = (tmp_path / "evidence.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(html.unescape(style).encode()).digest()).decode()
    assert html.unescape(policy).startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert html.unescape(style) == style, "the browser does not unescape a style"
    assert "style=" not in text


@pytest.mark.parametrize(("days", "said"), [(-3, "set back by 259,"), (3, "set forward by 259,")])
def test_a_clock_that_was_changed_is_said(plan, revoke, tmp_path, monkeypatch, days, said):
    """A clock set back by three days in the middle of a run: the duration is the true one, and the page says why."""
    began = []
    real = attempt.utc_now

    def now():
        moment = datetime.fromisoformat(real())
        began.append(moment)
        if len(began) > 100:
            moment += timedelta(days=days)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    for module in (attempt, engine):
        monkeypatch.setattr(module, "utc_now", now)
    run = revoke(plan)
    assert 0 < run.summary()["seconds"] < 3600
    assert said in run.summary()["clock"]
    run.report(tmp_path / "evidence.html")
    text = (tmp_path / "evidence.html").read_text(encoding="utf-8")
    assert said in text
    assert "259,2" not in Page(text).cells


def test_a_steady_clock_is_not_suspected(run):
    """Nothing is said where nothing is wrong."""
    assert run.summary()["clock"] == ""


def test_csv_and_parquet_hold_the_same_as_the_frame(run, tmp_path):
    """Both read back to the same rows; Parquet keeps the dtypes."""
    frame = run.to_frame()
    run.report(tmp_path / "evidence.csv")
    run.report(tmp_path / "evidence.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "evidence.parquet"), frame, check_categorical=False, check_dtype=False
    )
    read = pd.read_csv(tmp_path / "evidence.csv", parse_dates=["answered_at"])
    assert list(read.columns) == list(frame.columns)
    assert list(read["user"]) == list(frame["user"])
    assert (read["answered_at"].dropna() == frame["answered_at"].dropna()).all()
    assert re.search(
        r",\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z,", (tmp_path / "evidence.csv").read_text(encoding="utf-8")
    )


def test_a_dry_run_says_so(plan, tmp_path):
    """The evidence of a dry run cannot be taken for that of a run."""
    gct.revoke(plan).report(tmp_path / "dry.html")
    text = (tmp_path / "dry.html").read_text(encoding="utf-8")
    assert "A dry run: nothing was sent." in text
    assert "SHA-256" not in text
    assert len(gct.revoke(plan[:0]).to_frame()) == 0


def test_what_cannot_be_written_is_said(run, tmp_path, monkeypatch):
    """An unknown kind of file, a folder that is not there, a missing pyarrow, a run that goes on."""
    with pytest.raises(ConfigurationError, match=r"End its name in .html, .csv or .parquet"):
        run.report(tmp_path / "evidence.docx")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        run.report(tmp_path / "absent" / "evidence.html")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'gctokens-nb\[parquet\]'"):
        run.report(tmp_path / "evidence.parquet")


def test_no_report_while_the_run_goes_on(plan, revoke, tmp_path):
    """Evidence that is not complete is not written."""
    errors = []

    def watch(run):
        if run.state == "running":
            with pytest.raises(ConfigurationError, match="goes on") as caught:
                run.report(tmp_path / "evidence.html")
            errors.append(caught.value)

    revoke(plan, on_progress=watch)
    assert errors


def test_it_shows_itself_the_same_at_every_run(run):
    """In a cell: state, organization and counts, without times and ports."""
    html = run._repr_html_()
    assert "finished" in html
    assert "Cumulus Airlines" in html
    assert repr(run) == (
        "<Run finished: 0 pending, 29 revoked, 1 failed, 2 skipped, 0 unknown; "
        "1 row was not logged out: 1 is unknown (row 32).>"
    )
