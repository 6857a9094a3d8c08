// Numbers and times as people read them, in the page's language. What is not a number is a dash.

import { language, t } from './i18n.js';

const DASH = '–';
const formats = new Map();

function decimal(digits) {
  const key = `${language()} ${digits}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(language(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(key, format);
  }
  return format;
}

export function number(value, digits = 0) {
  // The sum makes 0 of −0.
  return Number.isFinite(value) ? decimal(digits).format(value + 0) : DASH;
}

/** 9,876, and from ten thousand on shorter: 14.7K. */
export function compact(value) {
  if (!Number.isFinite(value) || value < 10_000) return number(value);
  return new Intl.NumberFormat(language(), { notation: 'compact', maximumFractionDigits: 1 }).format(value);
}

/** Three digits that matter: 0.42, 8.4, 42. */
export function short(value) {
  if (!Number.isFinite(value)) return DASH;
  if (value === 0) return '0';
  const size = Math.abs(value);
  return number(value, size < 0.995 ? 2 : size < 9.95 ? 1 : 0);
}

/** Between 0.9 and 1 the third digit is what counts. */
export const ssim = (value) => number(value, 3);

export const mbit = (value) => number(value, Math.abs(value) < 9.995 ? 2 : 1);

/** Milliseconds below one second, else seconds and what is above them. */
export function age(millis) {
  if (!Number.isFinite(millis)) return DASH;
  if (Math.abs(millis) < 999.5) return `${number(millis, Math.abs(millis) < 9.95 ? 1 : 0)} ms`;
  return span(millis / 1000);
}

export function span(seconds) {
  if (!Number.isFinite(seconds)) return DASH;
  if (seconds < 99.5) return `${number(seconds, seconds < 9.95 ? 1 : 0)} s`;
  if (seconds < 5940) return `${number(seconds / 60)} min`;
  if (seconds < 172_800) return `${number(seconds / 3600, seconds < 35_000 ? 1 : 0)} h`;
  return t('unit.days', { n: number(seconds / 86_400) });
}

export function bytes(value) {
  if (!Number.isFinite(value)) return DASH;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? number(value) : short(value)} ${units[unit]}`;
}

/** Time of day; the date only where it is not today. */
export function clock(millis) {
  if (!Number.isFinite(millis) || Math.abs(millis) > 8.64e15) return DASH;
  const date = new Date(millis);
  const isToday = date.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { year: 'numeric', month: '2-digit', day: '2-digit' };
  return date.toLocaleString(language(), { ...day, hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
}

/** A moment: the time of day, tenths where asked for, the date where it is not today. */
export function moment(millis, hasTenths = true) {
  if (!Number.isFinite(millis) || Math.abs(millis) > 8.64e15) return DASH;
  const tenths = hasTenths ? `.${Math.floor((((millis % 1000) + 1000) % 1000) / 100)}` : '';
  return clock(millis) + tenths;
}
