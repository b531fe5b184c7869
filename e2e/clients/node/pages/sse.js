// npm sse.js: the interface of EventSource, over XMLHttpRequest. It reconnects if it is told to.
import { SSE } from "sse.js";
import { listen } from "./listen.js";

export function subscribe({ url, token, types }, report) {
  const headers = { Authorization: `Bearer ${token}` };
  listen(new SSE(url, { headers, autoReconnect: true }), types, report);
}
