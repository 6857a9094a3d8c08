// Which streams are watched, and who plays them: only what is in view, nothing while the page is hidden.

import { Boxes, waitFor } from './boxes.js';
import { localNow } from './clock.js';
import { memory } from './i18n.js';
import { Player, waysToPlay } from './player.js';

const WINDOW_MS = 10_000;
const MAX_SAMPLES = 6000;
/** A stream that no way could play is tried again: it may have been mended. */
const TRY_AGAIN_MS = 30_000;
const KEY = 'lumenbus.boxes';

/** Ages of the pictures that reached the screen lately. */
class Ages {
  #samples = [];

  add(at, age) {
    this.#samples.push({ at, age });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.splice(0, MAX_SAMPLES / 4);
  }

  /** { p50, p99, count } of the last seconds; NaN without pictures. */
  read() {
    const oldest = localNow() - WINDOW_MS;
    this.#samples = this.#samples.filter((sample) => sample.at >= oldest);
    const sorted = Float64Array.from(this.#samples, (sample) => sample.age).sort();
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
    return { p50: at(0.5), p99: at(0.99), count: sorted.length };
  }
}

export class Theatre {
  #entries = new Map();
  #link = null;
  #store;
  /** Whether pictures wait for what was found in them. */
  #hasBoxes = memory.get(KEY) === 'on';
  ages = new Ages();
  /** Pictures shown, pictures left out by this page, longest queue seen: for whoever asks how the page keeps up. */
  counts = { shown: 0, skipped: 0, longestQueue: 0 };

  constructor(store) {
    this.#store = store;
    document.addEventListener('visibilitychange', () => this.#watch());
    store.on('streams', () => this.#streamsChanged());
    store.on('found', (found) => this.#entries.get(found.n)?.boxes?.take(found));
    store.on('stats', () => this.#analysisChanged());
  }

  use(link) {
    this.#link = link;
    link.queues = () => [...this.#entries].map(([n, entry]) => ({ n, frames: entry.player?.queue ?? 0 })).filter((queue) => queue.frames > 0);
  }

  /** Plays a stream in `holder` while it is visible. `onShown(picture, at)` and `onTrouble()` are the tile's. */
  add(n, holder, callbacks) {
    this.remove(n);
    const entry = { holder, callbacks, isVisible: false, isWatched: false, isRecorded: false, form: null, player: null, facts: null, boxes: null, wait: null, isStill: false };
    this.#entries.set(n, entry);
    this.#prepare(n, entry);
  }

  remove(n) {
    const entry = this.#entries.get(n);
    if (!entry) return;
    this.#entries.delete(n);
    entry.boxes?.clear();
    entry.player?.close();
    this.#watch();
  }

  setVisible(n, isVisible) {
    const entry = this.#entries.get(n);
    if (!entry || entry.isVisible === isVisible) return;
    entry.isVisible = isVisible;
    this.#watch();
  }

  /** Whether a stream's keyframes are enough. */
  setStill(n, isStill) {
    const entry = this.#entries.get(n);
    if (!entry || entry.isStill === isStill) return;
    entry.isStill = isStill;
    this.#watch();
  }

  get hasBoxes() {
    return this.#hasBoxes;
  }

  /** Whether what was found is drawn; then pictures wait for it. */
  set hasBoxes(hasBoxes) {
    this.#hasBoxes = hasBoxes;
    memory.set(KEY, hasBoxes ? 'on' : 'off');
    this.#analysisChanged();
    this.#store.emit('boxes');
  }

  /** How long a stream's pictures wait for what was found in them, in milliseconds; null: they don't. */
  wait(n) {
    return this.#entries.get(n)?.wait ?? null;
  }

  /** Who analyses a stream, and how fast, shows with time. */
  #analysisChanged() {
    let hasChanged = false;
    for (const [n, entry] of this.#entries) {
      const analysis = this.#store.streams.get(n)?.stat.analysis;
      // Without an analysis at work there may still be results of the past.
      const before = entry.wait ?? 0;
      const wait = this.#hasBoxes ? (analysis ? waitFor(analysis, before) : before) : null;
      if (wait === entry.wait) continue;
      entry.wait = wait;
      if (wait === null) entry.boxes?.clear();
      entry.boxes = wait === null ? null : entry.boxes ?? new Boxes(entry.holder);
      hasChanged = true;
    }
    if (hasChanged) this.#watch();
  }

  /** Now, in the server's clock. */
  get now() {
    return this.#link?.clock.now() ?? localNow();
  }

  /** The canvas or video that shows a stream, if any. */
  element(n) {
    return this.#entries.get(n)?.player?.element ?? null;
  }

  async #prepare(n, entry) {
    const stream = this.#store.streams.get(n);
    if (!stream) return;
    const { facts } = stream;
    entry.facts = facts;
    const ways = facts.isSealed || !facts.codec ? [] : await waysToPlay(facts);
    if (this.#entries.get(n) !== entry || entry.facts !== facts) return;
    this.#setTrouble(stream, ways.length === 0 && facts.codec ? 'codec' : '');
    entry.player?.close();
    entry.player = null;
    if (ways.length > 0) entry.player = new Player(facts, ways, entry.holder, this.#playerCallbacks(n, entry));
    this.#watch();
  }

  #playerCallbacks(n, entry) {
    return {
      onDrawn: ({ header, width, height }) => entry.boxes?.draw(header, width ? width / height : entry.facts.width / entry.facts.height),
      onShown: (picture, at) => this.#shown(n, entry, picture, at),
      onSkipped: (frames) => {
        // What is left out of a recording is no sign of a page that cannot keep up with its cameras.
        if (entry.isRecorded) return;
        this.counts.skipped += frames;
        this.#link?.skipped(n, frames);
      },
      onRejoin: () => entry.isWatched && this.#link?.rejoin(n),
      onForm: () => this.#watch(),
      onTrouble: (why) => {
        const stream = this.#store.streams.get(n);
        if (stream) this.#setTrouble(stream, why || 'codec');
        this.#watch();
        setTimeout(() => this.#entries.get(n) === entry && this.#prepare(n, entry), TRY_AGAIN_MS);
      },
    };
  }

  #setTrouble(stream, trouble) {
    if (stream.trouble === trouble) return;
    stream.trouble = trouble;
    this.#store.emit('trouble', stream.facts.n);
  }

  #shown(n, entry, picture, at) {
    this.counts.shown += 1;
    const { header } = picture;
    // What was joined at is old by nature: it says nothing of how long pictures take.
    if (header && !header.isCatchUp && !header.isRecorded && this.#link) {
      this.#link.shown(header, header.receivedMs, picture.decodedMs, at);
      this.ages.add(at, this.#link.clock.toServer(at) - header.captureMs);
    }
    entry.callbacks.onShown(picture, at);
  }

  #streamsChanged() {
    for (const [n, entry] of this.#entries) {
      const facts = this.#store.streams.get(n)?.facts;
      if (!facts) continue;
      const isSame = ['codec', 'codecString', 'mime', 'isSealed'].every((name) => entry.facts?.[name] === facts[name]);
      if (!isSame) this.#prepare(n, entry);
    }
  }

  /** Tells the server what is to be seen now. */
  #watch() {
    const [wanted, begun] = [[], []];
    for (const [n, entry] of this.#entries) {
      const isWatched = entry.isVisible && !document.hidden && Boolean(entry.player?.form);
      if (entry.isWatched && !isWatched) entry.player?.pause();
      const form = isWatched ? entry.player.form : null;
      // Asked for in another form, the server begins anew, live.
      if (isWatched && entry.form !== form) begun.push(entry);
      entry.isWatched = isWatched;
      entry.form = form;
      if (isWatched) wanted.push({ n, form, ...(entry.wait === null ? {} : { boxes_ms: entry.wait }), ...(entry.isStill ? { keyframes: true } : {}) });
    }
    this.#link?.watch(wanted);
    for (const entry of begun) entry.callbacks.onWatched?.();
  }

  /** The connection was lost: what is in the decoders has no continuation. */
  interrupted() {
    for (const entry of this.#entries.values()) entry.player?.pause();
  }

  /** What follows is of another time: nothing of what waits is to be shown. */
  forget(n) {
    this.#entries.get(n)?.player?.pause();
  }

  feed(header) {
    const entry = this.#entries.get(header.n);
    if (!entry?.isWatched || entry.callbacks.accepts?.(header) === false) return;
    entry.isRecorded = header.isRecorded;
    entry.player.feed(header);
    this.counts.longestQueue = Math.max(this.counts.longestQueue, entry.player.queue);
  }
}
