"""Tests of livepush.wire.frame."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.wire.frame import text_frame


class TextFrameTests(SynchronousTestCase):
    """RFC 6455 section 5.2."""

    def test_lengths(self) -> None:
        """The shortest of the three forms of a length is used, on both sides of each edge."""
        for size, head in (
            (0, b"\x81\x00"),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65_535, b"\x81\x7e\xff\xff"),
            (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ):
            self.assertEqual(text_frame(b"x" * size), head + b"x" * size)
