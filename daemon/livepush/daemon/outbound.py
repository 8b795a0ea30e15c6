"""What waits for one connection: the frames of this turn, and what is held back from its transport.

    written     the peer reads, and nobody doubts who it is: each turn's frames at once, in one write
    held        the peer does not read (`pause`), or who it is must be found out anew (`suspend`): frames wait here, in
                order, each with the channel that it belongs to
    dropped     `keep`: of channels that the user has no more; over the bound: see below

What can be taken back, exactly: all that was not written yet, which is every frame of this turn and every held one.
Not what was: the kernel's buffer, and of the write that the kernel took only in part the rest. With `EagerServer` that
is one write, because it pauses its producer as soon as it has to keep something: one turn's events of one connection,
or a piece of what was held, of `PIECE_BYTES` or a single frame. With TLS and unix sockets, which keep Twisted's own
transports, it is up to 64 KiB and one such write.

Bound: `bound` bytes. Over it all frames of channels are dropped, and in the place of the first one stands a `resync`
for each channel that lost something, before anything that carries a later position. If the answers alone pass it, the
connection ends with 4002.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from typing import Protocol

Frame = tuple[str, bytes]
"""The channel that it belongs to, and its bytes. No channel (""): an answer, which is never dropped."""

PIECE_BYTES = 65_536


class Owner(Protocol):
    """The connection."""

    def tell_slow(self, channel: str) -> bytes:
        """The frame that says that events of this channel were dropped."""

    def end_slow(self) -> None:
        """It waits for too much: to be closed."""

    @property
    def writing(self) -> str:
        """The channel of what `write` is called with, in the hub's fan-out to whole groups."""


class Outbound:
    """The outbound side of one connection.

    Attributes:
        pending: frames of this turn; the hub appends.
        write: takes complete frames, of one channel (`Owner.writing`): the transport's own `write` as long as nothing
            is held, so that the hot path does not ask.
    """

    __slots__ = ("_bound", "_bytes", "_full", "_held", "_owner", "_suspended", "_transport", "pending", "write")

    def __init__(self, transport: Callable[[bytes], None], bound: int, owner: Owner) -> None:
        self._transport, self._bound, self._owner = transport, bound, owner
        self._held: deque[Frame] = deque()
        self._bytes = 0
        self._full = self._suspended = False
        self.pending: list[Frame] = []
        self.write = transport

    @property
    def holds(self) -> bool:
        """Whether frames are held back."""
        return self._full or self._suspended

    def flush(self) -> None:
        """Writes what is pending, or holds it."""
        pending = self.pending
        if not pending:
            return
        self.pending = []
        if not self.holds and not self._held:
            data = pending[0][1] if len(pending) == 1 else b"".join([data for _, data in pending])
            if len(data) <= PIECE_BYTES:
                if data:
                    self._transport(data)
                return
        for channel, data in pending:
            self._add(channel, data)
        self._drain()

    def pause(self) -> None:
        """The transport's buffer is not empty: the peer does not read."""
        self._full = True
        self.write = self._hold

    def resume(self) -> None:
        """The peer has caught up."""
        self._full = False
        self._drain()

    def suspend(self) -> None:
        """From here on nothing is written, whatever was given to this connection before."""
        self._suspended = True
        self.write = self._hold
        self.flush()

    def readmit(self) -> None:
        """Ends the suspension: what is held, then what is pending."""
        self._suspended = False
        self.flush()
        self._drain()

    def keep(self, channels: Container[str]) -> None:
        """Drops the held and pending frames of all other channels."""
        self._held = deque(frame for frame in self._held if not frame[0] or frame[0] in channels)
        self.pending = [frame for frame in self.pending if not frame[0] or frame[0] in channels]
        self._bytes = sum(len(data) for _, data in self._held)

    def reframe(self, reframe: Callable[[bytes], bytes]) -> None:
        """Puts what waits into another wire format; `reframe` is given joined frames of one channel."""
        self._held = deque((channel, reframe(data)) for channel, data in self._held)
        self.pending = [(channel, reframe(data)) for channel, data in self.pending]
        self._bytes = sum(len(data) for _, data in self._held)

    def end(self) -> None:
        """Nothing more leaves, and nothing is kept."""
        self.pending, self._bytes, self._full = [], 0, True
        self._held.clear()
        self.write = _discard

    def _hold(self, data: bytes) -> None:
        self._add(self._owner.writing, data)

    def _add(self, channel: str, data: bytes) -> None:
        if self.write == _discard or not data:
            return
        self._held.append((channel, data))
        self._bytes += len(data)
        if self._bytes > self._bound:
            self._overflow()

    def _overflow(self) -> None:
        lost = dict.fromkeys(channel for channel, _ in self._held if channel)
        kept: deque[Frame] = deque()
        for channel, data in self._held:
            if not channel:
                kept.append((channel, data))
            elif lost:
                kept.extend((name, self._owner.tell_slow(name)) for name in lost)
                lost.clear()
        self._held = kept
        self._bytes = sum(len(data) for _, data in kept)
        if self._bytes > self._bound:
            self._owner.end_slow()

    def _drain(self) -> None:
        held = self._held
        while held and not self.holds:
            piece: list[bytes] = []
            size = 0
            while held and (not piece or size + len(held[0][1]) <= PIECE_BYTES):
                _, data = held.popleft()
                piece.append(data)
                size += len(data)
            self._bytes -= size
            self._transport(b"".join(piece))
        if not self.holds:
            self.write = self._transport


def _discard(_: bytes) -> None:
    """Where a closed connection writes to."""
