"use strict";
// Publishing by the form.

/** Publishes one event: `{ok, text, id}`. */
async function publish(base, { topic, data, event, token, ack, key }) {
  const path = topicPath(topic);
  if (path === null) return { ok: false, text: `A browser cannot send to the path of a topic named “${topic}”.` };
  const query = new URLSearchParams();
  if (event !== "") query.set("event", event);
  if (ack !== "accepted") query.set("ack", ack);
  const headers = { "content-type": "text/plain; charset=utf-8" };
  if (token !== "") headers.authorization = `Bearer ${token}`;
  if (key !== "") headers["idempotency-key"] = key;
  const began = performance.now();
  let answer;
  try {
    const text = query.toString();
    answer = await fetch(`${base}${path}${text === "" ? "" : `?${text}`}`, {
      method: "POST",
      body: data,
      headers,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "TypeError" && /header|ByteString|character/i.test(error.message))
      return { ok: false, text: `A header cannot carry this token or key: ${error.message}` };
    const why = await unreachable(base);
    return { ok: false, text: why.text };
  }
  const told = jsonOf(await answer.text().catch(() => ""));
  const took = span(performance.now() - began);
  if (!answer.ok) return { ok: false, text: `${answer.status} ${told?.title ?? ""}: ${told?.detail ?? "no reason given"}` };
  return { ok: true, id: told?.id, text: `${answer.status}, ${told?.ack ?? "accepted"} in ${took} as ${told?.id}` };
}

/** A random key. Unlike randomUUID this works on pages that are not of a secure context. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
