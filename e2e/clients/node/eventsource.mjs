// npm eventsource: the interface of EventSource; headers by a fetch of one's own, as its README shows.
import { EventSource } from "eventsource";
import { headers, report, reportEvent, types, url } from "./adapter.mjs";

const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
});
source.addEventListener("open", () => report({ type: "open" }));
source.addEventListener("error", (error) => {
  report({ type: source.readyState === source.CLOSED ? "closed" : "error", status: error.code, message: error.message });
});
for (const type of types) {
  source.addEventListener(type, (event) => reportEvent(event.lastEventId, event.type, event.data));
}

// Its timer for coming back does not keep a program running that has nothing else to do.
setInterval(() => {}, 60_000);
