// The official test suite of the Engine.IO protocol, version 3, see official/README.md.
import { officialSuite } from "./official/run.mjs";

await officialSuite("engine.io-v3", { ALLOW_EIO3: "1" });
