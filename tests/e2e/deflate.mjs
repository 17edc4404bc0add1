// A WebSocket with permessage-deflate (RFC 7692) driven frame by frame: what goes through is built and read by hand, so that a
// test sees which frames are compressed, and can send what no library would.
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { assert, Tcp, wsFrame, OP } from "./support.mjs";

export const PMD = "permessage-deflate";
const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);
const RSV1 = 4;

/** One message as a client compresses it: a sync flush without its tail. */
export function deflate(data, { dictionary, windowBits = 15, level } = {}) {
  const options = { finishFlush: constants.Z_SYNC_FLUSH, windowBits, level };
  if (dictionary?.length) options.dictionary = dictionary;
  const bytes = deflateRawSync(Buffer.from(data), options);
  assert.deepEqual(bytes.subarray(-4), TAIL);
  return bytes.subarray(0, -4);
}

/** The reverse. A reference beyond `windowBits` is an error: output in small pieces makes zlib look it up in the window. */
export function inflate(data, { dictionary, windowBits = 15 } = {}) {
  const options = { finishFlush: constants.Z_SYNC_FLUSH, windowBits, chunkSize: windowBits < 15 ? 64 : 16384 };
  if (dictionary?.length) options.dictionary = dictionary.subarray(-(2 ** windowBits));
  return inflateRawSync(Buffer.concat([data, TAIL]), options);
}

export class Deflated {
  /** Opens with that offer; `answer` is what the server says of it. The open packet is read. */
  static async open(t, server, { path = "/engine.io/", query = "EIO=4&transport=websocket", offer = PMD, sid } = {}) {
    const session = new Deflated();
    session.tcp = await Tcp.connect(t, server);
    const head = await session.tcp.upgrade(`${path}?${query}${sid ? `&sid=${sid}` : ""}`, { "Sec-WebSocket-Extensions": offer });
    assert.equal(head.status, 101);
    session.answer = head.headers["sec-websocket-extensions"];
    const has = (name) => session.answer?.includes(name) ?? false;
    const bits = (name) => Number(new RegExp(`${name}=(\\d+)`).exec(session.answer)?.[1] ?? 15);
    session.resets = { mine: has("client_no_context_takeover"), theirs: has("server_no_context_takeover") };
    session.bits = { mine: Math.max(bits("client_max_window_bits"), 9), theirs: Math.max(bits("server_max_window_bits"), 9) };
    session.sent = Buffer.alloc(0);
    session.received = Buffer.alloc(0);
    if (!sid) {
      session.open = await session.next();
      session.handshake = JSON.parse(session.open.text.slice(1));
    }
    return session;
  }

  /** One message, compressed or plain, in as many frames as `pieces` asks for. */
  send(data, { compressed = true, opcode = typeof data === "string" ? OP.text : OP.binary, pieces = 1, between = [] } = {}) {
    let bytes = Buffer.from(data);
    if (compressed) {
      const dictionary = this.resets.mine ? undefined : this.sent.subarray(-(2 ** this.bits.mine));
      const plain = bytes;
      bytes = deflate(plain, { dictionary, windowBits: this.bits.mine });
      this.sent = Buffer.concat([this.sent, plain]).subarray(-32768);
    }
    this.sendBytes(bytes, { opcode, rsv: compressed ? RSV1 : 0, pieces, between });
  }

  /** Bytes as they are, RSV1 being set by default. */
  sendBytes(bytes, { opcode = OP.text, rsv = RSV1, pieces = 1, between = [] } = {}) {
    const size = Math.ceil(bytes.length / pieces);
    for (let i = 0; i < pieces; i++) {
      const first = i === 0;
      const part = bytes.subarray(i * size, (i + 1) * size);
      this.tcp.write(wsFrame(part, { opcode: first ? opcode : OP.continuation, rsv: first ? rsv : 0, fin: i === pieces - 1 }));
      if (i < pieces - 1) for (const frame of between) this.tcp.write(frame);
    }
  }

  /** The next data message of the server: `{compressed, opcode, data, text, size}`; `size` is that on the wire. */
  async next() {
    const frame = await this.tcp.frame();
    assert.ok(frame.fin, "the server sends whole messages");
    assert.ok(frame.opcode === OP.text || frame.opcode === OP.binary, `opcode ${frame.opcode}: ${frame.payload.toString("hex")}`);
    assert.equal(frame.rsv & ~RSV1, 0);
    const compressed = frame.rsv === RSV1;
    let data = frame.payload;
    if (compressed) {
      data = inflate(frame.payload, { dictionary: this.resets.theirs ? undefined : this.received, windowBits: this.bits.theirs });
      this.received = Buffer.concat([this.received, data]).subarray(-32768);
    }
    return { compressed, opcode: frame.opcode, data, text: data.toString(), size: frame.payload.length };
  }

  /** Sends and expects the same back. */
  async expectEcho(data, options) {
    this.send(data, options);
    const answer = await this.next();
    assert.ok(answer.data.equals(Buffer.from(data)), `the echo of ${data.length} bytes has ${answer.data.length}`);
    assert.equal(answer.opcode, typeof data === "string" ? OP.text : OP.binary);
    return answer;
  }

  closeCode() {
    return this.tcp.closeCode();
  }
}
