"""The organization's idle token timeout: see it, and change it in two steps."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets
import msgspec

from gctokens_nb import frames
from gctokens_nb.connection import Connection
from gctokens_nb.models import IDLE_TIMEOUT_SECONDS, IdleTokenTimeout
from gctokens_nb.panels.confirmation import Confirmation
from gctokens_nb.panels.connected import ConnectedPanel, has_permission
from gctokens_nb.panels.markup import fields_html, paragraphs
from gctokens_nb.tokens import check_idle_timeout

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["IdleTimeoutPanel"]

PERMISSION = "directory:organization:admin"
_LABELS = {
    "enable_idle_token_timeout": "Tokens idle out",
    "idle_token_timeout_seconds": "After",
    "inactivity_timeout_unit": "Shown in",
    "inactivity_timeout_groups_enabled": "Groups have their own",
}


class IdleTimeoutPanel(ConnectedPanel):
    """Shows after how much idle time the organization's tokens end, and changes it for everybody.

    A change is confirmed with what is so before, read once more, and what is to be so after.

    Wire: `GET /api/v2/tokens/timeout`, no permission; `PUT /api/v2/tokens/timeout`, permission
    `directory:organization:admin`.

    Args:
        connection:
            Whose organization.

    Attributes:
        timeout: IdleTokenTimeout or None
            What was read last.
        frame: pandas.DataFrame
            The same as one row (`frames.idle_timeout`).
        enabled, groups_enabled: ipywidgets.Checkbox
        seconds: ipywidgets.IntText
        unit: ipywidgets.Dropdown
            What the timeout is to be.
        refresh_button, change_button, confirm_button, keep_button: ipywidgets.Button
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__("Idle timeout of the organization", connection)
        self.timeout: IdleTokenTimeout | None = None
        self._shown: dict[str, Any] = {}  # what the form was filled with
        self._keep_typed = False  # until another connection was read
        low, high = IDLE_TIMEOUT_SECONDS
        wide = {"description_width": "13em"}
        self._current = ipywidgets.HTML()
        self.enabled = ipywidgets.Checkbox(
            description=_LABELS["enable_idle_token_timeout"], indent=False, layout={"width": "auto"}
        )
        self.seconds = ipywidgets.IntText(
            description="Idle time (seconds)", style=wide, layout={"width": "auto", "max_width": "26em"}
        )
        self.unit = ipywidgets.Dropdown(
            description="Unit in Genesys Cloud", style=wide, layout={"width": "auto", "max_width": "26em"}
        )
        self.groups_enabled = ipywidgets.Checkbox(
            description="Groups may have an idle timeout of their own", indent=False, layout={"width": "auto"}
        )
        limits = ipywidgets.HTML(
            paragraphs(
                f"From {low} to {high} seconds (5 minutes to 8 hours); an organization under HIPAA may be limited "
                "to 900 seconds. The unit is only how Genesys Cloud's own page shows it."
            )
        )
        self.refresh_button = self.button("Refresh", self.refresh, tooltip="Read it again and reset the form")
        self.change_button = self.button("Change…", self._ask, style="warning", tooltip="Asks first")
        self._confirmation = Confirmation[IdleTokenTimeout](
            self, self.change_button, "Yes, change it", self._change
        )
        self.confirm_button = self._confirmation.yes_button
        self.keep_button = self._confirmation.no_button
        self._fields = {
            "enable_idle_token_timeout": self.enabled,
            "idle_token_timeout_seconds": self.seconds,
            "inactivity_timeout_unit": self.unit,
            "inactivity_timeout_groups_enabled": self.groups_enabled,
        }
        self.body.children = [
            self._current,
            *self._fields.values(),
            limits,
            self.permission_box,
            ipywidgets.HBox([self.change_button, self.refresh_button]),
            self._confirmation.box,
        ]
        for field in self._fields.values():
            field.observe(lambda _: self._edited(), "value")
        self.when_free()

    @property
    def frame(self) -> pd.DataFrame:
        """The timeout as a DataFrame, to go on with in the next cell."""
        return frames.idle_timeout([] if self.timeout is None else self.timeout)

    def clear(self) -> None:
        """Empty what was read: it is of another connection. What was typed is kept."""
        self._confirmation.dismiss()
        self.timeout = None
        self._current.value = ""
        self.forget_permission()
        self._keep_typed = True

    def refresh(self) -> None:
        """Read the timeout and fill the form with it, as *Refresh* does."""
        self._confirmation.dismiss()
        self.work_with("Reading the idle timeout", _read, self._show)

    def _show(self, read: tuple[IdleTokenTimeout, bool | None]) -> None:
        timeout, allowed = read
        self.show_permission(PERMISSION, allowed=allowed)
        typed = self._changes() if self._keep_typed else {}
        self._fill(timeout, typed.get("inactivity_timeout_unit"))
        for name, value in typed.items():
            self._fields[name].value = value
        self._keep_typed = False
        self.say("This is how it is now.", "ok")

    def _fill(self, timeout: IdleTokenTimeout, typed_unit: str | None = None) -> None:
        self.timeout = timeout
        rows = [(label, escape(_text(name, timeout))) for name, label in _LABELS.items()]
        rows += [
            (
                f"Groups, priority {bundle.priority}",
                escape(f"{_duration(bundle.timeout_seconds)}: {', '.join(bundle.groups) or 'no group'}"),
            )
            for bundle in timeout.inactivity_timeout_group_bundles
        ]
        self._current.value = fields_html(rows)
        own_units = [timeout.inactivity_timeout_unit, typed_unit]
        units = dict.fromkeys(["Minutes", "Hours", *filter(None, own_units)])
        self._shown = {}  # while the form is filled, nothing in it is a wish
        self.unit.options = list(units)
        self.enabled.value = bool(timeout.enable_idle_token_timeout)
        self.seconds.value = timeout.idle_token_timeout_seconds or 0
        self.unit.value = timeout.inactivity_timeout_unit or "Minutes"
        self.groups_enabled.value = bool(timeout.inactivity_timeout_groups_enabled)
        self._shown = self._wishes()
        self._edited()

    def _wishes(self) -> dict[str, Any]:
        return {name: field.value for name, field in self._fields.items()}

    def _changes(self) -> dict[str, Any]:
        """What in the form differs from what it was filled with."""
        return {
            name: value
            for name, value in self._wishes().items()
            if self._shown and value != self._shown[name]
        }

    def _edited(self) -> None:
        self._confirmation.dismiss()
        changes = self._changes()
        if not changes:
            self.set_code(
                "timeout = gc.tokens.get_tokens_timeout()\nframe = gct.frames.idle_timeout(timeout)"
            )
            return
        wanted = ", ".join(f"{name}={value!r}" for name, value in changes.items())
        self.set_code(
            "timeout = gc.tokens.get_tokens_timeout()\n"
            f"gc.tokens.put_tokens_timeout(msgspec.structs.replace(timeout, {wanted}))",
            imports="msgspec",
        )

    def when_free(self) -> None:
        """Switch the button off where the permission is known to be missing."""
        super().when_free()
        with self._lock:  # another call may begin meanwhile, in another thread
            self.change_button.disabled = self.busy or self.may is False

    def _ask(self, *, edited: bool = False) -> None:
        changes = self._changes()
        if self.timeout is None:
            self.say("How it is now is not known yet: refresh first.", "error")
            return
        if not changes:
            self.say("Nothing in the form differs from how it is now.", "error")
            return
        check_idle_timeout(msgspec.structs.replace(self.timeout, **changes))
        self.work_with(
            "Reading how it is now",
            lambda connection: connection.tokens.get_tokens_timeout(),
            lambda now: self._confirm(now, changes, edited=edited),
        )

    def _confirm(self, now: IdleTokenTimeout, changes: dict[str, Any], *, edited: bool) -> None:
        if self._changes() != changes:  # edited while that was read
            self._ask(edited=True)
            return
        after = msgspec.structs.replace(now, **changes)
        rows = [
            (label, f"{escape(_text(name, now))} → <strong>{escape(_text(name, after))}</strong>")
            for name, label in _LABELS.items()
            if getattr(now, name) != getattr(after, name)
        ]
        if not rows:
            self._fill(now)
            self.say("Somebody has already made this change: this is how it is now.", "ok")
            return
        self._confirmation.ask(
            after,
            [
                "<strong>Change the idle timeout for everybody in the organization?</strong>",
                *(
                    ["You have edited the form since you chose Change…: this is what it says now."]
                    if edited
                    else []
                ),
                fields_html(rows),
                "Tokens that have been idle for longer than the new time end.",
                f"It needs the permission {PERMISSION}.",
            ],
        )

    def _change(self, after: IdleTokenTimeout) -> None:
        self.work_with(
            "Changing the idle timeout",
            lambda connection: connection.tokens.put_tokens_timeout(after),
            self._changed,
        )

    def _changed(self, timeout: IdleTokenTimeout) -> None:
        self._fill(timeout)
        correlation_id = self.correlation_id("PUT")
        quote = f" Correlation id {correlation_id}." if correlation_id else ""
        self.say(f"Changed: this is how it is now.{quote}", "ok")


def _read(connection: Connection) -> tuple[IdleTokenTimeout, bool | None]:
    return connection.tokens.get_tokens_timeout(), has_permission(connection, PERMISSION)


def _text(name: str, timeout: IdleTokenTimeout) -> str:
    value = getattr(timeout, name)
    if value is None:
        return "not said"
    if name == "idle_token_timeout_seconds":
        return _duration(value)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return "not said"
    parts = [(seconds // 3600, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    words = " ".join(f"{count} {unit}" for count, unit in parts if count)
    return f"{seconds} seconds ({words})" if seconds >= 60 else f"{seconds} seconds"
