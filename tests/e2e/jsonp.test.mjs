// JSONP (feature E4): polling by script elements and forms, by hand and with the official client on a page that is just
// able to do that.
import eio from "engine.io-client-v3";
import io from "socket.io-client-v2";
import { test, greenroomOnly, assert, describe, useServer, within, show, Inbox, SEPARATOR } from "./support.mjs";
import { request, payload, packets } from "./revision3.mjs";

const server = useServer({ ALLOW_EIO3: "1" });

/** What the script gives to the function of the page, and the number of that function. */
function run(script) {
  const calls = [];
  const functions = new Proxy({}, { get: (_, number) => (body) => calls.push([number, body]) });
  new Function("___eio", script)(functions);
  assert.equal(calls.length, 1, script);
  return calls[0];
}

/** A session by hand. */
class Page {
  static async open({ eio: revision = 3, query = "&j=0&b64=1", path = "/engine.io/" } = {}) {
    const page = new Page();
    page.path = `${path}?EIO=${revision}&transport=polling`;
    page.opening = await request(server, { path: page.path + query });
    const [number, body] = run(page.opening.text);
    page.number = number;
    const open = revision === 3 ? packets(body)[0] : body.split(SEPARATOR)[0];
    assert.equal(open[0], "0");
    page.sid = JSON.parse(open.slice(1)).sid;
    page.path += `&sid=${page.sid}`;
    return page;
  }

  get(query = "&j=0") {
    return request(server, { path: this.path + query });
  }

  post(body, type = "application/x-www-form-urlencoded") {
    return request(server, { method: "POST", path: `${this.path}&j=0`, body, headers: { "content-type": type } });
  }

  /** Sends a body in a form, as a client writes it. */
  async send(body) {
    const escaped = body.replaceAll("\\n", "\\\n").replaceAll("\n", "\\n");
    const answer = await this.post(new URLSearchParams({ d: escaped }).toString());
    assert.deepEqual([answer.status, answer.text, answer.headers["content-type"]], [200, "ok", "text/html"]);
  }

  async poll() {
    const answer = await this.get();
    assert.equal(answer.status, 200);
    return run(answer.text)[1];
  }
}

const TEXTS = ["hello", "é 漢字 👍🏽", "\u2028\u2029", "\n", "\\n", "\\\\n", "a\nb\\nc\\\\nd\n", "\r\n", "\\", "\"'</script><!--", "a+b%20&d=1", "\u0000\x1e\x7f"];

describe("by hand", () => {
  test("the open packet is the argument of a call", async () => {
    const page = await Page.open();
    assert.equal(page.number, "0");
    assert.match(page.opening.text, /^___eio\[0\]\("\d+:0\{\\"sid\\":/);
    assert.ok(page.opening.text.endsWith(");"));
    assert.equal(page.opening.headers["content-type"], "text/plain; charset=UTF-8");
    assert.equal(page.opening.headers["content-length"], String(page.opening.bytes.length));
    assert.equal(page.opening.headers["cache-control"], "no-store");
  });

  for (const [query, number] of [["&j=17", "17"], ["&j=", ""], ["&j=a1%3Cb%3E2", "12"], ["&j=alert(1)", "1"], ["&j=1&j=2", "2"]]) {
    test(`only digits reach the script: ${query}`, async () => {
      const { text } = await request(server, { path: `/engine.io/?EIO=3&transport=polling${query}` });
      assert.ok(text.startsWith(`___eio[${number}]("`), text);
    });
  }

  test("the session remembers the function; a plain session stays plain", async () => {
    const page = await Page.open({ query: "&j=3&b64=1" });
    await page.send(payload("4x"));
    assert.equal((await page.get("&j=8")).text, '___eio[3]("2:4x");');
    const plain = await request(server, { path: "/engine.io/?EIO=3&transport=polling" });
    const { sid } = JSON.parse(packets(plain.text)[0].slice(1));
    const path = `/engine.io/?EIO=3&transport=polling&sid=${sid}&j=0`;
    await request(server, { method: "POST", path, body: payload("4x") });
    assert.equal((await request(server, { path })).text, "2:4x");
  });

  for (const revision of [3, 4]) {
    test(`texts survive forms and scripts, revision ${revision}`, async () => {
      const page = await Page.open({ eio: revision });
      for (const text of TEXTS) {
        await page.send(revision === 3 ? payload(`4${text}`, "4!") : `4${text.replaceAll(SEPARATOR, "")}${SEPARATOR}4!`);
        const body = await page.poll();
        const got = revision === 3 ? packets(body) : body.split(SEPARATOR);
        assert.deepEqual(got, [`4${revision === 3 ? text : text.replaceAll(SEPARATOR, "")}`, "4!"], show(text));
      }
    });
  }

  test("an answer is the literal of the reference", async () => {
    const page = await Page.open();
    await page.send(payload("4\u2028\u2029\"\\/\b\f\n\r\t\u0001\x7fé"));
    assert.equal((await page.get()).text, '___eio[0]("14:4\\u2028\\u2029\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7fé");');
  });

  test("binary travels as text", async () => {
    for (const [revision, body] of [[3, "10:b4AQIDBA==2:4x"], [4, `bAQIDBA==${SEPARATOR}4x`]]) {
      const page = await Page.open({ eio: revision });
      await page.send(body);
      assert.equal(await page.poll(), body);
    }
  });

  greenroomOnly("binary travels as text, also if nobody asked for it", "the page gets the JSON of a Node.js buffer", async () => {
    const page = await Page.open({ query: "&j=0" });
    await page.send("10:b4AQIDBA==");
    assert.equal(await page.poll(), "10:b4AQIDBA==");
  });

  test("a form without the field, or with two, brings nothing", async () => {
    const page = await Page.open();
    for (const form of ["", "2:4a", "e=2:4a", "d=2:4a&d=2:4b", `${"x=1&".repeat(1000)}d=2:4a`]) {
      const answer = await page.post(form);
      assert.deepEqual([answer.status, answer.text], [200, "ok"], form.slice(0, 20));
    }
    await page.send("2:4b");
    assert.equal(await page.poll(), "2:4b");
  });

  test("the type of the form does not matter, and a broken escape is text", async () => {
    const page = await Page.open();
    await page.post("d=4:4%zz", "text/plain");
    await page.post("d=5%3A4a+%2B+", undefined);
    assert.equal(await page.poll(), "4:4%zz5:4a + ");
  });

  test("a field that is no payload ends the session", async () => {
    for (const form of ["d=", "d=oops", "d=9:4a"]) {
      const page = await Page.open();
      await page.post(form);
      const answer = await page.get();
      assert.deepEqual([answer.status, answer.text], [400, '{"code":1,"message":"Session ID unknown"}']);
    }
  });

  test("a form that is too large", async () => {
    const page = await Page.open();
    assert.equal((await page.post(`d=${"x".repeat(1_000_000)}`)).status, 413);
    await page.send("2:4a");
    assert.equal(await page.poll(), "2:4a");
  });

  test("a client that closes", async () => {
    const page = await Page.open();
    const poll = page.poll();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await page.send("1:1");
    assert.equal(await poll, "1:6");
  });

  test("refusals are no scripts", async () => {
    const answer = await request(server, { path: "/engine.io/?EIO=3&transport=polling&j=0&sid=nobody" });
    assert.deepEqual([answer.status, answer.text], [400, '{"code":1,"message":"Session ID unknown"}']);
  });
});

/** As much of a page as the client needs: script elements that are fetched and run, forms that are posted. */
function page() {
  class Element {
    style = {};
    children = [];

    appendChild(child) {
      this.children.push(child);
      child.parentNode = this;
      child.inserted?.();
      return child;
    }

    insertBefore(child) {
      return this.appendChild(child);
    }

    removeChild(child) {
      this.children.splice(this.children.indexOf(child), 1);
      child.parentNode = null;
    }

    setAttribute() {}
  }
  class Script extends Element {
    async inserted() {
      try {
        const url = new URL(this.src);
        const { status, text } = await request(server, { path: url.pathname + url.search });
        assert.equal(status, 200, text);
        if (this.parentNode) new Function(text)();
      } catch (error) {
        this.onerror(error);
      }
    }
  }
  class Form extends Element {
    async submit() {
      const [area, frame] = this.children;
      const value = area.value.replace(/\r\n|\r|\n/g, "\r\n"); // as browsers do
      const url = new URL(this.action);
      const body = new URLSearchParams({ [area.name]: value }).toString();
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const answer = await request(server, { method: "POST", path: url.pathname + url.search, body, headers }).catch(() => null);
      if (answer?.status === 200) frame.onload();
    }
  }
  const kinds = { script: Script, form: Form };
  return {
    createElement: (name) => new (kinds[name] ?? Element)(),
    getElementsByTagName: () => [],
    body: new Element(),
    head: new Element(),
  };
}

describe("the official clients", () => {
  globalThis.document = page();
  const options = { transports: ["polling"], forceJSONP: true };

  test("Engine.IO: texts and binary", async (t) => {
    const socket = eio(server.wsUrl, { path: "/engine.io", ...options });
    t.after(() => socket.close());
    const inbox = new Inbox();
    socket.on("message", (data) => inbox.push(data));
    await within(new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject)), "open");
    assert.equal(socket.transport.constructor.name, "JSONPPolling");
    // a browser changes a carriage return by itself
    const sent = [...TEXTS.filter((text) => !text.includes("\r")), Buffer.from([0, 1, 255]), "last"];
    for (const data of sent) socket.send(data);
    for (const data of sent) {
      const got = await inbox.take();
      if (typeof data === "string") assert.equal(got, data);
      else assert.deepEqual(Buffer.from(got), data);
    }
  });

  test("Socket.IO: events, acks and binary", async (t) => {
    const socket = io(`${server.url}/`, { forceNew: true, reconnection: false, ...options });
    t.after(() => socket.close());
    await within(new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject)), "connect");
    const answer = await within(
      new Promise((resolve) => socket.emit("message-with-ack", "a\nb\\nc", Buffer.from([7]), (...args) => resolve(args))), "ack",
    );
    assert.equal(answer[0], "a\nb\\nc");
    assert.deepEqual(Buffer.from(answer[1]), Buffer.from([7]));
  });
});
