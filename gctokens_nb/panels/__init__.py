"""Panels: what the calls of this package do, with buttons. Each is a widget, shown when it is a cell's last line.

They need ipywidgets, anywidget and pandas, which are loaded when the first panel is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gctokens_nb.extras import load

if TYPE_CHECKING:
    from gctokens_nb.panels.base import Panel
    from gctokens_nb.panels.bulk_revoke import BulkRevokePanel
    from gctokens_nb.panels.connections import ConnectionsPanel
    from gctokens_nb.panels.dashboard import Dashboard
    from gctokens_nb.panels.idle_timeout import IdleTimeoutPanel
    from gctokens_nb.panels.login import LoginPanel
    from gctokens_nb.panels.revoke import RevokePanel
    from gctokens_nb.panels.token_info import TokenInfoPanel

__all__ = [
    "BulkRevokePanel",
    "ConnectionsPanel",
    "Dashboard",
    "IdleTimeoutPanel",
    "LoginPanel",
    "Panel",
    "RevokePanel",
    "TokenInfoPanel",
]

_MODULES = {  # public name -> module of this folder
    "BulkRevokePanel": "bulk_revoke",
    "ConnectionsPanel": "connections",
    "Dashboard": "dashboard",
    "IdleTimeoutPanel": "idle_timeout",
    "LoginPanel": "login",
    "Panel": "base",
    "RevokePanel": "revoke",
    "TokenInfoPanel": "token_info",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = load(f"{__name__}.{_MODULES[name]}", name)
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
