"""The end of a schedule: all faults stop, and the promises are judged.

wedge       everybody is ready, connected, up to date and has nothing left to send
missing     of a publisher, nothing later on a channel comes before an event that was confirmed, nor before the
            reload that stands for it; and it comes. A newer version of its key stands for it
leak, order and duplicate are seen when they happen, in `world` and `visitor`
"""

from __future__ import annotations

from tests.unit.model.actions import advance, connect, finish_job, subscribe, sweep
from tests.unit.model.visitor import Heard, Violation, Visitor
from tests.unit.model.world import Fact, World

ROUNDS, FEWEST = 40, 10


def heal(world: World) -> None:
    """All faults stop, and everybody does what he can, until nothing is left to do or for a minute and a half."""
    world.broker.up, world.broker.alarm, world.broker.bound = True, False, True
    world.store.down = False
    for process in world.processes:
        if not process.alive:
            process.boot()
    subscribe(world, 2)
    for done in range(ROUNDS):
        _round(world)
        if done % 8 == 6:
            sweep(world, 0)
            sweep(world, 1)
            _round(world)
        if done >= FEWEST and unfinished(world) is None:
            return


def _round(world: World) -> None:
    world.step += 1
    broker = world.broker
    busy = True
    while busy:
        busy = False
        for sender in world.senders:
            while sender.send():
                busy = True
        while broker.transit:
            broker.route(next(iter(broker.transit)))
        for sender in world.senders:
            while sender.hear():
                busy = True
    for relay in world.relays:
        relay.turn()
    for process in world.processes:
        for _ in range(4):
            while process.link():
                while broker.transit:
                    broker.route(next(iter(broker.transit)))
            while process.read() or process.deliver():
                pass
    for number, visitor in enumerate(world.visitors):
        connect(world, number)
        while world.jobs:
            finish_job(world, 0)
        for seat in list(visitor.seats):
            while not seat.closed and (seat.serve() or seat.flush() or visitor.receive(seat)):
                pass
    advance(world, 2)


def unfinished(world: World) -> str | None:
    """What somebody has still to do."""
    for process in world.processes:
        if not process.ready:
            return f"{process.name} is {process.phase}"
    for sender in (*world.workers, world.relays[-1]):
        if len(sender.carried):
            return f"{sender.name} keeps {len(sender.carried)} messages"
    if any(not row.failed for row in world.store.rows.values()):
        return "rows are left in the outbox"
    for visitor in world.visitors:
        seats = list(visitor.seats)
        if not seats or not visitor.seats[seats[0]].welcomed:
            return f"{visitor.name} is not connected"
        if seats[0].busy or seats[0].has - {f"user.{visitor.user}"} != world.entitled(visitor.user):
            return f"{visitor.name} is not up to date"
    return None


def judge(world: World) -> None:
    """The promises.

    Raises:
        Violation: one was broken; the first word says which.
    """
    left = unfinished(world)
    if left is not None:
        raise Violation(f"wedge: {left}")
    due = world.safe - world.unlogged - world.void - world.overtaken
    promised = [fact for fact in world.facts.values() if fact.id in due]
    for visitor in world.visitors:
        for fact in (*promised, *world.lost):
            channels = [fact.channel] if fact.channel else list(visitor.started)
            for channel in channels:
                if _concerns(world, visitor, channel, fact):
                    _find(visitor, channel, fact)


def _concerns(world: World, visitor: Visitor, channel: str, fact: Fact) -> bool:
    """Whether he was there and allowed to hear it, from then on to the end."""
    entitled = world.granted.get((visitor.user, channel))
    return entitled is not None and entitled <= fact.step and visitor.started.get(channel, fact.step) < fact.step


def _find(visitor: Visitor, channel: str, fact: Fact) -> None:
    for heard in visitor.heard[channel]:
        if heard.step < fact.step:
            continue
        if _stands_for(heard, fact):
            return
        late = heard.publisher == fact.publisher and heard.number > fact.number
        if late and fact.kind != "lost" and not fact.key:  # what has a key may be stood for by something later
            later = f"{heard.publisher}-{heard.number}"
            raise Violation(f"missing: {visitor.name} got {later} on {channel} before {fact.kind} {fact.id}")
    raise Violation(f"missing: {visitor.name} never got {fact.kind} {fact.id} on {channel}")


def _stands_for(heard: Heard, fact: Fact) -> bool:
    if not heard.publisher:
        return True  # a reload
    if (heard.publisher, heard.number) == fact.id:
        return True
    return bool(fact.key) and heard.key == fact.key and heard.version > fact.version
