"""A daemon process: the product's attachment, intake and log index, carried as its feed carries them, over a double of
the broker. What faces the browsers is in `front`.

One call of `link` is one step of getting connected; `read` and `deliver` are one message of a source.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.task import Clock

from livepush.broker.attachment import Attachment, Phase, Seen, Step
from livepush.broker.backlog import Copy
from livepush.broker.deliveries import read_properties
from livepush.broker.envelope import Kind, Marker, decode, encode_marker
from livepush.broker.intake import Intake
from livepush.broker.names import MARKER_BEAT_KEY, marker_key
from tests.unit.model.broker import Broker, Channel, Record
from tests.unit.model.front import Front

WINDOW_SECONDS = 60.0
"""How much of the log a process reads when it boots."""


class Process:
    """One daemon process, over all its lives.

    Args:
        name: for traces.
        broker: the world's.
        clock: the world's.
        fresh: makes a nonce.
        make_front: makes the side of the browsers, with this life's nonce.
        heard: is told each number that comes in, from whichever source.
    """

    def __init__(
        self,
        name: str,
        broker: Broker,
        clock: Clock,
        fresh: Callable[[str], str],
        make_front: Callable[[str], Front],
        heard: Callable[[Process, Copy], None],
    ) -> None:
        self.name = name
        self._broker, self._clock, self._fresh, self._make_front, self._heard = broker, clock, fresh, make_front, heard
        self.alive = False
        self.boot()

    def boot(self) -> None:
        """A new life."""
        self.alive, self.ready, self.connected = True, False, False
        self.nonce = self._fresh("n")
        self.attachment = Attachment(5.0, 20.0, lambda: 0.5)
        self.front = self._make_front(self.nonce)
        self.intake = Intake(self.front.hub, self._clock, on_marker=self._meet)
        self.front.hub.follow(self.intake.log)
        self.queue = ""
        self.reader: int | None = None
        self.probe: int | None = None
        self.steps: deque[Step] = deque()
        self._connections = self._start_overs = 0
        self._attached_anew = False
        self._second: Channel | None = None
        self._flying: int | None = None
        self._wanted = False

    def kill(self) -> None:
        """kill -9."""
        self.cut()
        self.front.kill()
        self.alive = False

    # -- the connection that consumes ----------------------------------------------------------------------------------

    def cut(self) -> None:
        """The connection is lost."""
        if self.connected:
            self.connected = False
            self._broker.drop_queue(self.queue)
            self.queue = ""
        self.reader = self.probe = None
        self.steps.clear()
        self.attachment.lost()
        self._second = self._flying = None
        self._wanted = False
        self._settle()

    def link(self) -> bool:
        """The next step of getting connected, if one is possible."""
        if not self.alive or not self._broker.up:
            return False
        if not self.connected:
            self.connected = True
            self._attach()
            return True
        if self._hear_confirm():
            return True
        if self._send_marker():
            return True
        if not self.steps:
            return False
        step = self.steps.popleft()
        if step is Step.BIND:
            self.probe = None
            self.queue = self._broker.declare_queue()
            self._take(self.attachment.bound(self._clock.seconds()))
        elif step is Step.START_OVER:
            self._broker.drop_queue(self.queue)
            self.queue = ""
            self.intake.start_over("the log was made anew")
            self._attach()
        elif step is Step.ABANDON:
            self.cut()
        return True

    def _attach(self) -> None:
        broker, last, now = self._broker, self.intake.log.last, self._clock.seconds()
        at = last if last >= 0 else None
        self._start_overs, self._attached_anew = self.intake.counters.start_overs, True
        self.intake.forget_unlocated()
        if at is not None:
            self.intake.expect(at)
            self.reader, self.probe = at, broker.log[-1].offset if broker.log else 0
        else:
            start = next((record for record in broker.log if record.at >= now - WINDOW_SECONDS), None)
            self.reader, self.probe = start.offset if start else broker.next_offset, None
        self._take(self.attachment.attached(at, now))

    def _take(self, steps: list[Step]) -> None:
        for step in steps:
            if step is Step.FORGET:
                self.intake.forget_unlocated()
            elif step is Step.SEND:
                self._wanted = True
            else:
                self.steps.append(step)
        self._settle()

    def _settle(self) -> None:
        """As the feed tells when `ready` has changed."""
        ready = self.connected and self.attachment.ready
        if ready is self.ready:
            return
        self.ready = ready
        if ready and self._attached_anew:
            self._attached_anew = False
            self._connections += 1
            if self._connections > 1 and self.intake.counters.start_overs == self._start_overs:
                self.intake.reconnected()
        self.front.become_ready(ready)

    def tick(self) -> None:
        """What the feed does each second."""
        if not self.alive:
            return
        self.intake.tick()
        if self.connected:
            log, counters = self.intake.log, self.intake.counters
            seen = Seen(log.last, counters.logged, self.intake.unlocated_since)
            self._take(self.attachment.tick(seen, self._clock.seconds()))

    # -- the second connection -----------------------------------------------------------------------------------------

    def _send_marker(self) -> bool:
        """One marker, now or as soon as that is possible; at most one is on its way."""
        if not self._wanted or self._flying is not None or self._broker.alarm:
            return False
        if self._second is None:
            self._second = self._broker.open()
        self._wanted = False
        number = self._flying = self.attachment.markers.send(self._clock.seconds())
        key = MARKER_BEAT_KEY if self.attachment.ready else marker_key(self.nonce)
        self._broker.publish(self._second, Copy(Kind.MARKER, key, encode_marker(Marker(self.nonce, number)), 1, None))
        return True

    def _hear_confirm(self) -> bool:
        if self._second is None or not self._second.answers:
            return False
        answer = self._second.answers.popleft()
        number, self._flying = self._flying, None
        if number is not None and answer.what == "ack":
            self.attachment.markers.confirmed(number, self._clock.seconds())
        return True

    # -- sources -------------------------------------------------------------------------------------------------------

    def read(self) -> bool:
        """One record of the log; the probe looks first."""
        self._look()
        record = None if self.reader is None else self._broker.read(self.reader)
        if record is None:
            return False
        self.reader = record.offset + 1
        self._heard(self, record.copy)
        self.intake.take_logged(record.raw, record.body)
        self.intake.end_read()
        return True

    def deliver(self) -> bool:
        """One message of the own queue."""
        queue = self._broker.queues.get(self.queue)
        if not queue:
            return False
        sent = queue.popleft()
        self._heard(self, sent.copy)
        self.intake.take_queued(sent.raw, sent.copy.body)
        self.intake.end_read()
        return True

    def _look(self) -> None:
        while self.probe is not None and (record := self._broker.read(self.probe)) is not None:
            self.probe = record.offset + 1
            marker = _marker(record)
            if marker is not None and marker.process == self.nonce:
                self._take(self.attachment.probed(marker.number, record.offset))

    def _meet(self, marker: Marker, _offset: int) -> None:
        if marker.process == self.nonce:
            self._take(self.attachment.met(marker.number, self._clock.seconds()))

    @property
    def phase(self) -> Phase:
        """Where it stands, for traces."""
        return self.attachment.phase


def _marker(record: Record) -> Marker | None:
    if record.copy.kind is not Kind.MARKER:
        return None
    content = decode(*read_properties(record.raw), record.body).content
    return content if isinstance(content, Marker) else None
