"""See and revoke Genesys Cloud access tokens from a Jupyter notebook.

    import gctokens_nb as gct

    gc = gct.connect_sandbox()              # no account needed; gct.connect() for your own organization
    gc.tokens.get_tokens_me()               # which token is this, and what may it do?
    gc.tokens.delete_token(user_id)         # log somebody out, now

Importing this has no side effects. Tables and panels need pandas and ipywidgets, and load them when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gctokens_nb import credentials, errors, regions
from gctokens_nb.connection import (
    Connection,
    authenticate_with_client_credentials,
    connect,
    connect_sandbox,
)
from gctokens_nb.errors import ApiError, GCTokensError, LoginError
from gctokens_nb.extras import load
from gctokens_nb.models import IdleTokenTimeout, TokenInfo, User
from gctokens_nb.session import RetryPolicy
from gctokens_nb.waits import Cancel, Wait, watch_waits

if TYPE_CHECKING:
    from gctokens_nb import frames, panels
    from gctokens_nb.panels.ask import login
    from gctokens_nb.revocation import plan_revocation, resume, revoke, revoke_fleet
    from gctokens_nb.sign_in import authenticate_with_saml2_bearer, begin_sign_in, sign_in_with_browser

__version__ = "0.1.0"
__all__ = [
    "ApiError",
    "Cancel",
    "Connection",
    "GCTokensError",
    "IdleTokenTimeout",
    "LoginError",
    "RetryPolicy",
    "TokenInfo",
    "User",
    "Wait",
    "authenticate_with_client_credentials",
    "authenticate_with_saml2_bearer",
    "begin_sign_in",
    "connect",
    "connect_sandbox",
    "credentials",
    "errors",
    "frames",
    "login",
    "panels",
    "plan_revocation",
    "regions",
    "resume",
    "revoke",
    "revoke_fleet",
    "sign_in_with_browser",
    "watch_waits",
]

_LAZY = {  # name -> the module it is, or stands in
    "authenticate_with_saml2_bearer": "gctokens_nb.sign_in",
    "begin_sign_in": "gctokens_nb.sign_in",
    "frames": "gctokens_nb.frames",
    "login": "gctokens_nb.panels.ask",
    "panels": "gctokens_nb.panels",
    "plan_revocation": "gctokens_nb.revocation",
    "resume": "gctokens_nb.revocation",
    "revoke": "gctokens_nb.revocation",
    "revoke_fleet": "gctokens_nb.revocation",
    "sign_in_with_browser": "gctokens_nb.sign_in",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = load(_LAZY[name], f"gctokens_nb.{name}")
    value = module if module.__name__.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
