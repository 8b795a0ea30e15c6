"""The way of one message inside the process: AMQP properties and body -> envelope -> ingest -> sink.

Everything is handled in the step in which it arrives. A message that can't be read is counted, told to the log (each
kind once a minute) and dropped; where its stamp was good its number is spent, and that is a hole, told at once. Neither
a message nor a fault of the sink's stops the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livepush.broker.deliveries import read_properties
from livepush.broker.envelope import Event, Message, Resync, decode
from livepush.broker.errors import Malformed
from livepush.broker.ingest import Hole, Ingest, IngestSettings, Release
from livepush.broker.noise import Noise

_log = Logger()


class Sink(Protocol):
    """Who gets what is released; called in the reactor's thread, in order, and never waits."""

    def event(self, event: Event, id: str | None, ts: int, size: int = 0) -> None:  # noqa: A002 - the word of the wire
        """Something happened. `id` is None for `live`; `size` is that of its body in bytes."""

    def resync(self, channel: str | None, why: str) -> None:
        """Events of a channel (None: of any) may be missing; nothing later on it has been given yet."""

    def flush(self) -> None:
        """All that one read from the broker brought has been given."""


@dataclass(slots=True)
class IntakeCounters:
    """Since the start: messages and bytes received, events and resyncs given to the sink, messages that could not be
    read, and failures of the sink."""

    received: int = 0
    bytes: int = 0
    events: int = 0
    resyncs: int = 0
    poisoned: int = 0
    failures: int = 0


class Intake:
    """Reads messages, puts them in order and gives them to the sink.

    Args:
        sink: gets what is released.
        clock: only read.
        settings: of the ingest.
    """

    def __init__(self, sink: Sink, clock: IReactorTime, settings: IngestSettings | None = None) -> None:
        self.counters = IntakeCounters()
        self.ingest = Ingest(settings)
        self._sink, self._clock = sink, clock
        self._noise = Noise()
        self._released = self._all_told = False

    def take(self, raw: bytes, body: bytes) -> None:
        """One message: its properties as they stand in the content header, and its body."""
        counters = self.counters
        counters.received += 1
        counters.bytes += len(body)
        try:
            message = decode(*read_properties(raw), body)
            stamp = message.stamp
            if stamp is None:
                self._give_message(message)
            else:
                self._give(self.ingest.receive(stamp, message, self._clock.seconds()))
        except Malformed as problem:
            self._spend(problem)
        except Exception:  # one message; the next one must arrive
            self._note_failure("A message failed on its way")

    def end_read(self) -> None:
        """The end of what one read from the broker brought: one flush, if anything was released."""
        if self._released:
            self._flush()

    def restart(self) -> None:
        """The connection was lost and is there again: nobody knows what was missed."""
        self._resync(None, "restart")
        self._give(self.ingest.reattached())

    def tick(self) -> None:
        """To be called each second: what was held for too long is given up."""
        self._give(self.ingest.tick(self._clock.seconds()))
        self.end_read()

    def _give(self, releases: Sequence[Release]) -> None:
        for release in releases:
            if isinstance(release, Hole):
                if not self._all_told:  # of several with nothing between them the first says it all
                    self._resync(None, "hole")
            else:
                self._give_message(release)

    def _give_message(self, message: Message) -> None:
        content = message.content
        if isinstance(content, Event):
            self._released, self._all_told = True, False
            self.counters.events += 1
            stamp = message.stamp
            try:
                self._sink.event(content, None if stamp is None else stamp.id, message.ts, message.size)
            except Exception:  # one event; the next one must arrive
                self._note_failure("An event failed in the sink")
        elif isinstance(content, Resync):
            self._resync(content.channel, content.why)

    def _resync(self, channel: str | None, why: str) -> None:
        self._released = True
        self._all_told = self._all_told or channel is None
        self.counters.resyncs += 1
        try:
            self._sink.resync(channel, why)
        except Exception:  # as for an event
            self._note_failure("A resync failed in the sink")

    def _flush(self) -> None:
        self._released = self._all_told = False
        try:
            self._sink.flush()
        except Exception:  # as for an event
            self._note_failure("A flush failed in the sink")

    def _spend(self, problem: Malformed) -> None:
        """A message that can't be read: counted, acknowledged with the others, its number is spent."""
        self.counters.poisoned += 1
        kept = self._noise.admit(f"poison {problem.why}", self._clock.seconds())
        if kept is not None:
            _log.warn(
                "A message from the broker is not used: {why}; its publisher is {publisher}{kept}",
                why=problem.why,
                publisher="unknown" if problem.stamp is None else problem.stamp.publisher,
                kept=f" ({kept} more of this kind)" if kept else "",
            )
        if problem.stamp is not None:
            self._give(self.ingest.receive(problem.stamp, Hole(1), self._clock.seconds()))

    def _note_failure(self, what: str) -> None:
        self.counters.failures += 1
        kept = self._noise.admit(what, self._clock.seconds())
        if kept is not None:
            _log.failure("{what}{kept}", what=what, kept=f" ({kept} more times)" if kept else "")
