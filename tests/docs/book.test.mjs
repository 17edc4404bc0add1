// The book as mdBook makes it: each link of a page leads to a page and a place on it. (tests/documentation has the same
// for the pages as they are.) And as people see it: what a table says of a name is beside the name.
//
//   MDBOOK=target/tools/bin/mdbook node --test tests/docs/book.test.mjs
//
// CHROMIUM names the browser (default /usr/bin/chromium).

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { after, before, test } from "node:test";
import { root } from "./page.mjs";
import { run } from "./processes.mjs";

const { chromium } = createRequire(`${root}tests/browser/`)("playwright-core");

const BUSY_MS = 2 * 60_000; // the machine may be busy
const book = mkdtempSync(`${tmpdir()}/greenroom-book-`);
after(() => rmSync(book, { recursive: true, force: true }));

const decode = (text) => decodeURIComponent(text.replaceAll("&amp;", "&"));
const texts = new Map();
const read = (file) => texts.get(file) ?? texts.set(file, readFileSync(file, "utf8")).get(file);
const has = (file, id) => read(file).includes(`id="${id}"`);

let pages;
let said;

before(async () => {
  said = await run(process.env.MDBOOK ?? "mdbook", ["build", "--dest-dir", book], { cwd: root });
  const files = readdirSync(book, { recursive: true });
  // Not the page that has all others in one, where places are named otherwise.
  pages = files.filter((file) => file.endsWith(".html") && !["print.html", "404.html", "toc.html"].includes(file));
});

test("mdBook has nothing to say against it", () => {
  assert.doesNotMatch(said, /WARN|ERROR/);
});

test("every page of docs is in it", () => {
  const sources = readdirSync(`${root}docs`, { recursive: true }).filter((file) => file.endsWith(".md"));
  const wanted = sources
    .filter((file) => file !== "SUMMARY.md")
    .map((file) => file.replace(/(^|\/)README\.md$/, "$1index.md").replace(/md$/, "html"));
  assert.deepEqual(wanted.filter((file) => !pages.includes(file)), []);
});

test("every link leads somewhere", () => {
  const broken = [];
  for (const page of pages) {
    for (const [, attribute] of read(join(book, page)).matchAll(/<[a-z][^>]*\s(?:href|src)="([^"]*)"/g)) {
      const [path, id] = attribute.split("#");
      if (/^(?:[a-z]+:|\/\/)/.test(path)) continue;
      const file = path === "" ? join(book, page) : join(book, dirname(page), decode(path));
      const there = existsSync(file) && (!id || !file.endsWith(".html") || has(file, decode(id)));
      if (!there) broken.push(`${page}: ${attribute} (${relative(book, file)})`);
    }
  }
  assert.deepEqual(broken, []);
});

test("files of the repository that are not in the book are named, not linked", () => {
  const page = read(join(book, "faq.html"));
  assert.match(page, /README \(<code>README\.md<\/code> in the repository\)/);
});

test("what is beside a name is seen with it, and pictures can be read on a phone", async () => {
  const args = ["--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args, timeout: BUSY_MS });
  after(() => browser.close());
  const open = async (viewport, name) => {
    const page = await browser.newPage({ viewport });
    page.setDefaultTimeout(BUSY_MS);
    await page.goto(`file://${book}/${name}.html`);
    return page;
  };
  for (const name of ["metrics", "guide/options", "guide/logs", "troubleshooting", "admin"]) {
    const page = await open({ width: 1280, height: 800 }, name);
    const hidden = await page.locator(".table-wrapper").evaluateAll((all) => all.map((one) => one.scrollWidth - one.clientWidth));
    assert.ok(hidden.length > 2 && hidden.every((pixels) => pixels <= 40), `${name}: ${hidden}`);
    await page.close();
  }
  const phone = await open({ width: 390, height: 844 }, "concepts");
  const wide = await phone.locator("main label > img").evaluateAll((all) => all.map((one) => one.clientWidth));
  assert.ok(wide.length === 2 && wide.every((pixels) => pixels >= 600), `${wide}`);
  assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth), 390, "the page itself does not move");
});
