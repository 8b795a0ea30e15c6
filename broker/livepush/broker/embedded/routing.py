"""Exchanges: which queues a routing key leads to (AMQP 0-9-1, 3.1.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

CACHED_KEYS = 10_000


class Named(Protocol):
    """What an exchange knows of a queue."""

    name: str


Q = TypeVar("Q", bound=Named)
Matcher = Callable[[str], bool]


class TopicPattern:
    """A binding key of words where `*` stands for one word and `#` for any number of them, also none.

    The words are the states of a non-deterministic automaton, kept as bits of one int, so that a hostile pattern
    (`#.a.#.a.#...`) costs one step per word of the key and not an exponential search.
    """

    __slots__ = ("_accepting", "_any", "_hashes", "_literal", "_start")

    def __init__(self, pattern: str) -> None:
        words: list[str] = []
        for word in pattern.split(".") if pattern else []:
            if not (word == "#" and words and words[-1] == "#"):
                words.append(word)
        self._literal: dict[str, int] = {}
        self._any = self._hashes = 0
        for index, word in enumerate(words):
            if word == "#":
                self._hashes |= 1 << index
            elif word == "*":
                self._any |= 1 << index
            else:
                self._literal[word] = self._literal.get(word, 0) | 1 << index
        self._accepting = 1 << len(words)
        self._start = self._skip(1)

    def _skip(self, states: int) -> int:
        """Adds what `#` reaches by standing for nothing: one step is enough, since no two follow each other."""
        return states | (states & self._hashes) << 1

    def matches(self, key: str) -> bool:
        """Whether the binding takes a message with this routing key."""
        states = self._start
        for word in key.split(".") if key else []:
            passing = states & (self._literal.get(word, 0) | self._any)
            states = self._skip(passing << 1 | states & self._hashes)
            if not states:
                return False
        return bool(states & self._accepting)


def _topic(pattern: str) -> Matcher:
    return TopicPattern(pattern).matches


def _direct(pattern: str) -> Matcher:
    return pattern.__eq__


def _fanout(_pattern: str) -> Matcher:
    return lambda _key: True


MATCHERS: dict[str, Callable[[str], Matcher]] = {"topic": _topic, "direct": _direct, "fanout": _fanout}


class Exchange(Generic[Q]):
    """A named set of bindings.

    Routes are remembered for the last `CACHED_KEYS` keys; then, and whenever a binding changes, all are forgotten.
    """

    __slots__ = ("_bindings", "_routes", "auto_delete", "durable", "kind", "name")

    def __init__(self, name: str, kind: str, *, durable: bool = False, auto_delete: bool = False) -> None:
        self.name, self.kind, self.durable, self.auto_delete = name, kind, durable, auto_delete
        self._bindings: dict[tuple[Q, str], Matcher] = {}
        self._routes: dict[str, tuple[Q, ...]] = {}

    def __len__(self) -> int:
        """How many bindings there are."""
        return len(self._bindings)

    def __bool__(self) -> bool:
        return True

    def bound(self, queue: Q, pattern: str) -> bool:
        """Whether there is this binding."""
        return (queue, pattern) in self._bindings

    def bind(self, queue: Q, pattern: str) -> None:
        """Adds a binding; a second one like it changes nothing."""
        self._bindings[queue, pattern] = MATCHERS[self.kind](pattern)
        self._routes.clear()

    def unbind(self, queue: Q, pattern: str | None = None) -> bool:
        """Takes a binding, or all of this queue, away. False if there was none."""
        gone = [key for key in self._bindings if key[0] is queue and pattern in (None, key[1])]
        for key in gone:
            del self._bindings[key]
        self._routes.clear()
        return bool(gone)

    def route(self, key: str) -> tuple[Q, ...]:
        """The queues that take a message with this key, each once."""
        found = self._routes.get(key)
        if found is None:
            found = tuple(dict.fromkeys(queue for (queue, _), matches in self._bindings.items() if matches(key)))
            if len(self._routes) >= CACHED_KEYS:
                self._routes.clear()
            self._routes[key] = found
        return found
