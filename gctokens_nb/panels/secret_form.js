// A form whose secrets live in this page only: in their input elements until the form is sent, then nowhere.
// They travel once, in a custom message. No trait ever holds them, so no saved notebook and no echo does either.

// JupyterLab takes keys pressed on a list, button or link for its own (M makes Markdown of the cell), but not on these.
function ownKeys(control) {
  control.dataset.lmSuppressShortcuts = "true";
}

function makeRow(field, value) {
  const element = document.createElement("div");
  element.className = "gct-row";
  if (field.kind === "link") {
    const link = document.createElement("a");
    link.href = field.href;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.textContent = field.label;
    ownKeys(link);
    element.append(document.createElement("span"), link);
    return { field, element, input: null };
  }
  const input = document.createElement(field.kind === "choice" ? "select" : "input");
  input.id = "gct-" + Math.random().toString(36).slice(2);
  ownKeys(input);
  const label = document.createElement("label");
  label.htmlFor = input.id;
  label.textContent = field.label;
  element.append(label, input);
  if (field.kind === "choice") {
    input.append(...field.options.map(([name, text]) => new Option(text, name)));
  } else {
    input.type = field.kind === "secret" ? "password" : "text";
    input.autocomplete = "off";
    input.autocapitalize = "off";
    input.spellcheck = false;
  }
  input.required = !field.optional;
  if (field.kind !== "secret") input.value = value ?? "";
  if (field.hint) {
    const hint = document.createElement("small");
    hint.id = input.id + "-hint";
    hint.textContent = field.hint;
    input.setAttribute("aria-describedby", hint.id);
    element.append(hint);
  }
  return { field, element, input };
}

function render({ model, el }) {
  const form = document.createElement("form");
  form.className = "gct-form";
  form.autocomplete = "off";
  const button = document.createElement("button");
  button.type = "submit";
  button.className = "jupyter-button widget-button mod-primary";
  ownKeys(button);
  let rows = [];
  let sent = false; // on its way to a kernel that may be busy

  const values = (wanted) =>
    Object.fromEntries(
      rows.filter((row) => row.input && row.shown && wanted(row.field)).map((row) => [row.field.name, row.input.value]),
    );

  const forget = () => {
    for (const { field, input } of rows) if (field.kind === "secret") input.value = "";
  };

  const show = () => {
    for (const row of rows) {
      row.shown = Object.entries(row.field.when ?? {}).every(([name, wanted]) =>
        rows.some((other) => other.field.name === name && other.shown && wanted.includes(other.input.value)),
      );
    }
    let next = button; // what is shown already stays in place, and so does the keyboard's focus
    for (const row of rows.toReversed()) {
      if (!row.shown) row.element.remove();
      else if (row.element.nextSibling !== next) form.insertBefore(row.element, next);
      if (row.shown) next = row.element;
    }
    button.textContent = sent ? "Sent…" : model.get("submit_label");
    button.hidden = !model.get("submit_label");
    button.disabled = button.hidden || sent || model.get("disabled");
  };

  const build = () => {
    const focused = form.contains(document.activeElement);
    const kept = model.get("values");
    forget();
    rows = model.get("fields").map((field) => makeRow(field, kept[field.name]));
    form.replaceChildren(button);
    show();
    if (focused) form.querySelector("a, input, select")?.focus();
  };

  const received = (message) => {
    if (message.type !== "received") return;
    sent = false;
    show();
  };

  form.addEventListener("change", () => {
    show();
    model.set("values", { ...model.get("values"), ...values((field) => field.kind !== "secret") });
    model.save_changes();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (button.disabled) return;
    const all = values(() => true);
    forget();
    sent = true;
    show();
    model.send({ type: "submit", values: all });
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.tagName === "INPUT") {
      event.preventDefault(); // a browser would do this by itself, but JupyterLab stops it
      if (!button.disabled) form.requestSubmit(button);
    } else if (event.key === "Escape") {
      forget();
      model.send({ type: "cancel" });
    }
  });
  model.on("change:fields", build);
  model.on("change:submit_label change:disabled", show);
  model.on("msg:custom", received);
  build();
  el.append(form);
  return () => {
    forget();
    model.off("change:fields", build);
    model.off("change:submit_label change:disabled", show);
    model.off("msg:custom", received);
  };
}

export default { render };
