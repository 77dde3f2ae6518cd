"""Queues (``/api/v2/routing/queues``)."""

import re
from typing import Any

from gctokens_nb.sandbox.model import MODIFIED_AT, SEEDED_AT, stable_id
from gctokens_nb.sandbox.reading import UUID, one_of, page_of, single
from gctokens_nb.sandbox.routes import AuthorizedRequest, Route, Routes
from gctokens_nb.sandbox.wire import Refusal, Response, json_response
from gctokens_nb.sandbox.world import World

_NAMES = ("Billing", "Claims", "Lost property", "Reservations", "Sales")


def get_queues(world: World, call: AuthorizedRequest) -> Response:
    """The queues by name, a page at a time; chosen by ``name``, ``id`` and ``divisionId``."""
    query = call.request.query
    order = one_of(query, "sortOrder", ("asc", "desc"))
    pattern = single(query, "name", "*").lower()
    # An asterisk at the beginning or the end stands for any text; what is between stands for itself.
    text = re.escape(pattern.removeprefix("*").removesuffix("*"))
    wanted = re.compile(f"{'.*' * pattern.startswith('*')}{text}{'.*' * pattern.endswith('*')}", re.DOTALL)
    for name in ("id", "divisionId"):
        if not all(UUID.fullmatch(value) for value in query.get(name, ())):
            raise Refusal("invalid.id", field=name)
    ids = {value.lower() for value in query.get("id", ())}
    divisions = {value.lower() for value in query.get("divisionId", ())}
    queues = [
        queue
        for queue in (_queue(world, name) for name in sorted(_NAMES, reverse=order == "desc"))
        if wanted.fullmatch(queue["name"].lower())
        and (not ids or queue["id"] in ids)
        and (not divisions or queue["division"]["id"] in divisions)
    ]
    # The largest page is not documented; it is that of the users.
    page = page_of(call.request, queues, "/api/v2/routing/queues", default_size=25, largest_size=500)
    return json_response(200, page)


def _queue(world: World, name: str) -> dict[str, Any]:
    queue_id = stable_id(f"{world.organization.name}/queue/{name}")
    creator = world.users[0].id
    return {
        "id": queue_id,
        "name": name,
        "division": world.division_reference(),
        "dateCreated": SEEDED_AT,
        "dateModified": MODIFIED_AT,
        "modifiedBy": creator,
        "createdBy": creator,
        "memberCount": 0,
        "userMemberCount": 0,
        "joinedMemberCount": 0,
        "skillEvaluationMethod": "ALL",
        "autoAnswerOnly": True,
        "selfUri": f"/api/v2/routing/queues/{queue_id}",
    }


ROUTES: Routes = {
    "/api/v2/routing/queues": {
        "GET": Route(get_queues, ("routing", "routing:readonly"), "routing:queue:view")
    },
}
