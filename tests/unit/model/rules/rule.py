"""A rule of the delivery specification, and how it is taken out of the product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the specification.

    Attributes:
        says: what it says.
        left_out: takes it out of the product while the context is open.
    """

    says: str
    left_out: Callable[[], AbstractContextManager[Any]]


RULES: dict[str, Rule] = {}


def rule(says: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], AbstractContextManager[None]]]:
    """Its function patches the product as long as it is suspended."""

    def register(function: Callable[[], Iterator[None]]) -> Callable[[], AbstractContextManager[None]]:
        left_out = contextmanager(function)
        RULES[function.__name__] = Rule(says, left_out)
        return left_out

    return register


def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> AbstractContextManager[Any]:
    """Puts what `make` makes of a method, or of a property's getter, in its place."""
    old = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
    if isinstance(old, property):
        return mock.patch.object(owner, name, property(make(old.fget)))
    return mock.patch.object(owner, name, make(old))


def nothing(*_: Any, **__: Any) -> None:
    """In place of a method."""
