// The stock sockjs-client as a page has it: client.mjs URL OPTIONS
//
// OPTIONS: {"transports": [...], "headers": {...}}; the headers are what a browser would add to each request.
// Out, a line each: ["open", transport] ["message", data] ["heartbeat"] ["close", code, reason]
// In: ["send", text] ["close"]

import http from "node:http";
import { createRequire } from "node:module";
import readline from "node:readline";

const require = createRequire(process.env.LIVEPUSH_NODE);
const SockJS = require("sockjs-client");
const [url, said] = process.argv.slice(2);
const { transports, headers } = JSON.parse(said);
const say = (...words) => console.log(JSON.stringify(words));

const request = http.request;
http.request = (options, ...more) => request({ ...options, headers: { ...options.headers, ...headers } }, ...more);

const socket = new SockJS(url, null, { transports, transportOptions: { websocket: { headers } } });
socket.onopen = () => say("open", socket.transport);
socket.onmessage = (event) => say("message", event.data);
socket.onheartbeat = () => say("heartbeat");
socket.onclose = (event) => say("close", event.code, event.reason);

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [word, text] = JSON.parse(line);
    if (word === "send") socket.send(text);
    else socket.close();
  })
  .on("close", () => process.exit());
