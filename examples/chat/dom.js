// The few things that both pages do with elements and names.

export const byId = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/**
 * A name without what cannot be seen or reorders what can: control and format characters, lone surrogates, fillers.
 * The server takes every name as it is, so the names of others are cleaned too. What remains may be empty.
 */
export function cleanName(name) {
  const clean = name
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu, "")
    .replace(/[\p{Z}\u2800]+/gu, " ")
    .trim();
  return /[^\p{Z}\p{M}]/u.test(clean) ? clean : "";
}

export const shownName = (name) => cleanName(name) || "(no visible name)";

/** A colour per name, the same for everybody. */
export function paint(avatar, name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 100_003;
  avatar.style.setProperty("--hue", (hash * 137) % 360); // neighbours end up far apart
  avatar.textContent = [...name][0]?.toUpperCase() ?? "?";
  return avatar;
}
