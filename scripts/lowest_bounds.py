"""Print the lowest version that pyproject.toml declares of each package that users install, as pip constraints."""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
TOOLS = {"test", "dev"}


def main() -> None:
    """Print one `name==version` a line; exit 1 if a requirement has no lower bound."""
    extras = PROJECT["optional-dependencies"]
    requirements = {*PROJECT["dependencies"], *(r for name in extras.keys() - TOOLS for r in extras[name])}
    for requirement in sorted(requirements):
        if requirement.startswith(PROJECT["name"]):
            continue
        bound = re.match(r"([\w.-]+)>=([\w.]+)", requirement)
        if not bound:
            sys.exit(f"pyproject.toml: {requirement!r} has no lower bound (name>=version).")
        print(f"{bound[1]}=={bound[2]}")


if __name__ == "__main__":
    main()
