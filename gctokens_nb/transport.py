"""The one road to the wire, for calls and for sign-in: every exchange has an end, a size, and a typed error.

`exchange` sends one request and reads its answer. It is the only function that handles a request with its secrets in
it, and nothing that it raises holds on to that request.
"""

from __future__ import annotations

import base64
import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import urllib3.exceptions

from gctokens_nb.errors import ConfigurationError
from gctokens_nb.failures import LOOK_FIRST, no_address, transport_error
from gctokens_nb.redaction import MaskedDict, Secret, redact, sealed
from gctokens_nb.regions import is_loopback_url
from gctokens_nb.waits import Cancel, cancellation
from gctokens_nb.wire import HEADER_BYTES, POOL_SIZE, Adapter, Attempt, under_way

__all__ = [
    "BODY_LIMIT_BYTES",
    "POOL_SIZE",
    "TIMEOUTS",
    "Origin",
    "Seconds",
    "Timeouts",
    "configure",
    "exchange",
]

BODY_LIMIT_BYTES = 16 * 1024 * 1024  # of an answer's body after decompression, unless set
KEPT_BYTES = 4096  # of a body that goes into an error
_PIECE_BYTES = 64 * 1024

Seconds = tuple[float, float] | tuple[float, float, float]


class Timeouts(NamedTuple):
    """How long one attempt may take, in seconds: to connect, for each read, and in total."""

    connect: float
    read: float
    total: float

    @classmethod
    def of(cls, given: Any, default: Timeouts | None = None) -> Timeouts:
        """Take a number, `(connect, read)` or `(connect, read, total)`; with one or two, total is four times read.

        None, alone or in a tuple, stands for the value of `default`. Raises `ConfigurationError` for anything else.
        """
        if isinstance(given, Timeouts):
            return given
        if given is None and default is not None:
            return default
        values = list(given) if isinstance(given, (tuple, list)) else [given, given]
        if default is not None:
            values = [
                known if value is None else value for value, known in zip(values, default, strict=False)
            ]
        if len(values) not in {2, 3} or not all(_is_duration(value) for value in values):
            raise ConfigurationError(
                f"A timeout of {given!r} is not possible.",
                "Give seconds as (connect, read) or (connect, read, total), all greater than 0.",
            )
        connect, read = float(values[0]), float(values[1])
        return cls(connect, read, float(values[2]) if len(values) == 3 else 4 * read)


TIMEOUTS = Timeouts(10.0, 30.0, 120.0)


def _is_duration(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 < value <= 1e9  # beyond, the clocks of sockets and locks overflow
        and math.isfinite(value)
    )


class Origin(NamedTuple):
    """The place that an address leads to. Two addresses belong together if their origins are equal."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Parse the origin of an address as requests prepared it. Raises `ConfigurationError` where it has none."""
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        except ValueError:
            raise no_address("The address cannot be read: its host or port is malformed.") from None
        if scheme not in _PORTS or not host or not host.isascii() or "\\" in parts.netloc:
            raise no_address("The address is not one of the form https://host/path.")
        return cls(scheme, host, _PORTS[scheme] if port is None else port)


_PORTS = {"https": 443, "http": 80}


def normalized(url: str) -> str:
    """Return an absolute address in the form that requests sends: IDNA host, quoted path."""
    prepared = requests.PreparedRequest()
    try:
        prepared.prepare_url(url, None)
    except (requests.RequestException, ValueError):
        raise no_address("The address cannot be read.") from None
    return prepared.url or ""


def configure(session: requests.Session, url: str, proxy: Secret | None = None) -> None:
    """Give `session` the proxies and the CA bundle that the environment names for `url`, and let it look no more.

    requests reads them, and `~/.netrc`, at every single call: a quarter of its cost, and a `.netrc` entry would
    replace our Authorization header. A server on this machine is never reached through a proxy. `proxy`, where given,
    takes the place of those that the environment names.
    """
    found = requests.Session.merge_environment_settings(session, url, {}, None, None, None)
    credentials: dict[str, Secret] = {}
    proxies = MaskedDict(
        {scheme: proxy.reveal() for scheme in ("http", "https")} if proxy else found["proxies"]
    )
    if is_loopback_url(url):
        proxies.clear()
    session.proxies = MaskedDict({key: _without_user(proxy, credentials) for key, proxy in proxies.items()})
    session.verify = found["verify"]
    if isinstance(session.verify, str) and not Path(session.verify).exists():
        raise ConfigurationError(
            f"The environment names a CA bundle that does not exist: {session.verify}.",
            "Correct REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, or unset it.",
        )
    session.trust_env = False
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter(credentials))


def _without_user(proxy: str, credentials: dict[str, Secret]) -> str:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.username is None or parts.scheme.startswith("socks"):  # SOCKS takes them from the address only
        return proxy
    netloc = parts.netloc.rpartition("@")[2]
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    credentials[netloc] = Secret(f"Basic {base64.b64encode(user).decode()}")
    return urlunsplit(parts._replace(netloc=netloc))


def exchange(
    http: requests.Session,
    prepared: requests.PreparedRequest,
    timeouts: Timeouts,
    *,
    sign: Callable[[requests.PreparedRequest], None] | None = None,
    hide: Sequence[Secret | None] = (),
    stream: bool = False,
    body_limit: int = BODY_LIMIT_BYTES,
    advice: str = LOOK_FIRST,
    attempts: int = 1,
    options: Mapping[str, Any] | None = None,
) -> requests.Response:
    """Send one request, once, and read its answer.

    Args:
        http:
            Whose adapters, proxies and certificates to use.
        prepared:
            The request without its secrets. It is what errors and the response refer to.
        timeouts:
            For this attempt; the total includes reading the body, also of a streamed one.
        sign:
            Puts the secrets into the copy that is sent. Nobody else sees that copy.
        hide:
            Masked in the headers of the answer, which errors quote and redirects follow.
        stream:
            Leave the body of a successful answer unread and of any size.
        body_limit:
            How large the body may be after decompression, in bytes.
        advice:
            What to do where the outcome is unknown.
        attempts:
            How often the request has been sent, this time included; for errors.
        options:
            `verify`, `cert` and `proxies` in place of those of `http`.

    Returns:
        requests.Response
            Of any status.

    Raises:
        TransportError, CancelledError, ConfigurationError:
            Each without the frames that handled the request with its secrets.
    """
    work = functools.partial(
        _exchange,
        http,
        prepared,
        timeouts,
        sign,
        hide,
        stream,
        body_limit,
        advice,
        attempts,
        MaskedDict(options or {}),
    )
    return sealed(work)


def _exchange(
    http: requests.Session,
    prepared: requests.PreparedRequest,
    timeouts: Timeouts,
    sign: Callable[[requests.PreparedRequest], None] | None,
    hide: Sequence[Secret | None],
    stream: bool,
    body_limit: int,
    advice: str,
    attempts: int,
    options: MaskedDict,
) -> requests.Response:
    # On the wire a body may be longer than what it decodes to, by the frames of its chunks, but not without end.
    attempt = Attempt(timeouts.read, timeouts.total, None if stream else 2 * body_limit + HEADER_BYTES)
    cancel = cancellation()
    token = under_way.set(attempt)
    response: requests.Response | None = None
    try:
        outgoing = copy.copy(prepared)
        outgoing.headers = prepared.headers.copy()
        if sign is not None:
            sign(outgoing)
        # Not http.get_adapter: the one of our session leads here.
        adapter = requests.Session.get_adapter(http, outgoing.url or "")
        response = adapter.send(
            outgoing,
            stream=True,
            timeout=(min(timeouts.connect, timeouts.total), min(timeouts.read, timeouts.total)),
            verify=True if (verify := options.get("verify", http.verify)) is None else verify,
            cert=options.get("cert", http.cert),
            proxies=options.get("proxies", http.proxies),
        )
        response.request = prepared
        for name, value in response.headers.items():
            if (masked := redact(value, hide)) != value:
                response.headers[name] = masked
        if not stream or response.status_code >= 300:
            _read_body(response, attempt, body_limit)
        else:
            response.__class__ = StreamedResponse
    except Exception as raised:  # noqa: BLE001 - whatever the libraries raise on hostile input
        if response is not None:
            response.close()
        raise transport_error(
            raised, prepared, attempt, response=response, attempts=attempts, advice=advice
        ) from None
    except BaseException:  # interrupted: the connection is in the middle of an answer
        if response is not None:
            response.close()
        raise
    finally:
        under_way.reset(token)
        if isinstance(cancel, Cancel):
            cancel.attend(None)  # from here on its socket is another's to use
    return response


class StreamedResponse(requests.Response):
    """A response that is read while it comes, and whose failure to come is a `TransportError`."""

    def iter_content(self, chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[Any]:
        """As in requests."""
        pieces = super().iter_content(chunk_size, decode_unicode)
        while True:
            try:
                yield next(pieces)
            except StopIteration:
                return
            except Exception as raised:  # noqa: BLE001 - whatever the libraries raise on hostile input
                failure = transport_error(raised, self.request, Attempt(0, 0, None), response=self)
            else:
                continue
            self.close()
            raise failure


def _read_body(response: requests.Response, attempt: Attempt, limit: int) -> None:
    """Read the body now. One that breaks off in an error answer must not hide the status."""
    try:
        body = b"".join(_pieces(response.raw, attempt, limit))
    except Exception:
        if response.status_code < 300:
            raise
        response.close()
        body = b""
    response._content = body  # noqa: SLF001 - requests has no other way to give a response a body that was read in bounds
    response._content_consumed = True  # type: ignore[attr-defined] # noqa: SLF001


def _pieces(raw: Any, attempt: Attempt, limit: int) -> Iterator[bytes]:
    # In pieces, as urllib3 bounds what it decompresses at a time by what it is asked for.
    size = 0
    while piece := raw.read(_PIECE_BYTES, decode_content=True):
        size += len(piece)
        if size > limit:
            attempt.too_large = "body"
            raise ValueError("the body is too large")
        yield piece
    # urllib3 does not ask whether what it decompressed had come to its end.
    packed = getattr(getattr(raw, "_decoder", None), "_obj", None)
    if packed is not None and not packed.eof and raw.tell():
        raise urllib3.exceptions.DecodeError("the compressed body is cut short")
