"""Waiting before trying again: full jitter over an exponential bound.

Many processes that lose one broker must not come back in step; a uniform choice over the whole interval spreads them
best (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays for one connection's attempts.

    Attributes:
        least: no delay is shorter, seconds; with 1.0 there is never more than one attempt a second.
        most: the bound that doubling stops at, seconds.
        choose: uniform(a, b), to be scripted in tests.
    """

    least: float = 1.0
    most: float = 10.0
    choose: random.Random = field(default_factory=random.Random, repr=False)
    _attempts: int = field(default=0, init=False)

    def next(self) -> float:
        """The delay before the next attempt, seconds."""
        bound = min(self.most, self.least * 2 ** min(self._attempts + 1, 16))
        self._attempts += 1
        return self.choose.uniform(self.least, bound)

    def reset(self) -> None:
        """To be called when an attempt succeeded."""
        self._attempts = 0
