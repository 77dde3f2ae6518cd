"""Everything that a server, a proxy or an attacker may answer, as data: families of scripts for the fault server.

Each fault also tells what it means, read strictly: `status` and `body` are None where the answer has none that a
careful client could accept.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fault_server import Drip, Flood, Reset, Send, Silence, Step

JSON = "application/json"
LOGIN_PAGE = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>Room number</form></body></html>"
)
MIB = 1 << 20
LENGTH = re.compile(rb"\r\nContent-Length: (\d{1,300})\r\n")


class Fault(NamedTuple):
    """One way to answer.

    Attributes:
        family, name:
            For the table of failures.
        script:
            What the server does.
        status, body:
            What the answer means once its framing and its encoding are taken off; None where that cannot be said.
        length:
            The declared Content-Length, where there is one: all that an answer to HEAD tells of its body.
        content_type:
            As declared.
    """

    family: str
    name: str
    script: tuple[Step, ...]
    status: int | None = None
    body: bytes | None = None
    length: int | None = None
    content_type: str = ""


def head(status: int | str, *lines: str, reason: str = "X") -> bytes:
    """A status line and header lines."""
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *lines, "", ""]).encode("latin-1")


def answer(
    family: str,
    name: str,
    status: int = 200,
    body: bytes = b"",
    *lines: str,
    content_type: str | None = JSON,
    reason: str = "X",
) -> Fault:
    """A well-framed answer whose content is the fault."""
    typed = [] if content_type is None else [f"Content-Type: {content_type}"]
    start = head(status, *typed, f"Content-Length: {len(body)}", *lines, reason=reason)
    means = b"" if status in {204, 304} else body
    # The echo of a secret is of another length than its place holder, so it goes without Content-Length.
    if b"%TOKEN%" in start + body:
        start = head(status, *typed, *lines, reason=reason)
        return Fault(family, name, (Send(start + body),), status, means, None, content_type or "")
    return Fault(family, name, (Send(start + body),), status, means, len(body), content_type or "")


def raw(
    family: str, name: str, *steps: Step | bytes, status: int | None = None, body: bytes | None = None
) -> Fault:
    """An answer in exact bytes; with `status` and `body` where a careful client may accept it."""
    script = tuple(Send(step) if isinstance(step, bytes) else step for step in steps)
    lengths = LENGTH.findall(script[0].data) if script and not isinstance(script[0], (Silence, Reset)) else []
    return Fault(family, name, script, status, body, int(lengths[0]) if len(lengths) == 1 else None)


STATUSES = (
    *(200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 299),
    *(300, 301, 302, 303, 304, 305, 306, 307, 308, 399),
    *(400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418),
    *(421, 422, 423, 424, 425, 426, 428, 431, 444, 451, 499),
    *(500, 501, 502, 505, 506, 507, 508, 510, 511, 520, 522, 524, 530, 599),
)


def statuses() -> Iterator[Fault]:
    """Every status, without a body and with a log-in page; and what is no status."""
    for status in STATUSES:
        yield answer("status", f"{status} empty", status)
        yield answer("status", f"{status} page", status, LOGIN_PAGE, content_type="text/plain")
    for status in (101, 600, 700, 999):
        yield answer("status", f"{status} page", status, LOGIN_PAGE, content_type="text/html")
    for text in ("000", "099", "1000", "-1", "abc", "2O0", "20", "", "200.0", "0x1f4", "\xb2\xb2\xb2"):
        yield raw("status", f"status {text!r}", head(text, "Content-Length: 0"))


def bodies() -> Iterator[Fault]:
    """Status 200 and a body that is odd."""
    told: list[tuple[str, bytes, str | None]] = [
        ("empty", b"", JSON),
        ("empty untyped", b"", None),
        ("{}", b"{}", JSON),
        ("null", b"null", JSON),
        ("ok true", b'{"ok":true}', JSON),
        ("ok true, plain", b'{"ok":true}', "text/plain"),
        ("page html", LOGIN_PAGE, "text/html"),
        ("page xhtml", LOGIN_PAGE, "application/xhtml+xml"),
        ("page plain", LOGIN_PAGE, "text/plain"),
        ("page json", LOGIN_PAGE, JSON),
        ("page untyped", LOGIN_PAGE, None),
        ("page octets", LOGIN_PAGE, "application/octet-stream"),
        ("plain sentence", b"Please sign in to the network.", "text/plain"),
        ("xml", b"<?xml version='1.0'?><ok/>", "application/xml"),
        ("list", b"[]", JSON),
        ("list of object", b"[{}]", JSON),
        ("text", b'"ok"', JSON),
        ("empty text", b'""', JSON),
        ("zero", b"0", JSON),
        ("true", b"true", JSON),
        ("false", b"false", JSON),
        ("spaces", b" \r\n ", JSON),
        ("BOM", b"\xef\xbb\xbf{}", JSON),
        ("latin-1", '{"name": "J\xe9r\xf4me"}'.encode("latin-1"), JSON),
        ("latin-1 declared", '{"name": "J\xe9r\xf4me"}'.encode("latin-1"), f"{JSON}; charset=latin-1"),
        ("unknown charset", b'{"name": "x"}', f"{JSON}; charset=klingon"),
        ("utf-16", '{"name": "x"}'.encode("utf-16"), JSON),
        ("utf-16-be", '{"name": "x"}'.encode("utf-16-be"), JSON),
        ("utf-32", '{"name": "x"}'.encode("utf-32"), JSON),
        ("lone bytes", b'{"name": "\xff\xfe\x80"}', JSON),
        ("lone bytes as key", b'{"\xff": 1}', JSON),
        ("only bytes", b"\xff\xfe\xfd", JSON),
        ("NULs", b"\x00" * 64, JSON),
        ("surrogate", b'{"name": "\\ud800"}', JSON),
        ("raw surrogate", b'{"name": "\xed\xa0\x80"}', JSON),
        ("deep lists", b"[" * 100_000, JSON),
        ("deep lists closed", b"[" * 100_000 + b"]" * 100_000, JSON),
        ("deep objects", b'{"a":' * 50_000 + b"1" + b"}" * 50_000, JSON),
        ("deep below", b'{"entities":' + b"[" * 5000 + b"]" * 5000 + b"}", JSON),
        ("NaN", b'{"expires_in": NaN}', JSON),
        ("only NaN", b"NaN", JSON),
        ("infinity", b'{"total": Infinity}', JSON),
        ("1e400", b'{"total": 1e400}', JSON),
        ("5000 digits", b'{"total": ' + b"9" * 5000 + b"}", JSON),
        ("400 digits", b"9" * 400, JSON),
        ("twice the key", b'{"entities": [], "entities": 5}', JSON),
        ("cut short", b'{"organization": {"id": "', JSON),
        ("more behind", b"{} {}", JSON),
        ("page behind", b"{}" + LOGIN_PAGE, JSON),
        ("comment", b"{} // ok", JSON),
        ("single quotes", b"{'ok': 1}", JSON),
        ("JSONP", b"callback({})", JSON),
        ("guarded", b")]}',\n{}", JSON),
        ("control character", b'{"name": "a\x01b"}', JSON),
        ("a mebibyte of spaces", b" " * MIB, JSON),
        ("a long text", b'{"name": "' + b"x" * MIB + b'"}', JSON),
        ("many keys", json.dumps({f"k{n}": n for n in range(5_000)}).encode(), JSON),
    ]
    for name, body, content_type in told:
        yield answer("body", name, 200, body, content_type=content_type)
    yield answer("body", "206", 206, b"{}", "Content-Range: bytes 0-1/900")
    yield answer(
        "body", "206 page", 206, LOGIN_PAGE, "Content-Range: bytes 0-100/900", content_type="text/plain"
    )
    yield answer("body", "17 MiB", 200, b"[" + b" " * 17 * MIB + b"]")._replace(body=None)


DATES = (
    '"never"',
    '"9999-12-31T23:59:59-14:00"',
    '"0001-01-01T00:00:00+14:00"',
    '"2026-02-30T00:00:00Z"',
    '"2026-01-01T24:00:00Z"',
    '"2026-01-01T00:00:60Z"',
    '"2026-01-01"',
    '"+12026-01-01T00:00:00Z"',
    '"2026-01-01T00:00:00+99:99"',
    "1e20",
    "-1",
    "true",
    "[]",
)
WRONG = {
    "token info": (
        *(f'{{"organization": {value}}}' for value in ("5", "[]", '"x"', '{"id": 5}', '{"name": []}')),
        *(f'{{"dateTokenIdles": {value}}}' for value in DATES),
        *(f'{{"OAuthClient": {value}}}' for value in ('"x"', "[]", '{"scope": "x"}', '{"scope": [1]}')),
        '{"OAuthClient": {"dateCreated": "9999-12-31T23:59:59-23:59", "roleDivisions": [{"roleId": 5}]}}',
        '{"authorizedScope": "x"}',
        '{"clonedUser": [], "homeOrganization": 1.5}',
    ),
    "idle timeout": (
        *(
            f'{{"idleTokenTimeoutSeconds": {value}}}'
            for value in ('"300"', "1e30", "3.5", "true", "1" + "0" * 30)
        ),
        '{"enableIdleTokenTimeout": "yes"}',
        '{"inactivityTimeoutGroupBundles": {}}',
        '{"inactivityTimeoutGroupBundles": [{"priority": "1", "groups": [5]}]}',
    ),
    "users": (
        *(
            f'{{"entities": {value}}}'
            for value in ("{}", "[1]", '"x"', "[null]", '[{"id": 5}]', '[{"name": []}]')
        ),
        *(f'{{"results": {value}}}' for value in ("{}", "[1]", '"x"', "[null]", '[{"id": 5}]')),
        *(
            f'{{"entities": [], "results": [], "pageCount": {value}}}'
            for value in ('"2"', "-1", "true", "1e9", "[]", "null", "1000000000", "1" + "0" * 100)
        ),
        '{"entities": [{"id": "a"}], "results": [{"id": "a"}], "pageCount": 1000000000}',
        '{"id": 5}',
        '{"id": []}',
        '{"email": {"a": 1}}',
    ),
    "permissions": (
        *(f'{{"grants": {value}}}' for value in ("{}", '"x"', "[1]", "[null]")),
        '{"grants": [{"role": 5}]}',
        '{"grants": [{"role": {"policies": {}}}]}',
        '{"grants": [{"role": {"policies": [{"actions": "x"}]}}]}',
    ),
    "sign-in": (
        *(
            f'{{"access_token": {value}}}'
            for value in (
                "5",
                '""',
                "null",
                "[]",
                '"a b"',
                '"a\\nb"',
                '"a\\r\\nX: y"',
                '"\\u00fc"',
                '"\\u0000"',
                '" "',
            )
        ),
        *(
            f'{{"access_token": "abc", "token_type": "bearer", "expires_in": {value}}}'
            for value in (
                "9" * 400,
                "-1",
                "0",
                '"3600"',
                '"x"',
                "null",
                "1e308",
                "true",
                "[]",
                "NaN",
                "1e400",
            )
        ),
        *(f'{{"access_token": "abc", "token_type": {value}}}' for value in ('"mac"', "5", "[]", "null")),
        *(
            f'{{"access_token": "abc", "refresh_token": {value}}}'
            for value in ("5", "[]", '"a\\nb"', '"\\ud800"')
        ),
        *(f'{{"error": {value}}}' for value in ("5", '"invalid_client"', '""', "[]", "null", "{}")),
        '{"access_token": "abc", "error": "invalid_grant"}',
    ),
}


def fields() -> Iterator[Fault]:
    """Status 200 and a JSON object with a field of the wrong type or beyond all bounds."""
    for family, texts in WRONG.items():
        for text in texts:
            yield answer(family, text[:90], 200, text.encode())
    yield answer("sign-in", "token of 1 MB", 200, json.dumps({"access_token": "t" * 10**6}).encode())
    yield answer(
        "sign-in",
        "refresh token of 1 MB",
        200,
        json.dumps({"access_token": "abc", "refresh_token": "t" * 10**6}).encode(),
    )


def framed(name: str, *steps: Step | bytes, status: int = 200, body: bytes | None = None) -> Fault:
    """An answer of that status whose head is well-formed; without `body`, what follows is not."""
    return raw("framing", name, *steps, status=status, body=body)


def framing() -> Iterator[Fault]:
    """Lengths and chunks that lie."""
    known = "Content-Type: application/json"
    for value in ("99999999999999999999", "9" * 400, "2_0"):
        yield framed(f"Content-Length {value[:30]!r}", head(200, known, f"Content-Length: {value}") + b"{}")
    for value in (
        "-1",
        "abc",
        "0x2",
        "2.0",
        "1e1",
        "",
        "+2",
        "2, 2",
        "\u00b2",
    ):  # no number: read to the end, or refused
        length = f"Content-Length: {value}"
        yield framed(f"Content-Length {value!r}", head(200, known, length) + b"{}", body=b"{}")
    yield framed("too long", head(200, known, "Content-Length: 500") + b"{}")
    yield framed("too long by one", head(200, known, "Content-Length: 3") + b"{}")
    yield framed(
        "shorter than sent", head(200, known, "Content-Length: 2") + b"{}{}{}", status=200, body=b"{}"
    )
    yield framed("two lengths", head(200, known, "Content-Length: 2", "Content-Length: 40") + b"{}")
    yield framed("no length", head(200, known) + b"{}", status=200, body=b"{}")
    chunked = head(200, known, "Transfer-Encoding: chunked")
    yield framed("chunked", chunked + b"2\r\n{}\r\n0\r\n\r\n", status=200, body=b"{}")
    yield framed("chunk extension", chunked + b"2;a=b\r\n{}\r\n0\r\n\r\n", status=200, body=b"{}")
    yield framed("trailers", chunked + b"2\r\n{}\r\n0\r\nA: b\r\n\r\n", status=200, body=b"{}")
    for size in (b"-1", b"-2", b"zz", b"", b" ", b"2.0", b"F" * 100, b"7FFFFFFFFFFFFFFF", b"2_0", b"\xb2"):
        yield framed(f"chunk of {size[:20]!r}", chunked + size + b"\r\n{}\r\n0\r\n\r\n")
    for size in (b"-5", b"FFFFFFFFF", b"x"):
        yield framed(f"second chunk of {size!r}", chunked + b"2\r\n{}\r\n" + size + b"\r\n{}\r\n0\r\n\r\n")
    yield framed("chunk cut short", chunked + b"20\r\n{}")
    yield framed("no last chunk", chunked + b"2\r\n{}\r\n")
    yield framed("no chunk", chunked)
    yield framed("chunk of another size", chunked + b"1\r\n{}\r\n0\r\n\r\n")
    yield framed("long chunk line", chunked + b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n")
    yield framed("endless trailers", chunked + b"2\r\n{}\r\n0\r\n", Flood(b"A: " + b"b" * 8000 + b"\r\n"))
    yield framed("dripping trailers", chunked + b"2\r\n{}\r\n0\r\n", Drip(b"A: b\r\n"))
    yield framed("endless chunks", chunked, Flood(b"2000\r\n" + b" " * 0x2000 + b"\r\n"))
    yield framed("endless small chunks", chunked, Flood(b"1\r\n \r\n" * 500))
    yield framed("endless chunk line", chunked, Flood(b"0" * 8000))
    yield framed("endless body", head(200, known), Flood(b" " * 65536))
    yield framed("huge length, endless", head(200, known, "Content-Length: 99999999999"), Flood(b" " * 65536))
    yield framed(
        "chunked and length",
        head(200, known, "Transfer-Encoding: chunked", "Content-Length: 9") + b"2\r\n{}\r\n0\r\n\r\n",
        status=200,
        body=b"{}",
    )
    yield framed(
        "chunked 1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        status=200,
        body=b"{}",
    )
    yield framed(
        "unknown transfer encoding",
        head(200, known, "Transfer-Encoding: klingon") + b"{}",
        status=200,
        body=b"{}",
    )
    yield framed("error cut short", head(500, known, "Content-Length: 500") + b'{"message":', status=500)
    yield framed(
        "error in a bad chunk", head(404, known, "Transfer-Encoding: chunked") + b"-2\r\n{}\r\n", status=404
    )
    yield framed("endless error", head(400, known), Flood(b" " * 65536), status=400)
    yield framed("dripping error", head(403, known), Drip(b" "), status=403)


def encodings() -> Iterator[Fault]:
    """Content encodings: broken, unknown, layered, and bombs."""
    packed = gzip.compress(b"{}", mtime=0)
    bomb = gzip.compress(b" " * 64 * MIB, 9, mtime=0)

    def encoded(
        name: str, encoding: str, body: bytes, means: bytes | None = None, status: int = 200
    ) -> Fault:
        return answer("encoding", name, status, body, f"Content-Encoding: {encoding}")._replace(body=means)

    yield encoded("gzip", "gzip", packed, b"{}")
    yield encoded("gzip of a page", "gzip", gzip.compress(LOGIN_PAGE, mtime=0), LOGIN_PAGE)
    yield encoded("deflate", "deflate", zlib.compress(b"{}"), b"{}")
    yield encoded("no gzip", "gzip", b"{}")
    yield encoded("no deflate", "deflate", b"\xff\xff{}")
    yield encoded("gzip cut short", "gzip", gzip.compress(LOGIN_PAGE, mtime=0)[:40])
    yield encoded("gzip with a bad sum", "gzip", packed[:-8] + bytes(8))
    yield encoded("gzip and garbage", "gzip", packed + b"garbage", b"{}")
    yield encoded("gzip twice", "gzip, gzip", gzip.compress(packed, mtime=0), b"{}")
    yield encoded("gzip empty", "gzip", b"", b"")
    yield encoded("gzip bomb", "gzip", bomb)
    yield encoded("deflate bomb", "deflate", zlib.compress(b" " * 64 * MIB, 9))
    yield encoded("gzip bomb in a gzip", "gzip, gzip", gzip.compress(bomb, mtime=0))
    yield encoded("gzip bomb as an error", "gzip", bomb, status=400)
    yield encoded("no gzip as an error", "gzip", b"not gzip", status=403)
    yield encoded("many encodings", ", ".join(["gzip"] * 200), packed)
    # Neither of both, whether urllib3 can decode them here or not.
    yield encoded("brotli", "br", b"\xffno brotli", b"\xffno brotli")
    yield encoded("zstd", "zstd", b"\xffno zstd", b"\xffno zstd")
    yield encoded("unknown", "klingon", b"{}", b"{}")
    yield encoded("identity", "identity", b"{}", b"{}")
    yield raw(
        "encoding",
        "gzip, endless",
        head(200, "Content-Encoding: gzip"),
        bomb[:100],
        Flood(bytes(65536)),
        status=200,
    )
    yield raw(
        "encoding",
        "gzip, dripping",
        head(200, "Content-Encoding: gzip"),
        bomb[:20],
        Drip(bytes(8)),
        status=200,
    )


def headers() -> Iterator[Fault]:
    """Status lines and headers that no server should send."""
    ok, end = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\n{}"

    def lines(name: str, data: bytes, *, good: bool = False) -> Fault:
        return raw(
            "header", name, ok + data + end, status=200 if good else None, body=b"{}" if good else None
        )

    # `good`: the answer is odd, and yet nobody could read it in two ways.
    yield lines("99 headers", b"".join(b"A%d: b\r\n" % n for n in range(98)), good=True)
    yield lines("1,000 headers", b"".join(b"A%d: b\r\n" % n for n in range(1000)))
    yield lines("long line", b"A: " + b"b" * 70_000 + b"\r\n")
    yield lines("many long lines", (b"A: " + b"b" * 60_000 + b"\r\n") * 90)
    yield lines("cookies", b"".join(b"Set-Cookie: a%d=b; Path=/\r\n" % n for n in range(50)), good=True)
    yield lines("latin-1", b"A: \xe9\r\n", good=True)
    yield lines("utf-8", "A: \u263a\r\n".encode(), good=True)
    yield lines("folded", b"A: b\r\n c\r\n", good=True)
    yield lines("NUL in a value", b"A: b\x00c\r\n", good=True)
    yield lines("no name", b": b\r\n", good=True)
    yield lines("no colon", b"garbage\r\n", good=True)
    yield lines("space before the colon", b"A : b\r\n", good=True)
    yield lines("space first", b" A: b\r\n", good=True)
    yield lines("NUL in a name", b"A\x00: b\r\n", good=True)
    yield lines("bare CR", b"A: b\rX: y\r\n", good=True)
    yield lines("two types", b"Content-Type: text/html\r\nContent-Type: application/json\r\n", good=True)
    yield lines("a bad cookie", b"Set-Cookie: \xff=\x00; expires=Never; Domain=.\r\n", good=True)
    yield lines("a link header", b"Link: <<<;;rel=,,\r\n", good=True)
    yield raw("header", "bare LF", b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", status=200, body=b"{}")
    yield raw("header", "only LFs", b"\n\n\n\n")
    yield raw("header", "HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\n{}", status=200, body=b"{}")
    yield raw("header", "HTTP/0.9", b"{}")
    yield raw("header", "HTTP/0.9 page", LOGIN_PAGE)
    yield raw("header", "HTTP/2", b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    yield raw("header", "HTTP/3.7", b"HTTP/3.7 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    yield raw("header", "HTTP/2 preface", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18))
    yield raw("header", "TLS alert", b"\x15\x03\x01\x00\x02\x02\x46")
    yield raw("header", "ICY", b"ICY 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    yield raw("header", "SSH", b"SSH-2.0-OpenSSH_9.6\r\n")
    yield raw("header", "SMTP", b"220 mail ESMTP\r\n")
    yield raw("header", "lower case", b"http/1.1 200 ok\r\nContent-Length: 2\r\n\r\n{}")
    yield raw("header", "no reason", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", status=200, body=b"{}")
    yield raw(
        "header",
        "long reason",
        b"HTTP/1.1 200 " + b"r" * 60_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        status=200,
        body=b"{}",
    )
    yield raw(
        "header", "longer reason", b"HTTP/1.1 200 " + b"r" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
    )
    yield raw(
        "header",
        "long reason of an error",
        b"HTTP/1.1 400 " + b"r" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n",
        status=400,
    )
    yield raw("header", "endless headers", ok, Flood(b"A: " + b"b" * 8000 + b"\r\n"))
    yield raw("header", "endless short headers", ok, Flood(b"A: b\r\n" * 1000))
    yield raw("header", "endless line", ok, Flood(b"a" * 65536))
    yield raw("header", "endless status line", b"HTTP/1.1 200 ", Flood(b"a" * 65536))
    yield raw("header", "endless NULs", Flood(bytes(65536)))
    for code in (100, 102, 103, 199):
        yield raw("header", f"endless {code}", Flood(head(code) * 100))
    yield raw("header", "dripping 100", Drip(head(100)))
    yield raw("header", "three 100s, then 200", head(100) * 3 + ok + end, status=200, body=b"{}")
    yield raw("header", "100, then nothing", head(100))
    yield raw("header", "100, then silence", head(100), Silence())
    yield raw("header", "100 with endless headers", b"HTTP/1.1 100 Continue\r\n", Flood(b"A: b\r\n" * 1000))
    yield raw("header", "dripping status line", Drip(b"HTTP/1.1 200 " + b"O" * 1000))
    yield raw("header", "dripping headers", ok, Drip(b"A: b\r\n"))
    yield raw("header", "dripping body", ok + b"Content-Length: 100000\r\n\r\n", Drip(b" "), status=200)
    yield raw(
        "header",
        "dripping chunks",
        ok + b"Transfer-Encoding: chunked\r\n\r\n",
        Drip(b"1\r\n \r\n"),
        status=200,
    )
    yield raw("header", "two answers", (ok + end) * 2, status=200, body=b"{}")


def broken() -> Iterator[Fault]:
    """The connection ends, breaks or falls silent at each stage."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"
    stages = {
        "before the answer": b"",
        "in the status line": ok[:7],
        "after the status line": ok[:17],
        "in a header": ok[:25],
        "before the empty line": ok[:-2],
        "before the body": ok,
        "in the body": ok + b'{"organization": {"id"',
    }
    for stage, data in stages.items():
        for how, step in (("closed", None), ("reset", Reset()), ("silent", Silence())):
            steps = ([data] if data else []) + ([step] if step else [])
            yield raw(
                "broken",
                f"{how} {stage}",
                *steps,
                status=200 if stage in {"before the body", "in the body"} else None,
            )


ASKED = (
    *("0", "-1", "-0", "1e20", "1000000", "nan", "inf", "-inf", "0x10", "1e400", "9" * 400, "0.001", "1e-9"),
    *(
        "",
        " ",
        "soon",
        "1,2",
        "1 2",
        "1_0",
        "\u00b2",
        "Wed, 21 Oct 2099 07:28:00 GMT",
        "Wed, 21 Oct 1999 07:28:00 GMT",
    ),
)


def waits() -> Iterator[Fault]:
    """Retry-After and rate-limit headers of every kind, on the statuses that are repeated and on those that are not."""
    for value in ASKED:
        yield answer("wait", f"429 Retry-After {value[:30]!r}", 429, b"{}", f"Retry-After: {value}")
        yield answer("wait", f"503 Retry-After {value[:30]!r}", 503, b"", f"Retry-After: {value}")
        yield answer("wait", f"429 reset {value[:30]!r}", 429, b"", f"inin-ratelimit-reset: {value}")
    for status in (200, 204, 400, 401, 404, 500):
        for value in ("1e20", "nan", "1000000"):
            yield answer("wait", f"{status} Retry-After {value}", status, b"", f"Retry-After: {value}")
    for allowed, count, reset in itertools.product(
        ("0", "-5", "1e9", "x"), ("0", "9" * 30), ("86400", "-1", "nan")
    ):
        told = (
            f"inin-ratelimit-{n}: {v}" for n, v in (("allowed", allowed), ("count", count), ("reset", reset))
        )
        yield answer("wait", f"200 limit {allowed} {count[:3]} {reset}", 200, b"{}", *told)


TARGETS = (
    *(
        "",
        " ",
        "/",
        "//",
        "///",
        "?",
        "#",
        "?a=b",
        ".",
        "..",
        "../../..",
        "/\\evil.example",
        "%",
        "%zz",
        "/%00",
        "\t",
    ),
    *(
        "http:",
        "http:/",
        "http://",
        "http:///",
        "http://:80",
        "http://@",
        "http://[::1",
        "http://[x]/",
        "http://[::1]:1/",
    ),
    *(
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:-1/",
        "http://127.0.0.1:abc/",
        "http://127.0.0.1:1/",
        "http://127.0.0.1:1",
    ),
    *(
        "http://256.256.256.256:1/",
        "http://.:1/",
        "http://..:1/",
        "http://a..b:1/",
        "http://\xe4..b:1/",
        "http://xn--a:1/",
    ),
    *(
        "http://" + "a" * 300 + ":1/",
        "http://-:1/",
        "http://\x7f:1/",
        "http://us er:pass@127.0.0.1:1/",
        "//127.0.0.1:1/",
    ),
    *(
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://127.0.0.1:1/",
        "mailto:a@b",
        "gopher://a",
    ),
    *(
        "/" + "a" * 60_000,
        "https://127.0.0.1:1/",
        "HTTP://127.0.0.1:1/",
        "http://127.0.0.1:1\\@evil/",
        "\xff\xfe",
    ),
    *(
        "http://127.1:1/",
        "http://0x7f000001:1/",
        "http://2130706433:1/",
        "http://[::ffff:127.0.0.1]:1/",
        "localhost",
    ),
)


def redirects() -> Iterator[Fault]:
    """Redirects that lead nowhere, in circles, or to what is no address."""
    for target in TARGETS:
        yield answer("redirect", f"302 {target[:40]!r}", 302, b"", f"Location: {target}")
    for status, target in itertools.product(
        (301, 303, 307, 308), ("", "http://[::1", "http://", "?", "http://a:b/")
    ):
        yield answer("redirect", f"{status} {target!r}", status, b"", f"Location: {target}")
    yield raw(
        "redirect",
        "two targets",
        head(302, "Location: /a", "Location: http://b.invalid/", "Content-Length: 0"),
        status=302,
    )
    yield raw("redirect", "endless body", head(302, "Location: ?x"), Flood(b" " * 65536), status=302)
    yield raw("redirect", "dripping body", head(302, "Location: ?x"), Drip(b" "), status=302)
    yield raw(
        "redirect",
        "bomb",
        head(302, "Location: ?x", "Content-Encoding: gzip"),
        gzip.compress(b" " * 64 * MIB, 9, mtime=0),
        status=302,
    )


def errors() -> Iterator[Fault]:
    """Error answers whose ErrorBody is none, is huge, or is meant to harm whoever shows it."""
    odd: dict[str, object] = {
        "code 5": {"code": 5, "message": [], "contextId": {}},
        "all null": dict.fromkeys(("code", "message", "contextId", "messageParams", "details", "errors")),
        "message of 10 MB": {"code": "x", "message": "m" * 10**7},
        "code of 1 MB": {"code": "c" * 10**6, "message": "x"},
        "context of 1 MB": {"contextId": "c" * 10**6},
        "many permissions": {"message": " ".join(f"a{n}:b:c" for n in range(50_000))},
        "params are a list": {"messageParams": [1, 2]},
        "params are odd": {"messageParams": {"permissions": {"a": ["b:c:d"]}}},
        "status is text": {"status": "four hundred"},
        "escapes": {"code": "x", "message": "\x1b[2J\x1b]0;owned\x07\r\x08"},
        "html": {"code": "<script>alert(1)</script>", "message": "<img src=x onerror=alert(1)>"},
        "bidi": {"message": "\u202egnp.exe"},
        "surrogate": {"message": "\ud800"},
    }
    for status in (400, 401, 403, 404, 429, 500):
        for name, body in odd.items():
            if status in {400, 403} or "MB" not in name:
                yield answer("error", f"{status} {name}", status, json.dumps(body).encode())
    for status in (400, 403, 502):
        yield answer("error", f"{status} latin-1", status, '{"message": "\xe9"}'.encode("latin-1"))
        yield answer("error", f"{status} deep", status, b"[" * 100_000)
        yield answer("error", f"{status} 5000 digits", status, b'{"status": ' + b"9" * 5000 + b"}")
    oauth = {"error": "e" * 10**6, "error_description": "d" * 10**6}
    yield answer("error", "400 oauth of 1 MB", 400, json.dumps(oauth).encode())
    yield answer("error", "400 oauth odd", 400, json.dumps({"error": [], "error_description": {}}).encode())
    yield answer(
        "error", "401 oauth escapes", 401, json.dumps({"error": "\x1b[2J", "description": "\x07"}).encode()
    )
    for name, value in (
        ("60 kB", "c" * 60_000),
        ("control characters", "a\x1b[2Jb\x07\x00"),
        ("html", "<script>"),
        ("latin-1", "\xe9\xff"),
        ("secret", "%TOKEN%"),
    ):
        for status in (200, 400, 401, 503):
            body = LOGIN_PAGE if status == 200 else b"{}"
            yield answer(
                "error", f"{status} correlation id: {name}", status, body, f"ININ-Correlation-Id: {value}"
            )


def echoes() -> Iterator[Fault]:
    """The server says the caller's own secret back, wherever an error may quote it."""
    places = {
        "message": b'{"code": "x", "message": "bad token %TOKEN% here"}',
        "code": b'{"code": "%TOKEN%", "message": "x"}',
        "permission": b'{"message": "x:y:z %TOKEN%", "messageParams": {"permissions": "%TOKEN%"}}',
        "oauth": b'{"error": "invalid_client", "error_description": "no such secret %TOKEN%"}',
        "oauth error": b'{"error": "%TOKEN%", "description": "%TOKEN%"}',
        "page": b"<html>%TOKEN%</html>",
        "wrong type": b'{"organization": "%TOKEN%", "id": ["%TOKEN%"], "entities": "%TOKEN%", "grants": "%TOKEN%"}',
        "key": b'{"%TOKEN%": 5}',
    }
    for (place, body), status in itertools.product(places.items(), (200, 400, 401, 403)):
        yield answer("echo", f"{status} {place}", status, body)
    yield answer("echo", "reason", 400, b"", reason="%TOKEN%")
    yield answer("echo", "content type", 200, LOGIN_PAGE, content_type="text/%TOKEN%")
    yield answer("echo", "content type of an error", 500, LOGIN_PAGE, content_type="text/%TOKEN%")
    for target in (
        "/%TOKEN%",
        "http://127.0.0.1:1/%TOKEN%",
        "http://%TOKEN%@127.0.0.1:1/",
        "http://%TOKEN%/",
        "x:%TOKEN%",
    ):
        yield answer("echo", f"redirect to {target}", 302, b"", f"Location: {target}")
    yield raw("echo", "status line", b"HTTP/1.1 %TOKEN% OK\r\n\r\n")
    yield raw("echo", "no HTTP", b"%TOKEN%\r\n\r\n")
    yield raw("echo", "chunk size", head(200, "Transfer-Encoding: chunked") + b"%TOKEN%\r\n", status=200)


def all_faults() -> list[Fault]:
    """Every fault of every family, in an order that is always the same."""
    families: Iterable[Iterator[Fault]] = (
        statuses(),
        bodies(),
        fields(),
        framing(),
        encodings(),
        headers(),
        broken(),
        waits(),
        redirects(),
        errors(),
        echoes(),
    )
    return list(itertools.chain(*families))
