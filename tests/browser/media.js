// Coded pictures for the mock: Annex B cut into access units, a row of JPEGs cut into files, messages around them.

import { readFileSync } from 'node:fs';

const KEYFRAME = 1;
export const CATCH_UP = 4;

/** [{ data, isKeyframe }] of an H.264 byte stream. */
export function accessUnits(file) {
  const bytes = readFileSync(file);
  const units = [];
  let from = null;
  let hasPicture = false;
  let isKeyframe = false;
  const cut = (at) => {
    if (from !== null && hasPicture) units.push({ data: bytes.subarray(from, at), isKeyframe });
    [from, hasPicture, isKeyframe] = [at, false, false];
  };
  for (let at = bytes.indexOf('000001', 0, 'hex'); at >= 0; at = bytes.indexOf('000001', at + 3, 'hex')) {
    const begin = at > 0 && bytes[at - 1] === 0 ? at - 1 : at;
    const type = bytes[at + 3] & 0x1f;
    const isPicture = type === 1 || type === 5;
    // A slice whose first macroblock is 0, or what stands before one, begins an access unit.
    const isFirst = isPicture ? (bytes[at + 4] & 0x80) !== 0 : [6, 7, 8, 9].includes(type);
    if (from === null || (isFirst && hasPicture)) cut(begin);
    hasPicture ||= isPicture;
    isKeyframe ||= type === 5;
  }
  cut(bytes.length);
  return units;
}

/** [{ data, isKeyframe }] of JPEG files one after another. */
export function pictures(file) {
  const bytes = readFileSync(file);
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf('ffd9', at, 'hex') + 2;
    if (end < 2) break;
    found.push({ data: bytes.subarray(at, end), isKeyframe: true });
    at = end;
  }
  return found;
}

/** A binary message of the viewer's protocol. */
export function mediaMessage({ kind = 1, flags = 0, n, skipped = 0, epoch = 1n, seq = 0n, captureMs = Date.now(), ptsMicros, payload }) {
  const head = Buffer.alloc(56);
  head.writeUInt8(kind, 0);
  head.writeUInt8(flags, 1);
  head.writeUInt16LE(n, 2);
  head.writeUInt32LE(skipped, 4);
  head.writeBigUInt64LE(BigInt(epoch), 8);
  head.writeBigUInt64LE(BigInt(seq), 16);
  const micros = (ms) => BigInt(Math.round(ms * 1000));
  head.writeBigInt64LE(micros(captureMs), 24);
  head.writeBigInt64LE(ptsMicros === undefined ? micros(captureMs) : BigInt(ptsMicros), 32);
  head.writeBigInt64LE(micros(captureMs + 8), 40);
  head.writeBigInt64LE(micros(captureMs + 9), 48);
  return Buffer.concat([head, payload]);
}

export const flagsOf = (unit) => (unit.isKeyframe ? KEYFRAME : 0);
