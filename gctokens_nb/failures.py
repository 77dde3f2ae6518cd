"""What requests, urllib3 and http.client raise, in our own words."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from gctokens_nb.errors import (
    CORRELATION_ID_HEADER,
    CancelledError,
    CertificateError,
    ConfigurationError,
    ConnectionDroppedError,
    GCTokensError,
    HostUnreachableError,
    InvalidAnswerError,
    TimedOutError,
    TransportError,
    readable,
)
from gctokens_nb.waits import Cancel, cancellation
from gctokens_nb.wire import Attempt

REPEAT = "Repeat it: this call may be repeated without harm."
LOOK_FIRST = "Look first whether it took effect: repeating it blindly may do it twice."
_NETWORK = "Check the network, the region and the proxy settings."
_UNSENDABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)
_UNREADABLE = (urllib3.exceptions.DecodeError, requests.exceptions.ContentDecodingError)
_TLS = (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError)
_TIMED_OUT = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
_DROPPED = (
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.ProtocolError,
    urllib3.exceptions.TimeoutError,
    OSError,
)


def no_address(what: str) -> ConfigurationError:
    """Make the error of an address or request that cannot be sent."""
    return ConfigurationError(
        f"{what} Nothing was sent.",
        "Give a path of the platform API with its leading slash, such as /api/v2/users, or a full https:// address.",
    )


def transport_error(
    error: Exception,
    request: requests.PreparedRequest,
    attempt: Attempt,
    *,
    response: requests.Response | None = None,
    attempts: int = 1,
    advice: str = LOOK_FIRST,
) -> GCTokensError:
    """Turn what the libraries raised into the error that says what happened.

    Args:
        error: What was raised.
        request: Which request it was, without its secrets.
        attempt: What is known of the attempt.
        response: The answer, where its headers had come.
        attempts: How often the request has been sent.
        advice: What to do where the outcome is unknown.
    """
    if isinstance(error, GCTokensError):
        return error
    method, url = request.method or "GET", (request.url or "").split("?", maxsplit=1)[0]
    parts = urlsplit(url)
    host, where = readable(parts.hostname or url, 200), f"{method} {readable(parts.path, 200)}"
    cancel = cancellation()
    if isinstance(cancel, Cancel) and cancel.is_set():
        return CancelledError(
            f"{where} was cancelled while it was under way: whether it took effect is unknown.",
            "Look again before you repeat it.",
        )
    if isinstance(error, _UNSENDABLE) and not attempt.sent:
        return no_address(f"The request cannot be sent ({type(error).__name__}).")
    facts = {"method": method, "url": url, "attempts": attempts}
    sent = f" It was sent {attempts} times." if attempts > 1 else ""
    unknown = f"{sent} Whether it took effect is unknown."
    unreadable = attempt.too_large or _is_one(error, _UNREADABLE) or isinstance(error, _UNSENDABLE)
    if unreadable or (response is not None and not _is_one(error, _DROPPED)):
        found = f"cannot be read ({type(error).__name__})"
        if attempt.too_large:
            found = f"is not taken: its {attempt.too_large} passed the bound"
        headers: Mapping[str, str] = {} if response is None else response.headers
        return InvalidAnswerError(
            f"The answer of {host} to {where} {found}.{unknown}",
            f"Check the region and the proxy. {advice}",
            status=0 if response is None else response.status_code,
            correlation_id=readable(headers.get(CORRELATION_ID_HEADER, ""), 100),
            **facts,
        )
    return _unanswered(error, attempt.sent, host, facts) or _broken(
        error, host, where, unknown, advice, facts
    )


def _unanswered(error: Exception, sent: bool, host: str, facts: dict[str, Any]) -> TransportError | None:
    """The errors of a request that did not get as far as the host."""
    if _is_one(error, (ssl.SSLCertVerificationError,)) or (not sent and _is_one(error, _TLS)):
        return CertificateError(
            f"The TLS certificate of {host} could not be verified, so nothing was sent to it.",
            "Behind a company proxy, set REQUESTS_CA_BUNDLE to its CA file; otherwise check the host name and the clock.",
            **facts,
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return HostUnreachableError(
            f"The proxy on the way to {host} could not be used.", "Check HTTPS_PROXY and NO_PROXY.", **facts
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return TimedOutError(f"{host} did not accept a connection in time.", _NETWORK, **facts)
    if _is_one(error, (urllib3.exceptions.NewConnectionError,)):
        return HostUnreachableError(
            f"No connection to {host} could be made: no network, an unknown name, or nobody listening.",
            _NETWORK,
            **facts,
        )
    return None


def _broken(
    error: Exception, host: str, where: str, unknown: str, advice: str, facts: dict[str, Any]
) -> TransportError:
    """The errors of a request that may have taken effect."""
    if _is_one(error, _TIMED_OUT):
        return TimedOutError(f"{host} did not answer {where} in time.{unknown}", advice, **facts)
    if _is_one(error, _DROPPED):
        what = f"The connection to {host} broke before {where} was fully answered.{unknown}"
        return ConnectionDroppedError(what, advice, **facts)
    what = f"{where} to {host} failed: {type(error).__name__}.{unknown}"
    return TransportError(what, f"Check the address and the network. {advice}", **facts)


def _is_one(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """Whether the error, or one that the libraries wrapped in it, is of one of the kinds."""
    todo: list[Any] = [error]
    for _ in range(20):  # none is wrapped so deep
        if not todo:
            break
        one = todo.pop()
        if isinstance(one, kinds):
            return True
        if isinstance(one, BaseException):
            todo += [*one.args, getattr(one, "reason", None)]
    return False
