// Real `lumenbus` processes: broker, publishers, viewer, each in the background until the test ends.

import { spawn, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { until } from './lib.js';

const BINARY = process.env.LUMENBUS_BIN ?? new URL('../../target/debug/lumenbus', import.meta.url).pathname;

function environment() {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('LUMENBUS_') || name === 'LUMENBUS_WEB_ASSETS');
  return Object.fromEntries(clean);
}

/** A free port below those that outgoing connections get, so that nobody takes it while a broker is restarted. */
async function quietPort() {
  for (let port = 12_000 + (process.pid % 20_000); ; port += 1) {
    const server = createServer();
    const isFree = await new Promise((resolve) => server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => server.close(() => resolve(true))));
    if (isFree) return port;
  }
}

/** One process; what it prints is kept. */
class Process {
  stdout = [];
  stderr = '';

  constructor(argv, prefix) {
    const [program, ...rest] = [...prefix, BINARY, ...argv];
    this.name = argv.join(' ');
    this.child = spawn(program, rest, { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    createInterface({ input: this.child.stdout }).on('line', (line) => this.stdout.push(line));
    this.child.stderr.on('data', (data) => (this.stderr = (this.stderr + data).slice(-20_000)));
    this.ended = once(this.child, 'exit');
  }

  get isOver() {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  #fail(what) {
    throw new Error(`${this.name}: ${what}\n${this.stdout.join('\n')}\n${this.stderr}`);
  }

  /** The first NDJSON object of a type. */
  async object(type) {
    const find = () => this.stdout.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).find((object) => object.type === type);
    return until(`${this.name}: ${type}`, () => find() ?? (this.isOver ? this.#fail(`ended without ${type}`) : null));
  }

  async says(text) {
    await until(`${this.name}: ${text}`, () => this.stderr.includes(text) || (this.isOver ? this.#fail(`ended without ${text}`) : null));
  }

  async stop(signal = 'SIGTERM') {
    if (!this.isOver) this.child.kill(signal);
    await this.ended;
  }
}

/** A folder, a broker in it, and what a test starts besides; all of it is gone after `close`. */
export class Site {
  #processes = [];

  constructor(prefix) {
    this.prefix = prefix;
    this.folder = mkdtempSync(join(tmpdir(), 'lumenbus-site-'));
  }

  static async start(prefix = []) {
    const site = new Site(prefix);
    site.port = await quietPort();
    await site.startBroker();
    return site;
  }

  /** Starts the binary with arguments as one line, `--brokers` added. */
  spawn(line, more = []) {
    const started = new Process([...line.split(' '), '--brokers', `127.0.0.1:${this.port}`, ...more], this.prefix);
    this.#processes.push(started);
    return started;
  }

  async startBroker() {
    this.broker = new Process(['broker', '--json', '--data', join(this.folder, 'data'), '--listen', `127.0.0.1:${this.port}`], this.prefix);
    this.#processes.push(this.broker);
    await this.broker.object('ready');
  }

  async publish(line) {
    const started = this.spawn(`publish ${line}`);
    await started.says('publishing');
    return started;
  }

  /** Starts a viewer; its address with the token, if it has one. */
  async view(line = '--listen 127.0.0.1:0') {
    const viewer = this.spawn(`view --json --no-browser ${line}`);
    return (await viewer.object('viewer')).url;
  }

  /** A clip of the test pattern, coded once. */
  clip(name, source, more) {
    const out = join(this.folder, name);
    const run = (line) => execFileSync(BINARY, [...line.split(' '), '--brokers', `127.0.0.1:${this.port}`], { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    run(`publish ${source} --camera clip-${name} --codec h264 ${more}`);
    run(`subscribe --camera clip-${name} --from start --until-end --out ${out}`);
    return out;
  }

  async close() {
    // Publishers before their broker: they wait for what it has not acknowledged.
    for (const started of this.#processes.reverse()) await started.stop('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Streams by camera, from the viewer's state. */
export async function state(url) {
  const address = new URL(url);
  const token = address.searchParams.get('token');
  const answer = await fetch(new URL('/api/v1/state', address), { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  const { streams, stats } = await answer.json();
  const of = (n) => stats.streams.find((stat) => stat.n === n);
  return { totals: stats.totals, cameras: new Map(streams.map((facts) => [facts.camera, { ...facts, stat: of(facts.n) }])) };
}

/** The number of a camera's stream, once its frames come: late ones, too, on a machine that has much to do. */
export async function numberOf(url, camera) {
  const found = await until(`${camera} live at the viewer`, async () => {
    const stream = (await state(url)).cameras.get(camera);
    return ['live', 'late'].includes(stream?.stat?.state) ? stream : null;
  });
  return found.n;
}
