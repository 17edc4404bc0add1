// Refused requests: status, numeric code, exact body, headers, and which check comes first (features H2-H9, traps 3.1).
import {
  test, assert, describe, useServer, http, Polling, engineWs, expectEcho, Ws, Tcp, upgradeRequest, isReference,
} from "./support.mjs";

const server = useServer();
const ENDPOINTS = ["/engine.io/", "/socket.io/"];
const MESSAGES = ["Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request", "Forbidden", "Unsupported protocol version"];
const UNKNOWN_SID = "AAAAAAAAAAAAAAAAAAAA";

/** Expects the JSON answer of that error. */
function expectError(answer, code, message = MESSAGES[code]) {
  assert.deepEqual([answer.status, answer.text], [code === 4 ? 403 : 400, JSON.stringify({ code, message })]);
  assert.equal(answer.headers["content-type"], "application/json");
}

// [what, query, method, headers] -> code
const CASES = [
  ["no transport", "EIO=4", 0],
  ["an empty transport", "EIO=4&transport=", 0],
  ["an unknown transport", "EIO=4&transport=tobi", 0],
  ["transport names are case-sensitive", "EIO=4&transport=Polling", 0],
  ["webtransport", "EIO=4&transport=webtransport", 0],
  ["transport=__proto__", "EIO=4&transport=__proto__", 0],
  ["transport=constructor", "EIO=4&transport=constructor", 0],
  ["transport=toString", "EIO=4&transport=toString", 0],
  ["transport=flashsocket", "EIO=4&transport=flashsocket", 0],
  ["a transport with a space", "EIO=4&transport=polling%20", 0],
  ["a list of transports", "EIO=4&transport=polling,websocket", 0],
  ["an unknown sid", `EIO=4&transport=polling&sid=${UNKNOWN_SID}`, 1],
  ["an unknown sid, EIO missing", `transport=polling&sid=${UNKNOWN_SID}`, 1],
  ["sid=__proto__", "EIO=4&transport=polling&sid=__proto__", 1],
  ["sid=constructor", "EIO=4&transport=polling&sid=constructor", 1],
  ["sid=hasOwnProperty", "EIO=4&transport=polling&sid=hasOwnProperty", 1],
  ["a sid with odd characters", "EIO=4&transport=polling&sid=%00%ff%22%0a../..", 1],
  ["a very long sid", `EIO=4&transport=polling&sid=${"a".repeat(4000)}`, 1],
  ["an unknown sid on websocket", `EIO=4&transport=websocket&sid=${UNKNOWN_SID}`, 1],
  ["websocket without an upgrade", "EIO=4&transport=websocket", 3],
  ["EIO=3", "EIO=3&transport=polling", 5],
  ["no EIO", "transport=polling", 5],
  ["EIO=5", "EIO=5&transport=polling", 5],
  ["EIO=04", "EIO=04&transport=polling", 5],
  ["an empty EIO", "EIO=&transport=polling", 5],
  ["EIO=4abc", "EIO=4abc&transport=polling", 5],
  ["eio=4", "eio=4&transport=polling", 5],
  // which check is first
  ["transport before sid", `EIO=4&transport=tobi&sid=${UNKNOWN_SID}`, 0],
  ["transport before EIO", "EIO=3&transport=tobi", 0],
  ["transport before allowRequest", "EIO=4&transport=tobi&forbid=1", 0],
  ["sid before EIO", `EIO=3&transport=polling&sid=${UNKNOWN_SID}`, 1],
  ["the upgrade before allowRequest", "EIO=4&transport=websocket&forbid=1", 3],
  ["the upgrade before EIO", "EIO=3&transport=websocket", 3],
];

for (const path of ENDPOINTS) {
  describe(`${path} over HTTP`, () => {
    for (const [what, query, code] of CASES) {
      test(`${what}: ${code}`, async () => expectError(await http(server, { path: `${path}?${query}` }), code));
    }

    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      test(`${method} without a sid: 2`, async () => {
        const body = method === "POST" || method === "PUT" ? "4x" : undefined;
        expectError(await http(server, { method, path: `${path}?EIO=4&transport=polling`, body }), 2);
        expectError(await http(server, { method, path: `${path}?EIO=4&transport=websocket`, body }), 2);
        expectError(await http(server, { method, path: `${path}?EIO=3&transport=polling&forbid=1`, body }), 2);
        expectError(await http(server, { method, path: `${path}?EIO=4&transport=tobi`, body }), 0);
        expectError(await http(server, { method, path: `${path}?EIO=4&transport=polling&sid=${UNKNOWN_SID}`, body }), 1);
      });
    }

    test("HEAD without a sid: 400, no body", async () => {
      const answer = await http(server, { method: "HEAD", path: `${path}?EIO=4&transport=polling` });
      assert.deepEqual([answer.status, answer.text], [400, ""]);
    });

    test("allowRequest: 403 with its message, or Forbidden", async () => {
      expectError(await http(server, { path: `${path}?EIO=4&transport=polling&forbid=yes` }), 4, "forbidden by testbed");
      expectError(await http(server, { path: `${path}?EIO=4&transport=polling&forbid=` }), 4);
      expectError(await http(server, { path: `${path}?EIO=4&transport=polling&forbid` }), 4);
    });

    test("allowRequest comes before the protocol version", async () => {
      expectError(await http(server, { path: `${path}?EIO=3&transport=polling&forbid=yes` }), 4, "forbidden by testbed");
    });

    test("an Origin that no header may have: 400", async (t) => {
      const tcp = await Tcp.connect(t, server);
      tcp.write(`GET ${path}?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nOrigin: http://a\x7f.b\r\nConnection: close\r\n\r\n`);
      assert.equal((await tcp.head()).status, 400);
    });

    test("an error opens nothing and does not end the connection", async (t) => {
      const tcp = await Tcp.connect(t, server);
      for (let i = 0; i < 3; i++) {
        tcp.write(`GET ${path}?EIO=4&transport=tobi HTTP/1.1\r\nHost: x\r\n\r\n`);
        await tcp.read((bytes) => (bytes.includes('"Transport unknown"}') ? true : undefined));
        assert.equal((await tcp.head()).status, 400);
        await tcp.read((bytes) => {
          const end = bytes.indexOf("Transport unknown\"}");
          if (end < 0) return undefined;
          tcp.received = bytes.subarray(end + 19);
          return true;
        });
        await tcp.read((bytes) => { // a chunked answer has an end
          if (bytes.toString("latin1").startsWith("\r\n0\r\n\r\n")) tcp.received = bytes.subarray(7);
          else if (bytes.length > 0 && bytes.length < 7) return undefined;
          return true;
        });
      }
    });
  });

  describe(`${path} on a session`, () => {
    const echoTest = path === "/engine.io/" ? test : () => {}; // those that need the echo

    echoTest("a method other than GET and POST: 500, and the session lives", async () => {
      const session = await Polling.open(server, { path });
      for (const method of ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]) {
        const answer = await http(server, { method, path: session.path });
        assert.deepEqual([answer.status, answer.text], [500, ""], method);
      }
      await session.expectAlive();
    });

    echoTest("websocket without an upgrade on a polling session: 3, and the session lives", async () => {
      const session = await Polling.open(server, { path });
      for (const method of ["GET", "POST"]) {
        expectError(await http(server, { method, path: session.path.replace("polling", "websocket") }), 3);
      }
      await session.expectAlive();
    });

    echoTest("another protocol version than the session's: 3, and the session lives", async () => {
      const session = await Polling.open(server, { path });
      expectError(await session.get({ path: session.path.replace("EIO=4", "EIO=3") }), 3);
      expectError(await session.get({ path: session.path.replace("EIO=4&", "") }), 3);
      expectError(await session.post("4x", { path: session.path.replace("EIO=4", "EIO=3") }), 3);
      await session.expectAlive();
    });

    echoTest("allowRequest is not asked again", async (t) => {
      const session = await Polling.open(server, { path });
      session.path += "&forbid=1";
      await session.expectAlive();
      const ws = await Ws.open(t, server, session.path.replace("polling", "websocket"));
      ws.send("2probe");
      assert.equal(await ws.next(), "3probe");
    });

    echoTest("polling on a websocket session: 3, and the session lives", async (t) => {
      const ws = await engineWs(t, server, { path });
      const query = `${path}?EIO=4&transport=polling&sid=${ws.sid}`;
      expectError(await http(server, { path: query }), 3);
      expectError(await http(server, { method: "POST", path: query, body: "4x" }), 3);
      await expectEcho(ws);
    });

    test("a session of the other endpoint is unknown", async () => {
      const session = await Polling.open(server, { path });
      const other = ENDPOINTS.find((p) => p !== path);
      expectError(await session.get({ path: session.path.replace(path, other) }), 1);
    });

    test("a sid with another case is unknown", async () => {
      const session = await Polling.open(server, { path });
      const flipped = [...session.sid].map((c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())).join("");
      expectError(await session.get({ path: session.path.replace(session.sid, flipped) }), 1);
    });
  });

  describe(`${path} on a WebSocket upgrade`, () => {
    const refused = async (t, query, message, { method, headers } = {}) => {
      const tcp = await Tcp.connect(t, server);
      tcp.write(upgradeRequest(server, `${path}?${query}`, headers, method));
      const head = await tcp.head();
      assert.equal(head.line, "HTTP/1.1 400 Bad Request");
      assert.equal(head.headers.connection?.toLowerCase(), "close");
      assert.equal(head.headers["content-type"], "text/html");
      assert.equal(head.headers["content-length"], String(message.length));
      await tcp.ended;
      assert.equal(tcp.received.toString(), message);
    };

    for (const [what, query, code] of CASES) {
      if (/transport=websocket(&|$)/.test(query) || code === 5) continue;
      test(`${what}: ${code}`, (t) => refused(t, query, MESSAGES[code]));
    }
    test("an unknown sid: 1", (t) => refused(t, `EIO=4&transport=websocket&sid=${UNKNOWN_SID}`, MESSAGES[1]));
    test("POST: 2", (t) => refused(t, "EIO=4&transport=websocket", MESSAGES[2], { method: "POST", headers: { "Content-Length": "0" } }));
    test("allowRequest: 400 with its message", (t) => refused(t, "EIO=4&transport=websocket&forbid=x", "forbidden by testbed"));
    test("allowRequest without a message", (t) => refused(t, "EIO=4&transport=websocket&forbid=", "Forbidden"));
    test("allowRequest before the protocol version", (t) => refused(t, "EIO=3&transport=websocket&forbid=x", "forbidden by testbed"));
    test("another protocol version than the session's: 3", async (t) => {
      const session = await Polling.open(server, { path });
      await refused(t, `EIO=3&transport=websocket&sid=${session.sid}`, MESSAGES[3]);
      await refused(t, `transport=websocket&sid=${session.sid}`, MESSAGES[3]);
    });
    for (const eio of ["EIO=3&", "", "EIO=5&"]) {
      test(`"${eio}": the text of error 5, and no session`, async (t) => {
        const tcp = await Tcp.connect(t, server);
        tcp.write(upgradeRequest(server, `${path}?${eio}transport=websocket`));
        await tcp.ended;
        const text = tcp.received.toString("latin1");
        // the reference has already answered 101 and writes the refusal after it
        if (!isReference) assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/);
        assert.ok(text.includes("HTTP/1.1 400 Bad Request") && text.endsWith("Unsupported protocol version"), text);
      });
    }
  });
}
