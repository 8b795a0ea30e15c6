// Positions: what a page tells the next process, and what it takes for missing.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, plain } from "./page.mjs";

const CLIENT = { audience: "client" };

function listening(...names) {
  const page = new Page();
  page.heard = [];
  page.reloads = [];
  for (const name of names) page.livepush.on(name, "*", (data, event) => page.heard.push(`${name} ${event.id}`));
  page.livepush.onResync((channel, why) => page.reloads.push(`${channel} ${why}`));
  return page.ready();
}

// What the next connection's hello names.
function greeting(page) {
  page.socket.end();
  page.clock.advance(4000);
  page.socket.accept();
  return plain(page.socket.sent[0].channels);
}

test("each message moves the position of its own channel; welcome and heartbeat move all that are granted", () => {
  const page = listening("orders", "chat");
  page.welcome({ orders: CLIENT, chat: CLIENT }, { at: "p.1" });
  assert.deepEqual(greeting(page), { orders: "p.1", chat: "p.1" });
  page.welcome({ orders: CLIENT, chat: CLIENT }, { at: "p.2" });
  page.event(1, { at: "p.3" });
  page.socket.say({ op: "resync", channel: "chat", why: "slow", at: "p.4" });
  assert.deepEqual(greeting(page), { orders: "p.3", chat: "p.4" });
  page.welcome({ orders: CLIENT, chat: CLIENT }, { at: "p.5" });
  page.socket.say({ op: "gone", channel: "chat", why: "permission" });
  page.socket.say({ op: "heartbeat", at: "p.6" });
  assert.deepEqual(greeting(page), { orders: "p.6", chat: "p.5" });
});

test("a position comes with ok and back too, and a subscribe names the one that a channel had", () => {
  const page = listening("orders", "orders.5");
  page.welcome({ orders: CLIENT }, { at: "p.1" });
  assert.equal("since" in page.socket.sent[1], false);
  page.socket.say({ op: "ok", n: 1, channel: "orders.5", audience: "client", at: "p.2" });
  page.socket.say({ op: "gone", channel: "orders", why: "permission" });
  page.socket.say({ op: "back", channel: "orders", audience: "client", at: "p.3" });
  assert.deepEqual(greeting(page), { orders: "p.3", "orders.5": "p.2" });
  page.welcome({ orders: CLIENT }, { at: "p.4" });
  page.livepush.on("orders.5", "lock", () => {});
  const { op, channel, since } = page.socket.sent[1];
  assert.deepEqual([op, channel, since], ["subscribe", "orders.5", "p.2"]);
});

test("an event before the first welcome is the first event, and no reason to load anything again", () => {
  const page = listening("orders");
  page.socket.accept();
  page.event(1, { at: "p.1" });
  page.welcome({ orders: CLIENT }, { at: "p.2" });
  page.clock.advance(30000);
  assert.deepEqual([page.heard, page.reloads], [["orders a1b2-1"], []]);
});

test("a channel that was refused keeps the position it had", () => {
  const page = listening("orders", "chat");
  page.welcome({ orders: CLIENT, chat: CLIENT }, { at: "p.1" });
  greeting(page);
  page.welcome({ orders: CLIENT }, { at: "p.2" });
  page.socket.say({ op: "heartbeat", at: "p.3" });
  assert.deepEqual(greeting(page), { orders: "p.3", chat: "p.1" });
});

test("what is no position, or too long for one, moves nothing", () => {
  const page = listening("orders");
  page.welcome({ orders: CLIENT }, { at: "p.1" });
  for (const at of [null, 5, {}, undefined, "x".repeat(201)]) page.event(1, { at });
  assert.deepEqual(greeting(page), { orders: "p.1" });
});

test("a replay is handed on as it comes, before the welcome, and a connection cut within it goes on from there", () => {
  const page = listening("orders", "chat");
  page.welcome({ orders: CLIENT, chat: CLIENT }, { at: "p.1" });
  greeting(page);
  page.event(1, { at: "p.2" });
  page.event(2, { at: "p.3" });
  assert.deepEqual(greeting(page), { orders: "p.3", chat: "p.1" });
  page.event(2, { at: "q.2" });
  page.event(1, { at: "q.3", channel: "chat" });
  page.welcome({ orders: { ...CLIENT, replayed: 1 }, chat: { ...CLIENT, replayed: 1 } }, { at: "q.4" });
  page.clock.advance(30000);
  assert.deepEqual(page.heard, ["orders a1b2-1", "orders a1b2-2", "chat a1b2-1"]);
  assert.deepEqual(page.reloads, []);
});

test("only what could not be replayed reloads after an outage", () => {
  const page = listening("orders", "chat", "news");
  page.welcome({ orders: CLIENT, chat: CLIENT }, { at: "p.1" });
  greeting(page);
  page.socket.say({ op: "resync", channel: "orders", why: "hole", at: "q.1" });
  page.welcome({ orders: CLIENT, chat: { ...CLIENT, resync: "trimmed" }, news: CLIENT }, { at: "q.2" });
  page.clock.advance(30000);
  assert.deepEqual(page.reloads.sort(), ["chat trimmed", "news restart", "orders hole"]);
  assert.deepEqual(greeting(page), { orders: "q.2", chat: "q.2", news: "q.2" });
});

test("a reload that could not come yet is not forgotten for the position that stands behind it", () => {
  const page = listening("orders", "chat");
  page.welcome({ orders: CLIENT, chat: CLIENT }, { at: "p.1" });
  page.socket.say({ op: "resync", channel: "orders", why: "hole", at: "p.2" });
  page.socket.say({ op: "resync", channel: "chat", why: "hole", at: "p.2" });
  page.socket.say({ op: "gone", channel: "orders", why: "permission" });
  assert.deepEqual(greeting(page), { orders: "p.2", chat: "p.2" });
  page.clock.advance(15000);
  assert.deepEqual(page.reloads, []);
  page.welcome({ orders: CLIENT, chat: CLIENT }, { at: "q.1" });
  page.clock.advance(30000);
  assert.deepEqual(page.reloads.sort(), ["chat hole", "orders hole"]);
});

test("a channel given up with its last callback begins anew", () => {
  const page = listening("orders");
  page.welcome({ orders: CLIENT }, { at: "p.1" });
  const off = page.livepush.on("orders.5", "*", () => {});
  page.socket.say({ op: "ok", n: 1, channel: "orders.5", audience: "client", at: "p.2" });
  page.socket.say({ op: "resync", channel: "orders.5", why: "hole", at: "p.3" });
  off();
  page.socket.say({ op: "ok", n: 2, channel: "orders.5" });
  page.livepush.on("orders.5", "*", () => {});
  assert.equal("since" in page.socket.sent[3], false);
  page.socket.say({ op: "ok", n: 3, channel: "orders.5", audience: "client", at: "p.4" });
  page.clock.advance(30000);
  assert.deepEqual(page.reloads, []);
});

test("an older version of a key is not handed on; what has no key, or no version, is", () => {
  const page = listening("orders", "chat");
  page.welcome({ orders: CLIENT, chat: CLIENT });
  const say = (id, fields) => page.event(1, { id: `${id}-1`, ...fields });
  say("a", { key: "order-5", version: 3 });
  say("b", { key: "order-5", version: 2, at: "p.9" });
  say("c", { key: "order-5", version: 3 });
  say("d", { key: "order-6", version: 1 });
  say("e", { key: "order-5" });
  say("f", { key: "order-5", version: 1, channel: "chat" });
  say("g", { version: 1 });
  const heard = ["orders a-1", "orders c-1", "orders d-1", "orders e-1", "chat f-1", "orders g-1"];
  assert.deepEqual(page.heard, heard);
  assert.equal(greeting(page).orders, "p.9");
});

test("the newest versions are remembered for 4096 keys", () => {
  const page = listening("orders");
  page.welcome();
  for (let i = 0; i <= 4096; i += 1) page.event(i + 1, { key: `order-${i}`, version: 2 });
  page.event(5000, { key: "order-0", version: 1 });
  page.event(5001, { key: "order-4096", version: 1 });
  assert.equal(page.heard.length, 4098);
});

test("make before break: both connections count, and each event once", () => {
  const page = listening("orders");
  page.welcome({ orders: CLIENT }, { at: "p.1" });
  page.event(1, { at: "p.2" });
  page.socket.say({ op: "goaway", after: 0 });
  page.clock.advance(0);
  const [first, second] = page.sockets;
  second.accept();
  assert.deepEqual(plain(second.sent[0].channels), { orders: "p.2" });
  const event = { op: "event", channel: "orders", type: "lock", data: {} };
  first.say({ ...event, id: "a1b2-2", at: "p.3" });
  second.say({ ...event, id: "a1b2-2", at: "q.3" });
  second.say({ ...event, id: "a1b2-3", at: "q.4" });
  first.say({ ...event, id: "a1b2-3", at: "p.4" });
  first.say({ op: "resync", channel: "orders", why: "slow", at: "p.5" });
  second.say({ op: "resync", channel: "orders", why: "hole", at: "q.4" });
  second.say({ ...event, id: "a1b2-4", at: "q.4" });
  page.welcome({ orders: CLIENT }, { at: "q.5" });
  page.clock.advance(30000);
  assert.deepEqual(page.heard, ["orders a1b2-1", "orders a1b2-2", "orders a1b2-3", "orders a1b2-4"]);
  assert.deepEqual(page.reloads, ["orders slow", "orders hole"]);
  assert.deepEqual(greeting(page), { orders: "q.5" });
});

test("make before break: what the hello did not name is subscribed again, from where it stands", () => {
  const page = listening("orders");
  page.welcome({ orders: CLIENT }, { at: "p.1" });
  page.socket.say({ op: "goaway", after: 0 });
  page.clock.advance(0);
  page.socket.accept();
  page.livepush.on("orders.5", "*", () => {});
  const [first, second] = page.sockets;
  first.say({ op: "ok", n: 1, channel: "orders.5", audience: "client", at: "p.2" });
  page.welcome({ orders: CLIENT }, { at: "q.5" });
  const { op, channel, since } = second.sent[1];
  assert.deepEqual([op, channel, since], ["subscribe", "orders.5", "p.2"]);
});

test("make before break: a channel that got its first position after the second hello is reloaded", () => {
  const page = listening("orders", "orders.5");
  page.welcome({ orders: CLIENT }, { at: "p.1" });
  page.socket.say({ op: "goaway", after: 0 });
  page.clock.advance(0);
  const [first, second] = page.sockets;
  second.accept();
  assert.deepEqual(plain(second.sent[0].channels), { orders: "p.1", "orders.5": null });
  first.say({ op: "ok", n: 1, channel: "orders.5", audience: "client", at: "p.2" });
  page.welcome({ orders: CLIENT, "orders.5": CLIENT }, { at: "q.1" });
  page.clock.advance(30000);
  assert.deepEqual(page.reloads, ["orders.5 restart"]);
});

test("a hello names at most 150 channels, the declared ones first; the others are subscribed after it", () => {
  const page = listening();
  for (let i = 0; i < 200; i += 1) page.livepush.on(`orders.${i}`, "*", () => {});
  page.welcome({ orders: CLIENT }, { at: "p.1" });
  const names = Object.keys(greeting(page));
  assert.deepEqual([names.length, names[0]], [150, "orders"]);
  const granted = Object.fromEntries(names.map((name) => [name, CLIENT]));
  page.welcome(granted, { at: "q.1" });
  page.clock.advance(5000);
  assert.equal(page.socket.sent.filter(({ op }) => op === "subscribe").length, 51);
});
