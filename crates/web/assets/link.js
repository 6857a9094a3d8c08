// The WebSocket to the server: connects again by itself, keeps the watched set, measures the clock, reports what was shown.

import { localNow, ServerClock } from './clock.js';
import { count, finite, parseBinary, parseText, text } from './wire.js';

const FIRST_RETRY_MS = 400;
const MAX_RETRY_MS = 10_000;
const REPORT_EVERY_MS = 500;
const PING_EVERY_MS = 4000;
const FIRST_PINGS = 5;
/** Statistics come every second: so long a silence, also before the first word, is a dead connection. */
const SILENCE_MS = 12_000;
export const MAX_WATCHED = 64;
/** In one message, which may have 16 KiB; and of one stream. */
const MAX_REPORTS = 80;
const MAX_OF_STREAM = 16;

/** A fair sample of what was shown: frames taken at regular times would always be of the same sort in a GOP. */
class Sample {
  #seen = 0;
  kept = [];

  add(report) {
    this.#seen += 1;
    if (this.kept.length < MAX_OF_STREAM) this.kept.push(report);
    else {
      const at = Math.floor(Math.random() * this.#seen);
      if (at < MAX_OF_STREAM) this.kept[at] = report;
    }
  }
}

export class Link {
  #socket = null;
  #retry = FIRST_RETRY_MS;
  #timer = 0;
  #heard = 0;
  #pings = 0;
  #nextPing = 0;
  #watched = [];
  #watchSent = '';
  #isWatchDue = false;
  #reports = new Map();
  #skipped = new Map();
  #queues = () => [];
  #hasShown = false;
  #media;
  #handlers;

  /** `handlers`: onText(message), onMedia(header), onState({ state, retryAt, reason }). */
  constructor(media, handlers) {
    this.clock = new ServerClock();
    this.#media = media;
    this.#handlers = handlers;
    window.addEventListener('online', () => this.#retryNow());
    document.addEventListener('visibilitychange', () => document.hidden || this.#retryNow());
    setInterval(() => this.#flush(), REPORT_EVERY_MS);
  }

  connect() {
    clearTimeout(this.#timer);
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#heard = performance.now();
    let reason = '';
    socket.onopen = () => {
      this.#pings = 0;
      this.#nextPing = 0;
      this.#watchSent = '';
      this.clock.reset();
      this.#send({ type: 'hello', protocol: 1, media: this.#media });
      this.#sendWatched();
      this.#flush();
    };
    socket.onmessage = ({ data }) => {
      this.#heard = performance.now();
      if (typeof data !== 'string') {
        const header = parseBinary(data);
        if (header) this.#handlers.onMedia(header);
        return;
      }
      const message = parseText(data);
      if (message?.type === 'pong') this.clock.add(finite(message.t0), finite(message.t1), localNow());
      else if (message?.type === 'error') reason = text(message.message);
      else if (message) this.#received(message);
    };
    socket.onclose = () => socket === this.#socket && this.#lost(reason);
  }

  #received(message) {
    if (message.type === 'hello') {
      this.#retry = FIRST_RETRY_MS;
      this.clock.guess(finite(message.server_ms));
      this.#handlers.onState({ state: 'open' });
    }
    this.#handlers.onText(message);
  }

  #lost(reason) {
    this.#socket = null;
    this.#reports.clear();
    this.#skipped.clear();
    const delay = this.#retry * (0.7 + Math.random() * 0.6);
    this.#retry = Math.min(this.#retry * 2, MAX_RETRY_MS);
    this.#timer = setTimeout(() => this.connect(), delay);
    this.#handlers.onState({ state: 'closed', reason, retryAt: localNow() + delay });
    this.#askWhy();
  }

  /** A refused WebSocket does not say why; a plain request does. */
  async #askWhy() {
    try {
      const answer = await fetch('/api/v1/state', { cache: 'no-store' });
      if (answer.status === 401 || answer.status === 403) this.#handlers.onState({ state: 'refused', reason: '' });
    } catch {
      // The server is away, which the state says already.
    }
  }

  #retryNow() {
    if (this.#socket !== null) return;
    this.#retry = FIRST_RETRY_MS;
    this.connect();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  #send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  /** Replaces the watched set; several changes in one moment become one message. */
  watch(streams) {
    this.#watched = streams.slice(0, MAX_WATCHED);
    if (this.#isWatchDue) return;
    this.#isWatchDue = true;
    queueMicrotask(() => {
      this.#isWatchDue = false;
      this.#sendWatched();
    });
  }

  #sendWatched() {
    const text = JSON.stringify({ type: 'watch', streams: this.#watched });
    if (!this.isOpen || text === this.#watchSent) return;
    this.#watchSent = text;
    this.#socket.send(text);
  }

  /** A question whose answer comes as a message. */
  ask(message) {
    this.#send(message);
  }

  rejoin(n) {
    this.#send({ type: 'rejoin', n });
  }

  /** Another time than now, or now again, for a stream that is watched: `play`, `pause`, `live`. */
  recall(message) {
    // The server must know that the stream is watched before it hears from when.
    this.#sendWatched();
    this.#send(message);
  }

  /** A picture that was shown, all times in this page's clock. A sample of them is sent. */
  shown(header, received, decoded, shown) {
    // A frame whose number or times are nonsense is not reported: the server would refuse the whole message.
    if (header.seq > Number.MAX_SAFE_INTEGER || !Number.isFinite(received + decoded + shown)) return;
    const at = (local) => Math.round(this.clock.toServer(local) * 1000) / 1000;
    const sample = this.#reports.get(header.n) ?? new Sample();
    this.#reports.set(header.n, sample);
    sample.add({ n: header.n, epoch: String(header.epoch), seq: Number(header.seq), received_ms: at(received), decoded_ms: at(decoded), shown_ms: at(shown) });
    if (this.#hasShown) return;
    // The first picture of all is told at once: how long somebody waited for it is measured.
    this.#hasShown = true;
    this.#flush();
  }

  skipped(n, frames) {
    this.#skipped.set(n, count(this.#skipped.get(n)) + frames);
  }

  /** Where to ask for the lengths of the decoders' queues: [{ n, frames }]. */
  set queues(ask) {
    this.#queues = ask;
  }

  #flush() {
    const now = performance.now();
    if (this.#socket && now - this.#heard > SILENCE_MS) {
      const socket = this.#socket;
      this.#lost('');
      socket.close();
      return;
    }
    if (!this.isOpen) return;
    if (now >= this.#nextPing) {
      this.#pings += 1;
      this.#nextPing = this.#pings < FIRST_PINGS ? 0 : now + PING_EVERY_MS;
      this.#send({ type: 'ping', t0: localNow() });
    }
    if (this.#reports.size + this.#skipped.size === 0) return;
    const skipped = [...this.#skipped].map(([n, frames]) => ({ n, frames }));
    const each = Math.max(1, Math.floor(MAX_REPORTS / this.#reports.size));
    const reports = [...this.#reports.values()].flatMap((sample) => sample.kept.slice(0, each)).slice(0, MAX_REPORTS);
    this.#send({ type: 'shown', reports, skipped, queue: this.#queues().slice(0, MAX_WATCHED) });
    this.#reports.clear();
    this.#skipped.clear();
  }
}
