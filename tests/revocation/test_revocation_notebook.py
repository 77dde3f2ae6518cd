"""The off-boarding notebook, run unattended by papermill on a list of one's own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import gctokens_nb as gct

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_offboarding.ipynb"


def commands():
    """The words of each command that the notebook's prose gives, without the program."""
    prose = nbformat.read(NOTEBOOK, as_version=4).cells[0].source
    lines = re.findall(r"^papermill .*$", prose, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def papermill(sandbox, tmp_path):
    """`papermill("-p", "confirm", "57")`: the notebook with the list `leavers.csv`, credentials from the environment.

    What is run is the notebook's own first command, and what is given is added to it.
    """
    known = sandbox.client("admin")
    environment = {
        **os.environ,
        "GENESYSCLOUD_REGION": sandbox.environment,
        "GENESYSCLOUD_OAUTHCLIENT_ID": known.client_id,
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": known.client_secret,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    content = "Name;Mail\n" + "".join(f"{user.name};{user.email}\n" for user in sandbox.users[100:157])
    (tmp_path / "leavers.csv").write_text(content, encoding="utf-8-sig")

    shutil.copy(NOTEBOOK, tmp_path)
    dry_run = commands()[0]

    def run(*parameters):
        return subprocess.run(
            [sys.executable, "-m", "papermill", *dry_run, *parameters, "-k", "python3"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.long
def test_unattended(papermill, sandbox, tmp_path):
    """Without a number, nothing is sent; with the wrong one it fails; with the right one it logs out 57 and leaves the evidence."""
    content = (tmp_path / "leavers.csv").read_bytes()
    assert papermill().returncode == 0
    wrong = papermill("-p", "confirm", "58")
    assert wrong.returncode != 0
    assert "confirm=58, but the plan logs out 57 users" in wrong.stderr
    assert not sandbox.revocations
    dry_run, real, _ = commands()
    assert real == [*dry_run, "-p", "confirm", "57"]
    done = papermill(*real[len(dry_run) :])
    assert done.returncode == 0, done.stderr
    assert {one.user_id for one in sandbox.revocations} == {user.id for user in sandbox.users[100:157]}
    assert (tmp_path / "leavers.csv").read_bytes() == content, "the list is not overwritten by the evidence"
    assert {path.name for path in tmp_path.glob("leavers*")} == {
        "leavers.csv",
        "leavers-revocation.csv",
        "leavers-revocation.html",
        "leavers-revocation.sqlite",
    }


@pytest.mark.long
def test_given_again_it_goes_on(papermill, gc, sandbox, tmp_path):
    """The same command resumes what was stopped; nobody is logged out twice; the journal of another list is not mistaken for this one's."""
    plan = gct.plan_revocation(gc, tmp_path / "leavers.csv")
    journal = tmp_path / "leavers-revocation.sqlite"
    stopped = gct.revoke(plan, journal=journal, confirm=57, on_progress=lambda run: run.cancel())
    assert stopped.left
    done = papermill("-p", "confirm", "57")
    assert done.returncode == 0, done.stderr
    assert len(sandbox.revocations) == 57
    (tmp_path / "leavers.csv").write_text(f"{sandbox.users[10].email}\n")
    another = papermill("-p", "confirm", "1")
    assert "is of another list" in another.stderr
    assert len(sandbox.revocations) == 57


def test_lines_that_are_left_out_make_it_fail_unless_accepted(papermill, sandbox, tmp_path):
    """An unattended run does not end well with people of the list still logged in, though everybody else is logged out."""
    users = sandbox.users[100:157]
    lines = [f"{number};{user.email if number % 2 else ''};{user.id}" for number, user in enumerate(users)]
    lines += ["57;;", "58;nobody@example.org;", "59;not an address;"]
    (tmp_path / "leavers.csv").write_text("Personnel No;E-Mail ;Genesys Id\n" + "\n".join(lines) + "\n")
    dry_run, real, accepting = (tuple(words) for words in commands())
    failed = papermill(*real[len(dry_run) :], "-p", "keep", "Personnel No")
    assert failed.returncode != 0
    assert "IncompleteRevocationError" in failed.stderr
    assert "3 lines were not logged out" in failed.stderr
    assert "(line 60)" in failed.stderr
    assert len(sandbox.revocations) == 57
    evidence = (tmp_path / "leavers-revocation.csv").read_text(encoding="utf-8")
    assert "Personnel No" in evidence.splitlines()[0]
    accepted = papermill(*accepting[len(dry_run) :])
    assert accepted.returncode == 0, accepted.stderr
    assert len(sandbox.revocations) == 57, "nobody is logged out twice"
