"""What livepush relies on in a broker, one suite for both: RabbitMQ and the embedded one.

Each test is written against pika's `BlockingConnection` and knows nothing of the broker behind it. Streams have a suite
of their own, `test_stream_contract`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from functools import partial
from typing import Any

import pika
from pika import exceptions, spec
from pika.adapters.blocking_connection import BlockingChannel
from pika.frame import Body, Header, Method
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.broker.contract import Act, Embedded, RabbitMQ, Steps, inside
from tests.servers.proxy import Proxy

PATTERNS = ("", "#", "*", "a", "a.b", "a.*", "a.#", "#.b", "*.b", "#.b.#", "a.#.b", "*.*", "a..b", "*.#", "#.*", "#.#")
KEYS = ("", "a", "b", "a.b", "a.c.b", "b.a", "a.b.c", "x.y.z", "a..b", ".", "a.", ".b", "a.b.b")


class BrokerContract(Steps):
    """The suite. A subclass says where the broker is."""

    # --- logging in

    def test_a_wrong_password_is_refused(self) -> None:
        """Nobody gets in with it, and the client learns why."""
        with self.assertRaises(exceptions.ProbableAuthenticationError):
            self.connect(self.url.replace("guest:guest@", "guest:wrong@"))

    def test_an_unknown_user_is_refused(self) -> None:
        """As is a wrong password."""
        with self.assertRaises(exceptions.ProbableAuthenticationError):
            self.connect(self.url.replace("guest:guest@", "nobody:guest@"))

    def test_an_unknown_virtual_host_is_refused(self) -> None:
        """A mistyped address does not work by accident."""
        with self.assertRaises(exceptions.ProbableAccessDeniedError):
            self.connect(self.url.rpartition("/")[0] + "/unknown")

    # --- exchanges

    def test_an_exchange_is_declared_again_only_as_it_is(self) -> None:
        """A second equal declaration is fine; another type or durability is 406."""
        self.channel.exchange_declare("e", "topic", durable=True)
        self.channel.exchange_declare("e", "topic", durable=True)
        self.channel.exchange_declare("e", passive=True)
        self.refused(406, lambda it: it.exchange_declare("e", "direct", durable=True))
        self.refused(406, lambda it: it.exchange_declare("e", "topic", durable=False))

    def test_a_missing_exchange_is_told(self) -> None:
        """404 for looking, binding and publishing."""
        queue = self.queue()
        self.refused(404, lambda it: it.exchange_declare("missing", passive=True))
        self.refused(404, lambda it: it.queue_bind(queue, "missing", "x"))
        self.refused(404, lambda it: it.basic_publish("missing", "x", b""))

    def test_names_and_exchanges_of_the_broker_are_its_own(self) -> None:
        """amq.* is 403, and so is all work on the default exchange."""
        queue = self.queue()
        self.refused(403, lambda it: it.exchange_declare("amq.mine", "topic"))
        self.refused(403, lambda it: it.queue_declare("amq.mine"))
        self.refused(403, lambda it: it.exchange_delete("amq.topic"))
        self.refused(403, lambda it: it.queue_bind(queue, "", "x"))
        self.refused(403, lambda it: it.queue_unbind(queue, "", queue))
        self.refused(403, lambda it: it.exchange_declare("", "direct"))

    def test_an_unknown_exchange_type_ends_the_connection(self) -> None:
        """503."""
        self.ended(503, lambda it: it.exchange_declare("e", "unheard-of"))

    def test_an_exchange_can_be_deleted(self) -> None:
        """It is gone, twice is fine, and `if_unused` holds."""
        self.channel.exchange_declare("e", "fanout")
        queue = self.queue()
        self.channel.queue_bind(queue, "e", "")
        self.refused(406, lambda it: it.exchange_delete("e", if_unused=True))
        self.channel.exchange_delete("e")
        self.channel.exchange_delete("e")
        self.refused(404, lambda it: it.exchange_declare("e", passive=True))

    def test_an_auto_delete_exchange_goes_with_its_last_binding(self) -> None:
        """It lives until then."""
        self.channel.exchange_declare("e", "topic", auto_delete=True)
        queue = self.queue()
        for key in ("x", "y"):
            self.channel.queue_bind(queue, "e", key)
        self.channel.queue_unbind(queue, "e", "x")
        self.channel.exchange_declare("e", passive=True)
        self.channel.queue_unbind(queue, "e", "y")
        self.refused(404, lambda it: it.exchange_declare("e", passive=True))

    # --- routing

    def test_topic_patterns_match_as_the_specification_says(self) -> None:
        """Every pattern against every key, odd ones too."""
        self.channel.exchange_declare("e", "topic")
        queues = {}
        for pattern in PATTERNS:
            queues[pattern] = self.queue(exclusive=True)
            self.channel.queue_bind(queues[pattern], "e", pattern)
        for key in KEYS:
            self.channel.basic_publish("e", key, key.encode())
        got = {pattern: self.drain(queue) for pattern, queue in queues.items()}
        right = {pattern: [key for key in KEYS if topic_matches(pattern, key)] for pattern in PATTERNS}
        self.assertEqual(got, right)

    def test_direct_fanout_and_default_exchanges(self) -> None:
        """By the whole key, to all, to the queue of that name."""
        one, two = self.queue(), self.queue()
        for name, kind in (("d", "direct"), ("f", "fanout")):
            self.channel.exchange_declare(name, kind)
        self.channel.queue_bind(one, "d", "x.*")
        self.channel.queue_bind(two, "d", "x.y")
        for queue in (one, two):
            self.channel.queue_bind(queue, "f", "whatever")
        self.channel.basic_publish("d", "x.y", b"direct")
        self.channel.basic_publish("f", "", b"fanout")
        self.channel.basic_publish("", one, b"default")
        self.assertEqual(self.drain(one), ["fanout", "default"])
        self.assertEqual(self.drain(two), ["direct", "fanout"])

    def test_a_queue_bound_twice_gets_a_message_once(self) -> None:
        """However many bindings match."""
        self.channel.exchange_declare("e", "topic")
        queue = self.queue()
        for key in ("#", "a.#", "a.b", "a.b"):
            self.channel.queue_bind(queue, "e", key)
        self.channel.basic_publish("e", "a.b", b"x")
        self.assertEqual(self.drain(queue), ["x"])

    def test_unbinding_ends_the_flow(self) -> None:
        """And a binding that is not there can be taken away as well."""
        self.channel.exchange_declare("e", "topic")
        queue = self.queue()
        self.channel.queue_bind(queue, "e", "a")
        self.channel.basic_publish("e", "a", b"1")
        self.channel.queue_unbind(queue, "e", "a")
        self.channel.queue_unbind(queue, "e", "never there")
        self.channel.basic_publish("e", "a", b"2")
        self.assertEqual(self.drain(queue), ["1"])

    # --- queues

    def test_a_queue_without_a_name_gets_one(self) -> None:
        """Each another."""
        one, two = self.queue(exclusive=True), self.queue(exclusive=True)
        self.assertTrue(one.startswith("amq.gen-"))
        self.assertNotEqual(one, two)

    def test_a_queue_is_declared_again_only_as_it_is(self) -> None:
        """Arguments and flags must be equal; counts are told."""
        arguments = {"x-max-length": 5}
        self.queue("q", auto_delete=True, arguments=arguments)
        self.publish("q", "x")
        again = self.channel.queue_declare("q", auto_delete=True, arguments=arguments).method
        self.assertEqual((again.queue, again.message_count, again.consumer_count), ("q", 1, 0))
        self.refused(406, lambda it: it.queue_declare("q", auto_delete=True, arguments={"x-max-length": 6}))
        self.refused(406, lambda it: it.queue_declare("q", auto_delete=True))
        self.refused(406, lambda it: it.queue_declare("q", arguments=arguments))

    def test_a_missing_queue_is_told(self) -> None:
        """404 for everything but deleting."""
        self.channel.exchange_declare("e", "topic")
        acts: list[Act] = [
            lambda it: it.queue_declare("missing", passive=True),
            lambda it: it.queue_bind("missing", "e", "x"),
            lambda it: it.queue_purge("missing"),
            lambda it: it.basic_consume("missing", lambda *_: None),
            lambda it: it.basic_get("missing"),
        ]
        for act in acts:
            self.refused(404, act)
        self.channel.queue_delete("missing")

    def test_arguments_that_make_no_sense_are_refused(self) -> None:
        """406, and no queue is made."""
        for arguments in ({"x-max-length": -1}, {"x-max-length": "many"}, {"x-overflow": "explode"}):
            self.refused(406, partial(declare_with, arguments))
        self.refused(404, lambda it: it.queue_declare("q", passive=True))

    def test_an_exclusive_queue_is_its_connections_own(self) -> None:
        """405 for others, and it goes with its connection."""
        other = self.connect()
        other.channel().queue_declare("mine", exclusive=True)
        self.channel.exchange_declare("e", "topic")
        acts: list[Act] = [
            lambda it: it.queue_declare("mine", passive=True),
            lambda it: it.queue_declare("mine", exclusive=True),
            lambda it: it.queue_bind("mine", "e", "x"),
            lambda it: it.basic_consume("mine", lambda *_: None),
            lambda it: it.basic_get("mine"),
            lambda it: it.queue_purge("mine"),
            lambda it: it.queue_delete("mine"),
        ]
        for act in acts:
            self.refused(405, act)
        other.close()
        self.refused(404, lambda it: it.queue_declare("mine", passive=True))
        self.queue("mine", exclusive=True)

    def test_an_auto_delete_queue_goes_with_its_last_consumer(self) -> None:
        """Not before it had one."""
        self.queue("q", auto_delete=True)
        channel = self.connection.channel()
        tags = [channel.basic_consume("q", lambda *_: None) for _ in range(2)]
        channel.basic_cancel(tags[0])
        self.assertEqual(self.ready("q"), 0)
        channel.basic_cancel(tags[1])
        self.refused(404, lambda it: it.queue_declare("q", passive=True))

    def test_an_auto_delete_queue_goes_with_its_consumers_channel(self) -> None:
        """Closing is cancelling."""
        self.queue("q", auto_delete=True)
        channel = self.connection.channel()
        channel.basic_consume("q", lambda *_: None)
        channel.close()
        self.refused(404, lambda it: it.queue_declare("q", passive=True))

    def test_purging_and_deleting_tell_how_many_messages_went(self) -> None:
        """And `if_unused`, `if_empty` hold."""
        queue = self.queue()
        self.publish(queue, "1", "2")
        self.assertEqual(self.channel.queue_purge(queue).method.message_count, 2)
        self.publish(queue, "3")
        self.refused(406, lambda it: it.queue_delete(queue, if_empty=True))
        consumer = self.connection.channel()
        tag = consumer.basic_consume(queue, lambda *_: None)
        self.refused(406, lambda it: it.queue_delete(queue, if_unused=True))
        consumer.basic_cancel(tag)
        consumer.close()
        self.assertEqual(self.channel.queue_delete(queue).method.message_count, 1)

    # --- bounds of queues

    def test_a_full_queue_drops_its_oldest_messages(self) -> None:
        """Exactly the newest are there."""
        queue = self.queue(arguments={"x-max-length": 3, "x-overflow": "drop-head"})
        self.publish(queue, *map(str, range(10)))
        self.assertEqual(self.drain(queue), ["7", "8", "9"])

    def test_a_queue_full_of_bytes_drops_its_oldest_messages(self) -> None:
        """Bodies count."""
        queue = self.queue(arguments={"x-max-length-bytes": 10})
        self.publish(queue, "aaaa", "bbbb", "cccc")
        self.assertEqual(self.drain(queue), ["bbbb", "cccc"])

    def test_what_is_being_worked_on_does_not_count_against_the_bound(self) -> None:
        """Only ready messages are counted and dropped."""
        queue = self.queue(arguments={"x-max-length": 2})
        self.publish(queue, "1", "2")
        worker = self.connection.channel()
        for _ in range(2):
            worker.basic_get(queue)
        self.publish(queue, "3", "4", "5")
        self.assertEqual(self.drain(queue), ["4", "5"])

    def test_a_queue_may_refuse_when_it_is_full(self) -> None:
        """The publisher gets a nack, and what was there stays."""
        queue = self.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        publisher = self.connection.channel()
        publisher.confirm_delivery()
        self.publish(queue, "1", channel=publisher)
        with self.assertRaises(exceptions.NackError):
            self.publish(queue, "2", channel=publisher)
        self.assertEqual(self.drain(queue), ["1"])

    # --- publishing

    def test_properties_and_body_arrive_as_they_were(self) -> None:
        """Every property, header types, a body of several frames, an empty one."""
        headers: dict[str, Any] = {
            "v": 1,
            "ts": 2**53,
            "low": -5,
            "t": True,
            "s": "täxt",
            "b": b"\xff",
            "d": {"x": [1, "y"]},
        }
        full = pika.BasicProperties(
            content_type="application/json",
            content_encoding="utf-8",
            headers=headers,
            delivery_mode=2,
            priority=3,
            correlation_id="c",
            reply_to="r",
            message_id="12345678901234567890",
            timestamp=1_700_000_000,
            type="event",
            user_id="guest",
            app_id="publisher",
            cluster_id="k",
        )
        queue = self.queue()
        for properties in (full, pika.BasicProperties()):
            for body in (b"", b"x", bytes(range(256)) * 1500):
                self.channel.basic_publish("", queue, body, properties)
                method, got, came = self.channel.basic_get(queue, auto_ack=True)
                assert method is not None
                assert got is not None
                self.assertEqual((method.exchange, method.routing_key), ("", queue))
                self.assertEqual(vars(got), vars(properties))
                self.assertEqual(came, body)

    def test_a_message_that_nobody_gets_is_returned_before_its_confirm(self) -> None:
        """With `mandatory`; without, it is confirmed and gone."""
        publisher = self.connection.channel()
        publisher.confirm_delivery()
        with self.assertRaises(exceptions.UnroutableError) as caught:
            publisher.basic_publish("amq.topic", "to.nobody", b"body", pika.BasicProperties(type="t"), mandatory=True)
        (returned,) = caught.exception.messages
        self.assertEqual((returned.method.reply_code, returned.method.routing_key), (312, "to.nobody"))
        self.assertEqual((returned.properties.type, returned.body), ("t", b"body"))
        publisher.basic_publish("amq.topic", "to.nobody", b"body")
        publisher.basic_publish("", self.queue(), b"body", mandatory=True)

    def test_confirms_can_be_pipelined(self) -> None:
        """Many are published before the first answer; all are acknowledged, none twice."""
        queue = self.queue()
        channel = self.connection.channel()
        raw = inside(channel)
        settled: set[int] = set()

        def note(frame: Any) -> None:
            self.assertIsInstance(frame.method, spec.Basic.Ack)
            settled.update(acknowledged(frame.method, settled))

        done: list[object] = []
        raw.confirm_delivery(note, callback=done.append)
        self.wait(channel, lambda: bool(done))
        for number in range(500):
            raw.basic_publish("", queue, str(number).encode())
        self.wait(channel, lambda: len(settled) >= 500)
        self.assertEqual(settled, set(range(1, 501)))

    def test_publishing_as_somebody_else_is_refused(self) -> None:
        """406 when `user_id` is not who is logged in."""
        properties = pika.BasicProperties(user_id="somebody")
        self.refused(406, lambda it: it.basic_publish("amq.topic", "x", b"", properties))

    def test_one_publishers_messages_stay_in_order(self) -> None:
        """In every queue that they reach."""
        self.channel.exchange_declare("e", "topic")
        queues = [self.queue() for _ in range(3)]
        for queue in queues:
            self.channel.queue_bind(queue, "e", "#")
        numbers = [str(number) for number in range(300)]
        for number in numbers:
            self.channel.basic_publish("e", "k", number.encode())
        for queue in queues:
            self.assertEqual(self.drain(queue), numbers)

    def test_what_no_broker_offers_is_refused(self) -> None:
        """540 for the corners of AMQP that RabbitMQ leaves out."""
        acts: list[Act] = [
            lambda it: inside(it)._send_method(
                spec.Basic.Publish(exchange="", routing_key="q", immediate=True), (spec.BasicProperties(), b"")
            ),
            lambda it: it.basic_qos(prefetch_size=1),
            lambda it: it.flow(active=False),
            lambda it: it.basic_recover(requeue=False),
        ]
        for act in acts:
            self.ended(540, act)

    # --- consuming

    def test_no_more_than_the_prefetch_is_handed_out(self) -> None:
        """And one more for each acknowledgement."""
        queue = self.queue()
        self.publish(queue, *map(str, range(10)))
        channel = self.connection.channel()
        channel.basic_qos(prefetch_count=3)
        came = self.deliveries(channel, queue, 3)
        self.assertEqual(self.ready(queue), 7)
        channel.basic_ack(came[0][0])
        self.wait(channel, lambda: len(came) >= 4)
        self.assertEqual(self.ready(queue), 6)
        channel.basic_ack(came[3][0], multiple=True)
        self.wait(channel, lambda: len(came) >= 7)
        self.assertEqual([body for _, body, _ in came], [str(number) for number in range(7)])
        self.assertEqual(self.ready(queue), 3)

    def test_without_acknowledgements_everything_is_handed_out(self) -> None:
        """Whatever the prefetch."""
        queue = self.queue()
        self.publish(queue, *map(str, range(10)))
        channel = self.connection.channel()
        channel.basic_qos(prefetch_count=1)
        came: list[bytes] = []
        channel.basic_consume(queue, lambda _c, _m, _p, body: came.append(body), auto_ack=True)
        self.wait(channel, lambda: len(came) == 10)

    def test_an_acknowledgement_of_nothing_is_refused(self) -> None:
        """406: an unknown tag, one of another channel, one a second time, none at all."""
        queue = self.queue()
        self.publish(queue, "1", "2", "3")

        def twice(channel: BlockingChannel) -> None:
            channel.basic_get(queue)
            channel.basic_ack(1)
            channel.basic_ack(1)

        def passed(channel: BlockingChannel) -> None:
            for _ in range(2):
                channel.basic_get(queue)
            channel.basic_ack(2)
            channel.basic_ack(2, multiple=True)

        acts: list[Act] = [
            lambda it: it.basic_ack(1),
            lambda it: it.basic_nack(7, multiple=True),
            lambda it: it.basic_reject(7),
            twice,
            passed,
        ]
        for act in acts:
            self.refused(406, act)

    def test_all_can_be_acknowledged_at_once(self) -> None:
        """Tag 0 with `multiple`, also when there is nothing."""
        queue = self.queue()
        self.channel.basic_ack(0, multiple=True)
        self.publish(queue, "1", "2")
        for _ in range(2):
            self.channel.basic_get(queue)
        self.channel.basic_ack(0, multiple=True)
        self.channel.basic_recover(requeue=True)
        self.assertEqual(self.ready(queue), 0)

    def test_what_is_given_back_comes_again_in_its_old_place(self) -> None:
        """Marked as redelivered, in order, before what came later."""
        queue = self.queue()
        self.publish(queue, "1", "2", "3", "4")
        tags = self.take(queue, 3)
        self.channel.basic_nack(tags[1])
        self.channel.basic_nack(tags[0])
        self.channel.basic_reject(tags[2])
        order = []
        while (got := self.channel.basic_get(queue, auto_ack=True))[0] is not None:
            order.append((got[2], got[0].redelivered))
        self.assertEqual(order, [(b"1", True), (b"2", True), (b"3", True), (b"4", False)])

    def test_what_is_rejected_is_gone(self) -> None:
        """Without `requeue`."""
        queue = self.queue()
        self.publish(queue, "1", "2", "3")
        tags = self.take(queue, 3)
        self.channel.basic_reject(tags[0], requeue=False)
        self.channel.basic_nack(tags[2], multiple=True, requeue=False)
        self.channel.basic_recover(requeue=True)
        self.assertEqual(self.ready(queue), 0)

    def test_what_a_channel_left_undone_is_done_by_another(self) -> None:
        """A process that ends loses nothing."""
        queue = self.queue()
        self.publish(queue, "1", "2")
        channel = self.connection.channel()
        self.deliveries(channel, queue, 2)
        self.assertEqual(self.ready(queue), 0)
        channel.close()
        other = self.connection.channel()
        again = self.deliveries(other, queue, 2)
        self.assertEqual([(body, redelivered) for _, body, redelivered in again], [("1", True), ("2", True)])

    def test_what_a_lost_connection_left_undone_is_done_by_another(self) -> None:
        """The same, when nobody said goodbye."""
        queue = self.queue()
        self.publish(queue, "1")
        parameters = pika.URLParameters(self.url)
        proxy = Proxy(parameters.port)
        self.addCleanup(proxy.close)
        lost = self.connect(self.url.replace(f":{parameters.port}/", f":{proxy.port}/"))
        self.deliveries(lost.channel(), queue, 1)
        proxy.close()
        came = self.deliveries(self.connection.channel(), queue, 1)
        self.assertEqual([(body, redelivered) for _, body, redelivered in came], [("1", True)])

    def test_getting_tells_what_is_left(self) -> None:
        """One by one, then nothing."""
        queue = self.queue()
        self.publish(queue, "1", "2")
        left = [method.message_count for method, _, _ in (self.channel.basic_get(queue) for _ in range(2)) if method]
        self.assertEqual(left, [1, 0])
        self.assertEqual(self.channel.basic_get(queue), (None, None, None))

    def test_consumers_take_turns(self) -> None:
        """Each gets its share."""
        queue = self.queue()
        shares: list[list[bytes]] = [[], []]
        channel = self.connection.channel()
        for share in shares:
            channel.basic_consume(queue, partial(take_into, share), auto_ack=True)
        self.publish(queue, *map(str, range(10)))
        self.wait(channel, lambda: sum(map(len, shares)) == 10)
        self.assertEqual([len(share) for share in shares], [5, 5])

    def test_a_consumer_may_be_the_only_one(self) -> None:
        """403 for others, and for one who wants to be alone and is not."""
        alone, shared = self.queue(), self.queue()
        channel = self.connection.channel()
        channel.basic_consume(alone, lambda *_: None, exclusive=True)
        channel.basic_consume(shared, lambda *_: None)
        self.refused(403, lambda it: it.basic_consume(alone, lambda *_: None))
        self.refused(403, lambda it: it.basic_consume(shared, lambda *_: None, exclusive=True))

    def test_a_cancelled_consumer_gets_nothing_more(self) -> None:
        """What comes later stays."""
        queue = self.queue()
        channel = self.connection.channel()
        came: list[bytes] = []
        tag = channel.basic_consume(queue, lambda _c, _m, _p, body: came.append(body), auto_ack=True)
        channel.basic_cancel(tag)
        self.publish(queue, "1")
        self.assertEqual(self.ready(queue), 1)
        self.assertEqual(came, [])

    def test_a_consumer_is_told_when_its_queue_goes(self) -> None:
        """Consumer cancel notification."""
        queue = self.queue()
        channel = self.connection.channel()
        told: list[Any] = []
        channel.add_on_cancel_callback(told.append)
        tag = channel.basic_consume(queue, lambda *_: None)
        self.channel.queue_delete(queue)
        self.wait(channel, lambda: bool(told))
        self.assertEqual(told[0].method.consumer_tag, tag)
        self.assertEqual(channel.consumer_tags, [])

    def test_a_consumer_tag_is_used_once(self) -> None:
        """530 ends the connection."""
        queue = self.queue()
        consume = spec.Basic.Consume(queue=queue, consumer_tag="same", nowait=True)

        def twice(channel: BlockingChannel) -> None:
            inside(channel)._send_method(consume)
            inside(channel)._send_method(consume)

        self.ended(530, twice)

    # --- the protocol itself

    def raw(self) -> socket.socket:
        """A bare TCP connection to the broker."""
        parameters = pika.URLParameters(self.url)
        connection = socket.create_connection((parameters.host, parameters.port), 30)
        self.addCleanup(connection.close)
        return connection

    def test_another_protocol_is_answered_with_the_right_one(self) -> None:
        """The broker names its version and closes."""
        connection = self.raw()
        connection.sendall(b"GET / HT")
        self.assertEqual(read_all(connection), b"AMQP\x00\x00\x09\x01")

    def test_frames_that_break_the_rules_end_the_connection(self) -> None:
        """Each with the code for it, and others go on."""
        publish = spec.Basic.Publish(exchange="amq.topic", routing_key="x")
        declare = spec.Queue.Declare(queue="q")
        header = Header(1, 5, spec.BasicProperties())
        cases: list[tuple[int, list[Any]]] = [
            (504, [Method(9, declare)]),
            (504, [Method(1, spec.Channel.Open())]),
            (505, [Body(1, b"x")]),
            (505, [header]),
            (505, [Method(1, publish), Method(1, declare)]),
            (505, [Method(1, publish), Body(1, b"x")]),
            (505, [Method(1, publish), header, header]),
            (501, [Method(1, publish).marshal()[:-1] + b"\x00"]),
            (501, [struct.pack(">BHI", 1, 1, 2**31) + b"x"]),
            (504, [Method(0, spec.Connection.Open())]),
        ]
        for code, frames in cases:
            connection = self.connect()
            connection.channel(1)
            data = b"".join(frame if isinstance(frame, bytes) else frame.marshal() for frame in frames)
            inside(connection)._output_marshaled_frames([data])
            with self.assertRaises(exceptions.AMQPConnectionError) as caught:
                for _ in range(300):
                    connection.process_data_events(0.1)
            self.assertEqual(getattr(caught.exception, "reply_code", 0), code, f"{frames}: {caught.exception!r}")
        self.connection.channel().close()


class EmbeddedBrokerTests(Embedded, BrokerContract, SynchronousTestCase):
    """The contract, kept by the embedded broker."""


class RabbitMQTests(RabbitMQ, BrokerContract, SynchronousTestCase):
    """The contract, kept by RabbitMQ."""


def declare_with(arguments: dict[str, Any], channel: BlockingChannel) -> None:
    """Declares a queue `q` with these arguments."""
    channel.queue_declare("q", arguments=arguments)


def take_into(bodies: list[bytes], _channel: object, _method: object, _properties: object, body: bytes) -> None:
    """A consumer's callback that keeps the bodies."""
    bodies.append(body)


def acknowledged(ack: Any, before: set[int]) -> set[int]:
    """The numbers that an ack of the broker's settles."""
    return set(range(1, ack.delivery_tag + 1)) - before if ack.multiple else {ack.delivery_tag}


def topic_matches(pattern: str, key: str) -> bool:
    """The specification's words (AMQP 3.1.3.3) as the plainest code there is."""

    def match(patterns: list[str], words: list[str]) -> bool:
        if not patterns:
            return not words
        if patterns[0] == "#":
            return match(patterns[1:], words) or (bool(words) and match(patterns, words[1:]))
        return bool(words) and patterns[0] in ("*", words[0]) and match(patterns[1:], words[1:])

    return match(pattern.split(".") if pattern else [], key.split(".") if key else [])


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes or, as RabbitMQ does to strangers, resets."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(4096):
            data += part
    return data
