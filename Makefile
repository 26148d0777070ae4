# One environment, a few commands. `make help` lists them.
# Needs Python 3.11 or newer and git; everything else is in requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
SET ?=
ARGS ?=
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help setup replay test fast nightly lab doctor bench build check lock clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

setup: ## make .venv from requirements.lock (a second call installs nothing)
	@$(PYTHON) -I labrunner/install.py

replay: setup ## run every lab headlessly; the report is build/replay/report.html
	@$(BIN)/labs replay $(ARGS)

test: setup ## run all tests, the replay included
	@$(BIN)/python -m pytest $(ARGS)

fast: setup ## run the tests that need no server
	@$(BIN)/python -m pytest -m fast $(ARGS)

nightly: setup ## run the tests that take too long for every push
	@$(BIN)/python -m pytest -m nightly $(ARGS)

lab: setup ## open JupyterLab on the labs, with a platform behind it
	@$(BIN)/labs lab $(ARGS)

doctor: setup ## check what the labs need, and say what to do about it
	@$(BIN)/labs doctor $(ARGS)

bench: setup ## run benchmarks: make bench NAME=replay, or all of them
	@$(BIN)/python -m benchmarks $(NAME)

build: setup ## build the notebooks and the table of labs from their sources
	@$(BIN)/labs build $(ARGS)

check: setup ## ruff, mypy, import contracts and the rules for labs
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/labs check

lock: setup ## resolve requirements.lock again from pyproject.toml
	@$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --extra hub --universal --python-version 3.11 --generate-hashes --no-header --output-file requirements.lock

clean: ## remove what was built, keep .venv
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
