# Two commands matter: `make screen` and `make test`. Both need Python 3.11 or later and nothing else.

# The first interpreter that runs and is new enough: a shim on the PATH may do neither.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TORCH  := 2.13.0

.PHONY: screen test test-fast test-all budgets same-results chaos fuzz lint types contracts wheel-smoke requirements checkpoint bench-accuracy clean

screen: $(VENV)/ready
	$(BIN)/sabatier screen examples/co-oh-beef.yaml

# Aims on two free cores: ten minutes, two, and forty; the last is what CI runs. Files of tests
# are dealt to two processes: what a file shares is made once.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/ready-dev
	$(PYTEST) -m "not full"

test-fast: $(VENV)/ready-dev
	$(PYTEST) -m "not full and not slow and not medium"

# Prints which share of the lines the tests reach in their own processes, and fails below a floor
# (pyproject.toml); what their children run is not counted.
test-all: $(VENV)/ready-dev
	$(PYTEST) $(foreach package,flows tasks model screening_db,--cov=$(package))

# Bad inputs of every kind, and some of them as commands; each part is a row of benchmarks/faults/fuzz.csv.
# It goes on where it was stopped: another SEED is another ten thousand.
SEED ?= 0
fuzz: $(VENV)/ready-dev
	PYTHONPATH=.:tests $(BIN)/python -W ignore benchmarks/faults/fuzz.py --inputs 10000 --commands 200 --seed $(SEED)

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready-dev
	$(BIN)/mypy

contracts: $(VENV)/ready-dev
	$(BIN)/lint-imports

# Print how large the tree is, and the limits.
budgets: $(VENV)/ready-dev
	$(BIN)/python -m pytest -s --durations 0 tests/test_budgets.py

# Run three examples and compare candidates, energies, ranks and labels with those that are stored.
same-results: $(VENV)/ready
	$(BIN)/python benchmarks/reference/results.py check

# Disturb a campaign at random moments, by seeds; those that the tally has are not run again.
SEEDS ?= 0-49
BACKEND ?= sqlite
chaos: $(VENV)/ready-dev
	PYTHONPATH=.:tests $(BIN)/python benchmarks/faults/chaos.py --seeds $(SEEDS) --backend $(BACKEND)

# Build the wheel, install it into an empty environment, start it in another folder.
wheel-smoke: $(VENV)/ready-dev
	.ci/wheel-smoke

# The default installation with hashes and without addresses; its header says how to install from it.
requirements: $(VENV)/ready-dev
	@{ cat requirements/header.txt; echo torch==$(TORCH) | $(BIN)/uv pip compile --quiet --no-config \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --constraint - pyproject.toml; } >requirements/new.txt
	@mv requirements/new.txt requirements/default.txt

# Make the embedded checkpoints anew: EMT relaxations, training table, training. Hours, resumable.
checkpoint: $(VENV)/ready
	$(BIN)/python -m tasks.training_data.emt_set --out runs/training/emt --n 5000 --processes 2
	$(BIN)/python -m tasks.training_data.assemble --data $(DATA) --emt runs/training/emt --out runs/training/table.parquet
	$(BIN)/sabatier train mini --table runs/training/table.parquet --out runs/training/mini

# Reproduce rows of benchmarks/RESULTS.md: sets that the embedded checkpoint knows are answered by it,
# the others trained for first (oc20_text in minutes, alloy_gmae in half an hour on two cores).
SETS ?= oc20_text fg
bench-accuracy: $(VENV)/ready
	$(BIN)/python -m tasks.training_data.benchmark_tables --data $(DATA) --out runs/benchmarks/tables --sets $(SETS)
	$(BIN)/python benchmarks/accuracy/accuracy.py --tables runs/benchmarks/tables --sets $(SETS)

# Torch comes first: where there is no NVIDIA driver a CPU build, several GB smaller, is taken from
# pip's own sources or, failing that, from PyTorch's CPU index, which uv knows by name.
$(VENV)/torch:
	@test -n "$(PYTHON)" || { echo "Sabatier needs Python 3.11 or later: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): a few minutes the first time"
	@if [ -e /proc/driver/nvidia/version ]; then $(PIP) torch==$(TORCH); else \
	  $(PIP) torch==$(TORCH)+cpu 2>/dev/null \
	  || { $(PIP) uv && $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend cpu torch==$(TORCH); } \
	  || $(PIP) torch==$(TORCH); fi
	@touch $@

$(VENV)/ready: $(VENV)/torch pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage htmlcov
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
