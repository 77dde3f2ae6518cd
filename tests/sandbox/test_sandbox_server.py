"""The life of the sandbox: its handles, its record, its seeded people, its command line."""

import base64
import errno
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter

import pytest
import requests

from gctokens_nb.sandbox import Fault, Sandbox, SandboxError
from gctokens_nb.sandbox.__main__ import main
from gctokens_nb.sandbox.hosts import OwnNames


def test_keeps_connections_alive(admin, sandbox):
    """One connection serves many requests, HEAD and DELETE among them."""
    connection = http.client.HTTPConnection(sandbox.base_url.removeprefix("http://"), timeout=10)
    connection.connect()
    own_socket = connection.sock
    for method in ("GET", "HEAD", "DELETE", "HEAD", "GET"):
        connection.request(method, "/api/v2/tokens/me", headers={"Authorization": f"Bearer {admin}"})
        answer = connection.getresponse()
        assert answer.version == 11
        answer.read()
        assert connection.sock is own_socket
    connection.close()


def test_stop_frees_port_and_thread():
    """After stop() nothing listens, no thread is left, and stop() may be called again."""
    before = set(threading.enumerate())
    with Sandbox() as sandbox:
        address = sandbox.base_url.removeprefix("http://").split(":")
        assert set(threading.enumerate()) - before
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address[0], int(address[1])), timeout=5)
    sandbox.stop()
    with pytest.raises(SandboxError, match="does not run"):
        _ = sandbox.base_url


def test_start_again():
    """A stopped sandbox can start again, with its tokens; a running one cannot start twice."""
    sandbox = Sandbox()
    with sandbox:
        token = sandbox.issue_token()
        with pytest.raises(SandboxError, match="runs already"):
            sandbox.start()
    with sandbox:
        url = f"{sandbox.base_url}/api/v2/tokens/me"
        assert requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code == 200


def test_port_in_use(sandbox):
    """A port in use is named, with what to do."""
    port = int(sandbox.base_url.rpartition(":")[2])
    with pytest.raises(SandboxError, match=rf"^port {port} of 127\.0\.0\.1 is in use: choose another"):
        Sandbox(port=port).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
def test_only_loopback(host):
    """Any host but loopback is refused, with the reason and the way out."""
    with pytest.raises(SandboxError, match=r"loopback only.*--allow-non-loopback"):
        Sandbox(host=host).start()


def test_loopback_by_name_and_by_choice():
    """Loopback may be named; all interfaces only on request."""
    with Sandbox(host="localhost") as sandbox:
        assert sandbox.base_url.startswith("http://127.0.0.1:")
    for host, announced in (("0.0.0.0", "http://127.0.0.1:"), ("::", "http://[::1]:")):
        with Sandbox(host=host, allow_non_loopback=True) as sandbox:
            assert sandbox.base_url.startswith(announced)
            assert requests.get(sandbox.base_url, timeout=10).status_code == 404


def asked_as(sandbox: Sandbox, *host_headers: str, path: str = "/api/v2/tokens/me") -> int:
    """The status of a request that comes with these Host headers."""
    connection = http.client.HTTPConnection(sandbox.base_url.removeprefix("http://"), timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    for value in host_headers:
        connection.putheader("Host", value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_answers_to_its_own_names(sandbox, name):
    """Requests may name the sandbox by address or as localhost, with its port."""
    port = sandbox.base_url.rpartition(":")[2]
    assert asked_as(sandbox, f"{name}:{port}") == 401
    assert asked_as(sandbox, name) == 421
    assert asked_as(sandbox, f"{name}:1") == 421


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:{port}",
        "127.0.0.1.attacker.example:{port}",
        "localhost.attacker.example:{port}",
        "192.0.2.1:{port}",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/api/v2/tokens/me", "/oauth/authorize", "/nowhere"])
def test_answers_to_no_other_name(sandbox, host, path):
    """A page that made its own name resolve to this machine gets nothing, whatever it asks for."""
    sandbox.add_fault(Fault("status", status=200))
    assert asked_as(sandbox, host.format(port=sandbox.base_url.rpartition(":")[2]), path=path) == 421


def test_a_request_for_somebody_else_has_no_effect(sandbox, ask, admin):
    """What is refused for its name is not done: it is recorded, as nobody's, and told by which names it would be."""
    answer = ask("DELETE", "tokens/me", admin, headers={"Host": "attacker.example"})
    port = sandbox.base_url.rpartition(":")[2]
    assert answer.status_code == 421
    assert f"127.0.0.1:{port}, [::1]:{port}, localhost:{port}" in answer.text
    assert answer.headers["Content-Type"] == "text/plain"
    assert sandbox.is_alive(admin)
    assert [(call.status, call.authorized) for call in sandbox.calls] == [(421, False)]


def test_one_name_is_enough(sandbox):
    """A request with a name of the sandbox's and another one is refused, as is one without any."""
    own = sandbox.base_url.removeprefix("http://")
    assert asked_as(sandbox, own) == 401
    assert asked_as(sandbox, own, "attacker.example") in {400, 421}
    assert asked_as(sandbox, "attacker.example", own) in {400, 421}
    assert asked_as(sandbox) in {400, 421}
    for joined in (f"{own},attacker.example", f"{own}@attacker.example"):
        assert asked_as(sandbox, joined) in {400, 421}


def test_names_where_others_may_reach_it():
    """On all interfaces, any IP address will do, as the machine's name; names that a page could own will not."""
    with Sandbox(host="0.0.0.0", allow_non_loopback=True) as sandbox:
        port = sandbox.base_url.rpartition(":")[2]
        for name in ("192.0.2.1", "[2001:db8::1]", socket.gethostname()):
            assert asked_as(sandbox, f"{name}:{port}") == 401
        for header in ("attacker.example:{port}", "192.0.2.1:1", "192.0.2.1", "1.attacker.example:{port}"):
            assert asked_as(sandbox, header.format(port=port)) == 421


@pytest.mark.parametrize(
    ("host", "address", "header", "own"),
    [
        ("sandbox.example", "192.0.2.1", "sandbox.example", True),
        ("sandbox.example", "192.0.2.1", "Sandbox.Example:80", True),
        ("sandbox.example", "192.0.2.1", "192.0.2.1", True),
        ("sandbox.example", "192.0.2.1", "192.0.2.2", False),
        ("sandbox.example", "192.0.2.1", "example", False),
        ("::", "::", "[::1]", True),
    ],
)
def test_names_on_the_default_port(host, address, header, own):
    """Port 80 may be left out; the name that it was started with is one of its own."""
    assert (header in OwnNames(host, address, 80)) is own


def test_a_host_that_cannot_be():
    """An address that this machine does not have is an error with its reason."""
    with pytest.raises(SandboxError, match=r"cannot listen on 192\.0\.2\.1"):
        Sandbox(host="192.0.2.1", allow_non_loopback=True).start()


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be(port):
    """A port out of range is named, with the range."""
    with pytest.raises(SandboxError, match=rf"^{port} is no port: choose one from 1 to 65535, or 0 for any"):
        Sandbox(port=port).start()


@pytest.mark.parametrize(
    "breaks", ["asyncio.events.new_event_loop", "gctokens_nb.sandbox.server.HTTPServer.add_socket"]
)
def test_a_start_that_fails(monkeypatch, breaks):
    """Where the server cannot come up, start() says why, leaves nothing behind, and may be called again."""

    def fails(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    before = set(threading.enumerate())
    sandbox = Sandbox()
    with monkeypatch.context() as patch:
        patch.setattr(breaks, fails)
        with pytest.raises(SandboxError, match=r"could not start: .*Too many open files") as caught:
            sandbox.start()
    assert isinstance(caught.value.__cause__, OSError)
    assert set(threading.enumerate()) == before
    with pytest.raises(SandboxError, match="does not run"):
        _ = sandbox.base_url
    with sandbox:
        assert requests.get(sandbox.base_url, timeout=10).status_code == 404


def test_a_start_that_fails_frees_the_port(monkeypatch):
    """The port of a start that failed is free at once."""
    with Sandbox() as sandbox:
        port = int(sandbox.base_url.rpartition(":")[2])
    with monkeypatch.context() as patch:
        patch.setattr("asyncio.events.new_event_loop", lambda: 1 / 0)
        with pytest.raises(SandboxError, match="could not start: division by zero"):
            Sandbox(port=port).start()
    with Sandbox(port=port) as sandbox:
        assert sandbox.base_url.endswith(f":{port}")


def test_needs_a_user():
    """An organization without anybody is refused."""
    with pytest.raises(SandboxError, match="at least one user"):
        Sandbox(users=0)


def test_seeded_data_are_the_same_at_every_start():
    """Ids and secrets depend on the organization's name alone, and differ between organizations."""
    first, second, other = Sandbox(), Sandbox(users=30), Sandbox(organization="Other Org")
    assert first.users[:30] == second.users
    assert first.clients == second.clients
    assert first.client("admin").client_secret == second.client("admin").client_secret
    assert not {user.id for user in first.users} & {user.id for user in other.users}
    assert not {client.client_secret for client in first.clients} & {
        client.client_secret for client in other.clients if client.client_secret
    }
    assert other.users[0].email == "grace.hopper@other-org.example"


def test_every_organization_has_a_domain():
    """A name without a letter of ASCII gives a domain too, and another name another one."""
    one, other = Sandbox(organization="東京電力"), Sandbox(organization="日本航空")
    assert re.fullmatch(r"grace\.hopper@[0-9a-f]{8}\.example", one.users[0].email)
    assert one.users[0].email.partition("@")[2].startswith(one.organization.id[:8])
    assert one.users[0].email != other.users[0].email


def test_seeded_people_are_varied():
    """There are an administrator, one without permissions, inactive and deleted ones, namesakes and a clone."""
    sandbox = Sandbox(users=1000)
    users = sandbox.users
    assert len({user.id for user in users}) == len({user.email for user in users}) == 1000
    assert set(sandbox.client("admin").permissions) == set(users[0].permissions)
    assert users[1].permissions == ()
    assert Counter(user.state for user in users[:20]) == {"active": 17, "inactive": 2, "deleted": 1}
    assert [name for name, count in Counter(user.name for user in users).items() if count > 1] == [
        "Maria Schmidt"
    ]
    assert sandbox.clone in users[:20]


def test_too_few_users_for_a_clone():
    """Where there is no clone, it says how to have one."""
    with pytest.raises(KeyError, match="at least 20 users"):
        _ = Sandbox(users=3).clone


def test_clients_of_each_kind(sandbox):
    """There is a client for each grant, by the service's names, and only the public one has no secret."""
    assert {client.name: client.grant for client in sandbox.clients} == {
        "admin": "CLIENT-CREDENTIALS",
        "no permissions": "CLIENT-CREDENTIALS",
        "disabled": "CLIENT-CREDENTIALS",
        "many scopes": "CLIENT-CREDENTIALS",
        "web app": "CODE",
        "single page app": "CODE",
        "saml": "SAML2-BEARER",
    }
    assert [client.name for client in sandbox.clients if client.client_secret is None] == ["single page app"]


def test_reprs_hold_no_secret(sandbox):
    """Neither a client nor the sandbox shows a secret or its port in its repr."""
    client = sandbox.client("admin")
    assert client.client_secret not in repr(sandbox.clients)
    assert repr(sandbox) == "<Sandbox 'Cumulus Airlines', 50 users>"


def test_lookups(sandbox):
    """Users are found by id or e-mail in any letter case, clients by name; what is not there is named."""
    ada = sandbox.users[2]
    assert sandbox.user(ada.id.upper()) == sandbox.user(ada.email.upper()) == ada
    with pytest.raises(KeyError, match="nobody"):
        sandbox.user("nobody")
    with pytest.raises(KeyError, match="no client 'x': choose one of admin, "):
        sandbox.client("x")


def test_added_users_are_found(ask, admin, sandbox):
    """A user added while it runs is found by search, in the list and by the handles."""
    ask("POST", "users/search", admin, json={"query": [{"type": "EXACT", "fields": ["email"], "value": "x"}]})
    ask("GET", "users", admin)
    name = "<img src=x onerror=alert(1)>"
    user = sandbox.add_user(name=name, email="Evil@example.org", permissions=["oauth:token:delete"])
    query = {"type": "EXACT", "fields": ["email"], "value": "evil@EXAMPLE.org"}
    [found] = ask("POST", "users/search", admin, json={"query": [query]}).json()["results"]
    assert (found["id"], found["name"]) == (user.id, name)
    assert ask("GET", "users", admin).json()["entities"][0]["id"] == user.id
    assert sandbox.users[-1] == sandbox.user("evil@example.org") == user
    with pytest.raises(ValueError, match="unknown state 'gone'"):
        sandbox.add_user(name="x", email="x", state="gone")


def test_added_clients(sandbox):
    """A client of any kind can be added; an unknown grant is refused."""
    client = sandbox.add_client("mine", client_secret="s", permissions=["oauth:token:delete"])
    assert sandbox.client("mine") == client
    for grant in ("IMPLICIT", "PKCE"):  # of PKCE the service says CODE
        with pytest.raises(
            ValueError, match=f"unknown grant '{grant}': choose one of CLIENT-CREDENTIALS, CODE, "
        ):
            sandbox.add_client("other", grant=grant)


def test_issued_tokens(ask, sandbox):
    """A token is for the administrator by default; client credentials act for nobody."""
    assert ask("GET", "users/me", sandbox.issue_token()).json()["name"] == "Grace Hopper"
    by_email = sandbox.issue_token(sandbox.users[3].email)
    assert ask("GET", "users/me", by_email).json()["name"] == "Katherine Johnson"
    with pytest.raises(ValueError, match="its tokens have no user"):
        sandbox.issue_token(sandbox.users[3], client="admin")


def test_record(ask, admin, sandbox, http):
    """Each request is recorded with its outcome, and without token, cookie or form values."""
    token = sandbox.issue_token(sandbox.users[2])
    headers = {"Cookie": "secret=1", "X-Mine": "yes"}
    ask("GET", "tokens/me?preserveIdleTTL=true", token, headers=headers)
    call = sandbox.calls[-1]
    assert (call.method, call.path, call.query) == ("GET", "/api/v2/tokens/me", "preserveIdleTTL=true")
    assert (call.status, call.authorized) == (200, True)
    assert (call.client_id, call.user_id) == (sandbox.client("web app").client_id, sandbox.users[2].id)
    assert call.headers["X-Mine"] == "yes"
    assert not {"authorization", "cookie"} & {name.lower() for name in call.headers}
    form = {"grant_type": "refresh_token", "refresh_token": "hush"}
    http.post(f"{sandbox.base_url}/oauth/token", data=form, timeout=10)
    call = sandbox.calls[-1]
    assert (call.status, call.form_keys, call.authorized) == (401, ("grant_type", "refresh_token"), False)
    assert token not in repr(sandbox.calls)
    assert "hush" not in repr(sandbox.calls)


def test_record_tells_that_a_token_was_alive(ask, admin, sandbox):
    """The request that revokes its own token counts as authorized."""
    ask("DELETE", "tokens/me", admin)
    ask("DELETE", "tokens/me", admin)
    assert [(call.status, call.authorized) for call in sandbox.calls] == [(200, True), (401, False)]


def test_record_can_be_off(http):
    """Without the record nothing is kept but revocations."""
    with Sandbox(record=False) as sandbox:
        url = f"{sandbox.base_url}/api/v2/tokens/{sandbox.users[2].id}"
        headers = {"Authorization": f"Bearer {sandbox.issue_token(client='admin')}"}
        assert http.delete(url, headers=headers, timeout=10).status_code == 204
        assert (sandbox.calls, len(sandbox.revocations)) == ((), 1)


@pytest.mark.parametrize("latency_seconds", [0, 0.01])
def test_a_mistake_of_its_own(http, caplog, latency_seconds):
    """What the sandbox cannot handle is answered with 500, recorded and logged, without anything secret."""
    with Sandbox(latency_seconds=latency_seconds) as sandbox:
        client = sandbox.add_client("broken", client_secret="hush", permissions=["not a permission"])
        token = sandbox.issue_token(client=client.name)
        url, headers = f"{sandbox.base_url}/api/v2/tokens/me", {"Authorization": f"Bearer {token}"}
        for _ in range(2):  # the connection goes on
            answer = http.get(f"{url}?secret=hush", headers=headers, timeout=10)
            error = answer.json()
            assert (answer.status_code, error["code"]) == (500, "internal.server.error")
            assert error["contextId"] == answer.headers["ININ-Correlation-Id"]
        assert [(call.status, call.client_id) for call in sandbox.calls] == [(500, client.client_id)] * 2
    assert [record.name for record in caplog.records] == ["gctokens_nb.sandbox.dispatch"] * 2
    assert "GET /api/v2/tokens/me" in caplog.text
    assert "permission_policies" in caplog.text
    assert not [secret for secret in (token, "hush") if secret in caplog.text]


def test_two_organizations_side_by_side(http):
    """A token of one organization is worth nothing in another."""
    with Sandbox() as one, Sandbox(organization="Other Org") as other:
        headers = {"Authorization": f"Bearer {one.issue_token()}"}
        statuses = [
            http.get(f"{sandbox.base_url}/api/v2/tokens/me", headers=headers, timeout=10).status_code
            for sandbox in (one, other)
        ]
    assert statuses == [200, 401]


@pytest.fixture
def command():
    """Start ``python -m gctokens_nb.sandbox`` with arguments; give the process and its ready line."""
    processes = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], dict]:
        process = subprocess.Popen(
            [sys.executable, "-m", "gctokens_nb.sandbox", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
        processes.append(process)
        line = process.stdout.readline()
        return process, json.loads(line)

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_until_a_signal(command, number):
    """One line of JSON, service until SIGINT or SIGTERM, then exit 0 and not a word more."""
    process, ready = command("--users", "25", "--organization", "Nimbus Rail")
    admin = next(client for client in ready["clients"] if client["name"] == "admin")
    assert {"name", "client_id", "client_secret", "grant", "permissions", "redirect_uris", "state"} == set(
        admin
    )
    assert admin["grant"] == "CLIENT-CREDENTIALS"
    assert {"oauth:token:delete", "directory:organization:admin"} <= set(admin["permissions"])
    assert ready["environment"] == ready["base_url"]
    assert len(ready["users"]) == 20
    assert set(ready["users"][0]) == {"id", "name", "email"}
    answer = requests.post(
        ready["base_url"] + "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(admin["client_id"], admin["client_secret"]),
        timeout=10,
    )
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    page = requests.get(ready["base_url"] + "/api/v2/users?state=any", headers=headers, timeout=10)
    assert page.json()["total"] == 25
    assert page.headers["inin-ratelimit-allowed"] == "300"
    process.send_signal(number)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_command_options(command):
    """Rate limit, latency and faults come from the command line."""
    fault = "status:status=503,path=/nowhere"
    _, ready = command("--rate-limit", "7", "--latency", "50", "--fault", fault, "--fault", "html:path=/page")
    admin = ready["clients"][0]
    answer = requests.post(
        ready["base_url"] + "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(admin["client_id"], admin["client_secret"]),
        timeout=10,
    )
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    answer = requests.get(ready["base_url"] + "/api/v2/tokens/me", headers=headers, timeout=10)
    assert answer.headers["inin-ratelimit-allowed"] == "7"
    assert answer.elapsed.total_seconds() >= 0.05
    assert requests.get(ready["base_url"] + "/nowhere", timeout=10).status_code == 503
    assert requests.get(ready["base_url"] + "/page", timeout=10).status_code == 502


def test_command_for_stricter_organizations(command):
    """Scopes are enforced, and HIPAA bounds the idle timeout, where the command line says so."""
    _, ready = command("--enforce-scopes", "--hipaa")
    clients = {client["name"]: client for client in ready["clients"]}
    xml = (
        '<Assertion xmlns="urn:oasis:names:tc:SAML:2.0:assertion">'
        f"<Subject><NameID>{ready['users'][0]['email']}</NameID></Subject></Assertion>"
    )
    person = {
        "grant_type": "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "orgName": ready["organization"]["name"],
        "assertion": base64.b64encode(xml.encode()).decode(),
    }

    def refusal(method: str, path: str, name: str, form: dict[str, str]) -> str:
        identity = clients[name]["client_id"], clients[name]["client_secret"]
        token = requests.post(ready["base_url"] + "/oauth/token", data=form, auth=identity, timeout=10).json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        body = {"idleTokenTimeoutSeconds": 901}
        url = f"{ready['base_url']}/api/v2/{path}"
        return requests.request(method, url, headers=headers, json=body, timeout=10).json()["code"]

    assert refusal("GET", "routing/queues", "saml", person) == "app.not.authorized.for.scope"
    machine = {"grant_type": "client_credentials"}
    assert refusal("PUT", "tokens/timeout", "admin", machine) == "token.timeout.exceeded.hipaa"


@pytest.mark.parametrize(("port", "why"), [(None, "is in use: choose another"), (70000, "70000 is no port")])
def test_command_on_a_port_that_cannot_be(sandbox, capsys, port, why):
    """A port in use or out of range ends the command with a sentence and status 2, not with a traceback."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert main(["--port", str(port or sandbox.base_url.rpartition(":")[2])]) == 2
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    output = capsys.readouterr()
    assert output.out == ""
    assert why in output.err
    assert output.err.count("\n") == 1


def test_command_refuses_unknown_faults(capsys):
    """A fault that cannot be read is named."""
    with pytest.raises(SystemExit) as exit_info:
        main(["--fault", "explode"])
    assert exit_info.value.code == 2
    assert "unknown kind of fault 'explode'" in capsys.readouterr().err


@pytest.mark.long
def test_a_hundred_thousand_users(ask):
    """100,000 users are seeded, each with an id and e-mail of their own, and found at once."""
    with Sandbox(users=100_000, rate_limit=None) as sandbox:
        users = sandbox.users
        assert len({user.id for user in users}) == len({user.email for user in users}) == 100_000
        wanted = [user.email for user in users[-100:]]
        answer = requests.post(
            f"{sandbox.base_url}/api/v2/users/search",
            json={"query": [{"type": "EXACT", "fields": ["email"], "values": wanted}], "pageSize": 100},
            headers={"Authorization": f"Bearer {sandbox.issue_token(client='admin')}"},
            timeout=10,
        )
    assert [user["email"] for user in answer.json()["results"]] == wanted
