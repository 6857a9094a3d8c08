// The figures on top: what it costs against JPEG, how old the pictures are, whether anything was lost without a reason.

import { el, setAttribute, setText } from './dom.js';
import { age, compact, mbit, number, short, ssim } from './format.js';
import { t } from './i18n.js';

function figure(name, ...more) {
  const value = el('span', { class: 'figure-value' });
  const unit = el('span', { class: 'figure-unit' });
  const sub = el('span', { class: 'figure-sub' });
  const label = el('span', { class: 'figure-label', text: t(`headline.${name}`) });
  const element = el('div', { class: `figure figure-${name}`, role: 'group', 'aria-label': t(`headline.${name}`) }, label, el('div', { class: 'figure-line' }, value, unit), ...more, sub);
  return { element, label, value, unit, sub };
}

export class Headline {
  constructor(store, theatre) {
    this.store = store;
    this.theatre = theatre;
    this.coded = el('i', { class: 'bar bar-coded' });
    this.jpeg = el('i', { class: 'bar bar-jpeg' });
    this.bars = el('div', { class: 'bars', 'aria-hidden': 'true' }, this.coded, this.jpeg);
    this.bandwidth = figure('bandwidth', this.bars);
    this.age = figure('age');
    this.loss = figure('loss');
    this.now = figure('now');
    this.element = el('section', { class: 'headline', 'aria-label': t('headline') }, this.bandwidth.element, this.age.element, this.loss.element, this.now.element);
    this.update();
  }

  update() {
    const { totals } = this.store;
    this.#bandwidth(totals);
    this.#age(totals);
    setText(this.loss.value, number(totals.unexplained));
    setAttribute(this.loss.element, 'data-good', totals.unexplained === 0);
    setText(this.loss.sub, t('headline.loss.sub', { frames: compact(totals.frames), missing: compact(totals.missing - totals.unexplained) }));
    const all = [...this.store.streams.values()];
    const live = all.filter((stream) => stream.state === 'live' || stream.state === 'late').length;
    setText(this.now.value, `${live}`);
    setText(this.now.unit, `/ ${all.length}`);
    setText(this.now.sub, t('headline.now.sub', { mbit: mbit(totals.mbit), viewers: number(totals.viewers) }));
  }

  #bandwidth({ ratio, mbit: all }) {
    const isKnown = ratio && Number.isFinite(ratio.times) && ratio.jpeg > 0;
    setAttribute(this.bars, 'hidden', isKnown ? null : '');
    setText(this.bandwidth.label, t(isKnown ? 'headline.bandwidth' : 'headline.bandwidth.all'));
    if (!isKnown) {
      setText(this.bandwidth.value, mbit(all));
      setText(this.bandwidth.unit, 'Mbit/s');
      setText(this.bandwidth.sub, t('headline.bandwidth.none'));
      return;
    }
    setText(this.bandwidth.value, `${short(ratio.times)}×`);
    setText(this.bandwidth.unit, t('headline.bandwidth.less'));
    const rates = { coded: mbit(ratio.coded), jpeg: mbit(ratio.jpeg) };
    const isJudged = Number.isFinite(ratio.codedSsim) && Number.isFinite(ratio.jpegSsim);
    const quality = isJudged && { codedSsim: ssim(ratio.codedSsim), jpegSsim: ssim(ratio.jpegSsim) };
    setText(this.bandwidth.sub, quality ? t('headline.bandwidth.judged', { ...rates, ...quality }) : t('headline.bandwidth.sub', rates));
    this.coded.style.width = `${Math.min(100, Math.max(1, (100 * ratio.coded) / ratio.jpeg))}%`;
  }

  /** Where pictures are on this screen, their ages here, else those at the server. */
  #age(totals) {
    const here = this.theatre.ages.read();
    const isHere = here.count > 0;
    const [p50, p99] = isHere ? [here.p50, here.p99] : [totals.age50, totals.age99];
    const [value, ...unit] = age(p50).split(' ');
    setText(this.age.value, value);
    setText(this.age.unit, unit.join(' '));
    setText(this.age.sub, t(isHere ? 'headline.age.here' : 'headline.age.server', { p99: age(p99) }));
  }
}
