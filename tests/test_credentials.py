"""Where credentials come from, in which order, and what is told of it."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import keyring
import keyring.backend
import keyring.errors
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gctokens_nb as gct
from gctokens_nb import credentials, regions
from gctokens_nb.credentials import CredentialsWarning, find
from gctokens_nb.errors import ConfigurationError, CredentialsError, GCTokensError, UnknownRegionError
from gctokens_nb.sandbox import Sandbox

REGION = "mypurecloud.de"
ENVIRONMENTS = [
    ("GENESYSCLOUD_OAUTHCLIENT_ID", "GENESYSCLOUD_OAUTHCLIENT_SECRET"),
    ("GENESYS_CLOUD_CLIENT_ID", "GENESYS_CLOUD_CLIENT_SECRET"),
    ("PURECLOUD_CLIENT_ID", "PURECLOUD_SECRET"),
]


@pytest.fixture
def write_profile(clean_environment: Path):
    """Write `~/.gc/config.toml`, for its owner only."""

    def write(text: str | bytes, mode: int = 0o600) -> Path:
        path = clean_environment / ".gc" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


PROFILES = """
[DEFAULT]
environment = "mypurecloud.ie"
client_credentials = "default-id"
client_secret = "default-secret"
grant_type = "0"

[Acme]
environment = "euw2.pure.cloud"
access_token = "acme-token"
client_credentials = "acme-id"

[bare]
redirect_uri = "http://localhost"
"""


# The environment


@pytest.mark.parametrize(("id_name", "secret_name"), ENVIRONMENTS)
def test_every_pair_of_variables(id_name: str, secret_name: str, monkeypatch: pytest.MonkeyPatch):
    """The variables of the command line, of the Python SDK and of the older SDKs each work, and are told by name."""
    monkeypatch.setenv(id_name, "an-id")
    monkeypatch.setenv(secret_name, "a-secret")
    found = find(environment=REGION)
    assert (found.client_id, found.client_secret.reveal()) == ("an-id", "a-secret")
    assert found.origins["client_id"] == f"the environment variable {id_name}"
    assert found.origins["client_secret"] == f"the environment variable {secret_name}"


def test_the_pairs_count_in_their_order(monkeypatch: pytest.MonkeyPatch):
    """Where several pairs are set the command line's goes first, and id and secret stay together."""
    for number, (id_name, secret_name) in enumerate(ENVIRONMENTS):
        monkeypatch.setenv(id_name, f"id-{number}")
        monkeypatch.setenv(secret_name, f"secret-{number}")
    found = find(environment=REGION)
    assert (found.client_id, found.client_secret.reveal()) == ("id-0", "secret-0")
    monkeypatch.delenv("GENESYSCLOUD_OAUTHCLIENT_ID")
    found = find(environment=REGION)
    assert found.client_id == "id-1"
    assert found.client_secret.reveal() == "secret-1"


@pytest.mark.parametrize("name", ["GENESYSCLOUD_REGION", "PURECLOUD_ENVIRONMENT"])
def test_the_region_of_the_environment(name: str, monkeypatch: pytest.MonkeyPatch):
    """The region is taken from its variables, in any spelling."""
    monkeypatch.setenv(name, "https://apps.mypurecloud.ie/")
    found = find(access_token="abc")
    assert found.region.name == "mypurecloud.ie"
    assert found.origins == {
        "region": f"the environment variable {name}",
        "access_token": "the argument access_token",
    }


def test_a_token_goes_before_a_client_in_the_same_place(monkeypatch: pytest.MonkeyPatch):
    """GENESYSCLOUD_ACCESS_TOKEN goes before the client beside it; blank variables do not count."""
    monkeypatch.setenv("GENESYSCLOUD_ACCESS_TOKEN", " the-token ")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", "an-id")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", "a-secret")
    assert find(environment=REGION).access_token.reveal() == "the-token"
    monkeypatch.setenv("GENESYSCLOUD_ACCESS_TOKEN", "  ")
    assert find(environment=REGION).client_id == "an-id"


# Arguments


def test_arguments_go_before_everything(monkeypatch: pytest.MonkeyPatch, write_profile):
    """Arguments win over variables and profiles, and a region that was passed over is noted."""
    write_profile(PROFILES)
    monkeypatch.setenv("GENESYSCLOUD_REGION", "mypurecloud.jp")
    monkeypatch.setenv("GENESYSCLOUD_ACCESS_TOKEN", "environment-token")
    found = find(environment=REGION, client_id="my-id", client_secret="my-secret")
    assert (found.region.name, found.client_id, found.client_secret.reveal()) == (
        REGION,
        "my-id",
        "my-secret",
    )
    assert found.access_token is None
    used = "The region is mypurecloud.de (eu-central-1), from the argument environment"
    assert found.notes == (
        f"{used}; the environment variable GENESYSCLOUD_REGION names another and was not used.",
        f"{used}; environment of profile DEFAULT in ~/.gc/config.toml names another and was not used.",
    )


def test_the_same_region_under_another_name_is_no_note(monkeypatch: pytest.MonkeyPatch):
    """Two spellings of one region are no contradiction; one that names nothing is noted, not raised."""
    monkeypatch.setenv("GENESYSCLOUD_REGION", "eu_central_1")
    assert find(environment=REGION, access_token="abc").notes == ()
    monkeypatch.setenv("GENESYSCLOUD_REGION", "no-region")
    assert len(find(environment=REGION, access_token="abc").notes) == 1


def test_both_a_token_and_a_client_are_refused():
    """A token and a client together are ambiguous, and refused."""
    with pytest.raises(CredentialsError, match=r"Both an access token and a client were given\. Pass either"):
        find(environment=REGION, access_token="abc", client_id="an-id")


def test_a_secret_argument_completes_the_id_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    """A secret alone completes the id that stands in the environment, rather than a token there."""
    monkeypatch.setenv("GENESYSCLOUD_ACCESS_TOKEN", "environment-token")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", "an-id")
    found = find(environment=REGION, client_secret="my-secret")
    assert (found.client_id, found.client_secret.reveal()) == ("an-id", "my-secret")


def test_the_secret_of_another_client_does_not_count(monkeypatch: pytest.MonkeyPatch):
    """A secret that stands beside another id is not tried with this one."""
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", "other-id")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", "other-secret")
    with pytest.raises(
        CredentialsError,
        match=r"The secret of client my-id \(from the argument client_id\) was not found\. Pass client_secret",
    ) as caught:
        find(environment=REGION, client_id="my-id")
    assert "other-secret" not in str(caught.value)
    assert find(environment=REGION, client_id="other-id").client_secret.reveal() == "other-secret"


def test_a_wrong_region_argument_is_told():
    """A region that does not exist is refused with the nearest ones, before anything is looked for."""
    with pytest.raises(UnknownRegionError, match=r"Nearest: mypurecloud\.de"):
        find(environment="mypurecloud.dd", access_token="abc")


# Profiles


def test_the_default_profile_counts_last(monkeypatch: pytest.MonkeyPatch, write_profile):
    """The DEFAULT profile of the command line is used where nothing else is set."""
    write_profile(PROFILES)
    found = find()
    assert (found.region.name, found.client_id) == ("mypurecloud.ie", "default-id")
    assert found.client_secret.reveal() == "default-secret"
    assert found.origins == {
        "region": "environment of profile DEFAULT in ~/.gc/config.toml",
        "client_id": "client_credentials of profile DEFAULT in ~/.gc/config.toml",
        "client_secret": "client_secret of profile DEFAULT in ~/.gc/config.toml",
    }
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", "an-id")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", "a-secret")
    assert find().client_id == "an-id"


def test_credentials_beside_another_region_are_noted(monkeypatch: pytest.MonkeyPatch, write_profile):
    """Credentials whose own place names another region than the one used get a note: they may be refused."""
    write_profile(PROFILES)
    monkeypatch.setenv("GENESYSCLOUD_REGION", "mypurecloud.jp")
    assert any(
        "stand beside another region, in environment of profile DEFAULT" in note for note in find().notes
    )


def test_a_named_profile_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, write_profile):
    """`profile=` names a table in any letter case, and goes before the environment."""
    write_profile(PROFILES)
    monkeypatch.setenv("GENESYSCLOUD_ACCESS_TOKEN", "environment-token")
    found = find(profile="acme")
    assert (found.region.name, found.access_token.reveal()) == ("euw2.pure.cloud", "acme-token")
    assert found.origins["access_token"] == "access_token of profile acme in ~/.gc/config.toml"


def test_a_profile_that_does_not_exist_is_told(write_profile):
    """A wrong profile name lists those that exist; no file at all is told, too."""
    with pytest.raises(CredentialsError, match=r"There is no ~/\.gc/config\.toml, so no profile acme"):
        find(profile="acme")
    write_profile(PROFILES)
    with pytest.raises(CredentialsError, match=r"has no profile nobody\. It has: acme, bare, default\."):
        find(profile="nobody")


def test_a_file_with_a_byte_order_mark_is_read(write_profile):
    """An editor's byte order mark does not hide the first table."""
    write_profile(b"\xef\xbb\xbf" + PROFILES.strip().encode())
    assert find().client_id == "default-id"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[DEFAULT]\nclient_secret = "hunter2\n', r"\(at line 2, column 25\)"),
        ("client_secret = hunter2", r"\(at line 1, column 17\)"),
        ('a = "hunter2"\na = "hunter2"', r"\(at "),
        (b"client_secret = '\xff hunter2'", "not UTF-8"),
    ],
)
def test_a_broken_file_is_told_without_its_content(write_profile, text: str | bytes, place: str):
    """A file that is no TOML is an error that tells the place, and repeats nothing of what stands there."""
    write_profile(text)
    with pytest.raises(CredentialsError, match=place) as caught:
        find(environment=REGION)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(clean_environment: Path):
    """Where the file cannot be read the reason is told."""
    (clean_environment / ".gc" / "config.toml").mkdir(parents=True)
    with pytest.raises(CredentialsError, match=r"~/\.gc/config\.toml cannot be read: Is a directory"):
        find(environment=REGION)


def test_a_file_open_to_others_is_warned_of(write_profile):
    """Secrets that other users of the machine can read get a warning that says what to do; they work all the same."""
    write_profile(PROFILES, mode=0o644)
    with pytest.warns(CredentialsWarning, match="chmod 600"):
        assert find().client_id == "default-id"


# Gateway and proxy

GATEWAY = """
[DEFAULT]
environment = "mypurecloud.ie"
access_token = "abc"
gateway_protocol = "https"
gateway_host = "g.example"
gateway_port = "8443"
gateway_pathparams = "{login: /loginpath, api: apipath}"
proxy_protocol = "http"
proxy_host = "p.example"
proxy_port = "3128"
proxy_username = "me@example.com"
proxy_password = "hunter/2"
proxy_pathparams = "{}"
"""
GATEWAY_TABLES = """
[DEFAULT]
environment = "mypurecloud.ie"
access_token = "abc"
[DEFAULT.gateway_configuration]
protocol = "https"
host = "g.example"
port = 8443
pathParams = "{api: /apipath, login: loginpath}"
[DEFAULT.proxy_configuration]
protocol = "http"
host = "p.example"
port = 3128
userName = "me@example.com"
password = "hunter/2"
"""
PROXY = "http://me%40example.com:hunter%2F2@p.example:3128"


@pytest.mark.parametrize("text", [GATEWAY, GATEWAY_TABLES], ids=["keys", "tables"])
def test_gateway_and_proxy_of_a_profile_count(write_profile, text: str):
    """The gateway and the proxy of the command line's profile are the way that calls and sign-in take, and are told."""
    write_profile(text)
    found = find()
    assert found.region.login_url == "https://g.example:8443/loginpath"
    assert found.region.api_url == "https://g.example:8443/apipath"
    assert found.region.proxy.reveal() == PROXY
    assert found.origins["gateway"] == "gateway_host of profile DEFAULT in ~/.gc/config.toml"
    assert found.origins["proxy"] == "proxy_host of profile DEFAULT in ~/.gc/config.toml"
    assert "hunter" not in repr(found)
    with gct.connect() as gc:
        assert gc.session.proxies == {"http": "http://p.example:3128", "https": "http://p.example:3128"}
        assert pickle.loads(pickle.dumps(gc)).session.proxies == gc.session.proxies
        assert "hunter" not in repr(vars(gc.session))
    for begun in (
        gct.begin_sign_in("mypurecloud.ie", "an-id", "http://127.0.0.1:1/"),
        gct.begin_sign_in(regions.resolve("mypurecloud.de"), "an-id", "http://127.0.0.1:1/"),
    ):
        assert begun.url.startswith("https://g.example:8443/loginpath/oauth/authorize?")
        assert begun._request.region.proxy.reveal() == PROXY


def test_gateway_and_proxy_of_the_environment_count(monkeypatch: pytest.MonkeyPatch, write_profile):
    """The variables of the Terraform provider go before the default profile."""
    write_profile(GATEWAY)
    monkeypatch.setenv("GENESYSCLOUD_GATEWAY_HOST", "other.example")
    monkeypatch.setenv("GENESYSCLOUD_GATEWAY_PATH_NAME", "api")
    monkeypatch.setenv("GENESYSCLOUD_GATEWAY_PATH_VALUE", "/platform")
    monkeypatch.setenv("GENESYSCLOUD_PROXY_HOST", "q.example")
    monkeypatch.setenv("GENESYSCLOUD_PROXY_PORT", "8080")
    found = find(environment=REGION, client_id="an-id", client_secret="a-secret")
    assert (found.region.login_url, found.region.api_url) == (
        "https://other.example",
        "https://other.example/platform",
    )
    assert found.region.proxy.reveal() == "http://q.example:8080"
    assert found.origins["gateway"] == "the environment variable GENESYSCLOUD_GATEWAY_HOST"


def test_an_address_that_was_named_is_where_it_goes(monkeypatch: pytest.MonkeyPatch):
    """A server named by its address is not reached by way of a gateway, and a note tells of it."""
    monkeypatch.setenv("GENESYSCLOUD_GATEWAY_HOST", "other.example")
    found = find(environment="http://127.0.0.1:8080", access_token="abc")
    assert found.region.api_url == "http://127.0.0.1:8080"
    assert "gateway" not in found.origins
    assert any("GENESYSCLOUD_GATEWAY_HOST was not used" in note for note in found.notes)


def test_a_sign_in_goes_through_its_proxy(monkeypatch: pytest.MonkeyPatch, listener):
    """The secret takes the proxy's way, and no other."""
    port = listener.url.rpartition(":")[2]
    monkeypatch.setenv("GENESYSCLOUD_PROXY_HOST", "127.0.0.1")
    monkeypatch.setenv("GENESYSCLOUD_PROXY_PORT", port)
    with pytest.raises(GCTokensError):
        gct.connect(REGION, client_id="an-id", client_secret="a-secret")
    assert [heard.path for heard in listener.heard] in ([], [f"login.{REGION}:443"])


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"GATEWAY_PORT": "443"}, "needs a host name"),
        ({"GATEWAY_HOST": "g.example", "GATEWAY_PORT": "http"}, "needs a host name"),
        ({"GATEWAY_HOST": "g.example/path"}, "needs a host name"),
        ({"GATEWAY_HOST": "user:hunter2@g.example"}, "needs a host name"),
        ({"GATEWAY_HOST": "g.example", "GATEWAY_PROTOCOL": "http"}, "cannot be used"),
        ({"GATEWAY_HOST": "g.example", "GATEWAY_AUTH_USERNAME": "me"}, "user name or a password"),
        (
            {"GATEWAY_HOST": "g.example", "GATEWAY_PATH_NAME": "other", "GATEWAY_PATH_VALUE": "x"},
            "paths that are",
        ),
        ({"GATEWAY_HOST": "g.example", "GATEWAY_PATH_NAME": "api"}, "paths that are"),
        ({"PROXY_PORT": "3128"}, "needs a host name"),
        ({"PROXY_HOST": "p.example", "PROXY_PROTOCOL": "socks5"}, "not supported"),
        ({"PROXY_PATH_PARAMS": "x"}, "GENESYSCLOUD_PROXY_PATH_PARAMS is not understood"),
    ],
)
def test_a_way_that_cannot_be_taken_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
):
    """What cannot be honoured is refused in words: the secret takes no other road than the one that is set."""
    for name, value in variables.items():
        monkeypatch.setenv(f"GENESYSCLOUD_{name}", value)
    for look in (
        lambda: find(environment=REGION, access_token="abc"),
        lambda: gct.begin_sign_in(REGION, "an-id", "http://127.0.0.1:1/"),
        lambda: gct.authenticate_with_saml2_bearer("an-id", "s", "org", "a", REGION),
    ):
        with pytest.raises(CredentialsError, match=message) as caught:
            look()
        assert "hunter2" not in str(caught.value)


# Profiles of persons


def profile_of(grant: str, token: str = "", ends: str = "", secret: str = "") -> str:
    """A profile as the command line leaves it after a sign-in."""
    data = json.dumps(
        {"access_token": token, "token_type": "bearer", "error": "", "oauth_token_expiry": ends}
    )
    return f"""
[acme.prod]
environment = "euw2.pure.cloud"
client_credentials = "acme-id"
client_secret = "{secret}"
grant_type = "{grant}"
redirect_uri = "http://localhost:8085"
oauth_token_data = {data!r}
"""


def in_hours(hours: float) -> str:
    """A moment as the command line writes it."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="seconds")


@pytest.mark.parametrize("grant", ["2", "3"])
def test_a_live_token_of_the_command_line_is_used(write_profile, grant: str):
    """Where the command line has signed in a person, its token is taken while it lives, and origins say until when."""
    write_profile(profile_of(grant, "live-token", in_hours(1)))
    found = find(profile="acme.prod")
    assert found.access_token.reveal() == "live-token"
    assert found.region.name == "euw2.pure.cloud"
    assert found.origins["access_token"].startswith(
        "oauth_token_data of profile acme.prod in ~/.gc/config.toml, which lives until 2"
    )


@pytest.mark.parametrize("grant", ["2", "3"])
@pytest.mark.parametrize(
    "ends",
    ["", "soon", in_hours(-1), "9999-99-99", "0001-01-01T00:00:00+14:00"],
    ids=["nothing", "a word", "an hour ago", "no date", "before the year 1 in UTC"],
)
def test_a_profile_of_a_person_is_led_to_the_browser(write_profile, grant: str, ends: str):
    """Without a live token, such a profile names the call that signs in."""
    write_profile(profile_of(grant, "dead-token", ends))
    with pytest.raises(CredentialsError, match="signs in a person, in the browser") as caught:
        find(profile="acme.prod")
    assert "sign_in_with_browser(profile='acme.prod')" in caught.value.next_step
    assert "dead-token" not in str(caught.value)


def test_a_client_with_its_secret_signs_in_itself(write_profile):
    """A client-credentials profile signs in anew, in a way that can be renewed, whatever token lies beside it."""
    write_profile(profile_of("1", "live-token", in_hours(1), "a-secret"))
    found = find(profile="Acme.Prod")
    assert (found.client_id, found.client_secret.reveal(), found.access_token) == (
        "acme-id",
        "a-secret",
        None,
    )


def test_a_person_signs_in_with_a_profile(write_profile, sandbox: Sandbox):
    """`sign_in_with_browser(profile=…)` takes region, client and redirect URI from the profile, as they are registered."""
    client_id = sandbox.client("single page app").client_id
    text = profile_of("3").replace("euw2.pure.cloud", sandbox.environment).replace("acme-id", client_id)
    write_profile(text.replace(":8085", ":0"))
    opened: list[str] = []

    def open_url(url: str) -> None:
        opened.append(url)
        threading.Thread(target=requests.get, args=(url,), kwargs={"timeout": 10}).start()

    with gct.sign_in_with_browser(
        profile="acme.prod", login_hint=sandbox.users[0].id, open_url=open_url
    ) as gc:
        assert gc.directory.me().id == sandbox.users[0].id
    redirect = parse_qs(urlsplit(opened[0]).query)["redirect_uri"][0]
    assert re.fullmatch(r"http://localhost:\d+", redirect)


def test_a_browser_sign_in_without_a_client_is_told():
    """Without a client id there is nobody to sign in with."""
    with pytest.raises(CredentialsError, match="No OAuth client is given"):
        gct.sign_in_with_browser(REGION)


# Whatever stands there


@pytest.mark.parametrize(
    "text",
    [
        b"\x00",
        b"a = " + b"[" * 20_000,
        b"a = " + b"9" * 10_000,
        b"a = 1979-99-99",
        b"[DEFAULT]\nclient_secret = 'hunter2'\n" * 2,
        b"x" * 2_000_000,
    ],
)
def test_an_odd_file_is_an_error_of_ours(write_profile, text: bytes):
    """A file that is damaged, nested without end or huge is told, without what stands in it."""
    write_profile(text)
    with pytest.raises(CredentialsError, match=r"~/\.gc/config\.toml") as caught:
        find(environment=REGION)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None or "hunter2" not in repr(caught.value.__context__)


VALUES = st.recursive(
    st.text(max_size=9) | st.integers(-9, 9) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(
    [
        "environment",
        "client_credentials",
        "client_secret",
        "access_token",
        "grant_type",
        "redirect_uri",
        "oauth_token_data",
        "gateway_host",
        "gateway_pathparams",
        "proxy_host",
        "proxy_port",
        "proxy_configuration",
    ]
)


@given(profile=st.dictionaries(KEYS, VALUES, max_size=8), name=st.text(max_size=9) | st.just("DEFAULT"))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_errors_of_ours_leave(write_profile, profile: dict[str, Any], name: str):
    """Whatever values a profile has: credentials, or an error of ours."""
    write_profile(f"DEFAULT = {toml(profile)}")
    with contextlib.suppress(GCTokensError):
        find(profile=name)
    with contextlib.suppress(GCTokensError):
        credentials.for_browser(None, None, None, name)
    with contextlib.suppress(GCTokensError):
        credentials.prefill()


def toml(value: Any) -> str:
    """A value as TOML writes it, in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


@pytest.mark.parametrize("option", [{"environment": 7}, {"profile": 7}, {"profile": " "}])
def test_what_is_no_text_is_refused(option: dict[str, Any]):
    """A region or a profile that is no text is told in words."""
    with pytest.raises(ConfigurationError):
        find(access_token="abc", **option)


# The keyring and the prompt


class InMemory(keyring.backend.KeyringBackend):
    """A keyring of this test alone."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        """As a keyring does."""
        if self.locked:
            raise keyring.errors.KeyringLocked
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """As a keyring does."""
        if self.locked:
            raise keyring.errors.KeyringLocked
        self.held[service, username] = password


@pytest.fixture
def in_memory() -> Iterator[InMemory]:
    """Keep secrets in this test instead of the developer's keyring."""
    before, backend = keyring.get_keyring(), InMemory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


def test_the_keyring_is_asked_on_request_only(in_memory: InMemory):
    """A secret kept by `save_secret` is found with `keyring=True`, for its region, and not without."""
    credentials.save_secret("an-id", "kept-secret", "eu-central-1")
    assert in_memory.held == {("gctokens_nb mypurecloud.de", "an-id"): "kept-secret"}
    found = find(environment=REGION, client_id="an-id", keyring=True)
    assert found.client_secret.reveal() == "kept-secret"
    assert found.origins["client_secret"] == "the keyring"
    for options in ({"environment": REGION}, {"environment": "mypurecloud.ie", "keyring": True}):
        with pytest.raises(CredentialsError, match="was not found"):
            find(client_id="an-id", **options)


def test_a_locked_keyring_is_told(in_memory: InMemory):
    """A keyring that refuses is an error that says so, for reading and for keeping."""
    in_memory.locked = True
    with pytest.raises(CredentialsError, match=r"could not be read: KeyringLocked\. Unlock it"):
        find(environment=REGION, client_id="an-id", keyring=True)
    with pytest.raises(CredentialsError, match=r"did not take the secret: KeyringLocked\. Unlock it"):
        credentials.save_secret("an-id", "a-secret", REGION)


@pytest.mark.parametrize("raised", [RuntimeError("hunter2"), KeyError("hunter2"), OSError("hunter2")])
def test_a_keyring_that_breaks_is_told(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch, raised: Exception
):
    """A back end is anybody's code: whatever it raises is told by its kind, not by its words."""

    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(in_memory, "get_password", fail)
    monkeypatch.setattr(in_memory, "set_password", fail)
    for use in (
        lambda: find(environment=REGION, client_id="an-id", keyring=True),
        lambda: credentials.save_secret("an-id", "a-secret", REGION),
    ):
        with pytest.raises(CredentialsError, match=type(raised).__name__) as caught:
            use()
        assert "hunter2" not in str(caught.value)


def test_nobody_to_ask_is_told(monkeypatch: pytest.MonkeyPatch):
    """Where a notebook runs without a person, the prompt is an error of ours."""

    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    monkeypatch.setattr("getpass.getpass", nobody)
    for options in ({}, {"environment": REGION}, {"environment": REGION, "client_id": "an-id"}):
        with pytest.raises(CredentialsError, match="Nobody can be asked"):
            find(prompt=True, **options)


def test_a_missing_keyring_package_is_told(monkeypatch: pytest.MonkeyPatch):
    """Without the optional package the message says how to install it."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(CredentialsError, match=r"pip install 'gctokens-nb\[keyring\]'"):
        find(environment=REGION, client_id="an-id", keyring=True)


def test_the_prompt_asks_for_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    """`prompt=True` asks for region, id and secret, the secret without echo, and for nothing that is there."""
    answers = iter([f" {REGION} ", " an-id "])
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or next(answers))
    monkeypatch.setattr("getpass.getpass", lambda text: asked.append(text) or "typed-secret")
    found = find(prompt=True)
    assert (found.region.name, found.client_id, found.client_secret.reveal()) == (
        REGION,
        "an-id",
        "typed-secret",
    )
    assert set(found.origins.values()) == {"the prompt"}
    assert len(asked) == 3
    asked.clear()
    find(environment=REGION, client_id="an-id", prompt=True)
    assert asked == ["OAuth client secret: "]


def test_an_empty_answer_to_the_prompt_is_told(monkeypatch: pytest.MonkeyPatch):
    """Pressing Enter at a prompt is no credential."""
    monkeypatch.setattr("builtins.input", lambda _: "")
    monkeypatch.setattr("getpass.getpass", lambda _: "")
    with pytest.raises(CredentialsError, match="No credentials were found"):
        find(environment=REGION, prompt=True)
    with pytest.raises(CredentialsError, match="The secret of client an-id"):
        find(environment=REGION, client_id="an-id", prompt=True)
    with pytest.raises(ConfigurationError):
        find(access_token="abc", prompt=True)


# Telling


def test_sources_shows_where_but_no_value(monkeypatch: pytest.MonkeyPatch, write_profile):
    """`sources` lists every place in its order, what was found there and what counts; never a value."""
    write_profile(PROFILES)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", "an-id")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", "environment-secret")
    table = credentials.sources()
    assert list(table.columns) == ["value", "place", "found", "used"]
    used = table[table["used"]].set_index("value")["place"].to_dict()
    assert used == {
        "region": "environment of profile DEFAULT in ~/.gc/config.toml",
        "client_id": "the environment variable GENESYSCLOUD_OAUTHCLIENT_ID",
        "client_secret": "the environment variable GENESYSCLOUD_OAUTHCLIENT_SECRET",
    }
    assert table["found"].sum() == 5
    text = table.to_string() + table.to_html()
    for value in ("an-id", "environment-secret", "default-id", "default-secret", "mypurecloud.ie"):
        assert value not in text


def test_prefill_tells_region_and_id_but_no_secret(monkeypatch: pytest.MonkeyPatch, write_profile):
    """`prefill` gives what a form may begin with: the region and the client id that `connect` would take."""
    assert credentials.prefill() == {}
    write_profile(PROFILES)
    assert credentials.prefill() == {"region": "mypurecloud.ie", "client_id": "default-id"}
    monkeypatch.setenv("GENESYSCLOUD_ACCESS_TOKEN", "environment-token")
    assert credentials.prefill() == {"region": "mypurecloud.ie"}


def test_sources_of_nothing():
    """On a machine without credentials `sources` still lists where is looked."""
    table = gct.credentials.sources()
    assert not table["found"].any()
    assert not table["used"].any()
    assert {"region", "access_token", "client_id", "client_secret"} == set(table["value"])


def test_credentials_show_no_secret():
    """What `find` returns masks secrets in its repr, and its origins name places only."""
    found = find(environment=REGION, client_id="an-id", client_secret="a-secret")
    assert "a-secret" not in repr(found)
    assert "an-id" in repr(found)
