# Every target sets up what it needs in .venv; a second call finds it there. Most of what is
# installed is never imported: what is, Python compiles then, and setting up takes some 40 % less.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LINKS := build/typing/retort
PACKAGES := hardware controller sim distill launch

.PHONY: demo test lint types bench setup clean

demo: $(READY)
	$(BIN)/retort launch balancer

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) $(LINKS)
	$(BIN)/pyright

bench: $(READY)
	@set -e; for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file; done

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is too old: retort needs Python 3.11 or newer; name one with make PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	@touch $(READY)

# The folders under the name they are installed by, for pyright and editors.
$(LINKS):
	mkdir -p $(LINKS)
	for package in $(PACKAGES); do ln -sfn ../../../$$package $(LINKS)/$$package; done

clean:
	rm -rf $(VENV) build retort.egg-info
