"""Tickets that are good once, however many processes they are shown to."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.errors import Busy
from livepush.daemon.redemption import SECONDS, WAIT_SECONDS, Redemption


class Log:
    """What stands in the broker's log; each process reads it when the test lets it."""

    def __init__(self) -> None:
        self.records: list[tuple[int, str]] = []


class Process:
    """One process, and how far it has read."""

    def __init__(self, log: Log, clock: Clock, most: int = 100) -> None:
        self.log, self.read = log, 0
        self.takes = True
        self.redemption = Redemption(clock, self.publish, most)

    def publish(self, claim: str) -> bool:
        if self.takes:
            self.log.records.append((id(self), claim))
        return self.takes

    def take(self, claim: str) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.redemption.take(claim))

    def catch_up(self) -> None:
        for who, claim in self.log.records[self.read :]:
            self.redemption.met(claim, who == id(self))
        self.read = len(self.log.records)


class RedemptionTests(SynchronousTestCase):
    """First in the log is first."""

    def setUp(self) -> None:
        self.clock, self.log = Clock(), Log()
        self.first, self.second = Process(self.log, self.clock), Process(self.log, self.clock)

    def test_once(self) -> None:
        """It is good when the claim has come back, and never again, here or there, also where nothing waits."""
        taken = self.first.take("t")
        self.assertNoResult(taken)
        self.first.catch_up()
        self.assertTrue(self.successResultOf(taken))
        self.assertFalse(self.successResultOf(self.first.take("t")))
        self.second.catch_up()
        self.assertFalse(self.successResultOf(self.second.take("t")))
        self.assertEqual(len(self.log.records), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_the_same_time(self) -> None:
        """Shown to two processes at once, it is the one's whose claim stands first, in whatever order they read."""
        mine, theirs = self.first.take("t"), self.second.take("t")
        self.second.catch_up()
        self.assertFalse(self.successResultOf(theirs))
        self.first.catch_up()
        self.assertTrue(self.successResultOf(mine))

    def test_twice_to_one(self) -> None:
        """Shown to one process by two at once, it is the first one's."""
        first, second = self.first.take("t"), self.first.take("t")
        self.assertFalse(self.successResultOf(second))
        self.first.catch_up()
        self.assertTrue(self.successResultOf(first))

    def test_a_process_that_starts(self) -> None:
        """It has read the log, so it knows what was taken before it was there."""
        taken = self.first.take("t")
        self.first.catch_up()
        self.assertTrue(self.successResultOf(taken))
        late = Process(self.log, self.clock)
        late.catch_up()
        self.assertFalse(self.successResultOf(late.take("t")))

    def test_late(self) -> None:
        """A claim that does not come back in time makes the client come back with another ticket: this one is used."""
        taken = self.first.take("t")
        self.clock.advance(WAIT_SECONDS)
        self.failureResultOf(taken, Busy)
        self.first.catch_up()
        self.assertFalse(self.successResultOf(self.first.take("t")))

    def test_no_broker(self) -> None:
        """What could not be claimed was not used up."""
        self.first.takes = False
        self.failureResultOf(self.first.take("t"), Busy)
        self.first.takes = True
        taken = self.first.take("t")
        self.first.catch_up()
        self.assertTrue(self.successResultOf(taken))

    def test_bound(self) -> None:
        """What can't be remembered is not taken: at the bound none is, until the oldest are as old as no ticket is."""
        small = Process(self.log, self.clock, most=2)
        taken = [small.take(claim) for claim in ("a", "b")]
        small.catch_up()
        self.assertEqual([self.successResultOf(each) for each in taken], [True, True])
        elsewhere = self.first.take("c")
        self.first.catch_up()
        self.assertTrue(self.successResultOf(elsewhere))
        small.catch_up()
        self.failureResultOf(small.take("c"), Busy)
        self.failureResultOf(small.take("d"), Busy)
        self.clock.advance(SECONDS)
        taken = [small.take("e")]
        small.catch_up()
        self.assertTrue(self.successResultOf(taken[0]))

    def test_counters(self) -> None:
        """Those that were good, and those that were not."""
        self.first.take("t")
        self.first.catch_up()
        self.first.take("t")
        self.assertEqual((self.first.redemption.redeemed, self.first.redemption.refused), (1, 1))
