# Every target sets up what it needs, from nothing but Python 3.11 or newer and git; what is set up already is left alone.
#
#   make demo         a Label Studio project pre-labelled by OVDiff, to look at; Ctrl-C ends it
#   make demo-check   the same without a person, then checked; writes runs/demo-check.png
#                     DEMO_FLAGS="--engine odise" has the second engine predict in both
#   make demo-loop    from zero labels to a trained head: a table by the number of corrected tasks, in some minutes
#   make test         all tests, a real Label Studio and a headless Chromium included
#   make quick        the tests that load no models and start no servers, within a minute
#   make test-clouds  the tests of storages, on emulators of Azure and Google too; needs node, and 190 MB for Azure's
#   make fuzz         10,000 hostile requests for each way to be hostile, to every route; some minutes
#   make check        what CI asks for: format, lint, types, documentation and tests
#   make container    run the Dockerfile's steps without Docker, in an empty Debian: root, debootstrap, 5 GB, 10 minutes
#   make compose      run the services of compose.yaml without Docker, on that: root, debootstrap, 3 GB more, half an hour
#   make docs         the documentation site, in build/site; needs no network
#   make pictures     take the screenshots of README.md and docs anew, on a walk through all of it; some minutes
#   make notebook     run the examples' notebook and keep what it shows
#   make setup        only the two environments
#   make measure      measure the embedded models anew: benchmarks/results and the tables of the docs, an hour and a half
#   make gpu          all that only a GPU shows, in runs/gpu: tests, stages beside their floors, training; 25 minutes
#                     GPU_FLAGS="--minutes 9 --stage fast" does a piece of it; "--tiny" tries it out on a CPU
#   make gpu-wheels   what a machine without a network lacks for that, in runs/gpu-wheels; says its size
#   make tinyworld    train the embedded models anew in runs/tinyworld, hours; resumable
#   make lock         pin the requirements anew (LOCK_FLAGS=--upgrade for the newest versions)
#   make clean        remove the environments, the caches and the demo's project
#
# Variables: PYTHON (which Python to use), DEMO_FLAGS, PYTEST_FLAGS, PROCESSES (of the tests, 3; 0 for none beside pytest's).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# Images of containers often set it, and then every process compiles torch, transformers and the tests anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
DEMO_FLAGS ?=
PYTEST_FLAGS ?=
PROCESSES ?= 3
LOCK_FLAGS ?=

LABEL_STUDIO_VERSION := 1.23.2
ENV := .venv/.installed
LABEL_STUDIO_ENV := .venv-label-studio/.installed
LABEL_STUDIO := .venv-label-studio/bin/label-studio
AZURITE_VERSION := 3.37.0
AZURITE := .tools/azurite/node_modules/.bin/azurite-blob
# axe-core, which looks for what keeps people from using a page: one script, in a package that would bring Playwright along.
AXE := .cache/axe-0.1.8/axe_playwright_python/axe.min.js
# A file's tests run in one process, and so do all that share the servers (tests/processes.py).
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(PROCESSES) --no-loadscope-reorder

# uv of the machine if there is one, else a private one.
UV := $(or $(shell command -v uv 2>/dev/null),.tools/uv/bin/uv)
PRIVATE_UV := $(filter .tools/%,$(UV))

# A name beyond Python 2's syntax here would hide the message from those who need it.
define require_python
@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Name a Python 3.11 or newer: make PYTHON=..." >&2; exit 1; }
@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed, but $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 ..." % v[:2])'
endef

# The pinned wheels are for Python 3.11 to 3.13. Where PYTHON is newer, uv fetches a 3.13.
VENV_PYTHON = $$($(PYTHON) -c 'import sys; print(sys.executable if sys.version_info < (3, 14) else "3.13")')

.PHONY: help setup demo demo-check demo-loop test test-clouds quick fuzz check format lint types docs pictures container compose notebook measure gpu gpu-wheels tinyworld lock clean chromium

help:
	@sed -n 's/^#   //p' Makefile

setup: $(ENV) $(LABEL_STUDIO_ENV)
	@echo "Set up. Next: make demo, or source .venv/bin/activate and then ovdiff --help"

demo: $(ENV) $(LABEL_STUDIO_ENV)
	@.venv/bin/python -m backend.demo.run --label-studio $(LABEL_STUDIO) $(DEMO_FLAGS)

demo-check: $(ENV) $(LABEL_STUDIO_ENV)
	@.venv/bin/python -m backend.demo.check --label-studio $(LABEL_STUDIO) --sheet runs/demo-check.png $(DEMO_FLAGS)

demo-loop: $(ENV) $(LABEL_STUDIO_ENV)
	@OMP_NUM_THREADS=1 .venv/bin/python -m backend.demo.loop.run --label-studio $(LABEL_STUDIO) --out runs/demo-loop.json $(DEMO_FLAGS)

# One thread a process: the models are tiny, and torch's threads wait for one another as soon as a machine has other work.
test: $(ENV) $(LABEL_STUDIO_ENV) $(AXE) chromium
	$(PYTEST) --label-studio=$(LABEL_STUDIO) $(PYTEST_FLAGS)

# Azure's emulator is a package of node. Google's is in .venv.
test-clouds: $(ENV) $(AZURITE)
	$(PYTEST) --clouds tests/ovdiff/storage tests/backend/command/manifest $(PYTEST_FLAGS)

$(AZURITE):
	@command -v npm >/dev/null || { echo "Azure's emulator needs node and npm, which are not here." >&2; exit 1; }
	npm install --prefix .tools/azurite --no-audit --no-fund --silent azurite@$(AZURITE_VERSION)

# A test that is slow and not known to be fails (tests/speed.py).
quick: $(ENV)
	$(PYTEST) --quick $(PYTEST_FLAGS)

fuzz: $(ENV)
	$(PYTEST) tests/contracts/test_hostile_requests.py --rounds 10000 --timeout 0 $(PYTEST_FLAGS)

check: format lint types docs test

format: $(ENV)
	.venv/bin/ruff format --check .

lint: $(ENV)
	.venv/bin/ruff check .

types: $(ENV)
	.venv/bin/mypy

# The notice that is switched off is about MkDocs 2, which the lock does not ask for.
docs: $(ENV)
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet

pictures: $(ENV) $(LABEL_STUDIO_ENV) chromium
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest tests/end_to_end/test_walk.py tests/end_to_end/test_evaluation_page.py --label-studio=$(LABEL_STUDIO) --pictures docs

notebook: $(ENV)
	OMP_NUM_THREADS=1 PYTHONPATH=. .venv/bin/python -m examples.execute_notebook examples/quickstart.ipynb

# CONTAINER_FLAGS="--wheels FOLDER --build-arg EXTRAS=cpu" takes torch from a folder where PyTorch's index can't be reached.
container: $(ENV)
	.venv/bin/python -m tests.container.rehearsal $(or $(TARGET),cpu) $(CONTAINER_FLAGS)

# COMPOSE_FLAGS="--runs FOLDER" where `make container` was told another folder.
compose: $(ENV)
	.venv/bin/python -m tests.container.compose $(COMPOSE_FLAGS)

# Only the browser test needs it. Where it can't be installed that test is skipped and says so; with CI set it fails.
chromium:
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null && exit 0; \
	fi; \
	echo "Chromium and its driver are missing and can't be installed from here: the browser test will be skipped." >&2

.tools/uv/bin/uv:
	$(require_python)
	$(PYTHON) -m venv .tools/uv
	.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv

$(ENV): requirements.lock pyproject.toml | $(PRIVATE_UV)
	$(require_python)
	@test -x .venv/bin/python || $(UV) venv --quiet --python "$(VENV_PYTHON)" .venv
	$(UV) pip install --quiet --python .venv -r requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps -e .
	@touch $@

$(LABEL_STUDIO_ENV): requirements-label-studio.lock | $(PRIVATE_UV)
	$(require_python)
	@test -x .venv-label-studio/bin/python || $(UV) venv --quiet --python "$(VENV_PYTHON)" .venv-label-studio
	$(UV) pip install --quiet --python .venv-label-studio -r requirements-label-studio.lock
	@touch $@

$(AXE): | $(ENV)
	@$(UV) pip install --quiet --python .venv --no-deps --target .cache/axe-0.1.8 axe-playwright-python==0.1.8 || \
	echo "axe-core can't be fetched from here: the test that looks at the pages with it will be skipped." >&2

tinyworld: $(ENV)
	OMP_NUM_THREADS=1 .venv/bin/python -m ovdiff.tinyworld.training runs/tinyworld

# Whatever depends on the embedded models' weights, and what `ovdiff plan` knows. It can be stopped: prototypes that are made are kept in runs/bank.
# Fewer scenes take less time: make measure MEASURE_FLAGS="--scenes 24 --seeds 42".
MEASURE = OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks
MEASURE_FLAGS ?=
RESULTS := benchmarks/results
measure: $(ENV)
	$(MEASURE).absent_words --out $(RESULTS)/absent_words.json --failures docs/failures.png $(MEASURE_FLAGS)
	$(MEASURE).calibration --out $(RESULTS)/calibration.json --picture docs/reliability.png $(MEASURE_FLAGS)
	$(MEASURE).absent_words --ablation --sizes 4 --scenes 24 --usual 0 --out $(RESULTS)/ablation.json $(MEASURE_FLAGS)
	$(MEASURE).tinyworld_cost --out $(RESULTS)/tinyworld_cost.json
	$(MEASURE).instances --out $(RESULTS)/instances.json --failures docs/instances.png
	$(MEASURE).learning_curve --out $(RESULTS)/learning_curve.json --picture docs/learning-curve.png $(MEASURE_FLAGS)
	$(MEASURE).tinyworld_quality --out $(RESULTS)/tinyworld_quality.json $(MEASURE_FLAGS)
	$(MEASURE).tinyworld_support runs/tinyworld --out $(RESULTS)/tinyworld_support.json
	$(MEASURE).forecasts --out $(RESULTS)/forecasts.json $(MEASURE_FLAGS)
	$(MEASURE).baselines --out $(RESULTS)/baselines.json
	$(MEASURE).prototype_margins --out $(RESULTS)/prototype_margins.json $(MEASURE_FLAGS)
	OMP_NUM_THREADS=1 .venv/bin/ovdiff ablate drawn --limit 60 --bank runs/bank --out runs/ablation
	cp runs/ablation/ablation.json $(RESULTS)/ablation_drawn.json
	OMP_NUM_THREADS=1 .venv/bin/ovdiff ablate drawn --preset benchmarks/no_part_check.toml --limit 60 --rows kinds k-2 k-32 n \
	  --bank runs/bank --out runs/ablation-no-part-check
	cp runs/ablation-no-part-check/ablation.json $(RESULTS)/ablation_no_part_check.json
	$(MEASURE).evaluation_cost --out $(RESULTS)/evaluation_cost.json
	$(MEASURE).host_cost --out $(RESULTS)/host_cost.json
	$(MEASURE).stage_costs
	$(MEASURE).scale_plans --out $(RESULTS)/scale_plans.json
	$(MEASURE).cluster_simulation --out $(RESULTS)/cluster_simulation.json
	$(MEASURE).cpu_formats --out $(RESULTS)/cpu_formats.json
	$(MEASURE).one_cpu --out $(RESULTS)/one_cpu.json
	$(MEASURE).measured_tables

# On a machine that has a torch of its own and no network, such as a lent one, nothing is set up: its Python is used.
GPU_PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,$(PYTHON))
GPU_OUT ?= runs/gpu$(if $(findstring --tiny,$(GPU_FLAGS)),-tiny)
GPU_FLAGS ?=
gpu:
	$(GPU_PYTHON) -m benchmarks.gpu --out $(GPU_OUT) $(GPU_FLAGS)

# GPU_WHEELS_FLAGS="--has LIST --python 3.12": what `pip list` prints on that machine is left out.
GPU_WHEELS_FLAGS ?=
gpu-wheels: $(ENV)
	.venv/bin/python -m benchmarks.gpu.wheels --out runs/gpu-wheels $(GPU_WHEELS_FLAGS)

lock: | $(PRIVATE_UV)
	$(UV) pip compile pyproject.toml --extra dev --extra docs --python-version 3.11 --no-annotate --no-header --quiet $(LOCK_FLAGS) -o requirements.lock
	echo label-studio==$(LABEL_STUDIO_VERSION) | $(UV) pip compile - --python-version 3.11 --no-annotate --no-header --quiet $(LOCK_FLAGS) -o requirements-label-studio.lock

clean:
	rm -rf .venv .venv-label-studio .tools .cache demo-data .pytest_cache .mypy_cache .ruff_cache .hypothesis
