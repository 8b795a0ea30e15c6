"""A soak can be had again, and leaves no fault out."""

from __future__ import annotations

from itertools import islice

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.faults import FAULTS, possible
from tests.soak.schedule import slots


class ScheduleTests(SynchronousTestCase):
    def test_again(self) -> None:
        """The same seed gives the same faults, another one others."""
        names = sorted(FAULTS)
        first, again, other = (list(islice(slots(names, seed), 40)) for seed in (1, 1, 2))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_all(self) -> None:
        """All come once before any comes again."""
        names = sorted(FAULTS)
        taken = [slot.name for slot in islice(slots(names, 7), 2 * len(names))]
        self.assertEqual(sorted(taken[: len(names)]), names)
        self.assertEqual(sorted(taken[len(names) :]), names)

    def test_possible(self) -> None:
        """A lone node is never asked for its leader, nor an SQLite file to restart."""
        self.assertIn("leader-kill", possible(cluster=True, postgresql=True))
        self.assertNotIn("leader-kill", possible(cluster=False, postgresql=True))
        self.assertNotIn("database-kill", possible(cluster=False, postgresql=False))
        self.assertNotIn("redis-kill", possible(cluster=False, postgresql=True))
        alone, several = (possible(cluster=cluster, postgresql=True) for cluster in (False, True))
        self.assertEqual({*alone, *several}, set(FAULTS))
