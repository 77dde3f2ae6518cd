"""The things of an organization: users, OAuth clients, roles, and how their ids come about."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

CLIENT_CREDENTIALS = "CLIENT-CREDENTIALS"
AUTHORIZATION_CODE = "CODE"
SAML2_BEARER = "SAML2-BEARER"
# As the service spells them. It has no word for PKCE: a client that uses it says CODE. It knows TOKEN and PASSWORD too,
# which OAuth 2.1 drops and the sandbox does not serve.
GRANTS = (CLIENT_CREDENTIALS, AUTHORIZATION_CODE, SAML2_BEARER)

ALL_PERMISSIONS = (
    "audits:audit:view",
    "directory:organization:admin",
    "directory:user:view",
    "oauth:client:view",
    "oauth:token:delete",
    "routing:queue:view",
)
USER_STATES = ("active", "inactive", "deleted")
SEEDED_AT = "2024-03-01T09:30:00.000Z"
MODIFIED_AT = "2025-11-17T14:05:00.000Z"


class Organization(NamedTuple):
    """An organization by id and name."""

    id: str
    name: str


class HomeUser(NamedTuple):
    """The user of a trustee organization that a clone was made of."""

    id: str
    organization: Organization


@dataclass(frozen=True, slots=True)
class SandboxUser:
    """A person of the organization.

    ``state`` is active, inactive or deleted. ``cloned_from`` is set for the clone of a trustee's user.
    """

    id: str
    name: str
    email: str
    state: str = "active"
    permissions: tuple[str, ...] = ()
    cloned_from: HomeUser | None = None


@dataclass(frozen=True, slots=True)
class SandboxClient:
    """An OAuth client. ``client_secret`` is None for a public client; reprs mask it.

    ``permissions`` count for client credentials only: other tokens have those of their user.
    """

    name: str
    client_id: str
    client_secret: str | None = field(repr=False)
    grant: str
    permissions: tuple[str, ...] = ()
    redirect_uris: tuple[str, ...] = ()
    state: str = "active"
    scope: tuple[str, ...] = ()


def stable_id(seed: str) -> str:
    """The version 5 UUID of ``seed``, in the sandbox's own namespace."""
    digits = hashlib.sha1(b"gctokens_nb.sandbox/" + seed.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def permission_policies(permissions: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Role name to the policies of that role: a role for each domain, a policy for each entity."""
    roles: dict[str, dict[str, list[str]]] = {}
    for permission in sorted(permissions):
        domain, entity, action = permission.split(":")
        roles.setdefault(domain, {}).setdefault(entity, []).append(action)
    return {
        f"{domain.capitalize()} role": [
            {"domain": domain, "entityName": entity, "actions": actions}
            for entity, actions in entities.items()
        ]
        for domain, entities in roles.items()
    }
