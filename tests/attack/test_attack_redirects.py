"""Hundreds of redirects to other places, by every spelling of their names: no secret follows."""

from __future__ import annotations

import base64
import collections
import contextlib
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from fault_calls import CALLS, CLIENT_SECRET, SECRETS, connection, is_that_token
from fault_families import answer
from fault_server import FaultServer, Heard

from gctokens_nb import regions
from gctokens_nb.errors import GCTokensError

BASIC = base64.b64encode(f"client:{CLIENT_SECRET}".encode()).decode()

# How an address may be written. `{home}` is the API's host and port, `{other}` those of another listener.
SPELLINGS = (
    "http://{other}",
    "http://{other}/",
    "http://{other}/x",
    "http://{other}?x",
    "http://{other}#x",
    "//{other}",
    "//{other}/x",
    "HTTP://{other}",
    "hTtP://{other}/x",
    "http:/{other}/x",
    "http:///{other}/x",
    "http:{other}",
    "/\\{other}/x",
    "\\\\{other}/x",
    "http:\\\\{other}/x",
    "http://user@{other}",
    "http://user:password@{other}/x",
    "http://{home}@{other}",
    "http://{home}@{other}/x",
    "http://{home}:80@{other}/x",
    "http://{home}/@{other}",
    "http://{home}\\@{other}/x",
    "http://{other}\\@{home}/x",
    "http://{home}#@{other}/x",
    "http://{home}?@{other}/x",
    "http://{home};@{other}/x",
    "http://{home}%2f@{other}/x",
    "http://{home}\t@{other}/x",
    "http://{home} @{other}/x",
    "\thttp://{other}/x",
    "  http://{other}",
    "http://{other} ",
    "https://{other}/",
    "https://{home}/",
    "../../../{other}",
)
# Names of the machine that are not the one the API is known by: what is listening there may be another's.
OTHER_NAMES = (
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.000.000.001",
    "0.0.0.0",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "127.0.0.%31",
    "%6c%6fcalhost",
    "user@localhost",
    "loc\u00adalhost",
    "\u24db\u24deca\u24db\u24d7ost",
    "127.0.0.1%00.localhost",
)
EXHAUSTIVE = "GCTOKENS_EXHAUSTIVE" in os.environ
GRANTS = [call for call in CALLS if call.accepts is is_that_token]


class Places(NamedTuple):
    """Who listens: `home` plays the API, the others must hear no secret; `targets` are all ways to name them."""

    server: FaultServer
    home: str
    third: str
    targets: list[str]

    def redirect(self, status: int, *, by_a_third: bool = False) -> None:
        """Answer at number N with a redirect to target N, at once or by way of a third host."""
        self.server.heard.clear()
        count = len(self.targets)
        # What is no latin-1 goes as UTF-8, as servers send it.
        locations = [target.encode().decode("latin-1") for target in self.targets]
        if by_a_third:
            locations = [f"http://{self.third}/{count + number}/" for number in range(count)] + locations
        faults = [answer("redirect", "", status, b"", f"Location: {location}") for location in locations]
        self.server.scripts = [fault.script for fault in faults]

    def region(self, number: int) -> regions.Region:
        """The API, below that number."""
        return regions.gateway(f"http://{self.home}/{number}", login_path="", api_path="")

    def leaks(self) -> list[Heard]:
        """The requests with a secret in them that did not go to the API by its own name."""
        return [
            one
            for one in self.server.heard
            if any(secret.encode() in one.data for secret in (*SECRETS, BASIC))
            and not (f"{one.address[0]}:{one.address[1]}" == self.home and one.host == self.home)
        ]


def neighbours() -> list[socket.socket]:
    """Two listening sockets, the port of the second of which begins that of the first: 38135 and 3813."""
    while True:
        longer = socket.create_server(("127.0.0.1", 0), backlog=128)
        with contextlib.suppress(OSError):
            return [longer, socket.create_server(("127.0.0.1", longer.getsockname()[1] // 10), backlog=128)]
        longer.close()


@pytest.fixture(scope="module", params=["the longer port", "the shorter port"])
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    """The API at one of two ports that look alike, and listeners all around it."""
    longer, shorter = neighbours()
    home, alike = (longer, shorter) if request.param == "the longer port" else (shorter, longer)
    port = home.getsockname()[1]
    sockets = [home, alike, socket.create_server(("127.0.0.1", 0), backlog=128)]
    with contextlib.suppress(OSError):  # a machine need not have them
        sockets.append(socket.create_server(("127.0.0.2", port), backlog=128))
    with contextlib.suppress(OSError):
        sockets.append(socket.create_server(("::1", port), family=socket.AF_INET6, backlog=128))
    hosts = [one.getsockname()[:2] for one in sockets[1:]]
    others = [f"[{host}]:{number}" if ":" in host else f"{host}:{number}" for host, number in hosts]
    targets = [
        spelling.format(home=f"127.0.0.1:{port}", other=other)
        for spelling, other in itertools.product(SPELLINGS, others)
    ]
    targets += [f"http://{name}:{port}{path}" for name, path in itertools.product(OTHER_NAMES, ("", "/x"))]
    targets += [f"http://127.0.0.1:{port}{more}" for more in ("0", "1", "@127.0.0.1", ".", ":80", "%30")]
    with FaultServer([], sockets) as server:
        yield Places(server, f"127.0.0.1:{port}", others[1], targets)


def each(use: Callable[[int], None], numbers: range) -> None:
    """Call `use` with each number, several at a time."""
    with ThreadPoolExecutor(16) as pool:
        collections.deque(pool.map(use, numbers), 0)


@pytest.mark.parametrize(
    ("status", "by_a_third", "part"),
    [(302, False, 0), (307, False, 1), (302, True, 2)],
    ids=["302", "307", "302 by a third"],
)
def test_no_redirect_takes_the_token_along(places: Places, status: int, by_a_third: bool, part: int):
    """GET and DELETE meet a redirect to each address, in one of three ways; with `make attack`, in all of them.

    Only the API's own host hears the token, then and afterwards.
    """

    def call(number: int) -> None:
        with connection(places.region(number)) as gc:
            for method in ("GET", "DELETE"):
                with contextlib.suppress(GCTokensError):
                    gc.session.request(method, "/api/v2/things")

    places.redirect(status, by_a_third=by_a_third)
    each(call, range(len(places.targets))[0 if EXHAUSTIVE else part :: 1 if EXHAUSTIVE else 3])
    assert any(one.host != places.home for one in places.server.heard), "some redirects are followed"
    assert not places.leaks()


@pytest.mark.parametrize("status", [302, 307])
def test_no_redirect_takes_a_grant_along(places: Places, status: int):
    """Signing in, by each grant in turn, meets a redirect to each address: no secret leaves the login host."""

    def sign_in(number: int) -> None:
        with pytest.raises(GCTokensError):
            GRANTS[number % len(GRANTS)].run(places.region(number))

    places.redirect(status)
    each(sign_in, range(len(places.targets)))
    assert len(places.server.heard) > len(places.targets) // 2, "a busy machine may be late for some"
    assert not places.leaks()


def test_no_address_of_ones_own_takes_the_token_along(places: Places):
    """The same addresses, asked for by the user between other calls: they may be reached, but without the token."""

    def call(number: int) -> None:
        with connection(regions.gateway(f"http://{places.home}", login_path="", api_path="")) as gc:
            for url in ("/before", places.targets[number], "/after"):
                with contextlib.suppress(GCTokensError):
                    gc.session.get(url)

    places.redirect(302)
    each(call, range(len(places.targets)))
    assert not places.leaks()
