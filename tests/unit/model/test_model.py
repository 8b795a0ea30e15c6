"""The promises hold under every schedule that is tried; and the search is worth something."""

from __future__ import annotations

import logging
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.model.explorer import explore_all, from_text, make_schedule, run, shrink, to_text
from tests.unit.model.rules import RULES
from tests.unit.model.trace import facts
from tests.unit.model.world import Schedule, World

SCHEDULES = 5_000


class _Quiet(SynchronousTestCase):
    """What the product tells people about refused rows and lost leases is not for this test's reader."""

    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)


class PromiseTests(_Quiet):
    def test_every_schedule_keeps_every_promise(self) -> None:
        """Five thousand worlds of trouble, and nothing is lost silently, doubled, out of order or told to the wrong."""
        found = explore_all(1, SCHEDULES)
        told = "\n".join(f"seed {seed}: {violation}" for seed, violation in found)
        hint = f"python -m tests.unit.model --runs 1 --seed {found[0][0]}" if found else ""
        self.assertEqual(found, [], f"{told}\nmake it short: {hint}")


class ExplorerTests(_Quiet):
    def test_the_search_finds_what_is_missing(self) -> None:
        """Each of its processes runs the product without the rule."""
        self.assertEqual(len(explore_all(1, 40, limit=1, without="go_back")), 2)

    def test_a_schedule_is_one_world(self) -> None:
        """The same seed is the same schedule, and the same schedule the same world to the last fact."""
        for seed in (3, 7):
            worlds = [run(make_schedule(seed)).world for _ in range(2)]
            self.assertEqual(*[facts(world) for world in worlds])

    def test_a_schedule_survives_its_text(self) -> None:
        """What is printed can be played again."""
        schedule = make_schedule(5)
        self.assertEqual(from_text(to_text(schedule)), schedule)

    def test_a_broken_promise_is_made_short(self) -> None:
        """What is left of a schedule that went wrong goes wrong in the same way, and needs every action."""
        with RULES["go_back"].left_out():
            schedule = next(each for each in map(make_schedule, range(1, 50)) if run(each).violation)
            short = shrink(schedule)
            self.assertEqual(run(short).kind, run(schedule).kind)
            self.assertLess(len(short), 10)
            shorter = [short[:at] + short[at + 1 :] for at in range(len(short))]
            self.assertEqual([each for each in shorter if run(each).kind == run(short).kind], [])

    def test_the_worlds_see_trouble(self) -> None:
        """Chance brings about everything that the rules are for."""
        seen: Counter[str] = Counter()
        for seed in range(150):
            self._count(seen, make_schedule(seed))
        rare = {what: seen[what] for what in _EXPECTED if seen[what] < _EXPECTED[what]}
        self.assertEqual(rare, {}, str(seen))

    def _count(self, seen: Counter[str], schedule: Schedule) -> None:
        world: World = run(schedule).world
        for fact in world.facts.values():
            seen[f"published {fact.kind}"] += 1
        seen["lost"] += len(world.lost)
        seen["void"] += len(world.void)
        for visitor in world.visitors:
            for heard in visitor.heard.values():
                for each in heard:
                    seen["told" if each.publisher else "reloaded"] += 1
        for process in world.processes:
            counters = process.intake.counters
            seen["start over"] += counters.start_overs
            seen["control"] += counters.controls
            seen["hole"] += process.intake.ingest.counters.missing
            seen["held"] += process.intake.ingest.counters.held
            seen["failure"] -= counters.failures  # of the sink: there is none


_EXPECTED = {
    "published event": 1000,
    "published resync": 100,
    "lost": 200,
    "void": 10,
    "told": 800,
    "reloaded": 200,
    "start over": 20,
    "control": 100,
    "hole": 5,
    "held": 50,
    "failure": 0,
}
"""What 150 schedules meet at least, by a wide margin."""
