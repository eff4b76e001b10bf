# make demo   compile the shipped denoiser, stream a noisy recording through it, check and time it
# make test   everything the tests need, lint, types, tests
# Variables: PYTHON, VENV, TORCH (which torch pip installs), MODELS (folder of real models),
#            JOBS (test processes).

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
JOBS ?= 3
MODELS ?=

BIN := $(VENV)/bin
C_FILES = $(shell git ls-files -- '*.c' '*.h' ':!tests/golden')
DEMO := build/demo
DENOISER := examples/denoise/model.py:streaming

.PHONY: demo test test-fast lint format types tools clean
.DEFAULT_GOAL := demo

# torch comes first and from wherever pip is told to look: as a dependency of another package it
# would come with gigabytes of GPU libraries.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt setuptools '$(TORCH)'
	$(BIN)/pip install --quiet -c constraints.txt -e '.[compile,torch,dev]'
	touch $@

# A C compiler: for target `c` and for the kernel tests. The others run what is compiled for other
# machines: without them those tests are skipped.
TOOLS := cc:gcc cc:libc6-dev valgrind:valgrind qemu-aarch64-static:qemu-user-static \
    node:nodejs chromium:chromium tsc:node-typescript javac:default-jdk-headless
tools:
	@missing=; for t in $(TOOLS); do \
	    command -v $${t%%:*} >/dev/null || missing="$$missing $${t##*:}"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
	elif [ -n "$$missing" ]; then echo "not installed:$$missing" >&2; fi; \
	command -v cc >/dev/null || { echo "needed: gcc or clang" >&2; exit 6; }

demo: $(VENV)/installed tools
	@echo "== compile the denoiser of examples/denoise for this machine and as C source"
	$(BIN)/edgeseq compile $(DENOISER) --name denoise -o $(DEMO)/dist --force
	@echo; echo "== stream a noisy recording through it"
	$(BIN)/python examples/denoise/denoise_wav.py examples/denoise/demo-noisy.wav \
	    $(DEMO)/enhanced.wav --artifact $(DEMO)/dist
	@echo; echo "== check every output against PyTorch in float64"
	$(BIN)/edgeseq validate $(DEMO)/dist --junit $(DEMO)/numerics.xml
	@echo; echo "== time it next to ONNX Runtime and PyTorch"
	$(BIN)/edgeseq bench model $(DEMO)/dist --against $(DENOISER)
	@echo; echo "== next"
	@echo "listen    examples/denoise/demo-noisy.wav, then $(DEMO)/enhanced.wav"
	@echo "look      $(BIN)/edgeseq inspect $(DEMO)/dist --why; $(DEMO)/dist/report.html"
	@echo "link      $(DEMO)/dist/c/denoise.c and its header, or the library beside it"
	@echo "compile   $(BIN)/edgeseq compile your-model.onnx -o your-dist"

test: lint types tools
	$(BIN)/pytest -n $(JOBS) --dist loadgroup --durations 60 -rs $(if $(MODELS),--models=$(abspath $(MODELS)))

test-fast: $(VENV)/installed tools
	$(BIN)/pytest -n $(JOBS) --dist loadgroup -m 'not slow'

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(if $(C_FILES),$(BIN)/clang-format --dry-run -Werror $(C_FILES))

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(C_FILES),$(BIN)/clang-format -i $(C_FILES))

# mypy does not follow an editable install: it reads a copy laid out as the wheel is, from outside
# the root, where `passes`, `kernels` and `targets` stand inside the package.
types: $(VENV)/installed
	rm -rf build/types && mkdir -p build/types
	cp -Rp edgeseq build/types/ && cp -Rp passes kernels targets build/types/edgeseq/
	cd build/types && $(abspath $(BIN))/mypy --strict --config-file $(CURDIR)/pyproject.toml \
	    --cache-dir $(CURDIR)/.mypy_cache -p edgeseq

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
