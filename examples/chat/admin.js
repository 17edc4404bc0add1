// The admin page: a connection to /admin, which the server refuses without the key.

import { byId, make, paint } from "./dom.js";

const ACK_MS = 10_000;
const REFRESH_MS = 5_000; // stats are asked for this often, and soon after every activity
const FEED_LIMIT = 200;

// the key lives in this variable only: reloading the page asks for it again
let key = "";
let open = false; // the key was accepted

const socket = io("/admin", {
  autoConnect: false,
  auth: (send) => send({ key }),
  reconnectionDelay: 500,
  reconnectionDelayMax: 4_000,
});

// ---------------------------------------------------------------- the door

function refused(text) {
  byId("refusal").textContent = text ?? "";
  byId("refusal").hidden = text === null;
  byId("unlock").disabled = false;
}

function show(unlocked) {
  open = unlocked;
  byId("gate").hidden = unlocked;
  byId("dashboard").hidden = !unlocked;
  byId("connection").hidden = !unlocked;
  byId("sign-out").hidden = !unlocked;
}

function connection(state, text) {
  byId("connection").dataset.state = state;
  byId("connection").textContent = text;
}

function lock(reason) {
  socket.disconnect();
  key = "";
  byId("key").value = "";
  show(false);
  refused(reason);
  byId("key").focus();
}

byId("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  refused(null);
  key = byId("key").value;
  byId("unlock").disabled = true;
  socket.disconnect().connect();
});

byId("sign-out").addEventListener("click", () => lock(null));

socket.on("connect", () => {
  byId("key").value = "";
  refused(null);
  show(true);
  connection("connected", "Connected");
  socket.emit("watch");
  refresh();
});

socket.on("connect_error", (error) => {
  const forbidden = error.data?.code === 403;
  if (forbidden) lock(`Refused: ${error.message}. That is not the key.`);
  else if (!open) lock("The server cannot be reached. Try again in a moment.");
});

socket.on("disconnect", (reason) => {
  if (reason === "io client disconnect") return;
  if (socket.active) connection("reconnecting", "Reconnecting…");
  else lock("The server ended the admin session.");
});

// ---------------------------------------------------------------- what there is to see

let soon;

function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(refresh, 150);
}

function refresh() {
  if (socket.connected) socket.emit("stats", showStats);
}
setInterval(refresh, REFRESH_MS);

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

function showStats({ rooms, chatUsers, adminUsers }) {
  byId("chat-users").textContent = chatUsers;
  byId("admin-users").textContent = adminUsers;
  const entries = Object.entries(rooms);
  byId("total-messages").textContent = entries.reduce((sum, [, { messages }]) => sum + messages, 0);
  for (const [name, stats] of entries) fillCard(cardOf(name), stats);
}

function cardOf(name) {
  const known = byId(`room-${name}`);
  if (known) return known;
  const card = make("article", "room-card");
  card.id = card.dataset.testid = `room-${name}`;
  const head = make("div", "room-head");
  head.append(make("h3", "", name), make("p", "numbers"));
  card.append(head, make("ul", "people"));
  byId("rooms").append(card);
  const option = make("option", "", `#${name}`);
  option.value = name;
  byId("announce-room").append(option);
  return card;
}

function fillCard(card, { users, names, messages }) {
  card.dataset.users = users;
  card.dataset.messages = messages;
  card.querySelector(".numbers").textContent = `${users} here, ${plural(messages, "message")}`;
  const people = card.querySelector(".people");
  if (people.dataset.names === JSON.stringify(names)) return; // keeps the focus where it is
  people.dataset.names = JSON.stringify(names);
  people.replaceChildren(...names.map(person));
}

function person(name) {
  const item = make("li", "person");
  item.dataset.name = name;
  const button = make("button", "", "Kick");
  button.type = "button";
  button.setAttribute("aria-label", `Kick ${name}`);
  button.addEventListener("click", () => kick(name));
  item.append(paint(make("span", "avatar"), name), make("span", "name", name), button);
  return item;
}

const SENTENCES = { join: "joined", leave: "left", message: "wrote in" };

socket.on("activity", ({ type, room, username }) => {
  const now = new Date();
  const time = make("time", "", now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }));
  time.dateTime = now.toISOString();
  const kind = make("span", "kind", type);
  kind.dataset.type = type;
  const line = make("li");
  line.append(time, kind, make("span", "", `${username} ${SENTENCES[type] ?? type} #${room}`));
  byId("feed").prepend(line);
  while (byId("feed").children.length > FEED_LIMIT) byId("feed").lastElementChild.remove();
  byId("feed-empty").hidden = true;
  refreshSoon();
});

// ---------------------------------------------------------------- what there is to do

function outcome(text, good = true) {
  byId("outcome").textContent = text;
  byId("outcome").classList.toggle("is-bad", !good);
}

/** Asks the server for something; says what came of it, and whether it worked. */
async function ask(event, ...args) {
  if (!socket.connected) return outcome("There is no connection to the server now.", false);
  try {
    const ack = await socket.timeout(ACK_MS).emitWithAck(event, ...args);
    if (ack.ok) return ack;
    outcome(`Refused: ${ack.error}`, false);
  } catch {
    outcome("The server did not answer.", false);
  }
}

async function kick(name) {
  const ack = await ask("kick", name);
  if (!ack) return false;
  if (ack.kicked === 0) outcome(`Nobody here is called ${name}.`, false);
  else outcome(`${name} was removed (${plural(ack.kicked, "connection")}).`);
  refresh();
  return ack.kicked > 0;
}

byId("kick").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (await kick(byId("kick-name").value.trim())) event.target.reset();
});

byId("announce").addEventListener("submit", async (event) => {
  event.preventDefault();
  const room = byId("announce-room").value || null;
  const ack = await ask("announce", room, byId("announce-text").value.trim());
  if (!ack) return;
  byId("announce-text").value = "";
  outcome(`Announced to ${room === null ? "everyone" : `#${room}`}.`);
});
