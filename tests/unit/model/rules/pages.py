"""Rules of the page, as `livepush.js` has them. They are taken out of its mirror in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

from livepush.daemon.versions import Versions
from tests.clients.page import Line, Message, Page
from tests.unit.model.rules.rule import replaced, rule


@rule("a page keeps a position for each channel")
def channel_positions() -> Iterator[None]:
    def make(_: Any) -> Any:
        def reach(self: Page, channel: str, message: Message) -> None:
            self.positions[channel] = message["at"]
            for each in self.positions:
                self.positions[each] = message["at"]

        return reach

    with replaced(Page, "_reach", make):
        yield


@rule("a channel that is gone keeps its position")
def gone_freezes() -> Iterator[None]:
    def make(old: Any) -> Any:
        def receive(self: Page, line: Line, message: Message) -> list[Message]:
            if message["op"] == "heartbeat":
                for channel in self.positions:
                    self._reach(channel, message)
            return list(old(self, line, message))

        return receive

    with replaced(Page, "receive", make):
        yield


@rule("a page drops what is not above the highest number of its publisher, on whichever socket")
def high_water() -> Iterator[None]:
    def make(old: Any) -> Any:
        def event(self: Page, channel: str, message: Message, *, replayed: bool) -> None:
            self._highest.clear()
            old(self, channel, message, replayed=replayed)

        return event

    with replaced(Page, "_event", make):
        yield


@rule("a page drops what is older than the newest version of its key")
def page_version() -> Iterator[None]:
    def make(old: Any) -> Any:
        def event(self: Page, channel: str, message: Message, *, replayed: bool) -> None:
            self._versions.clear()
            old(self, channel, message, replayed=replayed)

        return event

    with replaced(Page, "_event", make), mock.patch.object(Versions, "is_stale", return_value=False):
        yield


@rule("a resync on the older of two sockets counts")
def old_resync_counts() -> Iterator[None]:
    def make(old: Any) -> Any:
        def receive(self: Page, line: Line, message: Message) -> list[Message]:
            if message["op"] == "resync" and line is not self.lines[-1]:
                self._reach(message["channel"], message)
                return []
            return list(old(self, line, message))

        return receive

    with replaced(Page, "receive", make):
        yield


@rule("a channel that got its first position after the second hello is reloaded")
def late_position_reloads() -> Iterator[None]:
    def make(old: Any) -> Any:
        def welcome(self: Page, line: Line, message: Message) -> list[Message]:
            self._started.clear()
            return list(old(self, line, message))

        return welcome

    with replaced(Page, "_welcome", make):
        yield


@rule("what the second hello did not name is subscribed again")
def resubscribe() -> Iterator[None]:
    def make(old: Any) -> Any:
        def welcome(self: Page, line: Line, message: Message) -> list[Message]:
            first = not self._known
            requests = list(old(self, line, message))
            return requests if first else []

        return welcome

    with replaced(Page, "_welcome", make):
        yield


@rule("`back` implies a reload")
def back_reloads() -> Iterator[None]:
    def make(old: Any) -> Any:
        def resync(self: Page, channel: str, why: str, message: Message) -> None:
            if why == "back":
                self._reach(channel, message)
            else:
                old(self, channel, why, message)

        return resync

    with replaced(Page, "_resync", make):
        yield
