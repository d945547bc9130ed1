# Everything is installed into .venv; a stamp file there makes the next start immediate.
.DEFAULT_GOAL := help
PORT ?= 3000

# The one place that chooses between GPU and CPU: an extra of pyproject.toml.
RUNTIME := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)

# An environment whose Python is gone, or is of another version than PYTHON=... asks for, is made anew.
KEPT := $(or $(PYTHON),.venv/bin/python)
override PYTHON := $(or $(PYTHON),python3)
ifneq ($(shell { .venv/bin/python --version; } 2>/dev/null),$(shell { $(KEPT) --version || echo none; } 2>/dev/null))
.venv/$(RUNTIME): FORCE
endif

export BENTOML_DO_NOT_TRACK := True

.PHONY: help serve test bench bench-memory free-port FORCE

help:
	@echo 'make serve    serve the generators in models/ on port 3000, or on PORT=...'
	@echo 'make test     check and test everything'
	@echo 'make bench    measure the service beside its peers, in half an hour: benchmarks/README.md'
	@echo 'make bench-memory    see whether its memory grows under load, in ten minutes'
	@echo 'All install what they need into .venv, with python3 or with PYTHON=...'

serve: free-port .venv/serve-$(RUNTIME)
	@exec .venv/bin/bentoml serve service.service:Ganserve --port $(PORT)

test: .venv/test-$(RUNTIME)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# The others are installed into .venv-bench.
bench: .venv/test-$(RUNTIME) .venv/serve-$(RUNTIME)
	.venv/bin/python -m benchmarks.serving --seconds 4 --rounds 3 --write

bench-memory: .venv/serve-$(RUNTIME)
	.venv/bin/python -m benchmarks.serving.memory --minutes 10 --write

free-port: .venv/$(RUNTIME)
	@.venv/bin/python -c 'import socket; socket.create_server(("", int("$(PORT)") or -1))' 2>/dev/null || { \
	  echo 'Port $(PORT) cannot be used: it is taken, root'\''s alone, or no port at all. Choose another: make serve PORT=3001' >&2; \
	  exit 1; }

.venv/serve-$(RUNTIME): EXTRAS := serve,$(RUNTIME)
.venv/test-$(RUNTIME): EXTRAS := serve,train,test,$(RUNTIME)
.venv/serve-$(RUNTIME) .venv/test-$(RUNTIME): .venv/$(RUNTIME) pyproject.toml constraints.txt
	@.venv/bin/python deploy/install.py $(EXTRAS)
	@touch $@

# onnxruntime and onnxruntime-gpu cannot share an environment, so each has one of its own.
.venv/$(RUNTIME):
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	  "Python " + sys.version.split()[0] + " is too old: Ganserve needs 3.11 or newer. Choose one: make $(or $(MAKECMDGOALS),serve) PYTHON=python3.11")'
	@$(PYTHON) -m venv --clear .venv
	@touch $@
