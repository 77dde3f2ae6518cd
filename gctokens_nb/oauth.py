"""OAuth 2.0 at Genesys Cloud's login host: each grant gets an access token; a keeper renews it.

Nothing here prints, stores or asks. Grants and their form fields follow RFC 6749, RFC 7636 (PKCE), RFC 7522 (SAML2
bearer) and, where Genesys Cloud differs, its Python SDK (PureCloudPlatformClientV2).
"""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import requests

from gctokens_nb.errors import (
    CORRELATION_ID_HEADER,
    CancelledError,
    CredentialsError,
    GCTokensError,
    InvalidAnswerError,
    LoginError,
    SignedOutError,
    readable,
    wire_facts,
)
from gctokens_nb.failures import REPEAT
from gctokens_nb.redaction import MaskedDict, Secret, redact, sealed
from gctokens_nb.regions import Region
from gctokens_nb.transport import TIMEOUTS, Seconds, Timeouts, configure, exchange
from gctokens_nb.waits import cancellation

__all__ = [
    "AccessToken",
    "AuthorizationRequest",
    "TokenKeeper",
    "authorization_code",
    "client_credentials",
    "pasted",
    "refresh",
    "saml2_bearer",
]

logger = logging.getLogger("gctokens_nb")
SAML2_BEARER = "urn:ietf:params:oauth:grant-type:saml2-bearer"
LONGEST_LIFETIME_SECONDS = 10.0 * 365 * 86400  # anything beyond is no lifetime
_GOOD_ONCE = {  # what must not be sent again where no answer came
    "authorization_code": "the one-time code",
    "refresh_token": "the refresh token",
    SAML2_BEARER: "the assertion",
}
RENEW_BEFORE_SECONDS = 10.0  # a token this close to its end may die on the way


_Form = dict[str, str | Secret]


class AccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """An access token and what is known of it. Its repr holds no secret.

    Attributes:
        secret: Secret
            The token itself; `.value` for the one place that sends it.
        grant: str
            How it was got, such as `client_credentials`; `pasted` for one that a person gave.
        issued_at: datetime (UTC)
        expires_in_seconds: float or None
            Lifetime from `issued_at`, as the server said; None where it is not known.
        refresh_token: Secret or None

    """

    secret: Secret
    grant: str
    issued_at: datetime
    expires_in_seconds: float | None = None
    refresh_token: Secret | None = None
    _deadline: float | None = None  # on the monotonic clock: a wrong wall clock must not matter

    @property
    def value(self) -> str:
        """The token as it goes into the Authorization header."""
        return self.secret.reveal()

    @property
    def fingerprint(self) -> str:
        """8 hex digits of the token's SHA-256, to tell tokens apart."""
        return self.secret.fingerprint

    @property
    def expires_at(self) -> datetime | None:
        """When the token ends (UTC), by this machine's clock; None where it is not known."""
        if self.expires_in_seconds is None:
            return None
        return self.issued_at + timedelta(seconds=self.expires_in_seconds)

    @property
    def expired(self) -> bool:
        """Whether the token has reached its end, or is about to, as far as is known."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def __repr__(self) -> str:
        end = self.expires_at
        until = f"{end:%Y-%m-%d %H:%M:%S} UTC" if end else "an unknown time"
        return f"<AccessToken {self.fingerprint} by {self.grant}, until {until}>"


def client_credentials(
    region: Region,
    client_id: str,
    client_secret: Secret,
    *,
    timeout_seconds: Seconds = TIMEOUTS,
) -> AccessToken:
    """Sign in as a machine (RFC 6749 section 4.4): `POST <login>/oauth/token`, id and secret as Basic.

    Raises `LoginError`, or a `TransportError`.
    """
    form: _Form = {"grant_type": "client_credentials"}
    return _request_token(region, form, client_id, client_secret, timeout_seconds)


def authorization_code(
    region: Region,
    client_id: str,
    code: Secret,
    redirect_uri: str,
    *,
    client_secret: Secret | None = None,
    code_verifier: Secret | None = None,
    timeout_seconds: Seconds = TIMEOUTS,
) -> AccessToken:
    """Trade a code for a token (RFC 6749 section 4.1.3), with `code_verifier` where the request carried PKCE.

    A client without a secret is public: its id goes into the form and no Authorization header is sent.
    Raises `LoginError`, or a `TransportError`.
    """
    form: _Form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if code_verifier is not None:
        form["code_verifier"] = code_verifier
    return _request_token(region, form, client_id, client_secret, timeout_seconds)


def refresh(
    region: Region,
    client_id: str,
    refresh_token: Secret,
    *,
    client_secret: Secret | None = None,
    timeout_seconds: Seconds = TIMEOUTS,
) -> AccessToken:
    """Trade a refresh token for a new access token (RFC 6749 section 6).

    Where the answer holds no new refresh token, the old one is kept.
    Raises `LoginError`, or a `TransportError`.
    """
    form: _Form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    token = _request_token(region, form, client_id, client_secret, timeout_seconds)
    return token if token.refresh_token else msgspec.structs.replace(token, refresh_token=refresh_token)


def saml2_bearer(
    region: Region,
    client_id: str,
    client_secret: Secret,
    *,
    org_name: str,
    assertion: Secret,
    timeout_seconds: Seconds = TIMEOUTS,
) -> AccessToken:
    """Trade a SAML2 assertion (base64) for a token (RFC 7522), in the organization `org_name`.

    Raises `LoginError`, or a `TransportError`.
    """
    form: _Form = {"grant_type": SAML2_BEARER, "orgName": org_name, "assertion": assertion}
    return _request_token(region, form, client_id, client_secret, timeout_seconds)


def pasted(value: str | Secret) -> AccessToken:
    """Take an access token that a person copied from somewhere; a leading `Bearer` and white space are dropped.

    Raises `CredentialsError` where it cannot be a token; the message never repeats it.
    """
    value = Secret(_bare_token(Secret(value).reveal()))  # a traceback with locals shows a mask
    if not value:
        raise CredentialsError(
            "The access token is empty or holds characters that no token has.",
            "Copy it again, in one piece and without line breaks.",
        )
    return AccessToken(secret=value, grant="pasted", issued_at=datetime.now(UTC))


def _bare_token(text: str) -> str:
    words = text.strip().strip("\"'").split(" ")
    if words[0].lower() == "bearer":
        words = [word for word in words[1:] if word]
    token = words[0] if len(words) == 1 else ""
    return token if token.isascii() and token.isprintable() else ""


class AuthorizationRequest:
    """One sign-in of a person in a browser: the address to open, and the check of the address that comes back.

    The `state` (RFC 6749 section 10.12) is compared in constant time, and the request is good for one answer within
    `lifetime_seconds`. With PKCE (RFC 7636, S256) the verifier stays here; without it the client needs a secret.

    Args:
        region, client_id, redirect_uri:
            The redirect URI must be registered with the OAuth client.
        client_secret:
            Of a confidential client; None for a public one, which then uses PKCE.
        login_hint, org, provider, prompt:
            Passed on to the login page where given: `org` and `provider` name the organization and its identity provider,
            `prompt="login"` asks for the password even where the browser is signed in.
        lifetime_seconds:
            How long the address that comes back is accepted.
    """

    def __init__(
        self,
        region: Region,
        client_id: str,
        redirect_uri: str,
        *,
        client_secret: Secret | None = None,
        login_hint: str | None = None,
        org: str | None = None,
        provider: str | None = None,
        prompt: str | None = None,
        lifetime_seconds: float = 600.0,
    ) -> None:
        self.region = region
        self.client_id = client_id
        self.redirect_uri = redirect_uri
        self._client_secret = client_secret
        self._state = Secret(secrets.token_urlsafe(32))
        self._verifier = Secret(secrets.token_urlsafe(64)) if client_secret is None else None
        self._deadline = time.monotonic() + lifetime_seconds
        self._used = False
        query = {
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "state": self._state.reveal(),
        }
        if self._verifier is not None:
            digest = hashlib.sha256(self._verifier.reveal().encode()).digest()
            query["code_challenge"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            query["code_challenge_method"] = "S256"
        extra = {"login_hint": login_hint, "org": org, "provider": provider, "prompt": prompt}
        query |= {name: value for name, value in extra.items() if value}
        self.url = f"{region.login_url}/oauth/authorize?{urlencode(query)}"

    def __repr__(self) -> str:
        return f"<AuthorizationRequest for client {self.client_id} at {self.region}>"

    def answers(self, address: Secret) -> bool:
        """Tell whether an address belongs to this sign-in, by its state; compared in constant time."""
        state = Secret(_query(address).get("state", ""))
        return state == self._state

    def finish(self, address: str | Secret) -> AccessToken:
        """Take the address on which the browser ended, check it, and trade its code for a token.

        Args:
            address:
                The whole address, such as `http://127.0.0.1:8085/callback?code=…&state=…`, or its query.

        Raises:
            LoginError:
                The address is wrong, stale, used before, or says that the person refused (`error` tells which:
                `invalid_request`, `invalid_state`, `expired`, `access_denied`, …), or the code was not accepted.
            TransportError:
                The login host gave no usable answer.
        """
        address = Secret(address)  # it carries a code: a traceback with locals shows a mask
        fields = _query(address)
        code = Secret(fields.get("code", ""))
        if not self.answers(address):
            why = "carries no state" if "state" not in fields else "belongs to another sign-in"
            raise LoginError(
                f"The address was refused: it {why}.",
                "Open the link again and copy the whole address the browser ends on, from this sign-in.",
                error="invalid_state",
            )
        if self._used:
            raise LoginError(
                "The address was refused: this sign-in has been answered already.",
                "Start a new sign-in: each one is good for one answer.",
                error="replayed",
            )
        if time.monotonic() > self._deadline:
            raise LoginError(
                "The address was refused: this sign-in was begun too long ago.",
                "Start a new sign-in.",
                error="expired",
            )
        self._used = True
        if "error" in fields:
            error = readable(redact(fields["error"], (code, self._state)), 100)
            refused = error == "access_denied"
            description = readable(redact(fields.get("error_description", ""), (code, self._state)), 500)
            detail = f": {description}" if description else ""
            raise LoginError(
                ("The sign-in was refused in the browser" if refused else f"The login page said {error!r}")
                + f"{detail}.",
                "Start again and allow the access."
                if refused
                else "Check the OAuth client and its redirect URIs, then start a new sign-in.",
                error=error,
                description=description,
            )
        if not code:
            raise LoginError(
                "The address was refused: it carries no code.",
                "Start a new sign-in and copy the whole address the browser ends on.",
                error="invalid_request",
            )
        return authorization_code(
            self.region,
            self.client_id,
            code,
            self.redirect_uri,
            client_secret=self._client_secret,
            code_verifier=self._verifier,
        )


class TokenKeeper:
    """Holds the token of one connection and renews it: one thread renews while the others wait for its outcome.

    Args:
        token:
            The token to begin with.
        renew:
            Called with the token that ran out, returns a new one; None where the token cannot be renewed.
    """

    def __init__(self, token: AccessToken, renew: Callable[[AccessToken], AccessToken] | None = None) -> None:
        self._token: AccessToken | None = token
        self._renew = renew
        self.revoked = False
        self._prepare()

    def _prepare(self) -> None:
        self._lock = threading.Lock()  # of the token and the means to renew it
        self._renewing = threading.Lock()  # held by the thread that asks for a new token
        self._failures = 0
        self._failure: GCTokensError | None = None  # the last one

    def __getstate__(self) -> dict[str, Any]:
        return {"_token": self._token, "_renew": self._renew, "revoked": self.revoked}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    @property
    def renewable(self) -> bool:
        """Whether a new token can be had without asking anybody."""
        return self._renew is not None

    def current(self, *, renew: bool = True) -> AccessToken:
        """Return the token to send: a renewed one where it is known to be over and `renew` allows.

        Raises `SignedOutError` after `forget()`.
        """
        token = self._token
        if token is None:
            raise SignedOutError("This connection has signed out and holds no token.", "Sign in again.")
        return self.renew(token) if renew and self._renew is not None and token.expired else token

    def renew(self, used: AccessToken) -> AccessToken:
        """Return the token that replaces `used`, asking for it at most once however many threads call.

        Raises what the renewal raised, in each thread that waited for it. Where the thread that asked was cancelled or
        interrupted, nothing came of it for the others: the next one asks anew.
        """
        failures = self._failures
        self._let_others_renew()
        with self._renewing:  # released whatever interrupts the thread, so that the next one gets its turn
            token, renew = self._token, self._renew
            if token is None or renew is None:
                raise SignedOutError("This connection's token cannot be renewed.", "Sign in again.")
            if token is not used:
                return token
            if self._failure is not None and self._failures != failures:
                raise copy.copy(self._failure)
            try:
                fresh = renew(used)
            except CancelledError:  # of this thread: the next one may ask
                raise
            except GCTokensError as error:
                self._failure = copy.copy(error)  # without its traceback, which each thread has of its own
                self._failures += 1
                raise
            with self._lock:
                if self._token is None:
                    raise SignedOutError("This connection has signed out meanwhile.", "Sign in again.")
                self._token = fresh
            logger.info("renewed the access token by %s: %s", fresh.grant, fresh.fingerprint)
            return fresh

    def _let_others_renew(self) -> None:
        """Wait while another thread renews, in a way that an interrupt and the thread's own `cancel` can end at once."""
        cancel = cancellation() or threading.Event()
        while self._renewing.locked():
            if cancel.wait(0.02):
                raise CancelledError(
                    "Waiting for a new access token was cancelled; nothing was sent.",
                    "Repeat it when you are ready.",
                )

    def retire(self) -> None:
        """Never renew again: the token was revoked on purpose, and no other shall take its place."""
        with self._lock:
            self._renew, self.revoked = None, True

    def forget(self) -> None:
        """Drop the token and the means to renew it."""
        with self._lock:
            self._token = self._renew = None


# Secrets stay wrapped in everything that a frame of these functions holds when it raises: a traceback may show locals.
def _request_token(
    region: Region,
    form: _Form,
    client_id: str,
    client_secret: Secret | None,
    timeout_seconds: Seconds = TIMEOUTS,
) -> AccessToken:
    work = functools.partial(_ask_for_token, region, form, client_id, client_secret, timeout_seconds)
    return sealed(work)  # an interrupt must not show the answer either


def _ask_for_token(
    region: Region,
    form: _Form,
    client_id: str,
    client_secret: Secret | None,
    timeout_seconds: Seconds,
) -> AccessToken:
    url = f"{region.login_url}/oauth/token"
    basic = None if client_secret is None else _basic(client_id, client_secret)
    used_up = _GOOD_ONCE.get(str(form["grant_type"]))
    advice = f"Start a new sign-in: {used_up} may be used up." if used_up else REPEAT
    hide = client_secret, basic, *(value for value in form.values() if isinstance(value, Secret))
    with requests.Session() as http:
        configure(http, url, region.proxy)
        answer = exchange(
            http,
            http.prepare_request(requests.Request("POST", url, headers={"Accept": "application/json"})),
            Timeouts.of(timeout_seconds),
            sign=functools.partial(_fill_in, form, client_id, basic),
            hide=hide,
            advice=advice,
        )  # it follows no redirect: a 307 would carry the secrets to another host
    return _read_token(answer, str(form["grant_type"]), region, client_id, hide)


def _basic(client_id: str, client_secret: Secret) -> Secret:
    # UTF-8, as the id and secret may hold any character; requests' own Basic stops at latin-1.
    try:
        return Secret(base64.b64encode(f"{client_id}:{client_secret.reveal()}".encode()).decode())
    except UnicodeEncodeError:
        raise CredentialsError(
            "The client id or the secret holds characters that cannot be sent.", "Copy both again."
        ) from None


def _fill_in(form: _Form, client_id: str, basic: Secret | None, request: requests.PreparedRequest) -> None:
    data = {name: value.reveal() if isinstance(value, Secret) else value for name, value in form.items()}
    if basic is None:
        data["client_id"] = client_id
    else:
        request.headers["Authorization"] = f"Basic {basic.reveal()}"
    request.prepare_body(data, None)


def _query(address: Secret) -> MaskedDict:
    """Return the query of an address, without what is given more than once: it could be read in two ways."""
    text = address.reveal().strip()
    query = text.partition("?")[2].partition("#")[0] if "?" in text else text
    try:
        fields = MaskedDict(parse_qs(query, max_num_fields=50))
    except ValueError:
        return MaskedDict()
    return MaskedDict({name: values[0] for name, values in fields.items() if len(values) == 1})


def _said(answer: requests.Response) -> MaskedDict:
    try:
        fields = msgspec.json.decode(answer.content)
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: no UTF-8
        return MaskedDict()
    return MaskedDict(fields) if isinstance(fields, dict) else MaskedDict()


def _read_token(
    answer: requests.Response,
    grant: str,
    region: Region,
    client_id: str,
    hide: tuple[Secret | None, ...],
) -> AccessToken:
    said = _said(answer)
    # Some servers send an empty "error" with success.
    if not answer.ok or answer.is_redirect or said.get("error"):
        raise _login_error(answer, said, region, client_id, hide)
    secret = _secret(said.get("access_token"))
    if secret is None:
        correlation_id = readable(answer.headers.get(CORRELATION_ID_HEADER, ""), 100)
        raise InvalidAnswerError(
            f"{urlsplit(region.login_url).hostname} answered the sign-in without a token that can be used.",
            "Check the region, the proxy and the network's log-in page.",
            wire=wire_facts(
                "POST",
                urlsplit(f"{region.login_url}/oauth/token").path,
                answer.status_code,
                correlation_id=correlation_id,
            ),
            method="POST",
            url=f"{region.login_url}/oauth/token",
            status=answer.status_code,
            correlation_id=correlation_id,
        )
    lifetime = _lifetime(said.get("expires_in"))
    token = AccessToken(
        secret=secret,
        grant="saml2_bearer" if grant == SAML2_BEARER else grant,
        issued_at=datetime.now(UTC),
        expires_in_seconds=lifetime,
        refresh_token=_secret(said.get("refresh_token")),
        _deadline=None
        if lifetime is None
        else time.monotonic() + max(lifetime - RENEW_BEFORE_SECONDS, lifetime / 2),
    )
    logger.info("signed in at %s by %s: token %s", region, token.grant, token.fingerprint)
    return token


def _secret(value: object) -> Secret | None:
    """Return a token that a server sent; None for what could not be sent in a header, and would be shown by its error."""
    usable = isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
    return Secret(str(value)) if usable and value else None


def _lifetime(value: object) -> float | None:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < LONGEST_LIFETIME_SECONDS else None


def _login_error(
    answer: requests.Response,
    said: Mapping[str, Any],
    region: Region,
    client_id: str,
    hide: tuple[Secret | None, ...],
) -> LoginError:
    status = answer.status_code
    correlation_id = readable(redact(answer.headers.get(CORRELATION_ID_HEADER, ""), hide), 100)
    error = readable(redact(str(said.get("error") or ""), hide), 100)
    description = readable(
        redact(str(said.get("error_description") or said.get("description") or ""), hide), 500
    )
    reason = ": ".join(part for part in (error, description) if part)
    step = {
        "invalid_client": f"Check the client id and the secret, that the client is active, and that it belongs to {region}: "
        "an OAuth client exists in one region only.",
        "invalid_grant": "The code, refresh token or assertion is used up, expired, revoked or meant for another client: "
        "start the sign-in again.",
        "unauthorized_client": "This OAuth client is of another grant type: use one made for this way of signing in.",
        "unsupported_grant_type": "This OAuth client is of another grant type: use one made for this way of signing in.",
    }.get(error, f"Check the client and the region ({region}).")
    if status == 429:
        step = "Too many sign-ins: wait a minute, then try again."
    elif status >= 500:
        step = "The login host has trouble: try again in a few minutes."
    elif 300 <= status < 400:
        step = "The login host does not redirect here: check the region, the proxy and the network's log-in page."
    said_it = f" {reason}" if reason else ""
    return LoginError(
        f"{urlsplit(region.login_url).hostname} refused the sign-in of client {client_id}.",
        step,
        wire=wire_facts(
            "POST",
            urlsplit(f"{region.login_url}/oauth/token").path,
            status,
            said=said_it,
            correlation_id=correlation_id,
        ),
        error=error,
        description=description,
        status=status,
        correlation_id=correlation_id,
    )
