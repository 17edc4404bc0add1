// The chat example as people use it: two windows, an admin page, a real browser.
//
//   CHAT_COMMAND="target/release/examples/chat" node --test chat.test.mjs     starts (and restarts) the server itself
//   CHAT_URL=http://127.0.0.1:3000 node --test chat.test.mjs                  against a running one; nothing is restarted
//
// CHROMIUM names the browser (default /usr/bin/chromium), SCREENSHOTS a folder for pictures of the pages. The tests build on one
// another, in this order.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startServer } from "./server.mjs";

const WAIT_MS = 20_000;
const ALL_MS = 5 * 60_000;
const ARGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const run = Math.random().toString(36).slice(2, 7); // tells this run from others on the same server
const ANA = `Ana ${run}`;
const BEN = `Ben ${run}`;
const errors = []; // what the pages threw

// whatever hangs, nothing stays behind: the server and the browser end with this process
setTimeout(() => {
  console.error(`the browser tests did not finish within ${ALL_MS} ms`);
  process.exit(1);
}, ALL_MS).unref();

let server;
let browser;
let ana;
let ben;
let admin;

before(async () => {
  server = await startServer();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A window of its own: its storage is shared with no other. */
async function openWindow(path) {
  const context = await browser.newContext();
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(server.url + path);
  return page;
}

async function arrive(name) {
  const page = await openWindow("/");
  await page.getByTestId("name-dialog").waitFor();
  await page.getByTestId("name").fill(name);
  await page.getByTestId("name-save").click();
  await online(page);
  return page;
}

/** Connected and upgraded: a client that vanishes while it is polling is missed only after the ping timeout. */
const online = (page) => page.locator("[data-testid=connection][data-state=connected][data-transport=websocket]").waitFor();
const connection = (page, state) => page.locator(`[data-testid=connection][data-state=${state}]`).waitFor();
const member = (page, name) => page.getByTestId("member").and(page.locator(`[data-name="${name}"]`));
const line = (page, kind, text) => page.getByTestId(kind).filter({ hasText: text, visible: true });
const inRoom = (page, room) => page.locator(`[data-testid=room-${room}][aria-current]`).waitFor();

/** The messages with exactly this text, in whatever room of the page. */
const messages = (page, text) =>
  page.getByTestId("message").filter({ has: page.getByTestId("text").getByText(text, { exact: true }) });
const withStatus = (page, text, status) => messages(page, text).and(page.locator(`[data-status=${status}]`));

async function write(page, text) {
  await page.getByTestId("draft").fill(text);
  await page.getByTestId("draft").press("Enter");
}

async function say(from, text, ...readers) {
  await write(from, text);
  await withStatus(from, text, "delivered").waitFor();
  for (const reader of readers) await messages(reader, text).waitFor();
}

async function switchTo(page, room) {
  await page.getByTestId(`room-${room}`).click();
  await inRoom(page, room);
  await member(page, await page.getByTestId("my-name").textContent()).waitFor();
}

// ---------------------------------------------------------------- two people

test("two people choose names and find each other in general", async () => {
  ana = await arrive(ANA);
  await inRoom(ana, "general");
  await member(ana, ANA).waitFor();
  ben = await arrive(BEN);
  await inRoom(ben, "general");
  for (const name of [ANA, BEN]) {
    await member(ana, name).waitFor();
    await member(ben, name).waitFor();
  }
  await line(ana, "notice", `${BEN} joined`).waitFor();
});

test("a name needs something to see, and hides nothing", async () => {
  const eve = await openWindow("/");
  const dialog = eve.getByTestId("name-dialog");
  for (const unseen of ["\u200b\u200b", " \u202e ", "\u3164"]) {
    await eve.getByTestId("name").fill(unseen);
    await eve.getByTestId("name-save").click();
    await eve.locator("[data-testid=name]:invalid").waitFor();
    assert.equal(await dialog.isVisible(), true);
  }
  assert.equal(await eve.getByTestId("my-name").textContent(), "");

  await eve.getByTestId("name").fill(`\u202eEve\u200b ${run}\u0007`);
  await eve.getByTestId("name-save").click();
  await online(eve);
  assert.equal(await eve.getByTestId("my-name").textContent(), `Eve ${run}`);
  await member(ana, `Eve ${run}`).waitFor();

  // names of a client that is not this page
  await eve.evaluate((names) => {
    for (const username of names) {
      const socket = io("/chat", { forceNew: true, transports: ["websocket"], auth: { username } });
      socket.on("rooms", () => {
        socket.emit("join", "general");
        socket.emit("message", `I am ${escape(username)}`);
      });
    }
  }, [`\u202eMallory\u200b ${run}`, "\u200b"]);
  await member(ana, `Mallory ${run}`).waitFor();
  await member(ana, "(no visible name)").waitFor();
  await line(ana, "notice", `Mallory ${run} joined`).waitFor();
  const said = ana.getByTestId("message").filter({ hasText: "I am %u202EMallory" });
  assert.equal(await said.locator(".author").textContent(), `Mallory ${run}`);
  assert.doesNotMatch(await ana.evaluate(() => document.body.textContent), /\p{Cf}/u);

  await eve.context().close();
  await member(ana, `Mallory ${run}`).waitFor({ state: "detached" });
});

test("messages go both ways", async () => {
  await say(ana, "hello from Ana", ben);
  await say(ben, "hello from Ben", ana);
  assert.equal(await messages(ben, "hello from Ana").locator(".author").textContent(), ANA);
  assert.equal(await messages(ana, "hello from Ana").count(), 1, "the echo is not shown a second time");
});

test("several lines are one message, sent by the button too", async () => {
  await ana.getByTestId("draft").fill("first line");
  await ana.getByTestId("draft").press("Shift+Enter");
  await ana.getByTestId("draft").pressSequentially("second line");
  await ana.getByTestId("send").click();
  const text = ben.getByTestId("text").filter({ hasText: "first line" });
  await text.waitFor();
  assert.equal(await text.textContent(), "first line\nsecond line");
});

test("the others see who is typing", async () => {
  const typing = ben.getByTestId("typing").filter({ hasText: `${ANA} is typing` });
  await ana.getByTestId("draft").pressSequentially("hm");
  await typing.waitFor();
  await ana.getByTestId("draft").fill("");
  await typing.waitFor({ state: "detached" });
});

test("markup in a message stays text", async () => {
  const markup = `<img src=x onerror="document.title='broken'"><b>bold</b>`;
  await say(ana, markup, ben);
  for (const page of [ana, ben]) {
    assert.equal(await page.locator("#logs img, #logs b").count(), 0);
    assert.notEqual(await page.title(), "broken");
  }
});

// ---------------------------------------------------------------- rooms

test("rooms are separate", async () => {
  await switchTo(ana, "tech");
  await line(ben, "notice", `${ANA} left`).waitFor();
  await member(ben, ANA).waitFor({ state: "detached" });

  await say(ben, "only in general");
  await say(ana, "only in tech");
  await switchTo(ben, "tech");
  await line(ana, "notice", `${BEN} joined`).waitFor();
  await say(ben, "now in tech", ana); // had anything leaked, it would have arrived before this
  assert.equal(await messages(ana, "only in general").count(), 0);
  assert.equal(await messages(ben, "only in tech").count(), 0);

  await switchTo(ana, "general");
  await switchTo(ben, "general");
});

test("a refused message says so, and can be sent again", async () => {
  await ben.getByTestId("leave").click();
  await line(ben, "notice", "You left #general").waitFor();
  await write(ben, "into the void");
  const refused = withStatus(ben, "into the void", "refused");
  await refused.waitFor();
  assert.match(await refused.getByTestId("status").textContent(), /not in a room/);

  await switchTo(ben, "general");
  await refused.getByTestId("retry").click();
  await withStatus(ben, "into the void", "delivered").waitFor();
  await messages(ana, "into the void").waitFor();
});

test("the name is remembered, and can be changed", async () => {
  await online(ben);
  await ben.reload();
  await online(ben);
  assert.equal(await ben.getByTestId("my-name").textContent(), BEN);
  await member(ben, BEN).waitFor();

  for (const name of [`Benjamin ${run}`, BEN]) {
    await ben.getByTestId("change-name").click();
    await ben.getByTestId("name").fill(name);
    await ben.getByTestId("name-save").click();
    await line(ben, "divider", `You are now ${name}`).waitFor();
    await member(ana, name).waitFor();
  }
  await member(ana, `Benjamin ${run}`).waitFor({ state: "detached" });
});

test("what is written offline is sent later", async () => {
  await online(ben);
  await ben.context().setOffline(true);
  await connection(ben, "offline");
  await member(ana, BEN).waitFor({ state: "detached" });
  await write(ben, "written offline");
  await withStatus(ben, "written offline", "queued").waitFor();

  await ben.context().setOffline(false);
  await connection(ben, "connected");
  await line(ben, "divider", "Reconnected").first().waitFor();
  await withStatus(ben, "written offline", "delivered").waitFor();
  await messages(ana, "written offline").waitFor();
});

// ---------------------------------------------------------------- the admin

test("the chat leads to the admin page, and that one back", async () => {
  const [page] = await Promise.all([ana.waitForEvent("popup"), ana.getByTestId("to-admin").click()]);
  await page.getByTestId("gate").waitFor();
  await page.getByTestId("to-chat").click();
  await online(page);
  assert.equal(new URL(page.url()).pathname, "/");
  await member(ana, ANA).nth(1).waitFor();
  await page.close();
  await member(ana, ANA).nth(1).waitFor({ state: "detached" });
});

test("the admin page refuses a wrong key", async () => {
  admin = await openWindow("/admin.html");
  await admin.getByTestId("key").fill("open sesame");
  await admin.getByTestId("unlock").click();
  await admin.getByTestId("refusal").filter({ hasText: "admin only" }).waitFor();
  assert.equal(await admin.getByTestId("dashboard").isVisible(), false);
});

test("with the key it shows who is where, live", async () => {
  await admin.getByTestId("key").fill("letmein");
  await admin.getByTestId("key").press("Enter");
  await admin.getByTestId("dashboard").waitFor();
  const present = (name) => admin.getByTestId("room-general").locator(`[data-name="${name}"]`);
  await present(ANA).waitFor();
  await present(BEN).waitFor();

  const before = Number(await admin.getByTestId("room-general").getAttribute("data-messages"));
  await say(ana, "counted", ben);
  await admin.getByTestId("feed").getByText(`${ANA} wrote in #general`).first().waitFor();
  await admin.waitForFunction(
    (count) => Number(document.querySelector("[data-testid=room-general]").dataset.messages) > count, before);
});

test("two of the same name are seen to be two, and are removed together only after a question", async () => {
  const name = `Twin ${run}`;
  const twins = [await arrive(name), await arrive(name)];
  for (const page of [ana, ...twins]) {
    await member(page, name).nth(1).waitFor();
    const tags = await member(page, name).locator(".tag").allTextContents();
    assert.deepEqual(tags, page === ana ? ["1 of 2", "2 of 2"] : ["you, 1 of 2", "2 of 2"]);
  }
  await line(ana, "notice", `${name} joined (2 of that name`).waitFor();
  await say(twins[0], "one of the twins", ana);
  assert.equal(await messages(ana, "one of the twins").locator(".tag").textContent(), "one of 2");

  const dialog = admin.getByTestId("kick-dialog");
  await admin.getByTestId("kick-name").fill(name);
  await admin.getByTestId("kick-preview").filter({ hasText: "Removes 2 people: 2 in #general" }).waitFor();
  await admin.getByTestId("kick-send").click();
  await dialog.filter({ hasText: "Remove 2 people?" }).waitFor();
  await admin.getByTestId("kick-cancel").click();
  await dialog.waitFor({ state: "hidden" });
  await admin.getByTestId("kick-send").click();
  await admin.getByTestId("kick-confirm").click();
  await admin.getByTestId("outcome").filter({ hasText: `${name} was removed (2 connections)` }).waitFor();
  await member(ana, name).first().waitFor({ state: "detached" });
  for (const page of twins) {
    await connection(page, "offline");
    await page.context().close();
  }
});

test("announcements reach a room, or everyone", async () => {
  await switchTo(ben, "random");
  const announce = async (room, text) => {
    await admin.getByTestId("announce-room").selectOption(room);
    await admin.getByTestId("announce-text").fill(text);
    await admin.getByTestId("announce-send").click();
    await admin.getByTestId("outcome").filter({ hasText: "Announced" }).waitFor();
  };
  await announce("general", "to general");
  await announce("", "to everyone");
  for (const page of [ana, ben]) await line(page, "announcement", "to everyone").waitFor();
  assert.equal(await line(ana, "announcement", "to general").count(), 1);
  assert.equal(await line(ben, "announcement", "to general").count(), 0);
  await switchTo(ben, "general");
});

test("a kicked person is told, can write nothing, and may come back", async () => {
  await member(ben, ANA).waitFor();
  await ben.getByTestId("draft").fill("half a thought");
  await admin.getByRole("button", { name: `Kick ${BEN}` }).click();
  await admin.getByTestId("outcome").filter({ hasText: `${BEN} was removed` }).waitFor();
  await connection(ben, "offline");
  await ben.getByTestId("banner").filter({ hasText: "administrator" }).waitFor();
  await line(ana, "notice", `${BEN} left`).first().waitFor();
  await member(ana, BEN).waitFor({ state: "detached" });

  assert.equal(await ben.getByTestId("member").count(), 0);
  assert.equal(await ben.getByTestId("members-count").textContent(), "0");
  assert.equal(await ben.getByTestId("send").isDisabled(), true);
  assert.match(await ben.getByTestId("banner").textContent(), /until you come back/);
  await ben.getByTestId("draft").press("Enter");
  assert.equal(await messages(ben, "half a thought").count(), 0);
  assert.equal(await ben.getByTestId("draft").inputValue(), "half a thought");
  await ben.context().setOffline(true); // nor does the network bring them back
  await ben.context().setOffline(false);
  await connection(ben, "offline");

  await ben.getByTestId("banner-action").click();
  await connection(ben, "connected");
  await member(ben, ANA).waitFor();
  await ben.getByTestId("draft").press("Enter");
  await withStatus(ben, "half a thought", "delivered").waitFor();
  await messages(ana, "half a thought").waitFor();
  await member(ana, BEN).waitFor();
  await ben.getByTestId("leave").click(); // the buttons work again
  await line(ben, "notice", "You left #general").waitFor();
  await switchTo(ben, "general");
});

test("both pages fit a small phone", async (t) => {
  t.after(() => Promise.all([ana, admin].map((page) => page.setViewportSize({ width: 1280, height: 720 }))));
  for (const page of [ana, admin]) {
    await page.setViewportSize({ width: 320, height: 640 });
    const [needed, there] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(needed <= there, `${needed} pixels wide on ${there}`);
  }
  await member(ana, BEN).waitFor({ state: "hidden" });
  await ana.getByTestId("members-toggle").click();
  await member(ana, BEN).waitFor();
  await ana.keyboard.press("Escape");
  await member(ana, BEN).waitFor({ state: "hidden" });
});

test("pictures of both pages, for a person to look at", { skip: !process.env.SCREENSHOTS }, async () => {
  await switchTo(ana, "general");
  await say(ana, "a line that is long enough to be wrapped on a phone, and_a_word_that_has_no_place_where_it_may_be_broken", ben);
  for (const [page, name] of [[ana, "chat"], [admin, "chat-admin"]]) {
    for (const [width, height, kind] of [[1280, 800, "desktop"], [390, 844, "phone"]]) {
      for (const colorScheme of ["light", "dark"]) {
        await page.setViewportSize({ width, height });
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}-${kind}-${colorScheme}.png` });
      }
    }
    await page.emulateMedia({ colorScheme: null });
    await page.setViewportSize({ width: 1280, height: 720 });
  }
});

// ---------------------------------------------------------------- restart

for (const signal of ["SIGTERM", "SIGKILL"]) {
  test(`everybody is back after a restart (${signal})`, async (t) => {
    if (!server.owned) return t.skip("the server was not started by this test");
    await switchTo(ben, "tech"); // not the room one starts in
    await switchTo(ana, "tech");
    const dividers = await line(ana, "divider", "Reconnected").count();
    const { port } = new URL(server.url);
    await server.stop(signal);
    for (const page of [ana, ben, admin]) await connection(page, "reconnecting");
    await write(ana, `meanwhile ${signal}`);
    await withStatus(ana, `meanwhile ${signal}`, "queued").waitFor();

    server = await startServer(Number(port));
    for (const page of [ana, ben, admin]) await connection(page, "connected");
    await withStatus(ana, `meanwhile ${signal}`, "delivered").waitFor();
    for (const page of [ana, ben]) {
      await inRoom(page, "tech");
      await line(page, "divider", "Reconnected").nth(page === ana ? dividers : 0).waitFor();
      await member(page, ANA).waitFor();
      await member(page, BEN).waitFor();
    }
    await say(ana, `back after ${signal}`, ben);
    await say(ben, `me too after ${signal}`, ana);
    await admin.getByTestId("room-tech").locator(`[data-name="${BEN}"]`).waitFor();
  });
}

test("no page threw an error", () => assert.deepEqual(errors, []));
