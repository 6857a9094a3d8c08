// One study: its series, the frames of one of them with window and level, and the attributes of the object.

import { el, icon, setAttribute, setText } from './dom.js';
import { bytes, number, short } from './format.js';
import { t } from './i18n.js';
import { PlainScreen } from './plain.js';
import { ask, date, disclaimer, masked, objects } from './studies.js';
import { fullWindow, paint, readFrame } from './window.js';
import { count, list, object, text } from './wire.js';

const PAGE = 500;
/** Objects of a series that are gone through. */
const MAX_OBJECTS = 5000;
/** Frames kept, so that going back is quick. */
const MAX_KEPT_BYTES = 64 << 20;
const MAX_KEPT = 24;
/** Pixels of a drag over the whole of the window, at least so many steps. */
const DRAG_PIXELS = 256;
/** Turned so far, a wheel goes to the next frame. */
const WHEEL_PIXELS = 40;
const FAR = 10;

/** `PatientBirthDate` as three words, `SOPClassUID` too. */
const words = (name) => name.replace(/([a-z\d])([A-Z])/g, '$1 $2').replace(/([A-Z])([A-Z][a-z])/g, '$1 $2');

export class StudyScreen extends PlainScreen {
  #isClosed = false;
  #objects = [];
  /** Where in the series: { object, frame }, a frame after the other. */
  #starts = [];
  #total = 0;
  #at = 0;
  #frames = new Map();
  #isLoading = false;
  #series = '';
  #opened = '';
  #frame = null;
  #window = null;
  /** The visitor's own window stays from frame to frame. */
  #isOwn = false;
  #drag = null;
  #turned = 0;

  constructor(app, study) {
    super(app);
    this.study = study;
    const slide = () => this.#go(Number(this.slider.value));
    this.title = el('h1', { text: t('nav.studies') });
    this.facts = el('p', { class: 'faint' });
    this.series = el('ol', { class: 'series', 'aria-label': t('studies.series.list') });
    this.canvas = el('canvas', { class: 'frame', role: 'img', tabindex: 0, 'aria-label': t('studies.image') });
    this.note = el('div', { class: 'stage-note', role: 'status' });
    this.place = el('span', { class: 'stage-chip stage-place' });
    this.level = el('span', { class: 'stage-chip stage-level' });
    this.stage = el('div', { class: 'stage' }, this.canvas, this.note, this.place, this.level, el('span', { class: 'stage-chip stage-mark', text: t('studies.no-diagnosis') }));
    this.slider = el('input', { class: 'stack', type: 'range', min: 0, max: 0, value: 0, 'aria-label': t('studies.frame'), on: { input: slide } });
    this.presets = el('select', { class: 'button choice', 'aria-label': t('studies.window'), on: { change: () => this.#choose(this.presets.value) } });
    this.reset = el('button', { class: 'button', type: 'button', title: `${t('studies.reset')} (r)`, on: { click: () => this.#choose('0') } }, el('span', { text: t('studies.reset') }));
    this.hint = el('p', { class: 'faint stage-hint' });
    this.table = el('div', { class: 'attributes' });
    this.find = el('input', { type: 'search', 'aria-label': t('studies.attributes.search'), placeholder: t('studies.attributes.search'), autocomplete: 'off', spellcheck: 'false', on: { input: () => this.#filter() } });
    this.element = el('div', { class: 'study-screen' },
      el('header', { class: 'studies-head' }, el('a', { class: 'button icon-only', href: '/studies', 'aria-label': t('studies.back'), title: t('studies.back') }, icon('back')), el('div', { class: 'study-title' }, this.title, this.facts), disclaimer()),
      el('div', { class: 'study-body' }, this.series,
        el('section', { class: 'viewbox', 'aria-label': t('studies.image') }, this.stage, this.slider, el('div', { class: 'stage-tools' }, this.presets, this.reset, this.hint)),
        el('section', { class: 'panel attributes-panel', 'aria-label': t('studies.attributes') }, el('header', {}, el('h2', { text: t('studies.attributes') }), el('label', { class: 'search' }, icon('search'), this.find)), this.table)));
    this.#listen();
  }

  mount() {
    this.#say(t('studies.loading'));
    this.#open();
  }

  unmount() {
    this.#isClosed = true;
    this.#frames.clear();
  }

  get fullElement() {
    return this.stage;
  }

  key(event) {
    const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: FAR, PageUp: -FAR };
    if (event.target.closest?.('.series, .attributes-panel')) return event.key === 'Escape' && this.#leave();
    if (Object.hasOwn(steps, event.key)) this.#go(this.#at + steps[event.key]);
    else if (event.key === 'Home') this.#go(0);
    else if (event.key === 'End') this.#go(this.#total - 1);
    else if (event.key === 'r') this.#choose('0');
    else if (event.key === 'Escape') this.#leave();
    else return false;
    return true;
  }

  /** Arrows on the slider are the slider's own. */
  keyInField(event) {
    if (event.target === this.slider && event.key === 'r') {
      this.#choose('0');
      return true;
    }
    if (event.key !== 'Escape') return false;
    return this.#leave();
  }

  #leave() {
    this.app.go('/studies');
    return true;
  }

  #listen() {
    this.stage.addEventListener('wheel', (event) => {
      if (event.ctrlKey || this.#total < 2) return;
      event.preventDefault();
      this.#turned += event.deltaMode === 0 ? event.deltaY : event.deltaY * WHEEL_PIXELS;
      const steps = Math.trunc(this.#turned / WHEEL_PIXELS);
      this.#turned -= steps * WHEEL_PIXELS;
      if (steps !== 0) this.#go(this.#at + steps);
    }, { passive: false });
    this.canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || !this.#window) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.#drag = { x: event.clientX, y: event.clientY, window: this.#window, span: Math.max(fullWindow(this.#frame).width, 1e-3) };
    });
    this.canvas.addEventListener('pointermove', (event) => {
      if (!this.#drag) return;
      const { x, y, window, span } = this.#drag;
      const step = this.#frame.kind === 'f32' ? span / DRAG_PIXELS : Math.max(1, span / DRAG_PIXELS / 2);
      this.#show({ width: Math.max(this.#frame.kind === 'f32' ? step : 1, window.width + (event.clientX - x) * step), center: window.center + (event.clientY - y) * step }, true);
    });
    for (const end of ['pointerup', 'pointercancel']) this.canvas.addEventListener(end, () => (this.#drag = null));
    this.canvas.addEventListener('dblclick', () => this.#choose('0'));
  }

  #say(what, sign = '') {
    this.note.hidden = what === '';
    setAttribute(this.note, 'data-sort', sign || null);
    if (what) this.note.replaceChildren(...(sign ? [icon(sign)] : []), el('p', { text: what }));
  }

  async #open() {
    try {
      const study = object(await (await ask(`/api/v1/studies/${encodeURIComponent(this.study)}`)).json());
      if (this.#isClosed) return;
      const patient = object(study.patient);
      setText(this.title, text(study.description) || t('studies.undescribed'));
      const who = study.patient ? `${text(patient.name).replaceAll('^', ' ').trim()} · ${text(patient.id)}` : '';
      this.facts.replaceChildren(el('span', { text: [date(text(study.date, 16)), objects(count(study.objects)), bytes(count(study.bytes)), who].filter(Boolean).join(' · ') }), study.patient ? '' : masked());
      const all = list(study.series_list).map(object);
      this.series.replaceChildren(...all.map((series) => this.#seriesButton(series)));
      this.series.hidden = all.length === 0;
      if (all.length > 0) await this.#choseSeries(text(all[0].key, 32));
      else this.#say(t('studies.nothing'), 'studies');
    } catch (error) {
      if (!this.#isClosed) this.#say(t('studies.failed', { why: error.message }), 'warn');
    }
  }

  #seriesButton(series) {
    const key = text(series.key, 32);
    const name = text(series.description) || t('studies.undescribed');
    return el('li', {}, el('button', { class: 'series-button', type: 'button', 'data-key': key, on: { click: () => this.#choseSeries(key) } },
      el('b', { class: 'badge', text: text(series.modality, 16) || '–' }), el('span', { class: series.description ? 'series-name' : 'series-name is-none', text: name }), el('span', { class: 'faint', text: [series.number === null ? '' : `#${count(series.number)}`, objects(count(series.objects)), bytes(count(series.bytes))].filter(Boolean).join(' · ') })));
  }

  async #choseSeries(key) {
    this.#series = key;
    for (const item of this.series.querySelectorAll('button')) setAttribute(item, 'aria-pressed', String(item.dataset.key === key));
    this.#say(t('studies.loading'));
    const found = [];
    try {
      for (let isAll = false; !isAll && found.length < MAX_OBJECTS; ) {
        const page = object(await (await ask(`/api/v1/studies/${encodeURIComponent(this.study)}/${key}?offset=${found.length}&limit=${PAGE}`)).json());
        if (this.#isClosed || this.#series !== key) return;
        const some = list(page.object_list).map(object);
        found.push(...some);
        isAll = some.length < PAGE;
      }
    } catch (error) {
      if (!this.#isClosed) this.#say(t('studies.failed', { why: error.message }), 'warn');
      return;
    }
    this.#objects = found.map(({ key: name, frames, number: n }) => ({ key: text(name, 32), frames: Math.max(1, count(frames)), number: n }));
    this.#starts = [];
    this.#total = 0;
    for (const one of this.#objects) {
      this.#starts.push(this.#total);
      this.#total += one.frames;
    }
    setAttribute(this.slider, 'max', Math.max(0, this.#total - 1));
    this.slider.hidden = this.#total < 2;
    this.#isOwn = false;
    this.#opened = '';
    this.#at = -1;
    this.#go(0);
  }

  /** The object and the frame, from 1, at a place of the series. */
  #placeAt(at) {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle] <= at) low = middle;
      else high = middle - 1;
    }
    return { of: this.#objects[low], frame: at - this.#starts[low] + 1 };
  }

  #go(to) {
    const at = Math.min(Math.max(0, to), this.#total - 1);
    if (at === this.#at || this.#total === 0) return;
    this.#at = at;
    this.slider.value = String(at);
    const { of, frame } = this.#placeAt(at);
    setAttribute(this.slider, 'aria-valuetext', t('studies.place', { n: number(at + 1), of: number(this.#total) }));
    setText(this.place, [t('studies.place', { n: number(at + 1), of: number(this.#total) }), of.frames > 1 ? t('studies.frame.n', { n: number(frame) }) : ''].filter(Boolean).join(' · '));
    if (this.#opened !== of.key) this.#openObject(of.key);
    if (!this.#isLoading) this.#load();
  }

  // Frames: one is asked for at a time, always the newest wish.

  async #load() {
    this.#isLoading = true;
    for (let at = -1; !this.#isClosed && at !== this.#at; ) {
      at = this.#at;
      const { of, frame } = this.#placeAt(at);
      const name = `${of.key}/${frame}`;
      if (!this.#frames.has(name)) {
        if (!this.#frame) this.#say(t('studies.loading'));
        setAttribute(this.stage, 'aria-busy', 'true');
        this.#keep(name, await this.#fetch(of.key, frame));
      }
      if (!this.#isClosed && at === this.#at) this.#shown(this.#frames.get(name));
    }
    this.#isLoading = false;
    setAttribute(this.stage, 'aria-busy', null);
  }

  async #fetch(key, frame) {
    try {
      const answer = await ask(`/api/v1/objects/${key}/frames/${frame}`);
      const facts = object(JSON.parse(answer.headers.get('X-Lumenbus-Picture') ?? 'null'));
      return readFrame(facts, await answer.arrayBuffer()) ?? { why: t('studies.broken'), code: 'damaged' };
    } catch (error) {
      return { why: error.message, code: error.code };
    }
  }

  #keep(name, frame) {
    this.#frames.set(name, frame);
    const size = () => [...this.#frames.values()].reduce((sum, { samples }) => sum + (samples?.byteLength ?? 0), 0);
    while (this.#frames.size > 1 && (this.#frames.size > MAX_KEPT || size() > MAX_KEPT_BYTES)) this.#frames.delete(this.#frames.keys().next().value);
  }

  #shown(frame) {
    const hasPicture = Boolean(frame.samples);
    this.canvas.hidden = !hasPicture;
    this.level.hidden = !hasPicture || frame.kind === 'rgb';
    this.presets.hidden = this.level.hidden;
    this.reset.hidden = this.level.hidden;
    this.hint.hidden = this.level.hidden && this.#total < 2;
    setText(this.hint, [this.level.hidden ? '' : t('studies.hint'), this.#total > 1 ? t('studies.hint.series') : ''].filter(Boolean).join(' '));
    if (!hasPicture) {
      this.#frame = null;
      this.#window = null;
      const isNone = frame.code === 'no-pixels';
      this.#say(isNone ? t('studies.no-image') : t('studies.no-picture', { why: frame.why }), isNone ? 'studies' : 'unplayable');
      return;
    }
    this.#say('');
    this.#frame = frame;
    const windows = list(frame.windows);
    const names = [...windows.map(({ name, center, width }) => name || t('studies.window.value', { center: short(center), width: short(width) })), t('studies.window.full')];
    if (frame.kind !== 'rgb') {
      this.presets.replaceChildren(...names.map((name, index) => el('option', { value: index, text: name })), el('option', { value: 'own', text: t('studies.window.own'), hidden: true }));
      if (!this.#isOwn) return this.#choose('0');
      this.presets.value = 'own';
    }
    this.#show(this.#window, this.#isOwn);
  }

  #choose(which) {
    if (!this.#frame || this.#frame.kind === 'rgb') return;
    const window = list(this.#frame.windows)[Number(which)] ?? fullWindow(this.#frame);
    this.#show({ center: window.center, width: window.width }, false);
    this.presets.value = which;
  }

  #show(window, isOwn) {
    const frame = this.#frame;
    this.#window = frame.kind === 'rgb' ? null : window;
    this.#isOwn = isOwn;
    if (isOwn) this.presets.value = 'own';
    if (this.canvas.width !== frame.columns || this.canvas.height !== frame.rows) [this.canvas.width, this.canvas.height] = [frame.columns, frame.rows];
    const context = this.canvas.getContext('2d');
    const image = context.createImageData(frame.columns, frame.rows);
    paint(frame, window, image.data);
    context.putImageData(image, 0, 0);
    if (window && frame.kind !== 'rgb') setText(this.level, t('studies.window.value', { center: short(window.center), width: short(window.width) }));
    this.stage.dataset.frame = String(this.#at + 1);
  }

  // Attributes.

  async #openObject(key) {
    this.#opened = key;
    try {
      const opened = object(await (await ask(`/api/v1/objects/${key}`)).json());
      if (!this.#isClosed && this.#opened === key) this.#showAttributes(opened);
    } catch (error) {
      if (!this.#isClosed && this.#opened === key) this.table.replaceChildren(el('p', { class: 'bad', text: t('studies.failed', { why: error.message }) }));
    }
  }

  #showAttributes(opened) {
    const rows = list(opened.attributes).map(object).map((line) => {
      const value = line.is_masked === true ? masked(t('studies.attributes.masked')) : line.items !== undefined ? t('studies.items', { n: number(count(line.items)) }) : line.bytes !== undefined ? bytes(count(line.bytes)) : text(line.text, 300);
      const depth = Math.min(count(line.depth), 8);
      const name = el('td', {}, `${'› '.repeat(depth)}${words(text(line.name, 64)) || t('studies.private')}`);
      return el('tr', {}, el('td', {}, el('code', { text: text(line.tag, 16) })), name, el('td', {}, el('span', { class: 'faint', text: text(line.vr, 4) })), el('td', { class: 'attribute-value' }, value));
    });
    const heads = ['tag', 'name', 'vr', 'value'].map((name) => el('th', { scope: 'col', text: t(`studies.attributes.${name}`) }));
    this.table.replaceChildren(el('table', {}, el('thead', {}, el('tr', {}, ...heads)), el('tbody', {}, ...rows)), opened.is_all === false ? el('p', { class: 'faint', text: t('studies.attributes.cut') }) : '');
    this.#filter();
  }

  #filter() {
    const word = this.find.value.trim().toLowerCase();
    for (const row of this.table.querySelectorAll('tbody tr')) row.hidden = word !== '' && !row.textContent.toLowerCase().includes(word);
  }
}
