"""A short soak: real servers, real processes, real faults, and nothing lost in silence."""

from __future__ import annotations

from tests.acceptance.soaking import SoakCase


class SoakTests(SoakCase):
    """`python -m tests.soak`, as `make soak` runs it."""

    def test_soak(self) -> None:
        """The broker and a daemon are killed, the log is cut off under pages that are away: all is given or told."""
        faults = "daemon-kill,broker-kill,log-trimmed"
        status, printed = self.run_soak("--once", "--sqlite", "--seed", "1", "--faults", faults)
        self.assertEqual(status, 0, printed)
        for name in (
            *faults.split(","),
            "lost 0, duplicate 0, reordered 0, forbidden 0, invented 0, stale 0, needless 0",
        ):
            self.assertIn(name, printed)
        self.assertRegex(printed, r"log-trimmed +\d+ s +[0-9.]+ s(?: +\d+){5} +[1-9]", "nobody missed what was cut off")

    def test_sabotage(self) -> None:
        """A daemon that drops one event in a hundred is found out: events are missing, and nothing else is wrong.

        So are those of the other `--sabotage`s, which are tried by hand: each takes most of a minute.
        """
        words = ("--once", "--sqlite", "--clients", "20", "--faults", "daemon-kill")
        status, printed = self.run_soak(*words, "--sabotage", "drop")
        self.assertEqual(status, 1, printed)
        self.assertRegex(printed, r"lost [1-9][0-9]*, duplicate 0, reordered 0, forbidden 0, invented 0, stale 0")
