// Clients of /bench: such that read, and such that stop.
import { createRequire } from "node:module";
import http from "node:http";

const require = createRequire(new URL("../../tests/e2e/package.json", import.meta.url));
const { WebSocket } = require("ws");

/** A WebSocket in `/bench`. `onEvent` gets the text of each event's argument list. */
export async function websocket(port, { onEvent } = {}) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
  const client = { ws, acks: new Map(), nextAck: 0, code: null, gone: new Promise((resolve) => ws.once("close", resolve)) };
  client.gone.then((code) => (client.code = code));
  ws.on("error", () => {});
  await new Promise((resolve, reject) => {
    ws.once("close", () => reject(new Error("closed before it had joined")));
    ws.on("message", (data) => {
      const text = data.toString();
      if (text[0] === "0") ws.send("40/bench,");
      else if (text === "2") ws.send("3");
      else if (text.startsWith("40/bench,")) resolve();
      else if (text.startsWith("42/bench,")) onEvent?.(text.slice(9));
      else if (text.startsWith("43/bench,")) {
        const end = text.indexOf("[");
        const id = Number(text.slice(9, end));
        client.acks.get(id)?.();
        client.acks.delete(id);
      }
    });
  });
  client.emit = (event, ...args) => ws.send(`42/bench,${JSON.stringify([event, ...args])}`);
  client.ask = (event, ...args) =>
    new Promise((resolve) => {
      const id = client.nextAck++;
      client.acks.set(id, resolve);
      ws.send(`42/bench,${id}${JSON.stringify([event, ...args])}`);
    });
  client.stall = () => ws.pause();
  client.resume = () => ws.resume();
  client.end = () => ws.terminate();
  return client;
}

function request(port, agent, path, body) {
  return new Promise((resolve, reject) => {
    const req = http.request({ port, host: "127.0.0.1", agent, path, method: body === undefined ? "GET" : "POST" }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part) => (text += part)).on("end", () => resolve({ status: response.statusCode, text }));
    });
    req.once("error", reject);
    req.end(body);
  });
}

/**
 * A polling session in `/bench` that fetches nothing any more. With `hanging` it has asked once more, and does not read
 * the answer.
 */
export async function stalledPoller(port, room, { hanging = false } = {}) {
  const agent = new http.Agent({ keepAlive: true });
  const base = "/socket.io/?EIO=4&transport=polling";
  const { sid } = JSON.parse((await request(port, agent, base)).text.slice(1));
  const path = `${base}&sid=${sid}`;
  await request(port, agent, path, "40/bench,");
  for (let text = ""; !text.includes("40/bench,"); ) text = (await request(port, agent, path)).text;
  await request(port, agent, path, `42/bench,${JSON.stringify(["join", room])}`);
  const client = { end: () => agent.destroy(), answer: null };
  client.ask = async () => (client.answer = await request(port, agent, path).catch((error) => ({ error: error.message })));
  if (hanging) {
    const req = http.get({ port, host: "127.0.0.1", agent, path }, (response) => response.pause());
    req.on("error", () => {});
    req.on("socket", (socket) => {
      const paused = () => socket.pause();
      socket.connecting ? socket.once("connect", paused) : paused();
    });
    client.end = () => req.destroy();
  }
  return client;
}
