// Tokens, refusals, and the page of the admin listener.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { fill, rows, text } from "../lib/browser.mjs";
import { Proxy, freePort, until } from "../lib/proxy.mjs";
import { Relay } from "../lib/relay.mjs";
import { inBrowsers, inState, rowCount, subscribe } from "../lib/suite.mjs";

const SECRET = "a secret of at least thirty-two bytes";
const WITH_TOKENS = {
  REVENPROX_JWT_VERIFIER__REQUIRE_AUTHENTICATION: "true",
  REVENPROX_AUTH__KEYS: `[{ algorithm = "HS256", secret = "${SECRET}" }]`,
};
const ONE_PLACE = { page: false, env: { REVENPROX_HTTP__REFUSE_WITH: "status", REVENPROX_HTTP__MAX_CONNECTIONS: "1" } };
const ADMIN_TOKEN = "the operators' own";

/** Browsers write down every status that is an error, and what they do not admit. */
const REFUSED = /Failed to load resource|status|Cross-Origin|CORS|ERR_|can’t establish a connection/;

function token(...more) {
  return execFileSync(process.env.SSE_PROXY, ["token", ...more, "--secret", SECRET], { encoding: "utf8" }).trim();
}

/** A proxy that has an admin listener, and its address. */
async function withAdmin(env = {}) {
  const port = await freePort();
  const proxy = await Proxy.start({ env: { REVENPROX_ADMIN__BIND_ADDRESS: `127.0.0.1:${port}`, ...env } });
  return { proxy, origin: `http://127.0.0.1:${port}` };
}

inBrowsers({}, (test) => {
  test(
    "a refused token is explained, a good one subscribes and publishes, and none is left anywhere",
    { proxy: { env: WITH_TOKENS }, complaints: REFUSED },
    async ({ page }) => {
      await fill(page, "#topics", "a");
      await fill(page, "#token", "no token");
      await page.keyboard.press("Enter");
      await inState(page, "refused");
      assert.match(await text(page, "#state"), /^Refused: 401/);
      assert.match(await text(page, "#explain"), /^401: .*token/);
      const good = token("--subscribe", "a", "--publish", "a");
      await fill(page, "#token", good);
      await page.keyboard.press("Enter");
      await inState(page, "open");
      assert.equal(await text(page, "#explain"), "");
      await page.click("#send");
      await rowCount(page, 1);
      await fill(page, "#to", "b");
      await page.click("#send");
      await page.waitForFunction(() => document.querySelector("#published").textContent.startsWith("403"));
      const traces = await page.evaluate(() =>
        JSON.stringify([
          location.href,
          { ...localStorage },
          { ...sessionStorage },
          document.cookie,
          history.state,
          document.title,
          document.body.innerText,
        ]),
      );
      assert.ok(!traces.includes(good) && traces.includes("Published"), traces);
    },
  );

  test(
    "when the browser gives up for a reason that passes, the page goes on after the last id",
    { complaints: REFUSED, proxy: ONE_PLACE },
    async ({ proxy, show }) => {
      const relay = await Relay.start(proxy.port);
      const abort = new AbortController();
      try {
        const page = await show(`${relay.origin}/debug`);
        await subscribe(page, "a");
        await proxy.publish("a", "1");
        await rowCount(page, 1);
        relay.cut();
        await until("the place to be free", async () => (await proxy.connections()) === 0);
        // Somebody else takes the only place, so the browser's reconnect is answered with 503, which it takes for the end.
        const other = await fetch(`${proxy.origin}/events/b`, { signal: abort.signal });
        assert.equal(other.status, 200);
        relay.mend();
        await page.waitForFunction(() =>
          /^503: .* this page opens the stream again\.$/.test(document.querySelector("#explain").textContent),
        );
        await proxy.publish("a", "2");
        abort.abort();
        await inState(page, "open");
        await rowCount(page, 2);
        assert.equal((await rows(page))[0].data, "2");
        assert.equal(await text(page, "#reconnects"), "1");
        assert.equal(await text(page, "#connections tr:first-child td:nth-child(5)"), "by this page");
      } finally {
        abort.abort();
        relay.stop();
      }
    },
  );

  test(
    "the admin listener's page asks for its secret, then for clients elsewhere",
    { proxy: { page: false }, complaints: REFUSED },
    async ({ show }) => {
      const { proxy, origin } = await withAdmin({ REVENPROX_ADMIN__TOKEN: ADMIN_TOKEN });
      try {
        const refused = await fetch(`${origin}/debug`);
        assert.deepEqual([refused.status, refused.headers.get("www-authenticate").includes("Basic")], [401, true]);
        const url = new URL(`${origin}/debug`);
        [url.username, url.password] = ["anybody", ADMIN_TOKEN];
        const page = await show(url.href);
        await page.waitForFunction(() => /asks for its token/.test(document.querySelector("#node-note").textContent));
        await fill(page, "#admin-token", ADMIN_TOKEN);
        await page.keyboard.press("Tab");
        await page.waitForFunction(() => document.querySelector("#tiles dd").textContent === "0");
        assert.equal(await text(page, "#node-note"), "");
        assert.match(await text(page, "#peers-note"), /is alone/);
        assert.equal(await page.$eval("#proxy", (field) => field.value), proxy.origin);
        await subscribe(page, "a");
        await page.click("#send");
        await rowCount(page, 1);
        await page.waitForFunction(() => document.querySelector("#tiles dd").textContent === "1");
      } finally {
        await proxy.stop("SIGKILL");
      }
    },
  );

  test(
    "an origin that is not admitted, and an address where nothing is, are told apart",
    { proxy: { page: false }, complaints: REFUSED },
    async ({ show }) => {
      const { proxy, origin } = await withAdmin({ REVENPROX_HTTP__CORS_ALLOWED_ORIGINS: "https://app.example.com" });
      try {
        const page = await show(`${origin}/debug`);
        await fill(page, "#topics", "a");
        await page.keyboard.press("Enter");
        await page.waitForFunction(() => document.querySelector("#explain").textContent.includes("cors_allowed_origins"));
        assert.ok((await text(page, "#explain")).includes(`["${origin}"]`));
        await page.click("#send");
        await page.waitForFunction(() => document.querySelector("#published").textContent.includes("cors_allowed_origins"));
        await fill(page, "#proxy", `http://127.0.0.1:${await freePort()}`);
        await page.click("#send");
        await page.waitForFunction(() => document.querySelector("#published").textContent.startsWith("Nothing answers at"));
        await fill(page, "#proxy", "localhost");
        await page.click("#connect");
        await page.waitForFunction(() => document.querySelector("#explain").textContent.startsWith("Enter the address"));
      } finally {
        await proxy.stop("SIGKILL");
      }
    },
  );

  test("peers are listed, for operators and for developers", { proxy: { page: false } }, async ({ show }) => {
    const folder = mkdtempSync(join(tmpdir(), "revenprox-"));
    const at = (name) => `ipc://${folder}/${name}`;
    const mesh = (name, peer) => ({
      REVENPROX_PROXY_ID: name,
      REVENPROX_NNG__LISTEN_ADDRESSES: at(name),
      REVENPROX_NNG__PEER_ADDRESSES: at(peer),
      REVENPROX_NNG__HEARTBEAT_INTERVAL_SEC: "1",
    });
    const { proxy: one, origin } = await withAdmin(mesh("one", "two"));
    const two = await Proxy.start({ env: mesh("two", "one") });
    try {
      const [operator, developer] = [await show(`${origin}/debug`), await show(`${two.origin}/debug`)];
      await subscribe(developer, "a\nb");
      await one.publish("a", "over there");
      await rowCount(developer, 1);
      // A page that nobody looks at does not ask.
      await operator.bringToFront();
      await until("the operator's list", async () => /^two\tup\t1\t0\t/.test(await text(operator, "#peers")));
      await developer.bringToFront();
      await until("the developer's list", async () => /^one\t0\t1\t/.test(await text(developer, "#peers")));
      // An event that follows one of another instance has an id that says so; it has its delay and its topic all the same.
      await fill(developer, "#to", "a");
      await fill(developer, "#data", "over here");
      await developer.click("#send");
      await rowCount(developer, 2);
      await until("the topic of what the page has published", async () => (await rows(developer))[0].topic === "a");
      const [own] = await rows(developer);
      assert.match(own.id, /^\d+-\d+-[0-9a-f]{8}-[0-9a-f]{8}$/);
      assert.match(own.delay, /\d (ms|s)$/);
    } finally {
      await Promise.all([one.stop("SIGKILL"), two.stop("SIGKILL")]);
      rmSync(folder, { recursive: true });
    }
  });
});
