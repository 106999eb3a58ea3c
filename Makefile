# Everything a person runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Where it is set, each of the many processes that the tests start would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test up check format bench lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# --no-deps because plain pip cannot resolve extras of hashed pins; `pip check` proves the set.
$(READY): requirements.lock pyproject.toml
	@echo "Setting up .venv (once; about a minute) …"
	@$(PYTHON) -c 'import sys; sys.exit("Headway needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock 2> .venv/pip.log || { cat .venv/pip.log; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . 2>> .venv/pip.log || { cat .venv/pip.log; exit 1; }
	@$(BIN)/python -m pip check --disable-pip-version-check 2>> .venv/pip.log
	@touch $(READY)

demo: $(READY) ## the main job on real data, explained step by step
	@mkdir -p .headway/prefect
	@PREFECT_HOME="$(CURDIR)/.headway/prefect" PREFECT_LOGGING_LEVEL=WARNING $(BIN)/python -m flows.demo

up: $(READY) ## Postgres, Prefect server, worker and all deployments, until Ctrl-C
	@$(BIN)/headway up

test: $(READY) ## every check, then the whole test suite
	@$(MAKE) --no-print-directory check
	@$(BIN)/pytest -n 3 --dist worksteal

check: $(READY) ## format, lint, types, imports
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet --no-cache .
	@$(BIN)/mypy --no-error-summary --num-workers 2
	@$(BIN)/lint-imports --no-cache > .venv/imports.log || { cat .venv/imports.log; exit 1; }
	@echo "format, lint, types and imports are clean"

format: $(READY) ## put the code in form
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

bench: $(READY) ## measure speed, error rates, coverage; replay real experiments; JSON lines
	@failed=0; for part in "" .coverage .srm .decisions .bandits .adaptive_simulations .adaptive_segments .rollouts .watching .asos; do $(BIN)/python -m benchmarks$$part || failed=1; done; exit $$failed

lock: $(READY) ## pin the newest allowed versions in requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade \
		--generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
		pyproject.toml --output-file requirements.lock

clean: ## remove the environment and all local state
	rm -rf .venv .headway
