// That everybody can use the page: by keyboard, with a screen reader, in the dark, on a small screen.

import assert from "node:assert/strict";

import { fill, rows, text, violations } from "../lib/browser.mjs";
import { Proxy } from "../lib/proxy.mjs";
import { inBrowsers, inState, rowCount, subscribe } from "../lib/suite.mjs";

const LOST = /Failed to load resource|ERR_|can’t establish a connection|was interrupted/;

/** More than there is to walk through. */
const STEPS_MAX = 60;

/** A list with every kind of row, a gap included, everything unfolded. */
async function fillUp(proxy, page) {
  await fill(page, "#names", "progress");
  await fill(page, "#after", "1703894400000-001-5e0c91aa");
  await subscribe(page, "a");
  await proxy.publish("a", "plain");
  await proxy.publish("a", JSON.stringify({ step: 1, of: [2, null, "three"], done: true }), "?event=progress");
  await rowCount(page, 3);
  await page.$$eval("details", (found) => found.forEach((details) => (details.open = true)));
  await page.click("#send");
  await rowCount(page, 4);
  await page.waitForFunction(
    () => document.querySelectorAll("#rows pre").length >= 2 && document.querySelector("#tiles dd").textContent === "1",
  );
  // Colours are judged once nothing moves.
  await page.waitForFunction(() => document.getAnimations().every((animation) => animation.playState === "finished"));
}

for (const scheme of ["light", "dark"]) {
  inBrowsers({ dark: scheme === "dark" }, (test) => {
    test(`axe finds nothing in the ${scheme} page, idle, full or refused`, { complaints: LOST }, async ({ proxy, page }) => {
      const dark = await page.evaluate(() => matchMedia("(prefers-color-scheme: dark)").matches);
      assert.equal(dark, scheme === "dark");
      assert.deepEqual(await violations(page), []);
      await fillUp(proxy, page);
      assert.deepEqual(await violations(page), []);
      await page.click("#pause");
      await fill(page, "#since", "nonsense");
      await fill(page, "#after", "");
      await page.click("#connect");
      await inState(page, "refused");
      assert.match(await text(page, "#explain"), /^400: since is/);
      assert.deepEqual(await violations(page), []);
    });

    test(
      `axe finds nothing in the narrow ${scheme} page, which never scrolls sideways`,
      { width: 360, height: 740 },
      async ({ proxy, page }) => {
        const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(await overflow(), 0);
        await fillUp(proxy, page);
        await proxy.publish("a", "x".repeat(3_000));
        await rowCount(page, 5);
        assert.equal(await overflow(), 0);
        const sizes = await page.$$eval("#rows tr", (found) => found.map((row) => [row.scrollWidth, row.clientWidth]));
        for (const [needed, given] of sizes) assert.ok(needed <= given, "rows are not cut");
        await page.waitForFunction(() => document.getAnimations().every((animation) => animation.playState === "finished"));
        assert.deepEqual(await violations(page), []);
      },
    );
  });
}

inBrowsers({}, (test) => {
  test("everything is done by keyboard, and one sees where one is", {}, async ({ page }) => {
    const focused = () => page.evaluate(() => document.activeElement.id);
    const tabTo = async (id) => {
      for (let step = 0; step < STEPS_MAX; step += 1) {
        if ((await focused()) === id) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`${id} cannot be reached`);
    };
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the events");
    await tabTo("topics");
    await page.keyboard.type("a");
    await page.keyboard.down("Shift");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Shift");
    await page.keyboard.type("b");
    await page.keyboard.press("Enter");
    await inState(page, "open");
    await tabTo("to");
    await page.keyboard.type("b");
    await tabTo("data");
    await page.keyboard.down("Control");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Control");
    await rowCount(page, 1);
    assert.equal((await rows(page))[0].topic, "b");
    await tabTo("filter");
    await page.keyboard.type("world");
    await tabTo("pause");
    await page.keyboard.press(" ");
    assert.equal(await page.$eval("#pause", (button) => button.getAttribute("aria-pressed")), "true");
    await tabTo("events");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#rows details").open);
    for (let back = 0; back < STEPS_MAX && (await focused()) !== "disconnect"; back += 1) {
      await page.keyboard.down("Shift");
      await page.keyboard.press("Tab");
      await page.keyboard.up("Shift");
    }
    await page.keyboard.press("Enter");
    await inState(page, "idle");
    assert.equal(await focused(), "connect", "focus is not lost with the button that is off now");
  });

  test("a walk by Tab meets every control, visibly", {}, async ({ proxy, page }) => {
    await subscribe(page, "a");
    await proxy.publish("a", '{"a": 1}');
    await rowCount(page, 1);
    await page.$$eval("details.more", (found) => found.forEach((details) => (details.open = true)));
    await page.focus(".skip");
    const met = new Set();
    for (let step = 0; step < STEPS_MAX; step += 1) {
      const here = await page.evaluate(() => {
        const element = document.activeElement;
        if (element === document.body) return null;
        element.dataset.met = "";
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return { name: element.id || element.textContent, visible: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
      });
      if (here === null) break;
      assert.ok(here.visible, `${here.name} shows that it has the focus`);
      met.add(here.name);
      await page.keyboard.press("Tab");
    }
    const missed = await page.$$eval("a, button, input, select, textarea, summary, [tabindex]", (found) =>
      found
        .filter((element) => element.checkVisibility() && !element.disabled && element.dataset.met === undefined)
        .map((element) => element.id || element.outerHTML),
    );
    assert.deepEqual(missed, []);
    assert.ok(met.size > 20, [...met].join(", "));
  });

  test("a screen reader is told of the state, not of every event", { complaints: LOST }, async ({ proxy, page }) => {
    const live = await page.$$eval("[aria-live], [role=status], [role=alert], [role=log]", (found) =>
      found.map((element) => element.id),
    );
    assert.deepEqual(live, ["state", "explain", "published"]);
    await page.evaluate(() => {
      globalThis.told = [];
      new MutationObserver(() => globalThis.told.push(document.querySelector("#state").innerText.trim())).observe(
        document.querySelector("#state"),
        { subtree: true, childList: true, characterData: true },
      );
    });
    await subscribe(page, "a");
    for (const data of ["1", "2", "3"]) await proxy.publish("a", data);
    await rowCount(page, 3);
    assert.deepEqual(await page.evaluate(() => globalThis.told), ["Connecting", "Connected"]);
    await proxy.stop("SIGKILL");
    await inState(page, "waiting");
    const again = await Proxy.start({ port: proxy.port });
    try {
      await inState(page, "open");
      assert.match((await page.evaluate(() => globalThis.told)).at(-1), /^Connected again after/);
    } finally {
      await again.stop("SIGKILL");
    }
  });
});

inBrowsers({ calm: true }, (test) => {
  test("who wants no motion gets none", {}, async ({ proxy, page }) => {
    await subscribe(page, "a");
    await proxy.publish("a", "1");
    await rowCount(page, 1);
    assert.equal(await page.evaluate(() => matchMedia("(prefers-reduced-motion: reduce)").matches), true);
    assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  });
});
