// The attacks of attacks.mjs: memory stays within bounds, only the attacker is closed, a healthy client is answered. How fast
// it is answered is measured by benches/hostile/run.
import { test, greenroomOnly, describe, startServer } from "./support.mjs";
import { parser } from "./msgpack.mjs";
import { beside, MB } from "./beside.mjs";
import { ATTACKS } from "./attacks.mjs";

describe("attacks with nothing but a connection", () => {
  for (const { name, env = {}, notNode, run } of ATTACKS) {
    const body = async (t) => {
      const server = await startServer(t, env);
      const options = env.PARSER === "msgpack" ? { parser } : {};
      await beside(t, server, () => run(t, server), { options, growth: 150 * MB });
    };
    if (notNode) greenroomOnly(name, notNode, { timeout: 60000 }, body);
    else test(name, { timeout: 60000 }, body);
  }
});
