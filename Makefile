# make setup   everything pinned, in .venv
# make demo    the lab, the deploy, an answered request
# make test    every test, the lab end to end included
# make check   lint, types, unit tests: the fast loop
# make lab-down   take the lab away without a trace

BIN := .venv/bin
UV := 0.13.9
DEMO := pyinfra inventory/lab.py deploy.py -y

.PHONY: setup demo test check lab-down schema bench

setup: .venv/.complete

.venv/.complete: pyproject.toml uv.lock
	python3 -m venv .venv || { apt-get update -q && apt-get install -qy python3-venv && python3 -m venv --clear .venv; }
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV)
	$(BIN)/uv sync -q --frozen --inexact --compile-bytecode  # pyinfra never writes bytecode itself: each start would take 2 s
	touch $@

demo: setup
	$(BIN)/barewind lab up
	$(BIN)/barewind lock inventory/lab.py
	$(BIN)/$(DEMO)
	$(BIN)/python -m lab.ask "$(DEMO)"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/unit

test: check
	$(BIN)/pytest tests/conformance
	$(BIN)/pytest tests/lab

# Options of the engines, read from their own parsers into barewind/catalog/flags/.
schema: setup
	$(BIN)/python tools/schema.py

# Barewind against Ansible, on a lab that has been deployed to; and planning 10, 100 and 1000 hosts.
bench: setup
	$(BIN)/python -m bench.noop
	$(BIN)/python -m bench.planning

lab-down: setup
	$(BIN)/barewind lab down
