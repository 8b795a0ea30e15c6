// Tickets: who has no cookie says by one of these who it is, a new one for each connection.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page } from "./page.mjs";

// What was promised is there.
const settled = () => new Promise((resolve) => setImmediate(resolve));

function tickets(...given) {
  const page = new Page({ config: null });
  page.ready();
  page.livepush.connect({ url: "wss://push.example/livepush/ws", ticket: () => given.shift()() });
  return page;
}

test("each connection says hello with a ticket of its own, as soon as it has one", async () => {
  let give;
  const page = tickets(
    () => "first",
    () => new Promise((resolve) => (give = resolve)),
  );
  page.socket.accept();
  await settled();
  assert.deepEqual(page.socket.sent.map((message) => [message.op, message.ticket]), [["hello", "first"]]);
  page.socket.end();
  page.clock.advance(20_000);
  page.socket.accept();
  await settled();
  assert.deepEqual(page.socket.sent, []);
  give("second");
  await settled();
  assert.equal(page.socket.sent[0].ticket, "second");
});

test("without a ticket there is another attempt later, and the page is told why", async () => {
  const problems = [];
  const page = tickets(
    () => Promise.reject(new Error("403")),
    () => "second",
  );
  page.livepush.onError((problem) => problems.push(problem.code));
  page.socket.accept();
  await settled();
  assert.deepEqual([problems, page.socket.sent, page.socket.closed], [["ticket"], [], true]);
  page.socket.end(1005);
  page.clock.advance(20_000);
  page.socket.accept();
  await settled();
  assert.equal(page.socket.sent[0].ticket, "second");
});

test("a ticket that comes when its connection has gone is not said to the next one", async () => {
  let give;
  const page = tickets(
    () => new Promise((resolve) => (give = resolve)),
    () => "second",
  );
  page.socket.accept();
  await settled();
  page.socket.end();
  page.clock.advance(20_000);
  page.socket.accept();
  await settled();
  give("first");
  await settled();
  assert.deepEqual(page.sockets.map((socket) => socket.sent.map((message) => message.ticket)), [[], ["second"]]);
});

test("with a cookie nothing is said of tickets, and what is no function is refused", () => {
  const page = new Page({});
  page.ready();
  page.socket.accept();
  assert.equal("ticket" in page.socket.sent[0], false);
  assert.throws(() => page.livepush.connect({ ticket: "text" }), /ticket must be a function/);
});
