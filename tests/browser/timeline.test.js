// The timeline of the page, against the mock: scrubbing, playing, speeds, the way back, marks, keys, touch, a phone.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Footage } from './footage.js';
import { goesOn, markerOf, until } from './lib.js';
import { facts, patternUnits } from './mock.js';
import { mockStage } from './stage.js';

const SIZE = { width: 320, height: 192 };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

const withMock = mockStage();

/** A camera that has recorded half an hour, on its screen. */
const withPage = ({ path = '/camera/cam-0', fill, ...more }, check) => withMock({ path, ...more, fill: (mock) => {
  mock.footage = new Footage();
  mock.add(facts(0, 'cam-0', { name: 'Gate' }), patternUnits());
  mock.add(facts(1, 'cam-1', { name: 'Yard' }), patternUnits());
  fill?.(mock);
} }, check);

const track = (page) => page.locator('.track');
const still = (page) => page.locator('img.still');
const mode = (page) => page.locator('.timeline').getAttribute('data-mode');
const isMode = (page, wanted) => until(`mode ${wanted}`, async () => (await mode(page)) === wanted);
const button = (page, name) => page.locator('.timeline').getByRole('button', { name, exact: true });
const pictures = (mock) => mock.requests.filter(({ url }) => url.includes('at_ms='));
const moments = (mock) => pictures(mock).map(({ url }) => ({ at: Number(new URL(url, mock.url).searchParams.get('at_ms')), isExact: url.includes('exact=1') }));
/** The burnt-in counter of the still picture; the mock has every tenth picture. */
const stillCounter = async (page) => (await markerOf(page, 'img.still', SIZE))?.counter ?? null;
const playhead = async (page) => Number(await track(page).getAttribute('aria-valuenow'));
const hasFootage = (page) => until('the footage', async () => /Footage since/.test(await page.locator('.timeline-note').innerText()));

/** Presses at a share of the band's width, where no playhead is. */
async function click(page, share) {
  const box = await track(page).boundingBox();
  await page.mouse.click(box.x + box.width * share, box.y + box.height * 0.6);
}

async function showsExactly(page, mock, at) {
  const expected = Math.floor((mock.footage.index(at) % 60) / 10) * 10;
  await until(`picture ${expected} of ${at}`, async () => (await stillCounter(page)) === expected);
}

describe('scrubbing', () => {
  it('shows keyframes on the way, one question at a time, and the exact picture at the end', () => withPage({ fill: (mock) => (mock.pictureDelay = 60) }, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.5);
    await isMode(page, 'still');
    const box = await track(page).boundingBox();
    const y = box.y + box.height * 0.6;
    const before = pictures(mock).length;
    await page.mouse.move(box.x + box.width * 0.5, y);
    await page.mouse.down();
    for (let step = 0; step <= 40; step += 1) await page.mouse.move(box.x + box.width * (0.5 - 0.005 * step), y);
    await isMode(page, 'seeking');
    await page.mouse.up();
    await isMode(page, 'still');
    const at = (await until('the exact one', () => moments(mock).slice(before).filter(({ isExact }) => isExact).at(-1))).at;
    await showsExactly(page, mock, at);
    const onTheWay = moments(mock).slice(before).filter(({ isExact }) => !isExact);
    assert.ok(onTheWay.length >= 1, 'no picture on the way');
    assert.equal(mock.keyframes.most, 1, 'one question at a time');
    // The keyframe before it may carry the same counter: the playhead moves with the exact one.
    await until('the playhead is there', async () => (await playhead(page)) === Math.round(mock.footage.at(mock.footage.index(at))));
    assert.match(await page.locator('.chip-recorded').innerText(), /^Recorded \d\d:\d\d:\d\d\.\d$/);
  }));

  it('goes to a typed time, and says what is none', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    const field = page.getByLabel('Go to a time');
    await field.fill('sometime');
    await field.press('Enter');
    await until('it says so', async () => /Type a time like 14:03/.test(await page.locator('.say').innerText()));
    await field.fill('-12m');
    await field.press('Enter');
    await isMode(page, 'still');
    const asked = await until('the picture', () => moments(mock).at(-1));
    assert.ok(Math.abs(Date.now() - 12 * 60_000 - asked.at) < 60_000);
    await showsExactly(page, mock, asked.at);
    // What is before the oldest footage is the oldest footage.
    await field.fill('-3h');
    await field.press('Enter');
    await until('the oldest', async () => Math.abs((await playhead(page)) - mock.footage.begin) < 50);
  }));

  it('keeps the time of the picture that stands when there is none of the moment', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.5);
    await until('a still picture', () => still(page).isVisible());
    const at = await playhead(page);
    mock.footage.refusals.set('picture', 'too many pictures are asked for');
    const field = page.getByLabel('Go to a time');
    await field.fill('-12m');
    await field.press('Enter');
    await until('it says so', async () => /too many pictures/.test(await page.locator('.say').innerText()));
    await until('the time of the picture', async () => (await playhead(page)) === at);
    assert.equal(await still(page).isVisible(), true);
  }));

  it('does not wait for an exact picture when the visitor goes on', () => withPage({ fill: (mock) => (mock.pictureDelay = 600_000) }, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.3);
    await until('it is asked for', () => moments(mock).some(({ isExact }) => isExact));
    mock.pictureDelay = 0;
    const box = await track(page).boundingBox();
    const y = box.y + box.height * 0.6;
    await page.mouse.move(box.x + box.width * 0.3, y);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, y, { steps: 3 });
    await isMode(page, 'seeking');
    await until('a still picture', () => still(page).isVisible());
    await page.mouse.up();
  }));

  it('tells a moment that occurs twice', () => withPage({ fill: (mock) => (mock.footage.moments = 2) }, async (page) => {
    await hasFootage(page);
    await click(page, 0.4);
    await until('it says so', async () => /occurs twice/.test(await track(page).getAttribute('aria-valuetext')));
  }));
});

describe('playing', () => {
  it('goes on from the moment, and back to live', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.5);
    await until('a still picture', () => still(page).isVisible());
    const from = await playhead(page);
    await button(page, 'Play').click();
    await isMode(page, 'playing');
    await until('the player is to be seen', async () => !(await still(page).isVisible()));
    await until('the playhead moves', async () => (await playhead(page)) > from + 500);
    const [asked] = mock.received('play').slice(-1);
    assert.ok(Math.abs(asked.at_ms - from) < 1 && asked.speed === 1, JSON.stringify(asked));
    await button(page, 'Pause').click();
    await isMode(page, 'still');
    const at = await playhead(page);
    assert.equal(await playhead(page), at);
    await page.getByRole('button', { name: 'Live', exact: true }).click();
    await isMode(page, 'live');
    assert.equal(await page.locator('.live-button').getAttribute('aria-pressed'), 'true');
    await goesOn(page, 0, SIZE, 5);
    assert.equal(await page.locator('.chip-recorded').isVisible(), false);
  }));

  it('has speeds, backwards too', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.5);
    await isMode(page, 'still');
    const speed = page.getByLabel('Speed');
    await speed.selectOption('4');
    await button(page, 'Play').click();
    await until('four times as fast', () => mock.received('play').at(-1)?.speed === 4);
    await isMode(page, 'playing');
    await speed.selectOption('-4');
    await until('backwards', () => mock.received('play').at(-1)?.speed === -4);
    const from = await playhead(page);
    await until('the playhead goes back', async () => (await playhead(page)) < from - 1500);
    assert.match(await track(page).getAttribute('aria-valuetext'), /Playing −4×/);
  }));

  it('ends in the present by itself', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.5);
    await button(page, 'Play').click();
    await isMode(page, 'playing');
    const { id } = await until('the wish', () => mock.received('play').at(-1));
    // A word about an earlier wish changes nothing.
    mock.send({ type: 'playback', n: 0, id: id - 1, state: 'live' });
    mock.send({ type: 'playback', n: 0, id, state: 'live' });
    await isMode(page, 'live');
    await until('it says so', async () => /Caught up with live/.test(await page.locator('.say').innerText()));
  }));

  it('says why it cannot play, and when a recording ends', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.5);
    for (const [state, text] of [['failed', /Cannot play: too many/], ['ended', /end of the recording/]]) {
      await button(page, 'Play').click();
      await isMode(page, 'playing');
      const { id } = await until('the wish', () => mock.received('play').at(-1));
      mock.send({ type: 'playback', n: 0, id, state, code: 'busy', message: 'too many are played' });
      await isMode(page, 'still');
      await until(state, async () => text.test(await page.locator('.say').innerText()));
    }
  }));

  it('has a picture of its moment when it fails or is paused before it showed one', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await goesOn(page, 0, SIZE, 2);
    // The server takes its time: nothing is played yet.
    mock.footage.play = () => {};
    const stops = [({ id }) => mock.send({ type: 'playback', n: 0, id, state: 'failed', code: 'busy', message: 'too many are played' }), () => page.keyboard.press('Space')];
    for (const [times, stop] of stops.entries()) {
      await page.getByLabel('Speed').selectOption(['2', '4'][times]);
      const wish = await until('the wish', () => mock.received('play')[times]);
      await isMode(page, 'playing');
      await stop(wish);
      await isMode(page, 'still');
      await until('the picture', () => still(page).isVisible());
      const asked = moments(mock).at(-1);
      assert.ok(asked.isExact && Math.abs(asked.at - wish.at_ms) < 1, JSON.stringify([asked, wish]));
      await page.keyboard.press('l');
      await isMode(page, 'live');
      await until('now', async () => !(await still(page).isVisible()));
    }
  }));

  it('goes on from its moment when the browser has to be sent another form', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await goesOn(page, 0, SIZE, 2);
    await click(page, 0.5);
    await until('a still picture', () => still(page).isVisible());
    const at = await playhead(page);
    await page.evaluate(() => (VideoDecoder.prototype.decode = () => { throw new Error('no decoder is left'); }));
    await button(page, 'Play').click();
    const messages = () => [...mock.connections].flatMap((client) => client.messages);
    const changed = () => messages().findIndex((message) => message.type === 'watch' && message.streams.some(({ n, form }) => n === 0 && form === 'fmp4'));
    await until('another form', () => changed() >= 0);
    await until('it is played again', () => messages().findLastIndex(({ type }) => type === 'play') > changed());
    assert.ok(Math.abs(mock.received('play').at(-1).at_ms - at) < 1);
  }));

  it('keeps its place when the connection comes back', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.5);
    await until('a still picture', () => still(page).isVisible());
    const at = await playhead(page);
    const { port } = mock;
    await mock.stop();
    await until('it is noticed', async () => (await page.evaluate(() => document.body.dataset.link)) === 'closed');
    await mock.listen(port);
    await until('connected', async () => (await page.evaluate(() => document.body.dataset.link)) === 'open');
    await until('the server is told again', () => mock.received('pause').length > 0);
    assert.deepEqual([await mode(page), await playhead(page), await still(page).isVisible()], ['still', at, true]);
  }));

  it('stops for a page that is not looked at, and another camera begins live', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await click(page, 0.5);
    await button(page, 'Play').click();
    await isMode(page, 'playing');
    await page.keyboard.press(']');
    await until('the other camera', () => new URL(page.url()).pathname === '/camera/cam-1');
    await isMode(page, 'live');
    await goesOn(page, 1, SIZE, 3);
    assert.equal(mock.watched.has(0), false);
  }));
});

describe('keys', () => {
  it('do everything', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await goesOn(page, 0, SIZE, 2);
    await page.keyboard.press('Space');
    await isMode(page, 'still');
    await until('a picture', () => still(page).isVisible());
    const at = await playhead(page);
    await page.keyboard.press('ArrowLeft');
    const before = await until('the keyframe before', async () => ((await playhead(page)) < at ? playhead(page) : null));
    assert.ok(Math.abs(before - mock.footage.at(mock.footage.keyframe(mock.footage.index(before + 5)))) < 2, `${before} is a keyframe`);
    await page.keyboard.press('ArrowLeft');
    await until('the one before that', async () => Math.abs((await playhead(page)) - (before - 1000)) < 2);
    await page.keyboard.press('ArrowRight');
    await until('and back', async () => Math.abs((await playhead(page)) - before) < 2);
    await page.keyboard.press('i');
    await page.keyboard.press('Shift+ArrowLeft');
    await until('ten seconds', async () => Math.abs((await playhead(page)) - (before - 10_000)) < 50);
    await page.keyboard.press('i');
    await page.keyboard.press('Shift+ArrowRight');
    await until('ten seconds on', async () => Math.abs((await playhead(page)) - before) < 50);
    await page.keyboard.press('o');
    await until('a clip', async () => /^10 s · about/.test(await page.locator('.clip-length').innerText()));
    const download = page.waitForEvent('download');
    await page.keyboard.press('e');
    assert.match((await download).suggestedFilename(), /^cam-0-.*\.mp4$/);
    await page.keyboard.press('Space');
    await isMode(page, 'playing');
    await page.keyboard.press('l');
    await isMode(page, 'live');
    assert.equal(await page.locator('html').getAttribute('lang'), 'en', 'L is live here, not the language');
    await page.keyboard.press('?');
    assert.match(await page.locator('dialog').innerText(), /keyframe before, after/);
    await page.keyboard.press('Escape');
  }));

  it('leave a control alone that has the focus', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    await page.getByLabel('Go to a time').focus();
    await page.keyboard.type('i o e l -5m');
    assert.equal(await mode(page), 'live');
    await page.getByRole('button', { name: 'Snapshot' }).focus();
    const download = page.waitForEvent('download');
    await page.keyboard.press('Space');
    await download;
    assert.deepEqual([await mode(page), mock.received('play').length], ['live', 0]);
  }));
});

describe('the band', () => {
  it('says what is missing and why', () => withPage({ fill: (mock) => {
    const now = Date.now();
    mock.footage.gaps = [{ from_ms: now - 500_000, to_ms: now - 300_000, reason: 'source-lost', frames: 6000 }];
  } }, async (page) => {
    await hasFootage(page);
    const box = await track(page).boundingBox();
    // 15 minutes, of which the present is at 94 %.
    const share = 0.94 - 400 / 900;
    await page.mouse.move(box.x + box.width * share, box.y + 40);
    await until('the gap', async () => /gap · camera was away · 6,?000 frames · 3 min/.test(await page.locator('.track-tip').innerText()));
  }));

  it('zooms by wheel and buttons and moves by dragging', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    const asked = () => mock.requests.filter(({ url }) => url.includes('/timeline?')).map(({ url }) => new URL(url, mock.url).searchParams).at(-1);
    const span = () => Number(asked().get('to_ms')) - Number(asked().get('from_ms'));
    const first = span();
    const box = await track(page).boundingBox();
    await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
    await page.mouse.wheel(0, -600);
    await until('less is asked for', () => span() < first * 0.6);
    const from = Number(asked().get('from_ms'));
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 40, { steps: 8 });
    await page.mouse.up();
    await until('earlier is asked for', () => Number(asked().get('from_ms')) < from - 1000);
    assert.equal(await mode(page), 'live', 'dragging the band plays nothing');
    const small = span();
    await button(page, 'Show more time').click();
    await until('more is asked for', () => span() > small * 1.3);
  }));

  it('can be read aloud', () => withPage({}, async (page, mock) => {
    await hasFootage(page);
    const slider = page.getByRole('slider', { name: 'Timeline' });
    assert.match(await slider.getAttribute('aria-valuetext'), /^Live, \d\d:\d\d:\d\d/);
    await until('its beginning', async () => Number(await slider.getAttribute('aria-valuemin')) === Math.round(mock.footage.begin));
    assert.ok(Number(await slider.getAttribute('aria-valuemax')) >= Number(await slider.getAttribute('aria-valuenow')));
    await slider.focus();
    await page.keyboard.press('Home');
    await until('the oldest', async () => Number(await slider.getAttribute('aria-valuenow')) === Math.round(mock.footage.begin));
    await page.keyboard.press('End');
    await isMode(page, 'live');
  }));

  it('says why a clip is not to be had', () => withPage({ fill: (mock) => mock.footage.refusals.set('clip', 'two clips are being exported') }, async (page) => {
    await hasFootage(page);
    assert.equal(await button(page, 'Export clip').isDisabled(), true);
    await click(page, 0.4);
    await page.keyboard.press('i');
    await click(page, 0.6);
    await page.keyboard.press('o');
    await button(page, 'Export clip').click();
    await until('the reason', async () => /No clip: two clips are being exported/.test(await page.locator('.say').innerText()));
    await button(page, 'Remove the marks').click();
    assert.equal(await button(page, 'Export clip').isDisabled(), true);
  }));

  it('does without a recording that cannot be read', () => withPage({ fill: (mock) => (mock.footage.coverage = () => ({ footage: 7, oldest_ms: [] })) }, async (page) => {
    await until('it says so', async () => /Nothing has been recorded yet/.test(await page.locator('.timeline-note').innerText()));
    await goesOn(page, 0, SIZE, 2);
  }));

  it('is left out where the viewer has none', () => withPage({ fill: (mock) => (mock.footage = null) }, async (page) => {
    await goesOn(page, 0, SIZE, 2);
    assert.equal(await page.locator('.timeline').count(), 0);
    await page.keyboard.press('ArrowRight');
    await until('the neighbour', () => new URL(page.url()).pathname === '/camera/cam-1');
  }));
});

describe('on a phone', () => {
  it('fits, and what is touched is large enough', () => withPage({ options: PHONE }, async (page) => {
    await hasFootage(page);
    const box = await track(page).boundingBox();
    await page.touchscreen.tap(box.x + box.width * 0.5, box.y + box.height * 0.6);
    await until('a still picture', () => still(page).isVisible());
    await page.locator('.timeline').getByRole('button', { name: 'In', exact: true }).tap();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
    const sizes = await page.locator('.timeline button:visible, .timeline select, .timeline input').evaluateAll((all) => all.map((one) => [one.textContent || one.title, one.offsetWidth, one.offsetHeight]));
    for (const [name, width, height] of sizes) assert.ok(width >= 40 && height >= 40, `${name}: ${width} × ${height}`);
    await button(page, 'Play').tap();
    await isMode(page, 'playing');
  }));
});

describe('a page that is not looked at', () => {
  const hide = (page, isHidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { value, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);

  for (const path of ['/timeline', '/camera/cam-0']) {
    it(`asks for no footage: ${path}`, () => withPage({ path }, async (page, mock) => {
      const asked = () => mock.requests.filter(({ url }) => url.includes('/timeline?')).length;
      // The server's figures come once a second: so much time has passed in the page as well.
      const seconds = async (count) => {
        const from = await page.evaluate(() => (globalThis.ticks ??= (lumenbus.store.on('stats', () => (globalThis.ticks += 1)), 0)));
        await until(`${count} seconds`, async () => (await page.evaluate(() => globalThis.ticks)) >= from + count);
      };
      await until('footage is asked for', () => asked() > 0);
      await hide(page, true);
      await seconds(2);
      const before = asked();
      await seconds(7);
      assert.equal(asked(), before);
      await hide(page, false);
      await until('it is asked for again', () => asked() > before);
    }));
  }
});

describe('all cameras', () => {
  it('stand over one axis, and a click opens one at that moment', () => withPage({ path: '/timeline' }, async (page, mock) => {
    await until('two bands', async () => (await page.locator('.rows .row').count()) === 2);
    await until('their footage is asked for', () => new Set(mock.requests.filter(({ url }) => url.includes('/timeline?')).map(({ url }) => url.split('/')[4])).size === 2);
    assert.equal(await page.locator('.nav-item[aria-current]').innerText(), 'Timeline');
    const box = await page.locator('.row[data-n="1"] .row-track').boundingBox();
    await page.mouse.click(box.x + box.width * 0.7, box.y + box.height / 2);
    await until('its screen', () => new URL(page.url()).pathname === '/camera/cam-1');
    await isMode(page, 'still');
    await until('the picture', () => still(page).isVisible());
    const at = Number(new URL(page.url()).searchParams.get('at'));
    assert.ok(Math.abs((await playhead(page)) - at) < 40, `${await playhead(page)} for ${at}`);
  }));

  it('open at a moment by keyboard alone, and keep the focus when a camera comes', () => withPage({ path: '/timeline', fill: (mock) => {
    const now = Date.now();
    mock.footage.gaps = [{ from_ms: now - 900_000, to_ms: now - 600_000, reason: 'source-lost', frames: 9000 }];
  } }, async (page, mock) => {
    await until('two bands', async () => (await page.locator('.rows .row').count()) === 2);
    const slider = (name) => page.getByRole('slider', { name: `${name}, Timeline` });
    const focused = () => page.evaluate(() => `${document.activeElement.className} ${document.activeElement.closest('.row')?.dataset.n}`);
    await page.locator('.row[data-n="0"] .row-name').focus();
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'row-track 0');
    await page.keyboard.press('ArrowDown');
    assert.equal(await focused(), 'row-track 1');
    // A camera that stands before the others, and one that goes.
    mock.add(facts(2, 'cam-2', { name: 'Alley' }));
    mock.sendStreams();
    await until('three bands', async () => (await page.locator('.rows .row').count()) === 3);
    assert.equal(await focused(), 'row-track 1');
    mock.streams.delete(2);
    mock.sendStreams();
    await until('two bands', async () => (await page.locator('.rows .row').count()) === 2);
    assert.equal(await focused(), 'row-track 1');
    const at = async () => Number(await slider('Yard').getAttribute('aria-valuenow'));
    await page.keyboard.press('End');
    await until('the present', async () => Math.abs(Date.now() - (await at())) < 60_000);
    const present = await at();
    await page.keyboard.press('Shift+ArrowLeft');
    // A tenth of ten sixtieths of an hour, as often as it takes.
    await until('ten minutes before', async () => Math.abs(present - 600_000 - (await at())) < 5000);
    await page.keyboard.press('ArrowLeft');
    await until('the gap', async () => /gap · camera was away/.test(await slider('Yard').getAttribute('aria-valuetext')));
    assert.match(await page.locator('.row[data-n="1"] .track-tip').innerText(), /gap · camera was away/);
    for (let i = 0; i < 6; i += 1) await page.keyboard.press('ArrowRight');
    const chosen = await at();
    assert.ok(Math.abs(chosen - (present - 300_000)) < 10_000, `${chosen - present}`);
    await page.keyboard.press('Enter');
    await until('its screen', () => new URL(page.url()).pathname === '/camera/cam-1');
    await isMode(page, 'still');
    assert.equal(Number(new URL(page.url()).searchParams.get('at')), chosen);
  }));

  it('fit on a phone', () => withPage({ path: '/timeline', options: PHONE }, async (page) => {
    await until('two bands', async () => (await page.locator('.rows .row').count()) === 2);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
  }));
});
