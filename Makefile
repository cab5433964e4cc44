# make setup   everything pinned, in .venv
# make demo    the lab, the deploy, an answered request
# make test    every test but those of the next line, the lab end to end included: about an hour
# make test-rollouts   every rollout of three hosts under streaming load, those that fail and are killed too
# make check   lint, types, unit tests: the fast loop
# make lab-down   take the lab away without a trace

BIN := .venv/bin
UV := 0.13.9
DEMO := pyinfra inventory/lab.py deploy.py -y

UNIT := $(wildcard tests/unit/test_*.py)
ROLLOUTS := upgrade by_hand traffic
SECOND := $(wildcard tests/unit/test_[bfo-s]*.py)

.PHONY: setup demo test test-rollouts programs check lint types unit-first unit-second lab-down schema bench

setup: .venv/.complete

.venv/.complete: pyproject.toml uv.lock
	python3 -m venv .venv || { apt-get update -q && apt-get install -qy python3-venv && python3 -m venv --clear .venv; }
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV)
	$(BIN)/uv sync -q --frozen --inexact --compile-bytecode  # pyinfra never writes bytecode itself: each start would take 2 s
	touch $@

demo: setup
	$(BIN)/barewind lab up
	$(BIN)/barewind lock inventory/lab.py --update
	$(BIN)/$(DEMO)
	$(BIN)/python -m lab.ask "$(DEMO)"

check: setup
	@$(MAKE) --no-print-directory -j4 -O lint types unit-first unit-second

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

# Two halves of about the same time, side by side.
unit-first:
	$(BIN)/pytest $(filter-out $(SECOND),$(UNIT))

unit-second:
	$(BIN)/pytest $(SECOND)

test: programs check
	$(BIN)/pytest tests/cli
	$(BIN)/pytest tests/machine
	$(BIN)/pytest tests/conformance
	$(BIN)/pytest tests/lab
	$(BIN)/pytest tests/lab_images
	$(BIN)/pytest tests/lab_accelerators
	$(BIN)/pytest $(ROLLOUTS:%=tests/lab_rollouts/test_%.py)

test-rollouts: programs setup
	$(BIN)/pytest tests/lab_rollouts

# Some tests start a balancer or a registry of their own; the packages' services stay off.
programs:
	@which haproxy socat docker-registry nft tc >/dev/null || { apt-get update -q && \
	RUNLEVEL=1 apt-get install -qy --no-install-recommends haproxy socat docker-registry nftables iproute2; }

# Options of the engines, read from their own parsers into barewind/catalog/flags/.
schema: setup
	$(BIN)/python tools/schema.py

# Barewind against Ansible, on a lab that has been deployed to; planning 10, 100 and 1000 hosts; weights to many hosts; a rollout.
bench: setup
	$(BIN)/python -m bench.noop
	$(BIN)/python -m bench.planning
	$(BIN)/python -m bench.swarm
	$(BIN)/python -m bench.rollout

lab-down: setup
	$(BIN)/barewind lab down
