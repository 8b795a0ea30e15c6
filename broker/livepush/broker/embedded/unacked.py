"""Messages of one channel that were delivered and wait for their acknowledgement (AMQP 3.1.8, 1.8.3.12-16)."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from livepush.broker.embedded.refusal import PRECONDITION_FAILED, ChannelRefused

if TYPE_CHECKING:
    from livepush.broker.embedded.consumer import Consumer
    from livepush.broker.embedded.queue import Entry
    from livepush.broker.embedded.stream import AnyQueue


class Unacked:
    """By delivery tag, in order. At `limit` there is no room: the channel's consumers wait."""

    __slots__ = ("_last", "_limit", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last = 0
        self._waiting: dict[int, tuple[Consumer | None, AnyQueue, Entry]] = {}

    @property
    def room(self) -> bool:
        """Whether another may wait."""
        return len(self._waiting) < self._limit

    def next_tag(self) -> int:
        """A delivery tag for a message that needs no acknowledgement."""
        self._last += 1
        return self._last

    def add(self, consumer: Consumer | None, queue: AnyQueue, entry: Entry) -> int:
        """A delivery tag for one that does; no consumer: it was fetched by `basic.get`."""
        tag = self.next_tag()
        self._waiting[tag] = (consumer, queue, entry)
        if consumer is not None:
            consumer.outstanding += 1
        return tag

    def settle(self, tag: int, *, multiple: bool, requeue: bool) -> bool:
        """One, or with `multiple` all up to it (0: all), is done with or goes back to its queue.

        Returns:
            Whether there was no room before: other consumers of the channel may have waited.

        Raises:
            ChannelRefused: 406, no message waits with this tag.
        """
        tags = self._tags(tag, multiple)
        full = not self.room
        queues: dict[AnyQueue, None] = {}
        for one in reversed(tags):  # backwards: each finds its place at the front of its queue
            consumer, queue, entry = self._waiting.pop(one)
            if consumer is not None:
                consumer.outstanding -= 1
            if requeue:
                queue.give_back(entry)
            else:
                queue.settle(entry)
            queues[queue] = None
        for queue in queues:
            queue.pump()
        return full

    def check_reject(self, tag: int, *, multiple: bool) -> None:
        """Sees that these came out of queues that take messages back.

        Raises:
            ChannelRefused: 406, no message waits with this tag.
            ConnectionRefused: 540, one of them is a stream.
        """
        for one in self._tags(tag, multiple):
            self._waiting[one][1].check_reject()

    def _tags(self, tag: int, multiple: bool) -> list[int]:
        if multiple and tag == 0:
            return list(self._waiting)
        if tag not in self._waiting:
            raise ChannelRefused(PRECONDITION_FAILED, f"unknown delivery tag {tag}")
        return list(takewhile(tag.__ge__, self._waiting)) if multiple else [tag]
