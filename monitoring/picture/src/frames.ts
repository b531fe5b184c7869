// Asks Prometheus what a panel's targets ask, and turns the answer into the frames that Grafana's components draw.

import {
  type DataFrame,
  type Field,
  FieldType,
  type GrafanaTheme2,
  getDisplayProcessor,
  type TimeRange,
  dateTime,
  validateFieldConfig,
} from "@grafana/data";

import { interpolated, legend, type Panel, type Target, type View } from "./dashboard";

/** Prometheus answers with seconds, Grafana counts in milliseconds. */
const MS = 1000;

interface Series {
  metric: Record<string, string>;
  values: [number, string | null][];
}

export function timeRange(view: View): TimeRange {
  const [from, to] = [dateTime(view.from * MS), dateTime(view.to * MS)];
  return { from, to, raw: { from, to } };
}

/** One frame for each series of each target, with the panel's settings in it. */
export async function frames(panel: Panel, view: View, theme: GrafanaTheme2): Promise<DataFrame[]> {
  const answers = await Promise.all(panel.targets.map((target) => ask(target, view)));
  const named = answers.flatMap((answer, index) =>
    answer.map((series) => ({ series, name: legend(panel.targets[index].legendFormat, series.metric) })),
  );
  return named.map(({ series, name }, index) => frame(panel, series, name, index, theme));
}

async function ask(target: Target, view: View): Promise<Series[]> {
  const query = interpolated(target.expr, view.variables);
  const [path, times] = target.instant
    ? ["query", { time: `${view.to}` }]
    : ["query_range", { start: `${view.from}`, end: `${view.to}`, step: `${view.step}` }];
  const answer = await fetch(`${view.prometheus}/api/v1/${path}?${new URLSearchParams({ query, ...times })}`);
  const { status, data, error } = await answer.json();
  if (status !== "success") throw new Error(`${query}: ${error}`);
  const ordered = data.result.sort((one: Series, other: Series) => key(one).localeCompare(key(other)));
  return ordered.map(({ metric, values, value }: any) => ({ metric, values: values ? filled(values, view) : [value] }));
}

function key({ metric }: Series): string {
  return JSON.stringify(metric);
}

function frame(panel: Panel, { metric, values }: Series, name: string, seriesIndex: number, theme: GrafanaTheme2): DataFrame {
  const time: Field = { name: "Time", type: FieldType.time, config: {}, values: values.map(([at]) => at * MS) };
  const value: Field = {
    name: "Value",
    type: FieldType.number,
    labels: metric,
    config: { ...structuredClone(panel.fieldConfig.defaults), displayNameFromDS: name },
    values: values.map(([, text]) => finite(text)),
    // The colour of a series follows from its place among the others.
    state: { seriesIndex },
  };
  validateFieldConfig(value.config);
  time.display = getDisplayProcessor({ field: time, theme, timeZone: "utc" });
  value.display = getDisplayProcessor({ field: value, theme, timeZone: "utc" });
  return { refId: "A", fields: [time, value], length: values.length };
}

/** A value for every step, so that a line breaks where there is none: Grafana does so before it draws. */
export function filled(values: [number, string][], { from, to, step }: View): [number, string | null][] {
  const there = new Map(values);
  const count = Math.floor((to - from) / step) + 1;
  return Array.from({ length: count }, (_, index) => from + index * step).map((at) => [at, there.get(at) ?? null]);
}

/** A number that can be drawn; a quantile of nothing cannot. */
function finite(text: string | null): number | null {
  const number = Number(text ?? NaN);
  return Number.isFinite(number) ? number : null;
}
