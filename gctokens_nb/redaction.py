"""Keep secrets out of everything a person or a file may see."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

MASK = "…"
T = TypeVar("T")


class Secret:
    """A string that shows itself only when asked: its repr and str are a mask.

    Args:
        value:
            The secret text. A `Secret` is taken as it is.
    """

    __slots__ = ("reveal",)
    reveal: Callable[[], str]
    """Returns the text itself, for the one place that sends it."""

    def __init__(self, value: str | Secret) -> None:
        # A bound method of the text, not the text: a traceback that prints our attributes finds no text there.
        self.reveal = value.reveal if isinstance(value, Secret) else str(value).__str__

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self.reveal(),)

    @property
    def fingerprint(self) -> str:
        """The first 8 hex digits of the text's SHA-256: tells secrets apart and gives none away."""
        return hashlib.sha256(self.reveal().encode(errors="surrogatepass")).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self.reveal().encode(errors="surrogatepass"), other.reveal().encode(errors="surrogatepass")
        )

    def __hash__(self) -> int:
        return hash(self.reveal())


class MaskedDict(dict[str, Any]):
    """A dict that may hold secrets among its values: its repr shows the keys only."""

    def __repr__(self) -> str:
        return f"{{{', '.join(self)}: {MASK}}}"


def redact(text: str, secrets: Iterable[Secret | str | None]) -> str:
    """Return `text` with each of `secrets` masked, for text that a server or a library wrote."""
    for secret in secrets:
        value = secret.reveal() if isinstance(secret, Secret) else secret
        if value:
            text = text.replace(value, MASK)
    return text


def sealed(work: Callable[[], T]) -> T:
    """Run `work`; whatever it raises, an interrupt included, leaves without what may show a secret.

    A notebook's verbose traceback prints the variables of every frame, and the errors that an error came from bring
    their own frames. So all of it ends here: the frames below, `__cause__` and `__context__`.
    """
    try:
        return work()
    except BaseException as raised:  # noqa: BLE001 - KeyboardInterrupt above all
        error = raised.with_traceback(None)
    error.__cause__ = error.__context__ = None
    raise error
