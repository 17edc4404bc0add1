// From polling to WebSocket: the steps, the failures, and data that flows meanwhile (features B3-B7, O6, traps 3.1).
import { Socket as EngineSocket } from "engine.io-client";
import {
  test, greenroomOnly, assert, describe, useServer, http, Polling, Ws, expectEcho, client, ask, farewellReason, pollingSocket, within,
  until, dial, up, upgradeOf, call,
} from "./support.mjs";

const server = useServer();

const probePath = (session) => session.path.replace("transport=polling", "transport=websocket");
const openProbe = (t, session, options) => Ws.open(t, session.server, probePath(session), options);

/** A session that has been upgraded by hand. */
async function upgraded(t, path = "/engine.io/") {
  const session = await Polling.open(server, { path });
  const ws = await openProbe(t, session);
  ws.send("2probe");
  assert.equal(await ws.next(), "3probe");
  ws.send("5");
  return { session, ws };
}

async function expectRefused(t, path) {
  const second = new Ws(server, path);
  t.after(() => second.socket.terminate());
  await within(second.opened, "101");
  await second.expectClosed();
  assert.deepEqual(second.inbox.items, []);
}

describe("steps", { concurrency: 4 }, () => {
  test("probe, upgrade, and messages on the WebSocket", async (t) => {
    const { ws } = await upgraded(t);
    await expectEcho(ws);
    ws.send(Buffer.from([1, 2, 3]));
    assert.deepEqual(await ws.next(), Buffer.from([1, 2, 3]));
  });

  test("no open packet comes on the WebSocket", async (t) => {
    const { ws } = await upgraded(t);
    ws.send("4x");
    assert.equal(await ws.next(), "4x");
  });

  test("after the probe a waiting poll is answered with a noop, again and again", async (t) => {
    const session = await Polling.open(server);
    const poll = await session.hold();
    const ws = await openProbe(t, session);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    assert.equal((await poll.answer).text, "6");
    const begin = Date.now();
    assert.deepEqual(await session.poll(), ["6"]);
    assert.deepEqual(await session.poll(), ["6"]);
    assert.ok(Date.now() - begin < 1000);
    ws.send("5");
    await expectEcho(ws);
  });

  test("before the upgrade packet data still goes through polling", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    await session.send("4via polling");
    assert.deepEqual(await session.receive(1), ["4via polling"]);
    ws.send("5");
    await expectEcho(ws);
  });

  test("what was not polled yet goes out on the WebSocket, in order", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    await session.send("4a", "bAQ==", "4b");
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    await session.send("4c");
    ws.send("5");
    ws.send("4d");
    assert.deepEqual([await ws.next(), await ws.next(), await ws.next(), await ws.next(), await ws.next()],
      ["4a", Buffer.from([1]), "4b", "4c", "4d"]);
  });

  test("a poll that waits when the upgrade packet comes is answered, without data", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    const poll = await session.hold();
    ws.send("5");
    const answer = await poll.answer;
    assert.equal(answer.status, 200);
    assert.ok(["6", "1", ""].includes(answer.text), answer.text);
    await expectEcho(ws);
  });

  test("an upgrade packet without a probe upgrades too", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    ws.send("5");
    await expectEcho(ws);
  });

  test("the WebSocket may come with another order of parameters", async (t) => {
    const session = await Polling.open(server);
    const ws = await Ws.open(t, server, `/engine.io/?sid=${session.sid}&transport=websocket&EIO=4`);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    ws.send("5");
    await expectEcho(ws);
  });
});

describe("seen from Socket.IO", () => {
  test("the transport is polling first, then websocket; sockets, rooms and ids stay", async (t) => {
    const session = await pollingSocket(server, "/rc", { room: "kept" });
    const info = (transport) => JSON.stringify([{ ok: { id: session.socketId, nsp: "/rc", connected: true, recovered: false, transport, protocol: 4 } }]);
    await session.send('42/rc,1["info"]');
    assert.deepEqual(await session.receive(1), [`43/rc,1${info("polling")}`]);
    const ws = await openProbe(t, session);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    await session.send('42/rc,2["info"]');
    assert.deepEqual(await session.receive(1), [`43/rc,2${info("polling")}`]);
    ws.send("5");
    ws.send('42/rc,3["info"]');
    assert.equal(await ws.next(), `43/rc,3${info("websocket")}`);
    ws.send('42/rc,4["rooms"]');
    assert.equal(await ws.next(), '43/rc,4[{"ok":{"self":true,"rooms":["kept"]}}]');
    ws.send('40/rc2,');
    assert.ok((await ws.next()).startsWith('40/rc2,{"sid"'));
  });
});

describe("after the upgrade", { concurrency: 4 }, () => {
  test("polling is refused with code 3, and the session lives", async (t) => {
    const { session, ws } = await upgraded(t);
    await expectEcho(ws);
    for (const method of ["GET", "POST"]) {
      const answer = await http(server, { method, path: session.path });
      assert.deepEqual([answer.status, answer.text], [400, '{"code":3,"message":"Bad request"}']);
    }
    await expectEcho(ws);
  });

  test("a second WebSocket gets 101 and is closed, and the session lives", async (t) => {
    const { session, ws } = await upgraded(t);
    await expectEcho(ws);
    await expectRefused(t, probePath(session));
    await expectEcho(ws);
  });

  test("closing the WebSocket ends the session", async (t) => {
    const { session, ws } = await upgraded(t);
    await expectEcho(ws);
    ws.socket.close();
    await session.expectGone();
  });
});

describe("failed upgrades", { concurrency: 4 }, () => {
  for (const [what, packet] of [
    ["a plain ping", "2"], ["a ping with another text", "2prob"], ["a message", "4hello"], ["a pong", "3probe"], ["a noop", "6"], ["an open packet", "0"],
    ["a close packet", "1"], ["nonsense", "xyz"], ["an empty frame", ""], ["a binary frame", Buffer.from([1])],
  ]) {
    test(`${what}: only the WebSocket is closed, and another attempt succeeds`, async (t) => {
      const session = await Polling.open(server);
      const ws = await openProbe(t, session);
      ws.send(packet);
      await ws.expectClosed();
      assert.deepEqual(ws.inbox.items, []);
      await session.expectAlive();
      const again = await openProbe(t, session);
      again.send("2probe");
      assert.equal(await again.next(), "3probe");
      again.send("5");
      await expectEcho(again);
    });
    test(`${what} after the probe: the same`, async (t) => {
      const session = await Polling.open(server);
      const ws = await openProbe(t, session);
      ws.send("2probe");
      assert.equal(await ws.next(), "3probe");
      ws.send(packet);
      await ws.expectClosed();
      await session.expectAlive();
    });
  }

  test("a protocol violation on the probing WebSocket", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    ws.socket._socket.write(Buffer.from([0xff, 0xff, 1, 2, 3, 4]));
    assert.equal(await ws.closeCode(), 1002);
    await session.expectAlive();
  });

  for (const [what, end] of [["closed", (ws) => ws.socket.close()], ["cut", (ws) => ws.socket.terminate()], ["reset", (ws) => ws.socket._socket.resetAndDestroy()]]) {
    test(`the probing WebSocket is ${what}: polling goes on, another attempt succeeds`, async (t) => {
      const session = await Polling.open(server);
      const ws = await openProbe(t, session);
      ws.send("2probe");
      assert.equal(await ws.next(), "3probe");
      end(ws);
      await ws.closed;
      await session.expectAlive();
      const again = await until(async () => {
        const attempt = await openProbe(t, session);
        attempt.send("2probe");
        return attempt.next().catch(() => "refused").then((answer) => ({ attempt, answer }));
      }, ({ answer }) => answer === "3probe");
      again.attempt.send("5");
      await expectEcho(again.attempt);
    });
  }

  test("a second WebSocket during the upgrade: 101, then closed; the first goes on", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    await expectRefused(t, probePath(session));
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    await expectRefused(t, probePath(session));
    ws.send("5");
    await expectEcho(ws);
  });

  test("several probes on one WebSocket", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    for (let i = 0; i < 3; i++) {
      ws.send("2probe");
      assert.equal(await ws.next(), "3probe");
    }
    ws.send("5");
    await expectEcho(ws);
  });

  test("the session ends during the upgrade: the WebSocket is closed", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    await session.send("1");
    await ws.expectClosed();
    await session.expectGone();
  });

  test("a parse error on polling during the upgrade: both end", async (t) => {
    const session = await Polling.open(server);
    const ws = await openProbe(t, session);
    await session.post("x");
    await ws.expectClosed();
    await session.expectGone();
  });
});

describe("time limit", { concurrency: 4 }, () => {
  const quick = useServer({ UPGRADE_TIMEOUT: "300", PING_INTERVAL: "1000", PING_TIMEOUT: "500" });
  for (const probe of [false, true]) {
    test(`a WebSocket that ${probe ? "stops after the probe" : "stays silent"} is closed, polling goes on`, async (t) => {
      const session = await Polling.open(quick);
      const ws = await openProbe(t, session);
      const begin = Date.now();
      if (probe) {
        ws.send("2probe");
        assert.equal(await ws.next(), "3probe");
      }
      await ws.expectClosed();
      const took = Date.now() - begin;
      assert.ok(took > 240 && took < 1500, `closed after ${took} ms`);
      await session.send("4x");
      assert.ok((await session.poll()).includes("4x"));
    });
  }
  test("the heartbeat does not stop during an upgrade", async (t) => {
    const observer = await client(t, quick, "/rc");
    const session = await pollingSocket(quick);
    const ws = await openProbe(t, session);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    await ws.expectClosed();
    assert.equal(await farewellReason(observer, session.socketId), "ping timeout");
  });
  greenroomOnly("a pong that is due at the upgrade is still due after it", "the heartbeat of the reference stops for good", async (t) => {
    const observer = await client(t, quick, "/rc");
    const session = await pollingSocket(quick);
    assert.deepEqual(await session.poll(), ["2"]);
    const ws = await openProbe(t, session);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    ws.send("5");
    assert.equal(await farewellReason(observer, session.socketId), "ping timeout");
    await ws.expectClosed();
  });
  test("the heartbeat goes on after an upgrade", async (t) => {
    const session = await Polling.open(quick);
    const ws = await openProbe(t, session);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    ws.send("5");
    for (let i = 0; i < 2; i++) {
      assert.equal(await ws.next(), "2");
      ws.send("3");
    }
    assert.equal(await ws.next(), "2");
    await ws.expectClosed();
  });
});

describe("data during the upgrade", { concurrency: 3 }, () => {
  test("by hand: the server's messages, polled and not, 40 rounds", async (t) => {
    for (let round = 0; round < 40; round++) {
      const session = await Polling.open(server);
      const ws = new Ws(server, probePath(session));
      const sent = [];
      const push = async (count) => {
        const packets = Array.from({ length: count }, (_, i) => `4${round}:${sent.length + i}`);
        sent.push(...packets);
        await session.send(...packets);
      };
      const got = [];
      await push(3);
      await ws.opened;
      if (round % 2) got.push(...(await session.receive(3)));
      ws.send("2probe");
      await push(2);
      assert.equal(await ws.next(), "3probe");
      await push(1 + (round % 5));
      if (round % 3 === 0) got.push(...(await session.poll()).filter((p) => p !== "6"));
      await push(2);
      ws.send("5");
      const last = `4${round}:end`;
      ws.send(last);
      sent.push(last);
      while (got.at(-1) !== last) got.push(await ws.next());
      assert.deepEqual(got, sent, `round ${round}`);
      ws.socket.terminate();
    }
  });

  // the official client: numbered messages both ways from the opening until well after the upgrade
  const engineRound = (binary, round) => new Promise((resolve, reject) => {
    const socket = new EngineSocket(server.url, { path: "/engine.io/", transports: ["polling", "websocket"] });
    const received = [];
    let sent = 0;
    let limit = Infinity;
    let upgradedAt = -1;
    const timer = setTimeout(() => reject(new Error(`round ${round}: sent ${sent}, received ${received.length}, upgraded ${upgradedAt}`)), 8000);
    const pump = () => {
      for (let i = 0; i < 1 + (round % 4) && sent < limit; i++, sent++) socket.send(binary && sent % 3 === 0 ? Buffer.from(`n${sent}`) : `n${sent}`);
      if (sent < limit) setTimeout(pump, round % 3);
    };
    socket.on("open", pump);
    socket.on("upgrade", () => {
      upgradedAt = sent;
      limit = sent + 30;
    });
    socket.on("message", (data) => {
      const text = typeof data === "string" ? data : Buffer.from(data).toString();
      if (text !== `n${received.length}`) {
        clearTimeout(timer);
        reject(new Error(`round ${round}: got ${text} instead of n${received.length}; upgraded at ${upgradedAt}`));
        return socket.close();
      }
      received.push(text);
      if (received.length === limit) {
        clearTimeout(timer);
        socket.close();
        resolve(upgradedAt);
      }
    });
    socket.on("close", (reason) => {
      if (received.length !== limit) reject(new Error(`round ${round}: closed: ${reason}`));
    });
    socket.on("error", reject);
  });
  for (const binary of [false, true]) {
    test(`official engine client, echo${binary ? ", text and binary" : ""}: nothing lost, doubled or out of order, 60 rounds`, { timeout: 60000 }, async () => {
      let during = 0;
      for (let round = 0; round < 60; round += 4) {
        const at = await Promise.all([0, 1, 2, 3].map((i) => engineRound(binary, round + i)));
        during += at.filter((n) => n > 0).length;
      }
      assert.ok(during > 30, "hardly any round had data before the upgrade");
    });
  }

  test("Socket.IO client: bursts from the server, events and acks both ways, 40 rounds", { timeout: 60000 }, async (t) => {
    for (let round = 0; round < 40; round += 4) {
      await Promise.all([0, 1, 2, 3].map(async (i) => {
        const socket = dial(t, server, "/rc", { transports: ["polling", "websocket"] });
        const finished = upgradeOf(socket);
        const got = [];
        socket.on("b", (n) => got.push(n));
        await up(socket);
        const acks = [];
        let done = false;
        finished.then(() => (done = true));
        let bursts = 0;
        let asked = 0;
        do {
          const n = asked++;
          acks.push(call(socket, "echo", n, Buffer.from([n & 255])).then((x) => assert.equal(x, n)));
          bursts++;
          await ask(socket, "burst", { count: 5 + i });
        } while (!done && bursts < 200);
        await finished;
        await Promise.all(acks);
        assert.deepEqual(got, Array.from({ length: bursts }, () => Array.from({ length: 5 + i }, (_, k) => k)).flat());
        socket.disconnect();
      }));
    }
  });

  test("broadcasts while members upgrade: each member gets each once, in order", { timeout: 60000 }, async (t) => {
    const publisher = await client(t, server, "/rc");
    let n = 0;
    let stop = false;
    const publishing = (async () => {
      while (!stop) await ask(publisher, "emit", { to: "up", event: "n", args: [n++] });
    })();
    for (let round = 0; round < 8; round++) {
      await Promise.all([0, 1, 2, 3].map(async () => {
        const member = dial(t, server, "/rc", { transports: ["polling", "websocket"], auth: { room: "up" } });
        const got = [];
        member.on("n", (x) => got.push(x));
        await upgradeOf(member);
        await until(() => got.length, (length) => length > 5);
        for (let k = 1; k < got.length; k++) assert.equal(got[k], got[k - 1] + 1);
        member.disconnect();
      }));
    }
    stop = true;
    await publishing;
  });
});
