# Everything a newcomer needs: `make demo` and `make test`; each sets itself up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Of which Python it is: after an upgrade of the system's, another has to be made.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
STAMP := $(VENV)/.installed-$(VERSION)
# The demo needs a tenth of what the tests do; where all is installed it takes that.
# A board that is emulated, and real nodes, need more.
MORE := $(filter real,$(NODE))$(filter rp2040,$(BOARD))$(DEVICE)$(if $(NODE),,$(shell command -v lightningd))
DEMO := $(if $(MORE),$(STAMP),$(or $(wildcard $(STAMP)),$(VENV)/.demo-$(VERSION)))

IMAGE := build/board-image

.PHONY: demo test bench mutants venv lint deps board-image lock deb release clean

demo: $(DEMO)
	$(BIN)/satmeter demo $(if $(NODE),--node $(NODE)) $(if $(BOARD),--board $(BOARD)) $(if $(DEVICE),--device $(DEVICE))

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

# Every figure, on real nodes where they are installed; BENCH names some of them, or `emulated`.
bench: venv
	PYTHONPATH=tests $(BIN)/python tests/bench $(BENCH)

# Small changes of money code, each of which has to fail a test: a sample, or MUTANTS="--all", "--sample 50 --seed 7",
# "--module core/seller/session.py".
mutants: venv
	$(BIN)/python tests/mutants $(MUTANTS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

venv: $(STAMP)

$(STAMP): PARTS := test
$(STAMP): SIZE := 140 packages, 800 MB on disk
$(VENV)/.demo-$(VERSION): PARTS := demo
$(VENV)/.demo-$(VERSION): SIZE := 36 packages, 130 MB on disk

$(STAMP) $(VENV)/.demo-$(VERSION): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "Python 3.11, 3.12 or 3.13 is needed"'
	$(PYTHON) -m venv $(if $(wildcard $(VENV)/lib/python$(VERSION)),,--clear) $(VENV) || { echo "a virtual environment can't be made; on Debian: apt install python3-venv"; exit 1; }
	@echo "installing into $(VENV) (about $(SIZE))"
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[$(PARTS)]'
	touch $@

# System parts of the skipped lanes, from Debian's packages.
deps:
	apt-get update
	apt-get install -y --no-install-recommends postgresql systemd libzbar0 chromium mosquitto prometheus \
		build-essential debhelper lintian debootstrap python3-venv

# MicroPython for the emulated RP2040, from Debian's sources (root, apt), or from the official .uf2: UF2=path.
board-image:
	host/satmeter/board/rp2040/build-image $(IMAGE) $(UF2)

# The versions and hashes of a release's own environment, anew, after a change of setup.cfg.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header
PINNED := contrib/release/requirements
NODE_PARTS := --extra board --extra device --extra metrics --extra postgresql
lock: venv
	$(BIN)/pip install --quiet uv
	$(LOCK) setup.cfg $(NODE_PARTS) --extra web --extra billing -o $(PINNED)-all.txt > /dev/null
	$(LOCK) setup.cfg $(NODE_PARTS) -c $(PINNED)-all.txt -o $(PINNED)-node.txt > /dev/null
	printf 'setuptools>=77\nmpy-cross>=1.24,<2\n' | $(LOCK) - -c $(PINNED)-all.txt -o $(PINNED)-build.txt > /dev/null

# Debian packages of this checkout, in dist/: for this machine's architecture and its version of Debian.
deb:
	contrib/debian/build dist

# All that a release publishes, in dist/.
release: deb venv
	contrib/release/build dist $(PYTHON)

clean:
	rm -rf $(VENV) build dist host/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
