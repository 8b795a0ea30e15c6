"""Frames come out of any stream of bytes, or the stream is refused."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from pika.frame import Body, Frame, Header, decode_frame
from pika.spec import BasicProperties
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.embedded.framing import END, FrameReader, content_frames, pack_head
from livepush.broker.embedded.framing import Frame as Raw
from livepush.broker.embedded.refusal import ConnectionRefused

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=60)), max_size=8)


def read(reader: FrameReader) -> list[Raw]:
    """All whole frames."""
    frames = []
    while (frame := reader.next()) is not None:
        frames.append(frame)
    return frames


def marshalled(frames: list[Raw]) -> bytes:
    """Their bytes."""
    return b"".join(pack_head(kind, channel, len(data)) + data + END for kind, channel, data in frames)


class FrameReaderTests(SynchronousTestCase):
    """`FrameReader`."""

    @given(FRAMES, st.lists(st.integers(1, 50), max_size=30), st.booleans())
    def test_the_pieces_do_not_matter(self, frames: list[Raw], sizes: list[int], read_between: bool) -> None:
        """However a stream is cut, and whether or not it is read in between, the same frames come out."""
        data = marshalled(frames)
        reader, got = FrameReader(100), []
        for size in [*sizes, len(data) or 1]:
            reader.feed(data[:size])
            data = data[size:]
            if read_between:
                got += read(reader)
        self.assertEqual(got + read(reader), frames)

    def test_byte_by_byte(self) -> None:
        """The slowest client is understood."""
        frames = [(1, 7, b"x" * 300), (8, 0, b""), (3, 65535, b"\xce" * 9)]
        reader, got = FrameReader(1000), []
        for byte in marshalled(frames):
            reader.feed(bytes([byte]))
            got += read(reader)
        self.assertEqual(got, frames)

    def test_a_frame_over_the_bound_is_refused_before_it_came(self) -> None:
        """Nobody is made to wait for 4 GiB."""
        for size in (93, 2**31, 2**32 - 1):
            reader = FrameReader(100)
            reader.feed(struct.pack(">BHI", 1, 1, size))
            self.assertEqual(self.assertRaises(ConnectionRefused, reader.next).code, 501)

    def test_the_largest_frame_is_taken(self) -> None:
        """The bound counts the whole frame."""
        reader = FrameReader(100)
        reader.feed(marshalled([(1, 1, b"x" * 92)]))
        self.assertEqual(len(read(reader)), 1)

    def test_a_frame_without_its_end_is_refused(self) -> None:
        """The stream is out of step."""
        reader = FrameReader(100)
        reader.feed(marshalled([(1, 1, b"abc")])[:-1] + b"\x00")
        self.assertEqual(self.assertRaises(ConnectionRefused, reader.next).code, 501)


class ContentTests(SynchronousTestCase):
    """`content_frames`."""

    @given(st.binary(max_size=300), st.integers(9, 100))
    def test_pika_reads_what_is_written(self, body: bytes, largest: int) -> None:
        """A body of any size, cut at any frame size, none over it."""
        header = Header(3, len(body), BasicProperties(type="t")).marshal()[7:-1]
        data, frames = content_frames(3, header, body, largest), []
        while data:
            size, frame = decode_frame(data)
            assert isinstance(frame, Frame)
            self.assertTrue(isinstance(frame, Header) or size <= largest)
            frames.append(frame)
            data = data[size:]
        pieces = [frame.fragment for frame in frames[1:] if isinstance(frame, Body)]
        self.assertEqual(b"".join(pieces), body)
        self.assertEqual(len(pieces), len(frames) - 1)
