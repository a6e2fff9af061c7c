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
# More words for pytest: make test PYTEST='-k slurm -x'
PYTEST ?=
BENCH ?=

BIN := $(VENV)/bin
STEP := tools/step.sh
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Compiled modules are kept, and out of the way
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache
# An advertisement that mkdocs-material prints as a warning
export NO_MKDOCS_2_WARNING := 1
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# For the inner loop: pure tests, and the contract on local processes and an SSH server inside the test.
INNER := -n $(WORKERS) -m 'not testbed' tests/unit tests/contract
# All that needs no container.
QUICK := -n $(WORKERS) -m 'not testbed' tests

.PHONY: help demo test test-quick testbed bench docs lint format newer-python clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.installed ## a job's whole life on this machine, in under 20 seconds
	@tools/demo.sh

test: lint docs testbed newer-python ## everything: gates, docs, both Pythons, and the contract in all places
	@$(STEP) --last "tests, on Python $$(python -c 'import platform; print(platform.python_version())')" \
	  python -m pytest -n $(WORKERS) tests $(PYTEST)

test-quick: $(VENV)/.installed-dev ## under a minute: unit tests, and the contract without a container
	@$(STEP) --last "quick tests" python -m pytest $(INNER) $(PYTEST)

newer-python: $(VENV)/.installed-dev ## the quick suite on a newer Python than that of the environment
	@$(STEP) "quick tests on a newer Python" tools/newer_python.sh $(QUICK)

testbed: $(VENV)/.installed-dev ## make the images of the real batch systems (python -m testbed up STACK starts one)
	@$(STEP) "testbed images" python -m testbed setup

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
	rm -rf $(VENV) $(VENV)-newer site test-results bench-results build dist .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(STEP) "virtual environment in $(VENV)" "$(PYTHON)" -m venv "$(VENV)"

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@$(STEP) "install" $(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@$(STEP) "install, with the tools of development" $(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed
