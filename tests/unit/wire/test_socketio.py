"""Tests of livepush.wire.socketio."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.wire.errors import BadMessage
from livepush.wire.socketio import MAX_ATTACHMENTS, MAX_ID, RESERVED, Decoder, Kind, Packet, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LEAF = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), TEXT, st.binary(max_size=8), st.none())
VALUE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(TEXT.filter(lambda name: name != "_placeholder"), inner, max_size=3),
    ),
    max_leaves=MAX_ATTACHMENTS,
)
NAMESPACE = st.sampled_from(["/", "/custom", "/a/b"])


def decoder() -> Decoder:
    """As the defaults have it."""
    return Decoder(32, 65_536)


def decoded(*messages: str | bytes) -> Packet | None:
    """What the last of these messages completes."""
    taking, packet = decoder(), None
    for message in messages:
        packet = taking.message(message)
    return packet


class DecoderTests(SynchronousTestCase):
    """What clients say."""

    def test_examples(self) -> None:
        """The examples of the protocol's document."""
        for text, packet in (
            ("0", Packet(Kind.CONNECT)),
            ('0{"token":"123"}', Packet(Kind.CONNECT, "/", {"token": "123"})),
            ("0/admin,", Packet(Kind.CONNECT, "/admin")),
            ("0/admin", Packet(Kind.CONNECT, "/admin")),
            ('0/admin?a=b,{"c":1}', Packet(Kind.CONNECT, "/admin", {"c": 1})),
            ("1", Packet(Kind.DISCONNECT)),
            ("1/admin,", Packet(Kind.DISCONNECT, "/admin")),
            ('2["foo"]', Packet(Kind.EVENT, "/", ["foo"])),
            ('2/admin,["bar"]', Packet(Kind.EVENT, "/admin", ["bar"])),
            ('212["foo"]', Packet(Kind.EVENT, "/", ["foo"], 12)),
            ('3/admin,13["bar"]', Packet(Kind.ACK, "/admin", ["bar"], 13)),
            ("312[]", Packet(Kind.ACK, "/", [], 12)),
            (f'2{MAX_ID}["foo"]', Packet(Kind.EVENT, "/", ["foo"], MAX_ID)),
            ('50-["foo"]', Packet(Kind.EVENT, "/", ["foo"])),
        ):
            self.assertEqual(decoded(text), packet, text)

    def test_binary(self) -> None:
        """Attachments follow, in order, and stand where the placeholders stood."""
        text = '52-/admin,7["baz",{"_placeholder":true,"num":1},{"in":{"_placeholder":true,"num":0}}]'
        self.assertEqual(
            decoded(text, b"\x00", b"\x01\x02"), Packet(Kind.EVENT, "/admin", ["baz", b"\x01\x02", {"in": b"\x00"}], 7)
        )
        self.assertEqual(
            decoded('61-15["bar",{"_placeholder":true,"num":0}]', b"\x01"),
            Packet(Kind.ACK, "/", ["bar", b"\x01"], 15),
        )

    def test_violations(self) -> None:
        """What is no packet of a client."""
        deep = "[" * 40 + "]" * 40
        for text in (
            "",
            " ",
            "7",
            "9[]",
            "abc",
            "2",
            "2{}",
            "2[]",
            '2"foo"',
            "2[1]",
            "2[null]",
            "2null",
            "2[NaN]",
            "2[1e999]",
            '2["a","\\ud800"]',
            '2["a"',
            '2["a"]x',
            '2-1["a"]',
            '2/admin["a"]',
            f'2["a",{deep}]',
            '2["a",' + "[" * 100_000,
            f'2{MAX_ID + 1}["a"]',
            f'2{"1" * 17}["a"]',
            "0[]",
            '0"token"',
            "0null",
            "01{}",
            "1{}",
            "11",
            "3[]",
            "3",
            '31{"a":1}',
            '4{"message":"x"}',
            "4",
            '5["a"]',
            '5-["a"]',
            f'5{MAX_ATTACHMENTS + 1}-["a"]',
            '51111111111-["a"]',
            '5\u0661-["a"]',
            '21-["a"]',
            "0/" + "a" * 200,
            *(f'2["{name}"]' for name in RESERVED),
        ):
            with self.assertRaises(BadMessage, msg=text[:80]):
                decoded(text)

    def test_bad_attachments(self) -> None:
        """Attachments of nothing, too few, too many, without a place, in one twice."""
        place = '{"_placeholder":true,"num":0}'
        for messages in (
            (b"\x00",),
            ('2["a"]', b"\x00"),
            (f'51-["a",{place}]', '2["b"]'),
            (f'51-["a",{place}]', b"\x00", b"\x01"),
            ('51-["a"]', b"\x00"),
            (f'52-["a",{place}]', b"\x00", b"\x01"),
            (f'51-["a",{place},{place}]', b"\x00"),
            ('51-["a",{"_placeholder":true,"num":1}]', b"\x00"),
            ('51-["a",{"_placeholder":true,"num":-1}]', b"\x00"),
            ('51-["a",{"_placeholder":true,"num":true}]', b"\x00"),
            ('51-["a",{"_placeholder":true,"num":0.0}]', b"\x00"),
            ('51-["a",{"_placeholder":true}]', b"\x00"),
            (f"51-[{place}]", b"\x00"),
            (f"51-{place}", b"\x00"),
            (f'51-["a",{place}]', b"\x00" * 65_537),
        ):
            with self.assertRaises(BadMessage, msg=messages):
                decoded(*messages)

    @given(st.lists(st.one_of(st.text('0123456789-/,[]{}"ab:?_ \\u', max_size=30), st.binary(max_size=5)), max_size=5))
    def test_hostile(self, messages: list[str | bytes]) -> None:
        """No message raises anything but BadMessage."""
        taking = decoder()
        for message in messages:
            try:
                taking.message(message)
            except BadMessage:
                return

    @given(NAMESPACE, TEXT.filter(lambda name: name not in RESERVED), VALUE, st.none() | st.integers(0, MAX_ID))
    def test_round_trip(self, namespace: str, name: str, value: Any, number: int | None) -> None:
        """What is encoded is decoded as it was, bytes anywhere in it."""
        packet = Packet(Kind.EVENT, namespace, [name, value], number)
        self.assertEqual(decoded(*encode(packet)), packet)

    def test_attachments_are_awaited(self) -> None:
        """A packet is there when the last of its attachments is."""
        taking = decoder()
        self.assertIsNone(taking.message('51-["a",{"_placeholder":true,"num":0}]'))
        self.assertIsNotNone(taking.message(b"\x00"))


class EncodeTests(SynchronousTestCase):
    """What servers say."""

    def test_examples(self) -> None:
        """As clients expect it."""
        for packet, messages in (
            (Packet(Kind.CONNECT, "/", {"sid": "a"}), ['0{"sid":"a"}']),
            (Packet(Kind.CONNECT_ERROR, "/random", {"message": "no"}), ['4/random,{"message":"no"}']),
            (Packet(Kind.DISCONNECT), ["1"]),
            (Packet(Kind.DISCONNECT, "/a"), ["1/a,"]),
            (Packet(Kind.ACK, "/", ["é\u2028\x1e"], 0), ['30["é\u2028\\u001e"]']),
            (
                Packet(Kind.EVENT, "/a", ["b", {"c": b"\x01"}], 3),
                ['51-/a,3["b",{"c":{"_placeholder":true,"num":0}}]', b"\x01"],
            ),
            (Packet(Kind.ACK, "/", [b"\x01"], 3), ['61-3[{"_placeholder":true,"num":0}]', b"\x01"]),
        ):
            self.assertEqual(encode(packet), messages)
