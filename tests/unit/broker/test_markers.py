"""Tests of `livepush.broker.markers`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.markers import KEPT, Markers


class MarkersTests(SynchronousTestCase):
    """Numbers, round trips, and what is missing."""

    def test_a_round_trip(self) -> None:
        """From the sending to the meeting; a marker that comes again, or a stranger's number, says nothing."""
        markers = Markers()
        self.assertEqual(markers.age(5.0), float("inf"))
        self.assertEqual((markers.send(10.0), markers.age(12.0)), (1, 2.0))
        self.assertEqual(markers.met(1, 10.25), 0.25)
        self.assertIsNone(markers.met(1, 11.0))
        self.assertIsNone(markers.met(7, 11.0))

    def test_one_that_came_is_the_end_of_those_before(self) -> None:
        """They were lost when the stream was only just starting, and are waited for no longer."""
        markers = Markers()
        for now in (1.0, 2.0, 3.0):
            markers.confirmed(markers.send(now), now)
        self.assertEqual(markers.met(2, 4.0), 2.0)
        self.assertEqual(markers.missing(13.0), 10.0)
        self.assertEqual(markers.met(3, 13.0), 10.0)
        self.assertEqual(markers.missing(13.0), 0.0)

    def test_missing_counts_from_the_confirm(self) -> None:
        """Until then the broker has not taken it, and that is another trouble."""
        markers = Markers()
        markers.send(1.0)
        self.assertEqual((markers.missing(9.0), markers.unconfirmed(9.0)), (0.0, 8.0))
        markers.confirmed(1, 10.0)
        markers.confirmed(1, 11.0)
        self.assertEqual((markers.missing(12.0), markers.unconfirmed(12.0)), (2.0, 0.0))

    def test_unroutable(self) -> None:
        """When none of those that are waited for had a queue."""
        markers = Markers()
        self.assertFalse(markers.unroutable)
        markers.send(1.0)
        markers.returned(1)
        markers.confirmed(1, 1.0)
        self.assertTrue(markers.unroutable)
        markers.confirmed(markers.send(2.0), 2.0)
        self.assertFalse(markers.unroutable)

    def test_bounded(self) -> None:
        """Of a log that never shows one, only so many are remembered; numbers go on all the same."""
        markers = Markers()
        for now in range(KEPT + 1):
            markers.send(float(now))
        self.assertIsNone(markers.met(1, 200.0))
        self.assertEqual(markers.met(2, 201.0), 200.0)
        self.assertEqual(markers.newest, KEPT + 1)

    def test_forget(self) -> None:
        """Those of a connection before are not waited for."""
        markers = Markers()
        markers.send(1.0)
        markers.forget()
        markers.confirmed(1, 2.0)
        markers.returned(1)
        self.assertEqual((markers.met(1, 2.0), markers.missing(9.0), markers.unconfirmed(9.0)), (None, 0.0, 0.0))
        self.assertEqual(markers.send(3.0), 2)
