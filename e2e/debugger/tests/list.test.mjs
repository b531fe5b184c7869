// The list of events: what it shows, keeps and exports.

import assert from "node:assert/strict";

import { fill, rows, text } from "../lib/browser.mjs";
import { inBrowsers, rowCount, subscribe } from "../lib/suite.mjs";

/** How many events are kept, and how many more this test publishes. */
const KEPT = 1_000;
const MORE = 37;

inBrowsers({}, (test) => {
  test("markup in a payload, a name or a topic stays text", { complaints: /status of 400/ }, async ({ proxy, page }) => {
    const evil = '<img src=x onerror="globalThis.broken = true"><script>globalThis.broken = true</script>';
    await fill(page, "#names", "<b>name</b>");
    await subscribe(page, "<i>topic</i>");
    await proxy.publish("<i>topic</i>", evil, `?event=${encodeURIComponent("<b>name</b>")}`);
    await proxy.publish("<i>topic</i>", JSON.stringify({ [evil]: evil }));
    await rowCount(page, 2);
    await page.click("#unfold");
    await page.waitForFunction(() => document.querySelectorAll("#rows pre").length === 2);
    const [json, plain] = await rows(page);
    assert.ok(plain.data.includes(evil) && json.data.includes("onerror"), "it is shown");
    assert.deepEqual([plain.event, plain.topic], ["<b>name</b>", "<i>topic</i>"]);
    assert.equal(await page.$$eval("#rows img, #rows script, #rows b, #rows i", (found) => found.length), 0);
    assert.equal(await page.evaluate(() => globalThis.broken), undefined);
    await fill(page, "#to", "<u>x</u>");
    await fill(page, "#event", "revenprox-reserved");
    await page.click("#send");
    await page.waitForFunction(() => document.querySelector("#published").textContent.startsWith("400"));
  });

  test("JSON is unfolded with indentation, other texts as they are", {}, async ({ proxy, page }) => {
    await subscribe(page, "a");
    const value = { text: 'a "quoted": 1', list: [1, -2.5e3, null, true], empty: {} };
    await proxy.publish("a", JSON.stringify(value));
    await proxy.publish("a", "first\nsecond");
    await proxy.publish("a", "");
    await rowCount(page, 3);
    await page.$$eval("#rows summary", (found) => found.forEach((summary) => summary.click()));
    await page.waitForFunction(() => document.querySelectorAll("#rows pre").length === 2);
    const [lines, json] = await page.$$eval("#rows pre", (found) => found.map((pre) => pre.textContent));
    assert.equal(json, JSON.stringify(value, null, 2));
    assert.equal(lines, "first\nsecond");
    const coloured = await page.$$eval("#rows pre span", (found) => found.map((span) => [span.className, span.textContent]));
    assert.deepEqual(coloured.slice(0, 4), [
      ["key", '"text"'],
      ["string", '"a \\"quoted\\": 1"'],
      ["key", '"list"'],
      ["number", "1"],
    ]);
    assert.equal((await rows(page))[0].data, "empty");
  });

  test("the list is filtered, paused, cleared and exported", {}, async ({ proxy, page }) => {
    await subscribe(page, "a");
    const ids = [];
    for (const data of ["red apple", "green pear", '{"colour": "red"}']) ids.push(await proxy.publish("a", data));
    await rowCount(page, 3);
    await fill(page, "#filter", "RED");
    await rowCount(page, 2);
    assert.equal(await text(page, "#counts"), "3 received, 2 match");
    await page.evaluate(() => {
      // The download itself is the browser's; what is asked for is kept here.
      const create = URL.createObjectURL;
      URL.createObjectURL = (blob) => {
        globalThis.exported = blob;
        return create.call(URL, blob);
      };
      HTMLAnchorElement.prototype.click = function () {
        globalThis.fileName = this.download;
      };
    });
    await page.click("#export");
    const lines = (await page.evaluate(() => globalThis.exported.text())).split("\n");
    assert.equal(lines.pop(), "", "the last line ends");
    const events = lines.map((line) => JSON.parse(line));
    assert.deepEqual(
      events.map((event) => event.id),
      [ids[0], ids[2]],
    );
    const [{ received, delay_ms: delay, connection, ...rest }] = events;
    assert.deepEqual(rest, { id: ids[0], event: "message", topic: "a", data: "red apple" });
    assert.ok(Math.abs(Date.parse(received) - Number(ids[0].split("-")[0]) - delay) <= 1 && connection === 1);
    assert.match(await page.evaluate(() => globalThis.fileName), /^revenprox-events-[\dTZ-]+\.ndjson$/);

    await page.click("#filter", { count: 3 });
    await page.keyboard.press("Backspace");
    await rowCount(page, 3);
    await page.click("#pause");
    await proxy.publish("a", "while paused");
    await page.waitForFunction(() => document.querySelector("#pause").textContent === "Go on (1 waiting)");
    assert.equal((await rows(page)).length, 3);
    await page.click("#pause");
    await rowCount(page, 4);
    await page.click("#clear");
    await rowCount(page, 0);
    await proxy.publish("a", "after");
    await rowCount(page, 1);
  });

  test("the list is bounded, whatever comes", {}, async ({ proxy, page }) => {
    await subscribe(page, "a");
    const lines = Array.from({ length: KEPT + MORE }, (_, at) => JSON.stringify({ topic: "a", data: `event ${at}` }));
    for (const paused of [false, true]) {
      if (paused) await page.click("#pause");
      for (const part of [lines.slice(0, KEPT), lines.slice(KEPT)]) {
        const answer = await fetch(`${proxy.origin}/events`, {
          method: "POST",
          headers: { "content-type": "application/x-ndjson" },
          body: part.join("\n"),
        });
        assert.equal(answer.status, 202, await answer.text());
      }
      if (paused) {
        await page.waitForFunction(
          (all) => document.querySelector("#pause").textContent.includes(all),
          {},
          (KEPT + MORE).toLocaleString("en-GB"),
        );
        await page.click("#pause");
      }
      await page.waitForFunction(
        (wanted) => document.querySelector("#counts").textContent.startsWith(wanted),
        {},
        ((paused ? 2 : 1) * (KEPT + MORE)).toLocaleString("en-GB"),
      );
      await rowCount(page, KEPT);
      const found = await rows(page);
      assert.deepEqual([found[0].data, found[KEPT - 1].data], [`event ${KEPT + MORE - 1}`, `event ${MORE}`]);
    }
  });
});
