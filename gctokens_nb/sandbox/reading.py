"""How requests of the platform API are read, and how lists are cut into pages."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from gctokens_nb.sandbox.wire import Refusal, Request, invalid_query, invalid_value

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def bearer_token(request: Request) -> str | None:
    """The access token of the Authorization header; None where there is none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


def single(query: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    """The first value of a parameter."""
    return query[name][0] if name in query else default


def flag(query: Mapping[str, Sequence[str]], name: str) -> bool:
    """Whether a parameter is true."""
    return single(query, name, "false").lower() == "true"


def one_of(query: Mapping[str, Sequence[str]], name: str, allowed: Sequence[str]) -> str:
    """A parameter that has one of these values, the first by default; in any letter case."""
    value = single(query, name, allowed[0])
    for one in allowed:
        if value.lower() == one.lower():
            return one
    raise invalid_query(name, value, ", ".join(allowed))


def whole(value: object, field: str, smallest: int, largest: int) -> int:
    """A field of a body that is a whole number within these limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
        raise invalid_value(field, value, "Integer", f"{smallest} to {largest}")
    return value


def _whole_in_query(query: Mapping[str, Sequence[str]], name: str, default: int, largest: int) -> int:
    text = single(query, name, str(default))
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= largest:
        raise invalid_query(name, text, f"1 to {largest}")
    return number


def read_json(text: bytes) -> Any:
    """The value; NaN and Infinity, which Python would read, are a ValueError as all that is no JSON."""
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("JSON has no such number")
    return number


def json_object(request: Request) -> dict[str, Any]:
    """The body, which is to be a JSON object."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal("unsupported.media.type")
    try:
        value = read_json(request.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refusal("bad.request")
    return value


def page_of(
    request: Request, entities: Sequence[Any], path: str, *, default_size: int, largest_size: int
) -> dict[str, Any]:
    """The page that is asked for, with the links to the others."""
    query = request.query
    size = _whole_in_query(query, "pageSize", default_size, largest_size)
    number = _whole_in_query(query, "pageNumber", 1, 2**31)
    count = math.ceil(len(entities) / size)

    def uri(page_number: int) -> str:
        return f"{path}?" + urlencode({**query, "pageSize": size, "pageNumber": page_number}, doseq=True)

    page: dict[str, Any] = {
        "entities": entities[(number - 1) * size : number * size],
        "pageSize": size,
        "pageNumber": number,
        "total": len(entities),
        "pageCount": count,
        "selfUri": uri(number),
        "firstUri": uri(1),
        "lastUri": uri(max(count, 1)),
    }
    if number < count:
        page["nextUri"] = uri(number + 1)
    if number > 1:
        page["previousUri"] = uri(number - 1)
    return page
