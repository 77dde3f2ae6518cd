"""The gateway and the proxy that the `gc` command line and the Terraform provider are told of, honoured here too.

Their meaning is theirs: a gateway stands in front of both hosts of a region, each at a path of its own. What cannot be
honoured is refused: a secret must not take another road than the one its owner has set.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from gctokens_nb.errors import ConfigurationError, CredentialsError, readable
from gctokens_nb.redaction import Secret
from gctokens_nb.regions import Region, gateway

__all__ = ["FIELDS", "VARIABLES", "gateway_of", "proxy_of", "refuse_unknown_variables"]

_PREFIXES = ("GENESYSCLOUD_GATEWAY_", "GENESYSCLOUD_PROXY_")
# field -> environment variable, as the Terraform provider names them
VARIABLES: Mapping[str, str] = {
    "gateway_protocol": "GENESYSCLOUD_GATEWAY_PROTOCOL",
    "gateway_host": "GENESYSCLOUD_GATEWAY_HOST",
    "gateway_port": "GENESYSCLOUD_GATEWAY_PORT",
    "gateway_username": "GENESYSCLOUD_GATEWAY_AUTH_USERNAME",
    "gateway_password": "GENESYSCLOUD_GATEWAY_AUTH_PASSWORD",
    "gateway_path_name": "GENESYSCLOUD_GATEWAY_PATH_NAME",
    "gateway_path_value": "GENESYSCLOUD_GATEWAY_PATH_VALUE",
    "proxy_protocol": "GENESYSCLOUD_PROXY_PROTOCOL",
    "proxy_host": "GENESYSCLOUD_PROXY_HOST",
    "proxy_port": "GENESYSCLOUD_PROXY_PORT",
    "proxy_username": "GENESYSCLOUD_PROXY_AUTH_USERNAME",
    "proxy_password": "GENESYSCLOUD_PROXY_AUTH_PASSWORD",
}
FIELDS = (*VARIABLES, "gateway_pathparams", "proxy_pathparams")


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Raise `CredentialsError` for a variable of a gateway or proxy that is set and not known here."""
    unknown = sorted(
        name
        for name, value in environment.items()
        if name.startswith(_PREFIXES) and value.strip() and name not in VARIABLES.values()
    )
    if unknown:
        raise CredentialsError(
            f"The environment variable {readable(unknown[0], 80)} is not understood, so the way to Genesys Cloud is unclear.",
            f"Unset it. Known are {', '.join(VARIABLES.values())}.",
        )


def gateway_of(held: Mapping[str, str], where: str) -> Region | None:
    """Return the gateway that the fields of a source describe, or None. `where` names the source in errors."""
    if not _is_set(held, "gateway"):
        return None
    if held.get("gateway_username") or held.get("gateway_password"):
        raise CredentialsError(
            f"The gateway from {where} has a user name or a password, which is not supported; nothing was sent.",
            "Use a gateway without them, or take them out.",
        )
    paths = _paths(held, where)
    try:
        return gateway(
            _address(held, "gateway", where, "https"),
            login_path=paths.get("login", ""),
            api_path=paths.get("api", ""),
        )
    except ConfigurationError as error:
        raise CredentialsError(
            f"The gateway from {where} cannot be used. {error.what}", error.next_step
        ) from None


def proxy_of(held: Mapping[str, str], where: str) -> Secret | None:
    """Return the address of the proxy that the fields of a source describe, or None."""
    if not _is_set(held, "proxy"):
        return None
    address = _address(held, "proxy", where, "http")
    parts = urlsplit(address)
    if held.get("proxy_pathparams", "").strip("{} ") or parts.scheme not in {"http", "https"}:
        raise CredentialsError(
            f"The proxy from {where} has a path or a protocol that is not supported; nothing was sent.",
            "Use an http or https proxy without paths.",
        )
    user = held.get("proxy_username", "")
    if not user:
        return Secret(address)
    login = Secret(f"{quote(user, safe='')}:{quote(held.get('proxy_password', ''), safe='')}")
    return Secret(f"{parts.scheme}://{login.reveal()}@{parts.netloc}")


def _is_set(held: Mapping[str, str], kind: str) -> bool:
    """Tell whether anything but empty path parameters is said: those are what the command line leaves when it is off."""
    return any(
        value.strip("{} ") if field.endswith("pathparams") else value
        for field, value in held.items()
        if field.startswith(f"{kind}_") and field in FIELDS
    )


def _address(held: Mapping[str, str], kind: str, where: str, default: str) -> str:
    host, port = held.get(f"{kind}_host", ""), held.get(f"{kind}_port", "")
    protocol = held.get(f"{kind}_protocol", default).lower().removesuffix("://")
    address = f"{protocol}://{host}{f':{port}' if port else ''}"
    try:
        parts = urlsplit(address)
        good = bool(parts.hostname) and parts.port != 0 and parts.netloc == address.partition("://")[2]
    except ValueError:
        good = False
    if not good or "@" in host:
        raise CredentialsError(
            f"The {kind} from {where} needs a host name, and a port where it has one, that can be read; nothing was sent.",
            f"Set the {kind}'s protocol, host and port, or none of them.",
        )
    return address


def _paths(held: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the paths of login and API: in the file `{login: path, api: path}`, in the environment one name and value."""
    text = held.get("gateway_pathparams", "").strip("{} ")
    pairs = [pair.partition(":") for pair in text.split(",")] if text else []
    paths = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if name := held.get("gateway_path_name"):
        paths[name.lower()] = held.get("gateway_path_value", "")
    if set(paths) - {"login", "api"} or not all(paths.values()):
        raise CredentialsError(
            f"The gateway from {where} has paths that are not understood; nothing was sent.",
            "Give paths for login and api only, each with a value.",
        )
    return paths
