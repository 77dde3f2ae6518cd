"""The published Python SDK beside our client: both sign in to one sandbox, and what they read is put in one form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import requests

import gctokens_nb as gct
from gctokens_nb.sandbox import Sandbox

CALLBACK = "http://127.0.0.1/callback"


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The SDK. Its configuration is read once, at import, from a home that tells it not to watch files.

    It is one for the whole process: no test changes it, each has an `ApiClient` of its own instead.
    """
    home = tmp_path_factory.mktemp("sdk-home")
    config = home / ".genesyscloudpython" / "config"
    config.parent.mkdir()
    config.write_text("[general]\nlive_reload_config = false\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        import PureCloudPlatformClientV2
    return PureCloudPlatformClientV2


@pytest.fixture
def new_client(sdk: ModuleType, sandbox: Sandbox) -> Iterator[Callable[..., Any]]:
    """Make an `ApiClient` of the SDK: `new_client()` for the sandbox, `new_client(another_sandbox)`."""
    made = []

    def make(server: Sandbox = sandbox) -> Any:
        made.append(sdk.ApiClient(host=server.base_url))
        return made[-1]

    yield make
    for client in made:
        client.get_http_client().rest_client.pool_manager.clear()


@pytest.fixture
def client(new_client: Callable[..., Any]) -> Any:
    """An `ApiClient` of the SDK, not signed in."""
    return new_client()


@pytest.fixture
def browse() -> Callable[[str], str]:
    """Be a browser that does not follow the redirect: return the address it would end on."""
    return lambda url: requests.get(url, allow_redirects=False, timeout=10).headers["Location"]


@pytest.fixture
def code_for(browse: Callable[[str], str]) -> Callable[..., str]:
    """Sign a person in on the authorize page, without any client: `code_for(sandbox, "web app")`."""

    def authorize(server: Sandbox, name: str, user_id: str = "", **challenge: str) -> str:
        query = {
            "client_id": server.client(name).client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "login_hint": user_id or server.users[0].id,
            **challenge,
        }
        url = requests.Request("GET", f"{server.base_url}/oauth/authorize", params=query).prepare().url
        return parse_qs(urlsplit(browse(url or "")).query)["code"][0]

    return authorize


@pytest.fixture
def our_sign_in(sandbox: Sandbox) -> Callable[..., Any]:
    """Begin to sign in with our client the person whom `code_for` signs in: `our_sign_in("web app")`."""

    def begin(name: str, server: Sandbox = sandbox) -> Any:
        known = server.client(name)
        return gct.begin_sign_in(
            server.environment,
            known.client_id,
            CALLBACK,
            client_secret=known.client_secret,
            login_hint=server.users[0].id,
        )

    return begin


@pytest.fixture
def plain() -> Callable[[Any], Any]:
    """Turn a model of either client into the JSON fields that it has read; what is absent or empty is left out."""

    def read(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [read(item) for item in value]
        if isinstance(value, msgspec.Struct):
            wire_names = dict(zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True))
            wire_names.pop("raw", None)
        elif hasattr(value, "attribute_map"):
            # Ours knows no links: they are in `raw`.
            wire_names = {name: wire for name, wire in value.attribute_map.items() if wire != "selfUri"}
        else:
            return value
        fields = {wire: read(getattr(value, name)) for name, wire in wire_names.items()}
        return {wire: field for wire, field in fields.items() if field not in (None, [])}

    return read
