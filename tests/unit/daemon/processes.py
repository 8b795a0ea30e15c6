"""A log, and processes that read it: each the real intake and hub, fed copy by copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pika
from twisted.internet.task import Clock

from livepush.broker.envelope import Control, Event, Kind, Stamp, encode_control, encode_event, headers_of
from livepush.broker.intake import OFFSET, Intake
from tests.unit.daemon.doubles import make_hub


@dataclass(frozen=True, slots=True)
class Copy:
    """One sending of a numbered message."""

    stamp: Stamp
    kind: Kind
    body: bytes

    def raw(self, offset: int | None) -> bytes:
        """Its properties, out of the log or a queue."""
        headers = dict(headers_of(self.kind, 1000, self.stamp))
        if offset is not None:
            headers[OFFSET] = offset
        names: dict[str, Any] = {
            "type": self.kind.value,
            "app_id": self.stamp.publisher,
            "message_id": str(self.stamp.number),
        }
        return b"".join(pika.BasicProperties(**names, headers=headers).encode())


def event(
    publisher: str, number: int, channel: str = "orders", low: int | None = None, sending: int = 1, **more: Any
) -> Copy:
    """An event; all below its number, or `low`, is confirmed."""
    stamp = Stamp(publisher, number, number if low is None else low, sending)
    return Copy(stamp, Kind.EVENT, encode_event(Event(channel, "done", {"n": number}, **more)))


def control(publisher: str, number: int, user: str | None = "7", low: int | None = None) -> Copy:
    """What Django knows of a user, by default of number 7, may have changed."""
    stamp = Stamp(publisher, number, number if low is None else low, 1)
    return Copy(stamp, Kind.CONTROL, encode_control(Control("identity", user)))


class Process:
    """One daemon process, as far as its core goes.

    Args:
        log: what all processes read; grows.
        nonce: of its positions.
        clock: the time.
    """

    def __init__(self, log: list[Copy], nonce: str = "me", clock: Clock | None = None) -> None:
        self.log, self.clock = log, clock or Clock()
        self.hub = make_hub(self.clock, nonce=nonce)
        self.intake = Intake(self.hub, self.clock)
        self.hub.follow(self.intake.log)
        self._next = 0

    def queued(self, *copies: Copy) -> None:
        """One read of its own queue."""
        for copy in copies:
            self.intake.take_queued(copy.raw(None), copy.body)
        self.intake.end_read()

    def read(self, count: int = 1_000) -> None:
        """One read of the log, so many records at most."""
        for offset, copy in list(enumerate(self.log))[self._next :][:count]:
            self.intake.take_logged(copy.raw(offset), copy.body)
            self._next = offset + 1
        self.intake.end_read()

    def reconnect(self) -> None:
        """The connection is lost and there again: the log is read from the last record on, which is met once more."""
        self._next = self.intake.log.last
        self.intake.expect(self._next)

    def advance(self, seconds: float) -> None:
        """Time passes, second by second."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.intake.tick()
