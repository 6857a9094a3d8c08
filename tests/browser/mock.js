// A stand-in for `lumenbus view`: the page's files, the protocol, and whatever states, pictures and nonsense a test wants.
//
//     node mock.js [--port 8990] [--clips FOLDER]      to look at the page by hand; ffmpeg cuts the clips

import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, mkdtempSync, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { Footage } from './footage.js';
import { accessUnits, CATCH_UP, flagsOf, mediaMessage, pictures } from './media.js';
import { addOccurrences } from './occurrences.js';
import { ServerSocket } from './websocket.js';

const ASSETS = new URL('../../crates/web/assets/', import.meta.url);
const FIXTURES = new URL('fixtures/', import.meta.url);
const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml' };
const POLICY = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/** Pages that the viewer serves with the status of what is not there. */
const LATER = new Set(['/events', '/timeline', '/studies']);

export const patternUnits = () => accessUnits(new URL('pattern.h264', FIXTURES));
export const patternPictures = () => pictures(new URL('pattern.mjpeg', FIXTURES));

/** A stream's facts, H.264 unless told otherwise. */
export function facts(n, camera, more = {}) {
  return {
    n, camera, topic: 'raw_video', stream: 'main', name: camera, group: '', labels: {}, codec: 'h264', codec_string: 'avc1.42C00D', mime: 'video/mp4; codecs="avc1.42C00D"',
    width: 320, height: 192, fps: 30, is_sealed: false, partition: n, ...more,
  };
}

const stage = (p50, p99) => ({ p50_ms: p50, p99_ms: p99 });

function statOf(stream, at) {
  const wobble = Math.sin(at / 3000 + stream.facts.n);
  const age = 32 + 6 * wobble;
  return {
    n: stream.facts.n, state: stream.state, reason: stream.reason, since_ms: stream.since, fps: stream.facts.fps + 0.2 * wobble, mbit: stream.mbit * (1 + 0.1 * wobble),
    age_p50_ms: stream.age ?? age, age_p99_ms: (stream.age ?? age) * 1.9, frames: stream.frames, bytes: stream.bytes, missing: stream.missing, open_gaps: 0,
    unexplained: stream.unexplained, repeated: 0, skipped: stream.skipped, keyframe_age_ms: 400, analysis: stream.boxesOf ? { models: ['motion'], late_p50_ms: 60, late_p99_ms: 90 } : null,
    stages: stream.state === 'live' ? {
      encode: stage(11.2, 19.4), queue: stage(0.3, 1.1), append: stage(2.1, 6.8), receive: stage(1.4, 4.2), send: stage(0.4, 1.6), decode: stage(6.3, 12.9), shown: stage(9.8, 17.2), total: stage(31.8, 58.4),
    } : {},
  };
}

/** One camera of the mock: its facts, its state, and pictures that go round. */
class MockStream {
  state = 'live';
  reason = '';
  since = Date.now();
  mbit = 2.3;
  frames = 0;
  bytes = 0;
  missing = {};
  unexplained = 0;
  skipped = 0;
  seq = 0n;
  /** What is found in the frame of a number, where a test has it so: [{ class, track, x, y, width, height }], or null. */
  boxesOf = null;

  constructor(theFacts, units, more = {}) {
    this.facts = theFacts;
    this.units = units;
    Object.assign(this, more);
  }
}

export class Mock {
  streams = new Map();
  actions = [];
  comparison = null;
  sections = { events: false, timeline: false, studies: false };
  broker = { is_connected: true, reason: null };
  health = { at_ms: Date.now(), is_reachable: true, brokers: [], topics: [], groups: [], disk: {}, problems: [], budgets: [], drops: [], viewers: 1 };
  connections = new Set();
  requests = [];
  /** Answers of status `refuse` to everything but the page itself. */
  refuse = 0;
  /** Actions that are listed and gone by the time somebody presses them. */
  gone = new Set();
  isSilent = false;
  /** What was recorded, where a test has it so; the page then has a timeline. */
  footage = null;
  /** What analysis found, where a test has it so. */
  occurrences = null;
  /** Milliseconds that a picture of the past takes. */
  pictureDelay = 0;
  /** Pictures of keyframes that are under way, and the most there ever were. */
  keyframes = { now: 0, most: 0 };
  #timers = [];

  static async start(port = 0, host = '127.0.0.1') {
    const mock = new Mock();
    await mock.listen(port, host);
    return mock;
  }

  listen(port, host = '127.0.0.1') {
    this.server = createServer((request, response) => this.#http(request, response));
    this.server.on('upgrade', (request, socket) => this.#upgrade(request, socket));
    this.#timers.push(setInterval(() => this.sendStats(), 1000));
    return new Promise((resolve) => this.server.listen(port, host, () => {
      this.port = this.server.address().port;
      this.url = `http://127.0.0.1:${this.port}`;
      resolve();
    }));
  }

  /** Adds a camera; with units it plays them. */
  add(theFacts, units = null, more = {}) {
    const stream = new MockStream(theFacts, units, more);
    this.streams.set(theFacts.n, stream);
    if (units) this.#timers.push(setInterval(() => this.#tick(stream), 1000 / theFacts.fps));
    return stream;
  }

  #tick(stream) {
    if (stream.state !== 'live' && stream.state !== 'late') return;
    stream.seq += 1n;
    stream.frames += 1;
    const unit = stream.units[Number(stream.seq % BigInt(stream.units.length))];
    stream.bytes += unit.data.length;
    stream.captured = Date.now() - (stream.age ?? 25);
    for (const client of this.connections) this.#give(client, stream, unit, flagsOf(unit), stream.seq, stream.captured);
  }

  #give(client, stream, unit, flags, seq, captureMs) {
    if (client.stills.has(stream.facts.n) && !unit.isKeyframe) return;
    if (!client.watched.has(stream.facts.n) || client.isStuck || client.elsewhere?.has(stream.facts.n)) return;
    const boxes = client.boxes.has(stream.facts.n) ? stream.boxesOf?.(Number(seq)) : null;
    if (boxes) client.send(JSON.stringify({ type: 'found', n: stream.facts.n, epoch: '1', seq: Number(seq), model: 'motion', version: '1', boxes }));
    client.send(mediaMessage({ n: stream.facts.n, flags, seq, captureMs, ptsMicros: Number(seq) * Math.round(1e6 / stream.facts.fps), payload: unit.data }));
  }

  /** Everything since the newest keyframe, as a newly watched stream begins. */
  #join(client, stream) {
    if (!stream.units || stream.state !== 'live') return;
    const at = Number(stream.seq % BigInt(stream.units.length));
    let first = at;
    while (first > 0 && !stream.units[first].isKeyframe) first -= 1;
    for (let i = first; i <= at; i += 1) {
      const seq = stream.seq - BigInt(at - i);
      if (seq >= 0n) this.#give(client, stream, stream.units[i], flagsOf(stream.units[i]) | CATCH_UP, seq, Date.now() - (at - i) * 33);
    }
  }

  #http(request, response) {
    const { pathname, searchParams } = new URL(request.url, 'http://mock');
    this.requests.push({ method: request.method, url: request.url });
    const answer = (status, type, body) => {
      response.writeHead(status, { 'Content-Type': type, 'Content-Security-Policy': POLICY, 'Cache-Control': 'no-cache' });
      response.end(body);
    };
    const json = (status, body) => answer(status, 'application/json', JSON.stringify(body));
    if (pathname.startsWith('/assets/')) {
      const file = new URL(pathname.slice('/assets/'.length), ASSETS);
      if (!file.href.startsWith(ASSETS.href) || !existsSync(file)) return json(404, { error: { code: 'not-found', message: 'no such file' } });
      return answer(200, TYPES[extname(file.pathname)] ?? 'application/octet-stream', readFileSync(file));
    }
    if (this.refuse && pathname.startsWith('/api/')) return json(this.refuse, { error: { code: 'unauthorized', message: 'token' } });
    if (pathname === '/api/v1/health') return json(200, this.health);
    if (pathname === '/api/v1/state') return json(200, {});
    if (this.footage && pathname.endsWith('/timeline') && pathname.startsWith('/api/')) {
      const [n, from, to, width] = ['stream', 'from_ms', 'to_ms', 'width'].map((name) => Number(searchParams.get(name)));
      return json(200, this.footage.coverage({ n, from, to, width }));
    }
    if (pathname.includes('/clip.')) return this.#clip(searchParams, response, json);
    if (this.footage && searchParams.has('at_ms')) return this.#later(searchParams, () => this.#past(searchParams, response, answer, json));
    if (pathname.endsWith('/snapshot')) {
      response.setHeader('X-Lumenbus-Capture-Unix-Nanos', String(Date.now() * 1e6));
      return answer(200, 'image/jpeg', patternPictures()[0].data);
    }
    if (pathname.startsWith('/api/v1/actions/') && request.method === 'POST') return this.#action(pathname, json);
    return answer(LATER.has(pathname) && !(pathname === '/events' && this.sections.events) ? 404 : 200, TYPES['.html'], readFileSync(new URL('index.html', ASSETS)));
  }

  #clip(searchParams, response, json) {
    if (this.footage?.refusals.has('clip')) return json(409, { error: { code: 'busy', message: this.footage.refusals.get('clip') } });
    if (searchParams.has('check')) return json(200, {});
    response.writeHead(200, { 'Content-Type': 'video/mp4', 'Content-Disposition': 'attachment; filename="cam-0-20261123T140300.mp4"' });
    return response.end('moof');
  }

  #later(searchParams, give) {
    const one = searchParams.has('exact') ? 0 : 1;
    this.keyframes.now += one;
    this.keyframes.most = Math.max(this.keyframes.most, this.keyframes.now);
    setTimeout(() => {
      this.keyframes.now -= one;
      give();
    }, this.pictureDelay).unref();
  }

  #past(searchParams, response, answer, json) {
    const asked = Number(searchParams.get('at_ms'));
    if (this.footage.refusals.has('picture')) return json(503, { error: { code: 'busy', message: this.footage.refusals.get('picture') } });
    if (asked < this.footage.begin) return json(404, { error: { code: 'no-footage', message: 'nothing was recorded then' } });
    const index = searchParams.has('exact') ? this.footage.index(asked) : this.footage.keyframe(this.footage.index(asked));
    response.setHeader('X-Lumenbus-Capture-Unix-Nanos', String(BigInt(Math.round(this.footage.at(index) * 1000)) * 1000n));
    response.setHeader('X-Lumenbus-Seq', String(index));
    response.setHeader('X-Lumenbus-Moments', String(this.footage.moments ?? 1));
    return answer(200, 'image/jpeg', patternPictures()[Math.floor((index % 60) / 10)].data);
  }

  /** `play`, `pause`, `live`: frames of another time, none, and those of now again. */
  #recall(client, message) {
    const stream = this.streams.get(message.n);
    client.elsewhere ??= new Set();
    this.footage.stop(client, stream);
    if (message.type === 'live') client.elsewhere.delete(message.n);
    else client.elsewhere.add(message.n);
    if (message.type === 'play') return this.footage.play(client, stream, message);
    client.send(JSON.stringify({ type: 'playback', n: message.n, id: message.id, state: message.type === 'live' ? 'live' : 'paused' }));
    if (message.type === 'live') this.#join(client, stream);
  }

  #action(pathname, json) {
    const action = this.actions.find(({ id }) => pathname.endsWith(`/${id}`));
    if (!action || this.gone.has(action.id)) return json(404, { error: { code: 'not-found', message: 'no such action' } });
    action.is_on = !action.is_on;
    this.sendStats();
    return json(200, { ok: true, message: action.is_on ? `${action.label_en}: on` : `${action.label_en}: off` });
  }

  #upgrade(request, socket) {
    if (this.refuse) {
      socket.end(`HTTP/1.1 ${this.refuse} No\r\nConnection: close\r\n\r\n`);
      return;
    }
    const client = new ServerSocket(request, socket, { onText: (text) => this.#received(client, text), onClose: () => this.#gone(client) });
    client.watched = new Map();
    client.boxes = new Set();
    client.stills = new Set();
    client.playing = new Map();
    client.messages = [];
    this.connections.add(client);
  }

  #gone(client) {
    client.playing?.forEach(clearInterval);
    this.connections.delete(client);
  }

  #received(client, text) {
    const message = JSON.parse(text);
    client.messages.push(message);
    if (this.isSilent) return;
    if (message.type === 'hello') {
      client.send(JSON.stringify(this.hello()));
      client.send(JSON.stringify(this.streamList()));
      this.sendStats();
    } else if (message.type === 'ping') {
      client.send(JSON.stringify({ type: 'pong', t0: message.t0, t1: Date.now() }));
    } else if (message.type === 'watch') {
      const before = client.watched;
      client.watched = new Map(message.streams.map(({ n, form }) => [n, form]));
      client.boxes = new Set(message.streams.filter(({ boxes_ms }) => boxes_ms > 0).map(({ n }) => n));
      const stills = client.stills;
      client.stills = new Set(message.streams.filter(({ keyframes }) => keyframes).map(({ n }) => n));
      for (const n of client.watched.keys()) if ((!before.has(n) || (stills.has(n) && !client.stills.has(n))) && this.streams.has(n)) this.#join(client, this.streams.get(n));
    } else if (this.footage && ['play', 'pause', 'live'].includes(message.type)) {
      this.#recall(client, message);
    } else if (this.occurrences && message.type === 'events') {
      client.isFollowing = message.follow === true;
      client.send(JSON.stringify(this.occurrences.answer(message)));
    } else if (message.type === 'rejoin' && this.streams.has(message.n)) {
      this.#join(client, this.streams.get(message.n));
    }
  }

  hello() {
    return { type: 'hello', protocol: 1, version: '0.1.0', title: this.title ?? '', server_ms: Date.now(), actions: this.actions, comparison: this.comparison && { coded: 0, jpeg: 1 }, sections: { ...this.sections, ...(this.footage ? { timeline: true } : {}) } };
  }

  streamList() {
    return { type: 'streams', streams: [...this.streams.values()].map((stream) => stream.facts) };
  }

  stats() {
    const at = Date.now();
    const all = [...this.streams.values()];
    const sum = (of) => all.reduce((total, stream) => total + of(stream), 0);
    return {
      type: 'stats', at_ms: at, streams: all.map((stream) => statOf(stream, at)), broker: this.broker, actions: this.actions,
      totals: {
        frames: sum((stream) => stream.frames), missing: sum((stream) => Object.values(stream.missing).reduce((a, b) => a + b, 0)), unexplained: sum((stream) => stream.unexplained),
        mbit: sum((stream) => (stream.state === 'live' ? stream.mbit : 0)), age_p50_ms: 31.8, age_p99_ms: 58.4, viewers: this.connections.size, jpeg_ratio: this.comparison,
      },
    };
  }

  /** Sends to every page: an object as JSON, a string or bytes as they are. */
  send(data) {
    const bytes = typeof data === 'string' || Buffer.isBuffer(data) ? data : JSON.stringify(data);
    for (const client of this.connections) client.send(bytes);
  }

  sendStreams() {
    this.send(this.streamList());
  }

  sendStats() {
    if (!this.isSilent) this.send(this.stats());
  }

  /** Frames of a stream go missing, explained. */
  gap(n, frames, reason) {
    const stream = this.streams.get(n);
    const first = Number(stream.seq) + 1;
    stream.seq += BigInt(frames);
    if (reason === 'unexplained') stream.unexplained += frames;
    stream.missing[reason] = (stream.missing[reason] ?? 0) + frames;
    this.send({ type: 'gap', n, epoch: '117661770113406904', first, last: first + frames - 1, reason, at_ms: Date.now() });
    this.sendStats();
  }

  /** Tells pages that look at events of a new one, and of older ones that it changes. */
  happened(event, changed = []) {
    const message = JSON.stringify({ type: 'happened', event, changed, is_missed: false });
    for (const client of this.connections) if (client.isFollowing) client.send(message);
  }

  /** What is wrong with a camera's picture from now on; 'ok': nothing. */
  setHealth(n, state) {
    this.streams.get(n).facts.health = { state, since_ms: Date.now() };
    this.sendStreams();
  }

  setState(n, state, reason = '') {
    Object.assign(this.streams.get(n), { state, reason, since: Date.now() });
    this.sendStats();
  }

  /** Messages that pages have sent, of one type. */
  received(type) {
    return [...this.connections].flatMap((client) => client.messages.filter((message) => message.type === type));
  }

  /** What the newest page watches now: stream number → form. */
  get watched() {
    return [...this.connections].at(-1)?.watched ?? new Map();
  }

  /** Stops listening and cuts every connection; `listen` starts again. */
  async stop() {
    this.#timers.splice(0, 1).forEach(clearInterval);
    for (const client of this.connections) client.destroy();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async close() {
    this.#timers.forEach(clearInterval);
    this.#timers = [];
    await this.stop();
  }
}

/** A mock with one tile of every state. */
export function addAllStates(mock) {
  const units = patternUnits();
  mock.add(facts(0, 'live'), units);
  mock.add(facts(1, 'late'), units, { state: 'late', age: 3400 });
  mock.add(facts(2, 'connecting'), null, { state: 'connecting' });
  mock.add(facts(3, 'offline'), null, { state: 'offline', reason: 'no route to host' });
  mock.add(facts(4, 'denied'), null, { state: 'denied', reason: 'unauthorized: 401 from rtsp://10.0.0.7/' });
  mock.add(facts(5, 'h265', { codec: 'h265', codec_string: 'hvc1.1.6.L93.B0', mime: 'video/mp4; codecs="hvc1.1.6.L93.B0"' }), null);
  mock.add(facts(6, 'sealed', { is_sealed: true }), null);
  mock.add(facts(7, 'ended'), null, { state: 'ended' });
  mock.add(facts(8, 'jpeg', { codec: 'jpeg', topic: 'raw_images', codec_string: '', mime: 'image/jpeg', fps: 5 }), patternPictures());
}

// By hand.

function clipUnits(folder) {
  const scratch = mkdtempSync(join(tmpdir(), 'mock-'));
  return readdirSync(folder).filter((name) => name.endsWith('.mp4')).map((name) => {
    const out = join(scratch, `${name}.h264`);
    execFileSync('ffmpeg', ['-v', 'error', '-i', join(folder, name), '-c', 'copy', '-bsf:v', 'h264_mp4toannexb', out]);
    const jpegs = join(scratch, `${name}.mjpeg`);
    execFileSync('ffmpeg', ['-v', 'error', '-i', join(folder, name), '-t', '4', '-q:v', '4', '-f', 'mjpeg', jpegs]);
    const probe = execFileSync('ffprobe', ['-v', 'error', '-select_streams', 'v', '-show_entries', 'stream=width,height,r_frame_rate', '-of', 'csv=p=0', join(folder, name)]).toString();
    const [width, height, rate] = probe.trim().split(',');
    const [a, b] = rate.split('/').map(Number);
    return { name: name.replace('.mp4', ''), units: accessUnits(out), jpegs: pictures(jpegs), width: Number(width), height: Number(height), fps: a / b };
  });
}

function addDemo(mock, clips) {
  const codec = (clip) => `avc1.${clip.units[0].data.subarray(clip.units[0].data.indexOf('00000167', 0, 'hex') + 4).subarray(0, 3).toString('hex').toUpperCase()}`;
  const names = { plaza: ['Plaza', 'Outside'], corridor: ['Corridor 2', 'Inside'], flower: ['Greenhouse', 'Outside'] };
  let n = 0;
  for (const clip of clips) {
    const [name, group] = names[clip.name] ?? [clip.name, ''];
    const size = { width: clip.width, height: clip.height, fps: clip.fps };
    mock.add(facts(n++, clip.name, { name, group, codec_string: codec(clip), ...size, labels: { floor: '1' } }), clip.units, { mbit: 1.8 + n });
    if (clip.name === 'plaza') mock.add(facts(n++, 'plaza-jpeg', { name: 'Plaza as JPEG', group, codec: 'jpeg', topic: 'raw_images', codec_string: '', ...size }), clip.jpegs, { mbit: 14.6 });
  }
  mock.comparison = { coded_mbit: 1.84, jpeg_mbit: 14.62, ratio: 7.95 };
  mock.actions = [
    { id: 'kill-broker', label_en: 'Kill the broker', label_zh: '杀死代理进程', camera: null, is_on: false },
    { id: 'slow-reader', label_en: 'Attach a slow reader', label_zh: '接入一个慢读取端', camera: null, is_on: false },
    { id: 'unplug', label_en: 'Unplug “Plaza”', label_zh: '拔掉 “Plaza”', camera: 'plaza', is_on: false },
  ];
  mock.health = {
    at_ms: Date.now(), cluster_id: 'bHVtZW5idXM', is_embedded: true, is_reachable: true, reason: null, brokers: [{ id: 1, host: '127.0.0.1', port: 9092, is_controller: true }],
    topics: [['raw_video', 12, 48_211, 121e6], ['raw_images', 12, 9_120, 204e6], ['lumenbus.cameras', 1, 22, 8200]].map(([name, partitions, records, bytes]) => ({ name, partitions, replication: 1, under_replicated: 0, offline: 0, records, bytes, is_estimate: false })),
    groups: [{ group: 'archive', state: 'Stable', members: 2, lag_records: 12, age_ms: 340 }, { group: 'night-detector', state: 'Stable', members: 1, lag_records: 1840, age_ms: 61_300 }],
    disk: { is_estimate: false, used_bytes: 325e6, free_bytes: 41.2e9, bytes_per_second: 3.1e6, days_left: 0.15 },
    problems: [{ code: 'disk-short', what: 'The disk is full in 3.6 hours at the present rate.', remedy: 'Lower retention (lumenbus topics apply --retention 2h), or give the broker a larger disk.' }],
    budgets: [{ name: 'viewer rings', used_bytes: 18e6, limit_bytes: 256e6 }, { name: 'publisher lanes', used_bytes: 1.2e6, limit_bytes: 320e6 }],
    drops: [{ reason: 'source-lost', frames: 61 }, { reason: 'overflow', frames: 12 }], viewers: 1,
  };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const option = (name, otherwise) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : otherwise);
  const mock = await Mock.start(Number(option('--port', '8990')));
  const clips = option('--clips', null);
  if (clips) addDemo(mock, clipUnits(clips));
  mock.footage = new Footage();
  mock.footage.gaps = [{ from_ms: Date.now() - 500_000, to_ms: Date.now() - 400_000, reason: 'source-lost', frames: 3000 }];
  if (!clips || process.argv.includes('--states')) addAllStates(mock);
  addOccurrences(mock);
  ['dark', 'covered', 'moved', 'blurred', 'frozen'].forEach((state, at) => mock.streams.has(2 * at) && mock.setHealth(2 * at, state));
  console.log(mock.url);
}
