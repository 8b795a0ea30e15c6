"""Tests of livepush.wire.closing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.wire.closing import Close


class CloseTests(SynchronousTestCase):
    """The range says whether the client comes back."""

    def test_range(self) -> None:
        """40xx: come back. 44xx: do not."""
        self.assertEqual({code for code in Close if code.reconnects}, {code for code in Close if code < 4100})
        self.assertTrue(Close.TOO_SLOW.reconnects)
        self.assertFalse(Close.IDENTITY.reconnects)

    def test_applications_own(self) -> None:
        """Every code is of the range that RFC 6455 leaves to applications."""
        self.assertTrue(all(4000 <= code <= 4999 for code in Close))
