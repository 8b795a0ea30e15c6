"""The state of one SockJS session over HTTP; frames and addresses are told in `sockjs`.

    phase      a receiver comes                         its answer is full or ends        the server closes
    --------   --------------------------------------   -------------------------------   ----------------------
    NEW        `o`: OPEN
    OPEN       gets what waits; beside another one it   the next one may come, within     CLOSED; whoever receives
               is answered c[2010]                      the disconnect delay              is told
    CLOSED     is answered the close frame

A receiver that its client aborts ends the session at once, since nobody knows what has reached it.
"""

from __future__ import annotations

from enum import Enum, auto

from livepush.wire.sockjs import OPEN, close_frame

STILL_OPEN = close_frame(2010, "Another connection still open")


class Phase(Enum):
    """Where a session stands; see the table above."""

    NEW = auto()
    OPEN = auto()
    CLOSED = auto()


class Refused(Exception):
    """A receiver that gets nothing but one frame.

    Attributes:
        frame: that it gets.
    """

    def __init__(self, frame: bytes) -> None:
        super().__init__(frame)
        self.frame = frame


class Session:
    """One session's state machine. Timers, requests and queues are its owner's.

    Attributes:
        phase: see above.
        receives: whether a receiver is there.
    """

    __slots__ = ("_last", "phase", "receives")

    def __init__(self) -> None:
        self.phase = Phase.NEW
        self.receives = False
        self._last = b""

    def attach(self) -> bytes:
        """A receiver has come, and stays until `detach`.

        Returns:
            The frame that it is to be given before anything else; b"": none.

        Raises:
            Refused: there is one, or the session is over.
        """
        if self.phase is Phase.CLOSED:
            raise Refused(self._last)
        if self.receives:
            raise Refused(STILL_OPEN)
        self.receives = True
        if self.phase is Phase.OPEN:
            return b""
        self.phase = Phase.OPEN
        return OPEN

    def detach(self) -> None:
        """Its receiver has been answered, or has gone."""
        self.receives = False

    def close(self, code: int, reason: str) -> bytes:
        """The server ends it; returns the frame that says so, to be given to the receiver if there is one."""
        if self.phase is not Phase.CLOSED:
            self.phase, self._last = Phase.CLOSED, close_frame(code, reason)
        return self._last
