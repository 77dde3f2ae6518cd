"""The login host of the sandbox: the token endpoint and the authorize page.

OAuth 2.0 (RFC 6749), PKCE (RFC 7636), loopback redirects (RFC 8252), SAML 2.0 bearer assertions (RFC 7522).
The signature of an assertion is not checked: the sandbox trusts whoever can reach it.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from gctokens_nb.sandbox.model import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    SAML2_BEARER,
    SandboxClient,
    SandboxUser,
)
from gctokens_nb.sandbox.wire import Request, Response, html_response, json_response
from gctokens_nb.sandbox.world import Grant, World

_SAML_GRANT = "urn:ietf:params:oauth:grant-type:saml2-bearer"
_ALLOWED_GRANTS = {
    CLIENT_CREDENTIALS: {"client_credentials"},
    AUTHORIZATION_CODE: {"authorization_code", "refresh_token"},
    SAML2_BEARER: {_SAML_GRANT},
}
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
_CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")
_LOOPBACK_HOSTS = {"127.0.0.1", "::1", "localhost"}
_SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
_PEOPLE_ON_PAGE = 20


class _OAuthError(Exception):
    def __init__(self, error: str, description: str, status: int = 400) -> None:
        self.error = error
        self.description = description
        self.status = status
        super().__init__(description)


class OAuthServer:
    """Answers requests to ``/oauth/token``, ``/token`` and ``/oauth/authorize``."""

    def __init__(self, world: World) -> None:
        self._world = world

    # Token endpoint

    def token(self, request: Request) -> Response:
        """POST: exchange a grant for tokens."""
        if request.method != "POST":
            return _oauth_failure(_OAuthError("invalid_request", "use POST", 405), {"Allow": "POST"})
        try:
            grant = self._exchange(request)
        except _OAuthError as error:
            headers = {"WWW-Authenticate": 'Basic realm="sandbox"'} if error.status == 401 else {}
            return _oauth_failure(error, headers)
        answer: dict[str, object] = {
            "access_token": self._world.issue_token(grant),
            "token_type": "bearer",
            "expires_in": int(self._world.token_lifetime_seconds),
        }
        if "refresh_token" in _ALLOWED_GRANTS[grant.client.grant]:
            answer["refresh_token"] = self._world.rotate_refresh_token(grant)
        return json_response(200, answer, {"Cache-Control": "no-store"})

    def _exchange(self, request: Request) -> Grant:
        form = read_form(request)
        client = self._authenticate(request, form)
        grant_type = _required(form, "grant_type")
        if not any(grant_type in allowed for allowed in _ALLOWED_GRANTS.values()):
            raise _OAuthError("unsupported_grant_type", f"unsupported grant type: {grant_type}")
        if grant_type not in _ALLOWED_GRANTS[client.grant]:
            raise _OAuthError("unauthorized_client", f"the client is not allowed to use {grant_type}")
        match grant_type:
            case "authorization_code":
                return self._exchange_code(client, form)
            case "refresh_token":
                return self._exchange_refresh_token(client, form)
            case "client_credentials":
                return self._world.start_grant(client, None)
            case _:
                return self._exchange_assertion(client, form)

    def _authenticate(self, request: Request, form: dict[str, str]) -> SandboxClient:
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            client_id, secret = _basic_credentials(authorization)
            client = self._world.clients.get(client_id)
            # A public client may say that it has no secret (RFC 6749, 2.3.1).
            expected = (client.client_secret if client else None) or ""
            # Compared even for an unknown client, so that the time taken tells nothing.
            if not hmac.compare_digest(expected.encode(), secret.encode()) or client is None:
                raise _OAuthError("invalid_client", "authentication failed", 401)
        else:
            client = self._world.clients.get(form.get("client_id", ""))
            if client is None or client.client_secret is not None:
                raise _OAuthError("invalid_client", "authentication failed", 401)
        if client.state != "active":
            raise _OAuthError("invalid_client", f"client is {client.state}", 401)
        return client

    def _exchange_code(self, client: SandboxClient, form: dict[str, str]) -> Grant:
        code = self._world.codes.get(_required(form, "code"))
        if code is None or code.client.client_id != client.client_id:
            raise _OAuthError("invalid_grant", "the authorization code is not valid")
        if code.grant is not None:
            self._world.revoke_grant(code.grant)  # RFC 6749, 4.1.2: somebody else may have used it
            raise _OAuthError("invalid_grant", "the authorization code has been used before")
        if self._world.now() >= code.expires_at:
            raise _OAuthError("invalid_grant", "the authorization code has expired")
        if _required(form, "redirect_uri") != code.redirect_uri:
            raise _OAuthError("invalid_grant", "redirect_uri is not the one the code was issued for")
        if code.challenge:
            verifier = _required(form, "code_verifier")
            digest = hashlib.sha256(verifier.encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(challenge, code.challenge):
                raise _OAuthError("invalid_grant", "code_verifier does not match the code_challenge")
        code.grant = self._world.start_grant(client, code.user)
        return code.grant

    def _exchange_refresh_token(self, client: SandboxClient, form: dict[str, str]) -> Grant:
        grant = self._world.refresh_tokens.get(_required(form, "refresh_token"))
        if grant is None or grant.client.client_id != client.client_id:
            raise _OAuthError("invalid_grant", "the refresh token is not valid")
        return grant

    def _exchange_assertion(self, client: SandboxClient, form: dict[str, str]) -> Grant:
        if _required(form, "orgName").casefold() != self._world.organization.name.casefold():
            raise _OAuthError("invalid_grant", "orgName names no organization that is known here")
        email = _asserted_name(_required(form, "assertion"), self._world.now())
        user = self.user(email)
        if user is None or user.state != "active":
            raise _OAuthError("invalid_grant", "the assertion names no active user")
        return self._world.start_grant(client, user)

    # Authorize page

    def authorize(self, request: Request) -> Response:
        """GET: the page that asks who signs in. POST: the answer of that page."""
        if request.method not in {"GET", "POST"}:
            return html_response(405, _page("Method not allowed", "<p>Open this page in a browser.</p>"))
        try:
            if request.method == "POST":
                form = read_form(request)
            else:
                form = {name: values[0] for name, values in request.query.items()}
            client, redirect_uri = self._redirect_target(form)
        except _OAuthError as error:  # nobody to send it to: an unchecked redirect_uri may be anybody's
            return html_response(
                400, _page("This sign-in cannot go on", f"<p>{escape(error.description)}</p>")
            )
        try:
            user = self._who_signs_in(request, client, form)
        except _OAuthError as error:
            answer = {"error": error.error, "error_description": error.description}
        else:
            if user is None:
                return self._sign_in_page(client, form)
            challenge = form.get("code_challenge", "")
            answer = {"code": self._world.issue_code(client, user, redirect_uri, challenge)}
        if "state" in form:
            answer["state"] = form["state"]
        separator = "&" if urlsplit(redirect_uri).query else "?"
        location = redirect_uri + separator + urlencode(answer)
        return Response(302, b"", {"Location": location, "Cache-Control": "no-store"})

    def _redirect_target(self, form: dict[str, str]) -> tuple[SandboxClient, str]:
        client = self._world.clients.get(form.get("client_id", ""))
        if client is None:
            raise _OAuthError("invalid_request", "client_id names no client that is known here.")
        redirect_uri = form.get("redirect_uri", "")
        if not any(_same_redirect(registered, redirect_uri) for registered in client.redirect_uris):
            raise _OAuthError("invalid_request", "redirect_uri is not registered for this client.")
        if client.state != "active":
            raise _OAuthError("invalid_request", f"The client is {client.state}.")
        return client, redirect_uri

    # Users

    def user(self, name: str) -> SandboxUser | None:
        """The user with this id or e-mail address."""
        positions = self._world.positions("email", name)
        return self._world.users[positions[0]] if positions else self._world.user_by_id(name)

    def _who_signs_in(
        self, request: Request, client: SandboxClient, form: dict[str, str]
    ) -> SandboxUser | None:
        _check_authorize(client, form)
        if form.get("decision") == "deny":
            raise _OAuthError("access_denied", "the user did not allow the sign-in")
        user = self.user(form.get("user" if request.method == "POST" else "login_hint", ""))
        if user and user.state != "active":
            raise _OAuthError("access_denied", f"the user is {user.state}")
        return user

    def _sign_in_page(self, client: SandboxClient, form: dict[str, str]) -> Response:
        kept = {name: value for name, value in form.items() if name not in {"decision", "user", "login_hint"}}
        hidden = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
            for name, value in kept.items()
        )
        people = [user for user in self._world.users if user.state == "active"][:_PEOPLE_ON_PAGE]
        options = "".join(
            f'<option value="{escape(user.email)}">{escape(user.name)} ({escape(user.email)})</option>'
            for user in people
        )
        organization = escape(self._world.organization.name)
        return html_response(
            200,
            _page(
                f"Sign in to {organization}",
                f"<p>The client <b>{escape(client.name)}</b> asks to act for you in {organization}. "
                "This is a sandbox: choose anyone, there is no password.</p>"
                f'<form method="post" action="authorize">{hidden}'
                f'<p><label for="user">Who signs in</label> <select id="user" name="user">{options}</select></p>'
                '<p><button type="submit" name="decision" value="allow">Sign in</button> '
                '<button type="submit" name="decision" value="deny">Deny</button></p></form>',
            ),
        )


def read_form(request: Request) -> dict[str, str]:
    """The fields of a form body, each of which may come once only."""
    try:
        fields = parse_qs(request.body.decode(), keep_blank_values=True)
    except ValueError:
        raise _OAuthError("invalid_request", "the body is not application/x-www-form-urlencoded") from None
    for name, values in fields.items():
        if len(values) > 1:
            raise _OAuthError("invalid_request", f"{name} is given more than once")
    return {name: values[0] for name, values in fields.items()}


def _required(form: dict[str, str], name: str) -> str:
    value = form.get(name)
    if not value:
        raise _OAuthError("invalid_request", f"{name} is missing")
    return value


def _basic_credentials(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        raw = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if scheme.lower() != "basic" or b":" not in raw:
        raise _OAuthError("invalid_client", "authentication failed", 401)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    client_id, _, secret = text.partition(":")
    return client_id, secret


def _oauth_failure(error: _OAuthError, headers: Mapping[str, str]) -> Response:
    body = {"error": error.error, "description": error.description, "error_description": error.description}
    return json_response(error.status, body, {"Cache-Control": "no-store", **headers})


def _check_authorize(client: SandboxClient, form: dict[str, str]) -> None:
    if form.get("response_type") != "code":
        raise _OAuthError("unsupported_response_type", "response_type must be code")
    challenge = form.get("code_challenge", "")
    if not challenge and client.client_secret is None:
        raise _OAuthError("invalid_request", "code_challenge is missing")
    if challenge and form.get("code_challenge_method") != "S256":
        raise _OAuthError("invalid_request", "code_challenge_method must be S256")
    if challenge and not _CHALLENGE.fullmatch(challenge):
        raise _OAuthError("invalid_request", "code_challenge is not a SHA-256 digest in base64url")


def _same_redirect(registered: str, given: str) -> bool:
    """Whether they are one address; on loopback, whatever the port (RFC 8252, 7.3)."""
    if not (given.isascii() and given.isprintable()) or " " in given:  # no URI, and not fit for a header
        return False
    if registered == given:
        return True
    try:
        one, other = urlsplit(registered), urlsplit(given)
        other.port  # noqa: B018 - raises for a port that is no number
    except ValueError:
        return False
    return one.hostname in _LOOPBACK_HOSTS and _without_port(one) == _without_port(other)


def _without_port(address: SplitResult) -> tuple[object, ...]:
    user_info = "@" in address.netloc
    return (
        address.scheme, address.hostname, address.path or "/", address.query, address.fragment, user_info
    )  # fmt: skip


def _asserted_name(assertion: str, now: float) -> str:
    """The NameID of a SAML 2.0 assertion in base64, in either alphabet, padded or not."""
    from xml.etree import ElementTree as ET  # noqa: PLC0415 - rarely needed

    malformed = _OAuthError("invalid_grant", "the assertion is malformed")

    class NoDoctype(ET.TreeBuilder):
        def doctype(self, *_: object) -> None:
            raise malformed

    plain = "".join(assertion.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        xml = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        root = ET.fromstring(xml, ET.XMLParser(target=NoDoctype()))  # noqa: S314 - entities need a DTD
    except (binascii.Error, ValueError, LookupError, ET.ParseError):  # LookupError: an unknown encoding
        raise malformed from None
    found = root if root.tag == f"{_SAML}Assertion" else root.find(f".//{_SAML}Assertion")
    name_id = None if found is None else found.find(f"{_SAML}Subject/{_SAML}NameID")
    if found is None or name_id is None or not (name_id.text or "").strip():
        raise malformed
    conditions = found.find(f"{_SAML}Conditions")
    if conditions is not None:
        try:
            starts = _saml_time(conditions.get("NotBefore"))
            ends = _saml_time(conditions.get("NotOnOrAfter"))
        except ValueError:
            raise malformed from None
        if (starts is not None and now < starts) or (ends is not None and now >= ends):
            raise _OAuthError("invalid_grant", "the assertion is not valid at this time")
    return (name_id.text or "").strip()


def _saml_time(text: str | None) -> float | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _page(title: str, content: str) -> str:
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><style>'
        ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;"
        "padding:0 1rem}select,button{font:inherit;padding:.3rem .8rem;max-width:100%}</style></head>"
        f"<body><h1>{title}</h1>{content}</body></html>"
    )
