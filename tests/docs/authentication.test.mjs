// The programs of docs/authentication.md: each becomes a project of its own, is built against the packaged crate and
// asked by the official client. What is not as written: the port.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { block, root } from "./page.mjs";
import { freePort, start, until } from "./processes.mjs";
import { building, newProject } from "./project.mjs";

const { io } = createRequire(`${root}tests/e2e/`)("socket.io-client");
const BUILDING = 900;

/** Builds and runs a program of the page while the tests of the enclosing `describe` run. */
function useProgram(name, env = {}) {
  const program = { clients: [] };
  before(async () => {
    const port = await freePort();
    program.url = `http://127.0.0.1:${port}`;
    const folder = await newProject(name, block("authentication.md", "run", name));
    const source = block("authentication.md", "program", name).replace("3000", String(port));
    writeFileSync(`${folder}/src/main.rs`, source);
    const options = { cwd: folder, env: { ...building, ...env } };
    program.server = start("cargo", ["run", "--quiet"], options);
    await until(
      () => {
        assert.equal(program.server.child.exitCode, null, program.server.log);
        return fetch(`${program.url}/socket.io/socket.io.min.js`).then((answer) => answer.ok);
      },
      `the program ${name} answers`,
      BUILDING,
    );
  });
  after(async () => {
    program.clients.forEach((client) => client.disconnect());
    await program.server?.stop("SIGKILL");
  });
  /** A client, when it is in or was refused: then `refusal` is why. */
  program.client = async (options) => {
    const client = io(program.url, { forceNew: true, reconnection: false, ...options });
    program.clients.push(client);
    client.heard = [];
    client.onAny((event) => client.heard.push(event));
    client.on("connect_error", (error) => (client.refusal = error));
    client.on("disconnect", (reason) => (client.left = reason));
    await until(() => client.connected || client.refusal, "it is in, or refused", 30);
    return client;
  };
  return program;
}

const ask = (client, ...args) => client.timeout(20_000).emitWithAck(...args);

describe("a bearer token in auth", () => {
  const SECRET = "a secret of the test";
  const program = useProgram("jwt", { JWT_SECRET: SECRET });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = () => Math.floor(Date.now() / 1000);
  function token(claims, header = { alg: "HS256", typ: "JWT" }, secret = SECRET) {
    const signed = `${part(header)}.${part({ sub: "ann", role: "user", exp: now() + 600, ...claims })}`;
    return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
  }

  test("who has a valid token is in", async () => {
    const ann = await program.client({ auth: { token: token({}) } });
    assert.equal(await ask(ann, "whoami"), "ann");
    assert.equal((await ask(ann, "close room", "lobby")).error, "admins only");
    const admin = await program.client({ auth: { token: token({ sub: "eve", role: "admin" }) } });
    assert.equal(await ask(admin, "close room", "lobby"), "closed");
  });

  test("no token, one of another secret, an expired one, or one without signature is refused with data", async () => {
    const wrong = [
      undefined,
      token({}, undefined, "another secret"),
      token({ exp: now() - 600 }),
      `${part({ alg: "none" })}.${part({ sub: "ann", role: "admin", exp: now() + 600 })}.`,
    ];
    for (const each of wrong) {
      const { refusal } = await program.client({ auth: { token: each } });
      assert.equal(refusal?.message, "not authorized", each);
      assert.equal(typeof refusal.data.reason, "string", each);
    }
  });

  test("a socket lives as long as its token, and longer with a new one", async () => {
    const [ann, ben] = await Promise.all([
      program.client({ auth: { token: token({ exp: now() + 15 }) } }),
      program.client({ auth: { token: token({ sub: "ben", exp: now() + 15 }) } }),
    ]);
    assert.equal((await ask(ben, "refresh", token({ sub: "ann" }))).error, "another user");
    assert.equal(await ask(ben, "refresh", token({ sub: "ben" })), "refreshed");
    await until(() => ann.left, "its time is over", 30);
    assert.equal(ann.left, "io server disconnect");
    assert.deepEqual(ann.heard, ["token please"]);
    assert.equal(await ask(ben, "whoami"), "ben");
  });
});

describe("a cookie of the session", () => {
  const program = useProgram("cookie");
  const login = (password) =>
    fetch(`${program.url}/login`, { method: "POST", body: new URLSearchParams({ name: "ann", password }) });

  test("who is logged in is in", async () => {
    const answer = await login("open sesame");
    const cookie = answer.headers.get("set-cookie").split(";")[0];
    assert.doesNotMatch(cookie, /ann/, "it cannot be read");
    for (const transports of [["polling"], ["websocket"]]) {
      const ann = await program.client({ transports, extraHeaders: { cookie: `theme=dark; ${cookie}` } });
      assert.equal(ann.refusal, undefined);
      assert.equal(await ask(ann, "whoami"), "ann");
    }
    const foreign = { cookie, origin: "https://evil.example" };
    assert.ok((await program.client({ transports: ["websocket"], extraHeaders: foreign })).refusal, "a foreign page");
  });

  test("who is not, or has made a cookie, is refused", async () => {
    assert.equal((await login("please")).status, 401);
    for (const cookie of ["theme=dark", "user=ann", "user=%"]) {
      const { refusal } = await program.client({ extraHeaders: { cookie } });
      assert.equal(refusal?.message, "not logged in", cookie);
    }
  });
});
