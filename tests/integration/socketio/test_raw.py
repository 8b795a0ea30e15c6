"""Every refusal and every limit of the Socket.IO address, on raw sockets."""

from __future__ import annotations

import http.client
import json
from typing import Any

from twisted.internet.defer import Deferred

from livepush.daemon.engineio import EngineSettings
from livepush.daemon.settings import Limits
from livepush.wire.closing import Close
from tests.clients.websocket import CLOSE, WebSocket, connect
from tests.integration.served import ORIGIN
from tests.integration.socketio.case import COOKIE, SocketIOCase

EVIL = "http://evil.example"


class RawCase(SocketIOCase):
    """Requests made by hand."""

    limits = Limits(connections=5, message_bytes=4_096, outbound_bytes=65_536, heartbeat_seconds=3_600.0)
    settings = EngineSettings(interval=30.0, timeout=20.0, connect=20.0)

    def ask(
        self, method: str, query: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, http.client.HTTPMessage]:
        """One request; status, body and headers of the answer."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            sent = {"Origin": ORIGIN, "Cookie": COOKIE} if headers is None else headers
            client.request(method, f"/socket.io/?{query}", body, sent)
            answer = client.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            client.close()

    def open(self) -> str:
        """A session that polls."""
        status, body, _ = self.ask("GET", "EIO=4&transport=polling")
        self.assertEqual(status, 200)
        sid: str = json.loads(body[1:])["sid"]
        return f"EIO=4&transport=polling&sid={sid}"

    def socket(self, query: str = "EIO=4&transport=websocket", **headers: str) -> WebSocket:
        """A WebSocket."""
        sent = {"Origin": ORIGIN, "Cookie": COOKIE, **headers}
        return connect(self.port, f"/socket.io/?{query}", headers=list(sent.items()))


class RefusalTests(RawCase):
    """What is refused, and how."""

    def test_requests(self) -> Deferred[Any]:
        """Wrong requests are told so as stock clients understand it."""

        def work() -> None:
            polling = "EIO=4&transport=polling"
            for method, query, code in (
                ("GET", "", 0),
                ("GET", "EIO=4", 0),
                ("GET", "EIO=4&transport=webtransport", 0),
                ("GET", "transport=polling", 5),
                ("GET", "EIO=3&transport=polling", 5),
                ("GET", f"{polling}&sid=unknown", 1),
                ("GET", f"{polling}&sid=", 1),
                ("POST", polling, 2),
                ("PUT", polling, 2),
                ("GET", "EIO=4&transport=websocket", 3),
                ("GET", "&".join(["a=b"] * 30), 0),
            ):
                status, body, _ = self.ask(method, query)
                self.assertEqual((status, json.loads(body)["code"]), (400, code), (method, query))
            self.assertEqual(self.ask("PUT", self.open())[0], 400)
            self.assertEqual(self.sessions(), 1)

        return self.client(work)

    def test_origins(self) -> Deferred[Any]:
        """A page of another site opens nothing, polls nothing, says nothing, and reads nothing."""

        def work() -> None:
            query = self.open()
            evil = {"Origin": EVIL, "Cookie": COOKIE}
            for method in ("GET", "POST", "OPTIONS"):
                status, body, headers = self.ask(method, query, None if method != "POST" else "40", evil)
                self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (403, None))
                self.assertNotIn("evil", body)
            self.assertEqual(self.ask("POST", query, "40", {"Cookie": COOKIE})[0], 403)
            self.assertEqual(self.ask("GET", query, None, {"Cookie": COOKIE, "Sec-Fetch-Site": "cross-site"})[0], 403)
            for origin in (EVIL, None):
                headers_sent = [("Cookie", COOKIE), *([("Origin", origin)] if origin else [])]
                with connect(self.port, "/socket.io/?EIO=4&transport=websocket", headers=headers_sent) as client:
                    self.assertEqual(client.status, 403)
            status, _, headers = self.ask("OPTIONS", query)
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204, ORIGIN))
            self.assertEqual(self.ask("POST", query, "40")[2]["Access-Control-Allow-Credentials"], "true")
            self.assertEqual(self.sessions(), 1)

        return self.client(work)

    def test_other_visitor(self) -> Deferred[Any]:
        """A session is found only by who opened it: for polls, POSTs and upgrades."""

        def work() -> None:
            query = self.open()
            for cookie in ("sessionid=y", None):
                other = {"Origin": ORIGIN, **({"Cookie": cookie} if cookie else {})}
                for method, body in (("GET", None), ("POST", "40")):
                    self.assertEqual(self.ask(method, query, body, other)[0], 400)
                sent = list(other.items())
                with connect(self.port, f"/socket.io/?{query.replace('polling', 'websocket')}", headers=sent) as client:
                    self.assertEqual(client.status, 400)
            self.assertEqual(self.ask("POST", query, "40")[:2], (200, "ok"))

        return self.client(work)

    def test_not_ready(self) -> Deferred[Any]:
        """A process without its broker takes nobody new, and goes on with who is there."""

        def work() -> None:
            query = self.open()
            self.ready = False
            self.assertEqual(self.ask("GET", "EIO=4&transport=polling")[0], 503)
            with self.socket() as client:
                self.assertEqual(client.status, 503)
            self.assertEqual(self.ask("POST", query, "40")[0], 200)

        return self.client(work)


class LimitTests(RawCase):
    """What is bounded."""

    def test_sessions(self) -> Deferred[Any]:
        """There are so many sessions, whether they have connected or not."""

        def work() -> None:
            for _ in range(5):
                self.open()
            status, _, headers = self.ask("GET", "EIO=4&transport=polling")
            self.assertEqual((status, headers["Retry-After"]), (503, "5"))
            with self.socket() as client:
                self.assertEqual(client.status, 503)

        return self.client(work)

    def test_body(self) -> Deferred[Any]:
        """A body that is too large ends the session."""

        def work() -> None:
            query = self.open()
            self.assertEqual(self.ask("POST", query, "4" * 4_097)[0], 400)
            self.assertEqual(self.ask("GET", query)[0], 400)
            self.assertEqual(self.sessions(), 0)

        return self.client(work)

    def test_message(self) -> Deferred[Any]:
        """A WebSocket message that is announced too large ends the session, with its code."""

        def work() -> None:
            with self.socket() as client:
                client.receive()
                client.send_text("4" * 4_097)
                frame = client.receive()
                self.assertEqual((frame.opcode, frame.code), (CLOSE, Close.TOO_LARGE))
            self.assertEqual(self.sessions(), 0)

        return self.client(work)

    def test_bad_utf8(self) -> Deferred[Any]:
        """A text message that is no text is a violation of RFC 6455."""

        def work() -> None:
            with self.socket() as client:
                client.receive()
                client.send_frame(1, b"4\xff")
                self.assertEqual(client.receive().code, 1007)
            self.assertEqual(self.sessions(), 0)

        return self.client(work)

    def test_slow_reader(self) -> Deferred[Any]:
        """Whoever does not read, polling or on a WebSocket, is told that he has missed something, once he does."""

        def work() -> None:
            query = self.open()
            self.ask("POST", query, "40")
            self.ask("GET", query)
            with self.socket() as client:
                client.send_text("40")
                while b"livepush:welcome" not in client.receive().payload:
                    pass
                for number in range(400):
                    self.publish({"n": number, "pad": "x" * 30_000})
                self.assertIn("livepush:resync", self.ask("GET", query)[1])
                while b"livepush:resync" not in client.receive().payload:
                    pass

        return self.client(work)

    def test_second_websocket(self) -> Deferred[Any]:
        """A session that moves, or has moved, takes no other WebSocket."""

        def work() -> None:
            query = self.open().replace("polling", "websocket")
            with self.socket(query) as first:
                first.send_text("2probe")
                self.assertEqual(first.receive().payload, b"3probe")
                with self.socket(query) as second:
                    self.assertEqual(second.receive().opcode, CLOSE)
                first.send_text("5")
                first.send_text("40")
                self.assertTrue(first.receive().payload.startswith(b"40{"))
                with self.socket(query) as third:
                    self.assertEqual(third.receive().opcode, CLOSE)
                self.assertEqual(self.ask("GET", query.replace("websocket", "polling"))[0], 400)
                self.publish({"n": 1})
                first.receive()
                self.assertIn(b'"n":1', first.receive().payload)

        return self.client(work)
