// The sticky-session cookie (option O10): its exact form, and which answers carry it.
import { test, assert, describe, useServer, http, Polling, Tcp, client, ask, call, Ws, pollingSocket } from "./support.mjs";

const ENDPOINTS = ["/socket.io/", "/engine.io/"];
const NAME = "sticky";

for (const path of ENDPOINTS) {
  describe(`${path}, COOKIE=${NAME}`, () => {
    const server = useServer({ COOKIE: NAME, MAX_HTTP_BUFFER_SIZE: "20000" });
    const open = (options) => http(server, { path: `${path}?EIO=4&transport=polling`, ...options });
    const sidOf = (answer) => JSON.parse(answer.text.slice(1)).sid;
    const expectNone = (answer, status, what) => {
      assert.equal(answer.status, status, what);
      assert.equal(answer.headers["set-cookie"], undefined, what);
    };

    test("the answer that opens a polling session sets it: id, path, HttpOnly, SameSite", async () => {
      const answer = await open();
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.headers["set-cookie"], [`${NAME}=${sidOf(answer)}; Path=/; HttpOnly; SameSite=Lax`]);
      assert.equal(answer.headers["content-type"], "text/plain; charset=UTF-8");
      assert.equal(answer.headers["cache-control"], "no-store");
    });

    test("each session has its own", async () => {
      const [one, two] = [await open(), await open()];
      assert.notEqual(one.headers["set-cookie"][0], two.headers["set-cookie"][0]);
    });

    test("a cookie that the client has already is neither read nor kept", async () => {
      const first = await open();
      const again = await open({ headers: { cookie: `${NAME}=${sidOf(first)}` } });
      assert.notEqual(sidOf(again), sidOf(first));
      assert.deepEqual(again.headers["set-cookie"], [`${NAME}=${sidOf(again)}; Path=/; HttpOnly; SameSite=Lax`]);
      // and it is no session id: the query is
      expectNone(await http(server, { method: "POST", path: `${path}?EIO=4&transport=polling`, headers: { cookie: `${NAME}=${sidOf(first)}` }, body: "4x" }), 400);
    });

    test("an empty sid opens a session, and sets it", async () => {
      const answer = await http(server, { path: `${path}?EIO=4&transport=polling&sid=` });
      assert.deepEqual(answer.headers["set-cookie"], [`${NAME}=${sidOf(answer)}; Path=/; HttpOnly; SameSite=Lax`]);
    });

    test("no other answer of the session does", async () => {
      const session = await Polling.open(server, { path });
      const waiting = await session.hold();
      const packet = path === "/engine.io/" ? "4x" : "40/rc,";
      const post = await session.post(packet);
      assert.equal(post.text, "ok");
      expectNone(post, 200, "a POST");
      expectNone(await waiting.answer, 200, "the first poll");
      await session.send(path === "/engine.io/" ? "4y" : '42/rc,["echo",1]');
      expectNone(await session.get(), 200, "the second poll");
      expectNone(await session.get({ method: "PUT" }), 500, "another method");
      expectNone(await session.post("4".padEnd(30_000, "x")), 413, "an oversize POST");
      // the end of the session
      const last = await session.hold();
      await session.send("1");
      expectNone(await last.answer, 200, "the last poll");
      expectNone(await session.get(), 400, "a gone session");
    });

    test("no refused request does", async () => {
      for (const [query, method, status] of [
        ["EIO=4&transport=tobi", "GET", 400], ["EIO=4&transport=polling&sid=AAAA", "GET", 400], ["EIO=4&transport=polling", "POST", 400],
        ["EIO=4&transport=websocket", "GET", 400], ["EIO=3&transport=polling", "GET", 400], ["EIO=4&transport=polling&forbid=1", "GET", 403],
      ]) expectNone(await http(server, { method, path: `${path}?${query}` }), status, `${method} ${query}`);
      expectNone(await http(server, { path: "/elsewhere" }), 404, "elsewhere");
    });

    test("a client of WebSocket only gets none", async (t) => {
      const tcp = await Tcp.connect(t, server);
      const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket`);
      assert.equal(head.status, 101);
      assert.equal(head.headers["set-cookie"], undefined);
      assert.equal((await tcp.frame()).payload.toString()[0], "0");
    });

    test("an upgrade from polling does not set it again", async (t) => {
      const session = await Polling.open(server, { path });
      const tcp = await Tcp.connect(t, server);
      const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket&sid=${session.sid}`);
      assert.deepEqual([head.status, head.headers["set-cookie"]], [101, undefined]);
    });

    test("a request that sends it back goes on as without", async (t) => {
      const session = await Polling.open(server, { path });
      const headers = { cookie: `${NAME}=${session.sid}` };
      const packet = path === "/engine.io/" ? "4x" : "40/rc,";
      assert.equal((await session.post(packet, { headers })).text, "ok");
      assert.match((await session.get({ headers })).text, path === "/engine.io/" ? /^4x$/ : /^40\/rc,\{"sid"/);
      const ws = await Ws.open(t, server, session.path.replace("polling", "websocket"), { headers });
      ws.send("2probe");
      assert.equal(await ws.next(), "3probe");
    });
  });
}

describe("with other settings", () => {
  const both = useServer({ COOKIE: "io", CORS_ORIGIN: "http://a.example", HTTP_COMPRESSION: "0" });
  const none = useServer();

  test("COOKIE unset: no answer sets one", async (t) => {
    for (const path of ENDPOINTS) {
      assert.equal((await http(none, { path: `${path}?EIO=4&transport=polling` })).headers["set-cookie"], undefined);
      const tcp = await Tcp.connect(t, none);
      assert.equal((await tcp.upgrade(`${path}?EIO=4&transport=websocket`)).headers["set-cookie"], undefined);
    }
  });

  test("the name is the one that was set; CORS headers stand beside it", async () => {
    for (const path of ENDPOINTS) {
      const answer = await http(both, { path: `${path}?EIO=4&transport=polling`, headers: { origin: "http://a.example" } });
      assert.match(answer.headers["set-cookie"][0], /^io=[\w.-]{20,}; Path=\/; HttpOnly; SameSite=Lax$/);
      assert.equal(answer.headers["access-control-allow-origin"], "http://a.example");
      assert.equal(answer.headers["access-control-allow-credentials"], "true");
      const preflight = await http(both, { method: "OPTIONS", path: `${path}?EIO=4&transport=polling`, headers: { origin: "http://a.example" } });
      assert.deepEqual([preflight.status, preflight.headers["set-cookie"]], [204, undefined]);
    }
  });

  test("the official client that keeps cookies sends it with every later request", async (t) => {
    const socket = await client(t, both, "/rc", { transports: ["polling"], withCredentials: true });
    assert.equal(await call(socket, "echo", "x"), "x");
    const jar = [...socket.io.engine._cookieJar.cookies];
    assert.deepEqual(jar.map(([name, { value }]) => [name, value]), [["io", socket.io.engine.id]]);
    // another connection that brings the cookie along: what the server's handshake sees
    const other = await pollingSocket(both, "/rc");
    assert.ok(other.socketId);
    const third = await client(t, both, "/rc", { transports: ["polling"], extraHeaders: { cookie: `io=${other.sid}` } });
    assert.equal((await ask(third, "handshake")).headers.cookie, `io=${other.sid}`);
    assert.notEqual(third.io.engine.id, other.sid);
  });
});

describe("Engine.IO 3", () => {
  const old = useServer({ COOKIE: "io", ALLOW_EIO3: "1" });
  test("the opening answer sets it too", async () => {
    for (const path of ENDPOINTS) {
      const answer = await http(old, { path: `${path}?EIO=3&transport=polling&b64=1` });
      const { sid } = JSON.parse(answer.text.slice(answer.text.indexOf("{"), answer.text.indexOf("}") + 1));
      assert.deepEqual(answer.headers["set-cookie"], [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
      const session = `${path}?EIO=3&transport=polling&b64=1&sid=${sid}`;
      const post = await http(old, { method: "POST", path: session, body: "1:2" });
      assert.deepEqual([post.text, post.headers["set-cookie"]], ["ok", undefined]);
    }
  });
});
