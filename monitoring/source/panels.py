"""What a Grafana dashboard of ours is made of: panels, rows, variables, and how they are laid out.

The dashboards themselves are in `proxy.py`, `mesh.py` and `operators.py` beside this file; `make dashboards` writes them as JSON.
"""

from dataclasses import dataclass, field

# The version of the dashboard schema that the panels are written in.
SCHEMA_VERSION = 42
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24

GREEN, YELLOW, RED, NEUTRAL = "green", "yellow", "red", "text"


@dataclass
class Panel:
    """One panel. `queries` are pairs of an expression and a legend; `steps` are pairs of a colour and the value from which it holds."""

    title: str
    description: str
    queries: list
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    steps: list = field(default_factory=list)
    stacked: bool = False
    minimum: float | None = 0
    maximum: float | None = None
    mappings: dict = field(default_factory=dict)
    decimals: int | None = None

    def json(self, number, position):
        """The panel as Grafana wants it."""
        body = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": position,
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
            "targets": [self._target(index, query) for index, query in enumerate(self.queries)],
        }
        return body

    def _target(self, index, query):
        expression, legend = query
        target = {
            "refId": chr(ord("A") + index),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": expression,
            "legendFormat": legend,
            "range": True,
        }
        if self.kind == "stat":
            target |= {"range": False, "instant": True}
        if self.kind == "heatmap":
            target["format"] = "heatmap"
        return target

    def _defaults(self):
        steps = self.steps or [(NEUTRAL if self.kind == "stat" else GREEN, None)]
        defaults = {
            "unit": self.unit,
            "color": {"mode": "thresholds" if self.kind == "stat" else "palette-classic"},
            "thresholds": {"mode": "absolute", "steps": [{"color": colour, "value": value} for colour, value in steps]},
            "mappings": self._mappings(),
        }
        if self.minimum is not None:
            defaults["min"] = self.minimum
        if self.maximum is not None:
            defaults["max"] = self.maximum
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        if self.kind == "timeseries":
            defaults["custom"] = {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 15 if self.stacked else 0,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                # A threshold is a line that one sees; without steps there is none.
                "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
            }
        return defaults

    def _mappings(self):
        if not self.mappings:
            return []
        options = {
            str(value): {"text": text, "color": colour, "index": index}
            for index, (value, (text, colour)) in enumerate(self.mappings.items())
        }
        return [{"type": "value", "options": options}]

    def _options(self):
        if self.kind == "stat":
            return {
                "colorMode": "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "textMode": "auto",
                "orientation": "auto",
                "wideLayout": True,
                "showPercentChange": False,
                "percentChangeColorMode": "standard",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            }
        if self.kind == "heatmap":
            return {
                "calculate": False,
                "cellGap": 0,
                "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "fill": "dark-blue", "exponent": 0.5, "reverse": False},
                "showValue": "never",
                "exemplars": {"color": "rgba(255,0,255,0.7)"},
                "yAxis": {"unit": self.unit, "axisPlacement": "left"},
                "tooltip": {"mode": "single", "yHistogram": False},
                "legend": {"show": False},
            }
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass
class Row:
    """A row and its panels, from left to right and down."""

    title: str
    panels: list


@dataclass
class Dashboard:
    """A whole dashboard. `metric` is one that every target of it has: jobs and instances are found by it."""

    uid: str
    title: str
    description: str
    metric: str
    rows: list

    def json(self):
        """The dashboard as Grafana wants it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["revenprox"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "fiscalYearStartMonth": 0,
            "annotations": {"list": []},
            "links": [
                {
                    "title": "RevenProx",
                    "type": "dashboards",
                    "tags": ["revenprox"],
                    "asDropdown": True,
                    "includeVars": False,
                    "keepTime": True,
                    "targetBlank": False,
                    "icon": "external link",
                    "tooltip": "",
                    "url": "",
                }
            ],
            "templating": {"list": self._variables()},
            "panels": self._panels(),
        }

    def _variables(self):
        selected = {"namespace": "", "job": '{namespace=~"$namespace"}', "instance": '{namespace=~"$namespace",job=~"$job"}'}
        source = {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {"text": "", "value": ""},
            "options": [],
            "refresh": 1,
            "regex": "",
            "hide": 0,
        }
        return [source] + [self._variable(name, selector) for name, selector in selected.items()]

    def _variable(self, name, selector):
        query = f"label_values({self.metric}{selector}, {name})"
        return {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": f"variable-{name}"},
            "refresh": 2,
            "sort": 1,
            "regex": "",
            "hide": 0,
            "multi": True,
            "includeAll": True,
            # Also what has no such label: outside of Kubernetes there is no namespace.
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
            "options": [],
        }

    def _panels(self):
        panels, number, top = [], 1, 0
        for row in self.rows:
            place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
            panels.append({"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []})
            number, top, left, line = number + 1, top + 1, 0, 0
            for panel in row.panels:
                if left + panel.width > WIDTH:
                    left, top, line = 0, top + line, 0
                place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
                panels.append(panel.json(number, place))
                number, left, line = number + 1, left + panel.width, max(line, panel.height)
            top += line
        return panels


# === Parts of expressions ===

SELECTED = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'


def selector(metric, more=""):
    """A metric of what is selected above the dashboard."""
    return f"{metric}{{{SELECTED}{',' + more if more else ''}}}"


def rate(metric, more=""):
    """How much a counter of what is selected grows each second."""
    return f"rate({selector(metric, more)}[$__rate_interval])"


def total(inner, by=""):
    """The sum over everything selected, or by a label."""
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def quantile(number, metric, by="", more=""):
    """A quantile of a histogram over everything selected."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({number}, sum by ({labels}) ({rate(metric + '_bucket', more)}))"


def stat(title, description, expression, unit="short", steps=(), mappings=None, width=4, decimals=None):
    """One number, large."""
    return Panel(
        title, description, [(expression, "")], unit, "stat", width, 4, list(steps), mappings=mappings or {}, decimals=decimals, minimum=None
    )
