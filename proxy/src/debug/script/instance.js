"use strict";
// What the instance that served this page says of itself: its metrics and its peers.

const POLL_MS = 2_000;
/** Two minutes of points in a curve. */
const POINTS = 60;

const TILES = [
  { title: "Subscribers", metric: "revenprox_connections_active" },
  { title: "Published a second", metric: "revenprox_messages_published_total", rate: true },
  { title: "Delivered a second", metric: "revenprox_messages_sent_total", rate: true },
  { title: "Dropped", metric: "revenprox_messages_dropped_total", alarm: true },
  { title: "Topics", metric: "revenprox_topics_active" },
  { title: "Peers", metric: "revenprox_peers_connected" },
];

/** Shows the metrics and the peers, and asks for them again every two seconds while somebody looks. */
class Instance {
  constructor(page, isAdmin) {
    this.page = page;
    this.isAdmin = isAdmin;
    this.before = null;
    this.since = null;
    for (const tile of TILES) this.build(tile);
    this.tick();
  }

  build(tile) {
    const box = element("div");
    tile.box = box;
    tile.points = [];
    tile.value = element("dd", "", "–");
    const curve = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    curve.setAttribute("viewBox", `0 0 ${POINTS - 1} 20`);
    curve.setAttribute("preserveAspectRatio", "none");
    curve.setAttribute("aria-hidden", "true");
    tile.curve = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    tile.curve.setAttribute("vector-effect", "non-scaling-stroke");
    curve.append(tile.curve);
    box.append(element("dt", "", tile.title), tile.value);
    if (!tile.alarm) box.append(curve);
    this.page.tiles.append(box);
  }

  /** Asks now, and then again. */
  async tick() {
    clearTimeout(this.timer);
    if (!document.hidden) await Promise.all([this.metrics(), this.isAdmin ? this.peers() : undefined]);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tick(), POLL_MS);
  }

  async ask(path) {
    const token = this.page.token.value;
    const headers = this.isAdmin && token !== "" ? { authorization: `Bearer ${token}` } : {};
    return fetch(`${location.origin}${path}`, { headers, cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
  }

  async metrics() {
    const now = performance.now();
    let answer;
    try {
      answer = await this.ask("/metrics");
    } catch {
      return this.silent("It does not answer. What is shown is what it said last.");
    }
    if (answer.status === 401)
      return this.silent("The admin listener asks for its token: enter it below. It is kept in that field only.");
    if (!answer.ok)
      return this.silent(
        `/metrics is answered with ${answer.status}: metrics_enabled is off, or only the admin listener shows them.`,
      );
    const found = samples(await answer.text());
    this.page.section.classList.remove("stale");
    this.page.note.textContent = "";
    this.draw(found, now);
    if (!this.isAdmin) this.peersOf(found);
  }

  silent(why) {
    this.page.section.classList.add("stale");
    if (this.page.note.textContent !== why) this.page.note.textContent = why;
    this.before = null;
  }

  draw(found, now) {
    const sum = (name) => found.filter((sample) => sample.name === name).reduce((total, sample) => total + sample.value, 0);
    const values = new Map(TILES.map((tile) => [tile.metric, sum(tile.metric)]));
    const seconds = this.before ? (now - this.before.now) / 1_000 : 0;
    for (const tile of TILES) {
      const value = values.get(tile.metric);
      // A counter that falls belongs to a process that has just started.
      const shown = tile.rate ? (seconds > 0 ? Math.max(0, value - this.before.values.get(tile.metric)) / seconds : NaN) : value;
      tile.value.textContent = amount(shown);
      tile.box.classList.toggle("alarm", tile.alarm === true && value > 0);
      tile.points.push(Number.isFinite(shown) ? shown : 0);
      tile.points.splice(0, Math.max(0, tile.points.length - POINTS));
      const top = Math.max(1, ...tile.points);
      const at = (point, index) => `${POINTS - tile.points.length + index},${(19 - (18 * point) / top).toFixed(1)}`;
      tile.curve.setAttribute("points", tile.points.map(at).join(" "));
    }
    this.before = { now, values };
  }

  /** Peers as clients may see them: what their metrics say. */
  peersOf(found) {
    const peers = new Map();
    for (const { name, labels, value } of found) {
      if (labels.peer === undefined || !name.startsWith("revenprox_peer_")) continue;
      if (!peers.has(labels.peer)) peers.set(labels.peer, { name: labels.peer });
      peers.get(labels.peer)[name.slice("revenprox_peer_".length)] = value;
    }
    const rows = [...peers.values()].map((peer) => [
      peer.name,
      peer.events_forwarded_total,
      peer.events_received_total,
      peer.queue_events,
      peer.lag_batches,
      peer.events_dropped_total,
    ]);
    this.list(
      rows,
      "No other instance is known to this one. This list comes from its metrics; the page of the admin listener says more.",
    );
  }

  async peers() {
    let answer;
    try {
      answer = await this.ask("/admin/peers");
      if (!answer.ok) return;
    } catch {
      return;
    }
    const { mesh, peers } = await answer.json();
    const link = (peer) => (peer.live ? (peer.link_up ? "up" : "down") : "gone");
    const rows = peers.map((peer) => [
      peer.name,
      link(peer),
      peer.events_sent,
      peer.events_received,
      peer.queued_events,
      peer.batches_behind,
      peer.events_dropped,
    ]);
    this.list(rows, mesh ? "No other instance is known to this one." : "This instance is alone: it has no [nng] section.");
  }

  list(rows, none) {
    const note = rows.length === 0 ? none : "";
    if (this.page.peersNote.textContent !== note) this.page.peersNote.textContent = note;
    this.page.peersTable.hidden = rows.length === 0;
    this.page.peers.replaceChildren(
      ...rows.map((cells) => {
        const row = element("tr");
        row.append(
          ...cells.map((cell) =>
            typeof cell === "number" ? element("td", "num", amount(cell)) : element("td", "", cell ?? "–"),
          ),
        );
        return row;
      }),
    );
  }
}
