"""What an error of the platform API means, and what to do about it first: by code, where there is none by status.

The codes and their texts are those of Genesys Cloud's published API definitions and of its help pages.
"""

from __future__ import annotations

__all__ = ["advise"]

_SIGN_IN = "Sign in again."
_IDLE_TIMEOUT = "The idle timeout is outside the limits of this organization."
_IDLE_TIMEOUT_STEP = "Choose 300 to 28800 seconds (5 minutes to 8 hours)."
_IDLE_TIMEOUT_HIPAA = "The idle timeout is too long for this organization, which is under HIPAA."
_IDLE_TIMEOUT_HIPAA_STEP = "Choose 300 to 900 seconds (5 to 15 minutes)."
_CONFLICT = "Somebody else changed the same thing at the same time, so this change was not made."
_CONFLICT_STEP = "Read it again, then repeat the change on what it is now."
_RATE_LIMITED = "Too many requests were made with this token in a short time."
_NOT_UNDERSTOOD = "Genesys Cloud could not use what was sent."
_CHECK_WHAT_WAS_SENT = "Check what was sent against the server's message."

# code -> what happened, what to do first
_BY_CODE: dict[str, tuple[str, str]] = {
    "credentials.expired": ("The access token has expired.", _SIGN_IN),
    "authentication.required": ("No access token reached Genesys Cloud.", _SIGN_IN),
    "ip.not.authorized": (
        "The organization does not allow requests from this machine's network address.",
        (
            "Ask an administrator to add the address from which this machine reaches the internet under Admin > "
            "Organization Settings > Settings > Allowed IP Addresses, or work from a network that is in that list. "
            "Signing in again does not help."
        ),
    ),
    "authz.policy.denied": (
        "An access policy of the organization forbids this.",
        "Ask an administrator which policy applies to you: a further role does not lift it.",
    ),
    "not.a.user": (
        "This needs a person, and the access token belongs to an OAuth client.",
        "Sign in as a person, for example with sign_in_with_browser().",
    ),
    "token.timeout.exceeded": (_IDLE_TIMEOUT, _IDLE_TIMEOUT_STEP),
    "max.idle.token.timeout.exceeded": (_IDLE_TIMEOUT, _IDLE_TIMEOUT_STEP),
    "token.timeout.exceeded.hipaa": (_IDLE_TIMEOUT_HIPAA, _IDLE_TIMEOUT_HIPAA_STEP),
    "max.idle.hipaa.token.timeout.exceeded": (_IDLE_TIMEOUT_HIPAA, _IDLE_TIMEOUT_HIPAA_STEP),
    "client.timeout": (
        "The request took too long to reach Genesys Cloud.",
        "Check the network and the proxy, then look whether it took effect before you repeat it.",
    ),
    "client.failed.request": (
        "The request did not reach Genesys Cloud in one piece.",
        "Check the network and the proxy, then repeat it.",
    ),
    "request.conflict": (_CONFLICT, _CONFLICT_STEP),
    "general.conflict": (_CONFLICT, _CONFLICT_STEP),
    "response.entity.too.large": (
        "The answer would be larger than Genesys Cloud sends.",
        "Ask for less at once: a smaller page, or fewer fields.",
    ),
    "request.entity.too.large": (
        "The request is larger than Genesys Cloud takes.",
        "Send less at once.",
    ),
    "max.user.ids": ("More users were asked for than one request may name.", "Ask for at most 100 at once."),
}

# status -> what happened, what to do first
_BY_STATUS: dict[int, tuple[str, str]] = {
    401: (
        "Genesys Cloud did not accept the access token: it is revoked, expired, or of another region.",
        _SIGN_IN,
    ),
    403: (
        "The signed-in account may not do this.",
        "Ask an administrator for the permission, then sign in again.",
    ),
    404: (
        "Genesys Cloud found no such thing.",
        "Check the id, and that it belongs to the organization you are signed in to.",
    ),
    408: _BY_CODE["client.timeout"],
    409: (_CONFLICT, _CONFLICT_STEP),
    413: _BY_CODE["request.entity.too.large"],
}


def advise(
    *,
    status: int,
    code: str,
    missing: tuple[str, ...] = (),
    scope: str = "",
    retry_after: float | None = None,
    foreign_body: bool = False,
) -> tuple[str, str]:
    """Return what happened and what to do first, each in whole sentences.

    Args:
        status, code:
            HTTP status and Genesys Cloud's own code, empty where there is none.
        missing:
            The permissions that the server named.
        scope:
            The OAuth scope that the server named.
        retry_after:
            The seconds the server asks to wait.
        foreign_body:
            Whether there is a body that is none of the platform API's.
    """
    if 300 <= status < 400:
        return (
            "Something other than the platform API answered: it redirects elsewhere.",
            "Check the region, the proxy and the network's log-in page: the platform API does not redirect.",
        )
    if code == "app.not.authorized.for.scope":
        named = f"the scope {scope}" if scope else "a scope that this needs"
        return (
            f"The OAuth client through which you signed in lacks {named}.",
            f"Ask an administrator to add {scope or 'the scope'} to that client, then sign in again.",
        )
    if missing or code in {"missing.division.permission", "missing.any.division.permissions"}:
        return _permission(code, missing)
    if status == 429:
        wait = "a minute" if retry_after is None else f"{retry_after:g} s"
        return _RATE_LIMITED, f"Wait {wait}, then try again; the limit counts all requests of this token."
    if status >= 500:
        return (
            "Genesys Cloud, or something in front of it, has trouble.",
            "Try again in a few minutes.",
        )
    if foreign_body and status in {403, 407}:
        return (
            "Something in front of Genesys Cloud refused the request.",
            "Check the proxy, the firewall and the network's log-in page.",
        )
    return _BY_CODE.get(code) or _BY_STATUS.get(status) or (_NOT_UNDERSTOOD, _CHECK_WHAT_WAS_SENT)


def _permission(code: str, missing: tuple[str, ...]) -> tuple[str, str]:
    """Return the advice on a permission that is missing, for the whole organization or in one division."""
    names = (" and " if code == "missing.permissions" else " or ").join(missing)
    which = f"the permission {names}" if names else "the permission"
    where = " in the division that this belongs to" if "division" in code else ""
    step = (
        f"Ask an administrator to give a role with {names or 'it'}{where} to the OAuth client (client credentials) or to "
        "the signed-in user, then sign in again."
    )
    return f"The signed-in account lacks {which}{where}.", step
