"""The interleavings of the delivery specification that concern a daemon, each by a script: no time but a clock's."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Skip
from livepush.daemon.entitlement import Snapshot
from tests.clients.websocket import DROPPED, Closed, Handshake, WebSocket
from tests.unit.daemon.doubles import Browser, make_client, make_moderator, make_snapshot
from tests.unit.daemon.processes import Copy, Process, control, event

NOBODY = make_snapshot(7)
"""User 7 when he may not listen to orders any more."""


def ids(messages: list[Any]) -> list[str]:
    """What a page was given: ids of events, and what else moves a channel."""
    return [message.get("id") or f"{message['op']} {message.get('why', '')}".strip() for message in messages]


class EntitlementTests(SynchronousTestCase):
    """Nothing that is handled after a control message reaches whom it took the right from."""

    def setUp(self) -> None:
        self.log: list[Copy] = []
        self.process = Process(self.log)
        self.hub = self.process.hub

    def browser(self, snapshot: Snapshot | None = None) -> Browser:
        """A page past its greeting, whose identifications wait from now on."""
        browser = Browser(self.hub, snapshot or make_client()).greets()
        browser.identity.waits = True
        return browser

    def calm(self) -> None:
        """No more messages for everybody: those whom they suspended are looked up."""
        self.process.clock.advance(0.1)

    def test_a_frozen_identification(self) -> None:
        """Whoever was looked up before a revocation, and answers after it, is looked up again: open or not."""
        fresh, opened = Browser(self.hub, make_client(), waits=True), self.browser()
        self.hub.distrust(False)
        self.assertEqual((len(fresh.identity.waiting), len(opened.identity.waiting)), (1, 1))
        self.process.queued(control("p", 1), event("p", 2))
        for browser in (fresh, opened):
            browser.answered(make_client())
            self.assertEqual(len(browser.identity.waiting), 1)
            browser.answered(NOBODY)
        self.assertEqual(ids(opened.link.messages()), ["gone permission"])
        fresh.identity.waits = False
        (welcome,) = fresh.says(op="hello")
        self.assertEqual(list(welcome["channels"]), ["user.7"])

    def test_a_hello_after_a_revocation(self) -> None:
        """Who was identified before a revocation, and greets after it, is identified anew before he is welcomed."""
        browser = Browser(self.hub, make_client())
        browser.identity.snapshot = NOBODY
        self.process.queued(control("p", 1), event("p", 2))
        (welcome,) = browser.says(op="hello")
        self.assertEqual(list(welcome["channels"]), ["user.7"])

    def test_a_revocation_while_a_rule_is_asked(self) -> None:
        """The answer of an object-level rule counts only with a snapshot that is not outdated."""
        browser = self.browser()
        browser.says(op="subscribe", n=1, channel="orders.5")
        self.process.queued(control("p", 1))
        browser.answered()  # the rule: yes, by the old snapshot
        self.assertEqual(browser.link.messages(), [])
        browser.answered(NOBODY)
        gone, refused = browser.link.messages()
        self.assertEqual((gone["channel"], refused["n"], refused["code"]), ("orders", 1, "forbidden"))

    def test_a_sweep_while_a_rule_is_asked(self) -> None:
        """What a sweep has found counts for a subscription that was under way, though no control message came."""
        browser = self.browser()
        browser.says(op="subscribe", n=1, channel="orders.5")
        self.hub.distrust(False)
        browser.identity.waiting.pop(1).callback(NOBODY)
        browser.answered()  # the rule: yes, by the old snapshot
        self.assertEqual(ids(browser.link.messages()), ["gone permission", "error"])

    def test_jobs_never_overtake_each_other(self) -> None:
        """Two revocations make one job and then another, so that no older answer comes after a newer one."""
        browser = self.browser()
        self.process.queued(control("p", 1))
        self.process.queued(control("p", 2), event("p", 3))
        self.assertEqual(len(browser.identity.waiting), 1)
        browser.answered(make_client())
        self.assertEqual((len(browser.identity.waiting), browser.link.messages()), (1, []))
        browser.answered(NOBODY)
        self.assertEqual((browser.identity.waiting, ids(browser.link.messages())), ([], ["gone permission"]))

    def test_a_control_behind_a_hole(self) -> None:
        """A control acts when it comes, though its number has to wait; the number that it waits for changes nothing."""
        browser = self.browser()
        self.process.queued(event("p", 1), control("p", 3, low=1))
        self.process.queued(event("q", 1))
        self.assertEqual((len(browser.identity.waiting), ids(browser.link.messages())), (1, []))
        browser.answered(NOBODY)
        self.process.queued(event("p", 2, low=1))
        self.assertEqual(ids(browser.link.messages()), ["gone permission"])

    def test_a_revocation_during_a_broker_restart(self) -> None:
        """What stands in the log behind a revocation, and is read with it, is not given."""
        self.log.append(event("p", 1))
        self.process.read()
        browser, other = self.browser(), self.browser(make_client(9))
        self.log += [control("p", 2), event("p", 3)]
        self.process.reconnect()
        self.process.read()
        self.assertEqual((ids(other.link.messages()), ids(browser.link.messages())), (["p-3"], []))
        browser.answered(NOBODY)
        self.assertEqual(ids(browser.link.messages()), ["gone permission"])

    def test_groups_remove_and_publish_in_one_transaction(self) -> None:
        """A control for everybody, and right behind it what the removed one must not see: all others get it, once."""
        removed, other = self.browser(), self.browser(make_moderator())
        self.process.queued(event("p", 1), control("p", 2, None), event("p", 3))
        self.assertEqual((removed.link.messages(), other.link.messages()), ([], []))
        self.process.queued(event("p", 4))
        self.calm()
        other.answered()
        removed.answered(NOBODY)
        self.assertEqual(ids(other.link.messages()), ["p-1", "p-3", "p-4"])
        self.assertEqual(ids(removed.link.messages()), ["gone permission"])

    def test_a_hole_may_have_held_a_control(self) -> None:
        """When a number never comes, everybody is identified anew before he is told so and hears more."""
        browser = self.browser()
        self.log += [event("p", 1), event("p", 3, low=3)]
        self.process.read()
        self.assertEqual(browser.link.messages(), [])  # p-1 was released in the same turn, and is taken back
        self.calm()
        browser.answered(make_client())
        told = browser.link.messages()
        self.assertEqual({(each["op"], each.get("channel"), each.get("why")) for each in told[1:]},
                         {("resync", "user.7", "hole"), ("resync", "orders", "hole")})  # fmt: skip
        self.assertEqual(told[0]["id"], "p-1")

    def test_a_log_made_anew(self) -> None:
        """Everybody is suspended, and those who may still listen are told to reload."""
        browser = self.browser()
        self.log += [event("p", 1), event("p", 2)]
        self.process.read()
        self.assertEqual(ids(browser.link.messages()), ["p-1", "p-2"])
        self.log[:] = [event("p", 1), event("p", 2, sending=2), event("p", 3)]  # a re-sent copy at the same offset
        self.process.reconnect()
        self.process.read()
        self.assertEqual(browser.link.messages(), [])
        self.calm()
        browser.answered(NOBODY)
        self.assertEqual(sorted(ids(browser.link.messages())), ["gone permission", "resync restart"])

    def test_an_outbox_that_is_woken(self) -> None:
        """What concerns the relay suspends nobody; what this version does not know suspends everybody."""
        browser = self.browser()
        self.hub.control(Control("outbox"))
        self.assertFalse(browser.connection.suspended)
        self.hub.control(Control("a word of tomorrow", "9"))
        self.assertTrue(browser.connection.suspended)


class ResumeTests(SynchronousTestCase):
    """Nothing missing, on whichever process; what comes twice has a number that the page has had."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log: list[Copy] = [event("start", 1, "elsewhere")]
        self.process, self.sibling = (Process(self.log, nonce, self.clock) for nonce in ("a", "b"))
        for each in (self.process, self.sibling):
            each.read()

    def greet(self, process: Process, **channels: str | None) -> list[Any]:
        """A page comes, with its positions; all that it is told."""
        return Browser(process.hub, make_client()).says(op="hello", channels=channels)

    def test_publishers_in_different_order(self) -> None:
        """Two queues brought two publishers in different order, and nobody has read them in the log: both come."""
        p, q = event("p", 1), event("q", 1)
        self.process.queued(p, q)
        self.sibling.queued(q, p)
        browser = Browser(self.process.hub, make_client())
        at = browser.says(op="hello", channels={"orders": "a.0.0." + self.check(0)})[0]["at"]
        self.log += [q, p]
        for read in (0, 1, 2):
            told = self.greet(self.sibling, orders=at)
            self.assertEqual(sorted(ids(told)), ["p-1", "q-1", "welcome"], f"{read} records read")
            self.sibling.read(1)

    def check(self, offset: int) -> str:
        """What a position shows of the record there."""
        found = self.process.intake.log.check_at(offset)
        assert found is not None
        return found

    def test_only_what_is_above(self) -> None:
        """Once the log has told where everything stands, a sibling replays exactly what followed."""
        self.log += [event("p", number) for number in range(1, 6)]
        self.process.read()
        self.sibling.read()
        told = self.greet(self.process, orders=f"a.0.2.{self.check(2)}")
        self.assertEqual(ids(told)[-1], "welcome")
        told = self.greet(self.sibling, orders=f"a.3.2.{self.check(2)}")
        self.assertEqual(ids(told), ["p-3", "p-4", "p-5", "welcome"])
        self.assertEqual(told[-1]["channels"]["orders"], {"audience": "client", "replayed": 3})

    def test_ahead_of_the_reader(self) -> None:
        """A page that has more of the log than the sibling waits until the reader has come so far."""
        self.log += [event("p", 1), event("p", 2)]
        self.process.read()
        at = self.process.hub.history.position()
        browser = Browser(self.sibling.hub, make_client())
        self.assertEqual(browser.says(op="hello", channels={"orders": at}), [])
        self.assertTrue(browser.link.reading_paused)
        self.sibling.read(1)
        self.assertEqual(browser.link.messages(), [])
        self.sibling.read()
        (welcome,) = browser.link.messages()
        self.assertEqual(welcome["channels"]["orders"]["replayed"], 0)
        self.assertFalse(browser.link.reading_paused)

    def test_a_reader_that_never_comes(self) -> None:
        """After 5 s it is told to reload; a subscription likewise, and what it has gone on meanwhile."""
        browser = Browser(self.sibling.hub, make_client())
        browser.says(op="hello", channels={"orders": "a.9.77.abcdefgh", "news": None})
        self.sibling.queued(event("p", 1, "news"))
        self.sibling.advance(4)
        self.assertEqual(browser.link.messages(), [])
        self.sibling.advance(1)
        told = browser.link.messages()
        self.assertEqual(ids(told), ["p-1", "welcome"])
        self.assertEqual(told[1]["channels"]["orders"]["resync"], "restart")
        browser.says(op="subscribe", n=1, channel="orders", since="a.9.77.abcdefgh")
        self.sibling.queued(event("p", 2))
        self.sibling.advance(5)
        event_of_before, ok = browser.link.messages()
        self.assertEqual((event_of_before["id"], ok["resync"]), ("p-2", "restart"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_feed_that_is_behind(self) -> None:
        """A greeting waits until the process is ready, 5 s at most: then 4029. A subscription is told to try later."""
        ready = False
        self.sibling.hub.waiting.is_ready = lambda: ready
        lucky, unlucky = (Browser(self.sibling.hub, make_client()) for _ in range(2))
        self.assertEqual(lucky.says(op="hello"), [])
        ready = True
        self.sibling.hub.flush()
        self.assertEqual(lucky.link.ops(), ["welcome"])
        ready = False
        self.assertEqual(unlucky.says(op="hello"), [])
        self.assertEqual(lucky.says(op="subscribe", n=1, channel="news"), [])
        self.sibling.advance(5)
        (error,) = lucky.link.messages()
        self.assertEqual((error["n"], error["code"], error["retry"]), (1, "busy", True))
        self.assertEqual((unlucky.link.code, lucky.link.code), (4029, None))

    def test_across_a_hole(self) -> None:
        """Who was away when a number was given up is told so, here and on the sibling; who comes from behind is not."""
        self.log.append(event("p", 1))
        for each in (self.process, self.sibling):
            each.read()
        before = [each.hub.history.position() for each in (self.process, self.sibling)]
        self.log.append(event("p", 3, low=3))
        for each in (self.process, self.sibling):
            each.read()
        after = [each.hub.history.position() for each in (self.process, self.sibling)]
        for each in (self.process, self.sibling):
            for at in before:
                (welcome,) = self.greet(each, orders=at)
                self.assertEqual(welcome["channels"]["orders"]["resync"], "hole")
            for at in after:
                (welcome,) = self.greet(each, orders=at)
                self.assertEqual(welcome["channels"]["orders"]["replayed"], 0)

    def test_a_publisher_that_is_held_off(self) -> None:
        """A record that waits for an earlier number keeps positions back, so that a sibling gives what it holds.

        What was released meanwhile of somebody else is named, and does not come again.
        """
        self.log += [event("p", 2, low=1), event("q", 1)]
        self.process.read()
        at = self.process.hub.history.position()
        self.log.append(event("p", 1))
        self.sibling.read()
        self.assertEqual(ids(self.greet(self.sibling, orders=at)), ["p-1", "p-2", "welcome"])

    def test_the_tab_that_did_it(self) -> None:
        """An event that leaves out a tab is left out of that tab's replays too, on any process, and of no other's."""
        for number, skip in ((1, Skip("7", "mine")), (2, Skip(None, "mine")), (3, None)):
            self.log.append(event("p", number, skip=skip))
        for each in (self.process, self.sibling):
            each.read()
        at = {"orders": f"a.0.0.{self.check(0)}"}
        self.log.append(event("p", 4, skip=Skip("7", "mine")))
        for each in (self.process, self.sibling):
            each.read()
            for tab, expected in (("mine", ["p-3"]), ("other", ["p-1", "p-2", "p-3", "p-4"])):
                told = Browser(each.hub, make_client()).says(op="hello", tab=tab, channels=at)
                self.assertEqual(ids(told), [*expected, "welcome"], tab)

    def test_a_replay_cut_anywhere(self) -> None:
        """Two channels, cut after every frame of the replay: what the next process gives completes both exactly."""
        for number in range(1, 9):
            self.log.append(event("p", number, "orders" if number % 3 else "news"))
        for each in (self.process, self.sibling):
            each.read()
        start = f"a.0.0.{self.check(0)}"
        whole = self.greet(self.sibling, orders=start, news=start)
        self.assertEqual(ids(whole), [f"p-{number}" for number in range(1, 9)] + ["welcome"])
        for cut in range(len(whole)):
            got, at = ids(whole[:cut]), {"orders": start, "news": start}
            at |= {message["channel"]: message["at"] for message in whole[:cut]}
            for process in (self.process, self.sibling):
                rest = self.greet(process, **at)
                self.assertEqual(sorted(got + ids(rest)), sorted(ids(whole)), f"cut after {cut}")

    def test_a_replay_cut_at_any_byte(self) -> None:
        """Two channels, cut in the middle of whatever: the page has heard the first messages, whole, and what the next
        process gives completes both exactly."""
        self.log += [
            event("p", number, "orders" if number % 2 else "news", key=str(number) * 100) for number in range(1, 5)
        ]
        for each in (self.process, self.sibling):
            each.read()
        start = f"a.0.0.{self.check(0)}"
        browser, written = Browser(self.process.hub, make_client()), bytearray()
        browser.link.on_write = lambda: written.extend(browser.link.written[-1])
        whole = browser.says(op="hello", channels={"orders": start, "news": start})
        self.assertEqual(len(whole), 5)
        heard = [self.heard(bytes(written[:cut])) for cut in range(len(written) + 1)]
        self.assertEqual((heard[0], heard[-1]), ([], whole))
        for cut, got in enumerate(heard):
            self.assertEqual(got, whole[: len(got)], f"cut after byte {cut}")
            if cut and got != heard[cut - 1]:
                at = {"orders": start, "news": start} | {each["channel"]: each["at"] for each in got if "id" in each}
                rest = self.greet(self.sibling, **at)
                told = [each for each in ids(got) + ids(rest) if each != "welcome"]
                self.assertEqual(sorted(told), [f"p-{number}" for number in range(1, 5)], f"cut after byte {cut}")

    def heard(self, data: bytes) -> list[Any]:
        """What a client makes of these bytes, behind which the connection is cut."""
        ours, theirs = socket.socketpair()
        theirs.close()
        found: list[Any] = []
        with WebSocket(ours, Handshake(101, ()), data) as client:
            while True:
                try:
                    found.append(client.receive_json())
                except Closed as end:
                    self.assertEqual(end.code, DROPPED)
                    return found
