"""The six calls of the Tokens API."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

import gctokens_nb as gct
from gctokens_nb.errors import (
    ConfigurationError,
    InvalidAnswerError,
    InvalidUserIdError,
    NotFoundError,
    PermissionDeniedError,
    RevocationNotProvenError,
    SelfRevocationError,
    ServerError,
    SignedOutError,
    UnauthorizedError,
)
from gctokens_nb.sandbox import Fault, Sandbox
from gctokens_nb.tokens import check_user_id

ME = "/api/v2/tokens/me"
TIMEOUT = "/api/v2/tokens/timeout"


def api_calls(sandbox: Sandbox) -> list[tuple[str, str, int | None]]:
    """What was asked of the platform API: method, path, status."""
    return [(call.method, call.path, call.status) for call in sandbox.calls if call.path.startswith("/api")]


# get_tokens_me


def test_get_tokens_me(gc, sandbox: Sandbox):
    """`get_tokens_me` tells the organization, the client, its scopes, and when the token idles out."""
    info = gc.tokens.get_tokens_me()
    client = sandbox.client("admin")
    assert info.organization
    assert (info.organization.id, info.organization.name) == sandbox.organization
    assert info.home_organization == info.organization
    assert info.authorized_scope == client.scope
    assert info.cloned_user is None
    assert info.date_token_idles
    assert info.date_token_idles.tzinfo
    assert info.oauth_client
    assert (info.oauth_client.id, info.oauth_client.name) == (client.client_id, "admin")
    assert info.oauth_client.authorized_grant_type == "CLIENT-CREDENTIALS"
    assert info.oauth_client.state == "active"
    assert info.oauth_client.role_divisions
    assert info.raw["OAuthClient"]["createdBy"]["selfUri"].startswith("/api/v2/users/")


def test_a_cloned_user_is_told(sandbox: Sandbox, sign_in):
    """The token of a clone names the trustee's user and organization, and the home organization differs."""
    clone = sandbox.clone
    info = sign_in(access_token=sandbox.issue_token(clone)).tokens.get_tokens_me()
    assert info.cloned_user
    assert info.cloned_user.id == clone.cloned_from.id
    assert info.cloned_user.organization.id == clone.cloned_from.organization.id
    assert info.home_organization != info.organization


def test_reading_resets_the_idle_timer_unless_told(gc, sandbox: Sandbox):
    """`preserve_idle_ttl=True` reads without resetting the idle timer; the plain call resets it."""
    first = gc.tokens.get_tokens_me().date_token_idles
    sandbox.advance(60)
    kept = gc.tokens.get_tokens_me(preserve_idle_ttl=True).date_token_idles
    assert kept == first
    reset = gc.tokens.get_tokens_me(preserve_idle_ttl=False).date_token_idles
    assert (reset - first).total_seconds() >= 60
    assert [call.query for call in sandbox.calls[1:]] == ["", "preserveIdleTTL=true", "preserveIdleTTL=false"]


def test_a_revoked_token_is_told(gc, sandbox: Sandbox, sign_in):
    """A token that somebody else revoked is an UnauthorizedError that says what to do."""
    user = sandbox.users[3]
    theirs = sign_in(access_token=sandbox.issue_token(user))
    gc.tokens.delete_token(user.id)
    with pytest.raises(
        UnauthorizedError, match=r"Sign in again\. .*401 bad\.credentials: Invalid login credentials\."
    ) as caught:
        theirs.tokens.get_tokens_me()
    assert caught.value.correlation_id in str(caught.value)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (None, r"not JSON \(25 bytes\)"),
        ("", r"not JSON \(0 bytes\)"),
        ("[]", "not a TokenInfo"),
        ("null", "not a TokenInfo"),
        ('{"organization": "Cumulus"}', r"not a TokenInfo \(.*\$\.organization"),
        ('{"dateTokenIdles": "soon"}', "not a TokenInfo"),
        pytest.param('{"organization":' * 50_000, "not JSON", id="nested without end"),
    ],
)
def test_malformed_json_is_an_invalid_answer(gc, sandbox: Sandbox, body: str | None, found: str):
    """A success whose body cannot be read is an error of its own that keeps status, body and correlation id."""
    fault = Fault("garbage", path=ME) if body is None else Fault("status", path=ME, status=200, body=body)
    sandbox.add_fault(fault)
    with pytest.raises(InvalidAnswerError, match=rf"answered with 200, but the body is {found}") as caught:
        gc.tokens.get_tokens_me()
    assert (caught.value.status, caught.value.method) == (200, "GET")
    assert caught.value.body == (b'{"organization": {"id": "' if body is None else body.encode()[:4096])
    assert f"Correlation id for Genesys support: {caught.value.correlation_id}." in str(caught.value)


# head_tokens_me


def test_head_tokens_me(gc, sandbox: Sandbox):
    """`head_tokens_me` returns None while the token is alive."""
    assert gc.tokens.head_tokens_me() is None
    assert api_calls(sandbox) == [("HEAD", ME, 204)]


def test_head_never_renews(gc, sandbox: Sandbox):
    """`head_tokens_me` tells that the token is dead instead of getting a new one, although it could."""
    sandbox.advance(86401)
    with pytest.raises(UnauthorizedError, match=f"HEAD {ME} was answered with 401"):
        gc.tokens.head_tokens_me()
    assert sum(call.path == "/oauth/token" for call in sandbox.calls) == 1


# delete_tokens_me


def test_delete_tokens_me(gc, sandbox: Sandbox):
    """`delete_tokens_me` revokes the own token, by the server's own books."""
    token = gc.access_token.value
    assert gc.tokens.delete_tokens_me() is None
    assert not sandbox.is_alive(token)
    assert api_calls(sandbox) == [("DELETE", ME, 200)]


def test_nothing_signs_in_again_after_it(gc, sandbox: Sandbox):
    """After `delete_tokens_me` a call raises: no new token takes the place of the revoked one."""
    gc.tokens.delete_tokens_me()
    with pytest.raises(UnauthorizedError):
        gc.tokens.get_tokens_me()
    with pytest.raises(UnauthorizedError):
        gc.session.get("/api/v2/users")
    assert sum(call.path == "/oauth/token" for call in sandbox.calls) == 1


def test_a_401_never_signs_in_again(gc, sandbox: Sandbox):
    """A 401 on the first attempt is raised: it does not get a new token, only to revoke that one."""
    sandbox.advance(86401)
    with pytest.raises(UnauthorizedError):
        gc.tokens.delete_tokens_me()
    assert [call.path for call in sandbox.calls] == ["/oauth/token", ME]


def test_a_token_known_to_be_over_is_not_renewed_to_be_revoked(sign_in):
    """Even a token that is known to have ended is sent as it is, not replaced."""
    with Sandbox(token_lifetime_seconds=0) as brief:
        gc = sign_in(server=brief)
        assert gc.access_token.expired
        with pytest.raises(UnauthorizedError):
            gc.tokens.delete_tokens_me()
        assert [call.path for call in brief.calls] == ["/oauth/token", ME]


@pytest.mark.parametrize("verify", [False, True])
def test_a_401_after_a_retry_means_revoked(gc, sandbox: Sandbox, verify: bool):
    """Where the answer to the first attempt was lost, the 401 to the second says that it took effect."""
    token = gc.access_token.value
    sandbox.add_fault(Fault("drop-after", method="DELETE", times=1))
    assert gc.tokens.delete_tokens_me(verify=verify) is None
    assert not sandbox.is_alive(token)
    assert [status for method, _, status in api_calls(sandbox) if method == "DELETE"] == [None, 401]


def test_verify_proves_it_with_head(gc, sandbox: Sandbox):
    """`verify=True` asks with HEAD afterwards and takes the 401 for the proof."""
    gc.tokens.delete_tokens_me(verify=True)
    assert api_calls(sandbox) == [("DELETE", ME, 200), ("HEAD", ME, 401)]


def test_a_revocation_without_effect_is_not_reported_as_done(gc, sandbox: Sandbox):
    """Where the token still answers after an accepted revocation, `verify=True` raises."""
    sandbox.add_fault(Fault("status", method="DELETE", status=204, body=""))
    with pytest.raises(RevocationNotProvenError, match="the token still answers") as caught:
        gc.tokens.delete_tokens_me(verify=True)
    assert "head_tokens_me() again" in caught.value.next_step


def test_a_proof_that_fails_is_no_proof(gc, sandbox: Sandbox):
    """Where HEAD cannot be asked, `verify=True` says that the revocation was accepted and the proof is missing."""
    sandbox.add_fault(Fault("status", method="HEAD", status=500))
    with pytest.raises(
        RevocationNotProvenError, match=r"The revocation was accepted, but asking .* failed: .*HEAD .* 500"
    ) as caught:
        gc.tokens.delete_tokens_me(verify=True)
    assert isinstance(caught.value.__cause__, ServerError)


def test_a_revocation_that_fails_is_raised(gc, sandbox: Sandbox):
    """A revocation that the server did not accept is an error, and the connection can still renew its token."""
    sandbox.add_fault(Fault("status", method="DELETE", status=503))
    with pytest.raises(ServerError):
        gc.tokens.delete_tokens_me()
    assert gc.tokens.get_tokens_me().organization


def test_sign_out_revokes_and_forgets(gc, sandbox: Sandbox):
    """`sign_out` revokes the token and drops it: later calls send nothing and say why."""
    token = gc.access_token.value
    gc.sign_out(verify=True)
    assert not sandbox.is_alive(token)
    sent = len(sandbox.calls)
    with pytest.raises(SignedOutError, match=r"signed out and holds no token\. Sign in again"):
        gc.tokens.get_tokens_me()
    with pytest.raises(SignedOutError):
        _ = gc.access_token
    assert len(sandbox.calls) == sent
    assert "signed out" in repr(gc)


def test_a_sign_out_that_fails_changes_nothing(gc, sandbox: Sandbox):
    """Where the revocation fails, the connection keeps its token: nothing half-done is reported as done."""
    sandbox.add_fault(Fault("status", method="DELETE", status=500))
    with pytest.raises(ServerError):
        gc.sign_out()
    assert sandbox.is_alive(gc.access_token.value)


def test_a_sign_out_of_a_dead_token_forgets_it(gc, sandbox: Sandbox):
    """A token that was dead before is told by the error, and is forgotten with the means to renew it."""
    gct.connect(sandbox.environment, access_token=gc.access_token.value).tokens.delete_tokens_me()
    with pytest.raises(UnauthorizedError):
        gc.sign_out()
    sent = len(sandbox.calls)
    with pytest.raises(SignedOutError):
        gc.tokens.get_tokens_me()
    assert len(sandbox.calls) == sent


# delete_token


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title, uuid.UUID])
def test_delete_token_revokes_all_tokens_of_a_user(
    gc, sandbox: Sandbox, spell: Callable[[str], str | uuid.UUID]
):
    """`delete_token` takes a user id in any letter case, or a UUID, and ends all tokens of that user, and only theirs."""
    user, other = sandbox.users[3:5]
    theirs = [sandbox.issue_token(user), sandbox.issue_token(user, "single page app")]
    others = sandbox.issue_token(other)
    assert gc.tokens.delete_token(spell(user.id)) is None
    assert not any(map(sandbox.is_alive, theirs))
    assert sandbox.is_alive(others)
    assert [revocation.user_id for revocation in sandbox.revocations] == [user.id]


NOT_IDS: list[Any] = [
    "me",
    "ME",
    "timeout",
    "../x",
    "../oauth/clients/x",
    "",
    None,
    0,
    b"00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-000000000000/",
    "00000000-0000-0000-0000-000000000000\n",
    " 00000000-0000-0000-0000-000000000000",
    "00000000000000000000000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-00000000000g",
    "\N{ARABIC-INDIC DIGIT ZERO}0000000-0000-0000-0000-000000000000",
    "ada@example.com",
]


@pytest.mark.parametrize("user_id", NOT_IDS)
def test_what_is_no_user_id_is_refused_before_anything_is_sent(gc, sandbox: Sandbox, user_id: Any):
    """`"me"`, `"timeout"`, paths, nothing and near misses raise, and nothing is sent, not even the question who I am."""
    sent = len(sandbox.calls)
    with pytest.raises(InvalidUserIdError, match="is not the id of a user; nothing was sent"):
        gc.tokens.delete_token(user_id)
    assert len(sandbox.calls) == sent


@pytest.mark.parametrize(
    ("user_id", "message"),
    [
        (
            "me",
            "'me' is not the id of a user; nothing was sent. To revoke the own token, call delete_tokens_me().",
        ),
        (
            "../x",
            "'../x' is not the id of a user; nothing was sent. A user id looks like 01234567-89ab-cdef-0123-456789abcdef.",
        ),
        (
            "ada@example.com",
            "'ada@example.com' is not the id of a user; nothing was sent. Find the id of an e-mail address with connection.directory.find_by_email([...]).",
        ),
    ],
)
def test_the_message_of_a_malformed_user_id(gc, user_id: str, message: str):
    """The message says what is wrong with the id and how to find the right one."""
    with pytest.raises(InvalidUserIdError) as caught:
        gc.tokens.delete_token(user_id)
    assert str(caught.value) == message


def test_a_secret_in_the_wrong_argument_is_not_repeated(gc):
    """A token or secret passed for the user id by mistake does not end up in the message."""
    with pytest.raises(InvalidUserIdError, match="A text of 86 characters") as caught:
        gc.tokens.delete_token(gc.access_token.value)
    assert gc.access_token.value not in str(caught.value)


@given(st.one_of(st.text(), st.from_regex(r"[0-9a-f-]{30,40}", fullmatch=True), st.uuids().map("{}".format)))
def test_only_uuids_pass(text: str):
    """Whatever the text, it passes only if it is a UUID in its usual form."""
    try:
        usual = str(uuid.UUID(text)) == text.lower()
    except ValueError:
        usual = False
    if usual:
        assert check_user_id(text) == text.lower()
    else:
        with pytest.raises(InvalidUserIdError):
            check_user_id(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(user_id=st.text(max_size=50))
def test_no_text_reaches_another_path(gc, sandbox: Sandbox, user_id: str):
    """No text makes `delete_token` send anything to a path that is not a user's."""
    sent = len(sandbox.calls)
    with pytest.raises(InvalidUserIdError):
        gc.tokens.delete_token(user_id)
    assert len(sandbox.calls) == sent


def test_the_own_user_needs_allow_self(sandbox: Sandbox, sign_in):
    """The user one is signed in as is refused without `allow_self=True`, in any letter case; nothing is revoked."""
    user = sandbox.users[0]
    gc = sign_in(access_token=sandbox.issue_token(user))
    with pytest.raises(SelfRevocationError, match=f"User {user.id} is the one .* Pass allow_self=True"):
        gc.tokens.delete_token(user.id.upper())
    assert sandbox.is_alive(gc.access_token.value)
    gc.tokens.delete_token(user.id, allow_self=True)
    assert not sandbox.is_alive(gc.access_token.value)


def test_who_i_am_is_asked_once(sandbox: Sandbox, sign_in):
    """The own user is looked up once a token, however many users are revoked."""
    gc = sign_in(access_token=sandbox.issue_token(sandbox.users[0]))
    for user in sandbox.users[1:4]:
        gc.tokens.delete_token(user.id)
    assert [path for _, path, _ in api_calls(sandbox)].count("/api/v2/users/me") == 1


def test_a_machine_has_no_own_user(gc, sandbox: Sandbox):
    """A client-credentials token has no user: nothing is looked up."""
    gc.tokens.delete_token(sandbox.users[0].id)
    assert [path for _, path, _ in api_calls(sandbox)] == [f"/api/v2/tokens/{sandbox.users[0].id}"]


def test_a_pasted_token_may_be_a_machines(sandbox: Sandbox, sign_in):
    """Where the server says that the pasted token has no user, the revocation goes on."""
    gc = sign_in(access_token=sandbox.issue_token(client="admin"))
    gc.tokens.delete_token(sandbox.users[0].id)
    assert len(sandbox.revocations) == 1


def test_where_the_own_user_cannot_be_asked_nothing_is_revoked(sandbox: Sandbox, sign_in):
    """Where asking who I am fails, the error is raised and nothing is revoked: it might have been myself."""
    gc = sign_in(access_token=sandbox.issue_token(sandbox.users[0]))
    sandbox.add_fault(Fault("status", path="/users/me", status=500))
    with pytest.raises(ServerError):
        gc.tokens.delete_token(sandbox.users[1].id)
    assert sandbox.revocations == ()


def test_a_missing_permission_is_named(sandbox: Sandbox, sign_in):
    """Without the permission, the error names it and who can give it; nothing is revoked."""
    gc = sign_in("no permissions")
    with pytest.raises(PermissionDeniedError) as caught:
        gc.tokens.delete_token(sandbox.users[1].id)
    error = caught.value
    assert (error.status, error.code) == (403, "missing.any.permissions")
    assert error.missing_permissions == ("oauth:token:delete",)
    assert "Ask an administrator to give a role with oauth:token:delete" in str(error)
    assert error.correlation_id in str(error)
    assert sandbox.revocations == ()


def test_an_unknown_user_is_told(gc):
    """A user that does not exist here is a NotFoundError that says what to check."""
    with pytest.raises(
        NotFoundError, match=r"belongs to the organization you are signed in to.*404 not\.found"
    ):
        gc.tokens.delete_token(uuid.uuid4())


def test_delete_token_may_be_repeated(gc, sandbox: Sandbox):
    """A lost answer is repeated, and succeeds, as the second deletion does no harm."""
    sandbox.add_fault(Fault("drop-after", method="DELETE", times=1))
    gc.tokens.delete_token(sandbox.users[1].id)
    assert len(sandbox.revocations) == 2


# The idle timeout


def test_get_tokens_timeout(gc):
    """`get_tokens_timeout` tells the organization's idle timeout."""
    timeout = gc.tokens.get_tokens_timeout()
    assert (timeout.idle_token_timeout_seconds, timeout.enable_idle_token_timeout) == (3600, True)
    assert timeout.inactivity_timeout_unit == "Minutes"
    assert timeout.inactivity_timeout_groups_enabled is False
    assert timeout.inactivity_timeout_group_bundles == ()


def test_put_tokens_timeout_changes_what_is_set(gc, sandbox: Sandbox):
    """`put_tokens_timeout` takes a changed copy of what was read, and returns the timeout as it is now."""
    before = gc.tokens.get_tokens_timeout()
    after = gc.tokens.put_tokens_timeout(msgspec.structs.replace(before, idle_token_timeout_seconds=900))
    assert after.idle_token_timeout_seconds == 900
    assert gc.tokens.get_tokens_timeout() == after
    assert after.enable_idle_token_timeout is True


def test_put_tokens_timeout_takes_the_sdks_body(gc):
    """A mapping with Genesys Cloud's JSON names is taken, too, group bundles included."""
    bundle = {"priority": 1, "timeoutSeconds": 600, "groups": [str(uuid.uuid4())]}
    after = gc.tokens.put_tokens_timeout(
        {
            "idleTokenTimeoutSeconds": 1800,
            "inactivityTimeoutGroupsEnabled": True,
            "inactivityTimeoutGroupBundles": [bundle],
        }
    )
    assert after.idle_token_timeout_seconds == 1800
    (found,) = after.inactivity_timeout_group_bundles
    assert (found.priority, found.timeout_seconds, list(found.groups)) == (1, 600, bundle["groups"])


def test_group_bundles_are_removed_and_kept_as_they_came(gc, sandbox: Sandbox):
    """A copy without bundles removes them; one that changes something else leaves them alone, unknown fields included."""
    bundle = {"priority": 1, "timeoutSeconds": 600, "groups": [str(uuid.uuid4())], "newField": 1}
    before = gc.tokens.put_tokens_timeout({"inactivityTimeoutGroupBundles": [bundle]})
    changed = gc.tokens.put_tokens_timeout(msgspec.structs.replace(before, idle_token_timeout_seconds=900))
    assert changed.raw["inactivityTimeoutGroupBundles"] == before.raw["inactivityTimeoutGroupBundles"]
    assert changed.raw["inactivityTimeoutGroupBundles"][0]["newField"] == 1
    after = gc.tokens.put_tokens_timeout(
        msgspec.structs.replace(changed, inactivity_timeout_group_bundles=())
    )
    assert after.inactivity_timeout_group_bundles == ()
    assert gc.tokens.get_tokens_timeout().inactivity_timeout_group_bundles == ()


def test_a_field_that_we_do_not_know_is_sent_back(gc, sandbox: Sandbox):
    """What a newer server says of the timeout and we do not know is sent back unchanged."""
    known = gct.IdleTokenTimeout(
        idle_token_timeout_seconds=900, raw={"newField": 1, "idleTokenTimeoutSeconds": 1}
    )
    sent: list[bytes] = []

    class Spy(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            sent.append(request.body)
            return super().send(request, *args, **kwargs)

    gc.session.mount("http://", Spy())
    gc.tokens.put_tokens_timeout(known)
    assert msgspec.json.decode(sent[0]) == {"newField": 1, "idleTokenTimeoutSeconds": 900}


@pytest.mark.parametrize("seconds", [299, 28801, 0, -1])
def test_a_timeout_outside_the_limits_is_not_sent(gc, sandbox: Sandbox, seconds: int):
    """Outside of 300 to 28800 seconds nothing is sent, and the limits are told."""
    with pytest.raises(
        ConfigurationError, match=rf"{seconds} seconds is not allowed\. Choose 300 to 28800 seconds"
    ):
        gc.tokens.put_tokens_timeout({"idleTokenTimeoutSeconds": seconds})
    assert api_calls(sandbox) == []


@pytest.mark.parametrize("body", [{"idleTokenTimeoutSeconds": "long"}, [1], 5, None])
def test_what_is_no_timeout_is_not_sent(gc, sandbox: Sandbox, body: Any):
    """Anything that is no idle timeout is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="This is no idle token timeout"):
        gc.tokens.put_tokens_timeout(body)
    assert api_calls(sandbox) == []


def test_changing_the_timeout_needs_its_permission(sign_in):
    """Without `directory:organization:admin` the error names it."""
    with pytest.raises(PermissionDeniedError) as caught:
        sign_in("no permissions").tokens.put_tokens_timeout({"idleTokenTimeoutSeconds": 900})
    assert caught.value.missing_permissions == ("directory:organization:admin",)
