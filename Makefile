# Everything a person runs. Each step stamps what it did, so a second run starts at once.

PORT ?= 8501
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
# Modules are compiled when they are first imported: most never are.
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check \
	--constraint constraints.txt
SETUP := pyproject.toml constraints.txt

.PHONY: run test install check bench clean

run: $(STAMPS)/ui $(STAMPS)/model
	$(BIN)/wva ui --index indexes/sample --port $(PORT) --sync data/sample

# A test has one thread, so two run at a time; a browser and its page keep two cores busy alone.
test: $(STAMPS)/dev $(STAMPS)/model check
	$(BIN)/python -m pytest --quiet -m "not browser" --numprocesses=2 \
		--dist=loadfile --no-loadscope-reorder --cov --cov-report= --cov-fail-under=0
	$(BIN)/python -m pytest --quiet -m browser --cov --cov-append --cov-report=term:skip-covered

install: $(STAMPS)/ui

check: $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMPS)/dev $(STAMPS)/model
	$(BIN)/python -m benchmarks.speed

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
	$(PIP) --editable ".[ui,formats,langchain,dev]"
	@touch $@ $(STAMPS)/ui

$(STAMPS)/model: | $(STAMPS)/venv
	$(BIN)/python -m retriever.weights
	@touch $@
