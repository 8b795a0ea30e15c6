"""What livepush relies on in a stream, one suite for both: RabbitMQ and the embedded broker."""

from __future__ import annotations

from functools import partial
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.broker.contract import Act, Embedded, RabbitMQ, Steps


class StreamContract(Steps):
    """The suite. A subclass says where the broker is."""

    def stream(self, name: str = "log", arguments: dict[str, Any] | None = None) -> str:
        """A stream of this name."""
        return self.queue(name, durable=True, arguments={"x-queue-type": "stream", **(arguments or {})})

    def read(self, stream: str, offset: int | str, count: int, prefetch: int = 100) -> list[tuple[int, str]]:
        """Reads from an offset until `count` records came: each with its own offset."""
        came: list[tuple[int, str]] = []
        channel = self.connection.channel()
        self.follow(channel, stream, offset, came, prefetch)
        self.wait(channel, lambda: len(came) >= count)
        channel.close()
        return came

    def follow(
        self, channel: BlockingChannel, stream: str, offset: int | str, came: list[tuple[int, str]], prefetch: int = 100
    ) -> None:
        """Consumes without acknowledging."""

        def note(_channel: object, _method: object, properties: pika.BasicProperties, body: bytes) -> None:
            came.append((offset_of(properties), body.decode()))

        channel.basic_qos(prefetch_count=prefetch)
        channel.basic_consume(stream, note, arguments={"x-stream-offset": offset})

    def test_a_stream_is_read_from_where_one_likes(self) -> None:
        """From the first record, the last, an offset, a time ago; and nothing is taken away."""
        log = self.stream()
        self.publish(log, *map(str, range(6)))
        came = self.read(log, "first", 6)
        offsets = [offset for offset, _ in came]
        self.assertEqual([body for _, body in came], list("012345"))
        self.assertEqual(offsets, sorted(set(offsets)))
        self.assertEqual(self.read(log, offsets[3], 3), came[3:])
        self.assertEqual(self.read(log, 0, 6), came)
        self.assertEqual(self.read(log, "5m", 6), came)
        self.assertEqual(self.read(log, "1h", 6), came)
        self.assertEqual(self.read(log, "last", 1)[-1], came[-1])

    def test_a_stream_is_read_on_as_it_grows(self) -> None:
        """By all who read it, from their own places."""
        log = self.stream()
        self.publish(log, "0", "1")
        channel = self.connection.channel()
        channels = {"next": channel, "first": self.connection.channel()}
        came: dict[str, list[tuple[int, str]]] = {offset: [] for offset in channels}
        for offset, reader in channels.items():
            self.follow(reader, log, offset, came[offset])
        self.wait(channel, lambda: len(came["first"]) == 2)
        self.publish(log, "2", "3")
        self.wait(channel, lambda: len(came["first"]) == 4 and len(came["next"]) == 2)
        self.assertEqual(came["next"], came["first"][2:])
        self.assertEqual([body for _, body in came["first"]], list("0123"))

    def test_a_reader_ahead_of_a_stream_gets_nothing_before_its_offset(self) -> None:
        """A log that was made anew is silent to who waits at an offset of the old one."""
        log = self.stream()
        self.publish(log, "0", "1")
        last = self.read(log, "last", 1)[-1][0]
        far: list[tuple[int, str]] = []
        near: list[tuple[int, str]] = []
        channel = self.connection.channel()
        self.follow(self.connection.channel(), log, last + 1000, far)
        self.follow(channel, log, last + 1, near)
        self.publish(log, "2", "3")
        self.wait(channel, lambda: len(near) == 2)
        self.assertEqual([body for _, body in near], ["2", "3"])
        self.assertEqual(far, [])

    def test_an_acknowledgement_of_a_record_makes_room_for_another(self) -> None:
        """No more than the prefetch is handed out; whose turn it is does not matter."""
        log = self.stream()
        self.publish(log, *map(str, range(9)))
        channel = self.connection.channel()
        came: list[tuple[int, str]] = []
        self.follow(channel, log, "first", came, prefetch=3)
        self.wait(channel, lambda: len(came) >= 3)
        channel.basic_ack(2)
        self.wait(channel, lambda: len(came) >= 4)
        channel.basic_ack(4, multiple=True)
        self.wait(channel, lambda: len(came) >= 7)
        self.assertEqual([body for _, body in came], list("0123456"))

    def test_what_a_channel_left_undone_of_a_stream_stays_where_it_is(self) -> None:
        """A reader that ends puts nothing back, and none is told that a record comes again."""
        log = self.stream()
        self.publish(log, "0", "1", "2")
        first = self.read(log, "first", 3)
        channel = self.connection.channel()
        channel.basic_qos(prefetch_count=10)
        redelivered: list[bool] = []
        channel.basic_consume(
            log, lambda _c, m, _p, _b: redelivered.append(bool(m.redelivered)), arguments={"x-stream-offset": "first"}
        )
        self.wait(channel, lambda: len(redelivered) == 3)
        self.assertEqual(redelivered, [False] * 3)
        self.assertEqual(self.read(log, "first", 3), first)

    def test_properties_and_body_arrive_through_a_stream(self) -> None:
        """As livepush uses them; the offset is one header more, and stands for one that a publisher sent."""
        log = self.stream()
        self.channel.queue_bind(log, "amq.topic", "event.#")
        full = pika.BasicProperties(
            content_type="application/json",
            content_encoding="utf-8",
            headers={"v": 1, "ts": 2**53, "low": -5, "t": True, "s": "t\u00e4xt"},
            delivery_mode=2,
            message_id="12345678901234567890",
            timestamp=1_700_000_000,
            type="event",
            app_id="publisher",
        )
        forged = pika.BasicProperties(headers={"x-stream-offset": 99})
        sent = [(full, b"x"), (pika.BasicProperties(), b""), (forged, bytes(range(256)) * 1500)]
        for properties, body in sent:
            self.channel.basic_publish("amq.topic", "event.x", body, properties, mandatory=True)
        came: list[tuple[Any, pika.BasicProperties, bytes]] = []
        channel = self.connection.channel()
        channel.basic_qos(prefetch_count=10)
        channel.basic_consume(log, lambda _c, m, p, b: came.append((m, p, b)), arguments={"x-stream-offset": "first"})
        self.wait(channel, lambda: len(came) == 3)
        for (method, got, body), (properties, right) in zip(came, sent, strict=True):
            self.assertLess(offset_of(got), 99)
            headers = dict(got.headers or {})
            del headers["x-stream-offset"]
            self.assertEqual((method.exchange, method.routing_key, body), ("amq.topic", "event.x", right))
            self.assertEqual(headers, {} if properties is forged else properties.headers or {})
            self.assertEqual({**vars(got), "headers": None}, {**vars(properties), "headers": None})

    def test_a_stream_is_declared_again_only_as_it_is(self) -> None:
        """Its arguments are part of it."""
        arguments = {"x-max-age": "600s", "x-stream-max-segment-size-bytes": 5_000_000}
        for _ in range(2):
            self.stream(arguments=arguments)
        self.channel.queue_declare("log", passive=True)
        self.refused(406, partial(declare_stream, {**arguments, "x-max-age": "10m"}))
        self.refused(406, partial(declare_stream, {**arguments, "x-stream-max-segment-size-bytes": 4_000_000}))
        self.refused(406, partial(declare_stream, {}))
        self.refused(406, lambda it: it.queue_declare("log", durable=True))

    def test_a_stream_that_makes_no_sense_is_refused(self) -> None:
        """It must be durable and nobody's own, and know of no length and no expiry."""
        kind = {"x-queue-type": "stream"}
        acts: list[Act] = [
            lambda it: it.queue_declare("log", arguments=kind),
            lambda it: it.queue_declare("log", durable=True, exclusive=True, arguments=kind),
            lambda it: it.queue_declare("log", durable=True, auto_delete=True, arguments=kind),
            lambda it: it.queue_declare("log", durable=True, arguments={"x-max-age": "1h"}),
            *(
                partial(declare_stream, {name: value})
                for name, value in (
                    ("x-max-length", 5),
                    ("x-overflow", "drop-head"),
                    ("x-max-age", "5"),
                    ("x-max-age", 5),
                    ("x-max-age", "0s"),
                    ("x-max-length-bytes", -1),
                    ("x-stream-max-segment-size-bytes", "x"),
                )
            ),
        ]
        for act in acts:
            self.refused(406, act)
        self.refused(404, lambda it: it.queue_declare("log", passive=True))

    def test_a_reader_of_a_stream_acknowledges(self) -> None:
        """Without a prefetch or with an offset that is none it is 406; what a stream can't do at all is 540."""
        log, classic = self.stream(), self.queue()
        self.publish(log, "0")

        def with_prefetch(offset: object, queue: str, channel: BlockingChannel) -> None:
            channel.basic_qos(prefetch_count=5)
            channel.basic_consume(queue, lambda *_: None, arguments={"x-stream-offset": offset})

        self.refused(406, lambda it: it.basic_consume(log, lambda *_: None))
        self.refused(406, partial(with_prefetch, "5", log))
        self.refused(406, partial(with_prefetch, "10x", log))
        self.refused(406, partial(with_prefetch, "first", classic))

        def automatic(channel: BlockingChannel) -> None:
            channel.basic_qos(prefetch_count=5)
            channel.basic_consume(log, lambda *_: None, auto_ack=True)

        def unread(channel: BlockingChannel) -> None:
            came: list[tuple[int, str]] = []
            self.follow(channel, log, "first", came)
            self.wait(channel, lambda: bool(came))
            channel.basic_nack(1)

        acts: list[Act] = [automatic, unread, lambda it: it.basic_get(log), lambda it: it.queue_purge(log)]
        for act in acts:
            self.ended(540, act)

    def test_a_reader_is_told_when_its_stream_goes(self) -> None:
        """Consumer cancel notification; a new stream of the name begins at the beginning."""
        log = self.stream()
        self.publish(log, "old", "old")
        channel = self.connection.channel()
        told: list[Any] = []
        came: list[tuple[int, str]] = []
        channel.add_on_cancel_callback(told.append)
        self.follow(channel, log, "first", came)
        self.wait(channel, lambda: len(came) == 2)
        self.channel.queue_delete(log)
        self.wait(channel, lambda: bool(told))
        self.assertEqual(channel.consumer_tags, [])
        self.refused(404, lambda it: it.queue_declare(log, passive=True))
        self.publish(self.stream(), "new")
        self.assertEqual(self.read(log, "first", 1), [(0, "new")])

    def test_a_stream_forgets_whole_segments(self) -> None:
        """The oldest go when it is too large, and who asks for one that is gone gets the oldest there is."""
        log = self.stream(arguments={"x-max-length-bytes": 20_000, "x-stream-max-segment-size-bytes": 5_000})
        self.publish(log, *(f"{number:0500}" for number in range(200)))

        def trimmed() -> list[tuple[int, str]]:
            return self.read(log, "first", 1, prefetch=1)

        for _ in range(100):  # RabbitMQ cuts off a moment later
            if trimmed()[0][0] > 100:
                break
            self.publish(log, f"{0:0500}")
        first = trimmed()
        self.assertGreater(first[0][0], 100)
        self.assertEqual(self.read(log, 0, 1, prefetch=1), first)


class EmbeddedBrokerTests(Embedded, StreamContract, SynchronousTestCase):
    """The contract, kept by the embedded broker."""


class RabbitMQTests(RabbitMQ, StreamContract, SynchronousTestCase):
    """The contract, kept by RabbitMQ."""


def offset_of(properties: pika.BasicProperties) -> int:
    """The offset that stands in a record's headers."""
    headers: dict[str, Any] = dict(properties.headers or {})
    return int(headers["x-stream-offset"])


def declare_stream(arguments: dict[str, Any], channel: BlockingChannel) -> None:
    """Declares a stream `log` with these arguments."""
    channel.queue_declare("log", durable=True, arguments={"x-queue-type": "stream", **arguments})
