"""Whose pages may speak to a daemon: each transport refuses the others before it does anything for them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.integration.refusals.case import COOKIE, EVIL, OPENING, OWN, SENDING, STREAM, Asked, TransportsCase
from tests.integration.served import ORIGIN

ALLOW_ORIGIN = "Access-Control-Allow-Origin"


class OriginTests(TransportsCase):
    """Every request of every transport."""

    def _refused(self, asked: Asked, *headers: tuple[str, str], statuses: tuple[int, ...] = (403,)) -> None:
        with self.ask(asked, headers) as exchange:
            body = exchange.rest()
            self.assertIn(exchange.status, statuses, (asked, headers, body))
            self.assertIsNone(exchange.header(ALLOW_ORIGIN), asked)
            self.assertIsNone(exchange.header("Set-Cookie"), asked)
            self.assertNotIn(b"evil", body, asked)

    def test_a_page_of_another_site(self) -> Deferred[Any]:
        """It is refused with its Origin, whatever it looks like, and nothing of the request is repeated."""

        def work() -> None:
            for asked in (*OPENING, *SENDING):
                for origin in (EVIL, "null", f"{ORIGIN}.evil.example", f"{EVIL}, {ORIGIN}", "http://evil@testserver"):
                    self._refused(asked, COOKIE, ("Origin", origin))
                self._refused(asked, COOKIE, ("Origin", EVIL), ("Origin", ORIGIN), statuses=(400, 403))
            self.assertEqual((self.sessions(), self.identity.asked), (0, []))

        return self.client(work)

    def test_without_an_origin(self) -> Deferred[Any]:
        """With a cookie and no Origin a WebSocket and a POST are refused: browsers always say it there."""

        def work() -> None:
            for asked in (*OPENING, *SENDING):
                if asked.upgrade or asked.method == "POST" or asked.by_tag:
                    self._refused(asked, COOKIE)
            self.assertEqual((self.sessions(), self.identity.asked), (0, []))

        return self.client(work)

    def test_a_get_without_an_origin(self) -> Deferred[Any]:
        """A GET that says of itself that another site's page made it is refused."""

        def work() -> None:
            for asked in OPENING:
                if asked.method == "GET" and not asked.upgrade:
                    for site in ("cross-site", "same-site", "anything"):
                        self._refused(asked, COOKIE, ("Sec-Fetch-Site", site))
            self.assertEqual((self.sessions(), self.identity.asked), (0, []))

        return self.client(work)

    def test_a_tag_of_another_site(self) -> Deferred[Any]:
        """A script of JSONP is judged by the page that loads it, and one that hides which page that is gets nothing."""

        def work() -> None:
            for asked in OPENING:
                if asked.by_tag:
                    self._refused(asked, COOKIE, ("Referer", f"{EVIL}/{ORIGIN}/"))
                    self._refused(asked, COOKIE, ("Referer", "http://[evil"))
                    with self.ask(asked, (COOKIE, ("Referer", f"{ORIGIN}/page"))) as exchange:
                        self.assertEqual(exchange.status, 200, asked)

        return self.client(work)

    def test_an_allowed_page(self) -> Deferred[Any]:
        """Its own pages may read the answers, they alone, and no cache may mix them up."""

        def work() -> None:
            for asked in OPENING:
                if asked.upgrade or asked.by_tag:
                    continue
                with self.ask(asked) as exchange:
                    self.assertEqual(exchange.status, 200, asked)
                    said = (exchange.header(ALLOW_ORIGIN), exchange.header("Access-Control-Allow-Credentials"))
                    self.assertEqual(said, (ORIGIN, "true"), asked)
                    self.assertIn("Origin", exchange.header("Vary") or "", asked)
                    self.assertIn("no-store", exchange.header("Cache-Control") or "", asked)
                    self.assertEqual(exchange.header("X-Content-Type-Options"), "nosniff", asked)
                    self.assertIsNone(exchange.header("Server"), asked)

        return self.client(work)

    def test_preflight(self) -> Deferred[Any]:
        """Whether a POST may be made only an allowed page is told."""

        def work() -> None:
            for asked in (*OPENING, *SENDING):
                if asked.upgrade or asked == STREAM:
                    continue
                question = Asked("OPTIONS", asked.path)
                method = ("Access-Control-Request-Method", asked.method)
                self._refused(question, ("Origin", EVIL), method)
                with self.ask(question, (("Origin", ORIGIN), method)) as exchange:
                    self.assertEqual((exchange.status, exchange.header(ALLOW_ORIGIN)), (204, ORIGIN), asked)
                    self.assertIn(asked.method, exchange.header("Access-Control-Allow-Methods") or "", asked)

        return self.client(work)


class OldTransportTests(TransportsCase):
    """Transports that other sites' pages could include are off until somebody wants them."""

    legacy = False

    def test_they_are_off(self) -> Deferred[Any]:
        """JSONP, htmlfile and the iframe do not exist."""

        def work() -> None:
            for asked in (*OPENING, *SENDING):
                if asked.by_tag:
                    with self.ask(asked, OWN) as exchange:
                        self.assertEqual((exchange.status, exchange.rest()), (404, b""), asked)
            for path in ("/orders/iframe.html", "/livepush/sockjs/iframe-1.6.1.html"):
                with self.ask(Asked("GET", path)) as exchange:
                    self.assertEqual(exchange.status, 404)
            self.assertEqual(self.sessions(), 0)

        return self.client(work)


class CallbackTests(TransportsCase):
    """What a page names as its callback becomes code: it may be a name and nothing else."""

    def test_bad_callbacks(self) -> Deferred[Any]:
        """Anything but a short dotted name is refused, and not repeated."""

        def work() -> None:
            for name in ("", "alert(1)", "a;b", "%3Cscript%3E", "a%0Ab", "..", "a..b", "1a", "%C3%A9", "x" * 1_000):
                for kind in ("jsonp", "htmlfile"):
                    with self.ask(Asked("GET", f"/orders/0/bad/{kind}?c={name}", by_tag=True), OWN) as exchange:
                        self.assertGreaterEqual(exchange.status, 400, (kind, name))
                        body = exchange.rest()
                        self.assertTrue(not name or name.encode() not in body, (kind, body))
                        self.assertNotIn(b"<", body)
            self.assertEqual(self.sessions(), 0)

        return self.client(work)
