"""Report: evidence that an auditor can read, and a spreadsheet cannot be tricked by."""

from __future__ import annotations

import hashlib
import re
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest

import gctokens_nb as gct
from gctokens_nb.errors import ConfigurationError
from gctokens_nb.revocation import Run
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
    assert repr(run) == "<Run finished: 0 pending, 29 revoked, 1 failed, 2 skipped, 0 unknown>"
