"""What can break, each thing for real.

A fault is two functions of the world and a time between them. Where something is lost for good, or nobody can prove
that nothing is, a fault says which reasons to reload are right answers to it, and from whom; after every other one, and
for all other pages, each must have been given everything, out of the queue or out of the past.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.servers.proxy import Mode
from tests.servers.rabbitmq import PrivateRabbitMQ
from tests.soak.world import World

ANEW = frozenset({"restart", "hole", "trimmed"})
"""A log that is another one, or does not go back far enough, proves nothing: all channels are told, missing or not."""

BURST = 2500
"""More than a daemon's queue is given ahead of its acknowledgements."""

FILL = 600
"""Events of some segments of the log."""

DECLARED_SECONDS = 1.5
"""RabbitMQ 3.10: a stream that is deleted within a second of being declared never comes up again under its name."""

Act = Callable[[World, int], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break.

    Attributes:
        name: in the table and on the command line.
        seconds: between `break_` and `heal`, multiplied by 0.5 to 1.5.
        break_, heal: do it and undo it; they are given a number that chooses among several targets.
        tells: why daemons may tell pages to reload (the words of the protocol).
        alone: only the daemon that it is done to may.
        cluster: it needs one, and only it does.
        redis: it needs one.
        postgresql: it needs a database server.
    """

    name: str
    seconds: float
    break_: Act
    heal: Act
    tells: frozenset[str] = frozenset()
    alone: bool = False
    cluster: bool = False
    postgresql: bool = False
    redis: bool = False


def _nothing(world: World, pick: int) -> None:
    """It heals by itself."""


def _kill_broker(world: World, pick: int) -> None:
    world.broker.node.kill()


def _start_broker(world: World, pick: int) -> None:
    world.broker.start()


def _freeze_broker(world: World, pick: int) -> None:
    world.broker.freeze()


def _thaw_broker(world: World, pick: int) -> None:
    world.broker.thaw()


def _link(mode: Mode) -> Act:
    def act(world: World, pick: int) -> None:
        names = sorted(world.proxies)
        one = pick % (len(names) + 1)
        chosen = names[one : one + 1] or names
        for name in chosen:
            world.proxies[name].set(mode)

    return act


def _pass_links(world: World, pick: int) -> None:
    for proxy in world.proxies.values():
        proxy.set(Mode.PASS)


def _daemon(world: World, pick: int) -> str:
    return world.daemons[pick % len(world.daemons)]


def _kill_daemon(world: World, pick: int) -> None:
    world.processes.kill(_daemon(world, pick))


def _end_daemon(world: World, pick: int) -> None:
    world.processes.end(_daemon(world, pick), 30)


def _start_daemon(world: World, pick: int) -> None:
    world.start_daemon(_daemon(world, pick))


def _freeze_daemon(world: World, pick: int) -> None:
    world.processes.signal(_daemon(world, pick), signal.SIGSTOP)


def _thaw_daemon(world: World, pick: int) -> None:
    world.processes.signal(_daemon(world, pick), signal.SIGCONT)


def _cut_pages(world: World, pick: int) -> None:
    world.processes.signal("pages", signal.SIGUSR1)


def _kill_worker(world: World, pick: int) -> None:
    world.kill_a_worker(pick)


def _kill_relay(world: World, pick: int) -> None:
    world.processes.kill("relay")


def _start_relay(world: World, pick: int) -> None:
    world.start_relay()


def _overflow(world: World, pick: int) -> None:
    world.broker.narrow(10)
    _freeze_daemon(world, pick)
    world.burst(BURST)


def _widen(world: World, pick: int) -> None:
    _thaw_daemon(world, pick)
    world.broker.narrow(None)


def _alarm(world: World, pick: int) -> None:
    world.broker.alarm(memory=True)


def _calm(world: World, pick: int) -> None:
    world.broker.alarm(memory=False)


def _cut_daemon(world: World, pick: int) -> None:
    world.proxies[_daemon(world, pick)].set(Mode.CUT)


def _remake_log(world: World, pick: int) -> None:
    """What a daemon did not see before is in no queue and no log: it can only say so."""
    world.broker.delete_log()
    world.broker.declare()
    threading.Event().wait(DECLARED_SECONDS)
    _pass_links(world, pick)


def _lose_log(world: World, pick: int) -> None:
    """As above, for a daemon that begins anew, and for the pages that come back to it."""
    _remake_log(world, pick)
    _start_daemon(world, pick)


def _trim_without(world: World, pick: int) -> None:
    """A daemon that begins anew finds less than the pages know that wait for it; the other daemon has seen it all."""
    _kill_daemon(world, pick)
    world.broker.trim_log(lambda: world.burst(FILL))


def _trim_behind(world: World, pick: int) -> None:
    """Where a daemon stopped reading there is nothing any more, and its queue went with its connection."""
    _cut_daemon(world, pick)
    world.broker.trim_log(lambda: world.burst(FILL))


def _kill_database(world: World, pick: int) -> None:
    assert world.database is not None
    world.database.kill()


def _start_database(world: World, pick: int) -> None:
    assert world.database is not None
    world.database.start()


def _kill_leader(world: World, pick: int) -> None:
    _kill_node(world, world.broker.leader())


def _kill_follower(world: World, pick: int) -> None:
    leader = world.broker.leader()
    followers = [node for node in world.broker.nodes if node is not leader]
    _kill_node(world, followers[pick % len(followers)])


def _kill_node(world: World, node: PrivateRabbitMQ) -> None:
    """It goes, and what led to it leads to another one, as behind a balancer."""
    node.kill()
    living = [each for each in world.broker.nodes if each.running]
    for place, proxy in enumerate(world.proxies.values()):
        if proxy.target == node.port:
            proxy.target = living[place % len(living)].port


def _kill_redis(world: World, pick: int) -> None:
    assert world.redis is not None
    world.redis.kill()


def _start_redis(world: World, pick: int) -> None:
    """It comes back empty."""
    assert world.redis is not None
    world.redis.start()


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("broker-kill", 1.0, _kill_broker, _start_broker),
        Fault("broker-stop", 5.0, _freeze_broker, _thaw_broker),
        Fault("link-cut", 2.0, _link(Mode.CUT), _pass_links),
        Fault("link-blackhole", 10.0, _link(Mode.BLACKHOLE), _pass_links),
        Fault("link-slow", 5.0, _link(Mode.SLOW), _pass_links),
        Fault("daemon-kill", 2.0, _kill_daemon, _start_daemon),
        Fault("daemon-term", 2.0, _end_daemon, _start_daemon),
        Fault("daemon-stop", 6.0, _freeze_daemon, _thaw_daemon),
        Fault("pages-cut", 0.5, _cut_pages, _nothing),
        Fault("worker-kill", 0.5, _kill_worker, _nothing),
        Fault("relay-kill", 1.0, _kill_relay, _start_relay),
        Fault("overflow", 0.5, _overflow, _widen),
        Fault("memory-alarm", 4.0, _alarm, _calm),
        Fault("log-remade", 2.0, _cut_daemon, _remake_log, tells=ANEW),
        Fault("log-lost", 2.0, _kill_daemon, _lose_log, tells=ANEW),
        Fault("log-trimmed", 1.0, _trim_without, _start_daemon, tells=frozenset({"trimmed", "hole"}), alone=True),
        Fault("log-outrun", 1.0, _trim_behind, _pass_links, tells=ANEW, alone=True),
        Fault("database-kill", 2.0, _kill_database, _start_database, postgresql=True),
        Fault("leader-kill", 3.0, _kill_leader, _start_broker, cluster=True),
        Fault("follower-kill", 3.0, _kill_follower, _start_broker, cluster=True),
        Fault("redis-kill", 6.0, _kill_redis, _start_redis, redis=True),
    )
}
"""All of them, by name."""


def possible(cluster: bool, postgresql: bool) -> list[str]:
    """Those that this world can have.

    A cluster has a Redis; there a node's end is the point, and a lone node is not to be killed.
    """
    if cluster:
        return ["leader-kill", "follower-kill", "link-cut", "daemon-kill", "redis-kill"]
    return [
        fault.name
        for fault in FAULTS.values()
        if not fault.cluster and not fault.redis and (postgresql or not fault.postgresql)
    ]
