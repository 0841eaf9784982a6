# The whole developer interface. Everything is installed into .venv and a user cache; see CONTRIBUTING.md.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
NAME ?=
NODES ?= 2
GPUS ?= 4
KWOK ?= 0
STAMP := .venv/.installed
GENERATED := crds helm docs/chart.md docs/metrics.md docs/failure-classes.md docs/faults.md docs/runbooks.md docs/reference

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s "$$(printf '\t')"

$(STAMP): locks/dev.txt locks/uv.txt pyproject.toml
	@echo "installing into .venv (torch is large: a few minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r locks/dev.txt
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps -e .
	@touch $@

venv: $(STAMP) ## install everything into .venv

demo: $(STAMP) ## the whole journey on a real cluster of this machine
	$(BIN)/python -m dev.demo $(if $(KEEP),--keep)

test-fast: $(STAMP) ## unit and simulation tests, below two minutes
	$(BIN)/pytest -n 2 -m "not slow" tests/unit tests/simulation

test: $(STAMP) ## every tier, with coverage of the operator; what passes only the second time is listed as RERUN; faults as docs/faults.md says
	$(BIN)/python -m dev.cluster prepare
	$(BIN)/python -m dev.images load
	$(BIN)/pytest -n 2 --reruns 1 --check-faults tests/unit tests/simulation --cov=trainyard --cov-report=term --cov-fail-under=90
	$(BIN)/pytest --reruns 1 --check-faults tests/apiserver --ignore=tests/apiserver/test_drills.py
	$(BIN)/pytest --reruns 1 --check-faults tests/e2e

drills: $(STAMP) ## inject the fault of each alert on a cluster, wait for the alert, run its runbook
	$(BIN)/python -m dev.cluster prepare
	$(BIN)/pytest tests/apiserver/test_drills.py

check: $(STAMP) ## lint, types, import contracts, chart
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy operator dev tests images/telemetry images/trainer images/server images/gateway
	$(BIN)/lint-imports

generate: $(STAMP) ## write what is generated: CRDs, the chart's copies and schema, dashboards and rules, pages of docs
	$(BIN)/python -m trainyard.api.crds crds
	$(BIN)/python -m dev.chart sync
	PYTHONPATH=images/telemetry:images/server:images/gateway $(BIN)/python -m dev.metrics
	$(BIN)/python -m trainyard.training.failure_document docs/failure-classes.md
	$(BIN)/python -m dev.dashboards
	$(BIN)/python -m dev.alerting
	$(BIN)/python -m tests.faults.scorecard docs/faults.md
	$(BIN)/python -m dev.docs

verify: generate ## fail if generated files are not up to date
	@git diff --exit-code --stat -- $(GENERATED) || (echo "generated files differ: run 'make generate' and commit"; exit 1)
	@test -z "$$(git status --porcelain -- $(GENERATED))" || (git status --short -- $(GENERATED); exit 1)

docs: $(STAMP) ## build the documentation's site into build/site; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

sbom: $(STAMP) ## write what is in each image into build/sbom, as CycloneDX
	$(BIN)/python -m dev.sbom

bench: $(STAMP) ## run a benchmark, e.g. NAME=jobs
	@test -n "$(NAME)" || (echo "NAME is not set; there are: $$(ls tests/bench | sed -n 's/\.py$$//p' | xargs)"; exit 2)
	PYTHONPATH=images/telemetry:images/trainer:images/server:images/gateway $(BIN)/python -m tests.bench.$(subst -,_,$(NAME))

images: $(STAMP) ## build the four images
	$(BIN)/python -m dev.images build

cluster-up: $(STAMP) ## bring a cluster up: NAME, NODES, GPUS, KWOK
	$(BIN)/python -m dev.cluster up $(or $(NAME),dev) --nodes $(NODES) --gpus $(GPUS) --kwok $(KWOK)

cluster-down: $(STAMP) ## remove it: NAME
	$(BIN)/python -m dev.cluster down $(or $(NAME),dev)

lock: $(STAMP) ## remake locks/ from pyproject.toml
	$(BIN)/python -m dev.lock

.PHONY: help venv demo drills test-fast test check generate verify docs sbom bench images cluster-up cluster-down lock
