"""Tests of livepush.daemon.entitlement."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.names import ChannelPattern
from livepush.daemon.entitlement import PERSONAL, AudienceRule, ChannelRule, Directory, Grant, Snapshot
from tests.unit.daemon.doubles import RULES, make_client, make_moderator, make_snapshot

VISITOR = Snapshot(None, None, None, None, frozenset(), False, True)


class DirectoryTests(SynchronousTestCase):
    """Who may hear what."""

    def setUp(self) -> None:
        self.directory = Directory(RULES)

    def test_first_audience(self) -> None:
        """A user listens as the first audience whose permission he holds."""
        self.assertEqual(self.directory.grant(make_client(), "orders"), Grant("orders", "client"))
        self.assertEqual(self.directory.grant(make_moderator(), "orders"), Grant("orders", "moderator"))
        self.assertIsNone(self.directory.grant(make_snapshot(), "orders"))

    def test_without_permission(self) -> None:
        """An audience without a permission holds any logged-in user, and a visitor who is admitted."""
        self.assertEqual(self.directory.grant(make_snapshot(), "news"), Grant("news", "all"))
        self.assertEqual(self.directory.grant(VISITOR, "news"), Grant("news", "all"))
        stranger = Snapshot(None, None, None, None, frozenset(), False, False)
        self.assertIsNone(self.directory.grant(stranger, "news"))

    def test_own_channel(self) -> None:
        """Everybody has his own channel and nobody another's; a visitor has none."""
        self.assertEqual(self.directory.grant(make_snapshot(7), "user.7"), Grant("user.7", PERSONAL))
        self.assertIsNone(self.directory.grant(make_snapshot(7), "user.70"))
        self.assertIsNone(self.directory.grant(VISITOR, "user.None"))
        odd = Snapshot("a b@c", "a b@c", None, None, frozenset(), False, True)
        (own, *_) = self.directory.declared(odd)
        self.assertEqual(self.directory.grant(odd, own), Grant(own, PERSONAL))

    def test_patterns(self) -> None:
        """A pattern stands for one word; its object-level rule goes with the grant; a plain name comes first."""
        grant = self.directory.grant(make_client(), "orders.5")
        self.assertEqual(grant, Grant("orders.5", "client", RULES[2]))
        self.assertIsNone(self.directory.grant(make_client(), "orders.5.6"))
        self.assertIsNone(self.directory.rule_for("nothing"))
        plain = ChannelRule(ChannelPattern("orders.all"), (AudienceRule("x", None),))
        self.assertIs(Directory((*RULES, plain)).rule_for("orders.all"), plain)

    def test_declared(self) -> None:
        """His own channel, and the channels subscribed by declaration, whether he may have them or not."""
        for snapshot in (make_client(), make_snapshot(7)):
            self.assertEqual(self.directory.declared(snapshot), ("user.7", "orders"))
        self.assertEqual(self.directory.declared(VISITOR), ("orders",))
