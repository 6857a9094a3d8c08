// Studies in the page against a real broker and viewer: what is listed, the values on the canvas, windows, frames, what is masked.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { CT, explicitImage, NAME, TITLE } from './dicom.js';
import { until } from './lib.js';
import { siteStage } from './stage.js';

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

/** Where patients are shown; and what a viewer says while there are no DICOM topics. */
let open;
let before;
const stage = siteStage({ begin: async (site) => {
  const folder = join(site.folder, 'objects');
  mkdirSync(folder);
  writeFileSync(join(folder, 'ct'), explicitImage(CT));
  const keys = `--audit-keys ${join(site.folder, 'keys')}`;
  const without = await site.view(`--listen 127.0.0.1:0 ${keys} --audit-name before`);
  before = { sections: (await (await fetch(new URL('/api/v1/state', without))).json()).hello.sections, page: (await fetch(new URL('/studies', without))).status };
  const sent = site.spawn(`dicom send --no-audit ${folder}`);
  await sent.ended;
  assert.equal(sent.child.exitCode, 0, sent.stderr);
  const received = site.spawn(`dicom receive --no-audit --until-end --group archive --out ${join(site.folder, 'received')}`);
  await received.ended;
  assert.equal(received.child.exitCode, 0, received.stderr);
  open = await site.view(`--listen 127.0.0.1:0 ${keys} --audit-name open --show-patient-data`);
  return site.view(`--listen 127.0.0.1:0 ${keys} --audit-name masked`);
} });

/** Everything that the server sends to a page, as bytes; and the addresses that were asked for. */
function listen(page) {
  const heard = { bodies: [], addresses: [] };
  page.on('response', (response) => {
    heard.addresses.push(response.url());
    heard.bodies.push(response.body().catch(() => Buffer.alloc(0)), response.headersArray().then((headers) => Buffer.from(JSON.stringify(headers))));
  });
  page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => heard.bodies.push(Buffer.from(payload))));
  return heard;
}

/** The gray values of the canvas. */
const canvas = (page) => page.evaluate(() => {
  const frame = document.querySelector('canvas.frame');
  const { data } = frame.getContext('2d').getImageData(0, 0, frame.width, frame.height);
  return { width: frame.width, height: frame.height, gray: [...data].filter((_, index) => index % 4 === 0) };
});

/** What the window makes of a frame (DICOM PS3.3, C.11.2.1.2.1), from the values that went into the file. */
function expected(frame, { center, width }) {
  return CT.frames[frame].map((stored) => {
    const value = stored * CT.slope + CT.intercept;
    if (value <= center - 0.5 - (width - 1) / 2) return 0;
    if (value > center - 0.5 + (width - 1) / 2) return 255;
    return Math.round(((value - (center - 0.5)) / (width - 1) + 0.5) * 255);
  });
}

const shown = (page, frame) => until(`frame ${frame}`, async () => (await page.locator('.stage').getAttribute('data-frame')) === String(frame));

describe('studies', () => {
  it('have no screen where there are no DICOM topics', () => {
    assert.deepEqual([before.sections.studies, before.page], [false, 404]);
  });

  it('are listed, shown with windows and frames, and say nothing of the patient', () => {
    let heard;
    return stage.visit({ prepare: (page) => (heard = listen(page)) }, async (page) => {
      await until('the section', async () => {
        await page.goto(stage.url);
        return page.locator('.nav-item[data-screen=studies]').count();
      });
      await page.locator('.nav-item[data-screen=studies]').click();
      const row = page.locator('a.study');
      await until('the list', async () => (await row.count()) === 1);
      assert.match(await row.innerText(), /2024-03-01[\s\S]*CT[\s\S]*Head plain[\s\S]*masked[\s\S]*1 series · 1 object · /);
      assert.equal(await page.locator('.no-diagnosis').innerText(), 'Not for diagnosis');
      await until('destinations', async () => /archive\s+has everything/.test(await page.locator('.studies-queues').innerText()));
      const search = page.getByRole('searchbox', { name: 'Search studies' });
      await search.fill('knee');
      await until('nothing', async () => /No study matches/.test(await page.locator('.nothing').innerText()));
      await search.fill('ct head');
      await until('found again', async () => (await row.count()) === 1);
      await row.click();

      await shown(page, 1);
      const first = await canvas(page);
      assert.deepEqual([first.width, first.height], [CT.columns, CT.rows]);
      assert.deepEqual(first.gray, expected(0, CT.windows[0]));
      await page.getByLabel('Window', { exact: true }).selectOption({ label: 'BONE' });
      assert.deepEqual((await canvas(page)).gray, expected(0, CT.windows[1]));

      // Dragged: wider and lower, and back.
      const box = await page.locator('canvas.frame').boundingBox();
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      await page.mouse.move(x, y);
      await page.mouse.down();
      await page.mouse.move(x + 60, y - 40, { steps: 4 });
      await page.mouse.up();
      assert.equal(await page.getByLabel('Window', { exact: true }).inputValue(), 'own');
      const dragged = (await canvas(page)).gray;
      assert.notDeepEqual(dragged, expected(0, CT.windows[1]));
      await page.keyboard.press('r');
      assert.deepEqual((await canvas(page)).gray, expected(0, CT.windows[0]));

      // Frames by keys, wheel and slider.
      await page.keyboard.press('ArrowDown');
      await shown(page, 2);
      assert.deepEqual((await canvas(page)).gray, expected(1, CT.windows[0]));
      await page.mouse.move(x, y);
      await page.mouse.wheel(0, 45);
      await shown(page, 3);
      assert.deepEqual((await canvas(page)).gray, expected(2, CT.windows[0]));
      await page.getByRole('slider').fill('0');
      await shown(page, 1);
      assert.match(await page.locator('.stage-place').innerText(), /1 of 3/);

      const line = (tag) => page.locator('.attributes tr', { hasText: tag });
      assert.match(await line('(0010,0010)').innerText(), /Patient Name\s+PN\s+masked/);
      assert.match(await line('(0028,0010)').innerText(), /Rows\s+US\s+8/);
      assert.match(await page.title(), /^Studies · lumenbus$/);
      const sent = Buffer.concat(await Promise.all(heard.bodies)).toString('latin1').toLowerCase();
      assert.ok(sent.includes('patientname') && sent.includes('head plain'), 'the answers were heard');
      for (const word of [...NAME.split('^'), CT.id]) assert.ok(!sent.includes(word.toLowerCase()), word);
      for (const address of heard.addresses) assert.doesNotMatch(address, /knee|ct.head/i);
    });
  });

  it('show the patient where that is allowed, and every access is in the trail', () => stage.visit({ path: new URL('/studies', open).href }, async (page) => {
    await until('the name', async () => (await page.locator('.study-who').allInnerTexts()).join() === `${TITLE} · ${CT.id}`);
    await page.locator('a.study').click();
    await shown(page, 1);
    await until('the attribute', async () => (await page.locator('.attributes tr', { hasText: '(0010,0010)' }).innerText()).includes(NAME));
    const search = stage.site.spawn('audit search --json');
    await search.ended;
    const records = search.stdout.join('\n');
    for (const [instance, data] of [['masked', 'masked'], ['open', 'shown']]) {
      for (const what of ['attributes', 'pixels']) {
        const found = search.stdout.filter((text) => text.includes(`"${instance}"`) && text.includes(`"${what}"`) && text.includes(`"${data}"`) && text.includes(CT.instance));
        assert.equal(found.length, 1, `${instance} ${what}:\n${records}`);
      }
    }
    assert.ok(!records.toLowerCase().includes(NAME.split('^')[0].toLowerCase()));
  }));

  it('fit a phone', () => stage.visit({ options: PHONE, path: '/studies' }, async (page) => {
    await until('the list', async () => (await page.locator('a.study').count()) === 1);
    await page.locator('a.study').click();
    await shown(page, 1);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
    await page.getByRole('link', { name: 'Back to all studies' }).click();
    await until('the list again', async () => (await page.locator('a.study').count()) === 1);
  }));
});
