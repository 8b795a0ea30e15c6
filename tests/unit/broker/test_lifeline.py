"""Tests of `livepush.broker.lifeline`: connections that a test opens and ends, and a clock."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.backoff import Backoff
from livepush.broker.errors import ConnectionFailed
from livepush.broker.lifeline import Lifeline


class Scripted:
    """Stands for a connection: `open` is answered by the test, `close` ends it."""

    def __init__(self) -> None:
        self.closed: Deferred[ConnectionFailed] = Deferred()
        self.opened: Deferred[None] = Deferred()

    async def open(self) -> None:
        await self.opened

    def close(self, _seconds: float = 1.5) -> None:
        self.end("closed here")

    def end(self, why: str) -> None:
        if not self.opened.called:
            self.opened.errback(ConnectionFailed(why))
        if not self.closed.called:
            self.closed.callback(ConnectionFailed(why))


class LifelineTests(SynchronousTestCase):
    """Again and again, as long as it is wanted."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.made: list[Scripted] = []
        self.lost: list[str] = []
        self.states: list[str] = []
        self.fault: Exception | None = None
        self.lifeline = Lifeline(
            self.clock,
            self.connect,
            self.use,
            lambda problem: self.lost.append(problem.cause),
            Backoff(1.0, 4.0, random.Random(1)),
            lambda: self.states.append(self.lifeline.state.value),
        )

    def connect(self) -> Any:
        self.made.append(Scripted())
        return self.made[-1]

    async def use(self, _connection: object) -> None:
        if self.fault is not None:
            raise self.fault

    def test_a_life(self) -> None:
        """Connecting, connected, waiting, and again; then an end that is no loss."""
        self.lifeline.start()
        self.lifeline.start()
        self.made[0].opened.callback(None)
        self.made[0].end("cut")
        self.clock.advance(4)
        self.made[1].opened.callback(None)
        stopped = self.lifeline.stop(1.0)
        self.successResultOf(stopped)
        self.assertEqual((len(self.made), self.lost, self.lifeline.connection), (2, ["cut"], None))
        self.assertEqual(
            self.states,
            ["connecting", "connected", "waiting", "connecting", "connected", "stopping", "stopped"],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_attempt_that_fails(self) -> None:
        """Is counted, told, and waited after."""
        self.lifeline.start()
        self.made[0].end("refused")
        self.assertEqual((self.lost, self.lifeline.failures, self.states[-1]), (["refused"], 1, "waiting"))
        self.clock.advance(0.99)
        self.assertEqual(len(self.made), 1)
        self.clock.advance(1.01)
        self.assertEqual(len(self.made), 2)

    def test_hurry(self) -> None:
        """Ends a wait, and nothing else."""
        self.lifeline.hurry()
        self.lifeline.start()
        self.lifeline.hurry()
        self.assertEqual(len(self.made), 1)
        self.made[0].end("refused")
        self.lifeline.hurry()
        self.assertEqual(len(self.made), 2)

    def test_what_can_not_be_opened_ends_the_attempt(self) -> None:
        """The connection is closed then; a fault of ours is logged, and does not end it for good."""
        for fault, cause in (
            (ConnectionFailed("no exchange"), "no exchange"),
            (ZeroDivisionError(), "an unexpected error, logged above"),
        ):
            self.setUp()
            self.fault = fault
            self.lifeline.start()
            self.made[0].opened.callback(None)
            self.assertEqual((self.lost, self.made[0].closed.called, self.states[-1]), ([cause], True, "waiting"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop_in_any_state(self) -> None:
        """While it waits, while it connects, and when it was never started."""
        self.successResultOf(self.lifeline.stop(1.0))
        self.lifeline.start()
        self.successResultOf(self.lifeline.stop(1.0))
        self.lifeline.start()
        self.made[1].end("refused")
        self.successResultOf(self.lifeline.stop(1.0))
        self.assertEqual((len(self.made), self.states[-1], self.clock.getDelayedCalls()), (2, "stopped", []))
