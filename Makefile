# make demo   set up, index the shipped world, answer three queries
# make check  set up, run the fast checks, for daily work
# make test   set up, run every check
# make oldest  the server's tests with the oldest dependencies that pyproject.toml allows
# make site   build the documentation as a site, in build/site
# make release  build wheel and sdist twice, compare and try them, with an SBOM and pinned requirements, in build/release
# make bench  measure; writes docs/performance.md, docs/world.md and docs/stopping.md
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
PIP_ARGS ?=
OLDEST := .venv-oldest

.PHONY: demo check test lint types imports unit oldest docs site release bench clean

demo: $(READY)
	$(BIN)/lorascope demo

check: lint types imports
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test: lint types imports site unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyright

imports: $(READY)
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadgroup

oldest: $(OLDEST)/ready
	$(OLDEST)/bin/python -m pytest -p no:cacheprovider -n 2 tests/test_server_guard.py tests/test_server.py

site: $(READY)
	$(BIN)/zensical build --clean --strict

docs: $(READY)
	$(BIN)/python -m tests.documents

release: $(READY)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) build cyclonedx-bom pip-tools
	$(BIN)/python .ci/package.py build/release --try --twice
	$(BIN)/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-reproducible \
	  --output-file build/release/sbom.json
	$(BIN)/pip-compile pyproject.toml --constraint constraints.txt --extra measure --extra parquet --generate-hashes \
	  --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --quiet \
	  --output-file build/release/requirements.txt

bench: $(READY)
	$(BIN)/python -m benchmarks

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) once: 3 GB of packages (more with torch for NVIDIA GPUs), some minutes for the downloads."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

$(OLDEST)/ready: pyproject.toml constraints.txt .ci/oldest.py
	$(PYTHON) -m venv $(OLDEST)
	$(PYTHON) .ci/oldest.py >$(OLDEST)/requirements.txt
	$(OLDEST)/bin/python -m pip install --quiet $(PIP_ARGS) --requirement $(OLDEST)/requirements.txt
	$(OLDEST)/bin/python -m pip install --quiet $(PIP_ARGS) --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) demo
