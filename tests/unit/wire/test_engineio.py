"""Tests of livepush.wire.engineio."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.wire.engineio import (
    PACKETS_A_BODY,
    Left,
    Message,
    Phase,
    Ponged,
    Probed,
    Refused,
    Session,
    Upgraded,
    decode_body,
    encode_body,
    frame,
    open_packet,
    piece,
    reframe,
)
from livepush.wire.errors import BadMessage

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e")).map(lambda text: "4" + text)


class BodyTests(SynchronousTestCase):
    """Packets in HTTP."""

    @given(st.lists(st.one_of(TEXTS, st.binary()), min_size=1, max_size=20))
    def test_round_trip(self, packets: list[str | bytes]) -> None:
        """What one side joins the other takes apart, whatever the text and the bytes are."""
        self.assertEqual(decode_body(encode_body(packets)), packets)

    @given(st.lists(st.one_of(TEXTS, st.binary()), max_size=10))
    def test_reframe(self, packets: list[str | bytes]) -> None:
        """What waits for a poll is on a WebSocket what it would have been there from the start."""
        pieces = b"".join(piece(packet) for packet in packets)
        self.assertEqual(reframe(pieces), b"".join(frame(packet) for packet in packets))
        if packets:
            self.assertEqual(pieces[:-1], encode_body(packets))

    @given(st.binary(max_size=200))
    def test_hostile(self, body: bytes) -> None:
        """No body raises anything but BadMessage, and what is taken can be given back."""
        try:
            packets = decode_body(body)
        except BadMessage:
            return
        self.assertEqual(decode_body(encode_body(packets)), packets)

    def test_violations(self) -> None:
        """What is no packet, and too many of them."""
        for body in (b"", b"\x1e", b"4a\x1e", b"\x1e4a", b"\xff", b"b*", b"bAB", b"bQ", b"b\xc3\xa9"):
            with self.assertRaises(BadMessage, msg=body):
                decode_body(body)
        most = b"\x1e".join([b"3"] * PACKETS_A_BODY)
        self.assertEqual(len(decode_body(most)), PACKETS_A_BODY)
        with self.assertRaises(BadMessage):
            decode_body(most + b"\x1e3")

    def test_open(self) -> None:
        """A session introduces itself with exactly five facts."""
        packet = open_packet("abc", Phase.POLLING, 25.0, 0.2, 65_536)
        self.assertEqual(
            (packet[0], json.loads(packet[1:])),
            (
                "0",
                {
                    "sid": "abc",
                    "upgrades": ["websocket"],
                    "pingInterval": 25_000,
                    "pingTimeout": 200,
                    "maxPayload": 65_536,
                },
            ),
        )
        self.assertEqual(json.loads(open_packet("abc", Phase.WEBSOCKET, 1, 1, 1)[1:])["upgrades"], [])


class SessionTests(SynchronousTestCase):
    """One session through its phases."""

    def test_polling(self) -> None:
        """A poll waits until it is answered; then the next may come."""
        session = Session(Phase.POLLING)
        self.assertFalse(session.poll())
        self.assertTrue(session.waits)
        session.answered()
        self.assertFalse(session.poll())

    def test_second_poll(self) -> None:
        """Two polls at once are a violation: nobody could tell the order of their answers."""
        session = Session(Phase.POLLING)
        session.poll()
        self.assertRaises(BadMessage, session.poll)

    def test_posted(self) -> None:
        """What clients may say."""
        session = Session(Phase.POLLING)
        self.assertEqual(
            list(session.posted(b"4caf\xc3\xa9\x1e3\x1ebAQI=\x1e4")),
            [Message("café"), Ponged(), Message(b"\x01\x02"), Message("")],
        )
        self.assertEqual(list(session.posted(b"1")), [Left()])

    def test_nothing_after_the_end(self) -> None:
        """Packets behind the one that ends the session are not looked at."""
        session = Session(Phase.POLLING)
        seen = []
        for event in session.posted(b"4a\x1e1\x1e4b"):
            seen.append(event)
            if isinstance(event, Left):
                session.close()
        self.assertEqual(seen, [Message("a"), Left()])

    def test_bad_packets(self) -> None:
        """Packets that only servers send, unknown ones, and probes outside of a WebSocket."""
        for body in (b"0", b"2", b"2probe", b"3probe", b"5", b"6", b"7", b"abc", b"33", b"1x"):
            with self.assertRaises(BadMessage, msg=body):
                list(Session(Phase.POLLING).posted(body))

    def test_upgrade(self) -> None:
        """Probe and upgrade; meanwhile polls are let go, and afterwards refused."""
        session = Session(Phase.POLLING)
        session.poll()
        session.attach()
        self.assertEqual(session.framed("2probe"), Probed())
        session.answered()
        self.assertTrue(session.poll())
        self.assertFalse(session.waits)
        self.assertRaises(Refused, session.attach)
        self.assertEqual(list(session.posted(b"4a")), [Message("a")])
        self.assertEqual(session.framed("5"), Upgraded())
        self.assertRaises(Refused, session.poll)
        self.assertRaises(Refused, session.posted, b"4a")
        self.assertRaises(Refused, session.attach)
        self.assertEqual(session.framed("4b"), Message("b"))
        self.assertEqual(session.framed(b"\x00"), Message(b"\x00"))
        self.assertTrue(session.detached())

    def test_upgrade_given_up(self) -> None:
        """A WebSocket that closes in the middle of an upgrade takes nothing with it."""
        session = Session(Phase.POLLING)
        session.attach()
        session.framed("2probe")
        self.assertFalse(session.detached())
        self.assertFalse(session.poll())
        session.attach()

    def test_bad_upgrade(self) -> None:
        """An upgrade is nothing but a probe and the word."""
        for first in ("5", "2", "4a", "3probe", "", b"2probe"):
            with self.assertRaises(BadMessage, msg=first):
                Session(Phase.POLLING).framed(first)
        for second in ("2probe", "4a", "", b"5"):
            session = Session(Phase.POLLING)
            session.framed("2probe")
            with self.assertRaises(BadMessage, msg=second):
                session.framed(second)

    @given(st.lists(st.sampled_from(["poll", "post", "attach", "2probe", "5", "detach", "answered", "4x"])))
    def test_any_order(self, steps: list[str]) -> None:
        """Whatever a client does in whatever order: an answer or a refusal, and a WebSocket is never taken back."""
        session = Session(Phase.POLLING)
        upgraded = False
        for step in steps:
            try:
                match step:
                    case "poll":
                        session.poll()
                    case "post":
                        list(session.posted(b"4x"))
                    case "attach":
                        session.attach()
                    case "detach":
                        if session.detached():
                            session.close()
                    case "answered":
                        session.answered()
                    case _:
                        upgraded = isinstance(session.framed(step), Upgraded) or upgraded
            except (BadMessage, Refused):
                pass
            if upgraded:
                self.assertIn(session.phase, (Phase.WEBSOCKET, Phase.CLOSED))
                self.assertRaises(Refused, session.poll)
