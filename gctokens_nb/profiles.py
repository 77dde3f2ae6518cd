"""The profiles of Genesys' `gc` command line, `~/.gc/config.toml`, as it writes them (its source: config.go, restclient.go).

A table for each profile. The command line's library puts a name with dots (`acme.prod`) into nested tables, and reads names
in any letter case. Gateway and proxy stand in keys of their own (`gateway_host`, …) or in a table below the profile.
"""

from __future__ import annotations

import functools
import os
import stat
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from gctokens_nb.errors import CredentialsError, readable
from gctokens_nb.redaction import MaskedDict, Secret, sealed

__all__ = ["CredentialsWarning", "live_token", "read_profile"]

LARGEST_FILE_BYTES = 1024 * 1024
_SHOWN = "~/.gc/config.toml"
_NETWORKS = ("gateway", "proxy")


class CredentialsWarning(UserWarning):
    """Credentials work, but something about where they come from deserves a look."""


def read_profile(name: str, *, required: bool) -> MaskedDict | None:
    """Return the values of a profile, all texts; None where there is none and none is `required`.

    Raises:
        CredentialsError:
            The file cannot be read, or has no such profile although it is `required`.
    """
    found = _text()
    if found is None:
        if required:
            raise CredentialsError(
                f"There is no {_SHOWN}, so no profile {readable(name, 60)}.", "Check the name."
            )
        return None
    text, mode = found
    profiles = sealed(functools.partial(_profiles, text))
    profile: MaskedDict | None = profiles.get(name.lower())
    if profile is None and required:
        raise CredentialsError(
            f"{_SHOWN} has no profile {readable(name, 60)}.",
            f"It has: {readable(', '.join(sorted(profiles)), 500) or 'none'}.",
        )
    if profile is not None and os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.warn(
            f"{_SHOWN} holds secrets and can be read by other users of this machine: chmod 600 {_SHOWN}",
            CredentialsWarning,
            stacklevel=5,
        )
    return profile


def live_token(profile: Mapping[str, str]) -> tuple[Secret, str] | None:
    """Return the token that the command line signed in with and until when it lives, in words; None where there is none.

    It keeps the token of its last sign-in, of any grant type, as JSON in `oauth_token_data`.
    """
    try:
        data = MaskedDict(msgspec.json.decode(profile.get("oauth_token_data", ""), type=dict[str, Any]))
        end = datetime.fromisoformat(str(data.get("oauth_token_expiry")))
        token = data.get("access_token")
        alive = end.astimezone(UTC) > datetime.now(UTC) + timedelta(seconds=10)
    except (ValueError, msgspec.DecodeError, OverflowError, RecursionError):
        return None
    if not alive or not isinstance(token, str) or not token.strip():
        return None
    return Secret(token.strip()), f"{end.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _text() -> tuple[Secret, int] | None:
    """Return the file and its permissions; None where there is none."""
    try:
        path = Path.home() / ".gc" / "config.toml"
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise CredentialsError(f"{_SHOWN} is no file.", "Move it away.")
        if status.st_size > LARGEST_FILE_BYTES:
            raise CredentialsError(
                f"{_SHOWN} is larger than a configuration can be.", "Correct it, or move it away."
            )
        text = sealed(lambda: Secret(path.read_text(encoding="utf-8-sig")))
    except (
        FileNotFoundError,
        NotADirectoryError,
        RuntimeError,
    ):  # RuntimeError: nobody knows the home directory
        return None
    except OSError as error:
        raise CredentialsError(
            f"{_SHOWN} cannot be read: {error.strerror}.", "Check its permissions."
        ) from None
    except UnicodeDecodeError:
        raise CredentialsError(f"{_SHOWN} is not UTF-8.", "Correct the file, or move it away.") from None
    return text, status.st_mode


def _profiles(text: Secret) -> dict[str, MaskedDict]:
    try:
        tables = MaskedDict(tomllib.loads(text.reveal()))
        return dict(_below("", tables))
    except (ValueError, RecursionError) as error:  # numbers of too many digits and tables nested too deep too
        place = str(error).rpartition("(at ")[2].rstrip(")") if "(at " in str(error) else "an unknown place"
        raise CredentialsError(  # without the rest of that error, which may quote a secret
            f"{_SHOWN} is no valid TOML (at {readable(place, 60)}).", "Correct the file, or move it away."
        ) from None


def _below(prefix: str, table: MaskedDict) -> Iterator[tuple[str, MaskedDict]]:
    """Yield each profile in a table by its name in lower case, those in nested tables too."""
    values, inner = MaskedDict(), []
    for key, value in table.items():
        if not isinstance(value, dict):
            values[key.lower()] = value
        elif prefix and key.lower() in {f"{network}_configuration" for network in _NETWORKS}:
            network = key.lower().partition("_")[0]
            values |= {f"{network}_{part.lower()}": one for part, one in value.items()}
        else:
            inner.append((f"{prefix}.{key}" if prefix else key, MaskedDict(value)))
    if prefix and (values or not inner):
        texts = {key: str(value).strip() for key, value in values.items() if isinstance(value, (str, int))}
        yield prefix.lower(), MaskedDict({key: value for key, value in texts.items() if value})
    for name, one in inner:
        yield from _below(name, one)
