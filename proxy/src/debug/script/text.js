"use strict";
// Pure functions: what texts mean and how things are written. Nothing here touches the page.

/** The proxy's own events: each says something about the stream, none was published. */
const OWN_EVENTS = [
  "revenprox-gap",
  "revenprox-retry",
  "revenprox-closed",
  "revenprox-token-expiring",
  "revenprox-token-expired",
];

/** Payloads beyond this many characters are shown without colours, and beyond the second number cut. */
const COLOURED_MAX = 65_536;
const SHOWN_MAX = 262_144;

/**
 * What an id of the proxy is made of: milliseconds since 1970, a counter, and the instance's run; and in a stream, where other instances have
 * published just before, eight digits more, which may differ from instance to instance although the event is the same.
 */
const ID = /^((\d{12,14})-\d+-[0-9a-f]+)(-[0-9a-f]{8})?$/;

/** The id that the event was given when it was published: ids of other servers may be any text. */
function eventOf(id) {
  return ID.exec(id)?.[1] ?? id;
}

/** The milliseconds since 1970 that an id begins with, or null. */
function idMillis(id) {
  const found = ID.exec(id);
  return found ? Number(found[2]) : null;
}

/** A time of day with milliseconds. */
function clock(date) {
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Milliseconds as a person reads them. Below zero the other clock is ahead. */
function span(ms) {
  if (ms < 0) return `−${span(-ms)}`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 100_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

/** A count, or a rate with one decimal below ten. */
function amount(number) {
  if (!Number.isFinite(number)) return "–";
  const digits = number < 10 && !Number.isInteger(number) ? 1 : 0;
  return number.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** The JSON value that a payload is, or undefined. A bare number or word is left as the text that it is. */
function jsonOf(data) {
  if (!/^\s*[[{]/.test(data)) return undefined;
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

/** A payload as it is unfolded: indented if it is JSON. */
function pretty(data) {
  const value = jsonOf(data);
  const text = value === undefined ? data : JSON.stringify(value, null, 2);
  return {
    text: text.slice(0, SHOWN_MAX),
    cut: Math.max(0, text.length - SHOWN_MAX),
    json: value !== undefined && text.length <= COLOURED_MAX,
  };
}

/** Indented JSON in pieces of `[class, text]`; joined they are the text. */
function pieces(text) {
  const token = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;
  const found = [];
  let last = 0;
  for (const match of text.matchAll(token)) {
    if (match.index > last) found.push(["", text.slice(last, match.index)]);
    const [whole, string, colon] = match;
    if (string) {
      found.push([colon ? "key" : "string", string]);
      if (colon) found.push(["", colon]);
    } else {
      found.push([/^[tfn]/.test(whole) ? "word" : "number", whole]);
    }
    last = match.index + whole.length;
  }
  if (last < text.length) found.push(["", text.slice(last)]);
  return found;
}

/** The names in a field, separated by commas or spaces. */
function namesIn(text) {
  return [...new Set(text.split(/[\s,]+/).filter((name) => name !== ""))];
}

/** The topics in a field, one on each line: a topic may contain spaces and commas. */
function topicsIn(text) {
  return [
    ...new Set(
      text
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== ""),
    ),
  ];
}

/** The path of one topic. Browsers take `.` and `..` for folders however they are written, so these have none. */
function topicPath(topic) {
  return topic === "." || topic === ".." ? null : `/events/${encodeURIComponent(topic)}`;
}

/** The address of a stream. `base` is an origin. */
function streamUrl(base, { topics, token, since, after }) {
  const query = new URLSearchParams();
  const path = topics.length === 1 ? topicPath(topics[0]) : null;
  if (path === null) for (const topic of topics) query.append("topic", topic);
  if (after) query.set("lastEventId", after);
  else if (since) query.set("since", since);
  if (token) query.set("token", token);
  const text = query.toString();
  return `${base}${path ?? "/events"}${text === "" ? "" : `?${text}`}`;
}

/** Whether a row has a text in any of its columns. */
function matches(row, wanted) {
  return wanted === "" || row.haystack.includes(wanted.toLowerCase());
}

/** One line of the export. */
function exported(row) {
  const { id, event, topic, data, received, delay, connection } = row;
  return JSON.stringify({ id, event, topic, received: received.toISOString(), delay_ms: delay, connection, data });
}

/** The samples of a text in Prometheus' format: `{name, labels, value}`. */
function samples(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, key, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[key] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    found.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return found;
}
