"""How many connections a user and an address may have."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.addresses import Proxies
from livepush.daemon.front import CROWDED, CROWDED_SECONDS, Front
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.wire.closing import Close
from tests.unit.daemon.doubles import Browser, FakeIdentity, make_client, make_hub

LIMITS = Limits(user_connections=3, address_connections=2)
TOO_MANY = (Close.TOO_MANY, "too many connections of this user")


class UserTests(SynchronousTestCase):
    """Tabs count, not sockets."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)

    def tab(self, name: str | None, user: int = 7) -> Browser:
        """A connection that has said which tab it is; None: it says nothing of that."""
        browser = Browser(self.hub, make_client(user), limits=LIMITS)
        if browser.link.closed_with is None:
            browser.greets(**({} if name is None else {"tab": name}))
        return browser

    def test_one_too_many(self) -> None:
        """The newest is refused, for good, and hears nothing; those that are there stay, and so do other users."""
        tabs = [self.tab(name) for name in "abc"]
        refused = self.tab("d")
        self.assertEqual(refused.link.closed_with, TOO_MANY)
        self.assertEqual(refused.link.written, [])
        self.assertEqual([tab.link.closed_with for tab in tabs], [None] * 3)
        self.assertIsNone(self.tab("d", user=8).link.closed_with)
        tabs[0].connection.closed()
        self.assertIsNone(self.tab("d").link.closed_with)

    def test_a_second_one_of_a_tab(self) -> None:
        """Tabs that open their next connection before they drop the old one pass, all of them at once."""
        for name in "abc":
            self.tab(name)
        new = [Browser(self.hub, make_client(7), limits=LIMITS) for _ in "abc"]
        for browser, name in zip(new, "abc", strict=True):
            browser.greets(tab=name)
        self.assertEqual([browser.link.closed_with for browser in new], [None] * 3)
        self.assertEqual(self.tab("d").link.closed_with, TOO_MANY)

    def test_without_a_tab(self) -> None:
        """A connection that names none counts by itself."""
        for _ in range(3):
            self.assertIsNone(self.tab(None).link.closed_with)
        self.assertEqual(self.tab(None).link.closed_with, TOO_MANY)

    def test_listeners(self) -> None:
        """Who says no hello counts at once."""
        for _ in range(3):
            self.assertIsNone(Browser(self.hub, make_client(7), greets=False, limits=LIMITS).link.closed_with)
        refused = Browser(self.hub, make_client(7), greets=False, limits=LIMITS)
        self.assertEqual((refused.link.closed_with, refused.link.written), (TOO_MANY, []))

    def test_who_never_says_hello(self) -> None:
        """Silent connections of one user are bounded too, until their time is over."""
        silent = [Browser(self.hub, make_client(7), limits=LIMITS) for _ in range(20)]
        self.assertEqual(sum(browser.link.closed_with is None for browser in silent), 2 * LIMITS.user_connections)


class AddressTests(SynchronousTestCase):
    """Connections by where their client is."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)
        identity = FakeIdentity(make_client())
        self.front = Front(self.hub, identity, OriginSettings(), LIMITS, self.clock, lambda: True, Proxies())

    def test_a_crowd(self) -> None:
        """Over the bound of one address nobody more is let in from there; somebody who goes makes room."""
        here = "198.51.100.7"

        for _ in range(2):
            self.assertIsNone(self.front.closed_because(here))
            self.hub.visitors.enter(here)
        self.assertEqual(self.front.closed_because(here), (CROWDED, CROWDED_SECONDS))
        self.assertIsNone(self.front.closed_because("198.51.100.8"))
        self.assertIsNone(self.front.closed_because(None))
        self.hub.visitors.leave(here)
        self.assertIsNone(self.front.closed_because(here))

    def test_a_connection_is_counted_as_long_as_it_lives(self) -> None:
        """Once, however it ends."""
        browser = Browser(self.hub, make_client(7))
        self.assertEqual(self.hub.visitors.total, 1)
        browser.connection.close(Close.GOING_AWAY, "bye")
        browser.connection.closed()
        browser.connection.closed()
        self.assertEqual(self.hub.visitors.total, 0)
