# Targets of the dashboards, the alerts and the Compose file; the Makefile at the root includes this file.

PYTHON ?= python3 -B
CHART_FILES = charts/revenprox-operator/files
MONITORING_TOOL = monitoring/tools/build.sh

.PHONY: dashboards test-monitoring dashboard-pictures

## Write monitoring/dashboards from monitoring/source, and the chart's copies of dashboards and rules.
dashboards:
	$(PYTHON) monitoring/source/generate.py
	rm -rf $(CHART_FILES)/rules $(CHART_FILES)/dashboards
	cp -r monitoring/rules monitoring/dashboards $(CHART_FILES)

## Check dashboards and rules against real proxies under load, and the Compose file with what can run without Docker.
## SSE_PROXY and OPERATOR name programs that have been built already.
test-monitoring:
	./install.sh --tools-only monitoring
ifeq ($(and $(SSE_PROXY),$(OPERATOR)),)
	$(CARGO) build --locked --package revenprox-proxy --package revenprox-operator --bins
endif
	SSE_PROXY="$(or $(SSE_PROXY),$(CURDIR)/target/debug/sse-proxy)" \
	OPERATOR="$(or $(OPERATOR),$(CURDIR)/target/debug/revenprox-operator)" \
	COLLECTOR="$$($(MONITORING_TOOL) collector)" \
	COMPOSE_CHECK="$$($(MONITORING_TOOL) compose)" \
	HELM="$$($(MONITORING_TOOL) helm)" \
	DASHBOARD_CHECK="$$($(MONITORING_TOOL) dashboards)" \
	$(PYTHON) -m unittest discover --start-directory monitoring/tests

## Take the guide's pictures of the dashboards anew: real proxies under load, a real Prometheus, and the components that Grafana publishes.
## It takes about five minutes. SSE_PROXY and OPERATOR name programs that have been built already.
dashboard-pictures:
	./install.sh --tools-only monitoring browsers
ifeq ($(and $(SSE_PROXY),$(OPERATOR)),)
	$(CARGO) build --release --locked --package revenprox-proxy --package revenprox-operator --bins
endif
	SSE_PROXY="$(or $(SSE_PROXY),$(CURDIR)/target/release/sse-proxy)" \
	OPERATOR="$(or $(OPERATOR),$(CURDIR)/target/release/revenprox-operator)" \
	COLLECTOR="$$($(MONITORING_TOOL) collector)" \
	$(PYTHON) monitoring/picture/take.py
