"""Tests of livepush.wire.native."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event
from livepush.wire.errors import BadMessage
from livepush.wire.native import NativeEncoder, parse
from livepush.wire.requests import Call, ErrorCode, Granted, Hello, Subscribe, Unknown, Unsubscribe, Welcome

ENCODER = NativeEncoder()


def request(**fields: Any) -> bytes:
    """A client's message."""
    return json.dumps(fields).encode()


def message(frame: bytes) -> Any:
    """What a frame of the server says."""
    size = frame[1]
    return json.loads(frame[2:] if size < 126 else frame[4:] if size == 126 else frame[10:])


class ParseTests(SynchronousTestCase):
    """What clients say."""

    def test_hello(self) -> None:
        """A greeting names the tab and the channels wanted, each with a position or none."""
        raw = request(op="hello", n=0, tab="k3f9", channels={"orders": None, "chat": "x.1"}, more=[1])
        self.assertEqual(parse(raw, 32), Hello(0, "k3f9", {"orders": None, "chat": "x.1"}))
        self.assertEqual(parse(request(op="hello"), 32), Hello(None, None, None))

    def test_subscriptions(self) -> None:
        """A channel's name is not judged here: a bad one is answered, and the connection stays."""
        self.assertEqual(parse(request(op="subscribe", n=1, channel="#"), 32), Subscribe(1, "#", None))
        self.assertEqual(parse(request(op="subscribe", channel="a", since="p"), 32), Subscribe(None, "a", "p"))
        self.assertEqual(parse(request(op="unsubscribe", n=2, channel=""), 32), Unsubscribe(2, ""))

    def test_call(self) -> None:
        """A call has a channel, a type and an object; none of the names is judged here."""
        raw = request(op="call", n=2, channel="orders", type="lock", data={"order": 5})
        self.assertEqual(parse(raw, 32), Call(2, "orders", "lock", {"order": 5}))

    def test_unknown_op(self) -> None:
        """An op of a later version is no violation."""
        self.assertEqual(parse(request(op="dance", n=5), 32), Unknown(5))

    def test_violations(self) -> None:
        """Wrong types are told in words that repeat nothing of the message."""
        secret = "s3cret" * 50
        for raw in (
            b"",
            b"[]",
            b'"hello"',
            request(),
            request(op=1),
            request(op=None),
            request(op="hello", n="0"),
            request(op="hello", n=True),
            request(op="hello", n=-1),
            request(op="hello", n=2**53),
            request(op="hello", n=1.5),
            request(op="hello", tab=7),
            request(op="hello", tab=""),
            request(op="hello", tab=secret),
            request(op="hello", tab="a b"),
            request(op="hello", channels=["orders"]),
            request(op="hello", channels={"orders": 1}),
            request(op="hello", channels={"orders": secret}),
            request(op="hello", ticket=7),
            request(op="hello", ticket=""),
            request(op="hello", ticket=secret * 300),
            request(op="subscribe"),
            request(op="subscribe", channel=None),
            request(op="subscribe", channel={"a": secret}),
            request(op="subscribe", channel="a", since=3),
            request(op="unsubscribe", channel=[secret]),
            request(op="call", channel="a", type="b"),
            request(op="call", channel="a", type=1, data={}),
            request(op="call", channel=secret, type="b", data=[secret]),
            request(op="call", type="b", data={}),
            b'{"op": "hello", "n": NaN}',
        ):
            with self.assertRaises(BadMessage, msg=raw) as caught:
                parse(raw, 32)
            self.assertNotIn("s3cret", caught.exception.why)

    def test_long_position(self) -> None:
        """A position may have 200 characters; with one more the reason says so, as the reference has it."""
        parse(request(op="subscribe", channel="a", since="p" * 200), 32)
        error = self.assertRaises(BadMessage, parse, request(op="subscribe", channel="a", since="p" * 201), 32)
        page = Path(__file__).parents[3] / "docs/reference/protocol.md"
        self.assertIn(f"the close reason is `{error.why}`", page.read_text())

    @given(st.binary(max_size=100) | st.text(max_size=50).map(lambda text: json.dumps({"op": text}).encode()))
    def test_anything(self, raw: bytes) -> None:
        """Whatever is sent is a message or a violation, nothing else."""
        try:
            parse(raw, 32)
        except BadMessage as error:
            self.assertTrue(error.why)


class EncodeTests(SynchronousTestCase):
    """What the server says."""

    def test_event(self) -> None:
        """An event carries the view, its id and when it was published; a live one has neither id nor position."""
        event = Event("orders", "lock", {"order": 5})
        self.assertEqual(
            message(ENCODER.event(event, {"order": 5, "é": "\u2028</script>"}, "a1-17", 12, "p.1")),
            {
                "op": "event",
                "channel": "orders",
                "type": "lock",
                "data": {"order": 5, "é": "\u2028</script>"},
                "id": "a1-17",
                "at": "p.1",
                "ts": 12,
            },
        )
        live = message(ENCODER.event(event, {}, None, 12, None))
        self.assertEqual((live.get("id"), live.get("at")), (None, None))

    def test_key_and_version(self) -> None:
        """What the event is about, and which of two is the newer, reach the page where they were given."""
        event = Event("orders", "lock", {}, key="order-5", version=3)
        seen = message(ENCODER.event(event, {}, "a1-17", 12, "p"))
        self.assertEqual((seen["key"], seen["version"]), ("order-5", 3))
        self.assertNotIn("key", message(ENCODER.event(Event("orders", "lock", {}), {}, "a1-17", 12, "p")))

    def test_welcome(self) -> None:
        """A welcome names the user and what is granted, and why a channel must be reloaded."""
        channels = {"orders": Granted("moderator", 3), "chat": Granted("all", 0, "trimmed")}
        self.assertEqual(
            message(ENCODER.welcome(0, Welcome("c9", 7, 25, (500, 20_000), "p.5", channels, "token"))),
            {
                "op": "welcome",
                "n": 0,
                "conn": "c9",
                "user": 7,
                "heartbeat": 25,
                "retry": [500, 20_000],
                "at": "p.5",
                "channels": {
                    "orders": {"audience": "moderator", "replayed": 3},
                    "chat": {"audience": "all", "resync": "trimmed"},
                },
            },
        )

    def test_answers(self) -> None:
        """Answers echo the request's number where it had one."""
        self.assertEqual(
            message(ENCODER.granted(1, "orders", Granted("client"), "p.5")),
            {"op": "ok", "n": 1, "channel": "orders", "audience": "client", "replayed": 0, "at": "p.5"},
        )
        self.assertEqual(message(ENCODER.result(2, {"free": False})), {"op": "ok", "n": 2, "data": {"free": False}})
        self.assertEqual(message(ENCODER.ok(None, "orders")), {"op": "ok", "channel": "orders"})
        self.assertEqual(
            message(ENCODER.error(3, ErrorCode.FORBIDDEN, "no")),
            {"op": "error", "n": 3, "code": "forbidden", "retry": False, "message": "no"},
        )

    def test_unsolicited(self) -> None:
        """What moves a position says where to; what takes a channel away does not."""
        for frame, expected in (
            (
                ENCODER.resync("orders", "hole", "p"),
                {"op": "resync", "channel": "orders", "why": "hole", "at": "p"},
            ),
            (ENCODER.heartbeat("p"), {"op": "heartbeat", "at": "p"}),
            (ENCODER.goaway(83), {"op": "goaway", "after": 83}),
            (
                ENCODER.presence("orders", {"rev": 5, "join": [7], "leave": ["é"]}),
                {"op": "presence", "channel": "orders", "rev": 5, "join": [7], "leave": ["é"]},
            ),
            (ENCODER.gone("orders", "permission"), {"op": "gone", "channel": "orders", "why": "permission"}),
            (ENCODER.back("a", "client", "p"), {"op": "back", "channel": "a", "audience": "client", "at": "p"}),
        ):
            self.assertEqual(message(frame), expected)
