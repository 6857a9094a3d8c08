// What the server sends, checked. Wrong types become "unknown", long lists and texts are cut: whatever arrives, the page
// goes on with the rest.

const MAX_STREAMS = 2000;
const MAX_TEXT = 300;
const MAX_LABELS = 64;
const MAX_ACTIONS = 64;
export const HEADER_BYTES = 56;
export const FRAME = 1;
export const INIT_SEGMENT = 2;
export const MEDIA_SEGMENT = 3;
const FLAGS = { keyframe: 1, discontinuity: 2, catchUp: 4, discardable: 8, recorded: 16, preroll: 32 };

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
export const list = (value) => (Array.isArray(value) ? value : []);
export const object = (value) => (isObject(value) ? value : {});
export const text = (value, max = MAX_TEXT) => (typeof value === 'string' ? value.slice(0, max) : '');
export const finite = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : NaN);
export const count = (value) => (typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER ? Math.trunc(value) : 0);
const index = (value) => (Number.isInteger(value) && value >= 0 && value <= 0xffff ? value : null);

/** The entries of an object whose values pass; never one that could reach a prototype. */
function entries(value, read, max) {
  const result = new Map();
  for (const [key, inner] of Object.entries(object(value))) {
    if (result.size >= max) break;
    result.set(key.slice(0, MAX_TEXT), read(inner));
  }
  return result;
}

/** A text message as an object with a `type`, or null. */
export function parseText(data) {
  try {
    const message = JSON.parse(data);
    return isObject(message) && typeof message.type === 'string' ? message : null;
  } catch {
    return null;
  }
}

export function readStreams(message) {
  const streams = new Map();
  for (const raw of list(message.streams)) {
    if (streams.size >= MAX_STREAMS) break;
    const n = isObject(raw) ? index(raw.n) : null;
    if (n === null) continue;
    const camera = text(raw.camera, 64);
    streams.set(n, {
      n,
      camera,
      topic: text(raw.topic, 249),
      stream: text(raw.stream, 64) || 'main',
      partition: index(raw.partition),
      name: text(raw.name) || camera,
      group: text(raw.group),
      labels: entries(raw.labels, (value) => text(value), MAX_LABELS),
      codec: text(raw.codec, 16),
      codecString: text(raw.codec_string, 64),
      mime: text(raw.mime, 128),
      width: count(raw.width),
      height: count(raw.height),
      fps: finite(raw.fps),
      isSealed: raw.is_sealed === true,
      health: readHealth(raw.health),
    });
  }
  return streams;
}

/** States of a picture in which something is wrong. */
export const TROUBLES = ['dark', 'blurred', 'frozen', 'covered', 'moved'];

/** What is wrong with a camera's picture, as analysis sees it: { state, since }; null: nothing that is known. */
function readHealth(raw) {
  const { state, since_ms: since } = object(raw);
  return TROUBLES.includes(state) ? { state, since: finite(since) } : null;
}

const STATES = new Set(['connecting', 'live', 'late', 'offline', 'denied', 'ended']);

function readStage(value) {
  const stage = object(value);
  return { p50: finite(stage.p50_ms), p99: finite(stage.p99_ms) };
}

export function readStat(raw) {
  const n = isObject(raw) ? index(raw.n) : null;
  if (n === null) return null;
  return {
    n,
    state: STATES.has(raw.state) ? raw.state : 'connecting',
    reason: text(raw.reason),
    since: finite(raw.since_ms),
    fps: finite(raw.fps),
    mbit: finite(raw.mbit),
    age50: finite(raw.age_p50_ms),
    age99: finite(raw.age_p99_ms),
    frames: count(raw.frames),
    bytes: count(raw.bytes),
    missing: entries(raw.missing, count, 32),
    openGaps: count(raw.open_gaps),
    unexplained: count(raw.unexplained),
    repeated: count(raw.repeated),
    skipped: count(raw.skipped),
    stages: entries(raw.stages, readStage, 16),
    keyframeAge: finite(raw.keyframe_age_ms),
    analysis: readAnalysis(raw.analysis),
  };
}

/** Who analyses a stream, and how long after a frame its result comes; null: nobody. */
function readAnalysis(raw) {
  if (!isObject(raw)) return null;
  return { models: list(raw.models).slice(0, 8).map((model) => text(model, 128)), late50: finite(raw.late_p50_ms), late99: finite(raw.late_p99_ms) };
}

const MAX_BOXES = 200;
const share = (value) => (Number.isFinite(value) && Math.abs(value) < 10 ? value : NaN);

/** What a model found in a frame, or null; boxes in parts of the picture. */
export function readFound(raw) {
  const n = index(raw.n);
  if (n === null) return null;
  const boxes = list(raw.boxes).slice(0, MAX_BOXES).filter(isObject).map((box) => ({
    class: text(box.class, 40),
    track: /^\d{1,20}$/.test(box.track) ? box.track : null,
    x: share(box.x), y: share(box.y), width: share(box.width), height: share(box.height),
  }));
  const isPlace = ({ x, y, width, height }) => Number.isFinite(x + y + width + height) && width > 0 && height > 0;
  return { n, epoch: text(raw.epoch, 24), seq: count(raw.seq), model: text(raw.model, 128), boxes: boxes.filter(isPlace) };
}

export function readTotals(value) {
  const raw = object(value);
  const ratio = isObject(raw.jpeg_ratio) ? raw.jpeg_ratio : null;
  return {
    frames: count(raw.frames),
    missing: count(raw.missing),
    unexplained: count(raw.unexplained),
    mbit: finite(raw.mbit),
    age50: finite(raw.age_p50_ms),
    age99: finite(raw.age_p99_ms),
    viewers: count(raw.viewers),
    ratio: ratio && { coded: finite(ratio.coded_mbit), jpeg: finite(ratio.jpeg_mbit), times: finite(ratio.ratio), codedSsim: finite(ratio.coded_ssim), jpegSsim: finite(ratio.jpeg_ssim) },
  };
}

export function readActions(value) {
  return list(value).slice(0, MAX_ACTIONS).filter(isObject).map((raw) => ({
    id: text(raw.id, 64),
    en: text(raw.label_en, 80) || text(raw.id, 64),
    zh: text(raw.label_zh, 80) || text(raw.label_en, 80) || text(raw.id, 64),
    camera: text(raw.camera, 64) || null,
    isOn: raw.is_on === true,
  })).filter((action) => action.id !== '');
}

export function readGap(raw) {
  const n = index(raw.n);
  if (n === null) return null;
  const last = Number.isSafeInteger(raw.last) ? raw.last : null;
  return { n, epoch: text(raw.epoch, 24), first: finite(raw.first), last, reason: text(raw.reason, 40) || 'other', at: finite(raw.at_ms) };
}

/** What became of a wish to see another time than now, or null. */
export function readPlayback(raw) {
  const n = index(raw.n);
  if (n === null) return null;
  return { n, id: count(raw.id), state: text(raw.state, 16), speed: finite(raw.speed), code: text(raw.code, 40), message: text(raw.message) };
}

/** The header of a binary message and its payload, or null. */
export function parseBinary(buffer) {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < HEADER_BYTES) return null;
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  if (kind < FRAME || kind > MEDIA_SEGMENT) return null;
  const flags = view.getUint8(1);
  const micros = (at) => Number(view.getBigInt64(at, true));
  return {
    kind,
    isKeyframe: (flags & FLAGS.keyframe) !== 0,
    isDiscontinuity: (flags & FLAGS.discontinuity) !== 0,
    isCatchUp: (flags & FLAGS.catchUp) !== 0,
    isDiscardable: (flags & FLAGS.discardable) !== 0,
    isRecorded: (flags & FLAGS.recorded) !== 0,
    isPreroll: (flags & FLAGS.preroll) !== 0,
    n: view.getUint16(2, true),
    skipped: view.getUint32(4, true),
    epoch: view.getBigUint64(8, true),
    seq: view.getBigUint64(16, true),
    captureMs: micros(24) / 1000,
    ptsMicros: micros(32),
    hubMs: micros(40) / 1000,
    sentMs: micros(48) / 1000,
    payload: new Uint8Array(buffer, HEADER_BYTES),
  };
}
