// Channels and events: who hears what, once.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, plain } from "./page.mjs";

function requests(page) {
  return page.socket.sent.slice(1).map(({ op, channel }) => `${op} ${channel}`);
}

function answer(page, audience = "client") {
  const { n, op, channel } = page.socket.sent[page.socket.sent.length - 1];
  page.socket.say(op === "subscribe" ? { op: "ok", n, channel, audience, replayed: 0 } : { op: "ok", n, channel });
}

test("a callback gets the data and the event of its channel and type", () => {
  const page = new Page();
  const heard = [];
  page.livepush.on("orders", "lock", (data, event) => heard.push(["lock", data, event]));
  page.livepush.on("orders", "*", (data, event) => heard.push(["any", event.type]));
  page.livepush.on("orders", "free", () => heard.push("never"));
  page.ready().welcome();
  page.event(1);
  page.event(2, { type: "done" });
  const event = { channel: "orders", type: "lock", id: "a1b2-1", ts: 17, key: null, version: null };
  assert.deepEqual(plain(heard), [["lock", { order: 5 }, event], ["any", "lock"], ["any", "done"]]);
});

test("a declared channel is not asked for; another one is, when the page listens to it", () => {
  const page = new Page();
  page.livepush.on("orders", "*", () => {});
  page.livepush.on("orders.5", "*", () => {});
  page.ready().welcome();
  assert.deepEqual(requests(page), ["subscribe orders.5"]);
  answer(page, "moderator");
  assert.equal(page.livepush.channels["orders.5"], "moderator");
  page.livepush.on("orders.6", "lock", () => {});
  page.livepush.on("orders.6", "free", () => {});
  assert.deepEqual(requests(page), ["subscribe orders.5", "subscribe orders.6"]);
});

test("the last callback that goes ends the subscription, but not that of a declared channel", () => {
  const page = new Page();
  page.ready().welcome();
  const offs = [page.livepush.on("orders.5", "lock", () => {}), page.livepush.on("orders.5", "*", () => {})];
  const declared = page.livepush.on("orders", "*", () => {});
  answer(page);
  offs[0]();
  offs[0]();
  declared();
  assert.deepEqual(requests(page), ["subscribe orders.5"]);
  offs[1]();
  assert.deepEqual(requests(page), ["subscribe orders.5", "unsubscribe orders.5"]);
  answer(page);
  assert.deepEqual(plain(page.livepush.channels), { orders: "client" });
});

test("a page that changes its mind before the answer ends up with what it wants", () => {
  const page = new Page();
  page.ready().welcome();
  const off = page.livepush.on("orders.5", "*", () => {});
  off();
  page.livepush.on("orders.5", "*", () => {})();
  assert.deepEqual(requests(page), ["subscribe orders.5"]);
  answer(page);
  assert.deepEqual(requests(page), ["subscribe orders.5", "unsubscribe orders.5"]);
  page.livepush.on("orders.5", "*", () => {});
  answer(page);
  assert.deepEqual(requests(page), ["subscribe orders.5", "unsubscribe orders.5", "subscribe orders.5"]);
});

test("the hello of a page that comes back names the declared channels and those it listens to", () => {
  const page = new Page();
  page.livepush.on("orders.5", "*", () => {});
  const off = page.livepush.on("orders.6", "*", () => {});
  page.ready().welcome({ orders: { audience: "client" }, "user.7": { audience: "self" } });
  off();
  page.livepush.on("orders.7", "*", () => {});
  page.socket.end();
  page.clock.advance(500);
  page.socket.accept();
  assert.deepEqual(page.socket.sent[0].channels, { "orders.5": null, orders: null, "user.7": null, "orders.7": null });
});

test("a channel that is refused is told once, and asked for again only by the next connection or callback", () => {
  const page = new Page();
  const errors = [];
  page.livepush.onError((error) => errors.push(error));
  page.livepush.on("orders.5", "*", () => {});
  page.ready().welcome();
  page.socket.say({ op: "error", n: 1, code: "forbidden", retry: false, message: "not for you" });
  assert.deepEqual(plain(errors), [{ code: "forbidden", message: "not for you", channel: "orders.5", retry: false }]);
  page.clock.advance(40000);
  assert.equal(requests(page).length, 1);
  page.livepush.on("orders.5", "lock", () => {});
  assert.equal(requests(page).length, 2);
  page.socket.end();
  page.clock.advance(500);
  page.welcome({ orders: { audience: "client" } });
  assert.deepEqual(page.socket.sent[0].channels, { "orders.5": null, orders: null });
  assert.equal(requests(page).length, 0);
});

test("a refusal that may be tried again is tried again later", () => {
  const page = new Page();
  page.livepush.on("orders.5", "*", () => {});
  page.ready().welcome();
  page.socket.say({ op: "error", n: 1, code: "busy", retry: true, message: "later" });
  assert.equal(requests(page).length, 1);
  page.clock.advance(20000);
  assert.equal(requests(page).length, 2);
});

test("an error nobody listens for stands on the console", () => {
  const page = new Page();
  page.ready().welcome();
  page.socket.say({ op: "error", code: "unknown_op", message: "what?" });
  page.socket.say("{not json");
  page.socket.say("[]");
  assert.equal(page.warnings.length, 3);
  assert.match(page.warnings[0], /unknown_op: what\?/);
  assert.equal(page.livepush.status.state, "online");
});

test("a hundred channels are asked for no faster than the server takes requests", () => {
  const page = new Page();
  page.ready().welcome();
  for (let i = 0; i < 100; i += 1) page.livepush.on(`orders.${i}`, "*", () => {});
  assert.equal(requests(page).length, 30);
  page.clock.advance(1000);
  assert.ok(requests(page).length <= 45, String(requests(page).length));
  page.clock.advance(5000);
  assert.equal(new Set(requests(page)).size, 100);
});

test("an event that was handed on is not handed on again, from whichever socket it comes", () => {
  const page = new Page();
  const heard = [];
  page.livepush.on("orders", "*", (data, event) => heard.push(event.id));
  page.livepush.on("chat", "*", (data, event) => heard.push(`chat ${event.id}`));
  page.ready().welcome({ orders: { audience: "client" }, chat: { audience: "client" } });
  page.event(1);
  page.event(3);
  page.event(3);
  page.event(2);
  page.event(3, { channel: "chat" });
  page.event(1, { id: "other-1" });
  page.socket.end();
  page.clock.advance(500);
  page.welcome();
  page.event(3);
  page.event(4);
  assert.deepEqual(heard, ["a1b2-1", "a1b2-3", "chat a1b2-3", "other-1", "a1b2-4"]);
});

test("an event without a number is always handed on", () => {
  const page = new Page();
  let heard = 0;
  page.livepush.on("orders", "*", (data, event) => (heard += event.id === null ? 1 : 10));
  page.ready().welcome();
  page.event(0, { id: undefined });
  page.event(0, { id: undefined });
  page.event(0, { id: "strange" });
  page.event(0, { id: "strange" });
  assert.equal(heard, 22);
});

test("what was seen is remembered for 4096 publishers, the most recent ones", () => {
  const page = new Page();
  let heard = 0;
  page.livepush.on("orders", "*", () => (heard += 1));
  page.ready().welcome();
  for (let i = 0; i < 4096; i += 1) page.event(1, { id: `p${i}-1` });
  page.event(2, { id: "p0-2" });
  page.event(1, { id: "new-1" });
  assert.equal(heard, 4098);
  page.event(2, { id: "p0-2" });
  assert.equal(heard, 4098);
  page.event(1, { id: "p1-1" });
  assert.equal(heard, 4099);
});

test("a callback that throws is reported, and stops nobody else", () => {
  const page = new Page();
  const heard = [];
  const error = new Error("a fault of the page");
  page.livepush.on("orders", "*", () => {
    throw error;
  });
  page.livepush.on("orders", "*", () => heard.push(1));
  page.livepush.onStatus(() => {
    throw error;
  });
  page.ready().welcome();
  page.event(1);
  page.event(2);
  assert.deepEqual(heard, [1, 1]);
  assert.deepEqual(page.reported, [error, error, error, error]);
  assert.match(page.errors[2][0], /a callback for orders lock threw/);
});

test("a callback removed by the one before it is not called", () => {
  const page = new Page();
  let heard = 0;
  let off = null;
  page.livepush.on("orders", "*", () => off());
  off = page.livepush.on("orders", "*", () => (heard += 1));
  page.ready().welcome();
  page.event(1);
  assert.equal(heard, 0);
});

test("names that are none are refused where they are written", () => {
  const page = new Page();
  const bad = [undefined, null, "", "*", "#", "orders.*", "a..b", "orders/5", "x".repeat(181), 5];
  for (const name of bad) assert.throws(() => page.livepush.on(name, "lock", () => {}), /channel/, String(name));
  assert.throws(() => page.livepush.on("orders", "a b", () => {}), /event type/);
  assert.throws(() => page.livepush.on("orders", "lock"), /must be a function/);
  assert.throws(() => page.livepush.onResync("orders"), /must be a function/);
  page.livepush.on("user.~mfrgg", "*", () => {});
});

test("more than a thousand channels are the page's mistake", () => {
  const page = new Page();
  for (let i = 0; i < 1000; i += 1) page.livepush.on(`orders.${i}`, "*", () => {});
  assert.throws(() => page.livepush.on("orders.1000", "*", () => {}), /more than 1000 channels/);
  page.livepush.on("orders.999", "lock", () => {});
});

test("gone takes a channel away and back gives it again, perhaps as another audience", () => {
  const page = new Page();
  const access = [];
  const reloads = [];
  page.livepush.onAccess((...told) => access.push(told));
  page.livepush.onResync((...told) => reloads.push(told));
  page.ready().welcome();
  page.socket.say({ op: "gone", channel: "orders", why: "permission" });
  assert.deepEqual(plain(page.livepush.channels), {});
  page.socket.say({ op: "back", channel: "orders", audience: "moderator" });
  assert.deepEqual(access, [["orders", "client", null], ["orders", null, "permission"], ["orders", "moderator", null]]);
  assert.deepEqual(reloads, [["orders", "back"]]);
});

test("a channel that the server no longer grants after a reconnect is told as taken away", () => {
  const page = new Page();
  const access = [];
  page.livepush.onAccess((...told) => access.push(told));
  page.ready().welcome();
  page.socket.end();
  page.clock.advance(500);
  page.welcome({});
  assert.deepEqual(access, [["orders", "client", null], ["orders", null, "refused"]]);
});

test("onAccess is silent while a channel stays what it was", () => {
  const page = new Page();
  const access = [];
  page.livepush.onAccess((...told) => access.push(told));
  page.ready().welcome();
  page.socket.end();
  page.clock.advance(500);
  page.welcome();
  assert.equal(access.length, 1);
});

test("an onStatus callback removed by the one before it is not called", () => {
  const page = new Page();
  let told = 0;
  let off = null;
  page.livepush.onStatus(() => off());
  off = page.livepush.onStatus(() => (told += 1));
  page.ready();
  assert.equal(told, 0);
});

test("ops of a later version are ignored", () => {
  const page = new Page();
  page.ready().welcome();
  page.socket.say({ op: "presence", channel: "orders", rev: 1, now: [7] });
  page.socket.say({ op: "toString" });
  assert.deepEqual([page.errors, page.warnings], [[], []]);
});

test("a channel named __proto__ is a name like any other", () => {
  const page = new Page();
  page.livepush.on("__proto__", "*", () => {});
  page.ready().welcome();
  page.socket.end();
  page.clock.advance(500);
  page.socket.accept();
  assert.deepEqual(Object.keys(page.socket.sent[0].channels), ["__proto__", "orders"]);
});
