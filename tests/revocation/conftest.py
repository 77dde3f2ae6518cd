"""What the tests of bulk revocation share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gctokens_nb as gct
from gctokens_nb.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with more people than usual and no rate limit."""
    with Sandbox(users=300, rate_limit=None) as server:
        yield server


@pytest.fixture
def plan(gc: gct.Connection, sandbox: Sandbox) -> Any:
    """A plan for 100 active users."""
    return gct.plan_revocation(gc, [user.id for user in sandbox.users[100:200]])


@pytest.fixture
def small(gc: gct.Connection, sandbox: Sandbox) -> Any:
    """A plan for eight users."""
    return gct.plan_revocation(gc, [user.id for user in sandbox.users[100:108]])


@pytest.fixture
def revoke(tmp_path: Path) -> Callable[..., Any]:
    """`revoke(plan)`: confirmed, as fast as it goes, its journal in the test's folder."""

    def run(plan: Any, **options: Any) -> Any:
        options = {"rate": math.inf, "journal": tmp_path / "run.sqlite", **options}
        return gct.revoke(plan, confirm=plan.users_to_revoke, **options)

    return run
