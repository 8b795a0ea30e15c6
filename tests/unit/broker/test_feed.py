"""Tests of `livepush.broker.feed` and what it is made of: a scripted broker in memory, and a clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pika
from pika import frame, spec
from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from livepush.broker.beacon import MOST_WAITING
from livepush.broker.envelope import Control, Event, Kind, Marker, Stamp, encode_event, encode_marker, headers_of
from livepush.broker.feed import Feed, FeedSettings
from livepush.broker.url import BrokerURL

BODY = encode_event(Event("orders", "lock", {"order": 1}))
REPLIES: dict[type[Any], Any] = {
    spec.Channel.Open: spec.Channel.OpenOk,
    spec.Channel.Close: spec.Channel.CloseOk,
    spec.Exchange.Declare: spec.Exchange.DeclareOk,
    spec.Queue.Bind: spec.Queue.BindOk,
    spec.Basic.Qos: spec.Basic.QosOk,
    spec.Confirm.Select: spec.Confirm.SelectOk,
    spec.Basic.Cancel: lambda: None,
}


class Transport(StringTransport):
    """Its end is reported in a later turn, as a socket's is."""

    def __init__(self, clock: Clock, protocol: Any, answer: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock, self._protocol, self._answer, self.ended = clock, protocol, answer, False

    def write(self, data: bytes) -> None:
        super().write(data)  # type: ignore[no-untyped-call]
        self._clock.callLater(0, self._answer)

    def loseConnection(self) -> None:
        self._end(error.ConnectionDone())

    def abortConnection(self) -> None:
        self._end(error.ConnectionAborted())

    def _end(self, problem: Exception) -> None:
        if not self.ended:
            self.ended = True
            self._clock.callLater(0, self._protocol.connectionLost, Failure(problem))


class Link:
    """One connection of a feed's, from the broker's side."""

    def __init__(self, broker: Broker, protocol: Any) -> None:
        self.broker, self.protocol = broker, protocol
        self.consumers: dict[int, str] = {}
        self.tags: dict[int, int] = {}
        self.published = 0
        self._publishing: Any = None
        self._parts: list[Any] = []
        self.transport = Transport(broker.clock, protocol, self.turn)
        protocol.makeConnection(self.transport)
        names = ("consumer_cancel_notify", "publisher_confirms", "basic.nack", "connection.blocked")
        capabilities = {"capabilities": dict.fromkeys(names, True)}
        self.send(0, spec.Connection.Start(0, 9, capabilities, "PLAIN", "en_US"))

    def send(self, channel: int, method: Any, after: bytes = b"") -> None:
        self.give(frame.Method(channel, method).marshal() + after)

    def give(self, data: bytes) -> None:
        if not self.transport.ended:
            self.protocol.dataReceived(data)
            self.turn()

    def turn(self) -> None:
        """Answers everything that was asked."""
        data = self.transport.value()
        self.transport.clear()
        while data:
            size, one = frame.decode_frame(data)
            data = data[size:]
            if isinstance(one, frame.Method):
                self.broker.asked.append(one.method)
                self.answer(one.channel_number, one.method)
            elif isinstance(one, frame.Header | frame.Body):
                self._collect(one)

    def answer(self, channel: int, method: Any) -> None:
        broker = self.broker
        if type(method) is broker.silent_on:
            return
        scripted = broker.answers.get(type(method))
        if scripted:
            self.send(channel, scripted.pop(0))
        elif isinstance(method, spec.Connection.StartOk):
            self.send(0, spec.Connection.Tune(0, 131072, 10))
        elif isinstance(method, spec.Connection.Open):
            self.send(0, spec.Connection.OpenOk())
        elif isinstance(method, spec.Connection.Close):
            self.send(0, spec.Connection.CloseOk())
        elif isinstance(method, spec.Queue.Declare):
            self.send(channel, spec.Queue.DeclareOk(method.queue, 0, 0))
        elif isinstance(method, spec.Basic.Consume):
            self.consume(channel, method)
        elif isinstance(method, spec.Basic.Publish):
            self._publishing, self._parts = (channel, method), []
        elif type(method) in REPLIES and (reply := REPLIES[type(method)]()) is not None:
            if isinstance(method, spec.Channel.Close):
                self.consumers.pop(channel, None)
            self.send(channel, reply)

    def consume(self, channel: int, method: Any) -> None:
        log = method.queue == "livepush.log"
        self.consumers[channel] = "log" if log else "queue"
        self.tags[channel] = 0
        after = b"" if log else b"".join(self.delivery(channel, *one) for one in self.broker.with_consume_ok)
        start: Any = (method.arguments or {}).get("x-stream-offset")
        if log:
            self.broker.starts.append(start)
        self.send(channel, spec.Basic.ConsumeOk(method.consumer_tag), after)
        if log:
            offsets = list(self.broker.log)
            if start == "last":
                offsets = offsets[-3:]
            elif isinstance(start, int):
                offsets = [offset for offset in offsets if offset >= start]
                if start > max(self.broker.log, default=-1):
                    self.consumers[channel] = f"log from {start}"
            for offset in offsets:
                self.show(channel, offset)

    def show(self, channel: int, offset: int) -> None:
        """A record of the log, to a consumer."""
        exchange, properties, body = self.broker.log[offset]
        headers = {**(properties.headers or {}), "x-stream-offset": pika.compat.long(offset)}
        told = pika.BasicProperties(
            type=properties.type, app_id=properties.app_id, message_id=properties.message_id, headers=headers
        )
        self.give(self.delivery(channel, told, body, exchange))

    def delivery(self, channel: int, properties: Any, body: bytes, exchange: str = "livepush") -> bytes:
        self.tags[channel] += 1
        method = spec.Basic.Deliver("tag", self.tags[channel], False, exchange, "some.key")
        frames: list[Any] = [frame.Method(channel, method), frame.Header(channel, len(body), properties)]
        frames += [frame.Body(channel, body)]
        return b"".join(one.marshal() for one in frames)

    def _collect(self, one: Any) -> None:
        self._parts.append(one)
        if isinstance(one, frame.Body):
            channel, method = self._publishing
            header, body = self._parts
            self.published += 1
            self.broker.accept(self, channel, method, header.properties, body.fragment)


@implementer(IStreamClientEndpoint)
class Broker:
    """An endpoint with a broker behind it: a log, and answers to what a feed asks, as far as it is told to."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.attempts = 0
        self.refuses = self.hangs = False
        self.silent_on: type[Any] | None = None
        self.answers: dict[type[Any], list[Any]] = {}
        self.asked: list[Any] = []
        self.with_consume_ok: list[tuple[Any, bytes]] = []
        self.links: list[Link] = []
        self.starts: list[Any] = []
        self.log: dict[int, tuple[str, Any, bytes]] = {}
        self.next_offset = 0
        self.markers: list[str] = []
        self.marker_bound, self.shows, self.alarm, self.beats = True, True, False, True

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts += 1
        if self.refuses:
            return fail(error.ConnectionRefusedError())
        if self.hangs:
            return Deferred()
        protocol = factory.buildProtocol(None)
        self.links.append(Link(self, protocol))
        return succeed(protocol)

    def accept(self, link: Link, channel: int, method: Any, properties: Any, body: bytes) -> None:
        """What the second connection publishes."""
        self.markers.append(method.routing_key)
        if self.alarm:
            return
        if not self.marker_bound:
            header = frame.Header(channel, len(body), properties).marshal() + frame.Body(channel, body).marshal()
            link.send(channel, spec.Basic.Return(312, "NO_ROUTE", method.exchange, method.routing_key), header)
        link.send(channel, spec.Basic.Ack(link.published))
        if self.marker_bound:
            self.append(properties, body, method.exchange)

    def append(self, properties: Any, body: bytes, exchange: str = "livepush") -> None:
        """One more record of the log, shown to who reads it."""
        offset, self.next_offset = self.next_offset, self.next_offset + 1
        self.log[offset] = (exchange, properties, body)
        if not self.shows:
            return
        for link in self.links:
            for channel, kind in list(link.consumers.items()):
                if kind == "log" or (kind.startswith("log from ") and offset >= int(kind[9:])):
                    link.show(channel, offset)

    def log_event(self, number: int, body: bytes = BODY) -> None:
        self.append(*make_message(number, body))

    def queue_events(self, *messages: tuple[Any, bytes]) -> None:
        """In one read."""
        link, channel = next((one, at) for one in self.links for at, kind in one.consumers.items() if kind == "queue")
        link.give(b"".join(link.delivery(channel, *one) for one in messages))

    def publish(self, *numbers: int) -> None:
        """Events of publisher p that reach queue and log, in this order."""
        for number in numbers:
            self.queue_events(make_message(number))
            self.log_event(number)

    @property
    def first(self) -> Link:
        """The living connection that consumes."""
        return next(link for link in reversed(self.links) if link.consumers and not link.transport.ended)

    @property
    def second(self) -> Link:
        """The living one that publishes."""
        return next(link for link in reversed(self.links) if not link.consumers and not link.transport.ended)

    def drop(self) -> None:
        """All connections are lost."""
        for link in self.links:
            link.consumers.clear()
            link.transport.loseConnection()

    def make_anew(self) -> None:
        """The log is deleted and made again."""
        self.log.clear()
        self.next_offset = 0

    def all(self, kind: type[Any]) -> list[Any]:
        return [method for method in self.asked if isinstance(method, kind)]


def make_message(number: int, body: bytes = BODY, kind: Kind = Kind.EVENT, sending: int = 1) -> tuple[Any, bytes]:
    properties = pika.BasicProperties(
        type=kind.value,
        app_id="p",
        message_id=str(number),
        headers=headers_of(kind, 1, Stamp("p", number, number, sending)),
    )
    return properties, body


class Recorder:
    """A sink that writes down what it gets."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def event(self, event: Event, id: str | None, ts: int, size: int = 0, offset: int | None = None) -> None:  # noqa: A002
        self.got.append(id or "live")

    def located(self, id: str, offset: int) -> None:  # noqa: A002
        self.got.append(f"{id} at {offset}")

    def control(self, control: Control) -> None:
        self.got.append(f"control {control.what}")

    def resync(self, channel: str | None, why: str, offset: int | None = None, id: str | None = None) -> None:  # noqa: A002
        self.got.append(why)

    def distrust(self, suspend: bool) -> None:
        self.got.append("suspend" if suspend else "sweep")

    def start_over(self, why: str) -> None:
        self.got.append(f"start over: {why}")

    def flush(self) -> None:
        self.got.append("flush")


class FeedTests(SynchronousTestCase):
    """States, acknowledgements, reconnects."""

    def setUp(self) -> None:
        self.clock, self.sink = Clock(), Recorder()
        self.broker = Broker(self.clock)
        self.seen: list[bool] = []

    def make_feed(self, **changes: Any) -> Feed:
        url = BrokerURL.parse("amqp://daemon:secret@broker.example:5672/%2F")
        feed = Feed(self.clock, FeedSettings(url, **{"retry_most": 1.0, **changes}), self.sink, self.broker)
        feed.watch(self.seen.append)
        feed.startService()
        self.settle()
        return feed

    def settle(self) -> None:
        """What is due at once happens, and what follows from it."""
        for _ in range(30):
            self.clock.advance(0)

    def pass_time(self, seconds: float) -> None:
        """In small steps, so that what is due in turn happens in turn."""
        for step in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.settle()
            if self.broker.beats and step % 50 == 0:
                for link in self.broker.links:
                    link.give(frame.Heartbeat().marshal())

    def test_publishers_are_remembered(self) -> None:
        """A publisher that was silent is known as long as the log may hold what he has said, an hour at least."""
        for log_seconds, known in ((600, 3600), (86_400, 86_760)):
            feed = self.make_feed(log_seconds=log_seconds)
            self.assertEqual(feed.intake.ingest.settings.publisher_seconds, known)

    # -- attaching -----------------------------------------------------------------------------------------------------

    def test_ready(self) -> None:
        """The log is read first, then the queue is bound; when an own marker came back, the watchers know."""
        feed = self.make_feed()
        self.assertEqual((feed.state, feed.ready, feed.trouble, self.seen), ("ready", True, None, [True]))
        log, queue = self.broker.all(spec.Basic.Consume)
        self.assertEqual((log.queue, log.arguments), ("livepush.log", {"x-stream-offset": "360s"}))
        made = self.broker.all(spec.Queue.Declare)[-1]
        self.assertEqual(queue.queue, made.queue)
        self.assertRegex(made.queue, r"^livepush\.p\.[^.]+\.0\.[0-9a-f]{12}$")
        self.assertEqual((made.exclusive, made.auto_delete, made.arguments["x-max-length"]), (True, True, 50_000))
        self.assertEqual(
            [one.routing_key for one in self.broker.all(spec.Queue.Bind)], ["event.#", "control.#", "live.#"]
        )
        self.assertEqual([one.prefetch_count for one in self.broker.all(spec.Basic.Qos)], [1000, 1000])
        self.assertEqual([one.mandatory for one in self.broker.all(spec.Basic.Publish)], [True, True])
        self.assertRegex(self.broker.markers[0], r"^marker\.[0-9a-f]{12}$")

    def test_the_connection_that_consumes_publishes_nothing(self) -> None:
        """Under a memory alarm a broker would stop reading from it, acknowledgements included."""
        self.make_feed()
        self.assertEqual([link.published for link in self.broker.links if link.consumers], [0])
        self.assertEqual([link.published for link in self.broker.links if not link.consumers], [2])

    def test_a_reader_that_is_behind_is_waited_for(self) -> None:
        """The queue is bound when a marker came back within a second, however long the log is."""
        self.broker.shows = False
        feed = self.make_feed()
        self.pass_time(3)
        self.assertEqual((feed.state, feed.trouble), ("reading", None))
        self.broker.shows = True
        self.broker.first.show(2, 0)
        self.pass_time(1)
        self.assertTrue(feed.ready)
        self.assertGreater(len(self.broker.markers), 2)

    def test_what_is_missing_is_made(self) -> None:
        """Exchanges and log with its bindings, by a process that may."""
        self.broker.answers[spec.Exchange.Declare] = [spec.Channel.Close(404, "NOT_FOUND", 40, 10)]
        self.broker.answers[spec.Queue.Declare] = [spec.Channel.Close(404, "NOT_FOUND - no queue", 50, 10)]
        feed = self.make_feed()
        self.assertTrue(feed.ready)
        self.assertEqual(sorted({one.passive for one in self.broker.all(spec.Exchange.Declare)}), [False, True])
        made = self.broker.all(spec.Queue.Declare)[1]
        self.assertEqual((made.queue, made.durable, made.arguments["x-queue-type"]), ("livepush.log", True, "stream"))
        bound = [(one.exchange, one.routing_key) for one in self.broker.all(spec.Queue.Bind)][:3]
        self.assertEqual(bound, [("livepush", "event.#"), ("livepush", "control.#"), ("livepush.daemon", "marker.#")])

    def test_a_log_that_is_missing_and_may_not_be_made(self) -> None:
        """The command that makes it is named."""
        self.broker.answers[spec.Queue.Declare] = [
            spec.Channel.Close(404, "NOT_FOUND - no queue", 50, 10), spec.Channel.Close(403, "ACCESS_REFUSED", 50, 10),
        ]  # fmt: skip
        feed = self.make_feed()
        self.assertIn("there is no log 'livepush.log', and user 'daemon' may not make it (403", str(feed.trouble))
        self.assertIn("manage.py livepush topology", str(feed.trouble))
        self.pass_time(1.5)
        self.assertTrue(feed.ready)

    def test_a_log_whose_node_is_only_just_starting(self) -> None:
        """It is not made a second time, but waited for."""
        text = "NOT_FOUND - home node 'x' of durable queue 'livepush.log' in vhost '/' is down or inaccessible"
        self.broker.answers[spec.Queue.Declare] = [spec.Channel.Close(404, text, 50, 10)]
        feed = self.make_feed()
        self.assertIn("home node 'x'", str(feed.trouble))
        self.assertEqual(len(self.broker.all(spec.Queue.Declare)), 1)
        self.pass_time(1.5)
        self.assertTrue(feed.ready)

    def test_the_log_is_not_bound(self) -> None:
        """Not ready, said with a remedy, noticed when it is bound again; no clock but the process's own is asked."""
        self.broker.marker_bound = False
        feed = self.make_feed()
        self.pass_time(8)
        self.assertEqual((feed.ready, feed.state), (False, "reading"))
        self.assertIn("the log is not bound", str(feed.trouble))
        self.assertIn("manage.py livepush topology", str(feed.trouble))
        self.assertTrue(3 <= len(self.broker.markers) <= 6, self.broker.markers)
        self.broker.marker_bound = True
        self.pass_time(6)
        self.assertTrue(feed.ready)

    def test_a_boot_under_a_memory_alarm(self) -> None:
        """The log is read, one marker waits, and readiness comes as soon as the alarm is over."""
        self.broker.alarm = True
        self.broker.log_event(1)
        feed = self.make_feed()
        self.pass_time(30)
        self.assertEqual((feed.state, len(self.broker.markers)), ("reading", 1))
        self.assertIn("does not confirm a marker", str(feed.trouble))
        self.broker.second.send(0, spec.Connection.Blocked("low on memory"))
        self.assertIn("memory or disk alarm", str(feed.trouble))
        self.assertIn("p-1", self.sink.got)
        self.broker.alarm = False
        self.broker.second.send(1, spec.Basic.Nack(1))
        self.pass_time(1)
        self.assertTrue(feed.ready)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def test_events_of_one_read_are_flushed_once(self) -> None:
        """However many there are; the log's copies tell where they stand."""
        self.make_feed()
        self.sink.got.clear()
        self.broker.queue_events(make_message(1), make_message(2))
        self.assertEqual(self.sink.got, ["p-1", "p-2", "flush"])
        self.broker.log_event(1)
        self.assertEqual(self.sink.got[3:], ["p-1 at 2", "flush"])

    def test_a_daemon_can_not_forge_an_event(self) -> None:
        """What was published to the daemons' exchange is a marker or nothing; it is acknowledged with the others."""
        feed = self.make_feed(ack_messages=1)
        self.pass_time(1)
        self.broker.asked.clear()
        self.sink.got.clear()
        self.broker.append(*make_message(1), exchange="livepush.daemon")
        self.assertEqual([one for one in self.sink.got if one != "flush"], [])
        self.assertEqual((feed.intake.counters.poisoned, feed.intake.log.last), (1, 2))
        self.assertEqual([one.delivery_tag for one in self.broker.all(spec.Basic.Ack)], [3])

    def test_what_the_queue_lost_comes_from_the_log(self) -> None:
        """The only event of its publisher, dropped by the broker's bound, too."""
        self.make_feed()
        self.sink.got.clear()
        self.broker.log_event(1)
        self.assertEqual(self.sink.got, ["p-1", "flush"])

    def test_acknowledged_together(self) -> None:
        """At the end of the read that completes `ack_messages`, else after `ack_seconds`, once for all."""
        self.make_feed(ack_messages=3)
        self.pass_time(1)
        self.broker.asked.clear()
        self.broker.queue_events(make_message(1))
        self.broker.queue_events(make_message(2))
        self.assertEqual(self.broker.all(spec.Basic.Ack), [])
        self.broker.queue_events(make_message(3), make_message(4))
        self.broker.queue_events(make_message(5))
        self.clock.advance(0.05)
        self.settle()
        self.assertEqual(
            [(one.delivery_tag, one.multiple) for one in self.broker.all(spec.Basic.Ack)], [(4, True), (5, True)]
        )

    def test_the_log_is_acknowledged_too(self) -> None:
        """Or the broker would stop after a prefetch: an acknowledgement is credit, and takes nothing away."""
        self.make_feed(ack_messages=3)
        self.pass_time(1)
        self.broker.asked.clear()
        for number in range(1, 5):
            self.broker.log_event(number)
        self.assertEqual([one.delivery_tag for one in self.broker.all(spec.Basic.Ack)], [5])

    def test_one_source_does_not_wait_for_the_other(self) -> None:
        """A record of the log that may wait is no reason for the queue to."""
        self.make_feed(ack_messages=3)
        self.pass_time(1)
        self.broker.asked.clear()
        self.broker.log_event(1)
        self.broker.queue_events(*[make_message(number) for number in (1, 2, 3)])
        self.assertEqual([one.delivery_tag for one in self.broker.all(spec.Basic.Ack)], [3])

    def test_many_bytes_are_acknowledged_at_once(self) -> None:
        """The broker need not keep more than the bound for us."""
        self.make_feed(unacked_bytes=1000)
        self.pass_time(1)
        self.broker.asked.clear()
        self.broker.queue_events(make_message(1, BODY + b" " * 1000))
        self.assertEqual([one.delivery_tag for one in self.broker.all(spec.Basic.Ack)], [1])

    # -- coming back ---------------------------------------------------------------------------------------------------

    def test_back_where_it_was(self) -> None:
        """The reader begins at the last offset read; what was missed comes once, then everybody is swept."""
        feed = self.make_feed()
        self.broker.publish(1, 2)
        self.sink.got.clear()
        self.broker.drop()
        self.settle()
        self.assertEqual((feed.ready, feed.state), (False, "waiting"))
        self.broker.log_event(3)
        self.pass_time(1.5)
        self.assertTrue(feed.ready)
        self.assertEqual(self.broker.starts[1:], [3, "last"])
        told = [one for one in self.sink.got if one != "flush"]
        self.assertEqual(told, ["p-2 at 3", "p-3", "sweep"])
        self.assertEqual((feed.counters.connections, self.seen), (2, [True, False, True]))
        self.assertEqual([one.split()[0] for one in self.broker.first.consumers.values()], ["log", "queue"])
        self.assertEqual(len(feed._sources), 2)

    def test_the_log_was_trimmed(self) -> None:
        """The record at which the reader begins is gone: everything anew, and no sweep besides."""
        feed = self.make_feed()
        self.broker.publish(1, 2)
        self.broker.drop()
        self.broker.log_event(3)
        self.broker.log.clear()
        self.broker.log_event(4)
        self.sink.got.clear()
        self.pass_time(1.5)
        self.assertTrue(feed.ready)
        told = [one for one in self.sink.got if one != "flush"]
        self.assertEqual(told[0], "start over: the log does not go on where it was left")
        self.assertNotIn("sweep", told)
        self.assertEqual(feed.intake.log.first, 5)

    def test_the_log_was_made_anew_and_is_shorter(self) -> None:
        """The reader would wait for ever; the probe finds the end below, and it is read as at the start."""
        feed = self.make_feed()
        self.broker.publish(1, 2, 3)
        self.broker.drop()
        self.broker.make_anew()
        self.broker.append(*make_message(3, sending=2))
        self.sink.got.clear()
        self.pass_time(1.5)
        self.assertTrue(feed.ready)
        self.assertEqual(self.broker.starts[1:], [4, "last", "360s"])
        told = [one for one in self.sink.got if one != "flush"]
        self.assertEqual(told[0], "start over: the log was made anew")
        self.assertNotIn("sweep", told)
        self.assertEqual(feed.intake.log.first, 0)

    def test_the_log_was_made_anew_with_a_copy_at_the_same_offset(self) -> None:
        """The same event, sent again, at the place where its first copy was read: another log all the same."""
        feed = self.make_feed()
        self.broker.publish(1)
        self.broker.drop()
        last = feed.intake.log.last
        self.broker.make_anew()
        for _ in range(last):
            self.broker.append(*make_message(1, kind=Kind.VOID, sending=2))
        self.broker.append(*make_message(1, sending=2))
        self.sink.got.clear()
        self.pass_time(1.5)
        self.assertTrue(feed.ready)
        self.assertIn("start over: the log does not go on where it was left", self.sink.got)

    def test_the_second_connection_may_be_lost(self) -> None:
        """That is no loss of the feed's, and it is made again."""
        feed = self.make_feed()
        second = self.broker.second
        second.transport.loseConnection()
        self.pass_time(0.5)
        self.assertEqual((feed.ready, self.seen), (True, [True]))
        self.pass_time(1)
        self.assertIsNot(self.broker.second, second)

    def test_a_marker_of_another_process_in_the_last_chunk(self) -> None:
        """It says nothing, whatever its number."""
        feed = self.make_feed()
        headers = headers_of(Kind.MARKER, 1, None)
        marker = pika.BasicProperties(type="marker", headers=headers)
        self.broker.append(marker, encode_marker(Marker("other", 100)), "livepush.daemon")
        self.broker.publish(1)
        self.broker.drop()
        self.pass_time(1.5)
        self.assertTrue(feed.ready)
        self.assertNotIn("start over: the log was made anew", self.sink.got)

    def test_claims(self) -> None:
        """They are told as they stand in the log, and whose they are; those that wait for a marker go together."""
        feed, seen = self.make_feed(), list[tuple[str, bool]]()
        feed.on_claim = lambda claim, mine: seen.append((claim, mine))
        self.broker.alarm = True
        for number in range(130):
            self.assertTrue(feed.claim(f"c{number}"))
        other = pika.BasicProperties(type="marker", headers=headers_of(Kind.MARKER, 1, None))
        self.broker.append(other, encode_marker(Marker("other", 1, ("c1", "d"))), "livepush.daemon")
        self.settle()
        self.assertEqual(seen, [("c1", False), ("d", False)])
        self.broker.alarm = False
        markers = len(self.broker.markers)
        self.broker.second.transport.loseConnection()
        self.pass_time(2)
        self.assertEqual(sorted(seen[2:]), sorted((f"c{number}", True) for number in range(1, 130)))
        self.assertLessEqual(len(self.broker.markers) - markers, 3)

    def test_claims_that_pile_up(self) -> None:
        """While the broker takes none so many wait, and one more is refused."""
        feed = self.make_feed()
        self.broker.alarm = True
        taken = sum(feed.claim(f"c{number}") for number in range(2_000))
        self.assertEqual(taken, MOST_WAITING + 1)

    def test_a_marker_that_was_lost_with_the_second_connection(self) -> None:
        """It holds up no other."""
        feed = self.make_feed()
        self.broker.alarm = True
        self.pass_time(28)
        self.assertEqual(self.broker.markers[2:], ["marker.beat"])
        self.broker.alarm = False
        self.broker.second.transport.loseConnection()
        self.pass_time(10)
        self.assertEqual((feed.ready, self.broker.markers[2:]), (True, ["marker.beat"] * 2))

    def test_no_second_connection_no_readiness(self) -> None:
        """The cause is told."""
        feed = self.make_feed()
        self.broker.drop()
        self.settle()
        self.broker.answers[spec.Confirm.Select] = [spec.Channel.Close(540, "NOT_IMPLEMENTED", 85, 10)] * 20
        self.pass_time(8)
        self.assertEqual(feed.state, "reading")
        self.assertIn("no connection for markers: the broker closed the channel with 540", str(feed.trouble))
        self.broker.answers.clear()
        self.pass_time(6)
        self.assertTrue(feed.ready)

    def test_both_connections_come_back_together(self) -> None:
        """When one finds the broker there again, the other does not wait for its own turn."""
        for _ in range(5):
            self.setUp()
            feed = self.make_feed(retry_most=60.0)
            self.broker.refuses = True
            self.broker.drop()
            self.pass_time(40)
            self.broker.refuses = False
            while feed.state == "waiting":
                self.pass_time(0.1)
            self.assertTrue(feed.ready)

    # -- while it is ready ---------------------------------------------------------------------------------------------

    def test_a_quiet_log_gets_a_beat(self) -> None:
        """After `beat_seconds` and up to a quarter more; a log that others write to gets none."""
        feed = self.make_feed()
        self.broker.markers.clear()
        for number in range(1, 4):
            self.pass_time(19)
            self.broker.publish(number)
        self.assertEqual(self.broker.markers, [])
        self.pass_time(28)
        self.assertEqual(self.broker.markers, ["marker.beat"])
        self.assertTrue(feed.ready)

    def test_a_log_that_is_unbound_later(self) -> None:
        """A beat that does not come back ends readiness; the feed goes on, and is ready when one does."""
        feed = self.make_feed()
        self.broker.marker_bound = False
        self.pass_time(36)
        self.assertEqual((feed.ready, feed.state), (False, "doubtful"))
        self.assertIn("the log is not bound", str(feed.trouble))
        self.broker.marker_bound = True
        self.pass_time(6)
        self.assertEqual((feed.ready, self.seen, feed.counters.connections), (True, [True, False, True], 1))

    def test_a_log_that_is_not_bound_to_events(self) -> None:
        """Markers come back, and what the queue brings is never met in the log: not ready, and why."""
        feed = self.make_feed()
        self.broker.queue_events(make_message(1))
        self.pass_time(8)
        self.assertEqual((feed.ready, feed.state), (False, "doubtful"))
        self.assertIn("not bound to event.# and control.#", str(feed.trouble))
        self.broker.publish(2)
        self.pass_time(1.1)
        self.assertTrue(feed.ready)
        self.broker.queue_events(make_message(3))
        self.pass_time(8)
        self.assertFalse(feed.ready)
        self.pass_time(62)
        self.assertTrue(feed.ready)

    def test_an_alarm_is_no_unbound_log(self) -> None:
        """A beat that the broker does not take yet says nothing."""
        feed = self.make_feed()
        self.broker.alarm = True
        self.pass_time(60)
        self.assertTrue(feed.ready)
        self.assertEqual(self.broker.markers[2:], ["marker.beat"])

    # -- connections ---------------------------------------------------------------------------------------------------

    def test_at_most_one_attempt_a_second(self) -> None:
        """Of each connection: a broker that is down is not hammered, the cause is known, and the log is not filled."""
        self.broker.refuses = True
        feed = self.make_feed()
        self.pass_time(30)
        self.assertTrue(40 <= self.broker.attempts <= 62, self.broker.attempts)
        self.assertEqual(feed.state, "waiting")
        self.assertEqual(str(feed.trouble).partition(":5672")[0], "nothing listens on broker.example")
        self.broker.refuses = False
        self.pass_time(2)
        self.assertEqual((feed.ready, feed.trouble), (True, None))

    def test_one_line_a_cause(self) -> None:
        """At first, then once a minute; the end of what was told is told too."""
        with capturedLogs() as lines:
            self.broker.refuses = True
            self.make_feed()
            self.pass_time(50)
            self.assertEqual(self.written(lines), ["Feed not ready, trying again: nothing listens on broker.example"])
            self.pass_time(20)
            self.assertEqual(len(self.written(lines)), 2)
            self.assertIn("more times)", formatEvent(lines[-1]) or "")
            self.broker.refuses = False
            self.pass_time(2)
            self.assertEqual(self.written(lines)[2:], ["Feed ready"])

    def test_one_line_a_doubt(self) -> None:
        """Of a feed that has its connections, and is not ready, likewise."""
        with capturedLogs() as lines:
            self.broker.alarm = True
            self.make_feed()
            self.pass_time(60)
            said = self.written(lines)
            self.assertEqual(said, ["Feed not ready, trying again: the broker does not confirm a marker; look at its"])
            self.broker.alarm = False
            self.broker.second.send(1, spec.Basic.Nack(1))
            self.pass_time(1)
            self.assertEqual(self.written(lines)[1:], ["Feed ready"])

    def written(self, lines: Sequence[LogEvent]) -> list[str]:
        """The beginning of what the feed has written to the log."""
        texts = [formatEvent(line) or "" for line in lines if line["log_namespace"] == "livepush.broker.feed"]
        return [re.split(r":\d| alarms|: amqp", text)[0] for text in texts]

    def test_an_attempt_has_a_deadline(self) -> None:
        """At every stage, from TCP to the consumer of the log, and to that of the queue."""
        for stage, state in (
            (None, "connecting"),
            (spec.Connection.StartOk, "connecting"),
            (spec.Connection.Open, "connecting"),
            (spec.Channel.Open, "connecting"),
            (spec.Basic.Consume, "connecting"),
            (spec.Queue.Bind, "binding"),
        ):
            self.setUp()
            self.broker.hangs, self.broker.silent_on = stage is None, stage
            feed = self.make_feed(open_seconds=5.0)
            self.pass_time(4.9)
            self.assertEqual(feed.state, state, stage)
            self.pass_time(0.3)
            self.assertEqual(feed.state, "waiting", stage)
            self.assertIn("within 5 s", str(feed.trouble))

    def test_silence_ends_a_connection(self) -> None:
        """No byte for `silence_seconds`, noticed a third of that later at the latest."""
        self.broker.beats = False
        feed = self.make_feed(silence_seconds=12.0, beat_seconds=100.0)
        self.pass_time(10)
        for link in self.broker.links:
            link.give(frame.Heartbeat().marshal())
        self.pass_time(11)
        self.assertTrue(feed.ready)
        self.pass_time(3.7)
        self.assertEqual(str(feed.trouble).partition(":")[0], "no byte from the broker for 12 s")

    def test_a_cancelled_consumer_is_a_lost_connection(self) -> None:
        """Of the log as of the queue; so is a closed channel; the cause is told."""
        for channel in (0, 1):
            self.setUp()
            feed = self.make_feed()
            number = list(self.broker.first.consumers)[channel]
            self.broker.first.send(number, spec.Basic.Cancel(self.broker.all(spec.Basic.Consume)[channel].consumer_tag))
            self.pass_time(0.1)
            self.assertIn("cancelled the consumer", str(feed.trouble))
            self.pass_time(1.5)
            refusal = spec.Channel.Close(406, "PRECONDITION_FAILED - unknown delivery tag", 60, 80)
            self.broker.first.send(list(self.broker.first.consumers)[channel], refusal)
            self.pass_time(0.1)
            self.assertIn("406 PRECONDITION_FAILED", str(feed.trouble))

    def test_garbage_ends_the_connection_only(self) -> None:
        """Bytes that are no AMQP, and a frame that pika can't read."""
        for garbage in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\x00\x01\x00\x00\x00\x04\x7f\x7f\x7f\x7f\xce"):
            self.setUp()
            feed = self.make_feed()
            self.broker.first.give(garbage)
            self.pass_time(0.1)
            self.assertEqual(feed.state, "waiting")
            self.pass_time(1.5)
            self.assertTrue(feed.ready)

    def test_stop(self) -> None:
        """In any state, with nothing left behind; what was handled is acknowledged first."""
        for prepare in ("ready", "refuses", "hangs", "silent", "reading"):
            self.setUp()
            self.broker.refuses, self.broker.hangs = prepare == "refuses", prepare == "hangs"
            self.broker.silent_on = spec.Connection.Open if prepare == "silent" else None
            self.broker.alarm = prepare == "reading"
            feed = self.make_feed()
            if prepare == "ready":
                self.pass_time(1)
                self.broker.asked.clear()
                self.broker.queue_events(make_message(1))
            stopped = feed.stopService()
            self.pass_time(1.8)
            if prepare == "ready":
                self.assertEqual(len(self.broker.all(spec.Basic.Ack)), 1)
            self.successResultOf(stopped)
            self.assertEqual((feed.state, self.clock.getDelayedCalls()), ("stopped", []), prepare)

    def test_a_stopped_feed_starts_again(self) -> None:
        """Where it was, as after a reconnect."""
        feed = self.make_feed()
        stopped = feed.stopService()
        self.pass_time(1.8)
        self.successResultOf(stopped)
        self.sink.got.clear()
        feed.startService()
        self.settle()
        self.assertEqual((feed.ready, self.sink.got[-2:]), (True, ["sweep", "flush"]))

    def test_settings_name_what_is_wrong(self) -> None:
        """Field, value and what would be right."""
        url = BrokerURL.parse("amqp://broker.example")
        for changes, text in (
            ({"prefetch": 0}, "prefetch is 0"),
            ({"prefetch": 70_000}, "at most 65535"),
            ({"ack_messages": 2_000}, "ack_messages is 2000"),
            ({"retry_most": 0.5}, "retry_most is 0.5"),
            ({"hole_seconds": "10"}, "hole_seconds is '10'"),
        ):
            bad: dict[str, Any] = dict(changes)
            with self.assertRaisesRegex(ValueError, text):
                FeedSettings(url, **bad)
        with self.assertRaisesRegex(ValueError, "silence_seconds is 5"):
            Feed(self.clock, FeedSettings(url, silence_seconds=5), self.sink)
