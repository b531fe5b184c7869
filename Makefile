# Everything a person or a machine does here. Each target works by itself, straight after a clone.

CARGO ?= cargo
.DEFAULT_GOAL := run

.PHONY: run build test test-fast lint fmt bench bench-peers soak torture mutation-check setup manifests

include e2e/e2e.mk e2e/clients/clients.mk e2e/api/api.mk e2e/debugger/debugger.mk documentation/docs.mk monitoring/monitoring.mk

## Run the proxy for development, on this machine only and without authentication.
run:
	@./install.sh --to-build
	$(CARGO) run --release --locked --package revenprox-proxy -- --dev

## Build what is released.
build: setup
	$(CARGO) build --release --locked --workspace

## All tests: unit, integration, the documents, browsers and other languages' clients, and end to end on a real Kubernetes (which needs root).
test: test-fast test-api test-debugger test-clients test-docs test-monitoring test-e2e

## The tests that need no cluster. Those of instances on broken networks need root.
test-fast: setup
	$(CARGO) test --locked --workspace

## What must hold for every change: format, lints, documentation, dependencies.
lint: setup
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	cargo-deny --locked check bans licenses sources

fmt:
	$(CARGO) fmt --all

## Measure the proxy beside a bare floor.
bench: build
	$(CARGO) run --release --locked --package bench -- all

## The same beside other servers of the field.
bench-peers: build
	$(CARGO) run --release --locked --package bench -- peers

## Simulate a thousand hours of clusters whose instances end; then kill, drain and stop real instances for minutes under load. Fails if a
## promise is broken.
soak: build
	REVENPROX_SIM_SEEDS=0..10000 $(CARGO) test --release --locked --package revenprox-proxy --lib -- --ignored --nocapture --exact sim::tests::ends
	$(CARGO) run --release --locked --package bench -- cluster --rolling --instances 5 --subscribers 2000 \
	  --topics 40 --rate 200 --seconds 3 --faults kill,drain,pause,kill,pause,drain --replicated

## Simulate a cluster for each of SEEDS, with everything that can befall it; fails if one breaks a promise. TRACE=1 tells what happens.
SEEDS ?= 0..1000
torture: setup
	REVENPROX_SIM_SEEDS=$(SEEDS) $(if $(TRACE),REVENPROX_SIM_TRACE=1) $(CARGO) test --release --locked --package revenprox-proxy --lib -- \
	  --ignored --nocapture --exact sim::tests::all

## Put bugs into a copy of the code, one at a time, and see that the simulator finds each.
mutation-check: setup
	python3 proxy/mutations.py

## Install what this machine lacks.
setup:
	@./install.sh --tools-only

## Write what is generated for Kubernetes: crds/, the chart's copy of it, manifests/base/install.yaml. Needs helm; `make cluster` builds one.
manifests:
	PATH="$$(dirname "$$($(E2E) kubeconfig)")/bin:$$PATH" manifests/generate.sh
