"""No secret gets into a saved notebook, its checkpoints, any other file of Jupyter, or any message of the kernel."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Page, expect

from gctokens_nb.sandbox import Sandbox

# Characters that occur nowhere else, so that four in a row are never found by chance.
RIGHT, WRONG, THIRD, PASSWORD = (
    "".join(map(chr, range(0xA100 + i, 0xA100 + i + 24))) for i in range(0, 96, 24)
)
CLIENT_ID = "c0c0c0c0-0000-4000-8000-000000000000"
HOLD = """\
import pathlib, time
while pathlib.Path("hold").exists():
    time.sleep(0.02)
"""


def parts(secret: str) -> list[str]:
    """Every four characters in a row, as they are and as in an address; and the end of all, as in Basic."""
    pieces = [secret[i : i + 4] for i in range(len(secret) - 3)]
    return [*pieces, *map(quote, pieces), base64.b64encode(f"{CLIENT_ID}:{secret}".encode()).decode()[-24:-4]]


def found(text: str, sandbox: Sandbox) -> list[str]:
    """What of the secrets and of the tokens issued so far stands in `text`."""
    wanted = [part for secret in (RIGHT, WRONG, THIRD) for part in parts(secret)]
    for token in sandbox._world.tokens:
        wanted += [token[i : i + 8] for i in range(0, len(token) - 7, 4)]
    return [part for part in wanted if part in text]


def type_secret(page: Page, secret: str) -> None:
    """Type it key by key, as a person does."""
    field = page.get_by_label("Client secret")
    field.click()
    field.press_sequentially(secret)
    expect(field).to_have_value(secret)


def status(page: Page) -> Any:
    return page.get_by_role("status").first


def test_no_secret_is_saved_or_sent_back(lab: Callable[..., Any], sandbox: Sandbox) -> None:
    """Typed, sent, sent to a busy kernel, refused, and typed before a reload: it travels once, and stays nowhere."""
    sandbox.add_client("rare", client_id=CLIENT_ID, client_secret=RIGHT)
    notebook = lab(
        "import gctokens_nb as gct, ipywidgets",
        f"gct.login({sandbox.environment!r}, client_id={CLIENT_ID!r})",
        HOLD,
        "ipywidgets.Password(description='Leaky')",
        run=False,
    )
    notebook.end_subshells()
    notebook.run_all()
    page, hold = notebook.page, notebook.path.with_name("hold")
    sign_in = page.get_by_role("button", name="Sign in", exact=True)

    def save_and_look() -> None:
        notebook.save()
        assert "LoginPanel()" in notebook.saved_text()
        assert CLIENT_ID in notebook.saved_text(), "the widget state is not saved"
        assert found(notebook.saved_text() + notebook.received_text(), sandbox) == []

    # (a) saved before the click
    type_secret(page, RIGHT)
    save_and_look()

    # (b) clicked and saved
    sign_in.click()
    expect(status(page)).to_have_text("✓ Signed in as the OAuth client rare.")
    save_and_look()

    # (c) typed, clicked and saved while the kernel is busy: the field is emptied at once, and nothing is lost
    page.get_by_role("button", name="Sign in again").click()
    hold.touch()
    notebook.run_cell(2, wait=False)
    type_secret(page, RIGHT)
    save_and_look()
    sign_in.click()
    expect(page.get_by_role("button", name="Sent…")).to_be_disabled()
    expect(page.get_by_label("Client secret")).to_have_value("")
    save_and_look()
    hold.unlink()
    expect(status(page)).to_have_text("✓ Signed in as the OAuth client rare.")
    notebook.wait_idle()
    save_and_look()

    # (d) refused
    page.get_by_role("button", name="Sign in again").click()
    type_secret(page, WRONG)
    page.get_by_label("Client secret").press("Enter")
    expect(status(page)).to_contain_text("refused the sign-in")
    expect(page.get_by_label("Client secret")).to_have_value("")
    expect(page.get_by_label("Client id")).to_have_value(CLIENT_ID)
    save_and_look()

    # (e) typed, then the page reloaded
    type_secret(page, THIRD)
    notebook.reload()
    expect(page.get_by_label("Client secret")).to_have_value("")
    expect(page.get_by_label("Client id")).to_have_value(CLIENT_ID)
    save_and_look()

    # Each one travelled as often as it was sent, and the one that was not sent never did.
    type_secret(page, RIGHT)
    page.get_by_label("Client secret").press("Enter")
    expect(status(page)).to_have_text("✓ Signed in as the OAuth client rare.")
    save_and_look()
    sent = [frame.decode("utf-8", "replace") for frame in notebook.sent]
    assert [sum(secret in frame for frame in sent) for secret in (RIGHT, WRONG, THIRD)] == [3, 1, 0]
    home: Path = notebook.server.root.parent
    files = [file for file in home.rglob("*") if file.is_file()]
    everything = "\n".join(file.read_bytes().decode("utf-8", "replace") for file in files)
    assert found(everything + "".join(notebook.server.log), sandbox) == []

    # The same look does find what ipywidgets.Password leaks.
    page.get_by_label("Leaky").press_sequentially(PASSWORD)
    notebook.wait_idle()
    notebook.save()
    assert PASSWORD[:4] in notebook.saved_text()
    assert PASSWORD[:4] in notebook.received_text()
