// From another machine: two network namespaces with a line between them. Plain HTTP there has no WebCodecs.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { anyMarker, goesOn, hasProgram, marker, openBrowser, skip, until } from './lib.js';
import { Site } from './processes.js';
import { visit } from './stage.js';

/** TEST-NET-1: nobody's. */
const [HERE, THERE] = ['192.0.2.1', '192.0.2.2'];
const GATE = { width: 640, height: 360 };
const LIVE_MS = 15_000;

const [boxNamespace, deskNamespace] = [`lb-box-${process.pid}`, `lb-desk-${process.pid}`];
const ip = (line) => execFileSync('ip', line.split(' '), { stdio: ['ignore', 'pipe', 'pipe'] });

function connect() {
  const [box, desk] = [`lbb${process.pid}`, `lbd${process.pid}`];
  for (const name of [boxNamespace, deskNamespace]) ip(`netns add ${name}`);
  ip(`link add ${box} netns ${boxNamespace} type veth peer name ${desk} netns ${deskNamespace}`);
  for (const [name, device, address] of [[boxNamespace, box, HERE], [deskNamespace, desk, THERE]]) {
    // Without the IPv6 address that would come a second later: Chromium breaks off what it loads when an address comes.
    ip(`-n ${name} link set ${device} addrgenmode none`);
    ip(`-n ${name} addr add ${address}/30 dev ${device}`);
    ip(`-n ${name} link set ${device} up`);
    ip(`-n ${name} link set lo up`);
  }
}

/** The kernel says so a moment after both ends are up, and that is a change of the network too. */
const isLineUp = () => / state UP /.test(ip(`-n ${deskNamespace} link show type veth`).toString());

function disconnect() {
  for (const name of [boxNamespace, deskNamespace]) {
    try {
      ip(`netns del ${name}`);
    } catch {
      // It was never made.
    }
  }
}

function canConnect() {
  if (process.getuid() !== 0 || !hasProgram('ip')) return 'network namespaces need root and the program ip';
  try {
    connect();
    return null;
  } catch (error) {
    disconnect();
    return `network namespaces are not permitted here: ${error.stderr ?? error.message}`;
  }
}

const obstacle = canConnect();
if (obstacle) skip(obstacle);

describe('from another machine', { skip: obstacle !== null }, () => {
  let browser;
  let site;
  let token;
  let plain;
  let secure;
  const secret = (url) => new URL(url).searchParams.get('token');

  before(async () => {
    await until('the line is up', isLineUp);
    browser = await openBrowser(deskNamespace);
    site = await Site.start(['ip', 'netns', 'exec', boxNamespace]);
    await site.publish('test:640x360@15 --camera gate --codec h264 --bitrate 600k --keyframe-interval 1s');
    await site.publish('test:640x360@5 --camera still --codec jpeg');
    const [first, second] = [await site.view(`--listen ${HERE}:0`), await site.view(`--listen ${HERE}:0 --https self-signed`)];
    token = secret(first);
    plain = new URL(first);
    secure = new URL(second);
  });
  after(async () => {
    await browser?.close();
    await site?.close();
    disconnect();
  });

  const withPage = (address, check, options = {}) => visit(browser, address, { options }, check);

  const numberOf = (page, camera) => until(`${camera} in the list`, () => page.evaluate((id) => [...lumenbus.store.streams.values()].find(({ facts }) => facts.camera === id)?.facts.n ?? -1, camera).then((n) => (n >= 0 ? String(n) : null)));

  async function isLive(page, camera) {
    const n = Number(await numberOf(page, camera));
    let last = await anyMarker(page, n, GATE);
    for (let i = 0; i < 3; i += 1) {
      const next = await goesOn(page, n, GATE, 2);
      assert.ok(next.unixMillis > last.unixMillis);
      last = next;
    }
    await until('a picture of now', async () => {
      const now = await marker(page, n, GATE);
      return now && Math.abs(Date.now() - now.unixMillis) < LIVE_MS;
    });
    return n;
  }

  it('plays by Media Source over plain HTTP, right pictures in order', () => withPage(plain.href, async (page) => {
    assert.deepEqual(await page.evaluate(() => [isSecureContext, 'VideoDecoder' in globalThis, location.search]), [false, false, '']);
    const n = await isLive(page, 'gate');
    assert.equal(await page.evaluate((stream) => lumenbus.theatre.element(stream).tagName, n), 'VIDEO');
    await isLive(page, 'still');
    const total = await until('measured up to the screen', () => page.evaluate((stream) => lumenbus.store.streams.get(stream).stat.stages.get('total') ?? null, n));
    console.log(`FIGURE: Media Source, capture to screen: p50 ${total.p50} ms, p99 ${total.p99} ms`);
  }));

  it('keeps the live edge and a short buffer there', () => withPage(plain.href, async (page) => {
    const n = await isLive(page, 'gate');
    const buffer = () => page.evaluate((stream) => {
      const video = lumenbus.theatre.element(stream);
      return { start: video.buffered.start(0), end: video.buffered.end(video.buffered.length - 1), at: video.currentTime };
    }, n);
    const first = await buffer();
    await until('old video is thrown away', async () => (await buffer()).start > first.start + 2);
    const { start, end, at } = await buffer();
    assert.ok(end - start < 30, `${end - start} s`);
    assert.ok(end - at < 10, `${end - at} s behind`);
    // Left far behind, it comes back to the edge.
    await page.evaluate((stream) => (lumenbus.theatre.element(stream).currentTime -= 3), n);
    await until('the edge again', async () => {
      const now = await buffer();
      return now.end - now.at < 1;
    });
    await goesOn(page, n, GATE, 3);
  }));

  it('plays by Media Source after the broker was killed', () => withPage(plain.href, async (page) => {
    await isLive(page, 'gate');
    await site.broker.stop('SIGKILL');
    await page.locator('.banner').waitFor();
    await site.startBroker();
    await page.locator('.banner').waitFor({ state: 'hidden' });
    await isLive(page, 'gate');
  }));

  it('has WebCodecs over HTTPS', () => withPage(secure.href, async (page) => {
    const n = await isLive(page, 'gate');
    assert.deepEqual(await page.evaluate((stream) => [isSecureContext, lumenbus.theatre.element(stream).tagName], n), [true, 'CANVAS']);
  }, { ignoreHTTPSErrors: true }));

  it('copies commands without a clipboard interface, with the token left to the reader', () => withPage(new URL(`/camera/gate${plain.search}`, plain).href, async (page) => {
    await isLive(page, 'gate');
    await page.getByRole('tab', { name: 'curl' }).click();
    assert.match(await page.locator('pre').innerText(), /-H "Authorization: Bearer \$LUMENBUS_TOKEN"/);
    assert.ok(!(await page.content()).includes(token));
    await page.getByRole('button', { name: 'Copy' }).click();
    await until('copied', async () => /Copied/.test(await page.locator('.say').innerText()));
  }));

  it('admits nobody without the token, and says what to do', async () => {
    const bare = new URL('/', plain);
    await withPage(null, async (page) => {
      for (const address of [bare.href, `${bare.href}?token=wrong`]) {
        const answer = await page.goto(address);
        assert.equal(answer.status(), 401);
        assert.match(await page.locator('body').innerText(), /token/i);
      }
      await page.goto(plain.href);
      await isLive(page, 'gate');
      await page.goto(bare.href);
      await isLive(page, 'gate');
    });
  });
});
