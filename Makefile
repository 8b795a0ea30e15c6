# livepush. `make help` says what there is.
#
# Everything runs in the virtual environment VENV, made with the first Python >= 3.11 that is found.

VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# Given on the command line or in the environment, and read by djangosite/exchange/environment.py, where they are explained:
# SITE_PORT PUSH_PORT PUSH_URL AMQP_PORT BROKER DEMO_DIR ORDERS_FREE_LOCK_TIME

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo demo-check demo-reset manage test unit lint bench soak fuzz install-units

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## run the order exchange at http://127.0.0.1:8000/
	@exec $(BIN)/python -m exchange.demo

demo-check: $(VENV)/.demo ## run it on free ports and see that everybody is told what he may know
	@exec $(BIN)/python -m exchange.demo_check

demo-reset: $(VENV)/bin/python ## forget the demo's database and secrets
	@PYTHONPATH=djangosite exec $(BIN)/python -m exchange.demo --reset

manage: $(VENV)/.demo ## run manage.py with the demo's settings and database: make manage ARGS="shell"
	@exec $(BIN)/python djangosite/manage.py $(ARGS)

test: $(VENV)/.test ## run every test; installs the servers they need (Debian, root or sudo)
	@tests/install_servers.sh
	@exec $(BIN)/trial tests

unit: $(VENV)/.test ## run the tests that need no server
	@exec $(BIN)/trial tests.unit

lint: $(VENV)/.test ## ruff and mypy, strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/.test ## what livepush costs, against a bare pipeline (minutes): make bench ARGS="--help"
	@exec $(BIN)/python -m bench $(ARGS)

SECONDS ?= 60
soak: $(VENV)/.test ## break everything for a while, then see that nothing was lost in silence: make soak SECONDS=60 ARGS="--help"
	@tests/install_servers.sh
	@exec $(BIN)/python -m tests.soak --seconds $(SECONDS) $(ARGS)

fuzz: $(VENV)/.test ## spoiled input for everything that reads what others wrote: make fuzz SECONDS=60 ARGS="--help"
	@exec $(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

UNITS ?= /etc/systemd/system
install-units: ## install the systemd units: make install-units PROJECT=/srv/shop SETTINGS=shop.settings VENV=/srv/shop/venv
	@systemd/install.sh "$(UNITS)" "$(abspath $(VENV))" "$(PROJECT)" "$(SETTINGS)"

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "livepush: needs Python 3.11 or later, and finds none; name one: make PYTHON=..." >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "livepush: $(PYTHON) has no venv module (Debian: apt install python3-venv)" >&2; exit 1; fi
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.py pyproject.toml | $(VENV)/bin/python
	@echo "installing livepush and what the demo needs into $(VENV)"
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/.test: setup.py pyproject.toml | $(VENV)/bin/python
	@echo "installing livepush and what its tests need into $(VENV)"
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.demo
