# `make run` and `make test` need nothing but Python 3.11+ and make; both rest on `make setup`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DYNAMO := build/dynamo
STAMP := $(VENV)/.installed

.PHONY: setup run test unit check schema lock clean bench dynamo

setup: $(STAMP)

# Reinstalls only when a dependency list changed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "P/D Planner needs Python 3.11 or newer, this is %d.%d; try: make PYTHON=/path/to/python3.11 setup" % sys.version_info[:2])'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,notebooks,prophet,replay]'
	@touch $@

# The live service on a simulated fleet and a sample workload: http://127.0.0.1:8080
# For another port: make run ARGS='--port 8081'
run: setup
	@$(BIN)/planner demo $(ARGS)

# ARGS picks tests: make test ARGS='tests/planner -k config'
test: setup
	$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

# All but what plays, waits or draws for seconds: under two minutes on two cores.
unit: setup
	$(BIN)/python -m pytest -n auto --dist loadgroup -m 'not slow' $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Rewrites the committed copy of the configuration file's schema; a test compares the two.
schema: setup
	$(BIN)/planner schema > docs/config.schema.json

# Timings of this machine and the quality of decisions, as JSON in build/bench; no test depends on
# them. About fifteen minutes, and three more with Dynamo's runtime (`make dynamo`).
bench: setup
	mkdir -p build/bench
	$(BIN)/python benchmarks/decision.py -o build/bench/decision.json
	$(BIN)/python benchmarks/simulator.py -o build/bench/simulator.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/forecast_models.py -o build/bench/forecasting.json
	$(BIN)/python benchmarks/backends.py -o build/bench/backends.json
	$(BIN)/python benchmarks/scraping.py -o build/bench/scraping.json
	$(BIN)/python benchmarks/decision_quality.py --quick -o build/bench/quality.json
	@if test -x $(DYNAMO)/bin/python; \
	then $(DYNAMO)/bin/python benchmarks/dynamo_replay.py -o build/bench/dynamo.json; \
	else echo "SKIPPED, nothing measured in Dynamo's replay: no $(DYNAMO), see \`make dynamo\`"; fi

# Dynamo's runtime, front end and mock workers, in an environment of its own: its pydantic is older
# than ours. Without dependencies, as the front end asks for a kubernetes that is older, too, and for
# a package of NVIDIA's own index that mock workers do without.
dynamo:
	test -x $(DYNAMO)/bin/pip || $(PYTHON) -m venv $(DYNAMO)
	$(DYNAMO)/bin/pip install --quiet --disable-pip-version-check -e '.[dynamo]'
	$(DYNAMO)/bin/pip install --quiet --disable-pip-version-check --no-deps ai-dynamo==1.6.1

# Rewrites constraints.txt from what is installed now, after an intended upgrade.
lock: setup
	$(BIN)/pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV)
