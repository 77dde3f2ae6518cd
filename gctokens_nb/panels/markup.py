"""Tables and paragraphs as HTML, every text in them escaped: ipywidgets shows HTML as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import pandas as pd

__all__ = ["fields_html", "frame_html", "paragraphs", "permission_html", "scopes_html", "warning_html"]


def fields_html(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names, which are escaped here, and values, which are HTML already."""
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{value}</td></tr>' for name, value in rows)
    return f'<table class="gct-table">{cells}</table>'


def frame_html(frame: pd.DataFrame) -> str:
    """Return a table of a DataFrame's columns, in full; what is missing is empty. A wide one scrolls by itself."""
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{'' if pd.isna(cell) else escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in frame.astype("object").itertuples(index=False)
    )
    return f'<div class="gct-wide"><table class="gct-table"><tr>{head}</tr>{body}</table></div>'


def paragraphs(*lines: str) -> str:
    """Return one paragraph per line; the lines are HTML already."""
    return '<div class="gct-text">' + "".join(f"<p>{line}</p>" for line in lines) + "</div>"


def warning_html(text: str, details: str = "") -> str:
    """Return a text in amber, with a sign and the details below it; both are HTML already."""
    return f'<div class="gct-warn gct-text"><p><strong>⚠ {text}</strong></p>{details}</div>'


def permission_html(permission: str, allowed: bool | None) -> str:
    """Return what is to be said of a permission that a panel is for: nothing, if the token has it."""
    name = f"<code>{escape(permission)}</code>"
    if allowed:
        return ""
    if allowed is None:
        return paragraphs(
            f"Whether this token has the permission {name} is not known. If it does not, Genesys Cloud will refuse."
        )
    return warning_html(
        f"This token does not have the permission {name}.",
        "<p>Ask an administrator for a role with it, then look again.</p>",
    )


def scopes_html(scopes: Iterable[str]) -> str:
    """Return how many scopes there are, and each in a frame of its own, in order: sixty are read in ten lines."""
    items = [f"<li>{escape(scope)}</li>" for scope in sorted(scopes)]
    return f"{len(items)} scope{'' if len(items) == 1 else 's'}<ul>{''.join(items)}</ul>"
