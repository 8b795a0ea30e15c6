"""Which deliveries of one channel are still to be acknowledged, and whether it is time: nothing but counting.

    at the end of a read                              then
    ---------------------------------------------     ---------------------------------------------------
    `messages` deliveries, or `bytes` of bodies       acknowledge all of them, now
    fewer, but some                                   `waiting`: a timer of the owner's acknowledges them
    none                                              nothing

Acknowledgements are cumulative: one frame for a hundred messages. What is not acknowledged is bounded by the channel's
prefetch, which is what the broker sends without one.
"""

from __future__ import annotations


class Acknowledgements:
    """Of one channel, from its first delivery.

    Args:
        messages: so many are acknowledged at the end of the read.
        bytes: likewise so many bytes of bodies.

    Attributes:
        tag: of the last delivery. The hot path adds to it and to `bytes` itself.
        bytes: of bodies since the last acknowledgement.
    """

    __slots__ = ("_acknowledged", "_most_bytes", "_most_messages", "bytes", "tag")

    def __init__(self, messages: int, bytes: int) -> None:  # noqa: A002
        self._most_messages, self._most_bytes = messages, bytes
        self._acknowledged = self.tag = self.bytes = 0

    @property
    def waiting(self) -> int:
        """Deliveries since the last acknowledgement."""
        return self.tag - self._acknowledged

    @property
    def due(self) -> bool:
        """Whether they should not wait for the timer."""
        return self.waiting >= self._most_messages or (self.bytes >= self._most_bytes and self.waiting > 0)

    def done(self) -> None:
        """Everything up to `tag` has been acknowledged."""
        self._acknowledged, self.bytes = self.tag, 0
