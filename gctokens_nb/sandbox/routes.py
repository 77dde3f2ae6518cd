"""What a module of calls offers to the platform API: its routes, and what each is given."""

from collections.abc import Callable
from typing import NamedTuple

from gctokens_nb.sandbox.wire import Request, Response
from gctokens_nb.sandbox.world import Token, World


class AuthorizedRequest(NamedTuple):
    """A request that was let in."""

    request: Request
    access_token: str
    token: Token
    item: str  # the decoded last segment of the path, where the route has one


class Route(NamedTuple):
    """What answers a method of a path.

    The client of a person needs one of ``scopes`` where the organization enforces them; the person, or the
    client itself, needs ``permission``.
    """

    handle: Callable[[World, AuthorizedRequest], Response]
    scopes: tuple[str, ...]
    permission: str | None = None


Routes = dict[str, dict[str, Route]]  # by path and method
