"""Exchanges lead to the right queues."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.embedded.routing import CACHED_KEYS, Exchange, TopicPattern

WORDS = st.sampled_from(["a", "b", "", "longer"])
KEYS = st.lists(WORDS, max_size=7).map(".".join)
PATTERNS = st.lists(st.one_of(WORDS, st.just("*"), st.just("#")), max_size=7).map(".".join)


@dataclass(eq=False)
class Stub:
    """A queue as an exchange sees it."""

    name: str


def reference(pattern: str, key: str) -> bool:
    """The specification's words (AMQP 3.1.3.3) as plain recursion."""

    def match(patterns: list[str], words: list[str]) -> bool:
        if not patterns:
            return not words
        if patterns[0] == "#":
            return match(patterns[1:], words) or (bool(words) and match(patterns, words[1:]))
        return bool(words) and patterns[0] in ("*", words[0]) and match(patterns[1:], words[1:])

    return match(pattern.split(".") if pattern else [], key.split(".") if key else [])


class TopicPatternTests(SynchronousTestCase):
    """`TopicPattern`."""

    @given(PATTERNS, KEYS)
    def test_matches_as_the_specification_says(self, pattern: str, key: str) -> None:
        """Any pattern, any key."""
        self.assertEqual(TopicPattern(pattern).matches(key), reference(pattern, key))

    def test_a_hostile_pattern_costs_no_more_than_its_length(self) -> None:
        """63 times `#` against a key of 127 words: recursion would need longer than the universe has."""
        pattern = TopicPattern(".".join(["#", "a"] * 63))
        start = time.process_time()
        self.assertFalse(pattern.matches(".".join(["a"] * 127 + ["b"])))
        self.assertLess(time.process_time() - start, 1)


class ExchangeTests(SynchronousTestCase):
    """`Exchange`."""

    def test_a_queue_comes_once_however_often_it_is_bound(self) -> None:
        """In the order of binding."""
        exchange: Exchange[Stub] = Exchange("e", "topic")
        one, two = Stub("one"), Stub("two")
        exchange.bind(one, "#")
        exchange.bind(two, "a")
        exchange.bind(one, "a")
        self.assertEqual(exchange.route("a"), (one, two))

    def test_a_remembered_route_is_forgotten_when_bindings_change(self) -> None:
        """Binding and unbinding count from the next message on."""
        exchange: Exchange[Stub] = Exchange("e", "direct")
        one, two = Stub("one"), Stub("two")
        exchange.bind(one, "k")
        self.assertEqual(exchange.route("k"), (one,))
        exchange.bind(two, "k")
        self.assertEqual(exchange.route("k"), (one, two))
        self.assertTrue(exchange.unbind(one, "k"))
        self.assertEqual(exchange.route("k"), (two,))
        self.assertFalse(exchange.unbind(one, "k"))

    def test_remembers_only_so_many_routes(self) -> None:
        """A publisher that never repeats a key does not fill the memory."""
        exchange: Exchange[Stub] = Exchange("e", "fanout")
        for number in range(CACHED_KEYS + 10):
            exchange.route(str(number))
        self.assertLessEqual(len(exchange._routes), CACHED_KEYS)
