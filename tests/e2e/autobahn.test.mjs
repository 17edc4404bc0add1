// RFC 6455 and RFC 7692 on `/ws-echo`: the cases of the Autobahn test-suite by their numbers, with the behaviour it asks for in
// its strict reading. The suite itself needs Python 2.7: benches/autobahn/run. Its timings (9.7, 9.8) are sizes here, its 1,000 messages of each
// compressed case (12, 13) are fewer. 6.5 to 6.23 are one sequence each in the suite, and one test each here.
import { randomBytes } from "node:crypto";
import { test as anyTest, assert, describe, useServer, isReference, Tcp, wsFrame, closePayload, until, upgradeRequest, http } from "./support.mjs";
import { Deflated } from "./deflate.mjs";

const test = (name, fn) => anyTest(name, { skip: isReference ? "it has no /ws-echo" : false, timeout: 60000 }, fn);
const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];
const MiB = 1 << 20;

for (const [title, env] of [["without compression", {}], ["with permessage-deflate offered by the server", { PER_MESSAGE_DEFLATE: "1" }]]) {
  describe(title, { concurrency: 4 }, () => suite(useServer(env)));
}

class Echo {
  static async open(t, server) {
    const echo = new Echo();
    echo.tcp = await Tcp.connect(t, server);
    assert.equal((await echo.tcp.upgrade("/ws-echo")).status, 101);
    return echo;
  }

  /** Frames `[opcode, payload, {fin, rsv}]`, in one write or in pieces of `chop` bytes. */
  async send(frames, chop) {
    const bytes = Buffer.concat(frames.map(([opcode, payload = "", more = {}]) => wsFrame(payload, { opcode, ...more })));
    if (!chop) return this.tcp.write(bytes);
    for (let at = 0; at < bytes.length; at += chop) {
      this.tcp.write(bytes.subarray(at, at + chop));
      // Each piece is a packet of its own, if the machine is quick enough: the result is the same if not.
      if (chop < 64 || at % (chop * 64) === 0) await new Promise(setImmediate);
    }
  }

  async expect(opcode, payload = "") {
    const frame = await this.tcp.frame(30000);
    assert.equal(frame.opcode, opcode);
    assert.ok(frame.fin && frame.rsv === 0);
    assert.ok(Buffer.from(payload).equals(frame.payload), `${frame.payload.length} bytes: ${frame.payload.subarray(0, 100)}`);
  }

  /** The client closes, the server answers and ends the connection. */
  async finish(code = 1000) {
    await this.send([[CLOSE, closePayload(code)]]);
    await this.closed(code);
  }

  /** Nothing but a close frame with one of these codes is left, and then the end. */
  async closed(...codes) {
    const frame = await this.tcp.frame(30000);
    assert.equal(frame.opcode, CLOSE, `opcode ${frame.opcode}: ${frame.payload}`);
    const code = frame.payload.length < 2 ? 1005 : frame.payload.readUInt16BE(0);
    assert.ok(codes.includes(code), `${code}, not ${codes}`);
    await this.tcp.ended;
    assert.equal(this.tcp.received.length, 0);
  }
}

function suite(server) {
  /** What is sent, the frames that must come back, and how it ends: by the client, or with a code of the server. */
  const ask = (name, sent, answers, end, chop) => test(name, async (t) => {
    const echo = await Echo.open(t, server);
    await echo.send(sent, chop);
    for (const answer of answers) await echo.expect(...answer);
    if (end === undefined) await echo.finish();
    else await echo.closed(end);
  });

  describe("1 framing", { concurrency: 32 }, () => {
    const SIZES = [0, 125, 126, 127, 128, 65535, 65536, 65536];
    SIZES.forEach((size, i) => {
      const chop = i === 7 ? 997 : undefined;
      ask(`1.1.${i + 1} text of ${size}`, [[TEXT, "*".repeat(size)]], [[TEXT, "*".repeat(size)]], undefined, chop);
      ask(`1.2.${i + 1} binary of ${size}`, [[BINARY, Buffer.alloc(size, 0xfe)]], [[BINARY, Buffer.alloc(size, 0xfe)]], undefined, chop);
    });
  });

  describe("2 pings and pongs", { concurrency: 32 }, () => {
    const odd = Buffer.from("00fffefdfcfb00ff", "hex");
    const most = Buffer.alloc(125, 0xfe);
    ask("2.1 empty ping", [[PING]], [[PONG]]);
    ask("2.2 ping with text", [[PING, "Hello, world!"]], [[PONG, "Hello, world!"]]);
    ask("2.3 ping with bytes", [[PING, odd]], [[PONG, odd]]);
    ask("2.4 ping of 125", [[PING, most]], [[PONG, most]]);
    ask("2.5 ping of 126", [[PING, Buffer.alloc(126, 0xfe)]], [], 1002);
    ask("2.6 ping of 125, byte by byte", [[PING, most]], [[PONG, most]], undefined, 1);
    ask("2.7 unsolicited empty pong", [[PONG]], []);
    ask("2.8 unsolicited pong", [[PONG, "unsolicited pong payload"]], []);
    ask("2.9 unsolicited pong, then ping", [[PONG, "unsolicited"], [PING, "ping payload"]], [[PONG, "ping payload"]]);
    const ten = Array.from({ length: 10 }, (_, i) => `payload-${i}`);
    ask("2.10 ten pings", ten.map((p) => [PING, p]), ten.map((p) => [PONG, p]));
    ask("2.11 ten pings, byte by byte", ten.map((p) => [PING, p]), ten.map((p) => [PONG, p]), undefined, 1);
  });

  describe("3 reserved bits", { concurrency: 32 }, () => {
    const hello = "Hello, world!";
    ask("3.1 RSV 1", [[TEXT, hello, { rsv: 4 | 1 }]], [], 1002);
    ask("3.1 RSV 4 without the extension", [[TEXT, hello, { rsv: 4 }]], [], 1002);
    ask("3.2 RSV 2 behind a message", [[TEXT, hello], [TEXT, hello, { rsv: 2 }], [PING]], [[TEXT, hello]], 1002);
    ask("3.3 RSV 3 behind a message, in frames", [[TEXT, hello], [TEXT, hello, { rsv: 3 }], [PING]], [[TEXT, hello]], 1002, 19);
    ask("3.4 RSV 4, byte by byte", [[TEXT, hello], [TEXT, hello, { rsv: 4 }], [PING]], [[TEXT, hello]], 1002, 1);
    ask("3.5 RSV 5 binary", [[BINARY, hello, { rsv: 5 }]], [], 1002);
    ask("3.6 RSV 6 ping", [[PING, hello, { rsv: 6 }]], [], 1002);
    ask("3.7 RSV 7 close", [[CLOSE, "", { rsv: 7 }]], [], 1002);
  });

  describe("4 opcodes", { concurrency: 32 }, () => {
    [3, 4, 5, 6, 7].forEach((opcode, i) => reserved(`4.1.${i + 1}`, opcode, i));
    [11, 12, 13, 14, 15].forEach((opcode, i) => reserved(`4.2.${i + 1}`, opcode, i));

    function reserved(number, opcode, i) {
      const before = i < 2 ? [] : [[TEXT, "Hello, world!"]];
      const payload = i % 2 === 0 ? "" : "reserved opcode payload";
      ask(`${number} opcode ${opcode}`, [...before, [opcode, payload], [PING]], before, 1002, i === 3 ? 1 : undefined);
    }
  });

  describe("5 fragmentation", { concurrency: 32 }, () => {
    const open = { fin: false };
    const two = [[TEXT, "fragment1", open], [CONTINUATION, "fragment2"]];
    const whole = [[TEXT, "fragment1fragment2"]];
    ask("5.1 fragmented ping", [[PING, "fragment1", open], [CONTINUATION, "fragment2"]], [], 1002);
    ask("5.2 fragmented pong", [[PONG, "fragment1", open], [CONTINUATION, "fragment2"]], [], 1002);
    ask("5.3 two fragments", two, whole);
    ask("5.4 two fragments, in frames", two, whole, undefined, 15);
    ask("5.5 two fragments, byte by byte", two, whole, undefined, 1);
    const between = [two[0], [PING, "ping payload"], two[1]];
    const answered = [[PONG, "ping payload"], ...whole];
    ask("5.6 ping between", between, answered);
    ask("5.7 ping between, in frames", between, answered, undefined, 15);
    ask("5.8 ping between, byte by byte", between, answered, undefined, 1);
    const nothing = (fin) => [[CONTINUATION, "non-continuation payload", { fin }], [TEXT, "Hello, world!"]];
    [undefined, 30, 1].forEach((chop, i) => {
      ask(`5.${9 + i} last fragment of nothing`, nothing(true), [], 1002, chop);
      ask(`5.${12 + i} fragment of nothing`, nothing(false), [], 1002, chop);
    });
    ask("5.15 fragment behind the last", [...two, [CONTINUATION, "fragment3", open], [TEXT, "fragment4"]], whole, 1002);
    const twice = (fin) => [1, 2].flatMap((n) => [[CONTINUATION, `fragment${n}`, { fin }], [TEXT, "fragment3", open], [CONTINUATION, "fragment4"]]);
    ask("5.16 fragment of nothing, twice", twice(false), [], 1002);
    ask("5.17 last fragment of nothing, twice", twice(true), [], 1002);
    ask("5.18 a message inside a message", [[TEXT, "fragment1", open], [TEXT, "fragment2"]], [], 1002);
    for (const [number, chop] of [["5.19", undefined], ["5.20", 15]]) {
      test(`${number} pings are answered before the message is complete`, async (t) => {
        const echo = await Echo.open(t, server);
        await echo.send([[TEXT, "fragment1", open], [CONTINUATION, "fragment2", open], [PING, "pongme 1!"]], chop);
        await echo.expect(PONG, "pongme 1!");
        await echo.send([[CONTINUATION, "fragment3", open], [CONTINUATION, "fragment4", open], [PING, "pongme 2!"], [CONTINUATION, "fragment5"]], chop);
        await echo.expect(PONG, "pongme 2!");
        await echo.expect(TEXT, "fragment1fragment2fragment3fragment4fragment5");
        await echo.finish();
      });
    }
  });

  describe("6 UTF-8", { concurrency: 32 }, () => {
    const open = { fin: false };
    const pieces = (bytes, size) => {
      const parts = [];
      for (let at = 0; at < bytes.length || at === 0; at += size) parts.push(bytes.subarray(at, at + size));
      return parts.map((part, i) => [i === 0 ? TEXT : CONTINUATION, part, { fin: i === parts.length - 1 }]);
    };
    const greek = Buffer.from("Hello-µ@ßöäüàá-UTF-8!!");
    const kosme = Buffer.from("cebae1bdb9cf83cebcceb5", "hex");
    ask("6.1.1 empty", [[TEXT]], [[TEXT]]);
    ask("6.1.2 three empty fragments", [[TEXT, "", open], [CONTINUATION, "", open], [CONTINUATION]], [[TEXT]]);
    ask("6.1.3 a middle fragment", [[TEXT, "", open], [CONTINUATION, "middle frame payload", open], [CONTINUATION]], [[TEXT, "middle frame payload"]]);
    ask("6.2.1 valid", [[TEXT, greek]], [[TEXT, greek]]);
    ask("6.2.2 cut between characters", [[TEXT, "Hello-µ@ßöä", open], [CONTINUATION, "üàá-UTF-8!!"]], [[TEXT, greek]]);
    ask("6.2.3 cut into bytes", pieces(greek, 1), [[TEXT, greek]]);
    ask("6.2.4 another, cut into bytes", pieces(kosme, 1), [[TEXT, kosme]]);
    const broken = Buffer.concat([kosme, Buffer.from("eda080656469746564", "hex")]);
    ask("6.3.1 invalid", [[TEXT, broken]], [], 1007);
    ask("6.3.2 invalid, cut into bytes", pieces(broken, 1), [], 1007);

    // 6.4: refused as soon as it is certain, not at the end of the message.
    const valid = Buffer.concat([kosme, Buffer.from("f490", "hex").subarray(0, 1)]);
    const rest = Buffer.from("90808065646974", "hex");
    const whole = Buffer.concat([valid, rest, Buffer.alloc(4)]);
    for (const [number, first, second] of [
      ["6.4.1 in the second frame", wsFrame(kosme, { opcode: TEXT, fin: false }), wsFrame(Buffer.from("f4908080", "hex"), { opcode: CONTINUATION, fin: false })],
      ["6.4.2 in the second frame, cut inside of the character", wsFrame(valid, { opcode: TEXT, fin: false }), wsFrame(rest.subarray(0, 1), { opcode: CONTINUATION, fin: false })],
      ["6.4.3 in the second part of a frame", wsFrame(whole, { opcode: TEXT }).subarray(0, 6 + kosme.length), "f4908080"],
      ["6.4.4 in the second part of a frame, cut inside of the character", wsFrame(whole, { opcode: TEXT }).subarray(0, 6 + valid.length), "90"],
    ]) {
      test(number, async (t) => {
        const echo = await Echo.open(t, server);
        const frame = typeof second === "string" ? masked(first, second) : second;
        echo.tcp.write(first);
        await echo.send([[PING, "alive"]].slice(0, typeof second === "string" ? 0 : 1));
        if (typeof second !== "string") await echo.expect(PONG, "alive");
        echo.tcp.write(frame);
        await echo.closed(1007);
      });
    }

    /** More payload of a frame whose beginning has been sent. */
    function masked(sent, hex) {
      const key = sent.subarray(2, 6);
      return Buffer.from(hex, "hex").map((byte, i) => byte ^ key[(sent.length - 6 + i) & 3]);
    }

    const sequences = [];
    const add = (valid, ...list) => sequences.push(...list.map((hex) => [valid, hex.replaceAll(" ", "")]));
    const hello = (hex) => `${Buffer.from("hello").toString("hex")}${hex}${Buffer.from("world").toString("hex")}`;
    add(true, hello("24"), hello("c2a2"), hello("e282ac"), hello("f0a4ada2"), kosme.toString("hex"));
    for (let i = 1; i <= kosme.length; i++) add([2, 5, 7, 9, 11].includes(i), kosme.toString("hex", 0, i)); // 6.6
    add(true, "00", "c280", "e0a080", "f0908080"); // 6.7
    add(false, "f888808080", "fc8480808080"); // 6.8
    add(true, "7f", "dfbf", "efbfbf", "f48fbfbf"); // 6.9
    add(false, "f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"); // 6.10
    add(true, "ed9fbf", "ee8080", "efbfbd", "f48fbfbf"); // 6.11
    add(false, "f4908080");
    add(false, "80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf", Buffer.from(Array.from({ length: 63 }, (_, i) => 0x80 + i)).toString("hex")); // 6.12
    for (const [from, to] of [[0xc0, 0xdf], [0xe0, 0xef], [0xf0, 0xf7], [0xf8, 0xfb], [0xfc, 0xfd]]) { // 6.13
      add(false, Buffer.from(Array.from({ length: to - from }, (_, i) => [from + i, 0x20]).flat()).toString("hex"));
    }
    const cut = ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"];
    add(false, ...cut, cut.join("")); // 6.14, 6.15
    add(false, "fe", "ff", "fefeffff"); // 6.16
    add(false, "c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"); // 6.17
    add(false, "c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"); // 6.18
    add(false, "c080", "e08080", "f0808080", "f880808080", "fc8080808080"); // 6.19
    add(false, "eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"); // 6.20
    for (const high of ["eda080", "edadbf", "edae80", "edafbf"]) add(false, `${high}edb080`, `${high}edbfbf`); // 6.21
    add(true, "efbfbe", "efbfbf"); // 6.22
    for (let plane = 1; plane <= 16; plane++) for (const end of [0xfffe, 0xffff]) add(true, Buffer.from(String.fromCodePoint(plane * 0x10000 + end)).toString("hex"));
    add(true, "efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf"); // 6.23
    for (const [valid, hex] of sequences) {
      const bytes = Buffer.from(hex, "hex");
      ask(`6.5-6.23 ${hex.slice(0, 40)} is ${valid ? "" : "in"}valid`, [[TEXT, bytes]], valid ? [[TEXT, bytes]] : [], valid ? undefined : 1007);
      ask(`the same in frames of a byte: ${hex.slice(0, 40)}`, pieces(bytes, 1), valid ? [[TEXT, bytes]] : [], valid ? undefined : 1007);
    }
  });

  describe("7 closing", { concurrency: 32 }, () => {
    const normal = [CLOSE, closePayload(1000)];
    ask("7.1.1 a message, then close", [[TEXT, "Hello World!"], normal], [[TEXT, "Hello World!"]], 1000);
    ask("7.1.2 two close frames", [normal, [CLOSE]], [], 1000);
    ask("7.1.3 ping behind close", [normal, [PING]], [], 1000);
    ask("7.1.4 text behind close", [normal, [TEXT, "Hello World!"]], [], 1000);
    ask("7.1.5 close between fragments", [[TEXT, "fragment1", { fin: false }], normal, [CONTINUATION, "fragment2"]], [], 1000);
    const long = "BAsd7&jh23".repeat(26214);
    ask("7.1.6 256 KiB, a message, close, ping", [[TEXT, long], [TEXT, "Hello World!"], normal, [PING]], [[TEXT, long], [TEXT, "Hello World!"]], 1000);
    ask("7.3.1 empty close", [[CLOSE]], [], 1005);
    ask("7.3.2 close of one byte", [[CLOSE, "a"]], [], 1002);
    ask("7.3.3 a code", [normal], [], 1000);
    ask("7.3.4 a code and a reason", [[CLOSE, closePayload(1000, "Hello World!")]], [], 1000);
    ask("7.3.5 a reason of 123 bytes", [[CLOSE, closePayload(1000, "*".repeat(123))]], [], 1000);
    ask("7.3.6 a reason of 124 bytes", [[CLOSE, closePayload(1000, "*".repeat(124))]], [], 1002);
    ask("7.5.1 a reason that is not UTF-8", [[CLOSE, Buffer.concat([closePayload(1000), Buffer.from("cebae1bdb9cf83cebcceb5eda080", "hex")])]], [], 1007);
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].forEach((code, i) => {
      ask(`7.7.${i + 1} ${code}`, [[CLOSE, closePayload(code)]], [], code);
    });
    [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999].forEach((code, i) => ask(`7.9.${i + 1} ${code}`, [[CLOSE, closePayload(code)]], [], 1002));
    ask("7.13.1 5000", [[CLOSE, closePayload(5000)]], [], 1002);
    ask("7.13.2 65536 - 1", [[CLOSE, closePayload(65535)]], [], 1002);
  });

  describe("9 limits, 10 fragments", () => {
    const text = (size) => Buffer.alloc(size, "*");
    const binary = (size) => Buffer.alloc(size, 0xfe);
    [65536, 256 << 10, MiB, 4 * MiB, 8 * MiB, 16 * MiB].forEach((size, i) => {
      ask(`9.1.${i + 1} text of ${size}`, [[TEXT, text(size)]], [[TEXT, text(size)]]);
      ask(`9.2.${i + 1} binary of ${size}`, [[BINARY, binary(size)]], [[BINARY, binary(size)]]);
    });
    const fragments = (opcode, payload, size) => {
      const list = [];
      for (let at = 0; at < payload.length; at += size) {
        list.push([at === 0 ? opcode : CONTINUATION, payload.subarray(at, at + size), { fin: at + size >= payload.length }]);
      }
      return list;
    };
    [64, 256, 1024, 4096, 16384, 65536, 262144, MiB, 4 * MiB].forEach((size, i) => {
      ask(`9.3.${i + 1} text of 4 MiB in fragments of ${size}`, fragments(TEXT, text(4 * MiB), size), [[TEXT, text(4 * MiB)]]);
      ask(`9.4.${i + 1} binary of 4 MiB in fragments of ${size}`, fragments(BINARY, binary(4 * MiB), size), [[BINARY, binary(4 * MiB)]]);
    });
    [64, 128, 256, 512, 1024, 2048].forEach((chop, i) => {
      ask(`9.5.${i + 1} text of 1 MiB in pieces of ${chop}`, [[TEXT, text(MiB)]], [[TEXT, text(MiB)]], undefined, chop);
      ask(`9.6.${i + 1} binary of 1 MiB in pieces of ${chop}`, [[BINARY, binary(MiB)]], [[BINARY, binary(MiB)]], undefined, chop);
    });
    [0, 16, 64, 256, 1024, 4096].forEach((size, i) => {
      const thousand = (opcode, payload) => Array.from({ length: 1000 }, () => [opcode, payload]);
      ask(`9.7.${i + 1} 1,000 texts of ${size}`, thousand(TEXT, text(size)), thousand(TEXT, text(size)));
      ask(`9.8.${i + 1} 1,000 binaries of ${size}`, thousand(BINARY, binary(size)), thousand(BINARY, binary(size)));
    });
    ask("10.1.1 64 KiB in fragments of 1300", fragments(TEXT, text(65536), 1300), [[TEXT, text(65536)]]);
    ask("one byte more than the limit", [[BINARY, binary(16 * MiB + 1)]], [], 1009);

    for (const [what, payload] of [["empty", ""], ["of one byte", "x"]]) {
      test(`continuation frames without end, ${what}: refused, and answered until then`, async (t) => {
        const echo = await Echo.open(t, server);
        await echo.send([[TEXT, payload, { fin: false }], [PING, "1"]]);
        await echo.expect(PONG, "1");
        const thousand = Buffer.concat(Array.from({ length: 1000 }, () => wsFrame(payload, { opcode: CONTINUATION, fin: false })));
        for (let i = 0; i < 20; i++) echo.tcp.write(thousand);
        await echo.closed(1008);
      });
    }
  });
}

describe("the handshake", () => {
  const server = useServer();
  for (const version of ["7", "12", "14", "0", "x", undefined]) {
    test(`version ${version} is refused with those that are known (RFC 6455, 4.4)`, async (t) => {
      for (const path of ["/ws-echo", "/engine.io/?EIO=4&transport=websocket"]) {
        const tcp = await Tcp.connect(t, server);
        tcp.write(upgradeRequest(server, path, { "Sec-WebSocket-Version": version }));
        const { status, headers } = await tcp.head();
        assert.deepEqual([status, headers["sec-websocket-version"]], [400, "13, 8"], path);
      }
    });
  }
  test("another fault is refused without them", async (t) => {
    const tcp = await Tcp.connect(t, server);
    tcp.write(upgradeRequest(server, "/ws-echo", { "Sec-WebSocket-Key": "short" }));
    const { status, headers } = await tcp.head();
    assert.deepEqual([status, headers["sec-websocket-version"]], [400, undefined]);
  });
});

describe("12, 13 permessage-deflate", { concurrency: 4 }, () => {
  const server = useServer({ PER_MESSAGE_DEFLATE: "1" });
  const PMD = "permessage-deflate";
  const OFFERS = {
    12: PMD,
    "13.1": PMD,
    "13.2": `${PMD}; server_no_context_takeover`,
    "13.3": `${PMD}; server_max_window_bits=9`,
    "13.4": `${PMD}; server_max_window_bits=15`,
    "13.5": `${PMD}; server_no_context_takeover; server_max_window_bits=9`,
    "13.6": `${PMD}; server_no_context_takeover; server_max_window_bits=15`,
    "13.7": `${PMD}; server_no_context_takeover; server_max_window_bits=9, ${PMD}; server_no_context_takeover, ${PMD}`,
  };
  const SIZES = [[16], [64], [256], [1024], [4096], [8192], [16384], [32768], [65536], [131072], [8192, 256], [16384, 256], [32768, 256],
    [65536, 256], [131072, 256], [131072, 1024], [131072, 4096], [131072, 32768]];
  // Data that compresses well, a little, and not at all; 12.1 to 12.5 are five files.
  const sources = {
    json: Buffer.from(JSON.stringify(Array.from({ length: 4000 }, (_, i) => ({ id: i, name: `user ${i * 7919 % 4001}`, tags: ["a", "b"], score: i / 7 })))),
    noise: randomBytes(200_000),
    mixed: Buffer.concat(Array.from({ length: 400 }, (_, i) => (i % 2 ? randomBytes(300) : Buffer.alloc(300, i)))),
  };
  for (const [number, offer] of Object.entries(OFFERS)) {
    for (const [kind, source] of Object.entries(sources)) {
      if (kind !== "json" && number !== "12") continue;
      test(`${number} ${kind}: ${offer}`, async (t) => {
        const session = await Deflated.open(t, server, { path: "/ws-echo", query: "", offer, sid: "none" });
        let at = 0;
        for (const [size, fragment = size] of SIZES) {
          for (let i = 0; i < 10; i++) {
            if (at + size > source.length) at = 0;
            const part = source.subarray(at, at + size);
            at += 997;
            const data = kind === "json" ? part.toString() : Buffer.from(part);
            session.send(data, { pieces: Math.max(1, Math.ceil(size / fragment)) });
            const { data: back } = await session.next();
            assert.ok(back.equals(Buffer.from(data)), `${size} bytes`);
          }
        }
      });
    }
  }
});
