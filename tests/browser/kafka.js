// A Kafka producer by hand, for what nothing of this project may have had its fingers in: makes a topic, writes records.

import { connect } from 'node:net';

const [PRODUCE, CREATE_TOPICS] = [[0, 3], [19, 2]];
const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

const crc32c = (bytes) => {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
};

const i8 = (value) => Buffer.from([value & 0xff]);
const i16 = (value) => Buffer.from([(value >> 8) & 0xff, value & 0xff]);
const i32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
};
const i64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
};
const text = (value) => (value === null ? i16(-1) : Buffer.concat([i16(Buffer.byteLength(value)), Buffer.from(value)]));
const all = (...parts) => Buffer.concat(parts.flat());

/** Zigzag, seven bits at a time; lengths only, so 32 bits do. */
function varint(value) {
  const bytes = [];
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

const sized = (value) => all(varint(value.length), value);

/** KIP-98, record batch of version 2: one record, not compressed, no transaction. */
function batch(key, value, millis) {
  const record = all(i8(0), varint(0), varint(0), sized(Buffer.from(key)), sized(value), varint(0));
  const body = all(i16(0), i32(0), i64(millis), i64(millis), i64(-1), i16(-1), i32(-1), i32(1), sized(record));
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32c(body));
  const rest = all(i32(0), i8(2), crc, body);
  return all(i64(0), i32(rest.length), rest);
}

/** One request on a connection of its own; what follows the header of the answer. */
async function ask(port, [api, version], body) {
  const socket = connect(port, '127.0.0.1');
  const request = all(i16(api), i16(version), i32(1), text('by hand'), body);
  socket.write(all(i32(request.length), request));
  let answer = Buffer.alloc(0);
  for await (const bytes of socket) {
    answer = all(answer, bytes);
    if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) return answer.subarray(8);
  }
  throw new Error(`the broker closed the connection instead of answering request ${api}`);
}

/** Makes a topic of one partition; one that is there is left as it is. */
export async function createTopic(port, topic) {
  const answer = await ask(port, CREATE_TOPICS, all(i32(1), text(topic), i32(1), i16(1), i32(0), i32(0), i32(30_000), i8(0)));
  // Throttle time and number of topics come before its name.
  const code = answer.readInt16BE(4 + 4 + 2 + Buffer.byteLength(topic));
  if (code !== 0 && code !== 36) throw new Error(`the topic ${topic} was refused: ${code}`);
}

/** Writes one record to partition 0; answers its offset. */
export async function produce(port, topic, key, value) {
  const records = batch(key, Buffer.from(JSON.stringify(value)), Date.now());
  const answer = await ask(port, PRODUCE, all(text(null), i16(-1), i32(30_000), i32(1), text(topic), i32(1), i32(0), i32(records.length), records));
  const at = 4 + 2 + Buffer.byteLength(topic) + 4 + 4;
  const code = answer.readInt16BE(at);
  if (code !== 0) throw new Error(`the record for ${topic} was refused: ${code}`);
  return Number(answer.readBigInt64BE(at + 2));
}
