"""The names that livepush uses in a broker."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.names import (
    CONTROL_IDENTITY_KEY,
    CONTROL_OUTBOX_KEY,
    MARKER_BEAT_KEY,
    VOID_KEY,
    event_key,
    live_key,
    marker_key,
    resync_key,
)
from livepush.broker.topology import (
    BINDINGS,
    DAEMON_EXCHANGE,
    EXCHANGE,
    LOG_BINDINGS,
    QUEUE_PREFIX,
    RELAY_PREFIX,
    log_arguments,
    process_queue,
    queue_arguments,
    relay_arguments,
    relay_queue,
)


class ProcessQueueTests(SynchronousTestCase):
    """`process_queue`."""

    def test_shows_whose_it_is(self) -> None:
        """An operator reads host and instance in the name."""
        self.assertEqual(process_queue("web1", "2", "x7"), "livepush.p.web1.2.x7")

    @given(st.text(), st.text(), st.text())
    def test_any_host_name_makes_a_name_within_the_rights(self, host: str, instance: str, nonce: str) -> None:
        """Whatever the machine is called, the queue is one that the daemon's user may make."""
        name = process_queue(host, instance, nonce)
        self.assertTrue(name.startswith(QUEUE_PREFIX))
        self.assertTrue(re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", name, re.ASCII), name)

    def test_a_dot_in_a_host_name_is_no_border(self) -> None:
        """Hosts `a.b` and `a` with other instances don't get the same name."""
        self.assertNotEqual(process_queue("a.b", "c", "d"), process_queue("a", "b.c", "d"))


class RelayQueueTests(SynchronousTestCase):
    """`relay_queue`."""

    @given(st.text(), st.text())
    def test_any_host_name_makes_a_name_within_the_rights(self, host: str, nonce: str) -> None:
        """As that of a process queue."""
        name = relay_queue(host, nonce)
        self.assertTrue(name.startswith(RELAY_PREFIX))
        self.assertTrue(re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", name, re.ASCII), name)

    def test_one_wake_up_waits(self) -> None:
        """It says all that many would."""
        self.assertEqual(relay_arguments(), {"x-max-length": 1, "x-overflow": "drop-head"})


class LogTests(SynchronousTestCase):
    """What the log is."""

    def test_what_is_promised_is_logged_and_nothing_else(self) -> None:
        """Events, what stands for them, control messages and markers; what is live is not."""
        logged = {(exchange, binding.removesuffix(".#")) for exchange, binding in LOG_BINDINGS}
        keys = (event_key("orders", "lock"), resync_key("orders"), resync_key(None), VOID_KEY)
        for key in (*keys, CONTROL_IDENTITY_KEY, CONTROL_OUTBOX_KEY):
            self.assertIn((EXCHANGE, key.partition(".")[0]), logged)
        for key in (MARKER_BEAT_KEY, marker_key("nonce")):
            self.assertIn((DAEMON_EXCHANGE, key.partition(".")[0]), logged)
            self.assertNotIn((EXCHANGE, key.partition(".")[0]), logged)
        self.assertNotIn((EXCHANGE, live_key("orders", "type").partition(".")[0]), logged)

    def test_it_is_kept_for_a_while_in_small_segments(self) -> None:
        """In the form in which RabbitMQ compares it with the log that is there."""
        right = {"x-queue-type": "stream", "x-max-age": "90s", "x-stream-max-segment-size-bytes": 1000}
        self.assertEqual(log_arguments(90, 1000), right)


class BindingTests(SynchronousTestCase):
    """What a process listens to."""

    def test_every_key_that_django_publishes_is_bound(self) -> None:
        """Each published key begins with the words of a binding."""
        words = {binding.removesuffix(".#") for binding in BINDINGS}
        for key in (event_key("orders", "lock"), live_key("orders", "type"), VOID_KEY, CONTROL_IDENTITY_KEY):
            self.assertIn(key.partition(".")[0], words)

    def test_a_queue_is_bounded_and_keeps_the_newest(self) -> None:
        """Length and bytes are bounded, and the oldest message goes first."""
        arguments = queue_arguments(7)
        self.assertEqual(arguments["x-max-length"], 7)
        self.assertGreater(int(str(arguments["x-max-length-bytes"])), 0)
        self.assertEqual(arguments["x-overflow"], "drop-head")
