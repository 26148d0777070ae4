# One environment, a few commands. `make help` lists them.
# Needs Python 3.11 or newer and git; everything else is in requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
SET ?=
WORKSHOPS ?=
ARGS ?=
WORKERS ?= 2
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help setup develop replay test fast nightly lab doctor bench build check images lock clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

setup: ## make .venv for the labs; WORKSHOPS=core leaves out what only others need
	@WORKSHOPS="$(WORKSHOPS)" $(PYTHON) -I labrunner/install.py

develop: ## make .venv with the tools for tests, checks and benchmarks, too
	@$(PYTHON) -I labrunner/install.py --dev

replay: setup ## run every lab headlessly; the report is build/replay/report.html
	@$(BIN)/labs replay $(ARGS)

test: develop ## run all tests, the replay included; WORKERS=1 runs one after the other
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

fast: develop ## run the tests that need no server
	@$(BIN)/python -m pytest -m fast $(ARGS)

nightly: develop ## run the tests that take too long for every push
	@$(BIN)/python -m pytest -m nightly $(ARGS)

lab: setup ## open JupyterLab on the labs, with a platform behind it
	@$(BIN)/labs lab $(ARGS)

doctor: setup ## check what the labs need, and say what to do about it
	@$(BIN)/labs doctor $(ARGS)

bench: develop ## run benchmarks: make bench NAME=replay, or all of them
	@$(BIN)/python -m benchmarks $(NAME)

build: develop ## build the notebooks and the table of labs from their sources
	@$(BIN)/labs build $(ARGS)

check: develop ## ruff, mypy, import contracts and the rules for labs
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/labs check

images: ## build every container image and try it; needs root, 15 GB, Debian's buildah, podman, mmdebstrap
	@$(PYTHON) -I deploy/images/build.py $(ARGS)

lock: develop ## resolve requirements.lock and environments/*.lock again from their sources
	@$(BIN)/uv pip compile --quiet pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-header --output-file requirements.lock
	@for source in environments/*.in; do $(BIN)/uv pip compile --quiet $$source --universal --python-version 3.11 --generate-hashes --no-header --output-file $${source%.in}.lock || exit 1; done

clean: ## remove what was built, keep .venv
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
