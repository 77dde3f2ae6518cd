"""The table as which objects of this package show themselves in a cell."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["two_columns"]


def two_columns(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values, every text escaped: most of them come from a server."""
    left = 'style="text-align:left"'
    cells = "".join(
        f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(text)}</td></tr>" for name, text in rows
    )
    return f"<table>{cells}</table>"
