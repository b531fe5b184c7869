# Targets of the dashboards, the alerts and the Compose file; the Makefile at the root includes this file.

PYTHON ?= python3 -B
MONITORING_TOOL = monitoring/tools/build.sh

.PHONY: dashboards test-monitoring

## Write monitoring/dashboards from monitoring/source, and the chart's copies of dashboards and rules.
dashboards:
	$(PYTHON) monitoring/source/generate.py

## Check dashboards and rules against real proxies under load, and the Compose file with what can run without Docker.
## SSE_PROXY and OPERATOR name programs that have been built already.
test-monitoring: setup
ifeq ($(and $(SSE_PROXY),$(OPERATOR)),)
	$(CARGO) build --locked --package revenprox-proxy --package revenprox-operator --bins
endif
	SSE_PROXY="$(or $(SSE_PROXY),$(CURDIR)/target/debug/sse-proxy)" \
	OPERATOR="$(or $(OPERATOR),$(CURDIR)/target/debug/revenprox-operator)" \
	COLLECTOR="$$($(MONITORING_TOOL) collector)" \
	COMPOSE_CHECK="$$($(MONITORING_TOOL) compose)" \
	DASHBOARD_CHECK="$$($(MONITORING_TOOL) dashboards)" \
	$(PYTHON) -m unittest discover --start-directory monitoring/tests
