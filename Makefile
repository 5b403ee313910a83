# Every target sets up .venv by itself, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := python -m pip install --quiet --disable-pip-version-check
PRESET ?= quick
WORKERS ?= 2
FAST := tests/contracts $(addprefix tests/unit/,geometry jacobian theory adversaries penalties statistics \
	test_house.py test_minimax.py test_modes.py test_schedules.py test_trajectory.py)
SLOW := $(addprefix --ignore=tests/unit/,theory/test_constants.py adversaries/test_strength.py)
.DEFAULT_GOAL := help
.PHONY: help reproduce test test-fast test-core test-benchmarl lint docs results bench bench-peers clean

help:
	@echo "make reproduce   train, attack, compare; table and report under results/ (PRESET=smoke|quick|standard|full|others)"
	@echo "make test        unit, contract, parity and invariant tests, by WORKERS=2 processes"
	@echo "make test-fast   the core and the statistics, with fewer random examples, in less than a minute"
	@echo "make test-core   the core with torch and nothing else, in .venv-core"
	@echo "make test-benchmarl  the BenchMARL adapter, in .venv-benchmarl with the TorchRL that BenchMARL pins"
	@echo "make lint        ruff, mypy, import-linter"
	@echo "make docs        documentation in docs/_build/html, doctests included"
	@echo "make results     docs/results.md and the README's table, from the files under results/"
	@echo "make bench-peers  attacks beside foolbox and torchattacks, in .venv-peers"
	@echo "make bench       costs of estimators, penalties, environment and training"

.venv/.rl: pyproject.toml constraints.txt
	@echo "Installing torch and the extra rl into .venv; the first time this takes some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) 'pip>=25.1'
	$(BIN)/$(INSTALL) -c constraints.txt -e '.[rl]'
	touch $@

.venv/.ready: .venv/.rl
	@echo "Installing what tests, linters and documentation need into .venv; this takes some minutes."
	$(BIN)/$(INSTALL) -c constraints.txt -e . --group dev
	touch $@

reproduce: .venv/.rl
	@echo "Training, attacking and comparing: preset $(PRESET); table and report go to results/$(PRESET)."
	$(BIN)/aajr reproduce --preset $(PRESET)

test: .venv/.ready
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-fast: .venv/.ready
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -n $(WORKERS) $(FAST) $(SLOW)

.venv-core/.ready: pyproject.toml
	rm -rf .venv-core
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/$(INSTALL) torch==2.13.0
	.venv-core/bin/$(INSTALL) --no-deps -e .
	! .venv-core/bin/python -c "import numpy" 2>/dev/null
	touch $@

test-core: .venv-core/.ready
	OMP_NUM_THREADS=2 .venv-core/bin/python tests/torch_alone.py

# BenchMARL asks for torchvision and av, which it does not use here: hence --no-deps
.venv-benchmarl/.ready: pyproject.toml constraints-benchmarl.txt
	$(PYTHON) -m venv .venv-benchmarl
	.venv-benchmarl/bin/$(INSTALL) -c constraints-benchmarl.txt torch==2.13.0
	.venv-benchmarl/bin/$(INSTALL) -c constraints-benchmarl.txt --no-deps benchmarl torchrl tensordict
	.venv-benchmarl/bin/$(INSTALL) -c constraints-benchmarl.txt hydra-core vmas numpy pytest tqdm pyvers cloudpickle importlib_metadata orjson packaging
	.venv-benchmarl/bin/$(INSTALL) --no-deps -e .
	touch $@

test-benchmarl: .venv-benchmarl/.ready
	OMP_NUM_THREADS=2 .venv-benchmarl/bin/python -m pytest -q -c /dev/null --rootdir tests/integrations --confcutdir tests/integrations --import-mode=importlib -p no:cacheprovider -W ignore tests/integrations src/aajr/integrations/benchmarl src/aajr/hide_and_seek/game/benchmarl_task.py --doctest-modules

lint: .venv/.ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: .venv/.ready
	$(BIN)/sphinx-build -W -b doctest docs docs/_build/doctest
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

results: .venv/.ready
	$(BIN)/python docs/results.py

bench: .venv/.ready
	$(BIN)/python -m pytest benchmarks --benchmark-enable -p no:cacheprovider -s

# both ask for packages that they do not use here: hence --no-deps
.venv-peers/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/$(INSTALL) -c constraints.txt torch==2.13.0 numpy
	.venv-peers/bin/$(INSTALL) --no-deps foolbox==3.3.4 torchattacks==3.5.1 eagerpy
	.venv-peers/bin/$(INSTALL) typing_extensions requests scipy GitPython
	.venv-peers/bin/$(INSTALL) --no-deps -e .
	touch $@

bench-peers: .venv-peers/.ready
	.venv-peers/bin/python -m benchmarks.peers

clean:
	rm -rf .venv .venv-* docs/_build .pytest_cache .mypy_cache .ruff_cache
