# Checks of documentation/openapi.yaml, and of the proxy against it; the Makefile at the root includes this file.

API_DIR := e2e/api
API_LOCK := $(shell sha256sum $(API_DIR)/requirements.txt | cut -c1-16)
API_VENV := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/revenprox/api-$(API_LOCK)

.PHONY: test-api

## Check the OpenAPI file, and running proxies against it. SSE_PROXY=FILE checks another binary than the debug build.
test-api: setup-api $(API_VENV)/.done
ifeq ($(SSE_PROXY),)
	$(CARGO) build --locked --package revenprox-proxy
endif
	PATH="$(API_VENV)/bin:$$PATH" python3 $(API_DIR)/run.py "$(or $(SSE_PROXY),target/debug/sse-proxy)"

.PHONY: setup-api
setup-api:
	@./install.sh --tools-only documentation

# Python packages, in a place of their own for each state of the lock file.
$(API_VENV)/.done: | setup-api
	rm -rf "$(API_VENV)"
	python3 -m venv "$(API_VENV)"
	"$(API_VENV)/bin/pip" install --quiet --no-deps --requirement $(API_DIR)/requirements.txt
	touch $@
