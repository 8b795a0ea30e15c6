"""Rules of the log, of what a process keeps of it, and of the positions that it vouches for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

from livepush.broker import intake as intake_module
from livepush.broker.attachment import Attachment
from livepush.broker.intake import Intake
from livepush.daemon.history import History
from livepush.daemon.ring import Entry, Ring
from tests.unit.model.rules.rule import nothing, replaced, rule


@rule("a reader is attached at the last offset read, whose record must be the known one")
def reattach_check() -> Iterator[None]:
    with mock.patch.object(Intake, "expect", nothing):
        yield


@rule("a log that ends below the offset attached at was made anew")
def probe() -> Iterator[None]:
    with mock.patch.object(Attachment, "probed", return_value=[]):
        yield


@rule("the check of a position names the copy: publisher, number and sending")
def check_copy() -> Iterator[None]:
    with replaced(intake_module, "check_stamp", lambda old: lambda stamp: old(stamp._replace(sending=1))):
        yield


@rule("the check of a position is compared")
def check() -> Iterator[None]:
    def make(old: Any) -> Any:
        def since(self: Any, channel: str, position: Any) -> Any:
            known = position and self._log.check_at(position.mark.offset)
            if known is not None:
                mark = position.mark._replace(check=known)
                position = type(position)(position.nonce, position.index, mark)
            return old(self, channel, position)

        return since

    with replaced(History, "since", make):
        yield


@rule("on another process the offset says what follows, not the feed index")
def replay_offset() -> Iterator[None]:
    def make(_: Any) -> Any:
        return lambda self, channel, position: self.after(channel, min(position.index, self.index))

    with replaced(History, "since", make):
        yield


@rule("a position is fixed when its entry is released")
def entry_position() -> Iterator[None]:
    def make(old: Any) -> Any:
        def after(self: Any, *arguments: Any) -> Any:
            answer = old(self, *arguments)
            if isinstance(answer, list):
                return [_moved(each, self.position()) for each in answer]
            return answer

        return after

    def _moved(entry: Entry, at: str) -> Entry:
        return Entry(entry.index, entry.event, entry.id, 0, 0, 0.0, entry.why, entry.offset, at)

    with replaced(History, "since", make), replaced(History, "after", make):
        yield


@rule("what was evicted is known")
def floor() -> Iterator[None]:
    def make(old: Any) -> Any:
        def drop(self: Any, kept: Any) -> None:
            floors = kept.floor, kept.floor_offset
            old(self, kept)
            kept.floor, kept.floor_offset = floors

        return drop

    with replaced(Ring, "_drop", make):
        yield


@rule("an evicted entry whose offset was not known is known to be missing")
def adrift() -> Iterator[None]:
    with mock.patch.object(Ring, "_set_adrift", nothing):
        yield


@rule("a replay holds the entries whose offset is not known yet")
def unlocated() -> Iterator[None]:
    def make(old: Any) -> Any:
        def since_offset(self: Any, channel: str, offset: int) -> Any:
            entries, why = old(self, channel, offset)
            return [entry for entry in entries if entry.offset is not None], why

        return since_offset

    with replaced(Ring, "since_offset", make):
        yield


@rule("a hole is a ring entry: who resumes across it is told")
def hole_in_ring() -> Iterator[None]:
    with mock.patch.object(Ring, "lose", nothing):
        yield


@rule("a position older than the oldest record really read is no position")
def oldest_read() -> Iterator[None]:
    def make(old: Any) -> Any:
        def since(self: Any, channel: str, position: Any) -> Any:
            first = self._log.first
            if position is not None and 0 <= position.mark.offset < first:
                mark = position.mark._replace(offset=first, check=self._log.check_at(first))
                position = type(position)(position.nonce, position.index, mark)
            return old(self, channel, position)

        return since

    with replaced(History, "since", make):
        yield


@rule("a log that is another one starts the process over: what it kept is void")
def start_over() -> Iterator[None]:
    with mock.patch.object(Ring, "clear", nothing):
        yield
