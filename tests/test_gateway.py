"""A gateway that puts login and API behind one base, each below a path of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

import gctokens_nb as gct
from gctokens_nb.errors import NotFoundError
from gctokens_nb.sandbox import Sandbox

PREFIXES = ("/company/sign-in", "/company/platform")


@pytest.fixture
def gateway(sandbox: Sandbox) -> Iterator[str]:
    """Forward what lies below the two prefixes to the sandbox; everything else is 404."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            prefix = next((p for p in PREFIXES if self.path.startswith(f"{p}/")), None)
            if prefix is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            answer = requests.request(
                self.command,
                sandbox.base_url + self.path.removeprefix(prefix),
                headers={
                    n: v for n, v in self.headers.items() if n.lower() not in {"host", "content-length"}
                },
                data=self.rfile.read(int(self.headers.get("Content-Length", 0))),
                timeout=10,
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_DELETE = do_HEAD = forward

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/company"
    server.shutdown()
    server.server_close()
    thread.join()


def test_sign_in_and_call_through_a_gateway(sandbox: Sandbox, gateway: str) -> None:
    """`regions.gateway` signs in below its login path and calls below its API path."""
    client = sandbox.client("admin")
    region = gct.regions.gateway(gateway, login_path="sign-in", api_path="platform")
    with gct.connect(region, client_id=client.client_id, client_secret=client.client_secret) as gc:
        assert gc.tokens.get_tokens_me().organization.name == sandbox.organization.name
        gc.tokens.delete_token(sandbox.users[3].id)
        assert gc.session.get("/api/v2/oauth/clients").ok
        gc.tokens.delete_tokens_me(verify=True)
    assert [revocation.user_id for revocation in sandbox.revocations] == [sandbox.users[3].id]


def test_wrong_path_of_a_gateway_is_an_error_of_ours(sandbox: Sandbox, gateway: str) -> None:
    """An API path that does not exist is a typed error that names what was asked."""
    client = sandbox.client("admin")
    region = gct.regions.gateway(gateway, login_path="sign-in", api_path="wrong")
    with (
        gct.connect(region, client_id=client.client_id, client_secret=client.client_secret) as gc,
        pytest.raises(NotFoundError, match="/company/wrong/api/v2/tokens/me"),
    ):
        gc.tokens.get_tokens_me()
