// The chat page: one Socket.IO connection to /chat, and what to do when it comes and goes.
// The server's side of the conversation is examples/chat/rooms; what is on the screen is view.js.

import { byId, cleanName, shownName } from "./dom.js";
import * as view from "./view.js";

const ACK_MS = 10_000; // how long an answer may take
const TYPING_REPEAT_MS = 2_000; // how often "still typing" is told
const TYPING_EXPIRES_MS = 5_000; // when "typing" is forgotten
const MEMBERS_CHECK_MS = 1_000; // quiet time after which the member list is asked for again

const remembered = (key, fallback) => localStorage.getItem(`greenroom.${key}`) ?? fallback;
const remember = (key, value) => localStorage.setItem(`greenroom.${key}`, value);

const state = {
  name: cleanName(remembered("name", "")),
  wanted: remembered("room", "general"), // where the user wants to be; null: in no room
  room: null, // where the server says the user is
  members: [],
  ended: false, // the server ended the connection: only the user brings it back
  divider: null, // what to write into the log once the room is entered
};

const socket = io("/chat", {
  autoConnect: false,
  auth: (send) => send({ username: state.name }),
  reconnectionDelay: 500,
  reconnectionDelayMax: 4_000,
});

// ---------------------------------------------------------------- connection

/** Connects now, from any state: also when a retry is only due later, or with another name. */
function reconnect() {
  socket.disconnect().connect();
}

function lost(reason) {
  setEnded(!socket.active);
  if (state.ended) {
    view.connection("offline", "Offline");
    view.banner(`${reason} Nothing can be sent until you come back.`, "Come back", reconnect);
  } else if (!navigator.onLine) {
    view.connection("offline", "Offline");
    view.banner("This device is offline. What you write is kept and sent when it is back.", "Try now", reconnect);
  } else {
    view.connection("reconnecting", "Reconnecting…");
    view.banner("No connection to the server. What you write is kept and sent once it is back.", "Try now", reconnect);
  }
}

function setEnded(ended) {
  if (state.ended === ended) return;
  state.ended = ended;
  view.composerEnabled(!ended);
  if (ended) setMembers([]);
  for (const item of outbox.filter(({ status }) => status === "queued")) deliver(item); // says why it waits
}

socket.on("disconnect", (reason) => {
  state.room = null;
  typists.clear();
  view.roomsEnabled(false);
  if (reason === "io client disconnect") return view.connection("connecting", "Connecting…");
  state.divider = "Reconnected. You may have missed messages.";
  lost("You were removed by an administrator.");
});

socket.on("connect_error", (error) => lost(`The server refused the connection: ${error.message}.`));
// a socket that is not active waits for the user, not for the network
addEventListener("offline", () => socket.active && !socket.connected && lost());
addEventListener("online", () => socket.active && !socket.connected && reconnect());

socket.on("connect", () => {
  setEnded(false);
  if (socket.recovered) state.divider = "Reconnected. Nothing was missed.";
  view.connection("connected", "Connected");
  view.transport(socket.io.engine.transport.name);
  socket.io.engine.once("upgrade", ({ name }) => view.transport(name));
  view.banner(null);
});

// the first event after every connection: from here on rooms can be entered
socket.on("rooms", (rooms) => {
  view.rooms(rooms, enter);
  view.roomsEnabled(true);
  if (state.wanted !== null && !rooms.includes(state.wanted)) state.wanted = rooms[0];
  if (state.wanted !== null) return enter(state.wanted);
  view.enter(null);
  flush();
});

// ---------------------------------------------------------------- rooms

function enter(room) {
  const before = state.wanted;
  stopTyping();
  state.wanted = room;
  remember("room", room);
  view.enter(room);
  socket.timeout(ACK_MS).emit("join", room, (error, ack) => {
    if (state.wanted !== room) return; // the user changed their mind
    if (error || !ack.ok) {
      if (socket.connected) view.note(room, "notice", `#${room} could not be entered: ${error?.message ?? ack.error}`);
      return;
    }
    state.room = room;
    setMembers(ack.users);
    if (state.divider) view.note(room, "divider", state.divider);
    else if (room !== before || !entered.has(room)) view.note(room, "notice", `You joined #${room}`);
    entered.add(room);
    state.divider = null;
    flush();
  });
}
const entered = new Set();

function leave() {
  stopTyping();
  socket.emit("leave");
}

socket.on("room-changed", ({ from, to }) => {
  state.room = to;
  typists.clear();
  if (to !== null) return;
  state.wanted = null;
  view.enter(null);
  view.note(from, "notice", `You left #${from}`);
  setMembers([]);
});

// ---------------------------------------------------------------- people

let membersCheck;

function setMembers(names) {
  state.members = names;
  view.members(names, state.name);
}

/** How many in this room cannot be told from each other by this name. */
const alike = (name) => state.members.filter((other) => shownName(other) === shownName(name)).length;

/** The list follows what is told, and is compared with the server's own when things calm down. */
function membersChanged(names) {
  setMembers(names.sort());
  clearTimeout(membersCheck);
  membersCheck = setTimeout(() => {
    if (!socket.connected || state.room === null) return;
    socket.emit("users", (ack) => ack.ok && ack.room === state.room && setMembers(ack.users));
  }, MEMBERS_CHECK_MS);
}

socket.on("user-joined", ({ room, username }) => {
  const here = room === state.wanted;
  if (here) membersChanged([...state.members, username]);
  const count = here ? alike(username) : 1;
  const others = count > 1 ? ` (${count} of that name are here now)` : "";
  view.note(room, "notice", `${shownName(username)} joined${others}`);
});

socket.on("user-left", ({ room, username }) => {
  typists.forget(username);
  const here = room === state.wanted;
  const index = state.members.indexOf(username);
  if (here && index >= 0) membersChanged(state.members.toSpliced(index, 1));
  const count = here ? alike(username) : 0;
  const others = count > 0 ? ` (${count} of that name still here)` : "";
  view.note(room, "notice", `${shownName(username)} left${others}`);
});

socket.on("announcement", ({ room, text }) => {
  view.note(room, "announcement", text);
  unseen();
});

// ---------------------------------------------------------------- messages

const outbox = []; // messages of this window that the server has not confirmed: {room, text, line, status, echoed}

const ready = () => socket.connected && state.room === state.wanted;

function mark(item, status, text, onRetry) {
  item.status = status;
  view.status(item.line, status, text, onRetry);
}

function send(text) {
  const room = state.wanted;
  const item = { room, text, line: view.message({ room, username: state.name, text, mine: true }) };
  outbox.push(item);
  deliver(item);
}

function deliver(item) {
  if (!ready()) return mark(item, "queued", state.ended ? "Waiting until you come back" : "Waiting for the connection");
  mark(item, "sending", "Sending…");
  item.echoed = false;
  socket.timeout(ACK_MS).emit("message", item.text, (error, ack) => {
    if (error && !item.echoed) return mark(item, "unconfirmed", "Maybe not delivered.", () => retry(item));
    if (ack && !ack.ok) return mark(item, "refused", `Not sent: ${ack.error}.`, () => retry(item));
    delivered(item, ack?.delivered);
  });
}

function retry(item) {
  item.room = state.wanted;
  view.settle(item.line, item.room);
  deliver(item);
}

function delivered(item, count) {
  const index = outbox.indexOf(item);
  if (index >= 0) outbox.splice(index, 1);
  mark(item, "delivered", count === 1 ? "Delivered, but nobody else is here" : "Delivered");
}

/** Sends what was written while there was no connection. */
function flush() {
  for (const item of outbox.filter(({ status }) => status === "queued")) deliver(item);
}

socket.on("message", ({ room, username, text }) => {
  const own = username === state.name ? waitingFor(room, text) : undefined;
  if (own) {
    own.echoed = true;
    view.settle(own.line, room);
    if (own.status === "unconfirmed") delivered(own); // recovered together with what was missed
    return;
  }
  typists.forget(username);
  view.message({ room, username, text, alike: room === state.room ? alike(username) : 1 });
  unseen();
});

/** The message of this window that this is the echo of, if it is one. */
function waitingFor(room, text) {
  const same = outbox.filter((item) => !item.echoed && item.room === room && item.text === text);
  return same.find(({ status }) => status === "sending") ?? same.find(({ status }) => status === "unconfirmed");
}

addEventListener("beforeunload", (event) => {
  if (outbox.some(({ status }) => status === "queued")) event.preventDefault();
});

// ---------------------------------------------------------------- typing

let typingTold = 0; // when "typing" was last told; 0: the others believe that nothing is being written
let typingEnds;

function toldTyping(typing) {
  typingTold = typing ? Date.now() : 0;
  if (ready() && state.room !== null) socket.emit("typing", typing);
}

function keepTyping() {
  if (Date.now() - typingTold > TYPING_REPEAT_MS) toldTyping(true);
  clearTimeout(typingEnds);
  typingEnds = setTimeout(stopTyping, TYPING_EXPIRES_MS - TYPING_REPEAT_MS);
}

function stopTyping() {
  clearTimeout(typingEnds);
  if (typingTold > 0) toldTyping(false);
}

const typists = {
  timers: new Map(), // name -> when to forget
  show() {
    view.typing([...this.timers.keys()]);
  },
  forget(name) {
    clearTimeout(this.timers.get(name));
    if (this.timers.delete(name)) this.show();
  },
  add(name) {
    clearTimeout(this.timers.get(name));
    this.timers.set(name, setTimeout(() => this.forget(name), TYPING_EXPIRES_MS));
    this.show();
  },
  clear() {
    for (const name of [...this.timers.keys()]) this.forget(name);
  },
};

socket.on("typing", ({ room, username, typing }) => {
  if (room !== state.room) return;
  if (typing) typists.add(username);
  else typists.forget(username);
});

// ---------------------------------------------------------------- the page

let missed = 0; // what arrived while the window was not looked at

function unseen() {
  if (!document.hidden) return;
  missed += 1;
  document.title = `(${missed}) greenroom chat`;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  missed = 0;
  document.title = "greenroom chat";
});

function submit() {
  if (state.ended) return;
  const draft = byId("draft");
  const text = draft.value.trim();
  if (text === "") return;
  stopTyping();
  send(text);
  draft.value = "";
  draft.focus();
}

function setName(name) {
  const renamed = state.name !== "" && state.name !== name;
  if (state.name === name) return;
  state.name = name;
  remember("name", name);
  view.me(name);
  if (renamed) state.divider = `You are now ${name}`;
  reconnect();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("draft").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
byId("draft").addEventListener("input", ({ target }) => (target.value.trim() === "" ? stopTyping() : keepTyping()));
byId("leave").addEventListener("click", leave);
byId("jump").addEventListener("click", view.toBottom);
byId("change-name").addEventListener("click", () => view.askName(state.name, setName));
byId("members-toggle").addEventListener("click", () => view.showMembers());
addEventListener("keydown", ({ key }) => key === "Escape" && view.showMembers(false));

view.enter(state.wanted);
view.roomsEnabled(false);
if (state.name === "") {
  view.askName("", setName);
} else {
  view.me(state.name);
  socket.connect();
}
