"""Tests of livepush.wire.sockjshttp."""

from __future__ import annotations

import contextlib
import json
import re
from urllib.parse import quote_plus, urlencode

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.wire import sockjshttp
from livepush.wire.errors import BadMessage
from livepush.wire.sockjshttp import EVENTSOURCE, HTMLFILE, JSONP, RECEIVERS, XHR, XHR_STREAMING, BadCallback

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


class ReceiverTests(SynchronousTestCase):
    """How frames are written."""

    def test_plain(self) -> None:
        """XHR carries a frame a line, an EventSource a frame an event."""
        self.assertEqual(sockjshttp.wrap(XHR, b"o"), b"o\n")
        self.assertEqual(sockjshttp.wrap(XHR_STREAMING, b"o"), b"o\n")
        self.assertEqual(sockjshttp.wrap(EVENTSOURCE, b"o"), b"data: o\r\n\r\n")

    @given(TEXTS)
    @example("<!--<script>")
    def test_scripts(self, text: str) -> None:
        """Whatever a frame holds, a script has it as a text, and it ends no script."""
        frame = ("a" + json.dumps([text])).encode()
        for kind in (JSONP, HTMLFILE):
            body = sockjshttp.wrap(kind, frame, "_jp.abc").decode()
            found = re.search(r"\((\".*\")\);", body)
            assert found is not None
            self.assertEqual(json.loads(found[1]), frame.decode())
            self.assertNotIn("<", body.removeprefix("<script>").removesuffix("</script>\r\n"))
        self.assertTrue(sockjshttp.wrap(JSONP, frame, "_jp.abc").startswith(b"/**/_jp.abc("))

    def test_preludes(self) -> None:
        """What browsers hold back of a body's beginning is filled."""
        self.assertEqual(sockjshttp.prelude(XHR_STREAMING), b"h" * 2048 + b"\n")
        self.assertEqual(sockjshttp.prelude(EVENTSOURCE), b"\r\n")
        page = sockjshttp.prelude(HTMLFILE, "_jp.abc")
        self.assertGreaterEqual(len(page), 1024)
        self.assertIn(b"var c = parent._jp.abc;", page)
        self.assertEqual((sockjshttp.prelude(XHR), sockjshttp.prelude(JSONP)), (b"", b""))

    def test_legacy(self) -> None:
        """What gets around CORS is marked."""
        self.assertEqual([kind.name for kind in RECEIVERS.values() if kind.legacy], ["htmlfile", "jsonp"])


class ReadTests(SynchronousTestCase):
    """What requests may say."""

    def test_callback(self) -> None:
        """The name of a function, and nothing that would be a program."""
        for good in ("x", "_jp.a1b2c3", "callback", "$", "a" * 64):
            self.assertEqual(sockjshttp.read_callback(good), good)
        for missing in (None, ""):
            with self.assertRaises(BadCallback) as caught:
                sockjshttp.read_callback(missing)
            self.assertEqual(caught.exception.why, '"callback" parameter required')
        for bad in (
            "a(",
            "a;b",
            "a b",
            "1a",
            ".a",
            "a.",
            "a..b",
            "a[0]",
            "</script>",
            "é",
            "a\n",
            "a" * 65,
            "*",
            "a-b",
        ):
            with self.assertRaises(BadCallback, msg=bad) as caught:
                sockjshttp.read_callback(bad)
            self.assertEqual(caught.exception.why, 'invalid "callback" parameter')

    @given(TEXTS.filter(bool))
    def test_form(self, text: str) -> None:
        """A form's field arrives as it was sent, non-ASCII too."""
        self.assertEqual(sockjshttp.read_form(urlencode({"a": "1", "d": text}).encode()), text.encode())
        self.assertEqual(sockjshttp.read_form(b"d=" + quote_plus(text).encode()), text.encode())

    @given(st.binary(max_size=100))
    def test_hostile_form(self, body: bytes) -> None:
        """No body raises anything but BadMessage."""
        with contextlib.suppress(BadMessage):
            self.assertIsInstance(sockjshttp.read_form(body), bytes)

    def test_bad_forms(self) -> None:
        """What is no form, or has no such field."""
        self.assertEqual(sockjshttp.read_form(b""), b"")
        self.assertEqual(sockjshttp.read_form(b"d="), b"")
        for body in (b"d=%ff", b"\xff", b"&".join([b"a=1"] * 50)):
            with self.assertRaises(BadMessage, msg=body):
                sockjshttp.read_form(body)

    def test_parts(self) -> None:
        """Servers and sessions have names without dots, and not without end."""
        self.assertTrue(all(map(sockjshttp.is_part, ("000", "a b", "é", "x" * 128))))
        self.assertFalse(any(map(sockjshttp.is_part, ("", ".", "a.b", "x" * 129))))

    def test_iframe(self) -> None:
        """The page loads the client that the site names, and that name is no program."""
        self.assertTrue(all(map(sockjshttp.is_iframe, ("iframe.html", "iframe-a.html", "iframe0.1.2-dev.html"))))
        self.assertFalse(any(map(sockjshttp.is_iframe, ("iframe", "iframe-A.html", "IFRAME.html", "iframe.xml"))))
        page, tag = sockjshttp.iframe('/x.js"></script><script>alert(1)')
        self.assertEqual(page.count(b"<script"), 2)
        self.assertRegex(tag, r'^"[0-9a-f]{32}"$')
        self.assertNotEqual(tag, sockjshttp.iframe("/y.js")[1])

    def test_info(self) -> None:
        """What is served is told."""
        self.assertEqual(
            json.loads(sockjshttp.info(False, True, 7)),
            {"websocket": False, "origins": ["*:*"], "cookie_needed": True, "entropy": 7},
        )
