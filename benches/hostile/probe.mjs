// A healthy client in a process of its own, so that what the attacker does to its own event loop is not measured: it asks
// for an echo, and when that has come, 5 ms later for the next one. Tells the parent the waits of the time that it is asked for.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const require = createRequire(fileURLToPath(new URL("../../tests/e2e/", import.meta.url)));
const { io } = require("socket.io-client");
const [url, kind] = process.argv.slice(2);
const parser = kind === "msgpack" ? require("socket.io-msgpack-parser") : undefined;
const socket = io(`${url}/rc`, { transports: ["websocket"], reconnection: false, ...(parser && { parser }) });

let waits = [];
let sent = null;
const now = () => performance.now();
const ask = (n) => {
  sent = now();
  socket.emit("echo", n, (answer) => {
    if (answer !== n) process.send({ broken: `asked ${n}, was answered ${answer}` });
    waits.push(now() - sent);
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
  if (message === "end") process.send({ waits: sent === null ? waits : [...waits, now() - sent] });
});
process.on("disconnect", () => process.exit());
