"""The registries: one suite for all, then what only Redis can do, and what it does when it is ill."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from livepush.broker.redisurl import RedisURL
from livepush.daemon.redisregistry import RedisRegistry
from livepush.daemon.registry import MemoryRegistry, NotEnrolled, Registry, RegistryUnavailable, Store
from tests.integration.presence.contract import ABOUT, MOST, RegistryContract
from tests.servers.ports import free_port
from tests.servers.redis import PrivateRedis, shared_redis


class MemoryTests(RegistryContract, TestCase):
    """The registry of one process; two of them share what they know, as one process's parts do."""

    def setUp(self) -> None:
        self.store, self.nodes = Store(), 0

    async def connect(self) -> Registry:
        self.nodes += 1
        return MemoryRegistry(self.store, str(self.nodes))


class RedisCase(TestCase):
    """An empty database of a real Redis."""

    def setUp(self) -> None:
        self.server = shared_redis()
        self.url = self.server.fresh_url()
        self.nodes = 0

    async def connect(self, url: str | None = None, **settings: Any) -> RedisRegistry:
        """One process more, not enrolled; its time to live is 60 s, and of each call 10 s, if not told."""
        self.nodes += 1
        settings = {"ttl_seconds": 60.0, "timeout_seconds": 10.0, **settings}
        registry = RedisRegistry(reactor, RedisURL.parse(url or self.url), f"node-{self.nodes}", **settings)
        self.addCleanup(lambda: Deferred.fromCoroutine(registry.close()))
        return registry

    async def why(self, registry: RedisRegistry) -> str:
        """What it says when it can't be asked."""
        failed: Deferred[Any] = self.assertFailure(Deferred.fromCoroutine(registry.enroll([])), RegistryUnavailable)
        return str(await failed)

    def redis(self, *words: str) -> str:
        """What a command answers."""
        return self.server.cli(*words, database=RedisURL.parse(self.url).database)


class RedisTests(RedisCase, RegistryContract):
    """The registry of many processes."""


class ProcessesTests(RedisCase):
    """Processes that die, freeze, are forgotten, and race."""

    async def test_killed(self) -> None:
        """The users of a process that gives no more pulses leave when its time is over, and those of others stay."""
        dead, alive = await self.connect(ttl_seconds=0.2), await self.connect()
        await dead.enroll([("orders", str(user)) for user in range(700)])
        await alive.enroll([("orders", "7")])
        members: Any = None
        while members != {"7"}:  # a part of them with each pulse
            await alive.pulse(0, ABOUT)
            members = (await alive.rolls(["orders"], MOST))["orders"].members
        self.assertEqual(self.redis("ZRANGE", "{livepush}:nodes", "0", "-1"), "node-2")
        self.assertEqual(self.redis("EXISTS", "{livepush}:held:node-1"), "0")

    async def test_awake_again(self) -> None:
        """A process that was away for too long is told that it was forgotten, and comes back with all its places."""
        frozen, other = await self.connect(ttl_seconds=0.1), await self.connect()
        await frozen.enroll([("orders", "7")])
        await other.enroll([])
        while (await other.rolls(["orders"], MOST))["orders"].count:
            await other.pulse(0, ABOUT)
        await self.assertFailure(Deferred.fromCoroutine(frozen.pulse(0, ABOUT)), NotEnrolled)
        await frozen.enroll([("orders", "7")])
        self.assertEqual((await other.rolls(["orders"], MOST))["orders"].members, {"7"})

    async def test_flushed(self) -> None:
        """After FLUSHALL every process is told that it is not known, and revisions go on growing."""
        one, other = await self.connect(), await self.connect()
        await one.enroll([("orders", "7")])
        await other.enroll([("orders", "8")])
        before = (await one.pulse(0, ABOUT)).revision
        self.redis("FLUSHDB")
        for registry, user in ((one, "7"), (other, "8")):
            await self.assertFailure(Deferred.fromCoroutine(registry.pulse(before, ABOUT)), NotEnrolled)
            await registry.enroll([("orders", user)])
        roll = (await one.rolls(["orders"], MOST))["orders"]
        self.assertEqual(roll.members, {"7", "8"})
        self.assertGreater(roll.revision, before)

    async def test_young(self) -> None:
        """A store that was made a moment ago says that it may not know everybody yet, and after a while no more."""
        one, other = await self.connect(), await self.connect()
        await one.enroll([])
        self.assertTrue((await one.pulse(0, ABOUT)).young)
        self.assertGreater(int(self.redis("PTTL", "{livepush}:young")), 1000)
        self.redis("PEXPIRE", "{livepush}:young", "1")
        while (await one.pulse(0, ABOUT)).young:
            pass
        await other.enroll([])
        self.assertFalse((await other.pulse(0, ABOUT)).young)

    async def test_race(self) -> None:
        """Twenty processes that take and give up the same places all at once leave exactly what is held."""
        registries = [await self.connect() for _ in range(20)]
        await gatherResults([Deferred.fromCoroutine(each.enroll([])) for each in registries])
        users = [("orders", str(user)) for user in range(10)]

        async def live(registry: RedisRegistry, number: int) -> None:
            for turn in range(10):
                await registry.move(users[turn % 3 :], [])
                await registry.move([], users[: 5 + turn % 4])
            await registry.move([], users)
            if number == 0:
                await registry.move(users[:1], [])

        await gatherResults([Deferred.fromCoroutine(live(each, number)) for number, each in enumerate(registries)])
        self.assertEqual((await registries[0].rolls(["orders"], MOST))["orders"].members, {"0"})
        self.assertEqual(self.redis("HGETALL", "{livepush}:on:orders"), "0\n1")

    async def test_prefix(self) -> None:
        """Two sites with different prefixes share a database and know nothing of each other."""
        one, other = await self.connect(), await self.connect(prefix="shop")
        await one.enroll([("orders", "7")])
        await other.enroll([("orders", "8")])
        self.assertEqual((await one.rolls(["orders"], MOST))["orders"].members, {"7"})
        keys = self.redis("KEYS", "*").split()
        self.assertTrue(all(key.startswith(("{livepush}:", "{shop}:")) for key in keys), keys)

    async def test_nothing_is_left(self) -> None:
        """When all have gone, what stays in Redis does not grow with the users and channels that there were."""
        registry = await self.connect()
        await registry.enroll([])
        places = [(f"chat.{number}", str(number)) for number in range(500)]
        await registry.move(places, [])
        await registry.move([], places)
        self.assertEqual(
            sorted(self.redis("KEYS", "*").split()),
            ["{livepush}:changed", "{livepush}:nodes", "{livepush}:revision", "{livepush}:young"],
        )


class IllTests(RedisCase):
    """Redis is away, slow, foreign, or wants another password: one clear line, and the next call tries again."""

    def setUp(self) -> None:
        super().setUp()
        self.own = PrivateRedis()
        self.own.start()
        self.addCleanup(self.own.stop)

    async def test_away_and_back(self) -> None:
        """A Redis that was killed is told as such, and found again by the next call after its restart."""
        registry = await self.connect(self.own.url())
        await registry.enroll([("orders", "7")])
        self.own.kill()
        first = await self.why(registry)
        self.assertTrue("lost" in first or "nothing listens" in first, first)
        self.assertIn("nothing listens there: start Redis", await self.why(registry))
        self.own.start()
        await registry.enroll([("orders", "7")])
        self.assertEqual((await registry.rolls(["orders"], MOST))["orders"].members, {"7"})

    async def test_frozen(self) -> None:
        """A Redis that does not answer costs the time limit and no more, and its late answers are nobody's."""
        registry = await self.connect(self.own.url(), timeout_seconds=0.3)
        await registry.enroll([("orders", "7")])
        self.own.freeze()
        self.assertIn("does not answer within 0.3 s", await self.why(registry))
        self.assertIn("does not answer within 0.3 s", await self.why(registry))  # nor does a new connection
        self.own.thaw()
        await registry.enroll([("orders", "8")])
        self.assertEqual((await registry.rolls(["orders"], MOST))["orders"].members, {"8"})

    async def test_password(self) -> None:
        """A wrong password is told without being shown; with the right one later it goes on by itself."""
        registry = await self.connect(self.own.url(password="wr0ng-s3cret"))
        why = await self.why(registry)
        self.assertIn("refuses the user, the password or a right of his: correct LIVEPUSH_REDIS_URL", why)
        self.assertNotIn("wr0ng", why)
        self.own.cli("CONFIG", "SET", "requirepass", "wr0ng-s3cret")
        await registry.enroll([])

    async def test_read_only(self) -> None:
        """A replica that takes no writes is told as what it is."""
        self.own.cli("REPLICAOF", "127.0.0.1", str(free_port()))
        self.assertIn("refuses a command", await self.why(await self.connect(self.own.url())))

    async def test_full(self) -> None:
        """A Redis without memory is told as what it is."""
        self.own.cli("CONFIG", "SET", "maxmemory", "1")
        self.assertIn("refuses a command: OOM", await self.why(await self.connect(self.own.url())))

    async def test_scripts_flushed(self) -> None:
        """A Redis that has forgotten the scripts is told them again."""
        registry = await self.connect(self.own.url())
        await registry.enroll([])
        await registry.pulse(0, ABOUT)
        self.own.cli("SCRIPT", "FLUSH")
        await registry.pulse(0, ABOUT)

    async def test_database(self) -> None:
        """A database that is not there is told."""
        self.assertIn("refuses a command", await self.why(await self.connect(self.own.url(database=99_999))))


class OddTests(RedisCase):
    """What is no Redis at all."""

    async def serve(self, answer: bytes | None) -> str:
        """The address of a server that answers so to the first word, or hangs up."""

        class Odd(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                if answer is None:
                    self.transport.loseConnection()
                else:
                    self.transport.write(answer)

        factory = Factory.forProtocol(Odd)
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return f"redis://127.0.0.1:{port.getHost().port}/0"

    async def test_others(self) -> None:
        """A web server, a stream of rubbish, one who hangs up: each is told in time, and nothing hangs."""
        answers = (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"+OK\r\n",
            b"$3\r\n{{{\r\n",
            b"*1\r\n:5\r\n",
            b"\xff" * 50_000,
            None,
        )
        for answer in answers:
            registry = await self.connect(await self.serve(answer), timeout_seconds=0.3)
            self.assertIn("redis://127.0.0.1:", await self.why(registry))

    async def test_no_host(self) -> None:
        """A name that nobody knows is told."""
        registry = await self.connect("redis://no.such.host.invalid:6379/0")
        self.assertIn("no such host is known", await self.why(registry))

    async def test_closed(self) -> None:
        """Who has closed it can ask nothing more, and leaves no connection behind."""
        registry = await self.connect()
        await registry.enroll([])
        await registry.close()
        self.assertIn("closed", await self.why(registry))


class TLSTests(RedisCase):
    """Redis over TLS."""

    async def test_tls(self) -> None:
        """It is spoken to a server whose authority is named, and to no other."""
        server = PrivateRedis(tls=True)
        server.start()
        self.addCleanup(server.stop)
        url = server.url()
        trusting = await self.connect(f"{url}?cacertfile={server.certificate.path}")
        await trusting.enroll([("orders", "7")])
        self.assertEqual((await trusting.rolls(["orders"], MOST))["orders"].count, 1)
        self.assertIn("TLS failed: the certificate", await self.why(await self.connect(url)))
        missing = await self.connect(f"{url}?cacertfile=/no/such/file")
        self.assertIn("can't load /no/such/file", await self.why(missing))
