"""A run: what was done, or is being done, for a plan; to be watched, stopped, checked and proved."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, cast

import msgspec
import pandas as pd

from gctokens_nb.display import two_columns
from gctokens_nb.errors import (
    ConfigurationError,
    GCTokensError,
    IncompleteRevocationError,
    RevocationStoppedError,
)
from gctokens_nb.revocation import evidence, report
from gctokens_nb.revocation.checks import check_numbers, check_path
from gctokens_nb.revocation.engine import Engine
from gctokens_nb.revocation.journal import IN_MEMORY, Journal

__all__ = ["OUTCOMES", "OnProgress", "Run"]

OUTCOMES = ("pending", "revoked", "failed", "skipped", "unknown")
_PROGRESS_SECONDS = 0.25
_NAMED = 5  # users that an error names
_GRACE_SECONDS = 3.0  # for what is on its way when a run is interrupted
_SHOWN_SECONDS = 0.5  # a shorter wait is over before it is read

OnProgress = Callable[["Run"], None]


class Run:
    """What was done, or is being done, for a plan. `revoke` and `resume` make it.

    Attributes:
        journal: The path of the journal; None for a dry run.
        facts: What was fixed when it began: `organization_id`, `organization_name` and `region`, whose tokens they are;
            `confirmed` and `inputs`, how many users were confirmed, of how many rows; `plan_sha256`, the plan's digest.
        skipped_ok: How many skipped lines were accepted beforehand.
        differences: In which ways the plan in the journal is not the one that was confirmed; empty as it should be.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = None if journal.path == IN_MEMORY else journal.path
        self.facts = msgspec.structs.asdict(journal.facts)
        self.differences = journal.differences
        sessions = journal.sessions()
        self.skipped_ok = sessions[-1].skipped_ok if sessions else 0
        self._skipped = report.skipped(journal)
        self._open_journal: Journal | None = journal
        self._engine: Engine | None = None
        self._counts = journal.counts()
        self._began = time.monotonic()

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Run:
        """Return the run of a journal as it is, without going on with it.

        Raises:
            JournalError: The journal is missing, damaged, open elsewhere or of another version. One whose plan is not the
                one that was confirmed can be looked at: `differences`, and the page of evidence, say so.
        """
        journal = Journal.open(check_path(path))
        run = cls(journal)
        run._close()
        return run

    @property
    def state(self) -> str:
        """`dry run`, `running`, `paused`, `stopped` (users are left: `resume` goes on), or `finished`.

        A run that is finished may have skipped some lines of the list: see `skipped` and `check()`.
        """
        if self.journal is None:
            return "dry run"
        if self._engine is not None:
            return "paused" if self._engine.pause.is_set() else "running"
        return "stopped" if self.left else "finished"

    @property
    def counts(self) -> dict[str, int]:
        """How many inputs are `pending`, `revoked`, `failed`, `skipped`, `unknown`; together, all of them.

        `unknown`: sent, or about to be sent when the program ended, and no usable answer came. It may have taken effect;
        resuming repeats it.
        """
        counts = self._engine.counts if self._engine else self._counts
        return {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}

    @property
    def left(self) -> int:
        """How many users are still to be logged out, as far as is known."""
        return self.counts["pending"] + self.counts["unknown"]

    @property
    def skipped(self) -> pd.DataFrame:
        """The rows whose people stay logged in: all that are skipped, other than duplicates and yourself.

        Columns as in the plan.
        """
        return pd.DataFrame(self._skipped)

    @property
    def skipped_summary(self) -> str:
        """How many rows are in `skipped`, why, and where they are, in one sentence; empty if there are none."""
        summary = self._skipped.skipped_summary
        if self.state in {"dry run", "running", "paused"}:
            return summary
        were = "was" if len(self._skipped) == 1 else "were"
        return summary.replace(" will not be ", f" {were} not ", 1)

    def check(self, skipped_ok: int | None = None) -> Run:
        """Return the run if everybody on the list is logged out; raise otherwise. For the last line of a notebook or script.

        Args:
            skipped_ok: How many skipped lines are accepted; without it, what was given to `revoke` or `resume`.

        Raises:
            IncompleteRevocationError: Somebody failed, is unknown or pending, or more lines were skipped than accepted.
            JournalError: The plan is not the one that was confirmed, or the journal cannot be read.
        """
        check_numbers(skipped_ok=skipped_ok)
        accepted = self.skipped_ok if skipped_ok is None else skipped_ok
        frame = self.to_frame()
        left = frame[frame["outcome"].isin(["failed", "unknown", "pending"])]
        skipped = self._skipped if len(self._skipped) > accepted else self._skipped[:0]
        if left.empty and skipped.empty:
            return self
        what = []
        if not left.empty:
            counts = ", ".join(
                f"{self.counts[name]:,} {name}"
                for name in ("failed", "unknown", "pending")
                if self.counts[name]
            )
            named = ", ".join(left["user"].head(_NAMED)) + (", …" if len(left) > _NAMED else "")
            dry = " This is a dry run: nothing was sent." if self.journal is None else ""
            users = "1 user is" if len(left) == 1 else f"{len(left):,} users are"
            what.append(f"{users} not known to be logged out ({counts}): {named}.{dry}")
        if not skipped.empty:
            what.append(
                f"{self.skipped_summary} {accepted:,} were accepted." if accepted else self.skipped_summary
            )
        raise IncompleteRevocationError(
            " ".join(what),
            " ".join(self._what_to_do(skipped=not skipped.empty)),
            lines=tuple(
                int(at) + 1 if pd.isna(line) else int(line)
                for at, line in zip(skipped.index, skipped["line"], strict=True)
            ),
            users=tuple(left["id"]),
        )

    def _what_to_do(self, *, skipped: bool) -> Iterator[str]:
        if self.journal is None:
            yield "To log them out, call revoke() with confirm= and journal=."
        elif self.left or self.counts["failed"]:
            failed = ", retry_failed=True" if self.counts["failed"] else ""
            yield f"Try them again with resume({self.journal!r}, connection{failed})."
        if skipped:
            yield (
                "For the skipped lines, correct the list, and plan and run it again; if they are right as they are, pass "
                "their number as skipped_ok=."
            )

    @property
    def users_per_second(self) -> float:
        """The rate since this run began or was resumed."""
        seconds = time.monotonic() - self._began
        return self._engine.done / seconds if self._engine and seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate; None where there is nothing to go by."""
        if self._engine is None or not self._engine.done:
            return None
        return max(self.left / self.users_per_second, self._engine.seconds_for(self.left))

    @property
    def waiting(self) -> str:
        """What a person may want to know about why nothing moves: `waiting for the rate limit, 12 s`; or empty."""
        seconds = self._engine.seconds_to_wait() if self._engine and self.state == "running" else 0.0
        return f"waiting for the rate limit, {math.ceil(seconds)} s" if seconds >= _SHOWN_SECONDS else ""

    def cancel(self) -> None:
        """Stop: what is in flight is finished and written down; `resume` goes on later."""
        if self._engine is not None:
            self._engine.stop()

    def pause(self) -> None:
        """Send nothing more until `unpause()`."""
        if self._engine is not None:
            self._engine.pause.set()

    def unpause(self) -> None:
        """Go on after `pause()`."""
        if self._engine is not None:
            self._engine.go_on()

    def to_frame(self) -> pd.DataFrame:
        """Return one row per input of the plan, in its order.

        Columns: `user`, `id`, `name`, `outcome`, `why` (skipped or failed), `status` (HTTP), `correlation_id`, `attempts`,
        `first_attempt_at`, `answered_at` (UTC, by this machine's clock), `client_id` (who ran the last attempt),
        `organization`, `region`, `source` and `line` (of the list), and the columns that were kept.

        Raises:
            JournalError: The journal cannot be read, or its plan is not the one that was confirmed.
        """
        with self._reading() as journal:
            return report.to_frame(journal)

    def summary(self) -> dict[str, Any]:
        """Return the totals; who ran it, where and when; where the list came from; the plan's digest; what was accepted."""
        with self._reading() as journal:
            totals = report.summary(journal)
        return {
            "state": self.state,
            **totals,
            "skipped_lines": len(self._skipped),
            "skipped_summary": self.skipped_summary,
        }

    def report(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the evidence to a file, whose name ends in `.html`, `.csv` or `.parquet` (needs pyarrow).

        The HTML page holds the totals, the lines that were not logged out, a plot of the progress, who ran it, where the
        list came from and every user; it loads nothing from elsewhere and runs nothing. It names the SHA-256 of the plan,
        and of the journal file as it is now: closed, with all in the one file. Resuming changes the file. In CSV, a text
        that a spreadsheet would take for a formula is preceded by an apostrophe. Only you may read the file.

        Args:
            path: Where to write it.
            overwrite: Whether a file of that name is replaced.

        Raises:
            ConfigurationError: The run goes on, the file name ends otherwise, or the file exists.
            JournalError: As for `to_frame`; but the page is written, and says how the plan differs.
        """
        if self._engine is not None:
            raise ConfigurationError(
                "The run goes on; its evidence is not complete.", "Wait, or stop it with cancel()."
            )
        with self._reading() as journal:
            evidence.write(self, journal, check_path(path), overwrite=overwrite)

    def carry_out(self, engine: Engine, on_progress: OnProgress | None) -> None:
        """Let the engine run to its end, watched from this thread; called by `revoke` and `resume`."""
        self._engine, self._began = engine, time.monotonic()
        try:
            engine.start()
            while True:
                if on_progress is not None:
                    on_progress(self)
                if engine.wait(_PROGRESS_SECONDS):
                    break
        except BaseException as error:  # Ctrl-C, or on_progress failed
            engine.stop()
            try:
                engine.wait(_GRACE_SECONDS)
            finally:  # at a second Ctrl-C, too
                engine.break_off()
                engine.wait(_GRACE_SECONDS)
            error.add_note(f"The run was stopped in good order. {self._how_to_go_on()}")
            raise
        finally:
            self._counts, self._engine = engine.counts, None
            self._close()
        if on_progress is not None:
            on_progress(self)
        if engine.failure is not None:
            why, advice, wire = str(engine.failure), "", ""
            if isinstance(engine.failure, GCTokensError):
                why, advice, wire = engine.failure.what, engine.failure.next_step, engine.failure.wire
            else:
                why = f"{type(engine.failure).__name__} in this program: {why}".rstrip(": ") + "."
            what = f"The run was stopped with {self.left:,} user{'s' * (self.left != 1)} left."
            raise RevocationStoppedError(
                " ".join(part for part in (what, engine.reason, why) if part),
                " ".join(part for part in (advice, self._how_to_go_on()) if part),
                journal=self.journal or "",
                left=self.left,
                wire=wire,
            ) from engine.failure

    def _how_to_go_on(self) -> str:
        return f"What was done is in the journal: resume({self.journal!r}, connection) does the rest."

    def _close(self) -> None:
        if self._open_journal is not None:
            self._open_journal.close()
            self._open_journal = None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Journal]:
        """The journal, opened where it is not."""
        if self._open_journal is not None or self.journal is None:
            yield cast(Journal, self._open_journal)
            return
        with contextlib.closing(Journal.open(self.journal)) as journal:
            yield journal

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())
        return f"<Run {self.state}: {counts}{''.join(f'; {text}' for text in self._warnings())}>"

    def _repr_html_(self) -> str:
        rows = [("State", self.state), ("Organization", self.facts["organization_name"] or "")]
        rows += [(outcome.capitalize(), f"{count:,}") for outcome, count in self.counts.items()]
        return two_columns(rows) + "".join(
            '<p style="border-left: 4px solid #d97706; padding-left: 8px">'
            f"\N{WARNING SIGN} <strong>{escape(text)}</strong></p>"
            for text in self._warnings()
        )

    def _warnings(self) -> list[str]:
        changed = f"This is not the plan that was confirmed: {'; '.join(self.differences)}."
        return [text for text in (changed if self.differences else "", self.skipped_summary) if text]
