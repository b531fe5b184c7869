// The page of one picture: takes what to show from view-NAME.json, draws it, and says in `data-state` of the body when it is done.

import { createTheme, type DataFrame, getFieldDisplayValues, type GrafanaTheme2, ThemeContext } from "@grafana/data";
import { BigValue, GlobalStyles, Icon, PanelChrome, Text, TimeSeries } from "@grafana/ui";
import { createRoot } from "react-dom/client";

import { box, chosen, heightOf, type Panel, type View } from "./dashboard";
import { frames, timeRange } from "./frames";
import { Heatmap } from "./heatmap";

interface Props {
  panel: Panel;
  data: DataFrame[];
  view: View;
  theme: GrafanaTheme2;
  width: number;
  height: number;
}

function Stat({ panel, data, theme, width, height }: Props) {
  const values = getFieldDisplayValues({
    data,
    fieldConfig: { defaults: panel.fieldConfig.defaults, overrides: [] },
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
  });
  const { colorMode, graphMode, justifyMode, textMode } = panel.options;
  return (
    <BigValue
      {...{ colorMode, graphMode, justifyMode, textMode, theme, width, height }}
      value={values[0].display}
      count={values.length}
    />
  );
}

function Inside(props: Props) {
  const { panel, data, view, theme, width, height } = props;
  const range = timeRange(view);
  if (data.length === 0) throw new Error(`${panel.title}: nothing to show`);
  switch (panel.type) {
    case "stat":
      return <Stat {...props} />;
    case "timeseries":
      return <TimeSeries frames={data} legend={panel.options.legend} timeRange={range} timeZone="utc" {...{ width, height }} />;
    case "heatmap":
      return <Heatmap frames={data} options={panel.options} stepMs={view.step * 1000} {...{ range, theme, width, height }} />;
    default:
      throw new Error(`${panel.title}: there is no way to draw a ${panel.type}`);
  }
}

function Row({ title }: { title: string }) {
  return (
    <div style={{ display: "flex", alignItems: "center", gap: 4, height: "100%" }}>
      <Icon name="angle-down" />
      <Text variant="h6">{title}</Text>
    </div>
  );
}

function Dashboard({ view, panels, data, theme }: { view: View; panels: Panel[]; data: DataFrame[][]; theme: GrafanaTheme2 }) {
  return (
    <div style={{ position: "relative", width: view.width, height: heightOf(panels, view.width), background: theme.colors.background.canvas }}>
      {panels.map((panel, index) => {
        const place = box(panel.gridPos, view.width);
        const { width, height } = place;
        return (
          <div key={panel.id} style={{ position: "absolute", ...place }}>
            {panel.type === "row" ? (
              <Row title={panel.title} />
            ) : (
              <PanelChrome title={panel.title} description={panel.description} {...{ width, height }}>
                {(width: number, height: number) => <Inside data={data[index]} {...{ panel, view, theme, width, height }} />}
              </PanelChrome>
            )}
          </div>
        );
      })}
    </div>
  );
}

/** Loads the fonts that Grafana's style names as well: components measure texts, so fonts have to be there before them. */
async function loadFonts({ typography }: GrafanaTheme2) {
  const fonts = { Regular: typography.fontWeightRegular, Medium: typography.fontWeightMedium };
  for (const [name, weight] of Object.entries(fonts)) {
    document.fonts.add(await new FontFace("Inter", `url(/fonts/inter/Inter-${name}.woff2)`, { weight: `${weight}` }).load());
  }
}

async function main() {
  const name = new URLSearchParams(location.search).get("view");
  const view: View = await (await fetch(`view-${name}.json`)).json();
  const theme = createTheme({ colors: { mode: "dark" } });
  await loadFonts(theme);
  const panels = chosen(view.dashboard.panels, view.rows);
  const data = await Promise.all(panels.map((panel) => (panel.type === "row" ? [] : frames(panel, view, theme))));
  createRoot(document.getElementById("dashboard")!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Dashboard {...{ view, panels, data, theme }} />
    </ThemeContext.Provider>,
  );
}

main().then(
  () => (document.body.dataset.state = "drawn"),
  (error) => {
    document.body.dataset.state = "failed";
    throw error;
  },
);
