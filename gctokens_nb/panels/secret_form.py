"""A form whose secrets never become widget state: what the kernel does not hold, no saved notebook can leak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from gctokens_nb.redaction import Secret

__all__ = ["SecretForm"]


class SecretForm(anywidget.AnyWidget):
    """Fields and a button, of which the secret ones live only in the page until they are sent, once.

    `ipywidgets.Password` sends each keystroke to the kernel, where it stays in the widget's state and so in the saved
    notebook. Here a secret is text in the page; on submit it travels in a custom message, and its field is emptied.
    All fields travel together, so that what was typed while the kernel was busy arrives whole. Enter submits; Escape
    empties the secret fields and cancels.

    Attributes:
        fields: list of dict
            From top to bottom: `name`, `label`, `kind` (`text`, `secret`, `choice`, `link`), and where wanted `hint`,
            `optional`, `options` (for a choice: [value, text] pairs), `href` (for a link), `when` (shown only while fields
            above it have one of these values: `{"way": ["browser"]}`).
        values: dict
            What stands in the fields that are not secret, by name.
        submit_label: str
            Of the button; empty for none.
        disabled: bool
            Whether the button is off.

    """

    _esm = Path(__file__).with_name("secret_form.js")
    _css = """
    .gct-form { display: flex; flex-direction: column; gap: 6px; max-width: 46em; margin: 4px 2px;
                color: var(--jp-ui-font-color1, inherit); font-size: var(--jp-ui-font-size1, 13px); }
    .gct-row { display: grid; grid-template-columns: 12em minmax(0, 1fr); gap: 2px 8px; align-items: center; }
    .gct-row small { grid-column: 2; color: var(--jp-ui-font-color2, inherit); }
    .gct-row a { color: var(--jp-content-link-color, LinkText); text-decoration: underline; }
    .gct-row input, .gct-row select {
      box-sizing: border-box; width: 100%; height: 28px; padding: 0 6px; font: inherit;
      color: var(--jp-ui-font-color1, inherit); background: var(--jp-layout-color1, Field);
      border: 1px solid var(--jp-border-color1, #888); border-radius: 2px; }
    .gct-form :focus-visible { outline: 2px solid var(--jp-brand-color1, Highlight); outline-offset: 1px; }
    .gct-form button { align-self: start; width: auto; padding: 0 16px; }
    .gct-form button[hidden] { display: none; }
    @media (max-width: 34em) { .gct-row { grid-template-columns: minmax(0, 1fr); } .gct-row small { grid-column: 1; } }
    """
    fields: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    values: Any = traitlets.Dict().tag(sync=True)
    submit_label: Any = traitlets.Unicode("").tag(sync=True)
    disabled: Any = traitlets.Bool(False).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._submit_callbacks: list[Callable[[dict[str, str | Secret]], None]] = []
        self._cancel_callbacks: list[Callable[[], None]] = []
        self.on_msg(self._receive)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def on_submit(self, callback: Callable[[dict[str, str | Secret]], None]) -> None:
        """Call `callback` with the shown fields' values by name, secrets as `Secret`, whenever the form is sent."""
        self._submit_callbacks.append(callback)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` when Escape is pressed in the form."""
        self._cancel_callbacks.append(callback)

    def _receive(self, _widget: object, content: Any, _buffers: object) -> None:
        kind, values = content.get("type"), content.get("values")
        content.clear()  # this dict holds the secrets in clear, and a traceback with locals would show it
        if kind == "cancel":
            for cancel in self._cancel_callbacks:
                cancel()
        elif kind == "submit" and isinstance(values, dict):
            self.send({"type": "received"})
            secret = {field["name"] for field in self.fields if field["kind"] == "secret"}
            known = {
                name: Secret(str(value)) if name in secret else str(value) for name, value in values.items()
            }
            values.clear()
            for submit in self._submit_callbacks:
                submit(known)
