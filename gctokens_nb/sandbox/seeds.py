"""Who and what every organization begins with: the same at every start, by the organization's name alone."""

import hashlib

from gctokens_nb.sandbox.model import (
    ALL_PERMISSIONS,
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    SAML2_BEARER,
    HomeUser,
    Organization,
    SandboxClient,
    SandboxUser,
    stable_id,
)

_VIEWER = ("directory:user:view",)
_HELPDESK = ("directory:user:view", "oauth:token:delete")
# (name, local part of the e-mail, state, permissions). The last one is a clone of a trustee's user.
_NAMED_PEOPLE: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Grace Hopper", "grace.hopper", "active", ALL_PERMISSIONS),
    ("Alan Turing", "alan.turing", "active", ()),
    ("Ada Lovelace", "ada.lovelace", "active", _HELPDESK),
    ("Katherine Johnson", "katherine.johnson", "active", _VIEWER),
    ("Edsger Dijkstra", "edsger.dijkstra", "active", _VIEWER),
    ("Barbara Liskov", "barbara.liskov", "inactive", _VIEWER),
    ("Ángela Ruiz Robles", "angela.ruiz", "active", _VIEWER),
    ("屠呦呦 (Tu Youyou)", "youyou.tu", "active", _VIEWER),
    ("Siobhán O'Brien", "siobhan.o'brien", "active", _VIEWER),
    ("Maria Schmidt", "maria.schmidt", "active", _VIEWER),
    ("Maria Schmidt", "maria.schmidt2", "active", _VIEWER),
    ("Dennis Ritchie", "dennis.ritchie", "inactive", _VIEWER),
    ("Rosalind Franklin", "rosalind.franklin", "deleted", ()),
    ("Emmy Noether", "emmy.noether", "active", _VIEWER),
    ("Søren Kierkegaard", "soren.kierkegaard", "active", _VIEWER),
    ("Chien-Shiung Wu", "chien-shiung.wu", "active", _VIEWER),
    ("Mary Jackson", "mary.jackson", "active", _HELPDESK),
    ("Srinivasa Ramanujan", "srinivasa.ramanujan", "active", _VIEWER),
    ("Hedy Lamarr", "hedy.lamarr", "active", _VIEWER),
    ("Rózsa Péter", "rozsa.peter", "active", _VIEWER),
)
_FIRST_NAMES = [
    "Amara",
    "Bilal",
    "Chiara",
    "Dmitri",
    "Elif",
    "Farah",
    "Goran",
    "Hana",
    "Ivan",
    "Jelena",
    "Kofi",
    "Leila",
    "Mateo",
    "Nadia",
    "Olu",
    "Priya",
    "Quentin",
    "Rosa",
    "Sven",
    "Tomas",
    "Uma",
    "Viktor",
    "Wanda",
    "Xin",
    "Yara",
    "Zoltan",
]
_LAST_NAMES = [
    "Adeyemi",
    "Baker",
    "Costa",
    "Dubois",
    "Eriksson",
    "Fischer",
    "Garcia",
    "Haddad",
    "Ivanova",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Novak",
    "Okafor",
    "Petrov",
    "Quinn",
    "Rossi",
    "Silva",
    "Tanaka",
    "Ueda",
    "Varga",
    "Weber",
    "Xu",
    "Yilmaz",
    "Zhang",
]
_SCOPE_ROOTS = [
    "alerting",
    "analytics",
    "architect",
    "assistants",
    "audits",
    "authorization",
    "billing",
    "content-management",
    "conversations",
    "dialog",
    "external-contacts",
    "fax",
    "flows",
    "geolocation",
    "groups",
    "integrations",
    "journey",
    "knowledge",
    "languages",
    "notifications",
    "oauth",
    "organization",
    "outbound",
    "presence",
    "quality",
    "recordings",
    "routing",
    "scripts",
    "users",
    "workforce-management",
]


def seeded_user(index: int, organization: str, domain: str, home: Organization) -> SandboxUser:
    """The user at a position: people with names first, then any number of others."""
    user_id = stable_id(f"{organization}/user/{index}")
    if index < len(_NAMED_PEOPLE):
        name, local_part, state, permissions = _NAMED_PEOPLE[index]
        clone_of = None
        if index == len(_NAMED_PEOPLE) - 1:
            clone_of = HomeUser(stable_id(f"{organization}/trustee/user"), home)
        return SandboxUser(user_id, name, f"{local_part}@{domain}", state, permissions, clone_of)
    first = _FIRST_NAMES[index % len(_FIRST_NAMES)]
    last = _LAST_NAMES[index // len(_FIRST_NAMES) % len(_LAST_NAMES)]
    email = f"{first}.{last}.{index}@{domain}".lower()
    return SandboxUser(user_id, f"{first} {last} {index}", email, "active", _VIEWER)


def seeded_clients(organization: str) -> list[SandboxClient]:
    """A client of each kind."""
    redirect_uris = (
        "http://127.0.0.1/",
        "http://127.0.0.1/callback",
        "http://localhost/",
        "http://localhost/callback",
        "https://notebooks.example.org/callback",
    )
    # Scopes do not bind clients that use client credentials; these have some so that there is something to see.
    many_scopes = tuple(root + suffix for root in _SCOPE_ROOTS for suffix in ("", ":readonly"))
    admin_scopes = ("audits:readonly", "oauth", "organization", "users:readonly")
    user_scopes = (
        "authorization:readonly",
        "oauth",
        "organization:readonly",
        "user-basic-info",
        "users:readonly",
    )

    def client(
        name: str,
        grant: str,
        permissions: tuple[str, ...] = (),
        *,
        scope: tuple[str, ...] = (),
        state: str = "active",
        public: bool = False,
    ) -> SandboxClient:
        seed = f"{organization}/client/{name}"
        secret = hashlib.sha256(f"gctokens_nb.sandbox/{seed}/secret".encode()).hexdigest()[:43]
        return SandboxClient(
            name,
            stable_id(seed),
            None if public else secret,
            grant,
            permissions,
            redirect_uris if grant == AUTHORIZATION_CODE else (),
            state,
            scope,
        )

    return [
        client("admin", CLIENT_CREDENTIALS, ALL_PERMISSIONS, scope=admin_scopes),
        client("no permissions", CLIENT_CREDENTIALS),
        client("disabled", CLIENT_CREDENTIALS, ALL_PERMISSIONS, scope=admin_scopes, state="disabled"),
        client("many scopes", CLIENT_CREDENTIALS, _VIEWER, scope=many_scopes),
        client("web app", AUTHORIZATION_CODE, scope=user_scopes),
        client("single page app", AUTHORIZATION_CODE, scope=user_scopes, public=True),
        client("saml", SAML2_BEARER, scope=user_scopes),
    ]
