// Compression of polling answers (option O8): which encoding is chosen, from which size on, and what `compress(false)` does.
import { gunzipSync, inflateSync } from "node:zlib";
import { randomBytes } from "node:crypto";
import { test, assert, describe, useServer, http, Polling, pollingSocket, client, ask, SEPARATOR, sleep } from "./support.mjs";

const server = useServer();
const GZIP = { "accept-encoding": "gzip" };
const LIMIT = 1024;

/** The encoding and the text of a polling answer; the text is decoded, and its headers are checked. */
function read(answer) {
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers["content-type"], "text/plain; charset=UTF-8");
  assert.equal(answer.headers["cache-control"], "no-store");
  const encoding = answer.headers["content-encoding"];
  if (answer.headers["content-length"] !== undefined) assert.equal(Number(answer.headers["content-length"]), answer.bytes.length);
  if (encoding === undefined) return { encoding, text: answer.text };
  // "deflate" is the zlib format: a raw deflate stream would not pass
  const decode = { gzip: gunzipSync, deflate: inflateSync }[encoding];
  assert.ok(decode, `encoding ${encoding}`);
  const bytes = decode(answer.bytes);
  if (bytes.length > 1500 && /^(.)\1*$/.test(bytes.toString().slice(1))) assert.ok(answer.bytes.length < bytes.length / 10, "it is smaller");
  return { encoding, text: bytes.toString() };
}

/** What a session of the echo gets back for these packets, in one payload. */
async function echoed(session, packets, headers) {
  await session.send(...packets);
  return read(await session.get({ headers }));
}

const xs = (size) => "x".repeat(size);

describe("the encoding", () => {
  // Accept-Encoding -> Content-Encoding
  const CASES = [
    [undefined, undefined], ["", undefined], ["gzip", "gzip"], ["deflate", "deflate"], ["br", undefined], ["identity", undefined], ["x-gzip", undefined],
    ["br, gzip", "gzip"], ["gzip, deflate, br, zstd", "gzip"], ["deflate, gzip", "deflate"], ["GZIP", "gzip"],
    ["gzip;q=0.5, deflate;q=0.8", "deflate"], ["gzip;q=1.0, deflate;q=1.0", "gzip"], ["gzip ; q=1", "gzip"], ["gzip;q=0.001", "gzip"],
    ["gzip;q=0", undefined], ["gzip;q=0, deflate;q=0", undefined], ["gzip;q=0, deflate", "deflate"],
    // a server that compresses at all does it, whatever identity is worth
    ["identity;q=1, gzip;q=0.5", "gzip"], ["identity;q=0", undefined],
    ["*", "gzip"], ["*;q=0", undefined], ["gzip;q=0, *", "deflate"], ["deflate, *", "deflate"], ["deflate;q=0.5, *;q=0.1", "deflate"],
    ["*;q=0.5, gzip;q=0.1", "deflate"], ["deflate;q=0, gzip;q=0, *", undefined], ["identity;q=0.9, *;q=0", undefined], ["zstd, br;q=1.0, *;q=0.2", "gzip"],
    ["gzip;q=abc", undefined], ["garbage;;,,=", undefined],
  ];
  for (const [accept, encoding] of CASES) {
    test(`Accept-Encoding ${accept === undefined ? "missing" : `"${accept}"`}: ${encoding ?? "none"}`, async () => {
      const session = await Polling.open(server);
      const headers = accept === undefined ? {} : { "accept-encoding": accept };
      assert.deepEqual(await echoed(session, [`4${xs(3000)}`], headers), { encoding, text: `4${xs(3000)}` });
      await session.expectAlive();
    });
  }

  test("each poll is asked anew", async () => {
    const session = await Polling.open(server);
    for (const encoding of ["gzip", undefined, "deflate", "gzip"]) {
      const answer = await echoed(session, [`4${xs(2000)}`], encoding && { "accept-encoding": encoding });
      assert.deepEqual(answer, { encoding, text: `4${xs(2000)}` });
    }
  });

  test("the poll decides, not the POST that brought the message", async () => {
    const session = await Polling.open(server);
    assert.equal((await session.post(`4${xs(2000)}`, { headers: GZIP })).text, "ok");
    assert.equal(read(await session.get()).encoding, undefined);
    await session.send(`4${xs(2000)}`);
    assert.equal(read(await session.get({ headers: GZIP })).encoding, "gzip");
  });

  test("a poll that waits is compressed as well", async () => {
    const session = await Polling.open(server);
    const answer = session.get({ headers: GZIP });
    await sleep(100); // no event tells that a poll has arrived
    await session.send(`4${xs(5000)}`);
    assert.deepEqual(read(await answer), { encoding: "gzip", text: `4${xs(5000)}` });
  });
});

describe("the size", () => {
  const encodingOf = async (...packets) => {
    const session = await Polling.open(server);
    const { encoding, text } = await echoed(session, packets, GZIP);
    assert.equal(text, packets.join(SEPARATOR));
    return encoding;
  };

  test("1024 bytes of payload are compressed, 1023 are not", async () => {
    assert.equal(await encodingOf(`4${xs(LIMIT - 1)}`), "gzip");
    assert.equal(await encodingOf(`4${xs(LIMIT - 2)}`), undefined);
  });

  test("bytes count, not characters", async () => {
    assert.equal(await encodingOf(`4${"é".repeat(512)}`), "gzip"); // 513 characters, 1025 bytes
    assert.equal(await encodingOf(`4${"é".repeat(511)}`), undefined); // 1023 bytes
  });

  test("packets of one payload count together, with what separates them", async () => {
    const half = `4${xs(510)}`; // 511 bytes
    assert.equal(await encodingOf(half, half), undefined); // 1023
    assert.equal(await encodingOf(half, `${half}x`), "gzip"); // 1024
    assert.equal(await encodingOf(...Array(400).fill("4ab")), "gzip");
  });

  test("binary counts as its base64", async () => {
    assert.equal(await encodingOf(`b${randomBytes(767).toString("base64")}`), "gzip"); // 1 + 1024
    assert.equal(await encodingOf(`b${randomBytes(765).toString("base64")}`), undefined); // 1 + 1020
  });

  test("the opening answer, pings and noops are too small", async (t) => {
    const answer = await http(server, { path: "/engine.io/?EIO=4&transport=polling", headers: GZIP });
    assert.equal(read(answer).encoding, undefined);
    const session = await Polling.open(server);
    const waiting = session.get({ headers: GZIP });
    await sleep(100);
    await session.send("1");
    assert.deepEqual(read(await waiting), { encoding: undefined, text: "6" });
  });

  test("900 kB, that compress well and that do not", async () => {
    assert.equal(await encodingOf(`4${xs(900_000)}`), "gzip");
    assert.equal(await encodingOf(`4${randomBytes(450_000).toString("hex")}`), "gzip");
    assert.equal(await encodingOf(`b${randomBytes(600_000).toString("base64")}`), "gzip");
    assert.equal(await encodingOf(`4${"日本語 👍🏽 ".repeat(20_000)}`), "gzip");
  });

  test("compressed answers one after the other, 50 of them, in order", async () => {
    const session = await Polling.open(server);
    for (let i = 0; i < 50; i++) {
      const packet = `4${i}-${xs(LIMIT + 37 * i)}`;
      assert.deepEqual(await echoed(session, [packet], { "accept-encoding": i % 2 ? "gzip" : "deflate" }), { encoding: i % 2 ? "gzip" : "deflate", text: packet });
    }
  });
});

describe("what is never compressed", () => {
  test("answers to POSTs, whatever they accept", async () => {
    const session = await Polling.open(server);
    const answer = await session.post(`4${xs(5000)}`, { headers: { ...GZIP, "content-type": "text/plain" } });
    assert.deepEqual([answer.status, answer.text, answer.headers["content-encoding"], answer.headers["content-length"]], [200, "ok", undefined, "2"]);
  });

  test("errors, long ones too", async () => {
    for (const [path, status] of [
      [`/engine.io/?EIO=4&transport=polling&sid=${xs(3000)}`, 400], ["/engine.io/?EIO=4&transport=tobi", 400],
      ["/engine.io/?EIO=4&transport=polling&forbid=1", 403], ["/elsewhere", 404],
    ]) {
      const answer = await http(server, { path, headers: { "accept-encoding": "gzip, deflate" } });
      assert.deepEqual([answer.status, answer.headers["content-encoding"]], [status, undefined], path);
      if (status !== 404) assert.ok(JSON.parse(answer.text).message);
    }
  });
});

describe("compress, the flag of an emit", () => {
  /** What a polling client finds when these emits have been made for it, in one payload. */
  async function mixed(t, emits, headers = GZIP) {
    const by = await client(t, server, "/rc");
    const session = await pollingSocket(server, "/rc");
    for (const [size, compress] of emits) {
      const flags = compress === undefined ? {} : { compress };
      await ask(by, "emit", { to: session.socketId, event: "e", args: [xs(size)], flags });
    }
    const { encoding, text } = read(await session.get({ headers }));
    assert.deepEqual(text.split(SEPARATOR), emits.map(([size]) => `42/rc,["e","${xs(size)}"]`));
    return encoding;
  }

  for (const [what, emits, encoding] of [
    ["not given", [[2000]], "gzip"],
    ["true", [[2000, true]], "gzip"],
    ["false", [[2000, false]], undefined],
    ["false for all of a payload", [[2000, false], [10, false], [3000, false]], undefined],
    ["false, and a small packet without it", [[2000, false], [1]], "gzip"],
    ["false, and a small packet with true before", [[1, true], [2000, false]], "gzip"],
    ["false for a small one, the large one without", [[1, false], [2000]], "gzip"],
    ["true, but too small", [[10, true], [20, true]], undefined],
  ]) {
    test(`${what}: ${encoding ?? "none"}`, async (t) => assert.equal(await mixed(t, emits), encoding));
  }

  test("true compresses nothing for a client that accepts nothing", async (t) => {
    assert.equal(await mixed(t, [[2000, true]], {}), undefined);
  });

  test("to the asking socket itself, while its poll waits", async () => {
    for (const [flags, encoding] of [[{ compress: false }, undefined], [{ compress: true }, "gzip"], [{}, "gzip"]]) {
      const session = await pollingSocket(server, "/rc");
      const answer = session.get({ headers: GZIP });
      await sleep(100); // no event tells that a poll has arrived
      await session.send(`42/rc,${JSON.stringify(["emit", { target: "socket", event: "e", args: [xs(2000)], flags }])}`);
      const { encoding: found, text } = read(await answer);
      assert.deepEqual([found, text.split(SEPARATOR)[0]], [encoding, `42/rc,["e","${xs(2000)}"]`]);
    }
  });

  test("the next emit is not concerned", async (t) => {
    const by = await client(t, server, "/rc");
    const session = await pollingSocket(server, "/rc");
    const emit = (flags) => ask(by, "emit", { to: session.socketId, event: "e", args: [xs(2000)], flags });
    for (const [flags, encoding] of [[{ compress: false }, undefined], [{}, "gzip"], [{ compress: false }, undefined], [{ compress: true }, "gzip"]]) {
      await emit(flags);
      assert.equal(read(await session.get({ headers: GZIP })).encoding, encoding);
    }
  });

  test("broadcasts to a room, each member on its own transport", async (t) => {
    const by = await client(t, server, "/rc", { auth: { room: "c" } });
    const sessions = await Promise.all([pollingSocket(server, "/rc", { room: "c" }), pollingSocket(server, "/rc", { room: "c" })]);
    for (const [compress, encoding] of [[false, undefined], [true, "gzip"]]) {
      await ask(by, "emit", { to: "c", event: "e", args: [xs(2000)], flags: { compress } });
      const [one, two] = await Promise.all([sessions[0].get({ headers: GZIP }), sessions[1].get()]);
      assert.deepEqual(read(one), { encoding, text: `42/rc,["e","${xs(2000)}"]` });
      assert.deepEqual(read(two), { encoding: undefined, text: `42/rc,["e","${xs(2000)}"]` });
    }
  });

  test("a binary event: the flag holds for its attachments", async (t) => {
    const by = await client(t, server, "/rc");
    for (const [compress, encoding] of [[false, undefined], [true, "gzip"]]) {
      const session = await pollingSocket(server, "/rc");
      const data = Buffer.alloc(3000, 7);
      await ask(by, "emit", { to: session.socketId, event: "e", args: [data], flags: { compress } });
      const { encoding: found, text } = read(await session.get({ headers: GZIP }));
      assert.equal(found, encoding);
      assert.deepEqual(text.split(SEPARATOR), ['451-/rc,["e",{"_placeholder":true,"num":0}]', `b${data.toString("base64")}`]);
    }
  });

  test("an emit that wants an ack", async (t) => {
    const by = await client(t, server, "/rc");
    for (const [compress, encoding] of [[false, undefined], [true, "gzip"]]) {
      const session = await pollingSocket(server, "/rc");
      const asked = ask(by, "emit", { to: session.socketId, event: "e", args: [xs(2000)], ack: true, flags: { compress, timeout: 8000 } });
      const { encoding: found, text } = read(await session.get({ headers: GZIP }));
      assert.equal(found, encoding);
      const [, id] = /^42\/rc,(\d+)\["e"/.exec(text);
      await session.send(`43/rc,${id}["mine"]`);
      assert.deepEqual(await asked, { err: null, responses: ["mine"] });
    }
  });

  test("acks are compressed", async () => {
    const session = await pollingSocket(server, "/rc");
    await session.send(`42/rc,1${JSON.stringify(["blob", { size: 40_000 }])}`);
    const { encoding, text } = read(await session.get({ headers: GZIP }));
    assert.equal(encoding, "gzip");
    assert.equal(JSON.parse(text.slice("43/rc,1".length))[0].ok.length, 40_000);
  });

  test("a WebSocket client of the same broadcast gets it as ever", async (t) => {
    const by = await client(t, server, "/rc", { auth: { room: "w" } });
    const other = await client(t, server, "/rc", { auth: { room: "w" } });
    await ask(by, "emit", { to: "w", event: "e", args: [xs(5000)], flags: { compress: false } });
    for (const socket of [by, other]) assert.deepEqual(await socket.inbox.take(([event]) => event === "e"), ["e", xs(5000)]);
  });
});

describe("HTTP_COMPRESSION=0", () => {
  const plain = useServer({ HTTP_COMPRESSION: "0" });
  test("nothing is compressed, flag or not, on either endpoint", async (t) => {
    const session = await Polling.open(plain);
    await session.send(`4${xs(50_000)}`);
    assert.deepEqual(read(await session.get({ headers: { "accept-encoding": "gzip, deflate" } })), { encoding: undefined, text: `4${xs(50_000)}` });
    const by = await client(t, plain, "/rc");
    const socket = await pollingSocket(plain, "/rc");
    await ask(by, "emit", { to: socket.socketId, event: "e", args: [xs(2000)], flags: { compress: true } });
    assert.equal(read(await socket.get({ headers: GZIP })).encoding, undefined);
  });
});

describe("Engine.IO 3", () => {
  const old = useServer({ ALLOW_EIO3: "1" });
  test("text and binary payloads are compressed likewise", async () => {
    const open = await http(old, { path: "/engine.io/?EIO=3&transport=polling&b64=1" });
    const { sid } = JSON.parse(/\{[^}]*\}/.exec(open.text)[0]);
    const path = `/engine.io/?EIO=3&transport=polling&b64=1&sid=${sid}`;
    await http(old, { method: "POST", path, body: `3001:4${xs(3000)}`, headers: { "content-type": "text/plain;charset=UTF-8" } });
    assert.deepEqual(read(await http(old, { path, headers: GZIP })), { encoding: "gzip", text: `3001:4${xs(3000)}` });

    const binaryOpen = await http(old, { path: "/engine.io/?EIO=3&transport=polling" });
    const binarySid = JSON.parse(/\{[^}]*\}/.exec(binaryOpen.text)[0]).sid;
    const data = Buffer.alloc(3000, 7);
    const binaryPath = `/engine.io/?EIO=3&transport=polling&sid=${binarySid}`;
    const packet = `b4${data.toString("base64")}`;
    await http(old, { method: "POST", path: binaryPath, body: `${packet.length}:${packet}`, headers: { "content-type": "text/plain;charset=UTF-8" } });
    const answer = await http(old, { path: binaryPath, headers: GZIP });
    assert.deepEqual([answer.status, answer.headers["content-encoding"], answer.headers["content-type"]], [200, "gzip", "application/octet-stream"]);
    // <1 = binary><3><0><0><1><0xff = end of the length><4 = message>
    assert.deepEqual(gunzipSync(answer.bytes), Buffer.concat([Buffer.from([1, 3, 0, 0, 1, 255, 4]), data]));
  });
});
