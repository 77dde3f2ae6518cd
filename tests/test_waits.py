"""Being told of waits, and ending them and the call itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import gctokens_nb as gct
from gctokens_nb.errors import CancelledError
from gctokens_nb.sandbox import Fault, Sandbox


@pytest.mark.parametrize("kind", ["call", "session", "sign-in"])
def test_cancel_breaks_off_a_request_under_way(sandbox: Sandbox, gc: gct.Connection, kind: str) -> None:
    """A `Cancel` ends a request that the server sits on, whichever way it was sent, and says the outcome is unknown."""
    client = sandbox.client("admin")
    send: dict[str, Callable[[], object]] = {
        "call": gc.tokens.get_tokens_me,
        "session": lambda: gc.session.get("/api/v2/tokens/me"),
        "sign-in": lambda: gct.connect(
            sandbox.environment, client_id=client.client_id, client_secret=client.client_secret
        ),
    }
    hold = Fault("hold", path="tokens/me|oauth/token")
    sandbox.add_fault(hold)
    cancel = gct.Cancel()

    def work() -> object:
        with gct.watch_waits(cancel=cancel):
            return send[kind]()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(work)
        hold.wait_until_held(10)
        cancel.set()
        with pytest.raises(
            CancelledError, match="was cancelled while it was under way: whether it took effect"
        ):
            call.result(timeout=5)
        hold.release()


def test_cancel_leaves_other_threads_alone(sandbox: Sandbox, gc: gct.Connection) -> None:
    """A cancelled call does not disturb one of another thread, nor the next one over the same session."""
    hold = Fault("hold", path="tokens/me", times=2)
    sandbox.add_fault(hold)
    cancel = gct.Cancel()

    def cancelled() -> object:
        with gct.watch_waits(cancel=cancel):
            return gc.tokens.get_tokens_me()

    with ThreadPoolExecutor(2) as pool:
        doomed = pool.submit(cancelled)
        hold.wait_until_held(10)
        other = pool.submit(gc.tokens.get_tokens_me)
        cancel.set()
        assert isinstance(doomed.exception(timeout=5), CancelledError)
        hold.release()
        assert other.result(timeout=5).organization
    assert gc.tokens.get_tokens_me().organization


def test_finished_call_is_out_of_reach(gc: gct.Connection) -> None:
    """Setting the event after the call is over breaks no connection that another call uses by then."""
    cancel = gct.Cancel()
    with gct.watch_waits(cancel=cancel):
        gc.tokens.get_tokens_me()
    cancel.set()
    assert gc.tokens.get_tokens_me().organization


def test_plain_event_lets_a_sent_request_finish(sandbox: Sandbox, gc: gct.Connection) -> None:
    """With a `threading.Event` nothing is broken off; nothing more is sent either."""
    hold = Fault("hold", path="tokens/me")
    sandbox.add_fault(hold)
    cancel = threading.Event()

    def work() -> object:
        with gct.watch_waits(cancel=cancel):
            return gc.tokens.get_tokens_me()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(work)
        hold.wait_until_held(10)
        cancel.set()
        hold.release()
        assert call.result(timeout=5)
        with pytest.raises(CancelledError, match="before it was sent"):
            pool.submit(work).result(timeout=5)
