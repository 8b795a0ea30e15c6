"""What SockJS refuses and bounds, by requests on raw sockets that no browser would send."""

from __future__ import annotations

import itertools
import json
import socket
from typing import Any
from urllib.parse import quote_plus

from twisted.internet.defer import Deferred

from livepush.daemon.settings import Limits
from livepush.daemon.sockjsapp import SockJSSettings
from livepush.wire.closing import Close
from tests.clients.websocket import CLOSE, PING, PONG, TEXT, Closed, WebSocket, connect
from tests.integration.served import ORIGIN
from tests.integration.sockjs.case import CLASSIC, COOKIE, LEGACY, NATIVE, SockJSCase
from tests.unit.daemon.doubles import make_snapshot

EVIL = "http://evil.example"
HELLO = json.dumps([json.dumps({"op": "hello", "n": 0})])
SESSION = itertools.count()


class RawCase(SockJSCase):
    """Sessions over HTTP, by hand."""

    limits = Limits(
        connections=20, message_bytes=4_096, outbound_bytes=64 * 1024, heartbeat_seconds=3_600.0, hello_seconds=3_600.0
    )
    settings = SockJSSettings(response_bytes=4_096, disconnect_seconds=3_600.0)

    def session(self, prefix: str = NATIVE) -> str:
        """The address of a session that is open."""
        path = f"{prefix}/000/s{next(SESSION)}"
        assert self.ask("POST", f"{path}/xhr").body == b"o\n"
        return path

    def poll(self, path: str) -> bytes:
        """The next frame."""
        return self.ask("POST", f"{path}/xhr").body

    def greeted(self) -> str:
        """A session past its greeting."""
        path = self.session()
        assert self.ask("POST", f"{path}/xhr_send", HELLO).status == 204
        assert b"welcome" in self.poll(path)
        return path

    def web_socket(self, path: str, origin: str | None = ORIGIN) -> WebSocket:
        """A handshake as a logged-in browser makes it."""
        headers = [("Cookie", COOKIE), *([] if origin is None else [("Origin", origin)])]
        return connect(self.port, path, headers=headers)


class OriginTests(RawCase):
    """Which pages may come."""

    def test_refused(self) -> Deferred[Any]:
        """Another site's page gets nothing from any address, and nothing that would let it read."""

        def work() -> None:
            path = self.greeted()
            for method, address in (
                ("GET", f"{NATIVE}/info"),
                ("OPTIONS", f"{NATIVE}/info"),
                ("OPTIONS", f"{path}/xhr"),
                ("POST", f"{path}/xhr"),
                ("POST", f"{path}/xhr_streaming"),
                ("POST", f"{path}/xhr_send"),
                ("GET", f"{path}/eventsource"),
                ("GET", f"{LEGACY}/0/a/htmlfile?c=x"),
                ("GET", f"{LEGACY}/0/a/jsonp?c=x"),
                ("POST", f"{LEGACY}/0/a/jsonp_send"),
            ):
                for origin in (EVIL, "null", f"{ORIGIN}.evil.example"):
                    answer = self.ask(method, address, HELLO if method == "POST" else b"", origin=origin)
                    self.assertEqual(answer.status, 403, (method, address, origin))
                    self.assertIsNone(answer.header("Access-Control-Allow-Origin"))
                    self.assertNotIn(b"evil", answer.body)
            for address in (f"{NATIVE}/websocket", f"{NATIVE}/0/a/websocket"):
                with self.web_socket(address, EVIL) as client:
                    self.assertEqual(client.status, 403)
            self.assertEqual(len(self.sockjs[LEGACY].sessions), 0)

        return self.client(work)

    def test_allowed(self) -> Deferred[Any]:
        """The site's pages may read the answers, with cookies; nobody else is named."""

        def work() -> None:
            path = self.greeted()
            for method, address in (
                ("GET", f"{NATIVE}/info"),
                ("POST", f"{path}/xhr_send"),
                ("OPTIONS", f"{path}/xhr"),
            ):
                answer = self.ask(method, address, "[]" if method == "POST" else b"")
                self.assertIn(answer.status, (200, 204))
                self.assertEqual(answer.header("Access-Control-Allow-Origin"), ORIGIN)
                self.assertEqual(answer.header("Access-Control-Allow-Credentials"), "true")
                self.assertEqual(answer.header("Vary"), "Origin")
                answer.close()

        return self.client(work)

    def test_no_origin(self) -> Deferred[Any]:
        """Without an Origin the own page may read; a POST may not be made, nor a tag of another site's page."""

        def work() -> None:
            for site, status in ((None, 200), ("same-origin", 200), ("cross-site", 403), ("same-site", 403)):
                with self.ask("GET", f"{NATIVE}/info", origin=None, sec_fetch_site=site) as answer:
                    self.assertEqual(answer.status, status, site)
                    self.assertIsNone(answer.header("Access-Control-Allow-Origin"))
            with self.ask("POST", f"{NATIVE}/0/a/xhr", origin=None) as answer:
                self.assertEqual(answer.status, 403)

        return self.client(work)

    def test_legacy(self) -> Deferred[Any]:
        """What a script tag asks for is judged by its Referer, and with a cookie it must have one."""

        def work() -> None:
            asked: list[tuple[int, dict[str, Any]]] = [
                (403, {}),
                (403, {"referer": f"{EVIL}/page"}),
                (403, {"referer": "http://[nonsense"}),
                (403, {"sec_fetch_site": "cross-site"}),
                (403, {"sec_fetch_site": "same-site"}),
                (200, {"referer": f"{ORIGIN}/page?x"}),
                (200, {"sec_fetch_site": "same-origin"}),
                (200, {"cookie": None}),
            ]
            for number, (status, headers) in enumerate(asked):
                with self.ask("GET", f"{LEGACY}/0/r{number}/jsonp?c=x", origin=None, **headers) as answer:
                    self.assertEqual(answer.status, status, headers)

        return self.client(work)


class BindingTests(RawCase):
    """A session belongs to who opened it."""

    def test_foreign(self) -> Deferred[Any]:
        """Under another cookie, or none, a session does not exist; its owner does not notice."""

        def work() -> None:
            path = self.greeted()
            for cookie in ("sessionid=y", None):
                for kind in ("xhr_send", "xhr", "xhr_streaming"):
                    with self.ask("POST", f"{path}/{kind}", HELLO, cookie=cookie) as answer:
                        self.assertEqual(answer.status, 404, (kind, cookie))
                with self.ask("GET", f"{path}/eventsource", cookie=cookie) as answer:
                    self.assertEqual(answer.status, 404)
            self.publish({"n": 1})
            self.assertIn(b'\\"n\\":1', self.poll(path))

        return self.client(work)

    def test_unknown(self) -> Deferred[Any]:
        """Nothing can be sent to a session that is not here."""

        def work() -> None:
            with self.ask("POST", f"{NATIVE}/000/nobody/xhr_send", HELLO) as answer:
                self.assertEqual((answer.status, answer.header("Access-Control-Allow-Origin")), (404, ORIGIN))

        return self.client(work)


class AddressTests(RawCase):
    """What is where."""

    def test_nothing_else(self) -> Deferred[Any]:
        """Odd paths are nothing, and legacy transports are not there unless they are asked for."""

        def work() -> None:
            for path in (
                "/x",
                "/a/b",
                "//a/xhr",
                "/a//xhr",
                "/a.b/c/xhr",
                "/a/b.c/xhr",
                "/a/b/xhr/",
                "/a/b/dance",
                f"/a/{'x' * 129}/xhr",
                "/iframe.html",
                "/a/b/jsonp?c=x",
                "/a/b/htmlfile?c=x",
                "/a/b/jsonp_send",
            ):
                for method in ("GET", "POST"):
                    with self.ask(method, NATIVE + path) as answer:
                        self.assertEqual(answer.status, 404, path)

        return self.client(work)

    def test_methods(self) -> Deferred[Any]:
        """Each address has its method, and says which."""

        def work() -> None:
            for method, path, allowed in (
                ("POST", "/info", "GET"),
                ("GET", "/a/b/xhr", "POST"),
                ("DELETE", "/a/b/xhr_send", "POST"),
                ("POST", "/a/b/eventsource", "GET"),
                ("POST", "/a/b/websocket", "GET"),
                ("POST", "/websocket", "GET"),
            ):
                with self.ask(method, NATIVE + path) as answer:
                    self.assertEqual((answer.status, answer.header("Allow")), (405, allowed), path)

        return self.client(work)

    def test_full(self) -> Deferred[Any]:
        """Over the bound of connections no session is opened; a process that is not ready opens none either."""

        def work() -> None:
            for _ in range(self.limits.connections):
                self.session()
            for path in ("/info", "/a/b/eventsource"):
                with self.ask("GET", NATIVE + path) as answer:
                    self.assertEqual((answer.status, answer.header("Retry-After")), (503, "5"), path)
            with self.web_socket(f"{NATIVE}/0/a/websocket") as client:
                self.assertEqual(client.status, 503)
            self.ready = False
            with self.ask("GET", f"{NATIVE}/info") as answer:
                self.assertEqual((answer.status, answer.header("Retry-After")), (503, "1"))

        return self.client(work)

    def test_full_of_the_past(self) -> Deferred[Any]:
        """Sessions that are over and still remembered count as well: nobody fills the memory with them."""
        self.identity.snapshot = None

        def work() -> None:
            for _ in range(self.limits.connections):
                self.session()
            self.assertEqual(self.in_reactor(lambda: self.hub.connections), 0)
            with self.ask("POST", f"{NATIVE}/0/one-more/xhr") as answer:
                self.assertEqual((answer.status, answer.header("Retry-After")), (503, "5"))

        return self.client(work)

    def test_iframe(self) -> Deferred[Any]:
        """The iframe's page is cached, and shown on the site's own pages only."""

        def work() -> None:
            with self.ask("GET", f"{LEGACY}/iframe-1.6.1.html") as answer:
                tag = answer.header("ETag")
                self.assertEqual(answer.header("Content-Security-Policy"), f"frame-ancestors 'self' {ORIGIN}")
                self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
                self.assertIn(b'src="/static/sockjs.js"', answer.body)
            with self.ask("GET", f"{LEGACY}/iframe-1.6.1.html", if_none_match=tag) as answer:
                self.assertEqual(answer.status, 304)

        return self.client(work)


class SendTests(RawCase):
    """What clients send."""

    def test_bad_bodies(self) -> Deferred[Any]:
        """A body that is no array of texts is refused, and the session stays."""

        def work() -> None:
            path = self.greeted()
            for body in ("", "[", '["a', "{}", "[1]", b"\xff", "[" * 4_000, json.dumps([""] * 1_001)):
                with self.ask("POST", f"{path}/xhr_send", body) as answer:
                    self.assertEqual(answer.status, 500, body)
            ask = json.dumps({"op": "subscribe", "n": 1, "channel": "news"})
            self.assertEqual(self.ask("POST", f"{path}/xhr_send", json.dumps([ask])).status, 204)
            self.assertIn(b'\\"n\\":1', self.poll(path))

        return self.client(work)

    def test_too_large(self) -> Deferred[Any]:
        """One message over the bound ends the session, and its client is told."""

        def work() -> None:
            path = self.greeted()
            with self.ask("POST", f"{path}/xhr_send", json.dumps(["x" * 4_097])) as answer:
                self.assertEqual(answer.status, 413)
            self.assertEqual(self.poll(path), b'c[4413,"a message is at most 4096 bytes"]\n')

        return self.client(work)

    def test_no_message(self) -> Deferred[Any]:
        """A text that is no native message ends the session, and nothing behind it is read."""

        def work() -> None:
            path = self.greeted()
            self.assertEqual(self.ask("POST", f"{path}/xhr_send", json.dumps(["dance", "{}"])).status, 204)
            self.assertEqual(self.poll(path), b'c[4400,"not JSON"]\n')
            self.assertEqual(self.poll(path), b'c[4400,"not JSON"]\n')
            self.assertEqual(self.ask("POST", f"{path}/xhr_send", HELLO).status, 204)

        return self.client(work)

    def test_one_after_the_other(self) -> Deferred[Any]:
        """While what was asked waits for Django one POST more is kept, and no second one."""
        self.identity.waits = True

        def work() -> None:
            path = self.session()
            kept = self.ask("POST", f"{path}/xhr_send", HELLO)
            [session] = self.sockjs[NATIVE].sessions.values()
            self.until(lambda: session._parked is not None)
            with self.ask("POST", f"{path}/xhr_send", HELLO) as second:
                self.assertEqual(second.status, 503)
            self.identity.waits = False
            self.in_reactor(lambda: self.identity.waiting.pop().callback(None))
            self.assertEqual(kept.status, 204)
            kept.close()
            self.assertIn(b"welcome", self.poll(path))

        return self.client(work)

    def test_form(self) -> Deferred[Any]:
        """A form brings any text unchanged."""

        def work() -> None:
            path = f"{LEGACY}/000/form"
            with self.ask("GET", f"{path}/jsonp?c=_jp.a1") as answer:
                self.assertEqual(answer.body, b'/**/_jp.a1("o");\r\n')
            asked = json.dumps([json.dumps({"op": "subscribe", "n": 1, "channel": "é"}, ensure_ascii=False)])
            form = "d=" + quote_plus(asked)
            kind = "application/x-www-form-urlencoded"
            with self.ask("POST", f"{path}/jsonp_send", form, content_type=kind) as answer:
                self.assertEqual((answer.status, answer.body), (200, b"ok"))
            with self.ask("GET", f"{path}/jsonp?c=_jp.a1") as answer:
                self.assertIn(b"say hello first", answer.body)
            for body, said in (("d=", kind), ("", kind), ("d=%ff", kind), ("d=x", kind), ("d=[]", "text/plain")):
                with self.ask("POST", f"{path}/jsonp_send", body, content_type=said) as answer:
                    self.assertEqual(answer.status, 500, body)

        return self.client(work)

    def test_callback(self) -> Deferred[Any]:
        """A callback that is no name is written nowhere."""

        def work() -> None:
            for kind in ("jsonp", "htmlfile"):
                for query in ("", "?c=", "?c=a(", "?c=%3Cscript%3E", f"?c={'x' * 65}", "?callback=a;b"):
                    with self.ask("GET", f"{LEGACY}/0/c/{kind}{query}") as answer:
                        self.assertEqual(
                            (answer.status, answer.header("Content-Type")), (500, "text/plain; charset=utf-8")
                        )
                        self.assertNotIn(b"script>", answer.body)

        return self.client(work)


class ReceiveTests(RawCase):
    """What clients are sent."""

    def test_second_receiver(self) -> Deferred[Any]:
        """A second receiver is refused, and the first one stays."""

        def work() -> None:
            path = f"{NATIVE}/000/second"
            with self.ask("POST", f"{path}/xhr_streaming") as first:
                chunks = first.chunks()
                self.assertEqual((next(chunks), next(chunks)), (b"h" * 2048 + b"\n", b"o\n"))
                self.assertEqual(self.poll(path), b'c[2010,"Another connection still open"]\n')
                self.ask("POST", f"{path}/xhr_send", HELLO).close()
                self.assertIn(b"welcome", next(chunks))

        return self.client(work)

    def test_aborted(self) -> Deferred[Any]:
        """When a receiver is lost the session is over: nobody knows what has arrived."""

        def work() -> None:
            path = f"{NATIVE}/000/aborted"
            with self.ask("POST", f"{path}/xhr_streaming") as first:
                next(first.chunks())
            self.until(lambda: not self.hub.connections)
            self.assertEqual(self.poll(path), b"o\n")

        return self.client(work)

    def test_response_is_bounded(self) -> Deferred[Any]:
        """A streaming answer ends when it has carried enough, and the next one goes on."""

        def work() -> None:
            path = self.greeted()
            for _ in range(2):
                with self.ask("POST", f"{path}/xhr_streaming") as answer:
                    chunks = answer.chunks()
                    next(chunks)
                    for number in range(3):
                        self.publish({"n": number, "pad": "x" * 1_500})
                        self.assertIn(f'\\"n\\":{number}'.encode(), next(chunks))
                    self.assertEqual(list(chunks), [])

        return self.client(work)

    def test_slow(self) -> Deferred[Any]:
        """A client that does not poll is told to reload, once it does, and what it left waiting is bounded."""

        def work() -> None:
            path = self.greeted()
            for number in range(200):
                self.publish({"n": number, "pad": "x" * 1_000})
            got: list[Any] = []
            while not got or got[-1]["op"] != "event" or got[-1]["data"]["n"] != 199:
                got += [json.loads(text) for text in json.loads(self.poll(path)[1:])]
            self.assertEqual((got[0]["op"], got[0]["why"]), ("resync", "slow"))
            numbers = [message["data"]["n"] for message in got[1:] if message["op"] == "event"]
            self.assertEqual(numbers, list(range(numbers[0], 200)))
            self.assertGreater(numbers[0], 100)

        return self.client(work)

    def test_slow_stream(self) -> Deferred[Any]:
        """A stream that is not read holds back what comes, up to the bound; then it is told to reload."""

        def work() -> None:
            path = f"{LEGACY}/000/slow"
            self.assertEqual(self.poll(path), b"o\n")
            self.ask("POST", f"{path}/xhr_send", HELLO).close()
            self.assertIn(b"welcome", self.poll(path))
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                head = f"POST {path}/xhr_streaming HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nCookie: {COOKIE}\r\n"
                sock.sendall(head.encode() + b"Content-Length: 0\r\n\r\n")
                sock.recv(1)
                # More than both kernels keep, then more than the bound: what is gone is told.
                for number in range(20_000):
                    if number % 100 == 0 and self._dropped():
                        break
                    self.publish({"n": number, "pad": "x" * 1_000})
                self.assertTrue(self._dropped())

        return self.client(work)

    def _dropped(self) -> bool:
        """Whether a resync waits in place of events."""
        [session] = self.sockjs[LEGACY].sessions.values()
        app: Any = session.app
        return b"slow" in b"".join(data for _, data in app._connection.out._held)

    def test_refused(self) -> Deferred[Any]:
        """Who may hear nothing is told so when he asks again."""
        self.identity.snapshot = make_snapshot(7)

        def work() -> None:
            path = self.session(CLASSIC)
            self.assertEqual(self.poll(path), b'c[4403,"no channel of this site is open to you"]\n')

        return self.client(work)


class WebSocketTests(RawCase):
    """The WebSockets of SockJS."""

    def test_no_upgrade(self) -> Deferred[Any]:
        """A request that is no handshake is told so."""

        def work() -> None:
            for path in ("/websocket", "/a/b/websocket"):
                with self.ask("GET", NATIVE + path) as answer:
                    self.assertEqual((answer.status, answer.body), (400, b'Can "Upgrade" only to "WebSocket".\n'))
                with self.ask("GET", NATIVE + path, upgrade="websocket") as answer:
                    self.assertEqual((answer.status, answer.body), (400, b'"Connection" must be "Upgrade".\n'))

        return self.client(work)

    def test_violations(self) -> Deferred[Any]:
        """What is no array of texts ends the WebSocket, as does what is too large."""

        def work() -> None:
            for payload, code in (
                (b'["a', Close.BAD_MESSAGE),
                (b"[1]", Close.BAD_MESSAGE),
                (b"{}", Close.BAD_MESSAGE),
                (json.dumps([""] * 1_001).encode(), Close.BAD_MESSAGE),
                (json.dumps(["x" * 4_097]).encode(), Close.TOO_LARGE),
                (b"[" + b" " * 20_000 + b"]", Close.TOO_LARGE),
            ):
                with self.web_socket(f"{NATIVE}/0/a/websocket") as client:
                    self.assertEqual(client.receive_text(), "o")
                    client.send_frame(TEXT, payload)
                    self.assertEqual(client.receive_close().code, code, payload[:10])
            self.until(lambda: not self.hub.connections)

        return self.client(work)

    def test_nothing_behind(self) -> Deferred[Any]:
        """Behind the end of a WebSocket that broke the rules there are no events."""

        def work() -> None:
            with self.web_socket(f"{CLASSIC}/0/a/websocket") as client:
                self.assertEqual(client.receive_text(), "o")
                client.send_text("{}")
                self.assertEqual(client.receive().opcode, CLOSE)
                self.publish({"n": 1})
                client.send_close(Close.BAD_MESSAGE)
                with self.assertRaises(Closed):
                    client.receive()

        return self.client(work)

    def test_slow(self) -> Deferred[Any]:
        """For a client that does not read events wait, up to the bound."""

        def work() -> None:
            with self.web_socket(f"{NATIVE}/0/a/websocket") as client:
                client.send_text(HELLO)
                self.assertEqual(client.receive_text(), "o")
                self.assertIn("welcome", client.receive_text())
                [connection] = self.in_reactor(lambda: list(self.hub._connections))
                for number in range(20_000):
                    self.publish({"n": number, "pad": "x" * 1_000})
                    if connection.out.holds:
                        break
                self.assertTrue(connection.out.holds)
                for expected in range(number + 1):
                    [text] = json.loads(client.receive_text()[1:])
                    self.assertEqual(json.loads(text)["data"]["n"], expected)

        return self.client(work)

    def test_sign_of_life(self) -> Deferred[Any]:
        """Whatever the client sends is one."""

        def work() -> None:
            with self.web_socket(f"{CLASSIC}/0/a/websocket") as client:
                self.assertEqual(client.receive_text(), "o")
                [connection] = self.in_reactor(lambda: list(self.hub._connections))
                connection.heard = False
                client.send_frame(PONG)
                self.until(lambda: connection.heard)
                self.in_reactor(connection.beat)
                self.assertEqual(client.receive_text(), "h")
                self.assertEqual(client.receive().opcode, PING)

        return self.client(work)

    def test_close(self) -> Deferred[Any]:
        """The end is told in SockJS's frame, then in the WebSocket's."""

        def work() -> None:
            with self.web_socket(f"{NATIVE}/0/a/websocket") as client:
                self.assertEqual(client.receive_text(), "o")
                client.send_text('["dance"]')
                self.assertEqual(client.receive_text(), 'c[4400,"not JSON"]')
                self.assertEqual(client.receive_close().code, Close.BAD_MESSAGE)

        return self.client(work)

    def test_raw(self) -> Deferred[Any]:
        """Without SockJS's frames the messages are bare; the classic ones as well."""

        def work() -> None:
            with self.web_socket(f"{NATIVE}/websocket") as raw, self.web_socket(f"{CLASSIC}/websocket") as classic:
                raw.send_json({"op": "hello", "n": 0})
                self.assertEqual(raw.receive_json()["op"], "welcome")
                self.publish({"n": 1})
                self.assertEqual(raw.receive_json()["data"], {"n": 1})
                self.assertEqual(classic.receive_json(), {"type": "lock", "data": {"n": 1}})
                self.in_reactor(lambda: self.hub.resync("orders", "hole"))
                self.in_reactor(self.hub.flush)
                self.assertEqual(raw.receive_json()["op"], "resync")
                closed = classic.receive_close()
                self.assertEqual((closed.code, closed.reason), (Close.HOLE, "reload"))

        return self.client(work)
