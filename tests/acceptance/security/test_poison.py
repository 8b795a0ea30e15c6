"""Case 37: messages of the broker that livepush did not write, by somebody who may write to its exchange."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika
import pika.exceptions

from tests.acceptance.security.case import SecurityCase

EXCHANGE = "livepush"
GOOD = json.dumps({"channel": "orders", "type": "poison", "data": {"poison": 1}}).encode()


def poisons() -> Iterator[tuple[pika.BasicProperties, bytes]]:
    """Each one wrong in one way, or in all."""
    right: dict[str, Any] = {"type": "event", "app_id": "poisoner", "message_id": "1"}
    headers = {"v": 1, "ts": int(time.time() * 1000), "low": 1, "sending": 1}

    def made(body: bytes = GOOD, headers: Any = headers, **more: Any) -> tuple[pika.BasicProperties, bytes]:
        return pika.BasicProperties(**{**right, "headers": headers, **more}), body

    yield made(b"")
    yield made(b"not json")
    yield made(b"\xff\xfe\x00")
    yield made(b"[" * 100_000)
    yield made(b"x" * 20 * 2**20)
    yield made(b'{"channel": "orders", "type": "poison", "data": NaN}')
    yield made(json.dumps({"channel": "#", "type": "poison", "data": {}}).encode())
    yield made(json.dumps({"channel": "orders", "type": "poison", "data": []}).encode())
    yield made(json.dumps({"channel": "orders", "type": "poison", "data": {}, "views": [1]}).encode())
    yield made(json.dumps({"channel": "orders", "type": "poison", "data": {}, "only": "all"}).encode())
    yield made(json.dumps({"channel": "orders", "type": "poison", "data": {}, "version": "1"}).encode())
    yield made(b"\x80\x04\x95pickle", content_type="application/python-pickle")
    yield made(content_encoding="gzip")
    yield made(headers=None)
    for name in headers:
        for value in (
            None,
            "1",
            True,
            -1,
            2**62,
            [1],
            {"a": 1},
            Decimal("1.5"),
            datetime(2026, 1, 1, tzinfo=UTC),
            b"1",
        ):
            yield made(headers={**headers, name: value})
    yield made(headers={**headers, "v": 2})
    for name in ("type", "app_id", "message_id"):
        for value in (None, "", "x" * 200, "../..", "0", "-1", "99999999999999999999"):
            changed: dict[str, Any] = {name: value}
            yield made(**changed)
    yield made(type="control", message_id="2", body=b"{}")
    yield made(type="control", message_id="3", body=b'{"what": "identity", "user": {"a": 1}}')
    yield made(type="marker", body=b'{"process": "x", "number": 1}')
    yield made(type="resync", message_id="4", body=b'{"channel": 5, "why": 5}')
    yield made(expiration="1")
    yield made()
    yield made()  # twice


class Writer:
    """Somebody with an account at the broker.

    RabbitMQ itself falls over some headers (seen with 3.10.8: 541, in what writes the stream) and ends the connection:
    then there is another one.

    Attributes:
        taken: messages that the broker has confirmed.
    """

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self.taken = 0
        self._open()

    def write(self, key: str, properties: pika.BasicProperties, body: bytes) -> None:
        """One message."""
        try:
            self._channel.basic_publish(EXCHANGE, key, body, properties)
        except pika.exceptions.AMQPError:
            self._open()
        else:
            self.taken += 1

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def _open(self) -> None:
        self._connection = pika.BlockingConnection(self._parameters)
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()


class PoisonTests(SecurityCase):
    """What reaches the queue of a process, and its log."""

    def test_37_poison(self) -> None:
        """Attack: a hundred messages, each wrong in another way; none arrives, all are taken, few lines are logged."""
        page = self.page(self.world.visitor())
        lines = len(self.world.daemon.output.splitlines())
        writer = Writer(self.world.variables["LIVEPUSH_BROKER_URL"])
        for key in ("event.orders.poison", "live.orders.poison", "control.identity"):
            for properties, body in poisons():
                writer.write(key, properties, body)
        writer.close()
        self.assertGreater(writer.taken, 100)
        self.world.publish("after", {})
        heard = self.heard_until(page, lambda message: message.get("type") == "after")
        self.assertEqual(heard[-1].get("type"), "after", heard)
        poisoned = [message for message in heard if message.get("type") == "poison" and "id" in message]
        # Publishers with odd names, whose one message is right. The number of `poisoner` was spent by his first one.
        self.assertEqual({message["id"] for message in poisoned}, {"0-1", "-1-1", "99999999999999999999-1"})
        self.assertEqual(len(poisoned), len({message["id"] for message in poisoned}))
        written = self.world.daemon.output.splitlines()[lines:]
        self.assertLess(len(written), 40, written)
        self.assertNotIn("poison\\", "".join(written))
        listed = self.world.vhost.node.ctl("list_queues", "-p", self.world.vhost.name, "name", "messages")
        for line in listed.splitlines():
            name, _, waiting = line.partition("\t")
            if name.startswith("livepush.p."):
                self.assertEqual(waiting.strip(), "0", listed)
