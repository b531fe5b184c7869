"use strict";
// A subscription over a native EventSource, and what becomes of its connections.

/** How long this page waits before it opens a stream that the browser has given up, at first and at most. */
const AGAIN_MS = 1_000;
const AGAIN_MS_MAX = 15_000;
const PROBE_MS = 5_000;

/** How many connections are remembered. */
const CONNECTIONS_MAX = 100;
/** Numbers connections over all subscriptions, for the export. */
let connectionNumber = 0;

/**
 * A subscription. Its `watcher` is told by `state(state, text)`, `explain(text)`, `event(message)` and `connections()`.
 *
 * The browser reconnects by itself as long as the answer is a stream. On any other answer, and in Firefox on a refused
 * connection to another origin, it gives up for good; then the page asks once more by fetch to learn why, and if the reason
 * passes opens a new EventSource that names the last id.
 */
class Subscription {
  constructor(settings, watcher) {
    this.settings = settings;
    this.watcher = watcher;
    this.connections = [];
    this.reconnects = 0;
    this.lastId = "";
    this.lost = null;
    this.farewell = "";
    this.tries = 0;
    this.names = new Set();
    this.open("first");
  }

  open(how) {
    this.how = how;
    this.asked = performance.now();
    this.names.clear();
    const settings = { ...this.settings, after: this.lastId || this.settings.after };
    this.source = new EventSource(streamUrl(settings.base, settings), { withCredentials: settings.cookies });
    this.source.onopen = () => this.opened();
    this.source.onerror = () => this.failed();
    this.source.onmessage = (message) => this.took(message);
    this.listen([...OWN_EVENTS, ...settings.names]);
    this.watcher.state(how === "first" ? "connecting" : "waiting", how === "first" ? "Connecting" : "Reconnecting");
  }

  /** Listens for these named events too. */
  listen(names) {
    for (const name of names) {
      if (this.names.has(name) || name === "message" || name === "open" || name === "error") continue;
      this.names.add(name);
      this.source.addEventListener(name, (message) => this.took(message));
    }
  }

  /** Ends the subscription. */
  stop(state = "idle", text = "Not subscribed") {
    clearTimeout(this.timer);
    this.stopped = true;
    this.source.close();
    this.ended("stopped here");
    this.watcher.state(state, text);
  }

  /** Drops the connection and opens another after the last id. */
  reconnect() {
    clearTimeout(this.timer);
    this.source.close();
    this.ended("dropped here");
    this.open("by this page");
  }

  opened() {
    const now = performance.now();
    const first = this.connections.length === 0;
    if (!first) this.reconnects += 1;
    connectionNumber += 1;
    this.current = {
      number: connectionNumber,
      at: new Date(),
      since: now,
      took: now - (this.lost ?? this.asked),
      how: this.how,
      events: 0,
      end: null,
      lasted: null,
    };
    this.connections.unshift(this.current);
    this.connections.length = Math.min(this.connections.length, CONNECTIONS_MAX);
    this.lost = null;
    this.tries = 0;
    this.how = "by the browser";
    this.watcher.state("open", first ? "Connected" : `Connected again after ${span(this.current.took)}`);
    this.watcher.explain("");
    this.watcher.connections();
  }

  took(message) {
    const own = OWN_EVENTS.includes(message.type);
    // lastEventId goes on to name the event before if one has no id, as most of the proxy's own have not.
    const id = own && message.lastEventId === this.lastId ? "" : message.lastEventId;
    this.lastId = message.lastEventId;
    if (this.current) this.current.events += 1;
    if (own && message.type !== "revenprox-gap" && message.type !== "revenprox-token-expiring") {
      this.farewell = `${message.type.slice("revenprox-".length)}: ${jsonOf(message.data)?.reason ?? "no reason"}`;
    }
    this.watcher.event({ id, own, name: message.type, data: message.data, connection: this.current?.number ?? 0 });
  }

  failed() {
    this.ended(this.farewell || "lost");
    this.farewell = "";
    if (this.source.readyState === EventSource.CONNECTING) {
      this.watcher.state(
        "waiting",
        this.connections.length > 0 ? "Connection lost, the browser reconnects" : "No answer yet, the browser tries again",
      );
      return;
    }
    this.watcher.state("waiting", "The browser has given up, asking why");
    this.giveUp();
  }

  /** Finds out why the browser gave up, and goes on or stops. */
  async giveUp() {
    const why = await probe(this.settings, this.lastId);
    if (this.stopped || this.source.readyState !== EventSource.CLOSED) return;
    if (why.final) {
      this.watcher.explain(why.text, "bad");
      this.stop("refused", why.title);
      return;
    }
    const wait = why.wait ?? Math.min(AGAIN_MS * 2 ** this.tries, AGAIN_MS_MAX);
    this.tries += 1;
    this.watcher.explain(`${why.text} The browser has given up for good; this page opens the stream again.`, "bad");
    this.watcher.state("waiting", `${why.title}, next try in ${span(wait)}`);
    this.timer = setTimeout(() => this.open("by this page"), wait);
  }

  ended(how) {
    if (!this.current) return;
    this.current.lasted = performance.now() - this.current.since;
    this.current.end = how;
    this.current = null;
    this.lost = performance.now();
    this.watcher.connections();
  }
}

/** Asks for the stream by fetch, which unlike an EventSource tells the status: `{title, text, final, wait}`. */
async function probe(settings, lastId) {
  const url = streamUrl(settings.base, { ...settings, after: lastId || settings.after });
  const abort = new AbortController();
  const late = setTimeout(() => abort.abort(), PROBE_MS);
  try {
    const credentials = settings.cookies ? "include" : "same-origin";
    const answer = await fetch(url, { headers: { accept: "*/*" }, cache: "no-store", credentials, signal: abort.signal });
    if (answer.ok) return { title: "Given up", text: "The stream can be had again." };
    const problem = jsonOf(await answer.text());
    const title = `Refused: ${answer.status} ${problem?.title ?? ""}`.trim();
    const detail = problem?.detail ?? "The answer is not one of the proxy: is something else in front of it?";
    const passing = answer.status === 429 || answer.status >= 500;
    const seconds = Number(answer.headers.get("retry-after"));
    return { title, text: `${answer.status}: ${detail}.`, final: !passing, wait: seconds > 0 ? seconds * 1_000 : undefined };
  } catch {
    return unreachable(settings.base);
  } finally {
    clearTimeout(late);
    abort.abort();
  }
}

/** Whether nothing answers there, or the browser may not show this page the answer. */
async function unreachable(base) {
  try {
    await fetch(`${base}/livez`, { mode: "no-cors", cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
  } catch {
    return { title: "Unreachable", text: `Nothing answers at ${base}.` };
  }
  const list = `cors_allowed_origins = ["${location.origin}"]`;
  return {
    title: "Refused by the browser",
    final: true,
    text: `Something answers at ${base}, but does not admit pages of ${location.origin}. In the section [http] of the proxy’s configuration set ${list}, beside the origins that are there, or "*" for all; with cookies it has to be listed by name.`,
  };
}
