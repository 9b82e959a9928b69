# The two commands of the README, and what a founder needs besides.
VENV ?= .venv
BIN = $(VENV)/bin
PYTHON ?= python3

.PHONY: run test browser lint types format clean

run: $(VENV)/.run
	$(BIN)/python manage.py start

test: $(VENV)/.dev
	METRICS_DIR=$(CURDIR)/.pytest_cache/metrics $(BIN)/python -m pytest

# Needs Chromium, its driver and a font with Hangul.
browser: $(VENV)/.dev
	SHOP_BROWSER_TESTS=1 $(BIN)/python -m pytest -m browser

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis staticfiles

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp a requirements file: nothing is asked of the network until it changes.
$(VENV)/.run: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
