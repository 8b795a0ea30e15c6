"""A connection: handshake, heartbeats, bounds, and what hostile bytes do (nothing to others)."""

from __future__ import annotations

import random
import struct
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pika import spec
from pika.frame import Body, Header, Method
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.embedded import EmbeddedBroker
from tests.unit.broker.embedded.client import HELLO, Client, login, make_broker, marshalled, publish, tune

CONSUME = spec.Basic.Consume(queue="q", consumer_tag="c", no_ack=True)

# A session with everything in it, for mutation.
SESSION: list[Any] = [
    login(),
    tune(),
    Method(0, spec.Connection.Open("/")),
    spec.Channel.Open(),
    spec.Exchange.Declare(exchange="e", type="topic", durable=True),
    spec.Queue.Declare(queue="q", arguments={"x-max-length": 5, "x-overflow": "drop-head"}),
    spec.Queue.Bind(queue="q", exchange="e", routing_key="event.#"),
    spec.Queue.Declare(queue="log", durable=True, arguments={"x-queue-type": "stream", "x-max-age": "60s"}),
    spec.Queue.Bind(queue="log", exchange="e", routing_key="event.#"),
    spec.Basic.Qos(prefetch_count=3),
    spec.Confirm.Select(),
    publish(b"body", "event.x", "e", spec.BasicProperties(type="event", headers={"v": 1, "d": {"x": [1, 2]}})),
    publish(b"", "nobody", "e", mandatory=True),
    spec.Basic.Consume(queue="q", consumer_tag="c"),
    spec.Basic.Consume(queue="log", consumer_tag="s", arguments={"x-stream-offset": "first"}),
    spec.Basic.Ack(0, multiple=True),
    spec.Basic.Get(queue="q"),
    spec.Basic.Nack(0, multiple=True, requeue=True),
    spec.Basic.Recover(requeue=True),
    spec.Queue.Unbind(queue="q", exchange="e", routing_key="event.#"),
    spec.Queue.Purge(queue="q"),
    spec.Queue.Delete(queue="q"),
    spec.Queue.Delete(queue="log"),
    spec.Exchange.Delete(exchange="e"),
    spec.Channel.Close(200, "bye", 0, 0),
    Method(0, spec.Connection.Close(200, "bye", 0, 0)),
]


class Witness:
    """A well-behaved client of a broker that somebody else attacks."""

    def __init__(self, case: SynchronousTestCase, broker: EmbeddedBroker) -> None:
        self.case, self.broker = case, broker
        self.client = Client(broker).log_in()
        self.client.send(spec.Queue.Declare(queue="witness", exclusive=True))
        self.client.send(spec.Basic.Consume(queue="witness", consumer_tag="w", no_ack=True))
        self.client.received()

    def check(self) -> None:
        """It is still served."""
        self.client.send(publish(b"hello", "witness"))
        self.case.assertEqual(self.client.bodies(), [b"hello"])
        self.case.assertFalse(self.client.gone)


class HandshakeTests(SynchronousTestCase):
    """Logging in."""

    def test_the_handshake(self) -> None:
        """Start, Tune and OpenOk, each at its turn."""
        Client(make_broker()).log_in()

    def test_byte_by_byte(self) -> None:
        """The smallest pieces make the same connection."""
        client = Client(make_broker())
        for byte in b"".join(map(marshalled, [HELLO, *SESSION])):
            client.send(bytes([byte]))
        names = [method.NAME for method in client.methods()]
        self.assertEqual(names[-2:], ["Channel.CloseOk", "Connection.CloseOk"])
        self.assertTrue(client.gone)

    def test_a_stranger_is_told_the_protocol(self) -> None:
        """As soon as it is clear, and only once."""
        client = Client(make_broker())
        client.send(b"GET / HTTP/1.1\r\n")
        client.send(b"Host: x\r\n")
        self.assertEqual(client.transport.value(), HELLO)
        self.assertTrue(client.gone)

    def test_a_wrong_password_is_refused(self) -> None:
        """403, for every way of being wrong."""
        wrong = [login(password="wrong"), login(user="you"), login(password=""), login(user="", password="")]
        wrong += [
            Method(0, spec.Connection.StartOk({}, "PLAIN", text, "en_US")) for text in ("", "me\0secret", "\0" * 5)
        ]
        wrong += [Method(0, spec.Connection.StartOk({}, "AMQPLAIN", "\0me\0secret", "en_US"))]
        for attempt in wrong:
            client = Client(make_broker())
            client.send(HELLO, attempt)
            (_start, close) = client.methods()
            self.assertEqual(close.reply_code, 403)

    def test_nothing_can_be_done_before_logging_in(self) -> None:
        """Not even open a channel, or skip a step."""
        attempts: list[list[Any]] = [
            [spec.Channel.Open()],
            [tune()],
            [Method(0, spec.Connection.Open("/"))],
            [publish(b"x")],
        ]
        attempts += [[login(), Method(0, spec.Connection.Open("/"))], [login(), login()]]
        for frames in attempts:
            client = Client(make_broker())
            client.send(HELLO, *frames)
            close = client.methods()[-1]
            self.assertIsInstance(close, spec.Connection.Close)

    def test_who_does_not_log_in_is_cut_off(self) -> None:
        """At the deadline, also when he keeps talking."""
        clock = Clock()
        client = Client(make_broker(clock, handshake_seconds=10.0))
        client.send(HELLO)
        clock.advance(9.9)
        client.send(login())
        self.assertFalse(client.gone)
        clock.advance(0.2)
        self.assertTrue(client.cut)

    def test_who_has_logged_in_is_not_cut_off(self) -> None:
        """The deadline is only for the handshake."""
        clock = Clock()
        client = Client(make_broker(clock)).log_in()
        clock.advance(1000)
        self.assertFalse(client.gone)

    def test_a_stranger_may_not_send_large_frames(self) -> None:
        """Before the login 8 KiB are the bound."""
        client = Client(make_broker())
        client.send(HELLO, struct.pack(">BHI", 1, 0, 100_000))
        self.assertEqual(client.methods()[-1].reply_code, 501)

    def test_the_smaller_frame_size_holds(self) -> None:
        """What the client can't take is cut for it."""
        client = Client(make_broker()).log_in(frame_max=4096)
        client.send(spec.Queue.Declare(queue="q"), CONSUME)
        client.received()
        body = bytes(10_000)
        client.send(
            Method(1, spec.Basic.Publish(exchange="", routing_key="q")), Header(1, 10_000, spec.BasicProperties())
        )
        client.send(*[Body(1, body[:4000]), Body(1, body[:4000]), Body(1, body[:2000])])
        sizes = [len(part) for part in client.bodies()]
        self.assertEqual(sizes, [4088, 4088, 1824])

    def test_a_frame_size_below_the_least_is_refused(self) -> None:
        """530."""
        client = Client(make_broker())
        client.send(HELLO, login(), tune(frame_max=100))
        self.assertEqual(client.methods()[-1].reply_code, 530)


class HeartbeatTests(SynchronousTestCase):
    """Dead connections are found."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = Client(make_broker(self.clock)).log_in(heartbeat=10)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def test_a_silent_client_is_cut_off_after_two_heartbeats(self) -> None:
        """Not before."""
        self.pass_time(19.9)
        self.assertFalse(self.client.gone)
        self.pass_time(5.5)
        self.assertTrue(self.client.cut)

    def test_a_client_that_beats_stays(self) -> None:
        """A heartbeat is enough."""
        for _ in range(20):
            self.pass_time(9)
            self.client.send(b"\x08\x00\x00\x00\x00\x00\x00\xce")
        self.assertFalse(self.client.gone)

    def test_an_idle_broker_beats(self) -> None:
        """At least once in each heartbeat."""
        for _ in range(3):
            self.client.transport.clear()
            self.pass_time(10)
            self.assertIn(b"\x08\x00\x00\x00\x00\x00\x00\xce", self.client.transport.value())
            self.client.send(b"\x08\x00\x00\x00\x00\x00\x00\xce")

    def test_no_timer_is_left_when_it_ends(self) -> None:
        """Nothing fires for a connection that is gone."""
        self.client.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndTests(SynchronousTestCase):
    """How connections end."""

    def test_a_refused_client_that_does_not_answer_is_cut_off(self) -> None:
        """It has `closing_seconds`."""
        clock = Clock()
        client = Client(make_broker(clock, closing_seconds=2.0)).log_in()
        client.send(spec.Tx.Select())
        self.assertEqual(client.methods()[-1].reply_code, 540)
        client.send(publish(b"still talking"), spec.Queue.Declare(queue="q"))
        self.assertEqual((client.gone, client.methods()), (False, []))
        clock.advance(2.1)
        self.assertTrue(client.cut)

    def test_a_refused_client_that_answers_is_let_go(self) -> None:
        """CloseOk ends it."""
        client = Client(make_broker()).log_in()
        client.send(spec.Tx.Select())
        client.send(Method(0, spec.Connection.CloseOk()))
        self.assertEqual((client.gone, client.cut), (True, False))

    def test_everything_of_a_lost_connection_goes(self) -> None:
        """Queues, consumers, half a message, and what it had not acknowledged goes back."""
        broker = make_broker()
        witness = Client(broker).log_in()
        witness.send(spec.Queue.Declare(queue="q"), publish(b"x"))
        lost = Client(broker).log_in()
        lost.send(spec.Queue.Declare(queue="own", exclusive=True), spec.Basic.Get(queue="q"))
        lost.send(Method(1, spec.Basic.Publish(exchange="", routing_key="q")), Header(1, 100, spec.BasicProperties()))
        lost.send(Body(1, b"half"))
        lost.lose()
        witness.received()
        self.assertEqual(witness.ask(spec.Queue.Declare(queue="q", passive=True)).message_count, 1)
        witness.send(spec.Queue.Purge(queue="q"))
        self.assertEqual((broker.ledger.held, broker.connections, list(broker.vhost.queues)), (0, 1, ["q"]))

    def test_the_broker_ends_politely(self) -> None:
        """320 for who is in, and it is over when all are gone."""
        broker = make_broker()
        inside, outside = Client(broker).log_in(), Client(broker)
        done = broker.close()
        self.assertEqual(inside.methods()[-1].reply_code, 320)
        self.assertTrue(outside.cut)
        self.assertNoResult(done)
        for client in (inside, outside):
            client.lose()
        self.successResultOf(done)
        self.assertIsNone(broker.buildProtocol(None))


class RefusalTests(SynchronousTestCase):
    """What RabbitMQ has and this broker has not is refused, never taken silently."""

    def refused(self, code: int, *frames: Any) -> None:
        broker = make_broker()
        witness = Witness(self, broker)
        client = Client(broker).log_in()
        client.send(spec.Queue.Declare(queue="q"))
        client.received()
        client.send(*frames)
        close = client.methods()[-1]
        self.assertEqual((getattr(close, "reply_code", None), close.NAME.endswith("Close")), (code, True), repr(close))
        witness.check()

    def test_methods(self) -> None:
        """540 ends the connection."""
        for method in (
            spec.Tx.Select(),
            spec.Exchange.Bind(destination="amq.topic", source="amq.direct"),
            spec.Basic.Qos(prefetch_count=1, global_qos=True),
            spec.Exchange.Declare(exchange="e", type="headers"),
            spec.Exchange.Declare(exchange="e", type="topic", arguments={"alternate-exchange": "x"}),
            spec.Exchange.Declare(exchange="e", type="topic", internal=True),
        ):
            self.refused(540, method)

    def test_queue_arguments(self) -> None:
        """406 ends the channel: streams, quorum, dead letters, priorities, time to live."""
        for arguments in (
            {"x-queue-type": "stream"},
            {"x-queue-type": "quorum"},
            {"x-dead-letter-exchange": "e"},
            {"x-max-priority": 5},
            {"x-message-ttl": 5},
            {"x-expires": 5},
            {"x-max-length": True},
        ):
            self.refused(406, spec.Queue.Declare(queue="new", arguments=arguments))

    def test_message_properties(self) -> None:
        """540: expiry and sender-selected distribution."""
        self.refused(540, publish(b"x", properties=spec.BasicProperties(expiration="1000")))
        self.refused(540, publish(b"x", properties=spec.BasicProperties(headers={"CC": ["q"]})))

    def test_consumer_arguments(self) -> None:
        """406."""
        self.refused(406, spec.Basic.Consume(queue="q", arguments={"x-priority": 1}))

    def test_a_message_that_no_consumer_could_decode(self) -> None:
        """It ends its publisher, not the ones who would have got it."""
        header = struct.pack(">HHQH", 60, 0, 1, spec.BasicProperties.FLAG_HEADERS) + b"\x00\x00\x00\x05\x01xZ"
        frame = struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce"
        self.refused(502, Method(1, spec.Basic.Publish(exchange="", routing_key="q")), frame)

    def test_a_header_that_is_none(self) -> None:
        """501: another class, a weight, more flags than there are."""
        for values in ((61, 0, 1, 0), (60, 1, 1, 0), (60, 0, 1, 1)):
            header = struct.pack(">HHQH", *values)
            frame = struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce"
            self.refused(501, Method(1, spec.Basic.Publish(exchange="", routing_key="q")), frame)

    def test_a_table_nested_without_end(self) -> None:
        """502, not a dead reactor."""
        deep = b""
        for _ in range(9000):
            deep = b"\x01xF" + struct.pack(">I", len(deep)) + deep
        payload = struct.pack(">HHH", 50, 10, 0) + b"\x01d\x00" + struct.pack(">I", len(deep)) + deep
        self.refused(502, struct.pack(">BHI", 1, 1, len(payload)) + payload + b"\xce")


class BoundTests(SynchronousTestCase):
    """What one client can make the broker hold."""

    def code(self, client: Client, *frames: Any) -> int | None:
        client.received()
        client.send(*frames)
        codes = [method.reply_code for method in client.methods() if method.NAME.endswith(".Close")]
        return codes[0] if codes else None

    def test_counts(self) -> None:
        """Channels, consumers, queues, exchanges, bindings, unacknowledged messages: one more is refused."""
        broker = make_broker(channels=2, consumers=1, queues=2, exchanges=6, bindings=1, unacked=1)
        setup = [spec.Queue.Declare(queue="q"), spec.Queue.Bind(queue="q", exchange="amq.topic", routing_key="a")]
        cases: list[tuple[int, list[Any]]] = [
            (530, [Method(3, spec.Channel.Open())]),
            (530, [CONSUME, spec.Basic.Consume(queue="q", consumer_tag="d")]),
            (406, [spec.Queue.Declare(queue="r"), spec.Queue.Declare(queue="s")]),
            (406, [spec.Exchange.Declare(exchange=name, type="topic") for name in ("e", "f", "g")]),
            (406, [spec.Queue.Bind(queue="q", exchange="amq.topic", routing_key="b")]),
            (506, [publish(b"1"), publish(b"2"), spec.Basic.Get(queue="q"), spec.Basic.Get(queue="q")]),
        ]
        for code, frames in cases:
            client = Client(broker).log_in()
            self.assertIsNone(self.code(client, *setup))
            self.assertEqual(self.code(client, *frames), code, frames)
            client.lose()

    def test_messages_over_the_bound(self) -> None:
        """406 at the header, whatever it claims; the channel ends, the connection goes on."""
        broker = make_broker(message_bytes=100)
        for size in (101, 2**40, 2**64 - 1):
            client = Client(broker).log_in()
            header = Header(1, 0, spec.BasicProperties()).marshal()
            header = header[:11] + struct.pack(">Q", size) + header[19:]
            method = Method(1, spec.Basic.Publish(exchange="", routing_key="q"))
            self.assertEqual(self.code(client, method, header, Body(1, b"x")), 406)
            client.send(spec.Channel.CloseOk(), spec.Channel.Open())
            self.assertEqual([method.NAME for method in client.methods()], ["Channel.OpenOk"])

    def test_bytes_held_for_all(self) -> None:
        """Beyond the bound a publication is nacked, and half a message ends its connection."""
        broker = make_broker(held_bytes=2000)
        client = Client(broker).log_in()
        client.send(spec.Queue.Declare(queue="q"), spec.Confirm.Select())
        client.received()
        client.send(publish(bytes(1900)), publish(b"2"))
        self.assertEqual([method.NAME for method in client.methods()], ["Basic.Ack", "Basic.Nack"])
        self.assertEqual(broker.refused, 1)
        method = Method(1, spec.Basic.Publish(exchange="", routing_key="q"))
        self.assertEqual(self.code(client, method, Header(1, 9, spec.BasicProperties()), Body(1, b"x")), 506)

    def test_a_consumer_that_does_not_acknowledge_gets_no_more(self) -> None:
        """Than the channel may hold; then the next come."""
        client = Client(make_broker(unacked=2)).log_in()
        client.send(spec.Queue.Declare(queue="q"), spec.Basic.Consume(queue="q", consumer_tag="c"))
        client.received()
        client.send(*[publish(str(number).encode()) for number in range(5)])
        self.assertEqual(client.bodies(), [b"0", b"1"])
        client.send(spec.Basic.Ack(2, multiple=True))
        self.assertEqual(client.bodies(), [b"2", b"3"])

    def test_connections(self) -> None:
        """One over the bound is closed at once, and there is room again when another goes."""
        broker = make_broker(connections=2)
        clients = [Client(broker) for _ in range(2)]
        self.assertIsNone(broker.buildProtocol(None))
        clients[0].lose()
        self.assertIsNotNone(broker.buildProtocol(None))


class BackpressureTests(SynchronousTestCase):
    """A client that does not read."""

    def setUp(self) -> None:
        self.broker = make_broker(output_bytes=10_000)
        self.client = Client(self.broker).log_in()
        self.client.send(spec.Queue.Declare(queue="q"))
        self.client.received()

    def producer(self) -> Any:
        return self.client.protocol

    def test_gets_no_more_deliveries_until_it_has_read(self) -> None:
        """What comes meanwhile stays in the queue."""
        self.client.send(CONSUME)
        self.client.received()
        self.producer().pauseProducing()
        self.client.send(publish(b"1"), publish(b"2"))
        self.assertEqual(self.client.bodies(), [])
        self.assertEqual(self.broker.vhost.queues["q"].count, 2)
        self.producer().resumeProducing()
        self.assertEqual(self.client.bodies(), [b"1", b"2"])

    def test_is_not_read_when_its_answers_pile_up(self) -> None:
        """A hundred thousand requests in one piece can't make the broker hold their answers; all come in the end."""
        self.client.send(*[publish(bytes(900), "q") for _ in range(100)])
        self.producer().pauseProducing()
        self.client.send(b"".join(map(marshalled, [spec.Basic.Get(queue="q", no_ack=True)] * 100)))
        self.assertEqual(self.client.transport.producerState, "paused")
        self.assertLess(len(self.client.transport.value()), 12_000)
        first = len(self.client.bodies())
        self.producer().resumeProducing()
        self.assertEqual(self.client.transport.producerState, "producing")
        self.assertEqual(first + len(self.client.bodies()), 100)

    def test_writes_are_joined(self) -> None:
        """Many deliveries of one piece of input are one write."""
        writes: list[bytes] = []
        self.client.send(CONSUME)
        self.client.transport.write = writes.append  # type: ignore[method-assign]
        self.client.send(*[publish(b"x") for _ in range(50)])
        self.assertEqual(len(writes), 1)

    def test_confirms_are_joined(self) -> None:
        """One frame acknowledges what one piece of input published."""
        self.client.send(spec.Confirm.Select())
        self.client.received()
        self.client.send(*[publish(b"x") for _ in range(50)])
        (ack,) = self.client.methods()
        self.assertEqual((ack.delivery_tag, ack.multiple), (50, True))


class HostileTests(SynchronousTestCase):
    """Nothing that a client sends ends anybody else's connection, logs a traceback or leaves something behind."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = make_broker(self.clock, held_bytes=10**6, message_bytes=10**5)
        self.witness = Witness(self, self.broker)

    def attack(self, *pieces: bytes) -> Client:
        """A connection that sends this; afterwards nothing of it is left, and the witness is well."""
        client = Client(self.broker)
        for piece in pieces:
            client.send(piece)
        self.witness.check()
        self.clock.advance(60)
        client.lose()
        self.witness.check()
        self.assertEqual(self.broker.connections, 1)
        for name in list(self.broker.vhost.queues):
            if name != "witness":
                self.broker.vhost.delete_queue(self.broker.vhost.queues[name])
        self.assertEqual(self.broker.ledger.held, 0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 0)
        return client

    def test_every_truncation_of_a_session(self) -> None:
        """The connection is lost at any byte."""
        data = b"".join(map(marshalled, [HELLO, *SESSION]))
        for length in range(0, len(data), 3):
            self.attack(data[:length])

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def test_mutated_frames(self, chance: random.Random) -> None:
        """Bytes of a valid session are changed, removed, doubled, in any pieces."""
        frames = [bytearray(marshalled(thing)) for thing in SESSION]
        for _ in range(chance.randint(1, 4)):
            frame = chance.choice(frames[chance.choice([0, 3]) :])
            index = chance.randrange(len(frame))
            what = chance.randrange(4)
            if what == 0:
                frame[index] = chance.randrange(256)
            elif what == 1:
                frame[index] ^= 1 << chance.randrange(8)
            elif what == 2:
                del frame[index]
            else:
                frame[7:-1] = frame[7:-1] + frame[7:-1]
                frame[3:7] = struct.pack(">I", len(frame) - 8)
        if chance.random() < 0.3:
            chance.shuffle(frames)
        data = HELLO + b"".join(map(bytes, frames))
        cut = chance.randrange(len(data))
        self.attack(data[:cut], data[cut:])

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.tuples(st.sampled_from([1, 1, 1, 2, 3, 8, 9]), st.integers(0, 2), st.binary(max_size=80)), max_size=12
        )
    )
    def test_frames_of_noise(self, frames: list[tuple[int, int, bytes]]) -> None:
        """Well-formed frames around anything, from somebody who is logged in."""
        data = [struct.pack(">BHI", kind, channel, len(body)) + body + b"\xce" for kind, channel, body in frames]
        self.attack(HELLO, *map(marshalled, SESSION[:4]), *data)

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(spec.methods)), st.binary(max_size=60), st.integers(0, 1))
    def test_methods_with_arguments_of_noise(self, index: int, arguments: bytes, channel: int) -> None:
        """Every method that there is, with anything behind its number."""
        payload = struct.pack(">I", index) + arguments
        frame = struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"
        self.attack(HELLO, *map(marshalled, SESSION[:6]), frame)

    def test_absurd_sizes(self) -> None:
        """Lengths that promise more than will ever come."""
        for size in (2**17, 2**31 - 1, 2**32 - 1):
            for kind in (1, 2, 3, 8):
                self.attack(HELLO, *map(marshalled, SESSION[:4]), struct.pack(">BHI", kind, 1, size) + b"x" * 100)

    def test_a_body_in_crumbs(self) -> None:
        """A message of single bytes, and empty frames between them, is one message."""
        client = Client(self.broker).log_in()
        client.send(spec.Queue.Declare(queue="q", auto_delete=True), CONSUME)
        client.received()
        client.send(Method(1, spec.Basic.Publish(exchange="", routing_key="q")), Header(1, 200, spec.BasicProperties()))
        for number in range(200):
            client.send(Body(1, b""), Body(1, bytes([number])))
        self.assertEqual(client.bodies(), [bytes(range(200))])
