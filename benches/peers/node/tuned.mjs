// The namespace `/bench` of the testbed on socket.io, set up for speed and little memory: the native addons of
// `ws`, no compression of either kind, no client bundle, and the opening request forgotten.
//
// `PORT` and `PARSER` as for the testbed; it prints `listening on HOST:PORT` as well.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";

// `ws` takes them when they are there; without them this would be the plain server
const require = createRequire(import.meta.url);
require("bufferutil");
require("utf-8-validate");

const httpServer = createServer((request, response) => response.writeHead(404).end());
const io = new Server(httpServer, {
  serveClient: false,
  perMessageDeflate: false,
  httpCompression: false,
  ...(process.env.PARSER === "msgpack" ? { parser: require("socket.io-msgpack-parser") } : {}),
});

// it holds the headers and the socket of the first request for as long as the connection lasts
io.engine.on("connection", (rawSocket) => {
  rawSocket.request = null;
});

const bench = io.of("/bench");
bench.on("connection", (socket) => {
  socket.on("echo", (payload, ack) => ack(payload));
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  socket.on("leave", (room, ack) => {
    socket.leave(room);
    ack();
  });
  socket.on("publish", (room, payload, ack) => {
    bench.to(room).emit("msg", payload);
    ack?.();
  });
  socket.on("publish-all", (payload, ack) => {
    bench.emit("msg", payload);
    ack?.();
  });
});

httpServer.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  const { address, port } = httpServer.address();
  console.log(`listening on ${address}:${port}`);
});
