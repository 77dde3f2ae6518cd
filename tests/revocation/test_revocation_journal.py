"""Journal: written before and after each attempt, locked, and refused where it cannot be trusted."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import gctokens_nb as gct
from gctokens_nb.errors import JournalError, RevocationStoppedError
from gctokens_nb.sandbox import Fault, Sandbox

DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}


def read(path, query):
    """What any SQLite tool sees in the file."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


@pytest.fixture
def journal(plan, revoke, tmp_path):
    """The closed journal of a finished run."""
    revoke(plan)
    return tmp_path / "run.sqlite"


def test_an_attempt_is_on_the_disk_before_it_is_sent(plan, sandbox, tmp_path):
    """While the first request is held by the server, a copy of the files already holds its attempt, without an answer."""
    held = sandbox.add_fault(Fault("hold", **DELETE))
    path, copy = tmp_path / "run.sqlite", tmp_path / "copy.sqlite"
    thread = threading.Thread(target=gct.revoke, args=(plan,), kwargs={"journal": path, "confirm": 100})
    thread.start()
    held.wait_until_held()
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    shutil.copy(path, copy)
    held.release()
    thread.join()
    asked = next(call.path.rpartition("/")[2] for call in sandbox.calls if call.method == "DELETE")
    query = "SELECT outcome, sent_at FROM attempts JOIN plan USING (row) WHERE id = '" + asked + "'"
    assert read(copy, query) == [(None, None)]
    assert read(path, query)[0][0] == "revoked"


def test_it_opens_everywhere_and_says_all(journal, plan, sandbox):
    """Any SQLite tool can read who, when, what came back, and who ran it; one file, in WAL mode, for its owner only."""
    assert [path.name for path in journal.parent.iterdir()] == ["run.sqlite"]
    assert read(journal, "PRAGMA journal_mode") == [("wal",)]
    assert read(journal, "SELECT id FROM plan ORDER BY row") == [(user_id,) for user_id in plan["id"]]
    rows = read(
        journal,
        "SELECT outcome, status, written_at <= sent_at, sent_at <= answered_at, length(correlation_id) FROM attempts",
    )
    assert rows == [("revoked", 204, 1, 1, 36)] * 100
    facts = dict(read(journal, "SELECT * FROM run"))
    assert facts["organization_id"] == sandbox.organization.id
    assert facts["confirmed"] == "100"
    assert read(journal, "SELECT client_id, package_version FROM sessions") == [
        (sandbox.client("admin").client_id, gct.__version__)
    ]
    if os.name == "posix":
        assert stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_every_transaction_waits_for_the_disk(plan, revoke, monkeypatch):
    """The connection that writes works in WAL mode with synchronous=FULL and holds the file exclusively."""
    seen = []
    connect = sqlite3.connect

    class Watched(sqlite3.Connection):
        def close(self):
            seen.append(
                [
                    self.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("journal_mode", "synchronous", "locking_mode")
                ]
            )
            super().close()

    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **options: connect(*args, factory=Watched, **options)
    )
    revoke(plan)
    assert seen[0] == ["wal", 2, "exclusive"]


def test_no_secret_and_no_token_enters_it(journal, gc, sandbox):
    """Neither the client's secret nor the access token is anywhere in the file."""
    content = journal.read_bytes()
    assert gc.access_token.value.encode() not in content
    assert sandbox.client("admin").client_secret.encode() not in content


def test_a_journal_is_never_overwritten(journal, plan):
    """A second run into the same file is refused before anything is sent, and the file stays."""
    before = journal.read_bytes()
    with pytest.raises(JournalError, match=r"exists already. Nothing was sent. .*resume\(\)"):
        gct.revoke(plan, journal=journal, confirm=100)
    assert journal.read_bytes() == before


def test_opening_it_twice_at_once_is_refused(plan, gc, sandbox, tmp_path):
    """While a run has it, neither this process nor another can open it; afterwards they can."""
    held = sandbox.add_fault(Fault("hold", **DELETE))
    path = tmp_path / "run.sqlite"
    thread = threading.Thread(target=gct.revoke, args=(plan,), kwargs={"journal": path, "confirm": 100})
    thread.start()
    held.wait_until_held()
    with pytest.raises(JournalError, match="in use by another run"):
        gct.resume(path, gc)
    code = (
        "import sys, gctokens_nb as gct\n"
        "from gctokens_nb.revocation import Run\n"
        "try: Run.of(sys.argv[1])\n"
        "except gct.errors.JournalError as error: print(error)\n"
    )
    other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "in use by another run" in other.stdout
    held.release()
    thread.join()
    assert gct.resume(path, gc).state == "finished"


def test_the_run_can_be_looked_at_while_it_lasts(plan, revoke, sandbox):
    """A running run's rows can be read by who holds it."""
    sandbox.add_fault(Fault("slow", seconds=0.05, **DELETE))
    seen = []
    revoke(
        plan, on_progress=lambda run: seen.append((run.state, len(run.to_frame()), run.summary()["state"]))
    )
    assert seen[0] == ("running", 100, "running")


def test_another_organization_is_refused(journal, sandbox):
    """A journal is resumed in its own organization only; the error names both, and nothing is sent."""
    with Sandbox(organization="Other") as other, gct.connect_sandbox(sandbox=other) as elsewhere:
        with pytest.raises(
            JournalError, match=r"is of organization Cumulus Airlines .*is to Other .*Nothing was sent"
        ):
            gct.resume(journal, elsewhere)
        assert not other.revocations
    assert gct.resume(journal, gct.connect_sandbox(sandbox=sandbox)).state == "finished", (
        "the lock was let go"
    )


def test_another_version_is_refused(journal, gc):
    """The error names both versions, and what to do."""
    database = sqlite3.connect(journal)
    database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(JournalError, match=r"is of version 7; .* reads version 2.*plan the list again"):
        gct.resume(journal, gc)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_journal_is_refused(journal, gc, kept):
    """A file cut short is never taken for the whole."""
    journal.write_bytes(journal.read_bytes()[: int(journal.stat().st_size * kept)])
    with pytest.raises(JournalError, match="damaged or cut short"):
        gct.resume(journal, gc)


def test_what_is_no_journal_is_refused(gc, tmp_path):
    """A missing file, an empty one, a text and somebody else's database are told apart; none is created or changed."""
    with pytest.raises(JournalError, match="There is no journal"):
        gct.resume(tmp_path / "absent.sqlite", gc)
    empty, text, other = tmp_path / "empty.sqlite", tmp_path / "notes.txt", tmp_path / "other.sqlite"
    empty.touch()
    text.write_text("not a database, but long enough to be looked at as if it were one" * 20)
    sqlite3.connect(other).execute("CREATE TABLE plan (row)").connection.close()
    for path, message in ((empty, "no journal"), (text, "damaged"), (other, "no journal")):
        before = path.read_bytes()
        with pytest.raises(JournalError, match=message):
            gct.resume(path, gc)
        assert path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.sqlite", "notes.txt", "other.sqlite"]


def test_a_folder_that_cannot_be_written_stops_before_the_first_call(plan, sandbox, tmp_path):
    """A missing folder and one where nothing can be made: refused, and nothing is sent."""
    calls = len(sandbox.calls)
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    read_only = tmp_path / "read-only"
    read_only.mkdir()
    read_only.chmod(0o500)
    paths = [tmp_path / "absent" / "run.sqlite", not_a_folder / "run.sqlite"]
    if os.name == "posix":
        # Nobody, not even an administrator, makes files among the processes.
        paths.append("/proc/run.sqlite" if os.geteuid() == 0 else read_only / "run.sqlite")
    for path in paths:
        with pytest.raises(JournalError, match=r"cannot be created: .* Nothing was sent"):
            gct.revoke(plan, journal=path, confirm=100)
    assert len(sandbox.calls) == calls


def test_a_disk_without_room_for_the_run_stops_before_the_first_call(plan, sandbox, tmp_path, monkeypatch):
    """The room for all attempts is looked for beforehand, so that a run does not end half-way for lack of it."""
    calls = len(sandbox.calls)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(JournalError, match=r"The disk has 0.0 MB left.* of 100 users .*Nothing was sent"):
        gct.revoke(plan, journal=tmp_path / "run.sqlite", confirm=100)
    assert len(sandbox.calls) == calls
    assert not list(tmp_path.iterdir())


READ_ONLY = """
import os, sys
from gctokens_nb.errors import JournalError
from gctokens_nb.revocation import Run
if os.geteuid() == 0:
    os.setuid(65534)  # an administrator may write everywhere
try:
    Run.of(sys.argv[1])
except JournalError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="folders have other permissions here")
@pytest.mark.parametrize("folder", [0o777, 0o555])
def test_a_read_only_journal_is_called_that(journal, folder):
    """Not a full disk: the error says that the file or its folder is read-only."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "run.sqlite")
        shutil.copy(journal, copy)
        copy.chmod(0o444)
        Path(place).chmod(folder)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, copy],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        Path(place).chmod(0o700)
    assert "read-only" in done.stdout
    assert "disk" not in done.stdout


def test_a_text_that_cannot_be_written_is_refused(plan, tmp_path, sandbox):
    """Half a surrogate pair, or a text without end: refused before anything is sent, and no file is left."""
    for text in ("\ud800", "x" * 50_000):
        changed = plan.assign(name=pd.Series([text] * 100, dtype=object))
        with pytest.raises(JournalError, match=r"No journal can be made: .*Nothing was sent"):
            gct.revoke(changed, journal=tmp_path / "other.sqlite", confirm=100)
    assert not list(tmp_path.iterdir())
    assert not sandbox.revocations


FULL_DISK = """
import json, resource, signal, sys
import gctokens_nb as gct
url, client_id, client_secret, journal, limit = sys.argv[1:]
gc = gct.connect(url, client_id=client_id, client_secret=client_secret)
plan = gct.plan_revocation(gc, [line.strip() for line in sys.stdin])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    gct.revoke(plan, journal=journal, confirm=plan.users_to_revoke, rate=float("inf"))
except gct.GCTokensError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.name != "posix", reason="the size of files cannot be limited here")
@pytest.mark.parametrize(("limit", "sent"), [(4096, False), (60000, True)])
def test_a_full_disk(sandbox, gc, plan, tmp_path, limit, sent):
    """A disk that is full from the start stops before the first call; one that fills up stops the run, and it is resumed."""
    sandbox.add_fault(Fault("slow", seconds=0.05, **DELETE))  # so that there are many transactions
    known = sandbox.client("admin")
    arguments = [
        sandbox.environment,
        known.client_id,
        known.client_secret,
        str(tmp_path / "run.sqlite"),
        str(limit),
    ]
    script = tmp_path / "full_disk.py"
    script.write_text(FULL_DISK)
    done = subprocess.run(
        [sys.executable, script, *arguments],
        input="\n".join(plan["id"]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "the disk is full or failing" in done.stdout
    if sent:
        assert done.stdout.startswith("RevocationStoppedError")
        assert 0 < len(sandbox.revocations) < 100
        run = gct.resume(tmp_path / "run.sqlite", gc)
        assert (run.state, run.counts["revoked"]) == ("finished", 100)
    else:
        assert done.stdout.startswith("JournalError")
        assert not sandbox.revocations
        assert not (tmp_path / "run.sqlite").exists()


def test_errors_of_a_run_travel_between_processes():
    """Executors pickle what went wrong."""
    import pickle

    error = RevocationStoppedError("What.", "Next.", journal="a.sqlite", left=3)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.journal, again.left) == ("What. Next.", "a.sqlite", 3)
