"""Who publishes: a worker's backlog, and a relay over an outbox, each over a link that the schedule moves.

A `Sender` carries a backlog as the product's link does: it opens a channel, sends one copy at a time, and hands the
backlog the broker's answers. Whatever it holds is the product's: `Backlog` for a worker, `Relay` under `Relaying` for
the outbox, over an outbox that is a dict.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from django.db import OperationalError

from livepush.broker.backlog import Backlog, Bounds, Copy, Draft
from livepush.broker.errors import BacklogFull
from livepush.broker.lease import LeaseRow
from livepush.broker.relay import Relay, RelayBounds, Row
from livepush.django.errors import LeaseLost
from livepush.django.outbox import Outbox
from livepush.django.relaying import Relaying
from livepush.django.wakeup import Bell
from tests.unit.model.broker import Broker, Channel

BOUNDS = Bounds(messages=6, flight_messages=3)
RELAY_BOUNDS = RelayBounds(messages=8, flight_messages=3)


class Carried(Protocol):
    """What `Backlog` and `Relay` have in common."""

    def __len__(self) -> int: ...

    def opened(self) -> None: ...

    def lost(self) -> None: ...

    def refused(self, why: str) -> bool: ...

    def copies(self, ts: int, limit: int = 64) -> list[Copy]: ...

    def confirmed(self, tag: int, multiple: bool) -> bool: ...

    def nacked(self, tag: int, multiple: bool) -> bool: ...

    def returned(self, number: int) -> None: ...

    def expire(self, now: float) -> None: ...


@dataclass(slots=True, eq=False)
class Ticket:
    """A publication: its id when it got one."""

    id: str | None = None


class Sender:
    """Between a backlog and the broker.

    Args:
        name: as a publisher.
        carried: what is sent.
        broker: where to.
        now: the time in seconds.
    """

    def __init__(self, name: str, carried: Carried, broker: Broker, now: Callable[[], float]) -> None:
        self.name = name
        self.carried, self._broker, self._now = carried, broker, now
        self.channel: Channel | None = None

    def send(self) -> bool:
        """One step: opens a channel, or sends one copy. False: nothing to do, or nobody who listens."""
        if not self._broker.up or self._broker.alarm:
            return False
        self.carried.expire(self._now())
        if self.channel is None:
            self.channel = self._broker.open()
            self.carried.opened()
            return len(self.carried) > 0
        copies = self.carried.copies(int(self._now() * 1000), 1)
        for copy in copies:
            self._broker.publish(self.channel, copy)
        return bool(copies)

    def hear(self) -> bool:
        """One answer of the broker."""
        if self.channel is None or not self.channel.answers:
            return False
        what, value = self.channel.answers.popleft()
        if what == "ack":
            self.carried.confirmed(value, False)
        elif what == "return":
            self.carried.returned(value)
        elif what == "close":
            self.channel = None
            self.carried.refused("poison")
        elif self.carried.nacked(value, False):
            self.channel = None
        return True

    def cut(self) -> None:
        """The connection is lost."""
        self.channel = None
        self.carried.lost()


class Worker(Sender):
    """A worker process: what it commits is numbered at once."""

    def __init__(self, name: str, broker: Broker, now: Callable[[], float]) -> None:
        self.backlog: Backlog[Ticket] = Backlog(name, BOUNDS)
        super().__init__(name, self.backlog, broker, now)

    def commit(self, draft: Draft) -> str | None:
        """The commit hook. Returns the id; None: the backlog is full."""
        waiting = self.backlog.waiting(draft)
        if waiting is not None:
            return waiting.id
        ticket = Ticket()
        try:
            ticket.id = self.backlog.add(draft, ticket, self._now(), int(self._now() * 1000))
        except BacklogFull:
            return None
        return ticket.id


@dataclass(slots=True)
class Durable:
    """A row of the outbox."""

    key: str
    body: bytes
    channel: str
    number: int | None = None
    failed: bool = False


class Store(Outbox):
    """The outbox of a database that is a dict, with the statements that `Relaying` asks for.

    Attributes:
        down: every statement fails.
    """

    def __init__(self) -> None:
        super().__init__("default")
        self.rows: dict[int, Durable] = {}
        self.down = False
        self._keys = self._generation = 0
        self._next, self._holder, self._beats = 1, "", 0

    @property
    def database(self) -> str:
        """The name of a dict."""
        return "model"

    def insert(self, draft: Draft) -> int:
        """A commit. Returns the row's key."""
        self._keys += 1
        self.rows[self._keys] = Durable(draft.key, draft.body, draft.channel)
        return self._keys

    def lease(self) -> LeaseRow:
        self._check()
        return LeaseRow("outbox", self.database, self._next, self._generation, self._beats, self._holder)

    def take(self, seen: LeaseRow, holder: str) -> LeaseRow | None:
        self._check()
        if seen != self.lease():
            return None
        self._generation, self._holder, self._beats = self._generation + 1, holder, self._beats + 1
        return self.lease()

    def number(
        self, generation: int, limit: int, done: Sequence[int] = (), publisher: str = "", known: int = 1
    ) -> tuple[int, int]:
        self._check()
        if generation != self._generation:
            raise LeaseLost("another relay")
        self._beats += 1
        self.delete(publisher, done)
        waiting = [row for row in self.rows.values() if row.number is None and not row.failed][: max(0, limit)]
        for row in waiting:
            row.number, self._next = self._next, self._next + 1
        return len(waiting), self._next

    def load(self, after: int, limit: int) -> list[Row]:
        self._check()
        rows = sorted((row.number, row) for row in self.rows.values() if row.number is not None and row.number > after)
        found = rows[:limit]
        return [Row(number, row.key, row.body, row.channel, 0, void=row.failed) for number, row in found]

    def delete(self, publisher: str, numbers: Sequence[int]) -> None:
        for key, row in list(self.rows.items()):
            if row.number in numbers:
                if row.failed:
                    row.number = None
                else:
                    del self.rows[key]

    def mark_failed(self, publisher: str, number: int, why: str) -> None:
        self._check()
        for row in self.rows.values():
            row.failed = row.failed or row.number == number

    def close(self) -> None:
        """Nothing is open."""

    def lapse(self) -> None:
        """The holder has not been heard of for so long that anybody may take the lease."""
        self._holder = ""

    def _check(self) -> None:
        if self.down:
            raise OperationalError("down")


class _Silent(Bell):
    """Nobody waits for it, so it needs no sockets."""

    def __init__(self) -> None:
        """Nothing to open."""


class RelayProcess(Sender):
    """`manage.py livepush relay`, turn by turn."""

    def __init__(self, store: Store, broker: Broker, now: Callable[[], float]) -> None:
        self.relay = Relay(RELAY_BOUNDS)
        super().__init__("outbox", self.relay, broker, now)
        lock = threading.Lock()
        store.lapse()
        self._relaying = Relaying(store, self.relay, lock, _Silent(), "somebody", now)

    def turn(self) -> None:
        """Deletes, numbers, loads."""
        self._relaying.turn()
