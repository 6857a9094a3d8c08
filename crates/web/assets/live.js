// Live: all cameras in a grid that adapts, by group, with search, the headline, the demo's buttons and what happened.

import { Actions, Log } from './activity.js';
import { BoxesButton } from './boxes.js';
import { el, icon, setAttribute, setText } from './dom.js';
import { Headline } from './headline.js';
import { t } from './i18n.js';
import { MAX_WATCHED } from './link.js';
import { codecName, Tile } from './tile.js';

const GAP = 12;
const CAPTION = 42;
const CAPTION_NARROW = 62;
/** Tiles narrower than this have a caption of two lines. */
const NARROW = 440;
const HEADING = 34;
const MIN_TILE = 250;
const PHONE = 560;
const MAX_SCROLLING_COLUMNS = 5;
/** Fewer tiles stand in one grid, with the group's name beside their own. */
const MIN_FOR_HEADINGS = 17;
/** With more tiles in view each shows keyframes only, but the one that is pointed at or has the focus. */
export const MAX_MOVING = 16;

/** Columns and width of tiles: the largest of which all fit into the height, or else some of a readable width. */
export function arrangement(groups, width, height) {
  const most = Math.max(1, Math.floor((width + GAP) / (MIN_TILE + GAP)));
  if (width < PHONE) return { columns: 1, tile: width };
  const headings = groups.length > 1 ? groups.length * (HEADING + GAP) : 0;
  let best = { columns: most, tile: 0 };
  for (let columns = 1; columns <= most; columns += 1) {
    const rows = groups.reduce((sum, size) => sum + Math.ceil(size / columns), 0);
    const byWidth = (width - GAP * (columns - 1)) / columns;
    const byCaption = (caption) => (((height - headings) / rows - caption - GAP) * 16) / 9;
    const byHeight = Math.min(byWidth, byCaption(CAPTION)) >= NARROW ? byCaption(CAPTION) : byCaption(CAPTION_NARROW);
    const tile = Math.floor(Math.min(byWidth, byHeight));
    if (tile > best.tile) best = { columns, tile };
  }
  if (best.tile >= MIN_TILE) return best;
  const columns = Math.min(most, MAX_SCROLLING_COLUMNS);
  return { columns, tile: (width - GAP * (columns - 1)) / columns };
}

export class LiveScreen {
  #tiles = new Map();
  #groups = new Map();
  #stops = [];
  #search = '';
  #group = null;
  #visible = new Set();

  constructor(app) {
    this.app = app;
    const { store, theatre } = app;
    this.headline = new Headline(store, theatre);
    this.search = el('input', { type: 'search', placeholder: t('search'), 'aria-label': t('search'), autocomplete: 'off', spellcheck: 'false', enterkeyhint: 'search' });
    this.search.addEventListener('input', () => this.#filter());
    this.chips = el('div', { class: 'chips-row', role: 'group', 'aria-label': t('groups') });
    this.empty = el('div', { class: 'nothing', hidden: true });
    this.grid = el('div', { class: 'groups' });
    this.boxes = new BoxesButton(app, () => store.isAnalysed);
    this.actions = new Actions(store, app.say);
    this.log = new Log(store);
    this.actionsTitle = el('h2', { text: t('actions') });
    this.element = el('div', { class: 'live' },
      this.headline.element,
      el('div', { class: 'live-body' },
        el('div', { class: 'live-main' },
          el('div', { class: 'toolbar' }, el('label', { class: 'search' }, icon('search'), this.search, el('kbd', { text: '/', 'aria-hidden': 'true' })), this.chips, this.boxes.element),
          this.empty, this.grid),
        el('aside', { class: 'rail', 'aria-label': t('log') }, this.actionsTitle, this.actions.element, el('h2', { text: t('log') }), this.log.element)));
    this.observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: '80px' });
    this.resize = new ResizeObserver(() => this.#layout());
    this.grid.addEventListener('focusin', (event) => this.#focused(event));
    for (const type of ['pointerover', 'pointerout', 'focusin', 'focusout']) this.grid.addEventListener(type, () => this.#liven());
  }

  mount() {
    const { store } = this.app;
    this.resize.observe(this.grid);
    const on = (topic, handler) => this.#stops.push(store.on(topic, handler));
    on('streams', () => this.#streams());
    on('stats', () => this.#stats());
    on('gap', (gap) => this.#tiles.get(gap.n)?.showGap(gap));
    on('trouble', (n) => this.#tiles.get(n)?.update());
    on('log', () => this.log.updateSoon());
    on('actions', () => this.#setActions());
    on('link', () => this.#setEmpty());
    window.addEventListener('resize', this.#layoutSoon);
    this.#streams();
    this.#setActions();
  }

  #layoutSoon = () => this.#layout();

  unmount() {
    this.#stops.forEach((stop) => stop());
    this.boxes.close();
    this.observer.disconnect();
    this.resize.disconnect();
    window.removeEventListener('resize', this.#layoutSoon);
    for (const tile of this.#tiles.values()) tile.close();
    this.#tiles.clear();
  }

  #setActions() {
    this.actions.update();
    this.actionsTitle.hidden = this.actions.element.hidden;
  }

  #stats() {
    this.headline.update();
    for (const n of this.#visible) this.#tiles.get(n)?.update();
  }

  #streams() {
    const { store, theatre } = this.app;
    for (const [n, tile] of this.#tiles) {
      if (store.streams.get(n) === tile.stream) continue;
      this.observer.unobserve(tile.element);
      this.#visible.delete(n);
      tile.close();
      this.#tiles.delete(n);
    }
    const perCamera = new Map();
    for (const { facts } of store.streams.values()) perCamera.set(facts.camera, (perCamera.get(facts.camera) ?? 0) + 1);
    for (const [n, stream] of store.streams) {
      const isOnly = perCamera.get(stream.facts.camera) === 1;
      const tile = this.#tiles.get(n);
      if (tile) {
        tile.setFacts(isOnly);
        continue;
      }
      const made = new Tile(stream, theatre, isOnly, () => store.ofCamera(stream.facts.camera));
      this.#tiles.set(n, made);
      this.observer.observe(made.element);
    }
    this.#arrange();
    this.headline.update();
  }

  /** Puts tiles under their groups, in the server's order, and the ones that match the search only. */
  #arrange() {
    const groups = new Map();
    const names = new Set([...this.#tiles.values()].map((tile) => tile.stream.facts.group));
    const isFlat = this.#tiles.size < MIN_FOR_HEADINGS || names.size < 2;
    for (const stream of this.app.store.sorted) {
      const tile = this.#tiles.get(stream.facts.n);
      if (!this.#matches(tile.stream)) {
        tile.element.remove();
        continue;
      }
      const group = isFlat ? '' : tile.stream.facts.group;
      tile.showGroup(isFlat);
      groups.set(group, [...(groups.get(group) ?? []), tile]);
    }
    this.#setChips(names);
    for (const [name, group] of this.#groups) if (!groups.has(name)) this.#groups.delete(name), group.section.remove();
    for (const [name, tiles] of groups) {
      const group = this.#groups.get(name) ?? this.#newGroup(name);
      group.heading.hidden = isFlat;
      setText(group.heading.lastChild, ` ${tiles.length}`);
      tiles.forEach(({ element }, at) => group.grid.children[at] !== element && group.grid.insertBefore(element, group.grid.children[at] ?? null));
      this.grid.append(group.section);
      group.size = tiles.length;
    }
    this.#setEmpty();
    this.#rove();
    this.#layout();
  }

  #newGroup(name) {
    const heading = el('h2', { class: 'group-name' }, el('span', { text: name || t('group.none') }), el('span', { class: 'faint' }));
    const grid = el('div', { class: 'grid' });
    const group = { heading, grid, section: el('section', { 'aria-label': name || t('group.none') }, heading, grid), size: 0 };
    this.#groups.set(name, group);
    return group;
  }

  #matches({ facts }) {
    if (this.#group !== null && facts.group !== this.#group) return false;
    const words = this.#search.split(/\s+/).filter(Boolean);
    const where = [facts.camera, facts.name, facts.group, facts.topic, codecName(facts.codec), ...facts.labels.keys(), ...facts.labels.values()].join('\n').toLocaleLowerCase();
    return words.every((word) => where.includes(word));
  }

  #filter() {
    this.#search = this.search.value.toLocaleLowerCase().trim();
    this.#arrange();
  }

  #setChips(names) {
    const all = [...names].sort();
    if (!names.has(this.#group)) this.#group = null;
    this.chips.hidden = all.length < 2;
    const chip = (name, label) => el('button', {
      class: 'pill', type: 'button', 'aria-pressed': this.#group === name, text: label,
      on: { click: () => ((this.#group = name), this.#arrange()) },
    });
    const hadFocus = [...this.chips.children].indexOf(document.activeElement);
    this.chips.replaceChildren(chip(null, t('group.all')), ...all.map((name) => chip(name, name || t('group.none'))));
    if (hadFocus >= 0) this.chips.children[hadFocus]?.focus();
  }

  #setEmpty() {
    const isEmpty = this.grid.querySelector('.tile') === null;
    this.empty.hidden = !isEmpty;
    if (!isEmpty) return;
    const isFiltered = this.#tiles.size > 0;
    const sort = isFiltered ? 'nothing.found' : this.app.store.isListed ? 'nothing.cameras' : 'nothing.connecting';
    const command = sort === 'nothing.cameras' ? el('code', { text: 'lumenbus publish test:1280x720@30 --camera gate --codec h264' }) : null;
    this.empty.replaceChildren(icon(sort === 'nothing.connecting' ? 'connecting' : 'search'), el('p', { text: t(sort) }), ...(command ? [command] : []));
    setAttribute(this.empty, 'data-sort', sort);
  }

  #layout() {
    const width = this.grid.clientWidth;
    if (width === 0) return;
    const height = window.innerHeight - (this.grid.getBoundingClientRect().top + window.scrollY) - GAP;
    const { columns, tile } = arrangement([...this.#groups.values()].map((group) => group.size), width, height);
    this.grid.style.setProperty('--columns', columns);
    this.grid.style.setProperty('--tile', `${Math.floor(tile)}px`);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const n = Number(target.dataset.n);
      if (isIntersecting) {
        this.#visible.add(n);
        this.#tiles.get(n)?.update();
      } else {
        this.#visible.delete(n);
      }
    }
    // More than the server sends to one page: the first ones in view.
    const watched = new Set([...this.#visible].slice(0, MAX_WATCHED));
    for (const n of this.#tiles.keys()) this.app.theatre.setVisible(n, watched.has(n));
    this.#liven();
  }

  /** Which tiles show every picture. */
  #liven() {
    const isCrowded = this.#visible.size > MAX_MOVING;
    for (const [n, { element }] of this.#tiles) this.app.theatre.setStill(n, isCrowded && !element.matches(':hover, :focus'));
  }

  // Keyboard: one tile is in the tab order, arrows move by place.

  #rove() {
    const tiles = [...this.grid.querySelectorAll('.tile')];
    const current = tiles.find((tile) => tile.tabIndex === 0) ?? tiles[0];
    for (const tile of tiles) tile.tabIndex = tile === current ? 0 : -1;
  }

  #focused({ target }) {
    if (!target.classList.contains('tile')) return;
    for (const tile of this.grid.querySelectorAll('.tile')) tile.tabIndex = tile === target ? 0 : -1;
  }

  #move(key) {
    const tiles = [...this.grid.querySelectorAll('.tile')];
    const from = tiles.find((tile) => tile === document.activeElement);
    if (!from) return tiles.find((tile) => tile.tabIndex === 0)?.focus();
    if (key === 'Home' || key === 'End') return tiles.at(key === 'Home' ? 0 : -1).focus();
    const at = tiles.indexOf(from);
    if (key === 'ArrowLeft' || key === 'ArrowRight') return tiles[at + (key === 'ArrowLeft' ? -1 : 1)]?.focus();
    const here = from.getBoundingClientRect();
    const isBeyond = (box) => (key === 'ArrowUp' ? box.bottom <= here.top + 1 : box.top >= here.bottom - 1);
    let best = null;
    for (const tile of tiles) {
      const box = tile.getBoundingClientRect();
      const distance = 4 * Math.abs(box.top - here.top) + Math.abs(box.left - here.left);
      if (isBeyond(box) && (!best || distance < best.distance)) best = { tile, distance };
    }
    best?.tile.focus();
  }

  /** The stream that `s` and `f` act on. */
  get current() {
    const n = document.activeElement?.dataset?.n;
    return n === undefined ? null : this.#tiles.get(Number(n))?.stream ?? null;
  }

  /** Takes a key; whether it was one of its own. */
  key(event) {
    if (['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End'].includes(event.key)) {
      this.#move(event.key);
      return true;
    }
    if (event.key === '/') {
      this.search.focus();
      this.search.select();
      return true;
    }
    if (event.key === 'Escape' && (this.search.value || this.#group !== null)) {
      this.search.value = '';
      this.#group = null;
      this.#filter();
      return true;
    }
    return false;
  }

  /** Esc in the search field clears it and goes to the tiles. */
  keyInField(event) {
    if (event.target !== this.search || !['Escape', 'Enter', 'ArrowDown'].includes(event.key)) return false;
    if (event.key === 'Escape') {
      this.search.value = '';
      this.#filter();
    }
    this.search.blur();
    this.#move('');
    return true;
  }

  /** What to put on the whole screen. */
  get fullElement() {
    return document.activeElement?.classList?.contains('tile') ? document.activeElement.querySelector('.picture') : this.grid;
  }
}
