// permessage-deflate (option O9), its messages: which are compressed, what the server understands, what it refuses, and that
// nobody but the client itself notices.
import { randomBytes } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import {
  test, greenroomOnly, assert, describe, useServer, Polling, wsFrame, OP, client, clients, ask, call, next, farewellReason, until, Raw,
} from "./support.mjs";
import { Deflated, PMD, deflate } from "./deflate.mjs";
import { beside, MB } from "./beside.mjs";

const LIMIT = 1024;
const MAX = 100_000;
const server = useServer({ PER_MESSAGE_DEFLATE: "1", MAX_HTTP_BUFFER_SIZE: String(MAX) });
const hex = (text) => Buffer.from(text.replaceAll(" ", ""), "hex");
const text = (size) => "4".padEnd(size, "x");

const MODES = {
  "both sides keep their context": PMD,
  "the server resets": `${PMD}; server_no_context_takeover`,
  "the client resets": `${PMD}; client_no_context_takeover`,
  "both reset": `${PMD}; server_no_context_takeover; client_no_context_takeover`,
  "small windows": `${PMD}; server_max_window_bits=9; client_max_window_bits=9`,
  "the smallest windows, both reset": `${PMD}; server_max_window_bits=8; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover`,
};

describe("which messages are compressed", () => {
  for (const [mode, offer] of Object.entries(MODES)) {
    test(`from ${LIMIT} bytes on, text and binary: ${mode}`, async (t) => {
      const session = await Deflated.open(t, server, { offer });
      for (const size of [LIMIT, LIMIT + 1, 20_000, 70_000]) {
        for (const data of [text(size), Buffer.alloc(size, 7)]) {
          const { compressed, size: wire } = await session.expectEcho(data);
          assert.ok(compressed, `${size} bytes`);
          assert.ok(wire < size / 10, `${wire} bytes for ${size}`);
        }
      }
    });

    const below = async (t) => {
      const session = await Deflated.open(t, server, { offer });
      assert.equal(session.open.compressed, false, "the open packet");
      for (const size of [1, 2, 125, LIMIT - 1]) {
        for (const data of [text(size), Buffer.alloc(size, 7)]) assert.equal((await session.expectEcho(data)).compressed, false, `${size} bytes`);
      }
    };
    if (offer.includes("server_no_context_takeover")) test(`none below: ${mode}`, below);
    else greenroomOnly(`none below: ${mode}`, "ws compresses every message while the server keeps its context", below);
  }

  test("characters of several bytes count as bytes", async (t) => {
    const session = await Deflated.open(t, server, { offer: MODES["both reset"] });
    assert.equal((await session.expectEcho(`4${"é".repeat(511)}`)).compressed, false); // 1023 bytes
    assert.equal((await session.expectEcho(`4${"é".repeat(512)}`)).compressed, true);
  });

  greenroomOnly("compress(false) is left alone, the next message is not", "engine.io 6.6 does not hand the flag on", async (t) => {
    for (const offer of [PMD, MODES["both reset"]]) {
      const session = await Deflated.open(t, server, { path: "/socket.io/", offer });
      session.send("40/rc,");
      await session.next();
      for (const target of ["socket", "nsp"]) {
        for (const [flags, compressed] of [[{ compress: false }, false], [{ compress: true }, true], [{}, true], [{ compress: false }, false]]) {
          session.send(`42/rc,1${JSON.stringify(["emit", { target, event: "e", args: ["y".repeat(3000)], flags }])}`);
          const event = await session.next();
          assert.equal(event.text, `42/rc,["e","${"y".repeat(3000)}"]`);
          assert.equal(event.compressed, compressed, `${target} ${JSON.stringify(flags)}`);
          assert.equal((await session.next()).text, '43/rc,1[{"ok":true}]');
        }
      }
    }
  });

  test("an event and its attachment are compressed each by its own size", async (t) => {
    const session = await Deflated.open(t, server, { path: "/socket.io/", offer: MODES["both reset"] });
    session.send("40/rc,");
    await session.next();
    session.send('451-/rc,["echo",{"_placeholder":true,"num":0}]');
    session.send(Buffer.alloc(5000, 3));
    const [head, attachment] = [await session.next(), await session.next()];
    assert.deepEqual([head.compressed, head.text], [false, '451-/rc,["echo-back",{"_placeholder":true,"num":0}]']);
    assert.equal(attachment.compressed, true);
    assert.deepEqual(attachment.data, Buffer.alloc(5000, 3));
  });

  test("what does not compress comes through as well", async (t) => {
    const session = await Deflated.open(t, server);
    for (const size of [LIMIT, 65_535, 65_536, MAX - 1000]) await session.expectEcho(randomBytes(size));
  });

  test("control frames are never compressed", async (t) => {
    const session = await Deflated.open(t, server);
    session.tcp.write(wsFrame("x".repeat(125), { opcode: OP.ping }));
    const pong = await session.tcp.frame();
    assert.deepEqual([pong.opcode, pong.rsv, pong.payload.toString()], [OP.pong, 0, "x".repeat(125)]);
    session.tcp.write(wsFrame(Buffer.from([3, 232]), { opcode: OP.close }));
    const close = await session.tcp.frame();
    assert.deepEqual([close.opcode, close.rsv], [OP.close, 0]);
  });

  test("after an upgrade from polling: what had waited, and what comes later", async (t) => {
    const polling = await Polling.open(server);
    const session = await Deflated.open(t, server, { sid: polling.sid, offer: MODES["both reset"] });
    session.send("2probe");
    assert.equal((await session.next()).text, "3probe");
    await polling.send(text(4000), text(10));
    session.send("5");
    for (const [size, compressed] of [[4000, true], [10, false]]) {
      const waiting = await session.next();
      assert.deepEqual([waiting.text, waiting.compressed], [text(size), compressed]);
    }
    assert.equal((await session.expectEcho(text(5000))).compressed, true);
  });
});

describe("what the server understands", () => {
  for (const [mode, offer] of Object.entries(MODES)) {
    test(`200 messages one after the other: ${mode}`, async (t) => {
      const session = await Deflated.open(t, server, { offer });
      const phrase = randomBytes(600).toString("hex"); // longer than the smallest window
      for (let i = 0; i < 100; i++) {
        await session.expectEcho(`4${i} ${phrase.slice(i)} ${"and so on ".repeat(i)}`);
        await session.expectEcho(Buffer.from(`${phrase}${i}${phrase}`));
      }
    });

    test(`compressed and plain ones mixed, without waiting: ${mode}`, async (t) => {
      const session = await Deflated.open(t, server, { offer });
      const messages = Array.from({ length: 60 }, (_, i) => (i % 3 === 1 ? Buffer.alloc(i * 50, i) : `4${i}${"abc".repeat(i * 20)}`));
      messages.forEach((data, i) => session.send(data, { compressed: i % 2 === 0 }));
      for (const data of messages) assert.ok((await session.next()).data.equals(Buffer.from(data)));
    });

    test(`fragments, with pings between them: ${mode}`, async (t) => {
      const session = await Deflated.open(t, server, { offer });
      for (const pieces of [2, 3, 50]) {
        const data = `4${randomBytes(3000).toString("hex")}`;
        session.send(data, { pieces, between: [wsFrame("hi", { opcode: OP.ping })] });
        for (let i = 1; i < pieces; i++) assert.equal((await session.tcp.frame()).opcode, OP.pong);
        assert.equal((await session.next()).text, data);
      }
    });
  }

  test("fragments of one byte, and empty ones", async (t) => {
    const session = await Deflated.open(t, server);
    const bytes = deflate(text(50), { dictionary: undefined });
    session.tcp.write(wsFrame("", { rsv: 4, fin: false }));
    for (const byte of bytes) {
      session.tcp.write(wsFrame([byte], { opcode: OP.continuation, fin: false }));
      session.tcp.write(wsFrame("", { opcode: OP.continuation, fin: false }));
    }
    session.tcp.write(wsFrame("", { opcode: OP.continuation }));
    assert.equal((await session.next()).text, text(50));
  });

  // the examples of RFC 7692, section 7.2.3, as binary messages
  for (const [what, ...frames] of [
    ["one block", "f2 48 cd c9 c9 07 00"],
    ["a second one that refers to the first", "f2 48 cd c9 c9 07 00", "f2 00 11 00 00"],
    ["a block without compression", "00 05 00 fa ff 48 65 6c 6c 6f 00"],
    ["a final block", "f3 48 cd c9 c9 07 00 00", "f3 48 cd c9 c9 07 00 00", "f2 48 cd c9 c9 07 00"],
    ["two blocks", "f2 48 05 00 00 00 ff ff ca c9 c9 07 00"],
  ]) {
    test(`RFC 7692: ${what}`, async (t) => {
      const session = await Deflated.open(t, server);
      for (const frame of frames) session.sendBytes(hex(frame), { opcode: OP.binary });
      for (const _ of frames) assert.equal((await session.next()).text, "Hello");
    });
  }

  test("an empty message", async (t) => {
    const session = await Deflated.open(t, server);
    session.sendBytes(hex("00"), { opcode: OP.binary });
    assert.deepEqual((await session.next()).data, Buffer.alloc(0));
    await session.expectEcho("4x");
  });

  test("every level of compression, and none", async (t) => {
    const session = await Deflated.open(t, server, { offer: MODES["the client resets"] });
    for (let level = 0; level <= 9; level++) {
      session.sendBytes(deflate(text(5000), { level }));
      assert.equal((await session.next()).text, text(5000));
    }
  });

  test("a message of exactly the largest size", async (t) => {
    const session = await Deflated.open(t, server);
    await session.expectEcho(Buffer.alloc(MAX));
    await session.expectEcho(text(MAX), { pieces: 5 });
  });
});

describe("what the server refuses", () => {
  const CASES = [
    ["bytes that are no deflate stream", 1007, (s) => s.sendBytes(Buffer.from("garbage that is no deflate"))],
    ["a block of the reserved type", 1007, (s) => s.sendBytes(hex("ff ff ff"))],
    ["such bytes in the last fragment", 1007, (s) => {
      s.tcp.write(wsFrame(deflate(text(50)), { rsv: 4, fin: false }));
      s.tcp.write(wsFrame(hex("ff ff ff"), { opcode: OP.continuation }));
    }],
    ["a reference to before the beginning", 1007, (s) => s.sendBytes(hex("f2 00 11 00 00"), { opcode: OP.binary }), "on a new session"],
    ["a reference to an earlier message when the client said it resets", 1007, async (s) => {
      s.sendBytes(hex("f2 48 cd c9 c9 07 00"), { opcode: OP.binary });
      assert.equal((await s.next()).text, "Hello");
      s.sendBytes(hex("f2 00 11 00 00"), { opcode: OP.binary });
    }, "on a new session", MODES["the client resets"]],
    ["text that is no UTF-8 once inflated", 1007, (s) => s.sendBytes(deflate(Buffer.from([0x34, 0xff, 0xfe])))],
    ["RSV1 on a continuation", 1002, (s) => {
      s.tcp.write(wsFrame("4a", { fin: false }));
      s.tcp.write(wsFrame("b", { opcode: OP.continuation, rsv: 4 }));
    }],
    ["RSV1 on a ping", 1002, (s) => s.tcp.write(wsFrame("a", { opcode: OP.ping, rsv: 4 }))],
    ["RSV1 on a close frame", 1002, (s) => s.tcp.write(wsFrame("", { opcode: OP.close, rsv: 4 }))],
    ["RSV2", 1002, (s) => s.tcp.write(wsFrame("4a", { rsv: 2 }))],
    ["RSV3", 1002, (s) => s.tcp.write(wsFrame("4a", { rsv: 1 }))],
    ["RSV1 with RSV2", 1002, (s) => s.tcp.write(wsFrame(deflate("4a"), { rsv: 6 }))],
    ["one byte more than the largest size", 1009, (s) => s.sendBytes(deflate(Buffer.alloc(MAX + 1)), { opcode: OP.binary })],
    ["the same in fragments", 1009, (s) => s.sendBytes(deflate(Buffer.alloc(MAX + 1)), { opcode: OP.binary, pieces: 4 })],
    ["100 MB of nothing in 100 kB", 1009, (s) => s.sendBytes(BOMB.subarray(0, MAX), { opcode: OP.binary })],
    ["the same in fragments, as text", 1009, (s) => s.sendBytes(BOMB.subarray(0, MAX), { pieces: 100 })],
    ["a frame too large as it is, though it holds nothing", 1009, (s) => {
      s.sendBytes(Buffer.concat(Array(MAX / 5 + 1).fill(hex("00 00 00 ff ff"))), { opcode: OP.binary });
    }],
  ];
  const BOMB = deflateRawSync(Buffer.alloc(110_000_000));

  for (const [what, code, act, only, offer = PMD] of CASES) {
    test(`${what}: ${code}`, async (t) => {
      const beside = await Deflated.open(t, server);
      const session = await Deflated.open(t, server, { offer });
      await act(session);
      assert.equal(await session.closeCode(), code);
      await beside.expectEcho(text(2000));
    });

    if (only) continue; // after the packets of a connect it would mean something else
    test(`${what} is a transport error for Socket.IO`, async (t) => {
      const observer = await client(t, server, "/rc");
      const session = await Deflated.open(t, server, { path: "/socket.io/", offer });
      session.send("40/rc,");
      const { sid } = JSON.parse((await session.next()).text.slice("40/rc,".length));
      act(session);
      assert.equal(await farewellReason(observer, sid), "transport error");
    });
  }

  test("40 such bombs at once: memory stays, others are answered", (t) => beside(t, server, async () => {
    for (let i = 0; i < 4; i++) {
      await Promise.all(Array.from({ length: 10 }, async (_, j) => {
        const session = await Deflated.open(t, server);
        session.sendBytes(BOMB.subarray(0, MAX), { opcode: OP.binary, pieces: 1 + j * 10 });
        assert.equal(await session.closeCode(), 1009);
      }));
    }
  }, { growth: 60 * MB }));

  test("a stream cut short harms nobody else", async (t) => {
    const beside = await Deflated.open(t, server);
    for (const size of [1, 5, 10, 20]) {
      const session = await Deflated.open(t, server);
      session.sendBytes(deflate(`4${"abcdefghijklmnop".repeat(20)}`).subarray(0, size));
      session.tcp.socket.destroy();
      await beside.expectEcho(text(2000));
    }
  });

  test("200 clients that send random bytes as compressed", async (t) => {
    const observer = await client(t, server, "/rc");
    const beside = await Deflated.open(t, server);
    const before = await ask(observer, "counts");
    for (let i = 0; i < 200; i += 20) {
      await Promise.all(Array.from({ length: 20 }, async () => {
        const session = await Deflated.open(t, server, { path: "/socket.io/" });
        session.sendBytes(randomBytes(1 + Math.floor(Math.random() * 300)), { pieces: 1 + Math.floor(Math.random() * 4) });
        session.tcp.socket.destroy();
      }));
      await beside.expectEcho(text(3000));
    }
    await until(() => ask(observer, "counts"), (c) => c.engine <= before.engine, "their end");
  });
});

describe("the official client", () => {
  const options = { perMessageDeflate: { threshold: 0 } };
  const extensionsOf = (socket) => Object.keys(socket.io.engine.transport.ws._extensions);
  const bytesRead = (socket) => socket.io.engine.transport.ws._socket.bytesRead;

  for (const transports of [["websocket"], ["polling", "websocket"]]) {
    test(`over ${transports.join(" and ")}: values of every size and kind, both ways; fewer bytes`, async (t) => {
      const socket = await client(t, server, "/rc", { ...options, transports });
      assert.deepEqual(extensionsOf(socket), [PMD]);
      for (const size of [0, 1, LIMIT, 30_000, 90_000]) {
        assert.equal(await call(socket, "echo", "é".repeat(size / 2)), "é".repeat(size / 2));
        assert.deepEqual(await call(socket, "echo", { deep: [Buffer.alloc(size, size & 255)] }), { deep: [Buffer.alloc(size, size & 255)] });
        assert.deepEqual(await call(socket, "echo", randomBytes(16).toString("hex")).then((x) => x.length), 32);
      }
      const before = bytesRead(socket);
      assert.equal((await ask(socket, "blob", { size: 500_000 })).length, 500_000);
      const took = bytesRead(socket) - before;
      assert.ok(took < 100_000, `${took} bytes for 500,000`);
      await ask(socket, "burst", { count: 300 });
      for (let i = 0; i < 300; i++) assert.deepEqual(await next(socket, "b"), [i]);
    });
  }

  test("a broadcast to clients with different parameters, and with none", async (t) => {
    const by = await client(t, server, "/rc", { auth: { room: "all" } });
    const list = [by];
    for (const perMessageDeflate of [
      false, true, { serverNoContextTakeover: true }, { clientNoContextTakeover: true, serverNoContextTakeover: true },
      { serverMaxWindowBits: 9 }, { serverMaxWindowBits: 9, serverNoContextTakeover: true }, { clientMaxWindowBits: 10 },
    ]) list.push(...await clients(t, server, 2, "/rc", { perMessageDeflate, auth: { room: "all" } }));
    list.push(await client(t, server, "/rc", { transports: ["polling"], auth: { room: "all" } }));
    const raw = await Raw.connect(t, server, "/rc", { room: "all" });
    const phrase = randomBytes(700).toString("hex");
    for (let i = 0; i < 20; i++) {
      const data = i % 4 === 3 ? Buffer.from(phrase.repeat(i)) : `${phrase}${i}${phrase.repeat(i % 3)}`;
      await ask(by, "emit", { to: "all", event: "news", args: [i, data] });
    }
    for (const socket of list) {
      for (let i = 0; i < 20; i++) {
        const [n, data] = await next(socket, "news");
        assert.equal(n, i);
        assert.equal(data.toString(), i % 4 === 3 ? phrase.repeat(i) : `${phrase}${i}${phrase.repeat(i % 3)}`);
      }
    }
    assert.match(await raw.next(), /^42\/rc,\["news",0,/);
  });
});
