"""Cases 1-4 and 33: pages of other sites, with the cookie of somebody who is logged in here."""

from __future__ import annotations

from tests.acceptance.security.case import ENGINE_SOCKET, NATIVE, ORIGIN, POLLING, SOCKJS, STREAM, SecurityCase
from tests.acceptance.security.world import EVIL

Header = tuple[str, str]

SOCKETS = (NATIVE, ENGINE_SOCKET, f"{SOCKJS}/0/evil/websocket", f"{SOCKJS}/websocket", "/orders/0/evil/websocket")
GETS = (STREAM, POLLING, f"{SOCKJS}/0/evil/eventsource", f"{SOCKJS}/info")
POSTS = (f"{SOCKJS}/0/evil/xhr", f"{SOCKJS}/0/evil/xhr_streaming", "/orders/0/evil/xhr")
TAGS = ("/orders/0/evil/jsonp?c=f", "/orders/0/evil/htmlfile?c=f")
SENDS = (f"{SOCKJS}/0/evil/xhr_send", "/orders/0/evil/xhr_send", f"{POLLING}&sid=evil")

TRICKS = (
    "https://good.example.evil.example",
    "https://evilgood.example",
    "https://evil-good.example",
    "https://sub.good.example",
    "http://good.example",
    "https://good.example:8443",
    "http://good.example:8001",
    "https://good.example.",
    "https://good.example@evil.example",
    "https://evil.example#good.example",
    "https://good.example/",
    "https://g\u043e\u043ed.example".encode().decode("latin-1"),  # Cyrillic letters
    "https://xn--gd-5ed.example",
    "https://good.example, https://evil.example",
    "good.example",
    "HTTPS://GOOD.EXAMPLE",
    "null",
    "file://",
    "",
    "https://" + "a" * 10_000,
)


class ForeignPageTests(SecurityCase):
    """Cross-site WebSocket hijacking, and the same by every other way in."""

    def setUp(self) -> None:
        super().setUp()
        self.victim = self.world.visitor()
        self.before = self.settled()

    def refused(self, port: int, *headers: Header, sockets: bool = True) -> None:
        """Each way in is refused, before a session is opened, and nothing is repeated or may be read by the page."""
        if sockets:
            for path in SOCKETS:
                client = self.socket(path, headers, port=port)
                self.assertIn(client.status, (400, 403), (path, headers))
                self.assertNotIn(b"evil", client.handshake.body)
        wanted = [("GET", path, None) for path in GETS] + [("POST", path, b"") for path in POSTS]
        wanted += [("POST", path, b'["{}"]') for path in SENDS]
        if port == self.world.legacy_port:
            wanted += [("GET", path, None) for path in TAGS]
        for method, path, body in wanted:
            with self.ask(method, path, headers, body, port=port) as exchange:
                text = exchange.rest()
                self.assertIn(exchange.status, (400, 403), (method, path, headers))
                self.assertNotIn(b"evil", text, path)
                self.assertIsNone(exchange.header("Access-Control-Allow-Origin"), path)

    def test_01_foreign_origin(self) -> None:
        """Attack: evil.example opens any transport with the victim's cookie."""
        for port in (self.world.port, self.world.legacy_port):
            self.refused(port, self.victim.cookie, ("Origin", EVIL))
        self.assertLessEqual(self.connections, self.before)

    def test_02_no_origin(self) -> None:
        """Attack: a sandboxed frame says `null`, an old client says nothing, with a cookie."""
        self.refused(self.world.legacy_port, self.victim.cookie, ("Origin", "null"))
        for path in SOCKETS:
            self.assertEqual(self.socket(path, [self.victim.cookie]).status, 403, path)
        for path in (*POSTS, *SENDS):
            with self.ask("POST", path, [self.victim.cookie], b"[]") as exchange:
                self.assertEqual(exchange.status, 403, path)
        for path in TAGS:
            with self.ask("GET", path, [self.victim.cookie], port=self.world.legacy_port) as exchange:
                self.assertEqual(exchange.status, 403, path)
        for path in (STREAM, POLLING, f"{SOCKJS}/0/evil/eventsource"):
            with self.ask("GET", path, [self.victim.cookie, ("Sec-Fetch-Site", "cross-site")]) as exchange:
                self.assertEqual(exchange.status, 403, path)
        self.assertLessEqual(self.connections, self.before)

    def test_03_origin_tricks(self) -> None:
        """Attack: origins that look like the right one to a careless comparison."""
        for origin in TRICKS:
            headers = [self.victim.cookie, ("Origin", origin)]
            for path in (NATIVE, ENGINE_SOCKET):
                self.assertIn(self.socket(path, headers).status, (400, 403), origin)
            with self.ask("GET", POLLING, headers) as exchange:
                self.assertIn(exchange.status, (400, 403), origin)
        self.assertLessEqual(self.connections, self.before)
        for origin in (ORIGIN, f"{ORIGIN}:443", "http://good.example:8000"):
            with self.socket(NATIVE, [self.victim.cookie, ("Origin", origin)]) as client:
                self.assertEqual(client.status, 101, origin)

    def test_04_host(self) -> None:
        """Attack: the request's own Host or a forwarding header names the evil site as the own one."""
        for headers in (
            [("Host", "evil.example")],
            [("X-Forwarded-Host", "evil.example")],
            [("Forwarded", "host=evil.example;proto=https")],
            [("X-Original-Host", "evil.example"), ("X-Host", "evil.example")],
        ):
            sent = [*headers, self.victim.cookie, ("Origin", EVIL)]
            self.assertIn(self.socket(NATIVE, sent).status, (400, 403), headers)
            host = dict(headers).get("Host", "127.0.0.1")
            rest = [header for header in sent if header[0] != "Host"]
            with self.ask("GET", POLLING, rest, host=host) as exchange:
                self.assertIn(exchange.status, (400, 403), headers)
        self.assertLessEqual(self.connections, self.before)

    def test_33_forged_posts(self) -> None:
        """Attack: a form of evil.example posts into a session of the victim's whose id it has learned."""
        sockjs, engine = self.sockjs(self.victim), self.polled(self.victim)
        for path, body in ((f"{sockjs}/xhr_send", b'["{}"]'), (engine, b"41")):
            for headers in (
                [self.victim.cookie, ("Origin", EVIL), ("Content-Type", "text/plain")],
                [self.victim.cookie, ("Content-Type", "application/x-www-form-urlencoded")],
            ):
                with self.ask("POST", path, headers, body) as exchange:
                    self.assertEqual(exchange.status, 403, (path, headers))
            with self.ask("POST", path, self.victim.headers, body) as exchange:
                self.assertIn(exchange.status, (200, 204), path)
                self.assertEqual(exchange.header("Access-Control-Allow-Origin"), ORIGIN)
        with self.ask("POST", engine, self.victim.headers, b"1") as exchange:
            self.assertEqual(exchange.status, 200)
