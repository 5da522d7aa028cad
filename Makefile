# Everything a fresh machine needs: `make demo` or `make test` set up their own environment first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test lint format bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo,test,lint,bench]'
	touch $(READY)

demo: setup
	$(BIN)/deepspeech-sparse demo

test: setup
	$(BIN)/python -m pytest --cov=deepspeech_sparse --cov-report=term:skip-covered --cov-fail-under=90

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/pruning_overhead.py
	$(BIN)/deepspeech-sparse bench

clean:
	rm -rf $(VENV) build *.egg-info
