"""Tests of `livepush.broker.acknowledgements`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.acknowledgements import Acknowledgements


class AcknowledgementsTests(SynchronousTestCase):
    """When it is time."""

    def deliver(self, acknowledgements: Acknowledgements, tag: int, size: int = 10) -> None:
        acknowledgements.tag = tag
        acknowledgements.bytes += size

    def test_messages(self) -> None:
        """So many are due, fewer wait, and an acknowledgement is for all."""
        acknowledgements = Acknowledgements(3, 1000)
        self.deliver(acknowledgements, 1)
        self.deliver(acknowledgements, 2)
        self.assertEqual((acknowledgements.waiting, acknowledgements.due), (2, False))
        self.deliver(acknowledgements, 3)
        self.assertTrue(acknowledgements.due)
        acknowledgements.done()
        self.assertEqual((acknowledgements.waiting, acknowledgements.due, acknowledgements.bytes), (0, False, 0))
        self.deliver(acknowledgements, 4)
        self.assertEqual((acknowledgements.waiting, acknowledgements.due), (1, False))

    def test_bytes(self) -> None:
        """One large body is due at once."""
        acknowledgements = Acknowledgements(100, 1000)
        self.deliver(acknowledgements, 1, 999)
        self.assertFalse(acknowledgements.due)
        self.deliver(acknowledgements, 2, 1)
        self.assertTrue(acknowledgements.due)
