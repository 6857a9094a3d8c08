// Draws the newest picture of each surface once per display refresh, within a time budget, so that many tiles cannot
// starve the page. A picture that was overtaken before it was drawn is closed and counted.

import { localNow } from './clock.js';

const BUDGET_MS = 14;

const waiting = new Set();
let drawn = [];
let isScheduled = false;

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(paint);
}

function paint() {
  isScheduled = false;
  const begin = performance.now();
  // What the last refresh drew is on the screen now.
  const now = localNow();
  for (const [surface, picture] of drawn) surface.onShown?.(picture, now);
  drawn = [];
  for (const surface of waiting) {
    waiting.delete(surface);
    const picture = surface.draw();
    if (picture) drawn.push([surface, picture]);
    if (performance.now() - begin > BUDGET_MS) break;
  }
  if (waiting.size > 0 || drawn.length > 0) schedule();
}

/** A canvas that shows the newest picture offered. */
export class Surface {
  #context;
  #pending = null;
  #box = { width: 0, height: 0 };
  #observer;

  /** `onShown(picture, at)` is told when a picture has reached the screen, `onOvertaken()` when one never will. */
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

  draw() {
    const picture = this.#pending;
    this.#pending = null;
    if (!picture) return null;
    const { width, height } = this.#size(picture);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    try {
      this.#context.drawImage(picture.image, 0, 0, width, height);
    } catch {
      return null;
    } finally {
      picture.image.close();
    }
    return picture;
  }

  /** As many pixels as the screen has for it, never more than the picture has. */
  #size({ width, height }) {
    const { width: boxWidth, height: boxHeight } = this.#box;
    if (boxWidth < 1 || boxHeight < 1) return { width, height };
    const scale = Math.min(1, (Math.min(boxWidth / width, boxHeight / height)) * devicePixelRatio);
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
