// Events against the mock: the list and its filters, what comes live, the way to the moment, clips, keys, a phone.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Footage } from './footage.js';
import { until } from './lib.js';
import { facts, patternUnits } from './mock.js';
import { Occurrences } from './occurrences.js';
import { mockStage } from './stage.js';

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const MINUTE = 60_000;

const withMock = mockStage();

/** Two cameras, and what a test says of them. */
const withPage = ({ path = '/events', fill, ...more }, check) => withMock({ path, ...more, fill: (mock) => {
  mock.sections.events = true;
  mock.occurrences = new Occurrences();
  mock.footage = new Footage();
  mock.add(facts(0, 'gate', { name: 'Main gate' }), patternUnits());
  mock.add(facts(1, 'yard', { name: 'Yard' }), patternUnits());
  fill?.(mock.occurrences, mock, Date.now());
} }, check);

/** So many, a minute apart, every third of them a car; the newest is a minute old. */
const many = (count) => (occurrences, _, now) => {
  for (let at = 0; at < count; at += 1) occurrences.presence(at % 2, at % 2 ? 'yard' : 'gate', now - (at + 1) * MINUTE, at % 3 === 2 ? 'car' : 'person', 12_000);
};

const rows = (page) => page.locator('.event');
const words = async (page) => (await page.locator('.event-what').allInnerTexts()).map((text) => text.replace(/\n+/g, ' · '));
const shows = (page, expected) => until(JSON.stringify(expected), async () => JSON.stringify(await words(page)) === JSON.stringify(expected));
const has = (page, count) => until(`${count} rows`, async () => (await rows(page).count()) === count);
const pill = (page) => page.locator('.new-pill');
const asked = (mock) => mock.received('events').filter(({ limit }) => limit > 0);
const focusedRow = (page) => page.evaluate(() => document.activeElement.closest('.event')?.querySelector('b').textContent ?? null);

describe('the list', () => {
  it('says what happened, where, when and for how long, the newest first', () => withPage({ fill: (occurrences, mock, now) => {
    occurrences.presence(0, 'gate', now - 5 * MINUTE, 'person', 12_000);
    occurrences.presence(1, 'yard', now - MINUTE, 'bicycle', null, { count: 2 });
    occurrences.health(0, 'gate', now - 4 * MINUTE, 'dark', 'ok', { lasted_ms: MINUTE });
    occurrences.health(0, 'gate', now - 3 * MINUTE, 'ok', 'dark', { lasted_ms: MINUTE });
    occurrences.health(1, 'yard', now - 2 * MINUTE, 'covered', 'ok', { is_open: true });
    occurrences.add(0, 'gate', now, { kind: 'of another version' });
  } }, async (page) => {
    await shows(page, ['Bicycle appeared, 2 at once · still there', 'Camera covered · still so', 'Back to normal · was dark for 60 s', 'Camera dark · 60 s', 'Person appeared · 12 s']);
    assert.deepEqual(await page.locator('.event-camera').allInnerTexts(), ['Yard', 'Yard', 'Main gate', 'Main gate', 'Main gate']);
    assert.match(await rows(page).nth(4).locator('time').innerText(), /^\d\d:\d\d:\d\d$/);
    assert.match(await rows(page).nth(4).locator('a').getAttribute('aria-label'), /^Main gate, Person appeared, 12 s, \d\d:\d\d:\d\d$/);
    assert.match(await page.locator('.events-end').innerText(), /all there is/);
  }));

  it('is grouped by day', () => withPage({ fill: (occurrences, mock, now) => {
    const noon = new Date(now).setHours(0, 0, 0, 0) - 12 * 3_600_000;
    for (const days of [0, 0, 1, 4]) occurrences.presence(0, 'gate', noon - days * 86_400_000, 'person', 1000);
    occurrences.presence(0, 'gate', now, 'person', 1000);
  } }, async (page) => {
    await has(page, 5);
    const days = await page.locator('.event-day').allInnerTexts();
    assert.equal(days.length, 4);
    assert.match(days[0], /^Today · /);
    assert.match(days[1], /^Yesterday · /);
    assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll('.event-rows')].map(({ children }) => children.length)), [1, 2, 1, 1]);
  }));

  it('goes on while somebody scrolls, each once', () => withPage({ fill: many(130) }, async (page, mock) => {
    await until('the first page', async () => (await rows(page).count()) >= 50);
    assert.ok((await rows(page).count()) < 130);
    await until('the end', async () => {
      await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight));
      return (await rows(page).count()) === 130;
    });
    const times = await page.evaluate(() => [...document.querySelectorAll('.event')].map(({ row }) => row.event.at));
    assert.equal(new Set(times).size, 130);
    assert.deepEqual(times, [...times].sort((a, b) => b - a));
    assert.ok(asked(mock).every(({ limit }) => limit <= 200));
  }));

  it('asks for small pictures of rows in view only, two at a time', () => withPage({ fill: (occurrences, mock, now) => {
    many(120)(occurrences, mock, now);
    mock.pictureDelay = 80;
  } }, async (page, mock) => {
    const drawn = () => page.locator('.event-picture canvas:not([hidden])').count();
    await until('some pictures', async () => (await drawn()) >= 6);
    const pictures = () => mock.requests.filter(({ url }) => url.includes('at_ms='));
    assert.ok(pictures().every(({ url }) => !url.includes('exact')));
    assert.ok(mock.keyframes.most <= 2, `${mock.keyframes.most}`);
    assert.ok(pictures().length < 30, `${pictures().length}`);
  }));

  it('has an empty face for each reason', async () => {
    const says = (fill, expected, path) => withPage({ fill, path }, (page) => until(String(expected), async () => expected.test(await page.locator('.nothing').innerText())));
    await says((occurrences) => (occurrences.state = 'missing'), /Nobody looks for events yet[^]*lumenbus detect --detector motion/);
    await says((occurrences) => (occurrences.state = 'reading'), /Reading events/);
    await says((occurrences) => Object.assign(occurrences, { state: 'failed', reason: 'not authorised' }), /cannot be read: not authorised/);
    await says(() => {}, /Nothing has happened yet/);
    await says(many(3), /No event matches\.\s+Clear the filters/, '/events?kind=health');
  });

  it('comes once the viewer has read it', () => withPage({ fill: (occurrences, mock, now) => {
    many(3)(occurrences, mock, now);
    occurrences.state = 'reading';
  } }, async (page, mock) => {
    await has(page, 3);
    mock.occurrences.state = 'ready';
    mock.occurrences.presence(0, 'gate', Date.now(), 'car', 1000);
    mock.send({ ...mock.occurrences.answer({ limit: 0 }), id: 0 });
    await has(page, 4);
  }));

  it('of nonsense shows what is sound', () => withPage({ fill: (occurrences, mock, now) => {
    for (const more of [{ at_ms: 'now' }, { id: 7 }, { id: '' }, { kind: 'health', state: '<b>' }, { at_ms: 1e999 }]) occurrences.add(0, 'gate', now, { kind: 'presence', class: 'x', ...more });
    occurrences.add(99, '<b>nobody</b>', now, { kind: 'presence', class: '<img src=x>', count: -4, lasted_ms: 'long', cursor: {} });
  } }, async (page) => {
    await shows(page, ['<img src=x> appeared']);
    assert.equal(await page.locator('.event-camera').innerText(), '<b>nobody</b>');
    // A camera that is not shown has no recording to open.
    assert.equal(await rows(page).locator('a').getAttribute('href'), null);
    assert.equal(await rows(page).locator('button').isDisabled(), true);
  }));
});

describe('filters', () => {
  it('narrow by kind, class, state and camera, and are in the address', () => withPage({ fill: (occurrences, mock, now) => {
    many(6)(occurrences, mock, now);
    occurrences.health(1, 'yard', now - 10 * MINUTE, 'frozen');
  } }, async (page) => {
    await has(page, 7);
    await page.getByRole('button', { name: 'Camera health' }).click();
    await shows(page, ['Picture frozen']);
    await page.getByRole('button', { name: 'Seen' }).click();
    await has(page, 6);
    await page.getByLabel('What', { exact: true }).selectOption('car');
    await has(page, 2);
    await page.getByLabel('Camera', { exact: true }).selectOption('gate');
    await has(page, 1);
    assert.equal(new URL(page.url()).search, '?camera=gate&kind=presence&what=car');
    await page.reload();
    await has(page, 1);
    await page.keyboard.press('Escape');
    await has(page, 7);
    assert.equal(new URL(page.url()).search, '');
    // What is chosen says of which kind it is.
    await page.getByLabel('What', { exact: true }).selectOption('frozen');
    await shows(page, ['Picture frozen']);
    assert.equal(await page.getByRole('button', { name: 'Camera health' }).getAttribute('aria-pressed'), 'true');
  }));

  it('show a day of long ago', () => withPage({ fill: (occurrences, mock, now) => {
    many(3)(occurrences, mock, now);
    occurrences.presence(0, 'gate', new Date(2026, 2, 5, 23, 59, 59, 500).getTime(), 'person', 1000);
    occurrences.presence(0, 'gate', new Date(2026, 2, 6, 0, 0, 0).getTime(), 'car', 1000);
  } }, async (page) => {
    await has(page, 5);
    await page.getByLabel('Day', { exact: true }).fill('2026-03-05');
    await shows(page, ['Person appeared · 1.0 s']);
  }));
});

describe('what comes live', () => {
  const happen = (mock, n = 0, name = 'person', lasted = null) => mock.happened(mock.occurrences.presence(n, n ? 'yard' : 'gate', Date.now(), name, lasted));

  it('is put on top where nobody is reading', () => withPage({ fill: many(3) }, async (page, mock) => {
    await has(page, 3);
    happen(mock, 0, 'truck');
    await until('it is there', async () => (await words(page))[0] === 'Truck appeared · still there');
    assert.equal(await pill(page).isVisible(), false);
  }));

  it('waits behind a button while somebody reads, and nothing moves', () => withPage({ fill: many(60) }, async (page, mock) => {
    await until('rows', async () => (await rows(page).count()) >= 50);
    await page.mouse.move(600, 400);
    await page.mouse.wheel(0, 900);
    await until('scrolled', () => page.evaluate(() => window.scrollY > 500));
    const place = () => rows(page).nth(15).evaluate((row) => row.getBoundingClientRect().top);
    const before = await place();
    const count = await rows(page).count();
    for (let i = 0; i < 3; i += 1) happen(mock, 0, 'truck');
    await until('3 new', async () => (await pill(page).innerText()) === '3 new');
    assert.equal(await rows(page).count(), count);
    assert.equal(await place(), before);
    await pill(page).click();
    await until('they are there', async () => (await words(page)).slice(0, 3).every((text) => /^Truck/.test(text)));
    await until('the top', () => page.evaluate(() => window.scrollY === 0));
    assert.equal(await pill(page).isVisible(), false);
    assert.match(await focusedRow(page), /^Truck/);
  }));

  it('says how long it lasted once it is over, in place', () => withPage({}, async (page, mock) => {
    await page.locator('.nothing').waitFor();
    const event = mock.occurrences.presence(0, 'gate', Date.now(), 'person');
    mock.happened(event);
    await shows(page, ['Person appeared · still there']);
    mock.happened(null, [{ ...event, lasted_ms: 12_000, is_open: false }]);
    await shows(page, ['Person appeared · 12 s']);
  }));

  it('is left out where the filters say so, and its class can be chosen', () => withPage({ fill: many(3), path: '/events?camera=yard' }, async (page, mock) => {
    await has(page, 1);
    happen(mock, 0, 'truck');
    happen(mock, 1, 'dog');
    await until('the dog', async () => (await words(page))[0] === 'Dog appeared · still there');
    await has(page, 2);
    assert.ok((await page.getByLabel('What', { exact: true }).locator('option').allInnerTexts()).includes('Truck'));
  }));

  it('is asked for again by a page that missed something, or whose connection was cut', () => withPage({ fill: many(3) }, async (page, mock) => {
    await has(page, 3);
    mock.occurrences.presence(0, 'gate', Date.now(), 'truck', 1000);
    mock.send({ type: 'happened', event: null, changed: [], is_missed: true });
    await has(page, 4);
    mock.occurrences.presence(0, 'gate', Date.now(), 'truck', 1000);
    for (const client of mock.connections) client.destroy();
    await has(page, 5);
  }));

  it('is not asked for by other screens', () => withPage({ fill: many(3) }, async (page, mock) => {
    await has(page, 3);
    await page.getByRole('link', { name: 'Live', exact: true }).click();
    await until('no longer', () => [...mock.connections].every((client) => !client.isFollowing));
  }));
});

describe('an event', () => {
  it('opens the recording a little before, and back leads to it', () => withPage({ fill: many(8) }, async (page) => {
    await has(page, 8);
    const at = await rows(page).nth(4).evaluate(({ row }) => row.event.at);
    await rows(page).nth(4).locator('a').click();
    await until('the moment', async () => Math.abs(Number(await page.locator('.track').getAttribute('aria-valuenow')) - (at - 3000)) < 50);
    assert.match(await page.locator('.chip-recorded').innerText(), /^Recorded/);
    await page.goBack();
    await has(page, 8);
    await until('the same row', () => page.evaluate((at) => document.activeElement.closest('.event')?.row.event.at === at, at));
  }));

  it('is exported with what was before and after', () => withPage({ fill: many(4) }, async (page, mock) => {
    await has(page, 4);
    const { at, lasted } = await rows(page).nth(2).evaluate(({ row }) => row.event);
    const download = page.waitForEvent('download');
    await rows(page).nth(2).getByRole('button').click();
    await download;
    const { searchParams } = new URL(mock.requests.find(({ url }) => url.includes('/clip.mp4') && !url.includes('check')).url, mock.url);
    assert.deepEqual([Number(searchParams.get('from_ms')), Number(searchParams.get('to_ms'))], [at - 5000, at + lasted + 5000]);
    mock.footage.refusals.set('clip', 'two clips are under way');
    await rows(page).nth(1).getByRole('button').click();
    await until('why not', async () => /two clips are under way/.test(await page.locator('.say').innerText()));
  }));

  it('is reached and opened by keyboard', () => withPage({ fill: many(70) }, async (page, mock) => {
    await until('rows', async () => (await rows(page).count()) >= 50);
    assert.equal(await page.locator('.events [tabindex="0"]').count(), 2);
    const index = () => page.evaluate(() => [...document.querySelectorAll('.event')].indexOf(document.activeElement.closest('.event')));
    await page.keyboard.press('ArrowDown');
    assert.equal(await index(), 0);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    assert.equal(await index(), 2);
    await page.keyboard.press('End');
    assert.ok((await index()) >= 49);
    await page.keyboard.press('Home');
    assert.equal(await index(), 0);
    const download = page.waitForEvent('download');
    await page.keyboard.press('e');
    await download;
    await page.keyboard.press('Enter');
    await until('the camera', () => /\/camera\/gate\?at=\d+$/.test(page.url()));
    assert.ok(asked(mock).length >= 1);
  }));

  it('fits a phone, in both languages', () => withPage({ fill: (occurrences, mock, now) => {
    many(20)(occurrences, mock, now);
    mock.streams.get(0).facts.name = 'A camera with a very long name that cannot fit into any line of a phone';
    occurrences.presence(0, 'gate', now, 'a class with a name that is long as well', null);
  }, options: PHONE }, async (page) => {
    await has(page, 21);
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(await overflow(), 0);
    for (const part of await rows(page).nth(0).locator('a, button').all()) assert.ok((await part.boundingBox()).height >= 40);
    await page.getByRole('button', { name: /Switch to Chinese/ }).tap();
    await until('Chinese', async () => /^出现：/.test((await words(page))[0] ?? ''));
    assert.equal(await overflow(), 0);
  }));
});

describe('what is wrong with a picture', () => {
  it('is on its tile and its screen, as a sign and a word', () => withPage({ path: '/' }, async (page, mock) => {
    const tile = page.locator('.tile[data-n="0"]');
    await tile.waitFor();
    const chip = tile.locator('.chip-health');
    assert.equal(await chip.isVisible(), false);
    for (const [state, word] of [['dark', 'Dark'], ['blurred', 'Blurred'], ['frozen', 'Frozen'], ['covered', 'Covered'], ['moved', 'Moved']]) {
      mock.setHealth(0, state);
      await until(word, async () => (await chip.innerText()) === word);
      assert.equal(await chip.locator('use').getAttribute('href'), `/assets/icons.svg#health-${state}`);
      assert.match(await tile.getAttribute('aria-label'), new RegExp(`^Main gate, .*, ${word}$`));
    }
    await tile.click();
    await until('on the camera', async () => /^Moved since \d\d:\d\d/.test(await page.locator('.stage-picture .chip-health').innerText()));
    mock.setHealth(0, 'ok');
    await until('well again', async () => !(await page.locator('.stage-picture .chip-health').isVisible()));
    mock.setHealth(0, '<b>');
    await page.getByRole('link', { name: 'Events of this camera' }).click();
    await until('its events', () => /\/events\?camera=gate$/.test(page.url()));
  }));
});
