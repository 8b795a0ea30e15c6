// Presence: who else is here, and that nobody knows.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, plain } from "./page.mjs";

/** A page that is online and notes what onPresence calls back with: [users, joined, left, why, count]. */
function watching(channel = "orders") {
  const page = new Page();
  const heard = [];
  page.off = page.livepush.onPresence(channel, (users, { join, leave, why, count }) => {
    heard.push([users, join, leave, why, count]);
  });
  page.heard = () => plain(heard.splice(0));
  page.tell = (message) => page.socket.say({ op: "presence", channel, ...message });
  page.ready().welcome();
  return page;
}

test("a callback gets the whole list, then who joined and who left", () => {
  const page = watching();
  page.tell({ rev: 1, now: [7, "ann"] });
  assert.deepEqual(page.heard(), [[[7, "ann"], [7, "ann"], [], null, 2]]);
  page.tell({ rev: 2, join: [9], leave: [7] });
  assert.deepEqual(page.heard(), [[["ann", 9], [9], [7], null, 2]]);
  assert.deepEqual(plain(page.livepush.presence("orders")), ["ann", 9]);
});

test("a whole list that is the known one is no news; another one is told as a change", () => {
  const page = watching();
  page.tell({ rev: 1, now: [7, 8] });
  page.heard();
  page.tell({ rev: 5, now: [8, 7] });
  assert.deepEqual(page.heard(), []);
  page.tell({ rev: 9, now: [8, 9] });
  assert.deepEqual(page.heard(), [[[8, 9], [9], [7], null, 2]]);
});

test("a change to a list that the page does not have says nothing", () => {
  const page = watching();
  page.tell({ rev: 2, join: [9], leave: [] });
  assert.deepEqual(page.heard(), []);
  assert.equal(page.livepush.presence("orders"), null);
});

test("that nobody knows is told once, and the list again when it is known", () => {
  const page = watching();
  page.tell({ rev: 1, now: [7] });
  page.heard();
  page.tell({ now: null, why: "unavailable" });
  page.tell({ now: null, why: "unavailable" });
  assert.deepEqual(page.heard(), [[null, [], [], "unavailable", null]]);
  page.tell({ rev: 3, now: [7] });
  assert.deepEqual(page.heard(), [[[7], [7], [], null, 1]]);
});

test("of a crowd only the number is told, each time that it changes", () => {
  const page = watching();
  page.tell({ rev: 1, now: null, why: "too_many", count: 5000 });
  page.tell({ rev: 2, now: null, why: "too_many", count: 5001 });
  page.tell({ now: null, why: "unavailable" });
  assert.deepEqual(page.heard(), [
    [null, [], [], "too_many", 5000],
    [null, [], [], "too_many", 5001],
    [null, [], [], "unavailable", null],
  ]);
});

test("with the connection goes what is known, and comes back with the next one", () => {
  const page = watching();
  page.tell({ rev: 1, now: [7] });
  page.heard();
  page.socket.end();
  assert.deepEqual(page.heard(), [[null, [], [], "connection", null]]);
  page.clock.advance(500);
  page.ready().welcome();
  page.tell({ rev: 1, now: [7] });
  assert.deepEqual(page.heard(), [[[7], [7], [], null, 1]]);
});

test("a channel that is taken away takes its list with it", () => {
  const page = watching();
  page.tell({ rev: 1, now: [7] });
  page.heard();
  page.socket.say({ op: "gone", channel: "orders", why: "permission" });
  assert.deepEqual(page.heard(), [[null, [], [], "gone", null]]);
  page.tell({ rev: 2, now: [7] });
  assert.deepEqual(page.heard(), []);
});

test("who only wants to know who is there subscribes, and leaves with the last callback", () => {
  const page = watching("chat.5");
  const { op, n, channel } = page.socket.sent[page.socket.sent.length - 1];
  assert.deepEqual([op, channel], ["subscribe", "chat.5"]);
  page.socket.say({ op: "ok", n, channel, audience: "all", replayed: 0 });
  page.off();
  page.off();
  assert.equal(page.socket.sent[page.socket.sent.length - 1].op, "unsubscribe");
});

test("a second connection that takes over changes nothing before it has said who is there", () => {
  const page = watching();
  page.tell({ rev: 1, now: [7] });
  page.heard();
  page.socket.say({ op: "goaway", after: 0 });
  page.clock.advance(1);
  page.ready().welcome();
  assert.deepEqual(page.heard(), []);
  page.tell({ rev: 9, now: [7, 8] });
  assert.deepEqual(page.heard(), [[[7, 8], [8], [], null, 2]]);
});

test("a callback must be a function, and a channel a name", () => {
  const page = new Page();
  assert.throws(() => page.livepush.onPresence("orders"), /the callback must be a function/);
  assert.throws(() => page.livepush.onPresence("no such", () => {}), /must be words/);
});
