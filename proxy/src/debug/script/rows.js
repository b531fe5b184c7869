"use strict";
// The list of events: bounded, filtered, paused; drawn in batches, so that a fast stream does not stall the page.

const ROWS_MAX = 1_000;
const DRAW_MS = 40;
const SUMMARY_MAX = 400;

/** An element with a class and a text. The text stays text, whatever is in it. */
function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  if (text !== "") made.textContent = text;
  return made;
}

/** The rows of the table and what is waiting to become one. */
class EventList {
  constructor(body, drawn) {
    this.body = body;
    this.drawn = drawn;
    this.rows = [];
    this.waiting = [];
    this.held = 0;
    this.received = 0;
    this.gaps = 0;
    this.filter = "";
    this.paused = false;
    this.unfolded = false;
    this.seen = new Set();
    this.topics = new Map();
  }

  /** Takes an event that has arrived. */
  add(message, topic) {
    const received = new Date();
    const millis = message.own ? null : idMillis(message.id);
    const published = eventOf(message.id);
    const known = topic ?? this.topics.get(published) ?? (message.own ? jsonOf(message.data)?.topic : undefined) ?? "";
    const row = {
      ...message,
      published,
      event: message.name,
      topic: known,
      received,
      delay: millis === null ? null : received.getTime() - millis,
      again: message.id !== "" && this.seen.has(published),
    };
    row.haystack = `${row.id}\n${row.event}\n${row.topic}\n${row.data}`.toLowerCase();
    if (message.id !== "") this.remember(published);
    this.received += 1;
    if (row.event === "revenprox-gap") this.gaps += 1;
    this.waiting.push(row);
    if (this.waiting.length > ROWS_MAX) this.waiting.shift();
    if (this.paused) this.held += 1;
    this.soon();
  }

  /** Tells of which topic an event is that this page has published; it may have arrived before the answer. */
  published(id, topic) {
    this.topics.set(id, topic);
    if (this.topics.size > ROWS_MAX) this.topics.delete(this.topics.keys().next().value);
    const row = [...this.rows, ...this.waiting].find((row) => row.published === id && row.topic === "");
    if (!row) return;
    row.topic = topic;
    row.haystack += `\n${topic.toLowerCase()}`;
    if (row.cell) row.cell.replaceChildren(topic);
  }

  pause(paused) {
    this.paused = paused;
    this.held = 0;
    this.soon();
  }

  clear() {
    this.rows = [];
    this.waiting = [];
    this.held = 0;
    this.received = 0;
    this.seen.clear();
    this.body.replaceChildren();
    this.drawn();
  }

  setFilter(text) {
    this.filter = text.trim();
    for (const row of this.rows) row.element.hidden = !matches(row, this.filter);
    this.drawn();
  }

  unfold(open) {
    this.unfolded = open;
    for (const row of this.rows) if (row.details) row.details.open = open;
  }

  /** What matches the filter, oldest first. */
  chosen() {
    return this.rows.filter((row) => matches(row, this.filter));
  }

  remember(id) {
    this.seen.add(id);
    if (this.seen.size > 2 * ROWS_MAX) this.seen.delete(this.seen.keys().next().value);
  }

  soon() {
    this.timer ??= setTimeout(() => this.draw(), DRAW_MS);
  }

  draw() {
    this.timer = null;
    if (!this.paused && this.waiting.length > 0) {
      const drawn = document.createDocumentFragment();
      for (const row of this.waiting) drawn.prepend(this.make(row));
      this.body.prepend(drawn);
      this.rows.push(...this.waiting);
      this.waiting = [];
      for (const row of this.rows.splice(0, Math.max(0, this.rows.length - ROWS_MAX))) row.element.remove();
    }
    this.drawn();
  }

  make(row) {
    const kind = row.event === "revenprox-gap" ? "gap" : row.own ? "own" : "";
    row.element = element("tr", `new ${kind}`.trim());
    row.cell = element("td");
    row.cell.append(row.topic === "" ? absent("not told") : row.topic);
    const delay = element("td", "num");
    delay.append(row.delay === null ? absent("–") : span(row.delay));
    const id = element("td", "id");
    id.append(row.id === "" ? absent("no id") : row.id);
    if (row.again) id.append(" ", element("span", "badge", "again"));
    const data = element("td", "data");
    data.append(this.payload(row));
    const cells = [
      element("td", "time", clock(row.received)),
      delay,
      element("td", row.event === "message" ? "absent" : "name", row.event),
      row.cell,
      id,
      data,
    ];
    for (const cell of cells) cell.setAttribute("role", "cell");
    row.element.setAttribute("role", "row");
    row.element.append(...cells);
    row.element.hidden = !matches(row, this.filter);
    return row.element;
  }

  /** A short text as it is; anything else on one line that unfolds. */
  payload(row) {
    const line = row.event === "revenprox-gap" ? gapText(row.data) : row.data;
    if (line === "") return absent("empty");
    if (line === row.data && line.length <= 60 && !line.includes("\n") && jsonOf(line) === undefined)
      return element("span", "line", line);
    const details = element("details", "payload");
    const short = line.slice(0, SUMMARY_MAX).replaceAll("\n", " ⏎ ");
    details.append(element("summary", "", line.length > SUMMARY_MAX ? `${short}…` : short));
    // Made when it is first looked at: most never are.
    details.addEventListener("toggle", () => {
      if (details.open && !details.querySelector("pre")) details.append(unfolded(row.data));
    });
    details.open = this.unfolded;
    row.details = details;
    return details;
  }
}

function absent(text) {
  return element("span", "absent", text);
}

/** A payload in full. */
function unfolded(data) {
  const { text, cut, json } = pretty(data);
  const made = element("pre");
  if (json) made.append(...pieces(text).map(([kind, piece]) => (kind === "" ? piece : element("span", kind, piece))));
  else made.textContent = text;
  if (cut > 0) made.append(`\n… and ${amount(cut)} characters more; the export has them.`);
  return made;
}

/** What a gap means, in words. */
function gapText(data) {
  const { reason, requested, oldest, dropped } = jsonOf(data) ?? {};
  if (reason === "slow") return `Gap: ${amount(dropped)} events were left out because this subscriber did not keep up`;
  const kept = oldest ? `the oldest that is kept is ${oldest}` : "nothing is kept";
  if (reason === "expired") return `Gap: events after ${requested} are no longer kept; ${kept}`;
  if (reason === "unknown") return `Gap: the instance does not know what followed ${requested}; ${kept}`;
  return `Gap: ${data}`;
}
