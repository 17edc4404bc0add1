// The admin interface, by a client that speaks as the Admin UI does. TARGET=reference runs the same against Node.js with
// the official @socket.io/admin-ui.
import { assertTime, keys, startAdmin } from "./admin.mjs";
import { assert, greenroomOnly, test, until, within } from "./support.mjs";

const OPEN = { ADMIN_HASH: "none" };
const COMMANDS = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];
const next = (client, event) => within(new Promise((resolve) => client.once(event, (...args) => resolve(args))), event);

test("name and password let in, and then a session does", async (t) => {
  const server = await startAdmin(t);
  const auth = { username: "admin", password: "changeit" };
  for (const transports of [["polling", "websocket"], ["websocket"]]) {
    const admin = await server.admin({ auth, transports }).ready();
    const [session] = await admin.told("session");
    assert.equal(typeof session, "string");
    const again = await server.admin({ auth: { sessionId: session }, transports }).ready();
    await again.told("config");
    assert.equal(again.count("session"), 0);
  }
});

test("whoever has neither is refused", async (t) => {
  const server = await startAdmin(t);
  for (const auth of [undefined, {}, { username: "admin", password: "change it" }, { username: "adm", password: "changeit" }, { sessionId: "x" }, { sessionId: null }]) {
    assert.equal(await server.admin({ auth }).refused(), "invalid credentials");
  }
});

test("the UI is told what it may do", async (t) => {
  for (const [env, features] of [
    [{}, [...COMMANDS, "AGGREGATED_EVENTS", "ALL_EVENTS"]],
    [{ READ_ONLY: "1" }, ["AGGREGATED_EVENTS", "ALL_EVENTS"]],
    [{ PRODUCTION: "1" }, [...COMMANDS, "AGGREGATED_EVENTS"]],
  ]) {
    const server = await startAdmin(t, { ...OPEN, ...env });
    const admin = await server.admin().ready();
    const [config] = await admin.told("config");
    assert.deepEqual(config, { supportedFeatures: features });
  }
});

test("all sockets are listed", async (t) => {
  const server = await startAdmin(t, OPEN);
  // The reference knows the transport of sockets that it saw connect.
  const client = await server.client({ transports: ["websocket"], query: { from: "test" }, auth: { token: "secret" } });
  client.emit("name", "ann");
  await client.emitWithAck("echo", 1);
  const admin = await server.admin().ready();
  const [sockets] = await admin.told("all_sockets");
  assert.deepEqual(sockets.map((socket) => socket.nsp).sort(), ["/", "/admin"]);
  const shown = sockets.find((socket) => socket.nsp === "/");
  assert.deepEqual(keys(shown), ["clientId", "data", "handshake", "id", "nsp", "rooms", "transport"]);
  assert.deepEqual([shown.id, shown.transport, shown.rooms, shown.data], [client.id, "websocket", [client.id], { name: "ann" }]);
  assert.equal(shown.clientId.length, 12);
  const { handshake } = shown;
  assert.deepEqual(keys(handshake), ["address", "headers", "issued", "query", "secure", "time", "url", "xdomain"]);
  assert.equal(handshake.address, "127.0.0.1");
  assert.equal(handshake.query.from, "test");
  assert.equal(handshake.secure, false);
  assert.equal(handshake.headers.host, new URL(server.url).host);
  assert.ok(Math.abs(handshake.issued - Date.now()) < 60_000);
  assert.ok(!JSON.stringify(shown).includes("secret"));
});

test("what happens to a socket is shown", async (t) => {
  const server = await startAdmin(t, OPEN);
  const admin = await server.admin({ transports: ["websocket"] }).ready();
  await admin.told("all_sockets");
  const client = await server.client(); // polls, then moves to a WebSocket
  const { id: clientId } = client; // it forgets its id at the end
  const own = (nsp, id) => nsp === "/" && id === clientId;

  const [connected, at] = await admin.told("socket_connected", (socket) => own(socket.nsp, socket.id));
  assert.deepEqual(keys(connected), ["clientId", "data", "handshake", "id", "nsp", "rooms", "transport"]);
  assert.deepEqual([connected.rooms, connected.data], [[client.id], {}]);
  assertTime(at);
  const [moved] = await admin.told("socket_updated", (socket) => own(socket.nsp, socket.id) && socket.transport);
  assert.deepEqual(moved, { id: client.id, nsp: "/", transport: "websocket" });
  await admin.told("room_joined", (nsp, room, id) => own(nsp, id) && room === client.id);

  client.emit("join", "red");
  assertTime((await admin.told("room_joined", (nsp, room, id) => own(nsp, id) && room === "red"))[3]);
  client.emit("leave", "red");
  assertTime((await admin.told("room_left", (nsp, room, id) => own(nsp, id) && room === "red"))[3]);
  client.emit("name", "ann");
  const [named] = await admin.told("socket_updated", (socket) => socket.id === client.id && socket.data?.name);
  assert.deepEqual(named, { id: client.id, nsp: "/", data: { name: "ann" } });

  await client.emitWithAck("echo", 1, { two: [null, "3"] });
  const received = await admin.told("event_received", (nsp, id, args) => own(nsp, id) && args[0] === "echo");
  assert.deepEqual(received[2], ["echo", 1, { two: [null, "3"] }]);
  assertTime(received[3]);

  client.disconnect();
  const gone = await admin.told("socket_disconnected", own);
  assert.equal(gone[2], "client namespace disconnect");
  assertTime(gone[3]);
  await admin.told("room_left", (nsp, room, id) => own(nsp, id) && room === clientId);
});

test("the events that a socket is sent are shown", async (t) => {
  const server = await startAdmin(t, OPEN);
  const admin = await server.admin({ transports: ["websocket"] }).ready();
  await admin.told("all_sockets");
  const client = await server.client({ transports: ["websocket"] });
  await admin.told("socket_connected", (socket) => socket.id === client.id);
  const told = next(client, "told");
  client.emit("tell", "hello");
  assert.deepEqual(await told, ["hello"]);
  const [nsp, id, args, at] = await admin.told("event_sent", (_, id) => id === client.id);
  assert.deepEqual([nsp, id, args], ["/", client.id, ["told", "hello"]]);
  assertTime(at);
});

test("an admin emits, moves and disconnects", async (t) => {
  const server = await startAdmin(t, OPEN);
  const { socket: admin, told } = await server.admin({ transports: ["websocket"] }).ready();
  const [ann, ben] = await Promise.all([server.client(), server.client()]);
  let events = Promise.all([next(ann, "hi"), next(ben, "hi")]);
  admin.emit("emit", "/", undefined, "hi", 1, { b: 2 });
  assert.deepEqual(await events, [[1, { b: 2 }], [1, { b: 2 }]]);

  admin.emit("join", "/", "red", ann.id);
  events = next(ann, "red");
  admin.emit("emit", "/", "red", "red");
  assert.deepEqual(await events, []);
  admin.emit("join", "/", "blue");
  events = Promise.all([next(ann, "blue"), next(ben, "blue")]);
  admin.emit("emit", "/", "blue", "blue", Buffer.from([1, 2, 3]));
  for (const [bytes] of await events) assert.deepEqual([...bytes], [1, 2, 3]);

  admin.emit("leave", "/", "blue", "red");
  ann.once("only ben", () => assert.fail("it has left the room"));
  events = Promise.all([next(ben, "only ben"), next(ann, "last")]);
  admin.emit("emit", "/", "blue", "only ben");
  admin.emit("emit", "/", ann.id, "last");
  await events;

  events = next(ann, "disconnect");
  admin.emit("_disconnect", "/", false, "red");
  assert.equal((await events)[0], "io server disconnect");
  events = next(ben, "disconnect");
  admin.emit("_disconnect", "/", true);
  assert.match((await events)[0], /^(io server disconnect|transport close)$/);
  assert.ok(admin.connected);
  assert.equal(typeof told, "function");
});

test("in read-only mode nothing is done", async (t) => {
  const server = await startAdmin(t, { ...OPEN, READ_ONLY: "1" });
  const admin = await server.admin({ transports: ["websocket"] }).ready();
  const client = await server.client({ transports: ["websocket"] });
  client.onAny((event) => assert.fail(event));
  admin.socket.emit("emit", "/", undefined, "hi");
  admin.socket.emit("join", "/", "red");
  admin.socket.emit("_disconnect", "/", true);
  await admin.told("server_stats"); // by then it would have happened
  await admin.told("socket_connected", (socket) => socket.id === client.id);
  await client.emitWithAck("echo", 1);
  assert.ok(client.connected);
  assert.ok(!admin.seen.some(({ name, args }) => name === "room_joined" && args[1] === "red"));
});

test("the server tells how it is", async (t) => {
  const server = await startAdmin(t, { ...OPEN, PRODUCTION: "1" });
  const admin = await server.admin({ transports: ["websocket"] }).ready();
  const polling = await server.client({ transports: ["polling"] });
  await server.client({ transports: ["websocket"] });
  const [stats] = await admin.told("server_stats", (stats) => stats.clientsCount === 3);
  assert.deepEqual(keys(stats), ["aggregatedEvents", "clientsCount", "hostname", "namespaces", "pid", "pollingClientsCount", "serverId", "uptime"]);
  assert.deepEqual([stats.serverId, stats.pollingClientsCount], ["test", 1]);
  assert.ok(stats.uptime > 0 && stats.pid > 0 && stats.hostname.length > 0);
  const byName = (a, b) => a.name.localeCompare(b.name);
  assert.deepEqual(stats.namespaces.sort(byName), [
    { name: "/", socketsCount: 2 }, { name: "/admin", socketsCount: 1 }, { name: "/news", socketsCount: 0 },
  ]);
  await polling.emitWithAck("echo", "x".repeat(1000));
  polling.disconnect();
  const counted = () => admin.seen.filter((one) => one.name === "server_stats").flatMap((one) => one.args[0].aggregatedEvents);
  const sum = (type) => counted().filter((one) => one.type === type).reduce((total, one) => total + one.count, 0);
  await until(() => sum("rawDisconnection"), (count) => count === 1, "a disconnection is counted");
  await until(() => sum("bytesIn"), (bytes) => bytes > 1000, "bytes are counted");
  await until(() => sum("bytesOut"), (bytes) => bytes > 1000, "bytes are counted");
  assert.ok(sum("rawConnection") >= 2 && sum("packetsIn") >= 2 && sum("packetsOut") >= 3);
  for (const one of counted()) {
    assert.deepEqual(keys(one), one.type === "rawDisconnection" ? ["count", "subType", "timestamp", "type"] : ["count", "timestamp", "type"]);
    assert.equal(one.timestamp % 1000, 0);
  }
  assert.equal(counted().find((one) => one.type === "rawDisconnection").subType, "transport close");
  const names = new Set(admin.seen.map((one) => one.name));
  assert.deepEqual([...names].sort(), ["config", "server_stats"], "nothing of sockets in production mode");
});

greenroomOnly("what lets a client in is hidden", "whoever looks could be the client", async (t) => {
  const server = await startAdmin(t, OPEN);
  const extraHeaders = { cookie: "session=secret", authorization: "Bearer secret", "x-forwarded-for": "1.2.3.4", "x-team": "red" };
  const client = await server.client({ transports: ["websocket"], extraHeaders });
  const admin = await server.admin().ready();
  const [sockets] = await admin.told("all_sockets");
  const { handshake } = sockets.find((socket) => socket.id === client.id);
  assert.deepEqual([handshake.headers.cookie, handshake.headers.authorization, handshake.headers["x-team"]], ["(hidden)", "(hidden)", "red"]);
  assert.equal(handshake.address, "127.0.0.1");
});

greenroomOnly("a program uses the JSON API", "the reference has none", async (t) => {
  const server = await startAdmin(t);
  const client = await server.client();
  const api = async (method, path, { auth, body, type = "application/json", origin } = {}) => {
    const headers = { ...(auth && { authorization: auth }), ...(body && { "content-type": type }), ...(origin && { origin }) };
    const response = await fetch(`${server.url}/admin/api/${path}`, { method, headers, body: body && JSON.stringify(body) });
    return { status: response.status, headers: response.headers, body: await response.json() };
  };
  assert.equal((await api("GET", "sockets")).status, 401);
  const login = await api("POST", "session", { body: { username: "admin", password: "changeit" } });
  const auth = `Bearer ${login.body.session}`;
  const basic = `Basic ${btoa("admin:changeit")}`;
  for (const who of [auth, basic]) {
    const listed = await api("GET", "sockets?namespace=/&limit=10", { auth: who });
    assert.deepEqual(listed.body.sockets.map((socket) => socket.id), [client.id]);
    assert.equal(listed.body.next, null);
  }
  const hi = next(client, "hi");
  assert.equal((await api("POST", "emit", { auth, body: { to: client.id, event: "hi", args: ["there"] } })).status, 200);
  assert.deepEqual(await hi, ["there"]);
  assert.equal((await api("POST", "emit", { auth, type: "text/plain", body: { to: null, event: "hi" } })).status, 415);
  const foreign = await api("OPTIONS", "emit", { origin: "https://evil.example" });
  assert.equal(foreign.headers.get("access-control-allow-origin"), null);
  const gone = next(client, "disconnect");
  assert.deepEqual((await api("POST", "disconnect", { auth, body: { to: client.id } })).body, { disconnected: 1 });
  await gone;
});
