// The official test suite of the Socket.IO protocol, version 5, see official/README.md.
import { officialSuite } from "./official/run.mjs";

await officialSuite("socket.io-v5");
