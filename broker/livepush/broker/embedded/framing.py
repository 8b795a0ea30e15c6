"""AMQP 0-9-1 frames (4.2.3), bytes in and bytes out.

type 1 octet | channel 2 | payload size 4 | payload | 0xCE        type: 1 method, 2 content header, 3 body, 8 heartbeat
"""

from __future__ import annotations

import struct

from livepush.broker.embedded.refusal import FRAME_ERROR, ConnectionRefused

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = b"\xce"
OVERHEAD = 8
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_HEAD = struct.Struct(">BHI")
pack_head = _HEAD.pack

Frame = tuple[int, int, bytes]


class FrameReader:
    """Cuts a stream into frames, whatever the pieces it comes in.

    Holds at most one unfinished frame and the piece fed last. Time is linear in the bytes fed, also when they come
    one by one.

    Attributes:
        largest: bytes of a frame with its eight around the payload.
    """

    __slots__ = ("_at", "_data", "_needed", "_parts", "_size", "largest")

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self._data, self._at = b"", 0
        self._parts: list[bytes] = []  # of an unfinished frame, `_size` bytes of `_needed`
        self._size = self._needed = 0

    def feed(self, data: bytes) -> None:
        """The next bytes of the stream."""
        if self._parts:
            self._parts.append(data)
            self._size += len(data)
            if self._size >= self._needed:
                self._data, self._at = b"".join(self._parts), 0
                self._parts = []
        elif self._at == len(self._data):
            self._data, self._at = data, 0
        else:
            self._data, self._at = self._data[self._at :] + data, 0

    def next(self) -> Frame | None:
        """Type, channel and payload of the next frame; None until more is fed.

        Raises:
            ConnectionRefused: 501, a frame over the bound or without its end octet. The stream can't be read on.
        """
        data, at = self._data, self._at
        left = len(data) - at
        if left >= OVERHEAD - 1:
            kind, channel, size = _HEAD.unpack_from(data, at)
            if size + OVERHEAD > self.largest:
                raise ConnectionRefused(FRAME_ERROR, f"frame of {size} bytes is larger than {self.largest - OVERHEAD}")
            end = at + OVERHEAD + size
            if end <= len(data):
                if data[end - 1] != END[0]:
                    raise ConnectionRefused(FRAME_ERROR, "frame without its end octet")
                self._at = end
                return kind, channel, data[at + OVERHEAD - 1 : end - 1]
            self._needed = end - at
        else:
            self._needed = OVERHEAD - 1
        if left:
            self._parts, self._size = [data[at:]], left
        self._data, self._at = b"", 0
        return None


def content_frames(channel: int, header: bytes, body: bytes, largest: int) -> bytes:
    """A message's header frame and as many body frames as `largest` (a whole frame's bytes) makes of its body."""
    size = len(body)
    step = largest - OVERHEAD
    if 0 < size <= step:
        pieces = (pack_head(HEADER, channel, len(header)), header, END, pack_head(BODY, channel, size), body, END)
        return b"".join(pieces)
    several = [pack_head(HEADER, channel, len(header)), header, END]
    for start in range(0, size, step):
        part = body[start : start + step]
        several += [pack_head(BODY, channel, len(part)), part, END]
    return b"".join(several)
