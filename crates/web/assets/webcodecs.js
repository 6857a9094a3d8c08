// Coded video by WebCodecs: a short queue before the decoder; what doesn't fit goes, up to the next keyframe.

import { localNow } from './clock.js';

/** Given to the decoder and not come back; more would only age there. */
const IN_DECODER = 2;
/** Waiting live: a third of a second, by number and by time. Waiting while catching up: twenty seconds at 30 frames a second. */
const MAX_WAITING = 10;
const MAX_WAITING_MS = 350;
const MAX_CATCHING_UP = 600;
const MAX_WAITING_BYTES = 48 << 20;
/** In the decoder for reordering, and lost there: not remembered for ever. */
const MAX_REMEMBERED = 64;
/** Without a keyframe to go on with for so long, the server is asked for one. */
const PATIENCE_MS = 2500;

export class WebCodecsPlayer {
  #decoder = null;
  #codecString;
  #waiting = [];
  #waitingBytes = 0;
  #needsKeyframe = true;
  #dropping = 0;
  #catchUpLeft = 0;
  #inDecoder = new Map();
  #callbacks;

  /** `callbacks`: onPicture(picture), onSkipped(frames), onTrouble(why) when it cannot go on, onStarved() for a rejoin. */
  constructor(codecString, callbacks) {
    this.#codecString = codecString;
    this.#callbacks = callbacks;
  }

  /** How many frames wait, here and in the decoder. */
  get queue() {
    return this.#waiting.length + (this.#decoder?.decodeQueueSize ?? 0);
  }

  feed(header) {
    header.receivedMs = localNow();
    if (header.isDiscontinuity) this.#needsKeyframe = true;
    if (this.#needsKeyframe && !header.isKeyframe) {
      this.#skip(1);
      const now = performance.now();
      this.#dropping ||= now;
      if (now - this.#dropping > PATIENCE_MS) {
        this.#dropping = now;
        this.#callbacks.onStarved();
      }
      return;
    }
    if (header.isKeyframe) {
      this.#needsKeyframe = false;
      this.#dropping = 0;
      if (header.isDiscontinuity) header.resets = true;
    }
    this.#waiting.push(header);
    this.#waitingBytes += header.payload.length;
    if (header.isCatchUp) this.#catchUpLeft += 1;
    this.#trim();
    this.#pump();
  }

  /** Drops what is too much: discardable frames first, else everything before the newest keyframe that waits. */
  #trim() {
    // A recording does not age while it waits.
    const isPatient = this.#catchUpLeft > 0 || this.#waiting[0]?.isRecorded;
    const limit = isPatient ? MAX_CATCHING_UP : MAX_WAITING;
    const oldest = isPatient ? -Infinity : localNow() - MAX_WAITING_MS;
    const isTooMuch = () => this.#waiting.length > limit || this.#waitingBytes > MAX_WAITING_BYTES || this.#waiting[0]?.receivedMs < oldest;
    // Catching up too slowly: a keyframe that came meanwhile is a better place to go on.
    const last = this.#waiting.at(-1);
    const isOvertaken = this.#waiting.length > MAX_WAITING && last.isKeyframe && !last.isCatchUp && !last.isRecorded;
    if (isTooMuch()) this.#drop((header) => header.isDiscardable);
    if (!isTooMuch() && !isOvertaken) return;
    const newest = this.#waiting.findLastIndex((header) => header.isKeyframe);
    if (newest > 0) {
      let at = 0;
      this.#drop(() => at++ < newest);
    } else {
      this.#drop(() => true);
      this.#needsKeyframe = true;
    }
  }

  #drop(isToGo) {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter((header) => !isToGo(header));
    this.#recount();
    this.#skip(before - this.#waiting.length);
  }

  #recount() {
    this.#waitingBytes = this.#waiting.reduce((sum, header) => sum + header.payload.length, 0);
    this.#catchUpLeft = this.#waiting.reduce((sum, header) => sum + (header.isCatchUp ? 1 : 0), 0);
  }

  #skip(frames) {
    if (frames > 0) this.#callbacks.onSkipped(frames);
  }

  #pump() {
    while (this.#waiting.length > 0) {
      const header = this.#waiting[0];
      // A reset throws away what is in the decoder: let it come out first.
      if (header.resets && this.#decoder?.decodeQueueSize > 0) return;
      if (this.#decoder && this.#decoder.decodeQueueSize >= IN_DECODER) return;
      this.#waiting.shift();
      this.#waitingBytes -= header.payload.length;
      if (header.isCatchUp) this.#catchUpLeft -= 1;
      if (!this.#decode(header)) return;
    }
  }

  #decode(header) {
    try {
      if (!this.#decoder || header.resets) this.#configure();
      // Presentation times are the only handle on a frame inside the decoder: each only once.
      let timestamp = Math.trunc(header.ptsMicros);
      while (this.#inDecoder.has(timestamp)) timestamp += 1;
      this.#inDecoder.set(timestamp, header);
      if (this.#inDecoder.size > MAX_REMEMBERED) this.#inDecoder.delete(this.#inDecoder.keys().next().value);
      this.#decoder.decode(new EncodedVideoChunk({ type: header.isKeyframe ? 'key' : 'delta', timestamp, data: header.payload }));
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  #configure() {
    this.#inDecoder.clear();
    if (this.#decoder && this.#decoder.state === 'configured') {
      this.#decoder.reset();
    } else {
      this.#decoder = new VideoDecoder({ output: (frame) => this.#output(frame), error: (error) => this.#failed(error) });
      this.#decoder.ondequeue = () => this.#pump();
    }
    this.#decoder.configure({ codec: this.#codecString, optimizeForLatency: true });
  }

  #output(frame) {
    const header = this.#inDecoder.get(frame.timestamp);
    this.#inDecoder.delete(frame.timestamp);
    if (!header || header.isPreroll) {
      frame.close();
      if (header) this.#pump();
      return;
    }
    this.#callbacks.onPicture({ image: frame, width: frame.displayWidth, height: frame.displayHeight, header, decodedMs: localNow() });
    this.#pump();
  }

  #failed(error) {
    this.#skip(this.#waiting.length);
    this.close();
    this.#callbacks.onTrouble(error?.message || String(error));
  }

  close() {
    const decoder = this.#decoder;
    this.#decoder = null;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#catchUpLeft = 0;
    this.#inDecoder.clear();
    this.#needsKeyframe = true;
    this.#dropping = 0;
    if (decoder && decoder.state !== 'closed') decoder.close();
  }
}
