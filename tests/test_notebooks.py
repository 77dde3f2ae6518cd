"""The committed notebooks hold what they show, and nothing that they should not."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parents[1].joinpath("notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    """Each committed notebook."""
    return nbformat.read(request.param, as_version=4)


def test_each_cell_that_shows_something_has_its_output_committed(notebook: nbformat.NotebookNode) -> None:
    """nbval passes over a cell without committed outputs, so stripped outputs must fail here."""
    fresh = copy.deepcopy(notebook)
    NotebookClient(fresh, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS[0].parent)}}).execute()
    for committed, ran in zip(notebook.cells, fresh.cells, strict=True):
        if committed.cell_type == "code":
            kinds = [[output.output_type for output in cell.outputs] for cell in (committed, ran)]
            assert kinds[0] == kinds[1], committed.source


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
