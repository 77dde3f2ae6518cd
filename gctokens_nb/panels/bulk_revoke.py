"""Log out many users: the list, the plan, the number typed, the progress, the evidence."""

from __future__ import annotations

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
from gctokens_nb.errors import ConfigurationError, GCTokensError, JournalError
from gctokens_nb.panels.connected import ConnectedPanel
from gctokens_nb.panels.download import DownloadButton
from gctokens_nb.panels.markup import missing_permission, paragraphs
from gctokens_nb.revocation import Plan, Run, plan_revocation, resume, revoke

__all__ = ["BulkRevokePanel"]

PERMISSION = "oauth:token:delete"
_TABLE_BYTES = (
    4_000_000  # beyond that a browser grows slow: the table then leaves out the middle, and says so
)
_DOWNLOAD_BYTES = 2_500_000  # Jupyter servers drop larger messages


class BulkRevokePanel(ConnectedPanel):
    """Revokes the tokens of many users: plan, confirmation by typing their number, progress, stop and resume, evidence.

    Nothing is revoked before the number of users is typed. The journal is written on the machine of the kernel; what is
    stopped, or killed, is resumed from it.

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
            The column of the file, where several hold users.
        plan_button, revoke_button, pause_button, stop_button, resume_button, retry_button: ipywidgets.Button
        number_text: ipywidgets.Text
            The number of users, typed to confirm.
        journal_text: ipywidgets.Text
            The path of the journal.
        plan: Plan or None
            Who would be logged out.
        run: Run or None
            What was done, or is being done.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__("Log out many users", connection)
        self.plan: Plan | None = None
        self.run: Run | None = None
        self._revoking = False  # the call under way is a run
        self._stop_asked = False
        wide = {"width": "min(60em, 100%)"}
        self.upload = ipywidgets.FileUpload(
            accept=".csv,.txt,.tsv,.xlsx", description="CSV or Excel file", layout={"width": "auto"}
        )
        self.column_text = ipywidgets.Text(
            description="Column",
            placeholder="only where several hold users",
            layout={"width": "min(24em, 100%)"},
        )
        self.pasted = ipywidgets.Textarea(
            description="Or paste", placeholder="ids and e-mail addresses", rows=4, layout=wide
        )
        self.plan_button = self.button(
            "Make the plan", self._make_plan, style="primary", tooltip="Changes nothing"
        )
        self.number_text = ipywidgets.Text(description="Confirm", layout={"width": "min(24em, 100%)"})
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
        self._bar = ipywidgets.IntProgress(layout=wide)
        self._rate = ipywidgets.HTML()
        self._permission = ipywidgets.HTML()
        self._summary = ipywidgets.HTML()
        self._table = ipywidgets.VBox()
        self._downloads = [
            DownloadButton("Evidence (HTML)", lambda: self._evidence(".html")),
            DownloadButton("CSV", lambda: self._evidence(".csv")),
            DownloadButton("Journal", lambda: self._evidence(None)),
        ]
        self._confirmation = ipywidgets.VBox([self.number_text, ipywidgets.HBox([self.revoke_button])])
        self._progress_box = ipywidgets.VBox(
            [self._bar, self._rate, ipywidgets.HBox([self.pause_button, self.stop_button])]
        )
        self._evidence_box = ipywidgets.HBox(
            [self.retry_button, *self._downloads], layout={"flex_flow": "row wrap"}
        )
        self.body.children = [
            self._permission,
            ipywidgets.HBox([self.upload, self.column_text], layout={"flex_flow": "row wrap"}),
            self.pasted,
            ipywidgets.HBox([self.plan_button]),
            self._summary,
            self._table,
            ipywidgets.HBox([self.journal_text, self.resume_button], layout={"flex_flow": "row wrap"}),
            self._confirmation,
            self._progress_box,
            self._evidence_box,
        ]
        self.number_text.observe(lambda _: self._show_state(), "value")
        self._show_state()
        self.when_free()

    def refresh(self) -> None:
        """Look up whether the token may revoke the tokens of others."""
        self.work(
            "Looking up what this token may do", lambda: self.has_permission(PERMISSION), self._looked_up
        )

    def _looked_up(self, allowed: bool | None) -> None:
        self._permission.value = missing_permission(PERMISSION) if allowed is False else ""
        self.say("Choose a file, or paste a list.")

    # The plan

    def _make_plan(self) -> None:
        pasted = [part for part in re.split(r"[\s,;]+", self.pasted.value) if part]
        if bool(self.upload.value) == bool(pasted):
            self.say("Choose a file or paste a list: one of the two.", "error")
            return
        users = self.upload.value or pasted
        column = self.column_text.value.strip() or None
        self.work(
            "Finding the users", lambda: plan_revocation(self.connection, users, column=column), self._planned
        )

    def _planned(self, plan: Plan) -> None:
        self.plan, self.run = plan, None
        self.upload.value = ()
        self.number_text.value = ""
        skipped = plan["why"].value_counts()
        reasons = ", ".join(f"{count:,} {escape(str(why))}" for why, count in skipped.items())
        self._summary.value = paragraphs(
            f"<strong>{plan.users_to_revoke:,} users will be logged out</strong> of {len(plan):,} inputs. "
            + (f"Skipped: {reasons}." if reasons else "None is skipped.")
        )
        self._show_table(plan[["user", "name", "state", "action", "why", "id"]])
        self.number_text.placeholder = f"type {plan.users_to_revoke} to confirm"
        self._show_state()
        self.say("Nothing is changed yet. Look at the plan, then type the number of users to confirm.", "ok")

    def _show_table(self, frame: Any) -> None:
        # A new table each time: what a widget begins with may be larger than a later message.
        plain = pd.DataFrame(frame).astype("object")
        plain = plain.where(plain.notna(), "")
        table = ITable(plain, maxBytes=_TABLE_BYTES, showIndex=False, scrollX=True, allow_html=False)
        for old in self._table.children:
            old.close()
        self._table.children = [table]

    # The run

    def _revoke(self) -> None:
        plan = self.plan
        if plan is None:
            return
        path = Path(self.journal_text.value.strip())
        self._start(
            path,
            lambda watch: revoke(plan, journal=path, confirm=plan.users_to_revoke, on_progress=watch),
        )

    def _resume(self) -> None:
        path = Path(self.journal_text.value.strip())
        self._start(path, lambda watch: resume(path, self.connection, on_progress=watch))

    def _retry(self) -> None:
        path = Path(self.journal_text.value.strip())
        self._start(path, lambda watch: resume(path, self.connection, retry_failed=True, on_progress=watch))

    def _start(self, path: Path, call: Callable[[Callable[[Run], None]], Run]) -> None:
        self.number_text.value = ""
        self.run = None
        self._revoking, self._stop_asked = True, False
        self.work(
            "Revoking",
            lambda: call(self._watch),
            self._finished,
            failed=lambda error: self._stopped(path, error),
        )
        self.cancel_button.layout.display = "none"  # Stop is the way to end a run in good order

    def _watch(self, run: Run) -> None:
        """Called by the run, in its thread, about four times a second."""
        self.run = run
        if self._stop_asked:
            run.cancel()
        total = sum(run.counts.values()) - run.counts["skipped"]
        self._bar.max, self._bar.value = max(total, 1), total - run.left
        left = run.seconds_left
        parts = [
            f"{total - run.left:,} of {total:,}",
            f"{run.users_per_second:.1f} users/s" if run.users_per_second else "",
            f"about {_duration(left)} left" if left else "",
            f"{run.counts['failed']:,} failed" if run.counts["failed"] else "",
            "paused" if run.state == "paused" else run.waiting,
        ]
        self._rate.value = paragraphs(" · ".join(escape(part) for part in parts if part))
        self._show_state()

    def _finished(self, run: Run) -> None:
        self._revoking = False
        self._show_outcome(run)
        if run.state == "finished":
            self.say(
                f"Finished: {run.counts['revoked']:,} revoked, {run.counts['failed']:,} failed.",
                "error" if run.counts["failed"] else "ok",
            )
        else:
            self.say(f"Stopped in good order, with {run.left:,} users left. Resume goes on.")

    def _stopped(self, path: Path, error: GCTokensError) -> None:
        self.run, self._revoking = None, False
        if not isinstance(error, ConfigurationError) and path.is_file():
            try:
                self.run = Run.of(path)
            except JournalError:
                pass
            else:
                self._show_outcome(self.run)
        self._show_state()

    def _show_outcome(self, run: Run) -> None:
        self._watch(run)
        frame = run.to_frame()
        frame["answered_at"] = frame["answered_at"].dt.strftime("%Y-%m-%d %H:%M:%S UTC")
        self._show_table(frame[["user", "name", "outcome", "why", "status", "attempts", "answered_at"]])
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
        if self.busy and self._revoking:
            self._stop_asked = True
            if self.run is not None:
                self.run.cancel()
            self.say("Stopping: finishing what is on its way…", "busy")
        else:
            super().cancel()

    def close(self) -> None:
        """Close the panel; a run is stopped in good order."""
        self._stop_asked = True
        if self.run is not None:
            self.run.cancel()
        super().close()

    # What is shown when

    def _show_state(self) -> None:
        state = self.run.state if self.run is not None else ""
        running = state in {"running", "paused"}
        plan = self.plan
        typed = self.number_text.value.strip().replace(",", "")
        ready = plan is not None and plan.users_to_revoke > 0 and typed == str(plan.users_to_revoke)
        self.revoke_button.disabled = self.busy or not ready
        self.pause_button.description = "Go on" if state == "paused" else "Pause"
        self._confirmation.layout.display = "" if plan is not None and self.run is None else "none"
        self._progress_box.layout.display = "" if self.run is not None else "none"
        self.pause_button.layout.display = self.stop_button.layout.display = "" if running else "none"
        over = self.run is not None and not running
        self._evidence_box.layout.display = "" if over else "none"
        self.retry_button.layout.display = "" if over and self.run and self.run.counts["failed"] else "none"
        for download in self._downloads:
            download.disabled = not over
        journal = self.journal_text.value
        self.set_code(
            "plan = gct.plan_revocation(gc, users)  # a list, a DataFrame's column, or the path of a file\n"
            f"run = gct.revoke(plan, journal={journal!r}, confirm=plan.users_to_revoke)\n"
            f"run = gct.resume({journal!r}, gc)  # after a stop\n"
            'run.report("evidence.html")'
        )

    def _evidence(self, suffix: str | None) -> tuple[str, bytes] | None:
        """The report of that kind, or the journal, to download; one too large for that is left beside the journal."""
        if self.run is None or self.run.journal is None:
            return None
        path = Path(self.run.journal)
        try:
            if suffix is not None:
                path = path.with_name(f"{path.stem}-evidence{suffix}")
                self.run.report(path)
            if path.stat().st_size <= _DOWNLOAD_BYTES:
                return path.name, path.read_bytes()
        except GCTokensError as error:
            self.show_error(error)
            return None
        self.say(f"It is too large for a download through Jupyter, and lies beside the kernel: {path}")
        return None


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else time.strftime("%H:%M:%S", time.gmtime(seconds))
