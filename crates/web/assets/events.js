// Events: what analysis saw happen, the newest first; a click opens the recording a little before the moment.

import { el, icon, setAttribute, setText } from './dom.js';
import { EventList } from './eventlist.js';
import { number } from './format.js';
import { t } from './i18n.js';
import { className, readEvents, readHappened } from './occurrences.js';
import { PlainScreen } from './plain.js';
import { TROUBLES } from './wire.js';

const PAGE = 50;
const MAX_PAGE = 200;
/** Rows on the page; beyond that, filters lead to what is older. */
const MAX_ROWS = 1000;
const MAX_PENDING = 500;
const KINDS = ['presence', 'health'];
/** Nearer to the top than this, new rows come by themselves. */
const TOP_PIXELS = 24;

/** Where the visitor was before opening an event: coming back leads there. */
let left = null;
let nextId = 1;

const dayBegin = (text) => (/^\d{4}-\d\d-\d\d$/.test(text) ? new Date(`${text}T00:00:00`) : null);

export class EventsScreen extends PlainScreen {
  #stops = [];
  #pending = new Map();
  #classes = [];
  #id = 0;
  #isFirst = true;
  #hasMore = false;
  #isAsking = false;
  #isCut = false;
  #state = 'reading';
  #reason = '';
  #back = null;

  constructor(app, search) {
    super(app);
    const asked = (name) => search.get(name) ?? '';
    this.filter = { camera: asked('camera'), kind: KINDS.includes(asked('kind')) ? asked('kind') : '', what: asked('what'), day: dayBegin(asked('day')) ? asked('day') : '' };
    this.list = new EventList(app);
    this.kinds = el('div', { class: 'chips-row', role: 'group', 'aria-label': t('events.kind') }, ...['', ...KINDS].map((kind) => el('button', { class: 'pill', type: 'button', 'data-kind': kind, text: t(`events.kind.${kind || 'all'}`), on: { click: () => this.#set({ kind, what: '' }) } })));
    const chosen = (name) => (event) => this.#set({ [name]: event.target.value });
    this.camera = el('select', { class: 'button choice', 'aria-label': t('events.camera'), on: { change: chosen('camera') } });
    this.what = el('select', { class: 'button choice', 'aria-label': t('events.what'), on: { change: chosen('what') } });
    this.day = el('input', { class: 'button choice', type: 'date', 'aria-label': t('events.day'), title: t('events.day'), on: { change: chosen('day') } });
    this.clear = el('button', { class: 'button icon-only', type: 'button', 'aria-label': t('events.clear'), title: t('events.clear'), on: { click: () => this.#clear() } }, icon('close'));
    this.news = el('button', { class: 'new-pill', type: 'button', hidden: true, on: { click: () => this.#showNews() } }, icon('up'), el('span', {}));
    this.nothing = el('div', { class: 'nothing', hidden: true });
    this.end = el('p', { class: 'events-end faint', hidden: true });
    this.sentinel = el('div', { class: 'events-more', 'aria-hidden': 'true' });
    this.element = el('div', { class: 'events' },
      el('header', { class: 'events-head' }, el('h1', { text: t('nav.events') }), this.kinds, el('div', { class: 'events-filters' }, this.camera, this.what, this.day, this.clear)),
      el('div', { class: 'events-news', role: 'status' }, this.news), this.nothing, this.list.element, this.end, this.sentinel);
    this.more = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && this.#older(), { rootMargin: '800px' });
    this.list.element.addEventListener('click', (event) => this.#leaving(event));
  }

  mount() {
    const on = (topic, handler) => this.#stops.push(this.app.store.on(topic, handler));
    on('events', (message) => this.#answered(readEvents(message)));
    on('happened', (message) => this.#happened(readHappened(message)));
    on('link', () => this.app.store.link.state === 'open' && this.#reset());
    on('streams', () => this.#streams());
    this.more.observe(this.sentinel);
    this.#back = left?.address === location.search ? left : null;
    left = null;
    this.#choices();
    this.#reset();
  }

  unmount() {
    this.#stops.forEach((stop) => stop());
    this.more.disconnect();
    this.list.close();
    this.app.link.ask({ type: 'events', id: nextId++, limit: 0, follow: false });
  }

  /** An event is opened: coming back shows as many, and the same one. */
  #leaving(event) {
    const row = event.target.closest('.event-link')?.closest('.event')?.row;
    if (row) left = { address: location.search, id: row.event.id, rows: Math.min(this.list.size, MAX_PAGE) };
  }

  // Filters.

  #set(change) {
    Object.assign(this.filter, change);
    const { what, kind } = this.filter;
    // What is chosen says of which kind it is.
    if (what && !kind) this.filter.kind = TROUBLES.includes(what) || what === 'ok' ? 'health' : 'presence';
    const search = new URLSearchParams(Object.entries(this.filter).filter(([, value]) => value));
    history.replaceState(history.state, '', `/events${search.size > 0 ? `?${search}` : ''}`);
    window.scrollTo(0, 0);
    this.#choices();
    this.#reset();
  }

  get #isFiltered() {
    return Object.values(this.filter).some(Boolean);
  }

  #clear() {
    this.#set({ camera: '', kind: '', what: '', day: '' });
    this.kinds.firstChild.focus();
  }

  #choices() {
    const { camera, kind, what, day } = this.filter;
    for (const pill of this.kinds.children) setAttribute(pill, 'aria-pressed', String(pill.dataset.kind === kind));
    const option = (value, name) => [value, name];
    const cameras = new Map(this.app.store.sorted.map(({ facts }) => option(facts.camera, facts.name)));
    if (camera && !cameras.has(camera)) cameras.set(camera, camera);
    fillSelect(this.camera, [option('', t('events.camera.all')), ...cameras], camera);
    const classes = kind === 'health' ? [] : [...new Set([...this.#classes, ...(kind === 'presence' && what ? [what] : [])])].map((name) => option(name, className(name)));
    const states = kind === 'presence' ? [] : [...TROUBLES, 'ok'].map((state) => option(state, t(`event.${state}`)));
    fillSelect(this.what, [option('', t('events.what.all')), ...classes, ...states], what);
    if (this.day.value !== day) this.day.value = day;
    this.clear.hidden = !this.#isFiltered;
  }

  #question() {
    const { camera, kind, what, day } = this.filter;
    const from = dayBegin(day);
    const to = from && new Date(from.getFullYear(), from.getMonth(), from.getDate() + 1);
    return { ...(camera && { camera }), ...(kind && { kind }), ...(what && { [kind === 'health' ? 'state' : 'class']: what }), ...(from && { from_ms: from.getTime(), to_ms: to.getTime() - 1 }) };
  }

  #matches(event) {
    const { camera, kind, class: name, state, from_ms: from, to_ms: to } = this.#question();
    return (!camera || event.camera === camera) && (!kind || event.kind === kind) && (!name || event.class === name) && (!state || event.state === state)
      && (!from || (event.at >= from && event.at <= to));
  }

  // What the server is asked, and says.

  #reset() {
    this.#isFirst = true;
    this.#hasMore = false;
    this.#pending.clear();
    this.#showPill();
    this.#ask({ limit: Math.max(PAGE, this.#back?.rows ?? 0) });
  }

  #ask(more) {
    this.#id = nextId++;
    this.#isAsking = true;
    setAttribute(this.list.element, 'aria-busy', 'true');
    this.app.link.ask({ type: 'events', id: this.#id, limit: PAGE, follow: true, ...this.#question(), ...more });
  }

  #older() {
    const { last } = this.list;
    if (this.#isAsking || !this.#hasMore || !last || this.list.size >= MAX_ROWS) return;
    this.#ask({ before: last.cursor });
  }

  #answered(answer) {
    if (answer.id !== this.#id) {
      // What is read of the log may come after the question: asked before it was there, asked again.
      if (answer.id === 0 && answer.state !== this.#state) this.#reset();
      return;
    }
    this.#isAsking = false;
    setAttribute(this.list.element, 'aria-busy', null);
    if (this.#isFirst) this.list.clear();
    this.#isFirst = false;
    for (const event of answer.events) this.list.put(event);
    this.#classes = answer.classes;
    this.#hasMore = answer.hasMore;
    this.#isCut = answer.isCut;
    this.#state = answer.state;
    this.#reason = answer.reason;
    this.#choices();
    this.#says();
    if (this.#back) {
      const id = this.#back.id;
      this.#back = null;
      this.list.focus(this.list.elements.find((element) => element.row.event.id === id));
    }
    // The end may be in view still, and then nothing tells so again.
    this.more.unobserve(this.sentinel);
    this.more.observe(this.sentinel);
  }

  #happened({ event, changed, isMissed }) {
    if (isMissed) {
      this.#reset();
      return;
    }
    for (const other of changed) {
      this.list.change(other);
      if (this.#pending.has(other.id)) this.#pending.set(other.id, other);
    }
    if (event?.class && !this.#classes.includes(event.class)) {
      this.#classes = [...this.#classes, event.class].sort();
      this.#choices();
    }
    if (!event || !this.#matches(event) || this.list.has(event.id) || this.#isFirst) return;
    if (this.#isReading) {
      this.#pending.set(event.id, event);
      this.#showPill();
      if (this.#pending.size > MAX_PENDING) this.#reset();
    } else this.#put([event]);
  }

  /** Whether rows under somebody's eyes, pointer or fingers would move. */
  get #isReading() {
    return this.#pending.size > 0 || window.scrollY > TOP_PIXELS || this.list.element.matches(':hover, :focus-within');
  }

  #put(events) {
    for (const event of events) this.list.put(event).element.classList.add('is-new');
    if (this.list.size > MAX_ROWS) {
      this.list.trim(MAX_ROWS);
      this.#hasMore = true;
    }
    this.#says();
  }

  #showNews() {
    const events = [...this.#pending.values()];
    this.#pending.clear();
    this.#put(events);
    this.#showPill();
    window.scrollTo(0, 0);
    this.list.focus(this.list.elements[0]);
  }

  #showPill() {
    const count = this.#pending.size;
    this.news.hidden = count === 0;
    if (count > 0) setText(this.news.lastChild, t('events.new', { n: number(count) }));
  }

  /** What stands where there is nothing, and at the end. */
  #says() {
    const isEmpty = this.list.size === 0;
    this.nothing.hidden = !isEmpty;
    const isEnd = !this.#hasMore || this.list.size >= MAX_ROWS;
    this.end.hidden = isEmpty || !isEnd;
    if (!isEmpty) setText(this.end, t(this.#hasMore ? 'events.end.narrow' : this.#isCut ? 'events.end.cut' : 'events.end', { n: number(this.list.size) }));
    if (!isEmpty) return;
    const sort = this.#state === 'ready' ? (this.#isFiltered ? 'found' : 'none') : this.#state;
    setAttribute(this.nothing, 'data-sort', sort);
    const command = sort === 'missing' ? [el('code', { text: 'lumenbus detect --detector motion' })] : [];
    const clear = sort === 'found' ? [el('button', { class: 'button', type: 'button', text: t('events.clear'), on: { click: () => this.#clear() } })] : [];
    this.nothing.replaceChildren(icon(sort === 'reading' ? 'connecting' : sort === 'found' ? 'search' : 'events'), el('p', { text: t(`events.nothing.${sort}`, { why: this.#reason }) }), ...command, ...clear);
  }

  #streams() {
    this.list.setStreams();
    this.list.revive();
    this.#choices();
  }

  key(event) {
    // Arrows belong to a control that has the focus.
    if (!event.target.closest?.('button:not(.event button), select, .nav') && this.list.key(event)) return true;
    if (event.key === 'Escape' && this.#isFiltered) {
      this.#clear();
      return true;
    }
    return super.key(event);
  }
}

/** Options as [value, name]; untouched where they are the same, so that an open list stays open. */
function fillSelect(select, options, value) {
  if (select.children.length !== options.length || options.some(([key, name], at) => select.children[at].value !== key || select.children[at].textContent !== name)) {
    select.replaceChildren(...options.map(([key, name]) => el('option', { value: key, text: name })));
  }
  if (select.value !== value) select.value = value;
}
