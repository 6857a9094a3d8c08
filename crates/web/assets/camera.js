// Camera: one stream large, and everything about it: stages, gaps, figures over time, how to read it elsewhere.

import { Actions } from './activity.js';
import { BoxesButton } from './boxes.js';
import { brokersOf, commandsFor } from './commands.js';
import { copyText, el, icon, setAttribute, setText } from './dom.js';
import { age, bytes, clock, mbit, moment, number } from './format.js';
import { gapReason, gapText, stateText, t } from './i18n.js';
import { Plot, Waterfall } from './plot.js';
import { cameraPath, codecName, drawStrip, Freshness, GAP_SHOWN_MS, HealthChip, substitute, Veil } from './tile.js';
import { Timeline } from './timeline.js';

const GAPS_SHOWN = 50;

const panel = (title, ...content) => el('section', { class: 'panel', 'aria-label': title }, el('h2', { text: title }), ...content);

/** Saves a picture: the server's newest one of this stream, or that of a recorded moment. */
export async function saveSnapshot(facts, say, at = NaN) {
  try {
    const when = Number.isFinite(at) ? `&at_ms=${Math.round(at * 1000) / 1000}&exact=1` : '';
    const answer = await fetch(`/api/v1/cameras/${encodeURIComponent(facts.camera)}/snapshot?stream=${facts.n}${when}`, { cache: 'no-store' });
    if (!answer.ok) {
      const body = await answer.json().catch(() => ({}));
      throw new Error(typeof body?.error?.message === 'string' ? body.error.message.slice(0, 300) : `${answer.status}`);
    }
    const nanos = answer.headers.get('X-Lumenbus-Capture-Unix-Nanos');
    const taken = new Date(nanos ? Number(nanos) / 1e6 : Date.now());
    const name = `${facts.camera}-${taken.toISOString().slice(0, 19).replaceAll(':', '')}Z.jpg`;
    const address = URL.createObjectURL(await answer.blob());
    el('a', { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    say(t('snapshot.saved', { name }));
  } catch (error) {
    say(t('snapshot.failed', { why: error.message }), true);
  }
}

export class CameraScreen {
  #stops = [];
  #stream = null;
  #hasPicture = false;
  #health = null;
  #command = 'python';
  #isClosed = false;
  #chipTimer = 0;
  #timeline = null;
  #from = null;

  /** `at`: a recorded moment to begin with, Unix milliseconds. */
  constructor(app, { id, topic, stream, at = null }) {
    this.app = app;
    this.#from = at;
    this.wanted = { id, topic, stream };
    const { store } = app;
    this.back = el('a', { class: 'button icon-only', href: '/', 'aria-label': t('back'), title: `${t('back')} (Esc)` }, icon('back'));
    this.name = el('h1', {});
    this.state = el('span', { class: 'state-pill' });
    this.meta = el('p', { class: 'camera-meta' });
    this.streams = el('div', { class: 'chips-row' });
    this.snapshot = el('button', { class: 'button', type: 'button', title: `${t('snapshot')} (s)`, on: { click: () => this.#save() } }, icon('snapshot'), el('span', { text: t('snapshot') }));
    this.boxes = new BoxesButton(app, () => Boolean(this.#stream?.stat.analysis));
    this.full = el('button', { class: 'button icon-only', type: 'button', 'aria-label': t('full'), title: `${t('full')} (f)`, on: { click: () => app.toggleFull() } }, icon('full'));
    this.previous = el('a', { class: 'button icon-only', 'aria-label': t('previous'), title: `${t('previous')} (←)` }, icon('back'));
    this.next = el('a', { class: 'button icon-only', 'aria-label': t('next'), title: `${t('next')} (→)` }, icon('forward'));
    this.holder = el('div', { class: 'holder' });
    this.veil = new Veil();
    this.gapChip = el('span', { class: 'chip chip-gap', hidden: true });
    this.freshness = new Freshness();
    this.health = new HealthChip(true);
    this.events = el('a', { class: 'button icon-only', href: `/events?${new URLSearchParams({ camera: id })}`, 'aria-label': t('events.of'), title: t('events.of'), hidden: true }, icon('events'));
    this.recordedChip = el('span', { class: 'chip chip-recorded', hidden: true });
    this.boxesChip = el('span', { class: 'chip', hidden: true });
    this.times = el('div', { class: 'timeline-holder', hidden: true });
    this.strip = el('canvas', { class: 'strip', 'aria-hidden': 'true' });
    this.stage = el('div', { class: 'stage-picture' }, el('div', { class: 'picture' }, this.holder, this.veil.element, el('div', { class: 'chips' }, this.health.element, this.recordedChip, this.boxesChip, this.freshness.element, this.gapChip)), this.strip);
    this.other = el('a', { class: 'other-stream', hidden: true }, this.veil.other);
    this.veil.element.append(this.other);
    this.figures = el('dl', { class: 'camera-figures' });
    this.plots = [
      new Plot({ title: t('plot.bitrate'), unit: 'Mbit/s', lines: [{ name: t('plot.bitrate'), class: 'line-a', of: (point) => point.mbit }] }),
      new Plot({ title: t('plot.age'), unit: 'ms', lines: [
        { name: t('plot.screen'), class: 'line-a', of: (point) => point.screen }, { name: 'p50', class: 'line-c', of: (point) => point.age50 }, { name: 'p99', class: 'line-b', of: (point) => point.age99 }] }),
    ];
    this.waterfall = new Waterfall();
    this.waiting = el('p', { class: 'empty', text: t('stages.none') });
    this.gapSums = el('div', { class: 'gap-sums' });
    this.gapList = el('ol', { class: 'gap-list', tabindex: 0, 'aria-label': t('gaps') });
    this.gapNone = el('p', { class: 'empty good', text: t('gaps.none') });
    this.actions = new Actions(store, app.say, id);
    this.tabs = el('div', { class: 'tabs', role: 'tablist', 'aria-label': t('commands') });
    this.code = el('code', {});
    this.copy = el('button', { class: 'button small', type: 'button', on: { click: () => this.#copy() } }, icon('copy'), el('span', { text: t('copy') }));
    this.about = el('dl', { class: 'facts' });
    this.missing = el('div', { class: 'nothing', hidden: true }, icon('search'), el('p', {}));
    this.body = this.#body();
    this.element = el('div', { class: 'camera' }, this.#head(), this.missing, this.body);
  }

  #head() {
    return el('header', { class: 'camera-head' }, this.back, el('div', { class: 'camera-title' }, el('div', { class: 'camera-line' }, this.name, this.state), this.meta),
      this.streams, el('div', { class: 'buttons' }, this.previous, this.next, this.events, this.boxes.element, this.snapshot, this.full));
  }

  #body() {
    const pre = el('pre', { tabindex: 0, 'aria-label': t('commands') }, this.code);
    return el('div', { class: 'camera-body' },
      el('div', { class: 'camera-main' }, this.stage, this.times, this.figures, this.actions.element, el('div', { class: 'plots' }, ...this.plots.map((plot) => plot.element))),
      el('div', { class: 'camera-side' },
        panel(t('stages'), this.waterfall.element, this.waiting),
        panel(t('gaps'), this.gapSums, this.gapNone, this.gapList),
        panel(t('commands'), el('div', { class: 'code-head' }, this.tabs, this.copy), pre),
        panel(t('about'), this.about)));
  }

  mount() {
    const { store } = this.app;
    const on = (topic, handler) => this.#stops.push(store.on(topic, handler));
    on('streams', () => this.#choose());
    on('stats', () => this.#stats());
    on('trouble', () => this.#stats());
    on('link', () => this.#linked());
    on('boxes', () => this.#timeline?.recall.isPlaying && this.#timeline.recall.play());
    on('hello', () => this.#setTimeline());
    on('actions', () => this.actions.update());
    on('gap', (gap) => gap.n === this.#stream?.facts.n && this.#gaps());
    this.#choose();
    this.#askHealth();
  }

  unmount() {
    this.#isClosed = true;
    clearTimeout(this.#chipTimer);
    this.#stops.forEach((stop) => stop());
    this.boxes.close();
    this.#timeline?.close();
    this.#timeline = null;
    if (this.#stream) this.app.theatre.remove(this.#stream.facts.n);
    this.plots.forEach((plot) => plot.close());
  }

  async #askHealth() {
    try {
      const answer = await fetch('/api/v1/health', { cache: 'no-store' });
      if (answer.ok && !this.#isClosed) this.#health = await answer.json();
    } catch {
      // The commands then name the usual address.
    }
    if (!this.#isClosed) this.#commands();
  }

  #choose() {
    const { store, theatre } = this.app;
    const all = store.ofCamera(this.wanted.id);
    const chosen = all.find(({ facts }) => facts.topic === this.wanted.topic && facts.stream === (this.wanted.stream ?? 'main')) ?? all[0] ?? null;
    this.missing.hidden = chosen !== null;
    this.body.hidden = chosen === null;
    if (!chosen) {
      setText(this.missing.lastChild, t(store.isListed ? 'camera.unknown' : 'nothing.connecting', { id: this.wanted.id }));
      setText(this.name, this.wanted.id);
    }
    if (chosen !== this.#stream) {
      if (this.#stream) theatre.remove(this.#stream.facts.n);
      this.#stream = chosen;
      this.#hasPicture = false;
      this.#timeline?.close();
      this.#timeline = null;
      if (chosen) {
        theatre.add(chosen.facts.n, this.holder, {
          onShown: (picture) => this.#shown(picture), onWatched: () => this.#timeline?.recall.watched(), accepts: (header) => this.#timeline?.recall.accepts(header) ?? true,
        });
        this.#setTimeline();
        theatre.setVisible(chosen.facts.n, true);
        this.#gaps();
      }
    }
    if (chosen) {
      this.#facts(all);
      // The stream may have moved to another partition.
      this.#commands();
    }
    this.#neighbours();
  }

  /** Where the viewer has recordings, and once: the place in time is kept while the connection comes and goes. */
  #setTimeline() {
    if (this.#timeline || !this.#stream || !this.#stream.facts.topic || this.#stream.facts.isSealed || !this.app.store.sections.includes('timeline')) return;
    this.#timeline = new Timeline(this.app, this.#stream, this.holder, () => this.#recalled());
    this.times.replaceChildren(this.#timeline.element);
    this.times.hidden = false;
    if (this.#from !== null) this.#timeline.goTo(this.#from, { isToShow: true });
    this.#from = null;
  }

  #linked() {
    if (this.app.store.link.state === 'open') this.#timeline?.recall.watched();
    this.#choose();
  }

  /** On the picture: that it is not of now. */
  #recalled() {
    const { recall } = this.#timeline ?? {};
    const isLive = recall?.isLive ?? true;
    setAttribute(this.stage, 'data-recall', isLive ? null : recall.mode);
    this.recordedChip.hidden = isLive;
    if (!isLive) setText(this.recordedChip, t('recall.chip', { time: moment(recall.at) }));
    this.freshness.element.classList.toggle('is-recorded', !isLive);
  }

  #shown(picture) {
    this.#timeline?.recall.shown(picture);
    this.freshness.shown(picture, this.app.now());
    if (this.#hasPicture) return;
    this.#hasPicture = true;
    this.#stats();
  }

  #neighbours() {
    const ids = [...new Set(this.app.store.sorted.map(({ facts }) => facts.camera))];
    const at = ids.indexOf(this.wanted.id);
    const path = (id) => (id === undefined ? null : cameraPath({ camera: id }, true));
    setAttribute(this.previous, 'href', at > 0 ? path(ids[at - 1]) : null);
    setAttribute(this.next, 'href', at >= 0 ? path(ids[at + 1]) : null);
  }

  #facts(all) {
    const { facts } = this.#stream;
    setText(this.name, facts.name);
    document.title = `${facts.name} · lumenbus`;
    setText(this.meta, [facts.group, facts.camera, `${facts.topic}/${facts.stream}`].filter(Boolean).join(' · '));
    this.streams.hidden = all.length < 2;
    this.streams.replaceChildren(...all.map((stream) => el('a', {
      class: 'pill', href: cameraPath(stream.facts, false), 'aria-current': stream === this.#stream ? 'true' : null,
      text: `${codecName(stream.facts.codec)} · ${stream.facts.topic}${stream.facts.stream === 'main' ? '' : `/${stream.facts.stream}`}`,
    })));
    this.#stats();
  }

  #stats() {
    if (!this.#stream) return;
    const { stat, facts, history } = this.#stream;
    // A picture of the past is one, too.
    const isRecalled = this.#timeline !== null && !this.#timeline.recall.isLive;
    const state = this.veil.update(this.#stream, this.#hasPicture || isRecalled);
    setAttribute(this.state, 'data-state', state);
    setText(this.state, stateText(state));
    this.health.update(this.#stream);
    this.events.hidden = !this.app.store.sections.includes('events');
    this.#offerOther(state);
    this.#analysis(isRecalled);
    if (facts.width && facts.height) this.stage.style.setProperty('--ratio', `${facts.width} / ${facts.height}`);
    const figures = [
      ['figure.fps', number(stat.fps, 1), t('figure.fps.unit')],
      ['figure.rate', mbit(stat.mbit), 'Mbit/s'],
      ['figure.age', ...this.#split(age(this.#stream.age)), t('figure.age.sub', { p99: age(stat.age99) })],
      ['figure.frames', number(stat.frames), '', this.#lossText()],
      ['figure.unexplained', number(stat.unexplained), ''],
    ];
    this.figures.replaceChildren(...figures.map(([name, value, unit, sub]) => el('div', { class: 'camera-figure', 'data-good': name === 'figure.unexplained' ? String(stat.unexplained === 0) : null },
      el('dt', { text: t(name) }), el('dd', {}, el('b', { text: value }), unit ? ` ${unit}` : '', sub ? el('small', { text: sub }) : null))));
    this.plots.forEach((plot) => plot.update(history));
    this.waiting.hidden = stat.stages.size > 0;
    this.waterfall.element.hidden = stat.stages.size === 0;
    this.waterfall.update(stat.stages);
    this.#gapTotals();
    this.#aboutFacts();
    drawStrip(this.strip, this.#stream);
  }

  /** On the picture: who looks for what, and how long the picture waits for that. */
  #analysis(isRecalled) {
    const { stat, facts } = this.#stream;
    const wait = isRecalled ? null : this.app.theatre.wait(facts.n);
    this.boxesChip.hidden = wait === null || !stat.analysis;
    if (!this.boxesChip.hidden) setText(this.boxesChip, t('boxes.wait', { models: stat.analysis.models.join(', '), ms: wait }));
    this.boxes.update();
  }

  /** Where this browser cannot play a stream, another one of the same camera may do. */
  #offerOther(state) {
    const other = state === 'unplayable' ? substitute(this.#stream, this.app.store.ofCamera(this.wanted.id)) : null;
    this.other.hidden = other === null;
    this.veil.offer(other);
    if (!other) return;
    setAttribute(this.other, 'href', cameraPath(other.facts, false));
  }

  #lossText() {
    const { repeated } = this.#stream.stat;
    const parts = [t('figure.frames.sub', { missing: number(this.#stream.missing) })];
    if (repeated > 0) parts.push(t('figure.frames.repeated', { repeated: number(repeated) }));
    return parts.join(' · ');
  }

  #split(text) {
    const [value, ...unit] = text.split(' ');
    return [value, unit.join(' ')];
  }

  #aboutFacts() {
    const { facts, stat } = this.#stream;
    const rows = [
      ['about.codec', [codecName(facts.codec), facts.codecString].filter(Boolean).join(' · ')],
      ['about.size', facts.width ? `${facts.width} × ${facts.height}${Number.isFinite(facts.fps) ? ` · ${t('fps', { n: number(facts.fps, facts.fps % 1 ? 2 : 0) })}` : ''}` : ''],
      ['about.topic', `${facts.topic}${facts.partition === null ? '' : ` · ${t('about.partition', { n: facts.partition })}`}`],
      ['about.bytes', bytes(stat.bytes)],
      ['about.keyframe', Number.isFinite(stat.keyframeAge) ? age(stat.keyframeAge) : ''],
      ['about.skipped', number(stat.skipped)],
      ...[...facts.labels].map(([name, value]) => [name, value]),
    ];
    this.about.replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) => [el('dt', { text: t(name, {}, name) }), el('dd', { text: value })]));
  }

  #gapTotals() {
    const { stat } = this.#stream;
    const sums = [...stat.missing].filter(([, frames]) => frames > 0).sort((a, b) => b[1] - a[1]);
    this.gapSums.replaceChildren(...sums.map(([reason, frames]) => el('span', { class: `sum ${reason === 'unexplained' ? 'bad' : ''}` }, el('b', { text: number(frames) }), ` ${gapReason(reason)}`)));
    this.gapNone.hidden = sums.length + this.#stream.gaps.length + stat.openGaps > 0;
  }

  #gaps() {
    const gaps = this.#stream.gaps.slice(0, GAPS_SHOWN);
    this.gapList.hidden = gaps.length === 0;
    this.gapList.replaceChildren(...gaps.map((gap) => {
      const extent = gap.last === null ? t('gap.from', { first: number(gap.first) }) : t('gap.extent', { first: number(gap.first), last: number(gap.last) });
      const frames = gap.last === null ? t('gap.open') : t('gap.frames', { n: number(gap.last - gap.first + 1) });
      return el('li', { title: `epoch ${gap.epoch}` }, el('time', { text: clock(gap.at) }), el('span', { class: 'gap-what', text: gapReason(gap.reason) }),
        el('span', { class: 'gap-frames', text: frames }), el('span', { class: 'gap-extent', text: extent }));
    }));
    this.#chip(gaps[0]);
    this.#gapTotals();
  }

  /** On the picture, like on a tile: the newest gap, while it is news. */
  #chip(gap) {
    if (!gap || Math.abs(gap.at - this.app.now()) > GAP_SHOWN_MS) return;
    setText(this.gapChip, gapText(gap));
    this.gapChip.hidden = false;
    clearTimeout(this.#chipTimer);
    this.#chipTimer = setTimeout(() => (this.gapChip.hidden = true), GAP_SHOWN_MS);
  }

  #commands() {
    if (!this.#stream) return;
    const commands = commandsFor(this.#stream.facts, brokersOf(this.#health));
    if (!commands[this.#command]) this.#command = Object.keys(commands)[0];
    const names = { python: 'Python', curl: 'curl', kcat: 'kcat' };
    const hadFocus = this.tabs.contains(document.activeElement);
    this.tabs.replaceChildren(...Object.keys(commands).map((name) => el('button', {
      class: 'tab', type: 'button', role: 'tab', 'aria-selected': name === this.#command, 'data-command': name, text: names[name],
      on: { click: () => ((this.#command = name), this.#commands()) },
    })));
    if (hadFocus) this.tabs.querySelector('[aria-selected=true]').focus();
    setText(this.code, commands[this.#command]);
  }

  async #copy() {
    try {
      await copyText(this.code.textContent);
      this.app.say(t('copied'));
    } catch (error) {
      this.app.say(t('copy.failed', { why: error.message }), true);
    }
  }

  #save() {
    return saveSnapshot(this.#stream.facts, this.app.say, this.moment);
  }

  get current() {
    return this.#stream;
  }

  /** The recorded moment that is shown, NaN while live. */
  get moment() {
    return this.#timeline?.recall.at ?? NaN;
  }

  get fullElement() {
    return this.stage;
  }

  key(event) {
    if (event.target.closest?.('pre, .gap-list, [role=tablist]')) return false;
    if (this.#timeline?.key(event)) return true;
    const keys = this.#timeline ? { '[': this.previous, ']': this.next } : { ArrowLeft: this.previous, ArrowRight: this.next };
    const to = keys[event.key];
    if (to?.getAttribute('href')) {
      this.app.go(to.getAttribute('href'), { isReplacing: true });
      return true;
    }
    if (event.key === 'Escape') {
      this.app.goBack();
      return true;
    }
    return false;
  }

  keyInField() {
    return false;
  }
}
