"""Tests of livepush.daemon.heartbeat."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.heartbeat import SLOTS, Heartbeat


class Member:
    """Notes when it was called."""

    def __init__(self, clock: Clock, fails: bool = False) -> None:
        self.clock, self.fails, self.beats = clock, fails, list[float]()

    def beat(self) -> None:
        """One interval has passed."""
        self.beats.append(round(self.clock.seconds(), 6))
        if self.fails:
            raise RuntimeError("broken")


class HeartbeatTests(SynchronousTestCase):
    """One timer for all connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.heartbeat = Heartbeat(25.0, self.clock)

    def pump(self, seconds: float) -> None:
        """Lets time pass, a slot at a time."""
        self.clock.pump([25.0 / SLOTS] * round(seconds * SLOTS / 25.0))

    def test_every_interval(self) -> None:
        """The first beat comes after a whole interval, the next ones an interval apart."""
        member = Member(self.clock)
        self.heartbeat.add(member)
        self.pump(75)
        self.assertEqual(member.beats, [25.0, 50.0, 75.0])

    def test_spread(self) -> None:
        """Members that come at different times are called at different times, on the same timer."""
        early, late = Member(self.clock), Member(self.clock)
        self.heartbeat.add(early)
        self.pump(10)
        self.heartbeat.add(late)
        self.pump(40)
        self.assertEqual((early.beats, late.beats), ([25.0, 50.0], [35.0]))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_stops_with_the_last(self) -> None:
        """No members, no timer; who has gone is not called; a member again starts it again."""
        member = Member(self.clock)
        self.heartbeat.add(member)
        self.heartbeat.discard(member)
        self.heartbeat.discard(member)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.heartbeat.add(member)
        self.pump(25)
        self.assertEqual(member.beats, [25.0])

    def test_leaves_during_a_beat(self) -> None:
        """A member that ends another one in its beat stops nobody else."""
        victim = Member(self.clock)

        class Killer(Member):
            def beat(inner) -> None:  # noqa: N805
                super().beat()
                self.heartbeat.discard(inner)

        killer, other = Killer(self.clock), Member(self.clock)
        for member in (killer, victim, other):
            self.heartbeat.add(member)
        self.pump(50)
        self.assertEqual((killer.beats, other.beats), ([25.0], [25.0, 50.0]))

    def test_a_broken_member(self) -> None:
        """An exception is logged and the others go on."""
        broken, other = Member(self.clock, fails=True), Member(self.clock)
        self.heartbeat.add(broken)
        self.heartbeat.add(other)
        self.pump(25)
        self.assertEqual(other.beats, [25.0])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
