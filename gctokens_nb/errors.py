"""One tree of errors: each says what happened, to whom, and what to do next.

GCTokensError
├── ConfigurationError            (also a ValueError) refused before anything was sent
│   ├── UnknownRegionError
│   ├── InsecureUrlError
│   ├── CredentialsError
│   ├── InvalidUserIdError
│   ├── JournalError              the journal of a bulk revocation cannot be used
│   └── SelfRevocationError
├── TransportError                no usable answer came
│   ├── HostUnreachableError
│   ├── ConnectionDroppedError
│   ├── TimedOutError
│   ├── CertificateError
│   └── InvalidAnswerError
├── LoginError                    the login host said no
│   └── SignedOutError            the connection has no token any more
├── ApiError                      the platform API said no
│   ├── BadRequestError           400, 413, 415
│   ├── UnauthorizedError         401
│   ├── PermissionDeniedError     403
│   ├── NotFoundError             404
│   ├── RateLimitedError          429
│   └── ServerError               5xx
├── RevocationNotProvenError      the revocation was accepted, its proof is missing
├── RevocationStoppedError        a bulk revocation ended before all users were done; it can be resumed
└── CancelledError                a wait was cancelled
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

__all__ = [
    "ApiError",
    "BadRequestError",
    "CancelledError",
    "CertificateError",
    "ConfigurationError",
    "ConnectionDroppedError",
    "CredentialsError",
    "GCTokensError",
    "HostUnreachableError",
    "InsecureUrlError",
    "InvalidAnswerError",
    "InvalidUserIdError",
    "JournalError",
    "LoginError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RevocationNotProvenError",
    "RevocationStoppedError",
    "SelfRevocationError",
    "ServerError",
    "SignedOutError",
    "TimedOutError",
    "TransportError",
    "UnauthorizedError",
    "UnknownRegionError",
    "api_error",
]

CORRELATION_ID_HEADER = "ININ-Correlation-Id"


class GCTokensError(Exception):
    """The root of every error this package raises.

    Args:
        what:
            What happened, and to whom: a full sentence.
        next_step:
            What to do next: a full sentence, or empty.
        facts:
            Kept as attributes of the error.
    """

    def __init__(self, what: str, next_step: str = "", **facts: Any) -> None:
        super().__init__(what, next_step)
        self.what = what
        self.next_step = next_step
        self.__dict__.update(facts)

    def __str__(self) -> str:
        return f"{self.what} {self.next_step}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel between processes (executors), so each must survive pickling with its facts.
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(kind: type[GCTokensError], facts: dict[str, Any]) -> GCTokensError:
    return kind(**facts)


class ConfigurationError(GCTokensError, ValueError):
    """Something given to the package cannot be used; nothing was sent."""


class UnknownRegionError(ConfigurationError):
    """No region has that name. `nearest` lists the closest names that exist."""

    nearest: tuple[str, ...] = ()


class InsecureUrlError(ConfigurationError):
    """A plain `http://` address that is not on this machine: tokens would travel in the clear."""


class CredentialsError(ConfigurationError):
    """Credentials are missing, incomplete or unreadable."""


class InvalidUserIdError(ConfigurationError):
    """Not the id of a user (a UUID)."""


class JournalError(ConfigurationError):
    """The journal of a bulk revocation cannot be written, read, or used for this."""


class SelfRevocationError(ConfigurationError):
    """The user whose tokens would go is the one this connection is signed in as."""


class TransportError(GCTokensError):
    """No usable answer came from the host.

    Attributes: `method` and `url` (without query) of the request, `attempts` made.
    """

    method: str = ""
    url: str = ""
    attempts: int = 1


class HostUnreachableError(TransportError):
    """No connection could be made: no network, an unknown name, nobody listening, or a proxy in the way."""


class ConnectionDroppedError(TransportError):
    """The connection broke after the request was sent: whether it took effect is unknown."""


class TimedOutError(TransportError):
    """No connection, or no answer, within the time allowed."""


class CertificateError(TransportError):
    """The host's TLS certificate could not be verified."""


class InvalidAnswerError(TransportError):
    """A success status whose body is not what the call answers.

    Attributes: `status`, `body` (the raw bytes), `correlation_id`.
    """

    status: int = 0
    body: bytes = b""
    correlation_id: str = ""


class LoginError(GCTokensError):
    """The login host refused to issue a token.

    Attributes: `error` and `description` (RFC 6749 section 5.2), `status`, `correlation_id`.
    """

    error: str = ""
    description: str = ""
    status: int = 0
    correlation_id: str = ""


class SignedOutError(LoginError):
    """This connection has signed out and holds no token."""


class CancelledError(GCTokensError):
    """The wait before the next attempt was cancelled; no further attempt was made."""


class RevocationNotProvenError(GCTokensError):
    """The revocation was accepted, but the proof that was asked for is missing or says otherwise."""


class RevocationStoppedError(GCTokensError):
    """A bulk revocation ended before all users were done: nothing is lost, and it can be resumed.

    Attributes: `journal` (its path), `left` (how many users still have their tokens, as far as is known).
    The cause is the error it was raised from.
    """

    journal: str = ""
    left: int = 0


class ApiError(GCTokensError):
    """The platform API answered with an error status.

    The fields are those of Genesys Cloud's ErrorBody, where the body could be read.

    Attributes:
        status: int
            HTTP status.
        code, message: str
            Genesys Cloud's own, empty where the body held none.
        context_id, correlation_id: str
            Quote the correlation id to Genesys support.
        missing_permissions: tuple of str
            The permissions named by a 403, such as `oauth:token:delete`.
        retry_after_seconds: float or None
            How long the server asks to wait (Retry-After, else inin-ratelimit-reset on a 429).
        body: dict
            The whole decoded body; empty where it was not a JSON object.
        method, path: str
            The request. `attempts` is how often it was sent.

    """

    status: int = 0
    code: str = ""
    message: str = ""
    context_id: str = ""
    correlation_id: str = ""
    missing_permissions: tuple[str, ...] = ()
    retry_after_seconds: float | None = None
    body: Mapping[str, Any] = {}
    method: str = ""
    path: str = ""
    attempts: int = 1


class BadRequestError(ApiError):
    """400, 413, 415: the server could not use what was sent."""


class UnauthorizedError(ApiError):
    """401: the token is expired, revoked or unknown."""


class PermissionDeniedError(ApiError):
    """403: `missing_permissions` names what is needed, where the server says."""


class NotFoundError(ApiError):
    """404: no such thing in this organization."""


class RateLimitedError(ApiError):
    """429: too many requests; `retry_after_seconds` tells how long to wait."""


class ServerError(ApiError):
    """5xx: Genesys Cloud, or something in front of it, has trouble."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: BadRequestError,
    415: BadRequestError,
    429: RateLimitedError,
}
_PERMISSION = re.compile(r"\b[A-Za-z]\w*:(?:\w+|\*):(?:\w+|\*)")


def api_error(
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    method: str,
    path: str,
    attempts: int = 1,
    hide: Callable[[str], str] = str,
) -> ApiError:
    """Turn an error answer of the platform API into its typed error. Never fails, whatever the body is.

    Args:
        status, headers, body:
            The answer; `headers` must look names up in any letter case.
        method, path:
            The request.
        attempts:
            How often the request was sent.
        hide:
            Applied to every text from the server, to mask secrets that it echoes.
    """
    fields = _error_body(body, hide)
    code, message = _text(fields.get("code")), _text(fields.get("message"))
    correlation_id = hide(headers.get(CORRELATION_ID_HEADER, ""))
    missing = _missing_permissions(fields) if status == 403 else ()
    retry_after = retry_after_seconds(headers, status)
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)

    what = f"{method} {path} was answered with {status}"
    if code or message:
        what += f" {code}: {message}" if code and message else f" {code or message}"
        what = what.rstrip(".")
    elif 300 <= status < 400:
        what += f", a redirect to {hide(headers.get('Location', 'nowhere')).split('?')[0]}"
    elif body:
        kind_of_body = headers.get("Content-Type", "").split(";")[0] or "no content type"
        what += f" and a body that is not the platform's ({kind_of_body}, {len(body)} bytes)"
    what += "."
    if attempts > 1:
        what += f" It was sent {attempts} times."

    step = _next_step(status, code, missing, retry_after)
    if correlation_id:
        step += f" Correlation id for Genesys support: {correlation_id}."
    return kind(
        what,
        step,
        status=status,
        code=code,
        message=message,
        context_id=_text(fields.get("contextId")),
        correlation_id=correlation_id,
        missing_permissions=missing,
        retry_after_seconds=retry_after,
        body=fields,
        method=method,
        path=path,
        attempts=attempts,
    )


def retry_after_seconds(headers: Mapping[str, str], status: int) -> float | None:
    """Return the seconds to wait that an answer's headers ask for, or None.

    `Retry-After` in seconds; on a 429 without it, `inin-ratelimit-reset` (seconds until the window resets).
    """
    names = ("Retry-After", "inin-ratelimit-reset") if status == 429 else ("Retry-After",)
    for name in names:
        try:
            seconds = float(headers.get(name, ""))
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _error_body(body: bytes, hide: Callable[[str], str]) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(hide(body.decode("utf-8", "replace")))
    except (msgspec.DecodeError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _missing_permissions(fields: Mapping[str, Any]) -> tuple[str, ...]:
    params = fields.get("messageParams")
    texts = [_text(fields.get("message"))]
    if isinstance(params, dict):
        texts += [str(value) for value in params.values()]
    return tuple(dict.fromkeys(name for text in texts for name in _PERMISSION.findall(text)))


def _next_step(status: int, code: str, missing: tuple[str, ...], retry_after: float | None) -> str:
    if status == 401:
        reason = {
            "credentials.expired": "The token has expired",
            "authentication.required": "No token reached the server",
        }.get(code, "The token is revoked, expired, or of another region")
        return f"{reason}: sign in again."
    if status == 403:
        if missing:
            names = " or ".join(missing)
            return (
                f"Ask an administrator to give a role with {names} to the OAuth client "
                f"(client credentials) or to the signed-in user, then sign in again."
            )
        return "The signed-in account may not do this: ask an administrator for the permission."
    if status == 404:
        return "Check the id, and that it belongs to the organization you are signed in to."
    if status == 429:
        wait = "a minute" if retry_after is None else f"{retry_after:g} s"
        return f"Wait {wait}, then try again; the limit counts all requests of this token."
    if status >= 500:
        return "Genesys Cloud or something in front of it has trouble: try again in a few minutes."
    if 300 <= status < 400:
        return (
            "The platform API does not redirect: check the region, the proxy and the network's log-in page."
        )
    return "Check what was sent against the message."
