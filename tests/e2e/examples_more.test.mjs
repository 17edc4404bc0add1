// The examples of single subjects: first steps, a game, uploads, a whiteboard, who may come in, TLS.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import net from "node:net";
import https from "node:https";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe } from "node:test";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { Socket as EngineSocket } from "engine.io-client";
import { io } from "socket.io-client";
import { TARGET, test, until, within } from "./support.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const testbed = process.env.TESTBED ?? `${here}../../target/release/examples/testbed`;
const skip = TARGET === "reference" ? "these examples are ours" : false;

/** A port that nobody has now. */
async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Runs an example while the tests of the enclosing `describe` run; `env` may be made when they begin. */
function useExample(name, env = () => ({}), { scheme = "http", connects = {} } = {}) {
  const example = { clients: [] };
  before(async () => {
    if (skip) return;
    const port = await freePort();
    example.url = `${scheme}://127.0.0.1:${port}`;
    example.child = spawn(`${dirname(testbed)}/${name}`, [], {
      env: { ...process.env, ...env(), PORT: String(port) },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const listens = async () => {
      const socket = net.connect(port, "127.0.0.1");
      const open = await new Promise((resolve) => socket.once("connect", () => resolve(true)).once("error", () => resolve(false)));
      socket.destroy();
      return open;
    };
    await until(listens, Boolean, `${name} listens`, 30_000);
  });
  after(async () => {
    for (const client of example.clients) client.disconnect();
    if (!example.child) return;
    example.child.kill("SIGKILL");
    if (example.child.exitCode === null && example.child.signalCode === null) await once(example.child, "exit");
  });
  example.client = (namespace = "/", options = {}) => {
    const client = io(example.url + namespace, { forceNew: true, reconnection: false, ...connects, ...options });
    example.clients.push(client);
    return client;
  };
  example.joined = async (namespace, options) => {
    const client = example.client(namespace, options);
    await next(client, "connect");
    return client;
  };
  return example;
}

const next = (client, event) => within(new Promise((resolve) => client.once(event, (...args) => resolve(args))), event, 25_000);
const refused = async (client) => {
  const [{ message, data }] = await next(client, "connect_error");
  return { message, data };
};
const post = (url, body, headers = {}) =>
  fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });

describe("hello", { skip }, () => {
  const server = useExample("hello");

  test("it greets, answers and passes on", async () => {
    const ann = server.client();
    assert.deepEqual(await next(ann, "hello"), ["who is there?"]);
    assert.equal(await ann.emitWithAck("double", 2.5), 5);
    const ben = await server.joined();
    const said = next(ann, "said");
    ben.emit("say", "Ben");
    assert.deepEqual(await said, ["Ben"]);
  });
});

describe("auth", { skip }, () => {
  const server = useExample("auth");

  test("who has the token gets in", async () => {
    const client = await server.joined("/vault", { auth: { token: "open sesame" } });
    assert.equal(await client.emitWithAck("whoami"), "ali baba");
    const refusals = await Promise.all([{ token: "x" }, {}].map((auth) => refused(server.client("/vault", { auth }))));
    assert.deepEqual(refusals, [
      { message: "not authorized", data: { code: 401 } },
      { message: "token missing", data: { code: 400 } },
    ]);
  });
});

describe("actor_state", { skip }, () => {
  const server = useExample("actor_state");

  test("the actor has what everybody said, in order", async () => {
    const [ann, ben] = await Promise.all(["/chat", "/chat"].map((name) => server.joined(name)));
    const said = next(ben, "said");
    assert.equal(await ann.emitWithAck("say", "one"), 1);
    assert.deepEqual(await said, ["one"]);
    assert.equal(await ben.emitWithAck("say", "two"), 2);
    assert.deepEqual(await ann.emitWithAck("history"), ["one", "two"]);
  });
});

describe("engine_only", { skip }, () => {
  const server = useExample("engine_only");

  test("every message goes back, text and binary", async () => {
    const socket = new EngineSocket(server.url, { path: "/engine.io/" });
    const messages = [];
    const both = new Promise((resolve) => socket.on("message", (data) => messages.push(data) === 2 && resolve()));
    socket.send("hello");
    socket.send(Buffer.from([1, 2]));
    await within(both, "both messages", 25_000);
    assert.equal(messages[0], "hello");
    assert.deepEqual([...new Uint8Array(messages[1])], [1, 2]);
    socket.close();
  });
});

describe("game", { skip }, () => {
  const server = useExample("game", () => ({ TICK_MS: "5" }));

  /** Steers to the apple, always. */
  function player(client) {
    client.on("world", ({ apple, players }) => {
      const me = players.find(({ id }) => id === client.id);
      if (me) client.emit("steer", Math.sign(apple[0] - me.at[0]), Math.sign(apple[1] - me.at[1]));
    });
  }

  test("players see the same world, and who gets the apple has a point more", async () => {
    const [ann, ben, eve] = await Promise.all(["/game", "/game", "/game"].map((name) => server.joined(name)));
    assert.deepEqual(await ann.emitWithAck("play", "garden"), { size: 20, players: 1 });
    assert.deepEqual(await ben.emitWithAck("play", "garden"), { size: 20, players: 2 });
    assert.deepEqual(await eve.emitWithAck("play", "desert"), { size: 20, players: 1 });
    const strange = [];
    eve.on("apple", (id) => strange.push(id));
    player(ann);
    const [winner, score] = await next(ben, "apple");
    assert.deepEqual([winner, score], [ann.id, 1]);
    const [{ players }] = await next(ben, "world");
    assert.deepEqual(players.map(({ id }) => id).sort(), [ann.id, ben.id].sort());
    for (const { at } of players) assert.ok(at.every((value) => value >= 0 && value < 20), `${at}`);

    ben.disconnect();
    const alone = ({ players: left }) => left.length === 1;
    await until(async () => (await next(ann, "world"))[0], alone, "the other has left the game", 25_000);
    assert.deepEqual(strange, []);
  });

  test("one plays one game, which has an end to its players and a name", async () => {
    const clients = await Promise.all(Array.from({ length: 9 }, () => server.joined("/game")));
    const answers = await Promise.all(clients.map((client) => client.emitWithAck("play", "small")));
    const full = answers.filter((answer) => answer.error === "the game is full");
    assert.equal(full.length, 1);
    const [one] = clients.filter((_, at) => !answers[at].error);
    assert.deepEqual(await one.emitWithAck("play", "other"), { error: "one game at a time" });
    const late = clients[answers.findIndex((answer) => answer.error)];
    assert.match((await late.emitWithAck("play", "")).error, /has a name/);
    assert.deepEqual(await late.emitWithAck("play", "free"), { size: 20, players: 1 });
  });
});

describe("whiteboard", { skip }, () => {
  const server = useExample("whiteboard");
  const bytes = ([colour, points]) => [colour, [...new Uint8Array(points)]];

  test("lines are binary, reach those who draw too, and are kept in order until somebody clears the board", async () => {
    const [ann, ben] = await Promise.all([server.joined(), server.joined()]);
    const lines = async (client) => [...(await client.emitWithAck("lines"))];
    assert.deepEqual(await lines(ben), []);
    const heard = next(ben, "line");
    const first = Buffer.from([1, 0, 2, 0]);
    assert.equal(await ann.emitWithAck("line", 1, first), undefined);
    assert.deepEqual(bytes(await heard), [1, [...first]]);
    const second = Buffer.from([1, 0, 2, 0, 3, 1, 4, 2]);
    await ann.emitWithAck("line", 5, second);
    const late = await server.joined();
    assert.deepEqual(await lines(late), [1, 0, 1, 0, ...first, 5, 0, 2, 0, ...second]);
    const cleared = next(late, "clear");
    await ben.emitWithAck("clear");
    await cleared;
    assert.deepEqual(await lines(late), []);
  });

  test("a full board is an answer that any client can take, and has the latest lines", async () => {
    const ann = await server.joined();
    const most = Buffer.alloc(4 * 4096);
    for (let n = 0; n < 70; n += 1) await ann.emitWithAck("line", n % 6, most.fill(n));
    const all = await ann.emitWithAck("lines");
    assert.ok(all.length < 2 ** 20, `${all.length} bytes`); // what may wait for one client
    assert.deepEqual([...all.subarray(-most.length - 4)], [69 % 6, 0, 0, 16, ...most.fill(69)]);
    await ann.emitWithAck("clear");
  });

  test("what is no line is refused", async () => {
    const client = await server.joined();
    for (const [colour, points] of [[6, Buffer.alloc(4)], [0, Buffer.alloc(0)], [0, Buffer.alloc(6)], [0, Buffer.alloc(4 * 4097)]]) {
      assert.deepEqual(await client.emitWithAck("line", colour, points), { error: "that is no line" });
    }
  });

  test("pointers are seen by the others, and go with their client", async () => {
    const [ann, ben] = await Promise.all([server.joined(), server.joined()]);
    const { id } = ann;
    const moved = next(ben, "pointer");
    // Again and again, as people do: each is dropped for a client that cannot have it at once.
    const moving = setInterval(() => ann.emit("pointer", [100, 200]), 10);
    assert.deepEqual(await moved, [id, [100, 200]]);
    clearInterval(moving);
    const gone = within(new Promise((resolve) => ben.on("pointer", (who, at) => who === id && at === null && resolve())), "gone", 25_000);
    ann.disconnect();
    await gone;
  });
});

describe("upload", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "greenroom-upload-"));
  const server = useExample("upload", () => ({ FOLDER: folder }));
  after(() => rmSync(folder, { recursive: true }));

  test("a file comes in pieces, each answered with how much is there, also over several connections", async () => {
    const content = randomBytes(200_000);
    const other = await server.joined();
    const told = next(other, "uploaded");
    let client = await server.joined();
    const key = await client.emitWithAck("begin", "../../a file.bin", content.length);
    assert.match(key, /^[0-9a-f]{32}$/);
    let there = 0;
    while (there < content.length) {
      const piece = content.subarray(there, there + 65_536);
      assert.equal(await client.emitWithAck("piece", key, there, piece), there + piece.length);
      client.disconnect();
      client = await server.joined();
      there = await client.emitWithAck("progress", key);
    }
    const summary = { name: "../../a file.bin", size: content.length, crc32: crc32(content).toString(16).padStart(8, "0") };
    assert.deepEqual(await client.emitWithAck("finish", key), summary);
    assert.deepEqual(await told, [summary]);
    assert.deepEqual(readdirSync(folder), [key]);
    assert.ok(readFileSync(join(folder, key)).equals(content));
  });

  test("pieces that do not fit, and files that are too large or not complete, are refused", async () => {
    const client = await server.joined();
    for (const [name, size] of [["", 1], ["none", 0], ["large", 101 * 2 ** 20]]) {
      assert.match((await client.emitWithAck("begin", name, size)).error, /has a name and/);
    }
    const key = await client.emitWithAck("begin", "small", 100_000);
    const answer = async (...args) => (await client.emitWithAck("piece", ...args)).error;
    assert.match(await answer(key, 5, Buffer.alloc(10)), /not the next one/);
    assert.match(await answer(key, 0, Buffer.alloc(65_537)), /64 kB/);
    assert.match(await answer(key, 0, Buffer.alloc(0)), /1 byte/);
    assert.match(await answer("../key", 0, Buffer.alloc(1)), /no such upload/);
    assert.equal(await client.emitWithAck("piece", key, 0, Buffer.alloc(65_536)), 65_536);
    assert.match(await answer(key, 65_536, Buffer.alloc(40_000)), /where the file ends/);
    assert.match((await client.emitWithAck("finish", key)).error, /not complete/);
  });
});

describe("jwt", { skip }, () => {
  const secret = "0123456789abcdef0123456789abcdef";
  const server = useExample("jwt", () => ({ SECRET: secret, SECONDS: "600" }));
  const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = (claims, header = { alg: "HS256", typ: "JWT" }, key = secret) => {
    const text = `${base64(header)}.${base64(claims)}`;
    return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
  };
  const seconds = () => Math.floor(Date.now() / 1000);
  const claims = (rest = {}) => ({ sub: "eve", admin: true, exp: seconds() + 600, ...rest });
  const login = async (name, password) => post(`${server.url}/login`, { name, password });

  test("who has a token is who it says", async () => {
    const answer = await login("ali", "open sesame");
    assert.equal(answer.status, 200);
    const client = await server.joined("/", { auth: await answer.json() });
    assert.deepEqual(await client.emitWithAck("whoami"), { name: "ali", admin: false });
    assert.equal((await login("ali", "guessed")).status, 401);
  });

  test("tokens of others, of another algorithm, old and broken ones are refused", async () => {
    const none = `${base64({ alg: "none" })}.${base64(claims())}.`;
    const wrong = [undefined, "", "x.y.z", none, signed(claims(), undefined, "another secret"), signed({ sub: "eve", admin: true })];
    for (const token of wrong) {
      const refusal = await refused(server.client("/", { auth: { token } }));
      assert.deepEqual(refusal, { message: "not authorized", data: { expired: false } }, token);
    }
    const old = await refused(server.client("/", { auth: { token: signed(claims({ exp: seconds() - 1 })) } }));
    assert.deepEqual(old.data, { expired: true });
    // This one is made as those were.
    const good = await server.joined("/", { auth: { token: signed(claims()) } });
    assert.deepEqual(await good.emitWithAck("whoami"), { name: "eve", admin: true });
  });

  test("before its token ends a client is asked for another, and leaves if it is not its own", async () => {
    const short = () => signed(claims({ exp: seconds() + 4 }));
    const [ann, ben] = [0, 1].map(() => server.client("/", { auth: { token: short() } }));
    const gone = next(ben, "disconnect");
    // Asked at once, as less than the time of the warning is left.
    const [[annAnswers], [benAnswers]] = await Promise.all([ann, ben].map((client) => next(client, "new token")));
    annAnswers(signed(claims()));
    benAnswers(signed(claims({ sub: "somebody else" })));
    assert.equal((await gone)[0], "io server disconnect");
    assert.deepEqual(await ann.emitWithAck("whoami"), { name: "eve", admin: true });
  });
});

describe("cookie_session", { skip }, () => {
  const server = useExample("cookie_session");
  const login = async (name, password = "open sesame") => {
    const answer = await post(`${server.url}/login`, { name, password });
    const [cookie = ""] = answer.headers.getSetCookie();
    return { status: answer.status, cookie, pair: cookie.split(";")[0] };
  };
  const withCookie = (cookie) => ({ extraHeaders: { cookie } });

  test("the cookie of a session lets in, and nothing else does", async () => {
    const { status, cookie, pair } = await login("ali");
    assert.equal(status, 200);
    for (const attribute of ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=604800"]) assert.match(cookie, new RegExp(`; ${attribute}`));
    const client = await server.joined("/", withCookie(`theme=dark; ${pair}`));
    assert.equal(await client.emitWithAck("whoami"), "ali");
    assert.equal((await login("ali", "guessed")).status, 401);
    for (const wrong of ["", "session=", "session=0123456789abcdef0123456789abcdef", pair.replace("session", "other")]) {
      const refusal = await refused(server.client("/", withCookie(wrong)));
      assert.deepEqual(refusal, { message: "not logged in", data: { login: "/login" } });
    }
  });

  test("who logs out is disconnected in all tabs, and the cookie is worth nothing", async () => {
    const { pair } = await login("ali");
    const { pair: other } = await login("ali");
    const [one, two, elsewhere] = await Promise.all([pair, pair, other].map((cookie) => server.joined("/", withCookie(cookie))));
    const gone = Promise.all([next(one, "disconnect"), next(two, "disconnect")]);
    const answer = await post(`${server.url}/logout`, {}, { cookie: pair });
    assert.equal(answer.status, 204);
    assert.match(answer.headers.getSetCookie()[0], /^session=; .*Max-Age=0/);
    await gone;
    assert.equal((await refused(server.client("/", withCookie(pair)))).message, "not logged in");
    assert.equal(await elsewhere.emitWithAck("whoami"), "ali");
  });
});

describe("tls", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "greenroom-tls-"));
  const files = { CERT: join(folder, "cert.pem"), KEY: join(folder, "key.pem") };
  before(() => {
    if (skip) return;
    const options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost";
    const names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", files.KEY, "-out", files.CERT];
    execFileSync("openssl", [...options.split(" "), ...names], { stdio: "ignore" });
  });
  after(() => rmSync(folder, { recursive: true }));
  const server = useExample("tls", () => files, { scheme: "https" });

  for (const transport of ["polling", "websocket"]) {
    test(`a client that trusts the certificate connects by ${transport}`, async () => {
      const ca = readFileSync(files.CERT);
      const agent = new https.Agent({ ca });
      const client = await server.joined("/", { ca, agent, transports: [transport] });
      assert.equal(await client.emitWithAck("secure?"), true);
    });
  }

  test("one that does not trust it stays away", async () => {
    const client = server.client("/", { transports: ["websocket"] });
    await next(client, "connect_error");
    assert.equal(client.connected, false);
  });
});
