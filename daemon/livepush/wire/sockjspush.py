"""Livepush's messages inside SockJS: the native ones, one a SockJS message, or the classic ones.

    native     `{"op": ...}` as `native` tells it, each a text: a["{\\"op\\":\\"event\\",...}"]
    classic    events only, as the objects themselves: a[{"type":"lock","data":{"order":5}}]

A classic client listens to the declared channels and says nothing that would be understood; its page has a handler for
each type of event and for nothing else. So it is told in the only other way that it knows that something may be
missing, or that it is shown another view from now on: its session ends, c[4003,"reload"], as it does when the network
breaks. Its page opens another one after a while, and loads its state then. What it may not hear any more it just does
not hear.
"""

from __future__ import annotations

from livepush.broker.envelope import Event, Json
from livepush.wire import native, sockjs
from livepush.wire.closing import Close
from livepush.wire.frame import text_frame
from livepush.wire.requests import Granted, Request, Welcome

RELOAD = "reload"


class ClassicEncoder:
    """The classic messages.

    Args:
        frame: puts the JSON text of one message into what the transport carries.
        end: what ends a session there.
        name: of the wire format, for people.
    """

    overlaps = False

    def __init__(self, frame: sockjs.Frame, end: bytes, name: str) -> None:
        self._frame, self._end, self.name = frame, end, name

    def event(self, event: Event, view: Json, id: str | None, ts: int, at: str | None) -> bytes:  # noqa: A002 - the word on the wire
        """An event as one audience is shown it."""
        return self._frame(native.text({"type": event.type, "data": view}))

    def resync(self, channel: str, why: str, at: str) -> bytes:
        """Something may be missing: the session ends."""
        return self._end

    def back(self, channel: str, audience: str, at: str) -> bytes:
        """The user may again, or sees another view: the session ends."""
        return self._end

    def gone(self, channel: str, why: str) -> bytes:
        """Nothing."""
        return b""

    def welcome(self, n: int | None, welcome: Welcome) -> bytes:
        """Nothing."""
        return b""

    def granted(self, n: int | None, channel: str, granted: Granted, at: str) -> bytes:
        """Nothing."""
        return b""

    def ok(self, n: int | None, channel: str) -> bytes:
        """Nothing."""
        return b""

    def result(self, n: int | None, data: Json) -> bytes:
        """Nothing."""
        return b""

    def error(self, n: int | None, code: str, message: str, retry: bool = False) -> bytes:
        """Nothing."""
        return b""

    def presence(self, channel: str, said: Json) -> bytes:
        """Nothing."""
        return b""

    def heartbeat(self, at: str) -> bytes:
        """Nothing: SockJS has its own."""
        return b""

    def goaway(self, after: int) -> bytes:
        """Nothing: the end of the session says it."""
        return b""


class ClassicCodec:
    """Hears nothing: whatever a classic page says is no request."""

    def parse(self, payload: bytes, depth: int) -> Request | None:
        """None."""
        return None


NATIVE_HTTP = native.NativeEncoder(sockjs.message_piece, "sockjs-http")
NATIVE_WEBSOCKET = native.NativeEncoder(sockjs.message_frame, "sockjs")
NATIVE_RAW = native.NativeEncoder(name="sockjs-raw")
CLASSIC_HTTP = ClassicEncoder(sockjs.object_piece, sockjs.END, "classic-http")
CLASSIC_WEBSOCKET = ClassicEncoder(sockjs.object_frame, text_frame(sockjs.close_frame(Close.HOLE, RELOAD)), "classic")
CLASSIC_RAW = ClassicEncoder(text_frame, sockjs.raw_end(Close.HOLE, RELOAD), "classic-raw")
