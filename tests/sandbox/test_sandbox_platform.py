"""The platform API of the sandbox: tokens, idle timeout, users, clients, authorization, errors, limits."""

import base64
import gc
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import requests

from gctokens_nb.sandbox import Sandbox
from gctokens_nb.sandbox.world import Grant


def seconds_to_idle(sandbox: Sandbox, info: dict[str, Any]) -> float:
    """How long the token's information gives it, from the sandbox's last recorded request."""
    return (datetime.fromisoformat(info["dateTokenIdles"]) - sandbox.calls[-1].at).total_seconds()


def test_token_info_has_every_field(ask, admin, sandbox):
    """GET tokens/me tells organization, scope, idle date and the whole OAuth client."""
    answer = ask("GET", "tokens/me", admin)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    info = answer.json()
    client = info["OAuthClient"]
    organization = {"id": sandbox.organization.id, "name": "Cumulus Airlines"}
    assert info["organization"] == info["homeOrganization"] == client["organization"] == organization
    assert info["authorizedScope"] == client["scope"] == list(sandbox.client("admin").scope)
    assert "clonedUser" not in info
    assert (client["id"], client["name"]) == (sandbox.client("admin").client_id, "admin")
    assert (client["authorizedGrantType"], client["state"]) == ("CLIENT-CREDENTIALS", "active")
    assert client["createdBy"]["name"] == client["modifiedBy"]["name"] == "Grace Hopper"
    assert client["dateCreated"] == "2024-03-01T09:30:00.000Z"
    assert client["roleDivisions"]
    assert {"roleId", "divisionId"} == set(client["roleDivisions"][0])
    assert "secret" not in client
    assert seconds_to_idle(sandbox, info) == pytest.approx(3600, abs=1)


@pytest.mark.parametrize(
    ("client", "grant"), [("web app", "CODE"), ("single page app", "CODE"), ("saml", "SAML2-BEARER")]
)
def test_token_info_of_a_user_has_no_role_divisions(ask, sandbox, client, grant):
    """Role divisions belong to client credentials only; grant types are the service's, which has no word for PKCE."""
    client_info = ask("GET", "tokens/me", sandbox.issue_token(client=client)).json()["OAuthClient"]
    assert client_info["authorizedGrantType"] == grant
    assert "roleDivisions" not in client_info


def test_a_clone_tells_its_home(ask, sandbox):
    """The token of a clone names the home organization and the original user."""
    info = ask("GET", "tokens/me", sandbox.issue_token(sandbox.clone)).json()
    assert info["organization"]["name"] == "Cumulus Airlines"
    assert info["homeOrganization"]["name"] == "Cumulus Airlines Partner"
    assert info["clonedUser"]["organization"] == {"id": info["homeOrganization"]["id"]}
    assert info["clonedUser"]["id"] != sandbox.clone.id


def test_scopes_can_be_many(ask, sandbox):
    """One client has 60 scopes."""
    info = ask("GET", "tokens/me", sandbox.issue_token(client="many scopes")).json()
    assert len(set(info["authorizedScope"])) == 60


def test_inactive_client_is_told(ask, sandbox):
    """A token issued before its client became inactive shows that state, and when the client goes."""
    sandbox.add_client("leaving", client_secret="s", state="inactive")
    client = ask("GET", "tokens/me", sandbox.issue_token(client="leaving")).json()["OAuthClient"]
    assert client["state"] == "inactive"
    assert client["dateToDelete"].endswith("Z")


def test_tokens_of_a_disabled_client_are_invalid(ask, sandbox):
    """A token issued before its client was disabled is good for nothing."""
    token = sandbox.issue_token(client="disabled")
    assert not sandbox.is_alive(token)
    assert ask("GET", "tokens/me", token).json()["code"] == "bad.credentials"


def test_head_says_alive_without_a_body(ask, admin):
    """HEAD tokens/me answers 204 for a live token and a bodiless 401 for another."""
    assert ask("HEAD", "tokens/me", admin).status_code == 204
    dead = ask("HEAD", "tokens/me", "dead")
    assert (dead.status_code, dead.content) == (401, b"")


def test_delete_me_revokes_that_token_only(ask, sandbox):
    """DELETE tokens/me ends the token used, and no other of the same user: 200 without a body."""
    one, other = sandbox.issue_token(), sandbox.issue_token()
    answer = ask("DELETE", "tokens/me", one)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "Content-Type" not in answer.headers
    assert ask("GET", "tokens/me", one).json()["code"] == "bad.credentials"
    assert (sandbox.is_alive(one), sandbox.is_alive(other)) == (False, True)


def test_revoked_tokens_leave_nothing_behind(ask, sandbox):
    """What is signed in and out again and again is not kept; what else the user has is still logged out."""
    user = sandbox.users[2]
    kept = sandbox.issue_token(user)
    gc.collect()
    before = sum(isinstance(thing, Grant) for thing in gc.get_objects())
    for _ in range(20):
        assert ask("DELETE", "tokens/me", sandbox.issue_token(user)).status_code == 200
    gc.collect()
    assert sum(isinstance(thing, Grant) for thing in gc.get_objects()) <= before
    ask("DELETE", f"tokens/{user.id}", sandbox.issue_token(client="admin"))
    assert not sandbox.is_alive(kept)


def test_delete_token_logs_the_user_out(ask, admin, sandbox):
    """DELETE tokens/{userId}, in any letter case, ends all tokens of that user and nobody else's."""
    ada, mary = sandbox.users[2], sandbox.users[16]
    theirs = [sandbox.issue_token(ada), sandbox.issue_token(ada, client="single page app")]
    another = sandbox.issue_token(mary)
    assert ask("DELETE", f"tokens/{ada.id.upper()}", admin).status_code == 204
    assert [sandbox.is_alive(token) for token in (*theirs, another, admin)] == [False, False, True, True]
    [revocation] = sandbox.revocations
    assert (revocation.user_id, revocation.by_client_id) == (ada.id, sandbox.client("admin").client_id)
    assert revocation.at.tzinfo is not None


def test_delete_token_is_idempotent(ask, admin, sandbox):
    """A user without tokens can be logged out again."""
    for _ in range(2):
        assert ask("DELETE", f"tokens/{sandbox.users[3].id}", admin).status_code == 204
    assert len(sandbox.revocations) == 2


@pytest.mark.parametrize("bad", ["x", "..%2Foauth", "%2e%2e", "123", "00000000-0000-0000-0000-00000000000g"])
def test_delete_token_wants_a_uuid(ask, admin, sandbox, bad):
    """An id that is no UUID gets 400."""
    answer = requests.Request("DELETE", "http://x").prepare()  # unnormalised path
    answer.url = f"{sandbox.base_url}/api/v2/tokens/{bad}"
    answer.headers["Authorization"] = f"Bearer {admin}"
    with requests.Session() as session:
        error = session.send(answer, timeout=10).json()
    assert (error["status"], error["code"]) == (400, "bad.request")


def test_delete_token_of_nobody(ask, admin, sandbox):
    """An unknown user gets 404, and nothing counts as revoked."""
    assert ask("DELETE", f"tokens/{uuid4()}", admin).json()["code"] == "not.found"
    assert sandbox.revocations == ()


@pytest.mark.parametrize(("client", "user"), [("no permissions", None), ("web app", 1)])
def test_missing_permission_is_named(ask, sandbox, client, user):
    """403 names the permission, whether the client lacks it or the user."""
    token = sandbox.issue_token(None if user is None else sandbox.users[user], client=client)
    error = ask("DELETE", f"tokens/{sandbox.users[3].id}", token).json()
    assert (error["status"], error["code"]) == (403, "missing.any.permissions")
    assert error["message"].startswith(
        "Unable to perform the requested action. You must have at least one of"
    )
    assert error["message"].endswith("assigned: [oauth:token:delete]")
    assert error["messageParams"] == {"permissions": "[oauth:token:delete]"}
    assert sandbox.revocations == ()


def test_user_permissions_count_for_user_tokens(ask, sandbox):
    """The administrator may log others out through a client that has no permission itself."""
    token = sandbox.issue_token(sandbox.users[0])
    assert ask("DELETE", f"tokens/{sandbox.users[3].id}", token).status_code == 204


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "authentication.required"),
        ("Basic eDp5", "authentication.required"),
        ("Bearer ", "authentication.required"),
        ("Bearer unknown", "bad.credentials"),
    ],
)
def test_who_is_not_signed_in(ask, authorization, code):
    """401 tells a missing bearer token from one that is not known."""
    headers = {"Authorization": authorization} if authorization else {}
    answer = ask("GET", "tokens/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert "inin-ratelimit-count" not in answer.headers


def test_token_expires(ask, sandbox):
    """A token whose lifetime is over gets credentials.expired."""
    token = sandbox.issue_token(expires_in_seconds=60)
    sandbox.advance(59)
    assert sandbox.is_alive(token)
    sandbox.advance(2)
    assert not sandbox.is_alive(token)
    assert ask("GET", "tokens/me", token).json()["code"] == "credentials.expired"


def test_token_idles_out(ask, admin, sandbox):
    """A token not used for the idle time expires; each use starts that time again."""
    for _ in range(3):
        sandbox.advance(3000)
        assert ask("GET", "users", admin).status_code == 200
    sandbox.advance(3601)
    assert ask("GET", "tokens/me", admin).json()["code"] == "credentials.expired"


def test_preserving_the_idle_timer(ask, admin, sandbox):
    """GET tokens/me?preserveIdleTTL=true leaves the timer alone, without it the timer starts again."""
    sandbox.advance(1000)
    kept = ask("GET", "tokens/me?preserveIdleTTL=true", admin).json()
    assert seconds_to_idle(sandbox, kept) == pytest.approx(2600, abs=1)
    reset = ask("GET", "tokens/me?preserveIdleTTL=false", admin).json()
    assert seconds_to_idle(sandbox, reset) == pytest.approx(3600, abs=1)


def test_only_reading_the_token_preserves(ask, admin, sandbox):
    """HEAD resets the idle timer, whatever its query says."""
    sandbox.advance(1000)
    ask("HEAD", "tokens/me?preserveIdleTTL=true", admin)
    kept = ask("GET", "tokens/me?preserveIdleTTL=true", admin).json()
    assert seconds_to_idle(sandbox, kept) == pytest.approx(3600, abs=1)


def test_is_alive_does_not_touch(ask, admin, sandbox):
    """Looking into the server's books resets nothing."""
    sandbox.advance(1000)
    assert sandbox.is_alive(admin)
    kept = ask("GET", "tokens/me?preserveIdleTTL=true", admin).json()
    assert seconds_to_idle(sandbox, kept) == pytest.approx(2600, abs=1)


def test_timeout_is_read_and_changed(ask, admin):
    """PUT tokens/timeout keeps what it is given, groups included, and leaves the rest."""
    before = ask("GET", "tokens/timeout", admin).json()
    assert before["idleTokenTimeoutSeconds"] == 3600
    bundle = {
        "priority": 1,
        "timeoutSeconds": 900,
        "groups": [str(uuid4())],
        "inactivityTimeoutUnit": "Minutes",
    }
    change = {"idleTokenTimeoutSeconds": 28800, "inactivityTimeoutGroupBundles": [bundle]}
    answer = ask("PUT", "tokens/timeout", admin, json=change)
    assert answer.json() == ask("GET", "tokens/timeout", admin).json() == {**before, **change}


def test_timeout_counts_at_once(ask, admin, sandbox):
    """A shorter idle timeout applies to tokens that live already; a disabled one to none."""
    ask("PUT", "tokens/timeout", admin, json={"idleTokenTimeoutSeconds": 300})
    assert seconds_to_idle(sandbox, ask("GET", "tokens/me", admin).json()) == pytest.approx(300, abs=1)
    ask("PUT", "tokens/timeout", admin, json={"enableIdleTokenTimeout": False})
    assert "dateTokenIdles" not in ask("GET", "tokens/me", admin).json()
    sandbox.advance(10_000)
    assert sandbox.is_alive(admin)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("idleTokenTimeoutSeconds", {"idleTokenTimeoutSeconds": "600"}),
        ("idleTokenTimeoutSeconds", {"idleTokenTimeoutSeconds": True}),
        ("enableIdleTokenTimeout", {"enableIdleTokenTimeout": "yes"}),
        ("inactivityTimeoutUnit", {"inactivityTimeoutUnit": "Days"}),
        ("inactivityTimeoutGroupBundles", {"inactivityTimeoutGroupBundles": {}}),
        ("inactivityTimeoutGroupBundles", {"inactivityTimeoutGroupBundles": [1]}),
        (
            "priority",
            {"inactivityTimeoutGroupBundles": [{"priority": 6, "timeoutSeconds": 300, "groups": []}]},
        ),
        (
            "priority",
            {"inactivityTimeoutGroupBundles": [{"priority": "1", "timeoutSeconds": 300, "groups": []}]},
        ),
        (
            "timeoutSeconds",
            {"inactivityTimeoutGroupBundles": [{"priority": 1, "timeoutSeconds": "300", "groups": []}]},
        ),
        (
            "groups",
            {"inactivityTimeoutGroupBundles": [{"priority": 1, "timeoutSeconds": 300, "groups": [1]}]},
        ),
    ],
)
def test_timeout_has_limits(ask, admin, field, change):
    """What the limits do not allow gets 400 with the field, and changes nothing."""
    before = ask("GET", "tokens/timeout", admin).json()
    error = ask("PUT", "tokens/timeout", admin, json=change).json()
    assert (error["status"], error["code"]) == (400, "invalid.value")
    assert error["details"] == [{"errorCode": "invalid.value", "fieldName": field}]
    assert ask("GET", "tokens/timeout", admin).json() == before


@pytest.mark.parametrize(
    ("hipaa", "too_short", "too_long", "code", "message"),
    [
        (
            False,
            299,
            28801,
            "token.timeout.exceeded",
            "When HIPAA is not enabled timeout must be between 300 and 28800 seconds",
        ),
        (
            True,
            299,
            901,
            "token.timeout.exceeded.hipaa",
            "When HIPAA is enabled timeout must be between 300 and 900 seconds",
        ),
    ],
)
def test_timeout_is_bounded(http, hipaa, too_short, too_long, code, message):
    """An idle timeout out of bounds has a code of its own; under HIPAA the longest is 900 seconds."""
    with Sandbox(hipaa=hipaa) as sandbox:
        url = f"{sandbox.base_url}/api/v2/tokens/timeout"
        headers = {"Authorization": f"Bearer {sandbox.issue_token(client='admin')}"}
        before = http.get(url, headers=headers, timeout=10).json()
        assert before["idleTokenTimeoutSeconds"] == (900 if hipaa else 3600)
        for seconds in (too_short, too_long):
            error = http.put(
                url, headers=headers, json={"idleTokenTimeoutSeconds": seconds}, timeout=10
            ).json()
            assert (error["status"], error["code"], error["message"]) == (400, code, message)
        assert http.get(url, headers=headers, timeout=10).json() == before
        change = {"idleTokenTimeoutSeconds": too_long - 1}
        assert http.put(url, headers=headers, json=change, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("hipaa", "seconds", "code", "message"),
    [
        (
            False,
            28801,
            "max.idle.token.timeout.exceeded",
            "When HIPAA is disabled timeout must be between 5 minutes and 8 hours.",
        ),
        (
            True,
            901,
            "max.idle.hipaa.token.timeout.exceeded",
            "When HIPAA is enabled timeout must be 15 minutes or less",
        ),
    ],
)
def test_timeout_of_a_group_is_bounded(http, hipaa, seconds, code, message):
    """So has the idle timeout of groups."""
    with Sandbox(hipaa=hipaa) as sandbox:
        bundle = {"priority": 1, "timeoutSeconds": seconds, "groups": []}
        error = http.put(
            f"{sandbox.base_url}/api/v2/tokens/timeout",
            headers={"Authorization": f"Bearer {sandbox.issue_token(client='admin')}"},
            json={"inactivityTimeoutGroupBundles": [bundle]},
            timeout=10,
        ).json()
        assert (error["status"], error["code"], error["message"]) == (400, code, message)


def test_timeout_needs_json(ask, admin):
    """A body that is no JSON object gets 400, another content type 415."""
    headers = {"Content-Type": "application/json"}
    assert ask("PUT", "tokens/timeout", admin, data="{", headers=headers).status_code == 400
    assert ask("PUT", "tokens/timeout", admin, data="[]", headers=headers).status_code == 400
    answer = ask("PUT", "tokens/timeout", admin, data={"a": "b"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported.media.type")


@pytest.mark.parametrize("change", [{"idleTokenTimeoutSeconds": 28800}, {"enableIdleTokenTimeout": False}])
def test_what_has_idled_out_stays_dead(ask, sandbox, change):
    """A longer idle timeout, or none, brings no token back that had idled out; the others live longer."""
    dead = sandbox.issue_token()
    sandbox.advance(1800)
    living = sandbox.issue_token()
    sandbox.advance(1800)
    assert not sandbox.is_alive(dead)
    assert ask("PUT", "tokens/timeout", sandbox.issue_token(client="admin"), json=change).status_code == 200
    assert not sandbox.is_alive(dead)
    assert ask("GET", "tokens/me", dead).json()["code"] == "credentials.expired"
    sandbox.advance(1800)
    assert sandbox.is_alive(living)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_has_finite_numbers(ask, admin, number):
    """A number that JSON cannot write back makes a body malformed, wherever it is; nothing changes."""
    before = ask("GET", "tokens/timeout", admin).json()
    bundle = f'{{"priority": 1, "timeoutSeconds": 300, "groups": [], "more": {number}}}'
    answer = ask(
        "PUT",
        "tokens/timeout",
        admin,
        data=f'{{"inactivityTimeoutGroupBundles": [{bundle}]}}',
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad.request")
    assert ask("GET", "tokens/timeout", admin).json() == before


def test_timeout_survives_half_a_character(ask, admin):
    """A lone surrogate, which UTF-8 cannot write, comes back as a question mark, from then on too."""
    bundle = {"priority": 1, "timeoutSeconds": 300, "groups": ["\ud800"]}
    answer = ask("PUT", "tokens/timeout", admin, json={"inactivityTimeoutGroupBundles": [bundle]})
    assert answer.json()["inactivityTimeoutGroupBundles"] == [{**bundle, "groups": ["?"]}]
    assert ask("GET", "tokens/timeout", admin).json() == answer.json()


def test_timeout_change_needs_the_permission(ask, sandbox):
    """Reading the idle timeout needs no permission, changing it directory:organization:admin."""
    token = sandbox.issue_token(client="no permissions")
    assert ask("GET", "tokens/timeout", token).status_code == 200
    error = ask("PUT", "tokens/timeout", token, json={}).json()
    assert error["messageParams"] == {"permissions": "[directory:organization:admin]"}


def test_error_shape_and_correlation(ask, admin):
    """An error has all fields of the platform's, and the id of its header."""
    answer = ask("GET", "no/such/route", admin)
    error = answer.json()
    assert answer.status_code == error["status"] == 404
    assert error["code"] == "not.found"
    assert error["message"] == error["messageWithParams"] == "The requested resource was not found."
    assert (error["messageParams"], error["details"], error["errors"]) == ({}, [], [])
    assert error["contextId"] == answer.headers["ININ-Correlation-Id"]


def test_every_answer_has_its_own_correlation_id(ask, admin):
    """Correlation ids differ from request to request."""
    ids = {ask("HEAD", "tokens/me", admin).headers["ININ-Correlation-Id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize(("method", "path"), [("DELETE", "tokens/timeout"), ("POST", "tokens/me")])
def test_wrong_method_says_which_are_right(ask, admin, method, path):
    """A path that exists answers 405 with Allow to another method."""
    answer = ask(method, path, admin)
    assert (answer.status_code, answer.json()["code"]) == (405, "method.not.allowed")
    assert "GET" in answer.headers["Allow"]


def test_rate_limit(http):
    """Requests are counted for each token; past the limit 429 says when to come back, and then it works."""
    with Sandbox(rate_limit=3, rate_window_seconds=60) as sandbox:
        tokens = [sandbox.issue_token(client="admin") for _ in range(2)]

        def get(token: str) -> requests.Response:
            url = f"{sandbox.base_url}/api/v2/tokens/me"
            return http.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)

        counts = [get(tokens[0]).headers["inin-ratelimit-count"] for _ in range(3)]
        assert counts == ["1", "2", "3"]
        sandbox.advance(20)
        refused = get(tokens[0])
        assert refused.status_code == 429
        assert refused.headers["inin-ratelimit-allowed"] == "3"
        assert refused.headers["Retry-After"] == refused.headers["inin-ratelimit-reset"]
        assert 20 <= int(refused.headers["Retry-After"]) <= 40
        error = refused.json()
        assert error["code"] == "too.many.requests.retry.after"
        assert error["message"] == (
            "Rate limit exceeded the maximum. Retry the request in "
            f"[{refused.headers['Retry-After']}] seconds"
        )
        assert get(tokens[1]).status_code == 200
        sandbox.advance(40)
        assert get(tokens[0]).status_code == 200


def test_no_rate_limit_no_headers(ask, admin):
    """Without a limit there are no rate-limit headers."""
    assert not [name for name in ask("GET", "tokens/me", admin).headers if "ratelimit" in name.lower()]


def test_users_me(ask, sandbox):
    """GET users/me tells who the token acts for."""
    user = ask("GET", "users/me", sandbox.issue_token(sandbox.users[2])).json()
    assert (user["id"], user["name"], user["state"]) == (sandbox.users[2].id, "Ada Lovelace", "active")
    assert user["email"] == "ada.lovelace@cumulus-airlines.example"
    assert not {"token", "authorization", "organization", "lastTokenIssued", "trustors"} & set(user)


def test_users_me_expanded(ask, sandbox):
    """Each part that is asked for comes along, listed with commas or one by one."""
    token = sandbox.issue_token(sandbox.users[2])
    path = "users/me?expand=token,authorization&expand=organization,lasttokenissued,trustors"
    user = ask("GET", path, token).json()
    assert user["token"]["OAuthClient"]["name"] == "web app"
    assert user["authorization"]["permissions"] == ["directory:user:view", "oauth:token:delete"]
    assert user["authorization"]["permissionPolicies"] == [
        {"domain": "directory", "entityName": "user", "actionSet": ["view"]},
        {"domain": "oauth", "entityName": "token", "actionSet": ["delete"]},
    ]
    assert user["organization"]["name"] == "Cumulus Airlines"
    assert user["organization"]["version"] == 1
    issued = datetime.fromisoformat(user["lastTokenIssued"]["dateIssued"])
    assert sandbox.calls[-1].at - issued < timedelta(seconds=10)
    assert user["trustors"] == []


def test_users_me_tells_the_last_token(ask, sandbox):
    """The date is that of the user's last token, whichever token asks and whether or not the last lives on."""
    token = sandbox.issue_token(sandbox.users[2])
    sandbox.advance(1000)
    last = sandbox.issue_token(sandbox.users[2])
    sandbox.issue_token(sandbox.users[3], expires_in_seconds=5)
    ask("DELETE", "tokens/me", last)
    sandbox.advance(1000)
    sandbox.issue_token(sandbox.users[3])
    user = ask("GET", "users/me?expand=lasttokenissued", token).json()
    issued = datetime.fromisoformat(user["lastTokenIssued"]["dateIssued"])
    assert timedelta(seconds=999) < sandbox.calls[-1].at - issued < timedelta(seconds=1100)


def test_users_me_needs_a_user(ask, admin):
    """Client credentials act for nobody: 400 says so."""
    error = ask("GET", "users/me", admin).json()
    assert (error["status"], error["code"]) == (400, "not.a.user")
    assert error["message"] == (
        "This request requires a user context. "
        "Client credentials cannot be used for requests to this resource."
    )


def test_user_pages(ask, admin, sandbox):
    """GET users gives the active users by name, page after page along nextUri, each once."""
    names, path = [], "users?pageSize=20"
    while path:
        page = ask("GET", path, admin).json()
        names += [user["name"] for user in page["entities"]]
        path = page.get("nextUri", "").removeprefix("/api/v2/")
    active = [user.name for user in sandbox.users if user.state == "active"]
    assert (page["total"], page["pageCount"], page["pageSize"], page["pageNumber"]) == (len(active), 3, 20, 3)
    assert names == sorted(active, key=str.lower)


def test_user_pages_choose(ask, admin, sandbox):
    """State, ids and sort order choose and order the users."""
    states = {user["state"] for user in ask("GET", "users?state=any&pageSize=100", admin).json()["entities"]}
    assert states == {"active", "inactive", "deleted"}
    deleted = ask("GET", "users?state=deleted", admin).json()["entities"]
    assert [user["name"] for user in deleted] == ["Rosalind Franklin"]
    ids = [sandbox.users[2].id, sandbox.users[3].id.upper()]
    for query in (f"id={ids[0]}&id={ids[1]}", f"id={ids[0]},{ids[1]}"):
        users = ask("GET", f"users?{query}&sortOrder=DESC", admin).json()["entities"]
        assert [user["name"] for user in users] == ["Katherine Johnson", "Ada Lovelace"]


@pytest.mark.parametrize(
    "query", ["pageSize=0", "pageSize=501", "pageNumber=x", "state=gone", "sortOrder=up"]
)
def test_user_pages_refuse(ask, admin, query):
    """A query outside the limits gets 400 and names the parameter."""
    error = ask("GET", f"users?{query}", admin).json()
    name, _, value = query.partition("=")
    assert (error["code"], error["details"][0]["fieldName"]) == ("invalid.query.param.value", name)
    assert error["message"].startswith(
        f"Value [{value}] is not valid for parameter [{name}]. Allowable values are: "
    )


def test_users_by_id_are_a_hundred_at_most(ask, admin):
    """A request for more ids is refused as a whole."""
    ids = [str(uuid4()) for _ in range(101)]
    error = ask("GET", "users", admin, params={"id": ids}).json()
    assert (error["code"], error["message"]) == (
        "max.user.ids",
        "Only 100 users can be requested at a time.",
    )
    assert ask("GET", "users", admin, params={"id": ids[1:]}).status_code == 200


def search(ask, token, *clauses: dict[str, Any], **options: Any) -> requests.Response:
    """POST users/search."""
    return ask("POST", "users/search", token, json={"query": list(clauses), **options})


def test_search_by_email(ask, admin, sandbox):
    """A hundred e-mail addresses are found at once, in any letter case; unknown ones and deleted users are left out."""
    there = [user.id for user in sandbox.users if user.state != "deleted"]
    wanted = [user.email.upper() for user in sandbox.users] + ["nobody@example.org"]
    clause = {"type": "EXACT", "fields": ["email"], "values": wanted}
    found = search(ask, admin, clause, pageSize=100).json()
    assert [user["id"] for user in found["results"]] == there
    assert (found["total"], found["pageCount"]) == (len(there), 1)
    assert "nextPage" not in found
    of_any_state = {"type": "EXACT", "fields": ["state"], "values": ["active", "inactive", "deleted"]}
    found = search(ask, admin, clause, of_any_state, pageSize=100).json()
    assert [user["id"] for user in found["results"]] == [user.id for user in sandbox.users]


def test_search_finds_namesakes(ask, admin):
    """Two users of one name are both found."""
    found = search(ask, admin, {"type": "EXACT", "fields": ["name"], "value": "maria schmidt"}).json()
    assert len({user["email"] for user in found["results"]}) == 2


@pytest.mark.parametrize(
    ("kind", "value", "names"),
    [
        ("STARTS_WITH", "hop", ["Grace Hopper"]),
        ("STARTS_WITH", "opp", []),
        ("CONTAINS", "oppe", ["Grace Hopper"]),
        ("QUERY_STRING", "hopper grac*", ["Grace Hopper"]),
        ("CONTAINS", "YOUYOU.TU@", ["屠呦呦 (Tu Youyou)"]),
    ],
)
def test_search_as_one_types(ask, admin, kind, value, names):
    """Name and e-mail are found by their beginning, by a part, or by words."""
    found = search(ask, admin, {"type": kind, "fields": ["name", "email"], "value": value}).json()
    assert [user["name"] for user in found["results"]] == names


def test_search_combines(ask, admin, sandbox):
    """Clauses narrow, add or take away."""
    every = {"type": "MATCH_ALL"}
    inactive = {"type": "EXACT", "fields": ["state"], "value": "inactive"}
    barbara = {"type": "CONTAINS", "fields": ["name"], "value": "barbara"}
    grace = {"type": "CONTAINS", "fields": ["name"], "value": "grace"}

    def names(*clauses: dict[str, Any]) -> set[str]:
        return {user["name"] for user in search(ask, admin, *clauses, pageSize=100).json()["results"]}

    assert names(inactive, barbara) == {"Barbara Liskov"}
    assert names(barbara, {**grace, "operator": "OR"}) == {"Barbara Liskov", "Grace Hopper"}
    assert names(inactive, {**barbara, "operator": "NOT"}) == {"Dennis Ritchie"}
    assert names(every) == {user.name for user in sandbox.users if user.state != "deleted"}


def test_search_pages(ask, admin, sandbox):
    """nextPage leads through all results, each once."""
    answer = search(ask, admin, {"type": "MATCH_ALL"}, pageSize=20).json()
    ids = [user["id"] for user in answer["results"]]
    while "nextPage" in answer:
        answer = ask("GET", answer["nextPage"].removeprefix("/api/v2/"), admin).json()
        ids += [user["id"] for user in answer["results"]]
    there = sum(user.state != "deleted" for user in sandbox.users)
    assert (answer["total"], answer["pageCount"], answer["pageNumber"]) == (there, 3, 3)
    assert answer["types"] == ["users"]
    assert len(set(ids)) == len(ids) == there


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("query", {}),
        ("query", {"query": []}),
        ("query", {"query": ["x"]}),
        ("pageSize", {"query": [{"type": "MATCH_ALL"}], "pageSize": 101}),
        ("fields", {"query": [{"type": "EXACT", "fields": ["shoe size"], "value": "x"}]}),
        ("values", {"query": [{"type": "EXACT", "fields": ["name"]}]}),
        ("type", {"query": [{"type": "GUESS", "fields": ["name"], "value": "x"}]}),
        ("type", {"query": [{"type": [], "fields": ["name"], "value": "x"}]}),
        ("operator", {"query": [{"type": "MATCH_ALL"}, {"type": "MATCH_ALL", "operator": "XOR"}]}),
    ],
)
def test_search_refuses(ask, admin, field, body):
    """A search that cannot be read gets 400 and names the field."""
    error = ask("POST", "users/search", admin, json=body).json()
    assert (error["status"], error["details"][0]["fieldName"]) == (400, field)


def test_search_refuses_a_broken_page_link(ask, admin):
    """A nextPage that was tampered with gets 400."""
    assert ask("GET", "users/search?q64=%%%", admin).json()["details"][0]["fieldName"] == "q64"


def test_json_may_not_be_nested_without_end(ask, admin):
    """JSON that is nested deeper than can be read is malformed, in a body as in a page link."""
    headers = {"Content-Type": "application/json"}
    deep = b"[" * 20_000
    link = base64.urlsafe_b64encode(deep).decode()
    answers = [
        ask("POST", "users/search", admin, data=deep, headers=headers),
        ask("GET", "users/search", admin, params={"q64": link}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(400, "bad.request")] * 2


def test_search_needs_the_permission(ask, sandbox):
    """Searching needs directory:user:view."""
    answer = search(ask, sandbox.issue_token(sandbox.users[1]), {"type": "MATCH_ALL"})
    assert answer.json()["messageParams"] == {"permissions": "[directory:user:view]"}


def test_oauth_clients(ask, admin, sandbox):
    """The clients are listed for oauth:client:view only, and without their secrets."""
    page = ask("GET", "oauth/clients", admin).json()
    assert [client["name"] for client in page["entities"]] == [client.name for client in sandbox.clients]
    web_app = sandbox.client("web app")
    one = ask("GET", f"oauth/clients/{web_app.client_id}", admin).json()
    assert one in page["entities"]
    assert not [client for client in page["entities"] if "secret" in client]
    assert {client["authorizedGrantType"] for client in page["entities"]} == {
        "CLIENT-CREDENTIALS",
        "CODE",
        "SAML2-BEARER",
    }
    assert one["accessTokenValiditySeconds"] == 86400
    assert one["registeredRedirectUri"] == list(web_app.redirect_uris)
    missing = ask("GET", f"oauth/clients/{uuid4()}", admin).json()
    assert (missing["status"], missing["code"], missing["message"]) == (
        404,
        "client.not.found",
        "Client was not found.",
    )
    token = sandbox.issue_token(client="many scopes")
    assert ask("GET", "oauth/clients", token).json()["messageParams"] == {
        "permissions": "[oauth:client:view]"
    }


@pytest.mark.parametrize("who", ["client", "user"])
def test_grants_of_the_caller(ask, sandbox, who):
    """GET authorization/subjects/me gives the permissions of the caller, as policies of roles."""
    if who == "client":
        token, permissions = sandbox.issue_token(client="admin"), sandbox.client("admin").permissions
    else:
        token, permissions = sandbox.issue_token(sandbox.users[2]), sandbox.users[2].permissions
    subject = ask("GET", "authorization/subjects/me?includeFullRoles=true", token).json()
    granted = [
        f"{policy['domain']}:{policy['entityName']}:{action}"
        for grant in subject["grants"]
        for policy in grant["role"]["policies"]
        for action in policy["actions"]
    ]
    assert sorted(granted) == sorted(permissions)
    assert {grant["division"]["name"] for grant in subject["grants"]} == {"Home"}
    assert all(grant["grantMadeAt"] for grant in subject["grants"])


@pytest.mark.parametrize("query", ["", "?includeFullRoles=false"])
def test_roles_come_without_policies_unless_asked_for(ask, admin, query):
    """GET authorization/subjects/me names the roles; what they permit comes with includeFullRoles=true only."""
    full = ask("GET", "authorization/subjects/me?includeFullRoles=true", admin).json()
    assert all(grant["role"].pop("policies") for grant in full["grants"])
    assert ask("GET", f"authorization/subjects/me{query}", admin).json() == full


def test_nobody_has_no_grants(ask, sandbox):
    """A subject without permissions has no grants."""
    token = sandbox.issue_token(client="no permissions")
    assert ask("GET", "authorization/subjects/me", token).json()["grants"] == []


def test_queues(ask, admin):
    """GET routing/queues gives the queues by name, in pages, for routing:queue:view only."""
    page = ask("GET", "routing/queues?pageSize=2&pageNumber=2", admin).json()
    assert [queue["name"] for queue in page["entities"]] == ["Lost property", "Reservations"]
    assert (page["total"], page["pageCount"], page["pageNumber"], page["pageSize"]) == (5, 3, 2, 2)
    assert page["nextUri"] == "/api/v2/routing/queues?pageSize=2&pageNumber=3"
    assert {queue["division"]["name"] for queue in page["entities"]} == {"Home"}


def test_queues_need_the_permission(ask, sandbox):
    """Reading the queues needs routing:queue:view."""
    error = ask("GET", "routing/queues", sandbox.issue_token(client="no permissions")).json()
    assert error["messageParams"] == {"permissions": "[routing:queue:view]"}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sortOrder=desc&pageSize=2", ["Sales", "Reservations"]),
        ("name=BILLING", ["Billing"]),
        ("name=bill", []),
        ("name=*l*s", []),
        ("name=*ions", ["Reservations"]),
        ("name=cl*", ["Claims"]),
        ("name=*il*", ["Billing"]),
        ("id=00000000-0000-4000-8000-000000000000", []),
        ("divisionId=00000000-0000-4000-8000-000000000000", []),
    ],
)
def test_queues_choose(ask, admin, query, names):
    """Name, with asterisks at its ends, id and sort order choose and order the queues."""
    page = ask("GET", f"routing/queues?{query}", admin).json()
    assert [queue["name"] for queue in page["entities"]] == names


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("id=x", "invalid.id"),
        ("divisionId=x", "invalid.id"),
        ("sortOrder=up", "invalid.query.param.value"),
        ("pageSize=0", "invalid.query.param.value"),
    ],
)
def test_queues_refuse(ask, admin, query, code):
    """A query that is not allowed gets 400 and names the field."""
    error = ask("GET", f"routing/queues?{query}", admin).json()
    assert (error["status"], error["code"]) == (400, code)
    assert error["details"] == [{"errorCode": code, "fieldName": query.partition("=")[0]}]


@pytest.mark.parametrize(
    ("method", "path", "scope", "named"),
    [
        ("GET", "tokens/me", "user-basic-info", "user-basic-info"),
        ("HEAD", "tokens/me", "user-basic-info", None),
        ("DELETE", "tokens/{user}", "user-basic-info", "user-basic-info"),
        ("DELETE", "tokens/me", "user-basic-info", "user-basic-info"),
        ("GET", "tokens/timeout", "authorization:readonly", "authorization"),
        ("GET", "tokens/timeout", "organization", "authorization"),
        ("PUT", "tokens/timeout", "authorization", "authorization"),
        ("GET", "users/me", "user-basic-info", "user-basic-info"),
        ("GET", "users", "users:readonly", "users"),
        ("POST", "users/search", "users", "users"),
        ("GET", "oauth/clients", "oauth:readonly", "oauth"),
        ("GET", "oauth/clients/{client}", "oauth", "oauth"),
        ("GET", "authorization/subjects/me", "authorization", "authorization"),
        ("GET", "routing/queues", "routing:readonly", "routing"),
    ],
)
def test_scopes_enforced(http, method, path, scope, named):
    """Where the organization enforces scopes, a person's client can do only what one of its scopes covers."""
    with Sandbox(enforce_scopes=True) as sandbox:
        sandbox.add_client("has", grant="CODE", client_secret="s", scope=[scope])
        sandbox.add_client("has not", grant="CODE", client_secret="s", scope=["alerting"])
        path = path.format(user=sandbox.users[3].id, client=sandbox.client("admin").client_id)
        body = {"query": [{"type": "MATCH_ALL"}]} if "search" in path else {}

        def call(client: str) -> requests.Response:
            url, token = f"{sandbox.base_url}/api/v2/{path}", sandbox.issue_token(client=client)
            headers = {"Authorization": f"Bearer {token}"}
            return http.request(method, url, headers=headers, json=body, timeout=10)

        assert call("has").ok
        refused = call("has not")
        assert refused.status_code == 403
        if named:
            error = refused.json()
            assert (error["code"], error["message"]) == (
                "app.not.authorized.for.scope",
                f"App not authorized to use scope {named}",
            )


def test_reading_scopes_do_not_write(http):
    """A scope for reading the idle timeout does not let it be changed."""
    with Sandbox(enforce_scopes=True) as sandbox:
        sandbox.add_client("reader", grant="CODE", client_secret="s", scope=["authorization:readonly"])
        answer = http.put(
            f"{sandbox.base_url}/api/v2/tokens/timeout",
            headers={"Authorization": f"Bearer {sandbox.issue_token(client='reader')}"},
            json={"idleTokenTimeoutSeconds": 900},
            timeout=10,
        )
        assert answer.json()["code"] == "app.not.authorized.for.scope"


def test_scopes_bind_no_client_credentials(http):
    """Scopes bind clients that act for people: client credentials have roles instead."""
    with Sandbox(enforce_scopes=True) as sandbox:
        token = sandbox.issue_token(client="no permissions")
        answer = http.get(
            f"{sandbox.base_url}/api/v2/tokens/me", headers={"Authorization": f"Bearer {token}"}, timeout=10
        )
        assert answer.json()["authorizedScope"] == []


def test_scopes_bind_nobody_unless_enforced(ask, sandbox):
    """By default an organization does not enforce scopes."""
    sandbox.add_client("bare", grant="CODE", client_secret="s")
    assert ask("GET", "tokens/me", sandbox.issue_token(client="bare")).status_code == 200
