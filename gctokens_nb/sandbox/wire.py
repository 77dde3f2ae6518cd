"""What goes over the wire: requests, responses, and the error bodies of the platform API.

Shapes: the ``ErrorBody`` model of the Genesys Cloud Python SDK.
"""

import json
import os
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


# What the platform says where nothing more particular applies.
STANDARD_ERRORS = {
    400: ("bad.request", "The request could not be understood by the server due to malformed syntax."),
    401: ("bad.credentials", "Invalid login credentials."),
    403: ("not.authorized", "You are not authorized to perform the requested action."),
    404: ("not.found", "The requested resource was not found."),
    405: ("method.not.allowed", "The method is not allowed for the requested resource."),
    413: ("request.entity.too.large", "The request is over the size limit."),
    415: ("unsupported.media.type", "Unsupported Media Type - the Content-Type must be application/json."),
    429: ("too.many.requests", "Too many requests."),
    500: ("internal.server.error", "The server encountered an unexpected condition."),
    503: ("service.unavailable", "Service Unavailable - The server is currently unavailable."),
    504: ("request.timeout", "The request timed out."),
}


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of this program
    """Ends the handling of a platform request with an error of the given status.

    Args:
        status: The HTTP status.
        code: The platform's error code; the usual one of the status if None.
        message: The text, where ``{name}`` stands for one of ``params``; the usual one if None.
        params: The ``messageParams``.
        details: Of the request's fields, as ``{"errorCode", "fieldName"}``.
        headers: More response headers.
    """

    def __init__(
        self,
        status: int,
        code: str | None = None,
        message: str | None = None,
        *,
        params: Mapping[str, str] | None = None,
        details: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        usual_code, usual_message = STANDARD_ERRORS.get(status, STANDARD_ERRORS[500])
        self.status = status
        self.code = code or usual_code
        self.template = message or usual_message
        self.params = dict(params or {})
        self.details = [dict(detail) for detail in details]
        self.headers = dict(headers or {})
        super().__init__(self.template)

    def response(self, correlation_id: str) -> Response:
        """The answer in the platform's shape, with the id that support would ask for."""
        message = self.template
        for name, value in self.params.items():
            message = message.replace("{" + name + "}", value)
        body = {
            "message": message,
            "code": self.code,
            "status": self.status,
            "messageWithParams": self.template,
            "messageParams": self.params,
            "contextId": correlation_id,
            "details": self.details,
            "errors": [],
        }
        return json_response(self.status, body, self.headers)


def invalid_field(field: str, message: str) -> Refusal:
    """A 400 about one field of the request."""
    code = "invalid.value"
    return Refusal(400, code, message, details=[{"errorCode": code, "fieldName": field}])


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
