# Two commands on a fresh machine: `make demo` and `make test`. They need Python 3.11 or newer and a package index.

SYSTEM_PYTHON ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Folders that are checked beside the package and its tests, as far as they exist.
CHECKED := edda tests $(wildcard alembic examples benchmarks)

.DEFAULT_GOAL := help
.PHONY: help env demo test again check format docs bench chaos soak clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

env: $(STAMP) ## make the environment in .venv (again only after pyproject.toml changed)

$(STAMP): pyproject.toml
	@"$(SYSTEM_PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "edda needs Python 3.11 or newer; choose one with: make SYSTEM_PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(SYSTEM_PYTHON)" -c 'import ensurepip, venv' \
		|| { echo "This Python cannot make environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -c 'import pip' 2>/dev/null || "$(SYSTEM_PYTHON)" -m venv --clear "$(VENV)"
	"$(PYTHON)" -m pip install --quiet --disable-pip-version-check --editable ".[all,dev]"
	@touch "$@"

demo: env ## run the main job on SQLite: a server is killed in the middle, the workflow finishes
	"$(PYTHON)" examples/demo.py

test: env ## run all tests, on SQLite, PostgreSQL and MariaDB as far as they can be had
	"$(PYTHON)" -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

again: env ## ask the tests that failed last once more, one after the other
	"$(PYTHON)" -m pytest --last-failed --last-failed-no-failures none

check: env ## formatting, lint, types and layers
	"$(PYTHON)" -m ruff format --check .
	"$(PYTHON)" -m ruff check .
	"$(PYTHON)" -m mypy $(CHECKED)
	"$(VENV)/bin/lint-imports" --no-cache # the cache keeps imports of modules that did not exist yet

format: env ## put every file in the shape that check asks for
	"$(PYTHON)" -m ruff check --fix-only --quiet .
	"$(PYTHON)" -m ruff format .

docs: env ## make the site of the documentation in build/site; a link that leads nowhere is an error
	"$(PYTHON)" -m sphinx --quiet --fail-on-warning --keep-going --conf-dir docs/site --builder html . build/site
	@echo "The documentation is in build/site/index.html"

bench: env ## measure everything and write docs/benchmarks.md; see benchmarks/README.md
	"$(PYTHON)" -m benchmarks

# For instance: make chaos CHAOS="--database postgresql --orders 5000 --seconds 600 --seed 7"
chaos: env ## kill workers, databases and connections under 1,000 orders, on PostgreSQL and MariaDB
	"$(PYTHON)" -m tests.chaos $(CHAOS)

soak: env ## send 100,000 events through relayers that are killed again and again
	"$(PYTHON)" -m benchmarks.soak

clean: ## remove the environment and everything that tools left behind
	rm -rf "$(VENV)" build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
