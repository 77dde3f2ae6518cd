"""Read a CSV or Excel file into rows of text that know their line, within bounds that hold for any file."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import zipfile
from collections.abc import Iterable
from typing import IO, Any, NamedTuple, NoReturn
from xml.parsers import expat

from gctokens_nb.errors import ConfigurationError

__all__ = ["MAX_BYTES", "MAX_ROWS", "Table", "read_table"]

MAX_BYTES = 100_000_000
MAX_ROWS = 2_000_000
MAX_COLUMNS = 1_000
MAX_CELLS = 10_000_000
# A workbook is compressed XML, which takes far more memory than its file: what openpyxl would read is bounded, too.
_UNPACKED_BYTES = 400_000_000
_PARTS = 2_000
_SHEETS = 100
_ELEMENTS = 6_000_000  # two or three for a cell
_OTHER_ELEMENTS = 300_000
_OF_CELLS = frozenset({"row", "c", "v", "f", "is", "t", "si"})
_DEPTH = 64
_TEXT_BYTES = 1_000_000  # of one cell or tag; Excel's own limit for a cell is 32,767 characters
_CHUNK_BYTES = 64_000
_SHEET_ROWS = 1_048_576  # what Excel has
_SHEET_WIDTHS = 20_000_000  # the cells up to each row's last, empty ones too
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50


class Table(NamedTuple):
    """The rows of a file that are not blank."""

    rows: list[list[str]]
    lines: list[int]  # where each row begins, as an editor or a spreadsheet counts
    sheet: str | None = None
    width: int = 0  # cells of the first row, blank ones at its end too
    odd: dict[int, int] = {}  # noqa: RUF012 - rows that span several lines or are longer than the first: how many cells


def read_table(name: str, content: bytes) -> Table:
    """Read all rows that are not blank.

    Args:
        name: The name of the file, for errors.
        content: Its bytes, at most `MAX_BYTES`.

    Raises:
        ConfigurationError: The file is no table, is damaged, or is larger than a list of users can be.
    """
    if len(content) > MAX_BYTES:
        raise _too_large(name, f"more than {MAX_BYTES // 1_000_000:,} MB")
    table = (
        _excel_table(name, content) if zipfile.is_zipfile(io.BytesIO(content)) else _csv_table(name, content)
    )
    if not table.rows:
        raise ConfigurationError(
            f"The file {name!r} holds no rows.", "Check that it is the file you meant to use."
        )
    return table


def _too_large(name: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"The file {name!r} is too large for a list of users: it holds {what}.",
        "Save only the rows and columns that are needed, or several smaller files; CSV may be larger than Excel.",
    )


class _Rows:
    """Collects the rows that are not blank, and refuses more than the bounds allow."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._cells = 0
        self.rows: list[list[str]] = []
        self.lines: list[int] = []

    def add(self, cells: list[str], line: int) -> bool:
        """Add a row without its blank cells at the end; False if nothing is left of it."""
        while cells and not cells[-1].strip():
            cells.pop()
        if not cells:
            return False
        self._cells += len(cells)
        if len(cells) > MAX_COLUMNS:
            raise ConfigurationError(
                f"In the file {self._name!r}, line {line} reaches to column {len(cells):,}: a list of users has at most "
                f"{MAX_COLUMNS:,} columns.",
                f"Delete what is beyond the list, such as {cells[-1][:40]!r} there.",
            )
        if len(self.rows) >= MAX_ROWS or self._cells > MAX_CELLS:
            raise _too_large(self._name, f"more than {MAX_ROWS:,} rows or {MAX_CELLS:,} cells")
        self.rows.append(cells)
        self.lines.append(line)
        return True


def _csv_table(name: str, content: bytes) -> Table:
    encoding, sample = _decode(name, content)
    unquoted = re.sub(r'"[^"]*("|$)', "", "\n".join(sample.splitlines()[:_SAMPLE_LINES]))
    text = io.TextIOWrapper(io.BytesIO(content), encoding, newline="")
    reader = csv.reader(text, delimiter=max(_DELIMITERS, key=unquoted.count), strict=True)
    found = _Rows(name)
    odd: dict[int, int] = {}
    width, line = 0, 1
    try:
        for row in reader:
            length = len(row)
            if found.add(row, line):
                width = width or length
                if reader.line_num > line or length > width:
                    odd[len(found.rows) - 1] = length
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigurationError(
            f"The file {name!r} is no CSV file that can be read: {error}, in the row that begins in line {line}.",
            "Look there for a quotation mark too many, or save the list as CSV or Excel again.",
        ) from None
    return Table(found.rows, found.lines, None, width, odd)


def _decode(name: str, content: bytes) -> tuple[str, str]:
    """The encoding of a text, and its beginning."""
    encodings = ["utf-16"] if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return encoding, text[:100_000]
    raise ConfigurationError(
        f"The file {name!r} is neither text nor an Excel workbook (.xlsx).",
        "Save it as CSV (UTF-8) or .xlsx and try again.",
    )


def _excel_table(name: str, content: bytes) -> Table:
    try:
        from openpyxl import load_workbook  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            f"The file {name!r} is an Excel workbook, and openpyxl, which reads those, is not installed.",
            "Run pip install 'gctokens-nb[excel]', or save the file as CSV.",
        ) from None
    sheets: list[tuple[str, _Rows]] = []
    try:
        _check_parts(name, content)
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # what the file says of its size is not to be relied on
            rows = _sheet_rows(name, sheet.iter_rows(values_only=True))
            if rows.rows:
                sheets.append((str(sheet.title), rows))
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - openpyxl lets through whatever it stumbles over
        raise ConfigurationError(
            f"The file {name!r} is no Excel workbook that can be read ({type(error).__name__}).",
            "Open and save it again as .xlsx, or save it as CSV.",
        ) from None
    if len(sheets) > 1:
        listed = ", ".join(f"{title!r} ({len(found.rows):,} rows)" for title, found in sheets)
        raise ConfigurationError(
            f"The workbook {name!r} has several sheets that are not empty: {listed}.",
            "Save the one you mean as a file of its own, or pass the DataFrame that "
            "pandas.read_excel(path, sheet_name=…) makes of it.",
        )
    if not sheets:
        return Table([], [])
    title, found = sheets[0]
    return Table(found.rows, found.lines, title)


def _sheet_rows(name: str, rows: Iterable[tuple[Any, ...]]) -> _Rows:
    found = _Rows(name)
    widths = 0
    for number, row in enumerate(rows, 1):
        widths += len(row)
        if number > _SHEET_ROWS or widths > _SHEET_WIDTHS:
            raise _too_large(name, f"a sheet of more than {_SHEET_ROWS:,} rows or {_SHEET_WIDTHS:,} cells")
        if len(row) > MAX_COLUMNS:
            row = row[: max((at for at, cell in enumerate(row, 1) if cell is not None), default=0)]  # noqa: PLW2901
        if row:
            found.add([_shown(cell) for cell in row], number)
    return found


def _shown(value: Any) -> str:
    """A cell as the sheet shows it: no `.0` after a personnel number, no midnight after a date."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return str(value.date())
    return str(value)


def _check_parts(name: str, content: bytes) -> None:
    """Refuse a workbook that would take too much memory or time, before openpyxl makes objects of it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
        # zipfile holds each part to the size that it says it has.
        if len(parts) > _PARTS or sum(part.file_size for part in parts) > _UNPACKED_BYTES:
            raise _too_large(name, f"more than {_UNPACKED_BYTES // 1_000_000:,} MB once it is unpacked")
        check = _XmlCheck(name)
        for part in parts:
            with archive.open(part) as xml:
                check.read(xml)


class _XmlCheck:
    """Counts what is in the XML parts of a workbook, without keeping any of it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._elements = self._others = self._rows = self._sheets = self._depth = self._bytes = 0

    def read(self, part: IO[bytes]) -> None:
        """Read one part; one that is no XML ends it where openpyxl would end, too."""
        self._depth = self._bytes = 0
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            while chunk := part.read(_CHUNK_BYTES):
                self._bytes += len(chunk)
                if self._bytes > _TEXT_BYTES:
                    self._refuse(f"a text or tag of more than {_TEXT_BYTES:,} characters")
                parser.Parse(chunk)
        except expat.ExpatError:
            return

    def _start(self, tag: str, _: object) -> None:
        self._bytes = 0
        self._depth += 1
        self._elements += 1
        tag = tag.rpartition(" ")[2]
        self._rows += tag == "row"
        if tag not in _OF_CELLS:
            self._others += 1
            self._sheets += tag == "sheet"
            if self._others > _OTHER_ELEMENTS or self._sheets > _SHEETS:
                self._refuse(f"more than {_OTHER_ELEMENTS:,} formats and links, or {_SHEETS} sheets")
        # Several sheets may be one part, which is then read several times.
        elements = self._elements * max(1, self._sheets // 10)
        if elements > _ELEMENTS or self._rows > _SHEET_ROWS or self._depth > _DEPTH:
            self._refuse("more than about two million cells")

    def _end(self, _: str) -> None:
        self._bytes = 0
        self._depth -= 1

    def _doctype(self, *_: object) -> None:
        # Its entities may stand for gigabytes of text, and no spreadsheet program writes any.
        raise ConfigurationError(
            f"The workbook {self._name!r} declares an XML document type, as no spreadsheet program does.",
            "Do not trust it; open and save it again as .xlsx, or save it as CSV.",
        )

    def _refuse(self, what: str) -> NoReturn:
        raise _too_large(self._name, what)
