// npm eventsource-client: one callback for all events, whatever their type.
import { createEventSource } from "eventsource-client";
import { headers, report, reportEvent, url } from "./adapter.mjs";

createEventSource({
  url,
  headers,
  onConnect: () => report({ type: "open" }),
  onDisconnect: () => report({ type: "error" }),
  onMessage: ({ id, event, data }) => reportEvent(id, event, data),
});
