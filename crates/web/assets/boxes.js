// As much of ISO/IEC 14496-12 as it takes to know when a one-frame segment is presented.

const MAX_DEPTH = 6;
const CONTAINERS = new Set(['moov', 'trak', 'mdia', 'moof', 'traf']);

/** Calls `visit(type, view)` for every box, going into containers; stops where lengths make no sense. */
function walk(view, visit, depth = 0) {
  let at = 0;
  while (at + 8 <= view.byteLength) {
    const size = view.getUint32(at);
    const type = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5), view.getUint8(at + 6), view.getUint8(at + 7));
    if (size < 8 || at + size > view.byteLength) return;
    const body = new DataView(view.buffer, view.byteOffset + at + 8, size - 8);
    if (CONTAINERS.has(type) && depth < MAX_DEPTH) walk(body, visit, depth + 1);
    else visit(type, body);
    at += size;
  }
}

const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Ticks per second of the first track, or null. */
export function timescale(init) {
  let ticks = null;
  walk(viewOf(init), (type, body) => {
    if (type !== 'mdhd' || ticks !== null || body.byteLength < 24) return;
    ticks = body.getUint32(body.getUint8(0) === 1 ? 20 : 12);
  });
  return ticks || null;
}

/** Presentation time of a segment's first frame in ticks, or null. */
export function presentationTime(segment) {
  let decode = null;
  let composition = 0;
  walk(viewOf(segment), (type, body) => {
    if (type === 'tfdt' && decode === null && body.byteLength >= 8) {
      decode = body.getUint8(0) === 1 && body.byteLength >= 12 ? Number(body.getBigUint64(4)) : body.getUint32(4);
    } else if (type === 'trun' && body.byteLength >= 8) {
      composition = compositionOffset(body);
    }
  });
  return decode === null ? null : decode + composition;
}

function compositionOffset(body) {
  const flags = body.getUint32(0) & 0xffffff;
  if ((flags & 0x800) === 0) return 0;
  let at = 8;
  for (const flag of [0x1, 0x4, 0x100, 0x200, 0x400]) if (flags & flag) at += 4;
  return at + 4 <= body.byteLength ? body.getInt32(at) : 0;
}
