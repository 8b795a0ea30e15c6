"""Sessions over HTTP belong to who opened them, and what waits in a parked one is bounded and can be taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from livepush.broker.envelope import Control
from livepush.wire.closing import Close
from tests.clients.rawhttp import Exchange, request
from tests.clients.websocket import BINARY, TEXT, WebSocket, connect
from tests.integration.refusals.case import COOKIE, OWN, Asked, TransportsCase
from tests.integration.served import ORIGIN
from tests.unit.daemon.doubles import make_client, make_snapshot

OTHERS = ("sessionid=boris", "sessionid=", "", None)
POLLING = "/socket.io/?EIO=4&transport=polling"
SOCKJS = "/livepush/sockjs/0/mine"


def cookie(value: str | None) -> list[tuple[str, str]]:
    """The headers of a page of the site, with this Cookie header; None: without one."""
    return [("Origin", ORIGIN), *([] if value is None else [("Cookie", value)])]


class SessionCase(TransportsCase):
    """Pages over long polling, hand-made."""

    def say(self, method: str, path: str, body: bytes | None = None, headers: Any = OWN, status: int = 200) -> bytes:
        """A whole exchange; the body of its answer."""
        with Exchange(self.port, request(method, path, headers, body)) as exchange:
            answer = exchange.rest()
            self.assertEqual(exchange.status, status, (method, path, answer))
            return answer

    def engine(self) -> str:
        """A page in Socket.IO's namespace `/`, whose session is parked now; the address of its polls."""
        sid = json.loads(self.say("GET", POLLING)[1:])["sid"]
        path = f"{POLLING}&sid={sid}"
        self.assertEqual(self.say("POST", path, b"40"), b"ok")
        self.assertIn(b'42["livepush:welcome"', self.say("GET", path))
        return path

    def sockjs(self) -> None:
        """A page that has said hello in the session `SOCKJS`, which is parked now."""
        self.assertEqual(self.say("POST", f"{SOCKJS}/xhr", b""), b"o\n")
        self.say("POST", f"{SOCKJS}/xhr_send", json.dumps([json.dumps({"op": "hello"})]).encode(), status=204)
        self.assertIn(b"welcome", self.say("POST", f"{SOCKJS}/xhr", b""))

    def socket(self, path: str, value: str | None = COOKIE[1]) -> WebSocket:
        """A WebSocket of a page of the site."""
        client = connect(self.port, path, cookie(value))
        self.assertEqual(client.status, 101)
        return client


class OwnerTests(SessionCase):
    """A session's id is no key to it."""

    def test_engine_io(self) -> Deferred[Any]:
        """With another cookie, or none, a session is unknown to each request; its owner notices nothing."""

        def work() -> None:
            path = self.engine()
            for other in OTHERS:
                for method, body in (("GET", None), ("POST", b"41"), ("POST", b"1")):
                    answer = self.say(method, path, body, cookie(other), 400)
                    self.assertEqual(json.loads(answer), {"code": 1, "message": "Session ID unknown"})
                with connect(self.port, path.replace("polling", "websocket"), cookie(other)) as client:
                    self.assertEqual(client.status, 400)
            self.publish({"n": 1})
            self.assertIn(b'42["lock",{"n":1}', self.say("GET", path))
            self.assertEqual(self.sessions(), 1)

        return self.client(work)

    def test_sockjs(self) -> Deferred[Any]:
        """With another cookie, or none, a session of SockJS does not exist, and its id can't be opened again."""

        def work() -> None:
            self.sockjs()
            for other in OTHERS:
                for kind in ("xhr", "xhr_send", "xhr_streaming"):
                    self.say("POST", f"{SOCKJS}/{kind}", b'["{}"]', cookie(other), 404)
                for kind in ("eventsource", "jsonp?c=f", "htmlfile?c=f"):
                    headers = [*cookie(other), ("Referer", f"{ORIGIN}/")]
                    self.say("GET", f"{SOCKJS}/{kind}", None, headers, 404)
            self.publish({"n": 1})
            self.assertIn(b'\\"data\\":{\\"n\\":1}', self.say("POST", f"{SOCKJS}/xhr", b""))
            self.assertEqual(self.sessions(), 1)

        return self.client(work)

    def test_nobodys(self) -> Deferred[Any]:
        """A visitor without a cookie has sessions that nobody with one finds, not even he when he has logged in."""
        self.identity.snapshot = make_snapshot(None, "orders.lock_order")

        def work() -> None:
            nobody, somebody = cookie(None), cookie(COOKIE[1])
            sid = json.loads(self.say("GET", POLLING, None, nobody)[1:])["sid"]
            path = f"{POLLING}&sid={sid}"
            self.say("POST", path, b"40", nobody)
            self.assertIn(b'"user":null', self.say("GET", path, None, nobody))
            self.assertEqual(self.say("POST", f"{SOCKJS}/xhr", b"", nobody), b"o\n")
            self.identity.snapshot = make_client()
            self.say("GET", path, None, somebody, 400)
            self.say("POST", f"{SOCKJS}/xhr_send", b'["{}"]', somebody, 404)
            self.say("POST", f"{SOCKJS}/xhr", b"", somebody, 404)
            self.publish({"n": 1})
            self.assertIn(b'42["lock",{"n":1}', self.say("GET", path, None, nobody))

        return self.client(work)

    def test_names_are_of_one_address(self) -> Deferred[Any]:
        """A session of one prefix is none of another, and none of another transport."""

        def work() -> None:
            self.sockjs()
            self.say("POST", "/orders/0/mine/xhr_send", b'["{}"]', status=404)
            self.say("GET", f"{POLLING}&sid=mine", status=400)

        return self.client(work)

    def test_nobody_is_guessed(self) -> Deferred[Any]:
        """An id that the server never made opens nothing in Engine.IO, however it looks."""

        def work() -> None:
            for sid in ("", "x", "%00", "x" * 10_000, "%C3%A9", "..%2F"):
                self.say("GET", f"{POLLING}&sid={sid}", status=400)
                self.say("POST", f"{POLLING}&sid={sid}", b"40", status=400)
            self.assertEqual(self.sessions(), 0)

        return self.client(work)


class ParkedTests(SessionCase):
    """Between two polls nothing leaves, and what waits is the hub's to decide about."""

    def _polls(self) -> tuple[tuple[Callable[[], None], Callable[[], bytes]], ...]:
        """Per transport: how a page begins, and how it polls then."""
        paths: list[str] = []
        return (
            (lambda: paths.append(self.engine()), lambda: self.say("GET", paths[0])),
            (self.sockjs, lambda: self.say("POST", f"{SOCKJS}/xhr", b"")),
        )

    def test_overflow(self) -> Deferred[Any]:
        """What waits is at most `outbound_bytes`; over it the events give way to one resync."""

        def work() -> None:
            for begin, poll in self._polls():
                begin()
                for number in range(20):
                    self.publish({"n": number, "pad": "x" * 60_000})
                answer = poll()
                self.assertEqual((answer.count(b"resync"), answer.count(b"slow")), (1, 1), answer[:200])
                self.assertLess(len(answer), self.limits.outbound_bytes + 1_000)
                self.publish({"n": "after"})
                if b"after" not in answer:
                    self.assertIn(b"after", poll())

        return self.client(work)

    def test_taken_back(self) -> Deferred[Any]:
        """Who has lost his permission meanwhile does not get what was waiting for him."""

        def work() -> None:
            polls = self._polls()
            for begin, _ in polls:
                begin()
            self.publish({"secret": 1})
            self.identity.snapshot = make_snapshot(7)

            def doubt() -> None:
                self.hub.control(Control("identity", "7"))
                self.hub.flush()

            self.in_reactor(doubt)
            for _, poll in polls:
                answer = poll()
                self.assertNotIn(b"secret", answer)
                self.assertIn(b"gone", answer)

        return self.client(work)

    def test_logged_out(self) -> Deferred[Any]:
        """Whose login has ended meanwhile gets nothing of it, and is not let in again."""

        def work() -> None:
            polls = self._polls()
            for begin, _ in polls:
                begin()
            self.publish({"secret": 1})
            self.identity.snapshot = None
            self.in_reactor(lambda: self.hub.control(Control("identity", "7")))
            sockjs = polls[1][1]()
            self.assertRegex(sockjs, rb"^c\[4401,")
            self.assertEqual(self.in_reactor(lambda: self.hub.connections), 0)

        return self.client(work)

    def test_shutdown(self) -> Deferred[Any]:
        """A process that goes does not wait for parked sessions, and tells whoever polls then to come back."""

        def work() -> None:
            path = self.engine()
            self.sockjs()
            with self.ask(Asked("GET", "/livepush/sse")) as stream:
                stream.until(b'"op":"welcome"')
                self.in_reactor(lambda: self.hub.close_all(Close.GOING_AWAY, "bye"))
                self.assertTrue(stream.closed())
            self.assertEqual(self.in_reactor(lambda: self.hub.connections), 0)
            self.assertRegex(self.say("POST", f"{SOCKJS}/xhr", b""), rb"^c\[4000,")
            self.say("GET", path, status=400)  # upon which the client begins anew

        return self.client(work)


class UpgradeTests(SessionCase):
    """WebSockets of Engine.IO."""

    def test_a_second_websocket(self) -> Deferred[Any]:
        """One WebSocket may try to take a session over; another one beside it, or after it, is closed."""

        def work() -> None:
            path = self.engine()
            upgrade = path.replace("polling", "websocket")
            with self.socket(upgrade) as first:
                first.send_text("2probe")
                self.assertEqual(first.receive_text(), "3probe")
                with self.socket(upgrade) as second:
                    self.assertLess(second.receive_close().code, 4_000)
                first.send_text("5")
                self.publish({"n": 1})
                self.assertIn('42["lock",{"n":1}', first.receive_text())
                with self.socket(upgrade) as third:
                    self.assertLess(third.receive_close().code, 4_000)
                self.say("GET", path, status=400)
                self.say("POST", path, b"40", status=400)
                self.publish({"n": 2})
                self.assertIn('42["lock",{"n":2}', first.receive_text())

        return self.client(work)

    def test_violations(self) -> Deferred[Any]:
        """What is no packet, too large, or breaks RFC 6455, ends the session."""

        def work() -> None:
            cases: list[tuple[tuple[int, ...], Callable[[WebSocket], None]]] = [
                ((1000,), lambda client: client.send_text("9")),
                ((1000,), lambda client: client.send_text("")),
                ((1000,), lambda client: client.send_text("2probe")),
                ((1000,), lambda client: client.send_text("42[")),
                ((1000,), lambda client: client.send_frame(BINARY, b"x")),  # an attachment of nothing
                ((1002,), lambda client: client.send_frame(TEXT, b"40", masked=False)),
                ((1007,), lambda client: client.send_frame(TEXT, b"\xff\xfe")),
                ((4413,), lambda client: client.send_text("4" + "x" * 4_097)),
                ((4413,), lambda client: client.send_raw(b"\x81\xff" + (2**62).to_bytes(8, "big") + b"mask")),
            ]
            for codes, send in cases:
                with self.socket("/socket.io/?EIO=4&transport=websocket") as client:
                    self.assertTrue(client.receive_text().startswith("0{"))
                    client.send_text("40")
                    self.assertTrue(client.receive_text().startswith("40{"))
                    send(client)
                    self.assertIn(client.receive_close().code, codes)
            self.until(lambda: not any(getattr(endpoint, "sessions", ()) for endpoint in self.served.values()))

        return self.client(work)

    def test_no_upgrade(self) -> Deferred[Any]:
        """The transport `websocket` without an upgrade is refused."""

        def work() -> None:
            with self.ask(Asked("GET", "/socket.io/?EIO=4&transport=websocket")) as exchange:
                self.assertEqual(exchange.status, 400)
            self.assertEqual(self.sessions(), 0)

        return self.client(work)
