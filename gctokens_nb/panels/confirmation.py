"""The second step before anything that cannot be undone: a question, Yes and No."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import ipywidgets

from gctokens_nb.panels.base import Panel
from gctokens_nb.panels.markup import paragraphs

__all__ = ["Confirmation"]

T = TypeVar("T")


class Confirmation(Generic[T]):
    """Asks before something is done in a panel. Only *Yes* does it, and only once.

    Args:
        panel:
            Where it asks.
        asked_by: ipywidgets.Button
            The button of the first step: *No* gives the keyboard back to it.
        yes:
            What the button that does it says.
        do:
            Called with what was asked about.

    Attributes:
        box: ipywidgets.VBox
            To place in the panel; hidden as long as nothing is asked.
        yes_button, no_button: ipywidgets.Button
    """

    def __init__(self, panel: Panel, asked_by: Any, yes: str, do: Callable[[T], None]) -> None:
        self._panel = panel
        self._asked_by = asked_by
        self._do = do
        self._subject: T | None = None
        self._question = ipywidgets.HTML()
        self.yes_button = panel.button(yes, self._yes, style="danger")
        self.no_button = panel.button("No, change nothing", self._no)
        self.box: Any = ipywidgets.VBox(
            [self._question, ipywidgets.HBox([self.no_button, self.yes_button])],
            layout={
                "display": "none",
                "border": "2px solid var(--jp-warn-color1, #f57c00)",
                "padding": "4px 10px",
                "margin": "4px 0",
            },
        )

    def ask(self, subject: T, question: Iterable[str]) -> None:
        """Ask about `subject`; the lines of the question are HTML already. The keyboard goes to *No*."""
        self._subject = subject
        self._question.value = paragraphs(*question)
        self.box.layout.display = ""
        self.no_button.focus()
        self._panel.say("Nothing is changed yet. Confirm above, or change nothing.")

    def dismiss(self) -> None:
        """Forget the question."""
        self._subject = None
        self.box.layout.display = "none"

    def _no(self) -> None:
        self.dismiss()
        self._asked_by.focus()
        self._panel.say("Nothing was changed.")

    def _yes(self) -> None:
        subject = self._subject
        if subject is None or self._panel.busy:  # a second click
            return
        self.dismiss()
        self._do(subject)
