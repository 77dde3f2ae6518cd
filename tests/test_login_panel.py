"""The sign-in panel without a browser: each way, what it shows, keeps and forgets. `tests/browser` has the page."""

from __future__ import annotations

import base64
import getpass
import logging
import os
import re
import secrets
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import requests

import gctokens_nb as gct
from gctokens_nb.errors import ConfigurationError, SignedOutError
from gctokens_nb.panels import LoginPanel, ask
from gctokens_nb.redaction import Secret
from gctokens_nb.sandbox import Fault, Sandbox, SandboxUser

REDIRECT_URI = "http://localhost:8085/callback"


@pytest.fixture
def panel(sandbox: Sandbox) -> Iterator[LoginPanel]:
    """A panel before the sandbox."""
    with_panel = LoginPanel(sandbox.environment)
    yield with_panel
    with_panel.close()


def sign_in(panel: LoginPanel, **values: str) -> LoginPanel:
    panel.submit(**values)
    panel.wait()
    return panel


def as_client(sandbox: Sandbox, name: str = "admin") -> dict[str, str]:
    client = sandbox.client(name)
    return {"client_id": client.client_id} | (
        {"client_secret": client.client_secret} if client.client_secret else {}
    )


def everything(panel: LoginPanel) -> str:
    """All state of all widgets in the panel, as a saved notebook would hold it."""
    texts, boxes = [], [panel]
    while boxes:
        widget = boxes.pop()
        boxes += getattr(widget, "children", ())
        texts.append(repr({name: value for name, value in widget.get_state().items() if name[0] != "_"}))
    return "\n".join(texts)


def end_of_browser(url: str, user: SandboxUser | None = None, **more: str) -> str:
    """The address on which a browser would end after `user` has signed in at `url`."""
    hint = {"login_hint": user.id} if user else {}
    answer = requests.get(url, params=hint | more, allow_redirects=False, timeout=10)
    return answer.headers["Location"]


def assertion_of(user: SandboxUser) -> str:
    now = datetime.now(UTC)
    xml = (
        '<saml2:Assertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion" ID="_1" Version="2.0" '
        f'IssueInstant="{now:%Y-%m-%dT%H:%M:%SZ}"><saml2:Issuer>idp</saml2:Issuer><saml2:Subject>'
        f"<saml2:NameID>{user.email}</saml2:NameID></saml2:Subject><saml2:Conditions "
        f'NotOnOrAfter="{now + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"/></saml2:Assertion>'
    )
    return base64.b64encode(xml.encode()).decode()


# The ways


def test_client_credentials_show_the_client_and_its_token(panel: LoginPanel, sandbox: Sandbox) -> None:
    """A machine's sign-in shows client, organization, region, fingerprint and end; the connection works."""
    sign_in(panel, **as_client(sandbox))
    token = panel.connection.access_token
    assert panel.status.text == "Signed in as the OAuth client admin."
    shown = everything(panel)
    for text in (
        "admin",
        "Cumulus Airlines",
        sandbox.base_url,
        token.fingerprint,
        f"{token.expires_at:%H:%M} UTC",
    ):
        assert text in shown
    assert panel.connection.tokens.get_tokens_me().organization.name == "Cumulus Airlines"


def test_saml2_bearer_shows_the_person(panel: LoginPanel, sandbox: Sandbox) -> None:
    """An assertion signs its person in, and the panel names them."""
    user = sandbox.user("ada.lovelace@cumulus-airlines.example")
    sign_in(
        panel,
        way="saml2_bearer",
        org_name=sandbox.organization.name,
        assertion=assertion_of(user),
        **as_client(sandbox, "saml"),
    )
    assert panel.status.text == f"Signed in as Ada Lovelace ({user.email})."


def test_pasted_token_is_tried_at_once(panel: LoginPanel, sandbox: Sandbox) -> None:
    """A good token signs in as its person; a dead one is refused in words, and leaves no connection."""
    user = sandbox.user("alan.turing@cumulus-airlines.example")
    sign_in(panel, way="access_token", access_token="Bearer no-such-token")
    assert "401" in panel.status.text
    assert "Sign in again" in panel.status.text
    with pytest.raises(SignedOutError, match="Nobody is signed in in this panel"):
        _ = panel.connection
    sign_in(panel, way="access_token", access_token=sandbox.issue_token(user))
    assert "Alan Turing" in panel.status.text


@pytest.mark.parametrize("client", ["single page app", "web app"])
def test_pasted_address_signs_in(panel: LoginPanel, sandbox: Sandbox, client: str) -> None:
    """With PKCE as with a secret: a wrong address is refused with the reason, the right one then signs in."""
    user = sandbox.users[0]
    sign_in(panel, way="browser_elsewhere", redirect_uri=REDIRECT_URI, **as_client(sandbox, client))
    [link, _] = panel.form.fields
    sign_in(panel, address=f"{REDIRECT_URI}?code=abc&state=stale")
    assert "belongs to another sign-in" in panel.status.text
    sign_in(panel, address=end_of_browser(link["href"], user))
    assert panel.status.text == f"Signed in as Grace Hopper ({user.email})."


def test_refusal_in_the_browser_is_told(panel: LoginPanel, sandbox: Sandbox) -> None:
    """A person who denies, or is inactive, is reported as such; *Start over* returns to the form."""
    inactive = sandbox.user("barbara.liskov@cumulus-airlines.example")
    sign_in(
        panel, way="browser_elsewhere", redirect_uri=REDIRECT_URI, **as_client(sandbox, "single page app")
    )
    sign_in(panel, address=end_of_browser(panel.form.fields[0]["href"], inactive))
    assert "refused in the browser" in panel.status.text
    panel.back_button.click()
    assert panel.form.submit_label == "Sign in"
    sign_in(panel, address="http://localhost/?code=late")
    assert "No sign-in waits for an address" in panel.status.text
    assert "late" not in everything(panel)


def browse(panel: LoginPanel, user: SandboxUser | None = None, **more: str) -> threading.Thread:
    """Do in a thread what a person does once the panel shows the link: open it, and follow the redirect."""
    shown = threading.Event()
    panel.form.observe(lambda change: shown.set() if change["new"][0]["kind"] == "link" else None, "fields")

    def follow() -> None:
        assert shown.wait(10)
        requests.get(end_of_browser(panel.form.fields[0]["href"], user, **more), timeout=10)

    thread = threading.Thread(target=follow)
    thread.start()
    return thread


def test_browser_on_this_machine_is_caught(panel: LoginPanel, sandbox: Sandbox) -> None:
    """The redirect reaches the listener on loopback; nothing has to be pasted."""
    browser = browse(panel, sandbox.users[0])
    sign_in(
        panel,
        way="browser",
        redirect_uri="http://127.0.0.1:0/callback",
        **as_client(sandbox, "single page app"),
    )
    browser.join()
    assert "Grace Hopper" in panel.status.text


def test_browser_on_this_machine_can_be_cancelled(panel: LoginPanel, sandbox: Sandbox) -> None:
    """Cancel ends the wait for the browser and shows the form again."""
    shown = threading.Event()
    panel.form.observe(lambda _: shown.set(), "fields")
    panel.submit(
        way="browser", redirect_uri="http://127.0.0.1:0/callback", **as_client(sandbox, "single page app")
    )
    assert shown.wait(10)
    panel.cancel_button.click()
    panel.wait()
    assert "cancelled" in panel.status.text
    assert panel.form.submit_label == "Sign in"


def test_sandbox_needs_nothing(panel: LoginPanel) -> None:
    """The sandbox is chosen like a region, and asks for nothing else."""
    sign_in(panel, region="sandbox")
    assert "Sandbox on this machine" in everything(panel)
    assert panel.connection.sandbox is not None
    panel.connection.close()


# What it says where it fails, and what it keeps


def test_wrong_secret_is_told_and_what_was_typed_is_kept(panel: LoginPanel, sandbox: Sandbox) -> None:
    """The error is in words with its correlation id; the form keeps all but the secret, and can be sent again."""
    right = as_client(sandbox)
    sign_in(panel, **right | {"client_secret": "wrong-secret"})
    assert "invalid_client" in panel.status.text
    assert "Correlation id" in panel.status.text
    assert panel.form.values["client_id"] == right["client_id"]
    assert "wrong-secret" not in everything(panel)
    assert not panel.form.disabled
    sign_in(panel, client_secret=right["client_secret"])
    assert panel.status.kind == "ok"


def test_region_must_be_chosen_and_usable(sandbox: Sandbox) -> None:
    """Without a region, with plain http, or with no address at all, nothing is sent and the panel says why."""
    panel = LoginPanel()
    sign_in(panel, **as_client(sandbox))
    assert "No region is chosen" in panel.status.text
    sign_in(panel, region="address", base_url="http://example.org", client_secret="secret")
    assert "unencrypted" in panel.status.text
    sign_in(panel, region="address", base_url="nowhere", client_secret="secret")
    assert "base address" in panel.status.text
    assert not sandbox.calls


def test_gateway_is_an_address_or_a_region(sandbox: Sandbox) -> None:
    """A gateway is typed as its base address, or given as a Region, which then is one of the choices."""
    panel = LoginPanel()
    panel.form.values = panel.form.values | {"region": "address", "base_url": "https://gateway.example.org"}
    assert "https://gateway.example.org/login" in panel.code
    given = gct.regions.gateway(sandbox.base_url, login_path="", api_path="")
    panel = LoginPanel(given)
    sign_in(panel, **as_client(sandbox))
    assert panel.connection.region == given
    assert [given.name, str(given)] in panel.form.fields[0]["options"]


def test_account_that_cannot_be_read_is_said(panel: LoginPanel, sandbox: Sandbox) -> None:
    """A token that was issued is kept where the platform then fails; the panel says that it could not look."""
    sandbox.add_fault(Fault("status", path="/api/v2/", status=500))
    sign_in(panel, **as_client(sandbox))
    assert panel.status.text == "Signed in as an account that could not be read."
    assert "answered with 500" in everything(panel)
    assert sandbox.is_alive(panel.connection.access_token.value)


def test_signing_in_again_replaces_only_on_success(panel: LoginPanel, sandbox: Sandbox) -> None:
    """While the new sign-in fails, the connection before stays; once it succeeds, it takes its place."""
    told: list[gct.Connection | None] = []
    panel.on_change(told.append)
    first = sign_in(panel, **as_client(sandbox)).connection
    panel.again_button.click()
    sign_in(panel, client_secret="wrong")
    assert panel.connection is first
    panel.back_button.click()
    assert panel.form.layout.display == "none"
    second = sign_in(panel, **as_client(sandbox, "many scopes")).connection
    assert second is not first
    assert told == [first, second]
    assert sandbox.is_alive(first.access_token.value)


def test_sign_out_revokes_then_forgets(panel: LoginPanel, sandbox: Sandbox) -> None:
    """The token is dead at the server, the connection holds none, and the form is back."""
    connection = sign_in(panel, **as_client(sandbox)).connection
    value = connection.access_token.value
    panel.sign_out_button.click()
    panel.wait()
    assert not sandbox.is_alive(value)
    assert panel.status.text == "Signed out: the token is revoked and forgotten."
    with pytest.raises(SignedOutError):
        _ = connection.access_token
    with pytest.raises(SignedOutError):
        _ = panel.connection
    assert panel.form.layout.display == ""


def test_sign_out_of_a_dead_token_forgets_it(panel: LoginPanel, sandbox: Sandbox) -> None:
    """A token that somebody revoked in the meantime can be left behind."""
    user = sandbox.users[0]
    value = sandbox.issue_token(user)
    sign_in(panel, way="access_token", access_token=value)
    gct.connect(sandbox.environment, access_token=value).tokens.delete_tokens_me()
    panel.sign_out_button.click()
    panel.wait()
    assert "no longer valid" in panel.status.text
    with pytest.raises(SignedOutError):
        _ = panel.connection


def test_sign_out_of_a_dead_token_leaves_a_connection_that_cannot_renew_it(
    panel: LoginPanel, sandbox: Sandbox
) -> None:
    """Forgotten means by the connection too: whoever still holds it cannot go on with it."""
    connection = sign_in(panel, **as_client(sandbox)).connection
    sandbox.advance(10**6)
    panel.sign_out_button.click()
    panel.wait()
    assert "no longer valid and is forgotten" in panel.status.text
    with pytest.raises(SignedOutError):
        connection.tokens.get_tokens_me()


def test_a_connection_that_came_during_a_sign_out_is_kept(panel: LoginPanel, sandbox: Sandbox) -> None:
    """Only what is signed out is forgotten: a token that took its place meanwhile is still there to be revoked."""
    sign_in(panel, **as_client(sandbox))
    held = sandbox.add_fault(Fault("hold", method="DELETE"))
    panel.sign_out_button.click()
    held.wait_until_held()
    other = gct.connect(sandbox.environment, access_token=sandbox.issue_token(sandbox.users[0]))
    panel.replace(other)
    held.release()
    panel.wait()
    assert panel.connection is other
    panel.sign_out_button.click()
    panel.wait()
    with pytest.raises(SignedOutError):
        _ = other.access_token


def test_sign_out_that_fails_keeps_the_connection(panel: LoginPanel, sandbox: Sandbox) -> None:
    """Where the revocation fails, the panel says so and the connection stays, to try again."""
    connection = sign_in(panel, **as_client(sandbox)).connection
    sandbox.add_fault(Fault("status", method="DELETE", status=400))
    panel.sign_out_button.click()
    panel.wait()
    assert "answered with 400" in panel.status.text
    assert panel.connection is connection


# Secrets


def test_no_secret_in_state_log_or_code(
    panel: LoginPanel, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """After a failure and a success, neither secret nor token is in any widget's state, in the log or the output."""
    caplog.set_level(logging.DEBUG)
    client = sandbox.add_client("rare", client_secret=secrets.token_urlsafe(32))
    wrong = secrets.token_urlsafe(32)
    sign_in(panel, client_id=client.client_id, client_secret=wrong)
    sign_in(panel, client_secret=client.client_secret or "")
    written = everything(panel) + caplog.text + "".join(capfd.readouterr()) + panel.code
    assert panel.connection.access_token.fingerprint in written
    for secret in (wrong, client.client_secret, panel.connection.access_token.value):
        assert secret not in written


def test_form_hands_secrets_over_wrapped(panel: LoginPanel) -> None:
    """What the page sends reaches callbacks as Secret, and nothing of it stays in the message."""
    got: list[dict[str, Any]] = []
    panel.form.on_submit(got.append)
    message = {"type": "submit", "values": {"client_id": "id", "client_secret": "hunter2-hunter2"}}
    panel.form._handle_custom_msg(message, [])
    assert got == [{"client_id": "id", "client_secret": Secret("hunter2-hunter2")}]
    assert "hunter2" not in f"{got}{message}"


def test_escape_cancels(panel: LoginPanel, sandbox: Sandbox) -> None:
    """The page's cancel message ends the call under way."""
    fault = sandbox.add_fault(Fault("hold", path="/oauth/token"))
    panel.submit(**as_client(sandbox))
    fault.wait_until_held()
    panel.form._handle_custom_msg({"type": "cancel"}, [])
    panel.wait()
    fault.release()
    assert "was cancelled" in panel.status.text
    with pytest.raises(SignedOutError):
        _ = panel.connection


# Copy as code


class Follower(webbrowser.BaseBrowser):
    """A browser in which `user` signs in at once."""

    def __init__(self, user: SandboxUser) -> None:
        super().__init__()
        self._user = user

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        """Follow the redirect, in a thread as the caller waits for it."""
        threading.Thread(target=requests.get, args=(end_of_browser(url, self._user),)).start()
        return True


@pytest.mark.parametrize(
    "way", ["client_credentials", "access_token", "saml2_bearer", "browser", "browser_elsewhere"]
)
def test_code_does_what_the_panel_does(
    panel: LoginPanel, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The lines shown sign in the same way once run; secrets are asked for, never shown."""
    user = sandbox.users[0]
    name = {"saml2_bearer": "saml", "client_credentials": "admin"}.get(way, "web app")
    given = as_client(sandbox, name) | {
        "way": way,
        "org_name": sandbox.organization.name,
        "redirect_uri": "http://127.0.0.1:0/callback" if way == "browser" else REDIRECT_URI,
        "assertion": assertion_of(user),
        "access_token": sandbox.issue_token(user),
    }
    if way == "browser":
        browse(panel, user)
    sign_in(panel, **given)
    urls: list[str] = []

    def answer(prompt: str) -> str:
        secret = {"Client": "client_secret", "Access": "access_token", "SAML2": "assertion"}
        name = secret.get(prompt.split(maxsplit=1)[0])
        return given[name] if name else end_of_browser(urls[-1], user)

    monkeypatch.setattr(getpass, "getpass", answer)
    monkeypatch.setattr("builtins.print", lambda text: urls.append(text.split()[-1]))
    monkeypatch.setattr(webbrowser, "_tryorder", ["test"])
    monkeypatch.setattr(webbrowser, "_browsers", {"test": [None, Follower(user)]})
    names: dict[str, Any] = {}
    exec(panel.code, names)
    signed_in = names["gc"]
    assert signed_in.tokens.get_tokens_me().oauth_client.name == (
        name if way != "access_token" else "web app"
    )
    for secret in (given["client_secret"], given["access_token"], given["assertion"]):
        assert secret not in panel.code


def test_code_of_the_sandbox_and_of_a_region() -> None:
    """A known region is named by its domain, the sandbox by its own call, and nothing is shown before a choice."""
    panel = LoginPanel()
    assert panel.code == ""
    panel.form.values = panel.form.values | {"region": "mypurecloud.de", "client_id": "my-client"}
    assert "'mypurecloud.de'" in panel.code
    assert "client_id='my-client'" in panel.code
    panel.form.values = panel.form.values | {"region": "sandbox"}
    assert "gct.connect_sandbox()" in panel.code


# What it begins with


def test_prefilled_from_where_connect_would_look(
    monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    """Region and client id come from the environment; the secret beside them does not get into the panel."""
    monkeypatch.setenv("GENESYSCLOUD_REGION", "eu-central-1")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", "the-client")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", "the-very-secret")
    panel = LoginPanel()
    assert panel.form.values["region"] == "mypurecloud.de"
    assert panel.form.values["client_id"] == "the-client"
    assert "the-very-secret" not in everything(panel)


def test_what_cannot_be_prefilled_is_said(clean_environment: Path) -> None:
    """A broken profile or an unknown region is told in the panel, which works nevertheless."""
    assert "'atlantis' is no Genesys Cloud region" in LoginPanel("atlantis").status.text
    (clean_environment / ".gc").mkdir()
    (clean_environment / ".gc" / "config.toml").write_text("broken [")
    assert "no valid TOML" in LoginPanel().status.text
    with pytest.raises(ConfigurationError, match="is no way to sign in"):
        LoginPanel(way="magic")


def test_all_regions_can_be_chosen() -> None:
    """The chooser holds every region, a gateway and the sandbox."""
    offered = [value for value, _ in LoginPanel().form.fields[0]["options"]]
    assert offered == ["", *(region.name for region in gct.regions.ALL), "address", "sandbox"]


# The one panel that login() stands for


@pytest.fixture
def asked_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new kernel: nobody has called login() yet."""
    monkeypatch.setattr(ask, "_asked", None)


@pytest.fixture
def in_notebook(asked_nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a kernel ran this."""
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_login_returns_the_same_panel(in_notebook: None, sandbox: Sandbox) -> None:
    """Called again, with the same arguments or with none, it is the same panel with its connection."""
    panel = gct.login(sandbox.environment)
    assert isinstance(panel, LoginPanel)
    sign_in(panel, **as_client(sandbox))
    assert gct.login() is panel
    assert gct.login(sandbox.environment) is panel
    assert gct.login().connection is panel.connection
    assert gct.login("mypurecloud.de") is not panel


@pytest.fixture
def without_widgets(in_notebook: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ipywidgets were not installed."""
    monkeypatch.delattr(gct.panels, "LoginPanel", raising=False)
    for name in ("gctokens_nb.panels.login", "ipywidgets"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("place", ["asked_nobody", "without_widgets"])
def test_login_asks_with_prompts_where_no_panel_can_be_shown(
    place: str, request: pytest.FixtureRequest, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a terminal, and without ipywidgets, it asks for the secret without echo, once."""
    request.getfixturevalue(place)
    client = sandbox.client("admin")
    prompts: list[str] = []
    monkeypatch.setattr(getpass, "getpass", lambda prompt: prompts.append(prompt) or client.client_secret)
    signed_in = gct.login(sandbox.environment, client_id=client.client_id)
    assert signed_in.connection.tokens.get_tokens_me().oauth_client.name == "admin"
    assert gct.login().connection is signed_in.connection
    assert len(prompts) == 1


def test_login_without_a_panel_names_the_other_ways(asked_nobody: None) -> None:
    """A way that needs the panel is refused where there is none, with the calls to use."""
    with pytest.raises(ConfigurationError, match=r"begin_sign_in\(…\)\.finish\(\)"):
        gct.login("mypurecloud.de", way="browser")


# A notebook that is executed without anybody there


EXECUTED = """\
import os, gctokens_nb as gct
panel = gct.login(os.environ["TEST_ENVIRONMENT"], client_id=os.environ["TEST_CLIENT_ID"])
panel.submit(client_secret=os.environ["TEST_CLIENT_SECRET"])
panel.wait()
panel
---
panel.connection
---
panel.status.text
"""


def test_executed_notebook_holds_no_secret(sandbox: Sandbox, tmp_path: Path) -> None:
    """nbclient, which always stores widget state, stores the panel but no part of the secret and no token."""
    secret = "".join(map(chr, range(0xA100, 0xA118)))
    client = sandbox.add_client("rare", client_secret=secret, permissions=["directory:user:view"])
    path = tmp_path / "executed.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in EXECUTED.split("---\n")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--inplace", path],
        check=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(gct.__file__).parents[1]),
            "IPYTHONDIR": str(tmp_path),
            "TEST_ENVIRONMENT": sandbox.environment,
            "TEST_CLIENT_ID": client.client_id,
            "TEST_CLIENT_SECRET": secret,
        },
    )
    saved = path.read_text("utf-8")
    saved += re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), saved)
    assert "application/vnd.jupyter.widget-state+json" in saved
    assert "Signed in as the OAuth client rare" in saved
    [token] = sandbox._world.tokens
    assert sandbox.is_alive(token)
    parts = [secret[i : i + 4] for i in range(len(secret) - 3)] + [
        token[i : i + 8] for i in range(len(token) - 7)
    ]
    assert not [part for part in parts if part in saved]
