// A section that has its place in the navigation and is not in this version: says so, and leads back.

import { el, icon } from './dom.js';
import { t } from './i18n.js';
import { PlainScreen } from './plain.js';

export class LaterScreen extends PlainScreen {
  constructor(app, section) {
    super(app);
    this.element = el('div', { class: 'nothing' }, icon(section), el('h1', { text: t(`nav.${section}`) }), el('p', { text: t('later') }),
      el('a', { class: 'button', href: '/' }, icon('back'), el('span', { text: t('back') })));
  }
}
