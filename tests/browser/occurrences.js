// The mock's events: what analysis would have found, asked for and told as the viewer does.

/** Like the viewer, newest first; of one time, the later one. */
const later = (a, b) => b.at_ms - a.at_ms || b.order - a.order;

export class Occurrences {
  state = 'ready';
  reason = '';
  isCut = false;
  #events = [];
  #order = 0;

  /** A presence, or a state of health; `more` as in the messages. */
  add(n, camera, at, more) {
    this.#order += 1;
    const event = { id: `e${this.#order}`, order: this.#order, n, camera, topic: 'raw_video', stream: 'main', at_ms: at, epoch: '1', seq: this.#order, lasted_ms: null, is_open: false, ...more };
    event.cursor = `${String(event.at_ms).replace(/\D/g, '')}-${event.order}`;
    this.#events.push(event);
    this.#events.sort(later);
    return event;
  }

  presence(n, camera, at, name, lasted = null, more = {}) {
    return this.add(n, camera, at, { kind: 'presence', class: name, count: 1, score: 0.8, lasted_ms: lasted, is_open: lasted === null, ...more });
  }

  health(n, camera, at, state, previous = 'ok', more = {}) {
    return this.add(n, camera, at, { kind: 'health', state, previous, ...more });
  }

  answer({ id, limit, before, camera, kind, class: name, state, from_ms: from = -Infinity, to_ms: to = Infinity }) {
    const isWanted = (event) => (!camera || event.camera === camera) && (!kind || event.kind === kind) && (!name || event.class === name) && (!state || event.state === state) && event.at_ms >= from && event.at_ms <= to;
    const after = before ? this.#events.findIndex(({ cursor }) => cursor === before) + 1 : 0;
    const found = this.#events.slice(after).filter(isWanted);
    const classes = [...new Set(this.#events.map((event) => event.class).filter(Boolean))].sort();
    return { type: 'events', id, state: this.state, reason: this.reason, events: found.slice(0, limit), has_more: found.length > limit, is_cut: this.isCut, classes };
  }
}

/** A day and a half at five cameras. */
export function addOccurrences(mock, now = Date.now()) {
  mock.occurrences = new Occurrences();
  mock.sections.events = true;
  const minute = 60_000;
  const streams = [...mock.streams.values()].map(({ facts }) => facts);
  const of = (at) => streams[at % streams.length];
  for (let at = 0; at < 70; at += 1) {
    const { n, camera } = of(at * 7 + 1);
    const when = now - 3 * minute - at * 31 * minute - (at % 5) * 7000;
    const name = ['person', 'person', 'motion', 'car', 'person', 'bicycle'][at % 6];
    mock.occurrences.presence(n, camera, when, name, 2000 + ((at * 7919) % 95) * 1000, at % 9 === 4 ? { count: 3 } : {});
  }
  mock.occurrences.presence(of(0).n, of(0).camera, now - 20_000, 'person');
  const dark = of(1);
  mock.occurrences.health(dark.n, dark.camera, now - 9 * minute, 'dark', 'ok', { is_open: true });
  const frozen = of(2);
  mock.occurrences.health(frozen.n, frozen.camera, now - 95 * minute, 'frozen');
  mock.occurrences.health(frozen.n, frozen.camera, now - 61 * minute, 'ok', 'frozen', { lasted_ms: 34 * minute });
  mock.occurrences.health(of(3).n, of(3).camera, now - 300 * minute, 'covered');
  mock.occurrences.health(of(3).n, of(3).camera, now - 299 * minute, 'ok', 'covered', { lasted_ms: minute });
  return mock.occurrences;
}
