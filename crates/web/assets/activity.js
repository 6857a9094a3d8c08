// What can be done to the system (the demo's buttons), and what happened.

import { el, icon, setAttribute, setText } from './dom.js';
import { clock, number } from './format.js';
import { language, gapReason, t } from './i18n.js';

const SHOWN = 60;

/** Asks the server for an action; the answer's text, or an error with one. */
async function runAction(action) {
  const answer = await fetch(`/api/v1/actions/${encodeURIComponent(action.id)}`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(action.camera ? { camera: action.camera } : {}),
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(typeof body?.error?.message === 'string' ? body.error.message.slice(0, 300) : `${answer.status}`);
  return typeof body?.message === 'string' ? body.message.slice(0, 300) : '';
}

/** Buttons for the actions of a camera, or for all of them. */
export class Actions {
  constructor(store, say, camera = null) {
    this.store = store;
    this.say = say;
    this.camera = camera;
    this.element = el('div', { class: 'actions', role: 'group', 'aria-label': t('actions') });
    this.buttons = new Map();
    this.update();
  }

  update() {
    const actions = this.store.actions.filter((action) => this.camera === null || action.camera === this.camera);
    const keys = actions.map((action) => `${action.id} ${action.camera}`);
    if (keys.join() !== [...this.buttons.keys()].join()) {
      this.buttons = new Map(keys.map((key, at) => [key, this.#button(actions[at])]));
      this.element.replaceChildren(...this.buttons.values());
    }
    actions.forEach((action, at) => {
      const button = this.buttons.get(keys[at]);
      setText(button.lastChild, language() === 'zh' ? action.zh : action.en);
      setAttribute(button, 'aria-pressed', action.isOn);
    });
    // Several with a camera each, beside others: two in a row.
    this.element.classList.toggle('has-own', this.camera === null && actions.some((action) => action.camera));
    this.element.hidden = actions.length === 0;
  }

  #button(action) {
    const button = el('button', { class: 'action', type: 'button', 'data-own': this.camera === null && action.camera ? '' : null }, icon('bolt'), el('span'));
    button.addEventListener('click', async () => {
      button.setAttribute('aria-busy', 'true');
      try {
        this.say(await runAction(action));
      } catch (error) {
        this.say(t('action.failed', { why: error.message }), true);
      }
      button.removeAttribute('aria-busy');
    });
    return button;
  }
}

/** One line of what happened: [kind, text]. */
function line(entry) {
  const cameras = [...entry.cameras];
  const who = cameras.length > 3 ? t('log.cameras', { n: number(cameras.length) }) : cameras.join(language() === 'zh' ? '、' : ', ');
  if (entry.kind === 'gap') {
    const isBad = entry.gap.reason === 'unexplained';
    const frames = entry.frames > 0 ? t('gap.frames', { n: number(entry.frames) }) : t('gap.open');
    return [isBad ? 'bad' : 'gap', `${who}: ${frames} · ${gapReason(entry.gap.reason)}`];
  }
  const known = t(`log.${entry.what}`, {}, '');
  const what = known || entry.what;
  const text = [what, entry.text].filter(Boolean).join(' · ');
  const sort = { offline: 'bad', disconnected: 'bad', unreadable: 'bad', online: 'good', connected: 'good' }[entry.what] ?? 'note';
  return [sort, who ? `${who}: ${text}` : text];
}

export class Log {
  constructor(store) {
    this.store = store;
    this.list = el('ol', { class: 'log', role: 'log', 'aria-live': 'off', 'aria-label': t('log'), tabindex: 0 });
    this.empty = el('p', { class: 'empty', text: t('log.empty') });
    this.element = el('div', { class: 'log-holder' }, this.empty, this.list);
    this.update();
  }

  /** Once per display refresh, however much happens. */
  updateSoon() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.update();
    });
  }

  update() {
    const entries = this.store.log.slice(0, SHOWN);
    this.empty.hidden = entries.length > 0;
    this.list.hidden = entries.length === 0;
    this.list.replaceChildren(...entries.map((entry) => {
      const [sort, text] = line(entry);
      return el('li', { 'data-sort': sort }, el('time', { text: clock(entry.at) }), el('span', { text }));
    }));
  }
}
