// Timeline: all cameras over one axis of time. A click opens a camera at that moment.

import { Archive } from './archive.js';
import { Axis } from './axis.js';
import { Band } from './band.js';
import { el, icon, setAttribute, setText } from './dom.js';
import { moment } from './format.js';
import { gapReason, t } from './i18n.js';
import { PlainScreen } from './plain.js';
import { cameraPath } from './tile.js';

const FIRST_SPAN_MS = 3_600_000;
const LIVE_SHARE = 0.97;
const REFRESH_MS = 5000;
const SETTLE_MS = 150;
/** Cameras asked about at the same time. */
const AT_ONCE = 2;
const CLICK_PIXELS = 4;
/** One press of an arrow, as a share of what is shown; with Shift it is ten times as far. */
const STEP = 1 / 60;
const ZOOM = 1.6;
const RANGES = [['15m', 15 * 60_000], ['1h', 3_600_000], ['6h', 6 * 3_600_000], ['1d', 86_400_000], ['7d', 7 * 86_400_000]];
const NO_MARK = { from: NaN, to: NaN };

/** One camera's band, with its name. */
class Row {
  coverage = null;
  isSeen = false;

  constructor(screen, stream, isOnlyStream) {
    this.stream = stream;
    this.archive = new Archive(stream.facts);
    this.canvas = el('canvas', { 'aria-hidden': 'true' });
    this.band = new Band(this.canvas, { isPlain: true });
    this.tip = el('span', { class: 'track-tip', hidden: true });
    const more = isOnlyStream ? '' : ` · ${stream.facts.topic}${stream.facts.stream === 'main' ? '' : `/${stream.facts.stream}`}`;
    this.name = el('a', { class: 'row-name', href: cameraPath(stream.facts, isOnlyStream) }, el('span', { text: stream.facts.name + more }), el('small', { text: stream.facts.group }));
    this.track = el('div', { class: 'row-track', role: 'slider', tabindex: 0, 'aria-label': `${stream.facts.name + more}, ${t('timeline')}`, 'aria-orientation': 'horizontal' }, this.canvas, this.tip);
    this.element = el('li', { class: 'row', 'data-n': stream.facts.n }, this.name, this.track);
    screen.listen(this);
  }

  /** `at`: the moment that the keyboard is at, NaN in other rows. */
  draw(axis, now, at) {
    this.band.draw({ axis, coverage: this.coverage, at, isLive: false, mark: NO_MARK, now });
  }

  get hasFocus() {
    return document.activeElement === this.track;
  }
}

export class OverviewScreen extends PlainScreen {
  #rows = new Map();
  #stops = [];
  #timers = [];
  #isAsking = false;
  #isStale = false;
  #isFollowing = true;
  /** The moment that the keyboard is at, the same in every row. */
  #cursor = NaN;
  #settle = 0;
  #drag = null;
  #seen;
  #resize;
  #isClosed = false;

  constructor(app) {
    super(app);
    const now = app.now();
    this.axis = new Axis(now - FIRST_SPAN_MS * LIVE_SHARE, now + FIRST_SPAN_MS * (1 - LIVE_SHARE));
    this.ruler = el('canvas', { 'aria-hidden': 'true' });
    this.rulerBand = new Band(this.ruler);
    this.ranges = el('div', { class: 'chips-row', role: 'group', 'aria-label': t('overview.range') }, ...RANGES.map(([name, millis]) => el('button', { class: 'pill', type: 'button', 'data-span': millis, text: t(`overview.${name}`), on: { click: () => this.#show(millis) } })));
    this.live = el('button', { class: 'button live-button', type: 'button', on: { click: () => this.#show(this.axis.span) } }, el('i', { class: 'dot' }), el('span', { text: t('overview.now') }));
    const step = (name, act) => el('button', { class: 'button icon-only', type: 'button', 'aria-label': t(`timeline.${name}`), title: t(`timeline.${name}`), on: { click: act } }, icon(name));
    this.list = el('ol', { class: 'rows' });
    this.nothing = el('div', { class: 'nothing', hidden: true }, icon('timeline'), el('p', { text: t('timeline.none') }));
    this.element = el('div', { class: 'overview timeline' },
      el('header', { class: 'overview-head' }, el('h1', { text: t('nav.timeline') }), this.ranges, el('div', { class: 'group end' }, this.live, step('out', () => this.#zoom(ZOOM)), step('in', () => this.#zoom(1 / ZOOM)))),
      el('div', { class: 'row row-ruler' }, el('span', { class: 'row-name', text: '' }), el('div', { class: 'row-track' }, this.ruler)),
      this.list, this.nothing, el('p', { class: 'faint', text: t('overview.hint') }));
    this.#seen = new IntersectionObserver((entries) => this.#noticed(entries), { rootMargin: '200px' });
    this.#resize = new ResizeObserver(([entry]) => {
      this.axis.width = Math.max(1, entry.contentRect.width);
      this.#moved();
    });
  }

  mount() {
    this.#stops.push(this.app.store.on('streams', () => this.#streams()));
    this.#resize.observe(this.ruler.parentElement);
    const isGrowing = () => !document.hidden && this.axis.to >= this.app.now() - REFRESH_MS;
    const refresh = () => isGrowing() && this.#ask();
    this.#timers.push(setInterval(() => this.#tick(), 1000), setInterval(refresh, REFRESH_MS));
    document.addEventListener('visibilitychange', refresh);
    this.#stops.push(() => document.removeEventListener('visibilitychange', refresh));
    this.#streams();
  }

  unmount() {
    this.#isClosed = true;
    this.#stops.forEach((stop) => stop());
    this.#timers.forEach(clearInterval);
    clearTimeout(this.#settle);
    this.#seen.disconnect();
    this.#resize.disconnect();
  }

  #streams() {
    const { store } = this.app;
    const sorted = store.sorted.filter(({ facts }) => facts.topic && !facts.isSealed);
    const perCamera = new Map();
    for (const { facts } of sorted) perCamera.set(facts.camera, (perCamera.get(facts.camera) ?? 0) + 1);
    const rows = new Map();
    for (const stream of sorted) {
      const known = this.#rows.get(stream.facts.n);
      const row = known?.stream === stream ? known : new Row(this, stream, perCamera.get(stream.facts.camera) === 1);
      if (row !== known) this.#seen.observe(row.element);
      rows.set(stream.facts.n, row);
    }
    const before = [...this.#rows.values()];
    const focused = before.find((row) => row.element.contains(document.activeElement));
    const part = focused?.hasFocus ? 'track' : 'name';
    for (const row of before) if (rows.get(row.stream.facts.n) !== row) this.#seen.unobserve(row.element);
    this.#rows = rows;
    const elements = [...rows.values()].map((row) => row.element);
    if (elements.length !== this.list.children.length || elements.some((element, n) => this.list.children[n] !== element)) this.list.replaceChildren(...elements);
    // What is taken out and put in again has lost the focus.
    const again = focused && rows.get(focused.stream.facts.n);
    if (again && !again.element.contains(document.activeElement)) again[part].focus({ preventScroll: true });
    this.nothing.hidden = rows.size > 0 || !store.isListed;
    this.#moved();
  }

  #noticed(entries) {
    for (const { target, isIntersecting } of entries) {
      const row = this.#rows.get(Number(target.dataset.n));
      if (row) row.isSeen = isIntersecting;
    }
    this.#moved();
  }

  #tick() {
    if (this.#isFollowing && !this.#drag) this.axis.centre(this.app.now(), LIVE_SHARE);
    this.#draw();
  }

  #show(millis) {
    this.axis.zoom(millis / this.axis.span);
    this.axis.centre(this.app.now(), LIVE_SHARE);
    this.#isFollowing = true;
    this.#moved();
  }

  #zoom(factor, fixed = this.#isFollowing ? this.app.now() : undefined) {
    this.axis.zoom(factor, fixed);
    this.#moved();
  }

  /** Another stretch, or other rows, are to be seen. */
  #moved() {
    this.axis.clamp(NaN, this.app.now());
    this.#draw();
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => this.#ask(), SETTLE_MS);
  }

  #draw() {
    const now = this.app.now();
    this.rulerBand.draw({ axis: this.axis, coverage: null, at: NaN, isLive: true, mark: NO_MARK, now, isRuler: true });
    for (const row of this.#rows.values()) if (row.isSeen) this.#drawRow(row, now);
    setAttribute(this.live, 'aria-pressed', String(this.#isFollowing));
    for (const button of this.ranges.children) setAttribute(button, 'aria-pressed', String(Math.abs(Number(button.dataset.span) / this.axis.span - 1) < 0.01));
  }

  #drawRow(row, now) {
    row.draw(this.axis, now, row.hasFocus ? this.#cursor : NaN);
    const at = this.#within(this.#cursor, now);
    setAttribute(row.track, 'aria-valuemin', Math.round(Math.min(this.axis.from, at)));
    setAttribute(row.track, 'aria-valuemax', Math.round(Math.max(now, at)));
    setAttribute(row.track, 'aria-valuenow', Math.round(at));
    setAttribute(row.track, 'aria-valuetext', this.#what(row, at));
    if (row.hasFocus && Number.isFinite(this.#cursor)) this.#tip(row, this.axis.x(this.#cursor));
  }

  /** A moment that can be opened; before the keyboard was anywhere, the middle of what is shown. */
  #within(at, now) {
    return Math.min(now, Number.isFinite(at) ? at : (this.axis.from + this.axis.to) / 2);
  }

  /** Asks for what the rows in view need, few at a time; wishes that come meanwhile make one more round. */
  async #ask() {
    this.#isStale = true;
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#isStale && !this.#isClosed) {
      this.#isStale = false;
      const waiting = [...this.#rows.values()].filter((row) => row.isSeen);
      const [from, to] = [this.axis.from - this.axis.span / 4, this.axis.to + this.axis.span / 4];
      const work = async () => {
        while (waiting.length > 0 && !this.#isClosed) {
          const row = waiting.shift();
          row.coverage = await row.archive.coverage(from, to, this.axis.width).catch(() => row.coverage);
          this.#drawRow(row, this.app.now());
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
    }
    this.#isAsking = false;
  }

  listen(row) {
    const { track } = row;
    const x = (event) => event.clientX - track.getBoundingClientRect().left;
    const on = (event, handler) => track.addEventListener(event, handler);
    on('pointerdown', (event) => {
      if (event.button !== 0) return;
      track.setPointerCapture(event.pointerId);
      this.#drag = { start: x(event), last: x(event), hasMoved: false };
    });
    on('pointermove', (event) => {
      const at = x(event);
      if (!this.#drag) {
        if (event.pointerType === 'mouse') this.#tip(row, at);
        return;
      }
      if (!this.#drag.hasMoved && Math.abs(at - this.#drag.start) < CLICK_PIXELS) return;
      this.#drag.hasMoved = true;
      this.#isFollowing = false;
      row.tip.hidden = true;
      this.axis.pan(((this.#drag.last - at) / this.axis.width) * this.axis.span);
      this.#drag.last = at;
      this.#moved();
    });
    on('pointerup', (event) => {
      const drag = this.#drag;
      this.#drag = null;
      if (drag && !drag.hasMoved) this.#open(row, this.axis.at(x(event)));
    });
    on('pointercancel', () => (this.#drag = null));
    on('pointerleave', () => (row.tip.hidden = true));
    on('focus', () => {
      // Who comes by pointer has a pointer.
      if (track.matches(':focus-visible')) this.#move(row, this.#within(this.#cursor, this.app.now()));
    });
    on('blur', () => {
      row.tip.hidden = true;
      this.#draw();
    });
    on('wheel', (event) => {
      if (!event.ctrlKey && !event.shiftKey && Math.abs(event.deltaX) < Math.abs(event.deltaY)) return;
      event.preventDefault();
      this.#isFollowing = false;
      if (event.ctrlKey) this.#zoom(Math.exp(event.deltaY / 320), this.axis.at(x(event)));
      else {
        this.axis.pan(((event.deltaX || event.deltaY) / this.axis.width) * this.axis.span);
        this.#moved();
      }
    });
  }

  /** A moment in words, and what there is of it where that is not footage. */
  #what(row, at) {
    const slack = (2 / this.axis.width) * this.axis.span;
    const isAt = ({ from, to }) => at >= from - slack && at <= to + slack;
    const gap = row.coverage?.gaps.find(isAt);
    const isMissing = row.coverage && !gap && !row.coverage.footage.some(isAt);
    return [moment(at, false), gap ? `${t('gap')} · ${gapReason(gap.reason)}` : isMissing ? t('timeline.nothing') : ''].filter(Boolean).join(' · ');
  }

  #tip(row, x) {
    const at = this.axis.at(x);
    row.tip.hidden = at > this.app.now() || x < 0 || x > this.axis.width;
    setText(row.tip, this.#what(row, at));
    const half = row.tip.offsetWidth / 2;
    row.tip.style.left = `${Math.min(this.axis.width - half - 2, Math.max(half + 2, x))}px`;
  }

  #open(row, at) {
    const path = row.name.getAttribute('href');
    const isRecorded = at < this.app.now() - 1000;
    this.app.go(isRecorded ? `${path}${path.includes('?') ? '&' : '?'}at=${Math.round(at)}` : path);
  }

  /** The keyboard's moment goes there, and the view with it. */
  #move(row, to) {
    this.#cursor = Math.min(this.app.now(), to);
    if (this.#cursor < this.axis.from || this.#cursor > this.axis.to) {
      this.#isFollowing = false;
      this.axis.centre(this.#cursor);
    }
    this.#moved();
  }

  #keyInRow(row, event) {
    const rows = [...this.#rows.values()];
    const step = STEP * this.axis.span * (event.shiftKey ? 10 : 1);
    const at = this.#within(this.#cursor, this.app.now());
    const beside = (by) => rows[rows.indexOf(row) + by]?.track.focus();
    const oldest = row.coverage?.oldest;
    const keys = {
      ArrowLeft: () => this.#move(row, at - step), ArrowRight: () => this.#move(row, at + step),
      PageUp: () => this.#move(row, at - this.axis.span / 4), PageDown: () => this.#move(row, at + this.axis.span / 4),
      Home: () => this.#move(row, Number.isFinite(oldest) ? oldest : this.axis.from), End: () => this.#move(row, this.app.now()),
      ArrowUp: () => beside(-1), ArrowDown: () => beside(1),
      Enter: () => this.#open(row, at), ' ': () => this.#open(row, at),
      '+': () => this.#zoom(1 / ZOOM, at), '-': () => this.#zoom(ZOOM, at),
    };
    keys[event.key]?.();
    return Object.hasOwn(keys, event.key);
  }

  key(event) {
    const row = [...this.#rows.values()].find(({ track }) => track === event.target);
    if (row && this.#keyInRow(row, event)) return true;
    const keys = { '+': () => this.#zoom(1 / ZOOM), '-': () => this.#zoom(ZOOM), ArrowLeft: () => this.#pan(-0.2), ArrowRight: () => this.#pan(0.2) };
    if (!Object.hasOwn(keys, event.key)) return super.key(event);
    keys[event.key]();
    return true;
  }

  #pan(share) {
    this.#isFollowing = false;
    this.axis.pan(share * this.axis.span);
    this.#moved();
  }
}
