// Starts the page: frame, routes, keys, language, colours, and the connection.

import { CameraScreen, saveSnapshot } from './camera.js';
import { el, icon, setAttribute, setText } from './dom.js';
import { EventsScreen } from './events.js';
import { HealthScreen } from './health.js';
import { language, memory, setLanguage, t } from './i18n.js';
import { LaterScreen } from './later.js';
import { Link } from './link.js';
import { LiveScreen } from './live.js';
import { OverviewScreen } from './overview.js';
import { media } from './player.js';
import { SECTIONS, Store } from './store.js';
import { StudiesScreen } from './studies.js';
import { StudyScreen } from './study.js';
import { Theatre } from './theatre.js';

const THEMES = ['auto', 'light', 'dark'];
const THEME_ICONS = { auto: 'auto', light: 'sun', dark: 'moon' };
const SAY_MS = 6000;

const store = new Store();
const theatre = new Theatre(store);
const link = new Link(media(), {
  onText: (message) => store.take(message),
  onMedia: (header) => theatre.feed(header),
  onState: (state) => {
    if (state.state === 'closed') theatre.interrupted();
    if (!(state.state === 'closed' && store.link.state === 'refused')) store.setLink(state);
  },
});
theatre.use(link);

let screen = null;
let frame = null;
let theme = THEMES.includes(memory.get('lumenbus.theme')) ? memory.get('lumenbus.theme') : 'auto';
let sayTimer = 0;

const app = {
  store, theatre, link, go, goBack, toggleFull, say,
  now: () => link.clock.now(),
};

/** A short message that goes away by itself. */
function say(text, isError = false) {
  if (!text) return;
  setText(frame.say, text);
  setAttribute(frame.say, 'data-sort', isError ? 'bad' : 'note');
  frame.say.hidden = false;
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => (frame.say.hidden = true), SAY_MS);
}

// The frame: header, banner, messages, help. Built anew when the language changes.

function navigation() {
  const items = [['live', '/'], ...store.sections.map((name) => [name, `/${name}`]), ['health', '/health']];
  return items.map(([name, path]) => el('a', { class: 'nav-item', href: path, 'data-screen': name }, icon(name), el('span', { text: t(`nav.${name}`) })));
}

function buildFrame() {
  const title = el('span', { class: 'title' });
  const nav = el('nav', { class: 'nav', 'aria-label': t('nav') }, ...navigation());
  const status = el('span', { class: 'link-state', role: 'status' });
  const speak = el('button', { class: 'button icon-only language', type: 'button', 'aria-label': t('language'), title: t('language'), text: t('language.short'), on: { click: switchLanguage } });
  const colors = el('button', { class: 'button icon-only', type: 'button', on: { click: switchTheme } });
  const help = el('button', { class: 'button icon-only help-button', type: 'button', 'aria-label': t('help.open'), title: `${t('help')} (?)`, on: { click: () => frame.help.showModal() } }, icon('help'));
  const header = el('header', { class: 'top' },
    el('a', { class: 'skip', href: '#main', text: t('skip') }),
    el('a', { class: 'brand', href: '/', 'aria-label': 'lumenbus' }, icon('mark'), el('span', { class: 'brand-name', text: 'lumenbus' })),
    title, nav, el('div', { class: 'top-end' }, status, speak, colors, help));
  const banner = el('div', { class: 'banner', role: 'alert', hidden: true });
  const main = el('main', { id: 'main', tabindex: -1 });
  const said = el('div', { class: 'say', role: 'status', 'aria-live': 'polite', hidden: true });
  const dialog = helpDialog();
  document.body.replaceChildren(header, banner, main, said, dialog);
  document.documentElement.lang = language();
  frame = { title, nav, status, colors, banner, main, say: said, help: dialog };
  showTheme();
  showLink();
  setText(title, ownTitle());
}

/** The server's title without what stands beside it already. */
const ownTitle = () => store.title.replace(/^lumenbus\b\s*/i, '');

function helpDialog() {
  const keys = [['← ↑ → ↓', 'arrows'], ['Enter', 'enter'], ['Esc', 'esc'], ['/', 'search'], ['s', 's'], ['f', 'f'], ['b', 'b'], ['1  2', 'g'], ['t', 't'], ['l', 'l'], ['?', 'help']];
  const rows = (list) => el('dl', {}, ...list.flatMap(([key, name]) => [el('dt', {}, ...key.split('  ').map((one) => el('kbd', { text: one }))), el('dd', { text: t(`key.${name}`) })]));
  const more = store.sections.includes('timeline') ? [['␣', 'space'], ['←  →', 'keyframe'], ['⇧ ←  ⇧ →', 'far'], ['[  ]', 'neighbour'], ['l', 'live'], ['i  o', 'mark'], ['e', 'export'], ['+  -', 'zoom']] : [];
  const events = store.sections.includes('events') ? [['↑  ↓', 'rows'], ['Enter', 'moment'], ['e', 'event-clip']] : [];
  const close = el('button', { class: 'button icon-only', type: 'button', 'aria-label': t('close'), on: { click: () => dialog.close() } }, icon('close'));
  const dialog = el('dialog', { class: 'help', 'aria-label': t('help') }, el('div', { class: 'help-head' }, el('h2', { text: t('help') }), close), rows(keys), more.length > 0 ? el('h2', { text: t('help.timeline') }) : null, more.length > 0 ? rows(more) : null, events.length > 0 ? el('h2', { text: t('nav.events') }) : null, events.length > 0 ? rows(events) : null,
    el('p', { class: 'faint', text: store.version ? `lumenbus ${store.version}` : '' }));
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  return dialog;
}

function switchLanguage() {
  setLanguage(language() === 'en' ? 'zh' : 'en');
  buildFrame();
  show();
}

function switchTheme() {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  memory.set('lumenbus.theme', theme);
  showTheme();
  say(t(`theme.${theme}`));
}

function showTheme() {
  setAttribute(document.documentElement, 'data-theme', theme === 'auto' ? null : theme);
  setAttribute(frame.colors, 'aria-label', t(`theme.${theme}`));
  setAttribute(frame.colors, 'title', `${t(`theme.${theme}`)} (t)`);
  frame.colors.replaceChildren(icon(THEME_ICONS[theme]));
}

function showLink() {
  const { state, reason, retryAt } = store.link;
  document.body.dataset.link = state;
  setAttribute(frame.status, 'data-state', state === 'open' && !store.broker.isConnected ? 'broker' : state);
  setText(frame.status, t(`link.${state}`));
  let text = '';
  if (state === 'refused') text = t('banner.refused');
  else if (state === 'closed') {
    const seconds = Math.ceil((retryAt - performance.timeOrigin - performance.now()) / 1000);
    text = [seconds > 0 ? t('banner.closed', { s: seconds }) : t('banner.trying'), reason].filter(Boolean).join(' ');
  } else if (!store.broker.isConnected) text = [t('banner.broker'), store.broker.reason].filter(Boolean).join(' ');
  setText(frame.banner, text);
  frame.banner.hidden = text === '';
}

// Routes.

function screenFor({ pathname, searchParams }) {
  const camera = /^\/camera\/([^/]+)\/?$/.exec(pathname);
  if (camera) {
    let id = camera[1];
    try {
      id = decodeURIComponent(id);
    } catch {
      // Shown as it was typed; no camera has such a name.
    }
    const at = searchParams.has('at') ? Number(searchParams.get('at')) : NaN;
    return ['live', new CameraScreen(app, { id, topic: searchParams.get('topic'), stream: searchParams.get('stream'), at: Number.isFinite(at) ? at : null })];
  }
  if (pathname === '/health') return ['health', new HealthScreen(app)];
  if (pathname === '/events' && store.sections.includes('events')) return ['events', new EventsScreen(app, searchParams)];
  if (pathname === '/timeline' && store.sections.includes('timeline')) return ['timeline', new OverviewScreen(app)];
  const study = /^\/studies(?:\/([0-9a-f]{32}))?\/?$/.exec(pathname);
  if (study && store.sections.includes('studies')) return ['studies', study[1] ? new StudyScreen(app, study[1]) : new StudiesScreen(app)];
  const later = SECTIONS.find((name) => pathname === `/${name}` || pathname.startsWith(`/${name}/`));
  if (later) return [later, new LaterScreen(app, later)];
  return ['live', new LiveScreen(app)];
}

/** Which entry of the navigation is open. */
let section = 'live';

function markCurrent() {
  for (const item of frame.nav.children) setAttribute(item, 'aria-current', item.dataset.screen === section ? 'page' : null);
}

function show() {
  screen?.unmount();
  const [name, next] = screenFor(new URL(location.href));
  screen = next;
  section = name;
  document.title = name === 'live' ? 'lumenbus' : `${t(`nav.${name}`)} · lumenbus`;
  document.body.dataset.screen = next instanceof CameraScreen ? 'camera' : name;
  markCurrent();
  frame.main.replaceChildren(next.element);
  next.mount();
}

let depth = 0;
let cameFrom = null;

function go(path, { isReplacing = false } = {}) {
  if (isReplacing) history.replaceState(history.state, '', path);
  else history.pushState({ depth: ++depth }, '', path);
  cameFrom = screen?.current?.facts.n ?? null;
  window.scrollTo(0, 0);
  show();
}

/** To where the visitor came from within the page, else to all cameras. */
function goBack() {
  cameFrom = screen?.current?.facts.n ?? null;
  if (depth > 0) history.back();
  else {
    history.replaceState({ depth: 0 }, '', '/');
    show();
    focusTile();
  }
}

/** After coming back, the keyboard goes on at the tile that was opened. */
function focusTile() {
  if (cameFrom !== null) document.querySelector(`.tile[data-n="${cameFrom}"]`)?.focus({ preventScroll: false });
}

window.addEventListener('popstate', (event) => {
  depth = event.state?.depth ?? 0;
  show();
  focusTile();
});

document.addEventListener('click', (event) => {
  const anchor = event.target.closest?.('a[href]');
  if (!anchor || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || anchor.hasAttribute('download')) return;
  const address = new URL(anchor.href, location.href);
  if (address.origin !== location.origin || !anchor.getAttribute('href').startsWith('/')) return;
  event.preventDefault();
  const path = address.pathname + address.search;
  if (path === '/' && screen instanceof CameraScreen) goBack();
  else go(path, { isReplacing: screen instanceof CameraScreen && address.pathname.startsWith('/camera/') });
});

// Full screen, where the browser has it; else the picture fills the page.

function toggleFull() {
  const target = screen?.fullElement;
  if (document.fullscreenElement) document.exitFullscreen();
  else if (target?.requestFullscreen) target.requestFullscreen().catch(() => target.classList.toggle('maximised'));
  else target?.classList.toggle('maximised');
}

// Keys.

const KEYS = {
  '?': () => frame.help.showModal(),
  f: toggleFull,
  t: switchTheme,
  b: () => (store.isAnalysed || theatre.hasBoxes) && (theatre.hasBoxes = !theatre.hasBoxes),
  l: switchLanguage,
  1: () => go('/'),
  2: () => go('/health'),
  s: () => {
    const stream = screen?.current;
    if (stream) saveSnapshot(stream.facts, say, screen.moment);
  },
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || frame.help.open) return;
  const isField = event.target.matches?.('input, textarea, select, [contenteditable]');
  const maximised = document.querySelector('.maximised');
  if (event.key === 'Escape' && maximised) maximised.classList.remove('maximised');
  else if (event.key === 'Escape' && document.fullscreenElement) return;
  else if (isField) {
    if (!screen?.keyInField(event)) return;
  } else if (screen?.key(event)) {
    // The screen has taken it.
  } else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else return;
  event.preventDefault();
});

store.on('hello', () => {
  frame.nav.replaceChildren(...navigation());
  // Which screens there are is known only now.
  if (screen instanceof LaterScreen) show();
  markCurrent();
  setText(frame.title, ownTitle());
  frame.help.replaceWith((frame.help = helpDialog()));
});
store.on('link', showLink);
store.on('stats', showLink);
setInterval(() => store.link.state === 'closed' && showLink(), 500);

/** For tests and the curious: what the page has shown and left out. */
globalThis.lumenbus = { store, theatre, link };

buildFrame();
show();
link.connect();
