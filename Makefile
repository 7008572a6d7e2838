# make demo, make test, make train-tiny; make help lists all.

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 7860
PIP_ARGS ?=
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist loadfile

TORCH := torch==2.13.0
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --quiet $(PIP_ARGS)
TINY := runs/tiny

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint train-tiny clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile
	@echo "variables: PYTHON=$(PYTHON) VENV=$(VENV) PORT=$(PORT) PIP_ARGS= PYTEST_ARGS="

demo: $(VENV)/.demo ## install and serve the page on 127.0.0.1:7860 (PORT= changes it)
	$(PY) -m demo.app --host $(HOST) --port $(PORT)

test: lint ## install, check the style and the types, and run the tests
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

train-tiny: $(VENV)/.train ## train every stage on shapes made by code (minutes) and make a picture
	$(PY) -m train.run --recipe tiny --run $(TINY)
	$(VENV)/bin/unclip-mm generate --checkpoint $(TINY)/pipeline --text "a red circle" --output $(TINY)/red-circle.png

clean: ## remove what make and the tools made; data, runs and pictures stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp a step, so that nothing is installed twice. torch comes first and by its exact version.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than 3.11, which constraints.txt needs; set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.torch: $(VENV)/.python
	$(PIP) "$(TORCH)"
	@touch $@

$(VENV)/.demo $(VENV)/.train $(VENV)/.dev: $(VENV)/.%: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e ".[$*]"
	@touch $@
