"""README and the notebooks: what they show is what runs, and what their prose names is there."""

from __future__ import annotations

import ast
import builtins
import copy
import importlib
import inspect
import json
import pkgutil
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests
from nbclient import NotebookClient

import gctokens_nb as gct
from gctokens_nb.panels import Dashboard, Panel
from gctokens_nb.sandbox import Sandbox

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.joinpath("notebooks").glob("*.ipynb"))
README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Of others: the official SDK, urllib3, HTTP. Everything else in backticks must be ours, or Python's.
FOREIGN = {"PureCloudPlatformClientV2", "MaxRetryError", "outdated_sdk_version", "Set-Cookie", "http"}
FOREIGN |= {"DELETE /api/v2/oauth/clients/x", '{"ok": true}'}
# They ask a person, or change the keyring: it is checked that they can be called so.
ONLY_BOUND = ("gct.connect(", "gct.credentials.save_secret(", "begun.finish()")


def inline_code(markdown: str) -> list[str]:
    """What stands in backticks in the prose."""
    return INLINE.findall(FENCED.sub("", markdown))


# What may stand in backticks


def is_expression(code: str) -> bool:
    """Whether it is a call or an attribute, such as `gct.login().connection`."""
    try:
        parsed = ast.parse(code, mode="eval").body
    except SyntaxError:
        return False
    named = [node.id for node in ast.walk(parsed) if isinstance(node, ast.Name)]
    return (
        isinstance(parsed, ast.Call | ast.Attribute)
        and bool(named)
        and not (is_file(code) or is_own_file(code))
    )


def run_expression(code: str, names: dict[str, Any], only_bound: tuple[str, ...]) -> None:
    """Run it among the `names` of a document; in a kernel too, so it uses nothing of this module."""
    import ast
    import importlib
    import inspect

    parsed = left = ast.parse(code, mode="eval").body
    while not isinstance(left, ast.Name):
        left = left.func if isinstance(left, ast.Call) else left.value
    root = left.id
    names = names if root in names else {**names, root: importlib.import_module(root)}
    if isinstance(parsed, ast.Call) and code.startswith(only_bound):
        keywords = dict.fromkeys(keyword.arg for keyword in parsed.keywords)
        inspect.signature(eval(ast.unparse(parsed.func), names)).bind(*parsed.args, **keywords)
    else:
        eval(code, names)


def is_file(code: str) -> bool:
    """Whether it is a file or folder of the repository, a notebook or a module, each under its short name."""
    places = [code, f"notebooks/{code}", f"notebooks/{code}.ipynb", f"tests/{code}", f"tests/contract/{code}"]
    places += [f"gctokens_nb/{code}.py", f"gctokens_nb/{code}"]
    return bool(re.fullmatch(r"[\w./-]+", code)) and any(ROOT.joinpath(place).exists() for place in places)


def is_own_file(code: str) -> bool:
    """Whether it is a file of the reader, or how its name ends."""
    return bool(re.fullmatch(r"[\w-]*\.(csv|xlsx|html|sqlite|parquet)", code))


def runs_in_a_shell(line: str) -> bool:
    """Whether it is a command whose targets, extras and files exist; one of another kind is none that we know."""
    line = line.replace("\\", "/").replace(".venv/Scripts/", "").partition("  #")[0].strip()
    program, *words = line.split()
    if program == "make":
        return bool(re.search(rf"^{words[0]}:", ROOT.joinpath("Makefile").read_text(), re.MULTILINE))
    if program == "pip":
        known = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]["optional-dependencies"]
        extras = re.findall(r"\[(\w+)\]", line)
        return words[0] == "install" and set(extras) <= set(known)
    if program in {"voila", "jupyter", "papermill"} or line.startswith("python scripts/"):
        files = [word for word in words if word.endswith((".ipynb", ".py")) and word != "done.ipynb"]
        return bool(files) and all(map(is_file, files))
    return line == "py -m venv .venv" or line.startswith("python -m gctokens_nb.sandbox ")


@pytest.fixture(scope="module")
def vocabulary() -> set[str]:
    """The names of the package: of its modules, classes, methods, parameters and fields, and Python's own."""
    names = {*dir(builtins), *sys.stdlib_module_names, "requests"}
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(gct.__path__, "gctokens_nb.")
        if not found.name.endswith("__main__")
    ]
    for module in modules:
        names |= {*module.__name__.split("."), *vars(module)}
        for thing in vars(module).values():
            for one in (thing, *(vars(thing).values() if isinstance(thing, type) else ())):
                names |= {getattr(one, "__name__", ""), *vars(thing)} if isinstance(thing, type) else set()
                if inspect.isfunction(one):
                    names |= set(inspect.signature(one).parameters)
    with Sandbox() as sandbox:
        return names | {user.email for user in sandbox.users}


SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.joinpath("gctokens_nb").rglob("*.py"))


def unknown_code(markdown: str, vocabulary: set[str]) -> list[str]:
    """What stands in backticks and is neither ours nor Python's. Expressions are left to `run_expression`."""
    left = []
    for code in inline_code(markdown):
        keyword = re.fullmatch(r"(\w+)=(True|False|None)?", code)
        name = keyword[1] if keyword else code
        if is_file(code) or is_own_file(code) or code in FOREIGN or name in vocabulary or is_expression(code):
            continue
        if re.search(
            rf"(?<![\w.]){re.escape(code.strip('…'))}(?!\w)", SOURCE
        ):  # a permission, a variable of the environment, …
            continue
        if re.match(r"(import|make|pip|python|voila|papermill) ", code) and (
            code.startswith("import ") or runs_in_a_shell(code)
        ):
            continue
        left.append(code)
    return left


# README


@pytest.fixture
def own_organization(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """The environment of somebody who has an organization: here a sandbox stands for it."""
    known = sandbox.client("admin")
    monkeypatch.setenv("GENESYSCLOUD_REGION", sandbox.environment)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", known.client_id)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", known.client_secret)


def test_readme_runs_as_written(
    own_organization: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block of Python in README, from top to bottom, in a folder of its own; then what its prose calls."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    shown = []
    for language, block in FENCED.findall(README):
        if language != "python":
            continue
        for statement in ast.parse(block).body:
            if isinstance(statement, ast.Expr):
                shown.append(eval(ast.unparse(statement), names))
            else:
                exec(ast.unparse(statement), names)
    widgets = [one for one in shown if isinstance(one, Panel | Dashboard)]
    assert len(widgets) >= 5, "the panels are among what was shown"
    for widget in widgets:
        widget.close()
    assert {"leavers.sqlite", "evidence.html"} <= {path.name for path in tmp_path.iterdir()}
    for code in filter(is_expression, inline_code(README)):
        if code.startswith("gct.") or code.partition(".")[0] in names:
            run_expression(code, names, ONLY_BOUND)


def test_what_readme_says_of_single_calls(gc: gct.Connection) -> None:
    """The calls that its prose names without a connection are calls of one, and raise as it says."""
    for code in filter(is_expression, inline_code(README)):
        if code.startswith("delete_token("):
            with pytest.raises(gct.errors.InvalidUserIdError):
                eval(f"gc.tokens.{code}", {"gc": gc})


def test_the_commands_of_readme_exist() -> None:
    """Each line of each block for a shell: targets, extras and files are there."""
    lines = [
        line
        for language, block in FENCED.findall(README)
        if language == "shell"
        for line in block.splitlines()
    ]
    assert lines
    assert [line for line in lines if not runs_in_a_shell(line)] == []


def test_the_sandbox_command_of_readme_prints_its_line() -> None:
    """`python -m gctokens_nb.sandbox …` as it stands there: one line of JSON with address, clients and users."""
    [command] = re.findall(r"^python -m gctokens_nb\.sandbox .*$", README, re.MULTILINE)
    words = [sys.executable, *command.split()[1:]]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        try:
            told = json.loads(process.stdout.readline())
            assert len(told["users"]) == 20
            assert told["clients"]
            assert requests.get(f"{told['base_url']}/api/v2/tokens/me", timeout=20).status_code == 401
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


def test_what_readme_names_is_there(vocabulary: set[str]) -> None:
    """Everything in backticks is a file, a command, a name of this package or an expression that another test runs."""
    assert unknown_code(README, vocabulary) == []


def test_the_links_of_readme_lead_somewhere() -> None:
    """Files are there, and so are headings."""
    headings = {
        "#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    }
    for link in LINK.findall(README.replace("\n", " ")):
        assert link.startswith("https://") or link in headings or ROOT.joinpath(link).exists(), link


# Notebooks


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    """Each committed notebook."""
    return nbformat.read(request.param, as_version=4)


def prose(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """The markdown cells."""
    return (cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_run_all_shows_what_is_committed_and_leaves_all_alive(notebook: nbformat.NotebookNode) -> None:
    """After Run All, each panel of the notebook still works, and so does each expression of its prose.

    nbval passes over a cell without committed outputs, so stripped outputs must fail here.
    """
    fresh = copy.deepcopy(notebook)
    expressions = [code for text in prose(notebook) for code in inline_code(text) if is_expression(code)]
    checks = ["from typing import Any"]
    checks += [inspect.getsource(run_expression), inspect.getsource(refresh_panels), "refresh_panels()"]
    checks += [f"run_expression({code!r}, globals(), {ONLY_BOUND!r})" for code in expressions]
    fresh.cells += [nbformat.v4.new_code_cell(check) for check in checks]
    folder = str(NOTEBOOKS[0].parent)
    # A slow machine sends what a cell prints in several messages, which are one output.
    NotebookClient(
        fresh, timeout=120, iopub_timeout=60, resources={"metadata": {"path": folder}}, coalesce_streams=True
    ).execute()
    for committed, ran in zip(notebook.cells, fresh.cells, strict=False):
        if committed.cell_type == "code":
            kinds = [[output.output_type for output in cell.outputs] for cell in (committed, ran)]
            assert kinds[0] == kinds[1], committed.source


def refresh_panels() -> None:
    """In a kernel: each panel that is shown asks again, as a user would; none may find its token dead."""
    import ipywidgets

    from gctokens_nb.panels import Dashboard, LoginPanel
    from gctokens_nb.panels.connected import ConnectedPanel

    live = list(ipywidgets.widgets.widget._instances.values())
    for login in (one for one in live if isinstance(one, LoginPanel) and one._connection):
        login.connection.tokens.get_tokens_me()
    panels = [one for one in live if isinstance(one, ConnectedPanel)]
    assert panels or not any(isinstance(one, Dashboard) for one in live)
    for panel in panels:
        panel.wait()
        panel.refresh()
        panel.wait()
        assert panel.sign_in_button.layout.display != "", f"{panel}: {panel.status.text}"
        assert panel.status.kind != "error", f"{panel}: {panel.status.text}"


def test_what_the_prose_names_is_there(notebook: nbformat.NotebookNode, vocabulary: set[str]) -> None:
    """Everything in backticks is a file, a command, a name of this package or of the notebook, or an expression."""
    trees = [ast.parse(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    own = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    values = {str(node.value) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert [code for text in prose(notebook) for code in unknown_code(text, vocabulary | own | values)] == []


def test_the_links_and_commands_of_the_prose_lead_somewhere(notebook: nbformat.NotebookNode) -> None:
    """Files are there; a fenced block is a command whose files are there."""
    for text in prose(notebook):
        for link in LINK.findall(text):
            assert link.startswith("https://") or ROOT.joinpath("notebooks", link).exists(), link
        for language, block in FENCED.findall(text):
            if language == "python":
                compile(block, "prose", "exec")
            else:
                assert [line for line in block.splitlines() if not runs_in_a_shell(line)] == []


def test_no_widget_state_no_error_and_no_place_is_committed(notebook: nbformat.NotebookNode) -> None:
    """Neither widget state, nor a reference to a widget that is no more, nor an error, nor a folder of somebody's machine."""
    assert "widgets" not in notebook.metadata
    text = json.dumps(notebook)
    assert "vnd.jupyter.widget" not in text
    assert not re.search(r'"output_type": "error"', text)
    assert not re.search(r"(/home/|/root/|/tmp/|/Users/|[A-Z]:\\\\\\\\)", text)


def test_there_are_notebooks() -> None:
    """The tests above have something to read."""
    assert NOTEBOOKS
