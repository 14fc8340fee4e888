# Needs Python 3.11 or newer with venv and pip, and make. `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEER := .venv-peer
PEER_INSTALLED := $(PEER)/.installed
TRITON := .venv-triton
TRITON_INSTALLED := $(TRITON)/.installed
REAL := .venv-real
REAL_INSTALLED := $(REAL)/.installed
LLAMA := .venv-llama
LLAMA_INSTALLED := $(LLAMA)/.installed
# Of fuzzing.
SECONDS := 600

.DEFAULT_GOAL := help
.PHONY: help venv peer llama demo lint lint-types lint-text check test test-all coverage nox bench bench-gateway real fuzz soak gpu docs clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 15

venv: $(INSTALLED) ## Make .venv with sire and the tested version of everything it needs

peer: $(PEER_INSTALLED) $(TRITON_INSTALLED) ## Make .venv-peer and .venv-triton with the servers that bench compares sire with

llama: $(LLAMA_INSTALLED) ## Build .venv-llama with llama.cpp's server, which some tests are for (minutes)

demo: $(INSTALLED) ## Train two small models and serve them with a daemon of their own
	$(BIN)/python examples/digits/train.py .demo
	$(BIN)/python examples/digits/demo.py .demo

lint: $(INSTALLED) ## Check style, spelling, wording, types and imports, and that man/ is current
	@$(MAKE) --no-print-directory --jobs=2 --output-sync lint-types lint-text

lint-types:
	$(BIN)/mypy

lint-text:
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/python -m tests.wording
	$(BIN)/lint-imports
	$(BIN)/python -m man --check

check: lint ## Run lint, the fast tests of single rooms and one seed of the simulation: a minute or so
	SIRE_SEED=1 $(BIN)/pytest -n 2 -m 'not slow and not long' \
	  tests/unit tests/contract tests/simulation

test: lint ## Run lint, then every test this machine can run in minutes
	$(BIN)/pytest -n 2 -m 'not long'

test-all: test ## Run make test, then the long tests, a minute of fuzzing and a soak
	$(BIN)/pytest -n 2 -m long
	$(BIN)/python -m tests.fuzz all --seconds 60
	$(BIN)/python -m tests.endurance --hours 0.1

# Workers see the variables that are named, and are measured by one of them.
coverage: $(INSTALLED) ## Run the tests with branches counted in every process, against the bound in pyproject
	$(BIN)/coverage erase
	SIRE_WORKERS_ENVIRONMENT='COVERAGE_*' $(BIN)/coverage run -m pytest -n 2 -m 'not long'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

nox: $(INSTALLED) ## Run the tests with each supported version of Python that is installed
	$(BIN)/nox

bench: $(INSTALLED) $(PEER_INSTALLED) ## Measure sire beside a peer and the floor of this machine
	$(BIN)/python -m benchmarks

bench-gateway: $(INSTALLED) $(PEER_INSTALLED) $(TRITON_INSTALLED) ## Measure the gateway beside an echo and other servers
	$(BIN)/python -m benchmarks.gateway

real: $(INSTALLED) $(REAL_INSTALLED) ## Compare sire with the models of public packages, run by their own code
	$(BIN)/python -m benchmarks.real_models

fuzz: $(INSTALLED) ## Look for input that breaks something, for SECONDS=600, then in a daemon
	$(BIN)/python -m tests.fuzz all --seconds $(SECONDS)

soak: $(INSTALLED) ## Kill and stop processes at random, load 1000 times, have 30 models share room for 5 for HOURS=1
	$(BIN)/python -m tests.endurance --hours $(or $(HOURS),1)

gpu: $(INSTALLED) ## Measure loads, switches and memory on this machine's GPU
	$(BIN)/python -m benchmarks.gpu

docs: $(INSTALLED) ## Write the manual pages and ARCHITECTURE.md's table of rooms again
	$(BIN)/python -m man
	$(BIN)/python -m tests.architecture

clean: ## Remove everything made here, .venv included
	rm -rf $(VENV) $(PEER) $(TRITON) $(REAL) $(LLAMA) .nox .coverage* .demo .fuzz build dist *.egg-info benchmarks/results
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The constraints hold from the very first install, so nothing looser is ever downloaded.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'sire needs Python 3.11 or newer. Say where one is: make venv PYTHON=python3.12' >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'This Python cannot make virtual environments.' >&2; \
	  echo 'On Debian and Ubuntu: sudo apt install python3-venv' >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Nothing of it is in .venv. It computes with the torch of .venv, so that both compute alike.
$(PEER_INSTALLED): $(INSTALLED) benchmarks/peers/constraints.txt
	$(BIN)/python -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet --constraint benchmarks/peers/constraints.txt mosec
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$($(PEER)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth
	@touch $@

$(TRITON_INSTALLED): $(INSTALLED) benchmarks/peers/triton-constraints.txt
	$(BIN)/python -m venv $(TRITON)
	$(TRITON)/bin/python -m pip install --quiet --constraint benchmarks/peers/triton-constraints.txt nvidia-pytriton
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$($(TRITON)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth
	@touch $@

# Without what they depend on: torch, ONNX Runtime and the like are those of .venv, so that both compute alike.
$(REAL_INSTALLED): $(INSTALLED) benchmarks/real/packages.txt
	$(BIN)/python -m venv $(REAL)
	$(REAL)/bin/python -m pip install --quiet --no-deps --requirement benchmarks/real/packages.txt
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$($(REAL)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth
	@touch $@

# It is compiled: that takes a C++ compiler and some minutes. Its pictures and tools are left out.
$(LLAMA_INSTALLED): tests/llama/constraints.txt
	$(PYTHON) -m venv $(LLAMA)
	CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF" \
	  $(LLAMA)/bin/python -m pip install --quiet --constraint tests/llama/constraints.txt \
	  'llama-cpp-python[server]' gguf
	@touch $@
