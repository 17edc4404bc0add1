// The admin page: a connection to /admin, which the server refuses without the key.

import { byId, cleanName, make, paint, shownName } from "./dom.js";

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
  byId("kick-dialog").close("");
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
let stats = { rooms: {}, chatUsers: 0 }; // the last that were told

function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(refresh, 150);
}

function refresh() {
  if (socket.connected) socket.emit("stats", showStats);
}
setInterval(refresh, REFRESH_MS);

const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const people = (count) => plural(count, "person", "people");

function showStats({ rooms, chatUsers, adminUsers }) {
  stats = { rooms, chatUsers };
  byId("chat-users").textContent = chatUsers;
  byId("admin-users").textContent = adminUsers;
  const entries = Object.entries(rooms);
  byId("total-messages").textContent = entries.reduce((sum, [, { messages }]) => sum + messages, 0);
  for (const [name, stats] of entries) fillCard(cardOf(name), stats);
  previewKick();
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
  const list = card.querySelector(".people");
  if (list.dataset.names === JSON.stringify(names)) return; // keeps the focus where it is
  list.dataset.names = JSON.stringify(names);
  list.replaceChildren(...names.map(person));
}

function person(raw, index, names) {
  const name = shownName(raw);
  const tags = raw === name ? [] : ["hidden characters"];
  const alike = names.filter((other) => other === raw).length;
  if (alike > 1) tags.push(`${index - names.indexOf(raw) + 1} of ${alike}`);
  const item = make("li", "person");
  item.dataset.name = name;
  const button = make("button", "", "Kick");
  button.type = "button";
  button.setAttribute("aria-label", `Kick ${name}`);
  button.addEventListener("click", () => kick([raw]));
  item.append(paint(make("span", "avatar"), name), make("span", "name", name));
  if (tags.length > 0) item.append(make("span", "tag", tags.join(", ")));
  item.append(button);
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
  line.append(time, kind, make("span", "", `${shownName(username)} ${SENTENCES[type] ?? type} #${room}`));
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

/** Who has one of these names, as far as the stats tell: nobody's name is known who is in no room. */
function whoIs(names) {
  const rooms = Object.entries(stats.rooms).map(([room, there]) => [room, there.names.filter((name) => names.includes(name)).length]);
  const count = rooms.reduce((sum, [, here]) => sum + here, 0);
  const where = rooms.filter(([, here]) => here > 0).map(([room, here]) => `${here} in #${room}`).join(", ");
  const elsewhere = stats.chatUsers - Object.values(stats.rooms).reduce((sum, { users }) => sum + users, 0);
  const more = elsewhere > 0 ? ` ${people(elsewhere)} in no room: removed too if called that.` : "";
  return { count, where, more };
}

/** The names that look like what was typed; hidden characters cannot be typed. */
function typedNames() {
  const typed = byId("kick-name").value.trim();
  const known = Object.values(stats.rooms).flatMap(({ names }) => names);
  const same = known.filter((name) => cleanName(typed) !== "" && cleanName(name) === cleanName(typed));
  return [...new Set([typed, ...same])];
}

function previewKick() {
  const { count, where, more } = whoIs(typedNames());
  const text = count > 0 ? `Removes ${people(count)}: ${where}.${more}` : `Nobody in a room is called that.${more}`;
  byId("kick-preview").textContent = byId("kick-name").value.trim() === "" ? "" : text;
}
byId("kick-name").addEventListener("input", previewKick);

function confirmed(name, { count, where, more }) {
  const dialog = byId("kick-dialog");
  byId("kick-title").textContent = `Remove ${people(count)}?`;
  byId("kick-text").textContent = `Everyone called ${name} goes: ${where}.${more}`;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "remove");
  });
}

/** Removes everyone of these names, which look the same; when these are several people, only after a question. */
async function kick(names) {
  const name = shownName(names[0]);
  const found = whoIs(names);
  if (found.count > 1 && !(await confirmed(name, found))) return false;
  let kicked = 0;
  for (const each of names) {
    const ack = await ask("kick", each);
    if (!ack) return false;
    kicked += ack.kicked;
  }
  if (kicked === 0) outcome(`Nobody here is called ${name}.`, false);
  else outcome(`${name} was removed (${plural(kicked, "connection")}).`);
  refresh();
  return kicked > 0;
}

byId("kick").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!(await kick(typedNames()))) return;
  event.target.reset();
  previewKick();
});

byId("announce").addEventListener("submit", async (event) => {
  event.preventDefault();
  const room = byId("announce-room").value || null;
  const ack = await ask("announce", room, byId("announce-text").value.trim());
  if (!ack) return;
  byId("announce-text").value = "";
  outcome(`Announced to ${room === null ? "everyone" : `#${room}`}.`);
});
