"""Reading what a server wrote: bounded, on one line, finite, whatever it is."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

__all__ = ["error_body", "missing_permissions", "readable", "retry_after_seconds", "scope"]

LONGEST_RETRY_AFTER_SECONDS = (
    10 * 365 * 86400.0
)  # what is longer is cut to this, so that it can be added and waited for
_PERMISSION = re.compile(r"\b[A-Za-z]\w{0,99}:(?:\w{1,100}|\*):(?:\w{1,100}|\*)")
_SCOPE = re.compile(r"scope \W?([A-Za-z][\w:.-]{0,99})")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", re.ASCII)
_MOST_PERMISSIONS = 20  # named in one error
_SEARCHED = 4000  # characters of a server's text in which permissions and scopes are looked for


def readable(value: object, longest: int) -> str:
    """Return a text that a server wrote as something to read: on one line, printable, at most `longest` characters.

    What is no text becomes the empty one.
    """
    if not isinstance(value, str):
        return ""
    text = " ".join(value[: 4 * longest].split())
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    cut = len(text) > longest or len(value) > 4 * longest
    return f"{text[: longest - 1]}…" if cut else text


def retry_after_seconds(headers: Mapping[str, str], status: int) -> float | None:
    """Return the seconds to wait that an answer's headers ask for, or None.

    `Retry-After` of any status, in seconds or as a date (RFC 9110 section 10.2.3); on a 429 without it,
    `inin-ratelimit-reset` (seconds until the window resets). Finite and not negative whatever the header is, at most ten
    years; nonsense is None.
    """
    asked = headers.get("Retry-After") or ""
    seconds = _seconds(asked)
    if seconds is None and asked:
        seconds = _seconds_until(asked, headers.get("Date") or "")
    if seconds is None and status == 429:
        seconds = _seconds(headers.get("inin-ratelimit-reset") or "")
    return seconds


def _seconds(text: str) -> float | None:
    text = text.strip()
    return min(float(text), LONGEST_RETRY_AFTER_SECONDS) if _SECONDS.fullmatch(text) else None


def _seconds_until(date: str, now: str) -> float | None:
    """Return the seconds from the moment of the answer until `date`: by the server's clock where it tells its time."""
    end = _date(date)
    if end is None:
        return None
    seconds = (end - (_date(now) or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _date(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text[:100])
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def error_body(body: bytes, hide: Callable[[str], str]) -> dict[str, Any]:
    """Return the JSON object in a body, every text in it through `hide`; empty where there is none."""
    try:
        # Hidden before and after decoding: JSON can write the letters of a secret in more than one way.
        fields = _hidden(msgspec.json.decode(hide(body.decode("utf-8", "replace"))), hide)
    except (
        msgspec.DecodeError,
        ValueError,
        RecursionError,
    ):  # ValueError: no UTF-8, or a number of too many digits
        return {}
    return fields if isinstance(fields, dict) else {}


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, list):
        return [_hidden(item, hide) for item in value]
    if isinstance(value, dict):
        return {hide(key): _hidden(item, hide) for key, item in value.items()}
    return value


def _texts(fields: Mapping[str, Any]) -> list[str]:
    """Return the message and its parameters, no longer than they can be searched."""
    params = fields.get("messageParams")
    texts = [
        fields.get("message"),
        *(list(params.values())[:_MOST_PERMISSIONS] if isinstance(params, dict) else []),
    ]
    return [text[:_SEARCHED] for text in texts if isinstance(text, str)]


def missing_permissions(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the permissions that an error body names, such as `oauth:token:delete`, each once."""
    found = dict.fromkeys(name for text in _texts(fields) for name in _PERMISSION.findall(text))
    return tuple(found)[:_MOST_PERMISSIONS]


def scope(fields: Mapping[str, Any]) -> str:
    """Return the OAuth scope that an error body names, or the empty text."""
    named = (match for text in _texts(fields) if (match := _SCOPE.search(text)))
    return next((match.group(1) for match in named), "")
