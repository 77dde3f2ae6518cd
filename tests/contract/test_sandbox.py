"""The sandbox as the published Python SDK reads it, apart from the Tokens API."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from gctokens_nb.sandbox import Sandbox

UNKNOWN = "outdated_sdk_version"  # what the SDK makes of a value that it has no word for


@pytest.fixture
def admin(client: Any, sandbox: Sandbox) -> Any:
    """The SDK's client with a token that has all permissions."""
    client.access_token = sandbox.issue_token(client="admin")
    return client


@pytest.mark.parametrize("full", [True, False])
def test_policies_come_when_they_are_asked_for(sdk: ModuleType, admin: Any, full: bool) -> None:
    """Roles come with their policies if `includeFullRoles` says so, else without."""
    subject = sdk.AuthorizationApi(admin).get_authorization_subjects_me(include_full_roles=full)
    assert [grant.role.name for grant in subject.grants] == [
        "Audits role",
        "Directory role",
        "Oauth role",
        "Routing role",
    ]
    assert [bool(grant.role.policies) for grant in subject.grants] == [full] * 4


def test_queues(sdk: ModuleType, admin: Any) -> None:
    """Queues are read page by page, and every field is one that the SDK knows."""
    api = sdk.RoutingApi(admin)
    page = api.get_routing_queues(page_size=2, page_number=3)
    assert (page.total, page.page_count, page.page_number) == (5, 3, 3)
    [queue] = page.entities
    assert (queue.name, queue.division.name, queue.skill_evaluation_method) == ("Sales", "Home", "ALL")
    assert [queue.name for queue in api.get_routing_queues(name="*ions").entities] == ["Reservations"]


def test_clients_have_known_grant_types_and_no_secret(sdk: ModuleType, admin: Any) -> None:
    """The SDK has a word for each grant type, and reads no secret."""
    clients = sdk.OAuthApi(admin).get_oauth_clients().entities
    assert UNKNOWN not in {client.authorized_grant_type for client in clients}
    assert {client.secret for client in clients} == {None}


def test_no_user_for_client_credentials(sdk: ModuleType, admin: Any) -> None:
    """Client credentials have no `users/me`."""
    with pytest.raises(sdk.rest.ApiException) as caught:
        sdk.UsersApi(admin).get_users_me()
    assert caught.value.status == 400
    assert '"not.a.user"' in caught.value.body
