"""Find the users in what people have: typed, in a table, in a CSV or Excel file, or uploaded."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from gctokens_nb.errors import ConfigurationError
from gctokens_nb.revocation.user_table import MAX_BYTES, MAX_ROWS, read_table

__all__ = ["EMAIL", "USER_ID", "Source", "UserList", "read_users"]

USER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
EMAIL = re.compile(r"(?=.{3,320}\Z)[^@\s,;<>]+@[^@\s,;<>]+")
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")  # what Python keeps of bytes that it cannot decode
_KNOWN_NAME = re.compile(
    r"(genesys(cloud)?|purecloud|gc)?"
    r"((user)?ids?|users?|usernames?|logins?|e?mail(s|address(es)?|adressen?)?|user[gu]uids?)"
)
_SHOWN_NAMES = 40

Columns = str | int | list[str | int] | list[str] | None


class Source(msgspec.Struct, frozen=True):
    """A file that users were read from."""

    file: str  # its name, without the folder
    sha256: str  # of its bytes as they were read
    sheet: str | None  # of a workbook
    columns: tuple[str, ...]  # those that tell the users


class UserList(msgspec.Struct):
    """Users as they were given, one entry for each row."""

    texts: list[str]  # without white space around it; empty where nothing was given
    also: dict[
        int, list[str]
    ]  # what else the row of that position says of the same user: after an id, the e-mail address
    columns: list[str] = []  # those they were read from
    kept: dict[str, list[str]] = {}  # further columns that were asked for, by name
    index: pd.Index[Any] | None = None
    files: list[str] | None = None  # of each entry
    lines: list[int] | None = None  # of each entry
    sources: tuple[Source, ...] = ()


def read_users(users: Any, column: Columns = None, keep: Sequence[str] = ()) -> UserList:
    """Return the users in the order in which they were given.

    Args:
        users: An id or e-mail, a path, an upload of `ipywidgets.FileUpload`, a DataFrame, a Series, or any iterable.
        column: The column or columns of a file or DataFrame; None to find those that hold users.
        keep: Names of further columns to bring along.

    Raises:
        ConfigurationError: The file cannot be read, might lose users, or does not tell which columns hold them.
    """
    if not isinstance(keep, Iterable):
        raise ConfigurationError(
            f"keep={keep!r} is no list of columns.", 'Pass the names, such as keep=["Personnel No"].'
        )
    keep = [keep] if isinstance(keep, str) else list(keep)
    if isinstance(users, pd.DataFrame):
        found = _read_frame(users, column, keep)
    elif isinstance(users, (str, os.PathLike)) and not _is_single_user(str(users)):
        path = Path(users)
        found = _read_file(path.name, _content(path), column, keep)
    elif uploads := _uploads(users):
        found = _join([_read_file(*_upload(one), column, keep) for one in uploads])
    else:
        found = _read_list(users, keep)
    for name in found.columns:
        if _is_user(name):
            raise ConfigurationError(
                f"The column is called {name!r}: a user was taken for its header, and would be lost.",
                "Read the list with header=None, or pass its path.",
            )
    for number, text in enumerate(found.texts):
        if any(map(_HALF_CHARACTER.search, [text, *found.also.get(number, ())])):
            raise ConfigurationError(
                f"Input {number + 1}, {text!r}, holds characters that could not be decoded.",
                "Read the list again with the encoding it was written in.",
            )
    return found


def _read_list(users: Any, keep: Sequence[str]) -> UserList:
    if isinstance(users, str):
        users = [users]
    if (
        not isinstance(users, Iterable)
        or isinstance(users, (bytes, Mapping))
        or getattr(users, "ndim", 1) > 1
    ):
        raise ConfigurationError(
            f"A {type(users).__name__} is no list of users.",
            "Pass ids or e-mail addresses: a list, a Series, a DataFrame, or the path of a CSV or Excel file.",
        )
    if keep:
        raise ConfigurationError(
            f"A list has no columns, so {_quoted(keep)} cannot be kept.",
            "Pass a DataFrame or a file, or leave keep= out.",
        )
    texts = [_text(user) for user in islice(users, MAX_ROWS + 1)]
    if len(texts) > MAX_ROWS:
        raise ConfigurationError(
            f"The list has more than {MAX_ROWS:,} users.", "Make several plans, one after the other."
        )
    if isinstance(users, pd.Series):
        return UserList(texts, {}, [] if users.name is None else [str(users.name)], index=users.index)
    return UserList(texts, {})


def _read_frame(frame: pd.DataFrame, column: Columns, keep: Sequence[str]) -> UserList:
    def cells(at: int) -> list[str]:
        return [_text(cell) for cell in frame.iloc[:, at]]

    names = [str(name) for name in frame.columns]
    # Each column is looked at on its own: a wide DataFrame is not copied as text.
    positions = _choose(names, lambda: [_kinds(cells(at)) for at in range(len(names))], column, "table")
    texts, also = _merge([cells(at) for at in positions])
    shown = _shown_names(names)
    kept = {shown[at]: cells(at) for at in (_position(shown, name, "table") for name in keep)}
    return UserList(texts, also, [shown[at] for at in positions], kept, frame.index)


def _read_file(name: str, content: bytes, column: Columns, keep: Sequence[str]) -> UserList:
    table = read_table(name, content)
    width = max(map(len, table.rows))
    first = table.rows[0]
    asked = {_folded(one) for one in _listed(column)}
    # Of one column, only a name that is known is a header: what else it may be is a row, so that nobody is lost.
    headless = any(map(_is_user, first)) or (
        width == 1 and not _is_known(first[0]) and _folded(first[0]) not in asked
    )
    names = _shown_names([""] * width) if headless else first + [""] * (width - len(first))
    start = 0 if headless else 1
    rows = table.rows[start:]

    def cells(at: int) -> list[str]:
        return [row[at].strip() if at < len(row) else "" for row in rows]

    def kinds() -> list[int]:
        found = [0] * width
        for row in rows:
            for at, cell in enumerate(row):
                if found[at] != _BOTH:
                    found[at] |= _kind(cell)
        return found

    for number in table.odd:
        if not headless and len(table.rows[number]) > table.width:
            raise ConfigurationError(
                f"In the file {name!r}, line {table.lines[number]} has more cells than the first line, so that they may "
                "be in the wrong columns.",
                "Quote a cell that holds the delimiter, and remove lines above the header.",
            )
    where = f"file {name!r}"
    positions = _choose(names, kinds, column, where)
    for number in table.odd:
        short = table.odd[number] < table.width
        if _may_hide_rows(table.rows[number], positions if number >= start else [], short=short):
            raise ConfigurationError(
                f"In the file {name!r}, the row that begins in line {table.lines[number]} goes on over several lines, "
                "which may be users who would be lost.",
                "Look there for a quotation mark too many, and put each user on a line of their own.",
            )
    shown = _shown_names(names)
    texts, also = _merge([cells(at) for at in positions])
    return UserList(
        texts,
        also,
        [shown[at] for at in positions],
        {shown[at]: cells(at) for at in (_position(shown, one, where) for one in keep)},
        None,
        [name] * len(rows),
        table.lines[start:],
        (
            Source(
                name, hashlib.sha256(content).hexdigest(), table.sheet, tuple(shown[at] for at in positions)
            ),
        ),
    )


def _join(parts: list[UserList]) -> UserList:
    """One list of several files, of which each has the columns to keep, in the same order."""
    whole = parts[0]
    for part in parts[1:]:
        if len(part.kept) != len(whole.kept):
            raise ConfigurationError(
                f"The columns to keep are {_quoted(whole.kept)} in one file, and {_quoted(part.kept)} in another.",
                "Make one plan of each file.",
            )
        whole.also |= {len(whole.texts) + at: more for at, more in part.also.items()}
        whole.texts += part.texts
        for mine, theirs in zip(whole.kept.values(), part.kept.values(), strict=True):
            mine.extend(theirs)
        whole.columns += [name for name in part.columns if name not in whole.columns]
        whole.files = [*(whole.files or ()), *(part.files or ())]
        whole.lines = [*(whole.lines or ()), *(part.lines or ())]
        whole.sources += part.sources
    return whole


def _merge(columns: list[list[str]]) -> tuple[list[str], dict[int, list[str]]]:
    """What tells the user of each row: the id where there is one, else the e-mail; and what else does, to be compared."""
    if len(columns) == 1:
        return columns[0], {}
    texts: list[str] = []
    also: dict[int, list[str]] = {}
    for number, row in enumerate(zip(*columns, strict=True)):
        users = sorted({cell.lower(): cell for cell in row if _kind(cell)}.values(), key=_kind)
        texts.append(users[0] if users else next(filter(None, row), ""))
        if len(users) > 1:
            also[number] = users[1:]
    return texts, also


# Single cells

_ID, _ADDRESS = 1, 2
_BOTH = _ID | _ADDRESS


def _text(value: object) -> str:
    # None, NaN and NaT: the only values that are not themselves, or are nothing
    return "" if value is None or value is pd.NA or value != value else str(value).strip()  # noqa: PLR0124


def _kind(text: str) -> int:
    text = text.strip()
    return _ID if USER_ID.fullmatch(text) else _ADDRESS if EMAIL.fullmatch(text) else 0


def _kinds(texts: Iterable[str]) -> int:
    found = 0
    for text in texts:
        found |= _kind(text)
    return found


def _is_user(text: str) -> bool:
    return _kind(text) != 0


def _is_single_user(text: str) -> bool:
    return _is_user(text) and not Path(text.strip()).is_file()


# Files


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


def _upload(upload: Mapping[str, Any]) -> tuple[str, bytes]:
    try:
        return str(upload["name"]), bytes(memoryview(upload["content"])[: MAX_BYTES + 1])
    except TypeError:
        raise ConfigurationError(
            "An upload whose content is not bytes cannot be read.", "Pass the path of the file."
        ) from None


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise ConfigurationError(
                f"{str(path)!r} is a device or a pipe, not a file.", "Save the list as a file first."
            )
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ConfigurationError(
            f"The file {str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}.",
            "Check the path. A single user is an id (UUID) or an e-mail address.",
        ) from None


def _may_hide_rows(row: list[str], positions: list[int], *, short: bool) -> bool:
    """Whether a quoted cell that spans lines may be other users' rows, and not just a long note."""
    return any(
        len(cell.splitlines()) > 1
        and (short or at in positions or "@" in cell or USER_ID.search(cell) is not None)
        for at, cell in enumerate(map(str.strip, row))
    )


# Columns


def _choose(names: list[str], kinds: Callable[[], list[int]], column: Columns, where: str) -> list[int]:
    """The positions of the columns that tell the users: those asked for, named so, or the only one that can be.

    A guess must not log out the wrong people: a column that is named so and holds no users is not passed over for another,
    and two columns are used together only where they are named so, and one holds ids and the other e-mail addresses.
    """
    shown = _shown_names(names)
    if asked := _listed(column):
        return list(dict.fromkeys(_position(shown, one, where) for one in asked))
    if len(names) == 1:
        return [0]
    holds = kinds()
    filled = [at for at, kind in enumerate(holds) if kind]
    known = [at for at, name in enumerate(names) if _is_known(name)]
    called = [at for at in filled if at in set(known)]
    if len(called) == 1 or sorted(holds[at] for at in called) == [_ID, _ADDRESS]:
        return called
    if not filled:
        problem = "none holds ids or e-mail addresses"
    elif known and not called:
        problem = f"ids or e-mail addresses are not in {_quoted(shown[at] for at in known)}, but in {_quoted(shown[at] for at in filled)}"
    elif len(filled) > 1:
        problem = "several hold ids or e-mail addresses"
    elif not names[filled[0]].strip():
        problem = f"the one with ids or e-mail addresses, {shown[filled[0]]!r}, has no name"
    else:
        return filled
    raise ConfigurationError(
        f"Which column of the {where} holds the users is not clear: {problem}.", _advice(shown)
    )


def _position(names: list[str], asked: str | int, where: str) -> int:
    exact = [at for at, name in enumerate(names) if name == str(asked).strip()]
    found = exact or [at for at, name in enumerate(names) if _folded(name) == _folded(asked)]
    if len(found) > 1:
        raise ConfigurationError(
            f"The {where} has the column {asked!r} {len(found)} times.", "Rename all but one of them."
        )
    if not found:
        raise ConfigurationError(f"The {where} has no column {asked!r}.", _advice(names))
    return found[0]


def _listed(column: Columns) -> Sequence[str | int]:
    return [] if column is None else column if isinstance(column, list) else [column]


def _shown_names(names: list[str]) -> list[str]:
    return [name.strip() or f"column {number}" for number, name in enumerate(names, 1)]


def _advice(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return (
        f"Its columns are {_quoted(names[:_SHOWN_NAMES])}{more}: pass one as column=, or several in a list."
    )


def _quoted(names: Iterable[object]) -> str:
    return ", ".join(map(repr, names))


def _is_known(name: str) -> bool:
    """Whether a column of this name should hold users: `User ID`, `e-mail`, `Genesys Id`."""
    return _KNOWN_NAME.fullmatch(re.sub(r"[\W_]", "", name).lower()) is not None


def _folded(name: object) -> str:
    return str(name).strip().casefold()
