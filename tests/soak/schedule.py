"""Which fault comes when: pure, from a seed, so that a run can be had again.

A run begins with a quiet while, then one fault after the other: each is broken, held, healed, and given time to show
what it did before the next one comes. All kinds come once before any comes again, as far as the time reaches.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

QUIET_SECONDS = 4.0
REST_SECONDS = 4.0
LAST_SECONDS = 6.0
"""The least that must be left of a run for another fault to begin."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A fault's turn.

    Attributes:
        name: of the fault.
        hold: factor of the fault's own time between breaking and healing, 0.5 to 1.5.
        pick: chooses among several things that the fault could be done to.
    """

    name: str
    hold: float
    pick: int


def slots(names: Sequence[str], seed: int) -> Iterator[Slot]:
    """Turns without end; who takes them ends when the time is over."""
    chance = random.Random(seed)
    while True:
        order = list(names)
        chance.shuffle(order)
        for name in order:
            yield Slot(name, round(0.5 + chance.random(), 2), chance.randrange(1 << 16))
