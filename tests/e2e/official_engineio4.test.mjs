// The official test suite of the Engine.IO protocol, version 4, see official/README.md.
import { officialSuite } from "./official/run.mjs";

await officialSuite("engine.io-v4");
