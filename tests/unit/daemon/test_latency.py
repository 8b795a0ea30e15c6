"""How long events take: what is counted in which hop."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.latency import BOUNDS, Histogram, Latency


class HistogramTests(SynchronousTestCase):
    def test_buckets(self) -> None:
        """A value counts in the first bucket whose bound it does not pass; the last takes the rest."""
        histogram = Histogram()
        for seconds in (0.0005, 0.0006, 31.0):
            histogram.observe(seconds)
        self.assertEqual([index for index, count in enumerate(histogram.counts) if count], [0, 1, len(BOUNDS)])
        self.assertAlmostEqual(histogram.sum, 31.0011)

    def test_clocks_that_differ(self) -> None:
        """A time before 0 is none."""
        histogram = Histogram()
        histogram.observe(-5.0)
        self.assertEqual((histogram.counts[0], histogram.sum), (1, 0.0))


class LatencyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.latency = Latency(self.clock.seconds, lambda: 1000.5)

    def sums(self) -> dict[str, float]:
        """Of each hop, the seconds of all."""
        return {hop: round(each.sum, 6) for hop, each in self.latency.hops.items()}

    def counted(self, hop: str) -> int:
        """How many values there are."""
        return sum(self.latency.hops[hop].counts)

    def test_each_hop(self) -> None:
        """Commit to network, network to here, here to the transports."""
        self.latency.arrived(1_000_000, 1_000_200)
        self.clock.advance(0.004)
        self.latency.arrived(1_000_000, 1_000_200)
        self.clock.advance(0.001)
        self.latency.flushed()
        self.assertEqual(self.sums(), {"commit": 0.4, "broker": 0.6, "queue": 0.01, "socket": 0.0})
        self.assertEqual(self.counted("queue"), 2)

    def test_a_turn_that_brought_nothing(self) -> None:
        """A flush for another reason is no latency."""
        self.latency.flushed()
        self.assertEqual(self.counted("queue"), 0)

    def test_publishers_that_do_not_say_when_they_sent(self) -> None:
        """Neither of the first two hops is known then, whatever stands there instead."""
        for sent in (None, "now", 2**62, True):
            self.latency.arrived(1_000_000, sent)
        self.assertEqual((self.counted("commit"), self.counted("broker")), (0, 0))

    def test_a_client_that_does_not_read(self) -> None:
        """Its transport's time is taken when it has caught up or gone, once."""
        client = object()
        self.latency.stalled(client)
        self.assertEqual(self.latency.stalls, 1)
        self.clock.advance(3)
        self.latency.drained(client)
        self.latency.drained(client)
        self.assertEqual((self.counted("socket"), self.sums()["socket"], self.latency.stalls), (1, 3.0, 0))
