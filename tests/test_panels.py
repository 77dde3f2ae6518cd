"""What panels do, without a browser: their buttons are clicked from Python, against the sandbox."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

import gctokens_nb as gct
from gctokens_nb.panels import (
    BulkRevokePanel,
    ConnectionsPanel,
    Dashboard,
    IdleTimeoutPanel,
    Panel,
    RevokePanel,
    TokenInfoPanel,
)
from gctokens_nb.sandbox import Fault, Sandbox

HOSTILE = '<img src=x onerror="alert(1)">'
SignIn = Callable[..., gct.Connection]


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    """Wait until a panel has read what it shows; close it after the test."""
    panels: list[Any] = []

    def open_panel(panel: Any) -> Any:
        panels.append(panel)
        panel.wait()
        return panel

    yield open_panel
    for panel in panels:
        panel.close()


def texts(widget: Any) -> str:
    """Every trait of a widget and of all below it, as the page gets them."""
    return str(widget.get_state()) + "".join(texts(child) for child in getattr(widget, "children", ()))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.005)


def run_code(panel: Any) -> dict[str, Any]:
    """Run what a panel shows as code; the names it leaves."""
    names: dict[str, Any] = {}
    exec(panel.code, names)  # the point of the test
    return names


# The frame


@pytest.fixture
def asking(gc: gct.Connection, opened: Callable[[Any], Any]) -> Any:
    """A panel with one button, which asks for the token."""
    panel = Panel("A test")
    button = panel.button(
        "Ask",
        lambda: panel.work(
            "Asking", gc.tokens.get_tokens_me, lambda info: panel.say(info.organization.name, "ok")
        ),
    )
    panel.actions.children = [button]
    panel.ask_button = button
    return opened(panel)


def test_a_click_returns_while_the_call_runs(asking: Any, sandbox: Sandbox) -> None:
    """The kernel is free during a call; the panel says that it works, and takes no clicks but on Cancel."""
    held = sandbox.add_fault(Fault("hold"))
    asking.ask_button.click()  # returns, although the answer is held
    assert (asking.status.text, asking.status.kind) == ("Asking…", "busy")
    assert asking.ask_button.disabled
    assert not asking.cancel_button.layout.display
    held.release()
    asking.wait()
    assert (asking.status.text, asking.status.kind) == (sandbox.organization.name, "ok")
    assert not asking.ask_button.disabled
    assert asking.cancel_button.layout.display == "none"


def test_a_second_click_does_nothing(asking: Any, sandbox: Sandbox) -> None:
    """Two clicks in a row send one request."""
    held = sandbox.add_fault(Fault("hold"))
    before = len(sandbox.calls)
    asking.ask_button.click()
    asking.ask_button.click()
    held.release()
    asking.wait()
    assert len(sandbox.calls) == before + 1


def test_a_wait_is_shown_and_ends_at_once_when_cancelled(asking: Any, sandbox: Sandbox) -> None:
    """A pause for the rate limit says how long and why; Cancel ends it, and nothing more is sent."""
    sandbox.add_fault(Fault("status", status=429, seconds=30))
    asking.ask_button.click()
    wait_until(lambda: "waiting 30 s (the rate limit)" in asking.status.text)
    sent, started = len(sandbox.calls), time.monotonic()
    asking.cancel_button.click()
    assert time.monotonic() - started < 20
    assert "was cancelled" in asking.status.text
    assert "Rate limit" in asking.status.text or "Too many requests" in asking.status.text
    assert not asking.ask_button.disabled
    assert len(sandbox.calls) == sent


def test_cancelling_a_request_that_was_sent_says_that_its_outcome_is_unknown(
    asking: Any, sandbox: Sandbox
) -> None:
    """The request is broken off, the panel is free at once and its thread gone."""
    held = sandbox.add_fault(Fault("hold"))
    asking.ask_button.click()
    held.wait_until_held()
    asking.cancel_button.click()
    assert "unknown" in asking.status.text
    assert not asking.busy
    wait_until(lambda: not workers())


def test_a_call_that_cannot_be_broken_off_is_left_to_itself(opened: Callable[[Any], Any]) -> None:
    """The panel is free all the same; what comes of the call later changes nothing in it."""
    panel = opened(Panel("A test"))
    late = threading.Event()
    panel.work("Waiting", late.wait, lambda _: panel.say("late"))
    panel.cancel()
    assert "whether it took effect is unknown" in panel.status.text
    assert not panel.busy
    late.set()
    wait_until(lambda: not workers())
    assert "unknown" in panel.status.text
    panel.cancel()  # nothing to cancel
    assert "unknown" in panel.status.text


def test_nothing_more_is_sent_after_cancel(
    sandbox: Sandbox, sign_in: SignIn, opened: Callable[[Any], Any]
) -> None:
    """A revocation that is cancelled during the request before it never happens."""
    gc = sign_in(access_token=sandbox.issue_token("grace.hopper@cumulus-airlines.example"))
    panel = opened(RevokePanel(gc))
    panel.choose("ada.lovelace@cumulus-airlines.example")
    gc.directory._own = None  # as for a token whose user is not known yet: delete_token() asks first
    panel.revoke_button.click()
    held = sandbox.add_fault(Fault("hold", path="/users/me"))
    panel.confirm_button.click()
    held.wait_until_held()
    panel.cancel_button.click()
    held.release()
    wait_until(lambda: not workers())
    assert not sandbox.revocations
    assert list(panel.history["outcome"]) == ["unknown"]


def test_what_is_told_of_a_call_is_of_that_call(asking: Any, gc: gct.Connection, sandbox: Sandbox) -> None:
    """A click may start the next call before the outcome of the last is told: the correlation id is still its own."""
    told: list[str] = []
    held = sandbox.add_fault(Fault("hold", path="timeout"))

    def click(_: Any) -> None:
        if not asking.busy:
            asking.work("Asking more", gc.tokens.get_tokens_timeout, lambda _: None)

    asking.status.observe(click, "text")
    asking.work("Asking", gc.tokens.get_tokens_me, lambda _: told.append(asking.correlation_id("GET")))
    held.wait_until_held()
    wait_until(lambda: bool(told))
    assert all(told)
    asking.status.unobserve(click, "text")
    held.release()
    asking.wait()


def test_an_unexpected_exception_is_shown_by_type_and_place(
    opened: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of ours is said to be one, where it is; its text, which may hold anything, is neither shown nor logged."""
    panel = opened(Panel("A test"))

    def fail() -> None:
        raise KeyError("secret")

    panel.work("Failing", fail, lambda _: None)
    panel.wait()
    assert re.search(r"Unexpected KeyError at test_panels\.py, line \d+: this is a bug", panel.status.text)
    assert "secret" not in texts(panel)
    assert re.search(r"Unexpected KeyError at test_panels\.py, line \d+", caplog.text)
    assert "secret" not in caplog.text
    panel.button("Fail", fail).click()
    assert "Unexpected KeyError" in panel.status.text
    panel.work("Failing later", int, lambda _: fail())
    panel.wait()
    assert "Unexpected KeyError" in panel.status.text


def test_closing_leaves_no_thread_and_no_widget(asking: Any, sandbox: Sandbox) -> None:
    """A closed panel shows nothing more, and its request is broken off with its thread."""
    held = sandbox.add_fault(Fault("hold"))
    asking.ask_button.click()
    held.wait_until_held()
    asking.close()
    asking.wait()
    assert asking.comm is None
    assert asking.ask_button.comm is None
    wait_until(lambda: not workers())
    asking.ask_button.click()
    assert not asking.busy


def test_waiting_has_an_end(asking: Any, sandbox: Sandbox) -> None:
    """`wait()` says what the panel is still doing."""
    held = sandbox.add_fault(Fault("hold"))
    asking.ask_button.click()
    with pytest.raises(TimeoutError, match="Asking"):
        asking.wait(timeout_seconds=0.01)
    held.release()


def test_missing_packages_are_named() -> None:
    """Without anywidget, a panel says what to install."""
    code = "import sys; sys.modules['anywidget'] = None\nimport gctokens_nb as gct\ngct.panels.TokenInfoPanel"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'gctokens-nb[notebook]'" in ran.stderr.splitlines()[-1]


def workers() -> list[threading.Thread]:
    """The threads of panels that are alive."""
    return [thread for thread in threading.enumerate() if thread.name.endswith("Panel")]


# Every panel

MAKERS: dict[str, Callable[[gct.Connection], Any]] = {
    "token info": TokenInfoPanel,
    "revoke": RevokePanel,
    "idle timeout": IdleTimeoutPanel,
    "connections": lambda gc: ConnectionsPanel({"one": gc}),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("html", status=503), "answered with 503 and a body that is not the platform's"),
        (Fault("html", status=200), "an HTML page: this is not taken for success"),
        (Fault("garbage"), "not"),
        (Fault("status", status=500), "Try again in a few minutes"),
        (Fault("drop-before"), "broke before"),
    ],
    ids=["html error", "html page", "garbage", "500", "dropped"],
)
def test_an_error_is_told_in_the_panel(
    make: Callable[[gct.Connection], Any],
    fault: Fault,
    told: str,
    sign_in: SignIn,
    sandbox: Sandbox,
    opened: Any,
) -> None:
    """Whatever a server or proxy does, the panel says what happened and works on once that is over."""
    panel = opened(make(sign_in()))
    sandbox.add_fault(fault)
    panel.refresh()
    panel.wait()
    assert panel.status.kind == "error"
    assert told in panel.status.text
    sandbox.clear_faults()
    panel.refresh()
    panel.wait()
    assert panel.status.kind != "error"


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_a_pause_in_the_middle_is_survived(
    make: Callable[[gct.Connection], Any], sign_in: SignIn, sandbox: Sandbox, opened: Any
) -> None:
    """429 once is waited for, then the panel shows what it should."""
    panel = opened(make(sign_in()))
    sandbox.add_fault(Fault("status", status=429, seconds=0.05, times=1))
    panel.refresh()
    panel.wait()
    assert panel.status.kind != "error"


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_no_trait_holds_a_secret(
    make: Callable[[gct.Connection], Any], sign_in: SignIn, sandbox: Sandbox, opened: Any
) -> None:
    """Neither the token nor the client's secret is in what the page gets."""
    gc = sign_in()
    panel = opened(make(gc))
    shown = texts(panel)
    assert gc.access_token.value not in shown
    assert str(sandbox.client("admin").client_secret) not in shown


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_the_code_shown_does_what_the_panel_does(
    make: Callable[[gct.Connection], Any],
    sign_in: SignIn,
    sandbox: Sandbox,
    opened: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lines run as they are, with the credentials in the environment, and give the panel's DataFrame."""
    admin = sandbox.client("admin")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", admin.client_id)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", str(admin.client_secret))
    panel = opened(make(sign_in()))
    names = run_code(panel)
    if "frame" in names:
        moments = names["frame"].columns[names["frame"].dtypes.astype(str).str.startswith("datetime")]
        pd.testing.assert_frame_equal(
            names["frame"].drop(columns=moments).reset_index(drop=True),
            panel.frame.drop(columns=moments).reset_index(drop=True),
        )


def test_the_code_of_a_sandbox_needs_nothing(opened: Any) -> None:
    """For a connection to the sandbox, the code connects to one like it, of the same client and organization."""
    with gct.connect_sandbox("no permissions", organization="Stratus Hotels") as gc:
        panel = opened(TokenInfoPanel(gc))
        names = run_code(panel)
        assert names["frame"]["organization_name"].item() == "Stratus Hotels"
        assert names["frame"]["client_name"].item() == "no permissions"
        names["gc"].close()


def test_the_code_of_a_gateway_is_a_region_that_connect_takes(
    sandbox: Sandbox, sign_in: SignIn, opened: Any
) -> None:
    """A gateway has no name that `connect()` knows, so the code holds its addresses."""
    gateway = gct.regions.gateway(f"{sandbox.base_url}/genesys")
    panel = opened(TokenInfoPanel(gct.connect(gateway, access_token=sandbox.issue_token())))
    shown = re.search(r"gc = gct\.connect\((.+)\)  #", panel.code)
    assert shown
    assert gct.regions.resolve(eval(shown[1], {"gct": gct})) == gateway  # the point of the test


@pytest.mark.parametrize("make", [TokenInfoPanel, RevokePanel, IdleTimeoutPanel])
def test_a_panel_whose_token_dies_signs_in_again(make: Callable[[gct.Connection], Any], opened: Any) -> None:
    """The panel offers to sign in again, and goes on with the new connection."""
    with gct.connect_sandbox() as gc:
        panel = opened(make(gc))
        assert panel._login_box.layout.display == "none"
        gc.tokens.delete_tokens_me()
        if make is RevokePanel:
            panel.search_text.value = "ada"
        elif make is IdleTimeoutPanel:
            panel.seconds.value = 900
            panel.change_button.click()
        else:
            panel.refresh()
        panel.wait()
        assert "Sign in again" in panel.status.text
        if make is TokenInfoPanel:  # a dead token has no time left to count down
            assert panel._idles.ends_at == panel._ends.ends_at == 0
        assert not panel._login_box.layout.display
        panel.sign_in_button.click()
        panel.wait()
        assert panel.status.kind == "ok"
        assert panel._login_box.layout.display == "none"
        assert panel.connection is not gc
        if make is RevokePanel:  # what was typed is kept
            assert panel.found.value.name == "Ada Lovelace"
        if make is IdleTimeoutPanel:
            assert panel.seconds.value == 900
            assert "idle_token_timeout_seconds=900" in panel.code


def test_signing_in_again_elsewhere_than_in_a_sandbox_asks_for_the_secret(
    sandbox: Sandbox, sign_in: SignIn, opened: Any
) -> None:
    """The sign-in panel opens inside, with region and client filled in; after it, the panel goes on."""
    gc = sign_in()
    told: list[tuple[gct.Connection, gct.Connection]] = []
    panel = opened(TokenInfoPanel(gc))
    panel.on_sign_in(lambda old, new: told.append((old, new)))
    gc.sign_out()
    panel.refresh()
    panel.wait()
    panel.sign_in_button.click()
    (login,) = panel._login_box.children
    assert login.form.values["client_id"] == gc.client_id  # noqa: PD011 - no DataFrame
    login.submit(client_secret=str(sandbox.client("admin").client_secret))
    login.wait()
    panel.wait()
    assert told == [(gc, panel.connection)]
    assert panel.status.kind == "ok"


def test_a_run_that_the_token_s_death_stopped_offers_to_sign_in_again(
    sign_in: SignIn, sandbox: Sandbox, opened: Any, tmp_path: Path
) -> None:
    """The error of a whole run says why it stopped; where that is the token, the way on is a new one."""
    panel = opened(BulkRevokePanel(sign_in(access_token=sandbox.issue_token(sandbox.users[0]))))
    panel.journal_text.value = str(tmp_path / "run.sqlite")
    panel.pasted.value = sandbox.users[1].email
    panel.plan_button.click()
    panel.wait()
    sandbox.add_fault(Fault("expire-token", method="DELETE"))
    panel.number_text.value = "1"
    panel.revoke_button.click()
    panel.wait()
    assert panel.status.kind == "error"
    assert not panel._login_box.layout.display


# Another connection


@pytest.fixture
def two() -> Iterator[tuple[gct.Connection, gct.Connection]]:
    """Connections to two organizations."""
    with gct.connect_sandbox(organization="Org A") as one, gct.connect_sandbox(organization="Org B") as other:
        other.session.retry = gct.RetryPolicy(attempts=1)
        yield one, other


def test_nothing_of_another_connection_stays_where_the_new_one_cannot_be_read(
    two: tuple[gct.Connection, gct.Connection], opened: Any
) -> None:
    """What is shown, the DataFrame and the countdowns are of the connection in use, or empty."""
    one, other = two
    token, idle, revoke = (opened(make(one)) for make in (TokenInfoPanel, IdleTimeoutPanel, RevokePanel))
    revoke.choose("ada")
    assert revoke.found.options
    other.sandbox.add_fault(Fault("status", status=500))
    for panel in (token, idle, revoke):
        panel.use(other)
        panel.wait()
        assert panel.status.kind == "error"
    assert token.info is None
    assert token.frame.empty
    assert (token._idles.ends_at, token._ends.ends_at, token._table.value) == (0, 0, "")
    assert idle.timeout is None
    assert idle.frame.empty
    assert not idle._current.value
    assert not revoke.found.options
    revoke.revoke_button.click()
    assert "Choose a user first" in revoke.status.text


def test_what_is_typed_for_a_connection_that_cannot_be_read_is_kept(
    two: tuple[gct.Connection, gct.Connection], opened: Any
) -> None:
    """The form of the idle timeout keeps every wish until it could be filled."""
    one, other = two
    panel = opened(IdleTimeoutPanel(one))
    panel.seconds.value = 900
    other.sandbox.add_fault(Fault("status", status=500))
    panel.use(other)
    panel.wait()
    panel.enabled.value = False
    panel.change_button.click()
    assert "not known yet" in panel.status.text
    other.sandbox.clear_faults()
    panel.refresh()
    panel.wait()
    assert (panel.seconds.value, panel.enabled.value) == (900, False)
    assert "enable_idle_token_timeout=False, idle_token_timeout_seconds=900" in panel.code


@pytest.mark.parametrize("fails", [False, True], ids=["answer", "error"])
@pytest.mark.parametrize("make", [TokenInfoPanel, RevokePanel, IdleTimeoutPanel])
def test_what_comes_of_the_connection_before_is_dropped(
    make: Callable[[gct.Connection], Any],
    fails: bool,
    two: tuple[gct.Connection, gct.Connection],
    opened: Any,
) -> None:
    """A read that was under way when another connection was chosen shows nothing, neither its answer nor its error."""
    one, other = two
    panel = opened(make(one))
    held = one.sandbox.add_fault(Fault("hold", times=1))
    panel.refresh()
    held.wait_until_held()
    if fails:
        one.tokens.delete_tokens_me()
    other.sandbox.add_fault(Fault("status", status=500))
    panel.use(other)
    held.release()
    panel.wait()
    assert "answered with 500" in panel.status.text
    assert panel._login_box.layout.display == "none"
    if make is TokenInfoPanel:
        assert panel.info is None
        assert not panel._table.value
    if make is IdleTimeoutPanel:
        assert panel.timeout is None
    if make is RevokePanel:
        assert panel.may is None


def test_a_sign_in_for_a_connection_that_was_left_changes_nothing(
    two: tuple[gct.Connection, gct.Connection], opened: Any
) -> None:
    """A panel that works on another connection by then goes on with that; who asked to hear of it does."""
    one, other = two
    panel = opened(TokenInfoPanel(one))
    told: list[tuple[gct.Connection, gct.Connection]] = []
    panel.on_sign_in(lambda old, new: told.append((old, new)))
    held = one.sandbox.add_fault(Fault("hold", path="/oauth/token"))
    panel.sign_in_button.click()
    held.wait_until_held()
    panel.use(other)
    held.release()
    panel.wait()
    assert panel.connection is other
    assert [old for old, _ in told] == [one]


# Token info


def test_token_info_shows_every_field(gc: gct.Connection, opened: Any) -> None:
    """Each field of TokenInfo and of its OAuth client is in the table, and in the DataFrame."""
    panel = opened(TokenInfoPanel(gc))
    table = panel._table.value
    client = panel.info.oauth_client
    for part in (
        panel.info.organization.name,
        panel.info.organization.id,
        panel.info.home_organization.name,
        *panel.info.authorized_scope,
        client.id,
        client.name,
        client.authorized_grant_type,
        client.state,
        client.created_by.name,
        client.modified_by.id,
        f"{client.date_created:%Y-%m-%d %H:%M:%S}",
        *(role.role_id for role in client.role_divisions),
        gc.access_token.fingerprint,
    ):
        assert part in table
    assert panel.frame["organization_name"].item() == panel.info.organization.name


def test_refresh_leaves_the_idle_timer_alone_and_says_so(
    gc: gct.Connection, sandbox: Sandbox, opened: Any
) -> None:
    """Reading again does not put off the moment at which the token idles out."""
    panel = opened(TokenInfoPanel(gc))
    idles_at = panel.info.date_token_idles
    sandbox.advance(600)
    panel.refresh_button.click()
    panel.wait()
    assert panel.info.date_token_idles == idles_at
    assert "idle timer was left as it was" in panel.status.text
    assert panel._idles.ends_at == idles_at.timestamp()
    assert all(call.query == "preserveIdleTTL=true" for call in sandbox.calls if call.path.endswith("/me"))


def test_sixty_scopes_are_counted_and_listed_one_by_one(sign_in: SignIn, opened: Any) -> None:
    """Many scopes are readable."""
    panel = opened(TokenInfoPanel(sign_in("many scopes")))
    assert panel._table.value.count("60 scopes") == 2
    assert panel._table.value.count("<li>") == 120


def test_a_clone_is_pointed_out_in_words(sandbox: Sandbox, sign_in: SignIn, opened: Any) -> None:
    """A home organization that is another one, and a cloned user, are said, not only shown."""
    panel = opened(TokenInfoPanel(sign_in(access_token=sandbox.issue_token(sandbox.clone))))
    remarks = panel._remarks.value
    assert "belongs to Cumulus Airlines Partner and acts in Cumulus Airlines" in remarks
    assert f"clone of user {panel.info.cloned_user.id}" in remarks
    assert panel._ends.ends_at == 0  # nobody knows when a pasted token ends


def test_an_inactive_client_is_pointed_out(sandbox: Sandbox, sign_in: SignIn, opened: Any) -> None:
    """The token of a client that is about to go: the panel says so, and when it goes."""
    sandbox.add_client("leaving", client_secret="s", state="inactive")
    panel = opened(TokenInfoPanel(sign_in(access_token=sandbox.issue_token(client="leaving"))))
    assert "OAuth client is inactive" in panel._remarks.value
    assert "to be deleted on" in panel._remarks.value


def test_server_text_is_shown_as_text(opened: Any) -> None:
    """An organization named like an HTML tag is no tag in the page."""
    with gct.connect_sandbox(organization=HOSTILE) as gc:
        for panel in (TokenInfoPanel(gc), ConnectionsPanel({HOSTILE: gc})):
            opened(panel)
            assert "<img" not in panel._table.value
            assert "&lt;img" in panel._table.value


def test_before_anything_was_read_the_frame_has_no_rows(
    gc: gct.Connection, sandbox: Sandbox, opened: Any
) -> None:
    """The DataFrames have their columns from the start."""
    sandbox.add_fault(Fault("status", status=500))
    assert opened(TokenInfoPanel(gc)).frame.empty
    idle = opened(IdleTimeoutPanel(gc))
    assert idle.frame.empty
    idle.change_button.click()
    assert "not known yet" in idle.status.text
    assert list(opened(RevokePanel(gc)).history.columns)[:3] == ["at", "outcome", "target"]


# Revoke


@pytest.fixture
def revoke(gc: gct.Connection, opened: Any) -> Any:
    """The revoke panel of the administrator's client."""
    return opened(RevokePanel(gc))


def test_one_click_revokes_nothing(revoke: Any, sandbox: Sandbox) -> None:
    """The first click asks, naming the person, what goes, single sign-on and the permission; No changes nothing."""
    ada = sandbox.user("ada.lovelace@cumulus-airlines.example")
    token = sandbox.issue_token(ada)
    revoke.choose(ada.email)
    revoke.revoke_button.click()
    question = revoke._confirmation._question.value
    for part in (ada.name, ada.email, ada.id, "All their tokens", "single sign-on", "oauth:token:delete"):
        assert part in question
    revoke.keep_button.click()
    revoke.confirm_button.click()
    assert not revoke.busy
    assert sandbox.is_alive(token)
    assert revoke.history.empty


def test_confirmed_it_revokes_and_tells_time_outcome_and_correlation_id(
    revoke: Any, sandbox: Sandbox
) -> None:
    """After the second click all tokens of the user are dead; the history keeps it, once for two clicks."""
    ada = sandbox.user("ada.lovelace@cumulus-airlines.example")
    token = sandbox.issue_token(ada)
    revoke.choose(ada.id.upper())
    revoke.revoke_button.click()
    revoke.confirm_button.click()
    revoke.confirm_button.click()
    revoke.wait()
    revoke.confirm_button.click()  # late, when the first is long done
    assert not revoke.busy
    assert revoke._confirmation.box.layout.display == "none"
    assert not sandbox.is_alive(token)
    assert len(sandbox.revocations) == 1
    row = revoke.history.iloc[0]
    assert (row["user_id"], row["name"], row["email"], row["outcome"]) == (
        ada.id,
        ada.name,
        ada.email,
        "revoked",
    )
    assert row["correlation_id"] in revoke.status.text
    assert f"{row['at']:%H:%M:%S} UTC" in revoke.status.text
    assert row["correlation_id"] in revoke._history.value


def test_the_own_token_is_revoked_with_proof(revoke: Any, gc: gct.Connection, sandbox: Sandbox) -> None:
    """The own token takes two clicks too, and HEAD proves that it is dead."""
    token = gc.access_token.value
    revoke.target.value = "my own token"
    assert "delete_tokens_me" in revoke.code
    revoke.revoke_button.click()
    assert gc.access_token.fingerprint in revoke._confirmation._question.value
    assert sandbox.is_alive(token)
    revoke.confirm_button.click()
    revoke.wait()
    assert not sandbox.is_alive(token)
    assert "HEAD was answered with 401" in revoke.status.text
    assert list(revoke.history["target"]) == ["own token"]


def test_two_users_of_one_name_are_told_apart(revoke: Any) -> None:
    """Both are listed with e-mail and id, and neither is chosen."""
    revoke.search_text.value = "Maria Schmidt"
    revoke.wait()
    assert len(revoke.found.options) == 2
    assert revoke.found.value is None
    revoke.revoke_button.click()
    assert "Choose a user first" in revoke.status.text


def test_a_user_that_does_not_exist_is_said_to_be_none(revoke: Any) -> None:
    """Neither a name, nor an id, nor nothing at all finds anybody."""
    for typed in ("nobody at all", "01234567-89ab-cdef-0123-456789abcdef"):
        revoke.choose(typed)
        assert "Nobody here" in revoke.status.text
        assert typed in revoke.status.text
    revoke.search_text.value = "  "
    revoke.wait()
    assert "Type a name" in revoke.status.text
    assert not revoke.found.options


def test_what_is_typed_during_a_search_is_searched_next(revoke: Any, sandbox: Sandbox) -> None:
    """The last text wins, without a search for each letter."""
    held = sandbox.add_fault(Fault("hold", path="search"))
    for typed in ("e", "em", "emm", "emmy"):
        revoke.search_text.value = typed
    held.release()
    revoke.wait()
    assert revoke.found.value.name == "Emmy Noether"
    assert sum(call.path.endswith("search") for call in sandbox.calls) == 2


def test_a_user_deleted_meanwhile_is_refused_in_words(revoke: Any, sandbox: Sandbox) -> None:
    """A 404 is told with what to do next and kept in the history as refused."""
    revoke.choose("ada.lovelace@cumulus-airlines.example")
    sandbox.add_fault(Fault("status", method="DELETE", status=404))
    revoke.revoke_button.click()
    revoke.confirm_button.click()
    revoke.wait()
    assert "answered with 404" in revoke.status.text
    row = revoke.history.iloc[0]
    assert row["outcome"] == "refused"
    assert row["correlation_id"] in revoke.status.text


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault("drop-after", method="DELETE"), "unknown"),
        (Fault("status", method="DELETE", status=500), "unknown"),
        (Fault("status", method="DELETE", status=403), "refused"),
        (Fault("status", method="HEAD", status=500), "revoked, not proven"),
    ],
    ids=["dropped", "500", "403", "no proof"],
)
def test_an_outcome_is_never_called_better_than_it_is(
    revoke: Any, sandbox: Sandbox, fault: Fault, outcome: str
) -> None:
    """The history tells revoked, refused and unknown apart."""
    sandbox.add_fault(fault)
    revoke.target.value = "my own token"
    revoke.revoke_button.click()
    revoke.confirm_button.click()
    revoke.wait()
    assert list(revoke.history["outcome"]) == [outcome]
    assert revoke.status.kind == "error"


_DROPPED = Fault("drop-after", method="DELETE", times=1)
_EXPIRED = Fault("expire-token", method="DELETE", times=1)
_NOT_RENEWED = Fault("status", path="/oauth/token", status=400)


@pytest.mark.parametrize(
    ("faults", "outcome"),
    [
        ([_DROPPED, Fault("status", method="DELETE", status=429, seconds=100)], "unknown"),
        ([_DROPPED, _EXPIRED, _NOT_RENEWED], "unknown"),
        ([_EXPIRED, _NOT_RENEWED], "refused"),
        (
            [
                Fault("status", method="DELETE", status=503, times=1, seconds=0),
                Fault("status", method="DELETE", status=403),
            ],
            "unknown",
        ),
        (
            [
                Fault("status", method="DELETE", status=429, times=1, seconds=0),
                Fault("status", method="DELETE", status=403),
            ],
            "refused",
        ),
        ([Fault("html", method="DELETE", status=200)], "unknown"),
    ],
    ids=["dropped, 429", "dropped, 401, not renewed", "401, not renewed", "503, 403", "429, 403", "html"],
)
def test_an_outcome_is_that_of_all_attempts(
    revoke: Any, sandbox: Sandbox, faults: list[Fault], outcome: str
) -> None:
    """A revocation of which one attempt got no answer may have taken effect, whatever the last one was answered."""
    revoke.choose("ada.lovelace@cumulus-airlines.example")
    for fault in faults:
        sandbox.add_fault(copy.copy(fault))
    revoke.revoke_button.click()
    revoke.confirm_button.click()
    revoke.wait()
    assert list(revoke.history["outcome"]) == [outcome]


def test_a_revocation_whose_host_is_gone_after_the_effect_is_not_called_unsent(
    revoke: Any, gc: gct.Connection, sandbox: Sandbox
) -> None:
    """That the repetition could not be sent says nothing of the first attempt."""
    revoke.choose("ada.lovelace@cumulus-airlines.example")
    sandbox.add_fault(Fault("drop-after", method="DELETE"))
    gc.session.on_wait = lambda _: sandbox.stop()
    revoke.revoke_button.click()
    revoke.confirm_button.click()
    revoke.wait()
    assert list(revoke.history["outcome"]) == ["unknown"]


def test_a_revocation_that_fails_before_it_is_sent_is_called_unsent(
    sign_in: SignIn, sandbox: Sandbox, opened: Any
) -> None:
    """Where asking for the own user fails, no DELETE leaves."""
    gc = sign_in(access_token=sandbox.issue_token("grace.hopper@cumulus-airlines.example"))
    panel = opened(RevokePanel(gc))
    panel.choose("ada.lovelace@cumulus-airlines.example")
    gc.directory._own = None  # as for a token whose user is not known yet: delete_token() asks first
    sandbox.add_fault(Fault("status", status=500, path="/users/me"))
    panel.revoke_button.click()
    panel.confirm_button.click()
    panel.wait()
    assert list(panel.history["outcome"]) == ["not sent"]


@pytest.mark.parametrize(("client", "told"), [("admin", "are revoked"), ("no permissions", "with 403")])
def test_the_outcome_stays_while_the_next_user_is_typed(
    client: str, told: str, sign_in: SignIn, sandbox: Sandbox, opened: Any
) -> None:
    """Success or refusal can be read to the end: the next user is searched at the next keystroke, or at Enter."""
    sandbox.add_fault(
        Fault("status", status=403, path="subjects")
    )  # else the button would be off for one of them
    panel = opened(RevokePanel(sign_in(client)))
    ada = sandbox.user("ada.lovelace@cumulus-airlines.example")
    emmy = sandbox.user("emmy.noether@cumulus-airlines.example")
    for finish in (lambda: press_enter(panel), lambda: setattr(panel.search_text, "value", f"{emmy.id} ")):
        panel.choose(ada.id)
        held = sandbox.add_fault(Fault("hold", times=1, method="DELETE"))
        panel.revoke_button.click()
        panel.confirm_button.click()
        held.wait_until_held()
        panel.search_text.value = emmy.id
        held.release()
        panel.wait()
        assert told in panel.status.text
        assert panel.status.kind == ("ok" if client == "admin" else "error")
        assert not panel.found.options  # nobody is offered under what is not theirs
        finish()
        panel.wait()
        assert panel.found.value.name == "Emmy Noether"


def test_a_click_between_a_revocation_and_its_outcome_costs_neither(revoke: Any, sandbox: Sandbox) -> None:
    """A keystroke in the instant in which the panel is free again does not take away the outcome or its correlation id."""
    revoke.choose("ada.lovelace@cumulus-airlines.example")

    def type_on(change: Any) -> None:
        if not change["new"]:
            revoke.search_text.value = "emmy"

    def searches() -> int:
        return sum(call.path.endswith("search") for call in sandbox.calls)

    before = searches()
    revoke.status.observe(type_on, "text")
    revoke.revoke_button.click()
    revoke.confirm_button.click()
    revoke.wait()
    revoke.status.unobserve(type_on, "text")
    assert searches() == before
    assert "are revoked" in revoke.status.text
    assert revoke.history["correlation_id"].item() in revoke.status.text


def test_a_search_that_failed_is_repeated(revoke: Any, sandbox: Sandbox) -> None:
    """`choose()` and Enter search for the same text again."""
    for again in (lambda: revoke.choose("emmy"), lambda: press_enter(revoke)):
        failing = sandbox.add_fault(Fault("status", status=500, path="search"))
        revoke.search_text.value = ""
        revoke.choose("emmy")
        assert revoke.status.kind == "error"
        assert failing.strikes == 1
        sandbox.clear_faults()
        again()
        revoke.wait()
        assert revoke.found.value.name == "Emmy Noether"


def press_enter(panel: Any) -> None:
    """Send what the page sends when Enter is pressed in the field."""
    panel.search_text._handle_custom_msg({"event": "submit"}, [])


def test_the_history_says_in_which_organization_and_which_token(
    two: tuple[gct.Connection, gct.Connection], opened: Any
) -> None:
    """One history for several connections tells them apart; an own token is named by its fingerprint."""
    one, other = two
    panel = opened(RevokePanel(one))
    panel.choose("ada")
    panel.revoke_button.click()
    held = one.sandbox.add_fault(Fault("hold", method="DELETE"))
    panel.confirm_button.click()
    held.wait_until_held()
    panel.use(other)  # what is under way goes on, in its own organization
    held.release()
    panel.wait()
    fingerprint = other.access_token.fingerprint
    panel.target.value = "my own token"
    panel.revoke_button.click()
    panel.confirm_button.click()
    panel.wait()
    assert list(panel.history["organization"]) == ["Org A", "Org B"]
    assert list(panel.history["outcome"]) == ["revoked", "revoked"]
    assert panel.history["detail"].iloc[1] == f"token {fingerprint}, proven dead by HEAD"
    assert "Org B" in panel._history.value


def test_nothing_sent_is_said_to_be_nothing_sent(revoke: Any, sandbox: Sandbox) -> None:
    """A host that cannot be reached got nothing."""
    revoke.choose("ada.lovelace@cumulus-airlines.example")
    revoke.revoke_button.click()
    sandbox.stop()
    revoke.confirm_button.click()
    revoke.wait()
    assert "could be made" in revoke.status.text or "broke" in revoke.status.text
    assert revoke.history["outcome"].item() in {"not sent", "unknown"}


def test_a_missing_permission_is_told_and_the_button_is_off(
    sign_in: SignIn, sandbox: Sandbox, opened: Any
) -> None:
    """A token without the permission hears so at once; searching needs one too, an id does not. The own token needs none."""
    panel = opened(RevokePanel(sign_in("no permissions")))
    assert "does not have the permission <code>oauth:token:delete</code>" in panel._permission.value
    panel.choose("ada")
    assert "directory:user:view" in panel.status.text
    assert "type the id" in panel.status.text
    panel.choose(sandbox.users[2].id)
    assert panel.revoke_button.disabled
    panel.revoke_button.click()  # as one that comes late
    assert panel._confirmation.box.layout.display == "none"
    panel.target.value = panel.target.options[1]
    assert not panel.revoke_button.disabled
    panel.revoke_button.click()
    panel.confirm_button.click()
    panel.wait()
    assert list(panel.history["outcome"]) == ["revoked"]
    assert not sandbox.revocations


@pytest.mark.parametrize("make", [RevokePanel, IdleTimeoutPanel, BulkRevokePanel])
def test_a_permission_that_was_granted_since_is_found(
    make: Any, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, opened: Any
) -> None:
    """Look again asks once more, and switches the button on."""
    gc = sign_in()
    may = {"found": False}
    monkeypatch.setattr(type(gc.directory), "has_permission", lambda *_: may["found"])
    panel = opened(make(gc))
    assert panel.may is False
    assert panel.look_again_button.layout.display == ""
    may["found"] = True
    panel.look_again_button.click()
    panel.wait()
    assert panel.may is True
    assert panel._permission.value == ""
    assert panel.look_again_button.layout.display == "none"
    if make is not BulkRevokePanel:  # its button waits for the number
        assert not (panel.revoke_button if make is RevokePanel else panel.change_button).disabled


@pytest.mark.parametrize("make", [RevokePanel, IdleTimeoutPanel, BulkRevokePanel])
def test_a_permission_that_cannot_be_known_is_no_warning(
    make: Any, sign_in: SignIn, sandbox: Sandbox, opened: Any
) -> None:
    """Where the server does not tell, that is said, and the button works."""
    sandbox.add_fault(Fault("status", status=403, path="subjects"))
    panel = opened(make(sign_in()))
    assert "is not known" in panel._permission.value
    assert "⚠" not in panel._permission.value
    assert panel.look_again_button.layout.display == "none"
    assert panel.status.kind != "error"
    if make is not BulkRevokePanel:
        assert not (panel.revoke_button if make is RevokePanel else panel.change_button).disabled


def test_the_permission_of_a_role_without_policies_is_not_known(
    sign_in: SignIn, sandbox: Sandbox, opened: Any
) -> None:
    """An administrator whose role comes without its policies is not told that they may not."""
    gc = sign_in()
    role = {"id": "232fce71-47d1-53a9-a587-512894b5fde5", "name": "Master Admin"}
    body = json.dumps({"id": "x", "grants": [{"role": role, "division": {"id": "*"}}]})
    sandbox.add_fault(Fault("status", status=200, body=body, path="authorization/subjects/me"))
    panel = opened(RevokePanel(gc))
    assert panel.may is None
    assert "is not known" in panel._permission.value
    assert not panel.revoke_button.disabled


def test_the_own_user_is_named_as_such(sandbox: Sandbox, sign_in: SignIn, opened: Any) -> None:
    """Somebody who chooses themselves is told so, and the code says allow_self."""
    grace = sandbox.users[0]
    token = sandbox.issue_token(grace)
    panel = opened(RevokePanel(sign_in(access_token=token)))
    panel.choose(grace.email)
    assert "allow_self=True" in panel.code
    panel.revoke_button.click()
    assert "your own token goes too" in panel._confirmation._question.value
    panel.confirm_button.click()
    panel.wait()
    assert not sandbox.is_alive(token)


def test_another_choice_withdraws_the_question(revoke: Any) -> None:
    """A confirmation can only be about what is chosen."""
    revoke.choose("ada.lovelace@cumulus-airlines.example")
    revoke.revoke_button.click()
    revoke.choose("emmy.noether@cumulus-airlines.example")
    assert revoke._confirmation.box.layout.display == "none"
    revoke.confirm_button.click()
    assert not revoke.busy


def test_a_hostile_user_is_text_everywhere(revoke: Any, sandbox: Sandbox) -> None:
    """A name full of HTML, line breaks and formulas harms neither page, nor code, nor CSV."""
    user = sandbox.add_user(name=f'\uff1dHYPERLINK("x")\nimport os\n{HOSTILE}', email="evil@example.org")
    revoke.choose(user.email)
    assert len(revoke.code.splitlines()) == 4
    revoke.revoke_button.click()
    assert "<img" not in revoke._confirmation._question.value
    revoke.confirm_button.click()
    revoke.wait()
    assert "<img" not in revoke._history.value
    link = re.search(
        r'download="revocations.csv" href="data:text/csv;charset=utf-8;base64,([^"]+)"', revoke._history.value
    )
    assert link
    saved = pd.read_csv(io.BytesIO(base64.b64decode(link[1])))
    assert saved["name"].item().startswith("'\uff1dHYPERLINK")
    assert saved["user_id"].item() == user.id


def test_the_code_of_a_chosen_user_revokes_them(
    revoke: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown for the choice does what Yes does."""
    admin = sandbox.client("admin")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", admin.client_id)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", str(admin.client_secret))
    revoke.search_text.value = "ada"
    revoke.wait()
    ada = revoke.found.value
    run_code(revoke)
    assert [revocation.user_id for revocation in sandbox.revocations] == [ada.id]
    revoke.target.value = "my own token"
    run_code(revoke)
    revoke.target.value = "a user's tokens"
    revoke.choose("mari")
    assert len(run_code(revoke)["found"]) == 2


# Idle timeout


@pytest.fixture
def idle(gc: gct.Connection, opened: Any) -> Any:
    """The idle timeout panel of the administrator's client."""
    return opened(IdleTimeoutPanel(gc))


def test_the_idle_timeout_is_shown(idle: Any) -> None:
    """What is so now is in words, in the form and in a DataFrame."""
    assert "3600 seconds (1 h)" in idle._current.value
    assert idle.seconds.value == 3600
    assert idle.frame["idle_token_timeout_seconds"].item() == 3600
    assert str(idle.frame.dtypes["idle_token_timeout_seconds"]) == "Int64"


def test_group_timeouts_are_shown(gc: gct.Connection, opened: Any) -> None:
    """What some groups have of their own is listed, and survives a change."""
    bundle = {"priority": 1, "timeoutSeconds": 600, "groups": ["g1"], "inactivityTimeoutUnit": "Minutes"}
    gc.tokens.put_tokens_timeout(
        {"inactivityTimeoutGroupsEnabled": True, "inactivityTimeoutGroupBundles": [bundle]}
    )
    panel = opened(IdleTimeoutPanel(gc))
    assert "600 seconds (10 min): g1" in panel._current.value
    assert panel.frame["inactivity_timeout_group_bundles"].item() == [(1, 600, ["g1"])]
    panel.seconds.value = 900
    panel.change_button.click()
    panel.wait()
    panel.confirm_button.click()
    panel.wait()
    assert gc.tokens.get_tokens_timeout().raw["inactivityTimeoutGroupBundles"] == [bundle]


def test_a_change_is_confirmed_with_before_and_after(idle: Any, gc: gct.Connection, sandbox: Sandbox) -> None:
    """Only the confirmed change is made; the rest stays as somebody else may have set it meanwhile."""
    idle.seconds.value = 900
    gc.tokens.put_tokens_timeout({"inactivityTimeoutUnit": "Hours"})
    idle.change_button.click()
    idle.wait()
    question = idle._confirmation._question.value
    assert "3600 seconds (1 h) → <strong>900 seconds (15 min)" in question
    assert "directory:organization:admin" in question
    assert gc.tokens.get_tokens_timeout().idle_token_timeout_seconds == 3600
    idle.confirm_button.click()
    idle.confirm_button.click()
    idle.wait()
    now = gc.tokens.get_tokens_timeout()
    assert (now.idle_token_timeout_seconds, now.inactivity_timeout_unit) == (900, "Hours")
    assert "Changed" in idle.status.text
    assert "Correlation id" in idle.status.text
    assert idle.unit.value == "Hours"
    assert sum(call.method == "PUT" for call in sandbox.calls) == 2


def test_a_form_edited_before_the_question_is_asked_about_as_it_is(
    idle: Any, gc: gct.Connection, sandbox: Sandbox
) -> None:
    """Question, form and code are about the same change, and the question says that it is another than at the click."""
    idle.seconds.value = 900
    held = sandbox.add_fault(Fault("hold", method="GET", path="timeout"))
    idle.change_button.click()
    held.wait_until_held()
    idle.seconds.value = 1200
    held.release()
    idle.wait()
    question = idle._confirmation._question.value
    assert "1200 seconds (20 min)" in question
    assert "900" not in question
    assert "edited" in question
    assert "idle_token_timeout_seconds=1200" in idle.code
    idle.confirm_button.click()
    idle.wait()
    assert gc.tokens.get_tokens_timeout().idle_token_timeout_seconds == 1200


def test_limits_and_empty_changes_are_explained_before_anything_is_sent(idle: Any, sandbox: Sandbox) -> None:
    """60 seconds are refused in words, and so is a change that changes nothing."""
    sent = len(sandbox.calls)
    idle.change_button.click()
    assert "Nothing in the form differs" in idle.status.text
    idle.seconds.value = 60
    idle.change_button.click()
    assert "300 to 28800 seconds" in idle.status.text
    assert len(sandbox.calls) == sent


def test_no_leaves_the_timeout_alone(idle: Any, sandbox: Sandbox) -> None:
    """After No, nothing was sent, and the form still says what was typed."""
    idle.enabled.value = False
    idle.change_button.click()
    idle.wait()
    assert "yes → <strong>no" in idle._confirmation._question.value
    idle.keep_button.click()
    assert not any(call.method == "PUT" for call in sandbox.calls)
    assert idle.enabled.value is False


def test_a_change_that_somebody_else_made_is_told(idle: Any, gc: gct.Connection) -> None:
    """Where there is nothing left to change, no question is asked."""
    idle.seconds.value = 900
    gc.tokens.put_tokens_timeout({"idleTokenTimeoutSeconds": 900})
    idle.change_button.click()
    idle.wait()
    assert "already made this change" in idle.status.text
    assert idle._confirmation.box.layout.display == "none"


def test_the_missing_permission_for_a_change_is_told(sign_in: SignIn, opened: Any) -> None:
    """Anybody may read the timeout; who may not change it hears so, and the button stays off."""
    panel = opened(IdleTimeoutPanel(sign_in("no permissions")))
    assert "directory:organization:admin" in panel._permission.value
    panel.seconds.value = 900
    assert panel.change_button.disabled
    panel.change_button.click()  # as one that comes late
    panel.wait()
    assert panel._confirmation.box.layout.display == "none"
    panel.refresh_button.click()
    panel.wait()
    assert panel.change_button.disabled


def test_the_code_of_a_change_makes_it(
    idle: Any, sandbox: Sandbox, gc: gct.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown for a change does what Yes does."""
    admin = sandbox.client("admin")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", admin.client_id)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", str(admin.client_secret))
    idle.seconds.value = 1200
    idle.unit.value = "Hours"
    run_code(idle)
    now = gc.tokens.get_tokens_timeout()
    assert (now.idle_token_timeout_seconds, now.inactivity_timeout_unit) == (1200, "Hours")


# Several connections


def test_differences_between_tokens_are_marked(gc: gct.Connection, sign_in: SignIn, opened: Any) -> None:
    """Rows in which the tokens differ carry a sign; scopes that not all have are named."""
    panel = opened(ConnectionsPanel({"admin": gc, "scopes": sign_in("many scopes")}))
    rows = {name: sign for sign, name in re.findall(r'<th scope="row">(≠ )?(\w+)</th>', panel._table.value)}
    assert rows["client_name"] == "≠ "
    assert not rows["organization_name"]
    assert "60, not everywhere: alerting" in panel._table.value
    assert list(panel.frame.index) == ["admin", "scopes"]


def test_a_connection_that_fails_does_not_hide_the_others(
    gc: gct.Connection, sign_in: SignIn, opened: Any
) -> None:
    """The error is told with the label; the other tokens are shown."""
    dead = sign_in("no permissions")
    dead.tokens.delete_tokens_me()
    panel = opened(ConnectionsPanel({"good": gc, "dead": dead}))
    assert list(panel.frame.index) == ["good"]
    assert panel.status.text.startswith("dead: Genesys Cloud did not accept the access token")
    assert "not read" in panel._table.value


# The dashboard


@pytest.fixture
def dashboard(gc: gct.Connection) -> Iterator[Dashboard]:
    """The dashboard of the administrator's client."""
    board = Dashboard(gc)
    settle(board)
    yield board
    board.close()


def settle(board: Any) -> None:
    """Wait for all panels of a dashboard."""
    for panel in (board.login, *board._panels.children):
        panel.wait()


def test_a_dashboard_without_a_connection_begins_with_the_sign_in() -> None:
    """Only the sign-in is there; after it, the panels are."""
    board = Dashboard()
    assert board.connection is None
    assert not board._panels.children
    board.login.submit(region="sandbox")
    settle(board)
    settle(board)
    assert board.token_info is not None
    assert board.token_info.status.kind == "ok"
    assert board.login.layout.display == "none"
    assert repr(board) == "Dashboard()"
    connection = board.connection
    board.login.sign_out_button.click()
    settle(board)
    assert not board.connections
    assert board._panels.layout.display == "none"
    board.close()
    assert connection is not None
    connection.close()


def test_a_dashboard_goes_from_one_connection_to_another(dashboard: Any, opened: Any) -> None:
    """All panels work on the chosen connection; what was typed is searched for there."""
    dashboard.revoke.search_text.value = "emmy"
    dashboard.revoke.wait()
    first = dashboard.revoke.found.value.id
    with gct.connect_sandbox(organization="Stratus Hotels") as other:
        dashboard.add(other)
        settle(dashboard)
        assert dashboard.token_info.info.organization.name == "Stratus Hotels"
        assert dashboard.revoke.found.value.id != first
        assert len(dashboard.side_by_side.frame) == 2
        assert not dashboard.side_by_side.layout.display
        dashboard.chooser.value = dashboard.chooser.options[0]
        settle(dashboard)
        assert dashboard.token_info.info.organization.name == "Cumulus Airlines"
        assert dashboard.revoke.found.value.id == first


def test_signing_in_again_in_one_panel_serves_all() -> None:
    """A dashboard whose token died is whole again after one sign-in."""
    with gct.connect_sandbox() as gc:
        board: Any = Dashboard(gc)
        settle(board)
        gc.tokens.delete_tokens_me()
        board.token_info.refresh()
        board.token_info.wait()
        board.token_info.sign_in_button.click()
        settle(board)
        settle(board)
        assert len(board.connections) == 1
        assert board.revoke.connection is board.token_info.connection is board.connection
        assert board.side_by_side.status.kind == "ok"
        board.close()


def test_signing_in_again_serves_the_connection_that_died_whatever_is_worked_on_then(
    two: tuple[gct.Connection, gct.Connection],
) -> None:
    """Who goes to another organization during the sign-in stays there; each label keeps its own organization."""
    one, other = two
    board: Any = Dashboard(one)
    settle(board)
    board.add(other)
    settle(board)
    of_one, of_other = board.connections
    board.chooser.value = of_one
    settle(board)
    one.tokens.delete_tokens_me()
    board.token_info.refresh()
    settle(board)
    held = one.sandbox.add_fault(Fault("hold", path="/oauth/token"))
    board.token_info.sign_in_button.click()
    held.wait_until_held()
    board.chooser.value = of_other
    held.release()
    settle(board)
    settle(board)
    assert board.chooser.value == of_other
    assert list(board.connections) == [of_one, of_other]
    assert board.connections[of_other] is other
    assert board.connections[of_one] is not one
    assert board.connections[of_one].sandbox is one.sandbox
    assert board.revoke.connection is board.token_info.connection is other
    board.chooser.value = of_one
    settle(board)
    assert board.token_info.info.organization.name == "Org A"
    board.close()


def test_signing_in_again_elsewhere_adds_a_connection(sandbox: Sandbox, sign_in: SignIn) -> None:
    """A label says a region: a connection to another one gets a label of its own."""
    gc = sign_in()
    board: Any = Dashboard(gc)
    settle(board)
    gc.tokens.delete_tokens_me()
    board.token_info.refresh()
    settle(board)
    with Sandbox() as elsewhere:
        admin = elsewhere.client("admin")
        board.token_info.sign_in_button.click()
        (login,) = board.token_info._login_box.children
        login.submit(
            region="address",
            base_url=elsewhere.environment,
            client_id=admin.client_id,
            client_secret=str(admin.client_secret),
        )
        login.wait()
        settle(board)
        assert list(board.connections) == [sandbox.environment, elsewhere.environment]
        assert board.connections[sandbox.environment] is gc
        assert board.chooser.value == elsewhere.environment
        assert board.revoke.connection is board.connection is board.connections[elsewhere.environment]
        board.close()
        board.connection.close()


def test_signing_out_revokes_the_token_that_took_the_place_of_a_dead_one() -> None:
    """After *Sign in again* in a panel, the sign-in above holds the new connection, and leaves no token alive."""
    board: Any = Dashboard()
    board.login.submit(region="sandbox")
    board.login.wait()
    settle(board)
    first = board.connection
    first.tokens.delete_tokens_me()
    board.token_info.refresh()
    settle(board)
    board.token_info.sign_in_button.click()
    settle(board)
    settle(board)
    second = board.connection
    assert second is not first
    assert board.login.connection is second
    assert second.access_token.fingerprint in board.login._account.value
    token, server = second.access_token.value, first.sandbox
    board.login.sign_out_button.click()
    settle(board)
    assert not server.is_alive(token)
    assert not board.connections
    assert board.connection is None
    board.close()
    first.close()


def test_closing_a_dashboard_closes_all(dashboard: Any) -> None:
    """No panel and no thread of it stays."""
    panels = [dashboard.login, *dashboard._panels.children]
    dashboard.close()
    assert all(panel.comm is None for panel in panels)
    wait_until(lambda: not workers())


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "incomplete"])
def test_the_app_takes_an_own_organization_from_the_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    """With credentials in the environment the app works on their organization; with half of them it says what is missing."""
    admin = sandbox.client("admin")
    monkeypatch.setenv("GENESYSCLOUD_REGION", sandbox.environment)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", admin.client_id)
    if complete:
        monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", str(admin.client_secret))
    notebook = nbformat.read(Path(__file__).parents[1] / "notebooks" / "dashboard.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("print(connection and connection.region.name)"))
    NotebookClient(notebook, timeout=60).execute()
    printed = "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )
    if complete:
        assert printed.strip() == sandbox.environment
    else:
        assert "secret" in printed
        assert printed.rstrip().endswith("None")
