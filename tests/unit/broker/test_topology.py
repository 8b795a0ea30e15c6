"""The names that livepush uses in a broker."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.names import VOID_KEY, event_key, live_key, resync_key
from livepush.broker.topology import BINDINGS, QUEUE_PREFIX, process_queue, queue_arguments


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


class BindingTests(SynchronousTestCase):
    """What a process listens to."""

    def test_every_key_that_django_publishes_is_bound(self) -> None:
        """Each published key begins with the words of a binding."""
        words = {binding.removesuffix(".#") for binding in BINDINGS}
        for key in (event_key("orders", "lock"), live_key("orders", "type"), resync_key("orders"), VOID_KEY):
            self.assertIn(key.partition(".")[0], words)

    def test_a_queue_is_bounded_and_keeps_the_newest(self) -> None:
        """Length and bytes are bounded, and the oldest message goes first."""
        arguments = queue_arguments(7)
        self.assertEqual(arguments["x-max-length"], 7)
        self.assertGreater(int(str(arguments["x-max-length-bytes"])), 0)
        self.assertEqual(arguments["x-overflow"], "drop-head")
