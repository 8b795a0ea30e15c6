"""What this process has released and where: the ring, the positions of its entries, and what a position is answered.

    a position of            is answered with
    ---------------------    ---------------------------------------------------------------------------------------
    this process             what has a higher feed index: exact
    another process,         `WAIT`: the log reader has not come so far yet. Ask again after the next flush, for 5 s at
      offset not read yet      most; then it is a `resync`
    another process,         every entry whose offset is greater or not known yet, in feed order, but those that the
      offset and check         position names (`leads`): what the other process had released up to there is not among
      known                    them, all else is
    anything else            why it can't be answered: `trimmed`, `restart`, `hole`, `publisher` or `slow`

A position vouches: up to its offset everything was ingested and released by whoever issued it. It is fixed when an
entry is released and stays with it. What is handed out as "now" has the newest feed index.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, Protocol

from livepush.broker.envelope import Event
from livepush.broker.logindex import Mark
from livepush.daemon.leads import Leads
from livepush.daemon.position import Position, format_position
from livepush.daemon.ring import Entry, Ring, RingSettings
from livepush.daemon.versions import Versions, conflate


class LogLike(Protocol):
    """What a history asks of the log index; see `livepush.broker.logindex.LogIndex`."""

    first: int
    last: int

    @property
    def reached(self) -> Mark:
        """Up to and including it everything was ingested and released here."""

    def check_at(self, offset: int) -> str | None:
        """Which copy stands there; None: not read, or not remembered any more."""


class Wait(Enum):
    """The one answer that is none yet."""

    WAIT = "wait"


WAIT: Final = Wait.WAIT
Answer = list[Entry] | str | Literal[Wait.WAIT]
"""The entries that follow, oldest first; or why they can't be told completely (the word on the wire); or `WAIT`."""


class History:
    """The past of this process.

    Args:
        settings: bounds of the ring.
        log: what has been read of the log. It is up to date before anything of it is released here.
        nonce: of this process, 1-32 of [A-Za-z0-9_-], new at each start.

    Attributes:
        index: the feed index of the newest entry.
    """

    def __init__(self, settings: RingSettings, log: LogLike, nonce: str) -> None:
        self.nonce = nonce
        self.index = 0
        self.ring = Ring(settings)
        self._log = log
        self._versions = Versions()
        self._leads = Leads()

    # -- what is released ----------------------------------------------------------------------------------------------

    def event(self, event: Event, id: str, ts: int, size: int, offset: int | None, now: float) -> Entry | None:  # noqa: A002 - the word of the wire
        """A logged event is released.

        Args:
            event: what happened.
            id: on the wire.
            ts: when Django published it, milliseconds.
            size: bytes of its body.
            offset: where it stands in the log; None: that comes by `located`.
            now: the time.

        Returns:
            Its entry, whose `position` every frame of it carries; None: a newer version of the same was released
            before, and nobody is to get this one.
        """
        self._leads.note(id, offset)  # also of what nobody gets: a newer version stands for it
        if event.version is not None:
            if self._versions.is_stale(event):
                return None
            self._versions.note(event)
        self.index += 1
        entry = Entry(self.index, event, id, ts, size, now, "", offset, self.position())
        self.ring.append(event.channel, entry, self._log.last)
        return entry

    def resync(self, channel: str | None, why: str, offset: int | None, id: str | None, now: float) -> Entry:  # noqa: A002
        """Events of a channel, None: of any, may be missing at this place.

        Args:
            channel: which one.
            why: the word on the wire.
            offset: of the record that says so or that stands behind; None: that comes by `located`.
            id: of that record.
            now: the time.

        Returns:
            Its entry, whose `position` the `resync` carries.
        """
        self.index += 1
        entry = Entry(self.index, None, id, 0, 0, now, why, offset, self.position())
        if channel is None:
            self.ring.lose(entry)
        else:
            self.ring.append(channel, entry, self._log.last)
        return entry

    def located(self, id: str, offset: int) -> None:  # noqa: A002
        """The log's copy of something released before has been met."""
        self._leads.located(id, offset)
        self.ring.located(id, offset)

    def start_over(self, why: str) -> str:
        """The log is another one: nothing is kept, and positions of before are answered with `why`.

        Returns:
            The position that the `resync` of all channels carries.
        """
        self.index += 1
        self.ring.clear(self.index, why)
        self._versions.clear()
        self._leads.clear()
        return self.position()

    def is_stale(self, event: Event) -> bool:
        """Whether a newer version of the same was released: asked for `live` events, which are not kept here."""
        return event.version is not None and self._versions.is_stale(event)

    def trim(self, now: float) -> None:
        """Drops what is over the bounds; to be called every few seconds."""
        self.ring.trim(now, self._log.last)

    # -- what is asked -------------------------------------------------------------------------------------------------

    def position(self) -> str:
        """The position of whoever has got everything so far."""
        mark = self._log.reached
        return format_position(self.nonce, self.index, mark, self._leads.text(mark.offset))

    def since(self, channel: str, position: Position | None) -> Answer:
        """What followed a position on a channel.

        Args:
            channel: which one.
            position: as the client gave it; None: it could not be read.
        """
        if position is None:
            return "trimmed"
        if position.nonce == self.nonce:
            return self.after(channel, position.index)
        offset, log = position.mark.offset, self._log
        if offset < 0:
            return "trimmed"  # from before any record: nothing tells what it had
        if offset > log.last:
            return WAIT
        if offset < log.first:
            return "trimmed"
        if log.check_at(offset) != position.mark.check:
            return "restart"
        entries, why = self.ring.since_offset(channel, offset)
        return why or _unseen(conflate(entries), position)

    def after(self, channel: str, index: int) -> list[Entry] | str:
        """What followed a feed index of this process on a channel."""
        if index > self.index:
            return "restart"  # no position that this process ever issued
        entries, why = self.ring.since(channel, index)
        return why or conflate(entries)


def _unseen(entries: list[Entry], position: Position) -> list[Entry]:
    """Those that a client with this position, of another process, has not got yet."""
    led = position.led()
    if not led:
        return entries
    unseen = []
    for entry in entries:
        publisher, _, number = (entry.id or "").rpartition("-")
        if publisher not in led or int(number) > led[publisher]:
            unseen.append(entry)
    return unseen
