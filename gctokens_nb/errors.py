"""One tree of errors: each says what happened, to whom, and what to do first; then what went over the wire.

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
│   ├── AddressNotAllowedError    401 ip.not.authorized: the token may be good, this machine's address is not
│   ├── PermissionDeniedError     403
│   ├── NotFoundError             404
│   ├── ConflictError             409
│   ├── RateLimitedError          429
│   └── ServerError               5xx
├── RevocationNotProvenError      the revocation was accepted, its proof is missing
├── RevocationStoppedError        a bulk revocation ended before all users were done; it can be resumed
├── IncompleteRevocationError     a bulk revocation is over, and somebody of the list is not logged out
└── CancelledError                a wait was cancelled
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gctokens_nb.advice import advise
from gctokens_nb.answers import error_body, missing_permissions, readable, retry_after_seconds, scope

__all__ = [
    "AddressNotAllowedError",
    "ApiError",
    "BadRequestError",
    "CancelledError",
    "CertificateError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionDroppedError",
    "CredentialsError",
    "GCTokensError",
    "HostUnreachableError",
    "IncompleteRevocationError",
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
    "readable",
    "retry_after_seconds",
    "wire_facts",
]

CORRELATION_ID_HEADER = "ININ-Correlation-Id"
LONGEST_RETRY_AFTER_SECONDS = (
    10 * 365 * 86400.0
)  # what is longer is cut to this, so that it can be added and waited for


class GCTokensError(Exception):
    """The root of every error this package raises.

    Args:
        what:
            What happened, and to whom: a full sentence.
        next_step:
            What to do first: a full sentence, or empty.
        facts:
            Kept as attributes of the error. One of them, `wire`, ends its text: what went over the wire, and the correlation
            id for Genesys support.
    """

    wire: str = ""

    def __init__(self, what: str, next_step: str = "", **facts: Any) -> None:
        super().__init__(what, next_step)
        self.what = what
        self.next_step = next_step
        self.__dict__.update(facts)

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.next_step, self.wire) if part)

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


class IncompleteRevocationError(GCTokensError):
    """A bulk revocation is over, and somebody who is on the list is not logged out.

    Attributes: `lines` of the list that were left out, `users` (ids) who still have their tokens or may have them.
    """

    lines: tuple[int, ...] = ()
    users: tuple[str, ...] = ()


class ApiError(GCTokensError):
    """The platform API answered with an error status.

    The fields are those of Genesys Cloud's ErrorBody, where the body could be read.

    Attributes:
        status: int
            HTTP status.
        code, message: str
            Genesys Cloud's own, cut to a readable length; empty where the body held none.
        context_id, correlation_id: str
            Quote the correlation id to Genesys support.
        missing_permissions: tuple of str
            The permissions named by a 403, such as `oauth:token:delete`.
        retry_after_seconds: float or None
            How long the server asks to wait: finite, at most ten years (see `retry_after_seconds()`).
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


class AddressNotAllowedError(ApiError):
    """401 `ip.not.authorized`: the organization does not allow this machine's address; the token may be alive."""


class PermissionDeniedError(ApiError):
    """403: `missing_permissions` names what is needed, where the server says."""


class NotFoundError(ApiError):
    """404: no such thing in this organization."""


class ConflictError(ApiError):
    """409: somebody else changed the same thing at the same time."""


class RateLimitedError(ApiError):
    """429: too many requests; `retry_after_seconds` tells how long to wait."""


class ServerError(ApiError):
    """5xx: Genesys Cloud, or something in front of it, has trouble."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: BadRequestError,
    415: BadRequestError,
    429: RateLimitedError,
}


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
    fields = error_body(body, hide)
    code, message = readable(fields.get("code"), 100), readable(fields.get("message"), 500)
    correlation_id = readable(hide(headers.get(CORRELATION_ID_HEADER, "")), 100)
    missing = missing_permissions(fields) if status == 403 else ()
    retry_after = retry_after_seconds(headers, status)
    foreign_body = bool(body) and not (code or message)
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if code == "ip.not.authorized":
        kind = AddressNotAllowedError

    what, step = advise(
        status=status,
        code=code,
        missing=missing,
        scope=scope(fields),
        retry_after=retry_after,
        foreign_body=foreign_body,
    )
    said = f" {': '.join(part for part in (code, message) if part)}".rstrip()
    if 300 <= status < 400 and not (code or message):
        said = (
            f", a redirect to {readable(hide(headers.get('Location', '')).split('?')[0], 200) or 'nowhere'}"
        )
    elif foreign_body:
        kind_of_body = readable(headers.get("Content-Type", "").split(";")[0], 80) or "no content type"
        said = f" and a body that is not the platform's ({kind_of_body}, {len(body)} bytes)"
    return kind(
        what,
        step,
        wire=wire_facts(method, path, status, said=said, attempts=attempts, correlation_id=correlation_id),
        status=status,
        code=code,
        message=message,
        context_id=readable(fields.get("contextId"), 100),
        correlation_id=correlation_id,
        missing_permissions=missing,
        retry_after_seconds=retry_after,
        body=fields,
        method=method,
        path=path,
        attempts=attempts,
    )


def wire_facts(
    method: str, path: str, status: int, *, said: str = "", attempts: int = 1, correlation_id: str = ""
) -> str:
    """Return the last part of an error's text: the request, what it was answered with, and the correlation id.

    `said` follows the status: what the server said, in words that are `readable`, with a space before it.
    """
    wire = f"{method} {path} was answered with {status}{said.rstrip('.')}."
    if attempts > 1:
        wire += f" It was sent {attempts} times."
    if correlation_id:
        wire += f" Correlation id for Genesys support: {correlation_id}."
    return wire
