// Draws a stretch of time: footage, gaps, keyframes, the marked part, the moment that is shown, labels.

import { needsDay, needsSeconds } from './axis.js';
import { language } from './i18n.js';

const RULER = 20;
const TICK = 5;
/** Keyframes nearer than this are no ticks any more, but a grey. */
const MIN_TICK_PIXELS = 4;
const KNOB = 6;

const formats = new Map();

function label(at, step) {
  const sort = needsDay(step) ? 'day' : needsSeconds(step) ? 'seconds' : 'minutes';
  const key = `${language()} ${sort}`;
  if (!formats.has(key)) {
    const time = { hour: '2-digit', minute: '2-digit', hour12: false };
    const options = { day: { month: 'short', day: 'numeric' }, seconds: { ...time, second: '2-digit' }, minutes: time }[sort];
    formats.set(key, new Intl.DateTimeFormat(language(), options));
  }
  return formats.get(key).format(at);
}

function palette(canvas) {
  const style = getComputedStyle(canvas);
  const color = (name) => style.getPropertyValue(name);
  return { text: color('--faint'), line: color('--line-strong'), empty: color('--strip-none'), footage: color('--footage'), gap: color('--warn'), tick: color('--accent'), mark: color('--accent-soft'), edge: color('--accent'), head: color('--lumen'), panel: color('--panel'), font: style.fontFamily };
}

/** By colour: few, and one serves every canvas. */
const hatches = new Map();

/** Diagonal lines, so that a gap is one without colours, too. */
function hatch(context, color) {
  if (!hatches.has(color)) hatches.set(color, newHatch(context, color));
  return hatches.get(color);
}

function newHatch(context, color) {
  const tile = new OffscreenCanvas(8, 8);
  const pen = tile.getContext('2d');
  pen.strokeStyle = color;
  pen.lineWidth = 1.6;
  for (const shift of [-8, 0, 8]) {
    pen.beginPath();
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
    pen.stroke();
  }
  return context.createPattern(tile, 'repeat');
}

export class Band {
  #isDue = false;
  #scene = null;

  /** `isPlain`: a band among many, below one ruler for all. */
  constructor(canvas, { isPlain = false } = {}) {
    this.canvas = canvas;
    this.isPlain = isPlain;
  }

  /** `scene`: { axis, coverage, at, isLive, mark: { from, to }, now, isRuler }; drawn at the next refresh. */
  draw(scene) {
    this.#scene = scene;
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.canvas.isConnected) this.#paint(this.#scene);
    });
  }

  #paint(scene) {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (width < 2 || height < 2) return;
    const scale = devicePixelRatio;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    const context = canvas.getContext('2d');
    const colors = palette(canvas);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    if (scene.isRuler) {
      this.#ruler(context, colors, scene.axis, { width, bottom: height });
      return;
    }
    const box = this.isPlain ? { top: 2, bottom: height - 2, width, height } : { top: RULER, bottom: height - TICK - 3, width, height };
    if (!this.isPlain) this.#ruler(context, colors, scene.axis, box);
    this.#footage(context, colors, scene, box);
    if (!this.isPlain) this.#keyframes(context, colors, scene, box);
    this.#mark(context, colors, scene, box);
    this.#head(context, colors, scene, box);
  }

  #ruler(context, colors, axis, { width, bottom }) {
    context.font = `11px ${colors.font}`;
    context.textBaseline = 'middle';
    context.textAlign = 'center';
    for (const { at, step } of axis.ticks()) {
      const x = Math.round(axis.x(at)) + 0.5;
      context.fillStyle = colors.line;
      context.fillRect(x - 0.5, RULER - 4, 1, bottom - RULER + 4);
      const text = label(at, step);
      const half = context.measureText(text).width / 2;
      if (x - half < 2 || x + half > width - 2) continue;
      context.fillStyle = colors.text;
      context.fillText(text, x, RULER / 2 - 2);
    }
  }

  #bar(context, axis, { from, to }, { top, bottom, width }, least = 1) {
    const left = Math.max(-2, axis.x(from));
    const right = Math.min(width + 2, Math.max(axis.x(to), left + least));
    if (right > 0 && left < width) context.fillRect(left, top, right - left, bottom - top);
  }

  #footage(context, colors, { axis, coverage }, box) {
    context.fillStyle = colors.empty;
    context.fillRect(0, box.top, box.width, box.bottom - box.top);
    if (!coverage) return;
    context.fillStyle = colors.footage;
    for (const span of coverage.footage) this.#bar(context, axis, span, box);
    for (const gap of coverage.gaps) {
      context.fillStyle = colors.empty;
      this.#bar(context, axis, gap, box, 2);
      context.fillStyle = axis.x(gap.to) - axis.x(gap.from) < 4 ? colors.gap : hatch(context, colors.gap);
      this.#bar(context, axis, gap, box, 2);
    }
  }

  #keyframes(context, colors, { axis, coverage }, { bottom, width }) {
    const keyframes = coverage?.keyframes ?? [];
    const seen = keyframes.filter((at) => at >= axis.from && at <= axis.to);
    const apart = seen.length < 2 ? width : (axis.x(seen.at(-1)) - axis.x(seen[0])) / (seen.length - 1);
    if (apart < MIN_TICK_PIXELS) return;
    context.fillStyle = colors.tick;
    for (const at of seen) context.fillRect(Math.round(axis.x(at)), bottom + 2, 1, TICK);
  }

  #mark(context, colors, { axis, mark }, box) {
    const isOpen = !Number.isFinite(mark.from) || !Number.isFinite(mark.to);
    if (!isOpen) {
      context.fillStyle = colors.mark;
      this.#bar(context, axis, mark, { ...box, top: box.top - 3 });
    }
    context.fillStyle = colors.edge;
    for (const [at, side] of [[mark.from, 1], [mark.to, -1]]) {
      if (!Number.isFinite(at)) continue;
      const x = axis.x(at);
      context.fillRect(x - 1, box.top - 4, 2, box.bottom - box.top + 8);
      context.fillRect(side > 0 ? x : x - 6, box.top - 4, 6, 3);
      context.fillRect(side > 0 ? x : x - 6, box.bottom + 1, 6, 3);
    }
  }

  #head(context, colors, { axis, at, isLive, now }, { top, bottom, width }) {
    const present = axis.x(now);
    if (present < width) {
      // What is to come.
      context.fillStyle = colors.panel;
      context.globalAlpha = 0.55;
      context.fillRect(Math.max(0, present), top, width, bottom - top);
      context.globalAlpha = 1;
    }
    if (!Number.isFinite(at)) return;
    const x = axis.x(at);
    if (x < -KNOB || x > width + KNOB) return;
    context.fillStyle = colors.panel;
    context.fillRect(x - 2.5, top - 5, 5, bottom - top + 10);
    context.fillStyle = isLive ? colors.edge : colors.head;
    context.fillRect(x - 1, top - 5, 2, bottom - top + 10);
    // A band among many has no room for it.
    if (this.isPlain) return;
    context.beginPath();
    context.arc(x, top - 5, KNOB, 0, 2 * Math.PI);
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = colors.panel;
    context.stroke();
  }
}
