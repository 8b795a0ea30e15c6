"""Tests of livepush.daemon.suspension, and of connections that are suspended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event
from livepush.daemon.connection import RENEWAL_SECONDS
from livepush.daemon.entitlement import Snapshot
from livepush.daemon.errors import Busy, IdentityUnavailable
from livepush.daemon.settings import Limits
from livepush.daemon.suspension import Reidentification
from tests.unit.daemon.doubles import Browser, make_client, make_hub, make_moderator, make_snapshot

SIEVE: dict[str, Any] = {"views": {"moderator": {"for": "moderators"}, "client": {"for": "clients"}}}


class Member:
    """Something that is identified anew; the test ends its jobs."""

    def __init__(self, suspended: bool = False) -> None:
        self.suspended, self.ended = suspended, False
        self.jobs: list[Deferred[None]] = []

    async def reidentify(self) -> None:
        job: Deferred[None] = Deferred()
        self.jobs.append(job)
        await job


class ReidentificationTests(SynchronousTestCase):
    """A few at a time, the suspended first."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.reidentification = Reidentification(self.clock, at_once=2)

    def ask(self, *members: Member) -> None:
        for member in members:
            self.reidentification.ask(member, again=True)

    def test_bounded(self) -> None:
        """No more than so many jobs run, and the suspended come before those of a sweep that waited longer."""
        first, second, third, urgent = Member(), Member(), Member(), Member(suspended=True)
        self.ask(first, second, third, urgent)
        self.assertEqual([len(each.jobs) for each in (first, second, third, urgent)], [1, 1, 0, 0])
        first.jobs.pop().callback(None)
        self.assertEqual((len(third.jobs), len(urgent.jobs)), (0, 1))
        urgent.jobs.pop().callback(None)
        self.assertEqual(len(third.jobs), 1)

    def test_one_job_a_member(self) -> None:
        """A sweep that begins while a job runs makes one more, however many there are."""
        member = Member()
        self.ask(member, member, member)
        self.assertEqual(len(member.jobs), 1)
        member.jobs.pop().callback(None)
        self.assertEqual(len(member.jobs), 1)
        member.jobs.pop().callback(None)
        self.assertEqual(member.jobs, [])

    def test_refused(self) -> None:
        """What the pool or the database refuses is asked again a second later; a fault of ours is logged as well."""
        member = Member()
        self.ask(member)
        for error in (Busy(), IdentityUnavailable("OperationalError"), ZeroDivisionError()):
            member.jobs.pop().errback(error)
            self.assertEqual(member.jobs, [])
            self.clock.advance(1)
            self.assertEqual(len(member.jobs), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_place_is_given_away(self) -> None:
        """Who has ended holds up nobody, whatever his job still waits for; and is not asked again."""
        stuck, other, waiting = Member(), Member(), Member()
        self.ask(stuck, other, waiting)
        stuck.ended = True
        self.reidentification.discard(stuck)
        self.assertEqual(len(waiting.jobs), 1)
        stuck.jobs.pop().errback(Busy())
        self.clock.advance(5)
        self.assertEqual(stuck.jobs, [])

    def test_nobody_is_left(self) -> None:
        """Who was waited for before the jobs begin has gone: no timer stays, and the next one does not wait."""
        gone, next_one = Member(suspended=True), Member(suspended=True)
        self.reidentification.hold()
        self.ask(gone)
        self.assertEqual((len(gone.jobs), len(self.clock.getDelayedCalls())), (0, 1))
        self.reidentification.discard(gone)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.ask(next_one)
        self.assertEqual(len(next_one.jobs), 1)

    def test_thousands(self) -> None:
        """Answers that are there at once cost no recursion."""

        class Quick(Member):
            async def reidentify(self) -> None:
                done.append(self)

        done: list[Member] = []
        members = [Quick() for _ in range(5_000)]
        blocks = [Member(), Member()]
        self.ask(*blocks, *members)
        self.assertEqual(done, [])
        blocks[0].jobs.pop().callback(None)
        self.assertEqual(len(done), 5_000)


class SuspendedCase(SynchronousTestCase):
    """A hub, and browsers whose identifications wait."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)
        self.number = 0

    def browser(self, snapshot: Snapshot | None = None, **options: Any) -> Browser:
        """A page past its greeting."""
        browser = Browser(self.hub, snapshot or make_client(), **options).greets()
        browser.identity.waits = True
        browser.link.messages()
        return browser

    def publish(self, channel: str = "orders", **more: Any) -> None:
        """One event, of the next number; the turn goes on."""
        self.number += 1
        self.hub.event(Event(channel, "done", {"n": self.number}, **more), f"p-{self.number}", 9, 50)

    def doubt(self, user: str | None = "7") -> None:
        """A control message."""
        self.hub.control(Control("identity", user))


class SuspensionTests(SuspendedCase):
    """Nothing is given to whom it may not concern any more, and nothing is lost for who stays."""

    def test_in_the_same_step(self) -> None:
        """What the turn has gathered is taken back; who is not concerned gets it."""
        browser, other = self.browser(), self.browser(make_client(9))
        self.publish()
        self.doubt()
        self.publish()
        self.hub.flush()
        self.assertEqual((browser.link.written, other.link.ops()), ([], ["event", "event"]))
        browser.answered()
        self.publish()
        self.hub.flush()
        self.assertEqual([each["id"] for each in browser.link.messages()], ["p-1", "p-2", "p-3"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_positions_stay(self) -> None:
        """A frame that was held, or built anew, carries the position of its entry."""
        browser = self.browser()
        self.publish()
        self.doubt()
        self.publish()
        browser.answered()
        self.assertEqual([each["at"] for each in browser.link.messages()], ["me.1.-1.", "me.2.-1."])

    def test_gone_and_back(self) -> None:
        """A right that is taken away and given again: nothing of what lay between, and a position to go on from."""
        browser = self.browser()
        browser.says(op="subscribe", channel="news")
        self.publish()
        self.doubt()
        self.publish("news")
        browser.answered(make_snapshot(7))
        news, gone = browser.link.messages()
        self.assertEqual((news["id"], gone), ("p-2", {"op": "gone", "channel": "orders", "why": "permission"}))
        self.publish()
        self.publish("news")
        self.hub.flush()
        self.assertEqual([each["id"] for each in browser.link.messages()], ["p-4"])
        self.doubt()
        browser.answered(make_client())
        (back,) = browser.link.messages()
        self.assertEqual(back, {"op": "back", "channel": "orders", "audience": "client", "at": "me.4.-1."})
        self.publish()
        self.hub.flush()
        self.assertEqual(browser.link.messages()[0]["id"], "p-5")

    def test_another_audience(self) -> None:
        """Who becomes one of another audience is shown nothing that was meant for the one before, and reloads."""
        browser = self.browser(make_moderator(7))
        self.publish(**SIEVE)
        self.doubt()
        self.publish(**SIEVE)
        browser.answered(make_client())
        self.assertNotIn(b"moderators", b"".join(browser.link.written))
        (back,) = browser.link.messages()
        self.assertEqual((back["op"], back["audience"]), ("back", "client"))
        self.publish(**SIEVE)
        self.hub.flush()
        self.assertEqual(browser.link.messages()[0]["data"]["for"], "clients")

    def test_refused_before(self) -> None:
        """A channel that was asked for and refused is told when it is granted; one that is not wanted any more, not."""
        browser = self.browser(make_snapshot(7))
        browser.says(op="subscribe", n=1, channel="orders")
        self.doubt()
        browser.answered(make_client())
        (back,) = browser.link.messages()
        self.assertEqual((back["op"], back["channel"]), ("back", "orders"))
        self.doubt()
        browser.answered(make_snapshot(7))
        self.assertEqual(browser.says(op="unsubscribe", n=2, channel="orders")[-1]["op"], "ok")
        self.doubt()
        browser.answered(make_client())
        self.assertEqual(browser.link.messages(), [])

    def test_refused_beyond_the_bound(self) -> None:
        """As many as a connection may have are granted, also all at once; the rest stays wanted."""
        browser = self.browser(make_snapshot(7), limits=Limits(subscriptions=2))
        browser.identity.waits = False
        browser.identity.allowed = {"orders.1"}
        for channel in ("orders", "orders.1"):
            browser.says(op="subscribe", channel=channel)
        browser.identity.snapshot = make_client()
        self.doubt()
        self.assertEqual([each["channel"] for each in browser.link.messages()], ["orders"])
        self.hub.distrust(False)
        self.assertEqual(browser.link.messages(), [])
        browser.says(op="unsubscribe", channel="user.7")
        self.doubt()
        self.assertEqual([each["channel"] for each in browser.link.messages()], ["orders.1"])

    def test_held_of_a_slow_peer(self) -> None:
        """What waits because the peer does not read is taken back too; all else keeps its order."""
        browser = self.browser()
        browser.says(op="subscribe", channel="news")
        browser.connection.pauseProducing()
        for channel in ("orders", "news", "orders"):
            self.publish(channel)
            self.hub.flush()
        browser.says(op="unsubscribe", n=5, channel="nothing")
        self.doubt()
        browser.answered(make_snapshot(7))
        self.assertEqual(browser.link.written, [])
        browser.connection.resumeProducing()
        self.assertEqual([each.get("id") or each["op"] for each in browser.link.messages()], ["p-2", "ok", "gone"])

    def test_requests_wait(self) -> None:
        """While nobody knows who it is nothing is answered, nothing is read, and no position is told."""
        browser = self.browser()
        self.doubt()
        self.assertTrue(browser.link.reading_paused)
        for _ in range(4):
            browser.connection.beat()
        self.assertEqual(browser.says(op="subscribe", n=1, channel="orders.5"), [])
        self.assertEqual((browser.link.written, browser.link.code), ([], None))
        browser.answered()
        browser.answered()  # the rule of orders.5
        self.assertEqual([each["op"] for each in browser.link.messages()], ["ok"])
        self.assertFalse(browser.link.reading_paused)

    def test_no_answer(self) -> None:
        """After 5 s without an answer it comes back later, 4029; nothing was given to it, nothing is left of it."""
        browser = self.browser()
        self.doubt()
        self.publish()
        self.hub.flush()
        self.clock.advance(4.9)
        self.assertEqual(browser.link.code, None)
        self.clock.advance(0.2)
        self.assertEqual((browser.link.code, browser.link.written), (4029, []))
        browser.answered()
        self.assertEqual((self.hub.connections, self.hub._rooms, self.clock.getDelayedCalls()), (0, {}, []))

    def test_logged_out(self) -> None:
        """Whose login has ended is closed with 4401, and hears nothing more."""
        browser = self.browser()
        browser.identity.snapshot = None
        self.publish()
        self.doubt()
        browser.answered()
        self.assertEqual(browser.link.code, None)
        self.publish()
        self.hub.flush()
        self.clock.advance(RENEWAL_SECONDS)
        self.assertEqual((browser.link.code, browser.link.written), (4401, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_renewed(self) -> None:
        """Whose session has got another key is told to come back, with the cookie that only the browser has."""
        browser = self.browser()
        browser.identity.snapshot, browser.identity.renewed = None, True
        self.doubt()
        browser.answered()
        self.clock.advance(RENEWAL_SECONDS)
        self.assertEqual((browser.link.code, browser.link.written), (4001, []))

    def test_logged_in_again(self) -> None:
        """Who is a user again in that moment stays, and has missed nothing."""
        browser = self.browser()
        user, browser.identity.snapshot = browser.identity.snapshot, None
        self.doubt()
        browser.answered()
        self.publish()
        browser.identity.snapshot = user
        self.doubt()
        browser.answered()
        self.clock.advance(RENEWAL_SECONDS)
        self.assertEqual((browser.link.code, browser.link.ops()), (None, ["event"]))

    def test_trimmed_meanwhile(self) -> None:
        """What the ring has lost meanwhile is told."""
        self.hub.history.ring.settings = type(self.hub.history.ring.settings)(events=2)
        browser = self.browser()
        self.doubt()
        for _ in range(5):
            self.publish()
        browser.answered()
        (resync,) = browser.link.messages()
        self.assertEqual((resync["op"], resync["channel"], resync["why"]), ("resync", "orders", "trimmed"))

    def test_too_much_meanwhile(self) -> None:
        """More than the outbound bound is not replayed."""
        browser = self.browser(limits=Limits(outbound_bytes=4_096))
        self.doubt()
        for _ in range(100):
            self.publish()
        browser.answered()
        (resync,) = browser.link.messages()
        self.assertEqual((resync["op"], resync["why"], resync["at"]), ("resync", "slow", "me.100.-1."))

    def test_a_listener(self) -> None:
        """Who never greeted is told as well."""
        browser = Browser(self.hub, make_client(), greets=False)
        browser.identity.snapshot = make_snapshot(7)
        self.doubt()
        self.assertEqual(browser.link.ops(), ["gone"])


class SweepTests(SuspendedCase):
    """After a reconnect all are looked up, and hear on meanwhile."""

    def sweep(self, browsers: list[Browser], then: Callable[[Browser], None]) -> None:
        """All jobs of a sweep, one after the other."""
        self.hub.distrust(False)
        self.publish()
        self.hub.flush()
        while waiting := [browser for browser in browsers if browser.identity.waiting]:
            self.assertLessEqual(len(waiting), 8)
            then(waiting[0])

    def test_nothing_changed(self) -> None:
        """Then nobody notices, and the pool has never more than 8 of its jobs."""
        browsers = [self.browser(make_client(user)) for user in range(20)]
        self.sweep(browsers, lambda browser: browser.answered())
        self.assertEqual([browser.link.ops() for browser in browsers], [["event"]] * 20)

    def test_something_changed(self) -> None:
        """A change that sent no signal is found."""
        browsers = [self.browser(make_client(user)) for user in range(3)]
        self.sweep(browsers, lambda browser: browser.answered(make_snapshot(int(browser.connection.user or 0))))
        self.assertEqual([browser.link.ops() for browser in browsers], [["event", "gone"]] * 3)
