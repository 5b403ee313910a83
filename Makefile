# Every target sets up .venv by itself, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PRESET ?= quick
.DEFAULT_GOAL := help
.PHONY: help reproduce test lint docs bench clean

help:
	@echo "make reproduce   train, attack, compare; table and report under results/ (PRESET=smoke|quick|full)"
	@echo "make test        unit, contract, parity and invariant tests"
	@echo "make lint        ruff, mypy, import-linter"
	@echo "make docs        documentation in docs/_build/html, doctests included"
	@echo "make bench       costs of estimators, penalties, environment and training"

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint,docs]'
	touch $@

reproduce: .venv/.ready
	$(BIN)/aajr reproduce --preset $(PRESET)

test: .venv/.ready
	OMP_NUM_THREADS=2 HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest

lint: .venv/.ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: .venv/.ready
	$(BIN)/sphinx-build -W -b doctest docs docs/_build/doctest
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

bench: .venv/.ready
	$(BIN)/python -m pytest benchmarks --benchmark-enable -p no:cacheprovider -s

clean:
	rm -rf .venv docs/_build .pytest_cache .mypy_cache .ruff_cache
