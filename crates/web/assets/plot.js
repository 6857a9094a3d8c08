// Figures over time as lines with axes, units and the gaps; and the stages of a frame as a waterfall.

import { el, setAttribute, svg } from './dom.js';
import { age, clock, number, short } from './format.js';
import { stageName, t } from './i18n.js';

const WINDOW_MS = 300_000;
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 10, 10, 22];

/** A round upper end for an axis. */
export function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((top) => top >= value * 1.05) ?? 10 * power;
}

export class Plot {
  #width = 0;

  /** `lines`: [{ name, of(point), class }]. */
  constructor({ title, unit, lines }) {
    this.lines = lines;
    this.unit = unit;
    this.svg = svg('svg', { class: 'plot', role: 'img' });
    this.readout = el('span', { class: 'plot-readout' });
    const key = lines.length > 1 ? el('span', { class: 'plot-key' }, ...lines.map((line) => el('span', { class: `key ${line.class}`, text: line.name }))) : null;
    this.title = title;
    this.element = el('figure', { class: 'plot-box' }, el('figcaption', {}, el('b', { text: title }), el('span', { class: 'faint', text: ` ${unit}` }), key, this.readout), this.svg);
    this.observer = new ResizeObserver(([entry]) => {
      this.#width = entry.contentRect.width;
      this.draw();
    });
    this.observer.observe(this.svg);
    this.points = [];
    this.hover = null;
    this.svg.addEventListener('pointermove', (event) => this.#hover(event.offsetX));
    this.svg.addEventListener('pointerleave', () => this.#hover(null));
  }

  #hover(x) {
    this.hover = x;
    this.draw();
  }

  update(points) {
    this.points = points;
    this.draw();
  }

  draw() {
    const [width, height] = [this.#width, this.svg.clientHeight || 140];
    if (width < 80) return;
    const end = this.points.at(-1)?.at ?? 0;
    const x = (at) => width - RIGHT - ((end - at) / WINDOW_MS) * (width - LEFT - RIGHT);
    const values = this.points.flatMap((point) => this.lines.map((line) => line.of(point))).filter(Number.isFinite);
    const top = niceTop(Math.max(0, ...values));
    const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);
    setAttribute(this.svg, 'viewBox', `0 0 ${width} ${height}`);
    this.svg.replaceChildren(
      ...this.#axes(width, height, top, y),
      ...this.points.filter((point) => point.missing > 0).map((point) => svg('rect', {
        class: point.unexplained > 0 ? 'gap-band bad' : 'gap-band', x: x(point.at) - 1.5, y: TOP, width: 3, height: height - TOP - BOTTOM,
      })),
      ...this.lines.map((line) => svg('path', { class: `line ${line.class}`, d: this.#path(line, x, y) })),
      ...this.#cursor(x, y, height));
    const latest = this.lines.map((line) => `${line.name} ${short(line.of(this.points.at(-1) ?? {}))}`).join(', ');
    setAttribute(this.svg, 'aria-label', `${this.title}, ${latest} ${this.unit}`);
  }

  #axes(width, height, top, y) {
    const nodes = [];
    for (const share of [0, 0.5, 1]) {
      nodes.push(svg('line', { class: 'axis', x1: LEFT, x2: width - RIGHT, y1: y(top * share), y2: y(top * share) }));
      nodes.push(svg('text', { class: 'tick', x: LEFT - 6, y: y(top * share) + 4, 'text-anchor': 'end' }, short(top * share)));
    }
    const minutes = width < 360 ? [5, 0] : [5, 4, 3, 2, 1, 0];
    for (const minute of minutes) {
      const at = width - RIGHT - (minute / 5) * (width - LEFT - RIGHT);
      nodes.push(svg('text', { class: 'tick', x: at, y: height - 6, 'text-anchor': minute === 0 ? 'end' : minute === 5 ? 'start' : 'middle' },
        minute === 0 ? t('plot.now') : `−${minute} min`));
    }
    return nodes;
  }

  /** Breaks where there is no figure. */
  #path(line, x, y) {
    let path = '';
    let isDown = false;
    for (const point of this.points) {
      const value = line.of(point);
      if (Number.isFinite(value)) path += `${isDown ? 'L' : 'M'}${x(point.at).toFixed(1)} ${y(value).toFixed(1)}`;
      isDown = Number.isFinite(value);
    }
    return path;
  }

  #cursor(x, y, height) {
    this.readout.textContent = '';
    if (this.hover === null || this.points.length === 0) return [];
    const nearest = this.points.reduce((a, b) => (Math.abs(x(b.at) - this.hover) < Math.abs(x(a.at) - this.hover) ? b : a));
    const figures = this.lines.map((line) => (this.lines.length > 1 ? `${line.name} ` : '') + short(line.of(nearest))).join('  ');
    this.readout.textContent = `${clock(nearest.at)}  ${figures} ${this.unit}`;
    const marks = this.lines.filter((line) => Number.isFinite(line.of(nearest)));
    return [
      svg('line', { class: 'cursor', x1: x(nearest.at), x2: x(nearest.at), y1: TOP, y2: height - BOTTOM }),
      ...marks.map((line) => svg('circle', { class: `dot-mark ${line.class}`, cx: x(nearest.at), cy: y(line.of(nearest)), r: 3 })),
    ];
  }

  close() {
    this.observer.disconnect();
  }
}

const STAGES = ['encode', 'queue', 'append', 'receive', 'send', 'decode', 'shown'];

/** Each stage begins where the one before it ended: bars for the median, a thin line up to the 99th percentile. */
export class Waterfall {
  constructor() {
    this.rows = new Map();
    this.element = el('div', { class: 'waterfall', role: 'table', 'aria-label': t('stages') });
    this.element.append(el('div', { class: 'stage stage-head', role: 'row' },
      el('span', { role: 'columnheader', text: t('stages.stage') }), el('span', { class: 'stage-track', 'aria-hidden': 'true' }),
      el('span', { role: 'columnheader', text: 'p50' }), el('span', { role: 'columnheader', text: 'p99' })));
    for (const name of [...STAGES, 'total']) {
      const bar = el('i', { class: 'stage-bar' });
      const tail = el('i', { class: 'stage-tail' });
      const [p50, p99] = [el('span', { role: 'cell' }), el('span', { role: 'cell' })];
      const row = el('div', { class: `stage stage-${name}`, role: 'row', title: t(`stage.${name}.what`) },
        el('span', { role: 'rowheader', text: stageName(name) }), el('span', { class: 'stage-track', 'aria-hidden': 'true' }, tail, bar), p50, p99);
      this.rows.set(name, { bar, tail, p50, p99, row });
      this.element.append(row);
    }
  }

  update(stages) {
    const of = (name) => stages.get(name) ?? { p50: NaN, p99: NaN };
    const size = (value) => (value > 0 ? value : 0);
    const sum = STAGES.reduce((total, name) => total + size(of(name).p50), 0);
    const farthest = STAGES.reduce(([start, most], name) => [start + size(of(name).p50), Math.max(most, start + size(of(name).p99))], [0, sum])[1];
    const scale = Math.max(farthest, size(of('total').p50), 1);
    let start = 0;
    for (const [name, { bar, tail, p50, p99, row }] of this.rows) {
      const stage = of(name);
      const from = name === 'total' ? 0 : start;
      Object.assign(bar.style, { left: `${(100 * from) / scale}%`, width: `${(100 * size(stage.p50)) / scale}%` });
      Object.assign(tail.style, { left: `${(100 * from) / scale}%`, width: `${(100 * size(stage.p99)) / scale}%` });
      p50.textContent = this.#millis(stage.p50);
      p99.textContent = this.#millis(stage.p99);
      setAttribute(row, 'data-empty', Number.isFinite(stage.p50) ? null : '');
      if (name !== 'total') start += size(stage.p50);
    }
  }

  #millis(value) {
    return Math.abs(value) < 999.5 ? `${number(value, Math.abs(value) < 9.95 ? 1 : 0)} ms` : age(value);
  }
}
