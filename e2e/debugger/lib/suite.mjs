// A test in each browser, with a proxy of its own.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { BROWSERS, fill, launch, open } from "./browser.mjs";
import { Proxy } from "./proxy.mjs";

/** Nothing in a test takes as long as this. */
const TEST_MS = 120_000;

/**
 * Describes tests for each browser. `define(test)` calls `test(name, options, body)`; the body gets `{proxy, browser, page, show, name}` with the page
 * open. Whatever the browser reports as an error fails the test, but for what `options.complaints` admits.
 */
export function inBrowsers(options, define) {
  for (const name of BROWSERS) {
    describe(name, { timeout: 5 * TEST_MS }, () => {
      let browser;
      before(async () => (browser = await launch(name, options)));
      after(() => browser.close());
      define((title, { complaints = /^$/, proxy: how, ...window }, body) => {
        it(title, { timeout: TEST_MS }, async () => {
          const proxy = await Proxy.start(how);
          const pages = [];
          const show = async (url) => {
            const page = await open(browser, url, window);
            pages.push(page);
            return page;
          };
          try {
            const page = how?.page === false ? null : await show(`${proxy.origin}/debug`);
            await body({ proxy, browser, page, show, name });
            const unexpected = pages.flatMap((page) => page.complaints).filter((text) => !complaints.test(text));
            assert.deepEqual(unexpected, [], "the browser complains");
          } finally {
            await Promise.all(pages.map((page) => page.close()));
            await proxy.stop("SIGKILL");
          }
        });
      });
    });
  }
}

/** Subscribes by the form, and waits until the stream is open. */
export async function subscribe(page, topics) {
  await fill(page, "#topics", "");
  await page.$eval("#topics", (field, text) => (field.value = text), topics);
  await page.focus("#topics");
  await page.keyboard.press("Enter");
  await inState(page, "open");
}

export function inState(page, state) {
  return page.waitForFunction((wanted) => document.querySelector("#state").dataset.state === wanted, {}, state);
}

/** Waits until so many rows are shown. */
export function rowCount(page, count) {
  return page.waitForFunction((wanted) => document.querySelectorAll("#rows tr:not([hidden])").length === wanted, {}, count);
}
