"""From cookies to snapshots: what is read of sessions, users and permissions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import OperationalError, connection
from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.names import ChannelPattern
from livepush.daemon.entitlement import ChannelRule, Snapshot
from livepush.daemon.reader import (
    MAX_SAFE_INTEGER,
    Reader,
    _is_exact,
    directory_of,
)
from tests.cases import DjangoCase
from tests.unit.daemon import site_doubles
from tests.unit.daemon.site_doubles import (
    MODEL_BACKEND,
    grant,
    login,
    make_registry,
    make_settings,
)


class ReaderTests(DjangoCase):
    """What a user's snapshot holds."""

    def setUp(self) -> None:
        super().setUp()
        self.registry = make_registry()
        self.anna = User.objects.create_user("anna", password="pw")

    def snapshot(self, cookies: str | None = None, **changes: Any) -> Snapshot:
        found = Reader(make_settings(**changes), self.registry).identify(
            login(self.anna) if cookies is None else cookies
        )
        assert found is not None
        return found

    def test_snapshot(self) -> None:
        """The user, his session and those declared permissions that he has: others are nobody's business here."""
        grant(self.anna, "add_group")
        grant(self.anna, "add_user")
        found = self.snapshot()
        self.assertEqual((found.user, found.wire_user), (str(self.anna.pk), self.anna.pk))
        self.assertEqual(found.permissions, frozenset({"auth.add_group"}))
        self.assertEqual(found.auth_hash, self.anna.get_session_auth_hash())
        self.assertEqual((found.admitted, found.is_superuser), (True, False))
        self.assertIsNotNone(found.session_key)

    def test_anew(self) -> None:
        """The same visitor by his session: as he is now, and nobody when his login has ended, however it did."""
        reader = Reader(make_settings(), self.registry)
        cookies = login(self.anna)
        found = self.snapshot(cookies)
        self.assertEqual(reader.reidentify(found), found)
        grant(self.anna, "add_group")
        again = reader.reidentify(found)
        assert again is not None
        self.assertEqual((again.user, again.permissions), (found.user, frozenset({"auth.add_group"})))
        self.assertIsNone(reader.reidentify(replace(found, user="0")))  # another one has logged in there
        User.objects.update(is_active=False)
        self.assertIsNone(reader.reidentify(found))
        User.objects.update(is_active=True)
        self.assertIsNotNone(reader.reidentify(found))
        self.anna.set_password("another")
        self.anna.save()
        self.assertIsNone(reader.reidentify(found))
        self.assertIsNone(reader.reidentify(replace(found, session_key="0" * 32)))

    def test_anew_without_a_session(self) -> None:
        """Where the cookie held the session, his password must still be the one that signed it."""
        reader = Reader(make_settings(), self.registry)
        found = replace(self.snapshot(), session_key=None)
        self.assertEqual(reader.reidentify(found), found)
        self.assertIsNone(reader.reidentify(replace(found, auth_hash=None)))
        User.objects.update(is_active=False)
        self.assertIsNone(reader.reidentify(found))
        User.objects.update(is_active=True)
        self.anna.set_password("another")
        self.anna.save()
        self.assertIsNone(reader.reidentify(found))

    def test_an_anonymous_visitor_anew(self) -> None:
        """He stays one, where anonymous visitors may connect."""
        visitor = self.snapshot("", anonymous=True)
        self.assertEqual(Reader(make_settings(anonymous=True), self.registry).reidentify(visitor), visitor)
        self.assertIsNone(Reader(make_settings(), self.registry).reidentify(visitor))

    def test_group_permissions(self) -> None:
        """A permission by way of a group counts."""
        group = Group.objects.create(name="moderators")
        group.permissions.add(Permission.objects.get(codename="delete_group"))
        self.anna.groups.add(group)
        self.assertEqual(self.snapshot().permissions, frozenset({"auth.delete_group"}))

    def test_superuser(self) -> None:
        """A superuser has all declared permissions, also those that no row holds."""
        User.objects.update(is_superuser=True)
        found = self.snapshot()
        self.assertTrue(found.is_superuser)
        self.assertEqual(found.permissions, frozenset({"auth.add_group", "auth.delete_group"}))

    def test_permissions_shared(self) -> None:
        """Equal sets of permissions are one object, however many users hold them."""
        reader = Reader(make_settings(), self.registry)
        other = User.objects.create_user("boris", password="pw")
        first, second = reader.identify(login(self.anna)), reader.identify(login(other))
        assert first is not None
        assert second is not None
        self.assertIs(first.permissions, second.permissions)

    def test_custom_backend(self) -> None:
        """Any backend's answer counts."""
        with override_settings(AUTHENTICATION_BACKENDS=[f"{site_doubles.__name__}.GenerousBackend"]):
            found = self.snapshot(login(self.anna, f"{site_doubles.__name__}.GenerousBackend"))
        self.assertEqual(found.permissions, frozenset({"auth.add_group"}))

    def test_nobody(self) -> None:
        """No cookie, a void one, a foreign one: nobody may connect."""
        reader = Reader(make_settings(), self.registry)
        for cookies in ("", "x=y", f"{settings.SESSION_COOKIE_NAME}=", f"{settings.SESSION_COOKIE_NAME}={'a' * 32}"):
            self.assertIsNone(reader.identify(cookies))

    def test_anonymous(self) -> None:
        """Where anonymous visitors are admitted they are nobody with no permissions; a void cookie makes one, too."""
        for cookies in ("", f"{settings.SESSION_COOKIE_NAME}={'a' * 32}"):
            found = self.snapshot(cookies, anonymous=True)
            self.assertEqual((found.user, found.wire_user, found.session_key), (None, None, None))
            self.assertEqual((found.permissions, found.admitted), (frozenset(), True))

    def test_anonymous_by_backend(self) -> None:
        """A backend may grant permissions to anonymous visitors."""
        with override_settings(AUTHENTICATION_BACKENDS=[MODEL_BACKEND, f"{site_doubles.__name__}.GenerousBackend"]):
            self.assertEqual(self.snapshot("", anonymous=True).permissions, frozenset({"auth.add_group"}))

    def test_wire_user(self) -> None:
        """What a browser's numbers hold exactly stays a number."""
        self.assertTrue(_is_exact(MAX_SAFE_INTEGER))
        for pk in (MAX_SAFE_INTEGER + 1, "7", True, None):
            self.assertFalse(_is_exact(pk))

    def test_queries(self) -> None:
        """A look-up is four queries: session, user, his permissions, his groups'."""
        cookies = login(self.anna)
        count = 0

        def counting(execute: Callable[..., Any], *args: Any) -> Any:
            nonlocal count
            count += 1
            return execute(*args)

        with connection.execute_wrapper(counting):
            self.snapshot(cookies)
        self.assertEqual(count, 4)


class AllowsTests(DjangoCase):
    """The declarations' own rules."""

    def setUp(self) -> None:
        super().setUp()
        self.anna = User.objects.create_user("anna", password="pw")
        self.registry = make_registry()
        self.reader = Reader(make_settings(anonymous=True), self.registry)
        self.snapshot = self.reader.identify(login(self.anna))

    def allows(self, room: str, snapshot: Snapshot | None = None) -> bool:
        channel = f"rooms.{room}"
        rule = directory_of(self.registry).rule_for(channel)
        given = self.snapshot if snapshot is None else snapshot
        assert rule is not None
        assert given is not None
        return self.reader.allows(given, rule, channel)

    def test_asked(self) -> None:
        """The rule is asked with the user and the channel's words, and answers with what counts as true."""
        self.assertTrue(self.allows("mine"))
        self.assertFalse(self.allows("other"))

    def test_fresh_user(self) -> None:
        """The user is read anew: what changed since the snapshot counts."""
        self.assertFalse(self.allows("groups"))
        self.anna.groups.add(Group.objects.create(name="in"))
        self.assertTrue(self.allows("groups"))
        User.objects.update(is_active=False)
        self.assertFalse(self.allows("mine"))
        self.anna.delete()
        self.assertFalse(self.allows("mine"))

    def test_anonymous(self) -> None:
        """Anonymous visitors come as Django's AnonymousUser."""
        self.assertTrue(AnonymousUser().is_anonymous)
        self.assertTrue(self.allows("guests", self.reader.identify("")))
        self.assertFalse(self.allows("guests"))

    def test_exceptions_refuse(self) -> None:
        """A rule that raises says no; a fault of it is logged, what stands for "no such thing" is not."""
        self.assertFalse(self.allows("missing"))
        self.assertFalse(self.allows("denied"))
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertFalse(self.allows("broken"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_database_failure_is_no_answer(self) -> None:
        """A database that is away says neither yes nor no."""
        self.assertRaises(OperationalError, self.allows, "down")

    def test_async_rule_refuses(self) -> None:
        """An answer that would have to be awaited is not a yes."""
        self.assertFalse(self.allows("late"))

    def test_other_channel(self) -> None:
        """A channel that is none of the rule's is refused."""
        rule = ChannelRule(ChannelPattern("halls.{hall}"), ())
        assert self.snapshot is not None
        self.assertFalse(self.reader.allows(self.snapshot, rule, "halls.1"))
        self.assertFalse(self.reader.allows(self.snapshot, rule, "rooms.mine"))


class DirectoryTests(SynchronousTestCase):
    """The declared channels as the daemon knows them."""

    def test_directory(self) -> None:
        """The declarations become plain rules, in order, with what is guarded marked."""
        directory = directory_of(make_registry())
        self.assertEqual(
            [
                (rule.pattern.text, rule.auto, rule.guarded, [each.name for each in rule.audiences])
                for rule in directory.rules
            ],
            [
                ("orders", True, False, ["moderator", "client"]),
                ("rooms.{room}", False, True, ["member"]),
                ("lobby", False, False, ["all"]),
            ],
        )


class SettingsTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """Numbers that can't be are refused with the field's name."""
        for name in ("threads", "queue"):
            for value in (0, -1, "4", True):
                error = self.assertRaises(ValueError, make_settings, **{name: value})
                self.assertIn(name, str(error))
