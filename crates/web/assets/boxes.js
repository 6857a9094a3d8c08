// What analysis found, drawn over exactly the frame that it belongs to: pictures wait in the server for their results, by
// a time that the page chooses and states.

import { el, icon, setAttribute } from './dom.js';
import { t } from './i18n.js';

/** Results remembered of a stream. */
const MAX_FRAMES = 128;
/** A frame without a result of its own shows those of a frame at most so much earlier, dashed. */
const HELD_MS = 600;
/** How long pictures can be asked to wait. */
const WAITS = [100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2000];
/** Results vary a little more than those of the last ten seconds. */
const RESERVE_MS = 40;
const LINE = 2;
const LABEL = 12;
/** A box lower or narrower than this, in pixels of the screen, has no text. */
const MIN_LABELLED = 22;

/** How long pictures have to wait so that nearly all have their results. `before` is kept while it is not far too long: each change is a jump. */
export function waitFor({ late99 }, before = 0) {
  const needed = (Number.isFinite(late99) ? late99 : 0) + RESERVE_MS;
  const wait = WAITS.find((wait) => wait >= needed) ?? WAITS.at(-1);
  return wait < before && 2 * wait > before ? before : wait;
}

/** Tracks that follow one another have colours far apart. */
const hue = (track) => (track === null ? 45 : Number(BigInt(track) % 1000n) * 137.508) % 360;

/** The place of a picture of this shape in a frame of that size, as `object-fit: contain` puts it. */
export function fitted(width, height, ratio) {
  const inner = width / height > ratio ? { width: height * ratio, height } : { width, height: width / ratio };
  return { ...inner, x: (width - inner.width) / 2, y: (height - inner.height) / 2 };
}

export class Boxes {
  #frames = new Map();
  #drawn = null;
  #canvas = el('canvas', { class: 'boxes', 'aria-hidden': 'true' });
  #holder;

  /** Draws over `holder`. */
  constructor(holder) {
    this.#holder = holder;
  }

  /** Takes what was found in one frame by one model. */
  take({ epoch, seq, model, boxes }) {
    const key = `${epoch}/${seq}`;
    const models = this.#frames.get(key) ?? new Map();
    models.set(model, boxes);
    this.#frames.delete(key);
    this.#frames.set(key, models);
    if (this.#frames.size > MAX_FRAMES) this.#frames.delete(this.#frames.keys().next().value);
  }

  /** A picture is about to be shown: draws what was found in it, else what was found shortly before. */
  draw(header, ratio) {
    if (!header) return;
    const own = this.#frames.get(`${header.epoch}/${header.seq}`);
    if (own) this.#drawn = { models: own, at: header.captureMs, epoch: header.epoch };
    const age = this.#drawn && this.#drawn.epoch === header.epoch ? header.captureMs - this.#drawn.at : NaN;
    const isHeld = !own && age >= 0 && age <= HELD_MS;
    this.#paint(own ?? (isHeld ? this.#drawn.models : null), ratio, isHeld);
  }

  #paint(models, ratio, isHeld) {
    const { clientWidth: width, clientHeight: height } = this.#holder;
    const canvas = this.#canvas;
    if (!canvas.isConnected) this.#holder.after(canvas);
    const scale = globalThis.devicePixelRatio || 1;
    const [columns, rows] = [Math.round(width * scale), Math.round(height * scale)];
    // Setting the size clears it, too.
    if (canvas.width !== columns || canvas.height !== rows) [canvas.width, canvas.height] = [columns, rows];
    const context = canvas.getContext('2d');
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!models || width === 0 || height === 0 || !(ratio > 0)) return;
    const place = fitted(width, height, ratio);
    context.lineWidth = LINE;
    context.setLineDash(isHeld ? [5, 4] : []);
    context.globalAlpha = isHeld ? 0.7 : 1;
    context.font = `600 ${LABEL}px system-ui, sans-serif`;
    context.textBaseline = 'middle';
    for (const boxes of models.values()) for (const box of boxes) this.#box(context, place, box);
  }

  #box(context, place, box) {
    const [x, y] = [place.x + box.x * place.width, place.y + box.y * place.height];
    const [width, height] = [box.width * place.width, box.height * place.height];
    const color = `hsl(${hue(box.track)} 95% 70%)`;
    context.strokeStyle = '#0009';
    context.lineWidth = LINE + 2;
    context.strokeRect(x, y, width, height);
    context.strokeStyle = color;
    context.lineWidth = LINE;
    context.strokeRect(x, y, width, height);
    if (width < MIN_LABELLED || height < MIN_LABELLED) return;
    const label = box.track === null ? box.class : `${box.class} ${box.track}`;
    const wide = context.measureText(label).width + 8;
    const left = Math.max(place.x, Math.min(x - LINE / 2, place.x + place.width - wide));
    // Above the box, or inside where there is no room.
    const top = y - LABEL - 6 >= place.y ? y - LABEL - 6 : y;
    context.fillStyle = color;
    context.fillRect(left, top, wide, LABEL + 6);
    context.fillStyle = '#10131a';
    context.fillText(label, left + 4, top + (LABEL + 6) / 2 + 1);
  }

  /** Nothing of what was found before concerns what follows. */
  clear() {
    this.#frames.clear();
    this.#drawn = null;
    this.#canvas.remove();
  }
}

/** The button that switches boxes on and off; there while anything is analysed. */
export class BoxesButton {
  constructor({ store, theatre }, isAnalysed) {
    this.isAnalysed = isAnalysed;
    this.theatre = theatre;
    this.element = el('button', { class: 'button toggle', type: 'button', title: `${t('boxes.title')} (b)`, on: { click: () => (theatre.hasBoxes = !theatre.hasBoxes) } }, icon('boxes'), el('span', { text: t('boxes') }));
    this.stops = ['stats', 'boxes'].map((topic) => store.on(topic, () => this.update()));
    this.update();
  }

  update() {
    this.element.hidden = !this.isAnalysed() && !this.theatre.hasBoxes;
    setAttribute(this.element, 'aria-pressed', String(this.theatre.hasBoxes));
  }

  close() {
    this.stops.forEach((stop) => stop());
  }
}
