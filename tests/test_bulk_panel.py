"""The panel that logs out many users, driven as a person would, through its widgets."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import gctokens_nb as gct
from gctokens_nb.panels import BulkRevokePanel
from gctokens_nb.sandbox import Fault, Sandbox

DELETE = {"method": "DELETE", "path": "/api/v2/tokens/"}


@pytest.fixture
def sandbox():
    """A sandbox with more people than usual, and a limit that is not in the way."""
    with Sandbox(users=300, rate_limit=6000) as server:
        yield server


@pytest.fixture
def panel(gc, tmp_path):
    """The panel, ready, with its journal in the test's folder."""
    made = BulkRevokePanel(gc)
    made.wait()
    made.journal_text.value = str(tmp_path / "run.sqlite")
    yield made
    made.close()


def plan(panel, users):
    """Paste the users and make the plan."""
    panel.pasted.value = ", ".join(user.email for user in users)
    panel.plan_button.click()
    panel.wait()


def start(panel):
    """Type the number and click."""
    panel.number_text.value = str(panel.plan.users_to_revoke)
    panel.revoke_button.click()


def until(condition):
    """Wait for what another thread does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def table(panel):
    """The table that is shown."""
    return panel._table.children[0].df


def test_paste_plan_type_the_number_revoke(panel, sandbox, tmp_path):
    """The whole story: nothing is sent before the number is typed; then everybody in the plan, and the evidence."""
    users = sandbox.users[100:150]
    plan(panel, [*users, users[0]])
    assert (
        "<strong>50 users will be logged out</strong> of 51 inputs. Skipped: 1 duplicate."
        in panel._summary.value
    )
    assert list(table(panel)["why"])[-1] == "duplicate"
    assert panel.revoke_button.disabled
    for wrong in ("51", "5", "fifty", ""):
        panel.number_text.value = wrong
        assert panel.revoke_button.disabled
    assert not sandbox.revocations
    start(panel)
    panel.wait()
    assert {one.user_id for one in sandbox.revocations} == {user.id for user in users}
    assert panel.status.text == "Finished: 50 revoked, 0 failed."
    assert (panel._bar.value, panel._bar.max) == (50, 50)
    assert set(table(panel)["outcome"]) == {"revoked", "skipped"}
    names = []
    for button in panel._downloads:
        button.send = lambda content, buffers: names.append((content["name"], buffers[0][:15]))
        button._clicked(None, "clicked", [])
    assert names == [
        ("run-evidence.html", b"<!DOCTYPE html>"),
        ("run-evidence.csv", b"user,id,name,ou"),
        ("run.sqlite", b"SQLite format 3"),
    ]


def test_an_uploaded_file_is_read_and_let_go(panel, sandbox):
    """A file with a byte order mark and semicolons; it does not stay in what a notebook saves."""
    content = "\ufeffName;Mail\n" + "".join(f"x;{user.email}\n" for user in sandbox.users[100:103])
    panel.upload.value = (
        {
            "name": "leavers.csv",
            "type": "",
            "size": 1,
            "content": content.encode(),
            "last_modified": datetime.now(UTC),
        },
    )
    panel.plan_button.click()
    panel.wait()
    assert panel.plan.users_to_revoke == 3
    assert panel.upload.value == ()


def test_what_is_wrong_with_the_list_is_said(panel, sandbox):
    """Neither a file nor a list; a column that is not there."""
    panel.plan_button.click()
    assert panel.status.text == "Choose a file or paste a list: one of the two."
    panel.upload.value = (
        {
            "name": "a.csv",
            "type": "",
            "size": 1,
            "content": b"Name,Mail\nx,y\n",
            "last_modified": datetime.now(UTC),
        },
    )
    panel.column_text.value = "email"
    panel.plan_button.click()
    panel.wait()
    assert "has no column 'email'" in panel.status.text
    assert "'Name', 'Mail'" in panel.status.text


def test_pause_stop_and_resume(panel, sandbox):
    """Paused, nothing is sent; stopped, what is on its way is finished; resumed, the rest is done. The kernel stays free."""
    sandbox.add_fault(Fault("slow", seconds=0.3, **DELETE))
    plan(panel, sandbox.users[100:200])
    start(panel)
    assert threading.current_thread() is threading.main_thread()
    until(lambda: panel.run is not None and panel.run.counts["revoked"])
    assert panel.stop_button.layout.display == ""
    panel.pause_button.click()
    assert panel.pause_button.description == "Go on"
    until(lambda: panel._rate.value.endswith("paused</p></div>"))
    panel.pause_button.click()
    assert panel.pause_button.description == "Pause"
    panel.stop_button.click()
    panel.wait()
    assert panel.status.text.startswith("Stopped in good order, with ")
    assert panel.run.counts["unknown"] == 0
    done = len(sandbox.revocations)
    assert done == panel.run.counts["revoked"] < 100
    sandbox.clear_faults()
    panel.resume_button.click()
    panel.wait()
    assert panel.status.text == "Finished: 100 revoked, 0 failed."
    assert len(sandbox.revocations) == 100


def test_a_stop_before_the_first_sign_of_life_counts(panel, sandbox):
    """Cancelled at once after the click, the run ends in good order."""
    sandbox.add_fault(Fault("slow", seconds=0.2, **DELETE))
    plan(panel, sandbox.users[100:200])
    start(panel)
    panel.cancel()
    panel.wait()
    assert panel.status.text.startswith("Stopped in good order")


def test_the_rate_limit_is_told(panel, sandbox):
    """While the server asks to wait, the panel says for how long."""
    sandbox.add_fault(Fault("status", status=429, seconds=2, after=20, times=1, **DELETE))
    seen = []
    panel._rate.observe(lambda change: seen.append(change["new"]), "value")
    plan(panel, sandbox.users[100:200])
    start(panel)
    panel.wait()
    assert any("waiting for the rate limit, 2 s" in text for text in seen)
    assert panel.status.text == "Finished: 100 revoked, 0 failed."


def test_failures_can_be_tried_again(panel, sandbox):
    """After the end, those who failed are tried again by a button that is there only then."""
    sandbox.add_fault(Fault("status", status=404, method="DELETE", path=sandbox.users[105].id))
    plan(panel, sandbox.users[100:120])
    start(panel)
    panel.wait()
    assert panel.status.text == "Finished: 19 revoked, 1 failed."
    assert panel.retry_button.layout.display == ""
    sandbox.clear_faults()
    panel.retry_button.click()
    panel.wait()
    assert panel.status.text == "Finished: 20 revoked, 0 failed."
    assert panel.retry_button.layout.display == "none"


def test_permission_lost_half_way(panel, sandbox):
    """The error says what is missing; what was done is shown, and can be resumed."""
    sandbox.add_fault(Fault("status", status=403, after=10, **DELETE))
    plan(panel, sandbox.users[100:200])
    start(panel)
    panel.wait()
    assert "users left" in panel.status.text
    assert "resume(" in panel.status.text
    assert panel.run.state == "stopped"
    sandbox.clear_faults()
    panel.resume_button.click()
    panel.wait()
    assert panel.run.state == "finished"


def test_a_token_that_may_not_is_warned(sign_in):
    """Before anything is planned, the missing permission is named."""
    panel = BulkRevokePanel(sign_in("no permissions"))
    panel.wait()
    assert "oauth:token:delete" in panel._permission.value
    panel.close()


def test_closing_stops_in_good_order(gc, sandbox, tmp_path):
    """No thread goes on revoking behind a panel that is gone, and the journal is complete."""
    panel = BulkRevokePanel(gc)
    panel.wait()
    panel.journal_text.value = str(tmp_path / "run.sqlite")
    sandbox.add_fault(Fault("slow", seconds=0.1, **DELETE))
    plan(panel, sandbox.users[100:200])
    start(panel)
    until(lambda: sandbox.revocations)
    panel.close()
    until(lambda: not any(thread.name == "gctokens-BulkRevokePanel" for thread in threading.enumerate()))
    sandbox.clear_faults()
    run = gct.resume(Path(tmp_path, "run.sqlite"), gc)
    assert run.counts["revoked"] == len(sandbox.revocations) == 100


def test_hostile_names_are_not_shown_as_html(panel, sandbox):
    """The table gets them as text."""
    user = sandbox.add_user(name="<img src=x onerror=alert(1)>", email="evil@example.org")
    plan(panel, [user])
    (table,) = panel._table.children
    assert "allow_html" not in table._dt_args or not table._dt_args["allow_html"]
    assert "<img" not in panel._summary.value
