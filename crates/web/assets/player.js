// One stream on one surface: picks the way to play it, goes another way when that fails, asks for a new beginning with
// back-off, and tells what was shown.

import { canPlay, MsePlayer } from './mse.js';
import { Surface } from './painter.js';
import { PicturePlayer } from './pictures.js';
import { WebCodecsPlayer } from './webcodecs.js';
import { INIT_SEGMENT } from './wire.js';
import { el } from './dom.js';

const VIDEO = new Set(['h264', 'h265', 'av1']);
const PICTURES = new Set(['jpeg', 'png', 'webp']);
const FIRST_BACKOFF_MS = 300;
const MAX_BACKOFF_MS = 15_000;
/** Failures without a picture between them before another way is tried. */
const MAX_FAILURES = 3;

export const hasWebCodecs = 'VideoDecoder' in globalThis && 'EncodedVideoChunk' in globalThis;
const hasMediaSource = 'MediaSource' in globalThis || 'ManagedMediaSource' in globalThis;

/** What the page tells the server it can play. */
export function media() {
  return [hasWebCodecs && 'annexb', hasMediaSource && 'fmp4', 'jpeg'].filter(Boolean);
}

const supported = new Map();

async function canDecode(codec) {
  if (!supported.has(codec)) {
    const ask = VideoDecoder.isConfigSupported({ codec, optimizeForLatency: true });
    supported.set(codec, ask.then((answer) => answer.supported === true, () => false));
  }
  return supported.get(codec);
}

/** The ways to play this, best first: 'annexb', 'fmp4' or 'jpeg'. None when the browser cannot. */
export async function waysToPlay(facts) {
  if (PICTURES.has(facts.codec)) return ['jpeg'];
  if (!VIDEO.has(facts.codec)) return [];
  const ways = [];
  if (hasWebCodecs && facts.codecString && (await canDecode(facts.codecString))) ways.push('annexb');
  if (canPlay(facts.mime)) ways.push('fmp4');
  return ways;
}

export class Player {
  #ways;
  #facts;
  #canvas;
  #video = null;
  #surface = null;
  #player = null;
  #failures = 0;
  #backoff = FIRST_BACKOFF_MS;
  #rejoinTimer = 0;
  #isResting = false;
  #callbacks;

  /** `holder` gets a canvas or a video. `callbacks`: onDrawn(picture), onShown(picture, at), onSkipped(frames), onRejoin(), onForm(), onTrouble(why). */
  constructor(facts, ways, holder, callbacks) {
    this.#facts = facts;
    this.#ways = [...ways];
    this.holder = holder;
    this.#callbacks = callbacks;
    this.#start();
  }

  /** What to ask the server for, or null when nothing can play it. */
  get form() {
    return this.#ways[0] ?? null;
  }

  get queue() {
    return this.#player?.queue ?? 0;
  }

  /** What is on the screen: a canvas or a video. */
  get element() {
    return this.#video ?? this.#canvas ?? null;
  }

  #start() {
    this.#clear();
    const inner = {
      onPicture: (picture) => this.#surface?.offer(picture),
      onShown: (picture, at) => {
        this.#callbacks.onDrawn(picture);
        this.#shown(picture, at);
      },
      onSkipped: (frames) => this.#callbacks.onSkipped(frames),
      onStarved: () => this.#rejoin(),
      onTrouble: (why) => this.#trouble(why),
    };
    if (this.form === 'fmp4') {
      this.#video = el('video', { 'aria-hidden': 'true', tabindex: -1 });
      this.holder.replaceChildren(this.#video);
      this.#player = new MsePlayer(this.#facts.mime, this.#video, inner);
      return;
    }
    if (!this.form) return;
    this.#canvas = el('canvas', { 'aria-hidden': 'true', width: 16, height: 9 });
    this.holder.replaceChildren(this.#canvas);
    this.#surface = new Surface(this.#canvas);
    this.#surface.onDrawn = (picture) => this.#callbacks.onDrawn(picture);
    this.#surface.onShown = (picture, at) => this.#shown(picture, at);
    this.#surface.onOvertaken = () => this.#callbacks.onSkipped(1);
    this.#player = this.form === 'annexb' ? new WebCodecsPlayer(this.#facts.codecString, inner) : new PicturePlayer(this.#facts.codec, inner);
  }

  feed(header) {
    // Between a failure and the new beginning there is nothing to decode: a broken stream must not keep the page busy.
    if (this.#isResting) {
      if (header.kind !== INIT_SEGMENT) this.#callbacks.onSkipped(1);
      return;
    }
    if (header.kind === INIT_SEGMENT) this.#player?.init?.(header.payload);
    else this.#player?.feed(header);
  }

  #shown(picture, at) {
    this.#failures = 0;
    this.#backoff = FIRST_BACKOFF_MS;
    this.#callbacks.onShown(picture, at);
  }

  #trouble(why) {
    this.#failures += 1;
    if (this.#failures < MAX_FAILURES) {
      this.#isResting = true;
      this.#rejoin();
      return;
    }
    this.#failures = 0;
    this.#backoff = FIRST_BACKOFF_MS;
    this.#ways.shift();
    if (this.form) {
      this.#start();
      this.#callbacks.onForm();
    } else {
      this.#callbacks.onTrouble(why);
    }
  }

  #rejoin() {
    if (this.#rejoinTimer) return;
    this.#rejoinTimer = setTimeout(() => {
      this.#rejoinTimer = 0;
      this.#isResting = false;
      this.#callbacks.onRejoin();
    }, this.#backoff);
    this.#backoff = Math.min(this.#backoff * 2, MAX_BACKOFF_MS);
  }

  /** Forgets what is in the decoder; the last picture stays. The next frames begin with a keyframe. */
  pause() {
    clearTimeout(this.#rejoinTimer);
    this.#rejoinTimer = 0;
    this.#isResting = false;
    if (this.form === 'annexb' || this.form === 'fmp4') this.#player?.close();
  }

  #clear() {
    this.#player?.close();
    this.#surface?.close();
    this.#player = this.#surface = this.#video = this.#canvas = null;
  }

  close() {
    clearTimeout(this.#rejoinTimer);
    this.#clear();
    this.holder.replaceChildren();
  }
}
