"use strict";
// Ties the forms, the stream and the lists together.

const at = (id) => document.getElementById(id);
const isAdmin = document.documentElement.dataset.listener === "admin";
/** Which column of the connections counts events. */
const EVENTS_CELL = 3;
let subscription = null;

const list = new EventList(at("rows"), () => {
  const rows = list.rows.length;
  const shown = list.filter === "" ? rows : list.chosen().length;
  const parts = [`${amount(list.received)} received`];
  if (rows < list.received - list.held) parts.push(`the newest ${amount(rows)} kept`);
  if (list.filter !== "") parts.push(`${amount(shown)} match`);
  at("counts").textContent = list.received === 0 ? "none yet" : parts.join(", ");
  at("pause").textContent = list.paused ? `Go on (${amount(list.held)} waiting)` : "Pause";
  at("empty").hidden = shown > 0;
  if (rows > 0) at("empty").textContent = "No event matches the filter.";
  at("gaps").textContent = amount(list.gaps);
  if (!subscription) return;
  at("last-id").textContent = subscription.lastId || "none";
  const newest = at("connections").rows[0];
  if (newest) newest.cells[EVENTS_CELL].textContent = amount(subscription.connections[0].events);
});

function say(id, text, kind = "") {
  at(id).textContent = text;
  at(id).className = `explain ${kind}`;
}

const watcher = {
  state(state, text) {
    at("state").dataset.state = state;
    at("state-text").textContent = text;
    const running = state !== "idle" && state !== "refused";
    at("disconnect").disabled = !running;
    at("again").disabled = !running;
    document.title = `${text} – RevenProx debugger`;
  },
  explain(text, kind) {
    say("explain", text, kind);
  },
  event(message) {
    const topics = subscription.settings.topics;
    list.add(message, topics.length === 1 ? topics[0] : undefined);
  },
  connections() {
    const { connections, reconnects } = subscription;
    at("reconnects").textContent = amount(reconnects);
    at("no-connections").hidden = connections.length > 0;
    at("connections").replaceChildren(
      ...connections.map((connection) => {
        const row = element("tr");
        const lasted = connection.lasted === null ? "open" : span(connection.lasted);
        const ended = connection.end === null ? connection.how : `${connection.how}, ${connection.end}`;
        const cells = [
          ["", clock(connection.at)],
          ["num", span(connection.took)],
          ["num", lasted],
          ["num", amount(connection.events)],
          ["", ended],
        ];
        row.append(...cells.map(([kind, text]) => element("td", kind, text)));
        return row;
      }),
    );
  },
};

/** The origin that events are at, or null after having said what is wrong with what was entered. */
function base(told) {
  if (!isAdmin) return location.origin;
  try {
    const url = new URL(at("proxy").value.trim());
    if (url.protocol === "http:" || url.protocol === "https:") return url.origin;
  } catch {
    // What is not an address is told below.
  }
  say(told, "Enter the address of the client listener, such as http://127.0.0.1:8080.", "bad");
  at("proxy").focus();
  return null;
}

at("subscribe").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const topics = topicsIn(at("topics").value);
  if (topics.length === 0) {
    say("explain", "Enter at least one topic.", "bad");
    at("topics").focus();
    return;
  }
  const origin = base("explain");
  if (origin === null) return;
  subscription?.stop();
  list.gaps = 0;
  say("explain", "");
  const settings = {
    base: origin,
    topics,
    token: at("token").value,
    since: at("since").value.trim(),
    after: at("after").value.trim(),
    names: namesIn(at("names").value),
    cookies: at("cookies").checked,
  };
  subscription = new Subscription(settings, watcher);
  at("to").placeholder = topics[0];
  watcher.connections();
});

at("publish").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const topic = at("to").value.trim() || topicsIn(at("topics").value)[0];
  if (topic === undefined) {
    say("published", "Enter a topic.", "bad");
    at("to").focus();
    return;
  }
  const origin = base("published");
  if (origin === null) return;
  const event = at("event").value.trim();
  if (event !== "") alsoShow(event);
  const token = at("publish-token").value || at("token").value;
  const answer = await publish(origin, {
    topic,
    data: at("data").value,
    event,
    token,
    ack: at("ack").value,
    key: at("key").value.trim(),
  });
  if (answer.ok && answer.id) list.published(answer.id, topic);
  say("published", answer.text, answer.ok ? "good" : "bad");
});

/** Listens for a name that is published from here, so that one sees what one sends. */
function alsoShow(name) {
  const names = namesIn(at("names").value);
  if (!names.includes(name) && !OWN_EVENTS.includes(name)) at("names").value = [...names, name].join(", ");
  subscription?.listen(namesIn(at("names").value));
}

function onEnter(id, submits, form) {
  at(id).addEventListener("keydown", (key) => {
    if (key.key !== "Enter" || key.isComposing || !submits(key)) return;
    key.preventDefault();
    at(form).requestSubmit();
  });
}
onEnter("topics", (key) => !key.shiftKey, "subscribe");
onEnter("data", (key) => key.ctrlKey || key.metaKey, "publish");

at("names").addEventListener("change", () => subscription?.listen(namesIn(at("names").value)));
at("disconnect").addEventListener("click", () => {
  subscription.stop();
  at("connect").focus();
});
at("again").addEventListener("click", () => subscription.reconnect());
at("new-key").addEventListener("click", () => {
  at("key").value = randomKey();
});
at("filter").addEventListener("input", () => list.setFilter(at("filter").value));
at("clear").addEventListener("click", () => list.clear());
function toggle(id, act) {
  at(id).addEventListener("click", () => {
    const on = at(id).getAttribute("aria-pressed") !== "true";
    at(id).setAttribute("aria-pressed", String(on));
    act(on);
  });
}
toggle("pause", (on) => list.pause(on));
toggle("unfold", (on) => list.unfold(on));

at("export").addEventListener("click", () => {
  const lines = list.chosen().map((row) => `${exported(row)}\n`);
  const link = element("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  link.download = `revenprox-events-${new Date().toISOString().replaceAll(/[:.]/g, "-")}.ndjson`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

// === What depends on where the page comes from ===

const clients = document.documentElement.dataset.clients;
at("where").textContent = isAdmin ? `admin listener at ${location.host}` : `instance at ${location.host}`;
at("proxy-field").hidden = !isAdmin;
at("admin-token-field").hidden = !isAdmin;
// Metrics do not tell of links.
at("link").hidden = !isAdmin;
if (clients !== "") at("proxy").value = `http://${clients.startsWith(":") ? location.hostname : ""}${clients}`;

const instance = new Instance(
  {
    section: document.querySelector(".node"),
    note: at("node-note"),
    token: at("admin-token"),
    tiles: at("tiles"),
    peersNote: at("peers-note"),
    peersTable: at("peers-table"),
    peers: at("peers"),
  },
  isAdmin,
);
at("admin-token").addEventListener("change", () => instance.tick());
document.addEventListener("visibilitychange", () => instance.tick());
