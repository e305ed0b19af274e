# Two commands set everything up on a machine that has only Python 3.11 with pip, and make:
#   make quickstart   environment, install, and the main job on the built-in shop
#   make test         environment, install with the dev extra, linters and the full test suite
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
RUN    ?= runs/quickstart

# uv where there is one (30 s), else pip (2 min). torch and torchvision come together from the default index:
# a CPU-only torch beside the index's torchvision cannot be imported.
UV := $(shell command -v uv 2>/dev/null)
ifneq ($(UV),)
MAKE_VENV = $(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
INSTALL   = $(UV) pip install --quiet --python $(BIN)/python
else
MAKE_VENV = $(PYTHON) -m venv $(VENV)
INSTALL   = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

.PHONY: help quickstart install test lint format bench clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make quickstart   set up, then train and test dual_flow on the simulated shop (about 3 minutes after the set-up)
quickstart: $(VENV)/.installed
	@rm -rf $(RUN)
	$(BIN)/moon-zoo fit --config dual_flow/quickstart --run $(RUN)
	$(BIN)/moon-zoo test --run $(RUN)

## make install      the environment in .venv with the package in it
install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(MAKE_VENV)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(MAKE_VENV)
	$(INSTALL) -e ".[dev]"
	@touch $@ $(VENV)/.installed

## make test         set up with the dev extra, lint, type check, full test suite
test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

## make lint         ruff and mypy alone
lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## make format       let ruff mend what it can
format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make bench        every benchmark beside its peers (about 50 minutes, an idle machine); NAMES="loader startup" for some
bench: $(VENV)/.installed
	$(BIN)/python benchmarks/run.py $(NAMES)

## make clean        environments, caches and runs of this checkout
clean:
	rm -rf $(VENV) .venv-bench* runs build dist .mypy_cache .pytest_cache .ruff_cache
