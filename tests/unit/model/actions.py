"""What a schedule can make happen. An action gets an integer, out of which it chooses whom and how much."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.model.broker import LOG
from tests.unit.model.publishers import RelayProcess, Worker
from tests.unit.model.world import CHANNELS, USERS, World

Action = Callable[[World, int], None]
ACTIONS: dict[str, Action] = {}

SECONDS = (0.05, 0.5, 2.5, 2.5, 6.0, 11.0)


def action(function: Action) -> Action:
    """Schedules know it by its name."""
    ACTIONS[function.__name__] = function
    return function


# -- publishers --------------------------------------------------------------------------------------------------------


@action
def publish(world: World, arg: int) -> None:
    """A worker commits an event, or a transaction writes a durable one."""
    channel = CHANNELS[arg // 8 % 2]
    if arg % 8 >= 6:
        world.publish_durable(channel, poison=arg % 61 == 7)
    else:
        key = f"k{arg // 64 % 2}" if arg // 16 % 4 == 0 else None
        world.publish(world.workers[arg % 2], channel, poison=arg % 61 == 7, key=key)


@action
def change(world: World, arg: int) -> None:
    """A right changes, and the control is committed with it."""
    world.change(world.workers[arg // 4 % 2], USERS[arg % 2], CHANNELS[arg // 2 % 2], group=arg % 7 == 0)


@action
def change_silently(world: World, arg: int) -> None:
    """A right changes, and nobody is told."""
    world.change(world.workers[0], USERS[arg % 2], CHANNELS[arg // 2 % 2], signal=False)


@action
def change_and_publish(world: World, arg: int) -> None:
    """A right changes, and an event of its channel, in one transaction."""
    change(world, arg)
    world.publish(world.workers[arg // 4 % 2], CHANNELS[arg // 2 % 2])


@action
def send(world: World, arg: int) -> None:
    sender = world.senders[arg % len(world.senders)]
    for _ in range(1 + arg // 8 % 3):
        sender.send()


@action
def hear(world: World, arg: int) -> None:
    """A publisher hears the broker's next answer."""
    world.senders[arg % len(world.senders)].hear()


@action
def cut_publisher(world: World, arg: int) -> None:
    world.senders[arg % len(world.senders)].cut()


@action
def restart_worker(world: World, arg: int) -> None:
    """A crash and a start, or the child of a fork: a new id, nothing inherited."""
    old = world.workers[arg % 2]
    world.lost = [fact for fact in world.lost if fact.publisher != old.name]
    world.workers[arg % 2] = Worker(world.fresh("web"), world.broker, world.clock.seconds)


@action
def turn(world: World, arg: int) -> None:
    """A relay deletes, numbers and loads."""
    world.relays[arg % len(world.relays)].turn()


@action
def start_relay(world: World, arg: int) -> None:
    """A second one while the first lives, or in its place."""
    new = RelayProcess(world.store, world.broker, world.clock.seconds)
    world.relays = [*world.relays[-1:], new] if arg % 2 else [new]


@action
def database(world: World, arg: int) -> None:
    """The relay's database goes, or comes back."""
    world.store.down = not world.store.down and arg % 2 == 0


# -- the broker --------------------------------------------------------------------------------------------------------


def _route(world: World, arg: int, nack: bool) -> None:
    transit = world.broker.transit
    if transit and world.broker.up:
        keys = list(transit)
        world.broker.route(keys[arg % len(keys)], nack=nack, skip=2 if arg % 5 == 0 else 0)


@action
def route(world: World, arg: int) -> None:
    """Copies reach a destination."""
    for extra in range(1 + arg // 16 % 3):
        _route(world, arg + extra, nack=False)


@action
def nack(world: World, arg: int) -> None:
    """The log refuses a copy, if that is where the next one goes."""
    _route(world, arg, nack=True)


@action
def nack_log(world: World, arg: int) -> None:
    """The log refuses a copy."""
    to_log = [key for key in world.broker.transit if key[1] == LOG]
    if to_log and world.broker.up:
        world.broker.route(to_log[arg % len(to_log)], nack=True)


@action
def broker_down(world: World, arg: int) -> None:
    world.broker.stop()
    for sender in world.senders:
        sender.cut()
    for process in world.processes:
        process.cut()


@action
def broker_up(world: World, arg: int) -> None:
    world.broker.up = True


@action
def alarm(world: World, arg: int) -> None:
    """A memory alarm, or its end: nobody who publishes is read."""
    world.broker.alarm = not world.broker.alarm


@action
def bind_log(world: World, arg: int) -> None:
    world.broker.bound = arg % 4 != 0


@action
def trim(world: World, arg: int) -> None:
    """The log loses its oldest records."""
    log = world.broker.log
    old = log[: arg % 4 if len(log) > 4 else 0]
    del log[: len(old)]
    for record in old:
        world.overtake(record)


@action
def make_log_anew(world: World, arg: int) -> None:
    world.broker.make_log_anew()
    for process in world.processes:
        process.cut()


# -- processes ---------------------------------------------------------------------------------------------------------


@action
def kill(world: World, arg: int) -> None:
    if world.processes[arg % 2].alive:
        world.processes[arg % 2].kill()


@action
def boot(world: World, arg: int) -> None:
    if not world.processes[arg % 2].alive:
        world.processes[arg % 2].boot()


@action
def cut_process(world: World, arg: int) -> None:
    world.processes[arg % 2].cut()


@action
def link(world: World, arg: int) -> None:
    world.processes[arg % 2].link()


@action
def read(world: World, arg: int) -> None:
    for _ in range(1 + arg // 2 % 5):
        world.processes[arg % 2].read()


@action
def deliver(world: World, arg: int) -> None:
    for _ in range(1 + arg // 2 % 3):
        world.processes[arg % 2].deliver()


@action
def read_database(world: World, arg: int) -> None:
    """An identification sees the database; its answer is still on its way."""
    jobs = [job for job in world.jobs if job.answer is None]
    if jobs:
        job = jobs[arg % len(jobs)]
        job.answer = world.entitled(job.user)


@action
def finish_job(world: World, arg: int) -> None:
    """An identification's answer is there; or, seldom, the pool has no room."""
    pairs = [(process.front.database, job) for process in world.processes for job in process.front.database.jobs]
    if pairs:
        database, job = pairs[arg % len(pairs)]
        if job.answer is None:
            job.answer = world.entitled(job.user)
        database.finish(job, busy=arg % 53 == 17)


@action
def sweep(world: World, arg: int) -> None:
    """What is done each minute: all are identified anew."""
    world.processes[arg % 2].front.sweep()


# -- browsers ----------------------------------------------------------------------------------------------------------


def _connect(world: World, arg: int, limit: int) -> None:
    ready = [process for process in world.processes if process.alive and process.ready]
    visitor = world.visitors[arg % 3]
    if ready and len(visitor.seats) < limit:
        visitor.connect(ready[arg // 3 % len(ready)])


@action
def connect(world: World, arg: int) -> None:
    _connect(world, arg, 1)


@action
def connect_second(world: World, arg: int) -> None:
    """Make before break."""
    _connect(world, arg, 2)


@action
def subscribe(world: World, arg: int) -> None:
    """A page begins to listen to the second channel."""
    world.visitors[arg % 3].want(CHANNELS[1])


@action
def serve(world: World, arg: int) -> None:
    """Requests reach the process."""
    for seat in world.seats:
        seat.serve()


@action
def flush(world: World, arg: int) -> None:
    """The kernel has room for what was written to a connection."""
    seats = world.seats
    if seats:
        for _ in range(1 + arg // 8 % 4):
            seats[arg % len(seats)].flush()


@action
def receive(world: World, arg: int) -> None:
    """A page reads from one of its sockets."""
    pairs = [(visitor, seat) for visitor in world.visitors for seat in visitor.seats]
    if pairs:
        visitor, seat = pairs[arg % len(pairs)]
        for _ in range(1 + arg // 8 % 4):
            visitor.receive(seat)


@action
def heartbeat(world: World, arg: int) -> None:
    seats = world.seats
    if seats:
        seats[arg % len(seats)].beat()


@action
def cut_browser(world: World, arg: int) -> None:
    seats = world.seats
    if seats:
        seats[arg % len(seats)].cut()


@action
def advance(world: World, arg: int) -> None:
    """Time passes."""
    world.clock.advance(SECONDS[arg % len(SECONDS)])
    for process in world.processes:
        process.tick()
