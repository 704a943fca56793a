# make demo   set up, index the shipped world, answer three queries
# make test   set up, run every check
# make bench  measure; writes docs/performance.md, docs/world.md and docs/stopping.md
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
PIP_ARGS ?=

.PHONY: demo test lint types imports unit docs bench clean

demo: $(READY)
	$(BIN)/lorascope demo

test: lint types imports unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyright

imports: $(READY)
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/python -m pytest -n 2

docs: $(READY)
	$(BIN)/python -m tests.documents

bench: $(READY)
	$(BIN)/python -m benchmarks

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo
