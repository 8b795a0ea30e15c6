"""Tests of `livepush.broker.feed` and `amqp`: a scripted broker in memory, and a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
from pika import frame, spec
from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from livepush.broker.envelope import Event, Kind, Stamp, encode_event, headers_of
from livepush.broker.feed import Feed, FeedSettings
from livepush.broker.url import BrokerURL

BODY = encode_event(Event("orders", "lock", {"order": 1}))
REPLIES: dict[type[Any], Any] = {
    spec.Channel.Open: spec.Channel.OpenOk,
    spec.Channel.Close: spec.Channel.CloseOk,
    spec.Exchange.Declare: spec.Exchange.DeclareOk,
    spec.Queue.Bind: spec.Queue.BindOk,
    spec.Basic.Qos: spec.Basic.QosOk,
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


@implementer(IStreamClientEndpoint)
class Broker:
    """An endpoint with a broker behind it: answers what a feed asks, as far as it is told to."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.attempts = 0
        self.refuses = self.hangs = False
        self.silent_on: type[Any] | None = None
        self.answers: dict[type[Any], list[Any]] = {}
        self.asked: list[Any] = []
        self.with_consume_ok = b""

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts += 1
        if self.refuses:
            return fail(error.ConnectionRefusedError())
        if self.hangs:
            return Deferred()
        self.protocol = factory.buildProtocol(None)
        self.transport = Transport(self.clock, self.protocol, self.turn)
        self.protocol.makeConnection(self.transport)
        capabilities = {"capabilities": {"consumer_cancel_notify": True}}
        self.send(0, spec.Connection.Start(0, 9, capabilities, "PLAIN", "en_US"))
        return succeed(self.protocol)

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
                self.asked.append(one.method)
                self.answer(one.channel_number, one.method)

    def answer(self, channel: int, method: Any) -> None:
        if type(method) is self.silent_on:
            return
        scripted = self.answers.get(type(method))
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
            self.send(channel, spec.Basic.ConsumeOk(method.consumer_tag), self.with_consume_ok)
        elif type(method) in REPLIES and (reply := REPLIES[type(method)]()) is not None:
            self.send(channel, reply)

    def all(self, kind: type[Any]) -> list[Any]:
        return [method for method in self.asked if isinstance(method, kind)]


def make_delivery(tag: int, number: int, channel: int = 1, body: bytes = BODY) -> bytes:
    properties = pika.BasicProperties(
        type="event",
        app_id="p",
        message_id=str(number),
        headers=headers_of(Kind.EVENT, 1, Stamp("p", number, number, 1)),
    )
    frames: list[Any] = [frame.Method(channel, spec.Basic.Deliver("tag", tag, False, "livepush", "event.orders.lock"))]
    frames += [frame.Header(channel, len(body), properties), frame.Body(channel, body)]
    return b"".join(one.marshal() for one in frames)


class Recorder:
    """A sink that writes down what it gets."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def event(self, event: Event, id: str | None, ts: int, size: int = 0) -> None:  # noqa: A002
        self.got.append(id or "live")

    def resync(self, channel: str | None, why: str) -> None:
        self.got.append(why)

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
        feed = Feed(self.clock, FeedSettings(url, retry_most=1.0, **changes), self.sink, self.broker)
        feed.watch(self.seen.append)
        feed.startService()
        self.clock.advance(0)
        return feed

    def pass_time(self, seconds: float) -> None:
        """In small steps, so that what is due in turn happens in turn."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

    def test_ready(self) -> None:
        """Exchange, queue, bindings and consumer are there, and the watchers know."""
        feed = self.make_feed()
        self.assertEqual((feed.state, feed.ready, self.seen), ("ready", True, [True]))
        (queue,) = self.broker.all(spec.Queue.Declare)
        self.assertRegex(queue.queue, r"^livepush\.p\.[^.]+\.0\.[0-9a-f]{12}$")
        self.assertEqual((queue.exclusive, queue.auto_delete), (True, True))
        self.assertEqual(queue.arguments["x-max-length"], 50_000)
        self.assertEqual(
            [one.routing_key for one in self.broker.all(spec.Queue.Bind)], ["event.#", "control.#", "live.#"]
        )
        self.assertEqual([one.prefetch_count for one in self.broker.all(spec.Basic.Qos)], [1000])

    def test_events_of_one_read_are_flushed_once(self) -> None:
        """However many there are."""
        self.make_feed()
        self.broker.give(make_delivery(1, 1) + make_delivery(2, 2))
        self.assertEqual(self.sink.got, ["p-1", "p-2", "flush"])

    def test_acknowledged_together(self) -> None:
        """At the end of the read that completes `ack_messages`, else after `ack_seconds`, once for all."""
        self.make_feed(ack_messages=3)
        self.broker.give(make_delivery(1, 1))
        self.broker.give(make_delivery(2, 2))
        self.assertEqual(self.broker.all(spec.Basic.Ack), [])
        self.broker.give(make_delivery(3, 3) + make_delivery(4, 4))
        self.broker.give(make_delivery(5, 5))
        self.clock.advance(0.05)
        self.clock.advance(0)
        self.broker.turn()
        self.assertEqual(
            [(one.delivery_tag, one.multiple) for one in self.broker.all(spec.Basic.Ack)], [(4, True), (5, True)]
        )

    def test_many_bytes_are_acknowledged_at_once(self) -> None:
        """The broker need not keep more than the bound for us."""
        self.make_feed(unacked_bytes=1000)
        self.broker.give(make_delivery(1, 1, body=BODY + b" " * 1000))
        self.assertEqual([one.delivery_tag for one in self.broker.all(spec.Basic.Ack)], [1])

    def test_a_resync_comes_before_the_first_message_of_a_new_queue(self) -> None:
        """Even when that message comes in one read with consume-ok; at the first connection there is none."""
        self.broker.with_consume_ok = make_delivery(1, 5)
        feed = self.make_feed()
        self.broker.with_consume_ok = make_delivery(1, 8)
        self.broker.transport.loseConnection()
        self.pass_time(1.5)
        self.assertEqual(self.sink.got, ["p-5", "flush", "restart", "p-8", "flush"])
        self.assertEqual((feed.counters.connections, self.seen), (2, [True, False, True]))

    def test_at_most_one_attempt_a_second(self) -> None:
        """A broker that is down is not hammered, the cause is known, and the log is not filled."""
        self.broker.refuses = True
        feed = self.make_feed()
        self.pass_time(30)
        self.assertTrue(20 <= self.broker.attempts <= 31, self.broker.attempts)
        self.assertEqual(feed.state, "waiting")
        self.assertEqual(str(feed.trouble).partition(":5672")[0], "nothing listens on broker.example")
        self.broker.refuses = False
        self.pass_time(2)
        self.assertEqual((feed.ready, feed.trouble), (True, None))

    def test_an_attempt_has_a_deadline(self) -> None:
        """At every stage, from TCP to the consumer."""
        for stage in (
            None,
            spec.Connection.StartOk,
            spec.Connection.Open,
            spec.Channel.Open,
            spec.Queue.Bind,
            spec.Basic.Consume,
        ):
            self.setUp()
            self.broker.hangs, self.broker.silent_on = stage is None, stage
            feed = self.make_feed(open_seconds=5.0)
            self.pass_time(4.9)
            self.assertEqual(feed.state, "connecting", stage)
            self.pass_time(0.3)
            self.assertEqual(feed.state, "waiting", stage)
            self.assertIn("within 5 s", str(feed.trouble))

    def test_silence_ends_a_connection(self) -> None:
        """No byte for `silence_seconds`, noticed a third of that later at the latest."""
        feed = self.make_feed(silence_seconds=12.0)
        self.pass_time(10)
        self.broker.give(frame.Heartbeat().marshal())
        self.pass_time(11)
        self.assertTrue(feed.ready)
        self.pass_time(3.7)
        self.assertEqual(str(feed.trouble).partition(":")[0], "no byte from the broker for 12 s")

    def test_a_cancelled_consumer_is_a_lost_connection(self) -> None:
        """So is a closed channel; the cause is told."""
        feed = self.make_feed()
        (consume,) = self.broker.all(spec.Basic.Consume)
        self.broker.send(1, spec.Basic.Cancel(consume.consumer_tag))
        self.pass_time(0.1)
        self.assertIn("cancelled the consumer", str(feed.trouble))
        self.pass_time(1.5)
        self.broker.send(1, spec.Channel.Close(406, "PRECONDITION_FAILED - unknown delivery tag", 60, 80))
        self.pass_time(0.1)
        self.assertIn("406 PRECONDITION_FAILED", str(feed.trouble))

    def test_a_missing_exchange_is_made(self) -> None:
        """By a process that may."""
        self.broker.answers[spec.Exchange.Declare] = [spec.Channel.Close(404, "NOT_FOUND", 40, 10)]
        feed = self.make_feed()
        self.assertTrue(feed.ready)
        self.assertEqual([one.passive for one in self.broker.all(spec.Exchange.Declare)], [True, False])

    def test_garbage_ends_the_connection_only(self) -> None:
        """Bytes that are no AMQP, and a frame that pika can't read."""
        for garbage in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\x00\x01\x00\x00\x00\x04\x7f\x7f\x7f\x7f\xce"):
            feed = self.make_feed()
            self.broker.give(garbage)
            self.pass_time(0.1)
            self.assertEqual(feed.state, "waiting")
            self.pass_time(1.5)
            self.assertTrue(feed.ready)

    def test_stop(self) -> None:
        """In any state, with nothing left behind; what was handled is acknowledged first."""
        for prepare in ("ready", "refuses", "hangs", "silent"):
            self.setUp()
            self.broker.refuses, self.broker.hangs = prepare == "refuses", prepare == "hangs"
            self.broker.silent_on = spec.Connection.Open if prepare == "silent" else None
            feed = self.make_feed()
            if prepare == "ready":
                self.broker.give(make_delivery(1, 1))
            stopped = feed.stopService()
            self.pass_time(1.8)
            self.assertEqual(len(self.broker.all(spec.Basic.Ack)), int(prepare == "ready"))
            self.successResultOf(stopped)
            self.assertEqual((feed.state, self.clock.getDelayedCalls()), ("stopped", []), prepare)

    def test_a_stopped_feed_starts_again(self) -> None:
        """And tells that something may have been missed."""
        feed = self.make_feed()
        stopped = feed.stopService()
        self.broker.turn()
        self.pass_time(1.8)
        self.successResultOf(stopped)
        feed.startService()
        self.clock.advance(0)
        self.assertEqual((feed.ready, self.sink.got), (True, ["restart", "flush"]))

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
