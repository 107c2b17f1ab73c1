# Every command that a person needs; CI runs the same ones.
#
# A fresh Linux machine needs make, a package index and Python 3.12 or 3.13 with venv. uv is taken from the PATH or put
# into the checkout (.uv), the environment is built from requirements.lock (.venv), and nothing outside is touched.

.POSIX:
.DELETE_ON_ERROR:
.PHONY: help environment demo test live check bench soak lock clean

PYTHON := .venv/bin/python
RECORDED := $(wildcard ../shared/data)

export UV_PYTHON_DOWNLOADS := never
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS := 120
ifneq ($(RECORDED),)
# Recorded market data, where it lies beside the checkout; tests that need it skip without it.
export MARKETLAKE_WORLDS := $(abspath $(RECORDED)/worlds)
export MARKETLAKE_REFERENCE_DATA := $(abspath $(RECORDED))
endif

help:
	@echo "make demo    one session in at one end, a priced and aligned table out at the other (WORLD=folder for a recorded one)"
	@echo "make test    all tests but the long ones, with coverage"
	@echo "make live    five minutes of three feeds at the market's own pace"
	@echo "make check   ruff, mypy, import-linter"
	@echo "make bench   measure against the baselines, write bench/latest.json"
	@echo "make soak    the long tests"
	@echo "make lock    resolve the dependencies again into requirements.lock"

environment: .venv/.built

.venv/.built: requirements.lock pyproject.toml .python-version environment.sh
	@sh environment.sh
	@touch $@

demo: .venv/.built
	$(PYTHON) -m flows demo $(if $(WORLD),--world "$(WORLD)")

test: .venv/.built
	rm -f .coverage .coverage.*
	$(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not soak and not live" --cov --cov-report=
	$(PYTHON) -m coverage report --fail-under=80
	$(PYTHON) -m coverage report --include="marketlake/*" --fail-under=90 --format=total

live: .venv/.built
	$(PYTHON) -m pytest -m live

check: .venv/.built
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

bench: .venv/.built
	$(PYTHON) -m bench

soak: .venv/.built
	$(PYTHON) -m pytest -m soak --timeout 7200
	$(PYTHON) -m pytest tests/unit -n 2 --hypothesis-profile=search --timeout 7200

lock:
	$$(command -v uv || echo .uv/bin/uv) pip compile pyproject.toml --universal --python-version 3.12 --all-extras \
		--group test --group check --group build --generate-hashes --no-header --quiet --upgrade -o requirements.lock

clean:
	rm -rf .venv .uv demo .coverage .coverage.*
