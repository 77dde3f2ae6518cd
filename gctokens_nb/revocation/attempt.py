"""One attempt to log a user out: sent once, and what its end means for the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import requests

from gctokens_nb.answers import retry_after_seconds
from gctokens_nb.errors import (
    CORRELATION_ID_HEADER,
    ApiError,
    CancelledError,
    CertificateError,
    ConflictError,
    GCTokensError,
    HostUnreachableError,
    InvalidAnswerError,
    LoginError,
    RateLimitedError,
    ServerError,
)
from gctokens_nb.revocation.journal import AGAIN, FAILED, REVOKED, UNKNOWN, Answer, Intent
from gctokens_nb.session import Session
from gctokens_nb.tokens import revoke_user
from gctokens_nb.waits import Cancel, watch_waits

__all__ = ["Result", "lost", "send", "utc_now"]

_HOLD_SECONDS = 1.0  # after a 429 that does not say how long
_LEAST_HOLD_SECONDS = 0.1  # after a refusal that asks to wait for less: nobody is flooded
_LONGEST_REASON = 1_000
_LONGEST_ID = 200


class Result(NamedTuple):
    """What became of an attempt: the answer for the journal, and what the others learn from it.

    `began` is by `time.monotonic()`; `headers` are those of the server's last answer; `hold_seconds` is how long it asks
    everybody to wait, None where it does not.
    """

    intent: Intent
    answer: Answer
    began: float
    headers: Mapping[str, str]
    hold_seconds: float | None
    error: BaseException | None


def send(session: Session, intent: Intent, cancel: Cancel) -> Result:
    """Send the attempt, once: each further one must stand in the journal before it is made. Never raises."""
    began, sent_at = time.monotonic(), utc_now()
    heard: list[requests.Response] = []
    error: BaseException | None = None
    try:
        with watch_waits(cancel=cancel, on_answer=heard.append):
            revoke_user(session, intent.user_id, attempts=1)
        if cancel.is_set():  # what was broken off may look like an answer that ends early
            error = CancelledError("It was broken off before its answer was complete.")
    except BaseException as raised:  # noqa: BLE001 - a worker always has a result; what is not expected ends the run
        error = raised
    headers: Mapping[str, str] = heard[-1].headers if heard else {}
    status = heard[-1].status_code if heard else None
    hold = None if status is None else retry_after_seconds(headers, status)
    if isinstance(error, RateLimitedError) and hold is None:
        hold = _HOLD_SECONDS
    if hold is not None:
        hold = max(hold, _LEAST_HOLD_SECONDS)
    outcome, reason = (REVOKED, None) if error is None else _failed(error)
    if outcome == REVOKED or isinstance(error, (ApiError, InvalidAnswerError)):
        correlation_id = headers.get(CORRELATION_ID_HEADER, "")[:_LONGEST_ID] or None
    else:
        status = correlation_id = None  # they are of an answer before the one that did not come
    answer = Answer(sent_at, utc_now(), outcome, status, correlation_id, reason, intent.row, intent.attempt)
    return Result(intent, answer, began, headers, hold, error)


def lost(intent: Intent, began: float, error: BaseException) -> Result:
    """Make the result of an attempt whose own result never comes: `error` says why."""
    now = utc_now()
    answer = Answer(now, now, UNKNOWN, None, None, _failed(error)[1], intent.row, intent.attempt)
    return Result(intent, answer, began, {}, None, error)


def _failed(error: BaseException) -> tuple[str, str]:
    """Return the outcome and its reason."""
    reason = error.what if isinstance(error, GCTokensError) else f"{type(error).__name__} in this program"
    if isinstance(error, ApiError):
        if error.code:
            reason = f"{error.code}: {error.message}"
        again = error.status in {401, 403, 408, 429} or isinstance(error, (ServerError, ConflictError))
        outcome = AGAIN if again or error.status < 400 else FAILED
    elif isinstance(error, (HostUnreachableError, CertificateError, LoginError)):
        outcome = AGAIN  # it never reached the platform API, or was refused by it
    else:
        outcome = UNKNOWN
    return outcome, reason.encode(errors="replace").decode()[:_LONGEST_REASON]


def utc_now() -> str:
    """Return the time as the journal has it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
