// Bad input, as in the advisories (users.md 2.5): bounded, only that client is closed, a healthy one is still answered.
import { randomBytes } from "node:crypto";
import {
  test, greenroomOnly, assert, describe, useServer, startServer, client, ask, call, Raw, Tcp, tcpSession, wsFrame, OP, http,
  Polling, pollingSocket, Ws, upgradeRequest, until, within, sleep, engineWs,
} from "./support.mjs";
import { beside as besideOn, MB } from "./beside.mjs";

const server = useServer();
/** Runs `attack` beside a healthy client that must be answered all along. */
const beside = (t, attack, { on = server, ...options } = {}) => besideOn(t, on, attack, options);

describe("attachments (CVE-2026-33151, CVE-2022-2421, GHSA-55mf-67qm-4wpg)", () => {
  test("huge counts close the connection at once", (t) => beside(t, async () => {
    for (const count of ["11", "4294967296", "18446744073709551616", "9".repeat(400), "1e3", "0x10", "+5", " 5", "-3", "10.5", "1.0e999"]) {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(`5${count}-/rc,["echo",{"_placeholder":true,"num":0}]`);
      if (/^[-\d.]+$/.test(count)) await raw.expectClosed();
      else raw.ws.socket.terminate();
    }
  }));
  test("attachments that never come: the client may wait, nobody else does", (t) => beside(t, async () => {
    for (let i = 0; i < 20; i++) {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(`510-/rc,["no-ack",${Array.from({ length: 10 }, (_, k) => `{"_placeholder":true,"num":${k}}`).join()}]`);
      for (let k = 0; k < 9; k++) raw.send(Buffer.alloc(100_000));
    }
    await sleep(100);
  }));
  test("placeholders of every wrong kind", (t) => beside(t, async () => {
    for (const num of ['"splice"', '"__proto__"', '"0"', "-1", "1", "1e9", "null", "true", "[0]", "{}"]) {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(`51-/rc,["echo",{"_placeholder":true,"num":${num}}]`, Buffer.from([1]));
      await raw.expectClosed();
    }
  }));
  test("a million placeholders for one attachment", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send(`51-/rc,["no-ack",${Array.from({ length: 25_000 }, () => '{"_placeholder":true,"num":0}').join()}]`, Buffer.alloc(100_000));
    await raw.expectAlive().catch(() => raw.ws.closed);
  }));
});

describe("packets", () => {
  test("random text and random bytes, 300 clients", (t) => beside(t, async () => {
    for (let i = 0; i < 300; i += 10) {
      await Promise.all(Array.from({ length: 10 }, async (_, k) => {
        const ws = await engineWs(null, server, { path: "/socket.io/" });
        ws.send("40/rc,");
        const noise = randomBytes(1 + ((i + k) % 60));
        ws.send(k % 3 === 0 ? noise : k % 3 === 1 ? `4${noise.toString("latin1")}` : `42/rc,${noise.toString("base64")}`);
        ws.send(`4${"0123456"[k % 7]}${noise.toString("hex")}`);
        ws.socket.close();
        await ws.closed;
      }));
    }
  }));
  test("an event named error in the main namespace (CVE-2024-38355)", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server, "/");
    raw.send('2["error"]', '2["error",{"message":"x"}]', '20["error"]', '2["error",null,1]');
    raw.send('21["message-with-ack","alive"]');
    await raw.ws.text('431["alive"]');
    raw.send('44["x"]');
    await raw.ws.closeCode();
  }));
  greenroomOnly("an event named error on the remote control", "the listener of the reference testbed throws", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,["error"]', '2/rc,1["error",null]', '2/rc,["error",{"message":"x"}]');
    await raw.expectAlive();
  }));
  greenroomOnly("calls for an ack that nobody asked for", "the listeners of the reference testbed throw", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,["ack-twice",1]', '2/rc,["ack-twice"]', '2/rc,["ack-later",1,2]', '2/rc,["ack-later"]', '2/rc,1["ack-twice"]', '2/rc,["bye"]');
    assert.ok(await raw.next());
  }));
  greenroomOnly("strange parameters of operations get an answer", "the reference answers some only by chance", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server, "/rc");
    const STRANGE = ["x", 5, null, true, [], [[]], [1, null], {}, { a: 1 }, -1, 1e300, ""];
    let id = 0;
    const keys = {
      join: "rooms", leave: "room", emit: "event", emitWithAck: "event", socketsJoin: "rooms", socketsLeave: "rooms", data: "set", disconnectOther: "id", listen: "event",
      unlisten: "event", roomLog: "nsp", disconnectLog: "id", counts: "nsp", roomSizes: "nsp",
    };
    for (const [operation, key] of Object.entries(keys)) {
      for (const value of STRANGE) {
        for (const params of [{ [key]: value }, value, { to: value, [key]: "x" }, { target: value, [key]: "x" }, { flags: value, [key]: "x" }]) {
          if (operation.startsWith("emitWithAck")) continue; // may wait for an answer
          raw.send(`2/rc,${++id}${JSON.stringify([operation, params])}`);
          await raw.ws.text(`43/rc,${id}[`);
        }
      }
    }
  }));
  greenroomOnly("nesting 100,000 deep", "the reference overflows its stack in an ack", (t) => beside(t, async () => {
    for (const [open, close] of [["[", "]"], ['{"a":', "}"]]) {
      for (const head of ["2/rc,1", "2/rc,", "51-/rc,"]) {
        const raw = await Raw.connect(t, server, "/rc");
        raw.send(`${head}["echo",${open.repeat(100_000)}1${close.repeat(100_000)}]`);
        if (head[0] === "5") raw.send(Buffer.from([1]));
        await Promise.race([raw.ws.closed, raw.next().catch(() => {})]);
      }
      const raw = await Raw.connect(t, server);
      raw.send(`0{"a":${open.repeat(100_000)}1${close.repeat(100_000)}}`);
      await Promise.race([raw.ws.closed, raw.next().catch(() => {})]);
    }
  }));
  greenroomOnly("numbers that no double holds", "the reference turns them into null or Infinity", (t) => beside(t, async () => {
    for (const packet of ['2/rc,1["echo",1e400]', '2/rc,1["echo",-1e999999]', `2/rc,1["echo",${"9".repeat(5000)}]`, `2/rc,${"9".repeat(400)}["echo",1]`, `3/rc,${"9".repeat(400)}[]`,
      '2/rc,18446744073709551616["echo",1]']) {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(packet, '2/rc,5["echo","next"]');
      await Promise.race([raw.ws.closed, raw.ws.text('43/rc,5["next"]').catch(() => {})]);
    }
  }));
  test("names of namespaces of 500 kB, and 3000 unknown ones", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server);
    raw.send(`0/${"n".repeat(500_000)},`);
    assert.ok((await raw.next()).startsWith("44/nnn"));
    for (let i = 0; i < 3000; i++) raw.send(`0/unknown-${i},{"a":1}`);
    for (let i = 0; i < 3000; i++) assert.equal(await raw.next(), `44/unknown-${i},{"message":"Invalid namespace"}`);
  }));
  test("50,000 acks that nobody waits for, 50,000 events that nobody hears", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server, "/rc");
    for (let i = 0; i < 50_000; i++) raw.send(`3/rc,${i}[1]`, '2/rc,["nobody"]');
    await raw.ask("/rc", "info");
  }));
  test("event names from the prototypes", (t) => beside(t, async () => {
    const raw = await Raw.connect(t, server, "/rc");
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "on", "isPrototypeOf"]) raw.send(`2/rc,["${name}",1]`, `2/rc,9["${name}"]`);
    await raw.expectAlive();
  }));
});

describe("WebSocket (CVE-2022-21676, CVE-2022-41940, CVE-2026-48779, CVE-2016-10542)", () => {
  test("raw bytes after the handshake, with and without a sid", (t) => beside(t, async () => {
    const { sid } = await Polling.open(server);
    for (const query of ["", "", `&sid=${sid}`, `&sid=${sid}`]) {
      for (const bytes of [Buffer.from([0xb1, 0x80, 0, 0, 0, 0]), Buffer.from("\n\nGET / HTTP/1.1\r\n\r\n"), randomBytes(3000), Buffer.alloc(3000, 0xff)]) {
        const tcp = await Tcp.connect(t, server);
        tcp.write(Buffer.concat([Buffer.from(upgradeRequest(server, `/engine.io/?EIO=4&transport=websocket${query}`)), bytes]));
        await tcp.ended;
      }
    }
  }));
  test("invalid upgrades, then a reset", (t) => beside(t, async () => {
    for (let i = 0; i < 60; i++) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(upgradeRequest(server, `/engine.io/?EIO=${i % 2 ? 4 : 2}&transport=${["websocket", "polling", "__proto__", "%00"][i % 4]}${i % 3 ? "" : "&sid=x"}`,
        i % 5 ? {} : { "Sec-WebSocket-Key": "x" }));
      if (i % 2) await sleep(2);
      tcp.socket.resetAndDestroy();
    }
  }));
  test("a frame announced with 2^40 bytes is refused, not collected", (t) => beside(t, async () => {
    const tcp = await tcpSession(t, server);
    tcp.write(wsFrame("", { opcode: OP.binary, length: 2 ** 40 }));
    assert.equal(await tcp.closeCode(), 1009);
  }));
  test("200,000 empty continuations", (t) => beside(t, async () => {
    const tcp = await tcpSession(t, server);
    tcp.write(wsFrame("4", { fin: false }));
    const many = Buffer.concat(Array.from({ length: 10_000 }, () => wsFrame("", { opcode: OP.continuation, fin: false })));
    for (let i = 0; i < 20 && !tcp.done; i++) {
      tcp.write(many);
      await sleep(5);
    }
  }));
  test("300,000 continuations of one byte", (t) => beside(t, async () => {
    const tcp = await tcpSession(t, server);
    tcp.write(wsFrame("4", { fin: false }));
    const many = Buffer.concat(Array.from({ length: 10_000 }, () => wsFrame("x", { opcode: OP.continuation, fin: false })));
    for (let i = 0; i < 30 && !tcp.done; i++) {
      tcp.write(many);
      await sleep(5);
    }
  }));
  test("20,000 pings whose pongs nobody reads", (t) => beside(t, async () => {
    const tcp = await tcpSession(t, server);
    tcp.socket.pause();
    for (let i = 0; i < 200 && !tcp.done; i++) {
      tcp.write(Buffer.concat(Array.from({ length: 100 }, () => wsFrame("p".repeat(125), { opcode: OP.ping }))));
      await sleep(1);
    }
  }));
  test("crafted headers", (t) => beside(t, async () => {
    for (const headers of [
      { "Sec-WebSocket-Extensions": `permessage-deflate${"; a".repeat(2500)}` }, { "Sec-WebSocket-Extensions": `${"\t ".repeat(4000)}x` },
      { "Sec-WebSocket-Extensions": '";'.repeat(3000) }, { "Sec-WebSocket-Protocol": `a${" ".repeat(7000)}b` }, { "Sec-WebSocket-Protocol": ",".repeat(5000) },
      { "Sec-WebSocket-Key": "A".repeat(5000) }, { Upgrade: "websocket, ".repeat(500) }, { Connection: "Upgrade, ".repeat(700) },
    ]) {
      const tcp = await Tcp.connect(t, server);
      const begin = Date.now();
      tcp.write(upgradeRequest(server, "/engine.io/?EIO=4&transport=websocket", headers));
      await tcp.head();
      assert.ok(Date.now() - begin < 1500);
    }
  }));
  test("a million bytes of headers; thousands of headers", (t) => beside(t, async () => {
    for (const headers of [{ "X-Large": "x".repeat(1_000_000) }, Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`X-${i}`, "y"]))]) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(upgradeRequest(server, "/engine.io/?EIO=4&transport=websocket", headers));
      await Promise.race([tcp.head(), tcp.ended]);
      tcp.socket.destroy();
    }
  }));
});

describe("HTTP (CVE-2020-36048, CVE-2023-31125)", () => {
  greenroomOnly("a POST announced as 1 TB is refused before it comes", "the reference waits for the bytes", (t) => beside(t, async () => {
    const session = await Polling.open(server);
    const tcp = await Tcp.connect(t, server);
    tcp.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n`);
    assert.equal((await tcp.head()).status, 413);
    tcp.socket.destroy();
    await session.expectAlive();
  }));
  test("a body that never ends", (t) => beside(t, async () => {
    const session = await Polling.open(server);
    const tcp = await Tcp.connect(t, server);
    tcp.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const chunk = Buffer.concat([Buffer.from("186a0\r\n"), Buffer.alloc(100_000, 0x78), Buffer.from("\r\n")]);
    for (let i = 0; i < 15; i++) tcp.write(chunk);
    assert.equal((await tcp.head()).status, 413);
    for (let i = 0; i < 200 && !tcp.done; i++) {
      tcp.write(chunk);
      await sleep(1);
    }
    tcp.socket.destroy();
  }));
  test("many packets in one body", (t) => beside(t, async () => {
    const session = await pollingSocket(server);
    const answer = await session.post(Array.from({ length: 60_000 }, () => "42/rc,[1]").join("\x1e"));
    assert.equal(answer.text, "ok");
    const separators = await Polling.open(server);
    await separators.post("\x1e".repeat(900_000));
    await separators.expectGone();
  }));
  test("malformed chunks, lengths and versions", (t) => beside(t, async () => {
    const session = await Polling.open(server);
    for (const [head, body] of [
      ["Transfer-Encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n"], ["Transfer-Encoding: chunked", "ffffffffffffffffff\r\n"], ["Content-Length: -5", "4x"],
      ["Content-Length: 5x", "4xxxx"], ["Content-Length: 3\r\nContent-Length: 4", "4xxx"], ["Transfer-Encoding: gzip", "4x"], ["Content-Length: 18446744073709551616", "4"],
    ]) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n${body}`);
      await Promise.race([tcp.head(), tcp.ended, sleep(200)]);
      tcp.socket.destroy();
    }
    for (const line of ["GET / HTTP/9.9", "G\x00ET / HTTP/1.1", "GET", "\r\n\r\n\r\n", "PRI * HTTP/2.0", "GET /engine.io/?EIO=4&transport=polling HTTP/1.0"]) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(`${line}\r\n\r\n`);
      await Promise.race([tcp.ended, sleep(100)]);
      tcp.socket.destroy();
    }
  }));
  test("strange queries", (t) => beside(t, async () => {
    for (const query of ["?", "?&&&===", `?${"a=1&".repeat(1500)}`, `?x=${"%41".repeat(2000)}`, "?EIO=4&transport=polling&__proto__=1&constructor=2&toString=3",
      "?EIO=4&transport=polling&sid[]=x", "?EIO[]=4&transport[]=polling", "?EIO=4&transport=polling&x=%f0%9f%92"]) {
      const answer = await http(server, { path: `/engine.io/${query}` });
      assert.ok([200, 400].includes(answer.status), `${query}: ${answer.status}`);
    }
    for (const target of ["/engine.io/?x=\xff\xfe", "/engine.io/?EIO=4&transport=polling&y=é", "/engine.io/../../etc/passwd", "http://other/engine.io/?EIO=4&transport=polling", "*"]) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(Buffer.from(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`, "latin1"));
      await tcp.ended;
    }
  }));
});

describe("clients that hold on (sox#731)", () => {
  test("sessions and upgrades that are abandoned are forgotten", async (t) => {
    const own = await startServer(t, { PING_INTERVAL: "1000", PING_TIMEOUT: "1500", UPGRADE_TIMEOUT: "60000", CONNECT_TIMEOUT: "60000" });
    await beside(t, async (healthy) => {
      const sockets = [];
      await Promise.all(Array.from({ length: 60 }, async (_, i) => {
        const session = await Polling.open(own, { path: "/socket.io/" });
        if (i % 3 === 0) return;
        const ws = await Ws.open(t, own, session.path.replace("polling", "websocket"));
        if (i % 3 === 2) ws.send("2probe");
        sockets.push(ws);
      }));
      await until(() => ask(healthy, "counts"), (c) => c.engine === 1, "sessions");
      await Promise.all(sockets.map((ws) => within(ws.closed, "end of an abandoned upgrade")));
    }, { on: own });
  });

  greenroomOnly("a WebSocket that reads nothing is closed for being slow, and told so", "the reference has no such bound", { timeout: 60000 }, async (t) => {
    const own = await startServer(t);
    const slow = await Raw.connect(t, own, "/rc2", { room: "flood" });
    const fast = await Raw.connect(t, own, "/rc2", { room: "flood" });
    let heard = 0;
    fast.inbox.push = () => heard++;
    slow.ws.socket._socket.pause();
    await beside(t, async (healthy) => {
      const publisher = await client(t, own, "/rc2");
      const text = "z".repeat(200_000);
      let gone = [];
      let sent = 0;
      for (; sent < 1500 && gone.length < 2; sent++) {
        await ask(publisher, "emit", { to: "flood", event: "e", args: [text] });
        gone = await ask(healthy, "disconnectLog", { nsp: "/rc2", id: slow.id });
      }
      assert.ok(gone.length === 2, "300 MB were kept for a client that reads nothing");
      await until(() => heard, (n) => n === sent, "messages of the one that reads");
      slow.ws.socket._socket.resume();
      assert.ok([1008, 1013].includes(await slow.ws.closeCode()), "closed without the reason");
      assert.match(own.stderr, /slow/);
    }, { on: own, growth: 200 * MB });
  });

  greenroomOnly("a session that never polls is bounded too", "the reference has no such bound", { timeout: 60000 }, async (t) => {
    const own = await startServer(t);
    const lazy = await pollingSocket(own, "/rc2", { room: "flood" });
    await beside(t, async (healthy) => {
      const publisher = await client(t, own, "/rc2");
      const text = "z".repeat(200_000);
      let gone = [];
      for (let i = 0; i < 1500 && gone.length < 2; i++) {
        await ask(publisher, "emit", { to: "flood", event: "e", args: [text] });
        gone = await ask(healthy, "disconnectLog", { nsp: "/rc2", id: lazy.socketId });
      }
      assert.ok(gone.length === 2, "300 MB were kept for a client that does not poll");
    }, { on: own, growth: 200 * MB });
  });
});
