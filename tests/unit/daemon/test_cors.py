"""Tests of livepush.daemon.cors."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from livepush.daemon import cors
from livepush.daemon.origin import OriginSettings

SITE = "https://www.example.com"
ORIGINS = OriginSettings(allowed=(SITE,))


def make_request(method: str = "GET", **headers: str) -> Any:
    """A request with these headers."""
    request = cast(Any, DummyRequest([b""]))
    request.method, request.isSecure = method.encode(), lambda: False
    for name, value in headers.items():
        request.requestHeaders.addRawHeader(name.replace("_", "-").encode(), value.encode())
    return request


def refused(method: str = "GET", **headers: str) -> bool:
    """Whether it is."""
    return cors.refusal(make_request(method, **headers), ORIGINS) is not None


class RefusalTests(SynchronousTestCase):
    """Who may ask."""

    def test_origin(self) -> None:
        """An Origin decides, whatever the method, with a cookie or without."""
        for method in ("GET", "POST", "OPTIONS"):
            self.assertFalse(refused(method, Origin=SITE, Cookie="a=b"))
            for origin in ("https://evil.example", "null", f"{SITE}.evil.example"):
                self.assertTrue(refused(method, Origin=origin, Cookie="a=b"))
                self.assertTrue(refused(method, Origin=origin))

    def test_two_origins(self) -> None:
        """Two Origins are none."""
        request = make_request(Origin=SITE)
        request.requestHeaders.addRawHeader(b"origin", SITE.encode())
        self.assertIsNotNone(cors.refusal(request, ORIGINS))

    def test_own_page(self) -> None:
        """A browser sends no Origin when a page gets something from its own address."""
        self.assertFalse(refused(Cookie="a=b", Sec_Fetch_Site="same-origin"))
        self.assertFalse(refused(Cookie="a=b", Sec_Fetch_Site="none"))
        self.assertFalse(refused(Cookie="a=b"))  # a browser that says nothing of the kind

    def test_other_page(self) -> None:
        """An image or a script of another site's page sends none either, and says where it is from."""
        self.assertTrue(refused(Cookie="a=b", Sec_Fetch_Site="cross-site"))
        self.assertTrue(refused(Cookie="a=b", Sec_Fetch_Site="same-site"))

    def test_post(self) -> None:
        """A POST with a cookie and without an Origin is no page's."""
        self.assertTrue(refused("POST", Cookie="a=b"))
        self.assertTrue(refused("POST", Cookie="a=b", Sec_Fetch_Site="same-origin"))
        self.assertFalse(refused("POST"))


class AllowTests(SynchronousTestCase):
    """Who may read the answer."""

    def test_headers(self) -> None:
        """The page whose Origin was allowed, with its cookies, and no other."""
        request = make_request(Origin=SITE)
        cors.allow(request)
        headers = dict(request.responseHeaders.getAllRawHeaders())
        self.assertEqual(headers[b"Access-Control-Allow-Origin"], [SITE.encode()])
        self.assertEqual(headers[b"Access-Control-Allow-Credentials"], [b"true"])
        self.assertEqual(headers[b"Vary"], [b"Origin"])

    def test_no_origin(self) -> None:
        """A request without an Origin needs none of them."""
        request = make_request()
        cors.allow(request)
        self.assertEqual([name for name, _ in request.responseHeaders.getAllRawHeaders()], [b"Vary"])

    def test_preflight(self) -> None:
        """What a page may send is told for a year, and nothing else."""
        request = make_request("OPTIONS", Origin=SITE)
        self.assertEqual((cors.preflight(request, "GET, POST"), request.responseCode), (b"", 204))
        headers = dict(request.responseHeaders.getAllRawHeaders())
        self.assertEqual(headers[b"Access-Control-Allow-Methods"], [b"GET, POST"])
        self.assertEqual(headers[b"Access-Control-Max-Age"], [b"31536000"])
