// Socket.IO packets, byte by byte over a bare WebSocket (features P1-P7, P10, O15, K1, K2, K24; traps 3.2).
import {
  test, greenroomOnly, isReference, assert, describe, useServer, startServer, client, ask, Raw, farewellReason, pollingSocket, Polling, sleep,
  engineWs, show,
} from "./support.mjs";

const server = useServer();
const PLACEHOLDER = (num) => `{"_placeholder":true,"num":${num}}`;

describe("CONNECT", { concurrency: 4 }, () => {
  test("exact replies, and what the listener emits comes after", async (t) => {
    const raw = await Raw.connect(t, server);
    raw.send("0");
    const reply = await raw.next();
    assert.match(reply, /^40\{"sid":"[A-Za-z0-9_-]{20}"\}$/);
    assert.equal(await raw.next(), '42["auth",{}]');
    raw.send("0/custom,");
    const custom = await raw.next();
    assert.match(custom, /^40\/custom,\{"sid":"[A-Za-z0-9_-]{20}"\}$/);
    assert.equal(await raw.next(), '42/custom,["auth",{}]');
    const ids = [JSON.parse(reply.slice(2)).sid, JSON.parse(custom.slice(10)).sid, raw.ws.sid];
    assert.equal(new Set(ids).size, 3, "the ids differ, also from the session's");
  });

  test("nothing comes before a CONNECT", async (t) => {
    const raw = await Raw.connect(t, server);
    await sleep(100);
    assert.deepEqual(raw.inbox.items, []);
  });

  for (const [packet, event] of [
    ["0", '42["auth",{}]'], ["0{}", '42["auth",{}]'], ['0{"a":1}', '42["auth",{"a":1}]'], ["0/,", '42["auth",{}]'],
    ['0/,{"a":[null,"x"]}', '42["auth",{"a":[null,"x"]}]'], ["0/custom", '42/custom,["auth",{}]'], ["0/custom,{}", '42/custom,["auth",{}]'],
    ['0/custom,{"token":"é\\u0000"}', '42/custom,["auth",{"token":"é\\u0000"}]'], ['0{"a":1.5,"b":{"c":[]}}', '42["auth",{"a":1.5,"b":{"c":[]}}]'],
    ["07", '42["auth",{}]'],
  ]) {
    test(`${packet} connects`, async (t) => {
      const raw = await Raw.connect(t, server);
      raw.send(packet);
      assert.match(await raw.next(), /^40(\/custom,)?\{"sid":"/);
      assert.equal(await raw.next(), event);
    });
  }

  for (const packet of ["0[]", '0["a"]', '0"text"', "0null", "0true", "0{", "0{}x", "0/custom,[]", "0/custom,null", '0/custom,"x"', "0/custom,1.5"]) {
    test(`${packet} is refused: the connection is closed`, async (t) => {
      const observer = await client(t, server, "/rc");
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(packet);
      await raw.expectClosed();
      assert.equal(await farewellReason(observer, raw.id), "forced close");
      assert.deepEqual(await ask(observer, "errorLog", { id: raw.id }), [{ id: raw.id, message: "invalid payload" }]);
    });
  }

  test("an unknown namespace: CONNECT_ERROR, the connection stays", async (t) => {
    const raw = await Raw.connect(t, server);
    raw.send("0/nope,");
    assert.equal(await raw.next(), '44/nope,{"message":"Invalid namespace"}');
    raw.send('0/nope,{"a":1}');
    assert.equal(await raw.next(), '44/nope,{"message":"Invalid namespace"}');
    raw.send("0/nope/deeper");
    assert.equal(await raw.next(), '44/nope/deeper,{"message":"Invalid namespace"}');
    await raw.join("/rc");
    await raw.expectAlive();
  });

  test("names are taken as they come: case, query string, slashes", async (t) => {
    const raw = await Raw.connect(t, server);
    for (const name of ["/RC", "/rc/", "//rc", "/rc?token=1", "/rc#x", "/r%63", "/rc ", "/é", "/__proto__", "/constructor"]) {
      raw.send(`0${name},`);
      assert.equal(await raw.next(), `44${name},{"message":"Invalid namespace"}`);
    }
    await raw.join("/rc");
    await raw.expectAlive();
  });

  test("refused by a middleware: exact CONNECT_ERROR with and without data", async (t) => {
    const raw = await Raw.connect(t, server);
    for (const [token, body] of [
      ["bad", '{"message":"not authorized","data":{"code":401}}'], ["bad-nodata", '{"message":"nope"}'],
      ["bad-string", '{"message":"text data","data":"just text"}'], ["bad-late", '{"message":"late","data":{"mw":["a","b"]}}'],
    ]) {
      raw.send(`0/rc,{"token":"${token}"}`);
      assert.equal(await raw.next(), `44/rc,${body}`);
    }
    await raw.join("/rc");
    await raw.expectAlive();
  });

  test("twice to a joined namespace: the connection is closed", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send("0/rc,");
    await raw.expectClosed();
    assert.match(await farewellReason(observer, raw.id), /^forced (server )?close$/);
    assert.deepEqual(await ask(observer, "errorLog", { id: raw.id }), []);
    assert.match(await farewellReason(observer, raw.ids["/rc2"], "/rc2"), /^forced (server )?close$/);
  });

  greenroomOnly("twice while the first is pending: one socket", "the reference makes two sockets", async (t) => {
    const own = await startServer(t);
    const observer = await client(t, own, "/rc2");
    const raw = await Raw.connect(t, own, "/rc");
    raw.send('0/rc2,{"delay":150}', '0/rc2,{"delay":150}');
    const id = JSON.parse((await raw.ws.text('40/rc2,{"sid"')).slice(7)).sid;
    await sleep(300);
    assert.deepEqual(raw.inbox.items.filter((m) => String(m).startsWith("40")), []);
    assert.equal((await ask(observer, "counts")).nsp, 2);
    assert.equal((await raw.ask("/rc2", "info")).id, id);
  });

  test("again after leaving: a new socket", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    raw.send("1/rc,");
    await farewellReason(observer, raw.id);
    assert.notEqual(await raw.join("/rc"), raw.id);
    await raw.expectAlive();
  });

  greenroomOnly("again at once after leaving", "the reference handles the DISCONNECT one tick late and closes the connection", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    raw.send("1/rc,", "0/rc,");
    const id = JSON.parse((await raw.ws.text('40/rc,{"sid"')).slice(6)).sid;
    assert.notEqual(id, raw.id);
    await raw.expectAlive();
    assert.equal(await farewellReason(observer, raw.id), "client namespace disconnect");
  });

  test("several in one payload over polling", async () => {
    const session = await Polling.open(server, { path: "/socket.io/" });
    await session.send("40/rc,", "40/rc2,", "40/nope,", '40/custom,{"x":1}');
    const packets = await session.receive(5);
    for (const start of ['40/rc,{"sid"', '40/rc2,{"sid"', '44/nope,{"message":"Invalid namespace"}', '40/custom,{"sid"', '42/custom,["auth",{"x":1}]']) {
      assert.ok(packets.some((p) => p.startsWith(start)), `${start} in ${show(packets)}`);
    }
    assert.ok(packets.findIndex((p) => p.startsWith("40/custom")) < packets.findIndex((p) => p.startsWith("42/custom")));
  });
});

describe("time limit to join a namespace", { concurrency: 8 }, () => {
  const quick = useServer({ CONNECT_TIMEOUT: "400" });
  const closes = async (ws, begin) => {
    await ws.expectClosed();
    const took = Date.now() - begin;
    assert.ok(took > 330 && took < 1500, `closed after ${took} ms`);
  };
  test("no CONNECT: closed", async (t) => {
    const begin = Date.now();
    const raw = await Raw.connect(t, quick);
    await closes(raw.ws, begin);
  });
  test("over polling too", async () => {
    const session = await Polling.open(quick, { path: "/socket.io/" });
    const packets = [];
    while (packets.at(-1) !== "1") packets.push(...(await session.poll()));
    await session.expectGone();
  });
  test("a refused CONNECT does not count", async (t) => {
    const begin = Date.now();
    const raw = await Raw.connect(t, quick);
    raw.send("0/nope,", '0/rc,{"token":"bad"}');
    assert.equal(await raw.next(), '44/nope,{"message":"Invalid namespace"}');
    assert.equal(await raw.next(), '44/rc,{"message":"not authorized","data":{"code":401}}');
    await closes(raw.ws, begin);
  });
  test("a pending CONNECT does not count", async (t) => {
    const begin = Date.now();
    const raw = await Raw.connect(t, quick);
    raw.send('0/rc,{"delay":2000}');
    await closes(raw.ws, begin);
    assert.deepEqual(raw.inbox.items, []);
  });
  test("a joined client stays", async (t) => {
    const stays = await Raw.connect(t, quick, "/rc");
    await sleep(900);
    await stays.expectAlive();
  });
  greenroomOnly("a client that has left all namespaces has its time again", "one that is in none is of no use", async (t) => {
    const back = await Raw.connect(t, quick, "/rc");
    const leaves = await Raw.connect(t, quick, "/rc");
    await sleep(900);
    leaves.send("1/rc,");
    back.send("1/rc,");
    await back.join("/rc2");
    await leaves.ws.expectClosed();
    await back.expectAlive("/rc2");
  });
  test("the Engine.IO endpoint knows no such limit", async (t) => {
    const ws = await engineWs(t, quick);
    await sleep(800);
    ws.send("4x");
    assert.equal(await ws.next(), "4x");
  });
});

describe("EVENT and ACK", { concurrency: 4 }, () => {
  // white space and escapes of the JSON may be those that came, the order of keys must be
  const canonical = (packet) => packet.replace(/\[[^]*/, (json) => JSON.stringify(JSON.parse(json)));
  // [packet sent to /rc, exact answer]
  for (const [packet, answer] of [
    ['2/rc,["echo","x"]', '42/rc,["echo-back","x"]'],
    ['2/rc,0["echo","x"]', '43/rc,0["x"]'],
    ['2/rc,1["echo"]', "43/rc,1[]"],
    ['2/rc,["echo"]', '42/rc,["echo-back"]'],
    ['2/rc,12["echo",1,"2",null,true,{"a":[]},[{}]]', '43/rc,12[1,"2",null,true,{"a":[]},[{}]]'],
    ['2/rc,999999["echo",1]', "43/rc,999999[1]"],
    ['2/rc,4294967296["echo",1]', "43/rc,4294967296[1]"],
    ['2/rc,9007199254740991["echo",1]', "43/rc,9007199254740991[1]"],
    ['2/rc,007["echo",1]', "43/rc,7[1]"],
    ['2/rc,[7,"x"]', '42/rc,["seven","x"]'],
    ['2/rc,["7","x"]', '42/rc,["seven","x"]'],
    ['2/rc,5["echo",{"_placeholder":true,"num":0}]', '43/rc,5[{"_placeholder":true,"num":0}]'],
    ['2/rc,5["echo",{"__proto__":{"x":1},"constructor":2}]', '43/rc,5[{"__proto__":{"x":1},"constructor":2}]'],
    ['2/rc,5["echo",{"b":1,"a":2,"_":3}]', '43/rc,5[{"b":1,"a":2,"_":3}]'],
    ['2/rc,5[ "echo" , { "a" : [ 1 , 2 ] } ]', '43/rc,5[{"a":[1,2]}]'],
    ['2/rc,5["echo","\\u00e9\\ud83d\\udc4d\\/\\n"]', '43/rc,5["é👍/\\n"]'],
    ['2/rc,5["echo","\\u2028\\u2029\\u007f"]', '43/rc,5["\u2028\u2029\u007f"]'],
    ['2/rc,5["echo","a,b","[","]","{"]', '43/rc,5["a,b","[","]","{"]'],
    ['2/rc,6["ack-twice","once"]', '43/rc,6["once"]'],
    ['2/rc,7["rooms"]', '43/rc,7[{"ok":{"self":true,"rooms":[]}}]'],
    ['2/rc,7["rooms",{}]', '43/rc,7[{"ok":{"self":true,"rooms":[]}}]'],
    ['2/rc,7["rooms",null]', '43/rc,7[{"ok":{"self":true,"rooms":[]}}]'],
    ['2/rc,7["rooms","x",1]', '43/rc,7[{"ok":{"self":true,"rooms":[]}}]'],
    ['2/rc,8["emit",{"event":"disconnect"}]', '43/rc,8[{"error":"\\"disconnect\\" is a reserved event name"}]'],
  ]) {
    test(`${packet} → ${answer}`, async (t) => {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(packet);
      assert.equal(canonical(await raw.next()), answer);
      await raw.expectAlive();
    });
  }

  test("numbers keep their value, however they are written", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    const numbers = [
      "0", "-0", "-0.0", "1.0", "10", "1E2", "1e+2", "1e-2", "0.1e-6", "9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740993",
      "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "123456789012345678901234567890", "1e21", "1e22", "1.7976931348623157e308",
      "4.9e-324", "2.2250738585072014e-308", "0.30000000000000004", "0.1", "123456.789e3", "1.00000000000000000000001", "8.41e-21", "9.5e15", "5e-324",
    ];
    raw.send(`2/rc,1["echo",${numbers.join()}]`);
    const answer = JSON.parse((await raw.next()).slice("43/rc,1".length));
    // as doubles: an integer beyond 2^53 may be written with the digits it came with
    assert.equal(answer.length, numbers.length);
    for (const [i, x] of answer.entries()) assert.ok(typeof x === "number" && x === Number(numbers[i]), `${numbers[i]} came back as ${x}`);
  });

  test("in the main namespace", async (t) => {
    const raw = await Raw.connect(t, server, "/");
    assert.equal(await raw.next(), '42["auth",{}]');
    for (const [packet, answer] of [
      ['2["message",1,[2]]', '42["message-back",1,[2]]'], ['2/,["message"]', '42["message-back"]'], ['23["message-with-ack","x"]', '433["x"]'],
      ['20["message-with-ack"]', "430[]"], ['25["message","no ack"]', '42["message-back","no ack"]'],
      ['2/,7["message-with-ack",1]', '437[1]'],
    ]) {
      raw.send(packet);
      assert.equal(await raw.next(), answer, packet);
    }
  });

  test("events that nobody listens to are ignored", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,["nobody"]', '2/rc,1["nobody",2]', '2/rc,[8]', '2/rc,[-1.5e3]', '2/rc,[""]', '2/rc,["toString"]', '2/rc,["__proto__"]', '2/rc,["constructor"]');
    await raw.expectAlive();
    assert.deepEqual(raw.inbox.items, []);
  });

  test("acks that nobody waits for are ignored", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send("3/rc,0[]", "3/rc,123456789[1]", "3/rc,9007199254740991[]", "3/rc,[]");
    await raw.expectAlive();
  });

  test("the client answers with exactly the id it got; a second answer is ignored", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,1["emit",{"target":"socket","event":"q","args":[5],"ack":true}]');
    const packet = await raw.next();
    const [, id] = /^42\/rc,(\d+)\["q",5\]$/.exec(packet);
    raw.send(`3/rc,${id}["a",2]`, `3/rc,${id}["b"]`);
    assert.equal(await raw.next(), '43/rc,1[{"ok":{"err":null,"response":["a",2]}}]');
    await raw.expectAlive();
  });

  test("the answer of another client does not count", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    const other = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,1["emit",{"target":"socket","event":"q","ack":true,"flags":{"timeout":150}}]');
    const [, id] = /^42\/rc,(\d+)\["q"\]$/.exec(await raw.next());
    other.send(`3/rc,${id}["stolen"]`);
    await other.expectAlive();
    assert.equal(await raw.next(), '43/rc,1[{"ok":{"err":"operation has timed out","response":[]}}]');
    raw.send(`3/rc,${id}["late"]`);
    await raw.expectAlive();
  });

  test("over polling: events of one payload are answered in order", async () => {
    const session = await pollingSocket(server);
    const count = 50;
    await session.send(...Array.from({ length: count }, (_, i) => `42/rc,${i}["echo",${i}]`));
    assert.deepEqual(await session.receive(count), Array.from({ length: count }, (_, i) => `43/rc,${i}[${i}]`));
  });
});

describe("DISCONNECT", { concurrency: 4 }, () => {
  for (const packet of ["1/rc,", "1/rc"]) {
    test(`${packet} leaves that namespace only`, async (t) => {
      const observer = await client(t, server, "/rc");
      const raw = await Raw.connect(t, server, "/rc");
      await raw.join("/rc2");
      raw.send(packet);
      assert.equal(await farewellReason(observer, raw.id), "client namespace disconnect");
      await raw.expectAlive("/rc2");
    });
  }
  test("1 leaves the main namespace", async (t) => {
    const raw = await Raw.connect(t, server, "/");
    await raw.next();
    await raw.join("/rc");
    raw.send("1");
    await raw.expectAlive("/rc");
    raw.send("0");
    assert.match(await raw.next(), /^40\{"sid"/);
  });
  test("the connection stays when the last namespace is left", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send("1/rc,");
    await sleep(50);
    await raw.join("/rc2");
    await raw.expectAlive("/rc2");
  });
  test("by the server: exact packet, other namespaces stay", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send('2/rc,1["close",{}]');
    assert.equal(await raw.next(), '43/rc,1[{"ok":true}]');
    assert.equal(await raw.next(), "41/rc,");
    assert.equal(await farewellReason(observer, raw.id), "server namespace disconnect");
    await raw.expectAlive("/rc2");
  });
  test("by the server with close: a packet for each namespace, then the end", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    await raw.join("/bench");
    raw.send('2/rc,1["close",{"close":true}]');
    assert.equal(await raw.next(), '43/rc,1[{"ok":true}]');
    assert.deepEqual([await raw.next(), await raw.next(), await raw.next()].sort(), ["41/bench,", "41/rc,", "41/rc2,"]);
    await raw.expectClosed();
    assert.equal(await farewellReason(observer, raw.id), "server namespace disconnect");
    assert.equal(await farewellReason(observer, raw.ids["/rc2"], "/rc2"), "server namespace disconnect");
  });
  greenroomOnly("an event in flight after the server's DISCONNECT is dropped, other namespaces stay",
    "the reference closes the whole connection", async (t) => {
      const raw = await Raw.connect(t, server, "/rc");
      await raw.join("/rc2");
      raw.send('2/rc,1["close",{}]', '2/rc,2["echo",1]', '2/rc,["echo",2]', "3/rc,5[]");
      assert.equal(await raw.next(), '43/rc,1[{"ok":true}]');
      assert.equal(await raw.next(), "41/rc,");
      raw.send('2/rc,3["echo",1]', '51-/rc,["echo",{"_placeholder":true,"num":0}]', Buffer.from([1]), "1/rc,");
      await raw.expectAlive("/rc2");
      assert.deepEqual(raw.inbox.items, []);
      await raw.join("/rc");
      await raw.expectAlive("/rc");
    });
});

describe("packets of a namespace that was not joined close the connection", { concurrency: 4 }, () => {
  for (const [what, ...packets] of [
    ["an event", '2/rc2,["echo",1]'], ["an event in the main namespace", '2["message",1]'], ["an event of an unknown namespace", '2/nope,["echo",1]'],
    ["an ack", "3/rc2,1[]"], ["a disconnect", "1/rc2,"], ["a disconnect of the main namespace", "1"],
    ["a binary event", `51-/rc2,["echo",${PLACEHOLDER(0)}]`, Buffer.from([1])],
    ["a binary ack", `61-/rc2,1[${PLACEHOLDER(0)}]`, Buffer.from([1])],
    ["an event of a namespace that refused", '0/rc2,{"token":"bad"}', '2/rc2,["echo",1]'],
    ["an event of a namespace that is still deciding", '0/rc2,{"delay":300}', '2/rc2,["echo",1]'],
  ]) {
    test(what, async (t) => {
      const observer = await client(t, server, "/rc");
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(...packets);
      await raw.expectClosed();
      assert.match(await farewellReason(observer, raw.id), /^forced (server )?close$/);
      assert.deepEqual(await ask(observer, "errorLog", { id: raw.id }), []);
    });
  }
  test("before any CONNECT", async (t) => {
    const raw = await Raw.connect(t, server);
    raw.send('2["message",1]');
    await raw.expectClosed();
    assert.deepEqual(raw.inbox.items, []);
  });
  test("CONNECT_ERROR is the server's to send", async (t) => {
    const observer = await client(t, server, "/rc");
    for (const packet of ['4/rc,{"message":"x"}', '4/rc,"x"']) {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(packet);
      await raw.expectClosed();
      assert.match(await farewellReason(observer, raw.id), /^forced (server )?close$/);
    }
  });
});

describe("bad packets: error event on each socket, forced close", { concurrency: 4 }, () => {
  // [what, packets, message]; null: the text is the engine's own
  const BAD = [
    ["an empty packet", [""], null],
    ["type 7", ["7"], "unknown packet type 7"], ["type 9", ['9["x"]'], "unknown packet type 9"], ["a letter", ["x"], "unknown packet type NaN"],
    ["JSON alone", ['["echo"]'], "unknown packet type NaN"],
    ["999", ["999"], "unknown packet type 9"],
    ["broken JSON", ['2/rc,["echo"'], "invalid payload"], ["JSON with a tail", ['2/rc,["echo"]x'], "invalid payload"],
    ["a trailing comma", ['2/rc,["echo",]'], "invalid payload"], ["single quotes", ["2/rc,['echo']"], "invalid payload"],
    ["NaN", ['2/rc,["echo",NaN]'], "invalid payload"], ["a raw control character", ['2/rc,["echo","\u0001"]'], "invalid payload"],
    ["an event without a list", ['2/rc,{"a":1}'], "invalid payload"], ["a string for a list", ['2/rc,"echo"'], "invalid payload"],
    ["null for a list", ["2/rc,null"], "invalid payload"],
    ["an empty list", ["2/rc,[]"], "invalid payload"], ["the name null", ['2/rc,[null,"bar"]'], "invalid payload"],
    ["the name true", ["2/rc,[true]"], "invalid payload"], ["an object for a name", ['2/rc,[{"toString":"foo"}]'], "invalid payload"],
    ["a list for a name", ['2/rc,[["echo"]]'], "invalid payload"],
    ...["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"].map((name) =>
      [`the reserved name ${name}`, [`2/rc,["${name}"]`], "invalid payload"]),
    ["a disconnect with a payload", ["1/rc,{}"], "invalid payload"], ["a disconnect with a list", ["1/rc,[]"], "invalid payload"],
    ["an ack without a list", ['3/rc,1{"a":1}'], "invalid payload"], ["an ack with a string", ['3/rc,1"x"'], "invalid payload"],
    ["a connect error with a list", ['4/rc,["x"]'], "invalid payload"], ["a connect error with a number", ["4/rc,1.5"], "invalid payload"],
    ...(isReference ? [["no attachments", [`50-/rc,["echo"]`], "Illegal attachments"]] : []), // a deviation, see "binary"
    ["no number of attachments", ['5-/rc,["echo"]'], "Illegal attachments"], ["no dash", ['5/rc,["echo"]'], "Illegal attachments"],
    ["a fraction of attachments", ['51.23-/rc,["echo"]'], "Illegal attachments"], ["a letter", ['5a-/rc,["echo"]'], "Illegal attachments"],
    ["letters and digits", ['51a-/rc,["echo"]'], "Illegal attachments"], ["less than none", ['5-1-/rc,["echo"]'], "Illegal attachments"],
    ["digits without an end", ["5123"], "Illegal attachments"], ["five alone", ["5"], "Illegal attachments"],
    ["11 attachments", [`511-/rc,["echo"]`], "too many attachments"],
    ["a billion attachments", [`5999999999-/rc,["echo"]`], "too many attachments"],
    ["10^30 attachments", [`51${"0".repeat(30)}-/rc,["echo"]`], "too many attachments"],
    ["11 attachments of an ack", ["611-/rc,1[]"], "too many attachments"],
    ["text while waiting for an attachment", [`51-/rc,["echo",${PLACEHOLDER(0)}]`, '2/rc,["echo"]'], "got plaintext data when reconstructing a packet"],
    ["a header while waiting", [`52-/rc,["echo",${PLACEHOLDER(0)},${PLACEHOLDER(1)}]`, Buffer.from([1]), `51-/rc,["echo",${PLACEHOLDER(0)}]`],
      "got plaintext data when reconstructing a packet"],
    ["an attachment that nobody announced", [Buffer.from([1])], "got binary data when not reconstructing a packet"],
    ["one attachment too many", [`51-/rc,["no-ack",${PLACEHOLDER(0)}]`, Buffer.from([1]), Buffer.from([2])], "got binary data when not reconstructing a packet"],
    ["a placeholder beyond the attachments", [`51-/rc,["echo",${PLACEHOLDER(1)}]`, Buffer.from([1])], "illegal attachments"],
    ["a negative placeholder", [`51-/rc,["echo",${PLACEHOLDER(-1)}]`, Buffer.from([1])], "illegal attachments"],
    ["a placeholder with a text", [`51-/rc,["echo",${PLACEHOLDER('"splice"')}]`, Buffer.from([1])], "illegal attachments"],
    ["a placeholder without a number", [`51-/rc,["echo",{"_placeholder":true}]`, Buffer.from([1])], "illegal attachments"],
    ["a placeholder with null", [`51-/rc,["echo",${PLACEHOLDER("null")}]`, Buffer.from([1])], "illegal attachments"],
    ["a binary event without a name", [`51-/rc,[${PLACEHOLDER(0)}]`, Buffer.from([1])], "invalid payload"],
    ["a reserved name in a binary event", [`51-/rc,["disconnect",${PLACEHOLDER(0)}]`, Buffer.from([1])], "invalid payload"],
  ];
  for (const [what, packets, message] of BAD) {
    test(`${what}${message ? `: ${message}` : ""}`, async (t) => {
      const observer = await client(t, server, "/rc");
      const raw = await Raw.connect(t, server, "/rc");
      const other = await raw.join("/rc2");
      const neighbour = await Raw.connect(t, server, "/rc");
      raw.send(...packets);
      await raw.expectClosed();
      assert.equal(await farewellReason(observer, raw.id), "forced close");
      assert.equal(await farewellReason(observer, other, "/rc2"), "forced close");
      const log = await ask(observer, "errorLog", { id: raw.id });
      assert.equal(log.length, 1);
      if (message) assert.equal(log[0].message, message);
      await neighbour.expectAlive();
    });
  }

  test("they are errors in any namespace, joined or not, also of unknown ones", async (t) => {
    const observer = await client(t, server, "/rc");
    for (const packet of ['2/nope,{"a":1}', '2["connect"]', "0/nope,[]", "51-/nope,{}"]) {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(packet);
      await raw.expectClosed();
      assert.equal(await farewellReason(observer, raw.id), "forced close");
      assert.deepEqual(await ask(observer, "errorLog", { id: raw.id }), [{ id: raw.id, message: "invalid payload" }]);
    }
  });

  test("packets before the bad one are answered, none after it", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,1["echo",1]');
    assert.equal(await raw.next(), "43/rc,1[1]");
    raw.send("9", '2/rc,2["echo",2]');
    await raw.expectClosed();
    assert.deepEqual(raw.inbox.items, []);
  });
});

describe("binary", { concurrency: 4 }, () => {
  const A = Buffer.from([1, 2, 3]);
  const B = Buffer.from([0xff]);
  const E = Buffer.alloc(0);
  for (const [what, packets, answers] of [
    ["an attachment comes back", [`51-/rc,1["echo",${PLACEHOLDER(0)}]`, A], [`461-/rc,1[${PLACEHOLDER(0)}]`, A]],
    ["without an ack", [`51-/rc,["echo",${PLACEHOLDER(0)}]`, A], [`451-/rc,["echo-back",${PLACEHOLDER(0)}]`, A]],
    ["in the order of the placeholders", [`52-/rc,1["echo",${PLACEHOLDER(1)},${PLACEHOLDER(0)}]`, A, B],
      // The reference renumbers; arguments that are passed on keep their numbers. The client sees the same.
      isReference ? [`462-/rc,1[${PLACEHOLDER(0)},${PLACEHOLDER(1)}]`, B, A] : [`462-/rc,1[${PLACEHOLDER(1)},${PLACEHOLDER(0)}]`, A, B]],
    ["nested", [`52-/rc,1["echo",{"a":[${PLACEHOLDER(0)},{"b":${PLACEHOLDER(1)}}],"c":"x"}]`, A, B],
      [`462-/rc,1[{"a":[${PLACEHOLDER(0)},{"b":${PLACEHOLDER(1)}}],"c":"x"}]`, A, B]],
    ["empty", [`52-/rc,1["echo",${PLACEHOLDER(0)},${PLACEHOLDER(1)}]`, E, A], [`462-/rc,1[${PLACEHOLDER(0)},${PLACEHOLDER(1)}]`, E, A]],
    ["one not used", [`52-/rc,1["echo",${PLACEHOLDER(1)}]`, A, B], [`461-/rc,1[${PLACEHOLDER(0)}]`, B]],
    ["none used", [`51-/rc,1["echo","x"]`, A], ['43/rc,1["x"]']],
    ["a placeholder with other keys", [`51-/rc,1["echo",{"num":0,"x":1,"_placeholder":true}]`, A], [`461-/rc,1[${PLACEHOLDER(0)}]`, A]],
    ["something like a placeholder, _placeholder not true", [`51-/rc,1["echo",{"_placeholder":1,"num":0},${PLACEHOLDER(0)}]`, A],
      [`461-/rc,1[{"_placeholder":1,"num":0},${PLACEHOLDER(0)}]`, A]],
    ["ten of them", [`510-/rc,1["echo",${Array.from({ length: 10 }, (_, i) => PLACEHOLDER(i)).join()}]`, ...Array(10).fill(A)],
      [`4610-/rc,1[${Array.from({ length: 10 }, (_, i) => PLACEHOLDER(i)).join()}]`, ...Array(10).fill(A)]],
    ["in base64 on text frames", [`51-/rc,1["echo",${PLACEHOLDER(0)}]`], [`461-/rc,1[${PLACEHOLDER(0)}]`, A]],
  ]) {
    test(what, async (t) => {
      const raw = await Raw.connect(t, server, "/rc");
      raw.send(...packets);
      if (what.startsWith("in base64")) raw.ws.send("bAQID");
      for (const answer of answers) assert.deepEqual(await raw.next(), answer);
      await raw.expectAlive();
    });
  }

  greenroomOnly("an event announced with no attachments is delivered, and the next packet too", "the reference closes: Illegal attachments", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('50-/rc,1["echo","x"]', '2/rc,2["echo","y"]', `51-/rc,3["echo",${PLACEHOLDER(0)}]`, A);
    assert.equal(await raw.next(), '43/rc,1["x"]');
    assert.equal(await raw.next(), '43/rc,2["y"]');
    assert.equal(await raw.next(), `461-/rc,3[${PLACEHOLDER(0)}]`);
    assert.deepEqual(await raw.next(), A);
  });

  greenroomOnly("one attachment for two placeholders is refused", "the reference gives it to both", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    raw.send(`51-/rc,1["echo",${PLACEHOLDER(0)},${PLACEHOLDER(0)}]`, A);
    await raw.expectClosed();
    assert.equal(await farewellReason(observer, raw.id), "forced close");
    assert.deepEqual(await ask(observer, "errorLog", { id: raw.id }), [{ id: raw.id, message: "illegal attachments" }]);
  });

  test("the server's packets may have more than ten attachments", async (t) => {
    const answering = await Promise.all(Array.from({ length: 15 }, () => client(t, server, "/rc", { auth: { room: "fifteen" } })));
    for (const socket of answering) socket.on("q", (done) => done(A));
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,1["emit",{"to":"fifteen","event":"q","ack":true,"flags":{"timeout":4000}}]');
    assert.equal(await raw.next(), `4615-/rc,1[{"ok":{"err":null,"responses":[${Array.from({ length: 15 }, (_, i) => PLACEHOLDER(i)).join()}]}}]`);
    for (let i = 0; i < 15; i++) assert.deepEqual(await raw.next(), A);
  });

  test("pings and pongs between a header and its attachment do not matter", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send(`52-/rc,1["echo",${PLACEHOLDER(0)},${PLACEHOLDER(1)}]`, A);
    raw.ws.send("3");
    raw.ws.socket.ping("x");
    raw.ws.send("6");
    raw.send(B);
    assert.equal(await raw.next(), `462-/rc,1[${PLACEHOLDER(0)},${PLACEHOLDER(1)}]`);
    assert.deepEqual([await raw.next(), await raw.next()], [A, B]);
  });

  test("a binary ack from the client", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,1["emit",{"target":"socket","event":"q","ack":true}]');
    const [, id] = /^42\/rc,(\d+)\["q"\]$/.exec(await raw.next());
    raw.send(`61-/rc,${id}["x",${PLACEHOLDER(0)}]`, A);
    assert.equal(await raw.next(), `461-/rc,1[{"ok":{"err":null,"response":["x",${PLACEHOLDER(0)}]}}]`);
    assert.deepEqual(await raw.next(), A);
  });

  test("a binary broadcast is a header and its attachments, for each receiver", async (t) => {
    const list = await Promise.all([1, 2, 3].map(() => Raw.connect(t, server, "/rc", { room: "binary" })));
    list[0].send(`51-/rc,1["emit",{"to":"binary","event":"data","args":[${PLACEHOLDER(0)},1]}]`, A);
    for (const raw of list) {
      assert.equal(await raw.next(), `451-/rc,["data",${PLACEHOLDER(0)},1]`);
      assert.deepEqual(await raw.next(), A);
    }
    assert.equal(await list[0].next(), '43/rc,1[{"ok":true}]');
  });

  test("over polling: attachments are base64 packets after their header", async () => {
    const session = await pollingSocket(server);
    await session.send(`451-/rc,1["echo",${PLACEHOLDER(0)}]`, "bAQID");
    assert.deepEqual(await session.receive(2), [`461-/rc,1[${PLACEHOLDER(0)}]`, "bAQID"]);
    await session.send(`452-/rc,2["echo",${PLACEHOLDER(0)},${PLACEHOLDER(1)}]`, "b");
    await session.send("b/w==");
    assert.deepEqual(await session.receive(3), [`462-/rc,2[${PLACEHOLDER(0)},${PLACEHOLDER(1)}]`, "b", "b/w=="]);
  });
});

describe("one connection, several namespaces", { concurrency: 4 }, () => {
  test("packets of each go their own way", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    for (const nsp of ["/rc2", "/", "/custom", "/bench", "/chat"]) await raw.join(nsp);
    raw.inbox.takeAll();
    raw.send('2/rc,1["echo","a"]', '2/rc2,1["echo","b"]', '21["message-with-ack","c"]', '2/custom,1["message-with-ack","d"]', '2/bench,1["echo","e"]');
    const answers = [];
    while (answers.length < 5) {
      const packet = await raw.next();
      if (packet.startsWith("43")) answers.push(packet);
    }
    assert.deepEqual(answers.sort(), ['43/bench,1["e"]', '43/custom,1["d"]', '43/rc,1["a"]', '43/rc2,1["b"]', '431["c"]']);
  });

  test("a bad packet ends all of them", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send('2/rc,["connect"]');
    await raw.expectClosed();
    for (const nsp of ["/rc", "/rc2"]) {
      assert.equal(await farewellReason(observer, raw.ids[nsp], nsp), "forced close");
    }
  });
});
