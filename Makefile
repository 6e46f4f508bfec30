# make demo    installs what is missing and runs a whole plant on this machine (ARGS="--parts 200")
# make test    installs what is missing and runs everything that can run here
# make test-plant   then against real parts: it installs a database server and the like where apt-get and root allow
# make collector   builds the OpenTelemetry collector that deploy/otel configures, with Go
# make observe-parts   gets what ARGS="--observe" of the demo starts: collector, Zipkin (Maven), Prometheus and Alertmanager (apt-get)
# make lint    ruff and mypy; make bench prints the benchmarks; make clean removes what make made

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# Test processes; 0 runs all in this one, as a debugger wants it. What runs in real time has the machine to itself in test-plant:
# real cameras on a busy one lose packets.
WORKERS ?= 2
PLANT_WORKERS ?= 1
BIN := $(VENV)/bin
# uv's cache and the environment may lie on different disks; then it copies, and need not warn about it.
UV := UV_LINK_MODE=$${UV_LINK_MODE:-hardlink} $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
STAMP := $(VENV)/.installed
OBSERVE_PACKAGES := prometheus:/usr/bin/promtool \
	prometheus-alertmanager:/usr/bin/prometheus-alertmanager
# Real parts for test-plant: a Debian package and the program by which it is known to be there.
PLANT_PARTS := postgresql:/usr/lib/postgresql/*/bin/initdb \
	python3-gi:/usr/lib/python3/dist-packages/gi/__init__.py \
	aravis-tools:/usr/bin/arv-fake-gv-camera-0.8 \
	gir1.2-aravis-0.8:/usr/lib/*/girepository-1.0/Aravis-0.8.typelib \
	gir1.2-gst-rtsp-server-1.0:/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib \
	gir1.2-gst-plugins-base-1.0:/usr/lib/*/girepository-1.0/GstRtsp-1.0.typelib \
	gstreamer1.0-plugins-base:/usr/lib/*/gstreamer-1.0/libgstapp.so \
	gstreamer1.0-plugins-good:/usr/lib/*/gstreamer-1.0/libgstrtp.so \
	gstreamer1.0-plugins-ugly:/usr/lib/*/gstreamer-1.0/libgstx264.so \
	chromium:/usr/bin/chromium \
	kcat:/usr/bin/kcat \
	$(OBSERVE_PACKAGES)
# What hangs must not hold up whoever waits for the end; nor does a test process that died, whose tests nobody takes over.
TEST_TIME := 40m
PLANT_TIME := 45m
BOUNDED := timeout --kill-after=30s
# pytest's answer where none of the tests that ARGS names belongs to a turn.
NO_TEST := 5
PYTEST := $(BIN)/pytest --dist loadscope --max-worker-restart 0
NODE_OPCUA := tests/plc/node/node_modules/.installed
# The OpenTelemetry collector with what deploy/otel/collector.yaml names, built by Go: two minutes, once a version.
COLLECTOR_VERSION := 0.148.0
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/neverblink
COLLECTOR := $(CACHE)/collector-$(COLLECTOR_VERSION)
# A store of traces with pages to look at them; services/neverblink/demo/observing names the same version.
ZIPKIN_VERSION := 3.5.1
ZIPKIN := $(CACHE)/zipkin-$(ZIPKIN_VERSION)/zipkin-server-$(ZIPKIN_VERSION)-exec.jar
AXE := tests/browser/node_modules/.installed
KAFKAJS := tests/broker/foreign/node_modules/.installed

.PHONY: demo test test-plant plant-parts observe-parts observe-packages collector zipkin lint bench format clean
demo: $(STAMP)
	$(BIN)/neverblink demo $(ARGS)

test: lint $(NODE_OPCUA)
	$(BOUNDED) $(TEST_TIME) $(PYTEST) -n $(WORKERS) $(ARGS)

test-plant: $(STAMP) $(NODE_OPCUA) $(AXE) $(KAFKAJS) plant-parts collector zipkin
	$(BOUNDED) $(PLANT_TIME) $(PYTEST) -m "plant and not live" -n $(WORKERS) $(ARGS) || test $$? = $(NO_TEST)
	$(BOUNDED) $(PLANT_TIME) $(PYTEST) -m "plant and live" -n $(PLANT_WORKERS) $(ARGS) || test $$? = $(NO_TEST)

observe-parts: collector zipkin observe-packages

plant-parts: PACKAGES := $(PLANT_PARTS)
observe-packages: PACKAGES := $(OBSERVE_PACKAGES)
plant-parts observe-packages:
	@missing=; for part in $(PACKAGES); do ls $${part#*:} >/dev/null 2>&1 || missing="$$missing $${part%%:*}"; done; \
	if test -z "$$missing"; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "NOT INSTALLED:$$missing: there is no apt-get; what needs them is left out"; exit 0; fi; \
	if test "$$(id -u)" != 0; then echo "NOT INSTALLED:$$missing: only root may; what needs them is left out"; exit 0; fi; \
	export DEBIAN_FRONTEND=noninteractive; apt-get update -q && apt-get install -y -q --no-install-recommends $$missing \
		|| echo "NOT INSTALLED:$$missing: apt-get failed; what needs them is left out"

collector: $(COLLECTOR)/built/otelcol

$(COLLECTOR)/built/otelcol:
	@if ! command -v go >/dev/null; then echo "NOT BUILT: the collector: there is no Go; its tests skip"; exit 0; fi; \
	echo "building the OpenTelemetry collector $(COLLECTOR_VERSION) in $(COLLECTOR)"; config=$$PWD/deploy/otel/collector-builder.yaml; \
	mkdir -p $(COLLECTOR) && cd $(COLLECTOR) && export GOTOOLCHAIN=local GOBIN=$(COLLECTOR) \
		&& go install go.opentelemetry.io/collector/cmd/builder@v$(COLLECTOR_VERSION) && ./builder --config $$config >build.log 2>&1 \
		|| echo "NOT BUILT: the collector: see $(COLLECTOR)/build.log; its tests skip"

zipkin: $(ZIPKIN)

# Into a folder beside it first, so that half a file is never run.
$(ZIPKIN):
	@if ! command -v mvn >/dev/null; then echo "NOT FETCHED: Zipkin: there is no Maven; its tests skip"; exit 0; fi; \
	echo "fetching Zipkin $(ZIPKIN_VERSION) into $(@D), 131 MB"; mkdir -p $(@D) && cd $(@D) \
		&& mvn -q -B -ntp dependency:copy -Dartifact=io.zipkin:zipkin-server:$(ZIPKIN_VERSION):jar:exec -DoutputDirectory=fetched >fetch.log 2>&1 \
		&& mv fetched/$(@F) $@ && rmdir fetched || echo "NOT FETCHED: Zipkin: see $(@D)/fetch.log; its tests skip"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The others want a cache folder or hours: bench/README.md.
bench: $(STAMP)
	$(BIN)/python -m bench.models.neighbours
	$(BIN)/python -m bench.models.coreset
	$(BIN)/python -m bench.models.patchcore

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "neverblink needs Python 3.11 or newer")'
	@echo "installing into $(VENV): PyTorch brings several GB the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	@$(UV) --constraint constraints.txt --group dev --editable '.[all]'
	@touch $@

# An independent OPC UA server for the bridge's tests; without Node.js or the registry they are skipped.
$(NODE_OPCUA): tests/plc/node/package.json
	@if command -v npm >/dev/null && npm install --prefix $(<D) --no-save --no-package-lock --no-audit --no-fund \
		--ignore-scripts --silent; then touch $@; else echo "no node-opcua: its tests are skipped"; fi

# Looks over the console's pages for what keeps people out; and a login provider.
$(AXE): tests/browser/package.json
	@if command -v npm >/dev/null && npm install --prefix $(<D) --no-save --no-package-lock --no-audit --no-fund \
		--ignore-scripts --silent; then touch $@; else echo "NOT INSTALLED: axe-core and oidc-provider; their tests skip"; fi

# A Kafka client that is neither aiokafka nor librdkafka.
$(KAFKAJS): tests/broker/foreign/package.json
	@if command -v npm >/dev/null && npm install --prefix $(<D) --no-save --no-package-lock --no-audit --no-fund \
		--ignore-scripts --silent; then touch $@; else echo "NOT INSTALLED: kafkajs; its tests skip"; fi

clean:
	rm -rf $(VENV) runs tests/plc/node/node_modules tests/browser/node_modules tests/broker/foreign/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
