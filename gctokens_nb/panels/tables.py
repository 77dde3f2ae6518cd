"""Tables as HTML, every text in them escaped: ipywidgets shows HTML as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import pandas as pd

__all__ = ["fields_html", "frame_html"]

_CELL = "text-align: left; vertical-align: top; padding: 2px 12px 2px 0; overflow-wrap: anywhere"
_TABLE = "line-height: 1.4; border-collapse: collapse"


def fields_html(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names, which are escaped here, and values, which are HTML already."""
    cells = "".join(
        f'<tr><th scope="row" style="{_CELL}; white-space: nowrap">{escape(name)}</th>'
        f'<td style="{_CELL}">{value}</td></tr>'
        for name, value in rows
    )
    return f'<table style="{_TABLE}">{cells}</table>'


def frame_html(frame: pd.DataFrame) -> str:
    """Return a table of a DataFrame's columns, in full; what is missing is empty. Wide ones scroll by themselves."""
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(str(name))}</th>' for name in frame.columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(text)}</td>' for text in row) + "</tr>"
        for row in frame.astype("object").fillna("").astype(str).itertuples(index=False)
    )
    return f'<div style="overflow-x: auto"><table style="{_TABLE}"><tr>{head}</tr>{body}</table></div>'
