# make demo and make test work on a fresh machine: they make the environment first, once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all lint bench clean

demo: $(STAMP)  ## train an RBM, a VAE and a GAN on real digits and write one page with their samples and scores
	$(BIN)/genlearn demo --out runs/demo

test: $(STAMP)  ## the tests of every commit
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

test-all: $(STAMP)  ## the learning checks on real data as well (minutes)
	$(BIN)/pytest

lint: $(STAMP)  ## format, lint and types
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

bench: $(STAMP)  ## speed, as ratios to a floor or a peer in one run
	for f in bench/*.py; do OMP_NUM_THREADS=2 $(BIN)/python $$f; done

clean:
	rm -rf $(VENV) runs

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)
