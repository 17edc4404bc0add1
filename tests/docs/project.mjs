// New projects that depend on the packaged crate, in a home of their own that has nothing else.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { block, root } from "./page.mjs";
import { run } from "./processes.mjs";

// The same for all tests and all runs of this checkout: what cargo has built of a crate counts for its path.
export const home = `${tmpdir()}/greenroom-home-${createHash("sha256").update(root).digest("hex").slice(0, 12)}`;
const projects = `${home}/projects`;

/** The environment of the user who lives there, with the cargo of this machine. */
export const env = {
  ...process.env,
  HOME: home,
  CARGO_HOME: process.env.CARGO_HOME ?? `${homedir()}/.cargo`,
  RUSTUP_HOME: process.env.RUSTUP_HOME ?? `${homedir()}/.rustup`,
};
delete env.CARGO_TARGET_DIR;

/** The same for what compiles: kept for the next time, and without what only a debugger reads. */
export const building = {
  ...env,
  CARGO_TARGET_DIR: process.env.TUTORIAL_TARGET ?? `${root}target/tutorial`,
  CARGO_INCREMENTAL: "0",
  CARGO_PROFILE_DEV_DEBUG: "0",
};

export const shell = (text, cwd = home) => run("bash", ["-euxc", text], { cwd, env });

/** Packages the crate and unpacks it beside the projects, as docs/getting-started.md has it. */
export async function unpack() {
  const lines = block("getting-started.md", "run", "repository").trim().split("\n");
  const [unpacking] = lines.slice(-1);
  const [, archive] = unpacking.match(/^tar -xf (\S+) -C/);
  // There may be changes that are not committed.
  await run("bash", ["-euxc", lines[0].replace("--no-verify", "--no-verify --allow-dirty")], { cwd: root, env });
  const sum = createHash("sha256").update(readFileSync(root + archive)).digest("hex");
  const stamp = `${home}/unpacked`;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === sum) return;
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  await run("bash", ["-euxc", lines.slice(1).join("\n")], { cwd: root, env });
  // Files of packages have the time of no day, by which cargo would not notice that they are others.
  const [unpacked] = readdirSync(projects);
  utimesSync(`${projects}/${unpacked}/src/lib.rs`, new Date(), new Date());
  writeFileSync(stamp, sum);
}

/** Where a project is made, empty. */
export function place(name) {
  const folder = `${projects}/${name}`;
  rmSync(folder, { recursive: true, force: true });
  return folder;
}

/** A project beside the unpacked crate, with `more` commands run in it; its folder. */
export async function newProject(name, more) {
  await unpack();
  const folder = place(name);
  const made = block("getting-started.md", "run", "projects").replaceAll("chat", name);
  await shell(`${made}\n${more}`);
  return folder;
}
