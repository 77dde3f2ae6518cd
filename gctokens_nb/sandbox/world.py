"""What the sandbox holds: an organization with its users, OAuth clients, tokens and idle timeout.

Seeded data come from the organization's name alone, so that they are the same at every start. Ids and
secrets are never the same for two organizations; people have the same names in all of them, and may have
the same e-mail addresses where the organizations' names are alike. Tokens are random, as they must be.
"""

import re
import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gctokens_nb.sandbox.model import Organization, SandboxClient, SandboxUser, stable_id
from gctokens_nb.sandbox.seeds import seeded_clients, seeded_user

CODE_LIFETIME_SECONDS = 60


class Grant:
    """One sign-in: what a client may do for a user (or itself), over all renewals."""

    __slots__ = ("client", "refresh_token", "tokens", "user")

    def __init__(self, client: SandboxClient, user: SandboxUser | None) -> None:
        self.client = client
        self.user = user
        self.refresh_token: str | None = None
        self.tokens: list[str] = []


class Token:
    """A live or expired access token; revoked ones are forgotten. Times are seconds since 1970."""

    __slots__ = ("expires_at", "grant", "last_used_at", "request_count", "window_ends_at")

    def __init__(self, grant: Grant, created_at: float, lifetime_seconds: float) -> None:
        self.grant = grant
        self.expires_at = created_at + lifetime_seconds
        self.last_used_at = created_at
        self.request_count = 0
        self.window_ends_at = 0.0

    @property
    def permissions(self) -> tuple[str, ...]:
        """Those of the user, or of the client where there is no user."""
        return self.grant.user.permissions if self.grant.user else self.grant.client.permissions


class AuthorizationCode:
    """A code on its way from the authorize page to the token endpoint."""

    __slots__ = ("challenge", "client", "expires_at", "grant", "redirect_uri", "user")

    def __init__(
        self, client: SandboxClient, user: SandboxUser, redirect_uri: str, challenge: str, expires_at: float
    ) -> None:
        self.client = client
        self.user = user
        self.redirect_uri = redirect_uri
        self.challenge = challenge
        self.expires_at = expires_at
        self.grant: Grant | None = None  # set once the code has been used


class Revocation(NamedTuple):
    """One deletion of all tokens of a user that took effect, whether or not the answer arrived."""

    at: datetime
    user_id: str
    by_client_id: str


class World:
    """The state of one organization. Not thread-safe by itself: the sandbox holds a lock around it.

    Args:
        organization: Its name; all seeded data derive from it.
        users: How many to seed.
        token_lifetime_seconds: How long access tokens live.
        hipaa: Whether the organization handles health data, which allows it an idle timeout of 15 minutes at most.
    """

    def __init__(
        self, organization: str, users: int, token_lifetime_seconds: float, *, hipaa: bool = False
    ) -> None:
        self.organization = Organization(stable_id(f"{organization}/organization"), organization)
        self.home_organization = Organization(stable_id(f"{organization}/trustee"), f"{organization} Partner")
        self.division = Organization(stable_id(f"{organization}/division"), "Home")
        label = re.sub(r"[^a-z0-9]+", "-", organization.lower()).strip("-")
        self.domain = f"{label or self.organization.id[:8]}.example"
        self.token_lifetime_seconds = token_lifetime_seconds
        self.hipaa = hipaa
        self.clock_offset_seconds = 0.0
        self.users: list[SandboxUser] = []
        self._positions_by_id: dict[str, int] = {}
        self._indexes: dict[str, dict[str, list[int]]] = {}
        self._columns: dict[str, list[str]] = {}
        self._sorted: dict[tuple[str, bool], list[SandboxUser]] = {}
        self.clients: dict[str, SandboxClient] = {}
        self.tokens: dict[str, Token] = {}
        self.refresh_tokens: dict[str, Grant] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.last_issued_at: dict[str, float] = {}  # by user id
        self._grants_by_user: dict[str, set[Grant]] = {}
        self.revocations: list[Revocation] = []
        self.idle_timeout: dict[str, Any] = {
            "idleTokenTimeoutSeconds": 900 if hipaa else 3600,
            "enableIdleTokenTimeout": True,
            "inactivityTimeoutUnit": "Minutes",
            "inactivityTimeoutGroupsEnabled": False,
            "inactivityTimeoutGroupBundles": [],
        }
        for index in range(users):
            self._keep(seeded_user(index, organization, self.domain, self.home_organization))
        for client in seeded_clients(organization):
            self.clients[client.client_id] = client

    # Time

    def now(self) -> float:
        """Seconds since 1970 by the sandbox's clock."""
        return time.time() + self.clock_offset_seconds

    def now_utc(self) -> datetime:
        """The same as an aware datetime."""
        return datetime.fromtimestamp(self.now(), UTC)

    # References

    def division_reference(self) -> dict[str, str]:
        """The organization's only division, as other things refer to it."""
        return {**self.division._asdict(), "selfUri": f"/api/v2/authorization/divisions/{self.division.id}"}

    def role_id(self, name: str) -> str:
        """The id of the role of that name."""
        return stable_id(f"{self.organization.name}/role/{name}")

    # Users

    def _keep(self, user: SandboxUser) -> None:
        self._positions_by_id[user.id] = len(self.users)
        self.users.append(user)

    def add_user(self, name: str, email: str, state: str, permissions: Iterable[str]) -> SandboxUser:
        """Add one, with an id of its own."""
        user_id = stable_id(f"{self.organization.name}/user/{len(self.users)}")
        user = SandboxUser(user_id, name, email, state, tuple(permissions))
        self._keep(user)
        self._indexes.clear()
        self._columns.clear()
        self._sorted.clear()
        return user

    def user_by_id(self, user_id: str) -> SandboxUser | None:
        """The user, whatever the letter case of the id."""
        position = self._positions_by_id.get(user_id.lower())
        return None if position is None else self.users[position]

    def positions(self, name: str, value: str) -> Sequence[int]:
        """Where in ``users`` a field has this value, in any letter case; by an index made at first use."""
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = {}
            for position, text in enumerate(self.column(name)):
                index.setdefault(text, []).append(position)
        return index.get(value.lower(), ())

    def column(self, name: str) -> list[str]:
        """A field of all users in lower case, in the order of ``users``; kept, for searching as one types."""
        if name not in self._columns:
            self._columns[name] = [getattr(user, name).lower() for user in self.users]
        return self._columns[name]

    def sorted_users(self, state: str, *, descending: bool) -> list[SandboxUser]:
        """The users of a state (or ``any``) by name; kept, for paging."""
        if (state, descending) not in self._sorted:
            chosen = [user for user in self.users if state in {"any", user.state}]
            chosen.sort(key=lambda user: (user.name.lower(), user.id), reverse=descending)
            self._sorted[state, descending] = chosen
        return self._sorted[state, descending]

    # Tokens

    def start_grant(self, client: SandboxClient, user: SandboxUser | None) -> Grant:
        """Record a sign-in."""
        grant = Grant(client, user)
        if user:
            self._grants_by_user.setdefault(user.id, set()).add(grant)
        return grant

    def issue_code(self, client: SandboxClient, user: SandboxUser, redirect_uri: str, challenge: str) -> str:
        """A new authorization code. Those that expired unused are forgotten; of a used one, a second use tells."""
        now = self.now()
        for value in [
            value for value, code in self.codes.items() if code.grant is None and now >= code.expires_at
        ]:
            del self.codes[value]
        value = secrets.token_urlsafe(32)
        self.codes[value] = AuthorizationCode(
            client, user, redirect_uri, challenge, now + CODE_LIFETIME_SECONDS
        )
        return value

    def issue_token(self, grant: Grant, lifetime_seconds: float | None = None) -> str:
        """A new access token of the grant."""
        value = secrets.token_urlsafe(64)
        lifetime = self.token_lifetime_seconds if lifetime_seconds is None else lifetime_seconds
        now = self.now()
        self.tokens[value] = Token(grant, now, lifetime)
        grant.tokens.append(value)
        if grant.user:
            self.last_issued_at[grant.user.id] = now
        return value

    def rotate_refresh_token(self, grant: Grant) -> str:
        """A new refresh token of the grant; the one before works no more."""
        self.drop_refresh_token(grant)
        grant.refresh_token = secrets.token_urlsafe(64)
        self.refresh_tokens[grant.refresh_token] = grant
        return grant.refresh_token

    def drop_refresh_token(self, grant: Grant) -> None:
        """End the renewals of the grant."""
        if grant.refresh_token is not None:
            self.refresh_tokens.pop(grant.refresh_token, None)
            grant.refresh_token = None

    def idles_at(self, token: Token) -> float | None:
        """When the token is due to idle out, in seconds since 1970; None without an idle timeout."""
        if not self.idle_timeout["enableIdleTokenTimeout"]:
            return None
        return token.last_used_at + float(self.idle_timeout["idleTokenTimeoutSeconds"])

    def change_idle_timeout(self, idle_timeout: dict[str, Any]) -> None:
        """Count by this idle timeout from now on; what has idled out by the one before stays expired."""
        now = self.now()
        for token in self.tokens.values():
            if self.has_expired(token):
                token.expires_at = min(token.expires_at, now)
        self.idle_timeout = idle_timeout

    def has_expired(self, token: Token) -> bool:
        """Whether its lifetime or its idle time is over."""
        idles_at = self.idles_at(token)
        now = self.now()
        return now >= token.expires_at or (idles_at is not None and now >= idles_at)

    def known_token(self, value: str) -> Token | None:
        """The token, expired or not; None where it was never issued, is revoked, or its client is disabled."""
        token = self.tokens.get(value)
        return token if token and token.grant.client.state != "disabled" else None

    def is_alive(self, value: str) -> bool:
        """Whether a request with this access token would be let in now."""
        token = self.known_token(value)
        return token is not None and not self.has_expired(token)

    def revoke_token(self, value: str) -> None:
        """End one access token, and the renewals of its grant."""
        token = self.tokens.pop(value, None)
        if token:
            self.drop_refresh_token(token.grant)
            token.grant.tokens.remove(value)
            if not token.grant.tokens:
                self._forget(token.grant)

    def revoke_grant(self, grant: Grant) -> None:
        """End all tokens of a sign-in."""
        self.drop_refresh_token(grant)
        for value in grant.tokens:
            self.tokens.pop(value, None)
        grant.tokens.clear()
        self._forget(grant)

    def _forget(self, grant: Grant) -> None:
        """Keep a sign-in that is over no longer with its user."""
        if grant.user:
            grants = self._grants_by_user.get(grant.user.id, set())
            grants.discard(grant)
            if not grants:
                self._grants_by_user.pop(grant.user.id, None)

    def revoke_user(self, user: SandboxUser, by_client_id: str) -> None:
        """End all tokens of a user, and the codes on their way to become one."""
        for grant in self._grants_by_user.pop(user.id, ()):
            self.revoke_grant(grant)
        for value in [value for value, code in self.codes.items() if code.user is user]:
            del self.codes[value]
        self.revocations.append(Revocation(self.now_utc(), user.id, by_client_id))
