"""Read a list of users as people have it: typed, in a table, in a CSV or Excel file, or uploaded."""

from __future__ import annotations

import csv
import io
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gctokens_nb.errors import ConfigurationError

USER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+")
_COLUMN_NAMES = ("id", "user_id", "userid", "user", "email", "e-mail", "e_mail", "mail", "email_address")
_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50


def read_users(users: Any, column: str | None) -> tuple[list[str], pd.Index[Any]]:
    """Return each input as text without white space around it (empty where nothing was given), and its labels.

    Args:
        users: An id or e-mail, a path, an upload of `ipywidgets.FileUpload`, a DataFrame, a Series, or any iterable.
        column: The column of a file or DataFrame; None to find the one that holds users.

    Raises:
        ConfigurationError: The file cannot be read, or no column holds users.
    """
    if isinstance(users, pd.DataFrame):
        users = users[_choose(list(users.columns), users.head(_SAMPLE_ROWS).to_numpy().tolist(), column)]
    elif isinstance(users, (str, os.PathLike)) and not _is_user(str(users)):
        users = _read_path(Path(users), column)
    elif isinstance(users, str):
        users = [users]
    elif _uploads(users):
        users = [user for upload in _uploads(users) for user in _read_upload(upload, column)]
    if not isinstance(users, Iterable) or isinstance(users, (bytes, Mapping)):
        raise ConfigurationError(
            f"A {type(users).__name__} is no list of users.",
            "Pass ids or e-mail addresses: a list, a Series, a DataFrame, or the path of a CSV or Excel file.",
        )
    index = users.index if isinstance(users, pd.Series) else None
    texts = [_text(user) for user in users]
    return texts, pd.RangeIndex(len(texts)) if index is None else index


def _text(value: object) -> str:
    # None, NaN and NaT: the only values that are not themselves, or are nothing
    return "" if value is None or value is pd.NA or value != value else str(value).strip()  # noqa: PLR0124


def _is_user(text: str) -> bool:
    text = text.strip()
    return bool(USER_ID.fullmatch(text) or EMAIL.fullmatch(text)) and not Path(text).is_file()


def _uploads(users: object) -> list[Mapping[str, Any]]:
    """The uploads in what a FileUpload widget holds: mappings with `name` and `content`."""
    found = list(users) if isinstance(users, (list, tuple)) else [users]
    return [one for one in found if isinstance(one, Mapping) and {"name", "content"} <= one.keys()]


def _read_path(path: Path, column: str | None) -> list[str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The file {str(path)!r} cannot be read: {error.strerror}.",
            "Check the path. A single user is an id (UUID) or an e-mail address.",
        ) from None
    return _read_table(path.name, content, column)


def _read_upload(upload: Mapping[str, Any], column: str | None) -> list[str]:
    return _read_table(str(upload["name"]), bytes(upload["content"]), column)


def _read_table(name: str, content: bytes, column: str | None) -> list[str]:
    rows = _excel_rows(name, content) if zipfile.is_zipfile(io.BytesIO(content)) else _csv_rows(name, content)
    if not rows:
        raise ConfigurationError(
            f"The file {name!r} holds no rows.", "Check that it is the file you meant to use."
        )
    width = max(len(row) for row in rows)
    rows = [row + [""] * (width - len(row)) for row in rows]
    headless = column is None and any(_is_user(cell) for cell in rows[0])
    names = [f"column {number}" for number in range(1, width + 1)] if headless else rows.pop(0)
    position = names.index(_choose(names, rows[:_SAMPLE_ROWS], column, f"file {name!r}"))
    return [row[position] for row in rows]


def _csv_rows(name: str, content: bytes) -> list[list[str]]:
    text = _decode(name, content)
    first_lines = "\n".join(text.splitlines()[:_SAMPLE_ROWS])
    delimiter = max(_DELIMITERS, key=first_lines.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ConfigurationError(
            f"The file {name!r} is no CSV file: {error}.", "Save it as CSV or Excel and try again."
        ) from None
    return [row for row in rows if any(cell.strip() for cell in row)]


def _decode(name: str, content: bytes) -> str:
    encodings = ["utf-16"] if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ConfigurationError(
        f"The file {name!r} is neither text nor an Excel workbook (.xlsx).",
        "Save it as CSV (UTF-8) or .xlsx and try again.",
    )


def _excel_rows(name: str, content: bytes) -> list[list[str]]:
    try:
        table = pd.read_excel(io.BytesIO(content), header=None, dtype=object, engine="openpyxl")
    except ImportError:
        raise ConfigurationError(
            f"The file {name!r} is an Excel workbook, and openpyxl, which reads those, is not installed.",
            "Run pip install 'gctokens-nb[excel]', or save the file as CSV.",
        ) from None
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"The file {name!r} is no Excel workbook that can be read ({type(error).__name__}).",
            "Open and save it again as .xlsx, or save it as CSV.",
        ) from None
    rows = [[_text(cell) for cell in row] for row in table.to_numpy().tolist()]
    return [row for row in rows if any(row)]


def _choose(names: list[Any], sample: list[list[Any]], column: str | None, where: str = "table") -> Any:
    """The name of the column that holds the users: the one asked for, named so, or the only one that looks so."""
    listed = ", ".join(repr(str(name)) for name in names)
    if column is not None:
        for name in names:
            if str(name).strip().lower() == column.strip().lower():
                return name
        raise ConfigurationError(
            f"The {where} has no column {column!r}.", f"Its columns are {listed}: pass one as column=."
        )
    if len(names) == 1:
        return names[0]
    filled = [
        name for position, name in enumerate(names) if any(_is_user(_text(row[position])) for row in sample)
    ]
    called = [name for name in filled if str(name).strip().lower() in _COLUMN_NAMES]
    for chosen in (filled, called):
        if len(chosen) == 1:
            return chosen[0]
    raise ConfigurationError(
        f"Which column of the {where} holds the users is not clear: "
        f"{'several hold' if filled else 'none holds'} ids or e-mail addresses.",
        f"Its columns are {listed}: pass one as column=.",
    )
