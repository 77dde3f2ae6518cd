"""What both hosts need of requests: the environment's settings, read once, and its exceptions in our own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.connection
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from gctokens_nb.errors import (
    CancelledError,
    CertificateError,
    ConfigurationError,
    ConnectionDroppedError,
    HostUnreachableError,
    TimedOutError,
    TransportError,
)
from gctokens_nb.redaction import MaskedDict
from gctokens_nb.regions import is_loopback_url
from gctokens_nb.waits import Cancel, cancellation

TIMEOUTS = (10.0, 30.0)  # seconds to connect, and for each read
POOL_SIZE = 64  # connections kept per host: as many workers may share one session


class _Cancellable:
    """A connection that can be broken off by the `Cancel` of `watch_waits` while it waits for an answer."""

    def getresponse(self) -> Any:
        cancel = cancellation()
        if isinstance(cancel, Cancel):
            cancel.attend(self.sock)  # type: ignore[attr-defined]
        return super().getresponse()  # type: ignore[misc]


class _HTTPConnection(_Cancellable, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_Cancellable, urllib3.connection.HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """Remembers the connection pool used last, as requests works out anew which it is at every call."""

    _last: tuple[object, Any] = (None, None)  # replaced as a whole, so that threads need no lock

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        url = request.url or ""
        wanted = url[: url.find("/", len("https://"))], verify, cert, tuple((proxies or {}).items())
        known: object
        pool: Any
        known, pool = self._last
        if known != wanted:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            pool.ConnectionCls = _HTTPSConnection if pool.scheme == "https" else _HTTPConnection
            self._last = wanted, pool
        return pool

    def close(self) -> None:
        super().close()
        self._last = None, None


def configure(session: requests.Session, url: str) -> None:
    """Give `session` the proxies and the CA bundle that the environment names for `url`, and let it look no more.

    requests reads them, and `~/.netrc`, at every single call: a quarter of its cost, and a `.netrc` entry would
    replace our Authorization header. A server on this machine is never reached through a proxy.
    """
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies = MaskedDict({} if is_loopback_url(url) else found["proxies"])  # may hold a password
    session.verify = found["verify"]
    if isinstance(session.verify, str) and not Path(session.verify).exists():
        raise ConfigurationError(
            f"The environment names a CA bundle that does not exist: {session.verify}.",
            "Mend REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, or unset it.",
        )
    session.trust_env = False
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(pool_maxsize=POOL_SIZE))


def transport_error(
    error: requests.RequestException, *, method: str, url: str, attempts: int = 1
) -> TransportError | CancelledError:
    """Turn what requests raised into the error of ours that says it."""
    parts = urlsplit(url)
    cancel = cancellation()
    if isinstance(cancel, Cancel) and cancel.is_set():
        return CancelledError(
            f"{method} {parts.path} was cancelled while it was under way: whether it took effect is unknown.",
            "Look again before you repeat it.",
        )
    host, where = parts.hostname or url, f"{method} {parts.path}"
    facts = {"method": method, "url": url.split("?", maxsplit=1)[0], "attempts": attempts}
    sent = f" It was sent {attempts} times." if attempts > 1 else ""
    if isinstance(error, requests.exceptions.SSLError):
        return CertificateError(
            f"The TLS certificate of {host} could not be verified, so nothing was sent to it.",
            "Behind a company proxy, set REQUESTS_CA_BUNDLE to its CA file; otherwise check the host name and the clock.",
            **facts,
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return HostUnreachableError(
            f"The proxy on the way to {host} could not be used.",
            "Check HTTPS_PROXY and NO_PROXY.",
            **facts,
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return TimedOutError(
            f"{host} did not accept a connection in time.{sent}",
            "Check the network, the region and the proxy settings.",
            **facts,
        )
    if isinstance(error, requests.exceptions.Timeout):
        return TimedOutError(
            f"{host} did not answer {where} in time.{sent} Whether it took effect is unknown.",
            "Repeat it: all calls of the Tokens API may be repeated without harm.",
            **facts,
        )
    if _never_connected(error):
        return HostUnreachableError(
            f"No connection to {host} could be made: no network, an unknown name, or nobody listening.",
            "Check the network, the region and the proxy settings.",
            **facts,
        )
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return ConnectionDroppedError(
            f"The connection to {host} broke before {where} was fully answered.{sent} "
            "Whether it took effect is unknown.",
            "Repeat it: all calls of the Tokens API may be repeated without harm.",
            **facts,
        )
    return TransportError(
        f"{where} to {host} failed: {type(error).__name__}.{sent}",
        "Check the address and the network.",
        **facts,
    )


def _never_connected(error: BaseException) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError)
