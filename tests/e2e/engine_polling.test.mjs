// Long-polling: payloads, overlap, aborted requests, sizes, encodings, closing (features E1, E7, E8, H10, H11, B2, B9, B10).
import { gzipSync } from "node:zlib";
import {
  test, assert, describe, useServer, startServer, http, Polling, Tcp, SEPARATOR, sleep, until, client, ask, pollingSocket,
  farewellReason, farewell, show,
} from "./support.mjs";

const server = useServer();
const MAX = 1000;
const small = useServer({ MAX_HTTP_BUFFER_SIZE: String(MAX) });

describe("payloads", () => {
  test("text comes back, with the headers of a poll", async () => {
    const session = await Polling.open(server);
    const posted = await session.post("4hello");
    assert.deepEqual([posted.status, posted.text], [200, "ok"]);
    assert.equal(posted.headers["content-type"], "text/html");
    assert.equal(posted.headers["content-length"], "2");
    assert.equal(posted.headers["cache-control"], "no-store");
    const polled = await session.get();
    assert.deepEqual([polled.status, polled.text], [200, "4hello"]);
    assert.equal(polled.headers["content-type"], "text/plain; charset=UTF-8");
    assert.equal(polled.headers["content-length"], "6");
    assert.equal(polled.headers["cache-control"], "no-store");
    assert.equal(polled.headers["set-cookie"], undefined);
  });

  test("several packets in one body, and in one answer", async () => {
    const session = await Polling.open(server);
    await session.send("4one", "4two", "bAQID", "4three");
    await session.send("4four");
    assert.deepEqual(await session.poll(), ["4one", "4two", "bAQID", "4three", "4four"]);
  });

  test("a poll waits for data", async () => {
    const session = await Polling.open(server);
    const poll = await session.hold();
    await session.send("4late");
    assert.equal((await poll.answer).text, "4late");
  });

  test("a waiting poll is answered with the first packet, the next poll with the rest", async () => {
    const session = await Polling.open(server);
    const poll = await session.hold();
    await session.send("4a", "4b", "4c");
    const first = (await poll.answer).text.split(SEPARATOR);
    const rest = first.length < 3 ? await session.receive(3 - first.length) : [];
    assert.deepEqual([...first, ...rest], ["4a", "4b", "4c"]);
  });

  test("the type of the body does not matter", async () => {
    const session = await Polling.open(server);
    for (const type of ["text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", undefined]) {
      const answer = await session.post("4x", { headers: type ? { "content-type": type } : {} });
      assert.deepEqual([answer.status, answer.text], [200, "ok"], type);
      assert.deepEqual(await session.receive(1), ["4x"]);
    }
  });

  test("a chunked body", async () => {
    const session = await Polling.open(server);
    const answer = await session.post(undefined, {
      onRequest: (request) => {
        request.write("4on");
        setTimeout(() => request.write(`e${SEPARATOR}4tw`), 20);
        setTimeout(() => request.end("o"), 40);
      },
    });
    assert.equal(answer.text, "ok");
    assert.deepEqual(await session.receive(2), ["4one", "4two"]);
  });

  test("characters cut between two chunks", async () => {
    const session = await Polling.open(server);
    const body = Buffer.from("4é👍🏽\u2028漢");
    const answer = await session.post(undefined, {
      headers: { "content-length": String(body.length) },
      onRequest: async (request) => {
        request.setNoDelay(true);
        for (const byte of body) {
          request.write(Buffer.from([byte]));
          await sleep(2);
        }
        request.end();
      },
    });
    assert.equal(answer.text, "ok");
    assert.deepEqual(await session.receive(1), ["4é👍🏽\u2028漢"]);
  });

  test("invalid UTF-8 becomes U+FFFD", async () => {
    const session = await Polling.open(server);
    for (const [bytes, text] of [
      [[0xff], "\ufffd"], [[0x61, 0xc3], "a\ufffd"], [[0xe2, 0x82, 0x61], "\ufffda"], [[0xc0, 0x80], "\ufffd\ufffd"],
      [[0xed, 0xa0, 0x80], "\ufffd\ufffd\ufffd"], [[0xf0, 0x9f, 0x91], "\ufffd"], [[0xc3, 0xa9], "é"],
    ]) {
      const answer = await session.post(Buffer.from([0x34, ...bytes, 0x21]));
      assert.equal(answer.text, "ok");
      assert.deepEqual(await session.receive(1), [`4${text}!`], show(bytes));
    }
  });

  test("U+0000 and other controls", async () => {
    const session = await Polling.open(server);
    await session.send("4\u0000\u0001\u001d\u001f\u007f\u0085\ufeff");
    assert.deepEqual(await session.receive(1), ["4\u0000\u0001\u001d\u001f\u007f\u0085\ufeff"]);
  });

  test("base64 is read leniently", async () => {
    const session = await Polling.open(server);
    for (const [sent, back] of [
      ["bAQIDBA==", "bAQIDBA=="], ["bAQIDBA", "bAQIDBA=="], ["bAQIDBA=", "bAQIDBA=="], ["b", "b"], ["bA", "b"], ["b====", "b"],
      ["bAQ ID\nBA==", "bAQIDBA=="], ["bAQ!ID*BA", "bAQIDBA=="], ["b-_-_", "b+/+/"], ["b+/+/", "b+/+/"], ["bAQ==IDBA", "bAQ=="],
      ["bAQIDBB==", "bAQIDBA=="],
    ]) {
      await session.send(sent);
      assert.deepEqual(await session.receive(1), [back], sent);
    }
  });

  test("an empty message", async () => {
    const session = await Polling.open(server);
    await session.send("4");
    assert.deepEqual(await session.receive(1), ["4"]);
  });

  test("packets that mean nothing here are ignored", async () => {
    const session = await Polling.open(server);
    await session.send("0", "3", "3probe", "5", "6", "0{}", "6x");
    await session.expectAlive();
  });

  test("900 kB of text and of binary", async () => {
    const session = await Polling.open(server);
    const text = `4${"0123456789abcdef".repeat(56_000)}`;
    await session.send(text);
    assert.ok((await session.receive(1))[0] === text);
    const binary = `b${Buffer.alloc(660_000, 7).toString("base64")}`;
    await session.send(binary);
    assert.ok((await session.receive(1))[0] === binary);
  });

  test("requests one after the other on one connection", async (t) => {
    const { sid } = await Polling.open(server);
    const tcp = await Tcp.connect(t, server);
    const path = `/engine.io/?EIO=4&transport=polling&sid=${sid}`;
    for (let i = 0; i < 20; i++) {
      const body = `4ping-${i}`;
      tcp.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      assert.equal((await tcp.head()).status, 200);
      await tcp.read((bytes) => (bytes.length >= 2 ? (tcp.received = bytes.subarray(2), true) : undefined));
      tcp.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const head = await tcp.head();
      assert.deepEqual([head.status, head.headers["content-length"]], [200, String(body.length)]);
      await tcp.read((bytes) => (bytes.length >= body.length ? (tcp.received = bytes.subarray(body.length), true) : undefined));
    }
  });

  test("X-XSS-Protection for old Internet Explorers only", async () => {
    for (const [agent, value] of [
      ["Mozilla/5.0 (compatible;MSIE 9.0; Windows NT 6.1; Trident/5.0)", "0"],
      ["Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "0"],
      ["Mozilla/4.0 (;MSIE 8.0)", "0"],
      ["Mozilla/5.0 (X11; Linux x86_64) Firefox/120", undefined],
    ]) {
      const headers = { "user-agent": agent };
      const open = await http(server, { path: "/engine.io/?EIO=4&transport=polling", headers });
      assert.equal(open.headers["x-xss-protection"], value, agent);
      const session = await Polling.open(server);
      assert.equal((await session.post("4x", { headers })).headers["x-xss-protection"], value, agent);
      assert.equal((await session.get({ headers })).headers["x-xss-protection"], value, agent);
    }
  });
});

describe("overlapping and aborted requests", { concurrency: 4 }, () => {
  test("a second poll: 400, the first gets a close packet, the session ends", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    const first = await session.hold();
    const second = await session.get();
    assert.deepEqual([second.status, second.text], [400, ""]);
    assert.equal((await first.answer).text, "1");
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "transport error");
  });

  test("a second POST while one is under way: 400, and the session ends", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    const first = session.post(undefined, { headers: { "content-length": "100" }, onRequest: (r) => r.write("4xx") });
    first.catch(() => {});
    await sleep(100);
    const second = await session.post("4yy");
    assert.deepEqual([second.status, second.text], [400, ""]);
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "transport error");
    await first.then((a) => assert.notEqual(a.status, 200), () => {});
  });

  test("a poll and a POST at once are fine", async () => {
    const session = await Polling.open(server);
    for (let i = 0; i < 10; i++) {
      const poll = session.get();
      await session.send(`4${i}`);
      assert.equal((await poll).text, `4${i}`);
    }
  });

  test("an aborted poll ends the session", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    const aborted = session.get({ onRequest: (r) => {
      r.end();
      setTimeout(() => r.destroy(), 100);
    } });
    await assert.rejects(aborted);
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "transport error");
  });

  test("an aborted POST ends the session", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    const aborted = session.post(undefined, { headers: { "content-length": "100" }, onRequest: (r) => {
      r.write("4xx");
      setTimeout(() => r.destroy(), 100);
    } });
    await assert.rejects(aborted);
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "transport error");
  });

  test("an aborted POST while a poll waits: the poll gets a close packet", async () => {
    const session = await Polling.open(server);
    const poll = await session.hold();
    const aborted = session.post(undefined, { headers: { "content-length": "100" }, onRequest: (r) => {
      r.write("4xx");
      setTimeout(() => r.destroy(), 100);
    } });
    await assert.rejects(aborted);
    assert.equal((await poll.answer).text, "1");
    await session.expectGone();
  });

  test("a connection cut between requests does not matter", async (t) => {
    const session = await Polling.open(server);
    const tcp = await Tcp.connect(t, server);
    const body = "4kept";
    tcp.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    assert.equal((await tcp.head()).status, 200);
    tcp.socket.resetAndDestroy();
    assert.deepEqual(await session.receive(1), ["4kept"]);
    await session.expectAlive();
  });
});

describe("sizes", () => {
  const filled = (size) => `4${"x".repeat(size - 1)}`;

  test("a body of exactly maxPayload", async () => {
    const session = await Polling.open(small);
    await session.send(filled(MAX));
    assert.deepEqual(await session.receive(1), [filled(MAX)]);
  });

  test("one byte more: 413, and the session lives", async () => {
    const session = await Polling.open(small);
    const answer = await session.post(filled(MAX + 1));
    assert.deepEqual([answer.status, answer.text], [413, ""]);
    await session.expectAlive();
  });

  test("the same without a length", async () => {
    const session = await Polling.open(small);
    const answer = await session.post(undefined, { onRequest: (r) => {
      r.write(filled(600));
      r.write(filled(600));
      r.end();
    } });
    assert.deepEqual([answer.status, answer.text], [413, ""]);
    await session.expectAlive();
  });

  test("the limit is for the body, not for each packet", async () => {
    const session = await Polling.open(small);
    const answer = await session.post([filled(500), filled(500)].join(SEPARATOR));
    assert.deepEqual([answer.status, answer.text], [413, ""]);
    await session.send(filled(499), filled(500));
    assert.deepEqual(await session.receive(2), [filled(499), filled(500)]);
  });

  test("the limit counts bytes, not characters", async () => {
    const session = await Polling.open(small);
    assert.equal((await session.post(`4${"é".repeat(500)}`)).status, 413);
    await session.send(`4${"é".repeat(499)}`);
    assert.deepEqual(await session.receive(1), [`4${"é".repeat(499)}`]);
  });

  test("a waiting poll is left alone by an oversize POST", async () => {
    const session = await Polling.open(small);
    const poll = await session.hold();
    assert.equal((await session.post(filled(MAX + 1))).status, 413);
    await session.send("4after");
    assert.equal((await poll.answer).text, "4after");
  });

  test("what the server sends is not limited", async () => {
    const session = await pollingSocket(small);
    await session.send('42/rc,1["blob",{"size":5000}]');
    const [packet] = await session.receive(1);
    assert.equal(packet.length, '43/rc,1[{"ok":""}]'.length + 5000);
  });

  test("a compressed body is not inflated", async () => {
    const session = await Polling.open(server);
    const bomb = gzipSync(`4${"x".repeat(3_000_000)}`);
    const answer = await session.post(bomb, { headers: { "content-encoding": "gzip", "content-type": "text/plain" } });
    // the gzip bytes are no packet: the session ends as for any other bad payload
    assert.deepEqual([answer.status, answer.text], [200, "ok"]);
    await session.expectGone();
  });
});

describe("bad payloads", { concurrency: 4 }, () => {
  // [what, body, reason]
  const BAD = [
    ["an empty body", "", "parse error"],
    ["an unknown packet type", "abc", "parse error"],
    ["packet type 7", "7", "parse error"],
    ["packet type 9", "9x", "parse error"],
    ["a separator alone", SEPARATOR, "parse error"],
    ["an empty packet at the start", `${SEPARATOR}4x`, "parse error"],
    ["an empty packet at the end", `4x${SEPARATOR}`, "parse error"],
    ["an empty packet in the middle", `4x${SEPARATOR}${SEPARATOR}4y`, "parse error"],
    ["a packet that starts with a space", " 4x", "parse error"],
    ["a byte order mark", "\ufeff4x", "parse error"],
    ["a ping, which is the server's to send", "2", "transport error"],
    ["a probe outside an upgrade", "2probe", "transport error"],
  ];
  for (const [what, body, reason] of BAD) {
    test(`${what}: ${reason}`, async (t) => {
      const observer = await client(t, server, "/rc");
      const session = await pollingSocket(server);
      // the Socket.IO packets among them must be fine
      const answer = await session.post(body.replaceAll("4x", '42/rc,["no-ack"]').replaceAll("4y", '42/rc,["no-ack"]'));
      assert.deepEqual([answer.status, answer.text], [200, "ok"]);
      await session.expectGone();
      assert.equal(await farewellReason(observer, session.socketId), reason);
    });
  }

  test("a binary body: 400, transport error", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    const answer = await session.post(Buffer.from([4, 1, 2]), { headers: { "content-type": "application/octet-stream" } });
    assert.deepEqual([answer.status, answer.text], [400, ""]);
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "transport error");
  });

  test("packets before the bad one are delivered, those after it dropped", async (t) => {
    const session = await Polling.open(server);
    const poll = await session.hold();
    await session.post(["4before", "x", "4after"].join(SEPARATOR));
    const { text } = await poll.answer;
    assert.ok(["4before", `4before${SEPARATOR}1`].includes(text), text);
    await session.expectGone();
    // seen from Socket.IO
    const observer = await client(t, server, "/rc");
    const socket = await pollingSocket(server);
    await socket.post(['42/rc,["join",{"rooms":"kept"}]', "x", '42/rc,["join",{"rooms":"lost"}]'].join(SEPARATOR));
    const { reason, rooms } = await farewell(observer, socket.socketId);
    assert.equal(reason, "parse error");
    assert.ok(!rooms.includes("lost"));
  });

  test("a waiting poll gets a close packet", async () => {
    const session = await Polling.open(server);
    const poll = await session.hold();
    await session.post("x");
    assert.equal((await poll.answer).text, "1");
    await session.expectGone();
  });
});

describe("closing", { concurrency: 4 }, () => {
  test("by the client: the POST is ok, the waiting poll gets a noop", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    const poll = await session.hold();
    const answer = await session.post("1");
    assert.deepEqual([answer.status, answer.text], [200, "ok"]);
    assert.equal((await poll.answer).text, "6");
    const gone = await session.get();
    assert.deepEqual([gone.status, gone.text], [400, '{"code":1,"message":"Session ID unknown"}']);
    assert.equal(await farewellReason(observer, session.socketId), "transport close");
  });

  test("by the client, nobody polling", async () => {
    const session = await Polling.open(server);
    await session.send("1");
    const gone = await session.get();
    assert.deepEqual([gone.status, gone.text], [400, '{"code":1,"message":"Session ID unknown"}']);
    assert.equal((await session.post("4x")).status, 400);
  });

  test("packets after the close packet are dropped, those before it delivered", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    await session.send('42/rc,["join",{"rooms":"before"}]', "1", '42/rc,["join",{"rooms":"after"}]');
    const { reason, rooms } = await farewell(observer, session.socketId);
    assert.equal(reason, "transport close");
    assert.ok(!rooms.includes("after"));
  });

  const read = async (session) => {
    const packets = [];
    for (let i = 0; i < 4 && packets.at(-1) !== "1"; i++) packets.push(...(await session.poll()).filter((p) => p !== "6"));
    return packets;
  };

  test("by the server, nobody polling: the answer and the close packet wait for the poll", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    await session.send('42/rc,5["connClose",{}]');
    assert.deepEqual(await read(session), ['43/rc,5[{"ok":true}]', "1"]);
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "forced close");
  });

  test("by the server while a poll waits", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    const poll = await session.hold();
    await session.send('42/rc,5["connClose",{}]');
    const packets = (await poll.answer).text.split(SEPARATOR);
    if (packets.at(-1) !== "1") packets.push(...(await read(session)));
    assert.deepEqual(packets, ['43/rc,5[{"ok":true}]', "1"]);
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "forced close");
  });

  test("disconnect(true): the disconnect packet, then the close packet", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    await session.send('42/rc,["bye",1,true]');
    assert.deepEqual(await read(session), ['42/rc,["bye",1]', "41/rc,", "1"]);
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "server namespace disconnect");
  });

  test("invalid Socket.IO packets while a poll waits: close packet, forced close", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await pollingSocket(server);
    const poll = await session.hold();
    await session.post("49");
    assert.equal((await poll.answer).text, "1");
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "forced close");
  });

  test("the number of connections goes back", async (t) => {
    const own = await startServer(t);
    const observer = await client(t, own, "/rc");
    const sessions = await Promise.all(Array.from({ length: 10 }, () => pollingSocket(own)));
    assert.equal((await ask(observer, "counts")).engine, 11);
    for (const session of sessions) await session.send("1");
    await until(async () => (await ask(observer, "counts")).engine, (n) => n === 1);
  });
});

describe("heartbeat over polling", { concurrency: 4 }, () => {
  const quick = useServer({ PING_INTERVAL: "300", PING_TIMEOUT: "250" });
  test("pings come through polls, and pongs keep the session", async () => {
    const session = await Polling.open(quick);
    let last = Date.now();
    for (let i = 0; i < 4; i++) {
      assert.deepEqual(await session.poll(), ["2"]);
      const took = Date.now() - last;
      assert.ok(took > 250 && took < 1000, `ping after ${took} ms`);
      await session.send("3");
      last = Date.now();
    }
    await session.expectAlive();
  });

  test("without a pong the session ends, and the waiting poll gets a close packet", async (t) => {
    const observer = await client(t, quick, "/rc");
    const session = await pollingSocket(quick);
    assert.deepEqual(await session.poll(), ["2"]);
    const poll = session.get();
    const begin = Date.now();
    assert.equal((await poll).text, "1");
    const took = Date.now() - begin;
    assert.ok(took > 150 && took < 1000, `closed after ${took} ms`);
    await session.expectGone();
    assert.equal(await farewellReason(observer, session.socketId), "ping timeout");
  });

  test("a session that is never polled ends too", async (t) => {
    const observer = await client(t, quick, "/rc");
    const session = await pollingSocket(quick);
    assert.equal(await farewellReason(observer, session.socketId), "ping timeout");
    await session.expectGone();
  });
});
