// npm reconnecting-eventsource: around the browser's own EventSource.
import ReconnectingEventSource from "reconnecting-eventsource";
import { listen } from "./listen.js";

export function subscribe({ url, types }, report) {
  listen(new ReconnectingEventSource(url), types, report);
}
