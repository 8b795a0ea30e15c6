"""A short soak: real servers, real processes, real faults, and nothing lost in silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 300.0


class SoakTests(SynchronousTestCase):
    """`python -m tests.soak`, as `make soak` runs it."""

    def run_soak(self, *words: str) -> tuple[int, str]:
        """Its exit status and what it printed; ended with all that it started if it takes too long."""
        environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak", *words],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            printed, _ = process.communicate(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate()
        return process.returncode, printed

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

    def test_cluster(self) -> None:
        """The node that holds the log's leader is killed, one of three: the others go on, and nothing is lost."""
        words = ("--once", "--clients", "20", "--seed", "1", "--faults", "leader-kill")
        status, printed = self.run_soak("--cluster", "--sqlite", *words)
        self.assertEqual(status, 0, printed)
        self.assertRegex(printed, r"leader-kill +\d+ s +[0-9.]+ s", "no leader was killed")

    def test_sabotage(self) -> None:
        """A daemon that drops one event in a hundred is found out."""
        self.assert_found_out("drop")

    def test_forgetful(self) -> None:
        """So is one that says to pages that come back that nothing has happened."""
        self.assert_found_out("forget")

    def assert_found_out(self, sabotage: str) -> None:
        """Events are missing, and nothing else is wrong."""
        words = ("--once", "--sqlite", "--clients", "20", "--faults", "daemon-kill")
        status, printed = self.run_soak(*words, "--sabotage", sabotage)
        self.assertEqual(status, 1, printed)
        self.assertRegex(printed, r"lost [1-9][0-9]*, duplicate 0, reordered 0, forbidden 0, invented 0, stale 0")
