// Starts one browser and runs clients in pages of it.
//
//   node browser.mjs chromium|firefox PORT
//
// Commands come as lines of JSON on the standard input, reports go as lines of JSON to the standard output. A page is
// served from PORT, which is another origin than the proxy's, or it is `/livez` of the proxy itself: the same origin.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import { launch } from "puppeteer-core";

const [name, port] = process.argv.slice(2);

const BROWSERS = {
  chromium: {
    browser: "chrome",
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Chromium does not sandbox what root runs, and /dev/shm is small in containers.
    args: [...(process.getuid() === 0 ? ["--no-sandbox"] : []), "--disable-dev-shm-usage"],
  },
  firefox: { browser: "firefox", executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr" },
};

const PAGE = "<!doctype html><html lang=en><meta charset=utf-8><title>client grid</title><link rel=icon href=data:,><body>";

const bundles = new Map();
const runs = new Map();

function report(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

let turn = Promise.resolve();

/** Does one thing after the other: Firefox loses a page that is opened while another one is being closed. */
function inTurn(work) {
  const result = turn.then(work);
  turn = result.catch(() => {});
  return result;
}

/** The code of `pages/LIBRARY.js` and what it imports, as one script. */
function bundle(library) {
  if (!bundles.has(library)) {
    const options = { bundle: true, write: false, format: "iife", globalName: "client", target: "es2022" };
    bundles.set(library, build({ ...options, entryPoints: [`pages/${library}.js`] }));
  }
  return bundles.get(library).then((result) => result.outputFiles[0].text);
}

async function start(browser, { run, library, sameOrigin, options }) {
  const code = await bundle(library);
  const page = await inTurn(() => browser.newPage());
  runs.set(run, page);
  page.on("console", (message) => {
    const text = message.text();
    if (text.startsWith("report ")) {
      report({ ...JSON.parse(text.slice(7)), run });
    }
  });
  const origin = sameOrigin ? new URL(options.url).origin : `http://127.0.0.1:${port}`;
  await page.goto(sameOrigin ? `${origin}/livez` : `${origin}/`);
  await page.evaluate(code + ";globalThis.client = client; undefined");
  await page.evaluate((given) => {
    globalThis.client.subscribe(given, (line) => console.info(`report ${JSON.stringify(line)}`));
  }, options);
}

async function main() {
  const pages = createServer((_, response) => response.setHeader("content-type", "text/html").end(PAGE));
  await new Promise((resolve) => pages.listen(Number(port), "127.0.0.1", resolve));
  const browser = await launch({ ...BROWSERS[name], headless: true });
  report({ type: "ready", version: await browser.version() });
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    if (command.do === "start") {
      start(browser, command).catch((error) => report({ type: "error", run: command.run, message: String(error) }));
    } else {
      const page = runs.get(command.run);
      runs.delete(command.run);
      inTurn(() => page?.close()).catch((error) => report({ type: "error", run: command.run, message: String(error) }));
    }
  }
  await inTurn(() => browser.close());
  pages.close();
}

await main();
