"""What waits for one connection: the frames of this turn, and what is held back from its transport.

    written     the peer reads, and nobody doubts who it is: each turn's frames at once, in one write
    held        the peer does not read (`pause`), or who it is must be found out anew (`suspend`): frames wait here, in
                order, each with the channel that it belongs to
    conflated   much is held: of the events of one key on one channel only the newest waits, at its place
    dropped     `keep`: of channels that the user has no more; over the bound: see below

What can be taken back, exactly: all that was not written yet, which is every frame of this turn and every held one.
Not what was: the kernel's buffer, and of the write that the kernel took only in part the rest. With `EagerServer` that
is one write, because it pauses its producer as soon as it has to keep something: one turn's events of one connection,
or a piece of what was held, of `PIECE_BYTES` or a single frame. With TLS and unix sockets, which keep Twisted's own
transports, it is up to 64 KiB and one such write.

Bound: `bound` bytes. From a quarter of it on events are conflated, each time that what is held has doubled. Over it, if
that leaves more than three quarters, all frames of channels are dropped, and in the place of the first one stands a
`resync` for each channel that lost something, before anything that carries a later position. If the peer reads nothing
for a whole heartbeat after that, or if the answers alone pass the bound, the connection ends with 4002. Frames are
shared by all connections, so that what a thousand slow readers hold of one event is once in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import Protocol

Frame = tuple[str, bytes] | tuple[str, bytes, str]
"""The channel that it belongs to, its bytes, and the key of its event, if it has one. No channel (""): an answer, which
is never dropped."""

PIECE_BYTES = 65_536

SOFT = 4
"""The part of the bound from which on events are conflated: one in so many."""


class Owner(Protocol):
    """The connection."""

    def tell_slow(self, channel: str) -> bytes:
        """The frame that says that events of this channel were dropped."""

    def end_slow(self) -> None:
        """It waits for too much: to be closed."""

    @property
    def writing(self) -> Sequence[Frame]:
        """The frames of what `write` is called with, in the hub's fan-out to whole groups."""


class Outbound:
    """The outbound side of one connection.

    Attributes:
        pending: frames of this turn; the hub appends.
        write: takes joined frames (`Owner.writing`): the transport's own `write` as long as nothing is held, so
            that the hot path does not ask.
    """

    __slots__ = (
        "_bound",
        "_bytes",
        "_full",
        "_held",
        "_mark",
        "_owner",
        "_slow",
        "_suspended",
        "_transport",
        "pending",
        "write",
    )

    def __init__(self, transport: Callable[[bytes], None], bound: int, owner: Owner) -> None:
        self._transport, self._bound, self._owner = transport, bound, owner
        self._held: deque[Frame] = deque()
        self._bytes = 0
        self._mark = bound // SOFT  # over which events are conflated
        self._full = self._suspended = False
        self._slow = 0  # since events were dropped and nothing was read: 1; a heartbeat later: 2
        self.pending: list[Frame] = []
        self.write = transport

    @property
    def holds(self) -> bool:
        """Whether frames are held back."""
        return self._full or self._suspended

    def flush(self) -> int:
        """Writes what is pending, or holds it. Returns how many bytes it was."""
        pending = self.pending
        if not pending:
            return 0
        self.pending = []
        if not self.holds and not self._held:
            data = pending[0][1] if len(pending) == 1 else b"".join([frame[1] for frame in pending])
            if len(data) <= PIECE_BYTES:
                if data:
                    self._transport(data)
                return len(data)
        for frame in pending:
            self._add(frame)
        self._drain()
        return sum(len(frame[1]) for frame in pending)

    def pause(self) -> None:
        """The transport's buffer is not empty: the peer does not read."""
        self._full = True
        self.write = self._hold

    def resume(self) -> None:
        """The peer has caught up."""
        self._full, self._slow = False, 0
        self._drain()

    def beat(self) -> None:
        """A heartbeat has passed; who has read nothing for a whole one, and has lost events before it, can't follow."""
        if self._slow == 2:
            self._owner.end_slow()
        elif self._slow:
            self._slow = 2

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
        self._weigh()

    def reframe(self, reframe: Callable[[bytes], bytes]) -> None:
        """Puts what waits into another wire format."""
        self._held = deque(_with(frame, reframe(frame[1])) for frame in self._held)
        self.pending = [_with(frame, reframe(frame[1])) for frame in self.pending]
        self._weigh()

    def end(self) -> None:
        """Nothing more leaves, and nothing is kept."""
        self.pending, self._bytes, self._full = [], 0, True
        self._held.clear()
        self.write = _discard

    def _hold(self, _: bytes) -> None:
        for frame in self._owner.writing:
            self._add(frame)

    def _add(self, frame: Frame) -> None:
        if self.write == _discard or not frame[1]:
            return
        self._held.append(frame)
        self._bytes += len(frame[1])
        if self._bytes > self._mark:
            self._shrink()

    def _shrink(self) -> None:
        bound, over = self._bound, self._bytes > self._bound
        self._conflate()
        if over and self._bytes > bound - bound // SOFT:
            self._overflow()
        # What doubles, or frees a quarter, before it is looked through again costs each frame a bounded share of that.
        self._mark = min(bound, max(bound // SOFT, 2 * self._bytes))

    def _conflate(self) -> None:
        """Keeps of each key on each channel the newest event, at its place."""
        newest: set[tuple[str, str]] = set()
        kept: deque[Frame] = deque()
        for frame in reversed(self._held):
            if len(frame) == 3:
                what = (frame[0], frame[2])
                if what in newest:
                    continue
                newest.add(what)
            kept.appendleft(frame)
        self._held = kept
        self._weigh()

    def _overflow(self) -> None:
        lost = dict.fromkeys(frame[0] for frame in self._held if frame[0])
        kept: deque[Frame] = deque()
        for frame in self._held:
            if not frame[0]:
                kept.append(frame)
            elif lost:
                kept.extend((name, self._owner.tell_slow(name)) for name in lost)
                lost.clear()
        self._held = kept
        self._weigh()
        if self._bytes > self._bound:
            self._owner.end_slow()
        elif self._full:
            self._slow = max(self._slow, 1)

    def _weigh(self) -> None:
        self._bytes = sum(len(frame[1]) for frame in self._held)

    def _drain(self) -> None:
        held = self._held
        while held and not self.holds:
            piece: list[bytes] = []
            size = 0
            while held and (not piece or size + len(held[0][1]) <= PIECE_BYTES):
                data = held.popleft()[1]
                piece.append(data)
                size += len(data)
            self._bytes -= size
            self._transport(b"".join(piece))
        if not self.holds:
            self.write = self._transport
            self._mark = self._bound // SOFT


def _discard(_: bytes) -> None:
    """Where a closed connection writes to."""


def _with(frame: Frame, data: bytes) -> Frame:
    return (frame[0], data, frame[2]) if len(frame) == 3 else (frame[0], data)
