// The figures that have to be reached, see README.md; those of the reference are there for comparison.
const MB = 1e6 / (1 << 20);
export const FIGURES = {
  /** MiB of memory for each client that stops reading. */
  stalled: 4 * MB,
  /** Seconds from the overflow until such a client is dropped. */
  dropped: 5,
  /** How much longer the others' p99 may be with one of them. */
  latency: 1.2,
  /** MiB of memory for a client that sends and reads nothing. */
  input: 24 * MB,
};

/** What was missed, a line each. */
export const missed = [];

/** Notes that a figure was missed, if it was. */
export function expect(kind, row, reached, what) {
  if (kind !== "node" && !reached) missed.push(`${row}: ${what}`);
}
