"""Results as DataFrames: a row each, stable columns, real dtypes."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

import gctokens_nb as gct
from gctokens_nb.models import ClonedUser, NamedEntity, OAuthClient, RoleDivision
from gctokens_nb.sandbox import Sandbox

COLUMNS = [
    "organization_id",
    "organization_name",
    "home_organization_id",
    "home_organization_name",
    "client_id",
    "client_name",
    "client_state",
    "authorized_grant_type",
    "authorized_scope",
    "client_scope",
    "date_token_idles",
    "client_date_created",
    "client_created_by_id",
    "client_created_by_name",
    "client_date_modified",
    "client_modified_by_id",
    "client_modified_by_name",
    "client_date_to_delete",
    "client_organization_id",
    "client_organization_name",
    "client_role_divisions",
    "cloned_user_id",
    "cloned_user_organization_id",
]
TIMES = ["date_token_idles", "client_date_created", "client_date_modified", "client_date_to_delete"]
LISTS = ["authorized_scope", "client_scope", "client_role_divisions"]


def assert_stable(frame: pd.DataFrame) -> None:
    """The columns are these, in this order and of these dtypes, whatever the rows."""
    assert list(frame.columns) == COLUMNS
    for column, dtype in frame.dtypes.items():
        if column in TIMES:
            assert str(dtype) == "datetime64[us, UTC]"
        elif column in LISTS:
            assert str(dtype) == "object"
        else:
            assert isinstance(dtype, pd.StringDtype)


def test_one_token_is_one_row(gc, sandbox: Sandbox):
    """One TokenInfo becomes one row of what the server said."""
    info = gc.tokens.get_tokens_me()
    frame = gct.frames.token_info(info)
    assert_stable(frame)
    (row,) = frame.to_dict("records")
    assert row["organization_name"] == sandbox.organization.name
    assert row["client_id"] == sandbox.client("admin").client_id
    assert row["authorized_grant_type"] == "CLIENT-CREDENTIALS"
    assert row["authorized_scope"] == list(info.authorized_scope)
    assert row["date_token_idles"] == info.date_token_idles
    assert row["client_created_by_name"] == "Grace Hopper"
    assert row["client_role_divisions"] == [
        (one.role_id, one.division_id) for one in info.oauth_client.role_divisions
    ]
    assert frame["cloned_user_id"].isna().all()


def test_real_dtypes(gc):
    """Times can be calculated with, scopes be exploded, names be searched."""
    frame = gct.frames.token_info(gc.tokens.get_tokens_me())
    assert (frame["date_token_idles"] > datetime.now(UTC)).all()
    assert frame.explode("authorized_scope")["authorized_scope"].tolist() == [
        "audits:readonly",
        "oauth",
        "organization",
        "users:readonly",
    ]
    assert frame["client_name"].str.contains("adm").all()


def test_several_tokens_are_several_rows(gc, sign_in):
    """Any iterable of TokenInfo becomes a row each, in its order."""
    infos = [gc.tokens.get_tokens_me(), sign_in("no permissions").tokens.get_tokens_me()]
    frame = gct.frames.token_info(iter(infos))
    assert_stable(frame)
    assert frame["client_name"].tolist() == ["admin", "no permissions"]
    assert frame.index.tolist() == [0, 1]


def test_several_organizations_side_by_side(gc, sign_in):
    """A mapping labels its rows: two connections to two organizations in one table."""
    with Sandbox(organization="Nimbus") as other:
        both = {"ours": gc, "theirs": sign_in(server=other)}
        frame = gct.frames.token_info({label: one.tokens.get_tokens_me() for label, one in both.items()})
    assert_stable(frame)
    assert frame.index.name == "label"
    assert frame.index.tolist() == ["ours", "theirs"]
    assert frame["organization_name"].to_dict() == {"ours": "Cumulus Airlines", "theirs": "Nimbus"}


@pytest.mark.parametrize("nothing", [[], {}])
def test_no_token_is_no_row(nothing):
    """Nothing becomes an empty frame of the same columns and dtypes."""
    frame = gct.frames.token_info(nothing)
    assert_stable(frame)
    assert len(frame) == 0


def test_an_empty_token_info_keeps_the_dtypes():
    """A token of which nothing is known is a row of missing values, and of empty lists."""
    frame = gct.frames.token_info(gct.TokenInfo())
    assert_stable(frame)
    assert frame[LISTS].iloc[0].tolist() == [[], [], []]
    assert frame.drop(columns=LISTS).isna().all(axis=None)


def test_every_column_has_its_field():
    """Each field of a TokenInfo lands in its column."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    info = gct.TokenInfo(
        organization=NamedEntity(id="o", name="O"),
        home_organization=NamedEntity(id="h", name="H"),
        authorized_scope=("a", "b"),
        cloned_user=ClonedUser(id="u", organization=NamedEntity(id="t")),
        date_token_idles=moment,
        oauth_client=OAuthClient(
            id="c",
            name="C",
            state="active",
            authorized_grant_type="CODE",
            scope=("s",),
            date_created=moment,
            created_by=NamedEntity(id="x", name="X"),
            date_modified=moment,
            modified_by=NamedEntity(id="y", name="Y"),
            date_to_delete=moment,
            organization=NamedEntity(id="p", name="P"),
            role_divisions=(RoleDivision(role_id="r", division_id="d"),),
        ),
    )
    frame = gct.frames.token_info(info)
    when = pd.Timestamp(moment)
    assert frame.iloc[0].tolist() == [
        *("o", "O", "h", "H", "c", "C", "active", "CODE", ["a", "b"], ["s"], when),
        *(when, "x", "X", when, "y", "Y", when, "p", "P", [("r", "d")], "u", "t"),
    ]


def test_users(gc, sandbox: Sandbox):
    """Users become a row each, of id, name, e-mail and state."""
    frame = gct.frames.users(gc.directory.list_users(state="any"))
    assert list(frame.columns) == ["id", "name", "email", "state"]
    assert all(isinstance(dtype, pd.StringDtype) for dtype in frame.dtypes)
    assert set(frame["email"]) == {user.email for user in sandbox.users}
    assert list(gct.frames.users([]).columns) == list(frame.columns)


def test_idle_timeouts(gc):
    """An idle timeout becomes a row of real numbers and flags, labelled like tokens; what is absent is missing."""
    bundle = {"priority": 1, "timeoutSeconds": 600, "groups": ["g1", "g2"]}
    ours = gc.tokens.put_tokens_timeout({"inactivityTimeoutGroupBundles": [bundle]})
    frame = gct.frames.idle_timeout({"ours": ours, "unknown": gct.IdleTokenTimeout()})
    assert frame.dtypes.astype(str).to_dict() == {
        "enable_idle_token_timeout": "boolean",
        "idle_token_timeout_seconds": "Int64",
        "inactivity_timeout_unit": str(frame["inactivity_timeout_unit"].dtype),
        "inactivity_timeout_groups_enabled": "boolean",
        "inactivity_timeout_group_bundles": "object",
    }
    assert isinstance(frame["inactivity_timeout_unit"].dtype, pd.StringDtype)
    assert frame.loc["ours", "idle_token_timeout_seconds"] == 3600
    assert frame.loc["ours", "inactivity_timeout_group_bundles"] == [(1, 600, ["g1", "g2"])]
    assert frame.loc["unknown"].drop("inactivity_timeout_group_bundles").isna().all()
    assert len(gct.frames.idle_timeout(ours)) == 1
    assert gct.frames.idle_timeout([]).dtypes.equals(frame.dtypes)
