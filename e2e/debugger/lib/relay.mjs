// A network between a browser and the proxy that can be cut.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Passes connections on to a port, until it is cut. */
export class Relay {
  constructor(port) {
    this.sockets = new Set();
    this.isCut = false;
    this.server = createServer((near) => {
      if (this.isCut) return near.resetAndDestroy();
      const far = connect(port, "127.0.0.1");
      for (const [one, other] of [
        [near, far],
        [far, near],
      ]) {
        this.sockets.add(one);
        one.pipe(other);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.sockets.delete(one);
          other.destroy();
        });
      }
    });
  }

  static async start(port) {
    const relay = new Relay(port);
    relay.server.listen(0, "127.0.0.1");
    await once(relay.server, "listening");
    relay.origin = `http://127.0.0.1:${relay.server.address().port}`;
    return relay;
  }

  /** Resets all connections and every new one, as an outage does. */
  cut() {
    this.isCut = true;
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  mend() {
    this.isCut = false;
  }

  stop() {
    this.cut();
    this.server.close();
  }
}
