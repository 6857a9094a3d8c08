// The timeline on real streams: the right picture of any moment, playing from there, back to live, clips that play.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { anyMarker, goesOn, hasProgram, marker, markerOf, skip, until } from './lib.js';
import { siteStage } from './stage.js';

const SIZES = { gate: { width: 640, height: 360 }, still: { width: 320, height: 192 } };
/** A picture further than this before the moment is not the one, however busy the machine. */
const FAR_MS = 20_000;
/** Seconds on record before anything is looked for. */
const RECORDED = 14;
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

const stage = siteStage({ publishers: [
  'test:640x360@15 --camera gate --codec h264 --bitrate 800k --keyframe-interval 2s',
  'test:320x192@5 --camera still --codec jpeg',
] });

const withCamera = (camera, { options = {} }, check) => stage.visit({ path: `/camera/${camera}`, options: { acceptDownloads: true, ...options } }, async (page) => {
  const n = await stage.numberOf(camera);
  const { oldest_ms: oldest } = await until('something on record', () => timeline(camera, n).then((told) => (told.oldest_ms === null ? null : told)));
  await until('enough on record', async () => (await marker(page, n, SIZES[camera]))?.unixMillis >= oldest + RECORDED * 1000);
  await check(page, n);
});

const still = (page, camera) => markerOf(page, 'img.still', SIZES[camera]);
const mode = (page) => page.locator('.timeline').getAttribute('data-mode');
const isMode = (page, wanted) => until(`mode ${wanted}`, async () => (await mode(page)) === wanted);
/** What is on record, by the server. */
async function timeline(camera, n) {
  const answer = await fetch(new URL(`/api/v1/cameras/${camera}/timeline?stream=${n}&width=4096`, stage.url));
  assert.equal(answer.status, 200);
  return answer.json();
}
const playhead = async (page) => Number(await page.locator('.track').getAttribute('aria-valuenow'));

/** Types a moment, to the tenth of a second. */
async function goTo(page, at) {
  const typed = await page.evaluate((millis) => new Date(millis).toTimeString().slice(0, 8) + `.${Math.floor((millis % 1000) / 100)}`, at);
  const field = page.getByLabel('Go to a time');
  await field.fill(typed);
  await field.press('Enter');
}

/** Which frame is the last one at or before a moment, by the server; the burnt-in counter is its seq. */
async function frameAt(camera, n, at) {
  const answer = await fetch(new URL(`/api/v1/cameras/${camera}/snapshot?stream=${n}&at_ms=${at}&exact=1`, stage.url));
  assert.equal(answer.status, 200, `${at}`);
  return Number(answer.headers.get('X-Lumenbus-Seq'));
}

/** The picture that stands is that of the last frame at or before the moment. */
async function shows(page, camera, n, at) {
  const asked = Math.floor(at / 100) * 100;
  const counter = await frameAt(camera, n, asked);
  const found = await until(`picture ${counter}, of ${asked}`, async () => {
    const found = await still(page, camera);
    return found?.counter === counter ? found : null;
  });
  // How far apart frames are is up to the machine; a keyframe there is each other second.
  assert.ok(found.unixMillis <= asked + 1 && found.unixMillis > asked - FAR_MS, `${found.unixMillis} for ${asked}`);
  return found;
}

for (const camera of ['gate', 'still']) {
  describe(`a camera that sends ${camera === 'gate' ? 'H.264' : 'JPEG'}`, () => {
    it('shows the right picture of random moments', () => withCamera(camera, {}, async (page, n) => {
      const newest = await anyMarker(page, n, SIZES[camera]);
      for (const share of [0.13, 0.87, 0.42, 0.66, 0.05]) {
        const at = newest.unixMillis - share * (RECORDED - 2) * 1000;
        await goTo(page, at);
        const found = await shows(page, camera, n, at);
        assert.ok(found.counter <= newest.counter);
        await until('the playhead is there', async () => Math.abs((await playhead(page)) - found.unixMillis) < 20);
      }
    }));

    it('plays from there, and comes back to live', () => withCamera(camera, {}, async (page, n) => {
      const newest = await anyMarker(page, n, SIZES[camera]);
      const at = newest.unixMillis - 8000;
      await goTo(page, at);
      const first = await shows(page, camera, n, at);
      await page.keyboard.press('Space');
      await isMode(page, 'playing');
      await until('it plays', async () => !(await page.locator('img.still').isVisible()));
      const begun = await anyMarker(page, n, SIZES[camera]);
      assert.ok(begun.counter >= first.counter - 1 && begun.unixMillis < Date.now() - 4000, `${begun.counter} after ${first.counter}, of ${begun.unixMillis}`);
      await goesOn(page, n, SIZES[camera], 4);
      // Faster than it happens, playing arrives in the present.
      await page.getByLabel('Speed').selectOption('16');
      await isMode(page, 'live');
      await until('a picture of now', async () => Math.abs(Date.now() - ((await marker(page, n, SIZES[camera]))?.unixMillis ?? 0)) < 15_000);
      await goesOn(page, n, SIZES[camera], 4);
    }));

    it('plays backwards', () => withCamera(camera, {}, async (page, n) => {
      const newest = await anyMarker(page, n, SIZES[camera]);
      await page.keyboard.press('Space');
      await isMode(page, 'still');
      await page.getByLabel('Speed').selectOption('-4');
      await page.keyboard.press('Space');
      // The recording is short: it may have been played to its beginning before anybody looks.
      await until('earlier pictures', async () => (await marker(page, n, SIZES[camera]))?.unixMillis < newest.unixMillis - 4000);
      await page.keyboard.press('l');
      await isMode(page, 'live');
      await until('a later picture', async () => (await marker(page, n, SIZES[camera]))?.counter > newest.counter);
    }));
  });
}

/** Of a video file: its codec, how many pictures, and how long. */
function probe(file) {
  const text = execFileSync('ffprobe', ['-v', 'error', '-count_frames', '-select_streams', 'v:0', '-show_entries', 'stream=codec_name,nb_read_frames:format=duration', '-of', 'json', file]);
  const { streams: [stream], format } = JSON.parse(text);
  return { codec: stream.codec_name, frames: Number(stream.nb_read_frames), seconds: Number(format.duration) };
}

async function exportClip(page, name) {
  const download = page.waitForEvent('download');
  await page.keyboard.press('e');
  const file = join(stage.site.folder, name);
  copyFileSync(await (await download).path(), file);
  return { file, name: (await download).suggestedFilename() };
}

/** Marks five seconds. */
async function markClip(page, n, camera) {
  const newest = await anyMarker(page, n, SIZES[camera]);
  await goTo(page, newest.unixMillis - 10_000);
  await shows(page, camera, n, newest.unixMillis - 10_000);
  await page.keyboard.press('i');
  await goTo(page, newest.unixMillis - 5000);
  await shows(page, camera, n, newest.unixMillis - 5000);
  await page.keyboard.press('o');
  await until('its length', async () => / s · about/.test(await page.locator('.clip-length').innerText()));
}

describe('keys', () => {
  it('step from keyframe to keyframe, and to the oldest of all', () => withCamera('gate', {}, async (page, n) => {
    const showsKeyframe = async (at) => {
      await until(`the playhead at ${at}`, async () => Math.abs((await playhead(page)) - at) < 2);
      const seq = await frameAt('gate', n, at);
      await until(`picture ${seq}`, async () => (await still(page, 'gate'))?.counter === seq);
      return seq;
    };
    const { keyframes: known } = await timeline('gate', n);
    await page.locator('.track').focus();
    await page.keyboard.press('Home');
    assert.equal(await showsKeyframe(known[0]), 0);
    for (const [key, at] of [['ArrowRight', 1], ['ArrowRight', 2], ['ArrowRight', 3], ['ArrowLeft', 2], ['ArrowLeft', 1]]) {
      await page.keyboard.press(key);
      const seq = await showsKeyframe(known[at]);
      assert.ok(seq > 0, `${key} shows ${seq}`);
    }
  }));
});

describe('a clip', () => {
  it('of H.264 is a file that plays, as long as it was marked', () => withCamera('gate', {}, async (page, n) => {
    await markClip(page, n, 'gate');
    const clip = await exportClip(page, 'gate.mp4');
    assert.match(clip.name, /^gate-\d{4}-\d\d-\d\dT\d{6}Z\.mp4$/);
    if (!hasProgram('ffprobe')) return skip('there is no ffprobe');
    const found = probe(clip.file);
    assert.equal(found.codec, 'h264');
    // From the keyframe before the mark on: at most two seconds more.
    assert.ok(found.frames >= 15 && found.seconds > 3 && found.seconds < 20, JSON.stringify(found));
  }));

  it('of JPEG is its pictures', () => withCamera('still', {}, async (page, n) => {
    await markClip(page, n, 'still');
    const clip = await exportClip(page, 'still.mjpeg');
    assert.match(clip.name, /^still-.*Z\.mjpeg$/);
    if (!hasProgram('ffprobe')) return skip('there is no ffprobe');
    const { codec, frames } = probe(clip.file);
    assert.ok(codec === 'mjpeg' && frames >= 5 && frames <= 60, `${codec} ${frames}`);
  }));
});

describe('on a phone', () => {
  it('scrubs by touch and plays', () => withCamera('gate', { options: PHONE }, async (page, n) => {
    // A minute is shown, so that what is on record is wide enough for a finger.
    await page.getByRole('button', { name: 'Show less time' }).tap();
    const newest = await anyMarker(page, n, SIZES.gate);
    await goTo(page, newest.unixMillis - 6000);
    await shows(page, 'gate', n, newest.unixMillis - 6000);
    await page.getByRole('button', { name: 'Play', exact: true }).tap();
    await isMode(page, 'playing');
    await until('it plays', async () => !(await page.locator('img.still').isVisible()));
    await page.getByRole('button', { name: 'Live', exact: true }).tap();
    await isMode(page, 'live');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
  }));
});

describe('all cameras', () => {
  it('have a band each, and open at a moment', () => withCamera('gate', {}, async (page, n) => {
    await page.getByRole('link', { name: 'Timeline' }).click();
    await until('two bands', async () => (await page.locator('.rows .row').count()) === 2);
    const at = Math.floor(Date.now() / 100) * 100 - 6000;
    await page.goto(new URL(`/camera/gate?at=${at}`, stage.url).href);
    await shows(page, 'gate', n, at);
  }));
});
