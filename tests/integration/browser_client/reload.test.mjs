// Reloads: nothing is missing in silence, and ten thousand pages do not ask in the same second.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page } from "./page.mjs";

function listening(options) {
  const page = new Page(options);
  page.reloads = [];
  page.livepush.on("orders", "*", () => {});
  page.livepush.onResync((channel, why) => page.reloads.push(`${channel} ${why}`));
  return page;
}

// The longest that the page may wait with its reload: chance gives nearly 1.
function delayAfter(page, limit = 30000) {
  const start = page.clock.now;
  while (!page.reloads.length && page.clock.now - start < limit) page.clock.advance(10);
  return page.clock.now - start;
}

function restart(page) {
  page.socket.end(1006);
  page.clock.advance(500);
  page.welcome();
}

test("the first connection of a page reloads nothing", () => {
  const page = listening();
  page.ready().welcome();
  page.clock.advance(60000 - 20000);
  assert.deepEqual(page.reloads, []);
});

test("a first connection that took more than one attempt reloads: the page is older than it", () => {
  const page = listening();
  page.ready();
  page.socket.end();
  page.clock.advance(500);
  page.welcome();
  page.clock.advance(20000);
  assert.deepEqual(page.reloads, ["orders restart"]);
});

test("after the server was away, each granted channel reloads once, in the time that spreads all pages", () => {
  for (const [seen, longest] of [[true, 4500], [false, 19500]]) {
    const page = listening();
    page.chance = 0.999;
    page.ready().welcome();
    page.visible(seen);
    page.clock.advance(10000);
    page.socket.end(1006);
    page.clock.advance(500);
    page.welcome({ orders: { audience: "client" }, "user.7": { audience: "self" } });
    const delay = delayAfter(page);
    assert.ok(delay > longest - 50 && delay <= longest, String(delay));
    assert.deepEqual(page.reloads, ["orders restart", "user.7 restart"]);
  }
});

test("the delay is drawn from the whole interval", () => {
  const page = listening();
  page.chance = 0.1;
  page.ready().welcome();
  page.visible(false);
  restart(page);
  const delay = delayAfter(page);
  assert.ok(delay >= 1900 && delay <= 2000, String(delay));
});

test("a page that already came back at a random moment of a long outage waits no longer than the least retry", () => {
  const page = listening();
  page.chance = 0.999;
  page.ready().welcome();
  for (let i = 0; i < 8; i += 1) {
    page.socket.end(1006);
    page.clock.advance(20000);
  }
  page.welcome();
  const delay = delayAfter(page);
  assert.ok(delay > 400 && delay <= 500, String(delay));
});

test("what only this browser met is over soon: the network came back, or the server found it too slow", () => {
  const causes = {
    wireless(page) {
      page.socket.end(1006); // the browser learns a moment later that it is offline
      page.online(false);
      page.clock.advance(60000);
      page.online(true);
    },
    offline(page) {
      page.online(false);
      page.socket.end(1006);
      page.clock.advance(60000);
      page.online(true);
    },
    slow(page) {
      page.socket.end(4002);
      page.clock.advance(500);
    },
    renewed(page) {
      page.socket.end(4001);
      page.clock.advance(500);
    },
    silent(page) {
      page.socket.end(4004);
      page.clock.advance(500);
    },
    sleep(page) {
      page.clock.sleep(600000);
      page.clock.advance(3500);
    },
  };
  for (const [name, happen] of Object.entries(causes)) {
    const page = listening();
    page.chance = 0.999;
    page.ready().welcome();
    page.clock.advance(10000);
    happen(page);
    page.welcome();
    const delay = delayAfter(page);
    assert.ok(delay > 1900 && delay <= 2000, `${name} ${delay}`);
  }
});

test("many attempts in vain are the server's outage after all", () => {
  const page = listening();
  page.chance = 0.2;
  page.ready().welcome();
  page.visible(false);
  page.clock.advance(10000);
  page.socket.end(4002);
  for (let i = 0; i < 4; i += 1) {
    page.clock.advance(5000);
    page.socket.end(1006);
  }
  page.clock.advance(8000);
  page.welcome();
  assert.ok(delayAfter(page) > 400 + 1);
});

test("a page out of the browser's cache reloads at once", () => {
  const page = listening();
  page.chance = 0.999;
  page.ready().welcome();
  page.window.fire("pagehide", { persisted: true });
  page.clock.advance(60000);
  page.window.fire("pageshow", { persisted: true });
  page.welcome();
  assert.deepEqual(page.reloads, ["orders restart"]);
});

test("connect() after close() reloads at once", () => {
  const page = listening();
  page.ready().welcome();
  page.livepush.close();
  page.livepush.connect();
  page.welcome();
  assert.deepEqual(page.reloads, ["orders restart"]);
});

test("a reload that waits comes at once when somebody looks at the page", () => {
  const page = listening();
  page.ready().welcome();
  restart(page);
  page.visible(false);
  assert.deepEqual(page.reloads, []);
  page.visible(true);
  assert.deepEqual(page.reloads, ["orders restart"]);
  page.clock.advance(30000);
  assert.equal(page.reloads.length, 1);
});

test("the server's resync reloads its channel, spread unless this page was too slow", () => {
  const page = listening();
  page.chance = 0.999;
  page.ready().welcome();
  page.socket.say({ op: "resync", channel: "orders", why: "slow" });
  assert.deepEqual(page.reloads.splice(0), ["orders slow"]);
  page.socket.say({ op: "resync", channel: "orders", why: "hole" });
  page.clock.advance(1000);
  page.socket.say({ op: "resync", channel: "orders", why: "publisher" });
  const delay = delayAfter(page);
  assert.ok(delay > 18000 && delay <= 19000, String(delay));
  page.clock.advance(20000);
  assert.deepEqual(page.reloads, ["orders hole"]);
  page.socket.say({ op: "resync", channel: "unknown", why: "slow" });
  assert.equal(page.reloads.length, 1);
});

test("a welcome that could not replay says so", () => {
  const page = listening();
  page.ready().welcome({ orders: { audience: "client", resync: "trimmed" } });
  page.clock.advance(20000);
  assert.deepEqual(page.reloads, ["orders trimmed"]);
});

test("a reload that falls due while there is no connection comes once, after the next welcome", () => {
  const page = listening();
  page.ready().welcome();
  page.visible(false);
  restart(page); // due in about ten seconds
  page.socket.end(1006);
  page.clock.advance(490);
  page.clock.advance(19000);
  assert.deepEqual(page.reloads, []);
  page.welcome();
  page.clock.advance(25000);
  assert.deepEqual(page.reloads, ["orders restart"]);
});

test("a reload that fell due for a channel no longer granted does not come", () => {
  const page = listening();
  page.ready().welcome();
  restart(page);
  page.socket.end(1006);
  page.clock.advance(19000);
  page.welcome({});
  page.visible(true);
  page.clock.advance(25000);
  assert.deepEqual(page.reloads, []);
});

test("each outage is judged by its own cause", () => {
  const page = listening();
  page.chance = 0.999;
  page.ready().welcome();
  page.socket.end(4002);
  page.clock.advance(500);
  page.welcome();
  page.clock.advance(10000);
  page.reloads.length = 0;
  restart(page);
  assert.ok(delayAfter(page) > 4000);
});

test("a subscription that could not be replayed reloads", () => {
  const page = listening();
  page.ready().welcome();
  page.livepush.on("orders.5", "*", () => {});
  page.socket.say({ op: "ok", n: 1, channel: "orders.5", audience: "client", resync: "trimmed" });
  page.clock.advance(20000);
  assert.deepEqual(page.reloads, ["orders.5 trimmed"]);
});

test("a channel that was taken away before its reload came reloads when it is given again", () => {
  const page = listening();
  page.ready().welcome();
  page.socket.say({ op: "resync", channel: "orders", why: "hole" });
  page.socket.say({ op: "gone", channel: "orders", why: "permission" });
  page.clock.advance(20000);
  assert.deepEqual(page.reloads, []);
  page.livepush.on("orders", "*", () => {});
  page.socket.say({ op: "ok", n: 1, channel: "orders", audience: "client" });
  page.clock.advance(20000);
  assert.deepEqual(page.reloads, ["orders hole"]);
});

test("a channel that was taken away is not reloaded", () => {
  const page = listening();
  page.ready().welcome();
  restart(page);
  page.socket.say({ op: "gone", channel: "orders", why: "permission" });
  page.clock.advance(30000);
  assert.deepEqual(page.reloads, []);
});

test("onResync for one channel hears that channel only, until it is removed", () => {
  const page = listening();
  const heard = [];
  const off = page.livepush.onResync("orders", (channel, why) => heard.push(`${channel} ${why}`));
  page.ready().welcome({ orders: { audience: "client" }, "user.7": { audience: "self" } });
  page.socket.say({ op: "resync", channel: "user.7", why: "slow" });
  page.socket.say({ op: "resync", channel: "orders", why: "slow" });
  off();
  page.socket.say({ op: "resync", channel: "orders", why: "slow" });
  assert.deepEqual(heard, ["orders slow"]);
  assert.deepEqual(page.reloads, ["user.7 slow", "orders slow", "orders slow"]);
});

test("a page that listens and could not reload is told so, once", () => {
  const page = new Page();
  page.livepush.on("orders", "*", () => {});
  page.ready().welcome();
  page.socket.say({ op: "resync", channel: "orders", why: "slow" });
  page.socket.say({ op: "resync", channel: "orders", why: "slow" });
  assert.equal(page.warnings.length, 1);
  assert.match(page.warnings[0], /orders may be missing.*no onResync/);
});
