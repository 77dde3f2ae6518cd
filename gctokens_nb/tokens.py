"""The Tokens API of Genesys Cloud, under the names of the official SDKs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
import requests

from gctokens_nb.directory import USER_ID, DirectoryApi
from gctokens_nb.errors import (
    ConfigurationError,
    GCTokensError,
    InvalidUserIdError,
    RevocationNotProvenError,
    SelfRevocationError,
    UnauthorizedError,
)
from gctokens_nb.models import (
    IDLE_TIMEOUT_SECONDS,
    IdleTokenTimeout,
    T,
    TokenInfo,
    decode,
    from_raw,
    to_body,
)
from gctokens_nb.oauth import TokenKeeper
from gctokens_nb.session import Session, invalid_answer, is_empty

__all__ = ["TokensApi", "revoke_user"]

TOKENS = "/api/v2/tokens"
_LONGEST_SHOWN = 24  # anything longer may be a secret that landed in the wrong argument


class TokensApi:
    """The calls that read and revoke access tokens. Reached as `connection.tokens`.

    Each raises an `ApiError` where the platform API says no, a `TransportError` where no usable answer came.
    """

    def __init__(self, session: Session, keeper: TokenKeeper, directory: DirectoryApi) -> None:
        self._session = session
        self._keeper = keeper
        self._directory = directory

    def get_tokens_me(self, *, preserve_idle_ttl: bool | None = None) -> TokenInfo:
        """Return what Genesys Cloud knows of this connection's token.

        Wire: `GET /api/v2/tokens/me[?preserveIdleTTL=true]`; no permission.

        Args:
            preserve_idle_ttl:
                True reads without resetting the idle timer; otherwise reading resets it (Python SDK, TokensApi).
        """
        params = None if preserve_idle_ttl is None else {"preserveIdleTTL": str(preserve_idle_ttl).lower()}
        return _decoded(self._session.call("GET", f"{TOKENS}/me", params=params), TokenInfo)

    def head_tokens_me(self) -> None:
        """Return if this connection's token is alive; raise `UnauthorizedError` if it is not.

        It never renews the token, as that would hide the answer.
        Wire: `HEAD /api/v2/tokens/me`; no permission. It resets the idle timer.

        Raises:
            UnauthorizedError:
                The token is dead.
            InvalidAnswerError:
                Success, but the headers announce a body, such as the log-in page of a network.
        """
        _emptied(self._session.call("HEAD", f"{TOKENS}/me", renew=False))

    def delete_tokens_me(self, *, verify: bool = False) -> None:
        """Revoke this connection's own token. Nothing signs in again in its place.

        Wire: `DELETE /api/v2/tokens/me`; no permission.

        Args:
            verify:
                Prove it: ask with HEAD afterwards and expect 401.

        Raises:
            UnauthorizedError:
                The token was not valid to begin with. After a retry it is none: the first attempt had taken effect.
            RevocationNotProvenError:
                The revocation was accepted, but HEAD did not confirm it.
        """
        try:
            _emptied(self._session.call("DELETE", f"{TOKENS}/me", renew=False))
        except UnauthorizedError as error:
            if error.attempts == 1:
                raise
        self._keeper.retire()
        if verify:
            self._prove_revoked()

    def _prove_revoked(self) -> None:
        try:
            self.head_tokens_me()
        except UnauthorizedError:
            return
        except GCTokensError as error:
            raise RevocationNotProvenError(
                f"The revocation was accepted, but asking whether the token is dead failed: {error}",
                "Call head_tokens_me() again: UnauthorizedError is the proof.",
            ) from error
        raise RevocationNotProvenError(
            "The revocation was accepted, but the token still answers.",
            "It may take effect with a delay: call head_tokens_me() again; if it goes on, tell Genesys support.",
        )

    def delete_token(self, user_id: str | uuid.UUID, *, allow_self: bool = False) -> None:
        """Revoke all tokens of a user: it logs them out. Single sign-on may log a browser in again by itself.

        Wire: `DELETE /api/v2/tokens/{userId}`; permission `oauth:token:delete`.

        Args:
            user_id:
                The id of a user, a UUID in any letter case.
            allow_self:
                Must be True for the user this connection is signed in as, where that can be known (one
                `GET /api/v2/users/me` a token; a client-credentials token has no user).

        Raises:
            InvalidUserIdError:
                Not the id of a user; nothing was sent.
            SelfRevocationError:
                It is the own user and `allow_self` is False; nothing was revoked.
            PermissionDeniedError, NotFoundError:
                As the server says.
        """
        checked = check_user_id(user_id)
        if not allow_self and self._directory.own_id() == checked:
            raise SelfRevocationError(
                f"User {checked} is the one this connection is signed in as: its own token would be revoked too.",
                "Pass allow_self=True if that is what you want.",
            )
        revoke_user(self._session, checked)

    def get_tokens_timeout(self) -> IdleTokenTimeout:
        """Return the organization's idle token timeout.

        Wire: `GET /api/v2/tokens/timeout`; no permission.
        """
        return _decoded(self._session.call("GET", f"{TOKENS}/timeout"), IdleTokenTimeout)

    def put_tokens_timeout(self, body: IdleTokenTimeout | Mapping[str, Any]) -> IdleTokenTimeout:
        """Change the organization's idle token timeout, for everybody in it, and return it as it is now.

        Wire: `PUT /api/v2/tokens/timeout`; permission `directory:organization:admin`.

        Args:
            body:
                The new timeout, or a mapping with Genesys Cloud's JSON names. Begin with `get_tokens_timeout()` and
                `msgspec.structs.replace` to leave the rest as it is. 300 to 28800 seconds.

        Raises:
            ConfigurationError:
                Outside the documented limits, or no timeout at all; nothing was sent.
        """
        checked = check_idle_timeout(body)
        return _decoded(
            self._session.call("PUT", f"{TOKENS}/timeout", json=to_body(checked)), IdleTokenTimeout
        )


def revoke_user(session: Session, user_id: object, *, attempts: int | None = None) -> requests.Response:
    """Revoke all tokens of one user. Everything that does so, one or many, does it here.

    Wire: `DELETE /api/v2/tokens/{userId}`; permission `oauth:token:delete`.

    Args:
        session:
            Through which to send.
        user_id:
            The id of a user, a UUID in any letter case, whatever file or journal it comes from.
        attempts:
            Overrides the session's `retry.attempts`; 1 sends it once.

    Returns:
        requests.Response
            Of status 2xx and empty: that, and nothing else, is a success.

    Raises:
        InvalidUserIdError:
            Not the id of a user; nothing was sent.
        InvalidAnswerError:
            A success status with something else in it, such as a network's log-in page.
        ApiError, TransportError:
            As the server says, or no usable answer.
    """
    return _emptied(session.call("DELETE", f"{TOKENS}/{check_user_id(user_id)}", attempts=attempts))


def _emptied(response: requests.Response) -> requests.Response:
    if not is_empty(response):
        raise invalid_answer(response, "not the empty answer of this call")
    return response


def check_idle_timeout(body: IdleTokenTimeout | Mapping[str, Any]) -> IdleTokenTimeout:
    """Return `body` typed; raise `ConfigurationError` outside the documented limits. Sends nothing."""
    if not isinstance(body, IdleTokenTimeout):
        try:
            body = from_raw(IdleTokenTimeout, dict(body))
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"This is no idle token timeout: {error}.", "Pass an IdleTokenTimeout or its JSON fields."
            ) from None
    seconds = body.idle_token_timeout_seconds
    low, high = IDLE_TIMEOUT_SECONDS
    if seconds is not None and not low <= seconds <= high:
        raise ConfigurationError(
            f"An idle timeout of {seconds} seconds is not allowed.",
            f"Choose {low} to {high} seconds (5 minutes to 8 hours).",
        )
    return body


def check_user_id(user_id: object) -> str:
    """Return `user_id` in lower case if it is a UUID; raise `InvalidUserIdError` otherwise. Sends nothing."""
    text = str(user_id).lower() if isinstance(user_id, (str, uuid.UUID)) else ""
    if USER_ID.fullmatch(text):
        return text
    if isinstance(user_id, str) and len(user_id) <= _LONGEST_SHOWN:
        shown = repr(user_id)
    elif isinstance(user_id, str):
        shown = f"A text of {len(user_id)} characters"
    else:
        shown = f"A {type(user_id).__name__}"
    step = "A user id looks like 01234567-89ab-cdef-0123-456789abcdef."
    if text == "me":
        step = "To revoke the own token, call delete_tokens_me()."
    elif "@" in text:
        step = "Find the id of an e-mail address with connection.directory.find_by_email([...])."
    raise InvalidUserIdError(f"{shown} is not the id of a user; nothing was sent.", step)


def _decoded(response: requests.Response, kind: type[T]) -> T:
    try:
        return decode(kind, response.content)
    except msgspec.ValidationError as error:
        raise invalid_answer(response, f"not a {kind.__name__} ({error})") from None
    except msgspec.DecodeError:
        raise invalid_answer(response, f"not JSON ({len(response.content)} bytes)") from None
