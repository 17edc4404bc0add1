// The same server as examples/admin.rs, in Node.js with the official @socket.io/admin-ui.
import { createServer } from "node:http";
import { instrument } from "@socket.io/admin-ui";
import { Server } from "socket.io";

const HASH = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS"; // of "changeit"
const { HOST = "127.0.0.1", PORT = "3000", ADMIN_HASH = HASH, READ_ONLY, PRODUCTION, SERVER_ID } = process.env;
const { UI_ORIGIN = "https://admin.socket.io" } = process.env;

const http = createServer((_, response) => response.writeHead(404).end());
const io = new Server(http, { cors: { origin: [UI_ORIGIN], credentials: true } });

io.on("connection", (socket) => {
  socket.on("join", (room) => socket.join(room));
  socket.on("leave", (room) => socket.leave(room));
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("tell", (text) => io.emit("told", text));
  socket.on("name", (name) => (socket.data.name = name));
});
io.of("/news");

instrument(io, {
  auth: ADMIN_HASH === "none" ? false : { type: "basic", username: "admin", password: ADMIN_HASH },
  readonly: READ_ONLY === "1",
  mode: PRODUCTION === "1" ? "production" : "development",
  serverId: SERVER_ID,
});
http.listen(Number(PORT), HOST);
