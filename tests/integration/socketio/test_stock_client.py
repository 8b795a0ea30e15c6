"""The stock socket.io-client under Node: over WebSocket, over polling, and from the one to the other."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from livepush.broker.envelope import Control, Event, Skip
from livepush.daemon.connection import Connection
from livepush.wire.closing import Close
from livepush.wire.requests import Call
from tests.integration.socketio.case import SocketIOCase
from tests.servers.node import Script
from tests.unit.daemon.doubles import make_moderator, make_snapshot

TEXT = 'café \u2028 </script> "q" \x1e \x00 \U0001f600'


def welcomed(page: Script, recovered: bool = False) -> dict[str, Any]:
    """Waits until the page is connected; what it is told then."""
    connect = page.wait_for("connect")[0]
    assert connect["recovered"] is recovered, connect
    event: list[Any] = page.wait_until(lambda line: line[:2] == ["event", "livepush:welcome"])
    told: dict[str, Any] = event[2]
    return told


def event(page: Script, name: str = "lock") -> list[Any]:
    """The arguments of the next event of this name."""
    line: list[Any] = page.wait_until(lambda line: line[:2] == ["event", name], what=name)
    return line[2:]


class EchoingCalls:
    """A site that answers with what it was told, or refuses."""

    def begin(self, connection: Connection, call: Call) -> None:
        if call.type == "refuse":
            connection.refuse(call.n, "refused", "no")
        else:
            connection.answer(call.n, call.data)

    def forget(self, connection: Connection) -> None:
        pass


class StockClientTests(SocketIOCase):
    """What pages see."""

    def test_transports(self) -> Deferred[Any]:
        """Events come in order and unchanged over each transport, each with its position; 64 KiB as well."""

        def work() -> None:
            pages = {"websocket": self.page("websocket"), "polling": self.page("polling"), "upgrade": self.page()}
            for name, page in pages.items():
                told = welcomed(page)
                self.assertEqual(told["user"], 7)
                self.assertEqual(told["channels"]["orders"], {"audience": "client", "replayed": 0})
                if name == "upgrade":
                    page.wait_for("upgrade")
            large = "é" * 32_768
            self.publish({"n": 1, "text": TEXT}, {"n": 2})
            self.publish({"n": 3, "text": large})
            for name, page in pages.items():
                got = [event(page) for _ in range(3)]
                self.assertEqual([data["n"] for data, _ in got], [1, 2, 3], name)
                self.assertEqual((got[0][0]["text"], got[2][0]["text"]), (TEXT, large), name)
                self.assertTrue(all(isinstance(at, str) for _, at in got))

        return self.client(work)

    def test_upgrade_under_traffic(self) -> Deferred[Any]:
        """Events that are published while sessions move from polling to WebSocket arrive once, in order."""

        def work() -> None:
            pages = [self.page() for _ in range(4)]
            for number in range(300):
                self.publish({"n": number, "pad": "x" * 500})
            for page in pages:
                welcomed(page)
                page.wait_for("upgrade")
            self.publish({"n": -1})
            for page in pages:
                page.wait_until(lambda line: line[:2] == ["event", "lock"] and line[2]["n"] == -1)
                numbers = [line[2]["n"] for line in page.said if line[:2] == ["event", "lock"]][:-1]
                self.assertEqual(numbers, list(range(numbers[0], 300)) if numbers else [])

        return self.client(work)

    def test_requests(self) -> Deferred[Any]:
        """Subscriptions, refusals and the classic login are answered by acknowledgements."""

        def work() -> None:
            for transport in ("websocket", "polling"):
                page = self.page(transport)
                welcomed(page)
                page.say("ask", "login")
                self.assertEqual(page.wait_for("answer"), [{"ok": True}])
                page.say("ask", "livepush:unsubscribe", {"channel": "news"})
                self.assertEqual(page.wait_for("answer"), [{"ok": True, "channel": "news"}])
                page.say("ask", "livepush:subscribe", {"channel": "news"})
                [answer] = page.wait_for("answer")
                self.assertEqual((answer["ok"], answer["audience"], answer["replayed"]), (True, "all", 0))
                requests: tuple[tuple[tuple[Any, ...], str], ...] = (
                    (("livepush:subscribe", {"channel": "orders.6"}), "forbidden"),
                    (("livepush:subscribe", {"channel": "#"}), "bad_channel"),
                    (("livepush:call", {"channel": "orders", "type": "lock", "data": {}}), "unknown_op"),
                    (("dance",), "unknown_op"),
                )
                for asked, code in requests:
                    page.say("ask", *asked)
                    [answer] = page.wait_for("answer")
                    self.assertEqual((answer["ok"], answer["code"]), (False, code))
                page.say("emit", "dance")
                self.assertEqual(event(page, "livepush:error")[0]["code"], "unknown_op")
                page.say("emit", "livepush:subscribe", {"channel": 5})
                self.assertEqual(page.wait_for("disconnect")[0], {"reason": "io server disconnect", "active": False})

        return self.client(work)

    def test_calls(self) -> Deferred[Any]:
        """What the site answers to a call is its acknowledgement, also when it says no."""

        def work() -> None:
            self.hub.calls = EchoingCalls()
            for transport in ("websocket", "polling"):
                page = self.page(transport)
                welcomed(page)
                call = {"channel": "orders", "type": "lock", "data": {"text": TEXT}}
                page.say("ask", "livepush:call", call)
                self.assertEqual(page.wait_for("answer"), [{"ok": True, "data": {"text": TEXT}}])
                page.say("ask", "livepush:call", {**call, "type": "refuse"})
                refused = {"ok": False, "code": "refused", "retry": False, "message": "no"}
                self.assertEqual(page.wait_for("answer"), [refused])

        return self.client(work)

    def test_refused(self) -> Deferred[Any]:
        """Who may not connect is told why, and stays away; who asks for nonsense too."""

        def work() -> None:
            self.identity.snapshot = None
            for transport in ("websocket", "polling"):
                page = self.page(transport)
                [error] = page.wait_for("connect_error")
                self.assertEqual(
                    error, {"message": "not logged in", "data": {"code": Close.IDENTITY}, "active": False}, transport
                )
            self.identity.snapshot = make_snapshot(7)
            page = self.page("websocket", auth={"channels": ["orders"]})
            self.assertEqual(page.wait_for("connect_error")[0]["data"], {"code": Close.FORBIDDEN})
            page = self.page("websocket", auth={"tab": "a b"})
            self.assertEqual(page.wait_for("connect_error")[0]["data"], {"code": Close.BAD_MESSAGE})

        return self.client(work)

    def test_busy(self) -> Deferred[Any]:
        """When it can't be found out now who somebody is, he comes back by himself."""

        def work() -> None:
            for transport in ("websocket", "polling"):
                self.identity.error = RuntimeError("no database")
                page = self.page(transport)
                self.in_reactor(lambda: None)
                while not self.in_reactor(lambda: self.flushLoggedErrors(RuntimeError)):
                    pass
                self.identity.error = None
                welcomed(page)
                self.in_reactor(lambda: self.flushLoggedErrors(RuntimeError))

        return self.client(work)

    def test_recovery(self) -> Deferred[Any]:
        """A page that was away gets what it missed, in order, and its client says so."""

        def work() -> None:
            for transport in ("websocket", "polling"):
                page = self.page(transport, auth={"channels": ["orders", "news"]})
                welcomed(page)
                self.publish({"n": 1})
                event(page)
                page.say("cut")
                page.wait_for("disconnect")
                self.publish({"n": 2}, {"n": 3})
                told = welcomed(page, recovered=True)
                self.assertEqual(told["channels"]["orders"]["replayed"], 2)
                self.publish({"n": 4})
                page.wait_until(lambda line: line[:2] == ["event", "lock"] and line[2]["n"] == 4)
                got = [line[2]["n"] for line in page.said if line[:2] == ["event", "lock"]]
                self.assertEqual(got, [1, 2, 3, 4], transport)

        return self.client(work)

    def test_no_recovery(self) -> Deferred[Any]:
        """What can't be replayed, or not for all channels, is no recovery."""

        def work() -> None:
            page = self.page("websocket")
            welcomed(page)
            page.say("cut")
            page.wait_for("disconnect")
            self.in_reactor(lambda: self.hub.start_over("a test"))
            told = welcomed(page, recovered=False)
            self.assertEqual(told["channels"]["orders"]["resync"], "restart")
            self.identity.snapshot = make_snapshot(7)
            page.say("cut")
            told = welcomed(page, recovered=False)
            self.assertNotIn("orders", told["channels"])

        return self.client(work)

    def test_gone_and_back(self) -> Deferred[Any]:
        """Rights that change are told at once, and what lay between is never taken for received."""

        def work() -> None:
            for transport in ("websocket", "polling"):
                self.identity.snapshot = make_moderator(7)
                page = self.page(transport)
                welcomed(page)
                self.identity.snapshot = make_snapshot(7)
                self.in_reactor(lambda: self.hub.control(Control("identity", "7")))
                self.assertEqual(event(page, "livepush:gone"), [{"channel": "orders", "why": "permission"}])
                self.assertFalse(page.wait_for("connect")[0]["recovered"])
                self.publish({"n": 1})
                self.identity.snapshot = make_moderator(7)
                self.in_reactor(lambda: self.hub.control(Control("identity", "7")))
                back = event(page, "livepush:back")
                self.assertEqual(back[0], {"channel": "orders", "audience": "moderator"})
                self.assertFalse(page.wait_for("connect")[0]["recovered"])
                page.say("cut")
                welcomed(page, recovered=False)
                self.assertNotIn(1, [line[2].get("n") for line in page.said if line[:2] == ["event", "lock"]])

        return self.client(work)

    def test_logged_out(self) -> Deferred[Any]:
        """Whose login ends is put out, and does not come back."""

        def work() -> None:
            for transport in ("websocket", "polling"):
                page = self.page(transport)
                welcomed(page)
                snapshot, self.identity.snapshot = self.identity.snapshot, None
                self.in_reactor(lambda: self.hub.control(Control("identity", "7")))
                self.assertEqual(page.wait_for("disconnect")[0], {"reason": "io server disconnect", "active": False})
                self.identity.snapshot = snapshot

        return self.client(work)

    def test_actor(self) -> Deferred[Any]:
        """The tab that acted, which the page names when it connects, does not hear of it."""

        def work() -> None:
            pages = [self.page(transport, auth={"tab": "t1"}) for transport in ("websocket", "polling")]
            other = self.page("websocket", auth={"tab": "t2"})
            for page in (*pages, other):
                welcomed(page)
            skipping = Event("orders", "lock", {"n": 1}, skip=Skip("7", "t1"))
            self.in_reactor(lambda: self.hub.event(skipping, "q-1", 0, 10))
            self.publish({"n": 2})
            self.assertEqual(event(other)[0], {"n": 1})
            for page in pages:
                self.assertEqual(event(page)[0], {"n": 2})

        return self.client(work)

    def test_reserved_names(self) -> Deferred[Any]:
        """An event whose type is a word of the client's own does not break it."""

        def work() -> None:
            page = self.page("websocket")
            welcomed(page)
            self.publish({"n": 1}, kind="disconnect")
            self.assertEqual(event(page, "livepush:disconnect")[0], {"n": 1})

        return self.client(work)

    def test_leaving(self) -> Deferred[Any]:
        """A page that leaves is forgotten at once, and may come again."""

        def work() -> None:
            for transport in ("websocket", "polling"):
                page = self.page(transport)
                welcomed(page)
                page.say("close")
                page.wait_for("disconnect")
                page.say("open")
                welcomed(page, recovered=True)
                page.say("close")
                page.wait_for("disconnect")

        return self.client(work)
