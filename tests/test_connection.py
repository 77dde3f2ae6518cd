"""Making a connection, two of them side by side, and the sandbox behind one."""

from __future__ import annotations

import gc as garbage
import pickle
import threading

import pytest

import gctokens_nb as gct
from gctokens_nb.errors import CredentialsError, GCTokensError, HostUnreachableError
from gctokens_nb.sandbox import Sandbox


def sandbox_threads() -> set[threading.Thread]:
    """The sandboxes that run in this process."""
    return {thread for thread in threading.enumerate() if thread.name == "gctokens-sandbox"}


# Signing in


def test_connect_with_arguments(sandbox: Sandbox):
    """Arguments sign in, and the connection tells that each value came from an argument."""
    client = sandbox.client("admin")
    with gct.connect(
        sandbox.environment, client_id=client.client_id, client_secret=client.client_secret
    ) as gc:
        assert gc.tokens.get_tokens_me().oauth_client.id == client.client_id
    assert gc.client_id == client.client_id
    assert gc.origins == {
        "region": "the argument environment",
        "client_id": "the argument client_id",
        "client_secret": "the argument client_secret",
    }
    assert gc.notes == ()
    assert gc.sandbox is None


def test_connect_from_the_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """Without arguments the environment variables count, and their names are told."""
    client = sandbox.client("admin")
    monkeypatch.setenv("GENESYSCLOUD_REGION", sandbox.environment)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", client.client_id)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", client.client_secret)
    with gct.connect() as gc:
        gc.tokens.head_tokens_me()
    assert gc.origins["client_secret"] == "the environment variable GENESYSCLOUD_OAUTHCLIENT_SECRET"


def test_connect_takes_a_region(sandbox: Sandbox):
    """A Region object is as good as its name."""
    region = gct.regions.resolve(sandbox.environment)
    with gct.connect(region, access_token=sandbox.issue_token()) as gc:
        assert gc.region is region
        assert gc.tokens.get_tokens_me().organization


def test_connect_without_anything_says_what_to_do():
    """Without a region or credentials the message says what to pass and where is looked."""
    with pytest.raises(CredentialsError, match="No region is given: where does your organization live"):
        gct.connect()
    with pytest.raises(
        CredentialsError, match=r"No credentials were found .*connect_sandbox\(\) without an account"
    ):
        gct.connect("mypurecloud.de")


def test_a_pasted_token_is_not_checked_by_connecting(sandbox: Sandbox):
    """`connect` with a token sends nothing: the first call tells whether it is good."""
    with gct.connect(sandbox.environment, access_token="anything"):
        assert sandbox.calls == ()


def test_authenticate_defaults_to_the_region_of_the_ruby_sdk(monkeypatch: pytest.MonkeyPatch, listener):
    """Without an environment the sign-in goes to mypurecloud.com, as in the frozen SDK, not to what variables say."""
    monkeypatch.setenv("HTTPS_PROXY", listener.url)
    monkeypatch.setenv("GENESYSCLOUD_REGION", "mypurecloud.de")
    with pytest.raises(GCTokensError):
        gct.authenticate_with_client_credentials("id", "secret")
    assert listener.heard[0].path == "login.mypurecloud.com:443"


# What it shows


def test_a_repr_tells_where_and_how_but_no_secret(sandbox: Sandbox, sign_in):
    """A repr names the region, the grant and the client, and a fingerprint in place of the token."""
    gc = sign_in()
    assert repr(gc) == (
        f"<Connection to {sandbox.environment}: signed in by client_credentials of client {gc.client_id}, "
        f"token {gc.access_token.fingerprint}>"
    )


def test_the_table_tells_where_each_value_came_from(gc):
    """As a cell's last line a connection is a table of where it leads and where each credential came from."""
    html = gc._repr_html_()
    for text in (
        "Connected to",
        "Client secret",
        "from the argument client_secret",
        gc.access_token.fingerprint,
    ):
        assert text in html
    assert gc.access_token.value not in html


def test_notes_are_shown_as_text(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """What deserves a look is in the table, markup as text."""
    monkeypatch.setenv("GENESYSCLOUD_REGION", "mypurecloud.de")
    with gct.connect(sandbox.environment, access_token="abc") as gc:
        assert "GENESYSCLOUD_REGION names another" in gc._repr_html_()
        gc.notes = ("<script>",)
        assert "<script>" not in gc._repr_html_()


def test_a_revoked_connection_says_so(gc):
    """After `delete_tokens_me` the repr says that the token is revoked."""
    gc.tokens.delete_tokens_me()
    assert "revoked: sign in again" in repr(gc)


# Two of them


def test_two_connections_live_side_by_side(sandbox: Sandbox, sign_in):
    """Two organizations in one notebook: each connection keeps its region, token and errors to itself."""
    with Sandbox(organization="Nimbus") as other:
        ours, theirs = sign_in(), sign_in(server=other)
        assert ours.tokens.get_tokens_me().organization.name == "Cumulus Airlines"
        assert theirs.tokens.get_tokens_me().organization.name == "Nimbus"
        ours.sign_out()
        assert theirs.tokens.get_tokens_me().organization.name == "Nimbus"


def test_settings_belong_to_their_connection(sandbox: Sandbox, sign_in):
    """What one connection is told of timeouts and retries does not change another."""
    hasty, patient = sign_in(retry=gct.RetryPolicy(attempts=1), timeout_seconds=(1, 2)), sign_in()
    assert (hasty.session.retry.attempts, hasty.session.timeout_seconds) == (1, (1, 2, 8))
    assert (patient.session.retry.attempts, patient.session.timeout_seconds) == (4, (10, 30, 120))


def test_a_connection_travels_to_a_worker(sandbox: Sandbox, sign_in):
    """A pickled connection calls, and renews its token, on the other side; its settings travel along."""
    gc = sign_in(timeout_seconds=(1, 2))
    twin = pickle.loads(pickle.dumps(gc))
    with twin:
        assert twin.tokens.get_tokens_me() is not None
        assert twin.origins == gc.origins
        assert (twin.session.retry, twin.session.timeout_seconds) == (gc.session.retry, (1, 2, 8))
        sandbox.advance(86401)
        assert twin.tokens.get_tokens_me().organization


# The sandbox behind one


def test_a_sandbox_of_ones_own():
    """`connect_sandbox` needs nothing, and `close` stops the server it started."""
    before = sandbox_threads()
    gc = gct.connect_sandbox()
    assert len(sandbox_threads() - before) == 1
    assert gc.tokens.get_tokens_me().organization.name == gc.sandbox.organization.name
    gc.close()
    assert sandbox_threads() <= before


def test_a_sandbox_of_ones_own_ends_with_its_connection():
    """A connection that is no longer used takes its sandbox along."""
    before = sandbox_threads()
    gct.connect_sandbox()
    garbage.collect()
    assert sandbox_threads() <= before


def test_a_sandbox_of_ones_own_lives_as_long_as_its_calls():
    """Calls at the end of a chain, and a kept `tokens` or `session`, still have their server."""
    before = sandbox_threads()
    assert gct.connect_sandbox().tokens.get_tokens_me().organization
    tokens, session = gct.connect_sandbox().tokens, gct.connect_sandbox().session
    garbage.collect()
    assert tokens.get_tokens_me().organization
    assert session.get("/api/v2/tokens/me").ok
    del tokens, session
    garbage.collect()
    assert sandbox_threads() <= before


def test_a_shared_sandbox_is_left_running(sandbox: Sandbox):
    """A sandbox that was passed in is another's to stop: `close` leaves it running."""
    with gct.connect_sandbox(sandbox=sandbox) as gc:
        assert gc.sandbox is sandbox
    with gct.connect_sandbox(sandbox=sandbox) as again:
        assert again.tokens.get_tokens_me().organization


def test_an_unknown_client_leaves_no_sandbox_behind():
    """A client that does not exist is an error that lists those that do, and no server stays behind."""
    before = sandbox_threads()
    with pytest.raises(KeyError, match="choose one of admin, no permissions"):
        gct.connect_sandbox("nobody")
    assert sandbox_threads() <= before


def test_options_reach_the_sandbox():
    """`connect_sandbox` passes its options to the sandbox it starts."""
    with gct.connect_sandbox("no permissions", users=3) as gc:
        assert len(gc.sandbox.users) == 3
        assert gc.tokens.get_tokens_me().oauth_client.name == "no permissions"


def test_a_sandbox_shows_no_port(sandbox: Sandbox):
    """What a sandbox's connection shows is the same at every run: no port, no fingerprint, no id."""
    with gct.connect_sandbox(sandbox=sandbox) as gc:
        assert repr(gc) == "<Connection to the sandbox on this machine: signed in by client_credentials>"
        assert sandbox.base_url.rpartition(":")[2] not in gc._repr_html_()
        assert set(gc.origins.values()) == {"the sandbox"}


def test_after_close_the_sandbox_is_gone():
    """A call after `close` is an error of ours that says that nobody listens."""
    gc = gct.connect_sandbox()
    gc.close()
    with pytest.raises(HostUnreachableError, match="nobody listening"):
        gc.tokens.get_tokens_me()
