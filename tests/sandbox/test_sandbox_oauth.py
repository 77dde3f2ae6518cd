"""The login host of the sandbox: every grant, the authorize page, and what they refuse."""

import base64
import hashlib
import re
from html import unescape
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from gctokens_nb.sandbox import Sandbox

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # the example of RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
REDIRECT_URI = "http://127.0.0.1:8765/callback"
SAML_GRANT = "urn:ietf:params:oauth:grant-type:saml2-bearer"


@pytest.fixture
def post(sandbox, http):
    """POST a form to the token endpoint, by the client of that name."""

    def call(client: str, path: str = "/oauth/token", **form: str) -> requests.Response:
        chosen = sandbox.client(client)
        auth = None
        if chosen.client_secret is None:
            form["client_id"] = chosen.client_id
        else:
            auth = (chosen.client_id.encode(), chosen.client_secret.encode())
        return http.post(sandbox.base_url + path, data=form, auth=auth, timeout=10)

    return call


@pytest.fixture
def authorize(sandbox, http):
    """GET the authorize page for the client of that name; parameters that are None are left out."""

    def call(client: str = "single page app", **changes: str | None) -> requests.Response:
        parameters = {
            "client_id": sandbox.client(client).client_id,
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "a state & more",
            "login_hint": "ada.lovelace@cumulus-airlines.example",
            **changes,
        }
        given = {name: value for name, value in parameters.items() if value is not None}
        return http.get(
            f"{sandbox.base_url}/oauth/authorize", params=given, allow_redirects=False, timeout=10
        )

    return call


def landed(answer: requests.Response) -> dict[str, str]:
    """What the redirect carries."""
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith(REDIRECT_URI)
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def code_form(code: str, **changes: str) -> dict[str, str]:
    """The form that exchanges a code."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
        **changes,
    }


def refused(answer: requests.Response) -> tuple[int, str, str]:
    """Status, error and description of a failure, which has no more to say."""
    error = answer.json()
    assert set(error) == {"error", "description", "error_description"}
    assert error["description"] == error["error_description"]
    return answer.status_code, error["error"], error["description"]


@pytest.mark.parametrize("path", ["/oauth/token", "/token"])
def test_client_credentials(post, sandbox, path):
    """Both paths give a bearer token without a user and without a refresh token."""
    answer = post("admin", path, grant_type="client_credentials")
    token = answer.json()
    assert answer.status_code == 200
    assert (token["token_type"], token["expires_in"]) == ("bearer", 86400)
    assert "refresh_token" not in token
    assert sandbox.is_alive(token["access_token"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["ININ-Correlation-Id"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("secret", ["pässwörd", "a:b:c", "100% &?=+ /"])
def test_secrets_of_any_characters(sandbox, http, encoding, secret):
    """A secret works with any characters, sent as UTF-8 or Latin-1."""
    client = sandbox.add_client("own", client_id="my cliënt", client_secret=secret)
    auth = base64.b64encode(f"{client.client_id}:{secret}".encode(encoding)).decode()
    answer = http.post(
        f"{sandbox.base_url}/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": f"Basic {auth}"},
        timeout=10,
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic " + base64.b64encode(b"unknown:secret").decode(),
        "Basic " + base64.b64encode(b"unknown:").decode(),
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic !!!",
        "Bearer abc",
        "wrong secret",
    ],
)
def test_who_is_not_the_client(sandbox, http, authorization):
    """Unknown client, wrong secret, unreadable header: all get the same 401."""
    if authorization == "wrong secret":
        pair = sandbox.client("admin").client_id + ":wrong"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    answer = http.post(
        f"{sandbox.base_url}/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": authorization},
        timeout=10,
    )
    assert refused(answer) == (401, "invalid_client", "authentication failed")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(("client", "secret"), [("admin", ""), ("single page app", "wrong")])
def test_an_empty_secret_is_for_public_clients(sandbox, http, client, secret):
    """No confidential client passes with an empty secret, and no public one with another."""
    answer = http.post(
        f"{sandbox.base_url}/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(sandbox.client(client).client_id, secret),
        timeout=10,
    )
    assert refused(answer) == (401, "invalid_client", "authentication failed")


def test_confidential_client_without_secret(sandbox, http):
    """A confidential client cannot pass as a public one."""
    form = {"grant_type": "client_credentials", "client_id": sandbox.client("admin").client_id}
    answer = http.post(f"{sandbox.base_url}/oauth/token", data=form, timeout=10)
    assert refused(answer) == (401, "invalid_client", "authentication failed")


def test_disabled_client(post):
    """A disabled client is told so, once its secret was right."""
    answer = post("disabled", grant_type="client_credentials")
    assert refused(answer) == (401, "invalid_client", "client is disabled")


@pytest.mark.parametrize(
    ("client", "form", "error"),
    [
        ("admin", {"grant_type": "password"}, "unsupported_grant_type"),
        ("admin", {}, "invalid_request"),
        ("admin", {"grant_type": "authorization_code"}, "unauthorized_client"),
        ("web app", {"grant_type": "client_credentials"}, "unauthorized_client"),
        ("web app", {"grant_type": "authorization_code"}, "invalid_request"),
        ("web app", {"grant_type": "authorization_code", "code": "unknown"}, "invalid_grant"),
        ("web app", {"grant_type": "refresh_token", "refresh_token": "unknown"}, "invalid_grant"),
    ],
)
def test_token_requests_refused(post, client, form, error):
    """Each refusal has the error code of RFC 6749."""
    status, name, _ = refused(post(client, **form))
    assert (status, name) == (400, error)


def test_token_form_is_read_strictly(sandbox, http):
    """A field given twice, a body that is no form, and GET are refused."""
    url = f"{sandbox.base_url}/oauth/token"
    twice = http.post(url, data="grant_type=a&grant_type=b", timeout=10)
    assert refused(twice) == (400, "invalid_request", "grant_type is given more than once")
    assert refused(http.post(url, data=b"\xff\xfe", timeout=10))[:2] == (400, "invalid_request")
    assert http.get(url, timeout=10).status_code == 405


@pytest.mark.parametrize("client", ["single page app", "web app"])
def test_code_with_pkce(authorize, post, sandbox, client):
    """A code of the hinted user becomes a token of that user, with a refresh token; the state comes back."""
    redirect = landed(authorize(client))
    assert redirect["state"] == "a state & more"
    answer = post(client, **code_form(redirect["code"]))
    token = answer.json()
    assert answer.status_code == 200
    assert {"access_token", "refresh_token", "expires_in", "token_type"} == set(token)
    me = requests.get(
        f"{sandbox.base_url}/api/v2/users/me",
        headers={"Authorization": f"Bearer {token['access_token']}"},
        timeout=10,
    )
    assert me.json()["name"] == "Ada Lovelace"


def test_public_client_may_send_an_empty_secret(authorize, sandbox, http):
    """A public client may name itself in the header, as `Basic id:`, instead of the form."""
    code = landed(authorize("single page app"))["code"]
    answer = http.post(
        f"{sandbox.base_url}/oauth/token",
        data=code_form(code),
        auth=(sandbox.client("single page app").client_id, ""),
        timeout=10,
    )
    assert answer.status_code == 200
    assert sandbox.is_alive(answer.json()["access_token"])


def test_code_without_pkce(authorize, post):
    """A confidential client may leave PKCE out; a public one may not."""
    plain = {"code_challenge": None, "code_challenge_method": None}
    code = landed(authorize("web app", **plain))["code"]
    form = code_form(code)
    del form["code_verifier"]
    assert post("web app", **form).status_code == 200
    assert landed(authorize("single page app", **plain))["error"] == "invalid_request"


def test_login_hint_may_be_an_id(authorize, post, sandbox):
    """The user can be hinted by id."""
    code = landed(authorize(login_hint=sandbox.users[3].id))["code"]
    assert post("single page app", **code_form(code)).status_code == 200


def test_code_works_once(authorize, post, sandbox):
    """A code used twice is refused, and what it gave before is revoked, refresh token included."""
    code = landed(authorize())["code"]
    token = post("single page app", **code_form(code)).json()
    assert refused(post("single page app", **code_form(code)))[1:] == (
        "invalid_grant",
        "the authorization code has been used before",
    )
    assert not sandbox.is_alive(token["access_token"])
    renewal = post("single page app", grant_type="refresh_token", refresh_token=token["refresh_token"])
    assert refused(renewal)[1] == "invalid_grant"


def test_code_expires(authorize, post, sandbox):
    """A code lives for 60 seconds."""
    first, second = landed(authorize())["code"], landed(authorize())["code"]
    sandbox.advance(58)
    assert post("single page app", **code_form(first)).status_code == 200
    sandbox.advance(2)
    assert refused(post("single page app", **code_form(second)))[2] == "the authorization code has expired"


def test_expired_codes_are_forgotten(authorize, post, sandbox):
    """A new code takes the place of those that expired unused; those that were used still reveal a second use."""
    used, unused = landed(authorize())["code"], landed(authorize())["code"]
    token = post("single page app", **code_form(used)).json()["access_token"]
    sandbox.advance(60)
    authorize()
    assert refused(post("single page app", **code_form(unused)))[2] == "the authorization code is not valid"
    assert sandbox.is_alive(token)
    assert "used before" in refused(post("single page app", **code_form(used)))[2]
    assert not sandbox.is_alive(token)


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({"redirect_uri": "http://127.0.0.1:8765/"}, "redirect_uri is not the one the code was issued for"),
        ({"code_verifier": "x" * 43}, "code_verifier does not match the code_challenge"),
        ({"code_verifier": ""}, "code_verifier is missing"),
    ],
)
def test_code_is_bound(authorize, post, changes, description):
    """A code works only with its redirect URI and verifier, and still works with them afterwards."""
    code = landed(authorize())["code"]
    assert refused(post("single page app", **code_form(code, **changes)))[2] == description
    assert post("single page app", **code_form(code)).status_code == 200


def test_verifier_has_a_form(authorize, post):
    """A verifier that is too short is refused, even if its digest is right."""
    short = "too-short"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(short.encode()).digest()).decode().rstrip("=")
    code = landed(authorize(code_challenge=challenge))["code"]
    assert refused(post("single page app", **code_form(code, code_verifier=short)))[1] == "invalid_grant"


def test_code_belongs_to_its_client(authorize, post):
    """Another client cannot use the code."""
    code = landed(authorize())["code"]
    assert refused(post("web app", **code_form(code)))[1] == "invalid_grant"


def test_code_dies_with_the_users_tokens(authorize, post, sandbox, admin, ask):
    """Logging the user out also ends a code on its way."""
    code = landed(authorize())["code"]
    ask("DELETE", f"tokens/{sandbox.users[2].id}", admin)
    assert refused(post("single page app", **code_form(code)))[1] == "invalid_grant"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1/callback",
        "http://127.0.0.1:1234/callback",
        "http://localhost:99/",
        "http://localhost",
    ],
)
def test_loopback_redirects_have_any_port(authorize, redirect_uri):
    """On loopback the port is free (RFC 8252), the host and the path are not."""
    assert authorize(redirect_uri=redirect_uri).headers["Location"].startswith(redirect_uri + "?code=")


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "",
        "http://127.0.0.1:1234/other",
        "http://evil.example/callback",
        "https://127.0.0.1/callback",
        "http://127.0.0.1@evil.example/callback",
        "http://x@127.0.0.1/callback",
        "http://127.0.0.1:port/callback",
        "https://notebooks.example.org:8443/callback",
        "javascript:alert(1)",
        "http://127.0.0.1:80\r\n80/",
        "\0http://127.0.0.1/",
        " http://127.0.0.1/",
        "http://127.0.0.1/\u2028",
    ],
)
def test_unregistered_redirects_are_not_followed(authorize, redirect_uri):
    """A redirect URI that is not registered gets a page, never a redirect."""
    answer = authorize(redirect_uri=redirect_uri)
    assert answer.status_code == 400
    assert "redirect_uri is not registered" in answer.text
    assert "Location" not in answer.headers


def test_redirects_are_uris(authorize, sandbox):
    """What is no URI, and could not be a Location, is not followed even where it is registered."""
    sandbox.add_client("own", grant="CODE", client_secret="s", redirect_uris=["http://127.0.0.1/屠"])
    assert authorize("own", redirect_uri="http://127.0.0.1/屠").status_code == 400


def test_unknown_client_gets_a_page(authorize):
    """An unknown client gets a page, and what it sent is not in it."""
    answer = authorize(client_id="<script>")
    assert answer.status_code == 400
    assert "client_id names no client" in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"login_hint": "barbara.liskov@cumulus-airlines.example"}, "access_denied"),
    ],
)
def test_authorize_errors_go_back(authorize, changes, error):
    """Once the redirect URI is good, errors go there, with the state."""
    redirect = landed(authorize(**changes))
    assert (redirect["error"], redirect["state"]) == (error, "a state & more")
    assert redirect["error_description"]
    assert "code" not in redirect


def fill_in(
    answer: requests.Response, base_url: str, http: requests.Session, **chosen: str
) -> requests.Response:
    """Submit the sign-in form as a browser would."""
    assert answer.status_code == 200
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', answer.text))
    form = {unescape(name): unescape(value) for name, value in fields.items()}
    url = f"{base_url}/oauth/authorize"
    return http.post(url, data={**form, **chosen}, allow_redirects=False, timeout=10)


@pytest.mark.parametrize("hint", [None, "nobody@example.org"])
def test_sign_in_form(authorize, post, sandbox, http, hint):
    """Without a hint that names someone there is a form; the chosen user signs in."""
    page = authorize(login_hint=hint)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "Siobhán O&#x27;Brien" in page.text
    assert "Rosalind Franklin" not in page.text  # deleted
    email = sandbox.users[3].email
    redirect = landed(fill_in(page, sandbox.base_url, http, user=email, decision="allow"))
    assert redirect["state"] == "a state & more"
    assert post("single page app", **code_form(redirect["code"])).status_code == 200


def test_sign_in_denied(authorize, sandbox, http):
    """Deny goes back with access_denied and the state."""
    answer = fill_in(authorize(login_hint=None), sandbox.base_url, http, decision="deny")
    assert landed(answer)["error"] == "access_denied"
    assert landed(answer)["state"] == "a state & more"


def test_form_checks_again(authorize, sandbox, http):
    """The form's hidden fields are checked as the first request was."""
    page = authorize(login_hint=None)
    changed = {"user": sandbox.users[3].id, "redirect_uri": "http://evil.example/"}
    assert fill_in(page, sandbox.base_url, http, **changed).status_code == 400


def test_form_escapes(authorize, http):
    """Names and parameters are shown as text."""
    with Sandbox(users=1, organization="<b>Org</b>") as sandbox:
        sandbox.add_user(name="<img src=x onerror=alert(1)>", email='"x"@example.org')
        client = sandbox.client("single page app")
        state = quote('"><script>alert(1)</script>')
        page = http.get(
            f"{sandbox.base_url}/oauth/authorize?client_id={client.client_id}&redirect_uri={REDIRECT_URI}"
            f"&response_type=code&code_challenge={CHALLENGE}&code_challenge_method=S256&state={state}",
            timeout=10,
        )
    assert "&lt;img src=x onerror=alert(1)&gt;" in page.text
    assert not [tag for tag in ("<img", "<script", "<b>Org") if tag in page.text]


def test_authorize_takes_get_and_post_only(sandbox, http):
    """Another method gets 405."""
    assert http.delete(f"{sandbox.base_url}/oauth/authorize", timeout=10).status_code == 405


def test_refresh_tokens_rotate(authorize, post, sandbox):
    """Each renewal gives a new pair; a refresh token used before is refused."""
    first = post("single page app", **code_form(landed(authorize())["code"])).json()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = post("single page app", **form).json()
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    assert sandbox.is_alive(second["access_token"])
    assert refused(post("single page app", **form))[1] == "invalid_grant"
    form["refresh_token"] = second["refresh_token"]
    assert post("single page app", **form).status_code == 200


def test_refresh_token_belongs_to_its_client(authorize, post):
    """Another client cannot renew."""
    token = post("single page app", **code_form(landed(authorize())["code"])).json()
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    assert refused(post("web app", **form))[1] == "invalid_grant"


@pytest.mark.parametrize("way", ["own", "by an administrator"])
def test_revoked_sign_in_cannot_be_renewed(authorize, post, ask, sandbox, admin, way):
    """After a revocation the refresh token is dead too."""
    token = post("single page app", **code_form(landed(authorize())["code"])).json()
    if way == "own":
        ask("DELETE", "tokens/me", token["access_token"])
    else:
        ask("DELETE", f"tokens/{sandbox.users[2].id}", admin)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    assert refused(post("single page app", **form))[1] == "invalid_grant"


def assertion(email: str, conditions: str = "", *, wrapped: bool = False) -> bytes:
    """A SAML 2.0 assertion about a user, alone or in a Response."""
    text = (
        '<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" Version="2.0">'
        f"<saml:Subject><saml:NameID>{email}</saml:NameID></saml:Subject>{conditions}</saml:Assertion>"
    )
    if wrapped:
        text = f'<p:Response xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol">{text}</p:Response>'
    return text.encode()


def saml_form(xml: bytes, organization: str = "Cumulus Airlines") -> dict[str, str]:
    """The form that exchanges an assertion."""
    return {
        "grant_type": SAML_GRANT,
        "orgName": organization,
        "assertion": base64.b64encode(xml).decode(),
    }


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("alphabet", ["standard", "url-safe", "unpadded"])
def test_saml(post, sandbox, ask, wrapped, alphabet):
    """An assertion about an active user becomes a token of that user, without a refresh token."""
    xml = assertion("Ada.Lovelace@cumulus-airlines.example", wrapped=wrapped) + b"<!-- \xc3\xbf\xc3\xbe -->"
    form = saml_form(xml)
    if alphabet != "standard":
        form["assertion"] = base64.urlsafe_b64encode(xml).decode()
    if alphabet == "unpadded":
        form["assertion"] = form["assertion"].rstrip("=")
    token = post("saml", **form).json()
    assert "refresh_token" not in token
    assert ask("GET", "users/me", token["access_token"]).json()["name"] == "Ada Lovelace"


ADA = "ada.lovelace@cumulus-airlines.example"
NO_ENCODINGS = ("bogus", "rot13", "hex")  # the last two are codecs of Python, but not of text


@pytest.mark.parametrize(
    "xml",
    [
        b"no xml",
        b"<a/>",
        assertion(" "),
        assertion(ADA)[:-5],
        assertion("nobody@example.org"),
        assertion("barbara.liskov@cumulus-airlines.example"),
        assertion(ADA, '<saml:Conditions NotOnOrAfter="2020-01-01T00:00:00Z"/>'),
        assertion(ADA, '<saml:Conditions NotBefore="2120-01-01T00:00:00Z"/>'),
        assertion(ADA, '<saml:Conditions NotBefore="soon"/>'),
        b'<!DOCTYPE a [<!ENTITY e "x">]>' + assertion(ADA),
        *(f'<?xml version="1.0" encoding="{name}"?>'.encode() + assertion(ADA) for name in NO_ENCODINGS),
    ],
)
def test_saml_refused(post, xml):
    """An assertion that is malformed, out of date or about nobody active is refused."""
    assert refused(post("saml", **saml_form(xml)))[:2] == (400, "invalid_grant")


@pytest.mark.parametrize(("encoding", "plain"), [("utf-8", 200), ("utf-16", 200), ("cp037", 400)])
def test_saml_has_no_dtd(post, encoding, plain):
    """A document type definition is refused in every encoding; without one, what is like ASCII or UTF-16 is read."""

    def sent(doctype: str, name: str) -> requests.Response:
        # The declaration is read before the encoding that it names is known, but for UTF-16 with its mark.
        declaration = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
        xml = (doctype + assertion(name).decode()).encode(encoding)
        return post("saml", **saml_form(xml if encoding == "utf-16" else declaration + xml))

    assert sent("", ADA).status_code == plain
    answer = sent(f'<!DOCTYPE a [<!ENTITY ada "{ADA}">]>', "&ada;")
    assert refused(answer) == (400, "invalid_grant", "the assertion is malformed")


def test_saml_within_its_time(post):
    """An assertion within its conditions is accepted."""
    conditions = '<saml:Conditions NotBefore="2020-01-01T00:00:00" NotOnOrAfter="2120-01-01T00:00:00.000Z"/>'
    assert post("saml", **saml_form(assertion(ADA, conditions))).status_code == 200


def test_saml_of_another_organization(post):
    """The organization must be the sandbox's own."""
    assert refused(post("saml", **saml_form(assertion(ADA), "Other Org")))[1] == "invalid_grant"


def test_saml_not_base64(post):
    """An assertion that is not base64 is refused."""
    form = {**saml_form(b""), "assertion": "***"}
    assert refused(post("saml", **form)) == (400, "invalid_grant", "the assertion is malformed")
