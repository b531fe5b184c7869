// The proxy as a child process.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

/** How long anything may take before a test fails, in milliseconds. */
export const PATIENCE = 20_000;

/** A port that nobody listens on at the moment. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Waits until a condition holds, and returns what it gave. */
export async function until(what, holds, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`still waiting for ${what}`);
    await new Promise((go) => setTimeout(go, 25));
  }
}

/** A running proxy with an address for clients and perhaps one for operators. */
export class Proxy {
  constructor(port, env, args) {
    this.origin = `http://127.0.0.1:${port}`;
    this.log = "";
    this.child = spawn(process.env.SSE_PROXY, args, {
      env: { PATH: process.env.PATH, REVENPROX_HTTP__BIND_ADDRESS: `127.0.0.1:${port}`, ...limits, ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.child.stderr.on("data", (text) => (this.log += text));
    this.gone = new Promise((ended) => this.child.once("exit", ended));
  }

  /** Starts `sse-proxy --dev`, or with other arguments, and waits until it serves. */
  static async start({ port, env = {}, args = ["--dev"] } = {}) {
    const proxy = new Proxy(port ?? (await freePort()), env, args);
    await until(`the proxy to serve:\n${proxy.log}`, () =>
      fetch(`${proxy.origin}/livez`).then(
        (answer) => answer.ok,
        () => {
          if (proxy.child.exitCode !== null) throw new Error(`the proxy has ended:\n${proxy.log}`);
          return false;
        },
      ),
    );
    return proxy;
  }

  get port() {
    return Number(new URL(this.origin).port);
  }

  /** Publishes as a back end would, and returns the event's id. */
  async publish(topic, body, query = "") {
    const answer = await fetch(`${this.origin}/events/${encodeURIComponent(topic)}${query}`, { method: "POST", body });
    if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`);
    return (await answer.json()).id;
  }

  /** How many subscribers it has. */
  async connections() {
    return (await (await fetch(`${this.origin}/health`)).json()).connections;
  }

  async stop(signal = "SIGTERM") {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    await this.gone;
  }
}

/** No limit that other work on the machine could trip. */
const limits = {
  REVENPROX_HTTP__RATE_LIMIT_PER_IP: "0",
  REVENPROX_LIMITS__MAX_MEMORY_MB: "0",
  REVENPROX_LIMITS__MAX_CPU_PERCENT: "0",
  REVENPROX_LIMITS__MAX_NETWORK_MBPS: "0",
};
