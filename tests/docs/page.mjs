// The blocks of a page under docs/ that a test uses as they are written. A comment before a block says what it is:
// `<!-- file: src/main.rs -->` a file, `<!-- run: somewhere -->` commands, and so on.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** `[{ kind, name, language, text }]`, in the order of the page. */
export function blocks(page) {
  const text = readFileSync(`${root}docs/${page}`, "utf8");
  const marked = /^<!-- (\w+): (.+?) -->\n+```(\w*)[^\n]*\n(.*?)^```$/gms;
  const found = [...text.matchAll(marked)].map(([, kind, name, language, text]) => ({ kind, name, language, text }));
  const marks = text.match(/^<!-- \w+: .+? -->$/gm) ?? [];
  if (found.length === 0 || found.length !== marks.length) throw new Error(`${page}: a mark without a block behind it`);
  return found;
}

/** The only block of a name. */
export function block(page, kind, name) {
  const found = blocks(page).filter((block) => block.kind === kind && block.name === name);
  if (found.length !== 1) throw new Error(`${page}: ${found.length} blocks for ${kind}: ${name}`);
  return found[0].text;
}
