// What the mock's cameras have recorded: units that go round, with a hole where a test wants one.

import { CATCH_UP, flagsOf, mediaMessage } from './media.js';

const [RECORDED, PREROLL] = [16, 32];
/** As the pattern was coded: a keyframe a second. */
const GOP = 30;
const DAY_MS = 86_400_000;

export class Footage {
  gaps = [];
  refusals = new Map();

  constructor({ begin = Date.now() - 30 * 60_000, fps = 30 } = {}) {
    Object.assign(this, { begin, fps });
  }

  index(at) {
    return Math.floor(((at - this.begin) * this.fps) / 1000 + 1e-6);
  }

  at(index) {
    return this.begin + (index * 1000) / this.fps;
  }

  keyframe(index) {
    return index - (index % GOP);
  }

  coverage({ n, from, to, width }) {
    const now = Date.now();
    const keyframes = [];
    const first = Math.max(0, this.keyframe(this.index(Math.max(from, this.begin))));
    const isThinned = (Math.min(to, now) - from) / 1000 > width;
    if (!isThinned) for (let index = first; this.at(index) <= Math.min(to, now); index += GOP) if (this.at(index) >= from) keyframes.push(this.at(index));
    let at = this.begin;
    const footage = [];
    for (const gap of this.gaps) {
      footage.push({ from_ms: at, to_ms: gap.from_ms });
      at = gap.to_ms;
    }
    footage.push({ from_ms: at, to_ms: now });
    const isIn = (span) => span.to_ms >= from && span.from_ms <= to;
    return { n, from_ms: from, to_ms: to, oldest_ms: this.begin, newest_ms: now, footage: footage.filter(isIn), gaps: this.gaps.filter(isIn), keyframes, are_keyframes_thinned: isThinned, is_complete: to - from < DAY_MS };
  }

  /** Sends what was recorded, as the viewer would, until `stop` is called. */
  play(client, stream, { id, at_ms: from, speed }) {
    this.stop(client, stream);
    const n = stream.facts.n;
    client.send(JSON.stringify({ type: 'playback', n, id, state: 'playing', at_ms: from, speed }));
    const first = this.index(from);
    const send = (index, more) => {
      const unit = stream.units[index % stream.units.length];
      const seq = BigInt(index);
      client.send(mediaMessage({ n, flags: flagsOf(unit) | RECORDED | more, seq, captureMs: this.at(index), ptsMicros: Math.round(index * (1e6 / this.fps)), payload: unit.data }));
    };
    let index = speed < 0 ? this.keyframe(first) : first;
    for (let before = this.keyframe(first); before < index; before += 1) send(before, CATCH_UP | PREROLL | (before % GOP === 0 ? 2 : 0));
    const isByKeyframes = speed < 0;
    client.playing ??= new Map();
    client.playing.set(n, setInterval(() => {
      send(index, index % GOP === 0 && isByKeyframes ? 2 : 0);
      index += isByKeyframes ? -GOP : 1;
    }, isByKeyframes ? 1000 / Math.abs(speed) : 1000 / this.fps / speed));
  }

  stop(client, stream) {
    clearInterval(client.playing?.get(stream.facts.n));
    client.playing?.delete(stream.facts.n);
  }
}
