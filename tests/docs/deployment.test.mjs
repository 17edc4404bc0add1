// The configurations of docs/deployment.md as they are written, but for the ports: two servers (examples/deploy.rs) behind
// nginx, haproxy and Caddy, and official clients.
//
//   DEPLOY=target/debug/examples/deploy node --test tests/docs/deployment.test.mjs

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { after, before, describe, test } from "node:test";
import { block, root } from "./page.mjs";
import { freePort, run, start, until } from "./processes.mjs";

const { io } = createRequire(`${root}tests/e2e/`)("socket.io-client");

const DEPLOY = process.env.DEPLOY ?? `${root}target/release/examples/deploy`;
const CLIENTS = 20;
process.env.PATH += ":/usr/sbin"; // where Debian has nginx and haproxy
const folder = mkdtempSync(`${tmpdir()}/greenroom-deployment-`);
chmodSync(folder, 0o755); // nginx started by root works as another user
after(() => rmSync(folder, { recursive: true, force: true }));

/** A configuration of the page with ports that are free. */
function config(name, ports) {
  const text = block("deployment.md", "config", name);
  const file = `${folder}/${name}.conf`;
  writeFileSync(file, text.replaceAll("8080", ports.proxy).replaceAll("3001", ports.one).replaceAll("3002", ports.two));
  return file;
}

const PROXIES = {
  // The page's part is for `conf.d/`: what is around it in Debian's nginx.conf, with other folders.
  nginx(file) {
    const outer = `${folder}/nginx-main.conf`;
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${folder}/nginx-${name};`)
      .join(" ");
    writeFileSync(
      outer,
      `daemon off; pid ${folder}/nginx.pid; error_log stderr; worker_processes 2; events { worker_connections 1024; }
       http { access_log off; ${temporary} include ${file}; }`,
    );
    return ["nginx", ["-e", "stderr", "-p", folder, "-c", outer]];
  },
  haproxy: (file) => ["haproxy", ["-db", "-f", file]],
  caddy: (file) => ["caddy", ["run", "--adapter", "caddyfile", "--config", file]],
};

for (const [name, command] of Object.entries(PROXIES)) {
  describe(name, () => {
    const ports = {};
    const servers = {};
    const clients = new Set();
    let proxy;

    async function serve(which) {
      const env = { ...process.env, PORT: String(ports[which]), NAME: which, PROXY: "127.0.0.1", DEADLINE_MS: "15000" };
      servers[which] = start(DEPLOY, [], { env });
      await until(async () => (await fetch(`http://127.0.0.1:${ports[which]}/readyz`)).ok, `server ${which}`);
    }

    /** A client that has been greeted, and the server that did it. */
    async function client(options) {
      const socket = io(`http://127.0.0.1:${ports.proxy}`, { forceNew: true, withCredentials: true, ...options });
      clients.add(socket);
      socket.disconnects = [];
      socket.on("version", (version) => (socket.version = version));
      socket.on("disconnect", (reason) => socket.disconnects.push(reason));
      await until(() => socket.connected && socket.version, `a client of ${JSON.stringify(options)} is in`, 30);
      return socket;
    }

    before(async () => {
      for (const port of ["one", "two", "proxy"]) ports[port] = await freePort();
      await Promise.all([serve("one"), serve("two")]);
      const [program, args] = command(config(name, ports));
      const home = `${folder}/${name}-home`;
      mkdirSync(home);
      // Caddy's own port of administration is taken on a machine that has one.
      const env = { ...process.env, HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home, CADDY_ADMIN: "off" };
      proxy = start(program, args, { env });
      await until(async () => {
        assert.equal(proxy.child.exitCode, null, proxy.log);
        return (await fetch(`http://127.0.0.1:${ports.proxy}/socket.io/socket.io.min.js`)).ok;
      }, `${name} answers`);
    });

    after(async () => {
      for (const socket of clients) socket.disconnect();
      await proxy?.stop("SIGKILL");
      await Promise.all(Object.values(servers).map((server) => server.stop("SIGKILL")));
    });

    test("clients of long-polling stay on their server", async () => {
      const many = await Promise.all(Array.from({ length: CLIENTS }, () => client({ transports: ["polling"] })));
      for (let round = 0; round < 3; round += 1) {
        const answers = await Promise.all(many.map((one) => one.timeout(20_000).emitWithAck("work", 20)));
        assert.deepEqual(answers, many.map(() => 20));
      }
      assert.deepEqual(many.flatMap((one) => one.disconnects), []);
      if (name !== "nginx") {
        assert.deepEqual(new Set(many.map((one) => one.version)), new Set(["one", "two"]), "both have clients");
      }
      many.forEach((one) => one.disconnect());
    });

    test("clients move to a WebSocket, or begin with one", async () => {
      const upgraded = await client({});
      const direct = await client({ transports: ["websocket"] });
      await until(() => upgraded.io.engine.transport.name === "websocket", "the upgrade");
      for (const one of [upgraded, direct]) {
        assert.equal(await one.timeout(20_000).emitWithAck("work", 1), 1);
        assert.deepEqual(one.disconnects, []);
        one.disconnect();
      }
    });

    test("the server knows the address of the client, and believes no client about it", async () => {
      // Not from the address of the proxy, which is trusted.
      const options = { extraHeaders: { "X-Forwarded-For": "192.0.2.1" }, localAddress: "127.0.0.2" };
      const one = await client({ transports: ["websocket"], ...options });
      assert.equal(await one.timeout(20_000).emitWithAck("address"), "127.0.0.2");
      one.disconnect();
    });

    test("a body of a poll may be as large as the server takes", async () => {
      const one = await client({ transports: ["polling"] });
      assert.equal(await one.timeout(20_000).emitWithAck("work", 1, "x".repeat(900_000)), 1);
      one.disconnect();
    });

    test("who is on a server that drains gets the answers it waits for, and comes to the other one", async () => {
      const many = await Promise.all(Array.from({ length: CLIENTS }, () => client({})));
      const answers = Promise.all(many.map((one) => one.timeout(60_000).emitWithAck("work", 3000)));
      // When the server has answered what was sent later, it has got the first, too.
      await Promise.all(many.map((one) => one.timeout(60_000).emitWithAck("work", 0)));
      const ending = many[0].version;
      servers[ending].signal("SIGTERM");
      assert.deepEqual(await answers, many.map(() => 3000));
      await servers[ending].ended;
      const other = ending === "one" ? "two" : "one";
      await until(() => many.every((one) => one.connected && one.version === other), "all are on the other one");
      many.forEach((one) => one.disconnect());
      await serve(ending);
    });
  });
}

test("systemd takes the unit", async () => {
  try {
    await run("systemd-analyze", ["--version"]);
  } catch {
    return test.skip?.("there is no systemd-analyze");
  }
  const unit = block("deployment.md", "config", "systemd").replace("/usr/local/bin/chat", process.execPath);
  const file = `${folder}/chat.service`;
  writeFileSync(file, unit);
  const said = await run("systemd-analyze", ["verify", "--man=no", file]);
  assert.doesNotMatch(said, /chat\.service/, "a line that it does not know");
});
