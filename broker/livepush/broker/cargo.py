"""What a link carries to the broker, as the link sees it: a publisher's backlog, or what a relay holds of an outbox."""

from __future__ import annotations

from typing import Protocol

from livepush.broker.backlog import Copy


class Cargo(Protocol):
    """Touched only with the link's lock held. What each part means to whom it belongs, `backlog` and `relay` say."""

    def __len__(self) -> int:
        """Messages that wait."""

    @property
    def sendable(self) -> bool:
        """Whether there is something to send now."""

    @property
    def expires(self) -> float | None:
        """When `expire` has something to do next; monotonic seconds."""

    def expire(self, now: float) -> None:
        """That time may have come."""

    def opened(self) -> None:
        """A channel in confirm mode is there."""

    def lost(self) -> None:
        """It is gone: nothing is sent until `opened`."""

    def copies(self, ts: int) -> list[Copy]:
        """What is to be published now, in this order; none: nothing more. `ts`: milliseconds since 1970."""

    def confirmed(self, tag: int, multiple: bool) -> bool:
        """basic.ack; whether anything was waiting for it."""

    def nacked(self, tag: int, multiple: bool) -> bool:
        """basic.nack; whether the channel is to be opened anew."""

    def returned(self, number: int) -> None:
        """basic.return of the message with this number."""

    def refused(self, why: str) -> bool:
        """The broker closed the channel because of a message; whether this led on to which."""
