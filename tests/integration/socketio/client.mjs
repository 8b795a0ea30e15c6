// The stock socket.io-client, driven by lines of JSON. Arguments: url, options as JSON.
// Prints what happens as JSON arrays; takes ["emit", name, ...arguments], ["ask", name, ...arguments], ["cut"],
// ["close"] and ["open"] from its standard input.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.env.LIVEPUSH_NODE);
const { io } = require("socket.io-client");

const say = (...words) => console.log(JSON.stringify(words));
const [url, options] = [process.argv[2], JSON.parse(process.argv[3])];
const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 100, ...options });

// "upgrade" is printed behind the welcome, whichever comes first.
let upgraded, welcomed;
const tell = () => {
  if (upgraded && welcomed) say("upgrade");
};
socket.io.on("open", () => {
  socket.io.engine.once("upgrade", () => {
    upgraded = true;
    tell();
  });
});

socket.on("connect", () => {
  say("connect", { recovered: socket.recovered });
});
socket.on("connect_error", (error) => say("connect_error", { message: error.message, data: error.data ?? null, active: socket.active }));
socket.on("disconnect", (reason) => say("disconnect", { reason, active: socket.active }));
socket.onAny((name, ...args) => say("event", name, ...args));
socket.once("livepush:welcome", () => {
  welcomed = true;
  tell();
});

const commands = {
  emit: (...event) => socket.emit(...event),
  ask: (...event) => socket.emit(...event, (...answer) => say("answer", ...answer)),
  cut: () => socket.io.engine.close(),
  drop: () => socket.io.engine.transport.close(),
  close: () => socket.close(),
  open: () => socket.open(),
};
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [command, ...rest] = JSON.parse(line);
    commands[command](...rest);
  })
  .on("close", () => process.exit(0));
