// Checks the types of the page and builds it into a folder: its script, its style, and the fonts and icons that Grafana's components ask for.
//
//   build.mjs FOLDER

import { execFileSync } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const folder = process.argv[2];

execFileSync(process.execPath, [require.resolve("typescript/bin/tsc"), "--project", here], { stdio: "inherit" });

await build({
  entryPoints: { page: join(here, "src/page.tsx") },
  outdir: folder,
  bundle: true,
  minify: true,
  logLevel: "error",
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  loader: { ".ttf": "empty" },
  define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
});

// Where components look for icons and fonts, below the path that the page gives them.
const part = (name, path) => join(dirname(require.resolve(`${name}/package.json`)), path);
cpSync(part("@grafana/ui", "dist/public/img/icons"), join(folder, "build/img/icons"), { recursive: true });
for (const [weight, name] of [[400, "Regular"], [500, "Medium"]]) {
  cpSync(part("@fontsource/inter", `files/inter-latin-${weight}-normal.woff2`), join(folder, `fonts/inter/Inter-${name}.woff2`));
}

writeFileSync(
  join(folder, "index.html"),
  `<!doctype html>
<meta charset="utf-8">
<title>Dashboard</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="page.css">
<body><div id="dashboard"></div>
<script>window.__grafana_public_path__ = "/";</script>
<script type="module" src="page.js"></script>
`,
);
