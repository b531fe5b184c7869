// The distribution of a histogram over time. Grafana publishes no component for it, so it is drawn here on its axes.

import { type DataFrame, type GrafanaTheme2, formattedValueToString, getValueFormat, type TimeRange } from "@grafana/data";
import { AxisPlacement, ScaleDirection, ScaleOrientation } from "@grafana/schema";
import { UPlotChart, UPlotConfigBuilder } from "@grafana/ui";
import * as schemes from "d3-scale-chromatic";
import type uPlot from "uplot";

interface Props {
  frames: DataFrame[];
  options: any;
  range: TimeRange;
  stepMs: number;
  width: number;
  height: number;
  theme: GrafanaTheme2;
}

/** How high a label of the axis is, with the space around it. */
const LABEL = 18;

/** Buckets from the lowest to the highest bound, each with what is in it alone: Prometheus counts all that is below a bound. */
export function buckets(frames: DataFrame[]): { bound: number; times: number[]; counts: number[] }[] {
  const bound = (frame: DataFrame) => Number(frame.fields[1].labels?.le?.replace("+Inf", "Infinity"));
  const sorted = [...frames].sort((one, other) => bound(one) - bound(other));
  return sorted.map((frame, index) => ({
    bound: bound(frame),
    times: frame.fields[0].values,
    counts: frame.fields[1].values.map((value, at) => Math.max(0, value - (sorted[index - 1]?.fields[1].values[at] ?? 0))),
  }));
}

/** Colours from few to many. In the dark, few is dark. */
function palette({ scheme, steps }: { scheme: string; steps: number }, theme: GrafanaTheme2): string[] {
  const colour = (schemes as any)[`interpolate${scheme}`] as (share: number) => string;
  const colours = Array.from({ length: steps }, (_, index) => colour(index / (steps - 1)));
  return theme.isDark ? colours.reverse() : colours;
}

export function Heatmap({ frames, options, range, stepMs, width, height, theme }: Props) {
  const rows = buckets(frames);
  const most = Math.max(...rows.flatMap(({ counts }) => counts));
  const colours = palette(options.color, theme);
  const format = getValueFormat(options.yAxis.unit);
  const name = (bound: number) => (Number.isFinite(bound) ? formattedValueToString(format(bound)) : "+Inf");
  const every = Math.ceil((rows.length * LABEL) / height);
  const splits = rows.map((_, index) => index).filter((index) => index % every === 0);

  const builder = new UPlotConfigBuilder("utc");
  builder.addScale({
    scaleKey: "x",
    isTime: true,
    orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right,
    range: () => [range.from.valueOf(), range.to.valueOf()],
  });
  builder.addScale({
    scaleKey: "y",
    orientation: ScaleOrientation.Vertical,
    direction: ScaleDirection.Up,
    range: () => [0, rows.length],
  });
  builder.addAxis({ scaleKey: "x", isTime: true, placement: AxisPlacement.Bottom, timeZone: "utc", theme });
  builder.addAxis({
    scaleKey: "y",
    placement: AxisPlacement.Left,
    theme,
    // A label is at the upper bound of its bucket.
    splits: splits.map((index) => index + 1),
    values: splits.map((index) => name(rows[index].bound)),
    grid: { show: false },
  });
  builder.addSeries({ scaleKey: "y", theme, pathBuilder: () => null, pointsBuilder: () => undefined });
  builder.addHook("draw", (plot: uPlot) => {
    rows.forEach(({ times, counts }, row) =>
      counts.forEach((count, at) => {
        if (!count) return;
        const [left, right] = [times[at] - stepMs, times[at]].map((time) => Math.round(plot.valToPos(time, "x", true)));
        const [top, bottom] = [row + 1, row].map((place) => Math.round(plot.valToPos(place, "y", true)));
        plot.ctx.fillStyle = colours[Math.round((count / most) * (colours.length - 1))];
        plot.ctx.fillRect(Math.max(left, plot.bbox.left), top, right - Math.max(left, plot.bbox.left), bottom - top);
      }),
    );
  });
  const times = rows[0].times;
  return <UPlotChart config={builder} data={[times, times.map(() => null)]} width={width} height={height} />;
}
