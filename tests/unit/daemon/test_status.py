"""Who may read `/healthz` and `/readyz`, and what they say."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.test.requesthelper import DummyRequest

from livepush.daemon.status import Exposition, Health, Place, Readiness, Status

TOKEN = "0123456789abcdef0123"
LOOPBACK = IPv4Address("TCP", "127.0.0.1", 4000)


def ask(
    resource: Place,
    client: Any = LOOPBACK,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    method: bytes = b"GET",
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    request = DummyRequest([b"readyz"])
    request.method, request.client = method, client
    for name, value in headers:
        request.requestHeaders.addRawHeader(name, value)
    body = resource.render(cast(Request, request))
    answered = {
        name.decode().lower(): values[0].decode() for name, values in request.responseHeaders.getAllRawHeaders()
    }
    return request.responseCode or 200, answered, body


class AccessTests(SynchronousTestCase):
    """Only this machine, or the bearer of the token."""

    def setUp(self) -> None:
        self.open = Health(Status(TOKEN, lambda: 3))
        self.closed = Health(Status(None, lambda: 3))

    def status(self, *given: Any, resource: Place | None = None, **named: Any) -> int:
        """The status alone."""
        return ask(resource or self.open, *given, **named)[0]

    def test_this_machine(self) -> None:
        """A loopback connection is answered without a token, over either protocol."""
        for client in (
            LOOPBACK,
            IPv4Address("TCP", "127.8.8.8", 1),
            IPv6Address("TCP", "::1", 1),
            IPv6Address("TCP", "::ffff:127.0.0.1", 1),
        ):
            self.assertEqual(self.status(client, resource=self.closed), 200, client)

    def test_any_other_machine(self) -> None:
        """For others the address does not exist; nor over a unix socket, where a proxy stands."""
        for client in (
            IPv4Address("TCP", "10.0.0.1", 1),
            IPv6Address("TCP", "::ffff:10.0.0.1", 1),
            IPv6Address("TCP", "fe80::1%eth0", 1),
            IPv4Address("TCP", "unknown", 1),
            UNIXAddress("/run/x"),
            None,
        ):
            self.assertEqual(self.status(client), 404, client)

    def test_through_a_proxy_on_this_machine(self) -> None:
        """A header that a proxy adds means that somebody else asks, however it is written."""
        for name in (b"X-Forwarded-For", b"x-forwarded-host", b"X_Forwarded_For", b"Forwarded", b"Via", b"X-Real-IP"):
            self.assertEqual(self.status(headers=((name, b"127.0.0.1"),)), 404, name)

    def test_the_token_opens_from_anywhere(self) -> None:
        """A load balancer with the token is answered, through proxies too."""
        bearer = (b"Authorization", b"Bearer " + TOKEN.encode())
        self.assertEqual(self.status(IPv4Address("TCP", "10.0.0.1", 1), (bearer, (b"Via", b"1.1 proxy"))), 200)

    def test_a_unix_socket_of_its_own(self) -> None:
        """Where a socket was made for it, who may open its file may ask."""
        there = Health(Status(connections=lambda: 3, by_socket=True))
        self.assertEqual(self.status(UNIXAddress("/run/x"), resource=there), 200)
        self.assertEqual(self.status(IPv4Address("TCP", "10.0.0.1", 1), resource=there), 404)

    def test_a_wrong_token_does_not(self) -> None:
        """Nor does a part of it, another scheme, two at once or no token where none is set."""
        far = IPv4Address("TCP", "10.0.0.1", 1)
        right = b"Bearer " + TOKEN.encode()
        for value in (right[:-1], right + b"x", TOKEN.encode(), b"Basic " + TOKEN.encode(), b"", b"Bearer \xff"):
            self.assertEqual(self.status(far, ((b"Authorization", value),)), 404, value)
        self.assertEqual(self.status(far, ((b"Authorization", right), (b"Authorization", right))), 404)
        for value in (b"Bearer None", b"Bearer "):
            self.assertEqual(self.status(far, ((b"Authorization", value),), resource=self.closed), 404)


class AnswerTests(SynchronousTestCase):
    """What they say."""

    def test_alive(self) -> None:
        """A small JSON object that no cache keeps."""
        code, headers, body = ask(Health(Status(None, lambda: 3)))
        self.assertEqual((code, json.loads(body)), (200, {"alive": True, "connections": 3}))
        self.assertEqual((headers["content-type"], headers["cache-control"]), ("application/json", "no-store"))
        self.assertEqual((headers["x-content-type-options"], headers["content-length"]), ("nosniff", str(len(body))))

    def test_ready_or_why_not(self) -> None:
        """200 while clients are served, 503 with the reasons while not."""
        reasons: list[str] = []
        resource = Readiness(Status(reasons=lambda: reasons))
        code, _, body = ask(resource)
        self.assertEqual((code, json.loads(body)), (200, {"ready": True}))
        reasons.append("broker: connecting")
        code, _, body = ask(resource)
        self.assertEqual((code, json.loads(body)), (503, {"ready": False, "reasons": ["broker: connecting"]}))
        self.assertEqual(ask(resource, IPv4Address("TCP", "10.0.0.1", 1))[0], 404)

    def test_metrics(self) -> None:
        """As Prometheus reads them, and for nobody else."""
        exposition = Exposition(Status(metrics=lambda: "livepush_ready 1.0\n"))
        code, headers, body = ask(exposition)
        self.assertEqual((code, body), (200, b"livepush_ready 1.0\n"))
        self.assertTrue(headers["content-type"].startswith("text/plain; version="))
        self.assertEqual(ask(exposition, IPv4Address("TCP", "10.0.0.1", 1))[0], 404)

    def test_it_is_only_read(self) -> None:
        """Other methods are refused with the right ones."""
        code, headers, _ = ask(Health(Status()), method=b"POST")
        self.assertEqual((code, headers["allow"]), (405, "GET, HEAD"))

    def test_nothing_there(self) -> None:
        """Any other path, and what lies below, is 404 and repeats nothing of the request."""
        place = Place()
        self.assertIsInstance(place.getChild(b"<script>", cast(Request, DummyRequest([]))), Place)
        code, headers, body = ask(place, method=b"CANARY")
        self.assertEqual((code, headers["x-content-type-options"]), (404, "nosniff"))
        self.assertNotIn(b"CANARY", body)
