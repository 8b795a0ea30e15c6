"""Tests of livepush.wire.sse."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event
from livepush.wire.errors import BadMessage
from livepush.wire.native import NativeEncoder
from livepush.wire.requests import ErrorCode, Granted, Hello, Welcome
from livepush.wire.sse import SSEEncoder, close_block, hello_of, retry_block
from tests.clients.eventsource import EventSource

ENCODER = SSEEncoder()
PLAIN = NativeEncoder(lambda message: message)
EVENT = Event("orders", "lock", {}, key="order-5", version=3)
TEXT = 'café \u2028 </script> "q"\r\n\r\nid: evil\n\ndata: {}\n\n\0'
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class EncoderTests(SynchronousTestCase):
    """What the server says, as a browser reads it."""

    def test_event(self) -> None:
        """An event is the native message, and its id the position and the event's own."""
        source = EventSource()
        (message,) = source.feed(ENCODER.event(EVENT, {"text": TEXT}, "a1-17", 12, "me.5.17.abcdefgh"))
        self.assertEqual((message.type, message.id), ("message", "me.5.17.abcdefgh a1-17"))
        self.assertEqual(message.said, json.loads(PLAIN.event(EVENT, {"text": TEXT}, "a1-17", 12, "me.5.17.abcdefgh")))
        self.assertEqual(message.said["data"], {"text": TEXT})

    def test_what_moves_the_position(self) -> None:
        """A live event, a resync, and what tells of rights do not; a heartbeat does, and nothing is dispatched."""
        source = EventSource()
        source.feed(ENCODER.event(EVENT, {}, "a1-17", 12, "p.1"))
        for block in (
            ENCODER.event(EVENT, {}, None, 12, None),
            ENCODER.resync("orders", "hole", "p.9"),
            ENCODER.gone("orders", "permission"),
            ENCODER.back("orders", "client", "p.9"),
            ENCODER.presence("orders", {"rev": 5, "now": [7]}),
            ENCODER.error(None, ErrorCode.TOO_MANY_SUBSCRIPTIONS, "no"),
            close_block(4000, "going away"),
        ):
            (message,) = source.feed(block)
            self.assertEqual(message.id, "p.1 a1-17", message.data)
        self.assertEqual(source.feed(ENCODER.heartbeat("p.2")), [])
        self.assertEqual(source.id, "p.2")
        welcome = Welcome("c9", 7, 25, (500, 20_000), "p.3", {"orders": Granted("client", 0, "slow")})
        (message,) = source.feed(ENCODER.welcome(None, welcome))
        self.assertEqual((message.id, message.said), ("p.3", json.loads(PLAIN.welcome(None, welcome))))

    def test_the_frame_of_a_stream(self) -> None:
        """The browser is told when to come back, and why the stream ends."""
        source = EventSource()
        self.assertEqual(source.feed(retry_block(700)), [])
        self.assertEqual(source.retry, 700)
        (message,) = source.feed(close_block(4401, "the login\nhas ended"))
        self.assertEqual(message.said, {"op": "close", "code": 4401, "reason": "the login\nhas ended"})

    @given(st.lists(st.dictionaries(st.text(), JSON), max_size=4), st.integers(1, 40))
    def test_any_data(self, views: list[Any], size: int) -> None:
        """Whatever the data holds, and however the network cuts the stream, each message arrives as it was."""
        data = b"".join(
            ENCODER.event(EVENT, view, f"a-{number}", 0, f"p.{number}") for number, view in enumerate(views)
        )
        source = EventSource()
        heard = [each for start in range(0, len(data), size) for each in source.feed(data[start : start + size])]
        self.assertEqual([each.said["data"] for each in heard], views)
        self.assertEqual([each.id for each in heard], [f"p.{number} a-{number}" for number in range(len(views))])


class HelloTests(SynchronousTestCase):
    """What a request asks for."""

    def test_fields(self) -> None:
        """Channels and tab are the page's; without channels they are the declared ones."""
        query = {b"channels": [b"orders,chat"], b"tab": [b"k3f9"], b"more": [b"x", b"y"]}
        self.assertEqual(hello_of(query, None), Hello(None, "k3f9", {"orders": None, "chat": None}))
        self.assertEqual(hello_of({}, None), Hello(None, None, None))
        self.assertEqual(hello_of({b"channels": [b""], b"tab": [b""], b"since": [b""]}, b""), Hello(None, None, None))

    def test_ticket(self) -> None:
        """Who has no cookie says who he is in the address, and no log shows it."""
        hello = hello_of({b"ticket": [b"canary"]}, None)
        self.assertEqual(hello.ticket, "canary")
        self.assertNotIn("canary", repr(hello))
        self.assertRaises(BadMessage, hello_of, {b"ticket": [b"canary" * 200]}, None)

    def test_positions(self) -> None:
        """The header is newer than the address; what follows the position is the client's own."""
        hello = hello_of({b"channels": [b"a,b"], b"since": [b"p.1"]}, None)
        self.assertEqual((hello.position("a"), hello.position("b")), ("p.1", "p.1"))
        hello = hello_of({b"since": [b"p.1"]}, b"p.2 a1-17")
        self.assertEqual(hello.position("whatever is declared"), "p.2")

    def test_violations(self) -> None:
        """What is there twice, or no text, or no tab, is refused in words that repeat nothing of it."""
        for query in (
            {b"channels": [b"canary", b"canary"]},
            {b"tab": [b"canary", b"canary"]},
            {b"since": [b"canary", b"canary"]},
            {b"channels": [b"canary\xff"]},
            {b"tab": [b"canary canary"]},
            {b"tab": [b"canary" * 20]},
        ):
            with self.assertRaises(BadMessage, msg=query) as caught:
                hello_of(query, None)
            self.assertNotIn("canary", caught.exception.why)

    @given(
        st.dictionaries(st.sampled_from([b"channels", b"tab", b"since", b"x"]), st.lists(st.binary(), max_size=2)),
        st.none() | st.binary(),
    )
    def test_anything(self, query: dict[bytes, list[bytes]], last_event_id: bytes | None) -> None:
        """Whatever is asked is a greeting or a violation, and a position never longer than one can be."""
        try:
            hello = hello_of(query, last_event_id)
        except BadMessage as error:
            self.assertTrue(error.why)
        else:
            self.assertLessEqual(len(hello.since or ""), 200)
