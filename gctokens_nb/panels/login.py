"""The panel that signs in: region, way, client and secret; then who one is signed in as."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets

from gctokens_nb import credentials, regions
from gctokens_nb.connection import Connection, connect, connect_sandbox
from gctokens_nb.errors import (
    CancelledError,
    ConfigurationError,
    GCTokensError,
    SignedOutError,
    UnauthorizedError,
    UnknownRegionError,
)
from gctokens_nb.panels.base import Panel
from gctokens_nb.panels.elements import Countdown
from gctokens_nb.panels.markup import fields_html
from gctokens_nb.panels.secret_form import SecretForm
from gctokens_nb.redaction import Secret
from gctokens_nb.regions import Region
from gctokens_nb.sign_in import (
    SignIn,
    authenticate_with_saml2_bearer,
    begin_sign_in,
    sign_in_with_browser,
)

__all__ = ["LoginPanel", "region_code"]

_SANDBOX, _ADDRESS = "sandbox", "address"  # what the region chooser offers beside regions
_WAYS = {
    "client_credentials": "Client credentials: a machine, no person",
    "browser": "In the browser, when Python runs on this computer",
    "browser_elsewhere": "In the browser, when Python runs elsewhere (Binder, JupyterHub)",
    "access_token": "Paste an access token",
    "saml2_bearer": "SAML2 bearer assertion",
}
_SECRETS = ("client_secret", "assertion", "access_token")
_IN_BROWSER = ["browser", "browser_elsewhere"]
_Account = list[tuple[str, str]]


class LoginPanel(Panel):
    """Sign in, see as whom, sign out. Secrets are never part of the panel's state (see `SecretForm`).

    Each way to sign in does what one public call does, which *Copy as code* shows: `connect`, `connect_sandbox`,
    `sign_in_with_browser`, `begin_sign_in`, `authenticate_with_saml2_bearer`.

    Args:
        environment:
            The region to begin with, in any way `connect()` takes it, or `"sandbox"` for a look-alike on this machine. What is
            not given is prefilled from where `connect()` would find it; secrets are not.
        client_id:
            Of the OAuth client.
        way:
            `client_credentials`, `browser` (the redirect is caught on this machine), `browser_elsewhere` (the address the
            browser ends on is pasted), `access_token` or `saml2_bearer`.

    Attributes:
        connection: Connection
            What the sign-in gave. A new sign-in replaces it once it has succeeded; `SignedOutError` while there is none.
        form: SecretForm
        sign_out_button, again_button, back_button: ipywidgets.Button

    """

    def __init__(
        self,
        environment: str | Region | None = None,
        *,
        client_id: str | None = None,
        way: str = "client_credentials",
    ) -> None:
        super().__init__("Sign in to Genesys Cloud")
        if way not in _WAYS:
            raise ConfigurationError(f"{way!r} is no way to sign in.", f"Choose one of {', '.join(_WAYS)}.")
        self._connection: Connection | None = None
        self._confidential = False  # the last sign-in sent a client secret
        self._begun: SignIn | None = None  # waits for the address the browser ends on
        self._on_change: list[Callable[[Connection | None], None]] = []
        self._regions = {region.name: region for region in regions.ALL}
        try:
            found = credentials.prefill()
        except ConfigurationError as error:
            found = {}
            self.show_error(error)
        values = {
            "region": "",
            "base_url": "",
            "way": way,
            "client_id": client_id or found.get("client_id", ""),
            "redirect_uri": "http://localhost:8085/callback",
            "org_name": "",
        }
        values |= self._prefilled_region(environment or found.get("region", ""))
        self.form = SecretForm(values=values)
        self.form.on_submit(lambda values: self.submit(**values))
        self.form.on_cancel(self.cancel)
        self.form.observe(lambda _: self._show_code(), "values")
        self._buttons.append(self.form)  # off while a call is under way, as any button
        self._account = ipywidgets.HTML()
        self._lifetime = Countdown()
        self.sign_out_button = self.button(
            "Sign out", self._sign_out, style="warning", tooltip="Revoke this token, then forget it"
        )
        self.again_button = self.button(
            "Sign in again…",
            self._again,
            tooltip="As somebody else or elsewhere; this sign-in is kept until then",
        )
        self.back_button = self.button("Back", self._back, tooltip="Leave this sign-in")
        self.body.children = [self.form, self._account, self._lifetime]
        self.actions.children = [self.sign_out_button, self.again_button, self.back_button]
        self._ask()
        self._show_code()

    @property
    def connection(self) -> Connection:
        """What the sign-in gave; raises `SignedOutError` while there is none."""
        if self._connection is None:
            raise SignedOutError("Nobody is signed in in this panel.", "Sign in there, then run this again.")
        return self._connection

    def on_change(self, callback: Callable[[Connection | None], None]) -> None:
        """Call `callback` with the connection whenever somebody has signed in, and with None after signing out.

        It is called in the thread that signed in.
        """
        self._on_change.append(callback)

    def submit(self, **values: str | Secret) -> None:
        """Do what the form's button does, for notebooks and tests: then `wait()`. What goes wrong is shown in the panel.

        Args:
            values:
                By the names of the form's fields; what is not given is taken from the form: `region`, `base_url`, `way`,
                `client_id`, `client_secret`, `redirect_uri`, `org_name`, `assertion`, `access_token`; or `address`, where
                the panel waits for the one that the browser ended on.

        """
        self._guarded(functools.partial(self._submit, values))

    def close(self) -> None:
        """Close the panel. The connection lives on."""
        self._on_change.clear()
        super().close()

    # What the panel shows: the form, or the account

    def _ask(self) -> None:
        """Show the form that begins a sign-in."""
        self._begun = None
        self.form.fields = _fields(list(self._regions.values()))
        self.form.submit_label = "Sign in"
        self._show(form=True, back="Keep this sign-in" if self._connection else "")

    def _ask_for_address(self, url: str, *, paste: bool) -> None:
        """Show the link to the login page and, where the address must be pasted, the field for it."""
        link = {
            "name": "login_page",
            "kind": "link",
            "label": "Open the login page",
            "href": url,
        }
        address = {
            "name": "address",
            "kind": "secret",  # it carries a code
            "label": "Address at the end",
            "hint": "Copy the whole address from the browser, also where it shows that the page cannot be reached.",
        }
        self.form.fields = [link, address] if paste else [link]
        self.form.submit_label = "Finish signing in" if paste else ""
        self._show(form=True, back="Start over" if paste else "")

    def _show_account(self) -> None:
        self._begun = None
        self._show(form=False, back="")

    def _show(self, *, form: bool, back: str) -> None:
        def shown(widget: Any, wanted: bool) -> None:
            widget.layout.display = "" if wanted else "none"

        shown(self.form, form)
        for widget in (self._account, self._lifetime, self.sign_out_button, self.again_button):
            shown(widget, not form)
        self.back_button.description = back
        shown(self.back_button, bool(back))

    def _again(self) -> None:
        self._ask()
        self.say("")

    def _back(self) -> None:
        if self._begun is None and self._connection is not None:
            self._show_account()
        else:
            self._ask()
        self.say("")

    def _show_code(self) -> None:
        self.set_code(_code(self.form.values, self._regions, confidential=self._confidential))

    # Signing in

    def _submit(self, values: Mapping[str, str | Secret]) -> None:
        if "address" in values:
            begun, address = self._begun, Secret(values["address"])
            if begun is None:
                raise ConfigurationError("No sign-in waits for an address.", "Start a new one.")
            self._sign_in(lambda: begun.finish(address.reveal()))
            return
        secrets = {name: Secret(values.get(name, "")) for name in _SECRETS}
        plain = {name: str(values.get(name, kept)).strip() for name, kept in self.form.values.items()}
        self._confidential = bool(secrets["client_secret"])
        self.form.values = plain
        self._show_code()
        if plain["region"] == _SANDBOX:
            self._sign_in(connect_sandbox)
            return
        region, client_id = self._region(plain), plain["client_id"]
        match plain["way"]:
            case "client_credentials":
                self._sign_in(
                    lambda: connect(region, client_id=client_id, client_secret=secrets["client_secret"])
                )
            case "access_token":
                self._sign_in(lambda: connect(region, access_token=secrets["access_token"]))
            case "saml2_bearer":
                self._sign_in(
                    lambda: authenticate_with_saml2_bearer(
                        client_id, secrets["client_secret"], plain["org_name"], secrets["assertion"], region
                    )
                )
            case "browser":
                self.work(
                    "Waiting until you have signed in in the browser",
                    lambda: _with_account(
                        sign_in_with_browser(
                            region,
                            client_id,
                            plain["redirect_uri"],
                            client_secret=secrets["client_secret"] or None,
                            open_url=functools.partial(self._ask_for_address, paste=False),
                        )
                    ),
                    self._signed_in,
                    failed=lambda _: self._ask(),
                )
            case "browser_elsewhere":
                self._begun = begin_sign_in(
                    region, client_id, plain["redirect_uri"], client_secret=secrets["client_secret"] or None
                )
                self._ask_for_address(self._begun.url, paste=True)
                self.say("Sign in on the login page, then paste the address that the browser ends on.")

    def _sign_in(self, sign_in: Callable[[], Connection]) -> None:
        self.work("Signing in", lambda: _with_account(sign_in()), self._signed_in)

    def _signed_in(self, signed_in: tuple[Connection, _Account]) -> None:
        self._connection, account = signed_in
        self._show_account_of(self._connection, account)
        self._show_account()
        self.say(f"Signed in as {account[0][1]}.", "ok")
        self._tell(self._connection)

    def _show_account_of(self, connection: Connection, account: _Account) -> None:
        token = connection.access_token
        self._account.value = fields_html((name, escape(text)) for name, text in account)
        self._lifetime.before = "The token lives for another "
        self._lifetime.over = "The token's time is over."
        self._lifetime.ends_at = token.expires_at.timestamp() if token.expires_at else 0.0

    def replace(self, connection: Connection) -> None:
        """Hold another connection in place of the one whose token is dead: it was made elsewhere. Nobody is told."""
        self._connection = connection
        self._account.value = ""
        self._lifetime.ends_at = 0.0
        self.work("Reading the account", lambda: _with_account(connection), self._replaced)

    def _replaced(self, signed_in: tuple[Connection, _Account]) -> None:
        connection, account = signed_in
        if connection is self._connection:
            self._show_account_of(connection, account)
            self.say(f"Signed in again as {account[0][1]}.", "ok")

    def _sign_out(self) -> None:
        connection = self.connection
        self.work(
            "Revoking the token",
            connection.sign_out,
            lambda _: self._signed_out(connection, "the token is revoked and forgotten"),
            failed=lambda error: self._not_revoked(connection, error),
        )

    def _signed_out(self, connection: Connection, what: str) -> None:
        if connection is not self._connection:  # replaced meanwhile
            return
        self._connection = None
        self._account.value = ""
        self._lifetime.ends_at = 0.0
        self._ask()
        self.say(f"Signed out: {what}.", "ok")
        self._tell(None)

    def _not_revoked(self, connection: Connection, error: GCTokensError) -> None:
        if isinstance(error, UnauthorizedError | SignedOutError):  # there is nothing left to revoke
            self._signed_out(connection, "the token was no longer valid and is forgotten")

    def _tell(self, connection: Connection | None) -> None:
        for callback in self._on_change:
            callback(connection)

    # Regions

    def _prefilled_region(self, environment: str | Region) -> dict[str, str]:
        if environment in {"", _SANDBOX}:
            return {"region": str(environment)}
        try:
            region = regions.resolve(environment)
        except ConfigurationError as error:
            self.show_error(error)
            return {}
        if isinstance(environment, str) and region.name not in self._regions:
            return {"region": _ADDRESS, "base_url": region.name}
        self._regions[region.name] = region
        return {"region": region.name}

    def _region(self, plain: Mapping[str, str]) -> Region:
        name = plain["region"]
        if name == _ADDRESS:
            return _at(plain["base_url"])
        if name not in self._regions:
            raise ConfigurationError("No region is chosen.", "Choose where your organization lives.")
        return self._regions[name]


def _fields(known: list[Region]) -> list[dict[str, Any]]:
    def only(*ways: str) -> dict[str, list[str]]:
        return {"way": list(ways)}

    offered = [[region.name, str(region)] for region in known]
    offered += [[_ADDRESS, "A gateway, or a server on this machine"]]
    return [
        {
            "name": "region",
            "kind": "choice",
            "label": "Region",
            "options": [["", "Choose…"], *offered, [_SANDBOX, "Sandbox on this machine (no account needed)"]],
        },
        {
            "name": "base_url",
            "kind": "text",
            "label": "Base address",
            "hint": "https://host of a gateway with /login and /api below it, or http://127.0.0.1:port",
            "when": {"region": [_ADDRESS]},
        },
        {
            "name": "way",
            "kind": "choice",
            "label": "Way to sign in",
            "options": [[name, text] for name, text in _WAYS.items()],
            "when": {"region": [value for value, _ in offered]},
        },
        {
            "name": "client_id",
            "kind": "text",
            "label": "Client id",
            "when": only(*(way for way in _WAYS if way != "access_token")),
        },
        {
            "name": "client_secret",
            "kind": "secret",
            "label": "Client secret",
            "when": only("client_credentials", "saml2_bearer"),
        },
        {
            "name": "client_secret",
            "kind": "secret",
            "label": "Client secret",
            "hint": "Empty for a client that uses PKCE and has none.",
            "optional": True,
            "when": only(*_IN_BROWSER),
        },
        {
            "name": "redirect_uri",
            "kind": "text",
            "label": "Redirect URI",
            "hint": "As it is registered with the OAuth client.",
            "when": only(*_IN_BROWSER),
        },
        {
            "name": "org_name",
            "kind": "text",
            "label": "Organization",
            "hint": "Its short name.",
            "when": only("saml2_bearer"),
        },
        {
            "name": "assertion",
            "kind": "secret",
            "label": "SAML2 assertion",
            "hint": "Base64, as the identity provider gave it.",
            "when": only("saml2_bearer"),
        },
        {"name": "access_token", "kind": "secret", "label": "Access token", "when": only("access_token")},
    ]


def _at(base_url: str) -> Region:
    try:
        return regions.resolve(base_url)
    except UnknownRegionError:
        return regions.gateway(base_url)


def _code(plain: Mapping[str, str], known: Mapping[str, Region], *, confidential: bool) -> str:
    """Return the lines that sign in as the form says, each secret asked for where they run."""
    ask, head = "from getpass import getpass\n\n", "import gctokens_nb as gct\n\n"
    if plain["region"] == _SANDBOX:
        return f"{head}gc = gct.connect_sandbox()"
    where = _environment_code(plain, known)
    if not where:
        return ""
    client_id, redirect_uri = repr(plain["client_id"]), repr(plain["redirect_uri"])
    by_prompt = "getpass('Client secret: ')"
    match plain["way"]:
        case "access_token":
            return f"{ask}{head}gc = gct.connect({where}, access_token=getpass('Access token: '))"
        case "saml2_bearer":
            last = f"{plain['org_name']!r}", "getpass('SAML2 assertion: ')", where
            return (
                f"{ask}{head}gc = {_call('gct.authenticate_with_saml2_bearer', client_id, by_prompt, *last)}"
            )
        case "browser" | "browser_elsewhere" as way:
            secret = [f"client_secret={by_prompt}"] if confidential else []
            head = ask + head if confidential else head
            if way == "browser":
                return (
                    f"{head}gc = {_call('gct.sign_in_with_browser', where, client_id, redirect_uri, *secret)}"
                )
            begin = _call("gct.begin_sign_in", where, client_id, redirect_uri, *secret)
            return f"{head}sign_in = {begin}\ngc = sign_in.finish()  # shows the link, asks for the address"
        case _:
            client = f"client_id={client_id}", f"client_secret={by_prompt}"
            return f"{ask}{head}gc = {_call('gct.connect', where, *client)}"


def _call(name: str, *arguments: str) -> str:
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def _environment_code(plain: Mapping[str, str], known: Mapping[str, Region]) -> str:
    """Return the Python expression for the chosen region, or nothing where none is chosen."""
    try:
        region = _at(plain["base_url"]) if plain["region"] == _ADDRESS else known[plain["region"]]
    except (ConfigurationError, KeyError):
        return ""
    return region_code(region)


def region_code(region: Region) -> str:
    """Return the Python expression that `connect()` takes for a region."""
    by_name = region in regions.ALL or region.login_url == region.api_url == region.name
    return repr(region.name) if by_name else f"gct.regions.{region!r}"


def _with_account(connection: Connection) -> tuple[Connection, _Account]:
    """Ask as whom the connection is signed in: rows for people, the first of them the account."""
    token = connection.access_token
    try:
        info = connection.tokens.get_tokens_me(preserve_idle_ttl=True)
        own_id = connection.directory.own_id()
        user = connection.directory.me() if own_id else None
    except GCTokensError as error:
        if token.grant == "pasted" or isinstance(
            error, CancelledError
        ):  # nobody has vouched for a pasted one yet
            connection.session.close()
            raise
        account = [("Account", "an account that could not be read"), ("Why", str(error))]
    else:
        client = (info.oauth_client and info.oauth_client.name) or connection.client_id or "an unnamed client"
        if user:
            account = [("Account", f"{user.name} ({user.email})"), ("OAuth client", client)]
        else:
            account = [("Account", f"the OAuth client {client}")]
        if info.organization and info.organization.name:
            account.append(("Organization", info.organization.name))
    where = "Sandbox on this machine" if connection.sandbox else str(connection.region)
    ends = f"{token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "not known"
    account += [("Region", where), ("Token fingerprint", token.fingerprint), ("Token ends", ends)]
    account += [("Note", note) for note in connection.notes]
    return connection, account
