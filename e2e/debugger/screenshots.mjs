// Takes the pictures of the guide: a subscriber that has lost its connection for longer than the history goes back.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { fill, launch, open } from "./lib/browser.mjs";
import { Proxy } from "./lib/proxy.mjs";
import { Relay } from "./lib/relay.mjs";
import { inState, subscribe } from "./lib/suite.mjs";

const FOLDER = fileURLToPath(new URL("../../documentation/images/", import.meta.url));
const PICTURES = [
  { name: "light", dark: false, width: 1280, height: 1150 },
  { name: "dark", dark: true, width: 1280, height: 1150 },
  { name: "narrow", dark: false, width: 360, height: 800 },
];

/** For how long events flow, so that the curves have a shape. */
const FLOW_MS = 24_000;

const order = (number) =>
  JSON.stringify({ order: number, customer: "Åsa Lindqvist", lines: [{ sku: "B-12", count: 3, price: 12.5 }], paid: true });

async function flow(proxy, until) {
  for (let step = 0; Date.now() < until; step += 1) {
    await proxy.publish("orders", JSON.stringify({ order: 4711 + (step % 7), step: step % 5, of: 5 }), "?event=progress");
    await new Promise((go) => setTimeout(go, 120 + 160 * Math.abs(Math.sin(step / 9))));
  }
}

async function take({ name, dark, width, height }) {
  const folder = mkdtempSync(join(tmpdir(), "revenprox-"));
  const mesh = (one, other) => ({
    REVENPROX_PROXY_ID: one,
    REVENPROX_NNG__LISTEN_ADDRESSES: `ipc://${folder}/${one}`,
    REVENPROX_NNG__PEER_ADDRESSES: `ipc://${folder}/${other}`,
    REVENPROX_HISTORY__MAX_EVENTS_PER_TOPIC: "2",
    REVENPROX_HISTORY__MAX_AGE_SEC: "60",
  });
  const proxies = [await Proxy.start({ env: mesh("edge-1", "edge-2") }), await Proxy.start({ env: mesh("edge-2", "edge-1") })];
  const [near, far] = proxies;
  const relay = await Relay.start(near.port);
  const browser = await launch("chromium", { dark });
  try {
    const page = await open(browser, `${relay.origin}/debug`, { width, height });
    await fill(page, "#names", "order-created, progress");
    await subscribe(page, "orders");
    await flow(far, Date.now() + FLOW_MS);
    relay.cut();
    await inState(page, "waiting");
    for (let number = 0; number < 60; number += 1) await near.publish("orders", order(4650 + number));
    relay.mend();
    await inState(page, "open");
    await page.waitForFunction(() => document.querySelector("#gaps").textContent === "1");
    await flow(far, Date.now() + 300);
    await fill(page, "#event", "order-created");
    await fill(page, "#data", order(4712));
    await page.click("#send");
    await page.waitForFunction(() => document.querySelector("#published").textContent.startsWith("202"));
    const newest = () => document.querySelector("#rows summary").click();
    await page.waitForFunction(() => document.querySelector("#rows td:nth-child(3)").textContent === "order-created");
    await page.evaluate(newest);
    await page.$$eval("details.more", (found) => found.forEach((details) => (details.open = false)));
    await page.evaluate(() => {
      document.activeElement.blur();
      scrollTo(0, 0);
    });
    await page.mouse.move(0, 0);
    // The metrics of the last events come with the next look at them.
    await new Promise((go) => setTimeout(go, 2_500));
    mkdirSync(FOLDER, { recursive: true });
    const path = join(FOLDER, `debugger-${name}.png`);
    await page.screenshot({ path, fullPage: name === "narrow" });
    console.log(path);
  } finally {
    relay.stop();
    await browser.close();
    await Promise.all(proxies.map((proxy) => proxy.stop("SIGKILL")));
    rmSync(folder, { recursive: true });
  }
}

for (const picture of PICTURES) await take(picture);
