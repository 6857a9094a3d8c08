// What browser tests are set up with: one browser for a file, a real site or the mock behind the page, and the page itself.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { openBrowser, openPage } from './lib.js';
import { Mock } from './mock.js';
import { numberOf, Site } from './processes.js';

/** Runs with a page; fails on any error in it. `prepare(page)` comes before anything is loaded. */
export async function visit(browser, address, { options = {}, prepare = null }, check) {
  const page = await openPage(browser, null, options);
  try {
    await prepare?.(page);
    if (address) await page.goto(address);
    await check(page);
    assert.deepEqual(page.errors, []);
  } catch (error) {
    // What went wrong in the page is why it never came to what the test waits for.
    if (page.errors.length > 0) error.message += `\nin the page: ${page.errors.join('\n')}`;
    throw error;
  } finally {
    await page.context().close();
  }
}

/** For the tests of a file that look at the mock. `fill(mock)` gives it cameras before the page comes. */
export function mockStage() {
  let browser;
  before(async () => (browser = await openBrowser()));
  after(() => browser?.close());
  return async ({ fill, path = '/', ...more }, check) => {
    const mock = await Mock.start();
    try {
      fill?.(mock);
      await visit(browser, mock.url + path, more, (page) => check(page, mock));
    } finally {
      await mock.close();
    }
  };
}

/**
 * For the tests of a file that look at a real broker, publishers and a viewer: { browser, site, url, numberOf, visit }, there
 * once the tests begin. `publishers` are lines for `lumenbus publish`; `begin(site)` starts something else, and answers where
 * its viewer is.
 */
export function siteStage({ publishers = [], begin = (site) => site.view() }) {
  const stage = {
    /** The number of a camera's stream, once it is live. */
    numberOf: (camera) => numberOf(stage.url, camera),
    visit: ({ path = '/', ...more }, check) => visit(stage.browser, new URL(path, stage.url).href, more, check),
  };
  before(async () => {
    stage.browser = await openBrowser();
    stage.site = await Site.start();
    for (const line of publishers) await stage.site.publish(line);
    stage.url = await begin(stage.site);
  });
  after(async () => {
    await stage.browser?.close();
    await stage.site?.close();
  });
  return stage;
}
