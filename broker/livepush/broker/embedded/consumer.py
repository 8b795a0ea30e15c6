"""A consumer: how messages of one queue become deliveries on one channel."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pika.spec import Basic

from livepush.broker.embedded.framing import END, METHOD, content_frames, pack_head

if TYPE_CHECKING:
    from livepush.broker.embedded.channel import Channel
    from livepush.broker.embedded.queue import Entry
    from livepush.broker.embedded.stream import AnyQueue

_TAG = struct.Struct(">QB")


class Consumer:
    """It takes messages while its client reads and fewer than `prefetch` of them are unacknowledged.

    Attributes:
        prefetch: messages; 0 is only the bound of the channel. Nothing is counted without acknowledgements.
        outstanding: messages delivered and not acknowledged.
    """

    __slots__ = ("_channel", "_connection", "_prefix", "acks", "exclusive", "outstanding", "prefetch", "queue", "tag")

    def __init__(
        self, channel: Channel, tag: str, queue: AnyQueue, *, acks: bool, exclusive: bool, prefetch: int
    ) -> None:
        self._channel, self._connection = channel, channel.connection
        self.tag, self.queue, self.acks, self.exclusive = tag, queue, acks, exclusive
        self.prefetch = prefetch
        self.outstanding = 0
        name = tag.encode()
        self._prefix = struct.pack(">IB", Basic.Deliver.INDEX, len(name)) + name

    @property
    def ready(self) -> bool:
        """Whether it can take a message now."""
        if self._connection.deaf:
            return False
        if not self.acks:
            return True
        return (not self.prefetch or self.outstanding < self.prefetch) and self._channel.unacked.room

    def deliver(self, queue: AnyQueue, entry: Entry) -> None:
        """One message, as method, header and body frames in one piece."""
        channel, message = self._channel, entry.message
        tag = channel.unacked.add(self, queue, entry) if self.acks else channel.unacked.next_tag()
        method = b"".join((self._prefix, _TAG.pack(tag, entry.redelivered), message.address))
        number, largest = channel.number, self._connection.frame_bytes
        content = content_frames(number, message.header, message.body, largest)
        self._connection.send(b"".join((pack_head(METHOD, number, len(method)), method, END, content)))
        if not self.acks:
            queue.settle(entry)

    def cancelled(self) -> None:
        """Its queue is gone: the client is told if it wants to hear that (RabbitMQ's consumer_cancel_notify)."""
        self._channel.forget(self)
        if self._connection.hears_cancels:
            self._channel.reply(Basic.Cancel(self.tag, nowait=True))
