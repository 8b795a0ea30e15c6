"""Cases 21-25: what breaks RFC 6455, the handshake, or the messages of the protocol."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.acceptance.security.case import ENGINE_SOCKET, NATIVE, ORIGIN, SOCKJS, SecurityCase
from tests.clients.websocket import BINARY, CLOSE, CONTINUATION, DROPPED, PING, TEXT, WebSocket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
)
REDOS = 'x; a="' + '\\"' * 3_000
DEEP = "[" * 100_000

Send = Callable[[WebSocket], None]


def send_endless(client: WebSocket) -> None:
    """The beginning of a message that has no end."""
    for number in range(3):
        client.send_frame(CONTINUATION if number else TEXT, b"x" * 30_000, final=False)


class FrameTests(SecurityCase):
    """Frames."""

    def test_21_violations(self) -> None:
        """Attack: frames that RFC 6455 forbids; each ends the connection with its code, on each kind of WebSocket."""
        cases: list[tuple[int, Send]] = [
            (1002, lambda client: client.send_frame(TEXT, b"{}", masked=False)),
            (1002, lambda client: client.send_frame(TEXT, b"{}", reserved=4)),
            (1002, lambda client: client.send_frame(TEXT, b"{}", reserved=1)),
            (1002, lambda client: client.send_frame(3, b"")),
            (1002, lambda client: client.send_frame(15, b"")),
            (1002, lambda client: client.send_frame(CONTINUATION, b"{}")),
            (1002, lambda client: client.send_frame(PING, b"x" * 126)),
            (1002, lambda client: client.send_frame(PING, b"x", final=False)),
            (1007, lambda client: client.send_frame(TEXT, b"\xff\xfe")),
            (1007, lambda client: client.send_frame(TEXT, b"\xed\xa0\x80")),
        ]
        visitor = self.world.visitor()
        for path in (NATIVE, ENGINE_SOCKET, f"{SOCKJS}/0/frames/websocket"):
            for code, send in cases:
                with self.socket(path, visitor.headers) as client:
                    self.assertEqual(client.status, 101)
                    send(client)
                    self.assertEqual(client.receive_close().code, code, path)

    def test_21_close_frames(self) -> None:
        """Attack: close frames that are none: one byte, a code that is no client's, a reason that is no text."""
        visitor = self.world.visitor()
        for payload in (b"\x03", (1005).to_bytes(2, "big"), (999).to_bytes(2, "big"), b"\x03\xe8\xff\xfe"):
            with self.page(visitor, hello=False) as client:
                client.send_frame(CLOSE, payload)
                self.assertIn(client.receive_close().code, (1002, 1007, DROPPED))

    def test_14_compression(self) -> None:
        """Attack: a bomb in permessage-deflate; it is not agreed to, so its frame is a violation."""
        visitor = self.world.visitor()
        headers = [*visitor.headers, ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
        with self.socket(NATIVE, headers, subprotocols=["livepush.v1"]) as client:
            self.assertIsNone(client.handshake.header("Sec-WebSocket-Extensions"))
            before = self.memory()
            client.send_frame(TEXT, b"\xca\xcb\x03\x00" * 10_000, reserved=4)
            self.assertEqual(client.receive_close().code, 1002)
        self.assertLess(self.memory() - before, 10 * 2**20)

    def test_15_sizes(self) -> None:
        """Attack: a frame that announces 2^62 bytes, one byte too many, and a message of endless fragments."""
        visitor = self.world.visitor()
        cases: list[Send] = [
            lambda client: client.send_raw(b"\x81\xff" + (2**62).to_bytes(8, "big") + b"mask"),
            lambda client: client.send_raw(b"\x81\xff" + (2**63).to_bytes(8, "big") + b"mask"),
            lambda client: client.send_raw(b"\x81\xff" + (65_537).to_bytes(8, "big") + b"mask"),
            send_endless,
        ]
        before = self.memory()
        for send in cases:
            with self.page(visitor, hello=False) as client:
                send(client)
                self.assertIn(client.receive_close().code, (4413, 1002))
        self.assertLess(self.memory() - before, 10 * 2**20)


class HandshakeTests(SecurityCase):
    """Handshakes."""

    def refused(self, head: bytes, *statuses: int) -> None:
        """The answer is one of these; 0: none, the connection is closed."""
        with self.send(head) as exchange:
            self.assertIn(exchange.status, statuses, head[:200])
            if exchange.status >= 400 and not head.startswith(b"HEAD "):  # which has no body to wait for
                self.assertNotIn(b"Traceback", exchange.rest())

    def test_22_headers_of_the_handshake(self) -> None:
        """Attack: garbage, non-ASCII, 10 kB and forms that blow regular expressions up, in each of its headers."""
        visitor = self.world.visitor()
        for name in (
            "Sec-WebSocket-Extensions",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
        ):
            for value in (
                "",
                "constructor",
                "__proto__",
                "é",
                "\xff" * 100,
                "a" * 10_000,
                REDOS,
                ";" * 5_000,
                "-1",
                "13, 13",
            ):
                own = [(key, text) for key, text in UPGRADE if key != name]
                lines = "".join(f"{key}: {text}\r\n" for key, text in [*own, *visitor.headers, (name, value)])
                head = f"GET {NATIVE} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode("latin-1")
                allowed = (101, 400, 426) if name == "Sec-WebSocket-Extensions" else (400, 426, *(101,) * (value == ""))
                self.refused(head, *allowed)

    def test_23_many_headers(self) -> None:
        """Attack: 2,000 headers, the same one again and again, two of what may be there once."""
        visitor = self.world.visitor()
        own = [*UPGRADE, *visitor.headers]
        for more in (
            [(f"X-{number}", "x") for number in range(2_000)],
            [("X", "x")] * 2_000,
            [("Sec-WebSocket-Key", KEY)],
            [("Sec-WebSocket-Version", "8")],
            [("Origin", ORIGIN)],
            [("Host", "127.0.0.1")],
        ):
            lines = "".join(f"{key}: {text}\r\n" for key, text in [*own, *more])
            self.refused(f"GET {NATIVE} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode(), 400, 431, 0)

    def test_24_where_no_upgrade_is(self) -> None:
        """Attack: upgrades of paths that have none, by POST, in HTTP/1.0, and of other protocols."""
        visitor = self.world.visitor()
        for method, path, version, statuses in (
            ("GET", "/", "1.1", (404,)),
            ("GET", "/healthz", "1.1", (200, 400, 404)),
            ("GET", "/livepush/sse", "1.1", (200, 400)),
            ("GET", f"{SOCKJS}/info", "1.1", (200, 400)),
            ("GET", "/orders/0/x/xhr", "1.1", (405, 400)),
            ("GET", "/livepush/ws/more", "1.1", (404, 101)),
            ("POST", NATIVE, "1.1", (400, 405)),
            ("HEAD", NATIVE, "1.1", (400, 405)),
            ("GET", NATIVE, "1.0", (400, 426)),
            ("PRI", "*", "2.0", (0, 400, 404, 405)),
        ):
            lines = "".join(f"{key}: {text}\r\n" for key, text in [*UPGRADE, *visitor.headers])
            self.refused(f"{method} {path} HTTP/{version}\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode(), *statuses)
        for token in ("h2c", "websocket2", "TLS/1.0", "web socket"):
            head = f"GET {NATIVE} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: {token}\r\n\r\n"
            self.refused(head.encode(), 400, 426)


class MessageTests(SecurityCase):
    """Messages."""

    def test_25_no_messages(self) -> None:
        """Attack: JSON that is none, too deep, not finite, or has halves of characters: 4400."""
        visitor = self.world.visitor()
        for text in (
            "",
            "x",
            "null",
            "[]",
            '"hello"',
            "1",
            DEEP[:60_000],
            '{"op":' * 5_000,
            '{"op":"hello","n":' + "9" * 4_301 + "}",
            '{"op":"hello","n":NaN}',
            '{"op":"hello","n":1e999}',
            '{"op":"hello","tab":"\\ud800"}',
            '{"op":"hello"}{"op":"hello"}',
            "\ufeff" + '{"op":"hello"}',
        ):
            with self.page(visitor, hello=False) as client:
                client.send_text(text)
                self.assertEqual(client.receive_close().code, 4400, text[:60])
        with self.page(visitor, hello=False) as client:
            client.send_frame(BINARY, b'{"op":"hello"}')
            self.assertEqual(client.receive_close().code, 4400)

    def test_25_wrong_types(self) -> None:
        """Attack: each field of each request holds what it can't: 4400, or an error in answer."""
        visitor = self.world.visitor()
        right: list[dict[str, object]] = [
            {"op": "hello", "n": 0, "tab": "t", "channels": {"orders": None}},
            {"op": "subscribe", "n": 1, "channel": "orders", "since": "x"},
            {"op": "unsubscribe", "n": 2, "channel": "orders"},
            {"op": "call", "n": 3, "channel": "orders", "type": "echo", "data": {}},
        ]
        wrong: tuple[object, ...] = (None, True, -1, 1.5, 2**80, "", [], {"__proto__": 1}, [[]], "\u0000")
        for message in right:
            for field in message:
                for value in wrong:
                    with self.page(visitor, hello=message["op"] != "hello") as client:
                        client.send_json({**message, field: value})
                        client.send_json({"op": "nothing", "n": 9})
                        end = self.heard_until(client, lambda heard: heard.get("n") == 9)
                        if not end or end[-1].get("n") != 9:
                            continue  # closed; with which code the unit tests say
                        self.assertNotIn("Traceback", json.dumps(end))

    def test_25_socketio_packets(self) -> None:
        """Attack: placeholders without attachments, eleven of them, 10^9 of them, names that are the client's own."""
        visitor = self.world.visitor()
        for packet in (
            "451-[]",
            '451-["x",{"_placeholder":true,"num":5}]',
            '4511-["x"]',
            '451000000000-["x"]',
            '45-1-["x"]',
            '42["connect"]',
            '42["disconnecting"]',
            '42[{"__proto__":1}]',
            "42" + DEEP[:50_000],
            "42" + "9" * 30 + '["x"]',
            "40" + "/x" * 500 + ",",
            "4" + "9" * 5_000,
        ):
            with self.socket(ENGINE_SOCKET, visitor.headers) as client:
                client.receive_text()
                client.send_text("40")
                while not client.receive_text().startswith("40"):
                    pass
                client.send_text(packet)
                client.send_text("41")
                self.assertIn(client.receive_close().code, (1000, 1002, 1005, DROPPED, 4400), packet[:60])


class LogTests(SecurityCase):
    """What clients make the daemon write."""

    def test_41_a_flood_of_faults(self) -> None:
        """Attack: fill the disk by hundreds of connections that are wrong; the log grows by few lines."""
        before = len(self.world.daemon.output.splitlines())
        visitor = self.world.visitor()
        for _ in range(60):
            for text in ("x", '{"op":1}', "\x00", "[" * 100):
                with self.socket(NATIVE, visitor.headers, subprotocols=["livepush.v1"]) as client:
                    client.send_text(text)
                    self.assertEqual(client.receive_close().code, 4400)
            with self.send(b"GET /\r\n\r\n"):
                pass
        # A hundred of each kind in a minute, and two minutes may have a part in it.
        self.assertLess(len(self.world.daemon.output.splitlines()) - before, 230)
