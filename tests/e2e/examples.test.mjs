// The examples that are servers of their own, and the bundles of the official client that they serve.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import nodeHttp from "node:http";
import { after, before, describe } from "node:test";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { io } from "socket.io-client";
import { example as program, freePort, start, stop } from "./processes.mjs";
import { TARGET, test, until, within } from "./support.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const skip = TARGET === "reference" ? "these examples are ours" : false;

/** Runs an example while the tests of the enclosing `describe` run. */
function useExample(name, env = {}) {
  const example = {};
  before(async () => {
    if (skip) return;
    const port = await freePort();
    example.url = `http://127.0.0.1:${port}`;
    example.child = start(program(name), [], { ...env, PORT: String(port), HOST: "127.0.0.1" });
    const answers = () => fetch(example.url).then(() => true, () => false);
    await until(answers, Boolean, `${name} answers`);
  });
  after(async () => {
    for (const client of example.clients ?? []) client.disconnect();
    if (example.child) await stop(example.child, "SIGKILL");
  });
  example.client = (namespace, options = {}) => {
    const client = io(example.url + namespace, { forceNew: true, reconnection: false, ...options });
    (example.clients ??= []).push(client);
    return client;
  };
  example.joined = async (namespace, options) => {
    const client = example.client(namespace, options);
    await next(client, "connect");
    return client;
  };
  return example;
}

const next = (client, event) => within(new Promise((resolve) => client.once(event, resolve)), event);

/** The answer with its bytes as they were sent. */
function get(url, headers = {}) {
  return within(
    new Promise((resolve, reject) => {
      nodeHttp.get(url, { headers }, async (response) => {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) });
      }).on("error", reject);
    }),
    url,
  );
}

describe("clock", { skip }, () => {
  const clock = useExample("clock", { EVERY_MS: "20" });

  test("every client is told the time again and again", async () => {
    const client = await clock.joined("/");
    const first = await next(client, "time");
    assert.ok(Math.abs(Date.now() - first) < 60_000, `${first}`);
    assert.ok((await next(client, "time")) >= first);
  });
});

describe("tenants", { skip }, () => {
  const tenants = useExample("tenants");
  const auth = (name) => ({ auth: { key: `key of ${name}` } });

  test("tenants are apart, are announced to together, and are listed while somebody is there", async () => {
    const [acme, also, umbrella] = await Promise.all([
      tenants.joined("/tenant-acme", auth("acme")),
      tenants.joined("/tenant-acme", auth("acme")),
      tenants.joined("/tenant-umbrella", auth("umbrella")),
    ]);
    const heard = [];
    umbrella.onAny((...args) => heard.push(args));
    const said = next(also, "said");
    await acme.emitWithAck("say", "hello");
    assert.equal(await said, "hello");

    const all = Promise.all([acme, also, umbrella].map((client) => next(client, "announcement")));
    await fetch(`${tenants.url}/announce`, { method: "POST", body: "lunch" });
    assert.deepEqual(await all, ["lunch", "lunch", "lunch"]);
    assert.deepEqual(heard, [["announcement", "lunch"]]);

    const list = async () => (await fetch(`${tenants.url}/tenants`)).json();
    assert.deepEqual(await list(), { "/tenant-acme": 2, "/tenant-umbrella": 1 });
    umbrella.disconnect();
    await until(list, (counts) => !("/tenant-umbrella" in counts), "the tenant has gone");
  });

  test("a wrong key is refused with the tenant it was wrong for, a wrong name is unknown", async () => {
    const refused = await next(tenants.client("/tenant-acme", auth("umbrella")), "connect_error");
    assert.equal(refused.message, "wrong key");
    assert.deepEqual(refused.data, { tenant: "acme" });
    const unknown = await next(tenants.client("/tenant-ACME", auth("ACME")), "connect_error");
    assert.equal(unknown.message, "Invalid namespace");
  });
});

describe("private_messages", { skip }, () => {
  const server = useExample("private_messages");

  test("a message by id reaches that user and nobody else; what is wrong is said", async () => {
    const ann = await server.joined("/", { auth: { name: "Ann" } });
    const bob = await server.joined("/", { auth: { name: "Bob" } });
    // The lists of those who came before may still be on their way.
    const listed = (...names) =>
      within(
        new Promise((resolve) => {
          ann.on("users", function look(users) {
            if (users.map((user) => user.name).sort().join() !== names.join()) return;
            ann.off("users", look);
            resolve();
          });
        }),
        `the list of ${names}`,
      );
    const three = listed("Ann", "Bob", "Eve");
    const eve = await server.joined("/", { auth: { name: "Eve" } });
    await three;
    const overheard = [];
    eve.on("private message", (message) => overheard.push(message));

    const received = next(bob, "private message");
    assert.equal(await ann.emitWithAck("private message", { to: bob.id, text: "hi" }), "sent");
    assert.deepEqual(await received, { from: ann.id, name: "Ann", text: "hi" });
    const nobody = await ann.emitWithAck("private message", { to: "nobody", text: "hi" });
    assert.deepEqual(nobody, { error: "nobody of that id is there" });
    const empty = await ann.emitWithAck("private message", { to: bob.id, text: " " });
    assert.deepEqual(empty, { error: "there is nothing to say" });
    const left = listed("Ann", "Eve");
    bob.disconnect();
    await left;
    assert.deepEqual(overheard, []);
  });
});

describe("metrics", { skip }, () => {
  const server = useExample("metrics");

  test("a scrape has what has just happened", async () => {
    const [ann, bob] = [await server.joined("/"), await server.joined("/", { transports: ["websocket"] })];
    if (ann.io.engine.transport.name !== "websocket") await next(ann.io.engine, "upgrade");
    const said = next(bob, "said");
    ann.emit("say", "hello");
    await said;
    assert.equal(await bob.emitWithAck("work", 20), 20);

    const scrape = async () => {
      const response = await fetch(`${server.url}/metrics`);
      assert.equal(response.status, 200);
      const lines = (await response.text()).split("\n").filter((line) => line && !line.startsWith("#"));
      return Object.fromEntries(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
    };
    // The client has moved a little before the server knows it.
    const upgraded = (series) => series["greenroom_upgrades_total"] === 1;
    const series = await until(scrape, upgraded, "the upgrade is counted");
    const expected = {
      'greenroom_connections{transport="websocket"}': 2,
      'greenroom_connections{transport="polling"}': 0,
      'greenroom_connections_opened_total{transport="polling"}': 1,
      'greenroom_sockets{namespace="/"}': 2,
      'greenroom_rooms{namespace="/"}': 1,
      'greenroom_events_received_total{namespace="/"}': 2,
      'greenroom_events_sent_total{namespace="/"}': 1,
      'greenroom_handler_seconds_count{namespace="/",event="work"}': 1,
      'greenroom_handler_seconds_bucket{namespace="/",event="work",le="0.01"}': 0,
      'greenroom_handler_seconds_bucket{namespace="/",event="work",le="+Inf"}': 1,
      'greenroom_server_ack_seconds_count{namespace="/"}': 1,
      'greenroom_packets_dropped_total{reason="volatile"}': 0,
      greenroom_outbox_packets: 0,
      greenroom_panics_total: 0,
    };
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, series[name]])), expected);
    assert.ok(series['greenroom_received_bytes_total{transport="websocket"}'] > 50);
    assert.ok(series['greenroom_sent_bytes_total{transport="polling"}'] > 50);

    bob.disconnect();
    await until(scrape, (now) => now['greenroom_connections{transport="websocket"}'] === 1, "one has left");
  });
});

describe("the bundles of the client", { skip }, () => {
  const server = useExample("clock");
  const dist = `${here}node_modules/socket.io/client-dist/`;
  const { version } = JSON.parse(readFileSync(`${here}node_modules/socket.io/package.json`, "utf8"));
  const names = readdirSync(dist).sort();

  test("all files of the package are served, byte by byte, in every coding", async () => {
    assert.equal(names.length, 8);
    for (const name of names) {
      const official = readFileSync(dist + name);
      for (const [accept, decode, coding] of [
        ["gzip, deflate, br", brotliDecompressSync, "br"],
        ["gzip", gunzipSync, "gzip"],
        ["identity", (body) => body, undefined],
      ]) {
        const { status, headers, body } = await get(`${server.url}/socket.io/${name}?x=1`, { "accept-encoding": accept });
        assert.equal(status, 200);
        assert.equal(headers["content-encoding"], coding);
        assert.equal(headers["cache-control"], "public, max-age=0");
        assert.equal(headers.etag, `"${version}"`);
        assert.equal(headers.vary, "Accept-Encoding");
        const type = name.endsWith(".map") ? "json" : "javascript";
        assert.equal(headers["content-type"], `application/${type}; charset=utf-8`);
        assert.ok(decode(body).equals(official), name);
      }
    }
  });

  test("a browser that has the version is told so", async () => {
    for (const tag of [`"${version}"`, `W/"${version}"`, `"0.0.1", "${version}"`]) {
      const { status, body } = await get(`${server.url}/socket.io/socket.io.js`, { "if-none-match": tag });
      assert.equal(status, 304);
      assert.equal(body.length, 0);
    }
    const { status } = await get(`${server.url}/socket.io/socket.io.js`, { "if-none-match": '"0.0.1"' });
    assert.equal(status, 200);
  });

  test("other names are requests like any other", async () => {
    const { status, body } = await get(`${server.url}/socket.io/socket.io.txt`);
    assert.equal(status, 400);
    assert.equal(JSON.parse(body).message, "Transport unknown");
  });
});
