// Opens pages in headless Chromium, waits until each says that it is drawn, and saves it. Fails if a page complains.
//
//   shoot.mjs WIDTH URL FILE [URL FILE]...

import puppeteer from "puppeteer-core";

/** How long a page may take, and how long its last icons may come after it. */
const PATIENCE_MS = 60_000;
const SETTLE_MS = 1_500;

const [width, ...pairs] = process.argv.slice(2);

async function shoot(browser, url, file) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`${error}`));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.setViewport({ width: Number(width), height: 900 });
  await page.goto(url);
  await page.waitForSelector("body[data-state]", { timeout: PATIENCE_MS });
  await new Promise((go) => setTimeout(go, SETTLE_MS));
  if (complaints.length > 0) throw new Error(`${url}:\n${complaints.join("\n")}`);
  const dashboard = await page.$("#dashboard > div");
  await dashboard.screenshot({ path: file });
  await page.close();
}

// As root, and in containers, Chromium has no sandbox; the only page it sees is ours.
const args = ["--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"];
const browser = await puppeteer.launch({ browser: "chrome", executablePath: process.env.CHROMIUM, args });
try {
  for (let index = 0; index < pairs.length; index += 2) await shoot(browser, pairs[index], pairs[index + 1]);
} finally {
  await browser.close();
}
