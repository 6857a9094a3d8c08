// What happened at cameras, as analysis tells it: the server's answers, checked, and their words.

import { span } from './format.js';
import { language, t } from './i18n.js';
import { count, finite, list, object, text, TROUBLES } from './wire.js';

const MAX_EVENTS = 500;
const MAX_NAMES = 500;
const HEALTH = new Set(['ok', ...TROUBLES]);
const STATES = new Set(['missing', 'reading', 'ready', 'failed']);

/** One event, or null: kinds that this page does not know are left out. */
export function readEvent(raw) {
  const { n, id, kind } = object(raw);
  const at = finite(object(raw).at_ms);
  const isKnown = kind === 'presence' || (kind === 'health' && HEALTH.has(raw.state));
  if (!isKnown || !Number.isFinite(at) || typeof id !== 'string' || id === '') return null;
  return {
    id: text(id, 128), kind, at, cursor: text(raw.cursor, 64), n: Number.isInteger(n) && n >= 0 && n <= 0xffff ? n : null,
    camera: text(raw.camera, 64), state: kind === 'health' ? raw.state : '', previous: HEALTH.has(raw.previous) ? raw.previous : '',
    class: text(raw.class, 64), count: count(raw.count), lasted: finite(raw.lasted_ms), isOpen: raw.is_open === true,
  };
}

const events = (raw) => list(raw).slice(0, MAX_EVENTS).map(readEvent).filter(Boolean);
const names = (raw) => list(raw).slice(0, MAX_NAMES).map((name) => text(name, 64)).filter(Boolean);

/** An answer to a question for events. */
export function readEvents(raw) {
  return {
    id: count(raw.id), state: STATES.has(raw.state) ? raw.state : 'failed', reason: text(raw.reason), events: events(raw.events),
    hasMore: raw.has_more === true, isCut: raw.is_cut === true, classes: names(raw.classes),
  };
}

/** What happened just now: the new event, if it is one, and older ones that it changes. */
export function readHappened(raw) {
  return { event: readEvent(raw.event), changed: events(raw.changed), isMissed: raw.is_missed === true };
}

/** A class by its name; models have their own, and those are shown as they are. */
export function className(name) {
  const known = t(`class.${name}`, {}, name);
  return known.charAt(0).toLocaleUpperCase(language()) + known.slice(1);
}

const PEOPLE = new Set(['person', 'people', 'face']);

export const eventIcon = (event) => (event.kind === 'health' ? `health-${event.state}` : PEOPLE.has(event.class) ? 'presence' : 'boxes');

/** What happened, in a few words. */
export function eventText(event) {
  if (event.kind === 'health') return t(`event.${event.state}`);
  const name = className(event.class || 'object');
  return event.count > 1 ? t('event.appeared.several', { class: name, n: event.count }) : t('event.appeared', { class: name });
}

/** How long it lasted, or that it still lasts; empty where that is not known. */
export function eventDetail(event) {
  if (event.kind === 'health' && event.state === 'ok') {
    if (!event.previous || event.previous === 'ok') return '';
    const was = t(`health.state.${event.previous}`);
    return Number.isFinite(event.lasted) ? t('event.was.for', { was: was.toLocaleLowerCase(language()), length: span(event.lasted / 1000) }) : t('event.was', { was: was.toLocaleLowerCase(language()) });
  }
  if (Number.isFinite(event.lasted)) return span(event.lasted / 1000);
  return event.isOpen ? t(event.kind === 'health' ? 'event.open.health' : 'event.open') : '';
}
