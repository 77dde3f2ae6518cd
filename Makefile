# Two targets do all the set-up: `make lab` and `make test`. Each environment is made once, in a folder of its own,
# from pinned packages, and made anew when the pins or pyproject.toml change.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := -m pip install --quiet --no-compile -c constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests mostly wait for answers, so more of them than there are cores run side by side, a file at a time. The long ones
# are shared out singly: their longest file would otherwise decide how long they take.
PARALLEL := -n 4 --dist loadfile
# JupyterLab wants to be told that root is meant (containers).
ROOT_OK := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: lab app test lint unit browser notebooks-test attack contract lowest wheel rehearse bench mutants constraints clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

## For users

lab: .venv/.user            # JupyterLab on the first notebook, which starts the sandbox
	$(BIN)/jupyter lab $(ROOT_OK) notebooks/00_start_here.ipynb

app: .venv/.user            # the dashboard as a web application
	$(BIN)/voila notebooks/dashboard.ipynb

## Checks; `make test` runs every one

test: lint unit wheel lowest contract notebooks-test rehearse browser

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: .venv/.dev            # coverage.report.fail_under in pyproject.toml is enforced here; the long tests are not counted
	$(BIN)/pytest $(PARALLEL) -m "not long" tests --ignore=tests/browser --cov
	$(BIN)/pytest $(PARALLEL) --dist worksteal -m long tests --ignore=tests/browser

browser: .venv/.dev
	GCTOKENS_CHROMIUM="$$(scripts/chromium)" && export GCTOKENS_CHROMIUM && $(BIN)/pytest -n 2 --dist loadfile tests/browser

notebooks-test: .venv/.dev  # strict: the committed outputs are what the notebooks show
	$(BIN)/pytest -n 2 --dist loadfile --nbval --nbval-current-env --nbval-sanitize-with notebooks/sanitize.cfg notebooks

attack: .venv/.dev          # every call against every hostile answer, and fifty SIGKILLs; `unit` has a part of them
	GCTOKENS_EXHAUSTIVE=1 $(BIN)/pytest $(PARALLEL) tests/attack tests/revocation/test_revocation_killed.py

contract: .venv-sdk/.ready  # the official Python SDK against the sandbox
	.venv-sdk/bin/pytest tests/contract

wheel: .venv-wheel/.ready   # only the wheel and what it depends on
	.venv-wheel/bin/python -I scripts/check_wheel.py

# The wheel with the lowest versions that pyproject.toml declares. PYTHONSAFEPATH keeps the checkout from being imported.
# The attacks, the sandbox's own tests, the notebooks and what is marked `long` are left to `unit`: they are about the
# logic here rather than the versions below.
lowest: .venv-lowest/.ready dist/.built
	.venv-lowest/bin/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl
	PYTHONSAFEPATH=1 .venv-lowest/bin/pytest $(PARALLEL) -m "not long" tests --ignore=tests/browser --ignore=tests/sandbox --ignore=tests/test_documents.py

rehearse: .venv/.dev        # what Binder does, without Docker
	$(BIN)/python scripts/rehearse_binder.py

bench: .venv/.dev .venv-sdk/.ready  # ratios against peers, each side by side in one run
	$(BIN)/python benchmarks/import_cost.py
	$(BIN)/python benchmarks/cold_start.py --sdk-python .venv-sdk/bin/python
	$(BIN)/python benchmarks/token_call.py
	$(BIN)/python benchmarks/bulk.py --sdk-python .venv-sdk/bin/python
	GCTOKENS_CHROMIUM="$$(scripts/chromium)" && export GCTOKENS_CHROMIUM && $(BIN)/python benchmarks/panels.py

# Changes the code in some 2,700 places, one at a time, and counts the changes that no test notices. An hour or more;
# tests/MUTANTS.md has the figures and what is said to each survivor.
mutants: .venv-mutants/.ready
	.venv-mutants/bin/mutmut run
	.venv-mutants/bin/mutmut results

## Environments

.venv/pyvenv.cfg:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/.user: pyproject.toml constraints.txt | .venv/pyvenv.cfg
	$(BIN)/python $(INSTALL) -e '.[all]'
	touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/pyvenv.cfg
	$(BIN)/python $(INSTALL) -e '.[dev]'
	touch $@ .venv/.user

.venv-sdk/.ready: pyproject.toml constraints.txt tests/contract/requirements.txt
	$(PYTHON) -m venv --clear .venv-sdk
	.venv-sdk/bin/python $(INSTALL) -e '.[test]' -r tests/contract/requirements.txt
	touch $@

.venv-mutants/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-mutants
	.venv-mutants/bin/python $(INSTALL) -e '.[all,test]' mutmut==3.8.1
	touch $@

dist/.built: pyproject.toml README.md LICENSE $(shell find gctokens_nb -type f -not -path '*/__pycache__/*') | .venv/pyvenv.cfg
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	touch $@

.venv-wheel/.ready: dist/.built constraints.txt
	$(PYTHON) -m venv --clear .venv-wheel
	.venv-wheel/bin/python $(INSTALL) dist/*.whl
	touch $@

# Both lists bind: pip refuses if a bound in pyproject.toml has moved and constraints-lowest.txt has not.
.venv-lowest/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv --clear .venv-lowest
	$(PYTHON) scripts/lowest_bounds.py > .venv-lowest/bounds.txt
	.venv-lowest/bin/python -m pip install --quiet --no-compile -c constraints-lowest.txt -c .venv-lowest/bounds.txt '.[all,test]'
	touch $@

# Take the newest of everything, and the lowest with the newest of what that brings. Run it, then `make test`.
constraints:
	rm -rf .venv-freeze && $(PYTHON) -m venv .venv-freeze
	.venv-freeze/bin/python -m pip install --quiet -e '.[dev]'
	{ echo '# Made by `make constraints`: what CI and Binder install.'; \
		.venv-freeze/bin/python -m pip freeze --exclude-editable; } > constraints.txt
	rm -rf .venv-freeze && $(PYTHON) -m venv .venv-freeze
	$(PYTHON) scripts/lowest_bounds.py > .venv-freeze/bounds.txt
	.venv-freeze/bin/python -m pip install --quiet -c .venv-freeze/bounds.txt -e '.[all,test]'
	{ echo '# Made by `make constraints`: the lowest versions that pyproject.toml declares, and what they bring.'; \
		.venv-freeze/bin/python -m pip freeze --exclude-editable; } > constraints-lowest.txt
	rm -rf .venv-freeze

clean:
	rm -rf .venv .venv-* mutants dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
