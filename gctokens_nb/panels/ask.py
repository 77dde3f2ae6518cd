"""Ask the person to sign in: by the panel in a notebook, by prompts elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from gctokens_nb.connection import Connection, connect
from gctokens_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from gctokens_nb.panels.login import LoginPanel
    from gctokens_nb.regions import Region

__all__ = ["Prompted", "login"]


class Prompted(NamedTuple):
    """What `login()` returns where there is no panel: the `connection`."""

    connection: Connection


_asked: tuple[dict[str, Any], LoginPanel | Prompted] | None = None  # the arguments and what came of them


def login(
    environment: str | Region | None = None, *, client_id: str | None = None, way: str | None = None
) -> LoginPanel | Prompted:
    """Sign in with a panel: `gct.login()` as a cell's last line, then `gct.login().connection` in the next cell.

    Called again without arguments, or with the same ones, it returns the same panel. Outside a notebook, and where
    ipywidgets or anywidget are not installed, it asks for client credentials with prompts, the secret without echo.

    Args:
        environment, client_id, way:
            What the panel begins with, as in `LoginPanel`.

    Raises:
        ConfigurationError:
            `way` needs the panel, and there is none.
        LoginError, TransportError:
            As `connect()`, where prompts are used; a panel shows them.

    """
    global _asked  # noqa: PLW0603 - the one panel that `login()` stands for
    arguments = {"environment": environment, "client_id": client_id, "way": way}
    given: dict[str, Any] = {name: value for name, value in arguments.items() if value is not None}
    if _asked is None or (given and given != _asked[0]):
        panel_class = _panel_class()
        _asked = given, panel_class(**given) if panel_class else _prompt(**given)
    return _asked[1]


def _panel_class() -> type[LoginPanel] | None:
    """Return the panel's class, or None where nothing could show it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is None:  # a terminal or a script
        return None
    try:
        from gctokens_nb.panels import LoginPanel  # noqa: PLC0415 - needs ipywidgets, which may be missing
    except ModuleNotFoundError:
        return None
    return LoginPanel


def _prompt(
    environment: str | Region | None = None,
    client_id: str | None = None,
    way: str = "client_credentials",
) -> Prompted:
    if way != "client_credentials":
        raise ConfigurationError(
            f"Without the panel, login() asks for client credentials only, not for {way!r}.",
            "Call connect(access_token=…), begin_sign_in(…).finish(), sign_in_with_browser(…) or "
            "authenticate_with_saml2_bearer(…).",
        )
    return Prompted(connect(environment, client_id=client_id, prompt=True))
