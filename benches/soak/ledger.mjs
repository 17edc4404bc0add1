// Who has sent what, and who has to have got it.
//
// A message is `{author, n, room}`. A member of a room must get the messages of each author in sequence, without a gap, from the
// first that it gets on; one that stays to the end must have got all that were taken after it joined.
export class Ledger {
  sent = 0;
  received = 0;
  lost = 0;
  doubled = 0;
  disordered = 0;
  #problems = new Map();
  #latencies = [];
  /** By room: author → number of the last message the server has taken. */
  #taken = new Map();

  member(author, room) {
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
        return { author, n: ++sent, room, padding: "x".repeat(padding) };
      },
      taken(message) {
        taken.set(author, message.n);
      },
      got(message) {
        ledger.received += 1;
        if (message.room !== room) return ledger.problem(`a message of ${message.room} in ${room}`);
        const last = seen.get(message.author);
        if (last !== undefined && message.n === last) ledger.doubled += 1;
        else if (last !== undefined && message.n < last) ledger.disordered += 1;
        else if (last !== undefined && message.n > last + 1) ledger.#lose(author, `${message.author}: ${last + 1} to ${message.n - 1}`, message.n - last - 1);
        seen.set(message.author, Math.max(last ?? 0, message.n));
      },
      left(reason) {
        if (!this.gone) this.gone = String(reason);
      },
      check() {
        if (this.gone) return ledger.problem(`${author} was disconnected: ${this.gone}`);
        for (const [other, last] of taken) {
          // Of an author that was there before, the first message it must have got is the next one.
          const got = seen.get(other) ?? before.get(other) ?? 0;
          if (got < last) ledger.#lose(author, `${other}: ${got + 1} to ${last}`, last - got);
        }
      },
    };
  }

  #lose(receiver, what, count) {
    this.lost += count;
    this.problem(`${receiver} did not get of ${what}`);
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
