// A preprocessor for mdBook: a link from a page to a file of the repository that is not in the book, such as
// `[the chat](../examples/chat/main.rs)`, would lead nowhere. It becomes the text with the file's path behind it, or, if
// `[preprocessor.outside]` in book.toml has `files = "https://…/blob/main/"`, a link to the file there.

import { dirname, join, normalize } from "node:path";
import { readFileSync } from "node:fs";

if (process.argv[2] === "supports") process.exit(0);

const [context, book] = JSON.parse(readFileSync(0, "utf8"));
const source = context.config.book.src;
const files = context.config.preprocessor?.outside?.files;

// Neither in fenced code nor in code spans; a label may have code in it.
const FENCE = /^( *)(```|~~~).*?^\1?\2[^\n]*$/gms;
const LINK = /\[((?:[^\]`]|`[^`]*`)*)\]\((\.\.?\/[^)\s#]*)(#[^)\s]*)?\)/g;

const relink = (folder) => (whole, label, target, anchor = "") => {
    const path = normalize(join(source, folder, target));
    if (path.startsWith(`${source}/`)) return whole;
    if (files) return `[${label}](${files}${path}${anchor})`;
    return label.includes(path) ? label : `${label} (\`${path}\` in the repository)`;
};

function outsideFences(text, change) {
    let result = "";
    let end = 0;
    for (const fence of text.matchAll(FENCE)) {
        result += change(text.slice(end, fence.index)) + fence[0];
        end = fence.index + fence[0].length;
    }
    return result + change(text.slice(end));
}

function visit(item) {
    const chapter = item.Chapter;
    if (!chapter) return;
    if (chapter.path) {
        const replace = relink(dirname(chapter.path));
        chapter.content = outsideFences(chapter.content, (text) => text.replace(LINK, replace));
    }
    chapter.sub_items.forEach(visit);
}

(book.items ?? book.sections).forEach(visit);
process.stdout.write(JSON.stringify(book));
