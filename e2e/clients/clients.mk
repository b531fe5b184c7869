# Targets of the client grid; the Makefile at the root includes this file.

.PHONY: test-clients clients-document

## Real SSE clients against the proxy: browsers, and the libraries of five languages. Needs Go.
test-clients: setup-clients
	$(CARGO) build --locked --package revenprox-proxy
	python3 e2e/clients/run.py

## Write the table of e2e/clients/clients.toml into documentation/clients.md.
clients-document:
	python3 e2e/clients/run.py --document

.PHONY: setup-clients
setup-clients:
	@./install.sh --tools-only browsers
