// One stream in the grid: its picture, its state, its last minute, its figures. The whole tile is a link to the camera.

import { el, icon, setAttribute, setText } from './dom.js';
import { age, clock, mbit, number, span } from './format.js';
import { gapText, stateText, troubleText, t } from './i18n.js';
import { STRIP } from './store.js';

/** How long a gap stands on the picture. */
export const GAP_SHOWN_MS = 8000;
const PLAYING = new Set(['live', 'late']);
/** A picture older than this says so. */
const OLD_MS = 1000;

export const codecName = (codec) => ({ h264: 'H.264', h265: 'H.265', av1: 'AV1', jpeg: 'JPEG', png: 'PNG', webp: 'WebP', jpeg2000: 'JPEG 2000', raw: 'RAW' })[codec] ?? codec.toUpperCase();

/** The address of a stream's own screen. */
export function cameraPath(facts, isOnlyStream) {
  const query = isOnlyStream ? '' : `?${new URLSearchParams({ topic: facts.topic, stream: facts.stream })}`;
  return `/camera/${encodeURIComponent(facts.camera)}${query}`;
}

/** What stands over a picture that is not live: the state, and why. */
export class Veil {
  constructor() {
    this.mark = el('span', { class: 'veil-icon' });
    this.title = el('span', { class: 'veil-title' });
    this.why = el('span', { class: 'veil-why' });
    this.other = el('span', { class: 'button small veil-other', hidden: true });
    this.element = el('div', { class: 'veil' }, this.mark, this.title, this.why, this.other);
    this.shown = '';
  }

  /** Names the stream of the same camera that a click leads to. */
  offer(stream) {
    this.other.hidden = stream === null;
    if (stream) setText(this.other, otherText(stream));
  }

  update(stream, hasPicture) {
    const { state, stat } = stream;
    const shown = PLAYING.has(state) && !hasPicture ? 'connecting' : state;
    if (this.shown !== shown) {
      this.shown = shown;
      this.mark.replaceChildren(icon(shown));
    }
    setAttribute(this.element, 'hidden', PLAYING.has(shown) ? '' : null);
    setText(this.title, stateText(shown));
    let why = stat.reason;
    if (shown === 'unplayable') why = troubleText(stream);
    else if (shown === 'sealed') why = t('sealed.why');
    else if (shown === 'denied') why = t('denied.why');
    else if (shown === 'offline') why = [Number.isFinite(stat.since) ? t('since', { time: clock(stat.since) }) : '', stat.reason].filter(Boolean).join(' · ');
    setText(this.why, why);
    return shown;
  }
}

/** What analysis says is wrong with the picture: a sign and a word. */
export class HealthChip {
  #shown = '';

  /** `hasTime`: there is room to say since when. */
  constructor(hasTime = false) {
    this.hasTime = hasTime;
    this.element = el('span', { class: 'chip chip-health', hidden: true });
  }

  update({ facts: { health } }) {
    const shown = health ? `${health.state} ${health.since}` : '';
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.element.hidden = health === null;
    setAttribute(this.element, 'data-health', health?.state ?? null);
    if (!health) return;
    const since = this.hasTime && Number.isFinite(health.since) ? t('since', { time: clock(health.since) }) : '';
    this.element.replaceChildren(icon(`health-${health.state}`), el('span', { text: [healthText(health), since].filter(Boolean).join(' ') }));
  }
}

const healthText = ({ state }) => t(`health.state.${state}`);

/** That a picture is an old one which a new viewer begins with, and how old it is, until the present is reached. */
export class Freshness {
  #shown = '';

  constructor() {
    this.element = el('span', { class: 'chip chip-late', hidden: true });
  }

  shown({ header }, now) {
    if (!header) return;
    const old = now - header.captureMs;
    const text = header.isCatchUp && !header.isRecorded && old > OLD_MS ? t('catching-up', { age: span(Math.round(old / 1000)) }) : '';
    if (text === this.#shown) return;
    this.#shown = text;
    setText(this.element, text);
    this.element.hidden = text === '';
  }
}

const RANKS = ['h264', 'jpeg', 'webp', 'png'];

/** The stream of the same camera that a browser can play most likely, or null. */
export function substitute(stream, all) {
  const candidates = all.filter((other) => other !== stream && !other.trouble && !other.facts.isSealed && RANKS.includes(other.facts.codec));
  return candidates.sort((a, b) => RANKS.indexOf(a.facts.codec) - RANKS.indexOf(b.facts.codec))[0] ?? null;
}

const otherText = ({ facts }) => t('unplayable.other', { codec: codecName(facts.codec), stream: facts.stream === 'main' ? facts.topic : facts.stream });

/** A line of cells, one a second: frames came, frames are missing, nothing came (or nobody was looking yet). */
export function drawStrip(canvas, stream) {
  const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  const height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  const style = getComputedStyle(canvas);
  const color = (name) => style.getPropertyValue(name);
  const colors = { came: color('--strip'), gap: color('--warn'), bad: color('--bad'), none: color('--strip-none') };
  context.clearRect(0, 0, width, height);
  const cells = stream.history.slice(-STRIP);
  const step = width / STRIP;
  for (let at = 0; at < STRIP; at += 1) {
    const cell = cells[at - STRIP + cells.length];
    const sort = cell?.unexplained > 0 ? 'bad' : cell?.missing > 0 ? 'gap' : cell?.frames > 0 ? 'came' : 'none';
    context.fillStyle = colors[sort];
    const inset = sort === 'came' || sort === 'none' ? Math.round(height / 3) : 0;
    context.fillRect(Math.round(at * step), inset, Math.max(1, Math.round(step) - Math.ceil(devicePixelRatio / 2)), height - 2 * inset);
  }
}

export class Tile {
  #hasPicture = false;
  #gapTimer = 0;

  /** `siblings()`: all streams of the camera. */
  constructor(stream, theatre, isOnlyStream, siblings = () => []) {
    const { facts } = stream;
    this.stream = stream;
    this.siblings = siblings;
    this.isOnlyStream = isOnlyStream;
    this.n = facts.n;
    this.theatre = theatre;
    this.holder = el('div', { class: 'holder' });
    this.veil = new Veil();
    this.gap = el('span', { class: 'chip chip-gap', hidden: true });
    this.late = el('span', { class: 'chip chip-late', hidden: true });
    this.freshness = new Freshness();
    this.health = new HealthChip();
    this.strip = el('canvas', { class: 'strip', 'aria-hidden': 'true' });
    this.name = el('span', { class: 'tile-name' });
    this.group = el('span', { class: 'tile-group' });
    this.codec = el('span', { class: 'badge' });
    this.figures = { fps: el('span', { class: 'f-fps' }), rate: el('span', { class: 'f-rate' }), age: el('span', { class: 'f-age' }) };
    this.element = el('a', { class: 'tile', href: cameraPath(facts, isOnlyStream), tabindex: -1, 'data-n': facts.n, draggable: 'false' },
      el('div', { class: 'picture' }, this.holder, this.veil.element, el('div', { class: 'chips' }, this.health.element, this.late, this.freshness.element, this.gap)),
      this.strip,
      el('div', { class: 'caption' }, el('span', { class: 'dot' }), this.name, this.group, this.codec,
        el('span', { class: 'figures' }, this.figures.fps, this.figures.rate, this.figures.age)));
    theatre.add(this.n, this.holder, { onShown: (picture) => this.#shown(picture) });
    this.setFacts(isOnlyStream);
  }

  #shown(picture) {
    this.freshness.shown(picture, this.theatre.now);
    if (this.#hasPicture) return;
    this.#hasPicture = true;
    this.update();
  }

  setFacts(isOnlyStream) {
    const { facts } = this.stream;
    const more = isOnlyStream ? '' : ` · ${facts.topic}${facts.stream === 'main' ? '' : `/${facts.stream}`}`;
    setText(this.name, facts.name + more);
    setAttribute(this.name, 'title', `${facts.camera} · ${facts.topic}/${facts.stream}`);
    setText(this.codec, facts.codec ? codecName(facts.codec) : '');
    this.isOnlyStream = isOnlyStream;
    this.update();
  }

  update() {
    const { stat, facts } = this.stream;
    const state = this.veil.update(this.stream, this.#hasPicture);
    setAttribute(this.element, 'data-state', state);
    this.#lead(state);
    this.health.update(this.stream);
    setAttribute(this.element, 'aria-label', [facts.name, stateText(state), facts.health && healthText(facts.health)].filter(Boolean).join(', '));
    const isPlaying = PLAYING.has(this.stream.state);
    setText(this.figures.fps, isPlaying ? t('fps', { n: number(stat.fps, stat.fps < 9.95 ? 1 : 0) }) : '');
    setText(this.figures.rate, isPlaying ? `${mbit(stat.mbit)} Mbit/s` : '');
    setText(this.figures.age, isPlaying ? age(this.stream.age) : '');
    setAttribute(this.late, 'hidden', state === 'late' ? null : '');
    if (state === 'late') setText(this.late, `${stateText('late')} ${age(this.stream.age)}`);
    if (this.strip.isConnected) drawStrip(this.strip, this.stream);
  }

  /** To the stream itself, or to one of the same camera that this browser can play. */
  #lead(state) {
    const other = state === 'unplayable' ? substitute(this.stream, this.siblings()) : null;
    setAttribute(this.element, 'href', other ? cameraPath(other.facts, false) : cameraPath(this.stream.facts, this.isOnlyStream));
    this.veil.offer(other);
  }

  /** The group's name beside the tile's own, where no heading says it. */
  showGroup(isShown) {
    setText(this.group, isShown ? this.stream.facts.group : '');
  }

  showGap(gap) {
    setText(this.gap, gapText(gap));
    this.gap.hidden = false;
    clearTimeout(this.#gapTimer);
    this.#gapTimer = setTimeout(() => (this.gap.hidden = true), GAP_SHOWN_MS);
  }

  close() {
    clearTimeout(this.#gapTimer);
    this.theatre.remove(this.n);
    this.element.remove();
  }
}
