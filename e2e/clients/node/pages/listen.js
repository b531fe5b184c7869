/** Reports what anything with the interface of EventSource tells. */
export function listen(source, types, report) {
  source.addEventListener("open", () => report({ type: "open" }));
  source.addEventListener("error", (error) => {
    report({ type: source.readyState === 2 ? "closed" : "error", status: error.status ?? error.responseCode });
  });
  for (const type of ["message", ...types]) {
    source.addEventListener(type, (event) => {
      report({ type: "event", id: event.lastEventId, event: event.type, data: event.data });
    });
  }
}
