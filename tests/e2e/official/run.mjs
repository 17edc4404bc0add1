// Runs an official protocol test suite, unmodified, against the testbed: gives it the globals that it expects (a describe and an it
// like those of mocha, chai, fetch, WebSocket), and leads its fixed address to the server under test.
import chai from "chai";
import chaiString from "chai-string";
import { WebSocket } from "ws";
import { describe, it } from "node:test";
import { useServer } from "../support.mjs";

const ADDRESS = "localhost:3000"; // written in the suites
const SETTINGS = { PING_INTERVAL: "300", PING_TIMEOUT: "200", MAX_HTTP_BUFFER_SIZE: "1000000", CONNECT_TIMEOUT: "1500" };

const SLACK = 50; // ms

export async function officialSuite(folder, settings = {}) {
  const server = useServer({ ...SETTINGS, ...settings });
  const here = (url) => url.replace(ADDRESS, `${server.host}:${server.port}`);
  const nodeFetch = globalThis.fetch;
  globalThis.fetch = (url, options) => nodeFetch(here(url), options);
  globalThis.WebSocket = class extends WebSocket {
    constructor(url) {
      // as in a browser, "open" and the first "message" are not one event loop turn: the suites set a listener in between
      super(here(url), { allowSynchronousEvents: false });
    }
  };
  // they wait exactly as long as the server does before a ping timeout: whoever is later must be the client
  const nodeTimeout = globalThis.setTimeout;
  globalThis.setTimeout = (callback, ms = 0, ...args) => nodeTimeout(callback, ms + SLACK, ...args);
  chai.use(chaiString);
  globalThis.chai = chai;

  let limit = 2000; // that of mocha, in ms
  globalThis.describe = (title, body) =>
    describe(title, () => {
      const outer = limit;
      body.call({ timeout: (ms) => (limit = ms) });
      limit = outer;
    });
  globalThis.it = Object.assign((title, body) => it(title, { timeout: limit }, () => body()), { skip: (title) => it.skip(title) });

  await import(`./${folder}/test-suite.js`);
}
