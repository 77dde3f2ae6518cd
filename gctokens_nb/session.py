"""A `requests.Session` for one Genesys Cloud organization: it signs, waits, retries, and raises typed errors."""

from __future__ import annotations

import functools
import logging
import math
import random
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
import requests

from gctokens_nb.errors import (
    CORRELATION_ID_HEADER,
    ApiError,
    CancelledError,
    ConfigurationError,
    ConnectionDroppedError,
    GCTokensError,
    InvalidAnswerError,
    TransportError,
    api_error,
    readable,
)
from gctokens_nb.failures import LOOK_FIRST, REPEAT
from gctokens_nb.oauth import AccessToken, TokenKeeper
from gctokens_nb.redaction import MaskedDict, Secret, redact
from gctokens_nb.regions import Region
from gctokens_nb.transport import (
    BODY_LIMIT_BYTES,
    KEPT_BYTES,
    TIMEOUTS,
    Origin,
    Seconds,
    Timeouts,
    configure,
    exchange,
    normalized,
)
from gctokens_nb.waits import OnWait, Wait, watcher

__all__ = ["RetryPolicy", "Session"]

logger = logging.getLogger("gctokens_nb")
_RETRIED_METHODS = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}  # idempotent by RFC 9110
_RETRIED_STATUSES = {429, 502, 503, 504}
_LEAST_WAIT_SECONDS = 0.001  # where neither the server nor the policy asks for any: never a busy loop


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often and how patiently a request is repeated.

    Attributes:
        attempts: int
            How often a request is sent at the most; 1 for never again.
        backoff_seconds: float
            The first wait where the server names none; doubled each time, with jitter: half of it to all of it.
            A server that names a shorter wait gets this one.
        longest_wait_seconds: float
            No wait is longer. A server that asks for a longer one gets none: its own error is raised and says so.

    Raises:
        ConfigurationError:
            A value that is no such number.

    """

    attempts: int = 4
    backoff_seconds: float = 0.5
    longest_wait_seconds: float = 90.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ConfigurationError(
                f"RetryPolicy(attempts={self.attempts!r}) is not possible.", "Give a whole number from 1 on."
            )
        for name in ("backoff_seconds", "longest_wait_seconds"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 <= value <= 86400:
                raise ConfigurationError(
                    f"RetryPolicy({name}={value!r}) is not possible.",
                    "Give seconds, from 0 to 86400 (a day).",
                )


DEFAULT_RETRY = RetryPolicy()


class Session(requests.Session):
    """The signed session of a connection: `session.get("/api/v2/routing/queues").json()`.

    A `requests.Session` but for this:

    - A path that begins with `/` is one of the platform API; the access token goes to that host only, and not along
      with a redirect to another.
    - Without `timeout=`, 10 s to connect, 30 s for each read and 120 s in all for each attempt. `timeout=` takes what
      requests takes, and `(connect, read, total)`.
    - A body of more than `body_limit_bytes` after decompression is refused, unless it is streamed.
    - GET, HEAD, PUT and DELETE are repeated on 429, 502, 503, 504 and dropped connections, as `retry` says; POST and
      PATCH never. `on_wait` and `watch_waits` tell of each wait, the log `gctokens_nb` too.
    - A token that has run out is renewed once a request, where it can be.
    - Status 400 and above raises an `ApiError`, no usable answer a `TransportError`, an address that cannot be one a
      `ConfigurationError`: there is no need for `raise_for_status()`.
    - The token is in no request or response that you get to see: it is put into a copy, just before that is sent.
    - Proxies and the CA bundle are read from the environment once, when the connection is made.

    Args:
        region:
            Where the platform API is.
        keeper:
            Holds the token.
        timeout_seconds:
            `(connect, read)` or `(connect, read, total)`; with two, the total is four times the read timeout.
        retry:
            How requests are repeated.
        on_wait:
            Called with each `Wait`.
        body_limit_bytes:
            How large an answer's body may be after decompression.
    """

    def __init__(
        self,
        region: Region,
        keeper: TokenKeeper,
        *,
        timeout_seconds: Seconds = TIMEOUTS,
        retry: RetryPolicy = DEFAULT_RETRY,
        on_wait: OnWait | None = None,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        super().__init__()
        configure(self, region.api_url, region.proxy)
        self.headers.update({"Accept": "application/json", "Content-Type": "application/json"})
        self.timeout_seconds = timeout_seconds
        self.retry = retry
        self.on_wait = on_wait
        self.body_limit_bytes = body_limit_bytes
        self._region = region
        self._api_origin = Origin.of(normalized(region.api_url))
        self._keeper = keeper

    @property
    def timeout_seconds(self) -> Timeouts:
        """The timeouts of a request that names none."""
        return self._timeouts

    @timeout_seconds.setter
    def timeout_seconds(self, given: Seconds) -> None:
        self._timeouts = Timeouts.of(given)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As in requests, with a path made into an address of the platform API."""
        url = request.url if isinstance(request.url, str) else ""
        if url.startswith("/") and not url.startswith("//"):
            request.url = self._region.api_url + url
        try:
            return super().prepare_request(request)
        except (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
            problem = "has no scheme"
        except (requests.exceptions.InvalidURL, UnicodeError):
            problem = "cannot be read"
        except (requests.RequestException, ValueError, TypeError) as raised:
            problem = f"cannot be prepared ({type(raised).__name__})"
        if problem.startswith("cannot be prepared"):
            raise ConfigurationError(
                f"The request {problem}; nothing was sent.", "Check its headers and its body."
            )
        path = url.lstrip("/").partition("?")[0][:60]
        raise ConfigurationError(
            f"The address {problem}; nothing was sent.",
            f"For a path of the platform API, write it with one leading slash: session.get('/{path}').",
        )

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
        # Straight to the wire: cookies, hooks and redirects, which these calls need none of, cost as much as the rest.
        prepared = requests.PreparedRequest()
        prepared.method = method
        prepared.headers = self.headers.copy()  # type: ignore[attr-defined]
        prepared.prepare_url(self._region.api_url + path, params)
        prepared.prepare_body(None, None, json)
        response = self._transmit(prepared, self._timeouts, attempts=attempts, renew=renew)
        if response.status_code >= 300:
            raise self._api_error(response, 1, None)
        if "html" in response.headers.get("Content-Type", ""):
            raise invalid_answer(response, "an HTML page")
        return response

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As in requests, with signing, waits, retries and typed errors. `requests` itself calls this for redirects."""
        kwargs["proxies"] = MaskedDict(kwargs.get("proxies", self.proxies) or {})
        kwargs["timeout"] = Timeouts.of(kwargs.get("timeout"), self._timeouts)
        try:
            return super().send(request, **kwargs)
        except requests.RequestException as raised:  # of a redirect; all else is typed before it gets here
            failure = f"{request.method} {_path(request)} failed: {type(raised).__name__}."
        raise TransportError(
            failure,
            "The host redirects in circles or to no address: check the address.",
            method=request.method,
            url=(request.url or "").split("?")[0],
        )

    def get_adapter(self, url: str) -> Any:
        """Return the road that every request takes: `requests` asks for it at each one, each redirect included."""
        del url
        return _Road(self)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """As in requests, without looking at the environment, and with proxies that show no password."""
        del url
        return {
            "proxies": MaskedDict({**self.proxies, **(proxies or {})}),
            "stream": self.stream if stream is None else stream,
            "verify": self.verify if verify is None else verify,
            "cert": self.cert if cert is None else cert,
        }

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """As in requests, but a full address in the form in which it is sent, or a typed error."""
        try:
            target = super().get_redirect_target(resp)
            return None if target is None else normalized(urljoin(resp.url, target))
        except ValueError:  # a ConfigurationError too
            pass
        raise TransportError(
            f"{resp.request.method} {_path(resp.request)} was redirected to an address that cannot be read.",
            "Check the region, the proxy and the network's log-in page.",
            method=resp.request.method,
            url=(resp.request.url or "").split("?")[0],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # What is sent and how, no socket and no callback.
        settings = {
            "timeout_seconds": self.timeout_seconds,
            "retry": self.retry,
            "body_limit_bytes": self.body_limit_bytes,
        }
        kept = {name: getattr(self, name) for name in _COPIED}
        return _restored, (self._region, self._keeper, settings, kept)

    def _transmit(
        self,
        request: requests.PreparedRequest,
        timeouts: Timeouts,
        *,
        attempts: int | None = None,
        renew: bool = True,
        stream: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        """Sign and send until there is an answer, an error, or no patience left."""
        method = request.method or "GET"
        repeatable = method in _RETRIED_METHODS and (
            request.body is None or isinstance(request.body, (str, bytes))
        )
        most = attempts or (self.retry.attempts if repeatable else 1)
        advice = REPEAT if repeatable or most > 1 else LOOK_FIRST
        ours = Origin.of(request.url or "") == self._api_origin
        attempt, renewed = 0, False
        watching = watcher()
        while True:
            if watching.cancel is not None and watching.cancel.is_set():
                raise CancelledError(
                    f"{method} {_path(request)} was cancelled before it was sent.",
                    "Repeat it when you are ready.",
                )
            attempt += 1
            token, just_renewed = self._token(renew=renew) if ours else (None, False)
            renewed = renewed or just_renewed
            started = time.monotonic()
            failure: GCTokensError
            try:
                response = exchange(
                    self,
                    request,
                    timeouts,
                    sign=functools.partial(_sign, token.secret) if token else None,
                    hide=(token.secret, token.refresh_token) if token else (),
                    stream=stream,
                    body_limit=self.body_limit_bytes,
                    advice=advice,
                    attempts=attempt,
                    options=options,
                )
            except ConnectionDroppedError as dropped:
                failure = dropped
                seconds = self._pause(attempt, most)
                reason = "the connection was dropped"
            else:
                _log(method, request, response, started)
                if watching.on_answer is not None:
                    watching.on_answer(response)
                status = response.status_code
                if status < 400:
                    return response
                if status == 401 and token and renew and not renewed and self._keeper.renewable:
                    renewed = True
                    self._keeper.renew(token)
                    continue
                error = self._api_error(response, attempt, token)
                failure, asked = error, error.retry_after_seconds
                seconds = self._pause(attempt, most, asked) if status in _RETRIED_STATUSES else None
                reason = "the rate limit" if status == 429 else f"status {status}"
            if seconds is None:
                raise failure
            self._wait(Wait(seconds, reason, method, _path(request), attempt), failure)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Drop the authorization on every redirect: `send` signs again where the target is the API host."""
        del response
        prepared_request.headers.pop("Authorization", None)

    def _token(self, *, renew: bool) -> tuple[AccessToken, bool]:
        """The token to send, and whether it is a new one."""
        held = self._keeper.current(renew=False)
        token = self._keeper.current(renew=renew)
        return token, token is not held

    def _pause(self, attempt: int, most: int, asked: float | None = None) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        longest = self.retry.longest_wait_seconds
        if attempt >= most or (asked is not None and asked > longest):
            return None
        backoff = min(
            longest, max(self.retry.backoff_seconds, _LEAST_WAIT_SECONDS) * 2 ** min(attempt - 1, 30)
        )
        # Jitter, on top of what the server asks too, so that many clients do not return in the same instant.
        pause = random.uniform(backoff / 2, backoff)  # noqa: S311 - jitter is no secret
        if asked is not None:
            pause = max(pause, asked + random.uniform(0, 0.1))  # noqa: S311
        return min(longest, pause)

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

    def _api_error(self, response: requests.Response, attempts: int, token: AccessToken | None) -> ApiError:
        secrets = (token.secret, token.refresh_token) if token else ()
        error = api_error(
            status=response.status_code,
            headers=response.headers,
            body=response.content,
            method=response.request.method or "",
            path=_path(response.request),
            attempts=attempts,
            hide=functools.partial(redact, secrets=secrets),
        )
        asked, longest = error.retry_after_seconds, self.retry.longest_wait_seconds
        if asked is not None and asked > longest:
            error.next_step = (
                f"The server asks for a wait of {asked:g} s, longer than longest_wait_seconds={longest:g} of the "
                f"RetryPolicy, so it was not repeated. {error.next_step}"
            )
        return error


class _Road:
    """What `requests` takes for the adapter of a session of ours."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def send(
        self, request: requests.PreparedRequest, *, timeout: Any = None, stream: bool = False, **options: Any
    ) -> requests.Response:
        timeouts = Timeouts.of(timeout, self._session.timeout_seconds)
        return self._session._transmit(request, timeouts, stream=stream, options=options)  # noqa: SLF001 - a part of it


_COPIED = ("headers", "cookies", "params", "hooks", "cert", "max_redirects", "stream")


def _restored(region: Region, keeper: TokenKeeper, settings: dict[str, Any], kept: dict[str, Any]) -> Session:
    session = Session(region, keeper, **settings)
    session.__dict__.update(kept)
    return session


def _sign(secret: Secret, outgoing: requests.PreparedRequest) -> None:
    outgoing.headers["Authorization"] = f"Bearer {secret.reveal()}"


def _path(request: requests.PreparedRequest) -> str:
    return readable(urlsplit(request.url or "").path, 200)


_EMPTY_LENGTHS = {"", "0", "2", "4"}  # of no body, `{}` and `null`


def is_empty(response: requests.Response) -> bool:
    """Tell whether the answer is nothing: no body, or `{}` or `null`, as some calls of the service send."""
    if response.status_code == 206 or not 200 <= response.status_code < 300:
        return False
    if response.request.method == "HEAD":
        kind = response.headers.get("Content-Type", "")
        length = response.headers.get("Content-Length", "0")
        return (not kind or "json" in kind) and length.strip() in _EMPTY_LENGTHS
    if not response.content:
        # Something that decompresses to nothing is not nothing.
        return (
            response.headers.get("Content-Length", "0") == "0" or "Content-Encoding" not in response.headers
        )
    return response.content.strip() in {b"{}", b"null"}


def invalid_answer(response: requests.Response, found: str) -> InvalidAnswerError:
    """Make the error of a success status whose body is not the call's answer: `found` says what it is instead."""
    correlation_id = readable(response.headers.get(CORRELATION_ID_HEADER, ""), 100)
    again = "repeat it" if response.request.method in {"GET", "HEAD"} else "look whether it took effect"
    return InvalidAnswerError(
        f"{response.request.method} {_path(response.request)} was answered with {response.status_code}, but the body is "
        f"{found}: this is not taken for success.",
        f"Check the region, the proxy and the network's log-in page, then {again}.",
        wire=f"Correlation id for Genesys support: {correlation_id}." if correlation_id else "",
        method=response.request.method or "",
        url=(response.request.url or "").split("?")[0],
        status=response.status_code,
        body=response.content[:KEPT_BYTES],
        correlation_id=correlation_id,
    )


def _log(method: str, request: requests.PreparedRequest, response: requests.Response, started: float) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "%s %s -> %d in %.0f ms, correlation id %s",
            method,
            _path(request),
            response.status_code,
            (time.monotonic() - started) * 1000,
            response.headers.get(CORRELATION_ID_HEADER, "none"),
        )
