"""Tests of livepush.daemon.epochs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.epochs import Epochs


class EpochsTests(SynchronousTestCase):
    """An answer knows whether it is outdated."""

    def test_a_user(self) -> None:
        """What concerns one user outdates only his answers, and only those that began before."""
        epochs = Epochs()
        before = epochs.count
        epochs.note("7")
        self.assertTrue(epochs.is_stale("7", before))
        for user in ("8", None):
            self.assertFalse(epochs.is_stale(user, before))
        self.assertFalse(epochs.is_stale("7", epochs.count))

    def test_everybody(self) -> None:
        """What concerns a group outdates all answers, those of anonymous visitors too."""
        epochs = Epochs()
        epochs.note(None)
        for user in ("7", None):
            self.assertTrue(epochs.is_stale(user, 0))
            self.assertFalse(epochs.is_stale(user, 1))

    def test_bounded(self) -> None:
        """Over the bound nobody is forgotten: everybody counts as concerned."""
        epochs = Epochs(users=3)
        for name in "abcd":
            epochs.note(name)
        for user in ("a", "d", "z", None):
            self.assertTrue(epochs.is_stale(user, 3))
        self.assertEqual(len(epochs._users), 0)
