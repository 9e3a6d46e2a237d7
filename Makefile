# `make` lists what can be made. Variables, all optional:
#   SOURCE="a.parquet b.parquet"  DATASET=folder  RUN=folder  DTYPE=float32|int8
#   FEATURES_JSON=file  BENCHMARKS="a.parquet b.parquet"  FEATURE_SET=name  TARGET="name name"
#   ARGS="further arguments"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOL := $(BIN)/memmap-train

# Without SOURCE: the user's own files in data/ where they are, else a sample.
OWN := $(wildcard data/train.parquet data/validation.parquet)
SAMPLE := data/sample/train.parquet data/sample/validation.parquet
SOURCE ?= $(or $(OWN),$(SAMPLE))
ifeq ($(SOURCE),$(SAMPLE))
  DATASET ?= data/sample/shards
  RUN ?= runs/sample
  FEATURES_JSON ?= data/sample/features.json
  # Looked for when they are needed: the sample may be written only then, and an older one has none.
  BENCHMARKS ?= $(call there,$(addprefix data/sample/,$(BENCHMARK_FILES)))
else
  DATASET ?= data/shards
  RUN ?= runs/first
  ifeq ($(SOURCE),$(OWN))
    FEATURES_JSON ?= $(wildcard data/features.json)
    BENCHMARKS ?= $(call there,$(addprefix data/,$(BENCHMARK_FILES)))
  endif
endif
BENCHMARK_FILES := train_benchmark_models.parquet validation_benchmark_models.parquet meta_model.parquet
there = $(shell for file in $(1); do test ! -e $$file || echo $$file; done)

CONVERT = $(TOOL) convert $(SOURCE) --out $(DATASET) $(if $(DTYPE),--dtype $(DTYPE)) \
	$(if $(FEATURES_JSON),--features-json $(FEATURES_JSON)) \
	$(if $(BENCHMARKS),--benchmarks $(BENCHMARKS)) \
	$(if $(FEATURE_SET),--feature-set $(FEATURE_SET)) \
	$(foreach target,$(TARGET),--target $(target))

# A sample that an earlier version has written is not replaced unasked: its sizes may be the user's.
define SAY_WITHOUT
@test -n "$(filter-out $(SAMPLE),$(SOURCE))$(BENCHMARKS)" || \
	echo "data/sample has no benchmark files: make sample writes a sample that has" >&2
endef

# Words that aren't the field's, or not of today's English: `make check` finds them.
AVOIDED := rooms?|doors?|guests?|anew|wholly|hence|heed|whoever

.PHONY: help install sample plan convert inspect verify train evaluate report test torture check format bench clean

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed  ## make .venv and install the package with its pictures

sample: install  ## write a Numerai-shaped sample to data/sample/
	$(TOOL) sample data/sample $(ARGS)

plan: install | $(filter data/sample/%,$(SOURCE))  ## say what SOURCE needs, and what to type next
	$(TOOL) plan $(SOURCE) $(if $(FEATURES_JSON),--features-json $(FEATURES_JSON)) $(ARGS)

convert: install | $(filter data/sample/%,$(SOURCE))  ## convert SOURCE to DATASET
	$(SAY_WITHOUT)
	$(CONVERT) $(ARGS)

inspect: install  ## show what is in DATASET
	$(TOOL) inspect $(DATASET) $(ARGS)

verify: install  ## compare DATASET with its manifest
	$(TOOL) verify $(DATASET) $(ARGS)

train: install | $(filter data/sample/%,$(SOURCE))  ## convert if need be, then train (or resume) in RUN
	$(SAY_WITHOUT)
	$(CONVERT)
	$(TOOL) train $(DATASET) --run $(RUN) --resume $(foreach target,$(firstword $(TARGET)),--set 'targets=["$(target)"]') $(ARGS)

evaluate: install  ## score RUN: CORR, MMC, BMC, FNC and more, in numbers
	$(TOOL) evaluate $(RUN) $(DATASET) $(foreach target,$(TARGET),--target $(target)) $(ARGS)

report: install  ## show the scores of RUN in one page, RUN/report.html
	$(TOOL) report $(RUN) $(DATASET) --out $(RUN)/report.html $(ARGS)

test: $(VENV)/installed-dev  ## run all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

torture: $(VENV)/installed-dev  ## run the long damage tests
	$(BIN)/python -m pytest -s tests/torture $(ARGS)

check: $(VENV)/installed-dev  ## check format, style, types and words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@! grep -rnIiwE '$(AVOIDED)' --include='*.py' --include='*.md' memmap_train tests *.md || \
		{ echo "error: words that newcomers stumble over: expected plain technical English" >&2; exit 1; }

format: $(VENV)/installed-dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed-dev  ## measure speeds beside their physical limits
	$(BIN)/python -m tests.benchmarks $(ARGS)

clean:  ## remove .venv and caches; never data/ or runs/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find memmap_train tests -name __pycache__ -type d -prune -exec rm -rf {} +

data/sample/train.parquet: | install
	$(TOOL) sample data/sample

data/sample/validation.parquet: | data/sample/train.parquet
	@test -e $@ || $(TOOL) sample data/sample

# The Python that .venv was made of may be gone. For make, a link that leads nowhere is a file.
ifneq ($(shell test -x $(BIN)/python && echo there),there)
.PHONY: $(BIN)/python
endif

$(BIN)/python:
	@command -v $(firstword $(PYTHON)) >/dev/null || \
		{ echo "error: $(PYTHON): no such program; expected Python 3.11 or newer: name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "error: $(PYTHON): expected Python 3.11 or newer, found $$($(PYTHON) --version 2>&1 | head -n 1); name one: make PYTHON=python3.12" >&2; exit 1; }
	@rm -f $(BIN)/python*
	$(PYTHON) -m venv --without-pip $(VENV)

# Some systems have no ensurepip (Colab, Debian without python3-venv): their own pip installs one.
$(VENV)/pip: $(BIN)/python
	@{ $(BIN)/python -Im ensurepip --upgrade --default-pip && $(BIN)/python -m pip --version; } >/dev/null 2>&1 || \
		$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --force-reinstall pip || \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || \
		{ echo "error: $(VENV) gets no pip: $(PYTHON) has no ensurepip (on Debian and Ubuntu: apt install python3-venv), and no pip 22.3 or newer that could install it; install one of both, or name another Python: make PYTHON=python3.12" >&2; exit 1; }
	@touch $@

$(VENV)/installed: pyproject.toml $(VENV)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[report]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[numerai,report,dev]'
	@touch $@ $(VENV)/installed
