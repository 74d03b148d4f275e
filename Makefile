# Every target makes the environment it needs in .venv, from the lock files; a second call finds it made.

# The first interpreter that this project supports and that can make environments; or name one: make PYTHON=…
SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if "$$python" -c '$(SUPPORTED)' >/dev/null 2>&1; then echo "$$python"; break; fi; done)

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
# Hashes or nothing. One dependency is published as source only; setuptools, installed first, builds it.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --require-hashes --no-deps \
	--no-build-isolation --use-pep517 --only-binary :all: --no-binary antlr4-python3-runtime

DEMO := artifacts/demo
# One thread a worker: two pools of threads on the same cores only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint check bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(RUNTIME) ## make the environment in .venv, to run the scripts by hand

demo: $(RUNTIME) ## train, publish, evaluate and recommend on a simulated streaming service
	$(BIN)/python scripts/train.py artifacts=$(DEMO)
	$(BIN)/python scripts/build_index.py artifacts=$(DEMO)
	$(BIN)/python scripts/evaluate.py artifacts=$(DEMO)
	$(BIN)/python scripts/recommend.py artifacts=$(DEMO)

test: $(DEV) ## run the whole test suite
	$(PYTEST) --numprocesses auto --maxprocesses 8

lint: $(DEV) ## lint, format, types and rules of dependence
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: lint ## the same, and the tests of architecture and configuration
	$(PYTEST) -m "not slow" tests/test_architecture.py tests/test_locks.py tests/conf

bench: $(DEV) ## list the claims, or measure one: make bench CLAIM=demo
	@$(BIN)/python -m benchmarks $(CLAIM)

lock: $(RUNTIME) ## resolve pyproject.toml anew into requirements*.lock (needs uv)
	$(BIN)/python tools/lock.py

clean: ## remove the environments and caches; artifacts stay
	rm -rf $(VENV) .bench .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@"$(PYTHON)" -c '$(SUPPORTED)' 2>/dev/null || { echo "error: this needs Python 3.11, 3.12 or 3.13 with its venv" \
		"module, and found '$(PYTHON)'; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(RUNTIME): $(BIN)/python $(addprefix requirements,-build.lock .lock -cpu.lock -cuda.lock) pyproject.toml
	$(INSTALL) --quiet -r requirements-build.lock
	@# No GPU: torch's CPU build, a tenth of the size, where pip has been told of a place that has it.
	@nvidia-smi -L >/dev/null 2>&1 || $(INSTALL) --quiet -r requirements-cpu.lock 2>/dev/null || true
	$(INSTALL) -r requirements.lock
	if $(BIN)/python tools/needs_cuda.py; then $(INSTALL) -r requirements-cuda.lock; fi
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.lock
	$(INSTALL) --quiet -r requirements-dev.lock
	$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@
