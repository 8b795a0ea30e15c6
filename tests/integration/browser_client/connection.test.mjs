// The connection: when it begins, how it ends, when it comes back.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, plain } from "./page.mjs";

function states(page) {
  const told = [];
  page.livepush.onStatus((status) => told.push(status.state));
  return told;
}

test("a page with the configuration connects by itself, after its scripts have run", () => {
  const page = new Page();
  assert.equal(page.sockets.length, 0);
  page.ready();
  assert.equal(page.socket.url, "wss://shop.example:8989/livepush/ws");
  assert.deepEqual(page.socket.protocols, ["livepush.v1"]);
  page.window.fire("load");
  assert.equal(page.sockets.length, 1);
});

test("a script that came after the page was loaded connects as well", () => {
  const page = new Page({ config: null });
  const late = new Page({ config: null });
  page.ready();
  assert.equal(page.sockets.length, 0);
  late.livepush.connect({ url: "wss://push.example/livepush/ws" });
  assert.equal(late.socket.url, "wss://push.example/livepush/ws");
});

test("the address is the configured one, with the page's host where none is", () => {
  const address = (config, location) => new Page({ config, location }).ready().socket.url;
  assert.equal(address({ port: 9000 }, "http://127.0.0.1:8000/"), "ws://127.0.0.1:9000/livepush/ws");
  assert.equal(address({}, "http://[::1]:8000/"), "ws://[::1]:8989/livepush/ws");
  assert.equal(address({ url: null, port: 443, path: "/p/ws" }, "https://shop.example/"), "wss://shop.example/p/ws");
  assert.equal(address({ url: "https://push.example/ws" }), "wss://push.example/ws");
  assert.equal(address({ url: "/push/ws" }, "https://shop.example:444/a/"), "wss://shop.example:444/push/ws");
});

test("configuration that cannot be used is told on the console, and the page's own scripts go on", () => {
  const bad = ["{not json", { url: "ftp://push.example/" }, { retry: [500] }, { heartbeat: -1 }, { port: "x" }];
  for (const config of bad) {
    const page = new Page({ config });
    page.ready();
    assert.equal(page.sockets.length, 0, JSON.stringify(config));
    assert.equal(page.errors.length, 1);
    assert.equal(page.livepush.status.state, "closed");
  }
  assert.throws(() => new Page().livepush.connect({ retry: [9, 1] }), /retry must be \[least, most\]/);
});

test("the first hello gives the tab and takes the declared channels; then the page is online", () => {
  const page = new Page();
  const told = states(page);
  page.ready();
  page.socket.accept();
  assert.deepEqual(page.socket.sent, [{ op: "hello", n: 0, tab: page.livepush.tab }]);
  page.socket.say({ op: "welcome", n: 0, user: 7, channels: { orders: { audience: "moderator" } } });
  assert.deepEqual(told, ["connecting", "online"]);
  assert.deepEqual(plain(page.livepush.status), { state: "online", user: 7 });
  assert.deepEqual(plain(page.livepush.channels), { orders: "moderator" });
});

test("a lost connection is made again after a random wait that doubles up to the greatest", () => {
  const page = new Page();
  page.chance = 1;
  page.ready().welcome();
  const delays = [];
  page.livepush.onStatus((status) => status.state === "waiting" && delays.push(status.delay));
  for (let i = 0; i < 8; i += 1) {
    page.socket.end();
    page.clock.advance(delays[i] - 1);
    assert.equal(page.sockets.length, i + 1);
    page.clock.advance(1);
    assert.equal(page.sockets.length, i + 2);
  }
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]);
});

test("the wait is drawn from the whole interval", () => {
  const page = new Page();
  page.chance = 0.01;
  page.ready().welcome();
  page.socket.end();
  assert.equal(page.livepush.status.delay, 5);
});

test("the server's welcome sets the bounds of the wait", () => {
  const page = new Page();
  page.chance = 1;
  page.ready().welcome({}, { retry: [40, 60] });
  page.socket.end();
  assert.equal(page.livepush.status.delay, 40);
  page.clock.advance(40);
  page.socket.end();
  assert.equal(page.livepush.status.delay, 60);
});

test("only a connection that was welcomed and lived a while makes the next wait short again", () => {
  const page = new Page();
  page.chance = 1;
  page.ready();
  for (const delay of [500, 1000, 2000]) {
    page.socket.accept(); // accepted, but never welcomed
    page.socket.end();
    assert.equal(page.livepush.status.delay, delay);
    page.clock.advance(delay);
  }
  page.welcome();
  page.clock.advance(4000);
  page.socket.end(); // welcomed, but only for a moment
  assert.equal(page.livepush.status.delay, 4000);
  page.clock.advance(4000);
  page.welcome();
  page.clock.advance(5000);
  page.socket.end();
  assert.equal(page.livepush.status.delay, 500);
});

test("40xx and every loss come back, 44xx does not and says why", () => {
  for (const code of [1000, 1001, 1002, 1006, 1011, 1012, 4000, 4001, 4002, 4003, 4004, 4029]) {
    const page = new Page();
    page.ready().welcome();
    page.socket.end(code);
    assert.equal(page.livepush.status.state, "waiting", code);
    page.clock.advance(20000);
    assert.equal(page.sockets.length, 2, code);
  }
  for (const code of [4400, 4401, 4403, 4408, 4413, 4429]) {
    const page = new Page();
    page.ready().welcome();
    page.socket.end(code, "why not");
    assert.deepEqual(plain(page.livepush.status), { state: "closed", code, reason: "why not", final: true });
    page.clock.advance(3600000);
    page.visible(true);
    page.online(true);
    assert.equal(page.sockets.length, 1, code);
  }
});

test("a renewed session whose cookie is late is tried again, three times", () => {
  const page = new Page();
  page.ready().welcome();
  page.socket.end(4001);
  for (const sockets of [2, 3, 4]) {
    page.clock.advance(20000);
    assert.equal(page.sockets.length, sockets);
    page.socket.end(4401); // the old cookie
  }
  page.clock.advance(20000);
  page.socket.end(4401, "not logged in");
  assert.deepEqual(plain(page.livepush.status), { state: "closed", code: 4401, reason: "not logged in", final: true });

  const renewed = new Page();
  renewed.ready().welcome();
  renewed.socket.end(4001);
  renewed.clock.advance(20000);
  renewed.welcome();
  renewed.socket.end(4401);
  assert.equal(renewed.livepush.status.state, "closed");
});

test("a connection that the browser forbids is not tried again", () => {
  const page = new Page({ refuse: "An insecure WebSocket connection may not be initiated" });
  page.ready();
  assert.equal(page.livepush.status.state, "closed");
  assert.match(page.livepush.status.reason, /insecure/);
  page.clock.advance(60000);
  assert.equal(page.livepush.status.state, "closed");
});

test("a server that accepts and never welcomes is given up after 20 seconds", () => {
  const page = new Page();
  page.ready();
  page.socket.accept();
  page.clock.advance(19999);
  assert.equal(page.livepush.status.state, "connecting");
  page.clock.advance(1);
  assert.equal(page.livepush.status.state, "waiting");
  assert.equal(page.sockets[0].closed, true);
});

test("silence of two heartbeats means that the connection is dead", () => {
  const page = new Page();
  page.ready().welcome();
  page.clock.advance(49000);
  page.socket.say({ op: "heartbeat" });
  page.clock.advance(49999);
  assert.equal(page.livepush.status.state, "online");
  page.clock.advance(1);
  assert.equal(page.livepush.status.state, "waiting");
  assert.equal(page.sockets[0].closed, true);
});

test("after a sleep, what arrived meanwhile is read before the connection is judged", () => {
  const page = new Page();
  page.ready().welcome();
  page.clock.sleep(600000);
  page.clock.advance(1);
  page.event(1);
  page.clock.advance(10000);
  assert.equal(page.livepush.status.state, "online");
  page.clock.sleep(600000);
  page.visible(true);
  page.clock.advance(2999);
  assert.equal(page.livepush.status.state, "online");
  page.clock.advance(1);
  assert.equal(page.livepush.status.state, "waiting");
});

test("a clock that is put back does not keep a dead connection alive", () => {
  const page = new Page();
  page.ready().welcome();
  page.clock.now -= 3600000;
  page.visible(true);
  page.clock.advance(50000);
  assert.equal(page.livepush.status.state, "waiting");
});

test("nothing is tried while the browser is offline, and at once when it is online again", () => {
  const page = new Page();
  const told = states(page);
  page.ready().welcome();
  page.clock.advance(10000);
  page.online(false);
  page.socket.end();
  page.clock.advance(3600000);
  page.visible(true);
  assert.equal(page.sockets.length, 1);
  page.online(true);
  assert.equal(page.sockets.length, 2);
  assert.deepEqual(told, ["connecting", "online", "offline", "offline", "connecting"]);
});

test("a page that waits stops waiting when the network goes", () => {
  const page = new Page();
  const told = states(page);
  page.ready().welcome();
  page.socket.end();
  page.online(false);
  page.clock.advance(60000);
  assert.deepEqual(told, ["connecting", "online", "waiting", "offline"]);
  assert.equal(page.sockets.length, 1);
});

test("a machine without any network still reaches a daemon of its own", () => {
  for (const host of ["127.0.0.1", "localhost", "[::1]", "shop.localhost"]) {
    const page = new Page({ location: `http://${host}:8000/`, onLine: false });
    page.ready();
    assert.equal(page.sockets.length, 1, host);
  }
  assert.equal(new Page({ location: "http://localhost.example/", onLine: false }).ready().sockets.length, 0);
});

test("a socket that said nothing since the network changed is replaced at once", () => {
  const page = new Page();
  page.ready().welcome();
  page.clock.advance(2000);
  page.online(false);
  page.clock.advance(2000);
  page.online(true);
  assert.equal(page.sockets.length, 2);
  assert.equal(page.sockets[0].closed, true);
  page.welcome();
  page.online(false);
  page.clock.advance(2000);
  page.event(1); // it lives
  page.online(true);
  assert.equal(page.sockets.length, 2);
});

test("showing the page ends the wait, but no more than once a second", () => {
  const page = new Page();
  page.chance = 1;
  page.ready();
  page.clock.advance(5000);
  for (let i = 0; i < 5; i += 1) {
    page.socket.end();
    page.clock.advance(1);
  }
  assert.equal(page.sockets.length, 1);
  page.visible(false);
  assert.equal(page.sockets.length, 1);
  page.visible(true);
  assert.equal(page.sockets.length, 2);
  page.socket.end(); // the wait is one second now
  page.visible(true);
  page.visible(true);
  assert.equal(page.sockets.length, 2);
  page.clock.advance(1000);
  assert.equal(page.sockets.length, 3);
});

test("close() is for good, until connect()", () => {
  const page = new Page();
  page.ready().welcome();
  page.livepush.close();
  assert.equal(page.socket.closed, true);
  const closed = { state: "closed", code: 1000, reason: "closed by the page", final: true };
  assert.deepEqual(plain(page.livepush.status), closed);
  page.clock.advance(60000);
  page.visible(true);
  assert.equal(page.sockets.length, 1);
  page.livepush.connect();
  assert.equal(page.sockets.length, 2);
  page.livepush.connect();
  assert.equal(page.sockets.length, 2);
});

test("a callback that closes the connection in the moment it opens is obeyed", () => {
  const page = new Page();
  page.livepush.onStatus((status) => status.state === "online" && page.livepush.close());
  page.livepush.on("orders", "*", () => {});
  page.ready().welcome();
  assert.equal(page.livepush.status.state, "closed");
  assert.deepEqual(plain(page.livepush.channels), {});
  assert.equal(page.socket.sent.length, 1);
});

test("goaway: another connection is made in the time it was given, and ends the first one when it is welcomed", () => {
  const page = new Page();
  const states = [];
  page.livepush.onStatus(({ state }) => states.push(state));
  page.ready().welcome();
  page.socket.say({ op: "goaway", after: 1830 });
  page.clock.advance(1829);
  assert.equal(page.sockets.length, 1);
  page.clock.advance(1);
  assert.equal(page.sockets.length, 2);
  assert.equal(page.sockets[0].closed, false);
  page.welcome();
  assert.equal(page.sockets[0].closed, true);
  assert.deepEqual(states, ["connecting", "online"]);
});

test("goaway: the first connection's end makes the second one the attempt that is under way", () => {
  const page = new Page();
  const states = [];
  page.ready().welcome();
  page.livepush.onStatus(({ state }) => states.push(state));
  page.socket.say({ op: "goaway", after: 0 });
  page.clock.advance(0);
  page.sockets[0].end(4000);
  assert.deepEqual(states, ["connecting"]);
  page.welcome();
  assert.deepEqual([states, page.sockets.length], [["connecting", "online"], 2]);
  page.socket.end();
  assert.equal(page.livepush.status.state, "waiting");
});

test("goaway: a second connection that comes to nothing leaves the first one, whose loss tries again", () => {
  for (const fail of [(page) => page.socket.end(4029), (page) => page.clock.advance(20000)]) {
    const page = new Page();
    page.ready().welcome();
    page.socket.say({ op: "goaway", after: 0 });
    page.clock.advance(0);
    fail(page);
    assert.deepEqual([page.livepush.status.state, page.sockets[1].closed], ["online", true]);
    page.sockets[0].end(4000);
    page.clock.advance(500);
    page.welcome();
    assert.deepEqual([page.livepush.status.state, page.sockets.length], ["online", 3]);
  }
});

test("goaway: an identity that is over is over, whatever is being made beside it", () => {
  const page = new Page();
  page.ready().welcome();
  page.socket.say({ op: "goaway", after: 0 });
  page.clock.advance(0);
  page.sockets[0].end(4401);
  assert.equal(page.livepush.status.state, "closed");
  assert.equal(page.sockets[1].closed, true);
});

test("goaway is forgotten with the connection that it was said on", () => {
  const page = new Page();
  page.ready().welcome();
  page.socket.say({ op: "goaway", after: 5000 });
  page.socket.end();
  page.clock.advance(500);
  page.welcome();
  page.clock.advance(10000);
  assert.equal(page.sockets.length, 2);
});

test("what a dropped socket still says is not heard", () => {
  const page = new Page();
  let heard = 0;
  page.livepush.on("orders", "*", () => (heard += 1));
  page.ready().welcome();
  const old = page.socket;
  const { onmessage, onclose } = old;
  page.socket.say({ op: "goaway", after: 0 });
  page.clock.advance(0);
  page.welcome();
  onmessage({ data: '{"op":"event","channel":"orders","type":"lock","data":{}}' });
  onclose({ code: 4401, reason: "" });
  assert.equal(heard, 0);
  assert.equal(page.livepush.status.state, "online");
});

test("a page in the browser's cache has no socket, and connects at once when it is shown again", () => {
  const page = new Page();
  page.ready().welcome();
  page.window.fire("pagehide", { persisted: true });
  assert.equal(page.socket.closed, true);
  page.window.fire("pageshow", { persisted: true });
  assert.equal(page.sockets.length, 2);
  page.window.fire("pageshow", { persisted: false });
  assert.equal(page.sockets.length, 2);
});

test("a page that was closed for good stays so when it comes out of the browser's cache", () => {
  const page = new Page();
  page.ready().welcome();
  page.socket.end(4401);
  page.window.fire("pagehide", { persisted: true });
  page.window.fire("pageshow", { persisted: true });
  assert.equal(page.sockets.length, 1);
});

test("a page rendered ahead of the click connects when it is shown", () => {
  const page = new Page({ prerendering: true });
  page.ready();
  page.window.fire("load");
  assert.equal(page.sockets.length, 0);
  page.document.prerendering = false;
  page.document.fire("prerenderingchange");
  assert.equal(page.sockets.length, 1);
});

test("the script may be on the page twice", () => {
  const page = new Page();
  const first = page.livepush;
  page.run();
  page.ready();
  assert.equal(page.context.livepush, first);
  assert.equal(page.sockets.length, 1);
});

test("an element with the id livepush is not taken for it", () => {
  const page = new Page({ globals: { livepush: { id: "livepush" } } });
  assert.equal(typeof page.livepush.connect, "function");
});
