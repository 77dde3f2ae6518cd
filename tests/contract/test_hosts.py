"""Where both clients send their requests."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

import gctokens_nb as gct
from gctokens_nb.sandbox import Sandbox


def test_regions_are_those_of_the_sdk(sdk: ModuleType) -> None:
    """Both know the same regions, under the same AWS names, with the same API host."""
    theirs = {region.name: region.get_api_host() for region in sdk.PureCloudRegionHosts}
    assert {region.aws_name.replace("-", "_"): region.api_url for region in gct.regions.ALL} == theirs


@pytest.mark.parametrize("region", gct.regions.ALL, ids=str)
def test_login_hosts_are_those_of_the_sdk(sdk: ModuleType, region: gct.regions.Region) -> None:
    """Both sign in at the same host of each region."""
    client = sdk.ApiClient(host=region.api_url)
    assert client.get_conf_url("login", client.host) == region.login_url


@pytest.mark.parametrize(("login_path", "api_path"), [("login", "api"), ("/a/login/", "b/api"), ("", "")])
@pytest.mark.parametrize("port", [8443, -1])
def test_gateway_addresses_are_those_of_the_sdk(
    sdk: ModuleType, port: int, login_path: str, api_path: str
) -> None:
    """Both compose the same addresses for a gateway, with and without port and paths."""
    client = sdk.ApiClient()
    client.set_gateway("gateway.example.org", "https", port, login_path, api_path)
    base = "https://gateway.example.org" + (f":{port}" if port > 0 else "")
    ours = gct.regions.gateway(base, login_path=login_path, api_path=api_path)
    assert client.get_conf_url("login", client.host) == ours.login_url
    assert client.get_conf_url("api", client.host) == ours.api_url


def test_sdk_reaches_the_sandbox_as_a_gateway(
    sdk: ModuleType, client: Any, sandbox: Sandbox, plain: Callable[[Any], Any]
) -> None:
    """The SDK's gateway configuration takes login and API of the sandbox for one gateway."""
    address = urlsplit(sandbox.base_url)
    client.host = "https://api.mypurecloud.com"  # which the gateway overrides
    client.set_gateway(address.hostname, address.scheme, address.port, "", "")
    admin = sandbox.client("admin")
    client.get_client_credentials_token(admin.client_id, admin.client_secret)
    assert plain(sdk.TokensApi(client).get_tokens_me())["OAuthClient"]["name"] == "admin"
