// For all browser tests: the browser, the marker, waiting, and saying what is left out.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.LUMENBUS_CHROMIUM ?? '/usr/bin/chromium';
/** Ends only what hangs; nothing is expected to come near it. */
const PATIENCE_MS = 180_000;
const FLAGS = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  // Chromium refuses its sandbox to root.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

/** Says loudly that something is left out; fails where nothing may be. */
export function skip(why) {
  if (process.env.LUMENBUS_REQUIRE_ALL === '1') throw new Error(`${why}, and LUMENBUS_REQUIRE_ALL=1`);
  console.error(`SKIPPED: ${why}`);
}

/** Headless Chromium with a new, empty profile; within a network namespace when one is named. */
export async function openBrowser(namespace = null) {
  if (!namespace) return chromium.launch({ executablePath: CHROMIUM, args: FLAGS, timeout: PATIENCE_MS });
  const folder = mkdtempSync(join(tmpdir(), 'lumenbus-browser-'));
  const script = join(folder, 'chromium');
  writeFileSync(script, `#!/bin/sh\nexec ip netns exec ${namespace} ${CHROMIUM} "$@"\n`);
  chmodSync(script, 0o755);
  const browser = await chromium.launch({ executablePath: script, args: FLAGS, timeout: PATIENCE_MS });
  browser.on('disconnected', () => rmSync(folder, { recursive: true, force: true }));
  return browser;
}

/** A page whose errors fail the test that calls `check`. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en', ...options });
  // Also for what Playwright itself waits for: elements, pages, downloads.
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  page.errors = [];
  page.on('crash', () => page.errors.push('the page crashed'));
  page.on('pageerror', (error) => page.errors.push(error.stack));
  page.on('console', (message) => {
    // A connection that a test has cut is no defect of the page.
    const isExpected = /WebSocket connection|Failed to load resource|net::ERR/.test(message.text());
    if (message.type() === 'error' && !isExpected) page.errors.push(message.text());
  });
  if (url) await page.goto(url);
  return page;
}

export function hasProgram(name) {
  try {
    execFileSync('which', [name], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export const hasChromium = () => existsSync(CHROMIUM);

/**
 * Waits until `check` answers something truthy; what it answered last is in the error. It asks again and again: what a
 * test looks at is on a screen, in a canvas or behind another process, and none of these has an event for it.
 */
export async function until(what, check, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const answer = await check();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`it never came to: ${what} (last: ${JSON.stringify(answer)})`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The marker of a test picture on the screen, or null: { counter, unixMillis }. */
export function marker(page, n, size) {
  return page.evaluate(readMarker, { n, size });
}

/** The marker, and what `look(n)` finds in the page at the same moment: [marker, found]. */
export function markerWith(page, n, size, look) {
  return page.evaluate(`[(${readMarker})(${JSON.stringify({ n, size })}), (${look})(${n})]`);
}

/** The same of the first element that a selector finds: a picture that stands. */
export function markerOf(page, selector, size) {
  return page.evaluate(readMarker, { selector, size });
}

/** Runs in the page: crates/source/src/pattern/marker.rs, read from a scaled picture. */
function readMarker({ n, selector, size }) {
  const [COLUMNS, ROWS, THRESHOLD] = [32, 4, 126];
  const picture = selector ? document.querySelector(selector) : globalThis.lumenbus.theatre.element(n);
  const [width, height] = picture ? [picture.videoWidth ?? picture.naturalWidth ?? picture.width, picture.videoHeight ?? picture.naturalHeight ?? picture.height] : [0, 0];
  if (width < 2 * COLUMNS || height < 2 * ROWS) return null;
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const cell = Math.min(Math.floor(size.width / COLUMNS), Math.floor(size.height / (3 * ROWS)), 32) & ~1;
  const top = (size.height - ROWS * cell) & ~7;
  const [scaleX, scaleY] = [width / size.width, height / size.height];
  const luma = (x, y) => {
    const at = 4 * (Math.floor(y) * width + Math.floor(x));
    return (data[at] * 77 + data[at + 1] * 150 + data[at + 2] * 29) >> 8;
  };
  const bytes = new Uint8Array(16);
  for (let index = 0; index < COLUMNS * ROWS; index += 1) {
    const [left, above] = [(index % COLUMNS) * cell, top + Math.floor(index / COLUMNS) * cell];
    let [sum, count] = [0, 0];
    for (const dy of [0.35, 0.45, 0.55, 0.65]) {
      for (const dx of [0.35, 0.45, 0.55, 0.65]) {
        sum += luma((left + dx * cell) * scaleX, (above + dy * cell) * scaleY);
        count += 1;
      }
    }
    if (sum / count > THRESHOLD) bytes[index >> 3] |= 0x80 >> (index & 7);
  }
  let crc = 0xffff;
  for (const byte of bytes.subarray(0, 14)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  const view = new DataView(bytes.buffer);
  if (view.getUint16(0) !== 0xb5c3 || view.getUint16(14) !== crc) return null;
  return { counter: view.getUint32(2), unixMillis: Number(view.getBigInt64(6) / 1000n) / 1000 };
}

/** Waits for a readable marker. */
export const anyMarker = (page, n, size) => until(`a marker in stream ${n}`, () => marker(page, n, size));

/** Waits until the picture of stream `n` has gone on by `frames`. */
export async function goesOn(page, n, size, frames = 10) {
  const before = await anyMarker(page, n, size);
  return until(`stream ${n} goes on after ${before.counter}`, async () => {
    const now = await marker(page, n, size);
    return now && now.counter >= before.counter + frames ? now : null;
  });
}

/** Waits until the picture of stream `n` is another one; for footage that goes round. */
export async function changes(page, n, size) {
  const before = await anyMarker(page, n, size);
  return until(`stream ${n} goes on`, async () => {
    const now = await marker(page, n, size);
    return now && now.counter !== before.counter;
  });
}
