// Sends HL7 files to a listener with npm `node-hl7-client` and prints `CODE CONTROL-ID` for each answer.
//
// client.cjs HOST PORT CA|- CERT|- KEY|- FILE...

const fs = require("node:fs");
const { Client, Message } = require("node-hl7-client");

const [host, port, ca, cert, key, ...files] = process.argv.slice(2);
const read = (file) => (file === "-" ? undefined : fs.readFileSync(file));
const tls = ca === "-" ? undefined : { ca: read(ca), cert: read(cert), key: read(key) };
const client = new Client({ host, ...(tls ? { tls } : {}) });

let left = files.length;
const connection = client.createConnection({ port: Number(port) }, (answer) => {
  const message = answer.getMessage();
  console.log(message.get("MSA.1").toString(), message.get("MSA.2").toString());
  left -= 1;
  if (left === 0) process.exit(0);
  send();
});
connection.on("data.error", (fault) => {
  console.error(fault);
  process.exit(1);
});
connection.on("client.error", (fault) => {
  console.error(fault);
  process.exit(1);
});

const send = () => {
  const text = fs.readFileSync(files[files.length - left], "utf8").replaceAll("\n", "\r");
  connection.sendMessage(new Message({ text }));
};
connection.on("connect", send);
setTimeout(() => {
  console.error("no answer in 30 s");
  process.exit(1);
}, 30_000);
