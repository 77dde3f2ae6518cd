"""Log out many users: the list, the plan, the number typed, the progress, the evidence."""

from __future__ import annotations

import pprint
import re
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
from itables.widget import ITable

from gctokens_nb.connection import Connection
from gctokens_nb.errors import GCTokensError, RevocationStoppedError
from gctokens_nb.panels.connected import ConnectedPanel, has_permission
from gctokens_nb.panels.download import DownloadButton
from gctokens_nb.panels.markup import frame_html, paragraphs, warning_html
from gctokens_nb.revocation import Plan, Run, plan_revocation, resume, revoke

__all__ = ["BulkRevokePanel"]

PERMISSION = "oauth:token:delete"
_TABLE_BYTES = (
    4_000_000  # beyond that a browser grows slow: the table then leaves out the middle, and says so
)
_DOWNLOAD_BYTES = 2_500_000  # Jupyter servers drop larger messages
_MOST_SKIPPED = 100  # lines that are shown one by one above the table, which has them all


class BulkRevokePanel(ConnectedPanel):
    """Revokes the tokens of many users: plan, confirmation by typing their number, progress, stop and resume, evidence.

    Nothing is revoked before the number of users is typed: of those in the plan, or of those whom a journal leaves to be
    logged out. Lines of the list that cannot be carried out are shown in amber from the plan to the end, and have to be
    accepted before the run. Only a run of this panel goes on, or tries its failed users again, without asking a second
    time. The journal is written on the machine of the kernel; what is stopped, or killed, is resumed from it.

    Wire: as `plan_revocation` and `revoke`: permissions `directory:user:view` for e-mail addresses and
    `oauth:token:delete`.

    Args:
        connection:
            To the organization of the users.

    Attributes:
        upload: ipywidgets.FileUpload
            A CSV or Excel file; it is emptied once it is read.
        pasted: ipywidgets.Textarea
            Ids and e-mail addresses.
        column_text: ipywidgets.Text
            The column of the file, where it is not clear which holds the users.
        plan_button, revoke_button, pause_button, stop_button, resume_button, retry_button: ipywidgets.Button
        number_text: ipywidgets.Text
            The number of users, typed to confirm.
        accept_check: ipywidgets.Checkbox
            That the lines which will not be logged out are right as they are; only where there are some.
        journal_text: ipywidgets.Text
            The path of the journal: of one that is made, or is resumed.
        plan: Plan or None
            Who would be logged out. Another list, another connection or a journal takes its place.
        run: Run or None
            What was done in this panel, or is being done.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__("Log out many users", connection)
        self.plan: Plan | None = None
        self.run: Run | None = None
        self._asked: Plan | Run | None = (
            None  # what the number confirms: a plan, or the rest of a journal's run
        )
        self._plan_code = ""
        self._invitation = "Choose a file, or paste a list."
        self._revoking = False  # the call under way is a run
        self._stop_asked = False
        self._told = ""  # why nothing moves
        wide = {"width": "min(60em, 100%)"}
        self.upload = ipywidgets.FileUpload(
            accept=".csv,.txt,.tsv,.xlsx", description="CSV or Excel file", layout={"width": "auto"}
        )
        self.column_text = ipywidgets.Text(
            description="Column",
            placeholder="only where it is not clear",
            layout={"width": "min(24em, 100%)"},
        )
        self.pasted = ipywidgets.Textarea(
            description="Or paste", placeholder="ids and e-mail addresses", rows=4, layout=wide
        )
        self.plan_button = self.button(
            "Make the plan", self._make_plan, style="primary", tooltip="Changes nothing"
        )
        self.number_text = ipywidgets.Text(description="Confirm", layout={"width": "min(24em, 100%)"})
        self.accept_check = ipywidgets.Checkbox(indent=False, layout={"width": "auto", "display": "none"})
        self.journal_text = ipywidgets.Text(
            description="Journal",
            value="revocation.sqlite",
            continuous_update=False,
            layout={"width": "min(40em, 100%)"},
        )
        self.revoke_button = self.button("Revoke", self._revoke, style="danger")
        self.resume_button = self.button(
            "Resume from the journal", self._resume, tooltip="After a stop or a crash"
        )
        self.retry_button = self.button("Try the failed ones again", self._retry)
        # Not among the panel's buttons, as those are off while a call is under way.
        self.pause_button = ipywidgets.Button(description="Pause", layout={"width": "auto"})
        self.stop_button = ipywidgets.Button(
            description="Stop", tooltip="Finishes what is on its way", layout={"width": "auto"}
        )
        self.pause_button.on_click(lambda _: self._guarded(self._pause))
        self.stop_button.on_click(lambda _: self._guarded(self.cancel))
        self._bar = ipywidgets.IntProgress(description="Progress", layout=wide)
        self._rate = ipywidgets.HTML()
        self._summary = ipywidgets.HTML()
        self._skipped = ipywidgets.HTML()
        self._table = ipywidgets.VBox()
        self._downloads = [
            DownloadButton("Evidence (HTML)", lambda: self._evidence(".html")),
            DownloadButton("CSV", lambda: self._evidence(".csv")),
            DownloadButton("Journal", lambda: self._evidence(None)),
        ]
        self._confirmation = ipywidgets.VBox(
            [self.accept_check, self.number_text, ipywidgets.HBox([self.revoke_button])]
        )
        self._progress_box = ipywidgets.VBox(
            [self._bar, self._rate, ipywidgets.HBox([self.pause_button, self.stop_button])]
        )
        self._evidence_box = ipywidgets.HBox(
            [self.retry_button, *self._downloads], layout={"flex_flow": "row wrap"}
        )
        self.body.children = [
            self.permission_box,
            ipywidgets.HBox([self.upload, self.column_text], layout={"flex_flow": "row wrap"}),
            self.pasted,
            ipywidgets.HBox([self.plan_button]),
            self._summary,
            self._skipped,
            self._table,
            ipywidgets.HBox([self.journal_text, self.resume_button], layout={"flex_flow": "row wrap"}),
            self._confirmation,
            self._progress_box,
            self._evidence_box,
        ]
        self.number_text.observe(lambda _: self._show_state(), "value")
        self.accept_check.observe(lambda _: self._show_state(), "value")
        self.journal_text.observe(lambda _: self._journal_changed(), "value")
        self.when_free()

    def refresh(self) -> None:
        """Look up whether the token may revoke the tokens of others."""
        self.work_with(
            "Looking up what this token may do",
            lambda connection: has_permission(connection, PERMISSION),
            self._looked_up,
        )

    def _looked_up(self, allowed: bool | None) -> None:
        self.show_permission(PERMISSION, allowed=allowed)
        if self.run is not None:  # it went on while the connection changed
            self._tell(self.run)
        else:
            self.say(self._invitation)

    def clear(self) -> None:
        """Forget plan, question and evidence: they are of another connection. A run under way goes on with its own."""
        self._invitation = (
            "The connection is another one now. Make the plan again: choose a file, or paste a list."
        )
        self.forget_permission()
        self._drop()

    def when_free(self) -> None:
        """Show what can be done now."""
        with self._lock:
            if not self.busy:
                self._revoking = False
        super().when_free()
        self._show_state()

    # The plan

    def _make_plan(self) -> None:
        if self.busy:
            return
        pasted = [part for part in re.split(r"[\s,;]+", self.pasted.value) if part]
        if bool(self.upload.value) == bool(pasted):
            self.say("Choose a file or paste a list: one of the two.", "error")
            return
        users = self.upload.value or pasted
        column = self.column_text.value.strip() or None
        named = self.upload.value[0]["name"] if self.upload.value else pasted
        self._plan_code = (
            f"users = {pprint.pformat(named, width=100, compact=True)}\n"
            f"plan = gct.plan_revocation(gc, users{f', column={column!r}' if column else ''})\n"
        )
        self._drop()
        self.work_with(
            "Finding the users",
            lambda connection: plan_revocation(connection, users, column=column),
            self._planned,
        )

    def _planned(self, plan: Plan) -> None:
        self.plan = plan
        self.upload.value = ()
        where = ["line"] if plan["line"].notna().any() else []
        self._show_table(plan[[*where, "user", "name", "state", "action", "why", "id"]])
        column = f" Read from the column {escape(repr(plan.column))}." if plan.column is not None else ""
        harmless = (plan["action"] == "skip").sum() - len(plan.skipped)
        rows = "row is" if harmless == 1 else "rows are"
        besides = f" {harmless:,} {rows} of somebody who is in it already, or of you." if harmless else ""
        self._ask(plan, f"of {len(plan):,} inputs.{besides}{column}")
        if plan.skipped.empty:
            self.say(
                "Nothing is changed yet. Look at the plan, then type the number of users to confirm.", "ok"
            )
        else:
            self.say(
                "Nothing is changed yet. Some lines will not be logged out: correct the list and make the plan again, or "
                "accept that and type the number of users to confirm.",
                "warn",
            )

    def _drop(self) -> None:
        """Forget what was planned, asked and done; a run under way can still be stopped."""
        self.plan = self._asked = None
        self._summary.value = self.number_text.value = ""
        self.accept_check.value = False
        if not self._goes_on():
            self.run = None
            self._skipped.value = ""
            self._show_table(None)
        self._show_state()

    # The number

    def _ask(self, asked: Plan | Run, of_whom: str) -> None:
        """Let the number of users be typed; `of_whom` is HTML already."""
        self._asked = asked
        self._summary.value = paragraphs(
            f"<strong>{self._number():,} users will be logged out</strong> {of_whom}"
        )
        self.number_text.placeholder = f"type {self._number()} to confirm"
        skipped = len(asked.skipped)
        self.accept_check.value = False
        self.accept_check.description = (
            f"I accept that {skipped:,} line{'s' * (skipped != 1)} of the list will not be logged out"
        )
        self.accept_check.layout.display = "" if skipped else "none"
        self._show_skipped(asked)
        self._show_state()

    def _show_skipped(self, of: Plan | Run) -> None:
        """Show in amber who will not be, or was not, logged out, with the lines."""
        lines = of.skipped.head(_MOST_SKIPPED)
        if lines.empty:
            self._skipped.value = ""
            return
        columns = [name for name in ("source", "line") if lines[name].notna().any()]
        # What the list says of a person beside that is of more use here than anything that could not be found.
        table = frame_html(pd.DataFrame(lines)[[*columns, "user", "why", *_kept(lines)]])
        more = len(of.skipped) - len(lines)
        rest = f"<p>{more:,} more are in the table below.</p>" if more else ""
        self._skipped.value = warning_html(
            escape(of.skipped_summary), f"<details><summary>Show them</summary>{table}{rest}</details>"
        )

    def _number(self) -> int:
        """How many users would be logged out, which is to be typed; 0 where nothing is asked."""
        if isinstance(self._asked, Run):
            return self._asked.left
        return 0 if self._asked is None else self._asked.users_to_revoke

    def _confirmed(self) -> bool:
        number = self._number()
        accepted = self.accept_check.value or self._asked is None or self._asked.skipped.empty
        return number > 0 and accepted and self.number_text.value.strip().replace(",", "") == str(number)

    def _show_table(self, frame: Any) -> None:
        # A new table each time: what a widget begins with may be larger than a later message.
        tables = []
        if frame is not None:
            plain = pd.DataFrame(frame).astype("string").fillna("")
            tables = [ITable(plain, maxBytes=_TABLE_BYTES, showIndex=False, scrollX=True, allow_html=False)]
        for old in self._table.children:
            old.close()
        self._table.children = tables

    # The run

    def _revoke(self) -> None:
        asked, number, path = self._asked, self._number(), self._journal_path()
        if asked is None or not self._confirmed():  # a click may arrive when the button is off
            return
        accepted = len(asked.skipped)
        if isinstance(asked, Run):
            self._go_on(asked, skipped_ok=accepted)
        else:
            self._start(
                lambda watch: revoke(
                    asked, journal=path, confirm=number, skipped_ok=accepted, on_progress=watch
                )
            )

    def _resume(self) -> None:
        if self.busy:
            return
        if self.run is not None and self._is_of(self.run):
            self._go_on(self.run)
            return
        path = self._journal_path()
        self._drop()
        self.work("Reading the journal", lambda: _left_in(path), self._journal_read)

    def _journal_read(self, read: tuple[Run, pd.DataFrame]) -> None:
        run, left = read
        counts = run.counts
        where = f"{run.facts['organization_name']} ({run.facts['region']})"
        if not run.left:
            self.say(
                f"Nothing is left to do in the journal {run.journal!r} of {where}: "
                f"{counts['revoked']:,} revoked, {counts['failed']:,} failed. {run.skipped_summary}".rstrip(),
                "error" if counts["failed"] else "info" if run.skipped.empty else "warn",
            )
            self._show_skipped(run)
            return
        self._show_table(left[["user", "name", "outcome", "attempts", "id"]])
        self._ask(
            run,
            f"of {sum(counts.values()) - counts['skipped']:,} in the journal {escape(repr(run.journal))} of "
            f"<strong>{escape(where)}</strong>. {counts['revoked']:,} are logged out already, {counts['failed']:,} failed.",
        )
        self.say(
            "Nothing is changed yet. Look at who is left, then type the number of users to confirm.", "ok"
        )

    def _retry(self) -> None:
        if self.run is not None:
            self._go_on(self.run, retry_failed=True)

    def _go_on(self, run: Run, *, retry_failed: bool = False, skipped_ok: int | None = None) -> None:
        path, connection = str(run.journal), self.connection
        self._start(
            lambda watch: resume(
                path, connection, retry_failed=retry_failed, skipped_ok=skipped_ok, on_progress=watch
            ),
        )

    def _start(self, call: Callable[[Callable[[Run], None]], Run]) -> None:
        with self._lock:
            if self.busy:
                return
            self._revoking, self._stop_asked, self._told = True, False, ""
            self.number_text.value = ""
            self.work("Revoking", lambda: call(self._watch), self._finished, failed=self._stopped)
        self._show_state()

    def _watch(self, run: Run) -> None:
        """Called by the run, in its thread, about four times a second."""
        if self._stop_asked:
            run.cancel()
        if run is not self.run:
            self.run, self._asked = run, None
            self._summary.value = ""
            self._show_skipped(run)
            self.cancel_button.layout.display = "none"  # from now on, Stop ends it in good order
        total = sum(run.counts.values()) - run.counts["skipped"]
        self._bar.max, self._bar.value = max(total, 1), total - run.left
        left, waiting = run.seconds_left, run.waiting
        parts = [
            f"{total - run.left:,} of {total:,}",
            f"{run.users_per_second:.1f} users/s" if run.users_per_second else "",
            f"about {_duration(left)} left" if left else "",
            f"{run.counts['failed']:,} failed" if run.counts["failed"] else "",
            f"⚠ left out: {len(run.skipped):,}" if len(run.skipped) else "",
            "paused" if run.state == "paused" else waiting,
        ]
        self._rate.value = paragraphs(" · ".join(escape(part) for part in parts if part))
        # The status line is read aloud, so it is told once why nothing moves, not each second.
        told = "paused" if run.state == "paused" else waiting.partition(",")[0]
        if told != self._told and self._goes_on() and not self._stop_asked:
            self._told = told
            self.say(f"Revoking: {told}." if told else "Revoking…", "busy")
        self._show_state()

    def _finished(self, run: Run) -> None:
        self._show_outcome(run)
        self._tell(run)

    def _stopped(self, error: GCTokensError) -> None:
        if isinstance(error, RevocationStoppedError) and self.run is not None:
            self._show_outcome(self.run)
            if self.run.counts["unknown"]:
                self.say(f"{self.status.text}\n{_unknown(self.run)}", "error")

    def _tell(self, run: Run) -> None:
        counts = run.counts
        if counts["unknown"]:
            rest = f" {counts['pending']:,} more are left." if counts["pending"] else ""
            self.say(_unknown(run) + rest, "error")
        elif run.state == "finished":
            told = f"Finished: {counts['revoked']:,} revoked, {counts['failed']:,} failed."
            if counts["failed"] or run.skipped.empty:
                self.say(f"{told} {run.skipped_summary}".rstrip(), "error" if counts["failed"] else "ok")
            else:
                self.say(
                    f"Finished, but not everybody is logged out: {told[10:]} {run.skipped_summary}", "warn"
                )
        else:
            self.say(
                f"Stopped in good order, with {run.left:,} user{'s' * (run.left != 1)} left. Resume goes on.",
                "warn",
            )

    def _show_outcome(self, run: Run) -> None:
        self._watch(run)
        frame = run.to_frame()
        frame["answered_at"] = frame["answered_at"].dt.strftime("%Y-%m-%d %H:%M:%S UTC")
        where = ["line"] if frame["line"].notna().any() else []
        self._show_table(
            frame[[*where, "user", "name", "outcome", "why", "status", "attempts", "answered_at"]]
        )
        self._show_skipped(run)
        self._show_state()

    def _pause(self) -> None:
        if self.run is not None:
            if self.run.state == "paused":
                self.run.unpause()
            else:
                self.run.pause()
            self._show_state()

    def cancel(self) -> None:
        """End the call under way: a run in good order, once what it has sent is answered and written down."""
        with self._lock:
            job = self._job
            if job is not None and self._revoking:
                self._stop_asked = True
                self.say("Stopping: finishing what is on its way…", "busy")
        if job is None or not self._revoking:
            super().cancel()
            return
        if self.run is not None and self._goes_on():
            self.run.cancel()
        else:  # Its requests end at once. The call is not left to itself, as it may be about to begin: then it is stopped.
            job.cancelled.set()

    def close(self) -> None:
        """Close the panel; a run is stopped in good order."""
        self._stop_asked = True
        if self.run is not None:
            self.run.cancel()
        super().close()

    # What is shown when

    def _goes_on(self) -> bool:
        return self.run is not None and self.run.state in {"running", "paused"}

    def _journal_path(self) -> Path:
        return Path(self.journal_text.value.strip())

    def _is_of(self, run: Run) -> bool:
        """Whether the journal that is named now is that of the run."""
        return self._journal_path() == Path(str(run.journal))

    def _journal_changed(self) -> None:
        if isinstance(self._asked, Run) and not self.busy:
            self._drop()  # the question was about another journal
        self._show_state()

    def _show_state(self) -> None:
        running = self._goes_on()
        over = self.run is not None and not running and not self._revoking
        failed = self.run is not None and self.run.counts["failed"] > 0
        forbidden = self.busy or self.may is False  # what is left of a journal can be looked at all the same
        self.revoke_button.disabled = forbidden or not self._confirmed()
        self.retry_button.disabled = forbidden
        self.resume_button.disabled = self.busy or (
            self.may is False and self.run is not None and self._is_of(self.run)
        )
        self.pause_button.description = "Go on" if self.run and self.run.state == "paused" else "Pause"
        _show(self._confirmation, self._asked is not None and not self._revoking)
        _show(self._progress_box, self.run is not None)
        _show(self.pause_button, running)
        _show(self.stop_button, running)
        _show(self._evidence_box, over)
        _show(self.retry_button, over and failed)
        for download in self._downloads:
            download.disabled = not over
        if not self._revoking:
            self.set_code(self._next_code())

    def _next_code(self) -> str:
        """What the panel has found, and would do next."""
        path = str(self._journal_path())
        accepted = ""
        if self._asked is not None and self.accept_check.value:
            accepted = f", skipped_ok={len(self._asked.skipped)}"
        if isinstance(self._asked, Plan):
            call = f"{self._plan_code}run = gct.revoke(plan, journal={path!r}, confirm={self._number()}{accepted})"
            report = 'run.report("evidence.html")'
        elif self.run is not None or self._asked is not None:
            again = self.run is not None and self.run.counts["failed"] > 0 and self._is_of(self.run)
            failed = ", retry_failed=True" if again else ""
            call = f"run = gct.resume({path!r}, gc{failed}{accepted})"
            report = 'run.report("evidence.html", overwrite=True)'
        else:
            return f"gc.directory.has_permission({PERMISSION!r})  # may this token revoke those of users?"
        return f"{call}\n{report}\nrun.check()  # raises unless everybody in the list was logged out"

    def _evidence(self, suffix: str | None) -> tuple[str, bytes] | None:
        """The report of that kind, or the journal, to download; one too large for that is left beside the journal."""
        if self.run is None or self.run.journal is None:
            return None
        path = Path(self.run.journal)
        try:
            if suffix is not None:
                path = path.with_name(f"{path.stem}-evidence{suffix}")
                self.run.report(path, overwrite=True)
            if path.stat().st_size <= _DOWNLOAD_BYTES:
                return path.name, path.read_bytes()
        except GCTokensError as error:
            self.show_error(error)
            return None
        self.say(f"It is too large for a download through Jupyter, and lies beside the kernel: {path}")
        return None


def _left_in(path: Path) -> tuple[Run, pd.DataFrame]:
    """Return the run of a journal, and those of its users who are still to be logged out."""
    run = Run.of(path)
    frame = run.to_frame()
    return run, frame[frame["outcome"].isin(["pending", "unknown"])]


def _unknown(run: Run) -> str:
    count = run.counts["unknown"]
    who = "1 user was" if count == 1 else f"{count:,} users were"
    return f"It is unknown whether {who} logged out. Resume asks again."


def _kept(lines: pd.DataFrame) -> list[str]:
    """The columns that were kept of the list: those after the plan's own."""
    return list(lines.columns[list(lines.columns).index("line") + 1 :])


def _show(widget: Any, wanted: bool) -> None:
    widget.layout.display = "" if wanted else "none"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else time.strftime("%H:%M:%S", time.gmtime(seconds))
