"""What a site declares."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from twisted.trial.unittest import SynchronousTestCase

from livepush.django.channels import Audience, Channel, Registry, is_guarded, user_channel


class RegistryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = registry = Registry()

        class Base(Channel, registry=registry):
            audiences = [Audience("member")]

        class Rooms(Base, registry=registry):
            name = "rooms.{room}"

            def allows(self, user: Any, room: str) -> bool:  # type: ignore[override]
                return room != "1"

        class Lobby(Base, registry=registry):
            name = "rooms.lobby"

        class Again(Base, registry=registry):
            name = "rooms.lobby"

        class Faulty(Base, registry=registry):
            name = "rooms.#"

        self.rooms, self.lobby, self.faulty = Rooms, Lobby, Faulty

    def test_registered(self) -> None:
        """A class that sets a name is a declaration; a base without one is none."""
        self.assertEqual([each.__name__ for each in self.registry.declarations], ["Rooms", "Lobby", "Again", "Faulty"])

    def test_found(self) -> None:
        """A plain name comes before a pattern, the first of two equals before the second."""
        self.assertIs(self.registry.find("rooms.lobby"), self.lobby)
        self.assertIs(self.registry.find("rooms.5"), self.rooms)
        for channel in ("rooms", "rooms.", "rooms.5.6", "rooms.#", "rooms.{room}", "user.5", ""):
            self.assertIsNone(self.registry.find(channel), channel)

    def test_readable(self) -> None:
        """Only what counts is handed on, in order of declaration."""
        self.assertEqual(
            [(pattern.text, each) for pattern, each in self.registry.readable()],
            [("rooms.{room}", self.rooms), ("rooms.lobby", self.lobby)],
        )

    def test_guarded(self) -> None:
        """A rule of its own is told from the default, which lets everybody pass."""
        self.assertTrue(is_guarded(self.rooms))
        self.assertFalse(is_guarded(self.lobby))
        self.assertTrue(self.lobby().allows(AnonymousUser()))


class UserChannelTests(SynchronousTestCase):
    def test_names(self) -> None:
        """A user, or his pk, has one channel name; a pk that is no word is spelled in letters that are."""
        self.assertEqual(user_channel(User(pk=7)), "user.7")
        self.assertEqual(user_channel(7), "user.7")
        self.assertTrue(user_channel("a.b").startswith("user.~"))

    def test_nobody(self) -> None:
        """Who has no pk has no channel."""
        for user in (AnonymousUser(), User(), None):
            self.assertRaises(ValueError, user_channel, user)


class AutodiscoveryTests(SynchronousTestCase):
    def test_push_modules(self) -> None:
        """The push.py of an installed app has been imported by the time Django is ready."""
        import sys

        from django.apps import apps

        self.assertTrue(apps.ready)
        self.assertIn("exchange.orders.push", sys.modules)
