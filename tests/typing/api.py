"""How a user's typed code uses the package. It is checked by mypy and never run."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import assert_type

import msgspec
import pandas as pd
import requests

import gctokens_nb as gct
from gctokens_nb import errors
from gctokens_nb.oauth import AccessToken
from gctokens_nb.redaction import Secret
from gctokens_nb.revocation import Run
from gctokens_nb.sandbox import Sandbox


def signing_in() -> None:
    """Every way to a connection."""
    assert_type(gct.connect(), gct.Connection)
    assert_type(gct.connect("mypurecloud.de", client_id="a", client_secret="b"), gct.Connection)
    assert_type(gct.connect(gct.regions.resolve("eu-central-1"), access_token=Secret("t")), gct.Connection)
    assert_type(gct.connect(profile="acme", keyring=True, prompt=True), gct.Connection)
    assert_type(gct.authenticate_with_client_credentials("a", "b", "mypurecloud.de"), gct.Connection)
    assert_type(gct.connect_sandbox(), gct.Connection)
    with Sandbox(users=3) as sandbox, gct.connect_sandbox("no permissions", sandbox=sandbox) as gc:
        assert_type(gc, gct.Connection)
        assert_type(gc.sandbox, Sandbox | None)


def the_six_calls(gc: gct.Connection) -> None:
    """Each takes and gives what the SDKs' documents say."""
    info = gc.tokens.get_tokens_me(preserve_idle_ttl=True)
    assert_type(info, gct.TokenInfo)
    assert_type(info.authorized_scope, tuple[str, ...])
    assert_type(info.date_token_idles, datetime | None)
    if info.organization is not None:
        assert_type(info.organization.name, str | None)
    gc.tokens.head_tokens_me()
    gc.tokens.delete_token("01234567-89ab-cdef-0123-456789abcdef")
    gc.tokens.delete_token(uuid.uuid4(), allow_self=True)
    gc.tokens.delete_token(None)  # type: ignore[arg-type]
    timeout = gc.tokens.get_tokens_timeout()
    assert_type(timeout.idle_token_timeout_seconds, int | None)
    changed = msgspec.structs.replace(timeout, idle_token_timeout_seconds=900)
    assert_type(gc.tokens.put_tokens_timeout(changed), gct.IdleTokenTimeout)
    assert_type(gc.tokens.put_tokens_timeout({"idleTokenTimeoutSeconds": 900}), gct.IdleTokenTimeout)
    gc.tokens.delete_tokens_me(verify=True)
    info.organization = None  # type: ignore[misc]


def tables(gc: gct.Connection, info: gct.TokenInfo) -> None:
    """One, several, or labelled tokens become a DataFrame."""
    assert_type(gct.frames.token_info(info), pd.DataFrame)
    assert_type(gct.frames.token_info([info, info]), pd.DataFrame)
    assert_type(gct.frames.token_info({"ours": info}), pd.DataFrame)
    assert_type(gct.frames.users(gc.directory.list_users()), pd.DataFrame)
    assert_type(gct.credentials.sources(), pd.DataFrame)


def users(gc: gct.Connection) -> None:
    """Users are found in several ways."""
    assert_type(gc.directory.me(expand=["organization"]), gct.User)
    assert_type(gc.directory.find_by_email(["a@example.com"]), list[gct.User])
    assert_type(gc.directory.search("a"), list[gct.User])
    assert_type(gc.directory.get("id"), gct.User | None)
    assert_type(gc.directory.list_users(state="any"), Iterator[gct.User])


def the_session(gc: gct.Connection) -> None:
    """The session is a requests.Session, with waits that can be watched and cancelled."""
    session: requests.Session = gc.session
    assert_type(session.get("/api/v2/routing/queues"), requests.Response)
    with gct.watch_waits(lambda wait: print(wait.seconds, wait.reason), cancel=threading.Event()):
        gc.tokens.get_tokens_me()
    gct.connect(retry=gct.RetryPolicy(attempts=2), timeout_seconds=(1, 2), on_wait=print)
    assert_type(gc.access_token, AccessToken)
    assert_type(gc.access_token.expires_at, datetime | None)
    assert_type(gc.origins, dict[str, str])


def failing(gc: gct.Connection) -> str:
    """Errors carry what a caller decides by."""
    try:
        gc.sign_out(verify=True)
    except gct.ApiError as error:
        assert_type(error.status, int)
        assert_type(error.missing_permissions, tuple[str, ...])
        assert_type(error.retry_after_seconds, float | None)
        return error.next_step
    except (errors.TransportError, gct.LoginError) as error:
        return error.what
    except gct.GCTokensError as error:
        return str(error)
    return ""


def a_person(region: str) -> None:
    """A person signs in by a browser here or elsewhere, by an assertion, or in the panel."""
    begun = gct.begin_sign_in(region, "client", "http://localhost:8085/callback")
    assert_type(begun.url, str)
    assert_type(begun.finish("http://localhost:8085/callback?code=c&state=s"), gct.Connection)
    assert_type(gct.sign_in_with_browser(region, "client"), gct.Connection)
    assert_type(gct.authenticate_with_saml2_bearer("client", "s", "org", "assertion", region), gct.Connection)
    assert_type(gct.login().connection, gct.Connection)


def many_users(gc: gct.Connection, leavers: list[str]) -> None:
    """A plan is a DataFrame, and a run tells what became of it."""
    plan = gct.plan_revocation(gc, leavers)
    frame: pd.DataFrame = plan
    assert_type(plan.users_to_revoke, int)
    run = gct.revoke(plan, journal="leavers.sqlite", confirm=len(frame), rate=math.inf)
    assert_type(gct.resume("leavers.sqlite", gc, retry_failed=True), Run)
    assert_type(gct.revoke_fleet([plan]), list[Run])
    assert_type(run.to_frame(), pd.DataFrame)
    assert_type(run.counts, dict[str, int])
