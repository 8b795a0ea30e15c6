"""Everybody is looked at now and then."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.entitlement import Snapshot
from livepush.daemon.hub import Hub
from livepush.daemon.sweep import TICKS, Sweep
from tests.unit.daemon.doubles import Browser, make_client, make_hub, make_snapshot

SECONDS = 60.0


class Member:
    """A connection; knows when it had its turns."""

    def __init__(self, is_open: bool = True) -> None:
        self.is_open = is_open
        self.turns: list[float] = []


class SweepTests(SynchronousTestCase):
    """In time, spread, and few together."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.portions: dict[float, int] = {}
        self.sweep: Sweep[Member] = Sweep(SECONDS, self.clock, self.ask, portion=10)

    def ask(self, member: Member) -> None:
        now = self.clock.seconds()
        self.portions[now] = self.portions.get(now, 0) + 1
        member.turns.append(now)

    def join(self, count: int) -> list[Member]:
        members = [Member() for _ in range(count)]
        for member in members:
            self.sweep.add(member)
        return members

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([SECONDS / TICKS] * round(seconds * TICKS / SECONDS))

    def assert_in_time(self, members: list[Member], joined: float = 0.0) -> None:
        """Each had its turns, never more than the time apart, and none before half of it was over."""
        for member in members:
            moments = [joined, *member.turns, self.clock.seconds()]
            waits = [after - before for before, after in pairwise(moments)]
            self.assertLessEqual(max(waits), SECONDS)
            self.assertGreaterEqual(min(waits[:-1]), SECONDS / 2)

    def test_few(self) -> None:
        """Those of one portion are asked together, once in the time."""
        members = self.join(5)
        self.pass_time(10 * SECONDS)
        self.assert_in_time(members)
        self.assertEqual(set(self.portions.values()), {5})
        self.assertLessEqual(len(self.portions), 11)

    def test_a_storm(self) -> None:
        """Many who came at once do not have their turns at once, from the first time on."""
        members = self.join(200)
        self.pass_time(10 * SECONDS)
        self.assert_in_time(members)
        self.assertLessEqual(max(self.portions.values()), 200 * 2 / TICKS + 1)

    def test_coming_and_going(self) -> None:
        """However they come, nobody waits longer than the time."""
        joined: list[tuple[float, list[Member]]] = []
        for number in range(4 * TICKS):
            joined.append((self.clock.seconds(), self.join(number % 7)))
            if number % 5 == 0:
                for member in joined[number // 2][1]:
                    self.sweep.discard(member)
                joined[number // 2] = (0.0, [])
            self.pass_time(SECONDS / TICKS)
        self.pass_time(3 * SECONDS)
        for moment, members in joined:
            self.assert_in_time(members, moment)

    def test_not_open(self) -> None:
        """Who is not in yet, or is going, has nothing to lose, and is not asked about."""
        member = Member(is_open=False)
        self.sweep.add(member)
        self.pass_time(2 * SECONDS)
        self.assertEqual((member.turns, self.sweep.asked), ([], 0))

    def test_the_last_goes(self) -> None:
        """Then there is no timer; and with the next one there is."""
        (member,) = self.join(1)
        self.sweep.discard(member)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        members = self.join(1)
        self.pass_time(SECONDS)
        self.assert_in_time(members)


class HubTests(SynchronousTestCase):
    """What a process does with it."""

    def setUp(self) -> None:
        self.clock = Clock()
        like = make_hub(self.clock)
        self.hub = Hub(like.directory, self.clock, nonce="me", sweep_seconds=SECONDS, remember_seconds=5.0)
        self.hub.waiting.is_ready = lambda: True

    def browser(self, snapshot: Snapshot, **options: Any) -> Browser:
        browser = Browser(self.hub, snapshot, **options).greets()
        browser.link.messages()
        return browser

    def pass_time(self) -> None:
        self.clock.pump([SECONDS / TICKS] * TICKS)

    def test_nothing_changed(self) -> None:
        """A page does not notice that it was looked at."""
        browser = self.browser(make_client())
        self.pass_time()
        self.assertEqual((browser.identity.asked[-1], browser.link.messages()), ("reidentify", []))

    def test_found(self) -> None:
        """A right that went without a signal is `gone` within the time, a login that ended is 4401."""
        browser = self.browser(make_client())
        browser.identity.snapshot = make_snapshot(7)
        self.pass_time()
        self.assertEqual(browser.link.ops(), ["gone"])
        browser.identity.snapshot = None
        self.pass_time()
        self.clock.advance(1)
        self.assertEqual(browser.link.code, 4401)

    def test_remembered(self) -> None:
        """A page of the same session that comes within seconds costs no look-up; after them, or after a control
        message, it does."""
        self.browser(make_client())
        second = self.browser(make_client())
        self.assertEqual(second.identity.asked, [])
        self.clock.advance(5)
        self.assertEqual(self.browser(make_client()).identity.asked, ["sessionid=x"])
        self.hub.epochs.note("7")
        self.assertEqual(self.browser(make_client()).identity.asked, ["sessionid=x"])
        self.hub.epochs.note("8")
        self.assertEqual(self.browser(make_client()).identity.asked, [])
        self.hub.distrust(False)
        self.assertEqual(self.browser(make_client()).identity.asked[0], "sessionid=x")

    def test_remembered_wrongly(self) -> None:
        """Who is let in by what is remembered while the message is on its way is suspended when it comes."""
        self.browser(make_client())
        second = self.browser(make_client(), waits=True)
        second.identity.snapshot = None
        from livepush.broker.envelope import Control

        self.hub.control(Control("identity", "7"))
        self.assertTrue(second.connection.suspended)
        second.answered()
        self.clock.advance(1)
        self.assertEqual(second.link.code, 4401)

    def test_forgotten_by_a_sweep(self) -> None:
        """Who is found changed without a message is not let in as he was."""
        first = self.browser(make_client())
        first.identity.snapshot = make_snapshot(7)
        self.hub._look_again(first.connection)
        self.assertEqual(first.link.ops(), ["gone"])
        self.assertEqual(self.browser(make_snapshot(7)).identity.asked, ["sessionid=x"])
