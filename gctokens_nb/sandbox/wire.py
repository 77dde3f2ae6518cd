"""What goes over the wire: requests, responses, and the error bodies of the platform API.

Shapes, codes and texts: ``ErrorBody`` and the error codes of each call in Genesys Cloud's own API definition
(https://api.mypurecloud.com/api/v2/docs/swagger), as published by tag in GitHub api-evangelist/genesys.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple


class Request(NamedTuple):
    """A request as it came: the path still percent-encoded, the body unread."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes


class Response(NamedTuple):
    """An answer, without the headers that belong to the connection."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


# The codes that the definitions of the calls declare, and their texts; a few that nothing declares are marked.
# The texts' parameters are positional there: what the service calls them in messageParams is not known.
ERRORS = {
    "bad.request": (400, "The request could not be understood by the server due to malformed syntax."),
    "invalid.id": (400, "A non-UUID value was specified for an ID field."),
    "invalid.query.param.value": (
        400,
        "Value [{value}] is not valid for parameter [{name}]. Allowable values are: {allowed}",
    ),
    "invalid.value": (
        400,
        "Value [{value}] is not valid for field type [{type}]. Allowable values are: {allowed}",
    ),
    "max.idle.hipaa.token.timeout.exceeded": (
        400,
        "When HIPAA is enabled timeout must be 15 minutes or less",
    ),
    "max.idle.token.timeout.exceeded": (
        400,
        "When HIPAA is disabled timeout must be between 5 minutes and 8 hours.",
    ),
    "max.user.ids": (400, "Only 100 users can be requested at a time."),
    "not.a.user": (
        400,
        "This request requires a user context. Client credentials cannot be used for requests to this resource.",
    ),
    "token.timeout.exceeded": (
        400,
        "When HIPAA is not enabled timeout must be between 300 and 28800 seconds",
    ),
    "token.timeout.exceeded.hipaa": (
        400,
        "When HIPAA is enabled timeout must be between 300 and 900 seconds",
    ),
    "authentication.required": (
        401,
        "No authentication bearer token specified in authorization header.",
    ),
    "bad.credentials": (401, "Invalid login credentials."),
    "credentials.expired": (401, "The supplied credentials have expired."),  # declared by no call
    "ip.not.authorized": (
        401,
        "Requests originating from this IP address are not authorized: [{address}]",
    ),
    "app.not.authorized.for.scope": (403, "App not authorized to use scope {scope}"),
    "authz.policy.denied": (
        403,
        (
            "Unable to perform the requested action. Your organization's security policies have denied access. "
            "Policy ID(s): [{policies}]"
        ),
    ),
    "missing.any.division.permissions": (
        403,
        (
            "Unable to perform the requested action. You must have at least one of the following permissions "
            "assigned: {permissions} in at least one of the following division(s): {divisions}"
        ),
    ),
    "missing.any.permissions": (
        403,
        (
            "Unable to perform the requested action. You must have at least one of the following permissions "
            "assigned: {permissions}"
        ),
    ),
    "missing.division.permission": (
        403,
        (
            "Unable to perform the requested action. You are missing the following permission '{permission}' in the "
            "provided division(s)."
        ),
    ),
    "missing.permissions": (
        403,
        "Unable to perform the requested action. You are missing the following permission(s): {permissions}",
    ),
    "not.authorized": (403, "You are not authorized to perform the requested action."),
    "client.not.found": (404, "Client was not found."),
    "not.found": (404, "The requested resource was not found."),
    "method.not.allowed": (  # declared by no call
        405,
        "The method is not allowed for the requested resource.",
    ),
    "client.timeout": (
        408,
        (
            "The client did not produce a request within the server timeout limit. This can be caused by a slow "
            "network connection and/or large payloads."
        ),
    ),
    "request.conflict": (409, "The request conflicts with the current state of the target resource."),
    "request.entity.too.large": (413, "The request is over the size limit. Maximum bytes: {bytes}"),
    "unsupported.media.type": (
        415,
        (
            "Unsupported Media Type - Unsupported or incorrect media type, such as an incorrect Content-Type value "
            "in the header."
        ),
    ),
    "too.many.requests": (
        429,
        "Rate limit exceeded the maximum [{limit}] requests within [{window}] seconds",
    ),
    "too.many.requests.retry.after": (
        429,
        "Rate limit exceeded the maximum. Retry the request in [{seconds}] seconds",
    ),
    "internal.server.error": (
        500,
        "The server encountered an unexpected condition which prevented it from fulfilling the request.",
    ),
    "service.unavailable": (
        503,
        (
            "Service Unavailable - The server is currently unavailable (because it is overloaded or down for "
            "maintenance)."
        ),
    ),
    "authentication.request.timeout": (504, "Authentication request timeout."),
    "request.timeout": (504, "The request timed out."),
}
# What is said where nothing more particular applies. All 429 have been of this code since November 2021.
_USUAL_CODES = {
    400: "bad.request",
    401: "bad.credentials",
    403: "not.authorized",
    404: "not.found",
    405: "method.not.allowed",
    408: "client.timeout",
    409: "request.conflict",
    413: "request.entity.too.large",
    415: "unsupported.media.type",
    429: "too.many.requests.retry.after",
    503: "service.unavailable",
    504: "request.timeout",
}


def usual_code(status: int) -> str:
    """The platform's error code where nothing more than the status is known."""
    return _USUAL_CODES.get(status, "internal.server.error")


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of this program
    """Ends the handling of a platform request with an error.

    Args:
        code: The platform's error code, one of ``ERRORS``.
        status: The HTTP status; that of the code if None.
        message: The text, where ``{name}`` stands for one of ``params``; that of the code if None.
        params: The ``messageParams``.
        field: The field of the request that is at fault, for the ``details``.
        headers: More response headers.
    """

    def __init__(
        self,
        code: str,
        *,
        status: int | None = None,
        message: str | None = None,
        params: Mapping[str, str] | None = None,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        usual_status, usual_message = ERRORS[code]
        self.code = code
        self.status = status or usual_status
        self.template = message or usual_message
        self.params = dict(params or {})
        self.details = [{"errorCode": code, "fieldName": field}] if field else []
        self.headers = dict(headers or {})
        super().__init__(self.template)

    def response(self, correlation_id: str) -> Response:
        """The answer in the platform's shape, with the id that support would ask for."""
        body = {
            "message": re.sub(r"\{(\w+)\}", lambda name: self.params.get(name[1], name[0]), self.template),
            "code": self.code,
            "status": self.status,
            "messageWithParams": self.template,
            "messageParams": self.params,
            "contextId": correlation_id,
            "details": self.details,
            "errors": [],
        }
        return json_response(self.status, body, self.headers)


def invalid_query(name: str, value: str, allowed: str) -> Refusal:
    """A 400 about one parameter of the query."""
    params = {"value": value, "name": name, "allowed": allowed}
    return Refusal("invalid.query.param.value", params=params, field=name)


def invalid_value(field: str, value: object, kind: str, allowed: str) -> Refusal:
    """A 400 about one field of the body, which is to be of this kind."""
    params = {"value": str(value)[:100], "type": kind, "allowed": allowed}
    return Refusal("invalid.value", params=params, field=field)


def json_response(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON, with ``headers`` beside the content type. A lone surrogate becomes ``?``."""
    return Response(
        status,
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"),
        {"Content-Type": "application/json", **(headers or {})},
    )


def html_response(status: int, html: str) -> Response:
    """An HTML page that is neither cached nor named to the next site."""
    return Response(
        status,
        html.encode(),
        {
            "Content-Type": "text/html; charset=UTF-8",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        },
    )


def new_correlation_id() -> str:
    """A random id in the form of a UUID, cheaper than ``uuid.uuid4``."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def iso_date(seconds: float) -> str:
    """Seconds since 1970 as the platform writes dates, ``2026-01-31T08:30:00.000Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
