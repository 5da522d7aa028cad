# Everything a fresh machine needs: `make demo` or `make test` set up their own environment first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test lint format bench fuzz fuzz-audio clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*.* native/*/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[beam,demo,test,lint,bench]'
	touch $(READY)

demo: setup
	$(BIN)/deepspeech-sparse demo

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --cov=deepspeech_sparse --cov-report=term:skip-covered --cov-fail-under=90

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/pruning_overhead.py
	$(BIN)/deepspeech-sparse bench

# Ten minutes of hostile input under the sanitizers; needs g++. FUZZ_SECONDS=60 for less.
FUZZ := build/sanitized
fuzz: setup
	$(BIN)/python -m pip install --quiet nanobind
	cmake -S . -B $(FUZZ) -DSPARSE_SANITIZE=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
		-Dnanobind_DIR=$$($(BIN)/python -m nanobind --cmake_dir)
	cmake --build $(FUZZ) --parallel 2
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		$(BIN)/python tests/fuzz.py --seconds $(or $(FUZZ_SECONDS),600) --kernels $$(echo $(FUZZ)/_kernels*.so)

# A thousand hostile audio files, a minute. FUZZ_FILES and FUZZ_SEED for others.
fuzz-audio: setup
	$(BIN)/python tests/fuzz_audio.py --files $(or $(FUZZ_FILES),1000) --seed $(or $(FUZZ_SEED),0)

clean:
	rm -rf $(VENV) build *.egg-info
