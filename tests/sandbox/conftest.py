"""A sandbox over a real socket, asked by plain requests: nothing of the client takes part."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from gctokens_nb.sandbox import Sandbox

Ask = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox without a rate limit."""
    with Sandbox(rate_limit=None) as running:
        yield running


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """A session that follows no redirects and knows no proxy."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def ask(sandbox: Sandbox, http: requests.Session) -> Ask:
    """Ask the platform API: ``ask(method, path below /api/v2/, access token)``."""

    def call(method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{sandbox.base_url}/api/v2/{path}"
        return http.request(
            method, url, headers={**headers, **options.pop("headers", {})}, timeout=10, **options
        )

    return call


@pytest.fixture
def admin(sandbox: Sandbox) -> str:
    """An access token of the client with all permissions."""
    return sandbox.issue_token(client="admin")
