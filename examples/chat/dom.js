// The few things that both pages do with elements.

export const byId = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** A colour per name, the same for everybody. */
export function paint(avatar, name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 100_003;
  avatar.style.setProperty("--hue", (hash * 137) % 360); // neighbours end up far apart
  avatar.textContent = [...name][0]?.toUpperCase() ?? "?";
  return avatar;
}
