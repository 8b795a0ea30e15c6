"""Presence through real daemons, RabbitMQ and Redis: who looks at a channel is seen on every wire format and process,
whatever is killed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.backlog import Draft
from livepush.broker.envelope import Event, Kind, encode_event
from livepush.broker.names import event_key
from livepush.broker.presencestore import member_of
from livepush.broker.publisher import Publisher, PublisherSettings
from livepush.broker.redisurl import RedisURL
from livepush.broker.url import BrokerURL
from livepush.django.registry import Registry
from tests.integration.presence.site import DEADLINE, FORMATS, NAMES, Native, Visit, Watcher, site
from tests.servers.daemon import Daemon
from tests.servers.ports import free_port, free_ports
from tests.servers.rabbitmq import shared_rabbitmq
from tests.servers.redis import PrivateRedis, shared_redis


class PresenceCase(SynchronousTestCase):
    """A broker, a Redis, and daemons of the site of `site()`."""

    def setUp(self) -> None:
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        self.broker = vhost.url()

    def start(self, redis: str) -> tuple[Daemon, int]:
        """One daemon, ready, and its port."""
        port = free_port()
        environ = {"LIVEPUSH_BROKER_URL": self.broker, "LIVEPUSH_REDIS_URL": redis}
        daemon = Daemon(site().django, "--port", str(port), environ=environ, settings="rooms.settings")
        self.addCleanup(daemon.kill)
        daemon.wait_for("Feed ready")
        return daemon, port

    def look(self, port: int, name: str, kind: type[Visit] = Native, channel: str = "desk") -> Watcher:
        """A user's page."""
        visit = kind(port, site().users[name][1], channel)  # type: ignore[call-arg]
        self.addCleanup(visit.close)
        return Watcher(visit)

    def registry(self, redis: str) -> Registry:
        """What Django's own code asks."""
        registry = Registry(RedisURL.parse(redis), "livepush", 5.0)
        self.addCleanup(registry.close)
        return registry

    def publish(self, number: int, channel: str = "desk") -> None:
        """An event."""
        publisher = Publisher(PublisherSettings(BrokerURL.parse(self.broker)))
        self.addCleanup(publisher.close, 0.0)
        body = encode_event(Event(channel, "told", {"n": number}))
        publisher.publish(Draft(Kind.EVENT, event_key(channel, "told"), body)).result(DEADLINE)


class TwoProcessesTests(PresenceCase):
    """Two daemons, one Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = shared_redis().fresh_url()

    def test_formats_and_a_killed_process(self) -> None:
        """Four users over four wire formats at two processes see each other, and Django sees them; who may not see who
        is there is told nothing on any of them. One goes: he is seen to leave. A process is killed: its users leave
        within its time to live, and nobody else."""
        (_, one), (doomed, other) = self.start(self.redis), self.start(self.redis)
        names = NAMES[:4]
        pages = [
            self.look((one, other)[number % 2], name, kind)
            for number, (name, kind) in enumerate(zip(names, FORMATS, strict=True))
        ]
        for page in pages:
            page.until_here(site().pks(*names))
        registry = self.registry(self.redis)
        self.assertEqual(set(registry.users_on("desk")), site().pks(*names))
        members = [member_of(site().users[name][0]) for name in NAMES]
        self.assertEqual(registry.connected(members), [True, True, True, True, False])
        stats = registry.stats()
        self.assertEqual((stats.users, stats.channels), (4, {"desk": 4}))
        self.assertEqual(sorted(node.connections for node in stats.nodes), [2, 2])

        blind = [self.look(other, name, kind, "office") for name, kind in zip(NAMES[1:], FORMATS, strict=True)]
        seeing = self.look(one, "anna", Native, "office")
        seeing.until_here(site().pks(*NAMES))  # of them she alone may know
        self.publish(1, "office")
        for page in blind:
            self.assertEqual(page.until("event")["data"], {"n": 1})
            self.assertIs(page.here, None)
            page.visit.close()
        seeing.until_here(site().pks("anna"))
        seeing.visit.close()

        pages[0].visit.close()
        for page in pages[1:]:
            page.until_here(site().pks(*names[1:]))

        doomed.kill()
        pages[2].until_here(site().pks(names[2]))
        self.assertEqual(registry.stats().users, 1)

    def test_a_restart_nobody_sees(self) -> None:
        """A process ends in an orderly way; its user comes back at the other one, and was never away."""
        (ending, one), (_, other) = self.start(self.redis), self.start(self.redis)
        anna, boris = self.look(one, "anna"), self.look(other, "boris")
        for page in (anna, boris):
            page.until_here(site().pks("anna", "boris"))
        ending.terminate()
        self.look(other, "anna").until_here(site().pks("anna", "boris"))
        registry = self.registry(self.redis)
        while len(registry.stats().nodes) > 1:  # the process that ended is forgotten after its time to live
            pass
        self.look(other, "emil")
        boris.until_here(site().pks("anna", "boris", "emil"))
        self.assertEqual(boris.left, set())


class IllRedisTests(PresenceCase):
    """Redis is killed, frozen, flushed, foreign."""

    def test_goes_and_comes_back(self) -> None:
        """Redis freezes: events go on, pages are told that nobody knows, and it heals by itself. It is killed and comes
        back empty: events go on, and nobody is seen to leave."""
        redis = PrivateRedis()
        redis.start()
        self.addCleanup(redis.stop)
        (daemon, one), (_, other) = self.start(redis.url()), self.start(redis.url())
        anna, boris = self.look(one, "anna"), self.look(other, "boris")
        everybody = site().pks("anna", "boris")
        for page in (anna, boris):
            page.until_here(everybody)

        redis.freeze()
        self.publish(1)
        for page in (anna, boris):
            self.assertEqual(page.until("event")["data"], {"n": 1})
            page.until_here(None)
        daemon.wait_for("Who is present is not known; events go on.*does not answer within 1 s")
        redis.thaw()
        for page in (anna, boris):
            page.until_here(everybody)

        redis.kill()
        self.publish(2)
        for page in (anna, boris):
            self.assertEqual(page.until("event")["data"], {"n": 2})
        redis.start()  # and knows nothing any more
        self.look(one, "carla")
        for page in (anna, boris):
            page.until_here(site().pks("anna", "boris", "carla"))
            self.assertEqual(page.left, set())

    def test_never_there(self) -> None:
        """With a wrong password the daemon starts all the same, says why in one line, without it, and serves."""
        right = RedisURL.parse(shared_redis().fresh_url())
        daemon, port = self.start(f"redis://:wr0ng-s3cret@{right.host}:{right.port}/{right.database}")
        line = daemon.wait_for("Who is present is not known")
        self.assertIn("refuses the user, the password or a right of his: correct LIVEPUSH_REDIS_URL", line)
        page = self.look(port, "anna")
        page.until("welcome")
        self.publish(1)
        self.assertEqual(page.until("event")["data"], {"n": 1})
        self.assertEqual(
            page.until("presence"), {"op": "presence", "channel": "desk", "now": None, "why": "unavailable"}
        )
        self.assertNotIn("wr0ng", daemon.output)


class OneProcessTests(SynchronousTestCase):
    """No Redis and no RabbitMQ: one command."""

    def test_memory(self) -> None:
        """A process by itself knows its own users."""
        port, amqp = free_ports(2)
        daemon = Daemon(site().django, "--port", str(port), "--broker", f"embedded:{amqp}", settings="rooms.settings")
        self.addCleanup(daemon.kill)
        daemon.wait_for("Feed ready")
        pages = []
        for name, kind in zip(NAMES, FORMATS, strict=False):
            visit = kind(port, site().users[name][1], "desk")
            self.addCleanup(visit.close)
            pages.append(Watcher(visit))
        for page in pages:
            page.until_here(site().pks(*NAMES[:4]))
        pages[0].visit.close()
        pages[1].until_here(site().pks(*NAMES[1:4]))
