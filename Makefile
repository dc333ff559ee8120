# `make demo` and `make test` need Python 3.11 or later and nothing else: they make their own environment in .venv.
# Another Python: make PYTHON=python3.12 test

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
QUESTION := What is the capital of France, and what is it known for?
FUZZ_SECONDS := 60
BENCH :=
ENVIRONMENTS :=

# Set-up runs again when what it installs has changed, and when the environment is not of the Python asked for.
VERSION_OF = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
PRESENT := $(call VERSION_OF,$(BIN)/python)
WANTED := $(if $(PYTHON),$(or $(call VERSION_OF,$(PYTHON)),unknown),$(PRESENT))
STALE := $(if $(PRESENT),$(filter-out $(PRESENT),$(WANTED)),missing)

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{printf "%-20s%s\n", $$1, $$2}'

INSTALLED := pyproject.toml constraints.txt scripts/setup_env.sh scripts/plugin_projects.py bedrock_async/_version.py $(PLUGINS:%=%/pyproject.toml)

$(STAMP): $(INSTALLED) $(if $(STALE),FORCE)
	@PYTHON='$(PYTHON)' VENV='$(VENV)' sh scripts/setup_env.sh
	@touch $@

.PHONY: FORCE
FORCE:

.PHONY: setup
setup: $(STAMP) ## Make or update the environment .venv

.PHONY: demo
demo: $(STAMP) ## Ask the embedded local model a question and stream its answer: no account, no key
	@$(BIN)/bedrock-async ask --local "$(QUESTION)"

.PHONY: test
test: $(STAMP) ## Run all tests, those of the plugins included
	@$(BIN)/python -m pytest

.PHONY: check
check: $(STAMP) ## Lint and types: ruff, mypy --strict, pyright strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@for plugin in $(PLUGINS); do \
	    echo "mypy in $$plugin"; (cd $$plugin && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml .) || exit 1; \
	done
	$(BIN)/pyright --warnings

.PHONY: format
format: $(STAMP) ## Format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: bench
bench: $(STAMP) ## Measure beside aiobotocore and a raw socket, and compare with the last recorded run
	@$(BIN)/python -m benchmarks $(BENCH)

.PHONY: bench-peers
bench-peers: $(STAMP) ## Measure beside all other clients; keep it with make bench-peers BENCH=--record
	@$(BIN)/python -m benchmarks --peers $(BENCH)

.PHONY: fuzz
fuzz: $(STAMP) ## Fuzz the decoders for a minute: make fuzz FUZZ_SECONDS=600
	@for target in fuzz/fuzz_*.py; do $(BIN)/python $$target --seconds $(FUZZ_SECONDS) || exit 1; done

.PHONY: soak
soak: $(STAMP) ## Ten minutes of calls and streams through faults, with memory and descriptors: make soak SOAK="--seconds 60"
	@$(BIN)/python scripts/soak.py $(SOAK)

.PHONY: audit
audit: $(STAMP) ## Look up the pinned dependencies among the known vulnerabilities (needs a network)
	@$(BIN)/uv tool run pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

.PHONY: build
build: $(STAMP) ## Build the wheels into dist/
	@$(BIN)/python -m hatchling build --target wheel --directory dist
	@for plugin in $(PLUGINS); do \
	    (cd $$plugin && $(CURDIR)/$(BIN)/python -m hatchling build --target wheel --directory $(CURDIR)/dist) || exit 1; \
	done

.PHONY: constraints
constraints: $(STAMP) ## Resolve all dependencies anew and write constraints.txt
	@$(BIN)/python scripts/constraints.py

.PHONY: test-matrix
test-matrix: $(STAMP) ## Test beside the newest aiobotocore, aioboto3, the newest boto3, Redis: make test-matrix ENVIRONMENTS=all
	@$(BIN)/python scripts/matrix.py $(ENVIRONMENTS)

.PHONY: clean
clean: ## Remove the environment, builds and caches
	rm -rf .venv .venv-* dist plugins/*/dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
