// What was recorded, asked of the server: spans, gaps and keyframes of a stretch, the picture of a moment, a file of a stretch.
// One question of each kind at a time: while one is out, the newest wish waits and takes the place of older ones.

import { count, finite, list, object, text } from './wire.js';

const MAX_ENTRIES = 20_000;

/** Runs one job at a time; of those that come meanwhile only the newest is run. */
export class Newest {
  #wish = null;
  #isBusy = false;
  #isClosed = false;

  async run(job) {
    this.#wish = job;
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (this.#wish && !this.#isClosed) {
      const next = this.#wish;
      this.#wish = null;
      await next();
    }
    this.#isBusy = false;
  }

  /** What waits is not run any more. */
  forget() {
    this.#wish = null;
  }

  close() {
    this.#isClosed = true;
    this.#wish = null;
  }
}

const span = (raw) => {
  const { from_ms: from, to_ms: to } = object(raw);
  return { from: finite(from), to: finite(to) };
};
const isSpan = ({ from, to }) => to >= from;

/** The server's answer about a stretch, checked. */
export function readCoverage(raw) {
  const body = object(raw);
  return {
    from: finite(body.from_ms),
    to: finite(body.to_ms),
    oldest: finite(body.oldest_ms),
    newest: finite(body.newest_ms),
    footage: list(body.footage).slice(0, MAX_ENTRIES).map(span).filter(isSpan),
    gaps: list(body.gaps).slice(0, MAX_ENTRIES).map((gap) => ({ ...span(gap), reason: text(object(gap).reason, 40) || 'other', frames: count(object(gap).frames) })).filter(isSpan),
    keyframes: list(body.keyframes).slice(0, MAX_ENTRIES).map(finite).filter(Number.isFinite).sort((a, b) => a - b),
    isThinned: body.are_keyframes_thinned === true,
    isComplete: body.is_complete === true,
  };
}

async function refusal(answer) {
  const body = object(await answer.json().catch(() => null));
  const { code, message } = object(body.error);
  return Object.assign(new Error(text(message) || `${answer.status}`), { code: text(code, 40) });
}

const whole = (millis) => String(Math.round(millis));

/** Moments keep their fractions: a frame is found by its microsecond. */
const exactly = (millis) => String(Math.round(millis * 1000) / 1000);

export class Archive {
  #facts;

  constructor(facts) {
    this.#facts = facts;
  }

  #path(name, values) {
    return `/api/v1/cameras/${encodeURIComponent(this.#facts.camera)}/${name}?${new URLSearchParams({ stream: String(this.#facts.n), ...values })}`;
  }

  async coverage(from, to, width, signal) {
    const answer = await fetch(this.#path('timeline', { from_ms: whole(from), to_ms: whole(to), width: whole(width) }), { cache: 'no-store', signal });
    if (!answer.ok) throw await refusal(answer);
    return readCoverage(await answer.json());
  }

  /** The picture of a moment: the keyframe before it, or exactly it. { blob, at, epoch, seq, isTwice } */
  async picture(at, isExact, signal) {
    const answer = await fetch(this.#path('snapshot', { at_ms: exactly(at), ...(isExact ? { exact: '1' } : {}) }), { cache: 'no-store', signal });
    if (!answer.ok) throw await refusal(answer);
    const header = (name) => answer.headers.get(`X-Lumenbus-${name}`) ?? '';
    const nanos = Number(header('Capture-Unix-Nanos') || NaN);
    return { blob: await answer.blob(), at: nanos / 1e6, epoch: header('Epoch'), seq: header('Seq'), isTwice: header('Moments') > 1 };
  }

  clipPath(from, to, more = {}) {
    const name = this.#facts.codec === 'jpeg' ? 'clip.mjpeg' : 'clip.mp4';
    return this.#path(name, { from_ms: exactly(from), to_ms: exactly(to), ...more });
  }

  /** Asked before a download begins, so that a refusal is read and not saved as a file. */
  async checkClip(from, to) {
    const answer = await fetch(this.clipPath(from, to, { check: '1' }), { cache: 'no-store' });
    if (!answer.ok) throw await refusal(answer);
  }
}
