"""Who is told who else is here, and when."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event
from livepush.broker.names import ChannelPattern
from livepush.daemon import presence
from livepush.daemon.entitlement import AudienceRule, ChannelRule, Directory, Snapshot
from livepush.daemon.hub import Hub
from livepush.daemon.presence import (
    AT_ONCE,
    LONGEST_SECONDS,
    PATIENCE_SECONDS,
    PULSE_SECONDS,
    SHARE,
    SOON_SECONDS,
    Phase,
    Presence,
    PresenceSettings,
)
from livepush.daemon.registry import (
    ANYWHERE,
    MemoryRegistry,
    NotEnrolled,
    Place,
    Pulse,
    RegistryUnavailable,
    Roll,
    Store,
)
from livepush.wire.closing import Close
from tests.unit.daemon.doubles import Browser, make_snapshot

GRACE = 5.0
RULES = (
    ChannelRule(
        ChannelPattern("orders"),
        (AudienceRule("client", "orders.lock_order"),),
        auto=True,
        presence=True,
        presence_permission="orders.see",
    ),
    ChannelRule(ChannelPattern("chat.{room}"), (AudienceRule("all", None),), presence=True),
    ChannelRule(ChannelPattern("news"), (AudienceRule("all", None),), auto=True),
)


def watcher(user: int) -> Snapshot:
    """Somebody who listens to orders and is told who else does."""
    return make_snapshot(user, "orders.lock_order", "orders.see")


def listener(user: int) -> Snapshot:
    """Somebody who listens to orders."""
    return make_snapshot(user, "orders.lock_order")


class Fragile(MemoryRegistry):
    """A registry of this process that fails when told to, or waits."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "here")
        self.error: Exception | None = None
        self.waits: Deferred[None] | None = None
        self.asked: list[str] = []
        self.closed = self.young = False

    async def enroll(self, places: Collection[Place]) -> None:
        await self._maybe("enroll")
        await super().enroll(places)

    async def move(self, taken: Sequence[Place], given_up: Sequence[Place]) -> None:
        await self._maybe("move")
        await super().move(taken, given_up)

    async def pulse(self, since: int, about: Mapping[str, object]) -> Pulse:
        await self._maybe("pulse")
        pulse = await super().pulse(since, about)
        return replace(pulse, young=self.young)

    async def rolls(self, channels: Sequence[str], most: int) -> Mapping[str, Roll]:
        await self._maybe(f"rolls {' '.join(channels)}")
        return await super().rolls(channels, most)

    async def close(self) -> None:
        self.closed = True

    async def _maybe(self, what: str) -> None:
        self.asked.append(what)
        if self.waits is not None:
            await self.waits
        if self.error is not None:
            raise self.error


class Case(SynchronousTestCase):
    """A hub with presence, and another process at the same registry."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = Hub(Directory(RULES), self.clock, None, "me")
        self.store = Store()
        self.registry = Fragile(self.store)
        self.there = MemoryRegistry(self.store, "there")
        self.store.held["there"] = set()
        settings = PresenceSettings(GRACE, users=3)
        self.presence = Presence(
            self.registry, self.hub.directory, self.hub, self.clock, settings, lambda: {"pid": 5}, lambda: 0.0
        )
        self.hub.presence = self.presence
        self.presence.start()
        self.pass_time(0)

    def pass_time(self, seconds: float) -> None:
        """All that is due in this time, in its order."""
        end = self.clock.seconds() + seconds
        while True:
            due = [call.getTime() for call in self.clock.getDelayedCalls()]
            if not due or min(due) > end:
                break
            self.clock.advance(max(0.0, min(due) - self.clock.seconds()))
        self.clock.advance(end - self.clock.seconds())

    def browser(self, snapshot: Snapshot, **channels: None) -> Browser:
        """A page that has connected, with nothing read yet; `chat_5` stands for chat.5."""
        named = {name.replace("_", "."): None for name in channels}
        browser = Browser(self.hub, snapshot)
        browser.greets(**({"channels": named} if named else {}))
        return browser

    def told(self, browser: Browser) -> list[Any]:
        """What a page is told of presence, without revisions, since the last call."""
        found = [message for message in browser.link.messages() if message["op"] == "presence"]
        return [{key: found for key, found in each.items() if key not in ("op", "channel", "rev")} for each in found]

    def join_there(self, *users: int, channel: str = "orders") -> None:
        """Another process has taken places."""
        for user in users:
            self.store.take("there", (channel, str(user)))

    def leave_there(self, *users: int, channel: str = "orders") -> None:
        """It has given them up."""
        for user in users:
            self.store.give_up("there", (channel, str(user)))

    def here(self, channel: str = "orders") -> set[str]:
        """Who is there as the registry has it."""
        return set(self.store.on.get(channel, ()))


class TellingTests(Case):
    def test_whole_list_then_changes(self) -> None:
        """Who comes is told the whole list, himself in it, and from then on who joins and who leaves."""
        self.join_there(9)
        page = self.browser(watcher(7))
        self.pass_time(SOON_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7, 9]}])
        self.join_there(10)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"join": [10], "leave": []}])
        self.leave_there(9, 10)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"join": [], "leave": [9, 10]}])

    def test_revision_grows(self) -> None:
        """Each message about a channel has a higher revision than the one before."""
        page = self.browser(watcher(7))
        found = []
        for user in (8, 9):
            self.pass_time(PULSE_SECONDS)
            self.join_there(user)
        self.pass_time(PULSE_SECONDS)
        found = [each["rev"] for each in page.link.messages() if each["op"] == "presence"]
        self.assertEqual(len(found), 3)
        self.assertEqual(found, sorted(set(found)))

    def test_quiet(self) -> None:
        """While nothing changes nothing is told, and the registry is asked for one number a second."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        self.registry.asked.clear()
        self.pass_time(10)
        self.assertEqual(self.told(page), [])
        self.assertEqual(self.registry.asked, ["pulse"] * 10)

    def test_came_and_went(self) -> None:
        """Who left and came back between two looks was not away, and the next change is told as one."""
        page = self.browser(watcher(7))
        self.join_there(9)
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        self.leave_there(9)
        self.join_there(9)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [])
        self.leave_there(9)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"join": [], "leave": [9]}])

    def test_permission(self) -> None:
        """A listener without the permission is counted, and told nothing."""
        blind, page = self.browser(listener(8)), self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(blind), [])
        self.assertEqual(self.told(page), [{"now": [7, 8]}])

    def test_permission_is_taken_away(self) -> None:
        """Who loses the permission is told nothing more, though he still listens; who gets it back has the list."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        page.identity.snapshot = listener(7)
        self.hub.control(Control("identity", "7"))
        self.join_there(9)
        self.told(page)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [])
        page.identity.snapshot = watcher(7)
        self.hub.control(Control("identity", "7"))
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7, 9]}])

    def test_permission_is_taken_in_silence(self) -> None:
        """The same where no message told of it and only the regular look found out."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        page.identity.snapshot = listener(7)
        self.hub.distrust(suspend=False)
        self.join_there(9)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [])

    def test_permission_is_taken_while_asking(self) -> None:
        """The same where the registry's answer, or a crowd that has changed before him, comes in between."""
        self.patch(presence, "AT_ONCE", 1)
        pages = [self.browser(watcher(user)) for user in (5, 7)]
        self.pass_time(PULSE_SECONDS)
        self.join_there(9)
        self.registry.waits = asking = Deferred[None]()
        self.pass_time(PULSE_SECONDS)
        for page, user in zip(pages, (5, 7), strict=True):
            self.told(page)
            page.identity.snapshot = listener(user)
        self.hub.control(Control("identity"))
        self.pass_time(1)
        self.registry.waits = None
        asking.callback(None)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual([self.told(page) for page in pages], [[], []])

    def test_suspended(self) -> None:
        """Nobody is told anything while it is not known who he is; then he is told the whole list."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        page.identity.waits = True
        self.hub.control(Control("identity", "7"))
        self.join_there(9)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [])
        self.assertEqual(self.here(), {"7", "9"})  # he is still here
        page.answered()
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7, 9]}])

    def test_does_not_read(self) -> None:
        """A page that does not read has nothing kept for it, and is told the whole list when it reads again."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        page.connection.pauseProducing()
        for user in range(20, 40):
            self.join_there(user)
            self.pass_time(PULSE_SECONDS)
            self.leave_there(user)
        self.assertEqual(page.connection.out.pending, [])
        page.connection.resumeProducing()
        self.assertEqual(self.told(page), [])
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7]}])

    def test_lost_on_the_way(self) -> None:
        """A page that was too slow, so that what it was told may be gone, is told the whole list."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        page.connection.tell_slow("orders")
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7]}])

    def test_after_the_welcome(self) -> None:
        """The list comes after the answer that grants the channel, also where the page asks for it later."""
        page = Browser(self.hub, watcher(7))
        page.connection.received(b'{"op":"hello","n":0,"channels":{}}')
        page.connection.received(b'{"op":"subscribe","n":1,"channel":"chat.5"}')
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(page.link.ops(), ["welcome", "ok", "presence"])

    def test_asked_again(self) -> None:
        """Who subscribes again to what he has is told the whole list again."""
        page = self.browser(watcher(7), chat_5=None)
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        page.says(op="subscribe", n=2, channel="chat.5")
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7]}])

    def test_too_many(self) -> None:
        """Of a channel with more users than the bound the number is told, and the list again when it is short."""
        page = self.browser(watcher(7))
        self.join_there(11, 12, 13)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": None, "why": "too_many", "count": 4}])
        self.leave_there(13)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7, 11, 12]}])

    def test_other_channels(self) -> None:
        """A channel that does not declare it has no presence, and one channel's is not another's."""
        page = self.browser(watcher(7), news=None, chat_5=None)
        self.browser(watcher(8), chat_6=None)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(next(each for each in page.link.messages() if each["op"] == "presence")["channel"], "chat.5")
        self.assertEqual((self.here("chat.5"), self.here("chat.6"), self.here("news")), ({"7"}, {"8"}, set()))

    def test_events_keep_their_order(self) -> None:
        """What is told beside events of the same turn does not change their order."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        page.link.messages()
        self.hub.event(Event("orders", "lock", {}), "p-1", 0)
        self.join_there(9)
        self.pass_time(PULSE_SECONDS)
        self.hub.event(Event("orders", "lock", {}), "p-2", 0)
        self.hub.flush()
        self.assertEqual(page.link.ops(), ["event", "presence", "event"])


class HereTests(Case):
    def test_tabs(self) -> None:
        """A user is here as long as one of his pages is, and for the grace after it."""
        first, second = self.browser(watcher(7)), self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.here(), {"7"})
        first.connection.closed()
        self.pass_time(2 * GRACE)
        self.assertEqual(self.here(), {"7"})
        second.connection.closed()
        self.pass_time(GRACE - 1)
        self.assertEqual(self.here(), {"7"})
        self.pass_time(1 + PULSE_SECONDS)
        self.assertEqual(self.here(), set())

    def test_flicker(self) -> None:
        """Nobody sees a page that is loaded anew."""
        other, page = self.browser(watcher(8)), self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(other)
        for _ in range(5):
            page.connection.closed()
            self.pass_time(GRACE - 1)
            page = self.browser(watcher(7))
            self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(other), [])

    def test_unsubscribed(self) -> None:
        """Who leaves the channel leaves its list, and is still connected."""
        page = self.browser(watcher(7), chat_5=None)
        self.pass_time(PULSE_SECONDS)
        page.says(op="unsubscribe", n=2, channel="chat.5")
        self.pass_time(GRACE + PULSE_SECONDS)
        self.assertEqual((self.here("chat.5"), self.here(ANYWHERE)), (set(), {"7"}))
        self.assertEqual(self.told(page), [])

    def test_taken_away(self) -> None:
        """Whose permission for the channel is taken away is not on it any more."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        page.identity.snapshot = make_snapshot(7)
        self.hub.control(Control("identity", "7"))
        self.pass_time(GRACE + PULSE_SECONDS)
        self.assertEqual(self.here(), set())

    def test_anonymous(self) -> None:
        """A visitor who is not logged in is nobody, and is told who is here where everybody is."""
        guest = Snapshot(None, None, None, None, frozenset(), is_superuser=False, admitted=True)
        page = self.browser(guest, chat_5=None)
        self.browser(watcher(7), chat_5=None)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7]}])
        self.assertEqual(self.here(ANYWHERE), {"7"})

    def test_keys(self) -> None:
        """A primary key that is a text is another one than the number that looks like it."""
        number, word = make_snapshot(7), Snapshot("7", "7", "s", "h", frozenset(), is_superuser=False, admitted=True)
        page = self.browser(number, chat_5=None)
        self.browser(word, chat_5=None)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.told(page), [{"now": [7, "7"]}])

    def test_before_hello(self) -> None:
        """Who has not said hello is not here yet."""
        Browser(self.hub, watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.here(ANYWHERE), set())

    def test_nothing_is_left(self) -> None:
        """When all have gone, nothing of them is kept."""
        pages = [self.browser(watcher(user), orders=None, chat_5=None) for user in range(20)]
        self.pass_time(PULSE_SECONDS)
        for page in pages:
            page.connection.closed()
        self.pass_time(GRACE + 2 * PULSE_SECONDS)
        presence = self.presence
        kept = (presence._places, presence._watching, presence._told, presence._rolls, presence._behind)
        self.assertEqual([len(each) for each in kept], [0] * 5)
        self.assertEqual(len(presence._attendance), 0)
        self.assertEqual(self.store.on, {})


class FailureTests(Case):
    def lose(self) -> None:
        """The registry can't be asked from here on."""
        self.registry.error = RegistryUnavailable("redis://h:1/0: nothing listens there")

    def test_blip(self) -> None:
        """A failure that is soon over is not told."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        self.lose()
        self.pass_time(PATIENCE_SECONDS - PULSE_SECONDS)
        self.registry.error = None
        self.pass_time(2 * PULSE_SECONDS)
        self.assertEqual((self.told(page), self.presence.phase), ([], Phase.IN))

    def test_unknown_and_healed(self) -> None:
        """When it lasts, everybody is told that nobody knows; when it is over, the whole list as it is then."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        with capturedLogs() as logs:
            self.lose()
            self.pass_time(PATIENCE_SECONDS + 2 * PULSE_SECONDS)
            self.assertEqual(self.told(page), [{"now": None, "why": "unavailable"}])
            late = self.browser(watcher(8))
            self.pass_time(2 * PULSE_SECONDS)
            self.assertEqual(self.told(late), [{"now": None, "why": "unavailable"}])
            self.pass_time(20)
            self.registry.error = None
            self.pass_time(2 * PULSE_SECONDS)
        self.assertEqual((self.told(page), self.told(late)), ([{"now": [7, 8]}], [{"now": [7, 8]}]))
        said = [entry["log_level"] for entry in logs if entry["log_namespace"].startswith("livepush")]
        self.assertEqual(said, [LogLevel.warn, LogLevel.info])

    def test_not_stormed(self) -> None:
        """While it fails it is asked once a second at most, however many connections come and go."""
        self.lose()
        self.pass_time(PULSE_SECONDS)
        self.registry.asked.clear()
        for user in range(100):
            self.browser(watcher(user))
            self.pass_time(0.1)
        self.assertLessEqual(len(self.registry.asked), 10)

    def test_half_done(self) -> None:
        """A call that failed may have been done or not: afterwards the registry has exactly who is here."""
        staying, going = self.browser(watcher(7)), self.browser(watcher(8))
        self.pass_time(PULSE_SECONDS)
        going.connection.closed()
        self.pass_time(GRACE - PULSE_SECONDS)
        self.lose()
        coming = self.browser(watcher(9))
        self.pass_time(3)
        self.store.take("here", ("orders", "9"))  # one half was done
        self.registry.error = None
        self.pass_time(2 * PULSE_SECONDS)
        self.assertEqual(self.here(), {"7", "9"})
        self.assertFalse(staying.connection.ended or coming.connection.ended)

    def test_forgotten(self) -> None:
        """A registry that has lost everything has it again within a second or two, and no page sees anything of it."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        self.store.held.pop("here")
        self.store.on.clear()
        self.pass_time(2 * PULSE_SECONDS)
        self.assertEqual((self.here(), self.here(ANYWHERE), self.told(page)), ({"7"}, {"7"}, []))

    def test_not_all_are_back(self) -> None:
        """A registry that has lost everything does not say who left before all processes can have come back."""
        page = self.browser(watcher(7))
        self.join_there(9)
        self.pass_time(PULSE_SECONDS)
        self.told(page)
        self.store.held = {"there": set()}
        self.store.on.clear()
        self.registry.young = True
        self.pass_time(3 * PULSE_SECONDS)
        late = self.browser(watcher(8))
        self.pass_time(PULSE_SECONDS)
        self.assertEqual((self.told(page), self.told(late)), ([], [{"now": [7, 9]}]))  # as it was last known
        self.join_there(9)
        self.registry.young = False
        self.pass_time(PULSE_SECONDS)
        self.assertEqual([self.told(each) for each in (page, late)], [[{"join": [8], "leave": []}]] * 2)

    def test_never_known(self) -> None:
        """A registry that goes on saying that it does not know this process is not asked in a circle."""
        self.registry.error = NotEnrolled()
        self.registry.asked.clear()
        self.pass_time(10)
        self.assertLessEqual(len(self.registry.asked), 12)

    def test_broken(self) -> None:
        """An error that nobody expected is logged, and the next round comes."""
        self.registry.error = RuntimeError("broken")
        self.pass_time(PULSE_SECONDS)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))
        self.registry.error = None
        self.browser(watcher(7))
        self.pass_time(2 * PULSE_SECONDS)
        self.assertEqual(self.here(), {"7"})

    def test_slow(self) -> None:
        """While an answer is awaited nothing else is asked; who came meanwhile is told of with the next."""
        self.registry.waits = Deferred()
        self.pass_time(PULSE_SECONDS)
        self.registry.asked.clear()
        self.browser(watcher(7))
        self.pass_time(10)
        self.assertEqual(self.registry.asked, [])
        waits, self.registry.waits = self.registry.waits, None
        waits.callback(None)
        self.pass_time(PULSE_SECONDS)
        self.assertEqual(self.here(), {"7"})

    def test_stopped(self) -> None:
        """A process that ends says nothing more: its users stay until its time is over, and others take them."""
        page = self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        self.successResultOf(self.presence.stop())
        page.connection.close(Close.GOING_AWAY, "")
        self.pass_time(10 * GRACE)
        self.assertEqual((self.here(), self.registry.closed), ({"7"}, True))

    def test_stopped_while_asking(self) -> None:
        """The end does not wait for an answer, and what comes after it is not acted upon."""
        self.registry.waits = Deferred()
        self.pass_time(PULSE_SECONDS)
        self.successResultOf(self.presence.stop())
        self.assertEqual((self.presence.phase, self.clock.getDelayedCalls()), (Phase.STOPPED, []))


class PaceTests(Case):
    def test_crowd(self) -> None:
        """A crowd that comes at once is seen and told a part at a time, and all of it soon."""
        pages = [self.browser(watcher(user)) for user in range(AT_ONCE + 5)]
        self.pass_time(SOON_SECONDS)
        self.assertEqual(sum(bool(self.told(page)) for page in pages), AT_ONCE)
        self.pass_time(5 * SOON_SECONDS)
        self.assertEqual({self.told(page)[-1]["count"] for page in pages}, {AT_ONCE + 5})

    def test_many_channels(self) -> None:
        """Pages that have taken a hundred channels each are fewer a part, however many of them come at once."""
        self.patch(presence, "CHANNELS_AT_ONCE", 250)
        channels: dict[str, None] = {f"chat_{room}": None for room in range(100)}
        pages = [self.browser(watcher(user), **channels) for user in range(5)]
        self.pass_time(SOON_SECONDS)
        self.assertEqual([len(self.told(page)) for page in pages], [100, 100, 0, 0, 0])
        self.pass_time(10 * SOON_SECONDS)
        self.assertEqual([bool(self.told(page)) for page in pages[2:]], [True] * 3)

    def test_time_for_others(self) -> None:
        """Telling crowds takes a tenth of the time at most: rounds keep away from each other."""
        self.browser(watcher(7))
        self.pass_time(PULSE_SECONDS)
        begun = []
        push = self.hub.push

        def slow(members: Any, frame: Any) -> None:
            begun.append(self.clock.rightNow)
            self.clock.rightNow += 0.2
            push(members, frame)

        self.hub.push = slow  # type: ignore[method-assign]
        for user in range(10, 40):
            self.join_there(user)
            self.leave_there(user - 1)
            self.pass_time(1)
        between = [after - before for before, after in pairwise(begun)]
        self.assertTrue(between)
        self.assertGreaterEqual(min(between), min(LONGEST_SECONDS, SHARE * 0.2) - 0.01)
