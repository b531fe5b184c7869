// npm htmx-ext-sse: an element that is connected, and one whose content each event replaces.
import "./htmx.js";
import "htmx-ext-sse";

export function subscribe({ url, types }, report) {
  const source = document.createElement("div");
  source.setAttribute("hx-ext", "sse");
  source.setAttribute("sse-connect", url);
  const target = document.createElement("div");
  target.setAttribute("sse-swap", ["message", ...types].join(","));
  source.append(target);
  document.body.append(source);
  source.addEventListener("htmx:sseOpen", () => report({ type: "open" }));
  source.addEventListener("htmx:sseError", ({ detail }) => {
    report({ type: detail.source.readyState === 2 ? "closed" : "error" });
  });
  target.addEventListener("htmx:sseMessage", ({ detail }) => {
    report({ type: "event", id: detail.lastEventId, event: detail.type, data: detail.data });
  });
  globalThis.htmx.process(source);
}
