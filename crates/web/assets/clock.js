// The server's clock as seen from here: the exchange with the shortest way is the most exact one.

const WINDOW = 24;
const MAX_AGE_MS = 120_000;

/** Unix milliseconds of this machine, monotonic within the page's life. */
export const localNow = () => performance.timeOrigin + performance.now();

export class ServerClock {
  #samples = [];
  #offset = 0;
  #delay = Infinity;

  /** Takes the answer to a ping: when it was sent and received here, and the server's time between. */
  add(sent, server, received) {
    const delay = received - sent;
    if (!Number.isFinite(delay + server) || delay < 0 || delay > 30_000) return;
    this.#samples.push({ delay, offset: server - (sent + received) / 2, at: received });
    const oldest = received - MAX_AGE_MS;
    this.#samples = this.#samples.filter((sample) => sample.at >= oldest).slice(-WINDOW);
    const best = this.#samples.reduce((a, b) => (b.delay < a.delay ? b : a));
    this.#offset = best.offset;
    this.#delay = best.delay;
  }

  /** A first guess from a message of the server, until a ping has been answered. */
  guess(server) {
    if (this.#samples.length === 0 && Number.isFinite(server)) this.#offset = server - localNow();
  }

  reset() {
    this.#samples = [];
    this.#delay = Infinity;
  }

  /** A time of this page in the server's clock. */
  toServer(local) {
    return local + this.#offset;
  }

  now() {
    return this.toServer(localNow());
  }

  get offset() {
    return this.#offset;
  }

  /** There and back, in milliseconds: the offset is wrong by at most half of it. */
  get roundTrip() {
    return this.#delay;
  }
}
