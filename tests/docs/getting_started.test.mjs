// docs/getting-started.md as a new user follows it: the packaged crate, an empty directory, two browsers. What is not as
// written: the port, the flag for a repository with uncommitted changes, and where cargo keeps what it has built.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { blocks, root } from "./page.mjs";
import { freePort, start, until } from "./processes.mjs";
import { building, place, shell, unpack } from "./project.mjs";

const { chromium } = createRequire(`${root}tests/browser/`)("playwright-core");

const PAGE = "getting-started.md";
const SECONDS = 1000;
const WAIT = 60 * SECONDS;

const chat = place("chat");
const steps = blocks(PAGE);

let port;
let server;
let browser;

/** The next block of the page, which has to be this one. */
function next(kind, name) {
  const step = steps.shift();
  assert.deepEqual([step?.kind, step?.name], [kind, name], "the order of the page");
  return step.text;
}

/** Runs a command of the page that starts the server, and waits until it answers. */
async function serve(command) {
  const one = start("bash", ["-euc", `exec env ${command}`], { cwd: chat, env: building });
  await until(
    async () => {
      assert.equal(one.child.exitCode, null, one.log);
      return (await fetch(`http://127.0.0.1:${port}/`)).ok;
    },
    "the server answers",
    900,
  );
  return one;
}

async function openWindow() {
  const context = await browser.newContext();
  context.setDefaultTimeout(WAIT);
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.getByText("You are in the lobby.").waitFor();
  return page;
}

async function say(page, text) {
  await page.locator("#text").fill(text);
  await page.getByRole("button").click();
}

before(async () => {
  port = await freePort();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  place("chat");
});

test("the package is made and unpacked", async () => {
  next("run", "repository");
  await unpack();
});

test("a project is made, and the files are written", async () => {
  await shell(next("run", "projects"));
  for (const name of ["src/main.rs", "src/index.html"]) {
    writeFileSync(`${chat}/${name}`, next("file", name).replaceAll("3000", String(port)));
  }
});

test("two browsers talk to each other", async () => {
  const command = next("run", "server");
  server = await serve(command.trim());
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });
  const [ann, ben] = [await openWindow(), await openWindow()];
  await say(ann, "is anybody there?");
  await ann.getByText("you: is anybody there? (delivered)").waitFor();
  await ben.getByText("they: is anybody there?").waitFor();
  await say(ben, "I am");
  await ann.getByText("they: I am").waitFor();
  await say(ann, " ");
  await ann.getByText("not sent: there is nothing to say").waitFor();
  assert.equal(await ben.locator("li").count(), 3, "it did not hear the empty line");

  await server.stop("SIGINT");
  await ann.getByText("disconnected: transport close").waitFor();
  await say(ann, "still there?");
  await ann.getByText("not sent, the server does not answer: still there?").waitFor();
  server = await serve(command.trim());
  await until(async () => (await ann.getByText("You are in the lobby.").count()) === 2, "it comes back by itself");
  await server.stop("SIGINT");
});

test("the log shows what happens", async () => {
  await shell(next("run", "projects/chat"), chat);
  const line = next("line", "src/main.rs");
  const source = readFileSync(`${chat}/src/main.rs`, "utf8");
  const opening = "async fn main() -> std::io::Result<()> {\n";
  assert.ok(source.includes(opening));
  writeFileSync(`${chat}/src/main.rs`, source.replace(opening, opening + line));
  server = await serve(next("run", "server").trim());
  const page = await openWindow();
  await page.close();
  for (const expected of ["session opened", "socket connected", "socket disconnects", "session closed"]) {
    await until(() => server.log.includes(expected), expected);
  }
  assert.deepEqual(steps, [], "all of the page was done");
});
