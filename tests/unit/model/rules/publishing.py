"""Rules of those who publish, and of the ingest that puts their numbers in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

from livepush.broker.backlog import Backlog, Copy, Draft
from livepush.broker.envelope import Control, Kind, Stamp
from livepush.broker.ingest import Hole, Ingest
from livepush.broker.intake import Intake
from livepush.broker.logindex import LogIndex
from livepush.broker.relay import Relay
from tests.unit.model.rules.rule import nothing, replaced, rule


@rule("a copy carries the lowest number that was not confirmed when it was sent")
def low() -> Iterator[None]:
    def make(old: Any) -> Any:
        def copies(self: Any, ts: int, limit: int = 64) -> list[Copy]:
            return [each._replace(stamp=_full(each.stamp)) for each in old(self, ts, limit)]

        return copies

    def _full(stamp: Stamp | None) -> Stamp | None:
        return None if stamp is None else stamp._replace(low=stamp.number)

    with replaced(Backlog, "copies", make):
        yield


@rule("after a nack everything unconfirmed is sent again")
def go_back() -> Iterator[None]:
    def make(_: Any) -> Any:
        return lambda self, tag, multiple: bool(self._flight.answered(tag, multiple)) and False

    with replaced(Backlog, "nacked", make):
        yield


@rule("an event that finds the backlog full is told as a resync of its channel")
def overflow_record() -> Iterator[None]:
    with replaced(Backlog, "_drop", lambda _: nothing):
        yield


@rule("a control stands for a later one only while it was never sent")
def coalesce_unsent() -> Iterator[None]:
    def make(_: Any) -> Any:
        def waiting(self: Any, draft: Draft) -> Any:
            if draft.kind is not Kind.CONTROL:
                return None
            same = (each.ticket for each in self._numbered.values() if each.body == draft.body)
            return next(same, None)

        return waiting

    with replaced(Backlog, "waiting", make):
        yield


@rule("the `low` of a relay is the lowest number whose row is not deleted")
def relay_low() -> Iterator[None]:
    with replaced(Relay, "low", lambda _: lambda self: max(1, self.highest - len(self._due))):
        yield


@rule("numbers of rows outlive the relay that gave them")
def outbox_numbers() -> Iterator[None]:
    def make(old: Any) -> Any:
        def begin(self: Relay, publisher: str, generation: int) -> None:
            old(self, publisher and f"{publisher}{generation}", generation)

        return begin

    with replaced(Relay, "begin", make):
        yield


@rule("a later number is held until the missing ones come or are gone")
def held() -> Iterator[None]:
    def make(_: Any) -> Any:
        def hold(self: Any, stamp: Stamp, publisher: Any, item: Any, offset: int | None, now: float) -> None:
            publisher.next = stamp.number + 1
            self._give(item, offset)

        return hold

    with replaced(Ingest, "_hold", make):
        yield


@rule("a publisher never seen begins at `low` of its first record in the log")
def base() -> Iterator[None]:
    def make(old: Any) -> Any:
        return lambda self, publisher, stamp: old(self, publisher, stamp._replace(low=stamp.number))

    with replaced(Ingest, "_base", make):
        yield


@rule("a publisher never seen is taken from the queue only at number 1")
def queue_base() -> Iterator[None]:
    def make(old: Any) -> Any:
        def receive(self: Any, stamp: Stamp, item: Any, offset: int | None, now: float) -> None:
            publisher = self._publishers.get(stamp.publisher)
            if offset is None and publisher is None:
                old(self, stamp, item, offset, now)
                self._base(self._publishers[stamp.publisher], stamp._replace(low=stamp.number))
                self._resolve(stamp.publisher, self._publishers[stamp.publisher])
            else:
                old(self, stamp, item, offset, now)

        return receive

    with replaced(Ingest, "receive", make):
        yield


@rule("the log reader stays attached for life, and supplies what the queue lost")
def reader_for_life() -> Iterator[None]:
    def make(old: Any) -> Any:
        def receive(self: Intake, properties: Any, stamp: Stamp, body: bytes, offset: int | None) -> None:
            if offset is None or self.counters.received < 12:
                old(self, properties, stamp, body, offset)

        return receive

    with replaced(Intake, "_receive", make):
        yield


@rule("a control acts when it is first received, even if it is held")
def control_at_receipt() -> Iterator[None]:
    def make_release(old: Any) -> Any:
        def release(self: Any, item: Any, offset: int | None) -> None:
            if not isinstance(item, Hole) and isinstance(item.content, Control):
                act(self, item.content)
            old(self, item, offset)

        return release

    act = Intake._act
    with mock.patch.object(Intake, "_act", nothing), replaced(Intake, "_release", make_release):
        yield


@rule("a held record keeps the position's offset back")
def held_keeps_back() -> Iterator[None]:
    with mock.patch.object(LogIndex, "hold", nothing):
        yield
