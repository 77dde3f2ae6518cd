"""A journal is input: what somebody changed in it is refused or said, never carried out and never shown as the truth."""

from __future__ import annotations

import contextlib
import random
import sqlite3

import pytest

import gctokens_nb as gct
from gctokens_nb.errors import GCTokensError, JournalError, RevocationStoppedError
from gctokens_nb.revocation import Run
from gctokens_nb.revocation.journal_check import digest_of
from gctokens_nb.sandbox import Fault

DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}
HOSTILE = [
    "../oauth/clients/{client}",
    "me",
    "me?x={id}",
    "{id}/../../oauth/clients/{client}",
    "%2e%2e/oauth/clients/{client}",
    "{id}\r\nX: y",
    "{id}#",
    "{ID}",
    "",
    "{id}\u2028",
]


def edit(path, *statements):
    """Change the file with any SQLite tool; a statement may come with its values."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for one in statements:
            statement, values = (one, ()) if isinstance(one, str) else one
            database.execute(statement, values)


@pytest.fixture
def stopped(plan, revoke, sandbox, tmp_path):
    """The journal of a run of which 20 users are revoked and 80 are left, in a sandbox that is well again."""
    sandbox.add_fault(Fault("status", status=403, after=20, **DELETE))
    with pytest.raises(RevocationStoppedError):
        revoke(plan)
    sandbox.clear_faults()
    return tmp_path / "run.sqlite"


@pytest.fixture
def nothing_more_is_sent(sandbox):
    """Hold that from here on no request but reads reaches the server."""
    before = len([call for call in sandbox.calls if call.method == "DELETE"])
    yield
    assert len([call for call in sandbox.calls if call.method == "DELETE"]) == before


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_hostile_id_is_sent(stopped, gc, sandbox, nothing_more_is_sent, hostile):
    """Whatever is written for the id of a user, it is refused before anything is sent, even with a digest that fits."""
    user_id = sandbox.users[150].id
    put = hostile.format(client=sandbox.client("admin").client_id, id=user_id, ID=user_id.upper())
    edit(stopped, ("UPDATE plan SET id = ? WHERE row = 50", (put,)))
    with pytest.raises(JournalError, match="damaged"):
        gct.resume(stopped, gc)
    with contextlib.closing(sqlite3.connect(stopped)) as database:
        row = database.execute("SELECT * FROM plan WHERE row = 50").fetchone()
    edit(stopped, ("UPDATE plan SET digest = ? WHERE row = 50", (digest_of("plan", row[:-1]),)))
    with pytest.raises(JournalError, match="damaged"):
        gct.resume(stopped, gc)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE plan SET id = (SELECT id FROM plan WHERE row = 3) WHERE row = 50",
            r"row 50 \('.*'\) was changed",
        ),
        ("UPDATE plan SET name = 'Somebody Else' WHERE row = 50", r"row 50 \('.*'\) was changed"),
        (
            "UPDATE plan SET action = 'skip' WHERE row = 50",
            r"row 50 .* changed; 99 users .* 100 were confirmed",
        ),
        ("UPDATE plan SET name = row", r"row 4 .* changed; 95 more rows were changed"),
        (
            "DELETE FROM plan WHERE row >= 98",
            r"2 of the 100 rows were removed; 98 users .* 100 were confirmed",
        ),
        (
            "INSERT INTO plan SELECT 100, user, id, name, state, action, why, source, line, kept, digest FROM plan WHERE row = 99",
            r"1 row was added to the 100; 101 users .* 100 were confirmed",
        ),
        (
            "INSERT INTO plan SELECT 500, user, id, name, state, 'skip', why, source, line, kept, digest FROM plan WHERE row = 9",
            r"row 500 \(.*\) was changed; 1 row was added to the 100",
        ),
        ("UPDATE run SET value = '99' WHERE name = 'confirmed'", r"100 users are to be .* 99 were confirmed"),
        ("UPDATE run SET value = 'x' WHERE name = 'organization_name'", r"the organization, .* were changed"),
        ("UPDATE run SET value = '[\"x\"]' WHERE name = 'kept'", r"the organization"),
    ],
)
def test_a_plan_that_was_changed_is_not_carried_out(
    stopped, gc, tmp_path, nothing_more_is_sent, change, said
):
    """Resuming says what differs; a table refuses; the page, the summary and the run itself say it loudly."""
    edit(stopped, change)
    with pytest.raises(JournalError, match=rf"not the one that was confirmed: .*{said}.*Nothing was sent"):
        gct.resume(stopped, gc)
    run = Run.of(stopped)
    assert run.differences
    assert "not the plan that was confirmed" in repr(run)
    assert "not the plan that was confirmed" in run._repr_html_()
    assert run.summary()["differences"] == list(run.differences)
    with pytest.raises(JournalError, match="not the one that was confirmed"):
        run.to_frame()
    with pytest.raises(JournalError, match="not the one that was confirmed"):
        run.check()
    with pytest.raises(JournalError, match="not the one that was confirmed"):
        run.report(tmp_path / "evidence.csv")
    run.report(tmp_path / "evidence.html")
    page = (tmp_path / "evidence.html").read_text(encoding="utf-8")
    assert "This is not the plan that was confirmed." in page
    assert "still that one" not in page


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE attempts SET outcome = '<script>alert(1)</script>'",
        "UPDATE attempts SET status = NULL",
        "UPDATE attempts SET status = 500 WHERE outcome = 'revoked'",
        "UPDATE attempts SET answered_at = 'yesterday'",
        "UPDATE attempts SET correlation_id = 'other' WHERE row = 3",
        "UPDATE attempts SET row = 10000 WHERE row = 3",
        "UPDATE attempts SET attempt = 7 WHERE row = 3",
        "UPDATE attempts SET session = 12",
        "UPDATE attempts SET outcome = x'ff' WHERE row = 3",
        "UPDATE attempts SET reason = CAST(x'ff' AS TEXT) WHERE row = 3",
        "UPDATE attempts SET reason = CAST(zeroblob(3000000) AS TEXT) WHERE row = 3",
        "UPDATE sessions SET client_id = 'somebody else'",
        "UPDATE sessions SET seconds = -1",
        "DELETE FROM sessions",
        "UPDATE plan SET user = x'00' WHERE row = 3",
        "UPDATE plan SET action = 'delete' WHERE row = 3",
        "UPDATE plan SET row = -1 WHERE row = 0",
        "DELETE FROM run WHERE name = 'region'",
        "INSERT INTO run VALUES ('more', '1')",
        "UPDATE run SET value = 'many' WHERE name = 'confirmed'",
        "UPDATE run SET value = '[1' WHERE name = 'sources'",
        f'UPDATE run SET value = \'[{{"file": "", "sha256": "", "x": {"[" * 200_000}\' WHERE name = \'sources\'',
        "DROP VIEW outcomes",
        "CREATE TRIGGER more AFTER INSERT ON attempts BEGIN UPDATE plan SET id = 'me'; END",
        "CREATE TABLE more (x)",
        "ALTER TABLE plan ADD COLUMN more",
    ],
)
def test_what_no_run_writes_is_refused(stopped, gc, nothing_more_is_sent, change):
    """Outcomes, times, counts, texts, foreign rows, tables and triggers of somebody else: all refused with one error."""
    edit(stopped, change)
    for use in (Run.of, lambda path: gct.resume(path, gc)):
        with pytest.raises(JournalError, match="is damaged"):
            use(stopped)


def test_a_view_that_lies_is_refused(stopped, gc, nothing_more_is_sent):
    """The outcomes are told by a view, which must be ours."""
    edit(
        stopped,
        "DROP VIEW outcomes",
        "CREATE VIEW outcomes AS SELECT row, user, id, name, state, why, source, line, kept, 'revoked' AS outcome, "
        "204 AS status, NULL AS correlation_id, NULL AS reason, 1 AS attempts, NULL AS first_attempt_at, "
        "NULL AS answered_at, 1 AS session FROM plan",
    )
    with pytest.raises(JournalError, match="not those that this package makes"):
        Run.of(stopped)


def test_another_region_is_refused(stopped, gc, sign_in, nothing_more_is_sent):
    """The same organization at another address is another one."""
    elsewhere = gct.connect(
        gc.region.api_url.replace("127.0.0.1", "localhost"),
        access_token=gc.access_token.value,
    )
    with (
        elsewhere,
        pytest.raises(JournalError, match=r"is of the region .*127.0.0.1.*localhost.*Nothing was sent"),
    ):
        gct.resume(stopped, elsewhere)


def damage(path, rng):
    """One of the ways in which files go wrong, or are made to."""
    content = bytearray(path.read_bytes())
    kind = rng.randrange(5)
    if kind == 0:
        for _ in range(rng.choice([1, 1, 3, 30])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        at = rng.randrange(len(content))
        content[at : at + rng.randrange(1, 500)] = rng.randbytes(rng.randrange(1, 500))
    elif kind == 2:
        del content[rng.randrange(len(content)) :]
    elif kind == 3:
        one, other = (rng.randrange(len(content) // 4096) * 4096 for _ in range(2))
        content[one : one + 4096] = content[other : other + 4096]
    else:
        table, columns = rng.choice(
            [
                (
                    "plan",
                    [
                        "user",
                        "id",
                        "name",
                        "state",
                        "action",
                        "why",
                        "source",
                        "line",
                        "kept",
                        "digest",
                        "row",
                    ],
                ),
                (
                    "attempts",
                    ["sent_at", "answered_at", "outcome", "status", "correlation_id", "reason", "digest"],
                ),
                (
                    "sessions",
                    ["began_at", "client_id", "package_version", "skipped_ok", "last_at", "seconds"],
                ),
                ("run", ["value", "name"]),
            ]
        )
        value = rng.choice(
            [None, 0, -1, 2**62, 1e300, "", "x", "\ud7ff\u2028", "9" * 5000, b"\xff\xfe", "2026-02-31"]
        )
        with contextlib.suppress(sqlite3.Error):
            edit(path, (f"UPDATE {table} SET {rng.choice(columns)} = ? WHERE rowid % 7 = 3", (value,)))
            return
        with contextlib.suppress(sqlite3.Error):
            edit(path, (f"UPDATE {table} SET {rng.choice(columns)} = ?", (value,)))
        return
    path.write_bytes(content)


def test_150_damaged_journals(stopped, gc, sandbox, tmp_path):
    """Each gives a typed error or the true result, whether it is looked at or resumed."""
    frame = Run.of(stopped).to_frame()
    outcomes = list(frame["outcome"])
    refused = 0
    for seed in range(150):
        copy = tmp_path / f"{seed}.sqlite"
        copy.write_bytes(stopped.read_bytes())
        damage(copy, random.Random(seed))
        try:
            run = Run.of(copy)
            run.report(tmp_path / f"{seed}.html")
            assert "html" in run._repr_html_() or run.summary()["inputs"]
            found = run.to_frame()
        except GCTokensError:
            refused += 1
            with pytest.raises(GCTokensError):
                gct.resume(copy, gc)
            continue
        assert list(found["outcome"]) == outcomes
        assert found.equals(frame)
    assert refused > 75
    assert len(sandbox.revocations) == 20


def test_a_page_that_stands_in_anothers_place(plan, revoke, tmp_path):
    """A page of attempts written twice leaves their number and digests right, and still is found."""
    revoke(plan)
    journal = tmp_path / "run.sqlite"
    content = journal.read_bytes()
    pages = [content[at : at + 4096] for at in range(0, len(content), 4096)]
    # A leaf of an index, which in SQLite a table without row ids is: here, the table attempts.
    leaves = [at for at, page in enumerate(pages) if page[0] == 0x0A]
    pairs = [
        (one, other)
        for one in leaves
        for other in leaves
        if one != other and pages[one][3:5] == pages[other][3:5]  # the number of rows
    ]
    assert pairs
    for one, other in pairs:
        copy = tmp_path / f"{one}-{other}.sqlite"
        copy.write_bytes(b"".join([*pages[:other], pages[one], *pages[other + 1 :]]))
        with pytest.raises(JournalError, match="damaged"):
            Run.of(copy)
