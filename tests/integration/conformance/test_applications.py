"""The test applications answer as the public suites expect, which can't be run everywhere: a sample of each."""

from __future__ import annotations

import json
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.rawhttp import Exchange, request
from tests.clients.websocket import BINARY, TEXT, connect
from tests.servers.conformance import ConformanceServer


class ApplicationTests(SynchronousTestCase):
    """One protocol each."""

    def setUp(self) -> None:
        self.server = ConformanceServer("--patient")  # a slow test is not a client that has gone
        self.addCleanup(self.server.kill)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Exchange:
        """One exchange; dashes of a header's name are written as underscores."""
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        exchange = Exchange(self.server.port, request(method, path, named, body))
        self.addCleanup(exchange.close)
        return exchange

    def test_engine_io(self) -> None:
        """Five keys of a handshake, text and bytes there and back over polling, and on after an upgrade."""
        path = "/engine.io/?EIO=4&transport=polling"
        handshake = json.loads(self.ask("GET", path).rest()[1:])
        path += f"&sid={handshake.pop('sid')}"
        expected = {"upgrades": ["websocket"], "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 1_000_000}
        self.assertEqual(handshake, expected)
        self.assertEqual(self.ask("POST", path, "4é\x1ebAQID\x1e3".encode()).rest(), b"ok")
        self.assertEqual(self.ask("GET", path).rest(), "4é\x1ebAQID".encode())
        with connect(self.server.port, path.replace("polling", "websocket")) as client:
            client.send_text("2probe")
            self.assertEqual(client.receive_text(), "3probe")
            client.send_text("5")
            client.send_text("4on")
            client.send_frame(BINARY, b"\x00\xff")
            self.assertEqual([client.receive().payload for _ in range(2)], [b"4on", b"\x00\xff"])
        for query in ("", "?EIO=3&transport=polling", "?EIO=4", "?EIO=4&transport=polling&sid=x"):
            self.assertEqual(self.ask("GET", f"/engine.io/{query}").status, 400)

    def test_socket_io(self) -> None:
        """Two namespaces, one that is none, events, acknowledgements and attachments."""
        with connect(self.server.port, "/socket.io/?EIO=4&transport=websocket") as client:

            def answers(*messages: str | bytes, count: int = 1) -> list[str | bytes]:
                for message in messages:
                    if isinstance(message, bytes):
                        client.send_frame(BINARY, message)
                    else:
                        client.send_text(message)
                frames = [client.receive() for _ in range(count)]
                return [frame.text if frame.opcode == TEXT else frame.payload for frame in frames]

            self.assertEqual(json.loads(str(answers(count=1)[0])[1:])["upgrades"], [])
            connected, auth = answers('40{"token":"abc"}', count=2)
            self.assertRegex(str(connected), r'^40\{"sid":"[^"]+"\}$')
            self.assertEqual(auth, '42["auth",{"token":"abc"}]')
            connected, auth = answers("40/custom,", count=2)
            self.assertRegex(str(connected), r'^40/custom,\{"sid":"[^"]+"\}$')
            self.assertEqual(auth, '42/custom,["auth",{}]')
            self.assertEqual(answers("40/random"), ['44/random,{"message":"Invalid namespace"}'])
            self.assertEqual(answers('42["message",1,"é",{"a":[null]}]'), ['42["message-back",1,"é",{"a":[null]}]'])
            self.assertEqual(answers('42/custom,7["message-with-ack",1]'), ["43/custom,7[1]"])
            place = '{"_placeholder":true,"num":0}'
            back = answers(f'451-["message",{place}]', b"\x01", count=2)
            self.assertEqual(back, [f'451-["message-back",{place}]', b"\x01"])
            client.send_text("41")
            self.assertEqual(answers('42/custom,["message"]'), ['42/custom,["message-back"]'])

    def test_sockjs(self) -> None:
        """Greeting, info, echo, a stream's bound, the cookie, and the session that is closed at once."""
        self.assertEqual(self.ask("GET", "/echo").rest(), b"Welcome to SockJS!\n")
        for prefix, websocket, cookie in (
            ("echo", True, False),
            ("disabled_websocket_echo", False, False),
            ("cookie_needed_echo", True, True),
        ):
            exchange = self.ask("GET", f"/{prefix}/info", Origin="http://any.example")
            info = json.loads(exchange.rest())
            self.assertEqual((info["websocket"], info["cookie_needed"]), (websocket, cookie))
            self.assertEqual(exchange.header("Access-Control-Allow-Origin"), "http://any.example")
            self.assertIsNone(exchange.header("Set-Cookie"))
            opened = self.ask("POST", f"/{prefix}/0/a/xhr", b"")
            self.assertEqual(opened.rest(), b"o\n")
            self.assertEqual(opened.header("Set-Cookie"), "JSESSIONID=dummy; path=/" if cookie else None)
            self.assertEqual(opened.header("Access-Control-Allow-Origin"), "*")
            self.assertEqual(self.ask("POST", f"/{prefix}/0/a/xhr_send", b'["caf\xc3\xa9","\\u2028"]').status, 204)
            self.assertEqual(json.loads(self.ask("POST", f"/{prefix}/0/a/xhr", b"").rest()[1:]), ["café", "\u2028"])
        with connect(self.server.port, "/disabled_websocket_echo/websocket") as client:
            self.assertEqual(client.status, 404)
        with connect(self.server.port, "/echo/websocket") as client:
            client.send_text("raw")
            self.assertEqual(client.receive_text(), "raw")
        stream = self.ask("POST", "/echo/0/s/xhr_streaming", b"")
        self.assertEqual(stream.until(b"o\n"), b"h" * 2_048 + b"\no\n")
        for _ in range(5):
            self.assertEqual(self.ask("POST", "/echo/0/s/xhr_send", b'["%s"]' % (b"x" * 1_000)).status, 204)
        self.assertEqual(stream.rest().count(b"x" * 1_000), 5)
        for _ in range(2):
            self.assertRegex(self.ask("POST", "/close/0/c/xhr", b"").rest(), rb'^(o|c\[3000,"Go away!"\])\n$')
        page = self.ask("GET", "/echo/iframe-1.6.1.html")
        self.assertIn(b'src="/static/sockjs.min.js"', page.rest())
        again = self.ask("GET", "/echo/iframe-1.6.1.html", If_None_Match=page.header("ETag") or "")
        self.assertEqual((again.status, again.rest()), (304, b""))

    def test_this_machine_only(self) -> None:
        """It has no rule of whose pages may come, and so nobody else's machine may."""
        with socket.socket() as other:
            other.settimeout(10)
            self.assertRaises(ConnectionRefusedError, other.connect, ("127.0.0.2", self.server.port))
