"""Where credentials come from: arguments, a named profile, the environment, the default profile, the keyring, a prompt.

The order, the first that has a value wins:

1. arguments of `connect()`
2. the profile named by `profile=`, in `~/.gc/config.toml` (the file of Genesys' `gc` command line)
3. environment variables: `GENESYSCLOUD_*` (as the `gc` command line and the Terraform provider), `GENESYS_CLOUD_*` (as the
   Python SDK's README), `PURECLOUD_*` (as the older SDKs)
4. the `DEFAULT` profile of that file
5. the operating system's keyring, where asked for with `keyring=True`: the secret of a client id found above
6. a prompt, where asked for with `prompt=True`: only what is still missing

A client id and its secret are taken from one place; a secret found elsewhere counts only where no other id stands beside
it. An access token goes before a client in the same place. Nothing is written anywhere, except by `save_secret`.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from gctokens_nb import network
from gctokens_nb.errors import ConfigurationError, CredentialsError, readable
from gctokens_nb.extras import load
from gctokens_nb.profiles import CredentialsWarning, live_token, read_profile
from gctokens_nb.redaction import MaskedDict, Secret, sealed
from gctokens_nb.regions import Region, resolve

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Credentials", "CredentialsWarning", "find", "prefill", "save_secret", "sources"]

_DEFAULT_PROFILE = "DEFAULT"
_ENVIRONMENT: tuple[Mapping[str, str], ...] = (
    {
        "region": "GENESYSCLOUD_REGION",
        "access_token": "GENESYSCLOUD_ACCESS_TOKEN",
        "client_id": "GENESYSCLOUD_OAUTHCLIENT_ID",
        "client_secret": "GENESYSCLOUD_OAUTHCLIENT_SECRET",
        **network.VARIABLES,
    },
    {"client_id": "GENESYS_CLOUD_CLIENT_ID", "client_secret": "GENESYS_CLOUD_CLIENT_SECRET"},
    {"client_id": "PURECLOUD_CLIENT_ID", "client_secret": "PURECLOUD_SECRET"},
    {"region": "PURECLOUD_ENVIRONMENT"},
)
_PROFILE = {
    "region": "environment",
    "access_token": "access_token",
    "client_id": "client_credentials",  # so named in the file, although it is the client id
    "client_secret": "client_secret",
    "grant_type": "grant_type",
    "redirect_uri": "redirect_uri",
    **{field: field for field in network.FIELDS},
}
_OF_A_PERSON = {"2", "3"}  # grant types of the command line: implicit, and code with PKCE


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What `find` found. Its repr holds no secret.

    Attributes:
        region: Region
        client_id: str or None
        client_secret: Secret or None
        access_token: Secret or None
            Either this, or a client.
        origins: dict
            Where each value came from: `{"region": "the environment variable GENESYSCLOUD_REGION", …}`.
        notes: tuple of str
            What deserves a look, such as two sources that name different regions.

    """

    region: Region
    client_id: str | None = None
    client_secret: Secret | None = None
    access_token: Secret | None = None
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


class _Source(msgspec.Struct, frozen=True):
    name: str
    held: MaskedDict  # field -> value
    where: dict[str, str]  # field -> where it stands

    def __repr__(self) -> str:
        return f"<source {self.name}>"


def find(
    *,
    environment: str | Region | None = None,
    client_id: str | None = None,
    client_secret: str | Secret | None = None,
    access_token: str | Secret | None = None,
    profile: str | None = None,
    keyring: bool = False,
    prompt: bool = False,
) -> Credentials:
    """Find the credentials to sign in with, in the order that this module documents.

    Args:
        environment, client_id, client_secret, access_token:
            Go before everything else.
        profile:
            A table of `~/.gc/config.toml`; goes before the environment variables.
        keyring:
            Look the secret up in the operating system's keyring (needs the package `keyring`).
        prompt:
            Ask for what is missing, secrets without echo.

    Raises:
        CredentialsError:
            Something is missing, both a token and a client were given, or a profile cannot be read.
        UnknownRegionError, InsecureUrlError:
            The region cannot be used.
    """
    # Wrapped, as is all that holds a secret below: a traceback with locals shows a mask.
    client_secret = Secret(client_secret) if client_secret else None
    access_token = Secret(access_token) if access_token else None
    if access_token and (client_id or client_secret):
        raise CredentialsError(
            "Both an access token and a client were given.",
            "Pass either access_token, or client_id and client_secret.",
        )
    arguments = MaskedDict(
        region=environment if isinstance(environment, str) else None,
        client_id=client_id,
        client_secret=client_secret and client_secret.reveal(),
        access_token=access_token and access_token.reveal(),
    )
    given = _Source(
        "arguments",
        MaskedDict({field: value for field, value in arguments.items() if value}),
        {field: f"the argument {'environment' if field == 'region' else field}" for field in arguments},
    )
    found = [given, *_standing(profile)]
    origins: dict[str, str] = {}
    region, notes = _find_region(environment, found, origins, prompt=prompt)
    region = _by_way_of(region, found, origins, notes)
    token_source, client_source = _choose(found)
    if client_source is None and token_source is None and prompt:
        asked = _held({"client_id": _ask(input, "OAuth client id: ")})
        client_source = _Source("prompt", asked, {"client_id": "the prompt"}) if asked else None
    chosen = token_source or client_source
    if chosen is None:
        raise CredentialsError(
            "No credentials were found in the arguments, the environment variables or ~/.gc/config.toml.",
            "Pass client_id and client_secret, or access_token, or try gctokens_nb.connect_sandbox() without an "
            "account; gctokens_nb.credentials.sources() shows where is looked.",
        )
    notes += _of_another_region(origins["region"], chosen, region)
    if token_source is not None:
        origins["access_token"] = token_source.where["access_token"]
        token = Secret(token_source.held["access_token"])
        return Credentials(region=region, access_token=token, origins=origins, notes=tuple(notes))
    chosen_id = chosen.held["client_id"]
    origins["client_id"] = chosen.where["client_id"]
    secret = _find_secret(
        chosen_id, [given, chosen, *found], origins, region if keyring else None, prompt=prompt
    )
    if not secret:
        raise _no_secret(chosen, profile or _DEFAULT_PROFILE)
    return Credentials(
        region=region, client_id=chosen_id, client_secret=secret, origins=origins, notes=tuple(notes)
    )


def _find_secret(
    client_id: str, found: list[_Source], origins: dict[str, str], keyring_of: Region | None, *, prompt: bool
) -> Secret | None:
    """Return the client's secret and write down where it came from."""
    source = _secret_source(client_id, found)
    if source is not None:
        origins["client_secret"] = source.where["client_secret"]
        return Secret(source.held["client_secret"])
    if keyring_of is not None and (secret := _from_keyring(client_id, keyring_of)):
        origins |= {"client_secret": "the keyring"}
        return secret
    if not prompt:
        return None
    origins |= {"client_secret": "the prompt"}
    return Secret(_ask(getpass.getpass, "OAuth client secret: ").strip())


def _no_secret(source: _Source, profile: str) -> CredentialsError:
    client = f"client {source.held['client_id']} (from {source.where['client_id']})"
    if source.held.get("grant_type") in _OF_A_PERSON:
        return CredentialsError(
            f"The {client} signs in a person, in the browser, and has no secret.",
            f"Call gctokens_nb.sign_in_with_browser(profile={profile!r}).",
        )
    return CredentialsError(
        f"The secret of {client} was not found.",
        "Pass client_secret, set it beside the id, or let yourself be asked with prompt=True.",
    )


def sources(profile: str | None = None) -> pd.DataFrame:
    """Show where credentials were found on this machine, without their values.

    Args:
        profile:
            As in `connect()`.

    Returns:
        pandas.DataFrame
            One row per place, in the order in which they count: `value` (`region`, `access_token`, `client_id`,
            `client_secret`), `place`, `found` (bool), `used` (bool: the first found of its kind).
    """
    pandas = load("pandas", "credentials.sources()")
    standing = _standing(profile, absent_too=True)
    token_source, client_source = _choose(standing)
    region_source = next((s for s in standing if "region" in s.held), None)
    secret_source = client_source and _secret_source(
        client_source.held["client_id"], [client_source, *standing]
    )
    used = {
        "region": region_source,
        "access_token": token_source,
        "client_id": None if token_source else client_source,
        "client_secret": None if token_source else secret_source,
    }
    rows = [
        {
            "value": field,
            "place": source.where[field],
            "found": field in source.held,
            "used": used[field] is source,
        }
        for field in used
        for source in standing
        if field in source.where
    ]
    frame: pd.DataFrame = pandas.DataFrame(rows, columns=["value", "place", "found", "used"])
    return frame


def prefill() -> dict[str, str]:
    """Return the `region` and `client_id` that `connect()` would take from this machine, to begin a form with; no secret.

    Raises:
        CredentialsError:
            `~/.gc/config.toml` cannot be read.

    """
    standing = _standing(None)
    client = _choose(standing)[1]
    region = next((source.held["region"] for source in standing if "region" in source.held), None)
    found = {"region": region, "client_id": client and client.held["client_id"]}
    return {field: value for field, value in found.items() if value}


def save_secret(client_id: str, client_secret: str | Secret, environment: str | Region) -> None:
    """Keep a client's secret in the operating system's keyring, for `connect(keyring=True)`.

    The only thing in this package that stores a secret, and only there. Needs the package `keyring`.

    Raises:
        CredentialsError:
            There is no keyring, or it refuses.

    """
    client_secret = Secret(client_secret)
    store, service = _keyring(), _keyring_service(resolve(environment))
    try:
        sealed(lambda: store.set_password(service, client_id, client_secret.reveal()))
    except Exception as error:  # noqa: BLE001 - a back end is anybody's code
        raise CredentialsError(
            f"The keyring did not take the secret: {type(error).__name__}.",
            "Unlock it, or set up a keyring backend.",
        ) from None


def _standing(profile: str | None, *, absent_too: bool = False) -> list[_Source]:
    """Return the sources that stand on this machine, in their order."""
    if profile is not None and not (isinstance(profile, str) and profile.strip()):
        raise CredentialsError("A profile is named by a text.", "Pass profile='DEFAULT', or leave it out.")
    variables = []
    for names in _ENVIRONMENT:
        values = _held({field: os.environ.get(name) for field, name in names.items()})
        where = {field: f"the environment variable {name}" for field, name in names.items()}
        if values or absent_too:
            variables.append(_Source("environment", values, where))
    named = _from_profile(profile or _DEFAULT_PROFILE, required=profile is not None, absent_too=absent_too)
    return [*named, *variables] if profile else [*variables, *named]


def _choose(found: list[_Source]) -> tuple[_Source | None, _Source | None]:
    """Return the source of the access token, or of the client id, that counts; one of them is None."""
    wants_client = any(s.name == "arguments" and "client_secret" in s.held for s in found)
    for source in found:
        if "access_token" in source.held and not wants_client:
            return source, None
        if "client_id" in source.held:
            return None, source
    return None, None


def _from_profile(name: str, *, required: bool, absent_too: bool) -> list[_Source]:
    shown = f"profile {readable(name, 60)} in ~/.gc/config.toml"
    where = {field: f"{key} of {shown}" for field, key in _PROFILE.items()}
    profile = read_profile(name, required=required)
    if profile is None:
        return [_Source("profile", MaskedDict(), where)] if absent_too else []
    held = _held({field: profile.get(key) for field, key in _PROFILE.items()})
    if "access_token" not in held and "client_secret" not in held and (live := live_token(profile)):
        # Nothing here can sign in without a person, but the command line has: its token is good until it ends.
        token, until = live
        held["access_token"] = token.reveal()
        where["access_token"] = f"oauth_token_data of {shown}, which lives until {until}"
    return [_Source("profile", held, where)]


def _held(values: Mapping[str, object]) -> MaskedDict:
    """Return the texts among `values` without the white space around them; what is empty is not held."""
    return MaskedDict(
        {field: text.strip() for field, text in values.items() if isinstance(text, str) and text.strip()}
    )


def _find_region(
    environment: str | Region | None, found: list[_Source], origins: dict[str, str], *, prompt: bool
) -> tuple[Region, list[str]]:
    """Return the region that counts and a note for each other one; write down where it came from."""
    named = [source for source in found if "region" in source.held]
    if environment is not None and not isinstance(environment, str):
        region, origins["region"] = resolve(environment), "the argument environment"
    elif named:
        region, origins["region"] = resolve(named[0].held["region"]), named[0].where["region"]
    elif prompt:
        region, origins["region"] = (
            resolve(_ask(input, "Genesys Cloud region (such as mypurecloud.de): ")),
            "the prompt",
        )
    else:
        raise CredentialsError(
            "No region is given: where does your organization live?",
            "Pass environment='mypurecloud.de' (or another domain or AWS region), or set GENESYSCLOUD_REGION.",
        )
    notes = [
        f"The region is {region}, from {origins['region']}; {source.where['region']} names another and was not used."
        for source in named
        if source.where["region"] != origins["region"] and not _same_region(source.held["region"], region)
    ]
    return region, notes


def _of_another_region(region_origin: str, source: _Source, region: Region) -> list[str]:
    if (
        "region" not in source.held
        or source.where["region"] == region_origin
        or _same_region(source.held["region"], region)
    ):
        return []
    return [f"The credentials stand beside another region, in {source.where['region']}: they may be refused."]


def _same_region(name: str, region: Region) -> bool:
    try:
        other = resolve(name)
    except ConfigurationError:  # one that does not count need not be a good one
        return False
    return (other.login_url, other.api_url) == (region.login_url, region.api_url)


def _secret_source(client_id: str, found: list[_Source]) -> _Source | None:
    """Return the first source with a secret beside which no other client's id stands."""
    return next(
        (s for s in found if "client_secret" in s.held and s.held.get("client_id", client_id) == client_id),
        None,
    )


def _by_way_of(region: Region, found: list[_Source], origins: dict[str, str], notes: list[str]) -> Region:
    """Return the region by way of the gateway and the proxy that are set, and write down where; the first source counts."""
    network.refuse_unknown_variables(os.environ)
    for source in found:
        behind = (
            network.gateway_of(source.held, _place(source, "gateway")) if "gateway" not in origins else None
        )
        if behind is not None and region.aws_name:
            region, origins["gateway"] = behind, _place(source, "gateway")
        elif behind is not None:
            notes.append(
                f"{region} was named by its address; the gateway from {_place(source, 'gateway')} was not used."
            )
        proxy = network.proxy_of(source.held, _place(source, "proxy")) if region.proxy is None else None
        if proxy is not None:
            region = msgspec.structs.replace(region, proxy=proxy)
            origins["proxy"] = _place(source, "proxy")
    return region


def _place(source: _Source, kind: str) -> str:
    return source.where.get(f"{kind}_host", source.name)


def region_of(environment: str | Region) -> Region:
    """Return the region that was named, by way of the gateway and the proxy that are set on this machine.

    Raises:
        CredentialsError:
            The gateway or the proxy cannot be used, or `~/.gc/config.toml` cannot be read.
        UnknownRegionError, InsecureUrlError:
            The region cannot be used.
    """
    return _by_way_of(resolve(environment), _standing(None), {}, [])


def for_browser(
    environment: str | Region | None, client_id: str | None, redirect_uri: str | None, profile: str | None
) -> tuple[Region, str, str | None]:
    """Return region, client id and redirect URI for the sign-in of a person: what was given, the rest from the profile.

    Raises:
        CredentialsError:
            Something is missing, or the profile cannot be read.
        UnknownRegionError, InsecureUrlError:
            The region cannot be used.
    """
    given = _Source(
        "arguments",
        _held({"region": environment, "client_id": client_id, "redirect_uri": redirect_uri}),
        {"region": "the argument environment", "client_id": "the argument client_id"},
    )
    found = [given, *_standing(profile)]
    origins: dict[str, str] = {}
    region, notes = _find_region(environment, found, origins, prompt=False)
    region = _by_way_of(region, found, origins, notes)
    chosen = next((source for source in found if "client_id" in source.held), None)
    if chosen is None:
        raise CredentialsError(
            "No OAuth client is given to sign in a person with.",
            "Pass client_id, or profile= with a profile of the gc command line that has one.",
        )
    return region, chosen.held["client_id"], redirect_uri or chosen.held.get("redirect_uri")


def _ask(ask: Callable[[str], str], question: str) -> str:
    try:
        return ask(question)
    except (EOFError, OSError, RuntimeError) as error:  # RuntimeError: a notebook that runs without a person
        raise CredentialsError(
            f"Nobody can be asked for what is missing here: {type(error).__name__}.",
            "Pass it as an argument, or set it in the environment.",
        ) from None


def _keyring() -> Any:
    try:
        import keyring  # noqa: PLC0415 - optional, only on request
    except ImportError:
        raise CredentialsError(
            "The keyring was asked for, but the package keyring is not installed.",
            "pip install 'gctokens-nb[keyring]'",
        ) from None
    return keyring


def _from_keyring(client_id: str, region: Region) -> Secret | None:
    store, service = _keyring(), _keyring_service(region)
    try:
        found = sealed(lambda: _held({"": store.get_password(service, client_id)}).get(""))
    except Exception as error:  # noqa: BLE001 - a back end is anybody's code
        raise CredentialsError(
            f"The keyring could not be read: {type(error).__name__}.",
            "Unlock it, or set up a keyring backend.",
        ) from None
    return Secret(found) if found else None


def _keyring_service(region: Region) -> str:
    return f"gctokens_nb {region.name}"
