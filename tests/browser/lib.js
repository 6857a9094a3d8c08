// For all browser tests: the browser, the marker, waiting, processes, and saying what is left out.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CHROMIUM = process.env.LUMENBUS_CHROMIUM ?? '/usr/bin/chromium';
const PATIENCE_MS = 60_000;
export const FLAGS = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  // Chromium refuses its sandbox to root.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

/** Says loudly that something is left out; fails where nothing may be. */
export function skip(why) {
  if (process.env.LUMENBUS_REQUIRE_ALL === '1') throw new Error(`${why}, and LUMENBUS_REQUIRE_ALL=1`);
  console.error(`SKIPPED: ${why}`);
}

/** A browser with a new, empty profile; `prefix` is a command it is started under, such as `ip netns exec NAME`. */
export async function openBrowser(prefix = []) {
  const { chromium } = await import('playwright-core');
  const profile = mkdtempSync(join(tmpdir(), 'lumenbus-browser-'));
  const executablePath = prefix.length > 0 ? prefix[0] : CHROMIUM;
  const args = prefix.length > 0 ? undefined : FLAGS;
  const browser = await chromium.launch({ executablePath, args, chromiumSandbox: false });
  browser.on('disconnected', () => rmSync(profile, { recursive: true, force: true }));
  return browser;
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

/** Waits until `check` answers something; what it answered last is in the error. */
export async function until(what, check, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  let last;
  for (;;) {
    last = await check();
    if (last) return last;
    if (Date.now() > end) throw new Error(`it never came to: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
