# make demo: see a job go through its life.  make test: everything that CI runs.  make help: the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# The interpreter that makes the virtual environment; 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
# Processes of pytest: the contract waits for daemons most of the time.
WORKERS ?= 4
# Cells of the test matrix (python -m tools.cells) at a time; each has its containers, some 300 MB
JOBS ?= 2
# Which cells: make test CELLS='quick slurm-22.05'; by default those that the target says
CELLS ?=
# More words for pytest: make test PYTEST='-k walltime -x'
PYTEST ?=
BENCH ?=

BIN := $(VENV)/bin
STEP := tools/step.sh
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Compiled modules are kept, and out of the way: each of a hundred processes would compile them anew
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache
# An advertisement that mkdocs-material prints as a warning
export NO_MKDOCS_2_WARNING := 1
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# For the inner loop: pure tests, and the contract on local processes and an SSH server inside the test.
INNER := -n $(WORKERS) -m 'not testbed and not slow' tests/unit tests/contract

RUN_CELLS := python -m tools.run_cells --jobs $(JOBS) --workers $(WORKERS) --pytest='$(PYTEST)'

.PHONY: help demo test test-all cells test-quick testbed record bench docs lint format clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.installed ## a job's whole life on this machine, in under 20 seconds
	@tools/demo.sh

test: lint docs ## what CI runs: gates, docs, each system in its newest version, each shape, three Pythons
	@$(STEP) --last "tests" $(RUN_CELLS) $(CELLS)

test-all: lint docs ## every cell of the matrix; goes on where it was stopped; results in testbed/results
	@$(STEP) --last "tests" $(RUN_CELLS) --all --record --resume $(CELLS)

cells: $(VENV)/.installed-dev ## the tests alone, of CELLS='...'
	@$(STEP) --last "tests" $(RUN_CELLS) $(CELLS)

test-quick: $(VENV)/.installed-dev ## the inner loop: unit tests, and the contract without a container
	@$(STEP) --last "quick tests" python -m pytest $(INNER) $(PYTEST)

testbed: $(VENV)/.installed-dev ## make the images of the real batch systems (python -m testbed up STACK starts one)
	@$(STEP) "testbed images" python -m testbed setup

record: $(VENV)/.installed-dev ## record anew what every Slurm of the testbed says, into tests/transcripts
	@$(STEP) "recordings" python -m tools.record

bench: $(VENV)/.installed-dev ## measure against raw commands; JSON in bench-results/
	@$(STEP) "benchmarks" python -m benchmarks $(BENCH)

docs: $(VENV)/.installed-dev ## build the documentation into site/
	@$(STEP) "documentation" python -m mkdocs build --strict --quiet

lint: $(VENV)/.installed-dev ## every gate that runs nothing
	@code=0; \
	$(STEP) "ruff check" ruff check . || code=1; \
	$(STEP) "ruff format" ruff format --check . || code=1; \
	$(STEP) "ty" ty check --error-on-warning --python $(VENV) || code=1; \
	$(STEP) "imports go down only" lint-imports --no-cache --no-logo || code=1; \
	$(STEP) "shellcheck" python -m tools.check_shell || code=1; \
	$(STEP) "generated parts" python -m tools.generate --check || code=1; \
	exit $$code

format: $(VENV)/.installed-dev ## let ruff format, and make the generated pages anew
	@ruff check --fix . && ruff format .
	@python -m tools.generate

clean: ## remove what the targets above made; images of the testbed stay
	rm -rf $(VENV) site test-results bench-results build dist .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(STEP) "virtual environment in $(VENV)" "$(PYTHON)" -m venv "$(VENV)"

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@$(STEP) "install" $(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@$(STEP) "install, with the tools of development" $(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed
