"""Faulty declarations and settings, and what a person is told."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from django.core import checks
from django.test import override_settings
from twisted.trial.unittest import SynchronousTestCase

from livepush.django.channels import Audience, Channel, Registry
from livepush.django.checks import check_declarations, check_sessions, check_settings

VALID = [Audience("member")]


def declare(*attributes: dict[str, Any]) -> list[checks.CheckMessage]:
    """What the checks find in channels with these attributes."""
    registry = Registry()
    for each in attributes:
        types.new_class("Declared", (Channel,), {"registry": registry}, _filler({"__module__": __name__, **each}))
    return check_declarations(registry)


def _filler(attributes: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda namespace: namespace.update(attributes)


def ids(messages: list[checks.CheckMessage]) -> list[str]:
    return [str(message.id).removeprefix("livepush.") for message in messages]


class DeclarationTests(SynchronousTestCase):
    def found(self, expected: list[str], *attributes: dict[str, Any]) -> list[checks.CheckMessage]:
        """These ids are found, each with a hint and the place."""
        messages = declare(*attributes)
        self.assertEqual(ids(messages), expected)
        for message in messages:
            self.assertTrue(message.hint)
            self.assertIn("Declared", str(message.obj))
        return messages

    def test_faultless(self) -> None:
        """A right declaration is passed over in silence."""
        self.found([], {"name": "a", "auto": True, "audiences": VALID}, {"name": "a.{b}", "audiences": tuple(VALID)})

    def test_bad_name(self) -> None:
        """E001: names that the grammar refuses, and livepush's own."""
        for name in (
            "",
            "#",
            "a..b",
            "a.{B}",
            "a.x{b}",
            "a.{b}.{b}",
            "user.{pk}",
            "livepush.x",
            "é",
            "x" * 181,
            None,
            5,
        ):
            self.found(["E001"], {"name": name, "audiences": VALID})

    def test_twice(self) -> None:
        """E002: two declarations of one name; the first is named."""
        (message,) = self.found(["E002"], {"name": "a.{b}", "audiences": VALID}, {"name": "a.{b}", "audiences": VALID})
        self.assertIn("declared twice", message.msg)

    def test_no_audiences(self) -> None:
        """E003: nobody may listen."""
        empty: tuple[Any, ...] = ([], (), None, "client", Audience("client"), {"client": None})
        for audiences in empty:
            self.found(["E003"], {"name": "a", "audiences": audiences})
        self.found(["E003"], {"name": "a"})

    def test_no_audience(self) -> None:
        """E004: something else in the list."""
        self.found(["E004"], {"name": "a", "audiences": ["client", Audience("other")]})

    def test_audience_names(self) -> None:
        """E005: no word, or the name that personal channels use."""
        for name in ("", "a b", "a.b", "self", None, 5):
            self.found(["E005"], {"name": "a", "audiences": [Audience(name)]})  # type: ignore[arg-type]

    def test_audience_twice(self) -> None:
        """E006: one name for two audiences of a channel."""
        self.found(["E006"], {"name": "a", "audiences": [Audience("x"), Audience("x", perm="auth.add_user")]})

    def test_permission_form(self) -> None:
        """E007: not app_label.codename."""
        for perm in ("add_user", "", "auth.", ".add_user", "auth.add.user", "auth add_user", 5, ["auth.add_user"]):
            self.found(["E007"], {"name": "a", "audiences": [Audience("x", perm=perm)]})  # type: ignore[arg-type]

    def test_auto_on_a_pattern(self) -> None:
        """E008: a pattern names no channel to begin with."""
        self.found(["E008"], {"name": "a.{b}", "auto": True, "audiences": VALID})

    def test_allows(self) -> None:
        """E009: a rule that can't be called with the pattern's words, or that is async."""

        async def late(self: Any, user: Any, b: str) -> bool:
            return True

        wrong: tuple[Any, ...] = (
            lambda self, user: True,
            lambda self, user, c: True,
            lambda self: True,
            lambda self, user, b, c: True,
            late,
        )
        for rule in wrong:
            self.found(["E009"], {"name": "a.{b}", "audiences": VALID, "allows": rule})
        right: tuple[Any, ...] = (
            lambda self, user, b: True,
            lambda self, user, **args: True,
            lambda self, user, b, more=None: True,
            staticmethod(lambda user, b: True),
        )
        for rule in right:
            self.found([], {"name": "a.{b}", "audiences": VALID, "allows": rule})
        self.found([], {"name": "a", "audiences": VALID, "allows": lambda self, user: True})

    def test_receive(self) -> None:
        """E012: a receiver that can't be called with a call and the pattern's words, or that is async."""

        async def late(self: Any, user: Any, kind: str, data: Any, b: str) -> None:
            pass

        wrong: tuple[Any, ...] = (
            lambda self, user, kind, data: None,
            lambda self, user, kind, b: None,
            lambda self, data, b: None,
            late,
        )
        for method in wrong:
            self.found(["E012"], {"name": "a.{b}", "audiences": VALID, "receive": method})
        self.found(["E012"], {"name": "a.{data}", "audiences": VALID, "receive": lambda self, user, kind, data: None})
        for method in (lambda self, user, kind, data, b: None, lambda self, user, kind, data, **args: None):
            self.found([], {"name": "a.{b}", "audiences": VALID, "receive": method})

    def test_presence(self) -> None:
        """E013: presence that is no yes or no; its permission is judged as that of an audience (E007, W002)."""
        for wrong in ("auth.add_user", 1, None):
            self.found(["E013"], {"name": "a", "audiences": VALID, "presence": wrong})
        self.found(["E007"], {"name": "a", "audiences": VALID, "presence": True, "presence_perm": "add_user"})
        self.found(["W002"], {"name": "a", "audiences": VALID, "presence": True, "presence_perm": "auth.ad_user"})
        self.found([], {"name": "a.{b}", "audiences": VALID, "presence": True, "presence_perm": "auth.add_user"})

    def test_permission_unknown(self) -> None:
        """W002: a permission that no model declares; only a warning, because a backend may grant it."""
        for perm in ("auth.ad_user", "nope.add_user"):
            (message,) = self.found(["W002"], {"name": "a", "audiences": [Audience("x", perm=perm)]})
            self.assertFalse(message.is_serious())
        self.found([], {"name": "a", "audiences": [Audience("x", perm="auth.add_user")]})

    def test_faults_of_one_channel_together(self) -> None:
        """All faults are told at once."""
        self.found(["E001", "E003"], {"name": "#", "audiences": []})


class SettingsTests(SynchronousTestCase):
    def test_faultless(self) -> None:
        """The defaults have no faults."""
        self.assertEqual(check_settings(), [])

    def test_unknown(self) -> None:
        """W001: a name that looks like ours and does nothing."""
        with override_settings(LIVEPUSH_ALOWED_ORIGINS=[]):
            (message,) = check_settings()
        self.assertEqual(message.id, "livepush.W001")
        self.assertIn("LIVEPUSH_ALOWED_ORIGINS", message.msg)

    def test_faulty(self) -> None:
        """E010: each faulty setting, with what is right; a secret is never shown."""
        with override_settings(LIVEPUSH_PORT="8989", LIVEPUSH_BROKER_URL="http://guest:s3cret@host"):
            messages = check_settings()
        self.assertEqual(ids(messages), ["E010", "E010"])
        text = " ".join(f"{message.msg} {message.hint}" for message in messages)
        self.assertIn("LIVEPUSH_PORT '8989': must be an int from 1 to 65535", text)
        self.assertIn("LIVEPUSH_BROKER_URL", text)
        self.assertNotIn("s3cret", text)

    def test_short_log(self) -> None:
        """E011: a log that forgets before a process that starts has read it; one second more is enough."""
        for ring, log, expected in ((540, 600, ["E011"]), (539, 600, []), (300, 360, ["E011"]), (300, "x", ["E010"])):
            with override_settings(LIVEPUSH_RING_SECONDS=ring, LIVEPUSH_LOG_SECONDS=log):
                messages = check_settings()
            self.assertEqual(ids(messages), expected)
            if expected == ["E011"]:
                self.assertIn(f"LIVEPUSH_RING_SECONDS + 60 = {ring + 60}", str(messages[0].hint))
                self.assertTrue(messages[0].is_serious())

    def test_sessions(self) -> None:
        """W005: nobody can end a session in a signed cookie; W006: nobody else sees this process's memory."""
        backends, locmem = "django.contrib.sessions.backends", "django.core.cache.backends.locmem.LocMemCache"
        shared = "django.core.cache.backends.filebased.FileBasedCache"
        for engine, backend, expected in (
            (f"{backends}.db", locmem, []),
            (f"{backends}.cached_db", locmem, []),
            (f"{backends}.signed_cookies", locmem, ["W005"]),
            (f"{backends}.cache", locmem, ["W006"]),
            (f"{backends}.cache", "django.core.cache.backends.dummy.DummyCache", ["W006"]),
            (f"{backends}.cache", shared, []),
            ("nowhere.at.all", locmem, []),
        ):
            caches = {"default": {"BACKEND": backend, "LOCATION": self.mktemp()}}
            with override_settings(SESSION_ENGINE=engine, CACHES=caches):
                messages = check_sessions()
            self.assertEqual(ids(messages), expected, engine)
            self.assertFalse([message for message in messages if message.is_serious()])

    def test_registered(self) -> None:
        """`manage.py check` and the start of the daemon run them."""
        with override_settings(LIVEPUSH_PORT=0):
            self.assertIn("livepush.E010", [message.id for message in checks.run_checks()])
