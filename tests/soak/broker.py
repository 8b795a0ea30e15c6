"""The RabbitMQ of a soak: the users and rights of `broker/rabbitmq/definitions.json`, and an administrator.

A cluster looks like a single node from here: what a fault does, it does to the node that holds the log's leader.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pika

from livepush.broker import topology
from tests.servers.rabbitmq import PrivateRabbitMQ

DEFINITIONS = Path(__file__).parents[2] / "broker" / "rabbitmq" / "definitions.json"
VHOST = "livepush"
DJANGO, DAEMON, ADMINISTRATOR = "livepush-django", "livepush-daemon", "administrator"
PASSWORD = "only of this soak"
PROCESS_QUEUES = r"^livepush\.p\."


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
            topology.declare(connection.channel())

    def delete_log(self) -> None:
        """The log goes, with all that is in it."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            connection.channel().queue_delete(topology.LOG)

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.node.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.node.pid, signal.SIGCONT)

    def alarm(self, memory: bool) -> None:
        """Lets the node believe that its memory is full, or is not."""
        self.node.ctl("set_vm_memory_high_watermark", "0.00001" if memory else "0.6")

    def narrow(self, length: int | None) -> None:
        """Bounds the queues of the daemons by a policy, or lifts it."""
        if length is None:
            self.node.ctl("clear_policy", "-p", VHOST, "soak")
        else:
            bound = json.dumps({"max-length": length, "overflow": "drop-head"})
            self.node.ctl(
                "set_policy", "-p", VHOST, "--priority", "50", "--apply-to", "queues", "soak", PROCESS_QUEUES, bound
            )

    def leader(self) -> PrivateRabbitMQ:
        """The node that holds the leader of the log."""
        node = next(each for each in self.nodes if each.running)
        rows = json.loads(node.ctl("list_queues", "-p", VHOST, "name", "leader", "--formatter", "json"))
        name = next(row["leader"] for row in rows if row["name"] == topology.LOG)
        return next(each for each in self.nodes if each.name == name)


def _hashed(password: str) -> str:
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
