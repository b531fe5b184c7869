// Subscribing, publishing, losing the connection and coming back.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { fill, rows, text } from "../lib/browser.mjs";
import { Proxy, until } from "../lib/proxy.mjs";
import { Relay } from "../lib/relay.mjs";
import { inBrowsers, inState, rowCount, subscribe } from "../lib/suite.mjs";

/** What browsers write when a connection is lost, which is what these tests are about. */
const LOST = /Failed to load resource|ERR_|can’t establish a connection|was interrupted/;

inBrowsers({}, (test) => {
  test("what the page and curl publish is shown with ids, topics and delays", {}, async ({ proxy, page }) => {
    await subscribe(page, "orders");
    assert.equal(await text(page, "#state"), "Connected");
    await fill(page, "#data", "from the page");
    await page.click("#send");
    await rowCount(page, 1);
    const { stdout } = await promisify(execFile)("curl", ["-sS", "-d", "from curl", `${proxy.origin}/events/orders`]);
    await rowCount(page, 2);
    const [second, first] = await rows(page);
    assert.deepEqual([first.data, first.event, first.topic], ["from the page", "message", "orders"]);
    assert.deepEqual([second.data, second.id], ["from curl", JSON.parse(stdout).id]);
    assert.match(await text(page, "#published"), new RegExp(`^202, accepted in .* as ${first.id}$`));
    assert.equal(await text(page, "#last-id"), second.id);
    assert.match(second.received, /^\d\d:\d\d:\d\d\.\d{3}$/);
    assert.match(second.delay, /^\d+ ms$/);
    await until("the metrics to count both", async () => (await text(page, "#tiles div:nth-child(1) dd")) === "1");
    assert.equal(await text(page, "#connections tr td:nth-child(4)"), "2");
  });

  test(
    "named events are shown once they are listened for, and the page listens for what it publishes",
    {},
    async ({ proxy, page }) => {
      await subscribe(page, "a");
      await proxy.publish("a", "nobody listens", "?event=quiet");
      await proxy.publish("a", "unnamed");
      await rowCount(page, 1);
      assert.equal((await rows(page))[0].data, "unnamed");
      await fill(page, "#names", "loud, other");
      await proxy.publish("a", "heard", "?event=loud");
      await rowCount(page, 2);
      assert.deepEqual(
        (await rows(page)).map((row) => row.event),
        ["loud", "message"],
      );
      await fill(page, "#event", "mine");
      await page.click("#send");
      await rowCount(page, 3);
      assert.equal((await rows(page))[0].event, "mine");
      assert.equal(await page.$eval("#names", (field) => field.value), "loud, other, mine");
    },
  );

  test("of several topics the one is shown that is known", {}, async ({ proxy, page }) => {
    await subscribe(page, "a\nb c\n.");
    await proxy.publish("a", "by somebody else");
    await fill(page, "#to", "b c");
    await fill(page, "#data", "by this page");
    await page.click("#send");
    await rowCount(page, 2);
    await page.waitForFunction(() => document.querySelector("#rows tr td:nth-child(4)").textContent === "b c");
    assert.deepEqual(
      (await rows(page)).map((row) => row.topic),
      ["b c", "not told"],
    );
  });

  test("replay begins where it is asked to", {}, async ({ proxy, page }) => {
    const first = await proxy.publish("a", "1");
    const second = await proxy.publish("a", "2");
    await fill(page, "#since", "earliest");
    await subscribe(page, "a");
    await rowCount(page, 2);
    assert.deepEqual(
      (await rows(page)).map((row) => row.id),
      [second, first],
    );
    await page.click("#clear");
    await fill(page, "#after", first);
    await page.click("#connect");
    await rowCount(page, 1);
    assert.equal((await rows(page))[0].id, second);
  });

  test(
    "an outage is shown, and nothing that was published meanwhile is missed",
    { complaints: LOST },
    async ({ proxy, show }) => {
      const relay = await Relay.start(proxy.port);
      try {
        const page = await show(`${relay.origin}/debug`);
        await subscribe(page, "a");
        await proxy.publish("a", "before");
        await rowCount(page, 1);
        relay.cut();
        await inState(page, "waiting");
        await proxy.publish("a", "meanwhile 1");
        await proxy.publish("a", "meanwhile 2");
        relay.mend();
        await inState(page, "open");
        await rowCount(page, 3);
        await proxy.publish("a", "after");
        await rowCount(page, 4);
        assert.deepEqual(
          (await rows(page)).map((row) => row.data),
          ["after", "meanwhile 2", "meanwhile 1", "before"],
        );
        assert.equal(await text(page, "#reconnects"), "1");
        assert.equal(await text(page, "#gaps"), "0");
        assert.match(await text(page, "#state"), /^Connected again after \d/);
        const [again, first] = await page.$$eval("#connections tr", (found) =>
          found.map((row) => [...row.cells].map((cell) => cell.innerText)),
        );
        assert.match(again[1], /\d (ms|s)$/, "how long it took");
        assert.equal(again[2], "open");
        assert.match(again[4], /^by (the browser|this page)$/);
        assert.match(first[4], /^first, lost$/);
      } finally {
        relay.stop();
      }
    },
  );

  test(
    "a restart of the proxy on its port is survived, and the gap that it leaves stands out",
    { complaints: LOST },
    async ({ proxy, page }) => {
      await subscribe(page, "a");
      const id = await proxy.publish("a", "before");
      await rowCount(page, 1);
      await proxy.stop("SIGKILL");
      await inState(page, "waiting");
      const another = await Proxy.start({ port: proxy.port });
      try {
        await inState(page, "open");
        await rowCount(page, 2);
        const [gap] = await rows(page);
        assert.deepEqual([gap.event, gap.kind, gap.topic], ["revenprox-gap", "gap", "a"]);
        assert.ok(gap.data.startsWith(`Gap: the instance does not know what followed ${id}`), gap.data);
        const [marked, plain] = await page.$$eval("#rows tr", (found) =>
          found.map((row) => getComputedStyle(row).backgroundColor),
        );
        assert.notEqual(marked, plain, "the gap has a colour of its own");
        assert.equal(await text(page, "#gaps"), "1");
        assert.equal(await text(page, "#reconnects"), "1");
        await another.publish("a", "after");
        await rowCount(page, 3);
      } finally {
        await another.stop("SIGKILL");
      }
    },
  );

  test("a drain says so, and the page can drop and stop the stream itself", { complaints: LOST }, async ({ proxy, page }) => {
    await subscribe(page, "a");
    await page.click("#again");
    await inState(page, "open");
    await until("the second connection", async () => (await text(page, "#reconnects")) === "1");
    assert.match(await text(page, "#connections tr:nth-child(2) td:nth-child(5)"), /^first, dropped here$/);
    await page.click("#disconnect");
    await inState(page, "idle");
    await until("the stream to end", async () => (await proxy.connections()) === 0);
    await subscribe(page, "a");
    await proxy.stop("SIGTERM");
    await rowCount(page, 1);
    const [retry] = await rows(page);
    assert.deepEqual([retry.event, retry.kind, retry.id], ["revenprox-retry", "own", "no id"]);
    await page.waitForFunction(() => /first, retry: draining/.test(document.querySelector("#connections").innerText));
  });
});
