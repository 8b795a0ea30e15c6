"""Publisher, feed and a relay's wake-up with the users of `definitions.json`: each does its work with its rights."""

from __future__ import annotations

from typing import Any

import pika
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from livepush.broker import topology
from livepush.broker.envelope import Control, Event, Kind, Stamp, encode_control, encode_event, headers_of
from livepush.broker.feed import Feed, FeedSettings
from livepush.broker.names import CONTROL_OUTBOX_KEY, event_key, marker_key
from livepush.broker.publisher import Draft, Publisher, PublisherSettings, Ticket
from livepush.broker.url import BrokerURL
from livepush.django.wakeup import Bell, Wakeup
from tests.integration.broker.test_feed import Recorder
from tests.servers.definitions import DAEMON, DJANGO, load_definitions
from tests.servers.rabbitmq import shared_rabbitmq

SECONDS = 30.0


class RightsTests(TestCase):
    """All against one virtual host, made by the definitions alone."""

    timeout = 120

    def setUp(self) -> None:
        self.loaded = load_definitions(shared_rabbitmq())
        self.addCleanup(self.loaded.remove)
        self.sink = Recorder()

    def make_feed(self) -> Feed:
        feed = Feed(reactor, FeedSettings(BrokerURL.parse(self.loaded.url(DAEMON)), instance="test"), self.sink)
        feed.watch(lambda _: self.sink.check())
        self.addCleanup(feed.stopService)
        feed.startService()
        return feed

    def make_publisher(self) -> Publisher:
        publisher = Publisher(PublisherSettings(BrokerURL.parse(self.loaded.url(DJANGO))))
        self.addCleanup(publisher.close, 0.0)
        return publisher

    async def test_an_event_reaches_a_process_and_is_found_in_the_log(self) -> None:
        """Publisher and feed, each with its own user, need nothing beyond the definitions."""
        feed = self.make_feed()
        await self.sink.until(lambda: feed.ready)
        publisher = self.make_publisher()
        tickets = [publisher.publish(make_event(number)) for number in range(3)]
        await deferToThread(settle, tickets)
        await self.sink.until(lambda: len(self.sink.offsets) == 3)
        name = next(iter(self.sink.offsets))[0]
        self.assertEqual(self.sink.numbers(name), [1, 2, 3])

    async def test_a_relay_is_woken(self) -> None:
        """Its queue is made, bound and read with Django's user."""
        bell = Bell()
        wakeup = Wakeup(BrokerURL.parse(self.loaded.url(DJANGO)), bell)
        self.addCleanup(bell.close)
        self.addCleanup(wakeup.stop)
        wakeup.start()
        self.assertTrue(await deferToThread(bell.wait, SECONDS), "no first ring: the queue is not consumed")
        publisher = self.make_publisher()
        tickets = [publisher.publish(Draft(Kind.CONTROL, CONTROL_OUTBOX_KEY, encode_control(Control("outbox")), ""))]
        await deferToThread(settle, tickets)
        self.assertTrue(await deferToThread(bell.wait, SECONDS), "not woken")

    async def test_a_daemon_that_speaks_as_django_is_not_heard(self) -> None:
        """What came through the daemons' exchange is a marker or nothing, whatever it calls itself."""
        feed = self.make_feed()
        await self.sink.until(lambda: feed.ready)
        await deferToThread(self.forge)
        publisher = self.make_publisher()
        await deferToThread(settle, [publisher.publish(make_event(1))])
        await self.sink.until(lambda: bool(self.sink.offsets))  # the log's reader has passed the forgeries
        self.assertEqual([name for name, _ in self.sink.offsets], [self.sink.got[0][0]])
        self.assertEqual(len(self.sink.got), 1, self.sink.got)
        self.assertTrue(feed.ready)

    def forge(self) -> None:
        """An event and a control message, as Django would number and stamp them, by the daemon's user."""
        connection = pika.BlockingConnection(pika.URLParameters(self.loaded.url(DAEMON)))
        channel = connection.channel()
        channel.confirm_delivery()
        bodies = {"event": encode_event(Event("orders", "forged", {})), "control": encode_control(Control("identity"))}
        for number, (kind, body) in enumerate(bodies.items(), 1):
            properties = pika.BasicProperties(
                type=kind,
                app_id="forger",
                message_id=str(number),
                headers=headers_of(Kind(kind), 1_700_000_000_000, Stamp("forger", number, 1, 1)),
            )
            channel.basic_publish(topology.DAEMON_EXCHANGE, marker_key("x"), body, properties, mandatory=True)
        connection.close()


def make_event(number: int) -> Draft:
    body = encode_event(Event("orders", "lock", {"order": number}))
    return Draft(Kind.EVENT, event_key("orders", "lock"), body, "orders")


def settle(tickets: list[Any]) -> None:
    """Waits until all are confirmed."""
    for ticket in tickets:
        assert isinstance(ticket, Ticket)
        ticket.result(SECONDS)
