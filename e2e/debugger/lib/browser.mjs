// Real browsers without a window, and the page in them.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { PATIENCE } from "./proxy.mjs";

const load = createRequire(process.env.MODULES);
const puppeteer = load("puppeteer-core");

export const BROWSERS = ["chromium", "firefox"];

/** Firefox takes its colour scheme from a preference, at the start. */
const FIREFOX_DARK = 0;
const FIREFOX_LIGHT = 1;

/** Starts a browser that prefers a dark or a light page, and perhaps no motion. */
export async function launch(name, { dark = false, calm = false } = {}) {
  if (name === "firefox") {
    return puppeteer.launch({
      browser: "firefox",
      executablePath: process.env.FIREFOX,
      extraPrefsFirefox: {
        "layout.css.prefers-color-scheme.content-override": dark ? FIREFOX_DARK : FIREFOX_LIGHT,
        "ui.prefersReducedMotion": calm ? 1 : 0,
      },
    });
  }
  // As root, and in containers, Chromium has no sandbox; the only page it sees is ours.
  const args = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    ...(calm ? ["--force-prefers-reduced-motion"] : []),
    ...(dark ? ["--blink-settings=preferredColorScheme=0"] : []),
  ];
  return puppeteer.launch({ browser: "chrome", executablePath: process.env.CHROMIUM, args });
}

/** Opens the page and collects what the browser complains of, which the caller is to look at. */
export async function open(browser, url, { width = 1280, height = 900 } = {}) {
  const page = await browser.newPage();
  await page.setViewport({ width, height });
  page.setDefaultTimeout(PATIENCE);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(`${error}`));
  page.on("console", (message) => {
    if (message.type() === "error") page.complaints.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** Puts a text into a field, in place of what was there. */
export async function fill(page, selector, text) {
  await page.$eval(selector, (field) => {
    const details = field.closest("details");
    if (details) details.open = true;
    field.value = "";
  });
  await page.focus(selector);
  await page.keyboard.type(text);
  await page.$eval(selector, (field) => field.dispatchEvent(new Event("change", { bubbles: true })));
}

export function text(page, selector) {
  return page.$eval(selector, (element) => element.innerText.trim());
}

/** The rows of the list, newest first. */
export function rows(page) {
  return page.$$eval("#rows tr", (found) =>
    found
      .filter((row) => !row.hidden)
      .map((row) => {
        const [received, delay, event, topic, id, data] = [...row.cells].map((cell) => cell.innerText.trim());
        return { received, delay, event, topic, id, data, kind: row.className.replace(/^new ?/, "") };
      }),
  );
}

/** What axe-core finds wrong with the page as it is shown now. */
export async function violations(page) {
  await page.evaluate(await readFile(load.resolve("axe-core/axe.min.js"), "utf8"));
  return page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(
      ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => `${node.html} (${node.failureSummary})`).join(" | ")}`,
    );
  });
}
