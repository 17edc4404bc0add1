// A process with clients that send until it is killed: node doomed.mjs <url> <node> <clients> <rooms>
import { io, sleep } from "./support.mjs";

const [url, node, count, rooms] = process.argv.slice(2);
const sockets = Array.from({ length: Number(count) }, (_, i) => io(`${url}/bench`, { transports: i % 2 ? ["websocket"] : ["polling", "websocket"], forceNew: true }));
await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
for (const [i, socket] of sockets.entries()) {
  const room = `room-${i % Number(rooms)}`;
  await socket.emitWithAck("join", room).catch(() => process.exit(1)); // its server is too busy: nothing to kill
  let n = 0;
  (async () => {
    for (;;) {
      socket.emit("publish", room, { author: `doomed-${process.pid}-${i}`, n: ++n, room, node: Number(node), at: Date.now() });
      await sleep(20 + 50 * Math.random());
    }
  })();
}
console.log("ready");
