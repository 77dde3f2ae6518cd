"""What ipywidgets has no widget for: a status line that is read aloud, a countdown in the page, code to copy.

Each is an ES module given as text: nothing is fetched, and text from a server is set as text, never as HTML.
"""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

__all__ = ["CodeBox", "Countdown", "StatusLine"]


class _Element(anywidget.AnyWidget):
    """The base of the elements: a repr that is the same at every run."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class StatusLine(_Element):
    """A line of plain text that screen readers announce when it changes (`role=status`, `aria-live=polite`).

    Attributes:
        text: str
            What to say; line breaks are kept.
        kind: str
            `info`, `busy`, `ok`, `warn` or `error`: sets the colour and, as colour alone is no message, a sign before the text.

    """

    _esm = """
    const SIGNS = {info: "", busy: "…", ok: "✓", warn: "⚠", error: "⚠"};
    function render({model, el}) {
      // Only the text changes: a region that is replaced as a whole is not announced.
      const region = document.createElement("div");
      region.setAttribute("role", "status");
      region.setAttribute("aria-live", "polite");
      const sign = document.createElement("span");
      sign.setAttribute("aria-hidden", "true");
      const text = document.createElement("span");
      region.append(sign, text);
      const show = () => {
        const kind = model.get("kind");
        region.className = "gct-status gct-status-" + kind;
        sign.textContent = SIGNS[kind] ? SIGNS[kind] + " " : "";
        text.textContent = model.get("text");
      };
      model.on("change", show);
      show();
      el.append(region);
      return () => model.off("change", show);
    }
    export default {render};
    """
    # Every panel has a status line, so its sheet carries the panels' common looks too.
    _css = """
    .gct-table { line-height: 1.4; border-collapse: collapse; color: var(--jp-ui-font-color1, inherit); }
    .gct-table th, .gct-table td { text-align: left; vertical-align: top; padding: 2px 12px 2px 0;
                                   overflow-wrap: anywhere; }
    .gct-table th { white-space: nowrap; }
    .gct-table ul { display: flex; flex-wrap: wrap; gap: 2px 4px; margin: 2px 0; padding: 0; list-style: none; }
    .gct-table li { border: 1px solid var(--jp-border-color2, #888); border-radius: 3px; padding: 0 4px; }
    .gct-table tr.gct-differs { background: color-mix(in srgb, var(--jp-warn-color1, #f57c00) 15%, transparent); }
    .gct-wide { overflow-x: auto; }
    .gct-wide td { min-width: 6em; max-width: 30em; padding-right: 16px; overflow-wrap: break-word; }
    .widget-html-content a.gct-link { text-decoration: underline; color: var(--jp-content-link-color, inherit); }
    .gct-text p { margin: 4px 0; line-height: 1.4; }
    .gct-status { white-space: pre-line; overflow-wrap: anywhere; line-height: 1.4; min-height: 1.4em;
                  color: var(--jp-ui-font-color1, inherit); }
    .gct-status-ok { color: var(--jp-success-color0, #1b5e20); }
    .gct-status-error { color: var(--jp-error-color0, #b71c1c); }
    .gct-status-warn { color: #8a4600; }  /* JupyterLab's own orange is too pale for text */
    .gct-warn { border-left: 4px solid var(--jp-warn-color1, #f57c00); padding-left: 8px; margin: 4px 0; }
    .gct-warn summary { cursor: pointer; }
    [data-jp-theme-light="false"] .gct-status-ok { color: var(--jp-success-color2, #81c784); }
    [data-jp-theme-light="false"] .gct-status-warn { color: var(--jp-warn-color2, #ffb74d); }
    [data-jp-theme-light="false"] .gct-status-error { color: var(--jp-error-color2, #ef9a9a); }
    """
    text: Any = traitlets.Unicode("").tag(sync=True)
    kind: Any = traitlets.Unicode("info").tag(sync=True)


class Countdown(_Element):
    """Time left until a moment, counted down in the page: it asks nobody, and goes on while the kernel is busy.

    Attributes:
        ends_at: float
            The moment, in seconds since 1970; 0 shows nothing.
        before: str
            Text before the time left.
        over: str
            Shown instead once the moment has come.

    """

    _esm = """
    function left(seconds) {
      const parts = [];
      const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24;
      const minutes = Math.floor(seconds / 60) % 60;
      if (days) parts.push(days + " d");
      if (days || hours) parts.push(hours + " h");
      if (days || hours || minutes) parts.push(minutes + " min");
      parts.push(Math.floor(seconds) % 60 + " s");
      return parts.join(" ");
    }
    function render({model, el}) {
      const timer = document.createElement("div");
      timer.setAttribute("role", "timer");
      timer.className = "gct-countdown";
      const show = () => {
        const ends = model.get("ends_at"), seconds = ends - Date.now() / 1000;
        timer.textContent = !ends ? "" : seconds > 0 ? model.get("before") + left(seconds) : model.get("over");
        timer.hidden = !timer.textContent;
      };
      const clock = setInterval(show, 500);
      model.on("change", show);
      show();
      el.append(timer);
      return () => { clearInterval(clock); model.off("change", show); };
    }
    export default {render};
    """
    _css = ".gct-countdown { line-height: 1.4; font-variant-numeric: tabular-nums; color: var(--jp-ui-font-color1, inherit); }"
    ends_at: Any = traitlets.Float(0.0).tag(sync=True)
    before: Any = traitlets.Unicode("").tag(sync=True)
    over: Any = traitlets.Unicode("").tag(sync=True)


class CodeBox(_Element):
    """Lines of Python behind a *Copy as code* heading, with a button that copies them.

    Attributes:
        code: str
            The lines. Never a secret.

    """

    _esm = """
    function render({model, el}) {
      const box = document.createElement("details");
      box.className = "gct-code";
      const heading = document.createElement("summary");
      heading.textContent = "Copy as code";
      const code = document.createElement("pre");
      code.tabIndex = 0;
      const copy = document.createElement("button");
      copy.type = "button";
      copy.className = "jupyter-button widget-button";
      copy.textContent = "Copy";
      const told = document.createElement("span");
      told.setAttribute("role", "status");
      copy.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(code.textContent);
          told.textContent = "Copied.";
        } catch {  // a page without https has no clipboard
          getSelection().selectAllChildren(code);
          told.textContent = "Selected: press Ctrl+C.";
        }
      });
      box.append(heading, code, copy, told);
      const show = () => {
        code.textContent = model.get("code");
        told.textContent = "";
        box.hidden = !code.textContent;
      };
      model.on("change:code", show);
      show();
      el.append(box);
      return () => model.off("change:code", show);
    }
    export default {render};
    """
    _css = """
    .gct-code summary { cursor: pointer; color: var(--jp-ui-font-color1, inherit); }
    .gct-code pre { font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px);
                    color: var(--jp-content-font-color1, inherit); background: var(--jp-layout-color2, transparent);
                    border: 1px solid var(--jp-border-color2, #888); padding: 6px 8px; margin: 4px 0;
                    overflow-x: auto; white-space: pre; }
    .gct-code button { width: auto; padding: 0 12px; margin-right: 8px; }
    """
    code: Any = traitlets.Unicode("").tag(sync=True)
