// Parts of the page that need no browser: time on a line of pixels, moments as people type them, what the server answers.

import assert from 'node:assert/strict';
import { test } from 'node:test';

Object.defineProperty(globalThis, 'navigator', { value: { language: 'en', languages: ['en'] }, configurable: true });
globalThis.localStorage = undefined;
const asset = (name) => import(new URL(`../../crates/web/assets/${name}`, import.meta.url));
const { Axis, MAX_SPAN_MS, MIN_SPAN_MS, neighbour, parseMoment } = await asset('axis.js');
const { Newest, readCoverage } = await asset('archive.js');
const { fitted, waitFor } = await asset('boxes.js');
const { readFound } = await asset('wire.js');

const NOW = new Date(2026, 10, 23, 14, 30, 0).getTime();
const local = (...parts) => new Date(...parts).getTime();

test('zooming keeps the moment under the pointer, within bounds', () => {
  const axis = new Axis(0, 1000_000, 500);
  const fixed = axis.at(125);
  axis.zoom(0.5, fixed);
  assert.ok(Math.abs(axis.x(fixed) - 125) < 1e-6);
  assert.equal(axis.span, 500_000);
  for (let i = 0; i < 100; i += 1) axis.zoom(0.5, fixed);
  assert.equal(axis.span, MIN_SPAN_MS);
  for (let i = 0; i < 100; i += 1) axis.zoom(2, fixed);
  assert.equal(axis.span, MAX_SPAN_MS);
});

test('what is shown is never far from what there is', () => {
  const axis = new Axis(5000_000, 6000_000, 500);
  axis.clamp(0, 1000_000);
  assert.ok(axis.from <= 1000_000 && axis.to <= 1900_000);
  axis.pan(-50_000_000);
  axis.clamp(0, 1000_000);
  assert.ok(axis.to >= 0);
  const unknown = new Axis(5, 10_000, 500);
  unknown.clamp(NaN, NaN);
  assert.deepEqual([unknown.from, unknown.to], [5, 10_000]);
});

test('labels stand on round local times, apart from each other', () => {
  for (const span of [5_000, 60_000, 900_000, 7_200_000, 86_400_000, 7 * 86_400_000]) {
    const axis = new Axis(NOW - span, NOW, 900);
    const ticks = axis.ticks();
    assert.ok(ticks.length >= 2 && ticks.length <= 12, `${span}: ${ticks.length}`);
    const [{ at, step }] = ticks;
    assert.equal((at - new Date(at).setHours(0, 0, 0, 0)) % Math.min(step, 86_400_000), 0, String(span));
    assert.ok(axis.x(ticks[1].at) - axis.x(at) >= 84);
  }
});

test('typed moments', () => {
  const cases = [
    ['14:03', local(2026, 10, 23, 14, 3)], ['14:03:20', local(2026, 10, 23, 14, 3, 20)], ['14:03:20.5', local(2026, 10, 23, 14, 3, 20, 500)], ['9.05', local(2026, 10, 23, 9, 5)],
    // Still to come today: yesterday's is meant.
    ['23:59', local(2026, 10, 22, 23, 59)], ['-10m', NOW - 600_000], ['-10', NOW - 600_000], ['- 90 s', NOW - 90_000], ['-2h', NOW - 7_200_000], [' 2026-11-20 08:00 ', local(2026, 10, 20, 8)],
  ];
  for (const [typed, expected] of cases) assert.equal(parseMoment(typed, NOW), expected, typed);
  for (const typed of ['', 'noon', '25:00', '12:60', '12:00:61', '14', '2026-13-40 08:00', '10m', '<b>']) assert.equal(parseMoment(typed, NOW), null, typed);
});

test('neighbouring keyframes', () => {
  const keyframes = [1000, 2000, 3000];
  assert.deepEqual([neighbour(keyframes, 2000, false), neighbour(keyframes, 2000, true)], [1000, 3000]);
  assert.deepEqual([neighbour(keyframes, 2500, false), neighbour(keyframes, 2500, true)], [2000, 3000]);
  assert.deepEqual([neighbour(keyframes, 1000, false), neighbour(keyframes, 3000, true), neighbour([], 5, true)], [null, null, null]);
});

test('the newest wish wins, and only one is out', async () => {
  const newest = new Newest();
  const done = [];
  let release;
  const first = newest.run(() => new Promise((resolve) => (release = resolve)).then(() => done.push(1)));
  for (const number of [2, 3, 4]) newest.run(async () => done.push(number));
  assert.deepEqual(done, []);
  release();
  await first;
  assert.deepEqual(done, [1, 4]);
  newest.close();
  await newest.run(async () => done.push(5));
  assert.deepEqual(done, [1, 4]);
});

test('nonsense about a stretch becomes nothing', () => {
  for (const raw of [null, [], 'x', { footage: 'x', gaps: [1, null, { from_ms: 5, to_ms: 1 }], keyframes: ['a', 3, null, 1], oldest_ms: 'old' }]) {
    const coverage = readCoverage(raw);
    assert.deepEqual([coverage.footage, coverage.gaps], [[], []]);
    assert.ok(Number.isNaN(coverage.oldest) && coverage.isComplete === false);
  }
  assert.deepEqual(readCoverage({ keyframes: ['a', 3, null, 1] }).keyframes, [1, 3]);
  assert.deepEqual(readCoverage({ gaps: [{ from_ms: 1, to_ms: 2 }] }).gaps, [{ from: 1, to: 2, reason: 'other', frames: 0 }]);
});

test('pictures wait a little longer than nearly all results take, and not for ever', () => {
  assert.deepEqual([NaN, 10, 61, 160, 170, 1e9].map((late99) => waitFor({ late99 })), [100, 100, 150, 200, 300, 2000]);
  assert.deepEqual([waitFor({ late99: 10 }, 150), waitFor({ late99: 10 }, 200), waitFor({ late99: 500 }, 150)], [150, 100, 600]);
});

test('boxes lie where the picture does, whatever its shape', () => {
  assert.deepEqual(fitted(160, 90, 16 / 9), { width: 160, height: 90, x: 0, y: 0 });
  assert.deepEqual(fitted(100, 100, 2), { width: 100, height: 50, x: 0, y: 25 });
  assert.deepEqual(fitted(100, 100, 0.5), { width: 50, height: 100, x: 25, y: 0 });
});

test('what was found is checked', () => {
  const box = { class: 'motion', score: 1, track: '18446744073709551615', x: 0.1, y: 0.2, width: 0.3, height: 0.4 };
  const found = readFound({ n: 3, epoch: '18446744073709551615', seq: 7, model: 'motion', boxes: [box, { ...box, width: 0 }, { ...box, track: '<b>' }, null, 'x'] });
  const [first, second] = found.boxes;
  assert.deepEqual([found.n, found.epoch, found.seq, found.boxes.length], [3, '18446744073709551615', 7, 2]);
  assert.deepEqual([first.track, second.track], ['18446744073709551615', null]);
  assert.equal(readFound({ n: -1 }), null);
  assert.deepEqual(readFound({ n: 0, boxes: {} }).boxes, []);
});
