"""Tests of `livepush.broker.deliveries`: the same as pika reads, however the stream is split."""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise
from typing import Any

import pika
from hypothesis import given, settings
from hypothesis import strategies as st
from pika import frame, spec
from pika.channel import ContentFrameAssembler
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.deliveries import DeliveryReader, FrameError, read_properties
from livepush.broker.errors import Malformed

Delivery = tuple[int, bytes, bytes]
LIMIT = 1000

headers = st.dictionaries(
    st.text(max_size=10),
    st.one_of(
        st.integers(-(2**63), 2**63 - 1), st.text(max_size=5), st.booleans(), st.none(), st.lists(st.integers(0, 9))
    ),
    max_size=4,
)
texts = st.one_of(st.none(), st.text(max_size=20))
properties = st.builds(
    pika.BasicProperties,
    content_type=texts,
    content_encoding=texts,
    headers=st.one_of(st.none(), st.just({"v": 1, "ts": 2**41, "low": 3, "sending": 1}), headers),
    delivery_mode=st.one_of(st.none(), st.sampled_from([1, 2])),
    priority=st.one_of(st.none(), st.integers(0, 9)),
    correlation_id=texts,
    reply_to=texts,
    expiration=texts,
    message_id=texts,
    timestamp=st.one_of(st.none(), st.integers(0, 2**40)),
    type=texts,
    user_id=texts,
    app_id=texts,
    cluster_id=texts,
)


def make_content(method: Any, channel: int, body: bytes, props: pika.BasicProperties, piece: int = 50) -> bytes:
    """Method, header and body frames of at most `piece` bytes."""
    parts = [body[at : at + piece] for at in range(0, len(body), piece)]
    frames = [frame.Method(channel, method), frame.Header(channel, len(body), props)]
    return b"".join(one.marshal() for one in [*frames, *(frame.Body(channel, part) for part in parts)])


def make_delivery(
    tag: int, body: bytes = b"{}", channel: int = 1, props: pika.BasicProperties | None = None, piece: int = 50
) -> bytes:
    method = spec.Basic.Deliver("ctag", tag, False, "livepush", "event.orders.lock")
    return make_content(method, channel, body, props or pika.BasicProperties(type="event"), piece)


bodies = st.binary(max_size=200)
pieces = st.integers(1, 60)
parts = st.one_of(
    st.builds(make_delivery, st.integers(1, 2**63 - 1), bodies, st.sampled_from([1, 2]), properties, pieces),
    st.builds(make_content, st.just(spec.Basic.GetOk(1, False, "e", "k", 0)), st.just(1), bodies, properties, pieces),
    st.builds(make_content, st.just(spec.Basic.Return(312, "t", "e", "k")), st.just(1), bodies, properties, pieces),
    st.just(frame.Heartbeat().marshal()),
    st.just(frame.Method(1, spec.Basic.QosOk()).marshal()),
    st.just(frame.Method(3, spec.Queue.DeclareOk("queue", 1, 2)).marshal()),
)


def read(chunks: list[bytes], limit: int = 2**20) -> tuple[list[Delivery], bytes]:
    """What our reader makes of a stream: deliveries on channel 1, and all bytes that it leaves to pika."""
    found: list[Delivery] = []
    others: list[bytes] = []
    reader = DeliveryReader(others.append, limit)
    reader.listen(1, lambda tag, raw, body: found.append((tag, raw, body)))
    for chunk in chunks:
        reader.feed(chunk)
    return found, b"".join(others)


def read_as_pika(data: bytes) -> tuple[list[tuple[Any, pika.BasicProperties, bytes]], bytes]:
    """What pika makes of it: the same deliveries, and the bytes of all other frames."""
    found, others, content = [], b"", b""
    assembler = ContentFrameAssembler()
    while data:
        size, one = frame.decode_frame(data)
        assert isinstance(one, frame.Frame)
        raw, data = data[:size], data[size:]
        is_content = isinstance(one, frame.Header | frame.Body) or spec.has_content(
            getattr(one, "method", spec.Basic.QosOk).INDEX
        )
        if one.channel_number != 1 or not is_content:
            others += raw
            continue
        content += raw
        whole: Any = assembler.process(one)  # type: ignore[arg-type]
        if whole is not None:
            method, header, body = whole
            if isinstance(method.method, spec.Basic.Deliver):
                found.append((method.method.delivery_tag, header.properties, body))
            else:
                others += content
            content = b""
    return found, others


def split(data: bytes, places: list[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(cuts) if start < end]


def fields(props: pika.BasicProperties) -> tuple[Any, ...]:
    return props.type, props.app_id, props.message_id, props.headers


class DeliveryReaderTests(SynchronousTestCase):
    """Splitting the stream of a connection."""

    @settings(max_examples=150, deadline=None)
    @given(st.lists(parts, max_size=6), st.lists(st.integers(0, 10**6), max_size=12))
    def test_equal_to_pika_wherever_the_stream_is_split(self, stream: list[bytes], places: list[int]) -> None:
        """Bodies in one frame or many, other channels, other content, heartbeats: nothing more and nothing less."""
        data = b"".join(stream)
        found, others = read(split(data, places))
        expected, expected_others = read_as_pika(data)
        self.assertEqual([(tag, body) for tag, _, body in found], [(tag, body) for tag, _, body in expected])
        self.assertEqual([read_properties(raw) for _, raw, _ in found], [fields(props) for _, props, _ in expected])
        self.assertEqual(others, expected_others)

    def test_a_byte_at_a_time(self) -> None:
        """The slowest network there is."""
        data = make_delivery(1, b"x" * 120) + make_delivery(2, b"") + make_delivery(3, b"y")
        found, _ = read([data[at : at + 1] for at in range(len(data))])
        self.assertEqual([(tag, body) for tag, _, body in found], [(1, b"x" * 120), (2, b""), (3, b"y")])

    def test_a_large_frame_in_small_pieces_is_copied_once(self) -> None:
        """Pieces wait as they came; only the last one joins them."""
        reader = DeliveryReader(lambda _: None, 2**20)
        data = frame.Body(5, bytes(100_000)).marshal()
        for at in range(0, len(data) - 100, 100):
            reader.feed(data[at : at + 100])
        self.assertGreater(len(reader._parts), 900)

    def test_a_body_over_the_limit_is_cut(self) -> None:
        """20 MB do not fill the memory, and the next message arrives."""
        for size in (LIMIT - 1, LIMIT, LIMIT + 1, LIMIT * 20):
            for piece in (300, LIMIT * 30):
                data = make_delivery(1, b"x" * size, piece=piece) + make_delivery(2, b"{}")
                found, _ = read([data], LIMIT)
                self.assertEqual([len(body) for _, _, body in found], [min(size, LIMIT + 1), 2])

    def test_only_asked_channels(self) -> None:
        """After `ignore` all frames are pika's."""
        others: list[bytes] = []
        reader = DeliveryReader(others.append, LIMIT)
        reader.listen(1, lambda *_: self.fail("not asked for"))
        reader.ignore(1)
        reader.feed(make_delivery(1))
        self.assertEqual(b"".join(others), make_delivery(1))

    def test_what_came_through_another_exchange(self) -> None:
        """Others may write there; one message after the other is told apart."""
        got: list[tuple[str, int]] = []
        reader = DeliveryReader(lambda _: None, LIMIT)
        reader.listen(1, lambda tag, *_: got.append(("own", tag)), lambda tag, *_: got.append(("foreign", tag)))
        for tag, exchange in enumerate(("livepush", "livepush.daemon", "livepush", "", "livepusH"), 1):
            method = spec.Basic.Deliver("ctag", tag, False, exchange, "event.orders.lock")
            reader.feed(make_content(method, 1, b"{}", pika.BasicProperties(type="event")))
        expected = [("own", 1), ("foreign", 2), ("own", 3), ("foreign", 4), ("foreign", 5)]
        self.assertEqual(got, expected)

    def test_what_is_no_amqp_is_refused_at_once(self) -> None:
        """A web server, a TLS alert, another version of AMQP, a frame that would never end."""
        for data in (
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"AMQP\x00\x01\x00\x00",
            struct.pack(">BHI", 1, 0, 2**32 - 1),
            struct.pack(">BHI", 3, 1, 131_073),
        ):
            with self.assertRaises(FrameError):
                read([data])

    def test_broken_frames_are_refused(self) -> None:
        """The end octet, the order of frames and the sizes are checked."""
        good = make_delivery(1, b"abc")
        method = frame.Method(1, spec.Basic.Deliver("ctag", 1, False, "e", "k")).marshal()
        header = frame.Header(1, 3, pika.BasicProperties()).marshal()
        for data in (
            good[:-1] + b"\x00",
            method + method,
            method + header + method,
            method + frame.Body(1, b"abc").marshal(),
            method + header + frame.Body(1, b"abcd").marshal(),
            struct.pack(">BHI", 1, 1, 4) + b"\x00\x3c\x00\x3c\xce",
            struct.pack(">BHI", 1, 1, 5) + b"\x00\x3c\x00\x3c\xff\xce",
            method + struct.pack(">BHI", 2, 1, 2) + b"\x00\x3c\xce",
        ):
            with self.assertRaises(FrameError):
                read([data])


def short(text: str) -> bytes:
    """AMQP's short string."""
    return bytes((len(text.encode()),)) + text.encode()


class PropertiesTests(SynchronousTestCase):
    """Properties as pika reads them."""

    @settings(max_examples=200, deadline=None)
    @given(properties)
    def test_equal_to_pika(self, props: pika.BasicProperties) -> None:
        """Whatever may stand in them."""
        raw = b"".join(props.encode())
        expected = pika.BasicProperties()
        expected.decode(raw)
        self.assertEqual(read_properties(raw), fields(expected))

    @given(
        texts,
        st.permutations(["v", "ts", "low", "sending", "x-stream-offset"]),
        st.integers(3, 5),
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=5, max_size=5),
        st.lists(st.text(max_size=20), min_size=3, max_size=3),
        st.integers(-2, 2),
    )
    def test_the_publishers_own_layout(
        self, kind: str | None, names: list[str], count: int, values: list[int], strings: list[str], cut: int
    ) -> None:
        """Equal to pika for what the publisher writes, for what a stream makes of it, and for what is near."""
        for order in (names[:count], ["v", "ts", "low", "sending"], ["low", "sending", "ts", "v", "x-stream-offset"]):
            pairs = zip(order, values, strict=False)
            table = b"".join(short(name) + b"l" + struct.pack(">q", value) for name, value in pairs)
            tail = b"".join(map(short, strings))
            raw = struct.pack(">H", 0xB0A8) + short(kind or "") + struct.pack(">I", len(table)) + table + b"\x01" + tail
            expected = pika.BasicProperties()
            expected.decode(raw)
            self.assertEqual(read_properties(raw), fields(expected))
            with contextlib.suppress(Malformed):
                read_properties(raw[:cut] if cut < 0 else raw + bytes(cut))

    def test_every_kind_of_integer(self) -> None:
        """RabbitMQ's clients in other languages write shorter ones."""
        for code, layout, value in (
            (b"b", ">b", -3), (b"B", ">B", 200), (b"s", ">h", -300), (b"U", ">h", -300), (b"u", ">H", 60_000),
            (b"I", ">i", -70_000), (b"i", ">I", 2**32 - 1), (b"l", ">q", -(2**40)), (b"L", ">q", 2**62),
        ):  # fmt: skip
            table = b"\x01v" + code + struct.pack(layout, value)
            raw = struct.pack(">HI", 0x2000, len(table)) + table
            expected = pika.BasicProperties()
            expected.decode(raw)
            self.assertEqual((read_properties(raw).headers, expected.headers), ({"v": value}, {"v": value}))

    def test_texts_that_are_no_utf8(self) -> None:
        """They are left as bytes, as pika does, and nobody falls over them."""
        raw = struct.pack(">H", 0x0020) + b"\x02\xff\xfe"
        self.assertEqual(read_properties(raw).type, b"\xff\xfe")

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=80))
    def test_any_bytes(self, raw: bytes) -> None:
        """They are read or refused, nothing else."""
        try:
            read_properties(raw)
        except Malformed as problem:
            self.assertIn("AMQP properties", problem.why)
