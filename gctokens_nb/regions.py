"""Where Genesys Cloud lives: the hosts of each region, under every name people use for it."""

from __future__ import annotations

import difflib
import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

import msgspec
import requests

from gctokens_nb.errors import ConfigurationError, InsecureUrlError, UnknownRegionError, readable
from gctokens_nb.redaction import Secret

__all__ = ["ALL", "Region", "gateway", "resolve"]


class Region(msgspec.Struct, frozen=True):
    """One place where Genesys Cloud answers.

    Attributes:
        name: str
            The domain (`mypurecloud.de`), or the base address of a gateway or a local server.
        aws_name: str
            The AWS region (`eu-central-1`); empty for a gateway or a local server.
        login_url: str
            Base address of OAuth, without a trailing slash: `<login_url>/oauth/token`.
        api_url: str
            Base address of the platform API, without a trailing slash: `<api_url>/api/v2/…`.
        proxy: Secret or None
            Address of the proxy on the way to both; None for what the environment says (`HTTPS_PROXY`, `NO_PROXY`).

    """

    name: str
    aws_name: str
    login_url: str
    api_url: str
    proxy: Secret | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.aws_name})" if self.aws_name else self.name


def _region(aws_name: str, domain: str) -> Region:
    return Region(domain, aws_name, f"https://login.{domain}", f"https://api.{domain}")


# The region table of Genesys' Python SDK (PureCloudPlatformClientV2, PureCloudRegionHosts).
ALL: tuple[Region, ...] = (
    _region("us-east-1", "mypurecloud.com"),
    _region("us-east-2", "use2.us-gov-pure.cloud"),
    _region("us-west-2", "usw2.pure.cloud"),
    _region("ca-central-1", "cac1.pure.cloud"),
    _region("mx-central-1", "mxc1.pure.cloud"),
    _region("sa-east-1", "sae1.pure.cloud"),
    _region("eu-west-1", "mypurecloud.ie"),
    _region("eu-west-2", "euw2.pure.cloud"),
    _region("eu-central-1", "mypurecloud.de"),
    _region("eu-central-2", "euc2.pure.cloud"),
    _region("eusc-de-east-1", "edee1.eusc-pure.cloud"),
    _region("me-central-1", "mec1.pure.cloud"),
    _region("ap-south-1", "aps1.pure.cloud"),
    _region("ap-northeast-1", "mypurecloud.jp"),
    _region("ap-northeast-2", "apne2.pure.cloud"),
    _region("ap-northeast-3", "apne3.pure.cloud"),
    _region("ap-southeast-1", "apse1.pure.cloud"),
    _region("ap-southeast-2", "mypurecloud.com.au"),
)
_BY_NAME = {name: region for region in ALL for name in (region.name, region.aws_name)}
_HOST_PREFIXES = ("api.", "login.", "apps.")


def resolve(environment: str | Region) -> Region:
    """Return the region that `environment` names.

    Args:
        environment:
            The domain (`mypurecloud.de`), the AWS name (`eu-central-1`, `eu_central_1`), either with `api.`, `login.` or
            `apps.` before it, a full address of one of those hosts, the base address of a server on this machine
            (`http://127.0.0.1:8080`), or a `Region` such as `gateway()` makes.

    Raises:
        UnknownRegionError:
            No region has that name; the message lists the nearest ones.
        InsecureUrlError:
            `http://` for anything but this machine.
    """
    if isinstance(environment, Region):
        return environment
    if not isinstance(environment, str):
        raise _unknown("" if environment is None else f"a {type(environment).__name__}")
    text = environment.strip()
    parts = _split(text)
    if parts is None:
        raise _unknown(text.partition("://")[2] or text)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme and _is_loopback(host):
        return gateway(text, login_path="", api_path="")
    if parts.scheme == "http":
        _refuse_http(host)
    domain = host
    for prefix in _HOST_PREFIXES:
        domain = domain.removeprefix(prefix)
    region = _BY_NAME.get(domain) or _BY_NAME.get(domain.replace("_", "-"))
    plain = parts.username is None and parts.password is None and parts.port in {None, 443}
    if region is None or parts.scheme not in {"", "https"} or not plain:
        raise _unknown(domain)
    return region


def gateway(base_url: str, *, login_path: str = "login", api_path: str = "api") -> Region:
    """Return a region whose login and API sit behind one base address.

    Args:
        base_url:
            `scheme://host[:port][/path]`; `https`, or `http` on this machine only.
        login_path, api_path:
            Where below it the two begin: OAuth is then `<base_url>/<login_path>/oauth/token`, the platform API
            `<base_url>/<api_path>/api/v2/…`. Empty for the base itself.

    Raises:
        InsecureUrlError:
            `http://` for anything but this machine.
        ConfigurationError:
            Not an address of that form.
    """
    parts = _split(base_url.strip()) if isinstance(base_url, str) else None
    if parts is not None and parts.scheme == "http" and parts.hostname and not _is_loopback(parts.hostname):
        _refuse_http(parts.hostname)
    base = _base(parts) if parts is not None else None
    if base is None:
        raise ConfigurationError(
            "A gateway needs a base address of the form https://host[:port][/path].",
            "Leave out user name, query and fragment, and check the host name and the port.",
        )
    urls = [
        _base(_split(f"{base}/{path.strip('/')}")) for path in (login_path, api_path) if isinstance(path, str)
    ]
    if len(urls) != 2 or urls[0] is None or urls[1] is None:
        raise ConfigurationError(
            "A gateway's login_path and api_path must be paths, such as 'login' and 'api'.",
            "Leave out query and fragment.",
        )
    return Region(base, "", urls[0], urls[1])


def _base(parts: SplitResult | None) -> str | None:
    """Return a base address as it is sent, its host in IDNA form and without a slash at the end; None where it is none."""
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        return None
    if parts.query or parts.fragment or parts.port == 0 or re.search(r"[\\\s%]", parts.netloc):
        return None
    prepared = requests.PreparedRequest()
    try:
        prepared.prepare_url(parts.geturl(), None)
    except (requests.RequestException, ValueError):
        return None
    sent = _split(prepared.url or "")
    if sent is None or not sent.hostname or not sent.hostname.isascii():
        return None
    host = f"[{sent.hostname}]" if ":" in sent.hostname else sent.hostname
    port = "" if parts.port is None else f":{parts.port}"
    return f"{sent.scheme}://{host}{port}{sent.path}".rstrip("/")


def is_loopback_url(url: str) -> bool:
    """Tell whether `url` stays on this machine."""
    parts = _split(url)
    return parts is not None and _is_loopback(parts.hostname or "")


def _split(text: str) -> SplitResult | None:
    """Return the parts of an address or of a host alone; None where it cannot be read."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        _ = parts.port  # raises ValueError where it is no number
    except ValueError:
        return None
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_http(host: str) -> None:
    raise InsecureUrlError(
        f"http://{readable(host, 60)} was refused: tokens and secrets would travel unencrypted.",
        "Use https://; plain http is for servers on this machine only.",
    )


def _unknown(name: str) -> UnknownRegionError:
    shown = readable(name.rpartition("@")[2], 60)  # never the user information of an address
    nearest = tuple(difflib.get_close_matches(shown.lower().replace("_", "-"), _BY_NAME, n=4, cutoff=0.5))
    listed = "Nearest: " if nearest else "Known regions: "
    listed += ", ".join(str(_BY_NAME[n]) for n in nearest) if nearest else ", ".join(map(str, ALL))
    return UnknownRegionError(
        f"{shown!r} is no Genesys Cloud region that this package knows." if shown else "No region was given.",
        f"{listed}. For a gateway in front of Genesys Cloud, pass gctokens_nb.regions.gateway(base_url).",
        nearest=nearest,
    )
