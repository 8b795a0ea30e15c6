"""What goes out on one connection: frames joined to few writes, and bounded when the client does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime

if TYPE_CHECKING:
    from livepush.broker.embedded.connection import Connection

WRITE_BYTES = 64 * 1024


class Wire(Protocol):
    """What is used of the transport."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...


class Turn:
    """The time in which one piece of input is worked on: writes are collected, then each connection is flushed once.

    Attributes:
        open: whether it is now.
    """

    __slots__ = ("_depth", "_dirty", "open")

    def __init__(self) -> None:
        self.open = False
        self._depth = 0
        self._dirty: set[Connection] = set()

    def __enter__(self) -> None:
        self._depth += 1
        self.open = True

    def __exit__(self, *_: object) -> None:
        if self._depth == 1:
            while self._dirty:
                self._dirty.pop().flush()
        self._depth -= 1
        self.open = self._depth > 0

    def later(self, connection: Connection) -> None:
        """To be flushed at the end."""
        self._dirty.add(connection)

    def forget(self, connection: Connection) -> None:
        """It is gone."""
        self._dirty.discard(connection)


class Output:
    """Collects frames and writes them together: at the end of a turn, or at `WRITE_BYTES`.

    Attributes:
        paused: the transport's buffer is full; its owner sets it by the transport's word.
        wrote: when something was written last, by the clock.
    """

    __slots__ = ("_bytes", "_clock", "_frames", "_limit", "_stuck", "_wire", "paused", "wrote")

    def __init__(self, wire: Wire, clock: IReactorTime, limit: int) -> None:
        self._wire, self._clock, self._limit = wire, clock, limit
        self._frames: list[bytes] = []
        self._bytes = self._stuck = 0
        self.paused = False
        self.wrote = clock.seconds()

    @property
    def choked(self) -> bool:
        """Whether the client left so much unread that nothing more should be done for it."""
        return self.paused and self._stuck + self._bytes > self._limit

    def add(self, frames: bytes) -> bool:
        """Takes whole frames; True when they should be written now."""
        self._frames.append(frames)
        self._bytes += len(frames)
        return self._bytes >= WRITE_BYTES

    def pause(self) -> None:
        """The transport asks for it, at every write over its bound."""
        if not self.paused:
            self.paused = True
            self._stuck = 0

    def write(self) -> None:
        """Everything, in one write."""
        if self._frames:
            data = b"".join(self._frames)
            self._frames.clear()
            self._bytes = 0
            self._stuck += len(data)
            self.wrote = self._clock.seconds()
            self._wire.write(data)
