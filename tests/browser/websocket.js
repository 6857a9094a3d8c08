// The server side of RFC 6455, as much as a mock needs: no extensions, no fragments to the client.

import { createHash } from 'node:crypto';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];

export class ServerSocket {
  #socket;
  #buffer = Buffer.alloc(0);
  #parts = [];

  /** Answers the upgrade. `onText(string)` and `onClose()` are called as things happen. */
  constructor(request, socket, { onText, onClose }) {
    this.#socket = socket;
    this.onText = onText;
    const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.setNoDelay(true);
    socket.on('data', (data) => this.#read(data));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => onClose());
  }

  get isOpen() {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  /** Bytes that the client has not taken yet. */
  get waiting() {
    return this.#socket.writableLength;
  }

  send(data) {
    const isText = typeof data === 'string';
    this.#write(isText ? TEXT : BINARY, Buffer.from(data));
  }

  close() {
    this.#write(CLOSE, Buffer.alloc(0));
    this.#socket.end();
  }

  /** Without saying goodbye. */
  destroy() {
    this.#socket.destroy();
  }

  #write(opcode, payload) {
    if (!this.isOpen) return;
    const { length } = payload;
    const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
    head[0] = 0x80 | opcode;
    if (length < 126) head[1] = length;
    else if (length < 65_536) {
      head[1] = 126;
      head.writeUInt16BE(length, 2);
    } else {
      head[1] = 127;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    this.#socket.write(head);
    this.#socket.write(payload);
  }

  #read(data) {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    for (;;) {
      const frame = this.#frame();
      if (!frame) return;
      if (frame.opcode === CLOSE) this.close();
      else if (frame.opcode === PING) this.#write(PONG, frame.payload);
      else if ([TEXT, BINARY, CONTINUATION].includes(frame.opcode)) {
        this.#parts.push(frame.payload);
        if (!frame.isLast) continue;
        const whole = Buffer.concat(this.#parts).toString();
        this.#parts = [];
        this.onText(whole);
      }
    }
  }

  #frame() {
    const buffer = this.#buffer;
    if (buffer.length < 2) return null;
    let length = buffer[1] & 0x7f;
    let at = 2;
    if (length === 126) {
      if (buffer.length < 4) return null;
      length = buffer.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (buffer.length < 10) return null;
      length = Number(buffer.readBigUInt64BE(2));
      at = 10;
    }
    if (buffer.length < at + 4 + length) return null;
    const mask = buffer.subarray(at, at + 4);
    const payload = Buffer.from(buffer.subarray(at + 4, at + 4 + length)).map((byte, index) => byte ^ mask[index % 4]);
    this.#buffer = buffer.subarray(at + 4 + length);
    return { opcode: buffer[0] & 0x0f, isLast: (buffer[0] & 0x80) !== 0, payload };
  }
}
