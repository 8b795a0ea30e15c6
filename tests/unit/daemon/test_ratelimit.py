"""A token bucket that is one moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.ratelimit import Meter, Rate


class MeterTests(SynchronousTestCase):
    """What may happen how often."""

    def test_a_burst_then_the_rate(self) -> None:
        """After a pause the whole burst at once, then one for each share of a second."""
        meter = Meter(Rate(20, 40))
        self.assertEqual(sum(meter.take(7.0) for _ in range(100)), 40)
        self.assertFalse(meter.take(7.04))
        self.assertTrue(meter.take(7.05))
        self.assertFalse(meter.take(7.05))
        self.assertEqual(sum(meter.take(9.0) for _ in range(100)), 39)
        self.assertEqual(sum(meter.take(3_600.0) for _ in range(100)), 40)

    def test_how_long_to_wait(self) -> None:
        """Whoever waits as long as he is told gets the next one, and none sooner."""
        meter = Meter(Rate(20, 2))
        self.assertEqual(meter.wait(5.0), 0.0)
        while meter.take(5.0):
            pass
        self.assertAlmostEqual(meter.wait(5.0), 0.05)
        self.assertFalse(meter.take(5.0 + meter.wait(5.0) - 0.001))
        self.assertTrue(meter.take(5.0 + meter.wait(5.0)))

    @given(
        st.integers(1, 1_000),
        st.integers(1, 100),
        st.lists(st.floats(0, 0.5, allow_nan=False), min_size=1, max_size=200),
    )
    def test_never_more_than_burst_and_rate(self, per_second: int, burst: int, pauses: list[float]) -> None:
        """In no time span more than the burst and the rate's share of it, whatever the moments."""
        meter, now, taken = Meter(Rate(per_second, burst)), 1_000.0, []
        for pause in pauses:
            now += pause
            if meter.take(now):
                taken.append(now)
        for first in range(len(taken)):
            for last in range(first, len(taken)):
                allowed = burst + (taken[last] - taken[first]) * per_second
                self.assertLessEqual(last - first + 1, allowed + 0.001)
