// The page on real streams: the right pictures, moving; a broker that is killed; a phone; a slow connection; commands.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { anyMarker, goesOn, hasProgram, marker, markerOf, skip, until } from './lib.js';
import { state } from './processes.js';
import { siteStage } from './stage.js';

const [GATE, STILL] = [{ width: 640, height: 360 }, { width: 320, height: 192 }];
/** A picture older than this on a screen beside its camera is not live. */
const LIVE_MS = 15_000;

const stage = siteStage({ publishers: [
  'test:640x360@15 --camera gate --codec h264 --bitrate 600k --keyframe-interval 1s',
  'test:320x192@5 --camera still --codec jpeg',
  'test:320x192@2 --camera still-webp --codec webp',
  'test:320x192@2 --camera still-png --codec png',
] });
const { numberOf, visit: withPage } = stage;

/** The picture on the screen is a recent one of this camera, and the next ones follow. */
async function isLive(page, camera, size) {
  const n = await numberOf(camera);
  let last = await anyMarker(page, n, size);
  for (let i = 0; i < 3; i += 1) {
    const next = await goesOn(page, n, size, 2);
    assert.ok(next.unixMillis > last.unixMillis, `${last.unixMillis} → ${next.unixMillis}`);
    last = next;
  }
  await until('a picture of now', async () => {
    const now = await marker(page, n, size);
    return now && Math.abs(Date.now() - now.unixMillis) < LIVE_MS;
  });
}

describe('pictures', () => {
  it('are the right ones and move, H.264 and JPEG', () => withPage({}, async (page) => {
    await isLive(page, 'gate', GATE);
    await isLive(page, 'still', STILL);
  }));

  for (const codec of ['webp', 'png']) {
    it(`are the right ones and move, ${codec}`, () => withPage({ path: `/camera/still-${codec}` }, async (page) => {
      await isLive(page, `still-${codec}`, STILL);
      const n = await numberOf(`still-${codec}`);
      assert.equal((await state(stage.url)).cameras.get(`still-${codec}`).codec, codec);
      // A moment of it, decoded by the viewer.
      await page.keyboard.press('Space');
      const found = await until('the picture that stands', () => markerOf(page, 'img.still', STILL));
      assert.ok(found.unixMillis <= Date.now());
      await page.keyboard.press('l');
      await goesOn(page, n, STILL, 2);
    }));
  }

  it('are measured up to the screen, and that is reported back', () => withPage({}, async (page) => {
    const n = await numberOf('gate');
    await goesOn(page, n, GATE, 10);
    const names = ['encode', 'append', 'receive', 'send', 'decode', 'shown', 'total'];
    const { stat } = await until('stages up to the screen', async () => {
      const stream = (await state(stage.url)).cameras.get('gate');
      return names.every((name) => stream.stat.stages[name]?.p50_ms >= 0) ? stream : null;
    });
    assert.ok(stat.stages.total.p50_ms > stat.stages.decode.p50_ms);
    await page.goto(new URL('/camera/gate', stage.url).href);
    await until('the waterfall', async () => /Capture to screen\s+[\d.]+ m?s/.test(await page.locator('.stage-total').innerText()));
    assert.equal((await state(stage.url)).totals.unexplained, 0);
  }));

  it('come at phone width, by touch', () => withPage({ options: { viewport: { width: 360, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 } }, async (page) => {
    await isLive(page, 'gate', GATE);
    await page.locator('.tile', { has: page.getByText('still', { exact: true }) }).tap();
    await until('its screen', () => new URL(page.url()).pathname === '/camera/still');
    await isLive(page, 'still', STILL);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
  }));

  it('come by keyboard alone', () => withPage({}, async (page) => {
    await isLive(page, 'gate', GATE);
    await page.keyboard.press('/');
    await page.keyboard.type('gate');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Enter');
    await until('its screen', () => new URL(page.url()).pathname === '/camera/gate');
    await isLive(page, 'gate', GATE);
    const download = page.waitForEvent('download');
    await page.keyboard.press('s');
    const file = readFileSync(await (await download).path());
    assert.deepEqual([...file.subarray(0, 3)], [0xff, 0xd8, 0xff]);
    await page.keyboard.press('Escape');
    await isLive(page, 'still', STILL);
  }));

  it('come back after the broker was killed, and nothing is unexplained', () => withPage({}, async (page) => {
    await isLive(page, 'gate', GATE);
    await stage.site.broker.stop('SIGKILL');
    await until('the page says so', async () => /Kafka is away/.test(await page.locator('.banner').innerText()));
    await stage.site.startBroker();
    await page.locator('.banner').waitFor({ state: 'hidden' });
    await isLive(page, 'gate', GATE);
    await isLive(page, 'still', STILL);
    assert.equal((await state(stage.url)).totals.unexplained, 0);
    assert.equal(await page.locator('.figure-loss').getAttribute('data-good'), 'true');
  }));

  it('skip ahead on a slow connection, are counted, and hold up nobody else', () => withPage({}, async (page) => {
    const n = await numberOf('gate');
    await anyMarker(page, n, GATE);
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Network.enable');
    const rate = (bytes) => devtools.send('Network.emulateNetworkConditions', { offline: false, latency: 40, downloadThroughput: bytes, uploadThroughput: bytes });
    const skipped = async () => (await state(stage.url)).cameras.get('gate').stat.skipped;
    const before = await skipped();
    await rate(24_000);
    await withPage({}, async (other) => {
      await until('frames are skipped', async () => (await skipped()) > before);
      await goesOn(page, n, GATE, 1);
      const seen = await anyMarker(other, n, GATE);
      const later = await goesOn(other, n, GATE, 15);
      assert.ok(later.unixMillis > seen.unixMillis);
    });
    await rate(-1);
    await isLive(page, 'gate', GATE);
  }));
});

/** Runs a command line until it has printed what is looked for. */
async function prints(program, args, expected) {
  const child = spawn(program, args, { cwd: stage.site.folder });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  const ended = once(child, 'exit');
  await until(`${program}: ${expected}`, () => expected.test(output) || (child.exitCode !== null && assert.fail(output)));
  child.kill('SIGKILL');
  await ended;
}

describe('commands of the camera screen work as they stand', () => {
  const commandOf = async (page, name) => {
    await page.getByRole('tab', { name }).click();
    return page.locator('pre').innerText();
  };
  // As the other tests find it: what the examples need is not in every python3.
  const python = process.env.LUMENBUS_PYTHON ?? 'python3';
  const hasPython = () => new Promise((resolve) => execFile(python, ['-c', 'import av, cv2, confluent_kafka'], (error) => resolve(!error)));

  for (const [camera, picture] of [['gate', /\(360, 640, 3\)/], ['still', /\(192, 320, 3\)/]]) {
    it(camera, () => withPage({ path: `/camera/${camera}` }, async (page) => {
      const n = await numberOf(camera);
      await anyMarker(page, n, camera === 'gate' ? GATE : STILL);
      await until('the address of the broker', async () => (await page.locator('pre').innerText()).includes(`127.0.0.1:${stage.site.port}`));
      const { partition, topic } = (await state(stage.url)).cameras.get(camera);
      assert.ok((await commandOf(page, 'Python')).includes(`consumer.assign([TopicPartition("${topic}", ${partition}, OFFSET_END)])`));
      assert.ok((await commandOf(page, 'kcat')).includes(` -t ${topic} -p ${partition} `));
      if (await hasPython()) await prints(python, ['-c', await commandOf(page, 'Python')], picture);
      else skip(`${python} has no av, cv2 and confluent_kafka`);
      if (hasProgram('kcat')) await prints('sh', ['-c', `exec ${await commandOf(page, 'kcat')}`], new RegExp(`${camera}  offset \\d+  \\d+ bytes`));
      else skip('there is no kcat');
      const curl = await commandOf(page, 'curl');
      await new Promise((resolve, reject) => execFile('sh', ['-c', curl], { cwd: stage.site.folder }, (error) => (error ? reject(error) : resolve())));
      assert.deepEqual([...readFileSync(join(stage.site.folder, `${camera}.jpg`)).subarray(0, 3)], [0xff, 0xd8, 0xff]);
    }));
  }
});
