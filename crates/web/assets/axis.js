// A stretch of time on a line of pixels: zoom, pan, labels in local time, and moments as people type them. No document.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
export const MIN_SPAN_MS = 4 * SECOND;
export const MAX_SPAN_MS = 31 * DAY;
/** Distances of labels, in milliseconds. */
const STEPS = [SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY];

/** The visible stretch. Times are Unix milliseconds. */
export class Axis {
  constructor(from, to, width = 1) {
    this.from = from;
    this.to = to;
    this.width = width;
  }

  get span() {
    return this.to - this.from;
  }

  x(at) {
    return ((at - this.from) / this.span) * this.width;
  }

  at(x) {
    return this.from + (x / this.width) * this.span;
  }

  /** Shows `factor` times as much, while the moment `fixed` stays where it is. */
  zoom(factor, fixed = (this.from + this.to) / 2) {
    const span = Math.min(MAX_SPAN_MS, Math.max(MIN_SPAN_MS, this.span * factor));
    const share = (fixed - this.from) / this.span;
    this.from = fixed - share * span;
    this.to = this.from + span;
  }

  pan(millis) {
    this.from += millis;
    this.to += millis;
  }

  /** Shows `at`, at the given share of the width, without changing how much is shown. */
  centre(at, share = 0.5) {
    this.pan(at - (this.from + share * this.span));
  }

  /** Nothing before `oldest` nor far after `newest` has to be looked at; what is shown stays as long as it fits. */
  clamp(oldest, newest) {
    const margin = this.span * 0.9;
    if (Number.isFinite(newest) && this.from > newest) this.pan(newest - this.from);
    if (Number.isFinite(newest) && this.to > newest + margin) this.pan(newest + margin - this.to);
    if (Number.isFinite(oldest) && this.to < oldest) this.pan(oldest - this.to);
    if (Number.isFinite(oldest) && this.from < oldest - margin) this.pan(oldest - margin - this.from);
  }

  /** [{ at, isMajor }] with at least `room` pixels between labels, on round local times. */
  ticks(room = 84) {
    const step = STEPS.find((one) => (one / this.span) * this.width >= room) ?? 28 * DAY;
    // Local midnight is where round times are counted from: zones are not all whole hours.
    const origin = new Date(this.from).setHours(0, 0, 0, 0);
    const first = origin + Math.ceil((this.from - origin) / step) * step;
    const ticks = [];
    for (let at = first; at <= this.to && ticks.length < 200; at += step) ticks.push({ at, step });
    return ticks;
  }
}

/** How exactly a label of this step has to say the time. */
export const needsSeconds = (step) => step < MINUTE;
export const needsDay = (step) => step >= DAY;

const CLOCK = /^(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(\.\d{1,3})?)?$/;
const BACK = /^-\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?$/i;
const UNITS = { s: SECOND, m: MINUTE, min: MINUTE, h: HOUR, d: DAY };

/** A typed moment as Unix milliseconds, or null: 14:03, 14:03:20, -10m, 2026-11-23 14:03. A time of day that is still to come was yesterday's. */
export function parseMoment(typed, now) {
  const text = typed.trim();
  const back = BACK.exec(text);
  if (back) return now - Number(back[1]) * UNITS[(back[2] ?? 'm').toLowerCase()];
  const clock = CLOCK.exec(text);
  if (clock) {
    const [hours, minutes, seconds] = [Number(clock[1]), Number(clock[2]), Number(`${clock[3] ?? 0}${clock[4] ?? ''}`)];
    if (hours > 23 || minutes > 59 || seconds >= 60) return null;
    const at = new Date(now).setHours(hours, minutes, 0, 0) + seconds * SECOND;
    if (at <= now) return at;
    const yesterday = new Date(at);
    return yesterday.setDate(yesterday.getDate() - 1);
  }
  const date = /^(\d{4}-\d{2}-\d{2})[ T](\d{1,2}:\d{2}.*)$/.exec(text);
  if (!date) return null;
  const at = Date.parse(`${date[1]}T${date[2].padStart(5, '0')}`);
  return Number.isFinite(at) ? at : null;
}

/** The newest keyframe before `at`, or the first one after it; null where none is known. `keyframes` rise. */
export function neighbour(keyframes, at, isForward) {
  // A frame that is shown is on its keyframe to the microsecond, not to the float.
  const slack = 0.5;
  if (isForward) return keyframes.find((one) => one > at + slack) ?? null;
  return keyframes.findLast((one) => one < at - slack) ?? null;
}
