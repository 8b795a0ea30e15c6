"""What was sent on a channel in confirm mode and has no answer yet, by delivery tag; without I/O or clock.

A channel counts what is published on it: 1, 2, 3 ... (the confirms that RabbitMQ adds to AMQP 0-9-1). The broker
answers for one tag, or with `multiple` for all up to it; 0 stands for all. So whoever sends keeps the order of what it
sent, and nothing of the messages themselves has to be looked at.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What can be sent."""

    @property
    def size(self) -> int:
        """Bytes. It does not change while it is in flight."""


S = TypeVar("S", bound=Sized)


class Flight(Generic[S]):
    """Not thread-safe. It has no bound of its own: who sends asks `len` and `bytes` first.

    Attributes:
        bytes: of all that is in flight.
    """

    __slots__ = ("_oldest", "_sent", "_tag", "bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self._sent: dict[int, S] = {}
        self._tag = 0  # the last that was given
        self._oldest = 1  # no tag below it is in flight

    def __len__(self) -> int:
        return len(self._sent)

    def begin(self) -> None:
        """A channel was opened: its tags begin with 1, and what an earlier one carried is not awaited any more."""
        self.clear()
        self._tag, self._oldest = 0, 1

    def send(self, message: S) -> None:
        """It is the next that is published on the channel."""
        self._tag += 1
        self._sent[self._tag] = message
        self.bytes += message.size

    def answered(self, tag: int, multiple: bool) -> list[S]:
        """Takes out what an answer of the broker is about, in the order of sending; unknown tags are nothing's."""
        if not multiple:
            message = self._sent.pop(tag, None)
            messages = [] if message is None else [message]
        else:
            messages = []
            last = self._tag if tag == 0 else min(tag, self._tag)
            while self._oldest <= last:
                message = self._sent.pop(self._oldest, None)
                self._oldest += 1
                if message is not None:
                    messages.append(message)
        for message in messages:
            self.bytes -= message.size
        return messages

    def clear(self) -> list[S]:
        """The channel is gone: all that was in flight, in the order of sending, and nothing is awaited any more."""
        left = list(self._sent.values())
        self._sent.clear()
        self.bytes = 0
        return left
