"""The RabbitMQ of a soak: the users and rights of `broker/rabbitmq/definitions.json`, and an administrator.

A cluster looks like a single node from here: what a fault does, it does to the node that holds the log's leader.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pika

from livepush.broker import topology
from tests.servers.rabbitmq import PrivateRabbitMQ

DEFINITIONS = Path(__file__).parents[2] / "broker" / "rabbitmq" / "definitions.json"
VHOST = "livepush"
DJANGO, DAEMON, ADMINISTRATOR = "livepush-django", "livepush-daemon", "administrator"
PASSWORD = "only of this soak"
PROCESS_QUEUES, THE_LOG = r"^livepush\.p\.", r"^livepush\.log$"

SEGMENT_BYTES = 100_000
"""Small, so that a log can be trimmed within seconds: it is cut off by whole segments."""
KEPT_SECONDS = 1
PASSED = 200
"""Offsets by which a log must begin behind its end of before to count as trimmed: more than one chunk has records."""


def definitions(*, log: bool = True) -> str:
    """The file as it is, with passwords, and with an administrator.

    Args:
        log: with the log. RabbitMQ 3.10 makes a stream that never works (506, one member) of one that definitions name
            when nodes that load them are only about to become a cluster; there it is declared afterwards.
    """
    known: dict[str, Any] = json.loads(DEFINITIONS.read_text())
    for user in known["users"]:
        user["password_hash"] = _hashed(PASSWORD)
    admin = {"name": ADMINISTRATOR, "password_hash": _hashed(PASSWORD), "tags": ["administrator"], "limits": {}}
    known["users"].append({**known["users"][0], **admin})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    known["permissions"].append({"user": ADMINISTRATOR, "vhost": VHOST, **everything})
    for queue in known["queues"]:
        queue["arguments"]["x-stream-max-segment-size-bytes"] = SEGMENT_BYTES
    if not log:
        known["queues"], known["bindings"] = [], []
    return json.dumps(known)


class Broker:
    """One node, or several that are one."""

    def __init__(self, nodes: Sequence[PrivateRabbitMQ]) -> None:
        self.nodes = nodes
        self.node = nodes[0]

    @property
    def url(self) -> str:
        """The administrator's address of the first node that runs."""
        node = next(each for each in self.nodes if each.running)
        return node.url(user=ADMINISTRATOR, password=PASSWORD, vhost=VHOST)

    def start(self) -> None:
        """Starts what does not run."""
        threads = [threading.Thread(target=node.start, daemon=True) for node in self.nodes if not node.running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not all(node.running for node in self.nodes):
            raise RuntimeError("a RabbitMQ node did not start:\n" + "\n".join(node.log() for node in self.nodes))

    def stop(self) -> None:
        """Ends all. May be called twice."""
        for node in reversed(self.nodes):
            node.stop()

    def declare(self) -> None:
        """Makes what the definitions don't hold, or sees that it is there."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            topology.declare(connection.channel(), segment_bytes=SEGMENT_BYTES)

    def delete_log(self) -> None:
        """The log goes, with all that is in it."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            connection.channel().queue_delete(topology.LOG)

    def trim_log(self, fill: Callable[[], None]) -> None:
        """All that is in the log now leaves it, by its age; what comes later stays.

        Args:
            fill: publishes some segments; called until enough of them are there for the oldest to be dropped.
        """
        end = self._offset("last")
        self._policy("log", "90", THE_LOG, {"max-age": f"{KEPT_SECONDS}s"})
        while self._offset("first") < end + PASSED:
            fill()
            threading.Event().wait(KEPT_SECONDS)
        self.node.ctl("clear_policy", "-p", VHOST, "log")

    def _offset(self, where: str) -> int:
        """The offset of the first record that a reader gets there: `first`, or `last`, the last chunk's."""
        found: list[Any] = []
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1)

            def note(_: object, __: object, properties: pika.BasicProperties, ___: bytes) -> None:
                found.append((properties.headers or {})["x-stream-offset"])

            channel.basic_consume(topology.LOG, note, arguments={"x-stream-offset": where})
            while not found:
                connection.process_data_events(1.0)
        return int(found[0])

    def freeze(self) -> None:
        """SIGSTOP."""
        self.node.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self.node.thaw()

    def alarm(self, memory: bool) -> None:
        """Lets the node believe that its memory is full, or is not."""
        self.node.ctl("set_vm_memory_high_watermark", "0.00001" if memory else "0.6")

    def narrow(self, length: int | None) -> None:
        """Bounds the queues of the daemons by a policy, or lifts it."""
        if length is None:
            self.node.ctl("clear_policy", "-p", VHOST, "soak")
        else:
            self._policy("soak", "50", PROCESS_QUEUES, {"max-length": length, "overflow": "drop-head"})

    def _policy(self, name: str, priority: str, pattern: str, definition: dict[str, object]) -> None:
        words = ("set_policy", "-p", VHOST, "--priority", priority, "--apply-to", "queues", name, pattern)
        self.node.ctl(*words, json.dumps(definition))

    def leader(self) -> PrivateRabbitMQ:
        """The node that holds the leader of the log."""
        node = next(each for each in self.nodes if each.running)
        rows = json.loads(node.ctl("list_queues", "-p", VHOST, "name", "leader", "--formatter", "json"))
        name = next(row["leader"] for row in rows if row["name"] == topology.LOG)
        return next(each for each in self.nodes if each.name == name)


def _hashed(password: str) -> str:
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
