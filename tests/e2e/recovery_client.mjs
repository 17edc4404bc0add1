// A client of connection state recovery that reads every packet.
import { assert, ask, until, Raw } from "./support.mjs";

/** A raw client that reads every packet of a namespace: `{name, args, offset}` for events. */
export class Session {
  static async open(t, server, nsp = "/rc", auth, also) {
    const session = new Session();
    session.raw = also?.raw ?? (await Raw.connect(t, server));
    session.nsp = nsp;
    session.reply = await session.connect(auth);
    return session;
  }

  /** Sends CONNECT and gives the data of the reply; what comes before it is in `missed`. */
  async connect(auth) {
    this.raw.send(`0${this.nsp},${auth === undefined ? "" : JSON.stringify(auth)}`);
    this.missed = [];
    for (;;) {
      const packet = await this.packet();
      if (packet.type === "2") this.missed.push(packet);
      else if (packet.type === "4") return (this.refused = packet.data);
      else {
        assert.equal(packet.type, "0");
        this.id = packet.data.sid;
        this.pid = packet.data.pid;
        return packet.data;
      }
    }
  }

  /** The next packet of this namespace. */
  async packet() {
    const head = new RegExp(`^4(\\d)(?:(\\d+)-)?${this.nsp},(\\d*)`);
    const text = await this.raw.inbox.take((m) => typeof m === "string" && head.test(m), `a packet of ${this.nsp}`);
    const [start, type, attachments, id] = head.exec(text);
    const data = text.length > start.length ? JSON.parse(text.slice(start.length)) : undefined;
    const binary = [];
    for (let i = 0; i < Number(attachments ?? 0); i++) binary.push(await this.raw.inbox.take((m) => typeof m !== "string", "an attachment"));
    return { type: type === "5" ? "2" : type, id, data, binary };
  }

  /** The next event, its last argument taken as the offset. */
  async event() {
    const packet = await this.packet();
    assert.equal(packet.type, "2", JSON.stringify(packet));
    assert.equal(packet.id, "", "no ack is asked for");
    this.offset = packet.data.at(-1);
    assert.equal(typeof this.offset, "string");
    return packet.data.slice(0, -1);
  }

  async ask(operation, params) {
    return this.raw.ask(this.nsp, operation, params);
  }

  /** Gets an offset: an event to this socket. */
  async note() {
    await this.ask("emit", { target: "socket", event: "note" });
    assert.deepEqual(await this.event(), ["note"]);
    return this.offset;
  }

  /** Cuts the connection; waits until the server has noticed. */
  async cut(observer, before = 0) {
    this.raw.ws.socket.terminate();
    await this.noticed(observer, before);
  }

  async noticed(observer, before = 0) {
    await until(() => ask(observer, "disconnectLog", { id: this.id, nsp: this.nsp }), (log) => log.length >= before + 2, "the cut");
  }

  get key() {
    return { pid: this.pid, offset: this.offset };
  }
}

/** The events of these packets without their offsets. */
export const texts = (packets) => packets.map((p) => p.data.slice(0, -1));
