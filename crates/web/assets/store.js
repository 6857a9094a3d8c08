// What the page knows: streams, their figures over time, what happened. Screens subscribe to topics of it.

import { count, finite, object, readActions, readFound, readGap, readPlayback, readStat, readStreams, readTotals, list, text } from './wire.js';

const HISTORY = 300;
const MAX_GAPS = 100;
const MAX_LOG = 200;
/** Lines that may still grow. */
const OPEN_LINES = 30;
/** Seconds on a tile's strip. */
export const STRIP = 60;
/** Screens that a version of the viewer may have. */
export const SECTIONS = ['events', 'timeline', 'studies'];

const ORDER = new Intl.Collator(undefined, { numeric: true });

const NO_STAT = {
  state: 'connecting', reason: '', since: NaN, fps: NaN, mbit: NaN, age50: NaN, age99: NaN, frames: 0, bytes: 0, missing: new Map(),
  openGaps: 0, unexplained: 0, repeated: 0, skipped: 0, stages: new Map(), keyframeAge: NaN, analysis: null,
};

/** Whether a gap goes on where another one ended. */
function continues(last, gap) {
  return last.reason === gap.reason && last.epoch === gap.epoch && last.last !== null && gap.last !== null && gap.first === last.last + 1;
}

/** One stream's facts and its recent past. */
class Stream {
  stat = NO_STAT;
  /** Per second: { at, mbit, fps, age50, age99, missing, unexplained }. */
  history = [];
  gaps = [];
  /** What this page could not play, as a text; empty when it can. */
  trouble = '';

  constructor(facts) {
    this.facts = facts;
  }

  get key() {
    return `${this.facts.topic}/${this.facts.stream}`;
  }

  get missing() {
    let sum = 0;
    for (const frames of this.stat.missing.values()) sum += frames;
    return sum;
  }

  /** The state that is shown: what the page knows stands above what the server says. */
  get state() {
    if (this.facts.isSealed) return 'sealed';
    if (this.stat.state === 'denied') return 'denied';
    if (this.trouble && this.stat.state !== 'offline' && this.stat.state !== 'ended') return 'unplayable';
    return this.stat.state;
  }

  /** Median time from capture to a screen, as pages report it; else until the viewer. */
  get age() {
    const shown = this.stat.stages.get('total')?.p50;
    return Number.isFinite(shown) ? shown : this.stat.age50;
  }

  take(stat, at) {
    const [missing, unexplained, frames] = [this.missing, this.stat.unexplained, this.stat.frames];
    const isFirst = this.stat === NO_STAT || stat.frames < frames;
    this.stat = stat;
    const delta = (now, before) => (isFirst ? 0 : Math.max(0, now - before));
    this.history.push({
      at, mbit: stat.mbit, fps: stat.fps, age50: stat.age50, age99: stat.age99, screen: stat.stages.get('total')?.p50 ?? NaN, frames: isFirst ? 1 : stat.frames - frames,
      missing: delta(this.missing, missing), unexplained: delta(stat.unexplained, unexplained),
    });
    if (this.history.length > HISTORY) this.history.shift();
  }
}

export class Store {
  streams = new Map();
  /** Whether the server has said which streams there are. */
  isListed = false;
  totals = readTotals(null);
  broker = { isConnected: true, reason: '' };
  actions = [];
  log = [];
  title = '';
  version = '';
  /** Those of `SECTIONS` that this viewer has. */
  sections = [];
  link = { state: 'connecting', reason: '', retryAt: NaN };
  #listeners = new Map();

  /** Calls `handler` at every change of `topic`; the answer ends that. */
  on(topic, handler) {
    const set = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, set.add(handler));
    return () => set.delete(handler);
  }

  emit(topic, value) {
    for (const handler of this.#listeners.get(topic) ?? []) handler(value);
  }

  setLink(link) {
    this.link = { reason: '', retryAt: NaN, ...link };
    this.emit('link');
  }

  /** Streams by group and name, as people count: 2 before 10, no group last. */
  get sorted() {
    const compare = (a, b) => (a.group === '') - (b.group === '') || ORDER.compare(a.group, b.group) || ORDER.compare(a.name, b.name) || ORDER.compare(a.topic, b.topic);
    return [...this.streams.values()].sort((a, b) => compare(a.facts, b.facts));
  }

  ofCamera(id) {
    return [...this.streams.values()].filter((stream) => stream.facts.camera === id);
  }

  take(message) {
    const take = {
      hello: () => this.#hello(message),
      streams: () => Array.isArray(message.streams) && this.#setStreams(readStreams(message)),
      stats: () => this.#stats(message),
      gap: () => this.#gap(readGap(message)),
      event: () => this.#event(message),
      playback: () => this.#playback(readPlayback(message)),
      found: () => this.#found(readFound(message)),
      events: () => this.emit('events', message),
      happened: () => this.emit('happened', message),
      notice: () => this.note({ kind: 'notice', what: text(message.kind, 40), text: text(message.text), at: finite(message.at_ms) }),
    };
    if (Object.hasOwn(take, message.type)) take[message.type]();
  }

  #hello(message) {
    this.title = text(message.title, 80);
    this.version = text(message.version, 40);
    const sections = object(message.sections);
    this.sections = SECTIONS.filter((name) => sections[name] === true);
    this.#setActions(message.actions);
    this.emit('hello');
  }

  #setActions(raw) {
    const actions = readActions(raw);
    if (JSON.stringify(actions) === JSON.stringify(this.actions)) return;
    this.actions = actions;
    this.emit('actions');
  }

  #setStreams(facts) {
    const streams = new Map();
    for (const [n, fact] of facts) {
      const known = this.streams.get(n);
      const isSame = known && known.facts.camera === fact.camera && known.facts.topic === fact.topic && known.facts.stream === fact.stream;
      const stream = isSame ? known : new Stream(fact);
      stream.facts = fact;
      streams.set(n, stream);
    }
    this.streams = streams;
    this.isListed = true;
    this.emit('streams');
  }

  #stats(message) {
    const at = finite(message.at_ms);
    for (const raw of list(message.streams)) {
      const stat = readStat(raw);
      if (stat) this.streams.get(stat.n)?.take(stat, at);
    }
    this.totals = readTotals(message.totals);
    const broker = object(message.broker);
    this.broker = { isConnected: broker.is_connected !== false, reason: text(broker.reason) };
    if (message.actions !== undefined) this.#setActions(message.actions);
    this.emit('stats');
  }

  #gap(gap) {
    const stream = gap && this.streams.get(gap.n);
    if (!stream) return;
    const [last] = stream.gaps;
    if (last && continues(last, gap)) this.#extend(last, gap);
    else this.#newGap(stream, gap);
    this.emit('gap', gap);
  }

  /** An outage that lasts is told again and again, each time a bit further: it stays one gap and one line. */
  #extend(last, gap) {
    const line = this.log.slice(0, OPEN_LINES).find((entry) => entry.gaps?.has(last));
    if (line) line.frames += count(gap.last - last.last);
    last.last = gap.last;
    this.emit('log');
  }

  #newGap(stream, gap) {
    stream.gaps.unshift(gap);
    stream.gaps.length = Math.min(stream.gaps.length, MAX_GAPS);
    this.note({ kind: 'gap', gap, gaps: new Set([gap]), camera: stream.facts.name, at: gap.at });
  }

  #found(message) {
    if (message) this.emit('found', message);
  }

  /** Whether anybody analyses anything. */
  get isAnalysed() {
    return [...this.streams.values()].some(({ stat }) => stat.analysis !== null);
  }

  #playback(message) {
    if (message) this.emit('playback', message);
  }

  #event(message) {
    const stream = this.streams.get(message.n);
    // Repeats are ordinary: a still picture is not news.
    if (!stream || message.kind === 'repeat') return;
    this.note({ kind: 'event', what: text(message.kind, 40), text: text(message.reason), camera: stream.facts.name, at: finite(message.at_ms) });
  }

  /** Adds to what happened; the same thing again within a second at several cameras becomes one line. */
  note(entry) {
    const last = this.log[0];
    const sort = (of) => `${of.kind} ${of.what ?? ''} ${of.gap?.reason ?? ''} ${of.text ?? ''}`;
    const frames = entry.gap && entry.gap.last !== null ? count(entry.gap.last - entry.gap.first + 1) : 0;
    if (last && sort(last) === sort(entry) && entry.camera && Math.abs(entry.at - last.at) < 1500) {
      last.cameras.add(entry.camera);
      if (entry.gap) last.gaps.add(entry.gap);
      last.frames += frames;
    } else {
      this.log.unshift({ ...entry, frames, cameras: new Set(entry.camera ? [entry.camera] : []) });
      this.log.length = Math.min(this.log.length, MAX_LOG);
    }
    this.emit('log');
  }
}
