"""Execute the notebooks in place, so that their committed outputs are what they really show.

`python scripts/run_notebooks.py [NOTEBOOK …]`, all of them without arguments. What changes from run to run and is of no
use to a reader is left out: the state of widgets, references to it, and the times of execution.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def main(names: list[str]) -> None:
    """Execute each notebook; the first cell that fails ends the program with its traceback."""
    for path in [Path(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            for output in cell.get("outputs", []):
                # Without a kernel a reference to a widget shows as an error; its text shows as text.
                output.get("data", {}).pop(WIDGET_VIEW, None)
        nbformat.write(notebook, path)
        print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:])
