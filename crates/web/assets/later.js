// A section that has its place in the navigation and is not in this version: says so, and leads back.

import { el, icon } from './dom.js';
import { t } from './i18n.js';

export class LaterScreen {
  constructor(app, section) {
    this.app = app;
    this.element = el('div', { class: 'nothing' }, icon(section), el('h1', { text: t(`nav.${section}`) }), el('p', { text: t('later') }),
      el('a', { class: 'button', href: '/' }, icon('back'), el('span', { text: t('back') })));
  }

  mount() {}

  unmount() {}

  get current() {
    return null;
  }

  get fullElement() {
    return null;
  }

  key(event) {
    if (event.key !== 'Escape') return false;
    this.app.goBack();
    return true;
  }

  keyInField() {
    return false;
  }
}
