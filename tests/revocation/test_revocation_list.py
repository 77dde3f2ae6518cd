"""The list: which columns tell a user, where each row came from, who stays logged in, and files that are too large."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import openpyxl
import pandas as pd
import pytest

import gctokens_nb as gct
from gctokens_nb.errors import ConfigurationError
from gctokens_nb.revocation.users_file import read_users

NOBODY = "00000000-0000-4000-8000-000000000000"
NEITHER = "neither e-mail nor id"


def outcome(plan: pd.DataFrame) -> list[Any]:
    """What each row says: the id of the user to revoke, or why it is skipped."""
    return [row.id if row.action == "revoke" else row.why for row in plan.itertuples()]


# Both columns


@pytest.fixture
def people(sandbox):
    """Rows of an HR file (e-mail, id), and what is to become of each."""
    one, two, three, four, five = [user for user in sandbox.users[100:140] if user.state == "active"][:5]
    deleted = sandbox.add_user(name="Old", email="passed.on@example.org", state="deleted")
    sandbox.add_user(name="New", email="passed.on@example.org")
    twins = [sandbox.add_user(name="Twin", email="twin@example.org") for _ in range(2)]
    return [
        (one.email, one.id, one.id),
        ("", two.id, two.id),
        (three.email, "", three.id),
        (three.email.upper(), "n/a", "duplicate"),
        ("", "", NEITHER),
        (four.email, five.id, "conflict"),
        (four.email, NOBODY, "conflict"),
        ("private@example.net", five.id.upper(), five.id),
        ("private@example.net", NOBODY, "unknown"),
        ("passed.on@example.org", deleted.id, "conflict"),
        ("twin@example.org", twins[1].id, twins[1].id),
        ("twin@example.org", four.id, "conflict"),
        ("twin@example.org", "", "ambiguous"),
    ]


def test_ids_and_addresses_are_both_used(gc, sandbox, people, tmp_path):
    """The id where there is one, else the address; who they contradict each other about is skipped as a conflict."""
    frame = pd.DataFrame(
        [(str(number), mail, user_id) for number, (mail, user_id, _) in enumerate(people)],
        columns=["Personnel No", "E-Mail ", "Genesys Id"],
    )
    frame.to_csv(tmp_path / "hr.csv", index=False, sep=";")
    frame.to_excel(tmp_path / "hr.xlsx", index=False)
    expected = [what for _, _, what in people]
    for users in (frame, tmp_path / "hr.csv", tmp_path / "hr.xlsx"):
        before = len(sandbox.calls)
        plan = gct.plan_revocation(gc, users)
        assert outcome(plan) == expected
        assert plan.column == "E-Mail, Genesys Id"
        assert len(sandbox.calls) - before <= 4, "a batch of ids, one of addresses"
    conflict = plan[plan["why"] == "conflict"].iloc[0]
    assert people[5][0] in conflict["user"]
    assert people[5][1] in conflict["user"]
    assert pd.isna(conflict["id"])


def test_an_explicit_column_is_the_only_one(gc, people):
    """`column=` leaves the other one alone; a list of columns uses all of them."""
    frame = pd.DataFrame([row[:2] for row in people], columns=["Contact", "Key"])
    assert set(gct.plan_revocation(gc, frame, column="Contact")["why"].dropna()) <= {
        NEITHER, "duplicate", "unknown", "ambiguous",
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="several hold ids or e-mail addresses"):
        gct.plan_revocation(gc, frame)
    assert outcome(gct.plan_revocation(gc, frame, column=["key", "contact"])) == [row[2] for row in people]


def test_two_columns_of_addresses_stay_unclear(gc, sandbox):
    """Only an id and an address make a pair by themselves: two addresses may be of two people."""
    user, manager = sandbox.users[40], sandbox.users[41]
    for names in (["user", "mail"], ["Login", "Genesys E-Mail"]):
        frame = pd.DataFrame([[user.email, manager.email]], columns=names)
        with pytest.raises(ConfigurationError, match="several hold ids or e-mail addresses"):
            gct.plan_revocation(gc, frame)
    mixed = pd.DataFrame([[user.id, user.email], [manager.email, ""]], columns=["user", "mail"])
    with pytest.raises(ConfigurationError, match="several hold ids or e-mail addresses"):
        gct.plan_revocation(gc, mixed)
    beside = pd.DataFrame([[user.email, manager.id]], columns=["mail", "Manager Id"])
    assert list(gct.plan_revocation(gc, beside)["id"]) == [user.id]


# Who stays logged in


def test_who_stays_logged_in_is_said(gc, sandbox, tmp_path):
    """One sentence with the lines, in the plan as text and in amber as HTML; duplicates and oneself do not count."""
    user = next(user for user in sandbox.users[100:] if user.state == "active")
    lines = ["Name;E-Mail", f"A;{user.email}", "B;", "", f"C;{user.email}", "D;-", "E;gone@example.org", ";"]
    path = tmp_path / "hr.csv"
    path.write_text("\n".join(lines))
    plan = gct.plan_revocation(gc, path)
    said = (
        "3 lines will not be logged out: 2 have neither e-mail nor id (lines 3 and 6), 1 is unknown (line 7)."
    )
    assert plan.skipped_summary == said
    assert list(plan.skipped["line"]) == [3, 6, 7]
    assert f"\N{WARNING SIGN} {said}" in repr(plan)
    assert f'#d97706; padding-left: 8px">\N{WARNING SIGN} <strong>{said}' in plan._repr_html_()
    good = plan[plan["action"] == "revoke"]
    assert good.skipped_summary == ""
    assert "\N{WARNING SIGN}" not in repr(good) + good._repr_html_() + repr(plan[["user", "action"]])


def test_rows_of_a_list_are_counted_and_many_are_shortened(gc, sandbox):
    """Lists have no lines: rows from 1; of a DataFrame, its index. Of many, the first three are listed."""
    user = next(user for user in sandbox.users[100:] if user.state == "active")
    given = [user.id, "", *["x"] * 11]
    plan = gct.plan_revocation(gc, given)
    said = "12 rows will not be logged out: 12 have neither e-mail nor id (rows 2, 3, 4 and 9 more)."
    assert plan.skipped_summary == said
    assert (
        plan.iloc[:2].skipped_summary == "1 row will not be logged out: 1 has neither e-mail nor id (row 2)."
    )
    frame = pd.DataFrame({"mail": given[:3]}, index=["a", "b", "c"])
    assert "(index b and c)" in gct.plan_revocation(gc, frame).skipped_summary


def test_a_row_that_was_taken_out_by_hand_counts(gc, sandbox):
    """A plan's action may be set to skip; that row is told as one without a reason."""
    plan = gct.plan_revocation(gc, [user.id for user in sandbox.users[100:103]])
    plan.loc[1, "action"] = "skip"
    assert "1 is skipped without a reason (row 2)" in plan.skipped_summary


# Where it came from


def test_a_plan_leads_back_to_the_lines(gc, sandbox, tmp_path):
    """File, SHA-256, sheet, columns, true lines in spite of blank and quoted ones, and the columns asked for."""
    one, two, three = sandbox.users[100:103]
    path = tmp_path / "hr.csv"
    path.write_bytes(
        f'Personnel No ;E-Mail;"Note\r\n(free)"\r\n007;{one.email};"a\r\nb\r\nc"\r\n\r\n;;\r\n8;{two.email};\r\n'.encode()
    )
    plan = gct.plan_revocation(gc, path, keep=["personnel no"])
    assert list(plan.columns)[-3:] == ["source", "line", "Personnel No"]
    assert list(plan["line"]) == [3, 8]
    assert list(plan["source"]) == ["hr.csv"] * 2
    assert list(plan["Personnel No"]) == ["007", "8"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(one.file, one.sha256, one.sheet, one.columns) for one in plan.sources] == [
        ("hr.csv", digest, None, ("E-Mail",))
    ]
    back = pickle.loads(pickle.dumps(plan[plan["line"] > 3]))
    assert (back.sources, back.kept, list(back["line"])) == (plan.sources, ("Personnel No",), [8])

    book = openpyxl.Workbook()
    book.active.title = "March"
    for at, row in {
        2: ["Personnel No", "E-Mail", "Left"],
        5: [7.0, three.email, pd.Timestamp("2026-03-31")],
    }.items():
        for column, value in enumerate(row, 3):
            book.active.cell(at, column, value)
    book.save(tmp_path / "hr.xlsx")
    uploads = [{"name": name, "content": (tmp_path / name).read_bytes()} for name in ("hr.csv", "hr.xlsx")]
    both = gct.plan_revocation(gc, uploads, keep="Personnel No")
    assert list(both["line"]) == [3, 8, 5]
    assert list(both["source"]) == ["hr.csv", "hr.csv", "hr.xlsx"]
    assert list(both["Personnel No"]) == ["007", "8", "7"]
    assert [source.sheet for source in both.sources] == [None, "March"]
    workbook = gct.plan_revocation(gc, tmp_path / "hr.xlsx", keep=["Left"])
    assert list(workbook["Left"]) == ["2026-03-31"]


def test_columns_to_keep_of_a_frame(gc, sandbox):
    """A DataFrame has no lines, but columns; a list has neither."""
    user = sandbox.users[100]
    frame = pd.DataFrame({"mail": [user.email], "No": [7], "name": ["x"]}, index=["a"])
    plan = gct.plan_revocation(gc, frame, keep=["No"])
    assert (list(plan["No"]), list(plan.index), plan.sources, plan.kept) == (["7"], ["a"], (), ("No",))
    assert plan["line"].isna().all()
    for given, keep, message in (
        (frame, ["Nr"], "has no column 'Nr'"),
        (frame, ["name"], "a column 'name' of its own"),
        ([user.id], ["No"], "A list has no columns"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            gct.plan_revocation(gc, given, keep=keep)


# Files that are too large


def workbook(
    rows: bytes = b"", part: str = "xl/worksheets/sheet1.xml", before: bytes = b"</sheetData>"
) -> bytes:
    """A workbook of one user, with XML put into one of its parts."""
    book, saved, changed = openpyxl.Workbook(), io.BytesIO(), io.BytesIO()
    for row in (("mail",), ("a@example.org",)):
        book.active.append(row)
    book.save(saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content.replace(before, rows + before, 1) if name == part else content)
    return changed.getvalue()


def entities() -> bytes:
    """A sheet whose one cell stands for 20 ** 11 letters."""
    declared = b"".join(b'<!ENTITY %c "%s">' % (98 + at, b"&%c;" % (97 + at) * 20) for at in range(11))
    doctype = b'<!DOCTYPE x [<!ENTITY a "a">' + declared + b"]>"
    return workbook(doctype, before=b"<worksheet")


TOO_LARGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "far cell": (
        lambda: workbook(b'<row r="1048576"><c r="XFD1048576" t="str"><v>x</v></c></row>'),
        "line 1048576 reaches to column 16,384",
    ),
    "far row": (lambda: workbook(b'<row r="99999999999"/>'), "too large"),
    "wide rows": (
        lambda: workbook(b"".join(b'<row><c r="XFD%d"/></row>' % at for at in range(3, 3000))),
        "too large",
    ),
    "rows": (lambda: workbook(b"<row/>" * 1_100_000), "too large"),
    "elements": (lambda: workbook(b"<a/>" * 400_000), "too large"),
    "nested elements": (lambda: workbook(b"<a>" * 100), "too large"),
    "attributes": (lambda: workbook(b"<a " + b" ".join(b'a%d=""' % at for at in range(150_000)) + b"/>"), "too large"),
    "text": (lambda: workbook(b" " * 2_000_000), "too large"),
    "styles": (lambda: workbook(b"<xf/>" * 400_000, "xl/styles.xml", b"</cellXfs>"), "too large"),
    "sheets": (lambda: workbook(b"<sheet/>" * 200, "xl/workbook.xml", b"</sheets>"), "too large"),
    "entities": (entities, "document type"),
    "wide CSV": (lambda: b"mail" + b",x" * 2000, "reaches to column 2,001"),
    "cells": (lambda: (b"a@example.org" + b",x" * 900 + b"\n") * 12_000, "10,000,000 cells"),
    "a gigantic cell": (lambda: b"mail\n" + b"x" * 200_000, "field larger than field limit"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("case", TOO_LARGE)
def test_files_that_would_take_too_much(case):
    """Each is refused with what to do; see below for what it takes."""
    make, message = TOO_LARGE[case]
    with pytest.raises(ConfigurationError, match=message) as refused:
        read_users([{"name": "a", "content": make()}])
    assert refused.value.next_step


def test_a_far_cell_takes_no_memory(tmp_path):
    """A workbook of 5 kB took 5.4 GB: it is read in a process that may take 300 MB more."""
    (tmp_path / "far.xlsx").write_bytes(TOO_LARGE["far cell"][0]())
    (tmp_path / "blank.xlsx").write_bytes(
        workbook(b'<row r="1048576"><c r="XFD1048576" t="str"><v> </v></c></row>')
    )
    code = """
import resource, sys
from gctokens_nb.errors import ConfigurationError
from gctokens_nb.revocation.users_file import read_users
import openpyxl
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
try:
    read_users("far.xlsx")
except ConfigurationError as error:
    assert "1048576" in str(error)
    print(read_users("blank.xlsx").texts)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("the memory of a process is limited and measured as on Linux")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.strip() == "['a@example.org']", ran.stderr


def test_bounds_of_bytes_and_rows(tmp_path, monkeypatch):
    """No more bytes than allowed are read, and an endless list ends."""
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(100_000_001)
    with pytest.raises(ConfigurationError, match="more than 100 MB"):
        read_users(path)
    with pytest.raises(ConfigurationError, match="more than 100 MB"):
        read_users([{"name": "a.csv", "content": memoryview(path.read_bytes())}])
    monkeypatch.setattr("gctokens_nb.revocation.users_file.MAX_ROWS", 1000)
    with pytest.raises(ConfigurationError, match="more than 1,000 users"):
        read_users(iter(lambda: "a@example.org", None))
    with pytest.raises(ConfigurationError, match="device or a pipe"):
        read_users("/dev/zero")


def test_a_workbook_is_bounded_once_unpacked(monkeypatch):
    """By what it says it unpacks to: zipfile reads no more than that."""
    monkeypatch.setattr("gctokens_nb.revocation.user_table._UNPACKED_BYTES", 1_000_000)
    bomb = workbook(b"\n" * 1_100_000)
    assert len(bomb) < 10_000
    with pytest.raises(ConfigurationError, match="more than 1 MB once it is unpacked"):
        read_users([{"name": "a", "content": bomb}])


def test_sheets_of_one_name_lose_nobody():
    """A damaged workbook may name two sheets alike; both are counted."""
    book, saved, changed = openpyxl.Workbook(), io.BytesIO(), io.BytesIO()
    for sheet in (book.active, book.create_sheet("Other")):
        sheet.append(["a@example.org"])
    book.save(saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b'name="Other"', b'name="Sheet"'))
    with pytest.raises(ConfigurationError, match=r"several sheets.*'Sheet' \(1 rows\), 'Sheet' \(1 rows\)"):
        read_users([{"name": "a.xlsx", "content": changed.getvalue()}])


def test_a_long_text_with_an_at_sign_is_no_address(gc):
    """It would be sent to the server, 100 a request."""
    assert list(gct.plan_revocation(gc, ["x" * 400 + "@example.org"])["why"]) == [NEITHER]
