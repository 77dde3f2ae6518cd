"""The platform API of the sandbox: who is let in to which call, how often, and with what permission.

Paths, scopes, permissions and shapes are those of Genesys Cloud's own API definition; the calls themselves are in
``tokens``, ``clients``, ``users``, ``authorization`` and ``routing``.
"""

import math
from urllib.parse import unquote

from gctokens_nb.sandbox import authorization, clients, routing, tokens, users
from gctokens_nb.sandbox.reading import bearer_token, flag
from gctokens_nb.sandbox.routes import AuthorizedRequest, Route, Routes
from gctokens_nb.sandbox.wire import Refusal, Request, Response
from gctokens_nb.sandbox.world import Token, World

_ROUTES: Routes = {
    **tokens.ROUTES,
    **users.ROUTES,
    **clients.ROUTES,
    **authorization.ROUTES,
    **routing.ROUTES,
}
_ITEM_ROUTES: Routes = {**tokens.ITEM_ROUTES, **clients.ITEM_ROUTES}  # the next segment of the path is an id


class PlatformApi:
    """Answers requests under ``/api/v2``.

    Args:
        world: What is asked about.
        rate_limit: Requests of one token in a window; None for no limit.
        rate_window_seconds: How long a window lasts, from the first request in it.
        enforce_scopes: Whether people's clients may do only what their scopes cover.
    """

    def __init__(
        self, world: World, rate_limit: int | None, rate_window_seconds: float, *, enforce_scopes: bool
    ) -> None:
        self._world = world
        self._rate_limit = rate_limit
        self._rate_window_seconds = rate_window_seconds
        self._enforce_scopes = enforce_scopes

    def answer(self, request: Request, correlation_id: str) -> Response:
        """The answer, errors included, with rate-limit headers where the token is good."""
        rate_headers: dict[str, str] = {}
        try:
            response = self._answer(request, rate_headers)
        except Refusal as refusal:
            response = refusal.response(correlation_id)
        except RecursionError:  # only JSON that came in can be so deep
            response = Refusal("bad.request").response(correlation_id)
        if rate_headers:
            return response._replace(headers={**response.headers, **rate_headers})
        return response

    def _answer(self, request: Request, rate_headers: dict[str, str]) -> Response:
        item = ""
        methods = _ROUTES.get(request.path)
        if methods is None:
            parent, _, last = request.path.rpartition("/")
            item = unquote(last)
            methods = _ITEM_ROUTES.get(parent) if item else None
        if methods is None:
            raise Refusal("not.found")
        route = methods.get(request.method)
        if route is None:
            raise Refusal("method.not.allowed", headers={"Allow": ", ".join(sorted(methods))})
        access_token, token = self._authenticate(request)
        self._count(token, rate_headers)
        self._check(route, token)
        return route.handle(self._world, AuthorizedRequest(request, access_token, token, item))

    def _authenticate(self, request: Request) -> tuple[str, Token]:
        access_token = bearer_token(request)
        if access_token is None:
            raise Refusal("authentication.required")
        token = self._world.known_token(access_token)
        if token is None:
            raise Refusal("bad.credentials")
        if self._world.has_expired(token):
            # The definition declares this code for no call, the SDKs' documents name it: which of the two 401 codes
            # the service gives to an expired token is not known.
            raise Refusal("credentials.expired")
        if not (
            request.path == "/api/v2/tokens/me"
            and request.method == "GET"
            and flag(request.query, "preserveIdleTTL")
        ):
            token.last_used_at = self._world.now()
        return access_token, token

    def _count(self, token: Token, rate_headers: dict[str, str]) -> None:
        limit = self._rate_limit
        if limit is None:
            return
        now = self._world.now()
        if now >= token.window_ends_at:
            token.window_ends_at = now + self._rate_window_seconds
            token.request_count = 0
        token.request_count += 1
        reset_seconds = str(math.ceil(token.window_ends_at - now))
        rate_headers.update(
            {
                "inin-ratelimit-count": str(token.request_count),
                "inin-ratelimit-allowed": str(limit),
                "inin-ratelimit-reset": reset_seconds,
            }
        )
        if token.request_count > limit:
            raise Refusal(
                "too.many.requests.retry.after",
                params={"seconds": reset_seconds},
                headers={"Retry-After": reset_seconds},
            )

    def _check(self, route: Route, token: Token) -> None:
        """Refuse what the client's scopes do not cover, or what its permissions do not."""
        client = token.grant.client
        # Scopes bind clients that act for people only. Which of several that would do the service names is not known,
        # nor whether it looks at scopes before permissions.
        if self._enforce_scopes and token.grant.user and not set(route.scopes) & set(client.scope):
            raise Refusal("app.not.authorized.for.scope", params={"scope": route.scopes[0]})
        if route.permission and route.permission not in token.permissions:
            raise Refusal("missing.any.permissions", params={"permissions": f"[{route.permission}]"})
