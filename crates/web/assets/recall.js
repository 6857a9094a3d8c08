// Where the visitor is in time: live, at a still picture of a moment, or playing what was recorded.

import { Archive, Newest } from './archive.js';
import { el } from './dom.js';
import { t } from './i18n.js';

export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];

/** A picture this near to a moment is that of the moment. */
const SAME_MS = 0.5;

let nextId = 1;

export class Recall {
  mode = 'live';
  /** The moment that is shown or sought, Unix milliseconds; NaN while live. */
  at = NaN;
  speed = 1;
  /** What is shown is the moment itself, and not the keyframe before it. */
  isExact = true;
  isTwice = false;
  #app;
  #stream;
  #still;
  #archive;
  #wishes = new Newest();
  #abort = null;
  #id = 0;
  #isHeld = false;
  #playingSince = Infinity;
  /** Capture time of the picture on the screen; NaN without one, or where that is not known. */
  #shownAt = NaN;
  #isAskingExact = false;
  #stops = [];
  #url = '';
  #onChange;

  /** The still picture stands above `holder`, where the rest is played. `onChange()` is told when anything here is another. */
  constructor(app, stream, holder, onChange) {
    this.#app = app;
    this.#stream = stream;
    this.#archive = new Archive(stream.facts);
    this.#onChange = onChange;
    this.#still = el('img', { class: 'still', alt: '', hidden: true, draggable: 'false' });
    holder.after(this.#still);
    this.#stops.push(app.store.on('playback', (message) => this.#told(message)));
  }

  get archive() {
    return this.#archive;
  }

  get isLive() {
    return this.mode === 'live';
  }

  get isPlaying() {
    return this.mode === 'playing';
  }

  /** Frames of another time than the one that was asked for last are not played. */
  accepts = (header) => !this.#isHeld && header.isRecorded === this.isPlaying;

  #hold(message) {
    this.#id = nextId;
    nextId += 1;
    this.#isHeld = true;
    this.#playingSince = Infinity;
    this.#app.theatre.forget(this.#stream.facts.n);
    this.#app.link.recall({ ...message, n: this.#stream.facts.n, id: this.#id });
  }

  #told(message) {
    if (message.n !== this.#stream.facts.n || message.id !== this.#id) return;
    if (message.state === 'playing' && this.isPlaying) {
      this.#isHeld = false;
      this.#playingSince = performance.timeOrigin + performance.now();
    } else if (message.state === 'live') {
      const wasPlaying = this.isPlaying;
      this.#isHeld = false;
      this.#setLive();
      if (wasPlaying) this.#app.say(t('recall.caught-up'));
    } else if (message.state === 'ended' && this.isPlaying) {
      this.#stand();
      this.#app.say(t('recall.ended'));
    } else if (message.state === 'failed') {
      this.#stand();
      this.#app.say(t('recall.failed', { why: message.message }), true);
    }
    this.#onChange();
  }

  #setLive() {
    this.mode = 'live';
    this.at = NaN;
    this.isTwice = false;
    this.speed = 1;
    this.#forgetWishes();
  }

  /** A picture of the player reached the screen. */
  shown(picture) {
    const { header } = picture;
    if (this.mode === 'still' || this.mode === 'seeking' || header?.isPreroll) return;
    if (!header) {
      // A browser that does not tell which picture this is: whatever plays is of the time that was asked for.
      if (!this.#isHeld) this.#uncover(NaN);
      return;
    }
    if (this.isPlaying) {
      if (!header.isRecorded || header.receivedMs < this.#playingSince) return;
      this.at = header.captureMs;
      this.isExact = true;
      this.isTwice = false;
    } else if (header.isRecorded) return;
    this.#uncover(header.captureMs);
    if (this.isPlaying) this.#onChange();
  }

  #uncover(at) {
    this.#shownAt = at;
    if (!this.#still.hidden) this.#hideStill();
  }

  #hideStill() {
    this.#still.hidden = true;
    this.#still.removeAttribute('src');
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = '';
  }

  /** On the way to a moment: pictures of keyframes, as fast as they come. */
  seek(at) {
    this.#leave('seeking');
    this.at = at;
    // The exact picture of an earlier moment would come between.
    if (this.#isAskingExact) this.#abort?.abort();
    this.#ask(at, false);
    this.#onChange();
  }

  /** At a moment: the exact picture. */
  settle(at = this.at) {
    this.#leave('still');
    this.at = at;
    // A picture on the way to an earlier wish would only be in the way.
    this.#abort?.abort();
    this.#ask(at, true);
    this.#onChange();
  }

  #leave(mode) {
    const wasStill = this.mode === 'still' || this.mode === 'seeking';
    this.mode = mode;
    if (!wasStill) this.#hold({ type: 'pause' });
  }

  #ask(at, isExact) {
    this.#wishes.run(async () => {
      const abort = new AbortController();
      this.#abort = abort;
      this.#isAskingExact = isExact;
      try {
        const picture = await this.#archive.picture(at, isExact, abort.signal);
        await this.#show(picture, isExact, abort.signal);
      } catch (error) {
        if (abort.signal.aborted || (this.mode !== 'still' && this.mode !== 'seeking')) return;
        if (isExact) this.#fails(error);
      } finally {
        this.#isAskingExact = false;
      }
    });
  }

  /** There is no picture of the moment: the one that stands keeps its own time. */
  #fails(error) {
    if (Number.isFinite(this.#shownAt)) {
      this.at = this.#shownAt;
      this.isExact = true;
    } else this.#hideStill();
    this.#app.say(t(error.code === 'no-footage' ? 'recall.nothing' : 'recall.no-picture', { why: error.message }), error.code !== 'no-footage');
    this.#onChange();
  }

  async #show({ blob, at, isTwice }, isExact, signal) {
    const url = URL.createObjectURL(blob);
    const next = new Image();
    next.src = url;
    await next.decode().catch(() => {});
    if (signal.aborted || (this.mode !== 'still' && this.mode !== 'seeking')) {
      URL.revokeObjectURL(url);
      return;
    }
    const before = this.#url;
    this.#url = url;
    this.#still.src = url;
    this.#still.hidden = false;
    if (before) URL.revokeObjectURL(before);
    this.#shownAt = at;
    this.isExact = isExact;
    this.isTwice = isTwice;
    if (this.mode === 'still' && Number.isFinite(at)) this.at = at;
    this.#onChange();
  }

  /** From the moment shown, or from `at`; from live it goes on with what was recorded just now. */
  play(speed = this.speed, at = this.at) {
    const from = Number.isFinite(at) ? at : this.#app.now() - 1000;
    this.#forgetWishes();
    this.mode = 'playing';
    this.speed = speed;
    this.at = from;
    this.#hold({ type: 'play', at_ms: Math.round(from * 1000) / 1000, speed });
    this.#onChange();
  }

  pause() {
    if (this.isLive) this.settle(this.#app.now() - (Number.isFinite(this.#stream.age) ? this.#stream.age : 0));
    else if (this.isPlaying) {
      this.#hold({ type: 'pause' });
      this.#stand();
      this.#onChange();
    }
  }

  /** Playing is over: what it showed last stands, and where it showed nothing yet, the picture of its moment. */
  #stand() {
    this.mode = 'still';
    if (Number.isFinite(this.at) && !(Math.abs(this.#shownAt - this.at) < SAME_MS)) this.settle();
  }

  live() {
    if (this.isLive) return;
    this.#setLive();
    this.#hold({ type: 'live' });
    this.#onChange();
  }

  /** The server has begun with this stream anew, live: it is told again what is wanted. */
  watched() {
    if (this.isPlaying) this.play();
    else if (!this.isLive) this.#hold({ type: 'pause' });
    else this.#isHeld = false;
  }

  #forgetWishes() {
    this.#wishes.forget();
    this.#abort?.abort();
  }

  close() {
    this.#forgetWishes();
    this.#wishes.close();
    this.#stops.forEach((stop) => stop());
    this.#hideStill();
    this.#still.remove();
  }
}
