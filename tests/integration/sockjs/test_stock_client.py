"""The stock sockjs-client under Node, over each transport that Node can do."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from livepush.broker.envelope import Control, Event, Skip
from livepush.wire.closing import Close
from tests.integration.sockjs.case import CLASSIC, NATIVE, SockJSCase
from tests.servers.node import Script
from tests.unit.daemon.doubles import make_moderator, make_snapshot

TEXT = 'café \u2028 </script> "q" \x00 \U0001f600'
TRANSPORTS = ("websocket", "xhr-streaming", "xhr-polling", "eventsource")
LARGE = "é" * 32_768


def greet(page: Script, **hello: Any) -> dict[str, Any]:
    """Waits until the page is connected, and says hello; the welcome."""
    page.wait_for("open")
    page.say("send", json.dumps({"op": "hello", "n": 0, **hello}))
    welcome = told(page)
    assert welcome["op"] == "welcome", welcome
    return welcome


def told(page: Script) -> dict[str, Any]:
    """The next native message."""
    message: dict[str, Any] = json.loads(page.wait_for("message")[0])
    return message


class NativeTests(SockJSCase):
    """`/livepush/sockjs`: the native messages, each a SockJS message."""

    def test_transports(self) -> Deferred[Any]:
        """Events come in order and unchanged over each transport, each with its position; 64 KiB as well."""

        def work() -> None:
            pages = {name: self.page(NATIVE, name) for name in TRANSPORTS}
            for name, page in pages.items():
                welcome = greet(page)
                self.assertEqual(welcome["user"], 7, name)
                self.assertEqual(welcome["channels"]["orders"], {"audience": "client", "replayed": 0})
            self.publish({"n": 1, "text": TEXT}, {"n": 2})
            self.publish({"n": 3, "text": LARGE})
            for name, page in pages.items():
                got = [told(page) for _ in range(3)]
                self.assertEqual([each["data"]["n"] for each in got], [1, 2, 3], name)
                self.assertEqual((got[0]["data"]["text"], got[2]["data"]["text"]), (TEXT, LARGE), name)
                self.assertTrue(all(isinstance(each["at"], str) for each in got))

        return self.client(work)

    def test_requests(self) -> Deferred[Any]:
        """What a page asks for is answered over each transport, a request of 64 KiB too."""

        def work() -> None:
            for name in TRANSPORTS:
                page = self.page(NATIVE, name)
                greet(page)
                page.say("send", json.dumps({"op": "subscribe", "n": 1, "channel": "news", "pad": TEXT}))
                answer = told(page)
                self.assertEqual((answer["op"], answer["n"], answer["audience"]), ("ok", 1, "all"), name)
                page.say("send", json.dumps({"op": "subscribe", "n": 2, "channel": "orders.6", "pad": LARGE}))
                answer = told(page)
                self.assertEqual((answer["op"], answer["n"], answer["code"]), ("error", 2, "forbidden"), name)

        return self.client(work)

    def test_recovery(self) -> Deferred[Any]:
        """A page that was away gets what it missed, in order."""

        def work() -> None:
            for name in TRANSPORTS:
                page = self.page(NATIVE, name)
                greet(page)
                self.publish({"n": 1})
                at = told(page)["at"]
                page.say("close")
                self.assertEqual(page.wait_for("close")[0], 1000)
                self.publish({"n": 2}, {"n": 3})
                page = self.page(NATIVE, name)
                page.wait_for("open")
                page.say("send", json.dumps({"op": "hello", "n": 0, "channels": {"orders": at}}))
                got = [told(page) for _ in range(3)]
                self.assertEqual([each.get("data", {}).get("n") for each in got], [2, 3, None], name)
                self.assertEqual(got[2]["channels"]["orders"]["replayed"], 2)

        return self.client(work)

    def test_under_traffic(self) -> Deferred[Any]:
        """Of many events while answers fill up and polls come and go nothing is lost, doubled or out of order."""

        def work() -> None:
            pages = {name: self.page(NATIVE, name) for name in TRANSPORTS}
            for page in pages.values():
                greet(page)
            for number in range(300):
                self.publish({"n": number, "pad": "x" * 1_000})
            for name, page in pages.items():
                self.assertEqual([told(page)["data"]["n"] for _ in range(300)], list(range(300)), name)

        return self.client(work)

    def test_closed(self) -> Deferred[Any]:
        """Why a session ends arrives at the page: nonsense, nobody, a process that goes."""

        def work() -> None:
            for name in TRANSPORTS:
                page = self.page(NATIVE, name)
                greet(page)
                page.say("send", "nonsense")
                self.assertEqual(page.wait_for("close"), [Close.BAD_MESSAGE, "not JSON"], name)
                page = self.page(NATIVE, name)
                greet(page)
                self.in_reactor(lambda: self.hub.close_all(Close.GOING_AWAY, "the server goes") and None)
                self.assertEqual(page.wait_for("close"), [Close.GOING_AWAY, "the server goes"], name)
            self.identity.snapshot = None
            for name in TRANSPORTS:
                page = self.page(NATIVE, name)
                self.assertEqual(page.wait_for("close"), [Close.IDENTITY, "not logged in"], name)

        return self.client(work)

    def test_not_ready(self) -> Deferred[Any]:
        """Without a broker nobody is let in; the page's own timer comes back."""
        self.ready = False

        def work() -> None:
            page = self.page(NATIVE, "websocket")
            self.assertEqual(page.wait_for("close")[0], 1002)

        return self.client(work)


class ClassicTests(SockJSCase):
    """`/orders`: the classic page."""

    def test_transports(self) -> Deferred[Any]:
        """Events are objects of a type and its data, unchanged over each transport; the page says nothing."""

        def work() -> None:
            pages = {name: self.page(CLASSIC, name) for name in TRANSPORTS}
            for page in pages.values():
                page.wait_for("open")
            self.in_reactor(self._is_listened_to)
            self.publish({"n": 1, "text": TEXT}, {"n": 2, "text": LARGE}, kind="done")
            for name, page in pages.items():
                got = [page.wait_for("message")[0] for _ in range(2)]
                wanted = [{"n": 1, "text": TEXT}, {"n": 2, "text": LARGE}]
                self.assertEqual(got, [{"type": "done", "data": data} for data in wanted], name)

        return self.client(work)

    def _is_listened_to(self) -> None:
        assert self.hub.connections == len(TRANSPORTS)

    def test_actor(self) -> Deferred[Any]:
        """The tab that the address names is spared what it caused itself; the user's other tabs are not."""

        def work() -> None:
            for name in TRANSPORTS:
                actor, other = (self.page(f"{CLASSIC}?tab={tab}", name) for tab in ("k3f9", "zzzz"))
                actor.wait_for("open")
                other.wait_for("open")
                self.release(Event("orders", "lock", {}, skip=Skip("7", "k3f9")))
                self.publish({"n": 2})
                self.assertEqual(actor.wait_for("message")[0]["data"], {"n": 2}, name)
                self.assertEqual(other.wait_for("message")[0]["data"], {}, name)

        return self.client(work)

    def test_views(self) -> Deferred[Any]:
        """Everybody is shown the view of his audience."""

        def work() -> None:
            event = Event("orders", "lock", {"n": 1}, {"moderator": {"n": 1, "secret": True}})
            for name in TRANSPORTS:
                client = self.page(CLASSIC, name)
                client.wait_for("open")
                known, self.identity.snapshot = self.identity.snapshot, make_moderator()
                moderator = self.page(CLASSIC, name)
                moderator.wait_for("open")
                self.identity.snapshot = known
                self.release(event)
                self.assertEqual(moderator.wait_for("message")[0]["data"], {"n": 1, "secret": True}, name)
                self.assertEqual(client.wait_for("message")[0]["data"], {"n": 1}, name)

        return self.client(work)

    def test_reload(self) -> Deferred[Any]:
        """What may be missing ends the session, after what came before it."""

        def work() -> None:
            for name in TRANSPORTS:
                page = self.page(CLASSIC, name)
                page.wait_for("open")
                self.publish({"n": 1})
                self.in_reactor(lambda: self.hub.resync("orders", "hole"))
                self.in_reactor(self.hub.flush)
                self.assertEqual(page.wait_for("message")[0]["data"], {"n": 1}, name)
                self.assertEqual(page.wait_for("close"), [Close.HOLE, "reload"], name)

        return self.client(work)

    def test_rights(self) -> Deferred[Any]:
        """Who loses his rights hears nothing more; when they change to others his page begins anew."""

        def work() -> None:
            for name in TRANSPORTS:
                known = self.identity.snapshot
                page = self.page(CLASSIC, name)
                page.wait_for("open")
                self.identity.snapshot = make_snapshot(7)
                self.in_reactor(lambda: self.hub.control(Control("identity", "7")))
                self.publish({"n": 1})
                self.identity.snapshot = known
                self.in_reactor(lambda: self.hub.control(Control("identity", "7")))
                self.assertEqual(page.wait_for("close"), [Close.HOLE, "reload"], name)
                self.assertEqual([line for line in page.said if line[0] == "message"], [], name)

        return self.client(work)

    def test_nothing_for_him(self) -> Deferred[Any]:
        """Who may not hear any channel of the prefix is told so."""
        self.identity.snapshot = make_snapshot(7)

        def work() -> None:
            for name in TRANSPORTS:
                self.assertEqual(self.page(CLASSIC, name).wait_for("close")[0], Close.FORBIDDEN, name)

        return self.client(work)
