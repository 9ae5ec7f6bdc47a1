# Everything runs from the environment in .venv, installed from the hashed requirements. `uv` is used where it is there and
# fetched into .tools where it is not, so that a fresh machine needs Python 3.11+, pip and make only.
PYTHON ?= python3
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
BIN := .venv/bin
SECONDS_OF_DEMO ?= 12
DEMO ?= --seconds $(SECONDS_OF_DEMO)
BENCH = $(if $(QUICK),--quick,)

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint format docs bench requirements clean parts

help:                      ## What can be made
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | column -t -s '|' 2>/dev/null || grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST)

demo: .venv/run            ## Simulated exchange -> real client -> embedded Kafka and registry, with a live view
	@$(BIN)/k2 demo $(DEMO)

test: .venv/dev parts lint ## All checks and all tests, against a real Kafka and a real registry that this starts itself
	$(BIN)/python scripts/run_tests.py

unit: .venv/dev            ## The tests that need no servers
	$(BIN)/python -m pytest -m "not real"

parts: .venv/dev           ## Fetch Kafka and the registry for the tests
	@cd tests && ../$(BIN)/python -m kit.jars

lint: .venv/dev            ## Style, types, and files that are generated
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/generate_docs.py --check
	$(BIN)/python scripts/generate_dashboards.py --check
	$(BIN)/python scripts/generate_deploy.py --check

format: .venv/dev          ## Bring the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/dev            ## Write anew what is generated: parts of the documents, the dashboards, the rules for Kubernetes
	$(BIN)/python scripts/generate_docs.py
	$(BIN)/python scripts/generate_dashboards.py
	$(BIN)/python scripts/generate_deploy.py

bench: .venv/dev parts     ## CPU per message against the floor and the textbook; QUICK=1 for under a minute
	$(BIN)/python -m benchmarks.client $(BENCH)

requirements: $(UV)        ## Export the exact, hashed requirements after a change of dependencies
	$(UV) lock --quiet
	$(UV) export --quiet --format requirements-txt --no-emit-project --no-header --output-file requirements/run.txt
	$(UV) export --quiet --format requirements-txt --no-emit-project --no-header --group dev --output-file requirements/dev.txt

clean:                     ## Remove what was installed and fetched
	rm -rf .venv .tools .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

.tools/bin/uv:
	@echo "fetching uv"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .tools uv==0.13.8

.venv/bin/python: | $(UV)
	@$(UV) venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv

.venv/run: requirements/run.txt pyproject.toml | .venv/bin/python $(UV)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements/run.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.venv/dev: requirements/dev.txt .venv/run
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements/dev.txt
	@touch $@
