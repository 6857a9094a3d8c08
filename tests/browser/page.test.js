// The page by itself, against the mock: states, keys, sizes, languages, nonsense from the server.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { anyMarker, goesOn, marker, markerWith, until } from './lib.js';
import { mediaMessage } from './media.js';
import { addAllStates, facts, patternPictures, patternUnits } from './mock.js';
import { mockStage } from './stage.js';

const SIZE = { width: 320, height: 192 };
const WIDE = { width: 1280, height: 800 };
const PHONE = { viewport: { width: 360, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

const withPage = mockStage();

const cameras = (count, more = {}) => (mock) => {
  const units = patternUnits();
  for (let n = 0; n < count; n += 1) mock.add(facts(n, `cam-${n}`, more), units);
};
const tile = (page, n) => page.locator(`.tile[data-n="${n}"]`);
const stateOf = (page, n) => tile(page, n).getAttribute('data-state');
const focused = (page) => page.evaluate(() => document.activeElement?.dataset?.n ?? null);
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Where the leftmost box begins that is drawn over stream `n`, in parts of the picture; null without one. */
function leftmostIn(n) {
  const canvas = document.querySelector(`.tile[data-n="${n}"] .boxes`);
  if (!canvas || canvas.width === 0) return null;
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const isDrawn = (x) => Array.from({ length: height }, (_, y) => data[4 * (y * width + x) + 3]).some((alpha) => alpha > 0);
  const at = Array.from({ length: width }, (_, x) => x).find(isDrawn);
  return at === undefined ? null : at / width;
}
const leftmost = (page, n) => page.evaluate(leftmostIn, n);

describe('boxes', () => {
  /** One box, whose place tells the frame: the picture is 5:3 in a tile of 16:9. */
  const boxesOf = (seq) => [{ class: 'motion', score: 0.9, track: String(seq), x: (seq % 60) / 75, y: 0.3, width: 0.15, height: 0.4 }];
  const inset = (1 - (320 / 192) / (16 / 9)) / 2;
  const place = (number) => inset + (1 - 2 * inset) * (number / 75);
  const fill = (mock) => {
    cameras(1, { fps: 15 })(mock);
    mock.streams.get(0).boxesOf = boxesOf;
  };

  it('are drawn over the frame that they belong to, on demand', () => withPage({ fill }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    const button = page.locator('.toolbar .toggle');
    await button.waitFor();
    assert.equal(await leftmost(page, 0), null);
    await button.click();
    await until('the wish', () => [...mock.connections].some((client) => client.messages.some(({ streams }) => streams?.[0]?.boxes_ms >= 90)));
    const seen = new Set();
    await until('boxes of twenty frames', async () => {
      const [shown, left] = await markerWith(page, 0, SIZE, leftmostIn);
      if (!shown || left === null) return false;
      assert.ok(Math.abs(left - place(shown.counter)) < 0.01, `frame ${shown.counter} has its box at ${left}, not at ${place(shown.counter)}`);
      return seen.add(shown.counter).size >= 20;
    });
    await button.click();
    await until('no boxes', async () => (await leftmost(page, 0)) === null);
  }));

  it('are not offered where nobody analyses', () => withPage({ fill: cameras(1) }, async (page) => {
    await until('figures', async () => (await tile(page, 0).locator('.f-fps').innerText()) !== '');
    assert.equal(await page.locator('.toolbar .toggle').isVisible(), false);
  }));

  it('of nonsense are left out, and the pictures go on', () => withPage({ fill: (mock) => {
    cameras(1)(mock);
    mock.streams.get(0).boxesOf = (seq) => [null, 7, { x: 'a' }, { class: {}, x: 1e99, y: 0, width: 1, height: 1 }, { track: '1; drop', x: 0.1, y: 0.1, width: -1, height: 1 }, ...boxesOf(seq)];
  } }, async (page) => {
    await page.locator('.toolbar .toggle').click();
    await until('the sound one', async () => (await leftmost(page, 0)) !== null);
    await goesOn(page, 0, SIZE, 10);
  }));
});

describe('live', () => {
  it('shows every state with its reason and what to do', () => withPage({ fill: addAllStates }, async (page, mock) => {
    const expected = ['live', 'late', 'connecting', 'offline', 'denied', 'unplayable', 'sealed', 'ended', 'live'];
    await until('all states', async () => JSON.stringify(await Promise.all(expected.map((_, n) => stateOf(page, n)))) === JSON.stringify(expected));
    assert.match(await tile(page, 3).innerText(), /Offline\n+since .*no route to host/);
    assert.match(await tile(page, 4).innerText(), /Wrong password\n+The camera refused/);
    assert.match(await tile(page, 5).innerText(), /Not playable here\n+This browser cannot decode H\.265/);
    assert.match(await tile(page, 6).innerText(), /Sealed\n+The pictures are encrypted/);
    assert.match(await tile(page, 1).innerText(), /Late 3\.4 s/);
    const label = await tile(page, 4).getAttribute('aria-label');
    assert.equal(label, 'denied, Wrong password');
    // What cannot be played is not asked for.
    assert.deepEqual([...mock.watched.keys()].filter((n) => [5, 6].includes(n)), []);
    assert.deepEqual([mock.watched.get(0), mock.watched.get(8)], ['annexb', 'jpeg']);
    await goesOn(page, 0, SIZE, 5);
  }));

  it('keeps the last picture of a camera that goes away, and goes on when it returns', () => withPage({ fill: cameras(1) }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    mock.setState(0, 'offline', 'cable');
    await until('offline', async () => (await stateOf(page, 0)) === 'offline');
    assert.ok(await marker(page, 0, SIZE));
    mock.setState(0, 'live');
    await until('live', async () => (await stateOf(page, 0)) === 'live');
  }));

  it('has the headline: bandwidth, age, losses', () => withPage({ fill: (mock) => {
    cameras(2)(mock);
    mock.comparison = { coded_mbit: 1.84, jpeg_mbit: 14.72, ratio: 8 };
  } }, async (page, mock) => {
    const of = (name) => page.locator(`.figure-${name}`);
    await until('the ratio', async () => /8\.0×\s*less\s+1\.84 vs 14\.7 Mbit\/s/.test(await of('bandwidth').innerText()));
    Object.assign(mock.comparison, { coded_ssim: 0.9714, jpeg_ssim: 0.9685 });
    await until('the quality', async () => /SSIM 0\.971 vs 0\.969/.test(await of('bandwidth').innerText()));
    await until('ages of this page', async () => /median · p99 \d/.test(await of('age').innerText()));
    assert.equal(await of('loss').getAttribute('data-good'), 'true');
    mock.gap(0, 12, 'overflow');
    await until('explained losses', async () => /^Unexplained losses\s+0\s+12 explained/.test(await of('loss').innerText()));
    mock.gap(0, 2, 'unexplained');
    await until('an unexplained loss', async () => (await of('loss').getAttribute('data-good')) === 'false');
    assert.match(await of('loss').innerText(), /losses\s+2\s+12 explained/);
  }));

  it('marks a gap on the tile, in the log and on the strip', () => withPage({ fill: cameras(2) }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    mock.gap(0, 12, 'aborted');
    await tile(page, 0).locator('.chip-gap').waitFor();
    assert.equal(await tile(page, 0).locator('.chip-gap').innerText(), 'gap · 12 frames · publisher died');
    assert.match(await page.locator('.log').innerText(), /cam-0: 12 frames · publisher died/);
    const hasColor = () => page.evaluate(() => {
      const strip = document.querySelector('.tile[data-n="0"] .strip');
      const { data } = strip.getContext('2d').getImageData(0, 0, strip.width, strip.height);
      for (let at = 0; at < data.length; at += 4) if (data[at] > 130 && data[at + 2] < 80) return true;
      return false;
    });
    await until('a mark on the strip', hasColor);
  }));

  it('lets a gap grow while the outage lasts', () => withPage({ fill: cameras(1) }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    for (let i = 0; i < 5; i += 1) mock.send({ type: 'gap', n: 0, epoch: '1', first: 100 + 20 * i, last: 119 + 20 * i, reason: 'source-lost', at_ms: Date.now() + 2000 * i });
    await until('one line', async () => /cam-0: 100 frames · camera was away/.test(await page.locator('.log').innerText()));
    assert.equal(await page.locator('.log li').count(), 1);
    await tile(page, 0).click();
    await until('one gap', async () => /100 frames\s+100 – 199/.test(await page.locator('.gap-list').innerText()));
  }));

  it('makes one line of the same gap at several cameras', () => withPage({ fill: cameras(5) }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    for (let n = 0; n < 5; n += 1) mock.gap(n, 10, 'aborted');
    await until('one line', async () => /5 cameras: 50 frames/.test(await page.locator('.log').innerText()));
    assert.equal(await page.locator('.log li').count(), 1);
  }));

  it('finds by name, group, label and codec, and narrows to a group', () => withPage({ fill: (mock) => {
    mock.add(facts(0, 'gate', { name: 'Main gate', group: 'Outside', labels: { floor: 'ground' } }), patternUnits());
    mock.add(facts(1, 'hall', { name: 'Hall', group: 'Inside' }), patternUnits());
    mock.add(facts(2, 'still', { name: 'Yard', group: 'Outside', codec: 'jpeg', topic: 'raw_images' }), patternPictures());
  } }, async (page, mock) => {
    const shown = async () => (await page.locator('.tile-name').allInnerTexts()).join();
    await until('three', async () => (await shown()) === 'Hall,Main gate,Yard');
    for (const [text, names] of [['MAIN', 'Main gate'], ['ground', 'Main gate'], ['inside', 'Hall'], ['jpeg outside', 'Yard'], ['nothing like it', '']]) {
      await page.locator('input[type=search]').fill(text);
      await until(text, async () => (await shown()) === names);
    }
    assert.match(await page.locator('.nothing').innerText(), /No camera matches/);
    await until('nothing watched', () => mock.watched.size === 0);
    await page.locator('input[type=search]').fill('');
    await page.getByRole('button', { name: 'Outside' }).click();
    await until('a group', async () => (await shown()) === 'Main gate,Yard');
    assert.equal(await page.getByRole('button', { name: 'Outside' }).getAttribute('aria-pressed'), 'true');
  }));

  it('puts many cameras under the headings of their groups', () => withPage({ fill: (mock) => {
    for (let n = 0; n < 24; n += 1) mock.add(facts(n, `cam-${n}`, { group: n % 2 ? 'West' : 'East' }));
  } }, async (page) => {
    await until('headings', async () => JSON.stringify(await page.locator('.group-name').allInnerTexts()) === '["East\\n12","West\\n12"]');
  }));

  it('fits all tiles into the window while they are readable, and scrolls beyond', async () => {
    for (const [count, isScrolling] of [[1, false], [4, false], [9, false], [40, true]]) {
      await withPage({ fill: cameras(count), options: { viewport: { width: 1440, height: 900 } } }, async (page) => {
        await until(`${count} tiles`, async () => (await page.locator('.tile').count()) === count);
        const [height, width] = await page.evaluate(() => [document.documentElement.scrollHeight - innerHeight, document.querySelector('.tile').getBoundingClientRect().width]);
        assert.equal(height > 0, isScrolling, `${count}: ${height}`);
        assert.ok(width >= 240, `${count}: ${width}`);
      });
    }
  });

  it('presses the buttons of the demo', () => withPage({ fill: (mock) => {
    cameras(1)(mock);
    mock.actions = [{ id: 'kill', label_en: 'Kill the broker', label_zh: '杀死代理', camera: null, is_on: false }];
  } }, async (page, mock) => {
    const button = page.getByRole('button', { name: 'Kill the broker' });
    await button.click();
    await until('pressed', async () => (await button.getAttribute('aria-pressed')) === 'true');
    await until('it says so', async () => /Kill the broker: on/.test(await page.locator('.say').innerText()));
    assert.deepEqual(mock.requests.filter(({ method }) => method === 'POST').map(({ url }) => url), ['/api/v1/actions/kill']);
    mock.actions = [{ id: 'gone', label_en: 'Gone', label_zh: 'x', camera: null, is_on: false }];
    mock.sendStats();
    const gone = page.getByRole('button', { name: 'Gone' });
    await gone.waitFor();
    mock.gone.add('gone');
    await gone.click();
    await until('the refusal', async () => /did not work: no such action/.test(await page.locator('.say').innerText()));
  }));
});

describe('watching', () => {
  it('asks only for tiles in view', () => withPage({ fill: cameras(60), options: { viewport: WIDE } }, async (page, mock) => {
    await until('the first', () => mock.watched.has(0));
    assert.ok(mock.watched.size < 40, `${mock.watched.size}`);
    assert.ok(!mock.watched.has(59));
    await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight));
    await until('the last, and no longer the first', () => mock.watched.has(59) && !mock.watched.has(0));
    await goesOn(page, 59, SIZE, 3);
    await page.evaluate(() => window.scrollTo(0, 0));
    await goesOn(page, 0, SIZE, 3);
  }));

  it('shows keyframes only where many are in view, and all of the one that is pointed at', () => withPage({ fill: cameras(20), options: { viewport: { width: 1920, height: 1600 } } }, async (page, mock) => {
    const stills = () => [...mock.connections][0].stills;
    await until('keyframes', () => mock.watched.size === 20 && stills().size === 20);
    await anyMarker(page, 3, SIZE);
    await tile(page, 3).hover();
    await until('all pictures of one', () => stills().size === 19 && !stills().has(3));
    await goesOn(page, 3, SIZE, 10);
    await tile(page, 5).hover();
    await until('another one', () => stills().size === 19 && !stills().has(5));
    // Narrowed to a few, all of them move.
    await page.locator('input[type=search]').fill('cam-1');
    await until('eleven that move', () => mock.watched.size === 11 && stills().size === 0);
    await goesOn(page, 12, SIZE, 10);
  }));

  it('asks for nothing while the page is hidden', () => withPage({ fill: cameras(2) }, async (page, mock) => {
    await goesOn(page, 0, SIZE, 3);
    const hide = (isHidden) => page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, isHidden);
    await hide(true);
    await until('nothing watched', () => mock.watched.size === 0);
    await hide(false);
    await until('both watched', () => mock.watched.size === 2);
    await goesOn(page, 0, SIZE, 3);
  }));

  it('comes back by itself after the server was away', () => withPage({ fill: cameras(2) }, async (page, mock) => {
    await goesOn(page, 0, SIZE, 3);
    const { port } = mock;
    await mock.stop();
    await page.locator('.banner').waitFor();
    assert.match(await page.locator('.banner').innerText(), /connection to the viewer is lost/);
    await mock.listen(port);
    await page.locator('.banner').waitFor({ state: 'hidden' });
    await goesOn(page, 0, SIZE, 3);
  }));

  it('says so when it is not admitted', () => withPage({ fill: cameras(1) }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    mock.refuse = 401;
    for (const client of mock.connections) client.destroy();
    await until('the reason', async () => /token is missing or has changed/.test(await page.locator('.banner').innerText()));
  }));

  it('reports what was shown, sampled, in the clock of the server', () => withPage({ fill: cameras(2) }, async (page, mock) => {
    const reports = () => mock.received('shown').flatMap((message) => message.reports);
    await until('reports', () => reports().length > 6);
    for (const report of reports()) {
      assert.ok(report.received_ms <= report.decoded_ms && report.decoded_ms <= report.shown_ms, JSON.stringify(report));
      assert.ok(Math.abs(Date.now() - report.shown_ms) < 60_000, JSON.stringify(report));
      assert.equal(report.epoch, '1');
    }
    const seqs = reports().map(({ n, seq }) => `${n} ${seq}`);
    assert.equal(new Set(seqs).size, seqs.length);
    for (const message of mock.received('shown')) assert.ok(JSON.stringify(message).length < 16_384 && message.reports.length <= 80);
    assert.ok(mock.received('ping').length >= 3);
  }));
});

describe('decoding', () => {
  /** A decoder that takes its time and then answers with pictures of nothing. */
  const slowDecoder = (page, millis) => page.addInitScript((delay) => {
    globalThis.VideoDecoder = class extends EventTarget {
      static isConfigSupported = async () => ({ supported: true });
      state = 'unconfigured';
      decodeQueueSize = 0;
      #work = Promise.resolve();
      constructor({ output }) {
        super();
        this.output = output;
      }
      configure() {
        this.state = 'configured';
      }
      reset() {}
      close() {
        this.state = 'closed';
      }
      decode(chunk) {
        this.decodeQueueSize += 1;
        this.#work = this.#work.then(() => new Promise((done) => setTimeout(done, delay))).then(() => {
          this.decodeQueueSize -= 1;
          if (this.state === 'closed') return;
          const canvas = new OffscreenCanvas(64, 36);
          canvas.getContext('2d');
          this.output(new VideoFrame(canvas, { timestamp: chunk.timestamp }));
          this.ondequeue?.();
        });
      }
    };
  }, millis);

  it('keeps its queue short when the decoder is slow: skips to keyframes, and counts it', () => withPage({ fill: cameras(1), prepare: (page) => slowDecoder(page, 90) }, async (page, mock) => {
    const counts = () => page.evaluate(() => ({ ...lumenbus.theatre.counts }));
    await until('pictures and skips', async () => (await counts()).shown > 20 && (await counts()).skipped > 30);
    const { longestQueue } = await counts();
    // While joining: what led up to now, and what came meanwhile, up to the next keyframe.
    assert.ok(longestQueue <= 64, `${longestQueue}`);
    const skipped = () => mock.received('shown').flatMap((message) => message.skipped).reduce((sum, { frames }) => sum + frames, 0);
    await until('the server knows', () => skipped() > 30);
    const queues = mock.received('shown').flatMap((message) => message.queue);
    assert.ok(queues.some(({ frames }) => frames > 0) && queues.every(({ frames }) => frames <= 64));
    const before = (await counts()).shown;
    await until('it goes on', async () => (await counts()).shown > before + 10);
  }));

  it('asks for a new beginning after an error, less and less often, then goes another way', () => withPage({ fill: (mock) => {
    const noise = patternUnits().map((unit) => ({ ...unit, data: Buffer.from([0, 0, 0, 1, 0x65, 0xff, 0, 1, 2, 3]), isKeyframe: true }));
    mock.add(facts(0, 'noise', { fps: 10 }), noise);
    mock.add(facts(1, 'good'), patternUnits());
  } }, async (page, mock) => {
    await until('rejoins', () => mock.received('rejoin').length >= 2);
    await until('the other way', () => mock.watched.get(0) === 'fmp4');
    assert.ok(mock.received('rejoin').length < 10);
    await goesOn(page, 1, SIZE, 5);
  }));

  it('shows pictures as the newest one comes, and survives damaged ones', () => withPage({ fill: (mock) => {
    const [good, ...rest] = patternPictures();
    mock.add(facts(0, 'still', { codec: 'jpeg', topic: 'raw_images', codec_string: '', fps: 10 }), [good, { data: good.data.subarray(0, 40), isKeyframe: true }, ...rest]);
  } }, async (page) => {
    const seen = new Set();
    await until('four different pictures', async () => {
      const found = await marker(page, 0, SIZE);
      if (found) seen.add(found.counter);
      return seen.size >= 4;
    });
  }));

  it('asks for MP4 where there is no WebCodecs, and says so where there is neither', async () => {
    const without = (names) => (page) => page.addInitScript((list) => list.forEach((name) => delete globalThis[name]), names);
    await withPage({ fill: cameras(1), prepare: without(['VideoDecoder']) }, async (page, mock) => {
      await until('MP4', () => mock.watched.get(0) === 'fmp4');
      assert.deepEqual(mock.received('hello')[0].media, ['fmp4', 'jpeg']);
    });
    await withPage({ fill: cameras(1), prepare: without(['VideoDecoder', 'MediaSource', 'ManagedMediaSource']) }, async (page, mock) => {
      await until('not playable', async () => (await stateOf(page, 0)) === 'unplayable');
      assert.deepEqual(mock.received('hello')[0].media, ['jpeg']);
    });
  });
});

describe('nonsense from the server', () => {
  const EVIL = '<img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>';

  it('is text, never markup', () => withPage({ fill: (mock) => {
    mock.title = EVIL;
    mock.add(facts(0, 'evil', { name: EVIL, group: EVIL, labels: { [EVIL]: EVIL, __proto__: 'x' } }), patternUnits());
    mock.add(facts(1, 'off', { name: `${'x'.repeat(100_000)}` }), null, { state: 'offline', reason: EVIL });
    mock.actions = [{ id: 'a', label_en: EVIL, label_zh: EVIL, camera: null, is_on: false }];
    mock.broker = { is_connected: false, reason: EVIL };
    mock.health = { ...mock.health, problems: [{ code: EVIL, what: EVIL, remedy: EVIL }], topics: [{ name: EVIL }], brokers: [{ host: EVIL, port: 1 }] };
  } }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    mock.gap(0, 3, EVIL.slice(0, 40));
    mock.send({ type: 'notice', kind: EVIL, text: EVIL, at_ms: 1e300 });
    mock.send({ type: 'event', n: 0, kind: EVIL, reason: EVIL, at_ms: 'now' });
    assert.equal(await tile(page, 0).locator('.tile-name').innerText(), EVIL);
    for (const path of ['/health', '/camera/evil', '/camera/%3Cimg%20src%3Dx%3E', '/camera/%ff']) {
      await page.goto(mock.url + path);
      await until(path, () => page.evaluate(() => document.querySelector('main').innerText.length > 0));
    }
    assert.equal(await page.evaluate(() => globalThis.hacked), undefined);
    assert.equal(await page.locator('main img, main script').count(), 0);
  }));

  it('is ignored, and the pictures go on', () => withPage({ fill: cameras(2) }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    const texts = [
      '', '{', 'null', '7', '[]', '"x"', '{"type":7}', '{"type":"__proto__"}', '{"type":"constructor"}', '{"type":"streams"}', '{"type":"stats","streams":{"length":1e9}}',
      '{"type":"stats","streams":[null,7,{},{"n":-1},{"n":70000},{"n":0,"fps":"x","missing":[],"stages":{"decode":null,"total":{"p50_ms":"NaN"}},"state":"<b>"}],"totals":[],"broker":7,"actions":{"a":1}}',
      '{"type":"gap","n":0}', '{"type":"gap","n":999,"reason":{}}', '{"type":"hello","sections":null,"comparison":7,"actions":"x"}', '{"type":"pong","t0":"x","t1":null}', '{"type":"pong","t0":-1e308,"t1":1e308}',
      `{"type":"notice","text":"${'y'.repeat(500_000)}"}`, `{"type":"x","deep":${'['.repeat(3000)}${']'.repeat(3000)}}`,
      JSON.stringify({ type: 'stats', at_ms: Number.MAX_VALUE, streams: [{ n: 0, state: 'live', fps: 1e308, mbit: -1e308, age_p50_ms: 1e300, frames: 1e300, bytes: -5, missing: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`r${i}`, 1])), since_ms: 1e300 }] }),
    ];
    for (const message of texts) mock.send(message);
    const frame = patternUnits()[0].data;
    for (const bytes of [
      Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(55), Buffer.alloc(56), Buffer.alloc(500_000, 0xff),
      ...[0, 1, 2, 3, 4, 200].map((kind) => mediaMessage({ kind, flags: 255, n: 0, seq: 2n ** 64n - 1n, epoch: 2n ** 64n - 1n, captureMs: -1e15, ptsMicros: -(2n ** 62n), payload: Buffer.alloc(9, 7) })),
      mediaMessage({ n: 65_535, payload: frame }), mediaMessage({ n: 1, payload: Buffer.alloc(0) }), mediaMessage({ kind: 2, n: 1, payload: frame }),
    ]) mock.send(bytes);
    mock.sendStats();
    await goesOn(page, 0, SIZE, 5);
    await goesOn(page, 1, SIZE, 5);
    assert.ok(await page.evaluate(() => lumenbus.link.isOpen));
    assert.equal(await page.evaluate(() => ({}).polluted), undefined);
  }));

  it('in any number does not stop the page', () => withPage({ fill: cameras(1) }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    const many = Array.from({ length: 5000 }, (_, n) => facts(n, `cam-${n}`, { group: `g${n}`, labels: Object.fromEntries(Array.from({ length: 3 }, (_, i) => [`l${i}`, 'v'])) }));
    mock.send({ type: 'streams', streams: many });
    for (let i = 0; i < 3000; i += 1) mock.send({ type: 'gap', n: 0, epoch: '1', first: i * 10, last: i * 10 + 1, reason: 'overflow', at_ms: i * 5000 });
    await until('as many tiles as it takes', async () => (await page.locator('.tile').count()) === 2000);
    assert.ok((await page.evaluate(() => lumenbus.store.log.length)) <= 200);
    assert.ok((await page.evaluate(() => lumenbus.store.streams.get(0).gaps.length)) <= 100);
    mock.sendStreams();
    await until('one tile', async () => (await page.locator('.tile').count()) === 1);
    await goesOn(page, 0, SIZE, 3);
  }));
});

describe('keys', () => {
  it('move between tiles, open, go back, search, and help', () => withPage({ fill: cameras(6), options: { viewport: WIDE } }, async (page) => {
    await anyMarker(page, 0, SIZE);
    await page.keyboard.press('ArrowRight');
    assert.equal(await focused(page), '0');
    await page.keyboard.press('ArrowRight');
    assert.equal(await focused(page), '1');
    await page.keyboard.press('ArrowDown');
    const below = await focused(page);
    assert.ok(Number(below) > 1, below);
    await page.keyboard.press('ArrowUp');
    assert.equal(await focused(page), '1');
    await page.keyboard.press('End');
    assert.equal(await focused(page), '5');
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowRight');
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, 'solid');
    await page.keyboard.press('Enter');
    await until('the camera', async () => new URL(page.url()).pathname === '/camera/cam-1');
    await goesOn(page, 1, SIZE, 3);
    await page.keyboard.press('ArrowRight');
    await until('the next camera', async () => new URL(page.url()).pathname === '/camera/cam-2');
    await page.keyboard.press('ArrowLeft');
    await until('the one before', async () => new URL(page.url()).pathname === '/camera/cam-1');
    await page.keyboard.press('Escape');
    await until('all cameras', async () => new URL(page.url()).pathname === '/');
    await until('the tile that was opened', async () => (await focused(page)) === '1');
    await page.keyboard.press('/');
    await page.keyboard.type('cam-4');
    await until('one tile', async () => (await page.locator('.tile').count()) === 1);
    await page.keyboard.press('Enter');
    await until('the tile found', async () => (await focused(page)) === '4');
    await page.keyboard.press('Escape');
    await until('all tiles', async () => (await page.locator('.tile').count()) === 6);
    await page.keyboard.press('?');
    assert.ok(await page.locator('dialog').isVisible());
    await page.keyboard.press('Escape');
    assert.ok(!(await page.locator('dialog').isVisible()));
    await page.keyboard.press('2');
    await until('health', async () => new URL(page.url()).pathname === '/health');
    await page.keyboard.press('Escape');
    await until('back', async () => new URL(page.url()).pathname === '/');
  }));

  it('save a snapshot and fill the screen', () => withPage({ fill: cameras(2), path: '/camera/cam-1' }, async (page) => {
    await anyMarker(page, 1, SIZE);
    const download = page.waitForEvent('download');
    await page.keyboard.press('s');
    assert.match((await download).suggestedFilename(), /^cam-1-\d{4}-\d\d-\d\dT\d{6}Z\.jpg$/);
    await page.keyboard.press('f');
    await until('full screen', () => page.evaluate(() => document.fullscreenElement !== null || document.querySelector('.maximised') !== null));
    await page.keyboard.press('f');
    await until('as before', () => page.evaluate(() => document.fullscreenElement === null && document.querySelector('.maximised') === null));
  }));

  it('reach everything with Tab, in sight', () => withPage({ fill: cameras(2) }, async (page) => {
    await anyMarker(page, 0, SIZE);
    const seen = [];
    for (let i = 0; i < 14; i += 1) {
      await page.keyboard.press('Tab');
      seen.push(await page.evaluate(() => {
        const node = document.activeElement;
        const style = getComputedStyle(node);
        return [node.className || node.tagName, style.outlineStyle !== 'none' || style.outlineWidth !== '0px', Boolean(node.getAttribute('aria-label') || node.innerText || node.placeholder)];
      }));
    }
    const names = seen.map(([name]) => name);
    for (const name of ['skip', 'brand', 'nav-item', 'tile']) assert.ok(names.includes(name), `${name} in ${names}`);
    for (const [name, isVisible, hasName] of seen.filter(([name]) => name !== 'BODY')) assert.ok(isVisible && hasName, name);
  }));
});

describe('camera', () => {
  it('shows stages, gaps, figures over time and commands', () => withPage({ fill: cameras(2), path: '/camera/cam-0' }, async (page, mock) => {
    await goesOn(page, 0, SIZE, 3);
    await until('stages', async () => /Encode\s+11 ms\s+19 ms/.test(await page.locator('.waterfall').innerText()));
    assert.match(await page.locator('.stage-total').innerText(), /Capture to screen\s+32 ms\s+58 ms/);
    const bars = await page.locator('.stage:not(.stage-total) .stage-bar').evaluateAll((nodes) => nodes.map((node) => node.getBoundingClientRect().left));
    assert.deepEqual(bars, [...bars].sort((a, b) => a - b));
    mock.gap(0, 7, 'source-lost');
    await until('the gap', async () => /camera was away\s+7 frames/.test(await page.locator('.gap-list').innerText()));
    assert.match(await page.locator('.gap-sums').innerText(), /7 camera was away/);
    await until('curves', async () => (await page.locator('.plot path.line-a').first().getAttribute('d')).split('L').length > 2);
    assert.match(await page.locator('.plot-box').first().innerText(), /Bitrate\s+Mbit\/s/);
    assert.ok((await page.locator('.gap-band').count()) >= 1);
    await page.getByRole('tab', { name: 'kcat' }).click();
    assert.match(await page.locator('pre').innerText(), /^kcat -C -b 127\.0\.0\.1:9092 -t raw_video -p 0 /);
    await page.getByRole('tab', { name: 'curl' }).click();
    assert.match(await page.locator('pre').innerText(), new RegExp(`^curl --fail -o cam-0.jpg '?${mock.url}/api/v1/cameras/cam-0/snapshot`));
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: 'Copy' }).click();
    await until('copied', async () => /Copied/.test(await page.locator('.say').innerText()));
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.locator('pre').innerText());
  }));

  it('lets choose between the streams of one camera', () => withPage({ fill: (mock) => {
    mock.add(facts(0, 'gate'), patternUnits());
    mock.add(facts(1, 'gate', { codec: 'jpeg', topic: 'raw_images', codec_string: '', fps: 5 }), patternPictures());
  } }, async (page) => {
    await until('names that differ', async () => JSON.stringify(await page.locator('.tile-name').allInnerTexts()) === '["gate · raw_images","gate · raw_video"]');
    await tile(page, 1).click();
    await anyMarker(page, 1, SIZE);
    await page.getByRole('link', { name: /H\.264/ }).click();
    await goesOn(page, 0, SIZE, 3);
  }));

  it('follows its stream to another partition', () => withPage({ fill: cameras(1), path: '/camera/cam-0' }, async (page, mock) => {
    await until('the partition', async () => (await page.locator('pre').innerText()).includes('TopicPartition("raw_video", 0, OFFSET_END)'));
    mock.streams.get(0).facts.partition = 7;
    mock.sendStreams();
    await until('the new one', async () => (await page.locator('pre').innerText()).includes('TopicPartition("raw_video", 7, OFFSET_END)'));
    mock.streams.get(0).facts.partition = null;
    mock.sendStreams();
    await until('all of them', async () => (await page.locator('pre').innerText()).includes('for p in partitions'));
  }));

  it('has a name for every codec', () => withPage({ fill: (mock) => mock.add(facts(0, 'old', { codec: 'jpeg2000', codec_string: null, mime: null })) }, async (page) => {
    await until('the reason', async () => /cannot decode JPEG 2000/.test(await tile(page, 0).innerText()));
    assert.equal(await tile(page, 0).locator('.badge').innerText(), 'JPEG 2000');
  }));

  it('says when there is no camera at all', () => withPage({ path: '/camera/none' }, (page) => until('the text', async () => /There is no camera “none”/.test(await page.locator('main').innerText()))));

  it('says when there is no such camera', () => withPage({ fill: cameras(1), path: '/camera/none' }, async (page) => {
    await until('the text', async () => /There is no camera “none”/.test(await page.locator('main').innerText()));
    await page.keyboard.press('Escape');
    await anyMarker(page, 0, SIZE);
  }));
});

describe('health', () => {
  const full = {
    at_ms: Date.now(), is_embedded: false, cluster_id: 'abc', is_reachable: true, brokers: [{ id: 1, host: 'kafka-1', port: 9092, is_controller: true }],
    topics: [{ name: 'raw_video', partitions: 48, replication: 3, under_replicated: 2, offline: 0, records: 12_345, bytes: 5e9, is_estimate: true }],
    groups: [{ group: 'archive', state: 'Stable', members: 2, lag_records: 500, age_ms: 16_700 }], disk: { used_bytes: 5e9, free_bytes: null, bytes_per_second: 1e6, days_left: null, is_estimate: true },
    problems: [{ code: 'isr', what: 'Two partitions have too few replicas.', remedy: 'Start broker 3 again.' }], budgets: [{ name: 'viewer rings', used_bytes: 1 << 20, limit_bytes: 1 << 28 }],
    drops: [{ reason: 'overflow', frames: 3 }], viewers: 1,
  };

  it('says what is wrong and what to do, then everything else', () => withPage({ fill: (mock) => (mock.health = full), path: '/health' }, async (page, mock) => {
    const text = () => page.locator('main').innerText();
    await until('the problem', async () => /Needs you: 1[^]*too few replicas[^]*Start broker 3/.test(await text()));
    for (const part of [/kafka-1:9092\s+1\s+controller/, /raw_video\s+48\s+×3\s+2\s+0\s+12,345\s+≈ 4\.7 GiB/, /archive\s+Stable\s+2\s+500\s+17 s/, /queue full\s+3/, /newest frames in the viewer[^]*1\.0 MiB \/ 256 MiB/, /estimated/]) assert.match(await text(), part);
    mock.health = { ...full, problems: [] };
    await until('all is well', async () => /Nothing needs you/.test(await text()));
    mock.health = { is_reachable: false, reason: 'connection refused' };
    await until('away', async () => /Kafka does not answer\s*connection refused/.test(await text()));
    mock.health = [1, 2];
    await until('nonsense is no error', () => mock.requests.filter(({ url }) => url === '/api/v1/health').length > 4);
  }));
});

describe('sections', () => {
  const entries = (page) => page.locator('.nav-item').allInnerTexts();

  it('of later versions are not in the navigation, and their addresses say so', () => withPage({ fill: cameras(1) }, async (page, mock) => {
    await anyMarker(page, 0, SIZE);
    assert.deepEqual(await entries(page), ['Live', 'Health']);
    for (const [path, name] of [['/events', 'Events'], ['/timeline', 'Timeline'], ['/studies', 'Studies']]) {
      assert.equal((await page.goto(mock.url + path)).status(), 404);
      await until(path, async () => (await page.locator('main').innerText()).split(/\n+/).join() === `${name},This screen is not part of this version.,Back to all cameras`);
      assert.equal(await page.title(), `${name} · lumenbus`);
    }
    await page.getByRole('button', { name: /Switch to Chinese/ }).click();
    assert.match(await page.locator('main').innerText(), /此版本不包含这个页面/);
    await page.getByRole('link', { name: '返回全部摄像机' }).click();
    await anyMarker(page, 0, SIZE);
    assert.equal(new URL(page.url()).pathname, '/');
  }));

  it('are in the navigation once the viewer has them', () => withPage({ fill: (mock) => {
    cameras(1)(mock);
    mock.sections = { events: false, timeline: 'yes', studies: true };
  } }, async (page) => {
    await until('the entry', async () => (await entries(page)).join() === 'Live,Studies,Health');
    await page.getByRole('link', { name: 'Studies' }).click();
    // The mock has no studies: the screen says that it cannot show any.
    await until('an error', async () => /Not for diagnosis[\s\S]*That cannot be shown/.test(await page.locator('main').innerText()));
    assert.equal(await page.locator('.nav-item[aria-current]').innerText(), 'Studies');
    await page.keyboard.press('Escape');
    await anyMarker(page, 0, SIZE);
  }));
});

describe('people', () => {
  for (const locale of ['en', 'zh-CN']) {
    it(`have a page that fits a phone (${locale})`, () => withPage({ fill: (mock) => {
      addAllStates(mock);
      mock.actions = [{ id: 'a', label_en: 'Kill the broker', label_zh: '杀死代理', camera: null, is_on: false }];
      mock.health = { ...mock.health, topics: [{ name: 'lumenbus.cameras', partitions: 12, replication: 3, under_replicated: 0, offline: 0, records: 1e9, bytes: 1e12 }] };
    }, options: { ...PHONE, locale } }, async (page) => {
      await tile(page, 0).scrollIntoViewIfNeeded();
      await anyMarker(page, 0, SIZE);
      assert.equal(await overflow(page), 0);
      const small = await page.evaluate(() => [...document.querySelectorAll('button, a.nav-item, input')].filter((node) => node.offsetParent && node.getBoundingClientRect().height < 40).map((node) => node.className));
      assert.deepEqual(small, []);
      await tile(page, 0).tap();
      await goesOn(page, 0, SIZE, 3);
      assert.equal(await overflow(page), 0);
      await page.locator('.nav-item[data-screen="health"]').tap();
      await page.locator('.panel-topics').waitFor();
      assert.equal(await overflow(page), 0);
    }));
  }

  it('have it in Chinese or English, and it stays so', () => withPage({ fill: addAllStates, options: { locale: 'zh-CN' } }, async (page) => {
    await until('Chinese', async () => /无法解释的丢失/.test(await page.locator('.headline').innerText()));
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh');
    assert.match(await tile(page, 4).innerText(), /密码错误/);
    await page.getByRole('button', { name: /切换为英文/ }).click();
    await until('English', async () => /Unexplained losses/.test(await page.locator('.headline').innerText()));
    await goesOn(page, 0, SIZE, 3);
    await page.reload();
    await until('English still', async () => /Unexplained losses/.test(await page.locator('.headline').innerText()));
  }));

  it('have it light or dark, as the system or as they choose', async () => {
    const ground = (page) => page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.body).backgroundColor)[0]));
    for (const [colorScheme, isDark] of [['light', false], ['dark', true]]) {
      await withPage({ fill: cameras(1), options: { colorScheme } }, async (page) => {
        await page.locator('.headline').waitFor();
        assert.equal((await ground(page)) < 100, isDark);
        const other = isDark ? 'light' : 'dark';
        await until(`chosen: ${other}`, async () => {
          await page.keyboard.press('t');
          return (await page.evaluate(() => document.documentElement.dataset.theme)) === other;
        });
        assert.equal((await ground(page)) < 100, !isDark);
        await page.reload();
        assert.equal((await ground(page)) < 100, !isDark);
      });
    }
  });

  it('have readable contrast', async () => {
    for (const colorScheme of ['light', 'dark']) {
      await withPage({ fill: addAllStates, options: { colorScheme } }, async (page) => {
        await anyMarker(page, 0, SIZE);
        const ratios = await page.evaluate(() => {
          const rgb = (text) => /[\d.]+/g[Symbol.match](text).map(Number);
          const light = (color) => {
            const [r, g, b] = rgb(color).slice(0, 3).map((value) => ((value / 255) <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ground = (node) => {
            for (let at = node; at; at = at.parentElement) {
              const color = getComputedStyle(at).backgroundColor;
              if ((rgb(color)[3] ?? 1) === 1) return color;
            }
            return 'rgb(255,255,255)';
          };
          return ['.figure-label', '.figure-sub', '.figure-unit', '.tile-name', '.figures span', '.nav-item', '.badge', '.link-state', '.empty'].map((selector) => {
            const node = document.querySelector(selector);
            const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
            return [selector, (a + 0.05) / (b + 0.05)];
          });
        });
        for (const [selector, ratio] of ratios) assert.ok(ratio >= 4.5, `${colorScheme} ${selector}: ${ratio.toFixed(2)}`);
      });
    }
  });

  it('who want no motion get none but the pictures', () => withPage({ fill: addAllStates, options: { reducedMotion: 'reduce' } }, async (page) => {
    await anyMarker(page, 0, SIZE);
    const moving = await page.evaluate(() => document.getAnimations().length);
    assert.equal(moving, 0);
  }));

  it('see no jump while cameras come and go live', () => withPage({ fill: (mock) => {
    for (let n = 0; n < 4; n += 1) mock.add(facts(n, `cam-${n}`), patternUnits(), { state: 'connecting' });
  } }, async (page, mock) => {
    await page.locator('.tile').nth(3).waitFor();
    await page.evaluate(() => {
      globalThis.shifts = 0;
      new PerformanceObserver((list) => list.getEntries().forEach((entry) => (globalThis.shifts += entry.value))).observe({ type: 'layout-shift' });
    });
    for (let n = 0; n < 4; n += 1) mock.setState(n, 'live');
    await goesOn(page, 3, SIZE, 3);
    mock.gap(2, 5, 'overflow');
    mock.setState(1, 'offline', 'cable');
    await until('offline', async () => (await stateOf(page, 1)) === 'offline');
    assert.ok((await page.evaluate(() => globalThis.shifts)) < 0.02);
  }));
});
