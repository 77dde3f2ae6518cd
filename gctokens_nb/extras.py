"""Loads a module when it is first used, and says which extra brings what it lacks."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["load"]


def load(module: str, user: str) -> ModuleType:
    """Return the module.

    Args:
        module: Its full name: of this package, or of a dependency of the extra `notebook`.
        user: Who needs it, for the message.

    Raises:
        ModuleNotFoundError: A package that it needs is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("gctokens_nb"):
            raise
        package = error.name.partition(".")[0]
        raise ModuleNotFoundError(
            f"{user} needs {package}, which is not installed: pip install 'gctokens-nb[notebook]'",
            name=package,
        ) from error
