"""Every way a user names a region, and the addresses that are refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gctokens_nb import regions
from gctokens_nb.errors import ConfigurationError, InsecureUrlError, UnknownRegionError

# As the region table of Genesys' Python SDK has them; written out again, so that a slip in the package shows.
DOMAINS = {
    "us-east-1": "mypurecloud.com",
    "us-west-2": "usw2.pure.cloud",
    "us-east-2": "use2.us-gov-pure.cloud",
    "ca-central-1": "cac1.pure.cloud",
    "eu-west-1": "mypurecloud.ie",
    "eu-west-2": "euw2.pure.cloud",
    "eu-central-1": "mypurecloud.de",
    "eu-central-2": "euc2.pure.cloud",
    "ap-southeast-2": "mypurecloud.com.au",
    "ap-south-1": "aps1.pure.cloud",
    "ap-northeast-2": "apne2.pure.cloud",
    "ap-northeast-3": "apne3.pure.cloud",
    "ap-southeast-1": "apse1.pure.cloud",
    "sa-east-1": "sae1.pure.cloud",
    "me-central-1": "mec1.pure.cloud",
    "mx-central-1": "mxc1.pure.cloud",
    "eusc-de-east-1": "edee1.eusc-pure.cloud",
    "ap-northeast-1": "mypurecloud.jp",
}
SPELLINGS = [
    "{domain}",
    "api.{domain}",
    "login.{domain}",
    "apps.{domain}",
    "{domain}/",
    "https://{domain}",
    "https://api.{domain}",
    "https://login.{domain}/",
    "https://apps.{domain}/directory/#/login",
    "https://API.{domain}:443/api/v2/",
    " {domain}\n",
    "{aws}",
    "{underscored}",
    "{upper}",
]


def test_the_table_has_every_region():
    """The package knows each published region once."""
    assert {region.aws_name: region.name for region in regions.ALL} == DOMAINS
    assert len(regions.ALL) == len(DOMAINS)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("aws", "domain"), DOMAINS.items())
def test_every_spelling_names_its_hosts(spelling: str, aws: str, domain: str):
    """A domain, an AWS name, a host or an address resolves to the login host and the API host."""
    text = spelling.format(domain=domain, aws=aws, underscored=aws.replace("-", "_"), upper=aws.upper())
    region = regions.resolve(text)
    assert (region.login_url, region.api_url) == (f"https://login.{domain}", f"https://api.{domain}")
    assert str(region) == f"{domain} ({aws})"


def test_a_region_names_itself():
    """A Region is taken as it is."""
    assert regions.resolve(regions.ALL[3]) is regions.ALL[3]


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9", "https://127.0.0.1:8443"]
)
def test_a_plain_base_url_on_this_machine(base: str):
    """A base address on loopback serves login and API alike, with and without a trailing slash."""
    for text in (base, f"{base}/"):
        region = regions.resolve(text)
        assert (region.login_url, region.api_url, str(region)) == (base, base, base)


def test_a_gateway_puts_both_behind_one_base():
    """A gateway's login and API are paths below its base address."""
    region = regions.gateway("https://gateway.example.com:8443/genesys/")
    assert region.login_url == "https://gateway.example.com:8443/genesys/login"
    assert region.api_url == "https://gateway.example.com:8443/genesys/api"
    custom = regions.gateway("https://gateway.example.com", login_path="/auth/", api_path="")
    assert (custom.login_url, custom.api_url) == (
        "https://gateway.example.com/auth",
        "https://gateway.example.com",
    )


@pytest.mark.parametrize("nothing", [None, "", " ", 7, b"mypurecloud.de", [], object()])
def test_what_is_no_text_is_no_region(nothing):
    """What names nothing is an error of ours too, in words."""
    with pytest.raises(UnknownRegionError, match=r"No region was given|is no Genesys Cloud region") as caught:
        regions.resolve(nothing)
    assert "mypurecloud.de (eu-central-1)" in caught.value.next_step


@pytest.mark.parametrize(
    "base",
    [
        "https://gateway.example.com:0",
        "https://gateway.example.com:99999",
        "https://gateway.example.com:x",
        "https://user:s3cret@gateway.example.com",
        "https://:s3cret@gateway.example.com",
        "https://@gateway.example.com",
        f"https://{'ü' * 80}.example.com",
        "https://\u2024.example.com",
        "https://a b.example.com",
        "https://[::1",
        "https://a..b\\@evil.example",
        "https://",
        "ftp://gateway.example.com",
        None,
        7,
    ],
)
def test_an_odd_gateway_is_refused_in_words(base):
    """An address that no request can be sent to is refused when it is given, without what may be a secret in it."""
    with pytest.raises(ConfigurationError, match="base address of the form") as caught:
        regions.gateway(base)
    assert "s3cret" not in str(caught.value)


def test_a_gateway_has_its_name_as_it_is_sent():
    """A name in other letters becomes the name that DNS knows, once, where it enters."""
    assert (
        regions.gateway("https://BÜCHER.example/ä").login_url == "https://xn--bcher-kva.example/%C3%A4/login"
    )


@given(text=st.text() | st.none() | st.integers() | st.binary(), other=st.text() | st.none())
def test_only_errors_of_ours_leave(text, other):
    """Whatever is given as a region or as a gateway: a region, or an error of ours."""
    for take in (
        lambda: regions.resolve(text),
        lambda: regions.gateway(text),
        lambda: regions.gateway(f"https://{text}", login_path=other, api_path=other),
        lambda: regions.resolve(f"https://{text}:{other}/"),
    ):
        try:
            region = take()
        except ConfigurationError:
            continue
        assert region.api_url.isascii()
        assert regions.resolve(region) is region


@pytest.mark.parametrize(
    "address",
    [
        "http://mypurecloud.de",
        "http://api.mypurecloud.de/",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com:80",
        "http://0.0.0.0:80",
        "HTTP://10.0.0.1",
    ],
)
def test_http_is_refused_for_anything_but_this_machine(address: str):
    """Plain http is refused in words, by resolve and by gateway, wherever it leads off this machine."""
    for take in (regions.resolve, regions.gateway):
        with pytest.raises(
            InsecureUrlError, match=r"was refused: tokens and secrets would travel unencrypted.*https://"
        ):
            take(address)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mypurecloud.dee", "mypurecloud.de (eu-central-1)"),
        ("eu-central-3", "mypurecloud.de (eu-central-1)"),
        ("eu_centrall_1", "mypurecloud.de (eu-central-1)"),
        ("https://api.usw3.pure.cloud/", "usw2.pure.cloud (us-west-2)"),
    ],
)
def test_an_unknown_name_lists_the_nearest(name: str, nearest: str):
    """A wrong region is an error that lists the nearest known ones and says what else there is."""
    with pytest.raises(UnknownRegionError, match="is no Genesys Cloud region") as caught:
        regions.resolve(name)
    assert nearest in str(caught.value)
    assert caught.value.nearest
    assert "gateway" in caught.value.next_step


def test_a_name_like_no_other_lists_all():
    """Where nothing is near, every region is listed."""
    with pytest.raises(UnknownRegionError) as caught:
        regions.resolve("qqq")
    assert caught.value.nearest == ()
    assert all(domain in str(caught.value) for domain in DOMAINS.values())


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hunter2@api.mypurecloud.de",
        "https://api.mypurecloud.de:8443",
        "ftp://api.mypurecloud.de",
        "https://evil.example/mypurecloud.de",
        "mypurecloud.de.example.com",
        "https://api.mypurecloud.de:port",
        "https://[mypurecloud.de",
        "",
    ],
)
def test_an_address_that_only_looks_like_a_region_is_refused(address: str):
    """Other ports, schemes, hosts and user information make no region, and a password is not repeated."""
    with pytest.raises(UnknownRegionError) as caught:
        regions.resolve(address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "gateway.example.com",
        "https://",
        "https://a:b@gateway.example.com",
        "https://g.example?x=1",
        "ftp://127.0.0.1",
    ],
)
def test_a_gateway_needs_a_base_address(address: str):
    """A gateway of another form is refused and the form is named."""
    with pytest.raises(ConfigurationError, match=r"https://host\[:port\]\[/path\]"):
        regions.gateway(address)


NAME_LIKE = st.text(string.ascii_lowercase + string.digits + ".-_:/@[]?#% é", max_size=40)


@given(st.one_of(st.text(max_size=60), NAME_LIKE, NAME_LIKE.map("https://{}".format)))
def test_any_text_is_a_region_or_refused(text: str):
    """Whatever the text, it names hosts over https or on this machine, or raises an error of ours."""
    try:
        region = regions.resolve(text)
    except ConfigurationError:
        return
    assert region in regions.ALL or regions.is_loopback_url(region.api_url)
