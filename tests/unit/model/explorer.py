"""Schedules by chance, runs of them, and how a schedule that went wrong is made short."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from tests.unit.model.actions import ACTIONS
from tests.unit.model.checks import heal, judge
from tests.unit.model.visitor import Violation
from tests.unit.model.world import Schedule, World

STEPS = 200
SECONDS = 3600
"""What a search may take before it is given up."""

WEIGHTS: dict[str, float] = {
    "publish": 9, "change": 2, "change_silently": 0.3, "change_and_publish": 2, "send": 10, "hear": 7,
    "cut_publisher": 0.7, "restart_worker": 0.5, "turn": 2.5, "start_relay": 0.5, "database": 0.3,
    "route": 18, "nack": 0.8, "nack_log": 0.3, "broker_down": 0.25, "broker_up": 1, "alarm": 0.3, "bind_log": 0.15,
    "trim": 0.5, "make_log_anew": 0.15,
    "kill": 0.5, "boot": 2, "cut_process": 0.5, "link": 12, "read": 10, "deliver": 9,
    "read_database": 3, "finish_job": 5, "sweep": 0.3,
    "connect": 6, "connect_second": 1.5, "subscribe": 1.5, "serve": 1.5, "flush": 10, "receive": 10, "heartbeat": 1.5,
    "cut_browser": 1.5, "advance": 3,
}  # fmt: skip
"""How often each action comes, compared with the others."""

_CALM = {"publish", "send", "hear", "route", "link", "read", "deliver"} | {
    "connect", "flush", "receive", "finish_job", "advance"
}  # fmt: skip

_THEMES: tuple[dict[str, float], ...] = (
    {"nack": 10, "nack_log": 10, "cut_publisher": 6, "restart_worker": 4, "advance": 2},
    {"kill": 6, "boot": 4, "connect": 2, "link": 2, "nack": 3},
    {"change": 4, "change_and_publish": 3, "read_database": 2, "heartbeat": 6, "cut_browser": 3, "finish_job": 0.6},
    {"trim": 4, "make_log_anew": 10, "broker_down": 5, "broker_up": 4, "cut_process": 8, "link": 2},
    {"connect_second": 5, "cut_browser": 5, "heartbeat": 3, "subscribe": 4},
    {"start_relay": 8, "turn": 2, "database": 4},
    {"nack": 10, "cut_publisher": 4, "advance": 2, "change": 4, "change_and_publish": 4, "cut_browser": 3, "send": 1.5},
)
"""Trouble that belongs together: what each of these actions is multiplied with."""

_WARM_UP: Schedule = [
    (name, arg)
    for _ in range(8)
    for name, arg in (("link", 0), ("link", 1), ("route", 0), ("route", 0), ("read", 8), ("read", 9), ("advance", 0))
]
_GREETING: Schedule = [
    (name, arg)
    for visitor in range(3)
    for name, arg in (
        ("connect", visitor + 3 * visitor), ("finish_job", 0), ("flush", visitor), ("receive", visitor),
        ("serve", 0), ("flush", visitor), ("receive", visitor),
    )
]  # fmt: skip


class Outcome(NamedTuple):
    """How a run ended: the broken promise, None if all were kept; and the world as it was then."""

    violation: str | None
    world: World

    @property
    def kind(self) -> str:
        """The promise that was broken, in a word."""
        return (self.violation or "").split(":")[0]


def make_schedule(seed: int, steps: int = STEPS) -> Schedule:
    """Swarm testing: each schedule has one or two themes; other trouble is rare in it or absent."""
    chance = random.Random(seed)
    weights = {
        name: weight * chance.choice((1, 1, 2) if name in _CALM else (0, 0, 0.5, 1)) for name, weight in WEIGHTS.items()
    }
    for theme in chance.sample(_THEMES, chance.choice((1, 2))):
        for name, factor in theme.items():
            weights[name] = max(weights[name], WEIGHTS[name]) * factor
    if not weights["broker_up"]:
        weights["broker_down"] = 0
    names = chance.choices(list(weights), list(weights.values()), k=steps)
    greeted = (_WARM_UP if seed % 4 else []) + (_GREETING if seed % 4 > 1 else [])
    return greeted + [(name, chance.randrange(1 << 12)) for name in names]


def run(schedule: Schedule, after: Callable[[World, str, int], None] | None = None) -> Outcome:
    """Plays a schedule, lets the world heal and judges it.

    Args:
        schedule: what happens.
        after: called after each action, for traces.
    """
    world = World()
    faults = _Faults()
    globalLogPublisher.addObserver(faults)
    try:
        for world.step, (name, arg) in enumerate(schedule, 1):
            ACTIONS[name](world, arg)
            if world.leaks:
                raise Violation(world.leaks[0])
            if after is not None:
                after(world, name, arg)
        world.step += 1
        heal(world)
        if world.leaks:
            raise Violation(world.leaks[0])
        judge(world)
    except Violation as violation:
        faults.found.append(str(violation))
    finally:
        globalLogPublisher.removeObserver(faults)
    return Outcome(faults.found[0] if faults.found else None, world)


@implementer(ILogObserver)
class _Faults:
    """What the product catches at its boundaries, and only logs."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.found.append(f"fault: {event['log_failure'].getErrorMessage()}")


def shrink(schedule: Schedule) -> Schedule:
    """Leaves out ever smaller slices while the same kind of promise is broken (delta debugging)."""
    kind = run(schedule).kind
    size = len(schedule) // 2
    while size:
        at, shorter = 0, False
        while at < len(schedule):
            candidate = schedule[:at] + schedule[at + size :]
            if run(candidate).kind == kind:
                schedule, shorter = candidate, True
            else:
                at += size
        size = size if shorter and size == 1 else size // 2
    return schedule


def explore(first: int, runs: int, limit: int = 3, steps: int = STEPS) -> list[tuple[int, str]]:
    """Runs the schedules of some seeds.

    Returns:
        Seeds and violations; after `limit` of them it stops.
    """
    found: list[tuple[int, str]] = []
    for seed in range(first, first + runs):
        violation = run(make_schedule(seed, steps)).violation
        if violation is not None:
            found.append((seed, violation))
            if len(found) >= limit:
                break
    return found


def explore_all(
    first: int, runs: int, workers: int = 2, limit: int = 3, steps: int = STEPS, without: str = ""
) -> list[tuple[int, str]]:
    """The same in several processes; `without` names a rule that is taken out of the product in each."""
    share = -(-runs // workers)
    shares = [(first + share * worker, min(share, runs - share * worker), limit, steps) for worker in range(workers)]
    with multiprocessing.get_context("spawn").Pool(workers, _begin_worker, (without,)) as pool:
        parts = pool.starmap_async(explore, shares, 1).get(SECONDS)
        return sorted(found for part in parts for found in part)


def _begin_worker(without: str) -> None:
    logging.disable(logging.CRITICAL)
    if without:
        rules = importlib.import_module("tests.unit.model.rules")
        _left_out.enter_context(rules.RULES[without].left_out())


_left_out = ExitStack()  # for as long as the worker lives


def to_text(schedule: Schedule) -> str:
    """A schedule for the command line."""
    return " ".join(f"{name}:{arg}" for name, arg in schedule)


def from_text(text: str) -> Schedule:
    """What `to_text` wrote."""
    return [(name, int(arg)) for name, _, arg in (word.partition(":") for word in text.split())]
