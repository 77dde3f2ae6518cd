"""The journal's file: made where there is room, and its troubles in words."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gctokens_nb.errors import JournalError
from gctokens_nb.revocation.journal_check import DamagedError

__all__ = ["explained", "make_file", "sha256"]

_BYTES_PER_USER = 2000  # of plan, attempts and write-ahead log, measured at about half of that


def sha256(path: str) -> str:
    """Return the SHA-256 of a closed journal's file, in hexadecimal."""
    # A run that goes on would write into the file, and its first opener's lock would be lost when we close ours.
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_file(path: str, users: int) -> None:
    """Make the empty file, for its owner's eyes only, where there is room for the whole run."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        free, needed = shutil.disk_usage(Path(path).absolute().parent).free, users * _BYTES_PER_USER
    except FileExistsError:
        raise JournalError(
            f"{path!r} exists already. Nothing was sent.",
            "To go on with that run, call resume(); for a new run, choose another name.",
        ) from None
    except OSError as error:
        raise JournalError(
            f"The journal {path!r} cannot be created: {error.strerror}. Nothing was sent.",
            "Choose a folder that exists and that you may write to.",
        ) from None
    if free < needed:
        Path(path).unlink()
        raise JournalError(
            f"The disk has {free / 1e6:,.1f} MB left, and the journal {path!r} of {users:,} users may need "
            f"{needed / 1e6:,.1f} MB. Nothing was sent.",
            "Make room, or choose another folder.",
        )


@contextlib.contextmanager
def explained(path: str, done: str) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except (sqlite3.Error, DamagedError, UnicodeDecodeError) as error:
        what, step = _in_words(error, path, done)
        raise JournalError(f"The journal {path!r} cannot be {done}: {what}.", step) from error


def _in_words(error: Exception, path: str, done: str) -> tuple[str, str]:
    text = "a text in it is not UTF-8" if isinstance(error, UnicodeError) else str(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    again = "call revoke() again; nothing was sent" if done == "created" else "go on with resume()"
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return "it is in use by another run", "Stop that run, or wait until it has finished."
    read_only = code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN}
    if read_only or (code == sqlite3.SQLITE_IOERR and not _writable(path)):
        return (
            "the file or its folder is read-only",
            f"Allow writing to both, or copy the journal to where you may write; then {again}.",
        )
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}:
        return f"the disk is full or failing ({text})", f"Make room, then {again}."
    return (
        f"it is damaged or cut short ({text})",
        "Restore it from a copy. Without one, plan and run again: logging out a user twice does no harm.",
    )


def _writable(path: str) -> bool:
    return os.access(path, os.W_OK) and os.access(Path(path).absolute().parent, os.W_OK)
