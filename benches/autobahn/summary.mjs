// node summary.mjs REPORTS: what the suite has found, as a table; fails if a case did.
import { readFileSync } from "node:fs";

const [reports] = process.argv.slice(2);
/** As the suite says it. Cases that only inform have no right answer, or are of extensions that are not offered. */
const FINE = ["OK", "INFORMATIONAL", "UNIMPLEMENTED"];
let failed = 0;
console.log("| server | cases | ok | informational | not offered | failed, or not closed as asked |");
console.log("| --- | --- | --- | --- | --- | --- |");
for (const name of ["plain", "deflate"]) {
  const cases = Object.entries(JSON.parse(readFileSync(`${reports}/${name}/index.json`)).greenroom);
  const count = (what) => cases.filter(([, { behavior }]) => behavior === what).length;
  const bad = cases.filter(([, { behavior, behaviorClose }]) => ![behavior, behaviorClose].every((what) => FINE.includes(what)));
  failed += bad.length;
  const list = bad.map(([id, { behavior, behaviorClose }]) => `${id} (${behavior}, ${behaviorClose})`).join(", ");
  console.log(`| ${name} | ${cases.length} | ${count("OK")} | ${count("INFORMATIONAL")} | ${count("UNIMPLEMENTED")} | ${list || "none"} |`);
}
process.exit(failed > 0 || Number.isNaN(failed) ? 1 : 0);
