// The browser's own EventSource.
import { listen } from "./listen.js";

export function subscribe({ url, types }, report) {
  listen(new EventSource(url), types, report);
}
