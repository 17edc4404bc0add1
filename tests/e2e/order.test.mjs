// The promises about order (ARCHITECTURE.md "Promises about order"), thousands of rounds, on one worker and on four.
import {
  test as plainTest, assert, describe, useServer, client, clients, ask, call, Raw, isReference, within, until, TRANSPORTS, next, show,
} from "./support.mjs";

let fail; // ends the running test: what goes wrong in a listener

function test(name, options, body) {
  return plainTest(name, options, async (t) => {
    const failed = new Promise((_, reject) => (fail = reject));
    failed.catch(() => {});
    await Promise.race([body(t), failed]);
  });
}

const guard = (listener) => (...args) => {
  try {
    listener(...args);
  } catch (error) {
    fail(error);
  }
};

/** A bare client of one namespace that hands every frame to `on`. */
async function bare(t, server, nsp, auth) {
  const raw = await Raw.connect(t, server, nsp, auth);
  raw.frames = [];
  raw.on = (frame) => raw.frames.push(frame);
  raw.inbox.push = guard((frame) => raw.on(frame));
  for (const frame of raw.inbox.items.splice(0)) raw.on(frame);
  return raw;
}

/** Calls `send(i)` for i below `count`, at most `window` ahead of what `done()` has been called for. */
function pipeline(count, window, send) {
  let sent = 0;
  let finished = 0;
  let resolve;
  const end = new Promise((r) => (resolve = r));
  const more = () => {
    while (sent < count && sent - finished < window) send(sent++);
  };
  more();
  return {
    done() {
      if (++finished === count) resolve();
      else more();
    },
    end: within(end, () => `pipeline: ${finished} of ${count} finished`, 60000),
  };
}

for (const workers of isReference ? [undefined] : ["1", "4"]) {
  describe(workers ? `WORKERS=${workers}` : "reference", () => {
    const server = useServer(workers ? { WORKERS: workers } : {});

    test("a broadcast that includes the sender comes before its ack: 20000 publishes, one sender", { timeout: 90000 }, async (t) => {
      const a = await bare(t, server, "/bench");
      const ROUNDS = 20_000;
      a.send('2/bench,["join","own"]');
      let messages = 0;
      let acks = 0;
      const line = pipeline(ROUNDS, 64, (i) => a.send(`2/bench,${i}["publish","own",${i}]`));
      a.on = (frame) => {
        if (frame.startsWith("42")) {
          assert.equal(frame, `42/bench,["msg",${messages}]`);
          messages++;
        } else {
          assert.equal(frame, `43/bench,${acks}[]`);
          assert.ok(messages > acks, `ack ${acks} before its message`);
          acks++;
          line.done();
        }
      };
      await line.end;
      assert.deepEqual([messages, acks], [ROUNDS, ROUNDS]);
    });

    test("the same one at a time: 3000", { timeout: 60000 }, async (t) => {
      const a = await bare(t, server, "/bench");
      a.send('2/bench,["join","single"]');
      const line = pipeline(3000, 1, (i) => a.send(i % 2 ? `2/bench,${i}["publish","single",${i}]` : `2/bench,${i}["publish-all",${i}]`));
      let last;
      a.on = (frame) => {
        if (frame.startsWith("42")) last = frame;
        else {
          const i = Number(/^43\/bench,(\d+)\[\]$/.exec(frame)[1]);
          assert.equal(last, `42/bench,["msg",${i}]`);
          line.done();
        }
      };
      await line.end;
    });

    test("all members see one same order while 8 of them publish 1500 each", { timeout: 90000 }, async (t) => {
      const PUBLISHERS = 8;
      const EACH = 1500;
      const members = await Promise.all(Array.from({ length: PUBLISHERS + 2 }, () => bare(t, server, "/bench")));
      const official = await Promise.all(Object.values(TRANSPORTS).map((transport) => client(t, server, "/bench", transport)));
      const seen = [...members, ...official].map(() => []);
      for (const [m, raw] of members.entries()) raw.send('2/bench,0["join","common"]'), (raw.joined = until(() => raw.frames.length, (n) => n > 0));
      await Promise.all(members.map((raw) => raw.joined));
      for (const [k, socket] of official.entries()) {
        socket.on("msg", (x) => seen[members.length + k].push(x));
        await call(socket, "join", "common");
      }
      const lines = members.slice(0, PUBLISHERS).map((raw, p) => pipeline(EACH, 16, (i) => raw.send(`2/bench,${i + 1}["publish","common","${p}:${i}"]`)));
      for (const [m, raw] of members.entries()) {
        let acks = 0;
        let own = 0;
        raw.on = (frame) => {
          if (frame.startsWith("42")) {
            const x = JSON.parse(frame.slice(9))[1];
            seen[m].push(x);
            if (x.startsWith(`${m}:`)) assert.equal(x, `${m}:${own++}`);
          } else {
            assert.equal(frame, `43/bench,${++acks}[]`);
            assert.ok(own >= acks, "the message before its ack");
            lines[m].done();
          }
        };
      }
      await Promise.all(lines.map((line) => line.end));
      const all = PUBLISHERS * EACH;
      await until(() => Math.min(...seen.map((list) => list.length)), (n) => n >= all, "messages of everybody", 30000);
      const [first] = seen;
      assert.equal(new Set(first).size, all);
      for (const [m, list] of seen.entries()) {
        assert.equal(list.length, all, `member ${m}`);
        const at = list.findIndex((x, i) => x !== first[i]);
        assert.equal(at, -1, `member ${m} differs at ${at}: ${list.slice(at, at + 3)} / ${first.slice(at, at + 3)}`);
      }
    });

    test("join, publish, leave, publish without waiting: 3000 rounds", { timeout: 60000 }, async (t) => {
      const a = await bare(t, server, "/bench");
      const ROUNDS = 3000;
      let messages = 0;
      const line = pipeline(ROUNDS, 20, (i) => {
        const room = `jp${i % 7}`;
        a.send(`2/bench,["join","${room}"]`, `2/bench,["publish","${room}",${i}]`, `2/bench,["leave","${room}"]`, `2/bench,${i}["publish","${room}","after leaving"]`);
      });
      a.on = (frame) => {
        if (frame.startsWith("42")) assert.equal(frame, `42/bench,["msg",${messages++}]`);
        else {
          assert.ok(messages > Number(/^43\/bench,(\d+)\[\]$/.exec(frame)[1]));
          line.done();
        }
      };
      await line.end;
      assert.equal(messages, ROUNDS);
    });

    test("who has been told that it joined hears what is published then: 600 rounds", { timeout: 60000 }, async (t) => {
      const members = await clients(t, server, 4, "/bench");
      const publisher = await client(t, server, "/bench");
      for (let i = 0; i < 150; i++) {
        await Promise.all(members.map((m, k) => call(m, "join", `told-${i}-${k}`)));
        for (let k = 0; k < 4; k++) publisher.emit("publish", `told-${i}-${k}`, i);
        for (const m of members) assert.deepEqual(await next(m, "msg"), [i]);
      }
    });

    test("members that come and go see a piece without gaps of the one order", { timeout: 60000 }, async (t) => {
      const observer = await bare(t, server, "/bench");
      const order = [];
      observer.on = (frame) => frame.startsWith("42") && order.push(JSON.parse(frame.slice(9))[1]);
      observer.send('2/bench,["join","churn"]');
      let stop = false;
      const publishers = await Promise.all([0, 1, 2].map(async (p) => {
        const raw = await bare(t, server, "/bench");
        let n = 0;
        let end;
        const ended = new Promise((resolve) => (end = resolve));
        const publish = () => raw.send(`2/bench,${n}["publish","churn","${p}:${n++}"]`);
        raw.on = () => (stop ? end() : publish());
        publish();
        publish();
        return { ended };
      }));
      const pieces = [];
      await Promise.all([0, 1, 2, 3].map(async (c) => {
        const raw = await bare(t, server, "/bench");
        for (let round = 0; round < 60; round++) {
          const piece = [];
          let heard;
          const enough = new Promise((resolve) => (heard = resolve));
          raw.on = (frame) => {
            if (!frame.startsWith("42")) return;
            piece.push(JSON.parse(frame.slice(9))[1]);
            if (piece.length === 10 + c) heard();
          };
          raw.send('2/bench,["join","churn"]');
          await within(enough, () => `round ${round}: ${piece.length} messages`);
          raw.send('2/bench,["leave","churn"]');
          // an echo is answered when the leave has been done; what was on its way may still come
          let left;
          const gone = new Promise((resolve) => (left = resolve));
          const collect = raw.on;
          raw.on = (frame) => (frame.startsWith("43/bench,777[") ? left() : collect(frame));
          raw.send('2/bench,777["echo",0]');
          await within(gone, "echo");
          pieces.push(piece);
        }
      }));
      stop = true;
      await Promise.all(publishers.map((p) => p.ended));
      const place = new Map(order.map((x, i) => [x, i]));
      for (const piece of pieces) {
        const start = place.get(piece[0]);
        for (const [i, x] of piece.entries()) {
          if (i > 9) break; // what was heard before leaving
          assert.equal(place.get(x), start + i, `${show(piece)} against ${show(order.slice(start, start + 12))}`);
        }
      }
    });

    test("binary packets of several publishers are never mixed: 6 × 300, two attachments each", { timeout: 60000 }, async (t) => {
      const PUBLISHERS = 6;
      const EACH = 300;
      const members = await Promise.all(Array.from({ length: PUBLISHERS }, () => bare(t, server, "/bench")));
      const official = await client(t, server, "/bench", TRANSPORTS.polling);
      for (const raw of members) {
        raw.send('2/bench,0["join","binary"]');
        await until(() => raw.frames.length, (n) => n > 0);
      }
      await call(official, "join", "binary");
      let received = 0;
      official.on("msg", guard((x) => {
        received++;
        if (typeof x === "string") return;
        assert.ok(x.a.length === 20 + (x.n % 50) && x.a.every((b) => b === x.p) && x.b.length === 4 && x.b.readUInt32LE() === x.n, show(x));
      }));
      const lines = members.map((raw, p) => pipeline(EACH, 8, (n) => {
        const b = Buffer.alloc(4);
        b.writeUInt32LE(n);
        raw.send(`52-/bench,["publish","binary",{"p":${p},"n":${n},"a":{"_placeholder":true,"num":0},"b":{"_placeholder":true,"num":1}}]`,
          Buffer.alloc(20 + (n % 50), p), b);
        raw.send(`2/bench,${n + 1}["publish","binary","text ${p}:${n}"]`);
      }));
      const counts = members.map(() => 0);
      for (const [m, raw] of members.entries()) {
        let waiting = null;
        raw.on = (frame) => {
          if (typeof frame !== "string") {
            assert.ok(waiting, "an attachment that nobody announced");
            const { p, n } = waiting;
            if (!waiting.first) {
              waiting.first = true;
              assert.ok(frame.length === 20 + (n % 50) && frame.every((byte) => byte === p), `first attachment of ${p}:${n}`);
            } else {
              assert.ok(frame.length === 4 && frame.readUInt32LE() === n, `second attachment of ${p}:${n}`);
              waiting = null;
              counts[m]++;
            }
            return;
          }
          assert.equal(waiting, null, `${frame} between a header and its attachments`);
          if (frame.startsWith("452-")) waiting = JSON.parse(frame.slice(frame.indexOf("[")))[1];
          else if (frame.startsWith("43")) lines[m].done();
        };
      }
      await Promise.all(lines.map((line) => line.end));
      await until(() => Math.min(...counts), (n) => n === PUBLISHERS * EACH, "binary messages of everybody");
      await until(() => received, (n) => n === 2 * PUBLISHERS * EACH, "messages of the polling member");
    });

    test("emits, broadcasts and acks of one client, mixed without waiting: 6000 operations", { timeout: 60000 }, async (t) => {
      const a = await bare(t, server, "/rc");
      const other = await bare(t, server, "/rc");
      other.on = () => {};
      const ROUNDS = 6000;
      const selections = [
        { target: "socket" }, { to: a.id }, { in: ["mine", a.id] }, { to: "mine" }, { target: "socket" }, { except: other.id }, { to: "mine", flags: { local: true } },
      ];
      a.send('2/rc,["join",{"rooms":"mine"}]');
      let events = 0;
      let acks = 0;
      const line = pipeline(ROUNDS, 32, (i) => {
        if (i % 10 === 9) a.send(`2/rc,${i}["echo",${i}]`);
        else a.send(`2/rc,${i}${JSON.stringify(["emit", { ...selections[i % 7], event: "e", args: [i] }])}`);
      });
      a.on = (frame) => {
        if (frame.startsWith("42")) {
          if (events % 10 === 9) events++; // an echo has no event
          assert.equal(frame, `42/rc,["e",${events++}]`);
        } else {
          assert.equal(frame, acks % 10 === 9 ? `43/rc,${acks}[${acks}]` : `43/rc,${acks}[{"ok":true}]`);
          assert.ok(events > acks || acks % 10 === 9, `ack ${acks} before its event`);
          acks++;
          line.done();
        }
      };
      await line.end;
    });

    test("the same with binary arguments and volatile events between: 2000 operations", { timeout: 60000 }, async (t) => {
      const a = await client(t, server, "/rc");
      const got = [];
      a.on("e", (n, data) => got.push([n, data]));
      let acks = 0;
      const ROUNDS = 2000;
      await Promise.all(Array.from({ length: ROUNDS }, async (_, i) => {
        const selection = i % 3 ? { to: a.id } : { target: "socket" };
        await ask(a, "emit", { ...selection, event: "e", args: [i, i % 2 ? Buffer.from([i & 255]) : "text"] });
        assert.ok(got.length > acks++, `ack ${i}`);
        assert.ok(got.some(([n]) => n === i) || got.length > i, `ack ${i} before its event`);
      }));
      assert.deepEqual(got.map(([n]) => n), Array.from({ length: ROUNDS }, (_, i) => i));
      for (const [n, data] of got) assert.deepEqual(data, n % 2 ? Buffer.from([n & 255]) : "text");
    });

    test("bursts, then bye, then the DISCONNECT, and nothing after: 200 rounds on one connection", { timeout: 60000 }, async (t) => {
      const a = await bare(t, server, "/rc2");
      a.frames.length = 0;
      for (let round = 0; round < 200; round++) {
        a.frames.length = 0;
        const count = 1 + (round % 40);
        a.send('2/rc2,["join",{"rooms":"last"}]', `2/rc2,["burst",{"count":${count}}]`, '2/rc2,["emit",{"to":"last","event":"cast"}]', `2/rc2,["bye",${round},false]`);
        await until(() => a.frames.length, (n) => n >= count + 3, `round ${round}`);
        assert.deepEqual(a.frames, [
          ...Array.from({ length: count }, (_, i) => `42/rc2,["b",${i}]`), '42/rc2,["cast"]', `42/rc2,["bye",${round}]`, "41/rc2,",
        ]);
        a.send("0/rc2,");
        await until(() => a.frames.length, (n) => n >= count + 4, `join of round ${round}`);
        assert.match(a.frames.at(-1), /^40\/rc2,\{"sid"/);
      }
    });

    test("CONNECT comes before the first broadcast, and nothing is missing after it: 200 joins while others publish", { timeout: 60000 }, async (t) => {
      let stop = false;
      const publisher = await bare(t, server, "/rc");
      let n = 0;
      let last;
      const ended = new Promise((resolve) => (last = resolve));
      const publish = () => publisher.send(`2/rc,${n}["emit",{"to":"open","event":"n","args":[${n++}]}]`);
      publisher.on = () => (stop ? last() : publish());
      publish();
      publish();
      const a = await bare(t, server);
      for (let round = 0; round < 200; round++) {
        a.frames.length = 0;
        a.send('0/rc,{"room":"open","hello":true}');
        await until(() => a.frames.length, (k) => k >= 6, `round ${round}`);
        a.send("1/rc,");
        const frames = a.frames.slice();
        assert.match(frames[0], /^40\/rc,\{"sid"/);
        const hello = frames.indexOf('42/rc,["hello",{"nsp":"/rc","recovered":false}]');
        assert.ok(hello > 0, show(frames));
        const numbers = frames.slice(1).filter((_, i) => i !== hello - 1).map((f) => Number(/^42\/rc,\["n",(\d+)\]$/.exec(f)?.[1]));
        for (let i = 1; i < numbers.length; i++) assert.equal(numbers[i], numbers[i - 1] + 1, show(frames));
        const size = a.frames.length;
        // an unknown namespace is refused at once: when the refusal is there, all that was sent before is there too
        a.send("0/none,");
        await until(() => a.frames.slice(size), (list) => list.some((f) => f.startsWith("44/none,")), "the refusal");
      }
      stop = true;
      await ended;
    });

    test("several namespaces of one connection: each keeps its own order", { timeout: 60000 }, async (t) => {
      const a = await bare(t, server, "/bench");
      a.send("0/rc,", "0/rc2,");
      await until(() => a.frames.length, (n) => n >= 2);
      const seen = { "/bench": 0, "/rc": 0, "/rc2": 0 };
      a.send('2/bench,["join","x"]', '2/rc,["join",{"rooms":"x"}]', '2/rc2,["join",{"rooms":"x"}]');
      let done = 0;
      const ROUNDS = 1500;
      a.on = (frame) => {
        const [, nsp, text] = /^42(\/[a-z0-9]+),(.*)$/.exec(frame) ?? [];
        if (!nsp) return;
        assert.equal(JSON.parse(text)[1], seen[nsp]++);
        done++;
      };
      for (let i = 0; i < ROUNDS; i++) {
        a.send(`2/bench,["publish","x",${i}]`, `2/rc,["emit",{"to":"x","event":"e","args":[${i}]}]`, `2/rc2,["emit",{"target":"socket","event":"e","args":[${i}]}]`);
      }
      await until(() => done, (n) => n === 3 * ROUNDS, "events", 20000);
    });

    test("acks of many clients at once: each gets its own, in order", { timeout: 60000 }, async (t) => {
      const list = await Promise.all(Array.from({ length: 20 }, () => bare(t, server, "/bench")));
      const lines = list.map((raw, c) => {
        let acks = 0;
        const line = pipeline(500, 16, (i) => raw.send(`2/bench,${i}["echo","${c}:${i}"]`));
        raw.on = (frame) => {
          assert.equal(frame, `43/bench,${acks}["${c}:${acks}"]`);
          acks++;
          line.done();
        };
        return line;
      });
      await Promise.all(lines.map((line) => line.end));
    });
  });
}
