"""Plan: who would be logged out, from whatever people have."""

from __future__ import annotations

import copy
import pickle
import sys
import zipfile

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
        (alan.email.upper(), alan.id, alan.name, "active", "revoke", None, None, None),
        (grace.id.upper(), grace.id, grace.name, "active", "revoke", None, None, None),
        ("nobody@example.org", None, None, None, "skip", "unknown", None, None),
        ("no user", None, None, None, "skip", "neither e-mail nor id", None, None),
        (alan.id, alan.id, alan.name, "active", "skip", "duplicate", None, None),
        ("", None, None, None, "skip", "neither e-mail nor id", None, None),
        ("", None, None, None, "skip", "neither e-mail nor id", None, None),
    ]
    assert list(plan.columns) == ["user", "id", "name", "state", "action", "why", "source", "line"]
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
    """Filtering a plan, as one filters any DataFrame, keeps its connection; pickling keeps the organization."""
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


@pytest.mark.long
def test_many_rows(gc, sandbox, tmp_path):
    """A file of 200,000 rows is planned; each row is accounted for, and each user asked for once."""
    users = sandbox.users[100:200]
    path = tmp_path / "many.csv"
    path.write_text("mail\n" + "".join(f"{user.email}\n" for user in users) * 2_000)
    before = len(sandbox.calls)
    plan = gct.plan_revocation(gc, path)
    assert len(plan) == 200_000
    assert plan["why"].value_counts().to_dict() == {"duplicate": 199_900}
    assert len(sandbox.calls) - before == 2


def test_a_token_that_does_not_name_its_organization(gc, sandbox):
    """Without the organization a journal could be resumed in the wrong one, so there is no plan."""
    sandbox.add_fault(Fault("status", path="tokens/me", status=200, body="{}"))
    with pytest.raises(ConfigurationError, match="does not say which organization"):
        gct.plan_revocation(gc, [sandbox.users[0].id])


# Which column: the wrong one logs out the wrong people


def test_a_column_called_user_without_users_is_not_passed_over(gc, sandbox, tmp_path):
    """Logins under `user` and the managers' addresses beside them: the managers are not planned."""
    manager = sandbox.users[40].email
    path = tmp_path / "leavers.csv"
    path.write_text(f"User Name,name,manager\njdoe,Jane,{manager}\n")
    with pytest.raises(
        ConfigurationError, match=r"not clear.*'User Name'.*'manager': pass one as column=, or several"
    ):
        gct.plan_revocation(gc, path)
    logins = pd.DataFrame({"user": ["jdoe"], "id": ["1001"], "manager": [manager]})
    with pytest.raises(ConfigurationError, match=r"not clear.*in 'user', 'id', but in 'manager'"):
        gct.plan_revocation(gc, logins)
    assert list(gct.plan_revocation(gc, logins, column="manager")["user"]) == [manager]


def test_all_rows_are_looked_at(gc, sandbox):
    """Addresses that begin below row 50 count too, under a known name and under others."""
    leaver, manager = sandbox.users[40].email, sandbox.users[41].email
    late = [None] * 60 + [leaver]
    plan = gct.plan_revocation(gc, pd.DataFrame({"Email": late, "manager": manager}))
    assert (plan["user"].iloc[-1], plan.users_to_revoke, plan.column) == (leaver, 1, "Email")
    with pytest.raises(ConfigurationError, match="several hold ids or e-mail addresses"):
        gct.plan_revocation(gc, pd.DataFrame({"leaver": late, "manager": manager}))


def test_the_plan_says_which_column_it_was_read_from(gc, sandbox, tmp_path):
    """A person sees it before anybody is logged out; a plain list has no column."""
    user = sandbox.users[40]
    path = tmp_path / "leavers.csv"
    path.write_text(f"Name,<b>Mail</b>\nAda,{user.email}\n")
    plan = gct.plan_revocation(gc, path)
    assert plan[plan["state"] == "active"].copy().column == "<b>Mail</b>"
    assert "Read from the column '<b>Mail</b>'." in repr(plan)
    assert "Read from the column &#x27;&lt;b&gt;Mail&lt;/b&gt;&#x27;." in plan._repr_html_()
    upload = {"name": "a.csv", "content": path.read_bytes()}
    assert gct.plan_revocation(gc, [upload, upload]).column == "<b>Mail</b>"
    series = pd.Series([user.email], name="who")
    assert [gct.plan_revocation(gc, given).column for given in (series, series.rename(None), [user.id])] == [
        "who",
        None,
        None,
    ]
    assert "column" not in gct.plan_revocation(gc, [user.id])._repr_html_()
    with pd.option_context("display.notebook_repr_html", False):
        assert plan._repr_html_() is None


def test_a_column_that_is_there_twice(gc, sandbox, tmp_path):
    """Columns are told apart by their place; asking for a name that two of them have is an error."""
    first, second = sandbox.users[40].email, sandbox.users[41].email
    twice = pd.DataFrame([[first, second]], columns=["email", "email"])
    with pytest.raises(ConfigurationError, match="several hold"):
        gct.plan_revocation(gc, twice)
    with pytest.raises(ConfigurationError, match="has the column 'email' 2 times"):
        gct.plan_revocation(gc, twice, column="email")
    path = tmp_path / "leavers.csv"
    path.write_text(f"x,x\nJane,{first}\nBob,{second}\n")
    assert list(gct.plan_revocation(gc, path)["user"]) == [first, second]
    either = pd.DataFrame([[first, second]], columns=["Email", "email"])
    assert list(gct.plan_revocation(gc, either, column="email")["user"]) == [second]


def test_lines_above_the_header(gc, sandbox, tmp_path):
    """A column without a name is not taken by guess, but may be asked for by its place."""
    users = sandbox.users[40:42]
    path = tmp_path / "leavers.csv"
    table = "".join(f"{number},Jane,{user.email}\n" for number, user in enumerate(users))
    path.write_text(f"Leavers of March,,\nNo,Name,Email\n{table}")
    with pytest.raises(ConfigurationError, match=r"no name.*'Leavers of March', 'column 2', 'column 3'"):
        gct.plan_revocation(gc, path)
    plan = gct.plan_revocation(gc, path, column="Column 3")
    assert list(plan["user"]) == ["Email", *(user.email for user in users)]
    path.write_text(f"Leavers of March\nNo,Name,Email\n{table}")
    with pytest.raises(ConfigurationError, match="line 2 has more cells than the first line"):
        gct.plan_revocation(gc, path)


def test_a_row_that_is_shifted(gc, sandbox, tmp_path):
    """An unquoted comma moves the manager's address under `email`; cells after the last column are a hint of it."""
    leaver, manager = sandbox.users[40].email, sandbox.users[41].email
    path = tmp_path / "leavers.csv"
    path.write_text(f"name,manager,email\nAda,{manager},{leaver}\nDoe, J,{manager},{leaver}\n")
    with pytest.raises(ConfigurationError, match="line 3 has more cells than the first line"):
        gct.plan_revocation(gc, path)
    path.write_text(f"name,email\nAda,{leaver},\n")
    assert list(gct.plan_revocation(gc, path)["user"]) == [leaver]


def test_a_file_without_a_header(gc, sandbox, tmp_path):
    """Its columns are called by their place, in the error and as column=; no user is taken for a header."""
    users = sandbox.users[40:43]
    path = tmp_path / "leavers.csv"
    path.write_text("".join(f"{user.id},{user.email}\n" for user in users))
    with pytest.raises(ConfigurationError, match="Its columns are 'column 1', 'column 2'"):
        gct.plan_revocation(gc, path)
    plan = gct.plan_revocation(gc, path, column="column 1")
    assert (list(plan["user"]), plan.column) == ([user.id for user in users], "column 1")
    with pytest.raises(ConfigurationError, match=f"has no column '{users[0].id}'"):
        gct.plan_revocation(gc, path, column=users[0].id)


def test_one_column_whose_first_line_is_no_user(gc, sandbox, tmp_path):
    """It is a row, without a user, and not a header; unless it is a known name, or the one asked for."""
    email = sandbox.users[40].email
    path = tmp_path / "leavers.csv"
    path.write_text(f"jane.doe\n{email}\n")
    assert list(gct.plan_revocation(gc, path)["user"]) == ["jane.doe", email]
    path.write_text(f"jane.doe,\n{email},\n")
    assert list(gct.plan_revocation(gc, path)["user"]) == ["jane.doe", email]
    for header, column in (("E-Mail Address", None), ("User IDs", None), ("Leaver", "leaver")):
        path.write_text(f"{header}\n{email}\n")
        plan = gct.plan_revocation(gc, path, column=column)
        assert (list(plan["user"]), plan.column) == ([email], header)


def test_a_user_whom_pandas_took_for_a_header(gc, sandbox, tmp_path):
    """A list without a header that was read with one has lost its first user: it is refused."""
    path = tmp_path / "leavers.csv"
    path.write_text("".join(f"{user.name},{user.email}\n" for user in sandbox.users[40:43]))
    frame = pd.read_csv(path)
    for given in (frame, frame.iloc[:, 1]):
        with pytest.raises(ConfigurationError, match=r"taken for its header.*header=None"):
            gct.plan_revocation(gc, given)
    assert len(gct.plan_revocation(gc, pd.read_csv(path, header=None))) == 3


def test_frames_whose_columns_are_numbers(gc, sandbox):
    """pandas counts the columns of a file without a header; column=1 means that number."""
    first, second = sandbox.users[40].email, sandbox.users[41].email
    frame = pd.DataFrame([[first, second]])
    assert list(gct.plan_revocation(gc, frame, column=1)["user"]) == [second]
    with pytest.raises(ConfigurationError, match=r"has no column 7.*'0', '1'"):
        gct.plan_revocation(gc, frame, column=7)


# Lost rows


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('"Rob,{email},x', "unexpected end of data, in the row that begins in line 4"),
        ('Rob,"{email},x', "unexpected end of data, in the row that begins in line 4"),
        ('"Rob" Roy,{email},x', "expected after.*in the row that begins in line 4"),
        ('"Rob,{email},x\nSam,sam@example.org,x"', "begins in line 4 goes on over several lines"),
        ('Rob,{email},"x\nSam,sam@example.org,y"', "begins in line 4 goes on over several lines"),
        ('Rob,"rob\nsam",x', "begins in line 4 goes on over several lines"),
    ],
)
def test_a_quotation_mark_too_many_loses_nobody(gc, sandbox, tmp_path, row, message):
    """Users who would disappear in a quoted cell are an error that names the line."""
    lines = ["Name,Email,Note", *(f"N,{user.email}," for user in sandbox.users[40:90])]
    lines[3] = row.format(email=sandbox.users[42].email)
    path = tmp_path / "leavers.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=message):
        gct.plan_revocation(gc, path)


def test_a_note_of_several_lines(gc, sandbox, tmp_path):
    """A quoted cell in another column, or in the header, may go on in the next line."""
    users = sandbox.users[40:43]
    path = tmp_path / "leavers.csv"
    path.write_text(
        'Email,"Note\n(free)"\n' + "".join(f'{user.email},"left,\r\nas planned"\n' for user in users)
    )
    assert list(gct.plan_revocation(gc, path)["user"]) == [user.email for user in users]


def test_the_delimiter_is_looked_for_outside_quotes(gc, sandbox, tmp_path):
    """Commas in quoted names do not make a file of semicolons one of commas."""
    users = sandbox.users[40:43]
    path = tmp_path / "leavers.csv"
    path.write_text("Name;Email\n" + "".join(f'"Doe, ""J"", MD";{user.email}\n' for user in users))
    plan = gct.plan_revocation(gc, path)
    assert (list(plan["id"]), plan.column) == ([user.id for user in users], "Email")


def test_a_workbook_with_several_sheets_asks_which(gc, sandbox, tmp_path):
    """Nobody on the second sheet is forgotten in silence; empty sheets do not count."""
    emails = pd.DataFrame({"email": [user.email for user in sandbox.users[40:47]]})
    path = tmp_path / "leavers.xlsx"
    with pd.ExcelWriter(path) as book:
        emails.head(2).to_excel(book, sheet_name="March", index=False)
        emails.to_excel(book, sheet_name="April", index=False)
    with pytest.raises(
        ConfigurationError, match=r"several sheets.*'March' \(3 rows\), 'April' \(8 rows\).*sheet_name="
    ):
        gct.plan_revocation(gc, path)
    with pd.ExcelWriter(path) as book:
        pd.DataFrame().to_excel(book, sheet_name="March", index=False)
        emails.to_excel(book, sheet_name="April", index=False)
    assert len(gct.plan_revocation(gc, path)) == 7


def test_uploads_and_addresses_do_not_mix(gc, sandbox):
    """An address beside an upload is refused, and not dropped."""
    upload = {"name": "a.csv", "content": f"email\n{sandbox.users[40].email}\n".encode()}
    with pytest.raises(ConfigurationError, match=r"uploads \(1\) and other inputs \(1\)"):
        gct.plan_revocation(gc, [upload, sandbox.users[41].email])


# What cannot be read


def test_a_workbook_with_broken_xml(gc, tmp_path):
    """A damaged workbook is told apart, whatever its reader stumbles over."""
    good, bad = tmp_path / "good.xlsx", tmp_path / "bad.xlsx"
    pd.DataFrame({"email": ["a@example.org"]}).to_excel(good, index=False)
    for part in ("xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml"):
        with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
            for name in source.namelist():
                target.writestr(name, source.read(name)[: -20 if name == part else None])
        with pytest.raises(ConfigurationError, match=r"'bad.xlsx' is no Excel workbook that can be read"):
            gct.plan_revocation(gc, bad)


@pytest.mark.parametrize("path", ["no\0path.csv", "\ud800.csv", "x" * 5000])
def test_paths_that_cannot_be(gc, path):
    """They are told as a file that cannot be read."""
    with pytest.raises(ConfigurationError, match="cannot be read: "):
        gct.plan_revocation(gc, path)


def test_text_that_cannot_be_sent(gc, sandbox):
    """Half a character, as Python keeps of bytes it cannot decode, is told; so is an array of two dimensions."""
    with pytest.raises(ConfigurationError, match=r"Input 2, .*could not be decoded"):
        gct.plan_revocation(gc, [sandbox.users[40].id, "\udcff@example.org"])
    with pytest.raises(ConfigurationError, match="A ndarray is no list of users"):
        gct.plan_revocation(gc, pd.DataFrame([["a@example.org", "b@example.org"]]).to_numpy())


# Secrets


def test_a_plan_on_disk_has_no_secret(gc, sandbox, tmp_path):
    """A pickled plan has neither the connection's secret nor its token; read back, it is no plan to carry out."""
    plan = gct.plan_revocation(gc, pd.Series([sandbox.users[40].email], name="email"))
    path = tmp_path / "plan.pickle"
    plan.to_pickle(path)
    for secret in (sandbox.client("admin").client_secret, gc.access_token.value):
        assert getattr(secret, "reveal", lambda text=secret: text)().encode() not in path.read_bytes()
    back = pd.read_pickle(path)
    assert (back.organization, back.column, rows(back)) == (plan.organization, "email", rows(plan))
    assert plan.connection is copy.deepcopy(plan).connection is gc
    with pytest.raises(ConfigurationError, match="lost its connection; nothing was sent"):
        gct.revoke(back)
