# Targets of the end-to-end cluster and its tests; the Makefile at the root includes this file.

CARGO ?= cargo
E2E = $(CARGO) run --quiet --locked --package e2e --

.PHONY: cluster cluster-down cluster-status cluster-selftest images test-e2e

## Bring up a Kubernetes of one node on this machine, or heal it. Needs root.
cluster: setup
	$(E2E) up

## Take it down; nothing of it stays.
cluster-down:
	$(E2E) down

## Say whether it works, and what is wrong with it.
cluster-status:
	$(E2E) status

## Kill every part of a cluster and check that it heals and leaves nothing behind.
cluster-selftest: setup
	$(E2E) selftest

## Build the container images as OCI archives in target/images.
images: setup
	$(E2E) image

## The end-to-end tests, on a cluster that is brought up for them or the one that KUBECONFIG names.
## KEEP=1 leaves it up.
test-e2e: setup
	$(E2E) test
