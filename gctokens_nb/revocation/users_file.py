"""Read a list of users as people have it: typed, in a table, in a CSV or Excel file, or uploaded."""

from __future__ import annotations

import csv
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gctokens_nb.errors import ConfigurationError

USER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+")
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")  # what Python keeps of bytes that it cannot decode
_KNOWN_NAME = re.compile(r"(user)?ids?|users?|usernames?|logins?|e?mail(s|address(es)?)?")
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50


def read_users(users: Any, column: str | int | None) -> tuple[list[str], pd.Index[Any], str | None]:
    """Return each input as text without white space around it (empty where nothing was given), labels and column.

    Args:
        users: An id or e-mail, a path, an upload of `ipywidgets.FileUpload`, a DataFrame, a Series, or any iterable.
        column: The column of a file or DataFrame; None to find the one that holds users.

    Returns:
        The texts, their labels, and the name of the column they were read from; None where there is none.

    Raises:
        ConfigurationError: The file cannot be read, might lose users, or does not tell which column holds them.
    """
    name: str | None = None
    if isinstance(users, pd.DataFrame):
        frame = users
        position, name = _choose([str(one) for one in frame.columns], lambda at: frame.iloc[:, at], column)
        users = frame.iloc[:, position]
    elif isinstance(users, pd.Series):
        name = None if users.name is None else str(users.name)
    elif isinstance(users, (str, os.PathLike)) and not _is_single_user(str(users)):
        users, name = _read_path(Path(users), column)
    elif isinstance(users, str):
        users = [users]
    elif uploads := _uploads(users):
        parts = [_read_table(str(one["name"]), bytes(one["content"]), column) for one in uploads]
        users = [user for part, _ in parts for user in part]
        name = ", ".join(dict.fromkeys(part_name for _, part_name in parts))
    if (
        not isinstance(users, Iterable)
        or isinstance(users, (bytes, Mapping))
        or getattr(users, "ndim", 1) > 1
    ):
        raise ConfigurationError(
            f"A {type(users).__name__} is no list of users.",
            "Pass ids or e-mail addresses: a list, a Series, a DataFrame, or the path of a CSV or Excel file.",
        )
    if name is not None and _is_user(name):
        raise ConfigurationError(
            f"The column is called {name!r}: a user was taken for its header, and would be lost.",
            "Read the list with header=None, or pass its path.",
        )
    index = users.index if isinstance(users, pd.Series) else None
    texts = [_text(user) for user in users]
    for number, text in enumerate(texts, 1):
        if _HALF_CHARACTER.search(text):
            raise ConfigurationError(
                f"Input {number}, {text!r}, holds characters that could not be decoded.",
                "Read the list again with the encoding it was written in.",
            )
    return texts, pd.RangeIndex(len(texts)) if index is None else index, name


def _text(value: object) -> str:
    # None, NaN and NaT: the only values that are not themselves, or are nothing
    return "" if value is None or value is pd.NA or value != value else str(value).strip()  # noqa: PLR0124


def _is_user(text: str) -> bool:
    text = text.strip()
    return bool(USER_ID.fullmatch(text) or EMAIL.fullmatch(text))


def _is_single_user(text: str) -> bool:
    return _is_user(text) and not Path(text.strip()).is_file()


def _uploads(users: object) -> list[Mapping[str, Any]]:
    """The uploads in what a FileUpload widget holds: mappings with `name` and `content`."""
    given = list(users) if isinstance(users, (list, tuple)) else [users]
    found = [one for one in given if isinstance(one, Mapping) and {"name", "content"} <= one.keys()]
    if found and len(found) < len(given):
        raise ConfigurationError(
            f"In the list are uploads ({len(found)}) and other inputs ({len(given) - len(found)}).",
            "Make one plan of the uploads, and another of the rest.",
        )
    return found


def _read_path(path: Path, column: str | int | None) -> tuple[list[str], str]:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ConfigurationError(
            f"The file {str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}.",
            "Check the path. A single user is an id (UUID) or an e-mail address.",
        ) from None
    return _read_table(path.name, content, column)


def _read_table(name: str, content: bytes, column: str | int | None) -> tuple[list[str], str]:
    """The cells of the column that holds the users, and its name."""
    odd: dict[int, int] = {}
    if zipfile.is_zipfile(io.BytesIO(content)):
        rows = _excel_rows(name, content)
    else:
        rows, odd = _csv_rows(name, content)
    if not rows:
        raise ConfigurationError(
            f"The file {name!r} holds no rows.", "Check that it is the file you meant to use."
        )
    width = max(number for row in rows for number, cell in enumerate(row, 1) if cell.strip())
    first = rows[0]
    # Of one column, only a name that is known is a header: what else it may be is a row, so that nobody is lost.
    headless = any(map(_is_user, first)) or (
        width == 1 and not _is_known(first[0]) and _folded(first[0]) != _folded(column)
    )
    names = [f"column {number}" for number in range(1, width + 1)] if headless else _cut(first, width)
    start = 0 if headless else 1

    def cells(position: int) -> list[str]:
        return [row[position] if position < len(row) else "" for row in rows[start:]]

    for number, line in odd.items():
        if not headless and any(cell.strip() for cell in rows[number][len(first) :]):
            raise ConfigurationError(
                f"In the file {name!r}, line {line} has more cells than the first line, so that they may be in the "
                "wrong columns.",
                "Quote a cell that holds the delimiter, and remove lines above the header.",
            )
    position, chosen = _choose(names, cells, column, f"file {name!r}")
    for number, line in odd.items():
        if _may_hide_rows(rows[number], len(first), position if number >= start else None):
            raise ConfigurationError(
                f"In the file {name!r}, the row that begins in line {line} goes on over several lines, which may be "
                "users who would be lost.",
                "Look there for a quotation mark too many, and put each user on a line of their own.",
            )
    return cells(position), chosen


def _cut(row: list[str], width: int) -> list[str]:
    return (row + [""] * width)[:width]


def _may_hide_rows(row: list[str], width: int, position: int | None) -> bool:
    """Whether a quoted cell that spans lines may be other users' rows, and not just a long note."""
    return any(
        len(cell.splitlines()) > 1
        and (len(row) < width or at == position or "@" in cell or USER_ID.search(cell) is not None)
        for at, cell in enumerate(map(str.strip, row))
    )


def _csv_rows(name: str, content: bytes) -> tuple[list[list[str]], dict[int, int]]:
    """The rows that are not empty, and in which lines those begin that span several or are longer than the first."""
    text = _decode(name, content)
    unquoted = re.sub(r'"[^"]*("|$)', "", "\n".join(text.splitlines()[:_SAMPLE_LINES]))
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=unquoted.count), strict=True
    )
    rows: list[list[str]] = []
    odd: dict[int, int] = {}
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                if reader.line_num > line or len(row) > len(rows[0]):
                    odd[len(rows) - 1] = line
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigurationError(
            f"The file {name!r} is no CSV file that can be read: {error}, in the row that begins in line {line}.",
            "Look there for a quotation mark too many, or save the list as CSV or Excel again.",
        ) from None
    return rows, odd


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
        tables = pd.read_excel(
            io.BytesIO(content), sheet_name=None, header=None, dtype=object, engine="openpyxl"
        )
    except ImportError:
        raise ConfigurationError(
            f"The file {name!r} is an Excel workbook, and openpyxl, which reads those, is not installed.",
            "Run pip install 'gctokens-nb[excel]', or save the file as CSV.",
        ) from None
    except Exception as error:  # noqa: BLE001 - openpyxl lets through whatever it stumbles over
        raise ConfigurationError(
            f"The file {name!r} is no Excel workbook that can be read ({type(error).__name__}).",
            "Open and save it again as .xlsx, or save it as CSV.",
        ) from None
    sheets: dict[str, list[list[str]]] = {}
    for title, table in tables.items():
        rows = [[_text(cell) for cell in row] for row in table.to_numpy().tolist()]
        if rows := [row for row in rows if any(row)]:
            sheets[str(title)] = rows
    if len(sheets) > 1:
        listed = ", ".join(f"{title!r} ({len(rows):,} rows)" for title, rows in sheets.items())
        raise ConfigurationError(
            f"The workbook {name!r} has several sheets that are not empty: {listed}.",
            "Save the one you mean as a file of its own, or pass the DataFrame that "
            "pandas.read_excel(path, sheet_name=…) makes of it.",
        )
    return next(iter(sheets.values()), [])


def _choose(
    names: list[str], cells: Callable[[int], Iterable[Any]], column: str | int | None, where: str = "table"
) -> tuple[int, str]:
    """The position and name of the column that holds the users: the one asked for, named so, or the only one that can be.

    A guess must not log out the wrong people: a column that is named so and holds no users is not passed over for another.
    """
    shown = [name if name.strip() else f"column {number}" for number, name in enumerate(names, 1)]
    advice = f"Its columns are {', '.join(map(repr, shown))}: pass one as column=."
    if column is not None:
        exact = [at for at, name in enumerate(shown) if name.strip() == str(column).strip()]
        asked = exact or [at for at, name in enumerate(shown) if _folded(name) == _folded(column)]
        if len(asked) > 1:
            raise ConfigurationError(
                f"The {where} has the column {column!r} {len(asked)} times.", "Rename all but one of them."
            )
        if not asked:
            raise ConfigurationError(f"The {where} has no column {column!r}.", advice)
        return asked[0], shown[asked[0]]
    if len(names) == 1:
        return 0, shown[0]
    filled = [at for at in range(len(names)) if any(_is_user(_text(cell)) for cell in cells(at))]
    known = [at for at, name in enumerate(names) if _is_known(name)]
    called = [at for at in filled if at in known]
    if len(called) == 1:
        return called[0], shown[called[0]]
    if not filled:
        problem = "none holds ids or e-mail addresses"
    elif known and not called:
        problem = (
            f"ids or e-mail addresses are not in {_quoted(shown, known)}, but in {_quoted(shown, filled)}"
        )
    elif len(filled) > 1:
        problem = "several hold ids or e-mail addresses"
    elif not names[filled[0]].strip():
        problem = f"the one with ids or e-mail addresses, {_quoted(shown, filled)}, has no name"
    else:
        return filled[0], shown[filled[0]]
    raise ConfigurationError(f"Which column of the {where} holds the users is not clear: {problem}.", advice)


def _quoted(names: list[str], positions: list[int]) -> str:
    return ", ".join(repr(names[at]) for at in positions)


def _is_known(name: str) -> bool:
    """Whether a column of this name should hold users: `User ID`, `e-mail`, `email_address`."""
    return _KNOWN_NAME.fullmatch(re.sub(r"[\W_]", "", name).lower()) is not None


def _folded(name: object) -> str:
    return str(name).strip().lower()
