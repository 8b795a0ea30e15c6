"""Messages of one channel that were delivered and wait for their acknowledgement (AMQP 3.1.8, 1.8.3.12-16)."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from livepush.broker.embedded.refusal import PRECONDITION_FAILED, ChannelRefused

if TYPE_CHECKING:
    from livepush.broker.embedded.consumer import Consumer
    from livepush.broker.embedded.queue import Entry, Queue


class Unacked:
    """By delivery tag, in order. At `limit` there is no room: the channel's consumers wait."""

    __slots__ = ("_last", "_limit", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last = 0
        self._waiting: dict[int, tuple[Consumer | None, Queue, Entry]] = {}

    @property
    def room(self) -> bool:
        """Whether another may wait."""
        return len(self._waiting) < self._limit

    def next_tag(self) -> int:
        """A delivery tag for a message that needs no acknowledgement."""
        self._last += 1
        return self._last

    def add(self, consumer: Consumer | None, queue: Queue, entry: Entry) -> int:
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
        if multiple and tag == 0:
            tags = list(self._waiting)
        elif tag not in self._waiting:
            raise ChannelRefused(PRECONDITION_FAILED, f"unknown delivery tag {tag}")
        else:
            tags = list(takewhile(tag.__ge__, self._waiting)) if multiple else [tag]
        full = not self.room
        queues: dict[Queue, None] = {}
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
