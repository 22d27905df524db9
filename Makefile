.DEFAULT_GOAL := help
SHELL := /bin/bash
# Everything is made inside this folder; remove .venv and .cache to start again.
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PACKAGES := $(notdir $(wildcard packages/*))
EDITABLE := $(foreach p,$(PACKAGES),-e packages/$(p))
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export UV_PYTHON_DOWNLOADS := never
export PIP_NO_CACHE_DIR := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_CACHE_DIR := $(CURDIR)/.cache/pyright
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export npm_config_cache := $(CURDIR)/.cache/npm
export TMPDIR := $(shell mkdir -p $(CURDIR)/.cache/tmp && echo $(CURDIR)/.cache/tmp)
# The first interpreter on the PATH that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Keyword arguments for pytest, for example make test ARGS="-k budget"
ARGS ?=

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A stamp a stage: what the demo needs, what the tests need, what the checks need.
$(UV):
	@test -n "$(PYTHON)" || { echo "waybell needs Python 3.11 or newer; none found. Install one, or: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "setting up .venv with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "python's venv module failed (on Debian: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/bootstrap.txt

$(VENV)/.run: $(UV) requirements/run.txt $(wildcard packages/*/pyproject.toml)
	@$(UV) pip install --quiet --require-hashes --no-deps -r requirements/run.txt
	@$(UV) pip install --quiet --no-deps $(EDITABLE)
	@touch $@

$(VENV)/.test: $(VENV)/.run requirements/dev.txt
	@$(UV) pip install --quiet --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

setup: $(VENV)/.test  ## Install everything into .venv, editable, from the pins

demo: $(VENV)/.run  ## Run the main job on this folder, no key needed
	@$(BIN)/waybell demo $(ARGS)

test: $(VENV)/.test  ## All tests, snippets and examples
	@$(BIN)/python -m pytest $(ARGS)

fmt: $(VENV)/.test  ## Format and sort
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --fix --fix-only --quiet

lint: $(VENV)/.test  ## Style, spelling, arrows
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/codespell packages docs examples tests benchmarks *.md
	$(BIN)/lint-imports --cache-dir .cache/import-linter

types: $(VENV)/.test  ## Both checkers, strict
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/pyright

cov: $(VENV)/.test  ## All tests with branch coverage, held to its floors
	@mkdir -p .cache/coverage && rm -f .cache/coverage/*
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/python tests/coverage_floors.py

alone: $(VENV)/.test  ## Each package in its own environment, with only what it declares
	@$(BIN)/python tests/alone.py $(ARGS)

docs: $(VENV)/.test  ## Build the pages; a warning is an error
	@$(BIN)/sphinx-build -nqW --keep-going -b html -d .cache/doctrees docs docs/_build

bench: $(VENV)/.test  ## Our figures beside the peers', and docs/performance.md
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.test  ## Simulations, kills and fuzzers at full count (an hour or so)
	@WAYBELL_SIM_SEEDS=100000 WAYBELL_KILLS=1000 HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -o timeout=7200 -m soak $(ARGS)

dist: $(VENV)/.test  ## Build every wheel and sdist into dist/
	@rm -rf dist && $(UV) build --quiet --all-packages -o dist && ls dist

check: lint types test docs alone  ## Everything a release must pass

peers:  ## Install real model servers for the adapters' tests, under .cache
	@PYTHON=$(PYTHON) sh tests/peers/install

frameworks: $(VENV)/.run  ## Install other frameworks for examples/with_*.py, under .venv
	@sh tests/frameworks/install

exports: $(VENV)/.test  ## Write the umbrella's map and stub from the packages' names
	@$(BIN)/python tests/exports.py

pins: $(UV)  ## Choose the newest allowed versions again
	@bash requirements/compile.sh

.PHONY: help setup demo test fmt lint types cov alone docs bench soak dist check peers frameworks exports pins
