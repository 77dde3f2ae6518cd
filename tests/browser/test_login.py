"""The sign-in panel as a person meets it: in a page, with mouse or keyboard, on light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from gctokens_nb.sandbox import Fault, Sandbox

HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest.fixture
def login(voila: Callable[..., Any], sandbox: Sandbox) -> Callable[..., Page]:
    """Open the panel before the sandbox: `login(client="admin", way=…, dark=False)`, with the client's id filled in."""

    def open_panel(
        client: str = "admin",
        *,
        server: Sandbox = sandbox,
        shown: str = "",
        dark: bool = False,
        **given: str,
    ) -> Page:
        given["client_id"] = server.client(client).client_id
        arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
        page: Page = voila(
            "import gctokens_nb as gct",
            f"panel = gct.login({server.environment!r}, {arguments})",
            "panel",
            *([shown] if shown else []),
            dark=dark,
        ).page
        expect(page.get_by_label("Region").first).to_be_visible()
        return page

    return open_panel


def status(page: Page) -> Any:
    return page.get_by_role("status").first


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def token_requests(sandbox: Sandbox) -> int:
    return sum(call.path == "/oauth/token" for call in sandbox.calls)


def test_wrong_secret_then_right_one_then_sign_out(login: Callable[..., Page], sandbox: Sandbox) -> None:
    """An error in words; all but the secret is kept; two clicks sign in once; signing out kills the token."""
    client = sandbox.client("admin")
    page = login()
    page.get_by_label("Client secret").fill("wrong")
    button(page, "Sign in").click()
    expect(status(page)).to_contain_text("invalid_client")
    expect(status(page)).to_contain_text("Correlation id for Genesys support")
    expect(page.get_by_label("Client secret")).to_have_value("")
    expect(page.get_by_label("Client id")).to_have_value(client.client_id)

    before = token_requests(sandbox)
    page.get_by_label("Client secret").fill(client.client_secret or "")
    button(page, "Sign in").dblclick()
    expect(status(page)).to_have_text("✓ Signed in as the OAuth client admin.")
    assert token_requests(sandbox) == before + 1
    expect(page.get_by_role("row", name="Organization Cumulus Airlines")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"Token fingerprint [0-9a-f]{8}$"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"lives for another 23 h 59 min"))).to_be_visible()

    [token] = sandbox._world.tokens
    button(page, "Sign out").click()
    expect(status(page)).to_have_text("✓ Signed out: the token is revoked and forgotten.")
    assert not sandbox.is_alive(token)
    expect(page.get_by_label("Client secret")).to_have_value("")


def test_keyboard_alone(login: Callable[..., Page], sandbox: Sandbox) -> None:
    """Tab goes from field to field; Escape empties the secret; Enter signs in; the buttons follow."""
    page = login()
    keyboard = page.keyboard
    page.get_by_label("Region").focus()
    for label in ("Base address", "Way to sign in", "Client id", "Client secret"):
        keyboard.press("Tab")
        expect(page.get_by_label(label)).to_be_focused()
    keyboard.type("typed by mistake")
    keyboard.press("Escape")
    expect(page.get_by_label("Client secret")).to_have_value("")
    keyboard.press("Enter")  # the page itself asks for what is missing
    expect(page.get_by_label("Client secret")).to_be_focused()
    assert token_requests(sandbox) == 0
    keyboard.type(sandbox.client("admin").client_secret or "")
    keyboard.press("Enter")
    expect(status(page)).to_contain_text("Signed in")
    keyboard.press("Tab")
    expect(button(page, "Sign out")).to_be_focused()
    keyboard.press("Enter")
    expect(status(page)).to_contain_text("Signed out")


def test_fields_follow_the_choices(login: Callable[..., Page]) -> None:
    """Each way asks for what it needs, and the sandbox for nothing; the code to copy follows."""
    page = login()
    fields = page.locator(".gct-form label")
    for way, wanted in {
        "client_credentials": ["Client id", "Client secret"],
        "browser": ["Client id", "Client secret", "Redirect URI"],
        "browser_elsewhere": ["Client id", "Client secret", "Redirect URI"],
        "access_token": ["Access token"],
        "saml2_bearer": ["Client id", "Client secret", "Organization", "SAML2 assertion"],
    }.items():
        page.get_by_label("Way to sign in").select_option(way)
        expect(fields).to_have_text(["Region", "Base address", "Way to sign in", *wanted])
    page.get_by_text("Copy as code").click()
    page.get_by_label("Region").select_option("mypurecloud.de")
    expect(fields).to_have_text(["Region", "Way to sign in", *wanted])
    expect(page.locator("pre", has_text="authenticate_with_saml2_bearer")).to_contain_text("'mypurecloud.de'")
    page.get_by_label("Region").select_option("sandbox")
    expect(fields).to_have_text(["Region"])
    button(page, "Sign in").click()
    expect(page.get_by_role("row", name="Region Sandbox on this machine")).to_be_visible()
    expect(page.locator("pre", has_text="connect_sandbox")).to_be_visible()


def test_cancel_frees_the_panel(login: Callable[..., Page], sandbox: Sandbox) -> None:
    """While a sign-in hangs, Cancel appears and Sign in is off; cancelled, the panel says so and can be used again."""
    fault = sandbox.add_fault(Fault("hold", path="/oauth/token"))
    page = login()
    page.get_by_label("Client secret").fill(sandbox.client("admin").client_secret or "")
    button(page, "Sign in").click()
    fault.wait_until_held()
    expect(status(page)).to_have_text("… Signing in…")
    expect(button(page, "Sign in")).to_be_disabled()
    button(page, "Cancel").click()
    expect(status(page)).to_contain_text("cancelled")
    expect(button(page, "Sign in")).to_be_enabled()
    expect(button(page, "Cancel")).to_be_hidden()
    sandbox.clear_faults()
    page.get_by_label("Client secret").fill(sandbox.client("admin").client_secret or "")
    button(page, "Sign in").click()
    expect(status(page)).to_contain_text("Signed in")


@pytest.fixture
def small_sandbox() -> Iterator[Sandbox]:
    """A sandbox whose login page lists everybody."""
    with Sandbox(users=3) as server:
        yield server


def test_browser_elsewhere_with_a_hostile_name(login: Callable[..., Page], small_sandbox: Sandbox) -> None:
    """The person signs in on the real login page and pastes the address back; their name is shown as text."""
    user = small_sandbox.add_user(name=HOSTILE, email="mallory@cumulus-airlines.example")
    page = login("single page app", server=small_sandbox, way="browser_elsewhere")
    button(page, "Sign in").click()
    link = page.get_by_role("link", name="Open the login page")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    with page.context.expect_page() as opened:
        link.click()
    tab = opened.value
    tab.get_by_label("Who signs in").select_option(user.email)
    with tab.expect_event("requestfailed") as ended:  # nothing listens at the redirect URI
        tab.get_by_role("button", name="Sign in").click()
    tab.close()
    address = page.get_by_label("Address at the end")
    address.fill("http://localhost:8085/callback?code=abc&state=of-another")
    address.press("Enter")
    expect(status(page)).to_contain_text("belongs to another sign-in")
    expect(address).to_have_value("")
    address.fill(ended.value.url)
    button(page, "Finish signing in").click()
    expect(status(page)).to_have_text(f"✓ Signed in as {HOSTILE} ({user.email}).")
    expect(page.get_by_role("row", name=HOSTILE)).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_browser_on_this_machine(login: Callable[..., Page], sandbox: Sandbox) -> None:
    """The redirect is caught: denied, the panel says so; allowed, it signs in, and the tab holds no token."""
    page = login("single page app", way="browser")

    def sign_in(decision: str) -> str:
        page.get_by_label("Redirect URI").fill("http://127.0.0.1:0/callback")
        button(page, "Sign in").click()
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Open the login page").click()
        tab = opened.value
        tab.get_by_role("button", name=decision).click()
        expect(tab.get_by_text("you can close this tab")).to_be_visible()
        text = tab.content()
        tab.close()
        return text

    sign_in("Deny")
    expect(status(page)).to_contain_text("refused in the browser")
    text = sign_in("Sign in")
    expect(status(page)).to_contain_text("Signed in as Grace Hopper")
    assert not [token for token in sandbox._world.tokens if token in text]


def test_two_views_are_one_panel(login: Callable[..., Page], sandbox: Sandbox) -> None:
    """A secret typed in one view is in that view only; signed in by either, both show the account."""
    page = login(shown="gct.login()")
    first, second = page.get_by_label("Client secret").all()
    first.fill("never sent")
    expect(second).to_have_value("")
    second.fill(sandbox.client("admin").client_secret or "")
    second.press("Enter")
    expect(page.get_by_text("Signed in as the OAuth client admin.")).to_have_count(2)
    for view in page.get_by_role("button", name="Sign out").all():
        expect(view).to_be_visible()


CONTRASTS = """() => {
    const rgb = color => color.match(/[\\d.]+/g).map(Number);
    const light = color => rgb(color).slice(0, 3).map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const color = getComputedStyle(element).backgroundColor;
            if ((rgb(color)[3] ?? 1) > 0) return color;
        }
        return "rgb(255, 255, 255)";
    };
    const shown = "label, small, input, select, button, summary, [role=status], a, th, td";
    return [...document.querySelectorAll(shown)].filter(e => e.offsetParent).map(element => {
        const [a, b] = [getComputedStyle(element).color, behind(element)].map(light).sort((x, y) => y - x);
        return [element.tagName + " " + element.textContent.slice(0, 30), (a + 0.05) / (b + 0.05)];
    });
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read(login: Callable[..., Page], dark: bool) -> None:
    """Everything in the panel has WCAG's contrast of 4.5 (3 on buttons, whose colours are the theme's)."""
    page = login(way="browser", dark=dark)
    page.get_by_label("Redirect URI").fill("https://example.org/")
    button(page, "Sign in").click()
    expect(status(page)).to_contain_text("begin_sign_in()")
    background = "rgb(17, 17, 17)" if dark else "rgb(255, 255, 255)"
    expect(page.locator("body")).to_have_css("background-color", background)
    seen = page.evaluate(CONTRASTS)
    assert len(seen) > 5
    assert [one for one in seen if one[1] < (3 if one[0].startswith("BUTTON") else 4.5)] == []
