# Everything sets itself up on first use; a second run starts in seconds.
# Two environments, never one: .venv (gateway, client, tests; no torch) and .venv-models (torch, Triton).

PYTHON ?= python3
VENV := .venv
MODELS := .venv-models
REPOSITORY := build/model_repository
SOURCES := client gateway exporter bench faults tests

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-all bench bench-full bench-search faults soak torture fuzz lint protos clean

help: ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.ready $(MODELS)/.ready ## Make both environments

$(VENV)/.ready: pyproject.toml constraints/gateway.txt
	@echo "· setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -q -e '.[cli,gateway,dev]' -c constraints/gateway.txt
	@touch $@

# torch first and alone: an open requirement elsewhere must not choose another build of it.
$(MODELS)/.ready: pyproject.toml constraints/models.txt
	@echo "· setting up $(MODELS) (torch and Triton: some minutes the first time)"
	@$(PYTHON) -m venv $(MODELS)
	@$(MODELS)/bin/python -m pip install -q torch==2.13.0 -c constraints/models.txt
	@$(MODELS)/bin/python -m pip install -q -e '.[exporter,triton,test]' -c constraints/models.txt
	@touch $@

$(REPOSITORY)/.ready: $(MODELS)/.ready $(shell find exporter/clipserve_exporter -type f -not -name '*.pyc')
	@$(MODELS)/bin/clipserve-export --model demo --format python --out $(REPOSITORY)
	@touch $@

demo: setup $(REPOSITORY)/.ready ## Classify and find real pictures, end to end
	@$(VENV)/bin/python demo/run.py

serve: setup $(REPOSITORY)/.ready ## Start Triton and the gateway on this machine
	@exec $(VENV)/bin/clipserve-gateway up --model-repository $(REPOSITORY) --models-env $(MODELS)

test: ## Lint, unit, contract and end-to-end tests (a quarter of an hour the first time)
	@$(MAKE) --no-print-directory tests CHOSEN="-m 'not slow'"

test-all: ## The tests, and the heavier ones too
	@$(MAKE) --no-print-directory tests

# In two halves side by side: most tests wait for processes that start, stop and are killed.
.PHONY: tests tests-gateway tests-whole
tests:
	@$(MAKE) --no-print-directory -j2 setup $(REPOSITORY)/.ready
	@$(MAKE) --no-print-directory lint
	@echo "· the tests, in two halves; what they print is shown when a half is done"
	@$(MAKE) --no-print-directory -j2 --output-sync=target tests-gateway tests-whole

tests-gateway:
	@$(VENV)/bin/python -m pytest tests/client tests/gateway $(CHOSEN)

tests-whole:
	@$(VENV)/bin/python -m pytest tests/contract tests/e2e $(CHOSEN)
	@$(MODELS)/bin/python -m pytest tests/exporter $(CHOSEN)

faults: setup ## Break one thing after another under load (13 minutes); ROWS=a,b for some
	@$(VENV)/bin/python -m faults --rows '$(ROWS)'

soak: setup $(REPOSITORY)/.ready ## Half an hour of mixed load: does the gateway grow?
	@$(VENV)/bin/python -m faults.soak --minutes $(or $(MINUTES),30)

torture: $(VENV)/.ready ## Kill a writer fifty times and look for lost points (some minutes)
	@$(VENV)/bin/python bench/torture.py --points 50

fuzz: setup $(REPOSITORY)/.ready ## Send 100,000 harmed inputs to the service (about six minutes)
	@$(VENV)/bin/python bench/fuzz.py

bench: setup ## Measure speed end to end, beside ceilings (an hour); SUITES=images,search for some
	@$(VENV)/bin/python -m bench.speed --out build/speed $(if $(SUITES),--suites $(SUITES))

bench-full: setup .venv-peer/.ready ## The same for publication, with served peers (an hour and a half); into bench/results
	@$(VENV)/bin/python -m bench.speed --full $(if $(SUITES),--suites $(SUITES))

# infinity-emb and LitServe, which want packages of their own.
.venv-peer/.ready: constraints/peer.txt
	@echo "· setting up .venv-peer"
	@$(PYTHON) -m venv .venv-peer
	@.venv-peer/bin/python -m pip install -q torch==2.13.0 -c $<
	@.venv-peer/bin/python -m pip install -q 'infinity-emb[torch,vision,server]' aiohttp litserve open_clip_torch -c $<
	@touch $@

bench-search: $(VENV)/.ready ## Measure the search engines up to a million points (about an hour)
	@$(VENV)/bin/python bench/search.py --engine lance --engine milvus --out build/search.json

lint: $(VENV)/.ready ## Linter, formatter, type checker, import rules, protos
	@$(VENV)/bin/ruff check -q $(SOURCES) demo
	@$(VENV)/bin/ruff format -q --check $(SOURCES) demo
	@$(VENV)/bin/mypy --no-error-summary client gateway exporter/clipserve_exporter
	@$(VENV)/bin/lint-imports --no-cache >/dev/null || $(VENV)/bin/lint-imports --no-cache
	@$(VENV)/bin/buf lint
	@echo "✓ lint"

protos: $(VENV)/.ready ## Write the stubs anew from protos/
	@$(VENV)/bin/python -m grpc_tools.protoc -I protos --python_out=client --pyi_out=client \
		--grpc_python_out=client protos/clipserve/v1/*.proto
	@echo "✓ client/clipserve/v1"

clean: ## Remove what was built (not the environments)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
