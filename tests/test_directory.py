"""Finding users: who am I, by id, by e-mail, as one types, all of them."""

from __future__ import annotations

import pytest

from gctokens_nb import directory
from gctokens_nb.errors import BadRequestError, ConfigurationError, InvalidAnswerError, PermissionDeniedError
from gctokens_nb.sandbox import Fault, Sandbox


def test_me(sandbox: Sandbox, sign_in):
    """`me` tells who a person's token belongs to, with what was asked for in `raw`."""
    user = sandbox.users[2]
    gc = sign_in(access_token=sandbox.issue_token(user))
    me = gc.directory.me(expand=["organization", "authorization"])
    assert (me.id, me.name, me.email, me.state) == (user.id, user.name, user.email, "active")
    assert me.raw["organization"]["id"] == sandbox.organization.id
    assert "oauth:token:delete" in me.raw["authorization"]["permissions"]
    assert gc.directory.own_id() == user.id


def test_a_machine_is_nobody(gc):
    """A client-credentials token has no user: `me` is the server's error, `own_id` None."""
    with pytest.raises(BadRequestError, match="requires a user context"):
        gc.directory.me()
    assert gc.directory.own_id() is None


def test_get(gc, sandbox: Sandbox):
    """`get` finds a user by id, in any state, or None."""
    gone = next(user for user in sandbox.users if user.state == "deleted")
    assert gc.directory.get(gone.id).name == gone.name
    assert gc.directory.get("00000000-0000-0000-0000-000000000000") is None


def test_find_by_email(gc, sandbox: Sandbox):
    """`find_by_email` finds each address once, in any letter case and with white space around it."""
    one, other = sandbox.users[1:3]
    found = gc.directory.find_by_email(
        [f" {one.email.upper()} ", other.email, one.email, "nobody@example.com"]
    )
    assert {user.id for user in found} == {one.id, other.id}
    assert len(found) == 2


def test_find_by_email_in_batches(sign_in):
    """More than a hundred addresses are asked a hundred at a time."""
    with Sandbox(users=250) as large:
        gc = sign_in(server=large)
        found = gc.directory.find_by_email(user.email for user in large.users)
        assert {user.id for user in found} == {user.id for user in large.users}
        assert {user.state for user in found} == {"active", "inactive", "deleted"}
        assert sum(call.path == "/api/v2/users/search" for call in large.calls) == 3


def test_no_address_asks_nothing(gc, sandbox: Sandbox):
    """Without an address nothing is sent."""
    assert gc.directory.find_by_email([]) == []
    assert gc.directory.search("  ") == []
    assert len(sandbox.calls) == 1


def test_a_second_page_of_one_address_is_read(sandbox: Sandbox, gc):
    """An address that many users share is found in full, page by page."""
    for number in range(101):
        sandbox.add_user(name=f"Twin {number}", email="twin@example.com")
    assert len(gc.directory.find_by_email(["twin@example.com"])) == 101


def test_search_as_one_types(gc):
    """`search` finds by the beginning of a name or e-mail, and no more than wanted."""
    assert [user.name for user in gc.directory.search(" Grace ")] == ["Grace Hopper"]
    assert {user.name for user in gc.directory.search("maria.s")} == {"Maria Schmidt"}
    assert len(gc.directory.search("a", limit=3)) == 3


def test_search_takes_an_id(gc, sandbox: Sandbox):
    """`search` finds the user of an id, in any letter case, or nobody."""
    user = sandbox.users[5]
    assert [one.id for one in gc.directory.search(f" {user.id.upper()} ")] == [user.id]
    assert gc.directory.search("00000000-0000-0000-0000-000000000000") == []


def test_a_search_is_repeated_although_it_is_a_post(gc, sandbox: Sandbox):
    """A search changes nothing, so it is repeated on a passing failure."""
    sandbox.add_fault(Fault("status", path="/search", status=503, times=1))
    assert gc.directory.search("Grace")


def test_searching_needs_its_permission(sign_in):
    """Without `directory:user:view` the error names it."""
    with pytest.raises(PermissionDeniedError, match="directory:user:view"):
        sign_in("no permissions").directory.search("Grace")


def test_list_users_page_by_page(sign_in):
    """`list_users` yields every user of a state, over all pages, asking for the next page only when it is needed."""
    with Sandbox(users=230) as large:
        gc = sign_in(server=large)
        listed = gc.directory.list_users(state="any")
        assert next(listed).id
        assert sum(call.path == "/api/v2/users" for call in large.calls) == 1
        assert len(list(listed)) == 229
        active = list(gc.directory.list_users())
        assert {user.state for user in active} == {"active"}


@pytest.mark.parametrize("body", ["[]", "", "{", '{"entities": [{"id": 5}]}'])
def test_a_malformed_answer_is_an_error(gc, sandbox: Sandbox, body: str):
    """An answer that is no list of users is an error, not an empty list."""
    sandbox.add_fault(Fault("status", path="/users", status=200, body=body))
    with pytest.raises(InvalidAnswerError, match=r"answered with 200, but the body is not a"):
        list(gc.directory.list_users())


@pytest.mark.parametrize("entities", ["5", '{"a": 1}', "[1]"])
def test_an_answer_whose_list_is_none_is_an_error(gc, sandbox: Sandbox, entities: str):
    """An answer whose users are no list of them is an error: that nobody was found must be the server's word."""
    sandbox.add_fault(Fault("status", path="/users", status=200, body=f'{{"entities": {entities}}}'))
    with pytest.raises(InvalidAnswerError, match="whose 'entities' are no list of objects"):
        list(gc.directory.list_users())


def test_a_list_that_is_left_out_is_empty(gc, sandbox: Sandbox):
    """A server may leave out the list, and the count of pages, where it found nobody."""
    sandbox.add_fault(Fault("status", path="/users", status=200, body="{}"))
    assert list(gc.directory.list_users()) == gc.directory.search("Grace") == []


def test_find_by_id_in_batches(sign_in):
    """Ids are asked a batch at a time, in any state; what is unknown is left out."""
    with Sandbox(users=120) as large:
        gc = sign_in(server=large)
        ids = [user.id.upper() for user in large.users]
        found = gc.directory.find_by_id([*ids, "00000000-0000-0000-0000-000000000000"])
        assert sorted(user.id for user in found) == sorted(user.id for user in large.users)
        assert 1 < sum(call.path == "/api/v2/users" for call in large.calls) < 10


def test_own_permissions(gc, sandbox: Sandbox, sign_in):
    """What the token's owner may do is told for a machine and for a person alike."""
    assert gc.directory.own_permissions() == set(sandbox.client("admin").permissions)
    person = sandbox.users[2]
    mine = sign_in(access_token=sandbox.issue_token(person)).directory
    assert mine.own_permissions() == set(person.permissions)
    assert mine.has_permission("oauth:token:delete")
    assert mine.has_permission("directory:organization:admin") is False
    assert sign_in("no permissions").directory.has_permission("oauth:token:delete") is False
    assert sandbox.calls[-1].query == "includeFullRoles=true"


def test_a_star_stands_for_all_of_a_kind(gc, sandbox: Sandbox):
    """A permission held as `*` counts for every entity or action of its kind."""
    policies = '[{"domain": "oauth", "entityName": "*", "actions": ["*"]}]'
    body = f'{{"grants": [{{"role": {{"policies": {policies}}}}}]}}'
    sandbox.add_fault(Fault("status", path="/subjects/me", status=200, body=body))
    assert gc.directory.has_permission("oauth:token:delete")
    assert not gc.directory.has_permission("audits:audit:view")


@pytest.mark.parametrize(
    ("roles", "known"),
    [
        ('{"role": {"name": "Master Admin"}}', None),
        ('{"role": {"name": "Master Admin", "policies": []}}', None),
        ('{"role": {"policies": null}}, {"role": {"policies": [OTHER]}}', None),
        ('{"role": {"name": "Master Admin"}}, {"role": {"policies": [DELETE]}}', True),
        ('{"role": {"policies": [OTHER]}}', False),
        (
            '{"role": {"policies": [OTHER]}}, {"role": {"policies": [DELETE]}, "division": {"id": "other"}}',
            True,
        ),
        ("", False),
    ],
)
def test_a_role_without_policies_is_not_known(gc, sandbox: Sandbox, roles: str, known: bool | None):
    """A lack is told only where every role came with its policies; one role that grants is enough."""
    for name, policy in {
        "OTHER": '{"domain": "oauth", "entityName": "client", "actions": ["view"]}',
        "DELETE": '{"domain": "oauth", "entityName": "token", "actions": ["delete"]}',
    }.items():
        roles = roles.replace(name, policy)
    sandbox.add_fault(Fault("status", path="/subjects/me", status=200, body=f'{{"grants": [{roles}]}}'))
    assert gc.directory.has_permission("oauth:token:delete") is known


@pytest.mark.parametrize("permission", ["", "oauth", "oauth:token", "a:b:c:d", "::", None])
def test_what_is_no_permission_is_refused(gc, sandbox: Sandbox, permission):
    """A permission has three parts: half of one must not be granted by any role that shares it."""
    before = len(sandbox.calls)
    with pytest.raises(ConfigurationError, match="domain:entity:action"):
        gc.directory.has_permission(permission)
    assert len(sandbox.calls) == before


def page(*ids: str, count: str = "1e9", name: str = "entities") -> str:
    """A page of users that promises a thousand million more."""
    users = ", ".join(f'{{"id": "{user_id}"}}' for user_id in ids)
    return f'{{"{name}": [{users}], "pageCount": {count}}}'


@pytest.mark.parametrize("count", ["1e9", "1000000000"])
@pytest.mark.parametrize(("ids", "asked"), [([], 1), (["a", "b"], 2)])
def test_pages_without_end_are_not_asked_for(gc, sandbox: Sandbox, count: str, ids: list[str], asked: int):
    """An empty page and a page that came before are the last, whatever number of pages is promised."""
    sandbox.add_fault(Fault("status", path="/users", status=200, body=page(*ids, count=count)))
    before = len(sandbox.calls)
    assert [user.id for user in gc.directory.list_users()] == ids
    assert len(sandbox.calls) - before == asked


def test_a_search_without_end_stops_too(gc, sandbox: Sandbox):
    """The same for a search."""
    sandbox.add_fault(Fault("status", path="/search", status=200, body=page("a", name="results")))
    assert [user.id for user in gc.directory.find_by_email(["a@example.com"])] == ["a"]


def test_a_list_without_end_is_an_error(gc, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """A server that goes on delivering is stopped by an error: a list cut short in silence would leave people out."""
    monkeypatch.setattr(directory, "MOST_PAGES", 3)
    for number in range(4):
        sandbox.add_fault(Fault("status", path="/users", status=200, body=page(str(number)), times=1))
    with pytest.raises(InvalidAnswerError, match="a list that has no end"):
        list(gc.directory.list_users())


def test_permissions_that_cannot_be_read_are_an_error(gc, sandbox: Sandbox):
    """An answer that is no list of grants is an error, not a lack of permissions."""
    sandbox.add_fault(Fault("status", path="/subjects/me", status=200, body='{"grants": 5}'))
    with pytest.raises(InvalidAnswerError, match="not an AuthzSubject"):
        gc.directory.own_permissions()
