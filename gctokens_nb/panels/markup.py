"""Tables and paragraphs as HTML, every text in them escaped: ipywidgets shows HTML as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import pandas as pd

__all__ = ["fields_html", "frame_html", "missing_permission", "paragraphs", "scopes_html"]


def fields_html(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names, which are escaped here, and values, which are HTML already."""
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{value}</td></tr>' for name, value in rows)
    return f'<table class="gct-table">{cells}</table>'


def frame_html(frame: pd.DataFrame) -> str:
    """Return a table of a DataFrame's columns, in full; what is missing is empty. A wide one scrolls by itself."""
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
        for row in frame.astype("object").fillna("").astype(str).itertuples(index=False)
    )
    return f'<div class="gct-wide"><table class="gct-table"><tr>{head}</tr>{body}</table></div>'


def paragraphs(*lines: str) -> str:
    """Return a paragraph a line; the lines are HTML already."""
    return '<div class="gct-text">' + "".join(f"<p>{line}</p>" for line in lines) + "</div>"


def missing_permission(permission: str) -> str:
    """Return the warning that a token lacks what a panel is for."""
    return paragraphs(
        f"<strong>⚠ This token does not have the permission {escape(permission)}</strong>: Genesys Cloud will refuse. "
        "Ask an administrator for a role with it, then sign in again."
    )


def scopes_html(scopes: Iterable[str]) -> str:
    """Return how many scopes there are, and each in a frame of its own, in order: sixty are read in ten lines."""
    items = [f"<li>{escape(scope)}</li>" for scope in sorted(scopes)]
    return f"{len(items)} scope{'' if len(items) == 1 else 's'}<ul>{''.join(items)}</ul>"
