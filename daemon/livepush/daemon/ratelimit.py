"""How often something may happen: a token bucket, kept as one moment. No clock of its own.

A bucket of `burst` tokens that gets `per_second` new ones is full at some moment, and every token taken moves that
moment by 1 / `per_second`. The moment alone is what has to be kept (the generic cell rate algorithm, ITU-T I.371).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """How often.

    Attributes:
        per_second: in the long run; above 0.
        burst: at once, after a time without any; at least 1.
    """

    per_second: float
    burst: int


class Meter:
    """Counts one kind of thing of one client."""

    __slots__ = ("_full_at", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at = float("-inf")

    def take(self, now: float) -> bool:
        """Whether it may happen; then it is counted.

        Args:
            now: seconds, of a clock that does not go back.
        """
        rate = self._rate
        full_at = max(self._full_at, now)
        if (full_at - now) * rate.per_second > rate.burst - 0.999_999:  # a float is not exact
            return False
        self._full_at = full_at + 1.0 / rate.per_second
        return True

    def wait(self, now: float) -> float:
        """Seconds until it may happen; 0: now."""
        rate = self._rate
        return max(0.0, self._full_at - now - (rate.burst - 1) / rate.per_second)
