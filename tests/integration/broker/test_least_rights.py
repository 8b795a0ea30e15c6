"""The rights of `definitions.json` are the least: each piece of each is needed for the work of the user who has it.

That nobody may do more is tested in `test_definitions`, that publisher, feed and relay need no more in `test_rights`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker import topology
from livepush.broker.names import CONTROL_IDENTITY_KEY, CONTROL_OUTBOX_KEY, marker_key
from tests.integration.broker.contract import hang_up
from tests.servers.definitions import DAEMON, DJANGO, FILE, PASSWORD, VHOST, load_definitions
from tests.servers.rabbitmq import shared_rabbitmq

NOTHING = "^$"


# As in the file, but each alternative by itself, so that one can be left out.
DJANGO_RIGHTS = (
    ("configure", (r"^livepush\.relay\.",)),
    ("write", ("^livepush$", r"^livepush\.relay\..+$")),
    ("read", ("^livepush$", r"^livepush\.relay\..+$")),
    (f"{topology.EXCHANGE} write", (r"^event\.", r"^control\.", r"^live\.")),
    (f"{topology.EXCHANGE} read", (r"^control\.outbox$",)),
)
DAEMON_RIGHTS = (
    ("configure", (r"^livepush\.p\.",)),
    ("write", (r"^livepush\.daemon$", r"^livepush\.p\..+$")),
    ("read", ("^livepush$", r"^livepush\.p\..+$", r"^livepush\.log$")),
    (f"{topology.EXCHANGE} read", (r"^event\.", r"^control\.", r"^live\.")),
    (f"{topology.DAEMON_EXCHANGE} write", (r"^marker\.",)),
)

NAMES = ("livepush", "livepush.daemon", "livepush.log", "livepush.logs", "livepush.p.a", "livepush.relay.a", "x", "")
KEYS = ("event.a.b", "control.identity", "control.outbox", "live.a.b", "marker.a", "a", "event", "")

Table = tuple[tuple[str, tuple[str, ...]], ...]


def publisher_and_relay(channel: BlockingChannel) -> None:
    """All that Django's user does."""
    channel.confirm_delivery()
    for key in ("event.orders.lock", CONTROL_IDENTITY_KEY, "live.orders.typing"):
        channel.basic_publish(topology.EXCHANGE, key, b"x")
    queue = topology.relay_queue("host", "nonce")
    channel.queue_declare(queue, exclusive=True, auto_delete=True)
    channel.queue_bind(queue, topology.EXCHANGE, CONTROL_OUTBOX_KEY)
    channel.basic_consume(queue, lambda *_: None)


def process(channel: BlockingChannel) -> None:
    """All that the daemon's user does."""
    channel.confirm_delivery()
    channel.basic_publish(topology.DAEMON_EXCHANGE, marker_key("nonce"), b"x")
    queue = topology.process_queue("host", "1", "least")
    channel.queue_declare(queue, exclusive=True, auto_delete=True, arguments=topology.queue_arguments())
    for binding in topology.BINDINGS:
        channel.queue_bind(queue, topology.EXCHANGE, binding)
    channel.basic_qos(prefetch_count=10)
    channel.basic_consume(queue, lambda *_: None)
    channel.basic_consume(topology.LOG, lambda *_: None)


def pieces(table: Table) -> list[tuple[str, str] | None]:
    """What can be left out: nothing, or one alternative of one right."""
    return [None, *((right, each) for right, alternatives in table for each in alternatives)]


def text(value: str) -> str:
    """An Erlang binary."""
    escaped = value.replace("\\", "\\\\")
    return f'<<"{escaped}">>'


def account(user: str, table: Table, without: tuple[str, str] | None) -> list[str]:
    """Steps that make a user who may what a table says, but for one alternative of one right."""

    def pattern(right: str) -> str:
        kept = [each for each in dict(table).get(right, ()) if (right, each) != without]
        return text("|".join(kept) or NOTHING)

    where, who = f"{text(user)}, {text(VHOST)}", text("tests")
    plain = ", ".join(pattern(right) for right in ("configure", "write", "read"))
    steps = [f"add_user({text(user)}, {text(PASSWORD)}, {who})", f"set_permissions({where}, {plain}, {who})"]
    for exchange in (topology.EXCHANGE, topology.DAEMON_EXCHANGE):
        topics = ", ".join(pattern(f"{exchange} {way}") for way in ("write", "read"))
        steps.append(f"set_topic_permissions({where}, {text(exchange)}, {topics}, {who})")
    return steps


class LeastRightsTests(SynchronousTestCase):
    """One piece of the rights is missing, and the work can't be done."""

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.loaded = load_definitions(self.node)
        self.addCleanup(self.loaded.remove)

    def tell(self, steps: list[str]) -> None:
        """Calls functions of RabbitMQ's own accounts, in one go."""
        self.node.ctl("eval", ", ".join([*(f"rabbit_auth_backend_internal:{step}" for step in steps), "ok."]))

    def can(self, user: str, work: Callable[[BlockingChannel], None]) -> bool:
        """Whether this user can do the work; False: he is refused."""
        connection = BlockingConnection(pika.URLParameters(self.loaded.url(user)))
        try:
            work(connection.channel())
        except ChannelClosedByBroker as refusal:
            self.assertEqual(refusal.reply_code, 403, refusal)
            return False
        finally:
            hang_up(connection)
        return True

    def test_least(self) -> None:
        """Publisher, relay and daemon can do their work with their users' rights, and with one piece less can't."""
        works = {DJANGO: (DJANGO_RIGHTS, publisher_and_relay), DAEMON: (DAEMON_RIGHTS, process)}
        tried = [
            (f"{user}-{number}", piece, table, work)
            for user, (table, work) in works.items()
            for number, piece in enumerate(pieces(table))
        ]
        self.addCleanup(self.tell, [f"delete_user({text(name)}, {text('tests')})" for name, *_ in tried])
        self.tell([step for name, piece, table, _ in tried for step in account(name, table, piece)])
        for user, (_, work) in works.items():
            self.assertTrue(self.can(user, work), user)
        for name, piece, _, work in tried:
            self.assertEqual(self.can(name, work), piece is None, f"{name}: {piece} is not needed")


class TablesTests(SynchronousTestCase):
    """The tables of this module."""

    def test_the_file(self) -> None:
        """They say what the file says."""
        file = json.loads(FILE.read_text())
        for user, table in ((DJANGO, DJANGO_RIGHTS), (DAEMON, DAEMON_RIGHTS)):
            said = dict(table)
            (plain,) = (each for each in file["permissions"] if each["user"] == user)
            for right in ("configure", "write", "read"):
                self.assert_same(plain[right], said.pop(right), NAMES, f"{user} {right}")
            for each in file["topic_permissions"]:
                if each["user"] == user:
                    for way in ("write", "read"):
                        right = f"{each['exchange']} {way}"
                        self.assert_same(each[way], said.pop(right, (NOTHING,)), KEYS, f"{user} {right}")
            self.assertEqual(said, {})

    def assert_same(self, pattern: str, alternatives: tuple[str, ...], names: tuple[str, ...], what: str) -> None:
        """Both take the same of these names."""
        mine = "|".join(alternatives)
        for name in names:
            self.assertEqual(bool(re.search(pattern, name)), bool(re.search(mine, name)), (what, name))
