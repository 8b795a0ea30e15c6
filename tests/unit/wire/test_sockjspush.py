"""Tests of livepush.wire.sockjspush."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event
from livepush.wire import sockjs
from livepush.wire.frame import text_frame
from livepush.wire.requests import ErrorCode, Granted, Welcome
from livepush.wire.sockjspush import (
    CLASSIC_HTTP,
    CLASSIC_RAW,
    CLASSIC_WEBSOCKET,
    NATIVE_HTTP,
    NATIVE_RAW,
    NATIVE_WEBSOCKET,
    ClassicCodec,
)

DATA = {"order": 5, "text": 'café \u2028 </script> "q"'}
EVENT = Event("orders", "lock", DATA)


class NativeTests(SynchronousTestCase):
    """The native messages, each a text."""

    def test_event(self) -> None:
        """It is the same message in all three forms."""
        raw = NATIVE_RAW.event(EVENT, DATA, "a-1", 7, "pos")
        text = raw[2:] if raw[1] < 126 else raw[4:]
        said = json.loads(text)
        self.assertEqual((said["op"], said["data"], said["at"]), ("event", DATA, "pos"))
        pieces = NATIVE_HTTP.event(EVENT, DATA, "a-1", 7, "pos")
        frame = sockjs.array(pieces)
        self.assertEqual(json.loads(frame[1:]), [text.decode()])
        self.assertEqual(NATIVE_WEBSOCKET.event(EVENT, DATA, "a-1", 7, "pos"), text_frame(frame))


class ClassicTests(SynchronousTestCase):
    """What the classic page understands."""

    def test_event(self) -> None:
        """Events are objects, of a type and its data."""
        pieces = CLASSIC_HTTP.event(EVENT, DATA, "a-1", 7, "pos") * 2
        self.assertEqual(json.loads(sockjs.array(pieces)[1:]), [{"type": "lock", "data": DATA}] * 2)
        frame = CLASSIC_WEBSOCKET.event(EVENT, DATA, "a-1", 7, None)
        self.assertEqual(frame, text_frame(sockjs.array(CLASSIC_HTTP.event(EVENT, DATA, None, 7, None))))
        raw = CLASSIC_RAW.event(EVENT, {}, "a-1", 7, "pos")
        self.assertEqual(raw, text_frame(b'{"type":"lock","data":{}}'))

    def test_reload(self) -> None:
        """What may be missing, or is shown in another way, ends the session: the only way to tell it for sure."""
        for encoder, end in (
            (CLASSIC_HTTP, sockjs.END),
            (CLASSIC_WEBSOCKET, text_frame(b'c[4003,"reload"]')),
            (CLASSIC_RAW, b"\x88\x08\x0f\xa3reload"),
        ):
            self.assertEqual(encoder.resync("orders", "hole", "pos"), end)
            self.assertEqual(encoder.back("orders", "client", "pos"), end)

    def test_silence(self) -> None:
        """Nothing but events is ever said, because a page would stumble over it."""
        welcome = Welcome("c1", 7, 25, (1, 2), "pos", {})
        for said in (
            CLASSIC_HTTP.gone("orders", "permission"),
            CLASSIC_HTTP.welcome(1, welcome),
            CLASSIC_HTTP.granted(1, "orders", Granted("all"), "pos"),
            CLASSIC_HTTP.ok(1, "orders"),
            CLASSIC_HTTP.result(1, {}),
            CLASSIC_HTTP.error(1, ErrorCode.FORBIDDEN, "no"),
            CLASSIC_HTTP.heartbeat("pos"),
            CLASSIC_HTTP.goaway(83),
            CLASSIC_HTTP.presence("orders", {"rev": 5, "now": [7]}),
        ):
            self.assertEqual(said, b"")
        self.assertIsNone(ClassicCodec().parse(b"\xff", 1))
