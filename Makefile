PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test check bench
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up .venv and run the recipe digits: teacher to verdict, about a minute"
	@echo "make test    set up .venv with every extra and run the tests"
	@echo "make check   format, lint, types and the tests, which run 95 % of the lines or more: what CI runs"
	@echo "make bench   run every benchmark, then list the bars that do not hold (takes hours)"
	@echo
	@echo "PYTHON=python3.12 picks the interpreter of a new .venv (3.11 or newer)."
	@echo "LIMBECK_DATA=DIR is the folder of the real data sets, for test, check and bench."

demo: .venv/core.stamp
	$(BIN)/limbeck run digits --out runs/digits

test: .venv/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(COVERAGE)

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory test COVERAGE='--cov --cov-report term'

bench: .venv/dev.stamp
	set -e; for script in bench/[!_]*.py; do echo "$$script"; $(BIN)/python "$$script"; done
	$(BIN)/python bench/_bars.py

# pip is the last thing a new environment gets, so it is there only if the rest is.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"Limbeck needs Python 3.11 or newer; name one: make demo PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv

# One environment, two depths: the lean core for the demo, every extra and tool for the rest.
.venv/core.stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) --editable .
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) --editable '.[dev]'
	@touch .venv/core.stamp $@
