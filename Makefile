# Everything a newcomer needs. Each target sets up what it uses; on Debian or Ubuntu, as root, that
# includes the packages that the tests need (a real Prometheus and a real NGINX).

VENV := .venv
BIN := $(VENV)/bin
FAULT ?= errors
WORKERS ?= auto
SERVERS := prometheus nginx-light

.DEFAULT_GOAL := help
.PHONY: help setup servers demo test lint unit bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(BIN)/uv:
	python3 -m venv $(VENV) || { apt-get update && apt-get install -y python3-venv && python3 -m venv --clear $(VENV); }
	$(BIN)/pip install --quiet --disable-pip-version-check uv

setup: $(BIN)/uv ## Make the virtual environment, exactly as locked
	$(BIN)/uv sync --quiet --frozen --inexact

servers: ## Install the real servers that the tests run against (Debian, Ubuntu; needs root)
	@command -v prometheus > /dev/null 2>&1 && command -v promtool > /dev/null 2>&1 && command -v nginx > /dev/null 2>&1 \
	  || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SERVERS); }

demo: setup ## Watch a canary go bad and be rolled back (FAULT=errors|latency|crash|none)
	$(BIN)/rollbackd demo --fault $(FAULT)

lint: setup ## Style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup ## The tests that need no server, in a minute
	$(BIN)/pytest -n $(WORKERS) -m "not servers and not slow"

test: servers lint ## Everything: lint, types, contracts, all tests
	$(BIN)/pytest -n $(WORKERS)

bench: setup ## Measure speed, memory and delay; prints figures, asserts nothing
	$(BIN)/python -m benchmarks.tick
	$(BIN)/python -m benchmarks.delay

clean: ## Remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
