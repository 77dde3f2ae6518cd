"""Plan: who would be logged out, from whatever people have."""

from __future__ import annotations

import pickle
import sys

import pandas as pd
import pytest

import gctokens_nb as gct
from gctokens_nb.errors import ConfigurationError
from gctokens_nb.sandbox import Fault


def rows(plan):
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in plan.itertuples(index=False)]


def test_each_input_gets_a_row_in_its_order(gc, sandbox):
    """Ids and e-mails in any mix and letter case: a row each, in order, with the user, the action and the reason."""
    grace, alan = sandbox.users[0], sandbox.users[1]
    given = [
        f" {alan.email.upper()} ",
        grace.id.upper(),
        "nobody@example.org",
        "no user",
        alan.id,
        None,
        float("nan"),
    ]
    plan = gct.plan_revocation(gc, given)
    assert rows(plan) == [
        (alan.email.upper(), alan.id, alan.name, "active", "revoke", None),
        (grace.id.upper(), grace.id, grace.name, "active", "revoke", None),
        ("nobody@example.org", None, None, None, "skip", "unknown"),
        ("no user", None, None, None, "skip", "malformed"),
        (alan.id, alan.id, alan.name, "active", "skip", "duplicate"),
        ("", None, None, None, "skip", "malformed"),
        ("", None, None, None, "skip", "malformed"),
    ]
    assert list(plan.columns) == ["user", "id", "name", "state", "action", "why"]
    assert plan.users_to_revoke == 2
    assert plan.organization.id == sandbox.organization.id


def test_inactive_users_are_revoked_and_deleted_ones_skipped(gc, sandbox):
    """An inactive user may still hold a token; a deleted one does not. An unknown id is no user."""
    inactive = next(user for user in sandbox.users if user.state == "inactive")
    deleted = next(user for user in sandbox.users if user.state == "deleted")
    plan = gct.plan_revocation(gc, [inactive.id, deleted.id, "00000000-0000-4000-8000-000000000000"])
    assert [(row[3], row[4], row[5]) for row in rows(plan)] == [
        ("inactive", "revoke", None),
        ("deleted", "skip", "deleted"),
        (None, "skip", "unknown"),
    ]


def test_an_address_of_two_users_is_ambiguous(gc, sandbox):
    """Nobody is logged out by an address that could mean two people; a deleted one does not count."""
    for _ in range(2):
        sandbox.add_user(name="Twin", email="twin@example.org")
    sandbox.add_user(name="Old", email="again@example.org", state="deleted")
    new = sandbox.add_user(name="New", email="again@example.org")
    plan = gct.plan_revocation(gc, ["twin@example.org", "again@example.org"])
    assert [(row[1], row[4], row[5]) for row in rows(plan)] == [
        (None, "skip", "ambiguous"),
        (new.id, "revoke", None),
    ]


def test_the_own_user_is_skipped(sign_in, sandbox):
    """The person who is signed in is not logged out, by whichever name."""
    grace = sandbox.users[0]
    gc = sign_in(access_token=sandbox.issue_token(grace))
    plan = gct.plan_revocation(gc, [grace.email, grace.id])
    assert list(plan["why"]) == ["yourself", "yourself"]


def test_nothing_that_changes_anything_is_sent(gc, sandbox):
    """Planning reads: GET and the search; no revocation, and the idle timer is left alone."""
    gct.plan_revocation(gc, [user.email for user in sandbox.users] + [user.id for user in sandbox.users])
    sent = {(call.method, call.path) for call in sandbox.calls} - {("POST", "/oauth/token")}
    assert sent == {("GET", "/api/v2/tokens/me"), ("GET", "/api/v2/users"), ("POST", "/api/v2/users/search")}
    assert all(call.query for call in sandbox.calls if call.path == "/api/v2/tokens/me")
    assert sum(call.path == "/api/v2/users/search" for call in sandbox.calls) == 3, (
        "300 addresses in batches of 100"
    )
    assert not sandbox.revocations


def test_a_selection_of_rows_is_a_plan_again(gc, sandbox):
    """Filtering a plan, as one filters any DataFrame, keeps its connection; so does pickling."""
    plan = gct.plan_revocation(gc, [user.id for user in sandbox.users[:20]])
    chosen = plan[plan["state"] == "inactive"]
    assert chosen.users_to_revoke == 2
    assert chosen.connection is gc
    assert pickle.loads(pickle.dumps(chosen)).organization == plan.organization


def test_series_and_frames_keep_their_index(gc, sandbox):
    """The plan of a Series or of a DataFrame's column can be joined to it."""
    emails = pd.Series([user.email for user in sandbox.users[20:23]], index=["a", "b", "c"])
    assert list(gct.plan_revocation(gc, emails).index) == ["a", "b", "c"]
    frame = pd.DataFrame({"name": "x", "mail": emails})
    assert list(gct.plan_revocation(gc, frame)["user"]) == list(emails)
    assert list(gct.plan_revocation(gc, frame, column="mail").index) == ["a", "b", "c"]


def test_a_single_user_may_be_given_as_text(gc, sandbox):
    """An id or address alone is a list of one."""
    assert gct.plan_revocation(gc, sandbox.users[30].email).users_to_revoke == 1


@pytest.mark.parametrize(
    ("encoding", "delimiter", "header"),
    [
        ("utf-8-sig", ";", True),
        ("utf-8", ",", True),
        ("utf-16", "\t", True),
        ("cp1252", ";", True),
        ("utf-8-sig", ",", False),
    ],
)
def test_csv_files_as_people_have_them(gc, sandbox, tmp_path, encoding, delimiter, header):
    """A byte order mark, semicolons, Excel's encodings and a missing header are no obstacle."""
    people = [(user.email, f"Ärger, {user.name[0]}") for user in sandbox.users[30:33]]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in people]
    text = "\r\n".join([*([delimiter.join(["E-Mail", "Name"])] if header else []), *lines, ""])
    path = tmp_path / "leavers.csv"
    path.write_bytes(text.encode(encoding))
    plan = gct.plan_revocation(gc, path)
    assert list(plan["user"]) == [email for email, _ in people]
    assert plan.users_to_revoke == 3
    assert gct.plan_revocation(gc, str(path)).users_to_revoke == 3


def test_a_file_with_ids_and_addresses_asks_which(gc, sandbox, tmp_path):
    """Where several columns hold users, the error lists the columns, and column= chooses."""
    user = sandbox.users[40]
    path = tmp_path / "two.csv"
    path.write_text(f"manager,leaver\n{sandbox.users[41].email},{user.email}\n")
    with pytest.raises(
        ConfigurationError, match=r"several hold ids or e-mail addresses.*'manager', 'leaver'"
    ):
        gct.plan_revocation(gc, path)
    assert list(gct.plan_revocation(gc, path, column="Leaver")["id"]) == [user.id]


def test_a_wrong_column_lists_the_columns(gc, tmp_path):
    """The error names the column that is missing and those that are there; nothing is sent."""
    path = tmp_path / "leavers.csv"
    path.write_text("Name;Mail\nAda;ada@example.org\n")
    with pytest.raises(ConfigurationError, match=r"file 'leavers.csv' has no column 'email'.*'Name', 'Mail'"):
        gct.plan_revocation(gc, path, column="email")
    with pytest.raises(ConfigurationError, match="none holds ids or e-mail addresses"):
        gct.plan_revocation(gc, pd.DataFrame({"a": ["x"], "b": ["y"]}))


def test_excel_files_and_uploads(gc, sandbox, tmp_path):
    """A workbook by path, and what ipywidgets.FileUpload holds."""
    users = sandbox.users[50:53]
    path = tmp_path / "leavers.xlsx"
    pd.DataFrame({"Name": [user.name for user in users], "Mail": [user.email for user in users]}).to_excel(
        path, index=False
    )
    assert list(gct.plan_revocation(gc, path)["id"]) == [user.id for user in users]
    upload = {"name": path.name, "type": "", "size": 1, "content": memoryview(path.read_bytes())}
    assert gct.plan_revocation(gc, (upload,)).users_to_revoke == 3
    assert gct.plan_revocation(gc, [upload, upload]).users_to_revoke == 3


def test_excel_without_openpyxl_says_what_to_install(gc, tmp_path, monkeypatch):
    """The error names the file, the missing package and the extra that brings it."""
    path = tmp_path / "leavers.xlsx"
    pd.DataFrame({"mail": ["a@example.org"]}).to_excel(path, index=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "openpyxl"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        ConfigurationError, match=r"leavers.xlsx.*openpyxl.*pip install 'gctokens-nb\[excel\]'"
    ):
        gct.plan_revocation(gc, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no rows"),
        (b"\xd0\xcf\x11\xe0\x00\x01", "neither text nor an Excel workbook"),
        (b"PK\x05\x06" + bytes(18), "no Excel workbook that can be read"),
        (b'a,b\n"' + b"x" * 200_000, "no CSV file"),
    ],
)
def test_files_that_hold_no_table(gc, tmp_path, content, message):
    """An empty, binary or damaged file is told apart from a list of users."""
    path = tmp_path / "leavers.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        gct.plan_revocation(gc, path)


def test_a_missing_file_and_a_thing_that_is_no_list(gc, tmp_path):
    """Both are refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        gct.plan_revocation(gc, tmp_path / "absent.csv")
    for wrong in (7, b"bytes", {"a": 1}):
        with pytest.raises(ConfigurationError, match="is no list of users"):
            gct.plan_revocation(gc, wrong)


def test_an_empty_list_is_an_empty_plan(gc):
    """Nobody is logged out, and nothing fails."""
    plan = gct.plan_revocation(gc, [])
    assert (len(plan), plan.users_to_revoke) == (0, 0)


def test_a_million_rows(gc, sandbox, tmp_path):
    """A file of 1,000,000 rows is planned; each row is accounted for, and each user asked for once."""
    users = sandbox.users[100:200]
    path = tmp_path / "million.csv"
    path.write_text("mail\n" + "".join(f"{user.email}\n" for user in users) * 10_000)
    before = len(sandbox.calls)
    plan = gct.plan_revocation(gc, path)
    assert len(plan) == 1_000_000
    assert plan["why"].value_counts().to_dict() == {"duplicate": 999_900}
    assert len(sandbox.calls) - before == 2


def test_a_token_that_does_not_name_its_organization(gc, sandbox):
    """Without the organization a journal could be resumed in the wrong one, so there is no plan."""
    sandbox.add_fault(Fault("status", path="tokens/me", status=200, body="{}"))
    with pytest.raises(ConfigurationError, match="does not say which organization"):
        gct.plan_revocation(gc, [sandbox.users[0].id])
