"""Who is there, over all processes: what a registry can do, and the one of a site that runs a single process.

A *place* is a user on a channel: `("orders", "7")`. The user is his primary key as JSON text (`member_of`), so that 7
and "7" are two. The channel "" (`ANYWHERE`) is being connected at all.

A process tells the registry which places it holds. A place is there as long as one process holds it: the first that
takes it and the last that gives it up change the *roll* of its channel, and with it the *revision*, a number that only
grows, of the whole registry and of that channel.

    enroll     this process is here, and holds exactly these places: at the start, and whenever it may have been
               forgotten or a call may or may not have been done
    move       it takes and gives up places
    pulse      it is still here; what has changed since a revision
    rolls      who is on these channels

Each of them may fail (`RegistryUnavailable`), done or not done, and all may be repeated. A process that gives no pulse
for its time to live is forgotten, with its places. `redisregistry` is the registry of many processes; both pass one
suite of tests.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Place = tuple[str, str]
"""A channel, and a user as JSON text."""

ANYWHERE = ""
"""The channel that stands for being connected at all."""


class RegistryUnavailable(Exception):
    """The registry could not be asked, in time or at all; what was asked may be done or not.

    Attributes:
        why: for the operator, without credentials, with the remedy where one is known.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class NotEnrolled(Exception):
    """The registry does not know this process, or does not any more: nothing was done."""


@dataclass(frozen=True, slots=True)
class Roll:
    """Who is on a channel.

    Attributes:
        revision: at which this was so.
        members: the users, as JSON texts, in no order; None: they are more than were asked for.
        count: how many they are.
    """

    revision: int
    members: frozenset[str] | None
    count: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a process learns when it says that it is still here.

    Attributes:
        revision: of the registry now.
        changed: the channels that have changed since; None: that is not known any more, so each of them may have.
        young: the registry has lost everything a moment ago, and does not know all processes yet.
    """

    revision: int
    changed: frozenset[str] | None
    young: bool = False


class Registry(Protocol):
    """The registry as one process sees it. No two calls at once."""

    async def enroll(self, places: Collection[Place]) -> None:
        """This process holds exactly these places."""

    async def move(self, taken: Sequence[Place], given_up: Sequence[Place]) -> None:
        """It takes places and gives some up; one that it holds, or does not, already is no error.

        Raises:
            NotEnrolled: `enroll` has to be called.
        """

    async def pulse(self, since: int, about: Mapping[str, object]) -> Pulse:
        """It is still here.

        Args:
            since: the revision that is known; 0: none.
            about: what is told of this process to who asks, plain JSON.

        Raises:
            NotEnrolled: `enroll` has to be called.
        """

    async def rolls(self, channels: Sequence[str], most: int) -> Mapping[str, Roll]:
        """Who is on these channels; of one with more than `most` users only how many."""

    async def close(self) -> None:
        """Lets go of what it takes to ask. The places stay, for the time to live of this process."""


def wire_user_of(member: str) -> int | str:
    """The primary key as browsers see it, of a user as JSON text."""
    found = json.loads(member)
    return found if isinstance(found, int | str) else member


class Store:
    """What several `MemoryRegistry` of one process share: for a daemon one, for tests as many as they like."""

    def __init__(self) -> None:
        self.revision = 0
        self.held: dict[str, set[Place]] = {}  # by node
        self.about: dict[str, Mapping[str, object]] = {}
        self.changed: dict[str, int] = {}  # the revision of each channel that has a roll, or had one
        self.on: dict[str, dict[str, int]] = {}  # channel, user: by how many nodes

    def take(self, node: str, place: Place) -> None:
        """A node takes a place."""
        held = self.held[node]
        if place in held:
            return
        held.add(place)
        channel, member = place
        roll = self.on.setdefault(channel, {})
        roll[member] = roll.get(member, 0) + 1
        if roll[member] == 1:
            self._note(channel)

    def give_up(self, node: str, place: Place) -> None:
        """A node gives a place up."""
        held = self.held[node]
        if place not in held:
            return
        held.remove(place)
        channel, member = place
        roll = self.on[channel]
        roll[member] -= 1
        if not roll[member]:
            del roll[member]
            if not roll:
                del self.on[channel]
            self._note(channel)

    def forget(self, node: str) -> None:
        """A node has gone, with all its places."""
        for place in list(self.held.get(node, ())):
            self.give_up(node, place)
        self.held.pop(node, None)
        self.about.pop(node, None)

    def _note(self, channel: str) -> None:
        self.revision += 1
        self.changed.pop(channel, None)  # the newest stand last
        self.changed[channel] = self.revision
        while len(self.changed) > CHANGED:
            self.changed.pop(next(iter(self.changed)))

    def since(self, revision: int) -> frozenset[str] | None:
        """The channels that have changed since; None: not known."""
        oldest = next(iter(self.changed.values()), self.revision + 1)
        if len(self.changed) >= CHANGED and revision < oldest:
            return None
        return frozenset(channel for channel, at in self.changed.items() if at > revision)


CHANGED = 10_000
"""So many channels are remembered with the revision of their last change; who has missed more asks for all of his."""


class MemoryRegistry:
    """The registry of a site that runs one daemon process: nothing of it leaves the process.

    Bound: the subscriptions of the process's connections.
    """

    def __init__(self, store: Store | None = None, node: str = "") -> None:
        """Takes a store of its own, or one to share; `node` names this one there."""
        self._store, self._node = store or Store(), node

    async def enroll(self, places: Collection[Place]) -> None:
        """As `Registry.enroll`."""
        held = self._store.held.setdefault(self._node, set())
        wanted = set(places)
        self._apply(wanted - held, held - wanted)

    async def move(self, taken: Sequence[Place], given_up: Sequence[Place]) -> None:
        """As `Registry.move`."""
        self._must_be_known()
        self._apply(taken, given_up)

    async def pulse(self, since: int, about: Mapping[str, object]) -> Pulse:
        """As `Registry.pulse`."""
        self._must_be_known()
        self._store.about[self._node] = about
        return Pulse(self._store.revision, self._store.since(since) if since else None)

    async def rolls(self, channels: Sequence[str], most: int) -> Mapping[str, Roll]:
        """As `Registry.rolls`."""
        found = {}
        for channel in channels:
            members = self._store.on.get(channel, {})
            revision = self._store.changed.get(channel, 0)
            found[channel] = Roll(revision, frozenset(members) if len(members) <= most else None, len(members))
        return found

    async def close(self) -> None:
        """As `Registry.close`."""

    def _apply(self, taken: Iterable[Place], given_up: Iterable[Place]) -> None:
        for place in taken:
            self._store.take(self._node, place)
        for place in list(given_up):
            self._store.give_up(self._node, place)

    def _must_be_known(self) -> None:
        if self._node not in self._store.held:
            raise NotEnrolled
