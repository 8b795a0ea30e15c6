"""The bounds of requests: bodies, heads, methods, names, and how many connections there may be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred

from livepush.daemon.settings import Limits
from tests.clients.rawhttp import Exchange, request
from tests.integration.refusals.case import OPENING, OWN, SENDING, STREAM, Asked, TransportsCase

PREFIX = "/livepush/sockjs/0/a"
POSTED = tuple(asked for asked in (*OPENING, *SENDING) if asked.method == "POST")
METHODS = ("PUT", "DELETE", "PATCH", "TRACE", "BREW")


class AdmissionTests(TransportsCase):
    """Who comes when nobody can be served."""

    limits = Limits(connections=2, message_bytes=4_096, heartbeat_seconds=3_600.0)

    def _turned_away(self, seconds: str) -> None:
        for asked in OPENING:
            with self.ask(asked) as exchange:
                if asked == STREAM:  # a browser comes back only after a stream that ended
                    self.assertEqual(exchange.status, 200)
                    self.assertRegex(exchange.rest(), rb"^retry: ?[1-9]")
                else:
                    self.assertEqual((exchange.status, exchange.header("Retry-After")), (503, seconds), asked)
                    self.assertEqual(exchange.header("Connection"), "close", asked)
                    self.assertTrue(exchange.closed(), asked)  # the next attempt may find another process

    def test_not_ready(self) -> Deferred[Any]:
        """Without a broker nobody is let in by any transport, and each is told when to come back,
        over another connection."""
        self.ready = False

        def work() -> None:
            self._turned_away("1")
            self.assertEqual((self.sessions(), self.identity.asked), (0, []))

        return self.client(work)

    def test_full(self) -> Deferred[Any]:
        """The bound of connections holds for all transports together; one that goes makes room for any other."""

        def work() -> None:
            with self._streaming(), self._streaming():
                self._turned_away("5")
            self.until(lambda: not self.hub.connections)
            with self.ask(Asked("POST", "/orders/0/x/xhr", body=b"")) as exchange:
                self.assertEqual((exchange.status, exchange.rest()), (200, b"o\n"))

        return self.client(work)

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        with self.ask(STREAM) as exchange:
            exchange.until(b'"op":"welcome"')
            yield


class BodyTests(TransportsCase):
    """Bodies that are larger than any message needs."""

    def test_announced(self) -> Deferred[Any]:
        """The head is enough: 413, and the connection ends before a byte of the body was sent."""

        def work() -> None:
            for asked in POSTED:
                for size in (self.limits.body_bytes + 1, 2**40, 10**30):
                    data = request("POST", asked.path, [*OWN, ("Content-Length", str(size))])
                    with Exchange(self.port, data) as exchange:
                        self.assertEqual((exchange.status, exchange.closed()), (413, True), (asked, size))

        return self.client(work)

    def test_in_chunks(self) -> Deferred[Any]:
        """A body without a length is counted as it comes."""

        def work() -> None:
            chunk = b"%x\r\n%s\r\n" % (4_096, b"x" * 4_096)
            for asked in POSTED:
                head = request("POST", asked.path, [*OWN, ("Transfer-Encoding", "chunked")])
                with Exchange(self.port, head + chunk * (self.limits.body_bytes // 4_096 + 1)) as exchange:
                    self.assertEqual((exchange.status, exchange.closed()), (413, True), asked)

        return self.client(work)

    def test_two_lengths(self) -> Deferred[Any]:
        """A body whose end two servers could see at different places is refused (RFC 9112, 6.1)."""

        def work() -> None:
            for headers in (
                [("Content-Length", "5"), ("Content-Length", "6")],
                [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
                [("Content-Length", "-1")],
                [("Content-Length", "+5")],
                [("Transfer-Encoding", "chunked, gzip")],
            ):
                with Exchange(self.port, request("POST", f"{PREFIX}/xhr", [*OWN, *headers]) + b"0\r\n\r\n") as exchange:
                    self.assertIn(exchange.status, (400, 501), headers)
                    self.assertTrue(exchange.closed(), headers)
            self.assertEqual(self.sessions(), 0)

        return self.client(work)

    def test_a_message_too_large(self) -> Deferred[Any]:
        """A body may pass whose one message may not: it ends the session, over SockJS with 4413."""

        def work() -> None:
            with self.ask(Asked("POST", f"{PREFIX}/xhr", body=b"")) as exchange:
                self.assertEqual(exchange.rest(), b"o\n")
            large = b'["' + b"x" * (self.limits.message_bytes + 1) + b'"]'
            with self.ask(Asked("POST", f"{PREFIX}/xhr_send", body=large)) as exchange:
                self.assertEqual(exchange.status, 413)
            with self.ask(Asked("POST", f"{PREFIX}/xhr", body=b"")) as exchange:
                self.assertRegex(exchange.rest(), rb"^c\[4413,")

        return self.client(work)


class HeadTests(TransportsCase):
    """Heads, methods and names."""

    def test_a_large_head(self) -> Deferred[Any]:
        """16 KiB of headers, in one or in many, end the connection unheard."""

        def work() -> None:
            for headers in (
                [("X", "x" * 17_000)],
                [(f"X-{index}", "x" * 1_000) for index in range(17)],
                [("X", "x")] * 600,
            ):
                with Exchange(self.port, request("GET", "/livepush/sse", [*OWN, *headers])) as exchange:
                    self.assertIn(exchange.status, (400, 431), len(headers))
                    self.assertTrue(exchange.closed())
            path = "/socket.io/?EIO=4&transport=polling&x=" + "x" * 17_000
            with Exchange(self.port, request("GET", path, OWN)) as exchange:
                self.assertEqual(exchange.status, 431)
            self.assertEqual((self.sessions(), self.identity.asked), (0, []))

        return self.client(work)

    def test_no_http(self) -> Deferred[Any]:
        """What is no HTTP gets no service."""

        def work() -> None:
            for data in (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
                b"GET\r\n\r\n",
                b"GET /livepush/sse\r\n\r\n",
                b"GET /livepush/sse HTTP/9.9\r\n\r\n",
                b"GET /livepush/sse HTTP/1.1\r\nno colon\r\n\r\n",
                b"GET /livepush/sse HTTP/1.1\r\nA: b\r\n c\x00\r\nHost: x\r\nB : c\r\n\r\n",
                b"\x00" * 64 + b"\r\n\r\n",
            ):
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    answer = b""
                    while chunk := sock.recv(65_536):
                        answer += chunk
                    self.assertNotIn(b" 200 ", answer.split(b"\r\n")[0], data)
            self.assertEqual((self.sessions(), self.identity.asked), (0, []))

        return self.client(work)

    def test_other_methods(self) -> Deferred[Any]:
        """Another method is refused at every address, and its request is not shown again."""

        def work() -> None:
            for asked in (*OPENING, *SENDING):
                for method in METHODS:
                    headers = [*OWN, ("X-Secret", "s3cret")]
                    with Exchange(self.port, request(method, asked.path, headers, b"x")) as exchange:
                        self.assertIn(exchange.status, (400, 405), (asked, method))
                        self.assertTrue(exchange.status == 400 or exchange.header("Allow"), (asked, method))
                        self.assertNotIn(b"s3cret", exchange.rest())
            self.assertEqual((self.sessions(), self.identity.asked), (0, []))

        return self.client(work)

    def test_odd_names(self) -> Deferred[Any]:
        """A session's name is short and has no dots, and an address has no parts too many or too few."""

        def work() -> None:
            for name in ("", ".", "..", "a.b", "%2e%2e", "%2E", "a%2Fb", "x" * 129):
                for path in (f"/orders/0/{name}/xhr", f"/orders/{name}/a/xhr"):
                    with self.ask(Asked("POST", path, body=b"")) as exchange:
                        self.assertEqual(exchange.status, 404, path)
            for path in (
                "/orders/0/xhr",
                "/orders/0/a/b/xhr",
                "/orders/0/a/xhr/",
                "/orders/0/a/xhr/b",
                "/orders//a/xhr",
            ):
                with self.ask(Asked("POST", path, body=b"")) as exchange:
                    self.assertEqual(exchange.status, 404, path)
            self.assertEqual(self.sessions(), 0)

        return self.client(work)

    def test_many_fields(self) -> Deferred[Any]:
        """A query of very many fields says nothing."""

        def work() -> None:
            path = "/socket.io/?" + "&".join(f"a{index}=" for index in range(1_000)) + "&EIO=4&transport=polling"
            with self.ask(Asked("GET", path)) as exchange:
                self.assertEqual(exchange.status, 400)
            path = "/livepush/sse?channels=" + ",".join(f"c{index}" for index in range(2_000))
            with self.ask(Asked("GET", path)) as exchange:
                self.assertIn(exchange.status, (400, 403))
            self.assertEqual(self.sessions(), 0)

        return self.client(work)


class PacketTests(TransportsCase):
    """Bodies that are none of the protocol's."""

    def _engine(self) -> str:
        with self.ask(Asked("GET", "/socket.io/?EIO=4&transport=polling")) as exchange:
            sid = exchange.rest().split(b'"sid":"')[1].split(b'"')[0].decode()
        return f"/socket.io/?EIO=4&transport=polling&sid={sid}"

    def test_engine_io(self) -> Deferred[Any]:
        """What is no packet ends the session, and the client may begin anew."""

        def work() -> None:
            for body in (
                b"",
                b"\x1e",
                b"9",
                b"4\xff\xfe",
                b"0",
                b"2",
                b"5",
                b"b====",
                b"4" + b"x" * 8,
                b"45999999-[]",
                b"451-[]\x1e4x",
                b'4["x"]',
                b"42" + b"[" * 3_000,
                b'42["\\ud800"]',
                b"42[NaN]",
                b'42["connect"]',
                b"4" + b"0" * 400,
                b"\x1e".join([b"3"] * 1_001),
                b'42["x",' + b"1" * 5_000 + b"]",
            ):
                path = self._engine()
                with self.ask(Asked("POST", path, body=body)) as exchange:
                    self.assertEqual(exchange.status, 400, body[:40])
                with self.ask(Asked("GET", path)) as exchange:
                    self.assertEqual((exchange.status, b'"code":1' in exchange.rest()), (400, True), body[:40])
            self.assertEqual(self.sessions(), 0)

        return self.client(work)

    def test_sockjs(self) -> Deferred[Any]:
        """What is no array of texts is refused, and the session stays; what is no message of livepush ends it."""

        def work() -> None:
            with self.ask(Asked("POST", f"{PREFIX}/xhr", body=b"")) as exchange:
                self.assertEqual(exchange.rest(), b"o\n")
            for body in (b"", b"[", b"{}", b'"x"', b"[1]", b"[[]]", b'["x",]', b"\xff", b'["\\ud800"]', b"[" * 3_000):
                with self.ask(Asked("POST", f"{PREFIX}/xhr_send", body=body)) as exchange:
                    self.assertEqual(exchange.status, 500, body[:40])
            self.assertEqual(self.sessions(), 1)
            with self.ask(Asked("POST", f"{PREFIX}/xhr_send", body=b'["not json"]')) as exchange:
                self.assertEqual(exchange.status, 204)
            with self.ask(Asked("POST", f"{PREFIX}/xhr", body=b"")) as exchange:
                self.assertRegex(exchange.rest(), rb"^c\[4400,")

        return self.client(work)
