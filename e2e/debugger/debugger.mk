# Targets of the debugger's page; the Makefile at the root includes this file.

CARGO ?= cargo

.PHONY: test-debugger debugger-screenshots

## Test the debugger's page in headless Chromium and Firefox.
test-debugger: debugger-tools
	$(CARGO) build --locked --package revenprox-proxy
	e2e/debugger/run.sh

## Take the pictures of the guide's page about it anew.
debugger-screenshots: debugger-tools
	$(CARGO) build --locked --package revenprox-proxy
	e2e/debugger/run.sh screenshots.mjs

.PHONY: debugger-tools
debugger-tools:
	@./install.sh --tools-only browsers
