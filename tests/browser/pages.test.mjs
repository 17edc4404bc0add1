// The pages of the examples beside the chat, at desktop and phone width, in light and dark: they work, by the keyboard too,
// fit their window, and have the contrast and the labels that people need.
//
//   EXAMPLES=target/release/examples node --test pages.test.mjs
//   SCREENSHOTS=folder …        keeps a picture of each page
//
// CHROMIUM names the browser (default /usr/bin/chromium).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";

const WAIT_MS = 30_000;
const ALL_MS = 5 * 60_000;
const ROOT = new URL("../../", import.meta.url).pathname;
const EXAMPLES = process.env.EXAMPLES ?? join(ROOT, "target/release/examples");
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const WINDOWS = [
  { name: "desktop", viewport: { width: 1280, height: 800 }, colorScheme: "light" },
  { name: "desktop-dark", viewport: { width: 1280, height: 800 }, colorScheme: "dark" },
  { name: "phone", viewport: { width: 390, height: 844 }, colorScheme: "light", hasTouch: true, isMobile: true },
  { name: "phone-dark", viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true, isMobile: true },
];

// whatever hangs, nothing stays behind
setTimeout(() => {
  console.error(`the browser tests did not finish within ${ALL_MS} ms`);
  process.exit(1);
}, ALL_MS).unref();

const children = new Set();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
});
after(() => browser?.close());

/** Runs an example while the tests of the enclosing `describe` run. */
function useExample(name, env = {}) {
  const example = { errors: [] };
  before(async () => {
    const child = spawn(join(EXAMPLES, name), [], { cwd: ROOT, env: { ...process.env, ...env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
    children.add(child);
    example.child = child;
    const lines = createInterface({ input: child.stdout });
    const failed = once(child, "exit").then(() => Promise.reject(new Error(`${name} ended`)));
    const [line] = await Promise.race([once(lines, "line"), failed]);
    failed.catch(() => {});
    example.url = line.replace("listening on ", "");
  });
  after(async () => {
    if (!example.child) return;
    const exited = once(example.child, "exit");
    example.child.kill("SIGKILL");
    await exited;
    children.delete(example.child);
  });
  example.open = async (options = WINDOWS[0]) => {
    const { name: _, ...context } = options;
    const opened = await browser.newContext(context);
    opened.setDefaultTimeout(WAIT_MS);
    const page = await opened.newPage();
    page.on("pageerror", (error) => example.errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && example.errors.push(message.text()));
    await page.goto(example.url);
    return page;
  };
  return example;
}

async function picture(page, name) {
  if (!process.env.SCREENSHOTS) return;
  mkdirSync(process.env.SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
}

/** What is wrong with the page for somebody who sees little, uses a keyboard or has a small window. */
const faults = (page) =>
  page.evaluate(() => {
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth) found.push(`wider than the window: ${document.documentElement.scrollWidth}`);
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const pixel = (layers) => {
      canvas.fillStyle = "white";
      canvas.fillRect(0, 0, 1, 1);
      for (const layer of layers) {
        canvas.fillStyle = layer;
        canvas.fillRect(0, 0, 1, 1);
      }
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = ([red, green, blue]) => {
      const [r, g, b] = [red, green, blue].map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.clientWidth !== 1;
    for (const element of document.querySelectorAll("body *")) {
      const text = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!text || !visible(element)) continue;
      const layers = [];
      for (let at = element; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
      const back = luminance(pixel(layers));
      const front = luminance(pixel([...layers, getComputedStyle(element).color]));
      const contrast = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
      if (contrast < 4.5) found.push(`contrast ${contrast.toFixed(2)}: ${element.textContent.trim().slice(0, 40)}`);
    }
    for (const control of document.querySelectorAll("input, button, select, textarea, canvas[tabindex]")) {
      if (!control.checkVisibility()) continue;
      const name = control.getAttribute("aria-label") || control.textContent.trim() || control.labels?.[0]?.textContent.trim();
      if (!name) found.push(`no name: ${control.outerHTML.slice(0, 60)}`);
      const box = (control.labels?.[0] ?? control).getBoundingClientRect();
      if (box.height < 24 || box.width < 24) found.push(`too small: ${control.outerHTML.slice(0, 60)}`);
    }
    if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
    return found;
  });

describe("the whiteboard", () => {
  const board = useExample("whiteboard");
  const connected = (page) => page.locator("#connection[data-state=connected]").waitFor();
  /** How many pixels of the canvas are drawn on. */
  const inked = (page) =>
    page.evaluate(() => {
      const { data } = document.getElementById("board").getContext("2d").getImageData(0, 0, 1600, 1000);
      let count = 0;
      for (let at = 3; at < data.length; at += 4) if (data[at] > 0) count += 1;
      return count;
    });
  const drawn = (page, least) =>
    page.waitForFunction((count) => {
      const { data } = document.getElementById("board").getContext("2d").getImageData(0, 0, 1600, 1000);
      let found = 0;
      for (let at = 3; at < data.length; at += 4) if (data[at] > 0) found += 1;
      return found >= count;
    }, least);

  /** A line through points given as parts of the board. */
  async function line(page, ...points) {
    const box = await page.locator("#board").boundingBox();
    const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
    await page.mouse.move(...at(points[0]));
    await page.mouse.down();
    for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 12 });
    await page.mouse.up();
  }

  test("what one draws the other sees, and who comes later", async () => {
    const [ann, ben] = [await board.open(), await board.open(WINDOWS[3])];
    await Promise.all([connected(ann), connected(ben)]);
    await line(ann, [0.1, 0.8], [0.25, 0.2], [0.4, 0.8]);
    await ann.getByRole("radio", { name: "Red" }).check();
    await line(ann, [0.17, 0.55], [0.33, 0.55]);
    const count = await inked(ann);
    assert.ok(count > 5000, `${count} pixels`);
    await drawn(ben, count * 0.95);
    const late = await board.open();
    await drawn(late, count * 0.95);
    await ben.getByRole("button", { name: "Clear" }).click();
    for (const page of [ann, late]) await page.waitForFunction(() => !document.getElementById("board").getContext("2d").getImageData(0, 0, 1600, 1000).data.some(Boolean));
    for (const page of [ann, ben, late]) await page.context().close();
  });

  test("one draws by the keyboard alone, and the others see the pen", async () => {
    const [ann, ben] = [await board.open(), await board.open()];
    await Promise.all([connected(ann), connected(ben)]);
    await ann.locator("#board").focus();
    await ann.keyboard.press("Space");
    for (let step = 0; step < 5; step += 1) await ann.keyboard.press("Shift+ArrowRight");
    await ann.keyboard.press("ArrowDown");
    await ann.keyboard.press("Space");
    await drawn(ben, 2000);
    assert.equal(await ann.locator("#told").textContent(), "Pen up");
    await ben.locator("#pointers span").waitFor();
    await ann.context().close();
    await ben.locator("#pointers span").waitFor({ state: "detached" });
    await ben.getByRole("button", { name: "Clear" }).click();
    await ben.context().close();
  });

  for (const window of WINDOWS) {
    test(`it looks right: ${window.name}`, async () => {
      const page = await board.open(window);
      await connected(page);
      const names = ["Ink", "Red", "Blue", "Green", "Orange", "Violet"];
      for (const [at, name] of names.entries()) {
        await page.getByRole("radio", { name }).check();
        await line(page, [0.1, 0.12 + at * 0.14], [0.5, 0.2 + at * 0.12], [0.9, 0.12 + at * 0.14]);
      }
      assert.deepEqual(await faults(page), []);
      await picture(page, `whiteboard-${window.name}`);
      await page.getByRole("button", { name: "Clear" }).click();
      await page.context().close();
    });
  }

  test("no page threw an error", () => assert.deepEqual(board.errors, []));
});

describe("the upload", () => {
  const folder = mkdtempSync(join(tmpdir(), "greenroom-upload-"));
  const upload = useExample("upload", { FOLDER: folder });
  after(() => rmSync(folder, { recursive: true }));
  const connected = (page) => page.locator("#connection[data-state=connected]").waitFor();

  for (const window of WINDOWS) {
    test(`files arrive, with their progress: ${window.name}`, async () => {
      const [page, other] = [await upload.open(window), await upload.open()];
      await Promise.all([connected(page), connected(other)]);
      const files = [["a long name of a file with many words in it.bin", 300_000], ["small.txt", 10]];
      await page.getByLabel("Files of at most").setInputFiles(
        files.map(([name, size]) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.alloc(size, 7) })));
      await page.locator("#files li[data-state=done]").nth(1).filter({ hasText: "Uploaded, 10 bytes" }).waitFor();
      for (const [name] of files) await other.locator("#others li").filter({ hasText: name }).waitFor();
      assert.equal(await page.getByRole("progressbar", { name: "small.txt" }).evaluate((bar) => bar.value), 10);
      assert.deepEqual(await faults(page), []);
      assert.deepEqual(await faults(other), []);
      await picture(page, `upload-${window.name}`);
      for (const one of [page, other]) await one.context().close();
    });
  }

  test("an empty file says why it was refused", async () => {
    const page = await upload.open();
    await connected(page);
    await page.getByLabel("Files of at most").setInputFiles({ name: "empty", mimeType: "text/plain", buffer: Buffer.alloc(0) });
    await page.locator("#files li[data-state=failed]").filter({ hasText: "1 byte to 100 MB" }).waitFor();
    assert.deepEqual(await faults(page), []);
    await page.context().close();
  });

  test("no page threw an error", () => assert.deepEqual(upload.errors, []));
});

describe("the todos, built by Vite", () => {
  const todos = useExample("todos", { WEB: join(ROOT, "examples/todos/web/dist") });
  const connected = (page) => page.getByRole("status").filter({ hasText: "Connected" }).waitFor();
  const item = (page, title) => page.getByRole("listitem").filter({ hasText: title });

  async function add(page, title) {
    await page.getByLabel("What is to be done?").fill(title);
    await page.keyboard.press("Enter");
    await item(page, title).waitFor();
  }

  for (const window of WINDOWS) {
    test(`a list of two people: ${window.name}`, async () => {
      const [ann, ben] = [await todos.open(window), await todos.open()];
      await Promise.all([connected(ann), connected(ben)]);
      // Again and again, as people do: each is dropped for a client that cannot have it at once.
      for (let key = 0; key < 100 && !(await ann.getByText("Somebody writes: w").isVisible()); key += 1) {
        await ben.getByLabel("What is to be done?").press("w", { delay: 20 });
      }
      await ann.getByText("Somebody writes: w").waitFor();
      await ben.getByLabel("What is to be done?").fill("");
      for (const title of ["Cook soup", "Water the plants in every room of the house", "Sing"]) await add(ann, title);
      await item(ben, "Sing").waitFor();
      // The server decides, so not at once.
      await ben.getByRole("checkbox", { name: "Cook soup" }).click();
      await ben.getByRole("checkbox", { name: "Cook soup", checked: true }).waitFor();
      await ann.getByText("2 of 3 to do").waitFor();

      // What the server refuses is said.
      await ann.getByRole("button", { name: "Add" }).click();
      await ann.getByRole("alert").filter({ hasText: "title: it is empty" }).waitFor();
      assert.deepEqual(await faults(ann), []);
      await picture(ann, `todos-${window.name}`);

      // One that is not done is deleted after a question, by the keyboard too.
      await ann.getByRole("button", { name: "Delete Sing" }).click();
      await ann.getByRole("dialog").waitFor();
      assert.deepEqual(await faults(ann), []);
      await picture(ann, `todos-question-${window.name}`);
      await ann.keyboard.press("Escape");
      await ann.getByRole("dialog").waitFor({ state: "detached" });
      await item(ann, "Sing").waitFor();
      for (const title of ["Sing", "Water"]) {
        await ann.getByRole("button", { name: `Delete ${title}` }).click();
        await ann.getByRole("button", { name: "Delete it" }).click();
        await item(ben, title).waitFor({ state: "detached" });
      }
      await ann.getByRole("button", { name: "Delete Cook" }).click();
      await ben.getByText("Nothing to do.").waitFor();
      for (const page of [ann, ben]) await page.context().close();
    });
  }

  test("no page threw an error", () => assert.deepEqual(todos.errors, []));
});
