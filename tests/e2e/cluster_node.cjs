// What reference.mjs has no settings for, put in before it starts: SUBSCRIPTION_MODE of the sharded adapter and
// CHANNEL_PREFIX, and a Redis Cluster, if REDIS_URL has several addresses with commas.

const Module = require("node:module");

/** Other modules get these values instead. */
function replace(name, make) {
  const [original, file] = [require(name), require.resolve(name)];
  // A module of its own, for `import` remembers what the first one exported.
  const module = new Module(file);
  module.exports = Object.assign({ __esModule: true }, original, make(original));
  Object.assign(module, { filename: file, loaded: true });
  require.cache[file] = module;
}

const { REDIS_URL = "", SUBSCRIPTION_MODE, CHANNEL_PREFIX } = process.env;
const opts = (names) => Object.fromEntries(Object.entries(names).filter(([, value]) => value));

if (SUBSCRIPTION_MODE || CHANNEL_PREFIX) {
  replace("@socket.io/redis-adapter", ({ createAdapter, createShardedAdapter }) => ({
    createAdapter: (pub, sub) => createAdapter(pub, sub, opts({ key: CHANNEL_PREFIX })),
    createShardedAdapter: (pub, sub) =>
      createShardedAdapter(pub, sub, opts({ subscriptionMode: SUBSCRIPTION_MODE, channelPrefix: CHANNEL_PREFIX })),
  }));
}
if (REDIS_URL.includes(",")) {
  const rootNodes = REDIS_URL.split(",").map((url) => ({ url }));
  replace("redis", ({ createCluster }) => ({ createClient: () => createCluster({ rootNodes }) }));
}
