"""The panel that logs out many users, driven as a person would, through its widgets."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import gctokens_nb as gct
from gctokens_nb.panels import BulkRevokePanel
from gctokens_nb.revocation import Run
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


def asks(panel):
    """Whether the panel asks for the number."""
    return panel._confirmation.layout.display == ""


def upload(panel, content, name="leavers.csv"):
    """Choose a file."""
    file = {"name": name, "type": "", "size": 1, "content": content, "last_modified": datetime.now(UTC)}
    panel.upload.value = (file,)


def stop_half_way(panel, sandbox, users):
    """Begin to log out the users, and stop; the number of those who are left."""
    hold = sandbox.add_fault(Fault("hold", after=3, **DELETE))
    plan(panel, users)
    start(panel)
    until(lambda: panel.run is not None and panel.run.counts["revoked"])
    panel.stop_button.click()
    hold.release()
    panel.wait()
    sandbox.clear_faults()
    assert panel.run.left
    return panel.run.left


def test_paste_plan_type_the_number_revoke(panel, sandbox, tmp_path):
    """The whole story: nothing is sent before the number is typed; then everybody in the plan, and the evidence."""
    users = sandbox.users[100:150]
    plan(panel, [*users, users[0]])
    assert (
        "<strong>50 users will be logged out</strong> of 51 inputs. 1 row is of somebody who is in it already, or of you."
        in panel._summary.value
    )
    assert (panel._skipped.value, panel.accept_check.layout.display) == ("", "none"), (
        "a duplicate harms nobody"
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
    assert panel.status.kind == "ok"
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
    upload(panel, content.encode())
    panel.plan_button.click()
    panel.wait()
    assert panel.plan.users_to_revoke == 3
    assert panel.upload.value == ()
    assert "Read from the column &#x27;Mail&#x27;." in panel._summary.value


def test_what_is_wrong_with_the_list_is_said(panel, sandbox):
    """Neither a file nor a list; a column that is not there."""
    panel.plan_button.click()
    assert panel.status.text == "Choose a file or paste a list: one of the two."
    upload(panel, b"Name,Mail\nx,y\n")
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
    assert any(re.search(r"waiting for the rate limit, [12] s", text) for text in seen)
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


# Nothing without the number


def test_a_number_that_was_wiped_revokes_nobody(panel, sandbox):
    """Typed for one plan and wiped while the next one is made, it opens nothing when that is cancelled."""
    plan(panel, sandbox.users[100:103])
    panel.number_text.value = "3"
    assert not panel.revoke_button.disabled
    hold = sandbox.add_fault(Fault("hold", path="users/search"))
    panel.pasted.value = sandbox.users[200].email
    panel.plan_button.click()
    hold.wait_until_held()
    assert panel.plan is None
    panel.number_text.value = ""
    panel.cancel_button.click()
    panel.wait()
    hold.release()
    assert panel.revoke_button.disabled
    assert not asks(panel)
    panel.number_text.value = "3"
    panel.revoke_button.click()
    panel.wait()
    assert not sandbox.revocations


def test_a_click_that_comes_late_does_nothing(panel, sandbox):
    """The front end may send a click on a button that is off by then: after a run, or while a plan is made."""
    plan(panel, sandbox.users[100:102])
    start(panel)
    panel.wait()
    panel.revoke_button.click()
    panel.wait()
    assert panel.status.text == "Finished: 2 revoked, 0 failed."
    hold = sandbox.add_fault(Fault("hold", path="users/search"))
    panel.plan_button.click()
    hold.wait_until_held()
    for button in (panel.revoke_button, panel.resume_button, panel.retry_button, panel.plan_button):
        button.click()
    panel.cancel_button.click()
    panel.wait()
    hold.release()
    assert not panel.busy
    assert "cancelled" in panel.status.text
    assert len(sandbox.revocations) == 2


def test_another_connection_needs_another_plan(panel, sign_in, sandbox):
    """Plan, table and number are of the old connection and go with it; what was typed stays, and is planned anew."""
    plan(panel, sandbox.users[100:103])
    panel.number_text.value = "3"
    with Sandbox(organization="Stratus Rail", users=300) as other:
        panel.use(sign_in(server=other))
        assert panel.plan is None
        assert panel.revoke_button.disabled
        assert not asks(panel)
        assert (panel._table.children, panel._summary.value, panel.number_text.value) == ((), "", "")
        panel.wait()
        assert panel.status.text.startswith("The connection is another one now. Make the plan again")
        panel.number_text.value = "3"
        panel.revoke_button.click()
        panel.wait()
        assert panel.pasted.value == ", ".join(user.email for user in sandbox.users[100:103])
        panel.pasted.value = other.users[100].email
        panel.plan_button.click()
        panel.wait()
        start(panel)
        panel.wait()
        assert [one.user_id for one in other.revocations] == [other.users[100].id]
    assert not sandbox.revocations


def test_a_plan_of_the_connection_before_is_not_taken(panel, sign_in, sandbox):
    """The connection changes while the users are looked up."""
    hold = sandbox.add_fault(Fault("hold", path="users/search"))
    panel.pasted.value = sandbox.users[100].email
    panel.plan_button.click()
    hold.wait_until_held()
    panel.use(sign_in())
    hold.release()
    panel.wait()
    assert panel.plan is None
    assert not asks(panel)


def test_a_run_under_way_can_be_stopped_after_the_connection_changed(panel, sign_in, sandbox):
    """It goes on with its own connection; Stop and evidence stay."""
    hold = sandbox.add_fault(Fault("hold", **DELETE))
    plan(panel, sandbox.users[100:200])
    start(panel)
    until(lambda: panel.run is not None)
    panel.use(sign_in())
    assert panel.stop_button.layout.display == ""
    panel.stop_button.click()
    hold.release()
    panel.wait()
    assert panel.status.text.startswith("Stopped in good order")
    assert panel._evidence_box.layout.display == ""
    assert len(sandbox.revocations) == panel.run.counts["revoked"] < 100


# Journals from elsewhere


@pytest.fixture
def fresh(panel, sign_in):
    """A panel that has run nothing, on which the other one's journal is named."""
    fresh = BulkRevokePanel(sign_in())
    fresh.wait()
    fresh.journal_text.value = panel.journal_text.value
    yield fresh
    fresh.close()


def test_a_journal_from_elsewhere_is_shown_and_confirmed(panel, fresh, sandbox):
    """Resume says of whom, how many of how many are left, and waits for that number; then the rest is done."""
    left = stop_half_way(panel, sandbox, sandbox.users[100:200])
    done = len(sandbox.revocations)
    fresh.resume_button.click()
    fresh.wait()
    assert asks(fresh)
    assert f"<strong>{left} users will be logged out</strong> of 100 in the journal" in fresh._summary.value
    assert sandbox.organization.name in fresh._summary.value
    assert f"{100 - left} are logged out already, 0 failed." in fresh._summary.value
    assert len(table(fresh)) == left
    assert not {one.user_id for one in sandbox.revocations} & set(table(fresh)["id"])
    for wrong in ("", "100", str(left - 1)):
        fresh.number_text.value = wrong
        fresh.revoke_button.click()
        fresh.wait()
    assert len(sandbox.revocations) == done
    fresh.number_text.value = str(left)
    fresh.revoke_button.click()
    fresh.wait()
    assert fresh.status.text == "Finished: 100 revoked, 0 failed."
    assert len(sandbox.revocations) == 100


def test_the_question_ends_with_the_path_it_was_about(panel, fresh, sandbox):
    """Another path, another question."""
    left = stop_half_way(panel, sandbox, sandbox.users[100:200])
    done = len(sandbox.revocations)
    fresh.resume_button.click()
    fresh.wait()
    fresh.number_text.value = str(left)
    fresh.journal_text.value = "other.sqlite"
    assert not asks(fresh)
    fresh.revoke_button.click()
    fresh.resume_button.click()
    fresh.wait()
    assert "There is no journal 'other.sqlite'" in fresh.status.text
    assert len(sandbox.revocations) == done


def test_a_journal_that_is_done_asks_nothing(panel, fresh, sandbox):
    """Nobody is left in it: that is said."""
    plan(panel, sandbox.users[100:103])
    start(panel)
    panel.wait()
    fresh.resume_button.click()
    fresh.wait()
    assert fresh.status.text.startswith("Nothing is left to do in the journal")
    assert "3 revoked, 0 failed" in fresh.status.text
    assert not asks(fresh)


def test_a_journal_that_was_in_the_way_is_not_ours(panel, fresh, sandbox):
    """A new run may not be written into it, the plan stays, and to resume it instead asks for its number."""
    stop_half_way(panel, sandbox, sandbox.users[100:200])
    done = len(sandbox.revocations)
    plan(fresh, sandbox.users[200:203])
    start(fresh)
    fresh.wait()
    assert "exists already" in fresh.status.text
    assert asks(fresh)
    assert fresh.revoke_button.disabled
    fresh.resume_button.click()
    fresh.wait()
    assert fresh.plan is None
    assert "in the journal" in fresh._summary.value
    assert len(sandbox.revocations) == done


def test_trying_again_is_about_the_run_that_is_shown(panel, sign_in, sandbox, tmp_path):
    """Whatever path is in the field by then."""
    stop_half_way(panel, sandbox, sandbox.users[100:200])
    sandbox.add_fault(Fault("status", status=404, method="DELETE", path=sandbox.users[205].id))
    other = BulkRevokePanel(sign_in())
    other.wait()
    other.journal_text.value = str(tmp_path / "other.sqlite")
    plan(other, sandbox.users[204:206])
    start(other)
    other.wait()
    assert other.status.text == "Finished: 1 revoked, 1 failed."
    sandbox.clear_faults()
    done = len(sandbox.revocations)
    other.journal_text.value = panel.journal_text.value
    other.retry_button.click()
    other.wait()
    assert other.status.text == "Finished: 2 revoked, 0 failed."
    assert [one.user_id for one in sandbox.revocations[done:]] == [sandbox.users[205].id]
    other.close()


# Ends


def test_a_start_that_hangs_can_be_cancelled(panel, sandbox):
    """Cancel is there until the first sign of life, ends the request, and the run can still be resumed."""
    stop_half_way(panel, sandbox, sandbox.users[100:200])
    hold = sandbox.add_fault(Fault("hold", path="/api/v2/tokens/me"))
    panel.resume_button.click()
    hold.wait_until_held()
    assert panel.cancel_button.layout.display == ""
    assert panel._evidence_box.layout.display == "none"
    panel.cancel_button.click()
    panel.wait()
    hold.release()
    sandbox.clear_faults()
    assert "cancelled" in panel.status.text
    assert panel._evidence_box.layout.display == ""
    panel.resume_button.click()
    panel.wait()
    assert panel.status.text == "Finished: 100 revoked, 0 failed."


def test_unknown_outcomes_are_no_good_order(panel, sandbox):
    """Who was perhaps logged out is told as an error, though nobody pressed Stop; Resume settles it."""
    sandbox.add_fault(Fault("drop-after", method="DELETE", path=sandbox.users[110].id))
    plan(panel, sandbox.users[100:150])
    start(panel)
    panel.wait()
    assert "It is unknown whether 1 user was logged out. Resume asks again." in panel.status.text
    assert panel.status.kind == "error"
    sandbox.clear_faults()
    panel.resume_button.click()
    panel.wait()
    assert panel.status.text == "Finished: 50 revoked, 0 failed."


def test_why_nothing_moves_is_announced_once(panel, sandbox):
    """The status line, which is read aloud, says that it waits or is paused, and does not count the seconds."""
    sandbox.add_fault(Fault("status", status=429, seconds=4, after=20, times=1, **DELETE))
    said = []
    panel.status.observe(lambda change: said.append(change["new"]), "text")
    plan(panel, sandbox.users[100:200])
    start(panel)
    until(lambda: "Revoking: waiting for the rate limit." in said)
    panel.pause_button.click()
    until(lambda: said[-1] == "Revoking: paused.")
    panel.pause_button.click()
    panel.wait()
    told = [text for text in said if text.startswith("Revoking: ")]
    assert len(told) <= 3, "waits, is paused, and perhaps waits again"
    assert panel.status.text == "Finished: 100 revoked, 0 failed."


# Lines of the list that are not carried out


HR_LIST = "Personnel No;E-Mail ;Genesys Id\n"


@pytest.fixture
def with_skipped(panel, sandbox):
    """The panel with the plan of a list of 42 lines, of which 40 can be carried out: half by e-mail, half by id."""
    lines = [
        f"{number};{user.email if number % 2 else ''};{'' if number % 2 else user.id}"
        for number, user in enumerate(sandbox.users[100:140])
    ]
    upload(panel, (HR_LIST + "\n".join([*lines, "77;nobody@example.org;", "78;;"]) + "\n").encode())
    panel.plan_button.click()
    panel.wait()
    return panel


SKIPPED = "2 lines will not be logged out: 1 is unknown (line 42), 1 has neither e-mail nor id (line 43)."


def test_lines_that_are_left_out_are_shown_from_the_plan_to_the_end(with_skipped, sandbox):
    """In amber, with their lines, before, during and after the run; it never ends under a green tick."""
    panel = with_skipped
    assert panel.plan.users_to_revoke == 40
    assert f"⚠ {SKIPPED}" in panel._skipped.value
    assert 'class="gct-warn' in panel._skipped.value
    assert panel.status.kind == "warn"
    assert "<td>43</td>" in panel._skipped.value, "each is shown, with its line"
    hold = sandbox.add_fault(Fault("hold", after=3, **DELETE))
    panel.accept_check.value = True
    start(panel)
    until(
        lambda: panel.run is not None and panel.run.counts["revoked"] and "left out: 2" in panel._rate.value
    )
    assert f"⚠ {SKIPPED}" in panel._skipped.value, "it is not over yet"
    hold.release()
    panel.wait()
    assert len(sandbox.revocations) == 40
    assert panel.status.kind == "warn"
    assert panel.status.text == (
        "Finished, but not everybody is logged out: 40 revoked, 0 failed. "
        + SKIPPED.replace("will not be", "were not")
    )
    assert "2 lines were not logged out" in panel._skipped.value
    assert "(line 43)" in panel._skipped.value
    assert panel.run.check().skipped_ok == 2


def test_lines_that_are_left_out_must_be_accepted(with_skipped, sandbox):
    """The number alone is not enough; another plan is accepted anew."""
    panel = with_skipped
    assert panel.accept_check.layout.display == ""
    start(panel)
    panel.wait()
    assert panel.revoke_button.disabled
    assert not sandbox.revocations
    panel.accept_check.value = True
    assert not panel.revoke_button.disabled
    panel.pasted.value = f"{sandbox.users[100].email} nobody@example.org"
    panel.plan_button.click()
    panel.wait()
    panel.number_text.value = "1"
    assert panel.accept_check.value is False
    assert panel.revoke_button.disabled
    assert not sandbox.revocations


def test_resuming_tells_of_the_lines_that_were_left_out(with_skipped, fresh, sandbox):
    """They are in the journal, shown before the rest is done, and to be accepted there too; also where nobody is left."""
    panel = with_skipped
    panel.accept_check.value = True
    hold = sandbox.add_fault(Fault("hold", after=3, **DELETE))
    start(panel)
    until(lambda: panel.run is not None and panel.run.counts["revoked"])
    panel.stop_button.click()
    hold.release()
    panel.wait()
    assert panel.run.left
    sandbox.clear_faults()
    fresh.resume_button.click()
    fresh.wait()
    assert "2 lines were not logged out" in fresh._skipped.value
    fresh.number_text.value = str(panel.run.left)
    assert fresh.revoke_button.disabled
    fresh.accept_check.value = True
    fresh.revoke_button.click()
    fresh.wait()
    assert fresh.status.kind == "warn"
    assert len(sandbox.revocations) == 40
    panel.journal_text.value = "elsewhere.sqlite"
    panel.journal_text.value = str(fresh.run.journal)
    panel.use(fresh.connection)
    panel.wait()
    panel.resume_button.click()
    panel.wait()
    assert panel.status.text.startswith("Nothing is left to do in the journal")
    assert "2 lines were not logged out" in panel.status.text
    assert panel.status.kind == "warn"


def test_the_code_accepts_what_was_accepted(with_skipped, sandbox, tmp_path, monkeypatch):
    """Without the tick the code fails at its end; with it, it says how many lines were accepted."""
    panel = with_skipped
    lines = "".join(f"x;{user.email};\n" for user in sandbox.users[100:140])
    (tmp_path / "leavers.csv").write_text(f"{HR_LIST}{lines}77;nobody@example.org;\n78;;\n")
    assert "skipped_ok" not in panel.code
    with pytest.raises(gct.errors.IncompleteRevocationError, match="2 lines were not logged out"):
        run_code(panel, tmp_path, monkeypatch)
    panel.accept_check.value = True
    panel.journal_text.value = "again.sqlite"
    (tmp_path / "evidence.html").unlink()
    assert "skipped_ok=2)" in panel.code
    assert run_code(panel, tmp_path, monkeypatch).skipped_ok == 2


def test_a_token_that_may_not_cannot_start(sign_in, sandbox):
    """The plan can be made, as that takes another permission; the run cannot be begun."""
    sandbox.add_client("planner", client_secret="planner-secret", permissions=["directory:user:view"])
    panel = BulkRevokePanel(sign_in("planner"))
    panel.wait()
    assert (
        "⚠ This token does not have the permission <code>oauth:token:delete</code>" in panel._permission.value
    )
    plan(panel, sandbox.users[100:103])
    start(panel)
    panel.wait()
    assert panel.plan is not None
    assert panel.revoke_button.disabled
    assert not sandbox.revocations
    panel.close()


# Code


def run_code(panel, folder, monkeypatch):
    """Run what the panel shows, with its connection, in a folder."""
    monkeypatch.chdir(folder)
    head, _, body = panel.code.partition("  # or the connection you have\n")
    assert head.startswith("import gctokens_nb as gct\n\ngc = gct.connect(")
    names = {"gct": gct, "gc": panel.connection}
    exec(body, names)
    return names.get("run")


def test_the_code_runs_as_shown(panel, sandbox, tmp_path, monkeypatch):
    """A pasted list, the rest of a journal, the failed ones: each as the panel does it."""
    run_code(panel, tmp_path, monkeypatch)
    sandbox.add_fault(Fault("status", status=404, method="DELETE", path=sandbox.users[101].id))
    plan(panel, sandbox.users[100:150])
    panel.journal_text.value = "code.sqlite"
    with pytest.raises(gct.errors.IncompleteRevocationError, match="1 failed"):
        run_code(panel, tmp_path, monkeypatch)
    counts = Run.of("code.sqlite").counts
    assert (counts["revoked"], counts["failed"]) == (49, 1)
    assert (tmp_path / "evidence.html").is_file()
    panel.journal_text.value = str(tmp_path / "run.sqlite")
    start(panel)
    panel.wait()
    assert panel.status.text == "Finished: 49 revoked, 1 failed."
    sandbox.clear_faults()
    assert "retry_failed=True" in panel.code
    assert run_code(panel, tmp_path, monkeypatch).counts["revoked"] == 50
    panel.journal_text.value = "code.sqlite"
    assert "gct.resume('code.sqlite', gc)\n" in panel.code
    with pytest.raises(gct.errors.IncompleteRevocationError, match="1 failed"):
        run_code(panel, tmp_path, monkeypatch)


def test_the_code_names_file_and_column(panel, sandbox, tmp_path, monkeypatch):
    """An uploaded file is named, and read from the working folder."""
    content = "".join(
        f"{one.email};{two.email}\n"
        for one, two in zip(sandbox.users[100:103], sandbox.users[200:203], strict=True)
    )
    (tmp_path / "leavers.csv").write_text(f"Leaver;Manager\n{content}")
    upload(panel, f"Leaver;Manager\n{content}".encode())
    panel.column_text.value = "Leaver"
    panel.plan_button.click()
    panel.wait()
    assert "users = 'leavers.csv'\n" in panel.code
    run_code(panel, tmp_path, monkeypatch)
    assert {one.user_id for one in sandbox.revocations} == {user.id for user in sandbox.users[100:103]}
