// Health: what is wrong and what to do, then brokers, topics, groups, disk, losses and memory.

import { el, icon, setAttribute } from './dom.js';
import { age, bytes, clock, number, span } from './format.js';
import { gapReason, t } from './i18n.js';
import { PlainScreen } from './plain.js';
import { count, finite, list, object, text } from './wire.js';

const EVERY_MS = 4000;
const MAX_ROWS = 200;

const rows = (value) => list(value).slice(0, MAX_ROWS).map(object);
const cell = (value, sort = '') => ({ value, sort });

/** A table whose first column names the row. Cells are texts, or { value, sort } to colour them. */
function table(heads, body) {
  const row = (cells) => el('tr', {}, ...cells.map((raw, at) => {
    const { value, sort } = typeof raw === 'object' ? raw : cell(raw);
    return el(at === 0 ? 'th' : 'td', { scope: at === 0 ? 'row' : null, class: sort || null, text: value });
  }));
  return el('div', { class: 'table-holder', tabindex: 0 }, el('table', {}, el('thead', {}, el('tr', {}, ...heads.map((head) => el('th', { scope: 'col', text: head })))), el('tbody', {}, ...body.map(row))));
}

const warnAbove = (value, limit) => cell(number(value), value > limit ? 'bad' : '');

export class HealthScreen extends PlainScreen {
  #timer = 0;
  #isClosed = false;

  constructor(app) {
    super(app);
    this.summary = el('div', { class: 'summary', role: 'status' });
    this.cards = el('div', { class: 'cards' });
    this.element = el('div', { class: 'health' }, this.summary, this.cards);
    this.panels = new Map();
  }

  mount() {
    this.#poll();
  }

  unmount() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #poll() {
    if (!document.hidden) await this.#read();
    if (!this.#isClosed) this.#timer = setTimeout(() => this.#poll(), EVERY_MS);
  }

  async #read() {
    try {
      const answer = await fetch('/api/v1/health', { cache: 'no-store' });
      if (!answer.ok) throw new Error(String(answer.status));
      const health = object(await answer.json());
      if (!this.#isClosed) this.#show(health);
    } catch (error) {
      if (!this.#isClosed) this.#verdict('bad', t('health.unread', { why: error.message }));
    }
  }

  #verdict(sort, what, more = '') {
    setAttribute(this.summary, 'data-sort', sort);
    this.summary.replaceChildren(icon({ good: 'check', bad: 'warn', warn: 'warn' }[sort]), el('div', {}, el('strong', { text: what }), el('span', { text: more })));
  }

  #show(health) {
    const problems = rows(health.problems);
    const isReachable = health.is_reachable !== false;
    if (!isReachable) this.#verdict('bad', t('health.unreachable'), text(health.reason));
    else if (problems.length > 0) this.#verdict('warn', t('health.problems', { n: problems.length }), '');
    else this.#verdict('good', t('health.good'), t('health.at', { time: clock(finite(health.at_ms)) }));
    const parts = [
      ['problems', problems.length > 0 ? this.#problems(problems) : null],
      ['disk', this.#disk(object(health.disk))],
      ['brokers', this.#brokers(health)],
      ['groups', this.#groups(rows(health.groups))],
      ['topics', this.#topics(rows(health.topics))],
      ['drops', this.#drops(rows(health.drops))],
      ['budgets', this.#budgets(rows(health.budgets))],
    ];
    for (const [name, content] of parts) this.#panel(name, content);
  }

  /** Panels stay where they are; only what is in them changes. */
  #panel(name, content) {
    let panel = this.panels.get(name);
    if (!panel) {
      const title = t(name === 'problems' ? 'health.problems.title' : `health.${name}`);
      panel = { holder: el('div', {}), element: null };
      panel.element = el('section', { class: `panel panel-${name}`, 'aria-label': title }, name === 'problems' ? null : el('h2', { text: title }), panel.holder);
      this.panels.set(name, panel);
      this.cards.append(panel.element);
    }
    panel.element.hidden = content === null;
    if (content === null || panel.holder.contains(document.activeElement)) return;
    panel.holder.replaceChildren(...content);
  }

  #problems(problems) {
    return problems.map((problem) => el('div', { class: 'problem' }, icon('warn'),
      el('div', {}, el('strong', { text: text(problem.what, 500) }), el('p', { text: text(problem.remedy, 800) }), el('code', { class: 'faint', text: text(problem.code, 60) }))));
  }

  #disk(disk) {
    const [used, free, days] = [finite(disk.used_bytes), finite(disk.free_bytes), finite(disk.days_left)];
    const share = used + free > 0 ? used / (used + free) : NaN;
    const mark = disk.is_estimate === true ? t('health.estimate') : '';
    const left = days < 2 ? span(days * 86_400) : t('unit.days', { n: number(days, days < 9.95 ? 1 : 0) });
    const sort = days < 1 ? 'bad' : days < 3 ? 'warn' : '';
    const isKnown = Number.isFinite(days);
    return [
      el('p', { class: `big ${sort}` }, el('b', { text: isKnown ? left : bytes(used) }), ` ${t(isKnown ? 'health.left' : 'health.used')}`),
      Number.isFinite(share) ? this.#meter(share, `${bytes(used)} / ${bytes(used + free)}`) : null,
      el('p', { class: 'faint', text: [isKnown ? t('health.disk.used', { used: bytes(used) }) : '', Number.isFinite(free) ? t('health.disk.free', { free: bytes(free) }) : t('health.disk.unknown'),
        Number.isFinite(finite(disk.bytes_per_second)) ? `+${bytes(disk.bytes_per_second)}/s` : '', mark].filter(Boolean).join(' · ') }),
    ].filter(Boolean);
  }

  #meter(share, label) {
    const percent = Math.min(100, Math.max(0, share * 100));
    const meter = el('div', { class: 'meter', role: 'meter', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(percent), 'aria-label': label }, el('i', {}));
    meter.firstChild.style.width = `${percent}%`;
    if (percent > 85) meter.dataset.sort = percent > 95 ? 'bad' : 'warn';
    return meter;
  }

  #brokers(health) {
    const brokers = rows(health.brokers);
    const kind = health.is_embedded === true ? t('health.embedded') : text(health.cluster_id);
    if (brokers.length === 0) return [el('p', { class: 'empty', text: t('health.none') })];
    const body = brokers.map((broker) => [`${text(broker.host)}:${count(broker.port)}`, String(count(broker.id)), broker.is_controller === true ? t('health.controller') : '']);
    return [el('p', { class: 'faint', text: kind }), table([t('health.address'), 'id', ''], body)];
  }

  #topics(topics) {
    if (topics.length === 0) return [el('p', { class: 'empty', text: t('health.none') })];
    const body = topics.map((topic) => [
      text(topic.name, 249), number(count(topic.partitions)), `×${count(topic.replication)}`, warnAbove(count(topic.under_replicated), 0), warnAbove(count(topic.offline), 0),
      number(finite(topic.records)), `${topic.is_estimate === true ? '≈ ' : ''}${bytes(finite(topic.bytes))}`]);
    return [table(['topic', 'partitions', 'replication', 'under', 'offline', 'records', 'bytes'].map((name) => t(`health.topics.${name}`)), body)];
  }

  #groups(groups) {
    if (groups.length === 0) return [el('p', { class: 'empty', text: t('health.groups.none') })];
    const body = groups.map((group) => {
      const old = finite(group.age_ms);
      return [text(group.group, 249), text(group.state, 40), number(count(group.members)), number(finite(group.lag_records)), cell(age(old), old > 60_000 ? 'bad' : old > 5000 ? 'warn' : '')];
    });
    return [table(['group', 'state', 'members', 'lag', 'age'].map((name) => t(`health.groups.${name}`)), body)];
  }

  #drops(drops) {
    const some = drops.filter((drop) => count(drop.frames) > 0);
    if (some.length === 0) return [el('p', { class: 'empty good', text: t('gaps.none') })];
    const most = Math.max(...some.map((drop) => count(drop.frames)));
    return some.map((drop) => {
      const reason = text(drop.reason, 40);
      const bar = el('i', { class: reason === 'unexplained' ? 'bad' : '' });
      bar.style.width = `${(100 * count(drop.frames)) / most}%`;
      return el('div', { class: 'drop' }, el('span', { text: gapReason(reason) }), el('span', { class: 'drop-bar', 'aria-hidden': 'true' }, bar), el('b', { text: number(count(drop.frames)) }));
    });
  }

  #budgets(budgets) {
    if (budgets.length === 0) return [el('p', { class: 'empty', text: t('health.none') })];
    return budgets.map((budget) => {
      const [used, limit] = [count(budget.used_bytes), count(budget.limit_bytes)];
      const label = `${bytes(used)} / ${bytes(limit)}`;
      const name = text(budget.name, 60);
      return el('div', { class: 'budget' }, el('span', { text: t(`budget.${name}`, {}, name) }), this.#meter(limit > 0 ? used / limit : 0, label), el('span', { class: 'faint', text: label }));
    });
  }
}
