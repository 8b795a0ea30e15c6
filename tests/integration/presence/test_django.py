"""What Django's own code asks of presence, of a real Redis that a daemon's registry writes to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.test import override_settings
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from livepush.broker.presencestore import member_of
from livepush.broker.redisurl import RedisURL
from livepush.daemon.redisregistry import RedisRegistry
from livepush.daemon.registry import Place
from livepush.django import PresenceUnavailable, online, presence, stats
from livepush.django.errors import UndeclaredChannel
from livepush.django.registry import Registry, site_registry
from tests.servers.redis import PrivateRedis, shared_redis

PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/presence.md"
ABOUT = {"host": "web1", "pid": 5, "started": 1_700_000_000, "connections": 12}


class AskingCase(TestCase):
    """A Redis, and a daemon that has told it something."""

    async def daemon(self, url: str, *places: Place, name: str = "web1.5.abc", **settings: Any) -> RedisRegistry:
        """A process that has enrolled with these places, in a store that is not young any more."""
        registry = RedisRegistry(reactor, RedisURL.parse(url), name, **{"ttl_seconds": 60.0, **settings})
        self.addCleanup(lambda: Deferred.fromCoroutine(registry.close()))
        await registry.enroll(places)
        await registry.pulse(0, ABOUT)
        return registry

    def use(self, url: str | None) -> None:
        """Django's settings name this Redis."""
        override = override_settings(LIVEPUSH_REDIS_URL=url)
        override.enable()
        self.addCleanup(override.disable)
        if url is not None:
            self.addCleanup(site_registry().close)


class AnswersTests(AskingCase):
    def setUp(self) -> None:
        self.server = shared_redis()
        self.url = self.server.fresh_url()
        self.use(self.url)

    def grow_up(self) -> None:
        """The store is not young any more."""
        self.server.cli("DEL", "{livepush}:young", database=RedisURL.parse(self.url).database)

    async def test_presence(self) -> None:
        """The primary keys of the users on a channel, as the user model has them."""
        await self.daemon(self.url, ("orders", "7"), ("orders", '"8"'), ("other", "9"))
        self.grow_up()
        self.assertEqual(presence("orders"), {7, 8})

    async def test_online(self) -> None:
        """Of users, primary keys or both: those who are connected, in one question for five hundred."""
        await self.daemon(self.url, ("", "7"), ("", "2000"), ("orders", "9"))
        self.grow_up()
        self.assertEqual(online([User(pk=7), 7, 9, User(pk=2000), User(), AnonymousUser(), *range(3000)]), {7, 2000})
        self.assertEqual(online([]), set())

    async def test_stats(self) -> None:
        """The processes with what they told last, all users once, and channels with somebody on them."""
        await self.daemon(self.url, ("", "7"), ("", "8"), ("orders", "7"))
        await self.daemon(self.url, ("", "8"), ("orders", "8"), ("chat.5", "8"), name="web2.6.def")
        self.grow_up()
        found = stats()
        self.assertEqual((found.users, found.channels), (2, {"orders": 2, "chat.5": 1}))
        self.assertEqual(sorted(node.name for node in found.nodes), ["web1.5.abc", "web2.6.def"])
        node = found.nodes[0]
        self.assertEqual((node.host, node.pid, node.started, node.connections), ("web1", 5, 1_700_000_000, 12))

    async def test_nobody(self) -> None:
        """Nobody is an answer, too."""
        await self.daemon(self.url)
        self.grow_up()
        self.assertEqual((presence("orders"), online([7]), stats().users, stats().channels), (set(), set(), 0, {}))

    async def test_last_process_has_gone(self) -> None:
        """When the last daemon has gone without a word, its users are not present for ever."""
        await self.daemon(self.url, *(("orders", str(user)) for user in range(1200)), ttl_seconds=0.05)
        self.grow_up()
        while presence("orders"):
            pass
        self.assertEqual((stats().nodes, online(range(10))), ((), set()))

    async def test_young(self) -> None:
        """A store that was made a moment ago does not say who is away."""
        await self.daemon(self.url, ("orders", "7"))
        error = self.assertRaises(PresenceUnavailable, presence, "orders")
        self.assertIn("ask again in 2.5 s", str(error))

    def test_no_daemon(self) -> None:
        """A Redis that no daemon has ever told anything is told as such: a wrong address, mostly."""
        error = self.assertRaises(PresenceUnavailable, stats)
        self.assertIn("knows of no daemon under the prefix {livepush}", str(error))

    def test_wrong_channels(self) -> None:
        """A channel that is not declared, and one that keeps no presence, are refused where they are asked for."""
        self.assertRaises(UndeclaredChannel, presence, "no.such")

    def test_members(self) -> None:
        """A primary key has one form, for those who connect and for those who ask."""
        keys = [7, "7", 2**53 - 1, 2**53, -5, UUID(int=5), "ä", True]
        members = [member_of(key) for key in keys]
        expected = ["7", '"7"', str(2**53 - 1), f'"{2**53}"', "-5", f'"{UUID(int=5)}"', '"ä"', '"True"']
        self.assertEqual(members, expected)


class IllTests(AskingCase):
    """Redis is away, does not answer, or is not there at all."""

    def setUp(self) -> None:
        self.server = PrivateRedis()
        self.server.start()
        self.addCleanup(self.server.stop)

    def assert_unavailable(self, *parts: str) -> None:
        """All three say so."""
        for ask in (stats, lambda: presence("orders"), lambda: online([7])):
            text = str(self.assertRaises(PresenceUnavailable, ask))
            for part in parts:
                self.assertIn(part, text)
            self.assertNotIn(self.server.password, text)

    def test_without_redis(self) -> None:
        """Without the setting they say what is missing."""
        self.use(None)
        self.assert_unavailable("LIVEPUSH_REDIS_URL is not set")

    async def test_away_and_back(self) -> None:
        """A Redis that was killed is told, and so it is when it does not answer; what comes back is found again."""
        url = self.server.url()
        self.use(url)
        await self.daemon(url, ("orders", "7"))
        self.server.cli("DEL", "{livepush}:young")
        self.assertEqual(presence("orders"), {7})
        self.server.kill()
        self.assert_unavailable("can't be asked", "look at Redis")
        self.server.start()
        await self.daemon(url, ("orders", "8"))
        self.server.cli("DEL", "{livepush}:young")
        self.assertEqual(presence("orders"), {8})
        self.server.freeze()
        with override_settings(LIVEPUSH_REDIS_TIMEOUT=0.1):
            self.addCleanup(site_registry().close)
            self.assert_unavailable("Timeout")
        self.server.thaw()

    def test_password(self) -> None:
        """A wrong password is told without being shown."""
        self.use(self.server.url(password="wr0ng-s3cret"))
        text = str(self.assertRaises(PresenceUnavailable, stats))
        self.assertIn("can't be asked (AuthenticationError", text)
        self.assertNotIn("wr0ng", text)

    async def test_least_privilege(self) -> None:
        """The account that the how-to page makes is enough for daemons and for Django, and for nothing else."""
        (line,) = re.findall(r"^ACL SETUSER livepush on >password (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
        self.server.cli("ACL", "SETUSER", "livepush", "on", ">password", *line.split())
        url = f"redis://livepush:password@127.0.0.1:{self.server.port}/1"
        self.use(url)
        dead = await self.daemon(url, ("orders", "9"), name="dead", ttl_seconds=0.05)
        registry = await self.daemon(url, ("orders", "7"), ("", "7"))
        await dead.close()
        await registry.move([("chat.5", "7")], [("orders", "8")])
        await registry.rolls(["orders"], 10)
        self.server.cli("DEL", "{livepush}:young", database=1)
        while presence("orders") != {7}:
            pass
        self.assertEqual((online([7]), stats().users), ({7}, 1))
        registry = await self.daemon(url, *((f"chat.{number}", "7") for number in range(10_001)))  # drops the oldest
        denied = Registry(RedisURL.parse(url), "shop", 5.0)
        self.addCleanup(denied.close)
        self.assertIn("can't be asked", str(self.assertRaises(PresenceUnavailable, denied.stats)))

    async def test_tls(self) -> None:
        """It is spoken to a server whose authority is named, and to no other."""
        server = PrivateRedis(tls=True)
        server.start()
        self.addCleanup(server.stop)
        url = f"{server.url()}?cacertfile={server.certificate.path}"
        await self.daemon(url, ("orders", "7"))
        server.cli("DEL", "{livepush}:young")
        self.use(url)
        self.assertEqual(presence("orders"), {7})
        self.use(server.url())
        self.assertIn("CERTIFICATE_VERIFY_FAILED", str(self.assertRaises(PresenceUnavailable, stats)))

    async def test_fork(self) -> None:
        """A child that is forked has connections of its own, and the parent's go on."""
        url = self.server.url()
        self.use(url)
        await self.daemon(url, ("orders", "7"))
        self.server.cli("DEL", "{livepush}:young")
        presence("orders")
        child = _ask_in_child()
        self.assertEqual(presence("orders"), {7})
        self.assertEqual(_end_of(child), 0)


def _ask_in_child() -> int:
    """A forked child that asks; its process."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if presence("orders") == {7} else 1)
    return pid


def _end_of(pid: int) -> int:
    """How it ended."""
    return os.waitpid(pid, 0)[1]
