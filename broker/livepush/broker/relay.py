"""An outbox's rows between their number in the database and the broker's confirm, without I/O or clock.

    begin(...)        the lease was taken           opened(), copies()            as of `backlog`: a `Link` carries it
    load(rows)        rows that have a number       confirmed(), returned() ...   what the broker answered
    take_done()       confirmed: to be deleted      refused_row                   to be written down before its void

A backlog gives numbers when a message comes; here the database has given them, in a transaction fenced by the lease,
before the row is loaded. So whoever sends a row, a successor or a second relay alive by mistake, sends it under the
same number, and a receiver drops what it has. What follows from that:

- `low` is the lowest number whose row is not deleted: a successor knows no better.
- `sending` counts the openings of the channel above the lease's generation, so that no two copies are alike, whoever
  sent them.
- Retry is go-back-N, and after a refusal one copy is in flight until the culprit is known, as in `backlog`.
- What is refused for good is first marked in the database, then its number goes out as an empty `void`: a successor
  must not send the event under a number that the log has as a void.
- A copy that comes back was kept by nobody, the log included. The row waits: nothing behind it is sent, and it is tried
  again, alone, each second. A publisher without an outbox fails such an event, because its process can't keep it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from livepush.broker.backlog import Copy
from livepush.broker.envelope import Kind, Stamp
from livepush.broker.flight import Flight
from livepush.broker.names import VOID_KEY

OPENINGS = 2**24
"""More than a relay opens channels in its life; with generations below 2^39 a `sending` stays below 2^63."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event of the outbox that has a number.

    Attributes:
        key: routing key.
        body: as the envelope encodes it.
        channel: for words to people.
        ts: when Django published it, milliseconds since 1970.
        void: the event can't be published, its number can.
    """

    number: int
    key: str
    body: bytes
    channel: str
    ts: int
    void: bool = False


class Refusal(NamedTuple):
    """A row that the broker refuses for good."""

    row: Row
    why: str


@dataclass(frozen=True, slots=True)
class RelayBounds:
    """How much is held, and how much of it may be in flight.

    Attributes:
        messages, bytes: loaded rows, those that wait for their deletion counted; over either, none is loaded.
        flight_messages, flight_bytes: sent and not answered. A row that is larger by itself is in flight alone.
        pause_seconds: between two tries of a row that comes back.
    """

    messages: int = 1024
    bytes: int = 8 * 2**20
    flight_messages: int = 512
    flight_bytes: int = 2**20
    pause_seconds: float = 1.0


@dataclass(slots=True, eq=False)
class _Entry:
    row: Row
    size: int = field(init=False)
    done: bool = False
    returned: bool = False

    def __post_init__(self) -> None:
        self.size = len(self.row.key) + len(self.row.body)


class Relay:
    """What one relay holds of an outbox. Not thread-safe. A `Link` carries it as it carries a `Backlog`."""

    def __init__(self, bounds: RelayBounds = RelayBounds()) -> None:
        self.bounds = bounds
        self.publisher = ""
        self.bytes = 0
        self.highest = 0
        """The highest number loaded; numbers are given in order, so below it nothing can appear any more."""
        self.refused_row: Refusal | None = None
        """To be marked in the database, then `voided`; nothing is sent before."""
        self._generation = 0
        self._openings = 0
        self._open = False
        self._rows: dict[int, _Entry] = {}  # by number, ascending; deleted rows leave it
        self._due: deque[_Entry] = deque()  # ascending
        self._done: list[int] = []
        self._flight: Flight[_Entry] = Flight()
        self._careful_to = 0
        self._retry: float | None = None  # monotonic; a row has come back, until then nothing is sent
        self._probing = False
        self._now = 0.0
        self._news = False

    # -- the database's side -------------------------------------------------------------------------------------------

    def begin(self, publisher: str, generation: int) -> None:
        """The lease is taken, or lost (generation 0): what was held before is forgotten.

        Args:
            publisher: the outbox's id.
            generation: the lease's.
        """
        self.publisher, self._generation = publisher, generation
        self.highest = self._careful_to = self.bytes = 0
        self.refused_row, self._retry, self._probing = None, None, False
        self._rows.clear()
        self._due.clear()
        self._done.clear()
        self._flight.clear()

    @property
    def room(self) -> int:
        """How many rows may be loaded."""
        return 0 if self.bytes >= self.bounds.bytes else max(0, self.bounds.messages - len(self._rows))

    def load(self, rows: Iterable[Row]) -> None:
        """Takes rows, in the order of their numbers, each above `highest`; all below them that exist are loaded."""
        for row in rows:
            entry = _Entry(_empty(row) if row.void else row)
            self._rows[row.number] = entry
            self._due.append(entry)
            self.highest = row.number
            self.bytes += entry.size

    def take_done(self) -> list[int]:
        """Numbers of rows that the broker has: to be deleted, then `forget`. What is not forgotten comes again."""
        return list(self._done)

    def forget(self, numbers: Iterable[int]) -> None:
        """These rows are deleted."""
        for number in numbers:
            entry = self._rows.pop(number)
            self.bytes -= entry.size
        self._done = [number for number in self._done if number in self._rows]

    def voided(self) -> None:
        """The refused row is marked in the database: its number may go out."""
        if self.refused_row is not None:
            entry = self._rows[self.refused_row.row.number]
            self.bytes -= entry.size
            entry.row = _empty(entry.row)
            entry.size = len(entry.row.key) + len(entry.row.body)
            self.bytes += entry.size
            self.refused_row = None

    def take_news(self) -> bool:
        """Whether something was confirmed, refused or returned since the last call."""
        news, self._news = self._news, False
        return news

    @property
    def flying(self) -> int:
        """Copies sent and not answered."""
        return len(self._flight)

    @property
    def returned_row(self) -> Row | None:
        """The row that comes back, if one does."""
        return next((entry.row for entry in self._due if entry.returned), None)

    # -- the link's side -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Rows held and not confirmed."""
        return len(self._rows) - len(self._done)

    @property
    def low(self) -> int:
        """The lowest number whose row is not deleted, or the one above the highest loaded."""
        return next(iter(self._rows), self.highest + 1)

    @property
    def sending(self) -> int:
        """The number of this opening of the channel, which no other relay of this outbox has used."""
        return self._generation * OPENINGS + self._openings

    @property
    def careful(self) -> bool:
        """Whether a culprit is being looked for, or one that came back is tried."""
        return self._probing or self._careful_to > 0

    @property
    def sendable(self) -> bool:
        """Whether there is something to send and room for it in flight."""
        if not self._open or not self._due or self.refused_row is not None or self._retry is not None:
            return False
        limit = 1 if self.careful else self.bounds.flight_messages
        return len(self._flight) < limit and self._flight.bytes < self.bounds.flight_bytes

    @property
    def expires(self) -> float | None:
        """When `expire` has something to do next."""
        return self._retry

    def expire(self, now: float) -> None:
        """Ends the pause after a return. `now`: monotonic seconds."""
        self._now = now
        if self._retry is not None and now >= self._retry:
            self._retry = None

    def opened(self) -> None:
        """A new channel is open, in confirm mode: sending begins again with the lowest number not confirmed."""
        self.lost()
        self._open = True
        self._openings += 1
        self._flight.begin()

    def copies(self, ts: int, limit: int = 64) -> list[Copy]:
        """What is to be published now on the channel that is open; the order gives the delivery tags.

        Args:
            ts: not used; a row has its own time.
            limit: at most so many; call again until it returns none.
        """
        copies: list[Copy] = []
        while len(copies) < limit and self.sendable:
            entry = self._due.popleft()
            entry.returned = False
            row = entry.row
            self._flight.send(entry)
            stamp = Stamp(self.publisher, row.number, self.low, self.sending)
            copies.append(Copy(Kind.VOID if row.void else Kind.EVENT, row.key, row.body, row.ts, stamp))
        return copies

    def confirmed(self, tag: int, multiple: bool) -> bool:
        """The broker has answered for what was sent under this tag (basic.ack); `multiple`: and all before it.

        Returns:
            Whether anything is in the log now that was waiting for that.
        """
        progress = False
        for entry in self._flight.answered(tag, multiple):
            if entry.returned:
                self._back(entry)
                self._news = True
            elif not entry.done:
                entry.done = progress = True
                self._done.append(entry.row.number)
        if progress:
            self._news = True
            self._probing = self._retry is not None
            lowest = next((number for number, entry in self._rows.items() if not entry.done), self.highest + 1)
            if self._careful_to < lowest:
                self._careful_to = 0
        return progress

    def nacked(self, tag: int, multiple: bool) -> bool:
        """The broker could not keep it (basic.nack).

        Returns:
            Whether anything was waiting for that: then sending has stopped, and the channel is to be opened anew.
        """
        again = bool(self._flight.answered(tag, multiple))
        if again:
            self.lost()
        return again

    def returned(self, number: int) -> None:
        """No queue took the copy of this number (basic.return); its confirm follows."""
        if number in self._rows:
            self._rows[number].returned = True

    def lost(self) -> None:
        """The channel is gone: nothing is sent until `opened`, then all that is not confirmed."""
        self._stop()

    def refused(self, why: str) -> bool:
        """The broker closed the channel because of something that was sent on it.

        Args:
            why: the broker's words.

        Returns:
            Whether this led on. It did not when nothing was in flight or the culprit is a void already: then the
            broker refuses this publisher, not a row.
        """
        flight = self._stop()
        if len(flight) != 1:
            self._careful_to = max([self._careful_to, *(entry.row.number for entry in flight)])
            return bool(flight)
        if flight[0].row.void:
            return False
        self.refused_row, self._news = Refusal(flight[0].row, why), True
        return True

    # -- within --------------------------------------------------------------------------------------------------------

    def _stop(self) -> list[_Entry]:
        """Sends nothing until `opened`; what was in flight."""
        self._open, self._retry = False, None
        flight = self._flight.clear()
        self._due = deque(entry for entry in self._rows.values() if not entry.done)
        for entry in self._due:
            entry.returned = False
        return flight

    def _back(self, entry: _Entry) -> None:
        """It was kept by nobody: it goes before all that waits, after a pause."""
        entry.returned = True
        waiting = [*self._due, entry]
        waiting.sort(key=lambda each: each.row.number)
        self._due = deque(waiting)
        self._retry = self._now + self.bounds.pause_seconds
        self._probing = True


def _empty(row: Row) -> Row:
    return Row(row.number, VOID_KEY, b"{}", row.channel, row.ts, void=True)
