// Draws the newest picture of each surface once per display refresh, within a time budget, so that many tiles cannot
// starve the page. A picture that was overtaken before it was drawn is closed and counted.

import { localNow } from './clock.js';

const BUDGET_MS = 8;
/** Without a graphics processor, drawing a video frame converts its colours slowly; copying it out as RGBA may not. */
const SLOW_MS = 1.5;
const PROBES = 12;
const MAX_COPIED_PIXELS = 1920 * 1088;

const waiting = new Set();
let drawn = [];
let isScheduled = false;
let scratch = null;

/** Which of two ways to bring a video frame onto a canvas is the cheaper one on this machine, found by measuring. */
const way = {
  chosen: null,
  costs: { draw: [], copy: [] },

  next() {
    if (this.chosen) return this.chosen;
    return this.costs.draw.length < PROBES ? 'draw' : 'copy';
  },

  took(name, millis) {
    if (this.chosen) return;
    const costs = this.costs[name];
    costs.push(millis);
    if (costs.length < PROBES) return;
    const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
    if (name === 'draw' && median(costs) < SLOW_MS) this.chosen = 'draw';
    else if (name === 'copy') this.chosen = median(costs) < median(this.costs.draw) ? 'copy' : 'draw';
  },

  refuse() {
    this.chosen = 'draw';
  },
};

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(paint);
}

async function paint() {
  const begin = performance.now();
  // What the last refresh drew is on the screen now.
  const now = localNow();
  for (const [surface, picture] of drawn) surface.onShown?.(picture, now);
  drawn = [];
  for (const surface of waiting) {
    waiting.delete(surface);
    const picture = await surface.draw();
    if (!picture) continue;
    surface.onDrawn?.(picture);
    drawn.push([surface, picture]);
    if (performance.now() - begin > BUDGET_MS) break;
  }
  isScheduled = false;
  if (waiting.size > 0 || drawn.length > 0) schedule();
}

/** Room for a picture of this size, shared by all: pictures are drawn one after another. */
function roomFor(width, height) {
  if (scratch?.width !== width || scratch?.height !== height) scratch = new ImageData(width, height);
  return scratch;
}

/** A canvas that shows the newest picture offered. */
export class Surface {
  #context;
  #pending = null;
  #box = { width: 0, height: 0 };
  #observer;

  /** `onDrawn(picture)` is told before the display shows a picture, `onShown(picture, at)` when it has reached the screen, `onOvertaken()` when one never will. */
  constructor(canvas) {
    this.canvas = canvas;
    this.#context = canvas.getContext('2d', { alpha: false });
    this.#observer = new ResizeObserver(([entry]) => {
      this.#box = { width: entry.contentRect.width, height: entry.contentRect.height };
    });
    this.#observer.observe(canvas);
  }

  /** Takes a picture { image, width, height, … }; `image` is closed here, sooner or later. */
  offer(picture) {
    if (this.#pending) {
      this.#pending.image.close();
      this.onOvertaken?.(this.#pending);
    }
    this.#pending = picture;
    waiting.add(this);
    schedule();
  }

  /** Draws what waits; answers it, or null. */
  async draw() {
    const picture = this.#pending;
    this.#pending = null;
    if (!picture) return null;
    const begin = performance.now();
    const isFrame = typeof picture.image.copyTo === 'function';
    try {
      if (isFrame && way.next() === 'copy' && this.#canCopy(picture)) {
        await this.#copy(picture);
        way.took('copy', performance.now() - begin);
      } else {
        this.#draw(picture);
        if (isFrame) way.took('draw', performance.now() - begin);
      }
      return picture;
    } catch {
      way.refuse();
      return null;
    } finally {
      picture.image.close();
    }
  }

  /** Pixels that are not square have to be drawn, and very many take too much memory. */
  #canCopy({ image, width, height }) {
    return width * height <= MAX_COPIED_PIXELS && image.visibleRect.width === width && image.visibleRect.height === height;
  }

  #draw(picture) {
    const { width, height } = this.#size(picture);
    this.#resize(width, height);
    this.#context.drawImage(picture.image, 0, 0, width, height);
  }

  /** The whole picture as it is; the canvas is scaled when it is shown. */
  async #copy({ image }) {
    const { width, height } = image.visibleRect;
    const room = roomFor(width, height);
    await image.copyTo(room.data, { format: 'RGBA', colorSpace: 'srgb' });
    this.#resize(width, height);
    this.#context.putImageData(room, 0, 0);
  }

  #resize(width, height) {
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
  }

  /** As many pixels as the screen has for it, never more than the picture has. */
  #size({ width, height }) {
    const { width: boxWidth, height: boxHeight } = this.#box;
    if (boxWidth < 1 || boxHeight < 1) return { width, height };
    const scale = Math.min(1, Math.min(boxWidth / width, boxHeight / height) * devicePixelRatio);
    return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
  }

  close() {
    this.#observer.disconnect();
    waiting.delete(this);
    this.#pending?.image.close();
    this.#pending = null;
    this.onShown = undefined;
    this.onOvertaken = undefined;
  }
}

/** The way that was found, for whoever asks how the page keeps up. */
export const paintingBy = () => way.chosen ?? 'undecided';
