// What the chat page shows. Nothing in here knows the connection: chat.js calls in, the user's clicks go out through
// callbacks. Everything that came from somebody else is written with textContent, never as HTML.

import { byId, cleanName, make, paint, shownName } from "./dom.js";

const LOG_LIMIT = 500; // lines kept per room
const GROUP_MS = 5 * 60_000; // messages of one author this close together share a heading

function avatarOf(name) {
  const avatar = paint(make("span", "avatar"), shownName(name));
  avatar.setAttribute("aria-hidden", "true");
  return avatar;
}

/** Writes a text only if it is another: what is announced to a screen reader is announced once. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---------------------------------------------------------------- connection

export function connection(state, text) {
  const pill = byId("connection");
  pill.dataset.state = state;
  say(pill, text);
  document.body.classList.toggle("is-stale", state !== "connected");
}

/** What carries the connection now, for the curious. */
export function transport(name) {
  byId("connection").dataset.transport = name;
  byId("connection").title = `over ${name}`;
}

/** The line under the title; `null` hides it. */
export function banner(text, action, onAction) {
  byId("banner").hidden = text === null;
  say(byId("banner-text"), text ?? "");
  say(byId("banner-action"), action ?? "");
  byId("banner-action").onclick = onAction ?? null;
}

/** Without a connection that comes back by itself there is nothing to write for; a draft is kept. */
export function composerEnabled(enabled) {
  byId("send").disabled = !enabled;
  byId("draft").readOnly = !enabled;
  byId("composer").classList.toggle("is-off", !enabled);
}

// ---------------------------------------------------------------- rooms

const logs = new Map(); // room -> its log
let shown = null; // the log in sight
let follows = true; // it is read at its end, so it stays there

// the end stays in sight when a banner or a keyboard takes room away
new ResizeObserver(() => follows && toBottom()).observe(byId("logs"));

function newLog(room) {
  const log = make("div", "log");
  log.setAttribute("role", "log");
  log.setAttribute("aria-label", `Messages in ${room}`);
  log.tabIndex = 0;
  log.hidden = true;
  log.dataset.testid = `log-${room}`;
  log.append(make("p", "start", `This is #${room}. Only what is said while you are here is shown.`));
  log.addEventListener("scroll", () => {
    if (log !== shown) return;
    follows = atBottom(log);
    if (follows) byId("jump").hidden = true;
  });
  byId("logs").append(log);
  logs.set(room, log);
  return log;
}

/** The log of a room; for "no room" the one in sight. */
const logOf = (room) => (room === null ? shown : logs.get(room) ?? newLog(room));

export function rooms(names, onPick) {
  const known = [...document.querySelectorAll("#rooms button")].map((button) => button.dataset.room);
  if (known.join() === names.join()) return; // keeps the focus where it is
  byId("rooms").replaceChildren(...names.map((name) => {
    const button = make("button", "room", name);
    button.type = "button";
    button.dataset.room = name;
    button.dataset.testid = `room-${name}`;
    button.addEventListener("click", () => onPick(name));
    const item = make("li");
    item.append(button);
    return item;
  }));
}

/** Marks the room the user is in (`null`: in none) and shows its log; with no room the last log stays in sight. */
export function enter(room) {
  for (const button of document.querySelectorAll("#rooms button")) {
    if (button.dataset.room === room) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  byId("room-title").textContent = room ?? "In no room";
  byId("room-title").classList.toggle("is-room", room !== null);
  byId("leave").hidden = room === null;
  byId("draft").placeholder = room === null ? "Choose a room first" : `Message #${room}`;
  if (room === null) return;
  if (shown) shown.hidden = true;
  shown = logOf(room);
  shown.hidden = false;
  toBottom();
}

export function roomsEnabled(enabled) {
  for (const button of document.querySelectorAll("#rooms button, #leave")) button.disabled = !enabled;
}

// ---------------------------------------------------------------- the log

const atBottom = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 80;

export function toBottom() {
  if (!shown) return;
  follows = true;
  shown.scrollTop = shown.scrollHeight;
  byId("jump").hidden = true;
}

/** Puts a line at the end of a room's log, and follows it if the reader was at the end. */
function place(line, room, mine = false) {
  const log = logOf(room);
  const next = line.nextElementSibling;
  log.append(line);
  regroup(line);
  if (next) regroup(next);
  while (log.children.length > LOG_LIMIT) log.children[1].remove();
  if (log !== shown) return;
  if (mine || follows) toBottom();
  else byId("jump").hidden = false;
}

/** A message right after another of the same author needs no heading of its own. */
function regroup(line) {
  const { author, mine, at } = line.dataset;
  const before = line.previousElementSibling?.dataset ?? {};
  const same = author !== undefined && before.author === author && before.mine === mine && at - before.at < GROUP_MS;
  line.classList.toggle("is-grouped", same);
}

/** `alike`: how many in the room have the author's name. */
export function message({ room, username, text, mine = false, alike = 1 }) {
  const now = new Date();
  const line = make("article", "message");
  Object.assign(line.dataset, { testid: "message", author: username, mine, at: now.getTime() });
  const time = make("time", "", now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = now.toISOString();
  const heading = make("header", "heading");
  heading.append(make("span", "author", mine ? "You" : shownName(username)));
  if (alike > 1) heading.append(make("span", "tag", `one of ${alike}`));
  heading.append(time);
  const body = make("p", "text", text);
  body.dataset.testid = "text";
  line.append(avatarOf(username), heading, body);
  place(line, room, mine);
  return line;
}

/** Moves a message of one's own to where the server put it. */
export function settle(line, room) {
  if (line.nextElementSibling !== null || line.parentElement !== logOf(room)) place(line, room, true);
}

let lastDelivered = null; // only the newest delivered message says so

/** How far a message of one's own has come: queued, sending, delivered, unconfirmed or refused. */
export function status(line, state, text, onRetry) {
  line.querySelector(".status")?.remove();
  line.dataset.status = state;
  if (state === "delivered") {
    lastDelivered?.querySelector(".status")?.remove();
    lastDelivered = line;
  }
  const foot = make("p", "status", text);
  foot.dataset.testid = "status";
  if (onRetry) {
    const again = make("button", "link", "Send again");
    again.type = "button";
    again.dataset.testid = "retry";
    again.addEventListener("click", onRetry);
    foot.append(" ", again);
  }
  line.append(foot);
  if (follows) toBottom();
}

/** A line that nobody wrote: `kind` is notice, divider or announcement. */
export function note(room, kind, text) {
  const line = make("p", kind);
  line.dataset.testid = kind;
  if (kind === "announcement") line.append(make("strong", "", "Announcement"), " ");
  line.append(make("span", "", text));
  place(line, room);
}

// ---------------------------------------------------------------- people

export function members(names, me) {
  const mine = names.indexOf(me); // somebody else may have the same name: mark one
  const shown = names.map(shownName);
  byId("members").replaceChildren(...shown.map((name, index) => {
    const item = make("li", "member");
    item.dataset.testid = "member";
    item.dataset.name = name;
    item.append(avatarOf(name), make("span", "name", name));
    const tags = index === mine ? ["you"] : [];
    const alike = shown.filter((other) => other === name).length;
    if (alike > 1) tags.push(`${shown.slice(0, index + 1).filter((other) => other === name).length} of ${alike}`);
    if (tags.length > 0) item.append(make("span", "tag", tags.join(", ")));
    return item;
  }));
  byId("members-count").textContent = names.length;
  byId("members-summary").textContent = `${names.length} here`;
}

/** In a narrow window: slides the list in or out; without an argument, the other way round. */
export function showMembers(open) {
  const isOpen = document.body.classList.toggle("shows-members", open);
  byId("members-toggle").setAttribute("aria-expanded", isOpen);
}

export function typing(names) {
  const [first, second] = names.map(shownName);
  byId("typing").textContent =
    names.length === 0 ? "" :
    names.length === 1 ? `${first} is typing…` :
    names.length === 2 ? `${first} and ${second} are typing…` :
    "Several people are typing…";
}

export function me(name) {
  byId("my-name").textContent = byId("my-name").title = name;
  paint(byId("my-avatar"), name);
}

// ---------------------------------------------------------------- name dialog

/** Asks for a name. Without a current one the dialog cannot be dismissed. */
export function askName(current, onName) {
  const dialog = byId("name-dialog");
  const input = byId("name");
  const check = () => input.setCustomValidity(
    input.value !== "" && cleanName(input.value) === "" ? "A name needs at least one visible character." : "");
  input.value = current;
  input.oninput = check;
  check();
  byId("name-cancel").hidden = current === "";
  byId("name-cancel").onclick = () => dialog.close("");
  byId("name-save").value = "save";
  byId("name-save").textContent = current === "" ? "Enter the chat" : "Save";
  dialog.returnValue = "";
  dialog.onclose = () => {
    const name = cleanName(input.value);
    if (dialog.returnValue === "save" && name !== "") onName(name);
    else if (current === "") dialog.showModal();
  };
  dialog.showModal();
  input.select();
}
