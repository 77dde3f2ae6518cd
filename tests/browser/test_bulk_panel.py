"""Logging out many users, before a real Chromium in Voilà."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

import gctokens_nb as gct
from gctokens_nb.sandbox import Fault, Sandbox

HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest.fixture
def sandbox() -> Any:
    """A sandbox with more people than usual, one of whom has a hostile name."""
    with Sandbox(users=300, rate_limit=6000) as server:
        yield server


def test_the_whole_story(voila: Callable[..., Any], sandbox: Sandbox, tmp_path: Path) -> None:
    """Paste, search and page the plan, type the number, watch, stop, resume, download; nothing hostile runs."""
    hostile = sandbox.add_user(name=HOSTILE, email="hostile@example.org")
    known = sandbox.client("admin")
    page: Page = voila(
        "import gctokens_nb as gct\n"
        f"gc = gct.connect({sandbox.environment!r}, client_id={known.client_id!r}, client_secret={known.client_secret!r})\n"
        "panel = gct.panels.BulkRevokePanel(gc)\n"
        f"panel.journal_text.value = {str(tmp_path / 'run.sqlite')!r}",
        "panel",
    ).page
    status = page.locator(".gct-status[role=status]")
    expect(status).to_contain_text("Choose a file, or paste a list.")
    users = [*sandbox.users[100:160], hostile]
    page.get_by_placeholder("ids and e-mail addresses").fill(
        "\n".join(user.email for user in users) + "\nnobody@example.org"
    )
    page.get_by_role("button", name="Make the plan").click()
    expect(status).to_contain_text("type the number of users to confirm")
    expect(page.get_by_text("61 users will be logged out")).to_be_visible()

    table = page.locator("table.dataTable[id]")  # those without are its frozen head
    assert table.locator("tbody tr").count() == 10, "a page of the plan"
    search = page.get_by_role("searchbox").or_(page.locator("input[type=search]")).first
    search.fill("hostile@")
    expect(table.locator("tbody tr")).to_have_count(1)
    expect(table).to_contain_text(HOSTILE)
    search.fill("")
    expect(page.get_by_text("1 row will not be logged out: 1 is unknown (row 62).")).to_be_visible()
    page.screenshot(path=tmp_path / "plan.png", full_page=True)

    revoke = page.get_by_role("button", name="Revoke", exact=True)
    expect(revoke).to_be_disabled()
    page.get_by_placeholder("type 61 to confirm").fill("60")
    expect(revoke).to_be_disabled()
    assert not sandbox.revocations
    sandbox.add_fault(Fault("slow", seconds=0.4, method="DELETE"))
    page.get_by_placeholder("type 61 to confirm").fill("61")
    expect(revoke).to_be_disabled()
    page.get_by_role("checkbox", name="I accept").check()
    expect(revoke).to_be_enabled()
    revoke.click()
    expect(page.get_by_text(re.compile(r"[1-9]\d* of 61 · .* users/s"))).to_be_visible()
    page.screenshot(path=tmp_path / "running.png", full_page=True)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(status).to_contain_text("Stopped in good order")
    sandbox.clear_faults()
    page.get_by_role("button", name="Resume from the journal").click()
    expect(status).to_contain_text("Finished, but not everybody is logged out: 61 revoked, 0 failed.")
    expect(status).to_have_class(re.compile("gct-status-warn"))
    assert {one.user_id for one in sandbox.revocations} == {user.id for user in users}
    page.screenshot(path=tmp_path / "done.png", full_page=True)

    with page.expect_download() as download:
        page.get_by_role("button", name="Evidence (HTML)").click()
    assert download.value.suggested_filename == "run-evidence.html"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert "<td>hostile@example.org</td>" in text
    assert HOSTILE not in text
    assert page.evaluate("window.hacked") is None


def test_a_journal_from_elsewhere_asks_first(
    voila: Callable[..., Any], sandbox: Sandbox, tmp_path: Path
) -> None:
    """Resume shows whose journal it is and who is left; only their number, typed, lets it go on; then all is done."""
    known = sandbox.client("admin")
    gc = gct.connect(sandbox.environment, client_id=known.client_id, client_secret=known.client_secret)
    users = sandbox.users[100:160]
    journal = tmp_path / "run.sqlite"
    plan = gct.plan_revocation(gc, [user.email for user in users])
    hold = sandbox.add_fault(Fault("hold", after=5, method="DELETE"))

    def stop_half_way(run: Any) -> None:
        if run.counts["revoked"]:
            run.cancel()
            hold.release()

    left = gct.revoke(plan, journal=journal, confirm=60, on_progress=stop_half_way).left
    sandbox.clear_faults()
    done = len(sandbox.revocations)
    assert done == 60 - left > 0

    page: Page = voila(
        "import gctokens_nb as gct\n"
        f"gc = gct.connect({sandbox.environment!r}, client_id={known.client_id!r}, client_secret={known.client_secret!r})\n"
        "panel = gct.panels.BulkRevokePanel(gc)\n"
        f"panel.journal_text.value = {str(journal)!r}",
        "panel",
    ).page
    status = page.locator(".gct-status[role=status]")
    expect(status).to_contain_text("Choose a file, or paste a list.")
    revoke = page.get_by_role("button", name="Revoke", exact=True)
    expect(revoke).to_be_hidden()
    page.get_by_role("button", name="Resume from the journal").click()
    expect(status).to_contain_text("type the number of users to confirm")
    expect(page.get_by_text(f"{left} users will be logged out")).to_be_visible()
    expect(page.get_by_text(f"{sandbox.organization.name} ({sandbox.environment})")).to_be_visible()
    expect(page.get_by_text(f"of {left} entries")).to_be_visible()
    expect(revoke).to_be_disabled()
    number = page.get_by_placeholder(f"type {left} to confirm")
    number.fill("60")
    expect(revoke).to_be_disabled()
    page.screenshot(path=tmp_path / "question.png", full_page=True)
    assert len(sandbox.revocations) == done
    number.fill(str(left))
    expect(revoke).to_be_enabled()
    revoke.click()
    expect(status).to_contain_text("Finished: 60 revoked, 0 failed.")
    expect(page.get_by_text("Progress", exact=True)).to_be_visible()
    assert {one.user_id for one in sandbox.revocations} == {user.id for user in users}
    page.screenshot(path=tmp_path / "done.png", full_page=True)
