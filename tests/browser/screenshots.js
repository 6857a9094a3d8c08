// Makes the README's pictures from `lumenbus demo`: node screenshots.js [FOLDER]. Look at them before committing.

import { mkdirSync, renameSync } from 'node:fs';
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { openBrowser, openPage, until } from './lib.js';

const folder = process.argv[2] ?? new URL('../../docs/images/', import.meta.url).pathname;
const binary = process.env.LUMENBUS_BIN ?? new URL('../../target/release/lumenbus', import.meta.url).pathname;
/** Strips and curves are drawn once a second: this is how long the camera sits for its picture. */
const WARM_UP_MS = 75_000;

mkdirSync(folder, { recursive: true });
const demo = spawn(binary, ['demo', '--json', '--no-browser', '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
const url = await new Promise((resolve) => createInterface({ input: demo.stdout }).on('line', (line) => JSON.parse(line).url && resolve(JSON.parse(line).url)));
const browser = await openBrowser();

async function shoot(name, path, options, prepare = () => {}) {
  const page = await openPage(browser, new URL(path, url).href, { colorScheme: 'dark', ...options });
  await prepare(page);
  // Messages about what was done to the page have gone by then.
  await page.waitForTimeout(10_000);
  if (page.errors.length > 0) throw new Error(`${name}: ${page.errors}`);
  const file = join(folder, `${name}.png`);
  await page.screenshot({ path: file });
  // Photographs in 256 colours are a third of the size, and nobody sees it at this one.
  const small = `${file}.small.png`;
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-i', file, '-filter_complex', '[0]split[a][b];[a]palettegen=256[p];[b][p]paletteuse=dither=sierra2_4a', small]);
  renameSync(small, file);
  await page.context().close();
}

const wide = { viewport: { width: 1440, height: 790 } };
const press = (page, label) => page.getByRole('button', { name: label }).click();
try {
  await shoot('viewer-live', '/', wide, async (page) => {
    await page.waitForTimeout(WARM_UP_MS / 2);
    // A camera is unplugged and comes back: its gap is on the strip and in the log.
    await press(page, /^Unplug plaza$/);
    await page.waitForTimeout(4000);
    await press(page, /^Plug plaza in again$/);
    await page.waitForTimeout(WARM_UP_MS / 2);
  });
  await shoot('viewer-camera', '/camera/flower', { viewport: { width: 1440, height: 1060 } }, (page) => page.waitForTimeout(WARM_UP_MS));
  await shoot('viewer-timeline', '/camera/plaza', { viewport: { width: 1440, height: 1000 } }, async (page) => {
    await until('a band', () => page.locator('.track').count());
    await page.waitForTimeout(2000);
    await page.locator('.track').focus();
    for (const key of ['Shift+ArrowLeft', 'Shift+ArrowLeft', 'Shift+ArrowLeft', 'i', 'Shift+ArrowRight', 'o', 'Shift+ArrowLeft', 'Space']) {
      await page.keyboard.press(key);
      await page.waitForTimeout(500);
    }
  });
  await shoot('viewer-phone', '/', { viewport: { width: 390, height: 800 }, isMobile: true, hasTouch: true, deviceScaleFactor: 1.5 }, (page) => until('live', () => page.locator('.tile[data-state=live]').count()));
} finally {
  await browser.close();
  demo.kill('SIGINT');
}
