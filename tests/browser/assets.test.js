// The page's files without a browser: weight, nothing from elsewhere, texts complete in both languages.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

const FOLDER = new URL('../../crates/web/assets/', import.meta.url);
// As sent: the viewer compresses text.
const MAX_SENT_BYTES = 150 * 1024;
const files = readdirSync(FOLDER).map((name) => [name, readFileSync(new URL(name, FOLDER), 'utf8')]);

test('the page is light and takes nothing from elsewhere', () => {
  const bytes = files.reduce((sum, [, text]) => sum + gzipSync(text, { level: 9 }).length, 0);
  console.log(`FIGURE: ${bytes} bytes as sent`);
  assert.ok(bytes <= MAX_SENT_BYTES, `${bytes} bytes`);
  for (const [name, text] of files) {
    const addresses = [...text.matchAll(/https?:\/\/[^\s"'`)]+/g)].map(([address]) => address).filter((address) => address !== 'http://www.w3.org/2000/svg');
    assert.deepEqual(addresses, [], name);
  }
});

test('text from outside never becomes markup', () => {
  for (const [name, text] of files) assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, name);
});

test('every text is there in both languages, with the same places to fill', async () => {
  Object.defineProperty(globalThis, 'navigator', { value: { language: 'en', languages: ['en'] }, configurable: true });
  const { texts } = await import(new URL('i18n.js', FOLDER));
  const { en, zh } = texts;
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  const places = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
  for (const key of Object.keys(en)) assert.deepEqual(places(zh[key]), places(en[key]), key);
});

test('every text that the code names exists', async () => {
  const { texts } = await import(new URL('i18n.js', FOLDER));
  for (const [name, text] of files.filter(([name]) => name.endsWith('.js'))) {
    for (const [, key] of text.matchAll(/\bt\(\s*'([^']+)'/g)) assert.ok(Object.hasOwn(texts.en, key), `${name}: ${key}`);
  }
});

test('every icon that the code names exists', () => {
  const icons = new Set([...files.find(([name]) => name === 'icons.svg')[1].matchAll(/symbol id="([^"]+)"/g)].map(([, id]) => id));
  for (const [name, text] of files) for (const [, icon] of text.matchAll(/\bicon\('([^']+)'\)/g)) assert.ok(icons.has(icon), `${name}: ${icon}`);
});
