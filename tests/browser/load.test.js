// Sixteen tiles of 720p at full rate: the page's queue stays short, frames may be skipped, and are counted.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { anyMarker, changes, until } from './lib.js';
import { state } from './processes.js';
import { siteStage } from './stage.js';

const SIZE = { width: 1280, height: 720 };
const TILES = 16;
/** Live: ten frames wait, and a few are in the decoder. Somebody who begins anew has up to two GOPs of a second. */
const LONGEST_QUEUE = 16;
const LONGEST_BEGINNING = 64;
const ROUNDS = 5;
const ROUND_MS = 2000;

const stage = siteStage({ begin: async (site) => {
  const clip = site.clip('720p.h264', 'test:1280x720@30,frames=60', '--bitrate 2M --keyframe-interval 1s');
  const cameras = Array.from({ length: TILES }, (_, n) => `[[camera]]\nid = "cam-${n}"\nsource = "${clip}"\nfps = 30\nloop = true\n`);
  const config = join(site.folder, 'box.toml');
  writeFileSync(config, `brokers = "127.0.0.1:${site.port}"\n${cameras.join('\n')}`);
  const box = site.spawn(`up --json --no-browser --listen 127.0.0.1:0 --config ${config}`);
  return (await box.object('viewer')).url;
} });

it('sixteen tiles of 720p', () => stage.visit({ options: { viewport: { width: 1440, height: 1100 } } }, async (page) => {
  const numbers = [];
  for (let n = 0; n < TILES; n += 1) numbers.push(await stage.numberOf(`cam-${n}`));
  await page.locator('.tile').nth(TILES - 1).waitFor();
  for (const n of numbers) await anyMarker(page, n, SIZE);
  const sample = () => page.evaluate(() => ({ at: performance.now(), ...lumenbus.theatre.counts, ages: lumenbus.theatre.ages.read() }));
  const begin = await sample();
  const queues = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await page.evaluate(() => (lumenbus.theatre.counts.longestQueue = 0));
    // Not to wait for something: the longest queue within a time is what is measured.
    await page.waitForTimeout(ROUND_MS);
    queues.push((await sample()).longestQueue);
  }
  const end = await sample();
  const seconds = (end.at - begin.at) / 1000;
  console.log(`FIGURE: 16 × 720p30: ${((end.shown - begin.shown) / seconds).toFixed(0)} pictures/s shown, ${((end.skipped - begin.skipped) / seconds).toFixed(0)}/s skipped here, queues ${queues}, age p50 ${end.ages.p50.toFixed(0)} ms, p99 ${end.ages.p99.toFixed(0)} ms`);
  assert.ok(Math.max(...queues) <= LONGEST_BEGINNING && Math.min(...queues) <= LONGEST_QUEUE, `${queues}`);
  for (const n of numbers) await changes(page, n, SIZE);
  // What this page left out and what was not sent to it is in the viewer's figures.
  if (end.skipped > 0) await until('skips at the viewer', async () => [...(await state(stage.url)).cameras.values()].some(({ stat }) => stat.skipped > 0));
  assert.equal((await state(stage.url)).totals.unexplained, 0);
}));
