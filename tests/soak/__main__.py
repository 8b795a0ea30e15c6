"""`python -m tests.soak`: breaks things for a while, then judges. See the package.

python -m tests.soak --seconds 60                              # as `make soak`
python -m tests.soak --seconds 300 --faults broker-kill,overflow --seed 7
python -m tests.soak --cluster                                 # three nodes, three daemons, Redis: one of each killed
python -m tests.soak --once --faults log-trimmed               # each of them once, however long that takes
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from tests.soak.checker import KINDS, Verdict, check
from tests.soak.faults import FAULTS, possible
from tests.soak.presence import differs, wrong
from tests.soak.record import Line, Log, Publication, read_logs, read_publications
from tests.soak.report import Span, make_rows, render, tell
from tests.soak.schedule import LAST_SECONDS, QUIET_SECONDS, REST_SECONDS, slots
from tests.soak.world import Plan, SoakFailed, World

BROKEN, FAILED = 1, 2
SETTLE_SECONDS = 40.0
BROKEN_SECONDS = 8.0
CALM_SECONDS = 3.0
PRESENCE_SECONDS = 30.0
SABOTAGES = ("drop", "unheld", "forget", "ghosts")

Result = tuple[dict[str, Publication], list[Log], Verdict]


class Soak:
    """One run.

    Args:
        seconds: of faults, None: until each has been done once; starting and judging come on top.
        names: faults to choose from.
    """

    def __init__(self, world: World, seconds: float | None, names: Sequence[str], seed: int) -> None:
        self._world, self._seconds, self._names, self._seed = world, seconds, names, seed
        self._pace = threading.Event()
        self.begun = 0.0
        self.spans: list[Span] = []
        self.strangers: list[str] = []

    def run(self) -> Result:
        """Everything from the first event to the verdict."""
        world = self._world
        self.begun = time.monotonic()
        self.spans.append(Span("none", self.begun))
        end = self.begun if self._seconds is None else self.begun + self._seconds
        self._pace.wait(QUIET_SECONDS)
        for slot in islice(slots(self._names, self._seed), len(self._names) if self._seconds is None else None):
            fault = FAULTS[slot.name]
            if self._seconds is not None and time.monotonic() + fault.seconds * slot.hold + LAST_SECONDS > end:
                break
            where = world.port_of(slot.pick) if fault.alone else ""
            span = Span(fault.name, time.monotonic(), tells=fault.tells, where=where)
            self.spans.append(span)
            _say(f"{span.begun - self.begun:6.1f} s  {fault.name}")
            fault.break_(world, slot.pick)
            self._pace.wait(fault.seconds * slot.hold)
            fault.heal(world, slot.pick)
            span.healed = time.monotonic()
            world.wait_for(world.all_ready, f"daemons that are ready after {fault.name}")
            span.ready = time.monotonic()
            self._pace.wait(REST_SECONDS)
        self._pace.wait(max(0.0, end - time.monotonic()))
        self._see_who_is_here("all was healed", max(span.healed for span in self.spans) or self.begun)
        self.spans.append(Span("the end", time.monotonic()))
        world.end_publishing()
        result = self._settle()
        if not self.strangers:
            users = len(world.progress.users)
            left = time.monotonic()
            world.users_leave()
            world.wait_for(lambda: len(world.progress.users) < users, "users to leave")
            self._see_who_is_here("half of the users left", left)
        return result

    def _see_who_is_here(self, what: str, since: float) -> None:
        """Whether presence is the truth at every daemon and for Django, in time; what it is not is kept."""
        world, end = self._world, time.monotonic() + PRESENCE_SECONDS
        if world.redis is None:
            return
        while True:
            said = world.progress
            lies = wrong(said.users, said.rolls, world.ports)
            lies = lies or list(filter(None, [differs(said.users, world.present())]))
            if not lies or time.monotonic() > end:
                break
            self._pace.wait(0.5)
        if said.unfounded:
            lies.append(f"{said.unfounded} changes of lists that pages did not have")
        self.strangers += [f"presence after {what}: {lie}" for lie in lies]
        if not lies:
            took = time.monotonic() - since
            _say(f"presence: {len(said.users)} users, told alike everywhere {took:.1f} s after {what}")

    def _settle(self) -> Result:
        """Judges when all is quiet; what is lost by then may still be under way for a while."""
        end = time.monotonic() + (BROKEN_SECONDS if self._world.plan.sabotage else SETTLE_SECONDS)
        while True:
            while not self._world.quiet(CALM_SECONDS) and time.monotonic() < end:
                self._pace.wait(0.5)
            published = read_publications(self._world.folder / "published")
            logs = read_logs([self._world.folder / "told.jsonl"], self._world.clients)
            verdict = check(published, logs, self.may_resync)
            if time.monotonic() > end or not any(each.kind == "lost" for each in verdict.violations):
                return published, logs, verdict
            self._pace.wait(2.0)

    def may_resync(self, line: Line) -> bool:
        """Whether the fault in whose time this falls, or the one before it, is one that it answers."""
        before = [span for span in self.spans if span.begun <= line.t]
        return any(span.may_tell(line.why, line.where) for span in before[-2:])


def _say(text: str) -> None:
    print(text, flush=True)


def _names(given: argparse.Namespace) -> list[str]:
    known = possible(given.cluster, not given.sqlite)
    if not given.faults:
        return known
    chosen: list[str] = given.faults.split(",")
    for name in chosen:
        if name not in FAULTS:
            raise SystemExit(f"--faults {name}: is none of {', '.join(FAULTS)}")
    return chosen


def _judge(soak: Soak, result: Result, world: World) -> int:
    published, logs, verdict = result
    _say(render(make_rows(soak.spans, published, logs, verdict), soak.begun))
    counts = verdict.counts
    _say("")
    _say(
        f"{len(published)} events for {len(logs)} pages: {verdict.due} due, {verdict.delivered} delivered, "
        f"{verdict.missing} excused by a resync, {verdict.dropped} copies dropped by pages"
    )
    for line in world.answers.tell(soak.begun):
        _say(line)
    _say(", ".join(f"{kind} {counts[kind]}" for kind in KINDS))
    for line in tell(verdict, soak.begun):
        _say(line)
    for line in soak.strangers:
        _say(line)
    return BROKEN if verdict.violations or soak.strangers else 0


def main(words: Sequence[str] | None = None) -> int:
    """Runs it; the exit status."""
    arguments = argparse.ArgumentParser(prog="python -m tests.soak")
    arguments.add_argument("--seconds", type=float, default=60.0, help="how long things break")
    arguments.add_argument("--once", action="store_true", help="each fault once in place of so many seconds")
    arguments.add_argument("--clients", type=int, default=60, help="pages")
    arguments.add_argument("--rate", type=float, default=40.0, help="events a second")
    arguments.add_argument("--faults", default="", help=f"some of {', '.join(FAULTS)}; default: all that are possible")
    arguments.add_argument("--seed", type=int, default=random.randrange(1 << 16))
    arguments.add_argument("--cluster", action="store_true", help="three nodes of RabbitMQ, three daemons, Redis")
    arguments.add_argument("--sqlite", action="store_true", help="no PostgreSQL")
    arguments.add_argument("--sabotage", choices=SABOTAGES, default="", help="break the daemons and see it found")
    arguments.add_argument("--keep", type=Path, help="an empty folder for everything that was written")
    given = arguments.parse_args(words)
    names = _names(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))
    folder = given.keep or Path(tempfile.mkdtemp(prefix="livepush-soak-"))
    folder.mkdir(exist_ok=True)
    daemons = 3 if given.cluster else 2
    plan = Plan(given.clients, given.rate, given.cluster, daemons, given.cluster, not given.sqlite, given.sabotage)
    world = World(folder.resolve(), plan, keep=given.keep is not None)
    seconds = None if given.once else given.seconds
    soak = Soak(world, seconds, names, given.seed)
    _say(f"seed {given.seed}, {'once' if seconds is None else f'{seconds:.0f} s'}, {given.clients} pages")
    try:
        world.start()
        return _judge(soak, soak.run(), world)
    except SoakFailed as error:
        _say(f"the soak could not be done: {error}")
        return FAILED
    except Exception:  # a fault of the soak's own is no verdict
        traceback.print_exc()
        return FAILED
    finally:
        world.close()
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
