// CORS (option O11): which headers go with which answer, for CORS_ORIGIN unset, *, one origin and several; preflights.
import {
  test, assert, describe, isReference, greenroomOnly, useServer, http, Polling, Tcp, upgradeRequest, engineWs, client, ask, expectEcho, DEADLINE,
} from "./support.mjs";
import { once } from "node:events";
import { io } from "socket.io-client";

const A = "http://a.example";
const B = "https://b.example:8443";
const FOREIGN = "http://evil.example";
const ENDPOINTS = ["/socket.io/", "/engine.io/"];
const MAX = 20_000;
const ALL_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE";

/** What concerns CORS in an answer. */
function corsOf({ headers }) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith("access-control-") || name === "vary"));
}

const origin = (value) => (value === undefined ? {} : { origin: value });

// for each setting: [the request's Origin, the headers of any answer]
const STAR = { "access-control-allow-origin": "*" };
const ONE = { "access-control-allow-origin": A, "access-control-allow-credentials": "true", vary: "Origin" };
const reflected = (value) => ({ "access-control-allow-origin": value, "access-control-allow-credentials": "true", vary: "Origin" });
const NONE_OF_SEVERAL = { "access-control-allow-credentials": "true", vary: "Origin" };
const SETTINGS = [
  // `pages`: whose WebSocket requests are let in, where not everybody's are (a deliberate deviation)
  { title: "CORS_ORIGIN unset", env: {}, cases: [[undefined, {}], [A, {}], ["null", {}]] },
  { title: "CORS_ORIGIN=*", env: { CORS_ORIGIN: "*" }, methods: ALL_METHODS, cases: [[undefined, STAR], [A, STAR], ["null", STAR], ["http://ä", STAR]] },
  {
    // the origin is announced, not compared: the browser does that
    title: "one origin", env: { CORS_ORIGIN: A }, methods: ALL_METHODS, pages: [A],
    cases: [[undefined, ONE], [A, ONE], [FOREIGN, ONE], ["null", ONE], [A.toUpperCase(), ONE]],
  },
  {
    title: "several origins", env: { CORS_ORIGIN: `${A},${B}` }, methods: "GET,POST", pages: [A, B],
    cases: [
      [A, reflected(A)], [B, reflected(B)], [undefined, NONE_OF_SEVERAL], [FOREIGN, NONE_OF_SEVERAL], ["null", NONE_OF_SEVERAL],
      [`${A}/`, NONE_OF_SEVERAL], ["HTTP://a.example", NONE_OF_SEVERAL], [`${A}.evil.example`, NONE_OF_SEVERAL], ["https://b.example", NONE_OF_SEVERAL],
      [`${A},${B}`, NONE_OF_SEVERAL],
    ],
  },
];

for (const { title, env, methods, pages, cases } of SETTINGS) {
  const letsIn = (from) => isReference || pages === undefined || from === undefined || pages.includes(from);

  describe(title, () => {
    const server = useServer({ ...env, MAX_HTTP_BUFFER_SIZE: String(MAX) });

    for (const path of ENDPOINTS) {
      describe(path, () => {
        for (const [from, expected] of cases) {
          const name = from === undefined ? "without an Origin" : `Origin ${from}`;

          test(`${name}: every answer of a session has the headers`, async () => {
            const headers = origin(from);
            const open = await http(server, { path: `${path}?EIO=4&transport=polling`, headers });
            assert.equal(open.status, 200);
            assert.deepEqual(corsOf(open), expected, "handshake");
            const session = `${path}?EIO=4&transport=polling&sid=${JSON.parse(open.text.slice(1)).sid}`;
            const [poll, post] = await Promise.all([
              http(server, { path: session, headers }),
              http(server, { method: "POST", path: session, headers, body: path === "/engine.io/" ? "4x" : "40" }),
            ]);
            assert.deepEqual([poll.status, post.status, post.text], [200, 200, "ok"]);
            assert.deepEqual(corsOf(poll), expected, "poll");
            assert.deepEqual(corsOf(post), expected, "post");
            const other = await http(server, { method: "DELETE", path: session, headers });
            assert.equal(other.status, 500);
            assert.deepEqual(corsOf(other), expected, "another method");
          });

          test(`${name}: refused requests have them too`, async () => {
            const headers = origin(from);
            for (const [query, method, status] of [
              ["EIO=4&transport=tobi", "GET", 400], ["EIO=4&transport=polling&sid=AAAA", "GET", 400], ["EIO=4&transport=polling", "POST", 400],
              ["EIO=4&transport=websocket", "GET", 400], ["EIO=3&transport=polling", "GET", 400], ["EIO=4&transport=polling&forbid=1", "GET", 403],
            ]) {
              const answer = await http(server, { method, path: `${path}?${query}`, headers });
              assert.equal(answer.status, status, `${method} ${query}`);
              assert.deepEqual(corsOf(answer), expected, `${method} ${query}`);
            }
          });

          test(`${name}: a WebSocket ${letsIn(from) ? "opens, its answer has them" : "is refused"}`, async (t) => {
            const tcp = await Tcp.connect(t, server);
            const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket`, origin(from));
            if (!letsIn(from)) {
              await tcp.ended;
              assert.deepEqual([head.status, tcp.received.toString(), corsOf(head)], [403, "Origin not allowed", {}]);
              return;
            }
            assert.equal(head.status, 101);
            assert.deepEqual(corsOf(head), expected);
            assert.equal((await tcp.frame()).payload.toString()[0], "0");
          });

          if (methods === undefined) continue;
          test(`${name}: preflight`, async () => {
            const vary = [expected.vary, "Access-Control-Request-Headers"].filter(Boolean).join(", ");
            const answers = { ...expected, vary, "access-control-allow-methods": methods };
            const plain = await http(server, { method: "OPTIONS", path: `${path}?EIO=4&transport=polling`, headers: origin(from) });
            assert.deepEqual([plain.status, plain.text], [204, ""]);
            // RFC 9110 forbids it with 204, the reference sends it for an old browser
            assert.ok([undefined, "0"].includes(plain.headers["content-length"]));
            assert.deepEqual(corsOf(plain), answers);

            const wanted = { "access-control-request-method": "POST", "access-control-request-headers": "X-One, content-type,x-Two" };
            const full = await http(server, { method: "OPTIONS", path: `${path}?EIO=4&transport=polling`, headers: { ...origin(from), ...wanted } });
            assert.deepEqual([full.status, full.text], [204, ""]);
            assert.deepEqual(corsOf(full), { ...answers, "access-control-allow-headers": "X-One, content-type,x-Two" });
          });
        }

        if (methods === undefined) {
          test("a preflight is a bad handshake method, and says nothing of CORS", async () => {
            const headers = { origin: A, "access-control-request-method": "POST", "access-control-request-headers": "x-one" };
            const answer = await http(server, { method: "OPTIONS", path: `${path}?EIO=4&transport=polling`, headers });
            assert.deepEqual([answer.status, answer.text], [400, '{"code":2,"message":"Bad handshake method"}']);
            assert.deepEqual(corsOf(answer), {});
          });
          return;
        }

        test("a preflight is answered before anything is checked, and reported nowhere", async (t) => {
          const observer = await client(t, server, "/rc");
          await ask(observer, "connectionErrors", { clear: true });
          const session = await Polling.open(server, { path });
          for (const query of [
            "", "?EIO=3&transport=tobi", "?EIO=4&transport=polling&sid=AAAA", "?EIO=4&transport=polling&forbid=1", "?EIO=4&transport=websocket",
            `?EIO=4&transport=polling&sid=${session.sid}`, "anything/else",
          ]) {
            const answer = await http(server, { method: "OPTIONS", path: `${path}${query}`, headers: { origin: A } });
            assert.deepEqual([answer.status, answer.text], [204, ""], query);
            assert.equal(answer.headers["access-control-allow-methods"], methods, query);
          }
          assert.deepEqual(await ask(observer, "connectionErrors"), []);
        });

        test("a preflight leaves no session behind, and disturbs none", async (t) => {
          const observer = await client(t, server, "/rc");
          const before = await ask(observer, "counts");
          const session = await Polling.open(server, { path: "/engine.io/" });
          const waiting = await session.hold();
          for (let i = 0; i < 3; i++) {
            await http(server, { method: "OPTIONS", path: session.path, headers: { origin: A } });
            await http(server, { method: "OPTIONS", path: "/socket.io/?EIO=4&transport=polling", headers: { origin: A } });
          }
          await session.send("4still-there");
          assert.equal((await waiting.answer).text, "4still-there");
          assert.equal((await ask(observer, "counts")).nsp, before.nsp);
        });

        test("requested headers in several lines are one list, an empty list is none", async (t) => {
          const tcp = await Tcp.connect(t, server);
          const ask = (lines) => {
            tcp.write(`OPTIONS ${path}?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n${lines.map((l) => `Access-Control-Request-Headers: ${l}\r\n`).join("")}\r\n`);
            return tcp.head();
          };
          assert.equal((await ask(["x-one", "x-two"])).headers["access-control-allow-headers"], "x-one, x-two");
          assert.equal((await ask([""])).headers["access-control-allow-headers"], undefined);
        });

        test("the headers come once each", async (t) => {
          const tcp = await Tcp.connect(t, server);
          for (const method of ["GET", "OPTIONS"]) {
            tcp.write(`${method} ${path}?EIO=4&transport=tobi HTTP/1.1\r\nHost: x\r\nOrigin: ${A}\r\n\r\n`);
            const head = await tcp.read((bytes) => {
              const end = bytes.indexOf("\r\n\r\n");
              if (end < 0) return undefined;
              const text = bytes.subarray(0, end).toString("latin1");
              tcp.received = tcp.received.subarray(bytes.length);
              return text;
            });
            for (const name of ["vary", "access-control-allow-origin", "access-control-allow-credentials"]) {
              assert.ok(head.toLowerCase().split(`\r\n${name}:`).length <= 2, head);
            }
          }
        });

        test("a refused WebSocket upgrade says nothing of CORS", async (t) => {
          for (const [query, message] of [
            ["EIO=4&transport=tobi", "Transport unknown"], ["EIO=4&transport=websocket&sid=AAAA", "Session ID unknown"], ["EIO=4&transport=websocket&forbid=", "Forbidden"],
          ]) {
            const tcp = await Tcp.connect(t, server);
            tcp.write(upgradeRequest(server, `${path}?${query}`, { Origin: A }));
            const head = await tcp.head();
            assert.equal(head.line, "HTTP/1.1 400 Bad Request");
            assert.deepEqual(corsOf(head), {}, query);
            await tcp.ended;
            assert.equal(tcp.received.toString(), message);
          }
        });

        test("CORS blocks no request over HTTP by itself: a foreign origin gets its session", async (t) => {
          const session = await Polling.open(server, { path, headers: { origin: FOREIGN } });
          assert.ok(session.sid);
          if (!letsIn(FOREIGN)) {
            const tcp = await Tcp.connect(t, server);
            const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket&sid=${session.sid}`, { Origin: FOREIGN });
            assert.equal(head.status, 403);
            await session.send("4still-there");
            return;
          }
          const ws = await engineWs(t, server, { path, headers: { origin: FOREIGN } });
          if (path === "/engine.io/") await expectEcho(ws);
        });

        test("the WebSocket of an upgrade has the headers as well", async (t) => {
          const session = await Polling.open(server, { path });
          const tcp = await Tcp.connect(t, server);
          const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket&sid=${session.sid}`, { Origin: A });
          assert.equal(head.status, 101);
          assert.equal(head.headers["access-control-allow-origin"], env.CORS_ORIGIN === "*" ? "*" : A);
        });

        test("an oversize POST has the headers", async () => {
          const session = await Polling.open(server, { path });
          const answer = await session.post("4".padEnd(MAX + 1, "x"), { headers: { origin: A } });
          assert.equal(answer.status, 413);
          assert.equal(answer.headers["access-control-allow-origin"], env.CORS_ORIGIN === "*" ? "*" : A);
        });
      });
    }

    if (pages !== undefined) {
      greenroomOnly("the official client of a foreign page gets no WebSocket", "the reference lets it pass", async (t) => {
        const extraHeaders = { origin: FOREIGN };
        const alone = io(server.url, { transports: ["websocket"], extraHeaders, reconnection: false, forceNew: true });
        t.after(() => alone.close());
        const [error] = await once(alone, "connect_error");
        assert.equal(error.type, "TransportError");
        const own = await client(t, server, "/", { transports: ["websocket"], extraHeaders: { origin: pages[0] } });
        assert.ok(own.connected);
        // A page of the server itself names its host.
        const home = await client(t, server, "/", { transports: ["websocket"], extraHeaders: { origin: server.url } });
        assert.ok(home.connected);
      });
    }

    test("paths of nobody are 404, without CORS headers", async () => {
      for (const method of ["GET", "OPTIONS"]) {
        const answer = await http(server, { method, path: "/other/", headers: { origin: A } });
        assert.equal(answer.status, 404);
        assert.deepEqual(corsOf(answer), {});
      }
    });

    test("an Origin with characters that no header may have: 400, reported nowhere, nothing of it comes back", async (t) => {
      const observer = await client(t, server, "/rc");
      await ask(observer, "connectionErrors", { clear: true });
      for (const bad of ["http://a\x7f.example", "http://a\x01.example", "\x00"]) {
        for (const path of ENDPOINTS) {
          const requests = [
            `GET ${path}?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nOrigin: ${bad}\r\nConnection: close\r\n\r\n`,
            upgradeRequest(server, `${path}?EIO=4&transport=websocket`, { Origin: bad }),
          ];
          for (const request of requests) {
            const tcp = await Tcp.connect(t, server);
            tcp.write(Buffer.from(request, "latin1"));
            const head = await tcp.head();
            assert.equal(head.status, 400);
            assert.notEqual(head.headers["access-control-allow-origin"], bad);
            await tcp.ended;
            assert.ok(!tcp.received.includes('"sid"'));
          }
        }
      }
      assert.deepEqual(await ask(observer, "connectionErrors"), []);
    });

    test("an Origin of odd characters that a header may have is let through", async (t) => {
      for (const odd of ["http://\x80\xff", "a\tb", "", "*", "http://a.example, http://b.example", "~!@#$%^&*()"]) {
        const tcp = await Tcp.connect(t, server);
        tcp.write(Buffer.from(`GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nOrigin: ${odd}\r\n\r\n`, "latin1"));
        assert.equal((await tcp.head()).status, 200, JSON.stringify(odd));
      }
    });

    test("an official client of any origin works over HTTP, and over WebSocket if it is one of those", async (t) => {
      for (const transports of [["polling"], ["websocket"]].slice(0, letsIn(B) ? 2 : 1)) {
        const socket = await client(t, server, "/rc", { transports, extraHeaders: { origin: B } });
        assert.equal((await ask(socket, "handshake")).headers.origin, B);
        assert.equal(await socket.timeout(DEADLINE).emitWithAck("echo", "x"), "x");
      }
    });
  });
}
