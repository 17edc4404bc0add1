// Ours. The suite asks for this file under Node.js; ../run.mjs has set the globals already.
