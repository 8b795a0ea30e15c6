"""The broker's bounds are checked where they are written."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.embedded.limits import Limits


class LimitsTests(SynchronousTestCase):
    """`Limits`."""

    def test_a_bound_that_makes_no_sense_is_named(self) -> None:
        """Field, value and what is right."""
        wrong: list[tuple[str, Any]] = [
            ("queues", 0),
            ("frame_bytes", 100),
            ("handshake_seconds", 0.0),
            ("channels", 70_000),
        ]
        for field, value in wrong:
            with self.assertRaises(ValueError) as caught:
                Limits(**{field: value})
            self.assertIn(f"{field} is {value!r}", str(caught.exception))
