// Who has sent what, and who has to have got it.
//
// A message is `{author, n, room, node, at}`. A member of a room must get the messages of each author in sequence, without a gap,
// from the first that it gets on; one that stays to the end must have got all that were taken after it joined. Excused is a gap
// between messages of an author of another node if the cluster was not whole at some time between them.
export class Ledger {
  sent = 0;
  received = 0;
  lost = 0;
  doubled = 0;
  disordered = 0;
  excused = 0;
  /** When the cluster was not whole: `[from, to]`, the last one without end as long as it lasts. */
  #apart = [];
  #problems = new Map();
  #latencies = [];
  /** By room: author → number of the last message the server has taken. */
  #taken = new Map();

  /** The cluster falls apart, or is whole again. */
  apart(is) {
    if (is) this.#apart.push([Date.now(), Infinity]);
    else this.#apart.at(-1)[1] = Date.now();
  }

  #wasApart(from, to) {
    return this.#apart.some(([begin, end]) => begin <= to && from <= end);
  }

  member(author, room, node = 0) {
    if (!this.#taken.has(room)) this.#taken.set(room, new Map());
    const ledger = this;
    const taken = this.#taken.get(room);
    const seen = new Map();
    // What was taken before it joined it need not get.
    const before = new Map(taken);
    let sent = 0;
    return {
      next(padding) {
        ledger.sent += 1;
        return { author, n: ++sent, room, node, at: Date.now(), padding: "x".repeat(padding) };
      },
      taken(message) {
        taken.set(author, message);
      },
      got(message) {
        ledger.received += 1;
        if (message.room !== room) return ledger.problem(`a message of ${message.room} in ${room}`);
        const last = seen.get(message.author);
        if (message.n === last?.n) ledger.doubled += 1;
        else if (message.n < last?.n) ledger.disordered += 1;
        else if (message.n > last?.n + 1) ledger.#lose(author, node, last, message, message.n - 1);
        if (!last || message.n > last.n) seen.set(message.author, { n: message.n, at: message.at });
      },
      left(reason) {
        if (!this.gone) this.gone = String(reason);
      },
      check() {
        if (this.gone) return ledger.problem(`${author} was disconnected: ${this.gone}`);
        for (const [other, last] of taken) {
          // Of an author that was there before, the first message it must have got is the next one.
          const got = seen.get(other) ?? before.get(other) ?? { n: 0, at: last.at };
          if (got.n < last.n) ledger.#lose(author, node, got, last, last.n);
        }
      },
    };
  }

  /** What follows `last`, up to the number `until`, did not come; `next` is the first message after it that is known. */
  #lose(receiver, node, last, next, until) {
    const count = until - last.n;
    if (next.node !== node && this.#wasApart(last.at, next.at)) {
      this.excused += count;
      return;
    }
    this.lost += count;
    this.problem(`${receiver} did not get of ${next.author}: ${last.n + 1} to ${until}`);
  }

  problem(text) {
    // Numbers make one of many.
    const kind = text.replace(/\d+/g, "#");
    const known = this.#problems.get(kind) ?? { count: 0, text };
    known.count += 1;
    this.#problems.set(kind, known);
  }

  latency(ms) {
    this.#latencies.push(ms);
    if (this.#latencies.length > 200_000) this.#latencies = this.#latencies.filter((_, i) => i % 2);
  }

  percentiles() {
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    return [0.5, 0.99, 1].map((part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0);
  }

  /** These must have got everything. */
  finish(members) {
    for (const member of members) member.check();
  }

  failures() {
    const failures = [...this.#problems.values()].map(({ count, text }) => `${text}${count > 1 ? ` (${count} like it)` : ""}`);
    for (const what of ["lost", "doubled", "disordered"]) if (this[what]) failures.push(`${this[what]} messages ${what}`);
    if (this.received === 0) failures.push("no message was received");
    return failures;
  }
}
