"""Tests of livepush.daemon.connection."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event
from livepush.daemon.connection import Connection, State
from livepush.daemon.entitlement import Snapshot
from livepush.daemon.errors import Busy, IdentityUnavailable
from livepush.daemon.hub import Hub
from livepush.daemon.settings import Limits
from livepush.wire.closing import Close
from livepush.wire.requests import Call, ErrorCode, Hello, Subscribe
from livepush.wire.sse import SSEEncoder
from tests.unit.daemon.doubles import Browser, make_client, make_hub, make_moderator, make_snapshot


def publish(hub: Hub, channel: str = "orders", number: int = 1, **more: Any) -> None:
    """The feed releases one event."""
    hub.event(Event(channel, "lock", {"order": number}, **more), f"p-{number}", 5, 50)
    hub.flush()


class ConnectionCase(SynchronousTestCase):
    """A hub with a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)

    def open(self, snapshot: Snapshot | None = None, **options: Any) -> Browser:
        """A browser of a client, unless told otherwise."""
        return Browser(self.hub, make_client() if snapshot is None else snapshot, **options)


class IdentityTests(ConnectionCase):
    """Who it is comes first."""

    def test_nobody(self) -> None:
        """Without an identity the connection ends before anything is sent."""
        browser = Browser(self.hub, None)
        self.assertEqual((browser.link.code, browser.link.written), (4401, []))
        self.assertEqual(self.hub.connections, 0)

    def test_nothing_is_read_before(self) -> None:
        """While the user is looked up nothing more is read; what came already is answered afterwards, in order."""
        browser = self.open(waits=True)
        self.assertTrue(browser.link.reading_paused)
        self.assertEqual(browser.says(op="hello", n=0), [])
        self.assertEqual(browser.says(op="subscribe", n=1, channel="news"), [])
        browser.answered()
        self.assertFalse(browser.link.reading_paused)
        self.assertEqual(browser.link.ops(), ["welcome", "ok"])

    def test_gone_meanwhile(self) -> None:
        """An answer for a connection that has gone is thrown away."""
        browser = self.open(waits=True)
        browser.connection.closed()
        browser.answered()
        self.assertEqual((self.hub.connections, browser.link.written, browser.link.code), (0, [], None))
        self.assertTrue(browser.link.reading_paused)

    def test_busy_and_broken(self) -> None:
        """A full pool and a database that fails are 4029: come back later. Anything else as well, but it is logged."""
        for error in (Busy(), IdentityUnavailable("OperationalError")):
            browser = self.open(waits=True)
            browser.identity.waiting.pop(0).errback(error)
            self.assertEqual(browser.link.code, 4029)
        browser = self.open(waits=True)
        browser.identity.waiting.pop(0).errback(ZeroDivisionError())
        self.assertEqual(browser.link.code, 4029)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_slow_database(self) -> None:
        """The time for `hello` runs from the opening, so that a stuck look-up can't keep a connection for ever."""
        browser = self.open(waits=True)
        self.clock.advance(10)
        self.assertEqual(browser.link.code, 4408)


class HelloTests(ConnectionCase):
    """The greeting."""

    def test_declared_channels(self) -> None:
        """Without channels: his own and the declared ones that he may have."""
        (welcome,) = self.open().says(op="hello", n=0, tab="t1")
        self.assertEqual((welcome["op"], welcome["n"], welcome["user"], welcome["conn"]), ("welcome", 0, 7, "c1"))
        self.assertEqual(
            welcome["channels"],
            {"user.7": {"audience": "self", "replayed": 0}, "orders": {"audience": "client", "replayed": 0}},
        )

    def test_the_first_audience_wins(self) -> None:
        """Who holds several permissions listens as the first audience that holds him."""
        (welcome,) = self.open(make_moderator()).says(op="hello")
        self.assertEqual(welcome["channels"]["orders"]["audience"], "moderator")

    def test_named_channels(self) -> None:
        """Exactly those, without what he may not have, what does not exist and what is no name."""
        names = ["news", "orders.5", "orders.6", "user.8", "#", "", "x" * 300, "nothing"]
        (welcome,) = self.open().says(op="hello", channels=dict.fromkeys(names))
        self.assertEqual(list(welcome["channels"]), ["news", "orders.5"])

    def test_no_permission_at_all(self) -> None:
        """A logged-in user always connects: his own channel is there."""
        (welcome,) = self.open(make_snapshot(9)).says(op="hello")
        self.assertEqual(list(welcome["channels"]), ["user.9"])

    def test_a_position_from_elsewhere(self) -> None:
        """A position that this process can't vouch for is answered with resync."""
        (welcome,) = self.open().says(op="hello", channels={"orders": "n.1.2.c", "news": None})
        self.assertEqual(welcome["channels"]["orders"], {"audience": "client", "resync": "trimmed"})
        self.assertEqual(welcome["channels"]["news"], {"audience": "all", "replayed": 0})

    def test_none_in_time(self) -> None:
        """Who says nothing for 10 s is closed with 4408; who has greeted is not."""
        silent, polite = self.open(), self.open().greets()
        self.clock.advance(9.9)
        self.assertEqual(silent.link.code, None)
        self.clock.advance(0.2)
        self.assertEqual((silent.link.code, polite.link.code), (4408, None))

    def test_twice(self) -> None:
        """A second greeting is an error, and the connection stays."""
        browser = self.open().greets()
        (error,) = browser.says(op="hello", n=5)
        self.assertEqual((error["op"], error["n"], error["code"]), ("error", 5, "unexpected"))

    def test_requests_before(self) -> None:
        """Nothing else comes before the greeting."""
        (error,) = self.open().says(op="subscribe", n=1, channel="news")
        self.assertEqual((error["n"], error["code"]), (1, "unexpected"))

    def test_released_while_identified(self) -> None:
        """What was released between opening and greeting comes before the welcome, and it says how much that was."""
        browser = self.open(waits=True)
        publish(self.hub, number=1)
        browser.answered()
        publish(self.hub, number=2)
        first, second, welcome = browser.says(op="hello")
        self.assertEqual((first["id"], second["id"], welcome["op"]), ("p-1", "p-2", "welcome"))
        self.assertEqual(welcome["channels"]["orders"]["replayed"], 2)

    def test_lost_while_identified(self) -> None:
        """A loss in that time is told."""
        browser = self.open(waits=True)
        self.hub.resync(None, "hole")
        browser.answered()
        (welcome,) = browser.says(op="hello")
        self.assertEqual(welcome["channels"]["orders"], {"audience": "client", "resync": "hole"})


class SubscriptionTests(ConnectionCase):
    """Channels asked for later."""

    def test_subscribe(self) -> None:
        """What is granted is answered as what, and heard from then on; asking again changes nothing."""
        browser = self.open().greets()
        for n in (1, 2):
            (ok,) = browser.says(op="subscribe", n=n, channel="news")
            self.assertEqual(
                ok, {"op": "ok", "n": n, "channel": "news", "audience": "all", "replayed": 0, "at": "me.0.-1."}
            )
        publish(self.hub, "news")
        self.assertEqual(browser.link.ops(), ["event"])

    def test_refused(self) -> None:
        """Undeclared, another user's and guarded channels are forbidden alike; what is no name is told as such."""
        browser = self.open().greets()
        for channel in ("nothing", "user.8", "orders.6", "livepush.void"):
            (error,) = browser.says(op="subscribe", n=1, channel=channel)
            self.assertEqual((error["op"], error["code"]), ("error", "forbidden"))
        for channel in ("#", "*", "a.#", "", "x" * 300, "a..b", "ä", "a\n"):
            for op in ("subscribe", "unsubscribe"):
                (error,) = browser.says(op=op, n=2, channel=channel)
                self.assertEqual((error["n"], error["code"]), (2, "bad_channel"))
        self.assertIs(browser.connection.state, State.OPEN)

    def test_unsubscribe(self) -> None:
        """Nothing comes afterwards; a channel that was not subscribed is no error."""
        browser = self.open().greets()
        for n in (1, 2):
            self.assertEqual(
                browser.says(op="unsubscribe", n=n, channel="orders"), [{"op": "ok", "n": n, "channel": "orders"}]
            )
        publish(self.hub)
        self.assertEqual(browser.link.messages(), [])

    def test_bound(self) -> None:
        """The bound holds for the greeting and for later requests; a channel that is there already is no new one."""
        browser = self.open(limits=Limits(subscriptions=2))
        welcome, error = browser.says(op="hello", channels=dict.fromkeys(["orders", "news", "orders.5"]))
        self.assertEqual((list(welcome["channels"]), error["code"]), (["orders", "news"], "too_many_subscriptions"))
        (error,) = browser.says(op="subscribe", channel="orders.5")
        self.assertEqual(error["code"], "too_many_subscriptions")
        self.assertEqual(browser.says(op="subscribe", channel="news")[0]["op"], "ok")

    def test_released_while_asked(self) -> None:
        """What is released while the object-level rule is asked is not lost."""
        browser = self.open().greets()
        browser.identity.waits = True
        self.assertEqual(browser.says(op="subscribe", n=1, channel="orders.5"), [])
        publish(self.hub, "orders.5")
        browser.answered()
        event, ok = browser.link.messages()
        self.assertEqual((event["op"], ok["op"], ok["replayed"]), ("event", "ok", 1))

    def test_heard_while_asked(self) -> None:
        """A channel that it hears already is answered without what it has heard meanwhile."""
        browser = self.open().greets()
        browser.says(op="subscribe", n=1, channel="orders.5")
        browser.identity.waits = True
        browser.says(op="subscribe", n=2, channel="orders.5")
        publish(self.hub, "orders.5", 1)
        browser.answered()
        publish(self.hub, "orders.5", 2)
        told = browser.link.messages()
        self.assertEqual([each.get("id", each["op"]) for each in told], ["p-1", "ok", "p-2"])
        self.assertEqual((told[1]["replayed"], told[1]["at"]), (0, "me.1.-1."))

    def test_one_after_the_other(self) -> None:
        """Requests are answered in their order, whatever waits; thousands in one read cost no recursion."""
        browser = self.open(limits=Limits(message_burst=10_000)).greets()
        browser.identity.waits = True
        browser.says(op="subscribe", n=0, channel="orders.5")
        for n in range(1, 3_000):
            browser.says(op="subscribe", n=n, channel="news")
        browser.identity.waits = False
        browser.answered()
        self.assertEqual([answer["n"] for answer in browser.link.messages()], list(range(3_000)))


class DeadlineTests(ConnectionCase):
    """Every request is answered in time, or the client comes back later: 4029 after 10 s."""

    def wait(self, browser: Browser, seconds: float) -> int | None:
        """What it is closed with, a little later than that and not before."""
        self.clock.advance(seconds - 0.1)
        self.assertEqual(browser.link.code, None)
        self.clock.advance(0.2)
        return browser.link.code

    def stuck(self, **options: Any) -> Browser:
        """One whose rule is asked, and never answered."""
        browser = self.open(**options)
        if options.get("greets", True):
            browser.greets()
        browser.identity.waits = True
        return browser

    def test_a_hello(self) -> None:
        """Also a listener's, and whatever was to be done in time before it."""
        for browser in (self.open(), self.stuck(greets=False)):
            browser.identity.waits = True
            self.clock.advance(5)
            browser.says(op="hello", channels={"orders.5": None})
            self.assertEqual(self.wait(browser, 10), 4029)

    def test_a_subscription(self) -> None:
        """Whether the thread comes back or not; the time of one that was answered counts for no other."""
        browser = self.stuck()
        browser.says(op="subscribe", n=1, channel="orders.5")
        self.clock.advance(9)
        browser.answered()
        browser.says(op="subscribe", n=2, channel="orders.5")
        self.assertEqual(self.wait(browser, 10), 4029)
        browser.answered()
        self.assertEqual((self.hub.connections, self.clock.getDelayedCalls()), (0, []))

    def test_suspended_meanwhile(self) -> None:
        """A suspension has a bound of its own, and neither ends the other."""
        subscriber, listener = self.stuck(), self.stuck(greets=False, snapshot=make_client(9))
        subscriber.says(op="subscribe", n=1, channel="orders.5")
        listener.says(op="hello", n=1, channels={"orders.5": None})
        self.clock.advance(8)
        for browser in (subscriber, listener):
            self.hub.control(Control("identity", browser.connection.user))
        self.clock.pump([2, 2])
        for browser in (subscriber, listener):
            browser.identity.waiting.pop(1).callback(browser.identity.snapshot)
            self.assertFalse(browser.connection.suspended)
        self.assertEqual(self.wait(subscriber, 8), 4029)  # looked at after 10 s, and after 10 s more
        self.assertEqual(listener.link.code, 4029)


class ViolationTests(ConnectionCase):
    """Messages that are none."""

    def test_closed_with_4400(self) -> None:
        """The reason tells what is wrong; what was queued behind it is not handled."""
        for raw in (b"", b"[]", b"{", b"[" * 60_000, b'{"op": 1}', b'{"op": "hello", "n": NaN}', b'{"op": "\\ud800"}'):
            browser = self.open(waits=True)
            browser.connection.received(raw)
            browser.connection.received(b'{"op": "hello"}')
            browser.answered()
            self.assertEqual((browser.link.code, browser.link.messages()), (4400, []), raw[:20])
        self.assertEqual(self.hub.connections, 0)

    def test_unknown_op(self) -> None:
        """An op of another version is an error, and the connection stays."""
        (error,) = self.open().greets().says(op="dance", n=3)
        self.assertEqual((error["n"], error["code"], error["retry"]), (3, "unknown_op", False))


class CallTests(ConnectionCase):
    """Requests to the Django side."""

    def setUp(self) -> None:
        super().setUp()
        self.hub.calls = self.calls = FakeCalls()

    def test_answers(self) -> None:
        """Each call is answered by its number, when its answer is there; nothing else waits for it."""
        browser = self.open().greets()
        for n in (1, 2):
            self.assertEqual(browser.says(op="call", n=n, channel="orders", type="lock", data={"order": n}), [])
        self.assertEqual(browser.says(op="subscribe", n=3, channel="news")[0]["n"], 3)
        browser.connection.answer(2, {"free": False})
        browser.connection.refuse(1, ErrorCode.BUSY, "later", retry=True)
        first, second = browser.link.messages()
        self.assertEqual(first, {"op": "ok", "n": 2, "data": {"free": False}})
        self.assertEqual((second["op"], second["n"], second["code"], second["retry"]), ("error", 1, "busy", True))
        self.assertEqual(self.calls.begun, [Call(n, "orders", "lock", {"order": n}) for n in (1, 2)])

    def test_the_end(self) -> None:
        """The calls of a connection that ends are forgotten, and what still comes is thrown away."""
        browser = self.open().greets()
        browser.says(op="call", n=1, channel="orders", type="lock", data={})
        browser.connection.abort()
        browser.connection.answer(1, {})
        browser.connection.refuse(1, ErrorCode.BUSY, "later")
        self.assertEqual((self.calls.forgotten, browser.link.messages()), ([browser.connection], []))

    def test_before_hello(self) -> None:
        """Who has not said hello can't call; nor can anybody where nothing takes calls."""
        browser = self.open()
        (error,) = browser.says(op="call", n=1, channel="orders", type="lock", data={})
        self.assertEqual(error["code"], "unexpected")
        self.hub.calls = None
        (error,) = browser.greets().says(op="call", n=2, channel="orders", type="lock", data={})
        self.assertEqual((error["code"], self.calls.begun), ("unknown_op", []))


class FakeCalls:
    """Remembers."""

    def __init__(self) -> None:
        self.begun: list[Call] = []
        self.forgotten: list[Connection] = []

    def begin(self, connection: Connection, call: Call) -> None:
        self.begun.append(call)

    def forget(self, connection: Connection) -> None:
        self.forgotten.append(connection)


class RequestTests(ConnectionCase):
    """Transports that read requests themselves."""

    def test_in_order(self) -> None:
        """Requests wait until it is known whose they are, and keep their order with what is read here."""
        browser = self.open(waits=True)
        browser.connection.request(Hello(None, "t", {"orders": None}))
        browser.connection.received(b'{"op": "unsubscribe", "n": 1, "channel": "orders"}')
        browser.connection.request(Subscribe(2, "news", None))
        self.assertEqual(browser.link.messages(), [])
        browser.answered()
        self.assertEqual([message.get("n") for message in browser.link.messages()], [None, 1, 2])

    def test_one_position(self) -> None:
        """A client that keeps only one goes on from it on all channels."""
        at = self.open().says(op="hello", n=0)[0]["at"]
        publish(self.hub)
        for named in (None, {"orders": None, "news": None}):
            browser = self.open()
            browser.connection.request(Hello(0, None, named, since=at))
            event, welcome = browser.link.messages()
            self.assertEqual((event["op"], welcome["channels"]["orders"]["replayed"]), ("event", 1))


class ListenerTests(ConnectionCase):
    """A client that spoke no subprotocol."""

    def test_listens_at_once(self) -> None:
        """It gets the declared channels' events without a word, and no heartbeats or welcome."""
        browser = self.open(greets=False)
        publish(self.hub)
        browser.connection.beat()
        self.assertEqual(browser.link.ops(), ["event"])

    def test_narrowed(self) -> None:
        """It may be one of a channel and those below it only."""
        for below, expected in (("orders", ["event"]), ("order", []), ("user", ["event"]), ("user.7", ["event"])):
            browser = Browser(self.hub, make_client(), greets=False, below=below)
            publish(self.hub, channel="orders" if below == "orders" else "user.7")
            self.assertEqual(browser.link.ops(), expected, below)
        self.assertEqual(Browser(self.hub, make_client(), greets=False, below="order").link.code, 4403)

    def test_nothing_permitted(self) -> None:
        """A visitor without any channel is told so."""
        visitor = Snapshot(None, None, None, None, frozenset(), False, False)
        self.assertEqual(Browser(self.hub, visitor, greets=False).link.code, 4403)

    def test_may_greet(self) -> None:
        """It may say hello later: then it is welcomed, and gets nothing twice."""
        browser = self.open(greets=False)
        publish(self.hub)
        self.assertEqual(browser.link.ops(), ["event"])
        (welcome,) = browser.says(op="hello", n=1, tab="t", channels={"orders": None})
        self.assertEqual(welcome["channels"], {"orders": {"audience": "client", "replayed": 0}})
        self.assertEqual(browser.connection.tab, "t")

    def test_heard_while_it_greets(self) -> None:
        """What it hears while its hello waits is not replayed; what it does not hear yet is."""
        browser = self.open(greets=False)
        browser.identity.waits = True
        browser.says(op="hello", n=1, channels={"orders": None, "orders.5": None})
        publish(self.hub, "orders", 1)
        publish(self.hub, "orders.5", 2)
        browser.answered()
        told = browser.link.messages()
        self.assertEqual([each.get("id", each["op"]) for each in told], ["p-1", "p-2", "welcome"])

    def test_loss_while_identified(self) -> None:
        """It has no welcome that could tell of a loss, so it gets a resync."""
        browser = self.open(greets=False, waits=True)
        self.hub.resync("orders", "publisher")
        browser.answered()
        (message,) = browser.link.messages()
        self.assertEqual((message["op"], message["why"]), ("resync", "publisher"))


class OutboundTests(ConnectionCase):
    """A peer that does not read."""

    def test_held_and_sent(self) -> None:
        """What comes while the transport is full waits, and goes out in order and in one write."""
        browser = self.open().greets()
        browser.connection.pauseProducing()
        for number in (1, 2, 3):
            publish(self.hub, number=number)
        self.assertEqual(browser.link.written, [])
        browser.connection.resumeProducing()
        self.assertEqual(len(browser.link.written), 1)
        self.assertEqual([message["id"] for message in browser.link.messages()], ["p-1", "p-2", "p-3"])
        publish(self.hub, number=4)
        self.assertEqual(browser.link.ops(), ["event"])

    def test_full_again_at_once(self) -> None:
        """A transport that is full again with the first write keeps the order."""
        browser = self.open().greets()
        browser.connection.pauseProducing()
        publish(self.hub, number=1)
        browser.link.on_write = browser.connection.pauseProducing
        browser.connection.resumeProducing()
        publish(self.hub, number=2)
        self.assertEqual([message["id"] for message in browser.link.messages()], ["p-1"])
        browser.connection.resumeProducing()
        self.assertEqual([message["id"] for message in browser.link.messages()], ["p-2"])

    def test_too_slow(self) -> None:
        """Over the bound the events give way to a resync in the place of the first; answers stay, and nobody else
        notices."""
        slow, fast = self.open(limits=Limits(outbound_bytes=4_096)).greets(), self.open().greets()
        slow.connection.pauseProducing()
        slow.says(op="unsubscribe", n=1, channel="news")
        for number in range(1, 41):
            publish(self.hub, number=number)
            if number == 5:
                slow.says(op="unsubscribe", n=2, channel="news")
        self.assertEqual(len(fast.link.messages()), 40)
        slow.connection.resumeProducing()
        first, resync, second, *rest = slow.link.messages()
        self.assertEqual((first["n"], second["n"]), (1, 2))
        self.assertEqual((resync["op"], resync["channel"], resync["why"]), ("resync", "orders", "slow"))
        index = int(resync["at"].split(".")[1])
        self.assertEqual([each["id"] for each in rest], [f"p-{number}" for number in range(index + 1, 41)])
        self.assertTrue(rest)

    def test_answers_alone_are_too_many(self) -> None:
        """Who asks on and on and does not read the answers is closed with 4002."""
        browser = self.open(limits=Limits(outbound_bytes=4_096, message_burst=500)).greets()
        browser.connection.pauseProducing()
        for n in range(200):
            browser.says(op="unsubscribe", n=n, channel="news")
        self.assertEqual(browser.link.closed_with, (Close.TOO_SLOW, "this client reads too slowly"))
        self.assertEqual((self.hub.connections, browser.link.written), (0, []))
        browser.connection.resumeProducing()
        self.assertEqual(browser.link.written, [])

    def test_a_long_replay_leaves_in_pieces(self) -> None:
        """No write is much above 64 KiB, so that what the peer does not take can still be taken back."""
        browser = self.open(waits=True)
        for number in range(1, 21):
            self.hub.event(Event("orders", "lock", {"pad": "x" * 10_000}), f"p-{number}", 5, 10_000)
        browser.answered()
        browser.connection.received(b'{"op": "hello"}')
        self.assertLess(max(len(each) for each in browser.link.written), 65_537)
        self.assertEqual(len(browser.link.messages()), 21)


class BeatTests(ConnectionCase):
    """Signs of life."""

    def test_silent_peer(self) -> None:
        """Two pings without a received byte: 4004."""
        browser = self.open().greets()
        browser.connection.heard = True
        browser.connection.beat()
        browser.connection.beat()
        self.assertEqual((browser.link.code, browser.link.pings), (None, 2))
        browser.connection.beat()
        self.assertEqual(browser.link.code, 4004)

    def test_answering_peer(self) -> None:
        """Any received byte counts."""
        browser = self.open().greets()
        for _ in range(10):
            browser.connection.heard = True
            browser.connection.beat()
        self.assertEqual((browser.link.code, browser.link.pings), (None, 10))

    def test_not_read_from(self) -> None:
        """A connection that is not read from because a job runs is not taken for dead."""
        browser = self.open().greets()
        browser.identity.waits = True
        browser.says(op="subscribe", channel="orders.5")
        for _ in range(5):
            browser.connection.beat()
        self.assertEqual(browser.link.code, None)

    def test_positions_move(self) -> None:
        """Each beat carries the position, also where one channel is busy: that of the others must not grow old."""
        browser = self.open().greets()
        for number in (1, 2):
            publish(self.hub, number=number)
            browser.connection.heard = True
            browser.connection.beat()
            event, beat = browser.link.messages()
            self.assertEqual((event["op"], event["at"]), ("event", f"me.{number}.-1."))
            self.assertEqual(beat, {"op": "heartbeat", "at": f"me.{number}.-1."})

    def test_a_beat_waits_like_an_event(self) -> None:
        """A position never overtakes what stands before it."""
        browser = self.open().greets()
        browser.connection.pauseProducing()
        publish(self.hub, number=1)
        browser.connection.beat()
        publish(self.hub, number=2)
        self.assertEqual(browser.link.written, [])
        browser.connection.resumeProducing()
        self.assertEqual(browser.link.ops(), ["event", "heartbeat", "event"])


class ClosingTests(ConnectionCase):
    """The end."""

    def test_pending_goes_first(self) -> None:
        """What was pending leaves before the close; afterwards nothing does."""
        browser = self.open().greets()
        self.hub.event(Event("orders", "lock", {}), "p-1", 0)
        browser.connection.close(Close.GOING_AWAY, "bye")
        self.hub.flush()
        publish(self.hub, number=2)
        self.assertEqual((browser.link.ops(), browser.link.code), (["event"], 4000))

    def test_sent_away(self) -> None:
        """Who has said hello is told to go over, and goes on hearing until he does; a listener, and who speaks a format
        without such clients, is told and is to be ended."""
        browser = self.open()
        browser.connection.send_away(5)
        self.assertEqual((browser.connection.overlaps, browser.link.ops()), (False, []))
        browser.greets()
        browser.connection.send_away(83)
        publish(self.hub, number=1)
        self.assertEqual((browser.connection.overlaps, browser.link.ops()), (True, ["goaway", "event"]))
        listener = self.open(greets=False)
        listener.connection.send_away(83)
        self.assertEqual((listener.connection.overlaps, listener.link.ops()), (False, ["goaway"]))
        self.hub.regroup(browser.connection, SSEEncoder(), bytes)
        self.assertFalse(browser.connection.overlaps)

    def test_everything_is_forgotten(self) -> None:
        """No timer, no subscription and no user remains, however often it is told."""
        browser = self.open().greets()
        browser.connection.closed()
        browser.connection.closed()
        browser.connection.close(Close.BUSY, "")
        browser.connection.received(json.dumps({"op": "hello"}).encode())
        self.assertEqual((browser.link.code, browser.link.messages()), (None, []))
        self.assertEqual((self.hub.connections, self.clock.getDelayedCalls()), (0, []))
        self.assertEqual((self.hub._rooms, self.hub._users), ({}, {}))
