"""Cases 28-32, 34, 35, 40 and 42: what goes over HTTP, and what is told there."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
import subprocess
from pathlib import Path

from tests.acceptance.security.case import NATIVE, ORIGIN, POLLING, SECONDS, SOCKJS, STREAM, SecurityCase
from tests.clients.rawhttp import request
from tests.servers.ports import free_port

PATHS = (
    "/",
    "/nothing",
    "/livepush",
    "/livepush/nothing",
    "/healthz",
    "/readyz",
    "/metrics",
    NATIVE,
    f"{SOCKJS}/0/a.b/xhr",
    "/socket.io/?EIO=3",
    "/orders/0/x/nothing",
)
BEARER = ("Authorization", "Bearer canary-of-the-status-token")


class ReflectionTests(SecurityCase):
    """What of a request is in its answer, or in the log."""

    def test_28_line_breaks(self) -> None:
        """Attack: line breaks in path, query, cookie and headers; none makes a header of the answer, or a log line."""
        evil = "%0d%0aX-Evil:%201%0d%0a%0d%0a<script>"
        for path in (f"/{evil}", f"{STREAM}?channels={evil}", f"{POLLING}&sid={evil}", f"/orders/0/{evil}/xhr"):
            for method in ("GET", "POST"):
                headers = [("Cookie", f"sessionid={evil}"), ("Origin", ORIGIN), ("Referer", f"http://x/{evil}")]
                with self.ask(method, path, headers, b"" if method == "POST" else None) as exchange:
                    self.assertIsNone(exchange.header("X-Evil"), path)
                    self.assertNotIn(b"<script>", exchange.rest())
        for head in (
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: a\rX-Evil: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: a\nX-Evil: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: a\x85X-Evil: 1\r\n\r\n",
        ):
            with self.send(head) as exchange:
                self.assertIsNone(exchange.header("X-Evil"))
        self.assertNotIn("X-Evil", self.world.daemon.output)

    def test_28_a_name_with_line_breaks(self) -> None:
        """Attack: an event whose data hold the ends of lines and of scripts; a stream stays a stream of that event."""
        visitor = self.world.visitor()
        stream = self.stream(visitor)
        stream.until("welcome")
        evil = "a\r\n\r\nevent: evil\ndata: x\u2028\u2029\x85</script>\x0b\x1c"
        self.world.publish("lock", {"name": evil})
        (message,) = stream.messages()
        self.assertEqual((message.type, message.said["data"]), ("message", {"name": evil}))

    def test_32_error_pages(self) -> None:
        """Attack: a link to an error page carries markup; it is not shown, not sniffed, not stored and not framed."""
        mark = "<svg/onload=alert(1)>"
        for path in PATHS:
            target = path + ("&" if "?" in path else "?") + mark.replace(" ", "%20")
            for method in ("GET", "POST", "BREW"):
                headers = [("Origin", ORIGIN), ("X-Mark", mark), ("X-Forwarded-For", mark)]
                with self.ask(method, target, headers, b"" if method == "POST" else None) as exchange:
                    said = exchange.rest()
                    if exchange.status < 400:
                        continue
                    self.assertNotIn(b"onload", said + repr(exchange.headers).encode(), target)
                    self.assertEqual(exchange.header("X-Content-Type-Options"), "nosniff", (method, target))
                    self.assertIn("no-store", exchange.header("Cache-Control") or "", (method, target))
                    self.assertNotIn("html", exchange.header("Content-Type") or "", (method, target))
        with self.ask("GET", "/nothing", host=mark) as exchange:
            self.assertNotIn(b"onload", exchange.rest())

    def test_32_banners(self) -> None:
        """Attack: look for the software's version, to look up its holes."""
        visitor = self.world.visitor()
        answers = [self.ask(method, path, visitor.headers) for path in PATHS for method in ("GET", "BREW")]
        answers.append(self.send(b"nonsense\r\n\r\n"))
        for exchange in answers:
            said = repr(exchange.headers) + exchange.rest().decode("latin-1")
            self.assertIsNone(re.search(r"(?i)twisted|autobahn|python|livepush/\d", said), said)
        client = self.page(visitor)
        self.assertIsNone(client.handshake.header("Server"))


class SmugglingTests(SecurityCase):
    """Two readers of one request."""

    def test_29_ambiguous_ends(self) -> None:
        """Attack: a body whose end a proxy in front would see elsewhere; what follows is never a request of its own."""
        inner = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        post = b"POST /orders/0/smuggle/xhr_send HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        for head in (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
            b"Content-Length: +0\r\n\r\n",
            b"Content-Length: 0_0\r\n\r\n",
            b"Content-Length: 0x0\r\n\r\n",
            b"Content-Length : 44\r\n\r\n",
            b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
            b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n0;\n\r\n\r\n",
        ):
            answered = self.answers(post + head + inner)
            self.assertNotIn(b'"alive"', answered, head)

    def test_29_heads(self) -> None:
        """Attack: heads that two readers read in two ways: no Host, two, folded lines, control characters, `_`."""
        for lines in (
            b"",
            b"Host: 127.0.0.1\r\nHost: evil.example\r\n",
            b"Host: 127.0.0.1\r\nX: a\r\n b\r\n",
            b"Host: 127.0.0.1\r\nX: a\x0bb\r\n",
            b"Host: 127.0.0.1\r\nX: a\x00b\r\n",
            b"Host: 127.0.0.1\r\nX_Forwarded_For: 1.2.3.4\r\n",
            b"Host: 127.0.0.1 evil\r\n",
        ):
            for path in (b"/livepush/sockjs/info", POLLING.encode()):
                answered = self.answers(b"GET " + path + b" HTTP/1.1\r\n" + lines + b"\r\n")
                self.assertIn(answered.split(b"\r\n")[0][9:12], (b"400", b""), (path, lines))

    def test_31_pipelining(self) -> None:
        """Attack: many requests at once; each answer is its own request's, and they come in order."""
        visitor = self.world.visitor()
        paths = ["/livepush/sockjs/info", "/nothing", POLLING, "/livepush/ws", "/orders", "/socket.io/?EIO=9"] * 5
        wanted = [200, 404, 200, 426, 200, 400] * 5
        data = b"".join(request("GET", path, visitor.headers, host="127.0.0.1") for path in paths[:-1])
        data += request("GET", paths[-1], [*visitor.headers, ("Connection", "close")], host="127.0.0.1")
        answered = self.answers(data)
        self.assertEqual([int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", answered)], wanted)

    def test_31_a_poll_before_others(self) -> None:
        """Attack: requests behind a poll that waits, on one connection; the poll's answer comes first."""
        visitor = self.world.visitor()
        engine = self.polled(visitor)
        data = request("GET", engine, visitor.headers, host="127.0.0.1")
        data += request("GET", "/nothing", [("Connection", "close")], host="127.0.0.1")
        mark = secrets.token_hex(8)
        sock = self.raw()
        sock.sendall(data)
        self.world.publish("mark", {"mark": mark})
        answered = b""
        while chunk := sock.recv(65_536):
            answered += chunk
        self.assertLess(answered.index(mark.encode()), answered.index(b" 404 "))

    def answers(self, data: bytes) -> bytes:
        """All that is answered, until the other side closes or says nothing for a second."""
        sock = self.raw()
        sock.sendall(data)
        sock.settimeout(1.0)
        answered = b""
        try:
            while chunk := sock.recv(65_536):
                answered += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        sock.close()
        return answered


class PrivateTests(SecurityCase):
    """What is not for the public."""

    def test_40_status(self) -> None:
        """Attack: read the status through the proxy, from another machine, or with a wrong token."""
        for path in ("/healthz", "/readyz", "/metrics"):
            for headers in (
                [("X-Forwarded-For", "127.0.0.1")],
                [("X-Real-IP", "127.0.0.1")],
                [("Forwarded", "for=127.0.0.1")],
                [("Via", "1.1 proxy")],
                [("X-Forwarded-For", "127.0.0.1"), ("Authorization", "Bearer wrong-wrong-wrong-wrong")],
                [("X-Forwarded-For", "127.0.0.1"), ("Authorization", "Basic canary-of-the-status-token")],
                [("X-Forwarded-For", "127.0.0.1"), BEARER, ("Authorization", "Bearer x")],
            ):
                with self.ask("GET", path, headers) as exchange:
                    self.assertIn(exchange.status, (400, 404), (path, headers))
                    self.assertNotIn(b"alive", exchange.rest())
        with self.ask("GET", "/healthz", [("X-Forwarded-For", "1.2.3.4"), BEARER]) as exchange:
            self.assertEqual(exchange.status, 200)

    def test_34_callbacks(self) -> None:
        """Attack: a callback of JSONP that is code, long, or not ASCII; where it is off there is nothing at all."""
        visitor = self.world.visitor()
        for name in ("alert(1)//", "a" * 200, "%C3%A9", "", "a;b", "<script>", "a.b..c", "a%0ab"):
            for kind in ("jsonp", "htmlfile"):
                path = f"/orders/0/{secrets.token_hex(4)}/{kind}?c={name}"
                with self.ask("GET", path, visitor.headers, port=self.world.legacy_port) as exchange:
                    self.assertIn(exchange.status, (400, 500), path)
                    said = exchange.rest()
                    self.assertTrue(len(name) < 4 or name.encode() not in said, said)
                with self.ask("GET", path, visitor.headers) as exchange:
                    self.assertEqual(exchange.status, 404, path)

    def test_35_the_iframe(self) -> None:
        """Attack: any site puts the page of the iframe transports into a frame, or names another script."""
        for path in (f"{SOCKJS}/iframe.html", f"{SOCKJS}/iframe-1.6.1.html", f"{SOCKJS}/iframe-<script>.html"):
            with self.ask("GET", path) as exchange:
                self.assertIn(exchange.status, (400, 404))
        with self.ask("GET", f"{SOCKJS}/iframe.html?src=//evil", port=self.world.legacy_port) as exchange:
            page, policy = exchange.rest().decode(), exchange.header("Content-Security-Policy") or ""
        self.assertEqual(re.findall(r'<script src="([^"]*)"', page), ["/static/sockjs.min.js"])
        self.assertIn("frame-ancestors", policy)
        self.assertIn(ORIGIN, policy)
        self.assertNotIn("*", policy.partition("frame-ancestors")[2])
        self.assertNotIn("evil", page)

    def test_30_forwarded_addresses(self) -> None:
        """Attack: who is no trusted proxy says that he comes from this machine, or from everywhere."""
        visitor = self.world.visitor()
        for value in ("127.0.0.1", "::1", "1.2.3.4, 127.0.0.1", "evil", "9" * 5_000, "\xff", "127.0.0.1:80, [::1]:443"):
            headers = [*visitor.headers, ("X-Forwarded-For", value)]
            with self.socket(NATIVE, headers, subprotocols=["livepush.v1"]) as client:
                self.assertIn(client.status, (101, 400), value)
            with self.ask("GET", "/healthz", [("X-Forwarded-For", value)]) as exchange:
                self.assertIn(exchange.status, (400, 404), value)

    def test_42_tls(self) -> None:
        """Attack: an old TLS, without a proxy in front; only 1.2 and later are spoken."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
        subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
        port = free_port()
        listen = f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
        daemon = self.world.start(free_port(), "guarded.settings", "--listen", listen)
        self.addCleanup(daemon.kill)
        daemon.wait_for("Feed ready")
        self.assertRaises((ssl.SSLError, OSError), self.spoken, port, ssl.TLSVersion.TLSv1_1)
        self.assertEqual(
            {self.spoken(port, version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)}, {404}
        )

    def spoken(self, port: int, version: ssl.TLSVersion) -> int:
        """The status of a request in this version of TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # what this machine's own policy would refuse to offer
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as plain,
            context.wrap_socket(plain) as sock,
        ):
            sock.sendall(request("GET", "/nothing", host="127.0.0.1"))
            return int(sock.recv(4_096).split(b" ")[1])
