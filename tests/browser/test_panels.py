"""The panels before a real Chromium: Voilà for how they behave, JupyterLab for a whole story."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from gctokens_nb.sandbox import Fault, Sandbox

HOSTILE = "<img src=x onerror=window.hacked=1>"
ALL_PANELS = """\
import ipywidgets
panels = [
    gct.panels.TokenInfoPanel(gc),
    gct.panels.RevokePanel(gc),
    gct.panels.IdleTimeoutPanel(gc),
    gct.panels.ConnectionsPanel({"one": gc, "two": gc}),
]
ipywidgets.VBox(panels)"""


def connect(sandbox: Sandbox, client: str = "admin") -> str:
    """The cell that signs in to the sandbox of the test."""
    known = sandbox.client(client)
    return (
        "import gctokens_nb as gct\n"
        f"gc = gct.connect({sandbox.environment!r}, client_id={known.client_id!r}, client_secret={known.client_secret!r})"
    )


def panel(page: Page, title: str) -> Locator:
    """The panel of that title."""
    return (
        page.locator(".widget-vbox")
        .filter(has=page.locator("> .widget-html h3", has_text=re.compile(f"^{title}")))
        .last
    )


def button(place: Locator, name: str) -> Locator:
    return place.get_by_role("button", name=name, exact=True)


def status(place: Locator) -> Locator:
    """The line that screen readers announce."""
    return place.locator(".gct-status[role=status][aria-live=polite]")


def deletions(sandbox: Sandbox) -> int:
    return sum(call.method == "DELETE" for call in sandbox.calls)


@pytest.fixture
def app(voila: Callable[..., Any], sandbox: Sandbox) -> Page:
    """All panels on one page, ready."""
    page: Page = voila(connect(sandbox), ALL_PANELS).page
    expect(status(panel(page, "Token"))).to_contain_text("Read at")
    expect(status(panel(page, "Connections side by side"))).to_contain_text("All read")
    expect(status(panel(page, "Idle timeout"))).to_contain_text("This is how it is now")
    expect(button(panel(page, "Revoke tokens"), "Revoke…")).to_be_enabled()
    return page


def test_the_tokens_are_shown_and_their_time_runs_in_the_page(app: Page, sandbox: Sandbox) -> None:
    """Alone and side by side; the time left goes down by itself, and nobody is asked for it."""
    table = panel(app, "Connections side by side").locator("table")
    expect(table.get_by_role("columnheader", name="two")).to_be_visible()
    expect(table.get_by_role("rowheader", name="client_name", exact=True)).to_be_visible()
    expect(panel(app, "Token").get_by_role("rowheader", name="Authorized scope")).to_be_visible()
    timer = panel(app, "Token").get_by_role("timer").first
    expect(timer).to_contain_text("Idles out in 59 min")
    before, asked = timer.inner_text(), len(sandbox.calls)
    expect(timer).not_to_have_text(before)
    assert len(sandbox.calls) == asked


def test_a_user_is_found_as_one_types_and_logged_out_in_two_steps(app: Page, sandbox: Sandbox) -> None:
    """Two users of one name are told apart; a double click on Yes revokes once; the history is there to download."""
    maria = sandbox.user("maria.schmidt2@cumulus-airlines.example")
    token = sandbox.issue_token(maria)
    revoke = panel(app, "Revoke tokens")
    field = revoke.get_by_role("textbox", name="User")
    field.press_sequentially("maria schm", delay=20)
    expect(status(revoke)).to_contain_text("2 users found")
    field.fill("nobody")
    expect(status(revoke)).to_contain_text("Nobody here")
    field.fill("")
    expect(status(revoke)).to_contain_text("Type a name")
    field.fill("maria")
    expect(status(revoke)).to_contain_text("2 users found")
    revoke.get_by_label("Found").select_option(index=1)
    button(revoke, "Revoke…").dblclick()
    expect(revoke.get_by_text(f"E-mail {maria.email}")).to_be_visible()
    expect(revoke).to_contain_text("Behind single sign-on")
    assert sandbox.is_alive(token)
    button(revoke, "Yes, revoke").dblclick()
    expect(status(revoke)).to_contain_text("All tokens of Maria Schmidt are revoked")
    assert not sandbox.is_alive(token)
    assert deletions(sandbox) == 1
    with app.expect_download() as download:
        revoke.get_by_role("link", name="Download as CSV").click()
    assert maria.id in download.value.path().read_text()


def test_the_idle_timeout_is_changed_in_two_steps(app: Page, sandbox: Sandbox) -> None:
    """Before and after are shown, limits explained, and a double click changes once."""
    idle = panel(app, "Idle timeout")
    seconds = idle.get_by_label("Idle time (seconds)")
    seconds.fill("60")
    seconds.press("Tab")
    button(idle, "Change…").click()
    expect(status(idle)).to_contain_text("300 to 28800 seconds")
    seconds.fill("900")
    seconds.press("Tab")
    button(idle, "Change…").click()
    expect(idle).to_contain_text("3600 seconds (1 h) → 900 seconds (15 min)")
    button(idle, "Yes, change it").dblclick()
    expect(status(idle)).to_contain_text("Changed: this is how it is now.")
    assert sum(call.method == "PUT" for call in sandbox.calls) == 1


def test_every_panel_tells_an_error_in_words(app: Page, sandbox: Sandbox) -> None:
    """What happened and what to do next is announced in the panel, and the next click works again."""
    revoke = panel(app, "Revoke tokens")
    places = [panel(app, title) for title in ("Token", "Idle timeout", "Connections side by side")]
    for fault, typed in (
        (Fault("status", status=500), "ada"),
        (Fault("html", status=503), "ada l"),
        (Fault("garbage"), "ada lo"),
    ):
        sandbox.add_fault(fault)
        for place in places:
            button(place, "Refresh").click()
        revoke.get_by_role("textbox", name="User").fill(typed)
        for place in (*places, revoke):
            expect(status(place)).to_have_class(re.compile("gct-status-error"))
            expect(status(place)).to_contain_text("answered with")
        expect(status(places[0])).to_contain_text("orrelation id")
        sandbox.clear_faults()
        for place in places:
            button(place, "Refresh").click()
            expect(status(place)).to_have_class(re.compile("gct-status-ok"))
        revoke.get_by_role("textbox", name="User").press("Enter")  # the same text again
        expect(status(revoke)).to_contain_text("One user found")


def test_every_panel_shows_that_it_works_and_can_be_cancelled(app: Page, sandbox: Sandbox) -> None:
    """A click shows while its answer is held; a second one does nothing; Cancel frees the panel, and the others work meanwhile."""
    places = [panel(app, title) for title in ("Token", "Idle timeout", "Connections side by side")]
    held = sandbox.add_fault(Fault("hold"))
    before = len(sandbox.calls)
    for place in places:
        button(place, "Refresh").dblclick()
        expect(status(place)).to_have_class(re.compile("gct-status-busy"))
    revoke = panel(app, "Revoke tokens")
    revoke.get_by_role("textbox", name="User").fill("ada")
    for place in (*places, revoke):
        button(place, "Cancel").click()
        expect(status(place)).to_contain_text("unknown")
        expect(button(place, "Cancel")).to_be_hidden()
    held.release()
    sandbox.clear_faults()
    button(places[0], "Refresh").click()
    expect(status(places[0])).to_contain_text("Read at")
    assert len(sandbox.calls) <= before + 5


def test_a_pause_for_the_rate_limit_counts_down_and_ends_when_cancelled(app: Page, sandbox: Sandbox) -> None:
    """429 is a wait that is told and counted in the page, and nothing is sent after Cancel."""
    sandbox.add_fault(Fault("status", status=429, seconds=40))
    token = panel(app, "Token")
    button(token, "Refresh").click()
    expect(status(token)).to_contain_text("waiting 40 s (the rate limit)")
    expect(token.get_by_text("Next attempt in 38 s")).to_be_visible()
    sent = len(sandbox.calls)
    button(token, "Cancel").click()
    expect(status(token)).to_contain_text("was cancelled")
    assert len(sandbox.calls) == sent


def test_hostile_server_text_is_text_in_every_panel(voila: Callable[..., Any]) -> None:
    """An organization and a user named like HTML tags are read, not run."""
    with Sandbox(organization=HOSTILE) as sandbox:
        sandbox.add_user(name=HOSTILE, email="evil@example.org")
        page: Page = voila(connect(sandbox), ALL_PANELS).page
        expect(panel(page, "Token").locator("table")).to_contain_text(HOSTILE)
        expect(panel(page, "Connections side by side").locator("table")).to_contain_text(HOSTILE)
        expect(panel(page, "Idle timeout")).to_contain_text("1 h")
        revoke = panel(page, "Revoke tokens")
        revoke.get_by_role("textbox", name="User").fill("evil")
        expect(status(revoke)).to_contain_text("One user found")
        button(revoke, "Revoke…").click()
        expect(revoke).to_contain_text(f"Revoke all tokens of {HOSTILE}?")
        button(revoke, "Yes, revoke").click()
        expect(status(revoke)).to_contain_text(f"All tokens of {HOSTILE} are revoked")
        revoke.get_by_text("Copy as code").click()
        expect(revoke.locator("pre")).to_contain_text(HOSTILE)
        assert page.locator("img[src=x]").count() == 0
        assert page.evaluate("window.hacked") is None


def test_the_keyboard_alone_suffices(app: Page, sandbox: Sandbox) -> None:
    """Search, choose, revoke, confirm and copy the code without a mouse; No has the focus when it is asked."""
    revoke = panel(app, "Revoke tokens")
    field = revoke.get_by_role("textbox", name="User")
    field.focus()
    app.keyboard.type("maria")
    expect(revoke.locator("pre")).to_contain_text("search('maria')")  # not of the letters before
    expect(status(revoke)).to_contain_text("2 users found")
    app.keyboard.press("Tab")
    app.keyboard.press("ArrowDown")
    expect(revoke.locator("pre")).to_contain_text("delete_token(")
    app.keyboard.press("Tab")
    app.keyboard.press("Enter")
    expect(button(revoke, "No, change nothing")).to_be_focused()
    app.keyboard.press("Tab")
    app.keyboard.press("Space")
    expect(status(revoke)).to_contain_text("are revoked")
    assert deletions(sandbox) == 1
    summary = revoke.get_by_text("Copy as code")
    summary.focus()
    app.keyboard.press("Enter")
    app.keyboard.press("Tab")
    app.keyboard.press("Tab")
    app.keyboard.press("Enter")
    expect(revoke.get_by_text("Copied.")).to_be_visible()
    assert app.evaluate("navigator.clipboard.readText()") == revoke.locator("pre").inner_text()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_dashboard_fits_a_narrow_window_and_both_themes(
    voila: Callable[..., Any], sandbox: Sandbox, dark: bool
) -> None:
    """At 480 pixels nothing sticks out, and text stands out from the background."""
    page: Page = voila(connect(sandbox, "many scopes"), "gct.panels.Dashboard(gc)", dark=dark).page
    page.set_viewport_size({"width": 480, "height": 900})
    line = status(panel(page, "Token"))
    expect(line).to_contain_text("Read at")
    expect(panel(page, "Token")).to_contain_text("60 scopes")
    for title in ("Token", "Revoke tokens", "Idle timeout"):
        box = panel(page, title).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 480
    for text in (line, panel(page, "Token").locator("td").first, panel(page, "Token").locator("h3")):
        assert text.evaluate(CONTRAST) >= 4.5  # WCAG 2.1, AA


# The contrast of an element's text with the first background behind it, as WCAG 2.1 defines it.
CONTRAST = """element => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    let behind = element, back = [0, 0, 0, 0];
    while (behind && (back = rgb(getComputedStyle(behind).backgroundColor)) && back[3] === 0) behind = behind.parentElement;
    const [light, dark] = [luminance(rgb(getComputedStyle(element).color)), luminance(behind ? back : [255, 255, 255])]
        .sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
}"""


def test_a_dashboard_from_sign_in_to_a_dead_token_and_back(voila: Callable[..., Any]) -> None:
    """It begins with the sign-in; when the own token is dead, one click signs in again and what was typed is kept."""
    page: Page = voila("import gctokens_nb as gct", "gct.panels.Dashboard()").page
    page.get_by_label("Region").select_option("sandbox")
    page.get_by_role("button", name="Sign in", exact=True).click()
    revoke = panel(page, "Revoke tokens")
    revoke.get_by_role("textbox", name="User").fill("emmy")
    expect(status(revoke)).to_contain_text("One user found")
    revoke.get_by_label("my own token").check()
    button(revoke, "Revoke…").click()
    button(revoke, "Yes, revoke").click()
    expect(status(revoke)).to_contain_text("HEAD was answered with 401")
    token = panel(page, "Token")
    button(token, "Refresh").click()
    expect(status(token)).to_contain_text("Sign in again")
    button(token, "Sign in again…").click()
    expect(status(token)).to_contain_text("Read at")
    revoke.get_by_label("a user's tokens").check()
    expect(revoke.get_by_role("textbox", name="User")).to_have_value("emmy")
    expect(revoke.get_by_label("Found").get_by_role("option")).to_contain_text("Emmy Noether")


def test_the_app_opens_on_the_sandbox(voila: Callable[..., Any]) -> None:
    """`notebooks/dashboard.ipynb` in Voilà, without any credentials, works on the sandbox."""
    notebook = nbformat.read(Path(__file__).parents[2] / "notebooks" / "dashboard.ipynb", as_version=4)
    page: Page = voila(*(cell.source for cell in notebook.cells if cell.cell_type == "code")).page
    expect(page.get_by_label("Work on")).to_have_value("Cumulus Airlines (sandbox)")
    expect(status(panel(page, "Token"))).to_contain_text("Read at")
    toggle = page.get_by_role("button", name="Sign in or out")
    toggle.press("Enter")
    expect(page.get_by_label("Region")).to_be_visible()
    toggle.press("Enter")
    expect(page.get_by_label("Region")).to_be_hidden()


def test_a_whole_story_in_jupyterlab(lab: Callable[..., Any], sandbox: Sandbox) -> None:
    """The table, a revocation, its DataFrame in the next cell; after a kernel restart everything works again."""
    ada = sandbox.user("ada.lovelace@cumulus-airlines.example")
    notebook = lab(
        connect(sandbox),
        "board = gct.panels.Dashboard(gc)\nboard",
        "print('history', *board.revoke.history['email'])",
    )
    page: Page = notebook.page

    def log_out() -> None:
        revoke = panel(page, "Revoke tokens")
        revoke.get_by_role("textbox", name="User").fill(ada.email)
        expect(status(revoke)).to_contain_text("One user found")
        button(revoke, "Revoke…").click()
        button(revoke, "Yes, revoke").click()
        expect(status(revoke)).to_contain_text("are revoked")

    log_out()
    notebook.run_cell(2)
    expect(page.get_by_text(f"history {ada.email}")).to_be_visible()
    notebook._do("notebook:restart-run-all", wait=False)
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(page.locator(".jp-OutputArea-output").last).to_have_text(
        re.compile(r"^history\s*$")
    )  # the new panel's
    log_out()
    assert len(sandbox.revocations) == 2
    notebook.save()
    assert str(sandbox.client("admin").client_secret) in notebook.saved_text()  # the test's own cell
    assert "Bearer" not in notebook.saved_text()
