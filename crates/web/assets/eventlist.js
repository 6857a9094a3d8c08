// Events as rows, the newest first, under the headings of their days.

import { Archive } from './archive.js';
import { saveClip } from './clip.js';
import { el, icon, setAttribute, setText } from './dom.js';
import { clock } from './format.js';
import { language, t } from './i18n.js';
import { eventDetail, eventIcon, eventText } from './occurrences.js';
import { Thumbs } from './thumbs.js';
import { cameraPath } from './tile.js';

/** A recording is opened this long before what happened. */
const BEFORE_MS = 3000;
/** Keyframes are seldom: the one of this long after shows what appeared rather than what was before. */
const PICTURE_AFTER_MS = 1000;
const CLIP_MARGIN_MS = 5000;
/** A clip of something whose end is not known. */
const CLIP_MS = 15_000;
const MAX_CLIP_MS = 3_600_000;

const dayOf = (at) => new Date(at).setHours(0, 0, 0, 0);

function dayName(day, now) {
  const days = Math.round((dayOf(now) - day) / 86_400_000);
  const date = new Date(day).toLocaleDateString(language(), { weekday: 'long', day: 'numeric', month: 'long', year: new Date(now).getFullYear() === new Date(day).getFullYear() ? undefined : 'numeric' });
  return days === 0 || days === 1 ? `${t(days === 0 ? 'event.today' : 'event.yesterday')} · ${date}` : date;
}

/** One event. */
class Row {
  hasNone = false;

  constructor(app, event) {
    this.app = app;
    this.canvas = el('canvas', { hidden: true });
    this.mark = el('span', { class: 'event-mark' });
    this.what = el('b', {});
    this.detail = el('span', { class: 'event-detail' });
    this.who = el('span', { class: 'event-camera' });
    this.time = el('time', {});
    this.link = el('a', { class: 'event-link', tabindex: -1 },
      el('span', { class: 'event-picture', 'aria-hidden': 'true' }, icon('snapshot'), this.canvas), this.mark,
      el('span', { class: 'event-what' }, this.what, this.detail), this.who, this.time);
    this.save = el('button', { class: 'button icon-only', type: 'button', tabindex: -1, on: { click: () => this.export() } }, icon('export'));
    this.element = el('li', { class: 'event' }, this.link, this.save);
    this.element.row = this;
    this.set(event);
  }

  set(event) {
    this.event = event;
    setAttribute(this.element, 'data-kind', event.kind);
    setAttribute(this.element, 'data-state', event.state || null);
    setAttribute(this.element, 'data-open', event.isOpen ? '' : null);
    this.mark.replaceChildren(icon(eventIcon(event)));
    setText(this.what, eventText(event));
    setText(this.detail, eventDetail(event));
    // The date is in the heading.
    setText(this.time, new Date(event.at).toLocaleTimeString(language(), { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }));
    setAttribute(this.time, 'datetime', new Date(event.at).toISOString());
    setAttribute(this.time, 'title', clock(event.at));
    this.setStream();
  }

  get stream() {
    const stream = this.event.n === null ? null : this.app.store.streams.get(this.event.n);
    return stream?.facts.camera === this.event.camera ? stream : null;
  }

  /** Names come with the list of streams, which may come later or change. */
  setStream() {
    const { stream, event } = this;
    setText(this.who, stream?.facts.name ?? event.camera);
    const isOnly = this.app.store.ofCamera(event.camera).length < 2;
    const path = stream && cameraPath(stream.facts, isOnly);
    setAttribute(this.link, 'href', path && `${path}${isOnly ? '?' : '&'}at=${Math.round(event.at - BEFORE_MS)}`);
    this.save.disabled = !stream || stream.facts.isSealed;
    const words = [this.who.textContent, this.what.textContent, this.detail.textContent].filter(Boolean).join(', ');
    setAttribute(this.link, 'aria-label', `${words}, ${this.time.textContent}`);
    const label = `${t('timeline.export')}: ${words}`;
    setAttribute(this.save, 'aria-label', label);
    setAttribute(this.save, 'title', `${t('timeline.export')} (E)`);
  }

  /** For `Thumbs`. */
  async askPicture(signal) {
    if (!this.stream || this.stream.facts.isSealed) throw new Error('nothing to show');
    return (await new Archive(this.stream.facts).picture(this.event.at + PICTURE_AFTER_MS, false, signal)).blob;
  }

  async export() {
    const { stream, event, app } = this;
    if (!stream || this.save.disabled) return;
    const length = event.kind === 'presence' && Number.isFinite(event.lasted) ? event.lasted : CLIP_MS - CLIP_MARGIN_MS;
    const from = event.at - CLIP_MARGIN_MS;
    await saveClip(new Archive(stream.facts), from, Math.min(event.at + length + CLIP_MARGIN_MS, from + MAX_CLIP_MS, app.now()), app.say);
  }
}

export class EventList {
  #rows = new Map();
  #days = new Map();
  #thumbs = new Thumbs();
  #seen;

  constructor(app) {
    this.app = app;
    this.element = el('div', { class: 'event-days' });
    this.element.addEventListener('focusin', (event) => this.#rove(event.target.closest('.event')));
    this.#seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) isIntersecting ? this.#thumbs.want(target.row) : this.#thumbs.leave(target.row);
    }, { rootMargin: '120px' });
  }

  get size() {
    return this.#rows.size;
  }

  has(id) {
    return this.#rows.has(id);
  }

  get elements() {
    return [...this.element.querySelectorAll('.event')];
  }

  /** The oldest event shown. */
  get last() {
    return this.elements.at(-1)?.row.event ?? null;
  }

  /** Puts an event into its place, or shows what has changed of it. */
  put(event) {
    const known = this.#rows.get(event.id);
    if (known) {
      known.set(event);
      return known;
    }
    const row = new Row(this.app, event);
    this.#rows.set(event.id, row);
    const { list } = this.#day(dayOf(event.at));
    const isOlder = (element) => element.row.event.at <= event.at;
    // Almost always at an end: pages come oldest last, news first.
    const before = list.lastElementChild && !isOlder(list.lastElementChild) ? null : [...list.children].find(isOlder) ?? null;
    list.insertBefore(row.element, before);
    this.#seen.observe(row.element);
    if (this.#rows.size === 1) this.#rove(row.element);
    return row;
  }

  change(event) {
    this.#rows.get(event.id)?.set(event);
  }

  #day(day) {
    const known = this.#days.get(day);
    if (known) return known;
    const heading = el('h2', { class: 'event-day', text: dayName(day, this.app.now()) });
    const list = el('ol', { class: 'event-rows' });
    const made = { list, section: el('section', { 'aria-label': heading.textContent }, heading, list) };
    this.#days.set(day, made);
    const [after] = [...this.#days.keys()].filter((other) => other < day).sort((a, b) => b - a);
    this.element.insertBefore(made.section, after === undefined ? null : this.#days.get(after).section);
    return made;
  }

  /** Takes the oldest rows away beyond so many. */
  trim(most) {
    for (const { row } of this.elements.slice(most)) this.#remove(row);
  }

  #remove(row) {
    this.#seen.unobserve(row.element);
    this.#thumbs.forget(row);
    this.#rows.delete(row.event.id);
    row.element.remove();
    for (const [day, { section, list }] of this.#days) if (list.children.length === 0) this.#days.delete(day), section.remove();
  }

  clear() {
    this.trim(0);
  }

  setStreams() {
    for (const row of this.#rows.values()) row.setStream();
  }

  /** Rows in view, from the top. */
  revive() {
    // A row whose stream was not known yet had nothing to ask for.
    for (const row of this.#rows.values()) if (row.hasNone && row.canvas.hidden) row.hasNone = false, this.#seen.unobserve(row.element), this.#seen.observe(row.element);
  }

  // Keyboard: one row is in the tab order, arrows move.

  #rove(element) {
    if (!element) return;
    for (const stop of this.element.querySelectorAll('[tabindex="0"]')) stop.tabIndex = -1;
    element.row.link.tabIndex = 0;
    element.row.save.tabIndex = 0;
  }

  focus(element) {
    if (!element) return;
    this.#rove(element);
    element.row.link.focus();
    element.scrollIntoView({ block: 'nearest' });
  }

  /** Takes a key of a row that has the focus; whether it was one. */
  key(event) {
    const rows = this.elements;
    const at = rows.indexOf(event.target.closest?.('.event'));
    const keys = { ArrowDown: () => this.focus(rows[at + 1]), ArrowUp: () => this.focus(rows[Math.max(0, at - 1)]), Home: () => this.focus(rows[0]), End: () => this.focus(rows.at(-1)) };
    if (at >= 0) keys.e = () => rows[at].row.export();
    const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
    act?.();
    return act !== null;
  }

  close() {
    this.#seen.disconnect();
    this.#thumbs.close();
  }
}
