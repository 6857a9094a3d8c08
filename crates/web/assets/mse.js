// Coded video by Media Source, where there is no WebCodecs: fragments of one frame each, a short buffer, the live edge.

import { localNow } from './clock.js';

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
const MAX_WAITING = 300;
const MAX_WAITING_BYTES = 16 << 20;
/** Behind the newest frame: above the first, play a little faster; above the second, jump. */
const CHASE_SECONDS = 0.25;
const JUMP_SECONDS = 1;
const EDGE_SECONDS = 0.05;
const KEEP_SECONDS = 8;
const MAX_REMEMBERED = 600;

export const canPlay = (mime) => Boolean(Source && mime && Source.isTypeSupported(mime));

export class MsePlayer {
  #video;
  #mime;
  #source = null;
  #buffer = null;
  #url = '';
  #init = null;
  #waiting = [];
  #waitingBytes = 0;
  #needsKeyframe = true;
  #frames = new Map();
  #callbacks;
  #callbackId = 0;

  constructor(mime, video, callbacks) {
    this.#mime = mime;
    this.#video = video;
    this.#callbacks = callbacks;
    video.muted = true;
    video.playsInline = true;
    video.disableRemotePlayback = true;
  }

  get queue() {
    return this.#waiting.length;
  }

  /** An initialisation segment: playing begins anew with it. */
  init(payload) {
    const isSame = this.#init && this.#init.length === payload.length && this.#init.every((byte, at) => byte === payload[at]);
    this.#init = payload;
    this.#needsKeyframe = true;
    if (!isSame || !this.#source) this.#open();
    else this.#enqueue({ payload });
  }

  feed(header) {
    header.receivedMs = localNow();
    if (!this.#init) return;
    if (this.#needsKeyframe && !header.isKeyframe) {
      this.#callbacks.onSkipped(1);
      return;
    }
    this.#needsKeyframe = false;
    this.#enqueue(header);
    if (this.#waiting.length > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES) this.#shed();
    this.#pump();
  }

  #enqueue(header) {
    this.#waiting.push(header);
    this.#waitingBytes += header.payload.length;
  }

  #shed() {
    const before = this.#waiting.length;
    const newest = this.#waiting.findLastIndex((header) => header.isKeyframe);
    this.#waiting = newest > 0 ? this.#waiting.slice(newest) : [];
    this.#needsKeyframe = newest <= 0;
    this.#waitingBytes = this.#waiting.reduce((sum, header) => sum + header.payload.length, 0);
    this.#callbacks.onSkipped(before - this.#waiting.length);
  }

  #open() {
    this.#shut();
    const source = new Source();
    this.#source = source;
    this.#url = URL.createObjectURL(source);
    this.#video.src = this.#url;
    source.addEventListener('sourceopen', () => {
      if (source !== this.#source || this.#buffer) return;
      try {
        this.#buffer = source.addSourceBuffer(this.#mime);
      } catch (error) {
        this.#failed(error);
        return;
      }
      this.#buffer.addEventListener('updateend', () => this.#updated());
      this.#buffer.addEventListener('error', () => this.#failed(new Error(this.#video.error?.message || 'the segment was refused')));
      this.#waiting.unshift({ payload: this.#init });
      this.#waitingBytes += this.#init.length;
      this.#pump();
    }, { once: true });
    this.#video.onerror = () => source === this.#source && this.#failed(new Error(this.#video.error?.message));
    this.#watchFrames();
  }

  /** Each picture that the element presents is found again by its presentation time. */
  #watchFrames() {
    if (!this.#video.requestVideoFrameCallback) {
      this.#video.ontimeupdate = () => this.#callbacks.onShown({ header: null }, localNow());
      return;
    }
    this.#callbackId = this.#video.requestVideoFrameCallback((_, info) => {
      const header = this.#find(info.mediaTime);
      const at = (time) => performance.timeOrigin + time;
      this.#callbacks.onShown({ header, decodedMs: at(info.presentationTime) }, at(info.expectedDisplayTime));
      this.#watchFrames();
    });
  }

  /** Media times are floats, and ticks round: milliseconds tell frames apart, neighbours are looked at too. */
  #find(seconds) {
    const millis = Math.round(seconds * 1000);
    return this.#frames.get(millis) ?? this.#frames.get(millis - 1) ?? this.#frames.get(millis + 1) ?? null;
  }

  #remember(header) {
    this.#frames.set(Math.round(header.ptsMicros / 1000), header);
    if (this.#frames.size > MAX_REMEMBERED) this.#frames.delete(this.#frames.keys().next().value);
  }

  #pump() {
    const buffer = this.#buffer;
    if (!buffer || buffer.updating || this.#source.readyState !== 'open' || this.#waiting.length === 0) return;
    const header = this.#waiting.shift();
    this.#waitingBytes -= header.payload.length;
    try {
      buffer.appendBuffer(header.payload);
      if (header.kind) this.#remember({ ...header });
    } catch (error) {
      if (error.name === 'QuotaExceededError') this.#makeRoom(header);
      else this.#failed(error);
    }
  }

  #makeRoom(header) {
    this.#waiting.unshift(header);
    this.#waitingBytes += header.payload.length;
    const until = Math.max(this.#video.currentTime - 1, 0);
    if (until > 0) this.#buffer.remove(0, until);
    else this.#failed(new Error('the browser has no room for more video'));
  }

  #updated() {
    if (!this.#buffer) return;
    this.#chase();
    const { buffered } = this.#buffer;
    const oldest = buffered.length > 0 ? buffered.start(0) : Infinity;
    const until = this.#video.currentTime - KEEP_SECONDS / 2;
    if (!this.#buffer.updating && until - oldest > KEEP_SECONDS / 2) this.#buffer.remove(0, until);
    else this.#pump();
  }

  /** Keeps the place of playing near the end of what has come. */
  #chase() {
    const { buffered } = this.#buffer;
    if (buffered.length === 0) return;
    const last = buffered.length - 1;
    const [start, end] = [buffered.start(last), buffered.end(last)];
    const video = this.#video;
    const behind = end - video.currentTime;
    if (video.currentTime < start || behind > JUMP_SECONDS || behind < -0.5) {
      video.currentTime = Math.max(start, end - EDGE_SECONDS);
      video.playbackRate = 1;
    } else {
      video.playbackRate = behind > CHASE_SECONDS ? 1.15 : 1;
    }
    if (video.paused) video.play().catch(() => {});
  }

  #failed(error) {
    this.#callbacks.onSkipped(this.#waiting.length);
    this.#shut();
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#init = null;
    this.#callbacks.onTrouble(error?.message || String(error));
  }

  #shut() {
    if (this.#callbackId) this.#video.cancelVideoFrameCallback?.(this.#callbackId);
    this.#callbackId = 0;
    this.#source = null;
    this.#buffer = null;
    this.#frames.clear();
    this.#video.onerror = null;
    if (this.#url) {
      URL.revokeObjectURL(this.#url);
      this.#url = '';
      this.#video.removeAttribute('src');
      this.#video.load();
    }
  }

  close() {
    this.#shut();
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#init = null;
  }
}
