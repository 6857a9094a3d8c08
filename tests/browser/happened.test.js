// Events on a real broker, viewer and recording: what a foreign producer writes is listed, comes live, and leads to its moment.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createTopic, produce } from './kafka.js';
import { anyMarker, markerOf, until } from './lib.js';
import { siteStage } from './stage.js';

const TOPIC = 'lumenbus.events';
const SIZE = { width: 640, height: 360 };
/** Seconds on record before anything happens. */
const RECORDED = 8;

const stage = siteStage({ publishers: ['test:640x360@10 --camera gate --codec h264 --bitrate 600k --keyframe-interval 1s'] });

let written = 0;
/** Writes an event at a moment, as a worker would. */
function write(at, more) {
  written += 1;
  return produce(stage.site.port, TOPIC, 'gate', {
    version: 1, id: written.toString(16).padStart(16, '0'), camera: 'gate', topic: 'raw_video', stream: 'main', epoch: '1', seq: String(written), capture_unix_nanos: String(BigInt(Math.round(at)) * 1_000_000n), ...more,
  });
}

const presence = (at, name, lasted = null) => write(at, { kind: 'presence', state: lasted === null ? 'begin' : 'end', class: name, count: 1, score: 0.9, ...(lasted === null ? {} : { lasted_millis: lasted }) });
const health = (at, state, previous, more = {}) => write(at, { kind: 'health', state, previous, ...more });

const words = async (page) => (await page.locator('.event-what').allInnerTexts()).map((text) => text.replace(/\n+/g, ' · '));
const shows = (page, expected) => until(JSON.stringify(expected), async () => JSON.stringify(await words(page)) === JSON.stringify(expected));

describe('events', () => {
  it('are asked for by saying how to get them, are listed, come live, and open their moment', () => stage.visit({ path: '/events' }, async (page) => {
    await until('how to get them', async () => /lumenbus detect/.test(await page.locator('.nothing').innerText()));
    const n = await stage.numberOf('gate');
    const timeline = async () => (await fetch(new URL(`/api/v1/cameras/gate/timeline?stream=${n}`, stage.url))).json();
    const { oldest_ms: oldest } = await until('enough on record', async () => {
      const told = await timeline();
      return told.newest_ms - told.oldest_ms > RECORDED * 1000 ? told : null;
    });
    const at = Math.round(oldest + 5000);

    await createTopic(stage.site.port, TOPIC);
    await presence(at, 'person');
    await health(at - 1000, 'dark', 'ok');
    await shows(page, ['Person appeared · still there', 'Camera dark · still so']);
    await presence(at + 2500, 'person', 2500);
    await shows(page, ['Person appeared · 2.5 s', 'Camera dark · still so']);
    await until('its picture', async () => (await page.locator('.event-picture canvas:not([hidden])').count()) === 2);

    // The tile says what is wrong, until that is over.
    await page.getByRole('link', { name: 'Live', exact: true }).click();
    const chip = page.locator('.tile .chip-health');
    await until('the tile', async () => (await chip.innerText()) === 'Dark');
    await health(at + 1000, 'ok', 'dark', { lasted_millis: 2000 });
    await chip.waitFor({ state: 'hidden' });
    await page.getByRole('link', { name: 'Events' }).click();
    await shows(page, ['Back to normal · was dark for 2.0 s', 'Person appeared · 2.5 s', 'Camera dark · 2.0 s']);

    // Three seconds before the person came.
    await page.locator('.event-link').nth(1).click();
    const shown = await until('the picture of the moment', () => markerOf(page, 'img.still', SIZE));
    assert.ok(shown.unixMillis <= at - 2999 && shown.unixMillis > at - 20_000, `${shown.unixMillis} for ${at - 3000}`);
    await page.getByRole('button', { name: 'Back to live' }).or(page.locator('.live-button')).first().click();
    await anyMarker(page, n, SIZE);
  }));

  it('are a file each, of the recording', () => stage.visit({ path: '/events?kind=presence', options: { acceptDownloads: true } }, async (page) => {
    await shows(page, ['Person appeared · 2.5 s']);
    const download = page.waitForEvent('download');
    await page.locator('.event button').click();
    assert.match((await download).suggestedFilename(), /^gate-.*Z\.mp4$/);
  }));
});
