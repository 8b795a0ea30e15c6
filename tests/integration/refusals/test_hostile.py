"""Requests that no browser makes, thousands of them, at every address: what a daemon on the open Internet is sent."""

from __future__ import annotations

import random
import socket
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, globalLogPublisher

from livepush.daemon.settings import Limits
from tests.integration.refusals.case import COOKIE, OPENING, OWN, SENDING, UPGRADE, Asked, TransportsCase
from tests.integration.served import ORIGIN

ROUNDS = 1_500
CANARY = b"k4n(4ry"
"""Stands in all that is made up: no answer may repeat it."""

GARBAGE = (
    b"",
    b" ",
    b"\xff\xfe",
    b"%00",
    b"%ff%fe",
    b"%0d%0aX-Evil:%201",
    b"../../etc/passwd",
    b"<script>alert(1)</script>",
    b"\x1f\x8b\x08",
    b"{}",
    b"[" * 500,
    b"9" * 400,
    b"-1",
    b"1e400",
    "\u0661\u2028\ud7ff".encode(),
    b"a,b,,c" * 30,
    b"'\";--",
    b"${jndi}",
    b"A" * 3_000,
)
METHODS = (b"GET", b"POST", b"OPTIONS", b"HEAD", b"PUT", b"DELETE", b"TRACE", b"CONNECT", b"get", b"k4n4ry", b"G\xffT")
NAMES = (
    b"Upgrade",
    b"Connection",
    b"Sec-WebSocket-Key",
    b"Sec-WebSocket-Version",
    b"Sec-WebSocket-Protocol",
    b"Sec-WebSocket-Extensions",
    b"Origin",
    b"Referer",
    b"Cookie",
    b"Last-Event-ID",
    b"Content-Type",
    b"Access-Control-Request-Headers",
    b"If-None-Match",
    b"Sec-Fetch-Site",
    b"Accept-Encoding",
    b"Expect",
    b"X-Forwarded-For",
)
FIELDS = (b"sid", b"transport", b"EIO", b"c", b"callback", b"channels", b"since", b"tab", b"t", b"j", b"d")
FRAMES = (
    b"\x81\x80\0\0\0\0",
    b"\x81\x05hello",
    b"\xff\xff" + b"\xff" * 12,
    b"\x89\xfe\x00\x7e" + bytes(4) + b"x" * 126,
    b"\x88\x80\0\0\0\0",
    b"\x01\x81\0\0\0\0a" * 50,
    b"\xc1\x81\0\0\0\0a",
    b"GET / HTTP/1.1\r\nHost: testserver\r\n\r\n",
)
ASKED_FOR = (b'" parameter\n', b'" parameter required\n', b"Broken JSON encoding.\n", b"Payload expected.\n")
"""What SockJS, and its test suite, wants to be a 500."""


class Fuzz:
    """Makes requests out of the good ones.

    Args:
        seed: the same one makes the same requests.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def request(self) -> bytes:
        """One, or several on one connection."""
        choose = self._random
        asked = choose.choice([*OPENING, *SENDING])
        data = self._one(asked)
        if choose.random() < 0.3:
            data += self._one(choose.choice([*OPENING, *SENDING]))
        if choose.random() < 0.3:
            data += choose.choice(FRAMES)
        if choose.random() < 0.2:
            at = choose.randrange(len(data))
            data = data[:at] + bytes([choose.randrange(256)]) + data[at + 1 :]
        if choose.random() < 0.15:
            data = data[: choose.randrange(len(data))]
        return data

    def pieces(self, data: bytes) -> list[bytes]:
        """As they come in: mostly at once."""
        if self._random.random() < 0.7:
            return [data]
        at = self._random.randrange(len(data) + 1)
        return [data[:at], data[at:]]

    def chance(self, share: float) -> bool:
        """True so often."""
        return self._random.random() < share

    def _one(self, asked: Asked) -> bytes:
        choose = self._random
        method = choose.choice(METHODS) if choose.random() < 0.15 else asked.method.encode()
        headers = [(name.encode(), value.encode()) for name, value in OWN]
        if asked.upgrade:
            headers += [(name.encode(), value.encode()) for name, value in UPGRADE]
        for _ in range(choose.choice((0, 0, 1, 1, 2, 4))):
            self._bend(headers)
        body = self._body(asked, headers)
        version = (
            choose.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"")) if choose.random() < 0.05 else b"HTTP/1.1"
        )
        head = b"\r\n".join(
            [
                b" ".join((method, self._path(asked.path.encode()), version)),
                b"Host: testserver",
                *(name + b": " + value for name, value in headers),
            ]
        )
        return head + b"\r\n\r\n" + body

    def _bend(self, headers: list[tuple[bytes, bytes]]) -> None:
        choose = self._random
        what = choose.randrange(4)
        if what == 0 and headers:
            headers.pop(choose.randrange(len(headers)))
        elif what == 1 and headers:
            headers.append(choose.choice(headers))
        elif what == 2 and headers:
            at = choose.randrange(len(headers))
            headers[at] = headers[at][0], CANARY + choose.choice(GARBAGE)
        else:
            headers.append((choose.choice(NAMES), choose.choice(GARBAGE) + CANARY))

    def _path(self, path: bytes) -> bytes:
        choose = self._random
        if choose.random() < 0.5:
            return path
        made = b"".join(choose.choice(GARBAGE).replace(b" ", b"+") for _ in range(2)) + CANARY
        what = choose.randrange(4)
        if what == 0:
            return path + (b"&" if b"?" in path else b"?") + choose.choice(FIELDS) + b"=" + made
        if what == 1:
            name, mark, query = path.partition(b"?")
            return name + b"/" + made + mark + query
        if what == 2:
            return path + b"#" + made
        return path.replace(b"=", b"=" + made, 1)

    def _body(self, asked: Asked, headers: list[tuple[bytes, bytes]]) -> bytes:
        choose = self._random
        body = asked.body or b""
        if choose.random() < 0.4:
            body = choose.choice(GARBAGE) + CANARY
        if not body and asked.body is None:
            return b""
        if choose.random() < 0.3:
            headers.append((b"Transfer-Encoding", b"chunked"))
            return b"%x\r\n%s\r\n" % (len(body), body) + choose.choice((b"0\r\n\r\n", b"zz\r\n", b"0\r\n", b""))
        headers.append((b"Content-Length", b"%d" % len(body)))
        return body


class HostileTests(TransportsCase):
    """Nothing of it breaks anything.

    Attributes:
        seed, rounds: others find more.
    """

    timeout = 90
    seed, rounds = 7, ROUNDS
    limits = Limits(
        message_bytes=4_096, outbound_bytes=65_536, heartbeat_seconds=3_600.0, hello_seconds=0.2, connections=50
    )

    def test_anything_at_all(self) -> Deferred[Any]:
        """No answer is a fault or repeats what was sent, nothing stands in the log, nobody is left behind, and the next
        visitor is served."""
        fuzz = Fuzz(self.seed)

        def work() -> None:
            answered = 0
            for number in range(self.rounds):
                data = fuzz.request()
                answer = self.send(fuzz.pieces(data), fuzz.chance(0.2))
                answered += bool(answer)
                if b" 500 " in answer:
                    self.assertTrue(any(text in answer for text in ASKED_FOR), (number, data, answer))
                self.assertNotIn(CANARY, answer, (number, data))
                self.assertNotIn(b"Traceback", answer, (number, data))
            self.assertGreater(answered, self.rounds / 2)
            self.in_reactor(self.end_sessions)
            self.until(lambda: self.hub.connections == 0)
            for asked in (OPENING[0], OPENING[1], OPENING[2]):
                with self.ask(asked, (COOKIE, ("Origin", ORIGIN))) as exchange:
                    self.assertIn(exchange.status, (101, 200), asked)

        return self.client(work)

    def test_headers_in_no_encoding(self) -> Deferred[Any]:
        """Whatever bytes a header has, it is no fault of the daemon's."""

        def work() -> None:
            for asked in (*OPENING, *SENDING, Asked("OPTIONS", "/orders/0/x/xhr"), Asked("GET", "/orders/iframe.html")):
                for name in NAMES:
                    headers = b"%s: \xff\xfe\xd9\xa1\r\n" % name
                    answer = self.send([asked.data(OWN).replace(b"Cookie", headers + b"Cookie", 1)], False)
                    self.assertNotIn(b"Processing Failed", answer, (asked, name))

        return self.client(work)

    def test_refused_handshakes(self) -> Deferred[Any]:
        """What is no handshake of a WebSocket is answered without its own words, and leaves no line in the log."""
        bad = CANARY + b"\xff"
        good = {name.encode(): value.encode() for name, value in UPGRADE}
        said: list[Any] = []
        observer = cast(ILogObserver, said.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

        def work() -> None:
            for asked in (each for each in OPENING if each.upgrade):
                data = asked.data(OWN)
                handshakes = [data.replace(name + b": " + value, name + b": " + bad) for name, value in good.items()]
                handshakes.append(data.replace(b" HTTP/", b"#" + bad + b" HTTP/"))
                handshakes += [
                    data.replace(b"Cookie", name + b": " + bad + b"\r\nCookie", 1)
                    for name in (b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Key")
                ]
                for handshake in handshakes:
                    answer = self.send([handshake], False)
                    self.assertNotIn(CANARY, answer, handshake)
                    self.assertTrue(answer, handshake)
            about = [event for event in said if CANARY.decode() in str(event) or "handshake" in str(event)]
            self.assertEqual(about, [])

        return self.client(work)

    def send(self, pieces: list[bytes], reset: bool) -> bytes:
        """What is answered within a moment; ends with RST where it is to."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            try:
                for piece in pieces:
                    client.sendall(piece)
                # The reactor has read it all, and answered, when it has turned a few times.
                for _ in range(4):
                    self.in_reactor(lambda: None)
                client.settimeout(0.001)
                return client.recv(65_536)
            except (ConnectionError, TimeoutError):
                return b""
