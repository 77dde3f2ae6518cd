"""A `requests.Session` for one Genesys Cloud organization: it signs, waits, retries, and raises typed errors."""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests

from gctokens_nb.errors import (
    CORRELATION_ID_HEADER,
    CancelledError,
    ConfigurationError,
    ConnectionDroppedError,
    GCTokensError,
    InvalidAnswerError,
    api_error,
)
from gctokens_nb.oauth import AccessToken, TokenKeeper
from gctokens_nb.redaction import MaskedDict, redact
from gctokens_nb.regions import Region
from gctokens_nb.transport import (
    TIMEOUTS,
    configure,
    transport_error,
)
from gctokens_nb.waits import OnWait, Wait, under_way, watcher

__all__ = ["RetryPolicy", "Session"]

logger = logging.getLogger("gctokens_nb")
_RETRIED_METHODS = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}  # idempotent by RFC 9110
_RETRIED_STATUSES = {429, 502, 503, 504}


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often and how patiently a request is repeated.

    Attributes:
        attempts: int
            How often a request is sent at the most; 1 for never again.
        backoff_seconds: float
            The first wait where the server names none; doubled each time, with full jitter.
        longest_wait_seconds: float
            A server that asks for a longer wait than this gets none: its own error is raised.

    """

    attempts: int = 4
    backoff_seconds: float = 0.5
    longest_wait_seconds: float = 90.0


DEFAULT_RETRY = RetryPolicy()


class Session(requests.Session):
    """The signed session of a connection: `session.get("/api/v2/routing/queues").json()`.

    A `requests.Session` but for this:

    - A path that begins with `/` is one of the platform API; the access token goes to that host only, and not along
      with a redirect to another.
    - Without `timeout=`, 10 s to connect and 30 s for each read.
    - GET, HEAD, PUT and DELETE are repeated on 429, 502, 503, 504 and dropped connections, as `retry` says; POST and
      PATCH never. `on_wait` and `watch_waits` tell of each wait, the log `gctokens_nb` too.
    - A token that has run out is renewed once a request, where it can be.
    - Status 400 and above raises an `ApiError`, no usable answer a `TransportError`: there is no need for
      `raise_for_status()`.
    - Proxies and the CA bundle are read from the environment once, when the connection is made.

    Args:
        region:
            Where the platform API is.
        keeper:
            Holds the token.
        timeout_seconds:
            To connect, and for each read.
        retry:
            How requests are repeated.
        on_wait:
            Called with each `Wait`.
    """

    def __init__(
        self,
        region: Region,
        keeper: TokenKeeper,
        *,
        timeout_seconds: tuple[float, float] = TIMEOUTS,
        retry: RetryPolicy = DEFAULT_RETRY,
        on_wait: OnWait | None = None,
    ) -> None:
        super().__init__()
        configure(self, region.api_url)
        self.headers.update({"Accept": "application/json", "Content-Type": "application/json"})
        self.timeout_seconds = timeout_seconds
        self.retry = retry
        self.on_wait = on_wait
        self._api_url = region.api_url
        self._api_origin = _origin(region.api_url)
        self._keeper = keeper
        self._prepared: dict[str, tuple[dict[str, str | bytes], requests.PreparedRequest]] = {}

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As in requests, with a path made into an address of the platform API."""
        if request.url is not None and request.url.startswith("/") and not request.url.startswith("//"):
            request.url = self._api_url + request.url
        return super().prepare_request(request)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        attempts: int | None = None,
        renew: bool = True,
    ) -> requests.Response:
        """Send one request to the platform API and take no redirect for an answer.

        Args:
            method, path, params, json:
                The request.
            attempts:
                Overrides `retry.attempts`, for any method; 1 sends it once.
            renew:
                Whether a token that has run out may be replaced.

        Returns:
            requests.Response
                Of status 2xx, its body read and no HTML page.
        """
        if params is None and json is None:
            # The calls that people repeat: prepared once a method, as that is a third of the cost, then only addressed.
            # `headers` are the user's to change at any time.
            headers = dict(self.headers)
            known = self._prepared.get(method)
            if known is None or known[0] != headers:
                known = self._prepared[method] = headers, self.prepare_request(requests.Request(method, "/"))
            prepared = known[1].copy()
            prepared.prepare_url(self._api_url + path, None)
        else:
            prepared = self.prepare_request(requests.Request(method, path, params=params, json=json))
        # Straight to the adapter: cookies, hooks and redirects, which this needs none of, cost as much as the rest.
        transmit = functools.partial(
            self.get_adapter(prepared.url or "").send,
            prepared,
            stream=True,
            timeout=self.timeout_seconds,
            verify=True if self.verify is None else self.verify,
            cert=self.cert,
            proxies=self.proxies,
        )
        response = self._exchange(prepared, transmit, attempts=attempts, renew=renew)
        if response.status_code >= 300:
            raise self._api_error(response, prepared, 1, None)
        if "html" in response.headers.get("Content-Type", ""):
            raise invalid_answer(response, "an HTML page")
        return response

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As in requests, with signing, waits, retries and typed errors. `requests` itself calls this for redirects."""
        stream: bool = kwargs.pop("stream", False)
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout_seconds
        if "proxies" in kwargs:
            kwargs["proxies"] = MaskedDict(
                kwargs["proxies"] or {}
            )  # a traceback with locals shows no password
        transmit = functools.partial(super().send, request, stream=True, **kwargs)
        return self._exchange(request, transmit, stream=stream)

    def _exchange(
        self,
        request: requests.PreparedRequest,
        transmit: Callable[[], requests.Response],
        *,
        attempts: int | None = None,
        renew: bool = True,
        stream: bool = False,
    ) -> requests.Response:
        """Sign and transmit until there is an answer, an error, or no patience left."""
        method, url = request.method or "GET", request.url or ""
        repeatable = method in _RETRIED_METHODS and (
            request.body is None or isinstance(request.body, (str, bytes))
        )
        most = attempts or (self.retry.attempts if repeatable else 1)
        ours = _origin(url) == self._api_origin
        attempt, renewed = 0, False
        watching = watcher()
        while True:
            if watching.cancel is not None and watching.cancel.is_set():
                raise CancelledError(
                    f"{method} {urlsplit(url).path} was cancelled before it was sent.",
                    "Repeat it when you are ready.",
                )
            attempt += 1
            token, just_renewed = self._sign(request, renew=renew) if ours else (None, False)
            renewed = renewed or just_renewed
            started = time.monotonic()
            try:
                with under_way():
                    response = transmit()
                    if not stream:
                        _read_body(response)
            except requests.RequestException as raised:
                failure: GCTokensError = transport_error(raised, method=method, url=url, attempts=attempt)
                seconds = self._pause(attempt, most) if isinstance(failure, ConnectionDroppedError) else None
                reason = "the connection was dropped"
            else:
                _log(method, url, response, started)
                if watching.on_answer is not None:
                    watching.on_answer(response)
                status = response.status_code
                if status < 400:
                    return response
                _read_body(response)
                if status == 401 and token and renew and not renewed and self._keeper.renewable:
                    renewed = True
                    self._keeper.renew(token)
                    continue
                error = self._api_error(response, request, attempt, token)
                failure = error
                seconds = (
                    self._pause(attempt, most, error.retry_after_seconds)
                    if status in _RETRIED_STATUSES
                    else None
                )
                reason = "the rate limit" if status == 429 else f"status {status}"
            if seconds is None:
                raise failure from None
            self._wait(Wait(seconds, reason, method, urlsplit(url).path, attempt), failure)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Drop the authorization on every redirect: `send` signs again where the target is the API host."""
        del response
        prepared_request.headers.pop("Authorization", None)

    def _sign(self, request: requests.PreparedRequest, *, renew: bool) -> tuple[AccessToken, bool]:
        """The token that was put into the request, and whether it is a new one."""
        held = self._keeper.current(renew=False)
        token = self._keeper.current(renew=renew)
        request.headers["Authorization"] = f"Bearer {token.value}"
        return token, token is not held

    def _pause(self, attempt: int, most: int, asked: float | None = None) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        if attempt >= most or (asked is not None and asked > self.retry.longest_wait_seconds):
            return None
        # Jitter on top of what the server asks, so that many clients do not return in the same instant.
        if asked is not None:
            return asked + random.uniform(0, 0.1)  # noqa: S311 - jitter is no secret
        return random.uniform(0, self.retry.backoff_seconds * 2 ** (attempt - 1))  # noqa: S311

    def _wait(self, wait: Wait, failure: GCTokensError) -> None:
        watching = watcher()
        logger.warning("%s", wait)
        for told in (self.on_wait, watching.on_wait):
            if told is not None:
                told(wait)
        if (watching.cancel or threading.Event()).wait(wait.seconds):
            raise CancelledError(
                f"{wait.method} {wait.path} was cancelled after {wait.attempt} attempt(s). The last one failed: {failure}",
                "Repeat it when you are ready.",
            ) from None

    def _api_error(
        self,
        response: requests.Response,
        request: requests.PreparedRequest,
        attempts: int,
        token: AccessToken | None,
    ) -> Any:
        secrets = (token.secret, token.refresh_token) if token else ()
        return api_error(
            status=response.status_code,
            headers=response.headers,
            body=response.content,
            method=request.method or "",
            path=urlsplit(request.url or "").path,
            attempts=attempts,
            hide=lambda text: redact(text, secrets),
        )


def invalid_answer(response: requests.Response, found: str) -> InvalidAnswerError:
    """Make the error of a success status whose body is not the call's answer: `found` says what it is instead."""
    method, url = response.request.method or "", response.request.url or ""
    correlation_id = response.headers.get(CORRELATION_ID_HEADER, "")
    quote = f" Correlation id for Genesys support: {correlation_id}." if correlation_id else ""
    return InvalidAnswerError(
        f"{method} {urlsplit(url).path} was answered with {response.status_code}, but the body is {found}: "
        "this is not taken for success.",
        f"Check the region, the proxy and the network's log-in page, then repeat it.{quote}",
        method=method,
        url=url.split("?")[0],
        status=response.status_code,
        body=response.content,
        correlation_id=correlation_id,
    )


def _read_body(response: requests.Response) -> None:
    """Read the body now. One that breaks off in an error answer must not hide the status."""
    try:
        _ = response.content
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        if response.status_code < 400:
            raise
        response._content = b""  # noqa: SLF001 - requests offers no other way to say that nothing more comes


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError("The address has a port that is no number.", "Check the address.") from error
    return parts.scheme, parts.hostname, port or {"https": 443, "http": 80}.get(parts.scheme)


def _log(method: str, url: str, response: requests.Response, started: float) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "%s %s -> %d in %.0f ms, correlation id %s",
            method,
            urlsplit(url).path,
            response.status_code,
            (time.monotonic() - started) * 1000,
            response.headers.get(CORRELATION_ID_HEADER, "none"),
        )
