"""Explores schedules: `python -m tests.unit.model --runs 20000 --seed 1`; see CONTRIBUTING.md.

--runs N --seed S     plays N schedules, made of the seeds from S on; the first that goes wrong is made short
--without RULE        with a rule of the product taken out: it has to go wrong
--replay "..."        plays one schedule, as printed, with its trace
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from contextlib import ExitStack

from tests.unit.model.explorer import STEPS, explore_all, from_text, make_schedule, run, shrink, to_text
from tests.unit.model.rules import RULES
from tests.unit.model.trace import difference, facts
from tests.unit.model.world import Schedule, World


class _Tracer:
    """Prints what each action changed."""

    def __init__(self) -> None:
        self._before = facts(World())

    def __call__(self, world: World, name: str, arg: int) -> None:
        now = facts(world)
        if now != self._before:
            print(f"{world.step:4} {name}:{arg:<5} {difference(self._before, now)}")
        self._before = now


def replay(schedule: Schedule) -> int:
    """Plays one schedule with its trace; 1: a promise was broken."""
    violation = run(schedule, _Tracer()).violation
    print(violation or "clean")
    return 1 if violation else 0


def main(arguments: list[str]) -> int:
    """The command; its exit code is 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.unit.model", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="how many schedules")
    parser.add_argument("--seed", type=int, default=1, help="of the first one")
    parser.add_argument("--steps", type=int, default=STEPS, help="length of a schedule")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--limit", type=int, default=3, help="broken promises after which a worker stops")
    parser.add_argument("--without", default="", metavar="RULE", help="one of: " + ", ".join(RULES))
    parser.add_argument("--replay", default="", metavar="SCHEDULE", help="as printed")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    with ExitStack() as out:
        if options.without:
            out.enter_context(RULES[options.without].left_out())
        if options.replay:
            return replay(from_text(options.replay))
        start = time.monotonic()
        found = explore_all(options.seed, options.runs, options.workers, options.limit, options.steps, options.without)
        seconds = time.monotonic() - start
        print(
            f"{options.runs} schedules, {len(found)} broken promises, {seconds:.0f} s, without {options.without or '-'}"
        )
        for seed, violation in found:
            print(f"  seed {seed}: {violation}")
        if not found:
            return 0
        schedule = shrink(make_schedule(found[0][0], options.steps))
        print(f"seed {found[0][0]}, made short: {len(schedule)} actions")
        replay(schedule)
        print(f'--replay "{to_text(schedule)}"')
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
