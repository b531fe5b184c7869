// What a dashboard's JSON says that a picture needs, and where its panels are on the picture.

import type { FieldConfig } from "@grafana/data";

export interface Place {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Target {
  expr: string;
  legendFormat: string;
  instant?: boolean;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: Place;
  fieldConfig: { defaults: FieldConfig };
  // What is in it depends on the type of the panel, and Grafana's components know their own.
  options: any;
  targets: Target[];
}

/** What take.py asks for. Times are in seconds. */
export interface View {
  dashboard: { title: string; panels: Panel[] };
  /** Titles of the rows to show; each brings the panels below it. */
  rows: string[];
  prometheus: string;
  from: number;
  to: number;
  step: number;
  /** What to put in for variables, such as `$instance`. */
  variables: Record<string, string>;
  width: number;
}

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

// Grafana's grid: columns, the height of one unit, and the space between panels.
const COLUMNS = 24;
const UNIT = 30;
const GAP = 8;

/** The panels of the rows that are asked for, moved up to close the space of the others. A row that is not there is a mistake. */
export function chosen(panels: Panel[], rows: string[]): Panel[] {
  const titles = panels.filter(({ type }) => type === "row").map(({ title }) => title);
  for (const row of rows) if (!titles.includes(row)) throw new Error(`there is no row ${row}, but ${titles.join(", ")}`);
  const found: Panel[] = [];
  let isWanted = false;
  let top = 0;
  let shift = 0;
  for (const panel of panels) {
    if (panel.type === "row") {
      isWanted = rows.includes(panel.title);
      shift = panel.gridPos.y - top;
    }
    if (isWanted) {
      const moved = { ...panel.gridPos, y: panel.gridPos.y - shift };
      found.push({ ...panel, gridPos: moved });
      top = Math.max(top, moved.y + moved.h);
    }
  }
  return found;
}

/** Where a panel is, in pixels, on a picture of this width. */
export function box(place: Place, width: number): Box {
  const column = (width - GAP * (COLUMNS + 1)) / COLUMNS;
  return {
    left: Math.round(GAP + place.x * (column + GAP)),
    top: GAP + place.y * (UNIT + GAP),
    width: Math.round(place.w * (column + GAP) - GAP),
    height: place.h * (UNIT + GAP) - GAP,
  };
}

/** How high a picture of these panels is. */
export function heightOf(panels: Panel[], width: number): number {
  return Math.max(...panels.map((panel) => box(panel.gridPos, width)).map(({ top, height }) => top + height)) + GAP;
}

/** An expression as Grafana would send it. Longer names first: `$job` may be the beginning of another one. */
export function interpolated(expression: string, variables: Record<string, string>): string {
  const names = Object.keys(variables).sort((one, other) => other.length - one.length);
  return names.reduce((text, name) => text.replaceAll(name, variables[name]), expression);
}

/** The name of a series: the legend with labels put in, or all labels if there is none. */
export function legend(format: string, labels: Record<string, string>): string {
  if (format) return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "");
  const { __name__: metric = "", ...others } = labels;
  const pairs = Object.entries(others).map(([name, value]) => `${name}="${value}"`);
  return pairs.length > 0 ? `${metric}{${pairs.join(", ")}}` : metric || "Value";
}
