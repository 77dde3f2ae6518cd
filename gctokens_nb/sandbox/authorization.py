"""Roles and what they permit (``/api/v2/authorization``)."""

from typing import Any

from gctokens_nb.sandbox.model import SEEDED_AT, permission_policies
from gctokens_nb.sandbox.reading import flag
from gctokens_nb.sandbox.routes import AuthorizedRequest, Route, Routes
from gctokens_nb.sandbox.wire import Response, json_response
from gctokens_nb.sandbox.world import World


def get_subjects_me(world: World, call: AuthorizedRequest) -> Response:
    """The roles granted to whom the token acts for; with their policies if ``includeFullRoles=true``.

    The parameter is new in version 269 of the Python SDK: "Include full role data with permission policies for
    each grant".
    """
    full = flag(call.request.query, "includeFullRoles")
    grant = call.token.grant
    subject_id = grant.user.id if grant.user else grant.client.client_id
    division = {
        **world.division_reference(),
        "description": "",  # required by AuthzDivision
        "homeDivision": True,
    }
    grants: list[dict[str, Any]] = []
    for name, policies in permission_policies(call.token.permissions).items():
        role_id = world.role_id(name)
        role = {
            "id": role_id,
            "name": name,
            "default": False,
            "selfUri": f"/api/v2/authorization/roles/{role_id}",
        }
        if full:
            role["policies"] = policies
        grants.append({"subjectId": subject_id, "division": division, "role": role, "grantMadeAt": SEEDED_AT})
    return json_response(
        200,
        {
            "id": subject_id,
            "name": grant.user.name if grant.user else grant.client.name,
            "grants": grants,
            "version": 1,
            "selfUri": f"/api/v2/authorization/subjects/{subject_id}",
        },
    )


ROUTES: Routes = {
    "/api/v2/authorization/subjects/me": {
        "GET": Route(get_subjects_me, ("authorization", "authorization:readonly"))
    },
}
