"""Streams keep their bounds, the ledger is right, and each reader gets each record once, in order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pika import spec
from pika.frame import Header
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.embedded.limits import MESSAGE_OVERHEAD, Ledger
from livepush.broker.embedded.message import Message
from livepush.broker.embedded.queue import Entry
from livepush.broker.embedded.refusal import ChannelRefused
from livepush.broker.embedded.stream import AnyQueue, Stream, interval
from tests.unit.broker.embedded.client import Client, make_broker, publish

HEADER = Header(1, 1, spec.BasicProperties()).marshal()[7:-1]
RECORD = len(HEADER) + 29 + 1 + MESSAGE_OVERHEAD  # bytes of a record of one byte, its offset's header included


def make_message(text: str = "x") -> Message:
    return Message(b"\x00\x01k", HEADER, text.encode())


class Reader:
    """A consumer that can take so many."""

    exclusive = False

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.offsets: list[int] = []
        self.told = False

    @property
    def ready(self) -> bool:
        return self.room > 0

    def deliver(self, queue: AnyQueue, entry: Entry) -> None:
        self.room -= 1
        self.offsets.append(entry.position)

    def cancelled(self) -> None:
        self.told = True


class StreamTests(SynchronousTestCase):
    """`Stream` with a clock of the test's."""

    def make(self, held: int = 10**9, **arguments: object) -> Stream:
        self.ledger, self.clock = Ledger(held), Clock()
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        return Stream("log", self.ledger, self.clock, {"x-queue-type": "stream", **named})

    def start(self, stream: Stream, offset: object) -> int:
        return stream.start({"x-stream-offset": offset}, acks=True, prefetch=1)

    def test_where_a_reader_begins(self) -> None:
        """By name, by number, by how long ago."""
        stream = self.make()
        self.assertEqual([self.start(stream, where) for where in ("first", "last", "next", "1h")], [0, 0, 0, 0])
        for _ in range(4):  # at 0, 60, 120 and 180 s
            stream.put(make_message())
            self.clock.advance(60)
        places = {"first": 0, "last": 3, "next": 4, None: 4, 2: 2, -1: -1, 99: 99}
        places |= {"1h": 0, "4m": 0, "239s": 1, "2m": 2, "60s": 3, "59s": 4, "1s": 4}
        self.assertEqual({where: self.start(stream, where) for where in places}, places)

    def test_an_offset_that_is_none_is_refused(self) -> None:
        """Also what RabbitMQ answers with an internal error."""
        stream = self.make()
        for where in ("", "5", "10x", "s", "bogus", "-5m", True, {"a": 1}, [1], 1.5):
            self.assertRaises(ChannelRefused, self.start, stream, where)

    def test_intervals(self) -> None:
        """As RabbitMQ writes them."""
        texts = {"90s": 90, "11m": 660, "2h": 7200, "1D": 86_400, "1M": 2_592_000, "1Y": 31_536_000}
        self.assertEqual({text: interval(text) for text in texts}, texts)
        for text in ("", "0s", "s", "5", "5 m", "5d", "\u0665m", 5, None):
            self.assertIsNone(interval(text))

    def test_a_reader_gets_what_was_there_and_what_comes(self) -> None:
        """From its own place, as far as it has room."""
        stream = self.make()
        early, late, ahead = Reader(), Reader(room=1), Reader()
        stream.attach(early, 0)
        for _ in range(3):
            stream.put(make_message())
        stream.attach(late, 1)
        stream.attach(ahead, 5)
        for _ in range(4):
            stream.put(make_message())
        self.assertEqual((early.offsets, late.offsets, ahead.offsets), ([0, 1, 2, 3, 4, 5, 6], [1], [5, 6]))
        late.room = 2
        stream.pump()
        self.assertEqual(late.offsets, [1, 2, 3])
        stream.detach(late)
        late.room = 9
        stream.pump()
        self.assertEqual(late.offsets, [1, 2, 3])

    def test_old_segments_go(self) -> None:
        """When a new one is begun, and never the youngest, however old it is."""
        stream = self.make(x_max_age="60s", x_stream_max_segment_size_bytes=2 * RECORD)
        for _ in range(4):  # segments 0 1, 2 3
            stream.put(make_message())
        self.clock.advance(61)
        self.assertEqual((stream.first, stream.next), (0, 4))
        stream.put(make_message())
        self.assertEqual((stream.first, stream.next), (4, 5))
        self.clock.advance(61)
        stream.put(make_message())
        self.assertEqual((stream.first, stream.count), (4, 2))

    def test_a_segment_is_as_old_as_its_youngest_record(self) -> None:
        """So a record is kept at least as long as was asked for, and one beside it longer."""
        stream = self.make(x_max_age="60s", x_stream_max_segment_size_bytes=2 * RECORD)
        for _ in range(3):  # at 0 and 40 s; at 80 s a new segment
            stream.put(make_message())
            self.clock.advance(40)
        self.assertEqual(stream.first, 0)
        for _ in range(2):  # at 120 s another one
            stream.put(make_message())
        self.assertEqual(stream.first, 2)

    def test_too_many_bytes_go(self) -> None:
        """By whole segments."""
        stream = self.make(x_max_length_bytes=4 * RECORD, x_stream_max_segment_size_bytes=2 * RECORD)
        for _ in range(9):
            stream.put(make_message())
        self.assertEqual((stream.first, stream.next), (4, 9))

    def test_memory_is_bounded_whatever_the_arguments(self) -> None:
        """One stream has a quarter of what the broker may hold, however long it was to keep it."""
        stream = self.make(held=1000 * RECORD, x_max_age="1Y")
        for _ in range(2000):
            stream.put(make_message())
            self.assertLessEqual(self.ledger.held, 1000 * RECORD // 4 + 1000 * RECORD // 32)
        self.assertGreater(stream.count, 200)

    def test_a_record_larger_than_a_segment_is_kept(self) -> None:
        """Alone in its segment."""
        stream = self.make(x_stream_max_segment_size_bytes=10)
        for _ in range(3):
            stream.put(make_message("x" * 1000))
        self.assertEqual(stream.count, 3)

    def test_a_slow_reader_loses_what_is_forgotten(self) -> None:
        """And goes on with the oldest record there is."""
        stream = self.make(x_max_length_bytes=4 * RECORD, x_stream_max_segment_size_bytes=2 * RECORD)
        slow = Reader(room=1)
        stream.attach(slow, 0)
        for _ in range(9):
            stream.put(make_message())
        slow.room = 9
        stream.pump()
        self.assertEqual(slow.offsets, [0, 4, 5, 6, 7, 8])

    def test_deleting_tells_readers_and_holds_nothing(self) -> None:
        """The ledger is empty then."""
        stream, reader = self.make(), Reader(room=0)
        stream.attach(reader, 0)
        for _ in range(5):
            stream.put(make_message())
        stream.close()
        self.assertEqual((self.ledger.held, reader.told, stream.consumers), (0, True, ()))

    @given(
        st.lists(st.one_of(st.just("put"), st.just("read"), st.integers(0, 90)), max_size=60),
        st.integers(1, 5),
        st.integers(1, 9),
    )
    def test_each_record_once_and_in_order(self, steps: list[str | int], segment: int, length: int) -> None:
        """Whatever comes, goes and is read when; and the ledger holds exactly what is there."""
        stream = self.make(
            x_max_age="60s",
            x_stream_max_segment_size_bytes=segment * RECORD,
            x_max_length_bytes=length * RECORD,
        )
        readers = [Reader(room=0), Reader()]
        for reader in readers:
            stream.attach(reader, 0)
        put = 0
        for step in steps:
            if step == "put":
                stream.put(make_message())
                put += 1
            elif step == "read":
                readers[0].room = 1
                stream.pump()
            else:
                self.clock.advance(int(step))
            self.assertEqual(self.ledger.held, stream.count * RECORD)
            self.assertEqual(stream.next, put)
        for reader in readers:
            self.assertEqual(reader.offsets, sorted(set(reader.offsets)))
        self.assertEqual(readers[1].offsets, list(range(put)))


class WholeTests(SynchronousTestCase):
    """A stream in a whole broker, with a client in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = make_broker(self.clock)
        self.client = Client(self.broker).log_in()
        arguments = {"x-queue-type": "stream"}
        self.client.ask(spec.Queue.Declare(queue="log", durable=True, arguments=arguments))
        self.client.ask(spec.Basic.Qos(prefetch_count=2))

    def follow(self, offset: Any) -> None:
        self.client.send(spec.Basic.Consume(queue="log", consumer_tag="c", arguments={"x-stream-offset": offset}))

    def offsets(self) -> list[int]:
        frames = [frame for frame in self.client.received() if isinstance(frame, Header)]
        headers: list[Any] = [frame.properties.headers for frame in frames]
        return [int(header["x-stream-offset"]) for header in headers]

    def test_offsets_stand_in_headers(self) -> None:
        """Beside those of the publisher, and in place of one of that name."""
        for properties in (None, spec.BasicProperties(headers={"v": 1}), spec.BasicProperties(content_type="a/b")):
            self.client.send(publish(b"x", "log", properties=properties))
        self.client.send(publish(b"x", "log", properties=spec.BasicProperties(headers={"x-stream-offset": 77})))
        self.follow("first")
        self.assertEqual(self.offsets(), [0, 1])
        self.client.send(spec.Basic.Ack(2, multiple=True))
        self.assertEqual(self.offsets(), [2, 3])

    def test_a_channel_that_ends_takes_its_reader_along(self) -> None:
        """Nothing goes back, and the log goes on."""
        self.follow("next")
        for _ in range(3):
            self.client.send(publish(b"x", "log"))
        self.client.send(spec.Channel.Close(200, "bye", 0, 0), spec.Channel.Open(), spec.Basic.Qos(prefetch_count=9))
        self.client.received()
        self.client.send(publish(b"x", "log"))
        self.assertEqual(self.offsets(), [])
        self.follow("first")
        self.assertEqual(self.offsets(), [0, 1, 2, 3])

    def test_a_date_is_no_offset(self) -> None:
        """RabbitMQ takes one; livepush asks for none, because clocks differ."""
        import datetime

        self.follow(datetime.datetime.now(datetime.UTC))
        (answer,) = self.client.methods()
        self.assertEqual((answer.NAME, answer.reply_code), ("Channel.Close", 406))

    def test_a_full_log_lets_others_publish(self) -> None:
        """The log makes room for itself before the broker is full."""
        broker = make_broker(held_bytes=40_000)
        client = Client(broker).log_in()
        client.ask(spec.Queue.Declare(queue="log", durable=True, arguments={"x-queue-type": "stream"}))
        client.ask(spec.Confirm.Select())
        answers = [client.ask(publish(b"x" * 100, "log")) for _ in range(500)]
        self.assertEqual({answer.NAME for answer in answers}, {"Basic.Ack"})
        self.assertEqual(broker.refused, 0)

    def test_a_stranger_consumes_nothing(self) -> None:
        """A consumer that was refused is none."""
        for offset in ("5", "bogus"):
            client = Client(self.broker).log_in()
            client.ask(spec.Basic.Qos(prefetch_count=2))
            client.send(spec.Basic.Consume(queue="log", consumer_tag="c", arguments={"x-stream-offset": offset}))
            self.assertEqual([method.NAME for method in client.methods()], ["Channel.Close"])
        self.assertEqual(self.broker.vhost.queues["log"].consumers, ())
