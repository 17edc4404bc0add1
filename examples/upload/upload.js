const PIECE = 64 * 1024;
const PATIENCE_MS = 20_000;

const byId = (id) => document.getElementById(id);
const socket = io();

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

const size = (bytes) => {
  if (bytes < 1e3) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
};

/** The answer of an event, when there is a connection to get one by. */
async function ask(event, ...args) {
  for (;;) {
    if (!socket.connected) await new Promise((resolve) => socket.once("connect", resolve));
    let answer;
    try {
      answer = await socket.timeout(PATIENCE_MS).emitWithAck(event, ...args);
    } catch {
      if (event === "piece") return undefined; // it may have arrived: ask
      continue;
    }
    if (answer?.error) throw new Error(answer.error);
    return answer;
  }
}

async function upload(file) {
  const row = make("li", "");
  const bar = Object.assign(make("progress", ""), { max: file.size, value: 0 });
  const state = make("div", "state", "Waiting");
  bar.setAttribute("aria-label", file.name);
  row.append(make("div", "name", file.name), bar, state);
  byId("files").append(row);
  try {
    const key = await ask("begin", file.name, file.size);
    for (let there = 0; there < file.size; ) {
      const piece = await file.slice(there, there + PIECE).arrayBuffer();
      there = (await ask("piece", key, there, piece)) ?? (await ask("progress", key));
      bar.value = there;
      state.textContent = `${size(there)} of ${size(file.size)}`;
    }
    const { crc32 } = await ask("finish", key);
    row.dataset.state = "done";
    state.textContent = `Uploaded, ${size(file.size)}, checksum ${crc32}`;
  } catch (error) {
    row.dataset.state = "failed";
    state.textContent = `Failed: ${error.message}`;
  }
}

byId("file").addEventListener("change", async () => {
  const files = [...byId("file").files];
  byId("form").reset();
  for (const file of files) await upload(file);
});

socket.on("uploaded", ({ name, size: bytes, crc32 }) => {
  byId("nothing").hidden = true;
  const row = make("li", "");
  row.append(make("div", "name", name), make("div", "state", `${size(bytes)}, checksum ${crc32}`));
  byId("others").prepend(row);
  while (byId("others").children.length > 50) byId("others").lastChild.remove();
});

function state(name, text) {
  byId("connection").dataset.state = name;
  byId("connection").textContent = text;
}
socket.on("connect", () => state("connected", "Connected"));
socket.on("disconnect", () => state("offline", "Connection lost"));
socket.io.on("reconnect_attempt", () => state("connecting", "Reconnecting…"));
