"""Rules of who may hear what, and of what waits for a connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any
from unittest import mock

from livepush.daemon.connection import Connection
from livepush.daemon.epochs import Epochs
from livepush.daemon.history import WAIT, History
from livepush.daemon.hub import Hub
from livepush.daemon.outbound import Outbound
from tests.unit.model.rules.rule import nothing, replaced, rule


@rule("a control suspends the connections it concerns in the same step")
def suspend() -> Iterator[None]:
    def make_suspend(_: Any) -> Any:
        def suspend(self: Any, user: str | None) -> list[Connection]:
            self.epochs.note(user)
            return list(self._connections if user is None else self._users.get(user, ()))

        return suspend

    def make_find_out(_: Any) -> Any:
        def find_out(self: Any, concerned: list[Connection]) -> None:
            for connection in concerned:
                if connection.is_open:
                    self.reidentification.ask(connection)

        return find_out

    with replaced(Hub, "_suspend", make_suspend), replaced(Hub, "_find_out", make_find_out):
        yield


@rule("an answer that is older than a control is thrown away")
def epoch() -> Iterator[None]:
    with mock.patch.object(Epochs, "is_stale", return_value=False):
        yield


@rule("a hole may have held a control: everybody is suspended")
def hole_suspends() -> Iterator[None]:
    with replaced(Hub, "distrust", lambda old: lambda self, suspend: old(self, False)):
        yield


@rule("what waits for a suspended connection goes on only where it is still allowed")
def keep_allowed() -> Iterator[None]:
    with mock.patch.object(Outbound, "keep", nothing):
        yield


@rule("what a suspended connection missed comes from the ring")
def on_from_the_ring() -> Iterator[None]:
    def make(old: Any) -> Any:
        def apply(self: Any, *arguments: Any) -> None:
            self._suspended_at = self.hub.history.index
            old(self, *arguments)

        return apply

    with replaced(Connection, "_apply", make):
        yield


@rule("a request that must wait is answered by what was released until it is")
def wait_for_the_log() -> Iterator[None]:
    def make(old: Any) -> Any:
        def since(self: Any, channel: str, position: Any) -> Any:
            answer = old(self, channel, position)
            return [] if answer is WAIT else answer

        return since

    with replaced(History, "since", make):
        yield


@rule("the resync of a slow connection stands before what carries later positions")
def overflow_first() -> Iterator[None]:
    def make(old: Any) -> Any:
        def overflow(self: Any) -> None:
            old(self)
            answers = [frame for frame in self._held if not frame[0]]
            resyncs = [frame for frame in self._held if frame[0]]
            self._held = deque([*answers, *resyncs])

        return overflow

    with replaced(Outbound, "_overflow", make):
        yield


@rule("what a slow connection lost is told")
def overflow_told() -> Iterator[None]:
    def make(old: Any) -> Any:
        def overflow(self: Any) -> None:
            old(self)
            self._held = deque(frame for frame in self._held if not frame[0])

        return overflow

    with replaced(Outbound, "_overflow", make):
        yield
