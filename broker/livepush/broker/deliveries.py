"""Reading `basic.deliver` out of an AMQP 0-9-1 byte stream, beside pika.

pika copies its whole buffer for each of a message's three frames and builds five objects; here a message costs three
look-ups and one slice (measured: a tenth of pika's time). Everything that is no delivery on a channel that was asked
for goes to pika, frame by frame and untouched.

    frame      octets (AMQP 0-9-1, 2.3.5 and 4.2.3)
    ------     ------------------------------------------------------------------------------------------
    any        type 1, channel 2, size 4, payload, 0xCE
    method 1   class 2, method 2, arguments; basic.deliver is 60, 60: consumer tag (short string),
               delivery tag 8, redelivered 1, exchange (short string), routing key (short string)
    header 2   class 2, weight 2, body size 8, property flags 2, properties in the order of their flags
    body 3     a part of the body; none when the body is empty
    beat 8     empty, channel 0
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pika.spec

from livepush.broker.errors import Malformed
from livepush.broker.topology import EXCHANGE

FRAME_BYTES = 131_072
"""pika's bound for a frame, which the broker's can only lower (connection.tune)."""

_METHOD, _HEADER, _BODY, _HEARTBEAT, _END = 1, 2, 3, 8, 0xCE
_OVERHEAD = 8
_DELIVER = bytes((0, 60, 0, 60))
_EXCHANGE = bytes((len(EXCHANGE),)) + EXCHANGE.encode()

_frame = struct.Struct(">BHI").unpack_from
_short = struct.Struct(">H").unpack_from
_long = struct.Struct(">I").unpack_from
_longlong = struct.Struct(">Q").unpack_from

Deliver = Callable[[int, bytes, bytes], None]
"""What is called for a message: delivery tag, properties (flags first), body."""


class FrameError(Exception):
    """The bytes are no AMQP 0-9-1; the place in the stream is lost."""


class DeliveryReader:
    """Splits a stream into deliveries and frames for pika.

    Bounds: a frame over `frame_bytes` is a `FrameError` as soon as its size is known; of a body over `body_bytes` only
    one byte more than that is kept, enough for the receiver to see that it is too large.

    Args:
        others: gets each whole frame that is no delivery.
        body_bytes: the largest body that is kept whole.
        frame_bytes: the largest frame.
    """

    def __init__(self, others: Callable[[bytes], None], body_bytes: int, frame_bytes: int = FRAME_BYTES) -> None:
        self._others, self._body_bytes, self._frame_bytes = others, body_bytes, frame_bytes
        self._contents: dict[int, _Content] = {}
        self._parts: list[bytes] = []
        self._missing = 0

    def listen(self, channel: int, deliver: Deliver, foreign: Deliver | None = None) -> None:
        """From now on deliveries on this channel are read here; it must have one consumer at most.

        Args:
            channel: its number.
            deliver: gets its messages.
            foreign: gets those that were published to another exchange than `livepush`, to which others may write:
                what such a message says of itself is not to be believed. None: there can be none.
        """
        self._contents[channel] = _Content(deliver, foreign, self._body_bytes)

    def ignore(self, channel: int) -> None:
        """The channel is closed."""
        self._contents.pop(channel, None)

    def feed(self, data: bytes) -> None:
        """More of the stream, split anywhere.

        A frame that comes in many pieces is joined once, when it is whole, so that each byte is copied twice at most.

        Raises:
            FrameError: and nothing can be read after it.
        """
        if self._missing > len(data):
            self._parts.append(data)
            self._missing -= len(data)
            return
        if self._parts:
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts = []
        at, end, contents = 0, len(data), self._contents
        self._missing = 0
        while end - at >= 7:
            kind, channel, size = _frame(data, at)
            after = at + _OVERHEAD + size
            if after > end or kind not in (_METHOD, _HEADER, _BODY):
                # Checked before waiting for a frame that may never be whole; a frame that is whole pays nothing.
                if kind not in (_METHOD, _HEADER, _BODY, _HEARTBEAT) or after - at > self._frame_bytes:
                    raise FrameError(f"no AMQP frame of type {kind} with {size} bytes exists")
                if after > end:
                    self._missing = after - end
                    break
            if data[after - 1] != _END:
                raise FrameError("a frame without its end octet")
            content = contents.get(channel)
            if content is None or not content.take(kind, data, at + 7, after - 1):
                self._others(data[at:after])
            at = after
        if at < end:
            self._parts.append(data[at:])
            self._missing = self._missing or 7 - (end - at)


class _Content:
    """The message that is being put together on one channel. No frame of another kind may come between its frames."""

    __slots__ = ("_deliver", "_foreign", "_kept", "_left", "_limit", "_own", "_parts", "_properties", "_tag", "_wanted")

    def __init__(self, deliver: Deliver, foreign: Deliver | None, limit: int) -> None:
        self._own, self._foreign, self._limit = deliver, foreign, limit
        self._deliver = deliver  # of the message that is being put together
        self._wanted = _METHOD
        self._tag = self._left = self._kept = 0
        self._properties = b""
        self._parts: list[bytes] = []

    def take(self, kind: int, data: bytes, at: int, end: int) -> bool:
        """Whether this frame, whose payload stands at `at` to `end`, belongs to a delivery."""
        if kind != self._wanted:
            if self._wanted == _METHOD:
                return False  # the content of basic.get-ok or basic.return, which pika reads
            raise FrameError(f"a frame of type {kind} inside a message")
        if kind == _BODY:
            size = end - at
            if size > self._left:
                raise FrameError("a body longer than its header says")
            self._left -= size
            if self._left == 0 and not self._parts and size <= self._limit:
                self._wanted = _METHOD
                self._deliver(self._tag, self._properties, data[at:end])
                return True
            room = self._limit + 1 - self._kept
            if room > 0:
                self._parts.append(data[at : min(end, at + room)])
                self._kept += min(size, room)
            if self._left == 0:
                self._finish()
            return True
        if kind == _METHOD:
            if data[at : at + 4] != _DELIVER:
                return False
            place = at + 5 + data[at + 4] if end > at + 4 else end
            if place + 9 > end:
                raise FrameError("a basic.deliver without a delivery tag")
            (self._tag,) = _longlong(data, place)
            if self._foreign is not None:
                own = data[place + 9 : min(end, place + 9 + len(_EXCHANGE))] == _EXCHANGE
                self._deliver = self._own if own else self._foreign
            self._wanted = _HEADER
            return True
        if end - at < 14:
            raise FrameError("a header without properties")
        (self._left,) = _longlong(data, at + 4)
        self._properties = data[at + 12 : end]
        self._wanted = _BODY
        if self._left == 0:
            self._finish()
        return True

    def _finish(self) -> None:
        body, self._parts, self._kept, self._wanted = b"".join(self._parts), [], 0, _METHOD
        self._deliver(self._tag, self._properties, body)


class Properties(NamedTuple):
    """The properties that the envelope uses: each a str, bytes where that is no UTF-8 (as pika does), or None."""

    type: Any
    app_id: Any
    message_id: Any
    headers: Mapping[str, Any] | None


def read_properties(raw: bytes) -> Properties:
    """Properties as they stand in a content header, from the flags on.

    The publisher's own headers are integers; anything else (a federation's, a stranger's) goes the long way through
    pika, at ten times the cost and with the same result.

    Raises:
        Malformed: neither can read them.
    """
    try:
        properties = _read_quickly(raw)
    except (IndexError, UnicodeDecodeError, struct.error):
        properties = None
    if properties is not None:
        return properties
    slow = pika.spec.BasicProperties()
    try:
        slow.decode(raw)
    except Exception as error:  # any bytes may stand there, and pika checks few of them
        raise Malformed(f"unreadable AMQP properties ({type(error).__name__})") from None
    return Properties(slow.type, slow.app_id, slow.message_id, slow.headers)


def _read_quickly(raw: bytes) -> Properties | None:
    """None: it holds something that pika should read."""
    (flags,) = _short(raw, 0)
    if flags == _OWN_FLAGS and (own := _read_own(raw)) is not None:
        return own
    at = 2
    if flags & 0x0003:
        return None
    kind: str | bytes | None = None
    app_id: str | bytes | None = None
    message_id: str | bytes | None = None
    headers: dict[str, Any] | None = None
    if flags & 0x8000:  # content_type
        at += 1 + raw[at]
    if flags & 0x4000:  # content_encoding
        at += 1 + raw[at]
    if flags & 0x2000:
        (size,) = _long(raw, at)
        headers = _read_integers(raw, at + 4, at + 4 + size)
        if headers is None:
            return None
        at += 4 + size
    if flags & 0x1F00:
        if flags & 0x1000:  # delivery_mode
            at += 1
        if flags & 0x0800:  # priority
            at += 1
        for flag in (0x0400, 0x0200, 0x0100):  # correlation_id, reply_to, expiration
            if flags & flag:
                at += 1 + raw[at]
    if flags & 0x0080:
        end = at + 1 + raw[at]
        message_id, at = raw[at + 1 : end].decode(), end
    if flags & 0x0040:  # timestamp
        at += 8
    if flags & 0x0020:
        end = at + 1 + raw[at]
        kind, at = raw[at + 1 : end].decode(), end
    if flags & 0x0010:  # user_id
        at += 1 + raw[at]
    if flags & 0x0008:
        end = at + 1 + raw[at]
        app_id, at = raw[at + 1 : end].decode(), end
    if flags & 0x0004:  # cluster_id
        at += 1 + raw[at]
    return Properties(kind, app_id, message_id, headers) if at == len(raw) else None


_OWN_FLAGS = 0xB0A8  # content_type, headers, delivery_mode, message_id, type, app_id
_QUEUED = struct.Struct(">3sq4sq5sq9sq")  # v, ts, low, sending
_LOGGED = struct.Struct(">5sq9sq4sq3sq17sq")  # low, sending, ts, v, x-stream-offset
_OWN_NAMES = b"\x03lowl", b"\x07sendingl", b"\x02tsl", b"\x01vl"
_OFFSET_NAME = b"\x0fx-stream-offsetl"


def _read_own(raw: bytes) -> Properties | None:
    """The properties of a numbered message as the publisher writes them, at a third of the general way's cost.

    None: they are others. RabbitMQ hands the headers of a stream's record out sorted, with its offset among them.
    """
    at = 3 + raw[2]
    (size,) = _long(raw, at)
    at += 4
    end = at + size
    if size == _QUEUED.size:
        v_name, v, ts_name, ts, low_name, low, sending_name, sending = _QUEUED.unpack_from(raw, at)
        headers = {"v": v, "ts": ts, "low": low, "sending": sending}
        names = low_name, sending_name, ts_name, v_name
    elif size == _LOGGED.size:
        low_name, low, sending_name, sending, ts_name, ts, v_name, v, offset_name, offset = _LOGGED.unpack_from(raw, at)
        headers = {"v": v, "ts": ts, "low": low, "sending": sending, "x-stream-offset": offset}
        names = low_name, sending_name, ts_name, v_name
        if offset_name != _OFFSET_NAME:
            return None
    else:
        return None
    if names != _OWN_NAMES:
        return None
    number = end + 2  # behind delivery_mode and a length
    kind = number + raw[number - 1] + 1
    app = kind + raw[kind - 1] + 1
    if app + raw[app - 1] != len(raw):
        return None
    return Properties(raw[kind : app - 1].decode(), raw[app:].decode(), raw[number : kind - 1].decode(), headers)


_INTEGERS = {
    code: (reader.unpack_from, reader.size)
    for code, reader in (
        (ord("b"), struct.Struct(">b")),
        (ord("B"), struct.Struct(">B")),
        (ord("s"), struct.Struct(">h")),
        (ord("U"), struct.Struct(">h")),
        (ord("u"), struct.Struct(">H")),
        (ord("I"), struct.Struct(">i")),
        (ord("i"), struct.Struct(">I")),
        (ord("l"), struct.Struct(">q")),
        (ord("L"), struct.Struct(">q")),
    )
}


def _read_integers(raw: bytes, at: int, end: int) -> dict[str, Any] | None:
    """A field table of integers; None: something else is in it."""
    table: dict[str, Any] = {}
    while at < end:
        start = at + 1
        at = start + raw[at]
        found = _INTEGERS.get(raw[at])
        if found is None:
            return None
        read, size = found
        (table[raw[start:at].decode()],) = read(raw, at + 1)
        at += 1 + size
    return table if at == end else None
