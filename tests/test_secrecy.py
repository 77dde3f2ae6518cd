"""Secrets are masked in every repr, error, log line and traceback that the package writes."""

from __future__ import annotations

import base64
import functools
import logging
import pickle
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.ultratb import VerboseTB

import gctokens_nb as gct
from gctokens_nb import credentials, oauth
from gctokens_nb.errors import GCTokensError, HostUnreachableError
from gctokens_nb.redaction import MASK, MaskedDict, Secret, redact
from gctokens_nb.regions import resolve
from gctokens_nb.sandbox import Fault, Sandbox

SECRET = "s3cr3t-that-nobody-may-see"
OWN = str(Path(gct.__file__).parent)
TOKEN_PATH = "/oauth/token"


# Secrets themselves


def test_a_secret_shows_a_mask():
    """A Secret shows itself only when asked: not in repr, str, formatting or containers."""
    secret = Secret(SECRET)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r}", str([secret]), str({"a": secret})):
        assert SECRET not in text
        assert MASK in text
    assert secret.reveal() == SECRET


def test_secrets_compare():
    """Secrets are equal by their text, work as keys, and are false when empty."""
    assert Secret(SECRET) == Secret(Secret(SECRET))
    assert Secret(SECRET) != Secret("other")
    assert Secret(SECRET) != SECRET
    assert len({Secret(SECRET), Secret(SECRET)}) == 1
    assert not Secret("")
    assert pickle.loads(pickle.dumps(Secret(SECRET))) == Secret(SECRET)


def test_a_fingerprint_gives_nothing_away():
    """A fingerprint tells two secrets apart in eight digits, and is the same at every run."""
    assert Secret(SECRET).fingerprint == Secret(SECRET).fingerprint != Secret("other").fingerprint
    assert len(Secret(SECRET).fingerprint) == 8
    assert Secret("abc").fingerprint == "ba7816bf"


def test_a_masked_dict_shows_its_keys():
    """A MaskedDict shows what it has, not what that is."""
    assert repr(MaskedDict(token=SECRET, other=1)) == f"{{token, other: {MASK}}}"


def test_redact_masks_every_occurrence():
    """`redact` masks each secret wherever it stands, and passes over those that are not there."""
    text = redact(f"{SECRET} and {SECRET}, or ä", (Secret(SECRET), "ä", None, Secret("")))
    assert text == f"{MASK} and {MASK}, or {MASK}"


# What a connection shows


def test_nothing_that_a_connection_holds_shows_its_secrets(sandbox: Sandbox, sign_in):
    """Neither token nor client secret is in the repr or table of a connection or of anything it is made of."""
    gc = sign_in()
    hidden = {gc.access_token.value, sandbox.client("admin").client_secret}
    for part in (gc, gc.tokens, gc.directory, gc.session, gc.access_token, gc.region, gc.sandbox, gc.origins):
        shown = repr(part) + str(part)
        shown += part._repr_html_() if hasattr(part, "_repr_html_") else ""
        shown += repr(getattr(part, "__dict__", ""))
        assert not any(secret in shown for secret in hidden)


def test_no_log_line_shows_a_secret(sandbox: Sandbox, sign_in, caplog: pytest.LogCaptureFixture):
    """At DEBUG, with urllib3's lines, no token, secret or refresh token is logged; sign-in, calls and renewal are."""
    refresh_token = "refresh-me-quietly"
    with caplog.at_level(logging.DEBUG):
        gc = sign_in()
        first = gc.access_token.value
        gc.tokens.get_tokens_me()
        sandbox.advance(86401)
        gc.tokens.get_tokens_me()
        gc.tokens.delete_tokens_me(verify=True)
        with pytest.raises(GCTokensError):
            oauth.refresh(resolve(sandbox.environment), "client", Secret(refresh_token))
    hidden = {first, gc.access_token.value, sandbox.client("admin").client_secret, refresh_token}
    assert not any(secret in caplog.text for secret in hidden)
    for line in (
        "signed in at",
        "renewed the access token",
        "GET /api/v2/tokens/me -> 200 in ",
        "-> 401 in ",
    ):
        assert line in caplog.text
    assert "correlation id" in caplog.text


def test_the_query_stays_out_of_the_log_and_the_error(gc, sandbox: Sandbox, caplog: pytest.LogCaptureFixture):
    """Our log lines and errors name the path of a request, not its query."""
    with caplog.at_level(logging.DEBUG, "gctokens_nb"), pytest.raises(GCTokensError) as caught:
        gc.session.get("/api/v2/nothing", params={"q": SECRET})
    assert SECRET not in str(caught.value)
    assert not any(SECRET in record.getMessage() for record in caplog.records if record.name == "gctokens_nb")


# Tracebacks, with locals


def _finish(base: str, address: Secret) -> None:
    gct.begin_sign_in(base, "client", "http://127.0.0.1/callback").finish(address)


def ways_to_fail(sandbox: Sandbox, home: Path) -> Iterator[Callable[[], Any]]:
    """Calls that raise while the package holds the secret, each in another place."""
    base, dead = sandbox.environment, "http://127.0.0.1:9"
    client_id = sandbox.client("admin").client_id
    region, secret = resolve(base), Secret(SECRET)
    gc = gct.connect(base, access_token=SECRET, retry=gct.RetryPolicy(attempts=1))
    profile = home / ".gc" / "config.toml"
    profile.parent.mkdir()
    profile.write_text(f'[DEFAULT]\nclient_secret = "{SECRET}"\n')
    profile.chmod(0o600)

    def broken_file() -> None:
        profile.write_text(f'[DEFAULT]\nclient_secret = "{SECRET}"\nclient_secret = "{SECRET}"')
        credentials.find(environment=base)

    def answered(body: str) -> None:
        sandbox.add_fault(Fault("status", path=TOKEN_PATH, status=200, body=body))
        try:
            oauth.client_credentials(region, client_id, secret)
        finally:
            sandbox.clear_faults()

    def called(fault: Fault) -> None:
        sandbox.add_fault(fault)
        try:
            gc.tokens.delete_tokens_me()
        finally:
            sandbox.clear_faults()

    yield lambda: gct.connect(base, client_id=client_id, client_secret=secret)
    yield lambda: gct.connect(dead, client_id=client_id, client_secret=secret)
    yield lambda: gct.authenticate_with_client_credentials(client_id, secret, base)
    yield lambda: gct.connect(base, client_id=client_id, access_token=secret)
    yield lambda: gct.connect(base, access_token=Secret(f"{SECRET} in two parts"))
    yield lambda: gct.connect("nowhere", access_token=secret)
    yield lambda: gct.connect(base, client_secret=secret)
    yield lambda: gct.connect(base, profile="nobody")
    yield lambda: gct.connect(base, client_id="another")
    yield lambda: oauth.refresh(region, client_id, secret)
    yield lambda: oauth.refresh(region, client_id, secret, client_secret=secret)
    yield lambda: oauth.authorization_code(region, client_id, secret, "http://x/", code_verifier=secret)
    yield lambda: oauth.saml2_bearer(region, client_id, secret, org_name="x", assertion=secret)
    yield lambda: oauth.refresh(resolve(dead), client_id, secret)
    for address in (f"?code={SECRET}&state=guess", f"?error={SECRET}", f"{SECRET}"):
        yield functools.partial(_finish, base, Secret(address))
    yield lambda: answered(
        f'{{"error": "odd", "error_description": "{SECRET}", "refresh_token": "{SECRET}"}}'
    )
    yield lambda: answered(f'{{"refresh_token": "{SECRET}"}}')
    yield lambda: answered(f'{{"access_token": "{SECRET}')
    yield lambda: called(Fault("status", status=500))
    yield lambda: called(Fault("status", status=400, body=f'{{"message": "{SECRET}"}}'))
    yield lambda: called(Fault("drop-before"))
    yield lambda: called(Fault("html", status=200))
    yield gc.tokens.get_tokens_me
    yield broken_file
    gc.close()


def own_frames_with_locals(error: BaseException) -> str:
    """The traceback as a tool that shows locals would print it, of the package's own frames."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    lines: list[str] = []
    one: traceback.TracebackException | None = shown
    while one is not None:
        own = [frame for frame in one.stack if frame.filename.startswith(OWN)]
        assert own, "the package raised it"
        lines += traceback.StackSummary.from_list(own).format()
        lines += one.format_exception_only()
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "".join(lines)


def test_no_traceback_with_locals_shows_a_secret(sandbox: Sandbox, clean_environment: Path):
    """Wherever the package raises, a traceback that prints every local variable of its frames shows no secret."""
    count = 0
    for fail in ways_to_fail(sandbox, clean_environment):
        with pytest.raises(GCTokensError) as caught:
            fail()
        shown = own_frames_with_locals(caught.value)
        assert SECRET not in shown, f"number {count}: {shown}"
        count += 1
    assert count == 26


def test_the_password_of_a_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    """A proxy that cannot be used is told without the password in its address, in sign-in and in calls."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@127.0.0.1:9")
    with gct.connect("mypurecloud.de", access_token="abc") as gc:
        for fail in (
            lambda: gct.connect("mypurecloud.de", client_id="a", client_secret="b"),
            gc.tokens.get_tokens_me,
            lambda: gc.session.get("/api/v2/users"),
        ):
            with pytest.raises(HostUnreachableError, match="The proxy on the way") as caught:
                fail()
            assert SECRET not in own_frames_with_locals(caught.value)


def test_the_verbose_traceback_of_a_notebook_shows_no_secret(sandbox: Sandbox, gc):
    """IPython's `%xmode Verbose` shows neither token nor secret of a failed sign-in or call."""
    known = sandbox.client("admin")
    wrong = Secret(SECRET[::-1])  # written nowhere in this file, whose lines the traceback shows
    sandbox.add_fault(Fault("status", path="/users", status=403))
    for fail in (
        lambda: gct.connect(sandbox.environment, client_id=known.client_id, client_secret=wrong),
        lambda: gc.session.get("/api/v2/users"),
    ):
        with pytest.raises(GCTokensError) as caught:
            fail()
        coloured = VerboseTB().text(type(caught.value), caught.value, caught.value.__traceback__)
        shown = re.sub(r"\x1b\[[\d;]*m", "", coloured)
        assert "client_id = " in shown or "url = " in shown
        for secret in (wrong.reveal(), gc.access_token.value, known.client_secret):
            assert secret not in shown


class _Interrupter:
    """Raises KeyboardInterrupt on the way to the wire, at one line of one function."""

    def __init__(self, function: str, file: str) -> None:
        self._function, self._file = function, file
        self.fired = False

    def __call__(self, frame: Any, _event: str, _arg: object) -> Any:
        code = frame.f_code
        if code.co_name == self._function and code.co_filename.endswith(self._file) and not self.fired:
            return self._line
        return None

    def _line(self, _frame: Any, event: str, _arg: object) -> Any:
        if event == "line":
            self.fired = True
            raise KeyboardInterrupt
        return self._line


@pytest.mark.parametrize(
    ("function", "file"),
    [
        ("putheader", "urllib3/connection.py"),  # the header itself is its argument
        ("_send_output", "client.py"),
        ("begin", "client.py"),
        ("_fill_in", "oauth.py"),
        ("_sign", "session.py"),
        ("send", "adapters.py"),
        ("_read_body", "transport.py"),
        ("_read_token", "oauth.py"),
    ],
)
def test_an_interrupt_shows_no_secret(sandbox: Sandbox, sign_in, function: str, file: str):
    """Interrupted anywhere between signing and reading, a verbose traceback of IPython shows no secret."""
    gc = sign_in()
    known = sandbox.client("admin")
    # The frames of this test are shown too: so they hold secrets wrapped.
    region, secret, own = resolve(sandbox.environment), Secret(SECRET[::-1]), Secret(known.client_secret)
    basic = base64.b64encode(f"{known.client_id}:{known.client_secret}".encode()).decode()
    hidden = (gc.access_token.value, known.client_secret, secret.reveal(), basic)
    fired = 0
    for call in (
        gc.tokens.get_tokens_me,
        lambda: gc.session.get("/api/v2/users"),
        lambda: gc.session.post("/api/v2/users/search", json={}),
        lambda: oauth.client_credentials(region, known.client_id, own),
        lambda: oauth.refresh(region, known.client_id, secret, client_secret=secret),
    ):
        interrupter = _Interrupter(function, file)
        before = sys.gettrace()
        sys.settrace(interrupter)
        try:
            call()
        except (KeyboardInterrupt, GCTokensError) as raised:
            error: BaseException = raised
        finally:
            sys.settrace(before)
        if interrupter.fired:
            fired += 1
            assert isinstance(error, KeyboardInterrupt)
            assert error.__context__ is None
            shown = re.sub(r"\x1b\[[\d;]*m", "", VerboseTB().text(type(error), error, error.__traceback__))
            assert not any(one in shown for one in hidden)
    assert fired


def test_the_password_of_a_proxy_is_in_no_address(listener, monkeypatch: pytest.MonkeyPatch):
    """The password reaches the proxy, and is in nothing that requests hands from function to function."""
    monkeypatch.setenv("HTTPS_PROXY", listener.url.replace("http://", f"http://user:{SECRET}@"))
    with gct.connect("mypurecloud.de", access_token="abc", retry=gct.RetryPolicy(attempts=1)) as gc:
        with pytest.raises(GCTokensError):
            gc.tokens.get_tokens_me()
        assert SECRET not in str(dict(gc.session.proxies))
    (heard,) = listener.heard
    sent = base64.b64encode(f"user:{SECRET}".encode()).decode()
    assert heard.headers["Proxy-Authorization"] == f"Basic {sent}"
