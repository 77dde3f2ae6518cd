"""What the server says, typed and frozen, with nothing lost."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest

import gctokens_nb as gct
from gctokens_nb.models import decode, to_body
from gctokens_nb.sandbox import Fault, Sandbox

FULL = {
    "organization": {"id": "o1", "name": "Cumulus"},
    "homeOrganization": {"id": "o2", "name": "Nimbus", "shape": "flat"},
    "authorizedScope": ["users", "brand-new-scope"],
    "clonedUser": {"id": "u1", "organization": {"id": "o2"}},
    "dateTokenIdles": "2026-01-31T08:30:00.123Z",
    "OAuthClient": {
        "id": "c1",
        "name": "client",
        "dateCreated": "2024-03-01T10:30:00+01:00",
        "dateModified": "2024-03-01T09:30:00",
        "createdBy": {"id": "u2", "name": "Ada", "selfUri": "/api/v2/users/u2"},
        "modifiedBy": {"id": "u3"},
        "authorizedGrantType": "QUANTUM_HANDSHAKE",
        "scope": ["users"],
        "roleDivisions": [{"roleId": "r1", "divisionId": "d1"}],
        "state": "hibernating",
        "dateToDelete": "2026-12-31T00:00:00.000Z",
        "organization": {"id": "o1", "name": "Cumulus"},
    },
    "somethingNew": {"deep": [1, None, {"deeper": True}]},
}


def test_every_field_is_read():
    """Each field of the wire has its typed attribute; times are aware and in UTC whatever zone they came in."""
    info = decode(gct.TokenInfo, json.dumps(FULL).encode())
    assert (info.organization.id, info.home_organization.name) == ("o1", "Nimbus")
    assert info.authorized_scope == ("users", "brand-new-scope")
    assert (info.cloned_user.id, info.cloned_user.organization.id) == ("u1", "o2")
    assert info.date_token_idles == datetime(2026, 1, 31, 8, 30, 0, 123000, tzinfo=UTC)
    client = info.oauth_client
    assert (client.id, client.name, client.scope) == ("c1", "client", ("users",))
    assert client.date_created == client.date_modified == datetime(2024, 3, 1, 9, 30, tzinfo=UTC)
    assert client.date_created.tzinfo is UTC
    assert client.date_modified.tzinfo is UTC
    assert (client.created_by.name, client.modified_by.id, client.modified_by.name) == ("Ada", "u3", None)
    assert (client.role_divisions[0].role_id, client.role_divisions[0].division_id) == ("r1", "d1")
    assert client.date_to_delete.year == 2026
    assert client.organization.name == "Cumulus"


def test_unknown_values_and_fields_are_kept():
    """An unknown enum value stays as it came, unknown fields stay in `raw`: nothing is replaced or lost."""
    info = decode(gct.TokenInfo, json.dumps(FULL).encode())
    assert info.oauth_client.authorized_grant_type == "QUANTUM_HANDSHAKE"
    assert info.oauth_client.state == "hibernating"
    assert info.raw == FULL


def test_the_raw_answer_is_never_lost_over_the_wire(gc, sandbox: Sandbox):
    """The same through a call: what a newer server says arrives."""
    sandbox.add_fault(Fault("status", path="/tokens/me", status=200, body=json.dumps(FULL)))
    assert gc.tokens.get_tokens_me().raw == FULL


@pytest.mark.parametrize("kind", [gct.TokenInfo, gct.IdleTokenTimeout, gct.User])
def test_every_field_is_optional(kind: type):
    """An empty object, or one of nulls, is a model of absent fields: all fields are optional on the wire."""
    nulls = {field.encode_name: None for field in msgspec.structs.fields(kind) if field.encode_name}
    assert decode(kind, b"{}") == kind()
    found = decode(kind, json.dumps(nulls).encode())
    assert found.raw == nulls
    assert msgspec.structs.replace(found, raw={}) == kind()


def test_a_null_inside_counts_as_absent():
    """A null in a nested object or list is absent, too, and still in `raw`."""
    body = b'{"OAuthClient": {"scope": null, "roleDivisions": [{"roleId": null}]}}'
    info = decode(gct.TokenInfo, body)
    assert info.oauth_client.scope == ()
    assert info.oauth_client.role_divisions[0].role_id is None
    assert info.raw == json.loads(body)


def test_the_word_null_in_a_name_is_a_name():
    """A name that contains `null` is read as any other."""
    info = decode(gct.TokenInfo, b'{"organization": {"name": "null and void"}}')
    assert info.organization.name == "null and void"


def test_models_are_frozen(gc):
    """Models cannot be changed by accident; `msgspec.structs.replace` makes a changed copy."""
    info = gc.tokens.get_tokens_me()
    with pytest.raises(AttributeError, match="immutable"):
        info.organization = None
    assert msgspec.structs.replace(info, organization=None).organization is None
    assert info.organization


def test_models_travel(gc):
    """A model survives pickling and copying, raw answer included."""
    info = gc.tokens.get_tokens_me()
    for twin in (pickle.loads(pickle.dumps(info)), copy.deepcopy(info)):
        assert twin == info
        assert twin.raw == info.raw


def test_a_repr_shows_what_is_there():
    """A repr leaves out what is absent, and the raw answer."""
    info = gct.TokenInfo(authorized_scope=("users",), raw={"secret": "x"})
    assert repr(info) == "TokenInfo(authorized_scope=('users',))"


def test_token_info_shows_itself_as_a_table(gc, sandbox: Sandbox):
    """As a cell's last line a TokenInfo is a table of what a person asks first."""
    html = gc.tokens.get_tokens_me()._repr_html_()
    client = sandbox.client("admin")
    assert html.startswith("<table><tr><th")
    for text in (
        f"{sandbox.organization.name} ({sandbox.organization.id})",
        f"admin ({client.client_id})",
        "CLIENT-CREDENTIALS",
        "Idles out",
        " UTC</td>",
        "audits:readonly, oauth, organization, users:readonly",
        "2024-03-01 09:30:00 UTC by Grace Hopper",
    ):
        assert text in html


def test_the_table_of_a_clone_names_the_trustee(sandbox: Sandbox, sign_in):
    """The table tells when the user is a clone, and of whom."""
    html = sign_in(access_token=sandbox.issue_token(sandbox.clone)).tokens.get_tokens_me()._repr_html_()
    assert f"{sandbox.clone.cloned_from.id} of {sandbox.clone.cloned_from.organization.id}" in html


def test_what_is_absent_is_no_row():
    """An empty TokenInfo is an empty table, not one of Nones."""
    assert gct.TokenInfo()._repr_html_() == "<table></table>"


def test_server_text_is_shown_as_text():
    """Markup in a name is shown as text, never run."""
    evil = "<img src=x onerror=alert(1)>"
    body = json.dumps({"organization": {"name": evil}, "OAuthClient": {"state": evil, "scope": [evil]}})
    html = decode(gct.TokenInfo, body.encode())._repr_html_()
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") == 3


def test_a_body_to_send_is_what_was_said_and_what_is_set():
    """What goes back to the server is its own answer overlaid with what is set now."""
    before = decode(gct.IdleTokenTimeout, b'{"idleTokenTimeoutSeconds": 3600, "newField": [1]}')
    after = msgspec.structs.replace(before, idle_token_timeout_seconds=900)
    assert to_body(after) == {"idleTokenTimeoutSeconds": 900, "newField": [1]}


FIRST_USE = """
import contextlib, sys, threading
import msgspec
from gctokens_nb import directory, models
from gctokens_nb.revocation import journal_check
sys.setswitchinterval(1e-6)
named = {"id": "1", "name": "x"}
client = {"createdBy": named, "modifiedBy": named, "roleDivisions": [{"roleId": "1"}], "organization": named}
role = {"policies": [{"domain": "a", "entityName": "b", "actions": ["c"]}]}
uses = [
    ({"organization": named, "clonedUser": {"organization": named}, "OAuthClient": client}, models.TokenInfo),
    ({"inactivityTimeoutGroupBundles": [{"priority": 1, "groups": ["x"]}]}, models.IdleTokenTimeout),
    ({"id": "1"}, models.User),
    ({"grants": [{"role": role}]}, directory._Subject),
    ({"organization_id": "1", "inputs": 1, "confirmed": 1}, journal_check.Facts),
    ([1, "x", "1", None, None, "revoke"], journal_check.PlanRow),
    ([1, "2026-01-01T00:00:00Z", None, None, "1"], journal_check.SessionRow),
    ([1, 1, 1, "2026-01-01T00:00:00Z"], journal_check.AttemptRow),
    ([{"file": "x", "sha256": "x"}], list[journal_check.Source]),
]
together = threading.Barrier(8)
def use():
    for value, kind in uses:
        together.wait()
        with contextlib.suppress(msgspec.ValidationError):
            msgspec.convert(value, kind)
threads = [threading.Thread(target=use) for _ in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
"""


def test_threads_may_use_a_kind_for_the_first_time_at_once():
    """The panels of a dashboard do: each has a thread, and msgspec would crash the kernel over kinds it does not know yet."""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", FIRST_USE], check=False, timeout=60)
        assert done.returncode == 0
