// Small pictures of moments, for rows in view only: few are asked for at a time, and only so many are kept.

const AT_ONCE = 2;
const MAX_KEPT = 200;
/** As wide as a row's picture on a fine screen. */
const WIDTH = 224;

export class Thumbs {
  /** Those in view that have none yet, in the order in which they came into view. */
  #waiting = new Set();
  #out = new Map();
  /** Those that have one, the longest unseen first. */
  #kept = new Set();
  #isClosed = false;

  /** `row`: { canvas, isDrawn, askPicture(signal) → Blob }. */
  want(row) {
    if (this.#kept.delete(row)) this.#kept.add(row);
    else if (!this.#out.has(row) && !row.hasNone) this.#waiting.add(row);
    this.#work();
  }

  /** Out of view: what was not begun is not asked for. */
  leave(row) {
    this.#waiting.delete(row);
    this.#out.get(row)?.abort();
  }

  /** The row is gone for good. */
  forget(row) {
    this.leave(row);
    this.#kept.delete(row);
  }

  #work() {
    while (!this.#isClosed && this.#out.size < AT_ONCE && this.#waiting.size > 0) {
      const [row] = this.#waiting;
      this.#waiting.delete(row);
      this.#make(row);
    }
  }

  async #make(row) {
    const abort = new AbortController();
    this.#out.set(row, abort);
    try {
      const blob = await row.askPicture(abort.signal);
      const picture = await createImageBitmap(blob, { resizeWidth: WIDTH, resizeQuality: 'medium' });
      if (!abort.signal.aborted && !this.#isClosed) this.#draw(row, picture);
      picture.close();
    } catch (error) {
      // A server that is busy is asked again when the row comes into view again.
      row.hasNone = !abort.signal.aborted && error.code !== 'busy';
    }
    this.#out.delete(row);
    this.#work();
  }

  #draw(row, picture) {
    Object.assign(row.canvas, { width: picture.width, height: picture.height });
    row.canvas.getContext('2d').drawImage(picture, 0, 0);
    row.canvas.hidden = false;
    this.#kept.add(row);
    for (const old of this.#kept) {
      if (this.#kept.size <= MAX_KEPT) break;
      this.#kept.delete(old);
      Object.assign(old.canvas, { width: 0, height: 0, hidden: true });
    }
  }

  close() {
    this.#isClosed = true;
    this.#waiting.clear();
    this.#out.forEach((abort) => abort.abort());
  }
}
