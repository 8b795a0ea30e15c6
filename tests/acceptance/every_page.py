"""All four pages of the order exchange in a real Chromium, each over the transports of its client library.

    BROKER=amqp://... python -m tests.acceptance.every_page DIR

BROKER is a RabbitMQ, so that a daemon may go and come back. It writes a screenshot of each step into DIR, prints the
steps, and ends with an `AssertionError` or a Playwright error at the first thing that is not as it should be.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from exchange.visitor import Visitor
from tests.acceptance.browser import DONE, HIDDEN, LIVE, LOCKED, MINE, PATIENCE_MS, Person, Visit, chromium
from tests.servers.exchange import Exchange

PAGES = ("/", "/socketio/", "/sockjs/", "/sse/")
RECOVERING = ("/", "/socketio/", "/socketio/?transports=websocket", "/socketio/?transports=polling", "/sse/")
RELOADING = ("/sockjs/", "/sockjs/?transports=xhr-streaming", "/sockjs/?transports=xhr-polling")
VENDOR = ("socket.io.min.js", "sockjs.min.js")
TOLD = ("/", "/socketio/", "/sse/")
ROWS = "#order-rows tr"
DENIED = "Not live: you may not see the orders any more"
WAITING = '#connection[data-status="wait"]'

TEXTS = ('café \u2028 </script> "q"', 'café \u2028 </script> "q" \\ \x01 \U0001f33e' + "é7" * 22_000)
"""The second one has more than 64 KiB in UTF-8."""

RECORD = """
"use strict";
window.heard = [];
window.ws_order_note = () => {}; // an event that the exchange does not have
for (const what of ["order_lock", "order_done", "order_free", "orders_load"]) {
  let given;
  Object.defineProperty(window, "ws_" + what, {
    get: () => given,
    set(handler) {
      given = (data) => {
        heard.push(what === "orders_load" ? ["load"] : [what.slice(6), data.order, data.action || ""]);
        return handler(data);
      };
    },
  });
}
"""
"""What the page's client hands on, before the page makes rows of it."""

FETCH = "async (form) => void (await fetch(form.action, { method: 'POST', body: new FormData(form) }))"
"""Sends a form without leaving the page; livepush.js says whose request it is."""

REFUSALS = """
async (push) => {
  const outcome = (make) => new Promise((done) => {
    setTimeout(() => done("nothing happened"), 20000);
    make(done);
  });
  return {
    socketio: await outcome((done) => {
      const socket = io(push, { withCredentials: true, auth: { channels: ["orders"] } });
      socket.on("connect", () => done("connected"));
      socket.on("connect_error", (error) => done([error.data && error.data.code, socket.active]));
    }),
    sockjs: await outcome((done) => {
      const ws = new SockJS(push + "/orders");
      ws.onmessage = () => done("message");
      ws.onclose = (event) => done(event.code);
    }),
    sse: await outcome((done) => {
      const source = new EventSource(push + "/livepush/sse?channels=orders", { withCredentials: true });
      source.onmessage = () => done("message");
      source.onerror = () => done(source.readyState === EventSource.CLOSED);
    }),
    native: await outcome((done) => {
      const ws = new WebSocket(push.replace("http", "ws") + "/livepush/ws", "livepush.v1");
      ws.onopen = () => ws.send(JSON.stringify({ op: "hello", n: 0, channels: { orders: null } }));
      ws.onmessage = (event) => done(Object.keys(JSON.parse(event.data).channels));
      ws.onclose = (event) => done(event.code);
    }),
  };
}
"""

ELSEWHERE = """
document.addEventListener("readystatechange", () => { // first when the page is there and its scripts have not run
  const orders = document.getElementById("orders");
  if (orders) Object.assign(orders.dataset, said);
});
"""

CLIENTS = """
async (push) => {
  window.notes = {};
  const begun = [];
  function client(name, make) {
    notes[name] = [];
    begun.push(new Promise((done) => make((data) => notes[name].push(data.text), () => done([name, true]), done)));
  }
  client("native", (hear, ready) => {
    livepush.on("orders", "note", hear);
    ready();
  });
  const ways = { polling: ["polling"], websocket: ["websocket"], upgrade: undefined };
  for (const [name, transports] of Object.entries(ways)) {
    client("socketio " + name, (hear, ready) => {
      const socket = io(push, { withCredentials: true, forceNew: true, transports, auth: { channels: ["orders"] } });
      socket.on("note", hear);
      if (name === "upgrade") socket.io.on("open", () => socket.io.engine.on("upgrade", ready));
      else socket.on("connect", ready);
    });
  }
  for (const transport of ["websocket", "xhr-streaming", "xhr-polling"]) {
    client("sockjs " + transport, (hear, ready) => {
      const ws = new SockJS(push + "/orders", null, { transports: [transport] });
      ws.onmessage = (event) => event.data.type === "note" && hear(event.data.data);
      ws.onopen = () => ws.transport === transport && ready();
    });
  }
  client("sockjs native", (hear, ready) => {
    const ws = new SockJS(push + "/livepush/sockjs", null, { transports: ["websocket"] });
    ws.onopen = () => ws.send(JSON.stringify({ op: "hello", n: 0, channels: { orders: null } }));
    ws.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.op === "welcome") ready();
      else if (message.type === "note") hear(message.data);
    };
  });
  client("sse", (hear, ready) => {
    const source = new EventSource(push + "/livepush/sse?channels=orders", { withCredentials: true });
    source.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.op === "welcome") ready();
      else if (message.type === "note") hear(message.data);
    };
  });
  await Promise.all(begun);
  return Object.keys(notes);
}
"""
"""A client for each transport, all in one page; as many as `TRANSPORTS`."""

TRANSPORTS = 9


class EveryPage(Visit):
    """The whole story."""

    script = RECORD

    def __init__(self, browser: Browser, exchange: Exchange, folder: Path) -> None:
        super().__init__(browser, exchange.url, folder)
        self._exchange = exchange

    def run(self) -> None:
        """All steps."""
        anna, boris, mod = people = [self.person(name) for name in ("anna", "boris", "mod")]
        other = anna.tab()
        for order, path in enumerate(PAGES, 1):
            with self.step(f"{path}: anna locks order {order}, mod finishes it", *people):
                self.lock_and_finish(path, order, people, other)
        assert not self.faults, self.faults
        with self.step("who is too late with a lock is told so, over the connection too", anna, boris, mod):
            self.late_lock(anna, [boris, mod])
        with self.step("each text comes whole over every transport", mod):
            self.texts(mod)
        assert not self.faults, self.faults
        for page in (anna.page, other, mod.page):
            page.close()
        with self.step("who may not see orders is refused by every endpoint, and told so"):
            self.refusals()
        with self.step("the stock clients' pages find the daemon where LIVEPUSH_URL says", mod):
            self.elsewhere(mod)
        with self.step("a proxy's 502 does not end the page over EventSource", mod):
            self.bad_gateway(mod)
        mod.page.close()
        with self.step("a permission that is taken away empties the pages that are told so, and comes back", boris):
            self.denied(boris)
        with self.step("the daemon is killed and restarted, and then ended and started: nothing is missing", boris):
            self.restart(boris)

    def lock_and_finish(self, path: str, order: int, people: Sequence[Person], other: Page) -> None:
        """Each sees what he may, once; who acts gets the answer to his request and no push in that tab."""
        anna, boris, mod = people
        for person in people:
            person.goto(path)
        anna.goto(path, other)
        # Not by the button: the page that follows would be connected too late to be told what it must not be told.
        anna.row(order).locator("form").first.evaluate(FETCH)
        anna.sees(order, LOCKED, MINE, buttons=("Done",), page=other)
        boris.sees(order, LOCKED)
        mod.sees(order, LOCKED, buttons=("Done",))
        boris.stayed()
        mod.press(order, "Done")
        assert mod.page.url == self._url + path, mod.page.url
        anna.sees(order, HIDDEN)
        anna.sees(order, HIDDEN, page=other)
        boris.sees(order, HIDDEN)
        mod.sees(order, DONE)
        # Whatever a page was to hear has come before this, which says nothing new.
        self._exchange.publish("free", {"order": order, "version": 0})
        lock, done, last = ["lock", order, ""], ["done", order, "hide"], ["free", order, ""]
        expected = {
            anna.page: [done, last],
            other: [lock, done, last],
            boris.page: [lock, done, last],
            mod.page: [last],
        }
        for page, events in expected.items():
            page.wait_for_function("() => heard.some((event) => event[0] === 'free')")
            heard = [event for event in page.evaluate("heard") if event != ["load"]]
            assert heard == events, (path, heard, events)

    def late_lock(self, first: Person, late: Sequence[Person]) -> None:
        """The pages that lock over their connection, with a row that has not followed."""
        for person, path in zip(late, ("/", "/socketio/"), strict=True):
            person.goto(path)
            person.row(8).evaluate("(row) => { row.dataset.version = 99; }")
        first.goto("/")
        first.press(8, "Lock")
        for person in late:
            person.row(8).get_by_role("button").get_by_text("Lock").click()
            expect(person.page.locator("#latest")).to_contain_text("Somebody else has locked order 8.")
            person.stayed()

    def texts(self, person: Person) -> None:
        """What is hard to frame, and what is large, arrives as it was published and in order, once."""
        page = person.page
        person.goto("/")
        self._add_libraries(page)
        names = page.evaluate(CLIENTS, self._exchange.push_url)
        assert len(names) == TRANSPORTS, names
        for text in TEXTS:
            self._exchange.publish("note", {"text": text})
        page.wait_for_function(
            "(count) => Object.values(notes).every((texts) => texts.length >= count)", arg=len(TEXTS)
        )
        for name, texts in page.evaluate("notes").items():
            assert texts == list(TEXTS), (name, [text[:40] for text in texts])

    def refusals(self) -> None:
        """The guest is logged in and may see nothing; then somebody who is not logged in."""
        guest = self.person("guest").page
        nobody = self._browser.new_context().new_page()
        nobody.goto(self._url)
        channels = {guest: [], nobody: 4401}
        for page, code in ((guest, 4403), (nobody, 4401)):
            self._add_libraries(page)
            seen: dict[str, Any] = page.evaluate(REFUSALS, self._exchange.push_url)
            expected = {"socketio": [code, False], "sockjs": code, "sse": True, "native": channels[page]}
            assert seen == expected, seen
            page.close()

    def elsewhere(self, person: Person) -> None:
        """As if the site had said so; the port in the page is nobody's."""
        person.page = page = person.tab()
        url = f"{self._exchange.push_url.replace('http', 'ws')}/livepush/ws"
        page.add_init_script(f"const said = {{ push: '1', pushUrl: '{url}' }};{ELSEWHERE}")
        for path in PAGES[1:]:
            person.goto(path)
            assert page.locator("#orders").get_attribute("data-push") == "1"

    def bad_gateway(self, person: Person) -> None:
        """A browser gives up after it; the page makes another EventSource."""
        person.page = page = person.tab()
        page.route("**/livepush/sse*", lambda route: route.fulfill(status=502), times=1)
        with page.expect_response(lambda answer: answer.status == 502):
            page.goto(self._url + "/sse/")
        page.locator(LIVE).wait_for()
        assert any("502" in fault for fault in self.faults), self.faults
        self.faults.clear()

    def denied(self, boris: Person) -> None:
        """No page says that it is live while it hears nothing; each is again without being loaded."""
        tabs = [boris.tab() for _ in TOLD]
        for path, page in zip(TOLD, tabs, strict=True):
            boris.goto(path, page)
        change = "from django.contrib.auth.models import *; User.objects.get(username='boris').groups."
        self._exchange.manage("shell", "-c", f"{change}clear()")
        for page in tabs:
            expect(page.locator("#connection-text")).to_have_text(DENIED, timeout=PATIENCE_MS)
            expect(page.locator(ROWS)).to_have_count(0, timeout=PATIENCE_MS)
            expect(page.locator("#present")).to_be_hidden()
        self._exchange.manage("shell", "-c", f"{change}add(Group.objects.get(name='clients'))")
        for page in tabs:
            page.locator(LIVE).wait_for()
            page.locator(ROWS).first.wait_for(state="attached")
            boris.stayed(page)
            page.close()

    def restart(self, boris: Person) -> None:
        """Who keeps a position gets what he missed and loads nothing; who keeps none loads his list again."""
        anna = Visitor(self._url, "anna", "livepush")
        tabs = {path: boris.tab() for path in (*RECOVERING, *RELOADING)}
        for path, page in tabs.items():
            boris.goto(path, page)
        boris.page.close()
        boris.page = tabs["/"]
        for page in tabs.values():
            page.evaluate("heard.length = 0")

        anna.act(5, "lock")
        self._all_see(boris, tabs, 5, LOCKED)
        self._while_away(tabs, self._exchange.daemon.kill, lambda: anna.act(6, "lock"))
        self._all_see(boris, tabs, 6, LOCKED)
        anna.act(7, "lock")
        self._all_see(boris, tabs, 7, LOCKED)
        self._while_away(tabs, self._exchange.daemon.terminate, lambda: anna.act(5, "done"))
        self._all_see(boris, tabs, 5, HIDDEN)
        anna.act(6, "done")
        self._all_see(boris, tabs, 6, HIDDEN)

        locks = [["lock", order, ""] for order in (5, 6, 7)]
        dones = [["done", order, "hide"] for order in (5, 6)]
        heard = {path: page.evaluate("heard") for path, page in tabs.items()}
        for path, page in tabs.items():
            boris.stayed(page)
            if path in RECOVERING:
                assert heard[path] == locks + dones, (path, heard)
            else:
                events = [event for event in heard[path] if event != ["load"]]
                assert events == [locks[0], locks[2], dones[1]], (path, heard)

    def _while_away(self, tabs: dict[str, Page], end: Callable[[], object], act: Callable[[], object]) -> None:
        """Something happens while no daemon runs, and every page knows that it is not live."""
        end()
        for page in tabs.values():
            page.locator(WAITING).wait_for()
        act()
        self._exchange.start_daemon()

    def _all_see(self, person: Person, tabs: dict[str, Page], order: int, mark: str) -> None:
        for path, page in tabs.items():
            try:
                person.sees(order, mark, page=page)
            except AssertionError as error:
                raise AssertionError(f"{path}: {page.evaluate('heard')}") from error

    @staticmethod
    def _add_libraries(page: Page) -> None:
        for name in VENDOR:
            page.add_script_tag(url=f"/static/exchange/vendor/{name}")


def main(broker: str, folder: Path) -> None:
    """Run all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as demo,
        Exchange(Path(demo) / "demo", broker) as exchange,
        chromium() as browser,
    ):
        try:
            EveryPage(browser, exchange, folder).run()
        except BaseException:
            print(exchange.daemon.output, file=sys.stderr)
            raise
    print("all steps done")


if __name__ == "__main__":
    main(os.environ["BROKER"], Path(sys.argv[1]))
