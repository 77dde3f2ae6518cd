"""OAuth clients (``/api/v2/oauth/clients``)."""

from typing import Any

from gctokens_nb.sandbox.model import (
    CLIENT_CREDENTIALS,
    MODIFIED_AT,
    SEEDED_AT,
    SandboxClient,
    permission_policies,
)
from gctokens_nb.sandbox.reading import page_of
from gctokens_nb.sandbox.routes import AuthorizedRequest, Route, Routes
from gctokens_nb.sandbox.wire import Refusal, Response, json_response
from gctokens_nb.sandbox.world import World

_DELETED_AT = "2026-12-31T00:00:00.000Z"


def get_clients(world: World, call: AuthorizedRequest) -> Response:
    """The OAuth clients, a page at a time."""
    # The definition has page fields in the answer and no parameter that would choose a page: how the service cuts
    # pages is not known.
    entities = [_client(world, client) for client in world.clients.values()]
    page = page_of(call.request, entities, "/api/v2/oauth/clients", default_size=100, largest_size=200)
    return json_response(200, page)


def get_client(world: World, call: AuthorizedRequest) -> Response:
    """One OAuth client."""
    client = world.clients.get(call.item)
    if client is None:
        raise Refusal("client.not.found")
    return json_response(200, _client(world, client))


def _client(world: World, client: SandboxClient) -> dict[str, Any]:
    """The client as its administrators read it (``OAuthClient``): the secret is told at creation only."""
    return {
        **_common(world, client),
        "accessTokenValiditySeconds": int(world.token_lifetime_seconds),
        "registeredRedirectUri": list(client.redirect_uris),
        "selfUri": f"/api/v2/oauth/clients/{client.client_id}",
    }


def client_of_token(world: World, client: SandboxClient) -> dict[str, Any]:
    """The client as a token's information shows it (``OrgOAuthClient``)."""
    return {**_common(world, client), "organization": world.organization._asdict()}


def _common(world: World, client: SandboxClient) -> dict[str, Any]:
    creator = world.users[0]
    reference = {"id": creator.id, "name": creator.name, "selfUri": f"/api/v2/users/{creator.id}"}
    value: dict[str, Any] = {
        "id": client.client_id,
        "name": client.name,
        "dateCreated": SEEDED_AT,
        "dateModified": MODIFIED_AT,
        "createdBy": reference,
        "modifiedBy": reference,
        "authorizedGrantType": client.grant,
        "scope": list(client.scope),
        "state": client.state,
    }
    if client.grant == CLIENT_CREDENTIALS:
        value["roleDivisions"] = [
            {"roleId": world.role_id(name), "divisionId": world.division.id}
            for name in permission_policies(client.permissions)
        ]
    if client.state == "inactive":
        value["dateToDelete"] = _DELETED_AT
    return value


_READ = ("oauth", "oauth:readonly")
ROUTES: Routes = {"/api/v2/oauth/clients": {"GET": Route(get_clients, _READ, "oauth:client:view")}}
ITEM_ROUTES: Routes = {"/api/v2/oauth/clients": {"GET": Route(get_client, _READ, "oauth:client:view")}}
