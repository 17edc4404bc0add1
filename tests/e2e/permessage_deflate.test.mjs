// permessage-deflate (option O9), its negotiation: what the server answers to each offer, exactly as the package `ws` does.
import { test, assert, describe, useServer, Polling, Tcp, Ws, client, ask, call, expectEcho, engineWs, wsFrame } from "./support.mjs";
import { Deflated, PMD, deflate } from "./deflate.mjs";

const server = useServer({ PER_MESSAGE_DEFLATE: "1" });
const ENDPOINTS = ["/engine.io/", "/socket.io/"];
const REFUSAL = "Invalid or unacceptable Sec-WebSocket-Extensions header";
const REFUSED = Symbol("400");
const NONE = undefined; // 101 without the header

/** [what follows the name of the extension in the offer, answer] */
const PARAMETERS = [
  ["", PMD],
  ["; client_max_window_bits", PMD],
  ["; client_max_window_bits=15", `${PMD}; client_max_window_bits=15`],
  ["; client_max_window_bits=8", `${PMD}; client_max_window_bits=8`],
  ["; client_max_window_bits=10", `${PMD}; client_max_window_bits=10`],
  ['; client_max_window_bits="12"', `${PMD}; client_max_window_bits=12`],
  ["; client_max_window_bits=7", REFUSED],
  ["; client_max_window_bits=16", REFUSED],
  ["; client_max_window_bits=x", REFUSED],
  ["; client_max_window_bits=-9", REFUSED],
  ["; client_max_window_bits=9.5", REFUSED],
  ["; server_max_window_bits=8", `${PMD}; server_max_window_bits=8`],
  ["; server_max_window_bits=9", `${PMD}; server_max_window_bits=9`],
  ["; server_max_window_bits=15", `${PMD}; server_max_window_bits=15`],
  ['; server_max_window_bits="1\\0"', `${PMD}; server_max_window_bits=10`],
  ["; server_max_window_bits", REFUSED],
  ["; server_max_window_bits=7", REFUSED],
  ["; server_max_window_bits=16", REFUSED],
  ["; server_max_window_bits=", REFUSED],
  ["; server_no_context_takeover", `${PMD}; server_no_context_takeover`],
  ["; client_no_context_takeover", `${PMD}; client_no_context_takeover`],
  ["; server_no_context_takeover; client_no_context_takeover", `${PMD}; server_no_context_takeover; client_no_context_takeover`],
  ["; server_no_context_takeover=true", REFUSED],
  ["; client_no_context_takeover=1", REFUSED],
  [
    "; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits",
    `${PMD}; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=10`,
  ],
  // the order is the client's
  [
    "; client_max_window_bits=11; server_max_window_bits=12; server_no_context_takeover; client_no_context_takeover",
    `${PMD}; client_max_window_bits=11; server_max_window_bits=12; server_no_context_takeover; client_no_context_takeover`,
  ],
  // illegal parameters
  ["; client_max_window_bits; client_max_window_bits", REFUSED],
  ["; server_no_context_takeover; server_no_context_takeover", REFUSED],
  ["; server_max_window_bits=10; server_max_window_bits=10", REFUSED],
  ["; unknown", REFUSED],
  ["; unknown=1", REFUSED],
  ["; __proto__", REFUSED],
  ["; Client_Max_Window_Bits", REFUSED],
  // several offers: the first is taken, but a bad one spoils all
  [`, ${PMD}; client_max_window_bits=9`, PMD],
  [`; server_max_window_bits=10, ${PMD}`, `${PMD}; server_max_window_bits=10`],
  [`; client_max_window_bits, ${PMD}; server_no_context_takeover`, PMD],
  [`; unknown, ${PMD}`, REFUSED],
  [`, ${PMD}; unknown`, REFUSED],
  [`; server_max_window_bits=99, ${PMD}`, REFUSED],
  // other extensions
  [", x-unknown", PMD],
  // white space
  [" ;client_max_window_bits", PMD],
  ["\t;\tserver_max_window_bits=10", `${PMD}; server_max_window_bits=10`],
  ["; server_max_window_bits = 10", REFUSED],
  // no list of extensions at all
  [";", REFUSED],
  [",", REFUSED],
  ["; =", REFUSED],
  ["; a=", REFUSED],
  ['; server_max_window_bits="10', REFUSED],
];
/** [offer, answer] */
const OFFERS = [
  ...PARAMETERS.map(([parameters, answer]) => [PMD + parameters, answer]),
  [`x-unknown; a=1; b, ${PMD}`, PMD],
  ["x-webkit-deflate-frame", NONE],
  ["x-unknown; client_max_window_bits=99", NONE],
  ["PERMESSAGE-DEFLATE", NONE],
  ["__proto__", NONE],
  [`,${PMD}`, REFUSED],
  ["foo bar", REFUSED],
];

describe("what the server answers", () => {
  for (const path of ENDPOINTS) {
    for (const [offer, answer] of OFFERS) {
      test(`${path} ${JSON.stringify(offer)}: ${answer === REFUSED ? "400" : answer ?? "no extension"}`, async (t) => {
        const tcp = await Tcp.connect(t, server);
        const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket`, { "Sec-WebSocket-Extensions": offer });
        if (answer !== REFUSED) {
          assert.deepEqual([head.status, head.headers["sec-websocket-extensions"]], [101, answer]);
          return;
        }
        assert.equal(head.line, "HTTP/1.1 400 Bad Request");
        assert.deepEqual([head.headers.connection?.toLowerCase(), head.headers["content-type"]], ["close", "text/html"]);
        assert.equal(head.headers["content-length"], String(REFUSAL.length));
        await tcp.ended;
        assert.equal(tcp.received.toString(), REFUSAL);
      });
    }
  }

  test("without an offer, no extension", async (t) => {
    const tcp = await Tcp.connect(t, server);
    const head = await tcp.upgrade("/engine.io/?EIO=4&transport=websocket");
    assert.deepEqual([head.status, head.headers["sec-websocket-extensions"]], [101, undefined]);
  });

  test("offers in several header lines are one list", async (t) => {
    const tcp = await Tcp.connect(t, server);
    const head = await tcp.upgrade("/engine.io/?EIO=4&transport=websocket", {
      "Sec-WebSocket-Extensions": `x-unknown\r\nSec-WebSocket-Extensions: ${PMD}; server_max_window_bits=11`,
    });
    assert.deepEqual([head.status, head.headers["sec-websocket-extensions"]], [101, `${PMD}; server_max_window_bits=11`]);
  });

  test("an upgrade from polling negotiates too; a refused one leaves the session as it was", async (t) => {
    const session = await Polling.open(server);
    const path = session.path.replace("polling", "websocket");
    const bad = await Tcp.connect(t, server);
    assert.equal((await bad.upgrade(path, { "Sec-WebSocket-Extensions": `${PMD}; unknown` })).status, 400);
    await session.expectAlive();
    const good = await Tcp.connect(t, server);
    const head = await good.upgrade(path, { "Sec-WebSocket-Extensions": `${PMD}; client_max_window_bits` });
    assert.deepEqual([head.status, head.headers["sec-websocket-extensions"]], [101, PMD]);
  });

  test("a refused offer is no connection_error, and opens no session", async (t) => {
    const observer = await client(t, server, "/rc");
    await ask(observer, "connectionErrors", { clear: true });
    const before = await ask(observer, "counts");
    for (let i = 0; i < 5; i++) {
      const tcp = await Tcp.connect(t, server);
      assert.equal((await tcp.upgrade("/socket.io/?EIO=4&transport=websocket", { "Sec-WebSocket-Extensions": `${PMD}; unknown` })).status, 400);
      await tcp.ended;
    }
    assert.deepEqual(await ask(observer, "connectionErrors"), []);
    assert.equal((await ask(observer, "counts")).nsp, before.nsp);
  });

  test("errors of the request come before those of the offer", async (t) => {
    const tcp = await Tcp.connect(t, server);
    await tcp.upgrade("/socket.io/?EIO=4&transport=websocket&sid=AAAA", { "Sec-WebSocket-Extensions": `${PMD}; unknown` });
    await tcp.ended;
    assert.equal(tcp.received.toString(), "Session ID unknown");
  });
});

describe("PER_MESSAGE_DEFLATE=0", () => {
  const plain = useServer();
  for (const path of ENDPOINTS) {
    test(`${path}: no offer is taken, none is refused`, async (t) => {
      for (const offer of [PMD, `${PMD}; client_max_window_bits`, `${PMD}; unknown`, ";;,", `${PMD}; server_max_window_bits=99`]) {
        const tcp = await Tcp.connect(t, plain);
        const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket`, { "Sec-WebSocket-Extensions": offer });
        assert.deepEqual([head.status, head.headers["sec-websocket-extensions"]], [101, undefined], offer);
        assert.equal((await tcp.frame()).rsv, 0);
        tcp.write(wsFrame(deflate("4x"), { rsv: 4 }));
        assert.equal(await tcp.closeCode(), 1002, "a frame that says it is compressed");
      }
    });
  }

  test("the official client that offers it works without", async (t) => {
    const socket = await client(t, plain, "/rc", { perMessageDeflate: { threshold: 0 } });
    assert.deepEqual(Object.keys(socket.io.engine.transport.ws._extensions), []);
    assert.equal(await call(socket, "echo", "x".repeat(50_000)), "x".repeat(50_000));
  });
});

describe("PER_MESSAGE_DEFLATE=1, the extension not negotiated", () => {
  test("a frame that says it is compressed: 1002", async (t) => {
    const session = await Deflated.open(t, server, { offer: "x-unknown" });
    assert.equal(session.answer, undefined);
    session.sendBytes(deflate("4x"));
    assert.equal(await session.closeCode(), 1002);
  });

  test("nothing is compressed", async (t) => {
    const session = await Deflated.open(t, server, { offer: "x-unknown" });
    for (const data of ["4".padEnd(5000, "x"), Buffer.alloc(5000)]) {
      assert.equal((await session.expectEcho(data, { compressed: false })).compressed, false);
    }
  });

  test("clients with and without it live beside each other", async (t) => {
    const ws = await engineWs(t, server);
    const session = await Deflated.open(t, server);
    const other = await Ws.open(t, server, "/engine.io/?EIO=4&transport=websocket", { perMessageDeflate: true });
    await other.text("0");
    await expectEcho(ws);
    await session.expectEcho("4".padEnd(3000, "x"));
    await expectEcho(other);
  });
});
