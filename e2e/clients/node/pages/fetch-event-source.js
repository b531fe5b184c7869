// npm @microsoft/fetch-event-source, with the handling of errors that its README shows: what the client did wrong is
// final, and a stream that ends is asked for again.
import { EventStreamContentType, fetchEventSource } from "@microsoft/fetch-event-source";

class FatalError extends Error {}

export function subscribe({ url, token }, report) {
  fetchEventSource(url, {
    headers: { Authorization: `Bearer ${token}` },
    // Otherwise it closes the stream of a page that is not looked at, as all are here.
    openWhenHidden: true,
    async onopen(response) {
      if (response.ok && response.headers.get("content-type") === EventStreamContentType) {
        report({ type: "open" });
        return;
      }
      report({ type: "error", status: response.status });
      if (response.status >= 400 && response.status < 500 && response.status !== 429) {
        throw new FatalError();
      }
      throw new Error(`status ${response.status}`);
    },
    onmessage: ({ id, event, data }) => report({ type: "event", id, event, data }),
    onclose() {
      throw new Error("the stream has ended");
    },
    onerror(error) {
      if (error instanceof FatalError) {
        throw error;
      }
      report({ type: "error", message: String(error) });
    },
  }).catch((error) => report({ type: "closed", message: String(error) }));
}
