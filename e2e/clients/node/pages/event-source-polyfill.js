// npm event-source-polyfill: the interface of EventSource, with headers.
import { EventSourcePolyfill } from "event-source-polyfill";
import { listen } from "./listen.js";

export function subscribe({ url, token, types }, report) {
  listen(new EventSourcePolyfill(url, { headers: { Authorization: `Bearer ${token}` } }), types, report);
}
