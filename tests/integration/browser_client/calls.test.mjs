// Calls: each is answered once, or fails with a reason.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, plain } from "./page.mjs";

function online() {
  return new Page().ready().welcome();
}

function last(page) {
  return page.socket.sent[page.socket.sent.length - 1];
}

// The code of the error, with what else a page decides by.
async function failure(promise) {
  const error = await promise.then(
    () => assert.fail("it was answered"),
    (reason) => reason
  );
  assert.equal(error.name, "CallError");
  return [error.code, error.message, error.retry];
}

test("a call goes out at once and is answered by its number, in whatever order", async () => {
  const page = online();
  const first = page.livepush.call("orders", "lock", { order: 5 });
  const one = last(page);
  const second = page.livepush.call("orders.6", "done");
  const two = last(page);
  assert.deepEqual(one, { op: "call", n: one.n, channel: "orders", type: "lock", data: { order: 5 } });
  assert.deepEqual(two, { op: "call", n: two.n, channel: "orders.6", type: "done", data: {} });
  assert.notEqual(one.n, two.n);
  page.socket.say({ op: "ok", n: two.n, data: { b: 2 } });
  page.socket.say({ op: "ok", n: one.n, data: { a: 1 } });
  assert.deepEqual(plain([await first, await second]), [{ a: 1 }, { b: 2 }]);
  assert.deepEqual([page.errors, page.warnings], [[], []]);
});

test("a refusal is the promise's error, and nothing else's", async () => {
  const page = online();
  const told = [];
  page.livepush.onError((problem) => told.push(problem));
  const call = page.livepush.call("orders", "lock", { order: 5 });
  page.socket.say({ op: "error", n: last(page).n, code: "locked", message: "Somebody else has it.", retry: false });
  assert.deepEqual(await failure(call), ["locked", "Somebody else has it.", false]);
  const busy = page.livepush.call("orders", "lock", { order: 5 });
  page.socket.say({ op: "error", n: last(page).n, code: "busy", message: "later", retry: true });
  assert.deepEqual(await failure(busy), ["busy", "later", true]);
  assert.deepEqual([told, page.warnings], [[], []]);
});

test("a second answer to the same call changes nothing", async () => {
  const page = online();
  const call = page.livepush.call("orders", "lock");
  const { n } = last(page);
  page.socket.say({ op: "ok", n, data: { a: 1 } });
  page.socket.say({ op: "ok", n, data: { a: 2 } });
  assert.deepEqual(plain(await call), { a: 1 });
});

test("calls and subscriptions have numbers of their own", async () => {
  const page = online();
  page.livepush.on("orders.5", "*", () => {});
  const subscribe = last(page);
  const call = page.livepush.call("orders", "lock");
  page.socket.say({ op: "ok", n: subscribe.n, channel: "orders.5", audience: "client", replayed: 0 });
  page.socket.say({ op: "ok", n: last(page).n, data: {} });
  await call;
  assert.equal(page.livepush.channels["orders.5"], "client");
});

test("without a connection nothing is sent, then or later", async () => {
  const page = new Page().ready();
  assert.deepEqual(await failure(page.livepush.call("orders", "lock")), ["offline", "there is no connection", true]);
  page.welcome();
  assert.deepEqual(page.socket.sent.map(({ op }) => op), ["hello"]);
  page.socket.end();
  assert.equal((await failure(page.livepush.call("orders", "lock")))[0], "offline");
});

test("a connection that is lost before the answer is told, and the call is not sent again", async () => {
  const page = online();
  const call = page.livepush.call("orders", "lock");
  const { n } = last(page);
  page.socket.end();
  const [code, , retry] = await failure(call);
  assert.deepEqual([code, retry], ["lost", false]);
  page.clock.advance(20000);
  page.welcome();
  page.socket.say({ op: "ok", n, data: {} });
  assert.deepEqual(page.socket.sent.map(({ op }) => op), ["hello"]);
  const other = page.livepush.call("orders", "lock");
  page.livepush.close();
  assert.equal((await failure(other))[0], "lost");
});

test("what can't be sent fails before anything is", async () => {
  const page = online();
  const circle = {};
  circle.self = circle;
  for (const args of [["or ders", "lock"], ["orders", "*"], ["orders"], ["orders", "lock", 5], ["orders", "lock", null],
    ["orders", "lock", [5]], ["orders", "lock", circle]]) {
    await assert.rejects(page.livepush.call(...args), { name: "TypeError" });
  }
  assert.deepEqual(page.socket.sent.map(({ op }) => op), ["hello"]);
});

test("more calls than the server takes are refused here, and again taken a second later", async () => {
  const page = online();
  const calls = Array.from({ length: 40 }, () => page.livepush.call("orders", "lock"));
  const failed = await Promise.all(calls.slice(30).map(failure));
  assert.deepEqual(new Set(failed.map(([code]) => code)), new Set(["busy"]));
  assert.equal(page.socket.sent.length, 31);
  page.clock.advance(1000);
  const later = page.livepush.call("orders", "lock");
  page.socket.say({ op: "ok", n: last(page).n, data: {} });
  await later;
  page.livepush.close();
  await Promise.allSettled(calls);
});
