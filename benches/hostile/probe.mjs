// A healthy client in a process of its own, so that what the attacker does to its own event loop is not measured: it asks
// for an echo, and when that has come, 5 ms later for the next one. Tells the parent the waits of the time that it is asked for.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const require = createRequire(fileURLToPath(new URL("../../tests/e2e/", import.meta.url)));
const { io } = require("socket.io-client");
const [url, kind, pid] = process.argv.slice(2);
const parser = kind === "msgpack" ? require("socket.io-msgpack-parser") : undefined;
const socket = io(`${url}/rc`, { transports: ["websocket"], reconnection: false, ...(parser && { parser }) });

let waits = [];
let sent = null;
const now = () => performance.now();

const threads = ["/proc/self", ...readdirSync(`/proc/${pid}/task`).map((tid) => `/proc/${pid}/task/${tid}`)];
/** How long this process and the threads of the server have waited for a core so far, in ms. */
const starved = () =>
  threads.reduce((sum, thread) => {
    try {
      return sum + Number(readFileSync(`${thread}/schedstat`, "utf8").split(" ")[1]) / 1e6;
    } catch {
      return sum; // that thread has ended
    }
  }, 0);

/** When it was asked, and how long had been waited for cores by then. */
const begin = () => ({ at: now(), starved: starved() });
const wait = () => ({ ms: now() - sent.at, starved: starved() - sent.starved });

const ask = (n) => {
  sent = begin();
  socket.emit("echo", n, (answer) => {
    if (answer !== n) process.send({ broken: `asked ${n}, was answered ${answer}` });
    waits.push(wait());
    sent = null;
    setTimeout(ask, 5, n + 1);
  });
};
socket.on("connect", () => {
  process.send({ ready: true });
  ask(0);
});
for (const event of ["connect_error", "disconnect"]) socket.on(event, (why) => process.send({ broken: String(why) }));
process.on("message", (message) => {
  if (message === "begin") waits = [];
  if (message === "end") process.send({ waits: sent === null ? waits : [...waits, wait()] });
});
process.on("disconnect", () => process.exit());
