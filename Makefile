# Everything sets itself up on first use; a second run starts in a second.
# Two environments, never one: .venv (gateway, client, tests; no torch) and .venv-models (torch, Triton).
# bootstrap/ makes both, with the system's Python and nothing else.

PYTHON ?= python3
# Which build of torch: auto takes CUDA where there is an NVIDIA driver; cpu and cuda decide.
DEVICE ?= auto
VENV := .venv
AUDIT := build/setup/audit
MODELS := .venv-models
REPOSITORY := build/model_repository
RESULTS := build/tests
SOURCES := bootstrap client gateway exporter bench faults fresh testing tests zoo
BOOTSTRAP := '$(PYTHON)' -E -s -m bootstrap
FIND_PYTHON = command -v '$(PYTHON)' >/dev/null || { \
	echo "✗ $(PYTHON) is not there; install Python 3.10 or newer, or name another one: PYTHON=python3.12"; exit 1; }
# People who ask for the set-up alone want it looked through, and are told that it is complete.
CHECK = $(if $(filter setup setup-tests,$(MAKECMDGOALS)),--check)
TELL = $(if $(filter setup setup-tests,$(MAKECMDGOALS)),echo "✓ all is installed; next: make demo",:)
# Modules of elsewhere must not come before those of an environment.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests browser doctor fresh demo serve test test-all bench bench-full bench-search
.PHONY: faults soak torture fuzz zoo lint protos screenshots sbom audit clean

help: ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Make both environments, for what users run
	@$(FIND_PYTHON)
	@$(BOOTSTRAP) install --device $(DEVICE) $(CHECK) && $(TELL)

setup-tests: ## The same, with the tools of tests
	@$(FIND_PYTHON)
	@$(BOOTSTRAP) install --tests --device $(DEVICE) $(CHECK) && $(TELL)

browser: ## Install Chromium for the browser tests (Debian, as root)
	@$(FIND_PYTHON)
	@$(BOOTSTRAP) browser

doctor: ## Show what this machine has, what is missing, and what is installed
	@$(FIND_PYTHON)
	@$(BOOTSTRAP) doctor --tests --device $(DEVICE)

# Another command in this folder may have made them while this one waited.
STALE = [ ! -e $@ ] || [ -n "$$(find exporter/clipserve_exporter -type f -not -name "*.pyc" -newer $@)" ]
# What the models are made from decides when they are made anew, not when the environment was.
$(REPOSITORY)/.ready: $(shell find exporter/clipserve_exporter -type f -not -name '*.pyc') | setup
	@flock build/setup/lock sh -c '$(STALE) || exit 0; \
		$(MODELS)/bin/clipserve-export --model demo --format python --precision fp32 --out $(REPOSITORY) && touch $@'

demo: $(REPOSITORY)/.ready ## Classify and find real pictures, end to end
	@$(VENV)/bin/python demo/run.py

serve: $(REPOSITORY)/.ready ## Start Triton and the gateway on this machine; ARGS='--port 9000' for other settings
	@exec $(VENV)/bin/clipserve-gateway up --model-repository $(REPOSITORY) --models-env $(MODELS) $(ARGS)

test: ## Lint, unit, contract and end-to-end tests (a quarter of an hour the first time)
	@$(MAKE) --no-print-directory tests CHOSEN="-m 'not slow'"

test-all: ## The tests, and the heavier ones too
	@$(MAKE) --no-print-directory setup-tests
	@$(MAKE) --no-print-directory .venv-clients/.ready
	@$(MAKE) --no-print-directory tests

# In three parts side by side: most tests wait for processes that start, stop and are killed.
.PHONY: tests tests-gateway tests-whole tests-rest
tests:
	@$(MAKE) --no-print-directory setup-tests
	@if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ]; then $(MAKE) --no-print-directory browser; fi
	@$(MAKE) --no-print-directory $(REPOSITORY)/.ready lint
	@echo "· the tests, in three parts; what they print is shown when a part is done"
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory -k -j3 --output-sync=target tests-gateway tests-whole tests-rest; \
		code=$$?; $(VENV)/bin/python testing/summary.py $(addprefix $(RESULTS)/,gateway.xml whole.xml client.xml exporter.xml) && exit $$code

tests-gateway:
	@$(VENV)/bin/python -m pytest tests/gateway $(CHOSEN) --junitxml=$(RESULTS)/gateway.xml

tests-whole:
	@$(VENV)/bin/python -m pytest tests/contract tests/e2e $(CHOSEN) --junitxml=$(RESULTS)/whole.xml

tests-rest:
	@$(VENV)/bin/python -m pytest tests/bootstrap tests/client $(CHOSEN) --junitxml=$(RESULTS)/client.xml; code=$$?; \
		$(MODELS)/bin/python -m pytest tests/exporter $(CHOSEN) --junitxml=$(RESULTS)/exporter.xml && exit $$code

faults: setup-tests ## Break one thing after another under load (20 minutes); ROWS=a,b for some
	@$(VENV)/bin/python -m faults --rows '$(ROWS)'

zoo: setup-tests ## Export, serve and check a model of each open_clip family (about an hour); ROWS=a,b for some
	@$(VENV)/bin/python -m zoo --rows '$(ROWS)'

soak: setup-tests $(REPOSITORY)/.ready ## Half an hour of mixed load: does the gateway grow?
	@$(VENV)/bin/python -m faults.soak --minutes $(or $(MINUTES),30)

torture: setup-tests ## Kill a writer fifty times and look for lost points (some minutes)
	@$(VENV)/bin/python -m bench.torture --points 50

fuzz: setup-tests $(REPOSITORY)/.ready ## Send 100,000 harmed inputs to the service (about six minutes)
	@$(VENV)/bin/python -m bench.fuzz
	@$(VENV)/bin/python -m bench.fuzz scoped
	@$(VENV)/bin/python -m bench.fuzz http
	@$(VENV)/bin/python -m bench.fuzz loop

bench: setup-tests ## Measure speed end to end, beside ceilings (an hour); SUITES=images,search for some
	@$(VENV)/bin/python -m bench.speed --out build/speed $(if $(SUITES),--suites $(SUITES))

bench-full: setup-tests .venv-peer/.ready ## The same for publication, with served peers (an hour and a half); into bench/results
	@$(VENV)/bin/python -m bench.speed --full $(if $(SUITES),--suites $(SUITES))

# infinity-emb and LitServe, which want packages of their own.
.venv-peer/.ready: constraints/peer.txt
	@echo "· setting up .venv-peer"
	@$(PYTHON) -m venv .venv-peer
	@.venv-peer/bin/python -m pip install -q torch==2.13.0 -c $<
	@.venv-peer/bin/python -m pip install -q 'infinity-emb[torch,vision,server]' aiohttp litserve open_clip_torch -c $<
	@touch $@

# Clients of HTTP that others wrote; slow tests run them. Some want newer or older packages than .venv has.
.venv-clients/.ready: constraints/clients.txt
	@echo "· setting up .venv-clients"
	@$(VENV)/bin/python -m venv .venv-clients
	@.venv-clients/bin/python -m pip install -q \
		openai langchain-openai llama-index-embeddings-openai connectrpc pytest -c $<
	@touch $@

bench-search: setup-tests ## Measure the search engines up to a million points (about an hour)
	@$(VENV)/bin/python -m bench.search --engine lance --engine milvus --out build/search.json

lint: setup-tests ## Linter, formatter, type checker, import rules, protos
	@$(VENV)/bin/ruff check -q $(SOURCES) demo
	@$(VENV)/bin/ruff format -q --check $(SOURCES) demo
	@$(VENV)/bin/mypy --no-error-summary bootstrap fresh client gateway exporter/clipserve_exporter
	@$(VENV)/bin/lint-imports --no-cache >/dev/null || $(VENV)/bin/lint-imports --no-cache
	@$(VENV)/bin/buf lint
	@echo "✓ lint"

$(AUDIT)/.ready: constraints/audit.txt
	@$(PYTHON) -E -s -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install -q -r $<
	@touch $@

sbom: $(AUDIT)/.ready ## List what runs in production, as CycloneDX JSON, in build/sbom
	@$(AUDIT)/bin/python -m bootstrap.audit sbom

audit: $(AUDIT)/.ready ## Ask an advisory service what is known against it (exit code 2: not checked)
	@$(AUDIT)/bin/python -m bootstrap.audit check

protos: setup-tests ## Write what is made from protos/ anew: stubs, types, comments
	@$(VENV)/bin/python -m grpc_tools.protoc -I protos --python_out=client --pyi_out=client \
		--grpc_python_out=client protos/clipserve/v1/*.proto
	@$(VENV)/bin/python -m testing.typescript
	@$(VENV)/bin/python -m testing.api_comments
	@echo "✓ client/clipserve/v1"

screenshots: setup-tests $(REPOSITORY)/.ready ## Take the pictures of docs/page.md anew (needs Chromium)
	@$(VENV)/bin/python -m pytest tests/e2e/browser/test_page.py -k screenshots
	@cp build/screenshots/page-*.png docs/images/

swagger-ui: setup-tests ## Write the page of /docs anew, as tests/javascript pins it (needs Node.js)
	@$(VENV)/bin/python -m testing.swagger_ui
	@echo "✓ gateway/clipserve_gateway/data/docs"

fresh: ## Try README's commands on bare Debians (root, debootstrap, half an hour); SUITES='bookworm trixie'
	@$(PYTHON) -E -s -m fresh $(or $(SUITES),bookworm trixie)

clean: ## Remove what was built (not the environments)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
