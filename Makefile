# make setup   everything pinned, in .venv
# make demo    the lab, the deploy, an answered request
# make test    all suites (tools/suites.py) without the tests marked `full`: forty minutes
# make test-all   every suite, whole: two hours; make test-lab, make test-lab_rollouts, ...: one of them
# make check   lint, types, unit tests but the slow ones: the fast loop
# make lab-down   take the lab away without a trace

BIN := .venv/bin
UV := 0.13.9
DEMO := pyinfra inventory/lab.py deploy.py -y

# Unit tests, the longest files first; of each four the first and the last are one of the two halves that run side by side.
UNIT := $(shell find tests/unit -name 'test_*.py' -printf '%s %p\n' | sort -rn | cut -d' ' -f2)
SECOND := $(shell printf '%s\n' $(UNIT) | awk 'NR % 4 < 2')

.PHONY: setup demo test programs check lint types unit-first unit-second lab-down schema bench

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
	$(BIN)/lint-imports --no-logo

types:
	$(BIN)/mypy

# Two halves of about the same time, side by side.
unit-first:
	$(BIN)/pytest -m "not slow" $(filter-out $(SECOND),$(UNIT))

unit-second:
	$(BIN)/pytest -m "not slow" $(SECOND)

test: programs setup
	$(BIN)/python -m tools.suites test

test-%: programs setup
	$(BIN)/python -m tools.suites $*

# Some tests start a balancer or a registry of their own; the packages' services stay off.
programs:
	@which haproxy socat docker-registry nft tc iptables curl setpriv promtool amtool >/dev/null || { apt-get update -q && \
	RUNLEVEL=1 apt-get install -qy --no-install-recommends haproxy socat docker-registry nftables iproute2 iptables curl util-linux \
	prometheus prometheus-alertmanager; }

# Options of the engines, read from their own parsers into barewind/catalog/options/; the schema of `barewind plan --json`.
schema: setup
	$(BIN)/python tools/schema.py
	$(BIN)/python -m tools.plan_schema

# Barewind against Ansible, on a lab that has been deployed to (`barewind lab up --light 20`: also on twenty hosts); planning 10,
# 100 and 1000 hosts; estimates against what is published; what a load generator adds; weights to many hosts; a rollout; what a rollout and commands over many hosts cost on the controller.
bench: setup
	$(BIN)/python -m bench.noop
	$(BIN)/python -m bench.planning
	$(BIN)/python -m bench.estimate
	$(BIN)/python -m bench.serve
	$(BIN)/python -m bench.swarm
	$(BIN)/python -m bench.rollout
	$(BIN)/python -m bench.status 10 100 1000
	$(BIN)/python -m bench.scale 10 100
	$(BIN)/python -m bench.scale 120 240 --batches 1

lab-down: setup
	$(BIN)/barewind lab down
