// A client that keeps the contract. What stands behind @ts-expect-error breaks it: should the compiler accept one of those
// lines, this file does not compile. Run with the address of the example todos: it does what it compiles to.
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import type { Binary, ClientToServerEvents, Failure, Todo, TodosSocket } from "./contract.js";

const url = process.argv[2];
assert(url);
const socket: TodosSocket = io(url, { forceNew: true, reconnection: false });
const other: TodosSocket = io(url, { forceNew: true, reconnection: false });

const failed = (answer: unknown): answer is Failure => typeof answer === "object" && answer !== null && "error" in answer;

/** The answer, which is no failure. */
function good<T>(answer: T | Failure): T {
  if (failed(answer)) throw new Error(answer.error);
  return answer;
}

function compiledOnly(): void {
  // @ts-expect-error no such event
  socket.emit("make", "soup");
  // @ts-expect-error another type
  socket.emit("writing", 7);
  // @ts-expect-error an argument is missing
  socket.emit("update", 1, () => {});
  // @ts-expect-error one argument too many
  socket.emit("writing", "soup", "salad");
  // @ts-expect-error a field of another type
  socket.emit("update", 1, { done: "yes" }, () => {});
  // @ts-expect-error a field that does not exist
  socket.emit("update", 1, { state: true }, () => {});
  // @ts-expect-error no such filter
  socket.emit("list", "late");
  // @ts-expect-error a list of numbers is no binary
  socket.emit("attach", 1, "dot.png", [1, 2, 3], () => {});
  // @ts-expect-error the answer may be a failure
  socket.emit("create", "soup", (todo: Todo) => todo);
  // @ts-expect-error the answer is no number
  socket.emitWithAck("create", "soup").then((answer: number) => answer);
  // @ts-expect-error an event that the server does not send
  socket.on("created", () => {});
  // @ts-expect-error the argument is a number
  socket.on("deleted", (id: string) => id);
  // @ts-expect-error the answer is a boolean
  socket.on("sure?", (title, ack) => ack(title));
  socket.on("changed", (todo) => {
    // @ts-expect-error it may be null
    todo.picture.length;
  });
}
assert(compiledOnly);

socket.on("sure?", (title: string, ack) => ack(title !== "stays"));

const changed: Todo[] = [];
other.on("changed", (todo) => changed.push(todo));
const deleted = new Promise<number>((resolve) => other.on("deleted", resolve));
await Promise.all([socket, other].map((one) => new Promise<void>((resolve) => one.on("connect", resolve))));

// Several arguments, some of which may be missing; answers that may be missing.
const soup = good(await socket.emitWithAck("create", " soup "));
assert.deepEqual(soup, { id: soup.id, title: "soup", done: false, picture: null });
assert.equal(good(await socket.emitWithAck("update", soup.id, { done: true })).done, true);
assert.equal(good(await socket.emitWithAck("update", soup.id, { title: "salad" })).done, true);
const listed = await new Promise<Todo[] | Failure>((resolve) => socket.emit("list", "done", resolve));
assert.deepEqual(good(listed).map(({ title }) => title), ["salad"]);
socket.emit("list");
socket.emit("list", null);
socket.emit("writing", "sou");

// Failures.
for (const [answer, field] of [
  [await socket.emitWithAck("create", "  "), "title"],
  [await socket.emitWithAck("update", 4_000_000, {}), "id"],
  [await socket.emitWithAck("attach", soup.id, "x.png", new Uint8Array(3)), "content"],
] as const) {
  assert(failed(answer));
  assert.match(answer.error, new RegExp(`^${field}: `));
  assert.deepEqual(answer.data, { field });
}
const lie = "soup" as unknown as Parameters<ClientToServerEvents["update"]>[0];
const refused = await socket.emitWithAck("update", lie, {});
assert(failed(refused) && refused.error.startsWith("invalid payload: argument 0"));

// Binary, in both forms and both directions.
const png = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 1, 2, 3]);
for (const content of [png, png.buffer] satisfies Binary[]) {
  assert.equal(good(await socket.emitWithAck("attach", soup.id, "dot.png", content)).picture, "dot.png");
  const back: Binary = good(await socket.emitWithAck("picture", soup.id));
  assert.deepEqual([...new Uint8Array(back)], [...png]);
}

// The server asks.
const stays = good(await socket.emitWithAck("create", "stays"));
assert.equal(good(await socket.timeout(20_000).emitWithAck("delete", stays.id)), false);
assert.equal(good(await socket.emitWithAck("delete", soup.id)), true);
assert.equal(await deleted, soup.id);
assert.deepEqual(changed.map(({ title }) => title), ["soup", "soup", "salad", "salad", "salad", "stays"]);
socket.disconnect();
other.disconnect();
console.log("kept");
