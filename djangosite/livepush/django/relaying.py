"""The relay: a process that takes the outbox's rows to the broker. `manage.py livepush relay`.

    turn      1. without the lease: looks whether it may be taken
              2. one transaction: a beat of the lease, deletion of what is confirmed, numbers for what waits
              3. loads rows that have a number; the link, a thread of its own, sends them
    between   sleeps until rows are confirmed, somebody commits a durable event, it is told to stop, or a second is over

All statements run in the caller's thread. A database that is gone is waited for: what the broker has confirmed
meanwhile stays in memory and is deleted when the database is back, or is sent again, under the same numbers, by whoever
comes next.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from django.db import Error

from livepush.broker.errors import Refused
from livepush.broker.lease import BEAT_SECONDS, LeaseRow, Watch
from livepush.broker.noise import Noise
from livepush.broker.relay import Relay, Row
from livepush.django.errors import ForeignIdentity, LeaseLost, NumbersWentBack
from livepush.django.outbox import Outbox
from livepush.django.publication import Publication, failures
from livepush.django.signals import publication_failed
from livepush.django.wakeup import Bell

NUMBER = 512
"""The most rows that one transaction numbers."""
LOAD = 128
"""The most rows that one statement reads: with the largest bodies 32 MiB."""
GOODBYE_SECONDS = 2.0

_log = logging.getLogger("livepush")


class Carrier(Protocol):
    """The way to the broker: a `Link` over the relay's rows."""

    def needs_waking(self) -> bool: ...

    def wake(self) -> None: ...

    def end(self, timeout: float, /) -> None: ...


class Relaying:
    """One relay of one outbox, until it is told to stop.

    Args:
        outbox: whose rows.
        relay: what is held of them; the carrier's backlog.
        lock: guards `relay`, which the carrier's thread uses, too.
        bell: rung by the carrier when the broker has answered, and by whoever has news.
        holder: words for people, such as host and process.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        outbox: Outbox,
        relay: Relay,
        lock: threading.Lock,
        bell: Bell,
        holder: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._relay, self._lock, self._bell = outbox, relay, lock, bell
        self._holder, self._clock = holder, clock
        self._watch = Watch()
        self._generation = 0  # of the lease that is held; 0: none is
        self._known = ("", 1)  # publisher and next number, as far as this relay has seen them
        self._unread = False  # whether rows with a number may be there that are not loaded
        self._stopping = False
        self._noise = Noise()
        self._down = False

    @property
    def holds(self) -> bool:
        """Whether it has the lease, as far as it knows."""
        return self._generation > 0

    def stop(self) -> None:
        """Ends `run` soon. For signal handlers, too."""
        self._stopping = True
        self._bell.ring()

    def run(self, carrier: Carrier) -> None:
        """Relays until `stop`.

        Raises:
            OutboxMissing: the tables are not there.
            ForeignIdentity: the outbox bears another database's name.
        """
        try:
            while not self._stopping:
                more = self.turn()
                with self._lock:
                    waiting = carrier.needs_waking()
                if waiting:
                    carrier.wake()
                if not more:
                    self._bell.wait(BEAT_SECONDS)
            self._await_confirms()
        finally:
            carrier.end(GOODBYE_SECONDS)
        self._finish()

    def turn(self) -> bool:
        """One turn; a database that fails is told once a minute and waited for.

        Returns:
            Whether there is more to do at once.

        Raises:
            OutboxMissing, ForeignIdentity: as `run`.
        """
        try:
            more = self._work() if self._generation or self._take_lease() else False
        except LeaseLost:
            _log.warning("livepush: another relay has taken the lease of the outbox in %r", self._outbox.alias)
            self._begin("", 0)
            return False
        except NumbersWentBack:
            self._begin("", 0)
            return True
        except Error as error:
            self._complain("database", f"the database {self._outbox.alias!r} fails: {_first_line(error)}; rows wait")
            self._down = True
            self._outbox.close()
            return False
        if self._down:
            self._down = False
            _log.info("livepush: the database %r is back", self._outbox.alias)
        self._tell_returned()
        return more

    # -- the lease -----------------------------------------------------------------------------------------------------

    def _take_lease(self) -> bool:
        seen = self._outbox.lease()
        if seen.database != self._outbox.database:
            raise ForeignIdentity(self._outbox.alias, seen.database, self._outbox.database)
        publisher, known = self._known
        if seen.publisher == publisher and seen.next < known:
            self._renew(seen, known)
            return False
        if not self._watch.may_take(seen, self._clock()):
            self._complain("lease", f"{seen.holder} relays the outbox in {self._outbox.alias!r}; standing by")
            return False
        held = self._outbox.take(seen, self._holder)
        if held is None:
            return False
        _log.info(
            "livepush: relaying the outbox in %r as publisher %s (lease %d)",
            self._outbox.alias,
            held.publisher,
            held.generation,
        )
        self._known = (held.publisher, held.next)
        self._begin(held.publisher, held.generation)
        return True

    def _renew(self, seen: LeaseRow, known: int) -> None:
        """The numbers from here on have been used already, by rows that the database does not know any more."""
        publisher = self._outbox.new_identity(seen)
        if publisher is not None:
            _log.error(
                "livepush: the outbox in %r went back from number %d to %d, as after a restore or a failover; "
                "it publishes as %s from now on",
                self._outbox.alias,
                known,
                seen.next,
                publisher,
            )

    def _begin(self, publisher: str, generation: int) -> None:
        self._generation, self._unread = generation, generation > 0
        self._watch = Watch()
        with self._lock:
            self._relay.begin(publisher, generation)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _work(self) -> bool:
        self._mark_refused()
        with self._lock:
            done, limit = self._relay.take_done(), min(NUMBER, self._relay.room)
        publisher, known = self._known
        numbered, known = self._outbox.number(self._generation, limit, done, publisher, known)
        self._known = (publisher, known)
        with self._lock:
            self._relay.forget(done)
        if numbered:
            self._unread = True
        while self._unread and self._load():
            pass
        with self._lock:
            return numbered == limit > 0 and self._relay.room > 0

    def _load(self) -> bool:
        """Reads some rows; whether there may be more that have room."""
        with self._lock:
            after, limit = self._relay.highest, min(LOAD, self._relay.room)
        if not limit:
            return False
        rows = self._outbox.load(after, limit)
        self._unread = len(rows) == limit
        with self._lock:
            self._relay.load(rows)
        return self._unread

    def _mark_refused(self) -> None:
        with self._lock:
            refusal = self._relay.refused_row
        if refusal is None:
            return
        row, why = refusal
        self._outbox.mark_failed(self._relay.publisher, row.number, why)
        with self._lock:
            self._relay.voided()
        self._tell_failed(row, why)

    # -- the end, and words --------------------------------------------------------------------------------------------

    def _await_confirms(self) -> None:
        deadline = self._clock() + GOODBYE_SECONDS
        while (left := deadline - self._clock()) > 0 and self._in_flight():
            self._bell.wait(left)

    def _finish(self) -> None:
        """Deletes what was confirmed last and gives the lease back."""
        if self._generation:
            try:
                with self._lock:
                    done = self._relay.take_done()
                self._outbox.number(self._generation, 0, done, self._relay.publisher)
                self._outbox.give_back(self._generation)
            except (Error, LeaseLost) as error:
                _log.warning("livepush: the lease was not given back: %s", _first_line(error))
        self._outbox.close()
        _log.info("livepush: the relay of the outbox in %r has ended", self._outbox.alias)

    def _in_flight(self) -> bool:
        with self._lock:
            return self._relay.flying > 0

    def _tell_failed(self, row: Row, why: str) -> None:
        publication, error = Relayed(row, self._relay.publisher), Refused(why)
        failures.add(str(publication), error)
        publication_failed.send_robust(sender=Publication, publication=publication, error=error)

    def _tell_returned(self) -> None:
        with self._lock:
            row, waiting = self._relay.returned_row, len(self._relay)
        if row is not None:
            text = (
                f"no queue takes {row.key}: the log is not there, or not bound. {waiting} events of the outbox wait. "
                "`manage.py livepush topology` makes it"
            )
            self._complain("returned", text, logging.ERROR)

    def _complain(self, subject: str, text: str, level: int = logging.WARNING) -> None:
        """Once a minute for each subject."""
        if self._noise.admit(subject, self._clock()) is not None:
            _log.log(level, "livepush: %s", text)


class Relayed:
    """A durable publication as the relay sees it: what a receiver of `publication_failed` is given.

    Attributes:
        channel: the channel's name.
        id: `<publisher>-<number>`.
    """

    def __init__(self, row: Row, publisher: str) -> None:
        self.channel, self.id = row.channel, f"{publisher}-{row.number}"
        self._key = row.key

    @property
    def type(self) -> str:
        """The event's type."""
        return self._key.removeprefix(f"event.{self.channel}.")

    def __repr__(self) -> str:
        return f"<Publication {self.channel} {self.type} {self.id}, durable>"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
