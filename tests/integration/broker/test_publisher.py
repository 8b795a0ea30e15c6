"""The publisher against a private RabbitMQ, with its threads, forks and ends of processes."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pika.exceptions
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Kind, Message, decode
from livepush.broker.errors import Expired, PublisherClosed, PublishError, Refused, Unroutable
from livepush.broker.names import event_key, live_key
from livepush.broker.publisher import Draft, Publisher, PublisherSettings, Ticket
from livepush.broker.url import BrokerURL
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import shared_rabbitmq

WAIT = 60.0


def make_draft(text: object = "", channel: str = "orders", type: str = "lock", live: bool = False) -> Draft:  # noqa: A002
    body = json.dumps({"channel": channel, "type": type, "data": {"text": text}}).encode()
    key = (live_key if live else event_key)(channel, type)
    return Draft(Kind.LIVE if live else Kind.EVENT, key, body, channel)


def decoded(properties: pika.BasicProperties, body: bytes) -> Message:
    """As the daemon reads it."""
    return decode(properties.type, properties.app_id, properties.message_id, properties.headers, body)


class PublisherCase(SynchronousTestCase):
    """A virtual host of its own with the exchange and a durable queue `log` bound to all events."""

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.vhost = self.node.fresh_vhost()
        self.addCleanup(self.vhost.delete)
        self.url = BrokerURL.parse(self.vhost.url())
        with self.admin() as connection:
            channel = connection.channel()
            channel.exchange_declare("livepush", "topic", durable=True)
            channel.queue_declare("log", durable=True)
            for pattern in ("event.#", "live.#", "control.#"):
                channel.queue_bind("log", "livepush", pattern)

    def admin(self) -> pika.BlockingConnection:
        return pika.BlockingConnection(self.url.parameters(heartbeat=60))

    def make_publisher(self, **settings: Any) -> Publisher:
        settings = {"url": self.url, "log": "log", **settings}
        publisher = Publisher(PublisherSettings(**settings))
        self.addCleanup(publisher.close, 0.0)
        return publisher

    def read(self, queue: str = "log") -> list[Message]:
        """All messages that the queue holds, as the daemon would read them."""
        messages: list[Message] = []
        with self.admin() as connection:
            channel = connection.channel()
            count = channel.queue_declare(queue, passive=True).method.message_count
            while len(messages) < count:
                _, properties, body = channel.basic_get(queue, auto_ack=True)
                assert properties is not None
                assert body is not None
                self.assertEqual((properties.content_type, properties.delivery_mode), ("application/json", 1))
                messages.append(decoded(properties, body))
        return messages

    def numbers(self, messages: list[Message]) -> dict[str, list[int]]:
        """Per publisher the numbers in the order of their first copies; `low` is checked on the way."""
        found: dict[str, list[int]] = defaultdict(list)
        for message in messages:
            stamp = message.stamp
            if stamp is not None and stamp.number not in found[stamp.publisher]:
                self.assertTrue(set(range(1, stamp.low)) <= set(found[stamp.publisher]), stamp)
                found[stamp.publisher].append(stamp.number)
        return dict(found)

    def assert_gap_free(self, messages: list[Message], counts: dict[str, int]) -> None:
        wanted = {publisher: list(range(1, count + 1)) for publisher, count in counts.items()}
        self.assertEqual(self.numbers(messages), wanted)

    def capture_log(self) -> list[str]:
        """What goes to the logger `livepush`."""
        lines: list[str] = []

        class Capture(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                lines.append(record.getMessage())

        handler, logger = Capture(), logging.getLogger("livepush")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        return lines

    def wait_until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not within {WAIT:g} s: {what}")
            time.sleep(0.01)


class DeliveryTests(PublisherCase):
    def test_an_event_arrives_as_it_was_drafted(self) -> None:
        """Its ticket has the id at once and the same as its result."""
        publisher = self.make_publisher()
        ticket = publisher.publish(make_draft("locked"))
        self.assertEqual(ticket.id, f"{publisher.id}-1")
        self.assertEqual(ticket.result(WAIT), ticket.id)
        self.assertIsNone(publisher.publish(make_draft("typing", live=True)).result(WAIT))
        event, live = self.read()
        assert event.stamp is not None
        self.assertEqual((event.kind, event.stamp.id, live.kind, live.stamp), (Kind.EVENT, ticket.id, Kind.LIVE, None))
        self.assertTrue(abs(event.ts / 1000 - time.time()) < WAIT)
        self.assertEqual(publisher.counters.confirmed, 2)

    def test_threads_share_one_sequence(self) -> None:
        """Three threads publish at once: no number is missing or given twice, each thread's events keep their order."""
        publisher = self.make_publisher()

        def work(name: str) -> None:
            for index in range(300):
                publisher.publish(make_draft([name, index]))

        threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(publisher.flush(WAIT), 0)
        messages = self.read()
        self.assert_gap_free(messages, {publisher.id: 900})
        for name in "abc":
            texts = [message.content.data["text"] for message in messages]  # type: ignore[union-attr]
            self.assertEqual([index for one, index in texts if one == name], list(range(300)))

    def test_what_nobody_is_bound_for_is_told(self) -> None:
        """Without a queue: Unroutable, and the next event goes its way."""
        with self.admin() as connection:
            connection.channel().queue_unbind("log", "livepush", "event.#")
        publisher = self.make_publisher()
        self.assertIsInstance(publisher.publish(make_draft()).exception(WAIT), Unroutable)
        with self.admin() as connection:
            connection.channel().queue_bind("log", "livepush", "event.#")
        self.assertEqual(publisher.publish(make_draft()).result(WAIT), f"{publisher.id}-2")
        self.assertEqual(publisher.counters.failed, {"Unroutable": 1})

    def test_an_exchange_that_comes_later(self) -> None:
        """The publisher keeps its messages and says which command makes the exchange."""
        lines = self.capture_log()
        publisher = self.make_publisher(exchange="late")
        tickets = [publisher.publish(make_draft(index)) for index in range(50)]
        self.wait_until(lambda: any("404" in line for line in lines), "a word about the exchange")
        with self.admin() as connection:
            channel = connection.channel()
            channel.exchange_declare("late", "topic", durable=True)
            channel.queue_declare("late", durable=True)
            channel.queue_bind("late", "late", "#")
        # Between the two declarations a copy may have been returned; nothing else may have become of it.
        self.assertEqual(publisher.flush(WAIT), 0)
        outcomes = {type(ticket.exception()) for ticket in tickets}
        self.assertTrue(outcomes <= {type(None), Unroutable})
        told = [line for line in lines if "404" in line]
        self.assertEqual(len(told), 1)
        self.assertIn("manage.py livepush topology", told[0])
        self.assertNotIn("guest:", told[0])


class LogTests(PublisherCase):
    def test_nothing_is_sent_before_there_is_a_log(self) -> None:
        """A queue would confirm what nothing keeps: events wait, live expires, and the log says which command helps."""
        lines = self.capture_log()
        publisher = self.make_publisher(log="livepush.log")
        tickets = [publisher.publish(make_draft(index)) for index in range(20)]
        live = publisher.publish(make_draft(live=True))
        self.assertIsInstance(live.exception(WAIT), Expired)
        self.assertEqual((publisher.flush(0), self.read()), (20, []))
        with self.admin() as connection:
            channel = connection.channel()
            channel.queue_declare("livepush.log", durable=True)
            channel.queue_bind("livepush.log", "livepush", "event.#")
        self.assertEqual([ticket.result(WAIT) for ticket in tickets], [f"{publisher.id}-{n}" for n in range(1, 21)])
        self.assert_gap_free(self.read("livepush.log"), {publisher.id: 20})
        told = [line for line in lines if "404" in line]
        self.assertEqual(len(told), 1)
        self.assertIn("can't publish to log 'livepush.log'", told[0])
        self.assertIn("manage.py livepush topology", told[0])

    def test_a_user_without_rights_may_ask(self) -> None:
        """A passive declaration needs none."""
        user = f"django-{self.vhost.name}"
        self.node.ctl("add_user", user, "s3cret")
        self.addCleanup(self.node.ctl, "delete_user", user)
        self.node.ctl("set_permissions", "-p", self.vhost.name, user, "^$", "^livepush$", "^$")
        publisher = self.make_publisher(url=BrokerURL.parse(self.vhost.url(user=user, password="s3cret")))
        self.assertEqual(publisher.publish(make_draft()).result(WAIT), f"{publisher.id}-1")


class ControlTests(PublisherCase):
    def test_among_the_events(self) -> None:
        """It has a number, keeps its place, and one stands for those that follow before it is sent."""
        publisher = self.make_publisher(log="later")
        control = Draft.of_control(Control("identity", "5"))
        tickets = [publisher.publish(draft) for draft in (make_draft(1), control, make_draft(2), control)]
        self.assertIs(tickets[1], tickets[3])
        with self.admin() as connection:
            connection.channel().queue_declare("later", durable=True)
        self.assertEqual(publisher.flush(WAIT), 0)
        self.assertEqual(publisher.publish(control).result(WAIT), f"{publisher.id}-4")
        messages = self.read()
        self.assert_gap_free(messages, {publisher.id: 4})
        kinds = [Kind.EVENT, Kind.CONTROL, Kind.EVENT, Kind.CONTROL]
        self.assertEqual([message.kind for message in messages], kinds)
        self.assertEqual(messages[1].content, Control("identity", "5"))

    def test_revocations_without_a_broker(self) -> None:
        """A full backlog takes them, in bounded room."""
        publisher = self.make_publisher(url=BrokerURL.parse("amqp://guest:guest@127.0.0.1:1/"), messages=1)
        publisher.publish(make_draft())
        tickets = {publisher.publish(Draft.of_control(Control("identity", str(n)))) for n in range(20_000)}
        self.assertFalse(any(ticket.done() for ticket in tickets))
        self.assertEqual(publisher.flush(0), 10_002)


class ThreadTests(PublisherCase):
    def test_one_that_died_is_replaced(self) -> None:
        """What it had not got confirmed is sent by the next."""
        publisher = self.make_publisher()
        first = publisher.publish(make_draft(0))
        first.result(WAIT)
        (thread,) = (one for one in threading.enumerate() if one.name == "livepush-publisher")
        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        tickets = [publisher.publish(make_draft(1))]  # wakes it, to its end
        thread.join(WAIT)
        self.assertFalse(thread.is_alive())
        self.wait_until(lambda: publisher.flush(0.5) == 0, "the confirms")
        tickets.append(publisher.publish(make_draft(2)))
        self.assertEqual(publisher.flush(WAIT), 0)
        self.assert_gap_free(self.read(), {publisher.id: 1 + len(tickets)})
        self.assertEqual(publisher.counters.reconnects, 1)

    def test_one_that_can_not_be_started(self) -> None:
        """Nobody who publishes is told; the log is, once; a later message, or whoever waits, tries again."""
        lines = self.capture_log()
        publisher = self.make_publisher()

        def fail(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with self.patched(threading.Thread, "start", fail):
            tickets = [publisher.publish(make_draft(index)) for index in range(3)]
        self.assertFalse(any(ticket.done() for ticket in tickets))
        self.wait_until(lambda: publisher.flush(0.5) == 0, "the confirms")
        self.assert_gap_free(self.read(), {publisher.id: 3})
        self.assertEqual(len([line for line in lines if "no thread" in line]), 1)

    @contextmanager
    def patched(self, owner: object, name: str, value: object) -> Iterator[None]:
        before = getattr(owner, name)
        setattr(owner, name, value)
        try:
            yield
        finally:
            setattr(owner, name, before)


class RefusalTests(PublisherCase):
    def test_one_forbidden_key_among_others(self) -> None:
        """Its author is told, its number goes out as a void, all others arrive in order."""
        user = f"django-{self.vhost.name}"
        self.node.ctl("add_user", user, "s3cret")
        self.addCleanup(self.node.ctl, "delete_user", user)
        self.node.ctl("set_permissions", "-p", self.vhost.name, user, "^$", "^livepush$", "^$")
        pattern = r"^(event\.orders|event\.livepush|live)\."
        self.node.ctl("set_topic_permissions", "-p", self.vhost.name, user, "livepush", pattern, "^$")
        lines = self.capture_log()
        publisher = self.make_publisher(url=BrokerURL.parse(self.vhost.url(user=user, password="s3cret")))
        tickets = [publisher.publish(make_draft(i, "secret" if i in (30, 31, 90) else "orders")) for i in range(100)]
        self.assertEqual(publisher.flush(WAIT), 0)
        for index, ticket in enumerate(tickets):
            if index in (30, 31, 90):
                self.assertIsInstance(ticket.exception(0), Refused)
                self.assertIn("403", str(ticket.exception(0)))
            else:
                self.assertEqual(ticket.result(0), f"{publisher.id}-{index + 1}")
        messages = self.read()
        self.assert_gap_free(messages, {publisher.id: 100})
        voids = {message.stamp.number for message in messages if message.kind is Kind.VOID and message.stamp}
        self.assertEqual(voids, {31, 32, 91})
        self.assertNotIn("s3cret", "".join(lines))

    def test_a_message_that_is_too_large_for_the_broker(self) -> None:
        """It is refused for good; its neighbours are not."""
        self.node.ctl("eval", "application:set_env(rabbit, max_message_size, 10000).")
        self.addCleanup(self.node.ctl, "eval", "application:set_env(rabbit, max_message_size, 134217728).")
        publisher = self.make_publisher()
        tickets = [publisher.publish(make_draft("x" * (20_000 if index == 1 else 9))) for index in range(3)]
        self.assertEqual(publisher.flush(WAIT), 0)
        self.assertEqual([type(ticket.exception(0)) for ticket in tickets], [type(None), Refused, type(None)])
        self.assert_gap_free(self.read(), {publisher.id: 3})

    def test_nacks_are_sent_again(self) -> None:
        """A full queue that rejects: everything arrives, in order, as soon as there is room."""
        with self.admin() as connection:
            channel = connection.channel()
            full = {"x-max-length": 20, "x-overflow": "reject-publish"}
            channel.queue_declare("narrow", durable=True, arguments=full)
            channel.queue_bind("narrow", "livepush", "event.#")
        lines = self.capture_log()
        publisher = self.make_publisher()
        for index in range(200):
            publisher.publish(make_draft(index))
        self.wait_until(lambda: any("could not keep" in line for line in lines), "a nack")
        with self.admin() as connection:
            channel = connection.channel()
            self.wait_until(lambda: channel.queue_purge("narrow") is not None and publisher.flush(0) == 0, "the end")
        self.assert_gap_free(self.read(), {publisher.id: 200})
        self.assertEqual(publisher.counters.confirmed, 200)


class LossTests(PublisherCase):
    def test_a_broker_killed_in_the_middle(self) -> None:
        """5,000 events, SIGKILL and a new start on the way: all confirmed, each number once after dedupe, in order."""
        with self.admin() as connection:  # as in production: what a stream has confirmed outlives its broker
            channel = connection.channel()
            channel.queue_declare("stream", durable=True, arguments={"x-queue-type": "stream"})
            channel.queue_bind("stream", "livepush", "event.#")
        # RabbitMQ 3.10 never finds a stream again that was declared within a second before a kill; after one restart in
        # order it does. And for about a second after each start it confirms what the stream does not get, so the
        # publisher is let in when the stream is there.
        self.node.restart()
        self.wait_until(self.stream_is_up, "the stream")
        proxy = Proxy(self.node.port)
        self.addCleanup(proxy.close)
        lines = self.capture_log()
        publisher = self.make_publisher(url=BrokerURL.parse(self.vhost.url(port=proxy.port)))
        draft = make_draft()
        tickets = [publisher.publish(draft) for _ in range(2_000)]
        self.wait_until(lambda: publisher.counters.confirmed > 200, "some confirms")
        proxy.set("cut")
        self.node.kill()
        self.assertLess(publisher.counters.confirmed, 2_000)
        tickets += [publisher.publish(draft) for _ in range(3_000)]
        self.node.start()
        self.wait_until(self.stream_is_up, "the stream")
        proxy.set("pass")
        self.assertEqual(publisher.flush(WAIT), 0)
        self.assertEqual([ticket.result(0) for ticket in tickets], [f"{publisher.id}-{i + 1}" for i in range(5_000)])
        self.assert_gap_free(self.read_stream(publisher), {publisher.id: 5_000})
        self.assertEqual(publisher.counters.reconnects, 1)
        self.assertEqual(len([line for line in lines if "no broker" in line]), 1)
        self.assertNotIn("guest:guest", "".join(lines))

    def stream_is_up(self) -> bool:
        try:
            with self.admin() as connection:
                channel = connection.channel()
                channel.basic_qos(prefetch_count=1)
                channel.basic_consume("stream", lambda *_: None, arguments={"x-stream-offset": "next"})
        except pika.exceptions.AMQPError:  # 404 on the channel, or 541 on the connection
            return False
        return True

    def read_stream(self, publisher: Publisher) -> list[Message]:
        """All of the stream, up to an own last event."""
        last = publisher.publish(make_draft("last"))
        last.result(WAIT)
        messages: list[Message] = []
        with self.admin() as connection:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1_000)
            for method, properties, body in channel.consume(
                "stream", arguments={"x-stream-offset": "first"}, inactivity_timeout=WAIT
            ):
                self.assertIsNotNone(method, "the stream ends too early")
                assert method is not None
                assert method.delivery_tag is not None
                assert properties is not None
                assert body is not None
                channel.basic_ack(method.delivery_tag)
                message = decoded(properties, body)
                if message.stamp is not None and message.stamp.id == last.id:
                    return messages
                messages.append(message)
        return messages

    def test_a_broker_without_memory(self) -> None:
        """Under an alarm nothing is written and live expires; afterwards all goes on."""
        publisher = self.make_publisher()
        publisher.publish(make_draft()).result(WAIT)
        self.node.ctl("set_vm_memory_high_watermark", "0.00001")
        self.addCleanup(self.node.ctl, "set_vm_memory_high_watermark", "0.4")
        first = publisher.publish(make_draft())  # a connection is told only when it publishes
        self.wait_until(lambda: publisher.state == "blocked", "the alarm")
        live = publisher.publish(make_draft(live=True))
        more = [publisher.publish(make_draft(index)) for index in range(100)]
        self.assertIsInstance(live.exception(WAIT), Expired)
        self.assertEqual(publisher.flush(0), 101)
        self.node.ctl("set_vm_memory_high_watermark", "0.4")
        for ticket in (first, *more):
            self.assertEqual(ticket.result(WAIT), ticket.id)
        self.assertEqual(publisher.counters.reconnects, 0)


class CallerTests(PublisherCase):
    def test_publishing_in_the_callback_of_a_publication(self) -> None:
        """It runs in the publisher's own thread, and neither waits for the other."""
        publisher = self.make_publisher()
        chain: list[Ticket] = []
        end = threading.Event()

        def again(_: object) -> None:
            if len(chain) < 20:
                self.assertLessEqual(publisher.flush(WAIT), 1)
                chain.append(publisher.publish(make_draft(len(chain))))
                chain[-1].add_done_callback(again)
            else:
                end.set()

        publisher.publish(make_draft()).add_done_callback(again)
        self.assertTrue(end.wait(WAIT))
        self.assertEqual([ticket.result(WAIT) for ticket in chain], [f"{publisher.id}-{n}" for n in range(2, 22)])

    def test_a_callback_that_raises_stops_nobody(self) -> None:
        """Not even SystemExit."""
        publisher = self.make_publisher()

        def leave(_: object) -> None:
            raise SystemExit(3)

        lines = self.capture_log()
        tickets = [publisher.publish(make_draft(index)) for index in range(20)]
        for ticket in tickets:
            if not ticket.done():
                ticket.add_done_callback(leave)
        for ticket in tickets:
            self.assertEqual(ticket.result(WAIT), ticket.id)
        self.assertEqual(publisher.publish(make_draft()).result(WAIT), f"{publisher.id}-21")
        self.assertEqual({line for line in lines if "callback" not in line}, set())

    def test_closed(self) -> None:
        """What was accepted is confirmed first; what comes later fails with PublisherClosed; the thread is gone."""
        publisher = self.make_publisher()
        ticket = publisher.publish(make_draft())
        self.assertEqual(publisher.close(WAIT), 0)
        self.assertTrue(ticket.done())
        late = publisher.publish(make_draft())
        self.assertIsInstance(late.exception(0), PublisherClosed)
        self.assertIsNone(late.id)
        self.assertEqual([thread.name for thread in threading.enumerate() if "livepush" in thread.name], [])
        self.assertEqual(publisher.close(WAIT), 0)

    def test_closed_without_a_broker(self) -> None:
        """In time, with what is left counted and failed."""
        url = BrokerURL.parse("amqp://guest:guest@127.0.0.1:1/")
        publisher = self.make_publisher(url=url)
        ticket = publisher.publish(make_draft())
        began = time.monotonic()
        self.assertEqual(publisher.close(0.2), 1)
        self.assertLess(time.monotonic() - began, 3.0)
        self.assertIsInstance(ticket.exception(0), PublisherClosed)

    def test_closed_amid_a_handshake(self) -> None:
        """Of a broker that takes the connection and says nothing: in time, and no line of a traceback."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = BrokerURL.parse(f"amqp://guest:guest@127.0.0.1:{server.getsockname()[1]}/")
            publisher = self.make_publisher(url=url)
            ticket = publisher.publish(make_draft())
            server.settimeout(WAIT)
            accepted, _ = server.accept()
            with accepted, self.assertNoLogs("livepush", logging.WARNING):
                accepted.settimeout(WAIT)
                self.assertEqual(accepted.recv(8)[:4], b"AMQP")
                self.assertEqual(publisher.close(0.1), 1)
        self.assertIsInstance(ticket.exception(0), PublisherClosed)

    def test_a_ticket_can_not_be_cancelled(self) -> None:
        """What has a number is published."""
        publisher = self.make_publisher()
        ticket = publisher.publish(make_draft())
        self.assertFalse(ticket.cancel())
        self.assertEqual(ticket.result(WAIT), ticket.id)


class ForkTests(PublisherCase):
    def test_children_forked_under_traffic(self) -> None:
        """Three threads publish while three children are forked, which publish too: four publishers, each gap-free."""
        publisher = self.make_publisher(messages=100_000)
        counts: dict[str, int] = {}
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                publisher.publish(make_draft())
                time.sleep(0.0005)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                reading, writing = os.pipe()
                child = os.fork()
                if child == 0:  # in the child nothing of the test may run on
                    status = 1
                    try:
                        for index in range(200):
                            publisher.publish(make_draft(index))
                        os.write(writing, publisher.id.encode())
                        status = publisher.flush(WAIT)
                    finally:
                        os._exit(status)
                os.close(writing)
                with os.fdopen(reading) as pipe:
                    counts[pipe.read()] = 200
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(publisher.flush(WAIT), 0)
        counts[publisher.id] = publisher.counters.published
        self.assertEqual(len(counts), 4)
        self.assertEqual(publisher.counters.reconnects, 0)
        self.assert_gap_free(self.read(), counts)


PROGRAM = """
import sys
from livepush.broker.publisher import Draft, Kind, Publisher, PublisherSettings
from livepush.broker.url import BrokerURL
assert "twisted" not in sys.modules
publisher = Publisher(PublisherSettings(BrokerURL.parse(sys.argv[1]), log="log"))
def work():
    for index in range(500):
        body = b'{"channel":"orders","type":"lock","data":{}}'
        publisher.publish(Draft(Kind.EVENT, "event.orders.lock", body, "orders"))
"""


class ExitTests(PublisherCase):
    def run_program(self, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM + text, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)

    def check_exit(self, text: str, status: int) -> None:
        done = self.run_program(text, self.vhost.url())
        self.assertEqual(done.returncode, status, done.stderr)
        messages = self.read()
        self.assertEqual(list(self.numbers(messages).values()), [list(range(1, 501))])

    def test_at_the_last_line(self) -> None:
        """A program that just ends has published everything."""
        self.check_exit("work()", 0)

    def test_at_sys_exit(self) -> None:
        """One that leaves by sys.exit, too."""
        self.check_exit("work(); sys.exit(3)", 3)

    def test_after_an_exception(self) -> None:
        """One that fails, too."""
        self.check_exit("work(); raise ValueError('a fault of the program')", 1)

    def test_in_a_child_of_multiprocessing(self) -> None:
        """Where atexit is not called."""
        text = "import multiprocessing as m; c = m.get_context('fork').Process(target=work); c.start(); c.join()"
        self.check_exit(text, 0)

    def test_from_another_exit_handler(self) -> None:
        """What the application registered with atexit may publish."""
        self.check_exit("import atexit; atexit.register(work)", 0)

    def test_without_a_broker_the_end_comes_in_time(self) -> None:
        """And the loss is told, without the password."""
        text = "work()"
        began = time.monotonic()
        done = self.run_program(text, "amqp://guest:s3cret@127.0.0.1:1/")
        self.assertLess(time.monotonic() - began, 20.0)
        self.assertEqual(done.returncode, 0)
        self.assertIn("has not confirmed 500 messages", done.stderr)
        self.assertIn(": ConnectionRefusedError: [Errno 111] Connection refused; ", done.stderr)
        self.assertNotIn("s3cret", done.stderr)
        self.assertLess(len(done.stderr.splitlines()), 4)


class ErrorTests(PublisherCase):
    def test_every_error_is_a_publish_error(self) -> None:
        """One except clause catches what may become of a publication."""
        for error in (Expired, PublisherClosed, Refused, Unroutable):
            self.assertTrue(issubclass(error, PublishError))
