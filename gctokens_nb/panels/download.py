"""A button that hands a file to the browser, through the kernel's own connection: no server needs to know the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

__all__ = ["DownloadButton"]


class DownloadButton(anywidget.AnyWidget):
    """A button that downloads what `make` returns when it is clicked.

    Args:
        description:
            Its text.
        make:
            Called in the main thread at each click; returns the name of the file and its bytes, or None for nothing.
    """

    _esm = """
    function render({model, el}) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "jupyter-button widget-button gct-download";
      const show = () => {
        button.textContent = model.get("description");
        button.disabled = model.get("disabled");
      };
      const save = (message, buffers) => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([buffers[0]], {type: "application/octet-stream"}));
        link.download = message.name;
        link.click();
        URL.revokeObjectURL(link.href);
      };
      button.addEventListener("click", () => model.send("clicked"));
      model.on("change", show);
      model.on("msg:custom", save);
      show();
      el.append(button);
      return () => { model.off("change", show); model.off("msg:custom", save); };
    }
    export default {render};
    """
    _css = ".gct-download { width: auto; padding: 0 12px; margin: 2px; }"
    description: Any = traitlets.Unicode("").tag(sync=True)
    disabled: Any = traitlets.Bool(default_value=True).tag(sync=True)

    def __init__(self, description: str, make: Callable[[], tuple[str, bytes] | None]) -> None:
        super().__init__(description=description)
        self._make = make
        self.on_msg(self._clicked)

    def __repr__(self) -> str:
        return f"DownloadButton({self.description!r})"

    def _clicked(self, _: object, content: object, __: object) -> None:
        if content == "clicked" and not self.disabled:
            made = self._make()
            if made is not None:
                name, data = made
                self.send({"name": name}, [data])
