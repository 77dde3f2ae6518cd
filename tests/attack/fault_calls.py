"""The calls under attack, and what each may take for its answer: a reading of the contract that shares no code with the client."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from fault_families import Fault

import gctokens_nb as gct
from gctokens_nb import oauth
from gctokens_nb.redaction import Secret

TOKEN = "attacked-bearer-3e1f"
CLIENT_SECRET = "attacked-secret-77aa"
CODE = "attacked-code-90bc"
REFRESH = "attacked-refresh-51de"
ASSERTION = "attacked-assertion-08f7"
SECRETS = (TOKEN, CLIENT_SECRET, CODE, REFRESH, ASSERTION)
USER = "01234567-89ab-cdef-0123-456789abcdef"
TIMEOUTS = (0.3, 0.3, 0.6)
RETRY = gct.RetryPolicy(attempts=2, backoff_seconds=0.001, longest_wait_seconds=0.5)

Region = gct.regions.Region


class Call(NamedTuple):
    """One way to use the package: `run` gets a region whose host misbehaves, `accepts` judges what it returned."""

    name: str
    run: Callable[[Region], Any]
    accepts: Callable[[Fault, Any], bool]


def connection(region: Region) -> gct.Connection:
    """A connection by a pasted token, with short patience."""
    return gct.connect(region, access_token=TOKEN, timeout_seconds=TIMEOUTS, retry=RETRY)


def _called(name: str, use: Callable[[gct.Connection], Any], accepts: Callable[[Fault, Any], bool]) -> Call:
    def run(region: Region) -> Any:
        with connection(region) as gc:
            return use(gc)

    return Call(name, run, accepts)


def _granted(name: str, grant: Callable[..., Any]) -> Call:
    return Call(name, grant, is_that_token)


# What is a legitimate answer


def _object(fault: Fault) -> dict[str, Any] | None:
    """The answer's body as a JSON object by RFC 8259, or None."""
    if fault.status is None or fault.body is None or not 200 <= fault.status < 300:
        return None
    try:
        value = json.loads(fault.body.decode(), parse_constant=lambda _: 1 / 0)
    except (ValueError, RecursionError, ZeroDivisionError):
        return None
    return value if isinstance(value, dict) else None


def _is_empty(fault: Fault, _: Any) -> bool:
    """2xx without a body, or with one that is an empty JSON value; no part of another answer."""
    if fault.status is None or not 200 <= fault.status < 300 or fault.body is None:
        return False
    return fault.body.strip() in {b"", b"{}", b"null"} and not (fault.status == 206 and fault.body)


def _is_empty_head(fault: Fault, _: Any) -> bool:
    """As `_is_empty`, but an answer to HEAD has no body: it may only announce one."""
    if fault.status is None or not 200 <= fault.status < 300:
        return False
    return fault.length is None or fault.length <= 4 or fault.status == 204


def _is_object(fault: Fault, _: Any) -> bool:
    return _object(fault) is not None


def _is_response(fault: Fault, response: Any) -> bool:
    """`session.get()` and its like return the very bytes, if all of them came."""
    if fault.status is None or fault.body is None:
        return False
    body = fault.body.replace(b"%TOKEN%", TOKEN.encode())
    return bool(response.status_code == fault.status and response.content == body)


def _is_head(fault: Fault, response: Any) -> bool:
    return fault.status is not None and response.status_code == fault.status


def _is_stream(fault: Fault, begun: Any) -> bool:
    """The first bytes of the body: nothing is promised of the rest."""
    status, data = begun
    body = fault.body
    return fault.status == status and (
        body is None or body.replace(b"%TOKEN%", TOKEN.encode()).startswith(data)
    )


def is_that_token(fault: Fault, token: Any) -> bool:
    told = _object(fault)
    if told is None or told.get("error"):
        return False
    value = token.access_token.value if isinstance(token, gct.Connection) else token.value
    return bool(value and value == told.get("access_token") and value.isascii() and value.isprintable())


# The calls


def _stream(gc: gct.Connection) -> tuple[int, bytes]:
    with gc.session.get("/api/v2/things", stream=True) as response:
        return response.status_code, next(response.iter_content(1024), b"")


def _patient(grant: Callable[..., Any]) -> dict[str, Any]:
    """The short timeouts, where the function takes any."""
    return {"timeout_seconds": TIMEOUTS} if "timeout_seconds" in inspect.signature(grant).parameters else {}


def _client_credentials(region: Region) -> Any:
    return oauth.client_credentials(
        region, "client", Secret(CLIENT_SECRET), **_patient(oauth.client_credentials)
    )


def _code(region: Region) -> Any:
    return oauth.authorization_code(
        region,
        "client",
        Secret(CODE),
        "http://127.0.0.1/",
        client_secret=Secret(CLIENT_SECRET),
        **_patient(oauth.authorization_code),
    )


def _refresh(region: Region) -> Any:
    return oauth.refresh(
        region, "client", Secret(REFRESH), client_secret=Secret(CLIENT_SECRET), **_patient(oauth.refresh)
    )


def _saml2(region: Region) -> Any:
    return oauth.saml2_bearer(
        region,
        "client",
        Secret(CLIENT_SECRET),
        org_name="x",
        assertion=Secret(ASSERTION),
        **_patient(oauth.saml2_bearer),
    )


def _connect(region: Region) -> Any:
    with gct.connect(
        region, client_id="client", client_secret=CLIENT_SECRET, timeout_seconds=TIMEOUTS, retry=RETRY
    ) as gc:
        return gc


CALLS = (
    _called("get_tokens_me", lambda gc: gc.tokens.get_tokens_me(), _is_object),
    _called("head_tokens_me", lambda gc: gc.tokens.head_tokens_me(), _is_empty_head),
    _called("delete_tokens_me", lambda gc: gc.tokens.delete_tokens_me(), _is_empty),
    _called("delete_token", lambda gc: gc.tokens.delete_token(USER, allow_self=True), _is_empty),
    _called("get_tokens_timeout", lambda gc: gc.tokens.get_tokens_timeout(), _is_object),
    _called(
        "put_tokens_timeout",
        lambda gc: gc.tokens.put_tokens_timeout({"idleTokenTimeoutSeconds": 600}),
        _is_object,
    ),
    _called("me", lambda gc: gc.directory.me(), _is_object),
    _called("find_by_id", lambda gc: gc.directory.find_by_id([USER]), _is_object),
    _called("find_by_email", lambda gc: gc.directory.find_by_email(["a@example.org"]), _is_object),
    _called("search", lambda gc: gc.directory.search("abc"), _is_object),
    _called("list_users", lambda gc: list(gc.directory.list_users()), _is_object),
    _called("own_permissions", lambda gc: gc.directory.own_permissions(), _is_object),
    _called("session.get", lambda gc: gc.session.get("/api/v2/things"), _is_response),
    _called("session.post", lambda gc: gc.session.post("/api/v2/things", json={}), _is_response),
    _called("session.put", lambda gc: gc.session.put("/api/v2/things", json={}), _is_response),
    _called("session.delete", lambda gc: gc.session.delete("/api/v2/things"), _is_response),
    _called("session.head", lambda gc: gc.session.head("/api/v2/things"), _is_head),
    _called("session.get stream", _stream, _is_stream),
    _granted("client_credentials", _client_credentials),
    _granted("authorization_code", _code),
    _granted("refresh", _refresh),
    _granted("saml2_bearer", _saml2),
    _granted("connect", _connect),
)
