"""Results as pandas DataFrames: one row per item, stable snake_case columns, real dtypes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pandas as pd

from gctokens_nb.models import ClonedUser, IdleTokenTimeout, NamedEntity, OAuthClient, TokenInfo, User

__all__ = ["idle_timeout", "token_info", "users"]

T = TypeVar("T")
_TOKEN_INFO_DTYPES = {
    "organization_id": "string",
    "organization_name": "string",
    "home_organization_id": "string",
    "home_organization_name": "string",
    "client_id": "string",
    "client_name": "string",
    "client_state": "string",
    "authorized_grant_type": "string",
    "authorized_scope": "object",
    "client_scope": "object",
    "date_token_idles": "datetime64[us, UTC]",
    "client_date_created": "datetime64[us, UTC]",
    "client_created_by_id": "string",
    "client_created_by_name": "string",
    "client_date_modified": "datetime64[us, UTC]",
    "client_modified_by_id": "string",
    "client_modified_by_name": "string",
    "client_date_to_delete": "datetime64[us, UTC]",
    "client_organization_id": "string",
    "client_organization_name": "string",
    "client_role_divisions": "object",
    "cloned_user_id": "string",
    "cloned_user_organization_id": "string",
}
_IDLE_TIMEOUT_DTYPES = {
    "enable_idle_token_timeout": "boolean",
    "idle_token_timeout_seconds": "Int64",
    "inactivity_timeout_unit": "string",
    "inactivity_timeout_groups_enabled": "boolean",
    "inactivity_timeout_group_bundles": "object",
}
_USER_DTYPES = {"id": "string", "name": "string", "email": "string", "state": "string"}


def token_info(info: TokenInfo | Iterable[TokenInfo] | Mapping[str, TokenInfo]) -> pd.DataFrame:
    """Return one row a token.

    Args:
        info:
            One TokenInfo, several, or a mapping from a label of your own (such as the organization) to TokenInfo: the
            labels become the index, named `label`.

    Returns:
        pandas.DataFrame
            Always the same columns in the same order, whatever the server left out:

            - `organization_id`, `organization_name`, `home_organization_id`, `home_organization_name`, `client_id`,
              `client_name`, `client_state`, `authorized_grant_type`, `client_created_by_id`, `client_created_by_name`,
              `client_modified_by_id`, `client_modified_by_name`, `client_organization_id`, `client_organization_name`,
              `cloned_user_id`, `cloned_user_organization_id`: `string`, missing as `<NA>`
            - `date_token_idles`, `client_date_created`, `client_date_modified`, `client_date_to_delete`:
              `datetime64[us, UTC]`, missing as `NaT`
            - `authorized_scope`, `client_scope`: a list of str each; `client_role_divisions`: a list of
              `(role id, division id)` each
    """
    infos, index = _labelled([info] if isinstance(info, TokenInfo) else info)
    return _frame([_token_info_row(one) for one in infos], _TOKEN_INFO_DTYPES, index)


def idle_timeout(
    timeout: IdleTokenTimeout | Iterable[IdleTokenTimeout] | Mapping[str, IdleTokenTimeout],
) -> pd.DataFrame:
    """Return one row per idle timeout.

    Args:
        timeout:
            One IdleTokenTimeout, several, or a mapping from a label of your own to IdleTokenTimeout: the labels become
            the index, named `label`.

    Returns:
        Always the same columns: `enable_idle_token_timeout` and `inactivity_timeout_groups_enabled` (`boolean`),
        `idle_token_timeout_seconds` (`Int64`), `inactivity_timeout_unit` (`string`), and
        `inactivity_timeout_group_bundles`, a list of `(priority, timeout in seconds, list of group ids)` each.
    """
    timeouts, index = _labelled([timeout] if isinstance(timeout, IdleTokenTimeout) else timeout)
    rows = [{name: getattr(one, name) for name in _IDLE_TIMEOUT_DTYPES} for one in timeouts]
    for row in rows:
        row["inactivity_timeout_group_bundles"] = [
            (bundle.priority, bundle.timeout_seconds, list(bundle.groups))
            for bundle in row["inactivity_timeout_group_bundles"]
        ]
    return _frame(rows, _IDLE_TIMEOUT_DTYPES, index)


def users(found: Iterable[User]) -> pd.DataFrame:
    """Return one row a user: `id`, `name`, `email`, `state`, all `string`."""
    return _frame(
        [{name: getattr(user, name) for name in _USER_DTYPES} for user in found], _USER_DTYPES, None
    )


def _token_info_row(info: TokenInfo) -> dict[str, Any]:
    client = info.oauth_client or OAuthClient()
    cloned = info.cloned_user or ClonedUser()
    return {
        **_named("organization", info.organization),
        **_named("home_organization", info.home_organization),
        **_named("client", client),
        "client_state": client.state,
        "authorized_grant_type": client.authorized_grant_type,
        "authorized_scope": list(info.authorized_scope),
        "client_scope": list(client.scope),
        "date_token_idles": info.date_token_idles,
        "client_date_created": client.date_created,
        **_named("client_created_by", client.created_by),
        "client_date_modified": client.date_modified,
        **_named("client_modified_by", client.modified_by),
        "client_date_to_delete": client.date_to_delete,
        **_named("client_organization", client.organization),
        "client_role_divisions": [(r.role_id, r.division_id) for r in client.role_divisions],
        "cloned_user_id": cloned.id,
        "cloned_user_organization_id": cloned.organization.id if cloned.organization else None,
    }


def _labelled(given: Iterable[T] | Mapping[str, T]) -> tuple[list[T], pd.Index[Any] | None]:
    if isinstance(given, Mapping):
        return list(given.values()), pd.Index(list(given), name="label", dtype="object")
    return list(given), None


def _named(prefix: str, entity: NamedEntity | OAuthClient | None) -> dict[str, str | None]:
    return {f"{prefix}_id": entity.id if entity else None, f"{prefix}_name": entity.name if entity else None}


def _frame(
    rows: list[dict[str, Any]], dtypes: Mapping[str, str], index: pd.Index[Any] | None
) -> pd.DataFrame:
    columns = {
        name: pd.Series([row[name] for row in rows], dtype=dtype, index=index)
        for name, dtype in dtypes.items()
    }
    return pd.DataFrame(columns, columns=list(dtypes), index=index)
