"""Tests of livepush.daemon.endings, and of what the hub does with them."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event, session_hash
from livepush.daemon.endings import MOST, SECONDS, Endings
from livepush.daemon.entitlement import Snapshot
from tests.unit.daemon.doubles import Browser, make_client, make_hub


def visitor(user: str = "7", key: str = "a-session") -> Snapshot:
    """Somebody who is logged in."""
    return Snapshot(user, int(user), key, "hash", frozenset({"orders.lock_order"}), is_superuser=False, admitted=True)


def logout(user: str | None = "7", key: str = "a-session") -> Control:
    """Django says that a session is over."""
    return Control("logout", user, session_hash(key))


class EndingsTests(SynchronousTestCase):
    """Who is still being found out when he is told to go."""

    def test_disconnect(self) -> None:
        """It ends what began before it, and nothing that began later."""
        endings = Endings()
        self.assertIsNone(endings.why(visitor(), 0, 0))
        endings.note(Control("disconnect", "7", why="maintenance"), 0)
        self.assertEqual(endings.why(visitor(), 0, 0), "maintenance")
        self.assertIsNone(endings.why(visitor("8"), 0, 0))
        self.assertIsNone(endings.why(visitor(), endings.count, 0))

    def test_logout(self) -> None:
        """Nobody comes in by a session that is over, though the database does not say so yet; a new login may."""
        endings = Endings()
        endings.note(logout(), 0)
        for since in (0, endings.count):
            self.assertEqual(endings.why(visitor(), since, SECONDS - 1), "logged out")
        self.assertIsNone(endings.why(visitor(key="another"), 0, 0))
        self.assertIsNone(endings.why(visitor(), endings.count, SECONDS + 1))

    def test_logout_and_disconnect(self) -> None:
        """A session that is over stays over, whatever else is said of it."""
        endings = Endings()
        endings.note(logout(), 0)
        endings.note(Control("disconnect", None, session_hash("a-session"), why="moved"), 1)
        self.assertEqual(endings.why(visitor(), endings.count, 2), "logged out")

    def test_bound(self) -> None:
        """The oldest are forgotten, over the bound and when their time is over."""
        endings = Endings(most=2)
        for key in "abc":
            endings.note(logout(key=key), 0)
        found = [endings.why(visitor(key=key), endings.count, 1) for key in "abc"]
        self.assertEqual(found, [None, "logged out", "logged out"])
        endings.note(logout(key="d"), SECONDS + 1)
        self.assertEqual(len(endings._sessions), 1)
        self.assertGreaterEqual(MOST, 10_000)


class ExpulsionTests(SynchronousTestCase):
    """A message of the site ends connections in the step in which it comes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)

    def publish(self) -> None:
        self.hub.event(Event("orders", "done", {}), "p-1", 9, 50)

    def test_logout(self) -> None:
        """The tabs of that session end, those of the user's other browsers and of others do not."""
        here, there = Browser(self.hub, visitor()).greets(), Browser(self.hub, visitor(key="b")).greets()
        other = Browser(self.hub, make_client(9)).greets()
        for browser in (here, there, other):
            browser.link.messages()
        self.publish()
        self.hub.control(logout())
        self.hub.flush()
        codes = [(browser.link.closed_with, browser.link.ops()) for browser in (here, there, other)]
        self.assertEqual(codes, [((4401, "logged out"), []), (None, ["event"]), (None, ["event"])])

    def test_of_an_unknown_user(self) -> None:
        """A session is found without its user's name."""
        browser, other = Browser(self.hub, visitor()).greets(), Browser(self.hub, visitor(key="b")).greets()
        self.hub.control(Control("disconnect", None, session_hash("a-session"), why="moved"))
        self.assertEqual((browser.link.closed_with, other.link.closed_with), ((4401, "moved"), None))

    def test_disconnect(self) -> None:
        """All tabs of a user end, and may come back as long as the session is a login."""
        browsers = [Browser(self.hub, visitor()).greets(), Browser(self.hub, visitor(key="b"))]
        self.hub.control(Control("disconnect", "7", why="maintenance"))
        self.assertEqual([browser.link.closed_with for browser in browsers], [(4401, "maintenance")] * 2)
        (welcome,) = Browser(self.hub, visitor()).says(op="hello", n=0)
        self.assertEqual(welcome["op"], "welcome")

    def test_who_is_being_found_out(self) -> None:
        """A connection whose user is being looked up when he is told to go ends as soon as he is known."""
        browser = Browser(self.hub, visitor(), waits=True)
        self.hub.control(Control("disconnect", "7", why="maintenance"))
        browser.answered()
        self.assertEqual((browser.link.closed_with, browser.link.written), ((4401, "maintenance"), []))

    def test_too_early(self) -> None:
        """Django tells of a logout before it deletes the session: who comes in between finds the door shut."""
        self.hub.control(logout())
        browser = Browser(self.hub, visitor())
        self.assertEqual(browser.link.closed_with, (4401, "logged out"))


class RevocationTests(SynchronousTestCase):
    """Who may listen to one channel is asked anew."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)

    def browser(self, user: int = 7, channel: str = "orders.5") -> Browser:
        browser = Browser(self.hub, make_client(user)).greets(channels={channel: None})
        browser.link.messages()
        browser.identity.asked.clear()
        return browser

    def test_a_user(self) -> None:
        """He is told `gone` when the rule says no now; his other tabs and others are not even asked."""
        browser, elsewhere, other = self.browser(), self.browser(channel="news"), self.browser(9)
        browser.identity.allowed = set()
        self.hub.control(Control("revoke", "7", channel="orders.5"))
        self.hub.event(Event("orders.5", "done", {}), "p-1", 9, 50)
        self.hub.flush()
        self.assertEqual([each.link.ops() for each in (browser, elsewhere, other)], [["gone"], [], ["event"]])
        self.assertEqual((elsewhere.identity.asked, other.identity.asked), ([], []))

    def test_everybody(self) -> None:
        """Without a user, everybody who listens to it, or would if he might."""
        browser, other, news = self.browser(), self.browser(9), self.browser(8, "news")
        browser.identity.allowed = set()
        self.hub.control(Control("revoke", channel="orders.5"))
        self.clock.advance(0.2)
        self.assertEqual([each.link.ops() for each in (browser, other, news)], [["gone"], [], []])
        self.assertEqual(news.identity.asked, [])
        browser.identity.allowed = {"orders.5"}
        self.hub.control(Control("revoke", channel="orders.5"))
        self.clock.advance(0.2)
        self.assertEqual(browser.link.ops(), ["back"])
