"""Clients are sent away a few at a time, each in the way that it understands."""

from __future__ import annotations

from collections import Counter

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.drain import Drain
from livepush.wire.closing import Close


class Client:
    """A connection that notes when it was told what; it goes so many seconds after it was told, if it can."""

    def __init__(self, clock: Clock, overlaps: bool, broken: bool = False) -> None:
        self.clock, self.overlaps, self.broken = clock, overlaps, broken
        self.ended = self.aborted = False
        self.told = self.after = self.closed = -1.0

    def send_away(self, after: int) -> None:
        """Notes it."""
        if self.broken:
            raise RuntimeError("broken")
        self.told, self.after = self.clock.seconds(), after

    def close(self, code: Close, reason: str) -> None:
        """Notes it."""
        assert code is Close.GOING_AWAY
        self.closed, self.ended = self.clock.seconds(), True

    def abort(self) -> None:
        """Notes it."""
        self.ended = self.aborted = True


class DrainTests(SynchronousTestCase):
    """Ten seconds of it."""

    def setUp(self) -> None:
        self.clock = Clock()

    def drain(self, *clients: Client) -> Drain:
        """Begun."""
        drain = Drain(self.clock, 10.0, clients, lambda: sum(not client.ended for client in clients))
        self.done = drain.start()
        return drain

    def test_those_who_can_go_over(self) -> None:
        """Each is told in the first half, at a time of its own, and has half of the time to go; only then it is
        closed."""
        clients = [Client(self.clock, True) for _ in range(100)]
        self.drain(*clients)
        self.clock.pump([0.05] * 220)
        self.successResultOf(self.done)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for client in clients:
            self.assertTrue(0 <= client.told < 5.11, client.told)
            self.assertTrue(4.9 < client.closed - client.told < 5.3, client.closed - client.told)
            self.assertTrue(0 <= client.after <= 100)
        told = Counter(int(client.told) for client in clients)
        self.assertLessEqual(max(told.values()), 25)

    def test_those_who_only_hear_the_end(self) -> None:
        """A stock client is closed at a time of its own, spread over the whole, and is told before when that is."""
        clients = [Client(self.clock, False) for _ in range(100)]
        self.drain(*clients)
        self.clock.pump([0.05] * 220)
        self.successResultOf(self.done)
        closed = Counter(int(client.closed / 2) for client in clients)
        self.assertEqual(sorted(closed), [0, 1, 2, 3, 4])
        self.assertLessEqual(max(closed.values()), 25)
        for client in clients:
            self.assertLess(abs(client.told + client.after / 1000 - client.closed), 0.2)

    def test_the_order_is_random(self) -> None:
        """Who came first is not told first: what connects together leaves apart."""
        clients = [Client(self.clock, True) for _ in range(100)]
        self.drain(*clients)
        self.clock.pump([0.05] * 120)
        told = [client.told for client in clients]
        self.assertNotEqual(told, sorted(told))

    def test_over_when_all_have_gone(self) -> None:
        """Nobody waits for the rest of the time when there is nobody left."""
        clients = [Client(self.clock, True) for _ in range(10)]
        self.drain(*clients)
        self.clock.pump([0.05] * 80)
        self.assertNoResult(self.done)
        for client in clients:
            client.ended = True
        self.clock.advance(0.1)
        self.successResultOf(self.done)
        self.assertEqual([client.closed for client in clients], [-1.0] * 10)

    def test_one_that_breaks(self) -> None:
        """A broken connection is dropped, and keeps nobody else from being told."""
        clients = [Client(self.clock, True, broken=number == 3) for number in range(10)]
        self.drain(*clients)
        self.clock.pump([0.05] * 120)
        self.assertEqual([client.aborted for client in clients], [number == 3 for number in range(10)])
        self.assertEqual(sum(client.told >= 0 for client in clients), 9)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
