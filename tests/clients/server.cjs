// Listens with npm `node-hl7-server`, prints its port, and answers every message with AA.
//
// server.cjs PORT CERT|- KEY|- CLIENT-CA|-

const fs = require("node:fs");
const { Server } = require("node-hl7-server");

const [port, cert, key, ca] = process.argv.slice(2);
const read = (file) => (file === "-" ? undefined : fs.readFileSync(file));
const tls =
  cert === "-"
    ? undefined
    : { cert: read(cert), key: read(key), ca: read(ca), requestCert: ca !== "-", rejectUnauthorized: ca !== "-" };
const server = new Server({ bindAddress: "127.0.0.1", ...(tls ? { tls } : {}) });
const inbound = server.createInbound({ port: Number(port) }, async (request, response) => {
  await response.sendResponse("AA");
});
inbound.on("listen", () => console.log(port));
inbound.on("error", (fault) => {
  console.error(fault);
  process.exit(1);
});
