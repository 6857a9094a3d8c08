// A stretch of a recording as a file.

import { el } from './dom.js';
import { span } from './format.js';
import { t } from './i18n.js';

/** Asks whether the clip can be had, and lets the browser save it; says how that went. */
export async function saveClip(archive, from, to, say) {
  try {
    await archive.checkClip(from, to);
    el('a', { href: archive.clipPath(from, to), download: '' }).click();
    say(t('timeline.exporting', { length: span((to - from) / 1000) }));
  } catch (error) {
    say(t('timeline.no-export', { why: error.message }), true);
  }
}
