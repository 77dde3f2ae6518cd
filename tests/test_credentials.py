"""Where credentials come from, in which order, and what is told of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

import gctokens_nb as gct
from gctokens_nb import credentials
from gctokens_nb.credentials import CredentialsWarning, find
from gctokens_nb.errors import ConfigurationError, CredentialsError, UnknownRegionError

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


def test_a_gateway_or_proxy_of_the_file_is_warned_of(write_profile):
    """Settings of the command line that are not read here are named, as the calls would go elsewhere."""
    write_profile(
        '[DEFAULT]\ngateway_host = "g.example"\nproxy_port = "8080"\nproxy_host = ""\naccess_token = "abc"\n'
    )
    with pytest.warns(CredentialsWarning, match="gateway_host, proxy_port not read here"):
        find(environment=REGION)


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
