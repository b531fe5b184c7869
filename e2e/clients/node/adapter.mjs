// What all adapters of Node's libraries share: the command line, and one line of JSON for each report.
import { parseArgs } from "node:util";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { token: { type: "string" }, types: { type: "string" } },
});

export const url = positionals[0];
export const types = ["message", ...values.types.split(",")];
export const headers = values.token ? { Authorization: `Bearer ${values.token}` } : {};

export function report(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

export function reportEvent(id, event, data) {
  report({ type: "event", id, event, data });
}
