// npm launchdarkly-eventsource: the interface of EventSource with headers; its defaults otherwise.
import { EventSource } from "launchdarkly-eventsource";
import { headers, report, reportEvent, types, url } from "./adapter.mjs";

const source = new EventSource(url, { headers });
source.onopen = () => report({ type: "open" });
source.onerror = (error) => report({ type: "error", status: error.status, message: error.message });
source.addEventListener("closed", () => report({ type: "closed" }));
for (const type of types) {
  source.addEventListener(type, (event) => reportEvent(event.lastEventId, event.type, event.data));
}
