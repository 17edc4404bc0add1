// The board's coordinates are those of the canvas, 1600 by 1000, on every screen.
const WIDTH = 1600;
const HEIGHT = 1000;
const COLOURS = ["Ink", "Red", "Blue", "Green", "Orange", "Violet"];
const POINTER_MS = 40;

const byId = (id) => document.getElementById(id);
const canvas = byId("board");
const drawing = canvas.getContext("2d");
const lines = []; // all of the board, to draw it again in other colours
const pointers = new Map();
const socket = io();

// ---------------------------------------------------------------- lines

/** A colour of the palette as it is now, in light or dark. */
const inkOf = (colour) => getComputedStyle(byId("colours").children[colour + 1].querySelector(".dot")).backgroundColor;

function draw([colour, points]) {
  drawing.strokeStyle = inkOf(colour);
  drawing.lineWidth = Math.max(5, (3 * WIDTH) / canvas.clientWidth); // to be seen on a small board too
  drawing.lineCap = drawing.lineJoin = "round";
  drawing.beginPath();
  drawing.moveTo(points[0], points[1]);
  for (let at = 0; at < points.length; at += 2) drawing.lineTo(points[at], points[at + 1]);
  drawing.stroke();
}

function redraw() {
  drawing.clearRect(0, 0, WIDTH, HEIGHT);
  lines.forEach(draw);
}

function add(line) {
  lines.push(line);
  draw(line);
}

function erase() {
  lines.length = 0;
  redraw();
}

/** Two bytes for each coordinate, the low one first, whatever machine this is. */
function packed(points) {
  const view = new DataView(new ArrayBuffer(points.length * 2));
  points.forEach((value, at) => view.setUint16(at * 2, value, true));
  return view.buffer;
}

function unpacked(buffer) {
  const view = new DataView(buffer);
  return Array.from({ length: view.byteLength / 2 }, (_, at) => view.getUint16(at * 2, true));
}

// ---------------------------------------------------------------- drawing

let colour = 0;
let isDown = false;
let fresh = []; // the points since the last frame, behind the one where that ended
let scheduled = false;

const within = (value, most) => Math.max(0, Math.min(most, Math.round(value)));

function extend(x, y) {
  fresh.push(x, y);
  if (!scheduled) requestAnimationFrame(send);
  scheduled = true;
}

/** Shows what was drawn since the last frame, and sends it: at once, or when the connection is back. */
function send() {
  if (!scheduled) return;
  scheduled = false;
  add([colour, fresh]);
  socket.emit("line", colour, packed(fresh), (answer) => {
    if (answer?.error) byId("told").textContent = `Not drawn: ${answer.error}`;
  });
  fresh = fresh.slice(-2);
}

function down(x, y) {
  isDown = true;
  fresh = [];
  extend(x, y);
}

function up() {
  send();
  isDown = false;
}

const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [
    within(((event.clientX - box.left) / box.width) * WIDTH, WIDTH),
    within(((event.clientY - box.top) / box.height) * HEIGHT, HEIGHT),
  ];
};

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  down(...place(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (isDown) for (const one of event.getCoalescedEvents?.() ?? [event]) extend(...place(one));
  tell(place(event));
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, up);
canvas.addEventListener("pointerleave", () => tell(null));

// The keyboard has a pen of its own.
const pen = [WIDTH / 2, HEIGHT / 2];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function showPen() {
  byId("pen").style.left = `${(pen[0] / WIDTH) * 100}%`;
  byId("pen").style.top = `${(pen[1] / HEIGHT) * 100}%`;
  byId("pen").toggleAttribute("data-down", isDown);
}

canvas.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (event.key === " ") {
    if (isDown) up();
    else down(...pen);
    byId("told").textContent = isDown ? "Pen down" : "Pen up";
  } else if (step) {
    const length = event.shiftKey ? 100 : 20;
    pen[0] = within(pen[0] + step[0] * length, WIDTH);
    pen[1] = within(pen[1] + step[1] * length, HEIGHT);
    if (isDown) extend(...pen);
    tell([...pen]);
  } else return;
  event.preventDefault();
  byId("pen").hidden = false;
  showPen();
});
canvas.addEventListener("blur", () => {
  byId("pen").hidden = true;
  up();
  tell(null);
});

// ---------------------------------------------------------------- pointers

let told = 0;

/** Where our pointer is: of interest only now, so it is dropped when it cannot be sent at once. */
function tell(at) {
  const now = performance.now();
  if (at && now - told < POINTER_MS) return;
  told = now;
  socket.volatile.emit("pointer", at);
}

socket.on("pointer", (id, at) => {
  let dot = pointers.get(id);
  if (!at) {
    dot?.remove();
    pointers.delete(id);
    return;
  }
  if (!dot) {
    dot = document.createElement("span");
    byId("pointers").append(dot);
    pointers.set(id, dot);
  }
  dot.style.left = `${(at[0] / WIDTH) * 100}%`;
  dot.style.top = `${(at[1] / HEIGHT) * 100}%`;
});

// ---------------------------------------------------------------- the rest of the page

COLOURS.forEach((name, number) => {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "colour", value: number, checked: number === 0 });
  input.setAttribute("aria-label", name);
  input.addEventListener("change", () => (colour = number));
  const dot = Object.assign(document.createElement("span"), { className: "dot", title: name });
  dot.style.setProperty("--colour", `var(--colour-${number})`);
  label.append(input, dot);
  byId("colours").append(label);
});

byId("clear").addEventListener("click", () => {
  erase();
  socket.emit("clear", () => (byId("told").textContent = "The board is empty"));
});

function state(name, text) {
  byId("connection").dataset.state = name;
  byId("connection").textContent = text;
}

socket.on("line", (number, points) => add([number, unpacked(points)]));
socket.on("clear", () => {
  erase();
  byId("told").textContent = "Somebody has emptied the board";
});
socket.on("connect", () => {
  socket.emit("lines", (all) => {
    lines.length = 0;
    const values = unpacked(all); // colour, number of points, x, y, x, y ...; colour ...
    for (let at = 0; at < values.length; ) {
      const end = at + 2 + values[at + 1] * 2;
      lines.push([values[at], values.slice(at + 2, end)]);
      at = end;
    }
    redraw();
    state("connected", "Connected");
  });
});
socket.on("disconnect", () => {
  state("offline", "Connection lost");
  for (const dot of pointers.values()) dot.remove();
  pointers.clear();
});
socket.io.on("reconnect_attempt", () => state("connecting", "Reconnecting…"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("resize", redraw);
