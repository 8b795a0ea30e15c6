"""When a relay may take the outbox's lease."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.lease import LEASE_SECONDS, LeaseRow, Watch

ROW = LeaseRow("outbox-1", "shop", 7, 3, 40, "host process 1")


class WatchTests(SynchronousTestCase):
    def test_nobodys(self) -> None:
        """A lease that was given back, or never taken, is taken at once."""
        self.assertTrue(Watch().may_take(replace(ROW, holder=""), 100.0))

    def test_held(self) -> None:
        """A held lease is taken when it has stood still for the lease's time, measured from the first look."""
        watch = Watch()
        self.assertFalse(watch.may_take(ROW, 100.0))
        self.assertFalse(watch.may_take(ROW, 100.0 + LEASE_SECONDS - 0.01))
        self.assertTrue(watch.may_take(ROW, 100.0 + LEASE_SECONDS))

    def test_beating(self) -> None:
        """Each beat, and each take by another, begins the time anew."""
        watch = Watch()
        for second in range(60):
            self.assertFalse(watch.may_take(replace(ROW, beats=ROW.beats + second // 4), float(second)))
        self.assertFalse(watch.may_take(replace(ROW, beats=ROW.beats + 14, generation=4), 60.0))
        self.assertFalse(watch.may_take(replace(ROW, beats=ROW.beats + 14, generation=4), 60.0 + LEASE_SECONDS - 0.01))
