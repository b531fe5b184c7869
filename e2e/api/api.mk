# Checks of documentation/openapi.yaml, and of the proxy against it; the Makefile at the root includes this file.

API_DIR := e2e/api
API_LOCK := $(shell sha256sum $(API_DIR)/requirements.txt | cut -c1-16)
API_VENV := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/revenprox/api-$(API_LOCK)

.PHONY: test-api

## Check the OpenAPI file, and running proxies against it. Needs python3-venv; SSE_PROXY=FILE checks another binary than the release build.
test-api: $(API_VENV)/.done
	@SSE_PROXY="$(or $(SSE_PROXY),target/release/sse-proxy)"; \
	  if [ ! -x "$$SSE_PROXY" ]; then echo "test-api: there is no $$SSE_PROXY; make build makes it" >&2; exit 1; fi; \
	  PATH="$(API_VENV)/bin:$$PATH" python3 $(API_DIR)/run.py "$$SSE_PROXY"

# Python packages, in a place of their own for each state of the lock file.
$(API_VENV)/.done:
	@python3 -c 'import ensurepip' || { echo "test-api: python3-venv is missing; ./install.sh --tools-only documentation brings it" >&2; exit 1; }
	rm -rf "$(API_VENV)"
	python3 -m venv "$(API_VENV)"
	"$(API_VENV)/bin/pip" install --quiet --no-deps --requirement $(API_DIR)/requirements.txt
	touch $@
