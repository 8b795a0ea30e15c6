"""Keeping a log readable when the same thing happens a thousand times."""

from __future__ import annotations

from dataclasses import dataclass, field

SECONDS = 60.0
DIFFERENT = 100


@dataclass(slots=True)
class Noise:
    """Lets the same thing be said at first, then once a minute. Over 100 different things, the oldest is new again."""

    _said: dict[str, tuple[float, int]] = field(default_factory=dict)

    def admit(self, what: str, now: float) -> int | None:
        """None: not now; else how often it was kept back since it was said last."""
        at, kept = self._said.get(what, (None, 0))
        if at is not None and 0 <= now - at < SECONDS:
            self._said[what] = (at, kept + 1)
            return None
        self._said.pop(what, None)
        self._said[what] = (now, 0)
        if len(self._said) > DIFFERENT:
            del self._said[next(iter(self._said))]
        return kept
