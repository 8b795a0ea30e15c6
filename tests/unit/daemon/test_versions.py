"""Tests of livepush.daemon.versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Event, Only, Skip
from livepush.daemon.ring import Entry
from livepush.daemon.versions import Versions, conflate, stands_for_others


def make_event(key: str | None = "5", version: int | None = None, channel: str = "x", **more: Any) -> Event:
    return Event(channel, "t", {}, key=key, version=version, **more)


def make_entry(index: int, event: Event | None) -> Entry:
    return Entry(index, event, f"p-{index}", 0, 0, 0.0)


class StandsTests(SynchronousTestCase):
    """Which events tell everybody all that an older one told."""

    def test_stands(self) -> None:
        """With a key, shown to everybody of the channel."""
        self.assertTrue(stands_for_others(make_event(views={"client": {"a": 1}})))

    def test_does_not_stand(self) -> None:
        """Whom it is not shown to would have the older one taken away."""
        views: Mapping[str, None] = {"client": None}
        for event in (
            make_event(key=None),
            make_event(only=Only(frozenset({"moderator"}))),
            make_event(skip=Skip("7")),
            make_event(views=views),
        ):
            self.assertFalse(stands_for_others(event), event)


class VersionsTests(SynchronousTestCase):
    """The newest version of each key."""

    def setUp(self) -> None:
        self.versions = Versions(keys=3)

    def test_older_is_stale(self) -> None:
        """What is older would overwrite what is newer; the same version and newer ones go through."""
        self.versions.note(make_event(version=4))
        self.assertEqual([self.versions.is_stale(make_event(version=v)) for v in (3, 4, 5)], [True, False, False])

    def test_only_the_same_thing(self) -> None:
        """Another key, another channel, no version or no key: nothing is known against it."""
        self.versions.note(make_event(version=4))
        for event in (make_event("6", 3), make_event(version=3, channel="y"), make_event(), make_event(None)):
            self.assertFalse(self.versions.is_stale(event), event)

    def test_what_not_everybody_saw_makes_nothing_stale(self) -> None:
        """Who was not shown the newer one gets the older."""
        self.versions.note(make_event(version=4, only=Only(frozenset({"moderator"}))))
        self.assertFalse(self.versions.is_stale(make_event(version=3)))

    def test_bounded(self) -> None:
        """The key that was not heard of for longest is forgotten."""
        for key in "abcad":
            self.versions.note(make_event(key, version=4))
        stale = [key for key in "abcd" if self.versions.is_stale(make_event(key, version=3))]
        self.assertEqual((stale, len(self.versions)), (["a", "c", "d"], 3))
        self.versions.clear()
        self.assertFalse(self.versions.is_stale(make_event("a", version=3)))


class ConflateTests(SynchronousTestCase):
    """What a replay may leave out."""

    def kept(self, *events: Event | None) -> list[int]:
        return [entry.index for entry in conflate([make_entry(index, event) for index, event in enumerate(events)])]

    def test_without_keys_nothing(self) -> None:
        """Most events."""
        entries = [make_entry(1, make_event(None)), make_entry(2, None)]
        self.assertIs(conflate(entries), entries)

    def test_the_last_of_a_key(self) -> None:
        """It stands for those before it."""
        self.assertEqual(
            self.kept(make_event(), make_event("6"), make_event(None), make_event(), make_event()), [1, 2, 4]
        )

    def test_only_what_everybody_sees_stands(self) -> None:
        """A moderator's event takes nothing away, and may be stood for."""
        moderators = make_event(only=Only(frozenset({"moderator"})))
        self.assertEqual(self.kept(make_event(), moderators), [0, 1])
        self.assertEqual(self.kept(moderators, make_event()), [1])

    def test_a_lower_version_stands_for_no_higher_one(self) -> None:
        """It happens when the higher one was not for everybody."""
        higher = make_event(version=5, only=Only(frozenset({"moderator"})))
        self.assertEqual(self.kept(higher, make_event(version=4)), [0, 1])
        self.assertEqual(self.kept(higher, make_event(version=5)), [1])

    @given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.booleans()), max_size=12))
    def test_every_key_ends_as_it_did(self, made: list[tuple[str | None, bool]]) -> None:
        """Whoever sees everything, or only what all see, ends with the same last event of each key."""
        everybody = frozenset({"moderator"})
        events = [make_event(key, only=Only(everybody) if narrow else None) for key, narrow in made]
        entries = [make_entry(index, event) for index, event in enumerate(events)]
        for sees_all in (True, False):
            for key in "ab":
                lasts = []
                for replay in (entries, conflate(entries)):
                    seen = [
                        e.index for e in replay if e.event and e.event.key == key and (sees_all or not e.event.only)
                    ]
                    lasts.append(seen[-1:])
                self.assertEqual(*lasts)
