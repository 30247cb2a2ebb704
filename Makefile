# Everything from a machine with only Python (3.11 or newer) and make. `make demo` and `make test` are all most people need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format bench clean

demo: .venv/installed
	$(BIN)/docendo demo

# A worker a core; a file's tests stay together, as some share what they have trained. Files keep their order: by number
# of tests, files of few and long ones would come last, and one core would wait for the other.
test: .venv/installed-dev
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: .venv/installed-dev
	$(BIN)/ruff check src tests scripts benchmarks
	$(BIN)/ruff format --check src tests scripts benchmarks
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff check --fix src tests scripts benchmarks
	$(BIN)/ruff format src tests scripts benchmarks

bench: .venv/installed-dev
	$(BIN)/python benchmarks/kd_step.py

clean:
	rm -rf .venv build src/*.egg-info .pytest_cache .ruff_cache .mypy_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[report]'
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ .venv/installed
