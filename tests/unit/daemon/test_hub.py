"""Tests of livepush.daemon.hub."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event, Only, Skip
from livepush.daemon.entitlement import Snapshot
from livepush.daemon.ring import RingSettings
from livepush.wire.closing import Close
from livepush.wire.native import NativeEncoder
from tests.unit.daemon.doubles import Browser, FakeLink, make_client, make_hub, make_moderator, make_snapshot

ACTIONS = st.tuples(
    st.sampled_from(["orders", "orders", "news", "flush", "lost", "subscribe", "unsubscribe"]),
    st.integers(0, 3),
    st.integers(0, 4),
)


class HubCase(SynchronousTestCase):
    """A hub, and browsers that have said hello."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)

    def browser(self, snapshot: Snapshot, tab: str | None = None) -> Browser:
        """A browser of this user, past its greeting."""
        return Browser(self.hub, snapshot).greets(**({} if tab is None else {"tab": tab}))

    def publish(
        self, data: dict[str, Any] | None = None, channel: str = "orders", number: int = 1, **more: Any
    ) -> None:
        """The feed releases an event and ends its turn."""
        self.hub.event(Event(channel, "done", data or {"order": 5}, **more), f"p-{number}", 9, 50)
        self.hub.flush()


class AudienceTests(HubCase):
    """Each sees what he is entitled to see."""

    def test_views(self) -> None:
        """An audience gets its view over the common data, another one its own; a client's bytes hold no other's."""
        client, moderator = self.browser(make_client()), self.browser(make_moderator())
        self.publish(views={"moderator": {"action": "highlight", "by": "anna"}, "client": {"action": "hide"}})
        self.assertNotIn(b"anna", b"".join(client.link.written))
        (seen,) = client.link.messages()
        self.assertEqual(seen["data"], {"order": 5, "action": "hide"})
        (seen,) = moderator.link.messages()
        self.assertEqual(seen["data"], {"order": 5, "action": "highlight", "by": "anna"})

    def test_no_view(self) -> None:
        """A view of None sends nothing to that audience; an audience not named gets the common data."""
        client, moderator = self.browser(make_client()), self.browser(make_moderator())
        self.publish(views={"client": None})
        self.assertEqual(client.link.messages(), [])
        self.assertEqual(moderator.link.messages()[0]["data"], {"order": 5})

    def test_not_entitled(self) -> None:
        """Who holds no permission of the channel gets nothing."""
        guest = self.browser(make_snapshot(9))
        self.publish()
        self.assertEqual(guest.link.messages(), [])

    def test_one_frame(self) -> None:
        """All connections of an audience are given the same bytes object, joined once."""
        browsers = [self.browser(make_client(user)) for user in range(5)]
        for browser in browsers:
            browser.link.written.clear()
        for number in (1, 2):
            self.hub.event(Event("orders", "lock", {}), f"p-{number}", 0)
        self.hub.flush()
        written = [browser.link.written for browser in browsers]
        self.assertEqual([len(each) for each in written], [1] * 5)
        self.assertEqual(len({id(each[0]) for each in written}), 1)

    def test_personal_channel(self) -> None:
        """A user's own channel reaches all his connections and nobody else's."""
        mine, mine_too, other = (
            self.browser(make_client(7)),
            self.browser(make_client(7)),
            self.browser(make_client(70)),
        )
        self.publish(channel="user.7")
        self.assertEqual([browser.link.ops() for browser in (mine, mine_too, other)], [["event"], ["event"], []])


class WireFormatTests(HubCase):
    """Clients of several wire formats side by side."""

    def setUp(self) -> None:
        super().setUp()
        self.plain = NativeEncoder(lambda text: text + b"\n")

    def reader(self) -> Browser:
        """A browser of the other format, which gets lines."""
        browser = self.browser(make_client())
        self.hub.regroup(browser.connection, self.plain, _lines)
        return browser

    def test_each_its_own(self) -> None:
        """Each format is encoded once, and read by its own clients."""
        browsers = [self.browser(make_client()) for _ in range(3)]
        readers = [self.reader() for _ in range(3)]
        self.publish()
        self.assertEqual([browser.link.ops() for browser in browsers], [["event"]] * 3)
        written = [each for reader in readers for each in reader.link.written]
        self.assertEqual([json.loads(each)["op"] for each in written], ["event"] * 3)
        self.assertEqual(len({id(each) for each in written}), 1)

    def test_moving(self) -> None:
        """What came before the move and was not written is put into the new format; nothing is lost, nothing twice."""
        for pause in (False, True):
            browser, other = self.browser(make_client()), self.browser(make_client())
            if pause:
                browser.connection.pauseProducing()
                self.publish(number=1)
            self.hub.event(Event("orders", "done", {}), "p-2", 9, 50)
            self.hub.regroup(browser.connection, self.plain, _lines)
            self.hub.event(Event("orders", "done", {}), "p-3", 9, 50)
            self.hub.flush()
            browser.connection.resumeProducing()
            self.publish(number=4)
            lines = b"".join(browser.link.written).splitlines()
            expected = ["p-1"] * pause + ["p-2", "p-3", "p-4"]
            self.assertEqual([json.loads(line)["id"] for line in lines], expected)
            self.assertEqual([message["id"] for message in other.link.messages()], expected)

    def test_moving_while_suspended(self) -> None:
        """Who waits to be identified anew goes on in the new format, and hears nothing before."""
        browser = self.browser(make_client())
        browser.identity.waits = True
        self.hub.control(Control("identity", "7"))
        self.hub.regroup(browser.connection, self.plain, _lines)
        self.publish()
        self.assertEqual(browser.link.written, [])
        browser.answered()
        self.publish(number=2)
        lines = b"".join(browser.link.written).splitlines()
        self.assertEqual([json.loads(line)["id"] for line in lines], ["p-1", "p-2"])

    def test_no_word_for_it(self) -> None:
        """What a format has no word for is not written."""
        silent = Silent()
        browser = self.browser(make_client())
        self.hub.regroup(browser.connection, silent, bytes)
        self.hub.resync("orders", "hole")
        self.hub.flush()
        browser.connection.beat()
        browser.identity.snapshot = make_snapshot(7)
        self.hub.control(Control("identity", "7"))
        self.assertEqual(browser.link.written, [])


class Silent(NativeEncoder):
    """Has a word for events only."""

    def resync(self, channel: str, why: str, at: str) -> bytes:
        return b""

    def gone(self, channel: str, why: str) -> bytes:
        return b""

    def heartbeat(self, at: str) -> bytes:
        return b""


def _lines(frames: bytes) -> bytes:
    """Joined frames as lines."""
    link = FakeLink()
    link.write(frames)
    return b"".join(json.dumps(message).encode() + b"\n" for message in link.messages())


class ExclusionTests(HubCase):
    """The actor gets no push."""

    def test_user(self) -> None:
        """A skipped user gets it in none of his tabs."""
        actor, other = self.browser(make_client(7), "a"), self.browser(make_client(8), "b")
        self.publish(skip=Skip(user="7"))
        self.assertEqual((actor.link.ops(), other.link.ops()), ([], ["event"]))

    def test_tab(self) -> None:
        """With a tab, his other tabs get it; another user who claims the same tab gets it, too."""
        tabs = [self.browser(make_client(7), "a"), self.browser(make_client(7), "b"), self.browser(make_client(8), "a")]
        self.publish(skip=Skip(user="7", tab="a"))
        self.assertEqual([tab.link.ops() for tab in tabs], [[], ["event"], ["event"]])

    def test_tab_of_nobody(self) -> None:
        """An anonymous actor is known by his tab alone."""
        tabs = [self.browser(make_client(7), "a"), self.browser(make_client(8), "b")]
        self.publish(skip=Skip(tab="b"))
        self.assertEqual([tab.link.ops() for tab in tabs], [["event"], []])

    def test_nobody(self) -> None:
        """A skip that names nobody skips nobody, an anonymous connection included."""
        tabs = [self.browser(make_client(7), "a"), self.browser(make_client(8))]
        self.publish(skip=Skip())
        self.assertEqual([tab.link.ops() for tab in tabs], [["event"], ["event"]])

    def test_only(self) -> None:
        """Audiences or users that are named get it, each once, and only within what they are entitled to."""
        moderator, client = self.browser(make_moderator(8)), self.browser(make_client(7))
        guest, other = self.browser(make_snapshot(9)), self.browser(make_client(10))
        for only, expected in (
            (Only(frozenset({"moderator"})), [1, 0, 0, 0]),
            (Only(users=frozenset({"7", "9", "404"})), [0, 1, 0, 0]),
            (Only(frozenset({"moderator"}), frozenset({"7", "8"})), [1, 1, 0, 0]),
            (Only(), [0, 0, 0, 0]),
        ):
            self.publish(only=only)
            seen = [len(browser.link.messages()) for browser in (moderator, client, guest, other)]
            self.assertEqual(seen, expected, only)

    def test_only_and_skip(self) -> None:
        """Who is skipped stays skipped."""
        client = self.browser(make_client(7))
        self.publish(only=Only(users=frozenset({"7"})), skip=Skip(user="7"))
        self.assertEqual(client.link.messages(), [])

    def test_replays_obey(self) -> None:
        """What was released while the user was looked up obeys the same rules as what is live."""
        browser = Browser(self.hub, make_client(7), waits=True)
        self.publish(number=1, skip=Skip(user="7"))
        self.publish(number=2, only=Only(frozenset({"moderator"})))
        self.publish(number=3, views={"client": None})
        self.publish(number=4, skip=Skip(user="7", tab="other"))
        self.publish(number=5, channel="news")
        self.publish(number=6, channel="user.7")
        self.publish(number=7, skip=Skip(user="8"))
        browser.answered()
        messages = browser.says(op="hello", tab="mine")
        self.assertEqual([message.get("id") for message in messages], ["p-4", "p-6", "p-7", None])


class TurnTests(HubCase):
    """One write per connection and turn."""

    def test_nothing_before_the_turn_ends(self) -> None:
        """Events of a turn are written together, in order, however different the connections' lists are."""
        client, moderator = self.browser(make_client()), self.browser(make_moderator())
        for number in range(1, 4):
            views = {"client": None} if number == 2 else {}
            self.hub.event(Event("orders", "lock", {"n": number}, views), f"p-{number}", 0)
        self.assertEqual((client.link.written, moderator.link.written), ([], []))
        self.hub.flush()
        self.assertEqual((len(client.link.written), len(moderator.link.written)), (1, 1))
        self.assertEqual([message["data"]["n"] for message in client.link.messages()], [1, 3])
        self.assertEqual([message["data"]["n"] for message in moderator.link.messages()], [1, 2, 3])
        self.assertEqual(self.hub.delivered, 5)
        self.hub.flush()
        self.assertEqual(client.link.written, [])

    def test_an_answer_within_the_turn(self) -> None:
        """An answer to a request keeps its place behind the events that were pending, and nothing comes twice."""
        client = self.browser(make_client())
        self.hub.event(Event("orders", "lock", {}), "p-1", 0)
        self.assertEqual([each["op"] for each in client.says(op="unsubscribe", channel="news")], ["event", "ok"])
        self.hub.event(Event("orders", "lock", {}), "p-2", 0)
        self.hub.flush()
        self.assertEqual([each["id"] for each in client.link.messages()], ["p-2"])

    def test_a_subscription_within_the_turn(self) -> None:
        """Who begins to listen within a turn gets what is released from then on, and nothing twice."""
        client, late = self.browser(make_client(1)), self.browser(make_client(2))
        late.says(op="unsubscribe", channel="orders")
        self.hub.event(Event("orders", "lock", {}), "p-1", 0)
        self.assertEqual([each["op"] for each in late.says(op="subscribe", channel="orders")], ["ok"])
        self.hub.event(Event("orders", "lock", {}), "p-2", 0)
        self.hub.flush()
        self.assertEqual([each["id"] for each in late.link.messages()], ["p-2"])
        self.assertEqual([each["id"] for each in client.link.messages()], ["p-1", "p-2"])

    @given(st.lists(ACTIONS, max_size=30))
    def test_any_turns(self, actions: list[tuple[str, int, int]]) -> None:
        """Whatever turns bring, each connection gets in feed order exactly what it may see while it listens."""
        self.hub = make_hub()
        people = [make_client(1), make_client(2), make_moderator(3), make_snapshot(4)]
        browsers = [self.browser(each) for each in people]
        for browser in browsers:
            browser.says(op="subscribe", channel="news")
        channels = [{"orders", "news"}, {"orders", "news"}, {"orders", "news"}, {"news"}]
        expected: list[list[str]] = [[], [], [], []]
        for number, (what, who, how) in enumerate(actions):
            channel = what
            if what in ("orders", "news"):
                skip = Skip(user=str(who + 1)) if how == 1 else None
                only = Only(users=frozenset({str(who + 1)})) if how == 2 else None
                self.hub.event(Event(channel, "t", {}, skip=skip, only=only), f"p-{number}", 0)
                for each in range(4):
                    if channel in channels[each] and not (how == 1 and each == who) and not (how == 2 and each != who):
                        expected[each].append(f"p-{number}")
            elif what == "flush":
                self.hub.flush()
            elif what == "lost":
                self.hub.resync("news", "hole")
                for each in range(4):
                    if "news" in channels[each]:
                        expected[each].append("hole")
            else:
                browsers[who].connection.received(json.dumps({"op": what, "channel": "news"}).encode())
                (channels[who].add if what == "subscribe" else channels[who].discard)("news")
                expected[who].append("ok")
        self.hub.flush()
        for browser, wanted in zip(browsers, expected, strict=True):
            seen = [each.get("id") or each.get("why") or each["op"] for each in browser.link.messages()]
            self.assertEqual(seen, wanted)

    def test_broken_connection(self) -> None:
        """An exception in one connection drops that one, logged, and the others get their event."""
        broken, other = self.browser(make_client(1)), self.browser(make_client(2))
        broken.link.broken = True
        self.publish()
        self.assertEqual((other.link.ops(), broken.link.aborted), (["event"], True))
        self.assertEqual(self.hub.connections, 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_live(self) -> None:
        """A live event reaches who listens now, and is not kept."""
        client, late = self.browser(make_client()), Browser(self.hub, make_client(), waits=True)
        self.hub.event(Event("orders", "move", {"x": 1}), None, 9)
        self.hub.flush()
        (event,) = client.link.messages()
        self.assertNotIn("id", event)
        late.answered()
        self.assertEqual([each["op"] for each in late.says(op="hello")], ["welcome"])


class LossTests(HubCase):
    """Never missing and silent."""

    def test_a_channel(self) -> None:
        """A loss in a channel is told to those who listen to it, of every audience."""
        client, moderator, guest = (self.browser(each) for each in (make_client(), make_moderator(), make_snapshot(9)))
        self.hub.resync("orders", "publisher")
        self.hub.flush()
        expected = {"op": "resync", "channel": "orders", "why": "publisher", "at": "me.1.-1."}
        for browser in (client, moderator):
            self.assertEqual(browser.link.messages(), [expected])
        self.assertEqual(guest.link.messages(), [])

    def test_everywhere(self) -> None:
        """A loss that may be anywhere is told for each channel of each connection."""
        client, guest = self.browser(make_client()), self.browser(make_snapshot(9))
        self.hub.resync(None, "hole")
        self.hub.flush()
        self.assertEqual({each["channel"] for each in client.link.messages()}, {"user.7", "orders"})
        self.assertEqual([each["channel"] for each in guest.link.messages()], ["user.9"])


class LifeTests(HubCase):
    """Many connections."""

    def test_close_all(self) -> None:
        """All are closed with the same code, and it is known when the last has gone."""
        self.assertIsNone(self.successResultOf(self.hub.close_all(Close.GOING_AWAY, "bye")))
        browsers = [self.browser(make_client(user)) for user in range(3)]
        for browser in browsers:
            browser.link.gone = lambda: None
        done = self.hub.close_all(Close.GOING_AWAY, "bye")
        self.assertEqual([browser.link.code for browser in browsers], [4000] * 3)
        for browser in browsers:
            self.assertNoResult(done)
            browser.connection.closed()
        self.successResultOf(done)

    def test_the_past_goes_by_itself(self) -> None:
        """Old entries are dropped as turns go on, also on channels where nothing happens any more."""
        self.hub = make_hub(self.clock, RingSettings(seconds=10))
        self.publish(channel="news")
        self.clock.advance(30)
        self.publish()
        self.assertEqual(len(self.hub.history.ring), 1)
