"""The package as a whole: what importing it does, and what it promises about itself."""

from __future__ import annotations

import importlib.resources
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gctokens_nb as gct


def in_a_fresh_process(code: str, **variables: str) -> str:
    """What a new interpreter prints that runs the code; its warnings are errors."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:gctokens_nb", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_importing_loads_neither_pandas_nor_widgets_nor_the_server():
    """`import gctokens_nb` loads what it needs to call, and nothing of tables, panels and the sandbox."""
    loaded = json.loads(
        in_a_fresh_process("import sys, json, gctokens_nb; print(json.dumps(sorted(sys.modules)))")
    )
    heavy = {
        "pandas",
        "numpy",
        "ipywidgets",
        "IPython",
        "anywidget",
        "itables",
        "tornado",
        "asyncio",
        "sqlite3",
        "keyring",
    }
    assert heavy.isdisjoint(loaded)
    assert {"gctokens_nb.sandbox", "gctokens_nb.frames", "gctokens_nb.panels"}.isdisjoint(loaded)


def test_importing_has_no_side_effects(tmp_path: Path):
    """Importing starts no thread, opens no socket, sets up no logging, changes no environment and writes no file."""
    code = """
import logging, os, signal, socket, sys, threading, warnings
import requests
before = (dict(os.environ), sorted(os.listdir()), signal.getsignal(signal.SIGINT), list(warnings.filters),
          sys.excepthook, socket.getdefaulttimeout())
def refuse(*_, **__): raise SystemExit("a socket was made")
socket.socket.connect = refuse
import gctokens_nb
after = (dict(os.environ), sorted(os.listdir()), signal.getsignal(signal.SIGINT), list(warnings.filters),
         sys.excepthook, socket.getdefaulttimeout())
assert before == after
assert threading.enumerate() == [threading.main_thread()]
assert not logging.root.handlers and not logging.getLogger("gctokens_nb").handlers
assert logging.getLogger("gctokens_nb").level == logging.NOTSET
print("nothing happened")
"""
    script = f"import os; os.chdir({str(tmp_path)!r})\n{code}"
    assert in_a_fresh_process(script, PYTHONDONTWRITEBYTECODE="1") == "nothing happened"


def test_tables_are_loaded_when_they_are_used():
    """`gct.frames` loads pandas at its first use, and is the module afterwards."""
    code = """
import sys, gctokens_nb as gct
assert "pandas" not in sys.modules
gct.frames.token_info([])
assert "pandas" in sys.modules and gct.frames is sys.modules["gctokens_nb.frames"]
print("ok")
"""
    assert in_a_fresh_process(code) == "ok"


@pytest.mark.parametrize(
    ("missing", "use"),
    [
        ("pandas", "gctokens_nb.frames"),
        ("pandas", "gctokens_nb.plan_revocation"),
        ("pandas", "gctokens_nb.credentials.sources()"),
        ("ipywidgets", "gctokens_nb.panels.Dashboard"),
        ("itables", "gctokens_nb.panels.BulkRevokePanel"),
    ],
)
def test_a_missing_extra_says_how_to_get_it(missing: str, use: str):
    """Without what an extra brings, the calls work, and the rest says what to install."""
    code = f"""
import sys
sys.modules[{missing!r}] = None  # as if it were not installed
import gctokens_nb
assert gctokens_nb.connect_sandbox().tokens.get_tokens_me().organization.name
try:
    {use}
except ModuleNotFoundError as error:
    print(error)
"""
    name = use.removeprefix("gctokens_nb.panels.")
    name = name.removeprefix("gctokens_nb.") if name.endswith("()") else name
    expected = f"{name} needs {missing}, which is not installed: pip install 'gctokens-nb[notebook]'"
    assert in_a_fresh_process(code) == expected


def test_all_is_sorted_and_true():
    """`__all__` is sorted, every name in it exists, and `dir()` knows the lazy ones."""
    assert gct.__all__ == sorted(gct.__all__)
    assert len(set(gct.__all__)) == len(gct.__all__)
    assert all(hasattr(gct, name) for name in gct.__all__)
    assert set(gct.__all__) <= set(dir(gct))


@pytest.mark.parametrize("name", [name for name in gct.__all__ if callable(getattr(gct, name))])
def test_every_public_name_is_documented(name: str):
    """Each public class and function says what it is."""
    documented = getattr(gct, name).__doc__
    assert documented
    assert len(documented) > 30


def test_an_unknown_name_is_an_attribute_error():
    """A name that does not exist is the usual error."""
    with pytest.raises(AttributeError, match="module 'gctokens_nb' has no attribute 'nonsense'"):
        _ = gct.nonsense


def test_it_is_typed():
    """The package carries `py.typed`, so that type checkers read its annotations."""
    assert importlib.resources.files(gct).joinpath("py.typed").is_file()


def test_there_is_no_global_configuration():
    """The package has no mutable module-level setting that a second connection would share."""
    mutable = {
        name
        for name, value in vars(gct).items()
        if isinstance(value, (dict, list, set)) and not name.startswith("_")
    }
    assert mutable == set()


def test_the_version_is_the_distributions():
    """`__version__` is the version in pyproject.toml."""
    import tomllib

    project = Path(gct.__file__).parent.parent / "pyproject.toml"
    if project.exists():
        assert tomllib.loads(project.read_text())["project"]["version"] == gct.__version__
    else:
        import importlib.metadata

        assert importlib.metadata.version("gctokens-nb") == gct.__version__


def test_the_main_job_in_a_cold_process():
    """Sandbox, sign-in, token, table, revocation and proof, in a process that ends by itself and says nothing."""
    code = """
import gctokens_nb as gct
gc = gct.connect_sandbox()
info = gc.tokens.get_tokens_me()
print(len(gct.frames.token_info(info)), info.organization.name)
gc.tokens.delete_tokens_me(verify=True)
"""
    assert in_a_fresh_process(code) == "1 Cumulus Airlines"


def test_a_port_in_use_is_told():
    """A sandbox on a port that is taken says which port, and what to do."""
    from gctokens_nb.sandbox import Sandbox, SandboxError

    with Sandbox() as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(
            SandboxError, match=rf"port {port} of 127\.0\.0\.1 is in use: choose another, or 0"
        ):
            gct.connect_sandbox(port=port)
