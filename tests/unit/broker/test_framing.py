from __future__ import annotations

from typing import Any

import pika.frame
import pika.spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.backlog import Copy
from livepush.broker.envelope import MAX_NUMBER, Kind, Stamp, headers_of
from livepush.broker.framing import frames


def read(data: bytes) -> tuple[int, pika.spec.Basic.Publish, pika.spec.BasicProperties, bytes, list[int]]:
    """What pika makes of it: channel, method, properties, body, sizes of the frames."""
    found: list[Any] = []
    sizes: list[int] = []
    while data:
        size, frame = pika.frame.decode_frame(data)
        assert frame is not None
        found.append(frame)
        sizes.append(size)
        data = data[size:]
    method, header, *bodies = found
    body = b"".join(one.fragment for one in bodies)
    assert header.body_size == len(body)
    assert len({one.channel_number for one in found}) == 1
    return method.channel_number, method.method, header.properties, body, sizes


class FramesTests(SynchronousTestCase):
    def check(self, copy: Copy, exchange: str = "livepush", channel: int = 1, frame_max: int = 131_072) -> list[int]:
        number, method, properties, body, sizes = read(frames(copy, exchange, channel, frame_max))
        self.assertEqual((number, method.exchange, method.routing_key), (channel, exchange, copy.key))
        self.assertEqual((bool(method.mandatory), bool(method.immediate)), (copy.stamp is not None, False))
        self.assertEqual(body, copy.body)
        stamp = copy.stamp
        wanted = pika.BasicProperties(
            content_type="application/json",
            headers=headers_of(copy.kind, copy.ts, stamp),
            delivery_mode=1,
            type=copy.kind.value,
            app_id=None if stamp is None else stamp.publisher,
            message_id=None if stamp is None else str(stamp.number),
        )
        self.assertEqual(properties, wanted)
        return sizes

    @given(
        st.sampled_from(Kind),
        st.text(min_size=1, max_size=80),
        st.binary(max_size=300),
        st.integers(0, MAX_NUMBER),
        st.one_of(st.none(), st.tuples(*[st.integers(1, MAX_NUMBER)] * 3)),
        st.integers(1, 65_535),
        st.integers(20, 200),
    )
    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    def test_pika_reads_what_was_meant(
        self,
        kind: Kind,
        key: str,
        body: bytes,
        ts: int,
        numbers: tuple[int, ...] | None,
        channel: int,
        frame_max: int,
    ) -> None:
        """Every copy, at any frame size."""
        if len(key.encode()) > 255:
            return
        stamp = None if numbers is None else Stamp("a-publisher", *numbers)
        self.check(Copy(kind, key, body, ts, stamp), channel=channel, frame_max=frame_max)

    def test_large_bodies_are_cut(self) -> None:
        """No frame is larger than was negotiated; a body that just fits is one."""
        stamp = Stamp("p", 1, 1, 1)
        for length, count in ((0, 0), (1, 1), (4_088, 1), (4_089, 2), (256 * 1024, 65)):
            sizes = self.check(Copy(Kind.EVENT, "event.a.b", b"x" * length, 0, stamp), frame_max=4_096)
            self.assertEqual(len(sizes) - 2, count)
            self.assertLessEqual(max(sizes), 4_096)
