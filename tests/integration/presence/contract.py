"""What a registry owes, whatever it is made of: the suite that each of them passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from livepush.broker.presencestore import CHANNELS, PLACES
from livepush.daemon.registry import NotEnrolled, Pulse, Registry

if TYPE_CHECKING:
    Base = TestCase
else:
    Base = object

ABOUT = {"pid": 5}
MOST = 10_000


class RegistryContract(Base):
    """Two processes at one registry."""

    async def connect(self) -> Registry:
        """One process more, not enrolled."""
        raise NotImplementedError

    async def pair(self) -> tuple[Registry, Registry]:
        """Two processes, enrolled, without a place."""
        one, other = await self.connect(), await self.connect()
        await one.enroll([])
        await other.enroll([])
        return one, other

    async def members(self, registry: Registry, channel: str = "orders") -> set[str] | None:
        """Who is on a channel."""
        roll = (await registry.rolls([channel], MOST))[channel]
        return None if roll.members is None else set(roll.members)

    async def revision(self, registry: Registry) -> int:
        """That of the registry now."""
        return (await registry.pulse(0, ABOUT)).revision

    async def changed(self, registry: Registry, since: int) -> set[str] | None:
        """The channels that have changed since."""
        found = (await registry.pulse(since, ABOUT)).changed
        return None if found is None else set(found)

    async def test_first_and_last(self) -> None:
        """The first process that takes a place changes the roll, and the last one that gives it up; others do not."""
        one, other = await self.pair()
        place = ("orders", "7")
        await one.move([place], [])
        self.assertEqual(await self.members(other), {"7"})
        first = await self.revision(other)
        await other.move([place], [])
        await one.move([], [place])
        self.assertEqual(await self.members(one), {"7"})
        self.assertEqual(await self.revision(one), first)
        await other.move([], [place])
        self.assertEqual(await self.members(one), set())
        self.assertGreater(await self.revision(one), first)

    async def test_repeated(self) -> None:
        """What is said twice is done once: who does not know whether it was done says it again."""
        one, other = await self.pair()
        for _ in range(2):
            await one.move([("orders", "7")], [])
        await other.move([("orders", "7")], [])
        for _ in range(2):
            await one.move([], [("orders", "7")])
        self.assertEqual(await self.members(one), {"7"})
        await other.move([], [("orders", "7"), ("orders", "8"), ("never", "9")])
        self.assertEqual(await self.members(one), set())

    async def test_enroll(self) -> None:
        """Enrolling again puts right what a process holds, and touches nobody else's places."""
        one, other = await self.pair()
        await one.move([("orders", "7"), ("orders", "8")], [])
        await other.move([("orders", "8"), ("orders", "9")], [])
        await one.enroll([("orders", "7"), ("news", "7")])
        self.assertEqual(await self.members(one), {"7", "8", "9"})
        await one.enroll([])
        self.assertEqual((await self.members(one), await self.members(one, "news")), ({"8", "9"}, set()))

    async def test_enrolled_alike(self) -> None:
        """Enrolling with what is held already changes no roll."""
        one, _ = await self.pair()
        await one.move([("orders", "7")], [])
        before = await self.revision(one)
        await one.enroll([("orders", "7")])
        self.assertEqual(await self.revision(one), before)

    async def test_not_enrolled(self) -> None:
        """A process that is not known is told so, and nothing is done."""
        stranger, known = await self.connect(), (await self.pair())[0]
        await self.assertFailure(self.deferred(stranger.move([("orders", "7")], [])), NotEnrolled)
        await self.assertFailure(self.deferred(stranger.pulse(0, ABOUT)), NotEnrolled)
        self.assertEqual(await self.members(known), set())

    async def test_revisions(self) -> None:
        """Each change has a higher revision, and a channel's is that of its own last change."""
        one, other = await self.pair()
        found = []
        for user in range(5):
            await one.move([("orders", str(user))], [])
            found.append((await other.rolls(["orders"], MOST))["orders"].revision)
        self.assertEqual(found, sorted(set(found)))
        await one.move([("news", "1")], [])
        rolls = await other.rolls(["orders", "news"], MOST)
        self.assertEqual(rolls["orders"].revision, found[-1])
        self.assertEqual(rolls["news"].revision, await self.revision(other))

    async def test_changed(self) -> None:
        """Who knows a revision is told the channels that have changed since, and no others."""
        one, other = await self.pair()
        await one.move([("orders", "7"), ("", "7")], [])
        known = await self.revision(other)
        self.assertEqual(await self.changed(other, known), set())
        await one.move([("news", "7"), ("chat.5", "7")], [])
        self.assertEqual(await self.changed(other, known), {"news", "chat.5"})
        await one.move([], [("news", "7"), ("orders", "7"), ("chat.5", "7"), ("", "7")])
        self.assertEqual(await self.changed(other, known), {"news", "chat.5", "orders", ""})

    async def test_nothing_known(self) -> None:
        """Who knows no revision is not told what has changed, for it may be anything."""
        one, _ = await self.pair()
        await one.move([("orders", "7")], [])
        self.assertIs((await one.pulse(0, ABOUT)).changed, None)

    async def test_many_channels_changed(self) -> None:
        """Who has missed more changes than are remembered is told that anything may have changed."""
        one, other = await self.pair()
        await one.move([("first", "7")], [])
        known = await self.revision(other)
        await one.move([(f"chat.{number}", "7") for number in range(10_001)], [])
        self.assertIs(await self.changed(other, known), None)
        now = await self.revision(other)
        await one.move([], [("chat.5", "7")])
        self.assertEqual(await self.changed(other, now), {"chat.5"})

    async def test_too_many(self) -> None:
        """Of a roll with more users than were asked for only the number is told."""
        one, _ = await self.pair()
        await one.move([("orders", str(user)) for user in range(5)], [])
        rolls = await one.rolls(["orders"], 4)
        self.assertEqual((rolls["orders"].members, rolls["orders"].count), (None, 5))
        self.assertEqual((await one.rolls(["orders"], 5))["orders"].count, 5)

    async def test_crowd(self) -> None:
        """More places and channels than one step takes arrive all the same, and go."""
        one, other = await self.pair()
        crowd = [("orders", str(user)) for user in range(2 * PLACES + 1)]
        await one.move(crowd, [])
        self.assertEqual(len(await self.members(other) or ()), len(crowd))
        await one.move([(f"chat.{number}", "7") for number in range(CHANNELS + 1)], crowd)
        rolls = await other.rolls(["orders", *(f"chat.{number}" for number in range(CHANNELS + 2))], MOST)
        self.assertEqual(rolls["orders"].members, frozenset())
        counts = [rolls[f"chat.{number}"].count for number in range(CHANNELS + 2)]
        self.assertEqual(counts, [1] * (CHANNELS + 1) + [0])

    async def test_users(self) -> None:
        """Numbers and texts are kept apart, whatever the texts are."""
        one, other = await self.pair()
        users = {"7", '"7"', '"a b"', '"ä\\u0000"', '"' + "x" * 300 + '"'}
        await one.move([("orders", user) for user in users], [])
        self.assertEqual(await self.members(other), users)

    async def test_pulse_of_now(self) -> None:
        """The revision that a pulse tells is never behind what was done before it."""
        one, other = await self.pair()
        for user in range(20):
            await one.move([("orders", str(user))], [])
            pulse: Pulse = await other.pulse(0, ABOUT)
            self.assertEqual(pulse.revision, (await other.rolls(["orders"], MOST))["orders"].revision)

    def deferred(self, coroutine: Any) -> Any:
        """What `assertFailure` takes."""
        return Deferred.fromCoroutine(coroutine)
