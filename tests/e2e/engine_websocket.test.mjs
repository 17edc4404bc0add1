// WebSocket transport: messages, heartbeat, frames in every shape, violations (features E2, B1, B2, B9, O5, O7, traps 3.1).
import {
  test, greenroomOnly, assert, describe, useServer, startServer, engineWs, expectEcho, client, Raw, tcpSession, wsFrame,
  closePayload, OP, farewellReason, sleep, ask, until,
} from "./support.mjs";

const server = useServer();
const MAX = 1000;
const small = useServer({ MAX_HTTP_BUFFER_SIZE: String(MAX) });
const bytes = (size) => Buffer.from(Uint8Array.from({ length: size }, (_, i) => (31 * i + 7) & 255));

describe("messages", { concurrency: 4 }, () => {
  test("text stays text, binary stays binary", async (t) => {
    const ws = await engineWs(t, server);
    ws.send("4hello");
    assert.equal(await ws.next(), "4hello");
    ws.send(bytes(300));
    assert.deepEqual(await ws.next(), bytes(300));
    ws.send("4é 👍🏽 \u2028 \u0000");
    assert.equal(await ws.next(), "4é 👍🏽 \u2028 \u0000");
  });

  test("empty messages", async (t) => {
    const ws = await engineWs(t, server);
    ws.send("4");
    assert.equal(await ws.next(), "4");
    ws.send(Buffer.alloc(0));
    assert.deepEqual(await ws.next(), Buffer.alloc(0));
  });

  test("a text frame b… is base64, as in a polling payload", async (t) => {
    const ws = await engineWs(t, server);
    ws.send("bAQID");
    assert.deepEqual(await ws.next(), Buffer.from([1, 2, 3]));
  });

  test("packets that mean nothing here are ignored", async (t) => {
    const ws = await engineWs(t, server);
    for (const packet of ["0", "3", "3probe", "5", "6", "6x"]) ws.send(packet);
    await expectEcho(ws);
  });

  test("5000 messages in order, sent without waiting", async (t) => {
    const ws = await engineWs(t, server);
    for (let i = 0; i < 5000; i++) ws.send(i % 5 === 0 ? Buffer.from(String(i)) : `4${i}`);
    for (let i = 0; i < 5000; i++) assert.equal(String(await ws.next()), i % 5 === 0 ? String(i) : `4${i}`);
  });

  test("900 kB of either kind", async (t) => {
    const ws = await engineWs(t, server);
    const text = `4${"0123456789abcdef".repeat(56_000)}`;
    ws.send(text);
    assert.ok((await ws.next()) === text);
    const binary = bytes(900_000);
    ws.send(binary);
    assert.ok(binary.equals(await ws.next()));
  });

  for (const size of [124, 125, 126, 127, 65534, 65535, 65536, 65537]) {
    test(`sizes around the steps of the length field: ${size}`, async (t) => {
      const ws = await engineWs(t, server);
      ws.send(`4${"x".repeat(size - 1)}`);
      assert.equal((await ws.next()).length, size);
      ws.send(bytes(size));
      assert.ok(bytes(size).equals(await ws.next()));
    });
  }
});

describe("frames", { concurrency: 4 }, () => {
  test("the server sends whole, unmasked frames", async (t) => {
    const tcp = await tcpSession(t, server);
    tcp.write(wsFrame("4abc"));
    const { fin, rsv, opcode, masked, payload } = await tcp.frame();
    assert.deepEqual({ fin, rsv, opcode, masked, text: payload.toString() }, { fin: true, rsv: 0, opcode: OP.text, masked: false, text: "4abc" });
    tcp.write(wsFrame([1, 2], { opcode: OP.binary }));
    assert.deepEqual((await tcp.frame()).opcode, OP.binary);
  });

  test("fragments are put together, control frames between them", async (t) => {
    const tcp = await tcpSession(t, server);
    tcp.write(wsFrame("4on", { fin: false }));
    tcp.write(wsFrame("hi", { opcode: OP.ping }));
    tcp.write(wsFrame("e-", { opcode: OP.continuation, fin: false }));
    tcp.write(wsFrame("", { opcode: OP.continuation, fin: false }));
    tcp.write(wsFrame("unasked", { opcode: OP.pong }));
    tcp.write(wsFrame("two", { opcode: OP.continuation }));
    const pong = await tcp.frame();
    assert.deepEqual([pong.opcode, pong.payload.toString()], [OP.pong, "hi"]);
    assert.equal((await tcp.frame()).payload.toString(), "4one-two");
  });

  test("an empty first and an empty last fragment", async (t) => {
    const tcp = await tcpSession(t, server);
    tcp.write(wsFrame("", { fin: false }));
    tcp.write(wsFrame("4x", { opcode: OP.continuation, fin: false }));
    tcp.write(wsFrame("", { opcode: OP.continuation }));
    assert.equal((await tcp.frame()).payload.toString(), "4x");
  });

  test("characters cut between fragments", async (t) => {
    const tcp = await tcpSession(t, server);
    const data = Buffer.from("4é👍🏽漢");
    for (const [i, byte] of data.entries()) {
      tcp.write(wsFrame([byte], { opcode: i === 0 ? OP.text : OP.continuation, fin: i === data.length - 1 }));
    }
    assert.equal((await tcp.frame()).payload.toString(), "4é👍🏽漢");
  });

  test("fragmented messages beyond 64 KiB", async (t) => {
    const tcp = await tcpSession(t, server);
    for (const piece of [1000, 40_000, 65_535, 200_000]) {
      const data = bytes(300_000);
      for (let at = 0; at < data.length; at += piece) {
        const fin = at + piece >= data.length;
        tcp.write(wsFrame(data.subarray(at, at + piece), { opcode: at === 0 ? OP.binary : OP.continuation, fin }));
      }
      const back = await tcp.frame();
      assert.ok(data.equals(back.payload), `pieces of ${piece}`);
    }
  });

  test("a frame that comes byte by byte", async (t) => {
    const tcp = await tcpSession(t, server);
    for (const byte of wsFrame(`4${"slow".repeat(40)}`)) {
      tcp.write(Buffer.from([byte]));
      await sleep(1);
    }
    assert.equal((await tcp.frame()).payload.toString(), `4${"slow".repeat(40)}`);
  });

  test("many frames in one segment", async (t) => {
    const tcp = await tcpSession(t, server);
    tcp.write(Buffer.concat(Array.from({ length: 500 }, (_, i) => wsFrame(`4m${i}`))));
    for (let i = 0; i < 500; i++) assert.equal((await tcp.frame()).payload.toString(), `4m${i}`);
  });

  test("lengths written longer than needed are understood", async (t) => {
    const tcp = await tcpSession(t, server);
    const key = Buffer.from([0, 0, 0, 0]);
    tcp.write(Buffer.concat([Buffer.from([0x81, 0xfe, 0, 2]), key, Buffer.from("4a")]));
    assert.equal((await tcp.frame()).payload.toString(), "4a");
  });

  test("a WebSocket ping is answered, also with 125 bytes and with none", async (t) => {
    const tcp = await tcpSession(t, server);
    for (const payload of ["x".repeat(125), "", "a"]) {
      tcp.write(wsFrame(payload, { opcode: OP.ping }));
      const frame = await tcp.frame();
      assert.deepEqual([frame.opcode, frame.payload.toString()], [OP.pong, payload]);
    }
  });

  test("pongs that nobody asked for are ignored", async (t) => {
    const tcp = await tcpSession(t, server);
    tcp.write(wsFrame("x", { opcode: OP.pong }));
    tcp.write(wsFrame("4x"));
    assert.equal((await tcp.frame()).payload.toString(), "4x");
  });
});

describe("violations", { concurrency: 4 }, () => {
  // [what, frames, close code of the server]
  const CASES = [
    ["an unmasked frame", [wsFrame("4x", { mask: false })], 1002],
    ["RSV1 without an extension", [wsFrame("4x", { rsv: 4 })], 1002],
    ["RSV2", [wsFrame("4x", { rsv: 2 })], 1002],
    ["RSV3", [wsFrame("4x", { rsv: 1 })], 1002],
    ["RSV bits on a ping", [wsFrame("", { opcode: OP.ping, rsv: 4 })], 1002],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode}`, [wsFrame("x", { opcode })], 1002]),
    ["a continuation of nothing", [wsFrame("x", { opcode: OP.continuation })], 1002],
    ["a text frame inside a fragmented message", [wsFrame("4a", { fin: false }), wsFrame("4b")], 1002],
    ["a binary frame inside a fragmented message", [wsFrame("4a", { fin: false }), wsFrame("b", { opcode: OP.binary })], 1002],
    ["a fragmented ping", [wsFrame("x", { opcode: OP.ping, fin: false })], 1002],
    ["a ping of 126 bytes", [wsFrame("x".repeat(126), { opcode: OP.ping })], 1002],
    ["a close frame of one byte", [wsFrame("x", { opcode: OP.close })], 1002],
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000].map((code) =>
      [`close code ${code}`, [wsFrame(closePayload(code), { opcode: OP.close })], 1002]),
    ["a close reason that is not UTF-8", [wsFrame(Buffer.from([0x03, 0xe8, 0xff]), { opcode: OP.close })], 1007],
    ["text that is not UTF-8", [wsFrame(Buffer.from([0x34, 0xff]))], 1007],
    ["text that ends inside a character", [wsFrame(Buffer.from([0x34, 0xe2, 0x82]))], 1007],
    ["an encoded surrogate", [wsFrame(Buffer.from([0x34, 0xed, 0xa0, 0x80]))], 1007],
    ["an overlong encoding", [wsFrame(Buffer.from([0x34, 0xc0, 0xaf]))], 1007],
    ["bad UTF-8 in the second fragment", [wsFrame("4a", { fin: false }), wsFrame([0xff], { opcode: OP.continuation })], 1007],
    ["a length of 2^63", [Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])], [1002, 1009]],
    ["a length of 2^53", [Buffer.from([0x82, 0xff, 0, 0x20, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])], 1009],
    ["a frame announced larger than allowed", [wsFrame("x", { opcode: OP.binary, length: 1_000_001 })], 1009],
  ];
  for (const [what, frames, codes] of CASES) {
    test(`${what}: ${codes}`, async (t) => {
      const tcp = await tcpSession(t, server);
      tcp.write(Buffer.concat(frames));
      const code = await tcp.closeCode();
      assert.ok([codes].flat().includes(code), `closed with ${code}`);
      // answers the close handshake, and then the connection ends
      tcp.write(wsFrame(closePayload(code), { opcode: OP.close }));
      await tcp.ended;
    });
  }

  for (const [what, frames] of [
    ["an unmasked frame", [wsFrame("4x", { mask: false })]], ["bad UTF-8", [wsFrame(Buffer.from([0x34, 0xff]))]],
    ["an oversize frame", [wsFrame("x", { opcode: OP.binary, length: 1_000_001 })]],
  ]) {
    test(`${what} is a transport error for Socket.IO`, async (t) => {
      const observer = await client(t, server, "/rc");
      const tcp = await tcpSession(t, server, "/socket.io/");
      tcp.write(wsFrame("40/rc,"));
      const id = JSON.parse((await tcp.frame()).payload.toString().slice(6)).sid;
      tcp.write(Buffer.concat(frames));
      await tcp.closeCode();
      tcp.socket.end();
      assert.equal(await farewellReason(observer, id), "transport error");
    });
  }

  for (const code of [1000, 1001, 1011, 3000, 4999]) {
    test(`close code ${code} is echoed`, async (t) => {
      const tcp = await tcpSession(t, server);
      tcp.write(wsFrame(closePayload(code, "bye"), { opcode: OP.close }));
      assert.equal(await tcp.closeCode(), code);
      await tcp.ended;
    });
  }

  test("an empty close frame is answered", async (t) => {
    const tcp = await tcpSession(t, server);
    tcp.write(wsFrame("", { opcode: OP.close }));
    assert.ok([1000, 1005].includes(await tcp.closeCode()));
    await tcp.ended;
  });

  test("what follows a close frame is not read", async (t) => {
    const tcp = await tcpSession(t, server);
    tcp.write(Buffer.concat([wsFrame(closePayload(1000), { opcode: OP.close }), wsFrame("4after")]));
    const frame = await tcp.frame();
    assert.equal(frame.opcode, OP.close);
    await tcp.ended;
    assert.equal(tcp.received.length, 0);
  });
});

describe("sizes", { concurrency: 4 }, () => {
  test("a frame of exactly maxPayload, text and binary", async (t) => {
    const ws = await engineWs(t, small);
    ws.send(`4${"x".repeat(MAX - 1)}`);
    assert.equal((await ws.next()).length, MAX);
    ws.send(bytes(MAX));
    assert.ok(bytes(MAX).equals(await ws.next()));
  });
  test("fragments that add up to exactly maxPayload", async (t) => {
    const tcp = await tcpSession(t, small);
    tcp.write(wsFrame(bytes(600), { opcode: OP.binary, fin: false }));
    tcp.write(wsFrame(bytes(400), { opcode: OP.continuation }));
    assert.equal((await tcp.frame()).payload.length, MAX);
  });
  for (const [what, send] of [
    ["text", (ws) => ws.send(`4${"x".repeat(MAX)}`)],
    ["binary", (ws) => ws.send(bytes(MAX + 1))],
    ["fragments", (ws) => {
      ws.send(bytes(600), { fin: false });
      ws.send(bytes(401), { fin: true });
    }],
  ]) {
    test(`one byte more: 1009 (${what})`, async (t) => {
      const ws = await engineWs(t, small);
      send(ws);
      assert.equal(await ws.closeCode(), 1009);
    });
  }
  test("control frames do not count", async (t) => {
    const tcp = await tcpSession(t, small);
    tcp.write(wsFrame(bytes(600), { opcode: OP.binary, fin: false }));
    for (let i = 0; i < 10; i++) {
      tcp.write(wsFrame("x".repeat(125), { opcode: OP.ping }));
      assert.equal((await tcp.frame()).opcode, OP.pong);
    }
    tcp.write(wsFrame(bytes(400), { opcode: OP.continuation }));
    assert.equal((await tcp.frame()).payload.length, MAX);
  });
});

describe("bad packets", { concurrency: 4 }, () => {
  for (const [what, packet, reason] of [
    ["an empty text frame", "", "parse error"], ["an unknown type", "x", "parse error"], ["type 7", "7", "parse error"],
    ["a ping, which is the server's to send", "2", "transport error"], ["a probe outside an upgrade", "2probe", "transport error"],
  ]) {
    test(`${what}: ${reason}`, async (t) => {
      const observer = await client(t, server, "/rc");
      const raw = await Raw.connect(t, server, "/rc");
      raw.ws.send(packet);
      await raw.expectClosed();
      assert.equal(await farewellReason(observer, raw.id), reason);
    });
  }
  test("packets behind the bad one are not delivered", async (t) => {
    const tcp = await tcpSession(t, server);
    tcp.write(Buffer.concat([wsFrame("x"), wsFrame("4after")]));
    const frame = await tcp.frame();
    assert.equal(frame.opcode, OP.close);
  });
  greenroomOnly("a close packet closes at once", "the reference ignores `1` on a WebSocket until the ping timeout", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    raw.ws.send("1");
    await raw.expectClosed();
    assert.equal(await farewellReason(observer, raw.id), "transport close");
  });
});

describe("ends of a connection", { concurrency: 4 }, () => {
  for (const [what, end] of [
    ["a close frame", (raw) => raw.ws.socket.close(1000)], ["a TCP end", (raw) => raw.ws.socket._socket.end()],
    ["a TCP reset", (raw) => raw.ws.socket._socket.resetAndDestroy()], ["a terminate", (raw) => raw.ws.socket.terminate()],
  ]) {
    test(`${what}: transport close`, async (t) => {
      const observer = await client(t, server, "/rc");
      const raw = await Raw.connect(t, server, "/rc");
      end(raw);
      assert.equal(await farewellReason(observer, raw.id), "transport close");
    });
  }
  test("closed by the server: a close frame without an error code", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,5["connClose",{}]');
    assert.equal(await raw.next(), '43/rc,5[{"ok":true}]');
    await raw.expectClosed();
    assert.equal(await farewellReason(observer, raw.id), "forced close");
  });
  test("a client that does not answer the close frame is cut off or left, but forgotten", async (t) => {
    const observer = await client(t, server, "/rc");
    const tcp = await tcpSession(t, server, "/socket.io/");
    tcp.write(wsFrame("40/rc,"));
    const id = JSON.parse((await tcp.frame()).payload.toString().slice(6)).sid;
    tcp.write(wsFrame('42/rc,["connClose",{}]'));
    assert.ok([1000, 1005].includes(await tcp.closeCode()));
    assert.equal(await farewellReason(observer, id), "forced close");
  });
  test("the number of connections goes back", async (t) => {
    const own = await startServer(t);
    const observer = await client(t, own, "/rc");
    const list = await Promise.all(Array.from({ length: 20 }, () => engineWs(t, own, { path: "/socket.io/" })));
    assert.equal((await ask(observer, "counts")).engine, 21);
    for (const [i, ws] of list.entries()) i % 2 ? ws.socket.close() : ws.socket.terminate();
    await until(async () => (await ask(observer, "counts")).engine, (n) => n === 1);
  });
});

describe("heartbeat", { concurrency: 8 }, () => {
  const INTERVAL = 400;
  const TIMEOUT = 400;
  const quick = useServer({ PING_INTERVAL: String(INTERVAL), PING_TIMEOUT: String(TIMEOUT) });
  const around = (ms, expected, what) => assert.ok(ms > expected - 60 && ms < expected + 500, `${what} after ${ms} ms, not ${expected}`);

  test("the first ping comes pingInterval after the opening, the next pingInterval after each pong", async (t) => {
    const ws = await engineWs(t, quick);
    let last = Date.now();
    for (let i = 0; i < 3; i++) {
      assert.equal(await ws.next(), "2");
      around(Date.now() - last, INTERVAL, "ping");
      await sleep(150); // the client answers late
      ws.send("3");
      last = Date.now();
    }
    await expectEcho(ws);
  });

  test("data does not put a ping off", async (t) => {
    const ws = await engineWs(t, quick);
    const begin = Date.now();
    for (;;) {
      ws.send("4x");
      const message = await ws.next();
      if (message === "2") break;
      assert.equal(message, "4x");
      await sleep(10);
    }
    around(Date.now() - begin, INTERVAL, "ping");
  });

  test("no pong within pingTimeout: closed, ping timeout", async (t) => {
    const observer = await client(t, quick, "/rc");
    const raw = await Raw.connect(t, quick, "/rc");
    assert.equal(await raw.next(), "2");
    const begin = Date.now();
    await raw.expectClosed();
    around(Date.now() - begin, TIMEOUT, "close");
    assert.equal(await farewellReason(observer, raw.id), "ping timeout");
  });

  test("another packet puts the timeout off, once", async (t) => {
    const ws = await engineWs(t, quick);
    assert.equal(await ws.next(), "2");
    const begin = Date.now();
    await sleep(250);
    ws.send("4one");
    await sleep(250);
    ws.send("4two");
    assert.equal(await ws.next(), "4one");
    assert.equal(await ws.next(), "4two");
    await ws.expectClosed();
    around(Date.now() - begin, 250 + TIMEOUT, "close");
  });

  test("a WebSocket pong is no Engine.IO pong", async (t) => {
    const ws = await engineWs(t, quick);
    const begin = Date.now();
    assert.equal(await ws.next(), "2");
    ws.socket.pong("");
    await ws.expectClosed();
    around(Date.now() - begin, INTERVAL + TIMEOUT, "close");
  });

  test("a pong before the ping puts the next ping off", async (t) => {
    const ws = await engineWs(t, quick);
    await sleep(200);
    ws.send("3");
    const begin = Date.now();
    assert.equal(await ws.next(), "2");
    around(Date.now() - begin, INTERVAL, "ping");
  });

  test("the official client is kept for many intervals", async (t) => {
    const socket = await client(t, quick, "/rc");
    let pings = 0;
    socket.io.engine.on("ping", () => pings++);
    await until(() => pings, (n) => n >= 4);
    assert.equal(socket.connected, true);
    await ask(socket, "info");
  });

  test("a client whose kernel no longer reads is found too", async (t) => {
    const observer = await client(t, quick, "/rc");
    const raw = await Raw.connect(t, quick, "/rc");
    raw.ws.socket._socket.pause();
    assert.equal(await farewellReason(observer, raw.id), "ping timeout");
  });
});
