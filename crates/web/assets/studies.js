// Studies: what lies in the DICOM topics, and what destinations do not have yet.

import { el, icon, setAttribute, setText } from './dom.js';
import { age, bytes, clock, number } from './format.js';
import { t } from './i18n.js';
import { PlainScreen } from './plain.js';
import { count, finite, list, object, text } from './wire.js';

const PAGE = 100;
const EVERY_MS = 5000;
const TYPING_MS = 200;

/** Asks the viewer; what it refuses is an error with its words. `body` goes with POST. */
export async function ask(path, { body, signal } = {}) {
  const answer = await fetch(path, { cache: 'no-store', signal, ...(body && { method: 'POST', body: JSON.stringify(body) }) });
  if (answer.ok) return answer;
  const refused = object(object(await answer.json().catch(() => null)).error);
  throw Object.assign(new Error(text(refused.message, 500) || String(answer.status)), { code: text(refused.code, 60) });
}

/** 20201231 as people read it; what is no date as it is. */
export function date(value) {
  const [, year, month, day] = /^(\d{4})(\d\d)(\d\d)$/.exec(value) ?? [];
  return year ? `${year}-${month}-${day}` : value;
}

export const objects = (n) => t(n === 1 ? 'studies.object' : 'studies.objects', { n: number(n) });

/** Stands on every part of this screen. */
export const disclaimer = () => el('p', { class: 'no-diagnosis' }, icon('warn'), el('span', { text: t('studies.no-diagnosis') }));

export const masked = (what = t('studies.masked')) => el('span', { class: 'masked' }, icon('sealed'), el('span', { text: what }));

/** What the visitor looked for; not in the address, as it can be a name. */
let looked = '';

export class StudiesScreen extends PlainScreen {
  #timer = 0;
  #typing = 0;
  #limit = PAGE;
  #isClosed = false;
  #turn = 0;

  constructor(app) {
    super(app);
    this.input = el('input', { type: 'search', 'aria-label': t('studies.search'), placeholder: t('studies.search'), autocomplete: 'off', spellcheck: 'false', value: looked, maxlength: 80, on: { input: () => this.#typed() } });
    this.facts = el('p', { class: 'studies-facts faint', role: 'status' });
    this.rows = el('ol', { class: 'study-rows', 'aria-label': t('nav.studies') });
    this.nothing = el('div', { class: 'nothing', hidden: true });
    this.more = el('button', { class: 'button', type: 'button', hidden: true, text: t('studies.more'), on: { click: () => this.#showMore() } });
    this.queues = el('div', {}, el('p', { class: 'empty', text: t('studies.reading') }));
    this.element = el('div', { class: 'studies' },
      el('header', { class: 'studies-head' }, el('h1', { text: t('nav.studies') }), el('label', { class: 'search' }, icon('search'), this.input, el('kbd', { text: '/' })), disclaimer()),
      this.facts, this.nothing, this.rows, el('div', { class: 'studies-more' }, this.more),
      el('section', { class: 'panel studies-queues', 'aria-label': t('studies.queues') }, el('h2', { text: t('studies.queues') }), this.queues));
  }

  mount() {
    this.#wait(t('studies.reading'), 'connecting');
    this.#poll();
  }

  unmount() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#typing);
  }

  key(event) {
    if (event.key === '/') {
      this.input.focus();
      return true;
    }
    return super.key(event);
  }

  keyInField(event) {
    if (event.key !== 'Escape') return false;
    if (this.input.value === '') this.input.blur();
    this.input.value = '';
    this.#typed();
    return true;
  }

  #typed() {
    looked = this.input.value;
    this.#limit = PAGE;
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#read(), TYPING_MS);
  }

  #showMore() {
    this.#limit += PAGE;
    this.#read();
  }

  async #poll() {
    if (!document.hidden) await Promise.all([this.#read(), this.#readQueues()]);
    if (!this.#isClosed) this.#timer = setTimeout(() => this.#poll(), EVERY_MS);
  }

  async #read() {
    const turn = (this.#turn += 1);
    const question = { search: looked, limit: Math.min(this.#limit, 500) };
    try {
      const found = object(await (await ask('/api/v1/studies', { body: question })).json());
      if (!this.#isClosed && turn === this.#turn) this.#show(found);
    } catch (error) {
      if (this.#isClosed || turn !== this.#turn) return;
      this.rows.replaceChildren();
      this.more.hidden = true;
      setText(this.facts, '');
      this.#wait(t('studies.failed', { why: error.message }), 'warn');
    }
  }

  #wait(what, sign) {
    this.nothing.hidden = false;
    setAttribute(this.nothing, 'data-sort', sign === 'connecting' ? 'nothing.connecting' : null);
    if (this.nothing.lastChild?.textContent !== what) this.nothing.replaceChildren(icon(sign), el('p', { text: what }));
  }

  #show(found) {
    const studies = list(found.studies).map(object);
    const total = count(found.found);
    const isReading = found.state === 'reading';
    if (studies.length > 0) this.nothing.hidden = true;
    else if (isReading) this.#wait(t('studies.reading'), 'connecting');
    else this.#wait(t(looked.trim() ? 'studies.nothing.found' : 'studies.nothing'), 'studies');
    const forgotten = count(found.forgotten);
    const facts = [
      t(total === 1 ? 'studies.count.one' : 'studies.count', { n: number(total) }), found.is_masked === true ? t('studies.all-masked') : t('studies.not-masked'),
      isReading && studies.length > 0 ? t('studies.reading') : '', found.state === 'away' ? t('studies.away') : '',
      forgotten > 0 ? t('studies.forgotten', { n: number(count(found.max_objects)), older: number(forgotten) }) : '',
      count(found.unreadable) > 0 ? t('studies.unreadable', { n: number(count(found.unreadable)) }) : '',
    ];
    setText(this.facts, facts.filter(Boolean).join(' · '));
    this.more.hidden = studies.length >= total || this.#limit >= 500;
    // What is looked at or pointed at stays where it is unless something changed.
    const shown = JSON.stringify(studies);
    if (this.rows.dataset.shown === String(shown.length) && this.shown === shown) return;
    this.shown = shown;
    this.rows.dataset.shown = String(shown.length);
    const focused = document.activeElement?.getAttribute?.('href');
    this.rows.replaceChildren(...studies.map((study) => this.#row(study)));
    if (focused) [...this.rows.querySelectorAll('a')].find((row) => row.getAttribute('href') === focused)?.focus();
  }

  #row(study) {
    const patient = object(study.patient);
    const modalities = list(study.modalities).map((modality) => text(modality, 16));
    const who = study.patient ? el('span', { class: 'study-who', text: [text(patient.name).replaceAll('^', ' ').trim(), text(patient.id)].filter(Boolean).join(' · ') }) : masked();
    return el('li', {}, el('a', { class: 'study', href: `/studies/${text(study.key, 32)}` },
      el('span', { class: 'study-date', text: date(text(study.date, 16)) || t('studies.undated') }),
      el('span', { class: 'study-modality' }, ...(modalities.length > 0 ? modalities : ['–']).map((modality) => el('b', { class: 'badge', text: modality }))),
      el('span', { class: study.description ? 'study-what' : 'study-what is-none', text: text(study.description) || t('studies.undescribed') }), who,
      el('span', { class: 'study-size', text: `${t(count(study.series) === 1 ? 'studies.series.one' : 'studies.series', { n: number(count(study.series)) })} · ${objects(count(study.objects))} · ${bytes(count(study.bytes))}` })));
  }

  async #readQueues() {
    try {
      const queues = object(await (await ask('/api/v1/destinations')).json());
      if (!this.#isClosed) this.queues.replaceChildren(...this.#showQueues(queues));
    } catch (error) {
      if (!this.#isClosed) this.queues.replaceChildren(el('p', { class: 'bad', text: t('studies.failed', { why: error.message }) }));
    }
  }

  #showQueues(queues) {
    const all = list(queues.destinations).map(object);
    if (all.length === 0) return [el('p', { class: 'empty', text: t('studies.queues.none') })];
    const waiting = all.map((queue) => {
      const objectsLeft = count(queue.objects);
      const oldest = finite(queue.oldest_ms);
      const state = objectsLeft === 0 ? t('studies.queues.done') : `${objects(objectsLeft)} · ${bytes(count(queue.bytes))}${Number.isFinite(oldest) ? ` · ${t('studies.queues.oldest', { age: age(this.app.now() - oldest) })}` : ''}`;
      const failed = count(queue.failed);
      return el('li', { class: 'queue' }, icon(failed > 0 ? 'warn' : objectsLeft === 0 ? 'check' : 'connecting'),
        el('b', { text: text(queue.destination, 249) }), queue.is_deidentified === true ? el('span', { class: 'badge', text: t('studies.queues.deidentified') }) : null,
        el('span', { class: objectsLeft === 0 ? 'good' : '', text: state }), failed > 0 ? el('span', { class: 'bad', text: t('studies.queues.failed', { n: number(failed) }) }) : null,
        queue.has_committed === false ? el('span', { class: 'faint', text: t('studies.queues.never') }) : null);
    });
    const failures = list(queues.failures).map(object).map((failure) => el('li', {}, el('span', { class: 'faint', text: clock(finite(failure.at_ms)) }), el('b', { text: text(failure.destination, 249) }), el('code', { text: text(failure.reason, 60) }), el('code', { class: 'faint', text: text(failure.object, 40) })));
    return [el('ol', { class: 'queues' }, ...waiting), failures.length > 0 ? el('details', { class: 'failures' }, el('summary', { text: t('studies.queues.failures', { n: number(count(queues.failed)) }) }), el('ol', {}, ...failures)) : null].filter(Boolean);
  }
}
