"""`python -m tests.fuzz --seconds 60`: all targets in turn, in as many processes as there are cores, until it is over.

The exit status is 1 if a target failed; hypothesis prints the shortest input that it has found for it. A run names its
seed; the same seed gives the same inputs in the same order.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.servers import TARGETS
from tests.fuzz.targets import Target

BATCH = 50
"""Inputs of a target before it is the next one's turn."""


@dataclass(slots=True)
class Tally:
    """What a process has done.

    Attributes:
        inputs: of each target, how many.
        faults: of each target that failed, what is to be printed.
    """

    inputs: dict[str, int]
    faults: dict[str, str]


def work(number: int, until: float, only: str | None) -> Tally:
    """One process: batches until this moment of the monotonic clock."""
    chosen = [each for each in TARGETS if only in (None, each.name)]
    tally, rng = Tally(dict.fromkeys((each.name for each in chosen), 0), {}), random.Random(number)
    while time.monotonic() < until:
        for each in chosen:
            if each.name not in tally.faults:
                play(each, rng.getrandbits(64), tally)
            if time.monotonic() >= until:
                break
        else:
            if len(tally.faults) == len(chosen):
                break
    return tally


def play(each: Target, number: int, tally: Tally) -> None:
    """A batch of one target."""

    @seed(number)
    @settings(
        max_examples=BATCH,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(each.inputs)
    def run(value: object) -> None:
        tally.inputs[each.name] += 1
        each.check(value)

    try:
        run()
    except Exception as error:  # whatever a reader raised: it is what is looked for
        tally.faults[each.name] = "".join(traceback.format_exception(error))


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--target", help="only this one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given_ = parser.parse_args()
    until = time.monotonic() + given_.seconds
    with ProcessPoolExecutor(given_.processes) as pool:
        jobs = [pool.submit(work, given_.seed + number, until, given_.target) for number in range(given_.processes)]
        tallies = [job.result() for job in jobs]
    faults: dict[str, str] = {}
    for name in tallies[0].inputs:
        count = sum(tally.inputs[name] for tally in tallies)
        found = next((tally.faults[name] for tally in tallies if name in tally.faults), None)
        print(f"{name:20} {count:8} inputs  {'ok' if found is None else 'FAILED'}")
        if found is not None:
            faults[name] = found
    for name, found in faults.items():
        print(f"\n--- {name}\n{found}")
    total = sum(sum(tally.inputs.values()) for tally in tallies)
    print(f"{total} inputs, {len(faults)} targets failed, seed {given_.seed}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
