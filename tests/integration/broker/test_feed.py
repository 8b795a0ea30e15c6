"""The feed against real brokers, RabbitMQ and the embedded one: what brokers, networks and operators do to it.

`BothBrokers` holds what both must do; `RabbitMQTests` adds what only a server can suffer: SIGKILL, alarms, users.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pika
import pika.exceptions
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.trial.unittest import TestCase

from livepush.broker import topology
from livepush.broker.envelope import Control, Event, Kind, Stamp, encode_event, headers_of
from livepush.broker.feed import Feed, FeedSettings
from livepush.broker.url import BrokerURL
from tests.servers.embedded import RunningBroker, shared_embedded
from tests.servers.ports import free_port
from tests.servers.proxy import Mode, Proxy
from tests.servers.rabbitmq import VirtualHost, shared_rabbitmq

BODY = encode_event(Event("orders", "lock", {"order": 1}))
BOOT_EVENTS = 60_000
_log = Logger()


class Recorder:
    """A sink that writes down what it gets, and tells who waits when something has come true."""

    def __init__(self) -> None:
        self.got: list[tuple[str, int] | str] = []
        self.offsets: dict[tuple[str, int], int] = {}
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def event(self, event: Event, id: str | None, ts: int, size: int = 0, offset: int | None = None) -> None:  # noqa: A002
        publisher, _, number = (id or "live-0").rpartition("-")
        self.got.append((publisher, int(number)))
        if offset is not None:
            self.offsets[publisher, int(number)] = offset

    def located(self, id: str, offset: int) -> None:  # noqa: A002
        publisher, _, number = id.rpartition("-")
        self.offsets[publisher, int(number)] = offset

    def control(self, control: Control) -> None:
        self.got.append(f"control {control.what}")

    def resync(self, channel: str | None, why: str, offset: int | None = None, id: str | None = None) -> None:  # noqa: A002
        self.got.append(f"{channel or 'all'} {why}")

    def distrust(self, suspend: bool) -> None:
        self.got.append("suspend" if suspend else "sweep")

    def start_over(self, why: str) -> None:
        self.got.append("start over")

    def flush(self) -> None:
        self.check()

    def check(self) -> None:
        for condition, waiter in list(self._waiting):
            if condition():
                self._waiting.remove((condition, waiter))
                waiter.callback(None)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(lambda _: self._waiting.clear())
        self._waiting.append((condition, waiter))
        self.check()
        return waiter

    def numbers(self, publisher: str) -> list[int]:
        return [entry[1] for entry in self.got if entry[0] == publisher and not isinstance(entry, str)]


class Publisher:
    """A bare publisher with numbers, over a connection of its own."""

    def __init__(self, url: str, name: str = "p", sending: int = 1) -> None:
        self.name, self.number, self.sending = name, 0, sending
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()

    def publish(
        self, body: bytes = BODY, number: int | None = None, key: str = "event.orders.lock", **changes: Any
    ) -> None:
        """One message, confirmed."""
        self.number = self.number + 1 if number is None else number
        stamp = Stamp(self.name, self.number, self.number, self.sending)
        properties: dict[str, Any] = {
            "type": "event",
            "app_id": self.name,
            "message_id": str(self.number),
            "headers": headers_of(Kind.EVENT, 1_700_000_000_000, stamp),
            **changes,
        }
        self.channel.basic_publish("livepush", key, body, pika.BasicProperties(**properties))

    def close(self) -> None:
        with contextlib.suppress(pika.exceptions.AMQPError):  # the broker may have been killed
            self._connection.close()


class Ahead:
    """A reactor whose clock is ten minutes ahead."""

    def seconds(self) -> float:
        return reactor.seconds() + 600.0

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Cases(TestCase):
    """A broker, a feed, and a network between them that can fail."""

    timeout = 150

    def setUp(self) -> None:
        self.world = self.make_world()
        self.addCleanup(self.world.delete)
        self.sink = Recorder()

    def make_world(self) -> VirtualHost | RunningBroker:
        raise NotImplementedError

    def broker_port(self) -> int:
        raise NotImplementedError

    def make_feed(
        self, url: str | None = None, sink: Recorder | None = None, clock: Any = reactor, **changes: Any
    ) -> Feed:
        settings = FeedSettings(BrokerURL.parse(url or self.world.url()), instance="test", retry_most=1.5)
        sink = sink or self.sink
        feed = Feed(clock, replace(settings, **changes), sink)
        feed.watch(lambda _: sink.check())
        self.addCleanup(feed.stopService)
        feed.startService()
        return feed

    def make_proxy(self) -> Proxy:
        proxy = Proxy(self.broker_port())
        self.addCleanup(self.close_proxy, proxy)
        return proxy

    def close_proxy(self, proxy: Proxy) -> None:
        with contextlib.suppress(BrokenPipeError):  # its thread may see the end before it is told
            proxy.close()

    def make_publisher(self, name: str = "p", sending: int = 1) -> Publisher:
        publisher = Publisher(self.world.url(), name, sending)
        self.addCleanup(publisher.close)
        return publisher

    def manage(self, work: Callable[[Any], object]) -> None:
        """What an operator does, on a channel of his own."""
        connection = pika.BlockingConnection(pika.URLParameters(self.world.url()))
        try:
            work(connection.channel())
        finally:
            connection.close()

    async def ready(self, feed: Feed, sink: Recorder | None = None) -> None:
        await (sink or self.sink).until(lambda: feed.ready)

    async def trouble(self, feed: Feed, text: str) -> str:
        """Waits until the feed says that it is not ready because of this; returns what it says."""
        while feed.trouble is None or text not in str(feed.trouble):
            await self.pause(0.05)
        self.assertFalse(feed.ready)
        return str(feed.trouble)

    def pause(self, seconds: float) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        reactor.callLater(seconds, waiter.callback, None)
        return waiter


class BothBrokers:
    """What a feed does with either broker; to be mixed into `Cases`."""

    async def test_events_arrive(self: Any) -> None:
        """Exchanges and log are made when they are missing and may be made; an event published is received, once."""
        feed = self.make_feed()
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        publisher.publish(key="live.orders.lock", type="live", app_id=None, message_id=None, headers={"v": 1, "ts": 1})
        await self.sink.until(lambda: len(self.sink.got) == 2 and ("p", 1) in self.sink.offsets)
        self.assertEqual(self.sink.got, [("p", 1), ("live", 0)])
        self.assertEqual(feed.intake.log.reached.offset, self.sink.offsets["p", 1])

    async def test_three_publishers_each_in_order(self: Any) -> None:
        """1,000 numbered events of each arrive once, in its order, without a resync; each is found in the log."""
        feed = self.make_feed()
        await self.ready(feed)

        def publish(name: str) -> None:
            publisher = Publisher(self.world.url(), name)
            for _ in range(1000):
                publisher.publish()
            publisher.close()

        threads = [deferToThread(publish, name) for name in ("p", "q", "r")]
        await self.sink.until(lambda: len(self.sink.got) >= 3000 and len(self.sink.offsets) == 3000)
        for thread in threads:
            await thread
        self.assertEqual(len(self.sink.got), 3000)
        for name in ("p", "q", "r"):
            self.assertEqual(self.sink.numbers(name), list(range(1, 1001)))
            offsets = [self.sink.offsets[name, number] for number in range(1, 1001)]
            self.assertEqual(offsets, sorted(offsets))

    async def test_a_boot_reads_the_log(self: Any) -> None:
        """What was published before a process was there is in it, with its place; by any clock of the process."""
        self.manage(topology.declare)
        publisher = self.make_publisher()
        await self.until_routed(publisher)
        for _ in range(100):
            publisher.publish()
        sinks = [Recorder(), Recorder()]
        for sink, clock in zip(sinks, (reactor, Ahead()), strict=True):
            await self.ready(self.make_feed(sink=sink, clock=clock), sink)
        for sink in sinks:
            self.assertEqual(sink.numbers("p"), list(range(1, publisher.number + 1)))
            self.assertEqual(sink.offsets, sinks[0].offsets)

    async def test_a_clock_ten_minutes_ahead(self: Any) -> None:
        """Through a lost connection too: nothing is asked for by that clock."""
        proxy = self.make_proxy()
        feed = self.make_feed(self.world.url(port=proxy.port), clock=Ahead())
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        await self.sink.until(lambda: ("p", 1) in self.sink.offsets)
        proxy.set(Mode.CUT)
        await self.sink.until(lambda: not feed.ready)
        publisher.publish()
        proxy.set(Mode.PASS)
        await self.ready(feed)
        self.assertEqual(self.sink.got, [("p", 1), ("p", 2), "sweep"])

    async def test_a_cut_link(self: Any) -> None:
        """What was published meanwhile comes from the log, once and in order, and then everybody is swept."""
        proxy = self.make_proxy()
        feed = self.make_feed(self.world.url(port=proxy.port))
        await self.ready(feed)
        publishers = [self.make_publisher(name) for name in ("p", "q")]
        for publisher in publishers * 5:
            publisher.publish()
        await self.sink.until(lambda: len(self.sink.got) == 10)
        proxy.set(Mode.CUT)
        await self.sink.until(lambda: not feed.ready)
        for publisher in publishers * 5:
            publisher.publish()
        proxy.set(Mode.PASS)
        await self.ready(feed)
        self.assertEqual(self.sink.got[-1], "sweep")
        self.assertEqual(len(self.sink.got), 21)
        for publisher in publishers:
            self.assertEqual(self.sink.numbers(publisher.name), list(range(1, 11)))

    async def test_a_dead_network(self: Any) -> None:
        """Nothing is closed and nothing comes: the silence alone is noticed; ready again when the network is."""
        proxy = self.make_proxy()
        feed = self.make_feed(self.world.url(port=proxy.port), heartbeat=1, silence_seconds=1.5, open_seconds=2.0)
        await self.ready(feed)
        proxy.set(Mode.BLACKHOLE)
        await self.trouble(feed, "no byte from the broker for 1.5 s")
        await self.trouble(feed, "within 2 s (waiting for the broker's greeting)")
        self.make_publisher().publish()
        proxy.set(Mode.PASS)
        await self.ready(feed)
        self.assertEqual(self.sink.got, [("p", 1), "sweep"])

    async def test_a_broker_that_comes_later(self: Any) -> None:
        """At the start it is not fatal that it is not there, and said with a remedy."""
        proxy = self.make_proxy()
        proxy.set(Mode.CUT)
        feed = self.make_feed(self.world.url(port=proxy.port))
        await self.trouble(feed, "hung up before a word of AMQP")
        proxy.set(Mode.PASS)
        await self.ready(feed)
        self.assertEqual(self.sink.got, [])
        self.assertIsNone(feed.trouble)

    async def test_the_log_is_deleted(self: Any) -> None:
        """While it is read: a lost connection; it is made again by a process that may, and everything begins anew."""
        feed = self.make_feed()
        await self.ready(feed)
        publisher = self.make_publisher()
        for _ in range(3):
            publisher.publish()
        await self.sink.until(lambda: len(self.sink.offsets) == 3)
        self.manage(lambda channel: channel.queue_delete(topology.LOG))
        await self.sink.until(lambda: not feed.ready)
        await self.ready(feed)
        self.assertEqual(self.sink.got[3:], ["start over"])
        self.assertLess(feed.intake.log.last, 10)
        publisher.publish()
        await self.sink.until(lambda: ("p", 4) in self.sink.got)
        self.assertEqual(self.sink.got[3:], ["start over", ("p", 4)])

    async def test_the_log_is_made_anew_with_a_copy_at_the_same_offset(self: Any) -> None:
        """Its record there is the same event, sent again: the process does not take it for the log that it knows."""
        proxy = self.make_proxy()
        feed = self.make_feed(self.world.url(port=proxy.port))
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        await self.sink.until(lambda: ("p", 1) in self.sink.offsets)
        place = feed.intake.log.last
        proxy.set(Mode.CUT)
        await self.sink.until(lambda: not feed.ready)
        self.manage(lambda channel: channel.queue_delete(topology.LOG))
        self.manage(topology.declare)
        filler = self.make_publisher("filler")
        await self.until_routed(filler)
        while filler.number < place + 5:
            filler.publish()
        again = self.make_publisher(sending=2)
        again.publish()
        proxy.set(Mode.PASS)
        await self.ready(feed)
        self.assertEqual(self.sink.got[:2], [("p", 1), "start over"])
        self.assertNotIn("sweep", self.sink.got)

    async def until_routed(self: Any, publisher: Publisher) -> None:
        """A new stream loses what comes in its first moments; events that nobody counts find out when it does not."""
        read = 0
        while not read:
            publisher.publish()
            method = publisher.channel.queue_declare(topology.LOG, passive=True).method
            read = method.message_count
            await self.pause(0.05)

    async def test_the_log_was_trimmed(self: Any) -> None:
        """The record at which the reader would go on is gone: nobody knows what stood there, so all begins anew."""
        self.manage(lambda channel: topology.declare(channel, 1, 20_000))
        proxy = self.make_proxy()
        feed = self.make_feed(self.world.url(port=proxy.port))
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        await self.sink.until(lambda: ("p", 1) in self.sink.offsets)
        proxy.set(Mode.CUT)
        await self.sink.until(lambda: not feed.ready)
        body = encode_event(Event("orders", "lock", {"text": "x" * 2000}))

        def fill() -> None:
            for _ in range(200):
                publisher.publish(body)

        for _ in range(4):
            await deferToThread(fill)
            await self.pause(0.6)  # trimmed by the broker's clock, which can't be asked, and while somebody writes
        proxy.set(Mode.PASS)
        await self.ready(feed)
        self.assertEqual(self.sink.got[:2], [("p", 1), "start over"])
        numbers = self.sink.numbers("p")[1:]
        self.assertEqual(numbers, list(range(numbers[0], 802)))

    async def test_an_overflow(self: Any) -> None:
        """The broker drops the oldest of too many from the queue; the log has them, and all come in order."""
        proxy = self.make_proxy()
        feed = self.make_feed(
            self.world.url(port=proxy.port), prefetch=20, ack_messages=10, queue_length=100, silence_seconds=100
        )
        await self.ready(feed)
        publisher = self.make_publisher()
        proxy.set(Mode.BLACKHOLE)
        for _ in range(1000):
            publisher.publish()
        proxy.set(Mode.PASS)
        await self.sink.until(lambda: ("p", 1000) in self.sink.offsets)
        self.assertEqual(self.sink.got, [("p", number) for number in range(1, 1001)])

    async def test_the_only_event_of_a_publisher_is_dropped(self: Any) -> None:
        """Nothing later of it would tell that it is missing; the log brings it."""
        proxy = self.make_proxy()
        feed = self.make_feed(
            self.world.url(port=proxy.port), prefetch=2, ack_messages=1, queue_length=2, silence_seconds=100
        )
        await self.ready(feed)
        proxy.set(Mode.BLACKHOLE)
        publishers = [self.make_publisher(f"p{number}") for number in range(20)]
        for publisher in publishers:
            publisher.publish()
        proxy.set(Mode.PASS)
        await self.sink.until(lambda: len(self.sink.offsets) == 20)
        self.assertEqual(sorted(self.sink.got), sorted((publisher.name, 1) for publisher in publishers))

    async def test_the_log_is_not_bound(self: Any) -> None:
        """Not ready, until somebody binds it."""
        self.manage(topology.declare)
        exchange, key = topology.LOG_BINDINGS[-1]
        self.manage(lambda channel: channel.queue_unbind(topology.LOG, exchange, key))
        feed = self.make_feed(marker_seconds=1.0)
        text = await self.trouble(feed, "the log is not bound")
        self.assertIn("manage.py livepush topology", text)
        self.manage(topology.declare)
        await self.ready(feed)

    async def test_the_log_is_not_bound_to_events(self: Any) -> None:
        """Alone: markers come back, and still it is noticed by the first event that the log does not show."""
        feed = self.make_feed(marker_seconds=1.0)
        await self.ready(feed)
        self.manage(lambda channel: channel.queue_unbind(topology.LOG, topology.EXCHANGE, "event.#"))
        publisher = self.make_publisher()
        publisher.publish()
        await self.trouble(feed, "not bound to event.#")
        self.assertEqual(self.sink.got, [("p", 1)])
        self.manage(topology.declare)
        publisher.publish()
        await self.ready(feed)
        self.assertEqual((self.sink.got, feed.counters.connections), ([("p", 1), ("p", 2)], 1))

    async def test_a_quiet_log_moves_on(self: Any) -> None:
        """One of three processes beats, all move on by it, and none of them answers."""
        sinks = [Recorder() for _ in range(3)]
        feeds = [self.make_feed(sink=sink, beat_seconds=2.0) for sink in sinks]
        for feed, sink in zip(feeds, sinks, strict=True):
            await self.ready(feed, sink)
        begun = max(feed.intake.log.last for feed in feeds)
        await self.pause(6.5)
        ends = {feed.intake.log.last for feed in feeds}
        self.assertEqual(len(ends), 1)
        beats = ends.pop() - begun
        self.assertTrue(1 <= beats <= 9, beats)

    async def test_a_quiet_connection_is_no_dead_one(self: Any) -> None:
        """The broker's heartbeats are enough."""
        feed = self.make_feed(heartbeat=1, silence_seconds=1.5)
        await self.ready(feed)
        await self.pause(4.0)
        self.assertEqual((feed.ready, feed.counters.connections), (True, 1))

    async def test_poison(self: Any) -> None:
        """What is not livepush's is logged, acknowledged, counted, and the next event arrives."""
        feed = self.make_feed()
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        headers = {"v": 1, "ts": 1, "low": 1, "sending": 1}
        publisher.publish(b"not JSON")
        publisher.publish(headers=None)
        publisher.publish(type=None, app_id=None, message_id=None, headers=None)
        publisher.publish(headers={"v": 1, "x": [1, {"deep": "y"}], "when": None})
        publisher.publish(message_id="9" * 40)
        publisher.publish(message_id="-1", headers={**headers, "low": -5})
        publisher.publish(app_id="?" * 200)
        publisher.publish(headers={**headers, "ts": "yesterday"}, number=3)
        publisher.publish(number=4)
        await self.sink.until(lambda: ("p", 4) in self.sink.offsets)
        self.assertEqual([one for one in self.sink.got if not isinstance(one, str)], [("p", 1), ("p", 4)])
        self.assertEqual({one for one in self.sink.got if isinstance(one, str)}, {"suspend", "all hole"})
        self.assertEqual((feed.ready, feed.counters.connections), (True, 1))

    async def test_a_daemon_can_not_forge_an_event(self: Any) -> None:
        """The log holds what daemons write under marker.#; what calls itself an event there is none."""
        feed = self.make_feed()
        await self.ready(feed)
        publisher = self.make_publisher()
        headers = headers_of(Kind.EVENT, 1_700_000_000_000, Stamp("p", 1, 1, 1))
        forged = pika.BasicProperties(type="event", app_id="p", message_id="1", headers=headers)
        self.manage(lambda channel: channel.basic_publish(topology.DAEMON_EXCHANGE, "marker.x", BODY, forged))
        publisher.publish(number=2)
        await self.sink.until(lambda: ("p", 2) in self.sink.offsets)
        self.assertEqual((self.sink.got, feed.intake.counters.poisoned), ([("p", 2)], 1))

    async def test_the_end_is_quick_and_clean(self: Any) -> None:
        """stopService closes the connections in order, in any state; the queue is gone with them."""
        feed = self.make_feed()
        await feed.stopService()
        self.assertEqual(feed.state, "stopped")
        feed.startService()
        await self.ready(feed)
        name = feed._queue
        await feed.stopService()
        self.assertEqual((feed.state, feed.ready), ("stopped", False))
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker):
            self.manage(lambda channel: channel.queue_declare(name, passive=True))

    async def test_the_end_with_a_dead_network(self: Any) -> None:
        """A broker that does not answer holds nobody up: only the end's own deadline can be what ends it here."""
        proxy = self.make_proxy()
        feed = self.make_feed(self.world.url(port=proxy.port), heartbeat=3600, silence_seconds=3600)
        await self.ready(feed)
        proxy.set(Mode.BLACKHOLE)
        await feed.stopService()
        self.assertEqual(feed.state, "stopped")


class EmbeddedTests(BothBrokers, Cases):
    """The broker inside the daemon."""

    def make_world(self) -> RunningBroker:
        return shared_embedded().fresh_broker()

    def broker_port(self) -> int:
        assert isinstance(self.world, RunningBroker)
        return self.world.port


class RabbitMQTests(BothBrokers, Cases):
    """A server of its own."""

    def make_world(self) -> VirtualHost:
        self.node = shared_rabbitmq()
        return self.node.fresh_vhost()

    def broker_port(self) -> int:
        return self.node.port

    async def test_nobody_listens(self) -> None:
        """The address is named, and what to do."""
        port = free_port()
        feed = self.make_feed(self.world.url(port=port))
        text = await self.trouble(feed, "nothing listens on")
        self.assertIn(f"127.0.0.1:{port}: start the broker, or correct LIVEPUSH_BROKER_URL", text)

    async def test_a_wrong_password(self) -> None:
        """The user is named, the password is not."""
        feed = self.make_feed(self.world.url(password="wr0ng"))
        text = await self.trouble(feed, "refuses user 'guest' or its password")
        self.assertNotIn("wr0ng", text)

    async def test_a_wrong_virtual_host(self) -> None:
        """It is named too."""
        feed = self.make_feed(self.node.url(vhost="nowhere"))
        await self.trouble(feed, "refuses virtual host 'nowhere' to user 'guest'")

    async def test_a_port_that_wants_no_tls(self) -> None:
        """amqps to a plain port, said as such."""
        feed = self.make_feed(f"amqps://guest:guest@127.0.0.1:{self.node.port}/")
        await self.trouble(feed, "TLS with 127.0.0.1")

    async def test_a_daemon_that_may_make_neither_exchange_nor_log(self) -> None:
        """It is said exactly what is missing, one after the other, and `livepush topology` ends it."""
        assert isinstance(self.world, VirtualHost)
        user, vhost, node = f"daemon-{self.world.name}", self.world.name, self.node
        await deferToThread(node.ctl, "add_user", user, "password")
        self.addCleanup(deferToThread, node.ctl, "delete_user", user)
        rights = (r"^livepush\.p\.", r"^livepush\.(daemon|p\..+)$", r"^livepush(\.p\..+|\.log)?$")
        await deferToThread(node.ctl, "set_permissions", "-p", vhost, user, *rights)
        feed = self.make_feed(self.world.url(user=user, password="password"))
        text = await self.trouble(feed, "there is no exchange 'livepush'")
        self.assertIn("manage.py livepush topology", text)

        def make_exchanges(channel: Any) -> None:
            for name in topology.EXCHANGES:
                channel.exchange_declare(name, exchange_type=topology.EXCHANGE_TYPE, durable=True)

        self.manage(make_exchanges)
        text = await self.trouble(feed, "there is no log 'livepush.log'")
        self.assertIn("manage.py livepush topology", text)
        self.manage(topology.declare)
        await self.ready(feed)

    async def test_a_broker_that_is_killed(self) -> None:
        """Ready again after it is; what was confirmed before and after comes once, old numbers stay duplicates."""
        feed = self.make_feed()
        await self.ready(feed)
        await self.pause(1.5)  # a stream that is killed within its first second never comes up again (RabbitMQ 3.10.8)
        publisher = self.make_publisher()
        for _ in range(3):
            publisher.publish()
        await self.sink.until(lambda: len(self.sink.offsets) == 3)
        await deferToThread(self.node.restart, hard=True)
        await self.ready(feed)
        publisher = self.make_publisher()
        for number in (2, 3, 4, 5):
            publisher.publish(number=number)
        await self.sink.until(lambda: ("p", 5) in self.sink.offsets)
        self.assertEqual(self.sink.got, [("p", 1), ("p", 2), ("p", 3), "sweep", ("p", 4), ("p", 5)])

    async def test_a_memory_alarm(self) -> None:
        """While publishers are stopped, what waits is still received, acknowledged and gone from the queue."""
        assert isinstance(self.world, VirtualHost)
        proxy = self.make_proxy()
        feed = self.make_feed(self.world.url(port=proxy.port), prefetch=20, ack_messages=10, silence_seconds=100)
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        await self.sink.until(lambda: len(self.sink.got) == 1)
        proxy.set(Mode.BLACKHOLE)
        for _ in range(499):
            publisher.publish()
        await self.alarm()
        proxy.set(Mode.PASS)
        await self.sink.until(lambda: len(self.sink.offsets) == 500)
        self.assertEqual(self.sink.numbers("p"), list(range(1, 501)))
        left = "?"
        while left != "0":
            answer = await deferToThread(self.node.ctl, "-q", "list_queues", "-p", self.world.name, "name", "messages")
            left = next(line.split()[-1] for line in answer.splitlines() if line.startswith(topology.QUEUE_PREFIX))
        self.assertTrue(feed.ready)

    async def alarm(self) -> None:
        await deferToThread(self.node.ctl, "set_vm_memory_high_watermark", "0.00001")
        self.addCleanup(self.end_alarm)

    def end_alarm(self) -> Deferred[str]:
        return deferToThread(self.node.ctl, "set_vm_memory_high_watermark", "0.4")

    async def test_a_boot_under_a_memory_alarm(self) -> None:
        """The log is read, the cause is told, and it is ready as soon as the alarm is over."""
        self.manage(topology.declare)
        publisher = self.make_publisher()
        await maybeDeferred(lambda: Deferred.fromCoroutine(self.until_routed(publisher)))
        publisher.publish()
        await self.alarm()
        feed = self.make_feed(marker_seconds=1.0)
        await self.trouble(feed, "memory or disk alarm")
        await self.sink.until(lambda: ("p", publisher.number) in self.sink.got)
        await self.end_alarm()
        await self.ready(feed)
        self.assertEqual(self.sink.numbers("p"), list(range(1, publisher.number + 1)))

    async def test_a_deleted_queue(self) -> None:
        """An operator deletes it: that is a lost connection, and a new queue is made."""
        assert isinstance(self.world, VirtualHost)
        feed = self.make_feed()
        await self.ready(feed)
        await deferToThread(
            self.node.ctl,
            "eval",
            '[rabbit_amqqueue:delete(Q, false, false, <<"test">>)'
            f' || Q <- rabbit_amqqueue:list(<<"{self.world.name}">>), rabbit_amqqueue:is_exclusive(Q)].',
        )
        await self.sink.until(lambda: feed.counters.connections == 2 and feed.ready)
        self.make_publisher().publish()
        await self.sink.until(lambda: ("p", 1) in self.sink.got)
        self.assertEqual(self.sink.got, ["sweep", ("p", 1)])

    async def test_a_boot_with_a_long_log(self) -> None:
        """60,000 events in it, which is five minutes of 200 a second."""
        self.manage(topology.declare)
        publisher = self.make_publisher()
        await maybeDeferred(lambda: Deferred.fromCoroutine(self.until_routed(publisher)))
        await deferToThread(publish_many, self.world.url(), BOOT_EVENTS)
        begun = reactor.seconds()
        feed = self.make_feed()
        await self.ready(feed)
        took = reactor.seconds() - begun
        self.assertEqual(self.sink.numbers("many"), list(range(1, BOOT_EVENTS + 1)))
        _log.info("A log of {count} events was read in {took:.1f} s.", count=BOOT_EVENTS, took=took)


def publish_many(url: str, count: int) -> None:
    """Events of publisher `many`, as fast as it goes; all are in the log when this returns."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for number in range(1, count + 1):
        headers = headers_of(Kind.EVENT, 1_700_000_000_000, Stamp("many", number, number, 1))
        properties = pika.BasicProperties(type="event", app_id="many", message_id=str(number), headers=headers)
        if number == count:
            channel.confirm_delivery()
        channel.basic_publish("livepush", "event.orders.lock", BODY, properties)
    connection.close()
