"""What the Tokens API answers, typed and frozen.

Every field is optional on the wire, so every field has a default. Nothing that a server sends is lost: unknown fields
and unknown enum values stay in `raw`, enumerations are plain strings kept as they came.
Field names follow the JSON names of Genesys Cloud's published SDK documents, in snake_case.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from gctokens_nb.display import two_columns

__all__ = [
    "ClonedUser",
    "GroupBundle",
    "IdleTokenTimeout",
    "NamedEntity",
    "OAuthClient",
    "RoleDivision",
    "TokenInfo",
    "User",
]

IDLE_TIMEOUT_SECONDS = (300, 28800)  # documented limits of idleTokenTimeoutSeconds

T = TypeVar("T", bound="Model")


class Model(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """The base of all models: aware UTC datetimes, the raw answer, a repr of what is there."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime):  # a time without a zone is UTC on this wire
                msgspec.structs.force_setattr(self, name, _in_utc(value))

    def __repr__(self) -> str:
        held = {name: getattr(self, name) for name in self.__struct_fields__ if name != "raw"}
        shown = (
            f"{name}={value if isinstance(value, datetime) else repr(value)}"  # a moment reads better plain
            for name, value in held.items()
            if value not in (None, ())
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def _in_utc(moment: datetime) -> datetime | None:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # 9999-12-31T23:59:59-01:00 is in the year 10000
        return None


class NamedEntity(Model, frozen=True):
    """A reference to an organization or user: `id` and `name`."""

    id: str | None = None
    name: str | None = None


class ClonedUser(Model, frozen=True):
    """The trustee user of whom the token's user is a clone: `id` and home `organization`."""

    id: str | None = None
    organization: NamedEntity | None = None


class RoleDivision(Model, frozen=True):
    """A role of a client-credentials client and the division in which it holds."""

    role_id: str | None = None
    division_id: str | None = None


class OAuthClient(Model, frozen=True):
    """The OAuth client that a token was issued to (OrgOAuthClient).

    Attributes:
        id, name: str
        authorized_grant_type: str
            Such as `CODE`, `PKCE`, `CLIENT-CREDENTIALS`; any spelling is kept as it came.
        scope: tuple of str
        state: str
            `active`, `disabled` or `inactive`; anything else is kept as it came.
        date_created, date_modified, date_to_delete: datetime (UTC) or None
        created_by, modified_by: NamedEntity or None
        role_divisions: tuple of RoleDivision
            Client credentials only.
        organization: NamedEntity or None

    """

    id: str | None = None
    name: str | None = None
    authorized_grant_type: str | None = None
    scope: tuple[str, ...] = ()
    state: str | None = None
    date_created: datetime | None = None
    date_modified: datetime | None = None
    date_to_delete: datetime | None = None
    created_by: NamedEntity | None = None
    modified_by: NamedEntity | None = None
    role_divisions: tuple[RoleDivision, ...] = ()
    organization: NamedEntity | None = None


class TokenInfo(Model, frozen=True):
    """What Genesys Cloud says of an access token. Shows itself as a table when it is a cell's last line.

    Attributes:
        organization: NamedEntity or None
            The current organization.
        home_organization: NamedEntity or None
            The token's home organization; differs from `organization` in a trustor's.
        authorized_scope: tuple of str
            Scopes authorized for the OAuth client.
        cloned_user: ClonedUser or None
            Present only when the user is a clone of a trustee user in the trustor organization.
        date_token_idles: datetime (UTC) or None
            When the token is due to idle out.
        oauth_client: OAuthClient or None
        raw: dict
            The answer as it came.

    """

    organization: NamedEntity | None = None
    home_organization: NamedEntity | None = None
    authorized_scope: tuple[str, ...] = ()
    cloned_user: ClonedUser | None = None
    date_token_idles: datetime | None = None
    oauth_client: OAuthClient | None = msgspec.field(default=None, name="OAuthClient")
    raw: dict[str, Any] = msgspec.field(default_factory=dict, name="")

    def _repr_html_(self) -> str:
        return two_columns(token_info_rows(self))


class GroupBundle(Model, frozen=True):
    """An idle timeout of its own for some groups: `priority` 1 to 5, `timeout_seconds`, `groups` (ids)."""

    priority: int | None = None
    timeout_seconds: int | None = None
    groups: tuple[str, ...] = ()
    inactivity_timeout_unit: str | None = None


class IdleTokenTimeout(Model, frozen=True):
    """The organization's idle token timeout.

    Attributes:
        idle_token_timeout_seconds: int
            300 to 28800 (an organization under HIPAA may be capped at 900).
        enable_idle_token_timeout: bool
        inactivity_timeout_unit: str
            `Minutes` or `Hours`: the unit in which Genesys Cloud's own page shows it.
        inactivity_timeout_groups_enabled: bool
        inactivity_timeout_group_bundles: tuple of GroupBundle
        raw: dict
            The answer as it came.

    """

    idle_token_timeout_seconds: int | None = None
    enable_idle_token_timeout: bool | None = None
    inactivity_timeout_unit: str | None = None
    inactivity_timeout_groups_enabled: bool | None = None
    inactivity_timeout_group_bundles: tuple[GroupBundle, ...] = ()
    raw: dict[str, Any] = msgspec.field(default_factory=dict, name="")


class User(Model, frozen=True):
    """A user of the directory: `id`, `name`, `email`, `state` (`active`, `inactive`, `deleted`), and `raw`."""

    id: str | None = None
    name: str | None = None
    email: str | None = None
    username: str | None = None
    state: str | None = None
    raw: dict[str, Any] = msgspec.field(default_factory=dict, name="")


def prepare(*kinds: type[Any]) -> None:
    """Let msgspec look at each kind now. A module calls it right after defining what it decodes into.

    Otherwise msgspec looks at a kind when it first decodes into it, and two threads that do so at the same time crash the
    process: one uses what the other has only half filled in (seen with msgspec 0.22.0). A module is imported by one thread.
    """
    for kind in kinds:
        msgspec.json.Decoder(kind)


prepare(TokenInfo, IdleTokenTimeout, User)


def token_info_rows(info: TokenInfo) -> list[tuple[str, str]]:
    """Return TokenInfo as (field, text) rows, in the order in which a person asks; absent fields are left out."""
    client = info.oauth_client or OAuthClient()
    rows: list[tuple[str, object]] = [
        ("Organization", _named(info.organization)),
        ("Home organization", _named(info.home_organization)),
        (
            "Cloned user",
            info.cloned_user and f"{info.cloned_user.id} of {_named(info.cloned_user.organization)}",
        ),
        ("Idles out", info.date_token_idles),
        ("Authorized scope", ", ".join(info.authorized_scope)),
        ("OAuth client", _named(client)),
        ("Grant type", client.authorized_grant_type),
        ("Client state", client.state),
        ("Client scope", ", ".join(client.scope)),
        ("Client organization", _named(client.organization)),
        ("Client created", _when(client.date_created, client.created_by)),
        ("Client modified", _when(client.date_modified, client.modified_by)),
        ("Client deleted on", client.date_to_delete),
        ("Roles", ", ".join(f"{r.role_id} in division {r.division_id}" for r in client.role_divisions)),
    ]
    return [(name, _show(value)) for name, value in rows if value]


def _named(entity: NamedEntity | OAuthClient | None) -> str:
    if entity is None:
        return ""
    return f"{entity.name} ({entity.id})" if entity.name and entity.id else entity.name or entity.id or ""


def _when(moment: datetime | None, by: NamedEntity | None) -> str:
    return " by ".join(part for part in (_show(moment) if moment else "", _named(by)) if part)


def _show(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else str(value)


def decode(kind: type[T], body: bytes) -> T:
    """Decode a JSON object into `kind`, keeping the whole answer in its `raw`.

    Raises `msgspec.DecodeError` (not JSON, not UTF-8, nested without end) or `msgspec.ValidationError` (a field of
    another type).
    """
    try:
        raw = msgspec.json.decode(body, type=dict[str, Any])
        return from_raw(kind, raw) if b"null" in body else _from_raw(kind, raw, raw)
    except msgspec.DecodeError:
        raise
    except (ValueError, RecursionError) as error:  # no UTF-8, or a number of too many digits
        raise msgspec.DecodeError(type(error).__name__) from None


def from_raw(kind: type[T], raw: dict[str, Any]) -> T:
    """Make a `kind` of an already decoded JSON object; null counts as absent, as all fields are optional."""
    return _from_raw(kind, _without_nulls(raw), raw)


def _from_raw(kind: type[T], fields: dict[str, Any], raw: dict[str, Any]) -> T:
    return msgspec.convert({**fields, "": raw}, kind, strict=False)


def to_body(model: IdleTokenTimeout) -> dict[str, Any]:
    """Return the JSON object to send: what the server once said, overlaid with the fields that have changed since."""
    read = from_raw(IdleTokenTimeout, model.raw)
    changed = {
        field.encode_name: msgspec.to_builtins(now)
        for field in msgspec.structs.fields(model)
        if field.name != "raw" and (now := getattr(model, field.name)) != getattr(read, field.name)
    }
    return {**model.raw, **changed}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
