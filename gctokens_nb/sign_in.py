"""Sign a person in: in the browser of this machine, in a browser elsewhere, or with a SAML2 assertion."""

from __future__ import annotations

import functools
import getpass
import webbrowser
from collections.abc import Callable
from html import escape
from typing import Any

from gctokens_nb import credentials, oauth
from gctokens_nb.connection import Connection
from gctokens_nb.oauth import AccessToken, AuthorizationRequest, TokenKeeper
from gctokens_nb.redaction import Secret
from gctokens_nb.redirect import Listener
from gctokens_nb.regions import Region

__all__ = ["SignIn", "authenticate_with_saml2_bearer", "begin_sign_in", "sign_in_with_browser"]


class SignIn:
    """A sign-in that waits for a person: open `url` in any browser, then give `finish` the address it ends on.

    `begin_sign_in()` makes it. Good for one answer, within ten minutes.

    Attributes:
        url: str
            The login page to open.
        redirect_uri: str
            Where the browser ends. The page there need not exist: only its address is needed.

    """

    def __init__(self, request: AuthorizationRequest, client_secret: Secret | None) -> None:
        self.url = request.url
        self.redirect_uri = request.redirect_uri
        self._request = request
        self._client_secret = client_secret

    def finish(self, address: str | Secret | None = None) -> Connection:
        """Check the address that the browser ended on, and sign in with the code it carries.

        Args:
            address:
                The whole address. Without it, the link is printed and you are asked for the address, without echo, as it
                carries a code.

        Returns:
            Connection
                Renewed by its refresh token, where one came.

        Raises:
            LoginError:
                The address is wrong, stale, used before, or says that the person refused; or the code was not accepted.
                `error` tells which.
            TransportError:
                The login host gave no usable answer.
        """
        if address is None:
            print(f"Open this link, sign in, and copy the address the browser ends on:\n{self.url}")  # noqa: T201
            address = getpass.getpass("The address (not shown): ")
        address = Secret(address)
        return _signed_in(self._request, self._request.finish(address), self._client_secret)

    def answers(self, address: str | Secret) -> bool:
        """Tell whether an address belongs to this sign-in, without using it up."""
        return self._request.answers(Secret(address))

    def __repr__(self) -> str:
        return "<SignIn: open its url, then pass the address the browser ends on to finish()>"

    def _repr_html_(self) -> str:
        return (
            f'<a href="{escape(self.url)}" target="_blank" rel="noopener noreferrer">Open the login page</a>, sign in, '
            "then pass the address the browser ends on to <code>finish()</code>."
        )


def begin_sign_in(
    environment: str | Region,
    client_id: str,
    redirect_uri: str,
    *,
    client_secret: str | Secret | None = None,
    login_hint: str | None = None,
    org: str | None = None,
    provider: str | None = None,
    prompt: str | None = None,
) -> SignIn:
    """Begin to sign a person in where no redirect can reach the kernel: on Binder, JupyterHub, any remote kernel.

    Args:
        environment:
            The region, in any way `connect()` takes it.
        client_id:
            Of an OAuth client with the grant *Code Authorization* (or PKCE).
        redirect_uri:
            Must be registered with that client; nothing needs to answer there.
        client_secret:
            Of a confidential client. Without it the client is public, and PKCE (RFC 7636, S256) is used.
        login_hint, org, provider, prompt:
            Passed to the login page: who signs in, the organization and its identity provider; `prompt="login"` asks for
            the password even where the browser is signed in.

    Returns:
        SignIn
            Show it as a cell's last line, then call its `finish(address)`.
    """
    secret = Secret(client_secret) if client_secret else None
    return _begin(
        credentials.region_of(environment),
        client_id,
        redirect_uri,
        client_secret=secret,
        login_hint=login_hint,
        org=org,
        provider=provider,
        prompt=prompt,
    )


def _begin(
    region: Region, client_id: str, redirect_uri: str, *, client_secret: Secret | None, **hints: Any
) -> SignIn:
    request = AuthorizationRequest(region, client_id, redirect_uri, client_secret=client_secret, **hints)
    return SignIn(request, client_secret)


def sign_in_with_browser(
    environment: str | Region | None = None,
    client_id: str | None = None,
    redirect_uri: str | None = None,
    *,
    profile: str | None = None,
    client_secret: str | Secret | None = None,
    login_hint: str | None = None,
    org: str | None = None,
    provider: str | None = None,
    prompt: str | None = None,
    timeout_seconds: float = 300.0,
    open_url: Callable[[str], object] = webbrowser.open,
) -> Connection:
    """Sign a person in with the browser of this machine: opens the login page and catches the redirect on loopback.

    Args:
        environment, client_id, client_secret, login_hint, org, provider, prompt:
            As in `begin_sign_in()`. Region and client id that are left out are looked for as `connect()` does.
        profile:
            A profile of the `gc` command line, of its grant types 2 (implicit) and 3 (PKCE): names region, client id and
            redirect URI. The client must allow the code grant with PKCE.
        redirect_uri:
            An `http` address on this machine that is registered with the client, such as `http://localhost:8085/callback`.
            Without it, that of the profile, else `http://127.0.0.1:0/callback`.
            Port 0 takes a free one, for login hosts that allow any loopback port (RFC 8252 section 7.3). Only 127.0.0.1 is
            listened on, and only the answer that carries this sign-in's state is taken: whatever else calls is turned away.
        timeout_seconds:
            How long to wait for the person. Interrupting the kernel ends the wait too, and so does the `cancel` of
            `watch_waits()`.
        open_url:
            Called with the address of the login page.

    Raises:
        LoginError:
            Nobody signed in in time, or the sign-in was refused.
        ConfigurationError:
            The redirect URI is not on this machine, or its port is taken.
        CancelledError:
            The wait was cancelled.
    """
    secret = Secret(client_secret) if client_secret else None
    client_secret = None  # a traceback with locals shows no more than a mask
    region, client_id, registered = credentials.for_browser(environment, client_id, redirect_uri, profile)
    with Listener(registered or "http://127.0.0.1:0/callback") as listener:
        sign_in = _begin(
            region,
            client_id,
            listener.redirect_uri,
            client_secret=secret,
            login_hint=login_hint,
            org=org,
            provider=provider,
            prompt=prompt,
        )
        listener.expect(sign_in.answers)
        if open_url(sign_in.url) is False:  # webbrowser's way to say that there is none
            print(f"Open this link in a browser on this machine:\n{sign_in.url}")  # noqa: T201
        address = listener.wait(timeout_seconds)
    return sign_in.finish(address)


def authenticate_with_saml2_bearer(
    client_id: str,
    client_secret: str | Secret,
    org_name: str,
    assertion: str | Secret,
    environment: str | Region,
) -> Connection:
    """Sign in with a SAML2 assertion of the organization's identity provider (RFC 7522).

    Args:
        client_id, client_secret:
            Of an OAuth client with the grant *SAML2 Bearer*.
        org_name:
            The short name of the organization.
        assertion:
            The assertion, base64-encoded.
        environment:
            The region.

    Returns:
        Connection
            It is not renewed: an assertion is good once.

    Raises:
        LoginError, TransportError, UnknownRegionError, InsecureUrlError:
            As `connect()`.
    """
    client_secret, assertion = Secret(client_secret), Secret(assertion)
    region = credentials.region_of(environment)
    token = oauth.saml2_bearer(region, client_id, client_secret, org_name=org_name, assertion=assertion)
    return Connection(region, TokenKeeper(token), client_id=client_id)


def _signed_in(request: AuthorizationRequest, token: AccessToken, client_secret: Secret | None) -> Connection:
    renew = None
    if token.refresh_token is not None:
        renew = functools.partial(_refreshed, request.region, request.client_id, client_secret)
    return Connection(request.region, TokenKeeper(token, renew), client_id=request.client_id)


def _refreshed(
    region: Region, client_id: str, client_secret: Secret | None, used: AccessToken
) -> AccessToken:
    return oauth.refresh(region, client_id, used.refresh_token or Secret(""), client_secret=client_secret)
