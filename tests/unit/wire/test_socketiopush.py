"""Tests of livepush.wire.socketiopush."""

from __future__ import annotations

import contextlib
import json
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event
from livepush.wire import engineio
from livepush.wire.closing import Close
from livepush.wire.errors import BadMessage
from livepush.wire.requests import (
    Call,
    ErrorCode,
    Granted,
    Hello,
    Subscribe,
    Unknown,
    Unsubscribe,
    Welcome,
)
from livepush.wire.socketio import RESERVED
from livepush.wire.socketiopush import POLLING, WEBSOCKET, SocketIOEncoder, hello_of, refusal, request_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def make_encoder() -> SocketIOEncoder:
    """One whose names are counted."""
    numbers = count(1)
    return SocketIOEncoder(engineio.piece, lambda: f"id{next(numbers)}")


def packets(data: bytes) -> list[str]:
    """The packets of Socket.IO in a piece of a body."""
    return [part.removeprefix("4") for part in data.decode().split("\x1e")[:-1]]


def emitted(data: bytes) -> Any:
    """The one event there."""
    [packet] = packets(data)
    return json.loads(packet.removeprefix("2"))


def make_welcome(token: str | None = None, **channels: Granted) -> Welcome:
    """As the connection makes it."""
    return Welcome("c1", 7, 25.0, (500, 20_000), "here", channels, token)


class EncoderTests(SynchronousTestCase):
    """What the server says."""

    def test_event(self) -> None:
        """The position is the last argument, so that the stock client keeps it; a live event leaves it alone."""
        event = Event("orders", "lock", {"order": 5})
        self.assertEqual(emitted(POLLING.event(event, {"order": 5}, "p-1", 5, "here")), ["lock", {"order": 5}, "here"])
        self.assertEqual(emitted(POLLING.event(event, {"order": 5}, None, 5, None)), ["lock", {"order": 5}])

    def test_any_text(self) -> None:
        """No text breaks a body of several packets, and both transports say the same."""
        event = Event("orders", "lock", {})
        for text in ("\x1e", 'café \u2028 </script> "q"', "\x00", "\U0001f600"):
            data = POLLING.event(event, {"text": text}, "p-1", 5, "here")
            self.assertEqual(emitted(data), ["lock", {"text": text}, "here"])
            self.assertEqual(engineio.reframe(data), WEBSOCKET.event(event, {"text": text}, "p-1", 5, "here"))

    def test_reserved(self) -> None:
        """No event has a name that breaks clients."""
        for name in RESERVED:
            self.assertEqual(emitted(POLLING.event(Event("a", name, {}), {}, None, 5, None)), [f"livepush:{name}", {}])

    def test_welcome(self) -> None:
        """CONNECT with a name for the channels granted, and the first position."""
        connect, event = packets(
            make_encoder().welcome(None, make_welcome(a=Granted("all", 2), b=Granted("x", 0, "slow")))
        )
        self.assertEqual(set(json.loads(connect[1:])), {"sid", "pid"})
        self.assertEqual(
            json.loads(event[1:]),
            [
                "livepush:welcome",
                {
                    "conn": "c1",
                    "user": 7,
                    "channels": {"a": {"audience": "all", "replayed": 2}, "b": {"audience": "x", "resync": "slow"}},
                },
                "here",
            ],
        )

    def test_recovered(self) -> None:
        """The client's own name comes back only for the same channels, completely replayed."""
        encoder = make_encoder()

        def pid(token: str | None, **channels: Granted) -> Any:
            connect, _ = packets(encoder.welcome(None, make_welcome(token, **channels)))
            return json.loads(connect[1:])["pid"]

        full, none = Granted("all", 3), Granted("all", 0, "trimmed")
        first = pid(None, a=full, b=full)
        self.assertEqual(pid(first, b=full, a=full), first)
        for granted in ({"a": full}, {"a": full, "b": full, "c": full}, {"a": full, "b": none}):
            self.assertNotEqual(pid(first, **granted), first)
        self.assertNotEqual(pid("forged", a=full, b=full), "forged")

    def test_changed_rights(self) -> None:
        """After `gone` and `back` no name is that of a set of channels any more."""
        encoder = make_encoder()
        for data in (encoder.gone("a", "permission"), encoder.back("a", "all", "here")):
            event, connect = packets(data)
            self.assertTrue(event.startswith('2["livepush:'))
            pid = json.loads(connect[1:])["pid"]
            self.assertIsNone(hello_of({"pid": pid, "offset": "here"}).token)

    def test_presence(self) -> None:
        """Who is there is told without a position, so that the client's offset stays what it is."""
        said = POLLING.presence("orders", {"rev": 5, "now": [7, "ann"]})
        expected = ["livepush:presence", {"channel": "orders", "rev": 5, "now": [7, "ann"]}]
        self.assertEqual(emitted(said), expected)
        self.assertEqual(engineio.reframe(said), WEBSOCKET.presence("orders", {"rev": 5, "now": [7, "ann"]}))

    def test_nothing(self) -> None:
        """Who may hear nothing is refused."""
        [packet] = packets(make_encoder().welcome(None, make_welcome()))
        self.assertEqual(f"4{packet}", refusal(Close.FORBIDDEN, "nothing here is open to you"))

    def test_answers(self) -> None:
        """Requests are answered by acknowledgements, where they asked for one."""
        for data, answer in (
            (
                POLLING.granted(3, "a", Granted("all", 1), "here"),
                {"ok": True, "channel": "a", "audience": "all", "replayed": 1, "at": "here"},
            ),
            (POLLING.ok(3, "a"), {"ok": True, "channel": "a"}),
            (POLLING.result(3, {"x": 1}), {"ok": True, "data": {"x": 1}}),
            (
                POLLING.error(3, ErrorCode.BUSY, "later", True),
                {"ok": False, "code": "busy", "retry": True, "message": "later"},
            ),
        ):
            self.assertEqual(packets(data), [f"33{json.dumps([answer], separators=(',', ':'))}"])
        for data in (POLLING.granted(None, "a", Granted("all"), "x"), POLLING.ok(None, "a"), POLLING.result(None, {})):
            self.assertEqual(data, b"")
        self.assertEqual(emitted(POLLING.error(None, ErrorCode.BUSY, "later"))[0], "livepush:error")

    def test_unsolicited(self) -> None:
        """What moves the offset has a position at its end."""
        self.assertEqual(emitted(POLLING.heartbeat("here")), ["livepush:heartbeat", "here"])
        self.assertEqual(emitted(POLLING.goaway(83)), ["livepush:goaway", {"after": 83}])
        self.assertEqual(
            emitted(POLLING.resync("a", "hole", "here")), ["livepush:resync", {"channel": "a", "why": "hole"}, "here"]
        )


class RequestTests(SynchronousTestCase):
    """What clients ask for."""

    def test_hello(self) -> None:
        """The page's own words, and the stock client's."""
        self.assertEqual(hello_of(None), Hello(None, None, None))
        self.assertEqual(hello_of({"token": "x"}), Hello(None, None, None))
        self.assertEqual(hello_of({"tab": "t1", "channels": ["a", "b"]}), Hello(None, "t1", {"a": None, "b": None}))
        self.assertEqual(hello_of({"ticket": "t"}), Hello(None, None, None, ticket="t"))
        for ticket in ("", 7, ["t"], "t" * 1_001):
            self.assertRaises(BadMessage, hello_of, {"ticket": ticket})
        pid = "id1." + "0" * 16
        self.assertEqual(hello_of({"pid": pid, "offset": "here"}), Hello(None, None, None, "here", pid))
        for auth in ({"pid": pid}, {"offset": "here"}, {"pid": pid, "offset": 5}, {"pid": pid, "offset": "x" * 300}):
            self.assertEqual(hello_of(auth), Hello(None, None, None))

    def test_requests(self) -> None:
        """Each has its name and one object."""
        for name, arguments, request in (
            ("livepush:subscribe", [{"channel": "a"}], Subscribe(1, "a", None)),
            ("livepush:subscribe", [{"channel": "a", "since": "here"}], Subscribe(1, "a", "here")),
            ("livepush:unsubscribe", [{"channel": "a"}], Unsubscribe(1, "a")),
            ("livepush:call", [{"channel": "a", "type": "b", "data": {"c": 1}}], Call(1, "a", "b", {"c": 1})),
            ("livepush:dance", [], Unknown(1)),
            ("message", ["hello"], Unknown(1)),
        ):
            self.assertEqual(request_of(name, arguments, 1), request)

    def test_violations(self) -> None:
        """A request without its form is none."""
        for name, arguments in (
            ("livepush:subscribe", []),
            ("livepush:subscribe", ["a"]),
            ("livepush:subscribe", [{}]),
            ("livepush:subscribe", [{"channel": 5}]),
            ("livepush:subscribe", [{"channel": "a", "since": 5}]),
            ("livepush:unsubscribe", [None]),
            ("livepush:call", [{"channel": "a", "type": "b"}]),
            ("livepush:call", [{"channel": "a", "type": "b", "data": [1]}]),
            ("livepush:call", [{"channel": "a", "type": "b", "data": {"c": [b"\x00"]}}]),
        ):
            self.assertRaises(BadMessage, request_of, name, arguments, 1)

    @given(st.dictionaries(st.sampled_from(["tab", "channels", "pid", "offset"]), JSON), JSON)
    def test_hostile(self, auth: dict[str, Any], said: Any) -> None:
        """Nothing raises anything but BadMessage."""
        with contextlib.suppress(BadMessage):
            hello_of(auth)
        for name in ("livepush:subscribe", "livepush:unsubscribe", "livepush:call"):
            with contextlib.suppress(BadMessage):
                request_of(name, [said], None)

    def test_refusal(self) -> None:
        """The packet is one that a client takes for CONNECT_ERROR."""
        packet = refusal(Close.IDENTITY, "not logged in")
        self.assertEqual(packet[:2], "44")
        self.assertEqual(json.loads(packet[2:]), {"message": "not logged in", "data": {"code": 4401}})
