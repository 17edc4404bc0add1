// What a hostile client can try with nothing but a connection. attacks.test.mjs runs each beside a healthy client and looks
// at memory; benches/hostile measures how long the healthy one waits.
import {
  assert, Raw, Tcp, tcpSession, wsFrame, OP, Polling, upgradeRequest, sleep, until, within,
} from "./support.mjs";
import { MsgRaw, packetOf, TYPE } from "./msgpack.mjs";

const echo = (argument) => packetOf({ type: TYPE.EVENT, nsp: "/rc", data: Buffer.concat([Buffer.from("92a46563686f", "hex"), argument]) });
const times = (count, make) => Promise.all(Array.from({ length: count }, (_, i) => make(i)));
const MANY = 10_000;

/** Many frames of one kind, as long as the server takes them or until `total` are sent. */
async function frames(t, server, payload, total) {
  const tcp = await tcpSession(t, server);
  tcp.write(wsFrame("4", { fin: false }));
  const portion = Buffer.concat(Array.from({ length: MANY }, () => wsFrame(payload, { opcode: OP.continuation, fin: false })));
  for (let sent = 0; sent < total && !tcp.done; sent += MANY) {
    if (!tcp.socket.write(portion)) await Promise.race([new Promise((done) => tcp.socket.once("drain", done)), tcp.ended]);
  }
  return tcp;
}

/**
 * Each: `name`; `run(t, server)` returns when the attack is over; `env` of the server; `flood`: it is the work of the
 * server itself that is asked for; `notNode`: why the reference does not survive it.
 */
export const ATTACKS = [
  {
    name: "msgpack that claims 2^32 elements, 2^32 pairs, 2^32 bytes",
    env: { PARSER: "msgpack" },
    async run(t, server) {
      for (const claim of ["ddffffffff", "dfffffffff", "dbffffffff", "c6ffffffff", "dcffffdcffffdcffff"]) {
        await times(20, async () => {
          const raw = await MsgRaw.connect(t, server, "/rc");
          raw.send(echo(Buffer.from(claim, "hex")));
          await raw.expectClosed();
        });
      }
    },
  },
  {
    name: "JSON of 100,000 brackets",
    notNode: "its stack overflows",
    async run(t, server) {
      for (let round = 0; round < 20; round++) {
        for (const text of ["[".repeat(100_000), "]".repeat(100_000), "[]".repeat(50_000), `${"[".repeat(50_000)}${"]".repeat(50_000)}`, '{"a":'.repeat(100_000)]) {
          const raw = await Raw.connect(t, server, "/rc");
          raw.send(`2/rc,1["echo",${text}]`);
          await raw.expectClosed();
        }
      }
    },
  },
  {
    name: "attachments announced and never sent, by 100 clients",
    async run(t, server) {
      const places = Array.from({ length: 10 }, (_, k) => `{"_placeholder":true,"num":${k}}`).join();
      await times(100, async () => {
        const raw = await Raw.connect(t, server, "/rc");
        raw.send(`510-/rc,["no-ack",${places}]`);
        for (let k = 0; k < 5; k++) raw.send(Buffer.alloc(100_000));
      });
      await sleep(500);
    },
  },
  {
    name: "empty continuation frames without end",
    async run(t, server) {
      const tcps = await times(4, () => frames(t, server, "", 1_000_000));
      for (const tcp of tcps) assert.equal(await tcp.closeCode(), 1008);
    },
  },
  {
    name: "continuation frames of one byte without end",
    async run(t, server) {
      const tcps = await times(4, () => frames(t, server, "x", 1_000_000));
      for (const tcp of tcps) assert.equal(await tcp.closeCode(), 1008);
    },
  },
  {
    name: "bodies sent byte by byte, by 100 clients",
    async run(t, server) {
      const posts = await times(100, async () => {
        const session = await Polling.open(server);
        const tcp = await Tcp.connect(t, server);
        tcp.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n4`);
        return tcp;
      });
      for (let n = 1; n < 499; n++) {
        for (const tcp of posts) tcp.write("x");
        await sleep(2);
      }
      for (const tcp of posts) tcp.write("x");
      for (const tcp of posts) assert.equal((await tcp.head()).status, 200);
    },
  },
  {
    name: "events of 200,000 arguments",
    notNode: "its stack overflows when it calls the listener",
    async run(t, server) {
      const text = `2/rc,1["echo",${"1,".repeat(199_999)}1]`;
      for (let i = 0; i < 20; i++) {
        const raw = await Raw.connect(t, server, "/rc");
        raw.send(text);
        assert.equal((await raw.ws.text("43/rc,1[")).length, text.length - 6);
      }
    },
  },
  {
    name: "data nested 10,000 deep that is to come back in an answer",
    notNode: "its stack overflows in the answer",
    async run(t, server) {
      for (let i = 0; i < 50; i++) {
        for (const [open, close] of [["[", "]"], ['{"a":', "}"]]) {
          const raw = await Raw.connect(t, server, "/rc");
          raw.send(`2/rc,1["echo",${open.repeat(10_000)}1${close.repeat(10_000)}]`);
          await raw.expectClosed();
        }
      }
    },
  },
  {
    name: "data nested 2,000 deep that comes back in an answer",
    async run(t, server) {
      const raw = await Raw.connect(t, server, "/rc");
      const data = `${"[".repeat(2_000)}1${"]".repeat(2_000)}`;
      for (let i = 0; i < 200; i++) {
        raw.send(`2/rc,1["echo",${data}]`);
        assert.equal(await raw.ws.text("43/rc,1["), `43/rc,1[${data}]`);
      }
    },
  },
  {
    name: "upgrade requests to a foreign path, then a reset",
    notNode: "the server process ends with ECONNRESET",
    async run(t, server) {
      for (let i = 0; i < 20; i++) {
        await times(25, async (k) => {
          const tcp = await Tcp.connect(null, server);
          tcp.write(upgradeRequest(server, ["/elsewhere", "/", "/socket.iox/?EIO=4&transport=websocket", "/%00"][k % 4]));
          if (k % 2) await sleep(1);
          tcp.socket.resetAndDestroy();
          await tcp.closed;
        });
      }
    },
  },
  {
    name: "100,000 refused namespaces on one connection",
    flood: true,
    async run(t, server) {
      const raw = await Raw.connect(t, server);
      let refused = 0;
      raw.inbox.push = (text) => (refused += text.startsWith("44/"));
      for (let i = 0; i < 100_000; i++) {
        raw.send(`0/unknown-${i},{"token":"x"}`);
        if (i % 1000 === 999) await until(() => raw.ws.socket.bufferedAmount, (n) => n < 200_000, "room to send");
      }
      await until(() => refused, (n) => n === 100_000, "refusals", 20_000);
    },
  },
  {
    name: "100,000 refused namespaces, and nobody reads the refusals",
    flood: true,
    notNode: "it keeps them all",
    async run(t, server) {
      const tcp = await tcpSession(t, server, "/socket.io/");
      tcp.socket.pause();
      for (let i = 0; i < 100 && !tcp.done; i++) {
        const portion = Buffer.concat(Array.from({ length: 1000 }, (_, k) => wsFrame(`40/unknown-${1000 * i + k}-${"x".repeat(400)},`)));
        if (!tcp.socket.write(portion)) {
          const drained = new Promise((done) => tcp.socket.once("drain", done));
          if (await Promise.race([drained, sleep(1000).then(() => "stuck")])) return; // it is read no more
        }
      }
    },
  },
  {
    name: "100,000 events that nobody hears, and acks that nobody waits for",
    flood: true,
    async run(t, server) {
      const raw = await Raw.connect(t, server, "/rc");
      for (let i = 0; i < 50_000; i++) {
        raw.send(`3/rc,${i}[1]`, '2/rc,["nobody"]');
        if (i % 1000 === 999) await until(() => raw.ws.socket.bufferedAmount, (n) => n < 200_000, "room to send");
      }
      await within(raw.ask("/rc", "rooms"), "an answer behind it all", 20_000);
    },
  },
  {
    name: "8 polling bodies of 1 MB that are nothing but pongs",
    flood: true,
    async run(t, server) {
      const body = Array.from({ length: 499_000 }, () => "3").join("\x1e");
      await times(8, async () => {
        const session = await Polling.open(server);
        const answer = await session.post(body);
        assert.deepEqual([answer.status, answer.text], [200, "ok"]);
      });
    },
  },
  {
    name: "pings without end, by one that reads the answers",
    flood: true,
    async run(t, server) {
      const tcp = await tcpSession(t, server);
      tcp.socket.removeAllListeners("data").resume();
      const portion = Buffer.concat(Array.from({ length: MANY }, () => wsFrame("", { opcode: OP.ping })));
      for (const until = Date.now() + 3000; Date.now() < until; ) {
        if (!tcp.socket.write(portion)) await new Promise((done) => tcp.socket.once("drain", done));
      }
    },
  },
  {
    name: "CONNECTs with auths of 60,000 bytes",
    flood: true,
    async run(t, server) {
      const auth = JSON.stringify({ list: Array.from({ length: 30_000 }, () => 1) });
      const raw = await Raw.connect(t, server);
      for (let i = 0; i < 100; i++) {
        raw.send(`0/unknown-${i},${auth}`);
        assert.equal(await raw.next(), `44/unknown-${i},{"message":"Invalid namespace"}`);
      }
    },
  },
];
