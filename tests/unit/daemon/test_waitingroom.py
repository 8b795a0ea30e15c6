"""Tests of livepush.daemon.waitingroom."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.waitingroom import WaitingRoom


class WaitingRoomTests(SynchronousTestCase):
    """Who waits for the feed goes on when it has come so far, or when the time is over."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.room = WaitingRoom(self.clock)

    def test_offsets(self) -> None:
        """Each goes on when its offset was read, and not before."""
        early, late = self.room.wait(5, 5), self.room.wait(7, 5)
        self.room.look(4)
        self.assertNoResult(early)
        self.room.look(6)
        self.assertTrue(self.successResultOf(early))
        self.assertNoResult(late)
        self.clock.advance(5)
        self.assertFalse(self.successResultOf(late))
        self.room.look(9)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_ready(self) -> None:
        """Nobody goes on before the feed is ready."""
        ready = False
        self.room.is_ready = lambda: ready
        waiting = self.room.wait(-1, 5)
        self.room.look(9)
        self.assertNoResult(waiting)
        ready = True
        self.room.look(9)
        self.assertTrue(self.successResultOf(waiting))

    def test_cancelled(self) -> None:
        """Who has gone leaves neither a timer nor a place."""
        waiting = self.room.wait(1, 5)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.room.look(9)
        self.assertEqual(self.clock.getDelayedCalls(), [])
