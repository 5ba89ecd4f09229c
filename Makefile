# Everything happens in .venv. The two that matter: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
# Where the package is installed from its own folder, setuptools warns of that very folder.
INSTALL := PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet

.PHONY: demo test lint types unit matrix fuzz bench bench-cache bench-durable bench-peers chaos screenshots \
    gearmand browser postgres memcached faketime deployment clean

# ONCE=1 makes one call and ends; GEARMAND=1 takes gearmand, not the job server of our own.
demo: .venv/demo $(if $(GEARMAND),gearmand)
	$(BIN)/python example_project/demo.py $(if $(ONCE),--once) $(if $(GEARMAND),--gearmand)

# Tests wait for processes most of the time, so three at a time pay on two cores, too.
TEST_PROCESSES ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores > 3 ? cores : 3)))
test: .venv/dev gearmand browser postgres memcached faketime deployment lint types unit
	$(BIN)/python -m pytest --gearmand -n $(TEST_PROCESSES) --ignore=tests/unit

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

# Fails unless these tests alone cover all branches of the modules that pyproject.toml lists.
unit: .venv/dev
	$(BIN)/python -m pytest tests/unit -n $(TEST_PROCESSES) --cov

# 3.11 with Django 5.2, 3.12 with 6.0, 3.13 with 6.1: each where that Python is installed.
matrix: gearmand browser postgres memcached faketime deployment
	TEST_PROCESSES=$(TEST_PROCESSES) tools/matrix.sh

.venv/bin/python:
	tools/make-venv.sh $(PYTHON) .venv

.venv/demo: setup.py | .venv/bin/python
	$(INSTALL) --editable '.[demo]'
	touch $@

.venv/dev: setup.py | .venv/bin/python
	$(INSTALL) --editable '.[dev]'
	touch $@

# Feeds the protocol machines whatever a fuzzer makes up, for so many seconds.
SECONDS ?= 60
fuzz:
	tools/make-venv.sh $(PYTHON) .venv/fuzz
	.venv/fuzz/bin/python -m pip install --quiet --requirement fuzz/requirements.txt --editable .
	.venv/fuzz/bin/python -m fuzz.protocol -max_total_time=$(SECONDS) -dict=fuzz/words.dict \
	    -artifact_prefix=.venv/fuzz/

# Writes benchmarks/RESULTS.md; where `make bench-peers` has been run, also the chart and the sentence on
# speed of the README. Less than 15 minutes.
bench: .venv/dev gearmand
	$(CC) -O2 -Wall -o .venv/libgearman benchmarks/libgearman.c -lgearman || \
	    { echo "libgearman is missing. Install it: sudo apt-get install libgearman-dev" >&2; exit 1; }
	$(BIN)/python -m benchmarks.run .venv/libgearman .venv/peers/bin/python

# The cache beside a bare find_one and, where `make bench-peers` has been run, other caches.
bench-cache: .venv/dev
	$(BIN)/python -m benchmarks.cache .venv/peers/bin/python

# Recorded jobs beside the durable queues of the field, on one PostgreSQL, where `make bench-peers` has
# been run. Writes benchmarks/DURABLE.md and its chart. Less than 12 minutes; SHARE=0.05 only tries it.
bench-durable: .venv/dev gearmand postgres
	$(BIN)/python -m benchmarks.durable .venv/peers/bin/python $(SHARE)

# Long runs with faults, with figures: about 20 minutes.
chaos: .venv/dev gearmand faketime
	$(BIN)/python -m chaos

# The field's peers, for the benchmarks, in a virtual environment of their own.
bench-peers:
	@tools/require.sh redis-server redis-server
	tools/make-venv.sh $(PYTHON) .venv/peers
	.venv/peers/bin/python -m pip install --quiet --requirement benchmarks/peers.txt

# Takes docs/images/*.png, of the explorer over the example project.
screenshots: .venv/dev browser
	$(BIN)/python -m tools.screenshots

gearmand:
	@tools/require.sh gearmand gearman-job-server
	@tools/require.sh gearman gearman-tools

browser:
	@tools/require.sh chromium chromium

postgres:
	@tools/require.sh postgres postgresql
	@tools/require.sh pgbouncer pgbouncer

memcached:
	@tools/require.sh memcached memcached

faketime:
	@tools/require.sh faketime faketime

# Programs that check the files on docs/deploy.md.
deployment:
	@tools/require.sh systemd-analyze systemd
	@tools/require.sh promtool prometheus
	@tools/require.sh unshare util-linux

clean:
	rm -rf .venv .matrix build dist *.egg-info
