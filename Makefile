# The verbs of this project. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format pytest faults bench bench-sweep meltano targets airbyte docs image clean

help: ## List the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml tap_d365fo/__init__.py
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/python -m uv pip install -q --compile-bytecode --python $(BIN)/python -e . --group dev
	@touch $@

setup: $(STAMP) ## Make the environment in .venv

demo: ## Sandbox, discovery, two runs into a database file; needs nothing but python3 and make
	@$(PYTHON) scripts/demo.py

test: check pytest ## Everything that CI runs: lint, types, import contracts, tests

check: $(STAMP) ## Lint, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## Let the formatter have the final word
	@$(BIN)/ruff check --fix-only -q . ; $(BIN)/ruff format .

pytest: $(STAMP) ## The tests alone
	@$(BIN)/python -m pytest -q -n auto

faults: $(STAMP) ## Every fault alone, in pairs and in a seeded storm; random sweeps; into docs/faults.md (long)
	@$(BIN)/python -m tests.faults.suite --full --write

bench: $(STAMP) ## Benchmarks against a vanilla tap and the floor, into docs/benchmarks.md (long)
	@$(BIN)/python -m benchmarks.run

bench-sweep: $(STAMP) ## What change sweeps cost against full reads, into docs/benchmarks-sweeps.md
	@$(BIN)/python -m benchmarks.sweeps

meltano: $(STAMP) ## Meltano with a real PostgreSQL, compared with the sandbox's truth
	@$(BIN)/python scripts/meltano.py

targets: $(STAMP) ## The tap into every Singer target that installs, into docs/targets.md
	@$(BIN)/python scripts/targets.py

airbyte: $(STAMP) ## PyAirbyte and Airbyte's own standard tests against the sandbox
	@$(BIN)/python scripts/airbyte.py

docs: $(STAMP) ## Remedies, recorded walk and pictures of the documentation (wants Debian's chromium)
	@$(BIN)/python -m uv pip install -q --python $(BIN)/python --group docs
	@$(BIN)/python scripts/docs.py

image: ## Build the container image where docker or buildah is there
	@bash scripts/image.sh

clean: ## Remove environments and output
	rm -rf $(VENV) .envs .demo .meltano-run dist build
