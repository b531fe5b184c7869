// Publishes one event: node publish.mjs TOPIC DATA
import { randomUUID } from "node:crypto";

const base = process.env.REVENPROX_URL ?? "http://localhost:8080";

async function publish(topic, data, event = "order") {
  const answer = await fetch(`${base}/events/${encodeURIComponent(topic)}?event=${encodeURIComponent(event)}`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${process.env.REVENPROX_TOKEN ?? ""}`,
      // With the same key a second attempt is not a second event.
      "Idempotency-Key": process.env.IDEMPOTENCY_KEY ?? randomUUID(),
    },
    body: data,
    signal: AbortSignal.timeout(10_000),
  });
  if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`);
  return (await answer.json()).id;
}

const [topic, data] = process.argv.slice(2);
console.log(await publish(topic, data));
