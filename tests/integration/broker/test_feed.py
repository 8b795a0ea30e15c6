"""The feed against a real RabbitMQ: what brokers, networks and operators do to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pika
import pika.exceptions
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from livepush.broker import topology
from livepush.broker.envelope import Event, Kind, Stamp, encode_event, headers_of
from livepush.broker.feed import Feed, FeedSettings
from livepush.broker.url import BrokerURL
from tests.servers.ports import free_port
from tests.servers.proxy import Mode, Proxy
from tests.servers.rabbitmq import shared_rabbitmq

BODY = encode_event(Event("orders", "lock", {"order": 1}))


class Recorder:
    """A sink that writes down what it gets, and tells who waits when something has come true."""

    def __init__(self) -> None:
        self.got: list[tuple[str, int] | str] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def event(self, event: Event, id: str | None, ts: int, size: int = 0) -> None:  # noqa: A002
        publisher, _, number = (id or "live-0").rpartition("-")
        self.got.append((publisher, int(number)))

    def resync(self, channel: str | None, why: str) -> None:
        self.got.append(f"{channel or 'all'} {why}")

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

    def __init__(self, url: str, name: str = "p") -> None:
        self.name, self.number = name, 0
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()

    def publish(self, body: bytes = BODY, number: int | None = None, **changes: Any) -> None:
        """One message, confirmed."""
        self.number = self.number + 1 if number is None else number
        stamp = Stamp(self.name, self.number, self.number, 1)
        properties: dict[str, Any] = {
            "type": "event",
            "app_id": self.name,
            "message_id": str(self.number),
            "headers": headers_of(Kind.EVENT, 1_700_000_000_000, stamp),
            **changes,
        }
        self._channel.basic_publish("livepush", "event.orders.lock", body, pika.BasicProperties(**properties))

    def close(self) -> None:
        with contextlib.suppress(pika.exceptions.AMQPError):  # the broker may have been killed
            self._connection.close()


class FeedTests(TestCase):
    """A feed, its broker, and a network between them that can fail."""

    timeout = 150

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.vhost = self.node.fresh_vhost()
        self.addCleanup(self.vhost.delete)
        self.sink = Recorder()

    def make_feed(self, url: str | None = None, **changes: Any) -> Feed:
        settings = FeedSettings(BrokerURL.parse(url or self.vhost.url()), instance="test", retry_most=1.5)
        feed = Feed(reactor, replace(settings, **changes), self.sink)
        feed.watch(lambda _: self.sink.check())
        self.addCleanup(feed.stopService)
        feed.startService()
        return feed

    def make_proxy(self) -> Proxy:
        proxy = Proxy(self.node.port)
        self.addCleanup(self.close_proxy, proxy)
        return proxy

    def close_proxy(self, proxy: Proxy) -> None:
        with contextlib.suppress(BrokenPipeError):  # its thread may see the end before it is told
            proxy.close()

    def make_publisher(self, name: str = "p") -> Publisher:
        publisher = Publisher(self.vhost.url(), name)
        self.addCleanup(publisher.close)
        return publisher

    async def ready(self, feed: Feed) -> None:
        await self.sink.until(lambda: feed.ready)

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

    async def test_events_arrive(self) -> None:
        """The exchange is made when it is missing and may be made; an event published is an event received."""
        feed = self.make_feed()
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        publisher.publish(type="live", app_id=None, message_id=None, headers={"v": 1, "ts": 1})
        await self.sink.until(lambda: len(self.sink.got) == 2)
        self.assertEqual(self.sink.got, [("p", 1), ("live", 0)])

    async def test_three_publishers_each_in_order(self) -> None:
        """1,000 numbered events of each arrive once, in its order, without a resync."""
        feed = self.make_feed()
        await self.ready(feed)

        def publish(name: str) -> None:
            publisher = Publisher(self.vhost.url(), name)
            for _ in range(1000):
                publisher.publish()
            publisher.close()

        threads = [deferToThread(publish, name) for name in ("p", "q", "r")]
        await self.sink.until(lambda: len(self.sink.got) == 3000)
        for thread in threads:
            await thread
        for name in ("p", "q", "r"):
            self.assertEqual(self.sink.numbers(name), list(range(1, 1001)))

    async def test_a_broker_that_comes_later(self) -> None:
        """At the start it is not fatal that it is not there, and said with a remedy."""
        proxy = self.make_proxy()
        proxy.set(Mode.CUT)
        feed = self.make_feed(self.vhost.url(port=proxy.port))
        await self.trouble(feed, "hung up before a word of AMQP")
        proxy.set(Mode.PASS)
        await self.ready(feed)
        self.assertEqual(self.sink.got, [])
        self.assertIsNone(feed.trouble)

    async def test_nobody_listens(self) -> None:
        """The address is named, and what to do."""
        port = free_port()
        feed = self.make_feed(self.vhost.url(port=port))
        text = await self.trouble(feed, "nothing listens on")
        self.assertIn(f"127.0.0.1:{port}: start the broker, or correct LIVEPUSH_BROKER_URL", text)

    async def test_a_wrong_password(self) -> None:
        """The user is named, the password is not."""
        feed = self.make_feed(self.vhost.url(password="wr0ng"))
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

    async def test_no_exchange_and_no_right_to_make_it(self) -> None:
        """It is said exactly what is missing, and `livepush topology` ends it."""
        user = f"daemon-{self.vhost.name}"
        node = self.node
        await deferToThread(node.ctl, "add_user", user, "password")
        self.addCleanup(deferToThread, node.ctl, "delete_user", user)
        own = r"^livepush\.p\."
        await deferToThread(node.ctl, "set_permissions", "-p", self.vhost.name, user, own, own, r"^livepush(\.p\..*)?$")
        feed = self.make_feed(self.vhost.url(user=user, password="password"))
        text = await self.trouble(feed, "there is no exchange 'livepush'")
        self.assertIn("manage.py livepush topology", text)
        connection = pika.BlockingConnection(pika.URLParameters(self.vhost.url()))
        topology.declare(connection.channel())
        connection.close()
        await self.ready(feed)

    async def test_a_broker_that_is_killed(self) -> None:
        """It is ready again when the broker is, `resync` comes before anything later, old numbers stay duplicates."""
        feed = self.make_feed()
        await self.ready(feed)
        publisher = self.make_publisher()
        for _ in range(3):
            publisher.publish()
        await self.sink.until(lambda: len(self.sink.got) == 3)
        await deferToThread(self.node.restart, hard=True)
        await self.ready(feed)
        publisher = self.make_publisher()
        for number in (2, 3, 5, 6):
            publisher.publish(number=number)
        await self.sink.until(lambda: ("p", 6) in self.sink.got)
        self.assertEqual(self.sink.got, [("p", 1), ("p", 2), ("p", 3), "all restart", ("p", 5), ("p", 6)])

    async def test_a_dead_network(self) -> None:
        """Nothing is closed and nothing comes: noticed within the bound, and ready again when the network is."""
        proxy = self.make_proxy()
        feed = self.make_feed(self.vhost.url(port=proxy.port), heartbeat=1, silence_seconds=1.5, open_seconds=2.0)
        await self.ready(feed)
        proxy.set(Mode.BLACKHOLE)
        begun = reactor.seconds()
        text = await self.trouble(feed, "no byte from the broker for 1.5 s")
        self.assertLess(reactor.seconds() - begun, 4.0, text)
        await self.trouble(feed, "within 2 s (waiting for the broker's greeting)")
        proxy.set(Mode.PASS)
        await self.ready(feed)
        self.assertEqual(self.sink.got, ["all restart"])

    async def test_a_quiet_connection_is_no_dead_one(self) -> None:
        """The broker's heartbeats are enough."""
        feed = self.make_feed(heartbeat=1, silence_seconds=1.5)
        await self.ready(feed)
        await self.pause(4.0)
        self.assertEqual((feed.ready, feed.counters.connections), (True, 1))

    async def test_a_memory_alarm(self) -> None:
        """While publishers are stopped, what waits is still received, acknowledged and gone from the queue."""
        proxy = self.make_proxy()
        feed = self.make_feed(self.vhost.url(port=proxy.port), prefetch=20, ack_messages=10, silence_seconds=100)
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        await self.sink.until(lambda: len(self.sink.got) == 1)
        proxy.set(Mode.BLACKHOLE)
        for _ in range(499):
            publisher.publish()
        await deferToThread(self.node.ctl, "set_vm_memory_high_watermark", "0.00001")
        self.addCleanup(deferToThread, self.node.ctl, "set_vm_memory_high_watermark", "0.4")
        proxy.set(Mode.PASS)
        await self.sink.until(lambda: len(self.sink.got) == 500)
        self.assertEqual(self.sink.numbers("p"), list(range(1, 501)))
        left = "?"
        while left != "0":
            answer = await deferToThread(self.node.ctl, "-q", "list_queues", "-p", self.vhost.name, "messages")
            left = answer.split()[-1]
        self.assertTrue(feed.ready)

    async def test_a_deleted_queue(self) -> None:
        """An operator deletes it: that is a lost connection, and a new queue is made."""
        feed = self.make_feed()
        await self.ready(feed)
        await deferToThread(
            self.node.ctl,
            "eval",
            '[rabbit_amqqueue:delete(Q, false, false, <<"test">>)'
            f' || Q <- rabbit_amqqueue:list(<<"{self.vhost.name}">>)].',
        )
        await self.sink.until(lambda: feed.counters.connections == 2 and feed.ready)
        self.make_publisher().publish()
        await self.sink.until(lambda: ("p", 1) in self.sink.got)
        self.assertEqual(self.sink.got, ["all restart", ("p", 1)])

    async def test_an_overflow(self) -> None:
        """The broker drops the oldest of too many: the loss is told before what follows, which comes in order."""
        proxy = self.make_proxy()
        feed = self.make_feed(
            self.vhost.url(port=proxy.port), prefetch=20, ack_messages=10, queue_length=100, hole_seconds=0.5,
            silence_seconds=100,
        )  # fmt: skip
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        await self.sink.until(lambda: len(self.sink.got) == 1)
        proxy.set(Mode.BLACKHOLE)
        for _ in range(999):
            publisher.publish()
        proxy.set(Mode.PASS)
        await self.sink.until(lambda: ("p", 1000) in self.sink.got)
        hole = self.sink.got.index("all hole")
        numbers = self.sink.numbers("p")
        self.assertEqual(numbers[:hole], list(range(1, hole + 1)))
        self.assertEqual(numbers[hole:], list(range(901, 1001)))
        self.assertEqual(feed.intake.ingest.counters.missing, 900 - hole)

    async def test_poison(self) -> None:
        """What is not livepush's is logged, acknowledged, counted, and the next event arrives."""
        feed = self.make_feed()
        await self.ready(feed)
        publisher = self.make_publisher()
        publisher.publish()
        headers = {"v": 1, "ts": 1, "low": 1, "sending": 1}
        publisher.publish(bytes(20 * 2**20))
        publisher.publish(b"not JSON")
        publisher.publish(headers=None)
        publisher.publish(type=None, app_id=None, message_id=None, headers=None)
        publisher.publish(headers={"v": 1, "x": [1, {"deep": "y"}], "when": None})
        publisher.publish(message_id="9" * 40)
        publisher.publish(message_id="-1", headers={**headers, "low": -5})
        publisher.publish(app_id="?" * 200)
        publisher.publish(headers={**headers, "ts": "yesterday"}, number=4)
        publisher.publish(number=5)
        await self.sink.until(lambda: ("p", 5) in self.sink.got)
        self.assertEqual(self.sink.got, [("p", 1), "all hole", ("p", 5)])
        self.assertEqual((feed.intake.counters.poisoned, feed.ready), (9, True))
        self.assertEqual(feed.counters.connections, 1)

    async def test_the_end_is_quick_and_clean(self) -> None:
        """stopService closes the connection in order, in any state; the queue is gone with it."""
        feed = self.make_feed()
        await feed.stopService()
        self.assertEqual(feed.state, "stopped")
        feed.startService()
        await self.ready(feed)
        await feed.stopService()
        self.assertEqual((feed.state, feed.ready), ("stopped", False))
        answer = await deferToThread(self.node.ctl, "-q", "list_queues", "-p", self.vhost.name, "name")
        self.assertNotIn("livepush.p.", answer)

    async def test_the_end_with_a_dead_network(self) -> None:
        """A broker that does not answer holds nobody up for longer than 2 s."""
        proxy = self.make_proxy()
        feed = self.make_feed(self.vhost.url(port=proxy.port))
        await self.ready(feed)
        proxy.set(Mode.BLACKHOLE)
        begun = reactor.seconds()
        await feed.stopService()
        self.assertLess(reactor.seconds() - begun, 2.0)
