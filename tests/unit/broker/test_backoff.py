from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.backoff import Backoff


class Highest(random.Random):
    """Always chooses the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


class BackoffTests(SynchronousTestCase):
    def test_the_bound_doubles_up_to_the_most(self) -> None:
        """1 to 2 s, 1 to 4 s, 1 to 8 s, then 1 to 10 s."""
        backoff = Backoff(1.0, 10.0, Highest())
        self.assertEqual([backoff.next() for _ in range(6)], [2.0, 4.0, 8.0, 10.0, 10.0, 10.0])

    def test_never_sooner_than_the_least(self) -> None:
        """With 1.0 there is at most one attempt a second; the whole interval is used."""
        backoff = Backoff(1.0, 10.0, random.Random(1))
        delays = [backoff.next() for _ in range(500)]
        self.assertGreaterEqual(min(delays), 1.0)
        self.assertLessEqual(max(delays), 10.0)
        self.assertLess(min(delays[4:]), 1.5)
        self.assertGreater(max(delays[4:]), 9.5)

    def test_a_success_begins_anew(self) -> None:
        """The next failure waits as the first did."""
        backoff = Backoff(1.0, 10.0, Highest())
        for _ in range(4):
            backoff.next()
        backoff.reset()
        self.assertEqual(backoff.next(), 2.0)

    def test_a_broker_away_for_a_year(self) -> None:
        """The number of attempts does not overflow anything."""
        backoff = Backoff(1.0, 10.0, Highest())
        for _ in range(5_000):
            delay = backoff.next()
        self.assertEqual(delay, 10.0)
