// Clients that do not read: closed with a code and a line in the log, or thinned, as the namespace says.
import { assert, call, client, describe, greenroomOnly, startServer, until, up, within } from "./support.mjs";

const WHY = "the reference keeps everything for a client that does not read";
const EVENTS = 6000;
const PAYLOAD = "x".repeat(4000);
// Half a bound of 1 MiB, in events.
const AHEAD = 128;

/** The official client stops reading, in the middle of a frame as it may be. */
const stall = (socket) => socket.io.engine.transport.ws._socket.pause();
const resume = (socket) => socket.io.engine.transport.ws._socket.resume();

/** Sends numbered events to everybody in /bench, some in flight, and no faster than the reader reads. */
async function flood(publisher, reader, from = 0) {
  const inFlight = new Set();
  for (let n = from; n < from + EVENTS; n++) {
    // On a busy machine it may be slow itself, and its events are dropped with right then.
    if (n % 32 === 0) await until(() => reader.numbers.at(-1) ?? -1, (last) => last >= n - AHEAD, "an event at the client that reads");
    const sent = call(publisher, "publish-all", { n, payload: PAYLOAD }).then(() => inFlight.delete(sent));
    inFlight.add(sent);
    if (inFlight.size >= 32) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  await until(() => reader.numbers.length, (count) => count >= from + EVENTS, "events of the client that reads");
}

async function cast(t, env) {
  const server = await startServer(t, env);
  const [slow, reader, publisher] = await Promise.all([0, 1, 2].map(() => client(t, server, "/bench")));
  for (const socket of [slow, reader]) {
    socket.offAny();
    socket.numbers = [];
    socket.on("msg", ({ n, payload }) => {
      assert.equal(payload.length, PAYLOAD.length);
      socket.numbers.push(n);
    });
  }
  publisher.offAny();
  return { server, slow, reader, publisher };
}

const all = Array.from({ length: EVENTS }, (_, n) => n);

describe("clients that do not read", () => {
  greenroomOnly("one is closed with 1013 and named in the log, and the others lose nothing", WHY, async (t) => {
    const { server, slow, reader, publisher } = await cast(t, {});
    let code;
    slow.io.engine.transport.ws.on("close", (number) => (code = number));
    stall(slow);
    await flood(publisher, reader);
    await until(() => server.stderr, (log) => /slow/.test(log), "the line about the slow client", 5000);
    assert.deepEqual(reader.numbers, all);
    resume(slow);
    const { reason } = await within(slow.gone, "the end of the slow client");
    assert.equal(reason, "transport close");
    assert.equal(code, 1013);
    // What it got has no gap.
    assert.deepEqual(slow.numbers, all.slice(0, slow.numbers.length));
    assert.ok(slow.numbers.length < EVENTS);
    // It may come back.
    slow.connect();
    await up(slow);
  });

  for (const policy of ["drop-oldest", "drop-newest", "keep-latest"]) {
    greenroomOnly(`one is thinned where the namespace says ${policy}`, WHY, async (t) => {
      const { server, slow, reader, publisher } = await cast(t, { WHEN_FULL: policy });
      stall(slow);
      await flood(publisher, reader);
      assert.deepEqual(reader.numbers, all);
      resume(slow);
      await call(slow, "echo", 1);
      const got = slow.numbers;
      assert.ok(slow.connected);
      assert.doesNotMatch(server.stderr, /slow client closed/);
      assert.ok(got.length < EVENTS, `${got.length} events`);
      assert.ok(got.every((n, i) => i === 0 || got[i - 1] < n), "in order, none twice");
      if (policy !== "drop-newest") assert.equal(got.at(-1), EVENTS - 1);
      else assert.deepEqual(got, all.slice(0, got.length));
      // It has caught up, and gets everything again.
      const before = got.length;
      await flood(publisher, reader, EVENTS);
      await until(() => slow.numbers.length, (count) => count === before + EVENTS, "events after catching up");
    });
  }
});

