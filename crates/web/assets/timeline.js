// A camera's time: what was recorded, where the visitor is in it, and what can be done from there.

import { Axis, neighbour, parseMoment } from './axis.js';
import { Newest } from './archive.js';
import { Band } from './band.js';
import { saveClip } from './clip.js';
import { el, icon, setAttribute, setText } from './dom.js';
import { bytes, moment, span } from './format.js';
import { gapReason, t } from './i18n.js';
import { Recall, SPEEDS } from './recall.js';

const FIRST_SPAN_MS = 15 * 60_000;
const LEAST_SPAN_MS = 60_000;
/** Footage grows: while the present is in view, it is asked again. */
const REFRESH_MS = 4000;
const SETTLE_MS = 120;
/** Where the present is while live, as a share of the width. */
const LIVE_SHARE = 0.94;
const ZOOM = 1.6;
/** A finger is this wide. */
const GRIP = 22;
const GRIP_MARK = 12;
const CLICK_PIXELS = 4;
const LOOK_MS = 60_000;
const FEW_MS = 10_000;
const NO_MARK = { from: NaN, to: NaN };
const BACKWARDS = [-16, -4, -1];

const speedName = (speed) => ({ 0.25: '¼×', 0.5: '½×' })[speed] ?? `${speed}×`.replace('-', '−');
const inside = (x, low, high) => Math.min(high, Math.max(low, x));

export class Timeline {
  #app;
  #stream;
  #coverage = null;
  #questions = new Newest();
  #asking = null;
  #askTimer = 0;
  #timers = [];
  #pointers = new Map();
  #drag = null;
  #tipAt = null;
  #isFollowing = true;
  #mark = { ...NO_MARK };
  #shownError = '';
  #resize;

  /** `holder` is where pictures are shown; `onChange()` is told when the moment is another. */
  constructor(app, stream, holder, onChange) {
    this.#app = app;
    this.#stream = stream;
    this.recall = new Recall(app, stream, holder, () => {
      this.#changed();
      onChange();
    });
    const now = app.now();
    this.axis = new Axis(now - FIRST_SPAN_MS * LIVE_SHARE, now + FIRST_SPAN_MS * (1 - LIVE_SHARE));
    this.canvas = el('canvas', { 'aria-hidden': 'true' });
    this.band = new Band(this.canvas);
    this.tip = el('span', { class: 'track-tip', hidden: true });
    this.track = el('div', { class: 'track', role: 'slider', tabindex: 0, 'aria-label': t('timeline'), 'aria-orientation': 'horizontal' }, this.canvas, this.tip);
    this.element = el('section', { class: 'timeline', 'aria-label': t('timeline') }, this.#controls(), this.track, this.#foot());
    this.#listen();
    this.#resize = new ResizeObserver(([entry]) => {
      this.axis.width = Math.max(1, entry.contentRect.width);
      this.#seen();
    });
    this.#resize.observe(this.track);
    this.#timers.push(setInterval(() => this.#tick(), 1000), setInterval(this.#refresh, REFRESH_MS));
    document.addEventListener('visibilitychange', this.#refresh);
    this.#changed();
  }

  /** Nobody looks at a hidden page. */
  #refresh = () => {
    if (!document.hidden && this.axis.to >= this.#app.now() - REFRESH_MS) this.#ask();
  };

  #button(name, key, act, { picture = name } = {}) {
    const text = t(`timeline.${name}`);
    return el('button', { class: 'button icon-only', type: 'button', 'aria-label': text, title: `${text} (${key})`, on: { click: act } }, icon(picture));
  }

  #controls() {
    this.playButton = this.#button('play', '␣', () => this.#toggle());
    this.liveButton = el('button', { class: 'button live-button', type: 'button', title: `${t('timeline.live')} (L)`, on: { click: () => this.recall.live() } }, el('i', { class: 'dot' }), el('span', { text: t('state.live') }));
    this.speed = el('select', { class: 'button speed', 'aria-label': t('timeline.speed'), title: t('timeline.speed'), on: { change: () => this.#setSpeed(Number(this.speed.value)) } },
      ...[...BACKWARDS, ...SPEEDS].map((speed) => el('option', { value: speed, text: speedName(speed) })));
    this.field = el('input', { type: 'text', class: 'moment', placeholder: '14:03', 'aria-label': t('timeline.field'), title: t('timeline.field.title'), autocomplete: 'off', spellcheck: 'false', enterkeyhint: 'go' });
    this.field.addEventListener('keydown', (event) => event.key === 'Enter' && this.#typed());
    this.field.addEventListener('input', () => setAttribute(this.field, 'aria-invalid', null));
    // It runs on while something is played: read aloud it would never end.
    this.moment = el('output', { class: 'at', 'aria-live': 'off' });
    return el('div', { class: 'timeline-bar' },
      el('div', { class: 'group' }, this.#button('previous', '←', () => this.step(false), { picture: 'key-back' }), this.playButton, this.#button('next', '→', () => this.step(true), { picture: 'key-forward' }), this.speed, this.liveButton),
      this.moment,
      el('div', { class: 'group end' }, this.field, this.#button('out', '−', () => this.#zoom(ZOOM)), this.#button('in', '+', () => this.#zoom(1 / ZOOM))));
  }

  #foot() {
    this.note = el('span', { class: 'timeline-note', role: 'status' });
    this.exportButton = el('button', { class: 'button small', type: 'button', title: `${t('timeline.export')} (E)`, on: { click: () => this.#export() } }, icon('export'), el('span', { text: t('timeline.export') }));
    this.clearButton = el('button', { class: 'button small icon-only', type: 'button', 'aria-label': t('timeline.clear'), title: t('timeline.clear'), on: { click: () => this.#setMark({ ...NO_MARK }) } }, icon('close'));
    this.length = el('span', { class: 'clip-length' });
    const small = (name, key, act) => el('button', { class: 'button small', type: 'button', title: `${t(`timeline.${name}`)} (${key})`, text: t(`timeline.${name}.short`), on: { click: act } });
    return el('div', { class: 'timeline-foot' }, this.note,
      el('div', { class: 'group end' }, this.length, small('mark-in', 'I', () => this.#markAt('from')), small('mark-out', 'O', () => this.#markAt('to')), this.exportButton, this.clearButton));
  }

  #listen() {
    const { track } = this;
    const on = (event, handler) => track.addEventListener(event, handler);
    on('pointerdown', (event) => this.#down(event));
    on('pointermove', (event) => this.#move(event));
    on('pointerup', (event) => this.#up(event));
    on('pointercancel', (event) => this.#up(event));
    on('pointerleave', () => this.#showTip(null));
    on('wheel', (event) => this.#wheel(event));
  }

  // What is asked of the server.

  /** The stretch in view, and as much again on both sides, once the view rests. */
  #ask(delay = 0) {
    clearTimeout(this.#askTimer);
    this.#askTimer = setTimeout(() => this.#questions.run(() => this.#load()), delay);
  }

  async #load() {
    const { axis } = this;
    const [from, to] = [axis.from - axis.span / 2, axis.to + axis.span / 2];
    this.#asking = new AbortController();
    try {
      const isFirst = this.#coverage === null;
      this.#coverage = await this.recall.archive.coverage(from, to, 2 * axis.width, this.#asking.signal);
      this.#shownError = '';
      if (isFirst && this.#isFollowing && this.recall.isLive) this.#fit();
    } catch (error) {
      if (this.#asking.signal.aborted) return;
      this.#shownError = error.message;
    }
    this.#changed();
  }

  /** A camera that began just now has little to show: all of it is shown. */
  #fit() {
    const length = this.#present - this.#coverage.oldest;
    if (!(length < FIRST_SPAN_MS * LIVE_SHARE)) return;
    this.axis.zoom((Math.max(LEAST_SPAN_MS, length * 1.15)) / this.axis.span);
    this.axis.centre(this.#present, LIVE_SHARE);
  }

  // What is seen.

  get #present() {
    return this.#app.now();
  }

  get #at() {
    const { recall } = this;
    return recall.isLive ? this.#present - (Number.isFinite(this.#stream.age) ? Math.min(this.#stream.age, 60_000) : 0) : recall.at;
  }

  #tick() {
    if (this.recall.isLive && this.#isFollowing && !this.#drag) this.axis.centre(this.#present, LIVE_SHARE);
    this.#changed();
  }

  #seen() {
    const { oldest } = this.#coverage ?? {};
    this.axis.clamp(oldest, this.#present);
    this.#ask(SETTLE_MS);
    this.#changed();
  }

  #changed() {
    const { recall, axis } = this;
    const at = this.#at;
    if (recall.isPlaying && !this.#drag && this.#isFollowing && (at > axis.to || at < axis.from)) {
      axis.centre(at, recall.speed < 0 ? 0.9 : 0.1);
      this.#ask(SETTLE_MS);
    }
    this.band.draw({ axis, coverage: this.#coverage, at, isLive: recall.isLive, mark: this.#mark, now: this.#present });
    this.#showState(at);
    this.#showClip();
    if (this.#tipAt !== null) this.#showTip(this.#tipAt);
  }

  #showState(at) {
    const { recall, track } = this;
    setAttribute(this.element, 'data-mode', recall.mode);
    const { oldest, newest } = this.#coverage ?? {};
    const now = this.#present;
    setAttribute(track, 'aria-valuemin', Math.round(Number.isFinite(oldest) ? oldest : this.axis.from));
    setAttribute(track, 'aria-valuemax', Math.round(now));
    setAttribute(track, 'aria-valuenow', Math.round(at));
    const what = recall.isLive ? t('state.live') : recall.isPlaying ? t('timeline.playing', { speed: speedName(recall.speed) }) : t(recall.isExact ? 'timeline.recorded' : 'timeline.keyframe');
    const text = recall.isLive ? what : `${moment(at)} · ${what}${recall.isTwice ? ` · ${t('timeline.twice')}` : ''}`;
    setAttribute(track, 'aria-valuetext', recall.isLive ? `${what}, ${moment(at)}` : text);
    setText(this.moment, recall.isLive ? moment(at, false) : text);
    setAttribute(this.liveButton, 'aria-pressed', String(recall.isLive));
    const action = recall.isPlaying || recall.isLive ? 'pause' : 'play';
    if (this.playButton.dataset.action !== action) {
      this.playButton.dataset.action = action;
      setAttribute(this.playButton, 'aria-label', t(`timeline.${action}`));
      setAttribute(this.playButton, 'title', `${t(`timeline.${action}`)} (␣)`);
      this.playButton.replaceChildren(icon(action));
    }
    if (this.speed.value !== String(recall.speed)) this.speed.value = String(recall.speed);
    setText(this.note, this.#noteText(oldest, newest));
  }

  #noteText(oldest, newest) {
    if (this.#shownError) return t('timeline.unread', { why: this.#shownError });
    if (!this.#coverage) return t('timeline.loading');
    if (!Number.isFinite(oldest) || !Number.isFinite(newest)) return t('timeline.none');
    const text = t('timeline.since', { time: moment(oldest, false), length: span((newest - oldest) / 1000) });
    return this.#coverage.isComplete ? text : `${text} · ${t('timeline.incomplete')}`;
  }

  // Pointer and wheel.

  #x(event) {
    return event.clientX - this.track.getBoundingClientRect().left;
  }

  /** What is under the pointer: the playhead before the marks, both before the band. */
  #under(x) {
    const near = (at, grip) => Number.isFinite(at) && Math.abs(this.axis.x(at) - x) <= grip;
    const head = Math.abs(this.axis.x(this.#at) - x);
    for (const side of ['from', 'to']) if (near(this.#mark[side], GRIP_MARK) && Math.abs(this.axis.x(this.#mark[side]) - x) < head) return side;
    return near(this.#at, GRIP) ? 'head' : 'band';
  }

  #down(event) {
    if (event.button !== 0) return;
    this.track.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#x(event));
    const x = this.#x(event);
    this.#drag = this.#pointers.size > 1 ? { sort: 'pinch', span: this.#pinchSpan() } : { sort: this.#under(x), start: x, last: x, hasMoved: false };
    this.#showTip(null);
  }

  #pinchSpan() {
    const [a, b] = [...this.#pointers.values()];
    return Math.max(20, Math.abs(a - b));
  }

  #move(event) {
    const x = this.#x(event);
    if (!this.#pointers.has(event.pointerId)) {
      if (event.pointerType === 'mouse') this.#showTip(x);
      return;
    }
    this.#pointers.set(event.pointerId, x);
    const drag = this.#drag;
    if (!drag) return;
    if (drag.sort === 'pinch') {
      const [a, b] = [...this.#pointers.values()];
      const spanNow = this.#pinchSpan();
      this.axis.zoom(drag.span / spanNow, this.axis.at((a + b) / 2));
      drag.span = spanNow;
      this.#isFollowing = false;
      this.#seen();
      return;
    }
    if (!drag.hasMoved && Math.abs(x - drag.start) < CLICK_PIXELS) return;
    drag.hasMoved = true;
    if (drag.sort === 'band') {
      this.axis.pan(((drag.last - x) / this.axis.width) * this.axis.span);
      this.#isFollowing = false;
      this.#seen();
    } else if (drag.sort === 'head') this.recall.seek(this.#within(this.axis.at(inside(x, 0, this.axis.width))));
    else this.#setMark({ ...this.#mark, [drag.sort]: this.#within(this.axis.at(x)) });
    drag.last = x;
  }

  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    const drag = this.#drag;
    if (this.#pointers.size > 0) {
      // One finger of a pinch is left: it drags nothing.
      this.#drag = { sort: 'none' };
      return;
    }
    this.#drag = null;
    if (event.type === 'pointercancel' || !drag) return;
    if (drag.sort === 'head' && drag.hasMoved) this.goTo(this.recall.at);
    else if (!drag.hasMoved && drag.sort !== 'pinch' && drag.sort !== 'none') this.goTo(this.axis.at(drag.start));
  }

  #within(at) {
    const { oldest } = this.#coverage ?? {};
    return Math.min(this.#present, Number.isFinite(oldest) ? Math.max(oldest, at) : at);
  }

  #wheel(event) {
    event.preventDefault();
    this.#isFollowing = false;
    const isSideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    const pixels = (isSideways && event.deltaX ? event.deltaX : event.deltaY) * (event.deltaMode === 1 ? 16 : 1);
    if (isSideways) this.axis.pan((pixels / this.axis.width) * this.axis.span);
    else this.axis.zoom(Math.exp(inside(pixels, -240, 240) / 320), this.axis.at(this.#x(event)));
    this.#seen();
  }

  #zoom(factor) {
    // The playhead stays where it is, if it is to be seen.
    const at = this.#at;
    this.axis.zoom(factor, at >= this.axis.from && at <= this.axis.to ? at : undefined);
    this.#seen();
  }

  #showTip(x) {
    this.#tipAt = x;
    this.tip.hidden = x === null;
    setAttribute(this.track, 'data-under', x === null ? null : this.#under(x));
    if (x === null) return;
    const at = this.axis.at(x);
    setText(this.tip, [moment(at, this.axis.span < 120_000), this.#what(at)].filter(Boolean).join(' · '));
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${inside(x, half + 2, this.axis.width - half - 2)}px`;
  }

  /** What there is at a moment, where it is not ordinary footage. */
  #what(at) {
    if (!this.#coverage || at > this.#present) return '';
    const slack = (2 / this.axis.width) * this.axis.span;
    const gap = this.#coverage.gaps.find(({ from, to }) => at >= from - slack && at <= to + slack);
    if (gap) return [t('gap'), gapReason(gap.reason), gap.frames > 0 ? t('gap.frames', { n: gap.frames }) : '', span((gap.to - gap.from) / 1000)].filter(Boolean).join(' · ');
    return this.#coverage.footage.some(({ from, to }) => at >= from - slack && at <= to + slack) ? '' : t('timeline.nothing');
  }

  // What can be done.

  /** The exact picture of a moment; playing goes on from there. */
  goTo(at, { isToShow = false } = {}) {
    const within = this.#within(at);
    this.#isFollowing = true;
    if (isToShow && (within < this.axis.from || within > this.axis.to)) {
      this.axis.centre(within);
      this.#seen();
    }
    if (this.recall.isPlaying) this.recall.play(this.recall.speed, within);
    else this.recall.settle(within);
  }

  #typed() {
    const at = parseMoment(this.field.value, this.#present);
    setAttribute(this.field, 'aria-invalid', at === null ? 'true' : null);
    if (at === null) {
      this.#app.say(t('timeline.field.wrong'), true);
      return;
    }
    this.goTo(at, { isToShow: true });
    this.field.value = '';
    this.track.focus();
  }

  #toggle() {
    if (this.recall.isPlaying || this.recall.isLive) this.recall.pause();
    else this.recall.play();
  }

  #setSpeed(speed) {
    if (this.recall.isLive || this.recall.isPlaying) this.recall.play(speed);
    else {
      this.recall.speed = speed;
      this.#changed();
    }
  }

  /** To the keyframe before or after the moment shown; the server is asked where the ones known are too few. */
  async step(isForward) {
    const at = this.#at;
    const { from, to, isThinned, keyframes } = this.#coverage ?? { keyframes: [], isThinned: true };
    const known = !isThinned && at > from && at < to ? neighbour(keyframes, at, isForward) : null;
    let found = known;
    if (found === null) {
      const [begin, end] = isForward ? [at, at + LOOK_MS] : [at - LOOK_MS, at];
      found = await this.recall.archive.coverage(begin, end, 4096).then((coverage) => neighbour(coverage.keyframes, at, isForward), () => null);
    }
    if (found !== null) this.#settleAt(found);
    else if (isForward) this.recall.live();
  }

  #settleAt(at) {
    const within = this.#within(at);
    if (within < this.axis.from || within > this.axis.to) {
      this.axis.centre(within);
      this.#seen();
    }
    this.recall.settle(within);
  }

  #markAt(side) {
    const at = this.#at;
    const other = side === 'from' ? 'to' : 'from';
    const mark = { ...this.#mark, [side]: at };
    // Marks that have changed places: the older one begins anew.
    if (mark.from > mark.to) mark[other] = NaN;
    this.#setMark(mark);
  }

  #setMark(mark) {
    this.#mark = mark.from > mark.to ? { from: mark.to, to: mark.from } : mark;
    this.#changed();
  }

  get #clip() {
    const { from, to } = this.#mark;
    return to - from > 0 ? { from, to, seconds: (to - from) / 1000 } : null;
  }

  #showClip() {
    const clip = this.#clip;
    const isMarked = Number.isFinite(this.#mark.from) || Number.isFinite(this.#mark.to);
    this.exportButton.disabled = clip === null;
    this.clearButton.hidden = !isMarked;
    const size = clip && (clip.seconds * this.#stream.stat.mbit * 1e6) / 8;
    setText(this.length, clip ? t('timeline.length', { length: span(clip.seconds), size: bytes(size) }) : isMarked ? t('timeline.half') : '');
  }

  async #export() {
    const clip = this.#clip;
    if (!clip) {
      this.#app.say(t('timeline.mark-first'));
      return;
    }
    await saveClip(this.recall.archive, clip.from, clip.to, this.#app.say);
  }

  key(event) {
    const isOnControl = event.target.closest?.('button, select, a, pre, [role=tablist]') && !this.track.contains(event.target);
    const far = (sign) => this.goTo(this.#at + sign * FEW_MS, { isToShow: true });
    const keys = {
      ' ': () => this.#toggle(),
      ArrowLeft: () => (event.shiftKey ? far(-1) : this.step(false)),
      ArrowRight: () => (event.shiftKey ? far(1) : this.step(true)),
      l: () => this.recall.live(),
      i: () => this.#markAt('from'),
      o: () => this.#markAt('to'),
      e: () => this.#export(),
      '+': () => this.#zoom(1 / ZOOM),
      '-': () => this.#zoom(ZOOM),
    };
    const onTrack = { Home: () => this.goTo(this.#coverage?.oldest ?? this.axis.from, { isToShow: true }), End: () => this.recall.live(), PageUp: () => far(-6), PageDown: () => far(6) };
    const act = keys[event.key] ?? keys[event.key.toLowerCase()] ?? (event.target === this.track ? onTrack[event.key] : null);
    // Space and arrows belong to a control that has the focus.
    if (!act || (isOnControl && (event.key === ' ' || event.key.startsWith('Arrow')))) return false;
    act();
    return true;
  }

  close() {
    this.#timers.forEach(clearInterval);
    document.removeEventListener('visibilitychange', this.#refresh);
    clearTimeout(this.#askTimer);
    this.#asking?.abort();
    this.#questions.close();
    this.#resize.disconnect();
    this.recall.close();
    this.element.remove();
  }
}

