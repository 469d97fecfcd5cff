# Everything below stays inside the checkout: the environment in .venv, caches in .cache, results in data/.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
CACHE := $(CURDIR)/.cache
STAMP := .venv/.installed

export UV_CACHE_DIR := $(CACHE)/uv
export TMPDIR := $(CACHE)/tmp
# An environment made to run code must not inherit a switch that leaves it without compiled bytecode.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH VIRTUAL_ENV

.PHONY: install demo test test-airflow test-celery test-browser unit thorough check docs format bench soak fuzz hostile mutants audit sbom test-lowest test-install wheel release constraints clean

install: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	mkdir -p $(TMPDIR)
	$(PYTHON) -c 'import sys; sys.exit("robin-etl needs Python 3.11 or later; this is %d.%d. Name another one: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --requirement .venv/uv.txt
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode --requirement constraints.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

demo: install
	$(BIN)/robin-etl demo --airflow

test: install
	$(BIN)/python -m pytest

# The long ones: notices, deadlines, metrics, lineage and pages in a whole Airflow, and 95 days of a real
# shop through one; three days on two Celery workers.
test-airflow: install
	$(UV) pip install --quiet --python $(BIN)/python --group airflow-home
	$(BIN)/python -m pytest -n 0 tests/whole_airflow
	$(BIN)/python -m tests.airflow_backfill

test-celery: install
	$(BIN)/python -m tests.airflow_backfill --executor CeleryExecutor

# What a person sees, in Debian's chromium with chromium-driver. With --renew-images it takes docs/images anew.
test-browser: install
	$(UV) pip install --quiet --python $(BIN)/python --group browser
	$(BIN)/python -m pytest -n 0 tests/browser

unit: install
	$(BIN)/python -m pytest tests/unit --dist load

# The properties with a thousand examples each, the calendar with half as many; no limit on a test's time.
thorough: install
	$(BIN)/python -m pytest tests/unit tests/integration/test_calendar.py --dist load --timeout 0 --hypothesis-profile thorough

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every figure of docs/performance.md: an hour or more, 20 GB of disk.
BENCHMARKS := core gate ledger_growth million_new_orders million_order_day baseline delivery rate_limits ten_years \
  calendar start tasks airflow_tasks celery_workers rebuild shards dlt_end_to_end

bench: install
	for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(BIN)/python -m benchmarks.$$benchmark || exit 1; done

# The long ones: half an hour or more. `make test` runs a short soak, and a stride through the fault matrix.
soak: install
	$(BIN)/python -m tests.matrix
	$(BIN)/python -m tests.soak --runs 200 --ledger sqlite
	$(BIN)/python -m tests.soak --runs 200 --ledger postgresql

# A site in docs/_build/html; a warning is an error.
docs: install
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

# Looks for bytes that a reader of exports, of ROBIN's answers or of settings does not survive; minutes.
fuzz: install
	$(BIN)/python -m tests.fuzz --runs 100000
	$(BIN)/python -m tests.fuzz --of answer --runs 100000
	$(BIN)/python -m tests.fuzz --of setting --runs 100000

# What files of up to 500 MB that are no export take, in time and memory; half an hour, 1 GB of disk.
hostile: install
	$(BIN)/python -m tests.hostile_files

# Which changes to the heart of it no test notices; a quarter of an hour. Results in mutants/.
mutants: install
	$(BIN)/mutmut run --max-children 2
	$(BIN)/mutmut results

# Known vulnerabilities of what constraints.txt pins, and a bill of materials (CycloneDX) of it.
audit: install
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement constraints.txt

sbom: install
	$(BIN)/cyclonedx-py requirements constraints.txt --output-format JSON --output-file data/sbom.json

# The tests that need no Airflow, on the oldest versions that pyproject.toml allows.
test-lowest: install
	$(UV) venv --quiet --clear .cache/lowest
	$(UV) pip install --quiet --python .cache/lowest --resolution lowest-direct --editable ".[postgres,s3,test]"
	.cache/lowest/bin/python -m pytest tests/unit tests/integration/test_pipeline.py tests/integration/test_ledger.py \
	  tests/integration/test_delivery.py tests/integration/test_partitions.py tests/integration/test_reports.py

# Wheel, sdist, and constraints without hashes, in dist/.
wheel: install
	$(BIN)/python -m tests.release --untried

# The same, and tries the wheel alone in empty environments, without Airflow and with it.
release: install
	$(BIN)/python -m tests.release

# Follows docs/deployment.md on empty environments with pip and with uv, and the image's steps; minutes.
test-install: install
	$(BIN)/python -m tests.install

# Names, versions and hashes only: no address of a package index is written.
constraints: install
	printf 'uv\nhatchling\neditables\n' | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --all-extras --upgrade pyproject.toml - --output-file constraints.txt

clean:
	rm -rf .venv .cache dist mutants docs/_build data/airflow data/demo data/runs
