// What clients that nobody knows yet can take away from others: nothing for long.
import { test, assert, useServer, client, Tcp, Polling, http, until, within, DEADLINE } from "./support.mjs";

const FILES = 128;
// one worker of HTTP: its files are few
const server = useServer({ WORKERS: "1" }, { openFiles: FILES });

const echo = (socket) => socket.timeout(DEADLINE).emitWithAck("echo", "x");

test("a server without free file descriptors serves those it has, and takes new clients when there are some", async (t) => {
  const before = await client(t, server, "/rc", { transports: ["websocket"] });
  assert.equal(await echo(before), "x");
  for (let round = 0; round < 2; round++) {
    // more than it can accept: the rest waits in the kernel
    const idle = await Promise.all(Array.from({ length: 2 * FILES }, () => Tcp.connect(t, server)));
    for (let i = 0; i < 5; i++) assert.equal(await echo(before), "x");
    for (const tcp of idle) tcp.socket.destroy();
    await until(async () => (await client(t, server, "/rc", { transports: ["websocket"] })).connected, Boolean, "a new client", DEADLINE);
    assert.equal((await http(server, { path: "/socket.io/?EIO=4&transport=polling" })).status, 200);
  }
  assert.equal(await echo(before), "x");
});

test("sessions that are opened and left, and half upgrades, keep nobody out", async (t) => {
  const sessions = await Promise.all(Array.from({ length: 60 }, () => Polling.open(server, { path: "/socket.io/" })));
  const halves = await Promise.all(sessions.slice(0, 40).map(async ({ sid }) => {
    const tcp = await Tcp.connect(t, server);
    assert.equal((await tcp.upgrade(`/socket.io/?EIO=4&transport=websocket&sid=${sid}`)).status, 101);
    return tcp;
  }));
  assert.equal(await echo(await client(t, server, "/rc")), "x");
  // Their connection ends, and with it the attempt: the sessions are where they were.
  for (const tcp of halves) tcp.socket.resetAndDestroy();
  await within(Promise.all(sessions.map((session) => session.send("40"))), "a word of each session");
});
