# Two commands matter: `make start` and `make test`. Both install what they need into .venv and .local.
PYTHON ?= python3
# Only from the command line (`make start HOST=func`): some shells export HOST as the name of the machine.
ifneq ($(origin HOST),command line)
HOST := local
endif
BIN := .venv/bin

.PHONY: start test check bench soak clean

# The stamp names the files that decide what is installed, so that the second run installs nothing.
# editable_mode=compat is a path in a file; otherwise it is a finder, which every start of `strata` would load.
.venv/.installed: requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --config-settings editable_mode=compat --editable .
	touch $@

start: .venv/.installed
	$(BIN)/python -m tools.local.up --host $(HOST)

# Three at once on two cores: much of a test is waiting for other processes. A file's tests stay together.
test: check
	$(BIN)/python -m pytest -n 3 --dist loadfile

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed
	$(BIN)/python -m tests.bench

# Devices that work, are killed and lose their server, with new seeds, for MINUTES.
soak: .venv/.installed
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),20)

clean:
	rm -rf .venv .local
