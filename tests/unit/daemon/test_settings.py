"""The daemon's settings say what is wrong with them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.settings import Limits, Settings


class LimitsTests(SynchronousTestCase):
    """The bounds of connections."""

    def test_the_defaults_are_the_documented_ones(self) -> None:
        """Nobody has to set anything."""
        limits = Limits()
        self.assertEqual((limits.connections, limits.message_bytes, limits.outbound_bytes), (10_000, 65_536, 2**20))
        self.assertEqual((limits.hello_seconds, limits.heartbeat_seconds, limits.retry_ms), (10, 25, (500, 20_000)))

    def test_a_wrong_value_is_told(self) -> None:
        """The error names the field, the value and what is right."""
        cases: list[tuple[str, Any]] = [
            ("connections", 0),
            ("connections", 2_000_000),
            ("connections", "10"),
            ("connections", True),
            ("message_bytes", 100),
            ("message_depth", 3),
            ("outbound_bytes", 2**31),
            ("subscriptions", -1),
            ("hello_seconds", 0),
            ("hello_seconds", float("nan")),
            ("heartbeat_seconds", float("inf")),
            ("heartbeat_seconds", "25"),
            ("retry_ms", (20_000, 500)),
            ("retry_ms", (0, 500)),
            ("retry_ms", (1.5, 500)),
            ("retry_ms", 500),
            ("retry_ms", (1, 2, 3)),
        ]
        for name, value in cases:
            error = self.assertRaises(ValueError, Limits, **{name: value})
            self.assertIn(f"Limits.{name} {value!r}", str(error))
            self.assertIn("such as", str(error))


class SettingsTests(SynchronousTestCase):
    """The process's own."""

    def test_they_do_not_change(self) -> None:
        """What was validated stays."""
        with self.assertRaises(FrozenInstanceError):
            Settings().stop_seconds = 100  # type: ignore[misc]

    def test_a_wrong_value_is_told(self) -> None:
        """The error names the field and what is right."""
        cases: list[tuple[str, Any]] = [
            ("listen", ()),
            ("listen", ("",)),
            ("stop_seconds", 0),
            ("instance", "a b"),
            ("instance", ""),
        ]
        for name, value in cases:
            error = self.assertRaises(ValueError, Settings, **{name: value})
            self.assertIn(f"Settings.{name} {value!r}", str(error))

    def test_the_token_is_never_shown(self) -> None:
        """Neither a right nor a wrong token stands in a text that may be logged."""
        self.assertNotIn("0123456789abcdef", repr(Settings(status_token="0123456789abcdef")))
        for token in ("canary", "canary-ü-0123456789"):
            error = self.assertRaises(ValueError, Settings, status_token=token)
            self.assertNotIn("canary", str(error))
            self.assertIn("status_token", str(error))
