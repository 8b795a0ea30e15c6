"""Publishing from any thread of a process without waiting for the broker.

One `Publisher` serves a whole process. `publish` numbers the message, puts it into the backlog (`livepush.broker.
backlog`) and returns a `Ticket`; one daemon thread (`livepush.broker.link`) does everything with the network. So a
view never waits, and heartbeats are answered whatever the process does.

    fork        the child starts anew: fresh id, own thread, empty backlog. What the parent had accepted is sent by the
                parent; a ticket from before the fork never ends in the child. uWSGI forks without telling Python, so
                the process is looked at with each message, too (60 ns).
    thread      one that has died, or could not be started, is replaced when the next message comes, and when somebody
                waits: what it has not got confirmed is sent by the new one.
    exit        what is left is flushed for `flush_seconds` when the interpreter ends, also by `sys.exit` and after an
                exception, and in children of `multiprocessing`. A process that is killed, or ends by `os._exit`,
                flushes nothing; `flush` does.
    signals     `publish` must not be called from a signal handler: it takes a lock.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from livepush.broker.backlog import Backlog, Bounds, Draft
from livepush.broker.complaint import Complaints
from livepush.broker.envelope import Kind
from livepush.broker.errors import PublisherClosed, PublishError
from livepush.broker.link import Link
from livepush.broker.topology import EXCHANGE, LOG
from livepush.broker.url import BrokerURL

__all__ = ["Counters", "Draft", "Kind", "Publisher", "PublisherSettings", "Ticket"]

START_SECONDS = 1.0
"""Between two attempts to start a thread."""

_log = logging.getLogger("livepush")


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """How a process publishes.

    Attributes:
        url: the broker.
        exchange, log: topic exchange, and the queue that keeps what it gets; missing ones are waited for.
        messages, bytes: of the backlog; over either, an event is not kept (`BacklogFull`) and its channel is resynced.
        live_seconds: how long a `live` message may wait for the broker.
        flush_seconds: how long the process's exit waits for confirms.
    """

    url: BrokerURL
    exchange: str = EXCHANGE
    log: str = LOG
    messages: int = 10_000
    bytes: int = 16 * 2**20
    live_seconds: float = 2.0
    flush_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not isinstance(self.url, BrokerURL):
            raise ValueError(f"url: must be a BrokerURL, not {type(self.url).__name__}; use BrokerURL.parse(text)")
        for what, name in (("exchange", self.exchange), ("log", self.log)):
            if not 1 <= len(name.encode()) <= 255:
                raise ValueError(f"{what} {name!r}: must have 1 to 255 bytes, as AMQP has it")
        if self.messages < 1:
            raise ValueError(f"messages {self.messages!r}: must be at least 1")
        if self.bytes < 1:
            raise ValueError(f"bytes {self.bytes!r}: must be at least 1; an event may have 256 KiB")
        if self.live_seconds <= 0:
            raise ValueError(f"live_seconds {self.live_seconds!r}: must be above 0")
        if self.flush_seconds < 0:
            raise ValueError(f"flush_seconds {self.flush_seconds!r}: must be 0 (no waiting) or more")


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of this process's publications.

    Attributes:
        published: calls of `publish`.
        confirmed: of them, those that the broker has.
        failed: of them, those that failed, by the name of the error's class.
        reconnects: connections made after the first.
    """

    published: int
    confirmed: int
    failed: Mapping[str, int]
    reconnects: int


class Ticket(Future["str | None"]):
    """One publication. Its result is the event's id (None for `live`), once the broker has confirmed it.

    Callbacks run in the publisher's thread, or at once when the ticket is done; they must not wait for other tickets.
    It can't be cancelled: what has a number is published.

    Attributes:
        id: `<publisher>-<number>`; None for `live` and for what was not accepted.
    """

    id: str | None = None

    def cancel(self) -> bool:
        return False


class Publisher:
    """Sends drafts to the broker, in order, each confirmed or failed."""

    def __init__(self, settings: PublisherSettings) -> None:
        self.settings = settings
        self._closed = False
        self._complaints = Complaints(_log)
        self._start_anew()
        _publishers.add(self)

    def _disown(self) -> None:
        """For a forked child: all that there was is the parent's."""
        link = self._link
        self._start_anew()
        if link is not None:
            link.disown()

    def _start_anew(self) -> None:
        """Also in a forked child: the lock may be held by a thread that does not exist here."""
        settings = self.settings
        self._process = os.getpid()
        bounds = Bounds(messages=settings.messages, bytes=settings.bytes, live_seconds=settings.live_seconds)
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._backlog = Backlog[Ticket](secrets.token_hex(6), bounds)
        self._link: Link | None = None
        self._next_start = 0.0
        self._trouble: str | None = None
        self._connections = 0  # of links that have died
        self._concluding = 0
        self._published = self._confirmed = 0
        self._failed: Counter[str] = Counter()

    @property
    def id(self) -> str:
        """This publisher's own, new for each process."""
        return self._backlog.publisher

    @property
    def state(self) -> str:
        """A word for people: unused, waiting, connecting, opening, ready, blocked, ending."""
        link = self._link
        return "unused" if link is None else link.state.value

    @property
    def trouble(self) -> str | None:
        """Why the broker may not have confirmed yet, for people, without credentials; None: not known."""
        link = self._link
        return (None if link is None else link.complaints.last) or self._complaints.last

    @property
    def counters(self) -> Counters:
        """As they are now."""
        with self._lock:
            reconnects = max(0, self._connections + (0 if self._link is None else self._link.connections) - 1)
            return Counters(self._published, self._confirmed, dict(self._failed), reconnects)

    def publish(self, draft: Draft) -> Ticket:
        """Accepts a message, from any thread, without waiting.

        A control message may get the ticket of an earlier one that says the same and was not sent yet.
        The ticket is failed already when the backlog is full (`BacklogFull`) or the publisher closed
        (`PublisherClosed`).
        """
        ticket, error = Ticket(), None
        if self._process != os.getpid():
            self._disown()
        with self._lock:
            self._published += 1
            earlier = self._backlog.waiting(draft) if draft.kind is Kind.CONTROL else None
            if earlier is not None:
                return earlier
            try:
                self._ensure_link()
                ticket.id = self._backlog.add(draft, ticket, time.monotonic(), time.time_ns() // 1_000_000)
            except PublishError as refusal:
                error = refusal
                self._failed[type(error).__name__] += 1
            link = self._link
            wake = link is not None and link.needs_waking()
        if link is not None and wake:
            link.wake()
        self._tell_trouble()
        if error is not None:
            ticket.set_exception(error)
        return ticket

    def flush(self, timeout: float) -> int:
        """Waits until the broker has answered for everything; in a callback of a ticket it does not wait.

        Args:
            timeout: seconds.

        Returns:
            How many messages are left.
        """
        if self._process != os.getpid():
            self._disown()
        with self._idle:
            self._replace_dead_link()
            if self._link is not None and not self._link.current:
                self._idle.wait_for(lambda: not self._left(), timeout)
            left = self._left()
        self._tell_trouble()
        return left

    def close(self, timeout: float) -> int:
        """Accepts nothing more, flushes, fails what is left with `PublisherClosed` and ends the thread.

        Args:
            timeout: seconds for all of it, but a moment for the goodbye.

        Returns:
            How many messages were left.
        """
        deadline = time.monotonic() + timeout
        if self._process != os.getpid():
            self._disown()
        with self._lock:
            self._replace_dead_link()
            self._closed = True
        self.flush(timeout)
        with self._lock:
            left = self._backlog.abandon(PublisherClosed("the process ended before the broker confirmed"))
        self._conclude()
        if self._link is not None:
            self._link.end(max(0.5, deadline - time.monotonic()))
        return left

    # -- within --------------------------------------------------------------------------------------------------------

    def _ensure_link(self) -> None:
        """The link, started by the first message. The lock is held."""
        if self._closed:
            raise PublisherClosed("this process's publisher is closed")
        if self._link is None:
            self._start_link()
            _finish_with_multiprocessing(self)
        else:
            self._replace_dead_link()

    def _replace_dead_link(self) -> None:
        """A thread that could not be started, or has died, leaves its messages to the next one. The lock is held."""
        link = self._link
        if link is not None and not link.alive and not self._closed and time.monotonic() >= self._next_start:
            link.disown()
            self._backlog.lost()
            with suppress(PublisherClosed):  # the process ends: its exit counts what is left
                self._start_link()

    def _start_link(self) -> None:
        settings, self._next_start = self.settings, time.monotonic() + START_SECONDS
        link = Link(settings.url, settings.exchange, self._backlog, self._lock, self._conclude, settings.log)
        try:
            link.start()
        except RuntimeError as error:
            if sys.is_finalizing() or "shutdown" in str(error):
                raise PublisherClosed(f"this process is ending: {error}") from None
            self._trouble = str(error)
        self._connections += 0 if self._link is None else self._link.connections
        self._link = link

    def _tell_trouble(self) -> None:
        """Without the lock: what handles the log may publish."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            text = "livepush: no thread for the connection to %s: %s; the next message tries again"
            self._complaints.say("thread", text, self.settings.url.safe, trouble)

    def _left(self) -> int:
        return len(self._backlog) + self._concluding

    def _conclude(self) -> None:
        """Ends the tickets that are settled, without the lock, because their callbacks may do anything."""
        with self._lock:
            settled = self._backlog.take_settled()
            self._concluding += len(settled)
            if not settled:
                if not self._left():
                    self._idle.notify_all()
                return
            for _, _, error in settled:
                if error is None:
                    self._confirmed += 1
                else:
                    self._failed[type(error).__name__] += 1
        for ticket, id_, error in settled:
            try:
                if error is None:
                    ticket.set_result(id_)
                else:
                    ticket.set_exception(error)
            except BaseException:  # SystemExit of a callback is not the publisher's end
                _log.exception("livepush: a callback of a publication failed")
        with self._lock:
            self._concluding -= len(settled)
            if not self._left():
                self._idle.notify_all()


_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for publisher in list(_publishers):
        publisher._disown()


def _at_exit() -> None:
    for publisher in list(_publishers):
        _close_at_exit(publisher)


def _close_at_exit(publisher: Publisher) -> None:
    left = publisher.close(publisher.settings.flush_seconds)
    if left:
        _log.error("livepush: the process ends, and the broker has not confirmed %d messages", left)


def _finish_with_multiprocessing(publisher: Publisher) -> None:
    """Children of `multiprocessing` end by `os._exit` after their own finalizers; `atexit` is not called in them."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_at_exit, args=(publisher,), exitpriority=0)


os.register_at_fork(after_in_child=_after_fork_in_child)
# Daemon threads still run while atexit's callbacks do, and later ones are called first: registered at import, so that
# what the application registers afterwards may still publish.
atexit.register(_at_exit)
