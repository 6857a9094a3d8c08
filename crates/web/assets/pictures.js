// Single pictures (JPEG, PNG, WebP): one is decoded at a time, and the newest takes the place of the one that waits.

import { localNow } from './clock.js';

const TYPES = { jpeg: 'image/jpeg', png: 'image/png', webp: 'image/webp' };
/** So many damaged pictures in a row are more than an accident. */
const MAX_FAILURES = 5;

export class PicturePlayer {
  #type;
  #next = null;
  #isDecoding = false;
  #isClosed = false;
  #failures = 0;
  #callbacks;

  constructor(codec, callbacks) {
    this.#type = TYPES[codec];
    this.#callbacks = callbacks;
  }

  get queue() {
    return (this.#next ? 1 : 0) + (this.#isDecoding ? 1 : 0);
  }

  feed(header) {
    header.receivedMs = localNow();
    if (this.#next) this.#callbacks.onSkipped(1);
    this.#next = header;
    if (!this.#isDecoding) this.#decode();
  }

  async #decode() {
    this.#isDecoding = true;
    while (this.#next && !this.#isClosed) {
      const header = this.#next;
      this.#next = null;
      try {
        const image = await createImageBitmap(new Blob([header.payload], { type: this.#type }));
        if (this.#isClosed) {
          image.close();
          break;
        }
        this.#failures = 0;
        this.#callbacks.onPicture({ image, width: image.width, height: image.height, header, decodedMs: localNow() });
      } catch (error) {
        this.#failures += 1;
        this.#callbacks.onSkipped(1);
        if (this.#failures >= MAX_FAILURES && !this.#isClosed) {
          this.#failures = 0;
          this.#callbacks.onTrouble(error?.message || String(error));
        }
      }
    }
    this.#isDecoding = false;
  }

  close() {
    this.#isClosed = true;
    this.#next = null;
  }
}
