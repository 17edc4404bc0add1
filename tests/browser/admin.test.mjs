// The official Admin UI, as npm's @socket.io/admin-ui has it, in a real browser against examples/admin.rs.
//
//   ADMIN_COMMAND=target/release/examples/admin node --test admin.test.mjs      (built with --features admin)
//
// With ADMIN_COMMAND="node ../e2e/reference/admin.mjs" it runs against Node.js, up to the reload: the page does not hear of its
// session there, because that comes before CONNECT.
//
// CHROMIUM names the browser (default /usr/bin/chromium), SCREENSHOTS a folder for pictures of the pages. The tests build on
// one another, in this order.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import net from "node:net";
import { dirname, extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { io } from "socket.io-client";

const WAIT_MS = 30_000;
const ALL_MS = 5 * 60_000;
const ARGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const COMMAND = process.env.ADMIN_COMMAND ?? fileURLToPath(new URL("../../target/release/examples/admin", import.meta.url));
const UI = join(dirname(createRequire(import.meta.url).resolve("@socket.io/admin-ui/package.json")), "ui/dist");
const errors = []; // what the page threw

// whatever hangs, nothing stays behind
setTimeout(() => {
  console.error(`the browser tests did not finish within ${ALL_MS} ms`);
  process.exit(1);
}, ALL_MS).unref();

let pages;
let server;
let browser;
let page;
let client;

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png" };

/** The files of the UI, from an origin of their own as https://admin.socket.io is. */
async function servePages() {
  const http = createServer((request, response) => {
    const path = normalize(new URL(request.url, "http://x").pathname);
    const file = join(UI, path === "/" ? "index.html" : path);
    if (!file.startsWith(UI) || !statSync(file, { throwIfNoEntry: false })?.isFile()) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return { url: `http://127.0.0.1:${http.address().port}`, stop: () => http.closeAllConnections() ?? http.close() };
}

async function freePort() {
  const taken = net.createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address();
  taken.close();
  await once(taken, "close");
  return port;
}

async function startServer(env, port) {
  port ??= await freePort();
  const [command, ...args] = COMMAND.split(" ");
  const child = spawn(command, args, {
    env: { ...process.env, HOST: "127.0.0.1", PORT: String(port), SERVER_ID: "ada", UI_ORIGIN: pages.url, ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exited = once(child, "exit");
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const url = `http://127.0.0.1:${port}`;
  for (const begin = Date.now(); !(await fetch(url).then(() => true, () => false)); await new Promise((go) => setTimeout(go, 50))) {
    assert.ok(Date.now() - begin < WAIT_MS && child.exitCode === null, `${COMMAND} does not answer`);
  }
  return { url, port, stop: async () => (kill(), await exited) };
}

async function connectClient() {
  const socket = io(server.url, { forceNew: true, transports: ["websocket"], extraHeaders: { cookie: "a=secret" } });
  await once(socket, "connect");
  return socket;
}

before(async () => {
  pages = await servePages();
  server = await startServer();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
  const context = await browser.newContext({ viewport: { width: 1400, height: 1000 } });
  context.setDefaultTimeout(WAIT_MS);
  // The page wants fonts and icons from the network; it works without.
  await context.route((url) => ![pages.url, server.url].includes(url.origin), (route) => route.abort());
  page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error.message));
});

after(async () => {
  client?.disconnect();
  await browser?.close();
  await server?.stop();
  await pages?.stop();
});

const shoot = (name) => process.env.SCREENSHOTS && page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
const row = (text) => page.locator("tbody tr").filter({ hasText: text });
/** The view of this title is there, and the one before has gone. */
const arrivedAt = (title) =>
  page.waitForFunction((text) => {
    const views = [...document.querySelectorAll(".v-breadcrumbs")];
    return views.length === 1 && views[0].textContent.trim() === text;
  }, title);
const visit = async (title) => {
  await page.locator("nav .v-list-item").filter({ hasText: new RegExp(`^\\s*${title}\\s*$`) }).click();
  await arrivedAt(title);
};

async function logIn(password) {
  await page.getByLabel("Server URL").fill(server.url);
  await page.getByLabel("Username").fill("admin");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Connect" }).click();
}

test("a wrong password is refused, and the right one lets in", async () => {
  client = await connectClient(); // the UI selects the main namespace if there is somebody in it
  await page.goto(pages.url);
  await logIn("wrong");
  await page.locator(".v-dialog--active").filter({ hasText: /invalid credentials/i }).waitFor();
  await logIn("changeit");
  await page.locator(".v-dialog--active").waitFor({ state: "detached" });
  await shoot("dashboard-empty");
});

test("the dashboard shows servers, clients and namespaces", async () => {
  await row("/news").filter({ hasText: "0" }).waitFor();
  await row("HEALTHY").filter({ hasText: "1" }).first().waitFor();
  await row("WebSocket").filter({ hasText: "2" }).waitFor(); // the UI and the client
  await shoot("dashboard");
});

test("a client is listed while it is there, with its rooms and data", async () => {
  await visit("Sockets");
  await row(client.id).filter({ hasText: "127.0.0.1" }).filter({ hasText: "WebSocket" }).waitFor();
  await shoot("sockets");
  client.emit("join", "red");
  client.emit("name", "ann");
  await row(client.id).click();
  await page.getByText('"name": "ann"').waitFor();
  await row(/^\s*red\s*/).first().waitFor();
  await shoot("socket");
});

test("its events are shown", async () => {
  await visit("Events");
  await client.emitWithAck("echo", "are you there?");
  await row(client.id).filter({ hasText: "echo" }).waitFor();
  await row(client.id).filter({ hasText: "red" }).waitFor();
  await shoot("events");
});

test("the admin lets it leave a room and join another", async () => {
  await visit("Rooms");
  await row(/^\s*red\s*/).waitFor();
  await shoot("rooms");
  await row(/^\s*red\s*/).click(); // one of its sockets
  await row(client.id).getByRole("button").first().click();
  await visit("Rooms");
  await row(/^\s*red\s*/).waitFor({ state: "detached" });
  await visit("Sockets");
  await row(client.id).click();
  const room = page.getByRole("textbox", { name: "Join a room" });
  await room.fill("blue");
  await page.locator("form").filter({ has: room }).locator("button[type=submit]").click();
  await row(/^\s*blue\s*/).waitFor();
});

test("the session outlives a reload of the page", async () => {
  await page.reload();
  await visit("Sockets");
  await row(client.id).waitFor();
});

test("the admin disconnects it", async () => {
  const { id } = client;
  const gone = once(client, "disconnect");
  await row(id).getByRole("button").click();
  assert.equal((await gone)[0], "io server disconnect");
  await visit("Sockets"); // a click on the button is one on the row, too
  await row(id).waitFor({ state: "detached" });
  await visit("Events");
  await row(id).filter({ hasText: "server namespace disconnect" }).waitFor();
});

test("the server is listed", async () => {
  await visit("Servers");
  await row("ada").filter({ hasText: "HEALTHY" }).waitFor();
});

test("with a server that has been started again in production mode it shows counts, and no commands", async () => {
  const { port } = server;
  await server.stop();
  server = await startServer({ PRODUCTION: "1", ADMIN_HASH: "none" }, port);
  await page.goto(`${pages.url}/#/`);
  await page.locator("nav .v-list-item").filter({ hasText: "Events" }).waitFor({ state: "detached" });
  assert.equal(await page.locator("nav .v-list-item").filter({ hasText: /Dashboard|Servers/ }).count(), 2);
  await row("/news").waitFor();
  await shoot("production");
});

test("the page threw nothing", () => assert.deepEqual(errors, []));
