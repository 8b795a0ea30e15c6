"""One consumer of a feed's: its channel, who takes what it brings, and what of it is to be acknowledged.

A feed has two, its own queue and the log. They are acknowledged each for itself: a record of the log that may wait is
no reason for the queue to.
"""

from __future__ import annotations

from collections.abc import Callable

from livepush.broker.acknowledgements import Acknowledgements
from livepush.broker.channel import Channel
from livepush.broker.feedsettings import FeedSettings

Take = Callable[[bytes, bytes], None]
"""Gets a message: its properties as they stand in the content header, and its body."""


class Source:
    """A consumer.

    Args:
        settings: when to acknowledge.
        channel: its own.
        take: gets what Django wrote.
        take_foreign: gets what others may have written; None: nothing does.
    """

    __slots__ = ("_acknowledgements", "_channel", "_take", "_take_foreign")

    def __init__(self, settings: FeedSettings, channel: Channel, take: Take, take_foreign: Take | None) -> None:
        self._channel = channel
        self._take: Take | None = take
        self._take_foreign = take_foreign
        self._acknowledgements = Acknowledgements(settings.ack_messages, settings.unacked_bytes)

    def deliver(self, tag: int, raw: bytes, body: bytes) -> None:
        """One message, from its properties and body to the sink. Whatever it holds, the feed goes on."""
        acknowledgements = self._acknowledgements
        acknowledgements.tag = tag
        acknowledgements.bytes += len(body)
        if self._take is not None:
            self._take(raw, body)

    def deliver_foreign(self, tag: int, raw: bytes, body: bytes) -> None:
        """One that Django has not written, whatever it says it is."""
        self._acknowledgements.tag = tag
        self._acknowledgements.bytes += len(body)
        if self._take_foreign is not None:
            self._take_foreign(raw, body)

    def acknowledge(self, *, late: bool) -> bool:
        """At the end of a read, or late: what has waited too. Returns whether something is left for later."""
        acknowledgements = self._acknowledgements
        if not acknowledgements.waiting:
            return False
        if not late and not acknowledgements.due:
            return True
        if self._channel.acknowledge(acknowledgements.tag):
            acknowledgements.done()
        return False

    def close(self) -> None:
        """What still comes is not taken."""
        self._take = self._take_foreign = None
        self._channel.close()
