# Everything a person runs. Each step stamps what it did, so a second run starts at once.

PORT ?= 8501
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
# Modules are compiled when they are first imported, most never are: so nothing may forbid it.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check \
	--constraint constraints.txt
SETUP := pyproject.toml constraints.txt

# A test has one thread, so two run at a time; a browser and its page keep two cores busy alone.
TESTS := $(BIN)/python -m pytest --quiet -m "not browser" --numprocesses=2 --dist=worksteal
BROWSER_TESTS := $(BIN)/python -m pytest --quiet -m browser

.PHONY: run test coverage install check bench sbom clean

run: $(STAMPS)/ui $(STAMPS)/model
	$(BIN)/wva ui --index indexes/sample --port $(PORT) --sync data/sample

test: $(STAMPS)/dev $(STAMPS)/model check
	$(TESTS)
	$(BROWSER_TESTS)

# The same tests, with the share of the lines and branches that they run.
coverage: $(STAMPS)/dev $(STAMPS)/model
	$(TESTS) --cov --cov-report= --cov-fail-under=0
	$(BROWSER_TESTS) --cov --cov-append --cov-report=term:skip-covered

install: $(STAMPS)/ui

check: $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m benchmarks.dependencies --check

# A CycloneDX bill of materials: what an installation with all extras brings.
sbom: $(STAMPS)/dev
	$(BIN)/python -m benchmarks.dependencies --bill build/wva-retriever.cdx.json

bench: $(STAMPS)/dev $(STAMPS)/model
	$(BIN)/python -m benchmarks.bench

clean:
	rm -rf $(VENV) $(STAMPS) build *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache
	rm -rf .hypothesis .import_linter_cache test-artifacts indexes/sample

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/ui: $(STAMPS)/venv $(SETUP)
	@echo "installing (a few minutes the first time) …"
	$(PIP) --editable ".[ui,formats]"
	@touch $@

$(STAMPS)/dev: $(STAMPS)/venv $(SETUP)
	@echo "installing with the development extras (a few minutes the first time) …"
	$(PIP) --editable ".[ui,formats,langchain,server,mcp,milvus-lite,ray,tune,dev]"
	@touch $@ $(STAMPS)/ui

# Loading it once compiles the 2,400 modules that it needs, for all processes to come; our own are
# compiled with what they import for indexing and the page.
$(STAMPS)/model: | $(STAMPS)/venv
	$(BIN)/python -m retriever models fetch smollm2-135m
	$(BIN)/python -c "from retriever import AlignedWVA; AlignedWVA()"
	$(BIN)/python -c "import retriever.interface.cli, retriever.reading.worker, streamlit.web.bootstrap"
	$(BIN)/python -m compileall -q retriever ui || true
	@touch $@
