"""The way of one message inside the process: AMQP properties and body -> envelope -> ingest -> sink.

    take_queued   out of the process's own queue: at once, but with gaps
    take_logged   out of the log, a moment later: everything, with its place
    take_marker   out of the log, too, but written by a daemon: whatever it says it is, it is a marker or nothing

Everything is handled in the step in which it arrives. Most numbers come twice, once from each source: only the first
copy's body is read. A message that can't be read is counted, told to the log file (each kind once a minute) and
dropped; where its stamp was good its number is spent, and that is a hole in its place. Neither a message nor a fault of
the sink's stops the next one.

A control message acts when it is first received, even if its number has to wait behind a hole: nothing that this
process hands over after it has the control may rest on what was known before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livepush.broker.deliveries import Properties, read_properties
from livepush.broker.envelope import (
    Control,
    Event,
    Kind,
    Marker,
    Resync,
    Stamp,
    decode,
    decode_stamped,
    read_stamp,
)
from livepush.broker.errors import Malformed
from livepush.broker.ingest import Hole, Ingest, IngestSettings, Item
from livepush.broker.logindex import LogIndex, check_marker, check_stamp
from livepush.broker.noise import Noise

_log = Logger()

OFFSET = "x-stream-offset"
"""The header in which RabbitMQ says where in the stream a record stands."""


class Sink(Protocol):
    """Who gets what is released; called in the reactor's thread, in order, and never waits.

    `offset` is where the log's copy stands, None where it has not been met yet: then `located` tells it later, by `id`.
    """

    def event(
        self,
        event: Event,
        id: str | None,  # noqa: A002 - the word of the wire
        ts: int,
        size: int = 0,
        offset: int | None = None,
    ) -> None:
        """Something happened. `id` is None for `live`; `size` is that of its body in bytes."""

    def resync(
        self,
        channel: str | None,
        why: str,
        offset: int | None = None,
        id: str | None = None,  # noqa: A002
    ) -> None:
        """Events of a channel (None: of any) may be missing; nothing later on it has been given yet.

        It takes a feed index of its own. `offset` and `id` are those of the record that says so, or that stands behind
        the missing ones.
        """

    def located(self, id: str, offset: int) -> None:  # noqa: A002
        """The log's copy of something released before, of whatever kind, has been met."""

    def control(self, control: Control) -> None:
        """What Django knows may have changed; comes when it is first received, before what is released by it."""

    def distrust(self, suspend: bool) -> None:
        """A control message may have been missed: all are identified anew, if `suspend` before they hear more."""

    def start_over(self, why: str) -> None:
        """The log is another one or was cut off: positions and what was kept are void, anything may be missing, and
        everybody is suspended."""

    def flush(self) -> None:
        """All that one read from the broker brought has been given; also when only the log's index moved on."""


@dataclass(slots=True)
class IntakeCounters:
    """Since the start: messages and bytes received, numbered records read from the log, events and resyncs given to the
    sink, controls that acted, messages that could not be read, failures of the sink, and how often all began anew."""

    received: int = 0
    bytes: int = 0
    logged: int = 0
    events: int = 0
    resyncs: int = 0
    controls: int = 0
    poisoned: int = 0
    failures: int = 0
    start_overs: int = 0


@dataclass(slots=True)
class _Sample:
    """A number that the queue brought and the log has not shown yet."""

    publisher: str
    number: int


class Intake:
    """Reads messages, puts them in order and gives them to the sink.

    Args:
        sink: gets what is released.
        clock: only read.
        settings: of the ingest.
        on_marker: gets each marker that is met in the log, and its offset.

    Attributes:
        log: what has been read of the log.
        unlocated_since: since when a numbered message out of the queue has not been met in the log; None: none waits.
            One at a time is watched: it shows a log that is not bound to events.
        on_arrival: gets `ts` and `sent` (None: not told) of what the queue brought first, which measures the way here;
            their faults are its own.
    """

    def __init__(
        self,
        sink: Sink,
        clock: IReactorTime,
        settings: IngestSettings | None = None,
        on_marker: Callable[[Marker, int], None] | None = None,
    ) -> None:
        self.counters = IntakeCounters()
        self.log = LogIndex()
        self.ingest = Ingest(self.log, self._release, settings)
        self.on_marker = on_marker
        self.on_arrival: Callable[[int, Any], None] | None = None
        self.unlocated_since: float | None = None
        self._sink, self._clock = sink, clock
        self._noise = Noise()
        self._sample = _Sample("", 0)
        self._expected: int | None = None
        self._to_flush = False

    # -- the hot path --------------------------------------------------------------------------------------------------

    def take_queued(self, raw: bytes, body: bytes) -> None:
        """One message out of the own queue: its properties as they stand in the content header, and its body."""
        counters = self.counters
        counters.received += 1
        counters.bytes += len(body)
        try:
            properties = read_properties(raw)
            kind, app_id, message_id, headers = properties
            if kind == Kind.LIVE:
                self._release(decode(kind, app_id, message_id, headers, body), None)
                return
            stamp = None if headers is None else read_stamp(app_id, message_id, headers)
            if stamp is None:
                raise Malformed("no usable publisher and number")
            if self.ingest.is_new(stamp):
                if self.unlocated_since is None:
                    self.unlocated_since = self._clock.seconds()
                    self._sample.publisher, self._sample.number = stamp.publisher, stamp.number
                self._receive(properties, stamp, body, None)
            else:
                self.ingest.repeat(stamp, None, self._clock.seconds())
        except Malformed as problem:
            self._note_poison(problem)
        except Exception:  # one message; the next one must arrive
            self._note_failure("A message failed on its way")

    def take_logged(self, raw: bytes, body: bytes) -> None:
        """One record of the log, in the order of their offsets, which stand in its header `x-stream-offset`."""
        counters = self.counters
        counters.received += 1
        counters.bytes += len(body)
        try:
            properties = read_properties(raw)
            kind, app_id, message_id, headers = properties
            offset = None if headers is None else headers.get(OFFSET)
            if headers is None or not isinstance(offset, int) or offset < 0:
                raise Malformed(_NO_OFFSET)
            if kind == Kind.MARKER:
                self._meet_marker(properties, body, offset)
                return
            stamp = read_stamp(app_id, message_id, headers)
            self._note_read(offset, crc32(body) if stamp is None else check_stamp(stamp))
            if stamp is None:
                raise Malformed("no usable publisher and number")
            counters.logged += 1
            if self.unlocated_since is not None:
                self._compare_sample(stamp)
            if self.ingest.is_new(stamp):
                self._receive(properties, stamp, body, offset)
            elif self.ingest.repeat(stamp, offset, self._clock.seconds()):
                self._sink.located(stamp.id, offset)
        except Malformed as problem:
            self._note_poison(problem)
        except Exception:  # one record; the next one must arrive
            self._note_failure("A message failed on its way")

    def take_marker(self, raw: bytes, body: bytes) -> None:
        """One record of the log that was published where daemons may write.

        They may write markers and nothing else: a record that calls itself an event or a control is counted as
        unreadable, and its number, if it has one, is nobody's.
        """
        self.counters.received += 1
        self.counters.bytes += len(body)
        try:
            properties = read_properties(raw)
            offset = None if properties.headers is None else properties.headers.get(OFFSET)
            if not isinstance(offset, int) or offset < 0:
                raise Malformed(_NO_OFFSET)
            if properties.type != Kind.MARKER:
                self._note_read(offset, crc32(body))
                raise Malformed("no marker, but written by a daemon")
            self._meet_marker(properties, body, offset)
        except Malformed as problem:
            self._note_poison(problem)
        except Exception:  # one record; the next one must arrive
            self._note_failure("A message failed on its way")

    def _receive(self, properties: Properties, stamp: Stamp, body: bytes, offset: int | None) -> None:
        """The first copy of a number."""
        try:
            headers = properties.headers or {}
            message = decode_stamped(properties.type, stamp, headers, body)
            item: Item = message
            control = message.content
        except Malformed as problem:
            self._note_poison(problem)
            item = Hole(stamp)
            control = None if properties.type in _HARMLESS else Control("unreadable")
        else:
            if offset is None and self.on_arrival is not None:
                self.on_arrival(message.ts, headers.get("sent"))
        if isinstance(control, Control):
            self._act(control)
        self.ingest.receive(stamp, item, offset, self._clock.seconds())

    def _release(self, item: Item, offset: int | None) -> None:
        """What the ingest releases goes to the sink; its faults end here."""
        self._to_flush = True
        if isinstance(item, Hole):
            self.counters.resyncs += 1
            self._tell("A suspension failed in the sink", self._sink.distrust, True)
            self._tell("A resync failed in the sink", self._sink.resync, None, "hole", offset, item.stamp.id)
            return
        try:
            content, stamp = item.content, item.stamp
            if isinstance(content, Event):
                self.counters.events += 1
                self._sink.event(content, None if stamp is None else stamp.id, item.ts, item.size, offset)
            elif isinstance(content, Resync):
                self.counters.resyncs += 1
                self._sink.resync(content.channel, content.why, offset, None if stamp is None else stamp.id)
        except Exception:  # one event; the next one must arrive
            self._note_failure("An event failed in the sink")

    def end_read(self) -> None:
        """The end of what one read from the broker brought: one flush, if anything came of it."""
        if self._to_flush:
            self._to_flush = False
            try:
                self._sink.flush()
            except Exception:  # as for an event
                self._note_failure("A flush failed in the sink")

    def tick(self) -> None:
        """To be called each second: what was held for too long is given up."""
        self.ingest.tick(self._clock.seconds())
        self.end_read()

    # -- the log -------------------------------------------------------------------------------------------------------

    def expect(self, offset: int) -> None:
        """The log reader was attached at this offset: the next record must be the one that is known to stand there."""
        self._expected = offset

    def reconnected(self) -> None:
        """Queue and log are attached again and nothing is missing; controls that send no signal may have come."""
        self._to_flush = True
        self._tell("A sweep failed in the sink", self._sink.distrust, False)
        self.end_read()

    def start_over(self, why: str) -> None:
        """The log was made anew or trimmed: what was known of it and of the publishers is void, and that is told."""
        self.counters.start_overs += 1
        self._expected = None
        self.forget_unlocated()
        self.log.clear()
        self.ingest.clear()
        self._to_flush = True
        self._tell("A start over failed in the sink", self._sink.start_over, why)
        self.end_read()

    def forget_unlocated(self) -> None:
        """Begins to watch anew whether the log shows what the queue brings."""
        self.unlocated_since = None

    def _note_read(self, offset: int, check: int) -> None:
        if self._expected is not None:
            expected, self._expected = self._expected, None
            if offset != expected or self.log.check_at(offset) != f"{check:08x}":
                self.start_over("the log does not go on where it was left")
        self.log.read(offset, check)
        self._to_flush = True

    def _compare_sample(self, stamp: Stamp) -> None:
        if stamp.publisher == self._sample.publisher and stamp.number >= self._sample.number:
            self.unlocated_since = None

    def _meet_marker(self, properties: Properties, body: bytes, offset: int) -> None:
        try:
            marker = decode(*properties, body).content
        except Malformed:
            self._note_read(offset, crc32(body))
            raise
        if isinstance(marker, Marker):
            self._note_read(offset, check_marker(marker))
            if self.on_marker is not None:
                self.on_marker(marker, offset)

    # -- what goes wrong, and what is rare -----------------------------------------------------------------------------

    def _act(self, control: Control) -> None:
        self.counters.controls += 1
        self._to_flush = True
        self._tell("A control failed in the sink", self._sink.control, control)

    def _tell(self, fault: str, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:  # the sink's; what follows must arrive
            self._note_failure(fault)

    def _note_poison(self, problem: Malformed) -> None:
        """A message that can't be read: counted, and acknowledged with the others."""
        self.counters.poisoned += 1
        kept = self._noise.admit(f"poison {problem.why}", self._clock.seconds())
        if kept is not None:
            _log.warn(
                "A message from the broker is not used: {why}; its publisher is {publisher}{kept}",
                why=problem.why,
                publisher="unknown" if problem.stamp is None else problem.stamp.publisher,
                kept=f" ({kept} more of this kind)" if kept else "",
            )

    def _note_failure(self, what: str) -> None:
        self.counters.failures += 1
        kept = self._noise.admit(what, self._clock.seconds())
        if kept is not None:
            _log.failure("{what}{kept}", what=what, kept=f" ({kept} more times)" if kept else "")


_NO_OFFSET = "a record of the log without an offset"
_HARMLESS = frozenset({Kind.EVENT.value, Kind.RESYNC.value, Kind.VOID.value})
"""Kinds that tell nothing about rights: any other message that can't be read may have been a control."""
