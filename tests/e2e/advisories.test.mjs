// Each advisory of Socket.IO servers and of what they are built on, as a test of its name: only the client that sends such input
// is closed or refused, memory stays bounded, and a healthy client is answered all along. (CVE-2025-61765, pickled messages on the
// bus, is about clusters; what clients of a foreign origin may do, CVE-2020-28481, is tested with the option `cors`.)
import { randomBytes } from "node:crypto";
import {
  test, greenroomOnly, assert, describe, useServer, startServer, Raw, Tcp, tcpSession, wsFrame, OP, http, Polling, Ws, upgradeRequest, until, within, ask, engineWs,
} from "./support.mjs";
import { beside as besideOn, MB } from "./beside.mjs";

const server = useServer();
const beside = (t, attack, { on = server, ...options } = {}) => besideOn(t, on, attack, { growth: 100 * MB, ...options });
const places = (count) => Array.from({ length: count }, (_, num) => `{"_placeholder":true,"num":${num}}`).join();

/** Each of these packets, from a client of its own, closes that client and nobody else. */
async function eachCloses(t, packets, nsp = "/rc") {
  await beside(t, async () => {
    for (const list of packets) {
      const raw = await Raw.connect(t, server, nsp);
      raw.send(...[list].flat());
      await raw.expectClosed().catch((error) => { throw new Error(`${list}: ${error.message}`); });
    }
  });
}

describe("packets", () => {
  test("CVE-2026-33151: a huge number of attachments", (t) => eachCloses(t,
    ["11", "1000000", "4294967296", "18446744073709551616", "9".repeat(300)].map((count) => `5${count}-/rc,["echo",${places(1)}]`)));

  test("CVE-2026-69185: packets that are never completed", (t) => beside(t, async () => {
    for (let i = 0; i < 50; i++) {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(`510-/rc,["no-ack",${places(10)}]`);
      for (let k = 0; k < 9; k++) raw.send(Buffer.alloc(50_000));
      raw.send("2text where an attachment is due");
      await raw.expectClosed();
    }
  }));

  test("GHSA-55mf-67qm-4wpg: attachments of clients that have joined nothing", (t) => beside(t, async () => {
    for (let i = 0; i < 20; i++) {
      const raw = await Raw.connect(t, server);
      raw.send(`510-/rc,["no-ack",${places(10)}]`);
      for (let k = 0; k < 10; k++) raw.send(Buffer.alloc(200_000));
      await raw.expectClosed();
    }
    const raw = await Raw.connect(t, server);
    raw.send(`51-/rc,["no-ack",${places(1)}]`);
    raw.ws.send(Buffer.alloc(1_000_001));
    assert.equal(await raw.ws.closeCode(), 1009);
  }));

  test("CVE-2022-2421: placeholders that name no attachment", (t) => eachCloses(t,
    ['"splice"', '"__proto__"', '"length"', "-1", "1", "1e9", "null", "{}"].map((num) =>
      [`51-/rc,["echo",{"_placeholder":true,"num":${num}}]`, Buffer.from([1])])));

  test("CVE-2023-32695: names of events that are no names, and other packets that are none", (t) => eachCloses(t,
    ['2/rc,[{"toString":"foo"}]', '2/rc,[null,"bar"]', "2/rc,[true]", "2/rc,[[]]", "2/rc,{}", '2/rc,["connect"]', '2/rc,["disconnect"]', "0[]", "1/rc,{}", "51.23-", "5a-", "5-", "999", "2/rc,[", "z", "4"]));

  test("CVE-2024-38355: an event named error, and a packet that only servers send", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server, "/");
    raw.send('2["error"]', '2["error",{"message":"x"}]', '20["error"]');
    raw.send('21["message-with-ack","alive"]');
    await raw.ws.text('431["alive"]');
    raw.send('44["x"]');
    await raw.ws.closeCode();
  }));

  test("CVE-2020-36049: a packet beyond the limit", (t) => beside(t, async () => {
    for (const data of [`42/rc,["echo","${"x".repeat(1_000_000)}"]`, Buffer.alloc(1_000_001)]) {
      const raw = await Raw.connect(t, server, "/rc");
      raw.ws.send(data);
      assert.equal(await raw.ws.closeCode(), 1009);
    }
  }));
});

describe("requests", () => {
  test("CVE-2020-36048: a very large POST", (t) => beside(t, async () => {
    for (let i = 0; i < 10; i++) {
      const session = await Polling.open(server);
      const tcp = await Tcp.connect(t, server);
      tcp.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
      for (let k = 0; k < 20; k++) tcp.write(Buffer.concat([Buffer.from("186a0\r\n"), Buffer.alloc(100_000, 0x78), Buffer.from("\r\n")]));
      assert.equal((await tcp.head()).status, 413);
      tcp.socket.destroy();
    }
  }));

  test("CVE-2022-21676: raw bytes right after the handshake", (t) => beside(t, async () => {
    const { sid } = await Polling.open(server);
    for (const query of ["", `&sid=${sid}`]) {
      for (const bytes of [[0xb1, 0x80, 0, 0, 0, 0], [0xa1, 0x80, 0, 0, 0, 0], [0x91, 0x80, 0, 0, 0, 0], [0xff, 0xff, 0xff], [0xff, ...randomBytes(500)]]) {
        const tcp = await Tcp.connect(t, server);
        tcp.write(Buffer.concat([Buffer.from(upgradeRequest(server, `/engine.io/?EIO=4&transport=websocket${query}`)), Buffer.from(bytes)]));
        await within(tcp.ended, "the end of that client");
      }
    }
  }));

  test("CVE-2022-41940: an invalid upgrade, then a reset", (t) => beside(t, async () => {
    for (let i = 0; i < 60; i++) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(upgradeRequest(server, `/engine.io/?EIO=4&transport=websocket&sid=${["x", "__proto__", ""][i % 3]}`));
      if (i % 2) await new Promise((done) => setTimeout(done, 2));
      tcp.socket.resetAndDestroy();
      await tcp.closed;
    }
  }));

  for (const transport of ["unknown", "__proto__", "constructor", "toString", ""]) {
    test(`CVE-2023-31125: the transport ${transport || "of no name"} on a WebSocket request`, (t) => beside(t, async () => {
      const tcp = await Tcp.connect(t, server);
      tcp.write(upgradeRequest(server, `/engine.io/?EIO=4&transport=${transport}`));
      assert.equal((await tcp.head()).status, 400);
      await tcp.read((bytes) => bytes.includes("Transport unknown") || undefined);
      const answer = await http(server, { path: `/engine.io/?EIO=4&transport=${transport}` });
      assert.deepEqual([answer.status, answer.text], [400, '{"code":0,"message":"Transport unknown"}']);
    }));
  }

  greenroomOnly("CVE-2017-16031: session ids cannot be guessed", "its ids are shorter", async () => {
    const ids = await Promise.all(Array.from({ length: 300 }, async () => (await Polling.open(server)).sid));
    assert.equal(new Set(ids).size, ids.length);
    // Two characters name a worker; the others are 144 random bits in base64, and no two ids share six of them in one place.
    for (const id of ids) assert.match(id, /^[\w-]{26}$/);
    for (let at = 2; at + 6 <= 26; at++) assert.equal(new Set(ids.map((id) => id.slice(at, at + 6))).size, ids.length);
  });

  test("GHSA-5v72-xg48-5rpm, CVE-2021-32640, CVE-2024-37890, RUSTSEC-2023-0065: crafted, many and long headers", (t) => beside(t, async () => {
    for (const headers of [
      { "Sec-WebSocket-Extensions": "constructor" }, { "Sec-WebSocket-Extensions": "__proto__; toString" }, { "Sec-WebSocket-Extensions": `permessage-deflate${"; a".repeat(2500)}` },
      { "Sec-WebSocket-Protocol": `a${" ".repeat(7000)}b` }, { "Sec-WebSocket-Protocol": ",".repeat(5000) }, Object.fromEntries(Array.from({ length: 2100 }, (_, i) => [`X-${i}`, "y"])),
      { "X-Long": "x".repeat(500_000) },
    ]) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(upgradeRequest(server, "/engine.io/?EIO=4&transport=websocket", headers));
      await within(Promise.race([tcp.head().catch(() => {}), tcp.ended]), "an answer");
      tcp.socket.destroy();
    }
  }));
});

describe("frames", () => {
  for (const [title, payload] of [["one byte", "x"], ["nothing (actix-extras #651)", ""]]) {
    test(`CVE-2026-48779: endless fragments of ${title}`, (t) => beside(t, async () => {
      const tcp = await tcpSession(t, server);
      tcp.write(wsFrame("4", { fin: false }));
      const many = Buffer.concat(Array.from({ length: 20_000 }, () => wsFrame(payload, { opcode: OP.continuation, fin: false })));
      for (let i = 0; i < 5 && !tcp.done; i++) tcp.write(many);
      assert.equal(await tcp.closeCode(), 1008);
    }, { growth: 30 * MB }));
  }

  test("CVE-2016-10542: a giant message is refused when it is announced", (t) => beside(t, async () => {
    for (const length of [1_000_001, 2 ** 31, 2 ** 40, 2 ** 53]) {
      const tcp = await tcpSession(t, server);
      tcp.write(wsFrame("", { opcode: OP.binary, length }));
      assert.equal(await tcp.closeCode(), 1009);
    }
  }, { growth: 30 * MB }));

  test("CVE-2016-10518, CVE-2026-45736: what is answered is what was sent, and nothing beside it", (t) => beside(t, async () => {
    const tcp = await tcpSession(t, server);
    for (let length = 0; length <= 125; length++) {
      const payload = randomBytes(length);
      tcp.write(wsFrame(payload, { opcode: OP.ping }));
      const { opcode, payload: answer } = await tcp.frame();
      assert.deepEqual([opcode, answer], [OP.pong, payload]);
    }
    // A close frame that announces more than it has is waited for, and answered with nothing that was not sent.
    tcp.write(wsFrame(Buffer.from([3, 0xe8]), { opcode: OP.close }));
    const { opcode, payload } = await tcp.frame();
    assert.deepEqual([opcode, [...payload]], [OP.close, [3, 0xe8]]);
  }));
});

describe("sessions", () => {
  test("socketioxide #731: upgrades that are begun and never finished", async (t) => {
    const own = await startServer(t, { UPGRADE_TIMEOUT: "300", PING_INTERVAL: "400", PING_TIMEOUT: "300" });
    await beside(t, async (healthy) => {
      const sockets = await Promise.all(Array.from({ length: 60 }, async (_, i) => {
        const session = await Polling.open(own, { path: "/socket.io/" });
        const ws = await Ws.open(t, own, session.path.replace("polling", "websocket"));
        if (i % 2) ws.send("2probe");
        return ws;
      }));
      await Promise.all(sockets.map((ws) => within(ws.closed, "end of an upgrade")));
      await until(() => ask(healthy, "counts"), (counts) => counts.engine === 1, "sessions");
    }, { on: own });
  });

  test("CVE-2026-69185: a message that goes on for ever ends with the ping timeout", async (t) => {
    const own = await startServer(t, { PING_INTERVAL: "300", PING_TIMEOUT: "300" });
    const tcp = await tcpSession(t, own);
    tcp.write(wsFrame("", { opcode: OP.binary, length: 900_000 }));
    // It cannot answer a ping in the middle of a message.
    const dripping = setInterval(() => tcp.write("x"), 10);
    t.after(() => clearInterval(dripping));
    assert.equal(await tcp.closeCode(), 1005);
  });

  test("engineioxide 0.17.4: malformed payloads of revision 3", async (t) => {
    const own = await startServer(t, { ALLOW_EIO3: "1" });
    await beside(t, async () => {
      for (const [body, type] of [
        ["", "text/plain"], [":", "text/plain"], ["1", "text/plain"], ["0:", "text/plain"], ["-1:4", "text/plain"], ["99999999999999999999:4x", "text/plain"], ["1:4:", "text/plain"],
        ["3:4é", "text/plain"], ["2:b", "text/plain"], ["6:b4!!!!", "text/plain"], [Buffer.from([0]), "application/octet-stream"], [Buffer.from([0, 255]), "application/octet-stream"],
        [Buffer.from([1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 255]), "application/octet-stream"], [Buffer.from([0, 1, 255]), "application/octet-stream"],
        [Buffer.from([2, 1, 255, 0x34]), "application/octet-stream"], [Buffer.alloc(50_000, 9), "application/octet-stream"], ["1:".repeat(20_000), "text/plain"],
      ]) {
        const opened = await http(own, { path: "/engine.io/?EIO=3&transport=polling" });
        const sid = /"sid":"([^"]+)"/.exec(opened.text)[1];
        const answer = await http(own, { method: "POST", path: `/engine.io/?EIO=3&transport=polling&sid=${sid}`, headers: { "content-type": type }, body });
        assert.ok([200, 400].includes(answer.status), `${body}: ${answer.status}`);
      }
      const ws = await engineWs(t, own);
      ws.send("4after");
      assert.equal(await ws.next(), "4after");
    }, { on: own });
  });
});
